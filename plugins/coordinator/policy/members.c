/*
 * Which nodes a selector means, and the sets of a grant that follow (coordinator.md 2.2, 2.4).
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "base/util.h"
#include "posture.h"
#include "world_impl.h"

/* ---- users and nodes ---- */

bool node_has_tag(const struct wnode *n, const char *tag)
{
	for (uint32_t i = 0; i < n->n_tags; i++) {
		if (strcmp(n->tags[i], tag) == 0)
			return true;
	}
	return false;
}

/* A login, an address, or a name with "@" behind it. */
static bool is_called(const struct wuser *u, const char *name)
{
	size_t len = strlen(name);

	if (strcasecmp(u->login, name) == 0 || strcasecmp(u->email, name) == 0)
		return true;
	if (len > 1 && name[len - 1] == '@')
		return (strlen(u->name) == len - 1 && strncasecmp(u->name, name, len - 1) == 0) ||
		       (strlen(u->login) == len - 1 && strncasecmp(u->login, name, len - 1) == 0);
	return false;
}

static bool in_group(const struct wuser *u, const struct sel *sel)
{
	for (uint32_t i = 0; sel->def && i < sel->def->members.n; i++) {
		if (is_called(u, sel->def->members.at[i].name))
			return true;
	}
	for (uint32_t i = 0; i < u->n_groups; i++) {
		if (strcmp(u->groups[i], sel->name) == 0)
			return true;
	}
	return false;
}

/* The owner is an administrator too. */
static bool has_role(const struct wuser *u, enum policy_role role)
{
	return u->role == role || (role == POLICY_ADMIN && u->role == POLICY_OWNER);
}

static bool in_domain(const struct wuser *u, const char *domain)
{
	const char *at = strrchr(u->email[0] ? u->email : u->login, '@');

	return at && strcasecmp(at + 1, domain) == 0;
}

bool user_matches(const struct policy_world *w, const struct wuser *u, const struct sel *sel)
{
	(void)w;
	switch (sel->kind) {
	case SEL_ANY: case SEL_MEMBER:
		return true;
	case SEL_USER:
		return is_called(u, sel->name);
	case SEL_DOMAIN:
		return in_domain(u, sel->name);
	case SEL_GROUP:
		return in_group(u, sel);
	case SEL_ROLE:
		return has_role(u, sel->role);
	case SEL_TAG: case SEL_PREFIX: case SEL_IPSET: case SEL_SERVICE: case SEL_TAGGED:
	case SEL_SELF: case SEL_INTERNET: case SEL_DANGER_ALL: case SEL_SHARED:
		break;
	}
	return false;
}

bool sel_matches(const struct policy_world *w, const struct sel *sel, const struct wnode *n)
{
	switch (sel->kind) {
	case SEL_ANY: case SEL_DANGER_ALL:
		return true;
	case SEL_TAG:
		return node_has_tag(n, sel->name);
	case SEL_TAGGED:
		return node_tagged(n);
	case SEL_MEMBER:
		return !node_tagged(n);
	case SEL_PREFIX: case SEL_IPSET:
		for (uint32_t i = 0; i < n->n_addr; i++) {
			if (sel->kind == SEL_PREFIX ? range_inside(&n->addr[i], &sel->range) :
						      ranges_contain(&sel->def->set, &n->addr[i]))
				return true;
		}
		return false;
	case SEL_USER: case SEL_DOMAIN: case SEL_GROUP: case SEL_ROLE:
		return n->owner && user_matches(w, n->owner, sel);
	case SEL_SERVICE: case SEL_SELF: case SEL_INTERNET: case SEL_SHARED:
		break;
	}
	return false;
}

bool sels_match(const struct policy_world *w, const struct sels *sels, const struct wnode *n)
{
	for (uint32_t i = 0; i < sels->n; i++) {
		if (sel_matches(w, &sels->at[i], n))
			return true;
	}
	return false;
}

bool is_source_node(const struct policy_world *w, const struct sels *src,
		    const struct postures *postures, const struct wnode *n)
{
	return sels_match(w, src, n) && posture_allows(w->policy, postures, n->attributes);
}

static void add_node(const struct wnode *n, struct ranges *out)
{
	for (uint32_t i = 0; i < n->n_addr; i++)
		ranges_add(out, &n->addr[i]);
}

void sel_ranges(const struct policy_world *w, const struct sel *sel, struct ranges *out)
{
	switch (sel->kind) {
	case SEL_PREFIX:
		ranges_add(out, &sel->range);
		return;
	case SEL_IPSET:
		ranges_add_all(out, &sel->def->set);
		return;
	case SEL_INTERNET:
		for (size_t i = 0; i < ARRAY_SIZE(ranges_internet); i++)
			ranges_add(out, &ranges_internet[i]);
		return;
	case SEL_ANY: case SEL_USER: case SEL_DOMAIN: case SEL_GROUP: case SEL_TAG:
	case SEL_SERVICE: case SEL_MEMBER: case SEL_TAGGED: case SEL_SELF: case SEL_DANGER_ALL:
	case SEL_SHARED: case SEL_ROLE:
		break;
	}
	for (uint32_t i = 0; i < w->n_slots; i++) {
		if (w->slots[i] && sel_matches(w, sel, w->slots[i]))
			add_node(w->slots[i], out);
	}
}

