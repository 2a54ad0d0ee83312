/*
 * Which maps are news for the filter.
 */
#ifndef FILTER_RELEVANT_H
#define FILTER_RELEVANT_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/service/netmap.h>

/* Does what @map means to the filter depend on its peers: capabilities, jailed or unsigned ones? */
bool filter_map_depends_on_peers(const struct warren_netmap *map);
/*
 * Must a table be made for @map, or does the one for the map with serial @previous (0: none) serve?
 * @by_peer: what filter_map_depends_on_peers() said about the newest map for which this was true.
 */
bool filter_map_matters(const struct warren_netmap *map, uint64_t previous, bool by_peer);

#endif
