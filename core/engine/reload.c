/*
 * From one configuration to another. What differs decides what each plugin goes through, in this
 * order of severity: nothing, reload, restart. A plugin restarts also when a hard provider of its
 * own comes, goes or restarts, for then its handles end. Stops come first, the last started first;
 * then starts and reloads in start order.
 *
 * The first configuration is the same thing with nothing running.
 */
#include <errno.h>
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

enum action { ACT_NONE = 0, ACT_RELOAD, ACT_RESTART, ACT_START };

struct decision {
	struct wcore_engine *engine;
	const struct wcore_plan *plan;
	enum action *actions;		/* one per item of the plan */
	struct warren_err *err;
	bool refused;
	struct str *core;		/* the core's own sections that changed: "log, node" */
};

static size_t find_item(const struct wcore_plan *plan, const char *name)
{
	size_t i;

	for (i = 0; i < plan->count && strcmp(plan->items[i].name, name) != 0; i++)
		;
	return i;
}

static void see_change(const struct wcore_config_change *change, void *arg)
{
	struct decision *d = arg;
	size_t i = find_item(d->plan, change->section);
	enum action wanted = ACT_RELOAD;

	if (change->flags & WARREN_COLD) {
		warren_fail(d->err, change->now ? change->now : change->old, "a change of %s needs "
			    "a restart of the daemon (systemctl restart warrend); nothing was "
			    "reloaded", change->path);
		d->refused = true;
		return;
	}
	/* Neither planned nor running: a section of the core's own. */
	if (i == d->plan->count && !wcore_engine_find(d->engine, change->section) &&
	    !strstr(str_text(d->core), change->section))
		str_addf(d->core, "%s%s", d->core->len ? ", " : "", change->section);
	if (i == d->plan->count || d->actions[i] == ACT_START)
		return;
	if ((change->flags & WARREN_RESTART) || !d->plan->items[i].plugin->desc.reload)
		wanted = ACT_RESTART;
	if (d->actions[i] < wanted)
		d->actions[i] = wanted;
}

/* Whether a running provider of @item is not the same after this. */
static bool loses_provider(const struct decision *d, const struct wcore_plan_item *item)
{
	for (size_t k = 0; k < d->plan->count; k++)
		if (d->actions[k] >= ACT_RESTART &&
		    wcore_plugin_depends(item->plugin, d->plan->items[k].plugin))
			return true;
	return false;
}

/* An array of actions for the plan's items, or NULL with an error. Adds to @core. */
static enum action *decide(struct wcore_engine *engine, const struct wcore_plan *plan,
			   const struct wcore_config *config, struct str *core,
			   struct warren_err *err)
{
	struct decision d = { .engine = engine, .plan = plan, .core = core, .err = err };
	const struct wcore_instance *instance;

	d.actions = calloc(plan->count + 1, sizeof(*d.actions));
	if (!d.actions) {
		warren_fail(err, NULL, "no memory to compare the configurations");
		return NULL;
	}
	for (size_t i = 0; i < plan->count; i++) {
		instance = wcore_engine_find(engine, plan->items[i].name);
		if (!instance || instance->state != WCORE_PLUGIN_UP)
			d.actions[i] = ACT_START;
	}
	if (engine->config)
		wcore_config_diff(engine->config, config, see_change, &d);
	if (d.refused) {
		free(d.actions);
		return NULL;
	}
	/* In start order a provider comes before its dependents, so once through is enough. */
	for (size_t i = 0; i < plan->count; i++)
		if (d.actions[i] < ACT_RESTART && loses_provider(&d, &plan->items[i]))
			d.actions[i] = ACT_RESTART;
	return d.actions;
}

/*
 * ---- Words ----
 */

static void say(struct str *text, const char *verb, const char *name, bool *first)
{
	if (*first)
		str_addf(text, "%s%s %s", text->len ? "; " : "", verb, name);
	else
		str_addf(text, ", %s", name);
	*first = false;
}

static void describe(const struct wcore_engine *engine, const struct wcore_plan *plan,
		     const enum action *actions, const struct str *core, struct str *text)
{
	static const char *const verbs[] = {
		[ACT_RELOAD] = "reload", [ACT_RESTART] = "restart", [ACT_START] = "start",
	};
	bool first = true;

	for (const struct wcore_instance *i = engine->instances; i; i = i->next)
		if (i->ctx && find_item(plan, i->name) == plan->count)
			say(text, "stop", i->name, &first);
	for (int verb = ACT_START; verb > ACT_NONE; verb--) {
		first = true;
		for (size_t i = 0; i < plan->count; i++)
			if ((int)actions[i] == verb)
				say(text, verbs[verb], plan->items[i].name, &first);
	}
	if (core->len)
		str_addf(text, "%sapply %s", text->len ? "; " : "", str_text(core));
	if (!text->len)
		str_add(text, "nothing to do");
}

/*
 * ---- Steps ----
 */

struct marking {
	const struct wcore_plan *plan;
	const enum action *actions;
};

