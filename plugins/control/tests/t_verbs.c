/*
 * The verbs of this plugin as they are typed, on a node with the real session and map: what the
 * stock client wrote to its standard output in the same place, byte for byte, and its exit status;
 * for what is waited for, also what it wrote to its standard error. Our stand-in for the monitor
 * lays settings on the configuration as that does (tests/lab/test_settings.py has the real one).
 */
#include <errno.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include <warren/service/router.h>

#include "../../router/options.h"
#include "../commands.h"
#include "base/base64.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/cmd.h"
#include "engine/conf.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/plugin_load.h"
#include "engine/request.h"
#include "node.h"
#include "stock.h"

#define SERVER "http://10.77.0.1:8081"
#define OK_REPLY "{\"User\":{\"ID\":123},\"Login\":{\"LoginName\":\"user-123\"}," \
	"\"MachineAuthorized\":true,\"AuthURL\":\"\",\"Error\":\"\"}"

/*
 * ---- Settings ----
 */

static json_t *overlay;
static struct node *here;

static struct {
	warren_overlay_fn *done;
	struct warren_ctx *ctx;
	void *arg;
} change;

static void applied(struct wcore_engine *engine, int result, const char *text, void *arg)
{
	(void)engine;
	(void)arg;
	node_find(here);
	change.done(change.ctx, result, text, change.arg);
}

static struct wcore_config *configuration(struct warren_err *err)
{
	static const char file[] = "node: {hostname: alpha}\nidentity: {}\n";
	char *over = json_dumps(overlay, 0);
	const struct wcore_conf_source sources[] = {
		{ .name = "test.yaml", .bytes = file, .len = sizeof(file) - 1 },
		{ .name = "overlay", .bytes = over, .len = strlen(over),
		  .flags = WCORE_SOURCE_OVERLAY },
	};
	struct wcore_config *config = wcore_config_parse(sources, ARRAY_SIZE(sources), err);

	free(over);
	return config;
}

static void put(const char *key, const char *value)
{
	const char *dot = strchr(key, '.');
	json_t *section, *made;

	assert_true(dot && !strchr(dot + 1, '.'));
	section = json_object_getn(overlay, key, (size_t)(dot - key));
	if (!section && value) {
		section = json_object();
		json_object_setn_new(overlay, key, (size_t)(dot - key), section);
	}
	made = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
	assert_true(made || !value);
	if (made)
		json_object_set_new(section, dot + 1, made);
	else if (section)
		json_object_del(section, dot + 1);
}

int warren_overlay_set(struct warren_ctx *ctx, struct warren_reply *reply,
		       const struct warren_overlay_change *changes, uint32_t n, uint32_t flags,
		       warren_overlay_fn *done, void *arg, struct warren_err *err)
{
	json_t *before = json_deep_copy(overlay);
	struct wcore_config *config;

	(void)reply;
	(void)flags;
	for (uint32_t i = 0; i < n; i++)
		put(changes[i].key, changes[i].value);
	config = configuration(err);
	assert_non_null(config);
	change.ctx = ctx;
	change.done = done;
	change.arg = arg;
	/* What the binder refuses never comes into force. */
	if (wcore_engine_check(here->engine, config, NULL, err) != 0) {
		json_decref(overlay);
		overlay = before;
		wcore_config_unref(config);
		return -EINVAL;
	}
	json_decref(before);
	wcore_config_unref(config);
	wcore_engine_apply_take(here->engine, configuration(NULL), applied, NULL);
	return 0;
}

/*
 * ---- The section of the router ----
 */

/* The real rows, and what they make the router say; its routes would want a monitor. */
static const struct warren_port router_needs[] = {
	{ .name = "netmap", .major = 0, .minor = 2, .brief = "Who hears it." },
};
static const struct warren_port router_offers[] = {
	{ .name = "router", .major = 0, .minor = 2, .brief = "As the real one." },
};

static const char *no_problem(void *self)
{
	(void)self;
	return NULL;
}

static int no_offer(void *self, struct warren_ctx *ctx, const struct warren_prefix *networks,
		    uint32_t n)
{
	(void)self;
	(void)ctx;
	(void)networks;
	(void)n;
	return 0;
}

static void serves_nobody(void *self, struct warren_router_serving *out)
{
	(void)self;
	*out = (struct warren_router_serving){ .size = sizeof(*out) };
}

static bool forwards_not(void *self)
{
	(void)self;
	return false;
}

