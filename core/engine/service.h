/*
 * The service registry behind warren_offer() and warren_need(). One mutex; handles are plain
 * pointers whose life the lifecycle guarantees: a provider stops after its hard dependents have
 * stopped and its soft ones have returned from `lost`.
 */
#ifndef WARREN_ENGINE_SERVICE_H
#define WARREN_ENGINE_SERVICE_H

#include <stdbool.h>

struct warren_ctx;
struct wcore_services;

struct wcore_services *wcore_services_new(void);
void wcore_services_free(struct wcore_services *services);	/* NULL is allowed */

/* What a context that is up offers under @name. Any thread. */
bool wcore_service_find(struct wcore_services *services, const char *name, struct warren_ctx **by,
			const void **ops, void **self);
/* The first row of the plugin's `offers` that @ctx has not offered, or NULL. */
const char *wcore_service_missing(struct warren_ctx *ctx);
/* From now on soft needs find (do not find) what @ctx offers; hard ones always do. */
void wcore_service_set_up(struct warren_ctx *ctx, bool up);
/* Removes what @ctx offers. */
void wcore_service_withdraw(struct warren_ctx *ctx);

#endif
