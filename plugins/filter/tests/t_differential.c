/*
 * The compiled filter against the naive one: random policies over few addresses, so that ranges
 * touch and overlap, and random packets, some of them damaged.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "craft.h"
#include "naive.h"
#include "plugins/filter/flow.h"
#include "plugins/filter/table.h"

enum { NOW = 1000000, PACKETS = 400, RULES = 8, PER_RULE = 4, PEERS = 4, PER_PEER = 2 };

static uint64_t seed, n_cases;

/* xorshift64*: the same cases on every machine; the seed is printed and may be given. */
static uint32_t below(uint32_t n)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (uint32_t)((seed * UINT64_C(2685821657736338717)) >> 33) % n;
}

static struct warren_addr any_addr(void)
{
	static const uint8_t edges[] = { 0, 1, 2, 7, 127, 128, 254, 255 };
	struct warren_addr out = { .family = below(2) ? 4 : 6 };

	out.bytes[0] = below(20) ? 10 : (uint8_t)below(256);
	out.bytes[out.family == 4 ? 2 : 7] = edges[below(3)];
	out.bytes[out.family == 4 ? 3 : 15] = edges[below(8)];
	if (!below(40))
		memset(out.bytes, 0xff, out.family == 4 ? 4 : 16);
	return out;
}

static struct warren_prefix any_prefix(void)
{
	static const uint8_t v4[] = { 0, 8, 16, 23, 24, 25, 30, 31, 32, 32 };
	static const uint8_t v6[] = { 0, 8, 56, 64, 65, 120, 126, 127, 128, 128 };
	struct warren_prefix out = { .addr = any_addr() };

	out.bits = out.addr.family == 4 ? v4[below(10)] : v6[below(10)];
	prefix_mask(&out);
	return out;
}

/* One of PREFIX, RANGE (sometimes backwards or of mixed families), ANY, CAP. */
static void any_target(uint8_t *kind, struct warren_prefix *prefix, struct warren_addr *first,
		       struct warren_addr *last)
{
	uint32_t which = below(12);

	*kind = which < 6 ? WARREN_SRC_PREFIX : which < 9 ? WARREN_SRC_RANGE :
		which < 10 ? WARREN_SRC_ANY : WARREN_SRC_CAP;
	*prefix = any_prefix();
	*first = any_addr();
	*last = any_addr();
}

static const char *const cap_names[] = { "example.com/a", "example.com/b", "example.com/c" };

struct policy {
	struct warren_netmap map;
	struct warren_node self, peers[PEERS];
	const struct warren_node *peer_list[PEERS];
	struct warren_prefix peer_addrs[PEERS][PER_PEER], peer_routes[PEERS][PER_PEER];
	struct warren_cap peer_caps[PEERS][PER_PEER];
	struct warren_prefix own[3], networks[3];
	struct filter_host host;
	struct warren_filter_rule rules[RULES];
	struct warren_src srcs[RULES][PER_RULE];
	struct warren_dst dsts[RULES][PER_RULE];
	uint8_t protocols[RULES][PER_RULE];
};

/* Few of them jailed or unsigned, or nothing would ever pass. */
static void any_peer(struct policy *p, uint32_t number)
{
	struct warren_node *peer = &p->peers[number];

	p->peer_list[number] = peer;
	peer->addresses = p->peer_addrs[number];
	peer->n_addresses = below(PER_PEER + 1);
	peer->allowed_ips = p->peer_routes[number];
	peer->n_allowed_ips = below(PER_PEER + 1);
	peer->caps = p->peer_caps[number];
	peer->n_caps = below(PER_PEER + 1);
	for (uint32_t i = 0; i < PER_PEER; i++) {
		struct warren_prefix *own = &p->peer_addrs[number][i];

		own->addr = any_addr();
		own->bits = own->addr.family == 4 ? 32 : 128;
		p->peer_routes[number][i] = below(2) ? *own : any_prefix();
		p->peer_caps[number][i].name = cap_names[i + below(2)];
	}
	peer->jailed = !below(6);
	peer->unsigned_peerapi_only = !below(20);
}

