/*
 * Commands: from words to a row of a command table, its arguments, and its run.
 *
 * A command line is matched to the longest path that is at its start; what follows are options and
 * operands. Here they only become pairs of names and texts: types, limits and defaults are those
 * of the option tables, checked by the same code as the configuration file.
 */
#include "engine/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/args.h"
#include "engine/conf.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/help.h"
#include "engine/lane.h"
#include "engine/remote.h"
#include "engine/reply.h"
#include "engine/request.h"
#include "engine/table.h"

enum { GUESS = 64 };			/* bytes of a word of a path, with NUL */

static int compare_paths(const void *a, const void *b)
{
	const struct wcore_cmd *x = a, *y = b;

	return strcmp(x->row.path, y->row.path);
}

int wcore_cmds_add(struct wcore_cmds *cmds, const char *plugin, struct warren_ctx *ctx,
		   const struct warren_table *table, struct warren_err *err)
{
	struct wcore_cmd *grown, *new;
	size_t had = cmds->count;

	if (table->count == 0)
		return 0;
	grown = realloc(cmds->v, (had + table->count) * sizeof(*grown));
	if (!grown) {
		err_add(err, NULL, "there is no memory for the commands");
		return -ENOMEM;
	}
	cmds->v = grown;
	new = grown + had;
	for (uint32_t i = 0; wcore_table_row(table, i, &new->row, sizeof(new->row)); i++, new++) {
		new->plugin = plugin;
		new->ctx = ctx;
		for (size_t k = 0; k < had; k++) {
			if (strcmp(grown[k].row.path, new->row.path) != 0)
				continue;
			err_add(err, NULL, "%s has a command `%s`, which %s has already",
				plugin ? plugin : "the core", new->row.path,
				grown[k].plugin ? grown[k].plugin : "the core");
			return -EEXIST;
		}
	}
	cmds->count += table->count;
	qsort(cmds->v, cmds->count, sizeof(*cmds->v), compare_paths);
	return 0;
}

int wcore_cmds_add_always(struct wcore_cmds *cmds, const char *plugin,
			  const struct warren_table *table, struct warren_err *err)
{
	struct warren_command row;
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && wcore_table_row(table, i, &row, sizeof(row)); i++) {
		const struct warren_table one = {
			table->stride, 1, (const char *)table->rows + (size_t)i * table->stride,
		};

		if (row.flags & WARREN_CMD_ALWAYS)
			ret = wcore_cmds_add(cmds, plugin, NULL, &one, err);
	}
	return ret;
}

void wcore_cmds_free(struct wcore_cmds *cmds)
{
	free(cmds->v);
	cmds->v = NULL;
	cmds->count = 0;
}

/*
 * Words of @path that are also those of @argv, in order; *@all says whether that is the whole path.
 */
static size_t common_words(const char *path, const char *const *argv, size_t argc, bool *all)
{
	size_t n = 0;

	while (*path && n < argc) {
		size_t len = strcspn(path, " ");

		if (strlen(argv[n]) != len || memcmp(path, argv[n], len) != 0)
			break;
		n++;
		path += len;
		path += *path == ' ';
	}
	*all = *path == '\0';
	return n;
}

const struct wcore_cmd *wcore_cmds_match(const struct wcore_cmds *cmds, const char *const *argv,
					 size_t argc, size_t *words)
{
	const struct wcore_cmd *best = NULL;

	*words = 0;
	for (size_t i = 0; i < cmds->count; i++) {
		bool all;
		size_t n = common_words(cmds->v[i].row.path, argv, argc, &all);

		if (all && n > *words) {
			best = &cmds->v[i];
			*words = n;
		}
	}
	return best;
}

bool wcore_cmd_below(const struct wcore_cmd *cmd, const char *const *argv, size_t argc)
{
	bool all;

	return common_words(cmd->row.path, argv, argc, &all) == argc && !all;
}

bool wcore_cmd_hidden(const struct wcore_cmd *cmd)
{
	return (cmd->row.flags & WCORE_CMD_HIDDEN) != 0;
}

