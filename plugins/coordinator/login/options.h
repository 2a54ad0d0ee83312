/*
 * login/options.h - the section `oidc` of the configuration
 */
#ifndef WARREN_COORDINATOR_LOGIN_OPTIONS_H
#define WARREN_COORDINATOR_LOGIN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/plugin.h>

#include "flow.h"
#include "token.h"

enum { LOGIN_OPTIONS = 14 };
extern const struct warren_option login_options[LOGIN_OPTIONS];

/* What the types of single options do not say. @oidc is that map. */
int login_options_check(const struct warren_conf *oidc, struct warren_err *err);

/* As configured; points into @oidc, and lives as long as that. */
struct login_settings {
	bool github;
	bool policy_groups;		/* groups of the provider are members of the policy's */
	bool follows_token;		/* the node key ends when the token does */
	const char *issuer;
	char api[LOGIN_VALUE];		/* github: where its API is */
	char redirect[LOGIN_VALUE], scopes[LOGIN_VALUE];
	struct login_client client;
	const struct warren_secret *secret;
	struct login_gate gate;
	char *ca_pem;			/* owned; NULL: the system's */
	const char **texts;		/* owned: the lists of the gate and the client */
};
/* Takes @ca_pem (NULL: none) in any case. @url is the server's own. NULL: no memory. */
struct login_settings *login_settings_new(const struct warren_conf *oidc, const char *url,
					  char *ca_pem);
void login_settings_free(struct login_settings *settings);	/* NULL is allowed */

#endif
