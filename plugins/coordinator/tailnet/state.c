/*
 * The records in memory. Vectors in the order of ids, which is that of creation, so that adding is
 * appending; indexes by everything that a request may name. Index keys lie inside the records.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/store.h"
#include "base/addr.h"
#include "base/util.h"
#include "impl.h"

void must(bool ok)
{
	/*
	 * The disk has what memory cannot take: going on would answer from a state that is not
	 * the one on the disk. The next start reads it from there.
	 */
	if (!ok) {
		fputs("coordinator: out of memory while taking over a change; ending, so that the "
		      "restart reads it from the database\n", stderr);
		abort();
	}
}

/*
 * ---- Vectors ----
 */

/* All records begin with generation and id, in this order. */
struct any_record {
	uint64_t generation;
	int64_t id;
};
_Static_assert(offsetof(struct tailnet_user, id) == offsetof(struct any_record, id), "users");
_Static_assert(offsetof(struct tailnet_node, id) == offsetof(struct any_record, id), "nodes");
_Static_assert(offsetof(struct tailnet_key, id) == offsetof(struct any_record, id), "keys");

static int64_t id_of(const void *record)
{
	return ((const struct any_record *)record)->id;
}

uint32_t vector_find(const struct vector *v, int64_t id, bool *found)
{
	uint32_t from = 0, to = v->count;

	/* New ids are the greatest. */
	if (to && id > id_of(v->at[to - 1]))
		from = to;
	while (from < to) {
		uint32_t middle = from + (to - from) / 2;

		if (id_of(v->at[middle]) < id)
			from = middle + 1;
		else
			to = middle;
	}
	*found = from < v->count && id_of(v->at[from]) == id;
	return from;
}

void *vector_get(const struct vector *v, int64_t id)
{
	bool found;
	uint32_t i = vector_find(v, id, &found);

	return found ? (void *)v->at[i] : NULL;
}

static void vector_insert(struct vector *v, uint32_t i, const void *record)
{
	uint32_t room = v->room ? 2 * v->room : 16;

	if (v->count == v->room) {
		v->at = reallocarray(v->at, room, sizeof(*v->at));
		must(v->at);
		v->room = room;
	}
	memmove(v->at + i + 1, v->at + i, (v->count - i) * sizeof(*v->at));
	v->at[i] = record;
	v->count++;
}

static void vector_remove(struct vector *v, uint32_t i)
{
	v->count--;
	memmove(v->at + i, v->at + i + 1, (v->count - i) * sizeof(*v->at));
}

/* Puts @now where @before was, or in its place; NULL takes away. */
static void vector_set(struct vector *v, int64_t id, const void *now)
{
	bool found;
	uint32_t i = vector_find(v, id, &found);

	if (found && now)
		v->at[i] = now;
	else if (found)
		vector_remove(v, i);
	else if (now)
		vector_insert(v, i, now);
}

/* A key of @len 0 is not indexed. */
static void index_set(struct hash *h, const void *old_key, size_t old_len, const void *old,
		      const void *new_key, size_t new_len, const void *now)
{
	bool same = old_len == new_len && now && memcmp(old_key, new_key, new_len) == 0;

	/* Another record may have taken the key over in the same commit. */
	if (old && old_len && !same && hash_get(h, old_key, old_len) == old)
		hash_del(h, old_key, old_len);
	if (now && new_len)
		must(hash_put(h, new_key, new_len, (void *)now, NULL) == 0);
}

/*
 * ---- Machines ----
 */

struct tailnet_machine *state_machine(const struct tailnet *tn, const uint8_t key[32])
{
	return hash_get(&tn->machines, key, TAILNET_KEY_SIZE);
}

struct tailnet_machine *state_machine_by_id(const struct tailnet *tn, int64_t id)
{
	return hash_get(&tn->machine_ids, &id, sizeof(id));
}

static void ids_add(int64_t **ids, uint32_t *n, int64_t id)
{
	int64_t *grown;

	for (uint32_t i = 0; i < *n; i++) {
		if ((*ids)[i] == id)
			return;
	}
	grown = reallocarray(*ids, *n + 1, sizeof(*grown));
	must(grown);
	*ids = grown;
	grown[(*n)++] = id;
}

