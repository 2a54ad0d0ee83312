/*
 * ID tokens: signature and claims.
 */
#include "token.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cjose/cjose.h>

#include "base/str.h"
#include "base/util.h"

struct key {
	cjose_jwk_t *jwk;
	cjose_jwk_kty_t kty;
	char *alg;			/* or NULL: any of its kind */
};
struct login_keys {
	uint32_t n;
	struct key at[LOGIN_KEYS_MAX];
};

static int refuse(struct warren_err *err, const char *why)
{
	return warren_fail_key(err, -EACCES, NULL, NULL, "the provider's answer is refused: %s",
			       why);
}

/*
 * libcjose 0.6.2 aborts by an assertion on bytes that are no base64url: it gets to see none. Whole,
 * not empty, no padding (RFC 7515 2).
 */
static bool is_base64url(const char *text, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789-_";

	for (size_t i = 0; i < len; i++) {
		if (!text[i] || !strchr(digits, text[i]))
			return false;
	}
	return len && len % 4 != 1;
}

/* Three parts of it. */
static bool is_compact(const char *token, size_t len)
{
	const char *end = token + len, *one = memchr(token, '.', len);
	const char *two = one ? memchr(one + 1, '.', (size_t)(end - one - 1)) : NULL;

	return two && is_base64url(token, (size_t)(one - token)) &&
	       is_base64url(one + 1, (size_t)(two - one - 1)) &&
	       is_base64url(two + 1, (size_t)(end - two - 1));
}

/*
 * ---- Keys ----
 */

void login_keys_free(struct login_keys *keys)
{
	for (uint32_t i = 0; keys && i < keys->n; i++) {
		cjose_jwk_release(keys->at[i].jwk);
		free(keys->at[i].alg);
	}
	free(keys);
}

uint32_t login_keys_count(const struct login_keys *keys)
{
	return keys->n;
}

static bool is_for_signatures(const json_t *o)
{
	const json_t *use = json_object_get(o, "use"), *ops = json_object_get(o, "key_ops"), *op;
	size_t i;

	if (use && !str_equal(json_string_value(use), "sig"))
		return false;
	if (!ops)
		return true;
	json_array_foreach(ops, i, op) {
		if (str_equal(json_string_value(op), "verify"))
			return true;
	}
	return false;
}

/* Nothing but the public key and its name, of digits that are sound. NULL: it is none. */
static json_t *pure_key(const json_t *o, bool rsa)
{
	static const char *const of_rsa[] = { "n", "e" }, *const of_ec[] = { "x", "y" };
	const json_t *kid = json_object_get(o, "kid"), *crv = json_object_get(o, "crv");
	json_t *pure = json_pack("{s:s}", "kty", rsa ? "RSA" : "EC");
	bool ok = pure && (rsa || json_is_string(crv));

	for (size_t i = 0; ok && i < 2; i++) {
		const char *name = rsa ? of_rsa[i] : of_ec[i];
		json_t *value = json_object_get(o, name);

		ok = json_is_string(value) && is_base64url(json_string_value(value),
							   json_string_length(value)) &&
		     json_object_set(pure, name, value) == 0;
	}
	if (ok && !rsa)
		ok = json_object_set_new(pure, "crv", json_string(json_string_value(crv))) == 0;
	if (ok && json_is_string(kid))
		ok = json_object_set_new(pure, "kid", json_string(json_string_value(kid))) == 0;
	if (ok)
		return pure;
	json_decref(pure);
	return NULL;
}

/* False: this one is left out. */
static bool key_read(const json_t *o, struct key *out)
{
	const char *kty = json_string_value(json_object_get(o, "kty"));
	const char *alg = json_string_value(json_object_get(o, "alg"));
	json_t *pure;
	char *text;

	if (!kty || (strcmp(kty, "RSA") != 0 && strcmp(kty, "EC") != 0) || !is_for_signatures(o))
		return false;
	pure = pure_key(o, kty[0] == 'R');
	text = pure ? json_dumps(pure, JSON_COMPACT) : NULL;
	json_decref(pure);
	if (!text)
		return false;
	*out = (struct key){ .jwk = cjose_jwk_import(text, strlen(text), NULL) };
	free(text);
	if (!out->jwk)
		return false;
	out->kty = cjose_jwk_get_kty(out->jwk, NULL);
	out->alg = alg ? strdup(alg) : NULL;
	if ((alg && !out->alg) ||
	    (out->kty == CJOSE_JWK_KTY_RSA &&
	     cjose_jwk_get_keysize(out->jwk, NULL) < LOGIN_RSA_BITS)) {
		cjose_jwk_release(out->jwk);
		free(out->alg);
		return false;
	}
	return true;
}

