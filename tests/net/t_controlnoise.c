/*
 * Noise of the control protocol: the known answers of its reference (section 3.4), which come from
 * an independent implementation and from tailscale-rs, and what a hostile other side may try.
 */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/err.h"
#include "base/hex.h"
#include "net/controlnoise.h"

static json_t *vectors;
static struct warren_private client, client_eph, server, server_eph;

static const char *vector(const char *name)
{
	const char *text = json_string_value(json_object_get(vectors, name));

	if (!text)
		fail_msg("no \"%s\" in the vectors", name);
	return text;
}

static void check(const char *name, const uint8_t *got, size_t len)
{
	char hex[2 * 128 + 1];

	assert_true(len <= 128);
	hex_encode(hex, got, len);
	assert_string_equal(hex, vector(name));
}

static int load(void **state)
{
	const char *src = getenv("WARREN_SRCDIR");
	char path[4096];

	(void)state;
	snprintf(path, sizeof(path), "%s/tests/net/data/ts2021-vectors.json", src ? src : ".");
	vectors = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	if (!vectors || sodium_init() == -1)
		return -1;
	return hex_decode(client.secret, 32, vector("client_static")) ||
	       hex_decode(client_eph.secret, 32, vector("client_ephemeral")) ||
	       hex_decode(server.secret, 32, vector("server_static")) ||
	       hex_decode(server_eph.secret, 32, vector("server_ephemeral"));
}

static int unload(void **state)
{
	(void)state;
	json_decref(vectors);
	return 0;
}

static int dh(void *arg, const uint8_t peer[32], uint8_t out[32])
{
	const struct warren_private *key = arg;

	return crypto_scalarmult_curve25519(out, key->secret, peer) == -1 ? -EINVAL : 0;
}

static struct warren_noise_key owner(struct warren_private *key)
{
	struct warren_noise_key self = { .size = sizeof(self), .dh = dh, .arg = key };

	warren_private_public(key, self.public_key);
	return self;
}

struct pair {
	struct warren_noise *client, *server;
	uint8_t init[WARREN_NOISE_INIT], response[WARREN_NOISE_RESPONSE];
};

/* Both sides with the keys of the vectors; the handshake is done. */
static struct pair pair_new(const char *prologue)
{
	struct warren_noise_key c = owner(&client), s = owner(&server);
	struct pair p;
	size_t used;

	p.client = controlnoise_client_new(130, &c, s.public_key, &client_eph, prologue, p.init,
					   NULL);
	assert_non_null(p.client);
	p.server = controlnoise_server_new(&s, p.init, sizeof(p.init), &server_eph, prologue,
					   p.response, NULL);
	assert_non_null(p.server);
	assert_int_equal(warren_noise_client_read(p.client, p.response, sizeof(p.response), &used,
						  NULL), 0);
	assert_int_equal(used, WARREN_NOISE_RESPONSE);
	return p;
}

static void pair_free(struct pair *p)
{
	warren_noise_free(p->client);
	warren_noise_free(p->server);
}

static void known_handshake(void **state)
{
	struct pair p = pair_new(NULL);
	struct warren_noise_key c = owner(&client), s = owner(&server);
	char header[BASE64_TEXT(WARREN_NOISE_INIT)];

	(void)state;
	check("client_static_public", c.public_key, 32);
	check("server_static_public", s.public_key, 32);
	base64_encode(header, p.init, sizeof(p.init));
	assert_string_equal(header, vector("header"));
	check("client_ephemeral_public", p.init + 5, 32);
	check("encrypted_static", p.init + 37, 48);
	check("init_tag", p.init + 85, 16);
	check("server_ephemeral_public", p.response + 3, 32);
	check("response_tag", p.response + 35, 16);
	check("handshake_hash", warren_noise_hash(p.client), 32);
	check("handshake_hash", warren_noise_hash(p.server), 32);
	assert_memory_equal(warren_noise_peer(p.server), c.public_key, 32);
	assert_memory_equal(warren_noise_peer(p.client), s.public_key, 32);
	assert_int_equal(warren_noise_version(p.server), 130);
	pair_free(&p);
}

static void known_handshake_of_another_prologue(void **state)
{
	struct pair p = pair_new("TEST HANDSHAKE");

	(void)state;
	check("test_init_body", p.init + 5, sizeof(p.init) - 5);
	check("test_response_body", p.response + 3, sizeof(p.response) - 3);
	pair_free(&p);
}

static void known_records(void **state)
{
	uint8_t record[5 + WARREN_NOISE_OVERHEAD], plain[WARREN_NOISE_PLAIN];
	struct pair p = pair_new(NULL);
	size_t len;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(warren_noise_seal(p.client, "hello", 5, record), 0);
		check(i ? "record_up_1" : "record_up_0", record, sizeof(record));
		assert_int_equal(warren_noise_open(p.server, record, sizeof(record), plain, &len,
						   NULL), sizeof(record));
		assert_int_equal(len, 5);
		assert_memory_equal(plain, "hello", 5);
	}
	assert_int_equal(warren_noise_seal(p.server, "hello", 5, record), 0);
	check("record_down_0", record, sizeof(record));
	pair_free(&p);
}

