/*
 * HTTP connections, both versions, our client against our server over a socket pair: each test that
 * is not about one version runs over both. Then what only HTTP/1.1 has (upgrades, malformed
 * requests) and only HTTP/2 (many at once), and curl as a client that nobody here wrote.
 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/net.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"

#include "../unit/parts.h"

enum { BIG = 4 << 20, MANY = 50 };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;

enum what { NOTHING, CANCEL_IN_HEAD, CLOSE_IN_HEAD, CANCEL_IN_BODY, CLOSE_IN_BODY,
	    CANCEL_IN_COMPLETE, CLOSE_IN_COMPLETE };

/* One side's view of an exchange. */
struct view {
	struct warren_exchange *x;
	struct warren_http *http;
	struct str head, body;
	int status, heads, completes, fails, result, drains;
	bool pause_each;		/* of the body */
	bool paused;
	enum what what;
	volatile bool done;		/* complete or failed */
};

/* The server: echoes a POST, else says hello. */
struct server {
	struct warren_http *http;
	struct view view[MANY];
	uint32_t n;
	enum what what;
	bool pause_each, silent, upgrade, no_answer;
	struct warren_stream *stream;
	int ended;
};

struct client {
	struct warren_http *http;
	int ended, result;
	volatile bool done;
};

static void act(struct view *v, enum what cancel, enum what close)
{
	if (v->what == cancel)
		warren_exchange_cancel(v->x);
	else if (v->what == close)
		warren_http_close(v->http);
}

static int on_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct view *v = arg;

	(void)x;
	str_addn(&v->body, (const char *)data, len);
	act(v, CANCEL_IN_BODY, CLOSE_IN_BODY);
	v->paused = v->pause_each;
	return v->pause_each ? WARREN_PENDING : 0;
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct view *v = arg;

	(void)x;
	assert_non_null(why);
	v->fails++;
	v->result = result;
	v->done = true;
}

static void on_drained(struct warren_exchange *x, void *arg)
{
	struct view *v = arg;

	(void)x;
	v->drains++;
}

/* ---- server ---- */

static void server_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct view *v = arg;
	const char *note = warren_http_field(head, "x-note");

	(void)x;
	v->heads++;
	str_addf(&v->head, "%s %s %s %s", head->method, head->path, head->authority,
		 note ? note : "-");
	act(v, CANCEL_IN_HEAD, CLOSE_IN_HEAD);
}

static void server_complete(struct warren_exchange *x, void *arg)
{
	struct view *v = arg;
	const struct warren_http_field field = { "x-kind", "echo" };
	struct warren_http_head head = { .size = sizeof(head), .status = 200, .fields = &field,
					 .n_fields = 1, .length = -1 };

	v->completes++;
	v->done = true;
	if (v->body.len == 0) {
		assert_int_equal(warren_exchange_reply(x, 200, NULL, "hello\n", 6), 0);
		return;
	}
	assert_int_equal(warren_exchange_head(x, &head), 0);
	assert_int_equal(warren_exchange_write(x, v->body.s, v->body.len), 0);
	assert_int_equal(warren_exchange_end(x), 0);
}

static const struct warren_exchange_events server_events = {
	.size = sizeof(server_events), .head = server_head, .body = on_body,
	.complete = server_complete, .drained = on_drained, .failed = on_failed,
};

/* Answers nothing, or switches the protocol. */
static void quiet_complete(struct warren_exchange *x, void *arg)
{
	struct view *v = arg;

	(void)x;
	v->completes++;
	v->done = true;
}

static const struct warren_exchange_events quiet_events = {
	.size = sizeof(quiet_events), .head = server_head, .body = on_body,
	.complete = quiet_complete, .failed = on_failed,
};

static struct server *the_server;

static void upgrade_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	const struct warren_http_field fields[] = { { "Upgrade", "test" },
						    { "Connection", "upgrade" } };

	(void)arg;
	assert_string_equal(warren_http_field(head, "upgrade"), "test");
	the_server->stream = the_server->no_answer ? warren_exchange_upgrade(x, NULL, 0) :
			     warren_exchange_upgrade(x, fields, 2);
	assert_non_null(the_server->stream);
	warren_stream_write(the_server->stream, "server first", 12);
}

static const struct warren_exchange_events upgrade_events = {
	.size = sizeof(upgrade_events), .head = upgrade_head, .failed = on_failed,
};

static void on_request(struct warren_http *http, struct warren_exchange *x, void *arg)
{
	struct server *s = arg;
	struct view *v = &s->view[s->n++ % MANY];

	v->x = x;
	v->http = http;
	v->what = s->what;
	v->pause_each = s->pause_each;
	warren_exchange_set(x, s->upgrade ? &upgrade_events : s->silent ? &quiet_events :
			    &server_events, v);
}

