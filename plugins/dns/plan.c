/*
 * Who answers for which names. What is added first stays: the operator's words, then the names of
 * the network, then what its server says of others.
 */
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/dnsmsg.h"
#include "base/util.h"
#include "record.h"

const struct warren_addr dns_service[2] = {
	{ 4, { 100, 100, 100, 100 } },
	{ 6, { 0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, [15] = 0x53 } },
};

int dns_upstream_parse(const char *text, struct dns_upstream *out)
{
	memset(out, 0, sizeof(*out));
	if (addr_parse(text, &out->at.addr) == 0) {
		out->at.port = 53;
		return 0;
	}
	return addrport_parse(text, &out->at);
}

bool dns_upstream_equal(const struct dns_upstream *a, const struct dns_upstream *b)
{
	return addrport_equal(&a->at, &b->at) && a->tailnet == b->tailnet && a->led == b->led &&
	       a->peer == b->peer;
}

bool dns_is_service(const struct warren_addr *addr)
{
	return addr_equal(addr, &dns_service[0]) || addr_equal(addr, &dns_service[1]);
}

/*
 * ---- Routes ----
 */

static struct dns_route *add_route(struct dns_plan *plan, const struct dns_name *suffix,
				   const char *origin)
{
	struct dns_route *route = arena_alloc(&plan->zone.arena, sizeof(*route));

	if (!route)
		return NULL;
	route->suffix = *suffix;
	route->origin = origin;
	if (hash_get(&plan->routes, suffix->wire, suffix->len))
		return route;		/* another's; this one leads nowhere */
	if (hash_put(&plan->routes, route->suffix.wire, route->suffix.len, route, NULL))
		return NULL;
	plan->n_routes++;
	return route;
}

static int add_local(struct dns_plan *plan, const struct dns_name *suffix, const char *origin)
{
	struct dns_route *route = add_route(plan, suffix, origin);

	if (!route)
		return -ENOMEM;
	route->local = true;
	return 0;
}

/* The first of @node's own of that family, or NULL. */
static const struct warren_addr *address_of(const struct warren_node *node, uint8_t family)
{
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		if (node->addresses[i].addr.family == family)
			return &node->addresses[i].addr;
	}
	return NULL;
}

static bool is_own(const struct warren_netmap *map, const struct warren_addr *addr)
{
	for (uint32_t i = 0; i < map->self->n_addresses; i++) {
		if (addr_equal(&map->self->addresses[i].addr, addr))
			return true;
	}
	return false;
}

static bool is_behind(const struct warren_netmap *map, const struct warren_addr *addr)
{
	for (uint32_t i = 0; i < map->n_networks; i++) {
		if (prefix_contains(&map->networks[i], addr))
			return true;
	}
	for (uint32_t i = 0; i < map->n_peers; i++) {
		const struct warren_node *peer = map->peers[i];

		for (uint32_t k = 0; k < peer->n_allowed_ips; k++) {
			if (prefix_contains(&peer->allowed_ips[k], addr) &&
			    warren_netmap_takes(map, peer, &peer->allowed_ips[k]))
				return true;
		}
	}
	return false;
}

static bool is_ourselves(const struct dns_plan *plan, const struct warren_addrport *at)
{
	for (uint32_t i = 0; i < plan->words->n_listen; i++) {
		if (addrport_equal(&plan->words->listen[i], at))
			return true;
	}
	return dns_is_service(&at->addr);
}

/* To ask ourselves would go round in circles. */
static void add_upstream(const struct dns_plan *plan, struct dns_route *route,
			 const struct warren_netmap *map, const struct dns_upstream *upstream)
{
	struct dns_upstream *to = &route->up[route->n];

	if (route->n == DNS_UPSTREAMS || is_ourselves(plan, &upstream->at)) {
		route->unusable++;
		return;
	}
	*to = *upstream;
	to->tailnet = map && map->self && !is_own(map, &to->at.addr) &&
		      is_behind(map, &to->at.addr);
	to->led = map && map->exit_chosen && !to->tailnet;
	route->n++;
}

