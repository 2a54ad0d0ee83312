/*
 * Which rule and which route lead a packet of this host somewhere, and which peer has it then.
 */
#ifndef ROUTER_EXPLAIN_H
#define ROUTER_EXPLAIN_H

#include <stdbool.h>

#include <warren/netstate.h>
#include <warren/service/netmap.h>

struct router_way {
	bool decided;			/* else no rule had an answer */
	struct warren_net_rule rule;
	struct warren_net_route route;	/* family 0: the rule itself refuses */
};

/* Goes through the kernel's rules and tables. 0, or -errno with a sentence. */
int router_explain(const struct warren_addr *dst, struct router_way *way, struct warren_err *err);
/* Whether @rule is for an ordinary packet of this host to @dst. */
bool router_rule_fits(const struct warren_net_rule *rule, const struct warren_addr *dst);
/* Whether the kernel takes @route rather than @best, which may be none (family 0). */
bool router_route_better(const struct warren_net_route *route, const struct warren_net_route *best);
/* Whom the data plane gives a packet to @dst, for *@network; or NULL. */
const struct warren_node *router_peer_of(const struct warren_netmap *map,
					 const struct warren_addr *dst,
					 struct warren_prefix *network);

#endif
