/*
 * Lanes, timers, descriptors, errands and ownership, on a clock that the test turns.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/loop.h"
#include "engine/timer.h"
#include "parts.h"

enum { MANY = 2000 };

/* The argument of a callback is not const, though these only read it. */
#define TEXT(s) ((void *)(uintptr_t)(s))

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static char trace[256];

static void add(const char *text)
{
	size_t len = strlen(trace);

	snprintf(trace + len, sizeof(trace) - len, "%s", text);
}

static void mark(struct warren_ctx *c, void *arg)
{
	(void)c;
	add(arg);
}

static int begin(void **state)
{
	(void)state;
	wcore_clock_set_fake(1000000, 1);
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	trace[0] = '\0';
	return 0;
}

static int end(void **state)
{
	(void)state;
	if (ctx->phase != WCORE_PHASE_GONE)
		wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	wcore_clock_set_fake(0, 0);
	return 0;
}

static void advance(uint64_t usec)
{
	wcore_clock_set_fake(warren_now() + usec, 1);
	wcore_lane_turn(wcore_engine_main(engine), false);
}

static void timers_fire_in_order(void **state)
{
	struct warren_timer *a = warren_timer_new(ctx, mark, TEXT("a"));
	struct warren_timer *b = warren_timer_new(ctx, mark, TEXT("b"));
	struct warren_timer *c = warren_timer_new(ctx, mark, TEXT("c"));
	struct warren_timer *d = warren_timer_new(ctx, mark, TEXT("d"));

	(void)state;
	warren_timer_set(c, 300);
	warren_timer_set(a, 100);
	warren_timer_set(b, 300);	/* as late as c, but set after it */
	warren_timer_set(d, 50);
	warren_timer_stop(d);
	advance(99);
	assert_string_equal(trace, "");
	advance(1);
	assert_string_equal(trace, "a");
	warren_timer_set(a, 1000);
	advance(200);
	assert_string_equal(trace, "acb");
	warren_timer_set(a, 10);	/* sooner than it was set before */
	advance(10);
	assert_string_equal(trace, "acba");
	advance(100000);
	assert_string_equal(trace, "acba");
}

static struct warren_timer *again;
static unsigned int count;

static void set_again(struct warren_ctx *c, void *arg)
{
	(void)c;
	(void)arg;
	count++;
	warren_timer_set(again, 0);
}

static void timer_of_zero_does_not_starve_the_loop(void **state)
{
	(void)state;
	again = warren_timer_new(ctx, set_again, NULL);
	count = 0;
	warren_timer_set(again, 0);
	advance(0);
	assert_int_equal(count, 1);
	advance(0);
	assert_int_equal(count, 2);
}

static void release_in_callback(struct warren_ctx *c, void *arg)
{
	struct warren_timer **timer = arg;

	(void)c;
	warren_release(*timer);
	count++;
}

static void timer_may_release_itself(void **state)
{
	struct warren_timer *timer = NULL;

	(void)state;
	count = 0;
	timer = warren_timer_new(ctx, release_in_callback, &timer);
	warren_timer_set(timer, 5);
	advance(5);
	advance(500);
	assert_int_equal(count, 1);
	assert_int_equal(ctx->n_owned, 0);
}

static struct wcore_tick ticks[MANY];
static uint64_t last_at;

static void tick_fire(struct wcore_tick *tick)
{
	assert_true(tick->at >= last_at);
	last_at = tick->at;
	count++;
}

static void many_timers_keep_their_order(void **state)
{
	unsigned int stopped = 0;
	uint32_t seed = 1;

	(void)state;
	count = 0;
	last_at = 0;
	for (int i = 0; i < MANY; i++)
		assert_int_equal(wcore_tick_init(&ticks[i], wcore_engine_main(engine), tick_fire),
				 0);
	for (int i = 0; i < 5 * MANY; i++) {
		seed = seed * 1103515245u + 12345u;
		wcore_tick_set(&ticks[(seed >> 8) % MANY], seed % 100000);
	}
	for (int i = 0; i < MANY; i++)
		if (!ticks[i].slot)
			wcore_tick_set(&ticks[i], (uint64_t)i);
	for (int i = 0; i < MANY; i += 3, stopped++)
		wcore_tick_stop(&ticks[i]);
	for (int i = 0; i < 101; i++)
		advance(1000);
	assert_int_equal(count, MANY - stopped);
	for (int i = 0; i < MANY; i++)
		wcore_tick_fini(&ticks[i]);
}

