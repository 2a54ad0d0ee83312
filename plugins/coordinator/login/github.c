/*
 * GitHub has no ID tokens: its API says who the user is, and in which organisations and teams.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "desk_impl.h"

enum { USER, EMAILS, ORGS, TEAMS, STEPS };
static const char *const paths[STEPS] = { "/user", "/user/emails", "/user/orgs", "/user/teams" };

static void ask(struct visit *v);

static int read_step(struct visit *v, const uint8_t *body, size_t len, bool *more,
		     struct warren_err *err)
{
	const char *text = (const char *)body;
	uint32_t n = 0;
	int result;

	*more = false;
	if (v->step == USER)
		return login_github_user(text, len, &v->claims, &v->login, err);
	if (v->step == EMAILS)
		return login_github_emails(text, len, v->claims, err);
	result = login_github_groups(text, len, v->step == TEAMS, &v->desk->settings->gate,
				     v->claims, &n, err);
	*more = n >= LOGIN_PAGE;
	return result;
}

static void next(struct visit *v, bool more)
{
	if (more && ++v->page > DESK_PAGES) {
		visit_refused(v, "you are in more organisations or teams than are asked for");
		return;
	}
	if (!more) {
		v->step++;
		v->page = 1;
	}
	if (v->step < STEPS)
		ask(v);
	else
		visit_known(v);
}

static void came(struct warren_ctx *ctx, int status, const struct warren_http_head *head,
		 const uint8_t *body, size_t len, const char *why, void *arg)
{
	AUTO(str_free) struct str text = STR_INIT;
	struct warren_err err = ERR_INIT;
	struct visit *v = arg;
	bool more = false;
	int result;

	(void)ctx;
	(void)head;
	v->fetch = NULL;
	/* Without the scope for addresses there are none; the gate says whether that will do. */
	if (v->step == EMAILS && (status == 403 || status == 404)) {
		next(v, false);
		return;
	}
	if (status != 200) {
		str_addf(&text, "%s%s cannot be asked: ", v->desk->settings->api, paths[v->step]);
		if (status)
			str_addf(&text, "status %d", status);
		else
			str_add(&text, why);
		if (status == 0 || status >= 500)
			visit_away(v, str_text(&text));
		else
			visit_refused(v, str_text(&text));
		return;
	}
	result = read_step(v, body, len, &more, &err);
	if (result == -ENOMEM)
		visit_tell(v, 500, "Out of memory", "Try again in a while.");
	else if (result)
		visit_refused(v, err_first(&err));
	else
		next(v, more);
	err_free(&err);
}

static void ask(struct visit *v)
{
	struct login_desk *desk = v->desk;
	char url[LOGIN_VALUE + 64], query[48] = "";

	if (v->step != USER)
		snprintf(query, sizeof(query), "?per_page=%d&page=%u", LOGIN_PAGE, v->page);
	snprintf(url, sizeof(url), "%s%s%s", desk->settings->api, paths[v->step], query);
	v->fetch = provider_fetch(desk, url, v->tokens.access, NULL, NULL, came, v);
	if (!v->fetch)
		visit_tell(v, 500, "Out of memory", "Try again in a while.");
}

void github_begin(struct visit *v)
{
	v->step = USER;
	v->page = 1;
	ask(v);
}
