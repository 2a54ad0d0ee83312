/*
 * HuJSON: what it is, where its values are, and where it goes wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../hujson.h"

static struct arena arena;

static struct hj *parse(const char *text)
{
	struct policy_error error;
	struct hj *root = hj_parse(&arena, text, strlen(text), &error);

	if (!root)
		fail_msg("%u:%u: %s", error.line, error.column, error.text);
	return root;
}

static void refused(const char *text, size_t len, uint32_t line, uint32_t column, const char *why)
{
	struct policy_error error;

	assert_null(hj_parse(&arena, text, len, &error));
	if (error.line != line || error.column != column || !strstr(error.text, why))
		fail_msg("%u:%u: %s", error.line, error.column, error.text);
}
#define REFUSED(text, line, column, why) refused(text, sizeof(text) - 1, line, column, why)

static void comments_and_commas(void **state)
{
	const struct hj *root = parse(
		"// first\n{\n  \"a\": [1, 2,], /* in\nbetween */ \"b\": null,\n}\n"
		"// last");

	(void)state;
	assert_int_equal(root->count, 2);
	assert_int_equal(hj_get(root, "a")->count, 2);
	assert_int_equal(hj_get(root, "A")->first->next->line, 3);
	assert_int_equal(hj_get(root, "a")->first->next->column, 12);
	assert_int_equal(hj_get(root, "b")->line, 4);
	assert_int_equal(hj_get(root, "b")->key_column, 12);
	assert_null(hj_get(root, "c"));
}

static void texts(void **state)
{
	const struct hj *root = parse("[\"\\u00e9\\ud83d\\ude80\\n\\\"\", \"\\ud83dx\", "
				      "\"/*no*/\", \"caf\xc3\xa9\", 7]");

	(void)state;
	assert_string_equal(root->first->text, "\xc3\xa9\xf0\x9f\x9a\x80\n\"");
	assert_string_equal(root->first->next->text, "\xef\xbf\xbdx");
	assert_string_equal(root->first->next->next->text, "/*no*/");
	assert_int_equal(root->first->next->next->next->next->column, 57);
}

static void to_json(void **state)
{
	json_t *made = hj_json(parse("{\"a\": [1, -2.5e3, true, null, \"x\"], \"b\": {}}"));
	json_t *wanted = json_pack("{s:[i,f,b,n,s],s:{}}", "a", 1, -2500.0, 1, "x", "b");

	(void)state;
	assert_true(json_equal(made, wanted));
	json_decref(made);
	json_decref(wanted);
}

static void what_is_wrong(void **state)
{
	char deep[100];

	(void)state;
	REFUSED("", 1, 1, "the file ends where a value is expected");
	REFUSED("{\"a\" 1}", 1, 6, "a colon is expected after \"a\"");
	REFUSED("{\"a\": 1 \"b\": 2}", 1, 9, "a comma or } is expected");
	REFUSED("{\"a\": 1,\n \"a\": 2}", 2, 5, "\"a\" is there twice");
	REFUSED("[1,\n2", 2, 2, "] is missing at the end of the file");
	REFUSED("{a: 1}", 1, 2, "a name in quotes is expected");
	REFUSED("[01]", 1, 2, "a value is expected");
	REFUSED("[.5]", 1, 2, "a value is expected");
	REFUSED("[tru]", 1, 2, "a value is expected");
	REFUSED("[\"a\n\"]", 1, 2, "a string is not closed");
	REFUSED("[\"\\x\"]", 1, 4, "\\x is no escape");
	REFUSED("[\"\\u12\"]", 1, 5, "four hexadecimal digits");
	REFUSED("[\"\\u0000\"]", 1, 5, "zero character");
	REFUSED("[\"\x01\"]", 1, 3, "control character");
	REFUSED("[1] 2", 1, 5, "more behind the end");
	REFUSED("[1] /* 2", 1, 8, "a comment is not closed");
	REFUSED("[\"\xff\"]", 1, 3, "the text is not UTF-8");
	REFUSED("[1\0]", 1, 3, "the text is not UTF-8");
	memset(deep, '[', sizeof(deep));
	refused(deep, sizeof(deep), 1, 33, "nested more than 32 deep");
}

static int finish(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comments_and_commas),
		cmocka_unit_test(texts),
		cmocka_unit_test(to_json),
		cmocka_unit_test(what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, finish);
}
