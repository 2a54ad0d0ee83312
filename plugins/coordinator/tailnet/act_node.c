/*
 * Administrative acts about nodes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../store/store.h"
#include "act.h"
#include "base/addr.h"
#include "base/util.h"
#include "rules.h"

struct tailnet_node *act_edit(struct tailnet *tn, struct tailnet_request *request,
			      struct change *ch, const struct tailnet_node **before, int *rc)
{
	int64_t id = request->act.node;
	struct tailnet_node *now;

	*before = tailnet_node(tn, id);
	*rc = *before ? hold_node(tn, ch, *before) :
			request_fail(request, -ENOENT, "there is no such node");
	if (*rc)
		return NULL;
	request->node = id;
	now = node_copy(*before);
	if (!now)
		*rc = -ENOMEM;
	return now;
}

int act_put_take(struct tailnet *tn, struct tailnet_request *request, struct change *ch,
		 const struct tailnet_node *before, struct tailnet_node *now, int rc)
{
	if (!rc && node_diff(before, now)) {
		change_put_node(ch, now);
		audit_node(ch, tn, &request->act, tailnet_verb_name(request->act.verb), before,
			   now);
	}
	tailnet_node_unref(now);
	return rc;
}

static int rename_to(struct tailnet *tn, struct tailnet_request *request, struct change *ch,
		     struct tailnet_node *now, const char *name)
{
	const struct tailnet_node *other = tailnet_node_by_name(tn, name);
	int rc;

	if (!rules_label_valid(name))
		return request_fail(request, -EINVAL, "\"%.80s\" cannot be a node's name: lower-"
				    "case letters, digits and dashes, 63 at most, no dash at the "
				    "ends", name);
	if (strcmp(name, now->name) != 0) {
		rc = change_alone(tn, ch, ON_NAME, name, strlen(name));
		if (rc)
			return rc;
		if (other)
			return request_fail(request, -EEXIST, "there is a node %s already", name);
	}
	now->automatic = false;
	return set_text(&now->name, name, TAILNET_LABEL) ? 0 : -ENOMEM;
}

int act_node_rename(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const char *name = request->act.text ? request->act.text : "";
	const struct tailnet_node *before;
	struct tailnet_node *now;
	int rc;

	now = act_edit(tn, request, ch, &before, &rc);
	if (!now)
		return rc;
	if (name[0]) {
		rc = rename_to(tn, request, ch, now, name);
	} else {
		now->automatic = true;
		rc = pick_name(tn, ch, now);
	}
	return act_put_take(tn, request, ch, before, now, rc);
}

int act_node_expiry(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	int64_t time = request->act.time, wall = now_wall(tn);
	const struct tailnet_node *before;
	struct tailnet_node *now;
	int rc;

	now = act_edit(tn, request, ch, &before, &rc);
	if (!now)
		return rc;
	now->expiry = time && time < wall ? wall : time;
	return act_put_take(tn, request, ch, before, now, rc);
}

/* Another node of the same machine that @user (0: tags) would own as well. */
static const struct tailnet_node *sibling(const struct tailnet *tn,
					  const struct tailnet_node *node, int64_t user)
{
	const struct tailnet_machine *machine = state_machine_by_id(tn, node->machine);
	const struct tailnet_node *other;

	for (uint32_t i = 0; machine && i < machine->n_nodes; i++) {
		other = tailnet_node(tn, machine->nodes[i]);
		if (other && other->id != node->id && other->user == user)
			return other;
	}
	return NULL;
}

/* Ownership goes to @user (0: tags): nobody else may be on the way to it. */
static int change_owner(struct tailnet *tn, struct tailnet_request *request, struct change *ch,
			struct tailnet_node *now, int64_t user)
{
	const struct tailnet_node *other;
	int rc = change_alone(tn, ch, ON_MACHINE, now->machine_key, TAILNET_KEY_SIZE);

	if (rc)
		return rc;
	other = sibling(tn, now, user);
	if (other)
		return request_fail(request, -EEXIST, "the same machine has the node %s of that "
				    "owner already; delete one of them", other->name);
	now->user = user;
	return 0;
}

int act_check_tags(const struct tailnet *tn, struct tailnet_request *request)
{
	const struct tailnet_act *act = &request->act;
	const struct tailnet_rules *rules = &tn->rules;

	if (act->n_strings > TAILNET_TAGS)
		return request_fail(request, -EINVAL, "%u tags are too many; %d is the limit",
				    act->n_strings, TAILNET_TAGS);
	for (uint32_t i = 0; i < act->n_strings; i++) {
		if (!rules_tag_valid(act->strings[i]))
			return request_fail(request, -EINVAL, "\"%.80s\" is no tag: \"tag:\", a "
					    "letter, then letters, digits and dashes",
					    act->strings[i]);
		if (!rules->tag_exists || !rules->tag_exists(rules->self, act->strings[i]))
			return request_fail(request, -ENOENT, "%.80s is not in the policy; add it "
					    "to tagOwners", act->strings[i]);
	}
	return 0;
}

