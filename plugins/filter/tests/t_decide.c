/*
 * The decision, row by row as control-protocol.md 8.2 has it, and the limits of compiling.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/addr.h"
#include "craft.h"
#include "plugins/filter/flow.h"
#include "plugins/filter/table.h"

static struct filter_flows flows[FILTER_FLOW_TABLES];

static struct warren_prefix prefix(const char *text)
{
	struct warren_prefix out;

	assert_int_equal(prefix_parse(text, &out), 0);
	return out;
}

/*
 * The policy of these tests: 10.0.0.0/8 and fd00::/16 may reach this node at 10.0.0.1 and fd00::1
 * with TCP and UDP 1000-2000; 10.0.0.7 may send GRE to the served network 192.168.1.0/24.
 */
static struct filter_table *policy(void)
{
	static const uint8_t tcp_udp[] = { 6, 17 }, gre[] = { 47 };
	struct warren_src srcs[] = {
		{ .kind = WARREN_SRC_PREFIX, .prefix = prefix("10.0.0.0/8") },
		{ .kind = WARREN_SRC_PREFIX, .prefix = prefix("fd00::/16") },
		{ .kind = WARREN_SRC_PREFIX, .prefix = prefix("10.0.0.7") },
		{ .kind = WARREN_SRC_CAP, .cap = "example.com/admin" },
	};
	struct warren_dst dsts[] = {
		{ .kind = WARREN_SRC_PREFIX, .prefix = prefix("10.0.0.1"), .port_first = 1000,
		  .port_last = 2000 },
		{ .kind = WARREN_SRC_PREFIX, .prefix = prefix("fd00::1"), .port_first = 1000,
		  .port_last = 2000 },
		{ .kind = WARREN_SRC_PREFIX, .prefix = prefix("192.168.1.0/24"),
		  .port_last = 65535 },
		{ .kind = WARREN_SRC_ANY, .port_last = 65535 },
	};
	const struct warren_filter_rule rules[] = {
		{ .srcs = srcs, .n_srcs = 2, .dsts = dsts, .n_dsts = 2, .protocols = tcp_udp,
		  .n_protocols = 2 },
		{ .srcs = srcs + 2, .n_srcs = 1, .dsts = dsts + 2, .n_dsts = 1, .protocols = gre,
		  .n_protocols = 1 },
		{ .srcs = srcs + 3, .n_srcs = 1, .dsts = dsts + 3, .n_dsts = 1 },
	};
	struct warren_prefix own[] = { prefix("10.0.0.1"), prefix("fd00::1") };
	struct warren_prefix allowed[] = { own[0], own[1], prefix("192.168.1.0/24") };
	const struct warren_node self = { .addresses = own, .n_addresses = 2,
					  .allowed_ips = allowed, .n_allowed_ips = 3 };
	const struct warren_netmap map = { .self = &self, .filter = rules, .n_filter = 3 };
	int result;
	struct filter_table *table = filter_table_new(&map, flows, &result);

	assert_non_null(table);
	assert_int_equal(result, 0);
	assert_int_equal(filter_table_rules(table), 3);
	return table;
}

#define PEER4 .source = "10.0.0.5", .destination = "10.0.0.1"
#define PEER6 .source = "fd00::5", .destination = "fd00::1"
#define OTHER .source = "172.16.0.5", .destination = "10.0.0.1"

