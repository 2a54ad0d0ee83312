/*
 * Runs of probes: what a plan says is sent over the data plane's own socket, so that the answers
 * tell the address that peers see (path-protocols.md 5.3). One run at a time.
 */
#ifndef PATHS_NETCHECK_H
#define PATHS_NETCHECK_H

#include <warren/plugin.h>
#include <warren/service/dataplane.h>
#include <warren/stun.h>

#include "captive.h"
#include "echo.h"
#include "report.h"

struct paths;

#define NETCHECK_STUN_TIME (3 * UINT64_C(1000000))
#define NETCHECK_HTTPS_TIME (5 * UINT64_C(1000000))
#define NETCHECK_MAPPING_TIME (500 * UINT64_C(1000))
enum { NETCHECK_FLIGHT = 64, NETCHECK_NAMES = 32, NETCHECK_ENOUGH = 3 };

struct netcheck_flight {		/* a request that is under way */
	uint8_t txid[WARREN_STUN_TXID];
	uint32_t region;		/* id */
	int six;
	uint64_t at;
};

struct netcheck_name {			/* of a STUN server, looked up */
	char host[256];
	struct warren_addr addr[2];	/* family 0: none */
	bool pending;
	uint64_t until;			/* valid */
};

struct netcheck {
	struct paths *paths;
	struct warren_timer *timer;	/* the next probe, or the end */
	bool running, again, again_full;
	char reason[32], again_reason[32];
	const struct warren_netmap *map;	/* of this run, with a reference */
	uint64_t start, end;
	bool waits_for_mapping;		/* all else is there: not for long */
	struct paths_report now;
	struct paths_probe probes[PATHS_PROBES];
	uint32_t n_probes;
	struct netcheck_flight flight[NETCHECK_FLIGHT];
	uint32_t n_flight;		/* ever, in this run; the oldest is overwritten */
	bool asks_relays;		/* no STUN server has answered: now over HTTPS and ICMP */
	uint32_t n_asked;		/* relays whose answer over HTTPS is due */
	struct echo echo;
	struct captive captive;		/* of full runs, until a STUN server answers */
	struct netcheck_name names[NETCHECK_NAMES];
	struct paths_report last;	/* at 0: none */
	uint64_t last_full;
	struct paths_reports history;
	uint64_t runs;
};

int netcheck_init(struct netcheck *check, struct paths *p);
void netcheck_fini(struct netcheck *check);
/* Starts a run, or has one follow that which is running. Its end calls paths_gathered(). */
void netcheck_start(struct netcheck *check, const char *reason, bool full);
/* How far a relay is: see warren_relay_events.measured. */
void netcheck_on_measured(struct netcheck *check, uint32_t region, uint32_t family, uint64_t usec);
void netcheck_on_echo(struct netcheck *check, uint32_t region, uint64_t usec);
void netcheck_on_echo_end(struct netcheck *check);
/* The IPv4 address of a relay, if it is known by now. */
bool netcheck_address(struct netcheck *check, const struct warren_relay_node *node,
		      struct warren_addr *out);
void netcheck_on_captive(struct netcheck *check, uint8_t found);	/* WARREN_TRI_ */
warren_foreign_fn netcheck_on_stun;	/* arg: struct paths */

#endif
