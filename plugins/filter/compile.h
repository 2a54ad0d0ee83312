/*
 * What a compiled policy consists of; table.c reads it, compile.c writes it.
 */
#ifndef FILTER_COMPILE_H
#define FILTER_COMPILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "packet.h"

struct filter_list {			/* sorted, at items[start] */
	uint32_t start, n;
};

struct filter_axis {			/* intervals of one family, sorted */
	uint32_t n;
	const struct filter_addr *first;	/* of each interval; the next one ends it */
	const uint32_t *list;		/* of each interval: index in `lists` */
	const struct filter_list *lists;
};

struct filter_entry {			/* a destination of a rule */
	uint32_t rule;
	uint16_t first, last;		/* ports */
};

struct filter_protocols {		/* of a rule */
	uint64_t bits[4];
};

struct filter_table {
	struct filter_flows *flows;
	bool accept_all;		/* the map selects the data plane's built-in policy */
	uint32_t n_rules;
	size_t bytes;
	struct filter_axis local[2], sources[2], destinations[2];	/* IPv4, IPv6 */
	const struct filter_protocols *protocols;	/* by rule */
	const struct filter_entry *entries;
	const uint32_t *items;		/* rules, entries: see the axes' lists */
	struct arena arena;
};

int filter_addr_compare(const struct filter_addr *a, const struct filter_addr *b);

#endif
