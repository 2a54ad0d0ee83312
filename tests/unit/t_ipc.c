/*
 * The control socket from end to end: a real engine with a plugin, a real unix socket, and clients
 * that behave well and badly. The clients run on the same thread; the lane is turned until they
 * have what they wait for.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/plugin.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/conf.h"
#include "engine/engine.h"
#include "engine/ipc.h"
#include "engine/lane.h"
#include "engine/log.h"
#include "engine/plugin_load.h"
#include "ipc_world.h"

/*
 * ---- A plugin ----
 */

static struct warren_reply *pending;	/* of `probe wait` */
static unsigned big_lines;
static atomic_uint cancelled;

static void on_cancel(struct warren_reply *reply, void *arg)
{
	(void)reply;
	(void)arg;
	cancelled++;
	pending = NULL;
}

static int run_wait(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	(void)ctx;
	(void)args;
	(void)err;
	pending = reply;
	warren_reply_on_cancel(reply, on_cancel, NULL);
	warren_reply_text(reply, "waiting");
	return WARREN_PENDING;
}

static int run_big(struct warren_ctx *ctx, const struct warren_conf *args,
		   struct warren_reply *reply, struct warren_err *err)
{
	static char line[10000];

	(void)ctx;
	(void)args;
	(void)err;
	memset(line, 'x', sizeof(line) - 1);
	for (unsigned i = 0; i < big_lines; i++)
		warren_reply_text(reply, "%s", line);
	return 0;
}

static int run_slow(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	struct timespec ms20 = { .tv_nsec = 20000000 };

	(void)ctx;
	(void)args;
	(void)err;
	nanosleep(&ms20, NULL);
	warren_reply_text(reply, "slow");
	return 0;
}

static int run_secret(struct warren_ctx *ctx, const struct warren_conf *args,
		      struct warren_reply *reply, struct warren_err *err)
{
	(void)ctx;
	(void)args;
	(void)err;
	warren_reply_text(reply, "secret");
	return 0;
}

static int run_read(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	AUTO(auto_close) int fd = warren_reply_take_fd(reply, "file");
	char buf[100];
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	(void)ctx;
	(void)args;
	if (n < 0)
		return warren_fail(err, NULL, "cannot read: %s", strerror(errno));
	buf[n] = '\0';
	warren_reply_str(reply, "content", "%s", buf);
	return 0;
}

static void write_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	(void)ctx;
	warren_reply_int(reply, "answer", 42);
	warren_reply_open(reply, "left-open", '[');
}

static bool check_fine(struct warren_ctx *ctx, struct warren_check_result *result)
{
	(void)ctx;
	(void)result;
	return true;
}

static bool check_broken(struct warren_ctx *ctx, struct warren_check_result *result)
{
	(void)ctx;
	warren_finding(result, "it is broken; mend it");
	return false;
}

static const struct warren_option read_args[] = {
	{ .key = "file", .type = WARREN_FD_IN, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "A file." },
};

static const struct warren_command commands[] = {
	{ .path = "probe wait", .brief = "Wait.", .run = run_wait },
	{ .path = "probe big", .brief = "Say much.", .run = run_big },
	{ .path = "probe slow", .brief = "Take long.", .run = run_slow },
	{ .path = "probe operator", .flags = WARREN_CMD_OPERATOR, .brief = "Not for all.",
	  .run = run_secret },
	{ .path = "probe root", .flags = WARREN_CMD_ROOT, .brief = "For root.",
	  .run = run_secret },
	{ .path = "probe read", .args = WARREN_TABLE(read_args), .brief = "Read.",
	  .run = run_read },
	{ .path = "probe offline", .flags = WARREN_CMD_OFFLINE, .brief = "In the client.",
	  .run = run_secret },
};

static const struct warren_check checks[] = {
	{ .id = "probe.fine", .severity = WARREN_BAD, .brief = "Fine.", .run = check_fine },
	{ .id = "probe.broken", .severity = WARREN_BAD, .brief = "Mended.", .run = check_broken },
};

