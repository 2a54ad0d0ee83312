/*
 * What an engine consists of, and the simple questions about it.
 */
#include "engine/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <sodium.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/bus.h"
#include "engine/ctx.h"
#include "engine/engine_impl.h"
#include "engine/epoch.h"
#include "engine/log.h"
#include "engine/plugin_load.h"
#include "engine/service.h"
#include "engine/stat.h"
#include "engine/state.h"
#include "engine/work.h"

const char *wcore_plugin_state_name(enum wcore_plugin_state state)
{
	switch (state) {
	case WCORE_PLUGIN_OFF:
		return "off";
	case WCORE_PLUGIN_STARTING:
		return "starting";
	case WCORE_PLUGIN_UP:
		return "up";
	case WCORE_PLUGIN_STOPPING:
		return "stopping";
	case WCORE_PLUGIN_FAILED:
		return "failed";
	}
	return "?";
}

static bool make_parts(struct wcore_engine *engine, struct warren_err *err)
{
	struct wcore_engine_options *o = &engine->opts;

	engine->bus = wcore_bus_new();
	engine->services = wcore_services_new();
	engine->stats = wcore_stats_new();
	engine->epochs = wcore_epochs_new();
	engine->pool = wcore_pool_new();
	engine->lookups = wcore_pool_new();
	engine->state = wcore_state_new_take(o->state_dir, o->state_shown);
	o->state_dir = -1;
	engine->main = wcore_lane_new("main", false, err);
	if (!engine->main)
		return false;
	engine->core = wcore_engine_ctx_new(engine, engine->main, NULL);
	if (engine->bus && engine->services && engine->stats && engine->epochs && engine->pool &&
	    engine->lookups &&
	    engine->state && engine->core && !wcore_step_init(engine))
		return true;
	warren_fail(err, NULL, "no memory for the engine");
	return false;
}

struct wcore_engine *wcore_engine_new(const struct wcore_engine_options *options,
				      struct warren_err *err)
{
	struct wcore_engine *engine = calloc(1, sizeof(*engine));

	if (!engine || sodium_init() < 0) {
		free(engine);
		warren_fail(err, NULL, "no memory, or no random numbers, for the engine");
		return NULL;
	}
	engine->opts = *options;
	if (make_parts(engine, err))
		return engine;
	wcore_engine_free(engine);
	return NULL;
}

int wcore_engine_configure(struct wcore_engine *engine, const struct wcore_engine_options *options)
{
	struct wcore_state *state;

	state = wcore_state_new_take(options->state_dir, options->state_shown);
	if (!state)
		return -ENOMEM;
	wcore_state_free(engine->state);
	engine->state = state;
	engine->opts = *options;
	engine->opts.state_dir = -1;
	return 0;
}

/*
 * ---- The end ----
 */

struct last_call {
	struct wcore_post post;
	struct wcore_engine *engine;
	struct wcore_lane *lane;
};

/* On a lane that will run nothing else: frees what waited for the workers' grace. */
static void bury_all(struct wcore_engine *engine, struct wcore_lane *lane)
{
	for (struct warren_ctx *ctx = engine->contexts; ctx; ctx = ctx->next)
		if (ctx->lane == lane && ctx->phase == WCORE_PHASE_GONE)
			wcore_ctx_bury(ctx);
}

static void bury_run(struct wcore_post *post)
{
	struct last_call *call = CONTAINER_OF(post, struct last_call, post);

	bury_all(call->engine, call->lane);
	wcore_lane_break(call->lane);
}

/* The lane is joined before `call` goes out of scope, and its errand is the last one. */
static void end_lane(struct wcore_engine *engine, struct wcore_lane *lane)
{
	struct last_call call = {
		.post = { .run = bury_run, .drop = bury_run }, .engine = engine, .lane = lane,
	};

	wcore_lane_post(lane, &call.post);
	wcore_lane_free(lane);
}

