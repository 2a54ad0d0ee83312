/*
 * Connecting to a control server made of this library's other half: key, upgrade, Noise, HTTP/2,
 * over plain TCP and TLS, and what is said when any of it fails.
 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/base64.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/loop.h"
#include "net/dial_impl.h"

#include "../../../tests/net/certs.h"
#include "../../../tests/unit/parts.h"
#include "../connect.h"
#include "../connect_impl.h"

enum { CAP_VERSION = 137 };

static const char name[] = "control.example.invalid";	/* resolves by the dialler's memory */
static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct cert authority, good;
static char ca_file[64];
static struct warren_private machine;

/*
 * ---- The server ----
 */

static struct server {
	struct warren_private key;
	const char *key_answer;		/* instead of the key; NULL: the key */
	int key_status;
	int upgrade_status;		/* 101: does */
	bool hang;			/* takes the upgrade and says nothing */
	struct warren_tls_server *tls;
	int keys, upgrades, plain, secured;
	uint8_t client[32];
	char host[64], path[64];
	struct warren_io *listeners[4];
} server;

static int server_dh(void *arg, const uint8_t peer[32], uint8_t out[32])
{
	const struct warren_private *key = arg;

	return crypto_scalarmult_curve25519(out, key->secret, peer) == -1 ? -EINVAL : 0;
}

static void inner_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	(void)arg;
	assert_string_equal(head->path, "/machine/map");
	assert_int_equal(warren_exchange_reply(x, 200, "text/plain", "hello", 5), 0);
}

static void over(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	(void)arg;
}

static const struct warren_exchange_events inner_exchange = {
	.size = sizeof(inner_exchange), .head = inner_head, .failed = over,
};

static void inner_request(struct warren_http *http, struct warren_exchange *x, void *arg)
{
	(void)http;
	warren_exchange_set(x, &inner_exchange, arg);
}

static void connection_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)result;
	(void)why;
	(void)arg;
	warren_http_close(http);
}

static const struct warren_http_events inner_events = {
	.size = sizeof(inner_events), .request = inner_request, .ended = connection_ended,
};

static void serve_noise(struct warren_stream *stream, const uint8_t *init, size_t len)
{
	struct warren_http_options options = { .size = sizeof(options), .version = WARREN_HTTP_2 };
	struct warren_noise_key self = { .size = sizeof(self), .dh = server_dh,
					 .arg = &server.key };

	warren_private_public(&server.key, self.public_key);
	stream = warren_noise_accept_take(stream, &self, init, len, "{\"nodeKeyChallenge\":\"\"}",
					  NULL);
	if (!stream)
		return;
	memcpy(server.client, warren_noise_peer(warren_noise_session(stream)), 32);
	assert_int_equal(warren_noise_version(warren_noise_session(stream)), CAP_VERSION);
	assert_non_null(warren_http_server_take(stream, &options, &inner_events, NULL));
}

static void serve_upgrade(struct warren_exchange *x, const struct warren_http_head *head)
{
	static const struct warren_http_field fields[] = {
		{ "Upgrade", "tailscale-control-protocol" }, { "Connection", "upgrade" },
	};
	const char *text = warren_http_field(head, "x-tailscale-handshake");
	const char *to = warren_http_field(head, "upgrade");
	uint8_t init[WARREN_NOISE_INIT];
	struct warren_stream *stream;
	ssize_t len;

	server.upgrades++;
	assert_string_equal(head->method, "POST");
	assert_string_equal(to, "tailscale-control-protocol");
	assert_non_null(text);
	len = base64_decode(init, sizeof(init), text, strlen(text));
	assert_int_equal(len, sizeof(init));
	if (server.hang)
		return;
	if (server.upgrade_status != 101) {
		warren_exchange_reply(x, server.upgrade_status, "text/plain", "no", 2);
		return;
	}
	stream = warren_exchange_upgrade(x, fields, 2);
	assert_non_null(stream);
	serve_noise(stream, init, sizeof(init));
}

static void serve_key(struct warren_exchange *x)
{
	char text[WARREN_KEYTEXT_MAX], zero[WARREN_KEYTEXT_MAX], answer[256];
	uint8_t key[32], none[32] = { 0 };

	server.keys++;
	warren_private_public(&server.key, key);
	snprintf(answer, sizeof(answer), "{\"legacyPublicKey\":\"%s\",\"publicKey\":\"%s\"}\n",
		 warren_keytext_format(WARREN_KEYTEXT_MACHINE, none, zero),
		 warren_keytext_format(WARREN_KEYTEXT_MACHINE, key, text));
	warren_exchange_reply(x, server.key_status, "application/json",
			      server.key_answer ? server.key_answer : answer,
			      strlen(server.key_answer ? server.key_answer : answer));
}

