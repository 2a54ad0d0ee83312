/*
 * The worker: one thread that owns a TUN queue and the UDP sockets and runs each batch to
 * completion (dataplane.md 7.1). inbound.c and outbound.c are its two directions.
 */
#ifndef WG_WORKER_H
#define WG_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/packet.h>

#include "counters.h"
#include "device.h"
#include "stage.h"
#include "tunio.h"
#include "udpio.h"

enum {
	/*
	 * Where outgoing messages are made, one behind the other, each with room for a Geneve and
	 * a transport header in front. A turn begins no packet behind WG_OUT_BUDGET; the room
	 * after it takes the longest packet.
	 */
	WG_OUT_BUDGET = 68 * 1024,
	WG_OUT_AREA = WG_OUT_BUDGET + WG_HEADROOM + 65536 + WG_MESSAGE_EXTRA,
};

struct wg_worker {
	struct wg_device *dev;
	struct warren_worker *thread;	/* the lane's */
	struct warren_worker *self;	/* the same, the worker's */
	int wake_fd;			/* eventfd */
	_Atomic bool asleep;		/* in poll, or about to be */
	_Atomic uint64_t turns;
	struct wg_counts counts;
	struct wg_stage_pool *pool;
	uint64_t now;			/* of this turn */
	uint32_t mtu;
	bool news;			/* the lane has something to do */

	struct wg_udp_in in;
	uint32_t last_index;		/* one entry of cache in front of the index table */
	struct wg_session *last_session;	/* valid within one turn */
	struct wg_peer *marked;		/* of this batch: whose marks were set last, how often */
	uint32_t marks;

	uint8_t *area;			/* WG_OUT_AREA */
	size_t used;			/* of it, by messages that are not gone yet */
	struct wg_udp_out out[2];	/* IPv4, IPv6 */
	bool blocked;			/* a socket's queue is full */

	struct warren_packet pkt[WG_BATCH];
	struct wg_peer *to[WG_BATCH];	/* outbound: the peer of each packet */
};

/* Lane. NULL with a sentence. The thread is not started yet. */
struct wg_worker *wg_worker_new(struct wg_device *dev, struct warren_err *err);
int wg_worker_start(struct wg_worker *worker, struct warren_err *err);
void wg_worker_join(struct wg_worker *worker);
void wg_worker_free(struct wg_worker *worker);	/* joined, or never started; NULL is allowed */
/* Any thread. Ends its poll. */
void wg_worker_wake(struct wg_worker *worker);
/* Lane, in `reload` only. Waits until a whole turn has passed, about 1 ms; false: stuck. */
bool wg_worker_wait_turn(struct wg_worker *worker);
struct wg_stage_pool *wg_worker_pool(const struct wg_worker *worker);

/*
 * ---- Between the files of the worker; on its thread ----
 */

/* Tells the lane. The bit of `asked` keeps one and the same news from being told twice. */
void wg_worker_ask(struct wg_worker *w, struct wg_peer *peer, uint32_t ask,
		   const struct wg_origin *origin);
/* After marks were set: the lane must not look later than a deadline they may have made. */
void wg_worker_check_look(struct wg_worker *w, struct wg_peer *peer);

/*
 * Tells what a datagram is and handles it. What is to be delivered becomes w->pkt[*n], and *@n
 * counts it; the packet lies inside @data.
 */
void wg_inbound_datagram(struct wg_worker *w, struct wg_origin *origin, uint8_t *data, size_t len,
			 uint32_t *n);
/* Receives and handles one batch. Datagrams taken. */
uint32_t wg_inbound_socket(struct wg_worker *w, int fd);
/* Handles what came by ring: relayed datagrams and injected packets. */
uint32_t wg_inbound_ring(struct wg_worker *w);
/* Runs the inbound steps from @step on over w->pkt[0..n) and delivers what is left. */
void wg_inbound_deliver(struct wg_worker *w, uint32_t step, uint32_t n);

/* Reads and sends one batch of the TUN. Packets taken. */
uint32_t wg_outbound_tun(struct wg_worker *w);
/* Reads one batch of the second source and sends it where it says. Packets taken. */
uint32_t wg_outbound_source(struct wg_worker *w);
/* Does what the lane ordered for peers. */
uint32_t wg_outbound_orders(struct wg_worker *w);
/* Sends what hooks answered. Packets taken. */
uint32_t wg_outbound_replies(struct wg_worker *w);
/* A packet from a ring, as if read from the TUN, from step @step on. */
void wg_outbound_inject(struct wg_worker *w, uint32_t step, const uint8_t *data, size_t len);
/* Sends what is queued. false: blocked. */
bool wg_outbound_flush(struct wg_worker *w);

/* Runs a hook or the verdict over packets and drops what they refuse. Packets that are left. */
uint32_t wg_step_run(struct wg_worker *w, const struct wg_step *step, uint32_t direction,
		     uint32_t n);

#endif
