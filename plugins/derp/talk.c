/*
 * What is said after the login: frames both ways, pings, silence. Packets wait in the region's
 * queues until TLS has room for them, and are then given to it in pieces of many frames.
 */
#include "conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"

enum {
	PIECE = 16 << 10,		/* as much as a record of TLS holds */
	BACKLOG = 64 << 10,		/* bytes handed to the stream and not sent: no more then */
	TURN = 256 << 10,		/* of one flush: others want the lane too */
};

static void count_passed_over(struct derp_conn *conn)
{
	struct derp_client *client = conn->region->client;

	if (conn->reader.unknown > conn->passed_unknown)
		derp_count(client, DERP_UNKNOWN,
			   (int64_t)(conn->reader.unknown - conn->passed_unknown));
	if (conn->reader.malformed > conn->passed_malformed)
		derp_count(client, DERP_MALFORMED,
			   (int64_t)(conn->reader.malformed - conn->passed_malformed));
	conn->passed_unknown = conn->reader.unknown;
	conn->passed_malformed = conn->reader.malformed;
}

static void on_ping(struct derp_conn *conn, const struct warren_derp_frame *frame)
{
	const struct warren_derp_frame pong = {
		.type = WARREN_DERP_PONG, .data = frame->data, .len = frame->len,
	};

	/* One that takes nothing will not read its pongs either. */
	if (warren_stream_pending(conn->stream) < BACKLOG)
		derp_conn_put(conn, &pong);
}

static void on_pong(struct derp_conn *conn, const struct warren_derp_frame *frame)
{
	if (!conn->ping_sent || memcmp(frame->data, conn->ping, sizeof(conn->ping)) != 0)
		return;
	conn->region->rtt = warren_now() - conn->ping_sent;
	conn->ping_sent = 0;
}

static void on_frame(struct derp_conn *conn, const struct warren_derp_frame *frame)
{
	switch (frame->type) {
	case WARREN_DERP_RECV_PACKET:
		derp_region_received(conn->region, frame);
		break;
	case WARREN_DERP_PEER_GONE:
		derp_region_gone(conn->region, frame);
		break;
	case WARREN_DERP_PING:
		on_ping(conn, frame);
		break;
	case WARREN_DERP_PONG:
		on_pong(conn, frame);
		break;
	case WARREN_DERP_HEALTH:
		derp_region_health(conn->region, frame);
		break;
	case WARREN_DERP_RESTARTING:
		derp_region_restarting(conn->region, frame);
		break;
	default:
		/* KeepAlive; ServerKey, which comes late after a fast start; what nobody asked
		   for. */
		break;
	}
}

static void on_readable(struct warren_stream *stream, void *arg)
{
	struct derp_conn *conn = arg;
	struct warren_derp_frame frame;
	struct warren_err err = ERR_INIT;
	size_t len, used = 0, n;
	const uint8_t *data = warren_stream_input(stream, &len);
	int result = 0;

	derp_conn_enter(conn);
	conn->region->last_rx = warren_now();
	conn->pinged = false;
	while (!conn->dead && result == 0) {
		result = warren_derp_read(&conn->reader, data + used, len - used, &n, &frame, &err);
		used += n;
		if (result == 0)
			on_frame(conn, &frame);
	}
	if (!conn->dead) {
		count_passed_over(conn);
		warren_stream_drain(stream, used);
	}
	if (result < 0)
		derp_conn_fail(conn, err_first(&err));
	err_free(&err);
	derp_conn_leave(conn);
}

static void on_drained(struct warren_stream *stream, void *arg)
{
	(void)stream;
	derp_conn_flush(arg);
}

static void on_ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)stream;
	(void)result;
	derp_conn_fail(arg, why ? why : "it closed the connection");
}

const struct warren_stream_events derp_talk_events = {
	.size = sizeof(derp_talk_events), .readable = on_readable, .drained = on_drained,
	.ended = on_ended,
};

/*
 * ---- Silence ----
 */

void derp_talk_begin(struct derp_conn *conn)
{
	conn->region->last_rx = warren_now();
	warren_timer_set(conn->timer, DERP_SILENCE_USEC);
}