static bool must_stop(const struct wcore_instance *instance, void *arg)
{
	const struct marking *m = arg;
	size_t i = find_item(m->plan, instance->name);

	return i == m->plan->count || m->actions[i] >= ACT_RESTART;
}

static struct wcore_instance *instance_for(struct wcore_engine *engine,
					   const struct wcore_plan_item *item)
{
	struct wcore_instance *instance = wcore_engine_find(engine, item->name);

	if (instance)
		return instance;
	instance = calloc(1, sizeof(*instance));
	if (!instance)
		return NULL;
	instance->plugin = item->plugin;
	instance->name = item->name;
	instance->implied_by = item->implied_by;
	instance->fresh = true;
	wcore_instance_state(instance, WCORE_PLUGIN_OFF);
	wcore_engine_add(engine, instance);
	return instance;
}

static int add_steps(struct wcore_engine *engine, struct wcore_sequence *seq,
		     const struct wcore_plan *plan, const enum action *actions)
{
	struct marking m = { .plan = plan, .actions = actions };
	struct wcore_instance *instance;
	int rc;

	seq->order = calloc(plan->count + 1, sizeof(*seq->order));
	if (!seq->order)
		return -ENOMEM;
	rc = wcore_sequence_add_stops(engine, seq, must_stop, &m);
	for (size_t i = 0; !rc && i < plan->count; i++) {
		instance = instance_for(engine, &plan->items[i]);
		if (!instance)
			return -ENOMEM;
		seq->order[seq->n_order++] = (struct wcore_order){
			.instance = instance, .implied_by = plan->items[i].implied_by,
		};
		if (actions[i] == ACT_RELOAD)
			rc = wcore_sequence_add(seq, WCORE_STEP_RELOAD, instance,
						plan->items[i].conf, seq->config);
		else if (actions[i] != ACT_NONE)
			rc = wcore_sequence_add(seq, WCORE_STEP_START, instance,
						plan->items[i].conf, seq->config);
		if (actions[i] == ACT_RESTART)
			instance->restarts++;
	}
	return rc;
}

static struct wcore_plan_env plan_env(const struct wcore_engine *engine, uint32_t bind_flags)
{
	return (struct wcore_plan_env){
		.plugin_dir = engine->opts.plugin_dir, .plugin_owner = engine->opts.plugin_owner,
		.extra = engine->opts.extra, .extra_only = engine->opts.extra_only,
		.bind_flags = bind_flags,
		.load = engine->opts.load, .load_arg = engine->opts.load_arg,
	};
}

bool warren_key_known(struct warren_ctx *ctx, const char *key)
{
	struct wcore_plan_env env = plan_env(ctx->engine, 0);

	return wcore_plan_knows(&env, key);
}

static int apply_plan(struct wcore_engine *engine, struct wcore_sequence *seq,
		      struct warren_err *err)
{
	struct wcore_plan_env env = plan_env(engine, 0);
	AUTO(str_free) struct str core = STR_INIT;
	struct wcore_plan plan;
	enum action *actions;
	int rc;

	rc = wcore_plan_make(&env, seq->config, &plan, err);
	if (rc)
		return rc;
	actions = decide(engine, &plan, seq->config, &core, err);
	rc = actions ? add_steps(engine, seq, &plan, actions) : -EINVAL;
	if (!rc)
		describe(engine, &plan, actions, &core, &seq->text);
	free(actions);
	wcore_plan_free(&plan);
	return rc;
}

/* Runs @plan, or calls @done when there is no memory for that. */
static struct wcore_sequence *begin(struct wcore_engine *engine, wcore_plan_fn *plan,
				    wcore_engine_fn *done, void *arg)
{
	struct wcore_sequence *seq = wcore_sequence_new(plan, done, arg);

	if (!seq && done)
		done(engine, -ENOMEM, "no memory", arg);
	return seq;
}

void wcore_engine_apply_take(struct wcore_engine *engine, struct wcore_config *config,
			     wcore_engine_fn *done, void *arg)
{
	struct wcore_sequence *seq = begin(engine, apply_plan, done, arg);

	if (!seq) {
		wcore_config_unref(config);
		return;
	}
	seq->config = config;
	wcore_sequence_run_take(engine, seq);
}

int wcore_engine_check(struct wcore_engine *engine, struct wcore_config *config, char **text,
		       struct warren_err *err)
{
	struct wcore_plan_env env = plan_env(engine, WCORE_BIND_CHECK);
	AUTO(str_free) struct str core = STR_INIT;
	struct str words = STR_INIT;
	struct wcore_plan plan;
	enum action *actions;
	int rc;

	rc = wcore_plan_make(&env, config, &plan, err);
	if (rc)
		return rc;
	actions = decide(engine, &plan, config, &core, err);
	if (actions && text) {
		describe(engine, &plan, actions, &core, &words);
		*text = str_take(&words);
	}
	rc = actions ? 0 : -EINVAL;
	free(actions);
	wcore_plan_free(&plan);
	return rc;
}

