/*
 * What a packet costs under a small and a large policy, in one run: nanoseconds per packet of a
 * vector like the data plane's, no system call. Prints a table; judges nothing.
 *
 * The packets are the same kinds for both: from peers that rules name to served addresses, to
 * ports that some rule allows, each kind alone. Addresses are drawn over all that a policy names,
 * so that the large one does not live in the nearest cache. The last kind meets rules that all have
 * every source and destination and differ in their ports only.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "craft.h"
#include "plugins/filter/flow.h"
#include "plugins/filter/table.h"

enum { PACKETS = 4096, PACKET_MAX = 128, RUNS = 101, PER_RULE = 5 };

struct policy {
	uint32_t n_rules;
	struct warren_filter_rule *rules;
	struct warren_src *srcs;	/* PER_RULE of each rule */
	struct warren_dst *dsts;
	struct filter_table *table;
};

struct kind {
	const char *name;
	uint8_t protocol, tcp_flags, icmp_type;
	bool v6, refused, wide;
};

static struct filter_flows flows[FILTER_FLOW_TABLES];
static uint32_t random_state = 1;

static uint32_t below(uint32_t n)
{
	random_state = random_state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)random_state * n >> 32);
}

/* The @number-th peer, spread over 100.64.0.0/10 and a /48 as a coordinator does. */
static struct warren_addr peer(uint32_t number, bool v6)
{
	uint32_t mixed = number * UINT32_C(2654435761);
	struct warren_addr out = { .family = 4, .bytes = {
		100, (uint8_t)(64 | (mixed >> 24 & 63)), (uint8_t)(mixed >> 16),
		(uint8_t)(mixed >> 8) } };

	if (v6) {
		out = (struct warren_addr){ 6, { 0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0 } };
		memcpy(out.bytes + 12, &mixed, 4);
	}
	return out;
}

/*
 * Rule i: five peers, IPv4 and every fifth IPv6, may reach a served /32 and /128 on two ports; if
 * @wide, everybody may reach everything on them.
 */
static void policy_make(struct policy *p, uint32_t n_rules, bool wide)
{
	static const struct warren_prefix own[] = {
		{ { 4, { 10 } }, 8 }, { { 6, { 0xfd, 0x7a } }, 16 } };
	static const struct warren_node self = { .allowed_ips = own, .n_allowed_ips = 2 };
	struct warren_netmap map = { .self = &self, .n_filter = n_rules };
	int result;

	p->n_rules = n_rules;
	p->rules = calloc(n_rules, sizeof(*p->rules));
	p->srcs = calloc(n_rules, PER_RULE * sizeof(*p->srcs));
	p->dsts = calloc(n_rules, 2 * sizeof(*p->dsts));
	if (!p->rules || !p->srcs || !p->dsts)
		abort();
	for (uint32_t r = 0; r < n_rules; r++) {
		struct warren_src *srcs = p->srcs + r * PER_RULE;
		struct warren_dst *dsts = p->dsts + r * 2;

		for (uint32_t i = 0; i < PER_RULE; i++) {
			bool v6 = i == PER_RULE - 1;

			srcs[i] = (struct warren_src){
				.kind = wide ? WARREN_SRC_ANY : WARREN_SRC_PREFIX,
				.prefix = { peer(r * PER_RULE + i, v6), v6 ? 128 : 32 } };
		}
		for (uint32_t i = 0; i < 2; i++) {
			dsts[i] = (struct warren_dst){
				.kind = wide ? WARREN_SRC_ANY : WARREN_SRC_PREFIX,
				.prefix = { .bits = i ? 128 : 32 },
				.port_first = (uint16_t)(1024 + 2 * r),
				.port_last = (uint16_t)(1025 + 2 * r) };
			dsts[i].prefix.addr = i ? (struct warren_addr){ 6, { 0xfd, 0x7a,
				[14] = (uint8_t)(r >> 8), [15] = (uint8_t)r } } :
				(struct warren_addr){ 4, { 10, 0, (uint8_t)(r >> 8), (uint8_t)r } };
		}
		p->rules[r] = (struct warren_filter_rule){ .srcs = srcs, .n_srcs = PER_RULE,
							   .dsts = dsts, .n_dsts = 2 };
	}
	map.filter = p->rules;
	p->table = filter_table_new(&map, flows, &result);
	if (!p->table)
		abort();
}

