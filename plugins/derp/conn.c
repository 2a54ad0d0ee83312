/*
 * One connection, from the dial to the login: path-protocols.md 1.1 to 1.6. The ways of the map are
 * tried in order, within the time that all of them have together; what fails after TCP, in TLS, in
 * the upgrade or in the login, leads to the next way too. The stock client gives up there, and a
 * region whose first node is broken is lost to it.
 */
#include "conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <sodium.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

enum {
	INPUT_MAX = WARREN_DERP_FRAME_MAX,
	OUTPUT_LOW = 16 << 10, OUTPUT_HIGH = 48 << 10,	/* below talk.c's backlog */
	WRITE_STALL = 30 * 1000000,
	SPARE_USEC = 200 * 1000,	/* the dial ends before the whole: it knows more */
	REQUEST_MAX = 2048,
};

static const char path[] = "/derp";

static void drop_map(void *arg)
{
	struct derp_conn *conn = arg;

	warren_obj_unref(conn->map);
	conn->map = NULL;
}

/* What leads to the server: dial, upgrade, stream. An exchange that is given up says so. */
static void drop_way(struct derp_conn *conn)
{
	conn->dropping = true;
	warren_dial_cancel(conn->dial);
	warren_http_close(conn->http);
	warren_stream_close(conn->stream);
	conn->dial = NULL;
	conn->http = NULL;
	conn->stream = NULL;
	conn->dropping = false;
}

void derp_conn_enter(struct derp_conn *conn)
{
	conn->busy++;
}

static void destroy(struct derp_conn *conn)
{
	warren_release(conn->timer);
	warren_release(conn->kick);
	drop_map(conn);
	warren_release(conn->tie);
	warren_release(conn);
}

void derp_conn_leave(struct derp_conn *conn)
{
	if (--conn->busy == 0 && conn->dead)
		destroy(conn);
}

void derp_conn_close(struct derp_conn *conn)
{
	if (!conn || conn->dead)
		return;
	conn->dead = true;
	drop_way(conn);
	if (conn->timer)
		warren_timer_stop(conn->timer);
	if (conn->kick)
		warren_timer_stop(conn->kick);
	if (conn->busy == 0)
		destroy(conn);
}

void derp_conn_fail(struct derp_conn *conn, const char *why)
{
	char text[DERP_WHY];

	if (conn->dead)
		return;
	snprintf(text, sizeof(text), "%s", why);	/* it may be in what is closed now */
	derp_region_failed(conn->region, text, false);
}

/* Its way did not lead to a login: the next one. */
static void way_failed(struct derp_conn *conn, const char *why)
{
	if (conn->dead || conn->dropping)
		return;
	if (!conn->why[0])
		snprintf(conn->why, sizeof(conn->why), "relay %s: %s", conn->node, why);
	drop_way(conn);
	conn->phase = DERP_DIALLING;
	if (conn->way < conn->n_ways && warren_now() < conn->deadline)
		warren_timer_set(conn->kick, 0);
	else
		derp_conn_fail(conn, conn->why);
}

/*
 * ---- The login ----
 */

void derp_conn_put(struct derp_conn *conn, const struct warren_derp_frame *frame)
{
	uint8_t out[WARREN_DERP_HEAD_MAX + 64];
	size_t n = warren_derp_put(frame, out, sizeof(out));

	if (n > 0 && conn->stream)
		(void)warren_stream_write(conn->stream, out, n);	/* its end will be told */
}

void derp_conn_preferred(struct derp_conn *conn, bool home)
{
	const struct warren_derp_frame frame = {
		.type = WARREN_DERP_NOTE_PREFERRED, .preferred = home,
	};

	if (conn->phase >= DERP_AWAIT_INFO)
		derp_conn_put(conn, &frame);
}

