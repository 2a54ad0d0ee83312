/*
 * Simulated clients of a coordination server, over real sockets: each has a machine key, a Noise
 * session, a registration and a map stream of its own. Prints one line of JSON per measurement.
 *
 *	tailnet_load HOST PORT SERVER-KEY AUTH-KEY CLIENTS AT-A-TIME
 *
 * After all have joined it waits for a line on standard input: "change" lets one of them announce
 * an endpoint and says how long it takes until all others were told; the end of input ends it.
 */
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/base64.h"
#include "base/str.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/loop.h"
#include "net/dial_impl.h"

#include <warren/net.h>

#include "../unit/parts.h"

struct client {
	struct warren_private machine, node;
	uint8_t node_key[32];
	struct warren_noise *noise;
	struct warren_http *outer, *http;
	struct warren_exchange *stream;
	uint32_t left;			/* bytes of the message under way */
	uint8_t head[4];
	uint32_t head_len;
	uint64_t messages;
	uint64_t told;			/* when the last message was whole */
	struct warren_timer *timer;	/* begins the next step */
	void (*step)(struct client *c);
	int index;
};

static struct warren_ctx *ctx;
static struct client *clients;
static int n_clients, at_a_time, next_client, joined, failures;
static const char *host, *auth_key;
static uint16_t port;
static uint8_t server_key[32];

static void broke(const char *why)
{
	if (failures++ < 5)
		fprintf(stderr, "a client failed: %s\n", why ? why : "?");
}

static void begin_next(void);

static int dh(void *arg, const uint8_t peer[32], uint8_t out[32])
{
	return crypto_scalarmult_curve25519(out, arg, peer);
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct client *c = arg;

	(void)x;
	(void)result;
	c->stream = NULL;
	broke(why);
}

static void on_step(struct warren_ctx *where, void *arg)
{
	struct client *c = arg;

	(void)where;
	c->step(c);
}

static void later(struct client *c, void (*step)(struct client *c))
{
	c->step = step;
	warren_timer_set(c->timer, 0);
}

static struct warren_exchange *post(struct client *c, const char *path, const char *body,
				    const struct warren_exchange_events *events)
{
	const struct warren_http_head head = {
		.size = sizeof(head), .method = "POST", .scheme = "https", .authority = "x",
		.path = path, .length = (int64_t)strlen(body),
	};
	struct warren_exchange *x = warren_http_request(c->http, &head, events, c);

	if (!x || warren_exchange_write(x, body, strlen(body)) || warren_exchange_end(x)) {
		broke("a request cannot be sent");
		return NULL;
	}
	return x;
}

/* ---- the map stream ---- */

/* Only lengths are looked at: a message is whole when its bytes have come. */
static int map_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct client *c = arg;

	(void)x;
	while (len > 0) {
		size_t n;

		if (c->head_len < 4) {
			c->head[c->head_len++] = *data++;
			len--;
			if (c->head_len == 4)
				c->left = c->head[0] | (uint32_t)c->head[1] << 8 |
					  (uint32_t)c->head[2] << 16 | (uint32_t)c->head[3] << 24;
			continue;
		}
		n = len < c->left ? len : c->left;
		data += n;
		len -= n;
		c->left -= (uint32_t)n;
		if (c->left > 0)
			break;
		c->head_len = 0;
		c->told = warren_now();
		if (c->messages++ == 0) {
			joined++;
			begin_next();
		}
	}
	return 0;
}

static const struct warren_exchange_events map_events = {
	.size = sizeof(map_events), .body = map_body, .failed = on_failed,
};

static void open_stream(struct client *c)
{
	char body[512], key[WARREN_KEYTEXT_MAX];

	snprintf(body, sizeof(body), "{\"Version\":137,\"Compress\":\"zstd\",\"KeepAlive\":true,"
		 "\"NodeKey\":\"%s\",\"Stream\":true,\"Hostinfo\":{\"Hostname\":\"sim-%d\","
		 "\"OS\":\"linux\"}}",
		 warren_keytext_format(WARREN_KEYTEXT_NODE, c->node_key, key), c->index);
	c->stream = post(c, "/machine/map", body, &map_events);
}

