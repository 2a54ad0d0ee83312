/*
 * Connections of peers: whose they are, what they may ask for, and what ends them. They come over
 * loopback, with curl as the client, and are said to be from a peer's address; in what way they
 * come in truth is the lab's business.
 */
#include <errno.h>
#include <fcntl.h>
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

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/engine_impl.h"
#include "engine/plugin_load.h"
#include "tests/unit/parts.h"

#include "../peerapi.h"

extern const struct warren_plugin warren_plugin_peerapi;

enum { UPLOAD = 8 << 20, BOBS_PORT = 33333 };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct wcore_plugin plugin_of;
static struct peerapi *papi;
static int gate;			/* where curl connects to */
static uint16_t gate_port;

/* ---- the services around it ---- */

struct warren_svc_listener {
	bool open;
	uint16_t port;
	uint32_t flags;
};
static struct {
	struct warren_svc_listener listeners[8];
	uint32_t n;
	uint16_t taken;			/* by "another plugin" */
	struct warren_svc_events events;
	void *arg;
	warren_svc_dial_fn *dialed;
	void *dial_arg;
} net;
static struct {
	struct warren_netmap *map;
	char services[256];
	bool told;
} world;

static int net_listen(void *self, struct warren_ctx *owner, const struct warren_svc_listen *listen,
		      const struct warren_svc_events *events, void *arg,
		      struct warren_svc_listener **out, struct warren_err *err)
{
	(void)self;
	(void)owner;
	(void)err;
	assert_true(net.n < ARRAY_SIZE(net.listeners));
	if (listen->port == net.taken)
		return -EADDRINUSE;
	*out = &net.listeners[net.n++];
	(*out)->open = true;
	(*out)->port = listen->port;
	(*out)->flags = listen->flags;
	net.events = *events;
	net.arg = arg;
	return 0;
}

static void net_close(void *self, struct warren_svc_listener *listener)
{
	(void)self;
	if (listener)
		listener->open = false;
}

static const char *net_problem(void *self, const struct warren_svc_listener *listener)
{
	(void)self;
	(void)listener;
	return NULL;
}

static int net_dial(void *self, struct warren_ctx *owner, const struct warren_svc_dial *dial,
		    warren_svc_dial_fn *done, void *arg)
{
	(void)self;
	(void)owner;
	assert_int_equal(dial->to.port, BOBS_PORT);
	net.dialed = done;
	net.dial_arg = arg;
	return 0;
}

static bool net_apart(void *self)
{
	(void)self;
	return true;
}

static const struct warren_svcnet_ops svcnet = {
	.size = sizeof(svcnet), .listen = net_listen, .close = net_close, .problem = net_problem,
	.apart = net_apart, .dial = net_dial,
};

static int self_set(void *self, struct warren_ctx *owner, enum warren_facet facet,
		    const char *value)
{
	(void)self;
	(void)owner;
	assert_int_equal(facet, WARREN_FACET_SERVICES);
	world.told = value != NULL;
	assert_true(str_copy(world.services, sizeof(world.services), value ? value : ""));
	return 0;
}

static const struct warren_netmap_ops netmap = { .size = sizeof(netmap), .self_set = self_set };

/* ---- maps ---- */

static const struct warren_prefix self_addresses[] = {
	{ { 4, { 100, 64, 0, 1 } }, 32 },
	{ { 6, { 0xfd, 0x7a, [12] = 0x66, 0x40, 0, 1 } }, 128 },
};
static const struct warren_prefix bob_addresses[] = { { { 4, { 100, 64, 0, 2 } }, 32 } };
static const struct warren_service bob_services[] = { { .proto = "peerapi4", .port = BOBS_PORT } };
static const struct warren_prefix eve_addresses[] = { { { 4, { 100, 64, 0, 3 } }, 32 } };
static const struct warren_user users[] = { { 5, "bob@x", "Bob <b>", NULL } };
static struct warren_node self_node, bob, eve;
static const struct warren_node *const both[] = { &bob, &eve };

static void map_free(struct warren_obj *obj)
{
	free(obj);
}

