/*
 * warren/packet.h - the packet path: workers, epochs, hooks
 *
 * Worker threads own TUN queues and sockets and run each batch of packets to completion. Tables
 * that they read (peers, sessions, allowed IPs, filter) are written by the main lane alone, as new
 * objects that are published by one atomic store. Workers publish an epoch once per turn and are
 * offline around poll(); warren_retire() frees an object when all workers have passed. Nobody
 * waits.
 *
 * What a hook may call: warren_stat_add/set, warren_now, packet_reply and hand_over of the data
 * plane, and functions over its own tables that neither lock, allocate nor enter the loop. Nothing
 * else.
 */
#ifndef WARREN_PACKET_H
#define WARREN_PACKET_H

#include <warren/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * ---- Worker threads: started and joined by the core ----
 *
 * @run is the thread's body; it calls warren_worker_turn() once per batch and wraps a blocking
 * poll() in warren_worker_offline()/warren_worker_online(). It returns soon after
 * warren_worker_stopping() turns true: @wake (called on the lane) must end its poll(). The
 * context's end stops and joins what still runs.
 */
struct warren_worker;
struct warren_worker *warren_worker_start(struct warren_ctx *ctx, const char *name,
					  void (*run)(struct warren_worker *worker, void *arg),
					  void (*wake)(void *arg), void *arg,
					  struct warren_err *err);
bool warren_worker_stopping(const struct warren_worker *worker);	/* any thread */
void warren_worker_turn(struct warren_worker *worker);	/* the worker: holds no old pointer */
void warren_worker_offline(struct warren_worker *worker);	/* the worker: about to block */
void warren_worker_online(struct warren_worker *worker);
void warren_worker_join(struct warren_worker *worker);		/* lane: stop, wake, join, free */

/* Lane. Calls @free_fn(@ptr) on the lane once no worker can hold @ptr, at the latest with @ctx. */
void warren_retire(struct warren_ctx *ctx, void *ptr, void (*free_fn)(void *ptr));

/*
 * ---- Packets ----
 */

enum { WARREN_PKT_OUT = 0, WARREN_PKT_IN = 1 };	/* towards a peer; from a peer, decrypted */
enum { WARREN_PKT_ACCEPT = 0, WARREN_PKT_DROP = 1, WARREN_PKT_TAKEN = 2,
       WARREN_PKT_HOST = 3 };		/* of a second source: to the host (dataplane.h) */

struct warren_packet {
	uint8_t *data;			/* the inner IP packet, version and length checked */
	uint32_t len;
	uint32_t peer;			/* dataplane peer number; OUT: 0 until the route is known */
	uint8_t verdict;		/* in: ACCEPT; out: what the hook decided */
	uint8_t reason;			/* of a drop: the verdict provider's own number */
	uint16_t segment;		/* payload size if `data` is a super-packet, else 0 */
	void *peer_arg;			/* what the verdict provider bound to the peer, or NULL */
};

/* A vector of packets of one direction; sets `verdict` of each. Runs on any worker. */
typedef void warren_packet_fn(void *self, uint32_t direction, struct warren_packet *pkt,
			      uint32_t n, uint64_t now);

/*
 * Packet hooks are ordered by names: "filter" is the verdict slot, "route" the step that finds the
 * peer (OUT) or ends the path (IN). @before and @after name other hooks, or NULL.
 */
struct warren_hook {
	const char *name;
	const char *before, *after;
	uint32_t directions;		/* 1 << WARREN_PKT_OUT | 1 << WARREN_PKT_IN */
	warren_packet_fn *fn;
	void *self;
};

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
