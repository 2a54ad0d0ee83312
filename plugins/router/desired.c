/*
 * What should be in the kernel. Rules and table are those of the stock client (its transcripts:
 * `ip rule`, `ip route show table 52`): marked packets, which are our own encrypted ones, go by the
 * host's tables and nothing else; all others look into our table first.
 */
#include "desired.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"

enum { TABLE_DEFAULT = 253, TABLE_MAIN = 254 };

static const struct {
	const char *name;
	enum warren_op op;
	size_t size;
	bool v6;
} parts[ROUTER_PARTS] = {
	[ROUTER_ADDR4] = { "IPv4 "
	"addresses", WARREN_OP_ADDR, sizeof(struct warren_priv_addr), false },
	[ROUTER_ADDR6] = { "IPv6 "
	"addresses", WARREN_OP_ADDR, sizeof(struct warren_priv_addr), true },
	[ROUTER_ROUTE4] = { "IPv4 "
	"routes", WARREN_OP_ROUTE, sizeof(struct warren_priv_route), false },
	[ROUTER_ROUTE6] = { "IPv6 "
	"routes", WARREN_OP_ROUTE, sizeof(struct warren_priv_route), true },
	[ROUTER_RULE4] = { "IPv4 rules", WARREN_OP_RULE, sizeof(struct warren_priv_rule), false },
	[ROUTER_RULE6] = { "IPv6 rules", WARREN_OP_RULE, sizeof(struct warren_priv_rule), true },
};

/* The verb comes first in all three; equal bytes need structures without padding. */
_Static_assert(sizeof(struct warren_priv_addr) == 4 + 16 + 8 + 18 + 6 &&
	       offsetof(struct warren_priv_addr, verb) == 0, "addr has no padding");
_Static_assert(sizeof(struct warren_priv_route) == 16 + 18 + 17 + 16 + 5 &&
	       offsetof(struct warren_priv_route, verb) == 0, "route has no padding");
_Static_assert(sizeof(struct warren_priv_rule) == 28 + 18 + 16 + 2 &&
	       offsetof(struct warren_priv_rule, verb) == 0, "rule has no padding");

const char *router_part_name(enum router_part part)
{
	return parts[part].name;
}

enum warren_op router_part_op(enum router_part part)
{
	return parts[part].op;
}

bool router_part_is_v6(enum router_part part)
{
	return parts[part].v6;
}

size_t router_part_size(enum router_part part)
{
	return parts[part].size;
}

/*
 * ---- Lists ----
 */

/* Rules by priority, so that those for marked packets come before the one for all; else bytes. */
static int compare_items(const void *a, const void *b, void *part)
{
	const enum router_part p = *(const enum router_part *)part;
	const struct warren_priv_rule *x = a, *y = b;

	if (parts[p].op == WARREN_OP_RULE && x->pref != y->pref)
		return x->pref < y->pref ? -1 : 1;
	return memcmp(a, b, parts[p].size);
}

static bool is_sorted(enum router_part part, const struct router_list *list)
{
	size_t size = parts[part].size;

	for (size_t i = 1; i < list->n; i++) {
		if (compare_items(list->items + (i - 1) * size, list->items + i * size, &part) > 0)
			return false;
	}
	return true;
}

/* Sorts and removes what stands there twice. Peers mostly have addresses in their own order. */
static void list_sort(enum router_part part, struct router_list *list)
{
	size_t size = parts[part].size, kept = 0;

	if (!is_sorted(part, list))
		qsort_r(list->items, list->n, size, compare_items, &part);
	for (size_t i = 0; i < list->n; i++) {
		uint8_t *item = list->items + i * size;

		if (kept > 0 && !memcmp(item, list->items + (kept - 1) * size, size))
			continue;
		if (kept != i)
			memcpy(list->items + kept * size, item, size);
		kept++;
	}
	list->n = kept;
}

static int list_room(struct router_list *list, size_t n, size_t size)
{
	list->n = 0;
	list->items = calloc(n ? n : 1, size);
	return list->items ? 0 : -ENOMEM;
}

static void set_verb(uint8_t *item, uint32_t verb)
{
	memcpy(item, &verb, sizeof(verb));
}

