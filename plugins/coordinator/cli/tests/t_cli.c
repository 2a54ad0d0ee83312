/*
 * The verbs as they are typed, on a tailnet with its real store, job pool and lane: what is
 * answered, what became of it, and who is named in the audit log.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "../../server/server.h"
#include "../../store/store.h"
#include "../../tailnet/host.h"
#include "../cli.h"
#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/cmd.h"
#include "engine/conf.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/request.h"
#include "parts.h"

static char dir[64], path[96], copy[96];
static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct tailnet_host *host;
static struct tailnet *tn;
static struct coord coord;
static uint32_t scope = WARREN_CMD_ROOT;

static bool tag_exists(void *self, const char *tag)
{
	(void)self;
	return strcmp(tag, "tag:server") == 0 || strcmp(tag, "tag:files") == 0;
}

/*
 * ---- A tailnet ----
 */

static int setup(void **state)
{
	struct tailnet_config c = { .base_domain = "tail.example.com", .approval = true };
	const struct tailnet_rules rules = { .tag_exists = tag_exists };
	char why[TAILNET_WHY];
	struct store *store;
	int result;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/warren-cli.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/coordinator.db", dir);
	snprintf(copy, sizeof(copy), "%s/copy.db", dir);
	assert_int_equal(prefix_parse("100.64.0.0/10", &c.v4), 0);
	assert_int_equal(prefix_parse("fd7a:115c:a1e0::/48", &c.v6), 0);
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	host = tailnet_host_new(ctx);
	store = store_open(path, &result, why);
	if (!store)
		fail_msg("%s", why);
	tn = tailnet_open(tailnet_host_env(host), &c, store, why);
	assert_non_null(tn);
	tailnet_set_rules(tn, &rules);
	tailnet_host_set(host, tn);
	coord = (struct coord){ .ctx = ctx, .tailnet = tn };
	assert_int_equal(coord_ssh_start(&coord), 0);
	warren_self_set(ctx, &coord);
	scope = WARREN_CMD_ROOT;
	return 0;
}

static void drained(void *arg)
{
	*(volatile bool *)arg = true;
}

static int teardown(void **state)
{
	volatile bool done = false;

	(void)state;
	coord_ssh_stop(&coord);
	tailnet_drain(tn, drained, (void *)&done);
	assert_true(parts_until(engine, &done));
	tailnet_host_set(host, NULL);
	tailnet_free(tn);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	unlink(path);
	unlink(copy);
	return rmdir(dir);
}

/* A device asks to join; the answer's code, or "". */
struct device {
	volatile bool answered;
	enum tailnet_registered_as as;
	int64_t node;
	char code[TAILNET_CODE], error[256];
};

static void registered(void *arg, const struct tailnet_registered *a)
{
	struct device *d = arg;

	d->as = a->as;
	d->node = a->node ? a->node->id : 0;
	snprintf(d->code, sizeof(d->code), "%s", a->code ? a->code : "");
	snprintf(d->error, sizeof(d->error), "%s", a->error ? a->error : "");
	d->answered = true;
}

static struct tailnet_register wish(uint8_t machine, const char *hostname)
{
	struct tailnet_register reg = { .hostname = hostname, .hostinfo = "{}", .capver = 113 };

	memset(reg.machine_key, machine, sizeof(reg.machine_key));
	memset(reg.node_key, machine, sizeof(reg.node_key));
	return reg;
}

static void ask(const struct tailnet_register *reg, struct device *d)
{
	*d = (struct device){ .answered = false };
	assert_non_null(tailnet_register(tn, reg, registered, d));
}

static void join(uint8_t machine, const char *hostname, const char *key, struct device *d)
{
	struct tailnet_register reg = wish(machine, hostname);

	reg.auth_key = key;
	ask(&reg, d);
	assert_true(parts_until(engine, &d->answered));
}

/*
 * ---- A command line ----
 */

struct run {
	volatile bool ended;
	int exit;
	struct str text, notes, error;
	json_t *data;
};
static struct run last;

