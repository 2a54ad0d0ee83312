/*
 * Epochs. Claim: when wcore_epoch_passed() returns P, no reader holds a pointer that was
 * unpublished before its writer's wcore_epoch_retire() returned an epoch E <= P.
 *
 * `now` only grows. retire() adds one to it and returns the new value E; the unpublishing store is
 * before that in the writer's order. passed() returns the least `seen` of all readers that are
 * online, or `now`. For each reader that it looked at:
 *
 * (1) It read `seen` == S >= E. The reader stored S after it loaded `now` == S with acquire order,
 *     and the value S was made by a release at or after the writer's. So what the reader loads
 *     after that sees the unpublishing. What it read before, it has finished with: its store of S
 *     releases, passed() acquires.
 * (2) It read `seen` == 0, offline. What the reader read before is finished as in (1). What it
 *     reads after it went online again: online() stores `seen` and then has a full fence before the
 *     first read; retire() has a full fence between the unpublishing and the look at `seen`. Of
 *     two such threads at least one sees the other's store (store buffering): since passed() did
 *     not see the reader's, the reader sees the writer's, and gets the new pointer.
 *
 * A reader that keeps turning sees `now` at each turn, so P reaches E soon; one that sleeps is
 * offline. Nobody waits.
 */
#include "engine/epoch.h"

#include <pthread.h>
#include <stdlib.h>

#include <warren/packet.h>

#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/log.h"

struct wcore_epochs {
	_Atomic uint64_t now;
	pthread_mutex_t mutex;		/* the list of readers; no reader's turn takes it */
	struct wcore_reader *readers;
};

struct wcore_retired {
	struct wcore_retired *next;
	void *ptr;
	void (*free)(void *ptr);
	uint64_t epoch;
};

/* ThreadSanitizer knows no fences, but a read-modify-write of one place orders as much. */
static void full_fence(struct wcore_epochs *epochs)
{
#if defined(__SANITIZE_THREAD__)
	atomic_fetch_add_explicit(&epochs->now, 0, memory_order_seq_cst);
#else
	(void)epochs;
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

struct wcore_epochs *wcore_epochs_new(void)
{
	struct wcore_epochs *epochs = calloc(1, sizeof(*epochs));

	if (!epochs)
		return NULL;
	atomic_init(&epochs->now, 1);
	pthread_mutex_init(&epochs->mutex, NULL);
	return epochs;
}

void wcore_epochs_free(struct wcore_epochs *epochs)
{
	if (!epochs)
		return;
	pthread_mutex_destroy(&epochs->mutex);
	free(epochs);
}

void wcore_reader_add(struct wcore_epochs *epochs, struct wcore_reader *reader)
{
	reader->epochs = epochs;
	atomic_init(&reader->seen, 0);
	pthread_mutex_lock(&epochs->mutex);
	reader->next = epochs->readers;
	epochs->readers = reader;
	pthread_mutex_unlock(&epochs->mutex);
}

void wcore_reader_remove(struct wcore_reader *reader)
{
	struct wcore_epochs *epochs = reader->epochs;
	struct wcore_reader **at;

	pthread_mutex_lock(&epochs->mutex);
	for (at = &epochs->readers; *at != reader; at = &(*at)->next)
		;
	*at = reader->next;
	pthread_mutex_unlock(&epochs->mutex);
}

uint64_t wcore_epoch_retire(struct wcore_epochs *epochs)
{
	uint64_t epoch = atomic_fetch_add_explicit(&epochs->now, 1, memory_order_acq_rel) + 1;

	full_fence(epochs);
	return epoch;
}

uint64_t wcore_epoch_passed(struct wcore_epochs *epochs)
{
	uint64_t passed, seen;

	pthread_mutex_lock(&epochs->mutex);
	passed = atomic_load_explicit(&epochs->now, memory_order_acquire);
	for (struct wcore_reader *r = epochs->readers; r; r = r->next) {
		seen = atomic_load_explicit(&r->seen, memory_order_acquire);
		if (seen && seen < passed)
			passed = seen;
	}
	pthread_mutex_unlock(&epochs->mutex);
	return passed;
}

void wcore_reader_turn(struct wcore_reader *reader)
{
	uint64_t now = atomic_load_explicit(&reader->epochs->now, memory_order_acquire);

	atomic_store_explicit(&reader->seen, now, memory_order_release);
}

void wcore_reader_online(struct wcore_reader *reader)
{
	wcore_reader_turn(reader);
	full_fence(reader->epochs);
}

void wcore_reader_offline(struct wcore_reader *reader)
{
	atomic_store_explicit(&reader->seen, 0, memory_order_release);
}

void warren_retire(struct warren_ctx *ctx, void *ptr, void (*free_fn)(void *ptr))
{
	struct wcore_retired *r;

	wcore_ctx_assert(ctx, "warren_retire");
	r = malloc(sizeof(*r));
	if (!r) {
		/* A leak is the only safe way out: somebody may read it, and nobody may wait. */
		wcore_log(LOG_ERR, "plugin `%s`: no memory to retire an object, which is lost",
			  ctx->name);
		return;
	}
	*r = (struct wcore_retired){
		.ptr = ptr, .free = free_fn,
		.epoch = wcore_epoch_retire(wcore_engine_epochs(ctx->engine)),
	};
	*ctx->retired_tail = r;
	ctx->retired_tail = &r->next;
	if (ctx->phase != WCORE_PHASE_GONE)
		wcore_ctx_sweep_later(ctx);
}

void wcore_retired_sweep(struct warren_ctx *ctx, bool all)
{
	uint64_t passed = wcore_epoch_passed(wcore_engine_epochs(ctx->engine));
	struct wcore_retired *r;

	while ((r = ctx->retired) && (all || r->epoch <= passed)) {
		ctx->retired = r->next;
		if (!ctx->retired)
			ctx->retired_tail = &ctx->retired;
		r->free(r->ptr);
		free(r);
	}
	if (ctx->retired)
		wcore_ctx_sweep_later(ctx);
}
