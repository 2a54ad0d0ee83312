/*
 * A server over loopback with a tailnet of its own, and clients that the toolkit's own client side
 * makes; the database is a file in /tmp.
 */
#include "clients.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "base/addr.h"
#include "base/base64.h"
#include "base/err.h"
#include "engine/ctx.h"
#include "engine/engine.h"

#include "../login/desk.h"
#include "../server/dns.h"
#include "../store/store.h"
#include "../tailnet/host.h"

struct wcore_engine *engine;
struct warren_ctx *ctx;
struct coord coord;
static char db[64];

const char *clients_forwarded;
const char clients_policy[] =
	"{\"tagOwners\": {\"tag:db\": []}, \"grants\": ["
	"{\"src\": [\"autogroup:member\"], \"dst\": [\"tag:db\"], \"ip\": [\"tcp:5432\"]}]}";

/* ---- the server ---- */

static int dh(void *arg, const uint8_t peer[32], uint8_t out[32])
{
	return crypto_scalarmult_curve25519(out, arg, peer);
}

static void listen_here(void)
{
	struct warren_listen_options wanted = { .size = sizeof(wanted), .key = "x" };

	assert_int_equal(addr_parse("127.0.0.1", &wanted.at.addr), 0);
	assert_int_equal(warren_listen_wait(ctx, &wanted, coord_accept, &coord, &coord.listener,
					    NULL), 0);
	snprintf(coord.url, sizeof(coord.url), "http://127.0.0.1:%u",
		 warren_listener_port(coord.listener));
}

static void open_tailnet(void)
{
	struct tailnet_config config = { .base_domain = "tail.example.com" };
	char why[TAILNET_WHY] = "";
	struct store *store;
	int result;

	assert_int_equal(prefix_parse("100.64.0.0/10", &config.v4), 0);
	assert_int_equal(prefix_parse("fd7a:115c:a1e0::/48", &config.v6), 0);
	snprintf(db, sizeof(db), "/tmp/t_server.%d.db", (int)getpid());
	store = store_open(db, &result, why);
	if (!store)
		fail_msg("%s", why);
	coord.host = tailnet_host_new(ctx);
	coord.tailnet = tailnet_open(tailnet_host_env(coord.host), &config, store, why);
	if (!coord.tailnet)
		fail_msg("%s", why);
	tailnet_host_set(coord.host, coord.tailnet);
}

int clients_begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	ctx->waitable = true;
	memset(&coord, 0, sizeof(coord));
	coord.ctx = ctx;
	list_init(&coord.outers);
	list_init(&coord.asked);
	list_init(&coord.pings);
	list_init(&coord.sessions);
	list_init(&coord.streams);
	list_init(&coord.dirty);
	coord.stuck = 60000000;
	hash_init(&coord.by_node);
	hash_init(&coord.fragments);
	coord.zstd = ZSTD_createCCtx();
	snprintf(coord.base_domain, sizeof(coord.base_domain), "tail.example.com");
	coord.dns = coord_dns_new(NULL, "tail.example.com");
	warren_private_new(&coord.key);
	coord.noise = (struct warren_noise_key){ .size = sizeof(coord.noise), .dh = dh,
						 .arg = coord.key.secret };
	warren_private_public(&coord.key, coord.noise.public_key);
	open_tailnet();
	coord.desk = login_desk_new(ctx, coord.tailnet, "https://hq.example.com");
	assert_non_null(coord.desk);
	assert_int_equal(coord_view_start(&coord, NULL), 0);
	assert_int_equal(coord_view_policy(&coord, clients_policy,
					   strlen(clients_policy), NULL), 0);
	assert_int_equal(coord_ssh_start(&coord), 0);
	listen_here();
	return 0;
}

static volatile bool drained;

static void on_drained(void *arg)
{
	(void)arg;
	drained = true;
}

