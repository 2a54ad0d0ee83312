/*
 * ID tokens as a provider signs them, and as others would forge them. Keys and signatures are
 * made here, by libcjose; what is not signed, or signed otherwise, is put together by hand.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjose/cjose.h>
#include <cmocka.h>

#include "../token.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

#define ISSUER "https://accounts.example.com"
enum { NOW = 1800000000 };

static cjose_jwk_t *rsa, *rsa2, *ec, *small;
static struct login_keys *keys;		/* rsa as "a", ec as "e" */

/*
 * ---- A provider ----
 */

static cjose_jwk_t *make_rsa(size_t bits, const char *kid)
{
	cjose_jwk_t *jwk = cjose_jwk_create_RSA_random(bits, (const uint8_t *)"\x01\x00\x01", 3,
						       NULL);

	assert_non_null(jwk);
	assert_true(cjose_jwk_set_kid(jwk, kid, strlen(kid), NULL));
	return jwk;
}

static json_t *public_of(cjose_jwk_t *jwk)
{
	char *text = cjose_jwk_to_json(jwk, false, NULL);
	json_t *o = json_loads(text, 0, NULL);

	assert_non_null(o);
	cjose_get_dealloc()(text);
	return o;
}

/* Takes @list. */
static struct login_keys *parse(json_t *list, struct warren_err *err)
{
	json_t *doc = json_pack("{s:o}", "keys", list);
	char *text = json_dumps(doc, 0);
	struct login_keys *out = login_keys_parse(text, strlen(text), err);

	free(text);
	json_decref(doc);
	return out;
}

static int setup(void **state)
{
	(void)state;
	rsa = make_rsa(2048, "a");
	rsa2 = make_rsa(2048, "a");
	small = make_rsa(1024, "s");
	ec = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, NULL);
	assert_true(ec && cjose_jwk_set_kid(ec, "e", 1, NULL));
	keys = parse(json_pack("[o,o]", public_of(rsa), public_of(ec)), NULL);
	assert_non_null(keys);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	login_keys_free(keys);
	cjose_jwk_release(rsa);
	cjose_jwk_release(rsa2);
	cjose_jwk_release(small);
	cjose_jwk_release(ec);
	return 0;
}

static json_t *claims_new(void)
{
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:s,s:b,s:s}", "iss", ISSUER, "sub",
			      "8", "aud", "warren", "nonce", "n-1", "exp", NOW + 300, "iat",
			      NOW - 5, "email", "Wells@Example.com", "email_verified", 1, "name",
			      "Allan Wells");

	assert_non_null(o);
	return o;
}

static char *sign(cjose_jwk_t *jwk, const char *alg, const char *kid, const json_t *claims)
{
	char *text = json_dumps(claims, JSON_COMPACT), *out;
	cjose_header_t *header = cjose_header_new(NULL);
	const char *token;
	cjose_jws_t *jws;

	assert_true(cjose_header_set(header, CJOSE_HDR_ALG, alg, NULL));
	if (kid)
		assert_true(cjose_header_set(header, CJOSE_HDR_KID, kid, NULL));
	jws = cjose_jws_sign(jwk, header, (const uint8_t *)text, strlen(text), NULL);
	assert_non_null(jws);
	assert_true(cjose_jws_export(jws, &token, NULL));
	out = strdup(token);
	cjose_jws_release(jws);
	cjose_header_release(header);
	free(text);
	return out;
}

static void add_base64(struct str *out, const char *text)
{
	char *encoded;
	size_t len;

	assert_true(cjose_base64url_encode((const uint8_t *)text, strlen(text), &encoded, &len,
					   NULL));
	str_addn(out, encoded, len);
	cjose_get_dealloc()(encoded);
}

/*
 * ---- Looking at one ----
 */

static int verify_text(const char *token, json_t **claims, struct str *why)
{
	const struct login_expect expect = {
		.issuer = ISSUER, .client_id = "warren", .nonce = "n-1", .now = NOW,
	};
	struct warren_err err = ERR_INIT;
	int rc = login_token_verify(keys, token, strlen(token), &expect, claims, &err);

	str_add(why, rc ? err_first(&err) : "");
	err_free(&err);
	assert_true(!rc == !!*claims);
	return rc;
}

static void refused(const char *token, int result, const char *part)
{
	AUTO(str_free) struct str why = STR_INIT;
	json_t *claims;
	int rc = verify_text(token, &claims, &why);

	if (rc != result || !strstr(str_text(&why), part))
		fail_msg("%d, \"%s\" instead of %d, \"%s\"", rc, str_text(&why), result, part);
}

static void good(const char *token)
{
	AUTO(str_free) struct str why = STR_INIT;
	json_t *claims;

	if (verify_text(token, &claims, &why))
		fail_msg("refused: %s", str_text(&why));
	assert_string_equal(json_string_value(json_object_get(claims, "sub")), "8");
	json_decref(claims);
}

