/* The replay window: edges of dataplane.md 1.11, and a naive model that remembers every counter. */
#include "../replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void in_order_and_twice(void **state)
{
	struct wg_replay w = { 0 };

	(void)state;
	for (uint64_t c = 0; c < 20000; c++) {
		assert_true(wg_replay_check(&w, c));
		assert_true(wg_replay_accept(&w, c));
		assert_false(wg_replay_check(&w, c));
		assert_false(wg_replay_accept(&w, c));
	}
}

static void check_does_not_mark(void **state)
{
	struct wg_replay w = { 0 }, before;

	(void)state;
	assert_true(wg_replay_accept(&w, 500));
	before = w;
	assert_true(wg_replay_check(&w, 100000));
	assert_true(wg_replay_check(&w, 499));
	assert_memory_equal(&w, &before, sizeof(w));
}

/* 8128 behind is accepted, 8129 is not, wherever in a word the greatest lies. */
static void window_edge(void **state)
{
	(void)state;
	for (uint64_t g = 100000; g < 100000 + 130; g++) {
		struct wg_replay w = { 0 };

		assert_true(wg_replay_accept(&w, g));
		assert_false(wg_replay_accept(&w, g - 8129));
		assert_true(wg_replay_accept(&w, g - 8128));
		assert_false(wg_replay_accept(&w, g - 8128));
		assert_true(wg_replay_accept(&w, g - 1));
		assert_false(wg_replay_accept(&w, 0));
	}
}

static void limit(void **state)
{
	struct wg_replay w = { 0 }, before;

	(void)state;
	assert_true(wg_replay_accept(&w, 7));
	before = w;
	assert_false(wg_replay_accept(&w, WG_REJECT_AFTER_MESSAGES));
	assert_false(wg_replay_accept(&w, UINT64_MAX));
	assert_memory_equal(&w, &before, sizeof(w));
	assert_true(wg_replay_accept(&w, WG_REJECT_AFTER_MESSAGES - 1));
	assert_false(wg_replay_accept(&w, WG_REJECT_AFTER_MESSAGES - 1));
	assert_false(wg_replay_accept(&w, 8));
	/* 64 bits: what a 32-bit counter would call the same. */
	w = (struct wg_replay){ 0 };
	assert_true(wg_replay_accept(&w, 1));
	assert_true(wg_replay_accept(&w, (UINT64_C(1) << 32) + 1));
	assert_false(wg_replay_accept(&w, 1));
}

enum { SPAN = 1 << 20 };

static void random_against_model(void **state)
{
	unsigned char *seen = calloc(1, SPAN);
	struct wg_replay w = { 0 };
	uint64_t greatest = 0;

	(void)state;
	assert_non_null(seen);
	srandom(20240607);
	for (int i = 0; i < 400000; i++) {
		/* Around the window, with a jump forward now and then. */
		uint64_t c = greatest + 200;
		uint64_t back = (uint64_t)random() % (random() % 50 ? 400 : 9000);
		bool want;

		if (random() % 2000 == 0)
			c += (uint64_t)random() % 20000;
		c = c > back ? c - back : 0;
		if (c >= SPAN)
			break;
		want = !seen[c] && (c > greatest || greatest - c <= WG_REPLAY_WINDOW);
		assert_int_equal(wg_replay_check(&w, c), want);
		assert_int_equal(wg_replay_accept(&w, c), want);
		seen[c] |= want;
		if (want && c > greatest)
			greatest = c;
	}
	assert_true(greatest > SPAN / 4);
	free(seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order_and_twice),
		cmocka_unit_test(check_does_not_mark),
		cmocka_unit_test(window_edge),
		cmocka_unit_test(limit),
		cmocka_unit_test(random_against_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
