/*
 * The key ring: known answers, key files of both forms, refused points, and replacing keys under
 * readers (meaningful with the thread sanitizer).
 *
 * The X25519 vectors are the static keys of the WireGuard vectors that wireguard-go reproduces.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/hex.h"
#include "plugins/identity/keyring.h"

static const char a_private[] = "483ac9dccb949b68b5403dc4e275aa970eb9d806dcbef2ffe4e48871d4ceec6e";
static const char a_public[] = "8bed1fe26bceea3309b65961117a3a24a55898cc9430e68af460c15dcfe3f170";
static const char b_private[] = "3889c555c37e6ed93a5a7a6226b02a3a276fa974d6a963b0ccd654b04365d85a";
static const char b_public[] = "b69b0d879873bc32f278336fd14097542ef513798a6042c008d19cd51ed8740d";
static const char ab_shared[] = "e4335009d2e73fa0b4d8964f47b033baa9fb8afb050147dfdce968de2bf42616";

static struct identity_key *key_of_hex(const char *hex)
{
	struct identity_key *key = NULL;
	char text[IDENTITY_TEXT_MAX];
	int len = snprintf(text, sizeof(text), "privkey:%s\n", hex);

	assert_int_equal(identity_key_parse(text, (size_t)len, &key), 0);
	return key;
}

static void ring_with(struct identity_ring *ring, const char *node_hex)
{
	assert_int_equal(identity_ring_init(ring), 0);
	identity_ring_set_take(ring, WARREN_KEY_NODE, key_of_hex(node_hex));
}

static void known_answers(void **state)
{
	struct identity_ring a, b;
	uint8_t want[32], got[32], peer[32];

	(void)state;
	ring_with(&a, a_private);
	ring_with(&b, b_private);

	assert_int_equal(hex_decode(want, 32, a_public), 0);
	identity_ring_public(&a, WARREN_KEY_NODE, got);
	assert_memory_equal(got, want, 32);

	assert_int_equal(hex_decode(peer, 32, b_public), 0);
	assert_int_equal(hex_decode(want, 32, ab_shared), 0);
	assert_int_equal(identity_ring_dh(&a, WARREN_KEY_NODE, peer, got), 0);
	assert_memory_equal(got, want, 32);
	identity_ring_public(&a, WARREN_KEY_NODE, peer);
	assert_int_equal(identity_ring_dh(&b, WARREN_KEY_NODE, peer, got), 0);
	assert_memory_equal(got, want, 32);

	identity_ring_fini(&a);
	identity_ring_fini(&b);
}

static void refuses_points_of_small_order(void **state)
{
	/* Zero, one, and a point of order 8 (RFC 7748 section 6.1 asks for the zero check). */
	static const char *const points[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	};
	struct identity_ring ring;
	uint8_t peer[32], out[32], zero[32] = { 0 }, box[WARREN_BOX_OVERHEAD + 1];

	(void)state;
	ring_with(&ring, a_private);
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		assert_int_equal(hex_decode(peer, 32, points[i]), 0);
		memset(out, 0xaa, sizeof(out));
		assert_int_equal(identity_ring_dh(&ring, WARREN_KEY_NODE, peer, out), -EINVAL);
		assert_memory_equal(out, zero, 32);
		assert_int_equal(identity_ring_seal(&ring, WARREN_KEY_NODE, peer,
						    (const uint8_t *)"x", 1, box), -EINVAL);
	}
	identity_ring_fini(&ring);
}

static void key_files(void **state)
{
	static const char zeros[] = "privkey:00000000000000000000000000000000000000000000000000"
				    "00000000000000";
	char base64[BASE64_KEY_TEXT + 4], text[IDENTITY_TEXT_MAX + 8];
	struct identity_key *key = NULL, *again = NULL;
	uint8_t raw[32];
	size_t len;

	(void)state;
	assert_int_equal(hex_decode(raw, 32, a_private), 0);
	base64_encode(base64, raw, 32);
	memcpy(base64 + 44, "\r\n ", 4);
	assert_int_equal(identity_key_parse(base64, 47, &key), 0);
	assert_int_equal(hex_decode(raw, 32, a_public), 0);
	assert_memory_equal(identity_key_public(key), raw, 32);

	len = identity_key_text(key, text);
	assert_int_equal(len, 73);
	assert_memory_equal(text, "privkey:", 8);
	assert_int_equal(identity_key_parse(text, len, &again), 0);
	assert_memory_equal(identity_key_public(again), raw, 32);
	identity_key_unref(key);
	identity_key_unref(again);

	key = NULL;
	assert_int_equal(identity_key_parse("", 0, &key), -EINVAL);
	assert_int_equal(identity_key_parse("\n", 1, &key), -EINVAL);
	assert_int_equal(identity_key_parse(zeros, sizeof(zeros) - 1, &key), -EINVAL);
	assert_int_equal(identity_key_parse(base64, 43, &key), -EINVAL);
	assert_int_equal(identity_key_parse(text, len - 2, &key), -EINVAL);
	text[20] = 'g';
	assert_int_equal(identity_key_parse(text, len, &key), -EINVAL);
	text[20] = '\0';
	assert_int_equal(identity_key_parse(text, len, &key), -EINVAL);
	memset(text, 'A', sizeof(text));
	assert_int_equal(identity_key_parse(text, sizeof(text), &key), -EINVAL);
	assert_null(key);
}

