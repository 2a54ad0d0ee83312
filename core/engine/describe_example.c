/*
 * Option tables as a sample file. Every option is there, switched off by a "#" that stands right
 * before it; explanations have a space after theirs. So one can uncomment an option by deleting a
 * character, and a test can uncomment them all and bind the result.
 *
 * A role is a list of key paths that are switched on: a section alone means "on, with defaults", a
 * path of options brings along whatever is required or has an example below it.
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "engine/describe_impl.h"
#include "engine/table.h"

enum { TEXT_COLUMNS = 78, INDENT = 2 };

enum { ROLE_PATHS = 8 };

static const struct wcore_describe_role roles[] = {
	{ "mesh", "A gateway whose peers are written down by hand." },
};
static const char *const role_paths[ARRAY_SIZE(roles)][ROLE_PATHS + 1] = {
	{ "node.hostname", "identity", "wg", "static.addresses", "static.peers", "router",
	  "filter" },
};

struct example {
	struct str *out;
	const char *const *paths;	/* of the role; NULL: everything is switched off */
	struct str path;
	uint32_t columns, nesting;
};

/* @a is @b or lies below it. */
static bool is_below(const char *a, const char *b)
{
	size_t len = strlen(b);

	return strncmp(a, b, len) == 0 && (a[len] == '\0' || a[len] == '.');
}

/* Whether the option at the path is switched on; @above: what it belongs to is. */
static bool is_live(const struct example *ex, const struct warren_option *row, bool above)
{
	const char *path = str_text(&ex->path);

	for (size_t i = 0; ex->paths && ex->paths[i]; i++) {
		const char *wanted = ex->paths[i];

		if (is_below(wanted, path))
			return true;
		/* Below a section that was named alone, nothing is. */
		if (strchr(wanted, '.') && is_below(path, wanted))
			return above && (row->example || (row->flags & WARREN_REQUIRED));
	}
	return above && (row->flags & WARREN_REQUIRED);
}

static void add_line(struct example *ex, const char *mark, const char *text, size_t len)
{
	str_addf(ex->out, "%*s%s", (int)ex->columns, "", mark);
	str_addn(ex->out, text, len);
	str_addc(ex->out, '\n');
}

/* Prose as comment lines that end before TEXT_COLUMNS. */
static void add_prose(struct example *ex, const char *text)
{
	size_t room = TEXT_COLUMNS > ex->columns + 30 ? TEXT_COLUMNS - ex->columns - 2 : 28;

	while (*text) {
		size_t len = strcspn(text, "\n"), cut;

		if (len > room) {
			for (cut = room; cut > 0 && text[cut] != ' '; cut--)
				;
			len = cut > 0 ? cut : strcspn(text, " \n");
		}
		if (len > 0)
			add_line(ex, "# ", text, len);
		text += len;
		text += strspn(text, " \n");
	}
}

static void explain(struct example *ex, const struct warren_option *row)
{
	struct str text = STR_INIT;

	if (row->brief)
		str_addf(&text, "%s ", row->brief);
	str_addc(&text, '(');
	wcore_describe_row(row, &text);
	str_addf(&text, "%s)", row->flags & WARREN_REQUIRED ? ", required" : "");
	add_prose(ex, str_text(&text));
	str_free(&text);
}

static void add_scalar_example(const struct warren_option *row, struct str *out)
{
	static const char *const examples[] = {
		[WARREN_BOOL] = "true", [WARREN_DURATION] = "30s", [WARREN_STRING] = "text",
		[WARREN_ADDR] = "192.0.2.1", [WARREN_ADDRPORT] = "192.0.2.1:41641",
		[WARREN_PREFIX] = "10.0.0.0/8", [WARREN_PATH] = "/srv/files",
		[WARREN_SECRET_REF] = "{file: /etc/warren/x.key}", [WARREN_FD_DIR] = NULL,
	};

	if (row->example)
		str_add(out, row->example);
	else if (row->type == WARREN_PREFIX && (row->flags & WARREN_HOST_BITS))
		str_add(out, "10.90.0.1/24");
	else if (row->def)
		str_add(out, row->def);
	else if (row->type == WARREN_ENUM && row->values)
		str_add(out, row->values[0]);
	else if (row->type == WARREN_INT || row->type == WARREN_SIZE)
		str_addf(out, "%lld", (long long)(row->min ? row->min : row->max ? row->max : 1));
	else if (row->type <= WARREN_FD_DIR && examples[row->type])
		str_add(out, examples[row->type]);
}

static void add_option(struct example *ex, const struct warren_option *row, const char *key,
		       bool above);

