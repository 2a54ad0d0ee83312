/*
 * The engine's end of the conversation, with the test as the monitor: requests and answers, calls
 * that wait, descriptors of contexts that ended, reloads, a monitor that is slow, wrong or gone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/engine_impl.h"
#include "engine/lane.h"
#include "engine/plugin_load.h"
#include "engine/priv_client.h"
#include "priv/channel.h"

struct bench {
	struct wcore_engine *engine;
	struct wcore_priv *priv;
	struct warren_ctx *ctx;
	int monitor;
	_Alignas(16) uint8_t buf[WPRIV_MSG_MAX];
	/* What happened. */
	uint32_t reloads, stops, losts, answers, changes;
	uint64_t generation;
	char source[256];
	struct warren_priv_answer answer;
	char error[256], done[256];
	int done_result;
	uint32_t dones;
};

static struct bench *bench_of(struct wcore_engine *engine)
{
	return warren_self(wcore_engine_ctx(engine));
}

static void on_reload(struct wcore_engine *engine, struct wcore_priv_files *files)
{
	struct bench *b = bench_of(engine);

	b->reloads++;
	b->generation = files->generation;
	str_copy(b->source, sizeof(b->source), files->count ? files->sources[0].name : "");
}

static void on_stop(struct wcore_engine *engine)
{
	bench_of(engine)->stops++;
}

static void on_lost(struct wcore_engine *engine)
{
	bench_of(engine)->losts++;
}

static const struct wcore_priv_handlers handlers = { on_reload, on_stop, on_lost };

static void tell(struct bench *b, uint32_t type, uint32_t seq, int32_t result, const void *data,
		 size_t len, const int *fds, size_t n_fds)
{
	const struct wpriv_head head = { .type = type, .seq = seq, .result = result };
	const struct wpriv_part part = { data, len };

	assert_int_equal(wpriv_send(b->monitor, &head, &part, 1, fds, n_fds), 0);
}

static void hear(struct bench *b, struct wpriv_msg *msg, uint32_t type)
{
	do {
		assert_int_equal(wpriv_recv(b->monitor, b->buf, msg), 1);
	} while (msg->head.type == WPRIV_HEARTBEAT_MSG);
	assert_int_equal(msg->head.type, type);
}

static void turn(struct bench *b)
{
	wcore_lane_turn(wcore_engine_main(b->engine), false);
	wcore_lane_turn(wcore_engine_main(b->engine), false);
}

