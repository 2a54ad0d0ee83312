/*
 * engine/priv_impl.h - what priv_client.c and priv_call.c share
 */
#ifndef WARREN_ENGINE_PRIV_IMPL_H
#define WARREN_ENGINE_PRIV_IMPL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/priv.h>

#include "base/list.h"
#include "engine/priv_client.h"
#include "priv/channel.h"

enum {
	PRIV_PENDING_MAX = 65536,	/* requests without an answer */
	PRIV_OUT_MAX = 1024,		/* messages that the socket did not take */
	PRIV_WAIT_MS = 30000,		/* for an answer; the monitor's slowest job ends sooner */
};

/* An answer taken out of its message. */
struct priv_result {
	int result;
	int64_t value;
	uint32_t handle, count;
	int fds[WARREN_PRIV_FDS];
	char *error;			/* NULL: none */
	void *data;
	size_t len;
};
void wcore_priv_result_clear(struct priv_result *result);	/* closes, frees */

struct priv_watch {
	struct list node;
	struct warren_ctx *ctx;
	warren_watch_fn *fn;
	void *arg;
	uint32_t handle;		/* 0: not answered yet */
	uint32_t id;			/* for the errand that calls fn */
	char what[WARREN_PRIV_KEY];
};

/* Where warren_priv_wait() finds its answer. */
struct priv_waiter {
	bool done;
	struct priv_result got;
};

struct priv_pending {
	struct list node;
	uint32_t seq;
	uint64_t generation;		/* 0: the one in use */
	struct warren_ctx *ctx;		/* NULL: it has ended, or nobody but `waiter` is told */
	warren_priv_fn *done;
	void *arg;
	struct priv_waiter *waiter;
	uint32_t watch;			/* id of a watch that gets the handle; 0: none */
};

/* What warren_priv_wait() gave to a context last, until the next call. */
struct priv_kept {
	struct list node;
	const struct warren_ctx *ctx;
	struct priv_result got;
};

struct priv_ask {			/* a caller of wcore_priv_reload() */
	struct list node;
	bool sent;
	char *overlay;			/* what to lay on the overlay; NULL: just read the files */
	int client;			/* its connection, ours; -1 */
	uint32_t flags, seq;		/* of an overlay: WPRIV_OVERLAY_, and of its message */
	char *did;			/* what its reload did; not yet on disk */
	wcore_priv_reload_fn *done;
	void *arg;
};

struct priv_message {			/* came while a call waited, or could not be sent */
	struct list node;
	struct wpriv_msg msg;		/* msg.data points behind this structure */
};

struct wcore_priv {
	struct wcore_engine *engine;
	int fd;
	bool lost;
	const struct wcore_priv_handlers *handlers;
	struct wpriv_hello hello;
	struct wcore_priv_settings settings;
	int control;			/* -1: taken */
	struct wcore_priv_files files;	/* of the start */
	void *buf;			/* lane main */
	struct warren_io *io;
	struct warren_timer *heartbeat;

	uint64_t generation, next;	/* in force; being tried, or 0. Lane main */
	uint32_t next_seq, ask_seq;	/* whose overlay that is, or 0; the newest number */
	struct list asks;		/* lane main */
	struct list later;		/* lane main: struct priv_message, for the loop */

	pthread_mutex_t lock;		/* for all below: requests come from any lane */
	pthread_cond_t answered;
	uint64_t use;			/* generation that key paths mean */
	uint32_t seq, watch_id, n_pending, n_out;
	struct list pending, watches, kept, out;
};

/* Takes one message apart on lane main. False: the monitor is gone or talks nonsense. */
bool wcore_priv_receive(struct wcore_priv *priv, bool waiting);
/* Lane main: what came while a call waited is handled by the loop, soon. */
void wcore_priv_resume(struct wcore_priv *priv);
/* Sends, or keeps for later. Any thread. 0, -EAGAIN: too much waits, -EPIPE. */
int wcore_priv_send(struct wcore_priv *priv, const struct wpriv_head *head,
		    const struct wpriv_part *parts, size_t n_parts, int fd);
/* Sends what was kept; call with the lock held. True: nothing is left. */
bool wcore_priv_flush(struct wcore_priv *priv);

/* Lane main: an ANSWER and an EVENT. */
void wcore_priv_answer(struct wcore_priv *priv, struct wpriv_msg *msg);
void wcore_priv_event(struct wcore_priv *priv, const struct wpriv_msg *msg);
/* The monitor is gone: whoever waits is told. */
void wcore_priv_fail_all(struct wcore_priv *priv);
void wcore_priv_free_calls(struct wcore_priv *priv);

#endif