struct login_keys *login_keys_parse(const char *json, size_t len, struct warren_err *err)
{
	json_t *doc = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL), *o;
	const json_t *list = json_object_get(doc, "keys");
	struct login_keys *keys = calloc(1, sizeof(*keys));
	size_t i;

	json_array_foreach(list, i, o) {
		if (keys && keys->n < LOGIN_KEYS_MAX && key_read(o, &keys->at[keys->n]))
			keys->n++;
	}
	if (keys && keys->n) {
		json_decref(doc);
		return keys;
	}
	warren_fail(err, NULL, "%s", !keys ? "there is no memory for the provider's keys" :
		    json_is_array(list) ? "the provider has no key that we could use: RSA of 2048 "
		    "bits at least, or EC" : "the provider's keys are no JWKS document");
	json_decref(doc);
	login_keys_free(keys);
	return NULL;
}

/*
 * ---- Signatures ----
 */

/* What is not here is refused: "none", and HMAC, for which a public key would be the secret. */
static const struct {
	const char *name;
	cjose_jwk_kty_t kty;
} algorithms[] = {
	{ "RS256", CJOSE_JWK_KTY_RSA }, { "RS384", CJOSE_JWK_KTY_RSA },
	{ "RS512", CJOSE_JWK_KTY_RSA }, { "PS256", CJOSE_JWK_KTY_RSA },
	{ "PS384", CJOSE_JWK_KTY_RSA }, { "PS512", CJOSE_JWK_KTY_RSA },
	{ "ES256", CJOSE_JWK_KTY_EC }, { "ES384", CJOSE_JWK_KTY_EC },
	{ "ES512", CJOSE_JWK_KTY_EC },
};

static bool algorithm_find(const char *name, cjose_jwk_kty_t *kty)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(algorithms); i++) {
		if (strcmp(algorithms[i].name, name) == 0) {
			*kty = algorithms[i].kty;
			return true;
		}
	}
	return false;
}

static bool key_fits(const struct key *key, const char *alg, cjose_jwk_kty_t kty, const char *kid)
{
	const char *own = cjose_jwk_get_kid(key->jwk, NULL);

	return key->kty == kty && (!key->alg || strcmp(key->alg, alg) == 0) &&
	       (!kid || (own && strcmp(own, kid) == 0));
}

/* The protected header: what stands before the first dot. NULL: none. */
static json_t *read_header(const char *token, size_t len)
{
	const char *dot = memchr(token, '.', len);
	json_t *header = NULL;
	uint8_t *text;
	size_t n;

	if (!dot || !cjose_base64url_decode(token, (size_t)(dot - token), &text, &n, NULL))
		return NULL;
	header = json_loadb((const char *)text, n, JSON_REJECT_DUPLICATES, NULL);
	cjose_get_dealloc()(text);
	if (json_is_object(header))
		return header;
	json_decref(header);
	return NULL;
}

/* Without `kid` any key of the kind may be it, as providers with one key do. */
static int check_signature(const struct login_keys *keys, cjose_jws_t *jws, const json_t *header,
			   struct warren_err *err)
{
	const char *alg = json_string_value(json_object_get(header, "alg"));
	const char *kid = json_string_value(json_object_get(header, "kid"));
	cjose_jwk_kty_t kty;
	bool tried = false;

	if (!algorithm_find(alg, &kty))
		return refuse(err, "its signature is of no kind that we accept");
	if (json_object_get(header, "crit"))
		return refuse(err, "its signature has critical extensions");
	for (uint32_t i = 0; i < keys->n; i++) {
		if (!key_fits(&keys->at[i], alg, kty, kid))
			continue;
		tried = true;
		if (cjose_jws_verify(jws, keys->at[i].jwk, NULL))
			return 0;
	}
	if (!tried || !kid)
		return warren_fail_key(err, -ESTALE, NULL, NULL, "the provider's answer is "
				       "refused: none of the provider's keys has signed it");
	return refuse(err, "the signature is wrong");
}

/*
 * ---- Claims ----
 */

static bool is_time(const json_t *claims, const char *key, double *out)
{
	const json_t *value = json_object_get(claims, key);

	*out = json_number_value(value);
	return json_is_number(value);
}