/* With the first @n_peers of bob and eve. */
static void publish(uint32_t n_peers)
{
	struct warren_netmap *map = calloc(1, sizeof(*map));
	struct warren_netmap *old = world.map;

	assert_non_null(map);
	warren_obj_init(&map->obj, sizeof(*map), map_free);
	map->self = &self_node;
	map->peers = both;
	map->n_peers = n_peers;
	map->users = users;
	map->n_users = 1;
	world.map = map;
	papi_map(papi, map);
	warren_obj_unref(old);
}


static int begin(void **state)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(at);

	(void)state;
	memset(&net, 0, sizeof(net));
	memset(&world, 0, sizeof(world));
	self_node = (struct warren_node){ .id = 1, .name = "us.example.", .n_addresses = 2,
					  .addresses = self_addresses };
	bob = (struct warren_node){ .id = 2, .name = "bob.example.", .n_addresses = 1,
				    .addresses = bob_addresses, .user = 5,
				    .services = bob_services, .n_services = 1 };
	eve = (struct warren_node){ .id = 3, .name = "eve.example.", .n_addresses = 1,
				    .addresses = eve_addresses };
	engine = parts_engine(-1);
	plugin_of.desc = warren_plugin_peerapi;
	ctx = wcore_engine_ctx_new(engine, wcore_engine_main(engine), &plugin_of);
	assert_non_null(ctx);
	ctx->phase = WCORE_PHASE_UP;
	papi = warren_zalloc(ctx, sizeof(*papi));
	assert_non_null(papi);
	warren_self_set(ctx, papi);
	papi->netmap = &netmap;
	papi->svcnet = &svcnet;
	papi->connections_max = 8;
	papi->per_peer_max = 2;
	assert_int_equal(papi_init(papi, ctx), 0);
	gate = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(gate, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(gate, 16), 0);
	assert_int_equal(getsockname(gate, (struct sockaddr *)&at, &len), 0);
	gate_port = ntohs(at.sin_port);
	publish(2);
	return 0;
}

static int finish(void **state)
{
	(void)state;
	wcore_ctx_close(ctx);
	warren_obj_unref(world.map);
	wcore_engine_free(engine);
	close(gate);
	return 0;
}

/* ---- connections ---- */

/* Gives @fd to the plugin as a connection from 100.64.0.@last. */
static void connect_from(int fd, uint8_t last)
{
	const struct warren_svc_conn conn = {
		.size = sizeof(conn), .from = WARREN_SVC_FROM_PEER,
		.remote = { { 4, { 100, 64, 0, last } }, 5000 },
		.local = { self_addresses[0].addr, net.listeners[0].port },
	};

	net.events.accepted(net.arg, fd, &conn);
}

/* The other end of such a connection. */
static int dial(uint8_t last)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	connect_from(pair[0], last);
	return pair[1];
}

/* The other side has closed it. */
static bool is_closed(int fd)
{
	char byte;

	for (int i = 0; i < 50; i++) {
		ssize_t n;

		parts_settle(engine);
		n = recv(fd, &byte, 1, 0);
		if (n == 0 || (n == -1 && errno != EAGAIN))
			return true;
	}
	return false;
}

static char *ask(int fd, const char *request)
{
	static char out[8192];
	size_t len = 0;

	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	for (int i = 0; i < 50; i++) {
		ssize_t n;

		parts_settle(engine);
		n = recv(fd, out + len, sizeof(out) - 1 - len, 0);
		if (n > 0)
			len += (size_t)n;
	}
	out[len] = '\0';
	return out;
}

/*
 * Curl's output, what it asks for coming from bob. NULL: there is no curl. @turn is called between
 * turns of the loop; the test may stop curl by its pid.
 */
