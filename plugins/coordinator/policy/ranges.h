/*
 * policy/ranges.h - sets of addresses as sorted ranges
 *
 * Any thread that owns the set.
 */
#ifndef WARREN_COORDINATOR_RANGES_H
#define WARREN_COORDINATOR_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

__extension__ typedef unsigned __int128 ranges_int;
enum { RANGE_TEXT = 96 };

struct range {				/* first and last address; family 0: none */
	uint8_t family;			/* 4, 6 */
	ranges_int lo, hi;
};
struct ranges {
	struct range *at;
	uint32_t n, cap;
	bool failed;			/* memory had run out: it is not whole */
};

struct range range_of_addr(const struct warren_addr *addr);
struct range range_of_prefix(const struct warren_prefix *prefix);
/* An address or a prefix, whose host bits are ignored; false: neither. */
bool range_parse(const char *text, struct range *out);
bool range_overlaps(const struct range *a, const struct range *b);
bool range_inside(const struct range *a, const struct range *b);	/* @a in @b */
bool range_equal(const struct range *a, const struct range *b);
/* An address, a prefix where it is exactly one, else "lo-hi". Returns @out. */
const char *range_format(const struct range *range, char out[RANGE_TEXT]);
/* The same, but an address with its length: "192.0.2.1/32". */
const char *range_format_prefix(const struct range *range, char out[RANGE_TEXT]);

void ranges_free(struct ranges *set);
void ranges_add(struct ranges *set, const struct range *range);
void ranges_add_all(struct ranges *set, const struct ranges *other);
/* Sorted, neighbours and overlaps joined: what the questions below want. */
void ranges_join(struct ranges *set);
void ranges_remove(struct ranges *set, const struct range *hole); /* joined before and after */
bool ranges_overlap(const struct ranges *set, const struct range *range);
bool ranges_contain(const struct ranges *set, const struct range *range);	/* whole */

/* What a node of a tailnet may have as an address: "*" as a source; and the public internet. */
extern const struct range ranges_tailnet[3];
extern const struct range ranges_internet[7];

#endif
