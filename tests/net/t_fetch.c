/*
 * Fetching from servers of this host, over TLS with both versions: limits, time, redirects and what
 * they hand on, giving up at every step.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/net.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/engine_impl.h"
#include "engine/loop.h"
#include "net/redirect.h"

#include "../unit/parts.h"
#include "certs.h"

enum { CONNECTIONS = 32 };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct cert authority, good;
static char ca_file[] = "/tmp/warren-fetch-XXXXXX";

/* ---- servers ---- */

struct server {
	struct warren_tls_server *tls;	/* NULL: without */
	uint16_t port;
	int status;			/* of /jump, with this location */
	char location[256];
	struct str seen;		/* "GET /x user-agent=... authorization=... 3\n" */
	size_t received;
	bool busy;			/* a request that is not answered came */
};
static struct server a, b, plain;
static struct warren_http *connections[CONNECTIONS];
static size_t n_connections;
static const struct warren_tls_client *trust;

static void request_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct server *server = arg;
	const char *auth = warren_http_field(head, "authorization");
	const char *agent = warren_http_field(head, "user-agent");
	struct warren_http_field field = { "location", server->location };
	struct warren_http_head answer = { .size = sizeof(answer), .status = server->status,
					   .fields = &field, .n_fields = 1 };
	char body[1000];

	(void)x;
	str_addf(&server->seen, "%s %s %s %s\n", head->method, head->path, auth ? auth : "-",
		 agent ? agent : "-");
	memset(body, 'x', sizeof(body));
	server->received = 0;
	if (str_starts(head->path, "/jump"))
		assert_int_equal(warren_exchange_head(x, &answer), 0);
	else if (strcmp(head->path, "/long") == 0)
		assert_int_equal(warren_exchange_reply(x, 200, NULL, body, sizeof(body)), 0);
	else if (strcmp(head->path, "/hold") == 0)
		server->busy = true;
	else if (strcmp(head->path, "/hello") == 0)
		assert_int_equal(warren_exchange_reply(x, 200, "text/x-greeting", "hello", 5), 0);
}

static int request_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct server *server = arg;

	(void)x;
	for (size_t i = 0; i < len; i++)
		assert_int_equal(data[i], (uint8_t)((server->received + i) * 7));
	server->received += len;
	return 0;
}

static void request_complete(struct warren_exchange *x, void *arg)
{
	struct server *server = arg;
	const char *last = strstr(str_text(&server->seen), "/post");
	char text[32];

	if (!last || strchr(last, '\n')[1])
		return;
	snprintf(text, sizeof(text), "%zu", server->received);
	assert_int_equal(warren_exchange_reply(x, 200, NULL, text, strlen(text)), 0);
}

static const struct warren_exchange_events request_events = {
	.size = sizeof(request_events), .head = request_head, .body = request_body,
	.complete = request_complete,
};

static void on_request(struct warren_http *http, struct warren_exchange *x, void *arg)
{
	(void)http;
	warren_exchange_set(x, &request_events, arg);
}

static void on_ended(struct warren_http *http, int result, const char *why, void *arg)
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
	.size = sizeof(http_events), .request = on_request, .ended = on_ended,
};

static void serve(struct warren_stream *stream, struct server *server, uint32_t version)
{
	const struct warren_http_options options = { .size = sizeof(options), .version = version };

	assert_true(n_connections < CONNECTIONS);
	connections[n_connections] = warren_http_server_take(stream, &options, &http_events,
							     server);
	assert_non_null(connections[n_connections++]);
}

static void shaken(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct warren_tls_info info = { .size = sizeof(info) };

	(void)why;
	if (result) {
		warren_stream_close(stream);
		return;
	}
	assert_true(warren_tls_info(stream, &info));
	serve(stream, arg, info.alpn && strcmp(info.alpn, "h2") == 0 ? WARREN_HTTP_2 :
								       WARREN_HTTP_1);
}

