/*
 * From the network map to peers, on the lane: keys, allowed IPs, endpoints, pre-shared keys,
 * keepalive, and the choice of the built-in policy. Peers that did not change are not disturbed.
 */
#ifndef WG_NETMAP_H
#define WG_NETMAP_H

#include <warren/service/netmap.h>

struct wg_device;

/* Makes the empty tables that the map fills. -ENOMEM. */
int wg_netmap_init(struct wg_device *dev);
/*
 * Takes over @map. Follows its change list if that continues what we have, else compares with the
 * snapshot that we hold. -ENOMEM: the device must not go on, its tables may be half of each.
 */
int wg_netmap_apply(struct wg_device *dev, const struct warren_netmap *map);
/* The path writer has gone: every peer gets its first endpoint of the map, if it has any. */
void wg_netmap_restore_endpoints(struct wg_device *dev);
/* Drops the reference to the snapshot. */
void wg_netmap_fini(struct wg_device *dev);

#endif
