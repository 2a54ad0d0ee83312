/*
 * The fixed memory of the data plane: rings between threads, staged packets, slabs for keys, the
 * heap of deadlines, the order of hooks.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "hooks.h"
#include "messages.h"
#include "peer.h"
#include "ring.h"
#include "slab.h"
#include "stage.h"

/*
 * ---- Rings ----
 */

static void test_ring_keeps_order_and_says_when_it_is_full(void **state)
{
	struct wg_ring *ring = wg_ring_new(4, sizeof(uint32_t));
	uint32_t *slot, dropped = 0;

	(void)state;
	for (uint32_t round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < 4; i++) {
			slot = wg_ring_claim(ring);
			assert_non_null(slot);
			*slot = i;
			wg_ring_commit(ring, slot);
		}
		assert_null(wg_ring_claim(ring));
		assert_int_equal(wg_ring_queued(ring), 4);
		slot = wg_ring_claim_over(ring, &dropped);
		*slot = 4;
		wg_ring_commit(ring, slot);
		for (uint32_t i = 1; i < 5; i++) {
			slot = wg_ring_take(ring);
			assert_int_equal(*slot, i);
			wg_ring_release(ring, slot);
		}
		assert_null(wg_ring_take(ring));
	}
	assert_int_equal(dropped, 10);
	wg_ring_free(ring);
}

static void test_ring_held_by_its_consumer_drops_the_newest(void **state)
{
	struct wg_ring *ring = wg_ring_new(2, 8);
	uint32_t dropped = 0;
	void *held;

	(void)state;
	for (int i = 0; i < 2; i++)
		wg_ring_commit(ring, wg_ring_claim(ring));
	held = wg_ring_take(ring);
	assert_null(wg_ring_claim(ring));
	assert_null(wg_ring_claim_over(ring, &dropped));
	assert_int_equal(dropped, 1); /* the other one went in vain */
	wg_ring_release(ring, held);
	assert_non_null(wg_ring_claim_over(ring, &dropped));
	wg_ring_free(ring);
}

enum { PRODUCERS = 3, EACH = 20000 };

struct traffic {
	struct wg_ring *ring;
	_Atomic uint32_t dropped, running;
};

struct element {
	uint64_t value, copy[8];
};

static void *produce(void *arg)
{
	struct traffic *t = arg;

	for (uint64_t i = 1; i <= EACH; i++) {
		uint32_t dropped = 0;
		struct element *e = wg_ring_claim_over(t->ring, &dropped);

		if (e) {
			e->value = i;
			for (int n = 0; n < 8; n++)
				e->copy[n] = i;
			wg_ring_commit(t->ring, e);
		} else {
			dropped++;
		}
		atomic_fetch_add(&t->dropped, dropped);
	}
	atomic_fetch_sub(&t->running, 1);
	return NULL;
}

static void test_ring_between_threads_loses_nothing_uncounted(void **state)
{
	struct traffic t = { .ring = wg_ring_new(64, sizeof(struct element)),
			     .running = PRODUCERS };
	pthread_t threads[PRODUCERS];
	uint32_t taken = 0;
	bool last = false;

	(void)state;
	for (int i = 0; i < PRODUCERS; i++)
		pthread_create(&threads[i], NULL, produce, &t);
	for (;;) {
		struct element *e = wg_ring_take(t.ring);

		if (e) {
			for (int n = 0; n < 8; n++)
				assert_int_equal(e->copy[n], e->value);
			taken++;
			wg_ring_release(t.ring, e);
		} else if (last) {
			break;
		} else {
			last = !atomic_load(&t.running);
		}
	}
	for (int i = 0; i < PRODUCERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(taken + t.dropped, PRODUCERS * EACH);
	wg_ring_free(t.ring);
}

/*
 * ---- Staged packets ----
 */

static void fill(uint8_t *data, size_t len, uint8_t seed)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(seed + i * 7);
}

