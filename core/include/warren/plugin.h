/*
 * warren/plugin.h - the header that a plugin includes
 *
 * A plugin is one shared object that exports one constant, `struct warren_plugin`, through the
 * macro WARREN_PLUGIN at the end of this file. Everything in it is inert data: loading a plugin
 * runs none of its code. What the plugin does later hangs off a context, `struct warren_ctx`: one
 * per started plugin. Timers, descriptors, subscriptions, memory and all else that a plugin
 * registers belongs to its context and goes with it, so a plugin may leak nothing even if it tries.
 *
 * Threads. A context lives on one lane (a thread with an event loop; "main" unless the operator
 * moved it). Unless a comment says "any thread", a function is called on the context's lane, and
 * asserts it. Callbacks run on that lane. A callback does not block; one that takes more than 5 ms
 * is logged with the plugin's name. Slow work goes to the job pool: warren_work().
 *
 * Errors. A function that can fail returns 0 or -errno. Where an operator can act on it, it also
 * writes one sentence into a `struct warren_err`: warren_fail().
 *
 * ABI. The major is 0 while the in-tree plugins are being built: major and minor must be equal.
 * From 1.0 on: other major refused, newer minor refused, older minor served. Structures that a
 * plugin fills grow at the end only, zero means "as before", and their sizes and strides cross the
 * boundary. Structures that the core fills begin with `size` and are read through pointers.
 */
#ifndef WARREN_PLUGIN_H
#define WARREN_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define WARREN_ABI_MAGIC 0x4e525257u	/* "WRRN"; also tells byte order */
#define WARREN_ABI_MAJOR 0
#define WARREN_ABI_MINOR 1
#define WARREN_PENDING 1		/* accepted; the outcome comes later */
#define WARREN_PRINTF(f, a) __attribute__((format(printf, f, a)))

struct warren_ctx;			/* one started plugin: owns all that it registers */
struct warren_conf;			/* a validated, immutable piece of the configuration */
struct warren_err;			/* collects sentences for the operator */
struct warren_secret;			/* bytes that must not be printed */
struct warren_timer;
struct warren_io;
struct warren_job;
struct warren_stat;
struct warren_reply;
struct warren_check_result;

/* Arrays cross the boundary with their stride, so that rows may grow. */
struct warren_table {
	uint32_t stride, count;
	const void *rows;
};
#define WARREN_TABLE(a) { sizeof((a)[0]), sizeof(a) / sizeof((a)[0]), (a) }

/*
 * ---- Errors ----
 */

/*
 * Adds a sentence to @err (which may be NULL). @at is the piece of configuration that is to
 * blame, or NULL: its file:line:column goes before the sentence. Returns -EINVAL, so that a
 * check can end with `return warren_fail(...)`. Any thread that owns @err.
 */
int warren_fail(struct warren_err *err, const struct warren_conf *at, const char *fmt, ...)
	WARREN_PRINTF(3, 4);
/* The same, about the value under @key of @at; returns @result, a negative errno. */
int warren_fail_key(struct warren_err *err, int result, const struct warren_conf *at,
		    const char *key, const char *fmt, ...) WARREN_PRINTF(5, 6);

/*
 * ---- Options: one row is parser, error text, manual page, JSON schema, sample and completion ----
 */

enum {
	WARREN_BOOL = 1,		/* true false yes no on off */
	WARREN_INT,			/* 42, 0x2a */
	WARREN_SIZE,			/* bytes: 64KiB, 1MiB, 512 */
	WARREN_DURATION,		/* microseconds: 5s, 1m30s, 250ms, 3d; "off" is 0 */
	WARREN_STRING,
	WARREN_ENUM,
	WARREN_ADDR,			/* 192.0.2.1, 2001:db8::1 */
	WARREN_ADDRPORT,		/* 192.0.2.1:41641, [2001:db8::1]:41641 */
	WARREN_PREFIX,			/* 10.0.0.0/8; a bare address is a host prefix */
	WARREN_PATH,			/* opened by the core only: warren_conf_open() */
	WARREN_SECRET_REF,		/* {file: PATH} or {credential: NAME}; read by the core */
	WARREN_MAP,			/* rows in `sub` */
	WARREN_FD_IN,			/* commands only: a file that the client opened to read */
	WARREN_FD_OUT,			/* commands only: a file that the client opened to write */
	WARREN_FD_DIR,			/* commands only: a folder; the client makes files there */
};

