/*
 * Desired state: the stock client's table and rules for a map like the one of its transcripts, and
 * differences that lead from any state to any other while what stays is left alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "plugins/router/desired.h"
#include "plugins/router/foreign.h"

static const struct router_conf stock = {
	.table = 52, .rule_priority = 5210, .mark = 0x80000, .mask = 0xff0000,
	.routes = true, .rules = true, .ipv6 = true,
};

static struct warren_prefix prefix(const char *text)
{
	struct warren_prefix out;

	assert_int_equal(prefix_parse(text, &out), 0);
	return out;
}

struct map {
	struct warren_netmap map;
	struct warren_node self, peers[3];
	const struct warren_node *list[3];
	struct warren_prefix own[2], networks[2], allowed[3][3];
};

/* Like transcript 03: two peers, one of which serves two subnets; the tailnet's IPv6 network. */
static void make_map(struct map *m)
{
	static const char *const allowed[3][3] = {
		{ "100.64.0.2/32", "fd7a:115c:a1e0::2/128", NULL },
		{ "100.64.0.3/32", "10.99.0.0/24", "fd00:99::/64" },
		{ "100.64.0.1/32", NULL, NULL },	/* ours: no route to ourselves */
	};

	memset(m, 0, sizeof(*m));
	m->own[0] = prefix("100.64.0.1");
	m->own[1] = prefix("fd7a:115c:a1e0::1");
	m->networks[0] = prefix("fd7a:115c:a1e0::/48");
	m->networks[1] = prefix("10.99.0.0/24");	/* twice is once */
	m->self.addresses = m->own;
	m->self.n_addresses = 2;
	m->map.self = &m->self;
	m->map.networks = m->networks;
	m->map.n_networks = 2;
	m->map.peers = m->list;
	m->map.n_peers = 3;
	for (int i = 0; i < 3; i++) {
		m->list[i] = &m->peers[i];
		m->peers[i].allowed_ips = m->allowed[i];
		for (int k = 0; k < 3 && allowed[i][k]; k++)
			m->allowed[i][m->peers[i].n_allowed_ips++] = prefix(allowed[i][k]);
	}
}

static void print_item(struct str *out, enum router_part part, const uint8_t *item)
{
	const struct warren_priv_addr *addr = (const struct warren_priv_addr *)item;
	const struct warren_priv_route *route = (const struct warren_priv_route *)item;
	const struct warren_priv_rule *rule = (const struct warren_priv_rule *)item;
	char text[PREFIX_TEXT];

	switch (router_part_op(part)) {
	case WARREN_OP_ADDR:
		str_addf(out, "addr %s dev %s\n", prefix_format(&addr->prefix, text), addr->ifname);
		break;
	case WARREN_OP_ROUTE:
		if (route->type != WARREN_ROUTE_UNICAST)
			str_addf(out, "%s %s table %u metric %u\n",
				 route->type == WARREN_ROUTE_THROW ? "throw" : "unreachable",
				 prefix_format(&route->dst, text), route->table, route->metric);
		else
			str_addf(out, "route %s dev %s table %u\n",
				 prefix_format(&route->dst, text), route->ifname, route->table);
		break;
	default:
		str_addf(out, "ipv%u rule %u mark 0x%x/0x%x ", rule->family, rule->pref, rule->mark,
			 rule->mask);
		if (rule->to.addr.family)
			str_addf(out, "to %s ", prefix_format(&rule->to, text));
		if (rule->flags & WARREN_RULE_UIDS)
			str_addf(out, "uids %u-%u ", rule->uid_first, rule->uid_last);
		if (rule->oif[0])
			str_addf(out, "oif %s ", rule->oif);
		if (rule->action == WARREN_RULE_TABLE)
			str_addf(out, "lookup %u%s\n", rule->table,
				 rule->flags & WARREN_RULE_SPECIFIC ? " specific" : "");
		else
			str_add(out, "unreachable\n");
		break;
	}
}

static void assert_state(const struct router_state *state, const char *want)
{
	struct str out = STR_INIT;

	for (int part = 0; part < ROUTER_PARTS; part++) {
		for (size_t i = 0; i < state->parts[part].n; i++)
			print_item(&out, (enum router_part)part, state->parts[part].items +
				   i * router_part_size((enum router_part)part));
	}
	assert_string_equal(str_text(&out), want);
	str_free(&out);
}

