/*
 * Schema, sample and reference from option tables. The sample must bind as it is and with every
 * option uncommented; the schema must be JSON; what a manual says must match the row.
 */
#include "engine/describe.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/conf.h"
#include "schema.h"

static int bind_text(const char *text, const struct wcore_conf_schema *schemas, size_t count,
		     struct str *errors)
{
	const struct wcore_conf_source source = {
		.name = "sample", .bytes = text, .len = strlen(text),
	};
	struct warren_err err = ERR_INIT;
	struct wcore_config *cfg = wcore_config_parse(&source, 1, &err);
	int result = cfg ? wcore_config_bind(cfg, schemas, count, 0, NULL, NULL, &err) : -EINVAL;

	err_print(&err, errors);
	err_free(&err);
	wcore_config_unref(cfg);
	return result;
}

/* Takes away each "#" that has no space behind it. */
static void uncomment(const char *text, struct str *out)
{
	bool start = true;

	for (; *text; text++) {
		if (start && *text == '#' && text[1] != ' ')
			continue;
		start = *text == '\n' || (start && *text == ' ');
		str_addc(out, *text);
	}
}

static void check_sample(const struct wcore_conf_schema *schemas, size_t count)
{
	struct str sample = STR_INIT, all = STR_INIT, errors = STR_INIT;

	assert_int_equal(wcore_describe_example(schemas, count, NULL, &sample), 0);
	bind_text(str_text(&sample), schemas, count, &errors);
	assert_string_equal(str_text(&errors), "");
	uncomment(str_text(&sample), &all);
	bind_text(str_text(&all), schemas, count, &errors);
	if (errors.len > 0)
		print_message("%s\n%s\n", str_text(&all), str_text(&errors));
	assert_int_equal(errors.len, 0);
	/* The options of every section but those without any came out from behind their "#". */
	for (size_t i = 0; i < count; i++) {
		if (!(schemas[i].flags & WCORE_SCHEMA_OPAQUE)) {
			char key[64];

			snprintf(key, sizeof(key), "\n%s:", schemas[i].name);
			assert_non_null(strstr(str_text(&all), key));
		}
	}
	str_free(&sample);
	str_free(&all);
	str_free(&errors);
}

static void test_sample_of_core(void **state)
{
	size_t count;
	const struct wcore_conf_schema *schemas = wcore_core_schemas(&count);

	(void)state;
	check_sample(schemas, count);
}

static void test_sample_of_all_types(void **state)
{
	size_t count;
	const struct wcore_conf_schema *schemas = golden_schemas(&count);

	(void)state;
	check_sample(schemas, count);
}

static const struct warren_option peer_options[] = {
	{ .key = "key", .type = WARREN_STRING, .flags = WARREN_REQUIRED, .brief = "Key.",
	  .example = "abcd" },
	{ .key = "endpoint", .type = WARREN_ADDRPORT, .brief = "Address.",
	  .example = "192.0.2.9:41641" },
	{ .key = "wait", .type = WARREN_DURATION, .def = "25s", .brief = "Pause." },
};
static const struct warren_option static_options[] = {
	{ .key = "addresses", .type = WARREN_PREFIX, .flags = WARREN_MANY | WARREN_HOST_BITS,
	  .example = "[10.90.0.1/24]", .brief = "Addresses." },
	{ .key = "peers", .type = WARREN_MAP, .flags = WARREN_KEYED,
	  .sub = WARREN_TABLE(peer_options), .brief = "Peers." },
	{ .key = "accept", .type = WARREN_MAP, .flags = WARREN_MANY,
	  .sub = WARREN_TABLE(peer_options), .brief = "Rules." },
};

static void test_role(void **state)
{
	static const struct wcore_conf_schema schemas[] = {
		{ .name = "node", .brief = "Node." }, { .name = "identity", .brief = "Keys." },
		{ .name = "wg", .brief = "Tunnel." }, { .name = "router", .brief = "Routes." },
		{ .name = "filter", .brief = "Rules." }, { .name = "dns", .brief = "Names." },
		{ .name = "static", .brief = "Peers.", .options = WARREN_TABLE(static_options) },
	};
	struct str out = STR_INIT, errors = STR_INIT;

	(void)state;
	assert_int_equal(wcore_describe_example(schemas, ARRAY_SIZE(schemas) - 1, "mesh", &out),
			 -ENOENT);
	assert_int_equal(wcore_describe_example(schemas, ARRAY_SIZE(schemas), "mash", &out),
			 -ENOENT);
	assert_int_equal(out.len, 0);
	assert_int_equal(wcore_describe_example(schemas, ARRAY_SIZE(schemas), "mesh", &out), 0);
	assert_non_null(strstr(str_text(&out), "\nwg:\n"));
	assert_non_null(strstr(str_text(&out), "\n#dns:\n"));
	assert_non_null(strstr(str_text(&out),
			       "\n# Peers.\nstatic:\n"
			       "  # Addresses. (list of addresses with length)\n"
			       "  addresses: [10.90.0.1/24]\n"
			       "  # Peers. (map of names to maps)\n"
			       "  peers:\n"
			       "    name:\n"
			       "      # Key. (text, required)\n"
			       "      key: abcd\n"
			       "      # Address. (address and port)\n"
			       "      endpoint: 192.0.2.9:41641\n"
			       "      # Pause. (duration, default 25s)\n"
			       "      #wait: 25s\n"
			       "  # Rules. (list of maps)\n"
			       "  #accept:\n"
			       "    #-\n"
			       "      # Key. (text, required)\n"
			       "      #key: abcd\n"));
	bind_text(str_text(&out), schemas, ARRAY_SIZE(schemas), &errors);
	assert_string_equal(str_text(&errors), "");
	str_free(&out);
	str_free(&errors);
}

