/*
 * Which rule and which route lead a packet of this host somewhere.
 *
 * The kernel tells where a packet would go, but not by which rule. So its rules are gone through as
 * it does, and of each table the longest prefix with the lowest metric is taken. Rules for packets
 * with a mark, for single users or with other conditions are passed by: it is the ordinary packet
 * of an ordinary user that is explained.
 */
#include "explain.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include <warren/netstate.h>

#include "base/addr.h"

enum { RULES_MAX = 4096 };

bool router_rule_fits(const struct warren_net_rule *rule, const struct warren_addr *dst)
{
	/* An ordinary packet has mark 0. */
	bool fits = (rule->dst.addr.family == 0 || prefix_contains(&rule->dst, dst)) &&
		    rule->mark == 0;

	if (rule->family != dst->family || rule->narrow || rule->uid_first != 0 ||
	    rule->uid_last != UINT32_MAX)
		return false;
	return fits != rule->inverse;
}

bool router_route_better(const struct warren_net_route *route, const struct warren_net_route *best)
{
	if (best->family == 0 || route->dst.bits != best->dst.bits)
		return best->family == 0 || route->dst.bits > best->dst.bits;
	return route->metric < best->metric;
}

struct rules {
	struct warren_net_rule *list;
	size_t n;
	bool failed;			/* they are not all */
};

static void add_rule(const struct warren_net_rule *rule, void *arg)
{
	struct rules *rules = arg;
	struct warren_net_rule *grown = rules->n == RULES_MAX ? NULL :
		reallocarray(rules->list, rules->n + 1, sizeof(*grown));

	rules->failed = rules->failed || !grown;
	if (!grown)
		return;
	rules->list = grown;
	grown[rules->n++] = *rule;
}

static int by_pref(const void *a, const void *b)
{
	const struct warren_net_rule *x = a, *y = b;

	return (x->pref > y->pref) - (x->pref < y->pref);
}

struct longest {
	const struct warren_addr *dst;
	struct warren_net_route best;	/* family 0: none */
};

static void look_at(const struct warren_net_route *route, void *arg)
{
	struct longest *longest = arg;

	if (route->family == longest->dst->family && !route->dead &&
	    prefix_contains(&route->dst, longest->dst) &&
	    router_route_better(route, &longest->best))
		longest->best = *route;
}

/* True: this rule decides. */
static bool follow(const struct warren_net_rule *rule, const struct warren_addr *dst,
		   struct router_way *way, struct warren_err *err, int *result)
{
	struct longest longest = { .dst = dst };

	way->rule = *rule;
	way->route = longest.best;
	if (rule->action != FR_ACT_TO_TBL)
		return rule->action == FR_ACT_UNREACHABLE || rule->action == FR_ACT_BLACKHOLE ||
		       rule->action == FR_ACT_PROHIBIT;
	*result = warren_net_routes(rule->table, look_at, &longest, err);
	way->route = longest.best;
	return *result || (longest.best.family != 0 && longest.best.type != RTN_THROW &&
			   (int32_t)longest.best.dst.bits > rule->suppress);
}

int router_explain(const struct warren_addr *dst, struct router_way *way, struct warren_err *err)
{
	struct rules rules = { .n = 0 };
	int result = warren_net_rules(add_rule, &rules, err);

	*way = (struct router_way){ .decided = false };
	if (!result && rules.failed)
		result = warren_fail(err, NULL, "this host has more rules than can be gone "
				     "through: see `ip rule` and `ip route get`");
	if (rules.n > 0)
		qsort(rules.list, rules.n, sizeof(*rules.list), by_pref);
	for (size_t i = 0; !result && !way->decided && i < rules.n; i++) {
		if (router_rule_fits(&rules.list[i], dst))
			way->decided = follow(&rules.list[i], dst, way, err, &result);
	}
	free(rules.list);
	return result;
}

const struct warren_node *router_peer_of(const struct warren_netmap *map,
					 const struct warren_addr *dst,
					 struct warren_prefix *network)
{
	const struct warren_node *best = NULL;

	for (uint32_t i = 0; map && i < map->n_peers; i++) {
		const struct warren_node *peer = map->peers[i];
		struct warren_prefix exits[2];
		uint32_t n = warren_netmap_exits(map, peer, exits);

		for (uint32_t k = 0; !peer->dormant && k < peer->n_allowed_ips + n; k++) {
			const struct warren_prefix *one = k < n ? &exits[k] :
								  &peer->allowed_ips[k - n];

			if (!prefix_contains(one, dst) ||
			    (k >= n && !warren_netmap_takes(map, peer, one)) ||
			    (best && one->bits < network->bits))
				continue;
			best = peer;
			*network = *one;
		}
	}
	return best;
}