/* With @key as @value (taken; NULL: absent), signed as it should be. */
static char *with(const char *key, json_t *value)
{
	json_t *claims = claims_new();
	char *token;

	if (value)
		json_object_set_new(claims, key, value);
	else
		json_object_del(claims, key);
	token = sign(rsa, "RS256", "a", claims);
	json_decref(claims);
	return token;
}

static void refused_with(const char *key, json_t *value, const char *part)
{
	AUTO(auto_free) char *token = with(key, value);

	refused(token, -EACCES, part);
}

static void good_with(const char *key, json_t *value)
{
	AUTO(auto_free) char *token = with(key, value);

	good(token);
}

/*
 * ---- Tests ----
 */

static void every_algorithm(void **state)
{
	static const char *const of_rsa[] = { "RS256", "RS384", "RS512", "PS256", "PS384",
					      "PS512" };
	json_t *claims = claims_new();
	char *token;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(of_rsa); i++) {
		token = sign(rsa, of_rsa[i], "a", claims);
		good(token);
		free(token);
	}
	token = sign(ec, "ES256", "e", claims);
	good(token);
	free(token);
	token = sign(rsa, "RS256", NULL, claims);	/* any key of the kind */
	good(token);
	free(token);
	json_decref(claims);
}

/* Signed by somebody else, by nobody, or with the public key as a secret. */
static void forged(void **state)
{
	json_t *claims = claims_new(), *public = public_of(rsa);
	char *body = json_dumps(claims, JSON_COMPACT), *secret = json_dumps(public, 0), *token;
	cjose_jwk_t *oct = cjose_jwk_create_oct_spec((const uint8_t *)secret, strlen(secret),
						     NULL);
	struct str s = STR_INIT;

	(void)state;
	token = sign(rsa2, "RS256", "a", claims);
	refused(token, -EACCES, "the signature is wrong");
	free(token);
	token = sign(rsa2, "RS256", "b", claims);	/* perhaps a new key */
	refused(token, -ESTALE, "none of the provider's keys");
	free(token);
	token = sign(rsa2, "RS256", NULL, claims);
	refused(token, -ESTALE, "none of the provider's keys");
	free(token);
	token = sign(rsa, "RS256", "e", claims);	/* an EC key has that name */
	refused(token, -ESTALE, "none of the provider's keys");
	free(token);
	token = sign(oct, "HS256", "a", claims);
	refused(token, -EACCES, "of no kind that we accept");
	free(token);
	add_base64(&s, "{\"alg\":\"none\"}");
	str_addc(&s, '.');
	add_base64(&s, body);
	str_addc(&s, '.');
	refused(str_text(&s), -EACCES, "refused");
	cjose_jwk_release(oct);
	json_decref(claims);
	json_decref(public);
	free(body);
	free(secret);
	str_free(&s);
}

static void tampered(void **state)
{
	AUTO(auto_free) char *token = with("nonce", json_string("n-1"));
	size_t len = strlen(token), dot = strcspn(token, ".");
	static const char *const wrecks[] = { "", ".", "..", "...", "a.b.c", "e30.e30.e30",
					      "e30..", "!.!.!",
					      "e30.e30.e", "e3\xee.e30.e30",
					      "e30.e30.e30=", "eyJhbGciOiJSUzI1NiJ9" };

	(void)state;
	good(token);
	/* One letter of each part; the last of all may hold bits that mean nothing. */
	for (size_t at = 0; at < len - 1; at += 7) {
		char was = token[at];
		json_t *claims;
		AUTO(str_free) struct str why = STR_INIT;

		token[at] = was == 'A' ? 'B' : 'A';
		if (was != '.')
			assert_int_not_equal(verify_text(token, &claims, &why), 0);
		token[at] = was;
	}
	token[dot + 40] = '\0';
	refused(token, -EACCES, "no signed token");
	for (size_t i = 0; i < ARRAY_SIZE(wrecks); i++)
		refused(wrecks[i], -EACCES, "refused");
}

static void critical(void **state)
{
	json_t *claims = claims_new();
	cjose_header_t *header = cjose_header_new(NULL);
	AUTO(auto_free) char *body = json_dumps(claims, 0);
	const char *token;
	cjose_jws_t *jws;

	(void)state;
	assert_true(cjose_header_set(header, CJOSE_HDR_ALG, "RS256", NULL));
	assert_true(cjose_header_set_raw(header, "crit", "[\"b64\"]", NULL));
	jws = cjose_jws_sign(rsa, header, (const uint8_t *)body, strlen(body), NULL);
	assert_non_null(jws);
	assert_true(cjose_jws_export(jws, &token, NULL));
	refused(token, -EACCES, "critical extensions");
	cjose_jws_release(jws);
	cjose_header_release(header);
	json_decref(claims);
}