int act_node_tag(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_act *act = &request->act;
	const struct tailnet_node *before;
	struct tailnet_node *now;
	int rc;

	now = act_edit(tn, request, ch, &before, &rc);
	if (!now)
		return rc;
	rc = act->n_strings ? act_check_tags(tn, request) :
	     request_fail(request, -EINVAL, "a node without tags belongs to a user; name one by "
			  "moving it");
	if (!rc && now->user)
		rc = change_owner(tn, request, ch, now, 0);
	if (!rc && !(set_strings(&now->tags, act->strings, act->n_strings) &&
		     route_approve(tn, now)))
		rc = -ENOMEM;
	return act_put_take(tn, request, ch, before, now, rc);
}

int act_node_move(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_node *before;
	const struct tailnet_user *user;
	struct tailnet_node *now;
	int rc;

	user = act_user(tn, request, ch, true, &rc);
	if (!user)
		return rc;
	now = act_edit(tn, request, ch, &before, &rc);
	if (!now)
		return rc;
	if (user->pinned && !tailnet_pinned(tn, now->machine, user->id))
		rc = request_fail(request, -EACCES, "%s has pinned machines, and this is none of "
				  "them; pin it first", user->login);
	if (!rc && before->user != user->id)
		rc = change_owner(tn, request, ch, now, user->id);
	/* A tagged node had none; a user's has, from now on. */
	if (!rc && !before->user)
		now->expiry = rules_expiry(false, 0, 0, tn->config.key_expiry, now_wall(tn));
	if (!rc) {
		share_strings(&now->tags, NULL);
		rc = route_approve(tn, now) ? 0 : -ENOMEM;
	}
	return act_put_take(tn, request, ch, before, now, rc);
}

/* 0.0.0.0/0 and ::/0 go together: an exit node is one for both families. */
static bool set_routes(struct tailnet_node *now, const struct tailnet_act *act)
{
	static const struct warren_prefix exits[] = { { { 4, { 0 } }, 0 }, { { 6, { 0 } }, 0 } };
	struct warren_prefix *list = calloc(act->n_prefixes + 2, sizeof(*list));
	uint32_t n = act->n_prefixes;
	bool exit = false, ok;

	if (!list)
		return false;
	if (n)
		memcpy(list, act->prefixes, n * sizeof(*list));
	for (uint32_t i = 0; i < act->n_prefixes; i++)
		exit = exit || !list[i].bits;
	for (size_t i = 0; exit && i < ARRAY_SIZE(exits); i++)
		list[n++] = exits[i];
	ok = set_prefixes(&now->approved, list, n);
	free(list);
	return ok;
}

int act_node_routes(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_node *before;
	struct tailnet_node *now;
	int rc;

	now = act_edit(tn, request, ch, &before, &rc);
	if (!now)
		return rc;
	rc = set_routes(now, &request->act) ? 0 : -ENOMEM;
	return act_put_take(tn, request, ch, before, now, rc);
}

int act_node_approve(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_node *before;
	struct tailnet_node *now;
	int rc;

	now = act_edit(tn, request, ch, &before, &rc);
	if (!now)
		return rc;
	now->authorized = request->act.flag;
	return act_put_take(tn, request, ch, before, now, rc);
}

int act_node_address(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct warren_addr *addr = &request->act.addr;
	const struct address_pool *pool = addr->family == 4 ? &tn->v4 : &tn->v6;
	const struct tailnet_node *before, *other = tailnet_node_by_addr(tn, addr);
	struct warren_addr *field;
	struct tailnet_node *now;
	char text[ADDR_TEXT];
	int rc;

	now = act_edit(tn, request, ch, &before, &rc);
	if (!now)
		return rc;
	addr_format(addr, text);
	field = addr->family == 4 ? &now->v4 : &now->v6;
	if (!address_usable(pool, addr))
		rc = request_fail(request, -EINVAL, "%s is not in the pool of addresses, or has "
				  "a meaning of its own", text);
	else if (other && other != before)
		rc = request_fail(request, -EEXIST, "%s is the address of %s", text, other->name);
	else if (!addr_equal(addr, field))
		rc = change_alone(tn, ch, ON_ADDR, addr, sizeof(*addr));
	if (!rc && !addr_equal(addr, field)) {
		/* The operator may take an address from quarantine. */
		if (state_held(tn, addr))
			change_hold(ch, addr, 0);
		change_hold(ch, field, now_wall(tn) + tn->config.quarantine);
		*field = *addr;
	}
	return act_put_take(tn, request, ch, before, now, rc);
}

int act_node_logout(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_node *node = tailnet_node(tn, request->act.node);

	if (node && node->ephemeral)
		return act_node_delete(tn, request, ch);
	request->act.time = 1;		/* long ago: it is now */
	return act_node_expiry(tn, request, ch);
}

/* The timer's wish is void when a stream has come meanwhile. */
static bool came_back(const struct tailnet *tn, const struct tailnet_act *act,
		      const struct tailnet_node *node)
{
	const struct place *place = state_place(tn, node->id);

	return str_equal(act->origin, "timer") &&
	       (node->live.sessions || !place || !place->delete_at);
}

int act_node_delete(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_node *node = tailnet_node(tn, request->act.node);
	int rc = change_alone(tn, ch, ON_NODE, &request->act.node, sizeof(request->act.node));

	if (rc)
		return rc;
	if (!node)
		return request_fail(request, -ENOENT, "there is no such node");
	if (came_back(tn, &request->act, node))
		return 0;
	rc = drop_node(tn, ch, node);
	if (!rc)
		audit_node(ch, tn, &request->act, tailnet_verb_name(request->act.verb), node,
			   NULL);
	return rc;
}
