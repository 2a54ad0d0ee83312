/*
 * warren/service/dataplane.h - service "dataplane" 0.5: the border of the WireGuard data plane
 *
 * `wg` offers it. Functions: provider's lane unless marked. Callbacks run on the lane of the ctx
 * that registered them, and end with that ctx. Every ring between workers and lane has a fixed size
 * and a stated drop rule: relay data drops the oldest, foreign packets, replies and handshakes the
 * newest; each drop is counted. Peers are named by their WireGuard public key; `number` is a small
 * integer that is stable while the peer exists.
 * Sources: design.md 4; dataplane.md 2 (lazy peers, foreign packets, Geneve), 7.
 */
#ifndef WARREN_SERVICE_DATAPLANE_H
#define WARREN_SERVICE_DATAPLANE_H

#include <warren/packet.h>
#include <warren/plugin.h>

/*
 * ---- Paths: one writer ----
 */

enum { WARREN_PATH_NONE = 0, WARREN_PATH_UDP, WARREN_PATH_GENEVE, WARREN_PATH_RELAY };
struct warren_data_path {
	uint32_t size;
	uint32_t kind;
	struct warren_addrport address;	/* UDP, GENEVE */
	uint32_t vni;			/* GENEVE */
	uint32_t region;		/* RELAY: sent through relay_out */
	uint64_t generation;		/* the writer's; told back in status */
	/* UDP, GENEVE: everything goes through this relay as well, while in doubt; 0: no (0.2). */
	uint32_t copy_region;
	bool tell;			/* `wanted` is called when something is sent (0.2) */
};

struct warren_path_events {		/* for the one attached writer of paths */
	uint32_t size;
	/* An authentic bare UDP datagram of @peer came from @address, not its present path. */
	void (*proved)(void *arg, const uint8_t peer[32], const struct warren_addrport *address);
	/* WARREN_SESSION_; ESTABLISHED: keys derived. */
	void (*session)(void *arg, const uint8_t peer[32], uint32_t state);
	/*
	 * A peer has packets and no path (kind NONE) or one that was to tell, or nothing has been
	 * answered for 15 s. At most once a second.
	 */
	void (*wanted)(void *arg, const uint8_t peer[32]);
	/* From ring relay_out: send these bytes to @peer through @region. */
	void (*relay_out)(void *arg, uint32_t region, const uint8_t peer[32], const uint8_t *data,
			  size_t len);
};
enum { WARREN_SESSION_NONE = 0, WARREN_SESSION_HANDSHAKE, WARREN_SESSION_ESTABLISHED,
       WARREN_SESSION_EXPIRED };

/*
 * ---- Foreign packets: what shares the socket with WireGuard ----
 */

enum { WARREN_FOREIGN_STUN = 0, WARREN_FOREIGN_DISCO, WARREN_FOREIGN_GENEVE_DISCO,
       WARREN_FOREIGN_TSMP,		/* handed over by a hook: whole inner packets */
       WARREN_FOREIGN_PONG,		/* the same: answers to pings inside the tunnel (0.3) */
       WARREN_FOREIGN_CLASSES };
/* In a VNI of Geneve-encapsulated disco, either way: the header's control bit. */
#define WARREN_VNI_CONTROL (UINT32_C(1) << 31)
/* @data lives for the call. @vni: GENEVE_DISCO, with WARREN_VNI_CONTROL. */
typedef void warren_foreign_fn(void *arg, const struct warren_addrport *from, uint32_t vni,
			       const uint8_t *data, size_t len);

/*
 * What the data of our own ICMP echo requests begins with; then whoever pings has it. Replies with
 * it are handed over as WARREN_FOREIGN_PONG, as the pongs of TSMP are, and do not reach the host
 * where somebody takes that class (0.3).
 */
#define WARREN_PING_MARK "warrenpg"

enum { WARREN_REPLY_MAX = 252 };		/* bytes of a packet_reply() */

/*
 * ---- Verdicts: the policy slot ----
 *
 * An empty slot drops every inner packet and counts it, unless the network map selects the built-in
 * policy. A provider swaps its table by pointer; a reload never empties the slot. The old table is
 * retired (freed after the workers' grace) by the data plane through @free.
 */
struct warren_verdict {
	uint32_t size;
	warren_packet_fn *fn;		/* workers; `self` is `table` */
	void *table;
	void (*free)(void *table);	/* lane, after the grace; NULL: not owned */
	const char *name;		/* "filter", shown in status */
};

/*
 * ---- A second source of packets (0.4) ----
 *
 * The queue of a TUN device that is this node's own, in a namespace of its own (`svcnet`). A worker
 * reads it as it reads the host's TUN, under the same back pressure: while its sockets are full it
 * reads neither. Each batch is shown to @fn (direction OUT), which says of each packet: ACCEPT, to
 * the peers, from the verdict slot on; WARREN_PKT_HOST, into the host's TUN; else it is gone.
 */
struct warren_source {
	uint32_t size;
	int fd;				/* one packet per read, no header in front */
	warren_packet_fn *fn;
	void *self;
};

/*
 * ---- Status ----
 */

