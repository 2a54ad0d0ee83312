/*
 * The engine: lanes, plugins, bus, services, metrics, configuration. One per process.
 *
 * Everything here is called on the main lane unless it says otherwise. Starting, reloading and
 * stopping are sequences of steps that may wait (a plugin on its own lane, one that answers later),
 * so each has a callback; one sequence runs at a time, others wait behind it.
 */
#ifndef WARREN_ENGINE_ENGINE_H
#define WARREN_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <warren/plugin.h>

#include "engine/conf.h"

struct wcore_bus;
struct wcore_engine;
struct wcore_epochs;
struct wcore_lane;
struct wcore_plugin;
struct wcore_pool;
struct wcore_services;
struct wcore_state;
struct wcore_stats;

#pragma GCC visibility push(default)

enum wcore_plugin_state {
	WCORE_PLUGIN_OFF = 0,		/* configured, not yet (or no longer) started */
	WCORE_PLUGIN_STARTING,
	WCORE_PLUGIN_UP,
	WCORE_PLUGIN_STOPPING,
	WCORE_PLUGIN_FAILED,		/* see `reason` */
};
const char *wcore_plugin_state_name(enum wcore_plugin_state state);

/* One plugin of the running configuration, in start order. */
struct wcore_instance {
	struct wcore_instance *next;
	const struct wcore_plugin *plugin;
	const char *name;		/* of plugin and section */
	struct warren_ctx *ctx;		/* NULL unless STARTING, UP or STOPPING */
	const struct warren_conf *conf;	/* its section */
	enum wcore_plugin_state state;
	const char *implied_by;		/* no section of its own: switched on by this plugin */
	char *reason;			/* FAILED: a sentence */
	uint64_t since;			/* warren_now() of the last change of state */
	uint32_t restarts;
	struct wcore_config *config;	/* that `conf` is part of: one reference */
	bool fresh;			/* of a configuration that is not yet in force */
};

struct wcore_engine_options {
	const char *plugin_dir;		/* NULL: builtins only */
	uid_t plugin_owner;		/* trusted beside root; 0: root only */
	const struct wcore_plugin *const *extra;	/* tests; NULL-terminated, found first */
	bool extra_only;		/* tests: and no others, whatever is built in */
	int state_dir;			/* descriptor of <state>/engine, taken; -1: none */
	const char *state_shown;
	uint64_t start_deadline, stop_deadline;	/* microseconds per plugin; 0: 30 s, 10 s */
	wcore_secret_fn *load;		/* opens secrets; NULL: they stay empty */
	void *load_arg;
};

/* NULL with a sentence in @err. The calling thread becomes lane "main". */
struct wcore_engine *wcore_engine_new(const struct wcore_engine_options *options,
				      struct warren_err *err);
/* Other options, while nothing was started: the daemon learns them from the monitor. -ENOMEM. */
int wcore_engine_configure(struct wcore_engine *engine, const struct wcore_engine_options *options);
/* All plugins are stopped. NULL is allowed. */
void wcore_engine_free(struct wcore_engine *engine);

/*
 * The end of a sequence. @result 0 or -errno; @text: for the operator, what was done or what is
 * wrong (one sentence per line).
 */
typedef void wcore_engine_fn(struct wcore_engine *engine, int result, const char *text, void *arg);

/*
 * Puts @config (parsed, not yet bound; takes one reference) into force: loads plugins, binds and
 * checks values, resolves needs, then starts, reloads, restarts and stops what differs from what
 * runs. At the first call everything is started. On failure what ran before runs again. @done may
 * be called inside the call.
 */
void wcore_engine_apply_take(struct wcore_engine *engine, struct wcore_config *config,
			     wcore_engine_fn *done, void *arg);
/*
 * All that can be said about @config without starting anything; what a reload would do ("restart
 * router, reload wg") goes to @text (for free()) if it is not NULL. @config is bound afterwards.
 */
int wcore_engine_check(struct wcore_engine *engine, struct wcore_config *config, char **text,
		       struct warren_err *err);
/* Stops all plugins in reverse order. */
void wcore_engine_stop(struct wcore_engine *engine, wcore_engine_fn *done, void *arg);
/* Stops and starts one plugin and its hard dependents. */
void wcore_engine_restart(struct wcore_engine *engine, const char *name, wcore_engine_fn *done,
			  void *arg);
/* A sequence is running. */
bool wcore_engine_busy(const struct wcore_engine *engine);
/* A plugin that offers @service is about to start in it. Lane main. */
bool wcore_engine_comes(const struct wcore_engine *engine, const char *service);

/* In start order; NULL ends. Valid until the callback returns. */
const struct wcore_instance *wcore_engine_plugins(const struct wcore_engine *engine);
const struct wcore_instance *wcore_engine_plugin(const struct wcore_engine *engine,
						 const char *name);
/* The configuration in force, or NULL. Borrowed until the callback returns. */
struct wcore_config *wcore_engine_config(const struct wcore_engine *engine);
const struct wcore_engine_options *wcore_engine_opts(const struct wcore_engine *engine);

/* Any thread. */
struct wcore_lane *wcore_engine_main(const struct wcore_engine *engine);
/* The core's own context, on the main lane, for the timers and descriptors of the core. */
struct warren_ctx *wcore_engine_ctx(const struct wcore_engine *engine);
struct wcore_bus *wcore_engine_bus(const struct wcore_engine *engine);
struct wcore_services *wcore_engine_services(const struct wcore_engine *engine);
struct wcore_stats *wcore_engine_stats(const struct wcore_engine *engine);
struct wcore_epochs *wcore_engine_epochs(const struct wcore_engine *engine);
struct wcore_pool *wcore_engine_pool(const struct wcore_engine *engine);
struct wcore_pool *wcore_engine_lookups(const struct wcore_engine *engine);
struct wcore_state *wcore_engine_state(const struct wcore_engine *engine);

/*
 * The engine's end of the monitor, set by wcore_priv_attach(); NULL: there is none (tests).
 * @owner_end is called when a plugin's context has ended, on its lane: wcore_priv_owner_end().
 */
struct wcore_priv;
typedef void wcore_owner_end_fn(struct wcore_priv *priv, struct warren_ctx *ctx);
struct wcore_priv *wcore_engine_priv(const struct wcore_engine *engine);
void wcore_engine_priv_set(struct wcore_engine *engine, struct wcore_priv *priv,
			   wcore_owner_end_fn *owner_end);
/* For ctx.c. */
void wcore_engine_owner_end(struct wcore_engine *engine, struct warren_ctx *ctx);

/*
 * Runs @engine's main lane until @done of the sequence was called: for tests and for tools that
 * have nothing else to do. Returns the sequence's result; its text goes to *@text (for free()), if
 * that is not NULL.
 */
int wcore_engine_apply_wait(struct wcore_engine *engine, struct wcore_config *config, char **text);
int wcore_engine_stop_wait(struct wcore_engine *engine, char **text);

#pragma GCC visibility pop

#endif