static void test_staged_packets_come_back_whole(void **state)
{
	struct wg_stage_pool *pool = wg_stage_pool_new(1 << 20);
	struct wg_staged queue = { 0 };
	static uint8_t in[65535], out[65535];
	static const size_t sizes[] = { 1, 20, 487, 488, 489, 492, 493, 1280, 1420, 9000, 65535 };

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			fill(in, sizes[i], (uint8_t)i);
			assert_int_equal(wg_stage_push(pool, &queue, in, sizes[i]), 0);
		}
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			fill(in, sizes[i], (uint8_t)i);
			assert_int_equal(wg_stage_peek(&queue), sizes[i]);
			wg_stage_pop(pool, &queue, out);
			assert_memory_equal(in, out, sizes[i]);
		}
		assert_int_equal(wg_stage_peek(&queue), 0);
	}
	wg_stage_pool_free(pool);
}

static void test_staging_is_bounded_by_peer_and_by_pool(void **state)
{
	struct wg_stage_pool *pool = wg_stage_pool_new(128 << 10);
	struct wg_staged one = { 0 }, other = { 0 };
	static uint8_t data[65535];
	uint32_t lost = 0, before;

	(void)state;
	for (int i = 0; i < WG_MAX_STAGED + 5; i++) {
		data[0] = (uint8_t)i;
		lost += wg_stage_push(pool, &one, data, 100);
	}
	assert_int_equal(lost, 5);
	assert_int_equal(one.count, WG_MAX_STAGED);
	/* A large packet of another peer takes what is left, and no more than its own queue. */
	assert_int_equal(wg_stage_push(pool, &other, data, 60000), 0);
	before = one.count;
	assert_int_equal(wg_stage_push(pool, &other, data, 50000), 1); /* in place of the first */
	assert_int_equal(other.count, 1);
	assert_int_equal(wg_stage_peek(&other), 50000);
	assert_int_equal(one.count, before);
	/* What can never fit is lost itself. */
	wg_stage_clear(pool, &other);
	for (int i = 0; i < 3; i++)
		wg_stage_push(pool, &other, data, 1000);
	assert_int_equal(wg_stage_push(pool, &other, data, 65535), 4);
	assert_int_equal(other.count, 0);
	/* The lane gives back; the worker finds it again. */
	wg_stage_return(pool, &one);
	assert_int_equal(one.count, 0);
	assert_int_equal(wg_stage_push(pool, &other, data, 65535), 0);
	assert_int_equal(wg_stage_push(pool, &other, data, 50000), 0);
	wg_stage_pool_free(pool);
}

/*
 * ---- Slabs ----
 */

static void test_slab_wipes_and_reuses(void **state)
{
	struct wg_slab *slab = wg_slab_new(1300);
	void *objects[500];

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 500; i++) {
			uint8_t *o = objects[i] = wg_slab_alloc(slab);

			assert_non_null(o);
			assert_int_equal((uintptr_t)o % 64, 0);
			for (int n = 0; n < 1300; n++)
				assert_int_equal(o[n], 0);
			memset(o, 0xa5, 1300);
		}
		assert_int_equal(wg_slab_used(slab), 500);
		for (int i = 0; i < 500; i += 2)
			wg_slab_free(slab, objects[i]);
		for (int i = 1; i < 500; i += 2) {
			/* The neighbours kept what they had. */
			for (int n = 0; n < 1300; n++)
				assert_int_equal(((uint8_t *)objects[i])[n], 0xa5);
			wg_slab_free(slab, objects[i]);
		}
		assert_int_equal(wg_slab_used(slab), 0);
	}
	wg_slab_free(slab, NULL);
	wg_slab_destroy(slab);
	wg_slab_destroy(NULL);
}

/*
 * ---- Hooks ----
 */

static void nothing(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n,
		    uint64_t now)
{
	(void)self;
	(void)direction;
	(void)pkt;
	(void)n;
	(void)now;
}

static int add(struct wg_hooks *hooks, const char *name, const char *before, const char *after,
	       uint32_t directions, struct wg_chain **chain, struct warren_err *err)
{
	struct warren_hook hook = { name, before, after, directions, nothing, (void *)name };

	free(*chain);
	*chain = NULL;
	return wg_hooks_add(hooks, NULL, &hook, chain, err);
}

