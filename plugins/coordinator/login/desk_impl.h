/*
 * login/desk_impl.h - what the files of the desk share
 */
#ifndef WARREN_COORDINATOR_LOGIN_DESK_IMPL_H
#define WARREN_COORDINATOR_LOGIN_DESK_IMPL_H

#include <jansson.h>

#include "../tailnet/tailnet.h"
#include "answer.h"
#include "base/list.h"
#include "base/str.h"
#include "desk.h"

enum {
	DESK_VISITS = 256,		/* browsers that wait for an answer */
	DESK_TICKETS = 1024,		/* people who were asked and have not answered */
	DESK_FORM = 1024,		/* bytes of their answer */
	DESK_PAGES = 10,		/* of GitHub's lists */
};

struct login_desk {
	struct warren_ctx *ctx;
	struct tailnet *tn;
	char url[300];
	struct login_settings *settings;	/* or NULL */
	struct login_flows *flows;
	const struct login_checks *checks;	/* of sessions that are held, or NULL */
	void *checks_self;
	struct list visits, tickets;	/* tickets: the oldest first */
	uint32_t n_visits, n_tickets;

	struct login_provider provider;
	struct login_keys *keys;
	uint64_t provider_at, keys_at;	/* when they came, by warren_now(); 0: not yet */
	uint64_t failed_at;		/* when it was asked in vain; 0: not */
	char why[768];			/* ... and what was wrong */
	struct warren_fetch *fetch;	/* the description, or the keys */
	struct warren_limit refused, away;
};

struct ticket {				/* somebody who was asked: let this device in? */
	struct list link;
	char id[LOGIN_RANDOM], cookie[LOGIN_RANDOM], code[TAILNET_CODE];
	int64_t until;			/* seconds */
	json_t *claims;
	struct login_user user;
};

struct visit {				/* a request that is answered later */
	struct list link;
	struct login_desk *desk;	/* NULL: gone, while the tailnet decides */
	struct warren_exchange *x;	/* NULL: the browser is gone */
	bool deciding;			/* the tailnet will call */
	void (*ready)(struct visit *v);	/* waits for the provider, or its keys */
	struct warren_fetch *fetch;
	struct login_flow flow;
	char code[LOGIN_VALUE];		/* of the provider */
	bool again;			/* its keys were asked for once more */
	struct login_tokens tokens;
	json_t *claims;
	char *login;			/* of GitHub, or NULL */
	uint32_t step, page;		/* of GitHub's lists */
	struct str form;
	struct ticket *ticket;
};

/* ---- desk.c ---- */

/* The code at the beginning of the rest of a path; false: too long for one. */
bool desk_code(const char *path, char code[TAILNET_CODE]);
/* The provider as people know it: its host. */
void desk_provider_name(const struct login_desk *desk, char out[256]);
void ticket_free(struct ticket *ticket);	/* NULL is allowed */
/* NULL: too many, answered. Takes the exchange. */
struct visit *visit_new(struct login_desk *desk, struct warren_exchange *x);
void visit_free(struct visit *v);
/* Of the exchange's events: the browser is gone. */
void visit_failed(struct warren_exchange *x, int result, const char *why, void *arg);
/* Ends it with a page; logs @text where it tells of a refusal (4xx) or of a provider away (5xx). */
void visit_tell(struct visit *v, int status, const char *title, const char *text);
void visit_away(struct visit *v, const char *why);
void visit_refused(struct visit *v, const char *why);
/* Somebody is known: asks whether to let the device in. */
void visit_known(struct visit *v);

/* ---- confirm.c ---- */

/* Asks, in a page, for the device of v->flow. @claims and @user are taken. */
void confirm_ask_take(struct visit *v, json_t *claims, struct login_user *user);
/* The answer to that; @id is what follows /oidc/confirm/. */
void confirm_answer(struct login_desk *desk, struct warren_exchange *x,
		    const struct warren_http_head *head, const char *id);
void confirm_forget(struct login_desk *desk);
/* The tailnet has called: true when the desk is gone, and the visit with it. */
bool visit_is_orphan(struct visit *v);

/* ---- check.c ---- */

/* Whether a session is held under that code. */
bool check_shown(const struct login_desk *desk, const char *code, struct login_check *out);
/* The page of its link; @path is what follows /auth/. */
void check_show(struct login_desk *desk, struct warren_exchange *x, const char *path);
/* Whether the visit's user may say yes; else it is told. */
bool check_may(struct visit *v, const struct login_check *check, const struct login_user *user);
/* A provider that was told to ask its user anew has done so, as far as it says. */
bool check_is_fresh(const struct visit *v);
/* The answer of the ticket's user; the visit is over then. */
void check_decide(struct visit *v, bool yes);

/* ---- provider.c ---- */

/* Calls @ready when the provider is known, now or later; else the visit is told that it is away. */
void provider_ready(struct visit *v, void (*ready)(struct visit *v));
/* The same when its keys have been asked for once more; false: they were so a moment ago. */
bool provider_keys(struct visit *v, void (*ready)(struct visit *v));
/* Asks at the start. */
void provider_begin(struct login_desk *desk);
void provider_forget(struct login_desk *desk);
/* A request of ours to the provider. NULL @body: GET. */
struct warren_fetch *provider_fetch(struct login_desk *desk, const char *url, const char *bearer,
				    const char *basic, const struct str *body,
				    warren_fetch_fn *done, void *arg);

/* ---- exchange.c, github.c ---- */

void exchange_begin(struct visit *v);	/* the code for tokens, and who that is */
void github_begin(struct visit *v);	/* what its API says, with v->tokens.access */

#endif
