/*
 * When the lane has to look at which peer: a binary heap of live peers by deadline, so that idle
 * peers cost nothing and a deadline is exact. One thread (the lane).
 */
#ifndef WG_SCHEDULE_H
#define WG_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

struct wg_live;

struct wg_schedule {			/* zeroed: empty */
	struct wg_live **heap;		/* [1 ... count] */
	size_t count, room;
};

void wg_schedule_fini(struct wg_schedule *schedule);
/* Room for one more peer, so that set cannot fail. -ENOMEM. */
int wg_schedule_reserve(struct wg_schedule *schedule);
/* Sets the deadline; WG_NEVER takes @live out. */
void wg_schedule_set(struct wg_schedule *schedule, struct wg_live *live, uint64_t deadline);
/* The peer with the nearest deadline, or NULL. */
struct wg_live *wg_schedule_first(const struct wg_schedule *schedule);

#endif
