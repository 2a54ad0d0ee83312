/*
 * The device: what the lane and the workers share, and the lane's half of the data plane.
 */
#ifndef WG_DEVICE_H
#define WG_DEVICE_H

#include <net/if.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <warren/packet.h>
#include <warren/plugin.h>
#include <warren/service/dataplane.h>
#include <warren/service/identity.h>
#include <warren/service/netmap.h>

#include "allowedips.h"
#include "cookie.h"
#include "counters.h"
#include "guard.h"
#include "hooks.h"
#include "index.h"
#include "noise.h"
#include "path.h"
#include "peer.h"
#include "ratelimit.h"
#include "ring.h"
#include "slab.h"
#include "verdict.h"

struct wg_hook_end;
struct wg_worker;

/*
 * ---- Slots of the rings ----
 */

enum { WG_EVENT_ASK = 1,		/* bits: `ask`; MOVED has `origin` */
       WG_EVENT_CONFIRMED };		/* `index`: a responder's session got its first packet */
struct wg_event {
	uint32_t kind, ask;
	uint32_t number;		/* of the peer */
	uint32_t index;
	uint64_t serial;
	struct wg_origin origin;
};

struct wg_handshake_slot {		/* a handshake message or cookie reply */
	struct wg_origin origin;
	uint32_t len;
	uint8_t data[WG_INITIATION_LEN];
};

struct wg_foreign_slot {
	struct warren_addrport from;
	uint32_t class_, vni, len;
	uint8_t data[];
};

struct wg_relay_slot {			/* relay_out: to the relay client */
	uint32_t region, len;
	uint8_t peer[32];
	uint8_t data[];
};

enum { WG_INJECT_RELAY = 1, WG_INJECT_OUT, WG_INJECT_IN };
struct wg_inject_slot {			/* to the worker */
	uint32_t kind, len;
	uint32_t region;		/* RELAY */
	uint64_t after;			/* OUT, IN: identity of the caller's last hook, 0 none */
	uint8_t peer[32];		/* RELAY */
	uint8_t data[];			/* OUT, IN: room is left in front, WG_INJECT_ROOM */
};

struct wg_reply_slot {			/* from hooks to the worker: small inner packets */
	uint32_t len;
	uint8_t data[WARREN_REPLY_MAX];
};

enum {
	WG_SLICE = 3000,		/* microseconds of one callback of the lane */
	WG_REPLY_SLOTS = 64,
	WG_HANDSHAKE_SLOTS = 1024,
	WG_EVENT_SLOTS = 1024,
	WG_FOREIGN_SLOTS = 128,
	WG_FOREIGN_MAX = 9216,		/* disco probes path MTUs up to 9000 */
	WG_MIN_MTU = 1280,
	WG_MAX_MTU = 65535,
	WG_HEADROOM = WG_GENEVE_LEN + WG_TRANSPORT_HEADER,
	WG_MESSAGE_EXTRA = 64,		/* header, padding, tag, Geneve, rounded up */
};

struct wg_bulk { /* rings whose slots depend on the MTU; replaced when it grows */
	struct wg_ring *relay_out, *inject;
	size_t message_max;
};

struct wg_sockets {			/* immutable once published */
	struct wg_device *device;
	int fd[2];			/* [0] IPv4, [1] IPv6; -1: none */
	uint16_t port[2];
	uint32_t handle[2];		/* of the monitor; 0: none */
	int receive_buffer[2];		/* bytes that the kernel granted */
};

struct wg_options {			/* the section, copied */
	char interface[IFNAMSIZ];
	uint16_t port;
	struct warren_addr listen[2];	/* family 0: any */
	bool listen_family[2];
	uint32_t mtu, mark;
	uint32_t socket_buffer;
	size_t staged_memory;
	uint32_t ring_slots, receive_batch, new_peers;
};

/* sockets.c, lane: opens what @options ask for; NULL with a sentence. `start` and `reload` only. */
struct wg_sockets *wg_sockets_open(struct wg_device *dev, const struct wg_options *options,
				   struct warren_err *err);
/* Closes descriptors and gives the monitor's copies back. NULL is allowed. */
void wg_sockets_close(struct wg_sockets *sockets);
/* sockets.c, lane. CLOSE of the monitor's copy; @handle 0: there is none. */
void wg_give_back(struct wg_device *dev, uint32_t op, uint32_t handle);

struct wg_foreign_taker {
	struct wg_device *device;
	struct warren_ctx *ctx;
	warren_foreign_fn *fn;
	void *arg;
	void *end;			/* of warren_on_end */
};

struct wg_writer {			/* the one writer of paths */
	struct warren_ctx *ctx;		/* NULL: nobody */
	struct warren_path_events events;
	void *arg;
	void *end;
};

struct wg_source {			/* a second queue of packets; source.c */
	struct wg_device *device;
	struct warren_ctx *ctx;
	int fd;
	warren_packet_fn *fn;
	void *self;
	void *end;			/* of warren_on_end */
};

struct wg_device {
	struct warren_ctx *ctx;
	struct wg_options options;

