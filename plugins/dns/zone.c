/*
 * The names that this node knows itself.
 */
#include "zone.h"

#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/dnsmsg.h"

void dns_zone_init(struct dns_zone *zone)
{
	memset(zone, 0, sizeof(*zone));
	hash_init(&zone->hosts);
	hash_init(&zone->reverse);
}

void dns_zone_free(struct dns_zone *zone)
{
	hash_free(&zone->hosts);
	hash_free(&zone->reverse);
	arena_free(&zone->arena);
}

struct dns_host *dns_zone_host(struct dns_zone *zone, const struct dns_name *name,
			       const char *origin)
{
	struct dns_host *host = hash_get(&zone->hosts, name->wire, name->len);

	if (host)
		return host;
	host = arena_alloc(&zone->arena, sizeof(*host));
	if (!host)
		return NULL;
	host->name = *name;
	host->origin = origin;
	if (hash_put(&zone->hosts, host->name.wire, host->name.len, host, NULL))
		return NULL;
	zone->n++;
	return host;
}

int dns_zone_add(struct dns_zone *zone, struct dns_host *host, uint16_t type, const void *data,
		 uint16_t len)
{
	struct dns_rdata **at = &host->data;

	for (; *at; at = &(*at)->next) {
		if ((*at)->type == type && (*at)->len == len &&
		    memcmp((*at)->data, data, len) == 0)
			return 0;
	}
	*at = arena_alloc(&zone->arena, sizeof(**at) + len);
	if (!*at)
		return -ENOMEM;
	(*at)->type = type;
	(*at)->len = len;
	memcpy((*at)->data, data, len);
	return 0;
}

int dns_zone_add_addr(struct dns_zone *zone, struct dns_host *host,
		      const struct warren_addr *addr)
{
	return dns_zone_add(zone, host, addr->family == 4 ? DNS_A : DNS_AAAA, addr->bytes,
			    (uint16_t)addr_size(addr));
}

int dns_zone_add_reverse(struct dns_zone *zone, const struct warren_addr *addr,
			 const struct dns_name *name)
{
	struct entry {
		struct dns_name name;
		uint8_t addr[16];
	} *entry;
	size_t size = addr_size(addr);

	if (hash_get(&zone->reverse, addr->bytes, size))
		return 0;
	entry = arena_alloc(&zone->arena, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	entry->name = *name;
	memcpy(entry->addr, addr->bytes, size);
	return hash_put(&zone->reverse, entry->addr, size, &entry->name, NULL);
}

const struct dns_host *dns_zone_find(const struct dns_zone *zone, const struct dns_name *name)
{
	for (size_t at = 0; at < name->len; at += 1u + name->wire[at]) {
		const struct dns_host *host = hash_get(&zone->hosts, name->wire + at,
						       name->len - at);

		if (host && (at == 0 || host->below))
			return host;
		if (name->wire[at] == 0)
			break;
	}
	return NULL;
}

const struct dns_name *dns_zone_whose(const struct dns_zone *zone, const struct warren_addr *addr)
{
	return hash_get(&zone->reverse, addr->bytes, addr_size(addr));
}
