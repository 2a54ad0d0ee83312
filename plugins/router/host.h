/*
 * What the host reaches by itself, beside the tunnel: see struct router_host.
 */
#ifndef ROUTER_HOST_H
#define ROUTER_HOST_H

#include "desired.h"

/* How long a network may be missing behind an interface that has others, microseconds. */
extern const uint64_t router_host_patience;

/*
 * Reads the main table; @ours is the tunnel's index, @lead may be NULL. *@changed: it is other than
 * before; *@again: when to look again all the same, 0 never. 0 or -errno: as it was.
 */
int router_host_look(struct router_host *host, const struct warren_router_lead *lead,
		     uint32_t ours, uint64_t now, bool *changed, uint64_t *again);
/* The same with what was @seen, which it sorts, and empties or leaves to be freed. */
int router_host_take(struct router_host *host, struct router_host *seen,
		     const struct warren_router_lead *lead, uint64_t now, bool *changed,
		     uint64_t *again);
void router_host_free(struct router_host *host);

#endif
