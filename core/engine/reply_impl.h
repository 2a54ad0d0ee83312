/*
 * reply_impl.h - what the files reply*.c share
 */
#ifndef WARREN_ENGINE_REPLY_IMPL_H
#define WARREN_ENGINE_REPLY_IMPL_H

#include <warren/plugin.h>

#include "base/str.h"
#include "engine/columns.h"
#include "engine/reply.h"

struct reply_fd {
	char *key;
	int fd;
};

struct warren_reply {
	const struct wcore_reply_sink *sink;
	void *arg;
	uint32_t flags, width;
	uint32_t refs;
	bool ended, gone;
	const char *broken;		/* why the answer is incomplete, constant */

	struct str data;		/* documents so far, in text form one per line */
	char kinds[WCORE_REPLY_DEPTH];	/* '{' or '[' */
	bool filled[WCORE_REPLY_DEPTH];
	unsigned depth;
	unsigned floor;			/* the command may not close below it */
	bool implicit;			/* the outermost object was opened by its first member */
	bool had_data;

	struct wcore_columns columns;
	struct str only_text;		/* JSON form: text to send if there will be no data */
	size_t lines;			/* of text so far */

	struct str drafted;		/* of a draft: lines that the adopter sends */

	bool in_part;
	unsigned outer_floor;
	size_t part_data, part_lines;	/* where the part began */
	const char *heading;		/* of the part, before its first line */
	warren_more_fn *more;		/* writes on in a later turn, from @more_at */
	uint32_t more_at;

	struct reply_fd fds[WCORE_REPLY_FDS];
	unsigned n_fds;

	warren_make_fn *made;		/* the client was asked for a file, or to keep one */
	void *made_arg;
	bool keeping, has_made;

	void (*cancel)(struct warren_reply *, void *);
	void *cancel_arg;
	struct wcore_tie *tie;		/* to the context of the command */
	struct wcore_config *args;	/* of the command, kept for it */
	const struct wcore_env *env;
	const char *path;		/* of the command, for errors */
	char caller[80];		/* who typed it */
};

#endif
