/*
 * Soft needs: telling plugins that a service they can use has come or is about to go.
 */
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine_impl.h"
#include "engine/log.h"
#include "engine/plugin_load.h"
#include "engine/service.h"
#include "engine/table.h"

/* An errand to the consumer's lane; `each` brings it home. */
struct news {
	struct wcore_post post;
	struct wcore_engine *engine;
	struct warren_ctx *to;
	const char *service;
	const void *ops;
	void *self;
	void (*each)(struct wcore_engine *engine, uint32_t serial);
	uint32_t serial;
};

static void news_drop(struct wcore_post *post)
{
	free(CONTAINER_OF(post, struct news, post));
}

static void found_run(struct wcore_post *post)
{
	struct news *news = CONTAINER_OF(post, struct news, post);
	struct warren_ctx *ctx = news->to;
	uint64_t entered = wcore_ctx_enter(ctx);

	ctx->plugin->desc.found(ctx, news->service, news->ops, news->self);
	wcore_ctx_leave(ctx, entered, "found");
	free(news);
}

static void lost_home(struct wcore_post *post)
{
	struct news *news = CONTAINER_OF(post, struct news, post);

	news->each(news->engine, news->serial);
	free(news);
}

static void lost_run(struct wcore_post *post)
{
	struct news *news = CONTAINER_OF(post, struct news, post);
	struct warren_ctx *ctx = news->to;
	uint64_t entered = wcore_ctx_enter(ctx);

	ctx->plugin->desc.lost(ctx, news->service);
	wcore_ctx_leave(ctx, entered, "lost");
	post->run = lost_home;
	wcore_lane_post(news->engine->main, post);
}

static void send_found(struct wcore_engine *engine, struct warren_ctx *to, const char *service)
{
	struct warren_ctx *by;
	const void *ops;
	struct news *news;
	void *self;

	if (!to->plugin->desc.found ||
	    !wcore_service_find(engine->services, service, &by, &ops, &self) || by == to)
		return;
	news = calloc(1, sizeof(*news));
	if (!news) {
		wcore_log(LOG_ERR, "no memory to tell plugin `%s` of service %s", to->name,
			  service);
		return;
	}
	*news = (struct news){
		.post = { .ctx = to, .run = found_run, .drop = news_drop }, .engine = engine,
		.to = to, .service = service, .ops = ops, .self = self,
	};
	if (wcore_lane_post(to->lane, &news->post))
		free(news);
}

void wcore_soft_bind(struct wcore_engine *engine, const struct wcore_instance *instance)
{
	struct warren_port need;

	for (struct wcore_instance *i = engine->instances; i; i = i->next) {
		if (i->state != WCORE_PLUGIN_UP)
			continue;
		for (uint32_t k = 0;
		     wcore_table_row(&i->plugin->desc.needs, k, &need, sizeof(need)); k++)
			if ((need.flags & WARREN_SOFT) &&
			    (i == instance ||
			     wcore_plugin_offers(instance->plugin, need.name, NULL)))
				send_found(engine, i->ctx, need.name);
	}
}

static bool send_lost(struct wcore_engine *engine, struct warren_ctx *to, const char *service,
		      void (*each)(struct wcore_engine *engine, uint32_t serial))
{
	struct news *news = calloc(1, sizeof(*news));

	if (!news) {
		wcore_log(LOG_ERR, "no memory to tell plugin `%s` that service %s ends", to->name,
			  service);
		return false;
	}
	*news = (struct news){
		.post = { .run = lost_run, .drop = news_drop }, .engine = engine, .to = to,
		.service = service, .each = each, .serial = engine->step_serial,
	};
	wcore_lane_post(to->lane, &news->post);
	return true;
}

uint32_t wcore_soft_release(struct wcore_engine *engine, const struct wcore_instance *instance,
			    void (*each)(struct wcore_engine *engine, uint32_t serial))
{
	struct warren_port need;
	uint32_t n = 0;

	for (struct wcore_instance *i = engine->instances; i; i = i->next) {
		if (i->state != WCORE_PLUGIN_UP || i == instance || !i->plugin->desc.lost)
			continue;
		for (uint32_t k = 0;
		     wcore_table_row(&i->plugin->desc.needs, k, &need, sizeof(need)); k++)
			if ((need.flags & WARREN_SOFT) &&
			    wcore_plugin_offers(instance->plugin, need.name, NULL))
				n += send_lost(engine, i->ctx, need.name, each);
	}
	return n;
}