static void on_line(void *arg, const char *text, size_t len)
{
	json_t *line = json_loadb(text, len, 0, NULL);
	const json_t *end = json_object_get(line, "end");
	const char *word = json_string_value(json_object_get(line, "text"));
	const char *note = json_string_value(json_object_get(line, "note"));
	const char *error = json_string_value(json_object_get(end, "error"));
	struct run *run = arg;

	assert_non_null(line);
	/* Columns have one blank between them, for the comparisons. */
	for (const char *at = word; at && *at; at++) {
		if (at[0] != ' ' || at[1] != ' ')
			str_addc(&run->text, *at);
	}
	if (word)
		str_addc(&run->text, '\n');
	if (note)
		str_addf(&run->notes, "%s\n", note);
	if (error)
		str_add(&run->error, error);
	if (json_object_get(line, "data")) {
		assert_null(run->data);
		run->data = json_incref(json_object_get(line, "data"));
	}
	json_decref(line);
}

static void on_end(void *arg, struct warren_reply *reply, int exit)
{
	struct run *run = arg;

	(void)reply;
	run->exit = exit;
	run->ended = true;
}

static const struct wcore_reply_sink sink = { .line = on_line, .end = on_end };

static void forget(void)
{
	str_free(&last.text);
	str_free(&last.notes);
	str_free(&last.error);
	json_decref(last.data);
	last = (struct run){ .exit = -1 };
}

/* Words with single blanks between them; @fd for the operand "file", or -1. */
static void type_fd(const char *words, bool json, int fd)
{
	const struct warren_table table = { sizeof(struct warren_command), COORD_COMMANDS,
					    coord_commands };
	AUTO(auto_free) char *line = strdup(words);
	struct wcore_cmds cmds = { 0 };
	const struct wcore_env env = { .engine = engine, .cmds = &cmds, .operator_ = "wells" };
	const char *argv[24];
	struct wcore_request request = { .argv = argv };
	char *rest = line, *word;
	struct warren_reply *reply;

	forget();
	while ((word = strsep(&rest, " ")) && request.argc < ARRAY_SIZE(argv))
		argv[request.argc++] = word;
	reply = wcore_reply_new(&sink, &last, json ? WCORE_REPLY_JSON : 0, 0);
	assert_non_null(reply);
	if (fd >= 0)
		assert_int_equal(wcore_reply_add_fd_take(reply, "file", fd), 0);
	assert_int_equal(wcore_cmds_add(&cmds, "coordinator", ctx, &table, NULL), 0);
	wcore_cmd_run(&env, &request, scope, reply);
	assert_true(parts_until(engine, &last.ended));
	wcore_cmds_free(&cmds);
}

static const char *good(const char *words)
{
	type_fd(words, false, -1);
	if (last.exit != 0)
		fail_msg("%s: %s", words, str_text(&last.error));
	return str_text(&last.text);
}

static const json_t *data(const char *words)
{
	type_fd(words, true, -1);
	if (last.exit != 0)
		fail_msg("%s: %s", words, str_text(&last.error));
	assert_non_null(last.data);
	return last.data;
}

/* It is refused, with @part in the sentence. */
static void bad(const char *words, const char *part)
{
	type_fd(words, false, -1);
	if (last.exit == 0 || !strstr(str_text(&last.error), part))
		fail_msg("%s: exit %d, no \"%s\" in: %s", words, last.exit, part,
			 str_text(&last.error));
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in: %s", part, text);
}

static const char *member(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	assert_non_null(text);
	return text;
}

/* A key's secret, copied out. */
static void make_key(const char *words, char secret[TAILNET_SECRET])
{
	assert_true(str_copy(secret, TAILNET_SECRET, member(data(words), "secret")));
}

/*
 * ---- Tests ----
 */