static void outer_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	(void)arg;
	if (strcmp(head->path, "/ts2021") == 0) {
		serve_upgrade(x, head);
		return;
	}
	snprintf(server.path, sizeof(server.path), "%s", head->path);
	snprintf(server.host, sizeof(server.host), "%s", head->authority);
	serve_key(x);
}

static const struct warren_exchange_events outer_exchange = {
	.size = sizeof(outer_exchange), .head = outer_head, .failed = over,
};

static void outer_request(struct warren_http *http, struct warren_exchange *x, void *arg)
{
	(void)http;
	warren_exchange_set(x, &outer_exchange, arg);
}

static const struct warren_http_events outer_events = {
	.size = sizeof(outer_events), .request = outer_request, .ended = connection_ended,
};

static void serve(struct warren_stream *stream)
{
	struct warren_http_options options = { .size = sizeof(options), .version = WARREN_HTTP_1 };

	assert_non_null(warren_http_server_take(stream, &options, &outer_events, NULL));
}

static void secured(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)why;
	(void)arg;
	if (result) {
		warren_stream_close(stream);
		return;
	}
	server.secured++;
	serve(stream);
}

static void on_client(struct warren_ctx *where, int fd, uint32_t what, void *arg)
{
	int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct warren_stream *stream;

	(void)what;
	if (client == -1)
		return;
	stream = warren_stream_new_take(where, client);
	assert_non_null(stream);
	if (arg) {
		assert_non_null(warren_tls_accept_take(stream, arg, secured, NULL, NULL));
		return;
	}
	server.plain++;
	serve(stream);
}

/* -errno, or 0 with *@port. */
static int try_listen(const char *at, uint16_t *port, bool tls)
{
	struct warren_addrport ap = { .port = *port };
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), slot = 0;

	assert_true(fd >= 0);
	assert_int_equal(addr_parse(at, &ap.addr), 0);
	len = addrport_to_sockaddr(&ap, &ss);
	if (bind(fd, (struct sockaddr *)&ss, len) == -1) {
		int error = errno;

		close(fd);
		return -error;
	}
	assert_int_equal(listen(fd, 16), 0);
	len = sizeof(ss);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(addrport_from_sockaddr((struct sockaddr *)&ss, len, &ap), 0);
	*port = ap.port;
	while (server.listeners[slot])
		slot++;
	server.listeners[slot] = warren_io_new_take(ctx, fd, on_client, tls ? server.tls : NULL);
	assert_non_null(server.listeners[slot]);
	warren_io_want(server.listeners[slot], WARREN_IN);
	return 0;
}

static uint16_t listen_at(const char *at, bool tls)
{
	uint16_t port = 0;

	assert_int_equal(try_listen(at, &port, tls), 0);
	return port;
}

/*
 * ---- The client ----
 */

static void machine_public(void *self, enum warren_key_kind kind, uint8_t out[32])
{
	assert_int_equal(kind, WARREN_KEY_MACHINE);
	warren_private_public(self, out);
}

static int machine_dh(void *self, enum warren_key_kind kind, const uint8_t peer[32],
		      uint8_t out[32])
{
	assert_int_equal(kind, WARREN_KEY_MACHINE);
	return server_dh(self, peer, out);
}

static const struct warren_identity_ops identity = {
	.size = sizeof(identity), .public_key = machine_public, .dh = machine_dh,
};

struct outcome {
	struct warren_http *http;
	volatile bool done, answered;
	struct str body;
	char why[2600];
};

static void connected(struct warren_ctx *where, struct warren_http *http, const char *why,
		      void *arg)
{
	struct outcome *outcome = arg;

	assert_ptr_equal(where, ctx);
	assert_false(outcome->done);
	assert_true(!why == (http != NULL));
	outcome->http = http;
	outcome->done = true;
	snprintf(outcome->why, sizeof(outcome->why), "%s", why ? why : "");
}

static const struct warren_http_events client_events = { .size = sizeof(client_events) };

