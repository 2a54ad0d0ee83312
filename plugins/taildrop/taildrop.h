/*
 * What the files of this plugin share. All of it on lane main, but for what jobs do with their own.
 */
#ifndef WARREN_TAILDROP_TAILDROP_H
#define WARREN_TAILDROP_TAILDROP_H

#include <warren/priv.h>
#include <warren/service/netmap.h>
#include <warren/service/peerapi.h>

#include "base/list.h"
#include "base/str.h"
#include "names.h"

#define SECOND UINT64_C(1000000)

/* At once, of one peer and of all: files that come; and questions for what is here of some. */
enum { DROP_PEER_MAX = 8, DROP_ALL_MAX = 32 };

struct taildrop {
	struct warren_ctx *ctx;
	const struct warren_conf *conf;
	const struct warren_netmap_ops *netmap;
	void *netmap_self;
	const struct warren_peerapi_ops *peerapi;
	void *peerapi_self;
	struct warren_dir *dir;		/* where files come to; NULL: it is stopping */
	bool direct;			/* it is the operator's `inbox` */
	int64_t max_file, max_total;	/* bytes; 0: no limit */
	struct list incoming, hashings, listings, sendings, cps, gets;
	struct warren_timer *sweep;
	struct warren_limit log_refused, log_failed;
	struct warren_stat *received, *received_bytes, *sent, *sent_bytes, *refused;
};

/* ---- access.c: who may send to whom ---- */
bool drop_may_send(const struct taildrop *td, const struct warren_netmap *map,
		   const struct warren_node *from);
/* NULL: files may be sent to @node; else why not, in the stock client's words. */
const char *drop_not_a_target(const struct taildrop *td, const struct warren_netmap *map,
			      const struct warren_node *node);
/* By name or address, in this node's network; *@self: it is this node. */
const struct warren_node *drop_find(const struct warren_netmap *map, const char *name, bool *self);

/* ---- receive.c, serve.c: requests of peers ---- */
warren_peerapi_fn drop_request;
void drop_receive(struct taildrop *td, struct warren_exchange *x,
		  const struct warren_http_head *head, const struct warren_node *node,
		  const char *name);
/* Cuts off what is under way; what came of it stays. */
void drop_receive_end(struct taildrop *td);
bool drop_is_coming(const struct taildrop *td, const char *partial);
/* The first file that is under way; false: none. */
bool drop_coming(const struct taildrop *td, const char **name, int64_t *done, int64_t *total);
uint32_t drop_n_coming(const struct taildrop *td);
void drop_list_partials(struct taildrop *td, struct warren_exchange *x,
			const struct warren_node *node);
void drop_hashes(struct taildrop *td, struct warren_exchange *x, const struct warren_node *node,
		 const char *partial);
void drop_hashes_end(struct taildrop *td);
/* What can be read there, less than @len at the end and after an error. For jobs. */
size_t drop_read(int fd, uint8_t *buf, size_t len, int64_t at);

/* ---- send.c: one file to one peer ---- */
struct drop_sending;
struct drop_send {
	const struct warren_node *node;
	int fd;				/* taken in any case */
	const char *name;
	/* 0, or -errno with a sentence. Once, from the loop. */
	void (*done)(int result, const char *why, void *arg);
	void *arg;
};
struct drop_sending *drop_send_take(struct taildrop *td, const struct drop_send *send,
				    struct warren_err *err);
void drop_send_cancel(struct drop_sending *sending);	/* `done` is not called */
/* Bytes that the peer has, as far as we know; and of the whole, -1: not known. */
void drop_send_progress(const struct drop_sending *sending, int64_t *done, int64_t *total);
int64_t drop_send_resumed(const struct drop_sending *sending);	/* bytes that it had before */

/* ---- cp.c, get.c, show.c: what the operator types ---- */
int drop_command_cp(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err);
void drop_cp_end(struct taildrop *td);
int drop_command_get(struct warren_ctx *ctx, const struct warren_conf *args,
		     struct warren_reply *reply, struct warren_err *err);
void drop_get_wake(struct taildrop *td);	/* a file is there */
void drop_get_end(struct taildrop *td);
void drop_status(struct warren_ctx *ctx, struct warren_reply *reply);

#endif
