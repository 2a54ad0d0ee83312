/*
 * Contexts. A plugin registers things by the dozen and frees none; what makes that safe is here:
 * one list per context, and a close in a fixed order that leaves no caller behind before memory
 * goes.
 */
#include "engine/ctx.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/util.h"
#include "engine/bus.h"
#include "engine/engine.h"
#include "engine/epoch.h"
#include "engine/log.h"
#include "engine/loop.h"
#include "engine/plugin_load.h"
#include "engine/service.h"

#define OWNED_MAGIC UINT64_C(0x6e65727261776f21)

enum {
	SLOW_USEC = 5000,		/* a callback may take this long */
	GRAVE_USEC = 5000,		/* workers turn over faster than that */
};

struct errand {
	struct wcore_post post;
	warren_call_fn *fn;
	void *arg;
	void (*drop)(void *arg);
	const char *what;
};

struct wcore_tie {
	void *obj;
	void (*fn)(void *obj);
};

static void try_again(struct wcore_tick *tick)
{
	struct warren_ctx *ctx = CONTAINER_OF(tick, struct warren_ctx, sweep);

	if (ctx->phase == WCORE_PHASE_GONE)
		wcore_ctx_bury(ctx);
	else
		wcore_retired_sweep(ctx, false);
}

void wcore_ctx_sweep_later(struct warren_ctx *ctx)
{
	/* Without memory for the tick, the next call or the engine's end looks again. */
	if (ctx->sweep.lane || !wcore_tick_init(&ctx->sweep, ctx->lane, try_again))
		wcore_tick_set(&ctx->sweep, GRAVE_USEC);
}

struct warren_ctx *wcore_ctx_new(struct wcore_engine *engine, struct wcore_lane *lane,
				 const struct wcore_plugin *plugin, const char *name)
{
	struct warren_ctx *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return NULL;
	ctx->engine = engine;
	ctx->lane = lane;
	ctx->plugin = plugin;
	ctx->name = name;
	ctx->phase = plugin ? WCORE_PHASE_START : WCORE_PHASE_UP;
	ctx->retired_tail = &ctx->retired;
	return ctx;
}

/*
 * ---- Ownership ----
 */

static struct wcore_owned *header_of(void *obj)
{
	struct wcore_owned *owned = (struct wcore_owned *)((char *)obj - sizeof(*owned));

	if (owned->magic != OWNED_MAGIC) {
		wcore_log(LOG_CRIT, "warren_release: %p is nothing that a context owns", obj);
		abort();
	}
	return owned;
}

static struct wcore_owned **list_of(struct warren_ctx *ctx, const struct wcore_kind *kind)
{
	return kind && kind->early ? &ctx->early : &ctx->owned;
}

static void unlink_owned(struct wcore_owned **list, struct wcore_owned *owned)
{
	if (owned->prev)
		owned->prev->next = owned->next;
	else
		*list = owned->next;
	if (owned->next)
		owned->next->prev = owned->prev;
}

static void link_owned(struct wcore_owned **list, struct wcore_owned *owned)
{
	owned->prev = NULL;
	owned->next = *list;
	if (owned->next)
		owned->next->prev = owned;
	*list = owned;
}

static void end_owned(struct wcore_owned *owned)
{
	const struct wcore_kind *kind = owned->kind;

	if (!kind || !kind->end)
		return;
	owned->kind = NULL;
	kind->end(owned + 1);
}

static void free_owned(struct wcore_owned *owned, bool wipe)
{
	owned->magic = 0;
	if (wipe)
		sodium_memzero(owned + 1, owned->size);
	free(owned);
}

void *wcore_own_new(struct warren_ctx *ctx, const struct wcore_kind *kind, size_t size)
{
	struct wcore_owned *owned;
	size_t total;

	_Static_assert(sizeof(*owned) % _Alignof(max_align_t) == 0, "what follows is aligned");
	if (!size_add(sizeof(*owned), size, &total))
		return NULL;
	owned = calloc(1, total);
	if (!owned)
		return NULL;
	owned->ctx = ctx;
	owned->kind = kind;
	owned->size = size;
	owned->magic = OWNED_MAGIC;
	link_owned(list_of(ctx, kind), owned);
	ctx->n_owned++;
	ctx->bytes += size;
	return owned + 1;
}

