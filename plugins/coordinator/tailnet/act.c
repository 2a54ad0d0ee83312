/*
 * Administrative acts: copying and dispatching them, and those about users.
 */
#include "act.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../store/store.h"
#include "base/util.h"
#include "rules.h"

static const struct {
	const char *name;
	act_fn *decide;
} verbs[TAILNET_VERBS] = {
	[TAILNET_USER_CREATE] = { "user.create", act_user_create },
	[TAILNET_USER_LOGIN] = { "user.login", act_user_login },
	[TAILNET_USER_RENAME] = { "user.rename", act_user_rename },
	[TAILNET_USER_ROLE] = { "user.role", act_user_role },
	[TAILNET_USER_PIN] = { "user.pin", act_user_pin },
	[TAILNET_USER_DELETE] = { "user.delete", act_user_delete },
	[TAILNET_MACHINE_PIN] = { "machine.pin", act_machine_pin },
	[TAILNET_NODE_RENAME] = { "node.rename", act_node_rename },
	[TAILNET_NODE_EXPIRY] = { "node.expiry", act_node_expiry },
	[TAILNET_NODE_TAG] = { "node.tag", act_node_tag },
	[TAILNET_NODE_ROUTES] = { "node.routes", act_node_routes },
	[TAILNET_NODE_APPROVE] = { "node.approve", act_node_approve },
	[TAILNET_NODE_MOVE] = { "node.move", act_node_move },
	[TAILNET_NODE_ADDRESS] = { "node.address", act_node_address },
	[TAILNET_NODE_ATTRIBUTES] = { "node.attributes", act_node_attributes },
	[TAILNET_NODE_LOGOUT] = { "node.logout", act_node_logout },
	[TAILNET_NODE_DELETE] = { "node.delete", act_node_delete },
	[TAILNET_KEY_CREATE] = { "key.create", act_key_create },
	[TAILNET_KEY_REVOKE] = { "key.revoke", act_key_revoke },
	[TAILNET_KEY_DELETE] = { "key.delete", act_key_delete },
	[TAILNET_LOGIN_APPROVE] = { "login.approve", act_login_approve },
	[TAILNET_LOGIN_REJECT] = { "login.reject", act_login_reject },
	[TAILNET_NOTE] = { "note", act_note },
};

const char *tailnet_verb_name(enum tailnet_verb verb)
{
	return (unsigned)verb < TAILNET_VERBS && verbs[verb].name ? verbs[verb].name : "";
}

int decide_act(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	unsigned int verb = request->act.verb;

	if (verb >= TAILNET_VERBS || !verbs[verb].decide)
		return -EINVAL;
	return verbs[verb].decide(tn, request, ch);
}

static bool copy_act(struct tailnet_request *request, const struct tailnet_act *from)
{
	struct tailnet_act *act = &request->act;
	const char **texts[] = {
		&act->actor, &act->origin, &act->code, &act->text, &act->display, &act->email,
		&act->picture, &act->provider, &act->subject, &act->kind, &act->before,
		&act->after,
	};
	uint8_t *key;

	*act = *from;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (!request_text(request, texts[i]))
			return false;
	}
	if (act->machine_key) {
		key = arena_alloc(&request->arena, TAILNET_KEY_SIZE);
		if (!key)
			return false;
		act->machine_key = memcpy(key, act->machine_key, TAILNET_KEY_SIZE);
	}
	if (act->n_strings > TAILNET_GROUPS)
		act->n_strings = TAILNET_GROUPS;
	if (act->n_prefixes > TAILNET_ROUTES)
		act->n_prefixes = TAILNET_ROUTES;
	return request_texts(request, &act->strings, act->n_strings) &&
	       request_prefixes(request, &act->prefixes, act->n_prefixes);
}

int tailnet_do(struct tailnet *tn, const struct tailnet_act *act, tailnet_done_fn *done, void *arg)
{
	struct tailnet_request *request = request_new(tn, REQUEST_ACT);

	if (!request)
		return -ENOMEM;
	request->acted = done;
	request->arg = arg;
	if (!copy_act(request, act)) {
		request_free(tn, request);
		return -ENOMEM;
	}
	request_run(tn, request);
	tell_flush(tn);
	return 0;
}

/*
 * ---- Users ----
 */

const struct tailnet_user *act_user(struct tailnet *tn, struct tailnet_request *request,
				    struct change *ch, bool shared, int *rc)
{
	int64_t id = request->act.user;
	const struct tailnet_user *user = tailnet_user(tn, id);

	*rc = shared ? change_shared(tn, ch, ON_USER, &id, sizeof(id)) :
		       change_alone(tn, ch, ON_USER, &id, sizeof(id));
	if (*rc)
		return NULL;
	if (!user)
		*rc = request_fail(request, -ENOENT, "there is no such user");
	request->user = id;
	return user;
}

