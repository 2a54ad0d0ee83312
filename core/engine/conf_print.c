/*
 * Configuration as text. The normal form is block style, two spaces deep, lists of scalars on one
 * line while they are short; texts are quoted unless every YAML reader takes them as they are. The
 * JSON form has the same spelling of values, but for numbers and booleans, and so is YAML too.
 */
#include <string.h>

#include "base/str.h"
#include "engine/conf_impl.h"

enum { INDENT = 2, LINE_MAX_COLUMNS = 80 };

static const char secret_bytes[] = "(secret)";

/* A word that needs no quotes, in block and in flow style, as key and as value. */
static bool is_plain(const char *text, bool key)
{
	static const char *const words[] = { "null", "Null", "NULL" };
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789_./:@+=-";
	size_t len = strlen(text);

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i]) == 0)
			return false;
	}
	if (len == 0 || text[strspn(text, safe)] || strchr(":@=+-", text[0]))
		return false;
	return text[len - 1] != ':' && !(key && strchr(text, ':'));
}

/* JSON's escapes are a part of those of YAML's double quotes. */
static void add_text(struct str *out, const char *text, bool key)
{
	if (is_plain(text, key))
		str_add(out, text);
	else
		str_add_json(out, text, strlen(text));
}

static bool is_secret(const struct warren_conf *value)
{
	return value->row->opt.type == WARREN_SECRET_REF;
}

static void add_scalar(struct str *out, const struct warren_conf *value, bool json)
{
	uint32_t type = value->row->opt.type;
	struct str text = STR_INIT;

	if (is_secret(value)) {
		const struct warren_secret *secret = value->secret;

		str_addf(out, json ? "{\"%s\":" : "{%s: ",
			 secret->credential ? "credential" : "file");
		if (json)
			str_add_json(out, secret->reference, strlen(secret->reference));
		else
			add_text(out, secret->reference, false);
		str_addc(out, '}');
		return;
	}
	conf_scalar_format(value, &text);
	if (type == WARREN_BOOL || type == WARREN_INT)
		str_add(out, str_text(&text));
	else if (json)
		str_add_json(out, str_text(&text), text.len);
	else
		add_text(out, str_text(&text), false);
	str_free(&text);
}

static bool is_shown(const struct warren_conf *value, uint32_t flags)
{
	return value->shape != CONF_NONE &&
	       (value->file != CONF_FILE_DEFAULT || (flags & WCORE_PRINT_DEFAULTS));
}

/* WARREN_OR_TEXT: a map that says no more than its first row is that value alone. */
static const struct warren_conf *in_short(const struct warren_conf *value, uint32_t flags)
{
	const struct warren_conf *only = value->of.items;

	if (value->shape != CONF_MAP || !value->parent ||
	    !(value->row->opt.flags & WARREN_OR_TEXT) || value->of.count == 0 ||
	    only->shape != CONF_SCALAR || !is_shown(only, flags))
		return value;
	for (uint32_t i = 1; i < value->of.count; i++) {
		if (is_shown(&value->of.items[i], flags))
			return value;
	}
	return only;
}

/* On one line: YAML's flow style, or JSON. */
static void add_flow(struct str *out, const struct warren_conf *value, uint32_t flags)
{
	bool json = flags & WCORE_PRINT_JSON, first = true;
	bool list = value->shape == CONF_LIST;

	value = in_short(value, flags);
	if (value->shape == CONF_SCALAR) {
		add_scalar(out, value, json);
		return;
	}
	str_addc(out, list ? '[' : '{');
	for (uint32_t i = 0; i < value->of.count; i++) {
		const struct warren_conf *item = &value->of.items[i];

		if (!is_shown(item, flags | (list ? WCORE_PRINT_DEFAULTS : 0)))
			continue;
		if (!first)
			str_add(out, json ? "," : ", ");
		first = false;
		if (!list && json)
			str_add_json(out, item->name, strlen(item->name));
		else if (!list)
			add_text(out, item->name, true);
		if (!list)
			str_add(out, json ? ":" : ": ");
		add_flow(out, item, flags);
	}
	str_addc(out, list ? ']' : '}');
}

void wcore_conf_print_value(const struct warren_conf *value, uint32_t flags, struct str *out)
{
	if (value->shape == CONF_NONE)
		str_add(out, flags & WCORE_PRINT_JSON ? "null" : "none");
	else
		add_flow(out, value, flags);
}

