/*
 * Files that the client makes for a command: the conversation, and clients that do not keep to it.
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

enum { WAIT_MS = 60000 };

static unsigned cancelled;

static void on_cancel(struct warren_reply *reply, void *arg)
{
	(void)arg;
	cancelled++;
	warren_reply_end(reply, 1, NULL);
}

/* Makes a file, writes into it, keeps it; or drops it, if it is to be called "dropped". */
static void on_kept(struct warren_reply *reply, int result, int fd, const char *name, void *arg)
{
	(void)arg;
	assert_int_equal(fd, -1);
	warren_reply_text(reply, "kept %d %s", result, name ? name : "-");
	warren_reply_end(reply, 0, NULL);
}

static void on_made(struct warren_reply *reply, int result, int fd, const char *name, void *arg)
{
	const char *wanted = arg;

	assert_null(name);
	warren_reply_text(reply, "made %d", result);
	if (result) {
		assert_int_equal(warren_reply_keep(reply, on_kept, NULL), -EINVAL);
		warren_reply_end(reply, 1, NULL);
		return;
	}
	assert_int_equal(write(fd, "hello", 5), 5);
	close(fd);
	assert_int_equal(warren_reply_make(reply, "folder", "b", WARREN_MAKE_SKIP, on_made, NULL),
			 -EBUSY);
	if (strcmp(wanted, "dropped") == 0) {
		warren_reply_drop(reply);
		warren_reply_end(reply, 0, NULL);
		return;
	}
	assert_int_equal(warren_reply_keep(reply, on_kept, NULL), 0);
}

static int run_make(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	AUTO(auto_close) int fd = warren_reply_take_fd(reply, "folder");
	static char name[32];

	(void)ctx;
	(void)err;
	assert_true(fd >= 0);
	str_copy(name, sizeof(name), warren_conf_str(args, "folder"));
	assert_int_equal(warren_reply_make(reply, "folder", "a/b", WARREN_MAKE_SKIP, on_made, name),
			 -EINVAL);
	warren_reply_on_cancel(reply, on_cancel, NULL);
	assert_int_equal(warren_reply_make(reply, "folder", name, WARREN_MAKE_RENAME, on_made,
					   name), 0);
	return WARREN_PENDING;
}

static const struct warren_option make_args[] = {
	{ .key = "folder", .type = WARREN_FD_DIR, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "A folder." },
};

static const struct warren_command commands[] = {
	{ .path = "probe make", .args = WARREN_TABLE(make_args), .brief = "Make.",
	  .run = run_make },
};

static int probe_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		       struct warren_err *err)
{
	(void)ctx;
	(void)conf;
	(void)err;
	return 0;
}

static char probe_path[] = "test";
static const struct wcore_plugin probe = {
	.desc = {
		.magic = WARREN_ABI_MAGIC, .abi_major = WARREN_ABI_MAJOR,
		.abi_minor = WARREN_ABI_MINOR, .size = sizeof(struct warren_plugin),
		.name = "probe", .version = "1.0", .license = "ISC", .brief = "For tests.",
		.commands = WARREN_TABLE(commands), .start = probe_start,
	},
	.path = probe_path,
};
static const struct wcore_plugin *const plugins[] = { &probe, NULL };

struct fixture {
	struct wcore_engine *engine;
	struct wcore_ipc *ipc;
	struct sockaddr_un address;
};

struct client {
	int fd;
	struct str in;
	bool eof;
};

static int listening(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	f->address.sun_family = AF_UNIX;
	/* Abstract, so that other users may connect and nothing is left behind. */
	snprintf(f->address.sun_path + 1, sizeof(f->address.sun_path) - 1, "warren-t_make-%d",
		 getpid());
	assert_return_code(bind(fd, (struct sockaddr *)&f->address, sizeof(f->address)), errno);
	assert_return_code(listen(fd, 128), errno);
	return fd;
}

static int setup(void **state)
{
	static const char yaml[] = "probe: {}\n";
	const struct wcore_engine_options options = { .extra = plugins, .state_dir = -1 };
	const struct wcore_conf_source source = {
		.name = "test.yaml", .bytes = yaml, .len = sizeof(yaml) - 1, .fd = -1,
	};
	struct fixture *f = calloc(1, sizeof(*f));
	struct warren_err err = ERR_INIT;
	struct wcore_config *config;
	AUTO(auto_free) char *text = NULL;

	f->engine = wcore_engine_new(&options, &err);
	assert_non_null(f->engine);
	config = wcore_config_parse(&source, 1, &err);
	assert_non_null(config);
	if (wcore_engine_apply_wait(f->engine, config, &text) < 0)
		fail_msg("%s", text);
	f->ipc = wcore_ipc_start_take(f->engine, listening(f), &err);
	assert_non_null(f->ipc);
	err_free(&err);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	AUTO(auto_free) char *text = NULL;

	wcore_ipc_stop(f->ipc);
	assert_int_equal(wcore_engine_stop_wait(f->engine, &text), 0);
	wcore_engine_free(f->engine);
	free(f);
	return 0;
}