static int probe_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		       struct warren_err *err)
{
	(void)ctx;
	(void)conf;
	(void)err;
	return 0;
}

/* What the loader gives to each plugin with the flag. */
static const struct warren_option lane_option[] = {
	{ .key = "lane", .type = WARREN_STRING, .brief = "Lane." },
};

static char probe_path[] = "test";
static const struct wcore_plugin probe = {
	.desc = {
		.magic = WARREN_ABI_MAGIC, .abi_major = WARREN_ABI_MAJOR,
		.abi_minor = WARREN_ABI_MINOR, .size = sizeof(struct warren_plugin),
		.name = "probe", .version = "1.0", .license = "ISC", .brief = "For tests.",
		.commands = WARREN_TABLE(commands), .checks = WARREN_TABLE(checks),
		.start = probe_start, .status = write_status,
	},
	.path = probe_path,
};

/* The same on a lane of its own; the words of its commands begin with "far". */
static const struct warren_command far_commands[] = {
	{ .path = "far wait", .brief = "Wait.", .run = run_wait },
	{ .path = "far big", .brief = "Say much.", .run = run_big },
	{ .path = "far read", .args = WARREN_TABLE(read_args), .brief = "Read.",
	  .run = run_read },
};
static const struct warren_check far_checks[] = {
	{ .id = "far.broken", .severity = WARREN_WARN, .brief = "Mended.", .run = check_broken },
};
static const struct wcore_plugin far = {
	.desc = {
		.magic = WARREN_ABI_MAGIC, .abi_major = WARREN_ABI_MAJOR,
		.abi_minor = WARREN_ABI_MINOR, .size = sizeof(struct warren_plugin),
		.name = "far", .version = "1.0", .license = "ISC", .brief = "For tests.",
		.flags = WARREN_PLUGIN_LANE, .commands = WARREN_TABLE(far_commands),
		.checks = WARREN_TABLE(far_checks), .options = WARREN_TABLE(lane_option),
		.start = probe_start, .status = write_status,
	},
	.path = probe_path,
};
static const struct wcore_plugin *const plugins[] = { &probe, &far, NULL };

/*
 * ---- Engine and clients ----
 */

static int setup(void **state)
{
	*state = fixture_new(plugins, "node: {operator: \"12345\"}\nprobe: {}\nfar: {lane: far}\n");
	pending = NULL;
	cancelled = 0;
	return 0;
}

/*
 * ---- Good clients ----
 */

static void test_status(void **state)
{
	struct fixture *f = *state;
	const char *out = ask(f, "{\"argv\":[\"status\"]}");

	expect_in(out, "2 of 2 plugins running\"}\n{\"text\":\"\"}\n{\"text\":\"far:\"}\n"
		  "{\"text\":\"  answer:     42\"}");
	out = ask(f, "{\"argv\":[\"status\"],\"format\":\"json\"}");
	expect_in(out, "\"far\":{\"answer\":42,\"left-open\":[]},"
		  "\"probe\":{\"answer\":42,\"left-open\":[]}},\"indent\":true}\n"
		  "{\"end\":{\"exit\":0}}");
	expect_in(out, "\"plugins\":{\"far\":{\"state\":\"up\"}");
}

static void test_core_verbs(void **state)
{
	struct fixture *f = *state;

	expect_in(ask(f, "{\"argv\":[\"plugins\"]}"), "probe   1.0      up");
	expect_in(ask(f, "{\"argv\":[\"version\"]}"), "warrend ");
	expect_in(ask(f, "{\"argv\":[\"metrics\",\"--json\"]}"), "{\"data\":{\"metrics\":[");
	expect_in(ask(f, "{\"argv\":[\"config\",\"show\"]}"), "operator");
	expect_in(ask(f, "{\"argv\":[\"log\",\"level\",\"probe\",\"debug\"]}"), "probe  debug");
	expect_in(ask(f, "{\"argv\":[\"log\",\"level\"]}"), "probe    debug");
	expect_in(ask(f, "{\"argv\":[\"log\",\"level\",\"probe\",\"loud\"]}"),
		  "warren log level: \\\"loud\\\" is no level");
	expect_in(ask(f, "{\"argv\":[\"log\",\"level\",\"nothing\"]}"),
		  "no plugin \\\"nothing\\\"");
	expect_in(ask(f, "{\"argv\":[\"log\",\"level\",\"probe\",\"default\"]}"), "\"exit\":0");
	expect_in(ask(f, "{\"argv\":[\"reload\"]}"), "without a monitor");
}