static int router_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			 const struct warren_conf *now, struct warren_err *err)
{
	const void *netmap;
	void *self;
	int result = warren_need(ctx, "netmap", &netmap, &self);

	(void)old;
	return result ? result : router_conf_tell(netmap, self, ctx, now, err);
}

static int router_start(struct warren_ctx *ctx, const struct warren_conf *conf,
			struct warren_err *err)
{
	static const struct warren_router_ops ops = {
		.size = sizeof(ops), .problem = no_problem, .offer = no_offer,
		.serving = serves_nobody, .forwards = forwards_not,
	};
	int result = router_reload(ctx, NULL, conf, err);

	return result ? result : warren_offer(ctx, "router", &ops, NULL);
}

static const struct warren_plugin router = {
	.magic = WARREN_ABI_MAGIC, .abi_major = WARREN_ABI_MAJOR, .abi_minor = WARREN_ABI_MINOR,
	.size = sizeof(router), .name = "router", .version = "1", .license = "ISC",
	.brief = "The section of the router.",
	.options = { sizeof(struct warren_option), ROUTER_OPTIONS, router_options },
	.needs = WARREN_TABLE(router_needs), .offers = WARREN_TABLE(router_offers),
	.check = router_conf_check, .start = router_start, .reload = router_reload,
};

/*
 * ---- A command line ----
 */

struct run {
	struct warren_reply *reply;	/* NULL: it has ended */
	struct str out, err;		/* as the client writes them */
	int exit;
};

static void on_line(void *arg, const char *text, size_t len)
{
	json_t *line = json_loadb(text, len, 0, NULL);
	const json_t *data = json_object_get(line, "data"), *end = json_object_get(line, "end");
	const char *word = json_string_value(json_object_get(line, "text"));
	const char *note = json_string_value(json_object_get(line, "note"));
	const char *error = json_string_value(json_object_get(end, "error"));
	size_t flags = json_is_true(json_object_get(line, "indent")) ? JSON_INDENT(2) :
		       JSON_COMPACT;
	char *dump = data ? json_dumps(data, flags) : NULL;
	struct run *run = arg;

	assert_non_null(line);
	if (word || dump)
		str_addf(&run->out, "%s\n", word ? word : dump);
	if (note || error)
		str_addf(&run->err, "%s\n", note ? note : error);
	free(dump);
	json_decref(line);
}

static void on_end(void *arg, struct warren_reply *reply, int exit)
{
	struct run *run = arg;

	(void)reply;
	run->reply = NULL;
	run->exit = exit;
}

static const struct wcore_reply_sink sink = { .line = on_line, .end = on_end };

static void add_commands(struct node *node, struct wcore_cmds *cmds)
{
	const struct warren_table table = { sizeof(struct warren_command), CTL_COMMANDS,
					    ctl_commands };

	assert_int_equal(wcore_cmds_add(cmds, NULL, NULL, &wcore_verbs, NULL), 0);
	if (node->ctx)
		assert_int_equal(wcore_cmds_add(cmds, "control", node->ctx, &table, NULL), 0);
	else
		assert_int_equal(wcore_cmds_add_always(cmds, "control", &table, NULL), 0);
}

/* @command: words with single blanks, the first of which is the program's name. */
static void begin(struct node *node, const char *command, struct run *run)
{
	AUTO(auto_free) char *copy = strdup(command);
	struct wcore_cmds cmds = { 0 };
	const struct wcore_env env = { .engine = node->engine, .cmds = &cmds };
	const char *argv[16];
	struct wcore_request request = { .argv = argv };
	char *rest = copy, *word = strsep(&rest, " ");

	while ((word = strsep(&rest, " ")) && request.argc < ARRAY_SIZE(argv))
		argv[request.argc++] = word;
	*run = (struct run){ .out = STR_INIT, .err = STR_INIT };
	run->reply = wcore_reply_new(&sink, run, 0, 0);
	assert_non_null(run->reply);
	add_commands(node, &cmds);
	wcore_cmd_run(&env, &request, WARREN_CMD_ROOT, run->reply);
	wcore_cmds_free(&cmds);
}

static void finish(struct node *node, struct run *run)
{
	WAIT(node, !run->reply);
}

static void run_free(struct run *run)
{
	str_free(&run->out);
	str_free(&run->err);
}

static void expect(const struct run *run, const char *name)
{
	struct stock stock;

	stock_read(name, &stock);
	stock_rename(&stock.out);
	if (run->exit != stock.exit)
		print_error("%s: exit status %d: %s\n", name, run->exit, str_text(&run->err));
	assert_int_equal(run->exit, stock.exit);
	assert_string_equal(str_text(&run->out), str_text(&stock.out));
	stock_free(&stock);
}

