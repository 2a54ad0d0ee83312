/*
 * The desk: paths, and what browsers are told.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <warren/net.h>

#include "base/err.h"
#include "base/util.h"
#include "desk_impl.h"
#include "page.h"

/*
 * ---- Visits ----
 */

void visit_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct visit *v = arg;

	(void)x;
	(void)result;
	(void)why;
	v->x = NULL;
	if (!v->deciding)
		visit_free(v);
}

static const struct warren_exchange_events visit_events = {
	.size = sizeof(visit_events), .failed = visit_failed,
};

static void reply(struct warren_exchange *x, int status, const char *title, const char *text)
{
	AUTO(str_free) struct str page = STR_INIT;

	login_page_tell(title, text, &page);
	login_page_send(x, status, NULL, &page);
}

struct visit *visit_new(struct login_desk *desk, struct warren_exchange *x)
{
	struct visit *v = desk->n_visits < DESK_VISITS ? calloc(1, sizeof(*v)) : NULL;

	if (!v) {
		reply(x, 503, "Too many at once", "Too many people log in at this moment. Load "
		      "this page again in a while.");
		return NULL;
	}
	v->desk = desk;
	v->x = x;
	list_add_tail(&desk->visits, &v->link);
	desk->n_visits++;
	warren_exchange_set(x, &visit_events, v);
	return v;
}

void ticket_free(struct ticket *t)
{
	if (!t)
		return;
	login_user_free(&t->user);
	json_decref(t->claims);
	explicit_bzero(t, sizeof(*t));
	free(t);
}

void visit_free(struct visit *v)
{
	list_del(&v->link);
	if (v->desk)
		v->desk->n_visits--;
	if (v->x) {
		warren_exchange_set(v->x, NULL, NULL);
		warren_exchange_cancel(v->x);
	}
	if (v->fetch)
		warren_fetch_cancel(v->fetch);
	login_tokens_free(&v->tokens);
	json_decref(v->claims);
	free(v->login);
	str_free(&v->form);
	ticket_free(v->ticket);
	explicit_bzero(&v->flow, sizeof(v->flow));
	free(v);
}

void visit_tell(struct visit *v, int status, const char *title, const char *text)
{
	struct warren_exchange *x = v->x;

	v->x = NULL;
	if (x)
		reply(x, status, title, text);
	visit_free(v);
}

void visit_refused(struct visit *v, const char *why)
{
	struct login_desk *desk = v->desk;
	AUTO(str_free) struct str text = STR_INIT;

	warren_log_limit(desk->ctx, &desk->refused, LOG_WARNING, "a login at %s is refused: %s",
			 desk->settings->issuer, why);
	str_addf(&text, "This login is refused: %s. To try again, start again on the device.",
		 why);
	visit_tell(v, 403, "You are not let in", str_text(&text));
}

void visit_away(struct visit *v, const char *why)
{
	struct login_desk *desk = v->desk;

	warren_log_limit(desk->ctx, &desk->away, LOG_WARNING, "a login fails: %s", why);
	visit_tell(v, 503, "Nobody can log in at the moment", "The login provider of this network "
		   "does not answer. Devices that are in go on as before. Load the link of the "
		   "device again in a while.");
}

void visit_known(struct visit *v)
{
	struct login_desk *desk = v->desk;
	struct warren_err err = ERR_INIT;
	struct login_check check;
	struct login_user user;
	int result = login_user_read(desk->settings->issuer, v->claims, v->login,
				     &desk->settings->gate, &user, &err);

	if (result == 0 && check_shown(desk, v->flow.code, &check) &&
	    !check_may(v, &check, &user)) {
		login_user_free(&user);
	} else if (result == 0) {
		confirm_ask_take(v, v->claims, &user);
	} else {
		login_user_free(&user);
		if (result == -ENOMEM)
			visit_tell(v, 500, "Out of memory", "Try again in a while.");
		else
			visit_refused(v, err_first(&err));
	}
	err_free(&err);
}

/*
 * ---- Out to the provider ----
 */

bool desk_code(const char *path, char code[TAILNET_CODE])
{
	size_t len = strcspn(path, "?");

	if (len >= TAILNET_CODE)
		return false;
	memcpy(code, path, len);
	code[len] = '\0';
	return true;
}

static const struct tailnet_pending *pending_of(const struct login_desk *desk, const char *path)
{
	char code[TAILNET_CODE];

	return desk_code(path, code) ? tailnet_pending(desk->tn, code) : NULL;
}