static void test_doctor(void **state)
{
	struct fixture *f = *state;
	const char *out = ask(f, "{\"argv\":[\"doctor\",\"probe\"]}");

	expect_in(out, "{\"text\":\"ok   probe.fine    Fine.\"}\n"
		  "{\"text\":\"bad  probe.broken  it is broken; mend it\"}\n"
		  "{\"end\":{\"exit\":1,\"error\":\"warren doctor: 1 of 2 checks found");
	out = ask(f, "{\"argv\":[\"doctor\",\"probe.fine\"],\"colour\":true}");
	expect_in(out, "[32mok");
	expect_in(out, "{\"end\":{\"exit\":0}}");
	expect_in(ask(f, "{\"argv\":[\"doctor\",\"prob\"]}"), "there is no check \\\"prob\\\"");
	expect_in(ask(f, "{\"argv\":[\"doctor\"],\"format\":\"json\"}"),
		  "\"probe.broken\":{\"severity\":\"bad\",\"brief\":\"Mended.\",\"finding\":");
}

static void test_left_to_the_client(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(ask(f, "{\"argv\":[\"probe\",\"offline\"]}"), "{\"local\":true}\n");
	assert_string_equal(ask(f, "{\"argv\":[\"config\",\"check\"]}"), "{\"local\":true}\n");
	assert_string_equal(ask(f, "{\"argv\":[\"nonsense\"]}"), "{\"local\":true}\n");
	assert_string_equal(ask(f, "{\"argv\":[\"help\",\"nonsense\"]}"), "{\"local\":true}\n");
	expect_in(ask(f, "{\"argv\":[\"help\",\"probe\"]}"), "probe wait");
}

/* Requests that come at once are answered in their order, on one connection. */
static void test_several_requests(void **state)
{
	struct fixture *f = *state;
	struct client c;
	const char *out;

	client_open(f, &c);
	client_send(&c, "{\"argv\":[\"probe\",\"wait\"]}\n{\"argv\":[\"version\"]}\n{\"argv\":");
	client_wait(f, &c, "waiting");
	assert_non_null(pending);
	for (int i = 0; i < 5; i++)
		turn(f);
	client_read(&c);
	assert_null(strstr(str_text(&c.in), "warrend"));
	warren_reply_end(pending, 0, NULL);
	out = client_wait(f, &c, "warrend");
	expect_in(out, "{\"text\":\"waiting\"}\n{\"end\":{\"exit\":0}}\n{\"text\":\"warrend ");
	client_send(&c, "[\"plugins\"]}\n");
	client_wait(f, &c, "PLUGIN");
	client_close(&c);
}

static void test_descriptors(void **state)
{
	static const char line[] = "{\"argv\":[\"probe\",\"read\",\"f\"],\"format\":\"json\","
		"\"fds\":[\"file\"]}\n";
	struct fixture *f = *state;
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov = { (char *)line, sizeof(line) - 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	struct client c;
	int ends[2];

	expect_in(ask(f, "{\"argv\":[\"probe\",\"read\",\"f\"]}"),
		  "{\"open\":[{\"key\":\"file\",\"word\":2,\"skip\":0,\"write\":false}]}");
	expect_in(ask(f, "{\"argv\":[\"probe\",\"read\",\"f\"],\"fds\":[\"file\"]}"),
		  "a request names each descriptor");
	assert_return_code(pipe(ends), errno);
	assert_int_equal(write(ends[1], "hello", 5), 5);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &ends[0], sizeof(int));
	client_open(f, &c);
	assert_int_equal(sendmsg(c.fd, &msg, 0), sizeof(line) - 1);
	close(ends[0]);
	close(ends[1]);
	client_wait(f, &c, "{\"data\":{\"content\":\"hello\"}}\n{\"end\":{\"exit\":0}}\n");
	client_close(&c);
}