/* While the exit node is asked for all names, only those count that are said to hold then. */
static bool is_left_out(const struct dns_plan *plan, const struct warren_resolver *resolver)
{
	return plan->proxied && !resolver->use_with_exit_node;
}

static bool are_left_out(const struct dns_plan *plan, const struct warren_resolver *list,
			 uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!is_left_out(plan, &list[i]))
			return false;
	}
	return n > 0;
}

static void add_texts(const struct dns_plan *plan, struct dns_route *route,
		      const struct warren_netmap *map, const struct warren_resolver *list,
		      uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct dns_upstream upstream;

		if (is_left_out(plan, &list[i]))
			continue;
		if (dns_upstream_parse(list[i].address, &upstream) == 0)
			add_upstream(plan, route, map, &upstream);
		else
			route->unusable++;
	}
}

static int add_words(struct dns_plan *plan, const struct dns_words *words,
		     const struct warren_netmap *map)
{
	static const struct dns_name root = { .len = 1 };
	struct dns_route *route;

	for (uint32_t i = 0; i < words->n_split; i++) {
		const struct dns_split *split = &words->split[i];

		route = add_route(plan, &split->suffix, "dns.split");
		if (!route)
			return -ENOMEM;
		route->local = split->to.n == 0;
		for (uint32_t k = 0; k < split->to.n; k++)
			add_upstream(plan, route, map, &split->to.up[k]);
	}
	if (words->upstream.n == 0)
		return 0;
	route = add_route(plan, &root, "dns.upstream");
	for (uint32_t k = 0; route && k < words->upstream.n; k++)
		add_upstream(plan, route, map, &words->upstream.up[k]);
	return route ? 0 : -ENOMEM;
}

static int add_default(struct dns_plan *plan, const struct warren_netmap *map,
		       const struct warren_resolver *list, uint32_t n, const char *origin)
{
	static const struct dns_name root = { .len = 1 };
	struct dns_route *route = n > 0 ? add_route(plan, &root, origin) : NULL;

	if (route)
		add_texts(plan, route, map, list, n);
	return n == 0 || route ? 0 : -ENOMEM;
}

/* Where the exit node in use takes questions; false: it does not. */
static bool find_proxy(const struct warren_netmap *map, struct dns_upstream *out)
{
	const struct warren_node *node = map->exit_chosen ?
					 warren_netmap_peer(map, map->exit_node) : NULL;
	const struct warren_addr *addr;
	uint16_t ports[2] = { 0, 0 };
	bool takes = false;

	for (uint32_t i = 0; node && i < node->n_services; i++) {
		const struct warren_service *service = &node->services[i];

		takes = takes || strcmp(service->proto, "peerapi-dns-proxy") == 0;
		for (int six = 0; six < 2; six++) {
			if (strcmp(service->proto, six ? "peerapi6" : "peerapi4") == 0)
				ports[six] = service->port;
		}
	}
	memset(out, 0, sizeof(*out));
	for (int six = 0; takes && six < 2 && !out->peer; six++) {
		addr = address_of(node, six ? 6 : 4);
		if (!ports[six] || !addr || !address_of(map->self, six ? 6 : 4))
			continue;
		*out = (struct dns_upstream){ .at = { *addr, ports[six] }, .tailnet = true,
					      .peer = node->id };
	}
	return out->peer != 0;
}

static int add_proxy(struct dns_plan *plan, const struct warren_netmap *map)
{
	static const struct dns_name root = { .len = 1 };
	struct dns_route *route = add_route(plan, &root, "the exit node");

	if (!route)
		return -ENOMEM;
	find_proxy(map, &route->up[0]);
	route->n = 1;
	return 0;
}