static void ids_remove(int64_t *ids, uint32_t *n, int64_t id)
{
	for (uint32_t i = 0; i < *n; i++) {
		if (ids[i] == id) {
			ids[i] = ids[--*n];
			return;
		}
	}
}

void state_put_machine(struct tailnet *tn, int64_t id, int64_t created, const uint8_t key[32])
{
	struct tailnet_machine *m = calloc(1, sizeof(*m));

	must(m);
	m->id = id;
	m->created = created;
	memcpy(m->key, key, sizeof(m->key));
	must(hash_put(&tn->machines, m->key, sizeof(m->key), m, NULL) == 0);
	must(hash_put(&tn->machine_ids, &m->id, sizeof(m->id), m, NULL) == 0);
}

void state_drop_machine(struct tailnet *tn, int64_t id)
{
	struct tailnet_machine *m = hash_del(&tn->machine_ids, &id, sizeof(id));

	if (!m)
		return;
	hash_del(&tn->machines, m->key, sizeof(m->key));
	free(m->nodes);
	free(m->pins);
	free(m);
}

void state_pin(struct tailnet *tn, int64_t machine, int64_t user, bool pinned)
{
	struct tailnet_machine *m = state_machine_by_id(tn, machine);

	if (!m)
		return;
	if (pinned)
		ids_add(&m->pins, &m->n_pins, user);
	else
		ids_remove(m->pins, &m->n_pins, user);
}

bool tailnet_pinned(const struct tailnet *tn, int64_t machine, int64_t user)
{
	const struct tailnet_machine *m = state_machine_by_id(tn, machine);

	for (uint32_t i = 0; m && i < m->n_pins; i++) {
		if (m->pins[i] == user)
			return true;
	}
	return false;
}

/*
 * ---- Nodes ----
 */

struct place *state_place(const struct tailnet *tn, int64_t id)
{
	bool found;
	uint32_t i = vector_find(&tn->nodes, id, &found);

	return found ? tn->places[i] : NULL;
}

/* The vector has just got or is about to lose the node at @i. */
static void place_insert(struct tailnet *tn, uint32_t i, struct place *place)
{
	tn->places = reallocarray(tn->places, tn->nodes.room, sizeof(*tn->places));
	must(tn->places);
	memmove(tn->places + i + 1, tn->places + i,
		(tn->nodes.count - 1 - i) * sizeof(struct place *));
	tn->places[i] = place;
}

static void place_remove(struct tailnet *tn, uint32_t i)
{
	tn->n_dirty -= tn->places[i]->dirty;
	free(tn->places[i]);
	memmove(tn->places + i, tn->places + i + 1,
		(tn->nodes.count - 1 - i) * sizeof(struct place *));
}

static void index_node(struct tailnet *tn, const struct tailnet_node *old,
		       const struct tailnet_node *now)
{
	static const struct tailnet_node none;
	const struct tailnet_node *o = old ? old : &none, *n = now ? now : &none;

	index_set(&tn->by_node_key, o->node_key, old ? TAILNET_KEY_SIZE : 0, old, n->node_key,
		  TAILNET_KEY_SIZE, now);
	if (old && !(now && strcmp(o->name, n->name) == 0))
		name_freed(tn, o->name, strlen(o->name));
	index_set(&tn->by_name, old ? o->name : "", old ? strlen(o->name) : 0, old,
		  now ? n->name : "", now ? strlen(n->name) : 0, now);
	index_set(&tn->by_addr, &o->v4, o->v4.family ? sizeof(o->v4) : 0, old, &n->v4,
		  n->v4.family ? sizeof(n->v4) : 0, now);
	index_set(&tn->by_addr, &o->v6, o->v6.family ? sizeof(o->v6) : 0, old, &n->v6,
		  n->v6.family ? sizeof(n->v6) : 0, now);
}

