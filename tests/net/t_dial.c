/*
 * Dialling listeners of this host: which address wins, what is said when none does, names without a
 * resolver, proxies, TLS, and giving up at every step.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/net.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/engine_impl.h"
#include "engine/loop.h"
#include "engine/plugin_load.h"
#include "net/dial_impl.h"
#include "net/tls_impl.h"

#include "../unit/parts.h"
#include "certs.h"

static struct wcore_engine *engine;
static struct warren_ctx *ctx;

struct outcome {
	struct warren_stream *stream;
	volatile bool done;
	char why[1024];
};

static void dialled(struct warren_ctx *where, struct warren_stream *stream, const char *why,
		    void *arg)
{
	struct outcome *outcome = arg;

	assert_ptr_equal(where, ctx);
	assert_false(outcome->done);
	assert_true(!why == (stream != NULL));
	outcome->stream = stream;
	outcome->done = true;
	snprintf(outcome->why, sizeof(outcome->why), "%s", why ? why : "");
}

static int begin(void **state)
{
	static const char *const names[] = { "https_proxy", "HTTPS_PROXY", "all_proxy",
					     "ALL_PROXY", "no_proxy", "NO_PROXY" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unsetenv(names[i]);
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	while (ctx->jobs > 0)		/* look-ups that nobody waits for */
		parts_settle(engine);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

static struct warren_addr addr(const char *text)
{
	struct warren_addr out;

	assert_int_equal(addr_parse(text, &out), 0);
	return out;
}

