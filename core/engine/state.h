/*
 * Documents on disk: <state>/engine/<plugin>/<name>, behind warren_state_read() and _write().
 *
 * A document is a line `{"format":N}` and the plugin's bytes (JSON, by convention): two JSON
 * values, which jq and friends read as they are. N is the @version of the call. A key file has no
 * such line. Both are files of mode 0600 in folders of mode 0700 that belong to the engine's user;
 * anything else is refused. Written as .<name>.new, fsync, rename, fsync of the folder: a full disk
 * or a crash leaves the old document whole.
 */
#ifndef WARREN_ENGINE_STATE_H
#define WARREN_ENGINE_STATE_H

#include <stddef.h>
#include <stdint.h>

struct warren_ctx;
struct warren_err;
struct wcore_state;

enum { WCORE_STATE_MAX = 64 << 20, WCORE_STATE_NAME = 128 };

/*
 * @dirfd is the folder <state>/engine and is taken; @shown is its path, for messages. -1: this
 * daemon keeps no state, reading finds nothing and writing fails. NULL: no memory.
 */
struct wcore_state *wcore_state_new_take(int dirfd, const char *shown);
/* The folder @name in the one of the plugin, made if it is not there: a descriptor, or -errno. */
int wcore_state_subfolder(struct warren_ctx *ctx, const char *name, struct warren_err *err);
void wcore_state_free(struct wcore_state *state);	/* no job runs; NULL is allowed */

#endif
