/*
 * What consumers of a network map have to agree about.
 */
#include <warren/service/netmap.h>

#include "base/addr.h"

bool warren_netmap_takes(const struct warren_netmap *map, const struct warren_node *node,
			 const struct warren_prefix *allowed)
{
	for (uint32_t i = 0; map->addresses_only && i < node->n_addresses; i++) {
		if (prefix_equal(&node->addresses[i], allowed))
			return true;
	}
	return !map->addresses_only;
}
