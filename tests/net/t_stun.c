/*
 * STUN: the known request, recorded exchanges of stock programs, the examples of RFC 5769, and the
 * habits of servers that are not stock.
 */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <warren/stun.h>

#include "base/addr.h"
#include "base/hex.h"

#define TXID "0102030405060708090a0b0c"
#define REQUEST "00010014" "2112a442" TXID "80220008" "7461696c6e6f6465" "80280004" "b32c370f"

static uint8_t bytes[256], txid[WARREN_STUN_TXID];

static size_t unhex(const char *hex)
{
	size_t len = strlen(hex) / 2;

	assert_true(len <= sizeof(bytes));
	assert_int_equal(hex_decode(bytes, len, hex), 0);
	return len;
}

static void answer_says(const char *hex, const char *address)
{
	struct warren_addrport seen;
	char text[ADDRPORT_TEXT];

	assert_int_equal(warren_stun_answer_parse(bytes, unhex(hex), txid, &seen), 0);
	assert_string_equal(addrport_format(&seen, text), address);
}

static void answer_refused(const char *hex)
{
	struct warren_addrport seen;

	assert_int_equal(warren_stun_answer_parse(bytes, unhex(hex), txid, &seen), -EBADMSG);
	assert_int_equal(seen.addr.family, 0);
}

static struct warren_stun_asked asked;

static int request(const char *hex)
{
	int result = warren_stun_request_parse(bytes, unhex(hex), &asked);

	memcpy(txid, asked.txid, sizeof(txid));
	return result;
}

static void of_another(const char *hex)
{
	assert_int_equal(request(hex), 0);
	assert_false(asked.tailscale);
	assert_int_equal(asked.n_unknown, 0);
}

static void test_request(void **state)
{
	static const uint8_t known[WARREN_STUN_TXID] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
	uint8_t made[WARREN_STUN_REQUEST];

	(void)state;
	warren_stun_request(known, made);
	assert_int_equal(unhex(REQUEST), sizeof(made));
	assert_memory_equal(made, bytes, sizeof(made));
	assert_int_equal(request(REQUEST), 0);
	assert_true(asked.tailscale);
	assert_memory_equal(txid, known, sizeof(txid));
	assert_int_equal(request(REQUEST "00"), 0);	/* bytes behind the declared length */
}

static void test_requests_of_others(void **state)
{
	(void)state;
	/* Bare, as a generic client sends it; of another software; with a password. */
	of_another("00010000" "2112a442" TXID);
	of_another("0001000c" "2112a442" TXID "80220008" "7461696c6e6f6465");
	of_another("0001000c" "2112a442" TXID "80220008" "7461696c6e6f6466");
	of_another("00010020" "2112a442" TXID "00060003" "61626300" "00080014"
		   "0000000000000000000000000000000000000000");
	/* Wrong sum; the sum is not the last; no length of RFC 8489. */
	assert_int_equal(request("00010014" "2112a442" TXID "80220008" "7461696c6e6f6465"
				 "80280004" "b32c370e"), -EBADMSG);
	assert_int_equal(request("00010014" "2112a442" TXID "80280004" "b32c370f"
				 "80220008" "7461696c6e6f6465"), -EBADMSG);
	assert_int_equal(request("00010006" "2112a442" TXID "80220002" "7461"), -EBADMSG);
	/* No request, no STUN, cut off. */
	assert_int_equal(request("01010000" "2112a442" TXID), -EBADMSG);
	assert_int_equal(request("00010000" "2112a443" TXID), -EBADMSG);
	assert_int_equal(request("00010004" "2112a442" TXID), -EBADMSG);
	assert_int_equal(request("00010004" "2112a442" TXID "80220008"), -EBADMSG);
	assert_int_equal(request("0001"), -EBADMSG);
}

/* RFC 8489 6.3.1: told what was not understood, in no more bytes than an answer has. */
static void test_what_is_not_understood(void **state)
{
	static const char refusal[] = "01110010" "2112a442" TXID "00090004" "00000414"
				      "000a0004" "00030026";
	static const char one[] = "01110010" "2112a442" TXID "00090004" "00000414"
				  "000a0002" "00030000";
	uint8_t out[WARREN_STUN_ANSWER];

	(void)state;
	assert_int_equal(request("00010014" "2112a442" TXID "00030004" "00000006" "00260000"
				 "00270004" "00000000"), 0);
	assert_int_equal(asked.n_unknown, 2);
	assert_int_equal(warren_stun_refusal(&asked, out), unhex(refusal));
	assert_memory_equal(out, bytes, strlen(refusal) / 2);
	assert_int_equal(request("00010008" "2112a442" TXID "00030004" "00000006"), 0);
	assert_int_equal(warren_stun_refusal(&asked, out), unhex(one));
	assert_memory_equal(out, bytes, strlen(one) / 2);
}

