/*
 * engine/conf.h - the configuration: files to typed values, differences, printing
 *
 * wcore_config_parse() reads files into a tree; wcore_config_bind() checks the tree against the
 * option tables and makes it values. From then on the configuration is immutable, shared by
 * reference and readable from any thread with the warren_conf_* getters of plugin.h. Parsing and
 * binding touch nothing outside the object: a bad file leaves what runs alone.
 */
#ifndef WARREN_ENGINE_CONF_H
#define WARREN_ENGINE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

#include "engine/err.h"

struct str;
struct wcore_config;

#pragma GCC visibility push(default)

enum { WCORE_SOURCE_OVERLAY = 1u << 0 };	/* refuses `system:`, `coordinator:` and secrets */

struct wcore_conf_source {
	const char *name;		/* what errors and --origin say; copied */
	const void *bytes;		/* NULL: read @fd, which stays open */
	size_t len;
	int fd;
	uint32_t flags;
};

/* One section of the file: a plugin's, or the core's own. */
struct wcore_conf_schema {
	const char *name;		/* the top-level key */
	const char *brief, *help;	/* for describe.h */
	struct warren_table options;	/* struct warren_option */
	int (*check)(const struct warren_conf *conf, struct warren_err *err);	/* or NULL */
	const char *implied_by;		/* the plugin that switched this one on, or NULL */
	uint32_t flags;
};
enum {
	/* Its plugin could not be loaded, which was reported: the section is accepted unread. */
	WCORE_SCHEMA_OPAQUE = 1u << 0,
	/* Bound even when no file has it: sections of the core, implied plugins. */
	WCORE_SCHEMA_ALWAYS = 1u << 1,
};

/* `node:`, `log:`, `system:`; all ALWAYS. Put them before those of the plugins. */
const struct wcore_conf_schema *wcore_core_schemas(size_t *count);

/*
 * Reads the files in order, each laid over those before it. NULL with sentences in @err (all files
 * are read, so that their errors come at once). The result has one reference and no values yet.
 * No source at all is an empty configuration.
 */
struct wcore_config *wcore_config_parse(const struct wcore_conf_source *sources, size_t count,
					struct warren_err *err);

/* Name of the @i-th section that the files have, in file order; NULL: the end. Before bind too. */
const char *wcore_config_section_name(const struct wcore_config *cfg, size_t i);
/* Where the key of that section stands, for err_add(). */
struct err_at wcore_config_section_place(const struct wcore_config *cfg, size_t i);

/*
 * Opens what a secret refers to. @path is the key path of the reference for OPEN
 * ("static.peers.nas.psk.file"), @value what stands there. Returns a descriptor, which the binder
 * closes, or -errno.
 */
struct wcore_secret_ask {
	const char *path, *value;
	bool credential;		/* {credential: NAME}, else {file: PATH} */
};
typedef int wcore_secret_fn(const struct wcore_secret_ask *ask, void *arg);

enum {
	WCORE_BIND_CHECK = 1u << 0,	/* a secret that cannot be opened is a note, not an error */
};

/*
 * Checks the whole tree against @schemas and makes the values. The array may go afterwards; tables
 * and texts that it points to must outlive @cfg. Bound are every section of the files, and those
 * that are ALWAYS bound. Runs the `check` of rows, then of sections (only of those that have no
 * error). @load NULL: secrets are not opened, and read as NULL bytes; a `check` must bear that.
 * 0 or -EINVAL with all errors in @err; @cfg is good for unref only then. Frees the tree, so it
 * is called once.
 */
int wcore_config_bind(struct wcore_config *cfg, const struct wcore_conf_schema *schemas,
		      size_t count, uint32_t flags, wcore_secret_fn *load, void *arg,
		      struct warren_err *err);

/*
 * A value that the overlay sets otherwise than a file of /etc, which it wins over; @file and @line
 * are of the file. In file order of the overlay; known before bind too.
 */
struct wcore_config_override {
	const char *path;		/* "control.shields-up" */
	const char *file;
	uint32_t line;
};
/* @cfg NULL: none. */
const struct wcore_config_override *wcore_config_overrides(const struct wcore_config *cfg,
							   size_t *count);

