/*
 * net/http1_impl.h - between http1.c (the machine) and http1_head.c (what a head says)
 */
#ifndef WARREN_NET_HTTP1_IMPL_H
#define WARREN_NET_HTTP1_IMPL_H

#include "base/str.h"

#include "net/http1.h"

enum http1_state {
	HTTP1_HEAD = 0, HTTP1_LENGTH, HTTP1_CHUNK_SIZE, HTTP1_CHUNK, HTTP1_CHUNK_END,
	HTTP1_TRAILER, HTTP1_TO_END,
	HTTP1_DONE,			/* all bytes are taken, `complete` is not called yet */
	HTTP1_FAILED,
};

struct http1 {
	enum http1_kind kind;
	const struct http1_events *events;
	void *arg;
	enum http1_state state;
	bool stop;			/* a message is complete: the feed returns */
	bool to_head, to_connect;	/* what the response answers */
	bool chunked, keeps_alive, upgraded, old;
	uint64_t left;			/* of the body or the chunk */
	struct str head;		/* the lines so far, or the line of a chunk */
	size_t line;			/* where the line under way begins in `head` */
	struct warren_http_head parsed;	/* points into `head` */
	struct warren_http_field fields[WARREN_HTTP_FIELDS];
};

/* Parses http->head into http->parsed, writing NULs into it, and sets what follows from it. */
int http1_head_parse(struct http1 *http, struct warren_err *err);
int http1_trailer_check(struct http1 *http, struct warren_err *err);
/* Says that the bytes are @what, returns -EBADMSG. */
int http1_bad(struct warren_err *err, const char *what);

#endif