/* ClientInfo behind the @len bytes of @request, in one piece. */
int derp_conn_login(struct derp_conn *conn, const char *request, size_t len)
{
	struct derp_client *client = conn->region->client;
	const struct warren_derp_client_info info = {
		.version = WARREN_DERP_VERSION, .can_ack_pings = true,
	};
	char text[WARREN_DERP_INFO_TEXT];
	uint8_t key[32], box[WARREN_DERP_INFO_TEXT + WARREN_BOX_OVERHEAD];
	uint8_t out[REQUEST_MAX + WARREN_DERP_HEAD_MAX + sizeof(box)];
	size_t n = warren_derp_client_info_text(&info, text), wire;
	struct warren_derp_frame frame = { .type = WARREN_DERP_CLIENT_INFO, .key = key,
					   .data = box, .len = n + WARREN_BOX_OVERHEAD };
	int result = client->identity->seal(client->identity_self, WARREN_KEY_NODE,
					    conn->server_key, (const uint8_t *)text, n, box);

	if (result)
		return result;
	if (len > 0)
		memcpy(out, request, len);
	client->identity->public_key(client->identity_self, WARREN_KEY_NODE, key);
	wire = warren_derp_put(&frame, out + len, sizeof(out) - len);
	result = wire > 0 ? warren_stream_write(conn->stream, out, len + wire) : -EMSGSIZE;
	if (result)
		return result;
	conn->phase = DERP_AWAIT_INFO;
	if (client->home == conn->region->id)
		derp_conn_preferred(conn, true);
	derp_conn_flush(conn);
	return 0;
}

/* Before the login frames other than these two are nobody's. */
static void login_frame(struct derp_conn *conn, const struct warren_derp_frame *frame)
{
	struct derp_client *client = conn->region->client;
	struct warren_derp_server_info info;
	uint8_t text[WARREN_DERP_INFO_MAX];
	int result;

	if (frame->type == WARREN_DERP_SERVER_KEY && conn->phase == DERP_AWAIT_KEY) {
		memcpy(conn->server_key, frame->key, 32);
		if (derp_conn_login(conn, NULL, 0))
			way_failed(conn, "its key cannot be used, or it has closed the connection");
		return;
	}
	if (frame->type != WARREN_DERP_SERVER_INFO || conn->phase != DERP_AWAIT_INFO)
		return;
	result = client->identity->open(client->identity_self, WARREN_KEY_NODE, conn->server_key,
					frame->data, frame->len, text);
	if (result || warren_derp_server_info_parse(text, frame->len - WARREN_BOX_OVERHEAD, &info,
						    NULL)) {
		way_failed(conn, "its ServerInfo was not made with the key that it told");
		return;
	}
	conn->rate = info.bytes_per_second;
	conn->burst = conn->tokens = info.burst;
	conn->tokens_at = warren_now();
	conn->phase = DERP_OPEN;
	warren_stream_set(conn->stream, &derp_talk_events, conn);
	derp_talk_begin(conn);
	derp_region_opened(conn->region);
}

static void login_readable(struct warren_stream *stream, void *arg)
{
	struct derp_conn *conn = arg;
	struct warren_derp_frame frame;
	struct warren_err err = ERR_INIT;
	size_t len, used;
	int result = 0;

	derp_conn_enter(conn);
	while (!conn->dead && conn->stream == stream && conn->phase < DERP_OPEN && result == 0) {
		const uint8_t *data = warren_stream_input(stream, &len);

		result = warren_derp_read(&conn->reader, data, len, &used, &frame, &err);
		if (result == 0)
			login_frame(conn, &frame);
		if (!conn->dead && conn->stream == stream)
			warren_stream_drain(stream, used);
	}
	if (result < 0)
		way_failed(conn, err_first(&err));
	err_free(&err);
	derp_conn_leave(conn);
}

static void login_ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)stream;
	(void)result;
	way_failed(arg, why ? why : "it closed the connection instead of letting us in: does it "
		   "admit this node?");
}

static const struct warren_stream_events login_events = {
	.size = sizeof(login_events), .readable = login_readable, .ended = login_ended,
};

static void take_stream(struct derp_conn *conn, struct warren_stream *stream)
{
	conn->stream = stream;
	conn->reader = (struct warren_derp_reader){
		.size = sizeof(conn->reader), .side = WARREN_DERP_CLIENT,
	};
	warren_stream_limits(stream, INPUT_MAX, OUTPUT_LOW, OUTPUT_HIGH);
	warren_stream_timeouts(stream, 0, WRITE_STALL);
	warren_stream_set(stream, &login_events, conn);
}

/*
 * ---- The upgrade ----
 */

static const struct derp_way *way_of(const struct derp_conn *conn)
{
	return &conn->ways[conn->way - 1];
}

void derp_authority(const struct derp_client *client, const struct warren_relay_node *node,
		    char *out, size_t size)
{
	bool usual = node->derp_port == 443 && warren_conf_bool(client->conf, "tls");
	bool six = strchr(node->host_name, ':') != NULL;
	int n = snprintf(out, size, "%s%s%s", six ? "[" : "", node->host_name, six ? "]" : "");

	if (!usual && n > 0 && (size_t)n < size)
		snprintf(out + n, size - (size_t)n, ":%d", node->derp_port);
}