static void real_clock_wakes_a_waiting_lane(void **state)
{
	uint64_t from, took;

	(void)state;
	wcore_clock_set_fake(0, 0);
	warren_timer_set(warren_timer_new(ctx, mark, TEXT("t")), 20000);
	from = wcore_clock_stopwatch();
	while (!trace[0])
		wcore_lane_turn(wcore_engine_main(engine), true);
	took = wcore_clock_stopwatch() - from;
	assert_true(took >= 19000);
	assert_true(took < 5000000);
}

static void got_bytes(struct warren_ctx *c, int fd, uint32_t what, void *arg)
{
	char buf[8];

	(void)c;
	if (what & WARREN_IN)
		mark(c, TEXT(read(fd, buf, sizeof(buf)) > 0 ? "r" : "e"));
	if (what & WARREN_OUT)
		mark(c, TEXT("w"));
	(void)arg;
}

static void descriptors_are_watched_and_closed(void **state)
{
	int pair[2];
	struct warren_io *io;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	io = warren_io_new_take(ctx, pair[0], got_bytes, NULL);
	assert_int_equal(write(pair[1], "x", 1), 1);
	parts_settle(engine);
	assert_string_equal(trace, "");
	warren_io_want(io, WARREN_IN);
	parts_settle(engine);
	assert_string_equal(trace, "r");
	warren_io_want(io, WARREN_OUT);
	wcore_lane_turn(wcore_engine_main(engine), false);
	assert_string_equal(trace, "rw");
	warren_io_want(io, 0);
	wcore_ctx_close(ctx);
	assert_int_equal(send(pair[1], "x", 1, MSG_NOSIGNAL), -1);
	close(pair[1]);
}

static void dropped(void *arg)
{
	add(arg);
}

static void deferred_calls_run_later_in_order_or_never(void **state)
{
	(void)state;
	assert_int_equal(warren_defer(ctx, mark, TEXT("a")), 0);
	assert_int_equal(warren_defer(ctx, mark, TEXT("b")), 0);
	assert_string_equal(trace, "");
	parts_settle(engine);
	assert_string_equal(trace, "ab");
	assert_int_equal(wcore_ctx_post(ctx, mark, TEXT("never"), dropped, "test"), 0);
	wcore_ctx_close(ctx);
	assert_string_equal(trace, "abnever");	/* by `dropped`, once */
	assert_int_equal(warren_defer(ctx, mark, TEXT("c")), -ESHUTDOWN);
	parts_settle(engine);
	assert_string_equal(trace, "abnever");
}

static void close_ends_the_newest_first(void **state)
{
	struct wcore_tie *tie;

	(void)state;
	wcore_own(ctx, TEXT("1"), dropped);
	warren_on_end(ctx, dropped, TEXT("A"));
	tie = wcore_own(ctx, TEXT("2"), dropped);
	wcore_own(ctx, TEXT("3"), dropped);
	warren_on_end(ctx, dropped, TEXT("B"));
	assert_non_null(warren_zalloc(ctx, 100));
	assert_int_equal(ctx->bytes, 100 + 5 * 2 * sizeof(void *));
	wcore_disown(tie);
	tie = wcore_own(ctx, TEXT("4"), dropped);
	warren_release(tie);
	assert_string_equal(trace, "4");
	warren_release(warren_on_end(ctx, dropped, TEXT("C")));
	wcore_ctx_close(ctx);
	assert_string_equal(trace, "4BA31");
	assert_int_equal(ctx->n_owned, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(timers_fire_in_order),
		TEST(timer_of_zero_does_not_starve_the_loop),
		TEST(timer_may_release_itself),
		TEST(many_timers_keep_their_order),
		TEST(real_clock_wakes_a_waiting_lane),
		TEST(descriptors_are_watched_and_closed),
		TEST(deferred_calls_run_later_in_order_or_never),
		TEST(close_ends_the_newest_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