static void is_what_the_stock_client_lays(void **state)
{
	struct router_state out = { 0 };
	struct map m;

	(void)state;
	make_map(&m);
	assert_int_equal(router_desired(&m.map, &stock, "warren0", &out), 0);
	assert_state(&out,
		     "addr 100.64.0.1/32 dev warren0\n"
		     "addr fd7a:115c:a1e0::1/128 dev warren0\n"
		     "route 10.99.0.0/24 dev warren0 table 52\n"
		     "route 100.64.0.2/32 dev warren0 table 52\n"
		     "route 100.64.0.3/32 dev warren0 table 52\n"
		     "route fd00:99::/64 dev warren0 table 52\n"
		     "route fd7a:115c:a1e0::/48 dev warren0 table 52\n"
		     "route fd7a:115c:a1e0::2/128 dev warren0 table 52\n"
		     "ipv4 rule 5210 mark 0x80000/0xff0000 lookup 254\n"
		     "ipv4 rule 5230 mark 0x80000/0xff0000 lookup 253\n"
		     "ipv4 rule 5250 mark 0x80000/0xff0000 unreachable\n"
		     "ipv4 rule 5270 mark 0x0/0x0 lookup 52\n"
		     "ipv6 rule 5210 mark 0x80000/0xff0000 lookup 254\n"
		     "ipv6 rule 5230 mark 0x80000/0xff0000 lookup 253\n"
		     "ipv6 rule 5250 mark 0x80000/0xff0000 unreachable\n"
		     "ipv6 rule 5270 mark 0x0/0x0 lookup 52\n");
	router_state_free(&out);
}

static void follows_the_options(void **state)
{
	struct router_conf conf = { .table = 60, .rule_priority = 100, .mark = 0x1, .mask = 0xff,
				    .routes = true };
	struct router_state out = { 0 };
	struct map m;

	(void)state;
	make_map(&m);
	/* A kernel without IPv6; no rules. */
	assert_int_equal(router_desired(&m.map, &conf, "wt1", &out), 0);
	assert_state(&out,
		     "addr 100.64.0.1/32 dev wt1\n"
		     "route 10.99.0.0/24 dev wt1 table 60\n"
		     "route 100.64.0.2/32 dev wt1 table 60\n"
		     "route 100.64.0.3/32 dev wt1 table 60\n");
	router_state_free(&out);
	conf.routes = false;
	conf.rules = true;
	m.self.n_addresses = 0;
	assert_int_equal(router_desired(&m.map, &conf, "wt1", &out), 0);
	assert_state(&out,
		     "ipv4 rule 100 mark 0x1/0xff lookup 254\n"
		     "ipv4 rule 120 mark 0x1/0xff lookup 253\n"
		     "ipv4 rule 140 mark 0x1/0xff unreachable\n"
		     "ipv4 rule 160 mark 0x0/0x0 lookup 60\n");
	router_state_free(&out);
	/* Not in a network: nothing. */
	m.map.self = NULL;
	assert_int_equal(router_desired(&m.map, &stock, "wt1", &out), 0);
	assert_state(&out, "");
	router_state_free(&out);
	assert_int_equal(router_desired(NULL, &stock, "wt1", &out), 0);
	assert_state(&out, "");
	router_state_free(&out);
}

/* What is behind a peer is left out; what is its own, and the tailnet's, stays. */
static void takes_only_addresses_where_told(void **state)
{
	struct router_state out = { 0 };
	struct router_conf conf = stock;
	struct map m;

	(void)state;
	make_map(&m);
	conf.rules = false;
	m.map.addresses_only = true;
	m.map.n_networks = 1;
	for (int i = 0; i < 2; i++) {
		m.peers[i].addresses = m.allowed[i];
		m.peers[i].n_addresses = i == 0 ? 2 : 1;
	}
	assert_int_equal(router_desired(&m.map, &conf, "wt1", &out), 0);
	assert_state(&out,
		     "addr 100.64.0.1/32 dev wt1\n"
		     "addr fd7a:115c:a1e0::1/128 dev wt1\n"
		     "route 100.64.0.2/32 dev wt1 table 52\n"
		     "route 100.64.0.3/32 dev wt1 table 52\n"
		     "route fd7a:115c:a1e0::/48 dev wt1 table 52\n"
		     "route fd7a:115c:a1e0::2/128 dev wt1 table 52\n");
	router_state_free(&out);
}

static struct router_net net(const char *text, const char *ifname)
{
	struct router_net out = { .prefix = prefix(text) };

	str_copy(out.ifname, sizeof(out.ifname), ifname);
	return out;
}

