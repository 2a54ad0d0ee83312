/*
 * The answer to a command: what stands behind warren_reply_*().
 *
 * A reply turns the calls of a command into lines of the control protocol, each one JSON object:
 * {"data":...}, {"text":"..."}, {"progress":{...}}, and at last {"end":{"exit":N,"error":"..."}}.
 * It hands them to a sink: the control socket, or the client itself where the command runs there.
 * In text form no data is sent; in JSON form no text, unless a command has nothing else.
 *
 * A command that nests wrongly (a key inside an array, a close too many, an end with something
 * open) made a programming error: the reply goes silent and ends with exit 1 and a sentence that
 * names the error, so that half an answer is never taken for a whole one.
 *
 * A reply lives on one lane.
 */
#ifndef WARREN_ENGINE_REPLY_H
#define WARREN_ENGINE_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct warren_reply;

enum {
	WCORE_REPLY_JSON = 1u << 0,		/* data wanted, not text */
	WCORE_REPLY_COLOUR = 1u << 1,

	WCORE_REPLY_DEPTH = 16,			/* objects and arrays inside each other */
	WCORE_REPLY_FDS = 8,			/* descriptors of one request */
	WCORE_REPLY_MAX = 16 << 20,	/* bytes of one document, one table, one line */
};

struct wcore_reply_sink {
	/* One line, NUL-terminated, without newline. */
	void (*line)(void *arg, const char *json, size_t len);
	/* After the last line; the reply may be freed inside. */
	void (*end)(void *arg, struct warren_reply *reply, int exit);
};

/* @sink is borrowed and outlives the reply. NULL: no memory. */
struct warren_reply *wcore_reply_new(const struct wcore_reply_sink *sink, void *arg,
				     uint32_t flags, uint32_t width);
/* Closes what nobody took, calls nobody back. NULL is allowed. */
void wcore_reply_free(struct warren_reply *reply);

/* The client is gone: the command's cancel callback runs, whatever it still writes is dropped. */
void wcore_reply_hang_up(struct warren_reply *reply);
bool wcore_reply_ended(const struct warren_reply *reply);
/* Columns of the client's terminal; 0: no terminal. */
uint32_t wcore_reply_width(const struct warren_reply *reply);

/* Takes @fd, for warren_reply_take_fd(@key). -E2BIG: too many; @fd is closed then too. */
int wcore_reply_add_fd_take(struct warren_reply *reply, const char *key, int fd);
bool wcore_reply_has_fd(const struct warren_reply *reply, const char *key);

/*
 * A part of the answer that somebody else writes (a plugin's status): it cannot close what is
 * open now, wcore_reply_leave() closes what it left open and derives its text if it wrote only
 * data. Parts do not nest. `leave` returns false if the part had to be repaired.
 */
void wcore_reply_enter(struct warren_reply *reply, const char *key);
bool wcore_reply_leave(struct warren_reply *reply);

/* Sends one line of the protocol that is not an answer: `{"open":...}`. @json is a whole object. */
void wcore_reply_raw(struct warren_reply *reply, const char *json, size_t len);

#endif
