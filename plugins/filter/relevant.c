/*
 * Decides from a map's list of changes whether the table must be made anew: most maps only say that
 * a peer moved or went offline.
 */
#include "relevant.h"

/* Records that make a table depend on who the peers are. */
static bool is_guarded(const struct warren_node *peer)
{
	return peer && (peer->jailed || peer->unsigned_peerapi_only);
}

static bool has_cap_source(const struct warren_filter_rule *rule)
{
	for (uint32_t i = 0; i < rule->n_srcs; i++) {
		if (rule->srcs[i].kind == WARREN_SRC_CAP)
			return true;
	}
	return false;
}

bool filter_map_depends_on_peers(const struct warren_netmap *map)
{
	for (uint32_t i = 0; i < map->n_filter; i++) {
		if (has_cap_source(&map->filter[i]))
			return true;
	}
	for (uint32_t i = 0; i < map->n_peers; i++) {
		if (is_guarded(map->peers[i]))
			return true;
	}
	return false;
}

static bool change_matters(const struct warren_netmap_change *change, bool by_peer)
{
	if (change->what == WARREN_CHANGE_MODIFIED && !(change->fields & ~WARREN_NODE_REACHED))
		return false;
	return by_peer || is_guarded(change->before) || is_guarded(change->after);
}

bool filter_map_matters(const struct warren_netmap *map, uint64_t previous, bool by_peer)
{
	if (!previous || map->previous != previous)
		return true;
	if (map->changed & (WARREN_NETMAP_SELF | WARREN_NETMAP_FILTER))
		return true;
	for (uint32_t i = 0; map->changed & WARREN_NETMAP_PEERS && i < map->n_changes; i++) {
		if (change_matters(&map->changes[i], by_peer))
			return true;
	}
	return false;
}
