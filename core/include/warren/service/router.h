/*
 * warren/service/router.h - service "router" 0.2: packets are led into the tunnel
 *
 * `router` offers it. That it is there means that addresses, routes, rules and the packet filter
 * follow the network map.
 */
#ifndef WARREN_SERVICE_ROUTER_H
#define WARREN_SERVICE_ROUTER_H

#include <warren/plugin.h>

struct warren_router_serving {		/* what leads peers to all of the internet */
	uint32_t size;
	bool approved[2];		/* IPv4, IPv6: asked for, and the server agreed */
	bool ready[2];			/* and the host forwards and hides them */
};

struct warren_router_ops {
	uint32_t size;
	/* Lane. NULL: the host is as it should be. Else what could not be changed, a sentence. */
	const char *(*problem)(void *self);
	/*
	 * Lane (0.2). Offers networks on behalf of @ctx, in place of what it offered before;
	 * copied; withdrawn when @ctx ends. 0.0.0.0/0 and ::/0 offer a way to all of the internet.
	 * 0 or -errno.
	 */
	int (*offer)(void *self, struct warren_ctx *ctx, const struct warren_prefix *networks,
		     uint32_t n);
	/* Lane (0.2). */
	void (*serving)(void *self, struct warren_router_serving *out);
	/* Lane (0.2). It switches forwarding on for what is approved; else that is the host's. */
	bool (*forwards)(void *self);
};

#endif
