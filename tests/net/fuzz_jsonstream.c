/*
 * Fuzz target: JSON in pieces. Two cuttings of the same bytes must tell the same; and a document
 * that jansson reads as an object must be cut, with each member equal to jansson's.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <warren/net.h>

#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const split[] = { "P", "Q", NULL };
static const char *const deep[] = { "Q", NULL };

static void require(bool holds)
{
	if (!holds)
		abort();
}

struct told {
	struct str text;
	json_t *document;		/* NULL: jansson refused it */
	json_t *built;			/* the split member under way */
	json_t *list;			/* in it, the array under way; its own reference */
	uint32_t members;
};

static void compare(struct told *told, const struct warren_json_piece *piece, json_t *value)
{
	if (piece->kind == WARREN_JSON_ITEM)
		json_array_append(told->list, value);
	else if (piece->kind == WARREN_JSON_ELEMENT && piece->name)
		json_object_set(told->built, piece->name, value);
	else if (piece->kind == WARREN_JSON_ELEMENT)
		json_array_append(told->built, value);
	else
		require(json_equal(value, json_object_get(told->document, piece->key)));
}

static int tell(void *arg, const struct warren_json_piece *piece)
{
	struct told *told = arg;
	json_t *value;

	str_addf(&told->text, "%d %s %s ", piece->kind, piece->key,
		 piece->name ? piece->name : "-");
	str_addn(&told->text, piece->text, piece->len);
	if (!told->document)
		return 0;
	switch (piece->kind) {
	case WARREN_JSON_BEGIN:
		told->built = piece->text[0] == '[' ? json_array() : json_object();
		told->members++;
		return 0;
	case WARREN_JSON_END:
		require(json_equal(told->built, json_object_get(told->document, piece->key)));
		json_decref(told->built);
		told->built = NULL;
		return 0;
	case WARREN_JSON_MEMBER:
		told->members++;
		break;
	case WARREN_JSON_LIST:
		told->list = json_array();
		return 0;
	case WARREN_JSON_LIST_END:
		require(piece->name != NULL);
		json_object_set_new(told->built, piece->name, told->list);
		told->list = NULL;
		return 0;
	case WARREN_JSON_ELEMENT:
	case WARREN_JSON_ITEM:
		break;
	}
	value = json_loadb(piece->text, piece->len, JSON_DECODE_ANY, NULL);
	require(value);
	compare(told, piece, value);
	json_decref(value);
	return 0;
}

static int run(const uint8_t *data, size_t size, size_t portion, struct told *told)
{
	struct warren_json_options options = {
		.size = sizeof(options), .split = split, .deep = deep,
		.depth_max = 1000, .keys_max = 100000,
	};
	struct warren_json *json = warren_json_new(&options, tell, told);
	int result = 0;

	require(json);
	for (size_t i = 0; result == 0 && i < size; i += portion)
		result = warren_json_feed(json, data + i, size - i < portion ? size - i : portion,
					  NULL);
	if (result == 0)
		result = warren_json_finish(json, NULL);
	warren_json_free(json);
	json_decref(told->built);
	json_decref(told->list);
	told->built = told->list = NULL;
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct told one = { 0 }, two = { 0 };
	json_t *document = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	int result;

	/* jansson 2.14 swallows a NUL byte after a number; we do not. */
	if (!json_is_object(document) || memchr(data, '\0', size)) {
		json_decref(document);
		document = NULL;
	}
	one.document = document;
	result = run(data, size, size ? size : 1, &one);
	/* The one limit that jansson does not have is that of names. */
	if (document && result == 0)
		require(one.members == json_object_size(document));
	if (document && result)
		require(result == -EMSGSIZE);
	require(run(data, size, 1, &two) == result && two.text.len == one.text.len);
	require(one.text.len == 0 || memcmp(one.text.s, two.text.s, one.text.len) == 0);
	str_free(&one.text);
	str_free(&two.text);
	json_decref(document);
	return 0;
}
