/*
 * Services: names to function tables. There are a dozen, so the registry is a list.
 */
#include "engine/service.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <warren/plugin.h>

#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/log.h"
#include "engine/plugin_load.h"
#include "engine/table.h"

struct offer {
	struct offer *next;
	struct warren_ctx *ctx;
	const char *name;		/* of the plugin's row */
	const void *ops;
	void *self;
	bool up;
};

struct wcore_services {
	pthread_mutex_t mutex;
	struct offer *offers;
};

struct wcore_services *wcore_services_new(void)
{
	struct wcore_services *services = calloc(1, sizeof(*services));

	if (services)
		pthread_mutex_init(&services->mutex, NULL);
	return services;
}

void wcore_services_free(struct wcore_services *services)
{
	struct offer *offer;

	if (!services)
		return;
	while ((offer = services->offers)) {
		services->offers = offer->next;
		free(offer);
	}
	pthread_mutex_destroy(&services->mutex);
	free(services);
}

static bool find_port(const struct warren_table *table, const char *name, struct warren_port *row)
{
	for (uint32_t i = 0; wcore_table_row(table, i, row, sizeof(*row)); i++)
		if (strcmp(row->name, name) == 0)
			return true;
	return false;
}

static struct offer *find(struct wcore_services *services, const char *name)
{
	struct offer *offer = services->offers;

	while (offer && strcmp(offer->name, name) != 0)
		offer = offer->next;
	return offer;
}

int warren_offer(struct warren_ctx *ctx, const char *service, const void *ops, void *self)
{
	struct wcore_services *services = wcore_engine_services(ctx->engine);
	struct warren_port row;
	struct offer *offer;
	int rc = 0;

	wcore_ctx_assert_open(ctx, "warren_offer");
	if (ctx->phase != WCORE_PHASE_START || !ctx->plugin ||
	    !find_port(&ctx->plugin->desc.offers, service, &row)) {
		wcore_log(LOG_ERR, "plugin `%s` may not offer `%s`: it is no row of its `offers`, "
			  "or its start is over", ctx->name, service);
		return -EPERM;
	}
	offer = calloc(1, sizeof(*offer));
	if (!offer)
		return -ENOMEM;
	*offer = (struct offer){ .ctx = ctx, .name = row.name, .ops = ops, .self = self };
	pthread_mutex_lock(&services->mutex);
	if (find(services, service)) {
		rc = -EEXIST;
	} else {
		offer->next = services->offers;
		services->offers = offer;
	}
	pthread_mutex_unlock(&services->mutex);
	if (rc)
		free(offer);
	return rc;
}

int warren_need(struct warren_ctx *ctx, const char *service, const void **ops, void **self)
{
	struct wcore_services *services = wcore_engine_services(ctx->engine);
	struct warren_port row;
	struct offer *offer;
	int rc = -ENOENT;

	wcore_ctx_assert(ctx, "warren_need");
	if (!ctx->plugin || !find_port(&ctx->plugin->desc.needs, service, &row)) {
		wcore_log(LOG_ERR, "plugin `%s` asked for service `%s`, which is no row of its "
			  "`needs`", ctx->name, service);
		return -EPERM;
	}
	pthread_mutex_lock(&services->mutex);
	offer = find(services, service);
	if (offer && (offer->up || !(row.flags & WARREN_SOFT))) {
		*ops = offer->ops;
		*self = offer->self;
		rc = 0;
	}
	pthread_mutex_unlock(&services->mutex);
	/* The plan of plugins is lane main's. */
	if (rc == -ENOENT && ctx->lane == wcore_engine_main(ctx->engine) &&
	    wcore_engine_comes(ctx->engine, service))
		rc = -EAGAIN;
	return rc;
}

bool wcore_service_find(struct wcore_services *services, const char *name, struct warren_ctx **by,
			const void **ops, void **self)
{
	struct offer *offer;
	bool up;

	pthread_mutex_lock(&services->mutex);
	offer = find(services, name);
	up = offer && offer->up;
	if (up) {
		*by = offer->ctx;
		*ops = offer->ops;
		*self = offer->self;
	}
	pthread_mutex_unlock(&services->mutex);
	return up;
}

const char *wcore_service_missing(struct warren_ctx *ctx)
{
	struct wcore_services *services = wcore_engine_services(ctx->engine);
	const char *missing = NULL;
	struct warren_port row;
	struct offer *offer;

	pthread_mutex_lock(&services->mutex);
	for (uint32_t i = 0; !missing &&
	     wcore_table_row(&ctx->plugin->desc.offers, i, &row, sizeof(row)); i++) {
		offer = find(services, row.name);
		if (!offer || offer->ctx != ctx)
			missing = row.name;
	}
	pthread_mutex_unlock(&services->mutex);
	return missing;
}

void wcore_service_set_up(struct warren_ctx *ctx, bool up)
{
	struct wcore_services *services = wcore_engine_services(ctx->engine);

	pthread_mutex_lock(&services->mutex);
	for (struct offer *offer = services->offers; offer; offer = offer->next)
		if (offer->ctx == ctx)
			offer->up = up;
	pthread_mutex_unlock(&services->mutex);
}

void wcore_service_withdraw(struct warren_ctx *ctx)
{
	struct wcore_services *services = wcore_engine_services(ctx->engine);
	struct offer **at = &services->offers, *offer;

	pthread_mutex_lock(&services->mutex);
	while ((offer = *at)) {
		if (offer->ctx == ctx) {
			*at = offer->next;
			free(offer);
		} else {
			at = &offer->next;
		}
	}
	pthread_mutex_unlock(&services->mutex);
}