static const struct wcore_kind memory_kind = { .name = "memory" };

void *warren_zalloc(struct warren_ctx *ctx, size_t size)
{
	wcore_ctx_assert_open(ctx, "warren_zalloc");
	return wcore_own_new(ctx, &memory_kind, size);
}

static void disown(void *obj, bool end)
{
	struct wcore_owned *owned = header_of(obj);
	const struct wcore_kind *kind = owned->kind;
	struct warren_ctx *ctx = owned->ctx;

	wcore_ctx_assert(ctx, "warren_release");
	if (end)
		end_owned(owned);
	unlink_owned(list_of(ctx, kind), owned);
	ctx->n_owned--;
	ctx->bytes -= owned->size;
	free_owned(owned, kind && kind->wipe);
}

void warren_release(void *obj)
{
	const struct wcore_kind *kind;

	if (!obj)
		return;
	kind = header_of(obj)->kind;
	if (kind && kind->shared && kind->shared(obj))
		return;
	disown(obj, !kind || !kind->quiet);
}

static void tie_end(void *obj)
{
	struct wcore_tie *tie = obj;

	tie->fn(tie->obj);
}

static const struct wcore_kind tie_kind = { .name = "tie", .end = tie_end };
static const struct wcore_kind end_kind = {
	.name = "end call", .end = tie_end, .early = true, .quiet = true,
};

static struct wcore_tie *tie_new(struct warren_ctx *ctx, const struct wcore_kind *kind, void *obj,
				 void (*fn)(void *obj))
{
	struct wcore_tie *tie = wcore_own_new(ctx, kind, sizeof(*tie));

	if (tie)
		*tie = (struct wcore_tie){ .obj = obj, .fn = fn };
	return tie;
}

struct wcore_tie *wcore_own(struct warren_ctx *ctx, void *obj, void (*free_fn)(void *obj))
{
	wcore_ctx_assert_open(ctx, "wcore_own");
	return tie_new(ctx, &tie_kind, obj, free_fn);
}

void wcore_disown(struct wcore_tie *tie)
{
	if (tie)
		disown(tie, false);
}

void *warren_on_end(struct warren_ctx *ctx, void (*fn)(void *arg), void *arg)
{
	wcore_ctx_assert_open(ctx, "warren_on_end");
	return tie_new(ctx, &end_kind, arg, fn);
}

/*
 * ---- The end ----
 */

/*
 * Moves the ended things to the plain list: their bytes may be looked at until the grave is closed.
 * Each pass takes the newest, since ending one may release others.
 */
static void end_early(struct warren_ctx *ctx)
{
	struct wcore_owned *owned;

	while ((owned = ctx->early)) {
		unlink_owned(&ctx->early, owned);
		link_owned(&ctx->owned, owned);
		end_owned(owned);
	}
}

static void end_rest(struct warren_ctx *ctx)
{
	struct wcore_owned *owned = ctx->owned;

	while (owned) {
		if (!owned->kind || !owned->kind->end) {
			owned = owned->next;
			continue;
		}
		end_owned(owned);
		owned = ctx->owned;	/* a tie's function may have released any of them */
	}
}

void wcore_ctx_close(struct warren_ctx *ctx)
{
	const struct wcore_plugin *plugin = ctx->plugin;

	wcore_ctx_assert(ctx, "wcore_ctx_close");
	end_early(ctx);
	wcore_lane_refuse(ctx->lane, ctx);
	ctx->phase = WCORE_PHASE_FINI;
	if (ctx->started && plugin->desc.fini)
		plugin->desc.fini(ctx);
	wcore_service_withdraw(ctx);
	wcore_bus_forget(wcore_engine_bus(ctx->engine), ctx);
	end_rest(ctx);
	if (plugin)
		wcore_engine_owner_end(ctx->engine, ctx);
	ctx->phase = WCORE_PHASE_GONE;
	ctx->grave = wcore_epoch_retire(wcore_engine_epochs(ctx->engine));
	wcore_ctx_bury(ctx);
}

