/*
 * Simulated clients of a DERP relay, ours or a stock one, over TLS: each has a key of its own, and
 * logs in as the stock client does. Prints one line of JSON per measurement.
 *
 *	relay_load ADDRESS PORT idle CLIENTS
 *	relay_load ADDRESS PORT flow PAIRS SIZE
 *
 * After all are in it waits for lines on standard input. "run SECONDS": of each pair one sends
 * packets of SIZE bytes to the other, of which WINDOW are under way. The end of input ends it.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/addr.h"
#include "engine/engine.h"
#include "engine/lane.h"

#include <warren/derp.h>

#include "../unit/parts.h"

enum { AT_A_TIME = 40, WINDOW = 24 };	/* fewer than a relay keeps for one client */

struct client {
	struct warren_private key;
	uint8_t public_key[32];
	struct warren_stream *stream;
	struct warren_derp_reader reader;
	struct client *other;		/* of its pair */
	bool up;
};

static struct warren_ctx *ctx;
static struct client *clients;
static int n_clients, begun, up, failures;
static struct warren_addr at;
static const char *host;
static uint16_t port;
static uint8_t packet[WARREN_DERP_PACKET_MAX];
static size_t size;
static uint64_t until, delivered;

static void begin_next(void);

static void broke(const char *why)
{
	if (failures++ < 5)
		fprintf(stderr, "a client failed: %s\n", why ? why : "it was closed");
	begin_next();
}

static void put(struct client *c, const struct warren_derp_frame *frame)
{
	static uint8_t out[WARREN_DERP_FRAME_MAX];
	size_t n = warren_derp_put(frame, out, sizeof(out));

	if (n == 0 || warren_stream_write(c->stream, out, n))
		broke("a frame cannot be sent");
}

static void send_packet(struct client *c)
{
	const struct warren_derp_frame frame = {
		.type = WARREN_DERP_SEND_PACKET, .key = c->other->public_key, .data = packet,
		.len = size,
	};

	put(c, &frame);
}

static void take_frame(struct client *c, const struct warren_derp_frame *frame)
{
	if (frame->type == WARREN_DERP_SERVER_INFO && !c->up) {
		c->up = true;
		up++;
		begin_next();
	} else if (frame->type == WARREN_DERP_RECV_PACKET) {
		delivered += frame->len;
		if (warren_now() < until)
			send_packet(c->other);
	}
}

static void on_readable(struct warren_stream *stream, void *arg)
{
	struct client *c = arg;
	struct warren_derp_frame frame;
	size_t len, used;
	int result = 0;

	while (result == 0) {
		const uint8_t *data = warren_stream_input(stream, &len);

		result = warren_derp_read(&c->reader, data, len, &used, &frame, NULL);
		if (result == 0)
			take_frame(c, &frame);
		if (result >= 0)
			warren_stream_drain(stream, used);
	}
}

static void on_ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)stream;
	(void)result;
	(void)arg;
	broke(why);
}

static const struct warren_stream_events events = {
	.size = sizeof(events), .readable = on_readable, .ended = on_ended,
};

static void on_dialled(struct warren_ctx *of, struct warren_stream *stream, const char *why,
		       void *arg)
{
	static const struct warren_derp_client_info info = {
		.version = WARREN_DERP_VERSION, .can_ack_pings = true,
	};
	struct client *c = arg;
	char text[WARREN_DERP_INFO_TEXT], head[200];
	uint8_t box[WARREN_DERP_INFO_TEXT + 40], server_key[32];
	struct warren_derp_frame frame = { .type = WARREN_DERP_CLIENT_INFO,
					   .key = c->public_key, .data = box };
	size_t n = warren_derp_client_info_text(&info, text);

	(void)of;
	if (!stream || !warren_derp_meta_key(stream, server_key)) {
		broke(why ? why : "the relay does not tell its key in TLS");
		return;
	}
	c->stream = stream;
	c->reader = (struct warren_derp_reader){ .size = sizeof(c->reader),
						 .side = WARREN_DERP_CLIENT };
	warren_stream_set(stream, &events, c);
	snprintf(head, sizeof(head), "GET /derp HTTP/1.1\r\nHost: %s\r\nUpgrade: DERP\r\n"
		 "Connection: Upgrade\r\nDerp-Fast-Start: 1\r\n\r\n", host);
	warren_stream_write(stream, head, strlen(head));
	warren_private_seal(&c->key, server_key, (uint8_t *)text, n, box);
	frame.len = n + 40;
	put(c, &frame);
}

