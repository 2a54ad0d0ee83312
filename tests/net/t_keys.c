/* Keys as text: every prefix, every way to be wrong, and what private keys never do. */
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <warren/net.h>

#include "base/err.h"

#define DIGITS "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f"

static const struct {
	enum warren_keytext kind;
	const char *text, *brief;
} forms[] = {
	{ WARREN_KEYTEXT_MACHINE, "mkey:" DIGITS, "[j0DFr]" },
	{ WARREN_KEYTEXT_NODE, "nodekey:" DIGITS, "[j0DFr]" },
	{ WARREN_KEYTEXT_DISCO, "discokey:" DIGITS, "d:8f40c5adb68f2562" },
	{ WARREN_KEYTEXT_CHALLENGE, "chalpub:" DIGITS, "[j0DFr]" },
};

static void forms_go_both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		char out[WARREN_KEYTEXT_MAX], brief[WARREN_KEYTEXT_SHORT];
		uint8_t key[32];

		assert_int_equal(warren_keytext_parse(forms[i].kind, forms[i].text, key, NULL), 0);
		assert_int_equal(key[0], 0x8f);
		assert_int_equal(key[31], 0x5f);
		assert_string_equal(warren_keytext_format(forms[i].kind, key, out), forms[i].text);
		assert_string_equal(warren_keytext_short(forms[i].kind, key, brief),
				    forms[i].brief);
		for (size_t k = 0; k < sizeof(forms) / sizeof(forms[0]); k++)
			assert_int_equal(warren_keytext_parse(forms[k].kind, forms[i].text, key,
							      NULL), i == k ? 0 : -EINVAL);
	}
}

static void refused(const char *text, const char *why)
{
	static const uint8_t zero[32];
	struct warren_err err = ERR_INIT;
	uint8_t key[32];

	memset(key, 0xff, sizeof(key));
	assert_int_equal(warren_keytext_parse(WARREN_KEYTEXT_MACHINE, text, key, &err), -EINVAL);
	assert_string_equal(err_first(&err), why);
	assert_memory_equal(key, zero, 32);
	err_free(&err);
}

static void wrong_texts(void **state)
{
	(void)state;
	refused("", "the key does not begin with \"mkey:\"");
	refused("MKEY:" DIGITS, "the key does not begin with \"mkey:\"");
	refused("privkey:" DIGITS, "the key does not begin with \"mkey:\"");
	refused("mkey:abc", "the key has 3 characters after \"mkey:\", not 64");
	refused("mkey:" DIGITS "0", "the key has 65 characters after \"mkey:\", not 64");
	refused("mkey: 40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f1",
		"the key has a character after \"mkey:\" that is no hexadecimal digit");
}

static void upper_case_and_absent(void **state)
{
	static const uint8_t zero[32];
	char text[WARREN_KEYTEXT_MAX];
	uint8_t key[32];

	(void)state;
	assert_int_equal(warren_keytext_parse(WARREN_KEYTEXT_MACHINE, "mkey:"
		"8F40C5ADB68F25624AE5B214EA767A6EC94D829D3D7B5E1AD1BA6F3E2138285F", key, NULL), 0);
	assert_string_equal(warren_keytext_format(WARREN_KEYTEXT_MACHINE, key, text),
			    "mkey:" DIGITS);
	warren_keytext_format(WARREN_KEYTEXT_NODE, zero, text);
	assert_int_equal(warren_keytext_parse(WARREN_KEYTEXT_NODE, text, key, NULL), 0);
	assert_memory_equal(key, zero, 32);
}

static void private_keys(void **state)
{
	static const uint8_t zero[32];
	struct warren_private key, again;
	struct warren_err err = ERR_INIT;
	char text[WARREN_PRIVATE_TEXT];
	uint8_t public_key[32], want[32];

	(void)state;
	warren_private_new(&key);
	assert_int_equal(key.secret[0] & 7, 0);
	assert_int_equal(key.secret[31] & 0xc0, 0x40);
	warren_private_format(&key, text);
	assert_int_equal(warren_private_parse(text, &again, &err), 0);
	assert_true(warren_private_equal(&key, &again));
	warren_private_public(&again, public_key);
	crypto_scalarmult_curve25519_base(want, key.secret);
	assert_memory_equal(public_key, want, 32);

	snprintf(text, sizeof(text), "privkey:%064d", 0);
	assert_int_equal(warren_private_parse(text, &again, &err), -EINVAL);
	assert_string_equal(err_first(&err), "the private key is all zeros: it was never made");
	assert_memory_equal(again.secret, zero, 32);
	assert_false(warren_private_equal(&key, &again));
	warren_private_wipe(&key);
	assert_memory_equal(key.secret, zero, 32);
	err_free(&err);
}

/* An unclamped key of a file is the clamped one of memory; a wrong one is not told in the error. */
static void private_texts(void **state)
{
	struct warren_private key;
	struct warren_err err = ERR_INIT;

	(void)state;
	assert_int_equal(warren_private_parse("privkey:" "ff40c5adb68f25624ae5b214ea767a6e"
		"c94d829d3d7b5e1ad1ba6f3e213828ff", &key, NULL), 0);
	assert_int_equal(key.secret[0], 0xf8);
	assert_int_equal(key.secret[31], 0x7f);
	assert_int_equal(warren_private_parse("mkey:" DIGITS, &key, &err), -EINVAL);
	assert_null(strstr(err_first(&err), "8f40"));
	assert_int_equal(key.secret[1], 0);
	err_free(&err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms_go_both_ways),
		cmocka_unit_test(wrong_texts),
		cmocka_unit_test(upper_case_and_absent),
		cmocka_unit_test(private_keys),
		cmocka_unit_test(private_texts),
	};

	return sodium_init() == -1 ? 99 : cmocka_run_group_tests(tests, NULL, NULL);
}
