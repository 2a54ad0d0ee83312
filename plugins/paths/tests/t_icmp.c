/*
 * ICMP echo: bytes that were made by another program, and replies cut, changed and of other kinds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "plugins/paths/icmp.h"

static const uint8_t reply[] = {
	0x45, 0x00, 0x00, 0x1e, 0x1c, 0x46, 0x00, 0x00, 0x3f, 0x01, 0x73, 0x55, 0xc0, 0x00, 0x02,
	0x07, 0xc6, 0x33, 0x64, 0x09, 0x00, 0x00, 0xbc, 0x65, 0x12, 0x34, 0x00, 0x05, 0x31, 0x61,
};
static const uint8_t options[] = {
	0x46, 0x00, 0x00, 0x22, 0x1c, 0x46, 0x00, 0x00, 0x3f, 0x01, 0xde, 0x4c, 0xc0, 0x00, 0x02,
	0x07, 0xc6, 0x33, 0x64, 0x09, 0x94, 0x04, 0x00, 0x00, 0x00, 0x00, 0xbc, 0x65, 0x12, 0x34,
	0x00, 0x05, 0x31, 0x61,
};

static void test_request(void **state)
{
	static const uint8_t want[] = {
		0x08, 0x00, 0xb4, 0x65, 0x12, 0x34, 0x00, 0x05, 0x31, 0x61,
	};
	uint8_t out[ICMP_ECHO_MAX], long_name[ICMP_ECHO_DATA + 1] = { 0 };
	struct icmp_echo echo = { 0x1234, 5, (const uint8_t *)"1a", 2 };

	(void)state;
	assert_int_equal(icmp_request(&echo, out), sizeof(want));
	assert_memory_equal(out, want, sizeof(want));
	echo.data = long_name;
	echo.len = ICMP_ECHO_DATA;
	assert_int_equal(icmp_request(&echo, out), ICMP_ECHO_MAX);
	echo.len++;
	assert_int_equal(icmp_request(&echo, out), 0);
}

static void takes(const uint8_t *packet, size_t len)
{
	static const uint8_t from4[] = { 192, 0, 2, 7 };
	struct warren_addr from;
	struct icmp_echo echo;

	assert_true(icmp_reply_parse(packet, len, &from, &echo));
	assert_int_equal(from.family, 4);
	assert_memory_equal(from.bytes, from4, 4);
	assert_int_equal(echo.id, 0x1234);
	assert_int_equal(echo.seq, 5);
	assert_int_equal(echo.len, 2);
	assert_memory_equal(echo.data, "1a", 2);
}

static void test_replies(void **state)
{
	(void)state;
	takes(reply, sizeof(reply));
	takes(options, sizeof(options));
}

static bool refused(const uint8_t *packet, size_t len)
{
	struct warren_addr from;
	struct icmp_echo echo;

	return !icmp_reply_parse(packet, len, &from, &echo);
}

static void test_refused(void **state)
{
	/* Version, header length, protocol, type, code, and what the checksum covers. */
	static const struct { size_t at; uint8_t value; } changes[] = {
		{ 0, 0x65 }, { 0, 0x44 }, { 0, 0x4f }, { 9, 17 }, { 20, 8 }, { 21, 1 }, { 22, 1 },
		{ 29, 0x62 },
	};
	uint8_t copy[sizeof(reply)];

	(void)state;
	for (size_t len = 0; len < sizeof(reply); len++)
		assert_true(refused(reply, len));
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		memcpy(copy, reply, sizeof(copy));
		copy[changes[i].at] = changes[i].value;
		assert_true(refused(copy, sizeof(copy)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
