/*
 * From the bare tree to values: every node meets its row. Nothing stops at the first error; a value
 * that is wrong is left absent and the walk goes on, so that one run tells all there is to tell.
 */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/conf_impl.h"

enum { LISTED_KEYS = 12, SHOWN_BYTES = 60 };

void *conf_bind_alloc(struct conf_bind *b, size_t size)
{
	void *p = arena_alloc(&b->cfg->arena, size);

	if (!p)
		err_add(b->err, NULL, "no memory for the configuration");
	return p;
}

char *conf_bind_text(struct conf_bind *b, const char *text)
{
	char *p = arena_text(&b->cfg->arena, text, strlen(text));

	if (!p)
		err_add(b->err, NULL, "no memory for the configuration");
	return p;
}

static struct err_at place(const struct conf_bind *b, const struct ytree_node *node, uint32_t line,
			   uint32_t column)
{
	if (b->in_default || node->file >= b->cfg->n_files)
		return (struct err_at){ 0 };
	return (struct err_at){ .file = b->cfg->files[node->file], .order = node->file,
				.line = line, .column = column };
}

struct err_at conf_bind_place(const struct conf_bind *b, const struct ytree_node *node)
{
	return place(b, node, node->line, node->column);
}

static struct err_at key_place(const struct conf_bind *b, const struct ytree_node *node)
{
	if (node->key_line == 0)
		return conf_bind_place(b, node);
	return place(b, node, node->key_line, node->key_column);
}

/* Where the value is said to stand: a scalar where it is, a container where its key is. */
static void set_place(const struct conf_bind *b, const struct ytree_node *node,
		      struct warren_conf *value)
{
	bool by_key = node->key_line > 0 && node->kind != YTREE_SCALAR;

	value->file = b->in_default ? CONF_FILE_DEFAULT : node->file;
	value->line = b->in_default ? 0 : by_key ? node->key_line : node->line;
	value->column = by_key ? node->key_column : node->column;
}

/* "static.peers.nas" for sentences; the top level has no name. */
static const char *path_of(const struct warren_conf *value, struct str *path)
{
	str_cut(path, 0);
	wcore_conf_path(value, NULL, path, NULL);
	return str_text(path);
}

static void fail_unknown(struct conf_bind *b, const struct ytree_node *node,
			 const struct warren_conf *map)
{
	const struct conf_table *table = map->row->sub;
	const char *dashes = b->command ? "--" : "";
	struct str_guess guess = { .word = node->key };
	struct str path = STR_INIT, text = STR_INIT;
	struct err_at at = { 0 };

	if (!b->command)
		at = key_place(b, node);
	for (uint32_t i = 0; i < table->count; i++)
		str_guess_try(&guess, table->rows[i].opt.key);
	str_addf(&text, "unknown option \"%s", dashes);
	str_add_clean(&text, node->key, strlen(node->key), SHOWN_BYTES);
	str_addc(&text, '"');
	if (!b->command)
		str_addf(&text, " in %s", path_of(map, &path));
	if (guess.best) {
		str_addf(&text, "; did you mean \"%s%s\"?", dashes, guess.best);
	} else if (table->count == 0) {
		str_add(&text, "; there are no options");
	} else if (table->count <= LISTED_KEYS) {
		str_add(&text, "; there are");
		for (uint32_t i = 0; i < table->count; i++)
			str_addf(&text, "%s %s%s", i ? "," : "", dashes, table->rows[i].opt.key);
	}
	err_add(b->err, &at, "%s", str_text(&text));
	str_free(&path);
	str_free(&text);
}

static void fail_missing(struct conf_bind *b, const struct conf_row *row,
			 const struct warren_conf *map)
{
	struct err_at at = conf_place(map);
	struct str path = STR_INIT, type = STR_INIT;

	conf_type_expected(&row->opt, &type);
	if (!b->command)
		err_add(b->err, &at, "%s needs \"%s\", %s", path_of(map, &path), row->opt.key,
			str_text(&type));
	else if (row->opt.flags & WARREN_POSITIONAL)
		err_add(b->err, NULL, "the operand %s is missing: %s", row->opt.key,
			str_text(&type));
	else
		err_add(b->err, NULL, "--%s is missing: %s", row->opt.key, str_text(&type));
	str_free(&path);
	str_free(&type);
}

