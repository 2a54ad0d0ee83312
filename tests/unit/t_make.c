/*
 * Files that the client makes for a command: the conversation, and clients that do not keep to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/plugin.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/plugin_load.h"
#include "ipc_world.h"

static unsigned cancelled;

static void on_cancel(struct warren_reply *reply, void *arg)
{
	(void)reply;
	(void)arg;
	cancelled++;
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

static int setup(void **state)
{
	*state = fixture_new(plugins, "probe: {}\n");
	return 0;
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
		cmocka_unit_test_setup_teardown(test_files_that_the_client_makes, setup,
						fixture_end),
		cmocka_unit_test_setup_teardown(test_answers_that_are_none, setup, fixture_end),
	};

	return cmocka_run_group_tests(all, NULL, NULL);
}
