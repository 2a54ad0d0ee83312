/*
 * yaml/tree.h - YAML files as one bare tree
 *
 * Monitor and engine both read the configuration through this and see the same tree. It knows no
 * option: a scalar is a text, and whether it was quoted. Every value carries file, line and column
 * of itself and of its key. Refused, each with file:line:column and a way out: more than one
 * document, duplicate keys, keys that are not scalars, anchors, aliases, merge keys, tags, NUL and
 * control bytes, invalid UTF-8, and what exceeds the limits below. Nodes live in one arena and go
 * with the tree.
 *
 * Key paths, also used by OPEN: "static.peers.nas.psk.file"; an element of a list is "accept[2]";
 * a key that holds one of . [ ] " or is empty is quoted: serve."https:443"."/docs.html"
 */
#ifndef WARREN_YAML_TREE_H
#define WARREN_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct str;

enum {
	YTREE_MAX_BYTES = 4 << 20,	/* of one file */
	YTREE_MAX_NODES = 400000,	/* of all files together */
	YTREE_MAX_DEPTH = 32,
	YTREE_MAX_FILES = 250,
	YTREE_MAX_KEY = 255,		/* bytes of one key */
};

enum ytree_kind { YTREE_NULL, YTREE_SCALAR, YTREE_LIST, YTREE_MAP };

struct ytree_node {
	uint8_t kind;			/* enum ytree_kind */
	uint8_t file;			/* index for ytree_file() */
	bool quoted;			/* scalar: "x", 'x' or a block: never null or a number */
	bool explicit_null;		/* null: written "null" or "~", not left empty */
	uint16_t column, key_column;	/* from 1; 65535: that or more */
	uint32_t line, key_line;	/* from 1; key_*: 0 outside a map */
	uint32_t count;			/* children of a list or map */
	const char *key;		/* in a map, NUL-terminated; else NULL */
	union {
		const char *text;	/* scalar, NUL-terminated */
		struct ytree_node *first;	/* first child of a list or map */
	};
	struct ytree_node *next;	/* its next sibling, in file order */
};

struct ytree {
	struct arena arena;
	const char *files[YTREE_MAX_FILES];
	uint32_t n_files, n_nodes;
};

/* An empty tree on the heap, or NULL. */
struct ytree *ytree_new(void);
void ytree_free(struct ytree *tree);

enum { YTREE_OVERLAY = 1u << 0 };	/* `system:` and `coordinator:` are refused in this file */

/*
 * Parses @len bytes as one file and puts the root, a map (NULL kind for an empty file), into
 * *@root. @name is what errors say; copied. 0, or -EINVAL, -EFBIG, -ENOMEM with at least one
 * sentence in @err; *@root is NULL then, and @tree can still be used for other files.
 */
int ytree_parse(struct ytree *tree, const char *name, const void *bytes, size_t len,
		uint32_t flags, struct ytree_node **root, struct warren_err *err);
/* The same from a descriptor, read to its end and left open. */
int ytree_parse_fd(struct ytree *tree, const char *name, int fd, uint32_t flags,
		   struct ytree_node **root, struct warren_err *err);

/*
 * Lays @over on @base (NULL: nothing) and returns the result, or NULL: no memory. Both roots are
 * of the same tree and used up. Maps merge by key, scalars and lists replace, an explicit null
 * removes the key (it does so in the first file too), an empty value changes nothing that is there.
 * Origins stay with their values.
 */
struct ytree_node *ytree_merge(struct ytree_node *base, struct ytree_node *over);

/* The same scalar, or a list of the same; maps are never the same. */
bool ytree_same(const struct ytree_node *a, const struct ytree_node *b);

/* Value of @key in @map, or NULL. */
const struct ytree_node *ytree_get(const struct ytree_node *map, const char *key);
/*
 * The value at key path @path. When it is a list, its element @index; a value that is no list is
 * its own element 0. NULL: there is none, or @path is malformed.
 */
const struct ytree_node *ytree_at(const struct ytree_node *root, const char *path, uint32_t index);
/* Appends @key to the key path @path as described above, with the dot where one is needed. */
void ytree_path_add(struct str *path, const char *key);

const char *ytree_file(const struct ytree *tree, const struct ytree_node *node);
/* Place of the value, or of its key. */
struct err_at ytree_place(const struct ytree *tree, const struct ytree_node *node);
struct err_at ytree_key_place(const struct ytree *tree, const struct ytree_node *node);

#endif
