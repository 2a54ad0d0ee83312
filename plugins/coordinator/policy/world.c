/*
 * Users, nodes and rules in force, and who sees whom: one row of bits per node. A change builds
 * anew the grants that name the node, finds whose part in any grant has moved, and compares the
 * rows of these before and after.
 */
#include "world_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

/* ---- changes ---- */

void policy_changes_clear(struct policy_changes *c)
{
	c->n_pairs = c->n_filters = c->n_routes = 0;
	c->failed = false;
}

void policy_changes_free(struct policy_changes *c)
{
	free(c->pairs);
	free(c->filters);
	free(c->routes);
	memset(c, 0, sizeof(*c));
}

/* Room for one more; the array, or NULL and it has failed. */
static void *grow(struct policy_changes *c, void *at, uint32_t n, uint32_t *cap, size_t size)
{
	uint32_t wanted = *cap ? *cap * 2 : 64;
	void *grown;

	if (n < *cap)
		return at;
	grown = realloc(at, wanted * size);
	if (grown)
		*cap = wanted;
	else
		c->failed = true;
	return grown;
}

static void changes_pair(struct policy_changes *c, int64_t viewer, int64_t peer, bool appears)
{
	struct policy_pair *grown;

	if (!c)
		return;
	grown = grow(c, c->pairs, c->n_pairs, &c->cap_pairs, sizeof(*grown));
	if (!grown)
		return;
	c->pairs = grown;
	c->pairs[c->n_pairs++] = (struct policy_pair){ viewer, peer, appears };
}

static void add_id(struct policy_changes *c, int64_t **list, uint32_t *n, uint32_t *cap, int64_t id)
{
	int64_t *grown = grow(c, *list, *n, cap, sizeof(*grown));

	if (!grown)
		return;
	*list = grown;
	(*list)[(*n)++] = id;
}

void changes_filter(struct policy_changes *c, int64_t id)
{
	if (c)
		add_id(c, &c->filters, &c->n_filters, &c->cap_filters, id);
}

void changes_route(struct policy_changes *c, int64_t id)
{
	if (c)
		add_id(c, &c->routes, &c->n_routes, &c->cap_routes, id);
}

/* ---- slots and bits ---- */

struct wnode *world_node(const struct policy_world *w, int64_t id, uint32_t *slot)
{
	uintptr_t found = (uintptr_t)hash_get(&w->by_id, &id, sizeof(id));

	if (!found)
		return NULL;
	*slot = (uint32_t)(found - 1);
	return w->slots[*slot];
}

static bool widen(bits_word **bits, uint32_t old_words, uint32_t words)
{
	bits_word *grown = realloc(*bits, words * sizeof(*grown));

	if (!grown)
		return false;
	memset(grown + old_words, 0, (words - old_words) * sizeof(*grown));
	*bits = grown;
	return true;
}

static bool reserve(struct policy_world *w)
{
	uint32_t cap = w->cap ? w->cap * 2 : 64, old = bits_words(w), words = cap / 64;
	struct wnode **slots;

	for (uint32_t i = 0; i < w->n_slots; i++) {
		if (w->slots[i] && !widen(&w->slots[i]->peers, old, words))
			return false;
	}
	for (uint32_t i = 0; i < w->n_grants; i++) {
		struct wgrant *g = &w->grants[i];

		if (!widen(&g->src_bits, old, words) || !widen(&g->dst_bits, old, words) ||
		    !widen(&g->self_bits, old, words))
			return false;
	}
	slots = realloc(w->slots, cap * sizeof(*slots));
	if (!slots)
		return false;
	w->slots = slots;
	w->cap = cap;
	return true;
}

/* A free one; -1: no memory. */
static int64_t free_slot(struct policy_world *w)
{
	for (uint32_t i = 0; i < w->n_slots; i++) {
		if (!w->slots[i])
			return i;
	}
	if (w->n_slots == w->cap && !reserve(w))
		return -1;
	w->slots[w->n_slots] = NULL;
	return w->n_slots++;
}

/* ---- nodes ---- */

void world_node_free(struct wnode *n)
{
	if (!n)
		return;
	for (uint32_t i = 0; i < n->n_tags; i++)
		free(n->tags[i]);
	free(n->tags);
	free(n->routes);
	free(n->peers);
	json_decref(n->attributes);
	free(n);
}

