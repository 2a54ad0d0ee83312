/*
 * A binary heap; each entry knows its place, so that a deadline can move.
 */
#include "base/schedule.h"

#include <errno.h>
#include <stdlib.h>

void schedule_fini(struct schedule *schedule)
{
	free(schedule->heap);
	schedule->heap = NULL;
	schedule->count = schedule->room = 0;
}

int schedule_reserve(struct schedule *schedule)
{
	size_t room = schedule->room ? schedule->room * 2 : 16;
	struct schedule_entry **heap;

	if (schedule->count + 2 <= schedule->room)
		return 0;
	heap = realloc(schedule->heap, room * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	schedule->heap = heap;
	schedule->room = room;
	return 0;
}

static void put(struct schedule *schedule, size_t at, struct schedule_entry *entry)
{
	schedule->heap[at] = entry;
	entry->at = at;
}

static void rise(struct schedule *schedule, struct schedule_entry *entry, size_t at)
{
	while (at > 1 && schedule->heap[at / 2]->deadline > entry->deadline) {
		put(schedule, at, schedule->heap[at / 2]);
		at /= 2;
	}
	put(schedule, at, entry);
}

static void sink(struct schedule *schedule, struct schedule_entry *entry, size_t at)
{
	for (;;) {
		size_t child = at * 2;

		if (child > schedule->count)
			break;
		if (child < schedule->count &&
		    schedule->heap[child + 1]->deadline < schedule->heap[child]->deadline)
			child++;
		if (schedule->heap[child]->deadline >= entry->deadline)
			break;
		put(schedule, at, schedule->heap[child]);
		at = child;
	}
	put(schedule, at, entry);
}

void schedule_set(struct schedule *schedule, struct schedule_entry *entry, uint64_t deadline)
{
	size_t at = entry->at;

	entry->deadline = deadline;
	if (deadline == SCHEDULE_NEVER) {
		struct schedule_entry *last;

		if (!at)
			return;
		last = schedule->heap[schedule->count--];
		entry->at = 0;
		if (last != entry) {
			rise(schedule, last, at);
			sink(schedule, last, last->at);
		}
		return;
	}
	if (!at)
		at = ++schedule->count;
	rise(schedule, entry, at);
	sink(schedule, entry, entry->at);
}

struct schedule_entry *schedule_first(const struct schedule *schedule)
{
	return schedule->count ? schedule->heap[1] : NULL;
}
