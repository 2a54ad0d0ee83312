/*
 * What people do: every act is in the audit log, with who and what changed and no secret; acts
 * that meet each other follow one another.
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

static struct world w;
static struct reply r;
static char secret[TAILNET_SECRET];
static int64_t wells, other;

static int begin(void **state)
{
	(void)state;
	world_begin(&w);
	w.tags = "tag:web tag:db";
	w.owner = "wells";
	world_open(&w);
	wells = world_user(&w, "wells");
	other = world_user(&w, "other");
	world_key(&w, (struct tailnet_act){ .user = wells, .reusable = true }, secret);
	return 0;
}

static int end(void **state)
{
	(void)state;
	world_end(&w);
	return 0;
}

static int add_row(const struct store_audit *row, void *arg)
{
	str_addf(arg, "%s %s %s %s %lld %s %s>%s\n", row->actor, row->origin, row->action,
		 row->kind, (long long)row->target, row->name, row->before ? row->before : "-",
		 row->after ? row->after : "-");
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

static int act(struct tailnet_act a)
{
	return world_do(&w, a, &r);
}

#define KEY_01 "0101010101010101010101010101010101010101010101010101010101010101"

static void acts_are_written_down(void **state)
{
	int64_t id = world_join(&w, 1, 11, "a", secret);
	const char *tag = "tag:web";
	struct warren_prefix net;

	(void)state;
	prefix_parse("10.0.0.0/8", &net);
	assert_int_equal(act((struct tailnet_act){ .verb = TAILNET_NODE_RENAME, .node = id,
						    .text = "b" }), 0);
	assert_log(1, "root command node.rename node 1 b {\"name\":\"a\",\"automatic-name\":true}>"
		   "{\"name\":\"b\",\"automatic-name\":false}\n");
	/* What changes nothing is no act. */
	assert_int_equal(act((struct tailnet_act){ .verb = TAILNET_NODE_RENAME, .node = id,
						    .text = "b" }), 0);
	/* What is refused is not in force, so it is not there. */
	assert_int_equal(act((struct tailnet_act){ .verb = TAILNET_NODE_RENAME, .node = id,
						    .text = "B" }), -EINVAL);
	act((struct tailnet_act){ .verb = TAILNET_NODE_ROUTES, .node = id, .prefixes = &net,
				  .n_prefixes = 1 });
	act((struct tailnet_act){ .verb = TAILNET_NODE_TAG, .node = id, .strings = &tag,
				  .n_strings = 1 });
	act((struct tailnet_act){ .verb = TAILNET_NODE_EXPIRY, .node = id, .time = w.wall + 5 });
	act((struct tailnet_act){ .verb = TAILNET_NODE_APPROVE, .node = id });
	act((struct tailnet_act){ .verb = TAILNET_NODE_MOVE, .node = id, .user = other });
	assert_log(5, "root command node.routes node 1 b {\"approved\":[]}>"
		   "{\"approved\":[\"10.0.0.0/8\"]}\n"
		   "root command node.tag node 1 b {\"user\":1,\"tags\":[]}>"
		   "{\"user\":0,\"tags\":[\"tag:web\"]}\n"
		   "root command node.expiry node 1 b {\"expiry\":0}>"
		   "{\"expiry\":1800000000000005}\n"
		   "root command node.approve node 1 b {\"authorized\":true}>"
		   "{\"authorized\":false}\n"
		   "root command node.move node 1 b {\"user\":0,\"tags\":[\"tag:web\"],"
		   "\"expiry\":1800000000000005}>{\"user\":2,\"tags\":[],\"expiry\":0}\n");
	act((struct tailnet_act){ .verb = TAILNET_USER_ROLE, .user = wells,
				  .role = TAILNET_OWNER });
	act((struct tailnet_act){ .verb = TAILNET_MACHINE_PIN, .user = wells, .node = id,
				  .flag = true });
	act((struct tailnet_act){ .verb = TAILNET_USER_RENAME, .user = wells, .text = "wells2" });
	assert_log(3, "root command user.role user 1 wells {\"role\":\"member\"}>"
		   "{\"role\":\"owner\"}\n"
		   "root command machine.pin user 1 wells {\"machine-key\":\"" KEY_01 "\","
		   "\"pinned\":false}>{\"machine-key\":\"" KEY_01 "\",\"pinned\":true}\n"
		   "root command user.rename user 1 wells2 {\"login\":\"wells\","
		   "\"display\":\"wells\"}>{\"login\":\"wells2\",\"display\":\"wells2\"}\n");
	act((struct tailnet_act){ .verb = TAILNET_NODE_DELETE, .node = id });
	world_reopen(&w);
	AUTO(str_free) struct str rows = STR_INIT;
	assert_int_equal(store_audit_read(tailnet_store(w.tn), 0, 1, add_row, &rows, w.why), 0);
	assert_non_null(strstr(str_text(&rows), "node.delete node 1 b {\"name\":\"b\""));
	assert_non_null(strstr(str_text(&rows), ">-\n"));
}

