/*
 * Addresses that led to a name, kept in the state folder: written when a connection was made, used
 * by the next start where the resolver has no answer. Each name of this file is used by one test,
 * since the process remembers them too.
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
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/net.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/log.h"
#include "net/dial_impl.h"

#include "../unit/parts.h"

static char dir[64];
static int state_dir, warnings, listener = -1;
static uint16_t port;
static struct wcore_engine *engine;
static struct warren_ctx *ctx;

static void count(void *arg, const char *plugin, int level, const char *text)
{
	(void)arg;
	(void)plugin;
	warnings += level <= LOG_WARNING && strstr(text, "found by DNS only") != NULL;
}

static void start(void)
{
	engine = parts_engine(dup(state_dir));
	ctx = parts_ctx(engine, wcore_engine_main(engine));
}

static void stop(void)
{
	parts_jobs(engine, ctx);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
}

static int begin(void **state)
{
	static const char *const names[] = { "https_proxy", "HTTPS_PROXY", "all_proxy",
					     "ALL_PROXY" };
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(in);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
	snprintf(dir, sizeof(dir), "/tmp/warren-memory-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	state_dir = open(dir, O_RDONLY | O_DIRECTORY);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (state_dir == -1 || bind(listener, (struct sockaddr *)&in, sizeof(in)) ||
	    listen(listener, 8) || getsockname(listener, (struct sockaddr *)&in, &len))
		return -1;
	port = ntohs(in.sin_port);
	warnings = 0;
	wcore_log_sink(count, NULL);
	start();
	return 0;
}

static int finish(void **state)
{
	(void)state;
	stop();
	wcore_log_sink(NULL, NULL);
	close(listener);
	unlinkat(state_dir, "parts/addresses", 0);
	unlinkat(state_dir, "parts", AT_REMOVEDIR);
	close(state_dir);
	return rmdir(dir);
}

static void write_document(const char *text)
{
	int fd;

	if (mkdirat(state_dir, "parts", 0700))
		assert_int_equal(errno, EEXIST);
	fd = openat(state_dir, "parts/addresses", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd != -1);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* For free(); NULL: there is none. */
static char *document(void)
{
	void *data = NULL;
	size_t len;

	parts_jobs(engine, ctx);
	return file_read_at(state_dir, "parts/addresses", 1 << 20, &data, &len) ? NULL : data;
}

static void remember(void)
{
	struct warren_err err = ERR_INIT;

	ctx->phase = WCORE_PHASE_START;
	if (warren_dial_remember(ctx, &err))
		fail_msg("%s", err_first(&err));
	ctx->phase = WCORE_PHASE_UP;
}

struct outcome {
	volatile bool done;
	bool reached;
};

static void dialled(struct warren_ctx *where, struct warren_stream *stream, const char *why,
		    void *arg)
{
	struct outcome *outcome = arg;

	(void)where;
	(void)why;
	outcome->reached = stream != NULL;
	outcome->done = true;
	warren_stream_close(stream);
}

static bool reach(const char *name)
{
	const struct warren_dial_options options = {
		.size = sizeof(options), .name = name, .port = port,
	};
	struct outcome outcome = { .done = false };

	assert_non_null(warren_dial(ctx, &options, dialled, &outcome));
	assert_true(parts_until(engine, &outcome.done));
	return outcome.reached;
}

static void test_written_when_reached(void **state)
{
	const struct warren_addr nobody = { .family = 4, .bytes = { 127, 9, 9, 9 } };
	AUTO(auto_free) char *text = NULL;

	(void)state;
	remember();
	assert_false(reach("unknown.invalid"));
	dial_cache_put("refuses.invalid", &nobody, 1);
	assert_false(reach("refuses.invalid"));
	assert_true(reach("127.0.0.1"));	/* no name */
	assert_null(document());

	assert_true(reach("localhost"));
	text = document();
	assert_non_null(text);
	assert_non_null(strstr(text, "\"name\":\"localhost\""));
	assert_non_null(strstr(text, "\"127.0.0.1\""));
	assert_null(strstr(text, "invalid"));
}

static void test_used_after_a_start(void **state)
{
	AUTO(auto_free) char *text = NULL;

	(void)state;
	assert_false(reach("kept.invalid"));
	write_document("{\"format\":1}\n{\"names\":[{\"name\":\"kept.invalid\",\"addresses\":"
		       "[\"127.0.0.1\",\"2001:db8::1\"]}]}");
	remember();
	assert_true(reach("KEPT.invalid"));
	/* A connection with what is known already writes nothing. */
	assert_int_equal(unlinkat(state_dir, "parts/addresses", 0), 0);
	assert_true(reach("kept.invalid"));
	assert_null(document());
	stop();

	/* A context without it leaves the folder alone. */
	start();
	assert_true(reach("localhost"));
	text = document();
	assert_null(text);
}

static void test_bounds(void **state)
{
	AUTO(auto_free) char *text = NULL;
	const struct warren_addr here = { .family = 4, .bytes = { 127, 0, 0, 1 } };
	char name[32];

	(void)state;
	remember();
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "b%d.invalid", i);
		dial_memory_put(ctx, name, &here, 1);
	}
	text = document();
	assert_non_null(text);
	assert_non_null(strstr(text, "\"b19.invalid\""));
	assert_non_null(strstr(text, "\"b4.invalid\""));
	assert_null(strstr(text, "\"b3.invalid\""));
}

static void test_bad_documents(void **state)
{
	static const char *const damaged[] = {
		"{\"format\":1}\n", "{\"format\":1}\n[]", "{\"format\":1}\n{\"names\":{}}",
		"{\"format\":1}\n{\"names\":[{\"name\":\"d.invalid\"}]}",
		"{\"format\":1}\n{\"names\":[{\"name\":\"d.invalid\",\"addresses\":[\"x\"]}]}",
		"{\"format\":1}\n{\"names\":[{\"name\":\"\",\"addresses\":[\"127.0.0.1\"]}]}",
		"{\"format\":1}\n{\"names\":[{\"name\":7,\"addresses\":[\"127.0.0.1\"]}]}",
		"{\"format\":2}\n{\"names\":[]}", "", "no header",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(damaged); i++) {
		write_document(damaged[i]);
		remember();
		assert_int_equal(warnings, i + 1);
		assert_false(reach("d.invalid"));
		stop();
		start();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_written_when_reached, begin, finish),
		cmocka_unit_test_setup_teardown(test_used_after_a_start, begin, finish),
		cmocka_unit_test_setup_teardown(test_bounds, begin, finish),
		cmocka_unit_test_setup_teardown(test_bad_documents, begin, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