static void users(void **state)
{
	const json_t *o;

	(void)state;
	has(good("user list"), "There is no user yet");
	has(good("user create wells --role admin --email w@example.com"), "User wells is there.");
	good("user create nora");
	bad("user create wells", "there is a user wells already");
	bad("user create 7", "cannot be a user's name");
	bad("user rename norah olga", "did you mean nora?");
	bad("user rename 77 olga", "no user with the id 77");
	bad("user rename nora olga", "gives user nora (id 2) the login olga");
	has(good("user rename nora olga --yes"), "User nora is called olga");
	o = data("user role 2 auditor");
	assert_string_equal(member(o, "login"), "olga");
	assert_string_equal(member(o, "role"), "auditor");
	bad("user role olga king", "auditor");
	o = json_object_get(data("user list"), "users");
	assert_int_equal(json_array_size(o), 2);
	assert_string_equal(member(json_array_get(o, 0), "role"), "admin");
	assert_string_equal(member(json_array_get(o, 0), "email"), "w@example.com");
	bad("user delete olga", "This deletes user olga (id 2)");
	assert_non_null(tailnet_user(tn, 2));
	has(good("user delete olga --yes"), "User olga is deleted.");
	assert_null(tailnet_user(tn, 2));
}

static void keys(void **state)
{
	char once[TAILNET_SECRET], many[TAILNET_SECRET], tagged[TAILNET_SECRET];
	struct device d;
	const json_t *o;

	(void)state;
	has(good("key list"), "There is no key");
	bad("key create", "a key needs a user, or tags");
	bad("key create --user wells", "there is no user \"wells\"");
	good("user create wells");
	bad("key create --user wells --tag tag:nobody", "tag:nobody");
	make_key("key create --user wells", once);
	o = data("key list");
	o = json_array_get(json_object_get(o, "keys"), 0);
	assert_false(json_is_null(json_object_get(o, "expiry")));	/* an hour, unasked */
	assert_non_null(strstr(once, member(o, "prefix")));
	assert_null(json_object_get(o, "secret"));
	make_key("key create --user wells --reusable --ephemeral --preauthorized --expiry off "
		 "--note office", many);
	make_key("key create --tag tag:server --preauthorized", tagged);
	has(good("key list"), "good, reusable, ephemeral, preauthorized never office");
	assert_null(strstr(str_text(&last.text), many));
	join(1, "one", once, &d);
	assert_int_equal(d.as, TAILNET_REGISTERED);
	join(2, "two", once, &d);
	assert_int_equal(d.as, TAILNET_REFUSED);
	has(good("key list"), " used ");
	join(3, "three", tagged, &d);
	has(good("node list"), " three tag:server ");
	bad("key revoke 2", "revokes key 2 (wkey-auth-");
	assert_int_equal(tailnet_key(tn, 2)->revoked, 0);
	has(good("key revoke 2 --yes"), "lets nobody in any more");
	good("key revoke 2");			/* it is: nothing to be asked */
	join(4, "four", many, &d);
	assert_int_equal(d.as, TAILNET_REFUSED);
	bad("key delete 2", "Nothing was done");
	assert_non_null(tailnet_key(tn, 2));
	good("key delete 2 --yes");
	assert_null(tailnet_key(tn, 2));
	bad("key revoke 2", "there is no key with the id 2");
}