static void test_schema(void **state)
{
	size_t count;
	const struct wcore_conf_schema *schemas = golden_schemas(&count);
	struct str out = STR_INIT;
	json_error_t error;
	json_t *root, *network;
	const char *type, *required;
	json_int_t min, max;

	(void)state;
	wcore_describe_schema(schemas, count, &out);
	root = json_loads(str_text(&out), JSON_REJECT_DUPLICATES, &error);
	if (!root)
		print_message("%s in line %d\n%s\n", error.text, error.line, str_text(&out));
	assert_non_null(root);
	assert_int_equal(json_unpack(root, "{s:{s:{s:{s:{s:I,s:I}}}}}", "properties", "limits",
				     "properties", "int", "minimum", &min, "maximum", &max), 0);
	assert_int_equal(min, -10);
	assert_int_equal(max, 100);
	assert_int_equal(json_unpack(root, "{s:{s:{s:o}}}", "properties", "network", "properties",
				     &network), 0);
	assert_int_equal(json_unpack(network, "{s:{s:{s:{s:{s:s}},s:[s]}}}", "peers",
				     "additionalProperties", "properties", "keepalive", "$ref",
				     &type, "required", &required), 0);
	assert_string_equal(type, "#/$defs/duration");
	assert_string_equal(required, "key");
	assert_true(json_is_true(json_object_get(json_object_get(network, "speed"),
						 "deprecated")));
	json_decref(root);
	str_free(&out);
}

static void check_row(const struct warren_option *row, const char *expected)
{
	struct str out = STR_INIT;

	wcore_describe_row(row, &out);
	assert_string_equal(str_text(&out), expected);
	str_free(&out);
}

static void test_rows(void **state)
{
	static const char *const values[] = { "a", "b", NULL };
	const struct warren_option duration = {
		.type = WARREN_DURATION, .def = "30s", .min = 1000000, .max = 3600000000,
	};
	const struct warren_option ports = {
		.type = WARREN_INT, .flags = WARREN_MANY, .min = 1, .max = 65535,
	};
	const struct warren_option key = { .type = WARREN_STRING, .min = 44, .max = 44 };
	const struct warren_option words = {
		.type = WARREN_ENUM, .flags = WARREN_KEYED | WARREN_MANY, .values = values,
	};
	const struct warren_option file = { .type = WARREN_FD_IN, .max = 4096 };
	const struct warren_option unknown = { .type = 99 };

	(void)state;
	check_row(&duration, "duration, 1s to 1h, default 30s");
	check_row(&ports, "list of numbers, 1 to 65535");
	check_row(&key, "text, 44 bytes");
	check_row(&words, "map of names to lists of choices: a | b");
	check_row(&file, "file to read, at most 4096 bytes");
	check_row(&unknown, "unknown");
}

static void test_reference(void **state)
{
	static const struct warren_option options[] = {
		{ .key = "dir", .type = WARREN_PATH, .brief = "A folder.", .flags = WARREN_RESTART,
		  .help = ".hidden\n\nC:\\x" },
	};
	const struct wcore_conf_schema schema = {
		.name = "x", .brief = "Things.", .options = WARREN_TABLE(options),
	};
	struct str out = STR_INIT;
	const struct wcore_conf_schema *schemas;
	size_t count;

	(void)state;
	wcore_describe_mdoc(&schema, &out);
	assert_string_equal(str_text(&out),
			    ".Ss x\nThings.\n.Bl -tag -width Ds\n.It Cm dir\nA folder.\n(path)\n"
			    "\\&.hidden\n.Pp\nC:\\ex\nA change restarts the plugin.\n.El\n");
	str_cut(&out, 0);
	wcore_describe_markdown(&schema, &out);
	assert_string_equal(str_text(&out),
			    "## `x`\n\nThings.\n\n- `x.dir` (path): A folder. .hidden\n\nC:\\x "
			    "A change restarts the plugin.\n");
	str_cut(&out, 0);
	schemas = golden_schemas(&count);
	for (size_t i = 0; i < count; i++)
		wcore_describe_mdoc(&schemas[i], &out);
	assert_non_null(strstr(str_text(&out),
			       ".It Cm peers.NAME.key\nIts key.\n(text, required)\n"));
	assert_non_null(strstr(str_text(&out), ".It Cm accept[].from\n"));
	assert_non_null(strstr(str_text(&out), ".It Cm NAME.NAME\nA path and its target.\n"));
	str_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sample_of_core),
		cmocka_unit_test(test_sample_of_all_types),
		cmocka_unit_test(test_role),
		cmocka_unit_test(test_schema),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
