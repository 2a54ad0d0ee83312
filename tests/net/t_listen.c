/*
 * Listening: connections as streams, the limit that counts them wherever they went, and closing.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/net.h>

#include "base/addr.h"
#include "engine/ctx.h"
#include "engine/engine.h"

#include "../unit/parts.h"

enum { MAX = 2 };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;

struct seen {
	struct warren_listener *listener;
	struct warren_stream *streams[8];
	uint32_t n;
	volatile bool some;
	bool close_all;			/* the stream and the listener, at once */
};

static void accepted(struct warren_ctx *at, struct warren_stream *stream, void *arg)
{
	struct seen *seen = arg;

	assert_ptr_equal(at, ctx);
	seen->some = true;
	if (seen->close_all) {
		warren_stream_close(stream);
		warren_listener_close(seen->listener);
		seen->listener = NULL;
		return;
	}
	assert_true(seen->n < 8);
	seen->streams[seen->n++] = stream;
}

static int setup(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	ctx->waitable = true;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

static void begin(struct seen *seen, uint8_t family)
{
	struct warren_listen_options options = {
		.size = sizeof(options), .key = "x.listen", .connections = MAX,
	};
	struct warren_err *none = NULL;

	assert_int_equal(addr_parse(family == 6 ? "::1" : "127.0.0.1", &options.at.addr), 0);
	assert_int_equal(warren_listen_wait(ctx, &options, accepted, seen, &seen->listener, none),
			 0);
	assert_true(warren_listener_port(seen->listener) != 0);
}

static int dial(const struct seen *seen, uint8_t family)
{
	struct warren_addrport to = { .port = warren_listener_port(seen->listener) };
	struct sockaddr_storage ss;
	socklen_t len;
	int fd = socket(family == 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(addr_parse(family == 6 ? "::1" : "127.0.0.1", &to.addr), 0);
	len = addrport_to_sockaddr(&to, &ss);
	assert_true(fd != -1);
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	return fd;
}

static void test_each_connection_is_a_stream(void **state)
{
	struct seen seen = { 0 };
	struct warren_addrport peer, mine;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int fd;

	(void)state;
	begin(&seen, 4);
	fd = dial(&seen, 4);
	assert_true(parts_until(engine, &seen.some));
	assert_int_equal(seen.n, 1);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(addrport_from_sockaddr((struct sockaddr *)&ss, len, &mine), 0);
	assert_true(warren_stream_peer(seen.streams[0], &peer));
	assert_int_equal(peer.port, mine.port);
	assert_int_equal(warren_listener_open(seen.listener), 1);
	warren_stream_close(seen.streams[0]);
	assert_int_equal(warren_listener_open(seen.listener), 0);
	warren_listener_close(seen.listener);
	close(fd);
}

static void test_the_limit_holds_until_a_stream_is_gone(void **state)
{
	struct seen seen = { 0 };
	int fds[MAX + 1];

	(void)state;
	begin(&seen, 4);
	for (int i = 0; i < MAX + 1; i++)
		fds[i] = dial(&seen, 4);
	parts_settle(engine);
	parts_settle(engine);
	assert_int_equal(seen.n, MAX);
	seen.some = false;
	/* One that lingers is not gone: its socket is open. */
	assert_int_equal(warren_stream_write(seen.streams[0], "x", 1), 0);
	warren_stream_close_later(seen.streams[0], 60000000);
	parts_settle(engine);
	assert_int_equal(warren_listener_open(seen.listener), MAX);
	close(fds[0]);
	assert_true(parts_until(engine, &seen.some));
	assert_int_equal(seen.n, MAX + 1);
	for (int i = 1; i < MAX + 1; i++) {
		warren_stream_close(seen.streams[i]);
		close(fds[i]);
	}
	warren_listener_close(seen.listener);
}

static void test_closing_leaves_connections_alone(void **state)
{
	struct seen seen = { 0 };
	size_t len;
	int fd;

	(void)state;
	begin(&seen, 4);
	fd = dial(&seen, 4);
	assert_true(parts_until(engine, &seen.some));
	warren_listener_close(seen.listener);
	assert_int_equal(warren_stream_write(seen.streams[0], "hello", 5), 0);
	assert_int_equal(write(fd, "hi", 2), 2);
	parts_settle(engine);
	(void)warren_stream_input(seen.streams[0], &len);
	warren_stream_close(seen.streams[0]);	/* the last one takes the listener along */
	close(fd);
}

static void test_closing_everything_from_the_callback(void **state)
{
	struct seen seen = { .close_all = true };
	int fd;

	(void)state;
	begin(&seen, 4);
	fd = dial(&seen, 4);
	assert_true(parts_until(engine, &seen.some));
	assert_null(seen.listener);
	close(fd);
}

static void test_ipv6_and_what_is_left_goes_with_the_context(void **state)
{
	struct seen seen = { 0 };
	int fd;

	(void)state;
	begin(&seen, 6);
	fd = dial(&seen, 6);
	assert_true(parts_until(engine, &seen.some));
	close(fd);
	/* The teardown ends the context with a listener and a stream. */
}

static void test_a_port_that_is_taken_is_refused(void **state)
{
	struct seen seen = { 0 };
	struct warren_listen_options options = { .size = sizeof(options), .key = "x.listen" };
	struct warren_listener *other = NULL;

	(void)state;
	begin(&seen, 4);
	assert_int_equal(addr_parse("127.0.0.1", &options.at.addr), 0);
	options.at.port = warren_listener_port(seen.listener);
	assert_int_equal(warren_listen_wait(ctx, &options, accepted, &seen, &other, NULL),
			 -EADDRINUSE);
	assert_null(other);
	warren_listener_close(seen.listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_connection_is_a_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_limit_holds_until_a_stream_is_gone, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_closing_leaves_connections_alone, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_closing_everything_from_the_callback, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_ipv6_and_what_is_left_goes_with_the_context, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_port_that_is_taken_is_refused, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
