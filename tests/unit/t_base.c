/*
 * core/base: bytes and containers. Buffers at their limits, SipHash against its published vectors,
 * a map against a plain array through many random changes, base64 and hex with every bad form.
 */
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/crc32.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/list.h"
#include "base/schedule.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_reader_numbers(void **state)
{
	static const uint8_t bytes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	struct buf_reader r;
	uint64_t v64;
	uint32_t v32;
	uint16_t v16;
	uint8_t v8;

	(void)state;
	buf_reader_init(&r, bytes, sizeof(bytes));
	assert_true(buf_u8(&r, &v8));
	assert_int_equal(v8, 1);
	assert_true(buf_be16(&r, &v16));
	assert_int_equal(v16, 0x0203);
	assert_true(buf_le32(&r, &v32));
	assert_int_equal(v32, 0x07060504);
	assert_true(buf_be64(&r, &v64));
	assert_true(v64 == 0x08090a0b0c0d0e0f);
	assert_true(buf_done(&r));
	assert_false(buf_u8(&r, &v8));
	assert_int_equal(v8, 0);
	assert_false(buf_done(&r));
}

static void test_reader_stays_failed(void **state)
{
	static const uint8_t bytes[4] = { 9, 9, 9, 9 };
	struct buf_reader r, sub;
	uint64_t v64 = 1;
	uint8_t v8 = 1, copy[3] = { 1, 1, 1 };

	(void)state;
	buf_reader_init(&r, bytes, sizeof(bytes));
	assert_false(buf_le64(&r, &v64));
	assert_true(v64 == 0);
	assert_false(buf_u8(&r, &v8));
	assert_false(buf_bytes(&r, copy, sizeof(copy)));
	assert_int_equal(copy[0] | copy[1] | copy[2], 0);
	assert_null(buf_view(&r, 0));
	assert_false(buf_sub(&r, 1, &sub));
	assert_false(buf_u8(&sub, &v8));
	assert_int_equal(buf_left(&r), 0);
	buf_reader_init(&r, bytes, sizeof(bytes));
	assert_false(buf_skip(&r, SIZE_MAX));
	buf_reader_init(&r, NULL, 0);
	assert_true(buf_done(&r));
	assert_non_null(buf_view(&r, 0));
}

static void test_reader_sub(void **state)
{
	static const uint8_t bytes[4] = { 1, 2, 3, 4 };
	struct buf_reader r, sub;
	uint16_t v16;
	uint8_t v8;

	(void)state;
	buf_reader_init(&r, bytes, sizeof(bytes));
	assert_true(buf_sub(&r, 3, &sub));
	assert_true(buf_be16(&sub, &v16));
	assert_false(buf_be16(&sub, &v16));
	assert_true(buf_u8(&r, &v8));
	assert_int_equal(v8, 4);
	assert_true(buf_done(&r));
}

static void test_writer(void **state)
{
	static const uint8_t expected[] = { 1, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4,
					    'x', 'y', 0, 0 };
	uint8_t bytes[19];
	struct buf_writer w;

	(void)state;
	buf_writer_init(&w, bytes, sizeof(bytes));
	assert_true(buf_put_u8(&w, 1));
	assert_true(buf_put_be16(&w, 2));
	assert_true(buf_put_le32(&w, 3));
	assert_true(buf_put_be64(&w, 4));
	assert_true(buf_put_bytes(&w, "xy", 2));
	assert_true(buf_put_zero(&w, 2));
	assert_int_equal(buf_written(&w), sizeof(bytes));
	assert_memory_equal(bytes, expected, sizeof(bytes));
	assert_false(buf_put_u8(&w, 1));
	assert_int_equal(buf_written(&w), 0);
	assert_null(buf_reserve(&w, 0));
}