static void fail_type(struct conf_bind *b, const struct ytree_node *node,
		      const struct conf_row *row, const struct warren_conf *value)
{
	static const char *const got[] = {
		[YTREE_NULL] = "nothing", [YTREE_SCALAR] = "a single value",
		[YTREE_LIST] = "a list", [YTREE_MAP] = "a map",
	};
	struct err_at at = conf_bind_place(b, node);
	struct str type = STR_INIT;

	if (node->kind != YTREE_SCALAR)
		at = key_place(b, node);
	conf_type_expected(&row->opt, &type);
	err_add(b->err, &at, "\"%s\" must be %s, not %s", value->name, str_text(&type),
		got[node->kind]);
	str_free(&type);
}

/* A key with nothing behind it: probably unfinished. */
static void fail_empty(struct conf_bind *b, const struct ytree_node *node,
		       const struct conf_row *row, const struct warren_conf *value)
{
	struct err_at at = key_place(b, node);
	struct str type = STR_INIT;

	conf_type_expected(&row->opt, &type);
	err_add(b->err, &at, "\"%s\" has no value; write %s%s, or take it out", value->name,
		row->opt.flags & WARREN_MANY ? "a list, [] for an empty one, or " : "",
		str_text(&type));
	str_free(&type);
}

static void bind_absent(struct conf_bind *b, const struct conf_row *row, struct warren_conf *map,
			struct warren_conf *value)
{
	bool outer = b->in_default;

	value->row = row;
	value->parent = map;
	value->name = row->opt.key;
	value->file = CONF_FILE_DEFAULT;
	if (row->opt.flags & WARREN_DEPRECATED)
		return;
	if (row->opt.flags & WARREN_REQUIRED) {
		fail_missing(b, row, map);
		return;
	}
	if (row->def_scalar) {
		*value = *row->def_scalar;
		value->parent = map;
	} else if (row->def && (row->elem || row->sub)) {
		b->in_default = true;
		conf_bind_value(b, row->def, row, value);
		b->in_default = outer;
	}
}

static void bind_child(struct conf_bind *b, const struct ytree_node *node, struct warren_conf *map)
{
	const struct conf_row *row = conf_table_find(map->row->sub, node->key);
	struct warren_conf *value;
	struct err_at at;

	if (!row) {
		fail_unknown(b, node, map);
		return;
	}
	value = &map->of.items[row - map->row->sub->rows];
	value->row = row;
	value->parent = map;
	value->name = row->opt.key;
	if (row->opt.flags & WARREN_DEPRECATED) {
		at = key_place(b, node);
		err_note(b->err, &at, "\"%s\" is deprecated and ignored: %s", node->key,
			 row->opt.brief ? row->opt.brief : "take it out.");
		return;
	}
	conf_bind_value(b, node, row, value);
}

/* The map that a single value stands for: WARREN_OR_TEXT. */
static void spell_out(const struct ytree_node *scalar, const struct conf_row *row,
		      struct ytree_node *map, struct ytree_node *only)
{
	const struct warren_option *first = row->opt.sub.rows;

	*only = *scalar;
	only->key = first->key;
	only->key_line = 0;
	only->next = NULL;
	*map = *scalar;
	map->kind = YTREE_MAP;
	map->count = 1;
	map->first = only;
}

static bool bind_map(struct conf_bind *b, const struct ytree_node *node, const struct conf_row *row,
		     struct warren_conf *value)
{
	struct ytree_node map, only;

