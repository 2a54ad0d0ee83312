/*
 * engine/conf_impl.h - values and rows inside the configuration; private to conf*.c and err.c
 *
 * A configuration is one tree of `struct warren_conf`. Its root is a map whose rows are the
 * sections, so that sections need no code of their own. Every value points to its row and to the
 * value above it; maps hold one value for each row of their table (shape CONF_NONE: absent), lists
 * and keyed maps one for each element. All of it lies in the arena of the configuration.
 */
#ifndef WARREN_ENGINE_CONF_IMPL_H
#define WARREN_ENGINE_CONF_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/hash.h"
#include "engine/conf.h"
#include "yaml/tree.h"

enum {
	CONF_FILE_NONE = 254,		/* stands nowhere: a command's arguments as a whole */
	CONF_FILE_DEFAULT = 255,	/* comes from a row's `def`, or is implied */
	CONF_MAX_SECRET = 64 << 10,	/* bytes of one secret */
	CONF_MAX_NESTING = 12,		/* tables inside tables: a plugin's mistake beyond */
};

/*
 * One option, as big as our header says. What is MANY or KEYED has the row of its elements in
 * `elem`, and its limits and `check` moved there; a map whose keys the operator chooses is KEYED
 * here, however the plugin declared it.
 */
struct conf_row {
	struct warren_option opt;
	struct conf_table *sub;		/* of a MAP with fixed keys */
	struct conf_row *elem;		/* of MANY and KEYED */
	const struct ytree_node *def;	/* what `def` parses to; valid while binding */
	const struct warren_conf *def_scalar;	/* a default that is no container, bound once */
	const char *implied_by;		/* of a section's row, or NULL */
};
struct conf_table {
	struct conf_row *rows;
	uint32_t count;
};

enum { CONF_NONE, CONF_SCALAR, CONF_LIST, CONF_KEYED, CONF_MAP };

struct warren_conf {
	const struct conf_row *row;
	const struct warren_conf *parent;	/* NULL: the root */
	const char *name;		/* key in the map above; of an element: its list's */
	uint32_t line;			/* 0: no place in a file */
	uint16_t column;
	uint8_t file;			/* index, or CONF_FILE_... */
	uint8_t shape;
	union {
		int64_t number;		/* BOOL INT SIZE DURATION; ENUM: index */
		const char *text;	/* STRING PATH FD_IN FD_OUT FD_DIR */
		struct warren_addr addr;
		struct warren_addrport addrport;
		struct warren_prefix prefix;
		const struct warren_secret *secret;
		struct {
			struct warren_conf *items;
			uint32_t count;
		} of;			/* LIST KEYED MAP */
	};
};

struct warren_secret {
	uint8_t *bytes;			/* NULL: was not opened */
	size_t len;
	const char *reference;		/* path or name of the credential */
	bool credential;
};

struct conf_vault;			/* locked memory of all secrets of a configuration */

struct wcore_config {
	atomic_uint refs;
	uint64_t generation;		/* of its files, as the monitor counts them; 0: none */
	struct arena arena;
	struct ytree *tree;		/* between parse and bind */
	struct ytree_node *top;
	const char **files;
	uint32_t n_files;
	struct wcore_config_override *overrides;
	size_t n_overrides;
	bool overlay[YTREE_MAX_FILES];	/* the file is the overlay */
	bool command;			/* arguments of a command, not files */
	const char **names;		/* sections of the files, and where they begin */
	struct err_at *places;
	size_t n_names;
	struct conf_row root_row;
	struct conf_table sections;
	struct warren_conf root;
	struct conf_vault *vault;
	pthread_mutex_t where_lock;	/* guards `where` and, once bound, the arena */
	struct hash where;		/* texts of warren_conf_where() */
};

/* State of one bind, passed down. `err` is never NULL. */
struct conf_bind {
	struct wcore_config *cfg;
	struct ytree *defaults;		/* holds the trees of all defaults */
	uint32_t flags;			/* WCORE_BIND_... */
	bool command;			/* arguments of a command, not files */
	bool in_default;		/* a row's `def` is being read */
	wcore_secret_fn *load;
	void *load_arg;
	struct warren_err *err;
};

/* conf_override.c. Before @over, of the overlay, is laid on @base. False: no memory. */
bool conf_overrides_find(struct wcore_config *cfg, const struct ytree_node *base,
			 const struct ytree_node *over);

/* conf_row.c. A mistake in a table is told in b->err as the plugin's fault. */
struct conf_table *conf_table_compile(struct conf_bind *b, const struct warren_table *rows,
				      const char *what, uint32_t nesting);
/* Makes @row the row of a section. */
void conf_section_compile(struct conf_bind *b, const struct wcore_conf_schema *schema,
			  struct conf_row *row);
const struct conf_row *conf_table_find(const struct conf_table *table, const char *key);

/* conf_bind.c. Fills @value, whose name and parent are set; false: told. */
bool conf_bind_value(struct conf_bind *b, const struct ytree_node *node,
		     const struct conf_row *row, struct warren_conf *value);
struct err_at conf_bind_place(const struct conf_bind *b, const struct ytree_node *node);
void *conf_bind_alloc(struct conf_bind *b, size_t size);	/* NULL: told */
char *conf_bind_text(struct conf_bind *b, const char *text);	/* NULL: told */

/* conf_scalar.c: one text to one value, and back. */
bool conf_scalar_parse(struct conf_bind *b, const struct err_at *at, const char *text,
		       struct warren_conf *value);
/* "a duration, as in 30s" */
void conf_type_expected(const struct warren_option *opt, struct str *out);
/* The value as a file spells it, without quotes. */
void conf_scalar_format(const struct warren_conf *value, struct str *out);
void conf_number_format(const struct warren_option *opt, int64_t number, struct str *out);
const char *conf_type_name(uint32_t type);

/* conf_secret.c */
bool conf_secret_bind(struct conf_bind *b, const struct ytree_node *node,
		      struct warren_conf *value);
bool conf_secret_equal(const struct warren_secret *a, const struct warren_secret *b);
void conf_vault_free(struct conf_vault *vault);

/* conf_get.c */
struct wcore_config *conf_owner(const struct warren_conf *value);
struct err_at conf_place(const struct warren_conf *value);
bool conf_equal(const struct warren_conf *a, const struct warren_conf *b);
/* The value under @key of a map (NULL: @conf itself); aborts where no row declares it. */
const struct warren_conf *conf_child(const struct warren_conf *conf, const char *key,
				     const char *caller);
/* The entry of that name, or NULL. *@hint (0 at first) makes a walk in order cheap. */
const struct warren_conf *conf_keyed_find(const struct warren_conf *keyed, const char *name,
					  uint32_t *hint);

#endif