/* A device at the page of a login, and one that came with a key but waits for approval. */
static void approval(void **state)
{
	struct tailnet_register reg = wish(1, "phone");
	char words[128], secret[TAILNET_SECRET];
	struct device d, follow;

	(void)state;
	ask(&reg, &d);
	assert_true(parts_until(engine, &d.answered));
	assert_int_equal(d.as, TAILNET_LOGIN);
	reg.code = d.code;
	ask(&reg, &follow);
	has(good("node pending"), d.code);
	has(str_text(&last.text), "phone");
	good("node list");
	has(str_text(&last.notes), "1 device waits for approval");
	snprintf(words, sizeof(words), "node approve %s", d.code);
	bad(words, "there is no user yet");
	good("user create wells");
	good("user create nora");
	bad(words, "say with --user whose device this is");
	assert_false(follow.answered);
	snprintf(words, sizeof(words), "node approve %s --user nora --expiry 1h --pin", d.code);
	has(good(words), "\"phone\" has joined for nora");
	assert_true(parts_until(engine, &follow.answered));
	assert_int_equal(follow.as, TAILNET_REGISTERED);
	assert_true(tailnet_node(tn, follow.node)->authorized);
	assert_true(tailnet_pinned(tn, tailnet_node(tn, follow.node)->machine, 2));
	assert_in_range(tailnet_node(tn, follow.node)->expiry - warren_realtime(), 1,
			INT64_C(3600000000));
	bad(words, "no login waits under this code");

	make_key("key create --user wells", secret);
	join(2, "nas", secret, &d);
	assert_false(tailnet_node(tn, d.node)->authorized);
	has(good("node list --user wells"), "waits for approval");
	assert_null(strstr(str_text(&last.text), "phone"));
	bad("node approve nas --pin", "node nas is in already");
	good("node approve nas");
	assert_true(tailnet_node(tn, d.node)->authorized);
	bad("node suspend nas", "node nas of wells");
	assert_true(tailnet_node(tn, d.node)->authorized);
	good("node suspend nas --yes");
	assert_false(tailnet_node(tn, d.node)->authorized);
}

static void rejection(void **state)
{
	struct tailnet_register reg = wish(1, "phone");
	struct device d, follow;
	char words[128];

	(void)state;
	ask(&reg, &d);
	assert_true(parts_until(engine, &d.answered));
	reg.code = d.code;
	ask(&reg, &follow);
	snprintf(words, sizeof(words), "node reject %s", d.code);
	good(words);
	assert_true(parts_until(engine, &follow.answered));
	assert_int_equal(follow.as, TAILNET_REFUSED);
	bad(words, "no login waits");
	has(good("node pending"), "No device waits.");
}

static void nodes(void **state)
{
	char secret[TAILNET_SECRET];
	struct device d;

	(void)state;
	good("user create wells");
	good("user create nora");
	make_key("key create --user wells --preauthorized", secret);
	join(1, "nas", secret, &d);
	bad("node show nass", "did you mean nas?");
	has(good("node show nas.tail.example.com"), "nas.tail.example.com.");
	has(good("node show nas.tail.example.com."), "owner wells");
	bad("node show nas.other.example.com", "there is no node");
	bad("node show nas.tail.example", "there is no node");
	assert_int_equal(json_integer_value(json_object_get(data("node show 1"), "id")), d.node);
	has(member(data("node show 100.64.0.1"), "name"), "nas");
	bad("node rename nas", "either the new name or --automatic");
	bad("node rename nas files --automatic", "either the new name or --automatic");
	bad("node rename nas Not_A_Label", "cannot be a node's name");
	good("node rename nas files");
	has(member(data("node show files"), "hostname"), "nas");
	good("node rename files --automatic");
	bad("node tag nas tag:server", "belongs to wells; with tags it belongs to tag:server");
	bad("node tag nas tag:nobody --yes", "tag:nobody");
	good("node tag nas tag:server tag:files --yes");
	assert_int_equal(tailnet_node(tn, d.node)->tags->count, 2);
	good("node tag nas tag:files tag:server");
	bad("node tag nas tag:files", "is tagged tag:files, tag:server; with this it is tagged "
	    "tag:files,");
	bad("node pin nas", "belongs to its tags");
	bad("node move nas olga", "there is no user");
	bad("node move nas nora", "gives node nas of tagged-devices to nora, drops its tags");
	good("node move nas nora --yes");
	good("node move nas nora");
	bad("node move nas wells", "gives node nas of nora to wells: the policy");
	assert_int_equal(tailnet_node(tn, d.node)->user, 2);
	bad("user delete nora --yes", "owns 1 node");
	good("node pin nas --off");
	assert_false(tailnet_pinned(tn, tailnet_node(tn, d.node)->machine, 2));
	bad("node logout nas", "cut off until somebody logs in");
	good("node logout nas --yes");
	assert_true(tailnet_node(tn, d.node)->live.expired);
	bad("node delete nas", "deletes node nas (id 1, 100.64.0.1) of nora");
	assert_non_null(tailnet_node(tn, d.node));
	assert_string_equal(member(data("node delete nas --yes"), "deleted"), "node");
	assert_null(tailnet_node(tn, d.node));
}