/* The recorded command, with what it wrote and how it ended. */
static void check(struct node *node, const char *name)
{
	struct stock stock;
	struct run run;

	stock_read(name, &stock);
	begin(node, stock.command, &run);
	finish(node, &run);
	expect(&run, name);
	run_free(&run);
	stock_free(&stock);
}

static void check_all(struct node *node, const char *const *names)
{
	for (; *names; names++)
		check(node, *names);
}

/* What the client leaves on standard error; @rest: what theirs has after that. */
static void expect_notes(const struct run *run, const char *name, const char *rest)
{
	AUTO(str_free) struct str all = STR_INIT;
	struct stock stock;

	stock_read(name, &stock);
	str_addf(&all, "%s%s", str_text(&run->err), rest);
	stock_rename(&stock.err);
	assert_string_equal(str_text(&all), str_text(&stock.err));
	stock_free(&stock);
}

/*
 * ---- The network ----
 */

static int setup(void **state)
{
	node_setup(state);
	here = *state;
	overlay = json_object();
	here->third = &router;
	node_open(here);
	assert_int_equal(wcore_engine_apply_wait(here->engine, configuration(NULL), NULL), 0);
	node_find(here);
	return 0;
}

static int teardown(void **state)
{
	node_teardown(state);
	json_decref(overlay);
	return 0;
}

/* The recorded map, with the key that this node really has. */
static void send_map(struct node *node, bool approved)
{
	AUTO(auto_free) char *text = stock_file("map.json");
	json_t *map = json_loads(text, 0, NULL), *self = json_object_get(map, "Node");
	char key[WARREN_KEYTEXT_MAX], *dump;

	WAIT(node, node->coord.stream);
	node_key(node, key);
	json_object_set_new(self, "Key", json_string(key));
	json_object_set_new(self, "MachineAuthorized", json_boolean(approved));
	dump = json_dumps(map, JSON_COMPACT);
	coord_send(&node->coord, dump);
	free(dump);
	json_decref(map);
}

/* As recorded in up-authkey: nothing is said, and the key goes to the server and nowhere else. */
static void join(struct node *node)
{
	struct stock stock;
	struct run run;

	stock_read("up-authkey", &stock);
	node->coord.reply = OK_REPLY;
	begin(node, stock.command, &run);
	WAIT(node, node->session);
	send_map(node, true);
	finish(node, &run);
	expect(&run, "up-authkey");
	assert_string_equal(str_text(&run.err), "");
	run_free(&run);
	stock_free(&stock);
}

/*
 * ---- Tests ----
 */

static void test_join(void **state)
{
	static const char *const then[] = { "status-idle", "up-again-same", "up-json",
					    "up-login-server-changed", NULL };
	struct node *node = *state;
	char *settings;

	join(node);
	assert_non_null(strstr(node->coord.registers[0].body, "\"AuthKey\":\"right-key\""));
	settings = json_dumps(overlay, JSON_SORT_KEYS);
	assert_string_equal(settings, "{\"control\": {\"up\": true, \"url\": \"" SERVER "\"}}");
	free(settings);
	assert_int_equal(node_state(node), CTL_RUNNING);
	check_all(node, then);
}

static void test_ip_and_whois(void **state)
{
	static const char *const names[] = {
		"ip", "ip-1", "ip-4", "ip-6", "ip-4-and-6", "ip-4-peer", "ip-peer",
		"ip-unknown-peer", "ip-assert-ok", "ip-assert-fail", "whois", "whois-port",
		"whois-self", "whois-unknown", "whois-bad", "whois-no-argument", NULL,
	};

	join(*state);
	check_all(*state, names);
}