static struct ctl_connect *connect_to(struct outcome *outcome, const char *url,
				      struct ctl_memory *memory,
				      struct ctl_connect_options options)
{
	struct ctl_connect *made;

	memset(outcome, 0, sizeof(*outcome));
	options.url = url;
	options.version = CAP_VERSION;
	options.ca_file = ca_file;
	options.identity = &identity;
	options.identity_self = &machine;
	options.memory = memory;
	options.events = &client_events;
	made = ctl_connect(ctx, &options, connected, outcome);
	assert_non_null(made);
	assert_false(outcome->done);
	return made;
}

static int body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct outcome *outcome = arg;

	(void)x;
	str_addn(&outcome->body, (const char *)data, len);
	return 0;
}

static void complete(struct warren_exchange *x, void *arg)
{
	struct outcome *outcome = arg;

	(void)x;
	outcome->answered = true;
}

static const struct warren_exchange_events client_exchange = {
	.size = sizeof(client_exchange), .body = body, .complete = complete, .failed = over,
};

/* It is there, and carries requests; closes it. */
static void expect_connected(struct outcome *outcome)
{
	struct warren_http_head head = {
		.size = sizeof(head), .method = "POST", .scheme = "http", .path = "/machine/map",
		.authority = name,
	};
	uint8_t client[32];

	assert_true(parts_until(engine, &outcome->done));
	if (!outcome->http)
		fail_msg("%s", outcome->why);
	assert_non_null(warren_http_request(outcome->http, &head, &client_exchange, outcome));
	assert_true(parts_until(engine, &outcome->answered));
	assert_string_equal(str_text(&outcome->body), "hello");
	str_free(&outcome->body);
	warren_private_public(&machine, client);
	assert_memory_equal(server.client, client, 32);
	warren_http_close(outcome->http);
	outcome->http = NULL;
}

static void expect_failed(struct outcome *outcome, const char *words)
{
	assert_true(parts_until(engine, &outcome->done));
	assert_null(outcome->http);
	if (!strstr(outcome->why, words))
		fail_msg("\"%s\" does not say \"%s\"", outcome->why, words);
}

static const struct ctl_connect_options usual;

static void url_of(char out[64], const char *scheme, const char *host, uint16_t port)
{
	snprintf(out, 64, "%s://%s:%u", scheme, host, port);
}

static int begin_all(void **state)
{
	FILE *file;
	int fd;

	(void)state;
	for (size_t i = 0; i < 6; i++)
		unsetenv((const char *const[]){ "https_proxy", "HTTPS_PROXY", "all_proxy",
						"ALL_PROXY", "no_proxy", "NO_PROXY" }[i]);
	authority = cert_new(NULL, NULL, 30);
	good = cert_new(&authority, "DNS:localhost,DNS:control.example.invalid", 30);
	snprintf(ca_file, sizeof(ca_file), "/tmp/warren-connect-XXXXXX");
	fd = mkstemp(ca_file);
	file = fd == -1 ? NULL : fdopen(fd, "w");
	return !file || fputs(authority.pem, file) < 0 || fclose(file) ? -1 : 0;
}

static int end_all(void **state)
{
	(void)state;
	cert_free(&authority);
	cert_free(&good);
	return unlink(ca_file);
}

static int begin(void **state)
{
	struct warren_addr here;

	(void)state;
	memset(&server, 0, sizeof(server));
	server.key_status = 200;
	server.upgrade_status = 101;
	warren_private_new(&server.key);
	warren_private_new(&machine);
	server.tls = warren_tls_server_new(good.pem, (const uint8_t *)good.key_pem,
					   strlen(good.key_pem), NULL, NULL);
	addr_parse("127.0.0.77", &here);
	dial_cache_put(name, &here, 1);
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	return server.tls ? 0 : -1;
}

static int finish(void **state)
{
	(void)state;
	while (ctx->jobs > 0)
		parts_settle(engine);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	warren_tls_server_free(server.tls);
	return 0;
}

/*
 * ---- Tests ----
 */

