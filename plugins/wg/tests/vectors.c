/* Reads the vector file with jansson; the environment's WARREN_SRCDIR says where the tree is. */
#include "vectors.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

json_t *vectors_load(void)
{
	const char *src = getenv("WARREN_SRCDIR");
	char path[4096];
	json_error_t err;
	json_t *root;

	snprintf(path, sizeof(path), "%s/plugins/wg/tests/data/wireguard-vectors.json",
		 src ? src : ".");
	root = json_load_file(path, JSON_REJECT_DUPLICATES, &err);
	if (!root)
		fail_msg("%s:%d: %s", path, err.line, err.text);
	return root;
}

json_t *vectors_at(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	if (!value)
		fail_msg("no \"%s\" in the vectors", key);
	return value;
}

uint64_t vectors_number(json_t *object, const char *key)
{
	json_t *value = vectors_at(object, key);

	assert_true(json_is_integer(value));
	return (uint64_t)json_integer_value(value);
}

size_t vectors_bytes(json_t *object, const char *key, uint8_t *out, size_t room)
{
	json_t *value = vectors_at(object, key);
	size_t len;

	assert_true(json_is_string(value));
	if (sodium_hex2bin(out, room, json_string_value(value), json_string_length(value), NULL,
			   &len, NULL) == -1 || 2 * len != json_string_length(value))
		fail_msg("\"%s\" is not hex of at most %zu bytes", key, room);
	return len;
}

void vectors_hex(json_t *object, const char *key, uint8_t *out, size_t len)
{
	assert_int_equal(vectors_bytes(object, key, out, len), len);
}
