/*
 * Asks whoever has logged in whether the device is theirs, and lets it in: a link that somebody
 * was sent brings no foreign device in without a word.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#include <warren/net.h>

#include "base/err.h"
#include "base/util.h"
#include "desk_impl.h"
#include "page.h"

enum { ANSWER_SECONDS = 600 };

static int64_t now_of(void)
{
	return warren_realtime() / 1000000;
}

static void drop(struct login_desk *desk, struct ticket *t)
{
	list_del(&t->link);
	desk->n_tickets--;
	ticket_free(t);
}

void confirm_forget(struct login_desk *desk)
{
	struct ticket *t;

	while ((t = list_first(&desk->tickets, struct ticket, link)))
		drop(desk, t);
}

static void make_room(struct login_desk *desk)
{
	struct ticket *t;

	while ((t = list_first(&desk->tickets, struct ticket, link)) &&
	       (t->until <= now_of() || desk->n_tickets >= DESK_TICKETS))
		drop(desk, t);
}

static void cookie_name(const char *id, char out[LOGIN_COOKIE_NAME])
{
	snprintf(out, LOGIN_COOKIE_NAME, "warren-confirm-%.6s", id);
}

/* NULL: no memory. */
static struct ticket *issue_take(struct login_desk *desk, const char *code, json_t *claims,
				 struct login_user *user)
{
	struct ticket *t;

	make_room(desk);
	t = calloc(1, sizeof(*t));
	if (!t) {
		login_user_free(user);
		return NULL;
	}
	str_copy(t->code, sizeof(t->code), code);
	t->until = now_of() + ANSWER_SECONDS;
	t->claims = json_incref(claims);
	t->user = *user;
	login_random(t->id);
	login_random(t->cookie);
	list_add_tail(&desk->tickets, &t->link);
	desk->n_tickets++;
	return t;
}

void confirm_ask_take(struct visit *v, json_t *claims, struct login_user *user)
{
	struct login_desk *desk = v->desk;
	const struct tailnet_pending *pending = tailnet_pending(desk->tn, v->flow.code);
	AUTO(str_free) struct str page = STR_INIT, cookie = STR_INIT;
	struct warren_exchange *x = v->x;
	char name[LOGIN_COOKIE_NAME];
	struct login_check check;
	bool held = check_shown(desk, v->flow.code, &check);
	struct ticket *t;

	t = issue_take(desk, v->flow.code, claims, user);
	if (!t) {
		visit_tell(v, 500, "Out of memory", "Try again in a while.");
		return;
	}
	v->x = NULL;
	if (held)
		login_page_confirm_check(&check, &t->user, t->id, &page);
	else if (pending)
		login_page_confirm(pending, &t->user, t->id, &page);
	if (held || pending) {
		cookie_name(t->id, name);
		str_addf(&cookie, "%s=%s; Path=/oidc; Max-Age=%d; HttpOnly; SameSite=Strict%s",
			 name, t->cookie, ANSWER_SECONDS, str_starts(desk->url, "https://") ?
			 "; Secure" : "");
	} else {
		login_page_waiting(NULL, NULL, &page);
		drop(desk, t);
	}
	page.failed = page.failed || cookie.failed;
	login_page_send(x, held || pending ? 200 : 404, cookie.len ? str_text(&cookie) : NULL,
			&page);
	if (cookie.s)
		explicit_bzero(cookie.s, cookie.len);
	visit_free(v);
}

/*
 * ---- The answer ----
 */

/* Another user of the same provider that a policy could not tell from this one; NULL: none. */
static const struct tailnet_user *namesake(const struct login_desk *desk,
					   const struct login_user *user)
{
	size_t len = strlen(desk->settings->issuer);
	uint32_t n;
	const struct tailnet_user *const *users = tailnet_users(desk->tn, &n);

	for (uint32_t i = 0; i < n; i++) {
		const struct tailnet_user *other = users[i];

		if (strncmp(other->subject, user->subject, len + 1) == 0 &&
		    strcmp(other->subject, user->subject) != 0 &&
		    (strcasecmp(other->login, user->login) == 0 ||
		     (user->email[0] && strcasecmp(other->email, user->email) == 0)))
			return other;
	}
	return NULL;
}

/* The desk is gone when the tailnet answers: so is the visit, but for its memory. */
bool visit_is_orphan(struct visit *v)
{
	v->deciding = false;
	if (v->desk)
		return false;
	visit_free(v);
	return true;
}

static void refused(struct visit *v, const char *why)
{
	AUTO(str_free) struct str text = STR_INIT;
	struct login_desk *desk = v->desk;

	warren_log_limit(desk->ctx, &desk->refused, LOG_WARNING, "a device of %s is not let in: %s",
			 v->ticket->user.login, why);
	str_addf(&text, "The device is not let in: %s.", why);
	visit_tell(v, 403, "The device is not let in", str_text(&text));
}