/* Stores @now in the place of @before and writes it down. */
static int put_user(struct tailnet *tn, struct tailnet_request *request, struct change *ch,
		    const struct tailnet_user *before, struct tailnet_user *now)
{
	const char *action = before ? verbs[request->act.verb].name : "user.create";

	change_put_user(ch, now);
	audit_user(ch, tn, &request->act, action, before, now);
	request->user = now->id;
	return 0;
}

static int reserve_login(struct tailnet *tn, struct tailnet_request *request, struct change *ch,
			 const char *login)
{
	int rc;

	if (!rules_login_valid(login))
		return request_fail(request, -EINVAL, "\"%.64s\" cannot be a user's name: 2 "
				    "characters at least, a letter first, then letters, digits, "
				    "\"-\", \".\", \"_\", and one \"@\" at most", login);
	rc = change_alone(tn, ch, ON_LOGIN, login, strlen(login));
	if (!rc && tailnet_user_by_login(tn, login))
		rc = request_fail(request, -EEXIST, "there is a user %s already", login);
	return rc;
}

static bool fill_user(struct tailnet_user *user, const struct tailnet_act *act)
{
	const char *display = act->display && act->display[0] ? act->display : act->text;

	return set_text(&user->login, act->text, TAILNET_TEXT) &&
	       set_text(&user->display, display, TAILNET_TEXT) &&
	       set_text(&user->email, act->email, TAILNET_TEXT) &&
	       set_text(&user->picture, act->picture, TAILNET_URL) &&
	       set_text(&user->provider, act->provider, TAILNET_TEXT) &&
	       set_text(&user->subject, act->subject, TAILNET_URL) &&
	       set_strings(&user->groups, act->strings, act->n_strings);
}

int act_user_create(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	struct tailnet_act *act = &request->act;
	struct tailnet_user *user;
	int rc = reserve_login(tn, request, ch, act->text ? act->text : "");

	if (rc)
		return rc;
	user = user_new();
	if (!user)
		return -ENOMEM;
	user->id = ++tn->last_user;
	user->created = now_wall(tn);
	user->role = act->role;
	act->provider = act->subject = NULL;
	rc = fill_user(user, act) ? put_user(tn, request, ch, NULL, user) : -ENOMEM;
	tailnet_user_unref(user);
	return rc;
}

static bool same_user(const struct tailnet_user *a, const struct tailnet_user *b)
{
	return str_equal(a->login, b->login) && str_equal(a->display, b->display) &&
	       str_equal(a->email, b->email) && str_equal(a->picture, b->picture) &&
	       str_equal(a->provider, b->provider) && strings_equal(a->groups, b->groups);
}

/* Names of a provider's users are the provider's: no rule of ours, no uniqueness. */
int act_user_login(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_act *act = &request->act;
	const struct tailnet_user *before;
	struct tailnet_user *now;
	int rc;

	if (!act->subject || !act->subject[0] || strlen(act->subject) > TAILNET_URL ||
	    !act->provider || !act->text || !act->text[0])
		return request_fail(request, -EINVAL, "the login says neither who nor whose");
	/* Reservations have short keys; two subjects that begin alike only wait for each other. */
	rc = change_alone(tn, ch, ON_SUBJECT, act->subject, strnlen(act->subject, 500));
	if (rc)
		return rc;
	before = tailnet_user_by_subject(tn, act->subject);
	if (before)
		rc = change_alone(tn, ch, ON_USER, &before->id, sizeof(before->id));
	if (rc)
		return rc;
	now = before ? user_copy(before) : user_new();
	if (!now)
		return -ENOMEM;
	if (!before) {
		now->id = ++tn->last_user;
		now->created = now_wall(tn);
	}
	rc = fill_user(now, act) ? 0 : -ENOMEM;
	if (!rc && before && same_user(before, now))
		request->user = before->id;
	else if (!rc)
		rc = put_user(tn, request, ch, before, now);
	tailnet_user_unref(now);
	return rc;
}

int act_user_rename(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const char *login = request->act.text ? request->act.text : "";
	const struct tailnet_user *user;
	struct tailnet_user *now;
	int rc;

	user = act_user(tn, request, ch, false, &rc);
	if (!user)
		return rc;
	if (user->subject[0])
		return request_fail(request, -EPERM, "the name of %s is that of the login provider "
				    "%s; change it there", user->login, user->provider);
	rc = reserve_login(tn, request, ch, login);
	if (rc)
		return rc;
	now = user_copy(user);
	if (!now)
		return -ENOMEM;
	rc = -ENOMEM;
	if (set_text(&now->login, login, TAILNET_TEXT) &&
	    (!str_equal(user->display, user->login) ||
	     set_text(&now->display, login, TAILNET_TEXT)))
		rc = put_user(tn, request, ch, user, now);
	tailnet_user_unref(now);
	return rc;
}