/* *@port 0: any, and told. */
static int listen_at(const char *text, uint16_t *port, int backlog)
{
	struct warren_addrport ap = { .addr = addr(text), .port = *port };
	struct sockaddr_storage ss;
	socklen_t len = addrport_to_sockaddr(&ap, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	len = sizeof(ss);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(addrport_from_sockaddr((struct sockaddr *)&ss, len, &ap), 0);
	*port = ap.port;
	return fd;
}

/* A listener whose queue is full drops what comes: a black hole. @fds: all to close. */
static void hole_at(const char *text, uint16_t *port, int fds[3])
{
	struct warren_addrport ap = { .addr = addr(text) };
	struct sockaddr_storage ss;
	socklen_t len;

	fds[0] = listen_at(text, port, 0);
	ap.port = *port;
	len = addrport_to_sockaddr(&ap, &ss);
	for (int i = 1; i < 3; i++) {
		fds[i] = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_true(fds[i] >= 0);
		assert_true(connect(fds[i], (struct sockaddr *)&ss, len) == 0 ||
			    errno == EINPROGRESS);
	}
	usleep(20000);
}

static void close_all(const int *fds, int n)
{
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

/* Turns until somebody has come. */
static int accept_one(int listener)
{
	uint64_t until = wcore_clock_stopwatch() + 5000000;

	while (wcore_clock_stopwatch() < until) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			return fd;
		parts_settle(engine);
		usleep(200);
	}
	fail_msg("nobody came");
	return -1;
}

/* Turns until @fd gave @end at the end of all text; or (@end NULL) until the end. */
static void read_until(int fd, const char *end, struct str *got)
{
	uint64_t until = wcore_clock_stopwatch() + 5000000;

	while (wcore_clock_stopwatch() < until) {
		char text[512];
		ssize_t n = read(fd, text, sizeof(text));

		if (n == 0 && !end)
			return;
		assert_true(n > 0 || (n == -1 && errno == EAGAIN));
		if (n > 0)
			str_addn(got, text, (size_t)n);
		if (end && got->len >= strlen(end) &&
		    strcmp(got->s + got->len - strlen(end), end) == 0)
			return;
		parts_settle(engine);
		usleep(200);
	}
	fail_msg("no end of \"%s\"", str_text(got));
}

static struct warren_dial *dial(struct outcome *outcome, const char *name, uint16_t port,
				struct warren_dial_options options)
{
	struct warren_dial *made;

	*outcome = (struct outcome){ .done = false };
	options.size = sizeof(options);
	options.name = name;
	options.port = port;
	made = warren_dial(ctx, &options, dialled, outcome);
	assert_non_null(made);
	assert_false(outcome->done);
	return made;
}

static void wait_for(struct outcome *outcome)
{
	assert_true(parts_until(engine, &outcome->done));
}

static void expect_reached(struct outcome *outcome, const char *peer)
{
	struct warren_addrport ap;
	char text[ADDR_TEXT];

	wait_for(outcome);
	if (!outcome->stream)
		fail_msg("%s", outcome->why);
	assert_true(warren_stream_peer(outcome->stream, &ap));
	assert_string_equal(addr_format(&ap.addr, text), peer);
	warren_stream_close(outcome->stream);
}

static void expect_failed(struct outcome *outcome, const char *words)
{
	wait_for(outcome);
	assert_null(outcome->stream);
	if (!strstr(outcome->why, words))
		fail_msg("\"%s\" does not say \"%s\"", outcome->why, words);
}

static const struct warren_dial_options none;

static void test_one_address(void **state)
{
	struct outcome outcome;
	uint16_t port = 0;
	int listener = listen_at("127.0.0.1", &port, 8);

	(void)state;
	dial(&outcome, "127.0.0.1", port, none);
	expect_reached(&outcome, "127.0.0.1");
	dial(&outcome, "localhost", port, none);
	expect_reached(&outcome, "127.0.0.1");
	close(listener);
	dial(&outcome, "127.0.0.1", port, none);
	expect_failed(&outcome, "127.0.0.1: Connection refused");
	assert_int_equal(strncmp(outcome.why, "cannot reach 127.0.0.1:", 23), 0);
}

static void test_refused_first(void **state)
{
	struct warren_addr addrs[] = { addr("127.0.0.2"), addr("127.0.0.3") };
	struct warren_dial_options options = { .addresses = addrs, .n_addresses = 2 };
	struct outcome outcome;
	uint16_t port = 0;
	int listener = listen_at("127.0.0.3", &port, 8);
	uint64_t best = UINT64_MAX;

	(void)state;
	for (int i = 0; i < 5 && best >= 200000; i++) {		/* the machine may be busy */
		uint64_t before = wcore_clock_stopwatch(), took;

		dial(&outcome, "control.example.invalid", port, options);
		expect_reached(&outcome, "127.0.0.3");
		took = wcore_clock_stopwatch() - before;
		best = took < best ? took : best;
	}
	assert_true(best < 200000);	/* at once, not after 250 ms */
	close(listener);
	dial(&outcome, "control.example.invalid", port, options);
	expect_failed(&outcome, "127.0.0.2: Connection refused; 127.0.0.3: Connection refused");
}

static void test_black_hole_first(void **state)
{
	struct warren_addr addrs[] = { addr("127.0.0.2"), addr("127.0.0.3") };
	struct warren_dial_options options = { .addresses = addrs, .n_addresses = 2 };
	struct outcome outcome;
	uint16_t port = 0;
	int hole[3], listener;
	uint64_t before;

	(void)state;
	hole_at("127.0.0.2", &port, hole);
	listener = listen_at("127.0.0.3", &port, 8);
	before = wcore_clock_stopwatch();
	dial(&outcome, "control.example.invalid", port, options);
	expect_reached(&outcome, "127.0.0.3");
	assert_true(wcore_clock_stopwatch() - before >= 240000);

	options.n_addresses = 1;
	options.timeout = 300000;
	dial(&outcome, "control.example.invalid", port, options);
	expect_failed(&outcome, "no success within 0.3 s, while connecting");
	close_all(hole, 3);
	close(listener);
}

/* The families take turns, the first address's family first. */
static void test_families(void **state)
{
	struct warren_addr addrs[] = { addr("::1"), addr("::1"), addr("127.0.0.2"),
				       addr("127.0.0.3") };
	struct warren_dial_options options = { .addresses = addrs, .n_addresses = 4 };
	struct outcome outcome;
	const char *at;
	uint16_t port = 0;

	(void)state;
	close(listen_at("127.0.0.2", &port, 1));	/* a port where nobody listens */
	dial(&outcome, "control.example.invalid", port, options);
	expect_failed(&outcome, "::1: ");
	at = strstr(outcome.why, "::1: ");
	at = strstr(at, "127.0.0.2: ");
	assert_non_null(at);
	at = strstr(at, "::1: ");
	assert_non_null(at);
	assert_non_null(strstr(at, "127.0.0.3: "));
}

static void test_names_without_resolver(void **state)
{
	struct warren_addr known = addr("127.0.0.4"), got[DIAL_ADDRS];
	struct outcome outcome;
	char name[32];
	uint16_t port = 0;
	int listener = listen_at("127.0.0.4", &port, 8);

	(void)state;
	dial(&outcome, "unknown.invalid", port, none);
	wait_for(&outcome);
	assert_null(outcome.stream);
	assert_non_null(strstr(outcome.why, "cannot reach unknown.invalid:"));

	dial_cache_put("Known.invalid", &known, 1);
	dial(&outcome, "known.invalid", port, none);
	expect_reached(&outcome, "127.0.0.4");
	close(listener);

	/* What was found is kept; the least recently used name is what goes. */
	dial(&outcome, "localhost", port, none);
	wait_for(&outcome);
	assert_true(dial_cache_get("LOCALHOST", got) > 0);
	for (int i = 0; i < 63; i++) {
		snprintf(name, sizeof(name), "n%d.invalid", i);
		dial_cache_put(name, &known, 1);
	}
	assert_true(dial_cache_get("localhost", got) > 0);
	assert_int_equal(dial_cache_get("known.invalid", got), 0);
	assert_int_equal(dial_cache_get("n62.invalid", got), 1);
}

static void test_marked_sockets_only(void **state)
{
	static const struct wcore_plugin bare = { .desc = { .name = "bare" } };
	struct warren_dial_options options = { .size = sizeof(options), .name = "127.0.0.1" };
	struct warren_ctx *kept = ctx;
	struct outcome outcome = { .done = false };
	int listener = listen_at("127.0.0.1", &options.port, 8);

	(void)state;
	ctx = wcore_engine_ctx_new(engine, wcore_engine_main(engine), &bare);
	assert_non_null(ctx);
	ctx->phase = WCORE_PHASE_UP;
	assert_non_null(warren_dial(ctx, &options, dialled, &outcome));
	expect_failed(&outcome, "plugin `bare` does not list SOCKET in its `privops`");

	/* Inside the network no mark is needed. */
	outcome.done = false;
	options.via = WARREN_VIA_TAILNET;
	assert_non_null(warren_dial(ctx, &options, dialled, &outcome));
	expect_reached(&outcome, "127.0.0.1");
	wcore_ctx_close(ctx);
	ctx = kept;
	close(listener);
}

static void test_cancel(void **state)
{
	struct warren_addr addrs[] = { addr("127.0.0.2"), addr("127.0.0.3") };
	struct warren_tls_client tls = { .size = sizeof(tls) };
	struct warren_dial_options options = { .addresses = addrs, .n_addresses = 2 };
	AUTO(str_free) struct str got = STR_INIT;
	struct outcome outcome;
	struct warren_dial *made;
	uint16_t port = 0;
	int hole[3], listener = listen_at("127.0.0.1", &port, 8), fd;

	(void)state;
	warren_dial_cancel(dial(&outcome, "127.0.0.1", port, none));
	made = dial(&outcome, "unknown.invalid", port, none);
	parts_settle(engine);		/* the resolver is at work */
	warren_dial_cancel(made);

	port = 0;
	hole_at("127.0.0.2", &port, hole);
	made = dial(&outcome, "control.example.invalid", port, options);
	parts_settle(engine);
	warren_dial_cancel(made);
	close_all(hole, 3);

	/* In the middle of TLS: the other side sees the end. */
	close(listener);
	port = 0;
	listener = listen_at("127.0.0.1", &port, 8);
	made = dial(&outcome, "127.0.0.1", port, (struct warren_dial_options){ .tls = &tls });
	fd = accept_one(listener);
	while (recv(fd, &(char){ 0 }, 1, MSG_PEEK) == -1)
		parts_settle(engine);
	warren_dial_cancel(made);
	read_until(fd, NULL, &got);
	assert_false(outcome.done);
	close(fd);
	close(listener);
}

/* A dial that nobody cancelled ends with its context, whatever it waits for. */
static void test_context_ends(void **state)
{
	struct warren_dial_options options = { .proxy = "http://127.0.0.1:1" };
	struct outcome outcomes[3];
	uint16_t port = 0;
	int listener = listen_at("127.0.0.1", &port, 8), fd;
	char proxy[64];

	(void)state;
	dial(&outcomes[0], "127.0.0.1", port, none);
	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u", port);
	options.proxy = proxy;
	dial(&outcomes[1], "control.example.invalid", 443, options);
	fd = accept_one(listener);
	dial(&outcomes[2], "127.0.0.1", port, none);
	parts_settle(engine);
	close(fd);
	close(listener);
}

/*
 * ---- TLS ----
 */

struct server {
	struct warren_stream *stream;
	volatile bool done;
};

static void accepted(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct server *server = arg;

	(void)stream;
	(void)result;
	(void)why;
	server->done = true;
}

static void test_tls(void **state)
{
	static const char *const alpn[] = { "http/1.1", NULL };
	struct cert cert = cert_new(NULL, "DNS:control.example.invalid", 30);
	struct warren_tls_server *tls_server;
	struct warren_tls_client tls = { .size = sizeof(tls), .alpn = alpn };
	struct warren_addr here = addr("127.0.0.1");
	struct warren_dial_options options = { .addresses = &here, .n_addresses = 1, .tls = &tls };
	struct warren_tls_info info = { .size = sizeof(info) };
	struct server server = { .done = false };
	struct outcome outcome;
	uint16_t port = 0;
	int listener = listen_at("127.0.0.1", &port, 8);

	(void)state;
	tls_server = warren_tls_server_new(cert.pem, (const uint8_t *)cert.key_pem,
					   strlen(cert.key_pem), alpn, NULL);
	assert_non_null(tls_server);
	for (int round = 0; round < 2; round++) {
		tls.flags = round == 0 ? 0 : WARREN_TLS_INSECURE;
		dial(&outcome, "control.example.invalid", port, options);
		server.stream = warren_tls_accept_take(
			warren_stream_new_take(ctx, accept_one(listener)), tls_server, accepted,
			&server, NULL);
		assert_non_null(server.stream);
		wait_for(&outcome);
		if (round == 0) {
			expect_failed(&outcome, "127.0.0.1:");
			expect_failed(&outcome, "self-signed certificate");
		} else {
			assert_non_null(outcome.stream);
			assert_true(warren_tls_info(outcome.stream, &info));
			assert_string_equal(info.alpn, "http/1.1");
			assert_string_equal(info.server_name, "control.example.invalid");
			warren_stream_close(outcome.stream);
		}
		warren_stream_close(server.stream);
	}
	warren_tls_server_free(tls_server);
	cert_free(&cert);
	close(listener);
}

static void write_bundle(const char *path, const struct cert *cert)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(cert->pem, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void dial_trusting(struct outcome *outcome, struct warren_tls_server *tls_server)
{
	struct warren_tls_client tls = { .size = sizeof(tls) };
	struct warren_addr here = addr("127.0.0.1");
	struct warren_dial_options options = { .addresses = &here, .n_addresses = 1, .tls = &tls };
	struct server server = { .done = false };
	uint16_t port = 0;
	int listener = listen_at("127.0.0.1", &port, 8);

	dial(outcome, "control.example.invalid", port, options);
	server.stream = warren_tls_accept_take(warren_stream_new_take(ctx, accept_one(listener)),
					       tls_server, accepted, &server, NULL);
	assert_non_null(server.stream);
	wait_for(outcome);
	warren_stream_close(outcome->stream);
	warren_stream_close(server.stream);
	close(listener);
}

/* Read in a job, once for all dials, and again when the bundle has changed. */
static void test_system_authorities(void **state)
{
	struct cert one = cert_new(NULL, "DNS:control.example.invalid", 30);
	struct cert other = cert_new(NULL, "DNS:control.example.invalid", 30);
	struct warren_tls_client tls = { .size = sizeof(tls) };
	struct warren_tls_server *server;
	struct warren_dial *made;
	struct outcome outcome;
	char dir[] = "/tmp/warren-dial-XXXXXX", file[64], next[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/bundle.pem", dir);
	snprintf(next, sizeof(next), "%s/next.pem", dir);
	write_bundle(file, &one);
	assert_int_equal(setenv("SSL_CERT_FILE", file, 1), 0);
	assert_int_equal(setenv("SSL_CERT_DIR", "::", 1), 0);
	server = warren_tls_server_new(one.pem, (const uint8_t *)one.key_pem, strlen(one.key_pem),
				       NULL, NULL);
	assert_non_null(server);

	made = dial(&outcome, "control.example.invalid", 1,
		    (struct warren_dial_options){ .tls = &tls });
	parts_settle(engine);
	warren_dial_cancel(made);	/* while they are read */

	dial_trusting(&outcome, server);
	assert_string_equal(outcome.why, "");
	assert_true(tls_trust_is_fresh());

	write_bundle(next, &other);
	assert_int_equal(rename(next, file), 0);
	assert_false(tls_trust_is_fresh());
	dial_trusting(&outcome, server);
	assert_non_null(strstr(outcome.why, "self-signed certificate"));
	assert_true(tls_trust_is_fresh());

	/* Without a bundle nobody is trusted; what a file becomes is seen. */
	assert_int_equal(unlink(file), 0);
	dial_trusting(&outcome, server);
	assert_non_null(strstr(outcome.why, "self-signed certificate"));
	write_bundle(file, &one);
	dial_trusting(&outcome, server);
	assert_string_equal(outcome.why, "");

	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(dir), 0);
	unsetenv("SSL_CERT_FILE");
	unsetenv("SSL_CERT_DIR");
	warren_tls_server_free(server);
	cert_free(&one);
	cert_free(&other);
}

/*
 * ---- Proxies ----
 */

static void test_proxy(void **state)
{
	static const char answer[] = "HTTP/1.1 100 Continue\r\n\r\n"
				     "HTTP/1.1 200 Fine\r\nVia: x\r\n\r\nhello";
	struct warren_dial_options options = { .timeout = 0 };
	AUTO(str_free) struct str got = STR_INIT;
	struct outcome outcome;
	const uint8_t *input;
	char proxy[64];
	uint16_t port = 0;
	int listener = listen_at("127.0.0.1", &port, 8), fd;
	size_t len;

	(void)state;
	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u", port);
	options.proxy = proxy;
	dial(&outcome, "control.example.invalid", 443, options);
	fd = accept_one(listener);
	read_until(fd, "\r\n\r\n", &got);
	assert_string_equal(str_text(&got), "CONNECT control.example.invalid:443 HTTP/1.1\r\n"
			    "Host: control.example.invalid:443\r\n\r\n");
	assert_int_equal(write(fd, answer, strlen(answer)), strlen(answer));
	wait_for(&outcome);
	if (!outcome.stream)
		fail_msg("%s", outcome.why);
	input = warren_stream_input(outcome.stream, &len);
	assert_int_equal(len, 5);
	assert_memory_equal(input, "hello", 5);
	assert_int_equal(warren_stream_write(outcome.stream, "hi", 2), 0);
	str_cut(&got, 0);
	read_until(fd, "hi", &got);
	warren_stream_close(outcome.stream);
	close(fd);
	close(listener);
}

static void test_proxy_refuses(void **state)
{
	static const struct { const char *answer, *words; } cases[] = {
		{ "HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nnever", "refused the tunnel with "
		  "status 403" },
		{ "HTTP/1.1 407 Who\r\n\r\n", "it wants a user and a password" },
		{ "SSH-2.0-OpenSSH\r\n\r\n", "the proxy's answer is no HTTP" },
		{ "HTTP/1.1 101 Other\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		  "refused the tunnel with status 101" },
		{ "", "the proxy closed the connection without an answer" },
	};
	struct warren_dial_options options = { .timeout = 0 };
	struct outcome outcome;
	char proxy[64];
	uint16_t port = 0;
	int listener = listen_at("127.0.0.1", &port, 8);

	(void)state;
	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u/", port);
	options.proxy = proxy;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		AUTO(str_free) struct str got = STR_INIT;
		size_t n = strlen(cases[i].answer);
		int fd;

		dial(&outcome, "control.example.invalid", 443, options);
		fd = accept_one(listener);
		read_until(fd, "\r\n\r\n", &got);
		assert_int_equal(write(fd, cases[i].answer, n), n);
		shutdown(fd, SHUT_WR);
		expect_failed(&outcome, cases[i].words);
		expect_failed(&outcome, "cannot reach control.example.invalid:443 through the "
			      "proxy 127.0.0.1:");
		close(fd);
	}
	close(listener);
}

/* What is asked of the proxy at @options.proxy, whose port is @listener's. */
static void expect_asked(struct warren_dial_options options, int listener, const char *field)
{
	static const char no[] = "HTTP/1.1 407 No\r\n\r\n";
	AUTO(str_free) struct str got = STR_INIT;
	struct outcome outcome;
	int fd;

	dial(&outcome, "control.example.invalid", 443, options);
	fd = accept_one(listener);
	read_until(fd, "\r\n\r\n", &got);
	if (!strstr(str_text(&got), field))
		fail_msg("\"%s\" is not in \"%s\"", field, str_text(&got));
	assert_int_equal(write(fd, no, strlen(no)), strlen(no));
	expect_failed(&outcome, "does not take this user and password");
	assert_null(strstr(outcome.why, "zebra"));
	assert_null(strstr(outcome.why, "alice"));
	close(fd);
}

static void test_proxy_password(void **state)
{
	static const char *const bad[] = {
		"http://a%3Alice:zebra@127.0.0.1:1", "http://alice:zebr%a@127.0.0.1:1",
		"http://alice:zebra%0a@127.0.0.1:1", "http://alice:zebra%@127.0.0.1:1",
		"http://@127.0.0.1:1", "http://:@127.0.0.1:1", "http://alice:zebra@127.0.0.1:1/x",
		"ftp://alice:zebra@127.0.0.1:1", "http://alice:zebra@", "alice:zebra",
	};
	struct warren_dial_options options = { .timeout = 0 };
	struct outcome outcome;
	char proxy[128], long_one[700];
	uint16_t port = 0;
	int listener = listen_at("127.0.0.1", &port, 8);

	(void)state;
	options.proxy = proxy;
	snprintf(proxy, sizeof(proxy), "http://al%%20ice:ze%%3abr@@127.0.0.1:%u", port);
	expect_asked(options, listener, "\r\nProxy-Authorization: Basic YWwgaWNlOnplOmJyQA==\r\n");
	snprintf(proxy, sizeof(proxy), "alice:zebra@127.0.0.1:%u", port);
	expect_asked(options, listener, "\r\nProxy-Authorization: Basic YWxpY2U6emVicmE=\r\n");
	setenv("https_proxy", proxy, 1);
	options.proxy = NULL;
	expect_asked(options, listener, "\r\nProxy-Authorization: Basic YWxpY2U6emVicmE=\r\n");
	unsetenv("https_proxy");
	options.proxy = proxy;
	snprintf(proxy, sizeof(proxy), "http://alice@127.0.0.1:%u/", port);
	expect_asked(options, listener, "\r\nProxy-Authorization: Basic YWxpY2U6\r\n");
	options.proxy_auth = "alice:zebra";
	expect_asked(options, listener, "\r\nProxy-Authorization: Basic YWxpY2U6emVicmE=\r\n");
	close(listener);

	options.proxy_auth = "zebra";
	dial(&outcome, "control.example.invalid", 443, options);
	expect_failed(&outcome, "expected USER:PASSWORD");
	assert_null(strstr(outcome.why, "zebra"));
	options.proxy_auth = NULL;
	for (size_t i = 0; i <= sizeof(bad) / sizeof(*bad); i++) {
		snprintf(long_one, sizeof(long_one), "http://alice:zebra%0600d@127.0.0.1:1", 0);
		options.proxy = i < sizeof(bad) / sizeof(*bad) ? bad[i] : long_one;
		dial(&outcome, "control.example.invalid", 443, options);
		expect_failed(&outcome, "expected http://HOST:PORT or https://HOST:PORT");
		assert_null(strstr(outcome.why, "zebr"));
	}
}

static void test_proxy_of_environment(void **state)
{
	AUTO(str_free) struct str got = STR_INIT;
	struct outcome outcome;
	char proxy[64];
	uint16_t port = 0;
	int listener = listen_at("127.0.0.1", &port, 8), fd;

	(void)state;
	snprintf(proxy, sizeof(proxy), "127.0.0.1:%u", port);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	setenv("https_proxy", proxy, 1);
	dial(&outcome, "control.example.invalid", 80, none);
	fd = accept_one(listener);
	read_until(fd, "\r\n\r\n", &got);
	assert_int_equal(strncmp(str_text(&got), "CONNECT control.example.invalid:80 ", 35), 0);
	close(fd);
	expect_failed(&outcome, "through the proxy");

	/* This host, exceptions, and dials that want none. */
	dial(&outcome, "127.0.0.1", port, none);
	wait_for(&outcome);
	assert_non_null(outcome.stream);
	warren_stream_close(outcome.stream);
	setenv("NO_PROXY", "example.invalid", 1);
	dial(&outcome, "control.example.invalid", 80, none);
	wait_for(&outcome);
	assert_null(strstr(outcome.why, "through the proxy"));
	unsetenv("NO_PROXY");
	dial(&outcome, "control.example.invalid", 80,
	     (struct warren_dial_options){ .flags = WARREN_DIAL_NO_PROXY });
	wait_for(&outcome);
	assert_null(strstr(outcome.why, "through the proxy"));
	close(listener);
}

/*
 * ---- TLS to the proxy ----
 */

struct proxied {			/* a proxy behind TLS, and a host behind it */
	struct warren_tls_server *proxy_tls, *host_tls;
	struct warren_tls_client tls;
	char ca_file[32];
	uint16_t port;
	int listener;
};

static struct warren_tls_server *tls_of(const struct cert *cert)
{
	return warren_tls_server_new(cert->pem, (const uint8_t *)cert->key_pem,
				     strlen(cert->key_pem), NULL, NULL);
}

static void proxy_dial(struct proxied *p, const char *proxy_name, bool known,
		       struct server *server, struct outcome *outcome)
{
	char proxy[96];
	struct warren_dial_options options = { .proxy = proxy, .tls = &p->tls,
					       .proxy_address = addr("127.0.0.1"),
					       .proxy_ca_file = known ? p->ca_file : NULL };

	snprintf(proxy, sizeof(proxy), "https://alice:zebra@%s.example.invalid:%u", proxy_name,
		 p->port);
	dial(outcome, "control.example.invalid", 443, options);
	*server = (struct server){ .done = false };
	server->stream = warren_tls_accept_take(
		warren_stream_new_take(ctx, accept_one(p->listener)), p->proxy_tls, accepted,
		server, NULL);
	assert_non_null(server->stream);
}

static void proxy_refused(struct proxied *p, const char *proxy_name, bool known)
{
	struct server server;
	struct outcome outcome;

	proxy_dial(p, proxy_name, known, &server, &outcome);
	expect_failed(&outcome, "through the proxy");
	expect_failed(&outcome, "TLS with the proxy: ");
	warren_stream_close(server.stream);
}

/* TLS of the host inside that of the proxy. */
static void proxy_serves(struct proxied *p)
{
	static const char answer[] = "HTTP/1.1 200 Fine\r\n\r\n";
	struct server server;
	struct outcome outcome;
	const char *input;
	size_t len;

	proxy_dial(p, "proxy", true, &server, &outcome);
	do {
		parts_settle(engine);
		input = (const char *)warren_stream_input(server.stream, &len);
	} while (!outcome.done && (len < 4 || memcmp(input + len - 4, "\r\n\r\n", 4)));
	assert_false(outcome.done);
	assert_memory_equal(input, "CONNECT control.example.invalid:443 HTTP/1.1\r\n", 46);
	warren_stream_drain(server.stream, len);
	warren_stream_write(server.stream, answer, strlen(answer));
	server.stream = warren_tls_accept_take(server.stream, p->host_tls, accepted, &server, NULL);
	wait_for(&outcome);
	if (!outcome.stream)
		fail_msg("%s", outcome.why);
	warren_stream_close(outcome.stream);
	warren_stream_close(server.stream);
}

static void test_proxy_tls(void **state)
{
	struct cert authority = cert_new(NULL, NULL, 30);
	struct cert proxy_cert = cert_new(&authority, "DNS:proxy.example.invalid", 30);
	struct cert host_cert = cert_new(NULL, "DNS:control.example.invalid", 30);
	struct proxied p = {
		.proxy_tls = tls_of(&proxy_cert), .host_tls = tls_of(&host_cert),
		.tls = { .size = sizeof(p.tls), .pin_sha256 = host_cert.sha256 },
		.ca_file = "/tmp/warren-proxy-XXXXXX",
	};
	int fd = mkstemp(p.ca_file);

	(void)state;
	p.listener = listen_at("127.0.0.1", &p.port, 8);
	assert_int_equal(write(fd, authority.pem, strlen(authority.pem)), strlen(authority.pem));
	close(fd);
	proxy_refused(&p, "other", true);	/* another's name */
	proxy_refused(&p, "proxy", false);	/* an authority that nobody knows */
	proxy_serves(&p);
	unlink(p.ca_file);
	close(p.listener);
	warren_tls_server_free(p.proxy_tls);
	warren_tls_server_free(p.host_tls);
	cert_free(&authority);
	cert_free(&proxy_cert);
	cert_free(&host_cert);
}

static void test_exceptions(void **state)
{
	static const struct { const char *list, *host; bool excepted; } cases[] = {
		{ "", "a.example.com", false },
		{ NULL, "a.example.com", false },
		{ "*", "a.example.com", true },
		{ "example.com", "a.example.com", true },
		{ ".example.com", "a.EXAMPLE.com", true },
		{ "*.example.com", "a.example.com", true },
		{ "ample.com", "example.com", false },
		{ "b.com, Example.com", "example.com", true },
		{ "example.com:443", "example.com", true },
		{ "example.com:80", "example.com", false },
		{ "192.0.2.0/24", "192.0.2.7", true },
		{ "192.0.2.0/24", "198.51.100.7", false },
		{ "192.0.2.7", "192.0.2.7", true },
		{ "192.0.2.7:443", "192.0.2.7", true },
		{ "2001:db8::/32", "2001:db8::7", true },
		{ "[2001:db8::7]:80", "2001:db8::7", false },
		{ ",,. ,", "example.com", false },
		{ "0.0.0.0/0", "example.com", false },
		{ NULL, "localhost", true },
		{ NULL, "127.9.9.9", true },
		{ NULL, "::1", true },
		{ NULL, "::2", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (dial_proxy_excepted(cases[i].list, cases[i].host, 443) != cases[i].excepted)
			fail_msg("\"%s\" and %s", cases[i].list ? cases[i].list : "(none)",
				 cases[i].host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_address, begin, finish),
		cmocka_unit_test_setup_teardown(test_refused_first, begin, finish),
		cmocka_unit_test_setup_teardown(test_black_hole_first, begin, finish),
		cmocka_unit_test_setup_teardown(test_families, begin, finish),
		cmocka_unit_test_setup_teardown(test_names_without_resolver, begin, finish),
		cmocka_unit_test_setup_teardown(test_marked_sockets_only, begin, finish),
		cmocka_unit_test_setup_teardown(test_cancel, begin, finish),
		cmocka_unit_test_setup_teardown(test_context_ends, begin, finish),
		cmocka_unit_test_setup_teardown(test_tls, begin, finish),
		cmocka_unit_test_setup_teardown(test_system_authorities, begin, finish),
		cmocka_unit_test_setup_teardown(test_proxy, begin, finish),
		cmocka_unit_test_setup_teardown(test_proxy_refuses, begin, finish),
		cmocka_unit_test_setup_teardown(test_proxy_of_environment, begin, finish),
		cmocka_unit_test_setup_teardown(test_proxy_password, begin, finish),
		cmocka_unit_test_setup_teardown(test_proxy_tls, begin, finish),
		cmocka_unit_test(test_exceptions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