void wcore_engine_free(struct wcore_engine *engine)
{
	struct warren_ctx *ctx;
	struct wcore_instance *instance;

	/* Something still runs and looks at all of this; the process is about to end. */
	if (!engine || engine->abandoned)
		return;
	wcore_pool_free(engine->pool);
	wcore_pool_leave(engine->lookups);
	for (size_t i = 0; i < engine->n_lanes; i++)
		end_lane(engine, engine->lanes[i]);
	if (engine->core && engine->bus && engine->services && engine->epochs)
		wcore_ctx_close(engine->core);
	if (engine->main) {
		bury_all(engine, engine->main);
		wcore_step_fini(engine);
	}
	while ((instance = engine->instances)) {
		engine->instances = instance->next;
		wcore_instance_free(instance);
	}
	while ((ctx = engine->contexts)) {
		engine->contexts = ctx->next;
		wcore_ctx_free(ctx);
	}
	wcore_config_unref(engine->config);
	wcore_lane_free(engine->main);
	wcore_bus_free(engine->bus);
	wcore_services_free(engine->services);
	wcore_stats_free(engine->stats);
	wcore_epochs_free(engine->epochs);
	wcore_state_free(engine->state);
	free(engine);
}

/*
 * ---- Parts ----
 */

struct warren_ctx *wcore_engine_ctx_new(struct wcore_engine *engine, struct wcore_lane *lane,
					const struct wcore_plugin *plugin)
{
	struct warren_ctx *ctx;

	ctx = wcore_ctx_new(engine, lane, plugin, plugin ? plugin->desc.name : "core");
	if (!ctx)
		return NULL;
	ctx->id = engine->next_id++;
	ctx->next = engine->contexts;
	engine->contexts = ctx;
	return ctx;
}

struct wcore_lane *wcore_engine_lane(struct wcore_engine *engine, const char *name,
				     struct warren_err *err)
{
	struct wcore_lane *lane;

	if (strcmp(name, wcore_lane_name(engine->main)) == 0)
		return engine->main;
	for (size_t i = 0; i < engine->n_lanes; i++)
		if (strcmp(name, wcore_lane_name(engine->lanes[i])) == 0)
			return engine->lanes[i];
	if (engine->n_lanes == WCORE_LANES) {
		warren_fail(err, NULL, "lane `%s` would be one too many: %d is the limit", name,
			    WCORE_LANES);
		return NULL;
	}
	lane = wcore_lane_new(name, true, err);
	if (lane)
		engine->lanes[engine->n_lanes++] = lane;
	return lane;
}

void wcore_instance_free(struct wcore_instance *instance)
{
	wcore_config_unref(instance->config);
	free(instance->reason);
	free(instance);
}

struct wcore_instance *wcore_engine_find(const struct wcore_engine *engine, const char *name)
{
	struct wcore_instance *i;

	for (i = engine->instances; i; i = i->next)
		if (strcmp(i->name, name) == 0)
			return i;
	return NULL;
}

void wcore_engine_add(struct wcore_engine *engine, struct wcore_instance *instance)
{
	struct wcore_instance **at;

	for (at = &engine->instances; *at; at = &(*at)->next)
		;
	*at = instance;
}

void wcore_engine_drop_fresh(struct wcore_engine *engine)
{
	struct wcore_instance **at = &engine->instances, *i;

	while ((i = *at)) {
		if (i->fresh) {
			*at = i->next;
			wcore_instance_free(i);
		} else {
			at = &i->next;
		}
	}
}

void wcore_engine_commit(struct wcore_engine *engine, struct wcore_sequence *seq)
{
	struct wcore_instance *old = engine->instances, **tail = &engine->instances, *i, *next;

	if (!seq->config)
		return;
	for (size_t n = 0; n < seq->n_order; n++) {
		i = seq->order[n].instance;
		i->implied_by = seq->order[n].implied_by;
		i->fresh = true;	/* here: stays */
	}
	engine->instances = NULL;
	for (i = old; i; i = next) {
		next = i->next;
		if (!i->fresh)
			wcore_instance_free(i);
	}
	for (size_t n = 0; n < seq->n_order; n++) {
		i = seq->order[n].instance;
		i->fresh = false;
		i->next = NULL;
		*tail = i;
		tail = &i->next;
	}
	wcore_config_unref(engine->config);
	engine->config = wcore_config_ref(seq->config);
}

