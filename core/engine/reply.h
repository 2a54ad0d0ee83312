/*
 * The answer to a command: what stands behind warren_reply_*().
 *
 * A reply turns the calls of a command into lines of the control protocol, each one JSON object:
 * {"data":...} (with "indent":true where it shall be printed with line ends), {"text":"..."},
 * {"note":"..."}, {"hint":"..."}, {"progress":{...}}, and at last {"end":{"exit":N,"error":"..."}}.
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

struct warren_ctx;
struct warren_reply;
struct wcore_config;
struct wcore_env;

enum {
	WCORE_REPLY_JSON = 1u << 0,		/* data wanted, not text */
	WCORE_REPLY_COLOUR = 1u << 1,
	WCORE_REPLY_INDENT = 1u << 2,		/* the client shall print data with line ends */

	WCORE_REPLY_DEPTH = 16,			/* objects and arrays inside each other */
	WCORE_REPLY_FDS = 64,			/* descriptors of one request */
	WCORE_REPLY_MAX = 16 << 20,	/* bytes of one document, one table, one line */
};

#pragma GCC visibility push(default)

struct wcore_reply_sink {
	/* One line, NUL-terminated, without newline. */
	void (*line)(void *arg, const char *json, size_t len);
	/* There was the last line; the reply may be gone when this returns. */
	void (*end)(void *arg, struct warren_reply *reply, int exit);
	/* Many lines with a newline after each but the last; NULL: they come one by one. */
	void (*lines)(void *arg, const char *json, size_t len);
};

/*
 * @sink outlives the reply. The result's one reference belongs to the command: the end of the
 * reply drops it. NULL: no memory.
 */
struct warren_reply *wcore_reply_new(const struct wcore_reply_sink *sink, void *arg,
				     uint32_t flags, uint32_t width);
void wcore_reply_ref(struct warren_reply *reply);
/* Frees with the last reference; closes descriptors that nobody took. */
void wcore_reply_unref(struct warren_reply *reply);

/*
 * The client is gone: the command's cancel callback runs, whatever it still writes is dropped, and
 * the sink is not called any more.
 */
void wcore_reply_hang_up(struct warren_reply *reply);
/* The argument of its sink if that is @sink and the client is there, else NULL. */
void *wcore_reply_sink_arg(const struct warren_reply *reply, const struct wcore_reply_sink *sink);
bool wcore_reply_ended(const struct warren_reply *reply);
/* The client was asked for something, which reply_make.c describes. */
bool wcore_reply_asks(const struct warren_reply *reply);
enum { WCORE_MADE_NAME = 256, WCORE_MADE_LINE = 4096, WCORE_MADE_ERRNO = 4096 };
struct wcore_made {
	bool made;
	int result;			/* -errno */
	char name[WCORE_MADE_NAME];	/* "": none */
};
/* 0 or -EBADMSG. */
int wcore_made_parse(const char *line, size_t len, struct wcore_made *out);
/* That is its answer; takes @fd, or -1. -EBADMSG: it is none. */
int wcore_reply_answered(struct warren_reply *reply, const char *line, size_t len, int fd);
/* Columns of the client's terminal; 0: no terminal. */
uint32_t wcore_reply_width(const struct warren_reply *reply);
/* Sentences about errors begin with "warren @path: "; @path is borrowed. */
void wcore_reply_name(struct warren_reply *reply, const char *path);
/* For warren_reply_caller(): the scope that the caller has, and node.operator or NULL. */
void wcore_reply_caller_set(struct warren_reply *reply, uint32_t scope, const char *operator_);
void wcore_reply_caller_copy(struct warren_reply *to, const struct warren_reply *from);
/* Before anything is written: data is wanted; it shall be indented. */
void wcore_reply_want_json(struct warren_reply *reply);
void wcore_reply_want_indent(struct warren_reply *reply);

/* Takes @fd, for warren_reply_take_fd(@key). 0; -E2BIG, -ENOMEM: @fd is closed then too. */
int wcore_reply_add_fd_take(struct warren_reply *reply, const char *key, int fd);
bool wcore_reply_has_fd(const struct warren_reply *reply, const char *key);

/* Ends the reply with @json, a question to the client (cmd.h), instead of an answer. */
void wcore_reply_ask(struct warren_reply *reply, const char *json);
/* Passes on a line of another reply; and its end, after its last line. */
void wcore_reply_forward(struct warren_reply *reply, const char *json, size_t len);
void wcore_reply_forward_end(struct warren_reply *reply, int exit);
/* Moves the descriptors that nobody took. */
void wcore_reply_move_fds(struct warren_reply *from, struct warren_reply *to);
uint32_t wcore_reply_flags(const struct warren_reply *reply);
/* Some text was written or derived. */
bool wcore_reply_has_text(const struct warren_reply *reply);

/*
 * Ties a reply that is still open to the context of its command: if that closes first, the reply
 * ends with exit 1. Takes @args, the command's arguments, until the end of the reply.
 */
int wcore_reply_tie(struct warren_reply *reply, struct warren_ctx *ctx);
void wcore_reply_keep_take(struct warren_reply *reply, struct wcore_config *args);

/* Where the command runs, for the core's verbs; valid inside their `run`. */
const struct wcore_env *wcore_reply_env(const struct warren_reply *reply);
void wcore_reply_env_set(struct warren_reply *reply, const struct wcore_env *env);

/*
 * A part of the answer that somebody else writes (a plugin's status): it cannot close what is
 * open now, wcore_reply_leave() closes what it left open and derives its text if it wrote only
 * data. With @heading, an empty line and "@key:" stand before its first line of text. Parts do not
 * nest. `leave` returns false if the part had to be repaired.
 * wcore_reply_more() does what warren_reply_more() asked for; false: nothing was or is asked for.
 */
void wcore_reply_enter(struct warren_reply *reply, const char *key, bool heading);
bool wcore_reply_wants_more(const struct warren_reply *reply);
bool wcore_reply_more(struct warren_reply *reply, struct warren_ctx *ctx);
bool wcore_reply_leave(struct warren_reply *reply);

/*
 * The beginning of an answer that is written on another thread: a draft of the same form as
 * @reply, which is written, ended, adopted and unreferenced, by one thread at a time. NULL: no
 * memory. Adopt it before anything else is written to @reply.
 */
struct warren_reply *wcore_reply_draft(const struct warren_reply *reply);
void wcore_reply_draft_end(struct warren_reply *draft);
void wcore_reply_adopt(struct warren_reply *reply, struct warren_reply *draft);

/* Adds text as it is to the data: @json is one complete value. */
void wcore_reply_json(struct warren_reply *reply, const char *key, const char *json);

#pragma GCC visibility pop

#endif
