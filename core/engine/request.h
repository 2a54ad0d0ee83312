/*
 * One request of the control socket: a line of JSON.
 *
 *	{"argv":["wg","import","a.conf"],"format":"text","width":80,"colour":true,"fds":["file"]}
 *
 * `argv` is what stood after `warren` on the command line. `format` is "text" (the default) or
 * "json". `width` is that of the terminal, 0 for none. `fds` names, in order, the operands whose
 * descriptors came along (SCM_RIGHTS). Any other member, a member of another type and a member
 * that comes twice are refused: what is not understood might have mattered.
 */
#ifndef WARREN_ENGINE_REQUEST_H
#define WARREN_ENGINE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/reply.h"

struct json_t;
struct warren_err;

enum {
	WCORE_REQUEST_BYTES = 64 << 10,	/* of the line */
	WCORE_REQUEST_WORDS = 256,	/* of argv */
	WCORE_REQUEST_WIDTH = 1000,	/* wider terminals count as this */
};

struct wcore_request {
	struct json_t *json;		/* holds the texts below */
	const char **argv;
	size_t argc;
	const char *fds[WCORE_REPLY_FDS];
	size_t n_fds;
	uint32_t flags;			/* WCORE_REPLY_JSON, WCORE_REPLY_COLOUR */
	uint32_t width;
};

/*
 * Reads @len bytes, without the newline. 0, or -EINVAL or -ENOMEM with one sentence in @err; then
 * there is nothing to free.
 */
int wcore_request_parse(struct wcore_request *request, const char *line, size_t len,
			struct warren_err *err);
void wcore_request_free(struct wcore_request *request);

#endif