/* The first node of the region, if we are at another one: its server counts that. */
static const char *ideal_node(const struct derp_conn *conn)
{
	return way_of(conn)->index > 0 ? conn->ways[0].node->name : NULL;
}

static bool is_plain(const char *text)
{
	for (; *text; text++) {
		if (*text <= ' ' || *text > '~')
			return false;
	}
	return true;
}

/* The server's key is known: nobody waits for an answer. */
static void fast_start(struct derp_conn *conn, struct warren_stream *stream)
{
	char at[512], text[REQUEST_MAX];
	const char *ideal = ideal_node(conn);
	int n;

	take_stream(conn, stream);
	conn->fast = true;
	derp_authority(conn->region->client, way_of(conn)->node, at, sizeof(at));
	ideal = ideal && is_plain(ideal) ? ideal : NULL;
	n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: DERP\r\n"
		     "Connection: Upgrade\r\nDerp-Fast-Start: 1\r\n%s%s%s\r\n", path, at,
		     ideal ? "Ideal-Node: " : "", ideal ? ideal : "", ideal ? "\r\n" : "");
	if (n <= 0 || (size_t)n >= sizeof(text) || !is_plain(at) ||
	    derp_conn_login(conn, text, (size_t)n))
		way_failed(conn, "its key cannot be used, or it has closed the connection");
}

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct derp_conn *conn = arg;
	const char *to = warren_http_field(head, "upgrade");
	struct warren_stream *stream;
	char why[160];

	if (head->status != 101 || !to || strcasecmp(to, "DERP") != 0) {
		snprintf(why, sizeof(why), "its answer to GET %s has status %d instead of "
			 "switching to DERP: no relay, or a proxy that does not pass the upgrade "
			 "on", path, head->status);
		way_failed(conn, why);
		return;
	}
	stream = warren_exchange_upgrade(x, NULL, 0);
	if (!stream) {
		way_failed(conn, "the connection ended in the middle of the upgrade");
		return;
	}
	warren_http_close(conn->http);
	conn->http = NULL;
	conn->phase = DERP_AWAIT_KEY;
	take_stream(conn, stream);
}

static void on_broken(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	way_failed(arg, why);
}

static const struct warren_exchange_events exchange_events = {
	.size = sizeof(exchange_events), .head = on_head, .failed = on_broken,
};

static void on_http_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)http;
	(void)result;
	way_failed(arg, why ? why : "it closed the connection");
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .ended = on_http_ended,
};

static void upgrade(struct derp_conn *conn, struct warren_stream *stream)
{
	const char *ideal = ideal_node(conn);
	const struct warren_http_options options = { .size = sizeof(options),
						     .version = WARREN_HTTP_1 };
	const struct warren_http_field fields[] = {
		{ "Upgrade", "DERP" }, { "Connection", "Upgrade" }, { "Ideal-Node", ideal },
	};
	char at[512];
	const struct warren_http_head head = {
		.size = sizeof(head), .method = "GET", .path = path, .scheme = "https",
		.authority = at, .fields = fields, .n_fields = ideal && is_plain(ideal) ? 3 : 2,
	};

	derp_authority(conn->region->client, way_of(conn)->node, at, sizeof(at));
	conn->fast = false;
	conn->phase = DERP_UPGRADING;
	conn->http = warren_http_client_take(stream, &options, &http_events, conn);
	if (!conn->http || !warren_http_request(conn->http, &head, &exchange_events, conn))
		way_failed(conn, "its name in the relay map is no host name, or memory ran out");
}

/*
 * ---- The dial ----
 */

static void dialled(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		    void *arg)
{
	struct derp_conn *conn = arg;

	(void)ctx;
	conn->dial = NULL;
	derp_conn_enter(conn);
	if (!stream)
		way_failed(conn, why);
	else if (warren_derp_meta_key(stream, conn->server_key))
		fast_start(conn, stream);
	else
		upgrade(conn, stream);
	derp_conn_leave(conn);
}

struct warren_dial *derp_dial(const struct derp_client *client, const struct derp_way *way,
			      uint64_t timeout, warren_stream_fn *done, void *arg,
			      struct warren_err *err)
{
	const char *ca = warren_ca_file_path(&client->ca);
	char auth[WARREN_PROXY_AUTH];
	uint8_t pin[32];
	struct warren_tls_client tls;
	struct warren_dial *dial;
	struct warren_dial_options options = {
		.size = sizeof(options), .flags = way->dial_flags, .name = way->node->host_name,
		.port = (uint16_t)way->node->derp_port, .addresses = way->addrs,
		.n_addresses = way->n_addrs, .proxy = warren_conf_str(client->conf, "proxy"),
		.proxy_auth = warren_proxy_auth(client->conf, auth), .proxy_ca_file = ca,
		.timeout = timeout,
	};
	int result = 0;