/* What would change nothing is not asked. */
static void expiry_and_address(void **state)
{
	char secret[TAILNET_SECRET];
	struct device d;

	(void)state;
	good("user create wells");
	make_key("key create --user wells --preauthorized", secret);
	join(1, "nas", secret, &d);
	good("node expire nas --never");
	assert_int_equal(tailnet_node(tn, d.node)->expiry, 0);
	bad("node expire nas --in 1h", "lets the key of node nas of wells expire at ");
	good("node expire nas --in 1h --yes");
	assert_in_range(tailnet_node(tn, d.node)->expiry - warren_realtime(), 1,
			INT64_C(3600000000));
	bad("node expire nas --in 1h --never", "either --in or --never");
	bad("node expire nas", "expires the key of node nas of wells now");
	assert_false(tailnet_node(tn, d.node)->live.expired);
	good("node expire nas --yes");
	has(good("node list"), "expired");
	good("node expire nas");
	bad("node expire nas --never", "never expires: it is let in again without a login");
	assert_true(tailnet_node(tn, d.node)->live.expired);
	good("node expire nas --never --yes");
	bad("node address nas 100.64.7.7", "the address 100.64.7.7 in the place of 100.64.0.1:");
	assert_int_equal(tailnet_node(tn, d.node)->v4.bytes[3], 1);
	good("node address nas 100.64.7.7 --yes");
	good("node address nas 100.64.7.7");
	bad("node address nas 10.0.0.1 --yes", "10.0.0.1 is not in the pool");
	assert_int_equal(tailnet_node(tn, d.node)->v4.bytes[3], 7);
}

static void attributes(void **state)
{
	char secret[TAILNET_SECRET];
	struct device d;

	(void)state;
	good("user create wells");
	make_key("key create --user wells --preauthorized", secret);
	join(1, "nas", secret, &d);
	has(good("node attr nas"), "has no attributes");
	good("node attr nas tier=prod custom:risk=1.5 locked=true serial=\"007\" floor=-3");
	assert_string_equal(good("node attr nas"), "custom:floor=-3\ncustom:locked=true\n"
			    "custom:risk=1.5\ncustom:serial=\"007\"\ncustom:tier=\"prod\"\n");
	/* What is no number is a text. */
	good("node attr nas risk= tier=1.2.3 floor=01 locked=");
	has(good("node show nas"), "custom:tier=\"1.2.3\"");
	assert_int_equal(json_array_size(json_object_get(data("node attr nas"), "attributes")), 3);
	has(good("node attr nas"), "custom:floor=\"01\"");
	bad("node attr nas tier", "NAME=VALUE");
	bad("node attr nas node:os=linux", "is no attribute");
	bad("node attr nas =1", "is no attribute");
	bad("node attr nas a=b\"c", "is no attribute");
	assert_int_equal(tailnet_node(tn, d.node)->attributes->count, 3);
}

