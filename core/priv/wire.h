/*
 * priv/wire.h - what monitor and engine say to each other
 *
 * One SOCK_SEQPACKET socketpair, inherited by the engine as descriptor 3. A message is a header, a
 * payload of a fixed layout per type, and up to WPRIV_MSG_FDS descriptors. Both ends come from the
 * same build and run on the same host, so integers are in host order; the monitor still takes every
 * byte from the engine as hostile: sizes are compared, structures are copied out, never cast.
 *
 *	monitor		engine
 *	HELLO ->			settings, control socket, files of the first generation
 *		<- READY		up: `result` 0 and a status line
 *		<- HEARTBEAT		its loop turns; about once a second
 *		<- REQUEST		an operation of priv.h for one owner
 *	ANSWER ->			the same seq
 *	EVENT ->			a watched file changed
 *		<- OWNER_END		a context ended: undo what it asked for
 *		<- RELOAD_ASK		read the files again
 *	RELOAD_FILES ->			the next generation; or `result` < 0 and what is wrong
 *		<- RELOAD_DONE		`result` 0: both at the new generation; else the old
 *		<- OVERLAY		change the overlay: RELOAD_FILES with its seq answers
 *	OVERLAY_KEPT ->			after its RELOAD_DONE with 0: it is on disk; or `result` < 0
 *	STOP ->				end in order; the engine then exits with status 0
 */
#ifndef WARREN_PRIV_WIRE_H
#define WARREN_PRIV_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum {
	WPRIV_FD = 3,			/* the engine's end */
	WPRIV_VERSION = 1,
	WPRIV_MSG_MAX = 64 << 10,	/* header and payload */
	WPRIV_FILES_MAX = 128,		/* YAML files of one generation */
	WPRIV_MSG_FDS = WPRIV_FILES_MAX + 1,
	WPRIV_TEXT_MAX = 16 << 10,	/* bytes of a text at the end of a message */
	WPRIV_INLINE_MAX = 32 << 10,	/* a longer request or answer travels in a sealed memfd */
	WPRIV_OWNER = 32,		/* bytes of a plugin's name */
	WPRIV_PATH = 256,
	WPRIV_HEARTBEAT = 1000000,	/* microseconds */
};

enum wpriv_type {
	WPRIV_HELLO = 1,
	WPRIV_READY,
	WPRIV_HEARTBEAT_MSG,
	WPRIV_REQUEST,
	WPRIV_ANSWER,
	WPRIV_EVENT,
	WPRIV_OWNER_END,
	WPRIV_RELOAD_ASK,
	WPRIV_RELOAD_FILES,
	WPRIV_RELOAD_DONE,
	WPRIV_STOP,
	WPRIV_OVERLAY,
	WPRIV_OVERLAY_KEPT,
	WPRIV_TYPE_LAST = WPRIV_OVERLAY_KEPT,
};

struct wpriv_head {
	uint32_t type;			/* enum wpriv_type */
	uint32_t seq;			/* of a request (OVERLAY) and its answers; else 0 */
	uint32_t len;			/* of the payload */
	int32_t result;			/* 0 or -errno */
};

/*
 * ---- Payloads ----
 * Those that say "text follows" end with the bytes of a sentence without NUL.
 */

enum { WPRIV_HELLO_NO_PRIVSEP = 1u << 0 };
struct wpriv_hello {			/* descriptors: the control socket, then one per file */
	uint32_t version, flags;
	uint64_t generation;		/* counts from 1 */
	uint32_t files;			/* struct wpriv_file follow */
	uint32_t log_level;		/* LOG_ERR ... LOG_DEBUG; UINT32_MAX: not given */
	char log_format[16];		/* "text", "json", "auto"; empty: not given */
	char state[WPRIV_PATH];		/* the folder that the engine may write */
	char plugin_dir[WPRIV_PATH];
	char config[WPRIV_PATH];	/* the main file, for messages */
	char socket[WPRIV_PATH];	/* the control socket, for messages */
};

enum wpriv_file_kind { WPRIV_FILE_MAIN = 1, WPRIV_FILE_CONFD, WPRIV_FILE_OVERLAY };
struct wpriv_file {			/* with a sealed memfd: what the monitor parsed */
	uint32_t kind, size;
	char name[WPRIV_PATH];
};

struct wpriv_request {			/* the items follow, or are in a sealed memfd */
	uint32_t op;			/* enum warren_op */
	uint32_t size;			/* bytes of the items */
	uint64_t generation;		/* whose key paths it means */
	char owner[WPRIV_OWNER];
};

struct wpriv_answer {			/* data, then text follow */
	int64_t value;
	uint32_t handle;
	uint32_t data;			/* bytes of the data */
	uint32_t text;			/* bytes of the sentence */
	uint32_t flags;
};
enum { WPRIV_ANSWER_MEMFD = 1u << 0 };	/* the data is in the last descriptor, a sealed memfd */

struct wpriv_event {
	uint32_t op;			/* WARREN_OP_WATCH */
	uint32_t handle;
};

struct wpriv_owner_end {
	char owner[WPRIV_OWNER];
};

struct wpriv_ready {			/* text follows: STATUS= of the service manager */
	uint64_t generation;
};

struct wpriv_reload_files {		/* struct wpriv_file follow (0), or text (< 0) */
	uint64_t generation;
	uint32_t files, reserved;
};

enum { WPRIV_OVERLAY_OVERRIDE = 1u << 0 };
struct wpriv_overlay {			/* descriptor: the client's connection; YAML text follows */
	uint32_t flags, reserved;
};

/* OVERLAY_KEPT: text alone, and only with `result` < 0. */

struct wpriv_reload_done {		/* text follows */
	uint64_t generation;
};

/*
 * FILE answers. STAT: one record. LIST: one record per entry, each followed by its name and a NUL,
 * padded to 8 bytes.
 */
struct wpriv_entry {
	uint64_t size;
	int64_t mtime;			/* microseconds since 1970 */
	uint32_t mode;			/* st_mode */
	uint32_t name;			/* bytes of the name with NUL and padding */
};

#endif
