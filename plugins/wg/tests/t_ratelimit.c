/* Token buckets and the load test: dataplane.md 1.8. */
#include "../ratelimit.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "../messages.h"

static const uint64_t T = 100 * WG_SECOND;

static bool allow(struct wg_ratelimit *limit, uint32_t source, uint64_t now)
{
	return wg_ratelimit_allow(limit, (uint8_t *)&source, sizeof(source), now);
}

static void burst_then_rate(void **state)
{
	struct wg_ratelimit *limit = wg_ratelimit_new(16);
	int passed = 0;

	(void)state;
	assert_non_null(limit);
	for (int i = 0; i < 5; i++)
		assert_true(allow(limit, 1, T));
	assert_false(allow(limit, 1, T));
	assert_true(allow(limit, 2, T));		/* another source has its own bucket */
	assert_false(allow(limit, 1, T + WG_SECOND / 20 - 1));
	assert_true(allow(limit, 1, T + WG_SECOND / 20));
	assert_false(allow(limit, 1, T + WG_SECOND / 20));
	/* Ten seconds of 1,000 per second: 20 of each second pass. */
	for (uint64_t t = T + WG_SECOND; t < T + 11 * WG_SECOND; t += WG_SECOND / 1000)
		passed += allow(limit, 1, t);
	assert_in_range(passed, 200, 205);
	/* A pause does not save more than the burst. */
	for (int i = 0; i < 5; i++)
		assert_true(allow(limit, 1, T + 60 * WG_SECOND));
	assert_false(allow(limit, 1, T + 60 * WG_SECOND));
	wg_ratelimit_free(limit);
}

static void full_table_refuses_and_recovers(void **state)
{
	struct wg_ratelimit *limit = wg_ratelimit_new(100);
	int passed = 0;

	(void)state;
	for (uint32_t i = 0; i < 10000; i++)
		passed += allow(limit, i, T);
	assert_int_equal(passed, 100);
	assert_int_equal(wg_ratelimit_count(limit), 100);
	assert_true(allow(limit, 5, T + WG_SECOND));	/* who is in stays in */
	assert_false(allow(limit, 100000, T + WG_SECOND));
	/* Idle for more than a second: collected, but not the one that was active. */
	assert_true(allow(limit, 100000, T + WG_SECOND + 2));
	assert_int_equal(wg_ratelimit_count(limit), 2);
	for (uint32_t i = 0; i < 98; i++)
		assert_true(allow(limit, 200000 + i, T + WG_SECOND + 3));
	assert_false(allow(limit, 300000, T + WG_SECOND + 3));
	wg_ratelimit_free(limit);
}

/* An attacker of many sources cannot grow the table or turn it off, whatever the timing. */
static void flood_stays_bounded(void **state)
{
	struct wg_ratelimit *limit = wg_ratelimit_new(64);
	uint64_t t = T, passed = 0;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		t += randombytes_uniform(100);
		passed += allow(limit, randombytes_uniform(5000), t);
		assert_true(wg_ratelimit_count(limit) <= 64);
	}
	/* 64 places, each worth its burst and rate until it is collected. */
	assert_true(passed <= (t - T + WG_SECOND) / WG_SECOND * 64 * 25);
	assert_true(passed > 64);
	wg_ratelimit_free(limit);
}

static void clock_of_another_thread(void **state)
{
	struct wg_ratelimit *limit = wg_ratelimit_new(4);

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_true(allow(limit, 1, T));
	assert_false(allow(limit, 1, T - 1000));	/* earlier: no tokens come of it */
	assert_false(allow(limit, 1, T));
	wg_ratelimit_free(limit);
}

static void keys(void **state)
{
	struct warren_addr a = { 4, { 192, 0, 2, 1 } }, b = { 6, { 0x20, 1, 0xd, 0xb8 } };
	uint8_t k[WG_RATELIMIT_KEY_MAX], l[WG_RATELIMIT_KEY_MAX];

	(void)state;
	assert_int_equal(wg_ratelimit_key(k, &a), 4);
	assert_memory_equal(k, a.bytes, 4);
	assert_int_equal(wg_ratelimit_key(k, &b), 8);
	b.bytes[15] = 99;		/* the same /64 */
	b.bytes[8] = 1;
	assert_int_equal(wg_ratelimit_key(l, &b), 8);
	assert_memory_equal(k, l, 8);
	b.bytes[7] = 1;			/* another */
	wg_ratelimit_key(l, &b);
	assert_memory_not_equal(k, l, 8);
	a.family = 0;
	assert_int_equal(wg_ratelimit_key(k, &a), 0);
}

static void sizes(void **state)
{
	(void)state;
	assert_null(wg_ratelimit_new(0));
	assert_null(wg_ratelimit_new((1 << 20) + 1));
	wg_ratelimit_free(wg_ratelimit_new(1));
	wg_ratelimit_free(NULL);
}

static void load(void **state)
{
	struct wg_load l = { 0 };

	(void)state;
	assert_false(wg_load_update(&l, 0, 1024, T));
	assert_false(wg_load_update(&l, 127, 1024, T));
	assert_true(wg_load_update(&l, 128, 1024, T));
	assert_true(wg_load_update(&l, 0, 1024, T + WG_SECOND - 1));	/* sticky */
	assert_false(wg_load_update(&l, 0, 1024, T + WG_SECOND));
	assert_true(wg_load_update(&l, 1024, 1024, T + WG_SECOND));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(burst_then_rate),
		cmocka_unit_test(full_table_refuses_and_recovers),
		cmocka_unit_test(flood_stays_bounded),
		cmocka_unit_test(clock_of_another_thread),
		cmocka_unit_test(keys),
		cmocka_unit_test(sizes),
		cmocka_unit_test(load),
	};

	return sodium_init() == -1 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