static const struct {
	const char *what;
	struct craft packet;
	enum filter_reason in, out;
} rows[] = {
	{ "SYN that a rule allows", { PEER4, .protocol = 6, .port = 1000, .tcp_flags = 2 }, 0, 0 },
	{ "the last port", { PEER4, .protocol = 6, .port = 2000, .tcp_flags = 2 }, 0, 0 },
	{ "a port below", { PEER4, .protocol = 6, .port = 999, .tcp_flags = 2 }, FILTER_ACL, 0 },
	{ "a port above", { PEER4, .protocol = 6, .port = 2001, .tcp_flags = 2 }, FILTER_ACL, 0 },
	{ "SYN with ECN bits", { PEER4, .protocol = 6, .port = 1, .tcp_flags = 0xc2 },
	  FILTER_ACL, 0 },
	{ "SYN and ACK", { PEER4, .protocol = 6, .port = 1, .tcp_flags = 0x12 }, 0, 0 },
	{ "ACK from a stranger", { OTHER, .protocol = 6, .port = 1, .tcp_flags = 0x10 }, 0, 0 },
	{ "RST", { PEER4, .protocol = 6, .port = 1, .tcp_flags = 4 }, 0, 0 },
	{ "SYN from a stranger", { OTHER, .protocol = 6, .port = 1500, .tcp_flags = 2 },
	  FILTER_ACL, 0 },
	{ "TCP over IPv6", { PEER6, .protocol = 6, .port = 1500, .tcp_flags = 2 }, 0, 0 },
	{ "UDP that a rule allows", { PEER4, .protocol = 17, .port = 1500 }, 0, 0 },
	{ "UDP that none allows", { PEER4, .protocol = 17, .port = 53 }, FILTER_ACL, 0 },
	{ "SCTP, which the rule does not list", { PEER4, .protocol = 132, .port = 1500 },
	  FILTER_ACL, 0 },
	{ "GRE to what we serve", { .source = "10.0.0.7", .destination = "192.168.1.9",
				    .protocol = 47 }, 0, 0 },
	{ "GRE from another", { .source = "10.0.0.8", .destination = "192.168.1.9",
				.protocol = 47 }, FILTER_ACL, 0 },
	{ "GRE over a rule with ports", { .source = "10.0.0.7", .destination = "10.0.0.1",
					  .protocol = 47 }, FILTER_ACL, 0 },
	{ "to an address that is not ours", { .source = "10.0.0.5", .destination = "10.0.0.2",
					      .protocol = 6, .port = 1500, .tcp_flags = 2 },
	  FILTER_NOT_LOCAL, 0 },
	{ "even an answer", { .source = "10.0.0.5", .destination = "10.0.0.2", .protocol = 6,
			      .tcp_flags = 0x10 }, FILTER_NOT_LOCAL, 0 },
	/* ICMP: ports and protocols of rules are ignored. */
	{ "echo by a rule's addresses", { PEER4, .protocol = 1, .icmp_type = 8 }, 0, 0 },
	{ "echo from a stranger", { OTHER, .protocol = 1, .icmp_type = 8 }, FILTER_ACL, 0 },
	{ "echo reply", { OTHER, .protocol = 1 }, 0, 0 },
	{ "echo reply with a code", { OTHER, .protocol = 1, .icmp_code = 1 }, FILTER_ACL, 0 },
	{ "short echo reply", { OTHER, .protocol = 1, .body = 7 }, FILTER_ACL, 0 },
	{ "unreachable", { OTHER, .protocol = 1, .icmp_type = 3, .icmp_code = 4 }, 0, 0 },
	{ "time exceeded", { OTHER, .protocol = 1, .icmp_type = 11 }, 0, 0 },
	{ "parameter problem", { OTHER, .protocol = 1, .icmp_type = 12 }, FILTER_ACL, 0 },
	{ "ICMPv6 too big", { .source = "2001:db8::1", .destination = "fd00::1", .protocol = 58,
			      .icmp_type = 2 }, 0, 0 },
	{ "ICMPv6 echo reply", { .source = "2001:db8::1", .destination = "fd00::1",
				 .protocol = 58, .icmp_type = 129 }, 0, 0 },
	{ "ICMPv6 echo", { .source = "2001:db8::1", .destination = "fd00::1", .protocol = 58,
			   .icmp_type = 128 }, FILTER_ACL, 0 },
	{ "ICMPv6 echo of a peer", { PEER6, .protocol = 58, .icmp_type = 128 }, 0, 0 },
	{ "ICMPv4 in IPv6 is any protocol", { PEER6, .protocol = 1 }, FILTER_ACL, 0 },
	{ "TSMP", { OTHER, .protocol = 99 }, 0, FILTER_FROM_HOST },
	/* What is dropped in both directions. */
	{ "multicast", { .source = "10.0.0.5", .destination = "224.0.0.251", .protocol = 17 },
	  FILTER_MULTICAST, FILTER_MULTICAST },
	{ "IPv6 multicast", { .source = "fd00::5", .destination = "ff02::fb", .protocol = 17 },
	  FILTER_MULTICAST, FILTER_MULTICAST },
	{ "link-local", { .source = "10.0.0.5", .destination = "169.254.1.1", .protocol = 17 },
	  FILTER_LINK_LOCAL, FILTER_LINK_LOCAL },
	{ "metadata address", { .source = "10.0.0.5", .destination = "169.254.169.254",
				.protocol = 17 }, FILTER_NOT_LOCAL, 0 },
	{ "IPv6 link-local", { .source = "fd00::5", .destination = "febf::1", .protocol = 17 },
	  FILTER_LINK_LOCAL, FILTER_LINK_LOCAL },
	{ "short TCP", { PEER4, .protocol = 6, .port = 1500, .tcp_flags = 2, .body = 19 },
	  FILTER_UNKNOWN_PROTOCOL, FILTER_UNKNOWN_PROTOCOL },
	{ "short UDP", { PEER4, .protocol = 17, .port = 1500, .body = 7 },
	  FILTER_UNKNOWN_PROTOCOL, FILTER_UNKNOWN_PROTOCOL },
	{ "protocol 0", { PEER4 }, FILTER_UNKNOWN_PROTOCOL, FILTER_UNKNOWN_PROTOCOL },
	{ "protocol 255", { PEER4, .protocol = 255 }, FILTER_UNKNOWN_PROTOCOL,
	  FILTER_UNKNOWN_PROTOCOL },
	/* Fragments. */
	{ "first fragment, judged by its port", { PEER4, .protocol = 17, .port = 1500,
						  .fragment = 0x2000, .body = 80 }, 0, 0 },
	{ "first fragment, refused by its port", { PEER4, .protocol = 17, .port = 53,
						   .fragment = 0x2000, .body = 80 },
	  FILTER_ACL, 0 },
	{ "tiny first fragment", { PEER4, .protocol = 17, .port = 1500, .fragment = 0x2000,
				   .body = 72 }, FILTER_FRAGMENT, FILTER_FRAGMENT },
	{ "later fragment", { OTHER, .protocol = 17, .fragment = 10 }, 0, 0 },
	{ "overlapping fragment", { OTHER, .protocol = 17, .fragment = 9 },
	  FILTER_FRAGMENT, FILTER_FRAGMENT },
	{ "IPv4 options", { PEER4, .protocol = 6, .port = 1500, .tcp_flags = 2, .options = 10 },
	  0, 0 },
	/* IPv6 extension headers: the packet is what it carries. */
	{ "behind options", { PEER6, .protocol = 6, .port = 1500, .tcp_flags = 2, .n_chain = 3,
			      .chain = { 0, 60, 43 }, .chain_words = 2 }, 0, 0 },
	{ "behind options, refused by its port", { PEER6, .protocol = 17, .port = 53, .n_chain = 2,
						   .chain = { 0, 60 } }, FILTER_ACL, 0 },
	{ "hop-by-hop options that are not first", { PEER6, .protocol = 17, .port = 1500,
						     .n_chain = 2, .chain = { 60, 0 } },
	  FILTER_UNKNOWN_PROTOCOL, FILTER_UNKNOWN_PROTOCOL },
	{ "routed on from here", { PEER6, .protocol = 17, .port = 1500, .n_chain = 1,
				   .chain = { 43 }, .segments_left = 1 },
	  FILTER_UNKNOWN_PROTOCOL, FILTER_UNKNOWN_PROTOCOL },
	{ "IPv6 first fragment", { PEER6, .protocol = 17, .port = 1500, .n_chain = 1,
				   .chain = { 44 }, .fragment = 1, .body = 80 }, 0, 0 },
	{ "IPv6 first fragment, refused", { PEER6, .protocol = 17, .port = 53, .n_chain = 1,
					    .chain = { 44 }, .fragment = 1, .body = 80 },
	  FILTER_ACL, 0 },
	{ "IPv6 tiny first fragment", { PEER6, .protocol = 17, .port = 1500, .n_chain = 1,
					.chain = { 44 }, .fragment = 1, .body = 72 },
	  FILTER_FRAGMENT, FILTER_FRAGMENT },
	{ "IPv6 later fragment", { PEER6, .protocol = 17, .n_chain = 1, .chain = { 44 },
				   .fragment = 80 }, 0, 0 },
	{ "IPv6 overlapping fragment", { PEER6, .protocol = 17, .n_chain = 1, .chain = { 44 },
					 .fragment = 72 }, FILTER_FRAGMENT, FILTER_FRAGMENT },
	{ "atomic fragment", { PEER6, .protocol = 6, .port = 1500, .tcp_flags = 2, .n_chain = 1,
			       .chain = { 44 }, .body = 20 }, 0, 0 },
	{ "two fragment headers", { PEER6, .protocol = 17, .port = 1500, .n_chain = 2,
				    .chain = { 44, 44 } },
	  FILTER_UNKNOWN_PROTOCOL, FILTER_UNKNOWN_PROTOCOL },
	{ "no next header", { PEER6, .protocol = 59 }, FILTER_ACL, 0 },
};

