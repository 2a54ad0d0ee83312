/*
 * The server over loopback, with the toolkit's own client side as its clients: key, upgrade, Noise,
 * registration, map streams and what they are told; and what is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/base64.h"
#include "base/err.h"
#include "base/str.h"
#include "engine/ctx.h"
#include "engine/engine.h"

#include "../../../tests/unit/parts.h"
#include "../server/server.h"
#include "../store/store.h"
#include "../tailnet/host.h"

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct coord coord;
static char db[64];

static const char policy[] =
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

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	ctx->waitable = true;
	memset(&coord, 0, sizeof(coord));
	coord.ctx = ctx;
	list_init(&coord.outers);
	list_init(&coord.asked);
	list_init(&coord.sessions);
	list_init(&coord.streams);
	list_init(&coord.dirty);
	hash_init(&coord.by_node);
	hash_init(&coord.fragments);
	coord.zstd = ZSTD_createCCtx();
	snprintf(coord.base_domain, sizeof(coord.base_domain), "tail.example.com");
	coord.dns_config = strdup("{\"Proxied\":true}");
	warren_private_new(&coord.key);
	coord.noise = (struct warren_noise_key){ .size = sizeof(coord.noise), .dh = dh,
						 .arg = coord.key.secret };
	warren_private_public(&coord.key, coord.noise.public_key);
	open_tailnet();
	assert_int_equal(coord_view_start(&coord, NULL), 0);
	assert_int_equal(coord_view_policy(&coord, policy, sizeof(policy) - 1, NULL), 0);
	listen_here();
	return 0;
}

static volatile bool drained;

static void on_drained(void *arg)
{
	(void)arg;
	drained = true;
}

static int finish(void **state)
{
	char wal[80];

	(void)state;
	warren_listener_close(coord.listener);
	coord_streams_close(&coord);
	coord_sessions_close(&coord);
	coord_outers_close(&coord);
	coord_view_stop(&coord);
	coord_fragments_free(&coord);
	hash_free(&coord.by_node);
	free(coord.dns_config);
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

static char secret[TAILNET_SECRET];
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

static int64_t act(struct tailnet_act what)
{
	what.actor = "test";
	what.origin = "test";
	done_came = false;
	assert_int_equal(tailnet_do(coord.tailnet, &what, on_done, NULL), 0);
	assert_true(parts_until(engine, &done_came));
	return done_id;
}

/* ---- a client ---- */

struct client {
	struct warren_private machine, node;
	uint8_t node_key[32];
	struct warren_http *http;
	struct warren_exchange *stream;	/* of maps */
	struct str in;			/* of the stream, not cut yet */
	volatile bool up;
	bool zstd;
};

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
		{ "X-Tailscale-Handshake", hello },
	};
	struct warren_http_head head = {
		.size = sizeof(head), .method = "POST", .scheme = "http", .authority = "x",
		.path = "/ts2021", .fields = fields, .n_fields = 3,
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

static void connect_client(struct client *c)
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

static void client_end(struct client *c)
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

static struct warren_exchange *post(struct client *c, const char *path, const char *body,
				    const struct warren_exchange_events *events, void *arg)
{
	struct warren_http_head head = {
		.size = sizeof(head), .method = "POST", .scheme = "https", .authority = "x",
		.path = path, .length = (int64_t)strlen(body),
	};
	struct warren_exchange *x = warren_http_request(c->http, &head, events, arg);

	assert_non_null(x);
	assert_int_equal(warren_exchange_write(x, body, strlen(body)), 0);
	assert_int_equal(warren_exchange_end(x), 0);
	return x;
}

/* The answer's JSON, or what it says as text. */
static json_t *ask(struct client *c, const char *path, const char *body, int status)
{
	static const struct warren_exchange_events events = {
		.size = sizeof(events), .head = ask_head, .body = ask_body,
		.complete = ask_complete, .failed = ask_failed,
	};
	struct asked asked = { .status = 0 };
	json_t *o;

	post(c, path, body, &events, &asked);
	assert_true(parts_until(engine, &asked.over));
	if (asked.status != status)
		fail_msg("%d: %s", asked.status, str_text(&asked.body));
	o = json_loads(str_text(&asked.body), 0, NULL);
	if (!o)
		o = json_string(str_text(&asked.body));
	str_free(&asked.body);
	return o;
}

static const char *key_text(const uint8_t key[32])
{
	static char text[WARREN_KEYTEXT_MAX];

	return warren_keytext_format(WARREN_KEYTEXT_NODE, key, text);
}

static json_t *do_register(struct client *c, const char *hostname, const char *auth,
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

static void join_as(struct client *c, const char *hostname)
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

static void stream(struct client *c, bool zstd)
{
	static const struct warren_exchange_events events = {
		.size = sizeof(events), .body = map_body, .complete = map_complete,
		.failed = map_failed,
	};
	char body[512];

	c->zstd = zstd;
	snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"Stream\":true,"
		 "\"KeepAlive\":true,\"Compress\":\"%s\"}",
		 key_text(c->node_key), zstd ? "zstd" : "");
	c->stream = post(c, "/machine/map", body, &events, c);
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

/* The next message; NULL: none comes, or the stream has ended. */
static json_t *next_map(struct client *c)
{
	const uint8_t *in;
	json_t *o;
	uint32_t n;

	for (int i = 0; i < 5000; i++) {
		parts_settle(engine);
		in = (const uint8_t *)str_text(&c->in);
		n = c->in.len >= 4 ? in[0] | in[1] << 8 | in[2] << 16 | (uint32_t)in[3] << 24 : 0;
		if (c->in.len >= 4 && c->in.len >= 4 + (size_t)n) {
			o = decode(c, str_text(&c->in) + 4, n);
			assert_non_null(o);
			memmove(c->in.s, c->in.s + 4 + n, c->in.len - 4 - n);
			str_cut(&c->in, c->in.len - 4 - n);
			return o;
		}
		if (!c->stream)
			return NULL;
		usleep(1000);
	}
	return NULL;
}

/* Messages until one has @key; its value is lent. */
static json_t *map_with(struct client *c, const char *key)
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

/* ---- tests ---- */

static void two_kinds_of_nodes(struct client *a, struct client *b)
{
	static const char *const tags[] = { "tag:db" };
	int64_t user = act((struct tailnet_act){ .verb = TAILNET_USER_CREATE, .text = "alice" });

	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .user = user, .reusable = true });
	join_as(a, "Laptop");
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .strings = tags, .n_strings = 1 });
	join_as(b, "db");
}

