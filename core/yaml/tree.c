/*
 * The tree after parsing: laying one file over another, finding a value by its key path, telling
 * where a value stands. Children are linked lists in file order; a hash is made only where two
 * large maps meet. Recursion goes no deeper than YTREE_MAX_DEPTH.
 */
#include "yaml/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/str.h"

enum { MERGE_HASH_FROM = 16 };

struct ytree *ytree_new(void)
{
	return calloc(1, sizeof(struct ytree));
}

void ytree_free(struct ytree *tree)
{
	if (!tree)
		return;
	arena_free(&tree->arena);
	free(tree);
}

static bool is_container(const struct ytree_node *node)
{
	return node->kind == YTREE_LIST || node->kind == YTREE_MAP;
}

/* Drops what is written as null from all maps below @node. */
static void prune(struct ytree_node *node)
{
	struct ytree_node **link = &node->first;

	if (!is_container(node))
		return;
	while (*link) {
		if (node->kind == YTREE_MAP && (*link)->kind == YTREE_NULL &&
		    (*link)->explicit_null) {
			*link = (*link)->next;
			node->count--;
			continue;
		}
		prune(*link);
		link = &(*link)->next;
	}
}

struct merge_map {
	struct ytree_node *map;
	struct ytree_node **end;	/* where the next child is hung; NULL: to be looked for */
	struct hash index;		/* unused while the map is small */
	bool indexed;
};

static bool merge_open(struct merge_map *m, struct ytree_node *map)
{
	m->map = map;
	m->end = NULL;
	m->indexed = map->count >= MERGE_HASH_FROM;
	hash_init(&m->index);
	for (struct ytree_node *n = m->indexed ? map->first : NULL; n; n = n->next) {
		if (hash_put_str(&m->index, n->key, n, NULL) < 0) {
			hash_free(&m->index);
			return false;
		}
	}
	return true;
}

static struct ytree_node *merge_find(const struct merge_map *m, const char *key)
{
	if (m->indexed)
		return hash_get_str(&m->index, key);
	for (struct ytree_node *n = m->map->first; n; n = n->next) {
		if (strcmp(n->key, key) == 0)
			return n;
	}
	return NULL;
}

static void remove_child(struct merge_map *m, const struct ytree_node *child)
{
	struct ytree_node **link = &m->map->first;

	while (*link != child)
		link = &(*link)->next;
	*link = child->next;
	m->map->count--;
	m->end = NULL;
}

static void append_child(struct merge_map *m, struct ytree_node *child)
{
	if (!m->end)
		m->end = &m->map->first;
	while (*m->end)
		m->end = &(*m->end)->next;
	child->next = NULL;
	*m->end = child;
	m->map->count++;
}

static bool merge_maps(struct ytree_node *base, struct ytree_node *over);

static bool merge_child(struct merge_map *m, struct ytree_node *over)
{
	struct ytree_node *have = merge_find(m, over->key), *next;

	if (over->kind == YTREE_NULL && over->explicit_null) {
		/* The index keeps the key, but no file has a key twice. */
		if (have)
			remove_child(m, have);
		return true;
	}
	if (!have) {
		prune(over);
		append_child(m, over);
		return true;
	}
	if (over->kind == YTREE_NULL)
		return true;
	if (over->kind == YTREE_MAP && have->kind == YTREE_MAP)
		return merge_maps(have, over);
	prune(over);
	next = have->next;
	*have = *over;
	have->next = next;
	return true;
}

static bool merge_maps(struct ytree_node *base, struct ytree_node *over)
{
	struct ytree_node *next;
	struct merge_map m;
	bool ok = true;

	if (!merge_open(&m, base))
		return false;
	for (struct ytree_node *n = over->first; ok && n; n = next) {
		next = n->next;
		ok = merge_child(&m, n);
	}
	hash_free(&m.index);
	return ok;
}

struct ytree_node *ytree_merge(struct ytree_node *base, struct ytree_node *over)
{
	if (!base || base->kind != YTREE_MAP) {
		prune(over);
		return over;
	}
	if (over->kind == YTREE_MAP && !merge_maps(base, over))
		return NULL;
	return base;
}

