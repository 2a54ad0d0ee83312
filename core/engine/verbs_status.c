/*
 * The core's commands about what runs: status, plugins, metrics, log level.
 */
#include "engine/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/cmd.h"
#include "engine/conf.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/log.h"
#include "engine/plugin_load.h"
#include "engine/priv_client.h"
#include "engine/reply.h"
#include "engine/stat.h"
#include "engine/table.h"
#include "engine/visit.h"

/* "3d 4h", "5m 12s": the two units that matter. */
static void add_duration(uint64_t usec, struct str *out)
{
	uint64_t s = usec / 1000000;

	if (s >= 86400)
		str_addf(out, "%llud %lluh", (unsigned long long)(s / 86400),
			 (unsigned long long)(s / 3600 % 24));
	else if (s >= 3600)
		str_addf(out, "%lluh %llum", (unsigned long long)(s / 3600),
			 (unsigned long long)(s / 60 % 60));
	else if (s >= 60)
		str_addf(out, "%llum %llus", (unsigned long long)(s / 60),
			 (unsigned long long)(s % 60));
	else
		str_addf(out, "%llus", (unsigned long long)s);
}

/*
 * ---- status ----
 */

static const char *config_path(const struct wcore_env *env)
{
	struct wcore_priv *priv = wcore_engine_priv(env->engine);

	return priv ? wcore_priv_settings(priv)->config : "the configuration";
}

static void write_overrides(const struct wcore_env *env, struct warren_reply *reply)
{
	const struct wcore_config_override *list;
	size_t n;

	list = wcore_config_overrides(wcore_engine_config(env->engine), &n);
	warren_reply_open(reply, "overrides", '[');
	for (size_t i = 0; i < n; i++) {
		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "key", "%s", list[i].path);
		warren_reply_str(reply, "file", "%s", list[i].file);
		warren_reply_int(reply, "line", list[i].line);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
}

/* Whoever reads the files must know that a command said otherwise. */
static void tell_overrides(const struct wcore_env *env, const char *before,
			   struct warren_reply *reply)
{
	const struct wcore_config_override *list;
	AUTO(str_free) struct str keys = STR_INIT;
	size_t n;

	list = wcore_config_overrides(wcore_engine_config(env->engine), &n);
	for (size_t i = 0; i < n; i++)
		str_addf(&keys, "%s%s", i > 0 ? ", " : "", list[i].path);
	if (n > 0)
		warren_reply_text(reply, "%s%zu setting%s from the files: %s", before, n,
				  n == 1 ? " differs" : "s differ", str_text(&keys));
}

static void write_daemon(const struct wcore_env *env, struct warren_reply *reply)
{
	const struct wcore_instance *p = wcore_engine_plugins(env->engine);
	uint64_t up = warren_now() - env->since;
	AUTO(str_free) struct str words = STR_INIT;
	unsigned all = 0, running = 0;
	char host[256] = "";

	for (; p; p = p->next) {
		all++;
		running += p->state == WCORE_PLUGIN_UP;
	}
	if (gethostname(host, sizeof(host) - 1) == -1)
		host[0] = '\0';
	add_duration(up, &words);
	warren_reply_open(reply, "daemon", '{');
	warren_reply_str(reply, "version", "%s", PACKAGE_VERSION);
	warren_reply_str(reply, "host", "%s", host);
	warren_reply_int(reply, "pid", getpid());
	warren_reply_int(reply, "uptime", (int64_t)(up / 1000000));
	warren_reply_bool(reply, "busy", wcore_engine_busy(env->engine));
	write_overrides(env, reply);
	warren_reply_close(reply);
	warren_reply_text(reply, "warrend %s on %s, up %s, %u of %u plugins running%s",
			  PACKAGE_VERSION, host, str_text(&words), running, all,
			  wcore_engine_busy(env->engine) ? ", applying a configuration" : "");
	tell_overrides(env, "", reply);
	if (all == 0)
		warren_reply_text(reply, "No plugin is configured: %s has no sections (an example: "
				  "warren config example)", config_path(env));
}

