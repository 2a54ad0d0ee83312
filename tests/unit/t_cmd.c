/*
 * Command lines: matching, options and operands, errors in words, scopes, help and completion.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/plugin.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/cmd.h"
#include "engine/reply.h"
#include "engine/request.h"

static const char *const colours[] = { "red", "green", NULL };

static const struct warren_option show_args[] = {
	{ .key = "name", .type = WARREN_STRING, .max = 20, .brief = "A name." },
	{ .key = "count", .type = WARREN_INT, .def = "3", .min = 1, .max = 9, .brief = "A count." },
	{ .key = "force", .type = WARREN_BOOL, .def = "false", .brief = "Force it." },
	{ .key = "wait", .type = WARREN_BOOL, .def = "true", .brief = "Wait for it." },
	{ .key = "colour", .type = WARREN_ENUM, .values = colours, .brief = "A colour." },
	{ .key = "first", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "The first." },
	{ .key = "rest", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_MANY,
	  .brief = "All others." },
};

static int run_show(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	(void)ctx;
	(void)err;
	if (warren_conf_has(args, "name"))
		warren_reply_text(reply, "name %s", warren_conf_str(args, "name"));
	warren_reply_text(reply, "count %d force %d wait %d", (int)warren_conf_int(args, "count"),
			  warren_conf_bool(args, "force"), warren_conf_bool(args, "wait"));
	warren_reply_text(reply, "first %s", warren_conf_str(args, "first"));
	for (uint32_t i = 0; i < warren_conf_count(args, "rest"); i++)
		warren_reply_text(reply, "rest %s",
				  warren_conf_str(warren_conf_at(args, "rest", i), NULL));
	return 0;
}

static const struct warren_option send_args[] = {
	{ .key = "loud", .type = WARREN_BOOL, .brief = "Loud." },
	{ .key = "files", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_MANY,
	  .brief = "What." },
	{ .key = "to", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .brief = "Whom to." },
};

static int run_send(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	const char *to = warren_conf_str(args, "to");

	(void)ctx;
	(void)err;
	warren_reply_text(reply, "%u to %s", warren_conf_count(args, "files"), to ? to : "nobody");
	return 0;
}

static const struct warren_option call_args[] = {
	{ .key = "loud", .type = WARREN_BOOL, .brief = "Loud." },
	{ .key = "program", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "What." },
	{ .key = "words", .type = WARREN_STRING,
	  .flags = WARREN_POSITIONAL | WARREN_MANY | WARREN_VERBATIM, .brief = "Its words." },
};

static int run_call(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	AUTO(str_free) struct str line = STR_INIT;

	(void)ctx;
	(void)err;
	str_addf(&line, "%s%s", warren_conf_bool(args, "loud") ? "LOUD " : "",
		 warren_conf_str(args, "program"));
	for (uint32_t i = 0; i < warren_conf_count(args, "words"); i++)
		str_addf(&line, "|%s", warren_conf_str(warren_conf_at(args, "words", i), NULL));
	warren_reply_text(reply, "%s", str_text(&line));
	return 0;
}

static const struct warren_option copy_args[] = {
	{ .key = "to", .type = WARREN_FD_OUT, .flags = WARREN_REQUIRED, .brief = "Where to." },
	{ .key = "from", .type = WARREN_FD_IN, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "What." },
};

static int run_copy(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	AUTO(auto_close) int from = warren_reply_take_fd(reply, "from");
	AUTO(auto_close) int to = warren_reply_take_fd(reply, "to");

	(void)ctx;
	(void)args;
	(void)err;
	assert_true(from >= 0 && to >= 0);
	warren_reply_text(reply, "copied");
	return 0;
}

static int run_fail(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	(void)ctx;
	(void)args;
	(void)reply;
	return warren_fail(err, NULL, "the disk is full");
}

static int run_who(struct warren_ctx *ctx, const struct warren_conf *args,
		   struct warren_reply *reply, struct warren_err *err)
{
	(void)ctx;
	(void)args;
	(void)err;
	warren_reply_text(reply, "it is %s", warren_reply_caller(reply));
	return 0;
}

static const struct warren_command commands[] = {
	{ .path = "peer show", .flags = WARREN_CMD_OFFLINE, .args = WARREN_TABLE(show_args),
	  .brief = "Show a peer.", .help = "More of it.", .example = "warren peer show x",
	  .run = run_show },
	{ .path = "peer show all", .flags = WARREN_CMD_OFFLINE, .brief = "Show all.",
	  .run = run_fail },
	{ .path = "copy", .flags = WARREN_CMD_OFFLINE, .args = WARREN_TABLE(copy_args),
	  .brief = "Copy a file.", .run = run_copy },
	{ .path = "send", .flags = WARREN_CMD_OFFLINE, .args = WARREN_TABLE(send_args),
	  .brief = "Send things.", .run = run_send },
	{ .path = "call", .flags = WARREN_CMD_OFFLINE, .args = WARREN_TABLE(call_args),
	  .brief = "Call a program.", .run = run_call },
	{ .path = "wipe", .flags = WARREN_CMD_OFFLINE | WARREN_CMD_ROOT, .brief = "Wipe all.",
	  .run = run_fail },
	{ .path = "stock", .flags = WARREN_CMD_OFFLINE | WARREN_CMD_STOCK,
	  .brief = "As the stock client.", .run = run_fail },
	{ .path = "who", .flags = WARREN_CMD_OFFLINE, .brief = "Who asks.", .run = run_who },
	{ .path = "online", .brief = "Needs the daemon.", .run = run_fail },
};
static const struct warren_table table = WARREN_TABLE(commands);

/*
 * ---- Running a command line ----
 */