bool ytree_same(const struct ytree_node *a, const struct ytree_node *b)
{
	const struct ytree_node *x, *y;

	if (a->kind != b->kind)
		return false;
	if (a->kind == YTREE_SCALAR)
		return strcmp(a->text, b->text) == 0;
	if (a->kind != YTREE_LIST || a->count != b->count)
		return false;
	for (x = a->first, y = b->first; x && y; x = x->next, y = y->next) {
		if (!ytree_same(x, y))
			return false;
	}
	return true;
}

const struct ytree_node *ytree_get(const struct ytree_node *map, const char *key)
{
	if (!map || map->kind != YTREE_MAP)
		return NULL;
	for (const struct ytree_node *n = map->first; n; n = n->next) {
		if (strcmp(n->key, key) == 0)
			return n;
	}
	return NULL;
}

static const struct ytree_node *element(const struct ytree_node *list, uint32_t index)
{
	const struct ytree_node *n = list->first;

	while (n && index-- > 0)
		n = n->next;
	return n;
}

/* Reads one key of a path into @key; *@path moves behind it. */
static bool path_key(const char **path, char key[YTREE_MAX_KEY + 1])
{
	bool quoted = **path == '"';
	const char *p = *path + quoted;
	size_t len = 0;

	for (; *p && (quoted ? *p != '"' : !strchr(".[]\"\\", *p)); p++) {
		if (quoted && *p == '\\' && *++p == '\0')
			return false;
		if (len == YTREE_MAX_KEY)
			return false;
		key[len++] = *p;
	}
	key[len] = '\0';
	if (quoted && *p++ != '"')
		return false;
	*path = p;
	return quoted || len > 0;
}

/* Reads "[12]"; *@path moves behind it. */
static bool path_index(const char **path, uint32_t *index)
{
	const char *p = *path + 1;
	uint32_t value = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (value > YTREE_MAX_NODES)
			return false;
		value = value * 10 + (uint32_t)(*p - '0');
	}
	if (*p != ']')
		return false;
	*path = p + 1;
	*index = value;
	return true;
}

const struct ytree_node *ytree_at(const struct ytree_node *root, const char *path, uint32_t index)
{
	const struct ytree_node *node = root;
	char key[YTREE_MAX_KEY + 1];
	uint32_t at;

	do {
		if (!path_key(&path, key))
			return NULL;
		node = ytree_get(node, key);
		while (node && *path == '[') {
			if (!path_index(&path, &at) || (node->kind != YTREE_LIST && at > 0))
				return NULL;
			if (node->kind == YTREE_LIST)
				node = element(node, at);
		}
		if (!node || (*path && *path != '.'))
			return NULL;
	} while (*path++ == '.');
	if (node->kind == YTREE_LIST)
		return element(node, index);
	return index == 0 ? node : NULL;
}

void ytree_path_add(struct str *path, const char *key)
{
	if (path->len > 0)
		str_addc(path, '.');
	if (*key && !strpbrk(key, ".[]\"\\ \t\n\r")) {
		str_add(path, key);
		return;
	}
	str_addc(path, '"');
	for (; *key; key++) {
		if (*key == '"' || *key == '\\')
			str_addc(path, '\\');
		str_addc(path, *key);
	}
	str_addc(path, '"');
}

const char *ytree_file(const struct ytree *tree, const struct ytree_node *node)
{
	return node->file < tree->n_files ? tree->files[node->file] : "";
}

struct err_at ytree_place(const struct ytree *tree, const struct ytree_node *node)
{
	return (struct err_at){
		.file = ytree_file(tree, node), .order = node->file,
		.line = node->line, .column = node->column,
	};
}

struct err_at ytree_key_place(const struct ytree *tree, const struct ytree_node *node)
{
	struct err_at at = ytree_place(tree, node);

	if (node->key_line > 0) {
		at.line = node->key_line;
		at.column = node->key_column;
	}
	return at;
}