/* ---- registration ---- */

static void reg_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	(void)x;
	(void)arg;
	if (head->status != 200)
		broke("the registration has another status than 200");
}

static void reg_complete(struct warren_exchange *x, void *arg)
{
	(void)x;
	later(arg, open_stream);
}

static const struct warren_exchange_events register_events = {
	.size = sizeof(register_events), .head = reg_head, .complete = reg_complete,
	.failed = on_failed,
};

static void send_register(struct client *c)
{
	char body[1024], key[WARREN_KEYTEXT_MAX];

	snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"OldNodeKey\":\"\","
		 "\"Auth\":{\"AuthKey\":\"%s\"},\"Expiry\":\"0001-01-01T00:00:00Z\","
		 "\"Followup\":\"\",\"Hostinfo\":{\"Hostname\":\"sim-%d\",\"OS\":\"linux\"}}",
		 warren_keytext_format(WARREN_KEYTEXT_NODE, c->node_key, key), auth_key, c->index);
	post(c, "/machine/register", body, &register_events);
}

/* ---- connecting ---- */

static void http_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)http;
	(void)result;
	(void)arg;
	broke(why);
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .ended = http_ended,
};
static const struct warren_http_events no_events = { .size = sizeof(no_events) };

static void end_outer(struct client *c)
{
	warren_http_close(c->outer);
	c->outer = NULL;
	send_register(c);
}

static void shaken(struct warren_stream *stream, int result, const char *why, void *arg)
{
	const struct warren_http_options options = {
		.size = sizeof(options), .version = WARREN_HTTP_2, .idle_timeout = UINT64_MAX,
		.body_max = -1,
	};
	struct client *c = arg;

	if (result) {
		broke(why);
		return;
	}
	c->http = warren_http_client_take(stream, &options, &http_events, c);
	later(c, end_outer);
}

static void upgraded(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct client *c = arg;

	if (head->status != 101) {
		broke("the upgrade is refused");
		return;
	}
	if (!warren_noise_connect_take(warren_exchange_upgrade(x, NULL, 0), c->noise, shaken, c))
		broke("no memory");
}

static const struct warren_exchange_events upgrade_events = {
	.size = sizeof(upgrade_events), .head = upgraded, .failed = on_failed,
};

static void dialled(struct warren_ctx *where, struct warren_stream *stream, const char *why,
		    void *arg)
{
	const struct warren_http_options options = { .size = sizeof(options),
						     .version = WARREN_HTTP_1 };
	struct client *c = arg;
	struct warren_noise_key self = { .size = sizeof(self), .dh = dh,
					 .arg = c->machine.secret };
	uint8_t init[WARREN_NOISE_INIT];
	char hello[BASE64_TEXT(WARREN_NOISE_INIT)];
	const struct warren_http_field fields[] = {
		{ "Upgrade", "tailscale-control-protocol" }, { "Connection", "upgrade" },
		{ "X-Tailscale-Handshake", hello },
	};
	const struct warren_http_head head = {
		.size = sizeof(head), .method = "POST", .scheme = "http", .authority = host,
		.path = "/ts2021", .fields = fields, .n_fields = 3,
	};

	(void)where;
	if (!stream) {
		broke(why);
		return;
	}
	warren_private_public(&c->machine, self.public_key);
	c->noise = warren_noise_client_new(137, &self, server_key, init, NULL);
	base64_encode(hello, init, sizeof(init));
	c->outer = warren_http_client_take(stream, &options, &no_events, c);
	if (!c->noise || !c->outer ||
	    !warren_http_request(c->outer, &head, &upgrade_events, c))
		broke("no memory");
}