static void assert_reason(const char *what, enum filter_reason got, enum filter_reason want)
{
	if (got != want)
		fail_msg("%s: %s instead of %s", what, filter_reason_name(got),
			 filter_reason_name(want));
}

static enum filter_reason decide_in(const struct filter_table *table, const uint8_t *data,
				    size_t len, uint64_t now)
{
	return filter_table_decide(table, WARREN_PKT_IN, data, len, now);
}

static enum filter_reason decide_out(const struct filter_table *table, const uint8_t *data,
				     size_t len, uint64_t now)
{
	return filter_table_decide(table, WARREN_PKT_OUT, data, len, now);
}

static void decides_row_by_row(void **state)
{
	struct filter_table *table = policy();
	uint8_t data[CRAFT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = craft_packet(&rows[i].packet, data);

		filter_flows_init(&flows[FILTER_FLOWS_OPEN]);
		assert_reason(rows[i].what, decide_in(table, data, len, 0), rows[i].in);
		assert_reason(rows[i].what, decide_out(table, data, len, 0), rows[i].out);
	}
	filter_table_free(table);
}

static void refuses_lengths_that_do_not_fit(void **state)
{
	const struct craft v4 = { PEER4, .protocol = 6, .port = 1500, .tcp_flags = 2 };
	const struct craft v6 = { PEER6, .protocol = 6, .port = 1500, .tcp_flags = 2 };
	struct filter_table *table = policy();
	uint8_t data[CRAFT_MAX], *exact;
	size_t len;

	(void)state;
	for (int family = 0; family < 2; family++) {
		len = craft_packet(family ? &v6 : &v4, data);
		for (size_t cut = 1; cut < len; cut++) {
			exact = malloc(cut);
			memcpy(exact, data, cut);
			assert_reason("cut short", decide_in(table, exact, cut, 0),
				      cut < 20 ? FILTER_TOO_SHORT : FILTER_UNKNOWN_PROTOCOL);
			free(exact);
		}
		/* Bytes after the packet's own length are padding. */
		assert_reason("padded", decide_in(table, data, len + 8, 0),
			      FILTER_ACCEPTED);
	}
	assert_reason("empty", decide_in(table, data, 0, 0),
		      FILTER_ACCEPTED);
	len = craft_packet(&v4, data);
	data[0] = 0x44;
	assert_reason("header of 16", decide_in(table, data, len, 0),
		      FILTER_UNKNOWN_PROTOCOL);
	data[0] = 0x4f;
	data[3] = 30;
	assert_reason("header beyond the total", decide_in(table, data, len, 0),
		      FILTER_UNKNOWN_PROTOCOL);
	data[0] = 0x55;
	assert_reason("version 5", decide_in(table, data, len, 0),
		      FILTER_UNKNOWN_PROTOCOL);
	filter_table_free(table);
}