enum {
	WARREN_REQUIRED = 1u << 0,
	WARREN_MANY = 1u << 1,		/* a list of this type; a single value is a list of one */
	WARREN_KEYED = 1u << 2,		/* a map whose keys the operator chooses, of this type */
	WARREN_RESTART = 1u << 3,	/* a change restarts the plugin (else: reload) */
	WARREN_COLD = 1u << 4,		/* a change needs a restart of the daemon: refused */
	WARREN_DEPRECATED = 1u << 5,	/* parsed, warned about, ignored */
	WARREN_READ = 1u << 6,		/* WARREN_PATH: access that the plugin needs */
	WARREN_WRITE = 1u << 7,
	WARREN_DIR = 1u << 8,
	WARREN_CONNECT = 1u << 9,
	WARREN_POSITIONAL = 1u << 10,	/* commands: an operand, not a --option */
	WARREN_HOST_BITS = 1u << 11,	/* WARREN_PREFIX: 10.90.0.1/24 is meant; else an error */
	/*
	 * FD_IN: only "file:PATH" is a file, else text itself. MAP: a single value may stand for
	 * the map; it is that of the first row.
	 */
	WARREN_OR_TEXT = 1u << 12,
	/*
	 * With POSITIONAL and MANY, the last row: words for another program. From the first word
	 * that could be one of them all are, whatever they look like: "-v" and "--" too.
	 */
	WARREN_VERBATIM = 1u << 13,
};

struct warren_option {
	const char *key;		/* "max-size"; NULL in the one row of a KEYED scalar */
	uint32_t type, flags;
	const char *def;		/* default as YAML spells it; NULL: none */
	int64_t min, max;		/* of the number, or of the length in bytes; both 0: any */
	const char *const *values;	/* WARREN_ENUM: NULL-terminated */
	struct warren_table sub;	/* WARREN_MAP */
	const char *brief, *help;	/* one line that ends with a period; paragraphs or NULL */
	/* Pure test of one value that the type allows; @at holds it (a scalar: key NULL). */
	int (*check)(const struct warren_conf *at, struct warren_err *err);
	const char *example;		/* a valid value in YAML, for samples; NULL: by type */
};

struct warren_addr {			/* an address: IPv4 in the first four bytes */
	uint8_t family;			/* 0 none, 4, 6 */
	uint8_t bytes[16];
};
struct warren_addrport {
	struct warren_addr addr;
	uint16_t port;			/* host order */
};
struct warren_prefix {			/* host bits are zero, but for WARREN_HOST_BITS */
	struct warren_addr addr;
	uint8_t bits;
};

/*
 * Getters. @conf is a map, and @key names one of its rows; a key that no row declares, or a getter
 * of another type, is a programming error and aborts. @key NULL reads @conf itself, where it is a
 * scalar. An option without value and default reads as 0, NULL or family 0: ask
 * warren_conf_has(). The results live as long as @conf: until the plugin's next reload or stop.
 * Any thread.
 */
bool warren_conf_has(const struct warren_conf *conf, const char *key);
bool warren_conf_bool(const struct warren_conf *conf, const char *key);
int64_t warren_conf_int(const struct warren_conf *conf, const char *key); /* INT SIZE DURATION */
const char *warren_conf_str(const struct warren_conf *conf, const char *key); /* STRING ENUM PATH */
uint32_t warren_conf_enum(const struct warren_conf *conf, const char *key); /* index in values */
struct warren_addr warren_conf_addr(const struct warren_conf *conf, const char *key);
struct warren_addrport warren_conf_addrport(const struct warren_conf *conf, const char *key);
struct warren_prefix warren_conf_prefix(const struct warren_conf *conf, const char *key);
const struct warren_secret *warren_conf_secret(const struct warren_conf *conf, const char *key);
const struct warren_conf *warren_conf_map(const struct warren_conf *conf, const char *key);
/* Elements of a MANY or KEYED option, in file order; read an element with key NULL or as map. */
uint32_t warren_conf_count(const struct warren_conf *conf, const char *key);
const struct warren_conf *warren_conf_at(const struct warren_conf *conf, const char *key,
					 uint32_t i);
const char *warren_conf_name(const struct warren_conf *conf);	/* its key in the map above it */
bool warren_conf_equal(const struct warren_conf *a, const struct warren_conf *b, const char *key);
/* "warren.yaml:12:5" of the value, for log lines. */
const char *warren_conf_where(const struct warren_conf *conf, const char *key);