static void test_plain(void **state)
{
	struct ctl_memory memory = { .has_key = false };
	struct outcome outcome;
	uint8_t key[32];
	char url[64];

	(void)state;
	url_of(url, "http", "127.0.0.1", listen_at("127.0.0.1", false));
	connect_to(&outcome, url, &memory, usual);
	expect_connected(&outcome);
	assert_string_equal(server.path, "/key?v=137");
	assert_string_equal(server.host, url + 7);
	warren_private_public(&server.key, key);
	assert_true(memory.has_key);
	assert_memory_equal(memory.server_key, key, 32);
	assert_true(memory.dialled > 0);

	/* The key is known now; of another URL it is not. */
	connect_to(&outcome, url, &memory, usual);
	expect_connected(&outcome);
	assert_int_equal(server.keys, 1);
	assert_int_equal(server.upgrades, 2);
	memory.url[8] ^= 1;
	connect_to(&outcome, url, &memory, usual);
	expect_connected(&outcome);
	assert_int_equal(server.keys, 2);
}

/* Nobody listens on port 80 of this address: TLS follows at once. */
static void test_tls(void **state)
{
	struct ctl_memory memory = { .has_key = false };
	struct outcome outcome;
	char url[64];

	(void)state;
	url_of(url, "https", name, listen_at("127.0.0.77", true));
	connect_to(&outcome, url, &memory, usual);
	expect_connected(&outcome);
	assert_int_equal(server.secured, 2);
	assert_int_equal(server.keys, 1);
	connect_to(&outcome, url, &memory, (struct ctl_connect_options){ .force_443 = true });
	expect_connected(&outcome);
	assert_int_equal(server.secured, 3);
}

/* The key needs the right certificate, the rest does not: Noise proves the server. */
static void test_certificates(void **state)
{
	struct ctl_memory memory = { .has_key = false };
	struct outcome outcome;
	char url[64];
	uint16_t port = listen_at("127.0.0.77", true);
	struct warren_addr here;

	(void)state;
	addr_parse("127.0.0.77", &here);
	dial_cache_put("other.example.invalid", &here, 1);
	url_of(url, "https", "other.example.invalid", port);
	connect_to(&outcome, url, &memory, usual);
	expect_failed(&outcome, "cannot fetch the control server's key from https://other.");
	expect_failed(&outcome, "hostname mismatch");
	assert_int_equal(server.keys + server.upgrades, 0);
	assert_false(memory.has_key);

	memory.has_key = true;
	snprintf(memory.url, sizeof(memory.url), "%s", url);
	warren_private_public(&server.key, memory.server_key);
	connect_to(&outcome, url, &memory, usual);
	expect_connected(&outcome);
}

static void test_bad_keys(void **state)
{
	static const struct { int status; const char *answer, *words; } cases[] = {
		{ 404, "no", "/key: the answer has status 404: is control.url right?" },
		{ 200, "<html>", "the answer is not what a control server says" },
		{ 200, "", "the answer is not what a control server says" },
		{ 200, "[1]", "the answer is not what a control server says" },
		{ 200, "{\"legacyPublicKey\":\"x\"}", "has no \"publicKey\"" },
		{ 200, "{\"publicKey\":\"mkey:12\"}", "cannot fetch the control server's key" },
		{ 200, "{\"publicKey\":\"mkey:00000000000000000000000000000000000000000000000000000"
		  "00000000000\"}", "no key for Noise" },
	};
	struct ctl_memory memory = { .has_key = false };
	char url[64], *large = calloc(1, (64 << 10) + 2);
	struct outcome outcome;

	(void)state;
	url_of(url, "http", "127.0.0.1", listen_at("127.0.0.1", false));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		server.key_status = cases[i].status;
		server.key_answer = cases[i].answer;
		connect_to(&outcome, url, &memory, usual);
		expect_failed(&outcome, cases[i].words);
	}
	assert_non_null(large);
	memset(large, ' ', (64 << 10) + 1);
	server.key_answer = large;
	connect_to(&outcome, url, &memory, usual);
	expect_failed(&outcome, "longer than 64 KiB");
	free(large);
	assert_int_equal(server.upgrades, 0);
	assert_false(memory.has_key);
}