static void lets_answers_in(void **state)
{
	const struct craft request = { .source = "10.0.0.1", .destination = "172.16.0.9",
				       .protocol = 17, .source_port = 4000, .port = 53 };
	struct craft answer = { .source = "172.16.0.9", .destination = "10.0.0.1",
				.protocol = 17, .source_port = 53, .port = 4000 };
	const uint64_t second = 1000000;
	struct filter_table *table = policy(), *next;
	uint8_t data[CRAFT_MAX];
	size_t len;

	(void)state;
	filter_flows_init(&flows[FILTER_FLOWS_OPEN]);
	len = craft_packet(&answer, data);
	assert_reason("before the request", decide_in(table, data, len, 0),
		      FILTER_ACL);
	len = craft_packet(&request, data);
	decide_out(table, data, len, second);
	len = craft_packet(&answer, data);
	assert_reason("the answer", decide_in(table, data, len, 2 * second),
		      FILTER_ACCEPTED);
	/* Another policy, the same flows. */
	next = policy();
	filter_table_free(table);
	assert_reason("after a reload", decide_in(next, data, len, 300 * second), FILTER_ACCEPTED);
	assert_reason("too late", decide_in(next, data, len, 601 * second), FILTER_ACL);
	answer.source_port = 54;
	len = craft_packet(&answer, data);
	assert_reason("another port", decide_in(next, data, len, 2 * second), FILTER_ACL);
	filter_table_free(next);
}

