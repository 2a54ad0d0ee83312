/*
 * Axes: numbers (addresses, ports) cut into intervals, each with a value.
 *
 * Built by a sweep over the ends of all ranges: what covers a place changes at ends only. Read by
 * a binary search without branches, so that the searches of a packet, and of the packets after it,
 * overlap in the processor: its cost hardly grows with the axis.
 */
#ifndef FILTER_AXIS_H
#define FILTER_AXIS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/hash.h"
#include "packet.h"

struct filter_axis {
	uint32_t n;			/* intervals, at least one */
	const uint32_t *narrow;		/* where each begins; the first at 0. Ports, IPv4 */
	const struct filter_addr *wide;	/* or IPv6 */
	const uint32_t *value;
};

static inline uint32_t filter_axis_narrow(const struct filter_axis *axis, uint32_t key)
{
	const uint32_t *at = axis->narrow;

	for (uint32_t n = axis->n; n > 1;) {
		uint32_t half = n / 2;

		at += half & -(uint32_t)(at[half] <= key);
		n -= half;
	}
	return axis->value[at - axis->narrow];
}

static inline uint32_t filter_axis_wide(const struct filter_axis *axis,
					const struct filter_addr *key)
{
	const struct filter_addr *at = axis->wide;

	for (uint32_t n = axis->n; n > 1;) {
		uint32_t half = n / 2;
		bool below = (at[half].high < key->high) |
			     ((at[half].high == key->high) & (at[half].low <= key->low));

		at += half & -(uint32_t)below;
		n -= half;
	}
	return axis->value[at - axis->wide];
}

/* Of a pair of axes, IPv4 and IPv6. */
static inline uint32_t filter_axis_find(const struct filter_axis axis[2], uint8_t version,
					const struct filter_addr *addr)
{
	if (version == 4)
		return filter_axis_narrow(&axis[0], (uint32_t)addr->low);
	return filter_axis_wide(&axis[1], addr);
}

/*
 * ---- Building ----
 */

enum { FILTER_RANGES = 1 << 20 };	/* on one axis */

struct filter_range {
	struct filter_addr first, last;
	uint32_t id;
};

struct filter_ranges {			/* zeroed: none */
	struct filter_range *at;
	uint32_t n, size;
};

/* 0, -ENOMEM or -E2BIG: FILTER_RANGES. */
int filter_range_add(struct filter_ranges *ranges, struct filter_addr first,
		     struct filter_addr last, uint32_t id);
void filter_ranges_free(struct filter_ranges *ranges);

struct filter_active {			/* the ids that cover a place */
	const uint64_t *bits;
	uint32_t n_bits;		/* ids are below */
	uint32_t n;			/* how many are set */
};

/*
 * What axes have in common whose ids mean the same. Sets of ids are told apart by a name: the xor
 * of a random 128-bit number per id. That two sets of a million share one has a chance of 2^-88.
 */
struct filter_meaning {
	/* The value of a set of ids; asked once per set. Negative: -errno. */
	int64_t (*value)(void *arg, const struct filter_active *active);
	void *arg;
	uint32_t n_ids;
	struct filter_addr *names;	/* of ids */
	struct hash known;		/* name of a set -> its value */
	struct arena arena;
};

/* 0 or -ENOMEM; filter_meaning_free() in either case. */
int filter_meaning_init(struct filter_meaning *meaning, uint32_t n_ids,
			int64_t (*value)(void *, const struct filter_active *), void *arg);
void filter_meaning_free(struct filter_meaning *meaning);

/* Makes @axis in @arena, @wide or for numbers of 32 bits. 0, -ENOMEM or what @meaning said. */
int filter_axis_build(struct filter_axis *axis, const struct filter_ranges *ranges, bool wide,
		      struct filter_meaning *meaning, struct arena *arena);

int filter_addr_compare(const struct filter_addr *a, const struct filter_addr *b);

#endif