/*
 * ---- Stop, restart, give up ----
 */

static bool all(const struct wcore_instance *instance, void *arg)
{
	(void)instance;
	(void)arg;
	return true;
}

static int stop_plan(struct wcore_engine *engine, struct wcore_sequence *seq,
		     struct warren_err *err)
{
	(void)err;
	return wcore_sequence_add_stops(engine, seq, all, NULL);
}

void wcore_engine_stop(struct wcore_engine *engine, wcore_engine_fn *done, void *arg)
{
	struct wcore_sequence *seq = begin(engine, stop_plan, done, arg);

	if (seq)
		wcore_sequence_run_take(engine, seq);
}

/* Whether @instance is @root or needs it, directly or through others. */
static bool hangs_on(const struct wcore_instance *instance, void *arg)
{
	const struct wcore_instance *root = arg;
	const struct wcore_instance *i;

	if (instance == root)
		return true;
	/* Start order: what lies between them is what the chain can go through. */
	for (i = root; i && i != instance; i = i->next)
		if (i->ctx && wcore_plugin_depends(instance->plugin, i->plugin) &&
		    hangs_on(i, arg))
			return true;
	return false;
}

static int restart_plan(struct wcore_engine *engine, struct wcore_sequence *seq,
			struct warren_err *err)
{
	struct wcore_instance *root = wcore_engine_find(engine, seq->name), *i;
	int rc;

	if (!root || !root->config)
		return warren_fail(err, NULL, "no plugin `%s` is configured", seq->name);
	rc = wcore_sequence_add_stops(engine, seq, hangs_on, root);
	for (i = root; !rc && i; i = i->next) {
		if (i != root && !(i->ctx && hangs_on(i, root)))
			continue;
		rc = wcore_sequence_add(seq, WCORE_STEP_START, i, i->conf, i->config);
		i->restarts++;
	}
	return rc;
}

void wcore_engine_restart(struct wcore_engine *engine, const char *name, wcore_engine_fn *done,
			  void *arg)
{
	struct wcore_sequence *seq = begin(engine, restart_plan, done, arg);

	if (!seq)
		return;
	seq->name = strdup(name);
	if (seq->name) {
		wcore_sequence_run_take(engine, seq);
		return;
	}
	if (done)
		done(engine, -ENOMEM, "no memory", arg);
	wcore_sequence_free(seq);
}

static int give_up_plan(struct wcore_engine *engine, struct wcore_sequence *seq,
			struct warren_err *err)
{
	struct wcore_instance *root = wcore_engine_find(engine, seq->name);

	(void)err;
	return root ? wcore_sequence_add_stops(engine, seq, hangs_on, root) : 0;
}

/* They are not off but failed: the next reload tries them again, and `status` says why. */
static void gave_up(struct wcore_engine *engine, int result, const char *text, void *arg)
{
	struct wcore_sequence *seq = arg;
	struct wcore_instance *instance;
	char why[128];

	(void)engine;
	(void)result;
	(void)text;
	snprintf(why, sizeof(why), "it needs `%s`, which failed", seq->name);
	for (size_t i = 0; i < seq->count; i++) {
		instance = seq->steps[i].instance;
		wcore_instance_state(instance, WCORE_PLUGIN_FAILED);
		wcore_instance_reason(instance, strcmp(instance->name, seq->name) == 0 ?
				      seq->reason : why);
	}
}

void wcore_engine_give_up(struct wcore_engine *engine, struct wcore_instance *instance,
			  const char *why)
{
	struct wcore_sequence *seq = wcore_sequence_new(give_up_plan, gave_up, NULL);

	if (seq) {
		seq->arg = seq;
		seq->name = strdup(instance->name);
		seq->reason = strdup(why ? why : "it could not go on");
	}
	if (seq && seq->name && seq->reason) {
		wcore_sequence_run_take(engine, seq);
		return;
	}
	wcore_log(LOG_ERR, "no memory to stop plugin `%s`", instance->name);
	wcore_sequence_free(seq);
}

/*
 * ---- Waiting ----
 */

struct outcome {
	bool done;
	int result;
	char **text;
};

static void note_outcome(struct wcore_engine *engine, int result, const char *text, void *arg)
{
	struct outcome *o = arg;

	(void)engine;
	o->done = true;
	o->result = result;
	if (o->text)
		*o->text = strdup(text);
}

static int wait_for(struct wcore_engine *engine, struct outcome *o)
{
	while (!o->done)
		wcore_lane_turn(engine->main, true);
	return o->result;
}

int wcore_engine_apply_wait(struct wcore_engine *engine, struct wcore_config *config, char **text)
{
	struct outcome o = { .text = text };

	wcore_engine_apply_take(engine, config, note_outcome, &o);
	return wait_for(engine, &o);
}

int wcore_engine_stop_wait(struct wcore_engine *engine, char **text)
{
	struct outcome o = { .text = text };

	wcore_engine_stop(engine, note_outcome, &o);
	return wait_for(engine, &o);
}
