/*
 * Option tables in words: one row for help texts, one section as the reference for manuals. Options
 * inside options are named by their path, "peers.NAME.psk", so that the reference stays one flat
 * list that can be searched.
 */
#include "engine/describe_impl.h"

#include <string.h>

#include "engine/conf_impl.h"
#include "engine/table.h"

enum describe_kind describe_kind(const struct warren_option *row, struct warren_option *elem)
{
	enum describe_kind kind = DESCRIBE_SCALAR;
	uint32_t container = 0;

	*elem = *row;
	if (row->flags & WARREN_KEYED) {
		kind = DESCRIBE_KEYED;
		container = WARREN_KEYED;
	} else if (row->flags & WARREN_MANY) {
		kind = DESCRIBE_LIST;
		container = WARREN_MANY;
	} else if (row->type == WARREN_MAP) {
		/* One row without a key: any key, each of this row. */
		if (row->sub.count == 1 && wcore_table_row(&row->sub, 0, elem, sizeof(*elem)) &&
		    !elem->key)
			return DESCRIBE_KEYED;
		return DESCRIBE_MAP;
	}
	elem->flags &= ~(container | WARREN_REQUIRED | WARREN_DEPRECATED);
	elem->def = NULL;
	elem->example = NULL;
	if (kind != DESCRIBE_SCALAR && row->type != WARREN_MAP &&
	    !(elem->flags & (WARREN_KEYED | WARREN_MANY)))
		wcore_table_row(&row->sub, 0, elem, sizeof(*elem));
	return kind;
}

struct warren_option describe_section(const struct wcore_conf_schema *schema)
{
	return (struct warren_option){
		.key = schema->name, .type = WARREN_MAP, .sub = schema->options,
		.brief = schema->brief, .help = schema->help,
	};
}

static void add_type(const struct warren_option *row, bool many, struct str *out)
{
	static const char *const plurals[] = {
		[WARREN_BOOL] = "booleans", [WARREN_INT] = "numbers", [WARREN_SIZE] = "sizes",
		[WARREN_DURATION] = "durations", [WARREN_STRING] = "texts",
		[WARREN_ENUM] = "choices", [WARREN_ADDR] = "addresses",
		[WARREN_ADDRPORT] = "addresses and ports", [WARREN_PREFIX] = "networks",
		[WARREN_PATH] = "paths", [WARREN_SECRET_REF] = "secrets",
		[WARREN_MAP] = "maps", [WARREN_FD_IN] = "files", [WARREN_FD_OUT] = "files",
		[WARREN_FD_DIR] = "folders",
	};

	if (row->type < WARREN_BOOL || row->type > WARREN_FD_DIR)
		str_add(out, "unknown");
	else if (row->type == WARREN_PREFIX && (row->flags & WARREN_HOST_BITS))
		str_add(out, many ? "addresses with length" : "address with length");
	else
		str_add(out, many ? plurals[row->type] : conf_type_name(row->type));
	for (size_t i = 0; row->type == WARREN_ENUM && row->values && row->values[i]; i++)
		str_addf(out, "%s %s", i ? " |" : ":", row->values[i]);
}

static void add_limits(const struct warren_option *row, struct str *out)
{
	struct warren_option number = *row;
	const char *unit = "";

	if ((row->min == 0 && row->max == 0) || row->type == WARREN_BOOL ||
	    row->type == WARREN_ENUM || row->type == WARREN_MAP)
		return;
	if (row->type != WARREN_INT && row->type != WARREN_SIZE && row->type != WARREN_DURATION) {
		number.type = WARREN_INT;
		unit = " bytes";
	}
	if (row->min == 0 && row->type != WARREN_INT) {
		str_add(out, ", at most ");
	} else {
		str_add(out, ", ");
		conf_number_format(&number, row->min, out);
		if (row->max != row->min)
			str_add(out, " to ");
	}
	if (row->max != row->min)
		conf_number_format(&number, row->max, out);
	str_add(out, unit);
}

void wcore_describe_row(const struct warren_option *row, struct str *out)
{
	struct warren_option elem, inner;
	enum describe_kind kind = describe_kind(row, &elem);

	if (kind == DESCRIBE_KEYED && describe_kind(&elem, &inner) != DESCRIBE_SCALAR &&
	    !(elem.flags & WARREN_MANY)) {
		str_add(out, "map of names to maps");
	} else if (kind == DESCRIBE_KEYED) {
		str_add(out, "map of names to ");
		if (elem.flags & WARREN_MANY)
			str_add(out, "lists of ");
		add_type(&elem, true, out);
	} else if (kind == DESCRIBE_LIST) {
		str_add(out, "list of ");
		add_type(&elem, true, out);
	} else {
		add_type(row, false, out);
	}
	add_limits(&elem, out);
	if (row->def && row->type != WARREN_MAP)
		str_addf(out, ", default %s", row->def);
}

/*
 * ---- Reference ----
 */

struct reference {
	const struct wcore_conf_schema *schema;
	struct str *out;
	struct str path;
	void (*row)(struct reference *ref, const struct warren_option *row);
	uint32_t nesting;
};

static void walk_table(struct reference *ref, const struct warren_table *table);

