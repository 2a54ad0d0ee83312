/*
 * One step with one plugin: start, reload or stop. The plugin's functions run on its lane, the
 * decisions here on lane main; errands go back and forth. A step has a deadline, after which it is
 * first forced, then abandoned: a plugin that hangs may cost its own work, never the daemon's.
 *
 * Start:  start() [-> warren_started()] -> all offers made? -> up -> `found` both ways
 * Stop:   `lost` to soft dependents -> stop() [-> warren_stopped()] -> jobs end -> close
 * A start that fails goes on with the end of a stop.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/err.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine_impl.h"
#include "engine/log.h"
#include "engine/plugin_load.h"
#include "engine/service.h"

enum { START_USEC = 30 * 1000000, STOP_USEC = 10 * 1000000 };

/* Goes to the plugin's lane, does something there, and comes home with the result. */
struct call {
	struct wcore_post post;
	struct wcore_engine *engine;
	struct warren_ctx *ctx;
	uint32_t serial;		/* 0: an answer that the plugin gave by itself */
	const struct warren_conf *old, *now;
	int result;
	char *why;
	void (*there)(struct call *call);
	void (*home)(struct call *call);
};

void wcore_instance_state(struct wcore_instance *instance, enum wcore_plugin_state state)
{
	instance->state = state;
	instance->since = warren_now();
}

void wcore_instance_reason(struct wcore_instance *instance, const char *reason)
{
	char *copy = reason ? strdup(reason) : NULL;

	free(instance->reason);
	instance->reason = copy;
}

static struct wcore_step *current_step(struct wcore_engine *engine)
{
	return &engine->queue->steps[engine->queue->at];
}

static uint64_t deadline_of(const struct wcore_engine *engine, enum wcore_step_kind kind)
{
	if (kind == WCORE_STEP_STOP)
		return engine->opts.stop_deadline ? engine->opts.stop_deadline : STOP_USEC;
	return engine->opts.start_deadline ? engine->opts.start_deadline : START_USEC;
}

static void step_end(struct wcore_engine *engine, int result, const char *why)
{
	wcore_tick_stop(&engine->deadline);
	engine->wait = WCORE_WAIT_NONE;
	engine->step_ctx = NULL;
	if (++engine->step_serial == 0)
		engine->step_serial = 1;
	wcore_sequence_step_done(engine, result, why);
}

/*
 * ---- There and back ----
 */

static void call_free(struct call *call)
{
	free(call->why);
	free(call);
}

static void call_drop(struct wcore_post *post)
{
	call_free(CONTAINER_OF(post, struct call, post));
}

static void call_home(struct wcore_post *post)
{
	struct call *call = CONTAINER_OF(post, struct call, post);

	if (!call->serial || call->serial == call->engine->step_serial)
		call->home(call);
	call_free(call);
}

static void call_there(struct wcore_post *post)
{
	struct call *call = CONTAINER_OF(post, struct call, post);

	call->there(call);
	post->run = call_home;
	wcore_lane_post(call->engine->main, post);
}

/* Takes @why. Without memory the step's deadline decides. */
static void call_send(struct warren_ctx *ctx, int result, char *why, void (*home)(struct call *))
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call) {
		wcore_log(LOG_ERR, "no memory to hear plugin `%s`", ctx->name);
		free(why);
		return;
	}
	*call = (struct call){
		.post = { .run = call_home, .drop = call_drop }, .engine = ctx->engine,
		.ctx = ctx, .result = result, .why = why, .home = home,
	};
	wcore_lane_post(ctx->engine->main, &call->post);
}

/* On main: @there on the lane of the step's context, then @home. Without memory as above. */
static void call_lane(struct wcore_engine *engine, enum wcore_wait wait,
		      void (*there)(struct call *), void (*home)(struct call *))
{
	struct wcore_step *step = current_step(engine);
	struct call *call = calloc(1, sizeof(*call));

	engine->wait = wait;
	if (!call) {
		wcore_log(LOG_ERR, "no memory to call plugin `%s`", step->instance->name);
		return;
	}
	*call = (struct call){
		.post = { .run = call_there, .drop = call_drop }, .engine = engine,
		.ctx = engine->step_ctx, .serial = engine->step_serial,
		.old = step->instance->conf, .now = step->conf, .there = there, .home = home,
	};
	wcore_lane_post(engine->step_ctx->lane, &call->post);
}

/* The sentences of @err, or what @result says. */
static char *explain(const struct warren_err *err, int result)
{
	struct str text = STR_INIT;

	if (err_any(err))
		err_print(err, &text);
	else
		str_add(&text, strerror(-result));
	while (text.len && text.s[text.len - 1] == '\n')
		str_cut(&text, text.len - 1);
	return str_take(&text);
}