static void on_approved(void *arg, const struct tailnet_outcome *outcome)
{
	AUTO(str_free) struct str page = STR_INIT;
	struct visit *v = arg;
	struct warren_exchange *x = v->x;

	if (visit_is_orphan(v))
		return;
	if (outcome->error) {
		refused(v, outcome->error);
		return;
	}
	v->x = NULL;
	if (x) {
		login_page_done(outcome->node, v->ticket->user.login, &page);
		login_page_send(x, 200, NULL, &page);
	}
	visit_free(v);
}

static void on_rejected(void *arg, const struct tailnet_outcome *outcome)
{
	struct visit *v = arg;

	if (visit_is_orphan(v))
		return;
	if (outcome->error)
		refused(v, outcome->error);
	else
		visit_tell(v, 200, "The device was turned away", "It was told so. If somebody "
			   "sent you the link, tell whoever runs this network.");
}

/* The verb of @act about the ticket's device or user; true: @done will be called. */
static void decide(struct visit *v, struct tailnet_act act, tailnet_done_fn *done)
{
	act.actor = v->ticket->user.login;
	act.origin = "login";
	act.code = v->ticket->code;
	v->deciding = true;
	if (tailnet_do(v->desk->tn, &act, done, v) == 0)
		return;
	v->deciding = false;
	visit_tell(v, 500, "Out of memory", "Try again in a while.");
}

static int64_t key_expiry(const struct visit *v)
{
	int64_t soon = now_of() + LOGIN_SKEW, expiry = v->ticket->user.expiry;

	if (!v->desk->settings || !v->desk->settings->follows_token)
		return 0;
	return (expiry > soon ? expiry : soon) * 1000000;
}

static void on_user(void *arg, const struct tailnet_outcome *outcome)
{
	struct visit *v = arg;

	if (visit_is_orphan(v))
		return;
	if (outcome->error)
		refused(v, outcome->error);
	else
		decide(v, (struct tailnet_act){ .verb = TAILNET_LOGIN_APPROVE,
						.user = outcome->user->id, .time = key_expiry(v) },
		       on_approved);
}

static void let_in(struct visit *v)
{
	const struct login_desk *desk = v->desk;
	const struct login_user *user = &v->ticket->user;
	const struct tailnet_user *other = namesake(desk, user);
	AUTO(str_free) struct str why = STR_INIT;

	if (other) {
		str_addf(&why, "there is another account of the login provider with the name %s "
			 "in this network already; if that is gone, `warren user delete` removes "
			 "it", other->login);
		refused(v, str_text(&why));
		return;
	}
	decide(v, (struct tailnet_act){
		.verb = TAILNET_USER_LOGIN, .provider = desk->settings->github ? "github" : "oidc",
		.subject = user->subject, .text = user->login, .display = user->display,
		.email = user->email, .picture = user->picture, .strings = user->groups,
		.n_strings = user->n_groups,
	}, on_user);
}

static int on_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct visit *v = arg;

	(void)x;
	if (v->form.len + len <= DESK_FORM)
		str_addn(&v->form, (const char *)data, len);
	else
		v->form.failed = true;
	return 0;
}

static void on_complete(struct warren_exchange *x, void *arg)
{
	struct visit *v = arg;
	bool yes = login_form_says(str_text(&v->form), "answer", "yes");
	struct login_check check;

	(void)x;
	if (v->form.failed)
		visit_tell(v, 400, "That was no answer", "Start again on the device.");
	else if (v->desk->settings && check_shown(v->desk, v->ticket->code, &check))
		check_decide(v, yes);
	else if (!v->desk->settings || !tailnet_pending(v->desk->tn, v->ticket->code))
		visit_tell(v, 404, "This link is over", "Start again on the device.");
	else if (yes)
		let_in(v);
	else
		decide(v, (struct tailnet_act){ .verb = TAILNET_LOGIN_REJECT }, on_rejected);
}

static const struct warren_exchange_events form_events = {
	.size = sizeof(form_events), .body = on_body, .complete = on_complete,
	.failed = visit_failed,
};

static bool proves(const struct warren_http_head *head, const struct ticket *t)
{
	char name[LOGIN_COOKIE_NAME], value[LOGIN_RANDOM];

	cookie_name(t->id, name);
	for (uint32_t i = 0; i < head->n_fields; i++) {
		if (strcmp(head->fields[i].name, "cookie") == 0 &&
		    login_cookie_find(head->fields[i].value, name, value))
			return login_same(value, t->cookie);
	}
	return false;
}

/* Good once, in the browser that was asked. */
void confirm_answer(struct login_desk *desk, struct warren_exchange *x,
		    const struct warren_http_head *head, const char *id)
{
	struct visit *v = visit_new(desk, x);
	struct ticket *t, *found = NULL;

	if (!v)
		return;
	list_for_each(t, &desk->tickets, link) {
		if (login_same(t->id, id) && t->until > now_of())
			found = t;
	}
	if (!found || !proves(head, found)) {
		visit_refused(v, "nobody was asked this in this browser, or it took too long, or "
			      "it is answered already");
		return;
	}
	list_del(&found->link);
	desk->n_tickets--;
	v->ticket = found;
	warren_exchange_set(x, &form_events, v);
}