void state_put_node(struct tailnet *tn, struct tailnet_node *node)
{
	bool found;
	uint32_t i = vector_find(&tn->nodes, node->id, &found);
	const struct tailnet_node *before = found ? tn->nodes.at[i] : NULL;
	struct place *place = found ? tn->places[i] : calloc(1, sizeof(*place));
	struct tailnet_machine *machine = state_machine_by_id(tn, node->machine);

	must(place);
	node->generation = ++tn->generation;
	node->live.expired = node->expiry && node->expiry <= now_wall(tn);
	tell_node(tn, place, before, node);
	if (found) {
		tn->nodes.at[i] = node;
	} else {
		vector_insert(&tn->nodes, i, node);
		place_insert(tn, i, place);
		if (machine)
			ids_add(&machine->nodes, &machine->n_nodes, node->id);
	}
	place->node = node;
	index_node(tn, before, node);
	route_moved(tn, before, node);
	tn->stats.online += node->live.online - (before ? before->live.online : 0);
	tailnet_node_unref(before);
	if (!found)
		live_arm(tn, place);
	if (node->expiry && !node->live.expired)
		tick_at(tn, now_mono(tn) + (uint64_t)(node->expiry - now_wall(tn)));
}

void state_put_hard(struct tailnet *tn, const struct tailnet_node *node)
{
	const struct tailnet_node *before = tailnet_node(tn, node->id);
	struct tailnet_node *now = node_copy(node);

	must(now);
	if (before) {
		share_soft(&now->soft, &before->soft);
		share_live(&now->live, &before->live);
	}
	state_put_node(tn, now);
}

void state_drop_node(struct tailnet *tn, int64_t id)
{
	bool found;
	uint32_t i = vector_find(&tn->nodes, id, &found);
	const struct tailnet_node *node;
	struct tailnet_machine *machine;

	if (!found)
		return;
	node = tn->nodes.at[i];
	tell_node(tn, tn->places[i], node, NULL);
	index_node(tn, node, NULL);
	route_moved(tn, node, NULL);
	machine = state_machine_by_id(tn, node->machine);
	if (machine)
		ids_remove(machine->nodes, &machine->n_nodes, id);
	tn->stats.online -= node->live.online;
	place_remove(tn, i);
	vector_remove(&tn->nodes, i);
	address_freed(&tn->v4, &node->v4);
	address_freed(&tn->v6, &node->v6);
	tailnet_node_unref(node);
}

/*
 * ---- Users and keys ----
 */

/* Local users are found by login, those of a provider by subject. */
static void index_user(struct tailnet *tn, const struct tailnet_user *old,
		       const struct tailnet_user *now)
{
	const char *o = old ? old->login : "", *n = now ? now->login : "";
	bool o_local = old && !old->subject[0], n_local = now && !now->subject[0];

	index_set(&tn->by_login, o, o_local ? strlen(o) : 0, old, n, n_local ? strlen(n) : 0, now);
	o = old ? old->subject : "";
	n = now ? now->subject : "";
	index_set(&tn->by_subject, o, strlen(o), old, n, strlen(n), now);
}

void state_put_user(struct tailnet *tn, const struct tailnet_user *user)
{
	const struct tailnet_user *before = tailnet_user(tn, user->id);

	tailnet_user_ref(user);
	tell_user(tn, before, user);
	vector_set(&tn->users, user->id, user);
	index_user(tn, before, user);
	tailnet_user_unref(before);
}

void state_drop_user(struct tailnet *tn, int64_t id)
{
	const struct tailnet_user *user = tailnet_user(tn, id);

	if (!user)
		return;
	tell_user(tn, user, NULL);
	index_user(tn, user, NULL);
	vector_set(&tn->users, id, NULL);
	tailnet_user_unref(user);
}

void state_put_key(struct tailnet *tn, const struct tailnet_key *key)
{
	const struct tailnet_key *before = tailnet_key(tn, key->id);

	tailnet_key_ref(key);
	vector_set(&tn->keys, key->id, key);
	must(hash_put(&tn->by_hash, key->hash, sizeof(key->hash), (void *)key, NULL) == 0);
	tailnet_key_unref(before);
}