/*
 * Opens what the WARREN_PATH option @key of @conf names, with the access that its row declares.
 * The monitor opens it: values of files in /etc as root, values of the overlay as the user who set
 * them. warren_conf_open_wait() may be called inside `start` and `reload` only and returns a
 * descriptor that the caller owns, or -errno with a sentence in @err.
 */
int warren_conf_open_wait(struct warren_ctx *ctx, const struct warren_conf *conf, const char *key,
			  struct warren_err *err);

/* Secrets: never logged, never in an answer; bytes are in locked memory of the core. */
const uint8_t *warren_secret_bytes(const struct warren_secret *secret, size_t *len);

/*
 * ---- The plugin's own state, memory and log ----
 */

void *warren_self(struct warren_ctx *ctx);		/* any thread */
void warren_self_set(struct warren_ctx *ctx, void *self);
const char *warren_name(const struct warren_ctx *ctx);	/* any thread */
/* Zeroed memory of the context; NULL when there is none. */
void *warren_zalloc(struct warren_ctx *ctx, size_t size);
/* Frees memory, a timer, an io or a stat earlier than its context; NULL is allowed. */
void warren_release(void *owned);
/*
 * Calls @fn(@arg) when @ctx ends: on its lane, after its `stop`, before its `fini`, the newest
 * first. For a provider that holds something on behalf of @ctx: what @fn gives to warren_retire()
 * may point into memory of @ctx, which is freed after the workers' grace. The result is for
 * warren_release(), which forgets the call; NULL when there is no memory.
 */
void *warren_on_end(struct warren_ctx *ctx, void (*fn)(void *arg), void *arg);

/* @level is LOG_ERR ... LOG_DEBUG of syslog.h. Any thread but a packet hook. */
void warren_log(struct warren_ctx *ctx, int level, const char *fmt, ...) WARREN_PRINTF(3, 4);
/*
 * For lines that a peer can cause: at most 5 lines in 10 s per @bucket (owned by the caller,
 * zeroed at first); then the number of suppressed lines is told. Any thread.
 */
struct warren_limit {
	uint64_t opaque[2];
};
void warren_log_limit(struct warren_ctx *ctx, struct warren_limit *bucket, int level,
		      const char *fmt, ...) WARREN_PRINTF(4, 5);

/* Microseconds: since boot, suspend included (tests fake it); since 1970. Any thread. */
uint64_t warren_now(void);
int64_t warren_realtime(void);
/*
 * The name of this node in its network: node.hostname of the configuration that is being put into
 * force or is, else the first label of the machine's name. Lane main. @out has 64 bytes at least.
 */
void warren_hostname(struct warren_ctx *ctx, char *out, size_t size);

/*
 * ---- Timers, descriptors, deferred calls, jobs ----
 */

typedef void warren_call_fn(struct warren_ctx *ctx, void *arg);

struct warren_timer *warren_timer_new(struct warren_ctx *ctx, warren_call_fn *fn, void *arg);
void warren_timer_set(struct warren_timer *timer, uint64_t usec);	/* from now */
void warren_timer_stop(struct warren_timer *timer);

enum { WARREN_IN = 1u << 0, WARREN_OUT = 1u << 1, WARREN_HUP = 1u << 2 };
typedef void warren_io_fn(struct warren_ctx *ctx, int fd, uint32_t what, void *arg);
/* Takes @fd and closes it with the io. Level-triggered. */
struct warren_io *warren_io_new_take(struct warren_ctx *ctx, int fd, warren_io_fn *fn, void *arg);
void warren_io_want(struct warren_io *io, uint32_t what);

/* Runs @fn on the context's lane, later. Any thread. -ESHUTDOWN: the context is gone or going. */
int warren_defer(struct warren_ctx *ctx, warren_call_fn *fn, void *arg);

/*
 * Runs @job on the pool (it touches @arg and nothing else), then @done on the context's lane. A
 * stopping context waits for its jobs; @done runs then too. -EAGAIN when the queue is full.
 */
int warren_work(struct warren_ctx *ctx, void (*job)(void *arg), warren_call_fn *done, void *arg);

