/*
 * login/answer.h - answers of a provider that nobody signed: tokens for a code, and what GitHub's
 * API says of a user. They came over TLS from where we asked.
 *
 * Functions of nothing but their arguments. Sources: RFC 6749 5.1, 5.2; GitHub's REST API,
 * "Get the authenticated user", "List email addresses", "List organizations", "List teams", each
 * for the authenticated user.
 */
#ifndef WARREN_COORDINATOR_LOGIN_ANSWER_H
#define WARREN_COORDINATOR_LOGIN_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include <warren/plugin.h>

struct login_gate;

enum {
	LOGIN_BEARER = 8 << 10,		/* bytes of an access token */
	LOGIN_PAGE = 100,		/* GitHub's entries in one answer */
};

struct login_tokens {			/* owned */
	char *access, *id;		/* or NULL */
};
/*
 * An answer to the token request. -EACCES with a sentence: it is an error, no answer, or an access
 * token that is no bearer token. login_tokens_free() in any case, which wipes.
 */
int login_tokens_parse(const char *json, size_t len, struct login_tokens *out,
		       struct warren_err *err);
void login_tokens_free(struct login_tokens *tokens);

/*
 * The user, as claims: `sub` is the numeric id; *@login, owned, is NAME@github. -EACCES with a
 * sentence.
 */
int login_github_user(const char *json, size_t len, json_t **claims, char **login,
		      struct warren_err *err);
/* Adds `email` and `email_verified`: the primary address, if GitHub has verified it. */
int login_github_emails(const char *json, size_t len, json_t *claims, struct warren_err *err);
/*
 * Adds to `groups`: organisations as acme, teams (@teams) as acme/ops; none of an organisation
 * that @gate does not name. *@n: how many the answer had; LOGIN_PAGE means that there may be more.
 */
int login_github_groups(const char *json, size_t len, bool teams, const struct login_gate *gate,
			json_t *claims, uint32_t *n, struct warren_err *err);

#endif
