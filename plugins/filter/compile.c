/*
 * Compiles the rules of a network map: each rule's sources, destinations and ports became ranges
 * (collect.c); they are put on axes (axis.c), whose intervals have sets of destination entries as
 * values (set.c).
 */
#include "compile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collect.h"

/*
 * ---- Values of intervals ----
 */

static int64_t any_covers(void *arg, const struct filter_active *active)
{
	(void)arg;
	return active->n > 0;
}

/* Ids of the axis of jailed peers: 2 * bits of the prefix, and 1 more if its peer is jailed. */
static int64_t longest_is_jailed(void *arg, const struct filter_active *active)
{
	(void)arg;
	for (uint32_t word = active->n_bits / 64 + 1; word-- > 0;) {
		if (active->bits[word])
			return (63 - __builtin_clzll(active->bits[word])) & 1;
	}
	return 0;
}

static int64_t entries_value(void *arg, const struct filter_active *active)
{
	struct filter_builder *b = arg;

	return active->n == 0 ? 0 : filter_set_put(&b->sets, active->bits);
}

/* The entries of those rules whose id (see `sources`) is in @active and has a bit of @kinds. */
static int64_t entries_of_rules(struct filter_builder *b, const struct filter_active *active,
				uint64_t kinds, bool *any)
{
	memset(b->scratch, 0, b->sets.n_words * sizeof(*b->scratch));
	*any = false;
	for (uint32_t word = 0; word < active->n_bits / 64 + 1; word++) {
		for (uint64_t left = active->bits[word] & kinds; left; left &= left - 1) {
			uint32_t id = 64 * word + (uint32_t)__builtin_ctzll(left);
			const struct filter_rule *rule = &b->rules[id / 2];

			*any = true;
			for (uint32_t i = 0; i < rule->n_entries; i++) {
				uint32_t entry = rule->first_entry + i;

				b->scratch[entry / 64] |= UINT64_C(1) << (entry % 64);
			}
		}
	}
	return *any ? filter_set_put(&b->sets, b->scratch) : 0;
}

