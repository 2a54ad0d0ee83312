/*
 * Who may use the relay, where a URL is asked: a server of this host answers, over TLS too.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hex.h"
#include "base/str.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "tests/net/certs.h"
#include "tests/unit/parts.h"

#include "../relay.h"

/* A key that was made for a recording, and a stock client's login at the server that has it. */
static const char server_key[] =
	"privkey:a03d3c6b07fd3b3ac2933401c05e0a3b83758edc1e09fa469bf39ed6ceadd772";
static const char login[] =
	"02000000687053e3da431c2a0add5990c1aad928c2137c0ca5a3541be4ff8823cbf79b3872f9"
	"eeb5a0973a1ee556215248e87804b61d0568dd04c5bd90c96d7bbc0c9b176ef89e996eeecafe"
	"794f10a682f5887e1d4242043aed72fe4cc31c71289c507ff4966499ab7b69202d";
static const char question[] =
	"POST /verify application/json {\"NodePublic\":\"nodekey:7053e3da431c2a0add5990c1aad928c21"
	"37c0ca5a3541be4ff8823cbf79b3872\",\"Source\":\"127.0.0.1\"}";

enum { CONNECTIONS = 16 };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct relay relay;

/* ---- the verifier ---- */

static struct warren_http *connections[CONNECTIONS];
static size_t n_connections;
static struct warren_tls_server *tls;		/* NULL: without */
static struct str asked;
static int status;
static const char *answer;

static void request_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	const char *type = warren_http_field(head, "content-type");

	(void)x;
	(void)arg;
	str_addf(&asked, "%s %s %s ", head->method, head->path, type ? type : "-");
}

static int request_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	(void)x;
	(void)arg;
	str_addf(&asked, "%.*s", (int)len, (const char *)data);
	return 0;
}

static void request_complete(struct warren_exchange *x, void *arg)
{
	(void)arg;
	assert_int_equal(warren_exchange_reply(x, status, "application/json", answer,
					       strlen(answer)), 0);
}

static void request_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	(void)arg;
}

static const struct warren_exchange_events request_events = {
	.size = sizeof(request_events), .head = request_head, .body = request_body,
	.complete = request_complete, .failed = request_failed,
};

static void on_request(struct warren_http *http, struct warren_exchange *x, void *arg)
{
	(void)http;
	warren_exchange_set(x, &request_events, arg);
}

static void on_http_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)result;
	(void)why;
	(void)arg;
	for (size_t i = 0; i < n_connections; i++) {
		if (connections[i] == http)
			connections[i] = NULL;
	}
	warren_http_close(http);
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .request = on_request, .ended = on_http_ended,
};

static void serve(struct warren_stream *stream)
{
	const struct warren_http_options options = { .size = sizeof(options),
						     .version = WARREN_HTTP_1 };

	assert_true(n_connections < CONNECTIONS);
	connections[n_connections] = warren_http_server_take(stream, &options, &http_events, NULL);
	assert_non_null(connections[n_connections++]);
}

static void shaken(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)why;
	(void)arg;
	if (result)
		warren_stream_close(stream);
	else
		serve(stream);
}

static void on_accept(struct warren_ctx *of, int fd, uint32_t what, void *arg)
{
	int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct warren_stream *stream = peer == -1 ? NULL : warren_stream_new_take(of, peer);

	(void)what;
	(void)arg;
	if (stream && tls)
		assert_non_null(warren_tls_accept_take(stream, tls, shaken, NULL, NULL));
	else if (stream)
		serve(stream);
}

static int listener(uint16_t *port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	*port = ntohs(sin.sin_port);
	return fd;
}

static uint16_t verifier(void)
{
	struct warren_io *io;
	uint16_t port;

	io = warren_io_new_take(ctx, listener(&port), on_accept, NULL);
	assert_non_null(io);
	warren_io_want(io, WARREN_IN);
	return port;
}

/* ---- the relay ---- */

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	memset(&relay, 0, sizeof(relay));
	relay.ctx = ctx;
	relay.clients_max = 4;
	relay.verify = RELAY_VERIFY_URL;
	relay.write_timeout = 60000000;
	relay_init(&relay);
	assert_int_equal(relay_gather_begin(&relay), 0);
	assert_int_equal(warren_private_parse(server_key, &relay.key, NULL), 0);
	warren_private_public(&relay.key, relay.public_key);
	n_connections = 0;
	tls = NULL;
	return 0;
}

