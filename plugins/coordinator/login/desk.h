/*
 * login/desk.h - where people log in: the pages behind a login's link, and the provider behind them
 *
 * On the plugin's lane. Nobody's browser is believed: a device gets in when its user has come back
 * from the provider to the browser that left for it, has been shown the device's name there, and
 * has said yes.
 *
 *	GET  /register/CODE		what wants to join, and where to sign in
 *	GET  /oidc/login/CODE		to the provider, with a cookie
 *	GET  /oidc/callback		back, with a code: who is it? Then asks, with another cookie
 *	POST /oidc/confirm/TICKET	yes or no
 *
 * The link of an SSH session that is held leads the same way, and only its source's owner on:
 *
 *	GET  /auth/CODE			from where to where, and where to sign in
 *	GET  /oidc/check/CODE		to the provider, who is to ask its user anew; then as above
 *
 * A provider that is away keeps nobody out who is in: it is asked when somebody logs in only, and
 * once at the start, so that the log says what is wrong.
 */
#ifndef WARREN_COORDINATOR_LOGIN_DESK_H
#define WARREN_COORDINATOR_LOGIN_DESK_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"

struct login_desk;
struct tailnet;
struct warren_exchange;
struct warren_http_head;

/* NULL: no memory. @url is the server's own, without a slash at its end. */
struct login_desk *login_desk_new(struct warren_ctx *ctx, struct tailnet *tn, const char *url);
/*
 * Takes @settings; NULL: the operator lets devices in. @other: not what was before, so that logins
 * under way are over and the provider is asked anew.
 */
void login_desk_set_take(struct login_desk *desk, struct login_settings *settings, bool other);
/* Whether the provider's groups are groups of the policy. */
bool login_desk_policy_groups(const struct login_desk *desk);

/* ---- sessions that are held; without these no link leads to one ---- */

struct login_check {			/* lent until the next call */
	const char *src, *dst, *login;	/* from where to where, as whom */
	int64_t owner;			/* of the source: its user */
};
struct login_verdict {
	const char *code, *actor;
	int64_t user;			/* who has signed in */
	bool yes;
};
typedef void login_decided_fn(void *arg, const char *error);	/* NULL: done */
struct login_checks {
	bool (*shown)(void *self, const char *code, struct login_check *out);
	/* 0: @done will be called; or -errno with a sentence. */
	int (*decide)(void *self, const struct login_verdict *verdict, login_decided_fn *done,
		      void *arg, struct warren_err *err);
};
void login_desk_set_checks(struct login_desk *desk, const struct login_checks *checks, void *self);

/* Answers a request of one of these paths, now or later; false: it is for somebody else. */
bool login_desk_serve(struct login_desk *desk, struct warren_exchange *x,
		      const struct warren_http_head *head);
/* All exchanges are over. */
void login_desk_hang_up(struct login_desk *desk);
void login_desk_free(struct login_desk *desk);	/* NULL is allowed */

#endif