void desk_provider_name(const struct login_desk *desk, char out[256])
{
	struct warren_url url;

	str_copy(out, 256, warren_url_parse(desk->settings->issuer, &url, NULL) == 0 ? url.host :
		 "the provider");
}

static void show_link(struct login_desk *desk, struct warren_exchange *x, const char *code)
{
	const struct tailnet_pending *pending = pending_of(desk, code);
	AUTO(str_free) struct str page = STR_INIT;
	char name[256] = "";

	if (desk->settings)
		desk_provider_name(desk, name);
	login_page_waiting(pending, desk->settings ? name : NULL, &page);
	login_page_send(x, pending ? 200 : 404, NULL, &page);
}

static int64_t now_of(void)
{
	return warren_realtime() / 1000000;
}

/* No other site can send it along but by a link that somebody follows; no script can read it. */
static void leave(struct visit *v)
{
	struct login_desk *desk = v->desk;
	const struct login_flow *flow = login_flow_begin(desk->flows, v->flow.code,
							 v->flow.anew, now_of());
	AUTO(str_free) struct str url = STR_INIT, cookie = STR_INIT;
	char name[LOGIN_COOKIE_NAME];
	struct warren_exchange *x = v->x;

	if (!flow) {
		visit_tell(v, 503, "Too many at once", "Too many people log in at this moment. "
			   "Load the link of the device again in a while.");
		return;
	}
	login_flow_url(&desk->provider, &desk->settings->client, flow, &url);
	login_cookie_name(flow->state, name);
	str_addf(&cookie, "%s=%s; Path=/oidc; Max-Age=%d; HttpOnly; SameSite=Lax%s", name,
		 flow->cookie, LOGIN_FLOW_SECONDS, str_starts(desk->url, "https://") ?
		 "; Secure" : "");
	if (url.failed || cookie.failed) {
		visit_tell(v, 500, "Out of memory", "Try again in a while.");
	} else {
		v->x = NULL;
		login_page_redirect(x, str_text(&url), str_text(&cookie));
		visit_free(v);
	}
	if (cookie.s)
		explicit_bzero(cookie.s, cookie.len);
}

static void go(struct login_desk *desk, struct warren_exchange *x, const char *code)
{
	const struct tailnet_pending *pending = pending_of(desk, code);
	struct visit *v;

	if (!pending) {
		show_link(desk, x, code);
		return;
	}
	v = visit_new(desk, x);
	if (!v)
		return;
	str_copy(v->flow.code, sizeof(v->flow.code), pending->code);
	provider_ready(v, leave);
}

static void go_check(struct login_desk *desk, struct warren_exchange *x, const char *path)
{
	char code[TAILNET_CODE];
	struct login_check check;
	struct visit *v;

	if (!desk_code(path, code) || !check_shown(desk, code, &check)) {
		check_show(desk, x, path);
		return;
	}
	v = visit_new(desk, x);
	if (!v)
		return;
	str_copy(v->flow.code, sizeof(v->flow.code), code);
	v->flow.anew = !desk->settings->github;
	provider_ready(v, leave);
}

/*
 * ---- Back from it ----
 */

/* The cookie of that name in any of the fields: HTTP/2 may cut them up. */
static bool find_cookie(const struct warren_http_head *head, const char *name,
			char out[LOGIN_RANDOM])
{
	for (uint32_t i = 0; i < head->n_fields; i++) {
		if (strcmp(head->fields[i].name, "cookie") == 0 &&
		    login_cookie_find(head->fields[i].value, name, out))
			return true;
	}
	return false;
}

/* The provider's own word for no; NULL: it is a yes. */
static const char *wrong_answer(const struct login_desk *desk, const struct login_query *q)
{
	if (q->iss[0] ? strcmp(q->iss, desk->settings->issuer) != 0 : desk->provider.says_iss)
		return "the answer came from another provider";
	if (q->error[0])
		return strcmp(q->error, "access_denied") == 0 ? "you or the provider said no" :
		       "the provider answers with an error";
	return q->code[0] ? NULL : "the provider's answer has no code";
}

