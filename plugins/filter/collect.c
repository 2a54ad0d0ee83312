/*
 * Collects what the filter needs from a network map, as ranges of addresses.
 *
 * What needs the peers is written out here, so that the hot path knows none: `cap:` sources become
 * the own addresses of the peers that have the capability, jailed peers a list of their own.
 */
#include "collect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static const struct filter_addr no_address, all_v4 = { 0, UINT32_MAX },
	all_v6 = { UINT64_MAX, UINT64_MAX };

void filter_failed(struct filter_builder *b, int result)
{
	if (!b->result)
		b->result = result;
}

void *filter_alloc(struct filter_builder *b, struct arena *arena, size_t n, size_t size)
{
	size_t bytes;
	void *memory = NULL;

	if (size_mul(n ? n : 1, size, &bytes))
		memory = arena ? arena_alloc(arena, bytes) : calloc(1, bytes);
	if (!memory)
		filter_failed(b, -ENOMEM);
	return memory;
}

/*
 * ---- Ranges ----
 */

static uint64_t be64(const uint8_t *bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | bytes[i];
	return v;
}

struct filter_addr filter_number_of(const struct warren_addr *addr)
{
	struct filter_addr out = { 0, 0 };

	if (addr->family == 4) {
		out.low = be64(addr->bytes) >> 32;
	} else {
		out.high = be64(addr->bytes);
		out.low = be64(addr->bytes + 8);
	}
	return out;
}

/* Bits that @bits of a prefix of @width leave open. */
struct filter_addr filter_host_mask(uint8_t family, uint8_t bits)
{
	struct filter_addr out = { 0, 0 };
	unsigned int open = (family == 4 ? 32u : 128u) - bits;

	out.low = open >= 64 ? UINT64_MAX : (UINT64_C(1) << open) - 1;
	if (open > 64)
		out.high = open >= 128 ? UINT64_MAX : (UINT64_C(1) << (open - 64)) - 1;
	return out;
}

static bool is_family(uint8_t family)
{
	return family == 4 || family == 6;
}

void filter_collect_range(struct filter_builder *b, struct filter_ranges *ranges,
			  struct filter_addr first, struct filter_addr last, uint32_t id)
{
	filter_failed(b, filter_range_add(ranges, first, last, id));
}

void filter_collect_prefix(struct filter_builder *b, struct filter_ranges axis[2],
			   const struct warren_prefix *prefix, uint32_t id)
{
	struct filter_addr mask, first, last;

	if (!is_family(prefix->addr.family) ||
	    prefix->bits > (prefix->addr.family == 4 ? 32 : 128))
		return;
	mask = filter_host_mask(prefix->addr.family, prefix->bits);
	first = filter_number_of(&prefix->addr);
	first.high &= ~mask.high;
	first.low &= ~mask.low;
	last = (struct filter_addr){ first.high | mask.high, first.low | mask.low };
	filter_collect_range(b, &axis[prefix->addr.family == 6], first, last, id);
}

/* What a source or a destination means; an entry that makes no sense matches nothing. */
static void kind_add(struct filter_builder *b, struct filter_ranges axis[2], uint8_t kind,
		     const struct warren_prefix *prefix, const struct warren_addr *from,
		     const struct warren_addr *to, uint32_t id)
{
	struct filter_addr first, last;

	switch (kind) {
	case WARREN_SRC_PREFIX:
		filter_collect_prefix(b, axis, prefix, id);
		break;
	case WARREN_SRC_RANGE:
		first = filter_number_of(from);
		last = filter_number_of(to);
		if (from->family == to->family && is_family(from->family) &&
		    filter_addr_compare(&first, &last) <= 0)
			filter_collect_range(b, &axis[from->family == 6], first, last, id);
		break;
	case WARREN_SRC_ANY:
		filter_collect_range(b, &axis[0], no_address, all_v4, id);
		filter_collect_range(b, &axis[1], no_address, all_v6, id);
		break;
	default:
		break;
	}
}

/*
 * ---- Rules ----
 */

static void protocols_fill(struct filter_rule *out, const struct warren_filter_rule *rule)
{
	/* control-protocol.md 8.1: what an absent list means. */
	static const uint8_t usual[] = { FILTER_TCP, FILTER_UDP, FILTER_ICMP, FILTER_ICMP6 };
	const uint8_t *list = rule->n_protocols ? rule->protocols : usual;
	uint32_t n = rule->n_protocols ? rule->n_protocols : ARRAY_SIZE(usual);

	for (uint32_t i = 0; i < n; i++)
		out->protocols[list[i] / 64] |= UINT64_C(1) << (list[i] % 64);
}

