/*
 * Names that peers may use, ranges and blocks; and who may send.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <warren/plugin.h>

#include "base/util.h"

#include "../names.h"

static const char id[] = "nXYZ11CNTRL";

static void good_names(void **state)
{
	static const char *const names[] = {
		"a", "report.pdf", "two words.txt", "..hidden", ".bashrc", "a.partial.txt",
		"f\xc3\xbc\xc3\x9f \xe2\x82\xac.txt", "\xf0\x9f\x98\x80.png", "100%.txt",
		"a'b$(x).sh",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char partial[DROP_NAME], name[DROP_NAME], from[DROP_NAME];

		assert_true(drop_name_ok(names[i], id));
		drop_partial(names[i], id, partial);
		assert_false(drop_is_whole(partial));
		assert_true(drop_partial_split(partial, name, from));
		assert_string_equal(name, names[i]);
		assert_string_equal(from, id);
	}
}

static void bad_names(void **state)
{
	static const char *const names[] = {
		"", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "c:", "x*", "\"x\"", "<x>",
		"a|b",
		" a", "a ", "a\t", "a\nb", "a\x7f", "a\x1b[31m", "\xc2\xa0x", "x\xe3\x80\x80",
		"x.partial", "x.deleted", "\xff", "a\xc3", "\xc0\xaf", "a\xe2\x80\xae.exe",
		"a\xe2\x80\x8b", "\xc2\x85", "\xee\x80\x80",
	};
	char longest[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (drop_name_ok(names[i], id))
			fail_msg("\"%s\" (%zu) is taken", names[i], i);
	/* The partial's name is what has to fit 255 bytes. */
	memset(longest, 'a', sizeof(longest));
	longest[246 - strlen(id)] = '\0';
	assert_true(drop_name_ok(longest, id));
	longest[246 - strlen(id)] = 'a';
	longest[247 - strlen(id)] = '\0';
	assert_false(drop_name_ok(longest, id));
}

static void partials_of_others(void **state)
{
	char name[DROP_NAME], from[DROP_NAME];

	(void)state;
	assert_false(drop_partial_split("movie.mkv", name, from));
	assert_false(drop_partial_split(".n1.partial", name, from));
	assert_false(drop_partial_split("x..partial", name, from));
	assert_false(drop_partial_split("x.a b.partial", name, from));
	assert_true(drop_partial_split("movie.mkv.partial", name, from));	/* of "mkv" */
	assert_true(drop_is_whole("movie.mkv"));
	assert_false(drop_is_whole("x.deleted"));
	assert_false(drop_id_ok(NULL));
	assert_false(drop_id_ok("../x"));
}

static void paths(void **state)
{
	char out[DROP_NAME];
	struct str text = STR_INIT;

	(void)state;
	assert_true(drop_path_name("/v0/put/a%20b.txt", out));
	assert_string_equal(out, "a b.txt");
	assert_true(drop_path_name("/v0/put/%C3%BC?x=1", out));
	assert_string_equal(out, "\xc3\xbc");
	assert_true(drop_path_name("/v0/put/", out));
	assert_string_equal(out, "");
	assert_true(drop_path_name("/v0/put", out));
	assert_false(drop_path_name("/v0/put/a/b", out));
	assert_false(drop_path_name("/v0/put/a%2fb", out));
	assert_false(drop_path_name("/v0/put/a%00b", out));
	assert_false(drop_path_name("/v0/put/a%", out));
	assert_false(drop_path_name("/v0/put/a%4", out));
	assert_false(drop_path_name("/v0/put/a%zz", out));
	drop_add_escaped(&text, "a b/%\xc3\xbc~");
	assert_string_equal(str_text(&text), "a%20b%2F%25%C3%BC~");
	str_free(&text);
}

static void ranges(void **state)
{
	static const char *const bad[] = {
		"", "bytes=", "bytes=-5", "bytes=1-2", "bytes=1-,3-", "bytes= 1-", "Bytes=1-",
		"bytes=1", "bytes=99999999999999999999-", "bytes=0x1-", "items=1-",
	};
	int64_t at;

	(void)state;
	assert_true(drop_range("bytes=0-", &at) && at == 0);
	assert_true(drop_range("bytes=2147483648-", &at) && at == INT64_C(2147483648));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(drop_range(bad[i], &at));
}

static void numbers(void **state)
{
	char out[DROP_NAME], longest[DROP_NAME];

	(void)state;
	assert_true(drop_numbered("a.txt", 0, out));
	assert_string_equal(out, "a.txt");
	assert_true(drop_numbered("a.tar.gz", 2, out));
	assert_string_equal(out, "a.tar (2).gz");
	assert_true(drop_numbered(".bashrc", 1, out));
	assert_string_equal(out, ".bashrc (1)");
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_false(drop_numbered(longest, 1, out));
}

static void blocks(void **state)
{
	struct drop_block block = { .size = 65536 }, back;
	struct str text = STR_INIT;
	size_t used;

	(void)state;
	memset(block.sha256, 0xab, sizeof(block.sha256));
	drop_block_format(&block, &text);
	drop_block_format(&block, &text);
	for (size_t n = 0; n < text.len / 2 - 1; n++)
		assert_int_equal(drop_block_parse(text.s, n, &back, &used), WARREN_PENDING);
	assert_int_equal(drop_block_parse(text.s, text.len, &back, &used), 0);
	assert_memory_equal(&back, &block, sizeof(block));
	assert_int_equal(drop_block_parse(text.s + used, text.len - used, &back, &used), 0);
	str_free(&text);
}

#define ZEROES "00000000000000000000000000000000" "00000000000000000000000000000000"

static void bad_blocks(void **state)
{
	static const char *const bad[] = {
		"{}", "[}", "{\"checksum\":\"ab\",\"algo\":\"sha256\",\"size\":1}",
		"{\"checksum\":\"" ZEROES "\","
		"\"algo\":\"md5\",\"size\":1}",
		"{\"checksum\":\"" ZEROES "\","
		"\"algo\":\"sha256\",\"size\":0}",
		"{\"checksum\":\"" ZEROES "\","
		"\"algo\":\"sha256\",\"size\":1048577}",
		"{\"checksum\":\"" ZEROES "\","
		"\"algo\":\"sha256\",\"size\":-1}",
	};
	struct drop_block block;
	char endless[1024];
	size_t used;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(drop_block_parse(bad[i], strlen(bad[i]), &block, &used),
				 -EBADMSG);
	memset(endless, '{', sizeof(endless));
	assert_int_equal(drop_block_parse(endless, sizeof(endless), &block, &used), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_names), cmocka_unit_test(bad_names),
		cmocka_unit_test(partials_of_others), cmocka_unit_test(paths),
		cmocka_unit_test(ranges), cmocka_unit_test(numbers), cmocka_unit_test(blocks),
		cmocka_unit_test(bad_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