/* All goes into the tunnel, and where there is none, nowhere; also before there is a network. */
static void leads_all_into_the_tunnel(void **state)
{
	const struct warren_router_bypass bypass[] = {
		{ .kind = WARREN_BYPASS_NETWORK, .network = prefix("10.0.0.0/16") },
		{ .kind = WARREN_BYPASS_INTERFACE, .ifname = "wt0" },
		{ .kind = WARREN_BYPASS_USERS, .uid_first = 7, .uid_last = 9 },
	};
	struct warren_router_lead lead = { .shut = true, .bypass = bypass, .n_bypass = 3 };
	struct router_net attached[] = { net("192.168.1.0/24", "eth0") };
	struct router_net held[] = { net("10.5.0.0/16", "wt0") };
	const struct router_host host = { attached, held, 1, 1 };
	struct router_state out = { 0 };
	struct router_conf conf = stock;
	struct map m;

	(void)state;
	make_map(&m);
	conf.ipv6 = false;
	conf.host = &host;
	conf.lead = &lead;
	assert_int_equal(router_desired(NULL, &conf, "warren0", &out), 0);
#define RULES									\
		     "ipv4 rule 5200 mark 0x0/0x0 to 10.5.0.0/16 lookup 254 specific\n"	\
		     "ipv4 rule 5201 mark 0x0/0x0 to 10.5.0.0/16 unreachable\n"		\
		     "ipv4 rule 5202 mark 0x0/0x0 uids 7-9 lookup 52 specific\n"		\
		     "ipv4 rule 5203 mark 0x0/0x0 uids 7-9 lookup 254\n"			\
		     "ipv4 rule 5204 mark 0x0/0x0 to 10.0.0.0/16 lookup 254\n"		\
		     "ipv4 rule 5205 mark 0x0/0x0 oif wt0 lookup 254 specific\n"		\
		     "ipv4 rule 5210 mark 0x80000/0xff0000 lookup 254\n"			\
		     "ipv4 rule 5230 mark 0x80000/0xff0000 lookup 253\n"			\
		     "ipv4 rule 5250 mark 0x80000/0xff0000 unreachable\n"		\
		     "ipv4 rule 5270 mark 0x0/0x0 lookup 52\n"
#define BESIDE "ipv4 rule 5271 mark 0x0/0x0 to 192.168.1.0/24 lookup 254\n"
#define LAST "ipv4 rule 5272 mark 0x0/0x0 unreachable\n"
	assert_state(&out, "unreachable 0.0.0.0/0 table 52 metric 4294967295\n" RULES LAST);
	router_state_free(&out);
	lead.attached = true;
	assert_int_equal(router_desired(&m.map, &conf, "warren0", &out), 0);
	assert_state(&out,
		     "throw 192.168.1.0/24 table 52 metric 0\n"
		     "unreachable 0.0.0.0/0 table 52 metric 4294967295\n"
		     "addr 100.64.0.1/32 dev warren0\n"
		     "route 0.0.0.0/0 dev warren0 table 52\n"
		     "route 10.99.0.0/24 dev warren0 table 52\n"
		     "route 100.64.0.2/32 dev warren0 table 52\n"
		     "route 100.64.0.3/32 dev warren0 table 52\n" RULES BESIDE LAST);
	router_state_free(&out);
	lead.shut = false;
	assert_int_equal(router_desired(NULL, &conf, "warren0", &out), 0);
	assert_state(&out, "throw 192.168.1.0/24 table 52 metric 0\n" RULES);
	router_state_free(&out);
	lead = (struct warren_router_lead){ .shut = false };
	assert_int_equal(router_desired(&m.map, &conf, "warren0", &out), 0);
	assert_int_equal(out.parts[ROUTER_SHUT4].n, 0);
	assert_int_equal(out.parts[ROUTER_ROUTE4].n, 4);
	router_state_free(&out);
}

static void count_overlap(const struct warren_node *peer, const struct warren_prefix *network,
			  const struct router_net *at, bool lost, void *arg)
{
	(void)peer;
	(void)network;
	(void)at;
	*(int *)arg += lost ? 1 : 100;
}