static void follows_the_builtin_policy(void **state)
{
	const struct warren_netmap open = { .builtin_policy = WARREN_POLICY_ALLOWED_IPS };
	const struct warren_netmap shut = { 0 };
	const struct craft syn = { OTHER, .protocol = 6, .tcp_flags = 2 };
	uint8_t data[CRAFT_MAX];
	size_t len = craft_packet(&syn, data);
	int result;
	struct filter_table *table = filter_table_new(&open, flows, &result);

	(void)state;
	assert_reason("allowed IPs", decide_in(table, data, len, 0),
		      FILTER_ACCEPTED);
	filter_table_free(table);
	table = filter_table_new(&shut, flows, &result);
	assert_reason("no rules", decide_in(table, data, len, 0),
		      FILTER_NOT_LOCAL);
	filter_table_free(table);
}

/* A thousand rules of `*` beside many different sources: lists are shared, not multiplied. */
static void compiles_a_large_policy(void **state)
{
	enum { RULES = 1000, SRCS = 10000 };
	struct warren_filter_rule *rules = calloc(RULES, sizeof(*rules));
	struct warren_src *srcs = calloc(SRCS, sizeof(*srcs));
	struct warren_dst *dsts = calloc(RULES, sizeof(*dsts));
	const struct warren_src any = { .kind = WARREN_SRC_ANY };
	struct warren_netmap map = { .filter = rules, .n_filter = RULES };
	struct filter_table *table;
	clock_t start = clock();
	int result;

	(void)state;
	for (uint32_t i = 0; i < SRCS; i++) {
		srcs[i].kind = WARREN_SRC_PREFIX;
		srcs[i].prefix = (struct warren_prefix){
			{ 4, { 100, 64, (uint8_t)(i >> 7), (uint8_t)(2 * i) } }, 32 };
	}
	for (uint32_t i = 0; i < RULES; i++) {
		dsts[i] = (struct warren_dst){ .kind = WARREN_SRC_PREFIX, .port_last = 65535,
			.prefix = { { 4, { 10, 0, (uint8_t)(i >> 8), (uint8_t)i } }, 32 } };
		rules[i] = (struct warren_filter_rule){ .srcs = i ? &any : srcs,
			.n_srcs = i ? 1 : SRCS, .dsts = &dsts[i], .n_dsts = 1 };
	}
	table = filter_table_new(&map, flows, &result);
	assert_non_null(table);
	print_message("1,000 rules, 10,000 sources: %zu KiB, %.0f ms\n",
		      filter_table_bytes(table) >> 10,
		      (double)(clock() - start) * 1000 / CLOCKS_PER_SEC);
	assert_true(filter_table_bytes(table) < 2 << 20);
	filter_table_free(table);
	free(rules);
	free(srcs);
	free(dsts);
}

/* A range per rule, each begun and ended elsewhere: 48,000 sets of up to 24,000 entries. */
static void refuses_a_policy_that_is_too_large(void **state)
{
	enum { RULES = 24000 };
	struct warren_filter_rule *rules = calloc(RULES, sizeof(*rules));
	struct warren_src *srcs = calloc(RULES, sizeof(*srcs));
	struct warren_netmap map = { .filter = rules, .n_filter = RULES };
	const struct warren_dst any = { .kind = WARREN_SRC_ANY };
	int result;

	(void)state;
	for (uint32_t i = 0; i < RULES; i++) {
		srcs[i].kind = WARREN_SRC_RANGE;
		srcs[i].first = (struct warren_addr){ 4, { 10, 0, (uint8_t)(i >> 8), (uint8_t)i } };
		srcs[i].last = (struct warren_addr){ 4, { 20, 0, (uint8_t)(i >> 8), (uint8_t)i } };
		rules[i] = (struct warren_filter_rule){ .srcs = &srcs[i], .n_srcs = 1,
							.dsts = &any, .n_dsts = 1 };
	}
	assert_null(filter_table_new(&map, flows, &result));
	assert_int_equal(result, -E2BIG);
	rules->n_dsts = FILTER_ENTRIES + 1;	/* refused before they are looked at */
	assert_null(filter_table_new(&map, flows, &result));
	assert_int_equal(result, -E2BIG);
	free(rules);
	free(srcs);
}

