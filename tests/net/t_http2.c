/*
 * HTTP/2, our client against our server over a socket pair, then each against a foreign one: curl
 * and nghttpd.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/net.h>

#include "engine/ctx.h"
#include "engine/engine.h"

#include "../unit/parts.h"
#include "calls.h"

extern char **environ;

enum { BIG = 4 << 20, MANY = 100 };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct side client, server;

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	memset(&client, 0, sizeof(client));
	memset(&server, 0, sizeof(server));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	side_close(&client);
	side_close(&server);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

static struct warren_http_options options(void)
{
	const struct warren_http_options result = { .size = sizeof(result),
						    .version = WARREN_HTTP_2 };

	return result;
}

static void connect_both(const struct warren_http_options *serving)
{
	const struct warren_http_options calling = options();
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	client.http = warren_http_client_take(warren_stream_new_take(ctx, fds[0]), &calling,
					      &side_events, &client);
	server.http = warren_http_server_take(warren_stream_new_take(ctx, fds[1]),
					      serving ? serving : &calling, &side_events,
					      &server);
	assert_non_null(client.http);
	assert_non_null(server.http);
}

static char *make_text(size_t len)
{
	char *text = malloc(len);

	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)(i * 7 + i / 4099);
	return text;
}

static void test_messages(void **state)
{
	static const struct { const char *method, *body; int64_t length; bool known; } cases[] = {
		{ "GET", "", 0, true }, { "GET", "", 0, false },
		{ "GET", "a body", -1, false }, { "POST", "hello", 5, false },
		{ "POST", "hello", -1, true }, { "PATCH", "p", 1, false }, { "POST", "", 0, true },
		{ "POST", "", -1, true },
	};

	(void)state;
	connect_both(NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct call call, *seen = &server.calls[i];
		char want[160];

		server.answer = cases[i].known ? "the answer" : NULL;
		server.answer_len = 10;
		assert_true(call_request(&client, &call, cases[i].method, "/p?q=1",
					 cases[i].length));
		call.send = cases[i].body;
		call.send_len = strlen(call.send);
		if (cases[i].length)
			call_send(&call);
		assert_true(parts_until(engine, &call.done));
		assert_true(call.complete);
		snprintf(want, sizeof(want), "%s https://box.example:8443/p?q=1|accept=*/*|x-n=1%s",
			 cases[i].method, cases[i].length > 0 ? "|content-length=" : "");
		assert_memory_equal(str_text(&seen->head), want, strlen(want));
		assert_int_equal(seen->length, cases[i].length);
		assert_string_equal(str_text(&seen->body), cases[i].body);
		assert_int_equal(call.status, 200);
		assert_int_equal(call.length, cases[i].known ? 10 : -1);
		assert_string_equal(str_text(&call.head), cases[i].known ?
				    "200|x-test=a b|content-length=10" : "200|x-test=a b");
		assert_string_equal(str_text(&call.body),
				    cases[i].known ? "the answer" : cases[i].body);
		call_free(&call);
	}
	assert_int_equal(server.n_complete, 8);
	assert_int_equal(server.n_failed, 0);
}

/* What has no body has none, whatever the server says and writes. */
static void test_no_body(void **state)
{
	static const int statuses[] = { 204, 304, 200 };
	struct call call;

	(void)state;
	connect_both(NULL);
	server.hold = true;
	for (size_t i = 0; i < 3; i++) {
		const struct warren_http_head head = { .size = sizeof(head), .length = 5,
						       .status = statuses[i] };
		struct call *seen = &server.calls[i];

		assert_true(call_request(&client, &call, i == 2 ? "HEAD" : "GET", "/", 0));
		assert_true(parts_until(engine, &seen->done) || seen->complete);
		assert_int_equal(warren_exchange_head(seen->x, &head), 0);
		parts_settle(engine);
		assert_int_equal(warren_exchange_write(seen->x, "12345", 5), 0);
		assert_int_equal(warren_exchange_end(seen->x), 0);
		assert_true(parts_until(engine, &call.done));
		assert_true(call.complete);
		assert_int_equal(call.status, statuses[i]);
		assert_int_equal(call.length, 0);
		assert_int_equal(call.body.len, 0);
		assert_int_equal(strstr(str_text(&call.head), "content-length=5") != NULL, i == 2);
		call_free(&call);
	}
}

