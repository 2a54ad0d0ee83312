/*
 * Start, reload, restart, stop and what goes wrong in between: the order in which plugins are
 * called, told by the plugins themselves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "engine/conf.h"
#include "engine/engine.h"
#include "engine/stat.h"
#include "harness.h"

enum { SOON = 20000 };			/* microseconds: for callbacks that are on their way */

static struct harness h;

static void assert_said(const char *text)
{
	if (!strstr(harness_text(), text))
		fail_msg("\"%s\" does not say \"%s\"", harness_text(), text);
}

static void assert_state(const char *name, enum wcore_plugin_state state)
{
	const struct wcore_instance *i = wcore_engine_plugin(h.engine, name);

	assert_non_null(i);
	assert_string_equal(wcore_plugin_state_name(i->state), wcore_plugin_state_name(state));
}

static int begin(void **state)
{
	(void)state;
	harness_engine(&h, 0, 0);
	return 0;
}

/* For the tests of deadlines; the others must pass on a busy machine too. */
static int begin_in_haste(void **state)
{
	(void)state;
	harness_engine(&h, 200000, 200000);
	return 0;
}

static int end(void **state)
{
	(void)state;
	if (h.engine)
		harness_engine_end(&h);
	return 0;
}

static void start_and_stop_follow_the_needs(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.c: {}\ntest.b: {}\ntest.a: {}\ntest.s: {}\n"), 0);
	assert_said("start test.a, test.b, test.c, test.s");
	harness_turn(&h, SOON);
	assert_string_equal(harness_record(), "test.a start 0; test.b start 0; test.c start 0; "
			    "test.s start 0; test.c found svc.s 4; ");
	harness_engine_end(&h);
	assert_string_equal(harness_record(), "test.c lost svc.s; test.s stop; test.s fini; "
			    "test.c stop; test.c fini; test.b stop; test.b fini; test.a stop; "
			    "test.a fini; ");
}

static void soft_provider_comes_and_goes(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {}\ntest.b: {}\ntest.c: {}\n"), 0);
	harness_record();
	assert_int_equal(harness_apply(&h, "test.a: {}\ntest.b: {}\ntest.c: {}\ntest.s: {}\n"), 0);
	harness_turn(&h, SOON);
	assert_string_equal(harness_record(), "test.s start 0; test.c found svc.s 4; ");
	assert_int_equal(harness_apply(&h, "test.a: {}\ntest.b: {}\ntest.c: {}\n"), 0);
	assert_said("stop test.s");
	assert_string_equal(harness_record(), "test.c lost svc.s; test.s stop; test.s fini; ");
	/* There before its consumer: `found` comes after the consumer's start. */
	assert_int_equal(harness_apply(&h, "test.s: {}\n"), 0);
	harness_record();
	assert_int_equal(harness_apply(&h, "test.a: {}\ntest.b: {}\ntest.c: {}\ntest.s: {}\n"), 0);
	harness_turn(&h, SOON);
	assert_string_equal(harness_record(), "test.a start 0; test.b start 0; test.c start 0; "
			    "test.c found svc.s 4; ");
}

static void failing_start_undoes_the_others_in_reverse(void **state)
{
	(void)state;
	assert_int_not_equal(harness_apply(&h, "test.a: {}\ntest.b: {}\n"
					       "test.c: {start: fail}\ntest.s: {}\n"), 0);
	assert_said("plugin `test.c` did not start: test.yaml:3:1: told to fail");
	assert_string_equal(harness_record(), "test.a start 0; test.b start 0; test.c start 0; "
			    "test.b stop; test.b fini; test.a stop; test.a fini; ");
	assert_null(wcore_engine_plugins(h.engine));
	/* The engine is as good as new. */
	assert_int_equal(harness_apply(&h, "test.a: {}\n"), 0);
}

static void start_may_be_pending(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {start: pending}\n"
					   "test.b: {start: inside, stop: inside}\n"
					   "test.c: {stop: pending}\n"), 0);
	assert_state("test.a", WCORE_PLUGIN_UP);
	harness_engine_end(&h);
	assert_string_equal(harness_record(), "test.a start 0; test.b start 0; test.c start 0; "
			    "test.c stop; test.c fini; test.b stop; test.b fini; test.a stop; "
			    "test.a fini; ");
}

static void pending_start_may_fail(void **state)
{
	(void)state;
	assert_int_not_equal(harness_apply(&h, "test.a: {start: pending-fail}\n"), 0);
	assert_said("plugin `test.a` did not start: Connection refused");
	/* Its start had not failed by itself, so it gets its last words. */
	assert_string_equal(harness_record(), "test.a start 0; test.a stop; test.a fini; ");
}

