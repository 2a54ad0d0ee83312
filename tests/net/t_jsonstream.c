/*
 * JSON in pieces: what is told, that it does not depend on where the bytes are cut, and each limit
 * with its sentence.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <warren/net.h>

#include "base/err.h"
#include "base/str.h"

static const char *const split[] = { "Peers", "PacketFilters", "Deep", NULL };
static const char *const deep[] = { "Deep", NULL };

/* "Peers<0>" element of an array, "Peers.name" of an object, with its text. */
static int record(void *arg, const struct warren_json_piece *piece)
{
	static const char kinds[] = "?=<-<[*]";
	struct str *out = arg;

	assert_true(piece->size >= sizeof(*piece));
	switch (piece->kind) {
	case WARREN_JSON_BEGIN:
		str_addf(out, "%s begins %.*s;", piece->key, (int)piece->len, piece->text);
		return 0;
	case WARREN_JSON_END:
		str_addf(out, "%s ends %.*s;", piece->key, (int)piece->len, piece->text);
		return 0;
	case WARREN_JSON_MEMBER:
	case WARREN_JSON_ELEMENT:
	case WARREN_JSON_LIST:
	case WARREN_JSON_ITEM:
	case WARREN_JSON_LIST_END:
		break;
	}
	str_addf(out, "%s%s%s%c%.*s;", piece->key, piece->name ? "." : "",
		 piece->name ? piece->name : "", kinds[piece->kind], (int)piece->len, piece->text);
	return 0;
}

static int parse(const struct warren_json_options *options, const char *text, size_t portion,
		 struct str *out, struct warren_err *err)
{
	struct warren_json *json = warren_json_new(options, record, out);
	size_t len = strlen(text);
	int result = 0;

	assert_non_null(json);
	for (size_t i = 0; result == 0 && i < len; i += portion) {
		size_t n = len - i < portion ? len - i : portion;
		char *copy = malloc(n);	/* so that a sanitizer sees a read beyond it */

		assert_non_null(copy);
		memcpy(copy, text + i, n);
		result = warren_json_feed(json, copy, n, err);
		free(copy);
	}
	if (result == 0)
		result = warren_json_finish(json, err);
	else
		assert_int_equal(warren_json_feed(json, "{", 1, NULL), -EBADMSG);
	warren_json_free(json);
	return result;
}

static void gives(const char *text, const char *want)
{
	struct warren_json_options options = { .size = sizeof(options), .split = split,
						.deep = deep };
	struct warren_err err = ERR_INIT;

	for (size_t portion = 1; portion <= strlen(text); portion++) {
		struct str out = STR_INIT;

		if (parse(&options, text, portion, &out, &err))
			fail_msg("%s, portion %zu: %s", text, portion, err_first(&err));
		assert_string_equal(str_text(&out), want);
		str_free(&out);
	}
}

static void pieces(void **state)
{
	(void)state;
	gives("{}", "");
	gives(" { } \n", "");
	gives("{\"KeepAlive\":true}", "KeepAlive=true;");
	gives("{\"A\" : -1.5E+3 , \"B\":null,\"C\":\"x,]}\\\"\\\\\",\"D\":[1,{\"e\":\"]\"}], "
	      "\"E\":{}\t}",
	      "A=-1.5E+3;B=null;C=\"x,]}\\\"\\\\\";D=[1,{\"e\":\"]\"}];E={};");
}

static void split_members(void **state)
{
	(void)state;
	gives("{\"Peers\":[]}", "Peers begins [;Peers ends ];");
	gives("{\"Peers\":null}", "Peers=null;");
	gives("{\"Peers\":[ {\"ID\":1} ,2,\"x\", [ [] ] ],\"Node\":{\"Peers\":[1]}}",
	      "Peers begins [;Peers-{\"ID\":1};Peers-2;Peers-\"x\";Peers-[ [] ];Peers ends ];"
	      "Node={\"Peers\":[1]};");
	gives("{\"PacketFilters\":{\"*\":null,\"a\\u0062\\\"\":[{}]},\"X\":0}",
	      "PacketFilters begins {;PacketFilters.*-null;PacketFilters.ab\"-[{}];"
	      "PacketFilters ends };X=0;");
	gives("{\"PacketFilters\":{ }}", "PacketFilters begins {;PacketFilters ends };");
	/* Another spelling of the same name is the same name. */
	gives("{\"Pe\\u0065rs\":[7]}", "Peers begins [;Peers-7;Peers ends ];");
}

static void split_lists_in_members(void **state)
{
	(void)state;
	gives("{\"Deep\":{}}", "Deep begins {;Deep ends };");
	gives("{\"Deep\":{ \"a\" : [ ] ,\"b\":[{\"x\":[1]}, 2 ],\"c\":null,\"d\":{\"e\":[3]}}}",
	      "Deep begins {;Deep.a[[;Deep.a]];Deep.b[[;Deep.b*{\"x\":[1]};Deep.b*2;Deep.b]];"
	      "Deep.c-null;Deep.d-{\"e\":[3]};Deep ends };");
	/* A list is no object with lists. */
	gives("{\"Deep\":[[1],2]}", "Deep begins [;Deep-[1];Deep-2;Deep ends ];");
	gives("{\"Other\":{\"a\":[1]}}", "Other={\"a\":[1]};");
}