static void test_whois_json(void **state)
{
	static const struct { const char *pattern, *reason; } differs[] = {
		{ "/Node/Hostinfo/* * (absent)", "of Hostinfo the map keeps what is used" },
		{ "/Node/ComputedNameWithHost *", "not said by servers" },
		{ "/Node/Online * (absent)", "not in this map" },
	};
	AUTO(str_free) struct str found = STR_INIT;
	json_t *theirs, *ours;
	struct stock stock;
	char *rest, *line;
	struct run run;

	join(*state);
	stock_read("whois-json", &stock);
	begin(*state, stock.command, &run);
	finish(*state, &run);
	assert_int_equal(run.exit, 0);
	theirs = json_loads(str_text(&stock.out), 0, NULL);
	ours = json_loads(str_text(&run.out), 0, NULL);
	assert_true(theirs && ours);
	stock_compare(theirs, ours, &found);
	for (rest = found.s; (line = strsep(&rest, "\n"));) {
		bool known = line[0] == '\0';

		for (size_t i = 0; i < ARRAY_SIZE(differs); i++)
			known |= fnmatch(differs[i].pattern, line, 0) == 0;
		if (!known)
			print_error("%s\n", line);
		assert_true(known);
	}
	json_decref(theirs);
	json_decref(ours);
	run_free(&run);
	stock_free(&stock);
}

/* A second `down` says so; questions about the network are still answered. */
static void test_down(void **state)
{
	static const char *const then[] = { "status-stopped", "ip-stopped", "whois-stopped",
					    "set-while-stopped", NULL };
	struct node *node = *state;
	struct run run;

	join(node);
	check(node, "down");
	assert_int_equal(node_state(node), CTL_STOPPED);
	begin(node, "warren down", &run);
	finish(node, &run);
	expect(&run, "down-again");
	expect_notes(&run, "down-again", "");
	run_free(&run);
	check_all(node, then);
	begin(node, "warren up", &run);
	WAIT(node, node->coord.n_streams == 2);
	send_map(node, true);
	finish(node, &run);
	expect(&run, "up-bare-after-down");
	assert_string_equal(str_text(&run.err), "");
	run_free(&run);
}

static void test_words_that_are_wrong(void **state)
{
	static const char *const names[] = {
		"status-extra-arg", "status-unknown-flag", "up-extra-argument", "up-bad-flag",
		"up-bad-routes", "up-bad-routes2", "up-bad-tags", "set-extra-argument",
		"set-bool-separate-value", "set-bad-bool", "set-unknown-flag",
		"set-two-flags-repeated", "set-bad-routes", "logout-with-argument", NULL,
	};

	join(*state);
	check_all(*state, names);
	assert_int_equal(json_object_size(json_object_get(overlay, "control")), 2);
}

static void test_settings(void **state)
{
	static const char *const names[] = {
		"set-accept-routes", "set-advertise-routes", "set-hostname", "set-nothing", NULL,
	};
	const struct warren_netmap *map;
	struct warren_prefix offers[8];
	struct node *node = *state;
	char *settings;
	struct run run;

	join(*state);
	check_all(*state, names);
	begin(*state, "warren set --advertise-exit-node --shields-up --advertise-tags=tag:a,b "
	      "--operator=wells --accept-dns=false --ssh=false --exit-node= "
	      "--netfilter-mode=off", &run);
	finish(*state, &run);
	assert_int_equal(run.exit, 0);
	run_free(&run);
	settings = json_dumps(overlay, JSON_SORT_KEYS | JSON_COMPACT);
	assert_string_equal(settings,
			    "{\"control\":{\"advertise-exit-node\":true,"
			    "\"shields-up\":true,\"tags\":[\"tag:a\",\"tag:b\"],\"up\":true,"
			    "\"url\":\"" SERVER "\"},\"node\":{\"hostname\":\"alpha2\","
			    "\"operator\":\"wells\"},\"router\":{\"accept\":true,"
			    "\"advertise\":[\"10.99.0.0/24\",\"fd00:99::/64\"],"
			    "\"firewall\":\"off\"}}");
	free(settings);
	map = ctl_session_map(node->session);
	assert_false(map->addresses_only);
	warren_obj_unref(map);
	assert_int_equal(ctl_offers(node->session, offers, ARRAY_SIZE(offers)), 4);
	check(*state, "set-accept-routes-off");
	/* Nothing has to be repeated; --reset forgets what is not. */
	check(*state, "up-again-same");
	assert_int_equal(json_object_size(json_object_get(overlay, "control")), 5);
	begin(*state, "warren up --reset --shields-up", &run);
	finish(*state, &run);
	assert_int_equal(run.exit, 0);
	run_free(&run);
	settings = json_dumps(overlay, JSON_SORT_KEYS | JSON_COMPACT);
	assert_string_equal(settings, "{\"control\":{\"shields-up\":true,\"up\":true,\"url\":\""
			    SERVER "\"},\"node\":{\"operator\":\"wells\"},\"router\":{}}");
	free(settings);
	assert_int_equal(ctl_offers(node->session, offers, ARRAY_SIZE(offers)), 0);
}

