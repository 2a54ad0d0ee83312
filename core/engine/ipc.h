/*
 * The control socket: clients, their requests, and the answers on the way to them.
 *
 * A client is known by SO_PEERCRED and may ask what its scope allows (plugin.h, WARREN_CMD_ANY
 * ...): uid 0 and the engine's own user are root, the user of `node.operator` is the operator.
 * Several requests may follow each other on a connection, one at a time. All of it is on the main
 * lane.
 *
 * What a hostile client can cost is bounded: the number of clients (some places are kept for root
 * and the operator), the bytes of a request, the time until it is complete, the bytes of an answer
 * that it does not read and the time it takes over that, and, for users who are neither, the share
 * of the loop's time that their commands may take.
 */
#ifndef WARREN_ENGINE_IPC_H
#define WARREN_ENGINE_IPC_H

struct warren_err;
struct wcore_engine;
struct wcore_ipc;

#pragma GCC visibility push(default)

enum {
	WCORE_IPC_CLIENTS = 64,
	WCORE_IPC_CLIENTS_USERS = 48,	/* of them for users who are not root */
	WCORE_IPC_CLIENTS_USER = 16,	/* of one such user */
	WCORE_IPC_QUEUE = 20 << 20,	/* unread bytes of one client */
	WCORE_IPC_QUEUES = 64 << 20,	/* of all clients */
	WCORE_IPC_IDLE = 30,		/* seconds until a request is complete */
	WCORE_IPC_STALL = 30,		/* seconds in which a client reads nothing of its answer */
	WCORE_IPC_SHARE = 10,		/* 1/10 of the loop's time for one user's commands */
};

/* Takes @fd, a listening unix stream socket. NULL with a sentence in @err. */
struct wcore_ipc *wcore_ipc_start_take(struct wcore_engine *engine, int fd, struct warren_err *err);
/* Ends the commands that run, drops all clients, closes the socket. NULL is allowed. */
void wcore_ipc_stop(struct wcore_ipc *ipc);

#pragma GCC visibility pop

#endif