void state_drop_key(struct tailnet *tn, int64_t id)
{
	const struct tailnet_key *key = tailnet_key(tn, id);
	const struct tailnet_node *node;
	struct tailnet_node *now;

	if (!key)
		return;
	/* As the foreign key of the database does. */
	for (uint32_t i = 0; i < tn->nodes.count; i++) {
		node = tn->nodes.at[i];
		if (node->auth_key != id)
			continue;
		now = node_copy(node);
		must(now);
		now->auth_key = 0;
		state_put_node(tn, now);
	}
	hash_del(&tn->by_hash, key->hash, sizeof(key->hash));
	vector_set(&tn->keys, id, NULL);
	tailnet_key_unref(key);
}

const struct held *state_held(const struct tailnet *tn, const struct warren_addr *addr)
{
	return hash_get(&tn->held, addr, sizeof(*addr));
}

void state_hold(struct tailnet *tn, const struct warren_addr *addr, int64_t until)
{
	struct held *held = hash_get(&tn->held, addr, sizeof(*addr));

	if (!until) {
		address_freed(&tn->v4, addr);
		address_freed(&tn->v6, addr);
		if (held)
			hash_del(&tn->held, addr, sizeof(*addr));
		free(held);		/* @addr may lie in it */
		return;
	}
	if (!held) {
		held = calloc(1, sizeof(*held));
		must(held);
		held->addr = *addr;
		must(hash_put(&tn->held, &held->addr, sizeof(held->addr), held, NULL) == 0);
	}
	held->until = until;
}

/*
 * ---- Loading ----
 */

static int load_user(void *self, const struct tailnet_user *user)
{
	state_put_user(self, user);
	return 0;
}

static int load_machine(void *self, const struct store_machine *machine)
{
	state_put_machine(self, machine->id, machine->created, machine->key);
	return 0;
}

static int load_pin(void *self, int64_t machine, int64_t user)
{
	state_pin(self, machine, user, true);
	return 0;
}

static int load_key(void *self, const struct tailnet_key *key)
{
	state_put_key(self, key);
	return 0;
}

static int load_node(void *self, const struct tailnet_node *node)
{
	state_put_hard(self, node);
	return 0;
}

static int load_held(void *self, const struct store_held *held)
{
	state_hold(self, &held->addr, held->until);
	return 0;
}

static int load_last(void *self, int64_t user, int64_t machine, int64_t key, int64_t node)
{
	struct tailnet *tn = self;

	tn->last_user = user;
	tn->last_machine = machine;
	tn->last_key = key;
	tn->last_node = node;
	return 0;
}

int state_load(struct tailnet *tn, char why[TAILNET_WHY])
{
	const struct store_visitor visitor = {
		.self = tn, .user = load_user, .machine = load_machine, .pin = load_pin,
		.key = load_key, .node = load_node, .held = load_held, .last = load_last,
	};
	int rc = store_load(tn->store, &visitor, why);

	tell_flush(tn);
	return rc;
}

void state_free(struct tailnet *tn)
{
	struct tailnet_machine *machine;
	struct held *held;

	for (uint32_t i = 0; i < tn->nodes.count; i++) {
		tailnet_node_unref(tn->nodes.at[i]);
		free(tn->places[i]);
	}
	for (uint32_t i = 0; i < tn->users.count; i++)
		tailnet_user_unref(tn->users.at[i]);
	for (uint32_t i = 0; i < tn->keys.count; i++)
		tailnet_key_unref(tn->keys.at[i]);
	for (uint32_t pos = 0; (machine = hash_next(&tn->machine_ids, &pos)); ) {
		free(machine->nodes);
		free(machine->pins);
		free(machine);
	}
	for (uint32_t pos = 0; (held = hash_next(&tn->held, &pos)); )
		free(held);
	free(tn->nodes.at);
	free(tn->users.at);
	free(tn->keys.at);
	free(tn->places);
	hash_free(&tn->by_node_key);
	hash_free(&tn->by_name);
	hash_free(&tn->by_addr);
	hash_free(&tn->by_login);
	hash_free(&tn->by_subject);
	hash_free(&tn->by_hash);
	hash_free(&tn->machines);
	hash_free(&tn->machine_ids);
	hash_free(&tn->held);
}
