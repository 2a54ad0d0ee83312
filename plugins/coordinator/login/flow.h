/*
 * login/flow.h - logins at a provider that are under way, and the texts that go to and fro
 *
 * Functions of nothing but their arguments and random bytes: no network, no clock. One lane.
 *
 * The code flow of OpenID Connect Core 1.0 3.1 and RFC 6749 4.1 with PKCE (RFC 7636, S256 only):
 * begin, send the browser to login_flow_url() with the cookie; it comes back to our callback with
 * login_query_parse(); take; exchange the code with login_token_body(); token.h does the rest.
 */
#ifndef WARREN_COORDINATOR_LOGIN_FLOW_H
#define WARREN_COORDINATOR_LOGIN_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/net.h>

#include "../tailnet/tailnet.h"

struct str;

enum {
	LOGIN_RANDOM = 44,		/* 32 random bytes as base64url, NUL */
	LOGIN_COOKIE_NAME = 32,
	LOGIN_FLOWS = 4096,		/* under way at once */
	LOGIN_FLOWS_EACH = 8,		/* of one device: tabs of a browser */
	LOGIN_FLOW_SECONDS = 600,
	LOGIN_VALUE = 2048,		/* bytes of a value in a query, with its NUL */
	LOGIN_SECRET = 4096,		/* bytes of a client's secret */
	LOGIN_QUERY = 16 << 10,		/* bytes of a query */
};

/*
 * ---- What the provider says of itself: OpenID Connect Discovery 1.0 section 4 ----
 */

struct login_provider {
	char issuer[LOGIN_VALUE];	/* byte for byte as configured */
	char authorization[LOGIN_VALUE], token[LOGIN_VALUE], jwks[LOGIN_VALUE];
	char userinfo[LOGIN_VALUE];	/* or "" */
	bool post;			/* wants the client's secret in the form */
	bool says_iss;			/* its answers by way of the browser name it (RFC 9207) */
};
/* ISSUER/.well-known/openid-configuration; false: too long. */
bool login_discovery_url(const char *issuer, char out[LOGIN_VALUE]);
/*
 * -EINVAL with a sentence: not JSON, of another issuer, without what the flow needs, or with http
 * endpoints although the issuer is https.
 */
int login_discovery_parse(const char *json, size_t len, const char *issuer,
			  struct login_provider *out, struct warren_err *err);

/*
 * ---- Under way ----
 */

struct login_flow {
	char code[TAILNET_CODE];	/* of the device that waits */
	char state[LOGIN_RANDOM], nonce[LOGIN_RANDOM], verifier[LOGIN_RANDOM];
	char cookie[LOGIN_RANDOM];	/* the browser that began is the one that ends it */
	bool anew;			/* its user is to prove once more who that is */
	int64_t until;			/* seconds */
};
struct login_flows;
struct login_flows *login_flows_new(void);	/* NULL: no memory */
void login_flows_forget(struct login_flows *flows);	/* all of them */
void login_flows_free(struct login_flows *flows);	/* wipes; NULL is allowed */
/*
 * The next one for that device; of more than LOGIN_FLOWS_EACH the oldest is forgotten. Lent until
 * the next call. NULL: LOGIN_FLOWS are under way.
 */
const struct login_flow *login_flow_begin(struct login_flows *flows, const char *code, bool anew,
					  int64_t now);
/*
 * Takes the one of that state out, whatever follows: a state is good once. False: there is none, it
 * is too old, or another browser (@cookie NULL: none) began it.
 */
bool login_flow_take(struct login_flows *flows, const char *state, const char *cookie,
		     int64_t now, struct login_flow *out);

/* 32 random bytes as text, to be found again by and to prove something with. */
void login_random(char out[LOGIN_RANDOM]);
/* Whether two such are the same, in constant time. */
bool login_same(const char *a, const char *b);

/* A name for each tab, so that several can be under way (coordinator.md 3.2). */
void login_cookie_name(const char *state, char out[LOGIN_COOKIE_NAME]);
/* The value of that name in a Cookie field (NULL is allowed). */
bool login_cookie_find(const char *field, const char *name, char out[LOGIN_RANDOM]);

/*
 * ---- Texts ----
 */

struct login_client {			/* as configured */
	const char *client_id, *redirect_uri;
	const char *scopes;		/* "openid profile email" */
	const char *const *extra;	/* name, value, ...; names of the flow's own are left out */
	uint32_t n_extra;		/* pairs */
};
/* Where the browser goes. */
void login_flow_url(const struct login_provider *provider, const struct login_client *client,
		    const struct login_flow *flow, struct str *out);
/* The form of the token request, without the secret, which goes into Authorization ... */
void login_token_body(const struct login_client *client, const struct login_flow *flow,
		      const char *code, struct str *out);
/* ... unless the provider wants it here. Wipe it. */
void login_token_secret(const char *client_id, const uint8_t *secret, size_t len,
			struct str *out);
/* Basic credentials (RFC 6749 2.3.1): the value of the Authorization field. Wipe it. */
void login_basic(const char *client_id, const uint8_t *secret, size_t len, struct str *out);

struct login_query {			/* "" where absent */
	char code[LOGIN_VALUE], state[LOGIN_VALUE], error[LOGIN_VALUE], iss[LOGIN_VALUE];
};
/* What is behind the "?" of a path. False: malformed, too long, or a name comes twice. */
bool login_query_parse(const char *path, struct login_query *out);
/* Whether a form says @name=@value, which need no escaping. */
bool login_form_says(const char *form, const char *name, const char *value);

#endif