static void write_states(const struct wcore_env *env, struct warren_reply *reply)
{
	const struct wcore_instance *p;

	warren_reply_open(reply, "plugins", '{');
	for (p = wcore_engine_plugins(env->engine); p; p = p->next) {
		const char *state = wcore_plugin_state_name(p->state);

		warren_reply_open(reply, p->name, '{');
		warren_reply_str(reply, "state", "%s", state);
		if (p->reason)
			warren_reply_str(reply, "reason", "%s", p->reason);
		warren_reply_close(reply);
		if (p->state != WCORE_PLUGIN_UP)
			warren_reply_text(reply, "%s is %s%s%s", p->name, state,
					  p->reason ? ": " : "", p->reason ? p->reason : "");
	}
	warren_reply_close(reply);
}

static void plugin_status(struct warren_ctx *ctx, struct warren_reply *reply, void *arg)
{
	(void)arg;
	ctx->plugin->desc.status(ctx, reply);
}

static bool has_status(const struct wcore_instance *p, void *arg)
{
	(void)arg;
	return p->plugin->desc.status != NULL;
}

static void status_done(struct warren_reply *reply, void *arg)
{
	(void)arg;
	warren_reply_end(reply, 0, NULL);
}

static const struct wcore_visit status_visit = {
	.what = "status", .heading = true,
	.wanted = has_status, .run = plugin_status, .done = status_done,
};

/* The plugin that speaks for the whole node; NULL: none runs. */
static const struct wcore_instance *speaker(const struct wcore_env *env)
{
	const struct wcore_instance *p = wcore_engine_plugins(env->engine);

	while (p && !(p->state == WCORE_PLUGIN_UP && p->plugin->desc.overview &&
		      wcore_lane_here(p->ctx->lane)))
		p = p->next;
	return p;
}

/* What is wrong must not be hidden by what scripts read: comments after it. */
static void write_trouble(const struct wcore_env *env, struct warren_reply *reply)
{
	const struct wcore_instance *p = wcore_engine_plugins(env->engine);
	bool first = true;

	for (; p; p = p->next) {
		if (p->state == WCORE_PLUGIN_UP)
			continue;
		warren_reply_text(reply, "%s# plugin %s is %s%s%s", first ? "\n" : "", p->name,
				  wcore_plugin_state_name(p->state), p->reason ? ": " : "",
				  p->reason ? p->reason : "");
		first = false;
	}
}

/* An answer whose head is written on the pool. */
struct head {
	struct wcore_env env;
	const struct warren_plugin *speaker;
	void *view;
	struct warren_reply *reply, *draft;
	bool all;
	int exit;
};

static void write_head(void *arg)
{
	struct head *head = arg;

	head->exit = head->speaker->overview_write(head->view, head->draft);
	wcore_reply_draft_end(head->draft);
}

/* What follows the head. */
static int write_rest(const struct wcore_env *env, struct warren_reply *reply,
		      struct warren_err *err)
{
	write_daemon(env, reply);
	write_states(env, reply);
	return wcore_visit_start(env->engine, &status_visit, NULL, reply, err);
}

static void head_free(struct head *head)
{
	head->speaker->overview_free(head->view);
	wcore_reply_unref(head->draft);
	wcore_reply_unref(head->reply);
	free(head);
}

static void head_written(struct warren_ctx *ctx, void *arg)
{
	struct head *head = arg;
	struct warren_err err = ERR_INIT;
	int ret;

	(void)ctx;
	wcore_reply_adopt(head->reply, head->draft);
	if (!warren_reply_json(head->reply) && !head->all) {
		write_trouble(&head->env, head->reply);
		tell_overrides(&head->env, "\n# ", head->reply);
		warren_reply_end(head->reply, head->exit, NULL);
	} else {
		warren_reply_text(head->reply, "%s", "");
		ret = write_rest(&head->env, head->reply, &err);
		if (ret < 0)
			wcore_cmd_end(ret, &err, head->reply);
	}
	err_free(&err);
	head_free(head);
}

