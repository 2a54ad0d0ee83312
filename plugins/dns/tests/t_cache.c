/*
 * What is kept, for how long, and what has to go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "plugins/dns/cache.h"

#define SECOND UINT64_C(1000000)

static struct dns_query query_of(const char *name, uint16_t type)
{
	struct dns_query q = { .type = type, .class_ = DNS_IN };

	assert_int_equal(dns_name_parse(name, &q.name), 0);
	return q;
}

/* One with an answer, of @len bytes that the cache does not look at. */
static void put(struct dns_cache *cache, const struct dns_query *q, uint64_t now, size_t len,
		uint32_t ttl)
{
	uint8_t msg[4096] = { [7] = 1 };

	dns_cache_put(cache, q, now, msg, len, ttl);
}

static bool has(struct dns_cache *cache, const struct dns_query *q, uint64_t now)
{
	uint32_t age;
	size_t len;

	return dns_cache_get(cache, q, now, &len, &age);
}

static void test_time(void **state)
{
	struct dns_query q = query_of("www.example.com", DNS_A), other;
	struct dns_cache cache;
	uint32_t age;
	size_t len;

	(void)state;
	dns_cache_init(&cache, 1 << 20);
	put(&cache, &q, 100 * SECOND, 64, 30);
	assert_non_null(dns_cache_get(&cache, &q, 112 * SECOND, &len, &age));
	assert_int_equal(len, 64);
	assert_int_equal(age, 12);
	/* Another type, or who wants signatures, is another question. */
	other = query_of("www.example.com", DNS_AAAA);
	assert_false(has(&cache, &other, 112 * SECOND));
	other = q;
	other.dnssec_ok = true;
	assert_false(has(&cache, &other, 112 * SECOND));
	other = q;
	other.flags = DNS_CD;
	assert_false(has(&cache, &other, 112 * SECOND));
	assert_false(has(&cache, &q, 130 * SECOND));
	assert_int_equal(cache.n, 0);
	assert_int_equal(cache.bytes, 0);
	/* Life 0 takes the old one's place and leaves none. */
	put(&cache, &q, 200 * SECOND, 64, 30);
	put(&cache, &q, 201 * SECOND, 64, 0);
	assert_false(has(&cache, &q, 202 * SECOND));
	/* A day at most, ten minutes where there is nothing. */
	put(&cache, &q, 0, 64, 1000000);
	assert_true(has(&cache, &q, 86399 * SECOND));
	assert_false(has(&cache, &q, 86400 * SECOND));
	dns_cache_put(&cache, &q, 0, (uint8_t[64]){ 0 }, 64, 1000000);
	assert_true(has(&cache, &q, 599 * SECOND));
	assert_false(has(&cache, &q, 600 * SECOND));
	dns_cache_clear(&cache);
}

static void test_limit(void **state)
{
	struct dns_query q[200];
	struct dns_cache cache;
	uint32_t left = 0;
	char name[32];

	(void)state;
	dns_cache_init(&cache, 16 << 10);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "host-%d.example.com", i);
		q[i] = query_of(name, DNS_A);
		put(&cache, &q[i], SECOND, 200, 600);
		assert_true(cache.bytes <= cache.limit);
		assert_true(has(&cache, &q[0], 2 * SECOND));	/* used, so it stays */
	}
	for (int i = 0; i < 200; i++)
		left += has(&cache, &q[i], 2 * SECOND);
	assert_int_equal(left, cache.n);
	assert_in_range(left, 10, 100);
	assert_true(has(&cache, &q[199], 2 * SECOND));
	assert_false(has(&cache, &q[1], 2 * SECOND));
	/* One that would push most others out is not kept. */
	put(&cache, &q[1], SECOND, 4096, 600);
	assert_false(has(&cache, &q[1], 2 * SECOND));
	dns_cache_limit(&cache, 0);
	assert_int_equal(cache.n, 0);
	put(&cache, &q[1], SECOND, 64, 600);
	assert_int_equal(cache.n, 0);
	dns_cache_clear(&cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