/*
 * ---- A plugin on another lane ----
 */

static void test_other_lane(void **state)
{
	struct fixture *f = *state;
	const char *out = ask(f, "{\"argv\":[\"doctor\",\"far\"]}");

	expect_in(out, "{\"text\":\"warning  far.broken  it is broken; mend it\"}");
	expect_in(out, "{\"end\":{\"exit\":0}}");
	expect_in(ask(f, "{\"argv\":[\"status\"]}"),
		  "{\"text\":\"far:\"}\n{\"text\":\"  answer:  ");
	big_lines = 3;
	expect_in(ask(f, "{\"argv\":[\"far\",\"big\"]}"), "xxx\"}\n{\"end\":{\"exit\":0}}\n");
	expect_in(ask(f, "{\"argv\":[\"far\",\"read\",\"f\"]}"), "{\"open\":");
}

static void test_other_lane_hang_up(void **state)
{
	struct fixture *f = *state;
	uint64_t end = now_ms() + CLIENT_WAIT_MS;
	struct client c;

	client_open(f, &c);
	client_send(&c, "{\"argv\":[\"far\",\"wait\"]}\n");
	client_wait(f, &c, "waiting");
	client_close(&c);
	while (cancelled == 0) {
		assert_true(now_ms() < end);
		turn(f);
	}
}

static void test_other_lane_stops(void **state)
{
	struct fixture *f = *state;
	AUTO(auto_free) char *text = NULL;
	struct client c;

	client_open(f, &c);
	client_send(&c, "{\"argv\":[\"far\",\"wait\"]}\n");
	client_wait(f, &c, "waiting");
	assert_int_equal(wcore_engine_stop_wait(f->engine, &text), 0);
	client_wait(f, &c, "the plugin of this command was stopped");
	client_close(&c);
}

/*
 * ---- Clients that go, or do not ----
 */

static void test_hang_up_cancels(void **state)
{
	struct fixture *f = *state;
	struct client c;

	client_open(f, &c);
	client_send(&c, "{\"argv\":[\"probe\",\"wait\"]}\n");
	client_wait(f, &c, "waiting");
	assert_int_equal(cancelled, 0);
	client_close(&c);
	for (int i = 0; i < 5; i++)
		turn(f);
	assert_int_equal(cancelled, 1);
}

/* The plugin stops while a client waits for it: the client is told. */
static void test_stop_of_the_plugin(void **state)
{
	struct fixture *f = *state;
	AUTO(auto_free) char *text = NULL;
	struct client c;

	client_open(f, &c);
	client_send(&c, "{\"argv\":[\"probe\",\"wait\"]}\n");
	client_wait(f, &c, "waiting");
	assert_int_equal(wcore_engine_stop_wait(f->engine, &text), 0);
	client_wait(f, &c, "the plugin of this command was stopped");
	expect_in(ask(f, "{\"argv\":[\"probe\",\"wait\"]}"), "probe");
	client_close(&c);
}

static void test_stop_of_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct client c;

	client_open(f, &c);
	client_send(&c, "{\"argv\":[\"probe\",\"wait\"]}\n");
	client_wait(f, &c, "waiting");
	wcore_ipc_stop(f->ipc);
	f->ipc = NULL;
	client_wait(f, &c, "the daemon is stopping");
	assert_int_equal(cancelled, 1);
	client_close(&c);
}