/* A lite update; @rest begins with a comma. */
static void lite(struct client *c, const char *rest)
{
	char body[768];

	snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"OmitPeers\":true%s}",
		 key_text(c->node_key), rest);
	json_decref(ask(c, "/machine/map", body, 200));
}

static void maps_and_deltas(void **state)
{
	struct client a, b;
	json_t *o, *node, *peers;

	(void)state;
	two_kinds_of_nodes(&a, &b);
	stream(&a, true);
	node = map_with(&a, "Node");
	assert_string_equal(json_string_value(json_object_get(node, "Name")),
			    "laptop.tail.example.com.");

	stream(&b, false);
	o = next_map(&b);
	node = json_object_get(o, "Node");
	peers = json_object_get(o, "Peers");
	assert_string_equal(json_string_value(json_object_get(node, "Name")),
			    "db.tail.example.com.");
	assert_int_equal(json_array_size(peers), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(peers, 0), "Name")),
			    "laptop.tail.example.com.");
	assert_int_equal(json_array_size(json_object_get(json_object_get(o, "PacketFilters"),
							 "base")), 1);
	assert_int_equal(json_array_size(json_object_get(o, "UserProfiles")), 2);
	json_decref(o);

	/* It came online while the other one listened. */
	node = json_array_get(map_with(&a, "PeersChangedPatch"), 0);
	assert_true(json_is_true(json_object_get(node, "Online")));

	/* Its endpoints come by a lite update, and reach the other as a patch. */
	lite(&b, ",\"DiscoKey\":\"discokey:00000000000000000000000000000000"
		 "00000000000000000000000000000005\",\"Endpoints\":[\"192.0.2.7:41641\"],"
		 "\"EndpointTypes\":[1],\"Hostinfo\":{\"Hostname\":\"db\","
		 "\"OS\":\"linux\",\"NetInfo\":{\"PreferredDERP\":7}}");
	do {
		node = json_array_get(map_with(&a, "PeersChangedPatch"), 0);
	} while (!json_object_get(node, "Endpoints"));
	assert_string_equal(json_string_value(json_array_get(json_object_get(node, "Endpoints"),
							     0)), "192.0.2.7:41641");
	assert_int_equal(json_integer_value(json_object_get(node, "DERPRegion")), 7);

	/* One that has endpoints and no such key does without discovery: the others are told. */
	lite(&a, ",\"Endpoints\":[\"192.0.2.8:41641\"]");
	node = json_array_get(map_with(&b, "PeersChanged"), 0);
	assert_true(json_is_true(json_object_get(node, "IsWireGuardOnly")));

	/* A policy without the rule takes it away. */
	assert_int_equal(coord_view_policy(&coord, "{\"acls\": []}", 12, NULL), 0);
	assert_int_equal(json_array_size(map_with(&a, "PeersRemoved")), 1);
	o = map_with(&b, "PacketFilters");
	assert_int_equal(json_array_size(json_object_get(o, "base")), 0);
	assert_int_equal(coord_view_policy(&coord, "{\"a\": []}", 9, NULL), -EINVAL);
	client_end(&a);
	client_end(&b);
}

