/*
 * Values: what the getters of plugin.h return and when they abort, places and key paths, secrets,
 * mistakes in tables, rows of older and newer plugins. Forms and error texts are in tests/golden.
 */
#include "conf_help.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/table.h"

static void test_getters(void **state)
{
	static const struct help_secret secrets[] = { { "/psk", "hunter22\n", 9 }, { 0 } };
	struct wcore_config *cfg = help_config(
		"types: {bool: on, int: -3, size: 1K, duration: 2s, string: s, enum: blue,\n"
		"  addr: 192.0.2.1, addrport: '[::1]:9', prefix: 10.0.0.0/8, ifaddr: 10.9.0.1/24,\n"
		"  path: /p, secret: {file: /psk}}\n", secrets);
	const struct warren_conf *types = wcore_config_section(cfg, "types");
	struct warren_addrport ap = warren_conf_addrport(types, "addrport");
	struct warren_prefix prefix = warren_conf_prefix(types, "ifaddr");
	char text[ADDRPORT_TEXT];
	size_t len;

	(void)state;
	assert_true(warren_conf_bool(types, "bool"));
	assert_int_equal(warren_conf_int(types, "int"), -3);
	assert_int_equal(warren_conf_int(types, "size"), 1024);
	assert_int_equal(warren_conf_int(types, "duration"), 2000000);
	assert_string_equal(warren_conf_str(types, "string"), "s");
	assert_string_equal(warren_conf_str(types, "enum"), "blue");
	assert_int_equal(warren_conf_enum(types, "enum"), 2);
	assert_int_equal(warren_conf_addr(types, "addr").bytes[0], 192);
	assert_string_equal(addrport_format(&ap, text), "[::1]:9");
	assert_string_equal(prefix_format(&prefix, text), "10.9.0.1/24");
	assert_string_equal(warren_conf_str(types, "path"), "/p");
	assert_memory_equal(warren_secret_bytes(warren_conf_secret(types, "secret"), &len),
			    "hunter22", 8);
	assert_int_equal(len, 8);
	assert_string_equal(warren_conf_name(types), "types");
	assert_int_equal(wcore_conf_flags(types, "path"), WARREN_READ);
	assert_int_equal(wcore_conf_type(types, "path"), WARREN_PATH);
	wcore_config_unref(cfg);
}

static void test_absent(void **state)
{
	struct wcore_config *cfg = help_config("types: {}\nnetwork: {}\ndefaults: {}\n", NULL);
	const struct warren_conf *types = wcore_config_section(cfg, "types");
	const struct warren_conf *network = wcore_config_section(cfg, "network");
	const struct warren_conf *defaults = wcore_config_section(cfg, "defaults");
	size_t len = 1;

	(void)state;
	assert_false(warren_conf_has(types, "int"));
	assert_int_equal(warren_conf_int(types, "int"), 0);
	assert_null(warren_conf_str(types, "string"));
	assert_null(warren_conf_str(types, "enum"));
	assert_int_equal(warren_conf_addr(types, "addr").family, 0);
	assert_null(warren_conf_secret(types, "secret"));
	assert_null(warren_secret_bytes(NULL, &len));
	assert_int_equal(len, 0);
	assert_int_equal(warren_conf_count(network, "peers"), 0);
	assert_int_equal(warren_conf_count(network, "accept"), 0);
	assert_null(warren_conf_map(defaults, "none"));
	assert_true(warren_conf_has(defaults, "port"));
	assert_int_equal(warren_conf_int(defaults, "port"), 41641);
	assert_int_equal(warren_conf_int(warren_conf_map(defaults, "map"), "wait"), 90000000);
	assert_int_equal(warren_conf_count(defaults, "list"), 2);
	assert_null(wcore_config_section(cfg, "plain"));
	assert_false(wcore_config_section_written(cfg, "plain"));
	assert_true(wcore_config_section_written(cfg, "types"));
	wcore_config_unref(cfg);
}