/* What nobody here would do is not taken for done. */
static void test_flags_without_a_plugin(void **state)
{
	static const struct {
		const char *flag, *why;
	} cases[] = {
		{ "--ssh", "--ssh needs the plugin `ssh`, which is not installed\n" },
		{ "--accept-dns", "--accept-dns needs the plugin `dns`, which is not installed\n" },
		{ "--exit-node=100.64.0.2",
		  "--exit-node needs the plugin `exitnode`, which is not installed\n" },
		{ "--exit-node-allow-lan-access", "--exit-node-allow-lan-access needs the plugin "
		  "`exitnode`, which is not installed\n" },
	};
	static const char *const verbs[] = { "set", "up" };

	join(*state);
	for (size_t i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(verbs); i++) {
		AUTO(str_free) struct str command = STR_INIT;
		struct run run;

		str_addf(&command, "warren %s --shields-up %s", verbs[i % ARRAY_SIZE(verbs)],
			 cases[i / ARRAY_SIZE(verbs)].flag);
		begin(*state, str_text(&command), &run);
		finish(*state, &run);
		assert_int_equal(run.exit, 1);
		assert_non_null(strstr(str_text(&run.err), cases[i / ARRAY_SIZE(verbs)].why));
		run_free(&run);
	}
	assert_null(json_object_get(json_object_get(overlay, "control"), "shields-up"));
}

static void test_without_a_login(void **state)
{
	static const char *const names[] = {
		"needslogin-ip", "needslogin-whois", "needslogin-status", "needslogin-logout",
		"logout-again", NULL,
	};
	struct node *node = *state;
	struct run run;

	/* Not even the section is there. */
	begin(node, "warren up", &run);
	finish(node, &run);
	assert_int_equal(run.exit, 2);
	assert_non_null(strstr(str_text(&run.err), "--login-server"));
	run_free(&run);
	check(node, "needslogin-down");
	join(node);
	check(node, "logout");
	check_all(node, names);
}

static void test_refused_key(void **state)
{
	struct node *node = *state;
	struct run run;

	node->coord.reply = "{\"Error\":\"invalid authkey\"}";
	begin(node, "warren up --login-server=" SERVER " --auth-key=wrong-key", &run);
	finish(node, &run);
	expect(&run, "up-wrong-key");
	assert_non_null(strstr(str_text(&run.err), "backend error: "));
	assert_non_null(strstr(str_text(&run.err), "invalid authkey"));
	run_free(&run);
}

static void test_timeout(void **state)
{
	struct node *node = *state;
	struct run run;

	node->coord.reply = NULL;	/* held */
	begin(node, "warren up --login-server=" SERVER " --timeout=1ms", &run);
	finish(node, &run);
	expect(&run, "up-timeout");
	assert_non_null(strstr(str_text(&run.err), "the daemon goes on"));
	run_free(&run);
}

/*
 * ---- By link ----
 */

static void set_link(struct node *node, const char *link)
{
	static char reply[256];

	snprintf(reply, sizeof(reply), "{\"AuthURL\":\"%s\"}", link);
	node->coord.reply = reply;
}

/* The user logs in: the poll that waits for it is answered, and the map comes. */
static void log_in(struct node *node)
{
	WAIT(node, node->coord.held);
	coord_answer(&node->coord, OK_REPLY);
	send_map(node, true);
}

static void await_link(struct node *node, const struct run *run)
{
	WAIT(node, run->out.len > 0 || run->err.len > 0);
	node->coord.reply = NULL;	/* what follows is held */
	WAIT(node, node->coord.held);
}

static void test_link(void **state)
{
	struct node *node = *state;
	struct run run;

	set_link(node, SERVER "/auth/fc7a303bb631a158b603");
	begin(node, "warren up --qr=false --login-server=" SERVER, &run);
	await_link(node, &run);
	log_in(node);
	finish(node, &run);
	expect(&run, "up-interactive-completed");
	expect_notes(&run, "up-interactive-completed", "");
	run_free(&run);
}