void derp_conn_ping(struct derp_conn *conn, uint64_t usec)
{
	const struct warren_derp_frame ping = {
		.type = WARREN_DERP_PING, .data = conn->ping, .len = sizeof(conn->ping),
	};

	if (conn->phase != DERP_OPEN)
		return;
	randombytes_buf(conn->ping, sizeof(conn->ping));
	conn->ping_sent = warren_now();
	conn->pinged = true;
	derp_conn_put(conn, &ping);
	warren_timer_set(conn->timer, usec);
}

/* Whatever came since the ping is an answer. */
void derp_talk_timer(struct derp_conn *conn)
{
	uint64_t silent = warren_now() - conn->region->last_rx;

	if (conn->pinged)
		derp_conn_fail(conn, "it has not answered a ping");
	else if (silent >= DERP_SILENCE_USEC)
		derp_conn_ping(conn, DERP_PING_USEC);
	else
		warren_timer_set(conn->timer, DERP_SILENCE_USEC - silent);
}

/*
 * ---- Sending ----
 */

/* path-protocols.md 1.9: what is over the rate is dropped, and nobody is told. */
bool derp_conn_allows(struct derp_conn *conn, size_t len)
{
	enum { SECOND = 1000000, MOST = 1 << 30 };
	uint64_t now = warren_now(), passed = now - conn->tokens_at, rate = conn->rate, more;
	size_t cost = WARREN_DERP_HEADER + 32 + len;

	if (!rate)
		return true;
	rate = rate < MOST ? rate : MOST;
	passed = passed < SECOND ? passed : SECOND;
	more = rate * passed / SECOND;
	if (more > 0) {			/* else fractions would be lost */
		conn->tokens_at = now;
		conn->tokens = more < conn->burst - conn->tokens ? conn->tokens + more :
			       conn->burst;
	}
	if (conn->tokens < cost)
		return false;
	conn->tokens -= cost;
	return true;
}

static struct derp_packet *next_packet(struct derp_region *region, size_t room)
{
	uint64_t now = warren_now();

	for (;;) {
		struct derp_queue *q = derp_queue_first(&region->disco) ? &region->disco :
				       &region->data;
		const struct derp_packet *first = derp_queue_first(q);

		if (!first || first->len > room)
			return NULL;
		if (now - first->queued <= DERP_STALE_USEC)
			return derp_queue_take(q);
		free(derp_queue_take(q));
		region->dropped++;
		derp_count(region->client, DERP_DROP_STALE, 1);
	}
}

static void sent(struct derp_region *region, const struct derp_packet *packet)
{
	const size_t head = WARREN_DERP_HEADER + 32;

	region->tx_packets++;
	region->tx_bytes += packet->len - head;
	derp_count(region->client, DERP_TX, 1);
	derp_count(region->client, DERP_TX_BYTES, (int64_t)(packet->len - head));
}

/* As many frames as a piece holds, or one that is longer. Returns the bytes; 0: nothing waits. */
static size_t fill(struct derp_region *region, uint8_t piece[WARREN_DERP_FRAME_MAX])
{
	size_t n = 0, room = WARREN_DERP_FRAME_MAX;
	struct derp_packet *packet;

	while ((packet = next_packet(region, room))) {
		memcpy(piece + n, packet->frame, packet->len);
		n += packet->len;
		sent(region, packet);
		free(packet);
		room = n < PIECE ? PIECE - n : 0;
	}
	return n;
}

void derp_talk_flush(struct derp_conn *conn)
{
	uint8_t piece[WARREN_DERP_FRAME_MAX];
	size_t total = 0, n;

	while (!conn->dead && conn->phase >= DERP_AWAIT_INFO && total < TURN &&
	       warren_stream_pending(conn->stream) < BACKLOG &&
	       (n = fill(conn->region, piece)) > 0) {
		if (warren_stream_write(conn->stream, piece, n))
			return;		/* its end will be told */
		total += n;
	}
	if (total >= TURN)
		derp_conn_flush(conn);
}