struct warren_peer_status {
	uint32_t size;
	uint32_t number;
	uint8_t key[32];
	uint32_t session;		/* WARREN_SESSION_ */
	struct warren_data_path path;
	uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets;	/* inner packets, peer's life */
	uint64_t last_handshake;	/* warren_now() clock; 0 never */
	int64_t last_handshake_realtime;	/* microseconds since 1970 */
	uint64_t last_rx, last_tx;	/* authenticated packets, warren_now() clock; 0 never */
};

struct warren_dataplane_ops {
	uint32_t size;

	/* The TUN device. Any thread. */
	const char *(*ifname)(void *self);
	uint32_t (*ifindex)(void *self);
	uint32_t (*mtu)(void *self);
	/* The UDP port that is bound, host order; 0 while there is none. Any thread. */
	uint16_t (*port)(void *self, uint32_t family);

	/*
	 * Becomes the one writer of paths; -EBUSY when there is one. Until then, and after @ctx
	 * ended: the map's endpoints and WireGuard roaming. With a writer nothing roams.
	 */
	int (*paths_attach)(void *self, struct warren_ctx *ctx,
			    const struct warren_path_events *events, void *arg);
	/* Atomic: packets under way use the old or the new one. -ENOENT: no such peer. */
	int (*path_set)(void *self, const uint8_t peer[32], const struct warren_data_path *path);
	int (*path_get)(void *self, const uint8_t peer[32], struct warren_data_path *path);
	/* Starts a handshake now if there is no fresh session. */
	int (*handshake)(void *self, const uint8_t peer[32]);

	/* One taker per class; NULL fn gives it up. Without a taker: counted and dropped. */
	int (*foreign)(void *self, struct warren_ctx *ctx, uint32_t class_, warren_foreign_fn *fn,
		       void *arg);
	/* Sends from the data plane's own socket; -EAGAIN: its queue is full. @vni 0: none. */
	int (*raw_send)(void *self, const struct warren_addrport *to, uint32_t vni,
			const uint8_t *data, size_t len);
	/* A WireGuard datagram that came from @peer through relay @region: to the owning worker. */
	int (*inject)(void *self, uint32_t region, const uint8_t peer[32], const uint8_t *data,
		      size_t len);

	/* -EBUSY: somebody else holds the slot. The slot is emptied (drop all) when @ctx ends. */
	int (*verdict_set)(void *self, struct warren_ctx *ctx,
			   const struct warren_verdict *verdict);
	/* Binds the provider's argument to a peer (packet.peer_arg); retired by @free_fn. */
	int (*peer_arg_set)(void *self, struct warren_ctx *ctx, const uint8_t peer[32], void *arg,
			    void (*free_fn)(void *));

	/* Copies @hook; removed with @ctx. -EEXIST: the name is taken, -ELOOP: the order is. */
	int (*hook_add)(void *self, struct warren_ctx *ctx, const struct warren_hook *hook,
			struct warren_err *err);
	/*
	 * Puts an inner packet on the path as if read from the TUN (OUT) or decrypted and accepted
	 * (IN, delivered to the TUN); copied. Hooks that come after those of @ctx see it; all do if
	 * @ctx has none. The verdict slot is asked about OUT only. -EAGAIN: the ring is full.
	 */
	int (*packet_inject)(void *self, struct warren_ctx *ctx, uint32_t direction,
			     const uint8_t *data, size_t len);

	/* Calls @fn for each peer that exists in the data plane, or for one. */
	void (*peers)(void *self, void (*fn)(const struct warren_peer_status *, void *), void *arg);
	int (*peer)(void *self, const uint8_t peer[32], struct warren_peer_status *status);

	/*
	 * Any thread, packet hooks and the verdict too (0.2): sends an inner packet of at most
	 * WARREN_REPLY_MAX bytes to the peer that has its destination; copied. The verdict slot is
	 * not asked, hooks behind it see the packet. -EAGAIN: the ring is full, counted; -EMSGSIZE.
	 * Whoever answers packets of peers limits the rate himself.
	 */
	int (*packet_reply)(void *self, const uint8_t *data, size_t len);
	/*
	 * Any thread, packet hooks and the verdict too (0.2): gives the taker of @class_ a copy of
	 * an inner packet, on the lane; `from` is all zero. -ENOENT: nobody takes it; -EAGAIN,
	 * -EMSGSIZE. Both are counted. The caller limits the rate.
	 */
	int (*hand_over)(void *self, uint32_t class_, const uint8_t *data, size_t len);
	/*
	 * (0.4) Takes @source->fd, also where it fails, and closes it when no worker can use it any
	 * more after @ctx ended; so hooks of @ctx may write to it, if they are added after this
	 * call. -EBUSY: there is a source already.
	 */
	int (*source_take)(void *self, struct warren_ctx *ctx, const struct warren_source *source);

	/*
	 * Whether what is sent by UDP must not be fragmented, by this host or a router (0.4). At
	 * the start it may, and again when the writer of paths has ended. The sockets of a later
	 * port are the same. -errno of the socket option.
	 */
	int (*dont_fragment)(void *self, bool on);
	/*
	 * As raw_send, but out of that interface and from that address of it, or not at all (0.5):
	 * -errno where the kernel knows no way.
	 */
	int (*raw_send_by)(void *self, uint32_t ifindex, const struct warren_addr *from,
			   const struct warren_addrport *to, const uint8_t *data, size_t len);
};

#endif
