/*
 * Every row of every table of the core and of every plugin explains itself: brief, unit, example.
 * And the options whose change restarts a plugin are exactly those that tests/lint/restart-allowed
 * names: a restart takes the plugin's dependents and their sessions with it.
 *
 * Walks the core's tables and the descriptors of all modules of the build tree, by stride and count
 * as the core does.
 */
#include <warren/plugin.h>

#include <ctype.h>
#include <dlfcn.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cmd.h"
#include "engine/conf.h"

enum { BRIEF_MAX = 80 };

static unsigned findings, rows;
static char restarts[64][128];
static size_t restart_count;

static void finding(const char *fmt, ...) WARREN_PRINTF(1, 2);

static void finding(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	findings++;
}

static const void *row_at(const struct warren_table *table, uint32_t i)
{
	rows++;
	return (const char *)table->rows + (size_t)i * table->stride;
}

static void check_brief(const char *where, const char *brief)
{
	size_t len = brief ? strlen(brief) : 0;

	if (len == 0)
		finding("%s: no brief", where);
	else if (brief[len - 1] != '.' || strchr(brief, '\n'))
		finding("%s: brief is not one line that ends with a period", where);
	else if (len > BRIEF_MAX)
		finding("%s: brief is longer than %d bytes", where, BRIEF_MAX);
}

/* Names are what an operator types or greps for: lower case, digits, the given separators. */
static bool name_ok(const char *name, const char *separators)
{
	if (!name || !*name)
		return false;
	for (; *name; name++) {
		if (!islower((unsigned char)*name) && !isdigit((unsigned char)*name) &&
		    !strchr(separators, *name))
			return false;
	}
	return true;
}

static void check_options(const char *above, const struct warren_table *table);

static void check_option(const char *above, const struct warren_option *option)
{
	char where[128];

	/* The one row of a keyed or listed scalar has no key and stands for its elements. */
	if (snprintf(where, sizeof(where), "%s.%s", above, option->key ? option->key : "*") >=
	    (int)sizeof(where))
		finding("%s: key path too long", where);
	if (option->key && !name_ok(option->key, "-"))
		finding("%s: keys are lower case, digits and dashes", where);
	if (option->type < WARREN_BOOL || option->type > WARREN_FD_DIR)
		finding("%s: unknown type %u", where, option->type);
	if (option->key)
		check_brief(where, option->brief);
	if (option->type == WARREN_ENUM && (!option->values || !option->values[0]))
		finding("%s: an enum without values", where);
	if (option->type == WARREN_MAP && option->sub.count == 0)
		finding("%s: a map without rows", where);
	if ((option->flags & WARREN_REQUIRED) && option->def)
		finding("%s: required, but has a default", where);
	if (option->flags & WARREN_RESTART) {
		if (restart_count < sizeof(restarts) / sizeof(restarts[0]))
			memcpy(restarts[restart_count++], where, sizeof(where));
		else
			finding("%s: too many restart options for this lint", where);
	}
	check_options(where, &option->sub);
}

static void check_options(const char *above, const struct warren_table *table)
{
	for (uint32_t i = 0; i < table->count; i++)
		check_option(above, row_at(table, i));
}

static void check_commands(const struct warren_plugin *plugin)
{
	for (uint32_t i = 0; i < plugin->commands.count; i++) {
		const struct warren_command *command = row_at(&plugin->commands, i);
		char where[128];

		/* The client's own questions: no operator types or reads them. */
		if (!strncmp(command->path, "__", 2))
			continue;
		snprintf(where, sizeof(where), "%s: command %s", plugin->name, command->path);
		if (!name_ok(command->path, "- "))
			finding("%s: words are lower case, digits and dashes", where);
		check_brief(where, command->brief);
		if (!command->help || !*command->help)
			finding("%s: no help", where);
		if (!command->example || !*command->example)
			finding("%s: no example", where);
		if (!command->run)
			finding("%s: no run", where);
		check_options(where, &command->args);
	}
}

static void check_metrics(const struct warren_plugin *plugin)
{
	for (uint32_t i = 0; i < plugin->metrics.count; i++) {
		const struct warren_metric *metric = row_at(&plugin->metrics, i);
		char where[128];

		snprintf(where, sizeof(where), "%s: metric %s", plugin->name, metric->name);
		if (!name_ok(metric->name, "_"))
			finding("%s: names are lower case, digits and underscores", where);
		if (metric->kind != WARREN_COUNTER && metric->kind != WARREN_GAUGE)
			finding("%s: unknown kind", where);
		if (!metric->unit || !*metric->unit)
			finding("%s: no unit", where);
		check_brief(where, metric->brief);
	}
}