static void routes(void **state)
{
	char secret[TAILNET_SECRET];
	struct warren_prefix announced[2];
	struct tailnet_register reg = wish(1, "gw");
	struct device d;
	const struct tailnet_node *node;

	(void)state;
	good("user create wells");
	make_key("key create --user wells --preauthorized", secret);
	prefix_parse("10.0.0.0/8", &announced[0]);
	prefix_parse("0.0.0.0/0", &announced[1]);
	reg.routes = announced;
	reg.n_routes = 2;
	reg.auth_key = secret;
	ask(&reg, &d);
	assert_true(parts_until(engine, &d.answered));
	has(good("route list"), "10.0.0.0/8 gw not approved");
	bad("route approve gw 10.0.0.1/8", "has host bits set");
	bad("route approve gw lan", "is no network");
	bad("route revoke gw 10.0.0.0/8", "none of that is approved");
	has(good("route approve gw 10.0.0.0/8"), "may serve 10.0.0.0/8.");
	has(good("route approve gw 192.0.2.0/24"), "192.0.2.0/24 (as soon as it announces that)");
	node = tailnet_node(tn, d.node);
	assert_int_equal(node->approved->count, 2);	/* the first one is still there */
	good("route approve gw exit");
	assert_int_equal(tailnet_node(tn, d.node)->approved->count, 4);
	has(good("route list gw"), "192.0.2.0/24 gw approved, not announced");
	has(str_text(&last.text), "0.0.0.0/0 gw exit node");
	/* Half of an exit node is none. */
	bad("route revoke gw 0.0.0.0/0", "node gw of wells does not serve 0.0.0.0/0, ::/0 any");
	assert_int_equal(tailnet_node(tn, d.node)->approved->count, 4);
	good("route revoke gw 0.0.0.0/0 --yes");
	assert_int_equal(tailnet_node(tn, d.node)->approved->count, 2);
	good("route revoke gw 10.0.0.0/8 192.0.2.0/24 --yes");
	assert_true(!tailnet_node(tn, d.node)->approved ||
		    tailnet_node(tn, d.node)->approved->count == 0);
}

static void log_and_backup(void **state)
{
	char why[STORE_WHY], head[16] = "";
	struct store *store;
	const json_t *log, *row;
	int result, fd;

	(void)state;
	scope = WARREN_CMD_ANY;
	bad("user create wells", "operator");
	assert_null(tailnet_user(tn, 1));
	scope = WARREN_CMD_OPERATOR;
	good("user create wells");
	scope = WARREN_CMD_ROOT;
	good("user rename wells allan --yes");
	log = json_object_get(data("coordinator log"), "log");
	assert_int_equal(json_array_size(log), 2);
	row = json_array_get(log, 0);
	assert_string_equal(member(row, "actor"), "operator wells");
	assert_string_equal(member(row, "action"), "user.create");
	row = json_array_get(log, 1);
	assert_string_equal(member(row, "actor"), "root");
	has(member(row, "before"), "wells");
	has(member(row, "after"), "allan");
	assert_int_equal(json_array_size(json_object_get(data("coordinator log --limit 1"),
							 "log")), 1);
	fd = open(copy, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_return_code(fd, errno);
	type_fd("coordinator backup x", false, fd);
	assert_int_equal(last.exit, 0);
	fd = open(copy, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, head, 15), 15);
	close(fd);
	assert_string_equal(head, "SQLite format 3");
	store = store_open(copy, &result, why);
	if (!store)
		fail_msg("%s", why);
	store_close(store);
	fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	type_fd("coordinator backup x", false, fd);
	assert_int_equal(last.exit, 1);
	assert_true(last.error.len > 0);
}

/* Command lines in an order in which each has an effect, and the row of it. CODE: of a login. */
static const struct {
	const char *words, *action;
} changes[] = {
	{ "user create nora", "user.create" },
	{ "user rename nora olga --yes", "user.rename" },
	{ "user role olga admin", "user.role" },
	{ "user pin olga", "user.pin" },
	{ "user delete olga --yes", "user.delete" },
	{ "key create --user wells", "key.create" },
	{ "key revoke 2 --yes", "key.revoke" },
	{ "key delete 2 --yes", "key.delete" },
	{ "node reject CODE", "login.reject" },
	{ "node approve nas", "node.approve" },
	{ "node suspend nas --yes", "node.approve" },
	{ "node rename nas files", "node.rename" },
	{ "node expire files --in 1h --yes", "node.expiry" },
	{ "node tag files tag:server --yes", "node.tag" },
	{ "node move files wells --yes", "node.move" },
	{ "node address files 100.64.9.9 --yes", "node.address" },
	{ "node attr files tier=prod", "node.attributes" },
	{ "node pin files", "machine.pin" },
	{ "route approve files 10.0.0.0/8", "node.routes" },
	{ "route revoke files 10.0.0.0/8 --yes", "node.routes" },
	{ "node logout files --yes", "node.logout" },
	{ "node delete files --yes", "node.delete" },
};
static const char *const looks[] = {
	"user list", "node list", "node show", "node pending", "node ping", "key list",
	"route list", "coordinator backup", "coordinator log", "policy check", "policy diff",
	"policy eval", "policy explain", "policy test",
};