static char *curl(void (*turn)(pid_t pid), const char *const *args)
{
	static char out[4096];
	const char *argv[32] = { "curl", "-sS", "--noproxy", "*", "-m", "20", "-H", "Host: peer" };
	char url[64];
	int fds[2], status = 0, n = 8;
	size_t len = 0;
	ssize_t got;
	pid_t pid;

	for (; *args && n < 30; args++)
		argv[n++] = *args;
	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", gate_port, argv[n - 1]);
	argv[n - 1] = url;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		execvp("curl", (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(fds[1]);
	for (int i = 0; i < 10000 && waitpid(pid, &status, WNOHANG) == 0; i++) {
		int fd = accept4(gate, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0)
			connect_from(fd, 2);
		parts_settle(engine);
		if (turn)
			turn(pid);
		usleep(500);
	}
	while (len < sizeof(out) - 1 && (got = read(fds[0], out + len, sizeof(out) - 1 - len)) > 0)
		len += (size_t)got;
	out[len] = '\0';
	close(fds[0]);
	return WIFEXITED(status) && WEXITSTATUS(status) == 127 ? NULL : out;
}

/* ---- a plugin that serves a path ---- */

static struct {
	struct warren_exchange *x;
	size_t got, most_waiting;
	bool hold, complete, failed;
	int64_t node;
	char path[64];
} served;

static int served_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	(void)x;
	(void)data;
	(void)arg;
	served.got += len;
	return served.hold ? WARREN_PENDING : 0;
}

static void served_complete(struct warren_exchange *x, void *arg)
{
	(void)arg;
	served.complete = true;
	served.x = NULL;
	warren_exchange_reply(x, 200, "text/plain", "thanks\n", 7);
}

static void served_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)why;
	(void)arg;
	assert_true(result < 0);
	served.failed = true;
	served.x = NULL;
}

static void serve(struct warren_exchange *x, const struct warren_http_head *head,
		  const struct warren_peerapi_caller *caller, void *arg)
{
	static const struct warren_exchange_events events = {
		.size = sizeof(events), .body = served_body, .complete = served_complete,
		.failed = served_failed,
	};

	(void)arg;
	served.x = x;
	served.node = caller->node->id;
	assert_true(str_copy(served.path, sizeof(served.path), head->path));
	warren_exchange_set(x, &events, NULL);
}

static int route(const char *path)
{
	const struct warren_peerapi_route wanted = {
		.size = sizeof(wanted), .path = path, .request = serve,
	};

	return papi_route(papi, ctx, &wanted, NULL);
}

/* ---- tests ---- */

static void it_listens_and_tells(void **state)
{
	(void)state;
	/* One port for both families, ahead of the filter, and not on the host's side. */
	assert_int_equal(net.n, 1);
	assert_int_equal(net.listeners[0].flags, WARREN_SVC_UNFILTERED | WARREN_SVC_NO_HOST);
	assert_int_equal(net.listeners[0].port, 58436);
	assert_string_equal(world.services, "[{\"Proto\":\"peerapi4\",\"Port\":58436},"
			    "{\"Proto\":\"peerapi6\",\"Port\":58436}]");
	publish(2);
	assert_int_equal(net.n, 1);	/* nothing has changed */
	/* Another address, whose first port another plugin has. */
	static const struct warren_prefix moved[] = { { { 4, { 100, 64, 0, 2 } }, 32 } };
	self_node.addresses = moved;
	self_node.n_addresses = 1;
	net.taken = 46590;
	publish(2);
	assert_false(net.listeners[0].open);
	assert_int_equal(net.n, 2);
	assert_true(net.listeners[1].open && net.listeners[1].port != 46590);
	assert_non_null(strstr(world.services, "peerapi4"));
	assert_null(strstr(world.services, "peerapi6"));
}

static void shields_up_shuts_it(void **state)
{
	int fd = dial(2);

	(void)state;
	assert_false(is_closed(fd));
	self_node.shields_up = true;
	publish(2);
	assert_true(is_closed(fd));
	assert_false(net.listeners[0].open);
	assert_false(world.told);
	close(fd);
	fd = dial(2);			/* it was accepted before */
	assert_true(is_closed(fd));
	close(fd);
	self_node.shields_up = false;
	publish(2);
	assert_true(net.listeners[1].open && world.told);
}

static void who_is_no_peer_is_closed(void **state)
{
	int stranger = dial(9), self = dial(1), jailed;

	(void)state;
	assert_true(is_closed(stranger));
	assert_true(is_closed(self));
	bob.jailed = true;
	publish(2);
	jailed = dial(2);
	assert_true(is_closed(jailed));
	close(stranger);
	close(self);
	close(jailed);
}

