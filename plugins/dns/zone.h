/*
 * dns/zone.h - the names that this node knows itself
 */
#ifndef DNS_ZONE_H
#define DNS_ZONE_H

#include <warren/plugin.h>

#include "base/arena.h"
#include "base/dnsname.h"
#include "base/hash.h"

struct dns_rdata {
	struct dns_rdata *next;
	uint16_t type, len;
	uint8_t data[];
};
struct dns_host {
	struct dns_name name;
	const char *origin;		/* "a node", "a record of the network" */
	bool below;			/* answers for all names below its own as well */
	struct dns_rdata *data;
};
struct dns_zone {
	struct arena arena;
	struct hash hosts;		/* by the bytes of the name */
	struct hash reverse;		/* by the bytes of the address: struct dns_name */
	uint32_t n;
};

void dns_zone_init(struct dns_zone *zone);
void dns_zone_free(struct dns_zone *zone);
/* The host of that name, made if need be. NULL: no memory. */
struct dns_host *dns_zone_host(struct dns_zone *zone, const struct dns_name *name,
			       const char *origin);
/* Once the same is enough. 0 or -ENOMEM. */
int dns_zone_add(struct dns_zone *zone, struct dns_host *host, uint16_t type, const void *data,
		 uint16_t len);
int dns_zone_add_addr(struct dns_zone *zone, struct dns_host *host,
		      const struct warren_addr *addr);
/* Whose the address is: who says so first. 0 or -ENOMEM. */
int dns_zone_add_reverse(struct dns_zone *zone, const struct warren_addr *addr,
			 const struct dns_name *name);

/* Itself, or the next above it that answers for what is below. NULL: not known. */
const struct dns_host *dns_zone_find(const struct dns_zone *zone, const struct dns_name *name);
const struct dns_name *dns_zone_whose(const struct dns_zone *zone, const struct warren_addr *addr);

#endif