static void add_table(struct example *ex, const struct warren_table *table, bool live)
{
	struct warren_option row;
	size_t len = ex->path.len;

	if (ex->nesting == DESCRIBE_NESTING)
		return;
	ex->nesting++;
	for (uint32_t i = 0; wcore_table_row(table, i, &row, sizeof(row)); i++) {
		if (!row.key || (row.flags & WARREN_DEPRECATED))
			continue;
		str_addf(&ex->path, "%s%s", len > 0 ? "." : "", row.key);
		explain(ex, &row);
		add_option(ex, &row, row.key, live);
		str_cut(&ex->path, len);
	}
	ex->nesting--;
}

/* True: the value fits behind the key, and is there now. */
static bool add_inline(const struct warren_option *row, struct str *line)
{
	struct warren_option elem, inner;
	enum describe_kind kind = describe_kind(row, &elem);

	if (row->example || kind == DESCRIBE_SCALAR) {
		add_scalar_example(row, line);
		return true;
	}
	if (kind == DESCRIBE_LIST && row->def) {
		str_add(line, row->def);
		return true;
	}
	if (kind == DESCRIBE_LIST && describe_kind(&elem, &inner) == DESCRIBE_SCALAR) {
		str_addc(line, '[');
		add_scalar_example(&elem, line);
		str_addc(line, ']');
		return true;
	}
	return false;
}

/* The one element that shows what a list of maps holds: "-" and its options below. */
static void add_list(struct example *ex, const struct warren_option *elem, bool live)
{
	add_line(ex, live ? "" : "#", "-", 1);
	ex->columns += INDENT;
	add_table(ex, &elem->sub, live);
	ex->columns -= INDENT;
}

/* "key:", its value or what belongs below; @key is written as it is. */
static void add_option(struct example *ex, const struct warren_option *row, const char *key,
		       bool above)
{
	bool live = is_live(ex, row, above);
	struct str line = STR_INIT;
	struct warren_option elem;
	enum describe_kind kind = describe_kind(row, &elem);
	size_t len = ex->path.len;

	str_addf(&line, "%s: ", key);
	if (!add_inline(row, &line))
		str_cut(&line, line.len - 1);
	add_line(ex, live ? "" : "#", str_text(&line), line.len);
	if (str_text(&line)[line.len - 1] == ':') {
		ex->columns += INDENT;
		if (kind == DESCRIBE_MAP)
			add_table(ex, &row->sub, live);
		else if (kind == DESCRIBE_LIST)
			add_list(ex, &elem, live);
		else if (kind == DESCRIBE_KEYED)
			add_option(ex, &elem, "name", live);
		ex->columns -= INDENT;
	}
	str_cut(&ex->path, len);
	str_free(&line);
}

static bool has_section(const struct wcore_conf_schema *schemas, size_t count, const char *path)
{
	for (size_t i = 0; i < count; i++) {
		if (is_below(path, schemas[i].name))
			return true;
	}
	return false;
}

/* The paths of a role whose sections are all there. */
static const char *const *find_role(const struct wcore_conf_schema *schemas, size_t count,
				    const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		bool complete = strcmp(roles[i].name, name) == 0;

		for (size_t k = 0; complete && role_paths[i][k]; k++)
			complete = has_section(schemas, count, role_paths[i][k]);
		if (complete)
			return role_paths[i];
	}
	return NULL;
}

const struct wcore_describe_role *wcore_describe_roles(size_t *count)
{
	*count = ARRAY_SIZE(roles);
	return roles;
}

int wcore_describe_example(const struct wcore_conf_schema *schemas, size_t count, const char *role,
			   struct str *out)
{
	struct example ex = { .out = out, .path = STR_INIT };

	if (role) {
		ex.paths = find_role(schemas, count, role);
		if (!ex.paths)
			return -ENOENT;
	}
	add_prose(&ex, "A configuration of Warren; the manual is warren.yaml(5). Options that "
		  "begin with \"#\" show their default or an example; take the \"#\" away to set "
		  "one.");
	for (size_t i = 0; i < count; i++) {
		const struct warren_option row = describe_section(&schemas[i]);

		if (schemas[i].flags & WCORE_SCHEMA_OPAQUE)
			continue;
		str_addc(out, '\n');
		add_prose(&ex, schemas[i].brief ? schemas[i].brief : schemas[i].name);
		str_add(&ex.path, schemas[i].name);
		add_option(&ex, &row, schemas[i].name, true);
		str_cut(&ex.path, 0);
	}
	str_free(&ex.path);
	return 0;
}