/* What lies below a row; @ref->path names the row. */
static void walk_below(struct reference *ref, const struct warren_option *row)
{
	size_t len = ref->path.len;
	struct warren_option elem;

	switch (describe_kind(row, &elem)) {
	case DESCRIBE_SCALAR:
		break;
	case DESCRIBE_MAP:
		walk_table(ref, &row->sub);
		break;
	case DESCRIBE_LIST:
		str_add(&ref->path, "[]");
		walk_below(ref, &elem);
		break;
	case DESCRIBE_KEYED:
		str_add(&ref->path, len > 0 ? ".NAME" : "NAME");
		/* An open map's row is an option of its own. */
		if (elem.brief != row->brief)
			ref->row(ref, &elem);
		walk_below(ref, &elem);
		break;
	}
	str_cut(&ref->path, len);
}

static void walk_table(struct reference *ref, const struct warren_table *table)
{
	struct warren_option row;
	size_t len = ref->path.len;

	if (ref->nesting == DESCRIBE_NESTING)
		return;
	ref->nesting++;
	for (uint32_t i = 0; wcore_table_row(table, i, &row, sizeof(row)); i++) {
		if (!row.key)
			continue;
		str_addf(&ref->path, "%s%s", len > 0 ? "." : "", row.key);
		ref->row(ref, &row);
		walk_below(ref, &row);
		str_cut(&ref->path, len);
	}
	ref->nesting--;
}

static void walk_section(const struct wcore_conf_schema *schema, struct str *out,
			 void (*row)(struct reference *ref, const struct warren_option *row))
{
	struct reference ref = { .schema = schema, .out = out, .path = STR_INIT, .row = row };
	const struct warren_option section = describe_section(schema);

	walk_below(&ref, &section);
	str_free(&ref.path);
}

/* What happens on reload, where it is not what one expects. */
static const char *effect(const struct warren_option *row)
{
	if (row->flags & WARREN_DEPRECATED)
		return "Deprecated: it is read and ignored.";
	if (row->flags & WARREN_COLD)
		return "A change needs a restart of the daemon.";
	if (row->flags & WARREN_RESTART)
		return "A change restarts the plugin.";
	return NULL;
}

void wcore_describe_escape_mdoc(const char *text, struct str *out)
{
	bool start = true;

	for (; *text; text++) {
		if (start && (*text == '.' || *text == '\''))
			str_add(out, "\\&");
		start = *text == '\n';
		if (*text == '\\')
			str_add(out, "\\e");
		else
			str_addc(out, *text);
	}
}

/* mdoc wants each sentence on a line of its own and a macro where a paragraph ends. */
static void add_mdoc_text(const char *text, struct str *out)
{
	struct str lines = STR_INIT;

	while (*text) {
		size_t len = strcspn(text, ".?!\n");
		bool sentence = text[len] && text[len] != '\n' && text[len + 1] == ' ';

		if (str_starts(text + len, "\n\n")) {
			str_addn(&lines, text, len);
			wcore_describe_escape_mdoc(str_text(&lines), out);
			str_add(out, "\n.Pp\n");
			str_cut(&lines, 0);
			text += len + 2;
			continue;
		}
		len += text[len] != '\0';
		str_addn(&lines, text, len);
		if (sentence)
			str_addc(&lines, '\n');
		text += len + sentence;
	}
	wcore_describe_escape_mdoc(str_text(&lines), out);
	str_addc(out, '\n');
	str_free(&lines);
}

static void mdoc_row(struct reference *ref, const struct warren_option *row)
{
	struct str type = STR_INIT;
	const char *note = effect(row);

	wcore_describe_row(row, &type);
	str_add(ref->out, ".It Cm ");
	wcore_describe_escape_mdoc(str_text(&ref->path), ref->out);
	str_addc(ref->out, '\n');
	if (row->brief)
		add_mdoc_text(row->brief, ref->out);
	str_addc(ref->out, '(');
	wcore_describe_escape_mdoc(str_text(&type), ref->out);
	str_addf(ref->out, "%s)\n", row->flags & WARREN_REQUIRED ? ", required" : "");
	if (row->help)
		add_mdoc_text(row->help, ref->out);
	if (note)
		str_addf(ref->out, "%s\n", note);
	str_free(&type);
}

void wcore_describe_mdoc(const struct wcore_conf_schema *schema, struct str *out)
{
	str_addf(out, ".Ss %s\n", schema->name);
	if (schema->brief)
		add_mdoc_text(schema->brief, out);
	if (schema->help)
		add_mdoc_text(schema->help, out);
	if (schema->options.count == 0) {
		str_add(out, "There are no options.\n");
		return;
	}
	str_add(out, ".Bl -tag -width Ds\n");
	walk_section(schema, out, mdoc_row);
	str_add(out, ".El\n");
}

static void markdown_row(struct reference *ref, const struct warren_option *row)
{
	const char *note = effect(row);

	str_addf(ref->out, "- `%s.%s` (", ref->schema->name, str_text(&ref->path));
	wcore_describe_row(row, ref->out);
	str_addf(ref->out, "%s)", row->flags & WARREN_REQUIRED ? ", required" : "");
	if (row->brief)
		str_addf(ref->out, ": %s", row->brief);
	if (row->help)
		str_addf(ref->out, " %s", row->help);
	str_addf(ref->out, "%s%s\n", note ? " " : "", note ? note : "");
}

void wcore_describe_markdown(const struct wcore_conf_schema *schema, struct str *out)
{
	str_addf(out, "## `%s`\n\n", schema->name);
	if (schema->brief)
		str_addf(out, "%s\n\n", schema->brief);
	if (schema->help)
		str_addf(out, "%s\n\n", schema->help);
	walk_section(schema, out, markdown_row);
}