static void silent_start_has_a_deadline(void **state)
{
	(void)state;
	assert_int_not_equal(harness_apply(&h, "test.a: {start: silent}\n"), 0);
	assert_said("plugin `test.a` did not start: it was not up when its time was over");
	assert_string_equal(harness_record(), "test.a start 0; test.a stop; test.a fini; ");
}

static void silent_stop_has_a_deadline(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {stop: silent}\n"), 0);
	harness_record();
	assert_int_equal(harness_apply(&h, "node: {}\n"), 0);
	assert_true(harness_warned("plugin `test.a` is still draining when its time is over"));
	assert_string_equal(harness_record(), "test.a stop; test.a fini; ");
}

static void fatal_start_is_a_failed_start(void **state)
{
	(void)state;
	assert_int_not_equal(harness_apply(&h, "test.a: {start: fatal}\n"), 0);
	assert_said("plugin `test.a` did not start: told to be fatal");
	assert_string_equal(harness_record(), "test.a start 0; test.a stop; test.a fini; ");
}

static void missing_offer_is_a_failed_start(void **state)
{
	(void)state;
	assert_int_not_equal(harness_apply(&h, "test.a: {start: no-offer}\n"), 0);
	assert_said("it did not offer the service `svc.a`");
}

static void stop_waits_for_jobs(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {job: 50ms}\n"), 0);
	harness_record();
	harness_engine_end(&h);
	assert_string_equal(harness_record(), "test.a stop; test.a job done; test.a fini; ");
}

static void leaks_are_cleaned_up_and_a_second_start_works(void **state)
{
	const char *yaml = "test.a: {leak: true}\n";
	char *text;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(harness_apply(&h, yaml), 0);
		harness_turn(&h, SOON);
		text = wcore_stats_text(wcore_engine_stats(h.engine));
		assert_non_null(strstr(text, "# TYPE warren_test_a_things counter\n"
				       "warren_test_a_things{colour=\"green\"} 1\n"
				       "warren_test_a_things{colour=\"red\"} 1\n"));
		free(text);
		assert_int_equal(harness_apply(&h, "node: {}\n"), 0);
		assert_string_equal(harness_record(), "test.a start 0; test.a stop; "
				    "test.a end call; test.a fini; ");
		text = wcore_stats_text(wcore_engine_stats(h.engine));
		assert_string_equal(text, "");
		free(text);
	}
	assert_false(harness_warned("should never run"));
}

static void slow_callback_is_named(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {slow: 20ms}\n"), 0);
	assert_true(harness_wait(&h, "plugin `test.a` held up lane `main` for "));
	assert_true(harness_warned("(deferred call)"));
}

/*
 * ---- Reload ----
 */

static void reload_does_what_the_rows_say(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {value: 1}\ntest.b: {}\n"), 0);
	harness_record();

	assert_int_equal(harness_apply(&h, "test.b: {}\ntest.a:\n  value: 0x1\n"), 0);
	assert_said("nothing to do");
	assert_string_equal(harness_record(), "");

	assert_int_equal(harness_apply(&h, "test.a: {value: 1}\ntest.b: {}\nlog: {level: error}\n"
					   "node: {hostname: x}\n"), 0);
	assert_said("apply log, node");
	assert_int_equal(harness_apply(&h, "test.a: {value: 2}\ntest.b: {}\n"), 0);
	assert_said("reload test.a; apply ");
	assert_string_equal(harness_record(), "test.a reload 1 2; ");

	/* A restart takes the hard dependents along. */
	assert_int_equal(harness_apply(&h, "test.a: {value: 3, restart: 1}\ntest.b: {}\n"), 0);
	assert_said("restart test.a, test.b");
	assert_string_equal(harness_record(), "test.b stop; test.b fini; test.a stop; test.a fini; "
			    "test.a start 3; test.b start 0; ");
	assert_int_equal(wcore_engine_plugin(h.engine, "test.b")->restarts, 1);

	assert_int_not_equal(harness_apply(&h, "test.a: {value: 9, restart: 1, cold: 1}\n"
					       "test.b: {}\n"), 0);
	assert_said("a change of \"test.a\".cold needs a restart of the daemon");
	assert_string_equal(harness_record(), "");

	/* A dependent restarts alone. */
	assert_int_equal(harness_apply(&h, "test.a: {value: 3, restart: 1}\n"
					   "test.b: {restart: 1}\n"), 0);
	assert_string_equal(harness_record(), "test.b stop; test.b fini; test.b start 0; ");
}