static int start_head(const struct wcore_env *env, const struct wcore_instance *p,
		      const struct warren_conf *args, struct warren_reply *reply,
		      struct warren_err *err)
{
	struct head *head = calloc(1, sizeof(*head));
	void *view = p->plugin->desc.overview(p->ctx, args);
	int ret = -ENOMEM;

	if (head && view) {
		*head = (struct head){
			.env = *env, .speaker = &p->plugin->desc, .view = view, .reply = reply,
			.draft = wcore_reply_draft(reply), .all = warren_conf_bool(args, "all"),
		};
		wcore_reply_ref(reply);
		if (head->draft)
			ret = warren_work(p->ctx, write_head, head_written, head);
		if (ret == 0)
			return WARREN_PENDING;
		err_add(err, NULL, "too much is being answered already; try again soon");
		head_free(head);
		return ret;
	}
	if (view)
		p->plugin->desc.overview_free(view);
	free(head);
	err_add(err, NULL, "there is no memory for the answer");
	return ret;
}

int wcore_verb_status(struct warren_ctx *ctx, const struct warren_conf *args,
		      struct warren_reply *reply, struct warren_err *err)
{
	const struct wcore_env *env = wcore_reply_env(reply);
	const struct wcore_instance *p = speaker(env);

	(void)ctx;
	return p ? start_head(env, p, args, reply, err) : write_rest(env, reply, err);
}

/*
 * ---- plugins ----
 */

static void add_ports(const struct warren_table *table, struct str *out)
{
	struct warren_port port;

	for (uint32_t i = 0; wcore_table_row(table, i, &port, sizeof(port)); i++) {
		bool soft = (port.flags & WARREN_SOFT) != 0;

		str_addf(out, "%s%s%s%s", i > 0 ? " " : "", soft ? "[" : "", port.name,
			 soft ? "]" : "");
	}
	if (table->count == 0)
		str_addc(out, '-');
}

static void write_ports(const struct warren_table *table, const char *key,
			struct warren_reply *reply)
{
	struct warren_port port;

	warren_reply_open(reply, key, '[');
	for (uint32_t i = 0; wcore_table_row(table, i, &port, sizeof(port)); i++) {
		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "service", "%s", port.name);
		warren_reply_str(reply, "version", "%u.%u", port.major, port.minor);
		warren_reply_bool(reply, "optional", (port.flags & WARREN_SOFT) != 0);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
}

static void write_plugin(const struct wcore_instance *p, struct warren_reply *reply)
{
	const struct warren_plugin *desc = &p->plugin->desc;
	AUTO(str_free) struct str since = STR_INIT;
	AUTO(str_free) struct str offers = STR_INIT;
	AUTO(str_free) struct str needs = STR_INIT;
	AUTO(str_free) struct str remark = STR_INIT;

	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "name", "%s", p->name);
	warren_reply_str(reply, "version", "%s", desc->version);
	warren_reply_str(reply, "state", "%s", wcore_plugin_state_name(p->state));
	warren_reply_int(reply, "since", (int64_t)((warren_now() - p->since) / 1000000));
	warren_reply_int(reply, "restarts", p->restarts);
	warren_reply_str(reply, "file", "%s", p->plugin->path);
	if (p->implied_by)
		warren_reply_str(reply, "implied_by", "%s", p->implied_by);
	if (p->reason)
		warren_reply_str(reply, "reason", "%s", p->reason);
	write_ports(&desc->offers, "offers", reply);
	write_ports(&desc->needs, "needs", reply);
	warren_reply_close(reply);
	if (p->implied_by)
		str_addf(&remark, "implied by %s", p->implied_by);
	if (p->reason)
		str_addf(&remark, "%s%s", remark.len > 0 ? "; " : "", p->reason);
	add_duration(warren_now() - p->since, &since);
	add_ports(&desc->offers, &offers);
	add_ports(&desc->needs, &needs);
	warren_reply_text(reply, "%s\t%s\t%s\t%s\t%s\t%s\t%s", p->name, desc->version,
			  wcore_plugin_state_name(p->state), str_text(&since), str_text(&offers),
			  str_text(&needs), str_text(&remark));
}