/* A large answer arrives whole at a client that takes its time. */
static void test_slow_reader(void **state)
{
	struct fixture *f = *state;
	struct client c;
	uint64_t end = now_ms() + CLIENT_WAIT_MS;
	size_t total = 0, tail = 0;
	char buf[4096];

	big_lines = 500;			/* 5 MB */
	client_open(f, &c);
	client_send(&c, "{\"argv\":[\"probe\",\"big\"]}\n");
	for (int i = 0; i < 20; i++)
		turn(f);
	while (!memmem(buf, tail, "\"end\"", 5)) {
		ssize_t n = recv(c.fd, buf, sizeof(buf), MSG_DONTWAIT);

		assert_true(now_ms() < end);
		tail = n > 0 ? (size_t)n : 0;
		total += tail;
		if (n == -1)
			turn(f);
		assert_int_not_equal(n, 0);
	}
	assert_true(total > 500 * 10000);
	client_close(&c);
}

/* A client that does not read costs no more than its queue, and is dropped. */
static void test_queue_too_long(void **state)
{
	struct fixture *f = *state;
	struct client c;

	big_lines = 3000;			/* 30 MB */
	client_open(f, &c);
	client_send(&c, "{\"argv\":[\"probe\",\"big\"]}\n");
	for (int i = 0; i < 5; i++)
		turn(f);
	client_wait(f, &c, NULL);
	assert_null(strstr(str_text(&c.in), "\"end\""));
	client_close(&c);
	expect_in(ask(f, "{\"argv\":[\"version\"]}"), "warrend");
}

/*
 * ---- Bad clients ----
 */

static void test_nonsense(void **state)
{
	static const char *const lines[] = {
		"nonsense\n", "{}\n", "\n", "GET / HTTP/1.0\r\n", "{\"argv\":[1]}\n",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct client c;

		client_open(f, &c);
		client_send(&c, lines[i]);
		expect_in(client_wait(f, &c, NULL), "{\"end\":{\"exit\":2,\"error\":\"warren: ");
		client_close(&c);
	}
}

static void test_too_long(void **state)
{
	static char bytes[70000];
	struct fixture *f = *state;
	struct client c;

	memset(bytes, ' ', sizeof(bytes) - 1);
	client_open(f, &c);
	for (size_t at = 0; at < sizeof(bytes) - 1; at += 10000) {
		/* It may be dropped before all of it is written. */
		if (send(c.fd, bytes, 10000, MSG_NOSIGNAL) == -1)
			break;
		turn(f);
	}
	expect_in(client_wait(f, &c, NULL), "longer than 64 KiB");
	client_close(&c);
}

static void test_too_many_descriptors(void **state)
{
	enum { N = 20 };
	struct fixture *f = *state;
	union {
		char bytes[CMSG_SPACE(N * sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov = { (char[]){ ' ' }, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	struct client c;
	int ends[2], fds[N];
	char byte;

	assert_return_code(pipe(ends), errno);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fds));
	for (int i = 0; i < N; i++)
		fds[i] = ends[1];
	memcpy(CMSG_DATA(cmsg), fds, sizeof(fds));
	client_open(f, &c);
	assert_int_equal(sendmsg(c.fd, &msg, 0), 1);
	close(ends[1]);
	client_wait(f, &c, NULL);
	/* Every copy was closed. */
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
	client_close(&c);
}

/*
 * ---- Other users ----
 */

/* Runs as @uid in a child: connects @count times and prints what comes to @line on each. */
static pid_t spawn_as(struct fixture *f, uid_t uid, unsigned count, const char *line, int out)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (setgroups(0, NULL) == -1 || setresgid(uid, uid, uid) == -1 ||
	    setresuid(uid, uid, uid) == -1)
		_exit(99);
	for (unsigned i = 0; i < count; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		char buf[4096];
		ssize_t n;

		if (connect(fd, (struct sockaddr *)&f->address, sizeof(f->address)) == -1)
			_exit(98);
		if (!line)
			continue;	/* stays connected and silent */
		if (send(fd, line, strlen(line), MSG_NOSIGNAL) == -1)
			_exit(97);
		n = recv(fd, buf, sizeof(buf), 0);
		if (n > 0 && write(out, buf, (size_t)n) != n)
			_exit(96);
		close(fd);
	}
	if (!line) {
		int last = socket(AF_UNIX, SOCK_STREAM, 0);
		char buf[4096];
		ssize_t n;

		if (connect(last, (struct sockaddr *)&f->address, sizeof(f->address)) == -1)
			_exit(98);
		n = recv(last, buf, sizeof(buf), 0);
		if (n > 0 && write(out, buf, (size_t)n) != n)
			_exit(96);
	}
	_exit(0);
}

static const char *ask_as(struct fixture *f, uid_t uid, unsigned count, const char *line)
{
	static char answer[65536];
	uint64_t end = now_ms() + CLIENT_WAIT_MS;
	int ends[2], status = 0;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	assert_return_code(pipe2(ends, O_CLOEXEC | O_NONBLOCK), errno);
	pid = spawn_as(f, uid, count, line, ends[1]);
	close(ends[1]);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		assert_true(now_ms() < end);
		turn(f);
	}
	assert_int_equal(status, 0);
	while ((n = read(ends[0], answer + len, sizeof(answer) - 1 - len)) > 0)
		len += (size_t)n;
	answer[len] = '\0';
	close(ends[0]);
	for (int i = 0; i < 30; i++)
		turn(f);
	return answer;
}