static void begin_next(void)
{
	const struct warren_tls_client tls = { .size = sizeof(tls), .server_name = host,
					       .flags = WARREN_TLS_INSECURE };
	const struct warren_dial_options options = {
		.size = sizeof(options), .flags = WARREN_DIAL_NO_PROXY, .name = host,
		.port = port, .addresses = &at, .n_addresses = 1, .tls = &tls,
	};
	struct client *c = &clients[begun];

	if (begun == n_clients)
		return;
	begun++;
	warren_private_new(&c->key);
	warren_private_public(&c->key, c->public_key);
	if (!warren_dial(ctx, &options, on_dialled, c))
		failures++;
}

static void run(struct wcore_lane *lane, double seconds)
{
	uint64_t began = warren_now();

	delivered = 0;
	until = began + (uint64_t)(seconds * 1e6);
	for (int i = 0; i < n_clients; i += 2) {
		for (int k = 0; k < WINDOW; k++)
			send_packet(&clients[i]);
	}
	while (warren_now() < until)
		wcore_lane_turn(lane, false);
	printf("{\"bytes\": %llu, \"seconds\": %.3f}\n", (unsigned long long)delivered,
	       (double)(warren_now() - began) / 1e6);
	fflush(stdout);
}

/* Turns the loop until a line is there. False: the input has ended. */
static bool next_line(struct wcore_lane *lane, char *line, int room)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };

	for (;;) {
		for (int i = 0; i < 50; i++)
			wcore_lane_turn(lane, false);
		if (poll(&in, 1, 10) > 0)
			return fgets(line, room, stdin) != NULL;
	}
}

int main(int argc, char **argv)
{
	const struct rlimit files = { 65536, 65536 };
	bool flow = argc == 6 && strcmp(argv[3], "flow") == 0;
	struct wcore_engine *engine;
	struct wcore_lane *lane;
	char line[64];
	uint64_t began;

	if ((!flow && (argc != 5 || strcmp(argv[3], "idle") != 0)) ||
	    addr_parse(argv[1], &at)) {
		fputs("usage: relay_load ADDRESS PORT idle CLIENTS | flow PAIRS SIZE\n", stderr);
		return 2;
	}
	(void)setrlimit(RLIMIT_NOFILE, &files);
	host = argv[1];
	port = (uint16_t)strtoul(argv[2], NULL, 10);
	n_clients = (int)strtol(argv[4], NULL, 10) * (flow ? 2 : 1);
	size = flow ? strtoul(argv[5], NULL, 10) : 0;
	if (n_clients < 1 || size > sizeof(packet))
		return 2;
	clients = calloc((size_t)n_clients, sizeof(*clients));
	for (int i = 0; flow && clients && i < n_clients; i++)
		clients[i].other = &clients[i ^ 1];
	engine = parts_engine(-1);
	lane = wcore_engine_main(engine);
	ctx = parts_ctx(engine, lane);
	began = warren_now();
	for (int i = 0; i < AT_A_TIME; i++)
		begin_next();
	while (up + failures < n_clients && warren_now() < began + UINT64_C(120000000))
		wcore_lane_turn(lane, false);
	printf("{\"up\": %d, \"failures\": %d, \"seconds\": %.3f}\n", up, failures,
	       (double)(warren_now() - began) / 1e6);
	fflush(stdout);
	while (next_line(lane, line, sizeof(line))) {
		double seconds = strncmp(line, "run ", 4) == 0 ? strtod(line + 4, NULL) : 0;

		if (flow && seconds > 0)
			run(lane, seconds);
	}
	/* The process ends with all of it: what it measured is out. */
	return 0;
}
