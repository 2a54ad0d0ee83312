/*
 * queue.h - packets that wait for a relay: whole frames, of a number that is never exceeded
 */
#ifndef DERP_QUEUE_H
#define DERP_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct warren_derp_frame;

struct derp_packet {
	uint64_t queued;		/* warren_now() clock */
	uint32_t len;
	uint8_t frame[];
};
struct derp_queue {			/* a ring */
	struct derp_packet **slots;
	uint32_t size, head, count;
};

int derp_queue_init(struct derp_queue *q, uint32_t size);	/* 0 or -ENOMEM */
/* Frees what waits; returns how many. The queue is usable. */
uint32_t derp_queue_clear(struct derp_queue *q);
void derp_queue_fini(struct derp_queue *q);
/*
 * Copies @frame. 0; 1: the oldest was dropped for it; -ENOBUFS: full, and not @drop_oldest;
 * -ENOMEM; -EMSGSIZE: no such frame.
 */
int derp_queue_put(struct derp_queue *q, const struct warren_derp_frame *frame, bool drop_oldest,
		   uint64_t now);
/* The oldest, for free(); NULL: empty. */
struct derp_packet *derp_queue_take(struct derp_queue *q);
const struct derp_packet *derp_queue_first(const struct derp_queue *q);

#endif
