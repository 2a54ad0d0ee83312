/*
 * Logins under way: each is good once, for the browser that began it; and the texts of the flow.
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
#include <sodium.h>

#include "../flow.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

#define ISSUER "https://id.example.com"
#define CODE "0123456789abcdef01234567"

static struct login_flows *flows;

static int setup(void **state)
{
	(void)state;
	flows = login_flows_new();
	return flows ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	login_flows_free(flows);
	return 0;
}

static struct login_flow begin(const char *code, int64_t now)
{
	const struct login_flow *flow = login_flow_begin(flows, code, false, now);

	assert_non_null(flow);
	return *flow;
}

static bool take(const struct login_flow *flow, const char *cookie, int64_t now)
{
	struct login_flow out;
	bool ok = login_flow_take(flows, flow->state, cookie, now, &out);

	assert_true(!ok || memcmp(&out, flow, sizeof(out)) == 0);
	assert_true(ok || !out.verifier[0]);
	return ok;
}

static void once(void **state)
{
	struct login_flow a = begin(CODE, 100), b = begin(CODE, 100), out;

	(void)state;
	assert_int_equal(strlen(a.state), 43);
	assert_string_not_equal(a.state, b.state);
	assert_string_not_equal(a.nonce, b.nonce);
	assert_string_not_equal(a.nonce, a.state);
	assert_string_not_equal(a.verifier, b.verifier);
	assert_true(take(&b, b.cookie, 101));
	assert_false(take(&b, b.cookie, 101));		/* replayed */
	assert_true(take(&a, a.cookie, 101));
	assert_false(login_flow_take(flows, "", "", 101, &out));
}

/* A link that somebody else began: their state, in a browser without their cookie. */
static void another_browser(void **state)
{
	struct login_flow a = begin(CODE, 100), b = begin(CODE, 100);

	(void)state;
	assert_false(take(&a, b.cookie, 101));
	assert_false(take(&a, a.cookie, 101));		/* it is gone in any case */
	assert_false(take(&b, NULL, 101));
	assert_false(take(&b, b.cookie, 101));
}

static void too_late(void **state)
{
	struct login_flow a = begin(CODE, 100), b = begin(CODE, 101);

	(void)state;
	assert_false(take(&a, a.cookie, 100 + LOGIN_FLOW_SECONDS));
	assert_true(take(&b, b.cookie, 100 + LOGIN_FLOW_SECONDS));
}

static void many(void **state)
{
	struct login_flow tabs[LOGIN_FLOWS_EACH + 1];
	char code[TAILNET_CODE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(tabs); i++)
		tabs[i] = begin(CODE, 100);
	assert_false(take(&tabs[0], tabs[0].cookie, 101));
	assert_true(take(&tabs[1], tabs[1].cookie, 101));
	for (int i = 0; i < LOGIN_FLOWS - LOGIN_FLOWS_EACH + 1; i++) {
		snprintf(code, sizeof(code), "%024d", i);
		begin(code, 102);
	}
	assert_null(login_flow_begin(flows, "ffffffffffffffffffffffff", false, 103));
	assert_true(take(&tabs[2], tabs[2].cookie, 104));
	begin("ffffffffffffffffffffffff", 105);
	assert_non_null(login_flow_begin(flows, "e", false, 102 + LOGIN_FLOW_SECONDS));
}