static void server_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	struct server *s = arg;

	(void)result;
	(void)why;
	s->ended++;
	warren_http_close(http);
	s->http = NULL;
}

static const struct warren_http_events server_http = {
	.size = sizeof(server_http), .request = on_request, .ended = server_ended,
};

/* ---- client ---- */

static void client_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct view *v = arg;

	(void)x;
	v->heads++;
	v->status = head->status;
	act(v, CANCEL_IN_HEAD, CLOSE_IN_HEAD);
}

static void client_complete(struct warren_exchange *x, void *arg)
{
	struct view *v = arg;

	(void)x;
	v->completes++;
	v->done = true;
	act(v, CANCEL_IN_COMPLETE, CLOSE_IN_COMPLETE);
}

static const struct warren_exchange_events client_events = {
	.size = sizeof(client_events), .head = client_head, .body = on_body,
	.complete = client_complete, .drained = on_drained, .failed = on_failed,
};

static void client_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	struct client *c = arg;

	(void)http;
	(void)why;
	c->ended++;
	c->result = result;
	c->done = true;
}

static const struct warren_http_events client_http = {
	.size = sizeof(client_http), .ended = client_ended,
};

/* ---- both ---- */

static void socket_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
}

static void start(struct client *c, struct server *s, uint32_t version, int64_t body_max)
{
	struct warren_http_options options = { .size = sizeof(options), .version = version,
					       .body_max = body_max };
	int fds[2];

	socket_pair(fds);
	memset(c, 0, sizeof(*c));
	s->http = warren_http_server_take(warren_stream_new_take(ctx, fds[0]), &options,
					  &server_http, s);
	options.body_max = -1;
	c->http = warren_http_client_take(warren_stream_new_take(ctx, fds[1]), &options,
					  &client_http, c);
	assert_true(s->http && c->http);
	the_server = s;
}

static void stop(struct client *c, struct server *s)
{
	warren_http_close(c->http);
	c->http = NULL;
	for (int i = 0; i < 10; i++)
		parts_settle(engine);
	warren_http_close(s->http);
	for (int i = 0; i < 10; i++)
		parts_settle(engine);
	for (uint32_t i = 0; i < MANY; i++) {
		str_free(&s->view[i].head);
		str_free(&s->view[i].body);
	}
	memset(s, 0, sizeof(*s));
}

static void view_free(struct view *v)
{
	str_free(&v->head);
	str_free(&v->body);
	memset(v, 0, sizeof(*v));
}

static struct warren_exchange *ask(struct client *c, struct view *v, const char *method,
				   int64_t length)
{
	const struct warren_http_field field = { "x-note", "a note" };
	struct warren_http_head head = { .size = sizeof(head), .method = method,
					 .path = "/some?q=1", .authority = "host.example:81",
					 .fields = &field, .n_fields = 1, .length = length };

	v->http = c->http;
	v->x = warren_http_request(c->http, &head, &client_events, v);
	return v->x;
}

static void wait_for(struct view *v)
{
	assert_true(parts_until(engine, &v->done));
	v->done = false;
}

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	if (ctx->phase != WCORE_PHASE_GONE)
		wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

static void questions_one_after_the_other(uint32_t version)
{
	struct server s = { 0 };
	struct client c;
	struct view v = { 0 };

	start(&c, &s, version, 0);
	for (uint32_t i = 0; i < 3; i++) {
		assert_non_null(ask(&c, &v, "GET", 0));
		if (version == WARREN_HTTP_1)
			assert_null(ask(&c, &(struct view){ 0 }, "GET", 0));
		wait_for(&v);
		assert_int_equal(v.status, 200);
		assert_int_equal(v.completes, 1);
		assert_string_equal(str_text(&v.body), "hello\n");
		assert_string_equal(str_text(&s.view[i].head),
				    "GET /some?q=1 host.example:81 a note");
		view_free(&v);
		parts_settle(engine);
	}
	assert_int_equal(c.ended, 0);
	assert_non_null(ask(&c, &v, "HEAD", 0));
	wait_for(&v);
	assert_int_equal(v.completes, 1);
	assert_int_equal(v.body.len, 0);
	stop(&c, &s);
	view_free(&v);
}