static void test_containers(void **state)
{
	struct wcore_config *cfg = help_config(
		"network:\n"
		"  peers: {nas: {key: abcd, allowed: [10.0.0.0/8, 10.1.0.0/16]},\n"
		"          box: {key: efgh}}\n"
		"  accept: [{ports: [a, b]}, {ports: c}]\n"
		"  groups: {g: [x, y], h: []}\n"
		"web: {\"https:443\": {/: a, /b: c}}\n", NULL);
	const struct warren_conf *network = wcore_config_section(cfg, "network");
	const struct warren_conf *web = wcore_config_section(cfg, "web");
	const struct warren_conf *nas = warren_conf_at(network, "peers", 0);
	const struct warren_conf *group = warren_conf_at(network, "groups", 0);
	const struct warren_conf *port;

	(void)state;
	assert_int_equal(warren_conf_count(network, "peers"), 2);
	assert_string_equal(warren_conf_name(nas), "nas");
	assert_string_equal(warren_conf_str(nas, "key"), "abcd");
	assert_int_equal(warren_conf_prefix(warren_conf_at(nas, "allowed", 1), NULL).bits, 16);
	assert_string_equal(warren_conf_name(warren_conf_at(network, "peers", 1)), "box");
	assert_int_equal(warren_conf_count(warren_conf_at(network, "accept", 1), "ports"), 1);
	assert_int_equal(warren_conf_count(group, NULL), 2);
	assert_string_equal(warren_conf_str(warren_conf_at(group, NULL, 1), NULL), "y");
	assert_int_equal(warren_conf_count(warren_conf_at(network, "groups", 1), NULL), 0);
	assert_int_equal(warren_conf_count(web, NULL), 1);
	port = warren_conf_at(web, NULL, 0);
	assert_string_equal(warren_conf_name(port), "https:443");
	assert_string_equal(warren_conf_name(warren_conf_at(port, NULL, 1)), "/b");
	assert_string_equal(warren_conf_str(warren_conf_at(port, NULL, 1), NULL), "c");
	wcore_config_unref(cfg);
}

/*
 * ---- Misuse ----
 */

static void read_unknown(const struct warren_conf *types)
{
	warren_conf_int(types, "itn");
}

static void read_wrong_type(const struct warren_conf *types)
{
	warren_conf_int(types, "string");
}

static void read_scalar_as_list(const struct warren_conf *types)
{
	warren_conf_count(types, "int");
}

static void read_below_scalar(const struct warren_conf *types)
{
	warren_conf_int(types, NULL);
}

static void read_nothing(const struct warren_conf *types)
{
	(void)types;
	warren_conf_int(NULL, "x");
}

/* Runs @fn in a child, which must abort; its last words go to @said. */
static void dies(void (*fn)(const struct warren_conf *), const char *said)
{
	struct wcore_config *cfg = help_config("types: {int: 1}\n", NULL);
	const struct rlimit no_core = { 0, 0 };
	char words[512];
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		setrlimit(RLIMIT_CORE, &no_core);
		dup2(fds[1], STDERR_FILENO);
		fn(wcore_config_section(cfg, "types"));
		_exit(0);
	}
	close(fds[1]);
	n = read(fds[0], words, sizeof(words) - 1);
	assert_true(n > 0);
	words[n] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_string_equal(words, said);
	wcore_config_unref(cfg);
}

static void test_misuse(void **state)
{
	(void)state;
	dies(read_unknown, "warren_conf_int: mistake in the program, at \"types\": no row declares "
	     "\"itn\"\n");
	dies(read_wrong_type, "warren_conf_int: mistake in the program, at \"types.string\": its "
	     "row has the type text\n");
	dies(read_scalar_as_list, "warren_conf_count: mistake in the program, at \"types.int\": "
	     "its row is neither MANY nor KEYED\n");
	dies(read_below_scalar, "warren_conf_int: mistake in the program, at \"types\": its row "
	     "has the type map\n");
	dies(read_nothing, "warren_conf_int: mistake in the program, at \"\": no configuration "
	     "(NULL) where \"x\" is read\n");
}

