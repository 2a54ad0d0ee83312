/*
 * What consumers of a network map have to agree about.
 */
#include <warren/service/netmap.h>

#include <string.h>

#include "base/addr.h"

bool warren_netmap_takes(const struct warren_netmap *map, const struct warren_node *node,
			 const struct warren_prefix *allowed)
{
	if (allowed->bits == 0 && map->exit_chosen)
		return map->exit_node == node->id;
	return !map->addresses_only || warren_netmap_has_address(node, allowed);
}

bool warren_netmap_has(const struct warren_node *node, const struct warren_addr *addr)
{
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		if (addr_equal(&node->addresses[i].addr, addr))
			return true;
	}
	return false;
}

const struct warren_node *warren_netmap_owner(const struct warren_netmap *map,
					      const struct warren_addr *addr)
{
	for (uint32_t i = 0; map && i < map->n_peers; i++) {
		if (warren_netmap_has(map->peers[i], addr))
			return map->peers[i];
	}
	return NULL;
}

static bool is_source(const struct warren_src *src, const struct warren_node *node)
{
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		const struct warren_addr *addr = &node->addresses[i].addr;

		if (src->kind == WARREN_SRC_ANY ||
		    (src->kind == WARREN_SRC_PREFIX && prefix_contains(&src->prefix, addr)) ||
		    (src->kind == WARREN_SRC_RANGE && addr_compare(&src->first, addr) <= 0 &&
		     addr_compare(addr, &src->last) <= 0))
			return true;
	}
	for (uint32_t i = 0; src->kind == WARREN_SRC_CAP && i < node->n_caps; i++)
		if (strcmp(node->caps[i].name, src->cap) == 0)
			return true;
	return false;
}

bool warren_netmap_granted(const struct warren_netmap *map, const struct warren_filter_rule *rule,
			   const struct warren_cap_grant *grant, const struct warren_node *from)
{
	bool to = false;

	for (uint32_t i = 0; i < grant->n_dsts && !to; i++)
		for (uint32_t k = 0; k < map->self->n_addresses && !to; k++)
			to = prefix_contains(&grant->dsts[i], &map->self->addresses[k].addr);
	for (uint32_t i = 0; i < rule->n_srcs && to; i++)
		if (is_source(&rule->srcs[i], from))
			return true;
	return false;
}

uint32_t warren_netmap_exits(const struct warren_netmap *map, const struct warren_node *node,
			     struct warren_prefix out[2])
{
	uint32_t n = 0;

	if (!map->exit_chosen || map->exit_node != node->id)
		return 0;
	if (node->exit_v4)
		out[n++] = (struct warren_prefix){ .addr.family = 4 };
	if (node->exit_v6)
		out[n++] = (struct warren_prefix){ .addr.family = 6 };
	return n;
}

bool warren_netmap_is_exit(const struct warren_node *node)
{
	for (uint32_t i = 0; i < node->n_allowed_ips; i++) {
		if (node->allowed_ips[i].bits == 0)
			return true;
	}
	return node->exit_v4 || node->exit_v6;
}

bool warren_netmap_follows(const struct warren_netmap *map, const struct warren_netmap *before)
{
	return before && map->previous != 0 && map->previous == before->serial;
}

bool warren_netmap_peers_differ(const struct warren_netmap *map, const struct warren_netmap *before,
				uint32_t but)
{
	if (!warren_netmap_follows(map, before))
		return true;
	for (uint32_t i = 0; map->changed & WARREN_NETMAP_PEERS && i < map->n_changes; i++) {
		const struct warren_netmap_change *change = &map->changes[i];

		if (change->what != WARREN_CHANGE_MODIFIED || change->fields & ~but)
			return true;
	}
	return false;
}

const struct warren_node *warren_netmap_peer(const struct warren_netmap *map, int64_t id)
{
	uint32_t low = 0, high = map ? map->n_peers : 0;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (map->peers[middle]->id == id)
			return map->peers[middle];
		if (map->peers[middle]->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

bool warren_netmap_has_address(const struct warren_node *node, const struct warren_prefix *prefix)
{
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		if (prefix_equal(&node->addresses[i], prefix))
			return true;
	}
	return false;
}
