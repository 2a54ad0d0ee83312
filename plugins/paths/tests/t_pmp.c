/*
 * NAT-PMP and PCP, byte for byte: requests of the reference's vectors, answers of a gateway, and
 * what must not pass for one.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../pmp.h"
#include "base/addr.h"
#include "base/hex.h"

#define SELF "00000000000000000000ffffc0a80102"		/* 192.168.1.2 */
#define NONCE "0102030405060708090a0b0c"
#define NO_ADDRESS "00000000000000000000ffff00000000"
#define PCP_PAD "000000000000000000000000"

static const uint8_t nonce[PCP_NONCE] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
static struct pmp_answer answer;

static void is_hex(const uint8_t *data, size_t len, const char *hex)
{
	uint8_t bytes[PMP_ANSWER_MAX];

	assert_int_equal(strlen(hex), 2 * len);
	assert_int_equal(hex_decode(bytes, len, hex), 0);
	assert_memory_equal(data, bytes, len);
}

static int parse(const char *hex)
{
	uint8_t bytes[PMP_ANSWER_MAX];
	size_t len = strlen(hex) / 2;

	assert_int_equal(hex_decode(bytes, len, hex), 0);
	return pmp_answer_parse(bytes, len, &answer);
}

static struct warren_addr self(void)
{
	struct warren_addr addr;

	assert_int_equal(addr_parse("192.168.1.2", &addr), 0);
	return addr;
}

static void test_requests(void **state)
{
	struct warren_addr from = self();
	struct warren_addrport none = { .port = 0 }, wanted;
	uint8_t out[PCP_MAP_SIZE];

	(void)state;
	pmp_public_request(out);
	is_hex(out, PMP_PUBLIC_SIZE, "0000");
	pmp_map_request(41641, 0, PMP_LIFETIME, out);
	is_hex(out, PMP_MAP_SIZE, "00010000a2a9000000001c20");
	pmp_map_request(41641, 0, 0, out);
	is_hex(out, PMP_MAP_SIZE, "00010000a2a9000000000000");
	pcp_announce_request(&from, out);
	is_hex(out, PCP_ANNOUNCE_SIZE, "0200000000000000" SELF);
	pcp_map_request(&from, nonce, 41641, &none, PMP_LIFETIME, out);
	is_hex(out, PCP_MAP_SIZE, "0201000000001c20" SELF NONCE "11000000a2a90000" NO_ADDRESS);
	assert_int_equal(addrport_parse("198.51.100.7:1024", &wanted), 0);
	pcp_map_request(&from, nonce, 41641, &wanted, 600, out);
	is_hex(out, PCP_MAP_SIZE, "0201000000000258" SELF NONCE "11000000a2a90400"
	       "00000000000000000000ffffc6336407");
}

static void test_pmp_answers(void **state)
{
	char text[ADDRPORT_TEXT];

	(void)state;
	assert_int_equal(parse("0080000000000064c6336407"), 0);
	assert_false(answer.pcp || answer.map);
	assert_int_equal(answer.result, PMP_OK);
	assert_int_equal(answer.epoch, 100);
	assert_string_equal(addr_format(&answer.external.addr, text), "198.51.100.7");
	assert_int_equal(parse("0081000000000065a2a9040000001c20"), 0);
	assert_true(answer.map && !answer.pcp);
	assert_int_equal(answer.internal, 41641);
	assert_int_equal(answer.external.port, 1024);
	assert_int_equal(answer.lifetime, 7200);
	/* Refusals: short, and with what the request had. */
	assert_int_equal(parse("0081000200000065"), 0);
	assert_int_equal(answer.result, 2);
	assert_int_equal(parse("0080000300000065c6336407"), 0);
	assert_int_equal(answer.result, 3);
	assert_int_equal(answer.external.addr.family, 0);
	/* To a request of PCP. */
	assert_int_equal(parse("0081000100000065"), 0);
	assert_int_equal(answer.result, PMP_WRONG_VERSION);
}

#define PCP_MAPPED "0281000000000e1000000064" PCP_PAD NONCE "11000000a2a90400" \
	"00000000000000000000ffffc6336407"

static void test_pcp_answers(void **state)
{
	char text[ADDRPORT_TEXT];

	(void)state;
	assert_int_equal(parse("028000000000000000000064" PCP_PAD), 0);
	assert_true(answer.pcp && !answer.map);
	assert_int_equal(answer.epoch, 100);
	assert_int_equal(parse(PCP_MAPPED), 0);
	assert_true(answer.pcp && answer.map && answer.has_nonce);
	assert_memory_equal(answer.nonce, nonce, sizeof(nonce));
	assert_int_equal(answer.lifetime, 3600);
	assert_int_equal(answer.internal, 41641);
	assert_string_equal(addrport_format(&answer.external, text), "198.51.100.7:1024");
	/* With an option behind, of a kind that is not known. */
	assert_int_equal(parse(PCP_MAPPED "7f00000401020304"), 0);
	/* Refused: with what the request had, and with a header only. */
	assert_int_equal(parse("0281000c0000001e00000064" PCP_PAD NONCE "11000000a2a90000"
			       NO_ADDRESS), 0);
	assert_int_equal(answer.result, 12);
	assert_true(answer.has_nonce);
	assert_int_equal(parse("028100010000001e00000064" PCP_PAD), 0);
	assert_int_equal(answer.result, PMP_WRONG_VERSION);
	assert_false(answer.has_nonce);
}

static void test_no_answers(void **state)
{
	static const char *const bad[] = {
		"", "00", "0000", "0001",
		"0000000000000064c6336407",		/* a request */
		"0180000000000064c6336407",		/* version 1 */
		"0082000000000064a2a9040000001c20",	/* TCP */
		"0080000000000064c63364",		/* cut off */
		"0081000000000065a2a9040000001c",
		"00810002000000",
		"028000000000000000000064",		/* half a header */
		"0282000000000e1000000064" PCP_PAD,	/* PEER */
		"0281000000000e1000000064" PCP_PAD,	/* success without content */
		/* TCP; and cut off in the address */
		"0281000000000e1000000064" PCP_PAD NONCE "06000000a2a90400"
		"00000000000000000000ffffc6336407",
		"0281000000000e1000000064" PCP_PAD NONCE "11000000a2a90400"
		"00000000000000000000ffffc63364",
	};
	uint8_t long_one[PMP_ANSWER_MAX + 4] = { 0, 0x80 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(bad[i]), -EBADMSG);
	assert_int_equal(pmp_answer_parse(long_one, sizeof(long_one), &answer), -EBADMSG);
	assert_int_equal(pmp_answer_parse(long_one, PMP_ANSWER_MAX, &answer), 0);
}

static void test_words(void **state)
{
	(void)state;
	assert_string_equal(pmp_result_text(false, 3), "network failure");
	assert_string_equal(pmp_result_text(true, 3), "malformed request");
	assert_string_equal(pmp_result_text(false, 6), "unknown result");
	assert_string_equal(pmp_result_text(true, 255), "unknown result");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_pmp_answers),
		cmocka_unit_test(test_pcp_answers),
		cmocka_unit_test(test_no_answers),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