static int finish(void **state)
{
	(void)state;
	relay_clients_close(&relay);
	hash_free(&relay.peers);
	hash_free(&relay.links);
	for (size_t i = 0; i < n_connections; i++)
		warren_http_close(connections[i]);
	warren_tls_server_free(tls);
	str_free(&asked);

	parts_jobs(engine, ctx);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

/* Logs in as a client of 127.0.0.1; is it let in? */
static bool let_in(const char *url)
{
	uint8_t bytes[256];
	size_t n = strlen(login) / 2;
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	uint16_t port;
	int listens = listener(&port);
	bool in;

	sin.sin_port = htons(port);
	assert_int_equal(connect(client, (struct sockaddr *)&sin, sizeof(sin)), 0);
	fd = accept4(listens, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_int_not_equal(fd, -1);
	close(listens);
	assert_int_equal(hex_decode(bytes, n, login), 0);
	assert_int_equal(send(client, bytes, n, 0), n);
	relay.verify_url = url;
	str_free(&asked);

	relay_client_take(&relay, warren_stream_new_take(ctx, fd), false, false);
	while (relay.n_clients > 0 && relay.n_peers == 0)
		wcore_lane_turn(wcore_engine_main(engine), true);
	in = relay.n_peers == 1;
	close(client);
	while (relay.n_clients > 0)
		wcore_lane_turn(wcore_engine_main(engine), true);
	assert_int_equal(relay.n_peers, 0);
	return in;
}

/* ---- tests ---- */

static void by_what_it_says(void **state)
{
	static const struct {
		int status;
		const char *answer;
		bool in;
	} cases[] = {
		{ 200, "{\"Allow\":true}", true },
		{ 200, "{\"Allow\":false}", false },
		{ 500, "{\"Allow\":true}", false },
		{ 200, "{\"Allow\":\"true\"}", false },
		{ 200, "true", false },
		{ 200, "", false },
		{ 200, "{\"Allow\":true,\"Allow\":true}", false },
	};
	char url[64], long_one[5000];
	uint64_t refused = 0;

	(void)state;
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/verify", verifier());
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		status = cases[i].status;
		answer = cases[i].answer;
		assert_int_equal(let_in(url), cases[i].in);
		assert_string_equal(str_text(&asked), question);
		refused += !cases[i].in;
	}
	status = 200;
	snprintf(long_one, sizeof(long_one), "{\"Allow\":true%4900s}", "");
	answer = long_one;
	assert_false(let_in(url));
	assert_int_equal(relay.refused, refused + 1);
}

static void nobody_answers(void **state)
{
	char url[64];
	uint16_t port;
	int fd = listener(&port);

	(void)state;
	close(fd);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/verify", port);
	assert_false(let_in(url));
	assert_int_equal(relay.refused, 1);
}

/* Of an authority that the system does not know. */
static void by_an_authority_of_ours(void **state)
{
	struct cert authority = cert_new(NULL, "DNS:authority.example", 30);
	struct cert good = cert_new(&authority, "IP:127.0.0.1", 30);
	char url[64];

	(void)state;
	tls = warren_tls_server_new(good.pem, (const uint8_t *)good.key_pem,
				    strlen(good.key_pem), NULL, NULL);
	assert_non_null(tls);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/verify", verifier());
	status = 200;
	answer = "{\"Allow\":true}";
	assert_false(let_in(url));
	assert_string_equal(str_text(&asked), "");
	snprintf(relay.ca.path, sizeof(relay.ca.path), "/tmp/warren-relay-ca-XXXXXX");
	relay.ca.fd = mkstemp(relay.ca.path);
	assert_int_not_equal(relay.ca.fd, -1);
	assert_int_equal(write(relay.ca.fd, authority.pem, strlen(authority.pem)),
			 strlen(authority.pem));
	assert_true(let_in(url));
	assert_string_equal(str_text(&asked), question);
	unlink(relay.ca.path);
	warren_ca_file_close(&relay.ca);
	cert_free(&good);
	cert_free(&authority);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(by_what_it_says, begin, finish),
		cmocka_unit_test_setup_teardown(nobody_answers, begin, finish),
		cmocka_unit_test_setup_teardown(by_an_authority_of_ours, begin, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
