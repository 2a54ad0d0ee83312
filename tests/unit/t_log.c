/*
 * The log: levels, forms of a line, limits. Lines are read from a pipe that stands for standard
 * error.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/log.h"
#include "engine/loop.h"

static int pipe_in, real_stderr;
static char got[200000];

static int begin(void **state)
{
	int fds[2];

	(void)state;
	if (pipe2(fds, O_CLOEXEC) == -1 || fcntl(fds[0], F_SETFL, O_NONBLOCK) == -1)
		return -1;
	pipe_in = fds[0];
	real_stderr = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	/* 2026-01-02 03:04:05.678 UTC */
	wcore_clock_set_fake(50000000, INT64_C(1767323045678000));
	return wcore_log_open(WCORE_LOG_STDERR, WCORE_LOG_TEXT, NULL);
}

static int end(void **state)
{
	(void)state;
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	close(pipe_in);
	wcore_clock_set_fake(0, 0);
	wcore_log_level_set(NULL, LOG_NOTICE);
	return wcore_log_open(WCORE_LOG_STDERR, WCORE_LOG_TEXT, NULL);
}

static const char *lines(void)
{
	ssize_t n, at = 0;

	while ((n = read(pipe_in, got + at, sizeof(got) - 1 - (size_t)at)) > 0)
		at += n;
	got[at] = '\0';
	return got;
}

static void levels_are_per_plugin(void **state)
{
	(void)state;
	wcore_log_as("a", LOG_INFO, "not yet");
	assert_int_equal(wcore_log_level_set("a", LOG_DEBUG), 0);
	wcore_log_as("a", LOG_DEBUG, "now");
	wcore_log_as("b", LOG_INFO, "not b");
	assert_string_equal(lines(), "2026-01-02T03:04:05.678Z debug a: now\n");
	assert_int_equal(wcore_log_level_set(NULL, LOG_ERR), 0);
	assert_int_equal(wcore_log_level("a"), LOG_DEBUG);
	assert_int_equal(wcore_log_level("b"), LOG_ERR);
	assert_int_equal(wcore_log_level_set("a", -1), 0);
	assert_int_equal(wcore_log_level("a"), LOG_ERR);
	assert_int_equal(wcore_log_level_parse("warning"), LOG_WARNING);
	assert_int_equal(wcore_log_level_parse("loud"), -1);
	assert_string_equal(wcore_log_level_name(LOG_INFO), "info");
}

static void control_characters_cannot_forge_lines(void **state)
{
	(void)state;
	wcore_log(LOG_ERR, "name \"%s\"", "x\n2026 error core: forged\x1b[31m");
	assert_null(strchr(strchr(lines(), '\n') + 1, '\n'));
	assert_null(strchr(got, '\x1b'));
	assert_int_equal(wcore_log_open(WCORE_LOG_STDERR, WCORE_LOG_JSON, NULL), 0);
	wcore_log_as("wg", LOG_WARNING, "a \"b\"\n\xff");
	assert_string_equal(lines(), "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"warning\","
			    "\"plugin\":\"wg\",\"message\":\"a \\\"b\\\"\\n\\ufffd\"}\n");
}

static void long_lines_are_cut(void **state)
{
	char text[3000];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	wcore_log(LOG_ERR, "%s", text);
	assert_true(strlen(lines()) < WCORE_LOG_LINE + 100);
	assert_non_null(strstr(got, "xxx...\n"));
}

static unsigned int count_lines(const char *text)
{
	unsigned int n = 0;

	while ((text = strchr(text, '\n'))) {
		text++;
		n++;
	}
	return n;
}

static void floods_are_limited_and_told(void **state)
{
	struct warren_limit bucket = { { 0 } };

	(void)state;
	for (int i = 0; i < 1000; i++)
		wcore_log_limit(&bucket, LOG_WARNING, "line %d", i);
	assert_int_equal(count_lines(lines()), 5);
	wcore_clock_set_fake(59000000, 1);
	wcore_log_limit(&bucket, LOG_WARNING, "too soon");
	assert_string_equal(lines(), "");
	wcore_clock_set_fake(60000000, INT64_C(1767323045678000));
	wcore_log_limit(&bucket, LOG_WARNING, "later");
	assert_string_equal(lines(), "2026-01-02T03:04:05.678Z warning core: later (996 more like "
			    "this were not logged)\n");
	wcore_log_limit(&bucket, LOG_WARNING, "again");
	assert_int_equal(count_lines(lines()), 1);
}

static void full_pipe_blocks_nobody(void **state)
{
	char text[900];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < 500; i++)
		wcore_log(LOG_ERR, "%s", text);
	assert_true(count_lines(lines()) < 100);
	wcore_log(LOG_ERR, "again");
	lines();
	assert_non_null(strstr(got, "error core: again\n"));
	assert_non_null(strstr(got, "log lines were lost: the log did not take them\n"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(levels_are_per_plugin),
		TEST(control_characters_cannot_forge_lines),
		TEST(long_lines_are_cut),
		TEST(floods_are_limited_and_told),
		TEST(full_pipe_blocks_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
