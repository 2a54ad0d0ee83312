/*
 * login/token.h - what a provider says of a user: ID tokens, their keys, their claims
 *
 * Functions of nothing but their arguments: no network, no clock, any thread. Whatever is not
 * known to be right is refused.
 *
 * Sources: OpenID Connect Core 1.0 3.1.3.7, 5.1, 5.3.2; RFC 7515, 7517, 7518; RFC 8725 for what to
 * refuse; coordinator.md 3.2 for the quirks of providers.
 */
#ifndef WARREN_COORDINATOR_LOGIN_TOKEN_H
#define WARREN_COORDINATOR_LOGIN_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include <warren/plugin.h>

enum {
	LOGIN_TOKEN_MAX = 64 << 10,	/* bytes of an ID token */
	LOGIN_KEYS_MAX = 64,		/* keys of a provider */
	LOGIN_RSA_BITS = 2048,		/* fewer are refused */
	LOGIN_SKEW = 60,		/* seconds that clocks may differ */
	LOGIN_SUB_MAX = 255,		/* bytes of `sub`, as OpenID Connect has it */
};

/*
 * The signature keys of a JWKS document. Keys of a kind that we do not know, for encryption, or too
 * short are left out; none left is an error. NULL with a sentence.
 */
struct login_keys;
struct login_keys *login_keys_parse(const char *json, size_t len, struct warren_err *err);
void login_keys_free(struct login_keys *keys);	/* NULL is allowed */
uint32_t login_keys_count(const struct login_keys *keys);

struct login_expect {
	const char *issuer;		/* byte for byte */
	const char *client_id;
	const char *nonce;
	int64_t now;			/* seconds since 1970 */
};
/*
 * The claims of an ID token that is signed by one of @keys and meant for us, now, for this login.
 * 0: *@claims is the caller's. -ESTALE: its key is none of @keys, which may be old; -EACCES: it is
 * refused, with a sentence that repeats nothing of the token; -ENOMEM.
 */
int login_token_verify(const struct login_keys *keys, const char *token, size_t len,
		       const struct login_expect *expect, json_t **claims,
		       struct warren_err *err);

/*
 * Claims of the userinfo endpoint go over those of the token (coordinator.md 3.2). -EACCES: it is
 * about another subject.
 */
int login_claims_merge(json_t *claims, json_t *userinfo, struct warren_err *err);

/*
 * ---- From claims to a user ----
 */

struct login_gate {			/* every list that is not empty must match */
	const char *const *domains;	/* of a verified e-mail address, any case */
	uint32_t n_domains;
	const char *const *users;	/* logins, verified e-mail addresses; any case */
	uint32_t n_users;
	const char *const *groups;	/* one of them */
	uint32_t n_groups;
	const char *groups_claim;	/* NULL: "groups" */
	bool require_email;		/* a verified one */
};
struct login_user {			/* lives as the claims do, but for what is owned */
	char *subject;			/* issuer and sub: who it is; owned */
	char *login;			/* owned */
	const char *display, *email, *picture;	/* or "" */
	const char **groups;		/* owned array */
	uint32_t n_groups;
	int64_t expiry;			/* of the token, seconds */
};
/*
 * The login is @login, or, where that is NULL, the e-mail address if the provider has verified it,
 * else sub@host-of-issuer: policies go by the login, so it is nothing that users choose for
 * themselves. -EACCES: the gate is shut, with a sentence for the user. login_user_free() in any
 * case.
 */
int login_user_read(const char *issuer, const json_t *claims, const char *login,
		    const struct login_gate *gate, struct login_user *out, struct warren_err *err);
void login_user_free(struct login_user *user);

#endif
