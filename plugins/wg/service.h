/*
 * The service "dataplane": the operations table of service/dataplane.h over a struct wg_device.
 */
#ifndef WG_SERVICE_H
#define WG_SERVICE_H

#include <warren/service/dataplane.h>

extern const struct warren_dataplane_ops wg_service_ops;	/* self: struct wg_device */

struct wg_device;

/* Lane, no worker is left: forgets who registered what; their contexts may end later. */
void wg_service_forget(struct wg_device *dev);

#endif
