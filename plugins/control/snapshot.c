/*
 * Snapshots and their lineage.
 */
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "snapshot.h"

/*
 * ---- Tables ----
 */

struct ctl_table *ctl_table_new(uint32_t n)
{
	struct ctl_table *table = ctl_part_new(sizeof(*table));
	size_t room = n ? n : 1;

	if (!table)
		return NULL;
	table->ids = arena_alloc(&table->part.arena, room * sizeof(*table->ids));
	table->nodes = arena_alloc(&table->part.arena, room * sizeof(*table->nodes));
	table->next_expiry = INT64_MAX;
	if (table->ids && table->nodes)
		return table;
	ctl_part_unref(table);
	return NULL;
}

uint32_t ctl_table_find(const struct ctl_table *table, int64_t id, bool *there)
{
	uint32_t low = 0, high = table ? table->n : 0;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (table->ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	*there = table && low < table->n && table->ids[low] == id;
	return low;
}

struct ctl_record *ctl_table_get(const struct ctl_table *table, int64_t id)
{
	bool there;
	uint32_t at = ctl_table_find(table, id, &there);

	return there ? ctl_record_of(table->nodes[at]) : NULL;
}

/*
 * ---- Users ----
 */

static char *put_text(char *at, const char *text, const char **out)
{
	size_t size = text ? strlen(text) + 1 : 0;

	*out = text ? memcpy(at, text, size) : NULL;
	return at + size;
}

struct ctl_user *ctl_user_parse(struct ctl_parse *p, const json_t *o)
{
	struct warren_user view = { 0 };
	struct ctl_user *user;
	size_t size = 0;
	char *at;

	if (!json_is_object(o)) {
		ctl_parse_fail(p, "not an object");
		return NULL;
	}
	view.id = ctl_get_int(p, o, "ID", INT64_MIN, INT64_MAX);
	view.login = ctl_get_str(p, o, "LoginName", CTL_TEXT_MAX);
	view.name = ctl_get_str(p, o, "DisplayName", CTL_TEXT_MAX);
	view.picture = ctl_get_str(p, o, "ProfilePicURL", 2048);
	if (!p->failed && !view.id)
		ctl_parse_fail(p, "ID: there is none");
	if (p->failed)
		return NULL;
	size += view.login ? strlen(view.login) + 1 : 0;
	size += view.name ? strlen(view.name) + 1 : 0;
	size += view.picture ? strlen(view.picture) + 1 : 0;
	user = calloc(1, sizeof(*user) + size);
	if (!user) {
		ctl_parse_oom(p);
		return NULL;
	}
	user->user.id = view.id;
	at = put_text((char *)(user + 1), view.login, &user->user.login);
	at = put_text(at, view.name, &user->user.name);
	put_text(at, view.picture, &user->user.picture);
	return user;
}

struct ctl_users *ctl_users_new(uint32_t n)
{
	struct ctl_users *users = ctl_part_new(sizeof(*users));
	size_t room = n ? n : 1;

	if (!users)
		return NULL;
	users->users = arena_alloc(&users->part.arena, room * sizeof(*users->users));
	users->records = arena_alloc(&users->part.arena, room * sizeof(*users->records));
	if (users->users && users->records)
		return users;
	ctl_part_unref(users);
	return NULL;
}

struct ctl_user *ctl_users_get(const struct ctl_users *users, int64_t id)
{
	uint32_t low = 0, high = users ? users->n : 0;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (users->users[middle].id == id)
			return users->records[middle];
		if (users->users[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/*
 * ---- Generations ----
 */

struct ctl_gen {
	atomic_uint refs;		/* its snapshot, and the generation before */
	struct ctl_gen *next;		/* written on the lane while this one is the newest */
	struct ctl_owned *dead;
};

static void free_dead(struct ctl_owned *dead)
{
	while (dead) {
		struct ctl_owned *next = dead->next;

		ctl_owned_free(dead);
		dead = next;
	}
}

/* A loop: a consumer that held an old snapshot may let go of thousands at once. */
static void gen_unref(struct ctl_gen *gen)
{
	while (gen && atomic_fetch_sub_explicit(&gen->refs, 1, memory_order_acq_rel) == 1) {
		struct ctl_gen *next = gen->next;

		free_dead(gen->dead);
		free(gen);
		gen = next;
	}
}

/*
 * ---- Snapshots ----
 */

static const struct warren_dns no_dns;

void ctl_state_unref(struct ctl_state *state)
{
	ctl_part_unref(state->peers);
	ctl_part_unref(state->users);
	ctl_filters_unref(state->filters);
	ctl_part_unref(state->dns);
	ctl_part_unref(state->relays);
	ctl_part_unref(state->ssh);
	ctl_part_unref(state->health);
	ctl_part_unref(state->domain);
	memset(state, 0, sizeof(*state));
}

struct ctl_snapshot *ctl_snapshot_of(const struct warren_netmap *map)
{
	return CONTAINER_OF((struct warren_netmap *)(uintptr_t)map, struct ctl_snapshot, map);
}

static void snapshot_free(struct warren_obj *obj)
{
	struct ctl_snapshot *s = ctl_snapshot_of((struct warren_netmap *)obj);

	free((void *)(uintptr_t)s->map.changes);
	ctl_state_unref(&s->state);
	gen_unref(s->gen);
	free(s);
}

static bool has_cap(const struct warren_node *node, const char *name)
{
	for (uint32_t i = 0; i < node->n_caps; i++) {
		if (!strcmp(node->caps[i].name, name))
			return true;
	}
	return false;
}

/*
 * The stock client on Linux leads all of its IPv6 network into the tunnel, but of the IPv4 network
 * only the addresses of peers and the service address, unless it is told otherwise (section 6.13).
 */
static void fill_networks(struct ctl_snapshot *s)
{
	const struct warren_node *self = s->map.self;
	struct warren_prefix v4, service, v6;

	s->map.networks = s->networks;
	if (!self || prefix_parse("100.64.0.0/10", &v4) ||
	    prefix_parse("100.100.100.100/32", &service) ||
	    prefix_parse("fd7a:115c:a1e0::/48", &v6))
		return;
	if (has_cap(self, "one-cgnat?v=true"))
		s->networks[s->map.n_networks++] = v4;
	else if (self->n_addresses > 0 && self->addresses[0].addr.family == 4)
		s->networks[s->map.n_networks++] = service;
	for (uint32_t i = 0; i < self->n_addresses; i++) {
		if (prefix_contains(&v6, &self->addresses[i].addr)) {
			s->networks[s->map.n_networks++] = v6;
			break;
		}
	}
}

static void fill_map(struct ctl_snapshot *s)
{
	const struct ctl_state *state = &s->state;
	struct warren_netmap *map = &s->map;

	map->domain = state->domain ? state->domain->text : NULL;
	map->self = state->self ? &state->self->node : NULL;
	if (state->peers) {
		map->peers = state->peers->nodes;
		map->n_peers = state->peers->n;
	}
	if (state->users) {
		map->users = state->users->users;
		map->n_users = state->users->n;
	}
	map->builtin_policy = WARREN_POLICY_NONE;
	if (state->filters) {
		map->filter = state->filters->rules;
		map->n_filter = state->filters->n_rules;
	}
	map->dns = state->dns ? &state->dns->dns : &no_dns;
	if (state->relays) {
		map->regions = state->relays->regions;
		map->n_regions = state->relays->n_regions;
	}
	if (state->ssh) {
		map->ssh = state->ssh->rules;
		map->n_ssh = state->ssh->n_rules;
	}
	if (state->health) {
		map->health = state->health->sentences;
		map->n_health = state->health->n_sentences;
	}
	fill_networks(s);
}

static uint32_t changed_bits(const struct ctl_snapshot *now, const struct ctl_snapshot *before)
{
	const struct ctl_state *a = &before->state, *b = &now->state;
	uint32_t bits = now->map.n_changes ? WARREN_NETMAP_PEERS : 0;

	if (a->self != b->self || a->domain != b->domain)
		bits |= WARREN_NETMAP_SELF;
	if (a->filters != b->filters)
		bits |= WARREN_NETMAP_FILTER;
	if (a->dns != b->dns)
		bits |= WARREN_NETMAP_DNS;
	if (a->relays != b->relays)
		bits |= WARREN_NETMAP_RELAYS;
	if (a->ssh != b->ssh)
		bits |= WARREN_NETMAP_SSH;
	if (a->users != b->users)
		bits |= WARREN_NETMAP_USERS;
	if (a->health != b->health)
		bits |= WARREN_NETMAP_HEALTH;
	return bits;
}

struct ctl_snapshot *ctl_snapshot_new(struct ctl_snapshot *before, struct ctl_state *state,
				      struct ctl_changes *changes, struct ctl_owned *dead)
{
	struct ctl_snapshot *s = calloc(1, sizeof(*s));
	struct ctl_gen *gen = calloc(1, sizeof(*gen));

	if (!s || !gen) {
		free(s);
		free(gen);
		return NULL;
	}
	warren_obj_init(&s->map.obj, sizeof(s->map), snapshot_free);
	s->state = *state;
	memset(state, 0, sizeof(*state));
	s->map.changes = changes->list;
	s->map.n_changes = changes->n;
	memset(changes, 0, sizeof(*changes));
	fill_map(s);
	s->map.serial = before ? before->map.serial + 1 : 1;
	s->map.previous = before ? before->map.serial : 0;
	s->map.changed = before ? changed_bits(s, before) : WARREN_NETMAP_ALL;
	s->gen = gen;
	gen->dead = dead;
	atomic_init(&gen->refs, before ? 2 : 1);
	if (before)
		before->gen->next = gen;
	return s;
}

static void bury(struct ctl_gen *gen, struct ctl_owned *owned)
{
	owned->next = gen->dead;
	gen->dead = owned;
}

void ctl_snapshot_end(struct ctl_snapshot *last)
{
	struct ctl_gen *gen = calloc(1, sizeof(*gen));
	struct ctl_state *state = &last->state;

	/* Without memory for it the records stay, which harms less than anything else would. */
	if (!gen)
		return;
	atomic_init(&gen->refs, 1);
	if (state->self)
		bury(gen, &state->self->owned);
	for (uint32_t i = 0; state->peers && i < state->peers->n; i++)
		bury(gen, &ctl_record_of(state->peers->nodes[i])->owned);
	for (uint32_t i = 0; state->users && i < state->users->n; i++)
		bury(gen, &state->users->records[i]->owned);
	last->gen->next = gen;
}