struct wuser *world_user(const struct policy_world *w, int64_t id)
{
	for (uint32_t i = 0; i < w->n_users; i++) {
		if (w->users[i]->id == id)
			return w->users[i];
	}
	return NULL;
}

static bool among(const struct warren_prefix *list, uint32_t n, const struct warren_prefix *prefix)
{
	for (uint32_t i = 0; i < n; i++) {
		if (prefix_equal(&list[i], prefix))
			return true;
	}
	return false;
}

static void take_routes(struct wnode *n, const struct policy_node *node)
{
	for (uint32_t i = 0; i < node->n_announced; i++) {
		const struct warren_prefix *prefix = &node->announced[i];
		struct wroute *route = &n->routes[n->n_routes];

		if (!among(node->approved, node->n_approved, prefix))
			continue;
		if (prefix->bits == 0) {
			n->exit4 = n->exit4 || prefix->addr.family == 4;
			n->exit6 = n->exit6 || prefix->addr.family == 6;
			continue;
		}
		route->range = range_of_prefix(prefix);
		prefix_format(prefix, route->text);
		route->primary = among(node->primary, node->n_primary, prefix);
		n->n_routes++;
	}
}

static bool take_tags(struct wnode *n, const struct policy_node *node)
{
	n->tags = calloc(node->n_tags + 1, sizeof(*n->tags));
	for (uint32_t i = 0; n->tags && i < node->n_tags; i++) {
		n->tags[i] = strdup(node->tags[i]);
		if (!n->tags[i])
			return false;
		n->n_tags++;
	}
	return n->tags != NULL;
}

struct wnode *world_node_new(struct policy_world *w, const struct policy_node *node)
{
	struct wnode *n = calloc(1, sizeof(*n));
	const struct warren_addr *addrs[] = { &node->v4, &node->v6 };

	if (!n)
		return NULL;
	n->id = node->id;
	n->user = node->n_tags > 0 ? 0 : node->user;
	n->owner = world_user(w, n->user);
	n->elected = node->elected;
	for (int i = 0; i < 2; i++) {
		if (addrs[i]->family)
			n->addr[n->n_addr++] = range_of_addr(addrs[i]);
	}
	n->routes = calloc(node->n_announced + 1, sizeof(*n->routes));
	n->peers = calloc(bits_words(w), sizeof(*n->peers));
	n->attributes = node->attributes ? json_deep_copy(node->attributes) : NULL;
	if (!n->routes || !n->peers || (node->attributes && !n->attributes) ||
	    !take_tags(n, node)) {
		world_node_free(n);
		return NULL;
	}
	take_routes(n, node);
	return n;
}

/* ---- who sees whom ---- */

static void or_bits(bits_word *out, const bits_word *from, uint32_t words)
{
	for (uint32_t i = 0; i < words; i++)
		out[i] |= from[i];
}

/* All that the grants let @slot reach, or let reach it; and the other devices of a person. */
static void row(const struct policy_world *w, uint32_t slot, bits_word *out)
{
	const struct wnode *n = w->slots[slot];
	uint32_t words = bits_words(w);

	memset(out, 0, words * sizeof(*out));
	for (uint32_t i = 0; n && i < w->n_grants; i++) {
		const struct wgrant *g = &w->grants[i];

		if (bits_get(g->src_bits, slot))
			or_bits(out, g->dst_bits, words);
		if (bits_get(g->dst_bits, slot))
			or_bits(out, g->src_bits, words);
		if (!bits_get(g->self_bits, slot))
			continue;
		for (uint32_t k = 0; k < w->n_slots; k++) {
			if (w->slots[k] && bits_get(g->self_bits, k) &&
			    w->slots[k]->user == n->user)
				bits_put(out, k, true);
		}
	}
	bits_put(out, slot, false);
}

/* Puts @fresh in the place of the row of @slot, and tells both sides of each difference. */
static void row_set(struct policy_world *w, uint32_t slot, const bits_word *fresh,
		    struct policy_changes *c)
{
	struct wnode *n = w->slots[slot];

	for (uint32_t i = 0; i < bits_words(w); i++) {
		bits_word differ = n->peers[i] ^ fresh[i];

		n->peers[i] = fresh[i];
		for (; differ; differ &= differ - 1) {
			uint32_t k = i * 64 + (uint32_t)__builtin_ctzll(differ);
			bool appears = bits_get(fresh, k);

			if (k >= w->n_slots || !w->slots[k])
				continue;
			bits_put(w->slots[k]->peers, slot, appears);
			changes_pair(c, n->id, w->slots[k]->id, appears);
			changes_pair(c, w->slots[k]->id, n->id, appears);
		}
	}
}

