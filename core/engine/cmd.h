/*
 * Commands: from words to a row of a command table, its arguments, and its run.
 *
 * The same code serves the daemon's control socket and the client, which runs OFFLINE commands
 * itself. A set of commands holds the core's verbs and those of plugins.
 */
#ifndef WARREN_ENGINE_CMD_H
#define WARREN_ENGINE_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

struct str;
struct wcore_config;
struct wcore_engine;
struct wcore_installed;
struct wcore_request;

enum {
	/* For the core's verbs only: run by whoever is asked, daemon or client. */
	WCORE_CMD_BOTH = 1u << 9,
	/* Not in lists and completion. */
	WCORE_CMD_HIDDEN = 1u << 10,
	WCORE_CMD_SCOPE = 0xffu,	/* the bits with WARREN_CMD_ANY, _OPERATOR, _ROOT */
};

#pragma GCC visibility push(default)

struct wcore_cmd {
	struct warren_command row;	/* our size, whatever the plugin's was */
	const char *plugin;		/* NULL: a verb of the core */
	struct warren_ctx *ctx;		/* NULL: of the core, or the plugin does not run */
};

struct wcore_cmds {
	struct wcore_cmd *v;		/* sorted by path */
	size_t count;
};

/*
 * Adds a table's commands. @plugin and the rows' texts are borrowed. 0, -EEXIST with a sentence if
 * a path is taken, -ENOMEM; the set is unchanged then.
 */
int wcore_cmds_add(struct wcore_cmds *cmds, const char *plugin, struct warren_ctx *ctx,
		   const struct warren_table *table, struct warren_err *err);
/* The same for the rows that exist also while the plugin does not run. */
int wcore_cmds_add_always(struct wcore_cmds *cmds, const char *plugin,
			  const struct warren_table *table, struct warren_err *err);
void wcore_cmds_free(struct wcore_cmds *cmds);

/*
 * The command whose path is the longest one at the start of @argv; *@words is the number of words
 * of it. NULL: none.
 */
const struct wcore_cmd *wcore_cmds_match(const struct wcore_cmds *cmds, const char *const *argv,
					 size_t argc, size_t *words);
/* True when @cmd is below the first @argc words: "wg import" below "wg". */
bool wcore_cmd_below(const struct wcore_cmd *cmd, const char *const *argv, size_t argc);
bool wcore_cmd_hidden(const struct wcore_cmd *cmd);

/* The core's own verbs and checks: verbs.c, doctor.c. */
extern const struct warren_table wcore_verbs, wcore_checks;

/* Where commands run: the daemon's engine or the client. */
struct wcore_env {
	struct wcore_engine *engine;	/* NULL: inside the client */
	struct wcore_cmds *cmds;
	const char *operator_;		/* node.operator as written, or NULL */
	uint64_t since;			/* warren_now() when the daemon began to listen */
	const char *config;		/* path of warren.yaml; NULL: an engine of a test */
	const char *plugin_dir;
	/* Inside the client: */
	const char *socket;		/* where a daemon would be */
	bool daemon_runs;		/* it does, but left this command to the client */
	const struct wcore_installed *installed;
	/*
	 * Asks the daemon for the text answer to these words, and appends it to @out. 0 or -errno
	 * with a sentence.
	 */
	int (*ask)(const struct wcore_env *env, const char *const *argv, size_t argc,
		   struct str *out, struct warren_err *err);
};

/*
 * Runs @request for a caller of @scope (WARREN_CMD_ANY ... WARREN_CMD_ROOT) and ends @reply, now or
 * later. The request may be freed afterwards. Instead of an answer and its end there may be one
 * line that asks something of the client:
 *	{"local":true,"config":"/etc/...","plugin-dir":"/usr/..."}
 *							run it yourself, with the daemon's files
 *	{"open":[{"key":"file","word":2,"skip":0,"write":false}]}
 *							ask again with these words (from byte `skip`
 *							on) opened and passed as `fds`
 */
void wcore_cmd_run(const struct wcore_env *env, const struct wcore_request *request,
		   uint32_t scope, struct warren_reply *reply);

/*
 * Ends @reply as the core does for a command that returned @result: exit 0, or 1 with the
 * sentences of @err.
 */
void wcore_cmd_end(int result, const struct warren_err *err, struct warren_reply *reply);
/*
 * Calls @row's `run` on the lane of @ctx (NULL: inside the client) and ends @reply, now or later.
 * Takes @values.
 */
void wcore_cmd_call(const struct warren_command *row, struct warren_ctx *ctx,
		    struct wcore_config *values, struct warren_reply *reply);

#pragma GCC visibility pop

#endif
