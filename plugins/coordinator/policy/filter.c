/*
 * The packet filter of one node (coordinator.md 2.4): the rules of all grants, those with the same
 * sources and protocol joined at the place of the first, reduced to what concerns the node.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "world_impl.h"

/* Capabilities whose granting gives another one in the other direction. */
static const struct {
	const char *name, *companion;
} companions[] = {
	{ "tailscale.com/cap/drive", "tailscale.com/cap/drive-sharer" },
	{ "tailscale.com/cap/relay", "tailscale.com/cap/relay-target" },
};

struct rule {				/* under way */
	const char *key;		/* of the sources; with @protocol what makes rules equal */
	json_t *src;			/* borrowed */
	int protocol;
	json_t *ports, *caps; /* DstPorts or CapGrant; NULL: nothing of it is for the node */
	bool joins;
};
struct compile {
	const struct policy_world *w;
	const struct wnode *node;
	uint32_t slot;
	struct rule *rules;
	uint32_t n, cap;
	json_t *own;			/* sources of the node's own user, for "self" */
	char *own_key;
	struct ranges own_set;
	json_t *keep;			/* an array of what `src` of rules borrows */
	bool failed;
};

/* ---- rules ---- */

static struct rule *rule_new(struct compile *c, json_t *src, const char *key, int protocol,
			     bool joins)
{
	struct rule *grown;

	for (uint32_t i = 0; joins && i < c->n; i++) {
		if (c->rules[i].joins && c->rules[i].protocol == protocol &&
		    (c->rules[i].key == key || strcmp(c->rules[i].key, key) == 0))
			return &c->rules[i];
	}
	if (c->n == c->cap) {
		grown = realloc(c->rules, (c->cap ? c->cap * 2 : 16) * sizeof(*grown));
		if (!grown) {
			c->failed = true;
			return NULL;
		}
		c->rules = grown;
		c->cap = c->cap ? c->cap * 2 : 16;
	}
	c->rules[c->n] = (struct rule){ .key = key, .src = src, .protocol = protocol,
					.joins = joins };
	return &c->rules[c->n++];
}

static void put(struct compile *c, json_t **list, json_t *item)
{
	if (!*list)
		*list = json_array();
	if (!item || json_array_append_new(*list, item))
		c->failed = true;
}

static void add_ports(struct compile *c, struct rule *rule, const char *ip,
		      const struct ipspec *spec)
{
	for (uint32_t i = 0; rule && i < spec->n; i++)
		put(c, &rule->ports, json_pack("{s:s,s:{s:i,s:i}}", "IP", ip, "Ports", "First",
					       spec->ports[i].first, "Last", spec->ports[i].last));
}

static const char *item_text(const struct witem *item, char out[RANGE_TEXT])
{
	if (!item->all)
		return range_format(&item->range, out);
	snprintf(out, RANGE_TEXT, "*");
	return out;
}

/* ---- capabilities ---- */

static void add_unique(struct compile *c, json_t **list, const char *text)
{
	size_t i;
	json_t *have;

	json_array_foreach(*list, i, have) {
		if (strcmp(json_string_value(have), text) == 0)
			return;
	}
	put(c, list, json_string(text));
}

/* Broad destinations are narrowed to the node's own addresses; a network behind it stays. */
static json_t *cap_destinations(struct compile *c, const struct wgrant *g)
{
	json_t *list = NULL;
	char text[RANGE_TEXT];

	for (uint32_t i = 0; i < g->n_items; i++) {
		const struct witem *item = &g->items[i];

		for (uint32_t k = 0; k < c->node->n_addr; k++) {
			if (item->all || range_inside(&c->node->addr[k], &item->range))
				add_unique(c, &list, range_format_prefix(&c->node->addr[k], text));
		}
		if (!item->all && node_serves(c->node, &item->range))
			add_unique(c, &list, range_format_prefix(&item->range, text));
	}
	return list;
}

static json_t *own_addresses(struct compile *c, const struct ranges *among, bool any)
{
	json_t *list = NULL;
	char text[RANGE_TEXT];

	for (uint32_t k = 0; k < c->node->n_addr; k++) {
		if (any || ranges_contain(among, &c->node->addr[k]))
			add_unique(c, &list, range_format_prefix(&c->node->addr[k], text));
	}
	return list;
}

/* Takes @dsts; nothing when there are none. */
static void cap_rule_take(struct compile *c, json_t *src, json_t *caps, json_t *dsts)
{
	struct rule *rule = dsts ? rule_new(c, src, "", 0, false) : NULL;

	if (rule)
		put(c, &rule->caps, json_pack("{s:O,s:o}", "CapMap", caps, "Dsts", dsts));
	else
		json_decref(dsts);
}

/* The sources of a companion: the destinations, and where that is "*" what "*" is as a source. */
static json_t *companion_sources(struct compile *c, const struct wgrant *g)
{
	struct ranges set = { .at = NULL };
	bool all = false;
	json_t *list;

	for (uint32_t i = 0; i < g->n_items; i++) {
		all = all || g->items[i].all;
		if (!g->items[i].all)
			ranges_add(&set, &g->items[i].range);
	}
	if (all) {
		ranges_free(&set);
		for (size_t i = 0; i < ARRAY_SIZE(ranges_tailnet); i++)
			ranges_add(&set, &ranges_tailnet[i]);
	}
	ranges_join(&set);
	for (uint32_t i = 0; all && i < c->w->n_slots; i++) {
		const struct wnode *n = c->w->slots[i];

		for (uint32_t k = 0; n && k < n->n_routes; k++)
			ranges_add(&set, &n->routes[k].range);
	}
	list = ranges_json(&set);
	ranges_free(&set);
	if (!list || json_array_append_new(c->keep, list)) {
		c->failed = true;
		return NULL;
	}
	return list;
}

