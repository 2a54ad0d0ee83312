/*
 * Foreign state. What the monitor makes for us carries our protocol number; anything else at our
 * priorities or in our table is somebody else's, and two who write there break each other.
 */
#include "foreign.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include <warren/netstate.h>

struct look {
	const struct router_conf *conf;
	struct router_foreign *out;
};

static void look_at_rule(const struct warren_net_rule *rule, void *arg)
{
	const struct look *look = arg;
	uint32_t low = look->conf->rule_priority;

	if (rule->pref < low || rule->pref > low + ROUTER_RULE_OURS ||
	    rule->protocol == WARREN_NET_PROTOCOL)
		return;
	if (look->out->rules++ == 0)
		look->out->pref = rule->pref;
	/* The stock client's bypass mark, or its table. */
	if ((rule->mark == 0x80000 && rule->mask == 0xff0000) || rule->table == 52)
		look->out->stock = true;
}

static void look_at_route(const struct warren_net_route *route, void *arg)
{
	const struct look *look = arg;

	if (route->protocol != WARREN_NET_PROTOCOL)
		look->out->routes++;
}

int router_foreign_look(const struct router_conf *conf, struct router_foreign *out,
			struct warren_err *err)
{
	struct look look = { conf, out };
	int result = 0;

	memset(out, 0, sizeof(*out));
	if (conf->rules)
		result = warren_net_rules(look_at_rule, &look, err);
	if (!result && conf->routes)
		result = warren_net_routes(conf->table, look_at_route, &look, err);
	if (if_nametoindex("tailscale0") != 0 && (out->rules > 0 || out->routes > 0))
		out->stock = true;
	return result;
}

void router_foreign_text(const struct router_foreign *foreign, const struct router_conf *conf,
			 char *out, size_t size)
{
	char what[96];

	if (foreign->rules > 0)
		snprintf(what, sizeof(what), "rules with priorities %u-%u (%u, the first is %u)",
			 conf->rule_priority, conf->rule_priority + ROUTER_RULE_OURS,
			 foreign->rules, foreign->pref);
	else
		snprintf(what, sizeof(what), "routes in table %u (%u)", conf->table,
			 foreign->routes);
	snprintf(out, size, "%s are there that we did not make%s: remove them, or move us with "
		 "router.rule-priority, router.table, router.mark and, in `system:`, "
		 "rule-priorities, route-table and marks", what,
		 foreign->stock ? " and that look like Tailscale's" : "");
}