/* ---- a change ---- */

/*
 * Builds @g anew. The nodes whose bits differ are added to @moved; the filters of all who have a
 * part in it may differ when its texts do.
 */
static bool rebuild(struct policy_world *w, struct wgrant *g, bits_word *moved,
		    struct policy_changes *c)
{
	uint32_t words = bits_words(w);
	bits_word *before = malloc(3 * words * sizeof(*before));
	char *key = g->key ? strdup(g->key) : NULL;
	bool ok = before && (!g->key || key), texts;

	if (ok) {
		memcpy(before, g->src_bits, words * sizeof(*before));
		memcpy(before + words, g->dst_bits, words * sizeof(*before));
		memcpy(before + 2 * words, g->self_bits, words * sizeof(*before));
		ok = grant_build(w, g);
	}
	texts = !key || !g->key || strcmp(key, g->key) != 0;
	for (uint32_t i = 0; ok && i < words; i++) {
		moved[i] |= (before[i] ^ g->src_bits[i]) | (before[words + i] ^ g->dst_bits[i]) |
			    (before[2 * words + i] ^ g->self_bits[i]);
		for (uint32_t k = i * 64; c && k < (i + 1) * 64 && k < w->n_slots; k++) {
			if (w->slots[k] && ((texts && bits_get(g->dst_bits, k)) ||
					    (g->grant->app && bits_get(g->src_bits, k)) ||
					    bits_get(g->self_bits, k)))
				changes_filter(c, w->slots[k]->id);
		}
	}
	free(before);
	free(key);
	return ok;
}

/* The rows of all whose part has moved; their filters and routes go with it. */
static bool settle(struct policy_world *w, const bits_word *moved, struct policy_changes *c)
{
	bits_word *fresh = malloc(bits_words(w) * sizeof(*fresh));

	if (!fresh)
		return false;
	for (uint32_t i = 0; i < w->n_slots; i++) {
		if (!w->slots[i] || !bits_get(moved, i))
			continue;
		row(w, i, fresh);
		row_set(w, i, fresh, c);
		changes_filter(c, w->slots[i]->id);
		if (w->slots[i]->n_routes > 0 || node_exit(w->slots[i]))
			changes_route(c, w->slots[i]->id);
	}
	free(fresh);
	return true;
}

/* Takes the node of @slot out of all bits; what others saw of it goes. */
static void clear_slot(struct policy_world *w, uint32_t slot, struct policy_changes *c)
{
	bits_word *none = calloc(bits_words(w), sizeof(*none));

	if (none)
		row_set(w, slot, none, c);
	else if (c)
		c->failed = true;
	free(none);
	for (uint32_t i = 0; i < w->n_grants; i++) {
		bits_put(w->grants[i].src_bits, slot, false);
		bits_put(w->grants[i].dst_bits, slot, false);
		bits_put(w->grants[i].self_bits, slot, false);
	}
}

/* Routers of a network that @n serves too: which of them is primary may change. */
static void tell_routers(const struct policy_world *w, const struct wnode *n,
			 struct policy_changes *c)
{
	for (uint32_t i = 0; n && c && i < w->n_slots; i++) {
		const struct wnode *other = w->slots[i];

		for (uint32_t k = 0; other && k < n->n_routes; k++) {
			if (node_serves(other, &n->routes[k].range)) {
				changes_route(c, other->id);
				break;
			}
		}
	}
}

/* After the node of @slot went from @old to what is there now; either may be none. */
static bool node_changed(struct policy_world *w, uint32_t slot, const struct wnode *old,
			 struct policy_changes *c)
{
	const struct wnode *now = w->slots[slot];
	bits_word *moved = calloc(bits_words(w), sizeof(*moved));
	bool ok = moved;

	for (uint32_t i = 0; ok && i < w->n_grants; i++) {
		struct wgrant *g = &w->grants[i];

		if ((old && grant_names(w, g, old)) || (now && grant_names(w, g, now))) {
			ok = rebuild(w, g, moved, c);
		} else {
			bits_put(g->src_bits, slot, now && grant_is_source(g, now));
			bits_put(g->dst_bits, slot, now && grant_is_destination(g, now));
		}
	}
	if (ok && now)
		bits_put(moved, slot, true);
	if (old && now && (old->n_routes > 0 || node_exit(old)))
		changes_route(c, now->id);
	ok = ok && settle(w, moved, c);
	tell_routers(w, old, c);
	tell_routers(w, now, c);
	free(moved);
	return ok;
}

