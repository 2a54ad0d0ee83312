/*
 * Who serves which prefix. A subnet that several nodes serve has one primary among those that are
 * online; default routes have none, every exit node offers them (coordinator.md 1.11).
 */
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/util.h"
#include "impl.h"
#include "rules.h"

static bool is_default(const struct warren_prefix *prefix)
{
	return prefix->bits == 0;
}

/* It may carry traffic: others see it, and its keys are good. */
static bool in_force(const struct tailnet_node *node)
{
	return node && node->authorized && !node->live.expired;
}

static bool serves(const struct tailnet_node *node, const struct warren_prefix *prefix)
{
	return in_force(node) && tailnet_node_serves(node, prefix);
}

static struct route *route_get(struct tailnet *tn, const struct warren_prefix *prefix)
{
	struct route *route = hash_get(&tn->routes, prefix, sizeof(*prefix));

	if (route)
		return route;
	route = calloc(1, sizeof(*route));
	must(route);
	route->prefix = *prefix;
	must(hash_put(&tn->routes, &route->prefix, sizeof(*prefix), route, NULL) == 0);
	return route;
}

static void member_set(struct route *route, int64_t id, bool member)
{
	uint32_t i = 0;

	while (i < route->n_members && route->members[i] != id)
		i++;
	if (member && i == route->n_members) {
		route->members = reallocarray(route->members, i + 1, sizeof(*route->members));
		must(route->members);
		route->members[route->n_members++] = id;
	} else if (!member && i < route->n_members) {
		route->members[i] = route->members[--route->n_members];
	}
}

/* @list belongs to @before or @after: every prefix in it is looked at. */
static void look(struct tailnet *tn, const struct tailnet_prefixes *list, int64_t id,
		 const struct tailnet_node *before, const struct tailnet_node *after)
{
	const struct warren_prefix *prefix;
	bool was, is;

	for (uint32_t i = 0; list && i < list->count; i++) {
		prefix = &list->at[i];
		was = serves(before, prefix);
		is = serves(after, prefix);
		if (is_default(prefix) || (!was && !is))
			continue;
		if (was == is && before->live.online == after->live.online &&
		    before->live.unhealthy == after->live.unhealthy)
			continue;
		struct route *route = route_get(tn, prefix);

		member_set(route, id, is);
		route->touched = true;
		tn->touched_routes = true;
	}
}

void route_moved(struct tailnet *tn, const struct tailnet_node *before,
		 const struct tailnet_node *after)
{
	int64_t id = before ? before->id : after->id;

	if (before)
		look(tn, before->approved, id, before, after);
	if (after && (!before || after->approved != before->approved))
		look(tn, after->approved, id, before, after);
}

/* Gives or takes @prefix in the list of what the node is primary for. */
static void set_primary(struct tailnet *tn, int64_t id, const struct warren_prefix *prefix,
			bool primary)
{
	const struct tailnet_node *node = tailnet_node(tn, id);
	const struct tailnet_prefixes *old = node ? node->live.primary : NULL;
	uint32_t n = old ? old->count : 0, count = 0;
	struct warren_prefix *list;
	struct tailnet_node *now;

	if (!node || tailnet_prefixes_have(old, prefix) == primary)
		return;
	list = calloc(n + 1, sizeof(*list));
	now = node_copy(node);
	must(list && now);
	for (uint32_t i = 0; i < n; i++) {
		if (!prefix_equal(&old->at[i], prefix))
			list[count++] = old->at[i];
	}
	if (primary)
		list[count++] = *prefix;
	must(set_prefixes(&now->live.primary, list, count));
	free(list);
	state_put_node(tn, now);
}

static void elect(struct tailnet *tn, struct route *route)
{
	struct rules_candidate *candidates = calloc(route->n_members + 1, sizeof(*candidates));
	const struct tailnet_node *node;
	int64_t old = route->primary;
	uint32_t n = 0;

	must(candidates);
	for (uint32_t i = 0; i < route->n_members; i++) {
		node = tailnet_node(tn, route->members[i]);
		if (node)
			candidates[n++] = (struct rules_candidate){ node->id, node->live.online,
								    node->live.unhealthy };
	}
	route->primary = rules_elect(old, candidates, n);
	free(candidates);
	if (route->primary == old)
		return;
	set_primary(tn, old, &route->prefix, false);
	set_primary(tn, route->primary, &route->prefix, true);
}