static void whose_and_for_whom(void **state)
{
	(void)state;
	refused_with("iss", json_string("https://accounts.example.org"), "of another issuer");
	refused_with("iss", json_string(ISSUER "/"), "of another issuer");
	refused_with("iss", NULL, "of another issuer");
	refused_with("aud", json_string("other"), "for another client");
	refused_with("aud", NULL, "for another client");
	refused_with("aud", json_pack("[s,s]", "other", "third"), "for another client");
	refused_with("aud", json_pack("[s,s]", "warren", "other"), "for another client");
	refused_with("azp", json_string("other"), "for another client");
	good_with("aud", json_pack("[s]", "warren"));
	good_with("azp", json_string("warren"));
	refused_with("nonce", json_string("n-2"), "the answer to another login");
	refused_with("nonce", NULL, "the answer to another login");
	refused_with("nonce", json_integer(1), "the answer to another login");
	refused_with("sub", NULL, "who it is about");
	refused_with("sub", json_string(""), "who it is about");
	refused_with("sub", json_integer(8), "who it is about");
}

static void when(void **state)
{
	(void)state;
	refused_with("exp", json_integer(NOW - LOGIN_SKEW), "has expired");
	good_with("exp", json_integer(NOW - LOGIN_SKEW + 1));
	refused_with("exp", NULL, "from when to when");
	refused_with("exp", json_string("1900000000"), "from when to when");
	refused_with("iat", json_integer(NOW + LOGIN_SKEW + 1), "from the future");
	refused_with("iat", NULL, "from when to when");
	refused_with("nbf", json_integer(NOW + LOGIN_SKEW + 1), "not good yet");
	refused_with("nbf", json_true(), "not good yet");
	good_with("nbf", json_integer(NOW));
}

static void key_sets(void **state)
{
	struct warren_err err = ERR_INIT;
	struct login_keys *set;
	json_t *o = public_of(rsa);

	(void)state;
	assert_null(login_keys_parse("{}", 2, &err));
	assert_null(login_keys_parse("[", 1, NULL));
	assert_null(parse(json_array(), NULL));
	assert_non_null(strstr(err_first(&err), "no JWKS document"));
	err_free(&err);
	assert_null(parse(json_pack("[o]", public_of(small)), NULL));
	json_object_set_new(o, "use", json_string("enc"));
	assert_null(parse(json_pack("[O]", o), NULL));
	json_object_set_new(o, "use", json_string("sig"));
	/* A key of a kind to come is no reason to refuse the others. */
	set = parse(json_pack("[{s:s},O,i]", "kty", "OKP", o, 7), NULL);
	assert_non_null(set);
	assert_int_equal(login_keys_count(set), 1);
	login_keys_free(set);
	json_object_set_new(o, "n", json_string("not base64\xc3\xae"));
	assert_null(parse(json_pack("[O]", o), NULL));
	json_object_set_new(o, "n", json_integer(3));
	assert_null(parse(json_pack("[O]", o), NULL));
	json_decref(o);
}

/* A key that says its algorithm is for that one only. */
static void key_algorithm(void **state)
{
	json_t *o = public_of(rsa), *claims = claims_new();
	struct login_keys *before = keys;
	AUTO(auto_free) char *other = sign(rsa, "PS256", "a", claims);
	AUTO(auto_free) char *same = sign(rsa, "RS256", "a", claims);

	(void)state;
	json_object_set_new(o, "alg", json_string("RS256"));
	keys = parse(json_pack("[o]", o), NULL);
	assert_non_null(keys);
	good(same);
	refused(other, -ESTALE, "none of the provider's keys");
	login_keys_free(keys);
	keys = before;
	json_decref(claims);
}

/*
 * ---- Users ----
 */

static struct login_user user;

static int read_user(json_t *claims, const struct login_gate *gate, const char *part)
{
	struct warren_err err = ERR_INIT;
	int rc = login_user_read(ISSUER, claims, NULL, gate, &user, &err);

	if (part && !strstr(rc ? err_first(&err) : "", part))
		fail_msg("%d: %s", rc, rc ? err_first(&err) : "accepted");
	err_free(&err);
	return rc;
}

