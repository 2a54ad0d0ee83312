/*
 * The configuration as an object: files to one tree, its lifetime, its sections, and the arguments
 * of a command as a configuration of one section.
 */
#include "engine/conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/conf_impl.h"
#include "engine/table.h"

static struct wcore_config *config_new(void)
{
	struct wcore_config *cfg = calloc(1, sizeof(*cfg));

	if (!cfg)
		return NULL;
	atomic_init(&cfg->refs, 1);
	hash_init(&cfg->where);
	cfg->root_row.opt.type = WARREN_MAP;
	cfg->root_row.sub = &cfg->sections;
	cfg->root.row = &cfg->root_row;
	cfg->root.file = CONF_FILE_NONE;
	cfg->root.shape = CONF_MAP;
	cfg->tree = ytree_new();
	if (pthread_mutex_init(&cfg->where_lock, NULL) != 0 || !cfg->tree) {
		ytree_free(cfg->tree);
		free(cfg);
		return NULL;
	}
	return cfg;
}

void wcore_config_set_generation(struct wcore_config *cfg, uint64_t generation)
{
	cfg->generation = generation;
}

uint64_t wcore_config_generation(const struct wcore_config *cfg)
{
	return cfg ? cfg->generation : 0;
}

uint64_t wcore_conf_generation(const struct warren_conf *conf)
{
	while (conf->parent)
		conf = conf->parent;
	return CONTAINER_OF(conf, struct wcore_config, root)->generation;
}

struct wcore_config *wcore_config_ref(struct wcore_config *cfg)
{
	atomic_fetch_add_explicit(&cfg->refs, 1, memory_order_relaxed);
	return cfg;
}

void wcore_config_unref(struct wcore_config *cfg)
{
	if (!cfg || atomic_fetch_sub_explicit(&cfg->refs, 1, memory_order_acq_rel) > 1)
		return;
	conf_vault_free(cfg->vault);
	hash_free(&cfg->where);
	pthread_mutex_destroy(&cfg->where_lock);
	ytree_free(cfg->tree);
	arena_free(&cfg->arena);
	free(cfg);
}

/* What must outlive the tree: names of the files and of their sections. */
static bool keep_names(struct wcore_config *cfg)
{
	const struct ytree_node *top = cfg->top;
	size_t count = top && top->kind == YTREE_MAP ? top->count : 0;

	cfg->files = arena_alloc(&cfg->arena, cfg->tree->n_files * sizeof(*cfg->files));
	cfg->names = arena_alloc(&cfg->arena, count * sizeof(*cfg->names));
	cfg->places = arena_alloc(&cfg->arena, count * sizeof(*cfg->places));
	if (!cfg->files || !cfg->names || !cfg->places)
		return false;
	for (uint32_t i = 0; i < cfg->tree->n_files; i++) {
		const char *name = cfg->tree->files[i];

		cfg->files[i] = arena_text(&cfg->arena, name, strlen(name));
		if (!cfg->files[i])
			return false;
	}
	cfg->n_files = cfg->tree->n_files;
	for (const struct ytree_node *n = count ? top->first : NULL; n; n = n->next) {
		const char *name = arena_text(&cfg->arena, n->key, strlen(n->key));

		if (!name)
			return false;
		if (n->file < cfg->n_files) {
			cfg->places[cfg->n_names] = ytree_key_place(cfg->tree, n);
			cfg->places[cfg->n_names].file = cfg->files[n->file];
		}
		cfg->names[cfg->n_names++] = name;
	}
	return true;
}

static int parse_source(struct wcore_config *cfg, const struct wcore_conf_source *source,
			struct warren_err *err)
{
	bool overlay = source->flags & WCORE_SOURCE_OVERLAY;
	uint32_t flags = overlay ? YTREE_OVERLAY : 0;
	struct ytree_node *root;
	int result;

	if (source->bytes)
		result = ytree_parse(cfg->tree, source->name, source->bytes, source->len, flags,
				     &root, err);
	else
		result = ytree_parse_fd(cfg->tree, source->name, source->fd, flags, &root, err);
	if (result < 0)
		return result;
	cfg->overlay[root->file] = overlay;
	if (!overlay || conf_overrides_find(cfg, cfg->top, root))
		cfg->top = ytree_merge(cfg->top, root);
	else
		cfg->top = NULL;
	if (!cfg->top) {
		err_add(err, NULL, "no memory for the configuration");
		return -ENOMEM;
	}
	return 0;
}

struct wcore_config *wcore_config_parse(const struct wcore_conf_source *sources, size_t count,
					struct warren_err *err)
{
	struct wcore_config *cfg = config_new();
	bool good = true;

