/*
 * Differences between configurations, and configurations printed with origins.
 */
#include "conf_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/str.h"
#include "base/util.h"
#include "schema.h"

static const struct help_secret old_secrets[] = { { "/k", "one", 3 }, { "/l", "one", 3 }, { 0 } };
static const struct help_secret new_secrets[] = { { "/k", "two", 3 }, { "/l", "one", 3 }, { 0 } };

static void check_diff(const char *old_text, const char *new_text, const char *expected)
{
	struct wcore_config *old = help_config(old_text, old_secrets);
	struct wcore_config *now = help_config(new_text, new_secrets);
	struct str out = STR_INIT;

	wcore_config_print_diff(old, now, 0, &out);
	assert_string_equal(str_text(&out), expected);
	str_free(&out);
	wcore_config_unref(old);
	wcore_config_unref(now);
}

static void test_scalars(void **state)
{
	(void)state;
	check_diff("types: {int: 1, string: a}\n", "types:\n  string: a\n  int: 1\n", "");
	check_diff("types: {int: 1, bool: true, size: 1K}\n",
		   "types: {int: 2, size: 1024, enum: red}\n",
		   "types.bool: true (t.yaml:1:23) -> none (gone)\n"
		   "types.int: 1 (t.yaml:1:14) -> 2 (t.yaml:1:14)\n"
		   "types.enum: none -> red (t.yaml:1:35)\n");
}

/* A default that is written down is no change; leaving it is, with the flags of the row. */
static void test_defaults(void **state)
{
	(void)state;
	check_diff("defaults: {}\n", "defaults: {port: 41641, size: 65536, map: {on: on}}\n", "");
	check_diff("defaults: {}\n", "defaults: {port: 1, map: {wait: off}, list: [10.0.0.0/8]}\n",
		   "defaults.port: 41641 -> 1 (t.yaml:1:18), needs a restart of the daemon\n"
		   "defaults.list: [10.0.0.0/8, fd00::/8] -> [10.0.0.0/8] (t.yaml:1:39)\n"
		   "defaults.map.wait: 1m30s -> off (t.yaml:1:33), restarts defaults\n");
	check_diff("defaults: {port: 1}\n", "defaults: {}\n",
		   "defaults.port: 1 (t.yaml:1:18) -> 41641 (default), needs a restart of the "
		   "daemon\n");
}

static void test_sections(void **state)
{
	(void)state;
	check_diff("types: {}\nplain: {}\n", "types: {}\nweb: {}\n",
		   "web: section added (t.yaml:2:1)\nplain: section removed (t.yaml:2:1)\n");
	check_diff("", "", "");
}

static void test_keyed(void **state)
{
	(void)state;
	check_diff("network: {peers: {a: {key: aaaa}, b: {key: bbbb}, c: {key: cccc}}}\n",
		   "network: {peers: {c: {key: cccc}, b.x: {key: bbbb}, a: {key: aaab}}}\n",
		   "network.peers.\"b.x\": none -> {key: bbbb, keepalive: off} (t.yaml:1:35)\n"
		   "network.peers.a.key: aaaa (t.yaml:1:28) -> aaab (t.yaml:1:62)\n"
		   "network.peers.b: {key: bbbb, keepalive: off} (t.yaml:1:35) -> none (gone)\n");
	/* Another order is no change. */
	check_diff("network: {routes: {a: 192.0.2.1, b: 192.0.2.2}}\n",
		   "network: {routes: {b: 192.0.2.2, a: 192.0.2.1}}\n", "");
}

static void test_lists(void **state)
{
	(void)state;
	check_diff("network: {accept: [{ports: a}, {ports: b}], groups: {g: [x, y]}}\n",
		   "network: {accept: [{ports: a}, {ports: c}], groups: {g: [y, x]}}\n",
		   "network.accept[1].ports: [b] (t.yaml:1:40) -> [c] (t.yaml:1:40)\n"
		   "network.groups.g: [x, y] (t.yaml:1:54) -> [y, x] (t.yaml:1:54)\n");
	check_diff("network: {accept: [{ports: a}]}\n",
		   "network: {accept: [{ports: a}, {ports: b}]}\n",
		   "network.accept: [{ports: [a]}] (t.yaml:1:11) -> [{ports: [a]}, {ports: [b]}] "
		   "(t.yaml:1:11)\n");
}