/* The rules for who writes a body of a length that was said. */
static void test_lengths_out(void **state)
{
	static const struct warren_http_field bad[] = { { "Connection", "close" } };
	struct warren_http_head head = { .size = sizeof(head), .method = "GET", .path = "/",
					 .authority = "a", .fields = bad, .n_fields = 1 };
	struct call call;

	(void)state;
	connect_both(NULL);
	assert_null(warren_http_request(client.http, &head, &call_events, &call));
	assert_true(call_request(&client, &call, "POST", "/", 5));
	assert_int_equal(warren_exchange_write(call.x, "123456", 6), -EMSGSIZE);
	assert_int_equal(warren_exchange_write(call.x, "1234", 4), 0);
	assert_int_equal(warren_exchange_end(call.x), -EINVAL);
	assert_int_equal(warren_exchange_write(call.x, "5", 1), 0);
	assert_int_equal(warren_exchange_end(call.x), 0);
	assert_true(parts_until(engine, &call.done));
	assert_string_equal(str_text(&call.body), "12345");
	call_free(&call);
}

/* As many at once as the server allows; one more is refused, not queued. */
static void test_many(void **state)
{
	struct warren_http_options serving = options();
	static struct call calls[MANY], more;
	char text[16];

	(void)state;
	serving.streams_max = MANY;
	connect_both(&serving);
	server.hold = true;
	for (int i = 0; i < MANY; i++)
		assert_true(call_request(&client, &calls[i], "GET", "/hold", 0));
	assert_false(call_request(&client, &more, "GET", "/more", 0));
	for (int i = 0; i < 1000 && server.n_complete < MANY; i++)
		parts_settle(engine);
	assert_int_equal(server.n_complete, MANY);
	for (int i = MANY - 1; i >= 0; i--) {
		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(warren_exchange_reply(server.calls[i].x, 404, NULL, text,
						       strlen(text)), 0);
	}
	for (int i = 0; i < MANY; i++) {
		assert_true(parts_until(engine, &calls[i].done));
		assert_int_equal(calls[i].status, 404);
		snprintf(text, sizeof(text), "%d", i);
		assert_string_equal(str_text(&calls[i].body), text);
		call_free(&calls[i]);
	}
	assert_true(call_request(&client, &more, "GET", "/more", 0));
	assert_true(!more.done);
	warren_exchange_cancel(more.x);
	parts_settle(engine);
}

static void resume(struct call *call)
{
	if (!call->paused || !call->x)
		return;
	call->paused = false;
	warren_exchange_resume(call->x);
}

/* 4 MiB to the server, which pauses at each piece, and back to the client, which does so too. */
static void test_big_with_pauses(void **state)
{
	char *text = make_text(BIG);
	struct call call;

	(void)state;
	connect_both(NULL);
	server.pause = true;
	assert_true(call_request(&client, &call, "POST", "/big", -1));
	call.pause = true;
	call.send = text;
	call.send_len = BIG;
	call_send(&call);
	for (int i = 0; i < 200000 && !call.done; i++) {
		parts_settle(engine);
		resume(&call);
		resume(&server.calls[0]);
	}
	assert_true(call.complete);
	assert_int_equal(call.body.len, BIG);
	assert_memory_equal(call.body.s, text, BIG);
	assert_true(call.pieces > 64);
	assert_true(server.calls[0].pieces > 64);
	call_free(&call);
	free(text);
}

/* Who pauses for good gets no more than the window; others on the connection are not held up. */
static void test_pause_closes_window(void **state)
{
	struct call call, other;
	char *text = make_text(BIG);

	(void)state;
	connect_both(NULL);
	server.pause = true;
	assert_true(call_request(&client, &call, "POST", "/paused", BIG));
	assert_int_equal(warren_exchange_write(call.x, text, BIG), 0);
	for (int i = 0; i < 3000; i++)
		parts_settle(engine);
	assert_int_equal(server.calls[0].pieces, 1);
	assert_in_range(warren_exchange_pending(call.x), BIG - (1 << 20) - (64 << 10),
			BIG - (1 << 20) + (64 << 10));
	/* Cancelled with a full buffer again and again: the connection's window comes back. */
	for (int i = 1; i <= 8; i++) {
		warren_exchange_cancel(call.x);
		assert_true(call_request(&client, &call, "POST", "/paused", BIG));
		assert_int_equal(warren_exchange_write(call.x, text, BIG), 0);
		for (int j = 0; j < 300; j++)
			parts_settle(engine);
		assert_int_equal(server.calls[i].pieces, 1);
		assert_true(server.calls[i - 1].failed);
	}
	server.pause = false;
	assert_true(call_request(&client, &other, "POST", "/other", -1));
	other.send = text;
	other.send_len = BIG;
	call_send(&other);
	assert_true(parts_until(engine, &other.done));
	assert_true(other.complete);
	assert_int_equal(other.body.len, BIG);
	warren_exchange_cancel(call.x);
	parts_settle(engine);
	call_free(&other);
	free(text);
}