static void came_back(struct login_desk *desk, struct warren_exchange *x,
		      const struct warren_http_head *head)
{
	char name[LOGIN_COOKIE_NAME], cookie[LOGIN_RANDOM];
	struct login_query query;
	struct login_flow flow;
	bool ours = login_query_parse(head->path, &query);
	const char *wrong;
	struct visit *v;

	login_cookie_name(query.state, name);
	ours = ours && login_flow_take(desk->flows, query.state, find_cookie(head, name, cookie) ?
				       cookie : NULL, now_of(), &flow);
	v = visit_new(desk, x);
	if (!v)
		return;
	if (!ours) {
		visit_refused(v, "no such login has begun in this browser, or it took too long, "
			      "or it is over");
		return;
	}
	v->flow = flow;
	explicit_bzero(&flow, sizeof(flow));
	str_copy(v->code, sizeof(v->code), query.code);
	wrong = wrong_answer(desk, &query);
	if (wrong)
		visit_refused(v, wrong);
	else
		provider_ready(v, exchange_begin);
}

/*
 * ---- The desk ----
 */

static void serve(struct login_desk *desk, struct warren_exchange *x,
		  const struct warren_http_head *head)
{
	static const char callback[] = "/oidc/callback";
	bool get = strcmp(head->method, "GET") == 0;
	size_t len = strcspn(head->path, "?");

	if (get && str_starts(head->path, "/register/"))
		show_link(desk, x, head->path + 10);
	else if (get && str_starts(head->path, "/auth/"))
		check_show(desk, x, head->path + 6);
	else if (desk->settings && get && str_starts(head->path, "/oidc/check/"))
		go_check(desk, x, head->path + 12);
	else if (desk->settings && get && str_starts(head->path, "/oidc/login/"))
		go(desk, x, head->path + 12);
	else if (desk->settings && get && len == sizeof(callback) - 1 &&
		 str_starts(head->path, callback))
		came_back(desk, x, head);
	else if (desk->settings && strcmp(head->method, "POST") == 0 &&
		 str_starts(head->path, "/oidc/confirm/"))
		confirm_answer(desk, x, head, head->path + 14);
	else
		reply(x, 404, "Not found", "There is no such page here.");
}

bool login_desk_serve(struct login_desk *desk, struct warren_exchange *x,
		      const struct warren_http_head *head)
{
	if (!str_starts(head->path, "/oidc/") &&
	    (strcmp(head->method, "GET") != 0 || (!str_starts(head->path, "/register/") &&
						  !str_starts(head->path, "/auth/"))))
		return false;
	serve(desk, x, head);
	return true;
}

struct login_desk *login_desk_new(struct warren_ctx *ctx, struct tailnet *tn, const char *url)
{
	struct login_desk *desk = calloc(1, sizeof(*desk));

	if (!desk)
		return NULL;
	desk->ctx = ctx;
	desk->tn = tn;
	str_copy(desk->url, sizeof(desk->url), url);
	list_init(&desk->visits);
	list_init(&desk->tickets);
	desk->flows = login_flows_new();
	if (desk->flows)
		return desk;
	free(desk);
	return NULL;
}

void login_desk_set_checks(struct login_desk *desk, const struct login_checks *checks, void *self)
{
	desk->checks = checks;
	desk->checks_self = self;
}

static void forget(struct login_desk *desk)
{
	struct visit *v, *next;

	list_for_each_safe(v, next, &desk->visits, link) {
		if (!v->deciding)
			visit_free(v);
	}
	provider_forget(desk);
	confirm_forget(desk);
	login_flows_forget(desk->flows);
}

void login_desk_set_take(struct login_desk *desk, struct login_settings *settings, bool other)
{
	struct login_settings *before = desk->settings;

	if (other)
		forget(desk);
	desk->settings = settings;
	login_settings_free(before);
	if (other && settings)
		provider_begin(desk);
}

bool login_desk_policy_groups(const struct login_desk *desk)
{
	return desk && desk->settings && desk->settings->policy_groups;
}

void login_desk_hang_up(struct login_desk *desk)
{
	struct visit *v, *next;

	list_for_each_safe(v, next, &desk->visits, link) {
		if (v->x) {
			warren_exchange_set(v->x, NULL, NULL);
			warren_exchange_cancel(v->x);
			v->x = NULL;
		}
		if (!v->deciding)
			visit_free(v);
	}
}

void login_desk_free(struct login_desk *desk)
{
	struct visit *v, *next;

	if (!desk)
		return;
	login_desk_hang_up(desk);
	forget(desk);
	list_for_each_safe(v, next, &desk->visits, link) {
		list_del(&v->link);	/* the tailnet will call, and it goes then */
		list_init(&v->link);
		v->desk = NULL;
	}
	login_flows_free(desk->flows);
	login_settings_free(desk->settings);
	free(desk);
}
