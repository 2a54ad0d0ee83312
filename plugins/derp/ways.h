/*
 * ways.h - what the relay map says about reaching a region, as dials to try one after the other
 */
#ifndef DERP_WAYS_H
#define DERP_WAYS_H

#include <warren/net.h>
#include <warren/service/netmap.h>

enum { DERP_WAYS = 32 };

struct derp_way {
	const struct warren_relay_node *node;	/* of the map */
	uint32_t index;			/* of the node; 0 is the ideal one */
	struct warren_addr addrs[2];	/* none: by name */
	uint32_t n_addrs;
	uint32_t dial_flags;		/* WARREN_DIAL_NO_IPV4, _NO_IPV6 */
};

/* NULL: @map (which may be NULL) has no such region. */
const struct warren_relay_region *derp_map_find(const struct warren_netmap *map, uint32_t id);
/*
 * Nodes in order, those for STUN only left out. Of each first its literal addresses, then its name
 * for a family that has neither a literal nor "none". Returns how many.
 */
uint32_t derp_ways(const struct warren_relay_region *region, struct derp_way out[DERP_WAYS]);
/*
 * How @node proves itself (path-protocols.md 1.1, 1.3). @pin must live as long as *@out. 0, or
 * -EINVAL with a sentence: a CertName that makes no sense.
 */
int derp_way_tls(const struct warren_relay_node *node, struct warren_tls_client *out,
		 uint8_t pin[32], struct warren_err *err);
/* The same to a client: connections may stay as they are. */
bool derp_region_same(const struct warren_relay_region *a, const struct warren_relay_region *b);

#endif