static int add_server_routes(struct dns_plan *plan, const struct warren_netmap *map)
{
	const struct warren_dns *dns = map->dns;

	for (uint32_t i = 0; i < dns->n_routes; i++) {
		const struct warren_dns_route *from = &dns->routes[i];
		struct dns_route *route;
		struct dns_name suffix;

		if (dns_name_parse(*from->suffix ? from->suffix : ".", &suffix) ||
		    are_left_out(plan, from->resolvers, from->n_resolvers))
			continue;
		route = add_route(plan, &suffix, "the network's split DNS");
		if (!route)
			return -ENOMEM;
		route->local = from->n_resolvers == 0;
		add_texts(plan, route, map, from->resolvers, from->n_resolvers);
	}
	if (plan->proxied && (dns->n_resolvers == 0 ||
			      are_left_out(plan, dns->resolvers, dns->n_resolvers)))
		return add_proxy(plan, map);
	return add_default(plan, map, dns->resolvers, dns->n_resolvers, "the network's resolvers");
}

/* Where nobody is named for all other names: who was before us, else the network's last resort. */
static int add_host(struct dns_plan *plan, const struct dns_words *words,
		    const struct warren_netmap *map)
{
	static const struct dns_name root = { .len = 1 };
	const struct dns_hostconf *host = &words->host;
	struct dns_route *route;

	if (dns_plan_route(plan, &root))
		return 0;
	if (host->servers.n == 0)
		return map && map->self && words->accept ?
		       add_default(plan, map, map->dns->fallback, map->dns->n_fallback,
				   "the network's fallback resolvers") : 0;
	route = add_route(plan, &root, "this host's own configuration");
	for (uint32_t i = 0; route && i < host->servers.n; i++)
		add_upstream(plan, route, map, &host->servers.up[i]);
	for (uint32_t i = 0; i < host->n_search && plan->n_search < DNS_SEARCH; i++)
		plan->search[plan->n_search++] = host->search[i];
	return route ? 0 : -ENOMEM;
}

/*
 * ---- Names ----
 */

static bool has_cap(const struct warren_node *node, const char *name)
{
	for (uint32_t i = 0; i < node->n_caps; i++) {
		if (strcmp(node->caps[i].name, name) == 0)
			return true;
	}
	return false;
}

static int add_addresses(struct dns_plan *plan, struct dns_host *host,
			 const struct warren_node *node, bool both)
{
	const struct warren_addr *first[2] = { NULL, NULL };

	if (!host)
		return -ENOMEM;
	for (uint32_t i = node->n_addresses; i > 0; i--)
		first[node->addresses[i - 1].addr.family == 6] = &node->addresses[i - 1].addr;
	for (int six = 0; six < 2; six++) {
		if (first[six] && (!six || both || !first[0]) &&
		    dns_zone_add_addr(&plan->zone, host, first[six]))
			return -ENOMEM;
	}
	return 0;
}

/* The whole name of a node, and what stands before the network's own suffix. False: none. */
static bool names_of(const struct dns_plan *plan, const char *text, struct dns_name *whole,
		     struct dns_name *single)
{
	struct dns_name zone;

	single->len = 0;
	if (dns_name_parse(text, whole) || whole->len == 1)
		return false;
	if (dns_name_labels(whole) == 1) {
		*single = *whole;
		if (plan->suffix.len == 0)
			return true;
		return dns_name_join(text, strcspn(text, "."), &plan->suffix, whole);
	}
	dns_name_parent(whole, &zone);
	if (dns_name_equal(&zone, &plan->suffix)) {
		memcpy(single->wire, whole->wire, whole->wire[0] + 1u);
		single->wire[whole->wire[0] + 1] = 0;
		single->len = (uint8_t)(whole->wire[0] + 2);
	}
	return true;
}