int clients_end(void **state)
{
	char wal[80];

	(void)state;
	warren_listener_close(coord.listener);
	coord_probe_stop(&coord);
	coord_pings_close(&coord);
	coord_ssh_stop(&coord);
	coord_streams_close(&coord);
	coord_sessions_close(&coord);
	coord_outers_close(&coord);
	coord_view_stop(&coord);
	login_desk_free(coord.desk);
	coord_fragments_free(&coord);
	hash_free(&coord.by_node);
	coord_dns_free(coord.dns);
	ZSTD_freeCCtx(coord.zstd);
	drained = false;
	tailnet_drain(coord.tailnet, on_drained, NULL);
	assert_true(parts_until(engine, &drained));
	tailnet_host_set(coord.host, NULL);
	tailnet_free(coord.tailnet);
	parts_jobs(engine, ctx);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	unlink(db);
	snprintf(wal, sizeof(wal), "%s-wal", db);
	unlink(wal);
	snprintf(wal, sizeof(wal), "%s-shm", db);
	unlink(wal);
	return 0;
}

/* ---- an administrator ---- */

char secret[TAILNET_SECRET];
static int64_t done_id;
static volatile bool done_came;

static void on_done(void *arg, const struct tailnet_outcome *outcome)
{
	(void)arg;
	if (outcome->error)
		fail_msg("%s", outcome->error);
	if (outcome->secret)
		str_copy(secret, sizeof(secret), outcome->secret);
	done_id = outcome->user ? outcome->user->id : 0;
	done_came = true;
}

int64_t act(struct tailnet_act what)
{
	what.actor = "test";
	what.origin = "test";
	done_came = false;
	assert_int_equal(tailnet_do(coord.tailnet, &what, on_done, NULL), 0);
	assert_true(parts_until(engine, &done_came));
	return done_id;
}

/* ---- a client ---- */

static void shaken(struct warren_stream *stream, int result, const char *why, void *arg)
{
	static const struct warren_http_events none = { .size = sizeof(none) };
	const struct warren_http_options options = { .size = sizeof(options),
						     .version = WARREN_HTTP_2 };
	struct client *c = arg;

	if (result)
		fail_msg("%s", why);
	c->http = warren_http_client_take(stream, &options, &none, c);
	c->up = true;
}

struct shaking {
	struct client *client;
	struct warren_noise *noise;
	struct warren_http *http;
};

static void upgraded(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct shaking *s = arg;

	assert_int_equal(head->status, 101);
	assert_string_equal(warren_http_field(head, "upgrade"), "tailscale-control-protocol");
	assert_non_null(warren_noise_connect_take(warren_exchange_upgrade(x, NULL, 0), s->noise,
						  shaken, s->client));
}

static void broken(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)arg;
	fail_msg("%s", why);
}

static void dialled(struct warren_ctx *c, struct warren_stream *stream, const char *why, void *arg)
{
	static const struct warren_exchange_events events = {
		.size = sizeof(events), .head = upgraded, .failed = broken,
	};
	static const struct warren_http_events none = { .size = sizeof(none) };
	const struct warren_http_options options = { .size = sizeof(options),
						     .version = WARREN_HTTP_1 };
	struct shaking *s = arg;
	struct warren_noise_key self = { .size = sizeof(self), .dh = dh,
					 .arg = s->client->machine.secret };
	uint8_t init[WARREN_NOISE_INIT];
	char hello[BASE64_TEXT(WARREN_NOISE_INIT)];
	struct warren_http_field fields[] = {
		{ "Upgrade", "tailscale-control-protocol" }, { "Connection", "upgrade" },
		{ "X-Tailscale-Handshake", hello }, { "X-Forwarded-For", clients_forwarded },
	};
	struct warren_http_head head = {
		.size = sizeof(head), .method = "POST", .scheme = "http", .authority = "x",
		.path = "/ts2021", .fields = fields, .n_fields = clients_forwarded ? 4 : 3,
	};

	(void)c;
	if (!stream)
		fail_msg("%s", why);
	warren_private_public(&s->client->machine, self.public_key);
	s->noise = warren_noise_client_new(137, &self, coord.noise.public_key, init, NULL);
	base64_encode(hello, init, sizeof(init));
	s->http = warren_http_client_take(stream, &options, &none, s);
	assert_non_null(warren_http_request(s->http, &head, &events, s));
}

