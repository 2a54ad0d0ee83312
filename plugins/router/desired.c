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
	[ROUTER_SHUT4] = { "IPv4 "
	"routes", WARREN_OP_ROUTE, sizeof(struct warren_priv_route), false },
	[ROUTER_SHUT6] = { "IPv6 "
	"routes", WARREN_OP_ROUTE, sizeof(struct warren_priv_route), true },
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
_Static_assert(sizeof(struct warren_priv_route) == 16 + 18 + 17 + 16 + 1 + 4 &&
	       offsetof(struct warren_priv_route, verb) == 0, "route has no padding");
_Static_assert(sizeof(struct warren_priv_rule) == 28 + 12 + 18 + 2 * 16 + 2 &&
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

static uint32_t verb_get(const uint8_t *item)
{
	uint32_t verb;

	memcpy(&verb, item, sizeof(verb));
	return verb;
}

static void verb_set(uint8_t *item, uint32_t verb)
{
	memcpy(item, &verb, sizeof(verb));
}

/* Rules by priority, so that those for marked packets come before the one for all; else bytes. */
static int compare_items(const void *a, const void *b, void *part)
{
	const enum router_part p = *(const enum router_part *)part;
	const struct warren_priv_rule *x = a, *y = b;

	if (parts[p].op == WARREN_OP_RULE && x->pref != y->pref)
		return x->pref < y->pref ? -1 : 1;
	return memcmp((const uint8_t *)a + sizeof(x->verb), (const uint8_t *)b + sizeof(x->verb),
		      parts[p].size - sizeof(x->verb));
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

/* Sorts, and counts what stands there twice. Peers mostly have addresses in their own order. */
static void list_sort(enum router_part part, struct router_list *list)
{
	size_t size = parts[part].size, kept = 0;

	if (!is_sorted(part, list))
		qsort_r(list->items, list->n, size, compare_items, &part);
	for (size_t i = 0; i < list->n; i++) {
		uint8_t *item = list->items + i * size, *to = list->items + kept * size;

		if (kept > 0 && compare_items(item, to - size, &part) == 0) {
			verb_set(to - size, verb_get(to - size) + 1);
			continue;
		}
		memmove(to, item, size);
		verb_set(to, 1);
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
		verb_set(out->items + out->n * size, verb_of(part, adds));
		out->n++;
	}
}

/* Where @item stands in @list from index @from on, or would stand. */
static size_t place(enum router_part part, const struct router_list *list, size_t from,
		    const uint8_t *item)
{
	size_t size = parts[part].size, end = list->n;

	while (from < end) {
		size_t middle = from + (end - from) / 2;

		if (compare_items(list->items + middle * size, item, &part) < 0)
			from = middle + 1;
		else
			end = middle;
	}
	return from;
}

static bool stands_at(enum router_part part, const struct router_list *list, size_t at,
		      const uint8_t *item)
{
	return at < list->n &&
	       compare_items(list->items + at * parts[part].size, item, &part) == 0;
}

/* How often @item is asked for. */
static uint32_t count_of(enum router_part part, const struct router_list *list,
			 const uint8_t *item)
{
	size_t at = place(part, list, 0, item);

	return stands_at(part, list, at, item) ? verb_get(list->items + at * parts[part].size) : 0;
}

static bool contains(enum router_part part, const struct router_list *list, const uint8_t *item)
{
	return stands_at(part, list, place(part, list, 0, item), item);
}

static void append(enum router_part part, struct router_list *list, const uint8_t *items, size_t n)
{
	memcpy(list->items + list->n * parts[part].size, items, n * parts[part].size);
	list->n += n;
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

/* Appends those of @touched that only @a has. */
static void touched_only_in(enum router_part part, const struct router_list *touched,
			    const struct router_list *a, const struct router_list *b, bool adds,
			    struct router_list *out)
{
	size_t size = parts[part].size;

	for (size_t i = 0; i < touched->n; i++) {
		const uint8_t *item = touched->items + i * size;

		if (!contains(part, a, item) || contains(part, b, item))
			continue;
		append(part, out, item, 1);
		verb_set(out->items + (out->n - 1) * size, verb_of(part, adds));
	}
}

int router_diff_touched(enum router_part part, const struct router_list *from,
			const struct router_list *to, const struct router_list *touched,
			struct router_list *out)
{
	out->n = 0;
	out->items = reallocarray(NULL, touched->n + 1, parts[part].size);
	if (!out->items)
		return -ENOMEM;
	touched_only_in(part, touched, from, to, false, out);
	touched_only_in(part, touched, to, from, true, out);
	return 0;
}

/* @items, sorted, are taken out of @list where they stand in it. */
static void take_out(enum router_part part, struct router_list *list, const uint8_t *items,
		     size_t n)
{
	size_t size = parts[part].size, to = 0, at = 0;

	for (size_t i = 0; i <= n; i++) {
		const uint8_t *item = items + i * size;
		size_t next = i < n ? place(part, list, at, item) : list->n;

		if (to != at)
			memmove(list->items + to * size, list->items + at * size,
				(next - at) * size);
		to += next - at;
		at = next + (i < n && stands_at(part, list, next, item));
	}
	list->n = to;
}

/* @items, sorted, none of which stands in @list, get their places: from the end, so in one pass. */
static int put_in(enum router_part part, struct router_list *list, const uint8_t *items, size_t n)
{
	size_t size = parts[part].size;
	uint8_t *room = reallocarray(list->items, list->n + n + 1, size);
	struct router_list rest = { room, list->n };

	if (!room)
		return -ENOMEM;
	list->items = room;
	for (size_t i = n; i > 0; i--) {
		const uint8_t *item = items + (i - 1) * size;
		size_t at = place(part, &rest, 0, item);

		memmove(room + (at + i) * size, room + at * size, (rest.n - at) * size);
		memcpy(room + (at + i - 1) * size, item, size);
		rest.n = at;
	}
	list->n += n;
	return 0;
}

int router_apply(enum router_part part, struct router_list *list, const uint8_t *items, size_t n)
{
	size_t size = parts[part].size, gone = 0;
	uint8_t *bare = reallocarray(NULL, n + 1, size);
	int result;

	if (!bare)
		return -ENOMEM;
	memcpy(bare, items, n * size);
	for (size_t i = 0; i < n; i++) {
		gone += verb_get(bare + i * size) == verb_of(part, false);
		verb_set(bare + i * size, 0);
	}
	take_out(part, list, bare, gone);
	result = put_in(part, list, bare + gone * size, n - gone);
	free(bare);
	return result;
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

/* Routes to us ourselves are the kernel's own. */
static void add_route(const struct warren_node *self, const struct router_conf *conf,
		      const char *ifname, const struct warren_prefix *dst, struct router_state *out)
{
	bool v6 = dst->addr.family == 6;
	struct router_list *list = &out->parts[v6 ? ROUTER_ROUTE6 : ROUTER_ROUTE4];
	struct warren_priv_route *item = (struct warren_priv_route *)list->items + list->n;

	if ((v6 && !conf->ipv6) || warren_netmap_has_address(self, dst))
		return;
	item->type = WARREN_ROUTE_UNICAST;
	item->table = conf->table;
	item->metric = conf->metric;
	item->dst = *dst;
	str_copy(item->ifname, sizeof(item->ifname), ifname);
	list->n++;
}

/* Whether what the host is attached to counts beside the tunnel. */
static bool attached_counts(const struct router_conf *conf)
{
	return conf->host && !conf->prefer_tailnet && (!conf->lead || conf->lead->attached);
}

/* The host is in all of it: the way through the tunnel gives way. */
static bool is_attached(const struct router_conf *conf, const struct warren_node *peer,
			const struct warren_prefix *network)
{
	if (!attached_counts(conf) || warren_netmap_has_address(peer, network))
		return false;
	for (size_t i = 0; i < conf->host->n_attached; i++) {
		const struct warren_prefix *attached = &conf->host->attached[i].prefix;

		if (attached->bits <= network->bits &&
		    prefix_contains(attached, &network->addr))
			return true;
	}
	return false;
}

/* The host is in a part of it. All of the internet is another matter: see `lead`. */
static bool surrounds(const struct warren_node *peer, const struct warren_prefix *network,
		      const struct warren_prefix *attached)
{
	return network->bits > 0 && network->bits < attached->bits &&
	       !warren_netmap_has_address(peer, network) &&
	       prefix_contains(network, &attached->addr);
}

static bool peer_surrounds(const struct warren_netmap *map, const struct warren_node *peer,
			   const struct warren_prefix *attached)
{
	for (uint32_t i = 0; !peer->dormant && i < peer->n_allowed_ips; i++) {
		if (surrounds(peer, &peer->allowed_ips[i], attached) &&
		    warren_netmap_takes(map, peer, &peer->allowed_ips[i]))
			return true;
	}
	return false;
}

static void add_peer_routes(const struct warren_netmap *map, const struct warren_node *peer,
			    const struct router_conf *conf, const char *ifname,
			    struct router_state *out)
{
	if (peer->dormant)
		return;
	for (uint32_t k = 0; k < peer->n_allowed_ips; k++) {
		if (warren_netmap_takes(map, peer, &peer->allowed_ips[k]) &&
		    !is_attached(conf, peer, &peer->allowed_ips[k]))
			add_route(map->self, conf, ifname, &peer->allowed_ips[k], out);
	}
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
	for (uint32_t i = 0; i < map->n_peers; i++)
		add_peer_routes(map, map->peers[i], conf, ifname, out);
	for (int six = 0; conf->lead && six < 2; six++)
		add_route(map->self, conf, ifname,
			  &(struct warren_prefix){ .addr.family = six ? 6 : 4 }, out);
}

static void add_shut(const struct router_conf *conf, uint32_t type, uint32_t metric,
		     const struct warren_prefix *dst, struct router_state *out)
{
	bool v6 = dst->addr.family == 6;
	struct router_list *list = &out->parts[v6 ? ROUTER_SHUT6 : ROUTER_SHUT4];
	struct warren_priv_route *item = (struct warren_priv_route *)list->items + list->n;

	if (v6 && !conf->ipv6)
		return;
	item->type = type;
	item->table = conf->table;
	item->metric = metric;
	item->dst = *dst;
	item->stays = type == WARREN_ROUTE_UNREACHABLE && conf->lead->stays;
	list->n++;
}

static bool is_surrounded(const struct warren_netmap *map, const struct warren_prefix *attached)
{
	for (uint32_t i = 0; map && map->self && i < map->n_peers; i++) {
		if (peer_surrounds(map, map->peers[i], attached))
			return true;
	}
	return false;
}

/*
 * What keeps packets out of the tunnel, and what is left where there is none: the last resort of
 * our table, which the kernel does not take away with the interface.
 */
static void add_shuts(const struct warren_netmap *map, const struct router_conf *conf,
		      struct router_state *out)
{
	for (int six = 0; conf->lead && conf->lead->shut && six < 2; six++)
		add_shut(conf, WARREN_ROUTE_UNREACHABLE, UINT32_MAX,
			 &(struct warren_prefix){ .addr.family = six ? 6 : 4 }, out);
	if (!attached_counts(conf))
		return;
	for (size_t i = 0; i < conf->host->n_attached; i++) {
		const struct warren_prefix *network = &conf->host->attached[i].prefix;

		if (conf->lead || is_surrounded(map, network))
			add_shut(conf, WARREN_ROUTE_THROW, conf->metric, network, out);
	}
}

static struct warren_priv_rule *add_rule(struct router_list *list, bool v6, uint32_t pref,
					 uint32_t table, uint32_t flags)
{
	struct warren_priv_rule *item = (struct warren_priv_rule *)list->items + list->n++;

	item->family = v6 ? 6 : 4;
	item->pref = pref;
	item->action = table ? WARREN_RULE_TABLE : WARREN_RULE_UNREACHABLE;
	item->table = table;
	item->flags = flags;
	return item;
}

static void add_bypass(const struct router_conf *conf, const struct warren_router_bypass *bypass,
		       bool v6, struct router_list *list)
{
	const uint32_t first = conf->rule_priority, tables[] = { conf->table, TABLE_MAIN };

	if (bypass->kind == WARREN_BYPASS_NETWORK &&
	    (bypass->network.addr.family == 6) == v6)
		add_rule(list, v6, first - ROUTER_BYPASS_NETWORKS, TABLE_MAIN, 0)->to =
			bypass->network;
	/*
	 * Whoever brings the interface up lays routes at once, and the kernel looks for their
	 * gateways by the rules (for IPv6 in main): before anybody can have seen the new network.
	 * Only what is bound to this interface is led by this, and only through it.
	 */
	if (bypass->kind == WARREN_BYPASS_INTERFACE && !v6)
		str_copy(add_rule(list, v6, first - ROUTER_BYPASS_BOUND, TABLE_MAIN,
				  WARREN_RULE_SPECIFIC)->oif, WARREN_PRIV_IFNAME, bypass->ifname);
	/* Peers, and what is behind them, are reached by everybody. */
	for (int i = 0; bypass->kind == WARREN_BYPASS_USERS && i < 2; i++) {
		struct warren_priv_rule *rule =
			add_rule(list, v6, first - (i ? ROUTER_BYPASS_USERS : ROUTER_BYPASS_PEERS),
				 tables[i], WARREN_RULE_UIDS | (i ? 0 : WARREN_RULE_SPECIFIC));

		rule->uid_first = bypass->uid_first;
		rule->uid_last = bypass->uid_last;
	}
}

/* While its interface is away, such a network is out of reach: not by the uplink, not by a peer. */
static void add_held(const struct router_conf *conf, bool v6, struct router_list *list)
{
	const uint32_t first = conf->rule_priority;

	for (size_t i = 0; conf->host && i < conf->host->n_held; i++) {
		const struct warren_prefix *network = &conf->host->held[i].prefix;

		if ((network->addr.family == 6) != v6)
			continue;
		add_rule(list, v6, first - ROUTER_BYPASS_BEHIND, TABLE_MAIN,
			 WARREN_RULE_SPECIFIC)->to = *network;
		add_rule(list, v6, first - ROUTER_BYPASS_NOT, 0, 0)->to = *network;
	}
}

/*
 * The last resort once more: whoever flushes our table takes the one there with it, and until the
 * monitor has put it back, all would leave by the main table. Beside it stays what our table lets
 * pass by `throw`, and what does not get further than to the neighbours.
 */
static void add_last(const struct router_conf *conf, bool v6, struct router_list *list)
{
	static const struct warren_prefix link_local = { { 6, { 0xfe, 0x80 } }, 10 };
	const uint32_t first = conf->rule_priority;

	if (v6)
		add_rule(list, v6, first + ROUTER_RULE_BESIDE, TABLE_MAIN, 0)->to = link_local;
	for (size_t i = 0; attached_counts(conf) && i < conf->host->n_attached; i++) {
		const struct warren_prefix *network = &conf->host->attached[i].prefix;

		if ((network->addr.family == 6) == v6)
			add_rule(list, v6, first + ROUTER_RULE_BESIDE, TABLE_MAIN, 0)->to =
				*network;
	}
	add_rule(list, v6, first + ROUTER_RULE_SHUT, 0, 0);
}

static size_t rule_count(const struct router_conf *conf)
{
	return 4 + (conf->lead ? 2 + 2 * (size_t)conf->lead->n_bypass : 0) +
	       (conf->host ? 2 * conf->host->n_held + conf->host->n_attached : 0);
}

static void add_rules(const struct router_conf *conf, bool v6, struct router_state *out)
{
	const struct { uint32_t distance, table; bool marked; } rules[] = {
		{ ROUTER_RULE_MAIN, TABLE_MAIN, true },
		{ ROUTER_RULE_DEFAULT, TABLE_DEFAULT, true },
		{ ROUTER_RULE_UNREACHABLE, 0, true },
		{ ROUTER_RULE_OURS, conf->table, false },
	};
	struct router_list *list = &out->parts[v6 ? ROUTER_RULE6 : ROUTER_RULE4];

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		struct warren_priv_rule *item =
			add_rule(list, v6, conf->rule_priority + rules[i].distance, rules[i].table,
				 0);

		item->mark = rules[i].marked ? conf->mark : 0;
		item->mask = rules[i].marked ? conf->mask : 0;
	}
	for (uint32_t i = 0; conf->lead && i < conf->lead->n_bypass; i++)
		add_bypass(conf, &conf->lead->bypass[i], v6, list);
	if (conf->lead)
		add_held(conf, v6, list);
	if (conf->lead && conf->lead->shut)
		add_last(conf, v6, list);
}

int router_desired(const struct warren_netmap *map, const struct router_conf *conf,
		   const char *ifname, struct router_state *out)
{
	const struct warren_node *self = map ? map->self : NULL;
	size_t addresses = self ? self->n_addresses : 0, routes = self ? route_count(map) : 0;
	size_t shuts = 1 + (conf->host ? conf->host->n_attached : 0);

	for (int i = 0; i < ROUTER_PARTS; i++) {
		size_t n = parts[i].op == WARREN_OP_ADDR ? addresses :
			   parts[i].op == WARREN_OP_RULE ? rule_count(conf) :
			   i <= ROUTER_SHUT6 ? shuts : routes + 1;

		if (list_room(&out->parts[i], n, parts[i].size))
			return -ENOMEM;
	}
	if (self)
		add_addresses(self, conf, ifname, out);
	if (self && conf->routes)
		add_routes(map, conf, ifname, out);
	if (conf->routes)
		add_shuts(map, conf, out);
	/* Without a network nothing is ours to lead, but what is to be shut is shut. */
	if (conf->rules && (self || conf->lead)) {
		add_rules(conf, false, out);
		if (conf->ipv6)
			add_rules(conf, true, out);
	}
	for (int i = 0; i < ROUTER_PARTS; i++)
		list_sort((enum router_part)i, &out->parts[i]);
	return 0;
}

bool router_map_follows(const struct warren_netmap *map, const struct warren_netmap *before)
{
	return warren_netmap_follows(map, before) && !(map->changed & WARREN_NETMAP_SELF) &&
	       map->addresses_only == before->addresses_only &&
	       map->exit_chosen == before->exit_chosen && map->exit_node == before->exit_node;
}

bool router_map_matters(const struct warren_netmap *map, const struct warren_netmap *before)
{
	return !router_map_follows(map, before) ||
	       warren_netmap_peers_differ(map, before, WARREN_NODE_REACHED);
}

/*
 * ---- Following a list of changes ----
 */

static int route_room(struct router_state *state, size_t n)
{
	int result = list_room(&state->parts[ROUTER_ROUTE4], n, parts[ROUTER_ROUTE4].size);

	return result ? result : list_room(&state->parts[ROUTER_ROUTE6], n,
					   parts[ROUTER_ROUTE6].size);
}

/* The routes of the changed peers, as they were or as they are. */
static int changed_routes(const struct warren_netmap *map, bool before,
			  const struct router_conf *conf, const char *ifname,
			  struct router_state *out)
{
	size_t n = 0;

	for (uint32_t i = 0; i < map->n_changes; i++) {
		const struct warren_netmap_change *change = &map->changes[i];
		const struct warren_node *peer = before ? change->before : change->after;

		n += peer ? peer->n_allowed_ips : 0;
	}
	if (route_room(out, n))
		return -ENOMEM;
	for (uint32_t i = 0; i < map->n_changes; i++) {
		const struct warren_netmap_change *change = &map->changes[i];
		const struct warren_node *peer = before ? change->before : change->after;

		if (peer)
			add_peer_routes(map, peer, conf, ifname, out);
	}
	for (int part = ROUTER_ROUTE4; part <= ROUTER_ROUTE6; part++)
		list_sort((enum router_part)part, &out->parts[part]);
	return 0;
}

/* @wanted is brought to what @touched, which has all of @gone and @come, says of its counts. */
static int count_again(enum router_part part, struct router_list *wanted,
		       const struct router_list *touched, const struct router_list *gone,
		       const struct router_list *come)
{
	struct router_list first = { NULL, 0 }, last = { NULL, 0 };
	size_t size = parts[part].size;
	int result = -ENOMEM;

	if (list_room(&first, touched->n, size) || list_room(&last, touched->n, size))
		goto end;
	for (size_t i = 0; i < touched->n; i++) {
		const uint8_t *item = touched->items + i * size;
		size_t at = place(part, wanted, 0, item);
		bool there = stands_at(part, wanted, at, item);
		uint8_t *entry = wanted->items + at * size;
		uint32_t count = (there ? verb_get(entry) : 0) + count_of(part, come, item) -
				 count_of(part, gone, item);

		if (there && count > 0) {
			verb_set(entry, count);
		} else if (there || count > 0) {
			struct router_list *list = there ? &last : &first;

			append(part, list, item, 1);
			verb_set(list->items + (list->n - 1) * size, count);
		}
	}
	take_out(part, wanted, last.items, last.n);
	result = put_in(part, wanted, first.items, first.n);
end:
	free(first.items);
	free(last.items);
	return result;
}

/* All items of both, with a count of 0. */
static int join(enum router_part part, const struct router_list *a, const struct router_list *b,
		struct router_list *out)
{
	if (list_room(out, a->n + b->n, parts[part].size))
		return -ENOMEM;
	if (a->n > 0)
		append(part, out, a->items, a->n);
	if (b->n > 0)
		append(part, out, b->items, b->n);
	list_sort(part, out);
	for (size_t i = 0; i < out->n; i++)
		verb_set(out->items + i * parts[part].size, 0);
	return 0;
}

static int follow_part(enum router_part part, const struct router_list *gone,
		       const struct router_list *come, struct router_list *wanted,
		       struct router_list *touched)
{
	struct router_list concerned = { NULL, 0 }, all = { NULL, 0 };
	int result = join(part, gone, come, &concerned);

	if (!result)
		result = count_again(part, wanted, &concerned, gone, come);
	if (!result)
		result = join(part, touched, &concerned, &all);
	free(concerned.items);
	if (result) {
		free(all.items);
		return result;
	}
	free(touched->items);
	*touched = all;
	return 0;
}

static bool changes_surround(const struct warren_netmap *map, const struct router_conf *conf)
{
	for (size_t i = 0; attached_counts(conf) && i < conf->host->n_attached; i++) {
		const struct warren_prefix *attached = &conf->host->attached[i].prefix;

		for (uint32_t k = 0; k < map->n_changes; k++) {
			const struct warren_netmap_change *change = &map->changes[k];

			if ((change->before && peer_surrounds(map, change->before, attached)) ||
			    (change->after && peer_surrounds(map, change->after, attached)))
				return true;
		}
	}
	return false;
}

int router_follow(const struct warren_netmap *map, const struct router_conf *conf,
		  const char *ifname, struct router_state *wanted, struct router_state *touched)
{
	struct router_state gone = { 0 }, come = { 0 };
	int result = 0;

	if (!conf->routes)
		return 0;
	if (changes_surround(map, conf))
		return -EAGAIN;
	if (changed_routes(map, true, conf, ifname, &gone) ||
	    changed_routes(map, false, conf, ifname, &come))
		result = -ENOMEM;
	for (int i = ROUTER_ROUTE4; i <= ROUTER_ROUTE6 && !result; i++)
		result = follow_part((enum router_part)i, &gone.parts[i], &come.parts[i],
				     &wanted->parts[i], &touched->parts[i]);
	router_state_free(&gone);
	router_state_free(&come);
	return result;
}

/*
 * ---- Overlaps ----
 */

static void peer_overlaps(const struct warren_netmap *map, const struct router_conf *conf,
			  const struct warren_node *peer, router_overlap_fn *fn, void *arg)
{
	for (uint32_t i = 0; !peer->dormant && i < peer->n_allowed_ips; i++) {
		const struct warren_prefix *network = &peer->allowed_ips[i];

		if (network->bits == 0 || warren_netmap_has_address(peer, network) ||
		    !warren_netmap_takes(map, peer, network))
			continue;
		for (size_t k = 0; k < conf->host->n_attached; k++) {
			const struct router_net *attached = &conf->host->attached[k];

			if (prefix_contains(network, &attached->prefix.addr) ||
			    prefix_contains(&attached->prefix, &network->addr))
				fn(peer, network, attached, attached_counts(conf), arg);
		}
	}
}

void router_overlaps(const struct warren_netmap *map, const struct router_conf *conf,
		     router_overlap_fn *fn, void *arg)
{
	for (uint32_t i = 0; conf->host && map && map->self && i < map->n_peers; i++)
		peer_overlaps(map, conf, map->peers[i], fn, arg);
}

static void note_overlap(const struct warren_node *peer, const struct warren_prefix *network,
			 const struct router_net *attached, bool lost, void *arg)
{
	(void)peer;
	(void)network;
	(void)attached;
	(void)lost;
	*(bool *)arg = true;
}

bool router_overlaps_differ(const struct warren_netmap *map, const struct router_conf *conf)
{
	bool any = false;

	for (uint32_t i = 0; conf->host && i < map->n_changes; i++) {
		const struct warren_netmap_change *change = &map->changes[i];

		if (change->before)
			peer_overlaps(map, conf, change->before, note_overlap, &any);
		if (change->after)
			peer_overlaps(map, conf, change->after, note_overlap, &any);
	}
	return any;
}