/*
 * Looks @name up with the host's resolver, on a thread of its own pool; an address in text form
 * needs no lookup but is answered later all the same. @result is the number of addresses, or -errno
 * with @why. A stopping context does not wait: after its `stop`, @done is told -ECANCELED, and
 * nothing is looked up any more.
 */
typedef void warren_resolve_fn(struct warren_ctx *ctx, int result, const struct warren_addr *addrs,
			       const char *why, void *arg);
int warren_resolve(struct warren_ctx *ctx, const char *name, warren_resolve_fn *done, void *arg);
/*
 * For who becomes the host's resolver: whom look-ups of the whole process ask from now on in place
 * of those that the host's configuration names, so that they never depend on ourselves; the first
 * three that have an IPv4 address. None, and the end of @ctx: the host's configuration. Lane main.
 * 0 or -ENOMEM.
 */
int warren_resolve_by(struct warren_ctx *ctx, const struct warren_addrport *servers, uint32_t n);

/*
 * ---- Events: reference-counted objects on named topics ----
 *
 * A sticky topic keeps its last object and gives it to new subscribers. Events arrive on the
 * subscriber's lane after the publisher has returned, in the order of publication.
 */

struct warren_obj {			/* embed as the first field */
	uint32_t size;			/* of the embedding structure */
	uint32_t refs;			/* touched by the functions below only */
	void (*free)(struct warren_obj *obj);	/* any thread */
};
void warren_obj_init(struct warren_obj *obj, size_t size, void (*free_fn)(struct warren_obj *));
void *warren_obj_ref(const void *obj);		/* any thread */
void warren_obj_unref(const void *obj);		/* any thread; NULL is allowed */

/* @obj lives for the call; take a reference to keep it. */
typedef void warren_event_fn(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg);
int warren_subscribe(struct warren_ctx *ctx, const char *topic, warren_event_fn *fn, void *arg);
/* Takes one reference to @obj. The topic must be a row of the plugin's `topics`. */
int warren_publish_take(struct warren_ctx *ctx, const char *topic, void *obj);

enum { WARREN_STICKY = 1u << 0 };
struct warren_topic {
	const char *name;
	uint32_t flags, reserved;
	const char *brief;
};

/*
 * ---- Services: structures of function pointers, declared in warren/service/<name>.h ----
 */

enum {
	WARREN_SOFT = 1u << 0,		/* the plugin starts without it; bound by `found` later */
	WARREN_ENABLE = 1u << 1,	/* if nothing offers it, `provider` is switched on */
};
struct warren_port {			/* one row of `needs` or `offers` */
	const char *name;
	uint16_t major, minor;
	uint32_t flags;
	const char *provider;		/* needs with WARREN_ENABLE: the plugin to switch on */
	const char *brief;
};
/* In `start`: publishes @ops (constant, begins with its size) and @self under an offered name. */
int warren_offer(struct warren_ctx *ctx, const char *service, const void *ops, void *self);
/*
 * A need of this plugin. Hard: valid from `start` until `stop`. -ENOENT: a soft one is absent;
 * -EAGAIN: it is, and among the plugins that are about to start (lane main only).
 */
int warren_need(struct warren_ctx *ctx, const char *service, const void **ops, void **self);

/*
 * ---- Metrics ----
 */

enum { WARREN_COUNTER = 1, WARREN_GAUGE = 2 };
struct warren_metric {
	const char *name;		/* "rx_bytes": shown as warren_<plugin>_<name> */
	uint32_t kind, flags;
	const char *unit;		/* "bytes", "packets", "1" */
	const char *label;		/* name of its one label, or NULL */
	const char *brief;
};
/* The counter of a metric row for one label value (NULL: none); the same one for the same names. */
struct warren_stat *warren_stat_open(struct warren_ctx *ctx, const char *name, const char *label);
void warren_stat_add(struct warren_stat *stat, int64_t n);	/* any thread, hooks too */
void warren_stat_set(struct warren_stat *stat, int64_t n);	/* any thread */
/*
 * The metrics of all plugins in the text format of Prometheus 0.0.4, for free(). NULL: no memory.
 * Any thread, while @ctx lives.
 */
char *warren_stats_text(struct warren_ctx *ctx);