static int64_t source_value(void *arg, const struct filter_active *active)
{
	const uint64_t by_address = UINT64_C(0x5555555555555555);
	struct filter_builder *b = arg;
	int64_t plain, all;
	bool any, cap;

	if (b->n_sources == b->size_sources) {
		uint32_t size = b->size_sources ? 2 * b->size_sources : 16;
		struct filter_source *grown = realloc(b->source, size * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		b->source = grown;
		b->size_sources = size;
	}
	all = entries_of_rules(b, active, ~by_address, &cap);
	if (all >= 0 && cap)
		all = entries_of_rules(b, active, UINT64_MAX, &any);
	plain = all < 0 ? all : entries_of_rules(b, active, by_address, &any);
	if (plain < 0)
		return plain;
	b->source[b->n_sources] = (struct filter_source){
		(uint32_t)(cap ? all : plain), (uint32_t)plain, cap };
	return b->n_sources++;
}

/*
 * ---- Unsigned peers ----
 */

/* Does @range touch an interval of @axis with value 1? */
static bool touches(const struct filter_axis *axis, const struct filter_range *range)
{
	uint32_t low = 0, high = axis->n;

	while (high - low > 1) {	/* the last interval that begins at or before the range */
		uint32_t middle = low + (high - low) / 2;

		if (filter_addr_compare(&axis->wide[middle], &range->first) <= 0)
			low = middle;
		else
			high = middle;
	}
	/* Neighbours differ, so the next interval counts if this one does not. */
	return axis->value[low] == 1 ||
	       (low + 1 < axis->n &&
		filter_addr_compare(&axis->wide[low + 1], &range->last) <= 0);
}

/*
 * Is a peer that only the peer API may talk to, since nobody signed its key, a source of a rule?
 * Then the server is broken or lies, and none of its rules counts (control-protocol.md 8.1).
 */
static bool admits_unsigned(struct filter_builder *b)
{
	struct filter_meaning meaning;
	struct arena arena = ARENA_INIT;
	struct filter_axis axis;
	bool found = b->admits_unsigned;
	int result = filter_meaning_init(&meaning, 1, any_covers, NULL);

	for (int family = 0; family < 2 && !found && !result; family++) {
		const struct filter_ranges *sources = &b->sources[family];

		if (b->unsigned_[family].n == 0)
			continue;
		result = filter_axis_build(&axis, &b->unsigned_[family], true, &meaning, &arena);
		for (uint32_t i = 0; !result && !found && i < sources->n; i++)
			found = sources->at[i].id % 2 == 0 && touches(&axis, &sources->at[i]);
	}
	if (result)
		filter_failed(b, result);
	filter_meaning_free(&meaning);
	arena_free(&arena);
	return found;
}

/*
 * ---- Axes ----
 */

/* Axes of addresses, IPv4 and IPv6. */
static void addresses_build(struct filter_builder *b, struct filter_axis axis[2],
			    const struct filter_ranges ranges[2], struct filter_meaning *meaning)
{
	for (int family = 0; family < 2 && !b->result; family++)
		filter_failed(b, filter_axis_build(&axis[family], &ranges[family], family == 1,
						   meaning, &b->table->arena));
}

/* @meaning is one that nothing else uses. */
static void flags_build(struct filter_builder *b, struct filter_axis axis[2],
			const struct filter_ranges ranges[2], uint32_t n_ids,
			int64_t (*value)(void *, const struct filter_active *))
{
	struct filter_meaning meaning;

	filter_failed(b, filter_meaning_init(&meaning, n_ids, value, b));
	addresses_build(b, axis, ranges, &meaning);
	filter_meaning_free(&meaning);
}

static bool lists(const struct filter_rule *rule, uint8_t protocol)
{
	return rule->protocols[protocol / 64] >> (protocol % 64) & 1;
}

static void ports_build(struct filter_builder *b, struct filter_axis *axis, uint8_t protocol,
			struct filter_meaning *meaning)
{
	b->ports.n = 0;
	for (uint32_t i = 0; i < b->n_entries && !b->result; i++) {
		const struct filter_entry *entry = &b->entries[i];

		if (lists(&b->rules[entry->rule], protocol) && entry->first <= entry->last)
			filter_failed(b, filter_range_add(
				&b->ports, (struct filter_addr){ 0, entry->first },
				(struct filter_addr){ 0, entry->last }, i));
	}
	if (!b->result)
		filter_failed(b, filter_axis_build(axis, &b->ports, false, meaning,
						   &b->table->arena));
}

/* Protocols without ports: the entries that have all ports and list them. */
static void protocols_build(struct filter_builder *b)
{
	uint64_t listed[4] = { 0 };

	for (uint32_t i = 0; i < b->n_rules; i++) {
		for (int word = 0; word < 4; word++)
			listed[word] |= b->rules[i].protocols[word];
	}
	for (uint32_t protocol = 0; protocol < 256 && !b->result; protocol++) {
		int64_t set;

		if (!(listed[protocol / 64] >> (protocol % 64) & 1))
			continue;
		memset(b->scratch, 0, b->sets.n_words * sizeof(*b->scratch));
		for (uint32_t i = 0; i < b->n_entries; i++) {
			const struct filter_entry *entry = &b->entries[i];

			if (entry->first == 0 && entry->last == UINT16_MAX &&
			    lists(&b->rules[entry->rule], (uint8_t)protocol))
				b->scratch[i / 64] |= UINT64_C(1) << (i % 64);
		}
		set = filter_set_put(&b->sets, b->scratch);
		if (set < 0)
			filter_failed(b, (int)set);
		else
			b->table->protocols[protocol] = (uint32_t)set;
	}
}

static void rules_build(struct filter_builder *b)
{
	struct filter_table *table = b->table;
	struct filter_meaning rules, entries;

	filter_set_store_init(&b->sets, b->n_entries);
	b->scratch = filter_alloc(b, NULL, b->sets.n_words, sizeof(*b->scratch));
	filter_failed(b, filter_meaning_init(&rules, 2 * b->n_rules, source_value, b));
	filter_failed(b, filter_meaning_init(&entries, b->n_entries, entries_value, b));
	if (!b->result)		/* the empty set is number 0 */
		filter_failed(b, (int)filter_set_put(&b->sets, b->scratch));
	addresses_build(b, table->sources, b->sources, &rules);
	addresses_build(b, table->destinations, b->destinations, &entries);
	ports_build(b, &table->tcp, FILTER_TCP, &entries);
	ports_build(b, &table->udp, FILTER_UDP, &entries);
	ports_build(b, &table->sctp, FILTER_SCTP, &entries);
	filter_meaning_free(&rules);
	filter_meaning_free(&entries);
	if (!b->result)
		protocols_build(b);
}

/* Moves what grew while it was built into the table, in its size. */
static void table_fill(struct filter_builder *b)
{
	struct filter_table *table = b->table;
	size_t n_blocks = (size_t)b->sets.n_sets * b->sets.n_blocks;
	struct filter_block *blocks = filter_alloc(b, &table->arena, n_blocks, sizeof(*blocks));
	uint64_t *words = filter_alloc(b, &table->arena, b->sets.n_stored, sizeof(*words));
	struct filter_source *source = filter_alloc(b, &table->arena, b->n_sources,
						    sizeof(*source));

	if (b->result)
		return;
	memcpy(blocks, b->sets.blocks, n_blocks * sizeof(*blocks));
	if (b->sets.n_stored > 0)
		memcpy(words, b->sets.words, b->sets.n_stored * sizeof(*words));
	memcpy(source, b->source, b->n_sources * sizeof(*source));
	table->sets = (struct filter_sets){ b->sets.n_blocks, blocks, words };
	table->source = source;
}

static void build(struct filter_builder *b)
{
	struct filter_table *table = b->table;

	if (b->map->self && b->map->self->shields_up)
		table->state = FILTER_SHIELDS_UP;
	else
		b->n_rules = b->map->n_filter;
	filter_collect(b);
	if (!b->result && admits_unsigned(b)) {
		table->state = FILTER_DISCARDED;
		for (int family = 0; family < 2; family++)
			b->sources[family].n = b->destinations[family].n = 0;
		b->n_rules = b->n_entries = 0;
	}
	table->n_rules = b->n_rules;
	flags_build(b, table->local, b->local, 1, any_covers);
	if (table->any_jailed)
		flags_build(b, table->jailed, b->jailed, 2 * 129, longest_is_jailed);
	if (!b->result)
		rules_build(b);
	if (!b->result)
		table_fill(b);
}

static void builder_free(struct filter_builder *b)
{
	for (int family = 0; family < 2; family++) {
		filter_ranges_free(&b->local[family]);
		filter_ranges_free(&b->jailed[family]);
		filter_ranges_free(&b->unsigned_[family]);
		filter_ranges_free(&b->sources[family]);
		filter_ranges_free(&b->destinations[family]);
	}
	filter_ranges_free(&b->ports);
	filter_set_store_free(&b->sets);
	free(b->rules);
	free(b->entries);
	free(b->grantees);
	free(b->scratch);
	free(b->source);
}

struct filter_table *filter_table_new(const struct warren_netmap *map, struct filter_flows *flows,
				      int *result)
{
	return filter_table_new_on(map, NULL, flows, result);
}

struct filter_table *filter_table_new_on(const struct warren_netmap *map,
					 const struct filter_host *host,
					 struct filter_flows *flows, int *result)
{
	struct filter_builder b = { .map = map, .host = host,
				    .table = calloc(1, sizeof(*b.table)) };

	*result = b.table ? 0 : -ENOMEM;
	if (!b.table)
		return NULL;
	b.table->flows = flows;
	b.table->accept_all = map->builtin_policy == WARREN_POLICY_ALLOWED_IPS;
	if (!b.table->accept_all)
		build(&b);
	builder_free(&b);
	b.table->bytes = sizeof(*b.table) + b.table->arena.total;
	*result = b.result;
	if (!b.result)
		return b.table;
	filter_table_free(b.table);
	return NULL;
}

void filter_table_free(void *table)
{
	struct filter_table *t = table;

	if (!t)
		return;
	arena_free(&t->arena);
	free(t);
}
