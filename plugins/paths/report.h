/*
 * What is known about this host's network: the result of probing STUN servers, and which relay
 * region is nearest (path-protocols.md 5.2, 5.4, 5.7). Pure.
 */
#ifndef PATHS_REPORT_H
#define PATHS_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/service/netmap.h>

#define PATHS_HISTORY_TIME (305 * UINT64_C(1000000))
#define PATHS_FULL_INTERVAL (300 * UINT64_C(1000000))
#define PATHS_HOME_SLACK (10 * UINT64_C(1000))
#define PATHS_HOME_HEARD (8 * UINT64_C(1000000))

enum {
	PATHS_REGIONS = 64,
	PATHS_SEEN = 8,			/* addresses told by servers, per family */
	PATHS_REPORTS = 20,		/* of the history */
	PATHS_PROBES = 3 * 2 * PATHS_REGIONS,
};

struct paths_region {			/* latencies of the fastest answer; 0: none */
	uint32_t id;
	uint64_t latency[2];		/* IPv4, IPv6 */
};

struct paths_seen {
	struct warren_addrport address;
	uint32_t count;
};

struct paths_report {
	uint64_t at;			/* warren_now() clock; 0: none yet */
	int64_t realtime;
	bool full, udp, can_send[2], os_ipv6;
	bool reached[2];		/* a relay, over HTTPS or ICMP */
	bool icmp4;
	uint8_t mapping_varies, captive;	/* WARREN_TRI_ */
	uint32_t preferred;		/* 0: none */
	struct paths_region regions[PATHS_REGIONS];
	uint32_t n_regions;
	struct paths_seen seen[2][PATHS_SEEN];	/* IPv4: the first is what counts; IPv6: the last */
	uint32_t n_seen[2];
	struct warren_addrport global[2];
};

uint64_t paths_region_latency(const struct paths_region *region);	/* the better one */
const struct paths_region *paths_report_region(const struct paths_report *report, uint32_t id);
bool paths_report_worked(const struct paths_report *report, int six);	/* that family */
/* An answer of a server of region @id after @usec, which saw us at @seen. */
void paths_report_answer(struct paths_report *report, uint32_t id, int six, uint64_t usec,
			 const struct warren_addrport *seen);

/* The same by HTTPS or ICMP, where UDP does not work: no address is told. */
void paths_report_reached(struct paths_report *report, uint32_t id, int six, uint64_t usec);
/* Whether a region may be measured that way. */
bool paths_fallback_helps(const struct warren_relay_region *region);

/* One probe to be sent: a set (region and family) ends with its first answer. */
struct paths_probe {
	uint64_t delay;
	uint32_t region, node;		/* index in the map's regions, in its nodes */
	int six;
	bool done;			/* sent, or it could not be, or not needed */
	bool sent;
};
/*
 * What to send, at most PATHS_PROBES; the number of probes. @last NULL: everything is probed.
 * @home: that region is always probed; @have: families that this host can send.
 */
uint32_t paths_plan(const struct warren_netmap *map, const struct paths_report *last,
		    uint32_t home, const bool have[2], struct paths_probe *out);
/* Whether the probe can still add something. */
bool paths_probe_helps(const struct paths_report *report, const struct warren_netmap *map,
		       const struct paths_probe *probe);
/* Whether none is left to be sent or answered; of those that were not sent no answer comes. */
bool paths_probes_over(const struct paths_report *report, const struct warren_netmap *map,
		       const struct paths_probe *probes, uint32_t n);
/*
 * The sets are over, but whether the mapping varies is not known, and a probe that would tell is
 * due or under way.
 */
bool paths_mapping_is_due(const struct paths_report *report, const struct paths_probe *probes,
			  uint32_t n);

struct paths_reports {			/* the last ones, the oldest first */
	struct paths_report list[PATHS_REPORTS];
	uint32_t n;
};
/*
 * Chooses the region of @report, with what the history says, and appends it. @before: the region
 * so far; @heard: that one has been heard from lately; @told: peers would learn of another one.
 */
uint32_t paths_prefer(const struct paths_reports *history, const struct paths_report *report,
		      const struct warren_netmap *map, uint32_t before, bool heard, bool told);
void paths_reports_add(struct paths_reports *history, const struct paths_report *report);

#endif
