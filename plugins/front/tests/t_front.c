/*
 * The way of a connection over loopback: which certificate answers, whose request it is, raw
 * connections, the plain port; curl and OpenSSL are the clients.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/str.h"
#include "engine/ctx.h"
#include "engine/engine.h"

#include "../../../tests/net/certs.h"
#include "../../../tests/unit/parts.h"
#include "../front.h"

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct front front;
static struct cert ca, hq, other;
static char ca_file[] = "/tmp/t_front.XXXXXX";

/* ---- what is served ---- */

static void answer(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "%s %s %s %s\n", (const char *)arg, head->method,
			 head->path, front_secure(&front, x) ? "tls" : "plain");

	warren_exchange_reply(x, 200, "text/plain", text, (size_t)n);
}

static int body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	(void)x;
	(void)data;
	(void)len;
	(void)arg;
	return 0;
}

static void complete(struct warren_exchange *x, void *arg)
{
	(void)x;
	(void)arg;
}

static void failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	(void)arg;
}

static const struct warren_exchange_events events = {
	.size = sizeof(events), .head = answer, .body = body, .complete = complete,
	.failed = failed,
};

static void route(const char *host, const char *path, uint32_t flags, const char *who)
{
	const struct warren_front_route wanted = {
		.size = sizeof(wanted), .flags = flags, .host = host, .path = path,
		.events = &events, .arg = (void *)(uintptr_t)who,
	};

	assert_int_equal(front_route(&front, ctx, &wanted, NULL), 0);
}

static void listen_here(warren_accept_fn *fn, struct warren_listener **out)
{
	struct warren_listen_options wanted = { .size = sizeof(wanted), .key = "x" };

	assert_int_equal(addr_parse("127.0.0.1", &wanted.at.addr), 0);
	assert_int_equal(warren_listen_wait(ctx, &wanted, fn, &front, out, NULL), 0);
}

static void set_cert(const char *name, const struct cert *cert)
{
	assert_int_equal(front_cert_set(&front, name, cert->pem, (const uint8_t *)cert->key_pem,
					strlen(cert->key_pem), NULL), 0);
}

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	ctx->waitable = true;
	memset(&front, 0, sizeof(front));
	front.ctx = ctx;
	list_init(&front.conns);
	list_init(&front.routes);
	list_init(&front.raws);
	list_init(&front.names);
	list_init(&front.certs);
	listen_here(front_accept_tls, &front.https);
	listen_here(front_accept_plain, &front.http);
	set_cert("", &hq);
	return 0;
}

