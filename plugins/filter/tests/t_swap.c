/*
 * Tables are swapped while workers decide about traffic: what every one of them allows is never
 * dropped, what none allows never passes, and answers pass through all of them. The tables are
 * retired as the data plane does it. Meaningful with the thread and the address sanitizer.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/packet.h>

#include "base/addr.h"
#include "craft.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/epoch.h"
#include "engine/lane.h"
#include "plugins/filter/flow.h"
#include "plugins/filter/table.h"
#include "tests/unit/parts.h"

enum { WORKERS = 3, SWAPS = 600, EXTRA_RULES = 50 };

static struct filter_flows flows[FILTER_FLOW_TABLES];
static _Atomic(struct filter_table *) slot;
static atomic_uint wrong, turns, freed, changing[2];

static struct warren_prefix prefix(const char *text)
{
	struct warren_prefix out;

	assert_int_equal(prefix_parse(text, &out), 0);
	return out;
}

/* TCP 22 always; TCP 80 in every second table; rules that make it large in others. */
static struct filter_table *table_new(uint32_t number)
{
	const struct warren_prefix own = prefix("10.0.0.1");
	const struct warren_node self = { .addresses = &own, .n_addresses = 1 };
	struct warren_src srcs[EXTRA_RULES];
	struct warren_dst dsts[EXTRA_RULES];
	struct warren_filter_rule rules[EXTRA_RULES];
	struct warren_netmap map = { .self = &self, .filter = rules };
	struct filter_table *table;
	int result;

	map.n_filter = number % 3 == 0 ? EXTRA_RULES : 1 + number % 2;
	for (uint32_t i = 0; i < map.n_filter; i++) {
		uint16_t port = i == 0 ? 22 : i == 1 && number % 2 ? 80 : (uint16_t)(1000 + i);

		srcs[i] = (struct warren_src){ .kind = WARREN_SRC_PREFIX,
					       .prefix = prefix("10.0.0.0/8") };
		srcs[i].prefix.bits = (uint8_t)(8 + i % 4);
		dsts[i] = (struct warren_dst){ .kind = WARREN_SRC_ANY, .port_first = port,
					       .port_last = port };
		rules[i] = (struct warren_filter_rule){ .srcs = &srcs[i], .n_srcs = 1,
							.dsts = &dsts[i], .n_dsts = 1 };
	}
	table = filter_table_new(&map, flows, &result);
	assert_non_null(table);
	return table;
}

static enum filter_reason decide(const struct filter_table *table, uint32_t direction,
				 const struct craft *craft)
{
	uint8_t data[CRAFT_MAX];
	size_t len = craft_packet(craft, data);

	return filter_table_decide(table, direction, data, len, 1000000);
}

/* One turn of a worker: a vector of packets under one table, as in the data plane. */
static void vector(uint16_t flow)
{
	const struct craft allowed = { .source = "10.0.0.5", .destination = "10.0.0.1",
				       .protocol = 6, .tcp_flags = 2, .port = 22 };
	const struct craft sometimes = { .source = "10.0.0.5", .destination = "10.0.0.1",
					 .protocol = 6, .tcp_flags = 2, .port = 80 };
	const struct craft never = { .source = "10.0.0.5", .destination = "10.0.0.1",
				     .protocol = 6, .tcp_flags = 2, .port = 23 };
	const struct craft connected = { .source = "172.16.0.1", .destination = "10.0.0.1",
					 .protocol = 6, .tcp_flags = 16, .port = 9 };
	const struct craft question = { .source = "10.0.0.1", .destination = "172.16.0.1",
					.protocol = 17, .source_port = flow, .port = 53 };
	const struct craft answer = { .source = "172.16.0.1", .destination = "10.0.0.1",
				      .protocol = 17, .source_port = 53, .port = flow };
	const struct filter_table *table = atomic_load_explicit(&slot, memory_order_acquire);

	if (!table) {
		atomic_fetch_add(&wrong, 1);
		return;
	}
	if (decide(table, WARREN_PKT_IN, &allowed) != FILTER_ACCEPTED ||
	    decide(table, WARREN_PKT_IN, &connected) != FILTER_ACCEPTED ||
	    decide(table, WARREN_PKT_IN, &never) != FILTER_ACL ||
	    decide(table, WARREN_PKT_OUT, &question) != FILTER_ACCEPTED ||
	    decide(table, WARREN_PKT_IN, &answer) != FILTER_ACCEPTED)
		atomic_fetch_add(&wrong, 1);
	atomic_fetch_add(&changing[decide(table, WARREN_PKT_IN, &sometimes) == FILTER_ACCEPTED], 1);
}

static void worker_run(struct warren_worker *worker, void *arg)
{
	uint16_t number = (uint16_t)(uintptr_t)arg;

	for (uint32_t i = 0; !warren_worker_stopping(worker); i++) {
		vector((uint16_t)(1000 * number + i % 100));
		warren_worker_turn(worker);
		atomic_fetch_add_explicit(&turns, 1, memory_order_relaxed);
	}
}

static void table_gone(void *table)
{
	filter_table_free(table);
	atomic_fetch_add(&freed, 1);
}

/* On a busy machine all swaps would be done before a worker got its turn. */
static void wait_for_workers(void)
{
	unsigned int from = atomic_load(&turns);

	while (atomic_load(&turns) - from < 2 * WORKERS)
		sched_yield();
}

static void swapping_drops_nothing_that_is_allowed(void **state)
{
	struct wcore_engine *engine = parts_engine(-1);
	struct warren_ctx *ctx = parts_ctx(engine, wcore_engine_main(engine));

	(void)state;
	for (int i = 0; i < FILTER_FLOW_TABLES; i++)
		filter_flows_init(&flows[i]);
	atomic_store(&slot, table_new(0));
	for (uintptr_t i = 1; i <= WORKERS; i++)
		assert_non_null(warren_worker_start(ctx, "traffic", worker_run, NULL, (void *)i,
						    NULL));
	for (uint32_t i = 1; i <= SWAPS; i++) {
		struct filter_table *old = atomic_exchange_explicit(&slot, table_new(i),
								    memory_order_acq_rel);

		warren_retire(ctx, old, table_gone);
		wait_for_workers();
		wcore_lane_turn(wcore_engine_main(engine), false);
	}
	for (int i = 0; i < 5000 && atomic_load(&freed) < SWAPS; i++) {
		usleep(1000);
		wcore_lane_turn(wcore_engine_main(engine), false);
	}
	assert_int_equal(atomic_load(&freed), SWAPS);
	wcore_ctx_close(ctx);		/* joins the workers */
	assert_int_equal(atomic_load(&wrong), 0);
	/* They met tables of both kinds. */
	assert_true(atomic_load(&changing[0]) > SWAPS / 4);
	assert_true(atomic_load(&changing[1]) > SWAPS / 4);
	filter_table_free(atomic_load(&slot));
	wcore_engine_free(engine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(swapping_drops_nothing_that_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