/* A start or stop returned: pending, unless the answer came while it ran. */
static int settle(struct warren_ctx *ctx, int result)
{
	if (result > 0 && ctx->answered)
		result = ctx->answer;
	else if (result > 0)
		ctx->pending = true;
	ctx->answered = false;
	return result;
}

/*
 * ---- The end of a stop, and of a start that failed ----
 */

static void close_begin(struct wcore_engine *engine);

static void close_finish(struct wcore_engine *engine)
{
	struct wcore_instance *instance = current_step(engine)->instance;
	char *why = TAKE_PTR(engine->step_why);
	int result = engine->step_result;

	engine->step_result = 0;
	instance->ctx = NULL;
	if (instance->state != WCORE_PLUGIN_FAILED)
		wcore_instance_state(instance, WCORE_PLUGIN_OFF);
	step_end(engine, result, why ? why : "");
	free(why);
}

static void jobs_home(struct call *call)
{
	struct wcore_engine *engine = call->engine;

	if (engine->step_ctx == call->ctx && engine->wait == WCORE_WAIT_JOBS)
		close_begin(engine);
}

static void jobs_idle(struct warren_ctx *ctx, void *arg)
{
	(void)arg;
	ctx->idle = NULL;
	call_send(ctx, 0, NULL, jobs_home);
}

static void close_there(struct call *call)
{
	struct warren_ctx *ctx = call->ctx;

	wcore_lookups_end(ctx);
	if (ctx->jobs) {
		ctx->idle = jobs_idle;
		call->result = WARREN_PENDING;
		return;
	}
	wcore_ctx_close(ctx);
}

static void close_home(struct call *call)
{
	if (call->result == WARREN_PENDING)
		call->engine->wait = WCORE_WAIT_JOBS;
	else
		close_finish(call->engine);
}

static void close_begin(struct wcore_engine *engine)
{
	call_lane(engine, WCORE_WAIT_CLOSE, close_there, close_home);
}

/*
 * ---- Stop ----
 */

static void stop_there(struct call *call)
{
	struct warren_ctx *ctx = call->ctx;

	ctx->phase = WCORE_PHASE_STOP;
	ctx->pending = ctx->answered = false;	/* of its start, if that came to nothing */
	/* A start that failed cleaned up after itself; the core ends what it holds for it. */
	if (ctx->started && ctx->plugin->desc.stop)
		call->result = settle(ctx, ctx->plugin->desc.stop(ctx));
}

static void stop_home(struct call *call)
{
	if (call->result == WARREN_PENDING)
		call->engine->wait = WCORE_WAIT_ANSWER;
	else
		close_begin(call->engine);
}

static void one_lost(struct wcore_engine *engine, uint32_t serial)
{
	if (serial == engine->step_serial && --engine->losing == 0)
		call_lane(engine, WCORE_WAIT_CALL, stop_there, stop_home);
}

static void stop_begin(struct wcore_engine *engine, struct wcore_instance *instance)
{
	engine->step_ctx = instance->ctx;
	wcore_instance_state(instance, WCORE_PLUGIN_STOPPING);
	wcore_service_set_up(instance->ctx, false);
	engine->wait = WCORE_WAIT_LOST;
	/* One more than there are, so that the count is complete before it can reach zero. */
	engine->losing = 1;
	engine->losing += wcore_soft_release(engine, instance, one_lost);
	one_lost(engine, engine->step_serial);
}

/*
 * ---- Start ----
 */

static void start_there(struct call *call)
{
	const struct warren_plugin *desc = &call->ctx->plugin->desc;
	struct warren_err err = ERR_INIT;
	struct warren_ctx *ctx = call->ctx;

	ctx->waitable = true;
	call->result = desc->start(ctx, call->now, &err);
	ctx->waitable = false;
	ctx->started = call->result >= 0;
	call->result = settle(ctx, call->result);
	if (ctx->fatal && call->result >= 0) {
		call->result = -EIO;
		call->why = TAKE_PTR(ctx->fatal);
	}
	if (call->result == 0)
		ctx->phase = WCORE_PHASE_UP;
	if (call->result < 0 && !call->why)
		call->why = explain(&err, call->result);
	free(TAKE_PTR(ctx->fatal));
	err_free(&err);
}

