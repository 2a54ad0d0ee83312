/*
 * The policy over the tailnet: what changes in one is brought to the other, and what follows from
 * it to the streams that it concerns.
 */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "../login/desk.h"
#include "base/err.h"
#include "base/str.h"

enum {
	/* What the policy looks at. */
	POLICY_FIELDS = TAILNET_F_USER | TAILNET_F_TAGS | TAILNET_F_ADDRESSES |
			TAILNET_F_ANNOUNCED | TAILNET_F_APPROVED | TAILNET_F_PRIMARY |
			TAILNET_F_AUTHORIZED | TAILNET_F_ATTRIBUTES,
	/* What a patch can say (6.6). */
	PATCH_FIELDS = TAILNET_F_NODE_KEY | TAILNET_F_DISCO_KEY | TAILNET_F_ENDPOINTS |
		       TAILNET_F_HOME_DERP | TAILNET_F_CAPVER | TAILNET_F_LAST_SEEN |
		       TAILNET_F_ONLINE | TAILNET_F_EXPIRY,
	/* What a node itself has no use for, or says. */
	OTHERS_FIELDS = TAILNET_F_DISCO_KEY | TAILNET_F_ENDPOINTS | TAILNET_F_HOME_DERP |
			TAILNET_F_HOSTINFO | TAILNET_F_CAPVER | TAILNET_F_LAST_SEEN |
			TAILNET_F_ONLINE | TAILNET_F_HEALTH | TAILNET_F_HOSTNAME,
};

/* ---- into the policy's world ---- */

/* "custom:name=JSON" each. */
static void add_custom(json_t *o, const struct tailnet_strings *list)
{
	for (uint32_t i = 0; list && i < list->count; i++) {
		const char *equals = strchr(list->at[i], '=');

		if (equals)
			json_object_setn_new(o, list->at[i], (size_t)(equals - list->at[i]),
					     json_loads(equals + 1, JSON_DECODE_ANY, NULL));
	}
}

/* node:os and so on (coordinator.md 2.9) of what the client says of itself, and what is set. */
static json_t *attributes_of(const struct tailnet_node *node)
{
	static const char *const from[][2] = {
		{ "node:os", "OS" }, { "node:osVersion", "OSVersion" },
		{ "node:tsVersion", "IPNVersion" },
	};
	json_t *info = node->soft.hostinfo ? json_loads(node->soft.hostinfo, 0, NULL) : NULL;
	json_t *o = json_object();

	for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
		json_t *value = json_object_get(info, from[i][1]);

		if (json_is_string(value))
			json_object_set(o, from[i][0], value);
	}
	json_decref(info);
	add_custom(o, node->attributes);
	return o;
}

static struct policy_node node_as(const struct tailnet_node *node, json_t *attributes)
{
	return (struct policy_node){
		.id = node->id, .user = node->user,
		.tags = node->tags ? node->tags->at : NULL,
		.n_tags = node->tags ? node->tags->count : 0, .v4 = node->v4, .v6 = node->v6,
		.announced = node->announced ? node->announced->at : NULL,
		.n_announced = node->announced ? node->announced->count : 0,
		.approved = node->approved ? node->approved->at : NULL,
		.n_approved = node->approved ? node->approved->count : 0,
		.attributes = attributes, .elected = true,
		.primary = node->live.primary ? node->live.primary->at : NULL,
		.n_primary = node->live.primary ? node->live.primary->count : 0,
	};
}

static bool put_node(struct coord *coord, const struct tailnet_node *node)
{
	json_t *attributes = attributes_of(node);
	const struct policy_node as = node_as(node, attributes);
	bool ok = true;

	if (node->authorized)
		ok = policy_world_put(coord->world, &as, &coord->changes) == 0;
	else			/* sees nobody, and nobody sees it */
		policy_world_remove(coord->world, node->id, &coord->changes);
	json_decref(attributes);
	return ok;
}