static void texts(void **state)
{
	static const char *const extra[] = { "hd", "example.com", "state", "mine", "a b",
					     "\xc3\xa9" };
	const struct login_provider p = { .authorization = ISSUER "/auth" };
	const struct login_provider q = { .authorization = ISSUER "/auth?tenant=1" };
	const struct login_client c = {
		.client_id = "war ren", .redirect_uri = "https://hq.example.com/oidc/callback",
		.scopes = "openid email", .extra = extra, .n_extra = 3,
	};
	static const char *const age[] = { "max_age", "9", "hd", "x" };
	const struct login_client aged = {
		.client_id = "c", .redirect_uri = "r", .scopes = "openid", .extra = age,
		.n_extra = 2,
	};
	/* RFC 7636 appendix B. */
	struct login_flow f = {
		.state = "S", .nonce = "N",
		.verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
	};
	AUTO(str_free) struct str url = STR_INIT, second = STR_INIT, body = STR_INIT;
	AUTO(str_free) struct str basic = STR_INIT, anew = STR_INIT;

	(void)state;
	login_flow_url(&p, &c, &f, &url);
	assert_string_equal(str_text(&url), ISSUER "/auth?response_type=code&client_id=war%20ren"
			    "&redirect_uri=https%3A%2F%2Fhq.example.com%2Foidc%2Fcallback"
			    "&scope=openid%20email&state=S&nonce=N&code_challenge="
			    "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
			    "&hd=example.com&a%20b=%C3%A9");
	login_flow_url(&q, &c, &f, &second);
	assert_true(str_starts(str_text(&second), ISSUER "/auth?tenant=1&response_type=code&"));
	/* Whoever is to sign in anew does so, whatever the configuration says. */
	f.anew = true;
	login_flow_url(&p, &aged, &f, &anew);
	assert_non_null(strstr(str_text(&anew), "&code_challenge_method=S256&max_age=0&hd=x"));
	assert_null(strstr(str_text(&anew), "max_age=9"));
	login_token_body(&c, &f, "x/y", &body);
	assert_string_equal(str_text(&body), "grant_type=authorization_code&code=x%2Fy"
			    "&redirect_uri=https%3A%2F%2Fhq.example.com%2Foidc%2Fcallback"
			    "&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
	login_basic("a:b", (const uint8_t *)"p w", 3, &basic);
	assert_string_equal(str_text(&basic), "Basic YSUzQWI6cCUyMHc=");	/* a%3Ab:p%20w */
}

static void queries(void **state)
{
	static const char *const wrong[] = {
		"/cb", "/cb?code=a&code=b", "/cb?code=%", "/cb?code=%4", "/cb?code=%zz",
		"/cb?code=%00", "/cb?state", "/cb?state=a&x=1&state=b",
	};
	struct login_query q;
	AUTO(str_free) struct str longest = STR_INIT;

	(void)state;
	assert_true(login_query_parse("/cb?code=a%2Fb+c&x=%zz&state=S&&iss=https%3a%2f%2fi", &q));
	assert_string_equal(q.code, "a/b c");
	assert_string_equal(q.state, "S");
	assert_string_equal(q.iss, "https://i");
	assert_string_equal(q.error, "");
	assert_true(login_query_parse("/cb?error=access_denied&state=S", &q));
	assert_string_equal(q.error, "access_denied");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		if (login_query_parse(wrong[i], &q))
			fail_msg("%s", wrong[i]);
		assert_string_equal(q.code, "");
	}
	str_add(&longest, "/cb?code=");
	for (int i = 0; i < LOGIN_VALUE - 1; i++)
		str_addc(&longest, 'a');
	assert_true(login_query_parse(str_text(&longest), &q));
	str_addc(&longest, 'a');
	assert_false(login_query_parse(str_text(&longest), &q));
}

static void cookies(void **state)
{
	char name[LOGIN_COOKIE_NAME], value[LOGIN_RANDOM];

	(void)state;
	login_cookie_name("abcdefgh", name);
	assert_string_equal(name, "warren-login-abcdef");
	assert_true(login_cookie_find("a=b; warren-login-abcdef=V; c=d", name, value));
	assert_string_equal(value, "V");
	assert_true(login_cookie_find("warren-login-abcdef=", name, value));
	assert_string_equal(value, "");
	assert_false(login_cookie_find("xwarren-login-abcdef=V", name, value));
	assert_false(login_cookie_find("warren-login-abcdefg=V", name, value));
	assert_false(login_cookie_find("; ;", name, value));
	assert_false(login_cookie_find(NULL, name, value));
	assert_false(login_cookie_find("warren-login-abcdef="
				       "0123456789012345678901234567890123456789abcd", name,
				       value));
}