static int finish(void **state)
{
	(void)state;
	front_close_all(&front);
	front_routes_free(&front);
	front_certs_free(&front);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

/* ---- who asks ---- */

/* Runs curl with @args and returns its output, or NULL when there is no curl. */
static char *curl(const char *const *args, int *exit_status)
{
	static char out[4096];
	const char *argv[32] = { "curl", "-sS", "--noproxy", "*", "-m", "20" };
	int fds[2], status = 0, n = 6;
	size_t len = 0;
	ssize_t got = 0;
	pid_t pid;

	for (; *args && n < 31; args++)
		argv[n++] = *args;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		execvp("curl", (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(fds[1]);
	for (int turns = 0; turns < 10000 && waitpid(pid, &status, WNOHANG) == 0; turns++) {
		parts_settle(engine);
		usleep(2000);
	}
	while (len < sizeof(out) - 1 && (got = read(fds[0], out + len, sizeof(out) - 1 - len)) > 0)
		len += (size_t)got;
	out[len] = '\0';
	close(fds[0]);
	assert_true(WIFEXITED(status));
	*exit_status = WEXITSTATUS(status);
	return *exit_status == 127 ? NULL : out;
}

/* @how is a further option; the output must be @wanted. */
static void ask(bool tls, const char *name, const char *path, const char *how, const char *wanted)
{
	uint16_t port = warren_listener_port(tls ? front.https : front.http);
	char url[256], resolve[256];
	const char *args[] = { "--cacert", ca_file, "--resolve", resolve, url, how, NULL };
	int status;
	char *got;

	snprintf(url, sizeof(url), "%s://%s:%u%s", tls ? "https" : "http", name, port, path);
	snprintf(resolve, sizeof(resolve), "%s:%u:127.0.0.1", name, port);
	got = curl(args, &status);
	if (!got)
		skip();
	assert_string_equal(got, wanted);
	assert_int_equal(status, 0);
}

static void by_name_and_path(void **state)
{
	(void)state;
	route(NULL, "/key", 0, "key");
	route(NULL, "/", 0, "root");
	route("other.example", "/key", 0, "other");
	route("other.example", "/key/deep", 0, "deep");
	set_cert("other.example", &other);
	ask(true, "hq.example", "/key", NULL, "key GET /key tls\n");
	ask(true, "hq.example", "/key?v=1", NULL, "key GET /key?v=1 tls\n");
	ask(true, "hq.example", "/keys", NULL, "root GET /keys tls\n");
	ask(true, "other.example", "/key/x", NULL, "other GET /key/x tls\n");
	ask(true, "other.example", "/key/deep/x", NULL, "deep GET /key/deep/x tls\n");
	ask(true, "hq.example", "/key", "--http1.1", "key GET /key tls\n");
}

static void nobody_has_it(void **state)
{
	(void)state;
	route("other.example", "/", 0, "other");
	ask(true, "hq.example", "/", NULL, "Nothing is served here.\n");
}

static void the_same_pair_twice(void **state)
{
	const struct warren_front_route again = {
		.size = sizeof(again), .path = "/key", .events = &events,
	};
	struct warren_front_route bad = again;

	(void)state;
	route(NULL, "/key", 0, "key");
	assert_int_equal(front_route(&front, ctx, &again, NULL), -EEXIST);
	bad.path = "key";
	assert_int_equal(front_route(&front, ctx, &bad, NULL), -EINVAL);
}

static void the_plain_port(void **state)
{
	char where[256];

	(void)state;
	route(NULL, "/", 0, "root");
	route(NULL, "/ts2021", WARREN_FRONT_PLAIN, "ts2021");
	ask(false, "hq.example", "/ts2021", NULL, "ts2021 GET /ts2021 plain\n");
	snprintf(where, sizeof(where), "308 https://hq.example:%u/a?b=c",
		 warren_listener_port(front.https));
	ask(false, "hq.example", "/a?b=c", "-w%{http_code} %{redirect_url}", where);
}

static void a_certificate_is_replaced(void **state)
{
	const struct front_cert *cert;

	(void)state;
	route(NULL, "/", 0, "root");
	set_cert("", &other);
	cert = front_cert_find(&front, "hq.example");
	assert_memory_equal(cert->facts.sha256, other.sha256, 32);
	ask(true, "other.example", "/", NULL, "root GET / tls\n");
	assert_int_equal(front_cert_set(&front, "", "no PEM", (const uint8_t *)"", 0, NULL),
			 -EINVAL);
	ask(true, "other.example", "/", NULL, "root GET / tls\n");
}

static void a_name_that_is_not_ours(void **state)
{
	uint16_t port = warren_listener_port(front.https);
	char url[64];
	const char *args[] = { "--cacert", ca_file, url, NULL };
	int status;

	(void)state;
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/", port);
	if (!curl(args, &status))
		skip();
	assert_int_equal(status, 60);	/* the certificate is for another name */
}

/* ---- raw connections ---- */

static struct warren_stream *raw_stream;
static volatile bool raw_came;

static void raw_accept(struct warren_stream *stream, void *arg)
{
	(void)arg;
	raw_stream = stream;
	raw_came = true;
}

static void raw_connections(void **state)
{
	const struct warren_front_raw wanted = {
		.size = sizeof(wanted), .server_name = "funnel.example", .accept = raw_accept,
	};
	const struct warren_front_raw nothing = { .size = sizeof(nothing), .accept = raw_accept };
	char url[64], resolve[96];
	const char *args[] = { "-k", "--resolve", resolve, "-m", "1", url, NULL };
	size_t len;
	int status;

	(void)state;
	assert_int_equal(front_raw(&front, ctx, &nothing, NULL), -EINVAL);
	assert_int_equal(front_raw(&front, ctx, &wanted, NULL), 0);
	snprintf(url, sizeof(url), "https://funnel.example:%u/", warren_listener_port(front.https));
	snprintf(resolve, sizeof(resolve), "funnel.example:%u:127.0.0.1",
		 warren_listener_port(front.https));
	raw_came = false;
	if (!curl(args, &status))
		skip();
	assert_true(raw_came);
	assert_int_equal(warren_stream_input(raw_stream, &len)[0], 22);	/* all of the hello */
	assert_true(len > 100);
	warren_stream_close(raw_stream);
	assert_int_equal(warren_listener_open(front.https), 0);
}

static void no_tls(void **state)
{
	char url[64];
	const char *args[] = { url, NULL };
	int status;

	(void)state;
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", warren_listener_port(front.https));
	if (!curl(args, &status))
		skip();
	assert_true(status == 52 || status == 56);	/* nothing came back */
	assert_int_equal(warren_listener_open(front.https), 0);
}

static int certificates(void **state)
{
	int fd = mkstemp(ca_file);

	(void)state;
	ca = cert_new(NULL, "DNS:ca.example", 30);
	hq = cert_new(&ca, "DNS:hq.example", 30);
	other = cert_new(&ca, "DNS:other.example", 30);
	if (fd == -1 || write(fd, ca.pem, strlen(ca.pem)) != (ssize_t)strlen(ca.pem))
		return -1;
	close(fd);
	return 0;
}

static int no_certificates(void **state)
{
	(void)state;
	cert_free(&other);
	cert_free(&hq);
	cert_free(&ca);
	return unlink(ca_file);
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(by_name_and_path),
		ON_LOOP(nobody_has_it),
		ON_LOOP(the_same_pair_twice),
		ON_LOOP(the_plain_port),
		ON_LOOP(a_certificate_is_replaced),
		ON_LOOP(a_name_that_is_not_ours),
		ON_LOOP(raw_connections),
		ON_LOOP(no_tls),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, certificates, no_certificates);
}