static void accepted(struct warren_ctx *of, int fd, uint32_t what, void *arg)
{
	struct server *server = arg;
	struct warren_stream *stream;
	int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (peer == -1)
		return;
	stream = warren_stream_new_take(of, peer);
	assert_non_null(stream);
	if (server->tls)
		assert_non_null(warren_tls_accept_take(stream, server->tls, shaken, server, NULL));
	else
		serve(stream, server, WARREN_HTTP_1);
}

static void server_begin(struct server *server, bool tls, const char *const *alpn)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct warren_io *io;

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	memset(server, 0, sizeof(*server));
	server->port = ntohs(sin.sin_port);
	if (tls)
		server->tls = warren_tls_server_new(good.pem, (const uint8_t *)good.key_pem,
						    strlen(good.key_pem), alpn, NULL);
	io = warren_io_new_take(ctx, fd, accepted, server);
	assert_non_null(io);
	warren_io_want(io, WARREN_IN);
}

static void server_end(struct server *server)
{
	warren_tls_server_free(server->tls);
	str_free(&server->seen);
}

/* ---- the fetch ---- */

static struct {
	struct warren_fetch *fetch;
	int status;
	struct str body;
	char type[64], why[512];
	volatile bool done;
} got;

static void fetched(struct warren_ctx *of, int status, const struct warren_http_head *head,
		    const uint8_t *body, size_t len, const char *why, void *arg)
{
	const char *type = head ? warren_http_field(head, "content-type") : NULL;

	assert_ptr_equal(of, ctx);
	assert_ptr_equal(arg, &got);
	assert_false(got.done);
	assert_true((status == 0) == (why != NULL) && (status == 0) == (head == NULL));
	got.status = status;
	str_cut(&got.body, 0);
	str_addn(&got.body, (const char *)body, len);
	snprintf(got.why, sizeof(got.why), "%s", why ? why : "");
	snprintf(got.type, sizeof(got.type), "%s", type ? type : "");
	warren_fetch_cancel(got.fetch);	/* too late, and harmless */
	got.fetch = NULL;
	got.done = true;
}

static void start(const struct warren_fetch_options *options, const struct server *server,
		  const char *path)
{
	struct warren_fetch_options copy = *options;
	char url[256];

	snprintf(url, sizeof(url), "%s://127.0.0.1:%u%s", server->tls ? "https" : "http",
		 server->port, path);
	copy.size = sizeof(copy);
	copy.url = url;
	copy.tls = trust;
	got.done = false;
	got.fetch = warren_fetch(ctx, &copy, fetched, &got);
	assert_non_null(got.fetch);
	memset(url, 'x', sizeof(url));
}

static void get(const struct warren_fetch_options *options, const struct server *server,
		const char *path)
{
	start(options, server, path);
	assert_false(got.done);
	assert_true(parts_until(engine, &got.done));
}

static void expect(int status, const char *body)
{
	if (got.status == 0)
		fail_msg("%s", got.why);
	assert_int_equal(got.status, status);
	assert_string_equal(str_text(&got.body), body);
}

static void expect_failure(const char *why)
{
	assert_int_equal(got.status, 0);
	if (!strstr(got.why, why))
		fail_msg("%s", got.why);
}

static int begin_all(void **state)
{
	int fd = mkstemp(ca_file);

	(void)state;
	authority = cert_new(NULL, NULL, 30);
	good = cert_new(&authority, "IP:127.0.0.1", 30);
	if (fd == -1 || write(fd, authority.pem, strlen(authority.pem)) == -1)
		return -1;
	return close(fd);
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
	static const char *const names[] = { "https_proxy", "HTTPS_PROXY", "all_proxy",
					     "ALL_PROXY", "no_proxy", "NO_PROXY", "http_proxy" };
	static const char *const h2[] = { "h2", NULL }, *const h1[] = { "http/1.1", NULL };
	static struct warren_tls_client ours;

	(void)state;
	ours = (struct warren_tls_client){ .size = sizeof(ours), .ca_file = ca_file };
	trust = &ours;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	server_begin(&a, true, h2);
	server_begin(&b, true, h1);
	server_begin(&plain, false, NULL);
	return 0;
}