void own_ranges(const struct policy_world *w, const struct wnode *n, struct ranges *out)
{
	for (uint32_t i = 0; i < w->n_slots; i++) {
		const struct wnode *other = w->slots[i];

		if (other && !node_tagged(other) && other->user == n->user)
			add_node(other, out);
	}
}

/* ---- texts ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Takes the texts: sorted, without duplicates. */
static json_t *texts_json_take(char **texts, uint32_t n)
{
	json_t *list = json_array();

	if (n > 1)
		qsort(texts, n, sizeof(*texts), by_text);
	for (uint32_t i = 0; i < n; i++) {
		if (list && (i == 0 || strcmp(texts[i], texts[i - 1]) != 0) &&
		    json_array_append_new(list, json_string(texts[i]))) {
			json_decref(list);
			list = NULL;
		}
	}
	for (uint32_t i = 0; i < n; i++)
		free(texts[i]);
	free(texts);
	return list;
}

struct texts {
	char **at;
	uint32_t n, cap;
	bool failed;
};

static void texts_add(struct texts *t, const char *text)
{
	char **grown;

	if (t->n == t->cap) {
		grown = realloc(t->at, (t->cap ? t->cap * 2 : 16) * sizeof(*grown));
		if (!grown) {
			t->failed = true;
			return;
		}
		t->at = grown;
		t->cap = t->cap ? t->cap * 2 : 16;
	}
	t->at[t->n] = strdup(text);
	if (t->at[t->n])
		t->n++;
	else
		t->failed = true;
}

static void texts_add_ranges(struct texts *t, const struct range *at, uint32_t n)
{
	char text[RANGE_TEXT];

	for (uint32_t i = 0; i < n; i++)
		texts_add(t, range_format(&at[i], text));
}

json_t *ranges_json(const struct ranges *set)
{
	struct texts t = { .at = NULL };
	json_t *list;

	texts_add_ranges(&t, set->at, set->n);
	list = texts_json_take(t.at, t.n);
	if (t.failed || set->failed) {
		json_decref(list);
		return NULL;
	}
	return list;
}

/* ---- a grant ---- */

void grant_clear(struct wgrant *g)
{
	ranges_free(&g->src);
	json_decref(g->src_ips);
	free(g->key);
	free(g->items);
	g->src_ips = NULL;
	g->key = NULL;
	g->items = NULL;
	g->n_items = 0;
	g->any = g->self = false;
}

static bool has_postures(const struct policy_world *w, const struct wgrant *g)
{
	return g->grant->postures.n > 0 || w->policy->default_postures.n > 0;
}

/*
 * "*" is not any address but those of a tailnet and the networks behind it, each listed for itself.
 * With postures it is the nodes that meet them.
 */
static void build_wildcard(const struct policy_world *w, struct wgrant *g, struct texts *t)
{
	struct ranges wild = { .at = NULL };

	for (size_t i = 0; i < ARRAY_SIZE(ranges_tailnet); i++)
		ranges_add(&wild, &ranges_tailnet[i]);
	texts_add_ranges(t, wild.at, wild.n);
	for (uint32_t i = 0; i < w->n_slots; i++) {
		const struct wnode *n = w->slots[i];

		for (uint32_t k = 0; n && k < n->n_routes; k++) {
			ranges_add(&wild, &n->routes[k].range);
			texts_add(t, n->routes[k].text);
		}
	}
	ranges_add_all(&g->src, &wild);
	ranges_free(&wild);
}

static bool build_sources(const struct policy_world *w, struct wgrant *g)
{
	const struct sels *src = &g->grant->src;
	bool postures = has_postures(w, g), wild = false;
	struct texts t = { .at = NULL };

	for (uint32_t i = 0; i < src->n && !postures; i++) {
		g->any = g->any || src->at[i].kind == SEL_DANGER_ALL;
		wild = wild || src->at[i].kind == SEL_ANY;
		if (src->at[i].kind != SEL_ANY && src->at[i].kind != SEL_DANGER_ALL)
			sel_ranges(w, &src->at[i], &g->src);
	}
	for (uint32_t i = 0; i < w->n_slots && postures; i++) {
		if (w->slots[i] && is_source_node(w, src, &g->grant->postures, w->slots[i]))
			add_node(w->slots[i], &g->src);
	}
	ranges_join(&g->src);
	if (g->any)
		texts_add(&t, "*");
	else
		texts_add_ranges(&t, g->src.at, g->src.n);
	if (wild && !g->any)
		build_wildcard(w, g, &t);
	ranges_join(&g->src);
	g->src_ips = texts_json_take(t.at, t.n);
	g->key = g->src_ips ? json_dumps(g->src_ips, JSON_COMPACT) : NULL;
	return g->key && !t.failed && !g->src.failed;
}