static int add_node(struct dns_plan *plan, const struct warren_node *node, const char *name,
		    bool both)
{
	struct dns_name whole, single;
	struct dns_host *host;

	if (!name || !names_of(plan, name, &whole, &single))
		return 0;
	if (!plan->self.len)		/* it is the first */
		plan->self = whole;
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		if (dns_zone_add_reverse(&plan->zone, &node->addresses[i].addr, &whole))
			return -ENOMEM;
	}
	/* Records of the network go before its nodes. */
	host = dns_zone_host(&plan->zone, &whole, "a node");
	if (!host || (!host->data && add_addresses(plan, host, node, both)))
		return -ENOMEM;
	host->below = host->below || has_cap(node, "dns-subdomain-resolve");
	if (!plan->magic || single.len == 0 || dns_name_equal(&single, &whole))
		return 0;
	host = dns_zone_host(&plan->zone, &single, "a node");
	return !host || (!host->data && add_addresses(plan, host, node, both)) ? -ENOMEM : 0;
}

static int add_record(struct dns_plan *plan, const struct warren_dns_record *record)
{
	uint8_t data[DNS_RECORD_MAX];
	struct warren_addr addr;
	struct dns_host *host;
	struct dns_name name;
	uint16_t type = 0;
	int len = -1;

	if (record->type && *record->type)
		type = dns_type_parse(record->type);
	else if (addr_parse(record->value, &addr) == 0)
		type = addr.family == 4 ? DNS_A : DNS_AAAA;
	if (type && dns_name_parse(record->name, &name) == 0)
		len = dns_record_parse(type, record->value, data, sizeof(data));
	if (len < 0) {
		plan->bad_records++;
		return 0;
	}
	host = dns_zone_host(&plan->zone, &name, "a record of the network");
	if (!host || dns_zone_add(&plan->zone, host, type, data, (uint16_t)len))
		return -ENOMEM;
	return 0;
}

/* One that no route leads to is answered all the same, and what is below it is not asked for. */
static int add_record_routes(struct dns_plan *plan, const struct warren_dns *dns)
{
	struct dns_name name;

	for (uint32_t i = 0; i < dns->n_records; i++) {
		const struct dns_route *route;

		if (dns_name_parse(dns->records[i].name, &name))
			continue;
		route = dns_plan_route(plan, &name);
		if ((!route || route->suffix.len == 1) &&
		    add_local(plan, &name, "a record of the network"))
			return -ENOMEM;
	}
	return 0;
}

/* 64.100 ... 127.100.in-addr.arpa (RFC 6598), and fd7a:115c:a1e0::/48. */
static int add_reverse_zones(struct dns_plan *plan)
{
	struct warren_addr addr = { 4, { 100 } };
	struct dns_name name;

	for (int i = 64; i < 128; i++) {
		addr.bytes[1] = (uint8_t)i;
		dns_name_reverse(&addr, &name);
		dns_name_parent(&name, &name);
		dns_name_parent(&name, &name);
		if (add_local(plan, &name, "addresses of the network"))
			return -ENOMEM;
	}
	dns_name_reverse(&dns_service[1], &name);
	for (int i = 0; i < 20; i++)
		dns_name_parent(&name, &name);
	return add_local(plan, &name, "addresses of the network");
}

static int add_filtered(struct dns_plan *plan, const struct warren_dns *dns)
{
	if (dns->n_exit_filtered == 0)
		return 0;
	plan->filtered = arena_alloc(&plan->zone.arena,
				     dns->n_exit_filtered * sizeof(*plan->filtered));
	for (uint32_t i = 0; plan->filtered && i < dns->n_exit_filtered; i++) {
		struct dns_filtered *filtered = &plan->filtered[plan->n_filtered];
		const char *text = dns->exit_filtered[i];

		filtered->below = *text == '.';
		if (dns_name_parse(text + filtered->below, &filtered->name) == 0 &&
		    filtered->name.len > 1)
			plan->n_filtered++;
	}
	return plan->filtered ? 0 : -ENOMEM;
}