static void discover(const char *json, const char *part)
{
	struct warren_err err = ERR_INIT;
	struct login_provider p;
	int rc = login_discovery_parse(json, strlen(json), ISSUER, &p, &err);

	if (!part && rc)
		fail_msg("%s", err_first(&err));
	if (part && (!rc || !strstr(err_first(&err), part) || p.token[0]))
		fail_msg("%s: %d", json, rc);
	err_free(&err);
}

#define OF(issuer, scheme, rest) "{\"issuer\":\"" issuer "\",\"authorization_endpoint\":\"" \
	ISSUER "/a\",\"token_endpoint\":\"" scheme "://id.example.com/t\",\"jwks_uri\":\""	\
	ISSUER "/k\"" rest "}"

static void discovery(void **state)
{
	char url[LOGIN_VALUE];

	(void)state;
	assert_true(login_discovery_url(ISSUER "/", url));
	assert_string_equal(url, ISSUER "/.well-known/openid-configuration");
	discover(OF(ISSUER, "https", ""), NULL);
	discover(OF(ISSUER, "https", ",\"userinfo_endpoint\":\"" ISSUER "/u\""), NULL);
	discover(OF(ISSUER "/", "https", ""), "differ by a slash");
	discover(OF(ISSUER, "http", ""), "token_endpoint");
	discover(OF(ISSUER, "ftp", ""), "token_endpoint");
	discover(OF(ISSUER, "https", ",\"userinfo_endpoint\":\"http://x/u\""), "userinfo_endpoint");
	discover("{\"issuer\":\"" ISSUER "\"}", "authorization_endpoint");
	discover("[]", "no JSON object");
	discover("", "no JSON object");
}

static void how_it_wants_us(void **state)
{
#define METHODS(list) ",\"token_endpoint_auth_methods_supported\":[" list "]"
	static const struct { const char *rest; bool post, says; } cases[] = {
		{ "", false, false },
		{ METHODS("\"client_secret_post\""), true, false },
		{ METHODS("\"client_secret_post\",\"client_secret_basic\""), false, false },
		{ METHODS("\"private_key_jwt\""), false, false },
		{ ",\"authorization_response_iss_parameter_supported\":true", false, true },
		{ ",\"authorization_response_iss_parameter_supported\":\"true\"", false, false },
	};
	struct str out = STR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct login_provider p;
		char json[1024];
		int n = snprintf(json, sizeof(json), OF(ISSUER, "https", "%s"), cases[i].rest);

		assert_int_equal(login_discovery_parse(json, (size_t)n, ISSUER, &p, NULL), 0);
		assert_int_equal(p.post, cases[i].post);
		assert_int_equal(p.says_iss, cases[i].says);
	}
	str_add(&out, "code=1");
	login_token_secret("a b", (const uint8_t *)"c/+", 3, &out);
	assert_string_equal(str_text(&out), "code=1&client_id=a%20b&client_secret=c%2F%2B");
	str_free(&out);
}

static void forms(void **state)
{
	(void)state;
	assert_true(login_form_says("answer=yes", "answer", "yes"));
	assert_true(login_form_says("x=1&answer=yes&y", "answer", "yes"));
	assert_false(login_form_says("", "answer", "yes"));
	assert_false(login_form_says("answer=yes2", "answer", "yes"));
	assert_false(login_form_says("answer=no", "answer", "yes"));
	assert_false(login_form_says("xanswer=yes", "answer", "yes"));
	assert_false(login_form_says("answer", "answer", "yes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(once, setup, teardown),
		cmocka_unit_test_setup_teardown(another_browser, setup, teardown),
		cmocka_unit_test_setup_teardown(too_late, setup, teardown),
		cmocka_unit_test_setup_teardown(many, setup, teardown),
		cmocka_unit_test(texts), cmocka_unit_test(queries), cmocka_unit_test(cookies),
		cmocka_unit_test(discovery), cmocka_unit_test(how_it_wants_us),
		cmocka_unit_test(forms),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
