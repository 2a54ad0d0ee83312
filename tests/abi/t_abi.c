/*
 * What the loader takes and what it refuses, and the sentences it says about it.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "engine/conf.h"
#include "engine/engine.h"
#include "engine/plugin_load.h"
#include "harness.h"

static struct harness h;

static const struct wcore_plugin *load(const char *name, char *said, size_t size)
{
	struct warren_err err = ERR_INIT;
	const struct wcore_plugin *plugin = wcore_plugin_load(name, h.dir, geteuid(), &err);

	snprintf(said, size, "%s", plugin ? "" : err_first(&err));
	err_free(&err);
	return plugin;
}

static void assert_refused(const char *name, const char *why)
{
	char said[512];

	assert_null(load(name, said, sizeof(said)));
	if (!strstr(said, why))
		fail_msg("%s: \"%s\" does not say \"%s\"", name, said, why);
}

static void good_plugin_is_loaded_once(void **state)
{
	char said[512];
	const struct wcore_plugin *plugin = load("test.a", said, sizeof(said));

	(void)state;
	assert_non_null(plugin);
	assert_string_equal(plugin->desc.name, "test.a");
	assert_non_null(strstr(plugin->path, "/test.a.so"));
	assert_ptr_equal(plugin, load("test.a", said, sizeof(said)));
}

static void foreign_versions_are_refused(void **state)
{
	(void)state;
	assert_refused("test.magic", "magic 0x12345678, not 0x4e525257");
	assert_refused("test.major", "was built for plugin ABI 1.1, this is 0.1; rebuild it");
	assert_refused("test.minor", "was built for plugin ABI 0.2, this is 0.1; install a newer");
	assert_refused("test.size", "a descriptor of 16 bytes");
	assert_refused("test.flag", "sets flags 0x4000");
	assert_refused("test.name", "calls itself `test.other`");
	assert_refused("test.entry", "it is no Warren plugin");
}

static void short_descriptor_is_extended_with_zeros(void **state)
{
	char said[512];
	const struct wcore_plugin *plugin = load("test.short", said, sizeof(said));

	(void)state;
	assert_string_equal(said, "");
	assert_non_null(plugin->desc.fini);
	/* Behind its size the fixture has functions; they must not be seen. */
	assert_null(plugin->desc.found);
	assert_null(plugin->desc.lost);
}

static void longer_rows_are_cut(void **state)
{
	(void)state;
	harness_engine(&h, 0, 0);
	assert_int_equal(harness_apply(&h, "test.rows: {value: 7, job: 5ms}\n"), 0);
	assert_string_equal(harness_record(), "test.rows start 7; ");
	harness_engine_end(&h);
	assert_string_equal(harness_record(), "test.rows stop; test.rows job done; "
			    "test.rows fini; ");
}

static void files_of_others_are_refused(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/test.b.so", h.dir);
	assert_int_equal(chmod(path, 0775), 0);
	assert_refused("test.b", "may be written by others than its owner: chmod go-w /");
	assert_int_equal(chmod(path, 0757), 0);
	assert_refused("test.b", "may be written by others");
	assert_int_equal(chmod(path, 0755), 0);

	assert_int_equal(chmod(h.dir, 0775), 0);
	assert_refused("test.b", "may be written by others");
	assert_int_equal(chmod(h.dir, 0755), 0);

	if (geteuid() == 0) {
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_refused("test.b", "belongs to user 12345; plugins must belong to root");
		assert_int_equal(chown(path, 0, 0), 0);
	} else {
		/* Ours, but nobody vouches for us. */
		struct warren_err err = ERR_INIT;

		assert_null(wcore_plugin_load("test.b", h.dir, 0, &err));
		assert_non_null(strstr(err_first(&err), "plugins must belong to root"));
		err_free(&err);
	}
}

static void names_that_are_paths_are_refused(void **state)
{
	(void)state;
	assert_refused("../test.a", "cannot be a plugin");
	assert_refused("test..a", "cannot be a plugin");
	assert_refused("", "cannot be a plugin");
	assert_refused("Test.a", "cannot be a plugin");
}

static void unknown_name_brings_a_guess(void **state)
{
	(void)state;
	assert_refused("test.versoin", "there is no plugin `test.versoin`; did you mean "
		       "`test.version`?");
	assert_refused("nothing-like-it", "there is no plugin `nothing-like-it`: install ");
}

