/*
 * Logins under way, and discovery.
 */
#include "flow.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/str.h"

/*
 * ---- Discovery ----
 */

bool login_discovery_url(const char *issuer, char out[LOGIN_VALUE])
{
	size_t len = strlen(issuer);
	int n;

	while (len && issuer[len - 1] == '/')
		len--;
	n = len < LOGIN_VALUE ? snprintf(out, LOGIN_VALUE, "%.*s/.well-known/openid-configuration",
					 (int)len, issuer) : LOGIN_VALUE;
	return n < LOGIN_VALUE;
}

/* A URL that may be fetched, and is no less safe than the issuer. */
static bool read_endpoint(const json_t *doc, const char *key, bool tls, char out[LOGIN_VALUE])
{
	const char *text = json_string_value(json_object_get(doc, key));
	struct warren_url url;

	return text && warren_url_parse(text, &url, NULL) == 0 &&
	       (!tls || strcmp(url.scheme, "https") == 0) && str_copy(out, LOGIN_VALUE, text);
}

/* Not said: by Authorization (OpenID Connect Discovery 1.0 3). */
static bool wants_post(const json_t *doc)
{
	const json_t *list = json_object_get(doc, "token_endpoint_auth_methods_supported"), *one;
	bool post = false;
	size_t i;

	json_array_foreach(list, i, one) {
		if (str_equal(json_string_value(one), "client_secret_basic"))
			return false;
		post = post || str_equal(json_string_value(one), "client_secret_post");
	}
	return post;
}

static const char *read_discovery(const json_t *doc, const char *issuer,
				  struct login_provider *out)
{
	bool tls = str_starts(issuer, "https://");

	if (!str_equal(json_string_value(json_object_get(doc, "issuer")), issuer))
		return "it is that of another issuer; does `issuer` differ by a slash?";
	if (!read_endpoint(doc, "authorization_endpoint", tls, out->authorization))
		return "authorization_endpoint is absent or no URL for this";
	if (!read_endpoint(doc, "token_endpoint", tls, out->token))
		return "token_endpoint is absent or no URL for this";
	if (!read_endpoint(doc, "jwks_uri", tls, out->jwks))
		return "jwks_uri is absent or no URL for this";
	if (json_object_get(doc, "userinfo_endpoint") &&
	    !read_endpoint(doc, "userinfo_endpoint", tls, out->userinfo))
		return "userinfo_endpoint is no URL for this";
	out->post = wants_post(doc);
	out->says_iss = json_is_true(json_object_get(doc, "authorization_response_iss_parameter_"
							  "supported"));
	return str_copy(out->issuer, LOGIN_VALUE, issuer) ? NULL : "the issuer is too long";
}

int login_discovery_parse(const char *json, size_t len, const char *issuer,
			  struct login_provider *out, struct warren_err *err)
{
	json_t *doc = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
	const char *wrong;

	*out = (struct login_provider){ .issuer = "" };
	wrong = json_is_object(doc) ? read_discovery(doc, issuer, out) : "it is no JSON object";
	json_decref(doc);
	if (!wrong)
		return 0;
	*out = (struct login_provider){ .issuer = "" };
	return warren_fail(err, NULL, "the description of the login provider %s cannot be used: "
			   "%s", issuer, wrong);
}

/*
 * ---- Under way ----
 */

struct login_flows {
	uint32_t n;			/* the oldest first */
	struct login_flow at[LOGIN_FLOWS];
};

struct login_flows *login_flows_new(void)
{
	return calloc(1, sizeof(struct login_flows));
}

void login_flows_forget(struct login_flows *flows)
{
	sodium_memzero(flows, sizeof(*flows));
}

void login_flows_free(struct login_flows *flows)
{
	if (flows)
		login_flows_forget(flows);
	free(flows);
}

static void drop(struct login_flows *flows, uint32_t i)
{
	flows->n--;
	memmove(&flows->at[i], &flows->at[i + 1], (flows->n - i) * sizeof(flows->at[0]));
	sodium_memzero(&flows->at[flows->n], sizeof(flows->at[0]));
}

static void drop_old(struct login_flows *flows, int64_t now)
{
	while (flows->n && flows->at[0].until <= now)
		drop(flows, 0);
}

void login_random(char out[LOGIN_RANDOM])
{
	uint8_t bytes[32];

	randombytes_buf(bytes, sizeof(bytes));
	sodium_bin2base64(out, LOGIN_RANDOM, bytes, sizeof(bytes),
			  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(bytes, sizeof(bytes));
}

const struct login_flow *login_flow_begin(struct login_flows *flows, const char *code, bool anew,
					  int64_t now)
{
	struct login_flow *flow;
	uint32_t of_this = 0, oldest = 0;

	drop_old(flows, now);
	for (uint32_t i = 0; i < flows->n; i++) {
		if (strcmp(flows->at[i].code, code) == 0 && of_this++ == 0)
			oldest = i;
	}
	if (of_this >= LOGIN_FLOWS_EACH)
		drop(flows, oldest);
	if (flows->n == LOGIN_FLOWS)
		return NULL;
	flow = &flows->at[flows->n];
	if (!str_copy(flow->code, sizeof(flow->code), code))
		return NULL;
	flows->n++;
	flow->until = now + LOGIN_FLOW_SECONDS;
	flow->anew = anew;
	login_random(flow->state);
	login_random(flow->nonce);
	login_random(flow->verifier);
	login_random(flow->cookie);
	return flow;
}

bool login_same(const char *a, const char *b)
{
	return strlen(a) == LOGIN_RANDOM - 1 && strlen(b) == LOGIN_RANDOM - 1 &&
	       sodium_memcmp(a, b, LOGIN_RANDOM) == 0;
}

bool login_flow_take(struct login_flows *flows, const char *state, const char *cookie,
		     int64_t now, struct login_flow *out)
{
	drop_old(flows, now);
	for (uint32_t i = 0; i < flows->n; i++) {
		if (!login_same(flows->at[i].state, state))
			continue;
		*out = flows->at[i];
		drop(flows, i);
		if (cookie && login_same(out->cookie, cookie))
			return true;
		break;
	}
	sodium_memzero(out, sizeof(*out));
	return false;
}
