/*
 * What the rules make of peers: capabilities as sources, jailed and unsigned peers, shields up; and
 * which changes of a map make a new table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "craft.h"
#include "plugins/filter/flow.h"
#include "plugins/filter/relevant.h"
#include "plugins/filter/table.h"

enum { ALICE, BOB, ROUTER, PEERS };

/*
 * Alice, 100.64.0.1 and fd7a::1, is an admin; Bob, 100.64.0.2, is not. A router, 100.64.0.3, serves
 * 192.168.0.0/16 for us. Admins may reach TCP 22 of 100.64.0.9 here, everybody UDP 53; there is
 * also a right for applications, which admits nobody.
 */
struct world {
	struct warren_prefix own, served, alice[2], bob, router[2];
	struct warren_cap admin;
	struct warren_node self, peers[PEERS];
	const struct warren_node *list[PEERS];
	struct warren_src cap, any;
	struct warren_dst ssh, dns;
	struct warren_cap_grant grant;
	uint8_t tcp, udp;
	struct warren_filter_rule rules[3];
	struct warren_netmap map;
};

static struct filter_flows flows[FILTER_FLOW_TABLES];

static struct warren_prefix prefix(const char *text)
{
	struct warren_prefix out;

	assert_int_equal(prefix_parse(text, &out), 0);
	return out;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	for (int i = 0; i < FILTER_FLOW_TABLES; i++)
		filter_flows_init(&flows[i]);
	w->own = prefix("100.64.0.9");
	w->served = prefix("10.0.0.0/8");
	w->self = (struct warren_node){ .addresses = &w->own, .n_addresses = 1,
					.allowed_ips = &w->served, .n_allowed_ips = 1 };
	w->alice[0] = prefix("100.64.0.1");
	w->alice[1] = prefix("fd7a::1");
	w->bob = prefix("100.64.0.2");
	w->router[0] = prefix("100.64.0.3");
	w->router[1] = prefix("192.168.0.0/16");
	w->admin.name = "example.com/admin";
	w->peers[ALICE] = (struct warren_node){ .id = 1, .addresses = w->alice, .n_addresses = 2,
		.allowed_ips = w->alice, .n_allowed_ips = 2, .caps = &w->admin, .n_caps = 1 };
	w->peers[BOB] = (struct warren_node){ .id = 2, .addresses = &w->bob, .n_addresses = 1,
		.allowed_ips = &w->bob, .n_allowed_ips = 1 };
	w->peers[ROUTER] = (struct warren_node){ .id = 3, .addresses = w->router, .n_addresses = 1,
		.allowed_ips = w->router, .n_allowed_ips = 2, .caps = &w->admin, .n_caps = 1 };
	for (int i = 0; i < PEERS; i++)
		w->list[i] = &w->peers[i];
	w->cap = (struct warren_src){ .kind = WARREN_SRC_CAP, .cap = "example.com/admin" };
	w->any = (struct warren_src){ .kind = WARREN_SRC_ANY };
	w->ssh = (struct warren_dst){ .kind = WARREN_SRC_PREFIX, .prefix = w->own,
				      .port_first = 22, .port_last = 22 };
	w->dns = (struct warren_dst){ .kind = WARREN_SRC_PREFIX, .prefix = w->own,
				      .port_first = 53, .port_last = 53 };
	w->grant = (struct warren_cap_grant){ .dsts = &w->own, .n_dsts = 1, .caps = &w->admin,
					      .n_caps = 1 };
	w->tcp = 6;
	w->udp = 17;
	w->rules[0] = (struct warren_filter_rule){ .srcs = &w->cap, .n_srcs = 1, .dsts = &w->ssh,
		.n_dsts = 1, .protocols = &w->tcp, .n_protocols = 1 };
	w->rules[1] = (struct warren_filter_rule){ .srcs = &w->any, .n_srcs = 1, .dsts = &w->dns,
		.n_dsts = 1, .protocols = &w->udp, .n_protocols = 1 };
	w->rules[2] = (struct warren_filter_rule){ .srcs = &w->cap, .n_srcs = 1,
		.grants = &w->grant, .n_grants = 1 };
	w->map = (struct warren_netmap){ .self = &w->self, .peers = w->list, .n_peers = PEERS,
					 .filter = w->rules, .n_filter = 3 };
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static enum filter_reason decide(const struct world *w, uint32_t direction,
				 const struct craft *craft)
{
	uint8_t data[CRAFT_MAX];
	size_t len = craft_packet(craft, data);
	int result;
	struct filter_table *table = filter_table_new(&w->map, flows, &result);
	enum filter_reason reason;

	assert_non_null(table);
	reason = filter_table_decide(table, direction, data, len, 1000000);
	filter_table_free(table);
	return reason;
}

#define IN(w, ...) decide(w, WARREN_PKT_IN, &(const struct craft){ __VA_ARGS__ })
#define OUT(w, ...) decide(w, WARREN_PKT_OUT, &(const struct craft){ __VA_ARGS__ })
#define FROM(peer) .source = peer, .destination = "100.64.0.9"
#define SYN(to_port) .protocol = 6, .tcp_flags = 2, .port = to_port
#define DNS .protocol = 17, .source_port = 9, .port = 53

static void capabilities_are_sources(void **state)
{
	struct world *w = *state;

	assert_int_equal(IN(w, FROM("100.64.0.1"), SYN(22)), FILTER_ACCEPTED);
	assert_int_equal(IN(w, FROM("100.64.0.1"), SYN(23)), FILTER_ACL);
	assert_int_equal(IN(w, FROM("100.64.0.2"), SYN(22)), FILTER_ACL);
	/* A peer's own address has its capabilities; what lies behind it has not. */
	assert_int_equal(IN(w, FROM("100.64.0.3"), SYN(22)), FILTER_ACCEPTED);
	assert_int_equal(IN(w, FROM("192.168.1.1"), SYN(22)), FILTER_ACL);
	w->peers[ALICE].n_caps = 0;
	assert_int_equal(IN(w, FROM("100.64.0.1"), SYN(22)), FILTER_ACL);
	w->peers[ALICE].n_caps = 1;
	w->map.n_peers = 0;
	assert_int_equal(IN(w, FROM("100.64.0.1"), SYN(22)), FILTER_ACL);
}

static void capabilities_and_other_protocols(void **state)
{
	struct world *w = *state;
	const struct craft elsewhere = { .source = "100.64.0.1", .destination = "10.1.1.1",
					 .protocol = 1, .icmp_type = 8 };

	/* ICMP: the source alone decides, at any local destination. */
	assert_int_equal(decide(w, WARREN_PKT_IN, &elsewhere), FILTER_ACCEPTED);
	assert_int_equal(IN(w, FROM("192.168.1.1"), .protocol = 1, .icmp_type = 8),
			 FILTER_ACCEPTED);	/* by the rule of everybody */
	assert_int_equal(IN(w, .source = "100.64.0.2", .destination = "10.1.1.1", .protocol = 1,
			    .icmp_type = 8), FILTER_ACL);
	assert_int_equal(IN(w, .source = "100.64.0.1", .destination = "11.1.1.1", .protocol = 1,
			    .icmp_type = 8), FILTER_NOT_LOCAL);
	/* The right for applications alone admits nothing, not even ICMP. */
	w->map.filter = &w->rules[2];
	w->map.n_filter = 1;
	assert_int_equal(decide(w, WARREN_PKT_IN, &elsewhere), FILTER_ACL);
	/* Protocols without ports: a capability does not count, an address does. */
	w->map.filter = w->rules;
	w->tcp = 47;
	w->rules[0].protocols = &w->tcp;
	w->rules[0].n_protocols = 1;
	w->ssh.port_first = 0;
	w->ssh.port_last = 65535;
	assert_int_equal(IN(w, FROM("100.64.0.1"), .protocol = 47), FILTER_ACL);
	w->rules[0].srcs = &w->any;
	assert_int_equal(IN(w, FROM("100.64.0.1"), .protocol = 47), FILTER_ACCEPTED);
}

static void jailed_peers_meet_no_rule(void **state)
{
	struct world *w = *state;

	w->peers[ROUTER].jailed = true;
	assert_int_equal(IN(w, FROM("100.64.0.3"), SYN(22)), FILTER_ACL);
	assert_int_equal(IN(w, FROM("192.168.1.1"), DNS), FILTER_ACL);
	assert_int_equal(IN(w, FROM("100.64.0.3"), .protocol = 1, .icmp_type = 8), FILTER_ACL);
	assert_int_equal(IN(w, FROM("100.64.0.2"), DNS), FILTER_ACCEPTED);
	/* They may answer. */
	assert_int_equal(IN(w, FROM("100.64.0.3"), .protocol = 6, .tcp_flags = 16),
			 FILTER_ACCEPTED);
	OUT(w, .source = "100.64.0.9", .destination = "192.168.1.1", .protocol = 17,
	    .source_port = 53, .port = 9);
	assert_int_equal(IN(w, FROM("192.168.1.1"), DNS), FILTER_ACCEPTED);
	/* Their flows are their own: set free, a peer finds none. */
	w->peers[ROUTER].jailed = false;
	w->map.n_filter = 1;
	assert_int_equal(IN(w, FROM("192.168.1.1"), DNS), FILTER_ACL);
}

static void the_longest_prefix_says_who_is_jailed(void **state)
{
	struct world *w = *state;

	w->router[1] = prefix("100.64.0.0/10");
	w->peers[ROUTER].jailed = true;
	assert_int_equal(IN(w, FROM("100.64.0.2"), DNS), FILTER_ACCEPTED);
	assert_int_equal(IN(w, FROM("100.64.0.4"), DNS), FILTER_ACL);
	/* The same prefix twice: jailed. */
	w->router[0] = prefix("100.64.0.2");
	assert_int_equal(IN(w, FROM("100.64.0.2"), DNS), FILTER_ACL);
}

static void shields_up_admits_answers_only(void **state)
{
	struct world *w = *state;

	w->self.shields_up = true;
	assert_int_equal(IN(w, FROM("100.64.0.1"), SYN(22)), FILTER_ACL);
	assert_int_equal(IN(w, FROM("100.64.0.1"), .protocol = 1, .icmp_type = 8), FILTER_ACL);
	assert_int_equal(IN(w, FROM("100.64.0.1"), .protocol = 6, .tcp_flags = 18),
			 FILTER_ACCEPTED);
	assert_int_equal(OUT(w, .source = "100.64.0.9", .destination = "100.64.0.1",
			     .protocol = 17, .source_port = 53, .port = 9), FILTER_ACCEPTED);
	assert_int_equal(IN(w, FROM("100.64.0.1"), DNS), FILTER_ACCEPTED);
}

static enum filter_state state_of(const struct world *w)
{
	int result;
	struct filter_table *table = filter_table_new(&w->map, flows, &result);
	enum filter_state state;

