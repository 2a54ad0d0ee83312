/*
 * genman: makes manual pages from prose and from the tables of the core and of all plugins.
 *
 *	genman PLUGIN-DIR PAGE.in	prints the page; a line  .\" @commands@  (or another part's
 *					name) is replaced by that part
 *	genman PLUGIN-DIR keys		prints one line per option: key, type, default
 *
 * Runs while Warren is built, with the plugins that were just built, so that a page cannot tell of
 * an option that is not there.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <warren/plugin.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/cmd.h"
#include "engine/conf.h"
#include "engine/describe.h"
#include "engine/help.h"
#include "engine/installed.h"
#include "engine/plugin_load.h"
#include "engine/table.h"

struct genman {
	struct wcore_installed installed;
	struct wcore_cmds cmds;
	struct str out;
};

/* Text for the manual; mdoc wants each sentence on a line of its own. */
static void add_text(struct str *out, const char *text)
{
	while (*text) {
		const char *end = strstr(text, ". ");
		size_t len = end ? (size_t)(end - text) + 1 : strlen(text);
		AUTO(auto_free) char *sentence = strndup(text, len);

		if (!sentence) {
			out->failed = true;
			return;
		}
		wcore_describe_escape_mdoc(sentence, out);
		str_addc(out, '\n');
		text += len;
		text += strspn(text, " ");
	}
}

/* ".It Fl -name Ar VALUE" */
static void add_item(struct str *out, const struct warren_option *row)
{
	AUTO(str_free) struct str value = STR_INIT;

	wcore_help_value(row, &value);
	if (row->flags & WARREN_POSITIONAL)
		str_addf(out, ".It Ar %s%s\n", str_text(&value),
			 row->flags & WARREN_MANY ? " ..." : "");
	else if (row->type == WARREN_BOOL)
		str_addf(out, ".It Fl -%s , Fl -no-%s\n", row->key, row->key);
	else
		str_addf(out, ".It Fl -%s Ar %s\n", row->key, str_text(&value));
}

static void add_row(struct str *out, const struct warren_option *row)
{
	AUTO(str_free) struct str type = STR_INIT;
	AUTO(str_free) struct str words = STR_INIT;

	add_item(out, row);
	wcore_describe_row(row, &type);
	str_addf(&words, "%s (%s)", row->brief, str_text(&type));
	add_text(out, str_text(&words));
	if (row->help)
		add_text(out, row->help);
}

static void add_args(struct str *out, const struct warren_table *rows)
{
	struct warren_option row;

	if (rows->count == 0)
		return;
	str_add(out, ".Pp\n.Bl -tag -width Ds -compact\n");
	for (uint32_t i = 0; wcore_table_row(rows, i, &row, sizeof(row)); i++)
		add_row(out, &row);
	str_add(out, ".El\n");
}

static void add_head(struct str *out, const struct wcore_cmd *cmd)
{
	struct warren_option row;

	str_addf(out, ".It Ic %s", cmd->row.path);
	for (uint32_t i = 0; wcore_table_row(&cmd->row.args, i, &row, sizeof(row)); i++) {
		AUTO(str_free) struct str value = STR_INIT;
		bool optional = !(row.flags & WARREN_REQUIRED);

		wcore_help_value(&row, &value);
		str_add(out, optional ? " Oo" : "");
		if (row.flags & WARREN_POSITIONAL)
			str_addf(out, " Ar %s%s", str_text(&value),
				 row.flags & WARREN_MANY ? " ..." : "");
		else if (row.type == WARREN_BOOL)
			str_addf(out, " Fl -%s", row.key);
		else
			str_addf(out, " Fl -%s Ar %s", row.key, str_text(&value));
		str_add(out, optional ? " Oc" : "");
	}
	str_addc(out, '\n');
}

static void add_command(struct str *out, const struct wcore_cmd *cmd)
{
	uint32_t scope = cmd->row.flags & WCORE_CMD_SCOPE;

	add_head(out, cmd);
	add_text(out, cmd->row.brief);
	if (cmd->row.help)
		add_text(out, cmd->row.help);
	if (cmd->plugin)
		str_addf(out, "A command of the plugin\n.Sy %s .\n", cmd->plugin);
	if (scope == WARREN_CMD_ROOT)
		str_add(out, "Only root may do this.\n");
	else if (scope == WARREN_CMD_OPERATOR)
		str_add(out, "Only root and the operator may do this.\n");
	if (cmd->row.flags & WARREN_CMD_OFFLINE)
		str_add(out, "Needs no daemon.\n");
	add_args(out, &cmd->row.args);
	if (cmd->row.example) {
		str_add(out, ".Pp\n.Dl ");
		wcore_describe_escape_mdoc(cmd->row.example, out);
		str_addc(out, '\n');
	}
}

static void part_commands(struct genman *g)
{
	str_add(&g->out, ".Bl -tag -width Ds\n");
	for (size_t i = 0; i < g->cmds.count; i++)
		if (!wcore_cmd_hidden(&g->cmds.v[i]))
			add_command(&g->out, &g->cmds.v[i]);
	str_add(&g->out, ".El\n");
}

static void part_sections(struct genman *g)
{
	for (size_t i = 0; i < g->installed.n_schemas; i++) {
		const struct wcore_conf_schema *schema = &g->installed.schemas[i];

		str_addf(&g->out, ".Ss %s\n", schema->name);
		if (schema->brief)
			add_text(&g->out, schema->brief);
		if (schema->help) {
			str_add(&g->out, ".Pp\n");
			add_text(&g->out, schema->help);
		}
		wcore_describe_mdoc(schema, &g->out);
	}
}

