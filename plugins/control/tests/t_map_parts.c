/*
 * The map beside its nodes: filters, users, DNS, relays, SSH policy, messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "dump.h"
#include "feed.h"

static void test_filters(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(feed_json(feed, "{\"PacketFilters\":{\"z\":[" RULE("10.0.0.1", "1") "],"
				   "\"a\":[" RULE("10.0.0.2", "2") "]}}"), 0);
	assert_int_equal(feed->now->changed, WARREN_NETMAP_FILTER);
	assert_int_equal(feed->now->n_filter, 3);
	assert_int_equal(feed->now->filter[0].dsts[0].port_first, 2);	/* a, base, z */
	assert_int_equal(feed->now->filter[1].srcs[0].kind, WARREN_SRC_ANY);
	assert_int_equal(feed->now->filter[2].dsts[0].port_last, 1);
	/* Pitfall 18: null is unchanged, [] is nothing. */
	assert_int_equal(feed_json(feed, "{\"PacketFilter\":null,\"PacketFilters\":null}"), 0);
	assert_int_equal(feed->published, 2);
	assert_int_equal(feed_json(feed, "{\"PacketFilter\":[]}"), 0);
	assert_int_equal(feed->now->n_filter, 2);
	assert_int_equal(feed_json(feed, "{\"PacketFilters\":{\"z\":null}}"), 0);
	assert_int_equal(feed->now->n_filter, 1);
	/* "*" clears first, what is set beside it stays. PacketFilter comes before. */
	assert_int_equal(feed_json(feed, "{\"PacketFilters\":{\"*\":null,\"n\":["
				   RULE("10.0.0.3", "3") "]},\"PacketFilter\":["
				   RULE("10.0.0.4", "4") "]}"), 0);
	assert_int_equal(feed->now->n_filter, 1);
	assert_int_equal(feed->now->filter[0].dsts[0].port_first, 3);
	assert_int_equal(feed_json(feed, "{\"PacketFilters\":{\"*\":null}}"), 0);
	assert_int_equal(feed->now->n_filter, 0);
	assert_string_equal(str_text(&feed->bad), "");
}

static void test_filter_rules(void **state)
{
	struct feed *feed = *state;
	const struct warren_filter_rule *rule;

	assert_int_equal(feed_json(feed, "{\"PacketFilter\":[{\"SrcIPs\":[\"100.64.0.2\","
		"\"10.0.0.0/8\",\"10.0.0.1/8\",\"10.0.0.1-10.0.0.9\",\"9.9.9.9-1.1.1.1\",\"*\","
		"\"cap:x\",\"what\"],\"DstPorts\":[{\"IP\":\"10.1.0.0/16\",\"Ports\":{\"First\":1,"
		"\"Last\":2}},{\"IP\":\"bad\",\"Ports\":{}}],\"IPProto\":[6,300,-1]},"
		"{\"SrcIPs\":[\"*\"],\"CapGrant\":[{\"Dsts\":[\"100.64.0.1/32\"],\"Caps\":["
			"\"old\"],"
		"\"CapMap\":{\"new\":[{\"a\":1}]}}]},"
		"{\"SrcIPs\":[\"bad\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{}}]},"
		"{\"SrcIPs\":5},"
		"{\"SrcIPs\":[\"*\"],\"IPProto\":[300],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{}}]}"
		"]}"), 0);
	assert_int_equal(feed->now->n_filter, 3);
	rule = &feed->now->filter[0];
	assert_int_equal(rule->n_srcs, 5);
	assert_int_equal(rule->srcs[0].prefix.bits, 32);
	assert_int_equal(rule->srcs[2].kind, WARREN_SRC_RANGE);
	assert_int_equal(rule->srcs[3].kind, WARREN_SRC_ANY);
	assert_string_equal(rule->srcs[4].cap, "x");
	assert_int_equal(rule->n_dsts, 1);
	assert_int_equal(rule->n_protocols, 1);
	rule = &feed->now->filter[1];
	assert_int_equal(rule->n_dsts, 0);
	assert_int_equal(rule->n_grants, 1);
	assert_int_equal(rule->grants[0].n_caps, 2);
	assert_string_equal(rule->grants[0].caps[0].values[0], "{\"a\":1}");
	/* No protocol that exists does not become "the usual ones". */
	assert_int_equal(feed->now->filter[2].n_protocols, 1);
	assert_int_equal(feed->now->filter[2].protocols[0], 255);
	assert_non_null(strstr(feed->bad.s, "left out, it is no address: 10.0.0.1/8"));
	assert_non_null(strstr(feed->bad.s, "packet filter rule 3: SrcIPs: not a list"));
}

/* Pitfall 20: one such entry, and no rule holds at all. */
static void test_filter_obsolete(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(feed_json(feed, "{\"PacketFilters\":{\"x\":[{\"SrcIPs\":[\"*\"],"
				   "\"SrcBits\":[32],\"DstPorts\":[]}]}}"), 0);
	assert_int_equal(feed->now->n_filter, 0);
	assert_int_equal(feed_json(feed, "{\"PacketFilters\":{\"x\":[{\"SrcIPs\":[\"*\"],"
				   "\"DstPorts\":[{\"IP\":\"*\",\"Bits\":1}]}]}}"), 0);
	assert_int_equal(feed->now->n_filter, 0);
	assert_int_equal(feed_json(feed, "{\"PacketFilters\":{\"x\":null}}"), 0);
	assert_int_equal(feed->now->n_filter, 1);
}