	if (!cfg) {
		err_add(err, NULL, "no memory for the configuration");
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		good &= parse_source(cfg, &sources[i], err) == 0;
	if (good && !keep_names(cfg)) {
		err_add(err, NULL, "no memory for the configuration");
		good = false;
	}
	if (good)
		return cfg;
	wcore_config_unref(cfg);
	return NULL;
}

const char *wcore_config_section_name(const struct wcore_config *cfg, size_t i)
{
	return i < cfg->n_names ? cfg->names[i] : NULL;
}

struct err_at wcore_config_section_place(const struct wcore_config *cfg, size_t i)
{
	return i < cfg->n_names ? cfg->places[i] : (struct err_at){ 0 };
}

static const struct warren_conf *find_section(const struct wcore_config *cfg, const char *name)
{
	const struct conf_row *row = conf_table_find(&cfg->sections, name);

	return row ? &cfg->root.of.items[row - cfg->sections.rows] : NULL;
}

const struct warren_conf *wcore_config_section(const struct wcore_config *cfg, const char *name)
{
	const struct warren_conf *section = find_section(cfg, name);

	return section && section->shape != CONF_NONE ? section : NULL;
}

const struct warren_conf *wcore_config_root(const struct wcore_config *cfg)
{
	return &cfg->root;
}

bool wcore_config_section_written(const struct wcore_config *cfg, const char *name)
{
	for (size_t i = 0; i < cfg->n_names; i++) {
		if (strcmp(cfg->names[i], name) == 0)
			return true;
	}
	return false;
}

/*
 * ---- Arguments of a command ----
 *
 * They become a tree as if a file had held them; the "file" of each is its name on the command
 * line, so that all sentences and places come out right without code of their own.
 */

struct args {
	struct wcore_config *cfg;
	const struct warren_table *rows;
	struct warren_err *err;
	struct ytree_node *map, *tail;
};

static bool find_option(const struct args *a, const char *name, struct warren_option *opt)
{
	for (uint32_t i = 0; wcore_table_row(a->rows, i, opt, sizeof(*opt)); i++) {
		if (str_equal(opt->key, name))
			return true;
	}
	memset(opt, 0, sizeof(*opt));
	return false;
}

static struct ytree_node *arg_node(struct args *a, uint8_t kind, uint8_t file)
{
	struct ytree_node *node = arena_alloc(&a->cfg->tree->arena, sizeof(*node));

	if (!node)
		return NULL;
	node->kind = kind;
	node->file = file;
	return node;
}

/* "--every", or the operand's own name: what sentences begin with. */
static bool arg_file(struct args *a, const struct warren_option *opt, const char *name)
{
	struct ytree *tree = a->cfg->tree;
	struct str text = STR_INIT;

	str_addf(&text, "%s%s", opt->flags & WARREN_POSITIONAL ? "" : "--", name);
	tree->files[tree->n_files] = arena_text(&tree->arena, str_text(&text), text.len);
	str_free(&text);
	return tree->files[tree->n_files++];
}

static struct ytree_node *find_arg(const struct args *a, const char *name)
{
	for (struct ytree_node *n = a->map->first; n; n = n->next) {
		if (strcmp(n->key, name) == 0)
			return n;
	}
	return NULL;
}

static void append(struct ytree_node *parent, struct ytree_node *child)
{
	struct ytree_node **link = &parent->first;

	while (*link)
		link = &(*link)->next;
	*link = child;
	parent->count++;
}

/* False: no memory. A name given too often is told here, an unknown one by the binder. */
static bool add_arg(struct args *a, const struct wcore_conf_pair *pair)
{
	const char *text = pair->value ? pair->value : "true";
	struct warren_option opt;
	struct ytree_node *value, *list;
	uint8_t file = (uint8_t)a->cfg->tree->n_files;
	bool many;

	find_option(a, pair->name, &opt);
	many = opt.flags & WARREN_MANY;
	if (!arg_file(a, &opt, pair->name))
		return false;
	value = arg_node(a, YTREE_SCALAR, file);
	list = find_arg(a, pair->name);
	if (!value)
		return false;
	value->quoted = true;
	value->text = arena_text(&a->cfg->tree->arena, text, strlen(text));
	if (list && !many) {
		struct err_at at = ytree_place(a->cfg->tree, value);

		err_add(a->err, &at, "is given twice; once is enough");
		return true;
	}
	if (list) {
		append(list, value);
		return value->text;
	}
	list = many ? arg_node(a, YTREE_LIST, file) : value;
	if (!list)
		return false;
	if (many)
		append(list, value);
	list->key = arena_text(&a->cfg->tree->arena, pair->name, strlen(pair->name));
	append(a->map, list);
	return value->text && list->key;
}

static bool add_args(struct args *a, const char *what, const struct wcore_conf_pair *pairs,
		     size_t count)
{
	a->cfg->top = arg_node(a, YTREE_MAP, CONF_FILE_NONE);
	a->map = arg_node(a, YTREE_MAP, CONF_FILE_NONE);
	if (!a->cfg->top || !a->map)
		return false;
	a->map->key = what;
	append(a->cfg->top, a->map);
	for (size_t i = 0; i < count; i++) {
		if (!add_arg(a, &pairs[i]))
			return false;
	}
	return keep_names(a->cfg);
}

struct wcore_config *wcore_conf_build(const char *what, const struct warren_table *rows,
				      const struct wcore_conf_pair *pairs, size_t count,
				      struct warren_err *err)
{
	struct warren_err own = ERR_INIT, *told = err ? err : &own;
	struct args a = { .cfg = config_new(), .rows = rows, .err = told };
	const struct wcore_conf_schema schema = { .name = what, .options = *rows };
	uint32_t before = told->errors;

	if (a.cfg && count > YTREE_MAX_FILES)
		err_add(told, NULL, "more than %d arguments", YTREE_MAX_FILES);
	else if (!a.cfg || !add_args(&a, what, pairs, count))
		err_add(told, NULL, "no memory for the arguments");
	if (told->errors == before) {
		a.cfg->command = true;
		wcore_config_bind(a.cfg, &schema, 1, 0, NULL, NULL, told);
	}
	if (told->errors != before) {
		wcore_config_unref(a.cfg);
		a.cfg = NULL;
	}
	err_free(&own);
	return a.cfg;
}
