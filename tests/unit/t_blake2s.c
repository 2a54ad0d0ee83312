/*
 * BLAKE2s, HMAC and KDF. Expected values: RFC 7693 appendix B, and Python's hashlib and hmac, an
 * independent implementation, over data byte i = 7 i + 3. Long series are folded by SHA-256.
 */
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/blake2s.h"

static uint8_t data[300], key[32];

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(7 * i + 3);
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	return sodium_init() == -1 ? -1 : 0;
}

static void check(const uint8_t *got, size_t len, const char *want)
{
	char hex[2 * 32 + 1];

	assert_string_equal(sodium_bin2hex(hex, sizeof(hex), got, len), want);
}

static void rfc7693_abc(void **state)
{
	uint8_t out[32];

	(void)state;
	blake2s(out, 32, NULL, 0, "abc", 3);
	check(out, 32, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
}

static void fold_lengths(size_t key_len, const char *want)
{
	crypto_hash_sha256_state fold;
	uint8_t out[32];

	crypto_hash_sha256_init(&fold);
	for (size_t n = 0; n <= 256; n++) {
		blake2s(out, 32, key, key_len, data, n);
		crypto_hash_sha256_update(&fold, out, 32);
	}
	crypto_hash_sha256_final(&fold, out);
	check(out, 32, want);
}

static void all_lengths(void **state)
{
	(void)state;
	fold_lengths(0, "09f13ae71244836bd8f75807e6b8447ec20ac9008d8faa7b6929afc57970c9b4");
	fold_lengths(32, "e766f840511a24c1d7bebea4a5ac538fd48b3b1eed85c2d46fdd0d300e96a90a");
}

static void key_and_output_lengths(void **state)
{
	crypto_hash_sha256_state fold;
	uint8_t out[32];

	(void)state;
	crypto_hash_sha256_init(&fold);
	for (size_t n = 1; n <= 32; n++) {
		blake2s(out, n, key, n, data, 100);
		crypto_hash_sha256_update(&fold, out, n);
	}
	crypto_hash_sha256_final(&fold, out);
	check(out, 32, "5e93afaafdc8f5010bb9feab0d525191d8eb0304e30c4a434afdf261329a93c9");
}

static void any_split_is_the_same(void **state)
{
	uint8_t whole[32], parts[32];
	struct blake2s s;

	(void)state;
	blake2s(whole, 32, key, 32, data, 200);
	for (size_t i = 0; i <= 200; i++) {
		blake2s_init(&s, 32, key, 32);
		blake2s_update(&s, data, i);
		blake2s_update(&s, data + i, 200 - i);
		blake2s_final(&s, parts);
		assert_memory_equal(whole, parts, 32);
	}
	assert_true(sodium_is_zero((uint8_t *)&s, sizeof(s)));
}

static void hmac_key_lengths(void **state)
{
	crypto_hash_sha256_state fold;
	uint8_t out[32];

	(void)state;
	crypto_hash_sha256_init(&fold);
	for (size_t n = 0; n < 130; n += 13) {
		blake2s_hmac(out, data, n, data, 2 * n);
		crypto_hash_sha256_update(&fold, out, 32);
	}
	crypto_hash_sha256_final(&fold, out);
	check(out, 32, "32ad1ebce562890fca2f45dd368e9bd66ab621e613275d013297c85961393fc6");
}

static void kdf(void **state)
{
	static const char *const want[] = {
		"65f536257af8318806e8df2dfa4d5b287d0096ac04e0dd9e33e133909b308e9e",
		"3b52931e43d8f30377a356051ffd4c1974e0adfcc5c6d0ecf6024d50ec73c66d",
		"d6a628ebb5864f60ef9c731149ba9e0104431a9e2ecb22f1cdb9d83ce153739b",
	};
	uint8_t t[3][32];

	(void)state;
	blake2s_kdf3(t[0], t[1], t[2], key, data, 50);
	for (int i = 0; i < 3; i++)
		check(t[i], 32, want[i]);
	memset(t, 0, sizeof(t));
	blake2s_kdf2(t[0], t[1], key, data, 50);
	check(t[0], 32, want[0]);
	check(t[1], 32, want[1]);
	memcpy(t[2], key, 32);
	blake2s_kdf1(t[2], t[2], data, 50);		/* in place, as the chaining key is */
	check(t[2], 32, want[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc7693_abc),
		cmocka_unit_test(all_lengths),
		cmocka_unit_test(key_and_output_lengths),
		cmocka_unit_test(any_split_is_the_same),
		cmocka_unit_test(hmac_key_lengths),
		cmocka_unit_test(kdf),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