/* Bodies that are larger than every window, while both sides pause after each piece. */
static void a_large_body_there_and_back(uint32_t version, int64_t length)
{
	struct server s = { .pause_each = true };
	struct client c;
	struct view v = { .pause_each = true };
	char *text = malloc(BIG);

	assert_non_null(text);
	for (size_t i = 0; i < BIG; i++)
		text[i] = (char)('a' + (i / 100 + i) % 26);
	start(&c, &s, version, BIG);
	assert_non_null(ask(&c, &v, "POST", length));
	assert_int_equal(warren_exchange_write(v.x, text, BIG / 2), 0);
	assert_int_equal(warren_exchange_write(v.x, text + BIG / 2, BIG / 2), 0);
	assert_int_equal(warren_exchange_end(v.x), 0);
	for (int i = 0; i < 20000 && !v.done; i++) {
		parts_settle(engine);
		if (s.view[0].paused && !s.view[0].completes) {
			s.view[0].paused = false;
			warren_exchange_resume(s.view[0].x);
		}
		if (v.paused && !v.completes && !v.fails) {
			v.paused = false;
			warren_exchange_resume(v.x);
		}
	}
	assert_int_equal(v.fails, 0);
	assert_int_equal(v.completes, 1);
	assert_int_equal(s.view[0].body.len, BIG);
	assert_memory_equal(s.view[0].body.s, text, BIG);
	assert_int_equal(v.body.len, BIG);
	assert_memory_equal(v.body.s, text, BIG);
	assert_true(v.drains > 0);
	stop(&c, &s);
	view_free(&v);
	free(text);
}

static void ends_from_inside(uint32_t version)
{
	for (enum what what = CANCEL_IN_HEAD; what <= CLOSE_IN_COMPLETE; what++) {
		struct server s = { 0 };
		struct client c;
		struct view v = { .what = what };

		start(&c, &s, version, 0);
		assert_non_null(ask(&c, &v, "POST", 5));
		assert_int_equal(warren_exchange_write(v.x, "hello", 5), 0);
		assert_int_equal(warren_exchange_end(v.x), 0);
		for (int i = 0; i < 30; i++)
			parts_settle(engine);
		assert_int_equal(v.heads, 1);
		assert_int_equal(v.fails, 0);
		assert_int_equal(v.completes, what >= CANCEL_IN_COMPLETE);
		if (what % 2 == 0)	/* closed by itself */
			c.http = NULL;
		stop(&c, &s);
		view_free(&v);
	}
}

static void the_server_gives_up(uint32_t version)
{
	for (enum what what = CANCEL_IN_HEAD; what <= CLOSE_IN_BODY; what++) {
		struct server s = { .what = what };
		struct client c;
		struct view v = { 0 };

		start(&c, &s, version, 0);
		assert_non_null(ask(&c, &v, "POST", 5));
		assert_int_equal(warren_exchange_write(v.x, "hello", 5), 0);
		assert_int_equal(warren_exchange_end(v.x), 0);
		wait_for(&v);
		assert_int_equal(v.fails, 1);
		assert_int_equal(v.completes, 0);
		if (what == CLOSE_IN_HEAD || what == CLOSE_IN_BODY)
			s.http = NULL;
		stop(&c, &s);
		view_free(&v);
	}
}

static void a_body_past_the_limit(uint32_t version)
{
	struct server s = { 0 };
	struct client c;
	struct view v = { 0 };

	start(&c, &s, version, 100);
	assert_non_null(ask(&c, &v, "POST", 101));
	assert_int_equal(warren_exchange_write(v.x, (char[101]){ 'x' }, 101), 0);
	assert_int_equal(warren_exchange_end(v.x), 0);
	wait_for(&v);
	assert_int_equal(s.view[0].fails, 1);
	assert_int_equal(s.view[0].result, -EMSGSIZE);
	assert_true(version == WARREN_HTTP_1 ? v.status == 413 : v.fails == 1);
	stop(&c, &s);
	view_free(&v);
}

static void fields_that_would_split_a_head(uint32_t version)
{
	static const struct warren_http_field bad[] = {
		{ "x", "a\r\nb: c" }, { "x y", "a" }, { "content-length", "5" },
	};
	struct server s = { 0 };
	struct client c;

	start(&c, &s, version, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct warren_http_head head = { .size = sizeof(head), .method = "GET",
						 .path = "/", .authority = "h",
						 .fields = &bad[i], .n_fields = 1 };

		assert_null(warren_http_request(c.http, &head, &client_events, NULL));
		head.n_fields = 0;
		head.path = "/a b";
		assert_null(warren_http_request(c.http, &head, &client_events, NULL));
	}
	stop(&c, &s);
}

