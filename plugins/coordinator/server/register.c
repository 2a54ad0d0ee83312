/*
 * POST /machine/register (control-protocol.md 5): asked of the tailnet, which decides.
 */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"

/* Go's zero values where there is nothing to say. */
static json_t *user_json(const struct tailnet_user *user, bool login)
{
	json_t *o = json_pack("{s:I,s:s}", "ID", user ? (json_int_t)user->id :
			      (json_int_t)TAILNET_TAGGED_USER, "DisplayName", user ?
			      user->display : "Tagged Devices");

	if (login) {
		json_object_set_new(o, "Provider", json_string(user ? user->provider : ""));
		json_object_set_new(o, "LoginName", json_string(user ? user->login :
								"tagged-devices"));
	}
	if (user && user->picture[0])
		json_object_set_new(o, "ProfilePicURL", json_string(user->picture));
	return o;
}

static json_t *empty_user(bool login)
{
	json_t *o = json_pack("{s:i,s:s}", "ID", 0, "DisplayName", "");

	if (login) {
		json_object_set_new(o, "Provider", json_string(""));
		json_object_set_new(o, "LoginName", json_string(""));
	}
	return o;
}

static json_t *answer_json(const struct coord *coord, const struct tailnet_registered *a)
{
	bool known = a->as == TAILNET_REGISTERED && a->node;
	char url[400] = "";
	json_t *o;

	if (a->as == TAILNET_LOGIN)
		snprintf(url, sizeof(url), "%s/register/%s", coord->url, a->code);
	o = json_pack("{s:o,s:o,s:b,s:b,s:s,s:n,s:s}",
		      "User", known ? user_json(a->user, false) : empty_user(false),
		      "Login", known ? user_json(a->user, true) : empty_user(true),
		      "NodeKeyExpired", a->as == TAILNET_KEY_EXPIRED || a->as == TAILNET_LOGGED_OUT,
		      "MachineAuthorized", a->as == TAILNET_LOGGED_OUT ||
					   (known && a->node->authorized),
		      "AuthURL", url, "NodeKeySignature",
		      "Error", a->as == TAILNET_REFUSED ? a->error : "");
	return o;
}

static void answered(void *arg, const struct tailnet_registered *answer)
{
	struct request *r = arg;

	r->gone = NULL;
	answer_json_take(r, answer_json(r->coord, answer));
}

static void gone(struct request *r)
{
	tailnet_cancel(r->coord->tailnet, r->arg);
}

/* The code in the URL that we gave as AuthURL; NULL: it is no URL of ours. */
static const char *code_of(const struct coord *coord, const char *followup)
{
	size_t len = strlen(coord->url);

	if (!str_starts(followup, coord->url) || !str_starts(followup + len, "/register/"))
		return NULL;
	return followup + len + 10;
}

void coord_register(struct request *r)
{
	struct register_request from;
	struct warren_err err = ERR_INIT;
	struct tailnet_register ask = { .has_expiry = false };

	if (register_request_parse(str_text(r->body), r->body->len, &from, &err)) {
		answer_text(r, 400, err_first(&err));
	} else if (from.version < COORD_CAPVER) {
		answer_json_take(r, answer_json(r->coord, &(struct tailnet_registered){
			.as = TAILNET_REFUSED, .error = "this client is too old for this server: "
							"update it" }));
	} else {
		memcpy(ask.machine_key, r->session->machine, 32);
		memcpy(ask.node_key, from.node_key, 32);
		ask.from = r->session->from;
		ask.has_expiry = from.has_expiry;
		ask.expiry = from.expiry;
		ask.auth_key = from.auth_key;
		ask.code = from.followup ? code_of(r->coord, from.followup) : NULL;
		ask.code_broken = from.followup && !ask.code;
		ask.hostname = from.hostname;
		ask.hostinfo = from.hostinfo;
		ask.tags = from.tags;
		ask.n_tags = from.n_tags;
		ask.routes = from.routes;
		ask.n_routes = from.n_routes;
		ask.home_derp = from.home_derp;
		ask.capver = (uint32_t)from.version;
		warren_stat_add(r->coord->stats.registrations, 1);
		r->arg = tailnet_register(r->coord->tailnet, &ask, answered, r);
		r->gone = gone;
		if (!r->arg) {
			r->gone = NULL;
			answer_text(r, 500, "no memory\n");
		}
	}
	register_request_free(&from);
	err_free(&err);
}
