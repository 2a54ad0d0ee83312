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
#define PATHS_SEARCH_SPACING (30 * PATHS_SECOND)	/* 8: of searches for a peer relay */
#define PATHS_SEARCH_UPGRADE (60 * PATHS_SECOND)	/* the same, while one is in use */
#define PATHS_ASK_AGAIN (3 * PATHS_SECOND)
#define PATHS_ASK_TIMEOUT (10 * PATHS_SECOND)
#define PATHS_BIND_TIMEOUT (30 * PATHS_SECOND)

enum {
	PATHS_CANDIDATES = 64,		/* of the map and learned */
	PATHS_LEARNED = 32,		/* by pings and calls */
	PATHS_PINGS = 2 * PATHS_CANDIDATES,
	PATHS_HISTORY = 200,
	PATHS_CHECKS = 5,		/* large pings in vain until an address is narrow */
	PATHS_CHECKS_PROVEN = 8,	/* the same, of one that has answered them before */
	PATHS_CHECK_BYTES = 8192,	/* of the tunnel's, after which the address is checked */
	PATHS_LARGEST = 8972,		/* UDP payload of a ping: an MTU of 9000 */
	PATHS_PEER_RELAYS = 16,		/* asked, and handshakes with them, of one peer */
	PATHS_BIND_PINGS = 10,		/* of one handshake */
	PATHS_BINDS = 32,		/* handshakes begun within PATHS_BIND_TIMEOUT */
	PATHS_RELAY_CAPABLE = 121,	/* the capability version that knows of peer relays */
};

enum paths_purpose {
	PATHS_DISCOVERY, PATHS_HEARTBEATING, PATHS_COMMAND,
	PATHS_CHECK,			/* whether large packets arrive */
	PATHS_BINDING,			/* the end of a handshake with a peer relay */
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
	PATHS_PEER_RELAY,		/* the peer answered through a peer relay */
};

struct paths_event {			/* how the peer was reached after it */
	uint64_t at;			/* warren_now() clock */
	enum paths_reason reason;
	struct warren_addrport address;	/* family 0: none */
	uint32_t vni;			/* not 0: the address is a peer relay's */
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
	uint32_t vni;			/* not 0: `to` is a peer relay's */
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
	uint32_t vni;			/* not 0: the address is a peer relay's */
	uint32_t region;
};

struct paths_tunnel {			/* what WireGuard does with the peer */
	uint64_t last_sent;		/* 0: never */
	uint64_t bytes;			/* sent */
	uint32_t largest;		/* UDP payload of the largest packet it sends; 0: unknown */
	bool series;			/* the server wants all sizes of 2.8 probed */
};

/* A peer that the policy lets us use as a relay to others. */
struct paths_server {
	uint8_t key[32], disco[32];
	uint32_t region;		/* its home relay */
};

struct paths_servers {
	struct paths_server list[PATHS_PEER_RELAYS];
	uint32_t n;
};

/* What such a server has made for us and one peer: where both are to bind. */
struct paths_offer {
	struct warren_disco_relay relay;
	struct warren_addrport addrs[WARREN_DISCO_ADDRESSES];
	uint32_t n_addrs;
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
	/* @server is asked for an offer. 0 or -errno. */
	int (*allocate)(void *arg, struct paths_peer *peer, const struct paths_server *server,
			uint32_t generation);
	/* The peer is to learn of that offer, through @region. */
	void (*call_via)(void *arg, struct paths_peer *peer, uint32_t region,
			 const struct paths_offer *offer);
	/*
	 * A handshake with the holder of disco key @server begins or ends: its messages are awaited
	 * or not. 0 or -errno.
	 */
	int (*expect)(void *arg, struct paths_peer *peer, const uint8_t server[32], bool on);
	/* Sends BIND or BIND_ANSWER, with the peer's disco key as the other one. */
	void (*bind)(void *arg, struct paths_peer *peer, const uint8_t server[32],
		     const struct warren_addrport *to, uint32_t type,
		     const struct warren_disco_binding *binding);
};

struct paths_path {
	struct warren_addrport address;	/* family 0: none */
	uint32_t vni;			/* not 0: the address is a peer relay's */
	uint32_t region;		/* alone, or as a copy while the address is in doubt */
	bool tell;			/* the next packet is news */
};

struct paths_via {			/* the way through a peer relay; below a direct one */
	struct warren_addrport address;	/* of the relay */
	uint32_t vni;			/* 0: there is none */
	uint8_t server[32];		/* the relay's disco key */
	uint64_t latency, trust_until;
	bool doubted;			/* IN_DOUBT was told */
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

	const struct paths_servers *servers;	/* the owner's; NULL: there are none */
	bool relay_capable;		/* the peer's software knows of peer relays */
	struct paths_via via;
	struct paths_search *search;	/* NULL: nothing is under way */
	uint64_t last_search;		/* 0: never */
	uint64_t binds_since;		/* of `binds` */
	uint32_t binds, generation;	/* of asks and handshakes */

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
/* The same through a peer relay; it is answered in any case. */
void paths_peer_got_ping_via(struct paths_peer *peer, uint64_t now,
			     const struct warren_addrport *from, uint32_t vni);
/* The offer that @server, a peer's node key, was asked for; its addresses tested. */
void paths_peer_got_allocated(struct paths_peer *peer, uint64_t now, const uint8_t server[32],
			      uint32_t generation, const struct paths_offer *offer);
/* A CallMeMaybeVia: one that the peer was given. */
void paths_peer_got_call_via(struct paths_peer *peer, uint64_t now,
			     const struct paths_offer *offer);
/* An authentic challenge of the relay with disco key @server, received with @vni. */
void paths_peer_got_challenge(struct paths_peer *peer, uint64_t now, const uint8_t server[32],
			      const struct warren_addrport *from, uint32_t vni,
			      const struct warren_disco_binding *binding);
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
/* It answers through a peer relay, and at no address of its own. */
bool paths_peer_relayed(const struct paths_peer *peer, uint64_t now);
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
