/*
 * Snapshots: a set of records as the network map that everybody reads.
 *
 * A snapshot is one block with the lists of peers and changes; it holds a reference to each record
 * that they name. Two sorted lists with shared records make the differences a walk along both.
 */
#include <stdlib.h>

#include "base/util.h"
#include "static.h"

struct map {
	struct warren_netmap map;
	struct static_policy *policy;
};

static const struct warren_dns no_dns;

static void map_free(struct warren_obj *obj)
{
	struct map *m = CONTAINER_OF((struct warren_netmap *)obj, struct map, map);

	for (uint32_t i = 0; i < m->map.n_peers; i++)
		static_record_unref(static_record_of(m->map.peers[i]));
	for (uint32_t i = 0; i < m->map.n_changes; i++) {
		if (m->map.changes[i].before)
			static_record_unref(static_record_of(m->map.changes[i].before));
	}
	static_record_unref(static_record_of(m->map.self));
	static_policy_unref(m->policy);
	free(m);
}

static void change_add(struct warren_netmap *map, struct warren_netmap_change *list, uint32_t what,
		       const struct warren_node *before, const struct warren_node *after)
{
	struct warren_netmap_change *change = &list[map->n_changes++];

	change->what = what;
	change->before = before;
	change->after = after;
	if (before)
		static_record_ref(static_record_of(before));
	if (before && after)
		change->fields = static_record_diff(static_record_of(before),
						    static_record_of(after));
}

/* Both lists are sorted by id; equal pointers mean equal nodes. */
static void changes_fill(struct warren_netmap *map, const struct warren_netmap *before,
			 struct warren_netmap_change *list)
{
	uint32_t old = 0, new = 0;

	while (old < before->n_peers || new < map->n_peers) {
		const struct warren_node *a = old < before->n_peers ? before->peers[old] : NULL;
		const struct warren_node *b = new < map->n_peers ? map->peers[new] : NULL;

		if (a && (!b || a->id < b->id)) {
			change_add(map, list, WARREN_CHANGE_REMOVED, a, NULL);
			old++;
		} else if (b && (!a || b->id < a->id)) {
			change_add(map, list, WARREN_CHANGE_ADDED, NULL, b);
			new++;
		} else {
			if (a != b)
				change_add(map, list, WARREN_CHANGE_MODIFIED, a, b);
			old++;
			new++;
		}
	}
	map->changes = list;
}

static uint32_t changed_bits(const struct map *now, const struct map *before)
{
	uint32_t bits = now->map.n_changes > 0 ? WARREN_NETMAP_PEERS : 0;

	if (now->map.self != before->map.self ||
	    now->map.exit_chosen != before->map.exit_chosen ||
	    now->map.exit_node != before->map.exit_node ||
	    now->map.builtin_policy != before->map.builtin_policy)
		bits |= WARREN_NETMAP_SELF;
	if (now->policy != before->policy)
		bits |= WARREN_NETMAP_FILTER;
	return bits;
}

struct warren_netmap *static_map_new(const struct static_set *set, const struct static_exit *exit,
				     const struct warren_netmap *before)
{
	size_t max_changes = before ? (size_t)before->n_peers + set->n_peers : 0;
	size_t changes = max_changes * sizeof(struct warren_netmap_change);
	struct map *m = calloc(1, sizeof(*m) + changes + set->n_peers * sizeof(void *));
	const struct warren_node **peers;

	if (!m)
		return NULL;
	warren_obj_init(&m->map.obj, sizeof(m->map), map_free);
	m->map.dns = &no_dns;
	m->map.exit_chosen = exit->chosen;
	m->map.exit_node = exit->node;
	m->map.self = &static_record_ref(set->self)->node;
	m->map.networks = set->self->networks;
	m->map.n_networks = set->self->n_networks;
	m->policy = static_policy_ref(set->policy);
	m->map.builtin_policy = set->policy ? WARREN_POLICY_NONE : WARREN_POLICY_ALLOWED_IPS;
	m->map.filter = set->policy ? set->policy->rules : NULL;
	m->map.n_filter = set->policy ? set->policy->n_rules : 0;

	peers = (const struct warren_node **)((char *)(m + 1) + changes);
	for (uint32_t i = 0; i < set->n_peers; i++)
		peers[i] = &static_record_ref(set->peers[i]->record)->node;
	m->map.peers = peers;
	m->map.n_peers = set->n_peers;

	m->map.serial = before ? before->serial + 1 : 1;
	m->map.previous = before ? before->serial : 0;
	if (!before) {
		m->map.changed = WARREN_NETMAP_ALL;
		return &m->map;
	}
	changes_fill(&m->map, before, (struct warren_netmap_change *)(m + 1));
	m->map.changed = changed_bits(m, CONTAINER_OF((struct warren_netmap *)(uintptr_t)before,
						      struct map, map));
	return &m->map;
}