static void test_scopes(void **state)
{
	static const char op[] = "{\"argv\":[\"probe\",\"operator\"]}\n";
	static const char root[] = "{\"argv\":[\"probe\",\"root\"]}\n";
	struct fixture *f = *state;

	expect_in(ask_as(f, 12345, 1, "{\"argv\":[\"version\"]}\n"), "warrend");
	expect_in(ask_as(f, 12345, 1, op), "secret");
	expect_in(ask_as(f, 12345, 1, root), "permission denied: only root may do this\"");
	expect_in(ask_as(f, 54321, 1, op),
		  "permission denied: only root and the operator may do this (node.operator: "
		  "12345)");
	expect_in(ask_as(f, 54321, 1, root), "permission denied");
	expect_in(ask(f, "{\"argv\":[\"probe\",\"root\"]}"), "secret");
}

/* Ten commands of 20 ms each: one after the other they would take 200 ms, in a tenth 1.8 s. */
static void test_share_of_a_user(void **state)
{
	struct fixture *f = *state;
	uint64_t began = now_ms(), throttled;

	ask_as(f, 54321, 10, "{\"argv\":[\"probe\",\"slow\"]}\n");
	throttled = now_ms() - began;
	assert_true(throttled >= 1800);
	began = now_ms();
	ask_as(f, 12345, 10, "{\"argv\":[\"probe\",\"slow\"]}\n");
	assert_true(now_ms() - began < throttled);
}

/* One user cannot take all places. */
static void test_places(void **state)
{
	struct fixture *f = *state;

	expect_in(ask_as(f, 54321, WCORE_IPC_CLIENTS_USER, NULL), "too many clients");
	expect_in(ask(f, "{\"argv\":[\"version\"]}"), "warrend");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, fixture_end)
	const struct CMUnitTest tests[] = {
		TEST(test_status),
		TEST(test_core_verbs),
		TEST(test_doctor),
		TEST(test_left_to_the_client),
		TEST(test_several_requests),
		TEST(test_descriptors),
		TEST(test_other_lane),
		TEST(test_other_lane_hang_up),
		TEST(test_other_lane_stops),
		TEST(test_hang_up_cancels),
		TEST(test_stop_of_the_plugin),
		TEST(test_stop_of_the_daemon),
		TEST(test_slow_reader),
		TEST(test_queue_too_long),
		TEST(test_nonsense),
		TEST(test_too_long),
		TEST(test_too_many_descriptors),
		TEST(test_scopes),
		TEST(test_share_of_a_user),
		TEST(test_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