static void on_line(void *arg, const char *json, size_t len)
{
	str_addn(arg, json, len);
	str_addc(arg, '\n');
}

static void on_end(void *arg, struct warren_reply *reply, int exit)
{
	(void)reply;
	str_addf(arg, "exit %d\n", exit);
}

static const struct wcore_reply_sink sink = { .line = on_line, .end = on_end };

struct fixture {
	struct wcore_cmds cmds;
	struct wcore_env env;
	struct str out;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(wcore_cmds_add(&f->cmds, "demo", NULL, &table, NULL), 0);
	f->env = (struct wcore_env){ .cmds = &f->cmds, .socket = "/run/x.sock" };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	wcore_cmds_free(&f->cmds);
	str_free(&f->out);
	free(f);
	return 0;
}

/* Runs @words, separated by blanks, and returns all lines of the answer. */
static const char *run_as(struct fixture *f, uint32_t scope, const char *words)
{
	struct wcore_request request = { 0 };
	const char *argv[32];
	struct warren_reply *reply;
	char *copy = strdup(words), *at = copy;

	request.argv = argv;
	while (*at) {
		argv[request.argc++] = at;
		at += strcspn(at, " ");
		if (*at)
			*at++ = '\0';
	}
	str_free(&f->out);
	reply = wcore_reply_new(&sink, &f->out, 0, 0);
	wcore_cmd_run(&f->env, &request, scope, reply);
	free(copy);
	return str_text(&f->out);
}

static const char *run(struct fixture *f, const char *words)
{
	return run_as(f, WARREN_CMD_ROOT, words);
}

static void expect_in(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in: %s", part, text);
}

/*
 * ---- Tests ----
 */

static void test_options(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(run(f, "peer show a"),
			    "{\"text\":\"count 3 force 0 wait 1\"}\n{\"text\":\"first a\"}\n"
			    "{\"end\":{\"exit\":0}}\nexit 0\n");
	assert_string_equal(run(f, "peer show --name n --force a --no-wait --count=0x5 b -- --c -"),
			    "{\"text\":\"name n\"}\n{\"text\":\"count 5 force 1 wait 0\"}\n"
			    "{\"text\":\"first a\"}\n{\"text\":\"rest b\"}\n"
			    "{\"text\":\"rest --c\"}\n{\"text\":\"rest -\"}\n"
			    "{\"end\":{\"exit\":0}}\nexit 0\n");
	expect_in(run(f, "peer show --name= --force=no a"), "force 0");
	/* The row behind one with MANY has the last word. */
	expect_in(run(f, "send a --loud b c:"), "2 to c:");
	expect_in(run(f, "send c:"), "0 to c:");
	expect_in(run(f, "send"), "0 to nobody");
}

