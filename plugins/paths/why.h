/*
 * `warren why`: one verdict about the way to a peer, from what is known (a pure function), with the
 * evidence and what to do about it.
 */
#ifndef PATHS_WHY_H
#define PATHS_WHY_H

#include <stdbool.h>
#include <stdint.h>

enum paths_why {			/* the list is closed; README.md has the words */
	PATHS_WHY_DIRECT = 0,
	PATHS_WHY_NO_NETWORK,
	PATHS_WHY_PEER_UNKNOWN,
	PATHS_WHY_KEY_EXPIRED,
	PATHS_WHY_IDLE,
	PATHS_WHY_NO_DISCO,
	PATHS_WHY_SEARCHING,
	PATHS_WHY_PEER_OFFLINE,
	PATHS_WHY_NO_ENDPOINTS,
	PATHS_WHY_UDP_REFUSED,
	PATHS_WHY_CAPTIVE,
	PATHS_WHY_UDP_BLOCKED,
	PATHS_WHY_STUN_UNREACHABLE,
	PATHS_WHY_MTU,
	PATHS_WHY_BLACK_HOLE,
	PATHS_WHY_ANSWERS_LOST,
	PATHS_WHY_RELAY_UNREACHABLE,
	PATHS_WHY_MAPPING_REFUSED,
	PATHS_WHY_HARD_NAT,
	PATHS_WHY_NO_ANSWER,
	PATHS_WHY_CODES
};

struct paths_facts {
	bool joined;			/* this node is in a network */
	bool known;			/* the map has the peer */
	bool expired, disco, offline;	/* the peer; offline: the server says so */
	bool active, direct;
	bool was_direct;		/* an address answered since we began to send */
	uint32_t candidates;
	uint32_t pings, pongs;		/* to candidates there are now */
	bool narrow;			/* an address answers, but not large packets */
	bool pinged_us;			/* its pings came by UDP lately */
	bool busy_long;			/* we send for 10 s or more */
	bool relay_failed;		/* the peer's home is not reached, and no peer relay */
	bool captive;			/* and a portal answered in the place of relays */
	bool probed, can_send, udp;	/* netcheck: there was one; sends worked; answers came */
	bool udp_elsewhere;		/* another peer answered by UDP */
	bool mapping_varies;
	bool mapping_refused;		/* the gateway maps ports, and not ours */
};

enum paths_why paths_why(const struct paths_facts *facts);
const char *paths_why_code(enum paths_why why);
const char *paths_why_sentence(enum paths_why why);
const char *paths_why_action(enum paths_why why);	/* "": there is nothing to do */

#endif