static void test_users(void **state)
{
	struct feed *feed = *state;
	const struct warren_node *peer = feed_peer(feed, 2);

	assert_int_equal(feed_json(feed, "{\"UserProfiles\":[{\"ID\":9,\"LoginName\":\"z\"},"
				   "{\"ID\":3,\"LoginName\":\"b\"},{\"LoginName\":\"none\"},"
				   "{\"ID\":7,\"LoginName\":\"alice\",\"DisplayName\":\"A.\"}"
					"]}"), 0);
	assert_int_equal(feed->now->changed, WARREN_NETMAP_USERS);
	assert_int_equal(feed->now->n_users, 3);
	assert_int_equal(feed->now->users[0].id, 3);
	assert_string_equal(feed->now->users[1].name, "A.");
	assert_string_equal(str_text(&feed->bad), "user profile: ID: there is none\n");
	assert_int_equal(feed_json(feed, "{\"UserProfiles\":[{\"ID\":9,\"LoginName\":\"z\"}]}"), 0);
	assert_int_equal(feed->published, 2);
	assert_ptr_equal(feed_peer(feed, 2), peer);
}

static void test_dns(void **state)
{
	struct feed *feed = *state;
	const struct warren_dns *dns;

	assert_int_equal(feed_json(feed, "{\"DNSConfig\":{\"Resolvers\":[{\"Addr\":\"1.1.1.1\","
		"\"BootstrapResolution\":[\"192.0.2.1\"]},{}],"
		"\"Routes\":{\"ts.example.\":null,\"b.example\":[],\"c.example\":[{\"Addr\":5}],"
		"\"d.example\":[{\"Addr\":\"10.0.0.1\"}]},\"Domains\":[\"ts.example\"],"
		"\"ExtraRecords\":[{\"Name\":\"x\",\"Value\":\"1.2.3.4\"},{\"Name\":\"y\","
		"\"Type\":\"MX\",\"Value\":\"10 z\"},{\"Name\":\"w\"}],\"Proxied\":true}}"), 0);
	dns = feed->now->dns;
	assert_int_equal(feed->now->changed, WARREN_NETMAP_DNS);
	assert_int_equal(dns->n_resolvers, 1);
	/* The suffix whose servers are all bad is not answered by ourselves instead. */
	assert_int_equal(dns->n_routes, 3);
	for (uint32_t i = 0; i < dns->n_routes; i++)
		assert_string_not_equal(dns->routes[i].suffix, "c.example");
	assert_int_equal(dns->n_records, 2);
	assert_string_equal(dns->records[1].type, "MX");
	assert_true(dns->proxied);
	assert_string_equal(str_text(&feed->bad),
			    "Resolvers 1: a resolver without Addr\n"
			    "Routes: resolver 0: Addr: not a string\n"
			    "ExtraRecords: record 2: without name or value\n");
	feed_forget(feed);
	assert_int_equal(feed_json(feed, "{\"DNSConfig\":{\"Domains\":5}}"), 0);
	assert_int_equal(feed->published, 2);
	assert_string_equal(str_text(&feed->bad), "DNSConfig: Domains: not a list\n");
	assert_int_equal(feed_json(feed, "{\"DNSConfig\":{}}"), 0);
	assert_int_equal(feed->now->dns->n_routes, 0);
}

#define REGION(id, rest) "\"" #id "\":{\"RegionID\":" #id ",\"RegionCode\":\"r" #id "\"" rest \
	",\"Nodes\":[{\"Name\":\"" #id "a\",\"RegionID\":" #id ",\"HostName\":\"r.example\"}]}"