static size_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void greet(struct bench *b)
{
	struct {
		struct wpriv_hello hello;
		struct wpriv_file file;
	} first = {
		.hello = { .version = WPRIV_VERSION, .generation = 4, .files = 1,
			   .log_level = UINT32_MAX, .state = "/state/engine", .config = "/c.yaml" },
		.file = { .kind = WPRIV_FILE_MAIN, .name = "/c.yaml" },
	};
	int fds[] = { STDIN_FILENO, wpriv_memfd("test", "a: 1\n", 5) };

	assert_true(fds[1] >= 0);
	tell(b, WPRIV_HELLO, 0, 0, &first, sizeof(first), fds, 2);
	close(fds[1]);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	b->engine = wcore_engine_new(&(struct wcore_engine_options){ .state_dir = -1 }, NULL);
	assert_non_null(b->engine);
	b->ctx = wcore_engine_ctx(b->engine);
	warren_self_set(b->ctx, b);
	b->monitor = pair[0];
	greet(b);
	b->priv = wcore_priv_attach(b->engine, pair[1], &handlers, NULL);
	assert_non_null(b->priv);
	assert_int_equal(wcore_priv_start(b->priv), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	wcore_priv_free(b->priv);
	wcore_engine_free(b->engine);
	close(b->monitor);
	free(b);
	return 0;
}

/*
 * ---- First message ----
 */

static void test_settings(void **state)
{
	struct bench *b = *state;
	const struct wcore_priv_settings *settings = wcore_priv_settings(b->priv);
	struct wcore_priv_files files;
	int control = wcore_priv_take_control(b->priv);

	assert_true(settings->privsep);
	assert_int_equal(settings->log_level, -1);
	assert_null(settings->log_format);
	assert_string_equal(settings->state, "/state/engine");
	assert_true(control >= 0);
	close(control);
	assert_int_equal(wcore_priv_take_control(b->priv), -1);
	wcore_priv_take_files(b->priv, &files);
	assert_int_equal(files.generation, 4);
	assert_int_equal(files.count, 1);
	assert_string_equal(files.sources[0].name, "/c.yaml");
	wcore_priv_files_free(&files);
}

static void test_no_monitor(void **state)
{
	static const uint8_t nonsense[64];
	struct bench *b = *state;
	AUTO(err_free) struct warren_err err = ERR_INIT;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(send(pair[0], nonsense, sizeof(nonsense), 0), sizeof(nonsense));
	assert_null(wcore_priv_attach(b->engine, pair[1], &handlers, &err));
	assert_non_null(strstr(err_first(&err), "started by warrend"));
	close(pair[0]);
}

/*
 * ---- Requests ----
 */

static const struct warren_priv_sysctl sysctl = { WARREN_SYSCTL_IP4_FORWARD, 1, "" };

static void on_answer(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct bench *b = arg;

	assert_ptr_equal(ctx, b->ctx);
	b->answers++;
	b->answer = *answer;
	str_copy(b->error, sizeof(b->error), answer->error ? answer->error : "");
}

static void reply(struct bench *b, uint32_t seq, int32_t result, const char *text, const int *fds,
		  size_t n_fds)
{
	struct wpriv_answer answer = { .value = 77, .handle = 5, .text = (uint32_t)strlen(text) };
	AUTO(str_free) struct str all = STR_INIT;

	str_addn(&all, (const char *)&answer, sizeof(answer));
	str_add(&all, text);
	tell(b, WPRIV_ANSWER, seq, result, all.s, all.len, fds, n_fds);
}

static void test_answer_comes_later(void **state)
{
	struct bench *b = *state;
	struct wpriv_request request;
	struct wpriv_msg msg;
	int null = STDIN_FILENO;

	assert_int_equal(warren_priv(b->ctx, WARREN_OP_SYSCTL, &sysctl, sizeof(sysctl), on_answer,
				     b), 0);
	hear(b, &msg, WPRIV_REQUEST);
	memcpy(&request, msg.data, sizeof(request));
	assert_int_equal(request.op, WARREN_OP_SYSCTL);
	assert_int_equal(request.generation, 4);
	assert_string_equal(request.owner, "core");
	assert_memory_equal(msg.data + sizeof(request), &sysctl, sizeof(sysctl));
	reply(b, msg.head.seq, 0, "", &null, 1);
	assert_int_equal(b->answers, 0);
	turn(b);
	assert_int_equal(b->answers, 1);
	assert_int_equal(b->answer.value, 77);
	assert_int_equal(b->answer.handle, 5);
	assert_int_equal(b->answer.count, 1);
	assert_int_equal(b->answer.fds[1], -1);
	close(b->answer.fds[0]);
	/* A second answer for it is for nobody. */
	reply(b, msg.head.seq, 0, "", &null, 1);
	turn(b);
	assert_int_equal(b->answers, 1);
}

static void test_wrong_requests_are_not_sent(void **state)
{
	struct bench *b = *state;
	struct wpriv_msg msg;

	assert_int_equal(warren_priv(b->ctx, WARREN_OP_SYSCTL, &sysctl, 7, on_answer, b), -EINVAL);
	assert_int_equal(warren_priv(b->ctx, WARREN_OP_SYSCTL, &sysctl, 0, on_answer, b), -EINVAL);
	assert_int_equal(warren_priv(b->ctx, 0, &sysctl, 24, on_answer, b), -EINVAL);
	assert_int_equal(wpriv_recv(b->monitor, b->buf, &msg), -EAGAIN);
}

static void test_malformed_answer_is_an_error(void **state)
{
	struct bench *b = *state;
	struct wpriv_answer answer = { .data = 1000 };
	struct wpriv_msg msg;

	for (uint32_t n = 1; n <= 2; n++) {
		assert_int_equal(warren_priv(b->ctx, WARREN_OP_SYSCTL, &sysctl, sizeof(sysctl),
					     on_answer, b), 0);
		hear(b, &msg, WPRIV_REQUEST);
		tell(b, WPRIV_ANSWER, msg.head.seq, 0, &answer, n == 1 ? 3 : sizeof(answer), NULL,
		     0);
		turn(b);
		assert_int_equal(b->answers, n);
		assert_int_equal(b->answer.result, -EPROTO);
	}
}

static void test_descriptors_of_an_ended_context_are_closed(void **state)
{
	struct bench *b = *state;
	static const struct wcore_plugin plugin = {
		.desc = { .name = "x", .privops = WARREN_PRIVOP(SYSCTL) },
	};
	struct warren_ctx *ctx = wcore_engine_ctx_new(b->engine, wcore_engine_main(b->engine),
						      &plugin);
	struct wpriv_msg msg;
	int fds[] = { STDIN_FILENO, STDIN_FILENO };
	size_t before;

	assert_int_equal(warren_priv(ctx, WARREN_OP_ROUTE, &sysctl, sizeof(sysctl), on_answer, b),
			 -EPERM);
	assert_int_equal(warren_priv(ctx, WARREN_OP_SYSCTL, &sysctl, sizeof(sysctl), on_answer, b),
			 0);
	hear(b, &msg, WPRIV_REQUEST);
	before = open_descriptors();
	wcore_ctx_close(ctx);
	reply(b, msg.head.seq, 0, "", fds, 2);
	turn(b);
	assert_int_equal(b->answers, 0);
	assert_int_equal(open_descriptors(), before);
	hear(b, &msg, WPRIV_OWNER_END);
}

static void test_wait(void **state)
{
	struct bench *b = *state;
	struct wpriv_reload_files reload = { .generation = 5 };
	AUTO(err_free) struct warren_err err = ERR_INIT;
	struct warren_priv_answer answer;
	struct wpriv_msg msg;

	assert_int_equal(warren_priv(b->ctx, WARREN_OP_SYSCTL, &sysctl, sizeof(sysctl), on_answer,
				     b), 0);
	hear(b, &msg, WPRIV_REQUEST);
	assert_int_equal(
		warren_priv_wait(b->ctx, WARREN_OP_SYSCTL, &sysctl, sizeof(sysctl), &answer, &err),
		-EDEADLK);
	assert_non_null(strstr(err_first(&err), "outside of its start"));
	err_free(&err);
	b->ctx->waitable = true;
	/* Other things come first: they are for the loop. The next number is one more. */
	tell(b, WPRIV_RELOAD_FILES, 0, 0, &reload, sizeof(reload), NULL, 0);
	tell(b, WPRIV_STOP, 0, 0, NULL, 0, NULL, 0);
	reply(b, msg.head.seq, 0, "", NULL, 0);
	reply(b, msg.head.seq + 1, -EPERM, "port 53 does not stand there", NULL, 0);
	assert_int_equal(
		warren_priv_wait(b->ctx, WARREN_OP_SYSCTL, &sysctl, sizeof(sysctl), &answer, &err),
		-EPERM);
	assert_string_equal(err_first(&err), "port 53 does not stand there");
	assert_string_equal(answer.error, "port 53 does not stand there");
	assert_int_equal(b->answers + b->reloads + b->stops, 0);
	turn(b);
	assert_int_equal(b->answers, 1);
	assert_int_equal(b->reloads, 1);
	assert_int_equal(b->stops, 1);
}

static void test_monitor_is_gone(void **state)
{
	struct bench *b = *state;
	struct warren_priv_answer answer;

	assert_int_equal(warren_priv(b->ctx, WARREN_OP_SYSCTL, &sysctl, sizeof(sysctl), on_answer,
				     b), 0);
	shutdown(b->monitor, SHUT_RDWR);
	turn(b);
	assert_int_equal(b->losts, 1);
	assert_int_equal(b->answers, 1);
	assert_int_equal(b->answer.result, -EPIPE);
	assert_string_equal(b->error, "the monitor is gone");
	b->ctx->waitable = true;
	assert_int_equal(
		warren_priv_wait(b->ctx, WARREN_OP_SYSCTL, &sysctl, sizeof(sysctl), &answer, NULL),
		-EPIPE);
	assert_int_equal(wcore_priv_reload(b->priv, NULL, NULL), -EPIPE);
}

static void test_large_request_is_sealed(void **state)
{
	struct bench *b = *state;
	size_t size = 1000 * sizeof(struct warren_priv_route);
	struct warren_priv_route *routes = calloc(1, size), *got = malloc(size);
	struct wpriv_request request;
	struct wpriv_msg msg;

	routes[999].table = 99;
	assert_int_equal(warren_priv(b->ctx, WARREN_OP_ROUTE, routes, size, on_answer, b), 0);
	hear(b, &msg, WPRIV_REQUEST);
	assert_int_equal(msg.n_fds, 1);
	assert_int_equal(msg.head.len, sizeof(request));
	memcpy(&request, msg.data, sizeof(request));
	assert_int_equal(request.size, size);
	assert_int_equal(wpriv_memfd_read(msg.fds[0], got, size), 0);
	assert_memory_equal(got, routes, size);
	wpriv_msg_close(&msg);
	free(routes);
	free(got);
}

/* A monitor that reads late gets everything, in order. */
static void test_slow_monitor(void **state)
{
	enum { REQUESTS = 900 };
	struct warren_priv_route routes[400] = { { .verb = 0 } };
	struct bench *b = *state;
	uint32_t heard = 0;

	for (uint32_t i = 0; i < REQUESTS; i++) {
		routes[0].metric = i;
		assert_int_equal(warren_priv(b->ctx, WARREN_OP_ROUTE, routes, sizeof(routes),
					     on_answer, b), 0);
	}
	for (int turns = 0; heard < REQUESTS && turns < 10000; turns++) {
		struct warren_priv_route first;
		struct wpriv_msg msg;

		if (wpriv_recv(b->monitor, b->buf, &msg) == -EAGAIN) {
			turn(b);
			continue;
		}
		if (msg.head.type != WPRIV_REQUEST)
			continue;
		memcpy(&first, msg.data + sizeof(struct wpriv_request), sizeof(first));
		assert_int_equal(first.metric, heard);
		heard++;
	}
	assert_int_equal(heard, REQUESTS);
}

/*
 * ---- Reload ----
 */

static void on_done(int result, const char *text, void *arg)
{
	struct bench *b = arg;

	b->dones++;
	b->done_result = result;
	str_copy(b->done, sizeof(b->done), text ? text : "");
}

static void new_files(struct bench *b, uint64_t generation)
{
	const struct wpriv_reload_files reload = { .generation = generation };

	tell(b, WPRIV_RELOAD_FILES, 0, 0, &reload, sizeof(reload), NULL, 0);
	turn(b);
}

static void test_reload(void **state)
{
	struct bench *b = *state;
	struct wpriv_reload_done done;
	struct wpriv_msg msg;

	assert_int_equal(wcore_priv_reload(b->priv, on_done, b), 0);
	assert_int_equal(wcore_priv_reload(b->priv, on_done, b), 0);
	hear(b, &msg, WPRIV_RELOAD_ASK);
	assert_int_equal(wpriv_recv(b->monitor, b->buf, &msg), -EAGAIN);	/* one for both */
	new_files(b, 5);
	assert_int_equal(b->generation, 5);
	assert_int_equal(b->dones, 0);
	/* Who asks now has changed the files after they were read. */
	assert_int_equal(wcore_priv_reload(b->priv, on_done, b), 0);
	wcore_priv_reloaded(b->priv, 0, "restart router");
	assert_int_equal(b->dones, 2);
	assert_string_equal(b->done, "restart router");
	hear(b, &msg, WPRIV_RELOAD_DONE);
	memcpy(&done, msg.data, sizeof(done));
	assert_int_equal(done.generation, 5);
	assert_int_equal(msg.head.result, 0);
	hear(b, &msg, WPRIV_RELOAD_ASK);
	new_files(b, 6);
	wcore_priv_reloaded(b->priv, -EINVAL, "no");
	assert_int_equal(b->dones, 3);
	assert_int_equal(b->done_result, -EINVAL);
	hear(b, &msg, WPRIV_RELOAD_DONE);
	memcpy(&done, msg.data, sizeof(done));
	assert_int_equal(done.generation, 6);
}

/* What a command sets is on disk before the command hears that it is set. */
static void test_overlay(void **state)
{
	static const char full[] = "cannot keep it: no space";
	const struct wpriv_reload_files reload = { .generation = 7 };
	struct bench *b = *state;
	struct wpriv_msg msg;
	uint32_t seq;

	assert_int_equal(wcore_priv_overlay(b->priv, b->monitor, "a: 1", 0, on_done, b), 0);
	hear(b, &msg, WPRIV_OVERLAY);
	seq = msg.head.seq;
	wpriv_msg_close(&msg);
	tell(b, WPRIV_RELOAD_FILES, seq, 0, &reload, sizeof(reload), NULL, 0);
	turn(b);
	wcore_priv_reloaded(b->priv, 0, "reload router");
	hear(b, &msg, WPRIV_RELOAD_DONE);
	assert_int_equal(b->dones, 0);
	/* The next one waits for it. */
	assert_int_equal(wcore_priv_overlay(b->priv, b->monitor, "a: 2", 0, on_done, b), 0);
	assert_int_equal(wpriv_recv(b->monitor, b->buf, &msg), -EAGAIN);
	tell(b, WPRIV_OVERLAY_KEPT, seq, 0, NULL, 0, NULL, 0);
	turn(b);
	assert_int_equal(b->dones, 1);
	assert_int_equal(b->done_result, 0);
	assert_string_equal(b->done, "reload router");
	hear(b, &msg, WPRIV_OVERLAY);
	seq = msg.head.seq;
	wpriv_msg_close(&msg);
	tell(b, WPRIV_RELOAD_FILES, seq, 0, &reload, sizeof(reload), NULL, 0);
	turn(b);
	wcore_priv_reloaded(b->priv, 0, "reload router");
	hear(b, &msg, WPRIV_RELOAD_DONE);
	tell(b, WPRIV_OVERLAY_KEPT, seq, -ENOSPC, full, sizeof(full) - 1, NULL, 0);
	turn(b);
	assert_int_equal(b->dones, 2);
	assert_int_equal(b->done_result, -ENOSPC);
	assert_string_equal(b->done, full);
}

static void test_reload_refused_by_the_monitor(void **state)
{
	static const char text[] = "/c.yaml:3:1: nonsense";
	struct bench *b = *state;
	char message[sizeof(struct wpriv_reload_files) + sizeof(text)] = "";

	memcpy(message + sizeof(struct wpriv_reload_files), text, sizeof(text));
	assert_int_equal(wcore_priv_reload(b->priv, on_done, b), 0);
	tell(b, WPRIV_RELOAD_FILES, 0, -EINVAL, message, sizeof(message) - 1, NULL, 0);
	turn(b);
	assert_int_equal(b->reloads, 0);
	assert_int_equal(b->dones, 1);
	assert_string_equal(b->done, text);
	assert_int_equal(wcore_priv_reload(b->priv, on_done, b), 0);
	wcore_priv_reload_forget(b->priv, b);
	tell(b, WPRIV_RELOAD_FILES, 0, -EINVAL, message, sizeof(message) - 1, NULL, 0);
	turn(b);
	assert_int_equal(b->dones, 1);
}

static void test_requests_mean_the_files_in_use(void **state)
{
	struct bench *b = *state;
	struct wpriv_request request;
	struct wpriv_msg msg;
	const struct { uint64_t use, expected; } steps[] = { { 5, 5 }, { 4, 4 }, { 0, 4 } };

	new_files(b, 5);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		wcore_priv_use(b->priv, steps[i].use);
		assert_int_equal(warren_priv(b->ctx, WARREN_OP_SYSCTL, &sysctl, sizeof(sysctl),
					     on_answer, b), 0);
		hear(b, &msg, WPRIV_REQUEST);
		memcpy(&request, msg.data, sizeof(request));
		assert_int_equal(request.generation, steps[i].expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_settings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_monitor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answer_comes_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_requests_are_not_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed_answer_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors_of_an_ended_context_are_closed,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(test_monitor_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_request_is_sealed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_monitor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overlay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reload_refused_by_the_monitor, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_requests_mean_the_files_in_use, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