/* What the host is attached to stays its own: the same, a part of it, and one around it. */
static void gives_way_to_what_the_host_is_attached_to(void **state)
{
	struct router_net attached[] = { net("10.99.0.0/16", "eth0"), net("100.64.0.0/24", "eth1"),
					 net("172.16.5.0/24", "eth2") };
	const struct router_host host = { attached, NULL, 3, 0 };
	struct router_state out = { 0 };
	struct router_conf conf = stock;
	struct map m;
	int n = 0;

	(void)state;
	make_map(&m);
	conf.ipv6 = conf.rules = false;
	conf.host = &host;
	m.map.n_networks = 1;
	m.peers[1].addresses = m.allowed[1];
	m.peers[1].n_addresses = 1;
	m.peers[2].addresses = m.allowed[2];
	m.peers[2].n_addresses = 1;
	m.peers[0].addresses = m.allowed[0];
	m.peers[0].n_addresses = 2;
	m.allowed[0][2] = prefix("172.16.0.0/12");
	m.peers[0].n_allowed_ips = 3;
	assert_int_equal(router_desired(&m.map, &conf, "warren0", &out), 0);
	assert_state(&out,
		     "throw 172.16.5.0/24 table 52 metric 0\n"
		     "addr 100.64.0.1/32 dev warren0\n"
		     "route 100.64.0.2/32 dev warren0 table 52\n"
		     "route 100.64.0.3/32 dev warren0 table 52\n"
		     "route 172.16.0.0/12 dev warren0 table 52\n");
	router_state_free(&out);
	router_overlaps(&m.map, &conf, count_overlap, &n);
	assert_int_equal(n, 2);
	conf.prefer_tailnet = true;
	assert_int_equal(router_desired(&m.map, &conf, "warren0", &out), 0);
	assert_int_equal(out.parts[ROUTER_SHUT4].n, 0);
	assert_int_equal(out.parts[ROUTER_ROUTE4].n, 4);
	router_state_free(&out);
	n = 0;
	router_overlaps(&m.map, &conf, count_overlap, &n);
	assert_int_equal(n, 200);
}

/* Of a list of changes only peers count that have a part in an overlap, or had. */
static void knows_when_overlaps_are_others(void **state)
{
	struct router_net attached[] = { net("10.99.0.0/16", "eth0") };
	const struct router_host host = { attached, NULL, 1, 0 };
	struct router_conf conf = stock;
	struct map m;
	struct warren_node after;
	struct warren_netmap_change change = { .what = WARREN_CHANGE_MODIFIED };

	(void)state;
	make_map(&m);
	conf.host = &host;
	m.map.changes = &change;
	m.map.n_changes = 1;
	for (int i = 0; i < 3; i++) {
		bool overlaps = i == 1;

		change.before = change.after = &m.peers[i];
		assert_int_equal(router_overlaps_differ(&m.map, &conf), overlaps);
		after = m.peers[i];
		after.n_allowed_ips = 0;
		change.after = &after;
		assert_int_equal(router_overlaps_differ(&m.map, &conf), overlaps);
		change = (struct warren_netmap_change){ .after = &m.peers[i] };
		assert_int_equal(router_overlaps_differ(&m.map, &conf), overlaps);
	}
	conf.host = NULL;
	change.after = &m.peers[1];
	assert_false(router_overlaps_differ(&m.map, &conf));
}

/* Of 3,000 routes one goes and one comes: two items, the removal first. */
static void leaves_alone_what_stays(void **state)
{
	enum { N = 3000 };
	struct warren_prefix *many = calloc(N, sizeof(*many));
	struct router_state before = { 0 }, after = { 0 };
	struct warren_priv_route *items;
	struct router_list diff;
	struct map m;

	(void)state;
	make_map(&m);
	for (uint32_t i = 0; i < N; i++)
		many[i] = (struct warren_prefix){
			{ 4, { 10, (uint8_t)(i >> 8), (uint8_t)i } }, 24 };
	m.peers[0].allowed_ips = many;
	m.peers[0].n_allowed_ips = N;
	assert_int_equal(router_desired(&m.map, &stock, "warren0", &before), 0);
	many[1500] = prefix("192.168.0.0/16");
	assert_int_equal(router_desired(&m.map, &stock, "warren0", &after), 0);
	assert_int_equal(router_diff(ROUTER_ROUTE4, &before.parts[ROUTER_ROUTE4],
				     &after.parts[ROUTER_ROUTE4], &diff), 0);
	assert_int_equal(diff.n, 2);
	items = (struct warren_priv_route *)diff.items;
	assert_int_equal(items[0].verb, WARREN_ROUTE_DEL);
	assert_int_equal(items[0].dst.addr.bytes[1], 1500 >> 8);
	assert_int_equal(items[1].verb, WARREN_ROUTE_ADD);
	assert_int_equal(items[1].dst.addr.bytes[0], 192);
	free(diff.items);
	free(many);
	router_state_free(&before);
	router_state_free(&after);
}