/* Vectors of the SipHash paper's reference code: key 00..0f, input 00, 00 01, ... */
static void test_siphash(void **state)
{
	static const uint64_t secret[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
	uint8_t in[64];

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	assert_true(hash_siphash(secret, in, 0) == 0x726fdb47dd0e0e31);
	assert_true(hash_siphash(secret, in, 1) == 0x74f839c593dc67fd);
	assert_true(hash_siphash(secret, in, 7) == 0xab0200f58b01d137);
	assert_true(hash_siphash(secret, in, 8) == 0x93f5f5799a932462);
	assert_true(hash_siphash(secret, in, 15) == 0xa129ca6149be45e5);
	assert_true(hash_siphash(secret, in, 63) == 0x958a324ceb064572);
}

enum { MODEL = 300, MODEL_STEPS = 20000 };

static void test_hash_against_model(void **state)
{
	static char names[MODEL][8];
	bool there[MODEL] = { false };
	uint32_t count = 0, seen = 0, pos = 0;
	struct hash map;
	void *old;

	(void)state;
	hash_init(&map);
	for (int i = 0; i < MODEL; i++)
		snprintf(names[i], sizeof(names[i]), "k%d", i);
	srand(1);
	for (int step = 0; step < MODEL_STEPS; step++) {
		int i = rand() % MODEL;

		if (rand() % 2) {
			assert_int_equal(hash_put_str(&map, names[i], names[i], &old), 0);
			assert_ptr_equal(old, there[i] ? names[i] : NULL);
			count += !there[i];
			there[i] = true;
		} else {
			assert_ptr_equal(hash_del_str(&map, names[i]), there[i] ? names[i] : NULL);
			count -= there[i];
			there[i] = false;
		}
		assert_int_equal(map.count, count);
		i = rand() % MODEL;
		assert_ptr_equal(hash_get_str(&map, names[i]), there[i] ? names[i] : NULL);
	}
	for (const char *name; (name = hash_next(&map, &pos)); seen++)
		assert_true(there[strtol(name + 1, NULL, 10)]);
	assert_int_equal(seen, count);
	hash_free(&map);
	assert_null(hash_get_str(&map, "k1"));
	assert_null(hash_del_str(&map, "k1"));
}

static void test_hash_empty_key(void **state)
{
	struct hash map;
	int value;

	(void)state;
	hash_init(&map);
	assert_null(hash_get(&map, "", 0));
	assert_int_equal(hash_put(&map, "", 0, &value, NULL), 0);
	assert_ptr_equal(hash_get(&map, "", 0), &value);
	assert_null(hash_get(&map, "\0", 1));
	hash_free(&map);
}

struct item {
	int n;
	struct list link;
};

static void test_list(void **state)
{
	struct list head = LIST_INIT(head), other = LIST_INIT(other);
	struct item items[4], *pos, *tmp;
	int sum = 0;

	(void)state;
	assert_null(list_first(&head, struct item, link));
	for (int i = 0; i < 4; i++)
		items[i].n = i + 1;
	list_add_tail(&head, &items[0].link);
	list_add_tail(&head, &items[2].link);
	list_add_before(&items[2].link, &items[1].link);
	list_add_head(&other, &items[3].link);
	list_splice_tail(&head, &other);
	assert_true(list_empty(&other));
	list_for_each(pos, &head, link)
		sum = sum * 10 + pos->n;
	assert_int_equal(sum, 1234);
	list_for_each_safe(pos, tmp, &head, link) {
		if (pos->n % 2)
			list_del(&pos->link);
	}
	list_del(&items[0].link);
	assert_ptr_equal(list_first(&head, struct item, link), &items[1]);
	assert_ptr_equal(head.prev, &items[3].link);
}

/* RFC 4648 section 10. */
static void test_base64(void **state)
{
	static const char *const texts[] = { "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=",
					     "Zm9vYmFy" };
	char text[BASE64_TEXT(6)];
	uint8_t bytes[6];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		base64_encode(text, "foobar", i);
		assert_string_equal(text, texts[i]);
		assert_int_equal(base64_decode(bytes, sizeof(bytes), text, strlen(text)), i);
		assert_memory_equal(bytes, "foobar", i);
	}
}

static void test_base64_all_bytes(void **state)
{
	uint8_t bytes[256], back[256];
	char text[BASE64_TEXT(256)];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	base64_encode(text, bytes, sizeof(bytes));
	assert_int_equal(strlen(text), BASE64_TEXT(256) - 1);
	assert_int_equal(base64_decode(back, sizeof(back), text, strlen(text)), 256);
	assert_memory_equal(bytes, back, sizeof(bytes));
}

static void test_base64_refuses(void **state)
{
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Z===", "====", "Zh==", "Zm9=",
					   "Zg==Zg==", "Zm 9", "Zm-_", "Zm9v\n", "Z\xc3\xa9g" };
	uint8_t bytes[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		memset(bytes, 0xaa, sizeof(bytes));
		assert_int_equal(base64_decode(bytes, sizeof(bytes), bad[i], strlen(bad[i])),
				 -EINVAL);
		assert_int_equal(bytes[0], 0);
	}
	assert_int_equal(base64_decode(bytes, 2, "Zm9v", 4), -EOVERFLOW);
}