static int finish(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_connections; i++)
		warren_http_close(connections[i]);
	n_connections = 0;
	while (ctx->jobs > 0)
		parts_settle(engine);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	server_end(&a);
	server_end(&b);
	server_end(&plain);
	str_free(&got.body);
	memset(&got, 0, sizeof(got));
	return 0;
}

static void all_ways(void **state)
{
	struct warren_fetch_options options = { 0 };
	size_t len = 3 << 20;
	uint8_t *body = malloc(len);
	struct server *const servers[] = { &a, &b, &plain };

	(void)state;
	assert_non_null(body);
	for (size_t i = 0; i < len; i++)
		body[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		options = (struct warren_fetch_options){ 0 };
		get(&options, servers[i], "/hello");
		expect(200, "hello");
		assert_string_equal(got.type, "text/x-greeting");
		options.method = "POST";
		options.body = body;
		options.body_len = len;
		get(&options, servers[i], "/post?x=1");
		expect(200, "3145728");
		assert_string_equal(str_text(&servers[i]->seen),
				    "GET /hello - -\nPOST /post?x=1 - -\n");
	}
	free(body);
}

static void what_fails(void **state)
{
	struct warren_fetch_options options = { 0 };
	struct warren_http_field field = { "x", "y\r\nz: a" };
	struct server nobody = { .port = 1 };

	(void)state;
	options.limit = 1000;
	get(&options, &a, "/long");
	assert_int_equal(got.body.len, 1000);
	options.limit = 999;
	get(&options, &a, "/long");
	expect_failure(": the answer is longer than 999 bytes");
	assert_true(str_starts(got.why, "https://127.0.0.1:"));
	get(&options, &b, "/long");
	expect_failure(": the answer is longer than 999 bytes");
	options.timeout = 200000;
	get(&options, &a, "/hold");
	expect_failure(": there was no complete answer within 0.2 s");
	get(&options, &plain, "/hold");
	expect_failure(": there was no complete answer within 0.2 s");
	options.timeout = 0;
	get(&options, &nobody, "/");
	expect_failure("cannot reach 127.0.0.1:1");
	get(&options, &plain, "/a b");
	expect_failure("the URL has");
	options.fields = &field;
	options.n_fields = 1;
	get(&options, &plain, "/hello");
	expect_failure("a field is not valid");
	assert_null(strstr(str_text(&plain.seen), "hello"));
	trust = NULL;			/* the system does not know our authority */
	options.n_fields = 0;
	get(&options, &a, "/hello");
	expect_failure("unable to get local issuer certificate");
}

/* What each of them saw since the last call. */
static void saw(const char *by_a, const char *by_b, const char *by_plain)
{
	assert_string_equal(str_text(&a.seen), by_a);
	assert_string_equal(str_text(&b.seen), by_b);
	assert_string_equal(str_text(&plain.seen), by_plain);
	str_cut(&a.seen, 0);
	str_cut(&b.seen, 0);
	str_cut(&plain.seen, 0);
}

static void jump(struct server *from, int status, const char *location)
{
	from->status = status;
	assert_true(str_copy(from->location, sizeof(from->location), location));
}

static void redirects(void **state)
{
	static const struct warren_http_field fields[] = { { "Authorization", "secret" },
							   { "User-Agent", "us" } };
	struct warren_fetch_options options = { .fields = fields, .n_fields = 2, .redirects = 2 };
	char url[128];

	(void)state;
	jump(&a, 302, "/hello");
	get(&options, &a, "/jump");
	expect(200, "hello");
	saw("GET /jump secret us\nGET /hello secret us\n", "", "");

	snprintf(url, sizeof(url), "https://127.0.0.1:%u/hello#part", b.port);
	jump(&a, 301, url);
	get(&options, &a, "/jump");
	expect(200, "hello");
	saw("GET /jump secret us\n", "GET /hello - us\n", "");

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/hello", plain.port);
	jump(&a, 307, url);
	get(&options, &a, "/jump");
	expect_failure(": its redirect is not followed: it leads from https to http");
	saw("GET /jump secret us\n", "", "");

	snprintf(url, sizeof(url), "https://127.0.0.1:%u/hello", a.port);
	jump(&plain, 308, url);		/* the other way is fine, but it is another origin */
	get(&options, &plain, "/jump");
	expect(200, "hello");
	saw("GET /hello - us\n", "", "GET /jump secret us\n");

	jump(&a, 302, "jump");
	get(&options, &a, "/jump");
	expect_failure(": there are more than 2 redirects");
	saw("GET /jump secret us\nGET /jump secret us\nGET /jump secret us\n", "", "");

	jump(&a, 302, "ftp://127.0.0.1/");
	get(&options, &a, "/jump");
	expect_failure(": its redirect is not followed: the URL");
	str_cut(&a.seen, 0);

	options.redirects = 0;
	jump(&a, 302, "/hello");
	get(&options, &a, "/jump");
	expect(302, "");
	saw("GET /jump secret us\n", "", "");

}

