/*
 * The core's commands about the configuration.
 *
 * check, diff, schema and example run inside the client, with the tables of the installed plugins
 * and the files that its user can read: no daemon parses what just anybody hands to it. For diff
 * the daemon is asked what it runs. show and reload are the daemon's.
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
#include "engine/describe.h"
#include "engine/engine.h"
#include "engine/files.h"
#include "engine/installed.h"
#include "engine/priv_client.h"
#include "engine/reply.h"

/*
 * ---- check ----
 */

/* An engine that starts nothing: it knows how sections, plugins and needs have to fit. */
static struct wcore_engine *checking_engine(const struct wcore_env *env, struct warren_err *err)
{
	const struct wcore_engine_options options = {
		.plugin_dir = env->plugin_dir, .plugin_owner = geteuid(), .state_dir = -1,
	};

	return wcore_engine_new(&options, err);
}

static void write_errors(const struct warren_err *err, struct warren_reply *reply)
{
	AUTO(str_free) struct str text = STR_INIT;
	const struct err_line *line;

	warren_reply_open(reply, "errors", '[');
	for (uint32_t i = 0; (line = err_nth(err, i)); i++) {
		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "text", "%s", line->text);
		if (line->line > 0) {
			warren_reply_int(reply, "line", line->line);
			warren_reply_int(reply, "column", line->column);
		}
		warren_reply_bool(reply, "note", line->note);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
	err_print(err, &text);
	if (text.len > 0)
		warren_reply_text(reply, "%s", str_text(&text));
}

int wcore_verb_config_check(struct warren_ctx *ctx, const struct warren_conf *args,
			    struct warren_reply *reply, struct warren_err *err)
{
	const struct wcore_env *env = wcore_reply_env(reply);
	const char *path = warren_conf_str(args, "file");
	struct warren_err found = ERR_INIT;
	struct wcore_config *config = NULL;
	struct wcore_engine *engine;
	int result = -EINVAL;

	(void)ctx;
	if (!path)
		path = warren_conf_str(args, "config");
	if (!path)
		path = env->config;
	engine = checking_engine(env, err);
	if (!engine)
		return -ENOMEM;
	config = wcore_files_parse(path, &found);
	if (config)
		result = wcore_engine_check(engine, config, NULL, &found);
	warren_reply_str(reply, "file", "%s", path);
	warren_reply_bool(reply, "good", result == 0);
	write_errors(&found, reply);
	if (result == 0)
		warren_reply_text(reply, "%s is good", path);
	else
		err_add(err, NULL, "%s has %u error%s", path, found.errors,
			found.errors == 1 ? "" : "s");
	err_free(&found);
	wcore_config_unref(config);
	wcore_engine_free(engine);
	return result;
}

/*
 * ---- show, diff ----
 */

int wcore_verb_config_show(struct warren_ctx *ctx, const struct warren_conf *args,
			   struct warren_reply *reply, struct warren_err *err)
{
	struct wcore_config *config = wcore_engine_config(wcore_reply_env(reply)->engine);
	AUTO(str_free) struct str out = STR_INIT;
	uint32_t flags = 0;

	(void)ctx;
	if (!config)
		return err_add(err, NULL, "the daemon runs no configuration yet");
	if (warren_conf_bool(args, "origin"))
		flags |= WCORE_PRINT_ORIGIN;
	if (warren_conf_bool(args, "all"))
		flags |= WCORE_PRINT_DEFAULTS;
	if (warren_reply_json(reply))
		flags |= WCORE_PRINT_JSON;
	wcore_config_print(config, flags, &out);
	if (warren_reply_json(reply))
		wcore_reply_json(reply, "config", str_text(&out));
	else if (out.len > 0)
		warren_reply_text(reply, "%s", str_text(&out));
	else
		warren_reply_text(reply, "# no file sets anything");
	return 0;
}

/* What the daemon runs, as one file. */
static struct wcore_config *ask_running(const struct wcore_env *env, struct warren_err *err)
{
	static const char *const words[] = { "config", "show" };
	AUTO(str_free) struct str text = STR_INIT;
	struct wcore_conf_source source = { .name = "running configuration", .fd = -1 };

	if (env->ask(env, words, ARRAY_SIZE(words), &text, err) < 0)
		return NULL;
	source.bytes = str_text(&text);
	source.len = text.len;
	return wcore_config_parse(&source, 1, err);
}

int wcore_verb_config_diff(struct warren_ctx *ctx, const struct warren_conf *args,
			   struct warren_reply *reply, struct warren_err *err)
{
	const struct wcore_env *env = wcore_reply_env(reply);
	const char *path = warren_conf_str(args, "file");
	struct wcore_config *running = NULL, *files = NULL;
	AUTO(str_free) struct str out = STR_INIT;
	struct wcore_engine *engine;
	uint32_t flags = warren_reply_json(reply) ? WCORE_PRINT_JSON : 0;
	int ret = -EINVAL;