static uint32_t below(uint32_t n)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 32) % n;
}

static void any_list(struct router_list *list)
{
	struct warren_priv_route items[40];
	struct router_list empty = { NULL, 0 };
	uint32_t n = 0;

	memset(items, 0, sizeof(items));
	for (uint32_t i = 0; i < ARRAY_SIZE(items); i++) {
		if (below(3))
			continue;
		items[n].verb = WARREN_ROUTE_ADD;
		items[n].metric = i / 20;
		items[n].dst.addr.family = 4;
		items[n++].dst.addr.bytes[0] = (uint8_t)(i % 20);
	}
	*list = empty;
	assert_int_equal(router_apply(ROUTER_ROUTE4, list, (uint8_t *)items, n), 0);
	assert_int_equal(list->n, n);
}

/* Applied in slices of any size, a difference leads from one state to the other. */
static void leads_from_any_state_to_any_other(void **state)
{
	const size_t size = router_part_size(ROUTER_ROUTE4);

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct router_list from, to, diff;
		size_t sent = 0;

		any_list(&from);
		any_list(&to);
		assert_int_equal(router_diff(ROUTER_ROUTE4, &from, &to, &diff), 0);
		while (sent < diff.n) {
			size_t slice = 1 + below((uint32_t)(diff.n - sent));

			assert_int_equal(router_apply(ROUTER_ROUTE4, &from,
						      diff.items + sent * size, slice), 0);
			sent += slice;
		}
		assert_int_equal(from.n, to.n);
		assert_memory_equal(from.items, to.items, to.n * size);
		free(from.items);
		free(to.items);
		free(diff.items);
	}
}

/*
 * ---- Change lists ----
 */

enum { PEERS = 8 };

/* A peer with some of a few networks, so that several peers ask for the same. */
static struct warren_node *any_peer(void)
{
	struct warren_node *peer = calloc(1, sizeof(*peer) + 4 * sizeof(struct warren_prefix));
	struct warren_prefix *allowed = (struct warren_prefix *)(peer + 1);

	peer->dormant = below(8) == 0;
	peer->n_allowed_ips = below(5);
	peer->allowed_ips = allowed;
	for (uint32_t i = 0; i < peer->n_allowed_ips; i++) {
		allowed[i].addr.family = below(2) ? 4 : 6;
		allowed[i].addr.bytes[0] = (uint8_t)below(6);
		allowed[i].bits = 16;
	}
	return peer;
}

static void assert_same(const struct router_state *a, const struct router_state *b)
{
	for (int i = 0; i < ROUTER_PARTS; i++) {
		assert_int_equal(a->parts[i].n, b->parts[i].n);
		assert_memory_equal(a->parts[i].items, b->parts[i].items,
				    a->parts[i].n * router_part_size((enum router_part)i));
	}
}

/* One step: some peers come, go or change. The next state by the list and from nothing. */
static void step(struct map *m, struct warren_node *peers[PEERS], struct router_state *wanted)
{
	struct warren_netmap_change changes[PEERS];
	const struct warren_node *list[PEERS];
	struct router_state touched = { 0 }, before = { 0 }, anew = { 0 };

	assert_int_equal(router_desired(&m->map, &stock, "warren0", &before), 0);
	m->map.changes = changes;
	m->map.n_changes = m->map.n_peers = 0;
	m->map.peers = list;
	for (int i = 0; i < PEERS; i++) {
		struct warren_node *after = below(3) ? peers[i] : below(2) ? any_peer() : NULL;

		if (after != peers[i])
			changes[m->map.n_changes++] = (struct warren_netmap_change){
				.before = peers[i], .after = after,
			};
		if (after)
			list[m->map.n_peers++] = after;
		peers[i] = after;
	}
	assert_int_equal(router_desired(&m->map, &stock, "warren0", &anew), 0);
	assert_int_equal(router_follow(&m->map, &stock, "warren0", wanted, &touched), 0);
	assert_same(wanted, &anew);
	for (int i = 0; i < ROUTER_PARTS; i++) {
		enum router_part part = (enum router_part)i;
		struct router_list all, some;

		assert_int_equal(router_diff(part, &before.parts[i], &anew.parts[i], &all), 0);
		assert_int_equal(router_diff_touched(part, &before.parts[i], &anew.parts[i],
						     &touched.parts[i], &some), 0);
		assert_int_equal(all.n, some.n);
		assert_memory_equal(all.items, some.items, all.n * router_part_size(part));
		free(all.items);
		free(some.items);
	}
	for (uint32_t i = 0; i < m->map.n_changes; i++)
		free((void *)(uintptr_t)changes[i].before);
	router_state_free(&touched);
	router_state_free(&before);
	router_state_free(&anew);
}

