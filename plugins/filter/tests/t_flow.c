/*
 * The flow table: eviction of the oldest, expiry, and workers that write it at the same time
 * (meaningful with the thread sanitizer).
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "plugins/filter/flow.h"

static const uint64_t second = 1000000;
static struct filter_flows flows;

static struct filter_packet sent(uint32_t i)
{
	return (struct filter_packet){ .version = 4, .protocol = FILTER_UDP,
		.source = { 0, 1 }, .destination = { 0, i }, .source_port = 7, .port = 53 };
}

static struct filter_packet answer(uint32_t i)
{
	return (struct filter_packet){ .version = 4, .protocol = FILTER_UDP,
		.source = { 0, i }, .destination = { 0, 1 }, .source_port = 53, .port = 7 };
}

static void remembers_and_forgets(void **state)
{
	struct filter_packet out = sent(9), in = answer(9), other = answer(9);

	(void)state;
	filter_flows_init(&flows);
	assert_false(filter_flows_answers(&flows, &in, 0));
	filter_flows_sent(&flows, &out, 10 * second);
	assert_true(filter_flows_answers(&flows, &in, 20 * second));
	/* The look-up refreshed it. */
	assert_true(filter_flows_answers(&flows, &in, 320 * second));
	assert_false(filter_flows_answers(&flows, &in, 621 * second));
	/* Each part of the tuple counts. */
	filter_flows_sent(&flows, &out, 700 * second);
	other.protocol = FILTER_SCTP;
	assert_false(filter_flows_answers(&flows, &other, 700 * second));
	other = answer(9);
	other.version = 6;
	assert_false(filter_flows_answers(&flows, &other, 700 * second));
	other = answer(9);
	other.source.high = 1;
	assert_false(filter_flows_answers(&flows, &other, 700 * second));
	assert_false(filter_flows_answers(&flows, &out, 700 * second));
}

/* Far more flows than slots: the newest are there, the oldest are gone, nothing else is. */
static void evicts_the_oldest(void **state)
{
	enum { FLOWS = 20 * FILTER_FLOW_BUCKETS * FILTER_FLOW_WAYS, NEWEST = 500 };
	uint32_t there = 0;

	(void)state;
	filter_flows_init(&flows);
	for (uint32_t i = 0; i < FLOWS; i++) {
		struct filter_packet out = sent(i);

		filter_flows_sent(&flows, &out, i * second / 1000);
	}
	for (uint32_t i = 0; i < NEWEST; i++) {
		struct filter_packet in = answer(FLOWS - 1 - i);

		there += filter_flows_answers(&flows, &in, FLOWS * second / 1000);
	}
	/* A bucket may see more than its eight ways among the newest 500, but hardly ever. */
	assert_true(there >= NEWEST - 5);
	there = 0;
	for (uint32_t i = 0; i < NEWEST; i++) {
		struct filter_packet in = answer(i);

		there += filter_flows_answers(&flows, &in, 0);
	}
	assert_int_equal(there, 0);
}

static void *worker(void *arg)
{
	uint32_t base = *(uint32_t *)arg;
	static _Thread_local uint32_t unexpected;

	for (uint32_t i = 0; i < 20000; i++) {
		struct filter_packet out = sent(base + i % 64), in = answer(base + i % 64);
		struct filter_packet never = answer(1000000 + i);

		filter_flows_sent(&flows, &out, second);
		filter_flows_answers(&flows, &in, second);
		unexpected += filter_flows_answers(&flows, &never, second);
	}
	return unexpected ? arg : NULL;
}

static void bears_several_workers(void **state)
{
	uint32_t bases[] = { 0, 32, 10000 };
	pthread_t threads[3];
	void *result;

	(void)state;
	filter_flows_init(&flows);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, worker, &bases[i]), 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &result);
		assert_null(result);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(remembers_and_forgets),
		cmocka_unit_test(evicts_the_oldest),
		cmocka_unit_test(bears_several_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
