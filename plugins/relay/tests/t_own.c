/*
 * Listeners of our own: with TLS and without, and how many may be there who have not logged in. A
 * client here is the other end of a socket pair: all of them come from one place.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "tests/net/certs.h"
#include "tests/unit/parts.h"

#include "../relay.h"

enum { OF_ONE = 64, OF_ALL = 512 };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct relay relay;
static int ends[OF_ALL + 1];
static uint32_t n_ends;

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	memset(&relay, 0, sizeof(relay));
	relay.ctx = ctx;
	relay.clients_max = 4;
	relay.write_timeout = 60000000;
	relay_init(&relay);
	assert_int_equal(relay_gather_begin(&relay), 0);
	warren_private_new(&relay.key);
	warren_private_public(&relay.key, relay.public_key);
	n_ends = 0;
	return 0;
}

static int finish(void **state)
{
	(void)state;
	relay_clients_close(&relay);
	relay_own_close(&relay);
	assert_int_equal(relay.own.crowd, 0);
	hash_free(&relay.peers);
	hash_free(&relay.links);
	for (uint32_t i = 0; i < n_ends; i++)
		close(ends[i]);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

static int join_crowd(warren_accept_fn *fn)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	fn(ctx, warren_stream_new_take(ctx, fds[1]), &relay);
	ends[n_ends++] = fds[0];
	return fds[0];
}

static bool is_closed(int fd)
{
	char byte;

	parts_settle(engine);
	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

static const char *ask(int fd, const char *request)
{
	static char answer[4096];
	ssize_t n = -1;

	assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
	for (int i = 0; i < 1000 && n == -1; i++) {
		parts_settle(engine);
		n = recv(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT);
	}
	assert_true(n > 0);
	answer[n] = '\0';
	return answer;
}

static void starts(const char *answer, const char *words)
{
	assert_memory_equal(answer, words, strlen(words));
}

static void with_tls(void)
{
	struct cert cert = cert_new(NULL, "DNS:relay.example", 30);

	relay.own.tls = warren_tls_server_new(cert.pem, (const uint8_t *)cert.key_pem,
					      strlen(cert.key_pem), NULL, NULL);
	assert_non_null(relay.own.tls);
	cert_free(&cert);
}

/* ---- tests ---- */

static void without_tls(void **state)
{
	int fd = join_crowd(relay_own_accept);

	(void)state;
	starts(ask(fd, "GET /derp/probe HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 ");
	starts(ask(fd, "GET /derp/latency-check?a HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 ");
	starts(ask(fd, "POST /derp/probe HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
	       "HTTP/1.1 405 ");
	starts(ask(fd, "GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 204 ");
	starts(ask(fd, "GET /derp HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 426 ");
	starts(ask(fd, "GET /derpy HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 404 ");
	assert_int_equal(relay.own.crowd, 1);
	starts(ask(fd, "GET /derp HTTP/1.1\r\nHost: x\r\nUpgrade: derp\r\nConnection: Upgrade\r\n"
		   "\r\n"), "HTTP/1.1 101 ");
	parts_settle(engine);
	assert_int_equal(relay.n_clients, 1);
	assert_int_equal(relay.own.crowd, 0);	/* it has left it */
}

static void the_plain_port_beside_tls(void **state)
{
	int fd;

	(void)state;
	with_tls();
	fd = join_crowd(relay_own_accept_plain);
	starts(ask(fd, "GET /derp/probe HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 ");
	starts(ask(fd, "GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 204 ");
}

struct dialled {
	struct warren_stream *stream;
	volatile bool done;
	int result;
};

static void shaken(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct dialled *dialled = arg;

	(void)stream;
	(void)why;
	dialled->result = result;
	dialled->done = true;
}

static void over_tls(void **state)
{
	const struct warren_tls_client options = {
		.size = sizeof(options), .flags = WARREN_TLS_INSECURE,
		.server_name = "relay.example",
	};
	struct dialled dialled = { .done = false };
	uint8_t key[32];
	int fd;

	(void)state;
	with_tls();
	relay_own_marker_take(&relay, warren_derp_meta_new(relay.public_key,
							   warren_realtime() / 1000000, NULL));
	fd = join_crowd(relay_own_accept);
	n_ends--;
	dialled.stream = warren_tls_connect_take(warren_stream_new_take(ctx, fd), &options,
						 shaken, &dialled, NULL);
	assert_non_null(dialled.stream);
	assert_true(parts_until(engine, &dialled.done));
	assert_int_equal(dialled.result, 0);
	assert_true(warren_derp_meta_key(dialled.stream, key));
	assert_memory_equal(key, relay.public_key, 32);
	warren_stream_close(dialled.stream);
}

static void no_more_of_one_source(void **state)
{
	int last;

	(void)state;
	with_tls();
	for (int i = 0; i < OF_ONE; i++)
		join_crowd(relay_own_accept);
	assert_int_equal(relay.own.crowd, OF_ONE);
	last = join_crowd(relay_own_accept);
	assert_true(is_closed(last));
	assert_true(is_closed(join_crowd(relay_own_accept_plain)));
	close(ends[0]);
	ends[0] = dup(ends[1]);
	for (int i = 0; i < 100 && relay.own.crowd == OF_ONE; i++)
		parts_settle(engine);
	assert_int_equal(relay.own.crowd, OF_ONE - 1);
	assert_false(is_closed(join_crowd(relay_own_accept)));
}

/* A proxy's: all come from one place, and the slowest gives way. */
static void the_oldest_gives_way(void **state)
{
	const struct rlimit files = { 4096, 4096 };
	int last;

	(void)state;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	for (int i = 0; i < OF_ALL; i++)
		join_crowd(relay_own_accept);
	assert_false(is_closed(ends[0]));
	last = join_crowd(relay_own_accept);
	assert_int_equal(relay.own.crowd, OF_ALL);
	assert_true(is_closed(ends[0]));
	assert_false(is_closed(ends[1]));
	starts(ask(last, "GET /derp/probe HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(without_tls, begin, finish),
		cmocka_unit_test_setup_teardown(the_plain_port_beside_tls, begin, finish),
		cmocka_unit_test_setup_teardown(over_tls, begin, finish),
		cmocka_unit_test_setup_teardown(no_more_of_one_source, begin, finish),
		cmocka_unit_test_setup_teardown(the_oldest_gives_way, begin, finish),
	};

	return cmocka_run_group_tests_name("own", tests, NULL, NULL);
}