static void start_failed(struct wcore_engine *engine, int result, const char *why)
{
	struct wcore_instance *instance = current_step(engine)->instance;
	struct str text = STR_INIT;

	str_addf(&text, "plugin `%s` did not start: %s", instance->name, why);
	wcore_instance_state(instance, WCORE_PLUGIN_FAILED);
	wcore_instance_reason(instance, why);
	engine->step_result = result;
	engine->step_why = str_take(&text);
	engine->forced = false;
	wcore_tick_set(&engine->deadline, deadline_of(engine, WCORE_STEP_STOP));
	call_lane(engine, WCORE_WAIT_CALL, stop_there, stop_home);
}

static void start_result(struct wcore_engine *engine, int result, const char *why)
{
	struct wcore_instance *instance = current_step(engine)->instance;
	const char *missing;
	char text[128];

	if (result >= 0 && (missing = wcore_service_missing(engine->step_ctx))) {
		snprintf(text, sizeof(text), "it did not offer the service `%s`, as its table of "
			 "offers promises", missing);
		result = -EPROTO;
		why = text;
	}
	if (result < 0) {
		start_failed(engine, result, why ? why : strerror(-result));
		return;
	}
	wcore_instance_state(instance, WCORE_PLUGIN_UP);
	wcore_service_set_up(engine->step_ctx, true);
	wcore_soft_bind(engine, instance);
	step_end(engine, 0, NULL);
}

static void start_home(struct call *call)
{
	struct wcore_engine *engine = call->engine;

	if (call->result == WARREN_PENDING)
		engine->wait = WCORE_WAIT_ANSWER;
	else
		start_result(engine, call->result, call->why);
}

static void start_begin(struct wcore_engine *engine, const struct wcore_step *step)
{
	struct wcore_instance *instance = step->instance;
	const struct wcore_plugin *plugin = instance->plugin;
	struct wcore_lane *lane = engine->main;
	struct warren_err err = ERR_INIT;
	char *why;

	if ((plugin->desc.flags & WARREN_PLUGIN_LANE) && warren_conf_has(step->conf, "lane"))
		lane = wcore_engine_lane(engine, warren_conf_str(step->conf, "lane"), &err);
	instance->ctx = lane ? wcore_engine_ctx_new(engine, lane, plugin) : NULL;
	wcore_instance_reason(instance, NULL);
	if (instance->ctx) {
		wcore_instance_state(instance, WCORE_PLUGIN_STARTING);
		engine->step_ctx = instance->ctx;
		call_lane(engine, WCORE_WAIT_CALL, start_there, start_home);
	} else {
		why = explain(&err, -ENOMEM);
		wcore_instance_state(instance, WCORE_PLUGIN_FAILED);
		wcore_instance_reason(instance, why);
		step_end(engine, -ENOMEM, why);
		free(why);
	}
	err_free(&err);
}

/*
 * ---- Reload ----
 */

static void reload_there(struct call *call)
{
	struct warren_err err = ERR_INIT;
	struct warren_ctx *ctx = call->ctx;

	ctx->phase = WCORE_PHASE_RELOAD;
	ctx->waitable = true;
	call->result = ctx->plugin->desc.reload(ctx, call->old, call->now, &err);
	ctx->waitable = false;
	ctx->phase = WCORE_PHASE_UP;
	if (call->result > 0)
		call->result = -EPROTO;
	if (call->result < 0)
		call->why = explain(&err, call->result);
	err_free(&err);
}

static void reload_home(struct call *call)
{
	struct str text = STR_INIT;

	if (call->result < 0)
		str_addf(&text, "plugin `%s` did not take its new settings: %s", call->ctx->name,
			 call->why ? call->why : strerror(-call->result));
	step_end(call->engine, call->result, str_text(&text));
	str_free(&text);
}

/*
 * ---- What a plugin says by itself ----
 */

static void answer_home(struct call *call)
{
	struct wcore_engine *engine = call->engine;

	if (engine->step_ctx != call->ctx || engine->wait != WCORE_WAIT_ANSWER)
		return;
	if (current_step(engine)->kind == WCORE_STEP_START && !engine->step_result)
		start_result(engine, call->result, call->why);
	else
		close_begin(engine);
}

/* @phase: in which the answer is expected. */
static void answer(struct warren_ctx *ctx, enum wcore_phase phase, int result, const char *what)
{
	wcore_ctx_assert(ctx, what);
	if (ctx->phase != phase || ctx->answered) {
		wcore_log(LOG_WARNING, "plugin `%s`: %s without being asked", ctx->name, what);
		return;
	}
	if (!ctx->pending) {
		ctx->answered = true;
		ctx->answer = result;
		return;
	}
	ctx->pending = false;
	if (phase == WCORE_PHASE_START && result >= 0)
		ctx->phase = WCORE_PHASE_UP;
	call_send(ctx, result < 0 ? result : 0, NULL, answer_home);
}