static void provider_can_be_exchanged(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.e: {}\ntest.s: {}\n"), 0);
	harness_record();
	assert_int_equal(harness_apply(&h, "test.e: {}\ntest.s2: {}\n"), 0);
	assert_string_equal(harness_record(), "test.e stop; test.e fini; test.s stop; test.s fini; "
			    "test.s2 start 0; test.e start 0; ");
}

static void failing_reload_goes_back(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {value: 1}\ntest.b: {value: 1}\n"
					   "test.s: {}\n"), 0);
	harness_record();
	/* a reloads, b fails: a gets its old values back; s, which was stopped, runs again. */
	assert_int_not_equal(harness_apply(&h, "test.a: {value: 2}\n"
					       "test.b: {value: 2, reload: fail}\n"), 0);
	assert_said("plugin `test.b` did not take its new settings: test.yaml:2:28: told to fail");
	assert_string_equal(harness_record(), "test.s stop; test.s fini; test.a reload 1 2; "
			    "test.a reload 2 1; test.s start 0; ");
	assert_state("test.s", WCORE_PLUGIN_UP);
	/* The configuration in force is the old one: the difference is the same as before. */
	assert_int_equal(harness_apply(&h, "test.a: {value: 2}\ntest.b: {value: 1}\n"
					   "test.s: {}\n"), 0);
	assert_said("reload test.a");
	assert_string_equal(harness_record(), "test.a reload 1 2; ");
}

static void failing_restart_goes_back(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {value: 1}\ntest.b: {}\n"), 0);
	harness_record();
	assert_int_not_equal(harness_apply(&h, "test.a: {value: 2, start: fail}\ntest.b: {}\n"), 0);
	assert_string_equal(harness_record(), "test.b stop; test.b fini; test.a stop; test.a fini; "
			    "test.a start 2; test.a start 1; test.b start 0; ");
	assert_state("test.a", WCORE_PLUGIN_UP);
	assert_state("test.b", WCORE_PLUGIN_UP);
	assert_null(wcore_engine_plugin(h.engine, "test.a")->reason);
}

static void bad_file_leaves_all_alone(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {value: 1}\n"), 0);
	harness_record();
	assert_int_not_equal(harness_apply(&h, "test.a: {valeu: 2}\n"), 0);
	assert_said("did you mean");
	assert_int_not_equal(harness_apply(&h, "test.a: {value: 2}\ntest.magic: {}\n"), 0);
	assert_string_equal(harness_record(), "");
	assert_state("test.a", WCORE_PLUGIN_UP);
}

static void check_says_what_a_reload_would_do(void **state)
{
	struct warren_err err = ERR_INIT;
	struct wcore_config *config;
	char *text = NULL;

	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {value: 1}\ntest.b: {}\ntest.s: {}\n"), 0);
	harness_record();
	config = harness_parse("test.a: {value: 2}\ntest.b: {restart: 2}\ntest.x: {}\n"
			       "test.y: {}\n");
	assert_int_not_equal(wcore_engine_check(h.engine, config, NULL, &err), 0);
	wcore_config_unref(config);
	config = harness_parse("test.a: {value: 2}\ntest.b: {restart: 2}\ntest.c: {}\n");
	assert_int_equal(wcore_engine_check(h.engine, config, &text, &err), 0);
	assert_string_equal(text, "stop test.s; start test.c; restart test.b; reload test.a");
	wcore_config_unref(config);
	free(text);
	err_free(&err);
	assert_string_equal(harness_record(), "");
}

/*
 * ---- Fatal, restart, lanes ----
 */

static void fatal_plugin_takes_its_dependents(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {}\ntest.b: {}\ntest.s: {}\n"), 0);
	harness_record();
	assert_int_equal(harness_apply(&h, "test.a: {reload: fatal}\ntest.b: {}\ntest.s: {}\n"), 0);
	harness_turn(&h, SOON);
	assert_state("test.a", WCORE_PLUGIN_FAILED);
	assert_state("test.b", WCORE_PLUGIN_FAILED);
	assert_state("test.s", WCORE_PLUGIN_UP);
	assert_string_equal(wcore_engine_plugin(h.engine, "test.a")->reason, "told to be fatal");
	assert_string_equal(wcore_engine_plugin(h.engine, "test.b")->reason,
			    "it needs `test.a`, which failed");
	assert_true(harness_warned("plugin `test.a` cannot go on: told to be fatal"));
	harness_record();
	/* The next reload tries again what failed, changed or not. */
	assert_int_equal(harness_apply(&h, "test.a: {}\ntest.b: {}\ntest.s: {}\n"), 0);
	assert_string_equal(harness_record(), "test.a start 0; test.b start 0; ");
}

static void note(struct wcore_engine *engine, int result, const char *text, void *arg)
{
	(void)engine;
	(void)text;
	*(int *)arg = result;
}