/* A file whose bytes changed is a change; another file with the same bytes is none. */
static void test_secrets(void **state)
{
	(void)state;
	check_diff("types: {secret: {file: /k}}\n", "types: {secret: {file: /k}}\n",
		   "types.secret: (secret) (t.yaml:1:9) -> (secret) (t.yaml:1:9)\n");
	check_diff("types: {secret: {file: /k}}\n", "types: {secret: {file: /l}}\n", "");
	check_diff("types: {secret: {file: /l}}\n", "types: {secret: {file: /k}}\n",
		   "types.secret: {file: /l} (t.yaml:1:9) -> {file: /k} (t.yaml:1:9)\n");
}

struct seen {
	size_t count;
	uint32_t flags;
};

static void see(const struct wcore_config_change *change, void *arg)
{
	struct seen *seen = arg;

	assert_string_equal(change->section, "network");
	assert_string_equal(change->path, "network.peers.a.psk");
	assert_null(change->old);
	assert_non_null(change->now);
	seen->count++;
	seen->flags |= change->flags;
}

static void test_callback(void **state)
{
	struct wcore_config *old = help_config(
		"network: {peers: {a: {key: aaaa, endpoint: 192.0.2.1:1}}}\n", NULL);
	struct wcore_config *now = help_config(
		"network: {peers: {a: {key: aaaa, endpoint: 192.0.2.1:1, psk: {file: /k}}}}\n",
		old_secrets);
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(wcore_config_diff(old, now, see, &seen), 1);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.flags, WARREN_RESTART);
	assert_int_equal(wcore_config_diff(old, old, NULL, NULL), 0);
	wcore_config_unref(old);
	wcore_config_unref(now);
}

static void test_diff_json(void **state)
{
	struct wcore_config *old = help_config("types: {int: 1}\ndefaults: {}\n", NULL);
	struct wcore_config *now = help_config("types: {int: 2}\ndefaults: {port: 1}\n", NULL);
	struct str out = STR_INIT;
	const char *path, *effect, *origin;
	json_t *root, *old_origin;
	json_int_t value;

	(void)state;
	assert_int_equal(wcore_config_print_diff(old, now, WCORE_PRINT_JSON, &out), 2);
	root = json_loads(str_text(&out), 0, NULL);
	assert_non_null(root);
	assert_int_equal(json_unpack(json_array_get(root, 1), "{s:s,s:I,s:s,s:s,s:o}", "path",
				     &path, "new", &value, "effect", &effect, "new_origin",
				     &origin, "old_origin", &old_origin), 0);
	assert_string_equal(path, "defaults.port");
	assert_int_equal(value, 1);
	assert_string_equal(effect, "refused");
	assert_string_equal(origin, "t.yaml:2:18");
	assert_string_equal(json_string_value(old_origin), "default");
	json_decref(root);
	str_cut(&out, 0);
	assert_int_equal(wcore_config_print_diff(old, old, WCORE_PRINT_JSON, &out), 0);
	assert_string_equal(str_text(&out), "[]\n");
	str_free(&out);
	wcore_config_unref(old);
	wcore_config_unref(now);
}

static void test_origin(void **state)
{
	static const char base[] = "types:\n  int: 1\n  string: a\n";
	static const char over[] = "types: {string: b}\ndefaults:\n";
	const struct wcore_conf_source sources[] = {
		{ .name = "warren.yaml", .bytes = base, .len = sizeof(base) - 1 },
		{ .name = "conf.d/x.yaml", .bytes = over, .len = sizeof(over) - 1 },
	};
	struct warren_err err = ERR_INIT;
	struct wcore_config *cfg = wcore_config_parse(sources, 2, &err);
	struct str out = STR_INIT;
	size_t count;
	const struct wcore_conf_schema *schemas = golden_schemas(&count);

	(void)state;
	assert_int_equal(wcore_config_bind(cfg, schemas, count, 0, NULL, NULL, &err), 0);
	wcore_config_print(cfg, WCORE_PRINT_ORIGIN | WCORE_PRINT_DEFAULTS, &out);
	assert_string_equal(str_text(&out),
			    "types:  # warren.yaml:1\n"
			    "  int: 1  # warren.yaml:2\n"
			    "  string: b  # conf.d/x.yaml:1\n"
			    "defaults:  # conf.d/x.yaml:2\n"
			    "  port: 41641  # default\n"
			    "  size: 64KiB  # default\n"
			    "  text: \"a: b\"  # default\n"
			    "  list: [10.0.0.0/8, fd00::/8]  # default\n"
			    "  map:  # default\n"
			    "    on: true  # default\n"
			    "    wait: 1m30s  # default\n");
	str_cut(&out, 0);
	wcore_config_print(cfg, WCORE_PRINT_ORIGIN | WCORE_PRINT_JSON, &out);
	assert_string_equal(str_text(&out),
			    "[\n{\"path\":\"types.int\",\"value\":1,\"origin\":\"warren.yaml:2:8\"}"
			    ",\n{\"path\":\"types.string\",\"value\":\"b\",\"origin\":"
			    "\"conf.d/x.yaml:1:17\"}\n]\n");
	str_free(&out);
	wcore_config_unref(cfg);
}

