/*
 * Compiles the rules of a network map.
 *
 * An axis is made by a sweep: the ends of all ranges, sorted, cut the addresses into intervals; the
 * set of ids that cover an interval changes at its ends only. Each interval gets the sorted list of
 * its ids. Lists are stored once: a policy of thousands of rules has few different ones.
 *
 * Sources that are capabilities (`cap:`) match nobody, so a rule of them alone allows nothing.
 */
#include "compile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/util.h"
#include "table.h"

struct range {
	struct filter_addr first, last;
	uint32_t id;
};

struct ranges {				/* of one family on one axis */
	struct range *at;
	uint32_t n, size;
};

struct end {				/* where a range begins, or the address after its end */
	struct filter_addr at;
	uint32_t id;
	bool begins;
};

struct builder {
	struct filter_table *table;
	struct ranges local[2], sources[2], destinations[2];
	struct filter_entry *entries;
	uint32_t n_entries;
	uint32_t *items;		/* grows */
	uint32_t n_items, size_items;
	int result;
};

static const struct filter_addr no_address, all_v4 = { 0, UINT32_MAX },
	all_v6 = { UINT64_MAX, UINT64_MAX };

static void *build_alloc(struct builder *b, size_t n, size_t size)
{
	size_t bytes;
	void *memory = NULL;

	if (size_mul(n ? n : 1, size, &bytes))
		memory = arena_alloc(&b->table->arena, bytes);
	if (!memory)
		b->result = -ENOMEM;
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

static struct filter_addr number_of(const struct warren_addr *addr)
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
static struct filter_addr host_mask(uint8_t family, uint8_t bits)
{
	struct filter_addr out = { 0, 0 };
	unsigned int open = (family == 4 ? 32u : 128u) - bits;

	out.low = open >= 64 ? UINT64_MAX : (UINT64_C(1) << open) - 1;
	if (open > 64)
		out.high = open >= 128 ? UINT64_MAX : (UINT64_C(1) << (open - 64)) - 1;
	return out;
}

static void range_add(struct builder *b, struct ranges *ranges, struct filter_addr first,
		      struct filter_addr last, uint32_t id)
{
	if (ranges->n == ranges->size) {
		uint32_t size = ranges->size ? 2 * ranges->size : 16;
		struct range *grown = NULL;

		if (size <= FILTER_LIST_ITEMS)
			grown = realloc(ranges->at, size * sizeof(*grown));
		else
			b->result = -E2BIG;
		if (!grown) {
			b->result = b->result ? b->result : -ENOMEM;
			return;
		}
		ranges->at = grown;
		ranges->size = size;
	}
	ranges->at[ranges->n++] = (struct range){ first, last, id };
}

static void prefix_add(struct builder *b, struct ranges axis[2], const struct warren_prefix *prefix,
		       uint32_t id)
{
	struct filter_addr mask, first, last;

	if ((prefix->addr.family != 4 && prefix->addr.family != 6) ||
	    prefix->bits > (prefix->addr.family == 4 ? 32 : 128))
		return;
	mask = host_mask(prefix->addr.family, prefix->bits);
	first = number_of(&prefix->addr);
	first.high &= ~mask.high;
	first.low &= ~mask.low;
	last = (struct filter_addr){ first.high | mask.high, first.low | mask.low };
	range_add(b, &axis[prefix->addr.family == 6], first, last, id);
}

/* What a source or a destination means; an entry that makes no sense matches nothing. */
static void kind_add(struct builder *b, struct ranges axis[2], uint8_t kind,
		     const struct warren_prefix *prefix, const struct warren_addr *from,
		     const struct warren_addr *to, uint32_t id)
{
	struct filter_addr first, last;

	switch (kind) {
	case WARREN_SRC_PREFIX:
		prefix_add(b, axis, prefix, id);
		break;
	case WARREN_SRC_RANGE:
		first = number_of(from);
		last = number_of(to);
		if (from->family == to->family && (from->family == 4 || from->family == 6) &&
		    filter_addr_compare(&first, &last) <= 0)
			range_add(b, &axis[from->family == 6], first, last, id);
		break;
	case WARREN_SRC_ANY:
		range_add(b, &axis[0], no_address, all_v4, id);
		range_add(b, &axis[1], no_address, all_v6, id);
		break;
	default:
		break;
	}
}

/*
 * ---- Axes ----
 */

static int by_address(const void *a, const void *b)
{
	return filter_addr_compare(&((const struct end *)a)->at, &((const struct end *)b)->at);
}

/* The ends of @ranges, sorted. A range that reaches the last address has no end. */
static struct end *ends_of(const struct ranges *ranges, const struct filter_addr *highest,
			   uint32_t *n)
{
	struct end *ends = calloc(2 * (size_t)ranges->n + 1, sizeof(*ends));

	*n = 0;
	if (!ends)
		return NULL;
	for (uint32_t i = 0; i < ranges->n; i++) {
		const struct range *range = &ranges->at[i];
		struct filter_addr after = range->last;

		ends[(*n)++] = (struct end){ range->first, range->id, true };
		if (filter_addr_compare(&after, highest) == 0)
			continue;
		after.low++;
		after.high += after.low == 0;
		ends[(*n)++] = (struct end){ after, range->id, false };
	}
	qsort(ends, *n, sizeof(*ends), by_address);
	return ends;
}

struct sweep {
	uint32_t *covering;		/* by id: how many ranges of it cover the place */
	uint32_t *active;		/* ids that cover it, sorted */
	uint32_t n_active;
	struct hash known;		/* list's bytes -> 1 + its index */
	struct filter_list *lists;
	uint32_t n_lists, size_lists;
};

/* Where @id is in the sorted list, or belongs. */
static uint32_t active_at(const struct sweep *s, uint32_t id)
{
	uint32_t low = 0, high = s->n_active;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (s->active[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void sweep_step(struct sweep *s, const struct end *end)
{
	uint32_t at = active_at(s, end->id);

	if (end->begins) {
		if (s->covering[end->id]++ > 0)
			return;
		memmove(s->active + at + 1, s->active + at,
			(s->n_active - at) * sizeof(*s->active));
		s->active[at] = end->id;
		s->n_active++;
	} else if (--s->covering[end->id] == 0) {
		s->n_active--;
		memmove(s->active + at, s->active + at + 1,
			(s->n_active - at) * sizeof(*s->active));
	}
}

static bool items_room(struct builder *b, uint32_t n)
{
	uint32_t size = b->size_items ? b->size_items : 64;
	uint32_t *grown;

	if (n > FILTER_LIST_ITEMS - b->n_items) {
		b->result = -E2BIG;
		return false;
	}
	while (size < b->n_items + n)
		size *= 2;
	if (size == b->size_items)
		return true;
	grown = realloc(b->items, size * sizeof(*grown));
	if (!grown) {
		b->result = -ENOMEM;
		return false;
	}
	b->items = grown;
	b->size_items = size;
	return true;
}

/* The number of the list that equals the active ids; stores it if it is a new one. */
static uint32_t list_of(struct builder *b, struct sweep *s)
{
	size_t bytes = s->n_active * sizeof(*s->active);
	uintptr_t known = (uintptr_t)hash_get(&s->known, s->active, bytes);
	struct filter_list *list;
	void *key;

	if (known)
		return (uint32_t)known - 1;
	if (!items_room(b, s->n_active))
		return 0;
	if (s->n_lists == s->size_lists) {
		uint32_t size = s->size_lists ? 2 * s->size_lists : 16;
		struct filter_list *grown = realloc(s->lists, size * sizeof(*grown));

		if (!grown) {
			b->result = -ENOMEM;
			return 0;
		}
		s->lists = grown;
		s->size_lists = size;
	}
	list = &s->lists[s->n_lists];
	list->start = b->n_items;
	list->n = s->n_active;
	memcpy(b->items + list->start, s->active, bytes);
	b->n_items += s->n_active;
	/* The items move as they grow, so the map's key is a copy. */
	key = malloc(bytes ? bytes : 1);
	if (!key || hash_put(&s->known, memcpy(key, s->active, bytes), bytes,
			     (void *)((uintptr_t)s->n_lists + 1), NULL)) {
		free(key);
		b->result = -ENOMEM;
		return 0;
	}
	return s->n_lists++;
}

static void sweep_free(struct sweep *s)
{
	for (uint32_t i = 0; i < s->known.capacity; i++)
		free((void *)(uintptr_t)s->known.slots[i].key);
	hash_free(&s->known);
	free(s->covering);
	free(s->active);
	free(s->lists);
}

static void sweep_run(struct builder *b, struct sweep *s, const struct end *ends, uint32_t n,
		      struct filter_axis *axis)
{
	struct filter_addr *first = build_alloc(b, n, sizeof(*first));
	uint32_t *list = build_alloc(b, n, sizeof(*list));
	struct filter_list *lists;

	for (uint32_t i = 0; i < n && !b->result; ) {
		struct filter_addr at = ends[i].at;
		uint32_t number;

		for (; i < n && filter_addr_compare(&ends[i].at, &at) == 0; i++)
			sweep_step(s, &ends[i]);
		number = list_of(b, s);
		if (axis->n > 0 && list[axis->n - 1] == number)
			continue;
		first[axis->n] = at;
		list[axis->n++] = number;
	}
	lists = build_alloc(b, s->n_lists, sizeof(*lists));
	if (b->result)
		return;
	if (s->n_lists > 0)
		memcpy(lists, s->lists, s->n_lists * sizeof(*lists));
	axis->first = first;
	axis->list = list;
	axis->lists = lists;
}

/* Makes the axis of @ranges, whose ids are below @ids. */
static void axis_build(struct builder *b, const struct ranges *ranges, uint32_t ids,
		       const struct filter_addr *highest, struct filter_axis *axis)
{
	struct sweep s = { .covering = calloc((size_t)ids + 1, sizeof(uint32_t)),
			   .active = calloc((size_t)ids + 1, sizeof(uint32_t)) };
	uint32_t n = 0;
	struct end *ends = ends_of(ranges, highest, &n);

	hash_init(&s.known);
	if (!s.covering || !s.active || !ends)
		b->result = -ENOMEM;
	else if (!b->result)
		sweep_run(b, &s, ends, n, axis);
	sweep_free(&s);
	free(ends);
}

/*
 * ---- Rules ----
 */

static void protocols_fill(struct filter_protocols *out, const struct warren_filter_rule *rule)
{
	/* control-protocol.md 8.1: what an absent list means. */
	static const uint8_t usual[] = { FILTER_TCP, FILTER_UDP, FILTER_ICMP, FILTER_ICMP6 };
	const uint8_t *list = rule->n_protocols ? rule->protocols : usual;
	uint32_t n = rule->n_protocols ? rule->n_protocols : ARRAY_SIZE(usual);

	for (uint32_t i = 0; i < n; i++)
		out->bits[list[i] / 64] |= UINT64_C(1) << (list[i] % 64);
}

static void rules_collect(struct builder *b, const struct warren_netmap *map)
{
	struct filter_protocols *protocols = build_alloc(b, map->n_filter, sizeof(*protocols));
	size_t total = 0;

	for (uint32_t i = 0; i < map->n_filter; i++)
		total += map->filter[i].n_dsts;
	b->entries = total <= FILTER_LIST_ITEMS ? build_alloc(b, total, sizeof(*b->entries)) : NULL;
	if (!protocols || !b->entries) {
		b->result = b->result ? b->result : -E2BIG;
		return;
	}
	for (uint32_t i = 0; i < map->n_filter && !b->result; i++) {
		const struct warren_filter_rule *rule = &map->filter[i];

		protocols_fill(&protocols[i], rule);
		for (uint32_t k = 0; k < rule->n_srcs; k++)
			kind_add(b, b->sources, rule->srcs[k].kind, &rule->srcs[k].prefix,
				 &rule->srcs[k].first, &rule->srcs[k].last, i);
		for (uint32_t k = 0; k < rule->n_dsts; k++) {
			const struct warren_dst *dst = &rule->dsts[k];

			b->entries[b->n_entries] = (struct filter_entry){
				i, dst->port_first, dst->port_last };
			kind_add(b, b->destinations, dst->kind, &dst->prefix, &dst->first,
				 &dst->last, b->n_entries++);
		}
	}
	b->table->protocols = protocols;
	b->table->entries = b->entries;
	b->table->n_rules = map->n_filter;
}

/* Own addresses and what this node serves for others: control-protocol.md 8.1. */
static void local_collect(struct builder *b, const struct warren_netmap *map)
{
	const struct warren_node *self = map->self;

	for (uint32_t i = 0; self && i < self->n_addresses; i++)
		prefix_add(b, b->local, &self->addresses[i], 0);
	for (uint32_t i = 0; self && i < self->n_allowed_ips; i++)
		prefix_add(b, b->local, &self->allowed_ips[i], 0);
}

static void build(struct builder *b, const struct warren_netmap *map)
{
	struct filter_table *table = b->table;
	uint32_t *items;

	rules_collect(b, map);
	local_collect(b, map);
	for (int family = 0; family < 2 && !b->result; family++) {
		const struct filter_addr *highest = family ? &all_v6 : &all_v4;

		axis_build(b, &b->local[family], 1, highest, &table->local[family]);
		axis_build(b, &b->sources[family], map->n_filter, highest, &table->sources[family]);
		axis_build(b, &b->destinations[family], b->n_entries, highest,
			   &table->destinations[family]);
	}
	items = build_alloc(b, b->n_items, sizeof(*items));
	if (b->result)
		return;
	if (b->n_items > 0)
		memcpy(items, b->items, b->n_items * sizeof(*items));
	table->items = items;
}

struct filter_table *filter_table_new(const struct warren_netmap *map, struct filter_flows *flows,
				      int *result)
{
	struct builder b = { .table = calloc(1, sizeof(*b.table)) };

	*result = b.table ? 0 : -ENOMEM;
	if (!b.table)
		return NULL;
	b.table->flows = flows;
	b.table->accept_all = map->builtin_policy == WARREN_POLICY_ALLOWED_IPS;
	if (!b.table->accept_all)
		build(&b, map);
	for (int family = 0; family < 2; family++) {
		free(b.local[family].at);
		free(b.sources[family].at);
		free(b.destinations[family].at);
	}
	free(b.items);
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