void connect_client(struct client *c)
{
	struct warren_dial_options options = {
		.size = sizeof(options), .flags = WARREN_DIAL_NO_PROXY, .name = "127.0.0.1",
		.port = warren_listener_port(coord.listener),
	};
	struct shaking s = { .client = c };

	memset(c, 0, sizeof(*c));
	warren_private_new(&c->machine);
	warren_private_new(&c->node);
	warren_private_public(&c->node, c->node_key);
	assert_non_null(warren_dial(ctx, &options, dialled, &s));
	assert_true(parts_until(engine, &c->up));
	warren_http_close(s.http);
}

void client_end(struct client *c)
{
	if (c->stream)
		warren_exchange_set(c->stream, NULL, NULL);
	c->stream = NULL;
	warren_http_close(c->http);
	str_free(&c->in);
}

struct asked {
	struct str body;
	int status;
	volatile bool over;
};

static void ask_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	(void)x;
	((struct asked *)arg)->status = head->status;
}

static int ask_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	(void)x;
	str_addn(&((struct asked *)arg)->body, (const char *)data, len);
	return 0;
}

static void ask_complete(struct warren_exchange *x, void *arg)
{
	(void)x;
	((struct asked *)arg)->over = true;
}

static void ask_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	((struct asked *)arg)->over = true;
}

struct warren_exchange *request(struct client *c, const char *method, const char *path,
				       const char *body,
				       const struct warren_exchange_events *events, void *arg)
{
	struct warren_http_head head = {
		.size = sizeof(head), .method = method, .scheme = "https", .authority = "x",
		.path = path, .length = body ? (int64_t)strlen(body) : 0,
	};
	struct warren_exchange *x = warren_http_request(c->http, &head, events, arg);

	assert_non_null(x);
	if (head.length > 0) {
		assert_int_equal(warren_exchange_write(x, body, strlen(body)), 0);
		assert_int_equal(warren_exchange_end(x), 0);
	}
	return x;
}

struct warren_exchange *post(struct client *c, const char *path, const char *body,
				    const struct warren_exchange_events *events, void *arg)
{
	return request(c, "POST", path, body, events, arg);
}

json_t *ask_with(struct client *c, const char *method, const char *path, const char *body,
			int status)
{
	static const struct warren_exchange_events events = {
		.size = sizeof(events), .head = ask_head, .body = ask_body,
		.complete = ask_complete, .failed = ask_failed,
	};
	struct asked asked = { .status = 0 };
	json_t *o;

	request(c, method, path, body, &events, &asked);
	assert_true(parts_until(engine, &asked.over));
	if (asked.status != status)
		fail_msg("%d: %s", asked.status, str_text(&asked.body));
	o = json_loads(str_text(&asked.body), 0, NULL);
	if (!o)
		o = json_string(str_text(&asked.body));
	str_free(&asked.body);
	return o;
}

json_t *ask(struct client *c, const char *path, const char *body, int status)
{
	return ask_with(c, "POST", path, body, status);
}

const char *key_text(const uint8_t key[32])
{
	static char text[WARREN_KEYTEXT_MAX];

	return warren_keytext_format(WARREN_KEYTEXT_NODE, key, text);
}

json_t *do_register(struct client *c, const char *hostname, const char *auth,
			   const char *rest)
{
	char body[2048];

	snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"OldNodeKey\":\"\","
		 "\"Expiry\":\"0001-01-01T00:00:00Z\",\"Hostinfo\":{\"Hostname\":\"%s\","
		 "\"OS\":\"linux\"}%s%s%s%s}", key_text(c->node_key), hostname,
		 auth ? ",\"Auth\":{\"AuthKey\":\"" : "", auth ? auth : "", auth ? "\"}" : "",
		 rest);
	return ask(c, "/machine/register", body, 200);
}