/*
 * ---- Places ----
 */

static void check_path(const struct warren_conf *conf, const char *key, const char *path,
		       uint32_t index)
{
	struct str got = STR_INIT;
	uint32_t i;

	wcore_conf_path(conf, key, &got, &i);
	assert_string_equal(str_text(&got), path);
	assert_int_equal(i, index);
	str_free(&got);
}

static void test_places(void **state)
{
	struct wcore_config *cfg = help_config(
		"network:\n"
		"  peers:\n"
		"    nas.home: {key: abcd, allowed: [10.0.0.0/8, 10.1.0.0/16]}\n"
		"  accept:\n"
		"    - {ports: [a, b]}\n", NULL);
	const struct warren_conf *network = wcore_config_section(cfg, "network");
	const struct warren_conf *nas = warren_conf_at(network, "peers", 0);
	const struct warren_conf *rule = warren_conf_at(network, "accept", 0);
	const char *where = warren_conf_where(nas, "key");

	(void)state;
	assert_string_equal(where, "t.yaml:3:21");
	assert_ptr_equal(where, warren_conf_where(nas, "key"));
	assert_string_equal(warren_conf_where(nas, NULL), "t.yaml:3:5");
	assert_string_equal(warren_conf_where(nas, "keepalive"), "default");
	assert_string_equal(warren_conf_where(warren_conf_at(nas, "allowed", 1), NULL),
			    "t.yaml:3:49");
	check_path(network, NULL, "network", 0);
	check_path(nas, "key", "network.peers.\"nas.home\".key", 0);
	check_path(warren_conf_at(nas, "allowed", 1), NULL,
		   "network.peers.\"nas.home\".allowed", 1);
	check_path(warren_conf_at(rule, "ports", 1), NULL, "network.accept[0].ports", 1);
	check_path(rule, NULL, "network.accept", 0);
	wcore_config_unref(cfg);
}

/* The core's place for a complaint about a default is the section or map that lacks the value. */
static void test_fail_places(void **state)
{
	struct wcore_config *cfg = help_config("\ntypes: {int: 1}\n", NULL);
	const struct warren_conf *types = wcore_config_section(cfg, "types");
	struct warren_err err = ERR_INIT;
	struct str out = STR_INIT;

	(void)state;
	assert_int_equal(warren_fail(&err, NULL, "no place"), -EINVAL);
	assert_int_equal(warren_fail_key(&err, -ENODEV, types, "int", "the %s", "value"), -ENODEV);
	warren_fail_key(&err, -EINVAL, types, "bool", "the absent one");
	warren_fail(NULL, types, "to nobody");
	err_print(&err, &out);
	assert_string_equal(str_text(&out), "t.yaml:2:1: the absent one\nt.yaml:2:14: the value\n"
			    "no place\n");
	str_free(&out);
	err_free(&err);
	wcore_config_unref(cfg);
}

static void test_section_names(void **state)
{
	struct wcore_config *cfg = help_config("web: {}\ntypes: {}\nbroken: {x: y}\n", NULL);

	(void)state;
	assert_string_equal(wcore_config_section_name(cfg, 0), "web");
	assert_string_equal(wcore_config_section_name(cfg, 2), "broken");
	assert_null(wcore_config_section_name(cfg, 3));
	assert_int_equal(wcore_config_section_place(cfg, 2).line, 3);
	assert_string_equal(wcore_config_section_place(cfg, 2).file, "t.yaml");
	assert_null(wcore_config_section_place(cfg, 3).file);
	assert_null(wcore_config_section(cfg, "broken"));
	wcore_config_unref(cfg);
}

/*
 * ---- Secrets ----
 */