/* Which files it was made from, as the monitor counts them; 0: none of them. Any thread. */
void wcore_config_set_generation(struct wcore_config *cfg, uint64_t generation);
uint64_t wcore_config_generation(const struct wcore_config *cfg);	/* @cfg NULL: 0 */
uint64_t wcore_conf_generation(const struct warren_conf *conf);

struct wcore_config *wcore_config_ref(struct wcore_config *cfg);	/* any thread */
void wcore_config_unref(struct wcore_config *cfg);	/* any thread; takes NULL; wipes secrets */

/* Values of a section, or NULL when it is not bound (or opaque). Lives as long as @cfg. */
const struct warren_conf *wcore_config_section(const struct wcore_config *cfg, const char *name);
/* The whole configuration as a map of its sections. */
const struct warren_conf *wcore_config_root(const struct wcore_config *cfg);
/* True when a file has the section; false: implied or the core's own. */
bool wcore_config_section_written(const struct wcore_config *cfg, const char *name);

/*
 * Key path of @key of @conf (@key NULL: of @conf itself) for OPEN, WATCH, FILE and SOCKET requests
 * ("wg.port"), and the index in its list. Appended to @path.
 */
void wcore_conf_path(const struct warren_conf *conf, const char *key, struct str *path,
		     uint32_t *index);
/* Row flags (WARREN_READ ... ) and type of the value; @key as in the getters. */
uint32_t wcore_conf_flags(const struct warren_conf *conf, const char *key);
uint32_t wcore_conf_type(const struct warren_conf *conf, const char *key);

/*
 * ---- Command arguments: the same types and checks, without a file ----
 */

struct wcore_conf_pair {
	const char *name;		/* key of the row */
	const char *value;		/* NULL: a flag given without value, "true" */
};
/*
 * Values of a command's arguments as one section called @what (which must outlive them, as must
 * @rows); a name that comes more often than its row allows is an error, as are missing REQUIRED
 * ones. Values are plain text, no YAML. NULL with sentences ("--every: ...") in @err. Read with
 * wcore_config_section(cfg, @what).
 */
struct wcore_config *wcore_conf_build(const char *what, const struct warren_table *rows,
				      const struct wcore_conf_pair *pairs, size_t count,
				      struct warren_err *err);

/*
 * ---- Differences ----
 */

struct wcore_config_change {
	const char *section;
	const char *path;		/* "wg.port"; just "dns" for a section that came or went */
	uint32_t flags;			/* WARREN_RESTART, WARREN_COLD: of the row and above it */
	const struct warren_conf *old, *now;	/* NULL: not there */
};
typedef void wcore_config_change_fn(const struct wcore_config_change *change, void *arg);

/*
 * Calls @fn (may be NULL) for each value that differs, in the order of @now, what is gone after
 * that. Values count, not their origin: a default written down is no change. Secrets are compared
 * by their bytes. Returns the number of changes.
 */
size_t wcore_config_diff(const struct wcore_config *old, const struct wcore_config *now,
			 wcore_config_change_fn *fn, void *arg);

/*
 * ---- Printing ----
 */

enum {
	WCORE_PRINT_ORIGIN = 1u << 0,	/* "# file:line" after each value */
	WCORE_PRINT_DEFAULTS = 1u << 1,	/* also what no file says */
	WCORE_PRINT_JSON = 1u << 2,
};
/*
 * Appends the configuration in its normal form, which parses to the same configuration. Secrets
 * appear as the reference they were given as, never as bytes.
 */
void wcore_config_print(const struct wcore_config *cfg, uint32_t flags, struct str *out);
/* One value on one line, as YAML or (WCORE_PRINT_JSON) JSON; bytes of a secret as "(secret)". */
void wcore_conf_print_value(const struct warren_conf *value, uint32_t flags, struct str *out);
/*
 * The differences, one line each ("wg.port: 41641 -> 41642 (warren.yaml:3:9), restarts wg"), or
 * with WCORE_PRINT_JSON a list of objects. Returns the number of changes.
 */
size_t wcore_config_print_diff(const struct wcore_config *old, const struct wcore_config *now,
			       uint32_t flags, struct str *out);

#pragma GCC visibility pop

#endif
