/*
 * A binary heap; each member knows its place, so that a deadline can move.
 */
#include "schedule.h"

#include <errno.h>
#include <stdlib.h>

#include "peer.h"

void wg_schedule_fini(struct wg_schedule *schedule)
{
	free(schedule->heap);
	schedule->heap = NULL;
	schedule->count = schedule->room = 0;
}

int wg_schedule_reserve(struct wg_schedule *schedule)
{
	size_t room = schedule->room ? schedule->room * 2 : 16;
	struct wg_live **heap;

	if (schedule->count + 2 <= schedule->room)
		return 0;
	heap = realloc(schedule->heap, room * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	schedule->heap = heap;
	schedule->room = room;
	return 0;
}

static void put(struct wg_schedule *schedule, size_t at, struct wg_live *live)
{
	schedule->heap[at] = live;
	live->heap_at = at;
}

static void rise(struct wg_schedule *schedule, struct wg_live *live, size_t at)
{
	while (at > 1 && schedule->heap[at / 2]->deadline > live->deadline) {
		put(schedule, at, schedule->heap[at / 2]);
		at /= 2;
	}
	put(schedule, at, live);
}

static void sink(struct wg_schedule *schedule, struct wg_live *live, size_t at)
{
	for (;;) {
		size_t child = at * 2;

		if (child > schedule->count)
			break;
		if (child < schedule->count &&
		    schedule->heap[child + 1]->deadline < schedule->heap[child]->deadline)
			child++;
		if (schedule->heap[child]->deadline >= live->deadline)
			break;
		put(schedule, at, schedule->heap[child]);
		at = child;
	}
	put(schedule, at, live);
}

void wg_schedule_set(struct wg_schedule *schedule, struct wg_live *live, uint64_t deadline)
{
	size_t at = live->heap_at;

	live->deadline = deadline;
	if (deadline == WG_NEVER) {
		struct wg_live *last;

		if (!at)
			return;
		last = schedule->heap[schedule->count--];
		live->heap_at = 0;
		if (last != live) {
			rise(schedule, last, at);
			sink(schedule, last, last->heap_at);
		}
		return;
	}
	if (!at)
		at = ++schedule->count;
	rise(schedule, live, at);
	sink(schedule, live, live->heap_at);
}

struct wg_live *wg_schedule_first(const struct wg_schedule *schedule)
{
	return schedule->count ? schedule->heap[1] : NULL;
}