/* Words of argv before the first option. */
static size_t leading_words(const struct wcore_request *request)
{
	size_t n = 0;

	while (n < request->argc && request->argv[n][0] != '-')
		n++;
	return n;
}

static bool has_word(const struct wcore_request *request, const char *word)
{
	for (size_t i = 0; i < request->argc && strcmp(request->argv[i], "--") != 0; i++)
		if (strcmp(request->argv[i], word) == 0)
			return true;
	return false;
}

/* All errors, one a line. */
static void add_errors(struct str *out, const struct warren_err *err)
{
	const struct err_line *line;

	for (uint32_t i = 0; (line = err_nth(err, i)); i++)
		if (!line->note)
			str_addf(out, "%s%s", out->len > 0 ? "\n" : "", line->text);
}

static void end_usage(struct warren_reply *reply, const struct wcore_cmd *cmd,
		      const struct wcore_args *args, const struct warren_err *err)
{
	bool surplus = args->surplus > 0 && args->surplus == err->errors;
	AUTO(str_free) struct str text = STR_INIT;

	add_errors(&text, err);
	str_add(&text, "\nUsage: ");
	wcore_help_usage(cmd, &text);
	warren_reply_end(reply, surplus && cmd->row.flags & WARREN_CMD_STOCK ? 1 : 2,
			 str_text(&text));
}

/* The word after the first @known ones that was probably meant; *@best keeps it. */
static void guess_word(const struct wcore_env *env, const struct wcore_request *request, size_t n,
		       size_t known, struct str_guess *guess, char best[static GUESS])
{
	guess->word = request->argv[known];
	for (size_t i = 0; i < env->cmds->count; i++) {
		const char *path = env->cmds->v[i].row.path;
		char word[GUESS] = "";
		bool all;

		if (wcore_cmd_hidden(&env->cmds->v[i]) ||
		    common_words(path, request->argv, n, &all) != known)
			continue;
		for (size_t k = 0; k < known; k++)
			path += strcspn(path, " ") + 1;
		if (strcspn(path, " ") >= sizeof(word))
			continue;
		memcpy(word, path, strcspn(path, " "));
		str_guess_try(guess, word);
		if (guess->best == word) {
			memcpy(best, word, GUESS);
			guess->best = best;
		}
	}
}

/* No command is at the start of argv. */
static void end_unknown(const struct wcore_env *env, const struct wcore_request *request,
			struct warren_reply *reply)
{
	size_t n = leading_words(request), known = 0;
	AUTO(str_free) struct str text = STR_INIT;
	struct str_guess guess = { 0 };
	char best[GUESS];

	/* The words that begin some command, so that only the first wrong one is blamed. */
	for (size_t i = 0; i < env->cmds->count; i++) {
		bool all;
		size_t common = common_words(env->cmds->v[i].row.path, request->argv, n, &all);

		known = common > known ? common : known;
	}
	if (n == 0 || known == n) {
		wcore_help_list(env, request->argv, n, reply);
		if (n == 0 || has_word(request, "--help") || has_word(request, "-h"))
			warren_reply_end(reply, 0, NULL);
		else
			warren_reply_end(reply, 2, "that is only the beginning of a command");
		return;
	}
	guess_word(env, request, n, known, &guess, best);
	wcore_help_unknown(request->argv, known, &guess, &text);
	warren_reply_end(reply, 2, str_text(&text));
}

static const char *scope_words(uint32_t scope)
{
	return scope == WARREN_CMD_ROOT ? "only root may do this" :
	       "only root and the operator may do this";
}

static void end_forbidden(const struct wcore_env *env, const struct wcore_cmd *cmd,
			  struct warren_reply *reply)
{
	uint32_t scope = cmd->row.flags & WCORE_CMD_SCOPE;
	AUTO(str_free) struct str text = STR_INIT;

