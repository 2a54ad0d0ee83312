/*
 * How one peer is reached: the state machine of path-protocols.md 4, for addresses of UDP and a
 * relay. Pure: it is driven by events, gets the time with each, and acts through struct
 * paths_acts. After each event its owner asks paths_peer_deadline() when to call
 * paths_peer_turn().
 */
#ifndef PATHS_PEER_H
#define PATHS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/disco.h>
#include <warren/plugin.h>

#define PATHS_MSEC UINT64_C(1000)
#define PATHS_SECOND (1000 * PATHS_MSEC)
#define PATHS_NEVER UINT64_MAX

#define PATHS_SESSION (45 * PATHS_SECOND)	/* 4.1 */
#define PATHS_HEARTBEAT (3 * PATHS_SECOND)
#define PATHS_TRUST (6500 * PATHS_MSEC)
#define PATHS_PING_TIMEOUT (5 * PATHS_SECOND)
#define PATHS_PING_SPACING (5 * PATHS_SECOND)
#define PATHS_RETURN_SPACING PATHS_SECOND	/* of pings to where one came from */
#define PATHS_UPGRADE (60 * PATHS_SECOND)
#define PATHS_GOOD_ENOUGH (5 * PATHS_MSEC)
#define PATHS_CHECK_WAIT (400 * PATHS_MSEC)	/* for the answer to a large ping; and two rounds */

enum {
	PATHS_CANDIDATES = 64,		/* of the map and learned */
	PATHS_LEARNED = 32,		/* by pings and calls */
	PATHS_PINGS = 2 * PATHS_CANDIDATES,
	PATHS_HISTORY = 200,
	PATHS_CHECKS = 5,		/* large pings in vain until an address is narrow */
	PATHS_CHECKS_PROVEN = 8,	/* the same, of one that has answered them before */
	PATHS_CHECK_BYTES = 8192,	/* of the tunnel's, after which the address is checked */
	PATHS_LARGEST = 8972,		/* UDP payload of a ping: an MTU of 9000 */
};

enum paths_purpose {
	PATHS_DISCOVERY, PATHS_HEARTBEATING, PATHS_COMMAND,
	PATHS_CHECK,			/* whether large packets arrive */
};

/* Why a path changed; the words are in paths_reason_word(). */
enum paths_reason {
	PATHS_FIRST_ANSWER = 1,		/* an address answered, and none did before */
	PATHS_BETTER,			/* another one answered that is better */
	PATHS_IN_DOUBT,			/* the one in use has not answered for PATHS_TRUST */
	PATHS_ANSWERS_AGAIN,		/* it does again */
	PATHS_REPLACED,			/* another one answered while it was in doubt */
	PATHS_NO_ANSWER,		/* in doubt, and a ping to it timed out */
	PATHS_WITHDRAWN,		/* the peer or the map no longer names it */
	PATHS_LINK_CHANGE,		/* this host's interfaces changed */
	PATHS_IDLE,			/* we sent nothing for PATHS_SESSION */
	PATHS_BUSY,			/* we send again */
	PATHS_RELAY_MOVED,		/* the peer's home relay is another */
	PATHS_NARROW,			/* it answers, but not to packets as large as ours */
	PATHS_WIDE_AGAIN,		/* to those as well */
};

struct paths_event {			/* how the peer was reached after it */
	uint64_t at;			/* warren_now() clock */
	enum paths_reason reason;
	struct warren_addrport address;	/* family 0: none */
	bool trusted;
	uint32_t region;		/* in use as well or alone; 0: none */
	uint64_t latency;
};

struct paths_candidate {
	struct warren_addrport address;
	bool in_map;
	uint64_t called;		/* named by a CallMeMaybe; 0: no */
	uint64_t got_ping;		/* the last ping from there; 0: none */
	uint8_t got_txid[WARREN_DISCO_TXID];
	uint64_t returned;		/* when one was last answered with a ping of ours */
	uint64_t last_ping;		/* the last to there, but for commands'; 0: none */
	uint64_t latency, last_pong;	/* of the last answer; 0: none */
	uint32_t pings, pongs;		/* sent and answered, for the operator: small ones */
	uint32_t large_pings, large_pongs;
	/* 2.8: what arrives there, as bytes of a UDP payload. */
	uint32_t size;			/* the largest ping that was answered; 0: none but small */
	uint32_t lost;			/* large pings in a row without an answer, but small ones */
	bool narrow;			/* too many: the tunnel's packets do not arrive */
};

struct paths_ping {
	uint8_t txid[WARREN_DISCO_TXID];
	struct warren_addrport to;	/* family 0: by relay */
	uint32_t region;
	enum paths_purpose purpose;
	uint64_t at;
	uint32_t size;			/* of the UDP payload; 0: the usual, small */
	void *command;			/* COMMAND: who asked */
};

struct paths_peer;

struct paths_pong {			/* an answer to a command's ping */
	uint64_t latency;
	struct warren_addrport address;	/* family 0: by relay @region */
	uint32_t region;
};

struct paths_tunnel {			/* what WireGuard does with the peer */
	uint64_t last_sent;		/* 0: never */
	uint64_t bytes;			/* sent */
	uint32_t largest;		/* UDP payload of the largest packet it sends; 0: unknown */
	bool series;			/* the server wants all sizes of 2.8 probed */
};

