/*
 * warren/service/router.h - service "router" 0.3: packets are led into the tunnel
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

enum { WARREN_BYPASS_NETWORK = 1,	/* destinations: the main table leads there */
       WARREN_BYPASS_INTERFACE,		/* networks that the main table leads through it */
       WARREN_BYPASS_USERS };		/* what processes of these users send */
enum { WARREN_BYPASS_MAX = 256 };
struct warren_router_bypass {
	uint32_t kind;
	uint32_t uid_first, uid_last;	/* USERS, both inclusive */
	struct warren_prefix network;	/* NETWORK */
	char ifname[16];		/* INTERFACE */
};
struct warren_router_lead {		/* how this host reaches all of the internet */
	uint32_t size;
	bool shut;			/* in the tunnel or not at all, whatever dies */
	bool stays;			/* and that also after a stop of the daemon */
	bool attached;			/* networks that the host is attached to stay reachable */
	uint32_t n_bypass;		/* WARREN_BYPASS_MAX at most */
	const struct warren_router_bypass *bypass;
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
	/*
	 * Lane (0.3). Leads all that this host sends into the tunnel on behalf of @ctx, until it
	 * ends; copied. NULL: no more. Which peer takes it is up to the network map (exit_set).
	 * -EBUSY: another plugin does; -ENOMEM; -EINVAL: more than WARREN_BYPASS_MAX.
	 */
	int (*lead)(void *self, struct warren_ctx *ctx, const struct warren_router_lead *lead);
};

#endif