static void in_both_versions(void **state)
{
	(void)state;
	for (uint32_t version = WARREN_HTTP_1; version <= WARREN_HTTP_2; version++) {
		questions_one_after_the_other(version);
		a_large_body_there_and_back(version, BIG);
		a_large_body_there_and_back(version, -1);
		ends_from_inside(version);
		the_server_gives_up(version);
		a_body_past_the_limit(version);
		fields_that_would_split_a_head(version);
	}
}

/* ---- HTTP/1.1 ---- */

static struct warren_stream *handed;

static void switched(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct view *v = arg;

	v->status = head->status;
	handed = warren_exchange_upgrade(x, NULL, 0);
	v->done = true;
}

static const struct warren_exchange_events switch_events = {
	.size = sizeof(switch_events), .head = switched, .failed = on_failed,
};

static void an_upgrade_hands_over_what_was_read(void **state)
{
	static const struct warren_http_field fields[] = { { "Upgrade", "test" },
							   { "Connection", "upgrade" } };
	struct warren_http_head head = { .size = sizeof(head), .method = "POST", .path = "/up",
					 .authority = "h", .fields = fields, .n_fields = 2 };
	struct server s = { .upgrade = true };
	struct client c;
	struct view v = { 0 };
	size_t len;

	(void)state;
	start(&c, &s, WARREN_HTTP_1, 0);
	assert_non_null(warren_http_request(c.http, &head, &switch_events, &v));
	wait_for(&v);
	assert_int_equal(v.status, 101);
	assert_non_null(handed);
	for (int i = 0; i < 5; i++)
		parts_settle(engine);
	assert_memory_equal(warren_stream_input(handed, &len), "server first", 12);
	assert_int_equal(len, 12);
	assert_int_equal(c.ended, 0);
	assert_int_equal(s.ended, 1);
	warren_stream_close(handed);
	warren_stream_close(s.stream);
	stop(&c, &s);
}

/* DERP's fast start: nobody waits for a 101, and what follows the head is the server's. */
static void an_upgrade_without_an_answer(void **state)
{
	static const char request[] = "GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: test\r\n"
				      "Connection: Upgrade\r\n\r\nclient first";
	struct warren_http_options options = { .size = sizeof(options),
					       .version = WARREN_HTTP_1 };
	struct server s = { .upgrade = true, .no_answer = true };
	char got[64];
	size_t len;
	int fds[2];

	(void)state;
	the_server = &s;
	socket_pair(fds);
	s.http = warren_http_server_take(warren_stream_new_take(ctx, fds[0]), &options,
					 &server_http, &s);
	assert_int_equal(write(fds[1], request, sizeof(request) - 1), sizeof(request) - 1);
	for (int i = 0; i < 10; i++)
		parts_settle(engine);
	assert_int_equal(read(fds[1], got, sizeof(got)), 12);
	assert_memory_equal(got, "server first", 12);
	assert_memory_equal(warren_stream_input(s.stream, &len), "client first", 12);
	assert_int_equal(len, 12);
	close(fds[1]);
	warren_stream_close(s.stream);
	stop(&(struct client){ 0 }, &s);
}

/* What the server answers to bytes of a client, and whether it then ends the connection. */
static void raw(const char *bytes, const char *answer, bool ends)
{
	struct warren_http_options options = { .size = sizeof(options),
					       .version = WARREN_HTTP_1 };
	struct server s = { 0 };
	char got[2048] = "";
	int fds[2];
	size_t n = 0;
	ssize_t r = -1;

	socket_pair(fds);
	s.http = warren_http_server_take(warren_stream_new_take(ctx, fds[0]), &options,
					 &server_http, &s);
	for (size_t i = 0; bytes[i]; i++) {	/* a byte at a time */
		if (write(fds[1], bytes + i, 1) != 1)
			break;
		parts_settle(engine);
	}
	for (int i = 0; i < 10; i++) {
		parts_settle(engine);
		r = read(fds[1], got + n, sizeof(got) - 1 - n);
		n += r > 0 ? (size_t)r : 0;
	}
	if (!strstr(got, answer))
		print_error("asked %s\ngot %s\n", bytes, got);
	assert_non_null(strstr(got, answer));
	assert_int_equal(r == 0, ends);
	close(fds[1]);
	stop(&(struct client){ 0 }, &s);
}

static void requests_as_bytes(void **state)
{
	(void)state;
	raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n", false);
	raw("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	    "hello\nHTTP/1.1 200 OK\r\n", false);
	raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "Connection: close\r\n",
	    true);
	raw("GET / HTTP/1.0\r\n\r\n", "hello\n", true);
	raw("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", "\r\n\r\nab", true);
	raw("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
	    "HTTP/1.1 100 Continue\r\n\r\n", false);
	raw("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", false);
	raw("nonsense\r\n\r\n", "HTTP/1.1 400 ", true);
	raw("GET / HTTP/1.1\r\n\r\n", "must have one Host", true);
	raw("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
	    "HTTP/1.1 400 ", true);
}