bool wcore_ctx_bury(struct warren_ctx *ctx)
{
	struct wcore_owned *owned;

	if (wcore_epoch_passed(wcore_engine_epochs(ctx->engine)) < ctx->grave) {
		wcore_ctx_sweep_later(ctx);
		return false;
	}
	wcore_retired_sweep(ctx, true);
	wcore_tick_fini(&ctx->sweep);
	while ((owned = ctx->owned)) {
		unlink_owned(&ctx->owned, owned);
		free_owned(owned, owned->kind && owned->kind->wipe);
	}
	ctx->n_owned = ctx->bytes = 0;
	return true;
}

void wcore_ctx_free(struct warren_ctx *ctx)
{
	free(ctx);
}

/*
 * ---- Assertions and measuring ----
 */

void wcore_ctx_assert(const struct warren_ctx *ctx, const char *what)
{
	if (wcore_lane_here(ctx->lane))
		return;
	wcore_log(LOG_CRIT, "%s: called for plugin `%s` on a thread that is not its lane `%s`",
		  what, ctx->name, wcore_lane_name(ctx->lane));
	abort();
}

void wcore_ctx_assert_open(const struct warren_ctx *ctx, const char *what)
{
	wcore_ctx_assert(ctx, what);
	if (ctx->phase <= WCORE_PHASE_STOP)
		return;
	wcore_log(LOG_CRIT, "%s: called for plugin `%s` after its stop", what, ctx->name);
	abort();
}

/*
 * Callbacks nest: the control socket's runs a plugin's command. The stopwatch of this thread leaves
 * out the time for which somebody inside has been held to account.
 */
static _Thread_local uint64_t accounted;

uint64_t wcore_ctx_enter(struct warren_ctx *ctx)
{
	wcore_ctx_assert(ctx, "a callback");
	return wcore_clock_stopwatch() - accounted;
}

void wcore_ctx_leave(struct warren_ctx *ctx, uint64_t entered, const char *what)
{
	uint64_t took = wcore_clock_stopwatch() - accounted - entered;

	accounted += took;
	if (took > SLOW_USEC)
		wcore_log_limit(&ctx->slow, LOG_WARNING,
				"%s%s%s held up lane `%s` for %llu ms (%s)",
				ctx->plugin ? "plugin `" : "the ", ctx->name,
				ctx->plugin ? "`" : "", wcore_lane_name(ctx->lane),
				(unsigned long long)took / 1000, what);
}

/*
 * ---- Errands ----
 */

static void errand_run(struct wcore_post *post)
{
	struct errand e = *CONTAINER_OF(post, struct errand, post);
	uint64_t entered;

	free(CONTAINER_OF(post, struct errand, post));
	entered = wcore_ctx_enter(e.post.ctx);
	e.fn(e.post.ctx, e.arg);
	wcore_ctx_leave(e.post.ctx, entered, e.what);
}

static void errand_drop(struct wcore_post *post)
{
	struct errand *e = CONTAINER_OF(post, struct errand, post);

	if (e->drop)
		e->drop(e->arg);
	free(e);
}

int wcore_ctx_post(struct warren_ctx *ctx, warren_call_fn *fn, void *arg, void (*drop)(void *arg),
		   const char *what)
{
	struct errand *e = malloc(sizeof(*e));
	int rc;

	if (!e)
		return -ENOMEM;
	*e = (struct errand){
		.post = { .ctx = ctx, .run = errand_run, .drop = errand_drop },
		.fn = fn, .arg = arg, .drop = drop, .what = what,
	};
	rc = wcore_lane_post(ctx->lane, &e->post);
	if (rc)
		free(e);
	return rc;
}

int warren_defer(struct warren_ctx *ctx, warren_call_fn *fn, void *arg)
{
	return wcore_ctx_post(ctx, fn, arg, NULL, "deferred call");
}

/*
 * ---- What a plugin asks about itself ----
 */

void *warren_self(struct warren_ctx *ctx)
{
	return atomic_load_explicit(&ctx->self, memory_order_acquire);
}

void warren_self_set(struct warren_ctx *ctx, void *self)
{
	atomic_store_explicit(&ctx->self, self, memory_order_release);
}

const char *warren_name(const struct warren_ctx *ctx)
{
	return ctx->name;
}