/*
 * ---- Commands: an IPC method and a CLI verb at once ----
 *
 * The answer is a stream. `run` may return WARREN_PENDING and write and end the reply later, as
 * long as the context lives; else the core ends it with the returned value. With --json the client
 * prints the data; without, it prints the text. A command writes both or text is derived.
 *
 * Data. A key at the top belongs to the one object that is the answer. warren_reply_open() without
 * a key at the top opens a document of its own: a stream of them is how a command follows events.
 * Inside '[' all keys are NULL.
 *
 * Operands. Where a MANY row is followed by others, these take the last words.
 *
 * Text. One call is one line, or several with "\n" between them. Lines that hold tabs are rows of
 * a table: the core aligns the columns of rows that follow each other. Colours ("\033[31m") are
 * removed where the client did not ask for them, other control characters always.
 */

enum {
	WARREN_CMD_ANY = 0,		/* who may call: anybody on this host */
	WARREN_CMD_OPERATOR = 1,	/* node.operator and root */
	WARREN_CMD_ROOT = 2,
	/*
	 * Also while the plugin does not run: for the command that switches it on. On lane main,
	 * with the core's own context, which never ends: see warren_running().
	 */
	WARREN_CMD_ALWAYS = 1u << 11,
	/*
	 * As the stock client's scripts expect it: an operand too many ends with exit status 1
	 * instead of 2, and data is printed with line ends and blanks, to a pipe too.
	 */
	WARREN_CMD_STOCK = 1u << 12,
	WARREN_CMD_OFFLINE = 1u << 8,	/* `warren` may run it without a daemon: needs no context */
};
struct warren_command {
	const char *path;		/* "wg import" */
	uint32_t flags, reserved;
	struct warren_table args;	/* struct warren_option: --options and operands */
	const char *brief, *help, *example;
	/* @ctx is NULL where an OFFLINE command runs inside the client. */
	int (*run)(struct warren_ctx *ctx, const struct warren_conf *args,
		   struct warren_reply *reply, struct warren_err *err);
};
/* "root", "operator wells" or "anybody": who typed it, by the socket; lives as @reply. */
const char *warren_reply_caller(const struct warren_reply *reply);
bool warren_reply_json(const struct warren_reply *reply);	/* the client wants data */
void warren_reply_open(struct warren_reply *reply, const char *key, char kind);	/* '{' or '[' */
void warren_reply_close(struct warren_reply *reply);
void warren_reply_str(struct warren_reply *reply, const char *key, const char *fmt, ...)
	WARREN_PRINTF(3, 4);
void warren_reply_int(struct warren_reply *reply, const char *key, int64_t value);
void warren_reply_bool(struct warren_reply *reply, const char *key, bool value);
void warren_reply_null(struct warren_reply *reply, const char *key);	/* data: known to be none */
void warren_reply_text(struct warren_reply *reply, const char *fmt, ...) WARREN_PRINTF(2, 3);
/*
 * For whoever waits, not for what reads the answer: the client prints it at once and on standard
 * error, with --json too. Tabs make no table.
 */
void warren_reply_note(struct warren_reply *reply, const char *fmt, ...) WARREN_PRINTF(2, 3);
/* What the client says, with exit status 1, when it is interrupted from now on. */
void warren_reply_hint(struct warren_reply *reply, const char *fmt, ...) WARREN_PRINTF(2, 3);
/* Shown on a terminal until something else is written; @total 0: not known. */
void warren_reply_progress(struct warren_reply *reply, int64_t done, int64_t total,
			   const char *unit);
/* Bytes of a file called @name: the client shows the rate and the time that is left as well. */
void warren_reply_transfer(struct warren_reply *reply, const char *name, int64_t done,
			   int64_t total);
/* The client hung up: the reply ends with this call. Called at most once, not after the end. */
void warren_reply_on_cancel(struct warren_reply *reply, void (*fn)(struct warren_reply *, void *),
			    void *arg);
void warren_reply_end(struct warren_reply *reply, int exit, const char *error);
/*
 * The descriptor that the client passed for the FD_IN/FD_OUT operand @key, of a MANY one the next;
 * the caller owns it.
 */
int warren_reply_take_fd(struct warren_reply *reply, const char *key);

/*
 * FD_DIR. The client opens the folder at first (warren_reply_take_fd() is a descriptor of it, or
 * of /dev/null where that was named, good for telling which) and then makes files in it, one at a
 * time, as whoever typed the command. A file has no name of its own until it is kept, and is
 * removed if it never is. The plugin is on lane main.
 */
enum warren_make { WARREN_MAKE_SKIP = 1,	/* -EEXIST where there is such a name */
		   WARREN_MAKE_OVERWRITE, WARREN_MAKE_RENAME };	/* "name (1).txt", 99 at most */