static void test_words_of_another_program(void **state)
{
	struct fixture *f = *state;

	expect_in(run(f, "call --loud ssh -v --json -- a --loud b"),
		  "\"LOUD ssh|-v|--json|--|a|--loud|b\"");
	expect_in(run(f, "call -- -x --help"), "\"-x|--help\"");
	expect_in(run(f, "call ssh"), "\"ssh\"");
	/* Before them all is as ever. */
	expect_in(run(f, "call --help ssh"), "Usage: warren call");
	expect_in(run(f, "call --laud ssh"), "did you mean --loud");
	expect_in(run(f, "call -v ssh"), "unknown option -v");
}

static void test_wrong_options(void **state)
{
	static const struct {
		const char *words, *says;
	} wrong[] = {
		{ "peer show --forse a",
		  "warren peer show: unknown option --forse, did you mean --force\\nUsage: warren "
		  "peer show [--name NAME] [--count N] [--force] [--no-wait] "
		  "[--colour red|green] FIRST [REST...]" },
		{ "peer show --zzzzzz=1 a", "unknown option --zzzzzz\\n" },
		{ "peer show -f a", "unknown option -f (an operand that begins" },
		{ "peer show --name", "option --name needs a value" },
		{ "peer show --no-count a", "unknown option --no-count" },
		{ "peer show --count ten a", "count: " },
		{ "peer show --count 10 a", "count: " },
		{ "peer show --colour blue a", "red" },
		{ "peer show --name a --name b c", "name" },
		{ "peer show --name aaaaaaaaaaaaaaaaaaaaa c", "name" },
		{ "peer show", "first" },
		{ "copy a b --to c", "there is no place for the operand \\\"b\\\"" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		const char *out = run(f, wrong[i].words);

		expect_in(out, wrong[i].says);
		expect_in(out, "exit 2");
	}
}

static void test_matching(void **state)
{
	struct fixture *f = *state;

	/* The longest path wins over an operand. */
	expect_in(run(f, "peer show all"), "\"warren peer show all: the disk is full\"}}\nexit 1");
	expect_in(run(f, "pear show"),
		  "warren: unknown command \\\"pear\\\", did you mean \\\"peer\\\"");
	expect_in(run(f, "peer shwo x"), "unknown command \\\"peer shwo\\\", did you mean "
		  "\\\"peer show\\\"");
	expect_in(run(f, "zzzzzz"), "unknown command \\\"zzzzzz\\\"\\n");
	expect_in(run(f, "peer"), "peer show all");
	expect_in(run(f, "peer"), "exit 2");
	expect_in(run(f, "peer --help"), "exit 0");
	expect_in(run(f, ""), "Needs the daemon.");
	expect_in(run(f, "online"), "warrend is not running (nobody listens on /run/x.sock)");
	f->env.daemon_runs = true;
	expect_in(run(f, "online"), "the daemon does not run plugin demo; a section `demo:`");
}

static void test_scope(void **state)
{
	struct fixture *f = *state;

	expect_in(run_as(f, WARREN_CMD_ANY, "wipe"), "permission denied: only root may do this");
	expect_in(run_as(f, WARREN_CMD_OPERATOR, "wipe"), "permission denied");
	expect_in(run_as(f, WARREN_CMD_ROOT, "wipe"), "the disk is full");
	/* Reading about it is for everybody. */
	expect_in(run_as(f, WARREN_CMD_ANY, "wipe --help"), "Allowed to: root.");
}

static void test_caller(void **state)
{
	struct fixture *f = *state;

	expect_in(run_as(f, WARREN_CMD_ANY, "who"), "it is anybody\"");
	f->env.operator_ = "wells";
	expect_in(run_as(f, WARREN_CMD_OPERATOR, "who"), "it is operator wells\"");
	expect_in(run_as(f, WARREN_CMD_ROOT, "who"), "it is root\"");
}

static void test_help(void **state)
{
	struct fixture *f = *state;
	const char *out = run(f, "peer show --help");

	expect_in(out, "Usage: warren peer show [--name NAME]");
	expect_in(out, "More of it.");
	expect_in(out, "  --no-wait           Wait for it.\"}");
	expect_in(out, "  --count N           A count. (number, 1 to 9, default 3)");
	expect_in(out, "warren peer show x");
	expect_in(out, "exit 0");
	/* Help wins over whatever else is wrong. */
	expect_in(run(f, "peer show --nonsense --help"), "Usage:");
	out = run(f, "peer show --json --help");
	expect_in(out, "{\"data\":{\"command\":\"peer show\",\"plugin\":\"demo\"");
	expect_in(out, "\"form\":\"--colour red|green\"");
}

static void test_descriptors(void **state)
{
	static const char *const argv[] = { "copy", "--to=out", "in" };
	const struct wcore_request request = { .argv = (const char **)argv, .argc = 3 };
	struct fixture *f = *state;
	struct warren_reply *reply;
	int ends[2];

	assert_string_equal(run(f, "copy --to=out in"),
			    "{\"open\":[{\"key\":\"to\",\"word\":1,\"skip\":5,\"write\":true},"
			    "{\"key\":\"from\",\"word\":2,\"skip\":0,\"write\":false}]}\nexit 0\n");
	/* Wrong words are told before any file is opened. */
	expect_in(run(f, "copy --to=out in too-much"), "exit 2");
	/* Only where operands are all that is wrong. */
	expect_in(run(f, "stock too-much and-more"), "exit 1");
	expect_in(run(f, "stock too-much --frob"), "exit 2");
	expect_in(run(f, "stock --frob"), "exit 2");
	str_free(&f->out);
	assert_return_code(pipe(ends), 0);
	reply = wcore_reply_new(&sink, &f->out, 0, 0);
	assert_int_equal(wcore_reply_add_fd_take(reply, "from", ends[0]), 0);
	assert_int_equal(wcore_reply_add_fd_take(reply, "to", ends[1]), 0);
	wcore_cmd_run(&f->env, &request, WARREN_CMD_ROOT, reply);
	expect_in(str_text(&f->out), "copied");
}

static void test_a_path_taken(void **state)
{
	struct fixture *f = *state;
	struct warren_err err = ERR_INIT;
	size_t before = f->cmds.count;

	assert_true(wcore_cmds_add(&f->cmds, "other", NULL, &table, &err) < 0);
	assert_string_equal(err_first(&err),
			    "other has a command `peer show`, which demo has already");
	assert_int_equal(f->cmds.count, before);
	err_free(&err);
}

static void test_completion(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(wcore_cmds_add(&f->cmds, NULL, NULL, &wcore_verbs, NULL), 0);
	expect_in(run(f, "__complete -- pe"), "{\"text\":\"peer ...\"}\n{\"end\"");
	expect_in(run(f, "__complete -- peer sh"), "{\"text\":\"show Show a peer.\"}\n{\"end\"");
	expect_in(run(f, "__complete -- peer show --co"),
		  "{\"text\":\"--count A count.\"}\n{\"text\":\"--colour A colour.\"}\n{\"end\"");
	expect_in(run(f, "__complete -- peer show --colour g"), "{\"text\":\"green \"}\n{\"end\"");
	expect_in(run(f, "__complete -- copy x"), "{\"text\":\":file\"}\n{\"end\"");
	assert_string_equal(run(f, "__complete -- nothing x"), "{\"end\":{\"exit\":0}}\nexit 0\n");
	assert_null(strstr(run(f, "__complete -- _"), "__complete"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_options, setup, teardown),
		cmocka_unit_test_setup_teardown(test_words_of_another_program, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_options, setup, teardown),
		cmocka_unit_test_setup_teardown(test_matching, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scope, setup, teardown),
		cmocka_unit_test_setup_teardown(test_caller, setup, teardown),
		cmocka_unit_test_setup_teardown(test_help, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_path_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_completion, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