static void scan_lists_names_once_and_sorted(void **state)
{
	char **names = wcore_plugin_scan(h.dir);
	bool found = false;

	(void)state;
	assert_non_null(names);
	for (size_t i = 0; names[i]; i++) {
		found |= strcmp(names[i], "test.rows") == 0;
		if (i > 0)
			assert_true(strcmp(names[i - 1], names[i]) < 0);
	}
	assert_true(found);
	free(names);
}

/* Applies @yaml, which must be refused with all of @why in one sentence. */
static void assert_no_plan(const char *yaml, const char *const *why)
{
	harness_engine(&h, 0, 0);
	assert_int_not_equal(harness_apply(&h, yaml), 0);
	for (size_t i = 0; why[i]; i++)
		if (!strstr(harness_text(), why[i]))
			fail_msg("\"%s\" does not say \"%s\"", harness_text(), why[i]);
	assert_string_equal(harness_record(), "");
	harness_engine_end(&h);
}

static void needs_are_resolved_or_explained(void **state)
{
	(void)state;
	assert_no_plan("test.b: {}\n", (const char *const[]){
		"test.yaml:1:1: `test.b` needs service svc.a 0.x; enable `test.a:`", NULL });
	assert_no_plan("test.s: {}\ntest.s2: {}\n", (const char *const[]){
		"test.yaml:2:1: `test.s` (test.yaml:1:1) and `test.s2` (test.yaml:2:1) both offer "
		"service svc.s; remove one", NULL });
	assert_no_plan("\ntest.x: {}\ntest.y: {}\n", (const char *const[]){
		"a circle of needs: `test.x` (test.yaml:2:1) needs svc.y of `test.y` "
		"(test.yaml:3:1), which needs svc.x of `test.x` (test.yaml:2:1)", NULL });
	assert_no_plan("test.a: {}\ntest.version: {}\n", (const char *const[]){
		"`test.version` needs service svc.a 0.9, and `test.a` offers 0.1", NULL });
	assert_no_plan("test.aa: {}\ntest.b: {value: 13}\n", (const char *const[]){
		"test.yaml:1:1: there is no plugin `test.aa`; did you mean `test.a`?",
		"test.yaml:2:17: 13 is an unlucky number", NULL });
	assert_no_plan("test.magic: {}\n", (const char *const[]){ "test.yaml:1:1: ", "magic",
		NULL });
	assert_no_plan("test.a: {lane: \"no such lane\"}\n", (const char *const[]){
		"is no name of a lane", NULL });
}

static void a_need_can_switch_its_provider_on(void **state)
{
	const struct wcore_instance *i;

	(void)state;
	harness_engine(&h, 0, 0);
	assert_int_equal(harness_apply(&h, "test.e: {}\n"), 0);
	assert_string_equal(harness_record(), "test.s start 0; test.e start 0; ");
	i = wcore_engine_plugin(h.engine, "test.s");
	assert_string_equal(i->implied_by, "test.e");
	assert_null(wcore_engine_plugin(h.engine, "test.e")->implied_by);
	harness_engine_end(&h);
	assert_string_equal(harness_record(), "test.e stop; test.e fini; test.s stop; "
			    "test.s fini; ");
	/* Written down, it is not implied; offered by another, it is not needed. */
	harness_engine(&h, 0, 0);
	assert_int_equal(harness_apply(&h, "test.e: {}\ntest.s2: {}\n"), 0);
	assert_null(wcore_engine_plugin(h.engine, "test.s"));
	harness_engine_end(&h);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_plugin_is_loaded_once),
		cmocka_unit_test(foreign_versions_are_refused),
		cmocka_unit_test(short_descriptor_is_extended_with_zeros),
		cmocka_unit_test(longer_rows_are_cut),
		cmocka_unit_test(files_of_others_are_refused),
		cmocka_unit_test(names_that_are_paths_are_refused),
		cmocka_unit_test(unknown_name_brings_a_guess),
		cmocka_unit_test(scan_lists_names_once_and_sorted),
		cmocka_unit_test(needs_are_resolved_or_explained),
		cmocka_unit_test(a_need_can_switch_its_provider_on),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
