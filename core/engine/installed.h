/*
 * The plugins that are installed, by their tables only: nothing of them is started.
 *
 * For the client where no daemon answers, and for the manuals.
 */
#ifndef WARREN_ENGINE_INSTALLED_H
#define WARREN_ENGINE_INSTALLED_H

#include <stddef.h>
#include <sys/types.h>

struct warren_err;
struct wcore_cmds;
struct wcore_conf_schema;
struct wcore_plugin;

#pragma GCC visibility push(default)

struct wcore_installed {
	const struct wcore_plugin **plugins;	/* sorted by name */
	size_t count;
	struct wcore_conf_schema *schemas;	/* the core's sections, then one per plugin */
	size_t n_schemas;
};

/*
 * Builtins and what is in @dir (NULL: builtins only); @owner as for wcore_plugin_load(). A plugin
 * that is refused is left out, with a note in @err. 0 or -ENOMEM.
 */
int wcore_installed_load(struct wcore_installed *installed, const char *dir, uid_t owner,
			 struct warren_err *err);
void wcore_installed_free(struct wcore_installed *installed);
/* Adds the core's verbs and the commands of all. 0 or -errno with a sentence. */
int wcore_installed_commands(const struct wcore_installed *installed, struct wcore_cmds *cmds,
			     struct warren_err *err);

#pragma GCC visibility pop

#endif