	/* shared with workers */
	char ifname[IFNAMSIZ];
	uint32_t ifindex;
	int tun_fd;
	_Atomic uint32_t mtu;
	_Atomic(struct wg_sockets *) sockets;
	_Atomic uint32_t ports;		/* IPv4 | IPv6 << 16, for any thread */
	_Atomic(struct wg_allowedips *) allowed;
	struct wg_index *index;
	_Atomic(struct wg_cookie_checker *) mac1;	/* a copy that nobody changes */
	_Atomic(struct wg_chain *) chain;
	_Atomic(struct wg_policy *) policy;	/* NULL: drop every inner packet */
	_Atomic(struct wg_source *) source;	/* or NULL */
	_Atomic bool has_writer;
	_Atomic uint32_t foreign_taken;	/* 1 << class */
	_Atomic(struct wg_bulk *) bulk;
	struct wg_ring *handshakes, *events, *foreign, *replies;
	_Atomic(struct wg_peer *) todo;	/* stack of peers with orders */
	_Atomic bool lane_woken;
	int lane_fd;			/* eventfd: workers have news */
	_Atomic int failed;		/* a worker cannot go on: errno */
	struct wg_stats stats;

	/* the lane's own */
	struct wg_worker *worker;
	struct wg_counts counts;
	const struct warren_identity_ops *identity;
	void *identity_self;
	struct wg_noise_local local;
	struct wg_cookie_checker checker;
	struct wg_ratelimit *ratelimit;
	struct wg_load load;
	struct wg_guard *guard;
	struct wg_slab *sessions, *lives;
	struct wg_peers peers;
	struct schedule schedule;	/* of live peers */
	struct warren_timer *timer;	/* for the schedule */
	uint64_t timer_at;		/* what it is set to; WG_NEVER: stopped */
	struct warren_timer *housekeeping;
	struct warren_timer *slice;	/* goes on waking peers with keepalive */
	uint32_t slice_at;		/* peer number */
	bool keepalive_asleep;		/* peers with keepalive may have to be woken */
	uint64_t new_peers_at;		/* token bucket of peers woken by initiations */
	uint32_t new_peers_left;
	const struct warren_netmap *map;
	uint64_t map_serial;
	uint32_t prefix_conflicts;	/* prefixes that two nodes of the map claim */
	struct wg_writer writer;
	struct wg_foreign_taker taker[WARREN_FOREIGN_CLASSES];
	struct wg_hooks hooks;
	struct wg_hook_end *hook_ends;
	struct wg_slot slot;
	struct warren_io *lane_io;
	uint32_t tun_handle;
	struct warren_limit log_peer, log_send, log_map;
	bool dont_fragment;		/* what is sent by UDP */
	bool freed;			/* goes with the last retired object */
	uint32_t retired;		/* objects that a worker may still hold */
};

/* Lane. Opens TUN and sockets, starts the worker, subscribes; fills @dev, which is zeroed. */
int wg_device_start(struct wg_device *dev, struct warren_err *err);
/* Lane. Joins the worker, stores state. What is retired may come back later. */
void wg_device_stop(struct wg_device *dev);
/* Lane. After stop: frees @dev as soon as the last retired object came back. */
void wg_device_free(struct wg_device *dev);
/* Lane. New options; on error the old ones are in force. */
int wg_device_reload(struct wg_device *dev, const struct wg_options *now, struct warren_err *err);

/* source.c, lane. As source_take of the service; and the end of it, for the device's own end. */
int wg_source_take(struct wg_device *dev, struct warren_ctx *ctx,
		   const struct warren_source *source);
void wg_source_forget(struct wg_device *dev);

/* Lane. Makes room for a longer MTU in the rings, tells the workers. -ENOMEM. */
int wg_device_set_mtu(struct wg_device *dev, uint32_t mtu);

/* Lane. warren_retire() for an object whose @free_fn needs the device, and wg_device_returned(). */
void wg_device_retire(struct wg_device *dev, void *ptr, void (*free_fn)(void *ptr));
void wg_device_returned(struct wg_device *dev);

/* Lane. Sends a datagram over @path from the device's sockets or the relay. -errno, counted. */
int wg_device_send(struct wg_device *dev, const struct wg_path *path, const uint8_t *data,
		   size_t len);
/* Lane. Runs the timers of @peer and puts it in the schedule again. */
void wg_device_look(struct wg_device *dev, struct wg_peer *peer, uint64_t now);
/* Lane. Tells the path writer that the peer needs a path, at most once a second. */
void wg_device_want_path(struct wg_peer *peer, uint64_t now);
/* Lane. Peers with persistent keepalive are woken, in slices, so that no turn takes long. */
void wg_device_wake_keepalive(struct wg_device *dev);
/* Lane. The peer's node in the current snapshot; NULL: it is not there (any more). */
const struct warren_node *wg_device_node(const struct wg_device *dev, const struct wg_peer *peer);
/* Lane. Name for log lines: the map's, or the first characters of the key. */
const char *wg_device_peer_name(const struct wg_device *dev, const struct wg_peer *peer,
				char text[64]);

/* Worker. There is news in a ring. */
void wg_device_wake_lane(struct wg_device *dev);

#endif
