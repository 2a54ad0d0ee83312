/*
 * Every act that changes something is in the audit log: who, when, what, and how it was before and
 * after. A verb without a line in this table fails the test.
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

#include "base/addr.h"
#include "base/util.h"
#include "world.h"

enum { WELLS = 1, NORA };		/* the ids of what begin() makes, in its order */
enum { NODE = 1, KEY = 1 };

static struct world w;
static char secret[TAILNET_SECRET];

static int begin(void **state)
{
	(void)state;
	world_begin(&w);
	w.tags = "tag:web";
	world_open(&w);
	assert_int_equal(world_user(&w, "wells"), WELLS);
	assert_int_equal(world_user(&w, "nora"), NORA);
	world_key(&w, (struct tailnet_act){ .user = WELLS, .reusable = true }, secret);
	assert_int_equal(world_join(&w, 1, 11, "a", secret), NODE);
	return 0;
}

static int end(void **state)
{
	(void)state;
	world_end(&w);
	return 0;
}

static const char *const tags[] = { "tag:web" };
static const char *const attributes[] = { "custom:risk=1" };
static const struct warren_prefix nets[] = { { { 4, { 10 } }, 8 } };

#define ROW(verb_, before_, after_, ...)						\
	[verb_] = { before_, after_, { .verb = verb_, ##__VA_ARGS__ } }
static const struct {
	const char *before, *after;	/* what they have in them; NULL: there is none */
	struct tailnet_act act;
} verbs[TAILNET_VERBS] = {
	ROW(TAILNET_USER_CREATE, NULL, "\"login\":\"olga\"", .text = "olga"),
	ROW(TAILNET_USER_LOGIN, NULL, "\"subject\":\"sso 7\"", .text = "olga",
	    .provider = "sso", .subject = "sso 7"),
	ROW(TAILNET_USER_RENAME, "\"login\":\"wells\"", "\"login\":\"allan\"",
	    .user = WELLS, .text = "allan"),
	ROW(TAILNET_USER_ROLE, "\"role\":\"member\"", "\"role\":\"admin\"",
	    .user = WELLS, .role = TAILNET_ADMIN),
	ROW(TAILNET_USER_PIN, "\"pinned\":false", "\"pinned\":true",
	    .user = NORA, .flag = true),
	ROW(TAILNET_USER_DELETE, "\"login\":\"nora\"", NULL, .user = NORA),
	ROW(TAILNET_MACHINE_PIN, "\"machine-key\":\"0101", "\"pinned\":true",
	    .node = NODE, .user = WELLS, .flag = true),
	ROW(TAILNET_NODE_RENAME, "\"name\":\"a\"", "\"name\":\"b\"",
	    .node = NODE, .text = "b"),
	ROW(TAILNET_NODE_EXPIRY, "\"expiry\":0", "\"expiry\":", .node = NODE, .time = 1),
	ROW(TAILNET_NODE_TAG, "\"user\":1", "\"tag:web\"",
	    .node = NODE, .strings = tags, .n_strings = 1),
	ROW(TAILNET_NODE_ROUTES, "\"approved\":[]", "\"10.0.0.0/8\"",
	    .node = NODE, .prefixes = nets, .n_prefixes = 1),
	ROW(TAILNET_NODE_APPROVE, "\"authorized\":true", "\"authorized\":false",
	    .node = NODE, .flag = false),
	ROW(TAILNET_NODE_MOVE, "\"user\":1", "\"user\":2", .node = NODE, .user = NORA),
	ROW(TAILNET_NODE_ADDRESS, "\"ipv4\":\"100.64.0.", "\"ipv4\":\"100.64.0.99\"",
	    .node = NODE, .addr = { 4, { 100, 64, 0, 99 } }),
	ROW(TAILNET_NODE_ATTRIBUTES, "\"attributes\":[]", "[\"custom:risk=1\"]",
	    .node = NODE, .strings = attributes, .n_strings = 1),
	ROW(TAILNET_NODE_LOGOUT, "\"expiry\":0", "\"expiry\":", .node = NODE),
	ROW(TAILNET_NODE_DELETE, "\"name\":\"a\"", NULL, .node = NODE),
	ROW(TAILNET_KEY_CREATE, NULL, "\"prefix\":\"wkey-", .user = WELLS),
	ROW(TAILNET_KEY_REVOKE, "\"revoked\":0", "\"revoked\":", .key = KEY),
	ROW(TAILNET_KEY_DELETE, "\"prefix\":\"wkey-", NULL, .key = KEY),
	ROW(TAILNET_LOGIN_APPROVE, NULL, "\"name\":\"phone\"", .user = NORA),
	ROW(TAILNET_LOGIN_REJECT, NULL, NULL),
	ROW(TAILNET_NOTE, "{\"x\":1}", "{\"x\":2}", .text = "policy.set", .kind = "policy",
	    .before = "{\"x\":1}", .after = "{\"x\":2}"),
};

/* As the log calls what becomes of it. */
static const char *action_of(enum tailnet_verb verb)
{
	if (verb == TAILNET_USER_LOGIN)
		return "user.create";
	if (verb == TAILNET_LOGIN_APPROVE)
		return "node.register";
	return verb == TAILNET_NOTE ? "policy.set" : tailnet_verb_name(verb);
}

/* The newest row, and how many there are. */
struct seen {
	uint32_t n;
	int64_t time;
	char actor[32], origin[32], action[32], kind[32], before[1024], after[1024];
	bool has_before, has_after;
};

static int see(const struct store_audit *row, void *arg)
{
	struct seen *seen = arg;

	seen->n++;
	seen->time = row->time;
	snprintf(seen->actor, sizeof(seen->actor), "%s", row->actor);
	snprintf(seen->origin, sizeof(seen->origin), "%s", row->origin);
	snprintf(seen->action, sizeof(seen->action), "%s", row->action);
	snprintf(seen->kind, sizeof(seen->kind), "%s", row->kind);
	snprintf(seen->before, sizeof(seen->before), "%s", row->before ? row->before : "");
	snprintf(seen->after, sizeof(seen->after), "%s", row->after ? row->after : "");
	seen->has_before = row->before;
	seen->has_after = row->after;
	return 0;
}

static struct seen look(void)
{
	struct seen seen = { .n = 0 };

	if (store_audit_read(tailnet_store(w.tn), 0, 0, see, &seen, w.why) != 0)
		fail_msg("%s", w.why);
	return seen;
}

static void side(const char *verb, const char *which, const char *wanted, bool there,
		 const char *text)
{
	if (!wanted == there || (wanted && !strstr(text, wanted)))
		fail_msg("%s: %s is %s, not %s", verb, which, there ? text : "absent",
			 wanted ? wanted : "absent");
}

static void one_verb(enum tailnet_verb verb)
{
	bool again = verb == TAILNET_KEY_CREATE || verb == TAILNET_NOTE;
	struct tailnet_register reg = world_reg(2, 22, "phone");
	struct tailnet_act act = verbs[verb].act;
	const char *name = tailnet_verb_name(verb);
	struct reply login, reply;
	struct seen before, now;

	if (act.verb != verb)
		fail_msg("%s has no line in this table", name);
	world_register(&w, &reg, &login);
	if (verb == TAILNET_LOGIN_APPROVE || verb == TAILNET_LOGIN_REJECT)
		act.code = login.code;
	before = look();
	w.wall += 5000000;
	if (world_do(&w, act, &reply) != 0)
		fail_msg("%s: %s", name, reply.error);
	now = look();
	if (now.n != before.n + 1)
		fail_msg("%s: %u rows", name, now.n - before.n);
	assert_string_equal(now.actor, "root");
	assert_string_equal(now.origin, "command");
	assert_string_equal(now.action, action_of(verb));
	assert_true(now.kind[0]);
	assert_int_equal(now.time, w.wall);
	side(name, "before", verbs[verb].before, now.has_before, now.before);
	side(name, "after", verbs[verb].after, now.has_after, now.after);
	/* Said again it changes nothing, or is refused: no row for that. */
	world_do(&w, act, &reply);
	assert_int_equal(look().n, now.n + again);
}

static void every_verb_writes_a_row(void **state)
{
	for (int verb = 1; verb < TAILNET_VERBS; verb++) {
		begin(state);
		one_verb((enum tailnet_verb)verb);
		end(state);
	}
}

static int add_row(const struct store_audit *row, void *arg)
{
	str_addf(arg, "%s %s %s %s %s>%s\n", row->actor, row->origin, row->action, row->name,
		 row->before ? row->before : "-", row->after ? row->after : "-");
	return 0;
}

/* The newest @n rows. */
static void assert_log(uint32_t n, const char *wanted)
{
	AUTO(str_free) struct str rows = STR_INIT;

	if (store_audit_read(tailnet_store(w.tn), 0, n, add_row, &rows, w.why) != 0)
		fail_msg("%s", w.why);
	assert_string_equal(str_text(&rows), wanted);
}

#define KEY_01 "0101010101010101010101010101010101010101010101010101010101010101"

/* What goes or comes along with an act has a row of its own. */
static void what_follows_has_rows_too(void **state)
{
	AUTO(str_free) struct str rows = STR_INIT;
	struct reply r;

	(void)state;
	world_do(&w, (struct tailnet_act){ .verb = TAILNET_USER_PIN, .user = WELLS, .flag = true },
		 &r);
	assert_log(2, "root command machine.pin wells {\"machine-key\":\"" KEY_01 "\","
		   "\"pinned\":false}>{\"machine-key\":\"" KEY_01 "\",\"pinned\":true}\n"
		   "root command user.pin wells {\"pinned\":false}>{\"pinned\":true}\n");
	world_do(&w, (struct tailnet_act){ .verb = TAILNET_NODE_DELETE, .node = NODE }, &r);
	assert_int_equal(world_do(&w, (struct tailnet_act){ .verb = TAILNET_USER_DELETE,
							     .user = WELLS }, &r), 0);
	assert_int_equal(store_audit_read(tailnet_store(w.tn), 0, 3, add_row, &rows, w.why), 0);
	assert_non_null(strstr(str_text(&rows), "root command key.delete wkey-auth-"));
	assert_non_null(strstr(str_text(&rows), "root command machine.pin wells {\"machine-key\":"
			       "\"" KEY_01 "\",\"pinned\":true}>"));
	assert_non_null(strstr(str_text(&rows), "root command user.delete wells "));
}

static void a_login_that_pins_says_so(void **state)
{
	struct tailnet_register reg = world_reg(1, 12, "phone");
	AUTO(str_free) struct str rows = STR_INIT;
	struct reply r;
	char code[TAILNET_CODE];

	(void)state;
	world_register(&w, &reg, &r);
	memcpy(code, r.code, sizeof(code));
	assert_int_equal(world_do(&w, (struct tailnet_act){ .verb = TAILNET_LOGIN_APPROVE,
							     .code = code, .user = NORA,
							     .flag = true }, &r), 0);
	assert_int_equal(store_audit_read(tailnet_store(w.tn), 0, 2, add_row, &rows, w.why), 0);
	assert_non_null(strstr(str_text(&rows), "root command machine.pin nora {\"machine-key\":"
			       "\"" KEY_01 "\",\"pinned\":false}>"));
	assert_non_null(strstr(str_text(&rows), "root command node.register "));
}

/* By the policy in force when it is announced, and by one that comes later. */
static void what_the_policy_approves_is_said(void **state)
{
	const struct warren_prefix more[] = { nets[0], { { 4, { 192, 168 } }, 16 } };
	struct tailnet_update update = {
		.hostinfo = "{}", .hostname = "a", .routes = more, .n_routes = 1,
	};

	(void)state;
	w.routes = "10.0.0.0/8";
	assert_int_equal(tailnet_update(w.tn, NODE, &update, NULL, NULL), 0);
	world_turn(&w);
	assert_log(1, "coordinator policy node.routes a {\"announced\":[],\"approved\":[]}>"
		   "{\"announced\":[\"10.0.0.0/8\"],\"approved\":[\"10.0.0.0/8\"]}\n");
	update.n_routes = 2;
	assert_int_equal(tailnet_update(w.tn, NODE, &update, NULL, NULL), 0);
	world_turn(&w);
	w.routes = "10.0.0.0/8 192.168.0.0/16";
	tailnet_set_rules(w.tn, &w.rules);
	world_turn(&w);
	assert_log(1, "coordinator policy node.routes a {\"approved\":[\"10.0.0.0/8\"]}>"
		   "{\"approved\":[\"10.0.0.0/8\",\"192.168.0.0/16\"]}\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verb_writes_a_row),
		TEST(what_follows_has_rows_too),
		TEST(a_login_that_pins_says_so),
		TEST(what_the_policy_approves_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
