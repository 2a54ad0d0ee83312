/*
 * Epochs under stress: readers follow a pointer that a writer keeps replacing, and each object says
 * whether it was freed. Built with --enable-sanitizers=thread it also shows that no order is
 * missing.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/packet.h>

#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/epoch.h"
#include "engine/lane.h"
#include "parts.h"

enum { WORKERS = 3, ROUNDS = 20000, ALIVE = 0x600d, DEAD = 0xdead };

struct object {
	uint32_t alive;			/* not atomic: what TSan watches */
	uint64_t value;
};

static _Atomic(struct object *) shared;
static atomic_uint wrong, freed, turns;

static void object_free(void *ptr)
{
	struct object *object = ptr;

	object->alive = DEAD;
	atomic_fetch_add(&freed, 1);
	free(object);
}

static struct object *object_new(uint64_t value)
{
	struct object *object = malloc(sizeof(*object));

	*object = (struct object){ ALIVE, value };
	return object;
}

static void look(void)
{
	struct object *a = atomic_load_explicit(&shared, memory_order_acquire);
	uint64_t sum = 0;

	for (int i = 0; i < 50; i++) {
		if (a->alive != ALIVE)
			atomic_fetch_add(&wrong, 1);
		sum += a->value;
	}
	if (sum != 50 * a->value)
		atomic_fetch_add(&wrong, 1);
}

static void worker_run(struct warren_worker *worker, void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg;

	while (!warren_worker_stopping(worker)) {
		look();
		seed = seed * 1103515245u + 12345u;
		if (seed >> 24 < 64) {
			warren_worker_offline(worker);
			if (seed >> 24 < 2)
				usleep(100);
			warren_worker_online(worker);
		} else {
			warren_worker_turn(worker);
		}
		atomic_fetch_add_explicit(&turns, 1, memory_order_relaxed);
	}
}

/* On a busy machine the writer would be done before a reader got its turn. */
static void wait_for_readers(void)
{
	unsigned int from = atomic_load(&turns);

	while (atomic_load(&turns) - from < 10 * WORKERS)
		sched_yield();
}

static void readers_never_see_freed_objects(void **state)
{
	struct wcore_engine *engine = parts_engine(-1);
	struct warren_ctx *ctx = parts_ctx(engine, wcore_engine_main(engine));
	struct warren_worker *workers[WORKERS];

	(void)state;
	atomic_store(&shared, object_new(0));
	for (int i = 0; i < WORKERS; i++) {
		workers[i] = warren_worker_start(ctx, "reader", worker_run, NULL,
						 (void *)(uintptr_t)(i + 1), NULL);
		assert_non_null(workers[i]);
	}
	for (uint64_t i = 1; i <= ROUNDS; i++) {
		struct object *fresh = object_new(i);
		struct object *old = atomic_exchange_explicit(&shared, fresh,
							      memory_order_acq_rel);

		warren_retire(ctx, old, object_free);
		if (i % 500 == 1)
			wait_for_readers();
		if (i % 16 == 0)
			wcore_retired_sweep(ctx, false);
		if (i % 256 == 0)
			wcore_lane_turn(wcore_engine_main(engine), false);
	}
	/* While they run, what was retired goes, soon. */
	for (int i = 0; i < 2000 && atomic_load(&freed) < ROUNDS; i++) {
		usleep(1000);
		wcore_lane_turn(wcore_engine_main(engine), false);
	}
	assert_int_equal(atomic_load(&freed), ROUNDS);
	warren_worker_join(workers[0]);
	wcore_ctx_close(ctx);		/* joins the rest */
	assert_int_equal(atomic_load(&wrong), 0);
	object_free(atomic_load(&shared));
	wcore_engine_free(engine);
}

static atomic_bool asleep, let_go;

static void sleeper_run(struct warren_worker *worker, void *arg)
{
	(void)arg;
	atomic_store(&asleep, true);
	while (!atomic_load(&let_go) && !warren_worker_stopping(worker))
		usleep(200);
	warren_worker_turn(worker);
	while (!warren_worker_stopping(worker))
		usleep(200);
}

static unsigned int retired;

static void count_retired(void *ptr)
{
	(void)ptr;
	retired++;
}

static void settle(struct wcore_engine *engine)
{
	for (int i = 0; i < 20; i++) {
		usleep(2000);
		wcore_lane_turn(wcore_engine_main(engine), false);
	}
}

/* Memory of a context outlives it while a worker of another one may look at it. */
static void closed_context_waits_for_the_grace(void **state)
{
	struct wcore_engine *engine = parts_engine(-1);
	struct wcore_lane *lane = wcore_engine_main(engine);
	struct warren_ctx *plane = parts_ctx(engine, lane), *consumer = parts_ctx(engine, lane);
	uint32_t *table = warren_zalloc(consumer, sizeof(*table));

	(void)state;
	assert_non_null(warren_worker_start(plane, "sleeper", sleeper_run, NULL, NULL, NULL));
	while (!atomic_load(&asleep))
		usleep(200);
	warren_retire(consumer, table, count_retired);
	wcore_ctx_close(consumer);
	settle(engine);
	assert_int_equal(retired, 0);
	*table = 1;			/* ASan would object */
	atomic_store(&let_go, true);
	settle(engine);
	assert_int_equal(retired, 1);
	assert_int_equal(consumer->n_owned, 0);
	wcore_ctx_close(plane);
	wcore_engine_free(engine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_never_see_freed_objects),
		cmocka_unit_test(closed_context_waits_for_the_grace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
