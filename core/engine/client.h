/*
 * One client of the control socket: its bytes in, its bytes out.
 */
#ifndef WARREN_ENGINE_CLIENT_H
#define WARREN_ENGINE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"
#include "engine/reply.h"

struct warren_ctx;
struct warren_io;
struct warren_reply;
struct warren_timer;
struct wcore_ipc;

struct wcore_client {
	struct wcore_client *next;
	struct wcore_ipc *ipc;
	struct warren_io *io;
	int fd;				/* owned by `io` */
	uid_t uid;
	struct str in;			/* a request that is not complete */
	int fds[WCORE_REPLY_FDS];	/* that came with it */
	unsigned n_fds;
	struct str out;			/* what the client has not taken yet, from out_at on */
	size_t out_at;
	bool running;			/* inside a command's `run`: write after it */
	bool closing;			/* drop it when all is written */
	bool doomed;			/* drop it as soon as nothing of it is in use */
	struct warren_reply *reply;	/* a command runs */
	uint64_t idle_until;		/* warren_now() by which a request is expected */
	struct warren_timer *timer;	/* that; or the user's turn comes; or it is doomed */
	struct warren_timer *stall;	/* nothing was read for long */
};

/* Takes @fd. NULL: no memory. */
struct wcore_client *wcore_client_new_take(struct wcore_ipc *ipc, struct warren_ctx *ctx, int fd,
					   uid_t uid);
/* Hangs up on the command that runs. The caller has taken it out of its list. */
void wcore_client_free(struct wcore_client *client);

/* The sink of replies to clients; its argument is the client. */
extern const struct wcore_reply_sink wcore_client_sink;
/* The connection of the client that @reply goes to, borrowed; -1: it goes elsewhere. */
int wcore_client_fd(const struct warren_reply *reply);
/* Ends a request that never became a command: @error is a sentence. Then the client is dropped. */
void wcore_client_refuse(struct wcore_client *client, const char *error);
/* A request is complete. */
bool wcore_client_has_line(const struct wcore_client *client);
/* The whole line at the start of what has come, without the newline; removes it. */
bool wcore_client_take_line(struct wcore_client *client, struct str *line);
/* From now on the next request is waited for. */
void wcore_client_idle(struct wcore_client *client);
/* Sends what waits, and says what it wants to hear of next. */
void wcore_client_flush(struct wcore_client *client);

/*
 * In ipc.c: called when there may be a whole request, when @client->timer fires, and when the
 * client is to be dropped, in which case it is gone on return.
 */
void wcore_ipc_ready(struct wcore_client *client);
void wcore_ipc_timer(struct wcore_client *client);
void wcore_ipc_drop(struct wcore_client *client);
/* Counts @more bytes into (or out of) all queues; false if that is too much. */
bool wcore_ipc_queue(struct wcore_ipc *ipc, ssize_t more);

#endif
