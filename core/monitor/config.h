/*
 * monitor/config.h - the YAML files as the monitor sees them: one generation
 *
 * The files are read once, as root, into sealed memory; monitor and engine parse the same bytes.
 * The monitor evaluates `system:` only, and looks up the paths and ports that requests name.
 */
#ifndef WARREN_MONITOR_CONFIG_H
#define WARREN_MONITOR_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "priv/limits.h"
#include "priv/wire.h"
#include "yaml/tree.h"

struct mon_overlay_edit;

struct mon_config {
	uint64_t generation;
	struct ytree *tree;
	struct ytree_node *root;	/* NULL: no file, or empty ones */
	uint32_t n_files;
	struct wpriv_file files[WPRIV_FILES_MAX];
	int fds[WPRIV_FILES_MAX];	/* sealed memfds */
	struct wpriv_limits limits;
	char user[64];			/* system.user */
	char plugin_dir[WPRIV_PATH];	/* empty: not given */
	int log_level;			/* log.level, or -1 */
	char log_format[16];		/* log.format, or empty */
	char *overlay;			/* its text, or NULL; for who set what */
	size_t overlay_len;
};

struct mon_config_from {
	const char *file;		/* conf.d/ is beside it */
	bool required;			/* it was named on the command line */
	const char *state;		/* monitor/overlay.yaml is below it */
	const struct mon_overlay_edit *edit;	/* to lay on the overlay, or NULL */
	struct str *overlay;		/* with @edit: gets the new overlay */
};
/* NULL with sentences in @err. */
struct mon_config *mon_config_load(const struct mon_config_from *from, uint64_t generation,
				   struct warren_err *err);
void mon_config_free(struct mon_config *config);

/*
 * The scalar at @key, element @index; NULL with a sentence when there is none. *@uid is whose it
 * is: 0 if it stands in /etc, else who set it by a command, with whose rights it is to be used.
 * @uid NULL: what stands in the overlay is refused.
 */
const struct ytree_node *mon_config_scalar(const struct mon_config *config, const char *key,
					   uint32_t index, uid_t *uid, struct warren_err *err);

/* The uid of node.operator, where the files in /etc name one that exists. */
bool mon_config_operator(const struct mon_config *config, uid_t *uid);

/* The engine's user: "name" or "uid:gid". root is refused. */
int mon_config_user(const char *text, uid_t *uid, gid_t *gid, struct warren_err *err);

#endif