static void test_new_key(void **state)
{
	struct ctl_memory memory = { .has_key = false };
	struct outcome outcome;
	uint8_t key[32];
	char url[64], lie[160], text[WARREN_KEYTEXT_MAX];

	(void)state;
	url_of(url, "http", "127.0.0.1", listen_at("127.0.0.1", false));
	connect_to(&outcome, url, &memory, usual);
	expect_connected(&outcome);
	warren_private_new(&server.key);
	connect_to(&outcome, url, &memory, usual);
	expect_connected(&outcome);
	assert_int_equal(server.keys, 2);
	assert_int_equal(server.upgrades, 3);
	warren_private_public(&server.key, key);
	assert_memory_equal(memory.server_key, key, 32);

	/* One that is wrong right after it was fetched is not fetched again at once. */
	snprintf(lie, sizeof(lie), "{\"publicKey\":\"%s\"}",
		 warren_keytext_format(WARREN_KEYTEXT_MACHINE, key, text));
	server.key_answer = lie;
	warren_private_new(&server.key);
	memory.has_key = false;
	connect_to(&outcome, url, &memory, usual);
	expect_failed(&outcome, "cannot connect to the control server http://127.0.0.1:");
	expect_failed(&outcome, "instead of answering the Noise handshake");
	assert_int_equal(server.keys, 3);
	assert_false(memory.has_key);
}

static void test_no_upgrade(void **state)
{
	struct ctl_memory memory = { .has_key = false };
	struct outcome outcome;
	char url[64];

	(void)state;
	server.upgrade_status = 400;
	url_of(url, "http", "127.0.0.1", listen_at("127.0.0.1", false));
	connect_to(&outcome, url, &memory, usual);
	expect_failed(&outcome, "the answer to POST /ts2021 has status 400 instead of switching");
	assert_true(memory.has_key);

	/* Both ways are told of. */
	url_of(url, "https", name, listen_at("127.0.0.77", true));
	memory.has_key = false;
	memory.dialled = 0;
	connect_to(&outcome, url, &memory, usual);
	expect_failed(&outcome, "cannot reach control.example.invalid:80: 127.0.0.77: Connection "
		      "refused; port ");
	expect_failed(&outcome, "has status 400");

	connect_to(&outcome, "ftp://x", &memory, usual);
	expect_failed(&outcome, "cannot connect to the control server ftp://x: the URL");
	connect_to(&outcome, "http://127.0.0.1/x", &memory, usual);
	expect_failed(&outcome, "has no path");
}

static void test_silence(void **state)
{
	struct ctl_memory memory = { .has_key = false };
	struct outcome outcome;
	char url[64];

	(void)state;
	server.hang = true;
	url_of(url, "http", "127.0.0.1", listen_at("127.0.0.1", false));
	connect_to(&outcome, url, &memory, (struct ctl_connect_options){ .timeout = 500000 });
	expect_failed(&outcome, "no answer in time, while waiting for port");
	expect_failed(&outcome, ": the answer to POST /ts2021");
}

/* The server for http with a public name is tried on port 443 too, first if it was just dialled. */
static void test_plain_after_tls(void **state)
{
	struct ctl_memory memory = { .has_key = false };
	struct outcome outcome;
	char url[64];

	(void)state;
	url_of(url, "http", name, listen_at("127.0.0.77", false));
	connect_to(&outcome, url, &memory, usual);
	expect_connected(&outcome);
	connect_to(&outcome, url, &memory, usual);
	expect_connected(&outcome);
	connect_to(&outcome, url, &memory, (struct ctl_connect_options){ .force_443 = true });
	expect_failed(&outcome, "cannot reach control.example.invalid:443");
}

/* Port 80 takes the upgrade and says nothing: TLS wins after 500 ms, and is first from then on. */
static void test_port_80_hangs(void **state)
{
	struct ctl_memory memory = { .has_key = false };
	struct outcome outcome;
	uint16_t http = 80, https = 0;
	uint64_t before;
	int listener;
	char url[64];

	(void)state;
	if (try_listen("127.0.0.77", &http, false) == -EACCES)
		skip();			/* ports below 1024 are not for everybody */
	warren_release(server.listeners[0]);
	server.listeners[0] = NULL;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (const struct sockaddr *)&(struct sockaddr_in){
				.sin_family = AF_INET, .sin_port = htons(80),
				.sin_addr.s_addr = htonl(0x7f00004d) },
			      sizeof(struct sockaddr_in)), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(try_listen("127.0.0.77", &https, true), 0);
	url_of(url, "https", name, https);
	before = wcore_clock_stopwatch();
	connect_to(&outcome, url, &memory, usual);
	expect_connected(&outcome);
	assert_true(wcore_clock_stopwatch() - before >= 490000);
	close(accept(listener, NULL, NULL));
	connect_to(&outcome, url, &memory, usual);
	expect_connected(&outcome);
	assert_int_equal(accept(listener, NULL, NULL), -1);	/* nobody came any more */
	close(listener);
}