	if (warren_conf_bool(client->conf, "tls")) {
		result = derp_way_tls(way->node, &tls, pin, err);
		tls.ca_file = ca;
		options.tls = &tls;
	}
	dial = result ? NULL : warren_dial(client->ctx, &options, done, arg);
	sodium_memzero(auth, sizeof(auth));
	if (!dial && !result)
		warren_fail(err, NULL, "no memory, or a name that is far too long");
	return dial;
}

static void dial(struct derp_conn *conn, const struct derp_way *way)
{
	uint64_t now = warren_now(), left = conn->deadline > now ? conn->deadline - now : 0;
	/* What is left is shared by the ways that are. */
	uint64_t timeout = left / (conn->n_ways - conn->way + 1);
	struct warren_err err = ERR_INIT;

	timeout = timeout > 2 * SPARE_USEC ? timeout - SPARE_USEC : SPARE_USEC;
	conn->dial = derp_dial(conn->region->client, way, timeout, dialled, conn, &err);
	if (!conn->dial)
		way_failed(conn, err_first(&err));
	err_free(&err);
}

static void on_kick(struct warren_ctx *ctx, void *arg)
{
	struct derp_conn *conn = arg;
	const struct derp_way *way;

	(void)ctx;
	derp_conn_enter(conn);
	if (conn->phase != DERP_DIALLING) {
		derp_talk_flush(conn);
	} else if (conn->n_ways == 0) {
		derp_conn_fail(conn, "the relay map has no node of this region that relays");
	} else {
		way = &conn->ways[conn->way++];
		snprintf(conn->node, sizeof(conn->node), "%s", way->node->name);
		dial(conn, way);
	}
	derp_conn_leave(conn);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct derp_conn *conn = arg;
	char why[DERP_WHY];

	(void)ctx;
	derp_conn_enter(conn);
	if (conn->phase == DERP_OPEN) {
		derp_talk_timer(conn);
	} else {
		snprintf(why, sizeof(why), "relay %s: no login within %d s%s%.160s%s", conn->node,
			 DERP_LOGIN_USEC / 1000000, conn->why[0] ? " (" : "", conn->why,
			 conn->why[0] ? ")" : "");
		derp_conn_fail(conn, why);
	}
	derp_conn_leave(conn);
}

void derp_conn_flush(struct derp_conn *conn)
{
	if (conn->phase >= DERP_AWAIT_INFO)
		warren_timer_set(conn->kick, 0);
}

const char *derp_conn_node(const struct derp_conn *conn)
{
	return conn->phase == DERP_OPEN ? conn->node : "";
}

bool derp_conn_fast(const struct derp_conn *conn)
{
	return conn->fast;
}

void derp_conn_addresses(const struct derp_conn *conn, struct warren_addrport *peer,
			 struct warren_addrport *local)
{
	memset(peer, 0, sizeof(*peer));
	memset(local, 0, sizeof(*local));
	if (!conn->stream)
		return;
	if (!warren_stream_peer(conn->stream, peer))
		peer->addr.family = 0;
	if (!warren_stream_local(conn->stream, local))
		local->addr.family = 0;
}

struct derp_conn *derp_conn_new(struct derp_region *region)
{
	struct derp_client *client = region->client;
	const struct warren_relay_region *there = derp_map_find(client->map, region->id);
	struct derp_conn *conn = warren_zalloc(client->ctx, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->region = region;
	conn->ctx = client->ctx;
	conn->map = client->map ? warren_obj_ref(client->map) : NULL;
	conn->n_ways = there ? derp_ways(there, conn->ways) : 0;
	conn->deadline = warren_now() + DERP_LOGIN_USEC;
	conn->timer = warren_timer_new(conn->ctx, on_timer, conn);
	conn->kick = warren_timer_new(conn->ctx, on_kick, conn);
	conn->tie = warren_on_end(conn->ctx, drop_map, conn);
	if (!conn->timer || !conn->kick || !conn->tie) {
		derp_conn_close(conn);
		return NULL;
	}
	warren_timer_set(conn->timer, DERP_LOGIN_USEC);
	warren_timer_set(conn->kick, 0);
	return conn;
}