static void test_answer(void **state)
{
	static const char *const seen[] = { "192.0.2.1:32853", "[2001:db8::7]:1", "0.0.0.0:65535" };

	(void)state;
	for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++) {
		uint8_t out[WARREN_STUN_ANSWER], back[WARREN_STUN_TXID];
		struct warren_addrport ap, got;
		size_t len;

		assert_int_equal(addrport_parse(seen[i], &ap), 0);
		len = warren_stun_answer(txid, &ap, out);
		assert_int_equal(len, ap.addr.family == 4 ? 32 : 44);
		assert_int_equal(warren_stun_answer_parse(out, len, back, &got), 0);
		assert_memory_equal(back, txid, sizeof(back));
		assert_true(addrport_equal(&ap, &got));
	}
	assert_int_equal(warren_stun_answer(txid, &(struct warren_addrport){ .port = 1 }, bytes),
			 0);
}

/* RFC 5769 2.2 and 2.3: with SOFTWARE before, padded with a blank, and integrity behind. */
static void test_rfc5769(void **state)
{
	(void)state;
	answer_says("0101003c" "2112a442" "b7e7a701bc34d686fa87dfae" "8022000b"
		    "7465737420766563746f7220" "00200008" "0001a147" "e112a643" "00080014"
		    "2b91f599fd9e90c38c7489f92af9ba53f06be7d7" "80280004" "c07d4c96",
		    "192.0.2.1:32853");
	answer_says("01010048" "2112a442" "b7e7a701bc34d686fa87dfae" "8022000b"
		    "7465737420766563746f7220" "00200014" "0002a147"
		    "0113a9faa5d3f179bc25f4b5bed2b9d9" "00080014"
		    "a382954e4be67bf11784c97c8292c275bfe3ed41" "80280004" "c8fb0b4c",
		    "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
}

static void test_answers_of_others(void **state)
{
	(void)state;
	/* MAPPED-ADDRESS alone, then before the one that counts, then the old number of that. */
	answer_says("0101000c" "2112a442" TXID "00010008" "00011234" "01020304", "1.2.3.4:4660");
	answer_says("01010018" "2112a442" TXID "00010008" "00011234" "01020304"
		    "00200008" "0001a147" "e112a643", "192.0.2.1:32853");
	answer_says("0101000c" "2112a442" TXID "80200008" "0001a147" "e112a643",
		    "192.0.2.1:32853");
	/* An IPv4 client of a server with one socket for both families. */
	answer_says("01010018" "2112a442" TXID "00010014" "00020050"
		    "00000000000000000000ffffc0000201", "192.0.2.1:80");
	/* Trailing bytes; an attribute of unknown kind whose padding is left out at the end. */
	answer_says("0101000c" "2112a442" TXID "80200008" "0001a147" "e112a643" "00",
		    "192.0.2.1:32853");
	answer_says("01010011" "2112a442" TXID "00010008" "00011234" "01020304" "80330001" "61",
		    "1.2.3.4:4660");
}

static void test_refused_answers(void **state)
{
	(void)state;
	answer_refused("01010000" "2112a442" TXID);
	answer_refused("01110000" "2112a442" TXID);
	answer_refused("0101000c" "2112a443" TXID "00200008" "0001a147" "e112a643");
	answer_refused("0101000d" "2112a442" TXID "00200008" "0001a147" "e112a643");
	answer_refused("0101000c" "2112a442" TXID "00200008" "0003a147" "e112a643");
	answer_refused("0101000c" "2112a442" TXID "00200009" "0001a147" "e112a643");
	answer_refused("01010008" "2112a442" TXID "00200004" "0002a147");
	answer_refused("0101");
}

static const char *field(const json_t *line, const char *key)
{
	return json_string_value(json_object_get(line, key));
}

static void test_recorded(void **state)
{
	const char *src = getenv("WARREN_SRCDIR");
	int requests = 0, answers = 0;
	char path[4096];
	json_t *line;
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/tests/net/data/disco-first-contact.jsonl",
		 src ? src : ".");
	file = fopen(path, "re");
	assert_non_null(file);
	while ((line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL))) {
		const char *kind = field(line, "kind"), *hex = field(line, "hex");

		if (kind && strcmp(kind, "stun") == 0) {
			if (strncmp(hex, "0001", 4) == 0) {
				uint8_t again[WARREN_STUN_REQUEST];

				assert_int_equal(request(hex), 0);
				warren_stun_request(txid, again);
				assert_memory_equal(again, bytes, sizeof(again));
				requests++;
			} else {
				answer_says(hex, field(line, "to"));
				answers++;
			}
		}
		json_decref(line);
	}
	fclose(file);
	assert_true(requests > 0 && answers > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_requests_of_others),
		cmocka_unit_test(test_what_is_not_understood),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_rfc5769),
		cmocka_unit_test(test_answers_of_others),
		cmocka_unit_test(test_refused_answers),
		cmocka_unit_test(test_recorded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
