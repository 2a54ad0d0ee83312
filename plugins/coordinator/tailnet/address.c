/*
 * Addresses as offsets into a pool. The v6 pools are larger than 64 bits can count: the offset is
 * in the low half, which no tailnet fills.
 */
#include "address.h"

#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/util.h"

static const struct warren_prefix clients_v4 = { { 4, { 100, 64 } }, 10 };
static const struct warren_prefix clients_v6 = {
	{ 6, { 0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0 } }, 48,
};
static const struct warren_prefix never[] = {
	{ { 4, { 100, 100, 100, 100 } }, 32 },		/* the client's own resolver */
	{ { 4, { 100, 115, 92, 0 } }, 23 },		/* ChromeOS containers */
	{ { 6, { 0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, [15] = 0x53 } }, 128 },
	{ { 6, { 0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 0x0b, 0x1a } }, 64 },	/* 4via6 */
};

const char *address_pool_wrong(const struct warren_prefix *prefix, uint8_t family)
{
	const struct warren_prefix *room = family == 4 ? &clients_v4 : &clients_v6;

	if (!prefix->addr.family)
		return NULL;
	if (prefix->addr.family != family)
		return family == 4 ? "it is no IPv4 prefix" : "it is no IPv6 prefix";
	if (prefix->bits < room->bits || !prefix_contains(room, &prefix->addr))
		return family == 4 ? "clients know addresses of 100.64.0.0/10 only" :
				     "clients know addresses of fd7a:115c:a1e0::/48 only";
	if (prefix->bits > (family == 4 ? 30 : 126))
		return "it has no room for a node";
	return NULL;
}

static uint64_t low_half(const struct warren_addr *addr)
{
	size_t size = addr_size(addr), from = size > 8 ? size - 8 : 0;
	uint64_t v = 0;

	for (size_t i = from; i < size; i++)
		v = v << 8 | addr->bytes[i];
	return v;
}

static uint64_t pool_mask(const struct address_pool *pool)
{
	unsigned int host = (pool->prefix.addr.family == 4 ? 32 : 128) - pool->prefix.bits;

	return host >= 64 ? UINT64_MAX : (UINT64_C(1) << host) - 1;
}

static struct warren_addr at_offset(const struct address_pool *pool, uint64_t offset)
{
	struct warren_addr addr = pool->prefix.addr;
	size_t size = addr_size(&addr);

	offset |= low_half(&addr);
	for (size_t i = 0; i < 8 && i < size; i++) {
		addr.bytes[size - 1 - i] = (uint8_t)offset;
		offset >>= 8;
	}
	return addr;
}

/* The prefix of those that are never given that @addr is in. */
static const struct warren_prefix *never_given(const struct warren_addr *addr)
{
	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		if (prefix_contains(&never[i], addr))
			return &never[i];
	}
	return NULL;
}

/* The offset behind the last address of @prefix, which @offset lies in; 0: beyond the pool. */
static uint64_t behind(const struct address_pool *pool, const struct warren_prefix *prefix,
		       uint64_t offset)
{
	struct address_pool whole = { .prefix = *prefix };
	uint64_t end = offset | pool_mask(&whole);

	return end >= pool_mask(pool) ? 0 : end + 1;
}

int address_find(struct address_pool *pool, address_taken_fn *taken, void *arg,
		 struct warren_addr *out)
{
	uint64_t last = pool_mask(pool) - 1;	/* the one behind is the broadcast address */
	const struct warren_prefix *hole;
	uint64_t offset;

	if (!pool->prefix.addr.family)
		return -EAFNOSUPPORT;
	offset = pool->hint ? pool->hint : 1;
	while (offset && offset <= last) {
		*out = at_offset(pool, offset);
		hole = never_given(out);
		if (hole) {
			offset = behind(pool, hole, offset);
		} else if (taken(arg, out)) {
			offset++;
		} else {
			pool->hint = offset;
			return 0;
		}
	}
	pool->hint = last + 1;
	return -ENOSPC;
}

bool address_usable(const struct address_pool *pool, const struct warren_addr *addr)
{
	uint64_t offset;

	if (!pool->prefix.addr.family || !prefix_contains(&pool->prefix, addr))
		return false;
	offset = low_half(addr) & pool_mask(pool);
	return offset && offset < pool_mask(pool) && !never_given(addr);
}

void address_freed(struct address_pool *pool, const struct warren_addr *addr)
{
	uint64_t offset = low_half(addr) & pool_mask(pool);

	if (pool->prefix.addr.family && prefix_contains(&pool->prefix, addr) &&
	    offset < pool->hint)
		pool->hint = offset;
}