static void test_body_max(void **state)
{
	struct warren_http_options serving = options();
	char *text = make_text(BIG);
	struct call call;

	(void)state;
	serving.body_max = 100000;
	connect_both(&serving);
	for (int pause = 0; pause < 2; pause++) {
		server.pause = pause;
		assert_true(call_request(&client, &call, "POST", "/", -1));
		assert_int_equal(warren_exchange_write(call.x, text, 100001), 0);
		for (int i = 0; i < 1000 && !call.done; i++) {
			parts_settle(engine);
			resume(&server.calls[pause]);
		}
		assert_true(call.failed);
		assert_true(server.calls[pause].failed);
		assert_int_equal(server.calls[pause].result, -EMSGSIZE);
		assert_non_null(strstr(server.calls[pause].why, "longer than is accepted"));
		assert_true(server.calls[pause].body.len <= 100000);
		call_free(&call);
	}
	free(text);
}

/* One way to end from inside one callback, on one side. */
static void strike_once(enum when when, bool close, bool at_server)
{
	static char text[600000];
	struct call call;

	connect_both(NULL);
	if (at_server && close)
		server.close = when;
	else if (at_server)
		server.cancel = when;
	assert_true(call_request(&client, &call, "POST", "/", -1));
	if (!at_server && close)
		call.close = when;
	else if (!at_server)
		call.cancel = when;
	call.send = text;
	call.send_len = sizeof(text);
	call_send(&call);
	server.hold = when == AT_FAILED;
	if (when == AT_FAILED) {
		for (int i = 0; i < 20; i++)
			parts_settle(engine);
		if (at_server)
			warren_exchange_cancel(call.x);
		else if (server.n_calls)
			warren_exchange_cancel(server.calls[0].x);
	}
	for (int i = 0; i < 400; i++)
		parts_settle(engine);
	/* The one that struck knows; the other one has been told. */
	if (at_server && when != AT_FAILED)
		assert_true(call.failed);
	if (!at_server && when != AT_FAILED && when != AT_COMPLETE)
		assert_true(server.calls[0].failed);
	if (close)
		assert_true(at_server ? client.done : server.done);
	else if (!at_server || when != AT_FAILED)
		assert_false(client.done || server.done);
	call_free(&call);
	side_close(&client);
	side_close(&server);
	memset(&client, 0, sizeof(client));
	memset(&server, 0, sizeof(server));
	parts_settle(engine);
}

static void test_end_inside_callbacks(void **state)
{
	(void)state;
	for (int close = 0; close < 2; close++) {
		strike_once(AT_REQUEST, close, true);
		for (enum when when = AT_HEAD; when <= AT_FAILED; when++) {
			strike_once(when, close, true);
			strike_once(when, close, false);
		}
	}
}

/* Closing tells the other side why its exchanges end; the connection's end is told once. */
static void test_close(void **state)
{
	struct call calls[3];

	(void)state;
	connect_both(NULL);
	server.hold = true;
	for (int i = 0; i < 3; i++)
		assert_true(call_request(&client, &calls[i], "GET", "/hold", 0));
	parts_settle(engine);
	parts_settle(engine);
	assert_int_equal(server.n_calls, 3);
	warren_http_close(server.http);
	server.http = NULL;
	assert_true(parts_until(engine, &client.done));
	for (int i = 0; i < 3; i++) {
		assert_true(calls[i].failed);
		assert_int_equal(calls[i].result, -ECONNRESET);
		assert_non_null(strstr(calls[i].why, "the other side"));
		call_free(&calls[i]);
	}
	assert_null(client.http);
}