	(void)ctx;
	engine = checking_engine(env, err);
	if (!engine)
		return -ENOMEM;
	files = wcore_files_parse(path ? path : env->config, err);
	if (files)
		ret = wcore_engine_check(engine, files, NULL, err);
	if (ret == 0) {
		running = ask_running(env, err);
		ret = running ? wcore_engine_check(engine, running, NULL, err) : -EINVAL;
	}
	if (ret == 0) {
		size_t changes = wcore_config_print_diff(running, files, flags, &out);

		if (flags)
			wcore_reply_json(reply, "changes", str_text(&out));
		else if (changes > 0)
			warren_reply_text(reply, "%s", str_text(&out));
		else
			warren_reply_text(reply, "No difference: a reload would change nothing.");
	}
	wcore_config_unref(running);
	wcore_config_unref(files);
	wcore_engine_free(engine);
	return ret;
}

/*
 * ---- schema, example ----
 */

int wcore_verb_config_schema(struct warren_ctx *ctx, const struct warren_conf *args,
			     struct warren_reply *reply, struct warren_err *err)
{
	const struct wcore_installed *installed = wcore_reply_env(reply)->installed;
	AUTO(str_free) struct str out = STR_INIT;

	(void)ctx;
	(void)args;
	(void)err;
	wcore_describe_schema(installed->schemas, installed->n_schemas, &out);
	if (warren_reply_json(reply))
		wcore_reply_json(reply, "schema", str_text(&out));
	else
		warren_reply_text(reply, "%s", str_text(&out));
	return 0;
}

static int fail_role(const char *role, struct warren_err *err)
{
	AUTO(str_free) struct str known = STR_INIT;
	const struct wcore_describe_role *roles;
	size_t count;

	roles = wcore_describe_roles(&count);
	for (size_t i = 0; i < count; i++)
		str_addf(&known, "%s%s", i > 0 ? ", " : "", roles[i].name);
	err_add(err, NULL, "no role \"%s\", or plugins of it are not installed; roles are %s", role,
		str_text(&known));
	return -ENOENT;
}

int wcore_verb_config_example(struct warren_ctx *ctx, const struct warren_conf *args,
			      struct warren_reply *reply, struct warren_err *err)
{
	const struct wcore_installed *installed = wcore_reply_env(reply)->installed;
	const char *role = warren_conf_str(args, "role");
	AUTO(str_free) struct str out = STR_INIT;
	int ret;

	(void)ctx;
	ret = wcore_describe_example(installed->schemas, installed->n_schemas, role, &out);
	if (ret < 0)
		return fail_role(role ? role : "", err);
	warren_reply_text(reply, "%s", str_text(&out));
	return 0;
}

/*
 * ---- reload ----
 */

struct reload {
	struct wcore_priv *priv;
	struct warren_reply *reply;
};

static void reload_done(int result, const char *text, void *arg)
{
	struct reload *reload = arg;

	if (result == 0) {
		if (text && text[0])
			warren_reply_text(reload->reply, "%s", text);
		else
			warren_reply_text(reload->reply, "Nothing changed.");
		warren_reply_end(reload->reply, 0, NULL);
	} else {
		warren_reply_end(reload->reply, 1, text ? text : strerror(-result));
	}
	free(reload);
}

/* The reload goes on; only nobody waits for it any more. */
static void reload_cancel(struct warren_reply *reply, void *arg)
{
	struct reload *reload = arg;

	(void)reply;
	wcore_priv_reload_forget(reload->priv, reload);
	free(reload);
}

int wcore_verb_reload(struct warren_ctx *ctx, const struct warren_conf *args,
		      struct warren_reply *reply, struct warren_err *err)
{
	struct wcore_priv *priv = wcore_engine_priv(wcore_reply_env(reply)->engine);
	struct reload *reload;
	int ret;

	(void)ctx;
	(void)args;
	if (!priv)
		return err_add(err, NULL, "this engine runs without a monitor, which would read "
			       "the files");
	reload = malloc(sizeof(*reload));
	if (!reload) {
		err_add(err, NULL, "there is no memory to wait for the reload");
		return -ENOMEM;
	}
	*reload = (struct reload){ priv, reply };
	ret = wcore_priv_reload(priv, reload_done, reload);
	if (ret < 0) {
		err_add(err, NULL, "cannot ask the monitor: %s", strerror(-ret));
		free(reload);
		return ret;
	}
	warren_reply_on_cancel(reply, reload_cancel, reload);
	return WARREN_PENDING;
}