static void who(void **state)
{
	const struct login_gate open = { .domains = NULL };
	json_t *c = claims_new();

	(void)state;
	assert_int_equal(read_user(c, &open, NULL), 0);
	assert_string_equal(user.subject, ISSUER " 8");
	assert_string_equal(user.login, "Wells@Example.com");
	assert_string_equal(user.display, "Allan Wells");
	assert_int_equal(user.expiry, NOW + 300);
	login_user_free(&user);
	json_object_set_new(c, "email_verified", json_string("true"));
	assert_int_equal(read_user(c, &open, NULL), 0);
	assert_string_equal(user.email, "Wells@Example.com");
	login_user_free(&user);
	/* What a user may have typed at the provider is no name that a policy could know. */
	json_object_set_new(c, "email_verified", json_false());
	json_object_set_new(c, "preferred_username", json_string("root"));
	json_object_set_new(c, "sub", json_string("a@b c"));
	json_object_set_new(c, "picture", json_string("javascript:alert(1)"));
	assert_int_equal(read_user(c, &open, NULL), 0);
	assert_string_equal(user.login, "a_b_c@accounts.example.com");
	assert_string_equal(user.email, "");
	assert_string_equal(user.picture, "");
	login_user_free(&user);
	json_object_set_new(c, "email_verified", json_true());
	json_object_set_new(c, "email", json_string("a@b@c"));
	assert_int_equal(read_user(c, &open, NULL), 0);
	assert_string_equal(user.email, "");
	login_user_free(&user);
	json_decref(c);
}

static void gates(void **state)
{
	static const char *const domains[] = { "example.com" }, *const groups[] = { "net" };
	const struct login_gate domain = { .domains = domains, .n_domains = 1 };
	const struct login_gate both = { .domains = domains, .n_domains = 1, .groups = groups,
					 .n_groups = 1, .groups_claim = "roles" };
	const struct login_gate email = { .require_email = true };
	static const char *const users[] = { "wells@example.com" };
	const struct login_gate named = { .users = users, .n_users = 1 };
	json_t *c = claims_new(), *many = json_array();

	(void)state;
	assert_int_equal(read_user(c, &domain, NULL), 0);
	login_user_free(&user);
	assert_int_equal(read_user(c, &named, NULL), 0);
	login_user_free(&user);
	assert_int_equal(read_user(c, &both, "none of the groups"), -EACCES);
	login_user_free(&user);
	json_object_set_new(c, "roles", json_string("net"));
	assert_int_equal(read_user(c, &both, NULL), 0);
	assert_int_equal(user.n_groups, 1);
	login_user_free(&user);
	json_object_set_new(c, "roles", json_pack("[s,i,s]", "x", 7, "net"));
	assert_int_equal(read_user(c, &both, NULL), 0);
	assert_int_equal(user.n_groups, 2);
	login_user_free(&user);
	json_object_set_new(c, "email", json_string("w@sub.example.com"));
	assert_int_equal(read_user(c, &named, "none of the users"), -EACCES);
	login_user_free(&user);
	assert_int_equal(read_user(c, &both, "of your domain"), -EACCES);
	login_user_free(&user);
	json_object_set_new(c, "email", json_string("w@example.com"));
	json_object_del(c, "email_verified");
	assert_int_equal(read_user(c, &domain, "has not verified"), -EACCES);
	login_user_free(&user);
	assert_int_equal(read_user(c, &email, "has not verified"), -EACCES);
	login_user_free(&user);
	for (int i = 0; i < 513; i++)
		json_array_append_new(many, json_string("net"));
	json_object_set_new(c, "roles", many);
	json_object_set_new(c, "email_verified", json_true());
	assert_int_equal(read_user(c, &both, "more groups"), -EACCES);
	login_user_free(&user);
	json_decref(c);
}

static void userinfo(void **state)
{
	json_t *c = claims_new();
	json_t *info = json_pack("{s:s,s:s,s:i,s:s,s:[s]}", "sub", "8", "email", "x@example.org",
				 "exp", 2000000000, "iss", "https://evil.example", "groups", "net");

	(void)state;
	assert_int_equal(login_claims_merge(c, info, NULL), 0);
	assert_string_equal(json_string_value(json_object_get(c, "email")), "x@example.org");
	/* The flag of the token was about the token's address. */
	assert_null(json_object_get(c, "email_verified"));
	assert_string_equal(json_string_value(json_object_get(c, "iss")), ISSUER);
	assert_int_equal(json_integer_value(json_object_get(c, "exp")), NOW + 300);
	assert_int_equal(json_array_size(json_object_get(c, "groups")), 1);
	json_object_set_new(info, "sub", json_string("9"));
	assert_int_equal(login_claims_merge(c, info, NULL), -EACCES);
	json_object_del(info, "sub");
	assert_int_equal(login_claims_merge(c, info, NULL), -EACCES);
	json_decref(c);
	json_decref(info);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_algorithm), cmocka_unit_test(forged),
		cmocka_unit_test(tampered), cmocka_unit_test(critical),
		cmocka_unit_test(whose_and_for_whom), cmocka_unit_test(when),
		cmocka_unit_test(key_sets), cmocka_unit_test(key_algorithm),
		cmocka_unit_test(who), cmocka_unit_test(gates), cmocka_unit_test(userinfo),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
