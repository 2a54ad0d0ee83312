/*
 * What should be in the kernel, as one pure function of network map and configuration, and the
 * difference between two such states.
 *
 * A state is eight lists, one per kind and family. Items are the requests of priv.h themselves with
 * all unused bytes zero, so that equal items are equal bytes; lists are sorted. In the place of the
 * verb a desired item has a count: how many peers and networks ask for it.
 */
#ifndef ROUTER_DESIRED_H
#define ROUTER_DESIRED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/priv.h>
#include <warren/service/netmap.h>
#include <warren/service/router.h>

#include "firewall.h"

enum router_part {			/* in the order in which they are applied */
	ROUTER_SHUT4, ROUTER_SHUT6,	/* routes that need no interface */
	ROUTER_ADDR4, ROUTER_ADDR6, ROUTER_ROUTE4, ROUTER_ROUTE6, ROUTER_RULE4, ROUTER_RULE6,
	ROUTER_PARTS,
};
const char *router_part_name(enum router_part part);
enum warren_op router_part_op(enum router_part part);
bool router_part_is_v6(enum router_part part);
size_t router_part_size(enum router_part part);	/* of an item */

struct router_list {
	uint8_t *items;
	size_t n;
};

struct router_state {
	struct router_list parts[ROUTER_PARTS];
};

struct router_net {			/* a network that the host itself reaches */
	struct warren_prefix prefix;
	char ifname[WARREN_PRIV_IFNAME];
	uint64_t missing;		/* of `held`: since when; 0: it is there */
};
struct router_host {
	struct router_net *attached, *held;
	size_t n_attached;		/* networks that it has an address in */
	size_t n_held;			/* that lie behind an interface to be bypassed */
};

struct router_conf {			/* the section, read; and what else counts */
	uint32_t table, metric, rule_priority, mark, mask;
	bool routes, rules;
	bool ipv6;			/* the kernel has it */
	bool prefer_tailnet;		/* to networks that the host is attached to */
	const struct warren_router_lead *lead;	/* NULL: nobody leads all into the tunnel */
	const struct router_host *host;	/* NULL: not known */
	struct router_fw_conf fw;
	uint32_t n_offers;		/* `advertise` */
	struct warren_prefix offers[ROUTER_OFFERS_MAX];
};

enum {					/* distances below rule_priority: around the tunnel */
	ROUTER_BYPASS_BEHIND = 10, ROUTER_BYPASS_NOT = 9, ROUTER_BYPASS_PEERS = 8,
	ROUTER_BYPASS_USERS = 7, ROUTER_BYPASS_NETWORKS = 6, ROUTER_BYPASS_BOUND = 5,
};
enum {					/* distances from rule_priority: the stock client's */
	ROUTER_RULE_MAIN = 0, ROUTER_RULE_DEFAULT = 20, ROUTER_RULE_UNREACHABLE = 40,
	ROUTER_RULE_OURS = 60,
	/* And ours behind them, while the way is shut: what our table has no word about. */
	ROUTER_RULE_BESIDE = 61, ROUTER_RULE_SHUT = 62,
};

/*
 * Fills @out, which is empty. @map NULL or without self: nothing is desired. 0 or -ENOMEM; the
 * caller frees @out in any case.
 */
int router_desired(const struct warren_netmap *map, const struct router_conf *conf,
		   const char *ifname, struct router_state *out);
void router_state_free(struct router_state *state);
/*
 * May another state be desired with @map than with @before, the map that was looked at last (NULL:
 * none)? Most maps only say that a peer moved or went offline.
 */
bool router_map_matters(const struct warren_netmap *map, const struct warren_netmap *before);
/* Does the change list of @map lead here from @before, so that router_follow() will do? */
bool router_map_follows(const struct warren_netmap *map, const struct warren_netmap *before);
/*
 * Brings @wanted, which router_desired() made of the map before, to @map by its change list. The
 * routes that are concerned are added to @touched. 0, -ENOMEM, or -EAGAIN where what the host is
 * attached to has a part in it: @wanted is then to be made anew.
 * The caller frees @touched in any case.
 */
int router_follow(const struct warren_netmap *map, const struct router_conf *conf,
		  const char *ifname, struct router_state *wanted, struct router_state *touched);

/*
 * The items that lead from @from to @to, removals first, with their verbs set. 0 or -ENOMEM; the
 * caller frees out->items.
 */
int router_diff(enum router_part part, const struct router_list *from, const struct router_list *to,
		struct router_list *out);
/* The same where they can differ in nothing but @touched. */
int router_diff_touched(enum router_part part, const struct router_list *from,
			const struct router_list *to, const struct router_list *touched,
			struct router_list *out);
/*
 * A network of peer @peer that the operator takes, and one that the host is attached to, share
 * addresses; @lost: the host's wins. Called for each such pair.
 */
typedef void router_overlap_fn(const struct warren_node *peer, const struct warren_prefix *network,
			       const struct router_net *attached, bool lost, void *arg);
void router_overlaps(const struct warren_netmap *map, const struct router_conf *conf,
		     router_overlap_fn *fn, void *arg);
/* Whether @map, which follows the one before, may have others than that. */
bool router_overlaps_differ(const struct warren_netmap *map, const struct router_conf *conf);

/* Changes @list as the first @n items of a difference say. 0 or -ENOMEM. */
int router_apply(enum router_part part, struct router_list *list, const uint8_t *items, size_t n);

#endif
