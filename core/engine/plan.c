/*
 * Making a plan. All errors of a configuration come at once as far as that makes sense: a section
 * whose plugin cannot be loaded is passed over by the binder, so that the others are still judged.
 */
#include "engine/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "engine/plugin_load.h"
#include "engine/table.h"

struct finder {
	const struct wcore_plan_env *env;
};

static const struct wcore_plugin *find_plugin(const char *name, void *arg, struct warren_err *err)
{
	const struct wcore_plan_env *env = ((struct finder *)arg)->env;

	for (size_t i = 0; env->extra && env->extra[i]; i++)
		if (strcmp(env->extra[i]->desc.name, name) == 0)
			return env->extra[i];
	if (env->extra_only) {
		warren_fail(err, NULL, "there is no plugin `%s`", name);
		return NULL;
	}
	return wcore_plugin_load(name, env->plugin_dir, env->plugin_owner, err);
}

/* Loads everything that is installed to find who could help; the answer is worth it. */
static const char *suggest(const char *service, void *arg)
{
	const struct wcore_plan_env *env = ((struct finder *)arg)->env;
	AUTO(auto_free) char **names = wcore_plugin_scan(env->plugin_dir);
	const struct wcore_plugin *plugin;

	for (size_t i = 0; names && names[i]; i++) {
		plugin = find_plugin(names[i], arg, NULL);
		if (plugin && wcore_plugin_offers(plugin, service, NULL))
			return plugin->desc.name;
	}
	return NULL;
}

static const struct wcore_conf_schema *core_section(const char *name)
{
	const struct wcore_conf_schema *core;
	size_t count;

	core = wcore_core_schemas(&count);
	for (size_t i = 0; i < count; i++)
		if (strcmp(core[i].name, name) == 0)
			return &core[i];
	return NULL;
}

static bool is_core_section(const char *name)
{
	return core_section(name) != NULL;
}

bool wcore_plan_knows(const struct wcore_plan_env *env, const char *key)
{
	struct finder finder = { .env = env };
	const struct wcore_conf_schema *core;
	const struct wcore_plugin *plugin;
	const struct warren_table *rows;
	char section[WCORE_PLUGIN_NAME];
	size_t len = strcspn(key, ".");
	struct warren_option row;
	uint32_t i = 0;

	if (len >= sizeof(section))
		return false;
	memcpy(section, key, len);
	section[len] = '\0';
	core = core_section(section);
	plugin = core ? NULL : find_plugin(section, &finder, NULL);
	if (!core && !plugin)
		return false;
	rows = core ? &core->options : &plugin->desc.options;
	while (key[len] && wcore_table_row(rows, i, &row, sizeof(row)) &&
	       (!row.key || strcmp(row.key, key + len + 1) != 0))
		i++;
	return !key[len] || i < rows->count;
}

/* The plugin of the @i-th section; what is wrong with it is said at the section's place. */
static const struct wcore_plugin *find_at(struct finder *finder, const struct wcore_config *config,
					  size_t i, struct warren_err *err)
{
	const char *name = wcore_config_section_name(config, i);
	struct err_at at = wcore_config_section_place(config, i);
	struct warren_err own = ERR_INIT;
	const struct wcore_plugin *plugin;

	plugin = find_plugin(name, finder, &own);
	if (!plugin)
		err_add(err, &at, "%s", err_first(&own));
	err_free(&own);
	return plugin;
}

/* An item for each section that is a plugin's; one that cannot be loaded stays without. */
static int load_sections(struct finder *finder, const struct wcore_config *config,
			 struct wcore_plan *plan, struct warren_err *err)
{
	const char *name;
	size_t n = 0;
	int rc = 0;

	while (wcore_config_section_name(config, n))
		n++;
	plan->items = calloc(n + 1, sizeof(*plan->items));
	if (!plan->items)
		return -ENOMEM;
	for (size_t i = 0; (name = wcore_config_section_name(config, i)); i++) {
		const struct wcore_plugin *plugin;

		if (is_core_section(name))
			continue;
		plugin = find_at(finder, config, i, err);
		if (!plugin)
			rc = -EINVAL;
		else
			plan->items[plan->count++] = (struct wcore_plan_item){
				.plugin = plugin, .name = plugin->desc.name,
			};
	}
	return rc;
}

static struct wcore_conf_schema schema_of(const struct wcore_plan_item *item)
{
	const struct warren_plugin *d = &item->plugin->desc;

	return (struct wcore_conf_schema){
		.name = d->name, .brief = d->brief, .help = d->help, .options = d->options,
		.check = d->check, .implied_by = item->implied_by,
		.flags = item->implied_by ? WCORE_SCHEMA_ALWAYS : 0,
	};
}

static bool in_plan(const struct wcore_plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->count; i++)
		if (strcmp(plan->items[i].name, name) == 0)
			return true;
	return false;
}

static int bind_values(const struct wcore_plan_env *env, struct wcore_config *config,
		       const struct wcore_plan *plan, struct warren_err *err)
{
	const struct wcore_conf_schema *core;
	struct wcore_conf_schema *schemas;
	size_t n_core, sections = 0, n = 0;
	const char *name;
	int rc;

	core = wcore_core_schemas(&n_core);
	while (wcore_config_section_name(config, sections))
		sections++;
	schemas = calloc(n_core + plan->count + sections, sizeof(*schemas));
	if (!schemas)
		return -ENOMEM;
	for (; n < n_core; n++)
		schemas[n] = core[n];
	for (size_t i = 0; i < plan->count; i++)
		schemas[n++] = schema_of(&plan->items[i]);
	for (size_t i = 0; (name = wcore_config_section_name(config, i)); i++)
		if (!is_core_section(name) && !in_plan(plan, name))
			schemas[n++] = (struct wcore_conf_schema){
				.name = name, .flags = WCORE_SCHEMA_OPAQUE,
			};
	rc = wcore_config_bind(config, schemas, n, env->bind_flags, env->load, env->load_arg, err);
	free(schemas);
	return rc;
}

int wcore_plan_make(const struct wcore_plan_env *env, struct wcore_config *config,
		    struct wcore_plan *plan, struct warren_err *err)
{
	struct finder finder = { .env = env };
	int rc, bound;

	*plan = (struct wcore_plan){ 0 };
	rc = load_sections(&finder, config, plan, err);
	if (!rc)
		rc = wcore_plan_imply(plan, find_plugin, &finder, err);
	if (rc == -ENOMEM)
		goto fail;
	bound = bind_values(env, config, plan, err);
	if (rc || bound) {
		rc = rc ? rc : bound;
		goto fail;
	}
	for (size_t i = 0; i < plan->count; i++)
		plan->items[i].conf = wcore_config_section(config, plan->items[i].name);
	rc = wcore_plan_order(plan, suggest, &finder, err);
	if (!rc)
		return 0;
fail:
	wcore_plan_free(plan);
	return rc;
}

void wcore_plan_free(struct wcore_plan *plan)
{
	free(plan->items);
	*plan = (struct wcore_plan){ 0 };
}