static void policy_free(struct policy *p)
{
	filter_table_free(p->table);
	free(p->rules);
	free(p->srcs);
	free(p->dsts);
}

static size_t packet_make(const struct policy *p, const struct kind *kind, uint8_t *out)
{
	uint32_t rule = below(p->n_rules), source = kind->v6 ? PER_RULE - 1 : below(PER_RULE - 1);
	const struct warren_dst *dst = &p->dsts[2 * rule + kind->v6];
	const struct craft craft = {
		.from = p->srcs[rule * PER_RULE + source].prefix.addr,
		.to = dst->prefix.addr,
		.protocol = kind->protocol,
		.tcp_flags = kind->tcp_flags,
		.icmp_type = kind->icmp_type,
		.source_port = (uint16_t)below(65536),
		.port = (uint16_t)(kind->refused ? 80 : dst->port_first),
	};

	return craft_packet(&craft, out);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Nanoseconds per packet, the best run: what is measured is the filter, not the neighbours. */
static double measure(const struct policy *p, const struct kind *kind)
{
	static uint8_t packets[PACKETS][PACKET_MAX];
	static size_t lengths[PACKETS];
	uint8_t packet[CRAFT_MAX];
	double best = 1e9;

	for (uint32_t i = 0; i < PACKETS; i++) {
		lengths[i] = packet_make(p, kind, packet);
		memcpy(packets[i], packet, PACKET_MAX);
	}
	for (int run = 0; run < RUNS; run++) {
		double start = seconds();
		uint32_t accepted = 0;

		for (uint32_t i = 0; i < PACKETS; i++)
			accepted += filter_table_decide(p->table, WARREN_PKT_IN, packets[i],
							lengths[i], 1000000) == FILTER_ACCEPTED;
		start = (seconds() - start) / PACKETS * 1e9;
		if (accepted != (kind->refused ? 0 : PACKETS))
			abort();
		best = start < best ? start : best;
	}
	return best;
}

int main(void)
{
	static const struct kind kinds[] = {
		{ "TCP of a connection", .protocol = 6, .tcp_flags = 16 },
		{ "TCP SYN, allowed", .protocol = 6, .tcp_flags = 2 },
		{ "TCP SYN, refused", .protocol = 6, .tcp_flags = 2, .refused = true },
		{ "UDP, allowed by a rule", .protocol = 17 },
		{ "ICMP echo", .protocol = 1, .icmp_type = 8 },
		{ "IPv6 TCP SYN, allowed", .protocol = 6, .tcp_flags = 2, .v6 = true },
		{ "TCP SYN, rules of everybody", .protocol = 6, .tcp_flags = 2, .wide = true },
	};
	struct policy small[2], large[2];
	double start, total[2] = { 0, 0 };
	const int n = sizeof(kinds) / sizeof(kinds[0]);

	for (int i = 0; i < FILTER_FLOW_TABLES; i++)
		filter_flows_init(&flows[i]);
	for (int wide = 0; wide < 2; wide++) {
		policy_make(&small[wide], 10, wide);
		start = seconds();
		policy_make(&large[wide], 2000, wide);
		if (wide)
			continue;
		printf("%-44s %11.1f ms  %zu KiB\n",
		       "filter: compiling 2,000 rules, 14,000 prefixes",
		       (seconds() - start) * 1000, filter_table_bytes(large[0].table) >> 10);
	}
	for (int i = 0; i < n; i++) {
		double few = measure(&small[kinds[i].wide], &kinds[i]);
		double many = measure(&large[kinds[i].wide], &kinds[i]);

		printf("filter: %-36s %11.1f ns  %.1f ns with 10 rules; ratio %.2f\n",
		       kinds[i].name, many, few, many / few);
		total[0] += few;
		total[1] += many;
	}
	printf("filter: %-36s %11.1f ns  %.1f ns with 10 rules; ratio %.2f; aim: below 2\n",
	       "mean of these kinds", total[1] / n, total[0] / n, total[1] / total[0]);
	for (int wide = 0; wide < 2; wide++) {
		policy_free(&small[wide]);
		policy_free(&large[wide]);
	}
	return 0;
}