int wcore_verb_plugins(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err)
{
	const struct wcore_instance *p =
		wcore_engine_plugins(wcore_reply_env(reply)->engine);

	(void)ctx;
	(void)args;
	(void)err;
	warren_reply_text(reply, "PLUGIN\tVERSION\tSTATE\tSINCE\tOFFERS\tNEEDS\tREMARK");
	warren_reply_open(reply, "plugins", '[');
	for (; p; p = p->next)
		write_plugin(p, reply);
	warren_reply_close(reply);
	return 0;
}

/*
 * ---- metrics ----
 */

static void write_stat(const char *plugin, const struct warren_metric *metric, const char *label,
		       int64_t value, void *arg)
{
	struct warren_reply *reply = arg;

	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "name", "warren_%s_%s", plugin, metric->name);
	warren_reply_str(reply, "kind", "%s",
			 metric->kind == WARREN_COUNTER ? "counter" : "gauge");
	warren_reply_str(reply, "unit", "%s", metric->unit);
	if (metric->label)
		warren_reply_str(reply, metric->label, "%s", label ? label : "");
	warren_reply_int(reply, "value", value);
	warren_reply_close(reply);
}

int wcore_verb_metrics(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err)
{
	struct wcore_stats *stats = wcore_engine_stats(wcore_reply_env(reply)->engine);
	AUTO(auto_free) char *text = NULL;

	(void)ctx;
	(void)args;
	if (warren_reply_json(reply)) {
		warren_reply_open(reply, "metrics", '[');
		wcore_stats_each(stats, write_stat, reply);
		warren_reply_close(reply);
		return 0;
	}
	text = wcore_stats_text(stats);
	if (!text) {
		err_add(err, NULL, "there is no memory for the metrics");
		return -ENOMEM;
	}
	if (text[0])
		warren_reply_text(reply, "%s", text);
	return 0;
}

/*
 * ---- log level ----
 */

static void write_level(const char *name, struct warren_reply *reply)
{
	const char *level = wcore_log_level_name(wcore_log_level(name));

	warren_reply_str(reply, name ? name : "default", "%s", level);
	warren_reply_text(reply, "%s\t%s", name ? name : "default", level);
}

static int set_level(const char *name, const char *word, struct warren_err *err)
{
	bool end = name && strcmp(word, "default") == 0;
	int level = end ? -1 : wcore_log_level_parse(word);

	if (level < 0 && !end)
		return err_add(err, NULL, "\"%s\" is no level; levels are error, warning, notice, "
			       "info and debug%s", word, name ? ", or default" : "");
	if (wcore_log_level_set(name, level) < 0)
		return err_add(err, NULL, "too many plugins have a level of their own; end one "
			       "with: warren log level PLUGIN default");
	wcore_log(LOG_NOTICE, "log level of %s is now %s, by command", name ? name : "all", word);
	return 0;
}

int wcore_verb_log_level(struct warren_ctx *ctx, const struct warren_conf *args,
			 struct warren_reply *reply, struct warren_err *err)
{
	const struct wcore_engine *engine = wcore_reply_env(reply)->engine;
	const char *what = warren_conf_str(args, "what"), *level = warren_conf_str(args, "level");
	const struct wcore_instance *p;
	int ret = 0;

	(void)ctx;
	if (what && !level && wcore_log_level_parse(what) >= 0) {
		level = what;
		what = NULL;
	}
	if (what && strcmp(what, "core") != 0 && !wcore_engine_plugin(engine, what))
		return err_add(err, NULL, "no plugin \"%s\" runs; `warren plugins` lists those "
			       "that do", what);
	if (level)
		ret = set_level(what, level, err);
	if (ret < 0)
		return ret;
	if (what) {
		write_level(what, reply);
		return 0;
	}
	write_level(NULL, reply);
	write_level("core", reply);
	for (p = wcore_engine_plugins(engine); p; p = p->next)
		write_level(p->name, reply);
	return 0;
}