static uint32_t verb_of(enum router_part part, bool adds)
{
	switch (parts[part].op) {
	case WARREN_OP_ADDR:
		return adds ? WARREN_ADDR_ADD : WARREN_ADDR_DEL;
	case WARREN_OP_ROUTE:
		return adds ? WARREN_ROUTE_ADD : WARREN_ROUTE_DEL;
	default:
		return adds ? WARREN_RULE_ADD : WARREN_RULE_DEL;
	}
}

/* Appends what only @a has. */
static void only_in(enum router_part part, const struct router_list *a, const struct router_list *b,
		    bool adds, struct router_list *out)
{
	size_t size = parts[part].size, k = 0;

	for (size_t i = 0; i < a->n; i++) {
		const uint8_t *item = a->items + i * size;

		while (k < b->n && compare_items(b->items + k * size, item, &part) < 0)
			k++;
		if (k < b->n && compare_items(b->items + k * size, item, &part) == 0)
			continue;
		memcpy(out->items + out->n * size, item, size);
		set_verb(out->items + out->n * size, verb_of(part, adds));
		out->n++;
	}
}

int router_diff(enum router_part part, const struct router_list *from, const struct router_list *to,
		struct router_list *out)
{
	/* Room for all, which is seldom needed: not zeroed, so that the kernel need not give it. */
	out->n = 0;
	out->items = reallocarray(NULL, from->n + to->n + 1, parts[part].size);
	if (!out->items)
		return -ENOMEM;
	only_in(part, from, to, false, out);
	only_in(part, to, from, true, out);
	return 0;
}

int router_apply(enum router_part part, struct router_list *list, const uint8_t *items, size_t n)
{
	size_t size = parts[part].size;
	struct router_list removed, kept;

	if (list_room(&removed, n, size))
		return -ENOMEM;
	if (list_room(&kept, list->n + n, size)) {
		free(removed.items);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		struct router_list *to = &removed;
		uint32_t verb;

		memcpy(&verb, items + i * size, sizeof(verb));
		if (verb == verb_of(part, true))
			to = &kept;
		memcpy(to->items + to->n * size, items + i * size, size);
		set_verb(to->items + to->n++ * size, 0);
	}
	list_sort(part, &removed);
	only_in(part, list, &removed, true, &kept);
	for (size_t i = 0; i < kept.n; i++)
		set_verb(kept.items + i * size, 0);
	list_sort(part, &kept);
	free(removed.items);
	free(list->items);
	*list = kept;
	return 0;
}

void router_state_free(struct router_state *state)
{
	for (int i = 0; i < ROUTER_PARTS; i++) {
		free(state->parts[i].items);
		state->parts[i].items = NULL;
		state->parts[i].n = 0;
	}
}

/*
 * ---- Desired ----
 */

static void add_addresses(const struct warren_node *self, const struct router_conf *conf,
			  const char *ifname, struct router_state *out)
{
	for (uint32_t i = 0; i < self->n_addresses; i++) {
		bool v6 = self->addresses[i].addr.family == 6;
		struct router_list *list = &out->parts[v6 ? ROUTER_ADDR6 : ROUTER_ADDR4];
		struct warren_priv_addr *item = (struct warren_priv_addr *)list->items + list->n;

		if (v6 && !conf->ipv6)
			continue;
		str_copy(item->ifname, sizeof(item->ifname), ifname);
		item->prefix = self->addresses[i];
		list->n++;
	}
}

static bool is_own(const struct warren_node *self, const struct warren_prefix *prefix)
{
	for (uint32_t i = 0; i < self->n_addresses; i++) {
		if (prefix_equal(&self->addresses[i], prefix))
			return true;
	}
	return false;
}

/* Routes to us ourselves are the kernel's own. */
static void add_route(const struct warren_node *self, const struct router_conf *conf,
		      const char *ifname, const struct warren_prefix *dst, struct router_state *out)
{
	bool v6 = dst->addr.family == 6;
	struct router_list *list = &out->parts[v6 ? ROUTER_ROUTE6 : ROUTER_ROUTE4];
	struct warren_priv_route *item = (struct warren_priv_route *)list->items + list->n;

	if ((v6 && !conf->ipv6) || is_own(self, dst))
		return;
	item->type = WARREN_ROUTE_UNICAST;
	item->table = conf->table;
	item->metric = conf->metric;
	item->dst = *dst;
	str_copy(item->ifname, sizeof(item->ifname), ifname);
	list->n++;
}

