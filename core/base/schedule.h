/*
 * base/schedule.h - who is due when
 *
 * A binary heap of entries by deadline, so that one timer serves many: idle ones cost nothing, and
 * a deadline is exact. Entries are embedded in what they stand for (CONTAINER_OF). No locking.
 */
#ifndef WARREN_BASE_SCHEDULE_H
#define WARREN_BASE_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

#define SCHEDULE_NEVER UINT64_MAX

struct schedule_entry {			/* zeroed: in no schedule */
	uint64_t deadline;
	size_t at;			/* 1 ...; 0: not in it */
};

struct schedule {			/* zeroed: empty */
	struct schedule_entry **heap;	/* [1 ... count] */
	size_t count, room;
};

void schedule_fini(struct schedule *schedule);
/* Room for one more entry, so that set cannot fail. -ENOMEM. */
int schedule_reserve(struct schedule *schedule);
/* Sets the deadline; SCHEDULE_NEVER takes @entry out. */
void schedule_set(struct schedule *schedule, struct schedule_entry *entry, uint64_t deadline);
/* The entry with the nearest deadline, or NULL. */
struct schedule_entry *schedule_first(const struct schedule *schedule);

#endif