/* What a build without plugins says, since a list must not be empty. */
static bool no_plugins(struct genman *g)
{
	if (g->installed.count == 0)
		str_add(&g->out, "This build has no plugins.\n");
	return g->installed.count == 0;
}

static void part_metrics(struct genman *g)
{
	if (no_plugins(g))
		return;
	str_add(&g->out, ".Bl -tag -width Ds\n");
	for (size_t i = 0; i < g->installed.count; i++) {
		const struct warren_plugin *desc = &g->installed.plugins[i]->desc;
		struct warren_metric row;

		for (uint32_t k = 0; wcore_table_row(&desc->metrics, k, &row, sizeof(row)); k++) {
			str_addf(&g->out, ".It Li warren_%s_%s\n", desc->name, row.name);
			add_text(&g->out, row.brief);
			str_addf(&g->out, "%s, unit %s%s%s.\n",
				 row.kind == WARREN_COUNTER ? "Counter" : "Gauge", row.unit,
				 row.label ? ", by " : "", row.label ? row.label : "");
		}
	}
	str_add(&g->out, ".El\n");
}

static void add_ports(struct str *out, const char *verb, const struct warren_table *table)
{
	struct warren_port row;

	for (uint32_t i = 0; wcore_table_row(table, i, &row, sizeof(row)); i++)
		str_addf(out, "%s\n.Sy %s\n%u.%u%s", i == 0 ? verb : ",", row.name, row.major,
			 row.minor, row.flags & WARREN_SOFT ? " (optional)" : "");
	if (table->count > 0)
		str_add(out, ".\n");
}

static void part_plugins(struct genman *g)
{
	if (no_plugins(g))
		return;
	str_add(&g->out, ".Bl -tag -width Ds\n");
	for (size_t i = 0; i < g->installed.count; i++) {
		const struct warren_plugin *desc = &g->installed.plugins[i]->desc;

		str_addf(&g->out, ".It Sy %s\n", desc->name);
		add_text(&g->out, desc->brief);
		add_ports(&g->out, "Offers", &desc->offers);
		add_ports(&g->out, "Needs", &desc->needs);
	}
	str_add(&g->out, ".El\n");
}

/*
 * ---- The index of keys ----
 */

static void index_rows(struct str *out, const char *above, const struct warren_table *rows)
{
	struct warren_option row;

	for (uint32_t i = 0; wcore_table_row(rows, i, &row, sizeof(row)); i++) {
		AUTO(str_free) struct str path = STR_INIT;
		AUTO(str_free) struct str type = STR_INIT;

		/* The one row without key is the element of a map whose keys are free. */
		if (!row.key)
			continue;
		str_addf(&path, "%s.%s%s", above, row.key,
			 row.flags & WARREN_KEYED ? ".*" : row.flags & WARREN_MANY ? "[]" : "");
		wcore_describe_row(&row, &type);
		str_addf(out, "%s: %s\n", str_text(&path), str_text(&type));
		index_rows(out, str_text(&path), &row.sub);
	}
}

static void part_keys(struct genman *g)
{
	for (size_t i = 0; i < g->installed.n_schemas; i++)
		index_rows(&g->out, g->installed.schemas[i].name, &g->installed.schemas[i].options);
}

static const struct {
	const char *name;
	void (*add)(struct genman *g);
} parts[] = {
	{ "commands", part_commands },
	{ "keys", part_keys },
	{ "metrics", part_metrics },
	{ "plugins", part_plugins },
	{ "sections", part_sections },
};

static bool add_part(struct genman *g, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (strcmp(parts[i].name, name) == 0) {
			parts[i].add(g);
			return true;
		}
	}
	return false;
}

static int make_page(struct genman *g, const char *path)
{
	FILE *page = fopen(path, "re");
	char line[1024], name[32], end;
	int ret = 0;

	if (!page) {
		fprintf(stderr, "genman: cannot open %s: %s\n", path, strerror(errno));
		return 1;
	}
	while (ret == 0 && fgets(line, sizeof(line), page)) {
		if (sscanf(line, ".\\\" @%31[a-z]@%c", name, &end) != 2) {
			str_add(&g->out, line);
		} else if (!add_part(g, name)) {
			fprintf(stderr, "genman: %s: there is no part \"%s\"\n", path, name);
			ret = 1;
		}
	}
	fclose(page);
	return ret;
}

int main(int argc, char **argv)
{
	struct genman g = { .out = STR_INIT };
	struct warren_err err = ERR_INIT;
	int ret;

	if (argc != 3) {
		fprintf(stderr, "Usage: genman PLUGIN-DIR PAGE.in|PART\n");
		return 2;
	}
	if (wcore_installed_load(&g.installed, argv[1], geteuid(), &err) < 0 ||
	    wcore_installed_commands(&g.installed, &g.cmds, &err) < 0 || err.notes > 0) {
		AUTO(str_free) struct str text = STR_INIT;

		err_print(&err, &text);
		fprintf(stderr, "genman: %s\n", str_text(&text));
		return 1;
	}
	ret = strchr(argv[2], '.') ? make_page(&g, argv[2]) : !add_part(&g, argv[2]);
	if (ret == 0 && (g.out.failed || fputs(str_text(&g.out), stdout) == EOF ||
			 fflush(stdout) == EOF)) {
		fprintf(stderr, "genman: cannot write: %s\n", strerror(errno));
		ret = 1;
	}
	wcore_cmds_free(&g.cmds);
	wcore_installed_free(&g.installed);
	str_free(&g.out);
	err_free(&err);
	return ret;
}
