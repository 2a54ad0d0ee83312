/*
 * Timers. A heap of our own instead of libevent's, because deadlines count time that the box slept
 * (CLOCK_BOOTTIME) and because tests turn the clock. The lane arms one timerfd with the first
 * deadline before it blocks, so setting a timer ten times between two turns costs no system call.
 */
#include "engine/timer.h"

#include <errno.h>
#include <stdlib.h>

#include <warren/plugin.h>

#include "base/util.h"
#include "engine/ctx.h"
#include "engine/lane.h"

struct warren_timer {
	struct wcore_tick tick;
	struct warren_ctx *ctx;
	warren_call_fn *fn;
	void *arg;
};

static bool before(const struct wcore_tick *a, const struct wcore_tick *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void put(struct wcore_heap *heap, size_t slot, struct wcore_tick *tick)
{
	heap->ticks[slot] = tick;
	tick->slot = slot;
}

static void sift_up(struct wcore_heap *heap, struct wcore_tick *tick, size_t slot)
{
	while (slot > 1 && before(tick, heap->ticks[slot / 2])) {
		put(heap, slot, heap->ticks[slot / 2]);
		slot /= 2;
	}
	put(heap, slot, tick);
}

static void sift_down(struct wcore_heap *heap, struct wcore_tick *tick, size_t slot)
{
	size_t child;

	for (; (child = 2 * slot) <= heap->count; slot = child) {
		if (child < heap->count && before(heap->ticks[child + 1], heap->ticks[child]))
			child++;
		if (!before(heap->ticks[child], tick))
			break;
		put(heap, slot, heap->ticks[child]);
	}
	put(heap, slot, tick);
}

static void heap_remove(struct wcore_heap *heap, struct wcore_tick *tick)
{
	size_t slot = tick->slot;
	struct wcore_tick *last;

	if (!slot)
		return;
	tick->slot = 0;
	last = heap->ticks[heap->count--];
	if (last == tick)
		return;
	if (slot > 1 && before(last, heap->ticks[slot / 2]))
		sift_up(heap, last, slot);
	else
		sift_down(heap, last, slot);
}

int wcore_tick_init(struct wcore_tick *tick, struct wcore_lane *lane,
		    void (*fn)(struct wcore_tick *tick))
{
	struct wcore_heap *heap = wcore_lane_heap(lane);
	struct wcore_tick **ticks;
	size_t capacity;

	if (heap->reserved + 2 > heap->capacity) {
		capacity = heap->capacity ? 2 * heap->capacity : 16;
		ticks = reallocarray(heap->ticks, capacity, sizeof(*ticks));
		if (!ticks)
			return -ENOMEM;
		heap->ticks = ticks;
		heap->capacity = capacity;
	}
	heap->reserved++;
	*tick = (struct wcore_tick){ .lane = lane, .fn = fn };
	return 0;
}

void wcore_tick_fini(struct wcore_tick *tick)
{
	struct wcore_heap *heap;

	if (!tick->lane)
		return;
	heap = wcore_lane_heap(tick->lane);
	heap_remove(heap, tick);
	heap->reserved--;
	tick->lane = NULL;
}

void wcore_tick_set(struct wcore_tick *tick, uint64_t usec)
{
	struct wcore_heap *heap = wcore_lane_heap(tick->lane);
	uint64_t now = warren_now();

	heap_remove(heap, tick);
	tick->at = usec > UINT64_MAX - 1 - now ? UINT64_MAX - 1 : now + usec;
	tick->seq = ++heap->seq;
	sift_up(heap, tick, ++heap->count);
}

void wcore_tick_stop(struct wcore_tick *tick)
{
	heap_remove(wcore_lane_heap(tick->lane), tick);
}

bool wcore_heap_run(struct wcore_heap *heap)
{
	uint64_t now = warren_now(), seq = heap->seq;
	struct wcore_tick *tick;
	bool any = false;

	/*
	 * What callbacks set from here on has a later deadline than `now`, or the same and a later
	 * number: it waits for the next turn, so that descriptors get theirs.
	 */
	while (heap->count) {
		tick = heap->ticks[1];
		if (tick->at > now || tick->seq > seq)
			break;
		heap_remove(heap, tick);
		tick->fn(tick);
		any = true;
	}
	return any;
}

uint64_t wcore_heap_next(const struct wcore_heap *heap)
{
	return heap->count ? heap->ticks[1]->at : UINT64_MAX;
}

void wcore_heap_free(struct wcore_heap *heap)
{
	free(heap->ticks);
	*heap = (struct wcore_heap){ 0 };
}

static void timer_fire(struct wcore_tick *tick)
{
	struct warren_timer *timer = CONTAINER_OF(tick, struct warren_timer, tick);
	struct warren_ctx *ctx = timer->ctx;
	uint64_t entered = wcore_ctx_enter(ctx);

	timer->fn(ctx, timer->arg);	/* may release the timer */
	wcore_ctx_leave(ctx, entered, "timer");
}

static void timer_end(void *obj)
{
	struct warren_timer *timer = obj;

	wcore_tick_fini(&timer->tick);
}

static const struct wcore_kind timer_kind = { .name = "timer", .end = timer_end };

struct warren_timer *warren_timer_new(struct warren_ctx *ctx, warren_call_fn *fn, void *arg)
{
	struct warren_timer *timer;

	wcore_ctx_assert_open(ctx, "warren_timer_new");
	timer = wcore_own_new(ctx, &timer_kind, sizeof(*timer));
	if (!timer)
		return NULL;
	timer->ctx = ctx;
	timer->fn = fn;
	timer->arg = arg;
	if (wcore_tick_init(&timer->tick, ctx->lane, timer_fire)) {
		warren_release(timer);
		return NULL;
	}
	return timer;
}

void warren_timer_set(struct warren_timer *timer, uint64_t usec)
{
	wcore_ctx_assert_open(timer->ctx, "warren_timer_set");
	wcore_tick_set(&timer->tick, usec);
}

void warren_timer_stop(struct warren_timer *timer)
{
	wcore_ctx_assert(timer->ctx, "warren_timer_stop");
	if (timer->tick.lane)
		wcore_tick_stop(&timer->tick);
}