/* What is as it was is not told again, whatever made us look. */
static void only_what_differs(void **state)
{
	struct client a, b;
	const struct tailnet_user *user;
	json_t *o, *profile;

	(void)state;
	two_kinds_of_nodes(&a, &b);
	stream(&a, false);
	stream(&b, true);
	assert_non_null(map_with(&a, "DNSConfig"));
	assert_non_null(map_with(&b, "DNSConfig"));
	assert_non_null(map_with(&a, "PeersChangedPatch"));	/* the other one came online */
	assert_int_equal(coord_view_policy(&coord, policy, sizeof(policy) - 1, NULL), 0);
	user = tailnet_user_by_login(coord.tailnet, "alice");
	act((struct tailnet_act){ .verb = TAILNET_USER_RENAME, .user = user->id, .text = "eve" });
	while ((o = next_map(&a)) && !json_object_get(o, "UserProfiles")) {
		assert_null(json_object_get(o, "Node"));
		assert_null(json_object_get(o, "PacketFilters"));
		json_decref(o);
	}
	assert_int_equal(json_array_size(json_object_get(o, "UserProfiles")), 1);
	profile = json_array_get(json_object_get(o, "UserProfiles"), 0);
	assert_string_equal(json_string_value(json_object_get(profile, "LoginName")), "eve");
	assert_null(json_object_get(o, "Node"));
	assert_null(json_object_get(o, "PacketFilters"));
	assert_null(json_object_get(o, "DNSConfig"));
	json_decref(o);
	profile = json_array_get(map_with(&b, "UserProfiles"), 0);
	assert_string_equal(json_string_value(json_object_get(profile, "LoginName")), "eve");
	client_end(&a);
	client_end(&b);
}

/* A node that was given a new key: its streams end, others get the key with what belongs to it. */
static void another_key(void **state)
{
	struct client a, b;
	json_t *o, *patch;

	(void)state;
	two_kinds_of_nodes(&a, &b);
	stream(&a, false);
	stream(&b, false);
	assert_non_null(map_with(&a, "DNSConfig"));
	assert_non_null(map_with(&b, "DNSConfig"));
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .reusable = true, .user =
		tailnet_user_by_login(coord.tailnet, "alice")->id });
	warren_private_new(&a.node);
	warren_private_public(&a.node, a.node_key);
	o = do_register(&a, "Laptop", secret, "");
	assert_true(json_is_true(json_object_get(o, "MachineAuthorized")));
	json_decref(o);
	do {
		patch = json_array_get(map_with(&b, "PeersChangedPatch"), 0);
	} while (!json_object_get(patch, "Key"));
	assert_string_equal(json_string_value(json_object_get(patch, "Key")), key_text(a.node_key));
	assert_non_null(json_object_get(patch, "DiscoKey"));
	assert_non_null(json_object_get(patch, "Endpoints"));
	assert_non_null(json_object_get(patch, "KeyExpiry"));
	(void)map_with(&a, "-");
	assert_null(a.stream);
	client_end(&a);
	client_end(&b);
}

static void count_registered(void *arg, const struct tailnet_registered *answer)
{
	assert_int_equal(answer->as, TAILNET_REGISTERED);
	++*(uint32_t *)arg;
}

/* Ids of peers that a message adds, into @seen; how many are new. */
static uint32_t see_peers(const json_t *list, bool *seen, size_t max)
{
	uint32_t added = 0;
	int64_t before = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		int64_t id = json_integer_value(json_object_get(json_array_get(list, i), "ID"));

		assert_true(id > before && (size_t)id < max);
		added += !seen[id];
		seen[id] = true;
		before = id;
	}
	return added;
}