	if (node->kind == YTREE_SCALAR && row->opt.flags & WARREN_OR_TEXT && row->sub) {
		spell_out(node, row, &map, &only);
		node = &map;
	}
	if (node->kind != YTREE_MAP && node->kind != YTREE_NULL) {
		fail_type(b, node, row, value);
		return false;
	}
	if (!row->sub)
		return false;		/* the plugin's mistake, told when the table was read */
	value->of.items = conf_bind_alloc(b, row->sub->count * sizeof(*value->of.items));
	if (!value->of.items)
		return false;
	value->of.count = row->sub->count;
	value->shape = CONF_MAP;
	for (const struct ytree_node *n = node->kind == YTREE_MAP ? node->first : NULL; n;
	     n = n->next)
		bind_child(b, n, value);
	for (uint32_t i = 0; i < row->sub->count; i++) {
		if (!value->of.items[i].row)
			bind_absent(b, &row->sub->rows[i], value, &value->of.items[i]);
	}
	return true;
}

static bool bind_keyed(struct conf_bind *b, const struct ytree_node *node,
		       const struct conf_row *row, struct warren_conf *value)
{
	struct warren_conf *item;

	if (node->kind != YTREE_MAP && node->kind != YTREE_NULL) {
		fail_type(b, node, row, value);
		return false;
	}
	value->of.items = conf_bind_alloc(b, node->count * sizeof(*value->of.items));
	if (!value->of.items)
		return false;
	value->shape = CONF_KEYED;
	for (const struct ytree_node *n = node->count ? node->first : NULL; n; n = n->next) {
		struct err_at at = key_place(b, n);

		if (!*n->key)
			err_add(b->err, &at, "\"%s\" has an entry without a name; name it",
				value->name);
		item = &value->of.items[value->of.count++];
		item->row = row->elem;
		item->parent = value;
		item->name = conf_bind_text(b, n->key);
		if (item->name)
			conf_bind_value(b, n, row->elem, item);
	}
	return true;
}

static bool bind_many(struct conf_bind *b, const struct ytree_node *node,
		      const struct conf_row *row, struct warren_conf *value)
{
	const struct ytree_node *first = node->kind == YTREE_LIST ? node->first : node;
	uint32_t count = node->kind == YTREE_LIST ? node->count : 1;

	if (node->kind == YTREE_NULL) {
		fail_empty(b, node, row, value);
		return false;
	}
	value->of.items = conf_bind_alloc(b, count * sizeof(*value->of.items));
	if (!value->of.items)
		return false;
	value->shape = CONF_LIST;
	for (const struct ytree_node *n = first; n && value->of.count < count; n = n->next) {
		struct warren_conf *item = &value->of.items[value->of.count++];
		struct err_at at = conf_bind_place(b, n);

		item->row = row->elem;
		item->parent = value;
		item->name = value->name;
		if (n->kind == YTREE_NULL)
			err_add(b->err, &at, "\"%s\" has an empty element; take it out",
				value->name);
		else
			conf_bind_value(b, n, row->elem, item);
	}
	return true;
}

static bool bind_scalar(struct conf_bind *b, const struct ytree_node *node,
			const struct conf_row *row, struct warren_conf *value)
{
	struct err_at at = conf_bind_place(b, node);

	if (node->kind == YTREE_SCALAR)
		return conf_scalar_parse(b, &at, node->text, value);
	if (node->kind == YTREE_NULL)
		fail_empty(b, node, row, value);
	else
		fail_type(b, node, row, value);
	return false;
}

bool conf_bind_value(struct conf_bind *b, const struct ytree_node *node,
		     const struct conf_row *row, struct warren_conf *value)
{
	uint32_t before = b->err->errors;
	bool ok;

	value->row = row;
	set_place(b, node, value);
	if (row->opt.flags & WARREN_KEYED)
		ok = row->elem && bind_keyed(b, node, row, value);
	else if (row->opt.flags & WARREN_MANY)
		ok = row->elem && bind_many(b, node, row, value);
	else if (row->opt.type == WARREN_MAP)
		ok = bind_map(b, node, row, value);
	else if (row->opt.type == WARREN_SECRET_REF)
		ok = conf_secret_bind(b, node, value);
	else
		ok = bind_scalar(b, node, row, value);
	if (!ok)
		value->shape = CONF_NONE;
	if (b->err->errors != before || !ok)
		return false;
	if (row->opt.check && row->opt.check(value, b->err) < 0 && b->err->errors == before)
		warren_fail(b->err, value, "\"%s\" is not accepted", value->name);
	return b->err->errors == before;
}