	assert_non_null(table);
	state = filter_table_state(table);
	filter_table_free(table);
	return state;
}

static void unsigned_peers_void_the_policy(void **state)
{
	struct world *w = *state;
	struct warren_src *src = &w->any;

	w->peers[BOB].unsigned_peerapi_only = true;
	assert_int_equal(state_of(w), FILTER_DISCARDED);	/* everybody includes Bob */
	assert_int_equal(IN(w, FROM("100.64.0.1"), SYN(22)), FILTER_ACL);
	assert_int_equal(IN(w, FROM("100.64.0.1"), .protocol = 6, .tcp_flags = 16),
			 FILTER_ACCEPTED);
	*src = (struct warren_src){ .kind = WARREN_SRC_PREFIX, .prefix = prefix("100.64.0.0/31") };
	assert_int_equal(state_of(w), FILTER_IN_FORCE);
	assert_int_equal(IN(w, FROM("100.64.0.1"), SYN(22)), FILTER_ACCEPTED);
	src->prefix.bits = 30;
	assert_int_equal(state_of(w), FILTER_DISCARDED);
	*src = (struct warren_src){ .kind = WARREN_SRC_RANGE, .first = prefix("100.64.0.3").addr,
				    .last = prefix("100.64.0.200").addr };
	assert_int_equal(state_of(w), FILTER_IN_FORCE);
	src->first = prefix("100.64.0.2").addr;
	assert_int_equal(state_of(w), FILTER_DISCARDED);
	src->first = prefix("100.64.0.0").addr;
	src->last = prefix("100.64.0.1").addr;
	assert_int_equal(state_of(w), FILTER_IN_FORCE);
	src->last = prefix("100.64.0.2").addr;
	assert_int_equal(state_of(w), FILTER_DISCARDED);
	/* A prefix of the peer that reaches into the range counts as well. */
	src->first = prefix("100.64.0.3").addr;
	src->last = prefix("100.64.0.200").addr;
	w->bob = prefix("100.64.0.0/16");
	assert_int_equal(state_of(w), FILTER_DISCARDED);
	/* By a capability, but not by a right for applications. */
	w->bob = prefix("100.64.0.2");
	assert_int_equal(state_of(w), FILTER_IN_FORCE);
	w->peers[BOB].caps = &w->admin;
	w->peers[BOB].n_caps = 1;
	assert_int_equal(state_of(w), FILTER_DISCARDED);
	w->map.filter = &w->rules[1];
	w->map.n_filter = 2;
	assert_int_equal(state_of(w), FILTER_IN_FORCE);
}

static void knows_which_maps_are_news(void **state)
{
	struct world *w = *state;
	struct warren_netmap_change change = {
		.what = WARREN_CHANGE_MODIFIED, .fields = WARREN_NODE_ENDPOINTS,
		.before = &w->peers[BOB], .after = &w->peers[BOB] };
	struct warren_netmap *map = &w->map;

	map->serial = 8;
	map->previous = 7;
	map->changes = &change;
	map->n_changes = 1;
	map->changed = WARREN_NETMAP_PEERS | WARREN_NETMAP_DNS;
	assert_true(filter_map_depends_on_peers(map));
	assert_false(filter_map_matters(map, 7, true));
	assert_true(filter_map_matters(map, 6, true));	/* a gap */
	assert_true(filter_map_matters(map, 0, true));	/* the first */
	change.fields = WARREN_NODE_PRESENCE | WARREN_NODE_OTHER;
	assert_true(filter_map_matters(map, 7, true));
	assert_false(filter_map_matters(map, 7, false));
	change.fields = WARREN_NODE_ALLOWED_IPS;
	assert_true(filter_map_matters(map, 7, true));
	change.what = WARREN_CHANGE_REMOVED;
	change.fields = 0;
	assert_true(filter_map_matters(map, 7, true));
	assert_false(filter_map_matters(map, 7, false));
	w->peers[BOB].jailed = true;
	assert_true(filter_map_matters(map, 7, false));
	map->changed = WARREN_NETMAP_DNS;
	assert_false(filter_map_matters(map, 7, true));
	map->changed = WARREN_NETMAP_SELF;
	assert_true(filter_map_matters(map, 7, false));
	map->changed = WARREN_NETMAP_FILTER;
	assert_true(filter_map_matters(map, 7, false));
	/* Without `cap:` sources only jailed and unsigned peers make a difference. */
	map->filter = &w->rules[1];
	map->n_filter = 1;
	assert_true(filter_map_depends_on_peers(map));
	w->peers[BOB].jailed = false;
	assert_false(filter_map_depends_on_peers(map));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(capabilities_are_sources, setup, teardown),
		cmocka_unit_test_setup_teardown(capabilities_and_other_protocols, setup, teardown),
		cmocka_unit_test_setup_teardown(jailed_peers_meet_no_rule, setup, teardown),
		cmocka_unit_test_setup_teardown(the_longest_prefix_says_who_is_jailed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(shields_up_admits_answers_only, setup, teardown),
		cmocka_unit_test_setup_teardown(unsigned_peers_void_the_policy, setup, teardown),
		cmocka_unit_test_setup_teardown(knows_which_maps_are_news, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
