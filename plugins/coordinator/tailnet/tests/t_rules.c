/*
 * The decision tables, row by row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../rules.h"
#include "base/util.h"

static void order_of_registration(void **state)
{
	/* known, same machine, node expired, has expiry, past, followup, auth key */
	static const struct {
		struct rules_request r;
		enum rules_step step;
	} rows[] = {
		{ { 1, 1, 0, 1, 1, 0, 0 }, STEP_LOG_OUT },
		{ { 1, 1, 0, 1, 1, 1, 1 }, STEP_LOG_OUT },
		{ { 1, 0, 0, 1, 1, 0, 1 }, STEP_WRONG_MACHINE },
		{ { 1, 1, 1, 1, 1, 0, 0 }, STEP_EXPIRED },
		{ { 0, 0, 0, 1, 1, 0, 0 }, STEP_INTERACTIVE },
		{ { 0, 0, 0, 1, 1, 0, 1 }, STEP_AUTH_KEY },
		{ { 1, 0, 0, 0, 0, 0, 0 }, STEP_WRONG_MACHINE },
		{ { 1, 0, 1, 0, 0, 1, 0 }, STEP_WRONG_MACHINE },
		{ { 1, 1, 0, 0, 0, 0, 0 }, STEP_CURRENT },
		{ { 1, 1, 0, 0, 0, 1, 0 }, STEP_CURRENT },
		{ { 1, 1, 1, 0, 0, 0, 0 }, STEP_EXPIRED },
		{ { 1, 1, 1, 1, 0, 0, 0 }, STEP_EXPIRED },
		{ { 1, 1, 0, 1, 0, 0, 0 }, STEP_NO_EXTENSION },
		{ { 0, 0, 0, 0, 0, 1, 0 }, STEP_FOLLOW },
		{ { 0, 0, 0, 0, 0, 1, 1 }, STEP_FOLLOW },
		{ { 1, 1, 0, 0, 0, 0, 1 }, STEP_AUTH_KEY },
		{ { 1, 0, 0, 0, 0, 0, 1 }, STEP_AUTH_KEY },
		{ { 0, 0, 0, 0, 0, 0, 1 }, STEP_AUTH_KEY },
		{ { 0, 0, 0, 1, 0, 0, 0 }, STEP_INTERACTIVE },
		{ { 0, 0, 0, 0, 0, 0, 0 }, STEP_INTERACTIVE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rules_step(&rows[i].r) != rows[i].step)
			fail_msg("row %zu: %d", i, rules_step(&rows[i].r));
	}
}

static void same_device_again(void **state)
{
	/* own, owned, tagged; by key, with tags */
	static const struct {
		struct rules_match m;
		enum rules_outcome outcome;
	} rows[] = {
		/* nothing there */
		{ { 0, 0, 0, 0, 0 }, MATCH_CREATE }, { { 0, 0, 0, 1, 0 }, MATCH_CREATE },
		{ { 0, 0, 0, 0, 1 }, MATCH_CREATE }, { { 0, 0, 0, 1, 1 }, MATCH_CREATE },
		/* the same user */
		{ { 1, 1, 0, 0, 0 }, MATCH_OWN }, { { 1, 1, 0, 1, 0 }, MATCH_OWN },
		{ { 1, 2, 0, 0, 0 }, MATCH_OWN }, { { 1, 2, 0, 1, 0 }, MATCH_OWN },
		/* another user */
		{ { 0, 1, 0, 0, 0 }, MATCH_CREATE }, { { 0, 1, 0, 1, 0 }, MATCH_CREATE },
		/* a tagged node */
		{ { 0, 0, 1, 0, 0 }, MATCH_TAGGED_TO_USER }, { { 0, 0, 1, 1, 0 }, MATCH_TAGGED },
		{ { 0, 0, 1, 1, 1 }, MATCH_TAGGED }, { { 0, 0, 1, 0, 1 }, MATCH_RETAG },
		/* user-owned, and tags come */
		{ { 1, 1, 0, 1, 1 }, MATCH_OWN_TO_TAGGED },
		{ { 0, 1, 0, 1, 1 }, MATCH_OWNED_TO_TAGGED },
		{ { 1, 1, 0, 0, 1 }, MATCH_OWN_TO_TAGGED }, { { 0, 1, 0, 0, 1 }, MATCH_CREATE },
		{ { 0, 2, 0, 1, 1 }, MATCH_AMBIGUOUS }, { { 1, 2, 0, 1, 1 }, MATCH_AMBIGUOUS },
		{ { 1, 2, 0, 0, 1 }, MATCH_OWN_TO_TAGGED },
		/* both kinds */
		{ { 0, 1, 1, 0, 0 }, MATCH_AMBIGUOUS }, { { 1, 1, 1, 0, 0 }, MATCH_AMBIGUOUS },
		{ { 1, 1, 1, 1, 0 }, MATCH_OWN }, { { 0, 1, 1, 1, 0 }, MATCH_TAGGED },
		{ { 0, 1, 1, 1, 1 }, MATCH_TAGGED }, { { 1, 1, 1, 0, 1 }, MATCH_RETAG },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rules_match(&rows[i].m) != rows[i].outcome)
			fail_msg("row %zu: %d", i, rules_match(&rows[i].m));
	}
}