/* "a b FILTER ROUTE c" */
static const char *order(const struct wg_chain *chain, uint32_t direction)
{
	static const char *const anchor[] = {
		[WG_STEP_FILTER] = "FILTER", [WG_STEP_ROUTE] = "ROUTE",
	};
	static char text[256];
	size_t len = 0;

	for (uint32_t i = 0; i < chain->count[direction]; i++) {
		const struct wg_step *s = &chain->step[direction][i];

		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "",
					s->kind == WG_STEP_HOOK ? (const char *)s->self :
								  anchor[s->kind]);
	}
	return text;
}

static void test_hooks_stand_where_they_ask(void **state)
{
	struct wg_hooks hooks = { 0 };
	struct wg_chain *chain = wg_hooks_chain(&hooks);
	struct warren_err err = ERR_INIT;

	(void)state;
	assert_string_equal(order(chain, WARREN_PKT_OUT), "FILTER ROUTE");
	assert_int_equal(add(&hooks, "late", NULL, "route", 1, &chain, &err), 0);
	assert_int_equal(add(&hooks, "b", NULL, NULL, 3, &chain, &err), 0);
	assert_int_equal(add(&hooks, "a", "b", NULL, 3, &chain, &err), 0);
	assert_int_equal(add(&hooks, "mid", "route", "filter", 3, &chain, &err), 0);
	/* It names one who comes later. */
	assert_int_equal(add(&hooks, "c", NULL, "d", 1, &chain, &err), 0);
	assert_int_equal(add(&hooks, "d", NULL, "late", 1, &chain, &err), 0);
	assert_string_equal(order(chain, WARREN_PKT_OUT), "a b FILTER mid ROUTE late d c");
	assert_string_equal(order(chain, WARREN_PKT_IN), "a b FILTER mid ROUTE");
	assert_false(err_any(&err));

	assert_int_equal(add(&hooks, "a", NULL, NULL, 3, &chain, &err), -EEXIST);
	assert_int_equal(add(&hooks, "route", NULL, NULL, 3, &chain, &err), -EEXIST);
	assert_int_equal(add(&hooks, "x", "a", "late", 1, &chain, &err), -ELOOP);
	assert_int_equal(add(&hooks, "x", NULL, "route", 2, &chain, &err), -EINVAL);
	assert_int_equal(add(&hooks, "x", NULL, NULL, 0, &chain, &err), -EINVAL);
	assert_int_equal(add(&hooks, "", NULL, NULL, 1, &chain, &err), -EINVAL);
	assert_true(err_any(&err));
	/* What was refused left no trace. */
	free(chain);
	chain = wg_hooks_chain(&hooks);
	assert_string_equal(order(chain, WARREN_PKT_IN), "a b FILTER mid ROUTE");
	free(chain);
	assert_int_equal(wg_hooks_remove(&hooks, NULL, &chain), 0);
	assert_string_equal(order(chain, WARREN_PKT_OUT), "FILTER ROUTE");
	free(chain);
	wg_hooks_fini(&hooks);
	err_free(&err);
}

static void test_hooks_are_bounded(void **state)
{
	struct wg_hooks hooks = { 0 };
	struct wg_chain *chain = NULL;
	char name[8] = "h00";
	int added = 0;

	(void)state;
	while (added < 100) {
		name[1] = (char)('0' + added / 10);
		name[2] = (char)('0' + added % 10);
		if (add(&hooks, name, NULL, NULL, 3, &chain, NULL) < 0)
			break;
		added++;
	}
	assert_int_equal(added, WG_HOOKS_MAX - 2);
	free(chain);
	wg_hooks_fini(&hooks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring_keeps_order_and_says_when_it_is_full),
		cmocka_unit_test(test_ring_held_by_its_consumer_drops_the_newest),
		cmocka_unit_test(test_ring_between_threads_loses_nothing_uncounted),
		cmocka_unit_test(test_staged_packets_come_back_whole),
		cmocka_unit_test(test_staging_is_bounded_by_peer_and_by_pool),
		cmocka_unit_test(test_slab_wipes_and_reuses),
		cmocka_unit_test(test_hooks_stand_where_they_ask),
		cmocka_unit_test(test_hooks_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