static bool build_items(const struct policy_world *w, struct wgrant *g)
{
	const struct sels *dst = &g->grant->dst;

	for (uint32_t i = 0; i < dst->n; i++) {
		struct ranges set = { .at = NULL };
		bool all = dst->at[i].kind == SEL_ANY;
		struct witem *grown;

		if (dst->at[i].kind == SEL_SELF) {
			g->self = true;
			continue;
		}
		if (!all)
			sel_ranges(w, &dst->at[i], &set);
		grown = realloc(g->items, (g->n_items + set.n + all + 1) * sizeof(*grown));
		if (!grown || set.failed) {
			g->items = grown ? grown : g->items;
			ranges_free(&set);
			return false;
		}
		g->items = grown;
		if (all)
			g->items[g->n_items++] = (struct witem){ .all = true };
		for (uint32_t k = 0; k < set.n; k++)
			g->items[g->n_items++] = (struct witem){ .range = set.at[k] };
		ranges_free(&set);
	}
	return true;
}

/* The persons one of whose devices is a source: to all of their devices. */
static void mark_users(const struct policy_world *w, const struct wgrant *g)
{
	for (uint32_t i = 0; i < w->n_users; i++)
		w->users[i]->mark = false;
	for (uint32_t i = 0; i < w->n_slots && g->self; i++) {
		const struct wnode *n = w->slots[i];
		bool source = n && n->owner && g->any;

		for (uint32_t k = 0; n && n->owner && k < n->n_addr; k++)
			source = source || ranges_contain(&g->src, &n->addr[k]);
		if (source)
			n->owner->mark = true;
	}
}

bool grant_build(const struct policy_world *w, struct wgrant *g)
{
	grant_clear(g);
	if (!build_sources(w, g) || !build_items(w, g))
		return false;
	mark_users(w, g);
	for (uint32_t i = 0; i < w->n_slots; i++) {
		const struct wnode *n = w->slots[i];

		bits_put(g->src_bits, i, n && grant_is_source(g, n));
		bits_put(g->dst_bits, i, n && grant_is_destination(g, n));
		bits_put(g->self_bits, i, n && g->self && n->owner && n->owner->mark);
	}
	return true;
}

static bool names_node(const struct policy_world *w, const struct sels *sels,
		       const struct wnode *n)
{
	for (uint32_t i = 0; i < sels->n; i++) {
		enum sel_kind kind = sels->at[i].kind;

		if (kind == SEL_PREFIX || kind == SEL_IPSET || kind == SEL_DANGER_ALL)
			continue;
		if (kind == SEL_ANY ? n->n_routes > 0 : sel_matches(w, &sels->at[i], n))
			return true;
	}
	return false;
}

bool grant_names(const struct policy_world *w, const struct wgrant *g, const struct wnode *n)
{
	return has_postures(w, g) || g->self || names_node(w, &g->grant->src, n) ||
	       names_node(w, &g->grant->dst, n);
}

bool grant_is_source(const struct wgrant *g, const struct wnode *n)
{
	if (g->any)
		return true;
	for (uint32_t i = 0; i < n->n_addr; i++) {
		if (ranges_contain(&g->src, &n->addr[i]))
			return true;
	}
	for (uint32_t i = 0; i < n->n_routes; i++) {
		if (ranges_overlap(&g->src, &n->routes[i].range))
			return true;
	}
	return false;
}

bool range_is_internet(const struct range *range)
{
	for (size_t i = 0; i < ARRAY_SIZE(ranges_internet); i++) {
		if (range_inside(range, &ranges_internet[i]))
			return true;
	}
	return false;
}

bool node_serves(const struct wnode *n, const struct range *range)
{
	for (uint32_t i = 0; i < n->n_routes; i++) {
		if (range_overlaps(&n->routes[i].range, range))
			return true;
	}
	return false;
}

static bool is_via(const struct wgrant *g, const struct wnode *n)
{
	for (uint32_t i = 0; i < g->grant->via.n; i++) {
		if (node_has_tag(n, g->grant->via.at[i].name))
			return true;
	}
	return false;
}

static bool is_internet_entry(const struct range *range)
{
	for (size_t i = 0; i < ARRAY_SIZE(ranges_internet); i++) {
		if (range_equal(range, &ranges_internet[i]))
			return true;
	}
	return false;
}

bool grant_keeps(const struct wgrant *g, const struct witem *item, const struct wnode *n)
{
	if (g->grant->via.n > 0)
		return is_via(g, n) && !item->all &&
		       (node_serves(n, &item->range) ||
			(node_exit(n) && is_internet_entry(&item->range)));
	if (item->all)
		return true;
	for (uint32_t i = 0; i < n->n_addr; i++) {
		if (range_inside(&n->addr[i], &item->range))
			return true;
	}
	return node_serves(n, &item->range) || (node_exit(n) && range_is_internet(&item->range));
}

bool grant_is_destination(const struct wgrant *g, const struct wnode *n)
{
	for (uint32_t i = 0; i < g->n_items; i++) {
		if (grant_keeps(g, &g->items[i], n))
			return true;
	}
	return false;
}
