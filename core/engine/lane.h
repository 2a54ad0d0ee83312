/*
 * Lanes: threads with an event loop.
 *
 * The lane "main" is the process's first thread; others are started for plugins whose section has
 * `lane: NAME`. What lives on a lane is touched by its thread alone, without locks. Other threads
 * reach it through wcore_lane_post(), a queue under a mutex with an eventfd; nothing else of a
 * lane is shared.
 */
#ifndef WARREN_ENGINE_LANE_H
#define WARREN_ENGINE_LANE_H

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct warren_ctx;
struct warren_err;
struct warren_timer;
struct wcore_heap;
struct wcore_lane;

#pragma GCC visibility push(default)

enum { WCORE_LANE_NAME = 16 };	/* with NUL: it is also the thread's name */

/*
 * An errand for a lane; embed it. It is run, or it is dropped because @ctx closed or the lane
 * ended; exactly one of the two is called, exactly once, and owns the errand from then on.
 */
struct wcore_post {
	struct wcore_post *next;
	struct warren_ctx *ctx;		/* NULL: of the core, never refused */
	void (*run)(struct wcore_post *post);
	void (*drop)(struct wcore_post *post);	/* may run on any thread */
};

/*
 * A lane for the calling thread, or (@own_thread) with a thread of its own that runs it at once.
 * NULL with a sentence in @err.
 */
struct wcore_lane *wcore_lane_new(const char *name, bool own_thread, struct warren_err *err);
/* Ends the loop, joins the thread, drops what is queued, frees. NULL is allowed. */
void wcore_lane_free(struct wcore_lane *lane);

const char *wcore_lane_name(const struct wcore_lane *lane);	/* any thread */
/* Whether the caller runs on @lane. Any thread. */
bool wcore_lane_here(const struct wcore_lane *lane);

/* Runs until wcore_lane_break(). */
void wcore_lane_run(struct wcore_lane *lane);
void wcore_lane_break(struct wcore_lane *lane);		/* any thread */
/*
 * One turn: due timers, then events, then errands. @wait: blocks until there is something to do.
 * For tests and for wcore_lane_run(); not inside a callback.
 */
void wcore_lane_turn(struct wcore_lane *lane, bool wait);

/*
 * Queues @post; errands run in the order of posting, never inside this call. -ESHUTDOWN (and
 * neither run nor drop will be called): post->ctx is closed. Any thread.
 */
int wcore_lane_post(struct wcore_lane *lane, struct wcore_post *post);
/* From now on errands of @ctx are refused; those in the queue are dropped. On the lane. */
void wcore_lane_refuse(struct wcore_lane *lane, struct warren_ctx *ctx);

/* For io.c and for core/net: the only files that know libevent. For timer.c. */
struct event_base *wcore_lane_base(struct wcore_lane *lane);
struct wcore_heap *wcore_lane_heap(struct wcore_lane *lane);

#pragma GCC visibility pop

#endif
