/*
 * SSH sessions that are held: the owner of the device that one comes from signs in again and lets
 * it in. Where that owner is no user of the provider, the operator does.
 */
#include <string.h>
#include <syslog.h>

#include <warren/net.h>

#include "base/err.h"
#include "base/util.h"
#include "desk_impl.h"
#include "page.h"

bool check_shown(const struct login_desk *desk, const char *code, struct login_check *out)
{
	return desk->checks && desk->checks->shown(desk->checks_self, code, out);
}

/* The owner has an account there. */
static bool signs_in(const struct login_desk *desk, int64_t owner)
{
	const struct tailnet_user *user = tailnet_user(desk->tn, owner);

	return desk->settings && user && user->subject[0];
}

void check_show(struct login_desk *desk, struct warren_exchange *x, const char *path)
{
	AUTO(str_free) struct str page = STR_INIT;
	char code[TAILNET_CODE], name[256];
	struct login_check check;
	bool held = desk_code(path, code) && check_shown(desk, code, &check);
	bool provider = held && signs_in(desk, check.owner);

	if (provider)
		desk_provider_name(desk, name);
	login_page_held(held ? &check : NULL, code, provider ? name : NULL, &page);
	login_page_send(x, held ? 200 : 404, NULL, &page);
}

bool check_may(struct visit *v, const struct login_check *check, const struct login_user *user)
{
	const struct tailnet_user *known = tailnet_user_by_subject(v->desk->tn, user->subject);

	if (known && known->id == check->owner)
		return true;
	visit_refused(v, "the SSH session comes from a device of somebody else");
	return false;
}

/* Providers that know no max_age say nothing of the time: Google, for one. */
bool check_is_fresh(const struct visit *v)
{
	const json_t *when = json_object_get(v->claims, "auth_time");

	return !v->flow.anew || !when ||
	       json_number_value(when) >= (double)(v->flow.until - LOGIN_FLOW_SECONDS - LOGIN_SKEW);
}

static void refused(struct visit *v, const char *why)
{
	AUTO(str_free) struct str text = STR_INIT;

	warren_log_limit(v->desk->ctx, &v->desk->refused, LOG_WARNING, "an SSH session of %s is "
			 "not let in: %s", v->ticket->user.login, why);
	str_addf(&text, "The session is not let in: %s.", why);
	visit_tell(v, 403, "The session is not let in", str_text(&text));
}

static void on_let_in(void *arg, const char *error)
{
	struct visit *v = arg;

	if (visit_is_orphan(v))
		return;
	if (error)
		refused(v, error);
	else
		visit_tell(v, 200, "The session is let in", "It goes on by itself; this page can "
			   "be closed.");
}

static void on_refused(void *arg, const char *error)
{
	struct visit *v = arg;

	if (visit_is_orphan(v))
		return;
	if (error)
		refused(v, error);
	else
		visit_tell(v, 200, "The session was turned away", "If somebody sent you the link, "
			   "tell whoever runs this network.");
}

void check_decide(struct visit *v, bool yes)
{
	struct login_desk *desk = v->desk;
	const struct tailnet_user *user = tailnet_user_by_subject(desk->tn,
								  v->ticket->user.subject);
	const struct login_verdict verdict = {
		.code = v->ticket->code, .actor = v->ticket->user.login,
		.user = user ? user->id : 0, .yes = yes,
	};
	struct warren_err err = ERR_INIT;

	if (!user) {
		refused(v, "you are no user of this network any more");
		return;
	}
	v->deciding = true;
	if (desk->checks->decide(desk->checks_self, &verdict, yes ? on_let_in : on_refused, v,
				 &err)) {
		v->deciding = false;
		refused(v, err_first(&err));
	}
	err_free(&err);
}