static void joining_is_written_down(void **state)
{
	struct tailnet_register reg = world_reg(2, 21, "phone");
	AUTO(str_free) struct str rows = STR_INIT;
	char code[TAILNET_CODE];

	(void)state;
	world_join(&w, 1, 11, "a", secret);
	world_register(&w, &reg, &r);
	memcpy(code, r.code, sizeof(code));
	act((struct tailnet_act){ .verb = TAILNET_LOGIN_APPROVE, .code = code, .user = other });
	assert_int_equal(store_audit_read(tailnet_store(w.tn), 0, 2, add_row, &rows, w.why), 0);
	assert_non_null(strstr(str_text(&rows), "key wkey-auth-"));
	assert_non_null(strstr(str_text(&rows), " register node.register node 1 a ->{\"name\":"));
	assert_non_null(strstr(str_text(&rows), "root command node.register node 2 phone "));
	world_register(&w, &reg, &r);
	reg = world_reg(2, 22, "phone");
	world_register(&w, &reg, &r);
	memcpy(code, r.code, sizeof(code));
	act((struct tailnet_act){ .verb = TAILNET_LOGIN_REJECT, .code = code });
	assert_log(1, "root command login.reject machine 0 phone ->-\n");
}

static bool file_has(const char *path, const char *text)
{
	size_t len = strlen(text), n, from = 0;
	char block[65536];
	bool found = false;
	FILE *f = fopen(path, "r");

	while (f && !found && (n = fread(block + from, 1, sizeof(block) - from, f)) > 0) {
		n += from;
		found = memmem(block, n, text, len);
		from = n < len ? n : len;
		memmove(block, block + n - from, from);
	}
	if (f)
		fclose(f);
	return found;
}

static void secrets_are_nowhere(void **state)
{
	char wal[128];

	(void)state;
	world_join(&w, 1, 11, "a", secret);
	act((struct tailnet_act){ .verb = TAILNET_KEY_REVOKE, .key = 1 });
	assert_string_equal(r.secret, "");
	snprintf(wal, sizeof(wal), "%s-wal", w.path);
	/* The part that is shown is there, so the search works; the secret is not. */
	secret[22] = '\0';
	assert_true(file_has(wal, secret));
	assert_false(file_has(wal, secret + 23));
	assert_false(file_has(w.path, secret + 23));
	assert_null(strstr(str_text(&w.log), secret + 23));
	assert_int_equal(strlen(secret + 23), 64);
}

static void tags_must_be_in_the_policy(void **state)
{
	int64_t id = world_join(&w, 1, 11, "a", secret);
	const char *tags[2] = { "tag:none" };
	struct tailnet_act tag = { .verb = TAILNET_NODE_TAG, .node = id, .strings = tags,
				   .n_strings = 1 };

	(void)state;
	assert_int_equal(act(tag), -ENOENT);
	assert_string_equal(r.error, "tag:none is not in the policy; add it to tagOwners");
	tags[0] = "web";
	assert_int_equal(act(tag), -EINVAL);
	tag.n_strings = 0;
	assert_int_equal(act(tag), -EINVAL);
	tags[0] = "tag:web";
	tags[1] = "tag:db";
	tag.n_strings = 2;
	assert_int_equal(act(tag), 0);
	assert_string_equal(world_node(&w, id)->tags->at[0], "tag:db");	/* sorted */
	/* The machine has a tagged node now; a second one of it would be one too many. */
	int64_t second = world_join(&w, 2, 21, "b", secret);
	assert_int_equal(act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .strings = tags,
						    .n_strings = 2, .ephemeral = true }), 0);
	tag.node = second;
	assert_int_equal(act(tag), 0);
	tags[0] = "tag:none";
	assert_int_equal(act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .strings = tags,
						    .n_strings = 1 }), -ENOENT);
	static const struct tailnet_act none[] = {
		{ .verb = TAILNET_NODE_TAG, .node = 99 }, { .verb = TAILNET_KEY_REVOKE, .key = 99 },
		{ .verb = TAILNET_USER_ROLE, .user = 99 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(act(none[i]), -ENOENT);
	assert_int_equal(act((struct tailnet_act){ .verb = TAILNET_VERBS }), -EINVAL);
}

static void one_owner_has_one_node_of_a_machine(void **state)
{
	int64_t mine = world_join(&w, 1, 11, "a", secret), yours;
	char key[TAILNET_SECRET];

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = other }, key);
	yours = world_join(&w, 1, 12, "a", key);
	assert_int_not_equal(mine, yours);
	assert_int_equal(act((struct tailnet_act){ .verb = TAILNET_NODE_MOVE, .node = yours,
						    .user = wells }), -EEXIST);
	assert_non_null(strstr(r.error, "the same machine has the node a of that owner already"));
	/* Both at once want to be the tagged one. */
	const char *tag = "tag:web";
	struct reply first, second;
	struct tailnet_act a = { .verb = TAILNET_NODE_TAG, .node = mine, .strings = &tag,
				 .n_strings = 1 };
	world_act(&w, &a, &first);
	a.node = yours;
	world_act(&w, &a, &second);
	world_turn(&w);
	assert_int_equal(first.result, 0);
	assert_int_equal(second.result, -EEXIST);
}

