/*
 * Job pools: that of warren_work(), and that of lookups. Threads are started when there are jobs
 * and end when there have been none for a while, so that an idle engine has none. The queue is
 * bounded.
 */
#ifndef WARREN_ENGINE_WORK_H
#define WARREN_ENGINE_WORK_H

#include <stdint.h>

#include <warren/plugin.h>

struct wcore_pool;

enum {
	WCORE_POOL_THREADS = 3,
	WCORE_POOL_QUEUE = 1024,
	WCORE_POOL_STACK = 256 << 10,	/* getaddrinfo and NSS modules want room */
};

struct wcore_pool *wcore_pool_new(void);
/* Runs what is queued, joins the threads, frees. NULL is allowed. */
void wcore_pool_free(struct wcore_pool *pool);
/*
 * The same for a pool whose jobs may last: what is queued is dropped, and where a job is running
 * the pool is left to it, which touches nothing of the engine any more.
 */
void wcore_pool_leave(struct wcore_pool *pool);
/*
 * As warren_work(), on @pool, but no stop waits for it: when the context is gone, @drop(@arg) takes
 * the place of @done, on whatever thread.
 */
int wcore_pool_lasting(struct wcore_pool *pool, struct warren_ctx *ctx, void (*job)(void *arg),
		       warren_call_fn *done, void (*drop)(void *arg), void *arg);
/* Threads that exist now. Any thread. */
uint32_t wcore_pool_threads(struct wcore_pool *pool);

#endif