static void add_origin(struct str *out, const struct warren_conf *value, uint32_t flags)
{
	const struct wcore_config *cfg = conf_owner(value);

	if (!(flags & WCORE_PRINT_ORIGIN))
		return;
	if (value->file < cfg->n_files)
		str_addf(out, "  # %s:%u", cfg->files[value->file], value->line);
	else
		str_add(out, "  # default");
}

/* What has no line of its own below it: scalars, empty things, short lists of scalars. */
static bool fits_line(const struct warren_conf *value, uint32_t flags, uint32_t columns)
{
	struct str text = STR_INIT;
	bool fits;

	if (in_short(value, flags)->shape == CONF_SCALAR)
		return true;
	for (uint32_t i = 0; i < value->of.count; i++) {
		if (value->shape != CONF_LIST ? is_shown(&value->of.items[i], flags) :
		    in_short(&value->of.items[i], flags)->shape != CONF_SCALAR ||
		    is_secret(&value->of.items[i]))
			return false;
	}
	add_flow(&text, value, flags);
	fits = text.len + columns <= LINE_MAX_COLUMNS || value->of.count == 1;
	str_free(&text);
	return fits;
}

static void add_indent(struct str *out, uint32_t columns)
{
	str_addf(out, "%*s", (int)columns, "");
}

static void add_block(struct str *out, const struct warren_conf *value, uint32_t flags,
		      uint32_t columns);

/* The rest of a line that began with a key or a dash, and what belongs below it. */
static void add_rest(struct str *out, const struct warren_conf *value, uint32_t flags,
		     uint32_t columns, const char *note)
{
	bool line = fits_line(value, flags, columns + INDENT);

	if (line) {
		str_addc(out, ' ');
		add_flow(out, value, flags);
	}
	add_origin(out, value, flags);
	if (note)
		str_addf(out, "  # implied by %s", note);
	str_addc(out, '\n');
	if (!line)
		add_block(out, value, flags, columns + INDENT);
}

static void add_entry(struct str *out, const struct warren_conf *item, uint32_t flags,
		      uint32_t columns)
{
	add_text(out, item->name, true);
	str_addc(out, ':');
	add_rest(out, item, flags, columns, item->row->implied_by);
}

static void add_element(struct str *out, const struct warren_conf *item, uint32_t flags,
			uint32_t columns)
{
	bool first = true;

	str_addc(out, '-');
	if (item->shape != CONF_MAP || fits_line(item, flags, columns)) {
		add_rest(out, item, flags, columns, NULL);
		return;
	}
	/* The first entry of a map stands beside the dash. */
	for (uint32_t i = 0; i < item->of.count; i++) {
		if (!is_shown(&item->of.items[i], flags))
			continue;
		if (first)
			str_addc(out, ' ');
		else
			add_indent(out, columns + INDENT);
		first = false;
		add_entry(out, &item->of.items[i], flags, columns + INDENT);
	}
}

static void add_block(struct str *out, const struct warren_conf *value, uint32_t flags,
		      uint32_t columns)
{
	for (uint32_t i = 0; i < value->of.count; i++) {
		const struct warren_conf *item = &value->of.items[i];

		if (value->shape != CONF_LIST && !is_shown(item, flags))
			continue;
		add_indent(out, columns);
		if (value->shape == CONF_LIST)
			add_element(out, item, flags, columns);
		else
			add_entry(out, item, flags, columns);
	}
}

/* A flat list with one object for each value: what a program wants that asks for origins. */
static void add_origins_json(struct str *out, const struct warren_conf *value, uint32_t flags)
{
	struct str path = STR_INIT;
	const char *where;

	if (value->shape == CONF_MAP || value->shape == CONF_KEYED) {
		for (uint32_t i = 0; i < value->of.count; i++) {
			if (is_shown(&value->of.items[i], flags))
				add_origins_json(out, &value->of.items[i], flags);
		}
		return;
	}
	wcore_conf_path(value, NULL, &path, NULL);
	where = warren_conf_where(value, NULL);
	str_add(out, out->s[out->len - 1] == '[' ? "\n{\"path\":" : ",\n{\"path\":");
	str_add_json(out, str_text(&path), path.len);
	str_add(out, ",\"value\":");
	add_flow(out, value, flags);
	str_add(out, ",\"origin\":");
	str_add_json(out, where, strlen(where));
	str_addc(out, '}');
	str_free(&path);
}

static bool is_section_shown(const struct warren_conf *section, uint32_t flags)
{
	return is_shown(section, flags) ||
	       (section->shape != CONF_NONE && section->row->implied_by);
}

