/*
 * Sets of addresses. 128-bit numbers; those of IPv4 use the lower 32 bits.
 */
#include "ranges.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"

#define V4(a, b, c, d) ((ranges_int)((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d)))
#define V6(hi, lo) ((ranges_int)(hi) << 64 | (ranges_int)(lo))

/* coordinator.md 2.2: 100.64.0.0/10 without 100.115.92.0/23, which ChromeOS uses itself. */
const struct range ranges_tailnet[3] = {
	{ 4, V4(100, 64, 0, 0), V4(100, 115, 91, 255) },
	{ 4, V4(100, 115, 94, 0), V4(100, 127, 255, 255) },
	{ 6, V6(0xfd7a115ca1e00000, 0), V6(0xfd7a115ca1e0ffff, UINT64_MAX) },
};

/* All but RFC 1918, 100.64.0.0/10 and 169.254.0.0/16; 2000::/3. */
const struct range ranges_internet[7] = {
	{ 4, 0, V4(9, 255, 255, 255) },
	{ 4, V4(11, 0, 0, 0), V4(100, 63, 255, 255) },
	{ 4, V4(100, 128, 0, 0), V4(169, 253, 255, 255) },
	{ 4, V4(169, 255, 0, 0), V4(172, 15, 255, 255) },
	{ 4, V4(172, 32, 0, 0), V4(192, 167, 255, 255) },
	{ 4, V4(192, 169, 0, 0), V4(255, 255, 255, 255) },
	{ 6, V6(0x2000000000000000, 0), V6(0x3fffffffffffffff, UINT64_MAX) },
};

static ranges_int number(const struct warren_addr *addr)
{
	ranges_int n = 0;

	for (size_t i = 0; i < addr_size(addr); i++)
		n = n << 8 | addr->bytes[i];
	return n;
}

static struct warren_addr address(uint8_t family, ranges_int n)
{
	struct warren_addr addr = { .family = family };

	for (size_t i = addr_size(&addr); i-- > 0; n >>= 8)
		addr.bytes[i] = (uint8_t)n;
	return addr;
}

struct range range_of_addr(const struct warren_addr *addr)
{
	ranges_int n = number(addr);

	return (struct range){ .family = addr->family, .lo = n, .hi = n };
}

struct range range_of_prefix(const struct warren_prefix *prefix)
{
	uint32_t bits = (uint32_t)addr_size(&prefix->addr) * 8 - prefix->bits;
	ranges_int mask = bits == 128 ? ~(ranges_int)0 : ((ranges_int)1 << bits) - 1;
	ranges_int n = number(&prefix->addr);

	return (struct range){ prefix->addr.family, n & ~mask, n | mask };
}

bool range_parse(const char *text, struct range *out)
{
	struct warren_prefix prefix;

	if (prefix_parse(text, &prefix))
		return false;
	*out = range_of_prefix(&prefix);
	return true;
}

bool range_overlaps(const struct range *a, const struct range *b)
{
	return a->family == b->family && a->lo <= b->hi && b->lo <= a->hi;
}

bool range_inside(const struct range *a, const struct range *b)
{
	return a->family == b->family && a->lo >= b->lo && a->hi <= b->hi;
}

bool range_equal(const struct range *a, const struct range *b)
{
	return a->family == b->family && a->lo == b->lo && a->hi == b->hi;
}

/* The length of the prefix that it is; -1: it is none. */
static int prefix_bits(const struct range *range)
{
	ranges_int size = range->hi - range->lo;	/* less one */
	int bits = range->family == 4 ? 32 : 128;

	if ((size & (size + 1)) != 0 || (range->lo & size) != 0)
		return -1;
	for (; size > 0; size >>= 1)
		bits--;
	return bits;
}

static const char *format(const struct range *range, bool always, char out[RANGE_TEXT])
{
	int bits = prefix_bits(range);
	char lo[ADDR_TEXT], hi[ADDR_TEXT];
	struct warren_addr first = address(range->family, range->lo);
	struct warren_addr last = address(range->family, range->hi);

	addr_format(&first, lo);
	if (range->lo == range->hi && !always)
		snprintf(out, RANGE_TEXT, "%s", lo);
	else if (bits >= 0)
		snprintf(out, RANGE_TEXT, "%s/%d", lo, bits);
	else
		snprintf(out, RANGE_TEXT, "%s-%s", lo, addr_format(&last, hi));
	return out;
}

const char *range_format(const struct range *range, char out[RANGE_TEXT])
{
	return format(range, false, out);
}

const char *range_format_prefix(const struct range *range, char out[RANGE_TEXT])
{
	return format(range, true, out);
}

/*
 * ---- Sets ----
 */

void ranges_free(struct ranges *set)
{
	free(set->at);
	*set = (struct ranges){ .at = NULL };
}

void ranges_add(struct ranges *set, const struct range *range)
{
	uint32_t cap = set->cap ? set->cap * 2 : 8;
	struct range *grown;

	if (set->n == set->cap) {
		grown = realloc(set->at, cap * sizeof(*grown));
		if (!grown) {
			set->failed = true;
			return;
		}
		set->at = grown;
		set->cap = cap;
	}
	set->at[set->n++] = *range;
}

void ranges_add_all(struct ranges *set, const struct ranges *other)
{
	for (uint32_t i = 0; i < other->n; i++)
		ranges_add(set, &other->at[i]);
	set->failed = set->failed || other->failed;
}

static int compare(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	if (x->lo != y->lo)
		return x->lo < y->lo ? -1 : 1;
	return x->hi < y->hi ? -1 : x->hi > y->hi;
}

void ranges_join(struct ranges *set)
{
	uint32_t n = 0;

	if (set->n > 1)
		qsort(set->at, set->n, sizeof(set->at[0]), compare);
	for (uint32_t i = 0; i < set->n; i++) {
		struct range *last = n > 0 ? &set->at[n - 1] : NULL;
		const struct range *next = &set->at[i];

		if (!last || last->family != next->family ||
		    (next->lo > last->hi && next->lo - last->hi > 1))
			set->at[n++] = *next;
		else if (next->hi > last->hi)
			last->hi = next->hi;
	}
	set->n = n;
}

void ranges_remove(struct ranges *set, const struct range *hole)
{
	struct ranges left = { .failed = set->failed };

	for (uint32_t i = 0; i < set->n; i++) {
		struct range before = set->at[i], after = set->at[i];

		if (!range_overlaps(&before, hole)) {
			ranges_add(&left, &before);
			continue;
		}
		if (before.lo < hole->lo) {
			before.hi = hole->lo - 1;
			ranges_add(&left, &before);
		}
		if (after.hi > hole->hi) {
			after.lo = hole->hi + 1;
			ranges_add(&left, &after);
		}
	}
	ranges_free(set);
	*set = left;
}

/* The first that does not end before @range begins. */
static uint32_t find(const struct ranges *set, const struct range *range)
{
	uint32_t lo = 0, hi = set->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct range *m = &set->at[mid];

		if (m->family < range->family || (m->family == range->family && m->hi < range->lo))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool ranges_overlap(const struct ranges *set, const struct range *range)
{
	uint32_t i = find(set, range);

	return i < set->n && range_overlaps(&set->at[i], range);
}

bool ranges_contain(const struct ranges *set, const struct range *range)
{
	uint32_t i = find(set, range);

	return i < set->n && range_inside(range, &set->at[i]);
}