static void check_secret(const void *bytes, size_t len, size_t expected)
{
	const struct help_secret secrets[] = { { "/k", bytes, len }, { 0 } };
	struct wcore_config *cfg = help_config("types: {secret: {file: /k}}\n", secrets);
	const struct warren_secret *secret =
		warren_conf_secret(wcore_config_section(cfg, "types"), "secret");
	const uint8_t *got = warren_secret_bytes(secret, &len);

	assert_int_equal(len, expected);
	assert_memory_equal(got, bytes, len);
	wcore_config_unref(cfg);
}

/* The newline of an editor goes, a byte of a raw key stays. */
static void test_secret_newline(void **state)
{
	char raw[32] = { [3] = 1, [31] = '\n' };
	char large[10000];

	(void)state;
	check_secret("text\n", 5, 4);
	check_secret("text\r\n", 6, 4);
	check_secret("text", 4, 4);
	check_secret("text\n\n", 6, 6);
	check_secret(raw, 32, 32);
	memset(large, 'x', sizeof(large));
	check_secret(large, sizeof(large), sizeof(large));
}

static void test_many_secrets(void **state)
{
	static const struct help_secret secrets[] = { { "/k", "0123456789abcdef0123456789abcdef",
							32 }, { 0 } };
	struct str text = STR_INIT;
	struct wcore_config *cfg;
	const struct warren_conf *network;
	size_t len;

	(void)state;
	str_add(&text, "network:\n  peers:\n");
	for (int i = 0; i < 3; i++)
		str_addf(&text, "    p%d: {key: abcd, endpoint: 192.0.2.1:1, psk: {file: /k}}\n",
			 i);
	cfg = help_config(str_text(&text), secrets);
	network = wcore_config_section(cfg, "network");
	for (uint32_t i = 0; i < 3; i++) {
		const struct warren_conf *peer = warren_conf_at(network, "peers", i);

		assert_memory_equal(warren_secret_bytes(warren_conf_secret(peer, "psk"), &len),
				    "0123456789abcdef0123456789abcdef", 32);
	}
	wcore_config_unref(cfg);
	str_free(&text);
}

static const struct warren_option secret_option[] = {
	{ .key = "key", .type = WARREN_SECRET_REF, .min = 32, .max = 32 },
};

/* `warren config check` by a user who may not read the file: a note, and no bytes. */
static void test_secret_check(void **state)
{
	static const char text[] = "s: {key: {file: /k}}\n";
	const struct wcore_conf_source source = {
		.name = "t.yaml", .bytes = text, .len = sizeof(text) - 1,
	};
	const struct wcore_conf_schema schema = {
		.name = "s", .options = WARREN_TABLE(secret_option),
	};
	struct warren_err err = ERR_INIT;
	struct wcore_config *cfg = wcore_config_parse(&source, 1, &err);
	struct help_secret none = { 0 };
	const struct warren_secret *secret;
	struct str out = STR_INIT;
	size_t len = 1;

	(void)state;
	assert_int_equal(wcore_config_bind(cfg, &schema, 1, WCORE_BIND_CHECK, help_open_secret,
					   &none, &err), 0);
	err_print(&err, &out);
	assert_string_equal(str_text(&out), "note: t.yaml:1:17: \"key\": /k cannot be read (No "
			    "such file or directory), so its content was not checked\n");
	assert_true(warren_conf_has(wcore_config_section(cfg, "s"), "key"));
	secret = warren_conf_secret(wcore_config_section(cfg, "s"), "key");
	assert_null(warren_secret_bytes(secret, &len));
	assert_int_equal(len, 0);
	err_free(&err);
	str_free(&out);
	wcore_config_unref(cfg);
}

/*
 * ---- Tables of others ----
 */

