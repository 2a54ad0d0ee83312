/*
 * warren/service/peerapi.h - service "peerapi" 0.1: HTTP between nodes, on their tailnet addresses
 *
 * `peerapi` offers it. A plugin registers the paths that it serves to peers, and reaches what other
 * nodes serve. Who asks is known from the tunnel: the source address is one that the peer's key was
 * proven for. No header has a say in it, and what a browser was led to send (Origin, Referer, a
 * Host that is not ours) is refused before a plugin sees it. The packet filter has no say either:
 * whoever registers a path decides who may use it.
 *
 * Threads: all functions and callbacks on lane main, where the contexts given must be. What a
 * context registered ends with it; by then it has cancelled the exchanges that it was given, and in
 * `lost` as well: they belong to the provider, as do the calls that are under way, of which nothing
 * is heard any more after `lost`.
 * Source: node-services.md 4.1, 4.2.
 */
#ifndef WARREN_SERVICE_PEERAPI_H
#define WARREN_SERVICE_PEERAPI_H

#include <warren/net.h>
#include <warren/service/netmap.h>

#ifdef __cplusplus
extern "C" {
#endif

struct warren_peerapi_caller {		/* lives for the call */
	uint32_t size;
	const struct warren_netmap *map;	/* the newest one, which has @node */
	const struct warren_node *node;	/* who asks */
	struct warren_addrport from, at;	/* its address, ours */
};

/*
 * A request for the path, whose head has passed the checks above. Sets the exchange's callbacks, of
 * which `head` is not called, and answers by its functions; the body follows, without a limit, and
 * with WARREN_PENDING under the callee's control. A method that is not served gets 405.
 */
typedef void warren_peerapi_fn(struct warren_exchange *x, const struct warren_http_head *head,
			       const struct warren_peerapi_caller *caller, void *arg);
struct warren_peerapi_route {
	uint32_t size, flags;		/* flags: 0 */
	const char *path;		/* "/v0/put" is that and what is below it; not "/" */
	warren_peerapi_fn *request;
	void *arg;
};

struct warren_peerapi_call;
/* Microseconds from the beginning to the answer; or @result, -errno, with a sentence. Once. */
typedef void warren_peerapi_ping_fn(struct warren_ctx *ctx, int result, const char *why,
				    uint64_t usec, void *arg);

struct warren_peerapi_ops {
	uint32_t size;
	/* Copies. -EEXIST: another plugin has the path; -EINVAL, -ENOMEM; with a sentence. */
	int (*route)(void *self, struct warren_ctx *ctx, const struct warren_peerapi_route *route,
		     struct warren_err *err);
	/*
	 * Where the peer API of peer @node is, by a family that this node has itself, IPv4 first.
	 * False: it tells of none. Its requests go to "http://" and this, which is their Host too.
	 */
	bool (*base)(void *self, const struct warren_node *node, struct warren_addrport *out);
	/*
	 * A connection to it, for a client of HTTP/1.1 or, with prior knowledge, HTTP/2; as
	 * warren_dial() otherwise. NULL with a sentence: it cannot begin, @done is not called.
	 */
	struct warren_peerapi_call *(*connect)(void *self, struct warren_ctx *ctx,
					       const struct warren_node *node, uint64_t timeout,
					       warren_stream_fn *done, void *arg,
					       struct warren_err *err);
	/* Asks for nothing, and whether that is answered. */
	struct warren_peerapi_call *(*ping)(void *self, struct warren_ctx *ctx,
					    const struct warren_node *node, uint64_t timeout,
					    warren_peerapi_ping_fn *done, void *arg,
					    struct warren_err *err);
	/* @done is not called any more. Not after it was. NULL is allowed. */
	void (*cancel)(void *self, struct warren_peerapi_call *call);
};

#ifdef __cplusplus
}
#endif
#endif
