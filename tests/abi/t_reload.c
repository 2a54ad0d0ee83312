/*
 * Reloads in a row: what a plugin that was left alone may still look at, secrets whose files
 * change, sections that were implied, and a long random walk through good and bad configurations in
 * which the configuration in force and the running plugins must never part.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/conf.h"
#include "engine/engine.h"
#include "harness.h"

enum { WALK = 400, PLUGINS = 3 };

static struct harness h;

static void assert_said(const char *text)
{
	if (!strstr(harness_text(), text))
		fail_msg("\"%s\" does not say \"%s\"", harness_text(), text);
}

static void apply(const char *yaml)
{
	if (harness_apply(&h, yaml) != 0)
		fail_msg("%s", harness_text());
}

/* The `old` of a reload is what the plugin has had, however many reloads passed it by. */
static void untouched_plugin_keeps_its_values(void **state)
{
	(void)state;
	apply("test.a: {value: 1}\ntest.s: {value: 1}\n");
	harness_record();
	for (int i = 2; i < 6; i++) {
		char yaml[80];

		snprintf(yaml, sizeof(yaml), "test.a: {value: 1}\ntest.s: {value: %d}\n", i);
		apply(yaml);
		assert_said("reload test.s");
	}
	harness_record();
	assert_int_equal(warren_conf_int(wcore_engine_plugin(h.engine, "test.a")->conf, "value"),
			 1);
	apply("test.a: {value: 2}\ntest.s: {value: 5}\n");
	assert_string_equal(harness_record(), "test.a reload 1 2; ");
}

static void changed_secret_is_a_change(void **state)
{
	static const char yaml[] = "test.a: {secret: {file: /k}}\ntest.s: {}\n";

	(void)state;
	harness_secret("one");
	apply(yaml);
	harness_record();
	apply(yaml);
	assert_said("nothing to do");
	harness_secret("two");
	apply(yaml);
	assert_said("reload test.a");
	assert_string_equal(harness_record(), "test.a reload 0 0; ");
	/* The file is gone: the configuration is refused, and the old secret is still there. */
	harness_secret(NULL);
	assert_int_not_equal(harness_apply(&h, yaml), 0);
	assert_said("test.yaml:1:25: \"secret\": /k cannot be read: No such file or directory");
	assert_string_equal(harness_record(), "");
	harness_secret("two");
	apply(yaml);
	assert_said("nothing to do");
}

/* Writing down what was implied changes nothing; its values then count. */
static void implied_section_can_be_written(void **state)
{
	(void)state;
	apply("test.e: {}\n");
	assert_string_equal(wcore_engine_plugin(h.engine, "test.s")->implied_by, "test.e");
	harness_record();
	apply("test.e: {}\ntest.s: {}\n");
	assert_said("nothing to do");
	assert_null(wcore_engine_plugin(h.engine, "test.s")->implied_by);
	apply("test.e: {}\ntest.s: {value: 3}\n");
	assert_string_equal(harness_record(), "test.s reload 0 3; ");
	apply("test.e: {}\n");
	assert_string_equal(harness_record(), "test.s reload 3 0; ");
	assert_string_equal(wcore_engine_plugin(h.engine, "test.s")->implied_by, "test.e");
}

/* What is refused leaves no trace: neither in the plugins nor in what comes next. */
static void refusals_leave_nothing(void **state)
{
	static const char *const bad[] = {
		"test.a: {value: 2}\ntest.b: {value: x}\n",
		"test.a: {value: 2, cold: 1}\ntest.b: {}\n",
		"test.a: {value: 13}\ntest.b: {}\n",
		"test.b: {value: 2}\n",
		"test.a: {value: 2}\ntest.b: {}\ntest.none: {}\n",
		"test.a: {value: 2}\ntest.b: {start: fail}\n",
		"test.a: {value: 2, reload: fail}\ntest.b: {}\n",
	};
	struct str before = STR_INIT, after = STR_INIT;

	(void)state;
	apply("test.a: {value: 1}\ntest.b: {}\n");
	wcore_config_print(wcore_engine_config(h.engine), WCORE_PRINT_DEFAULTS, &before);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_not_equal(harness_apply(&h, bad[i]), 0);
		assert_true(strlen(harness_text()) > 0);
		str_cut(&after, 0);
		wcore_config_print(wcore_engine_config(h.engine), WCORE_PRINT_DEFAULTS, &after);
		assert_string_equal(str_text(&after), str_text(&before));
	}
	harness_record();
	apply("test.a: {value: 1}\ntest.b: {}\n");
	assert_said("nothing to do");
	assert_string_equal(harness_record(), "");
	str_free(&before);
	str_free(&after);
}