	str_addf(&text, "permission denied: %s", scope_words(scope));
	if (scope == WARREN_CMD_OPERATOR && env->operator_)
		str_addf(&text, " (node.operator: %s)", env->operator_);
	else if (scope == WARREN_CMD_OPERATOR)
		str_add(&text, " (none is set: node.operator in warren.yaml)");
	warren_reply_end(reply, 1, str_text(&text));
}

static void end_not_here(const struct wcore_env *env, const struct wcore_cmd *cmd,
			 struct warren_reply *reply)
{
	AUTO(str_free) struct str text = STR_INIT;

	if (env->engine)
		str_addf(&text, "plugin %s is not running; `warren plugins` says why",
			 cmd->plugin);
	else if (env->daemon_runs)
		str_addf(&text, "the daemon does not run plugin %s; a section `%s:` in "
			 "warren.yaml switches it on", cmd->plugin, cmd->plugin);
	else
		str_addf(&text, "warrend is not running (nobody listens on %s); start it: "
			 "systemctl start warrend", env->socket);
	warren_reply_end(reply, 1, str_text(&text));
}

/* Asks the client for the descriptors of operands that have none yet. False: nothing is missing. */
static bool ask_for_fds(const struct wcore_args *args, struct warren_reply *reply)
{
	AUTO(str_free) struct str ask = STR_INIT;
	char too_many[80];
	size_t missing = 0;

	str_add(&ask, "{\"open\":[");
	for (size_t i = 0; i < args->count; i++) {
		const struct wcore_arg *arg = &args->v[i];

		if ((arg->type != WARREN_FD_IN && arg->type != WARREN_FD_OUT &&
		     arg->type != WARREN_FD_DIR) ||
		    wcore_reply_has_fd(reply, arg->pair.name))
			continue;
		str_add(&ask, missing++ > 0 ? ",{\"key\":" : "{\"key\":");
		str_add_json(&ask, arg->pair.name, strlen(arg->pair.name));
		str_addf(&ask, ",\"word\":%zu,\"skip\":%zu,\"write\":%s%s}", arg->word, arg->skip,
			 arg->type == WARREN_FD_OUT ? "true" : "false",
			 arg->type == WARREN_FD_DIR ? ",\"dir\":true" : "");
	}
	str_add(&ask, "]}");
	if (missing > WCORE_REPLY_FDS) {
		snprintf(too_many, sizeof(too_many), "at most %d files at a time, these are %zu",
			 WCORE_REPLY_FDS, missing);
		warren_reply_end(reply, 2, too_many);
	} else if (missing > 0) {
		wcore_reply_ask(reply, str_text(&ask));
	}
	return missing > 0;
}

void wcore_cmd_end(int result, const struct warren_err *err, struct warren_reply *reply)
{
	AUTO(str_free) struct str text = STR_INIT;

	if (result >= 0) {
		warren_reply_end(reply, 0, NULL);
		return;
	}
	add_errors(&text, err);
	warren_reply_end(reply, 1, text.len > 0 ? str_text(&text) : strerror(-result));
}

void wcore_cmd_call(const struct warren_command *row, struct warren_ctx *ctx,
		    struct wcore_config *values, struct warren_reply *reply)
{
	struct warren_err err = ERR_INIT;
	uint64_t entered = 0;
	int ret;

	wcore_reply_ref(reply);
	wcore_reply_keep_take(reply, values);
	/* The core's own are inside a callback that is measured already. */
	if (ctx && ctx->plugin)
		entered = wcore_ctx_enter(ctx);
	ret = row->run(ctx, wcore_config_section(values, row->path), reply, &err);
	if (ctx && ctx->plugin)
		wcore_ctx_leave(ctx, entered, row->path);
	if (!wcore_reply_ended(reply)) {
		if (ret != WARREN_PENDING)
			wcore_cmd_end(ret, &err, reply);
		else if (!ctx || wcore_reply_tie(reply, ctx) < 0)
			warren_reply_end(reply, 1, "there is no memory to wait for the answer");
	}
	err_free(&err);
	wcore_reply_unref(reply);
}