static void a_change_list_leads_where_the_map_does(void **state)
{
	struct warren_node *peers[PEERS] = { NULL };
	struct router_state wanted = { 0 };
	struct map m;

	(void)state;
	make_map(&m);
	m.map.n_peers = 0;
	assert_int_equal(router_desired(&m.map, &stock, "warren0", &wanted), 0);
	for (int i = 0; i < 2000; i++)
		step(&m, peers, &wanted);
	for (int i = 0; i < PEERS; i++)
		free(peers[i]);
	router_state_free(&wanted);
}

static void says_whose_it_looks_like(void **state)
{
	const struct router_foreign stock_rules = { .rules = 8, .pref = 5210, .stock = true };
	const struct router_foreign routes = { .routes = 3 };
	char text[512];

	(void)state;
	router_foreign_text(&stock_rules, &stock, text, sizeof(text));
	assert_non_null(strstr(text, "rules with priorities 5210-5270 (8, the first is 5210)"));
	assert_non_null(strstr(text, "look like Tailscale's"));
	assert_non_null(strstr(text, "router.rule-priority, router.table"));
	router_foreign_text(&routes, &stock, text, sizeof(text));
	assert_non_null(strstr(text, "routes in table 52 (3)"));
	assert_null(strstr(text, "Tailscale"));
}

static void knows_which_maps_change_nothing(void **state)
{
	static const struct { uint32_t what, fields; bool matters; } rows[] = {
		{ WARREN_CHANGE_MODIFIED, WARREN_NODE_PRESENCE | WARREN_NODE_ENDPOINTS, false },
		{ WARREN_CHANGE_MODIFIED, WARREN_NODE_HOME_REGION, false },
		{ WARREN_CHANGE_MODIFIED, WARREN_NODE_KEY | WARREN_NODE_DISCO_KEY, false },
		{ WARREN_CHANGE_MODIFIED, WARREN_NODE_KEY | WARREN_NODE_ALLOWED_IPS, true },
		{ WARREN_CHANGE_MODIFIED, WARREN_NODE_OTHER, true },
		{ WARREN_CHANGE_ADDED, 0, true },
		{ WARREN_CHANGE_REMOVED, 0, true },
	};
	struct warren_netmap before = { .serial = 7 };
	struct warren_netmap_change changes[] = {
		{ .what = WARREN_CHANGE_MODIFIED, .fields = WARREN_NODE_PRESENCE }, { 0 },
	};
	struct warren_netmap map = { .serial = 8, .previous = 7, .changes = changes,
				     .n_changes = 2 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		changes[1].what = rows[i].what;
		changes[1].fields = rows[i].fields;
		map.changed = WARREN_NETMAP_PEERS;
		assert_int_equal(router_map_matters(&map, &before), rows[i].matters);
	}
	map.changed = WARREN_NETMAP_FILTER | WARREN_NETMAP_USERS;
	assert_false(router_map_matters(&map, &before));
	map.addresses_only = true;
	assert_true(router_map_matters(&map, &before));
	map.addresses_only = false;
	map.exit_node = 5;
	assert_true(router_map_matters(&map, &before));
	map.exit_node = 0;
	map.changed = WARREN_NETMAP_SELF;
	assert_true(router_map_matters(&map, &before));
	/* It does not follow what was seen last. */
	map.changed = 0;
	before.serial = 6;
	assert_true(router_map_matters(&map, &before));
	assert_true(router_map_matters(&map, NULL));
	map.previous = 0;
	assert_true(router_map_matters(&map, &before));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_what_the_stock_client_lays),
		cmocka_unit_test(follows_the_options),
		cmocka_unit_test(takes_only_addresses_where_told),
		cmocka_unit_test(leads_all_into_the_tunnel),
		cmocka_unit_test(gives_way_to_what_the_host_is_attached_to),
		cmocka_unit_test(knows_when_overlaps_are_others),
		cmocka_unit_test(leaves_alone_what_stays),
		cmocka_unit_test(knows_which_maps_change_nothing),
		cmocka_unit_test(leads_from_any_state_to_any_other),
		cmocka_unit_test(a_change_list_leads_where_the_map_does),
		cmocka_unit_test(says_whose_it_looks_like),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