int policy_world_put(struct policy_world *w, const struct policy_node *node,
		     struct policy_changes *c)
{
	uint32_t slot = 0;
	struct wnode *old = world_node(w, node->id, &slot), *fresh;
	int64_t at = old ? slot : free_slot(w);
	bool ok;

	w->serial++;
	if (at < 0)
		return -ENOMEM;
	slot = (uint32_t)at;
	fresh = world_node_new(w, node);
	if (!fresh)
		return -ENOMEM;
	if (hash_put(&w->by_id, &fresh->id, sizeof(fresh->id), (void *)(uintptr_t)(slot + 1),
		     NULL)) {
		world_node_free(fresh);
		return -ENOMEM;
	}
	if (old)
		memcpy(fresh->peers, old->peers, bits_words(w) * sizeof(*fresh->peers));
	w->slots[slot] = fresh;
	ok = node_changed(w, slot, old, c);
	if (!ok && c)
		c->failed = true;
	world_node_free(old);
	return ok ? 0 : -ENOMEM;
}

void policy_world_remove(struct policy_world *w, int64_t id, struct policy_changes *c)
{
	uint32_t slot;
	struct wnode *old = world_node(w, id, &slot);

	if (!old)
		return;
	w->serial++;
	clear_slot(w, slot, c);
	hash_del(&w->by_id, &old->id, sizeof(old->id));
	w->slots[slot] = NULL;
	if (!node_changed(w, slot, old, c) && c)
		c->failed = true;
	world_node_free(old);
}

/* ---- rules and users ---- */

static void grants_free(struct wgrant *grants, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		grant_clear(&grants[i]);
		free(grants[i].src_bits);
		free(grants[i].dst_bits);
		free(grants[i].self_bits);
	}
	free(grants);
}

/* No rules at all is one that allows everything (2.1). */
static const struct grant *grants_of(struct policy_world *w, const struct policy *policy,
				     uint32_t *n)
{
	static struct ports all[] = { { 0, 65535 } };
	static struct ipspec any = { .protocol = POLICY_ANY_PROTOCOL, .ports = all, .n = 1 };

	*n = policy ? policy->n_grants : 0;
	if (!policy || policy->has_rules)
		return policy ? policy->grants : NULL;
	w->anybody = (struct sel){ .kind = SEL_ANY, .text = "*" };
	w->everything = (struct grant){
		.section = "", .src = { &w->anybody, 1 }, .dst = { &w->anybody, 1 }, .ip = &any,
		.n_ip = 1,
	};
	*n = 1;
	return &w->everything;
}

static struct wgrant *grants_new(struct policy_world *w, const struct policy *policy, uint32_t *n)
{
	const struct grant *from = grants_of(w, policy, n);
	struct wgrant *made = calloc(*n + 1, sizeof(*made));
	uint32_t words = bits_words(w);
	bool ok = made;

	for (uint32_t i = 0; ok && i < *n; i++) {
		made[i].grant = &from[i];
		made[i].src_bits = calloc(words, sizeof(bits_word));
		made[i].dst_bits = calloc(words, sizeof(bits_word));
		made[i].self_bits = calloc(words, sizeof(bits_word));
		ok = made[i].src_bits && made[i].dst_bits && made[i].self_bits &&
		     grant_build(w, &made[i]);
	}
	if (ok)
		return made;
	if (made)
		grants_free(made, *n);
	return NULL;
}

static void all_changed(struct policy_world *w, struct policy_changes *c)
{
	bits_word *moved = malloc(bits_words(w) * sizeof(*moved));

	if (moved)
		memset(moved, 0xff, bits_words(w) * sizeof(*moved));
	if ((!moved || !settle(w, moved, c)) && c)
		c->failed = true;
	free(moved);
}

int policy_world_set(struct policy_world *w, const struct policy *policy,
		     struct policy_changes *c)
{
	const struct policy *before = w->policy;
	struct wgrant *fresh;
	uint32_t n;