/* More come at once than a stream remembers one by one. */
static void many_at_once(void **state)
{
	enum { MANY = 700 };
	static const char *const tags[] = { "tag:db" };
	static bool seen[MANY + 10];
	struct tailnet_register reg = { .hostname = "db", .auth_key = secret, .capver = 137 };
	uint32_t registered = 0, told = 0;
	struct client a;
	json_t *o;

	(void)state;
	memset(seen, 0, sizeof(seen));
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .reusable = true, .user = act(
		(struct tailnet_act){ .verb = TAILNET_USER_CREATE, .text = "alice" }) });
	join_as(&a, "watcher");
	stream(&a, true);
	assert_non_null(map_with(&a, "DNSConfig"));
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .strings = tags, .n_strings = 1,
				  .reusable = true });
	for (int i = 0; i < MANY; i++) {
		randombytes_buf(reg.machine_key, 32);
		randombytes_buf(reg.node_key, 32);
		assert_non_null(tailnet_register(coord.tailnet, &reg, count_registered,
						 &registered));
	}
	while (told < MANY) {
		o = next_map(&a);
		assert_non_null(o);
		told += see_peers(json_object_get(o, "Peers"), seen, MANY + 10);
		told += see_peers(json_object_get(o, "PeersChanged"), seen, MANY + 10);
		json_decref(o);
	}
	for (int i = 0; i < 1000 && registered < MANY; i++)
		parts_settle(engine);
	assert_int_equal(registered, MANY);
	client_end(&a);
}

static void deleted(void **state)
{
	struct client a, b;
	const struct tailnet_node *node;
	json_t *o;

	(void)state;
	two_kinds_of_nodes(&a, &b);
	stream(&a, false);
	stream(&b, false);
	assert_non_null(map_with(&a, "Node"));
	assert_non_null(map_with(&b, "Node"));
	node = tailnet_node_by_name(coord.tailnet, "db");
	act((struct tailnet_act){ .verb = TAILNET_NODE_DELETE, .node = node->id });
	assert_int_equal(json_array_size(map_with(&a, "PeersRemoved")), 1);
	do {				/* it is told to log in, */
		o = map_with(&b, "Node");
	} while (!json_object_get(o, "Expired"));
	assert_true(strcmp(json_string_value(json_object_get(o, "KeyExpiry")), "2026") > 0);
	(void)map_with(&b, "-");
	assert_null(b.stream);		/* it has to come again, and is not known then */
	{
		char body[256];

		snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"Stream\":true}",
			 key_text(b.node_key));
		o = ask(&b, "/machine/map", body, 404);
		assert_string_equal(json_string_value(o), "node not found\n");
		json_decref(o);
	}
	client_end(&a);
	client_end(&b);
}

static void by_link(void **state)
{
	struct client a;
	const struct tailnet_pending *pending;
	uint32_t pos = 0;
	int64_t user = act((struct tailnet_act){ .verb = TAILNET_USER_CREATE, .text = "bob" });
	json_t *o;
	char rest[300];

	(void)state;
	connect_client(&a);
	o = do_register(&a, "phone", NULL, "");
	assert_true(str_starts(json_string_value(json_object_get(o, "AuthURL")), coord.url));
	snprintf(rest, sizeof(rest), ",\"Followup\":\"%s\"",
		 json_string_value(json_object_get(o, "AuthURL")));
	json_decref(o);
	pending = tailnet_pending_next(coord.tailnet, &pos);
	assert_non_null(pending);
	act((struct tailnet_act){ .verb = TAILNET_LOGIN_APPROVE, .code = pending->code,
				  .user = user });
	o = do_register(&a, "phone", NULL, rest);
	assert_string_equal(json_string_value(json_object_get(o, "AuthURL")), "");
	assert_true(json_is_true(json_object_get(o, "MachineAuthorized")));
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "Login"),
							      "LoginName")), "bob");
	json_decref(o);
	o = do_register(&a, "phone", NULL, ",\"Followup\":\"https://elsewhere/register/1\"");
	json_decref(o);
	client_end(&a);
}

static void refused(void **state)
{
	struct client a, b;
	json_t *o;
	char body[256];

	(void)state;
	two_kinds_of_nodes(&a, &b);
	/* Another machine with somebody's node key. */
	snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"Stream\":true}",
		 key_text(a.node_key));
	json_decref(ask(&b, "/machine/map", body, 404));
	o = ask(&b, "/machine/map", "{\"Version\":7,\"NodeKey\":\"\"}", 400);
	assert_non_null(strstr(json_string_value(o), "too old"));
	json_decref(o);
	json_decref(ask(&b, "/machine/map", "[]", 400));
	json_decref(ask(&b, "/machine/register", "{\"Version\":\"x\"}", 400));
	json_decref(ask(&b, "/machine/elsewhere", "{}", 404));
	json_decref(ask(&b, "/machine/set-dns", "{}", 501));
	warren_private_new(&b.node);
	warren_private_public(&b.node, b.node_key);
	o = do_register(&b, "x", "wkey-auth-nothing", "");
	assert_string_not_equal(json_string_value(json_object_get(o, "Error")), "");
	json_decref(o);
	client_end(&a);
	client_end(&b);
}

