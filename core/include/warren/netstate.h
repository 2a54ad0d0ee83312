/*
 * warren/netstate.h - what the kernel's network stack holds, read without rights
 *
 * Dumps over rtnetlink: a request and its answer, which the kernel gives at once. Any thread, but
 * for the main loop's sake not for tables of hundreds of thousands of routes: the kernel is asked
 * for one table only. Changing things is for the monitor: warren/priv.h.
 */
#ifndef WARREN_NETSTATE_H
#define WARREN_NETSTATE_H

#include <warren/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* rtm_protocol and FRA_PROTOCOL of the routes and rules that the monitor makes for us. */
#define WARREN_NET_PROTOCOL 87

struct warren_net_route {
	uint32_t size;
	uint32_t table, metric;
	uint32_t ifindex;		/* 0: none (throw, unreachable, several next hops) */
	uint8_t family;			/* 4, 6 */
	uint8_t protocol, type;		/* RTPROT_, RTN_ of linux/rtnetlink.h */
	uint8_t reserved;
	struct warren_prefix dst;
	struct warren_addr gateway;	/* of its family; family 0: none, or several next hops */
	bool dead;			/* its interface is down: the kernel passes it by */
};

struct warren_net_rule {
	uint32_t size;
	uint32_t pref, table, mark, mask;
	uint8_t family;			/* 4, 6 */
	uint8_t protocol;		/* RTPROT_ */
	uint8_t action;			/* FR_ACT_ of linux/fib_rules.h */
	/* It asks for more than stands here: interfaces, sources, protocols, ports. */
	bool narrow;
	struct warren_prefix dst;	/* family 0: any */
	uint32_t uid_first, uid_last;	/* senders of this host; 0 and UINT32_MAX: any */
	int32_t suppress;		/* longest prefix that does not count; -1: all do */
	bool inverse;			/* it is for all that is not so */
};

/* Reverse-path filter of an interface: NETCONFA_RP_FILTER, 0 off, 1 strict, 2 loose. */
struct warren_net_filter {
	uint32_t size;
	int32_t ifindex;		/* -1: "all", -2: "default" */
	int32_t rp_filter;
	int32_t forwarding;		/* NETCONFA_FORWARDING, 0 off */
};

typedef void warren_net_route_fn(const struct warren_net_route *route, void *arg);
typedef void warren_net_rule_fn(const struct warren_net_rule *rule, void *arg);
typedef void warren_net_filter_fn(const struct warren_net_filter *filter, void *arg);

/* Call @fn for each; return 0, or -errno with a sentence in @err. */
int warren_net_routes(uint32_t table, warren_net_route_fn *fn, void *arg, struct warren_err *err);
int warren_net_rules(warren_net_rule_fn *fn, void *arg, struct warren_err *err);
int warren_net_filters(warren_net_filter_fn *fn, void *arg, struct warren_err *err);
/* Whether the kernel forwards packets of @family (4, 6) at all; false where there is none. */
int warren_net_forwarding(uint8_t family, bool *on, struct warren_err *err);

/*
 * Lane. Calls @fn soon after something of the kind changed on the host, until the context ends;
 * what it is now must be looked up, and may be as before. Changes that come together may be told
 * once.
 * On error some kinds may be watched: whoever calls looks from time to time all the same, since a
 * container may forbid /proc or rtnetlink. 0, or -errno with a sentence in @err.
 */
enum {
	WARREN_NET_LINKS = 1u << 0,	/* an interface comes, goes, or goes up or down; its MTU */
	WARREN_NET_ADDRESSES = 1u << 1,
	WARREN_NET_HOSTNAME = 1u << 2,
	WARREN_NET_ROUTES = 1u << 3,	/* of the main table */
};
typedef void warren_net_watch_fn(struct warren_ctx *ctx, uint32_t what, void *arg);
int warren_net_watch(struct warren_ctx *ctx, uint32_t what, warren_net_watch_fn *fn, void *arg,
		     struct warren_err *err);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
