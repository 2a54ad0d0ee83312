/*
 * What the overlay says otherwise than the files in /etc: `--override` lets a command do that, and
 * whoever reads the file should be told that it is not what holds.
 */
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/conf_impl.h"

struct search {
	struct wcore_config *cfg;
	bool store;			/* the second pass; the first one counts */
	bool failed;
	size_t n;
};

static void found(struct search *s, const struct ytree_node *base, const char *path)
{
	struct wcore_config *cfg = s->cfg;
	struct wcore_config_override *to;
	const char *file;

	if (!s->store) {
		s->n++;
		return;
	}
	to = &cfg->overrides[s->n++];
	file = ytree_file(cfg->tree, base);
	to->path = arena_text(&cfg->arena, path, strlen(path));
	to->file = arena_text(&cfg->arena, file, strlen(file));
	to->line = base->line;
	s->failed |= !to->path || !to->file;
}

static void walk(struct search *s, const struct ytree_node *base, const struct ytree_node *over,
		 const char *path)
{
	for (const struct ytree_node *node = over->first; node; node = node->next) {
		const struct ytree_node *below = ytree_get(base, node->key);
		AUTO(str_free) struct str shown = STR_INIT;

		if (!below || below->kind == YTREE_NULL ||
		    (node->kind == YTREE_NULL && !node->explicit_null))
			continue;
		str_add(&shown, path);
		ytree_path_add(&shown, node->key);
		if (node->kind == YTREE_MAP && below->kind == YTREE_MAP)
			walk(s, below, node, str_text(&shown));
		else if (!ytree_same(below, node))
			found(s, below, str_text(&shown));
	}
}

bool conf_overrides_find(struct wcore_config *cfg, const struct ytree_node *base,
			 const struct ytree_node *over)
{
	struct search search = { .cfg = cfg };

	if (!base || base->kind != YTREE_MAP || over->kind != YTREE_MAP)
		return true;
	walk(&search, base, over, "");
	cfg->overrides = arena_alloc(&cfg->arena, search.n * sizeof(*cfg->overrides));
	cfg->n_overrides = search.n;
	search = (struct search){ .cfg = cfg, .store = true };
	if (!cfg->overrides)
		return false;
	walk(&search, base, over, "");
	return !search.failed;
}

const struct wcore_config_override *wcore_config_overrides(const struct wcore_config *cfg,
							   size_t *count)
{
	*count = cfg ? cfg->n_overrides : 0;
	return cfg ? cfg->overrides : NULL;
}
