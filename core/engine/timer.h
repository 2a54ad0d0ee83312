/*
 * Deadlines of a lane: a binary heap of ticks. warren_timer_*() is a tick with a context.
 */
#ifndef WARREN_ENGINE_TIMER_H
#define WARREN_ENGINE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wcore_lane;

struct wcore_tick {			/* embed; the lane's thread only */
	struct wcore_lane *lane;
	void (*fn)(struct wcore_tick *tick);
	uint64_t at;			/* warren_now() clock */
	uint64_t seq;			/* of the call that set it: equal deadlines run in order */
	size_t slot;			/* in the heap, from 1; 0: not set */
};

struct wcore_heap {
	struct wcore_tick **ticks;
	size_t count, capacity;
	size_t reserved;		/* ticks that exist, set or not: setting one cannot fail */
	uint64_t seq;
};

/* 0 or -ENOMEM. Every initialised tick is ended with wcore_tick_fini(). */
int wcore_tick_init(struct wcore_tick *tick, struct wcore_lane *lane,
		    void (*fn)(struct wcore_tick *tick));
void wcore_tick_fini(struct wcore_tick *tick);
void wcore_tick_set(struct wcore_tick *tick, uint64_t usec);	/* from now */
void wcore_tick_stop(struct wcore_tick *tick);

/* For lane.c. Runs what is due and was set before this call; whether there was something. */
bool wcore_heap_run(struct wcore_heap *heap);
/* The next deadline, or UINT64_MAX. */
uint64_t wcore_heap_next(const struct wcore_heap *heap);
void wcore_heap_free(struct wcore_heap *heap);

#endif