static const struct wcore_conf_schema *find_schema(const struct wcore_conf_schema *schemas,
						   size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(schemas[i].name, name) == 0)
			return &schemas[i];
	}
	return NULL;
}

static void fail_section(struct conf_bind *b, const struct ytree_node *node,
			 const struct wcore_conf_schema *schemas, size_t count)
{
	struct str_guess guess = { .word = node->key };
	struct err_at at = key_place(b, node);
	struct str name = STR_INIT;

	for (size_t i = 0; i < count; i++)
		str_guess_try(&guess, schemas[i].name);
	str_add_clean(&name, node->key, strlen(node->key), SHOWN_BYTES);
	if (guess.best)
		err_add(b->err, &at, "unknown section \"%s\"; did you mean \"%s\"?",
			str_text(&name), guess.best);
	else
		err_add(b->err, &at, "unknown section \"%s\": no plugin of that name is installed; "
			"install it or take the section out", str_text(&name));
	str_free(&name);
}

static void bind_section(struct conf_bind *b, const struct ytree_node *node,
			 const struct wcore_conf_schema *schema)
{
	static const struct ytree_node nothing = { .kind = YTREE_MAP };
	struct conf_row *row = &b->cfg->sections.rows[b->cfg->sections.count++];
	struct warren_conf *value = &b->cfg->root.of.items[b->cfg->root.of.count++];
	uint32_t before = b->err->errors;

	conf_section_compile(b, schema, row);
	value->row = row;
	value->parent = &b->cfg->root;
	value->name = schema->name;
	value->file = CONF_FILE_DEFAULT;
	if (schema->flags & WCORE_SCHEMA_OPAQUE) {
		if (node)
			set_place(b, node, value);
		return;
	}
	b->in_default = !node;
	if (row->sub || row->elem)
		conf_bind_value(b, node ? node : &nothing, row, value);
	b->in_default = false;
	if (b->err->errors == before && schema->check && schema->check(value, b->err) < 0 &&
	    b->err->errors == before)
		warren_fail(b->err, value, "section \"%s\" is not accepted", schema->name);
}

static void bind_root(struct conf_bind *b, const struct wcore_conf_schema *schemas, size_t count)
{
	struct wcore_config *cfg = b->cfg;
	const struct ytree_node *top = cfg->top && cfg->top->kind == YTREE_MAP ? cfg->top : NULL;
	size_t most = count + (top ? top->count : 0);

	cfg->sections.rows = conf_bind_alloc(b, most * sizeof(*cfg->sections.rows));
	cfg->root.of.items = conf_bind_alloc(b, most * sizeof(*cfg->root.of.items));
	if (!cfg->sections.rows || !cfg->root.of.items)
		return;
	for (const struct ytree_node *n = top ? top->first : NULL; n; n = n->next) {
		const struct wcore_conf_schema *schema = find_schema(schemas, count, n->key);

		if (schema)
			bind_section(b, n, schema);
		else
			fail_section(b, n, schemas, count);
	}
	for (size_t i = 0; i < count; i++) {
		if ((schemas[i].flags & WCORE_SCHEMA_ALWAYS) && !ytree_get(top, schemas[i].name))
			bind_section(b, NULL, &schemas[i]);
	}
}

int wcore_config_bind(struct wcore_config *cfg, const struct wcore_conf_schema *schemas,
		      size_t count, uint32_t flags, wcore_secret_fn *load, void *arg,
		      struct warren_err *err)
{
	struct warren_err own = ERR_INIT;
	struct conf_bind b = {
		.cfg = cfg, .flags = flags, .load = load, .load_arg = arg,
		.err = err ? err : &own, .command = cfg->command,
	};
	uint32_t before = b.err->errors;
	int result;

	b.defaults = ytree_new();
	if (b.defaults)
		bind_root(&b, schemas, count);
	else
		err_add(b.err, NULL, "no memory for the configuration");
	result = b.err->errors == before ? 0 : -EINVAL;
	ytree_free(b.defaults);
	ytree_free(TAKE_PTR(cfg->tree));
	cfg->top = NULL;
	err_free(&own);
	return result;
}