/* Pitfall 19. */
static void test_relays(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(feed_json(feed, "{\"DERPMap\":{\"Regions\":{" REGION(20, "") ","
		REGION(3, ",\"Latitude\":51.5") ",\"4\":null,\"5\":{\"RegionID\":6},\"x\":{},"
		"\"7\":{\"Nodes\":[{\"Name\":\"7a\",\"HostName\":\"h\",\"STUNPort\":-1,"
		"\"IPv4\":\"192.0.2.7\",\"IPv6\":\"none\"},{\"Name\":\"7b\"},null]}}}}"), 0);
	assert_int_equal(feed->now->changed, WARREN_NETMAP_RELAYS);
	assert_int_equal(feed->now->n_regions, 3);
	assert_int_equal(feed->now->regions[0].id, 3);
	assert_int_equal(feed->now->regions[0].latitude_e4, 515000);
	assert_int_equal(feed->now->regions[0].score_e3, 1000);
	assert_int_equal(feed->now->regions[0].nodes[0].stun_port, 3478);
	assert_int_equal(feed->now->regions[0].nodes[0].derp_port, 443);
	assert_int_equal(feed->now->regions[1].n_nodes, 1);
	assert_int_equal(feed->now->regions[1].nodes[0].stun_port, -1);
	assert_true(feed->now->regions[1].nodes[0].no_ipv6);
	assert_int_equal(feed->now->regions[2].id, 20);
	assert_int_equal(feed->now->regions[1].nodes[0].ipv4.family, 4);
	assert_int_equal(ctl_map_collect_services(feed->map), WARREN_TRI_UNKNOWN);
	/* Scores alone; then regions alone, which inherit them. */
	assert_int_equal(feed_json(feed, "{\"DERPMap\":{\"HomeParams\":{\"RegionScore\":{\"3"
		"\":0.5}},"
				   "\"Regions\":null}}"), 0);
	assert_int_equal(feed->now->n_regions, 3);
	assert_int_equal(feed->now->regions[0].score_e3, 500);
	assert_int_equal(feed_json(feed, "{\"DERPMap\":{\"Regions\":{" REGION(3, "") "}}}"), 0);
	assert_int_equal(feed->now->n_regions, 1);
	assert_int_equal(feed->now->regions[0].score_e3, 500);
	assert_int_equal(feed_json(feed, "{\"DERPMap\":{\"HomeParams\":{}}}"), 0);
	assert_int_equal(feed->now->regions[0].score_e3, 1000);
}

static void test_ssh(void **state)
{
	struct feed *feed = *state;
	static const char policy[] = "{\"SSHPolicy\":{\"rules\":[{\"principals\":[{\"any\":true}],"
		"\"sshUsers\":{\"*\":\"=\",\"root\":\"\"},\"action\":{\"accept\":true,"
		"\"sessionDuration\":5000,\"allowAgentForwarding\":true}},{\"principals\":[]}%s]}}";
	char json[1024];

	(void)snprintf(json, sizeof(json), policy, "");
	assert_int_equal(feed_json(feed, json), 0);
	assert_int_equal(feed->now->changed, WARREN_NETMAP_SSH);
	assert_int_equal(feed->now->n_ssh, 1);
	assert_int_equal(feed->now->ssh[0].action->session_duration, 5);
	assert_int_equal(feed->now->ssh[0].n_users, 2);
	assert_string_equal(str_text(&feed->bad), "");
	/* A rule that cannot be read may be the one that rejects. */
	(void)snprintf(json, sizeof(json), policy, ",{\"principals\":5,\"action\":{\"reject"
		"\":true}},"
		       "{\"principals\":[{\"any\":true}],\"action\":{\"accept\":true}}");
	assert_int_equal(feed_json(feed, json), 0);
	assert_int_equal(feed->now->n_ssh, 1);
	assert_non_null(strstr(str_text(&feed->bad), "SSH rule"));
	/* Pitfall 18. */
	assert_int_equal(feed_json(feed, "{\"SSHPolicy\":null}"), 0);
	assert_int_equal(feed->now->n_ssh, 1);
	assert_int_equal(feed_json(feed, "{\"SSHPolicy\":{\"rules\":[]}}"), 0);
	assert_int_equal(feed->now->n_ssh, 0);
}

static void test_health(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(feed_json(feed, "{\"Health\":[\"bad weather\"]}"), 0);
	assert_int_equal(feed->now->changed, WARREN_NETMAP_HEALTH);
	assert_string_equal(feed->now->health[0], "bad weather");
	assert_int_equal(feed_json(feed, "{\"DisplayMessages\":{\"b\":{\"Title\":\"T\",\"Text"
		"\":\"x\"},"
				   "\"a\":{\"Title\":\"only\"}}}"), 0);
	assert_int_equal(feed->now->n_health, 2);
	assert_string_equal(feed->now->health[0], "only");
	assert_string_equal(feed->now->health[1], "T: x");
	assert_int_equal(feed_json(feed, "{\"DisplayMessages\":{\"b\":null}}"), 0);
	assert_int_equal(feed->now->n_health, 1);
	assert_int_equal(feed_json(feed, "{\"DisplayMessages\":{\"*\":null,\"c\":{\"Text\":"
		"\"y\"}}}"),
			 0);
	assert_int_equal(feed->now->n_health, 1);
	assert_string_equal(feed->now->health[0], "y");
	assert_int_equal(feed_json(feed, "{\"DisplayMessages\":{\"*\":null}}"), 0);
	assert_string_equal(feed->now->health[0], "bad weather");
	assert_int_equal(feed_json(feed, "{\"Health\":[]}"), 0);
	assert_int_equal(feed->now->n_health, 0);
	assert_string_equal(str_text(&feed->bad), "");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define ON_FULL(test) cmocka_unit_test_setup_teardown(test, feed_setup_full, feed_teardown)
		ON_FULL(test_filters),
		ON_FULL(test_filter_rules),
		ON_FULL(test_filter_obsolete),
		ON_FULL(test_users),
		ON_FULL(test_dns),
		ON_FULL(test_relays),
		ON_FULL(test_ssh),
		ON_FULL(test_health),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