	w->serial++;
	w->policy = policy;
	fresh = grants_new(w, policy, &n);
	if (!fresh) {
		w->policy = before;
		return -ENOMEM;
	}
	grants_free(w->grants, w->n_grants);
	w->grants = fresh;
	w->n_grants = n;
	all_changed(w, c);
	return 0;
}

void world_user_free(struct wuser *u)
{
	if (!u)
		return;
	for (uint32_t i = 0; i < u->n_groups; i++)
		free(u->groups[i]);
	free(u->groups);
	free(u->login);
	free(u->email);
	free(u->name);
	free(u);
}

static struct wuser *user_new(const struct policy_user *user)
{
	struct wuser *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->id = user->id;
	u->role = user->role;
	u->login = strdup(user->login ? user->login : "");
	u->email = strdup(user->email ? user->email : "");
	u->name = strdup(user->name ? user->name : "");
	u->groups = calloc(user->n_groups + 1, sizeof(*u->groups));
	for (uint32_t i = 0; u->groups && i < user->n_groups; i++) {
		u->groups[i] = strdup(user->groups[i]);
		u->n_groups += u->groups[i] != NULL;
		if (!u->groups[i])
			break;
	}
	if (u->login && u->email && u->name && u->groups && u->n_groups == user->n_groups)
		return u;
	world_user_free(u);
	return NULL;
}

/* A person has changed: rare, so all grants are built anew. */
static int users_changed(struct policy_world *w, struct policy_changes *c)
{
	for (uint32_t i = 0; i < w->n_slots; i++) {
		if (w->slots[i])
			w->slots[i]->owner = world_user(w, w->slots[i]->user);
	}
	return w->policy ? policy_world_set(w, w->policy, c) : 0;
}

int policy_world_user(struct policy_world *w, const struct policy_user *user,
		      struct policy_changes *c)
{
	struct wuser *fresh = user_new(user), *old = world_user(w, user->id), **grown;

	if (!fresh)
		return -ENOMEM;
	w->serial++;
	for (uint32_t i = 0; old && i < w->n_users; i++) {
		if (w->users[i] == old)
			w->users[i] = fresh;
	}
	if (!old) {
		grown = realloc(w->users, (w->n_users + 1) * sizeof(*grown));
		if (!grown) {
			world_user_free(fresh);
			return -ENOMEM;
		}
		w->users = grown;
		w->users[w->n_users++] = fresh;
		return 0;		/* nobody's yet */
	}
	world_user_free(old);
	return users_changed(w, c);
}

void policy_world_user_remove(struct policy_world *w, int64_t id, struct policy_changes *c)
{
	struct wuser *old = world_user(w, id);

	if (!old)
		return;
	w->serial++;
	for (uint32_t i = 0; i < w->n_users; i++) {
		if (w->users[i] == old)
			w->users[i--] = w->users[--w->n_users];
	}
	world_user_free(old);
	if (users_changed(w, c) && c)
		c->failed = true;
}

/* ---- begin, end, questions ---- */

struct policy_world *policy_world_new(void)
{
	struct policy_world *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	hash_init(&w->by_id);
	if (reserve(w))
		return w;
	policy_world_free(w);
	return NULL;
}

void policy_world_free(struct policy_world *w)
{
	if (!w)
		return;
	grants_free(w->grants, w->n_grants);
	for (uint32_t i = 0; i < w->n_slots; i++)
		world_node_free(w->slots[i]);
	for (uint32_t i = 0; i < w->n_users; i++)
		world_user_free(w->users[i]);
	hash_free(&w->by_id);
	free(w->users);
	free(w->slots);
	free(w);
}

bool policy_world_sees(const struct policy_world *w, int64_t viewer, int64_t peer)
{
	uint32_t v, p;

	return world_node(w, viewer, &v) && world_node(w, peer, &p) &&
	       bits_get(w->slots[v]->peers, p);
}

static int by_id(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

uint32_t policy_world_peers(const struct policy_world *w, int64_t viewer, int64_t *out,
			    uint32_t max)
{
	uint32_t v, n = 0;
	const struct wnode *node = world_node(w, viewer, &v);

	for (uint32_t i = 0; node && i < w->n_slots; i++) {
		if (!w->slots[i] || !bits_get(node->peers, i))
			continue;
		if (n < max)
			out[n] = w->slots[i]->id;
		n++;
	}
	if (max > 0)
		qsort(out, n < max ? n : max, sizeof(*out), by_id);
	return n;
}
