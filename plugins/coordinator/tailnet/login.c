/*
 * What a login does: which node of the machine it is about, and what becomes of that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../store/store.h"
#include "base/util.h"
#include "impl.h"
#include "rules.h"

struct present {			/* the nodes of a machine */
	const struct tailnet_node *own, *tagged, *owned;	/* owned: any user's */
	uint32_t n_owned;
};

static void look_around(const struct tailnet *tn, const struct tailnet_machine *machine,
			int64_t user, struct present *p)
{
	const struct tailnet_node *node;

	*p = (struct present){ NULL, NULL, NULL, 0 };
	for (uint32_t i = 0; machine && i < machine->n_nodes; i++) {
		node = tailnet_node(tn, machine->nodes[i]);
		if (!node)
			continue;
		if (!node->user) {
			p->tagged = node;
			continue;
		}
		p->owned = node;
		p->n_owned++;
		if (node->user == user)
			p->own = node;
	}
}

/* The node that the login is about; *@create: none yet. */
static const struct tailnet_node *target_of(const struct login *login, const struct present *p,
					    bool *create, bool *tagged, bool *retag)
{
	const struct rules_match match = {
		.own = p->own, .owned = p->n_owned, .tagged = p->tagged, .by_key = login->key,
		.with_tags = login->tags,
	};

	*create = *retag = *tagged = false;
	switch (rules_match(&match)) {
	case MATCH_CREATE:
		*create = true;
		*tagged = *retag = login->tags;
		return NULL;
	case MATCH_OWN:
		return p->own;
	case MATCH_TAGGED:
		*tagged = true;
		return p->tagged;
	case MATCH_RETAG:
		*tagged = *retag = true;
		return p->tagged;
	case MATCH_TAGGED_TO_USER:
		return p->tagged;
	case MATCH_OWNED_TO_TAGGED:
		*tagged = *retag = true;
		return p->owned;
	case MATCH_OWN_TO_TAGGED:
		*tagged = *retag = true;
		return p->own;
	case MATCH_AMBIGUOUS:
		break;
	}
	return NULL;
}

/* The machine, known or new, and whether its user wants none but known ones. */
static int settle_machine(struct tailnet *tn, struct tailnet_request *request, struct change *ch,
			  const struct login *login, int64_t *id)
{
	const struct tailnet_machine *machine = state_machine(tn, login->reg->machine_key);
	const struct tailnet_act who = { .actor = login->actor, .origin = login->origin };
	const struct tailnet_user *user = login->user;

	if (user && user->pinned && !login->pin &&
	    !(machine && tailnet_pinned(tn, machine->id, user->id)))
		return request_fail(request, -EACCES, "this device is not one of those that may "
				    "join for %s; ask the operator to pin it", user->login);
	*id = machine ? machine->id : ++tn->last_machine;
	if (!machine)
		change_put_machine(ch, *id, now_wall(tn), login->reg->machine_key);
	if (user && login->pin)
		pin_machine(tn, ch, &who, *id, login->reg->machine_key, user, true);
	return 0;
}

/* Ownership, key and expiry of @now, which is new or a copy of what was. */
static bool fill(const struct tailnet *tn, const struct login *login, bool tagged, bool retag,
		 struct tailnet_node *now)
{
	const struct tailnet_register *reg = login->reg;
	uint32_t n = reg->n_routes < TAILNET_ROUTES ? reg->n_routes : TAILNET_ROUTES;

	memcpy(now->node_key, reg->node_key, TAILNET_KEY_SIZE);
	memcpy(now->machine_key, reg->machine_key, TAILNET_KEY_SIZE);
	now->user = tagged ? 0 : login->user->id;
	if (!tagged)
		share_strings(&now->tags, NULL);
	else if (retag)
		share_strings(&now->tags, login->tags);
	now->interactive = !login->key;
	now->auth_key = login->key ? login->key->id : 0;
	now->expiry = rules_expiry(tagged, reg->has_expiry ? reg->expiry : 0, login->token_expiry,
				   tn->config.key_expiry, now_wall(tn));
	now->authorized = now->authorized || login->authorized;
	/* A login without Hostinfo says nothing about them. */
	if (!reg->hostinfo && now->hostname[0])
		return true;
	return set_text(&now->hostname, reg->hostname, TAILNET_HOSTNAME) &&
	       set_prefixes(&now->announced, reg->routes, n);
}

