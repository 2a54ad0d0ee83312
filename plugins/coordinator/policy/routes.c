/*
 * Which networks a peer may be used for (coordinator.md 2.6, 2.7), and what nodes are given by
 * nodeAttrs (2.8).
 */
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "world_impl.h"

/* ---- attributes ---- */

static bool has_attr(const struct policy_world *w, const struct wnode *n, const char *name)
{
	const struct policy *policy = w->policy;

	for (uint32_t i = 0; policy && i < policy->n_attrs; i++) {
		const struct node_attr *a = &policy->attrs[i];

		for (uint32_t k = 0; k < a->n_attrs; k++) {
			if (strcmp(a->attrs[k], name) == 0 && sels_match(w, &a->target, n))
				return true;
		}
	}
	return false;
}

/* Values of several entries are one list. */
static void add_app(json_t *caps, const json_t *app)
{
	const char *key;
	json_t *value, *have;

	json_object_foreach((json_t *)(uintptr_t)app, key, value) {
		have = json_object_get(caps, key);
		if (json_is_array(have) && json_is_array(value))
			json_array_extend(have, value);
		else
			json_object_set_new(caps, key, json_copy(value));
	}
}

json_t *policy_world_caps(const struct policy_world *w, int64_t id)
{
	json_t *caps = json_object();
	uint32_t slot;
	const struct wnode *n = world_node(w, id, &slot);

	for (uint32_t i = 0; n && w->policy && i < w->policy->n_attrs; i++) {
		const struct node_attr *a = &w->policy->attrs[i];

		if (!sels_match(w, &a->target, n))
			continue;
		for (uint32_t k = 0; k < a->n_attrs; k++)
			json_object_set_new(caps, a->attrs[k], json_null());
		if (a->app)
			add_app(caps, a->app);
	}
	if (json_object_get(caps, "funnel"))
		json_object_set_new(caps, "https://tailscale.com/cap/funnel-ports?ports=443,8443,"
				    "10000", json_null());
	if (w->policy && w->policy->randomize_client_port)
		json_object_set_new(caps, "randomize-client-port", json_null());
	return caps;
}

json_t *policy_world_peer_caps(const struct policy_world *w, int64_t peer)
{
	json_t *list = json_array();
	uint32_t slot;
	const struct wnode *n = world_node(w, peer, &slot);

	if (n && node_exit(n) && has_attr(w, n, "suggest-exit-node"))
		json_array_append_new(list, json_string("suggest-exit-node"));
	if (n && has_attr(w, n, "dns-subdomain-resolve"))
		json_array_append_new(list, json_string("dns-subdomain-resolve"));
	return list;
}

/* ---- networks ---- */

static const struct wroute *route_of(const struct wnode *n, const struct range *range)
{
	for (uint32_t i = 0; i < n->n_routes; i++) {
		if (range_equal(&n->routes[i].range, range))
			return &n->routes[i];
	}
	return NULL;
}

static bool serves_exactly(const struct wnode *n, const struct range *range)
{
	return route_of(n, range) != NULL;
}

/* May it be the one for all? Where somebody elects, the elected one. */
static bool may_be_primary(const struct wnode *n, const struct range *range)
{
	const struct wroute *route = route_of(n, range);

	return route && (!n->elected || route->primary);
}

/* The oldest node that serves it, of those that @g is via (NULL: of all). */
static const struct wnode *first_router(const struct policy_world *w, const struct range *range,
					const struct wgrant *g)
{
	const struct wnode *first = NULL;

	for (uint32_t i = 0; i < w->n_slots; i++) {
		const struct wnode *n = w->slots[i];
		bool may = n && !g && may_be_primary(n, range);

		for (uint32_t k = 0; n && g && k < g->grant->via.n && !may; k++)
			may = serves_exactly(n, range) &&
			      node_has_tag(n, g->grant->via.at[k].name);
		if (may && (!first || n->id < first->id))
			first = n;
	}
	return first;
}

static bool items_overlap(const struct wgrant *g, const struct range *range)
{
	for (uint32_t i = 0; i < g->n_items; i++) {
		if (g->items[i].all || range_overlaps(&g->items[i].range, range))
			return true;
	}
	return false;
}

/* How a viewer comes to a network. */
struct way {
	bool ordinary;			/* a rule without `via` lets him */
	bool back;			/* answers to it go there, or he serves it too */
	const struct wnode *via;	/* a rule with one does: through this node */
};

static struct way way_to(const struct policy_world *w, const struct wnode *viewer, uint32_t slot,
			 const struct range *range)
{
	struct way way = { .back = serves_exactly(viewer, range) };

	for (uint32_t i = 0; i < w->n_grants; i++) {
		const struct wgrant *g = &w->grants[i];
		bool source = bits_get(g->src_bits, slot), lets = source && items_overlap(g, range);
		const struct wnode *router;

		if (g->grant->via.n == 0) {
			way.ordinary = way.ordinary || lets;
			way.back = way.back || (bits_get(g->dst_bits, slot) &&
						(g->any || ranges_overlap(&g->src, range)));
			continue;
		}
		router = lets ? first_router(w, range, g) : NULL;
		if (router && (!way.via || router->id < way.via->id))
			way.via = router;
	}
	return way;
}

