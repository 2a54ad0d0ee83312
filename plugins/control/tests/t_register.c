/*
 * Bodies of the register request and its answer, Retry-After, what is said of an HTTP error.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "../register.h"
#include "base/err.h"

static json_t *body_of(const struct ctl_register *request)
{
	struct str text = STR_INIT;
	json_t *o;

	ctl_register_body(request, &text);
	assert_false(text.failed);
	o = json_loads(str_text(&text), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	str_free(&text);
	return o;
}

static const char *text_at(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	assert_non_null(text);
	return text;
}

/* Fields that Go always writes are there with their zero values (section 5.1). */
static void test_body(void **state)
{
	static const char zero[] = "nodekey:0000000000000000000000000000000000000000000000000000"
				   "000000000000";
	struct ctl_register request = { .hostinfo = "{\"OS\":\"linux\"}", .auth_key = "a\"b" };
	json_t *o;

	(void)state;
	memset(request.node_key, 0x11, 32);
	o = body_of(&request);
	assert_int_equal(json_integer_value(json_object_get(o, "Version")), CTL_CAP_VERSION);
	assert_string_equal(text_at(o, "NodeKey"), "nodekey:1111111111111111111111111111111111111"
			    "111111111111111111111111111");
	assert_string_equal(text_at(o, "OldNodeKey"), zero);
	assert_string_equal(text_at(o, "Expiry"), "0001-01-01T00:00:00Z");
	assert_string_equal(text_at(o, "Followup"), "");
	assert_string_equal(text_at(json_object_get(o, "Auth"), "AuthKey"), "a\"b");
	assert_string_equal(text_at(json_object_get(o, "Hostinfo"), "OS"), "linux");
	assert_true(json_is_null(json_object_get(o, "NodeKeySignature")));
	assert_int_equal(strlen(text_at(o, "NLKey")), strlen("nlpub:") + 64);
	assert_null(json_object_get(o, "Ephemeral"));
	json_decref(o);
}

static void test_body_logout(void **state)
{
	const struct ctl_register request = { .hostinfo = "{}", .logout = true, .ephemeral = true,
					      .followup = "https://x.example/a" };
	json_t *o = body_of(&request);

	(void)state;
	assert_string_equal(text_at(o, "Expiry"), "1970-01-01T00:02:03Z");
	assert_string_equal(text_at(o, "Followup"), "https://x.example/a");
	assert_null(json_object_get(o, "Auth"));
	assert_true(json_is_true(json_object_get(o, "Ephemeral")));
	json_decref(o);
}

static int parse(const char *text, struct ctl_registered *out, char why[256])
{
	struct warren_err err = ERR_INIT;
	int result = ctl_register_parse((const uint8_t *)text, strlen(text), out, &err);

	if (why)
		str_copy(why, 256, result ? err_first(&err) : "");
	err_free(&err);
	return result;
}

static void test_answer(void **state)
{
	struct ctl_registered out;

	(void)state;
	/* As headscale and testcontrol write it: everything, zero or not. */
	assert_int_equal(parse("{\"User\":{\"ID\":9007199254740993,\"DisplayName\":\"alice\"},"
			       "\"Login\":{\"ID\":1,\"Provider\":\"oidc\",\"LoginName\":"
			       "\"alice@example.com\",\"DisplayName\":\"\"},\"NodeKeyExpired\":"
			       "false,\"MachineAuthorized\":true,\"AuthURL\":\"\","
			       "\"NodeKeySignature\":null,\"Error\":\"\",\"New\":[1]}\n", &out,
			       NULL), 0);
	assert_true(out.user == INT64_C(9007199254740993));
	assert_string_equal(out.login, "alice@example.com");
	assert_string_equal(out.display_name, "alice");
	assert_true(out.machine_authorized);
	assert_false(out.node_key_expired || out.wants_signature);
	assert_string_equal(out.auth_url, "");
	assert_string_equal(out.error, "");

	assert_int_equal(parse("{}", &out, NULL), 0);
	assert_false(out.machine_authorized);
	assert_int_equal(parse("{\"AuthURL\":\"https://a.example/register/x?y=1\"}", &out, NULL),
			 0);
	assert_string_equal(out.auth_url, "https://a.example/register/x?y=1");
	assert_int_equal(parse("{\"NodeKeySignature\":\"AAAA\",\"NodeKeyExpired\":true}", &out,
			       NULL), 0);
	assert_true(out.wants_signature && out.node_key_expired);
}

/* What goes to terminals cannot carry escape sequences, nor be endless. */
static void test_answer_hostile(void **state)
{
	static const char *const urls[] = {
		"{\"AuthURL\":\"javascript:alert(1)\"}", "{\"AuthURL\":\"file:///etc/passwd\"}",
		"{\"AuthURL\":\"https://a.example/\\u001b[2J\"}",
		"{\"AuthURL\":\"https://a.example/ x\"}", "{\"AuthURL\":\"https://a\\\"b\"}",
		"{\"AuthURL\":7}", "{\"User\":[]}", "{\"MachineAuthorized\":1}", "[]", "", "{",
		"{\"User\":{\"ID\":1.5}}", "{\"Error\":{}}",
	};
	struct ctl_registered out;
	char why[256], *text;

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		assert_int_equal(parse(urls[i], &out, why), -EBADMSG);
		assert_true(strlen(why) > 20);
		assert_string_equal(out.auth_url, "");
	}
	assert_int_equal(parse("{\"Error\":\"no \\u001b]0;x\\u0007 entry\"}", &out, NULL), 0);
	assert_string_equal(out.error, "no \\x1b]0;x\\x07 entry");

	text = malloc(20000);
	assert_non_null(text);
	memset(text, 'a', 19999);
	memcpy(text, "{\"Error\":\"", 10);
	memcpy(text + 19900, "\"}", 3);
	assert_int_equal(parse(text, &out, NULL), 0);
	assert_in_range(strlen(out.error), 100, sizeof(out.error) - 1);
	memcpy(text, "{\"AuthURL\":\"https://", 20);
	assert_int_equal(parse(text, &out, why), -EBADMSG);
	free(text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_body),
		cmocka_unit_test(test_body_logout),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_answer_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