static void any_policy(struct policy *p)
{
	static const uint8_t protocols[] = { 6, 17, 1, 58, 132, 47, 99, 0, 255, 44 };
	static const uint16_t ports[] = { 0, 1, 80, 443, 65534, 65535 };

	memset(p, 0, sizeof(*p));
	for (int i = 0; i < 3; i++)
		p->own[i] = any_prefix();
	for (int i = 0; i < 3; i++) {
		p->networks[i] = any_prefix();
		p->networks[i].addr = any_addr();
		p->networks[i].bits = (uint8_t)below(p->networks[i].addr.family == 4 ? 33 : 129);
	}
	p->host = (struct filter_host){ .networks = p->networks, .n = below(4) };
	p->self.allowed_ips = p->own;
	p->self.n_allowed_ips = below(4);
	p->self.exit_v4 = !below(3);
	p->self.exit_v6 = !below(3);
	p->self.shields_up = !below(30);
	p->map.self = &p->self;
	p->map.peers = p->peer_list;
	p->map.n_peers = below(PEERS + 1);
	for (uint32_t i = 0; i < p->map.n_peers; i++)
		any_peer(p, i);
	p->map.filter = p->rules;
	p->map.n_filter = below(RULES + 1);
	for (uint32_t r = 0; r < p->map.n_filter; r++) {
		struct warren_filter_rule *rule = &p->rules[r];

		rule->srcs = p->srcs[r];
		rule->dsts = p->dsts[r];
		rule->protocols = p->protocols[r];
		rule->n_srcs = below(PER_RULE + 1);
		rule->n_dsts = below(PER_RULE + 1);
		rule->n_protocols = below(PER_RULE + 1);
		for (uint32_t i = 0; i < PER_RULE; i++) {
			struct warren_src *src = &p->srcs[r][i];
			struct warren_dst *dst = &p->dsts[r][i];

			any_target(&src->kind, &src->prefix, &src->first, &src->last);
			src->cap = cap_names[below(3)];
			any_target(&dst->kind, &dst->prefix, &dst->first, &dst->last);
			dst->port_first = below(2) ? 0 : ports[below(6)];
			dst->port_last = below(2) ? 65535 : ports[below(6)];
			p->protocols[r][i] = protocols[below(10)];
		}
	}
}

static void any_chain(struct craft *craft)
{
	static const uint8_t kinds[] = { 0, 43, 44, 44, 60, 60, 51 };

	craft->n_chain = (uint8_t)below(5);
	for (uint32_t i = 0; i < 4; i++)
		craft->chain[i] = kinds[below(7)];
	craft->chain_words = below(6) ? 0 : (uint8_t)below(4);
	craft->segments_left = !below(4);
	craft->fragment = (uint16_t)(below(2) * below(14) * 8 + below(2));
}

/* Of a network of the host: the host itself, or next to it. */
static struct warren_addr any_neighbour(const struct policy *p)
{
	struct warren_addr out = p->networks[below(3)].addr;

	if (below(2))
		out.bytes[out.family == 4 ? 3 : 15] ^= (uint8_t)(1u << below(8));
	return out;
}

/* Addresses that the policy is about, mostly: a peer's, and one that is local. */
static void any_ends(const struct policy *p, struct craft *craft)
{
	uint32_t peer = below(PEERS), which = below(PER_PEER);

	craft->from = below(2) ? p->peer_addrs[peer][which].addr :
		      below(2) ? p->peer_routes[peer][which].addr : any_addr();
	craft->to = below(3) ? p->own[below(3)].addr :
		    below(2) ? any_neighbour(p) : any_addr();
	while (craft->from.family == 0)
		craft->from = any_addr();
	while (craft->to.family != craft->from.family)
		craft->to = any_addr();
}

static void turn_round(struct craft *craft)
{
	const struct warren_addr from = craft->from;
	const uint16_t port = craft->source_port;

	craft->from = craft->to;
	craft->to = from;
	craft->source_port = craft->port;
	craft->port = port;
}