/*
 * @fd, to write, is the callee's; after _keep(): -1, and @name is what it is called now. @result:
 * 0 or -errno. Not called any more when the client has hung up.
 */
typedef void warren_make_fn(struct warren_reply *reply, int result, int fd, const char *name,
			    void *arg);
/* 0: @done is called later. -EBUSY: one is not kept or dropped yet; -EINVAL; -EOPNOTSUPP. */
int warren_reply_make(struct warren_reply *reply, const char *key, const char *name,
		      enum warren_make how, warren_make_fn *done, void *arg);
int warren_reply_keep(struct warren_reply *reply, warren_make_fn *done, void *arg);
void warren_reply_drop(struct warren_reply *reply);

/*
 * For long lists, inside `status`: @fn(..., @at) writes on in a later turn of the loop, and may ask
 * for another one. What is open stays open.
 */
typedef void warren_more_fn(struct warren_ctx *ctx, struct warren_reply *reply, uint32_t at);
void warren_reply_more(struct warren_reply *reply, warren_more_fn *fn, uint32_t at);

/* For WARREN_CMD_ALWAYS: the context of plugin @name, on lane main, if it runs now; else NULL. */
struct warren_ctx *warren_running(struct warren_ctx *ctx, const char *name);

/*
 * Whether the configuration may have @key, "router.accept", or the section @key, "ssh": an
 * installed plugin or the core has a row for it. Lane main.
 */
bool warren_key_known(struct warren_ctx *ctx, const char *key);

/*
 * Changes settings on behalf of the client of @reply, as `warren set` does. @key is a path as in
 * the files, of plain names ("control.url"); @value is JSON, NULL removes what commands have set.
 * The monitor learns from the connection whose wish it is, and refuses users other than root and
 * node.operator, `system:`, `coordinator:` and secrets. A key that a file of /etc sets is refused
 * with its file and line unless OVERRIDE is given; what says the same as the files is not written.
 * All changes come into force together, by a reload, or none does. Lane main, inside a command.
 * 0: @done is called from the loop, unless @ctx ends before: 0 with what was done, which is on disk
 * by then, or -errno with what is wrong. Else -errno with a sentence.
 */
struct warren_overlay_change {
	const char *key, *value;
};
enum { WARREN_OVERLAY_OVERRIDE = 1u << 0 };
typedef void warren_overlay_fn(struct warren_ctx *ctx, int result, const char *text, void *arg);
int warren_overlay_set(struct warren_ctx *ctx, struct warren_reply *reply,
		       const struct warren_overlay_change *changes, uint32_t n, uint32_t flags,
		       warren_overlay_fn *done, void *arg, struct warren_err *err);

/*
 * ---- Doctor: check rows ----
 */

enum { WARREN_OK = 0, WARREN_NOTE, WARREN_WARN, WARREN_BAD };
struct warren_check {
	const char *id;			/* "wg.socket-buffer" */
	uint32_t severity, reserved;	/* of a finding: WARREN_NOTE ... WARREN_BAD */
	const char *brief, *help;
	/* True: all is well. Else says what is wrong and what to do, by warren_finding(). */
	bool (*run)(struct warren_ctx *ctx, struct warren_check_result *result);
};
void warren_finding(struct warren_check_result *result, const char *fmt, ...) WARREN_PRINTF(2, 3);

/*
 * A plugin's contribution to `warren status`, under its own name; the reply is inside an object.
 * Text lines appear in the status as they are.
 */
typedef void warren_status_fn(struct warren_ctx *ctx, struct warren_reply *reply);

/*
 * ---- State on disk: documents below <state>/engine/<plugin>/ ----
 *
 * warren_state_read() may be called in `start` and `reload`; the result is memory of the context
 * (wiped when freed, if it is a key). -ENOENT: there is none. Anything unreadable, of a wrong owner
 * or mode, or of an unknown format version is another error with a sentence: refuse to start.
 * warren_state_write() copies @data, writes temporary file, fsync, rename, fsync of the folder on
 * the job pool, the latest of several at once wins, and calls @done (may be NULL) on the lane.
 * _wait writes before it returns; `start` only.
 */
