/*
 * The core's commands about commands: version, help, completion.
 */
#include "engine/verbs.h"

#include <errno.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/cmd.h"
#include "engine/complete.h"
#include "engine/completion.h"
#include "engine/help.h"
#include "engine/reply.h"

enum { WORDS = 64 };

int wcore_verb_version(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err)
{
	const struct wcore_env *env = wcore_reply_env(reply);

	(void)ctx;
	(void)args;
	(void)err;
	warren_reply_str(reply, "version", "%s", PACKAGE_VERSION);
	warren_reply_str(reply, "abi", "%d.%d", WARREN_ABI_MAJOR, WARREN_ABI_MINOR);
	warren_reply_bool(reply, "daemon", env->engine != NULL);
	warren_reply_text(reply, "%s %s (plugin ABI %d.%d)%s", env->engine ? "warrend" : "warren",
			  PACKAGE_VERSION, WARREN_ABI_MAJOR, WARREN_ABI_MINOR,
			  env->engine ? "" : "; warrend is not running");
	return 0;
}

/* The words of a MANY operand; those past @max are left out. */
static size_t words_of(const struct warren_conf *args, const char *key, const char **words,
		       size_t max)
{
	uint32_t count = warren_conf_count(args, key);
	size_t n = 0;

	for (uint32_t i = 0; i < count && n < max; i++)
		words[n++] = warren_conf_str(warren_conf_at(args, key, i), NULL);
	return n;
}

int wcore_verb_help(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	const struct wcore_env *env = wcore_reply_env(reply);
	const char *words[WORDS];
	size_t n = words_of(args, "command", words, WORDS), used;
	const struct wcore_cmd *cmd = wcore_cmds_match(env->cmds, words, n, &used);
	bool any = n == 0;

	(void)ctx;
	for (size_t i = 0; i < env->cmds->count && !any; i++)
		any = wcore_cmd_below(&env->cmds->v[i], words, n);
	if (env->engine && (warren_conf_bool(args, "all") || (!any && (!cmd || used < n)))) {
		/* The client knows all that is installed. */
		wcore_reply_ask(reply, "{\"local\":true}");
		return 0;
	}
	if (cmd && used == n) {
		wcore_help_command(cmd, reply);
		return 0;
	}
	if (any) {
		wcore_help_list(env, words, n, reply);
		return 0;
	}
	err_add(err, NULL, "there is no command \"%s%s%s\"; all of them: warren help --all",
		words[0], n > 1 ? " " : "", n > 1 ? words[1] : "");
	return -ENOENT;
}

int wcore_verb_completion(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err)
{
	(void)ctx;
	(void)err;
	warren_reply_text(reply, "%s", wcore_completion_scripts[warren_conf_enum(args, "shell")]);
	return 0;
}

int wcore_verb_complete(struct warren_ctx *ctx, const struct warren_conf *args,
			struct warren_reply *reply, struct warren_err *err)
{
	const char *words[WORDS];
	size_t n = words_of(args, "word", words, WORDS);

	(void)ctx;
	(void)err;
	wcore_complete(wcore_reply_env(reply), words, n, reply);
	return 0;
}