/* ---- HTTP/2 ---- */

static void many_at_once(void **state)
{
	struct server s = { .silent = true };
	struct client c;
	struct view v[MANY];

	(void)state;
	memset(v, 0, sizeof(v));
	start(&c, &s, WARREN_HTTP_2, 0);
	for (uint32_t i = 0; i < MANY; i++)
		assert_non_null(ask(&c, &v[i], "GET", 0));
	for (int i = 0; i < 20; i++)
		parts_settle(engine);
	assert_int_equal(s.n, MANY);
	for (uint32_t i = MANY; i-- > 0;)	/* answered in another order */
		assert_int_equal(warren_exchange_reply(s.view[i].x, 200 + (int)i % 2, NULL, "x", 1),
				 0);
	for (uint32_t i = 0; i < MANY; i++) {
		wait_for(&v[i]);
		assert_int_equal(v[i].status, 200 + i % 2);
		assert_int_equal(v[i].completes, 1);
		view_free(&v[i]);
	}
	assert_int_equal(warren_http_ping(c.http, 1000000), 0);
	parts_settle(engine);
	stop(&c, &s);
}

static void a_ping_without_answer_ends_it(void **state)
{
	struct warren_http_options options = { .size = sizeof(options),
					       .version = WARREN_HTTP_2 };
	struct client c = { 0 };
	int fds[2];

	(void)state;
	socket_pair(fds);
	c.http = warren_http_client_take(warren_stream_new_take(ctx, fds[0]), &options,
					 &client_http, &c);
	assert_int_equal(warren_http_ping(c.http, 1000), 0);
	assert_true(parts_until(engine, &c.done));
	assert_int_equal(c.result, -ETIMEDOUT);
	warren_http_close(c.http);
	close(fds[1]);
}

/* ---- curl ---- */

struct listener {
	struct server server;
	uint32_t version;
};

static void accepts(struct warren_ctx *at, int fd, uint32_t what, void *arg)
{
	struct listener *l = arg;
	struct warren_http_options options = { .size = sizeof(options), .version = l->version };
	int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	assert_true(got >= 0);
	l->server.http = warren_http_server_take(warren_stream_new_take(at, got), &options,
						 &server_http, &l->server);
}

static pid_t run_curl(const char *how, uint16_t port, int out)
{
	char url[64];
	pid_t pid;

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/x", port);
	pid = fork();
	if (pid == 0) {
		dup2(out, 1);
		execlp("curl", "curl", "-sS", "--noproxy", "*", "-m", "10", how, "--data",
		       "what curl sends", url, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void curl_asks(void **state)
{
	static const char *const how[] = { "--http1.1", "--http2-prior-knowledge" };

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		struct sockaddr_in sin = { .sin_family = AF_INET,
					   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		struct listener l = { .version = WARREN_HTTP_1 + i };
		socklen_t len = sizeof(sin);
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), out[2];
		struct warren_io *io;
		int status = -1;
		char got[64] = "";
		pid_t pid;

		assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
		assert_int_equal(listen(fd, 4), 0);
		getsockname(fd, (struct sockaddr *)&sin, &len);
		io = warren_io_new_take(ctx, fd, accepts, &l);
		warren_io_want(io, WARREN_IN);
		assert_int_equal(pipe(out), 0);
		pid = run_curl(how[i], ntohs(sin.sin_port), out[1]);
		close(out[1]);
		for (int n = 0; n < 3000 && waitpid(pid, &status, WNOHANG) == 0; n++) {
			parts_settle(engine);
			usleep(2000);
		}
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 127)
			skip();
		assert_int_equal(WEXITSTATUS(status), 0);
		assert_true(read(out[0], got, sizeof(got) - 1) > 0);
		assert_string_equal(got, "what curl sends");
		close(out[0]);
		warren_release(io);
		stop(&(struct client){ 0 }, &l.server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(in_both_versions, begin, finish),
		cmocka_unit_test_setup_teardown(an_upgrade_hands_over_what_was_read, begin, finish),
		cmocka_unit_test_setup_teardown(an_upgrade_without_an_answer, begin, finish),
		cmocka_unit_test_setup_teardown(requests_as_bytes, begin, finish),
		cmocka_unit_test_setup_teardown(many_at_once, begin, finish),
		cmocka_unit_test_setup_teardown(a_ping_without_answer_ends_it, begin, finish),
		cmocka_unit_test_setup_teardown(curl_asks, begin, finish),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
