/*
 * The queue in front of a connection. What has been handed to TLS cannot be taken back, so packets
 * wait here, where the oldest can be dropped as a whole.
 */
#include "queue.h"

#include <errno.h>
#include <stdlib.h>

#include <warren/derp.h>

int derp_queue_init(struct derp_queue *q, uint32_t size)
{
	*q = (struct derp_queue){ .size = size };
	q->slots = calloc(size, sizeof(*q->slots));
	return q->slots ? 0 : -ENOMEM;
}

const struct derp_packet *derp_queue_first(const struct derp_queue *q)
{
	return q->count > 0 ? q->slots[q->head] : NULL;
}

struct derp_packet *derp_queue_take(struct derp_queue *q)
{
	struct derp_packet *packet;

	if (q->count == 0)
		return NULL;
	packet = q->slots[q->head];
	q->head = (q->head + 1) % q->size;
	q->count--;
	return packet;
}

uint32_t derp_queue_clear(struct derp_queue *q)
{
	uint32_t n = q->count;

	while (q->count > 0)
		free(derp_queue_take(q));
	return n;
}

void derp_queue_fini(struct derp_queue *q)
{
	derp_queue_clear(q);
	free(q->slots);
	q->slots = NULL;
}

int derp_queue_put(struct derp_queue *q, const struct warren_derp_frame *frame, bool drop_oldest,
		   uint64_t now)
{
	size_t room = WARREN_DERP_HEAD_MAX + frame->len;
	struct derp_packet *packet;
	int dropped = 0;

	if (q->count == q->size && !drop_oldest)
		return -ENOBUFS;
	packet = malloc(sizeof(*packet) + room);
	if (!packet)
		return -ENOMEM;
	packet->queued = now;
	packet->len = (uint32_t)warren_derp_put(frame, packet->frame, room);
	if (packet->len == 0) {
		free(packet);
		return -EMSGSIZE;
	}
	if (q->count == q->size) {
		free(derp_queue_take(q));
		dropped = 1;
	}
	q->slots[(q->head + q->count++) % q->size] = packet;
	return dropped;
}