/* A way to the internet is none to what is private, and to none but the family that has it. */
static void leads_to_the_internet_and_no_further(void **state)
{
	static const struct { const char *to; bool good; } ends[] = {
		{ "1.1.1.1", true }, { "9.255.255.255", true }, { "11.0.0.0", true },
		{ "223.255.255.255", true }, { "0.1.2.3", false }, { "10.200.0.1", false },
		{ "100.64.0.9", false }, { "100.63.255.255", true }, { "100.128.0.0", true },
		{ "127.0.0.1", false }, { "172.31.0.1", false }, { "172.32.0.0", true },
		{ "192.168.7.1", false }, { "192.169.0.0", true }, { "240.0.0.1", false },
		{ "255.255.255.255", false }, { "2001:db8::1", false },
	};
	struct warren_src src = { .kind = WARREN_SRC_ANY };
	struct warren_dst dst = { .kind = WARREN_SRC_ANY, .port_last = 65535 };
	const struct warren_filter_rule rule = { .srcs = &src, .n_srcs = 1, .dsts = &dst,
						 .n_dsts = 1 };
	struct warren_prefix own = prefix("100.64.0.1");
	struct warren_node self = { .addresses = &own, .n_addresses = 1, .exit_v4 = true };
	const struct warren_netmap map = { .self = &self, .filter = &rule, .n_filter = 1 };
	struct filter_table *table;
	uint8_t data[CRAFT_MAX];
	int result;

	(void)state;
	table = filter_table_new(&map, flows, &result);
	assert_non_null(table);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		const struct craft craft = {
			.source = strchr(ends[i].to, ':') ? "2001:db8::9" : "100.64.0.5",
			.destination = ends[i].to, .protocol = 6, .port = 443, .tcp_flags = 2,
		};

		assert_reason(ends[i].to, decide_in(table, data, craft_packet(&craft, data), 0),
			      ends[i].good ? FILTER_ACCEPTED : FILTER_NOT_LOCAL);
	}
	filter_table_free(table);
}

/* A network that the host is attached to is none of the internet; the host itself is. */
static void leads_past_the_neighbours(void **state)
{
	static const struct { const char *to; bool good; } ends[] = {
		{ "203.0.113.9", true }, { "203.0.113.10", false }, { "203.0.113.255", false },
		{ "203.0.112.255", true }, { "203.0.114.0", true }, { "198.51.100.130", false },
		{ "198.51.100.127", true }, { "10.0.0.9", false }, { "1.1.1.1", true },
		{ "2001:db8:7::9", true }, { "2001:db8:7::a", false }, { "2001:db8:8::", true },
		{ "fd00::1", false },
	};
	struct warren_prefix networks[] = {
		/* The narrow one lies in the wide one. */
		prefix("203.0.113.9/24"), prefix("203.0.113.65/28"), prefix("198.51.100.129/25"),
		prefix("10.0.0.9/24"), prefix("2001:db8:7::9/64"), prefix("fd00::1/64"),
	};
	const struct filter_host host = { .networks = networks, .n = 6 };
	const struct filter_host unknown = { .unknown = true };
	struct warren_src src = { .kind = WARREN_SRC_ANY };
	struct warren_dst dst = { .kind = WARREN_SRC_ANY, .port_last = 65535 };
	const struct warren_filter_rule rule = { .srcs = &src, .n_srcs = 1, .dsts = &dst,
						 .n_dsts = 1 };
	struct warren_node self = { .exit_v4 = true, .exit_v6 = true };
	const struct warren_netmap map = { .self = &self, .filter = &rule, .n_filter = 1 };
	uint8_t data[CRAFT_MAX];
	int result;

	(void)state;
	for (int known = 0; known < 2; known++) {
		struct filter_table *table = filter_table_new_on(&map, known ? &host : &unknown,
								 flows, &result);

		assert_non_null(table);
		for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
			const struct craft craft = {
				.source = strchr(ends[i].to, ':') ? "2001:db8::9" : "100.64.0.5",
				.destination = ends[i].to, .protocol = 6, .port = 443,
				.tcp_flags = 2,
			};

			assert_reason(ends[i].to,
				      decide_in(table, data, craft_packet(&craft, data), 0),
				      known && ends[i].good ? FILTER_ACCEPTED : FILTER_NOT_LOCAL);
		}
		filter_table_free(table);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decides_row_by_row),
		cmocka_unit_test(refuses_lengths_that_do_not_fit),
		cmocka_unit_test(lets_answers_in),
		cmocka_unit_test(leads_to_the_internet_and_no_further),
		cmocka_unit_test(leads_past_the_neighbours),
		cmocka_unit_test(follows_the_builtin_policy),
		cmocka_unit_test(compiles_a_large_policy),
		cmocka_unit_test(refuses_a_policy_that_is_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