static void turn(struct fixture *f)
{
	wcore_lane_turn(wcore_engine_main(f->engine), false);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void client_open(struct fixture *f, struct client *c)
{
	memset(c, 0, sizeof(*c));
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(connect(c->fd, (struct sockaddr *)&f->address, sizeof(f->address)),
			   errno);
	assert_return_code(fcntl(c->fd, F_SETFL, O_NONBLOCK), errno);
}

static void client_close(struct client *c)
{
	close(c->fd);
	str_free(&c->in);
}

static void client_send(struct client *c, const char *bytes)
{
	assert_int_equal(send(c->fd, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
}

static void client_read(struct client *c)
{
	char buf[65536];
	ssize_t n;

	while ((n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		str_addn(&c->in, buf, (size_t)n);
	if (n == 0 || errno != EAGAIN)
		c->eof = true;
}

/* Turns the lane until @c has seen @text, or the end. */
static const char *client_wait(struct fixture *f, struct client *c, const char *text)
{
	uint64_t end = now_ms() + WAIT_MS;

	while (!c->eof && !(text && strstr(str_text(&c->in), text))) {
		if (now_ms() > end)
			fail_msg("no \"%s\" in: %s", text ? text : "EOF", str_text(&c->in));
		turn(f);
		client_read(c);
	}
	if (text && !strstr(str_text(&c->in), text))
		fail_msg("no \"%s\" before the end in: %s", text, str_text(&c->in));
	return str_text(&c->in);
}

static const char *ask(struct fixture *f, const char *line)
{
	static char answer[65536];
	struct client c;

	client_open(f, &c);
	client_send(&c, line);
	client_send(&c, "\n");
	snprintf(answer, sizeof(answer), "%s", client_wait(f, &c, "}\n"));
	if (!strstr(answer, "\"end\"") && !strstr(answer, "\"local\"") &&
	    !strstr(answer, "\"open\""))
		snprintf(answer, sizeof(answer), "%s", client_wait(f, &c, "\"end\""));
	client_close(&c);
	for (int i = 0; i < 3; i++)
		turn(f);
	return answer;
}

static void expect_in(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in: %s", part, text);
}

static void send_with_fd(int to, const char *line, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov = { (void *)(uintptr_t)line, strlen(line) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	assert_int_equal(sendmsg(to, &msg, 0), strlen(line));
}

/* A client that has been asked to make @name. */
static void begin_make(struct fixture *f, struct client *c, const char *name)
{
	AUTO(str_free) struct str line = STR_INIT;
	AUTO(str_free) struct str asked = STR_INIT;
	int folder = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	str_addf(&line, "{\"argv\":[\"probe\",\"make\",\"%s\"],\"fds\":[\"folder\"]}\n", name);
	str_addf(&asked, "{\"make\":{\"key\":\"folder\",\"name\":\"%s\",\"how\":\"rename\"}}\n",
		 name);
	client_open(f, c);
	send_with_fd(c->fd, str_text(&line), folder);
	close(folder);
	client_wait(f, c, str_text(&asked));
}

static void test_files_that_the_client_makes(void **state)
{
	struct fixture *f = *state;
	struct client c;
	char buf[8];
	int ends[2];

	expect_in(ask(f, "{\"argv\":[\"probe\",\"make\",\"f\"]}"), "\"dir\":true}");
	assert_return_code(pipe(ends), errno);
	begin_make(f, &c, "a.txt");
	send_with_fd(c.fd, "{\"made\":true}\n", ends[1]);
	close(ends[1]);
	client_wait(f, &c, "{\"text\":\"made 0\"}\n{\"keep\":true}\n");
	assert_int_equal(read(ends[0], buf, sizeof(buf)), 5);
	assert_int_equal(read(ends[0], buf, sizeof(buf)), 0);	/* nobody holds it any more */
	client_send(&c, "{\"kept\":\"a (1).txt\"}\n");
	client_wait(f, &c, "{\"text\":\"kept 0 a (1).txt\"}\n{\"end\":{\"exit\":0}}\n");
	close(ends[0]);
	/* The connection is good for the next one: a refusal, and one that is dropped. */
	client_close(&c);
	begin_make(f, &c, "b");
	client_send(&c, "{\"failed\":17}\n");
	client_wait(f, &c, "{\"text\":\"made -17\"}\n{\"end\":{\"exit\":1}}\n");
	client_close(&c);
	assert_return_code(pipe(ends), errno);
	begin_make(f, &c, "dropped");
	send_with_fd(c.fd, "{\"made\":true}\n", ends[1]);
	client_wait(f, &c, "{\"drop\":true}\n{\"end\":{\"exit\":0}}\n");
	close(ends[0]);
	close(ends[1]);
	client_close(&c);
}

/* Each is the end of the client, and the command hears of that. */
static void test_answers_that_are_none(void **state)
{
	static const char *const bad[] = {
		"\n", "{}\n", "{\"made\":true}\n", "{\"made\":1}\n", "{\"kept\":\"a\"}\n",
		"{\"failed\":0}\n", "{\"failed\":-17}\n", "{\"failed\":17,\"made\":true}\n",
		"{\"argv\":[\"status\"]}\n", "[]\n", "{\"kept\":\"../a\"}\n",
	};
	struct fixture *f = *state;
	AUTO(str_free) struct str endless = STR_INIT;
	struct client c;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cancelled = 0;
		begin_make(f, &c, "a");
		client_send(&c, bad[i]);
		client_wait(f, &c, NULL);
		assert_int_equal(cancelled, 1);
		client_close(&c);
	}
	for (int i = 0; i < 5000; i++)
		str_addc(&endless, ' ');
	begin_make(f, &c, "a");
	client_send(&c, str_text(&endless));
	client_wait(f, &c, NULL);
	client_close(&c);
	/* A descriptor where there should be none. */
	begin_make(f, &c, "a");
	send_with_fd(c.fd, "{\"failed\":17}\n", c.fd);
	client_wait(f, &c, NULL);
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test_setup_teardown(test_files_that_the_client_makes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answers_that_are_none, setup, teardown),
	};

	return cmocka_run_group_tests(all, NULL, NULL);
}
