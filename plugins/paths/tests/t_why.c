/*
 * Verdicts of `warren why`: each can be reached, and the stronger reason goes first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../why.h"

/* A peer that we ping without any answer; for a while; and a network that is well. */
#define PINGED .joined = true, .known = true, .disco = true, .active = true, .candidates = 2, \
	       .pings = 8
#define LONG .busy_long = true
#define SENDS .probed = true, .can_send = true
#define SILENT PINGED, LONG, SENDS, .udp = true

static void test_verdicts(void **state)
{
	static const struct {
		struct paths_facts facts;
		enum paths_why why;
	} rows[] = {
		{ { .joined = false }, PATHS_WHY_NO_NETWORK },
		{ { .joined = true }, PATHS_WHY_PEER_UNKNOWN },
		{ { SILENT, .expired = true, .direct = true }, PATHS_WHY_KEY_EXPIRED },
		{ { SILENT, .direct = true, .offline = true }, PATHS_WHY_DIRECT },
		{ { SILENT, .narrow = true, .pongs = 4 }, PATHS_WHY_MTU },
		{ { .joined = true, .known = true, .disco = true, .narrow = true },
		  PATHS_WHY_IDLE },
		{ { .joined = true, .known = true }, PATHS_WHY_NO_DISCO },
		{ { .joined = true, .known = true, .disco = true }, PATHS_WHY_IDLE },
		{ { .joined = true, .known = true, .disco = true, .active = true },
		  PATHS_WHY_NO_ENDPOINTS },
		{ { PINGED, LONG, .probed = true }, PATHS_WHY_UDP_REFUSED },
		{ { PINGED, SENDS, .udp = true }, PATHS_WHY_SEARCHING },
		{ { PINGED, SENDS, .udp = true, .was_direct = true }, PATHS_WHY_BLACK_HOLE },
		{ { PINGED, LONG, SENDS }, PATHS_WHY_UDP_BLOCKED },
		{ { PINGED, LONG, SENDS, .captive = true }, PATHS_WHY_CAPTIVE },
		{ { PINGED, LONG, SENDS, .offline = true }, PATHS_WHY_UDP_BLOCKED },
		/* STUN alone is blocked: other peers answer. */
		{ { PINGED, LONG, SENDS, .udp_elsewhere = true }, PATHS_WHY_STUN_UNREACHABLE },
		{ { PINGED, LONG, SENDS, .udp_elsewhere = true, .pinged_us = true },
		  PATHS_WHY_ANSWERS_LOST },
		{ { PINGED, LONG }, PATHS_WHY_NO_ANSWER },
		{ { SILENT, .offline = true }, PATHS_WHY_PEER_OFFLINE },
		{ { SILENT, .was_direct = true, .mapping_varies = true }, PATHS_WHY_BLACK_HOLE },
		{ { SILENT, .pongs = 1 }, PATHS_WHY_BLACK_HOLE },
		{ { SILENT, .pinged_us = true, .mapping_varies = true }, PATHS_WHY_ANSWERS_LOST },
		{ { SILENT, .relay_failed = true, .mapping_varies = true },
		  PATHS_WHY_RELAY_UNREACHABLE },
		{ { SILENT, .relay_failed = true, .pinged_us = true }, PATHS_WHY_ANSWERS_LOST },
		{ { PINGED, LONG, SENDS, .relay_failed = true }, PATHS_WHY_UDP_BLOCKED },
		{ { SILENT, .mapping_varies = true }, PATHS_WHY_HARD_NAT },
		{ { SILENT, .mapping_varies = true, .mapping_refused = true },
		  PATHS_WHY_MAPPING_REFUSED },
		{ { SILENT, .mapping_refused = true }, PATHS_WHY_MAPPING_REFUSED },
		{ { SILENT, .mapping_refused = true, .offline = true }, PATHS_WHY_PEER_OFFLINE },
		{ { SILENT }, PATHS_WHY_NO_ANSWER },
	};
	bool seen[PATHS_WHY_CODES] = { false };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_string_equal(paths_why_code(paths_why(&rows[i].facts)),
				    paths_why_code(rows[i].why));
		seen[rows[i].why] = true;
	}
	for (int i = 0; i < PATHS_WHY_CODES; i++)
		assert_true(seen[i]);
}

static void test_words(void **state)
{
	(void)state;
	for (int i = 0; i < PATHS_WHY_CODES; i++) {
		assert_true(strlen(paths_why_code(i)) > 0 && strlen(paths_why_sentence(i)) > 0);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(paths_why_code(i), paths_why_code(k));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
