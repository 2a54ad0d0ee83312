/* Transport messages, padding, inner lengths: known answers and limits of dataplane.md 1.5. */
#include "../transport.h"

#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../wire.h"
#include "vectors.h"

enum { MTU = 1420 };

static void one_message(json_t *handshake, json_t *t)
{
	bool initiator = !strcmp(json_string_value(vectors_at(t, "from")), "initiator");
	uint8_t key[32], msg[256], want[256], inner[128];
	uint64_t counter = vectors_number(t, "counter");
	size_t inner_len = vectors_bytes(t, "inner", inner, sizeof(inner));
	size_t len = vectors_bytes(t, "message", want, sizeof(want));

	vectors_hex(handshake, initiator ? "T1_initiator_sends" : "T2_responder_sends", key, 32);
	memset(msg, 0xee, sizeof(msg));
	memcpy(msg + WG_TRANSPORT_HEADER, inner, inner_len);
	assert_int_equal(wg_transport_len(inner_len, MTU), len);
	assert_int_equal(wg_transport_seal(key, wg_message_receiver(want, WG_TRANSPORT), counter,
					   msg, inner_len, MTU), len);
	assert_memory_equal(msg, want, len);
	assert_int_equal(msg[len], 0xee);

	assert_int_equal(wg_message_type(msg, len), WG_TRANSPORT);
	assert_true(wg_transport_counter(msg) == counter);
	assert_int_equal(wg_transport_open(key, msg, len), 0);
	assert_memory_equal(msg + WG_TRANSPORT_HEADER, inner, inner_len);
	assert_true(sodium_is_zero(msg + WG_TRANSPORT_HEADER + inner_len, len - 32 - inner_len));
	if (inner_len)
		assert_int_equal(wg_inner_len(msg + WG_TRANSPORT_HEADER, len - 32), inner_len);
}

static void known_answers(void **state)
{
	json_t *h, *t;
	size_t n, m;

	json_array_foreach(vectors_at(*state, "handshakes"), n, h) {
		assert_int_equal(json_array_size(vectors_at(h, "transport")), 4);
		json_array_foreach(vectors_at(h, "transport"), m, t)
			one_message(h, t);
	}
}

static void padding(void **state)
{
	json_t *all = vectors_at(*state, "padding"), *v;
	size_t n;

	assert_true(json_array_size(all) >= 14);
	json_array_foreach(all, n, v)
		assert_int_equal(wg_transport_padded(vectors_number(v, "inner"),
						     vectors_number(v, "mtu")),
				 vectors_number(v, "padded"));
	for (size_t mtu = 1; mtu < 200; mtu++) {
		for (size_t len = 0; len < 500; len++) {
			size_t padded = wg_transport_padded(len, mtu);

			assert_in_range(padded, len, len + 15);
			if (len <= mtu)
				assert_true(padded <= mtu);
		}
	}
}

static void every_length_round_trip(void **state)
{
	uint8_t key[32], *msg, *plain;

	(void)state;
	randombytes_buf(key, sizeof(key));
	for (size_t len = 0; len <= 1500; len += len < 100 ? 1 : 37) {
		size_t size = wg_transport_len(len, MTU);

		/* Exact memory: the sanitizer sees a byte too far. */
		msg = malloc(size);
		plain = malloc(len + 1);
		assert_non_null(msg);
		assert_non_null(plain);
		randombytes_buf(plain, len);
		memcpy(msg + WG_TRANSPORT_HEADER, plain, len);
		assert_int_equal(wg_transport_seal(key, 7, len, msg, len, MTU), size);
		msg[size - 1] ^= 1;
		assert_int_equal(wg_transport_open(key, msg, size), -EBADMSG);
		memcpy(msg + WG_TRANSPORT_HEADER, plain, len);
		assert_int_equal(wg_transport_seal(key, 7, len, msg, len, MTU), size);
		wg_store_le64(msg + WG_TRANSPORT_COUNTER, len + 1);
		assert_int_equal(wg_transport_open(key, msg, size), -EBADMSG);
		memcpy(msg + WG_TRANSPORT_HEADER, plain, len);
		assert_int_equal(wg_transport_seal(key, 7, len, msg, len, MTU), size);
		assert_int_equal(wg_transport_open(key, msg, size), 0);
		assert_memory_equal(msg + WG_TRANSPORT_HEADER, plain, len);
		free(msg);
		free(plain);
	}
}