/* ---- without Noise ---- */

static struct str answer;
static char answer_policy[256];		/* Content-Security-Policy */
static int answer_status;
static volatile bool answer_came;

static void fetched(struct warren_ctx *c, int status, const struct warren_http_head *head,
		    const uint8_t *body, size_t len, const char *why, void *arg)
{
	const char *csp = head ? warren_http_field(head, "content-security-policy") : NULL;

	(void)c;
	(void)arg;
	str_copy(answer_policy, sizeof(answer_policy), csp ? csp : "");
	str_free(&answer);
	str_addn(&answer, body ? (const char *)body : why, body ? len : strlen(why));
	answer_status = status;
	answer_came = true;
}

static const char *get(const char *method, const char *path, const char *body, int status)
{
	char url[512];
	const struct warren_fetch_options options = {
		.size = sizeof(options), .method = method, .url = url, .body = body,
		.body_len = body ? strlen(body) : 0,
	};

	snprintf(url, sizeof(url), "%s%s", coord.url, path);
	answer_came = false;
	assert_non_null(warren_fetch(ctx, &options, fetched, NULL));
	assert_true(parts_until(engine, &answer_came));
	if (answer_status != status)
		fail_msg("%s: %d %s", path, answer_status, str_text(&answer));
	return str_text(&answer);
}

/* Whatever a messenger hung behind the link. */
static void page(void **state)
{
	const struct tailnet_pending *pending;
	char path[128], command[64];
	struct client a;
	uint32_t pos = 0;

	(void)state;
	connect_client(&a);
	json_decref(do_register(&a, "<b>phone", NULL, ""));
	pending = tailnet_pending_next(coord.tailnet, &pos);
	assert_non_null(pending);
	snprintf(path, sizeof(path), "/register/%s?utm=1", pending->code);
	snprintf(command, sizeof(command), "warren node approve %s", pending->code);
	assert_non_null(strstr(get("GET", path, NULL, 200), command));
	assert_non_null(strstr(str_text(&answer), "&lt;b&gt;phone"));
	assert_non_null(strstr(answer_policy, "frame-ancestors 'none'"));
	snprintf(path, sizeof(path), "/register/%s0", pending->code);
	assert_null(strstr(get("GET", path, NULL, 404), "approve"));
	client_end(&a);
	str_free(&answer);
}

static void outside(void **state)
{
	struct client a, b;
	char body[128];

	(void)state;
	two_kinds_of_nodes(&a, &b);
	assert_non_null(strstr(get("GET", "/key?v=137", NULL, 200), "\"publicKey\":\"mkey:"));
	assert_non_null(strstr(get("GET", "/key?a=b&v=7777&c", NULL, 200), "mkey:0000"));
	assert_string_equal(get("GET", "/key?v=20", NULL, 200), "");
	assert_string_equal(get("GET", "/key?v=", NULL, 400), "invalid capability version\n");
	assert_string_equal(get("GET", "/key?w=1", NULL, 400), "capability version must be set\n");
	get("GET", "/health", NULL, 200);
	get("GET", "/", NULL, 404);
	for (int i = 0; i < 1000 && !strstr(get("GET", "/bootstrap-dns", NULL, 200), "}"); i++)
		parts_settle(engine);
	assert_string_equal(get("GET", "/bootstrap-dns", NULL, 200),
			    "{\"127.0.0.1\":[\"127.0.0.1\"]}");
	get("POST", "/ts2021", "", 400);
	get("GET", "/register/nothing", NULL, 404);
	snprintf(body, sizeof(body), "{\"NodePublic\":\"%s\"}", key_text(a.node_key));
	assert_string_equal(get("POST", "/verify", body, 200), "{\"Allow\":true}");
	snprintf(body, sizeof(body), "{\"NodePublic\":\"%s\"}", key_text(a.machine.secret));
	assert_string_equal(get("POST", "/verify", body, 200), "{\"Allow\":false}");
	get("POST", "/verify", "{}x", 400);
	client_end(&a);
	client_end(&b);
	str_free(&answer);
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(maps_and_deltas),
		ON_LOOP(only_what_differs),
		ON_LOOP(another_key),
		ON_LOOP(many_at_once),
		ON_LOOP(deleted),
		ON_LOOP(by_link),
		ON_LOOP(refused),
		ON_LOOP(page),
		ON_LOOP(outside),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