static struct tailnet_node *create(struct tailnet *tn, const struct login *login, int64_t machine)
{
	struct tailnet_node *now = node_new();

	if (!now)
		return NULL;
	now->id = ++tn->last_node;
	now->machine = machine;
	now->created = now_wall(tn);
	now->soft.last_seen = now->created;
	now->automatic = true;
	now->ephemeral = login->key && login->key->ephemeral;
	now->authorized = !tn->config.approval;
	if (soft_from_register(&now->soft, login->reg))
		return now;
	tailnet_node_unref(now);
	return NULL;
}

static void registered(struct tailnet *tn, struct tailnet_request *request)
{
	if (request->kind == REQUEST_REGISTER)
		soft_registered(tn, request->node, &request->reg);
}

static int no_address(struct tailnet_request *request)
{
	return request_fail(request, -ENOSPC, "the coordinator has no free address left; ask the "
			    "operator for a larger pool (coordinator.prefixes)");
}

/* Single use: the consumption is in the same transaction as the node. */
static int consume(struct tailnet *tn, struct change *ch, const struct tailnet_key *key)
{
	struct tailnet_key *used;

	if (!key || key->reusable)
		return 0;
	used = key_copy(key);
	if (!used)
		return -ENOMEM;
	used->used = now_wall(tn);
	change_consume_key(ch, used);
	tailnet_key_unref(used);
	return 0;
}

/* @now is filled in: name, routes, addresses, and off it goes. */
static int send_off(struct tailnet *tn, struct tailnet_request *request, struct change *ch,
		    const struct login *login, const struct tailnet_node *before,
		    struct tailnet_node *now)
{
	const struct tailnet_act who = { .actor = login->actor, .origin = login->origin };
	int rc = pick_addresses(tn, ch, now);

	if (rc == -ENOSPC)
		return no_address(request);
	if (!rc && now->automatic)
		rc = pick_name(tn, ch, now);
	if (!rc && !route_approve(tn, now))
		rc = -ENOMEM;
	if (!rc)
		rc = consume(tn, ch, login->key);
	if (rc)
		return rc;
	change_put_node(ch, now);
	audit_node(ch, tn, &who, before ? "node.login" : "node.register", before, now);
	change_then(ch, registered);
	request->as = TAILNET_REGISTERED;
	request->node = now->id;
	request->user = now->user;
	return 0;
}

int login_apply(struct tailnet *tn, struct tailnet_request *request, struct change *ch,
		const struct login *login)
{
	const struct tailnet_machine *machine = state_machine(tn, login->reg->machine_key);
	const struct tailnet_node *before;
	struct tailnet_node *now;
	struct present present;
	bool new_node, tagged, retag;
	int64_t machine_id = 0;
	int rc;

	look_around(tn, machine, login->user ? login->user->id : 0, &present);
	before = target_of(login, &present, &new_node, &tagged, &retag);
	if (!before && !new_node)
		return request_fail(request, -EEXIST, "this device has nodes of several owners, "
				    "and it is not clear which one is meant; delete those that "
				    "are not needed any more");
	if (!tagged && !login->user)
		return request_fail(request, -EINVAL, "this key belongs to no user, so it cannot "
				    "make a node without tags");
	rc = before ? hold_node(tn, ch, before) : 0;
	if (!rc)
		rc = settle_machine(tn, request, ch, login, &machine_id);
	if (rc)
		return rc;
	now = before ? node_copy(before) : create(tn, login, machine_id);
	if (!now)
		return -ENOMEM;
	rc = fill(tn, login, tagged, retag, now) ?
	     send_off(tn, request, ch, login, before, now) : -ENOMEM;
	tailnet_node_unref(now);
	return rc;
}
