/*
 * A second world with the same users, nodes and rows, for what takes long: rules are tried in it on
 * another thread while the first one is in use. And what differs between two such.
 */
#include "world_impl.h"

#include <stdlib.h>
#include <string.h>

static char *text_copy(const char *text, bool *ok)
{
	char *out = strdup(text);

	*ok = *ok && out;
	return out;
}

static struct wuser *user_copy(const struct wuser *from)
{
	struct wuser *u = calloc(1, sizeof(*u));
	bool ok = u;

	if (!ok)
		return NULL;
	u->id = from->id;
	u->role = from->role;
	u->login = text_copy(from->login, &ok);
	u->email = text_copy(from->email, &ok);
	u->name = text_copy(from->name, &ok);
	u->groups = calloc(from->n_groups + 1, sizeof(*u->groups));
	for (uint32_t i = 0; u->groups && ok && i < from->n_groups; i++)
		u->groups[u->n_groups++] = text_copy(from->groups[i], &ok);
	if (ok && u->groups)
		return u;
	world_user_free(u);
	return NULL;
}

static struct wnode *node_copy(const struct policy_world *w, const struct wnode *from)
{
	struct wnode *n = malloc(sizeof(*n));
	bool ok = n;

	if (!ok)
		return NULL;
	*n = *from;
	n->owner = world_user(w, from->user);
	n->attributes = from->attributes ? json_deep_copy(from->attributes) : NULL;
	n->routes = calloc(from->n_routes + 1, sizeof(*n->routes));
	n->peers = malloc(bits_words(w) * sizeof(*n->peers));
	n->tags = calloc(from->n_tags + 1, sizeof(*n->tags));
	n->n_tags = 0;
	for (uint32_t i = 0; n->tags && ok && i < from->n_tags; i++)
		n->tags[n->n_tags++] = text_copy(from->tags[i], &ok);
	ok = ok && n->routes && n->peers && n->tags && (n->attributes || !from->attributes);
	if (ok) {
		memcpy(n->routes, from->routes, from->n_routes * sizeof(*n->routes));
		memcpy(n->peers, from->peers, bits_words(w) * sizeof(*n->peers));
		return n;
	}
	world_node_free(n);
	return NULL;
}

static bool fill(struct policy_world *w, const struct policy_world *from)
{
	w->slots = calloc(from->cap, sizeof(*w->slots));
	w->users = calloc(from->n_users + 1, sizeof(*w->users));
	if (!w->slots || !w->users)
		return false;
	w->cap = from->cap;
	w->n_slots = from->n_slots;
	for (uint32_t i = 0; i < from->n_users; i++) {
		w->users[i] = user_copy(from->users[i]);
		if (!w->users[i])
			return false;
		w->n_users++;
	}
	for (uint32_t i = 0; i < from->n_slots; i++) {
		struct wnode *n = from->slots[i] ? node_copy(w, from->slots[i]) : NULL;

		w->slots[i] = n;
		if (from->slots[i] && (!n || hash_put(&w->by_id, &n->id, sizeof(n->id),
						      (void *)(uintptr_t)(i + 1), NULL)))
			return false;
	}
	return true;
}

struct policy_world *policy_world_copy(const struct policy_world *from)
{
	struct policy_world *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	hash_init(&w->by_id);
	w->serial = from->serial;
	if (fill(w, from))
		return w;
	policy_world_free(w);
	return NULL;
}

uint64_t policy_world_serial(const struct policy_world *w)
{
	return w->serial;
}

uint32_t policy_world_slots(const struct policy_world *w)
{
	return w->n_slots;
}

/* The node that is at @slot in both; 0: none. */
static int64_t in_both(const struct policy_world *a, const struct policy_world *b, uint32_t slot)
{
	if (slot >= a->n_slots || slot >= b->n_slots || !a->slots[slot] || !b->slots[slot] ||
	    a->slots[slot]->id != b->slots[slot]->id)
		return 0;
	return a->slots[slot]->id;
}

int64_t policy_world_differs(const struct policy_world *old, const struct policy_world *now,
			     uint32_t slot, uint32_t *from, policy_pair_fn *fn, void *arg)
{
	uint32_t n = old->n_slots < now->n_slots ? old->n_slots : now->n_slots, told = 0;
	int64_t viewer = in_both(old, now, slot), peer;

	for (; viewer && *from < n && told < POLICY_PAIRS; *from += 1) {
		bool sees = bits_get(now->slots[slot]->peers, *from);

		peer = bits_get(old->slots[slot]->peers, *from) != sees ?
			       in_both(old, now, *from) : 0;
		told += peer != 0;
		if (peer)
			fn(arg, viewer, peer, sees);
	}
	if (!viewer || *from >= n)
		*from = 0;
	return viewer;
}
