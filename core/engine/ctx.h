/*
 * Contexts: what stands behind struct warren_ctx.
 *
 * A context owns all that is registered through it, in one list, freed last in first out. Each
 * owned thing has a header (struct wcore_owned) in front of the bytes that the plugin sees, so
 * warren_release() needs the pointer only. The structure itself stays until the engine ends: a
 * stale pointer in another plugin gets -ESHUTDOWN, not freed memory.
 *
 * Life: wcore_ctx_new -> (plugin starts, runs, stops) -> wcore_ctx_close. Between the plugin's stop
 * and close the lifecycle gives up its lookups and waits for `jobs` to become 0.
 */
#ifndef WARREN_ENGINE_CTX_H
#define WARREN_ENGINE_CTX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

#include "engine/lane.h"
#include "engine/timer.h"

struct wcore_engine;
struct wcore_plugin;
struct wcore_retired;
struct wcore_document;
struct wcore_tie;
struct wcore_lookup;

#pragma GCC visibility push(default)

enum wcore_phase {
	WCORE_PHASE_START = 1,		/* inside or after `start`, until it is up */
	WCORE_PHASE_UP,
	WCORE_PHASE_RELOAD,		/* inside `reload` */
	WCORE_PHASE_STOP,		/* draining */
	WCORE_PHASE_FINI,		/* nothing may be registered */
	WCORE_PHASE_GONE,
};

/*
 * How a kind of owned thing ends: `end` gets the bytes after the header, makes them harmless and
 * does not free them. When a context closes, that happens at once; the bytes are freed only after
 * the workers' grace, since packet hooks may still look at them.
 */
struct wcore_kind {
	const char *name;
	void (*end)(void *obj);		/* NULL: plain memory */
	/* warren_release(): true if only one of several holders gave it back. NULL: has one. */
	bool (*shared)(void *obj);
	bool wipe;			/* zero the bytes before they are given back */
	bool early;			/* ends before `fini`: worker, warren_on_end() */
	bool quiet;			/* warren_release() does not call `end` */
};

struct wcore_owned {			/* in front of the bytes; keeps them aligned for any type */
	struct wcore_owned *prev, *next;	/* next: registered earlier */
	struct warren_ctx *ctx;
	const struct wcore_kind *kind;	/* NULL: ended, bytes not yet freed */
	size_t size;
	uint64_t magic;
};

struct warren_ctx {
	struct warren_ctx *next;	/* engine: all contexts of this process */
	struct wcore_engine *engine;
	struct wcore_lane *lane;
	const struct wcore_plugin *plugin;	/* NULL: the core's own context */
	const char *name;
	uint32_t id;			/* unique in this process; the monitor names it so */
	enum wcore_phase phase;		/* lane */
	bool waitable;			/* lane: inside start or reload, warren_priv_wait allowed */
	_Atomic(void *) self;
	struct wcore_owned *owned, *early;	/* lane; the newest first */
	size_t n_owned, bytes;
	uint32_t jobs;			/* lane: jobs whose `done` has not run yet */
	struct wcore_lookup *lookups;	/* lane; of lookup.c */
	bool lookups_over;
	bool refusing;			/* under the lane's queue mutex */
	struct wcore_document *documents;	/* lane; of state.c */
	struct wcore_retired *retired, **retired_tail;	/* lane */
	struct wcore_tick sweep;	/* runs while there are retired objects */
	uint64_t grave;			/* GONE: its memory is freed when this epoch has passed */
	struct warren_limit slow;	/* lane: log limit of slow callbacks */
	/* lane: the lifecycle's. A pending start or stop, and what ended it before it was one. */
	bool pending, answered;
	bool started;			/* `start` did not fail: `fini` will be called */
	int answer;
	char *fatal;			/* warren_fatal() inside `start` */
	/* Who waits for jobs to end. */
	void (*idle)(struct warren_ctx *ctx, void *arg);
	void *idle_arg;
};

/* @plugin NULL: a context of the core. NULL: no memory. Any thread. */
struct warren_ctx *wcore_ctx_new(struct wcore_engine *engine, struct wcore_lane *lane,
				 const struct wcore_plugin *plugin, const char *name);
/*
 * Lane. Ends the workers and what warren_on_end() asked for, refuses and drops errands, calls the
 * plugin's `fini`, then ends all that is owned; its memory is freed when no worker can look at it
 * any more. The structure stays, in phase GONE. Must not be called while ctx->jobs > 0.
 */
void wcore_ctx_close(struct warren_ctx *ctx);
/* Lane. Tells whoever waits for a lookup that there will be no answer. */
void wcore_lookups_end(struct warren_ctx *ctx);
/* The memory of a closed context, if its grace is over or no worker is left. Lane. */
bool wcore_ctx_bury(struct warren_ctx *ctx);
/* Lane. Looks again in a few milliseconds whether retired things can be freed. */
void wcore_ctx_sweep_later(struct warren_ctx *ctx);
/* After the engine's last worker and lane ended. */
void wcore_ctx_free(struct warren_ctx *ctx);

/* Aborts unless the caller is on the context's lane. @what names the function in the message. */
void wcore_ctx_assert(const struct warren_ctx *ctx, const char *what);
/* As above, and not after `stop` ended: for functions that register something. */
void wcore_ctx_assert_open(const struct warren_ctx *ctx, const char *what);

/*
 * Every call into a plugin is between these two: they measure. @what says which callback, for the
 * log: "timer", "command wg show".
 */
uint64_t wcore_ctx_enter(struct warren_ctx *ctx);
void wcore_ctx_leave(struct warren_ctx *ctx, uint64_t entered, const char *what);

/* Zeroed, owned bytes of @kind (which lives forever). NULL: no memory. Lane. */
void *wcore_own_new(struct warren_ctx *ctx, const struct wcore_kind *kind, size_t size);
/*
 * Ties @obj, made elsewhere, to @ctx: @free_fn(@obj) is called when the context closes. Returns the
 * tie, NULL: no memory. wcore_disown() unties without calling @free_fn; warren_release(tie) calls
 * it. Lane.
 */
struct wcore_tie *wcore_own(struct warren_ctx *ctx, void *obj, void (*free_fn)(void *obj));
void wcore_disown(struct wcore_tie *tie);

/*
 * Any thread: @fn(@ctx, @arg) on the lane between enter and leave. -ESHUTDOWN, -ENOMEM. @drop(@arg)
 * (may be NULL) is called instead if the context closes first; on any thread.
 */
int wcore_ctx_post(struct warren_ctx *ctx, warren_call_fn *fn, void *arg, void (*drop)(void *arg),
		   const char *what);

#pragma GCC visibility pop

#endif