/*
 * ---- The walk ----
 */

struct step {
	bool on[PLUGINS];
	int value[PLUGINS], restart[PLUGINS], cold[PLUGINS];
	const char *odd;		/* something that fails, or "" */
	int odd_at;
};

static const char refuses_reload[] = ", reload: fail";
static const char *const names[PLUGINS] = { "test.a", "test.b", "test.c" };

static struct step random_step(void)
{
	static const char *const odds[] = {
		"", "", "", "", refuses_reload, ", start: fail", ", start: pending-fail",
		", valeu: 1",
	};
	struct step step = { .odd = odds[rand() % (int)ARRAY_SIZE(odds)] };
	int last = 1 + rand() % PLUGINS;	/* c needs b, b needs a */

	step.odd_at = rand() % last;
	for (int i = 0; i < last; i++) {
		step.on[i] = true;
		step.value[i] = rand() % 3;
		step.restart[i] = rand() % 2;
		step.cold[i] = rand() % 8 == 0;
	}
	return step;
}

static int apply_step(const struct step *step)
{
	AUTO(str_free) struct str yaml = STR_INIT;

	for (int i = 0; i < PLUGINS; i++) {
		if (step->on[i])
			str_addf(&yaml, "%s: {value: %d, restart: %d, cold: %d%s}\n", names[i],
				 step->value[i], step->restart[i], step->cold[i],
				 i == step->odd_at ? step->odd : "");
	}
	return harness_apply(&h, str_text(&yaml));
}

static bool is_cold(const struct step *from, const struct step *to)
{
	for (int i = 0; i < PLUGINS; i++) {
		if (from->on[i] && to->on[i] && from->cold[i] != to->cold[i])
			return true;
	}
	return false;
}

/* What runs is what the configuration in force says, and it looks at values of its own. */
static void check_running(const struct step *good)
{
	struct wcore_config *config = wcore_engine_config(h.engine);

	for (int i = 0; i < PLUGINS; i++) {
		const struct wcore_instance *instance = wcore_engine_plugin(h.engine, names[i]);
		const struct warren_conf *section = wcore_config_section(config, names[i]);

		assert_int_equal(section != NULL, good->on[i]);
		if (!good->on[i]) {
			assert_true(!instance || !instance->ctx);
			continue;
		}
		assert_non_null(instance);
		assert_int_equal(instance->state, WCORE_PLUGIN_UP);
		assert_int_equal(warren_conf_int(section, "value"), good->value[i]);
		assert_int_equal(warren_conf_int(instance->conf, "value"), good->value[i]);
		assert_int_equal(warren_conf_int(instance->conf, "restart"), good->restart[i]);
		assert_int_equal(warren_conf_int(instance->conf, "cold"), good->cold[i]);
	}
}

static void random_walk(void **state)
{
	struct step good = { .on = { true }, .odd = "" };
	unsigned int taken = 0, refused = 0;

	(void)state;
	srand(7);
	assert_int_equal(apply_step(&good), 0);
	for (int i = 0; i < WALK; i++) {
		struct step next = random_step();

		if (apply_step(&next) != 0) {
			refused++;
			assert_true(*next.odd || is_cold(&good, &next));
		} else {
			taken++;
			assert_false(is_cold(&good, &next));
			/* Nobody asked it to reload: it was started, or its values are the same. */
			if (*next.odd) {
				assert_string_equal(next.odd, refuses_reload);
				next.odd = "";
				assert_int_equal(apply_step(&next), 0);
			}
			good = next;
		}
		check_running(&good);
		harness_record();
	}
	assert_true(taken > WALK / 10 && refused > WALK / 10);
}

static int begin(void **state)
{
	(void)state;
	harness_engine(&h, 200000, 200000);
	return 0;
}

static int end(void **state)
{
	(void)state;
	harness_engine_end(&h);
	return 0;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(untouched_plugin_keeps_its_values),
		TEST(changed_secret_is_a_change),
		TEST(implied_section_can_be_written),
		TEST(refusals_leave_nothing),
		TEST(random_walk),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