static void keys_and_those_who_come_back(void **state)
{
	static const struct tailnet_strings tags = { 0, NULL };
	struct tailnet_key key = { .user = 1 };
	struct tailnet_node node = { .user = 1 };

	(void)state;
	assert_null(rules_key(&key, 100));
	key.expiry = 100;
	assert_null(rules_key(&key, 99));
	assert_string_equal(rules_key(&key, 100), "authkey expired");
	key.expiry = 0;
	key.used = 5;
	assert_string_equal(rules_key(&key, 100), "authkey already used");
	key.reusable = true;
	assert_null(rules_key(&key, 100));
	key.revoked = 7;
	assert_string_equal(rules_key(&key, 100), "authkey revoked");
	assert_string_equal(rules_key(NULL, 100), "invalid pre auth key");

	/* Used, revoked, deleted: a container that restarts comes back with any of them. */
	assert_true(rules_returns(&node, &key, 100));
	assert_true(rules_returns(&node, NULL, 100));
	assert_false(rules_returns(NULL, &key, 100));
	key.user = 2;			/* somebody else's: that is a new login */
	assert_false(rules_returns(&node, &key, 100));
	key.user = 1;
	key.tags = &tags;
	assert_false(rules_returns(&node, &key, 100));
	node.user = 0;
	assert_true(rules_returns(&node, &key, 100));
	node.expiry = 101;
	assert_true(rules_returns(&node, &key, 100));
	node.expiry = 100;
	assert_false(rules_returns(&node, &key, 100));
}

static void expiry(void **state)
{
	(void)state;
	assert_int_equal(rules_expiry(true, 500, 400, 30, 100), 0);
	assert_int_equal(rules_expiry(false, 500, 400, 30, 100), 500);
	assert_int_equal(rules_expiry(false, 0, 400, 30, 100), 400);
	assert_int_equal(rules_expiry(false, 0, 0, 30, 100), 130);
	assert_int_equal(rules_expiry(false, 0, 0, 0, 100), 0);
	/* A time that has passed is none: not a year that Go writes for zero. */
	assert_int_equal(rules_expiry(false, 50, -62135596800000000, 30, 100), 130);
}

static void names_of_users_and_tags(void **state)
{
	static const char *const good[] = { "ab", "a.b-c_d", "Wells@Example.com", "w2" };
	static const char *const bad[] = { "", "a", "2a", "a b", "a@b@c", "-a", "a/b", "\xc3\xa9" };
	static const char *const bad_tags[] = { "", "tag:", "web", "tag:2x", "tag:-x", "tag:a b",
						"tag:a:b", "Tag:a" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(rules_login_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(rules_login_valid(bad[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad_tags); i++)
		assert_false(rules_tag_valid(bad_tags[i]));
	assert_true(rules_tag_valid("tag:k8s-Operator"));
}

static void labels(void **state)
{
	static const struct { const char *hostname, *label; } rows[] = {
		{ "Joe's Mac mini", "joes-mac-mini" }, { "Test@Host", "test-host" },
		{ "mail.server", "mail-server" }, { "\xe6\x97\xa5\xe6\x9c\xac", "node" },
		{ "", "node" }, { "nas.local", "nas" }, { "PC.LocalDomain", "pc" },
		{ "router.lan", "router" }, { "---", "node" }, { "-a-", "a" }, { "a__b", "a--b" },
		{ ".local", "node" }, { "a\xc3\xa9z", "az" }, { "UPPER", "upper" },
		{ "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdef",
		  "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabc" },
	};
	static const char *const bad[] = { "", "-a", "a-", "A", "a.b", "a b",
		"abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd" };
	char out[TAILNET_LABEL + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		rules_label(rows[i].hostname, out);
		assert_string_equal(out, rows[i].label);
		assert_true(rules_label_valid(out));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(rules_label_valid(bad[i]));
	rules_label_number("pc", 0, out);
	assert_string_equal(out, "pc");
	rules_label_number("pc", 12, out);
	assert_string_equal(out, "pc-12");
	rules_label_number(rows[ARRAY_SIZE(rows) - 1].label, 12, out);
	assert_int_equal(strlen(out), TAILNET_LABEL);
	assert_string_equal(out + 60, "-12");
	assert_true(rules_label_of("pc", "pc"));
	assert_true(rules_label_of("pc-12", "pc"));
	assert_true(rules_label_of(out, rows[ARRAY_SIZE(rows) - 1].label));
	assert_false(rules_label_of("pc-012", "pc"));
	assert_false(rules_label_of("pc-x", "pc"));
	assert_false(rules_label_of("pcs", "pc"));
	assert_false(rules_label_of("pc-12", "p"));
}

static void election(void **state)
{
	static const struct {
		int64_t now;
		struct rules_candidate c[3];	/* id, online, unhealthy */
		int64_t then;
	} rows[] = {
		{ 0, { { 3, 1, 0 }, { 2, 1, 0 }, { 1, 0, 0 } }, 2 },
		{ 3, { { 3, 1, 0 }, { 2, 1, 0 }, { 1, 1, 0 } }, 3 },	/* keeps */
		{ 3, { { 3, 1, 1 }, { 2, 1, 0 }, { 1, 1, 1 } }, 2 },	/* unhealthy: gives up */
		{ 3, { { 3, 1, 1 }, { 2, 1, 1 }, { 1, 1, 1 } }, 3 },	/* all are: keeps */
		{ 3, { { 3, 0, 0 }, { 2, 1, 1 }, { 1, 0, 0 } }, 2 },	/* the only one online */
		{ 3, { { 3, 0, 0 }, { 2, 0, 0 }, { 1, 0, 0 } }, 0 },
		{ 9, { { 3, 1, 0 }, { 2, 1, 0 }, { 1, 0, 0 } }, 2 },	/* no candidate any more */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(rules_elect(rows[i].now, rows[i].c, 3), rows[i].then);
	assert_int_equal(rules_elect(4, NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_of_registration),
		cmocka_unit_test(same_device_again),
		cmocka_unit_test(keys_and_those_who_come_back),
		cmocka_unit_test(expiry),
		cmocka_unit_test(names_of_users_and_tags),
		cmocka_unit_test(labels),
		cmocka_unit_test(election),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