static void test_base64_key(void **state)
{
	static const char text[] = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
	uint8_t key[32];

	(void)state;
	assert_int_equal(base64_key_decode(key, text), 0);
	for (int i = 0; i < 32; i++)
		assert_int_equal(key[i], i + 1);
	assert_int_equal(base64_key_decode(key, "AQID"), -EINVAL);
	/* The last digit of 32 bytes has two bits that must be zero: RFC 4648 3.5. */
	assert_int_equal(base64_key_decode(key, "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyB="),
			 -EINVAL);
	/* 33 bytes have 44 digits too. */
	assert_int_equal(base64_key_decode(key, "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh"),
			 -EINVAL);
}

static void test_hex(void **state)
{
	uint8_t bytes[256], back[256];
	char text[513];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	hex_encode(text, bytes, sizeof(bytes));
	assert_memory_equal(text, "000102", 6);
	assert_string_equal(text + 506, "fdfeff");
	assert_int_equal(hex_decode(back, sizeof(back), text), 0);
	assert_memory_equal(bytes, back, sizeof(bytes));
	assert_int_equal(hex_decode(back, 2, "aBcD"), 0);
	assert_int_equal(back[0] << 8 | back[1], 0xabcd);
	for (int c = 1; c < 256; c++) {
		char digit[3] = { '0', (char)c, '\0' };
		int good = strchr("0123456789abcdefABCDEF", c) != NULL;

		assert_int_equal(hex_decode(back, 1, digit), good ? 0 : -EINVAL);
	}
	assert_int_equal(hex_decode(back, 2, "abc"), -EINVAL);
	assert_int_equal(hex_decode(back, 2, "abcde"), -EINVAL);
}

static void test_crc32(void **state)
{
	(void)state;
	assert_int_equal(crc32_of((const uint8_t *)"123456789", 9), 0xcbf43926);
	assert_int_equal(crc32_of((const uint8_t *)"", 0), 0);
}

static void test_arena(void **state)
{
	struct arena arena = ARENA_INIT;
	char *big, *text;

	(void)state;
	for (size_t i = 1; i < 200; i++) {
		uint8_t *p = arena_alloc(&arena, i);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t k = 0; k < i; k++)
			assert_int_equal(p[k], 0);
		memset(p, 0xff, i);
	}
	big = arena_alloc(&arena, 1 << 20);
	assert_non_null(big);
	memset(big, 1, 1 << 20);
	text = arena_text(&arena, "text and more", 4);
	assert_string_equal(text, "text");
	assert_null(arena_alloc(&arena, SIZE_MAX));
	assert_null(arena_text(&arena, "", SIZE_MAX));
	arena_free(&arena);
	assert_int_equal(arena.total, 0);
}

static void test_sizes(void **state)
{
	size_t out = 7;

	(void)state;
	assert_false(size_add(SIZE_MAX, 1, &out));
	assert_false(size_mul(SIZE_MAX / 2 + 1, 2, &out));
	assert_int_equal(out, 7);
	assert_true(size_mul(SIZE_MAX / 2, 2, &out));
	assert_true(out == SIZE_MAX - 1);
}

static void test_schedule_gives_the_nearest(void **state)
{
	enum { COUNT = 300 };
	struct schedule_entry *entries = calloc(COUNT, sizeof(*entries));
	struct schedule schedule = { 0 };
	uint32_t seed = 7;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct schedule_entry *entry;
		uint64_t least = SCHEDULE_NEVER;

		seed = seed * 1664525 + 1013904223;
		entry = &entries[(seed >> 8) % COUNT];
		assert_int_equal(schedule_reserve(&schedule), 0);
		schedule_set(&schedule, entry,
			     seed & 16 ? SCHEDULE_NEVER : (seed >> 4) % 1000 + 1);
		if (!(seed & 16))
			assert_true(entry->at > 0);
		for (int i = 0; i < COUNT; i++) {
			if (entries[i].at && entries[i].deadline < least)
				least = entries[i].deadline;
		}
		if (least == SCHEDULE_NEVER)
			assert_null(schedule_first(&schedule));
		else
			assert_int_equal(schedule_first(&schedule)->deadline, least);
	}
	schedule_fini(&schedule);
	free(entries);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reader_numbers),
		cmocka_unit_test(test_reader_stays_failed),
		cmocka_unit_test(test_reader_sub),
		cmocka_unit_test(test_writer),
		cmocka_unit_test(test_siphash),
		cmocka_unit_test(test_hash_against_model),
		cmocka_unit_test(test_hash_empty_key),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_base64_all_bytes),
		cmocka_unit_test(test_base64_refuses),
		cmocka_unit_test(test_base64_key),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_crc32),
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_schedule_gives_the_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
