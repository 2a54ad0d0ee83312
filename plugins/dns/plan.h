/*
 * dns/plan.h - who answers for which names: the desired state, made of configuration and map
 *
 * A plan is made anew when one of them changes, and read by every query.
 */
#ifndef DNS_PLAN_H
#define DNS_PLAN_H

#include <warren/service/netmap.h>

#include "zone.h"

enum {
	DNS_UPSTREAMS = 8,		/* resolvers of one route */
	DNS_SEARCH = 32,
	DNS_LISTEN = 8,
	DNS_ALLOW = 32,
	DNS_RECORD_MAX = 4096,		/* bytes of a record of the network */
};

struct dns_upstream {
	struct warren_addrport at;
	bool tailnet;			/* reached through the tunnel, and nowhere else */
	bool led;			/* an exit node is in use: as the host's own traffic */
	int64_t peer;			/* the node whose peer API is asked, at `at`; 0: by DNS */
};

struct dns_route {
	struct dns_name suffix;
	const char *origin;		/* "dns.split", "the network", ... */
	bool local;			/* what is not known here does not exist */
	uint32_t n, unusable;		/* unusable: resolvers that are not spoken to */
	struct dns_upstream up[DNS_UPSTREAMS];
	uint32_t first;			/* answered last time, so it is asked first */
};

/* What the operator said: `dns:` of the configuration. */
struct dns_list {
	uint32_t n;
	struct dns_upstream up[DNS_UPSTREAMS];
};
struct dns_split {
	struct dns_name suffix;
	struct dns_list to;
};
struct dns_hostconf {			/* /etc/resolv.conf, without our part in it */
	struct dns_list servers;
	struct dns_name search[DNS_SEARCH];
	uint32_t n_search;
	const char *owner;		/* "NetworkManager", by its comments; NULL: nobody's */
};
struct dns_words {
	bool accept, ipv6;
	bool reach;			/* peers' APIs can be asked */
	bool write, insist;		/* that file; and again, when others have written it */
	bool file;			/* itself, whoever keeps it */
	struct dns_hostconf host;
	struct warren_addrport listen[DNS_LISTEN];	/* for the LAN, and who of it */
	struct warren_prefix allow[DNS_ALLOW];
	uint32_t n_listen, n_allow;
	struct dns_name domain;
	char hostname[64];		/* of this node, where the map does not say */
	struct dns_list upstream;
	struct dns_split *split;
	uint32_t n_split;
};

struct dns_filtered {			/* not for peers that use this node as an exit node */
	struct dns_name name;
	bool below;			/* what is below it, and not itself */
};

struct dns_plan {
	struct dns_zone zone;
	struct hash routes;		/* by the bytes of the suffix */
	struct dns_name self;		/* this node's whole name */
	struct dns_name suffix;		/* the network's own */
	struct dns_name search[DNS_SEARCH];
	uint32_t n_search, n_routes, bad_records;
	struct dns_filtered *filtered;
	uint32_t n_filtered;
	bool magic;			/* names of nodes without a domain are answered */
	bool networked;			/* there is a map */
	bool proxied;			/* the exit node in use is asked for all other names */
	const struct dns_words *words;	/* while it is made */
};

/* "10.0.0.53", "10.0.0.53:5353", "[2001:db8::1]:53". 0 or -EINVAL. */
int dns_upstream_parse(const char *text, struct dns_upstream *out);
bool dns_upstream_equal(const struct dns_upstream *a, const struct dns_upstream *b);
/* 100.100.100.100 or its IPv6 sister: ourselves. */
bool dns_is_service(const struct warren_addr *addr);
extern const struct warren_addr dns_service[2];

/* @map may be NULL. NULL: no memory. */
struct dns_plan *dns_plan_new(const struct dns_words *words, const struct warren_netmap *map);
void dns_plan_free(struct dns_plan *plan);
/* The longest suffix of @name that somebody answers for; NULL: there is none. */
struct dns_route *dns_plan_route(const struct dns_plan *plan, const struct dns_name *name);
/* Whether queries would go another way: what was kept of answers is void then. */
bool dns_plan_routes_equal(const struct dns_plan *a, const struct dns_plan *b);

#endif