/* The provider's group ops is group:ops of the policy, if the operator wants that. */
static bool put_user(struct coord *coord, const struct tailnet_user *user)
{
	uint32_t n = login_desk_policy_groups(coord->desk) && user->groups ?
		     user->groups->count : 0;
	char **groups = n ? calloc(n, sizeof(*groups)) : NULL;
	bool ok = groups || !n;
	struct policy_user as = {
		.id = user->id, .login = user->login, .email = user->email,
		.name = user->login, .role = (enum policy_role)user->role,
		.groups = (const char *const *)groups, .n_groups = n,
	};

	for (uint32_t i = 0; ok && i < n; i++)
		ok = asprintf(&groups[i], "group:%s", user->groups->at[i]) >= 0;
	ok = ok && policy_world_user(coord->world, &as, &coord->changes) == 0;
	for (uint32_t i = 0; groups && i < n; i++)
		free(groups[i]);
	free(groups);
	return ok;
}

/* ---- out to the streams ---- */

void coord_view_tell_routers(struct coord *coord, int64_t viewer)
{
	uint32_t n;
	const struct tailnet_node *const *nodes = tailnet_nodes(coord->tailnet, &n);

	for (uint32_t i = 0; i < n; i++) {
		if (nodes[i]->approved && nodes[i]->approved->count > 0 &&
		    policy_world_sees(coord->world, viewer, nodes[i]->id))
			coord_tell_peer(coord, viewer, nodes[i]->id, PEER_WHOLE, 0);
	}
}

void coord_view_tell(struct coord *coord)
{
	const struct policy_changes *c = &coord->changes;

	for (uint32_t i = 0; i < c->n_pairs; i++)
		coord_tell_peer(coord, c->pairs[i].viewer, c->pairs[i].peer,
				c->pairs[i].appears ? PEER_WHOLE : PEER_GONE, 0);
	for (uint32_t i = 0; i < c->n_filters; i++) {
		coord_tell_node(coord, c->filters[i], DIRTY_FILTER | DIRTY_SELF);
		coord_view_tell_routers(coord, c->filters[i]);
		if (coord_caps_changed(coord, c->filters[i]))
			coord_tell_viewers(coord, c->filters[i], PEER_WHOLE, 0);
	}
	for (uint32_t i = 0; i < c->n_routes; i++)
		coord_tell_viewers(coord, c->routes[i], PEER_WHOLE, 0);
	if (c->failed) {
		warren_log(coord->ctx, LOG_ERR, "memory ran out while the policy was applied: the "
			   "clients are sent away and come again");
		coord_streams_close(coord);
	}
	policy_changes_clear(&coord->changes);
}

/* Of what has changed in a node, what those who see it are told. */
static uint32_t told_fields(const struct tailnet_change *change)
{
	uint32_t fields = change->fields & ~(uint32_t)(TAILNET_F_HEALTH | TAILNET_F_HOSTNAME |
						       TAILNET_F_OTHER | TAILNET_F_ATTRIBUTES);

	if ((fields & TAILNET_F_HOSTINFO) && !coord_hostinfo_differs(change->before, change->after))
		fields &= ~(uint32_t)TAILNET_F_HOSTINFO;
	if (coord_wireguard_only(change->before) != coord_wireguard_only(change->after))
		fields |= TAILNET_F_OTHER;
	return fields == TAILNET_F_LAST_SEEN ? 0 : fields;
}

static void node_removed(struct coord *coord, const struct tailnet_node *node)
{
	policy_world_remove(coord->world, node->id, &coord->changes);
	coord_fragment_drop(coord, node->id);
	coord_view_tell(coord);
	coord_streams_part(coord, node);
}

static void node_added(struct coord *coord, const struct tailnet_node *node)
{
	if (!put_node(coord, node))
		coord->changes.failed = true;
	coord_view_tell(coord);
}

/* Also without a posture: the next policy may have one, and judges what the world knows. */
static bool concerns_policy(const struct tailnet_change *change)
{
	json_t *before, *after;
	bool same;

	if (change->fields & POLICY_FIELDS)
		return true;
	if (!(change->fields & TAILNET_F_HOSTINFO))
		return false;
	before = attributes_of(change->before);
	after = attributes_of(change->after);
	same = before && json_equal(before, after);
	json_decref(before);
	json_decref(after);
	return !same;
}