static bool may_use_exit(const struct policy_world *w, uint32_t slot, const struct wnode *peer,
			 uint32_t peer_slot)
{
	for (uint32_t i = 0; i < w->n_grants; i++) {
		const struct wgrant *g = &w->grants[i];

		if (!bits_get(g->src_bits, slot))
			continue;
		for (uint32_t k = 0; k < g->n_items; k++) {
			bool internet = g->items[k].all || range_is_internet(&g->items[k].range);

			if (g->grant->via.n == 0 ? internet : bits_get(g->dst_bits, peer_slot) &&
			    internet && grant_keeps(g, &g->items[k], peer))
				return true;
		}
	}
	return false;
}

static void add_range(json_t *list, const struct range *range)
{
	char text[RANGE_TEXT];

	json_array_append_new(list, json_string(range_format_prefix(range, text)));
}

static void add_own(const struct policy_world *w, const struct wnode *viewer,
		    const struct wnode *peer, json_t *list)
{
	bool no_v4 = has_attr(w, viewer, "disable-ipv4") || has_attr(w, peer, "disable-ipv4") ||
		     (w->policy && w->policy->disable_ipv4);

	for (uint32_t i = 0; i < peer->n_addr; i++) {
		if (peer->addr[i].family != 4 || !no_v4 || peer->n_addr == 1)
			add_range(list, &peer->addr[i]);
	}
}

json_t *policy_world_allowed(const struct policy_world *w, int64_t viewer_id, int64_t peer_id,
			     json_t **subnets)
{
	json_t *list = json_array();
	uint32_t v, p;
	const struct wnode *viewer = world_node(w, viewer_id, &v);
	const struct wnode *peer = world_node(w, peer_id, &p);

	if (subnets)
		*subnets = json_array();
	if (!viewer || !peer || !list)
		return list;
	add_own(w, viewer, peer, list);
	for (uint32_t i = 0; i < peer->n_routes; i++) {
		const struct range *range = &peer->routes[i].range;
		struct way way = way_to(w, viewer, v, range);
		bool via = way.via && !way.ordinary;

		if (via ? way.via != peer : !(way.ordinary || way.back) ||
		    first_router(w, range, NULL) != peer)
			continue;
		json_array_append_new(list, json_string(peer->routes[i].text));
		if (subnets)
			json_array_append_new(*subnets, json_string(peer->routes[i].text));
	}
	if (node_exit(peer) && may_use_exit(w, v, peer, p)) {
		if (peer->exit4)
			json_array_append_new(list, json_string("0.0.0.0/0"));
		if (peer->exit6)
			json_array_append_new(list, json_string("::/0"));
	}
	return list;
}

/* ---- approval and tags (2.7) ---- */

static bool approves(const struct policy_world *w, const struct wnode *n,
		     const struct warren_prefix *prefix)
{
	struct range range = range_of_prefix(prefix);

	if (prefix->bits == 0)
		return sels_match(w, &w->policy->exit_node, n);
	for (uint32_t i = 0; i < w->policy->n_routes; i++) {
		if (range_inside(&range, &w->policy->routes[i].range) &&
		    sels_match(w, &w->policy->routes[i].who, n))
			return true;
	}
	return false;
}

bool policy_world_approves(struct policy_world *w, const struct policy_node *node,
			   const struct warren_prefix *prefix)
{
	struct wnode *n = w->policy ? world_node_new(w, node) : NULL;
	bool yes = n && approves(w, n, prefix);

	world_node_free(n);
	return yes;
}

static const struct wuser *user_of(const struct policy_world *w, int64_t id)
{
	for (uint32_t i = 0; i < w->n_users; i++) {
		if (w->users[i]->id == id)
			return w->users[i];
	}
	return NULL;
}

/* An owner that is a tag counts with its owners; the depth ends cycles. */
static bool owns(const struct policy_world *w, const struct wuser *u, const char *const *tags,
		 uint32_t n_tags, const struct named *tag, uint32_t depth)
{
	for (uint32_t i = 0; i < tag->members.n; i++) {
		const struct sel *sel = &tag->members.at[i];

		if (u && user_matches(w, u, sel))
			return true;
		for (uint32_t k = 0; k < n_tags; k++) {
			if ((sel->kind == SEL_TAG && strcmp(sel->name, tags[k]) == 0) ||
			    sel->kind == SEL_TAGGED)
				return true;
		}
		if (sel->kind == SEL_TAG && sel->def && depth > 0 &&
		    owns(w, u, tags, n_tags, sel->def, depth - 1))
			return true;
	}
	return false;
}

bool policy_world_may_tag(const struct policy_world *w, int64_t user, const char *const *tags,
			  uint32_t n_tags, const char *tag)
{
	const struct named *named = w->policy ? policy_find(&w->policy->tags, tag) : NULL;
	const struct wuser *u = user_of(w, user);

	if (!named)
		return false;
	if (u && (u->role == POLICY_OWNER || u->role == POLICY_ADMIN ||
		  u->role == POLICY_NETWORK_ADMIN))
		return true;
	return owns(w, u, tags, n_tags, named, 8);
}