void warren_started(struct warren_ctx *ctx, int result)
{
	answer(ctx, WCORE_PHASE_START, result, "warren_started");
}

void warren_stopped(struct warren_ctx *ctx)
{
	answer(ctx, WCORE_PHASE_STOP, 0, "warren_stopped");
}

static void fatal_home(struct call *call)
{
	struct wcore_engine *engine = call->engine;
	struct wcore_instance *instance;

	for (instance = engine->instances; instance; instance = instance->next)
		if (instance->ctx == call->ctx)
			break;
	if (!instance)
		return;
	if (instance->state == WCORE_PLUGIN_STARTING && engine->step_ctx == call->ctx &&
	    engine->wait == WCORE_WAIT_ANSWER)
		start_result(engine, -EIO, call->why);
	else if (instance->state == WCORE_PLUGIN_UP)
		wcore_engine_give_up(engine, instance, call->why);
}

void warren_fatal(struct warren_ctx *ctx, const char *fmt, ...)
{
	struct str text = STR_INIT;
	va_list ap;

	wcore_ctx_assert(ctx, "warren_fatal");
	va_start(ap, fmt);
	str_vaddf(&text, fmt, ap);
	va_end(ap);
	wcore_log(LOG_ERR, "plugin `%s` cannot go on: %s", ctx->name, str_text(&text));
	if (ctx->phase == WCORE_PHASE_START && !ctx->pending) {
		free(ctx->fatal);
		ctx->fatal = str_take(&text);
		return;
	}
	ctx->pending = false;
	call_send(ctx, -EIO, str_take(&text), fatal_home);
}

/*
 * ---- Deadlines ----
 */

/* It hangs: nothing of it may be freed, so it stays as it is until the process ends. */
static void abandon(struct wcore_engine *engine)
{
	struct wcore_step *step = current_step(engine);
	struct wcore_instance *instance = step->instance;
	struct str text = STR_INIT;

	str_addf(&text, "plugin `%s` hangs in its %s and is left behind; restart the daemon to get "
		 "rid of it", instance->name, step->kind == WCORE_STEP_START ? "start" :
		 step->kind == WCORE_STEP_STOP ? "stop" : "reload");
	wcore_log(LOG_ERR, "%s", str_text(&text));
	engine->abandoned = true;
	wcore_service_withdraw(instance->ctx);
	instance->ctx = NULL;
	wcore_instance_state(instance, WCORE_PLUGIN_FAILED);
	wcore_instance_reason(instance, str_text(&text));
	free(TAKE_PTR(engine->step_why));
	engine->step_result = 0;
	step_end(engine, step->kind == WCORE_STEP_STOP ? 0 : -ETIMEDOUT, str_text(&text));
	str_free(&text);
}

static void deadline_passed(struct wcore_tick *tick)
{
	struct wcore_engine *engine = CONTAINER_OF(tick, struct wcore_engine, deadline);
	struct wcore_step *step = current_step(engine);

	if (engine->wait != WCORE_WAIT_ANSWER || engine->forced) {
		abandon(engine);
		return;
	}
	engine->forced = true;
	wcore_tick_set(&engine->deadline, deadline_of(engine, WCORE_STEP_STOP));
	if (step->kind == WCORE_STEP_START && !engine->step_result) {
		start_result(engine, -ETIMEDOUT, "it was not up when its time was over");
		return;
	}
	wcore_log(LOG_WARNING, "plugin `%s` is still draining when its time is over: it is ended",
		  step->instance->name);
	close_begin(engine);
}

int wcore_step_init(struct wcore_engine *engine)
{
	engine->step_serial = 1;
	return wcore_tick_init(&engine->deadline, engine->main, deadline_passed);
}

void wcore_step_fini(struct wcore_engine *engine)
{
	wcore_tick_fini(&engine->deadline);
}

void wcore_step_begin(struct wcore_engine *engine, const struct wcore_step *step)
{
	engine->forced = false;
	wcore_tick_set(&engine->deadline, deadline_of(engine, step->kind));
	switch (step->kind) {
	case WCORE_STEP_START:
		start_begin(engine, step);
		break;
	case WCORE_STEP_STOP:
		if (step->instance->ctx)
			stop_begin(engine, step->instance);
		else
			step_end(engine, 0, NULL);
		break;
	case WCORE_STEP_RELOAD:
		engine->step_ctx = step->instance->ctx;
		call_lane(engine, WCORE_WAIT_CALL, reload_there, reload_home);
		break;
	}
}
