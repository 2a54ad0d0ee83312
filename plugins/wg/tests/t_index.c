/*
 * The index table against a naive model, and its readers: threads that look indices up while the
 * writer adds, re-points and removes them must never get the value of another index.
 */
#include "../index.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Old tables are kept until the end: readers of the test have no epochs. */
struct retired {
	void *ptr[4096];
	size_t n;
};

static void retire(void *arg, void *ptr)
{
	struct retired *retired = arg;

	assert_true(retired->n < 4096);
	retired->ptr[retired->n++] = ptr;
}

static void free_retired(struct retired *retired)
{
	for (size_t i = 0; i < retired->n; i++)
		free(retired->ptr[i]);
}

static void *value_of(uint32_t n)
{
	return (void *)(uintptr_t)(n + 1);
}

static void against_model(void **state)
{
	enum { LIVE = 3000 };
	struct retired retired = { 0 };
	struct wg_index *index = wg_index_new(NULL, retire, &retired);
	static uint32_t key[LIVE], value[LIVE];
	size_t n = 0;

	(void)state;
	assert_non_null(index);
	srandom(1);
	for (uint32_t i = 0; i < 200000; i++) {
		size_t at = n ? (size_t)random() % n : 0;

		if (n < LIVE && (!n || random() % 2)) {
			value[n] = i;
			assert_int_equal(wg_index_insert(index, value_of(i), &key[n++]), 0);
		} else if (random() % 2) {
			value[at] = i;
			assert_int_equal(wg_index_replace(index, key[at], value_of(i)), 0);
		} else {
			assert_ptr_equal(wg_index_remove(index, key[at]), value_of(value[at]));
			assert_null(wg_index_find(index, key[at]));
			assert_null(wg_index_remove(index, key[at]));
			assert_int_equal(wg_index_replace(index, key[at], value_of(i)), -ENOENT);
			key[at] = key[--n];
			value[at] = value[n];
		}
		assert_int_equal(wg_index_count(index), n);
		if (n)
			assert_ptr_equal(wg_index_find(index, key[i % n]), value_of(value[i % n]));
	}
	for (size_t i = 0; i < n; i++)
		assert_ptr_equal(wg_index_find(index, key[i]), value_of(value[i]));
	wg_index_free(index);
	free_retired(&retired);
}

/* A source of few different numbers: collisions in the table, and indices that are in use. */
static void few_numbers(void *arg, uint8_t *out, size_t len)
{
	uint32_t v = (uint32_t)random() % 256 * 64;

	(void)arg;
	assert_int_equal(len, sizeof(v));
	memcpy(out, &v, sizeof(v));
}

static void indices_are_unique(void **state)
{
	struct wg_index *index;
	struct retired retired = { 0 };
	uint32_t key[200];

	(void)state;
	index = wg_index_new(few_numbers, retire, &retired);
	assert_non_null(index);
	for (uint32_t i = 0; i < 200; i++) {
		assert_int_equal(wg_index_insert(index, value_of(i), &key[i]), 0);
		for (uint32_t j = 0; j < i; j++)
			assert_int_not_equal(key[i], key[j]);
	}
	for (uint32_t i = 0; i < 200; i += 2)
		assert_ptr_equal(wg_index_remove(index, key[i]), value_of(i));
	for (uint32_t i = 0; i < 200; i++)
		assert_ptr_equal(wg_index_find(index, key[i]), i % 2 ? value_of(i) : NULL);
	wg_index_free(index);
	free_retired(&retired);
}

static void churn_does_not_grow(void **state)
{
	struct retired retired = { 0 };
	struct wg_index *index = wg_index_new(NULL, retire, &retired);
	uint32_t key;

	(void)state;
	assert_non_null(index);
	/* Removed slots are reused or swept: 10,000 rekeys of one peer stay in a small table. */
	for (int i = 0; i < 10000; i++) {
		assert_int_equal(wg_index_insert(index, value_of(1), &key), 0);
		wg_index_remove(index, key);
	}
	assert_int_equal(wg_index_count(index), 0);
	assert_true(retired.n < 10000 / 8);
	for (uint32_t k = 0; k < 1000; k++)	/* a search always meets a free slot */
		assert_null(wg_index_find(index, k));
	wg_index_free(index);
	free_retired(&retired);
}

/* Two indices that share a slot: the writer puts now one, now the other there. */
struct race {
	struct wg_index *index;
	uint32_t next;				/* what "random" gives */
	_Atomic bool stop;
	_Atomic uint64_t found, wrong;
};

enum { ONE = 64, OTHER = 128 };

static void *reader(void *arg)
{
	struct race *race = arg;
	uint64_t found = 0, wrong = 0;

	while (!atomic_load_explicit(&race->stop, memory_order_relaxed)) {
		void *value = wg_index_find(race->index, ONE);

		found += value != NULL;
		wrong += value != NULL && value != value_of(ONE);
	}
	atomic_fetch_add(&race->found, found);
	atomic_fetch_add(&race->wrong, wrong);
	return NULL;
}

static void next_number(void *arg, uint8_t *out, size_t len)
{
	memcpy(out, &((struct race *)arg)->next, len);
}

static void no_retire(void *arg, void *ptr)
{
	(void)arg;
	(void)ptr;
	fail_msg("one index at a time needs no other table");
}

static void readers_see_their_own(void **state)
{
	struct race race = { 0 };
	pthread_t thread[2];
	uint32_t key;

	(void)state;
	race.index = wg_index_new(next_number, no_retire, &race);
	assert_non_null(race.index);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, reader, &race), 0);
	for (uint32_t i = 0; i < 2000000; i++) {
		race.next = i % 2 ? ONE : OTHER;
		assert_int_equal(wg_index_insert(race.index, value_of(race.next), &key), 0);
		assert_ptr_equal(wg_index_remove(race.index, key), value_of(key));
	}
	atomic_store(&race.stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(atomic_load(&race.wrong), 0);
	wg_index_free(race.index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_model),
		cmocka_unit_test(indices_are_unique),
		cmocka_unit_test(churn_does_not_grow),
		cmocka_unit_test(readers_see_their_own),
	};

	return sodium_init() == -1 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