static void begin_next(void)
{
	const struct warren_dial_options options = {
		.size = sizeof(options), .flags = WARREN_DIAL_NO_PROXY, .name = host, .port = port,
		.timeout = 30000000,
	};
	struct client *c;

	if (next_client == n_clients)
		return;
	c = &clients[next_client];
	c->index = next_client++;
	warren_private_new(&c->machine);
	warren_private_new(&c->node);
	warren_private_public(&c->node, c->node_key);
	c->timer = warren_timer_new(ctx, on_step, c);
	if (!c->timer || !warren_dial(ctx, &options, dialled, c))
		broke("no memory");
}

/* ---- measurements ---- */

static void nothing(struct warren_exchange *x, void *arg)
{
	(void)x;
	(void)arg;
}

static const struct warren_exchange_events lite_events = {
	.size = sizeof(lite_events), .complete = nothing, .failed = on_failed,
};

/* One announces an endpoint; the time until all others have had a message. */
static void change(struct wcore_engine *engine)
{
	static unsigned round = 0;
	struct client *c = &clients[0];
	char body[512], key[WARREN_KEYTEXT_MAX];
	uint64_t begun = warren_now(), last = 0;
	int told = 0;

	snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"OmitPeers\":true,"
		 "\"Endpoints\":[\"192.0.2.%u:41641\"],\"EndpointTypes\":[1],\"Hostinfo\":"
		 "{\"Hostname\":\"sim-0\",\"OS\":\"linux\"}}",
		 warren_keytext_format(WARREN_KEYTEXT_NODE, c->node_key, key), ++round % 250);
	post(c, "/machine/map", body, &lite_events);
	while (told < n_clients - 1 && warren_now() - begun < 20000000) {
		wcore_lane_turn(wcore_engine_main(engine), false);
		told = 0;
		last = 0;
		for (int i = 1; i < n_clients; i++) {
			told += clients[i].told > begun;
			last = clients[i].told > last ? clients[i].told : last;
		}
	}
	printf("{\"told\": %d, \"seconds\": %.3f}\n", told, (double)(last - begun) / 1e6);
	fflush(stdout);
}

/* Turns the loop until a line is there. False: the input has ended. */
static bool next_line(struct wcore_engine *engine)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	char line[64];

	for (;;) {
		for (int i = 0; i < 50; i++)
			wcore_lane_turn(wcore_engine_main(engine), false);
		if (poll(&in, 1, 2) > 0)
			return fgets(line, sizeof(line), stdin) != NULL;
	}
}

int main(int argc, char **argv)
{
	const struct rlimit files = { 65536, 65536 };
	struct wcore_engine *engine;
	uint64_t begun, until;

	if (argc != 7 || warren_keytext_parse(WARREN_KEYTEXT_MACHINE, argv[3], server_key, NULL)) {
		fputs("usage: tailnet_load HOST PORT SERVER-KEY AUTH-KEY CLIENTS AT-A-TIME\n",
		      stderr);
		return 2;
	}
	(void)setrlimit(RLIMIT_NOFILE, &files);
	host = argv[1];
	port = (uint16_t)strtoul(argv[2], NULL, 10);
	auth_key = argv[4];
	n_clients = (int)strtol(argv[5], NULL, 10);
	at_a_time = (int)strtol(argv[6], NULL, 10);
	clients = calloc((size_t)n_clients + 1, sizeof(*clients));
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	ctx->waitable = true;
	begun = warren_now();
	until = begun + UINT64_C(120000000);
	for (int i = 0; i < at_a_time; i++)
		begin_next();
	while (joined < n_clients && warren_now() < until && failures < 100)
		wcore_lane_turn(wcore_engine_main(engine), false);
	printf("{\"joined\": %d, \"failures\": %d, \"seconds\": %.3f}\n", joined, failures,
	       (double)(warren_now() - begun) / 1e6);
	fflush(stdout);
	while (next_line(engine))
		change(engine);
	/* The process ends with all of it: what it measured is out. */
	return 0;
}