static void test_rows(void **state)
{
	struct long_row {
		struct warren_option option;
		uint64_t newer;
	};
	static const struct long_row longer[] = {
		{ { .key = "a", .type = WARREN_INT }, UINT64_MAX },
		{ { .key = "b", .type = WARREN_BOOL }, UINT64_MAX },
	};
	const struct warren_table newer = WARREN_TABLE(longer);
	/* A plugin built before `check` and `example` were there. */
	enum { OLD = offsetof(struct warren_option, check) };
	char bytes[2 * OLD];
	const struct warren_table older = { OLD, 2, bytes };
	struct warren_option row;

	(void)state;
	for (int i = 0; i < 2; i++)
		memcpy(bytes + i * OLD, &longer[i].option, OLD);
	assert_true(wcore_table_row(&newer, 1, &row, sizeof(row)));
	assert_string_equal(row.key, "b");
	assert_false(wcore_table_row(&newer, 2, &row, sizeof(row)));
	memset(&row, 0xff, sizeof(row));
	assert_true(wcore_table_row(&older, 1, &row, sizeof(row)));
	assert_string_equal(row.key, "b");
	assert_null(row.check);
	assert_null(row.example);
}

static void test_plugin_mistakes(void **state)
{
	static const struct warren_option options[] = {
		{ .key = "port", .type = WARREN_INT, .def = "many" },
		{ .key = "port", .type = WARREN_INT },
		{ .key = "list", .type = WARREN_INT, .flags = WARREN_MANY, .def = "[1, x]" },
		{ .key = "what", .type = 77 },
		{ .key = "word", .type = WARREN_ENUM },
		{ .key = "yaml", .type = WARREN_STRING, .def = "[" },
		{ .type = WARREN_INT },
	};
	const struct wcore_conf_schema schema = { .name = "x", .options = WARREN_TABLE(options) };

	(void)state;
	help_refuse_schema("x: {}\n", &schema, 1,
		"x: mistake in the plugin, default of \"port\": \"port\" must be a whole number, "
		"as in 42, not \"many\"\n"
		"x: mistake in the plugin, option \"port\": declared twice\n"
		"x: mistake in the plugin, default of \"list\": \"list\" must be a whole number, "
		"as in 42, not \"x\"\n"
		"x: mistake in the plugin, option \"what\": unknown type\n"
		"x: mistake in the plugin, option \"word\": an enum without values\n"
		"x: mistake in the plugin, default of \"yaml\": default:2:1: no value here; a "
		"value, or a closing bracket before this place, is missing\n"
		"x: mistake in the plugin, option \"(any)\": a row without key must be the only "
		"one\n");
}

/*
 * ---- Arguments of commands ----
 */

static int check_even(const struct warren_conf *at, struct warren_err *err)
{
	if (warren_conf_int(at, NULL) % 2)
		return warren_fail(err, at, "is odd");
	return 0;
}

static const struct warren_option args[] = {
	{ .key = "name", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED },
	{ .key = "files", .type = WARREN_FD_IN, .flags = WARREN_POSITIONAL | WARREN_MANY },
	{ .key = "every", .type = WARREN_DURATION, .def = "5s" },
	{ .key = "force", .type = WARREN_BOOL },
	{ .key = "even", .type = WARREN_INT, .check = check_even },
};
static const struct warren_table arg_rows = WARREN_TABLE(args);

static void test_args(void **state)
{
	static const struct wcore_conf_pair pairs[] = {
		{ "files", "a" }, { "force", NULL }, { "name", "~" }, { "files", "b" },
	};
	struct wcore_config *cfg = wcore_conf_build("greet", &arg_rows, pairs, 4, NULL);
	const struct warren_conf *greet;

	(void)state;
	assert_non_null(cfg);
	greet = wcore_config_section(cfg, "greet");
	assert_string_equal(warren_conf_str(greet, "name"), "~");
	assert_int_equal(warren_conf_count(greet, "files"), 2);
	assert_string_equal(warren_conf_str(warren_conf_at(greet, "files", 1), NULL), "b");
	assert_int_equal(warren_conf_int(greet, "every"), 5000000);
	assert_true(warren_conf_bool(greet, "force"));
	assert_false(warren_conf_has(greet, "even"));
	assert_string_equal(warren_conf_where(greet, "force"), "--force");
	wcore_config_unref(cfg);
}

