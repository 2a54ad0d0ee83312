/*
 * Packets that wait for a session: copies in chains of small chunks from one fixed pool, so that a
 * packet costs about its own size and nothing is allocated. The queue of a peer holds
 * WG_MAX_STAGED packets; when it or the pool is full its oldest packet goes first.
 *
 * The worker owns pool and queues. The lane only gives back the queue of a peer that no worker can
 * see any more: wg_stage_return().
 */
#ifndef WG_STAGE_H
#define WG_STAGE_H

#include <stddef.h>
#include <stdint.h>

struct wg_stage_pool;
struct wg_stage_chunk;

struct wg_staged {			/* zeroed: empty */
	struct wg_stage_chunk *first, *last;	/* first chunks of the oldest and newest packet */
	uint32_t count;
};

struct wg_stage_pool *wg_stage_pool_new(size_t bytes);	/* NULL: no memory */
void wg_stage_pool_free(struct wg_stage_pool *pool);	/* queues become invalid */

/*
 * Worker. Copies @data to the end of @queue; returns how many packets were lost for it: older ones,
 * or @data itself when nothing can make room.
 */
uint32_t wg_stage_push(struct wg_stage_pool *pool, struct wg_staged *queue, const uint8_t *data,
		       size_t len);
/* Worker. Length of the oldest packet; 0: the queue is empty. */
size_t wg_stage_peek(const struct wg_staged *queue);
/* Worker. Moves the oldest packet to @out, which has room for its length. */
void wg_stage_pop(struct wg_stage_pool *pool, struct wg_staged *queue, uint8_t *out);
/* Worker. Drops all; returns how many. */
uint32_t wg_stage_clear(struct wg_stage_pool *pool, struct wg_staged *queue);
/* Lane, after the grace of the queue's peer. Drops all. */
void wg_stage_return(struct wg_stage_pool *pool, struct wg_staged *queue);

#endif