static void add_companions(struct compile *c, const struct grant *grant, json_t *src,
			   const struct ranges *among, bool any)
{
	for (size_t i = 0; i < ARRAY_SIZE(companions); i++) {
		json_t *caps;

		if (!json_object_get(grant->app, companions[i].name))
			continue;
		caps = json_pack("{s:n}", companions[i].companion);
		if (!caps) {
			c->failed = true;
			return;
		}
		cap_rule_take(c, src, caps, own_addresses(c, among, any));
		json_decref(caps);
	}
}

/* ---- one grant ---- */

static void add_ip(struct compile *c, const struct wgrant *g)
{
	char text[RANGE_TEXT];

	if (json_array_size(g->src_ips) == 0)
		return;
	for (uint32_t s = 0; s < g->grant->n_ip; s++) {
		const struct ipspec *spec = &g->grant->ip[s];
		/* Also where nothing is for the node: the place of the first one counts. */
		struct rule *rule = g->n_items > 0 ?
				    rule_new(c, g->src_ips, g->key, spec->protocol,
					     g->grant->via.n == 0) : NULL;

		for (uint32_t i = 0; i < g->n_items; i++) {
			if (grant_keeps(g, &g->items[i], c->node))
				add_ports(c, rule, item_text(&g->items[i], text), spec);
		}
	}
}

static void add_app(struct compile *c, const struct wgrant *g)
{
	bool companion = false;
	json_t *src;

	if (!g->grant->app || g->grant->via.n > 0 || g->n_items == 0)
		return;
	cap_rule_take(c, g->src_ips, g->grant->app, cap_destinations(c, g));
	for (size_t i = 0; i < ARRAY_SIZE(companions); i++)
		companion = companion || json_object_get(g->grant->app, companions[i].name);
	src = companion && (g->any || g->src.n > 0) ? companion_sources(c, g) : NULL;
	if (src)
		add_companions(c, g->grant, src, &g->src, g->any);
}

static bool load_own(struct compile *c)
{
	if (c->own)
		return true;
	own_ranges(c->w, c->node, &c->own_set);
	ranges_join(&c->own_set);
	c->own = ranges_json(&c->own_set);
	c->own_key = c->own ? json_dumps(c->own, JSON_COMPACT) : NULL;
	c->failed = c->failed || !c->own_key;
	return c->own_key != NULL;
}

/* To the user's own devices. */
static void add_self(struct compile *c, const struct wgrant *g)
{
	const struct wnode *n = c->node;
	char text[RANGE_TEXT];

	if (!bits_get(g->self_bits, c->slot) || !load_own(c))
		return;
	for (uint32_t s = 0; s < g->grant->n_ip; s++) {
		struct rule *rule = rule_new(c, c->own, c->own_key, g->grant->ip[s].protocol, true);

		for (uint32_t k = 0; k < n->n_addr; k++)
			add_ports(c, rule, range_format(&n->addr[k], text), &g->grant->ip[s]);
	}
	if (!g->grant->app)
		return;
	cap_rule_take(c, c->own, g->grant->app, own_addresses(c, &c->own_set, false));
	add_companions(c, g->grant, c->own, &c->own_set, false);
}

/* ---- the whole ---- */

static json_t *rule_json(const struct rule *rule)
{
	json_t *o = json_pack("{s:O}", "SrcIPs", rule->src);

	if (rule->ports)
		json_object_set(o, "DstPorts", rule->ports);
	if (rule->caps)
		json_object_set(o, "CapGrant", rule->caps);
	if (rule->joins || rule->ports) {
		if (rule->protocol != POLICY_ANY_PROTOCOL)
			json_object_set_new(o, "IPProto", json_pack("[i]", rule->protocol));
	}
	return o;
}

static void compile_free(struct compile *c)
{
	for (uint32_t i = 0; i < c->n; i++) {
		json_decref(c->rules[i].ports);
		json_decref(c->rules[i].caps);
	}
	free(c->rules);
	json_decref(c->own);
	json_decref(c->keep);
	free(c->own_key);
	ranges_free(&c->own_set);
}

json_t *policy_world_filter(struct policy_world *w, int64_t id)
{
	struct compile c = { .w = w, .keep = json_array() };
	json_t *list = json_array();

	c.node = world_node(w, id, &c.slot);
	for (uint32_t i = 0; c.node && i < w->n_grants; i++) {
		add_ip(&c, &w->grants[i]);
		add_app(&c, &w->grants[i]);
		add_self(&c, &w->grants[i]);
	}
	for (uint32_t i = 0; list && i < c.n; i++) {
		if ((c.rules[i].ports || c.rules[i].caps) &&
		    json_array_append_new(list, rule_json(&c.rules[i])))
			c.failed = true;
	}
	if (c.failed || !c.keep) {
		json_decref(list);
		list = NULL;
	}
	compile_free(&c);
	return list;
}
