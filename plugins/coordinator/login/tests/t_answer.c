/*
 * Answers of a provider that nobody signed: tokens, and GitHub's users, addresses, organisations
 * and teams, in the form that its documentation shows.
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

#include "../answer.h"
#include "../token.h"
#include "base/err.h"
#include "base/util.h"

static void expect(int rc, struct warren_err *err, const char *part)
{
	if (part ? rc != -EACCES || !strstr(err_first(err), part) : rc != 0)
		fail_msg("%d: %s", rc, rc ? err_first(err) : "accepted");
	err_free(err);
}

static void tokens(void **state)
{
	static const struct { const char *json, *part; } cases[] = {
		{ "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"id_token\":\"i\"}", NULL },
		{ "{\"access_token\":\"a\",\"token_type\":\"bearer\"}", NULL },
		{ "{\"access_token\":\"a\",\"token_type\":\"DPoP\"}", "no bearer token" },
		{ "{\"access_token\":\"a\"}", "no bearer token" },
		{ "{\"access_token\":\"\",\"token_type\":\"Bearer\"}", "no access token" },
		{ "{\"access_token\":\"a b\",\"token_type\":\"Bearer\"}", "no access token" },
		{ "{\"access_token\":\"a\\r\\nx: y\",\"token_type\":\"Bearer\"}",
		  "no access token" },
		{ "{\"access_token\":7,\"token_type\":\"Bearer\"}", "no access token" },
		{ "{\"error\":\"invalid_grant\"}", "login's code: invalid_grant" },
		{ "{\"error\":\"a\\nb\",\"access_token\":\"a\",\"token_type\":\"Bearer\"}",
		  "login's code: a\\x0ab" },
		{ "[]", "no answer" },
		{ "access_token=a&token_type=bearer", "no answer" },
		{ "", "no answer" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct warren_err err = ERR_INIT;
		struct login_tokens out;
		int rc = login_tokens_parse(cases[i].json, strlen(cases[i].json), &out, &err);

		expect(rc, &err, cases[i].part);
		assert_true(!rc == !!out.access);
		login_tokens_free(&out);
		assert_null(out.access);
	}
}

static const char *text(const json_t *claims, const char *key)
{
	return json_string_value(json_object_get(claims, key));
}

static void user(void **state)
{
	static const char octocat[] =
		"{\"login\":\"octocat\",\"id\":583231,\"avatar_url\":\"https://example.com/u\","
		"\"type\":\"User\",\"name\":\"The Octocat\",\"email\":null}";
	static const char *const bad[] = {
		"{\"login\":\"octocat\"}", "{\"login\":\"octocat\",\"id\":0}", "[]", "",
		"{\"login\":\"octocat\",\"id\":\"583231\"}", "{\"id\":583231}",
		"{\"login\":\"a@b\",\"id\":583231}", "{\"login\":\"\",\"id\":583231}",
		"{\"id\":1,\"id\":2,\"login\":\"octocat\"}",
	};
	struct warren_err err = ERR_INIT;
	json_t *claims;
	char *login;

	(void)state;
	expect(login_github_user(octocat, strlen(octocat), &claims, &login, &err), &err, NULL);
	assert_string_equal(text(claims, "sub"), "583231");
	assert_string_equal(text(claims, "name"), "The Octocat");
	assert_string_equal(login, "octocat@github");
	assert_null(json_object_get(claims, "email"));
	json_decref(claims);
	free(login);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct warren_err e = ERR_INIT;

		expect(login_github_user(bad[i], strlen(bad[i]), &claims, &login, &e), &e,
		       "who the user is");
		assert_null(claims);
		assert_null(login);
	}
}

static void email_of(const char *json, const char *shown)
{
	struct warren_err err = ERR_INIT;
	json_t *claims = json_object();

	expect(login_github_emails(json, strlen(json), claims, &err), &err, NULL);
	if (shown)
		assert_string_equal(text(claims, "email"), shown);
	assert_true(json_is_true(json_object_get(claims, "email_verified")) == !!shown);
	json_decref(claims);
}

static void emails(void **state)
{
	struct warren_err err = ERR_INIT;

	(void)state;
	email_of("[]", NULL);
	email_of("[{\"email\":\"a@x\",\"primary\":false,\"verified\":true},"
		 "{\"email\":\"b@x\",\"primary\":true,\"verified\":true}]", "b@x");
	email_of("[{\"email\":\"b@x\",\"primary\":true,\"verified\":false}]", NULL);
	email_of("[{\"email\":\"b@x\",\"primary\":\"true\",\"verified\":\"true\"}]", NULL);
	expect(login_github_emails("{}", 2, NULL, &err), &err, "no list of addresses");
}

static void groups(void **state)
{
	static const char *const allowed[] = { "acme/ops", "Initech" };
	const struct login_gate gate = { .groups = allowed, .n_groups = 2 };
	static const char orgs[] =
		"[{\"login\":\"Acme\"},{\"login\":\"other\"},{\"login\":\"a/b\"},"
		"{\"login\":\"initech\"},{\"id\":1},7]";
	static const char teams[] =
		"[{\"slug\":\"ops\",\"organization\":{\"login\":\"acme\"}},"
		"{\"slug\":\"ops\",\"organization\":{\"login\":\"ac\"}},"
		"{\"slug\":\"ops/x\",\"organization\":{\"login\":\"acme\"}},{\"slug\":\"ops\"}]";
	struct warren_err err = ERR_INIT;
	json_t *claims = json_pack("{s:[]}", "groups"), *list = json_object_get(claims, "groups");
	uint32_t n;

	(void)state;
	expect(login_github_groups(orgs, strlen(orgs), false, &gate, claims, &n, &err), &err,
	       NULL);
	assert_int_equal(n, 6);
	expect(login_github_groups(teams, strlen(teams), true, &gate, claims, &n, &err), &err,
	       NULL);
	assert_int_equal(n, 4);
	assert_int_equal(json_array_size(list), 3);
	assert_string_equal(json_string_value(json_array_get(list, 0)), "Acme");
	assert_string_equal(json_string_value(json_array_get(list, 1)), "initech");
	assert_string_equal(json_string_value(json_array_get(list, 2)), "acme/ops");
	expect(login_github_groups("{}", 2, true, &gate, claims, &n, &err), &err,
	       "no list of teams");
	json_decref(claims);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens), cmocka_unit_test(user), cmocka_unit_test(emails),
		cmocka_unit_test(groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