static void one_plugin_can_be_restarted(void **state)
{
	int result = 1;

	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {}\ntest.b: {}\ntest.s: {}\n"), 0);
	harness_record();
	wcore_engine_restart(h.engine, "test.a", note, &result);
	harness_turn(&h, SOON);
	assert_int_equal(result, 0);
	assert_string_equal(harness_record(), "test.b stop; test.b fini; test.a stop; test.a fini; "
			    "test.a start 0; test.b start 0; ");
	wcore_engine_restart(h.engine, "test.z", note, &result);
	harness_turn(&h, SOON);
	assert_int_not_equal(result, 0);
}

static void plugins_live_on_lanes(void **state)
{
	(void)state;
	assert_int_equal(harness_apply(&h, "test.a: {lane: one, leak: true, slow: 20ms}\n"
					   "test.b: {lane: two, start: pending, stop: pending}\n"
					   "test.c: {lane: one}\ntest.s: {lane: two}\n"), 0);
	assert_true(harness_wait(&h, "held up lane `one`"));
	assert_true(harness_wait(&h, "found svc.s"));
	assert_string_equal(harness_record(), "test.a start 0; test.b start 0; test.c start 0; "
			    "test.s start 0; test.c found svc.s 4; ");
	assert_int_equal(harness_apply(&h, "test.a: {lane: main}\n"), 0);
	assert_string_equal(harness_record(), "test.c lost svc.s; test.s stop; test.s fini; "
			    "test.c stop; test.c fini; test.b stop; test.b fini; test.a stop; "
			    "test.a end call; test.a fini; test.a start 0; ");
	assert_false(harness_warned("should never run"));
}

/* Kept, so that what a hanging thread still uses is not taken for a leak. */
static struct wcore_engine *left_behind;

static void hanging_start_is_left_behind(void **state)
{
	(void)state;
	assert_int_not_equal(harness_apply(&h, "test.a: {lane: stuck, start: hang}\n"
					       "test.s: {}\n"), 0);
	assert_said("plugin `test.a` hangs in its start and is left behind");
	harness_record();
	/* The rest of the daemon lives. */
	assert_int_equal(harness_apply(&h, "test.s: {}\n"), 0);
	assert_int_equal(harness_apply(&h, "node: {}\n"), 0);
	left_behind = h.engine;
	wcore_engine_free(h.engine);
	h.engine = NULL;
	/* It comes back after the test, and finds all that it needs. */
	usleep(1200000);
	assert_non_null(left_behind);
}

static void sequences_queue_up(void **state)
{
	int first = 1, second = 1, third = 1;

	(void)state;
	wcore_engine_apply_take(h.engine, harness_parse("test.a: {start: pending}\n"), note,
				&first);
	wcore_engine_apply_take(h.engine, harness_parse("test.a: {start: pending, value: 5}\n"),
				note, &second);
	wcore_engine_stop(h.engine, note, &third);
	assert_true(wcore_engine_busy(h.engine));
	harness_turn(&h, 2 * SOON);
	assert_int_equal(first, 0);
	assert_int_equal(second, 0);
	assert_int_equal(third, 0);
	assert_false(wcore_engine_busy(h.engine));
	assert_string_equal(harness_record(), "test.a start 0; test.a reload 0 5; test.a stop; "
			    "test.a fini; ");
}

static int setup(void **state)
{
	(void)state;
	harness_start(&h);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	harness_stop(&h);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define TEST_IN_HASTE(name) cmocka_unit_test_setup_teardown(name, begin_in_haste, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(start_and_stop_follow_the_needs),
		TEST(soft_provider_comes_and_goes),
		TEST(failing_start_undoes_the_others_in_reverse),
		TEST(start_may_be_pending),
		TEST(pending_start_may_fail),
		TEST_IN_HASTE(silent_start_has_a_deadline),
		TEST_IN_HASTE(silent_stop_has_a_deadline),
		TEST(fatal_start_is_a_failed_start),
		TEST(missing_offer_is_a_failed_start),
		TEST(stop_waits_for_jobs),
		TEST(leaks_are_cleaned_up_and_a_second_start_works),
		TEST(slow_callback_is_named),
		TEST(reload_does_what_the_rows_say),
		TEST(provider_can_be_exchanged),
		TEST(failing_reload_goes_back),
		TEST(failing_restart_goes_back),
		TEST(bad_file_leaves_all_alone),
		TEST(check_says_what_a_reload_would_do),
		TEST(fatal_plugin_takes_its_dependents),
		TEST(one_plugin_can_be_restarted),
		TEST(plugins_live_on_lanes),
		TEST(sequences_queue_up),
		TEST_IN_HASTE(hanging_start_is_left_behind),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