/* A stream of records of all sizes, given in every way of cutting off the end. */
static void records_of_all_sizes(void **state)
{
	static const size_t sizes[] = { 0, 1, 15, 16, 17, 1000, WARREN_NOISE_PLAIN };
	uint8_t plain[WARREN_NOISE_PLAIN], out[WARREN_NOISE_PLAIN], record[WARREN_NOISE_RECORD];
	struct pair p = pair_new(NULL);
	size_t len;

	(void)state;
	randombytes_buf(plain, sizeof(plain));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = sizes[i] + WARREN_NOISE_OVERHEAD;

		assert_int_equal(warren_noise_seal(p.server, plain, sizes[i], record), 0);
		for (size_t k = 0; k < n; k++)
			assert_int_equal(warren_noise_open(p.client, record, k, out, &len, NULL),
					 0);
		assert_int_equal(warren_noise_open(p.client, record, sizeof(record), out, &len,
						   NULL), n);
		assert_int_equal(len, sizes[i]);
		assert_memory_equal(out, plain, len);
	}
	assert_int_equal(warren_noise_seal(p.server, plain, WARREN_NOISE_PLAIN + 1, record),
			 -EINVAL);
	pair_free(&p);
}

/* One bit anywhere in either message of the handshake, the type and the lengths included. */
static void every_changed_bit_is_noticed(void **state)
{
	struct warren_noise_key c = owner(&client), s = owner(&server);
	uint8_t init[WARREN_NOISE_INIT], response[WARREN_NOISE_RESPONSE], wrong[WARREN_NOISE_INIT];
	struct pair p = pair_new(NULL);
	size_t used;

	(void)state;
	for (size_t bit = 0; bit < 8 * sizeof(init); bit++) {
		if (bit == 8 * 36 + 7)
			continue;	/* the top bit of a point does not count: RFC 7748 5 */
		memcpy(wrong, p.init, sizeof(init));
		wrong[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_null(warren_noise_server_new(&s, wrong, sizeof(init), response, NULL));
	}
	for (size_t bit = 0; bit < 8 * sizeof(response); bit++) {
		struct warren_noise *noise = controlnoise_client_new(130, &c, s.public_key,
								     &client_eph, NULL, init,
								     NULL);

		memcpy(wrong, p.response, sizeof(response));
		wrong[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(warren_noise_client_read(noise, wrong, sizeof(response), &used,
							      NULL), 0);
		assert_int_equal(used, 0);
		warren_noise_free(noise);
	}
	pair_free(&p);
}

static void wrong_initiations(void **state)
{
	struct warren_noise_key c = owner(&client), s = owner(&server);
	struct warren_err err = ERR_INIT;
	struct pair p = pair_new(NULL);
	uint8_t longer[WARREN_NOISE_INIT + 1] = { 0 };

	(void)state;
	memcpy(longer, p.init, sizeof(p.init));
	for (size_t n = 0; n <= sizeof(longer); n++) {
		struct warren_noise *noise = warren_noise_server_new(&s, longer, n, p.response,
								     NULL);

		assert_true(!noise == (n != WARREN_NOISE_INIT));
		warren_noise_free(noise);
	}
	assert_null(warren_noise_server_new(&c, p.init, sizeof(p.init), p.response, &err));
	assert_string_equal(err_first(&err), "the client's Noise initiation does not open with our "
			    "key: it was made for another server, or changed on the way");
	err_free(&err);
	pair_free(&p);
}

/* RFC 7748 6.1: points whose DH is known to everybody. */
static void points_of_small_order(void **state)
{
	static const uint8_t zero[32], one[32] = { 1 };
	struct warren_noise_key c = owner(&client);
	uint8_t init[WARREN_NOISE_INIT];

	(void)state;
	assert_null(warren_noise_client_new(130, &c, zero, init, NULL));
	assert_null(warren_noise_client_new(130, &c, one, init, NULL));
}

static int answer(const char *data, size_t len, struct warren_err *err)
{
	struct warren_noise_key c = owner(&client), s = owner(&server);
	uint8_t init[WARREN_NOISE_INIT];
	struct warren_noise *noise = warren_noise_client_new(130, &c, s.public_key, init, NULL);
	size_t used;
	int result;

	assert_non_null(noise);
	result = warren_noise_client_read(noise, (const uint8_t *)data, len, &used, err);
	if (result < 0)
		assert_int_equal(warren_noise_client_read(noise, (const uint8_t *)data, len, &used,
							  NULL), -EINVAL);
	warren_noise_free(noise);
	return result;
}

static void answers_that_are_none(void **state)
{
	static char flood[3 + 1024] = "\3\377\377";
	struct warren_err err = ERR_INIT;

	(void)state;
	assert_int_equal(answer("", 0, &err), WARREN_PENDING);
	assert_int_equal(answer("\2\0", 2, &err), WARREN_PENDING);
	assert_int_equal(answer("\2\0\60abc", 6, &err), WARREN_PENDING);
	assert_int_equal(answer("\3\0\7go aw", 8, &err), WARREN_PENDING);
	assert_false(err_any(&err));
	assert_int_equal(answer("\3\0\7go \33way", 10, &err), -ECONNREFUSED);
	assert_string_equal(err_first(&err), "the control server refused the Noise handshake: "
			    "\"go \\x1bway\"");
	err_free(&err);
	/* 64 KiB are announced; what came is enough. */
	memset(flood + 3, 'a', sizeof(flood) - 3);
	assert_int_equal(answer(flood, sizeof(flood) - 1, NULL), WARREN_PENDING);
	assert_int_equal(answer(flood, sizeof(flood), &err), -ECONNREFUSED);
	assert_true(strlen(err_first(&err)) < 300);
	err_free(&err);
	assert_int_equal(answer("HTTP/1.1 400", 12, &err), -EBADMSG);
	err_free(&err);
	assert_int_equal(answer("\2\0\61", 3, NULL), -EBADMSG);
}

static void break_record(const uint8_t *data, size_t len)
{
	uint8_t out[WARREN_NOISE_PLAIN], good[5 + WARREN_NOISE_OVERHEAD];
	struct pair p = pair_new(NULL);
	size_t n;

	assert_int_equal(warren_noise_seal(p.client, "hello", 5, good), 0);
	assert_int_equal(warren_noise_open(p.server, data, len, out, &n, NULL), -EBADMSG);
	assert_int_equal(n, 0);
	/* There is no way back, not even for a record that would have opened. */
	assert_int_equal(warren_noise_open(p.server, good, sizeof(good), out, &n, NULL), -EBADMSG);
	pair_free(&p);
}

static void records_that_are_none(void **state)
{
	uint8_t record[5 + WARREN_NOISE_OVERHEAD], out[WARREN_NOISE_PLAIN];
	struct pair p = pair_new(NULL);
	size_t n;

	(void)state;
	break_record((const uint8_t *)"\3\0\20", 3);
	break_record((const uint8_t *)"\4\0\17", 3);
	break_record((const uint8_t *)"\4\17\376", 3);	/* 4094 */
	assert_int_equal(warren_noise_seal(p.client, "hello", 5, record), 0);
	assert_int_equal(warren_noise_open(p.server, record, sizeof(record), out, &n, NULL),
			 sizeof(record));
	/* Repeated; and lost: the second of a session that never saw the first. */
	assert_int_equal(warren_noise_open(p.server, record, sizeof(record), out, &n, NULL),
			 -EBADMSG);
	assert_int_equal(warren_noise_seal(p.client, "hello", 5, record), 0);
	break_record(record, sizeof(record));
	record[10] ^= 1;
	break_record(record, sizeof(record));
	pair_free(&p);
}

static void counters_end(void **state)
{
	uint8_t record[WARREN_NOISE_OVERHEAD], out[WARREN_NOISE_PLAIN];
	struct pair p = pair_new(NULL);
	size_t n;

	(void)state;
	controlnoise_set_counters(p.client, UINT64_MAX - 1, 0);
	controlnoise_set_counters(p.server, 0, UINT64_MAX - 1);
	assert_int_equal(warren_noise_seal(p.client, NULL, 0, record), 0);
	assert_int_equal(warren_noise_seal(p.client, NULL, 0, out), -EOVERFLOW);
	assert_int_equal(warren_noise_open(p.server, record, sizeof(record), out, &n, NULL),
			 sizeof(record));
	assert_int_equal(warren_noise_open(p.server, record, sizeof(record), out, &n, NULL),
			 -EBADMSG);
	pair_free(&p);
}

static void not_open_yet(void **state)
{
	struct warren_noise_key c = owner(&client), s = owner(&server);
	uint8_t init[WARREN_NOISE_INIT], record[WARREN_NOISE_RECORD];
	struct warren_noise *noise = warren_noise_client_new(1, &c, s.public_key, init, NULL);

	(void)state;
	assert_int_equal(warren_noise_seal(noise, "a", 1, record), -EINVAL);
	warren_noise_free(noise);
	warren_noise_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_handshake),
		cmocka_unit_test(known_handshake_of_another_prologue),
		cmocka_unit_test(known_records),
		cmocka_unit_test(records_of_all_sizes),
		cmocka_unit_test(every_changed_bit_is_noticed),
		cmocka_unit_test(wrong_initiations),
		cmocka_unit_test(points_of_small_order),
		cmocka_unit_test(answers_that_are_none),
		cmocka_unit_test(records_that_are_none),
		cmocka_unit_test(counters_end),
		cmocka_unit_test(not_open_yet),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