static void redirects_of_a_body(void **state)
{
	static const struct warren_http_field fields[] = { { "Authorization", "secret" },
							   { "User-Agent", "us" } };
	uint8_t body[4] = { 0, 7, 14, 21 };
	struct warren_fetch_options options = { .fields = fields, .n_fields = 2, .redirects = 1 };
	char url[128];

	(void)state;
	options.method = "POST";
	options.body = body;
	options.body_len = sizeof(body);
	jump(&b, 307, "/post");
	get(&options, &b, "/jump");
	expect(200, "4");
	saw("", "POST /jump secret us\nPOST /post secret us\n", "");
	jump(&b, 303, "/hello");
	get(&options, &b, "/jump");
	expect(200, "hello");
	saw("", "POST /jump secret us\nGET /hello secret us\n", "");
	snprintf(url, sizeof(url), "//127.0.0.1:%u/post", a.port);
	jump(&b, 308, url);
	get(&options, &b, "/jump");
	expect_failure(": its redirect is not followed: it would hand the request's body");
	saw("", "POST /jump secret us\n", "");
}

static void resolved(const char *base, const char *location, const char *want)
{
	struct warren_url from, to;
	struct str text = STR_INIT;

	assert_int_equal(warren_url_parse(base, &from, NULL), 0);
	assert_int_equal(redirect_resolve(&from, location, &to, NULL), 0);
	redirect_add_origin(&text, &to);
	str_add(&text, to.path);
	assert_string_equal(str_text(&text), want);
	str_free(&text);
}

static void references(void **state)
{
	(void)state;
	resolved("https://a/b/c?d", "https://x:8443/y", "https://x:8443/y");
	resolved("https://a/b/c?d", "//x/y", "https://x/y");
	resolved("https://a:444/b/c?d=/e/", "/y?z", "https://a:444/y?z");
	resolved("https://a/b/c?d=/e/", "y", "https://a/b/y");
	resolved("https://a/b/c?d", "?y", "https://a/b/c?y");
	resolved("https://a/b/c?d", "#y", "https://a/b/c?d");
	resolved("http://[2001:db8::1]/b", "c%3Ad", "http://[2001:db8::1]/c%3Ad");
}

/* At whatever step: nobody is told, nothing is left. */
static void given_up(void **state)
{
	struct warren_fetch_options options = { 0 };
	struct server *const servers[] = { &a, &b, &plain };

	(void)state;
	for (int turns = 0; turns < 40; turns++) {
		start(&options, servers[turns % 3], "/hold");
		for (int i = 0; i < turns; i++)
			wcore_lane_turn(wcore_engine_main(engine), false);
		warren_fetch_cancel(got.fetch);
		parts_settle(engine);
		assert_false(got.done);
		if (n_connections > CONNECTIONS - 2)
			break;
	}
	assert_true(a.busy && plain.busy);
	/* The context goes while one is under way. */
	start(&options, &plain, "/hold");
	parts_settle(engine);
	wcore_ctx_close(ctx);
	assert_false(got.done);
	n_connections = 0;
	ctx = parts_ctx(engine, wcore_engine_main(engine));
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(all_ways),
		ON_LOOP(what_fails),
		ON_LOOP(redirects),
		ON_LOOP(redirects_of_a_body),
		cmocka_unit_test(references),
		ON_LOOP(given_up),
	};

	return cmocka_run_group_tests(tests, begin_all, end_all);
}
