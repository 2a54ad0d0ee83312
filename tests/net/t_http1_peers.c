/*
 * Connections of HTTP/1.1 against peers that are no better than they have to be: bytes as they
 * come, and the server of Python's library.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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
#include "engine/loop.h"

#include "../unit/parts.h"
#include "talk.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a.example\r\n\r\n"
#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: a.example\r\n" fields "\r\n"

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct talk_server server;
static struct talk_client client;
static struct talk_end end;
static struct warren_http *http;	/* of the client */
static int raw = -1;			/* the other end */
static struct str heard;		/* what came out there */

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	return 0;
}

static void disconnect(void)
{
	talk_server_free(&server);
	warren_http_close(http);
	http = NULL;
	talk_client_free(&client);
	memset(&end, 0, sizeof(end));
	str_free(&heard);
	if (raw != -1)
		close(raw);
	raw = -1;
}

static int finish(void **state)
{
	(void)state;
	disconnect();
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

static int take_raw(void)
{
	int fds[2];

	disconnect();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	raw = fds[0];
	return fds[1];
}

static void serve(const struct warren_http_options *options)
{
	server.http = warren_http_server_take(warren_stream_new_take(ctx, take_raw()), options,
					      &talk_server_events, &server);
	assert_non_null(server.http);
}

static void connect_raw(void)
{
	const struct warren_http_options options = { .size = sizeof(options), .version = 1 };

	http = warren_http_client_take(warren_stream_new_take(ctx, take_raw()), &options,
				       &talk_end_events, &end);
	assert_non_null(http);
}

static void say(const char *bytes)
{
	assert_int_equal(send(raw, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
	parts_settle(engine);
}

/* What has come since the last call; true: and then the end. */
static bool hear(void)
{
	char buf[4096];
	ssize_t n;

	str_cut(&heard, 0);
	parts_settle(engine);
	while ((n = recv(raw, buf, sizeof(buf), 0)) > 0)
		str_addn(&heard, buf, (size_t)n);
	return n == 0;
}

static void expect_text(const char *text)
{
	if (!strstr(str_text(&heard), text))
		fail_msg("heard: %s", str_text(&heard));
}

/* ---- as a server ---- */

static const struct warren_http_options usual = { .size = sizeof(usual), .version = 1 };

static void many_requests_in_one_write(void **state)
{
	(void)state;
	serve(&usual);
	say(GET("/hold") GET("/empty") POST("/echo", "Content-Length: 3\r\n") "abc" GET("/echo"));
	assert_false(hear());
	assert_string_equal(str_text(&server.log), "GET\t/hold");	/* one at a time */
	assert_string_equal(str_text(&heard), "");
	assert_int_equal(warren_exchange_reply(server.x, 200, NULL, "first", 5), 0);
	assert_false(hear());
	assert_string_equal(str_text(&server.log), "GET\t/hold\nGET\t/empty\nPOST\t/echo\n"
			    "GET\t/echo");
	assert_true(str_starts(str_text(&heard), "HTTP/1.1 200 OK\r\n"));
	expect_text("\r\n\r\nfirstHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n");
	expect_text("\r\n\r\nabcHTTP/1.1 200 OK\r\n");
	/* They are answered though the client has closed its direction meanwhile. */
	say(GET("/hold") GET("/empty"));
	assert_int_equal(shutdown(raw, SHUT_WR), 0);
	assert_false(hear());
	assert_int_equal(warren_exchange_reply(server.x, 404, NULL, "last", 4), 0);
	assert_true(hear());
	expect_text("HTTP/1.1 404 Not Found\r\n");
	expect_text("lastHTTP/1.1 204 No Content\r\n");
	assert_true(server.ended && server.result == 0);
}

static void refused(const char *bytes, const char *status, const char *why)
{
	serve(&usual);
	say(bytes);
	shutdown(raw, SHUT_WR);
	parts_until(engine, &server.ended);
	if (!hear() || !server.ended)
		fail_msg("after %.60s: no end but %s", bytes, str_text(&heard));
	assert_true(str_starts(str_text(&heard), status));
	expect_text("Connection: close\r\n");
	expect_text(why);
	assert_true(server.ended && server.result < 0);
}

static void requests_that_are_refused(void **state)
{
	struct str text = STR_INIT;

	(void)state;
	refused("GET / HTTP/1.1\r\nHost: a.example\r\n", "HTTP/1.1 400 ", "closed");
	refused(POST("/echo", "Content-Length: 5\r\n") "abc", "HTTP/1.1 400 ", "closed");
	refused("GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n", "HTTP/1.1 400 ", "HTTP");
	refused(GET("/empty") "rubbish\r\n\r\n", "HTTP/1.1 204 ", "HTTP/1.1 400 ");
	refused(POST("/echo", "Content-Length: 17000000\r\n"), "HTTP/1.1 4", "\r\n\r\n");
	str_add(&text, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
	for (int i = 0; i < WARREN_HTTP_HEAD_MAX; i++)
		str_addc(&text, 'x');
	refused(str_text(&text), "HTTP/1.1 431 ", "too long");
	str_free(&text);
}

static void who_may_go_on(void **state)
{
	(void)state;
	serve(&usual);
	say(POST("/early", "Expect: 100-continue\r\nContent-Length: 5\r\n"));
	assert_false(hear());
	assert_true(str_starts(str_text(&heard), "HTTP/1.1 403 Forbidden\r\n"));
	expect_text("Connection: close\r\n");
	assert_null(strstr(str_text(&heard), "100"));
	/* He sends the body all the same. */
	say("hello");
	assert_true(hear());
	assert_true(server.ended && server.result == 0);
}

static void slow_clients(void **state)
{
	const struct warren_http_options hasty = { .size = sizeof(hasty), .version = 1,
						   .head_timeout = 100000,
						   .idle_timeout = 200000 };
	static const char head[] = "GET /echo HTTP/1.1\r\nHost: a.example\r\nA: bbbbbbbbbbbbbbb";
	uint64_t begun;

	(void)state;
	/* A trickle does not prolong the time for a head. */
	serve(&hasty);
	begun = wcore_clock_stopwatch();
	for (size_t i = 0; i < sizeof(head) - 1 && !server.ended; i++) {
		assert_int_equal(send(raw, head + i, 1, MSG_NOSIGNAL), 1);
		for (int n = 0; n < 10; n++) {
			parts_settle(engine);
			usleep(1000);
		}
	}
	assert_true(server.ended);
	assert_true(wcore_clock_stopwatch() - begun >= 100000);
	assert_true(hear());
	assert_true(str_starts(str_text(&heard), "HTTP/1.1 408 Request Timeout\r\n"));
	expect_text("takes too long");

	/* A body that stays away. */
	serve(&hasty);
	say(POST("/hold", "Content-Length: 5\r\n") "ab");
	assert_true(parts_until(engine, &server.ended));
	assert_true(server.failed && server.result == -ETIMEDOUT);

	/* While we are the ones to wait for, no time passes. */
	serve(&hasty);
	server.pause = true;
	say(POST("/hold", "Content-Length: 5\r\n") "ab");
	for (int n = 0; n < 200; n++) {
		parts_settle(engine);
		usleep(1000);
	}
	assert_false(server.failed || server.ended);
	warren_exchange_resume(server.x);
	server.pause = false;
	say("cde");
	assert_true(server.held);
	for (int n = 0; n < 300; n++) {
		parts_settle(engine);
		usleep(1000);
	}
	assert_false(server.failed || server.ended);
	assert_int_equal(warren_exchange_reply(server.x, 200, NULL, "x", 1), 0);

	/* Between requests: an end in order, and nothing is said. */
	hear();
	assert_true(parts_until(engine, &server.ended));
	assert_int_equal(server.result, 0);
	assert_true(hear());
	assert_string_equal(str_text(&heard), "");
}

/* ---- as a client ---- */

static void answered(const char *method, const char *bytes, bool closes, int status,
		     const char *body)
{
	connect_raw();
	talk_request(&client, http, method, "/", NULL, 0, 0);
	assert_false(hear());
	assert_true(str_starts(str_text(&heard), method));
	for (size_t i = 0; bytes[i]; i++) {
		if (send(raw, bytes + i, 1, MSG_NOSIGNAL) != 1)
			break;
		parts_settle(engine);
	}
	if (closes)
		shutdown(raw, SHUT_WR);
	parts_settle(engine);
	if (!client.done || client.status != status || strcmp(str_text(&client.body), body) != 0)
		fail_msg("after %s: %d %s, %s", bytes, client.status, str_text(&client.body),
			 client.why);
}

static void good(const char *method, const char *bytes, bool closes, int status, const char *body)
{
	answered(method, bytes, closes, status, body);
	if (client.result)
		fail_msg("after %s: %s", bytes, client.why);
	if (closes)
		assert_true(end.ended && end.result == 0);
}

static void bad(const char *method, const char *bytes, int status, const char *body,
		const char *why)
{
	answered(method, bytes, true, status, body);
	assert_true(client.result < 0);
	if (!strstr(client.why, why))
		fail_msg("after %s: %s", bytes, client.why);
	assert_true(end.ended);
}

static void answers_as_bytes(void **state)
{
	(void)state;
	good("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", false, 200, "ab");
	assert_false(end.ended);
	good("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab", false,
	     200, "ab");
	assert_true(end.ended && end.result == 0);
	good("GET", "HTTP/1.1 200\r\n\r\nuntil the end", true, 200, "until the end");
	good("GET", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false, 200, "");
	assert_true(end.ended);
	good("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
	     "0\r\nT: x\r\n\r\n", false, 200, "ab");
	good("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", false, 200, "");
	good("HEAD", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
	     "Content-Length: 2\r\n\r\n", false, 200, "");
	good("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\n\r\n"
	     "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", false, 304, "");
	assert_false(end.ended);

	bad("GET", "", 0, "", "before its answer");
	bad("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", 200, "ab", "closed");
	bad("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", 200, "ab",
	    "closed");
	bad("GET", "SSH-2.0-OpenSSH\r\n\r\n", 0, "", "HTTP");
	bad("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 0, "", "");
	bad("GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 0, "",
	    "switched to another protocol, unasked");
	bad("GET", "HTTP/1.1 100 Continue\r\n\r\n", 0, "", "before its answer");
}

static void an_answer_to_nothing(void **state)
{
	(void)state;
	connect_raw();
	say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_true(end.ended);
	assert_string_equal(end.why, "the other side sent an answer that nobody asked for");
	/* Behind one that was asked for, it cannot be taken for the next one's. */
	connect_raw();
	talk_request(&client, http, "GET", "/", NULL, 0, 0);
	say("HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_true(client.done && client.result == 0 && client.status == 204);
	assert_true(end.ended && end.result == -EBADMSG);
}

static void one_request_at_a_time(void **state)
{
	const struct warren_http_head head = { .size = sizeof(head), .method = "GET", .path = "/",
					       .authority = "a.example" };

	(void)state;
	connect_raw();
	talk_request(&client, http, "GET", "/", NULL, 0, 0);
	assert_null(warren_http_request(http, &head, &talk_client_events, &client));
	say("HTTP/1.1 204 No\r\n\r\n");
	assert_true(client.done);
	talk_request(&client, http, "POST", "/", "ab", 2, -1);
	assert_false(hear());
	expect_text("GET / HTTP/1.1\r\nHost: a.example\r\n\r\nPOST / HTTP/1.1\r\n"
		    "Host: a.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n");
}

/* ---- against Python ---- */

static const char script[] =
	"import http.server as h\n"
	"class H(h.BaseHTTPRequestHandler):\n"
	"  protocol_version = 'HTTP/1.1'\n"
	"  def log_message(self, *a): pass\n"
	"  def answer(self, body):\n"
	"    self.send_response(200)\n"
	"    self.send_header('Content-Length', len(body))\n"
	"    self.end_headers()\n"
	"    if self.command != 'HEAD': self.wfile.write(body)\n"
	"  def do_HEAD(self): self.answer(b'hello')\n"
	"  def do_GET(self):\n"
	"    if self.path != '/chunks': return self.answer(b'hello')\n"
	"    self.send_response(200)\n"
	"    self.send_header('Transfer-Encoding', 'chunked')\n"
	"    self.end_headers()\n"
	"    for i in range(3): self.wfile.write(b'%x\\r\\n%s\\r\\n' % (70000, b'x' * 70000))\n"
	"    self.wfile.write(b'0\\r\\n\\r\\n')\n"
	"  def do_POST(self):\n"
	"    self.answer(self.rfile.read(int(self.headers['Content-Length'])))\n"
	"s = h.HTTPServer(('127.0.0.1', 0), H)\n"
	"print(s.server_port, flush=True)\n"
	"s.handle_request()\n";

/* Returns its port; 0: there is no Python here. */
static uint16_t python(pid_t *pid, int *out)
{
	extern char **environ;
	const char *const argv[] = { "python3", "-c", script, NULL };
	posix_spawn_file_actions_t actions;
	char port[16] = "";
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
	if (posix_spawnp(pid, "python3", &actions, NULL, (char *const *)(uintptr_t)argv, environ))
		*pid = 0;
	posix_spawn_file_actions_destroy(&actions);
	close(fds[1]);
	*out = fds[0];
	if (*pid && read(fds[0], port, sizeof(port) - 1) <= 0)
		fail_msg("Python does not serve");
	return (uint16_t)strtoul(port, NULL, 10);
}

static void ask(const char *method, const char *path, const char *body)
{
	talk_request(&client, http, method, path, body, strlen(body), (int64_t)strlen(body));
	assert_true(parts_until(engine, &client.done));
	if (client.result)
		fail_msg("%s", client.why);
	assert_int_equal(client.status, 200);
}

static void a_server_of_python(void **state)
{
	const struct warren_http_options options = { .size = sizeof(options), .version = 1 };
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), out;
	pid_t pid;

	(void)state;
	sin.sin_port = htons(python(&pid, &out));
	if (!sin.sin_port) {
		close(fd);
		skip();
	}
	assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	http = warren_http_client_take(warren_stream_new_take(ctx, fd), &options, &talk_end_events,
				       &end);
	ask("GET", "/", "");
	assert_string_equal(str_text(&client.body), "hello");
	ask("HEAD", "/", "");
	assert_string_equal(str_text(&client.body), "");
	ask("POST", "/", "what is said");
	assert_string_equal(str_text(&client.body), "what is said");
	ask("GET", "/chunks", "");
	assert_int_equal(client.body.len, 210000);
	assert_false(end.ended);
	warren_http_close(http);
	http = NULL;
	parts_settle(engine);		/* the descriptor is closed from the loop */
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(out);
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(many_requests_in_one_write),
		ON_LOOP(requests_that_are_refused),
		ON_LOOP(who_may_go_on),
		ON_LOOP(slow_clients),
		ON_LOOP(answers_as_bytes),
		ON_LOOP(an_answer_to_nothing),
		ON_LOOP(one_request_at_a_time),
		ON_LOOP(a_server_of_python),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
