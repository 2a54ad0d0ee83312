/*
 * The local set: own addresses and what this node serves for others (control-protocol.md 8.1). Who
 * goes to the internet through this node gets there as a guest: neither to networks that are
 * private by their numbers nor to those that the host is attached to.
 */
#include "collect.h"

#include <stdlib.h>

#include "base/util.h"

/* What is no internet, whoever asks: the host, its neighbours, the tailnet. */
static const struct warren_prefix not_internet[] = {
	{ { 4, { 0 } }, 8 },		{ { 4, { 10 } }, 8 },
	{ { 4, { 100, 64 } }, 10 },	{ { 4, { 127 } }, 8 },
	{ { 4, { 169, 254 } }, 16 },	{ { 4, { 172, 16 } }, 12 },
	{ { 4, { 192, 168 } }, 16 },	{ { 4, { 224 } }, 3 },
	{ { 6, { 0 } }, 8 },		{ { 6, { 0xfc } }, 7 },
	{ { 6, { 0xfe, 0x80 } }, 10 },	{ { 6, { 0xff } }, 8 },
};

struct hole {
	struct filter_addr first, last;
};

static struct hole hole_of(const struct warren_prefix *prefix)
{
	struct filter_addr mask = filter_host_mask(prefix->addr.family, prefix->bits);
	struct hole hole = { .first = filter_number_of(&prefix->addr) };

	hole.first.high &= ~mask.high;
	hole.first.low &= ~mask.low;
	hole.last = (struct filter_addr){ hole.first.high | mask.high, hole.first.low | mask.low };
	return hole;
}

static int by_first(const void *a, const void *b)
{
	return filter_addr_compare(&((const struct hole *)a)->first,
				   &((const struct hole *)b)->first);
}

/* The address before (@by -1) or after (@by 1). */
static struct filter_addr neighbour(struct filter_addr addr, int by)
{
	addr.low += (uint64_t)(int64_t)by;
	if (by > 0 && addr.low == 0)
		addr.high++;
	else if (by < 0 && addr.low == UINT64_MAX)
		addr.high--;
	return addr;
}

/* All of @family but @holes, which are sorted. One of them ends the family. */
static void add_between(struct filter_builder *b, uint8_t family, const struct hole *holes,
			uint32_t n)
{
	struct filter_addr next = { 0, 0 };
	const struct hole last = hole_of(&(struct warren_prefix){ { family, { 0 } }, 0 });

	for (uint32_t i = 0; i < n; i++) {
		if (filter_addr_compare(&next, &holes[i].first) < 0)
			filter_collect_range(b, &b->local[family == 6], next,
					     neighbour(holes[i].first, -1), 0);
		if (filter_addr_compare(&holes[i].last, &last.last) == 0)
			return;
		if (filter_addr_compare(&holes[i].last, &next) >= 0)
			next = neighbour(holes[i].last, 1);
	}
}

static bool is_internet(const struct warren_addr *addr)
{
	struct filter_addr number = filter_number_of(addr);

	for (size_t i = 0; i < ARRAY_SIZE(not_internet); i++) {
		struct hole hole = hole_of(&not_internet[i]);

		if (not_internet[i].addr.family == addr->family &&
		    filter_addr_compare(&hole.first, &number) <= 0 &&
		    filter_addr_compare(&number, &hole.last) <= 0)
			return false;
	}
	return true;
}

static void add_internet(struct filter_builder *b, uint8_t family)
{
	uint32_t n_host = b->host ? b->host->n : 0, n = 0;
	struct hole *holes = filter_alloc(b, NULL, ARRAY_SIZE(not_internet) + n_host,
					  sizeof(*holes));

	if (!holes)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(not_internet); i++) {
		if (not_internet[i].addr.family == family)
			holes[n++] = hole_of(&not_internet[i]);
	}
	for (uint32_t i = 0; i < n_host; i++) {
		if (b->host->networks[i].addr.family == family)
			holes[n++] = hole_of(&b->host->networks[i]);
	}
	qsort(holes, n, sizeof(*holes), by_first);
	add_between(b, family, holes, n);
	free(holes);
	/* The host itself is no neighbour: its public address is reached as from anywhere. */
	for (uint32_t i = 0; i < n_host; i++) {
		const struct warren_addr *addr = &b->host->networks[i].addr;
		struct filter_addr number = filter_number_of(addr);

		if (addr->family == family && is_internet(addr))
			filter_collect_range(b, &b->local[family == 6], number, number, 0);
	}
}

void filter_local_collect(struct filter_builder *b)
{
	const struct warren_node *self = b->map->self;
	bool known = !b->host || !b->host->unknown;

	if (self && self->exit_v4 && known)
		add_internet(b, 4);
	if (self && self->exit_v6 && known)
		add_internet(b, 6);
	for (uint32_t i = 0; self && i < self->n_addresses; i++)
		filter_collect_prefix(b, b->local, &self->addresses[i], 0);
	for (uint32_t i = 0; self && i < self->n_allowed_ips; i++)
		filter_collect_prefix(b, b->local, &self->allowed_ips[i], 0);
}
