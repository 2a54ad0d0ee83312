/*
 * What the data plane counts. A thread adds to its own struct wg_counts and gives the sums to the
 * metrics registry once per turn, so that a packet costs an addition.
 */
#ifndef WG_COUNTERS_H
#define WG_COUNTERS_H

#include <stdint.h>

#include <warren/plugin.h>

/* id, metric, label value, what it means */
#define WG_COUNTERS(X) \
	X(OUT_MALFORMED, "drops", "out-malformed")	/* from the TUN: no valid IP packet */ \
	X(OUT_NO_PEER, "drops", "no-peer")		/* no peer has the destination */ \
	X(OUT_STAGED, "drops", "staged")		/* too many wait for a session */ \
	X(OUT_GIVEN_UP, "drops", "given-up")		/* no session came */ \
	X(OUT_NO_PATH, "drops", "no-path")		/* the peer has no path */ \
	X(OUT_RELAY_FULL, "drops", "relay-full")	/* ring to the relay: oldest */ \
	X(OUT_SEND, "drops", "send")			/* the kernel refused the datagram */ \
	X(TOO_LARGE, "drops", "too-large")		/* does not fit a slot of a ring */ \
	X(HOOK, "drops", "hook")			/* a packet hook said so */ \
	X(NO_POLICY, "drops", "no-policy")		/* the verdict slot is empty */ \
	X(POLICY, "drops", "policy")			/* the verdict said so */ \
	X(IN_TRUNCATED, "drops", "truncated")		/* datagram larger than any we take */ \
	X(IN_MALFORMED, "drops", "malformed")		/* no message of any protocol here */ \
	X(IN_FOREIGN, "drops", "foreign")		/* STUN or disco that nobody takes */ \
	X(IN_FOREIGN_FULL, "drops", "foreign-full")	/* ring to its taker: newest */ \
	X(IN_MAC1, "drops", "mac1") \
	X(IN_HANDSHAKE_FULL, "drops", "handshake-full")	/* ring to the lane: newest */ \
	X(IN_INDEX, "drops", "index")			/* unknown receiver index */ \
	X(IN_EXPIRED, "drops", "expired")		/* key too old or used up */ \
	X(IN_REPLAY, "drops", "replay") \
	X(IN_FORGED, "drops", "forged")			/* authentication failed */ \
	X(IN_INNER, "drops", "in-malformed")		/* decrypted: no valid IP packet */ \
	X(IN_SOURCE, "drops", "source")			/* inner source not of this peer */ \
	X(IN_TUN, "drops", "tun")			/* the TUN device refused it */ \
	X(IN_INJECT_FULL, "drops", "inject-full")	/* ring from the relay: oldest */ \
	X(HS_COOKIE, "drops", "cookie")			/* under load, no cookie: one was sent */ \
	X(HS_RATE, "drops", "rate")			/* under load, too many of one source */ \
	X(HS_FORGED, "drops", "handshake-forged") \
	X(HS_UNKNOWN, "drops", "handshake-unknown")	/* a key that is not in the map */ \
	X(HS_REPLAY, "drops", "handshake-replay")	/* timestamp not newer */ \
	X(HS_FLOOD, "drops", "handshake-flood")		/* of one peer, or too many new ones */ \
	X(HS_STALE, "drops", "handshake-stale")		/* answers nothing that waits */ \
	X(HS_MEMORY, "drops", "memory") \
	X(REPLY_FULL, "drops", "reply-full")		/* ring of replies of hooks: newest */ \
	X(EVENT_FULL, "drops", "event-full")		/* ring of news to the lane: newest */ \
	X(RX_PACKETS, "rx_packets", NULL) \
	X(TX_PACKETS, "tx_packets", NULL) \
	X(RX_BYTES, "rx_bytes", NULL) \
	X(TX_BYTES, "tx_bytes", NULL) \
	X(KEEPALIVE_IN, "keepalives", "received") \
	X(KEEPALIVE_OUT, "keepalives", "sent") \
	X(FOREIGN, "foreign", NULL) \
	X(RELAY_OUT, "relayed", "sent") \
	X(RELAY_IN, "relayed", "received") \
	X(GENEVE_OUT, "peer_relayed", "sent") \
	X(GENEVE_IN, "peer_relayed", "received") \
	X(INITIATED, "handshakes", "initiation-sent") \
	X(RETRIED, "handshakes", "retried") \
	X(GAVE_UP, "handshakes", "given-up") \
	X(ANSWERED, "handshakes", "answered") \
	X(COMPLETED, "handshakes", "completed") \
	X(COOKIE_OUT, "cookies_sent", NULL) \
	X(COOKIE_IN, "cookies_received", NULL) \
	X(BLOCKED, "send_blocked", NULL)		/* the socket's queue was full */

enum wg_counter {
#define WG_COUNTER_ID(id, metric, label) WG_C_##id,
	WG_COUNTERS(WG_COUNTER_ID)
#undef WG_COUNTER_ID
	WG_C_COUNT,
};
_Static_assert(WG_C_COUNT <= 64, "one bit each in wg_counts.dirty");

struct wg_counts {			/* of one thread */
	uint64_t dirty;
	uint64_t n[WG_C_COUNT];
};

struct wg_stats {			/* shared, constant after open */
	struct warren_stat *stat[WG_C_COUNT];
};

/* Lane. Opens all counters. -ENOMEM. */
int wg_stats_open(struct wg_stats *stats, struct warren_ctx *ctx);
/* The owner of @counts. Moves what it holds into the registry. */
void wg_counts_flush(struct wg_counts *counts, const struct wg_stats *stats);

static inline void wg_count(struct wg_counts *counts, enum wg_counter which, uint64_t n)
{
	counts->n[which] += n;
	counts->dirty |= UINT64_C(1) << which;
}

#endif
