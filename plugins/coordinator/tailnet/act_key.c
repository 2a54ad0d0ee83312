/*
 * Administrative acts about pre-auth keys and logins that wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "../store/store.h"
#include "act.h"
#include "base/util.h"
#include "keytext.h"
#include "rules.h"

static int check_key(const struct tailnet *tn, struct tailnet_request *request)
{
	const struct tailnet_act *act = &request->act;

	if (!act->user && !act->n_strings)
		return request_fail(request, -EINVAL, "a key needs a user, or tags, or both: they "
				    "own the nodes that it makes");
	if (act->time && act->time <= now_wall(tn))
		return request_fail(request, -EINVAL, "the key would have expired already");
	return act_check_tags(tn, request);
}

static bool fill_key(struct tailnet_key *key, const struct tailnet_act *act, const char *prefix)
{
	key->user = act->user;
	key->expiry = act->time;
	key->reusable = act->reusable;
	key->ephemeral = act->ephemeral;
	key->preauthorized = act->preauthorized;
	return set_text(&key->prefix, prefix, TAILNET_TEXT) &&
	       set_text(&key->note, act->text, TAILNET_TEXT) &&
	       set_strings(&key->tags, act->strings, act->n_strings);
}

int act_key_create(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	struct tailnet_key *key;
	char prefix[KEYTEXT_PREFIX];
	int rc = check_key(tn, request);

	if (!rc && request->act.user)
		act_user(tn, request, ch, true, &rc);
	if (rc)
		return rc;
	key = key_new();
	if (!key)
		return -ENOMEM;
	keytext_new(request->secret, prefix);
	keytext_hash(request->secret, key->hash);
	key->id = ++tn->last_key;
	key->created = now_wall(tn);
	if (fill_key(key, &request->act, prefix)) {
		change_put_key(ch, key);
		audit_key(ch, tn, &request->act, "key.create", NULL, key);
		request->key = key->id;
	} else {
		rc = -ENOMEM;
	}
	tailnet_key_unref(key);
	return rc;
}

static const struct tailnet_key *act_key(struct tailnet *tn, struct tailnet_request *request,
					 struct change *ch, int *rc)
{
	int64_t id = request->act.key;
	const struct tailnet_key *key = tailnet_key(tn, id);

	*rc = change_alone(tn, ch, ON_KEY, &id, sizeof(id));
	if (*rc)
		return NULL;
	if (!key)
		*rc = request_fail(request, -ENOENT, "there is no such key");
	request->key = id;
	return key;
}

int act_key_revoke(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_key *key;
	struct tailnet_key *now;
	int rc;

	key = act_key(tn, request, ch, &rc);
	if (!key || key->revoked)
		return rc;
	now = key_copy(key);
	if (!now)
		return -ENOMEM;
	now->revoked = now_wall(tn);
	change_put_key(ch, now);
	audit_key(ch, tn, &request->act, "key.revoke", key, now);
	tailnet_key_unref(now);
	return 0;
}

int act_key_delete(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_key *key;
	int rc;

	key = act_key(tn, request, ch, &rc);
	if (!key)
		return rc;
	change_drop_key(ch, key->id);
	audit_key(ch, tn, &request->act, "key.delete", key, NULL);
	return 0;
}

/*
 * ---- Logins ----
 */

/* Those that the user may give, or that the machine's node has already (coordinator.md 1.4). */
static int check_wishes(struct tailnet *tn, struct tailnet_request *request,
			const struct pending *p, const struct tailnet_user *user)
{
	const struct tailnet_machine *machine = state_machine(tn, p->reg.machine_key);
	const struct tailnet_node *node, *tagged = NULL;
	struct str bad = STR_INIT;
	int rc = 0;

	for (uint32_t i = 0; machine && i < machine->n_nodes; i++) {
		node = tailnet_node(tn, machine->nodes[i]);
		if (node && !node->user)
			tagged = node;
	}
	for (uint32_t i = 0; p->tags && i < p->tags->count; i++) {
		const char *tag = p->tags->at[i];

		if (rules_tag_valid(tag) &&
		    ((tagged && tailnet_strings_have(tagged->tags, tag)) ||
		     (tn->rules.may_tag && tn->rules.may_tag(tn->rules.self, user, tag))))
			continue;
		str_addf(&bad, "%s%.64s", bad.len ? " " : "", tag);
	}
	if (bad.len)
		rc = request_fail(request, -EACCES, "requested tags [%s] are invalid or not "
				  "permitted", str_text(&bad));
	str_free(&bad);
	return rc;
}

/* The node is in memory: those who wait see that by themselves. */
static void approved(struct tailnet *tn, struct tailnet_request *request)
{
	struct pending *p = pending_find(tn, request->act.code);

	if (!p)
		return;
	soft_registered(tn, request->node, &p->reg);
	pending_close(tn, p, NULL);
}

static int no_login(struct tailnet_request *request)
{
	return request_fail(request, -ENOENT, "no login waits under this code; it may be over, or "
			    "the coordinator was restarted: try again on the device");
}

/* One decision at a time about a machine; the record is looked up behind the reservation. */
static struct pending *act_pending(struct tailnet *tn, struct tailnet_request *request,
				   struct change *ch, int *rc)
{
	const char *code = request->act.code;
	struct pending *p = code ? pending_find(tn, code) : NULL;

	*rc = p ? change_alone(tn, ch, ON_MACHINE, p->reg.machine_key, TAILNET_KEY_SIZE) :
		  no_login(request);
	if (!*rc)
		*rc = change_alone(tn, ch, ON_NODE_KEY, p->reg.node_key, TAILNET_KEY_SIZE);
	return *rc ? NULL : p;
}

int act_login_approve(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_act *act = &request->act;
	const struct tailnet_user *user;
	const struct pending *p;
	struct login login;
	int rc;

	p = act_pending(tn, request, ch, &rc);
	if (!p)
		return rc;
	user = act_user(tn, request, ch, true, &rc);
	if (!user)
		return rc;
	if (tailnet_node_by_key(tn, p->reg.node_key))
		return request_fail(request, -EEXIST, "the device has got in by another way; its "
				    "node key is known already");
	rc = check_wishes(tn, request, p, user);
	if (rc)
		return rc;
	login = (struct login){
		.user = user, .tags = p->tags, .reg = &p->reg, .token_expiry = act->time,
		.authorized = act->preauthorized, .pin = act->flag, .actor = act->actor,
		.origin = act->origin,
	};
	rc = login_apply(tn, request, ch, &login);
	if (!rc)
		change_then(ch, approved);
	return rc;
}

/* Nothing is stored but the row of the log; the verdict stands when that is on the disk. */
static void rejected(struct tailnet *tn, struct tailnet_request *request)
{
	struct pending *p = pending_find(tn, request->act.code);

	if (p)
		pending_close(tn, p, "the login was rejected");
}

int act_login_reject(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct pending *p;
	int rc;

	p = act_pending(tn, request, ch, &rc);
	if (!p)
		return rc;
	audit_text(ch, tn, &request->act, "login.reject", "machine", 0, p->shown.hostname, NULL,
		   NULL);
	change_then(ch, rejected);
	return 0;
}