/*
 * ---- Other ways (ControlDialPlan) ----
 */

static struct ctl_plan plan_to(const char *text)
{
	struct ctl_plan plan = { .n = 1, .ways = { { .timeout = 3000000 } } };

	assert_int_equal(addr_parse(text, &plan.ways[0].ip), 0);
	return plan;
}

/* The name does not resolve; the plan says where. What answers there must have the key. */
static void test_plan_leads(void **state)
{
	static const char lost[] = "lost.example.invalid";
	struct ctl_memory memory = { .has_key = true };
	const struct ctl_plan plan = plan_to("127.0.0.88");
	struct ctl_connect_options options = { .plan = &plan };
	struct outcome outcome;
	char url[64];

	(void)state;
	url_of(url, "http", lost, listen_at("127.0.0.88", false));
	snprintf(memory.url, sizeof(memory.url), "%s", url);
	warren_private_public(&server.key, memory.server_key);
	connect_to(&outcome, url, &memory, options);
	expect_connected(&outcome);
	assert_int_equal(server.keys, 0);

	memory.server_key[0] ^= 1;	/* it is somebody else who answers */
	connect_to(&outcome, url, &memory, options);
	expect_failed(&outcome, lost);
}

/* What the plan leads to does not answer: the name does. */
static void test_plan_fails(void **state)
{
	struct ctl_memory memory = { .has_key = false };
	const struct ctl_plan plan = plan_to("127.0.0.99");
	struct ctl_connect_options options = { .plan = &plan };
	struct outcome outcome;
	char url[64];

	(void)state;
	url_of(url, "http", "127.0.0.1", listen_at("127.0.0.1", false));
	connect_to(&outcome, url, &memory, options);
	expect_connected(&outcome);
}

/* Given up, or the context ends, after any number of turns: nobody is told, nothing is left. */
static void test_cancel(void **state)
{
	struct outcome outcome;
	char url[64];

	(void)state;
	url_of(url, "http", "127.0.0.1", listen_at("127.0.0.1", false));
	for (int turns = 0; turns < 30; turns++) {
		struct ctl_memory memory = { .has_key = false };
		struct ctl_connect *made = connect_to(&outcome, url, &memory, usual);

		for (int i = 0; i < turns && !outcome.done; i++)
			wcore_lane_turn(wcore_engine_main(engine), false);
		if (outcome.done)
			warren_http_close(outcome.http);
		else
			ctl_connect_cancel(made);
		outcome.done = false;
		parts_settle(engine);
		assert_false(outcome.done);
	}
}

static void test_context_ends(void **state)
{
	struct ctl_memory memory = { .has_key = false };
	struct outcome outcome;
	char url[64];

	url_of(url, "http", "127.0.0.1", listen_at("127.0.0.1", false));
	for (int turns = 0; turns < 30; turns += 3) {
		memset(&memory, 0, sizeof(memory));
		connect_to(&outcome, url, &memory, usual);
		for (int i = 0; i < turns; i++)
			wcore_lane_turn(wcore_engine_main(engine), false);
		outcome.done = false;
		finish(state);
		assert_false(outcome.done);
		begin(state);
		url_of(url, "http", "127.0.0.1", listen_at("127.0.0.1", false));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_plain, begin, finish),
		cmocka_unit_test_setup_teardown(test_tls, begin, finish),
		cmocka_unit_test_setup_teardown(test_certificates, begin, finish),
		cmocka_unit_test_setup_teardown(test_bad_keys, begin, finish),
		cmocka_unit_test_setup_teardown(test_new_key, begin, finish),
		cmocka_unit_test_setup_teardown(test_no_upgrade, begin, finish),
		cmocka_unit_test_setup_teardown(test_silence, begin, finish),
		cmocka_unit_test_setup_teardown(test_plain_after_tls, begin, finish),
		cmocka_unit_test_setup_teardown(test_port_80_hangs, begin, finish),
		cmocka_unit_test_setup_teardown(test_plan_leads, begin, finish),
		cmocka_unit_test_setup_teardown(test_plan_fails, begin, finish),
		cmocka_unit_test_setup_teardown(test_cancel, begin, finish),
		cmocka_unit_test_setup_teardown(test_context_ends, begin, finish),
	};

	if (sodium_init() == -1)
		return 1;
	return cmocka_run_group_tests(tests, begin_all, end_all);
}
