/*
 * What is written to a client, and what waits while it reads slowly. A sender never waits for a
 * receiver: what is oldest gives way. Bulk data has no part in the room of packets that find paths
 * and make sessions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "relay.h"

enum {
	HOPELESS = 1 << 20, DISCO_MIN = 62,
	MESH_HOPELESS = 12 << 20,	/* that all keys are here is told at once */
	GATHER_FIRST = 512, GATHER = 16 << 10,	/* a record of TLS */
};

bool relay_is_disco(const uint8_t *data, size_t len)
{
	static const uint8_t magic[] = { 'T', 'S', 0xf0, 0x9f, 0x92, 0xac };

	return len >= DISCO_MIN && memcmp(data, magic, sizeof(magic)) == 0;
}

/* Initiation, response and cookie of WireGuard. */
static bool is_handshake(const uint8_t *data, size_t len)
{
	return len >= 4 && data[0] >= 1 && data[0] <= 3 && !data[1] && !data[2] && !data[3];
}

void relay_dropped(struct relay *relay, enum relay_drop why, size_t len)
{
	warren_stat_add(relay->stats.dropped[why], 1);
	warren_stat_add(relay->stats.dropped_bytes[why], (int64_t)len);
}

static void dropped(struct relay_client *client, enum relay_drop why, size_t len)
{
	client->dropped++;
	relay_dropped(client->relay, why, len);
}

/* ---- what is written in one turn of the loop leaves in one piece ---- */

/*
 * Blocked is what the stream has above its mark and nothing else: only then does it tell when that
 * has drained. What is still gathered does not count.
 */
static void give(struct relay_client *client, const uint8_t *data, size_t len)
{
	if (len > 0)			/* a stream that has failed says so by itself */
		(void)warren_stream_write(client->stream, data, len);
	client->blocked = client->blocked ||
			  warren_stream_pending(client->stream) > RELAY_HIGH;
}

static void dispatch(struct relay_client *client)
{
	uint8_t *data = client->gathered;
	uint32_t len = client->n_gathered;

	list_del(&client->dirty);
	client->gathered = NULL;
	client->n_gathered = client->gather_room = 0;
	give(client, data, len);
	free(data);
}

static void on_dispatch(struct warren_ctx *ctx, void *arg)
{
	struct relay *relay = arg;

	(void)ctx;
	while (!list_empty(&relay->dirty))
		dispatch(list_first(&relay->dirty, struct relay_client, dirty));
}

/* What was said to it before it was turned away. */
void relay_last_words(struct relay_client *client)
{
	dispatch(client);
}

/* Room for @n bytes more, which are at most GATHER; NULL: no memory. */
static uint8_t *gather(struct relay_client *client, size_t n)
{
	struct relay *relay = client->relay;
	uint32_t room;
	uint8_t *data;

	if (client->n_gathered + n > GATHER)
		dispatch(client);
	room = client->gather_room ? client->gather_room : GATHER_FIRST;
	while (room < client->n_gathered + n)
		room *= 2;
	if (room != client->gather_room) {
		data = realloc(client->gathered, room);
		if (!data)
			return NULL;
		client->gathered = data;
		client->gather_room = room;
	}
	if (list_empty(&client->dirty)) {
		if (list_empty(&relay->dirty))
			warren_timer_set(relay->dispatch, 0);
		list_add_tail(&relay->dirty, &client->dirty);
	}
	return client->gathered + client->n_gathered;
}

int relay_gather_begin(struct relay *relay)
{
	list_init(&relay->dirty);
	relay->dispatch = warren_timer_new(relay->ctx, on_dispatch, relay);
	return relay->dispatch ? 0 : -ENOMEM;
}

void relay_write(struct relay_client *client, const struct warren_derp_frame *frame)
{
	struct relay *relay = client->relay;
	size_t most = WARREN_DERP_HEAD_MAX + frame->len, n, pending;
	uint8_t *room;

	if (client->state == RELAY_DOOMED)
		return;
	if (most > GATHER) {
		dispatch(client);
		n = warren_derp_put(frame, relay->out, sizeof(relay->out));
		give(client, relay->out, n);
	} else {
		room = gather(client, most);
		n = room ? warren_derp_put(frame, room, most) : 0;
		client->n_gathered += (uint32_t)n;
	}
	pending = warren_stream_pending(client->stream) + client->n_gathered;
	if (pending > (client->mesh ? MESH_HOPELESS : HOPELESS)) {
		warren_stat_add(relay->stats.shed, 1);
		relay_client_doom(client, "it does not read what is sent to it");
	}
}

static void write_packet(struct relay_client *client, const uint8_t from[32], const uint8_t *data,
			 size_t len)
{
	const struct warren_derp_frame frame = {
		.type = WARREN_DERP_RECV_PACKET, .key = from, .data = data, .len = len,
	};

	client->sent++;
	warren_stat_add(client->relay->stats.packets[1], 1);
	warren_stat_add(client->relay->stats.bytes[1], (int64_t)len);
	relay_write(client, &frame);
}

static struct relay_packet *take_first(struct relay_client *client, struct relay_queue *queue)
{
	struct relay_packet *packet = list_first(&queue->packets, struct relay_packet, link);

	list_del(&packet->link);
	queue->count--;
	client->relay->queued -= packet->len;
	return packet;
}

static void drop_first(struct relay_client *client, struct relay_queue *queue,
		       enum relay_drop why)
{
	struct relay_packet *packet = take_first(client, queue);

	dropped(client, why, packet->len);
	free(packet);
}

static void enqueue(struct relay_client *client, const uint8_t from[32], const uint8_t *data,
		    size_t len)
{
	bool path = relay_is_disco(data, len) || is_handshake(data, len);
	struct relay_queue *queue = &client->queues[path ? RELAY_PATH : RELAY_DATA];
	struct relay_packet *packet;

	if (queue->count >= RELAY_QUEUE)
		drop_first(client, queue, RELAY_DROP_OLDEST);
	packet = client->relay->queued + len > RELAY_QUEUED_MAX ? NULL :
		 malloc(sizeof(*packet) + len);
	if (!packet) {
		dropped(client, RELAY_DROP_NEWEST, len);
		return;
	}
	packet->len = len;
	memcpy(packet->from, from, 32);
	if (len > 0)
		memcpy(packet->data, data, len);
	list_add_tail(&queue->packets, &packet->link);
	queue->count++;
	client->relay->queued += len;
}

void relay_deliver(struct relay_client *to, const uint8_t from[32], const uint8_t *data,
		   size_t len)
{
	if (to->state == RELAY_DOOMED)
		dropped(to, RELAY_DROP_GONE, len);
	else if (to->blocked)
		enqueue(to, from, data, len);
	else
		write_packet(to, from, data, len);
}

void relay_flush(struct relay_client *client)
{
	client->blocked = false;
	if (client->pong_due) {
		const struct warren_derp_frame pong = {
			.type = WARREN_DERP_PONG, .data = client->pong,
			.len = sizeof(client->pong),
		};

		client->pong_due = false;
		relay_write(client, &pong);
	}
	for (int i = RELAY_QUEUES - 1; i >= 0; i--) {
		while (client->queues[i].count > 0 && !client->blocked) {
			struct relay_packet *packet = take_first(client, &client->queues[i]);

			write_packet(client, packet->from, packet->data, packet->len);
			free(packet);
		}
	}
}

void relay_queues_free(struct relay_client *client)
{
	for (int i = 0; i < RELAY_QUEUES; i++) {
		while (client->queues[i].count > 0)
			drop_first(client, &client->queues[i], RELAY_DROP_GONE);
	}
}
