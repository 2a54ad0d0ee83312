/*
 * Requests: what is read, and what is refused with which words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"
#include "engine/request.h"

static void test_whole(void **state)
{
	static const char line[] = "{\"argv\":[\"wg\",\"import\",\"\"],\"format\":\"json\","
		"\"width\":100000,\"colour\":true,\"fds\":[\"file\"]}";
	struct wcore_request request;
	struct warren_err err = ERR_INIT;

	(void)state;
	assert_int_equal(wcore_request_parse(&request, line, strlen(line), &err), 0);
	assert_int_equal(request.argc, 3);
	assert_string_equal(request.argv[1], "import");
	assert_string_equal(request.argv[2], "");
	assert_int_equal(request.n_fds, 1);
	assert_string_equal(request.fds[0], "file");
	assert_int_equal(request.flags, WCORE_REPLY_JSON | WCORE_REPLY_COLOUR);
	assert_int_equal(request.width, WCORE_REQUEST_WIDTH);
	wcore_request_free(&request);
	err_free(&err);
}

static void test_least(void **state)
{
	static const char line[] = "{\"argv\":[]}";
	struct wcore_request request;

	(void)state;
	assert_int_equal(wcore_request_parse(&request, line, strlen(line), NULL), 0);
	assert_int_equal(request.argc, 0);
	assert_int_equal(request.flags, 0);
	wcore_request_free(&request);
}

#define EIGHT "\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\","

static void test_refused(void **state)
{
	static const struct {
		const char *line, *says;
	} bad[] = {
		{ "", "a request is a line of JSON" },
		{ "{\"argv\":[]} x", "a request is a line of JSON" },
		{ "{\"argv\":[],\"argv\":[]}", "duplicate" },
		{ "[\"status\"]", "a request is a JSON object" },
		{ "{}", "a request needs \"argv\"" },
		{ "{\"argv\":\"status\"}", "\"argv\" is a list of strings" },
		{ "{\"argv\":[\"a\",1]}", "word 2 of a request's \"argv\" is no string" },
		{ "{\"argv\":[\"\\u0000\"]}", "a request is a line of JSON" },
		{ "{\"argv\":[\"\xff\"]}", "a request is a line of JSON" },
		{ "{\"argv\":[],\"format\":\"xml\"}", "\"format\" is \"text\" or \"json\"" },
		{ "{\"argv\":[],\"format\":1}", "\"format\" is \"text\" or \"json\"" },
		{ "{\"argv\":[],\"width\":-1}", "\"width\" is a number" },
		{ "{\"argv\":[],\"width\":1.5}", "\"width\" is a number" },
		{ "{\"argv\":[],\"colour\":1}", "\"colour\" is true or false" },
		{ "{\"argv\":[],\"fds\":{}}", "\"fds\" is a list" },
		{ "{\"argv\":[],\"fds\":[1]}", "entry 1 of a request's \"fds\"" },
		{ "{\"argv\":[],\"fds\":[" EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT "\"\"]}",
		  "at most 64 descriptors" },
		{ "{\"argv\":[],\"dry-run\":true}", "no member \"dry-run\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct warren_err err = ERR_INIT;
		struct wcore_request request;

		assert_true(wcore_request_parse(&request, bad[i].line, strlen(bad[i].line),
						&err) < 0);
		if (!strstr(err_first(&err), bad[i].says))
			fail_msg("%s: %s", bad[i].line, err_first(&err));
		assert_null(request.json);
		err_free(&err);
	}
}

static void test_too_many_words(void **state)
{
	struct str line = STR_INIT;
	struct warren_err err = ERR_INIT;
	struct wcore_request request;

	(void)state;
	str_add(&line, "{\"argv\":[\"\"");
	for (int i = 0; i < WCORE_REQUEST_WORDS; i++)
		str_add(&line, ",\"\"");
	str_add(&line, "]}");
	assert_true(wcore_request_parse(&request, line.s, line.len, &err) < 0);
	assert_string_equal(err_first(&err), "a request has at most 256 words, this one has 257");
	err_free(&err);
	str_free(&line);
}

static void test_deep(void **state)
{
	static char line[60000];
	struct wcore_request request;

	(void)state;
	memset(line, '[', sizeof(line));
	assert_true(wcore_request_parse(&request, line, sizeof(line), NULL) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_least),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_many_words),
		cmocka_unit_test(test_deep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
