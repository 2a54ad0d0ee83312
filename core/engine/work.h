/*
 * The job pool: warren_work(). Threads are started when there are jobs and end when there have
 * been none for a while, so that an idle engine has none. The queue is bounded.
 */
#ifndef WARREN_ENGINE_WORK_H
#define WARREN_ENGINE_WORK_H

#include <stdint.h>

struct wcore_pool;

enum {
	WCORE_POOL_THREADS = 3,
	WCORE_POOL_QUEUE = 1024,
	WCORE_POOL_STACK = 256 << 10,	/* getaddrinfo and NSS modules want room */
};

struct wcore_pool *wcore_pool_new(void);
/* Runs what is queued, joins the threads, frees. NULL is allowed. */
void wcore_pool_free(struct wcore_pool *pool);
/* Threads that exist now. Any thread. */
uint32_t wcore_pool_threads(struct wcore_pool *pool);

#endif
