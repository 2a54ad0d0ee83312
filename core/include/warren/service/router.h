/*
 * warren/service/router.h - service "router" 0.1: packets are led into the tunnel
 *
 * `router` offers it. That it is there means that addresses, routes and rules follow the network
 * map.
 */
#ifndef WARREN_SERVICE_ROUTER_H
#define WARREN_SERVICE_ROUTER_H

#include <warren/plugin.h>

struct warren_router_ops {
	uint32_t size;
	/* Lane. NULL: the host is as it should be. Else what could not be changed, a sentence. */
	const char *(*problem)(void *self);
};

#endif