static void types_and_lengths(void **state)
{
	static const size_t exact[] = { 0, 148, 92, 64 };
	uint8_t msg[256];

	(void)state;
	for (uint32_t type = 0; type < 8; type++) {
		memset(msg, 0, sizeof(msg));
		msg[0] = (uint8_t)type;
		for (size_t len = 0; len <= sizeof(msg); len++) {
			bool good = (type >= 1 && type <= 3 && len == exact[type]) ||
				    (type == 4 && len >= 32);

			assert_int_equal(wg_message_type(msg, len), good ? type : 0);
		}
	}
	msg[0] = WG_TRANSPORT;
	for (int i = 1; i < 4; i++) {		/* reserved bytes */
		msg[i] = 1;
		assert_int_equal(wg_message_type(msg, 64), 0);
		msg[i] = 0;
	}
	/* A message need not be a multiple of 16: the MTU cuts the padding (3.9). */
	assert_int_equal(wg_message_type(msg, 45), WG_TRANSPORT);
	assert_int_equal(wg_transport_open(msg, msg + 32, 31), -EBADMSG);
}

static int64_t inner4(size_t total, size_t len)
{
	uint8_t ip[256] = { 0x45 };

	wg_store_be16(ip + 2, (uint16_t)total);
	return wg_inner_len(ip, len);
}

static int64_t inner6(size_t payload, size_t len)
{
	static uint8_t ip[70000];

	ip[0] = 0x60;
	wg_store_be16(ip + 4, (uint16_t)payload);
	return wg_inner_len(ip, len);
}

static void inner_lengths(void **state)
{
	uint8_t ip[64] = { 0 };

	(void)state;
	assert_int_equal(inner4(45, 48), 45);
	assert_int_equal(inner4(48, 48), 48);
	assert_int_equal(inner4(49, 48), -EINVAL);
	assert_int_equal(inner4(20, 20), 20);
	assert_int_equal(inner4(19, 48), -EINVAL);
	assert_int_equal(inner4(0, 48), -EINVAL);
	assert_int_equal(inner4(10, 19), -EINVAL);
	assert_int_equal(inner6(0, 48), 40);	/* a bare header is legal (3.11) */
	assert_int_equal(inner6(8, 48), 48);
	assert_int_equal(inner6(9, 48), -EINVAL);
	assert_int_equal(inner6(0, 39), -EINVAL);
	/* In 16 bits this would be 39 bytes. */
	assert_int_equal(inner6(65535, 1420), -EINVAL);
	assert_int_equal(inner6(65535, 65575), 65575);
	for (int version = 0; version < 16; version++) {
		ip[0] = (uint8_t)(version << 4 | 5);
		wg_store_be16(ip + 2, 20);
		if (version != 4 && version != 6)
			assert_int_equal(wg_inner_len(ip, sizeof(ip)), -EINVAL);
		assert_int_equal(wg_inner_len(ip, 1), -EINVAL);
	}
	assert_int_equal(wg_inner_len(ip, 0), -EINVAL);
}

static void addresses(void **state)
{
	uint8_t ip[40];
	uint32_t family;

	(void)state;
	for (size_t i = 0; i < sizeof(ip); i++)
		ip[i] = (uint8_t)i;
	ip[0] = 0x45;
	assert_ptr_equal(wg_inner_source(ip, &family), ip + 12);
	assert_int_equal(family, 4);
	assert_ptr_equal(wg_inner_destination(ip, &family), ip + 16);
	ip[0] = 0x60;
	assert_ptr_equal(wg_inner_source(ip, &family), ip + 8);
	assert_int_equal(family, 6);
	assert_ptr_equal(wg_inner_destination(ip, &family), ip + 24);
}

static int setup(void **state)
{
	if (sodium_init() == -1)
		return -1;
	*state = vectors_load();
	return 0;
}

static int teardown(void **state)
{
	json_decref(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(padding),
		cmocka_unit_test(every_length_round_trip),
		cmocka_unit_test(types_and_lengths),
		cmocka_unit_test(inner_lengths),
		cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