static void test_args_refused(void **state)
{
	static const struct wcore_conf_pair pairs[] = {
		{ "every", "5" }, { "even", "3" }, { "forse", NULL }, { "force", "maybe" },
		{ "xyzzy", "1" },
	};
	static const struct wcore_conf_pair twice[] = {
		{ "name", "a" }, { "every", "1s" }, { "every", "2s" },
	};
	struct warren_err err = ERR_INIT;
	struct str out = STR_INIT;

	(void)state;
	assert_null(wcore_conf_build("greet", &arg_rows, pairs, ARRAY_SIZE(pairs), &err));
	err_print(&err, &out);
	assert_string_equal(str_text(&out),
		"--every: needs a unit: write 5s if you mean seconds\n"
		"--even: is odd\n"
		"--force: must be true or false, not \"maybe\"\n"
		"unknown option \"--forse\"; did you mean \"--force\"?\n"
		"unknown option \"--xyzzy\"; there are --name, --files, --every, --force, --even\n"
		"the operand name is missing: a text\n");
	err_free(&err);
	str_cut(&out, 0);
	assert_null(wcore_conf_build("greet", &arg_rows, twice, ARRAY_SIZE(twice), &err));
	err_print(&err, &out);
	assert_string_equal(str_text(&out), "--every: is given twice; once is enough\n");
	err_free(&err);
	str_free(&out);
}

static void test_no_files(void **state)
{
	size_t count;
	const struct wcore_conf_schema *schemas = wcore_core_schemas(&count);
	struct warren_err err = ERR_INIT;
	struct wcore_config *cfg = wcore_config_parse(NULL, 0, &err);
	const struct warren_conf *system;

	(void)state;
	assert_non_null(cfg);
	assert_int_equal(wcore_config_bind(cfg, schemas, count, 0, NULL, NULL, &err), 0);
	assert_string_equal(warren_conf_str(wcore_config_section(cfg, "log"), "level"), "notice");
	system = wcore_config_section(cfg, "system");
	assert_int_equal(warren_conf_int(system, "route-table"), 52);
	assert_int_equal(warren_conf_int(warren_conf_map(system, "marks"), "bypass"), 0x80000);
	assert_string_equal(warren_conf_str(warren_conf_at(system, "interfaces", 0), NULL),
			    "warren*");
	wcore_config_unref(cfg);
}

static void test_core_checks(void **state)
{
	size_t count;
	const struct wcore_conf_schema *schemas = wcore_core_schemas(&count);

	(void)state;
	help_refuse_schema("node: {hostname: -gw}\nsystem: {rule-priorities: 5270-5210, "
			   "marks: {bypass: 1}}\nlog: {level: warn}\n", schemas, count,
		"t.yaml:1:18: \"-gw\" is no host name: letters, digits and \"-\" inside, as in "
		"gw-taipei\n"
		"t.yaml:2:27: \"rule-priorities\" must be a range within 1-32765, as in 5210-5270, "
		"not \"5270-5210\"\n"
		"t.yaml:2:54: \"bypass\" 0x1 has bits outside \"mask\" 0xff0000\n"
		"t.yaml:3:14: \"level\" must be one of error, warning, notice, info, debug, not "
		"\"warn\"\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_getters),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_containers),
		cmocka_unit_test(test_misuse),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_fail_places),
		cmocka_unit_test(test_section_names),
		cmocka_unit_test(test_secret_newline),
		cmocka_unit_test(test_many_secrets),
		cmocka_unit_test(test_secret_check),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_plugin_mistakes),
		cmocka_unit_test(test_args),
		cmocka_unit_test(test_args_refused),
		cmocka_unit_test(test_no_files),
		cmocka_unit_test(test_core_checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
