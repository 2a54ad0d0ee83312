/*
 * Finding, checking and mapping plugins. Loading runs no code of the plugin: a descriptor is data.
 *
 * What is refused: a file or folder that somebody but root (or @owner) could have written, wrong
 * magic, another ABI major, a newer minor (while the major is 0: another minor), nonsense sizes and
 * strides, unknown flags, a name that is not the file's. Each refusal says what to do.
 */
#ifndef WARREN_ENGINE_PLUGIN_LOAD_H
#define WARREN_ENGINE_PLUGIN_LOAD_H

#include <stddef.h>
#include <sys/types.h>

#include <warren/plugin.h>

struct warren_err;

#pragma GCC visibility push(default)

enum { WCORE_PLUGIN_NAME = 32 };	/* with NUL; also WPRIV_OWNER */

struct wcore_plugin {			/* immutable, lives until the process ends */
	struct wcore_plugin *next;
	struct warren_plugin desc;	/* what the plugin gave, zero-extended to our size */
	char *path;			/* "/usr/lib/.../wg.so", or "builtin" */
};

/* A valid name of a plugin and section: a-z 0-9 - . , begins with a letter, no "..". */
bool wcore_plugin_name_ok(const char *name);

/*
 * The builtin plugin @name, or @dir/@name.so (once mapped, always the same answer). @dir NULL:
 * builtins only. @owner: a user beside root whose files are trusted (a build tree's); 0: root only.
 * NULL with a sentence in @err (may be NULL). Main thread.
 */
const struct wcore_plugin *wcore_plugin_load(const char *name, const char *dir, uid_t owner,
					     struct warren_err *err);

/*
 * Names of the builtins and of the files in @dir, sorted, each once; nothing is loaded. A
 * NULL-terminated array, freed as one piece with free(). NULL: no memory.
 */
char **wcore_plugin_scan(const char *dir);

#pragma GCC visibility pop

#endif
