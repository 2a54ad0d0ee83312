/*
 * Reading values: the getters of plugin.h, places, key paths, equality. A getter that does not fit
 * its row is a mistake of the programmer and ends the process with a sentence that names both; a
 * quiet zero would be found by nobody.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/conf_impl.h"

static const char nowhere[] = "default";

struct wcore_config *conf_owner(const struct warren_conf *value)
{
	while (value->parent)
		value = value->parent;
	return CONTAINER_OF(value, struct wcore_config, root);
}

static void __attribute__((noreturn, format(printf, 3, 4)))
misuse(const struct warren_conf *conf, const char *caller, const char *fmt, ...)
{
	struct str text = STR_INIT, path = STR_INIT;
	va_list ap;

	if (conf)
		wcore_conf_path(conf, NULL, &path, NULL);
	str_addf(&text, "%s: mistake in the program, at \"%s\": ", caller, str_text(&path));
	va_start(ap, fmt);
	str_vaddf(&text, fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s\n", str_text(&text));
	abort();
}

const struct warren_conf *conf_child(const struct warren_conf *conf, const char *key,
				     const char *caller)
{
	const struct conf_row *row;

	if (!conf)
		misuse(conf, caller, "no configuration (NULL) where \"%s\" is read",
		       key ? key : "(itself)");
	if (!key)
		return conf;
	if (conf->shape != CONF_MAP)
		misuse(conf, caller, "\"%s\" is read from what is no map of options", key);
	row = conf_table_find(conf->row->sub, key);
	if (!row)
		misuse(conf, caller, "no row declares \"%s\"", key);
	return &conf->of.items[row - conf->row->sub->rows];
}

/* The scalar under @key if it has one of the types in the bit set @types; NULL when absent. */
static const struct warren_conf *scalar(const struct warren_conf *conf, const char *key,
					uint32_t types, const char *caller)
{
	const struct warren_conf *value = conf_child(conf, key, caller);
	const struct warren_option *opt = &value->row->opt;

	if (opt->flags & (WARREN_MANY | WARREN_KEYED))
		misuse(value, caller, "this is a list or keyed: use warren_conf_at()");
	if (!(types & 1u << opt->type))
		misuse(value, caller, "its row has the type %s", conf_type_name(opt->type));
	return value->shape == CONF_SCALAR ? value : NULL;
}

#define TYPE(name) (1u << WARREN_##name)

bool warren_conf_has(const struct warren_conf *conf, const char *key)
{
	return conf_child(conf, key, __func__)->shape != CONF_NONE;
}

bool warren_conf_bool(const struct warren_conf *conf, const char *key)
{
	const struct warren_conf *value = scalar(conf, key, TYPE(BOOL), __func__);

	return value && value->number;
}

int64_t warren_conf_int(const struct warren_conf *conf, const char *key)
{
	const struct warren_conf *value =
		scalar(conf, key, TYPE(INT) | TYPE(SIZE) | TYPE(DURATION), __func__);

	return value ? value->number : 0;
}

const char *warren_conf_str(const struct warren_conf *conf, const char *key)
{
	const struct warren_conf *value =
		scalar(conf, key, TYPE(STRING) | TYPE(ENUM) | TYPE(PATH) | TYPE(FD_IN) |
		       TYPE(FD_OUT) | TYPE(FD_DIR), __func__);

	if (value && value->row->opt.type == WARREN_ENUM)
		return value->row->opt.values[value->number];
	return value ? value->text : NULL;
}

uint32_t warren_conf_enum(const struct warren_conf *conf, const char *key)
{
	const struct warren_conf *value = scalar(conf, key, TYPE(ENUM), __func__);

	return value ? (uint32_t)value->number : 0;
}

struct warren_addr warren_conf_addr(const struct warren_conf *conf, const char *key)
{
	const struct warren_conf *value = scalar(conf, key, TYPE(ADDR), __func__);

	return value ? value->addr : (struct warren_addr){ 0 };
}

struct warren_addrport warren_conf_addrport(const struct warren_conf *conf, const char *key)
{
	const struct warren_conf *value = scalar(conf, key, TYPE(ADDRPORT), __func__);

	return value ? value->addrport : (struct warren_addrport){ 0 };
}

struct warren_prefix warren_conf_prefix(const struct warren_conf *conf, const char *key)
{
	const struct warren_conf *value = scalar(conf, key, TYPE(PREFIX), __func__);

	return value ? value->prefix : (struct warren_prefix){ 0 };
}

const struct warren_secret *warren_conf_secret(const struct warren_conf *conf, const char *key)
{
	const struct warren_conf *value = scalar(conf, key, TYPE(SECRET_REF), __func__);

	return value ? value->secret : NULL;
}

const struct warren_conf *warren_conf_map(const struct warren_conf *conf, const char *key)
{
	const struct warren_conf *value = conf_child(conf, key, __func__);

	if (value->row->opt.flags & (WARREN_MANY | WARREN_KEYED))
		misuse(value, __func__, "this is a list or keyed: use warren_conf_at()");
	if (value->row->opt.type != WARREN_MAP)
		misuse(value, __func__, "its row has the type %s",
		       conf_type_name(value->row->opt.type));
	return value->shape == CONF_MAP ? value : NULL;
}

static const struct warren_conf *container(const struct warren_conf *conf, const char *key,
					   const char *caller)
{
	const struct warren_conf *value = conf_child(conf, key, caller);

	if (!(value->row->opt.flags & (WARREN_MANY | WARREN_KEYED)))
		misuse(value, caller, "its row is neither MANY nor KEYED");
	return value;
}

