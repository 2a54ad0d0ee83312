/*
 * From a parsed configuration to a plan: which plugins, with which values, in which order.
 *
 * Pure but for loading plugins and opening secrets: nothing of a plugin runs except its `check`.
 * The daemon, `warren config check` and a reload use the same function.
 */
#ifndef WARREN_ENGINE_PLAN_H
#define WARREN_ENGINE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <warren/plugin.h>

#include "engine/conf.h"

struct wcore_plugin;

#pragma GCC visibility push(default)

struct wcore_plan_item {
	const struct wcore_plugin *plugin;
	const char *name;		/* of plugin and section */
	const struct warren_conf *conf;	/* its values; lives as long as the configuration */
	const char *implied_by;		/* the plugin whose need switched it on, or NULL */
};

struct wcore_plan {
	struct wcore_plan_item *items;	/* in start order */
	size_t count;
};

struct wcore_plan_env {
	const char *plugin_dir;		/* NULL: builtins only */
	uid_t plugin_owner;		/* trusted beside root */
	const struct wcore_plugin *const *extra;	/* found first; NULL-terminated, or NULL */
	bool extra_only;
	uint32_t bind_flags;		/* WCORE_BIND_ */
	wcore_secret_fn *load;		/* NULL: secrets are not opened */
	void *load_arg;
};

/*
 * Loads the plugin of each section of @config, switches on what needs imply, binds, and orders. 0
 * or -EINVAL with all that is wrong in @err. @config is bound afterwards (or useless, on error).
 * Main thread.
 */
int wcore_plan_make(const struct wcore_plan_env *env, struct wcore_config *config,
		    struct wcore_plan *plan, struct warren_err *err);
void wcore_plan_free(struct wcore_plan *plan);
/* Whether @key, "section.option" or "section", could stand in a configuration. Main thread. */
bool wcore_plan_knows(const struct wcore_plan_env *env, const char *key);

/*
 * ---- The two halves that know needs and offers (resolve.c): pure ----
 */

/*
 * Appends the providers that needs with WARREN_ENABLE ask for and nobody offers. @load finds a
 * plugin by name, or NULL. -ENOMEM; -EINVAL with a sentence: a hard one is not installed.
 */
typedef const struct wcore_plugin *wcore_plan_load_fn(const char *name, void *arg,
						       struct warren_err *err);
int wcore_plan_imply(struct wcore_plan *plan, wcore_plan_load_fn *load, void *arg,
		     struct warren_err *err);
/*
 * Puts the items into start order: a provider before those that need it, else by name. Errors: no
 * or two providers, a version that does not fit, a cycle. @suggest names a plugin that would offer
 * a service, or NULL.
 */
typedef const char *wcore_plan_suggest_fn(const char *service, void *arg);
int wcore_plan_order(struct wcore_plan *plan, wcore_plan_suggest_fn *suggest, void *arg,
		     struct warren_err *err);

/* Whether @plugin offers @service (*@row is filled then, if not NULL). */
bool wcore_plugin_offers(const struct wcore_plugin *plugin, const char *service,
			 struct warren_port *row);
/* Whether @plugin has a hard need that @provider offers. */
bool wcore_plugin_depends(const struct wcore_plugin *plugin, const struct wcore_plugin *provider);

#pragma GCC visibility pop

#endif