/*
 * ---- Questions ----
 */

bool wcore_engine_busy(const struct wcore_engine *engine)
{
	return engine->queue != NULL;
}

const struct wcore_instance *wcore_engine_plugins(const struct wcore_engine *engine)
{
	return engine->instances;
}

bool wcore_engine_comes(const struct wcore_engine *engine, const char *service)
{
	const struct wcore_instance *i = engine->queue ? engine->instances : NULL;

	while (i && !((i->state == WCORE_PLUGIN_OFF || i->state == WCORE_PLUGIN_STARTING) &&
		      wcore_plugin_offers(i->plugin, service, NULL)))
		i = i->next;
	return i != NULL;
}

struct warren_ctx *warren_running(struct warren_ctx *ctx, const char *name)
{
	const struct wcore_instance *instance = wcore_engine_find(ctx->engine, name);

	if (!instance || instance->state != WCORE_PLUGIN_UP ||
	    instance->ctx->lane != ctx->engine->main)
		return NULL;
	return instance->ctx;
}

const struct wcore_instance *wcore_engine_plugin(const struct wcore_engine *engine,
						 const char *name)
{
	return wcore_engine_find(engine, name);
}

struct wcore_config *wcore_engine_config(const struct wcore_engine *engine)
{
	return engine->config;
}

void warren_hostname(struct warren_ctx *ctx, char *out, size_t size)
{
	const struct wcore_engine *engine = ctx->engine;
	const struct wcore_config *config = engine->begun && engine->queue->config
					    ? engine->queue->config : engine->config;
	const struct warren_conf *node = config ? wcore_config_section(config, "node") : NULL;
	const char *name = node ? warren_conf_str(node, "hostname") : NULL;

	wcore_ctx_assert(ctx, "warren_hostname");
	if (name && str_copy(out, size, name))
		return;
	if (gethostname(out, size) == -1)
		out[0] = '\0';
	out[size - 1] = '\0';
	out[strcspn(out, ".")] = '\0';
}

const struct wcore_engine_options *wcore_engine_opts(const struct wcore_engine *engine)
{
	return &engine->opts;
}

struct wcore_lane *wcore_engine_main(const struct wcore_engine *engine)
{
	return engine->main;
}

struct warren_ctx *wcore_engine_ctx(const struct wcore_engine *engine)
{
	return engine->core;
}

struct wcore_bus *wcore_engine_bus(const struct wcore_engine *engine)
{
	return engine->bus;
}

struct wcore_services *wcore_engine_services(const struct wcore_engine *engine)
{
	return engine->services;
}

struct wcore_stats *wcore_engine_stats(const struct wcore_engine *engine)
{
	return engine->stats;
}

struct wcore_epochs *wcore_engine_epochs(const struct wcore_engine *engine)
{
	return engine->epochs;
}

struct wcore_pool *wcore_engine_pool(const struct wcore_engine *engine)
{
	return engine->pool;
}

struct wcore_pool *wcore_engine_lookups(const struct wcore_engine *engine)
{
	return engine->lookups;
}

struct wcore_state *wcore_engine_state(const struct wcore_engine *engine)
{
	return engine->state;
}

struct wcore_priv *wcore_engine_priv(const struct wcore_engine *engine)
{
	return engine->priv;
}

void wcore_engine_priv_set(struct wcore_engine *engine, struct wcore_priv *priv,
			   wcore_owner_end_fn *owner_end)
{
	engine->priv = priv;
	engine->owner_end = owner_end;
}

void wcore_engine_owner_end(struct wcore_engine *engine, struct warren_ctx *ctx)
{
	if (engine->priv && engine->owner_end)
		engine->owner_end(engine->priv, ctx);
}
