/*
 * What listeners are told. All that came into force together is gathered, one entry for each node
 * and user, with the record as it was first and as it is last.
 */
#include <stdlib.h>
#include <string.h>

#include "impl.h"

static struct delta *delta_add(struct deltas *d)
{
	uint32_t room = d->room ? 2 * d->room : 16;

	if (d->count == d->room) {
		d->at = reallocarray(d->at, room, sizeof(*d->at));
		must(d->at);
		d->room = room;
	}
	return &d->at[d->count++];
}

void tell_node(struct tailnet *tn, struct place *place, const struct tailnet_node *before,
	       const struct tailnet_node *after)
{
	int64_t id = before ? before->id : after->id;
	struct delta *d;

	if (!tn->listeners)
		return;
	if (place->delta) {
		d = &tn->node_deltas.at[place->delta - 1];
		tailnet_node_unref(d->after);
		d->after = tailnet_node_ref(after);
		return;
	}
	d = delta_add(&tn->node_deltas);
	*d = (struct delta){ id, tailnet_node_ref(before), tailnet_node_ref(after) };
	place->delta = tn->node_deltas.count;
}

void tell_user(struct tailnet *tn, const struct tailnet_user *before,
	       const struct tailnet_user *after)
{
	int64_t id = before ? before->id : after->id;
	struct delta *d;
	uint32_t i = 0;

	if (!tn->listeners)
		return;
	while (i < tn->user_deltas.count && tn->user_deltas.at[i].id != id)
		i++;
	if (i < tn->user_deltas.count) {
		d = &tn->user_deltas.at[i];
		tailnet_user_unref(d->after);
		d->after = tailnet_user_ref(after);
		return;
	}
	d = delta_add(&tn->user_deltas);
	*d = (struct delta){ id, tailnet_user_ref(before), tailnet_user_ref(after) };
}

static enum tailnet_change_kind kind_of(const struct delta *d)
{
	if (!d->before)
		return TAILNET_ADDED;
	return d->after ? TAILNET_CHANGED : TAILNET_REMOVED;
}

/* What is left of it: came and went in one go, or ended as it began, is nothing. */
static uint32_t node_changes(const struct deltas *d, struct tailnet_change *out)
{
	uint32_t n = 0, fields;

	for (uint32_t i = 0; i < d->count; i++) {
		const struct tailnet_node *before = d->at[i].before, *after = d->at[i].after;

		fields = before && after ? node_diff(before, after) : 0;
		if ((!before && !after) || (before && after && !fields))
			continue;
		out[n++] = (struct tailnet_change){ kind_of(&d->at[i]), fields, before, after };
	}
	return n;
}

static uint32_t user_changes(const struct deltas *d, struct tailnet_user_change *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < d->count; i++) {
		if (d->at[i].before || d->at[i].after)
			out[n++] = (struct tailnet_user_change){ kind_of(&d->at[i]),
								 d->at[i].before, d->at[i].after };
	}
	return n;
}

static void tell_once(struct tailnet *tn)
{
	struct deltas nodes = tn->node_deltas, users = tn->user_deltas;
	struct tailnet_change *node = calloc(nodes.count + 1, sizeof(*node));
	struct tailnet_user_change *user = calloc(users.count + 1, sizeof(*user));
	struct tailnet_changes changes = { .node = node, .user = user };
	struct tailnet_listener *next;
	struct place *place;

	must(node && user);
	for (uint32_t i = 0; i < nodes.count; i++) {
		place = state_place(tn, nodes.at[i].id);
		if (place)
			place->delta = 0;
	}
	tn->node_deltas = tn->user_deltas = (struct deltas){ NULL, 0, 0 };
	changes.nodes = node_changes(&nodes, node);
	changes.users = user_changes(&users, user);
	for (struct tailnet_listener *l = tn->listeners; l; l = next) {
		next = l->next;
		if (changes.nodes || changes.users)
			l->fn(l->arg, &changes);
	}
	for (uint32_t i = 0; i < nodes.count; i++) {
		tailnet_node_unref(nodes.at[i].before);
		tailnet_node_unref(nodes.at[i].after);
	}
	for (uint32_t i = 0; i < users.count; i++) {
		tailnet_user_unref(users.at[i].before);
		tailnet_user_unref(users.at[i].after);
	}
	free(nodes.at);
	free(users.at);
	free(node);
	free(user);
}

void tell_flush(struct tailnet *tn)
{
	/* What a listener changes is told when all have heard of what came before. */
	if (tn->telling)
		return;
	tn->telling = true;
	route_elect(tn);
	while (tn->node_deltas.count || tn->user_deltas.count) {
		tell_once(tn);
		route_elect(tn);
	}
	tn->telling = false;
}

struct tailnet_listener *tailnet_listen(struct tailnet *tn, tailnet_changed_fn *fn, void *arg)
{
	struct tailnet_listener *l = calloc(1, sizeof(*l)), **at;

	if (!l)
		return NULL;
	*l = (struct tailnet_listener){ .fn = fn, .arg = arg };
	for (at = &tn->listeners; *at; at = &(*at)->next)
		;
	*at = l;
	return l;
}

void tailnet_unlisten(struct tailnet *tn, struct tailnet_listener *listener)
{
	for (struct tailnet_listener **at = &tn->listeners; *at; at = &(*at)->next) {
		if (*at == listener) {
			*at = listener->next;
			free(listener);
			return;
		}
	}
}

void tell_free(struct tailnet *tn)
{
	while (tn->listeners)
		tailnet_unlisten(tn, tn->listeners);
	for (uint32_t i = 0; i < tn->node_deltas.count; i++) {
		tailnet_node_unref(tn->node_deltas.at[i].before);
		tailnet_node_unref(tn->node_deltas.at[i].after);
	}
	for (uint32_t i = 0; i < tn->user_deltas.count; i++) {
		tailnet_user_unref(tn->user_deltas.at[i].before);
		tailnet_user_unref(tn->user_deltas.at[i].after);
	}
	free(tn->node_deltas.at);
	free(tn->user_deltas.at);
}
