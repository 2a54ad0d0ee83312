/*
 * tailnet/address.h - which addresses nodes get
 *
 * The lowest one that is free: the same state gives the same address, in this process or the next.
 * Clients accept addresses of 100.64.0.0/10 and fd7a:115c:a1e0::/48 only; some in there have a
 * meaning of their own and are never given (coordinator.md 1.9, control protocol 7.5).
 */
#ifndef WARREN_COORDINATOR_ADDRESS_H
#define WARREN_COORDINATOR_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

struct address_pool {
	struct warren_prefix prefix;	/* family 0: none */
	uint64_t hint;			/* nothing below is free */
};

/* NULL, or what is wrong with a pool of that @family. */
const char *address_pool_wrong(const struct warren_prefix *prefix, uint8_t family);
typedef bool address_taken_fn(void *arg, const struct warren_addr *addr);
/* -ENOSPC: none is free. */
int address_find(struct address_pool *pool, address_taken_fn *taken, void *arg,
		 struct warren_addr *out);
/* In the pool and not one of those that are never given. */
bool address_usable(const struct address_pool *pool, const struct warren_addr *addr);
/* @addr may be free again. Of any pool. */
void address_freed(struct address_pool *pool, const struct warren_addr *addr);

#endif