static void acts_that_meet_follow_each_other(void **state)
{
	int64_t id = world_join(&w, 1, 11, "a", secret);
	struct reply replies[8];
	struct tailnet_act a = { .verb = TAILNET_NODE_RENAME, .node = id, .text = "n1" };

	(void)state;
	/* A key goes while a node that came with it is changed: both are done. */
	world_act(&w, &a, &replies[0]);
	a = (struct tailnet_act){ .verb = TAILNET_KEY_DELETE, .key = 1 };
	world_act(&w, &a, &replies[1]);
	a = (struct tailnet_act){ .verb = TAILNET_NODE_RENAME, .node = id, .text = "n2" };
	world_act(&w, &a, &replies[2]);
	/* A user goes while a key for him is made; then the key has no user to be for. */
	a = (struct tailnet_act){ .verb = TAILNET_USER_DELETE, .user = other };
	world_act(&w, &a, &replies[3]);
	a = (struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .user = other };
	world_act(&w, &a, &replies[4]);
	/* A node goes, and somebody renames it. */
	a = (struct tailnet_act){ .verb = TAILNET_NODE_DELETE, .node = id };
	world_act(&w, &a, &replies[5]);
	a = (struct tailnet_act){ .verb = TAILNET_NODE_RENAME, .node = id, .text = "n3" };
	world_act(&w, &a, &replies[6]);
	world_turn(&w);
	for (int i = 0; i < 4; i++)
		assert_int_equal(replies[i].result, 0);
	assert_int_equal(replies[4].result, -ENOENT);
	assert_int_equal(replies[5].result, 0);
	assert_int_equal(replies[6].result, -ENOENT);
	world_reopen(&w);
	assert_null(tailnet_node(w.tn, id));
	assert_null(tailnet_user(w.tn, other));
}

static void join_later(uint8_t m, struct reply *reply)
{
	struct tailnet_register reg = world_reg(m, m, "n");

	reg.auth_key = secret;
	world_start(&w, &reg, reply);
}

/* Joins share their user; whoever wants to change him is not kept waiting by ever more of them. */
static void a_storm_of_joins_lets_acts_through(void **state)
{
	AUTO(str_free) struct str rows = STR_INIT;
	struct reply replies[7];
	const char *at;

	(void)state;
	for (uint8_t i = 1; i <= 3; i++)
		join_later(i, &replies[i - 1]);
	world_act(&w, &(struct tailnet_act){ .verb = TAILNET_USER_RENAME, .user = wells,
					     .text = "renamed" }, &replies[6]);
	for (uint8_t i = 4; i <= 6; i++)
		join_later(i, &replies[i - 1]);
	world_turn(&w);
	for (int i = 0; i < 7; i++)
		assert_int_equal(replies[i].result, 0);
	assert_int_equal(store_audit_read(tailnet_store(w.tn), 0, 7, add_row, &rows, w.why), 0);
	at = strstr(str_text(&rows), "user.rename");
	assert_non_null(at);
	assert_non_null(strstr(at, "node.register node 4 "));
	assert_null(strstr(at, "node.register node 3 "));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(acts_are_written_down),
		TEST(joining_is_written_down),
		TEST(secrets_are_nowhere),
		TEST(tags_must_be_in_the_policy),
		TEST(one_owner_has_one_node_of_a_machine),
		TEST(acts_that_meet_follow_each_other),
		TEST(a_storm_of_joins_lets_acts_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