void wcore_config_print(const struct wcore_config *cfg, uint32_t flags, struct str *out)
{
	bool json = flags & WCORE_PRINT_JSON, first = true;

	if (json && (flags & WCORE_PRINT_ORIGIN)) {
		str_addc(out, '[');
		add_origins_json(out, &cfg->root, flags);
		str_add(out, "\n]\n");
		return;
	}
	if (json)
		str_addc(out, '{');
	for (uint32_t i = 0; i < cfg->root.of.count; i++) {
		const struct warren_conf *section = &cfg->root.of.items[i];

		if (!is_section_shown(section, flags))
			continue;
		if (!json) {
			add_entry(out, section, flags, 0);
			continue;
		}
		str_add(out, first ? "\n" : ",\n");
		first = false;
		str_add_json(out, section->name, strlen(section->name));
		str_addc(out, ':');
		add_flow(out, section, flags);
	}
	if (json)
		str_add(out, "\n}\n");
}

/*
 * ---- Differences ----
 */

struct printing {
	struct str *out;
	uint32_t flags;
	size_t count;
};

static void print_side(struct printing *p, const struct warren_conf *value, bool hidden)
{
	bool json = p->flags & WCORE_PRINT_JSON;

	if (!value)
		str_add(p->out, json ? "null" : "none");
	else if (hidden)
		str_addf(p->out, json ? "\"%s\"" : "%s", secret_bytes);
	else
		add_flow(p->out, value, (p->flags & WCORE_PRINT_JSON) | WCORE_PRINT_DEFAULTS);
}

/* Same reference, other bytes: the reference would look like no change at all. */
static bool only_bytes_differ(const struct wcore_config_change *change)
{
	const struct warren_conf *a = change->old, *b = change->now;

	return a && b && is_secret(a) && is_secret(b) && a->shape == CONF_SCALAR &&
	       a->secret->credential == b->secret->credential &&
	       str_equal(a->secret->reference, b->secret->reference);
}

static void print_json(struct printing *p, const struct wcore_config_change *change)
{
	bool hidden = only_bytes_differ(change);

	str_add(p->out, p->count++ ? ",\n{\"path\":" : "\n{\"path\":");
	str_add_json(p->out, change->path, strlen(change->path));
	str_add(p->out, ",\"old\":");
	print_side(p, change->old, hidden);
	str_add(p->out, ",\"new\":");
	print_side(p, change->now, hidden);
	for (int i = 0; i < 2; i++) {
		const struct warren_conf *value = i ? change->now : change->old;
		const char *where = value ? warren_conf_where(value, NULL) : NULL;

		str_addf(p->out, ",\"%s_origin\":", i ? "new" : "old");
		if (where)
			str_add_json(p->out, where, strlen(where));
		else
			str_add(p->out, "null");
	}
	str_addf(p->out, ",\"effect\":\"%s\"}", change->flags & WARREN_COLD ? "refused" :
		 change->flags & WARREN_RESTART ? "restart" : "reload");
}

static void print_line(const struct wcore_config_change *change, void *arg)
{
	struct printing *p = arg;
	const struct warren_conf *some = change->now ? change->now : change->old;
	bool hidden = only_bytes_differ(change);

	if (p->flags & WCORE_PRINT_JSON) {
		print_json(p, change);
		return;
	}
	p->count++;
	str_addf(p->out, "%s: ", change->path);
	if (strcmp(change->path, change->section) == 0 && (!change->old || !change->now)) {
		str_addf(p->out, "section %s (%s)\n", change->now ? "added" : "removed",
			 warren_conf_where(some, NULL));
		return;
	}
	print_side(p, change->old, hidden);
	if (change->old && change->old->file != CONF_FILE_DEFAULT)
		str_addf(p->out, " (%s)", warren_conf_where(change->old, NULL));
	str_add(p->out, " -> ");
	print_side(p, change->now, hidden);
	str_addf(p->out, " (%s)", change->now ? warren_conf_where(change->now, NULL) : "gone");
	if (change->flags & WARREN_COLD)
		str_add(p->out, ", needs a restart of the daemon");
	else if (change->flags & WARREN_RESTART)
		str_addf(p->out, ", restarts %s", change->section);
	str_addc(p->out, '\n');
}

size_t wcore_config_print_diff(const struct wcore_config *old, const struct wcore_config *now,
			       uint32_t flags, struct str *out)
{
	struct printing p = { .out = out, .flags = flags };

	if (flags & WCORE_PRINT_JSON)
		str_addc(out, '[');
	wcore_config_diff(old, now, print_line, &p);
	if (flags & WCORE_PRINT_JSON)
		str_add(out, p.count ? "\n]\n" : "]\n");
	return p.count;
}
