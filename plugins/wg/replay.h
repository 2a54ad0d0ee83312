/*
 * The replay window of one receiving key: RFC 6479 ring of 8192 bits, 8128 usable (dataplane.md
 * 1.11). Counters from WG_REJECT_AFTER_MESSAGES on are refused. One thread at a time: the worker
 * that owns the session. A zeroed structure is a fresh window.
 */
#ifndef WG_REPLAY_H
#define WG_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "messages.h"

struct wg_replay {
	uint64_t greatest;
	uint64_t bits[WG_REPLAY_BITS / 64];
};

/* Before decryption: would @counter be accepted? Marks nothing. */
bool wg_replay_check(const struct wg_replay *window, uint64_t counter);
/* After authentication: accepts @counter once. false: limit, too old or seen; changes nothing. */
bool wg_replay_accept(struct wg_replay *window, uint64_t counter);

#endif