static size_t route_count(const struct warren_netmap *map)
{
	size_t n = map->n_networks;

	for (uint32_t i = 0; i < map->n_peers; i++)
		n += map->peers[i]->n_allowed_ips;
	return n;
}

static void add_routes(const struct warren_netmap *map, const struct router_conf *conf,
		       const char *ifname, struct router_state *out)
{
	for (uint32_t i = 0; i < map->n_networks; i++)
		add_route(map->self, conf, ifname, &map->networks[i], out);
	for (uint32_t i = 0; i < map->n_peers; i++) {
		const struct warren_node *peer = map->peers[i];

		if (peer->dormant)
			continue;
		for (uint32_t k = 0; k < peer->n_allowed_ips; k++) {
			if (warren_netmap_takes(map, peer, &peer->allowed_ips[k]))
				add_route(map->self, conf, ifname, &peer->allowed_ips[k], out);
		}
	}
}

static void add_rules(const struct router_conf *conf, bool v6, struct router_state *out)
{
	const struct { uint32_t distance, action, table; bool marked; } rules[] = {
		{ ROUTER_RULE_MAIN, WARREN_RULE_TABLE, TABLE_MAIN, true },
		{ ROUTER_RULE_DEFAULT, WARREN_RULE_TABLE, TABLE_DEFAULT, true },
		{ ROUTER_RULE_UNREACHABLE, WARREN_RULE_UNREACHABLE, 0, true },
		{ ROUTER_RULE_OURS, WARREN_RULE_TABLE, conf->table, false },
	};
	struct router_list *list = &out->parts[v6 ? ROUTER_RULE6 : ROUTER_RULE4];

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		struct warren_priv_rule *item = (struct warren_priv_rule *)list->items + list->n++;

		item->family = v6 ? 6 : 4;
		item->pref = conf->rule_priority + rules[i].distance;
		item->action = rules[i].action;
		item->table = rules[i].table;
		item->mark = rules[i].marked ? conf->mark : 0;
		item->mask = rules[i].marked ? conf->mask : 0;
	}
}

int router_desired(const struct warren_netmap *map, const struct router_conf *conf,
		   const char *ifname, struct router_state *out)
{
	const struct warren_node *self = map ? map->self : NULL;
	size_t addresses = self ? self->n_addresses : 0, routes = self ? route_count(map) : 0;

	for (int i = 0; i < ROUTER_PARTS; i++) {
		size_t n = parts[i].op == WARREN_OP_ADDR ? addresses :
			   parts[i].op == WARREN_OP_ROUTE ? routes : 4;

		if (list_room(&out->parts[i], n, parts[i].size))
			return -ENOMEM;
	}
	if (!self)
		return 0;
	add_addresses(self, conf, ifname, out);
	if (conf->routes)
		add_routes(map, conf, ifname, out);
	if (conf->rules) {
		add_rules(conf, false, out);
		if (conf->ipv6)
			add_rules(conf, true, out);
	}
	for (int i = 0; i < ROUTER_PARTS; i++)
		list_sort((enum router_part)i, &out->parts[i]);
	return 0;
}

bool router_map_matters(const struct warren_netmap *map, const struct warren_netmap *before)
{
	const uint32_t never = WARREN_NODE_KEY | WARREN_NODE_DISCO_KEY | WARREN_NODE_ENDPOINTS |
			       WARREN_NODE_HOME_REGION | WARREN_NODE_PRESENCE | WARREN_NODE_PSK;

	if (!before || !map->previous || map->previous != before->serial ||
	    map->changed & WARREN_NETMAP_SELF || map->addresses_only != before->addresses_only)
		return true;
	for (uint32_t i = 0; map->changed & WARREN_NETMAP_PEERS && i < map->n_changes; i++) {
		const struct warren_netmap_change *change = &map->changes[i];

		if (change->what != WARREN_CHANGE_MODIFIED || change->fields & ~never)
			return true;
	}
	return false;
}