void join_as(struct client *c, const char *hostname)
{
	json_t *o;

	connect_client(c);
	o = do_register(c, hostname, secret, "");
	assert_string_equal(json_string_value(json_object_get(o, "Error")), "");
	assert_string_equal(json_string_value(json_object_get(o, "AuthURL")), "");
	assert_true(json_is_true(json_object_get(o, "MachineAuthorized")));
	json_decref(o);
}

/* ---- a map stream ---- */

static int map_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct client *c = arg;

	(void)x;
	str_addn(&c->in, (const char *)data, len);
	return 0;
}

static void map_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	((struct client *)arg)->stream = NULL;
}

static void map_complete(struct warren_exchange *x, void *arg)
{
	(void)x;
	((struct client *)arg)->stream = NULL;
}

void stream_as(struct client *c, const char *rest)
{
	static const struct warren_exchange_events events = {
		.size = sizeof(events), .body = map_body, .complete = map_complete,
		.failed = map_failed,
	};
	char body[512];

	snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"Stream\":true,"
		 "\"KeepAlive\":true%s}", key_text(c->node_key), rest);
	c->stream = post(c, "/machine/map", body, &events, c);
}

void stream(struct client *c, bool zstd)
{
	c->zstd = zstd;
	stream_as(c, zstd ? ",\"Compress\":\"zstd\"" : "");
}

static json_t *decode(const struct client *c, const char *data, size_t len)
{
	char *plain;
	size_t n;
	json_t *o;

	if (!c->zstd)
		return json_loadb(data, len, 0, NULL);
	n = (size_t)ZSTD_getFrameContentSize(data, len);
	assert_true(n < 1 << 24);
	plain = malloc(n + 1);
	assert_int_equal(ZSTD_decompress(plain, n, data, len), n);
	o = json_loadb(plain, n, 0, NULL);
	free(plain);
	return o;
}

json_t *take_map(struct client *c)
{
	const uint8_t *in = (const uint8_t *)str_text(&c->in);
	uint32_t n = c->in.len >= 4 ? in[0] | in[1] << 8 | in[2] << 16 | (uint32_t)in[3] << 24 : 0;
	json_t *o;

	if (c->in.len < 4 || c->in.len < 4 + (size_t)n)
		return NULL;
	o = decode(c, str_text(&c->in) + 4, n);
	assert_non_null(o);
	memmove(c->in.s, c->in.s + 4 + n, c->in.len - 4 - n);
	str_cut(&c->in, c->in.len - 4 - n);
	return o;
}

json_t *next_map(struct client *c)
{
	json_t *o;

	for (int i = 0; i < 5000; i++) {
		parts_settle(engine);
		o = take_map(c);
		if (o || !c->stream)
			return o;
		usleep(1000);
	}
	return NULL;
}

json_t *map_with(struct client *c, const char *key)
{
	static json_t *last;
	json_t *o;

	json_decref(last);
	last = NULL;
	while ((o = next_map(c))) {
		if (json_object_get(o, key)) {
			last = o;
			return json_object_get(o, key);
		}
		json_decref(o);
	}
	if (strcmp(key, "-") != 0)
		fail_msg("no %s has come", key);
	return NULL;
}

void two_kinds_of_nodes(struct client *a, struct client *b)
{
	static const char *const tags[] = { "tag:db" };
	int64_t user = act((struct tailnet_act){ .verb = TAILNET_USER_CREATE, .text = "alice" });

	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .user = user, .reusable = true });
	join_as(a, "Laptop");
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .strings = tags, .n_strings = 1 });
	join_as(b, "db");
}

void lite(struct client *c, const char *rest)
{
	struct str body = STR_INIT;

	str_addf(&body, "{\"Version\":137,\"NodeKey\":\"%s\",\"OmitPeers\":true%s}",
		 key_text(c->node_key), rest);
	json_decref(ask(c, "/machine/map", str_text(&body), 200));
	str_free(&body);
}