/* An answer that came as a whole is told to its end, though the connection is gone meanwhile. */
static void test_paused_at_the_end(void **state)
{
	char *text = make_text(300000);
	struct call call;

	(void)state;
	connect_both(NULL);
	server.answer = text;
	server.answer_len = 300000;
	assert_true(call_request(&client, &call, "GET", "/", 0));
	call.pause = true;
	for (int i = 0; i < 400; i++)
		parts_settle(engine);
	assert_int_equal(call.pieces, 1);
	warren_http_close(server.http);
	server.http = NULL;
	for (int i = 0; i < 400; i++) {
		parts_settle(engine);
		assert_false(client.done && !call.done);
		resume(&call);
	}
	assert_true(call.complete);
	assert_int_equal(call.body.len, 300000);
	assert_memory_equal(call.body.s, text, 300000);
	assert_true(client.done);
	call_free(&call);
	free(text);
}

static void test_ping(void **state)
{
	(void)state;
	connect_both(NULL);
	assert_int_equal(warren_http_ping(client.http, 200000), 0);
	assert_int_equal(warren_http_ping(server.http, 200000), 0);
	for (int i = 0; i < 1200; i++) {
		parts_settle(engine);
		usleep(200);
	}
	assert_false(client.done || server.done);
}

/* No time is too long for an open exchange; without one the connection ends in order. */
static void test_idle(void **state)
{
	struct warren_http_options serving = options();
	struct call call;

	(void)state;
	serving.idle_timeout = 50000;
	connect_both(&serving);
	server.hold = true;
	assert_true(call_request(&client, &call, "GET", "/hold", 0));
	for (int i = 0; i < 600; i++) {
		parts_settle(engine);
		usleep(200);
	}
	assert_false(server.done);
	assert_true(server.calls[0].complete);
	assert_int_equal(warren_exchange_reply(server.calls[0].x, 200, NULL, "x", 1), 0);
	assert_true(parts_until(engine, &call.done));
	assert_true(call.complete);
	assert_true(parts_until(engine, &server.done));
	assert_int_equal(server.result, 0);
	assert_true(parts_until(engine, &client.done));
	assert_int_equal(client.result, 0);
	call_free(&call);
}

static void test_slow_body(void **state)
{
	struct warren_http_options serving = options();
	struct call call, other;

	(void)state;
	serving.head_timeout = 50000;
	connect_both(&serving);
	assert_true(call_request(&client, &other, "GET", "/", 0));
	assert_true(call_request(&client, &call, "POST", "/", -1));
	assert_true(parts_until(engine, &other.done));
	assert_true(parts_until(engine, &call.done));
	assert_true(call.failed);
	assert_int_equal(server.calls[1].result, -ETIMEDOUT);
	assert_non_null(strstr(server.calls[1].why, "takes too long"));
	assert_false(server.done);	/* it is one exchange's fault */
	call_free(&call);
	call_free(&other);
}

/* ---- foreign peers ---- */

static int listen_socket(uint16_t *port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	*port = ntohs(sa.sin_port);
	return fd;
}

static pid_t start(const char *const *argv, const char *out)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv,
			 environ) != 0)
		pid = -1;
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

static void write_file(const char *path, const char *text, size_t len)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static void assert_file(const char *path, const char *text, size_t len)
{
	char *got = malloc(len + 1);
	FILE *file = fopen(path, "r");

	assert_non_null(got);
	assert_non_null(file);
	assert_int_equal(fread(got, 1, len + 1, file), len);
	assert_memory_equal(got, text, len);
	fclose(file);
	free(got);
}

/* Runs curl against our server, which takes one connection. */
static void curl(const char *folder, const char *const *args)
{
	const struct warren_http_options serving = options();
	char out[64], url[64];
	const char *argv[16] = { "curl", "-sS", "--http2-prior-knowledge", "--max-time", "20" };
	uint16_t port;
	int fd = listen_socket(&port), status, n = 5;
	pid_t pid;

	side_close(&server);
	memset(&server, 0, sizeof(server));
	snprintf(out, sizeof(out), "%s/out", folder);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/a?b", port);
	while (*args)
		argv[n++] = *args++;
	argv[n] = url;
	pid = start(argv, out);
	assert_true(pid > 0);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (peer >= 0)
			server.http = warren_http_server_take(warren_stream_new_take(ctx, peer),
							      &serving, &side_events, &server);
		parts_settle(engine);
		usleep(200);
	}
	close(fd);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_curl(void **state)
{
	char folder[] = "/tmp/t_http2.XXXXXX", in[64], at_in[80], out[64];
	const char *const get[] = { "-H", "X-Up: Case", NULL };
	const char *const post[] = { "--data-binary", at_in, NULL };
	const char *const head[] = { "-I", NULL };
	char *text = make_text(BIG);

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(in, sizeof(in), "%s/in", folder);
	snprintf(at_in, sizeof(at_in), "@%s", in);
	snprintf(out, sizeof(out), "%s/out", folder);
	write_file(in, text, BIG);

	curl(folder, get);
	assert_non_null(strstr(str_text(&server.calls[0].head), "GET http://127.0.0.1:"));
	assert_non_null(strstr(str_text(&server.calls[0].head), "/a?b|"));
	assert_non_null(strstr(str_text(&server.calls[0].head), "|x-up=Case"));
	assert_file(out, "", 0);
	curl(folder, post);
	assert_int_equal(server.calls[0].length, BIG);
	assert_file(out, text, BIG);
	curl(folder, head);
	assert_file(out, "HTTP/2 200 \r\nx-test: a b\r\n\r\n", 28);

	unlink(in);
	unlink(out);
	rmdir(folder);
	free(text);
}