static const struct warren_option implied_options[] = {
	{ .key = "port", .type = WARREN_INT, .def = "7" },
};

static void test_implied(void **state)
{
	static const struct wcore_conf_schema schemas[] = {
		{ .name = "control" },
		{ .name = "wg", .implied_by = "control", .flags = WCORE_SCHEMA_ALWAYS,
		  .options = WARREN_TABLE(implied_options) },
	};
	static const char text[] = "control: {}\n";
	const struct wcore_conf_source source = {
		.name = "w", .bytes = text, .len = sizeof(text) - 1,
	};
	struct wcore_config *cfg = wcore_config_parse(&source, 1, NULL);
	struct wcore_conf_schema *passing = malloc(sizeof(schemas));
	struct str out = STR_INIT;

	(void)state;
	/* Only what the array points to has to stay. */
	assert_non_null(passing);
	memcpy(passing, schemas, sizeof(schemas));
	assert_int_equal(wcore_config_bind(cfg, passing, 2, 0, NULL, NULL, NULL), 0);
	memset(passing, 0xff, sizeof(schemas));
	free(passing);
	assert_false(wcore_config_section_written(cfg, "wg"));
	assert_int_equal(warren_conf_int(wcore_config_section(cfg, "wg"), "port"), 7);
	wcore_config_print(cfg, 0, &out);
	assert_string_equal(str_text(&out), "control: {}\nwg: {}  # implied by control\n");
	str_free(&out);
	wcore_config_unref(cfg);
}

/* Only what a file says too, and otherwise, is overridden; the nearest file is named. */
static void test_overrides(void **state)
{
	static const char main_text[] = "a: {same: 1, other: 2, list: [x, y], map: {k: v}}\n"
					"b: {left: 5}\n";
	static const char conf_text[] = "\na: {other: 3}\n";
	static const char over_text[] = "a: {same: 1, other: 4, list: [x], map: {k: w, new: 1}}\n"
					"b: {left: null, added: 1}\nc: {x: 1}\n";
	const struct wcore_conf_source sources[] = {
		{ .name = "main", .bytes = main_text, .len = sizeof(main_text) - 1 },
		{ .name = "conf", .bytes = conf_text, .len = sizeof(conf_text) - 1 },
		{ .name = "over", .bytes = over_text, .len = sizeof(over_text) - 1,
		  .flags = WCORE_SOURCE_OVERLAY },
	};
	static const struct wcore_config_override wanted[] = {
		{ "a.other", "conf", 2 }, { "a.list", "main", 1 }, { "a.map.k", "main", 1 },
		{ "b.left", "main", 2 },
	};
	struct wcore_config *cfg = wcore_config_parse(sources, 3, NULL);
	const struct wcore_config_override *list;
	size_t n;

	(void)state;
	assert_non_null(cfg);
	list = wcore_config_overrides(cfg, &n);
	assert_int_equal(n, ARRAY_SIZE(wanted));
	for (size_t i = 0; i < n; i++) {
		assert_string_equal(list[i].path, wanted[i].path);
		assert_string_equal(list[i].file, wanted[i].file);
		assert_int_equal(list[i].line, wanted[i].line);
	}
	wcore_config_unref(cfg);
	/* An overlay alone overrides nothing. */
	cfg = wcore_config_parse(&sources[2], 1, NULL);
	wcore_config_overrides(cfg, &n);
	assert_int_equal(n, 0);
	wcore_config_unref(cfg);
	wcore_config_overrides(NULL, &n);
	assert_int_equal(n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scalars),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_keyed),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_callback),
		cmocka_unit_test(test_diff_json),
		cmocka_unit_test(test_origin),
		cmocka_unit_test(test_implied),
		cmocka_unit_test(test_overrides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