uint32_t warren_conf_count(const struct warren_conf *conf, const char *key)
{
	const struct warren_conf *value = container(conf, key, __func__);

	return value->shape == CONF_NONE ? 0 : value->of.count;
}

const struct warren_conf *warren_conf_at(const struct warren_conf *conf, const char *key,
					 uint32_t i)
{
	const struct warren_conf *value = container(conf, key, __func__);

	if (value->shape == CONF_NONE || i >= value->of.count)
		misuse(value, __func__, "there is no element %u", i);
	return &value->of.items[i];
}

const char *warren_conf_name(const struct warren_conf *conf)
{
	return conf_child(conf, NULL, __func__)->name;
}

struct err_at conf_place(const struct warren_conf *value)
{
	const struct wcore_config *cfg = conf_owner(value);

	/* A default has no place of its own: the section where it holds is the next best. */
	while (value->file == CONF_FILE_DEFAULT && value->parent)
		value = value->parent;
	if (value->file >= cfg->n_files)
		return (struct err_at){ 0 };
	return (struct err_at){ .file = cfg->files[value->file], .order = value->file,
				.line = value->line, .column = value->column };
}

const char *warren_conf_where(const struct warren_conf *conf, const char *key)
{
	const struct warren_conf *value = conf_child(conf, key, __func__);
	struct wcore_config *cfg = conf_owner(value);
	struct str text = STR_INIT;
	const char *kept;

	if (value->file >= cfg->n_files)
		return nowhere;
	str_add(&text, cfg->files[value->file]);
	if (value->line > 0)
		str_addf(&text, ":%u:%u", value->line, value->column);
	pthread_mutex_lock(&cfg->where_lock);
	kept = hash_get(&cfg->where, str_text(&text), text.len);
	if (!kept && !text.failed) {
		char *copy = arena_text(&cfg->arena, text.s, text.len);

		if (copy && hash_put(&cfg->where, copy, text.len, copy, NULL) == 0)
			kept = copy;
	}
	pthread_mutex_unlock(&cfg->where_lock);
	str_free(&text);
	return kept ? kept : "?";
}

const struct warren_conf *conf_keyed_find(const struct warren_conf *keyed, const char *name,
					  uint32_t *hint)
{
	/* Two versions of a map mostly have the same order: look behind the last find first. */
	for (uint32_t i = 0; i < keyed->of.count; i++) {
		uint32_t at = (*hint + i) % keyed->of.count;

		if (str_equal(keyed->of.items[at].name, name)) {
			*hint = at + 1;
			return &keyed->of.items[at];
		}
	}
	return NULL;
}

static bool items_equal(const struct warren_conf *a, const struct warren_conf *b)
{
	uint32_t hint = 0;

	if (a->of.count != b->of.count)
		return false;
	for (uint32_t i = 0; i < a->of.count; i++) {
		const struct warren_conf *x = &a->of.items[i], *y = &b->of.items[i];

		if (a->shape == CONF_KEYED)
			y = conf_keyed_find(b, x->name, &hint);
		if (!y || !conf_equal(x, y))
			return false;
	}
	return true;
}

bool conf_equal(const struct warren_conf *a, const struct warren_conf *b)
{
	if (a == b)
		return true;
	if (a->shape != b->shape || a->row->opt.type != b->row->opt.type)
		return false;
	if (a->shape == CONF_NONE)
		return true;
	if (a->shape != CONF_SCALAR)
		return items_equal(a, b);
	switch (a->row->opt.type) {
	case WARREN_ADDR:
		return addr_equal(&a->addr, &b->addr);
	case WARREN_ADDRPORT:
		return addrport_equal(&a->addrport, &b->addrport);
	case WARREN_PREFIX:
		return prefix_equal(&a->prefix, &b->prefix);
	case WARREN_SECRET_REF:
		return conf_secret_equal(a->secret, b->secret);
	case WARREN_STRING:
	case WARREN_PATH:
	case WARREN_FD_IN:
	case WARREN_FD_OUT:
	case WARREN_FD_DIR:
		return str_equal(a->text, b->text);
	default:
		return a->number == b->number;
	}
}

bool warren_conf_equal(const struct warren_conf *a, const struct warren_conf *b, const char *key)
{
	return conf_equal(conf_child(a, key, __func__), conf_child(b, key, __func__));
}

/* A map's or keyed map's entry by name, an element of a list by number. */
static void add_path(const struct warren_conf *value, struct str *path)
{
	const struct warren_conf *parent = value->parent;

	if (!parent)
		return;
	add_path(parent, path);
	if (parent->shape == CONF_LIST)
		str_addf(path, "[%u]", (unsigned int)(value - parent->of.items));
	else
		ytree_path_add(path, value->name);
}

void wcore_conf_path(const struct warren_conf *conf, const char *key, struct str *path,
		     uint32_t *index)
{
	const struct warren_conf *value = conf_child(conf, key, __func__);

	if (index)
		*index = 0;
	/* With @index the last list stays open: the path is that of the list. */
	if (index && value->parent && value->parent->shape == CONF_LIST) {
		*index = (uint32_t)(value - value->parent->of.items);
		value = value->parent;
	}
	add_path(value, path);
}

uint32_t wcore_conf_flags(const struct warren_conf *conf, const char *key)
{
	return conf_child(conf, key, __func__)->row->opt.flags;
}

uint32_t wcore_conf_type(const struct warren_conf *conf, const char *key)
{
	return conf_child(conf, key, __func__)->row->opt.type;
}