static int try_connect(uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Our client at nghttpd: a file of 4 MiB and a missing one at the same time. */
static void ask_nghttpd(int fd, const char *text)
{
	const struct warren_http_options calling = options();
	struct call big, missing, upload;

	client.http = warren_http_client_take(warren_stream_new_take(ctx, fd), &calling,
					      &side_events, &client);
	assert_true(call_request(&client, &big, "GET", "/in", 0));
	assert_true(call_request(&client, &missing, "GET", "/missing", 0));
	assert_true(call_request(&client, &upload, "POST", "/in", -1));
	upload.send = text;
	upload.send_len = BIG;
	call_send(&upload);
	assert_int_equal(warren_http_ping(client.http, 5000000), 0);
	assert_true(parts_until(engine, &big.done));
	assert_true(parts_until(engine, &missing.done));
	assert_true(parts_until(engine, &upload.done));
	assert_true(big.complete && missing.complete && upload.complete);
	assert_int_equal(big.status, 200);
	assert_int_equal(big.length, BIG);
	assert_int_equal(big.body.len, BIG);
	assert_memory_equal(big.body.s, text, BIG);
	assert_int_equal(missing.status, 404);
	call_free(&big);
	call_free(&missing);
	call_free(&upload);
}

static void test_nghttpd(void **state)
{
	char folder[] = "/tmp/t_http2.XXXXXX", in[64], shown[16];
	const char *const argv[] = { "nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", folder, shown,
				     NULL };
	char *text = make_text(BIG);
	uint16_t port;
	int fd = listen_socket(&port), status;
	pid_t pid;

	(void)state;
	close(fd);			/* a port that was free just now */
	assert_non_null(mkdtemp(folder));
	snprintf(in, sizeof(in), "%s/in", folder);
	snprintf(shown, sizeof(shown), "%u", port);
	write_file(in, text, BIG);
	pid = start(argv, "/dev/null");
	fd = -1;
	for (int i = 0; i < 500 && pid > 0 && fd < 0; i++) {
		fd = try_connect(port);
		usleep(10000);
	}
	if (fd >= 0)
		ask_nghttpd(fd, text);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	unlink(in);
	rmdir(folder);
	free(text);
	if (pid < 0)
		skip();
	assert_true(fd >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_messages, begin, finish),
		cmocka_unit_test_setup_teardown(test_no_body, begin, finish),
		cmocka_unit_test_setup_teardown(test_lengths_out, begin, finish),
		cmocka_unit_test_setup_teardown(test_many, begin, finish),
		cmocka_unit_test_setup_teardown(test_big_with_pauses, begin, finish),
		cmocka_unit_test_setup_teardown(test_pause_closes_window, begin, finish),
		cmocka_unit_test_setup_teardown(test_body_max, begin, finish),
		cmocka_unit_test_setup_teardown(test_end_inside_callbacks, begin, finish),
		cmocka_unit_test_setup_teardown(test_close, begin, finish),
		cmocka_unit_test_setup_teardown(test_paused_at_the_end, begin, finish),
		cmocka_unit_test_setup_teardown(test_ping, begin, finish),
		cmocka_unit_test_setup_teardown(test_idle, begin, finish),
		cmocka_unit_test_setup_teardown(test_slow_body, begin, finish),
		cmocka_unit_test_setup_teardown(test_curl, begin, finish),
		cmocka_unit_test_setup_teardown(test_nghttpd, begin, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
