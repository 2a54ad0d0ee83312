/*
 * dns/cache.h - answers of resolvers, for as long as they allow
 *
 * The least recently used go when the limit is reached. Times are microseconds of the caller.
 */
#ifndef DNS_CACHE_H
#define DNS_CACHE_H

#include "base/dnsmsg.h"
#include "base/hash.h"
#include "base/list.h"

struct dns_cache {
	struct hash by_question;
	struct list used;		/* the most recent first */
	size_t bytes, limit;
	uint32_t n;
};

void dns_cache_init(struct dns_cache *cache, size_t limit);
void dns_cache_clear(struct dns_cache *cache);	/* forgets all; fits the end too */
void dns_cache_limit(struct dns_cache *cache, size_t limit);
/* The message, as it is kept (see msg.h), and its age in seconds; NULL: none. Till the next put. */
const uint8_t *dns_cache_get(struct dns_cache *cache, const struct dns_query *q, uint64_t now,
			     size_t *len, uint32_t *age);
/* For @ttl seconds; 0, too large or no memory: not kept. */
void dns_cache_put(struct dns_cache *cache, const struct dns_query *q, uint64_t now,
		   const uint8_t *msg, size_t len, uint32_t ttl);

#endif