static void run_row(const struct wcore_env *env, const struct wcore_cmd *cmd,
		    struct wcore_config *values, struct warren_reply *reply)
{
	struct warren_ctx *ctx = cmd->row.flags & WARREN_CMD_ALWAYS ? NULL : cmd->ctx;

	if (!ctx && env->engine)
		ctx = wcore_engine_ctx(env->engine);
	if (ctx && !wcore_lane_here(ctx->lane)) {
		wcore_remote_call(&cmd->row, ctx, values, reply);
		return;
	}
	wcore_reply_ref(reply);
	wcore_reply_env_set(reply, env);
	wcore_cmd_call(&cmd->row, ctx, values, reply);
	wcore_reply_env_set(reply, NULL);
	wcore_reply_unref(reply);
}

/* Whether all that the command needs is in this process. */
static bool runs_here(const struct wcore_env *env, const struct wcore_cmd *cmd)
{
	if (cmd->row.flags & (WARREN_CMD_OFFLINE | WCORE_CMD_BOTH))
		return true;
	if (cmd->row.flags & WARREN_CMD_ALWAYS)
		return env->engine != NULL;
	return cmd->plugin ? cmd->ctx != NULL : env->engine != NULL;
}

static void run_cmd(const struct wcore_env *env, const struct wcore_cmd *cmd,
		    const struct wcore_request *request, size_t words, uint32_t scope,
		    struct warren_reply *reply)
{
	struct warren_err err = ERR_INIT;
	struct wcore_config *values = NULL;
	struct wcore_args args;
	int ret;

	wcore_reply_name(reply, cmd->row.path);
	if (cmd->row.flags & WARREN_CMD_STOCK)
		wcore_reply_want_indent(reply);
	wcore_reply_caller_set(reply, scope, env->operator_);
	ret = wcore_args_parse(&args, &cmd->row.args, request->argv, words, request->argc, &err);
	if (ret == 0 && args.json)
		wcore_reply_want_json(reply);
	if (ret == 0 && args.help) {
		wcore_help_command(cmd, reply);
		warren_reply_end(reply, 0, NULL);
	} else if (ret == 0 && !runs_here(env, cmd)) {
		end_not_here(env, cmd, reply);
	} else if (ret == 0 && (cmd->row.flags & WCORE_CMD_SCOPE) > scope) {
		end_forbidden(env, cmd, reply);
	} else {
		if (ret == 0)
			values = wcore_args_build(&args, cmd->row.path, &cmd->row.args, &err);
		if (!values)
			end_usage(reply, cmd, &args, &err);
		else if (ask_for_fds(&args, reply))
			wcore_config_unref(values);
		else
			run_row(env, cmd, values, reply);
	}
	wcore_args_free(&args);
	err_free(&err);
}

static void add_path(struct str *line, const char *key, const char *path)
{
	if (!path)
		return;
	str_addf(line, ",\"%s\":", key);
	str_add_json(line, path, strlen(path));
}

static void leave_to_client(const struct wcore_env *env, struct warren_reply *reply)
{
	AUTO(str_free) struct str line = STR_INIT;

	str_add(&line, "{\"local\":true");
	add_path(&line, "config", env->config);
	add_path(&line, "plugin-dir", env->plugin_dir);
	str_addc(&line, '}');
	wcore_reply_ask(reply, str_text(&line));
}

void wcore_cmd_run(const struct wcore_env *env, const struct wcore_request *request,
		   uint32_t scope, struct warren_reply *reply)
{
	const struct wcore_cmd *cmd;
	size_t words;

	cmd = wcore_cmds_match(env->cmds, request->argv, request->argc, &words);
	if (env->engine && (!cmd || (cmd->row.flags & WARREN_CMD_OFFLINE)))
		leave_to_client(env, reply);
	else if (!cmd)
		end_unknown(env, request, reply);
	else
		run_cmd(env, cmd, request, words, scope, reply);
}
