/*
 * warren/service/svcnet.h - service "svcnet" 0.1: sockets on the tailnet, apart from the host's
 *
 * `svcnet` offers it. The daemon's own services listen in a network namespace of their own. Packets
 * of peers for a served port, and packets of this host for the service addresses, are led there
 * behind decryption, and answers come back the same way; the host's firewall, routes and other
 * programs have no part in it, and nothing but tailnet and host can get there. For the host's own
 * access there is a listener beside it on the host's side, which takes connections from this host
 * alone; another program may have that port, which then keeps it: see `problem`.
 *
 * Where no namespace can be made, all listeners are on the host's side, bound to the tunnel's
 * interface. They need free ports there, and the host's firewall decides.
 *
 * Threads: all functions and callbacks on lane main, where the contexts given must be. What a
 * context registered ends with it. Sockets are made and closed as the node's addresses come and go.
 * Sources: design.md 4 (service namespace), environment.md 15 (recipe).
 */
#ifndef WARREN_SERVICE_SVCNET_H
#define WARREN_SERVICE_SVCNET_H

#include <warren/plugin.h>

enum { WARREN_SVC_TCP = 1, WARREN_SVC_UDP = 2 };
enum {
	/* The node's own addresses: for peers, and for this host through the listener beside it. */
	WARREN_SVC_SELF = 1,
	/* 100.100.100.100 and fd7a:115c:a1e0::53: for this host alone, never for peers. */
	WARREN_SVC_MAGIC = 2,
};
enum {
	/* Peers reach it whatever the packet filter says: the service itself decides. SELF only. */
	WARREN_SVC_UNFILTERED = 1u << 0,
	WARREN_SVC_NO_HOST = 1u << 1,	/* no listener on the host's side. SELF only */
};
enum { WARREN_SVC_FROM_PEER = 1, WARREN_SVC_FROM_HOST = 2 };

struct warren_svc_listen {
	uint32_t size, flags;
	uint32_t protocol, at;
	uint16_t port;			/* not 0 */
	/*
	 * Where the port stands in YAML ("serve.https"), without which the host's side gets ports
	 * from 1024 on only; NULL: nowhere. Copied.
	 */
	const char *key;
	uint32_t index;			/* element, where the value is a list */
};

struct warren_svc_conn {
	uint32_t size;
	/*
	 * WARREN_SVC_FROM_: PEER, the source is an address that the tunnel has proven to be that
	 * peer's. HOST: a program of this host, whoever it is. UDP on the host's side: 0, each
	 * datagram's source tells; what is not `own` comes from a peer, if `apart` is false, and
	 * else is to be dropped.
	 */
	uint32_t from;
	struct warren_addrport remote, local;
};

struct warren_svc_listener;
struct warren_svc_events {
	uint32_t size;
	/* TCP: a connection; @fd, non-blocking, is the callee's. @conn lives for the call. */
	void (*accepted)(void *arg, int fd, const struct warren_svc_conn *conn);
	/*
	 * UDP: a bound socket, non-blocking, which is the callee's; `remote` is all zero. It is to
	 * be closed in `closing` at the latest, which names the same one by @conn and closes no
	 * listener; not called when the listener is closed or its context ends.
	 */
	void (*opened)(void *arg, int fd, const struct warren_svc_conn *conn);
	void (*closing)(void *arg, const struct warren_svc_conn *conn);
};

struct warren_svc_dial {
	uint32_t size;
	uint32_t protocol;
	struct warren_addrport to;	/* on the tailnet, or behind a node of it */
	uint64_t timeout;		/* microseconds; 0: 10 s */
};
/* @fd, non-blocking, is the callee's; or -1 and @result, -errno, with a sentence. Once. */
typedef void warren_svc_dial_fn(struct warren_ctx *ctx, int result, int fd, const char *why,
				void *arg);

struct warren_svcnet_ops {
	uint32_t size;
	/*
	 * Copies @listen and @events. 0: sockets come as soon as the node has addresses.
	 * -EADDRINUSE: another plugin has the port; -EINVAL; -ENOMEM; each with a sentence.
	 */
	int (*listen)(void *self, struct warren_ctx *ctx, const struct warren_svc_listen *listen,
		      const struct warren_svc_events *events, void *arg,
		      struct warren_svc_listener **out, struct warren_err *err);
	/* Open connections go on. NULL is allowed. */
	void (*close)(void *self, struct warren_svc_listener *listener);
	/* TCP: no more are accepted for now, they wait in the kernel's queue. */
	void (*pause)(void *self, struct warren_svc_listener *listener, bool pause);
	/* Why it cannot be reached by all it should be, a sentence; or NULL. Valid for the turn. */
	const char *(*problem)(void *self, const struct warren_svc_listener *listener);
	/*
	 * Connects from the node's own address of that family through the tunnel, whatever the
	 * host's routes and firewall say; the packet filter of the other side decides. @done comes
	 * later, unless @ctx ends before. -EINVAL, -EAGAIN (4096 are under way), -ENOMEM: it does
	 * not. UDP: a connected socket, about which the other side learns nothing yet.
	 */
	int (*dial)(void *self, struct warren_ctx *ctx, const struct warren_svc_dial *dial,
		    warren_svc_dial_fn *done, void *arg);
	/* False: no namespace could be made, and listeners are on the host's side. */
	bool (*apart)(void *self);
	/* An address of this host: its own on the tailnet, a service address or loopback. */
	bool (*own)(void *self, const struct warren_addr *addr);
};

#endif
