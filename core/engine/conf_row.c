/*
 * Option tables as the binder wants them: rows of our size, the rows of elements apart from those
 * of their containers, defaults parsed. A table comes from a plugin that somebody else may have
 * written, so that its mistakes are told and not asserted.
 */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "engine/conf_impl.h"
#include "engine/table.h"

static void fail(struct conf_bind *b, const char *what, const char *key, const char *mistake)
{
	err_add(b->err, NULL, "%s: mistake in the plugin, option \"%s\": %s", what,
		key ? key : "(any)", mistake);
}

const struct conf_row *conf_table_find(const struct conf_table *table, const char *key)
{
	for (uint32_t i = 0; i < table->count; i++) {
		if (str_equal(table->rows[i].opt.key, key))
			return &table->rows[i];
	}
	return NULL;
}

/* Reads `def`, a piece of YAML, as the value of a map of one key. */
static void compile_default(struct conf_bind *b, struct conf_row *row, const char *what)
{
	struct warren_err err = ERR_INIT, *outer = b->err;
	struct str text = STR_INIT;
	struct warren_conf *value = NULL;
	struct ytree_node *root;

	str_addf(&text, "value: %s\n", row->opt.def);
	b->defaults->n_files = 0;	/* only the last name is needed */
	if (ytree_parse(b->defaults, "default", str_text(&text), text.len, 0, &root, &err) == 0)
		row->def = ytree_get(root, "value");
	b->err = &err;
	b->in_default = true;
	if (row->def)
		value = conf_bind_alloc(b, sizeof(*value));
	if (value) {
		value->parent = &b->cfg->root;
		value->name = row->opt.key;
		/* A container is bound anew wherever it is used, and here only to be tested. */
		if (!conf_bind_value(b, row->def, row, value))
			row->def = NULL;
		else if (!row->elem && !row->sub)
			row->def_scalar = value;
	}
	b->in_default = false;
	b->err = outer;
	if (err_any(&err))
		err_add(outer, NULL, "%s: mistake in the plugin, default of \"%s\": %s", what,
			row->opt.key ? row->opt.key : "(any)", err_first(&err));
	err_free(&err);
	str_free(&text);
}

static void compile_row(struct conf_bind *b, const struct warren_option *opt, const char *what,
			uint32_t nesting, struct conf_row *row);

static struct conf_row *compile_element(struct conf_bind *b, const struct conf_row *row,
					uint32_t without, const char *what, uint32_t nesting)
{
	struct conf_row *elem = conf_bind_alloc(b, sizeof(*elem));
	struct warren_option opt = row->opt;

	if (!elem)
		return NULL;
	opt.flags &= ~(without | WARREN_REQUIRED | WARREN_DEPRECATED);
	opt.def = NULL;
	/* The elements of a scalar may have a row of their own, below the last container. */
	if (opt.type != WARREN_MAP && opt.sub.count > 0 &&
	    !(opt.flags & (WARREN_KEYED | WARREN_MANY)))
		wcore_table_row(&row->opt.sub, 0, &opt, sizeof(opt));
	compile_row(b, &opt, what, nesting + 1, elem);
	return elem;
}

static void compile_map(struct conf_bind *b, const char *what, uint32_t nesting,
			struct conf_row *row)
{
	struct conf_table *table = conf_table_compile(b, &row->opt.sub, what, nesting + 1);

	if (table && table->count == 1 && !table->rows[0].opt.key) {
		row->opt.flags |= WARREN_KEYED;
		row->elem = &table->rows[0];
	} else {
		row->sub = table;
	}
}

static void compile_row(struct conf_bind *b, const struct warren_option *opt, const char *what,
			uint32_t nesting, struct conf_row *row)
{
	row->opt = *opt;
	if (nesting > CONF_MAX_NESTING) {
		fail(b, what, opt->key, "tables are nested too deep");
		return;
	}
	if (opt->type < WARREN_BOOL || opt->type > WARREN_FD_DIR) {
		fail(b, what, opt->key, "unknown type");
		return;
	}
	if (opt->type == WARREN_ENUM && (!opt->values || !opt->values[0])) {
		fail(b, what, opt->key, "an enum without values");
		return;
	}
	if (opt->flags & (WARREN_KEYED | WARREN_MANY)) {
		row->elem = compile_element(b, row, opt->flags & WARREN_KEYED ? WARREN_KEYED :
					    WARREN_MANY, what, nesting);
		row->opt.check = NULL;
	} else if (opt->type == WARREN_MAP) {
		compile_map(b, what, nesting, row);
	}
	if (opt->def)
		compile_default(b, row, what);
}

struct conf_table *conf_table_compile(struct conf_bind *b, const struct warren_table *rows,
				      const char *what, uint32_t nesting)
{
	struct conf_table *table = conf_bind_alloc(b, sizeof(*table));
	struct warren_option opt;

	if (!table)
		return NULL;
	table->rows = conf_bind_alloc(b, rows->count * sizeof(*table->rows));
	if (!table->rows)
		return NULL;
	while (wcore_table_row(rows, table->count, &opt, sizeof(opt))) {
		if (!opt.key && rows->count != 1)
			fail(b, what, NULL, "a row without key must be the only one");
		else if (opt.key && conf_table_find(table, opt.key))
			fail(b, what, opt.key, "declared twice");
		compile_row(b, &opt, what, nesting, &table->rows[table->count++]);
	}
	return table;
}

void conf_section_compile(struct conf_bind *b, const struct wcore_conf_schema *schema,
			  struct conf_row *row)
{
	const struct warren_option opt = {
		.key = schema->name, .type = WARREN_MAP, .sub = schema->options,
		.brief = schema->brief, .help = schema->help,
	};

	row->implied_by = schema->implied_by;
	row->opt = opt;
	if (!(schema->flags & WCORE_SCHEMA_OPAQUE))
		compile_row(b, &opt, schema->name, 0, row);
}
