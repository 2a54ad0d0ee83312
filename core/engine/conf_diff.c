/*
 * What differs between two configurations. Both were bound with the tables of the same plugins, but
 * perhaps of two runs, so rows are matched by key and not by number.
 */
#include "base/str.h"
#include "engine/conf_impl.h"

struct diff {
	wcore_config_change_fn *fn;
	void *arg;
	const char *section;
	struct str path;
	size_t count;
};

static const struct warren_conf *present(const struct warren_conf *value)
{
	return value && value->shape != CONF_NONE ? value : NULL;
}

static void report(struct diff *d, const struct warren_conf *old, const struct warren_conf *now,
		   uint32_t flags)
{
	const struct warren_conf *some = now ? now : old;
	const struct wcore_config_change change = {
		.section = d->section, .path = str_text(&d->path), .old = old, .now = now,
		.flags = (flags | some->row->opt.flags) & (WARREN_RESTART | WARREN_COLD),
	};

	d->count++;
	if (d->fn)
		d->fn(&change, d->arg);
}

static void compare(struct diff *d, const struct warren_conf *old, const struct warren_conf *now,
		    uint32_t flags);

static void compare_at(struct diff *d, const char *key, const struct warren_conf *old,
		       const struct warren_conf *now, uint32_t flags)
{
	size_t len = d->path.len;

	ytree_path_add(&d->path, key);
	compare(d, old, now, flags);
	str_cut(&d->path, len);
}

static const struct warren_conf *child(const struct warren_conf *map, const char *key)
{
	const struct conf_row *row = conf_table_find(map->row->sub, key);

	return row ? present(&map->of.items[row - map->row->sub->rows]) : NULL;
}

static void compare_maps(struct diff *d, const struct warren_conf *old,
			 const struct warren_conf *now, uint32_t flags)
{
	for (uint32_t i = 0; i < now->of.count; i++) {
		const char *key = now->row->sub->rows[i].opt.key;

		compare_at(d, key, child(old, key), present(&now->of.items[i]), flags);
	}
	for (uint32_t i = 0; i < old->of.count; i++) {
		const char *key = old->row->sub->rows[i].opt.key;

		if (!conf_table_find(now->row->sub, key))
			compare_at(d, key, present(&old->of.items[i]), NULL, flags);
	}
}

static void compare_keyed(struct diff *d, const struct warren_conf *old,
			  const struct warren_conf *now, uint32_t flags)
{
	uint32_t hint = 0;

	for (uint32_t i = 0; i < now->of.count; i++) {
		const struct warren_conf *item = &now->of.items[i];

		compare_at(d, item->name, conf_keyed_find(old, item->name, &hint), item, flags);
	}
	hint = 0;
	for (uint32_t i = 0; i < old->of.count; i++) {
		const struct warren_conf *item = &old->of.items[i];

		if (!conf_keyed_find(now, item->name, &hint))
			compare_at(d, item->name, item, NULL, flags);
	}
}

static void compare_lists(struct diff *d, const struct warren_conf *old,
			  const struct warren_conf *now, uint32_t flags)
{
	size_t len = d->path.len;

	for (uint32_t i = 0; i < now->of.count; i++) {
		str_addf(&d->path, "[%u]", i);
		compare(d, &old->of.items[i], &now->of.items[i], flags);
		str_cut(&d->path, len);
	}
}

static void compare(struct diff *d, const struct warren_conf *old, const struct warren_conf *now,
		    uint32_t flags)
{
	if ((!old && !now) || (old && now && conf_equal(old, now)))
		return;
	if (!old || !now || old->shape != now->shape || now->shape == CONF_SCALAR) {
		report(d, old, now, flags);
		return;
	}
	flags |= now->row->opt.flags;
	if (now->shape == CONF_MAP)
		compare_maps(d, old, now, flags);
	else if (now->shape == CONF_KEYED)
		compare_keyed(d, old, now, flags);
	else if (now->row->opt.type == WARREN_MAP && now->of.count == old->of.count)
		compare_lists(d, old, now, flags);
	else
		report(d, old, now, flags);
}

size_t wcore_config_diff(const struct wcore_config *old, const struct wcore_config *now,
			 wcore_config_change_fn *fn, void *arg)
{
	struct diff d = { .fn = fn, .arg = arg, .path = STR_INIT };

	for (uint32_t i = 0; i < now->root.of.count; i++) {
		d.section = now->root.of.items[i].name;
		compare_at(&d, d.section, child(&old->root, d.section),
			   present(&now->root.of.items[i]), 0);
	}
	for (uint32_t i = 0; i < old->root.of.count; i++) {
		d.section = old->root.of.items[i].name;
		if (!conf_table_find(&now->sections, d.section))
			compare_at(&d, d.section, present(&old->root.of.items[i]), NULL, 0);
	}
	str_free(&d.path);
	return d.count;
}
