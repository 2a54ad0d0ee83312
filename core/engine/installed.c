/*
 * The plugins that are installed, by their tables only: nothing of them is started.
 */
#include "engine/installed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "engine/cmd.h"
#include "engine/conf.h"
#include "engine/plugin_load.h"

static int load_all(struct wcore_installed *installed, char **names, const char *dir,
		    uid_t owner, struct warren_err *err)
{
	size_t n = 0;

	while (names[n])
		n++;
	installed->plugins = calloc(n + 1, sizeof(*installed->plugins));
	if (!installed->plugins)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct warren_err why = ERR_INIT;
		const struct wcore_plugin *plugin = wcore_plugin_load(names[i], dir, owner, &why);

		if (plugin)
			installed->plugins[installed->count++] = plugin;
		else
			err_note(err, NULL, "%s", err_first(&why));
		err_free(&why);
	}
	return 0;
}

static int make_schemas(struct wcore_installed *installed)
{
	size_t core;
	const struct wcore_conf_schema *own = wcore_core_schemas(&core);

	installed->schemas = calloc(core + installed->count, sizeof(*installed->schemas));
	if (!installed->schemas)
		return -ENOMEM;
	memcpy(installed->schemas, own, core * sizeof(*own));
	installed->n_schemas = core;
	for (size_t i = 0; i < installed->count; i++) {
		const struct warren_plugin *desc = &installed->plugins[i]->desc;

		installed->schemas[installed->n_schemas++] = (struct wcore_conf_schema){
			.name = desc->name, .brief = desc->brief, .help = desc->help,
			.options = desc->options, .check = desc->check,
		};
	}
	return 0;
}

int wcore_installed_load(struct wcore_installed *installed, const char *dir, uid_t owner,
			 struct warren_err *err)
{
	AUTO(auto_free) char **names = wcore_plugin_scan(dir);
	int ret = -ENOMEM;

	memset(installed, 0, sizeof(*installed));
	if (names)
		ret = load_all(installed, names, dir, owner, err);
	if (ret == 0)
		ret = make_schemas(installed);
	if (ret < 0)
		wcore_installed_free(installed);
	return ret;
}

void wcore_installed_free(struct wcore_installed *installed)
{
	free(installed->plugins);
	free(installed->schemas);
	memset(installed, 0, sizeof(*installed));
}

int wcore_installed_commands(const struct wcore_installed *installed, struct wcore_cmds *cmds,
			     struct warren_err *err)
{
	int ret = wcore_cmds_add(cmds, NULL, NULL, &wcore_verbs, err);

	for (size_t i = 0; i < installed->count && ret == 0; i++) {
		const struct warren_plugin *desc = &installed->plugins[i]->desc;

		ret = wcore_cmds_add(cmds, desc->name, NULL, &desc->commands, err);
	}
	return ret;
}