/* @out: it leaves. Every fourth one that comes answers, or nearly, the last one that left. */
static size_t any_packet(const struct policy *p, struct craft *left, bool out,
			 uint8_t data[CRAFT_MAX])
{
	static const uint8_t protocols[] = { 6, 6, 17, 17, 1, 58, 132, 47, 99, 0, 255, 44 };
	static const uint16_t ports[] = { 0, 1, 80, 443, 65534, 65535 };
	static const uint8_t types[] = { 0, 1, 2, 3, 4, 5, 8, 11, 12, 18, 128, 129 };
	struct craft craft = {
		.protocol = protocols[below(12)],
		.tcp_flags = (uint8_t)below(64), .icmp_type = types[below(12)],
		.icmp_code = (uint8_t)below(2), .source_port = ports[below(6)],
		.port = ports[below(6)], .options = below(8) ? 0 : (uint8_t)below(11),
	};
	size_t len;

	any_ends(p, &craft);
	if (out)
		turn_round(&craft);
	if (!out && left->protocol && !below(4)) {
		craft = *left;
		turn_round(&craft);
		craft.port = below(8) ? craft.port : ports[below(6)];
	}
	if (!below(6))
		craft.fragment = (uint16_t)(below(2) * 0x2000 + below(14));
	if (craft.from.family == 6 && !below(4))
		any_chain(&craft);
	if (!below(4))
		craft.body = (uint16_t)(1 + below(100));
	if (out)
		*left = craft;
	len = craft_packet(&craft, data);
	if (!below(10))
		data[below(64)] = (uint8_t)below(256);
	if (!below(20))
		len = below((uint32_t)len + 1);
	return len;
}

/* True: a packet from a peer that was accepted. */
static bool compare_one(const struct filter_table *table, struct naive *naive,
			const struct policy *policy, struct craft *left)
{
	uint8_t data[CRAFT_MAX];
	bool out = below(3) == 0;
	size_t len = any_packet(policy, left, out, data);
	uint8_t *exact = malloc(len ? len : 1);
	bool want, got;

	assert_non_null(exact);
	memcpy(exact, data, len);
	want = naive_accepts(naive, out, data, len);
	got = filter_table_decide(table, out ? WARREN_PKT_OUT : WARREN_PKT_IN, exact, len, NOW) ==
	      FILTER_ACCEPTED;
	free(exact);
	if (want == got)
		return got && !out;
	for (size_t i = 0; i < len; i++)
		print_message("%02x", data[i]);
	fail_msg("\n%s: naive says %d, compiled says %d", out ? "out" : "in", want, got);
	return false;
}

static void agrees_with_the_naive_filter(void **state)
{
	static struct filter_flows flows[FILTER_FLOW_TABLES];
	static struct naive naive;
	struct policy *policy = malloc(sizeof(*policy));
	uint64_t n_accepted = 0;

	(void)state;
	for (uint32_t i = 0; i < n_cases / PACKETS; i++) {
		struct craft left = { .protocol = 0 };
		struct filter_table *table;
		int result;

		any_policy(policy);
		/* Full buckets forget flows, the naive filter does not: same seed, same run. */
		memset(flows, 0, sizeof(flows));
		naive.map = &policy->map;
		naive.host = policy->networks;
		naive.n_host = policy->host.n;
		naive.flows.n = naive.jailed_flows.n = 0;
		table = filter_table_new_on(&policy->map, &policy->host, flows, &result);
		assert_non_null(table);
		for (uint32_t k = 0; k < PACKETS; k++)
			n_accepted += compare_one(table, &naive, policy, &left);
		filter_table_free(table);
	}
	print_message("%" PRIu64 " cases, %" PRIu64 " packets let in\n", n_cases, n_accepted);
	assert_true(n_accepted > n_cases / 20);	/* the cases are not all drops */
	free(policy);
}

static uint64_t number_from(const char *variable, uint64_t usual)
{
	const char *given = getenv(variable);

	return given && strtoull(given, NULL, 0) ? strtoull(given, NULL, 0) : usual;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(agrees_with_the_naive_filter) };

	seed = number_from("WARREN_TEST_SEED", UINT64_C(0x5741525245));
	n_cases = number_from("WARREN_TEST_CASES", 200000);
	print_message("WARREN_TEST_SEED=%" PRIu64 "\n", seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