static void rule_collect(struct filter_builder *b, uint32_t number)
{
	const struct warren_filter_rule *rule = &b->map->filter[number];
	struct filter_rule *out = &b->rules[number];

	out->first_entry = b->n_entries;
	out->n_entries = rule->n_dsts;
	protocols_fill(out, rule);
	/* Without destinations it grants rights to applications and admits no packet. */
	for (uint32_t i = 0; rule->n_dsts > 0 && i < rule->n_srcs; i++) {
		const struct warren_src *src = &rule->srcs[i];

		if (src->kind == WARREN_SRC_CAP && src->cap)
			b->grantees[b->n_grantees++] = (struct filter_grantee){ src->cap, number };
		else
			kind_add(b, b->sources, src->kind, &src->prefix, &src->first, &src->last,
				 2 * number);
	}
	for (uint32_t i = 0; i < rule->n_dsts; i++) {
		const struct warren_dst *dst = &rule->dsts[i];

		b->entries[b->n_entries] = (struct filter_entry){ number, dst->port_first,
							   dst->port_last };
		kind_add(b, b->destinations, dst->kind, &dst->prefix, &dst->first, &dst->last,
			 b->n_entries++);
	}
}

static int by_cap(const void *a, const void *b)
{
	const struct filter_grantee *one = a, *other = b;

	return strcmp(one->cap, other->cap);
}

static void rules_collect(struct filter_builder *b)
{
	size_t n_entries = 0, n_caps = 0;

	for (uint32_t i = 0; i < b->n_rules; i++) {
		const struct warren_filter_rule *rule = &b->map->filter[i];

		n_entries += rule->n_dsts;
		for (uint32_t k = 0; k < rule->n_srcs; k++)
			n_caps += rule->srcs[k].kind == WARREN_SRC_CAP;
	}
	if (n_entries > FILTER_ENTRIES || b->n_rules > FILTER_ENTRIES) {
		filter_failed(b, -E2BIG);
		return;
	}
	b->rules = filter_alloc(b, NULL, b->n_rules, sizeof(*b->rules));
	b->entries = filter_alloc(b, NULL, n_entries, sizeof(*b->entries));
	b->grantees = filter_alloc(b, NULL, n_caps, sizeof(*b->grantees));
	for (uint32_t i = 0; i < b->n_rules && !b->result; i++)
		rule_collect(b, i);
	if (!b->result)
		qsort(b->grantees, b->n_grantees, sizeof(*b->grantees), by_cap);
}

/*
 * ---- Peers ----
 */

/* Its own addresses are sources of the rules that name @cap. */
static void grant(struct filter_builder *b, const struct warren_node *peer, const char *cap)
{
	uint32_t low = 0, high = b->n_grantees;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (strcmp(b->grantees[middle].cap, cap) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < b->n_grantees && !strcmp(b->grantees[low].cap, cap); low++) {
		b->admits_unsigned |= peer->unsigned_peerapi_only && peer->n_addresses > 0;
		for (uint32_t i = 0; i < peer->n_addresses; i++)
			filter_collect_prefix(b, b->sources, &peer->addresses[i],
				   2 * b->grantees[low].rule + 1);
	}
}

static void peers_collect(struct filter_builder *b)
{
	const struct warren_netmap *map = b->map;

	for (uint32_t i = 0; i < map->n_peers && !b->result; i++) {
		const struct warren_node *peer = map->peers[i];

		b->table->any_jailed |= peer->jailed;
		for (uint32_t k = 0; b->n_grantees > 0 && k < peer->n_caps; k++)
			grant(b, peer, peer->caps[k].name);
		for (uint32_t k = 0; peer->unsigned_peerapi_only && k < peer->n_allowed_ips; k++)
			filter_collect_prefix(b, b->unsigned_, &peer->allowed_ips[k], 0);
		for (uint32_t k = 0; peer->unsigned_peerapi_only && k < peer->n_addresses; k++)
			filter_collect_prefix(b, b->unsigned_, &peer->addresses[k], 0);
	}
	/* Which peer a packet is of is what the longest prefix says, so all of them count. */
	for (uint32_t i = 0; b->table->any_jailed && i < map->n_peers && !b->result; i++) {
		const struct warren_node *peer = map->peers[i];

		for (uint32_t k = 0; k < peer->n_allowed_ips; k++)
			filter_collect_prefix(b, b->jailed, &peer->allowed_ips[k],
				   2 * peer->allowed_ips[k].bits + peer->jailed);
	}
}

void filter_collect(struct filter_builder *b)
{
	rules_collect(b);
	if (!b->result)
		peers_collect(b);
	filter_local_collect(b);
}
