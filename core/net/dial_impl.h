/*
 * net/dial_impl.h - the steps of a dial: names, proxies, addresses, tunnels
 *
 * Each step is memory of its context, calls @done once, from the loop, and is gone then; or it is
 * cancelled. What it says in @why is about its own part only.
 */
#ifndef WARREN_NET_DIAL_IMPL_H
#define WARREN_NET_DIAL_IMPL_H

#include <warren/net.h>

#include "base/base64.h"

enum {
	DIAL_ADDRS = 16,		/* addresses of one name */
	DIAL_NAME = 256,		/* bytes of one, with NUL */
	DIAL_AUTH = 512,		/* of a proxy's user, colon, password, with NUL */
	DIAL_PROXY = DIAL_NAME + 3 * DIAL_AUTH + 16,	/* of a proxy's URL */
};

/*
 * ---- dial_lookup.c: a name's addresses ----
 *
 * What was once found is kept, and used when a look-up fails or takes more than 2 s.
 */
struct dial_lookup;
typedef void dial_lookup_fn(const struct warren_addr *addrs, uint32_t n, const char *why,
			    void *arg);
struct dial_lookup *dial_lookup_new(struct warren_ctx *ctx, const char *name, dial_lookup_fn *done,
				    void *arg);
void dial_lookup_cancel(struct dial_lookup *lookup);
/* Any thread. */
void dial_cache_put(const char *name, const struct warren_addr *addrs, uint32_t n);
uint32_t dial_cache_get(const char *name, struct warren_addr addrs[DIAL_ADDRS]);

/*
 * ---- dial_memory.c: see warren_dial_remember() ----
 */
/* A connection to @name was made; these were its addresses. */
void dial_memory_put(struct warren_ctx *ctx, const char *name, const struct warren_addr *addrs,
		     uint32_t n);

/*
 * ---- dial_race.c: the first address that answers (RFC 8305) ----
 */
struct dial_race;
/* @fd is connected and the callee's; -1: none. */
typedef void dial_race_fn(int fd, const char *why, void *arg);
/* Takes the first DIAL_ADDRS of @addrs and mixes their families. */
struct dial_race *dial_race_new(struct warren_ctx *ctx, const struct warren_addr *addrs, uint32_t n,
				uint16_t port, uint32_t via, dial_race_fn *done, void *arg);
void dial_race_cancel(struct dial_race *race);

/*
 * ---- dial_proxy.c ----
 */
struct dial_proxy {
	char host[DIAL_NAME];
	uint16_t port;			/* 0: no proxy */
	bool tls;			/* the connection to it is encrypted */
	char auth[BASE64_TEXT(DIAL_AUTH)];	/* for Proxy-Authorization; empty: none */
};
/*
 * The proxy for @host: @given with @auth (or NULL: what @given has), or (NULL) what the environment
 * names: HTTPS_PROXY or ALL_PROXY, if NO_PROXY does not except the host; lower case goes first. 0,
 * or -EINVAL with a sentence that repeats no secret. The caller wipes @proxy.
 */
int dial_proxy_choose(struct dial_proxy *proxy, const char *given, const char *auth,
		      const char *host, uint16_t port, struct warren_err *err);
void dial_proxy_wipe(struct dial_proxy *proxy);
/* "Example.com:443" is one of the comma-separated @list. */
bool dial_proxy_excepted(const char *list, const char *host, uint16_t port);

/*
 * ---- dial_tunnel.c: CONNECT ----
 */
struct dial_tunnel;
typedef void dial_tunnel_fn(struct warren_stream *stream, const char *why, void *arg);
/* Takes @stream, which is to the proxy, in any case. @auth: as above. */
struct dial_tunnel *dial_tunnel_new(struct warren_ctx *ctx, struct warren_stream *stream,
				    const char *host, uint16_t port, const char *auth,
				    dial_tunnel_fn *done, void *arg);
void dial_tunnel_cancel(struct dial_tunnel *tunnel);

#endif