struct newest {
	uint32_t n;
	char actor[32], action[32];
	int64_t time;
};

static int keep_newest(const struct store_audit *row, void *arg)
{
	struct newest *newest = arg;

	newest->n++;
	newest->time = row->time;
	snprintf(newest->actor, sizeof(newest->actor), "%s", row->actor);
	snprintf(newest->action, sizeof(newest->action), "%s", row->action);
	return 0;
}

static struct newest audit_log(void)
{
	struct newest newest = { .n = 0 };
	char why[STORE_WHY];

	if (store_audit_read(tailnet_store(tn), 0, 0, keep_newest, &newest, why) != 0)
		fail_msg("%s", why);
	return newest;
}

static void writes_a_row(const char *words, const char *code, const char *action)
{
	const char *at = strstr(words, "CODE");
	AUTO(str_free) struct str line = STR_INIT;
	struct newest before = audit_log(), now;

	str_addn(&line, words, at ? (size_t)(at - words) : strlen(words));
	str_add(&line, at ? code : "");
	good(str_text(&line));
	now = audit_log();
	if (now.n <= before.n || strcmp(now.action, action) != 0)
		fail_msg("%s: %u rows, the last %s", words, now.n - before.n, now.action);
	assert_string_equal(now.actor, "operator wells");
	assert_true(now.time >= before.time && now.time <= warren_realtime());
}

/* A new command is in one of the two lists, or this fails. */
static bool is_listed(const char *verb)
{
	for (size_t i = 0; i < ARRAY_SIZE(looks); i++) {
		if (strcmp(looks[i], verb) == 0)
			return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		if (str_starts(changes[i].words, verb) && changes[i].words[strlen(verb)] == ' ')
			return true;
	}
	return false;
}

static void what_changes_something_is_written_down(void **state)
{
	struct tailnet_register reg = wish(1, "phone");
	char secret[TAILNET_SECRET];
	struct device d, nas;

	(void)state;
	good("user create wells");
	make_key("key create --user wells", secret);
	join(2, "nas", secret, &nas);
	ask(&reg, &d);
	assert_true(parts_until(engine, &d.answered));
	scope = WARREN_CMD_OPERATOR;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		writes_a_row(changes[i].words, d.code, changes[i].action);
	for (size_t i = 0; i < COORD_COMMANDS; i++) {
		if (!is_listed(coord_commands[i].path))
			fail_msg("is `%s` in the audit log?", coord_commands[i].path);
	}
}

static void rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < COORD_COMMANDS; i++) {
		const struct warren_command *c = &coord_commands[i];

		assert_true(c->run && c->brief && c->help && c->example);
		assert_in_range(strlen(c->brief), 1, 80);
		assert_memory_equal(c->example, "warren ", 7);
		has(c->example, c->path);
	}
	for (int role = 0; role < TAILNET_ROLES; role++) {
		char words[64];

		snprintf(words, sizeof(words), "user create user-%d --role %s", role,
			 tailnet_role_name((enum tailnet_role)role));
		good(words);
		assert_int_equal(tailnet_user(tn, role + 1)->role, role);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(users), TEST(keys), TEST(approval), TEST(rejection), TEST(nodes),
		TEST(expiry_and_address), TEST(attributes), TEST(routes), TEST(log_and_backup),
		TEST(what_changes_something_is_written_down), TEST(rows),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	forget();
	return rc;
}