/* Whoever waits may go; another one waits for the same link, and both see the end. */
static void test_a_second_up_goes_on(void **state)
{
	struct node *node = *state;
	struct run first, second, third;
	uint32_t registers;

	set_link(node, SERVER "/auth/489764e1c49428e92cbf");
	begin(node, "warren up --qr --login-server=" SERVER, &first);
	await_link(node, &first);
	expect_notes(&first, "up-interactive-qr-cancelled", "context canceled\n");
	registers = node->coord.n_registers;
	wcore_reply_hang_up(first.reply);
	begin(node, "warren up", &second);
	begin(node, "warren up --qr=false", &third);
	WAIT(node, second.err.len > 0 && third.err.len > 0);
	assert_string_equal(str_text(&second.err), str_text(&first.err));
	assert_int_equal(node->coord.n_registers, registers);
	log_in(node);
	finish(node, &second);
	finish(node, &third);
	assert_int_equal(second.exit, 0);
	assert_non_null(strstr(str_text(&third.err), "/auth/489764e1c49428e92cbf\n\nSuccess.\n"));
	run_free(&first);
	run_free(&second);
	run_free(&third);
}

/* The bits of the picture, without what is around them. */
static void unpack(const char *url, uint8_t rows[128 * 17])
{
	static const char head[] = "data:image/png;base64,";
	uint8_t png[4096], *at = png;
	uLongf len = 128 * 17;
	ssize_t n;

	assert_int_equal(strncmp(url, head, strlen(head)), 0);
	url += strlen(head);
	n = base64_decode(png, sizeof(png), url, strlen(url));
	assert_in_range(n, 60, sizeof(png));
	assert_memory_equal(png, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
	assert_memory_equal(png + 16, "\0\0\0\x80\0\0\0\x80\x01\x03\0\0\0", 13);
	for (at += 8; memcmp(at + 4, "IDAT", 4) != 0;) {
		uint32_t size = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 |
				(uint32_t)at[2] << 8 | at[3];

		at += 12 + size;
		assert_true(at + 8 < png + n);
	}
	assert_int_equal(uncompress(rows, &len, at + 8, (uLong)(png + n - at - 8)), Z_OK);
	assert_int_equal(len, 128 * 17);
}

static void test_link_for_scripts(void **state)
{
	struct node *node = *state;
	json_error_t error;
	json_t *theirs, *ours;
	uint8_t rows[2][128 * 17];
	struct stock stock;
	struct run run;

	stock_read("up-json-interactive-completed", &stock);
	set_link(node, SERVER "/auth/79bc7666fff8f8ad6582");
	begin(node, stock.command, &run);
	await_link(node, &run);
	log_in(node);
	finish(node, &run);
	assert_int_equal(run.exit, 0);
	assert_string_equal(str_text(&run.err), "");
	theirs = json_loads(str_text(&stock.out), JSON_DISABLE_EOF_CHECK, &error);
	ours = json_loads(str_text(&run.out), JSON_DISABLE_EOF_CHECK, &error);
	assert_true(theirs && ours);
	assert_string_equal(str_text(&run.out) + error.position,
			    "\n{\n  \"BackendState\": \"Running\"\n}\n");
	unpack(json_string_value(json_object_get(theirs, "QR")), rows[0]);
	unpack(json_string_value(json_object_get(ours, "QR")), rows[1]);
	assert_memory_equal(rows[0], rows[1], sizeof(rows[0]));
	json_object_del(theirs, "QR");
	json_object_del(ours, "QR");
	assert_true(json_equal(theirs, ours));
	json_decref(theirs);
	json_decref(ours);
	run_free(&run);
	stock_free(&stock);
}

static void test_approval(void **state)
{
	struct node *node = *state;
	struct run run;

	node->coord.reply = OK_REPLY;
	begin(node, "warren up --login-server=" SERVER " --auth-key=x", &run);
	WAIT(node, node->session);
	send_map(node, false);
	WAIT(node, run.err.len > 0);
	check(node, "needsapproval-status");
	check(node, "ip");
	send_map(node, true);
	finish(node, &run);
	expect(&run, "up-machine-approval-completed");
	expect_notes(&run, "up-machine-approval-completed", "");
	run_free(&run);
}

int main(void)
{
#define NODE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	static const struct CMUnitTest tests[] = {
		NODE_TEST(test_join),
		NODE_TEST(test_ip_and_whois),
		NODE_TEST(test_whois_json),
		NODE_TEST(test_down),
		NODE_TEST(test_words_that_are_wrong),
		NODE_TEST(test_settings),
		NODE_TEST(test_flags_without_a_plugin),
		NODE_TEST(test_without_a_login),
		NODE_TEST(test_refused_key),
		NODE_TEST(test_timeout),
		NODE_TEST(test_link),
		NODE_TEST(test_a_second_up_goes_on),
		NODE_TEST(test_link_for_scripts),
		NODE_TEST(test_approval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