void route_elect(struct tailnet *tn)
{
	struct route *route;
	uint32_t pos = 0;

	if (!tn->touched_routes)
		return;
	tn->touched_routes = false;
	while ((route = hash_next(&tn->routes, &pos))) {
		if (!route->touched)
			continue;
		route->touched = false;
		elect(tn, route);
		if (route->n_members)
			continue;
		hash_del(&tn->routes, &route->prefix, sizeof(route->prefix));
		free(route->members);
		free(route);
		pos = 0;		/* the hash has changed; what was done is not touched */
	}
}

int64_t tailnet_primary(const struct tailnet *tn, const struct warren_prefix *prefix)
{
	const struct route *route = hash_get(&tn->routes, prefix, sizeof(*prefix));

	return route ? route->primary : 0;
}

/* Those of @route that are online, into @out where it is not NULL; how many. */
static uint32_t online_members(const struct tailnet *tn, const struct route *route, int64_t *out)
{
	const struct tailnet_node *node;
	uint32_t n = 0;

	for (uint32_t i = 0; i < route->n_members; i++) {
		node = tailnet_node(tn, route->members[i]);
		if (!node || !node->live.online)
			continue;
		if (out)
			out[n] = node->id;
		n++;
	}
	return n;
}

static int by_id(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int64_t *tailnet_contested(const struct tailnet *tn, uint32_t *count)
{
	const struct route *route;
	uint32_t n = 0, kept = 0;
	size_t room = tn->nodes.count;
	int64_t *ids;

	*count = 0;
	for (uint32_t pos = 0; (route = hash_next(&tn->routes, &pos));)
		room += route->n_members;
	ids = calloc(room + 1, sizeof(*ids));
	if (!ids)
		return NULL;
	for (uint32_t pos = 0; (route = hash_next(&tn->routes, &pos));) {
		if (online_members(tn, route, NULL) > 1)
			n += online_members(tn, route, ids + n);
	}
	for (uint32_t i = 0; i < tn->nodes.count; i++) {
		const struct tailnet_node *node = tn->places[i]->node;

		if (node->live.unhealthy && node->live.online)
			ids[n++] = node->id;
	}
	qsort(ids, n, sizeof(*ids), by_id);
	for (uint32_t i = 0; i < n; i++) {
		if (kept == 0 || ids[kept - 1] != ids[i])
			ids[kept++] = ids[i];
	}
	*count = kept;
	if (kept > 0)
		return ids;
	free(ids);
	return NULL;
}

void route_free(struct tailnet *tn)
{
	struct route *route;

	for (uint32_t pos = 0; (route = hash_next(&tn->routes, &pos)); ) {
		free(route->members);
		free(route);
	}
	hash_free(&tn->routes);
}

bool route_approve(const struct tailnet *tn, struct tailnet_node *node)
{
	const struct tailnet_prefixes *old = node->approved, *announced = node->announced;
	uint32_t n = old ? old->count : 0, more = announced ? announced->count : 0, count = n;
	struct warren_prefix *list;
	bool ok;

	if (!tn->rules.approves || !more)
		return true;
	list = calloc(n + more + 1, sizeof(*list));
	if (!list)
		return false;
	if (n)
		memcpy(list, old->at, n * sizeof(*list));
	for (uint32_t i = 0; i < more && count < TAILNET_ROUTES; i++) {
		if (!tailnet_prefixes_have(old, &announced->at[i]) &&
		    tn->rules.approves(tn->rules.self, node, &announced->at[i]))
			list[count++] = announced->at[i];
	}
	ok = count == n || set_prefixes(&node->approved, list, count);
	free(list);
	return ok;
}