static void node_changed(struct coord *coord, const struct tailnet_change *change)
{
	const struct tailnet_node *node = change->after;
	uint32_t fields = told_fields(change);
	bool whole = (fields & ~(uint32_t)PATCH_FIELDS) || (fields & TAILNET_F_EXPIRY);

	if (concerns_policy(change) && !put_node(coord, node))
		coord->changes.failed = true;
	coord_view_tell(coord);
	if (fields)
		coord_tell_viewers(coord, node->id, whole ? PEER_WHOLE : PEER_PATCH, fields);
	if (fields & TAILNET_F_NODE_KEY)
		coord_streams_of(coord, node->id);	/* of the key before */
	else if (fields & ~(uint32_t)OTHERS_FIELDS)
		coord_tell_node(coord, node->id, DIRTY_SELF);
}

static void changed(void *arg, const struct tailnet_changes *changes)
{
	struct coord *coord = arg;
	bool renamed = false;

	for (uint32_t i = 0; i < changes->users; i++) {
		const struct tailnet_user_change *u = &changes->user[i];

		if (u->kind == TAILNET_REMOVED)
			policy_world_user_remove(coord->world, u->before->id, &coord->changes);
		else if (!put_user(coord, u->after))
			coord->changes.failed = true;
		renamed = renamed || u->kind == TAILNET_CHANGED;
	}
	for (uint32_t i = 0; i < changes->nodes; i++) {
		const struct tailnet_change *n = &changes->node[i];

		if (n->kind == TAILNET_REMOVED)
			node_removed(coord, n->before);
		else if (n->kind == TAILNET_ADDED)
			node_added(coord, n->after);
		else
			node_changed(coord, n);
	}
	coord_view_tell(coord);
	if (renamed)
		coord_tell_users(coord);
}

/* ---- what the tailnet asks of the policy ---- */

static bool tag_exists(void *self, const char *tag)
{
	const struct coord *coord = self;

	return coord->policy && policy_find(&coord->policy->tags, tag);
}

static bool may_tag(void *self, const struct tailnet_user *user, const char *tag)
{
	const struct coord *coord = self;

	return policy_world_may_tag(coord->world, user->id, NULL, 0, tag);
}

static bool approves(void *self, const struct tailnet_node *node,
		     const struct warren_prefix *prefix)
{
	struct coord *coord = self;
	const struct policy_node as = node_as(node, NULL);

	return policy_world_approves(coord->world, &as, prefix);
}

void coord_view_rules(struct coord *coord)
{
	const struct tailnet_rules rules = {
		.self = coord, .tag_exists = tag_exists, .may_tag = may_tag, .approves = approves,
	};

	tailnet_set_rules(coord->tailnet, &rules);
}

void coord_view_users(struct coord *coord)
{
	uint32_t n;
	const struct tailnet_user *const *users = tailnet_users(coord->tailnet, &n);

	for (uint32_t i = 0; i < n; i++) {
		if (!put_user(coord, users[i]))
			coord->changes.failed = true;
	}
	coord_view_tell(coord);
}

/* ---- begin and end ---- */

int coord_view_start(struct coord *coord, struct warren_err *err)
{
	uint32_t n;
	const struct tailnet_user *const *users = tailnet_users(coord->tailnet, &n);
	const struct tailnet_node *const *nodes;
	bool ok;

	coord->world = policy_world_new();
	coord->listener_of_changes = tailnet_listen(coord->tailnet, changed, coord);
	ok = coord->world && coord->listener_of_changes;
	for (uint32_t i = 0; ok && i < n; i++)
		ok = put_user(coord, users[i]);
	nodes = tailnet_nodes(coord->tailnet, &n);
	for (uint32_t i = 0; ok && i < n; i++)
		ok = put_node(coord, nodes[i]);
	policy_changes_clear(&coord->changes);
	return ok ? 0 : warren_fail_key(err, -ENOMEM, NULL, NULL, "no memory");
}

void coord_view_stop(struct coord *coord)
{
	const struct tailnet_rules none = { .self = NULL };

	if (coord->tailnet)
		tailnet_set_rules(coord->tailnet, &none);
	if (coord->listener_of_changes)
		tailnet_unlisten(coord->tailnet, coord->listener_of_changes);
	coord->listener_of_changes = NULL;
	coord_policy_stop(coord);
	policy_world_free(coord->world);
	coord->world = NULL;
	policy_free(coord->policy);
	coord->policy = NULL;
	policy_changes_free(&coord->changes);
}
