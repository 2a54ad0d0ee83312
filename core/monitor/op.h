/*
 * monitor/op.h - the table of executors
 *
 * An executor gets a request whose structures have passed their validator. It returns 0 or -errno
 * with a sentence in @err that is for the operator: it names the thing, not the function.
 */
#ifndef WARREN_MONITOR_OP_H
#define WARREN_MONITOR_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <warren/priv.h>

#include "base/err.h"
#include "monitor/netlink.h"
#include "monitor/thing.h"

struct mon;
struct mon_config;
struct wpriv_msg;

struct mon_request {
	uint32_t seq, op;
	const char *owner;
	const struct mon_config *config;	/* of the request's generation */
	const void *items;		/* aligned */
	size_t count;
};
struct mon_reply {
	int64_t value;
	uint32_t handle;
	int fds[WARREN_PRIV_FDS];
	uint32_t n_fds;
	bool give;			/* fds are closed when sent: the monitor keeps none */
	bool later;			/* a job will answer */
	void *data;			/* of the answer; freed when sent */
	size_t len;
};
typedef int mon_op_fn(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		      struct warren_err *err);

/* By enum warren_op. */
struct mon_executor {
	mon_op_fn *run;
};
extern const struct mon_executor mon_executors[WARREN_OP_LAST + 1];

/*
 * Takes one REQUEST apart, checks it, runs it and answers. 0; -EBADMSG: it is no request at all,
 * which an engine of ours never sends.
 */
int mon_op_request(struct mon *mon, struct wpriv_msg *msg);
/* Answers request @seq; takes the descriptors if reply->give. */
void mon_op_answer(struct mon *mon, uint32_t seq, int result, struct mon_reply *reply,
		   const void *data, size_t len, const char *sentence);

mon_op_fn mon_op_open;			/* op_open.c */
mon_op_fn mon_op_watch;			/* op_watch.c */
mon_op_fn mon_op_file;			/* op_file.c */
mon_op_fn mon_op_tun;			/* op_tun.c */
mon_op_fn mon_op_socket;		/* op_socket.c */
mon_op_fn mon_op_net;			/* op_net.c: ADDR, ROUTE, RULE */
mon_op_fn mon_op_sysctl;		/* op_sysctl.c */
mon_op_fn mon_op_nft;			/* op_nft.c */
mon_op_fn mon_op_nft_read;
mon_op_fn mon_op_resolver;		/* op_resolver.c */

/*
 * Opens @path (absolute) as root for somebody else. Symbolic links are followed only where nobody
 * but root and the link's owner root could have put them. Returns a descriptor or -errno.
 */
int mon_open_path(const char *path, int flags, mode_t mode, struct warren_err *err);

/* ---- ADDR, ROUTE, RULE: one change, for undo and guard ---- */
int mon_net_change(struct mon *mon, enum mon_change how, uint32_t kind,
		   const union mon_what *what, struct warren_err *err);
/* @result of a removal says that it was not there (any more). */
bool mon_net_gone(int result);

/* ---- WATCH: events ---- */
void mon_watch_read(struct mon *mon);	/* inotify has something */
/* Tells the engine what changed some time ago; returns when to come back (0: never). */
uint64_t mon_watch_tell(struct mon *mon, uint64_t now);
void mon_watch_end(struct mon *mon, struct mon_thing *thing);
/* Watches the folder of @path, which is absolute: a number, or -1 with errno. */
int mon_watch_folder(struct mon *mon, const char *path);

/* ---- TUN ---- */
/* One queue of the interface, made if it is not there yet; a descriptor or -errno. */
int mon_tun_queue(const struct warren_priv_tun *req, struct warren_err *err);
/* While no engine runs. */
void mon_tun_hold(struct mon_thing *thing);	/* one queue stays, which nobody reads */

/* ---- SYSCTL ---- */
/* Sets the value back if it is still ours. */
void mon_sysctl_restore(const struct mon_sysctl *sysctl);
/* It comes with ACCEPT_RA of interfaces. */
bool mon_sysctl_is_ip6_forward(const struct mon_sysctl *sysctl);

/* ---- RESOLVER ---- */
/* Sets the file back if it is still ours. */
void mon_resolver_restore(struct mon *mon, const struct mon_resolver *resolver);
void mon_resolver_look(struct mon *mon);	/* it was written, by us or another program */

/* ---- NFT ---- */
int mon_nft_fd(const struct mon *mon);	/* events of others' rules; -1: nobody asked for any */
void mon_nft_read(struct mon *mon);	/* it has something */
/* Looks when it is time; returns when to come back (0: never). */
uint64_t mon_nft_tick(struct mon *mon, uint64_t now);
/* Takes the interface down: nothing gets out of it while the table goes. */
void mon_nft_close_way(struct mon *mon, const struct warren_priv_nft *table);
void mon_nft_end(struct mon *mon, const struct warren_priv_nft *table);
void mon_nft_unmark(struct mon *mon, const struct mon_mark *mark);
void mon_nft_free(struct mon *mon);

/* ---- unix sockets ---- */
/* Removes the socket file if it is the one that was made, or nobody listens on it. */
void mon_path_remove(const struct mon_path *path);
/* Somebody listens on it. */
bool mon_path_busy(const struct mon_path *path);
/* A listening socket at @path, in the journal. */
int mon_listen_unix(struct mon *mon, const char *owner, const char *path, uint32_t mode,
		    int backlog, struct warren_err *err);

#endif