static const char *self_name(const struct dns_words *words, const struct warren_netmap *map)
{
	return map->self->name && *map->self->name ? map->self->name : words->hostname;
}

static void find_suffix(struct dns_plan *plan, const struct dns_words *words,
			const struct warren_netmap *map)
{
	struct dns_name name;
	bool named = dns_name_parse(self_name(words, map), &name) == 0 &&
		     dns_name_labels(&name) > 1;

	if (named)
		dns_name_parent(&name, &plan->suffix);
	else
		plan->suffix = words->domain;
	plan->magic = map->dns->proxied || !named;
}

static void add_search(struct dns_plan *plan, const struct warren_netmap *map)
{
	if (map->dns->n_search == 0 && plan->suffix.len > 0)
		plan->search[plan->n_search++] = plan->suffix;
	for (uint32_t i = 0; i < map->dns->n_search && plan->n_search < DNS_SEARCH; i++) {
		if (dns_name_parse(map->dns->search[i], &plan->search[plan->n_search]) == 0)
			plan->n_search++;
	}
}

static int add_map(struct dns_plan *plan, const struct dns_words *words,
		   const struct warren_netmap *map)
{
	bool both = words->ipv6 || has_cap(map->self, "magicdns-aaaa");
	int result = add_filtered(plan, map->dns);

	struct dns_upstream proxy;

	plan->networked = true;
	plan->proxied = words->reach && words->accept && find_proxy(map, &proxy);
	find_suffix(plan, words, map);
	for (uint32_t i = 0; i < map->dns->n_records && !result; i++)
		result = add_record(plan, &map->dns->records[i]);
	if (!result)
		result = add_node(plan, map->self, self_name(words, map), both);
	for (uint32_t i = 0; i < map->n_peers && !result; i++)
		result = add_node(plan, map->peers[i], map->peers[i]->name, both);
	if (!words->accept || result)
		return result;
	add_search(plan, map);
	if (plan->magic && plan->suffix.len > 0)
		result = add_local(plan, &plan->suffix, "names of the network");
	if (plan->magic && !result)
		result = add_reverse_zones(plan);
	if (!result)
		result = add_server_routes(plan, map);
	return result ? result : add_record_routes(plan, map->dns);
}

struct dns_plan *dns_plan_new(const struct dns_words *words, const struct warren_netmap *map)
{
	struct dns_plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		return NULL;
	plan->words = words;
	dns_zone_init(&plan->zone);
	hash_init(&plan->routes);
	if (add_words(plan, words, map) == 0 &&
	    (!map || !map->self || add_map(plan, words, map) == 0) &&
	    add_host(plan, words, map) == 0) {
		plan->words = NULL;
		return plan;
	}
	dns_plan_free(plan);
	return NULL;
}

void dns_plan_free(struct dns_plan *plan)
{
	if (!plan)
		return;
	hash_free(&plan->routes);
	dns_zone_free(&plan->zone);
	free(plan);
}

struct dns_route *dns_plan_route(const struct dns_plan *plan, const struct dns_name *name)
{
	for (size_t at = 0; at < name->len; at += 1u + name->wire[at]) {
		struct dns_route *route = hash_get(&plan->routes, name->wire + at,
						   name->len - at);

		if (route)
			return route;
	}
	return NULL;
}

static bool route_equal(const struct dns_route *a, const struct dns_route *b)
{
	if (!b || a->local != b->local || a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++) {
		if (!dns_upstream_equal(&a->up[i], &b->up[i]))
			return false;
	}
	return true;
}

bool dns_plan_routes_equal(const struct dns_plan *a, const struct dns_plan *b)
{
	const struct dns_route *route;

	if (a->n_routes != b->n_routes)
		return false;
	for (uint32_t pos = 0; (route = hash_next(&a->routes, &pos));) {
		if (!route_equal(route, hash_get(&b->routes, route->suffix.wire,
						 route->suffix.len)))
			return false;
	}
	return true;
}