/* A key to come counts while the key that it follows is in force. */
static void keys_to_come(void **state)
{
	struct identity_key *a = key_of_hex(a_private), *b = key_of_hex(b_private), *got = NULL;
	char text[IDENTITY_NEXT_MAX];
	size_t len = identity_next_text(identity_key_public(a), b, text);

	(void)state;
	assert_int_equal(len, IDENTITY_NEXT_MAX - 1);
	assert_int_equal(identity_next_parse(text, len, identity_key_public(b), &got), 0);
	assert_null(got);
	assert_int_equal(identity_next_parse(text, len, identity_key_public(a), &got), 0);
	assert_memory_equal(identity_key_public(got), identity_key_public(b), IDENTITY_KEY_LEN);
	for (size_t cut = 0; cut < len - 1; cut++) {
		struct identity_key *none = NULL;

		assert_int_equal(identity_next_parse(text, cut, identity_key_public(a), &none),
				 -EINVAL);
		assert_null(none);
	}
	identity_key_unref(a);
	identity_key_unref(b);
	identity_key_unref(got);
}

static void new_keys_are_clamped_and_differ(void **state)
{
	struct identity_key *a = identity_key_new(), *b = identity_key_new();
	char text[IDENTITY_TEXT_MAX];
	uint8_t raw[32];

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	assert_memory_not_equal(identity_key_public(a), identity_key_public(b), 32);
	text[identity_key_text(a, text) - 1] = '\0';
	assert_int_equal(hex_decode(raw, 32, text + 8), 0);
	assert_int_equal(raw[0] & 7, 0);
	assert_int_equal(raw[31] & 0xc0, 0x40);
	identity_key_unref(a);
	identity_key_unref(b);
}

static void boxes(void **state)
{
	static const uint8_t msg[] = "Nothing is hidden from the rabbit.";
	struct identity_ring a, b;
	uint8_t pa[32], pb[32], box[sizeof(msg) + WARREN_BOX_OVERHEAD], out[sizeof(msg)], sk[32];

	(void)state;
	ring_with(&a, a_private);
	ring_with(&b, b_private);
	identity_ring_public(&a, WARREN_KEY_NODE, pa);
	identity_ring_public(&b, WARREN_KEY_NODE, pb);

	assert_int_equal(identity_ring_seal(&a, WARREN_KEY_NODE, pb, msg, sizeof(msg), box), 0);
	assert_int_equal(identity_ring_open(&b, WARREN_KEY_NODE, pa, box, sizeof(box), out), 0);
	assert_memory_equal(out, msg, sizeof(msg));

	/* The layout is NaCl's: nonce || tag || text. */
	memset(out, 0, sizeof(out));
	assert_int_equal(hex_decode(sk, 32, b_private), 0);
	assert_int_equal(crypto_box_open_easy(out, box + 24, sizeof(box) - 24, box, pa, sk), 0);
	assert_memory_equal(out, msg, sizeof(msg));

	for (size_t i = 0; i < sizeof(box); i++) {
		box[i] ^= 1;
		assert_int_equal(identity_ring_open(&b, WARREN_KEY_NODE, pa, box, sizeof(box), out),
				 -EBADMSG);
		box[i] ^= 1;
	}
	for (size_t len = 0; len < sizeof(box); len++)
		assert_int_equal(identity_ring_open(&b, WARREN_KEY_NODE, pa, box, len, out),
				 -EBADMSG);
	identity_ring_fini(&a);
	identity_ring_fini(&b);
}

/* Each key that a reader meets is a whole one: its answer is one of the two that are possible. */
struct race {
	struct identity_ring ring;
	uint8_t peer[32], answers[2][32];
	atomic_bool stop;
	atomic_int wrong, reads;
};

static void *reader(void *arg)
{
	struct race *race = arg;
	uint8_t out[32];

	while (!atomic_load(&race->stop)) {
		if (identity_ring_dh(&race->ring, WARREN_KEY_NODE, race->peer, out) ||
		    (memcmp(out, race->answers[0], 32) && memcmp(out, race->answers[1], 32)))
			atomic_fetch_add(&race->wrong, 1);
		identity_ring_public(&race->ring, WARREN_KEY_NODE, out);
		atomic_fetch_add(&race->reads, 1);
	}
	return NULL;
}

static void replaced_under_readers(void **state)
{
	static struct race race;
	const char *const keys[2] = { a_private, b_private };
	struct identity_key *peer = identity_key_new();
	pthread_t threads[3];

	(void)state;
	assert_int_equal(identity_ring_init(&race.ring), 0);
	memcpy(race.peer, identity_key_public(peer), 32);
	for (int i = 0; i < 2; i++) {
		identity_ring_set_take(&race.ring, WARREN_KEY_NODE, key_of_hex(keys[i]));
		assert_int_equal(identity_ring_dh(&race.ring, WARREN_KEY_NODE, race.peer,
						  race.answers[i]), 0);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, &race), 0);
	for (int i = 0; i < 300; i++)
		identity_ring_set_take(&race.ring, WARREN_KEY_NODE, key_of_hex(keys[i % 2]));
	while (atomic_load(&race.reads) < 300)
		;
	atomic_store(&race.stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&race.wrong), 0);
	identity_ring_fini(&race.ring);
	identity_key_unref(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(refuses_points_of_small_order),
		cmocka_unit_test(key_files),
		cmocka_unit_test(keys_to_come),
		cmocka_unit_test(new_keys_are_clamped_and_differ),
		cmocka_unit_test(boxes),
		cmocka_unit_test(replaced_under_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