int act_user_role(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_user *user;
	struct tailnet_user *now;
	int rc;

	user = act_user(tn, request, ch, false, &rc);
	if (!user)
		return rc;
	if ((unsigned)request->act.role >= TAILNET_ROLES)
		return -EINVAL;
	now = user_copy(user);
	if (!now)
		return -ENOMEM;
	now->role = request->act.role;
	rc = put_user(tn, request, ch, user, now);
	tailnet_user_unref(now);
	return rc;
}

int act_user_pin(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_user *user;
	struct tailnet_user *now;
	int rc;

	user = act_user(tn, request, ch, false, &rc);
	if (!user)
		return rc;
	now = user_copy(user);
	if (!now)
		return -ENOMEM;
	now->pinned = request->act.flag;
	for (uint32_t i = 0; now->pinned && i < tn->nodes.count; i++) {
		const struct tailnet_node *node = tn->nodes.at[i];

		if (node->user == user->id)
			pin_machine(tn, ch, &request->act, node->machine, node->machine_key, user,
				    true);
	}
	rc = put_user(tn, request, ch, user, now);
	tailnet_user_unref(now);
	return rc;
}

/* Keys of the user, and pins; nodes that came by the keys stay without them. */
static int drop_belongings(struct tailnet *tn, const struct tailnet_act *act, struct change *ch,
			   const struct tailnet_user *user)
{
	struct tailnet_machine *machine;
	uint32_t pos = 0;
	int rc = 0;

	for (uint32_t i = 0; !rc && i < tn->keys.count; i++) {
		const struct tailnet_key *key = tn->keys.at[i];

		if (key->user != user->id)
			continue;
		rc = change_alone(tn, ch, ON_KEY, &key->id, sizeof(key->id));
		if (rc)
			break;
		change_drop_key(ch, key->id);
		audit_key(ch, tn, act, "key.delete", key, NULL);
	}
	while (!rc && (machine = hash_next(&tn->machine_ids, &pos))) {
		if (!tailnet_pinned(tn, machine->id, user->id))
			continue;
		rc = change_alone(tn, ch, ON_MACHINE, machine->key, sizeof(machine->key));
		if (rc)
			break;
		pin_machine(tn, ch, act, machine->id, machine->key, user, false);
		if (!machine->n_nodes && machine->n_pins == 1)
			change_drop_machine(ch, machine->id);
	}
	return rc;
}

int act_user_delete(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_user *user;
	uint32_t owned = 0;
	int rc;

	user = act_user(tn, request, ch, false, &rc);
	if (!user)
		return rc;
	for (uint32_t i = 0; i < tn->nodes.count; i++)
		owned += ((const struct tailnet_node *)tn->nodes.at[i])->user == user->id;
	if (owned)
		return request_fail(request, -ENOTEMPTY, "%s owns %u node%s; delete or move %s "
				    "first", user->login, owned, owned == 1 ? "" : "s",
				    owned == 1 ? "it" : "them");
	rc = drop_belongings(tn, &request->act, ch, user);
	if (rc)
		return rc;
	change_drop_user(ch, user->id);
	audit_user(ch, tn, &request->act, "user.delete", user, NULL);
	return 0;
}

int act_machine_pin(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_act *act = &request->act;
	const struct tailnet_node *node = tailnet_node(tn, act->node);
	const uint8_t *key = node ? node->machine_key : act->machine_key;
	const struct tailnet_machine *machine = key ? state_machine(tn, key) : NULL;
	const struct tailnet_user *user;
	int64_t id;
	int rc;

	user = act_user(tn, request, ch, true, &rc);
	if (!user)
		return rc;
	if (!key)
		return request_fail(request, -ENOENT, "there is no such node");
	rc = change_alone(tn, ch, ON_MACHINE, key, TAILNET_KEY_SIZE);
	if (rc)
		return rc;
	if (!machine && !act->flag)
		return 0;
	/* A machine may be pinned before it was ever here. */
	id = machine ? machine->id : ++tn->last_machine;
	if (!machine)
		change_put_machine(ch, id, now_wall(tn), key);
	pin_machine(tn, ch, act, id, key, user, act->flag);
	if (machine && !act->flag && !machine->n_nodes && machine->n_pins == 1 &&
	    tailnet_pinned(tn, id, user->id))
		change_drop_machine(ch, id);
	return 0;
}

int act_note(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_act *act = &request->act;

	if (!act->text || !act->kind)
		return -EINVAL;
	audit_text(ch, tn, act, act->text, act->kind, act->node,
		   act->display ? act->display : "", act->before, act->after);
	return 0;
}