static void one_peer_does_not_take_all(void **state)
{
	int fds[4] = { dial(2), dial(2), dial(2), dial(3) };

	(void)state;
	assert_true(is_closed(fds[2]));
	assert_false(is_closed(fds[0]));
	assert_false(is_closed(fds[1]));
	assert_non_null(strstr(ask(fds[3], "GET / HTTP/1.1\r\nHost: peer\r\n\r\n"), "200 OK"));
	assert_int_equal(papi->n_conns, 3);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	parts_settle(engine);
	parts_settle(engine);
	assert_int_equal(papi->n_conns, 0);
}

static void greeting(void **state)
{
	int fd = dial(2);
	char *got = ask(fd, "GET / HTTP/1.1\r\nHost: 100.64.0.1:58436\r\n\r\n");

	(void)state;
	assert_non_null(strstr(got, "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(got, "Hello, Bob &#60;b&#62; (100.64.0.2)"));
	assert_non_null(strstr(got, "Content-Security-Policy: default-src 'none'"));
	got = ask(fd, "HEAD / HTTP/1.1\r\nHost: peer\r\n\r\n");
	assert_non_null(strstr(got, "HTTP/1.1 200 OK\r\n"));
	assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\n");
	assert_non_null(strstr(ask(fd, "GET /v0/env HTTP/1.1\r\nHost: peer\r\n\r\n"),
			       "404 Not Found"));
	assert_non_null(strstr(ask(fd, "DELETE / HTTP/1.1\r\nHost: peer\r\n\r\n"), " 405 "));
	got = ask(fd, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
	assert_non_null(strstr(got, "403 Forbidden"));
	assert_non_null(strstr(got, "invalid peerapi request\n"));
	close(fd);
}

static void a_name_in_a_header_is_not_who_asks(void **state)
{
	int fd = dial(3);

	(void)state;
	assert_int_equal(route("/v0/put"), 0);
	ask(fd, "GET /v0/put/x HTTP/1.1\r\nHost: peer\r\nX-Forwarded-For: 100.64.0.2\r\n"
		"Tailscale-User-Login: bob@x\r\nForwarded: for=100.64.0.2\r\n\r\n");
	assert_int_equal(served.node, 3);
	close(fd);
}

static void routes(void **state)
{
	(void)state;
	assert_int_equal(route("/v0/put"), 0);
	assert_int_equal(route("/v0/put"), -EEXIST);
	assert_int_equal(route("/"), -EINVAL);
	assert_int_equal(route("v0"), -EINVAL);
	assert_int_equal(route("/v0"), 0);
	assert_string_equal(papi_route_find(papi, "/v0/put/a")->path, "/v0/put");
	assert_string_equal(papi_route_find(papi, "/v0/other")->path, "/v0");
	assert_null(papi_route_find(papi, "/v1"));
}

static void hold_a_while(pid_t pid)
{
	(void)pid;
	if (!served.x || ++served.most_waiting < 100)
		return;
	if (served.hold)
		assert_true(served.got < 3 << 20);	/* windows and buffers, not the file */
	served.hold = false;
	warren_exchange_resume(served.x);
}

static char upload_name[] = "/tmp/t_peerapi.XXXXXX";

static void upload(const char *how)
{
	const char *const args[] = { how, "-T", upload_name, "-H", "Expect:", "/v0/put/file",
				     NULL };
	char *got;

	memset(&served, 0, sizeof(served));
	served.hold = true;
	assert_int_equal(route("/v0/put"), 0);
	got = curl(hold_a_while, args);
	if (!got)
		skip();
	assert_string_equal(got, "thanks\n");
	assert_int_equal(served.got, UPLOAD);
	assert_string_equal(served.path, "/v0/put/file");
	assert_true(served.complete && !served.failed);
}

static void a_body_waits_for_its_reader(void **state)
{
	(void)state;
	upload("--http1.1");
}

static void a_body_waits_for_its_reader_over_http2(void **state)
{
	(void)state;
	upload("--http2-prior-knowledge");
}

static void remove_bob(pid_t pid)
{
	(void)pid;
	if (served.x && served.got > 0 && world.map->n_peers)
		publish(0);
}

static void who_is_removed_is_cut_off(void **state)
{
	static const char *const how[] = { "--http1.1", "--http2-prior-knowledge" };

	(void)state;
	assert_int_equal(route("/v0/put"), 0);
	for (int i = 0; i < 2; i++) {
		const char *const args[] = { how[i], "-T", upload_name, "-H", "Expect:", "-o",
					     "/dev/null", "/v0/put/file", NULL };

		memset(&served, 0, sizeof(served));
		served.hold = true;
		publish(2);
		if (!curl(remove_bob, args))
			skip();
		assert_true(served.failed && !served.complete);
		assert_int_equal(papi->n_conns, 0);
	}
}

/* ---- the other direction ---- */

static void pinged(struct warren_ctx *owner, int result, const char *why, uint64_t usec, void *arg)
{
	(void)owner;
	(void)why;
	(void)usec;
	*(int *)arg = result;
}

/* Of a ping of bob; the other end of its connection, or -1 while it is dialed. */
static int ping_bob(int *told, bool dialing)
{
	int pair[2];

	*told = 1;
	assert_non_null(papi_ping(papi, ctx, &bob, 60 * 1000000, pinged, told, NULL));
	if (dialing)
		return -1;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
			 0);
	net.dialed(ctx, 0, pair[0], NULL, net.dial_arg);
	return pair[1];
}

static void a_ping_ends_once(void **state)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	char asked[256];
	int told, fd = ping_bob(&told, false);

	(void)state;
	assert_true(read(fd, asked, sizeof(asked)) > 0);
	assert_memory_equal(asked, "HEAD / HTTP/1.1\r\nHost: 100.64.0.2:33333\r\n", 39);
	assert_int_equal(write(fd, answer, strlen(answer)), strlen(answer));
	while (told == 1)
		parts_settle(engine);
	assert_int_equal(told, 0);
	assert_true(list_empty(&papi->calls));
	close(fd);
}

/* Not even that it has ended: those who asked have forgotten it. */
static void nothing_is_heard_after_a_stop(void **state)
{
	int told[2], fd = ping_bob(&told[0], false);

	(void)state;
	ping_bob(&told[1], true);
	assert_int_equal(warren_plugin_peerapi.stop(ctx), 0);
	assert_int_equal(told[0], 1);
	net.dialed(ctx, -ETIMEDOUT, -1, "no answer", net.dial_arg);
	assert_int_equal(told[1], 1);
	assert_true(list_empty(&papi->calls));
	close(fd);
}

static int make_upload(void **state)
{
	int fd = mkostemp(upload_name, O_CLOEXEC);

	(void)state;
	return fd == -1 || ftruncate(fd, UPLOAD) ? -1 : close(fd);
}

static int remove_upload(void **state)
{
	(void)state;
	return unlink(upload_name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_listens_and_tells, begin, finish),
		cmocka_unit_test_setup_teardown(shields_up_shuts_it, begin, finish),
		cmocka_unit_test_setup_teardown(who_is_no_peer_is_closed, begin, finish),
		cmocka_unit_test_setup_teardown(one_peer_does_not_take_all, begin, finish),
		cmocka_unit_test_setup_teardown(greeting, begin, finish),
		cmocka_unit_test_setup_teardown(a_name_in_a_header_is_not_who_asks, begin, finish),
		cmocka_unit_test_setup_teardown(routes, begin, finish),
		cmocka_unit_test_setup_teardown(a_body_waits_for_its_reader, begin, finish),
		cmocka_unit_test_setup_teardown(a_body_waits_for_its_reader_over_http2, begin,
						finish),
		cmocka_unit_test_setup_teardown(who_is_removed_is_cut_off, begin, finish),
		cmocka_unit_test_setup_teardown(a_ping_ends_once, begin, finish),
		cmocka_unit_test_setup_teardown(nothing_is_heard_after_a_stop, begin, finish),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, make_upload, remove_upload);
}