/* One audience is us; where there are several, or `azp` is said, we are who asked. */
static bool is_for_us(const json_t *claims, const char *client_id)
{
	const json_t *aud = json_object_get(claims, "aud"), *azp = json_object_get(claims, "azp");
	bool found = str_equal(json_string_value(aud), client_id);
	json_t *one;
	size_t i;

	json_array_foreach(aud, i, one)
		found = found || str_equal(json_string_value(one), client_id);
	if (!found || (json_array_size(aud) > 1 && !azp))
		return false;
	return !azp || str_equal(json_string_value(azp), client_id);
}

static const char *wrong_time(const json_t *claims, int64_t now)
{
	double exp, iat, nbf, t = (double)now;

	if (!is_time(claims, "exp", &exp) || !is_time(claims, "iat", &iat))
		return "it does not say from when to when it is good";
	if (t >= exp + LOGIN_SKEW)
		return "it has expired; is this machine's clock right?";
	if (iat > t + LOGIN_SKEW)
		return "it is from the future; is this machine's clock right?";
	if (json_object_get(claims, "nbf") &&
	    (!is_time(claims, "nbf", &nbf) || nbf > t + LOGIN_SKEW))
		return "it is not good yet; is this machine's clock right?";
	return NULL;
}

static const char *wrong_claim(const json_t *claims, const struct login_expect *expect)
{
	const char *sub = json_string_value(json_object_get(claims, "sub"));

	if (!str_equal(json_string_value(json_object_get(claims, "iss")), expect->issuer))
		return "it is of another issuer";
	if (!is_for_us(claims, expect->client_id))
		return "it is for another client";
	if (!expect->nonce || !expect->nonce[0] ||
	    !str_equal(json_string_value(json_object_get(claims, "nonce")), expect->nonce))
		return "it is the answer to another login";
	if (!sub || !sub[0] || strlen(sub) > LOGIN_SUB_MAX)
		return "it does not say who it is about";
	return wrong_time(claims, expect->now);
}

static json_t *read_claims(cjose_jws_t *jws)
{
	uint8_t *text;
	size_t len;
	json_t *claims;

	if (!cjose_jws_get_plaintext(jws, &text, &len, NULL))
		return NULL;
	claims = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(claims))
		return claims;
	json_decref(claims);
	return NULL;
}

static int read_jws(const struct login_keys *keys, cjose_jws_t *jws, const json_t *header,
		    const struct login_expect *expect, json_t **claims, struct warren_err *err)
{
	const char *wrong;
	int rc = check_signature(keys, jws, header, err);

	if (rc)
		return rc;
	*claims = read_claims(jws);
	if (!*claims)
		return refuse(err, "what is signed is no set of claims");
	wrong = wrong_claim(*claims, expect);
	if (!wrong)
		return 0;
	json_decref(*claims);
	*claims = NULL;
	return refuse(err, wrong);
}

int login_token_verify(const struct login_keys *keys, const char *token, size_t len,
		       const struct login_expect *expect, json_t **claims,
		       struct warren_err *err)
{
	json_t *header;
	cjose_jws_t *jws;
	int rc;

	*claims = NULL;
	if (len > LOGIN_TOKEN_MAX)
		return refuse(err, "its ID token is longer than 64 KiB");
	if (!is_compact(token, len))
		return refuse(err, "its ID token is no signed token");
	header = read_header(token, len);
	jws = header ? cjose_jws_import(token, len, NULL) : NULL;
	rc = jws ? read_jws(keys, jws, header, expect, claims, err) :
		   refuse(err, "its ID token is no signed token");
	if (jws)
		cjose_jws_release(jws);
	json_decref(header);
	return rc;
}

/* What was signed about the token itself is not for userinfo to say. */
static bool is_of_the_token(const char *key)
{
	static const char *const names[] = {
		"iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "azp", "auth_time", "at_hash",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], key) == 0)
			return true;
	}
	return false;
}

int login_claims_merge(json_t *claims, json_t *userinfo, struct warren_err *err)
{
	const char *sub = json_string_value(json_object_get(userinfo, "sub")), *key;
	json_t *value;

	if (!sub || !str_equal(sub, json_string_value(json_object_get(claims, "sub"))))
		return refuse(err, "its userinfo is about somebody else");
	/* A flag belongs to the address that stands beside it. */
	if (json_object_get(userinfo, "email"))
		json_object_del(claims, "email_verified");
	json_object_foreach(userinfo, key, value) {
		if (!is_of_the_token(key) && json_object_set(claims, key, value))
			return -ENOMEM;
	}
	return 0;
}
