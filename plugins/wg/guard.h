/*
 * What must never go back (dataplane.md 1.7), in memory and on disk:
 *
 * - our own clock: the time stamps of our initiations only rise, also over a restart with a clock
 *   that stepped back a year or stands at 1970. A limit ahead of the clock is stored before stamps
 *   up to it are used; a clean stop stores the last one used.
 * - the greatest time stamp of each peer's initiations, beyond the life of the peer.
 *
 * One thread (the lane).
 */
#ifndef WG_GUARD_H
#define WG_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

#include "messages.h"

struct wg_guard;

enum {
	WG_GUARD_MAX = 65536,		/* keys remembered; the oldest go first */
};

/* Reads the state of the last run. NULL: with a sentence in @err; the plugin must not start. */
struct wg_guard *wg_guard_new(struct warren_ctx *ctx, struct warren_err *err);
void wg_guard_free(struct wg_guard *guard);	/* NULL is allowed */
/* Stores everything now (in `stop`). */
void wg_guard_store(struct wg_guard *guard);
/* Every few seconds: stores what is due. */
void wg_guard_tick(struct wg_guard *guard);

/* The stamp of an initiation of ours: greater than all before. */
void wg_guard_stamp(struct wg_guard *guard, uint8_t out[WG_TIMESTAMP_LEN]);
/* The greatest stamp of @key; zero if there is none. */
void wg_guard_greatest(const struct wg_guard *guard, const uint8_t key[32],
		       uint8_t out[WG_TIMESTAMP_LEN]);
/* An initiation with @stamp was accepted. -ENOMEM: it is remembered in the peer only. */
int wg_guard_accepted(struct wg_guard *guard, const uint8_t key[32],
		      const uint8_t stamp[WG_TIMESTAMP_LEN]);

/*
 * Seconds by which the host's clock is behind our last stamp; 0: it is not, or by no more than what
 * we reserved ourselves before a crash. For doctor.
 */
int64_t wg_guard_clock_behind(const struct wg_guard *guard);
/* Errno of the last attempt to store, 0 fine. For doctor. */
int wg_guard_error(const struct wg_guard *guard);

#endif
