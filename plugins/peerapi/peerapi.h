/*
 * What the files of this plugin share. All of it on lane main.
 */
#ifndef WARREN_PEERAPI_PEERAPI_H
#define WARREN_PEERAPI_PEERAPI_H

#include <warren/service/filter.h>
#include <warren/service/netmap.h>
#include <warren/service/peerapi.h>
#include <warren/service/svcnet.h>

#include "base/list.h"

struct papi_side {			/* of one address family */
	struct warren_addr addr;	/* family 0: nothing is served */
	uint16_t port;			/* 0: none */
	uint32_t attempts;		/* ports that were given up, because they cannot be had */
	struct warren_svc_listener *listener;	/* NULL: none, or the other side's */
};

struct peerapi {
	struct warren_ctx *ctx;
	const struct warren_netmap_ops *netmap;
	void *netmap_self;
	const struct warren_svcnet_ops *svcnet;
	void *svcnet_self;
	const struct warren_filter_ops *filter;	/* NULL: there is none */
	void *filter_self;
	const struct warren_netmap *map;	/* with a reference, or NULL */
	bool open;			/* there is something to listen on, and shields are down */
	struct papi_side sides[2];	/* IPv4, IPv6 */
	struct warren_timer *look;	/* without a namespace: has another program the port? */
	uint32_t connections_max, per_peer_max;
	struct list conns, routes, calls;
	uint32_t n_conns;
	struct warren_limit log_refused, log_full;
	struct warren_stat *accepted, *requests;
	struct warren_stat *unknown, *full, *invalid;	/* of what was refused */
};

/* plugin.c: all but what conf and needs give; a new map */
int papi_init(struct peerapi *p, struct warren_ctx *ctx);
void papi_map(struct peerapi *p, const struct warren_netmap *map);

/* conn.c */
void papi_accepted(void *arg, int fd, const struct warren_svc_conn *conn);
/* The map has changed: whoever is not in it any more is cut off. @all: everybody is. */
void papi_recheck(struct peerapi *p, bool all);
uint32_t papi_conns_of(const struct peerapi *p, int64_t node);

/* route.c */
int papi_route(void *self, struct warren_ctx *ctx, const struct warren_peerapi_route *route,
	       struct warren_err *err);
const struct warren_peerapi_route *papi_route_find(const struct peerapi *p, const char *path);
void papi_routes_free(struct peerapi *p);
/* Calls @fn for each path and the name of the plugin that serves it. */
void papi_each_route(const struct peerapi *p,
		     void (*fn)(const char *path, const char *owner, void *arg), void *arg);

/* reach.c */
bool papi_base(void *self, const struct warren_node *node, struct warren_addrport *out);
struct warren_peerapi_call *papi_connect(void *self, struct warren_ctx *ctx,
					 const struct warren_node *node, uint64_t timeout,
					 warren_stream_fn *done, void *arg,
					 struct warren_err *err);
struct warren_peerapi_call *papi_ping(void *self, struct warren_ctx *ctx,
				      const struct warren_node *node, uint64_t timeout,
				      warren_peerapi_ping_fn *done, void *arg,
				      struct warren_err *err);
void papi_cancel(void *self, struct warren_peerapi_call *call);
void papi_calls_drop(struct peerapi *p);	/* without a word */

/* show.c */
void papi_status(struct warren_ctx *ctx, struct warren_reply *reply);
bool papi_check_reachable(struct warren_ctx *ctx, struct warren_check_result *result);

#endif
