/*
 * Between a network map and a table: what collect.c takes from the one and compile.c makes the
 * other of. One job has one builder.
 */
#ifndef FILTER_COLLECT_H
#define FILTER_COLLECT_H

#include "compile.h"

struct filter_entry {				/* a destination of a rule */
	uint32_t rule;
	uint16_t first, last;		/* ports */
};

struct filter_rule {
	uint32_t first_entry, n_entries;
	uint64_t protocols[4];
};

struct filter_grantee {			/* a rule with a capability among its sources */
	const char *cap;
	uint32_t rule;
};

struct filter_builder {
	const struct warren_netmap *map;
	const struct filter_host *host;		/* NULL: it has no networks */
	struct filter_table *table;
	struct filter_ranges local[2], jailed[2], unsigned_[2];
	struct filter_ranges sources[2];	/* ids: 2 * rule, and 1 more if by a capability */
	struct filter_ranges destinations[2];	/* ids: entries */
	struct filter_ranges ports;
	struct filter_rule *rules;
	uint32_t n_rules;
	struct filter_entry *entries;
	uint32_t n_entries;
	struct filter_grantee *grantees;	/* sorted by capability */
	uint32_t n_grantees;
	struct filter_set_store sets;
	uint64_t *scratch;		/* a set that is written out */
	struct filter_source *source;
	uint32_t n_sources, size_sources;
	bool admits_unsigned;
	int result;			/* the first thing that failed */
};

/* Remembers the first failure; 0 is none. */
void filter_failed(struct filter_builder *b, int result);
/* Zeroed memory of the table, or (@arena NULL) that the caller frees. NULL is remembered. */
void *filter_alloc(struct filter_builder *b, struct arena *arena, size_t n, size_t size);
/* Fills the ranges, rules and entries of @b from the first `n_rules` rules of its map. */
void filter_collect(struct filter_builder *b);

/*
 * ---- Between collect.c and local.c ----
 */

struct filter_addr filter_number_of(const struct warren_addr *addr);
/* The bits that a prefix of @bits leaves open. */
struct filter_addr filter_host_mask(uint8_t family, uint8_t bits);
void filter_collect_range(struct filter_builder *b, struct filter_ranges *ranges,
			  struct filter_addr first, struct filter_addr last, uint32_t id);
void filter_collect_prefix(struct filter_builder *b, struct filter_ranges axis[2],
			   const struct warren_prefix *prefix, uint32_t id);
/* Fills `local`. */
void filter_local_collect(struct filter_builder *b);

#endif