struct paths_acts {
	/* Sends a ping; 0 or -errno. @txid is random, and the callee's to fill. */
	int (*ping)(void *arg, struct paths_peer *peer, struct paths_ping *ping);
	/* The peer is to learn our endpoints, through @region. */
	void (*call_me_maybe)(void *arg, struct paths_peer *peer, uint32_t region);
	/* What paths_peer_path() gives is another one now. */
	void (*path)(void *arg, struct paths_peer *peer);
	void (*event)(void *arg, struct paths_peer *peer, const struct paths_event *event);
	void (*pong)(void *arg, struct paths_peer *peer, void *command,
		     const struct paths_pong *pong);
	void (*tunnel)(void *arg, struct paths_peer *peer, struct paths_tunnel *out);
};

struct paths_path {
	struct warren_addrport address;	/* family 0: none */
	uint32_t region;		/* alone, or as a copy while the address is in doubt */
	bool tell;			/* the next packet is news */
};

struct paths_peer {
	const struct paths_acts *acts;
	void *arg;
	uint32_t home, learned;		/* relay regions: of the map; where it was heard. 0: none */
	bool expired;			/* its key: no path at all */

	struct warren_addrport best;	/* family 0: none */
	uint64_t best_latency, best_at, trust_until;
	uint64_t last_send, last_full_ping;
	uint64_t heartbeat_at;		/* PATHS_NEVER: not armed */
	uint32_t full;			/* bytes of the largest packet for it; 0: not known yet */
	uint64_t check_sent, check_due;	/* a large ping to `best`; due: PATHS_NEVER: none */
	uint64_t checked_bytes;		/* of the tunnel, at that time */

	struct paths_candidate *candidates;
	uint32_t n_candidates, candidates_room;
	struct paths_ping *pings;	/* sent, the oldest first */
	uint32_t n_pings, pings_room;

	bool doubted;			/* IN_DOUBT was told */
	struct paths_path told;		/* the last one that acts->path heard of */
	struct paths_event *history;	/* a ring, of the last PATHS_HISTORY at most */
	uint32_t n_history, history_room, history_next;
};

void paths_peer_init(struct paths_peer *peer, const struct paths_acts *acts, void *arg);
void paths_peer_fini(struct paths_peer *peer);

/* From the map: its endpoints, its home relay, whether its key has expired. 0 or -ENOMEM. */
int paths_peer_map(struct paths_peer *peer, uint64_t now, const struct warren_addrport *addrs,
		   uint32_t n, uint32_t home, bool expired);
/* WireGuard sends to it, or is about to. */
void paths_peer_send(struct paths_peer *peer, uint64_t now);
/* It was heard through relay @region; 0: it is not there any more. */
void paths_peer_relay(struct paths_peer *peer, uint64_t now, uint32_t region);
/*
 * An authentic ping from @from, family 0: by relay. True: to be answered; false: the same came
 * from there just before.
 */
bool paths_peer_got_ping(struct paths_peer *peer, uint64_t now, const struct warren_addrport *from,
			 const uint8_t txid[WARREN_DISCO_TXID]);
/* An authentic pong. False: none of its pings. */
bool paths_peer_got_pong(struct paths_peer *peer, uint64_t now,
			 const uint8_t txid[WARREN_DISCO_TXID]);
/* A CallMeMaybe, its addresses tested. */
void paths_peer_got_call(struct paths_peer *peer, uint64_t now,
			 const struct warren_addrport *addrs, uint32_t n);
/* Pings for a command (4.10), answered to acts->pong with @command. @size 0: the usual one. */
void paths_peer_command(struct paths_peer *peer, uint64_t now, void *command, uint32_t size);
/* Answers for @command are not wanted any more. */
void paths_peer_forget_command(struct paths_peer *peer, const void *command);
/* This host's links changed: what was learned about paths is worth nothing. */
void paths_peer_reset(struct paths_peer *peer, uint64_t now);
/* It has another disco key: what was sent is not going to be answered. */
void paths_peer_rekey(struct paths_peer *peer);

uint64_t paths_peer_deadline(const struct paths_peer *peer);	/* PATHS_NEVER: none */
void paths_peer_turn(struct paths_peer *peer, uint64_t now);

struct paths_path paths_peer_path(const struct paths_peer *peer, uint64_t now);
/* The address @i, beginning anew after the last, of those that the map names; NULL: none. */
const struct warren_addrport *paths_peer_named(const struct paths_peer *peer, uint32_t i);
/* Its address answers, and as far as is known the tunnel's packets arrive there. */
bool paths_peer_trusted(const struct paths_peer *peer, uint64_t now);
/* Its address answers small packets alone: a relay is used, if there is one. */
bool paths_peer_narrow(const struct paths_peer *peer);
bool paths_peer_active(const struct paths_peer *peer);
/* The event @i before the newest, or NULL. */
const struct paths_event *paths_peer_past(const struct paths_peer *peer, uint32_t i);

/* Bytes of the IP packet around a UDP payload. */
uint32_t paths_wire_size(const struct warren_addrport *to, uint32_t payload);
/* The largest IP packet that is known to arrive there; 0: none was sent but small ones. */
uint32_t paths_candidate_mtu(const struct paths_candidate *c);

const char *paths_reason_word(enum paths_reason reason);

/* Whether @a, which answers in @a_usec, is worth leaving @b for (4.6). Family 0: none. */
bool paths_better(const struct warren_addrport *a, uint64_t a_usec,
		  const struct warren_addrport *b, uint64_t b_usec);

#endif