static void fails(const struct warren_json_options *options, const char *text, int result,
		  const char *why)
{
	for (size_t portion = 1; portion <= strlen(text) + 1; portion++) {
		struct warren_err err = ERR_INIT;
		struct str out = STR_INIT;

		assert_int_equal(parse(options, text, portion, &out, &err), result);
		if (!strstr(err_first(&err), why))
			fail_msg("%s, portion %zu: %s", text, portion, err_first(&err));
		err_free(&err);
		str_free(&out);
	}
}

static void malformed(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "", "byte 0 of the JSON document: the document ends here" },
		{ "[1]", "byte 0 of the JSON document: it does not begin with \"{\"" },
		{ "{\"a\":1", "ends here" },
		{ "{\"a\":[1", "ends here" },
		{ "{\"a\":\"x", "ends here" },
		{ "{\"Peers\":[1,", "ends here" },
		{ "{\"a\":1}}", "byte 7 of the JSON document: something follows" },
		{ "{\"a\":1,}", "byte 7 of the JSON document: a name in quotes is missing" },
		{ "{a:1}", "a name in quotes is missing" },
		{ "{\"a\" 1}", "a \":\" is missing" },
		{ "{\"a\":}", "no value begins so" },
		{ "{\"a\":1 2}", "a \",\" or the closing bracket is missing" },
		{ "{\"a\":1\"b,\"c\":2}", "a character too much" },
		{ "{\"a\":[1}}", "byte 7 of the JSON document: the closing bracket does not" },
		{ "{\"a\":{\"b\":1]}", "the closing bracket does not match" },
		{ "{\"Peers\":[1}", "a \",\" or the closing bracket is missing" },
		{ "{\"Peers\":[,1]}", "no value begins so" },
		{ "{\"Peers\":[1,]}", "no value begins so" },
		{ "{\"PacketFilters\":{\"a\":1,}}", "a name in quotes is missing" },
		{ "{\"Deep\":{\"a\":[1}}", "a \",\" or the closing bracket is missing" },
		{ "{\"Deep\":{\"a\":[1]]", "a \",\" or the closing bracket is missing" },
		{ "{\"Deep\":{\"a\":[1,]}}", "no value begins so" },
		{ "{\"Deep\":{\"a\":[1", "ends here" },
		{ "{\"a\\x\":1}", "the name before it is no valid string" },
		{ "{\"a\\u0000\":1}", "the name before it is no valid string" },
		{ "{\"\xff\":1}", "the name before it is no valid string" },
		{ "{\"a\":1,\"b\":2,\"\\u0061\":3}", "a key comes twice" },
	};
	struct warren_json_options options = { .size = sizeof(options), .split = split,
						.deep = deep };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		fails(&options, cases[i].text, -EBADMSG, cases[i].why);
}

static void limits(void **state)
{
	struct warren_json_options o = {
		.size = sizeof(o), .split = split, .piece_max = 20, .total_max = 100,
		.depth_max = 3, .keys_max = 2, .elements_max = 3,
	};
	char text[300];

	(void)state;
	gives("{\"a\":[[[]]]}", "a=[[[]]];");
	fails(&o, "{\"a\":[[[[]]]]}", -EMSGSIZE, "brackets in brackets, more than 3");
	fails(&o, "{\"a\":1,\"b\":2,\"c\":3}", -EMSGSIZE, "more members than 2");
	fails(&o, "{\"Peers\":[1,2,3,4]}", -EMSGSIZE, "more elements than 3");
	fails(&o, "{\"a\":\"1234567890123456789\"}", -EMSGSIZE, "one value is longer than 20");
	fails(&o, "{\"a\":123456789012345678901}", -EMSGSIZE, "one value is longer than 20");
	snprintf(text, sizeof(text), "{\"a\":1%90s}", "");
	fails(&o, text, 0, "");
	snprintf(text, sizeof(text), "{\"a\":1%94s}", "");
	fails(&o, text, -EMSGSIZE, "the document is longer than 100");
	o.piece_max = o.total_max = 0;
	snprintf(text, sizeof(text), "{\"%0260d\":1}", 0);
	fails(&o, text, -EMSGSIZE, "a name longer than 256");
}

static int stop_at_two(void *arg, const struct warren_json_piece *piece)
{
	(void)arg;
	return piece->len == 1 && piece->text[0] == '2' ? WARREN_PENDING : 0;
}

static void callback_ends_it(void **state)
{
	struct warren_json_options options = { .size = sizeof(options), .split = split };
	struct warren_json *json = warren_json_new(&options, stop_at_two, NULL);
	static const char text[] = "{\"Peers\":[1,2,3]}";

	(void)state;
	assert_int_equal(warren_json_feed(json, text, sizeof(text) - 1, NULL), WARREN_PENDING);
	assert_int_equal(warren_json_feed(json, " ", 1, NULL), -EBADMSG);
	assert_int_equal(warren_json_finish(json, NULL), -EBADMSG);
	warren_json_free(json);
	warren_json_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces),
		cmocka_unit_test(split_members),
		cmocka_unit_test(split_lists_in_members),
		cmocka_unit_test(malformed),
		cmocka_unit_test(limits),
		cmocka_unit_test(callback_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