enum { WARREN_STATE_KEY = 1u << 0 };	/* a key file: raw bytes, 0600, no version line */
int warren_state_read(struct warren_ctx *ctx, const char *name, uint32_t flags, uint32_t version,
		      void **data, size_t *len, struct warren_err *err);
typedef void warren_state_fn(struct warren_ctx *ctx, int result, void *arg);
int warren_state_write(struct warren_ctx *ctx, const char *name, uint32_t flags, uint32_t version,
		       const void *data, size_t len, warren_state_fn *done, void *arg);
int warren_state_write_wait(struct warren_ctx *ctx, const char *name, uint32_t flags,
			    uint32_t version, const void *data, size_t len, struct warren_err *err);
/*
 * The absolute path of file @name in that folder, for a library that opens its files by itself (a
 * database). Makes the folder, not the file. `start` and `reload` only.
 */
int warren_state_path(struct warren_ctx *ctx, const char *name, char *out, size_t size,
		      struct warren_err *err);

/*
 * ---- The descriptor ----
 */

enum { WARREN_PLUGIN_LANE = 1u << 0 };	/* may be given a lane of its own by `lane:` */

struct warren_plugin {
	uint32_t magic;
	uint16_t abi_major, abi_minor;	/* what it was compiled against */
	uint32_t size, flags;
	const char *name, *version, *license, *brief, *help;
	struct warren_table options, commands, metrics, needs, offers, topics, checks;
	uint64_t privops;		/* operations it may request: 1 << WARREN_OP_..., priv.h */
	/* Pure test of the plugin's whole section; runs in `warren config check` too. */
	int (*check)(const struct warren_conf *conf, struct warren_err *err);
	int (*start)(struct warren_ctx *ctx, const struct warren_conf *conf,
		     struct warren_err *err);
	/* 0: the new configuration is in force. Error: the old one still is, whole. */
	int (*reload)(struct warren_ctx *ctx, const struct warren_conf *old,
		      const struct warren_conf *now, struct warren_err *err);
	/* Drain; WARREN_PENDING: calls warren_stopped() later. Services are still there. */
	int (*stop)(struct warren_ctx *ctx);
	/* Last words, nothing may be registered any more; the core frees the rest. A `start` that
	   returned an error has cleaned up what the core cannot know: no `stop`, no `fini`. */
	void (*fini)(struct warren_ctx *ctx);
	/* A soft need has come, or is about to go: drop its handle inside `lost`. */
	void (*found)(struct warren_ctx *ctx, const char *service, const void *ops, void *self);
	void (*lost)(struct warren_ctx *ctx, const char *service);
	warren_status_fn *status;
	/*
	 * For the one plugin that speaks for the whole node: the head of `warren status`, at the
	 * top of the answer. On lane main, `overview` gathers what there is to say (@args are the
	 * verb's: bools peers, self, active, header; NULL: no memory) and `overview_free` ends it.
	 * In between, `overview_write` runs on the pool and touches nothing else than @view and
	 * @reply; it returns the exit status of the text form. The plugin has no lane of its own.
	 */
	void *(*overview)(struct warren_ctx *ctx, const struct warren_conf *args);
	int (*overview_write)(const void *view, struct warren_reply *reply);
	void (*overview_free)(void *view);
};
void warren_stopped(struct warren_ctx *ctx);
/* `start` returned WARREN_PENDING: the plugin is up, or (@result < 0) failed. */
void warren_started(struct warren_ctx *ctx, int result);
/* A running plugin cannot do its job any more: logs @fmt and stops it and its dependents. */
void warren_fatal(struct warren_ctx *ctx, const char *fmt, ...) WARREN_PRINTF(2, 3);

#pragma GCC visibility pop

#ifdef WARREN_BUILTIN			/* the same source, linked into libwarren */
#define WARREN_ENTRY(id) warren_plugin_##id
#else
#define WARREN_ENTRY(id) warren_plugin_entry
#endif
#define WARREN_PLUGIN(id, id_name, ...)							\
	__attribute__((visibility("default")))						\
	extern const struct warren_plugin WARREN_ENTRY(id);				\
	const struct warren_plugin WARREN_ENTRY(id) = {					\
		.magic = WARREN_ABI_MAGIC, .abi_major = WARREN_ABI_MAJOR,		\
		.abi_minor = WARREN_ABI_MINOR, .size = sizeof(struct warren_plugin),	\
		.name = id_name, __VA_ARGS__						\
	}

#ifdef __cplusplus
}
#endif
#endif
