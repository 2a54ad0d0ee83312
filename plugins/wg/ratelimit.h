/*
 * Limits on handshake work under load (dataplane.md 1.8): a token bucket per source, 20 per second
 * with a burst of 5, and the test of being loaded. The table is bounded, allocated whole at the
 * start, and fails closed: a source that finds no place is refused. Entries go after 1 s idle.
 *
 * One thread (the lane).
 */
#ifndef WG_RATELIMIT_H
#define WG_RATELIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

struct wg_ratelimit;

enum { WG_RATELIMIT_KEY_MAX = 16 };

/* Room for @entries sources (1 to 2^20), 32 bytes each. NULL: no memory or a bad number. */
struct wg_ratelimit *wg_ratelimit_new(uint32_t entries);
void wg_ratelimit_free(struct wg_ratelimit *limit);	/* NULL is allowed */

/* The key of an address: IPv4 whole, IPv6 its /64. Returns the length, 0 for no address. */
size_t wg_ratelimit_key(uint8_t out[WG_RATELIMIT_KEY_MAX], const struct warren_addr *addr);
/* Takes a token of @source (any bytes; relayed sources as the caller likes). false: drop it. */
bool wg_ratelimit_allow(struct wg_ratelimit *limit, const uint8_t *source, size_t len,
			uint64_t now);
uint32_t wg_ratelimit_count(const struct wg_ratelimit *limit);	/* sources held, for status */

struct wg_load {
	uint64_t until;			/* loaded before this time; 0 never was */
};
/*
 * Call it when a message is taken out of the handshake queue that held @queued of at most @bound.
 * true from 1/8 of the bound on, and for 1 s after.
 */
bool wg_load_update(struct wg_load *load, uint32_t queued, uint32_t bound, uint64_t now);

#endif
