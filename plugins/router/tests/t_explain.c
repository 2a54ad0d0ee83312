/*
 * Which rules are for an ordinary packet, which route the kernel takes, and whose it is then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "plugins/router/explain.h"

static struct warren_prefix prefix(const char *text)
{
	struct warren_prefix out;

	assert_int_equal(prefix_parse(text, &out), 0);
	return out;
}

static void knows_the_rules_of_an_ordinary_packet(void **state)
{
	const struct warren_net_rule plain = { .family = 4, .uid_last = UINT32_MAX,
					       .suppress = -1 };
	const struct warren_addr dst = prefix("10.0.1.100").addr;
	struct warren_net_rule rule = plain;

	(void)state;
	assert_true(router_rule_fits(&rule, &dst));
	rule.family = 6;
	assert_false(router_rule_fits(&rule, &dst));
	rule = plain;
	rule.mark = 0x80000;
	rule.mask = 0xff0000;
	assert_false(router_rule_fits(&rule, &dst));
	rule.inverse = true;	/* as wg-quick's, which is for all without the mark */
	assert_true(router_rule_fits(&rule, &dst));
	rule = plain;
	rule.dst = prefix("10.0.0.0/16");
	assert_true(router_rule_fits(&rule, &dst));
	rule.dst = prefix("10.1.0.0/16");
	assert_false(router_rule_fits(&rule, &dst));
	rule = plain;
	rule.narrow = true;
	assert_false(router_rule_fits(&rule, &dst));
	rule = plain;
	rule.uid_first = rule.uid_last = 1000;
	assert_false(router_rule_fits(&rule, &dst));
}

static void takes_the_longest_and_then_the_cheapest(void **state)
{
	struct warren_net_route best = { .family = 0 };
	struct warren_net_route route = { .family = 4, .dst = prefix("10.0.0.0/8"), .metric = 5 };

	(void)state;
	assert_true(router_route_better(&route, &best));
	best = route;
	assert_false(router_route_better(&route, &best));
	route.metric = 4;
	assert_true(router_route_better(&route, &best));
	route.metric = 9;
	route.dst.bits = 16;
	assert_true(router_route_better(&route, &best));
	route.dst.bits = 0;
	assert_false(router_route_better(&route, &best));
}

static void knows_whose_it_is(void **state)
{
	struct warren_prefix a_nets[] = { prefix("100.64.0.2"), prefix("10.0.0.0/8") };
	struct warren_prefix b_nets[] = { prefix("100.64.0.3"), prefix("10.5.0.0/16") };
	const struct warren_node a = { .id = 1, .addresses = a_nets, .n_addresses = 1,
				       .allowed_ips = a_nets, .n_allowed_ips = 2,
				       .exit_v4 = true };
	const struct warren_node b = { .id = 2, .addresses = b_nets, .n_addresses = 1,
				       .allowed_ips = b_nets, .n_allowed_ips = 2 };
	const struct warren_node *peers[] = { &a, &b };
	struct warren_netmap map = { .peers = peers, .n_peers = 2 };
	const struct warren_addr far = prefix("10.5.0.9").addr, out = prefix("192.0.2.9").addr;
	struct warren_prefix network;

	(void)state;
	assert_ptr_equal(router_peer_of(&map, &far, &network), &b);
	assert_int_equal(network.bits, 16);
	assert_null(router_peer_of(&map, &out, &network));
	map.exit_chosen = true;
	map.exit_node = 1;
	assert_ptr_equal(router_peer_of(&map, &out, &network), &a);
	assert_int_equal(network.bits, 0);
	map.addresses_only = true;
	assert_ptr_equal(router_peer_of(&map, &far, &network), &a);
	assert_int_equal(network.bits, 0);
	assert_null(router_peer_of(NULL, &out, &network));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_the_rules_of_an_ordinary_packet),
		cmocka_unit_test(takes_the_longest_and_then_the_cheapest),
		cmocka_unit_test(knows_whose_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