static void check_checks(const struct warren_plugin *plugin)
{
	size_t len = strlen(plugin->name);

	for (uint32_t i = 0; i < plugin->checks.count; i++) {
		const struct warren_check *check = row_at(&plugin->checks, i);
		char where[128];

		snprintf(where, sizeof(where), "%s: check %s", plugin->name, check->id);
		if (!name_ok(check->id, "-.") || strncmp(check->id, plugin->name, len) != 0 ||
		    check->id[len] != '.')
			finding("%s: an id is PLUGIN.WORDS", where);
		check_brief(where, check->brief);
		if (!check->help || !*check->help)
			finding("%s: no help", where);
		if (!check->run)
			finding("%s: no run", where);
	}
}

static void check_ports(const struct warren_plugin *plugin, const char *kind,
			const struct warren_table *table)
{
	for (uint32_t i = 0; i < table->count; i++) {
		const struct warren_port *port = row_at(table, i);
		char where[128];

		snprintf(where, sizeof(where), "%s: %s %s", plugin->name, kind, port->name);
		if (!name_ok(port->name, "-."))
			finding("%s: names are lower case, digits and dashes", where);
		if ((port->flags & WARREN_ENABLE) && !port->provider)
			finding("%s: enable without a provider", where);
		check_brief(where, port->brief);
	}
}

static void check_topics(const struct warren_plugin *plugin)
{
	for (uint32_t i = 0; i < plugin->topics.count; i++) {
		const struct warren_topic *topic = row_at(&plugin->topics, i);
		char where[128];

		snprintf(where, sizeof(where), "%s: topic %s", plugin->name, topic->name);
		check_brief(where, topic->brief);
	}
}

static void check_plugin(const char *path)
{
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	const struct warren_plugin *plugin;

	if (!module) {
		finding("%s", dlerror());
		return;
	}
	plugin = dlsym(module, "warren_plugin_entry");
	if (!plugin || plugin->magic != WARREN_ABI_MAGIC || !name_ok(plugin->name, "-")) {
		finding("%s: no plugin", path);
		return;
	}
	check_brief(plugin->name, plugin->brief);
	if (!plugin->help || !*plugin->help)
		finding("%s: no help", plugin->name);
	if (!plugin->version || !plugin->license)
		finding("%s: no version or no license", plugin->name);
	if (!plugin->start)
		finding("%s: no start", plugin->name);
	check_options(plugin->name, &plugin->options);
	check_commands(plugin);
	check_metrics(plugin);
	check_checks(plugin);
	check_ports(plugin, "need", &plugin->needs);
	check_ports(plugin, "offer", &plugin->offers);
	check_topics(plugin);
}

static void check_core(void)
{
	struct warren_plugin core = { .name = "core" };
	const struct wcore_conf_schema *schemas;
	size_t count;

	core.commands = wcore_verbs;
	core.checks = wcore_checks;
	check_commands(&core);
	check_checks(&core);
	schemas = wcore_core_schemas(&count);
	for (size_t i = 0; i < count; i++) {
		check_brief(schemas[i].name, schemas[i].brief);
		check_options(schemas[i].name, &schemas[i].options);
	}
}

/* Both ways: what restarts is allowed to, and what is allowed still exists. */
static void check_restarts(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[128];

	if (!file) {
		finding("%s: cannot be read", path);
		return;
	}
	while (fgets(line, sizeof(line), file)) {
		bool used = false;

		line[strcspn(line, "\n")] = '\0';
		for (size_t i = 0; i < restart_count; i++) {
			if (!strcmp(restarts[i], line)) {
				restarts[i][0] = '\0';
				used = true;
			}
		}
		if (!used)
			finding("%s: in %s, but restarts nothing", line, path);
	}
	fclose(file);
	for (size_t i = 0; i < restart_count; i++) {
		if (restarts[i][0])
			finding("%s: restarts its plugin and is not in %s", restarts[i], path);
	}
}

int main(void)
{
	const char *src = getenv("WARREN_SRCDIR"), *build = getenv("WARREN_BUILDDIR");
	char pattern[4096], allowed[4096];
	glob_t modules;

	if (!src || !build)
		return 99;
	snprintf(pattern, sizeof(pattern), "%s/plugins/.libs/*.so", build);
	snprintf(allowed, sizeof(allowed), "%s/tests/lint/restart-allowed", src);
	check_core();
	if (glob(pattern, 0, NULL, &modules) != 0) {
		if (findings)
			return 1;
		printf("skipped: no plugin was built as a module\n");
		return 77;
	}
	for (size_t i = 0; i < modules.gl_pathc; i++)
		check_plugin(modules.gl_pathv[i]);
	check_restarts(allowed);
	printf("%zu plugins, %u rows, %u findings\n", modules.gl_pathc, rows, findings);
	globfree(&modules);
	return findings ? 1 : 0;
}
