/*
 * What the files of this plugin share. All of it on lane main.
 */
#ifndef WARREN_SERVE_SERVE_H
#define WARREN_SERVE_SERVE_H

#include <warren/net.h>
#include <warren/priv.h>
#include <warren/service/netmap.h>
#include <warren/service/svcnet.h>

#include "base/arena.h"
#include "base/list.h"
#include "target.h"

#define SECOND UINT64_C(1000000)

enum {
	SRV_HIGH = 256 << 10,		/* bytes that may wait towards one side */
	SRV_DIAL_USEC = 10000000,
	SRV_LINGER_USEC = 5000000,
	SRV_KEY = 64,
};

enum srv_kind { SRV_HTTP = 1, SRV_HTTPS, SRV_TCP };
enum srv_what { SRV_PROXY = 1, SRV_UNIX, SRV_FILES, SRV_TEXT, SRV_REDIRECT };

struct srv_mount {			/* what is at a path, or behind a port of TCP */
	struct list link;
	char *mount;			/* "" of TCP */
	enum srv_what what;
	struct srv_target target;	/* PROXY */
	char *text;			/* as it was written: of PROXY, the path, the words */
	const struct warren_conf *conf;	/* NULL: of a command that runs */
	struct warren_dir *dir;		/* FILES */
	bool below;			/* FILES: certainly a folder */
};

struct srv_port {
	struct list link;
	uint16_t port;
	enum srv_kind kind;
	uint32_t proxy_protocol;	/* TCP: 0, 1, 2 */
	char key[SRV_KEY];		/* in YAML; "": nowhere */
	struct list mounts;
};

struct srv_listener {
	struct list link;
	struct serve *s;
	uint16_t port;
	enum srv_kind kind;
	char key[SRV_KEY];
	bool wanted;			/* while the difference is made */
	struct warren_svc_listener *listener;
};

struct serve {
	struct warren_ctx *ctx;
	const struct warren_netmap_ops *netmap;
	void *netmap_self;
	const struct warren_svcnet_ops *svcnet;
	void *svcnet_self;
	const struct warren_conf *conf;
	const struct warren_netmap *map;	/* with a reference, or NULL */
	struct warren_tls_server *tls;	/* NULL: no certificate */
	struct list ports;		/* of the configuration */
	struct list sessions;		/* struct srv_session: of commands that run */
	struct list listeners, conns, proxied, files, forwards, pairs;
	uint32_t n_conns, connections_max, per_peer_max;
	struct warren_limit log_full, log_backend, log_refused;
	struct warren_stat *accepted, *requests, *unknown, *full, *invalid, *failed;
};

/* Who is at the other end, in both directions of time. */
struct srv_from {
	struct warren_addrport remote, local;
	int64_t node;			/* 0: a program of this host */
	uint16_t port;
	enum srv_kind kind;
};

/* config.c: ports and mounts out of YAML; @ctx NULL: only whether it is right. */
int srv_ports_read(struct warren_ctx *ctx, const struct warren_conf *conf, struct list *ports,
		   struct warren_err *err);
void srv_ports_free(struct list *ports);
struct srv_port *srv_port_new(struct list *ports, enum srv_kind kind, uint16_t port);
struct srv_mount *srv_mount_new(struct srv_port *port, const char *mount, enum srv_what what,
				const char *text);
const char *srv_kind_name(enum srv_kind kind);

/* plugin.c */
void srv_listen(struct serve *s);	/* the difference to what is served now */
/* NULL: nothing is served at that path. */
const struct srv_mount *srv_find(const struct serve *s, uint16_t port, enum srv_kind kind,
				 const char *clean, const char *raw,
				 const struct srv_port **of);

/* conn.c */
void srv_accepted(void *arg, int fd, const struct warren_svc_conn *conn);
/* The map has changed: whoever is not in it any more is cut off. @all: everybody is. */
void srv_recheck(struct serve *s, bool all);
/* Of a connection that is somebody's, for as long as it lives. */
void srv_count(struct serve *s, int n);
const struct warren_node *srv_peer(const struct serve *s, const struct srv_from *from);
void srv_answer(struct warren_exchange *x, int status, const char *type, const struct str *text);

/* fields.c */
struct srv_fields {
	struct warren_http_field v[WARREN_HTTP_FIELDS];
	uint32_t n;
	bool failed;
};
void srv_field_add(struct srv_fields *fields, struct arena *arena, const char *name,
		   const char *value);
/* Of a request on its way to a backend; @user NULL: nobody is vouched for. */
void srv_fields_up(struct srv_fields *fields, struct arena *arena,
		   const struct warren_http_head *head, const struct warren_addr *from, bool tls,
		   const struct warren_user *user);
/* Of an answer on its way back. */
void srv_fields_down(struct srv_fields *fields, struct arena *arena,
		     const struct warren_http_head *head);
bool srv_wants_upgrade(const struct warren_http_head *head);

/* proxy.c, files.c */
void srv_proxy(struct serve *s, struct warren_exchange *x, const struct warren_http_head *head,
	       const struct srv_from *from, const struct srv_mount *mount, const char *clean);
void srv_proxy_end(struct serve *s);
void srv_files(struct serve *s, struct warren_exchange *x, const struct warren_http_head *head,
	       const struct srv_mount *mount, const char *clean);
void srv_files_end(struct serve *s);	/* the folders go; what was asked for is refused */

/* forward.c */
void srv_forward(struct serve *s, struct warren_stream *stream, const struct srv_from *from,
		 const struct srv_mount *mount, uint32_t proxy_protocol);
void srv_forward_end(struct serve *s);
uint32_t srv_forwards_of(const struct serve *s, int64_t node);
/* PROXY protocol; the number of bytes, or 0: addresses of two families. */
enum { SRV_PROXY_MAX = 108 };
size_t srv_proxy_head(uint32_t version, const struct warren_addrport *from,
		      const struct warren_addrport *to, uint8_t out[SRV_PROXY_MAX]);
/* True: the socket of another program. False: the daemon's own, with a sentence. */
bool srv_socket_ok(int fd);

/* pair.c: two streams become one; takes both, and counts as a connection. */
void srv_pair_take(struct serve *s, const struct srv_from *from, struct warren_stream *a,
		   struct warren_stream *b);
void srv_pairs_end(struct serve *s, bool all);
uint32_t srv_pairs_of(const struct serve *s, int64_t node);

/* commands.c */
int srv_run_serve(struct warren_ctx *ctx, const struct warren_conf *args,
		  struct warren_reply *reply, struct warren_err *err);
int srv_run_reset(struct warren_ctx *ctx, const struct warren_conf *args,
		  struct warren_reply *reply, struct warren_err *err);
struct srv_session {
	struct list link;
	struct serve *s;
	struct warren_reply *reply;
	struct list ports;		/* one */
};
void srv_sessions_end(struct serve *s);

/* show.c */
int srv_run_status(struct warren_ctx *ctx, const struct warren_conf *args,
		   struct warren_reply *reply, struct warren_err *err);
void srv_status(struct warren_ctx *ctx, struct warren_reply *reply);
bool srv_check_reachable(struct warren_ctx *ctx, struct warren_check_result *result);
/* "gw.tail.example.com", as browsers may name this node; "" without a map. */
void srv_own_name(const struct serve *s, char out[SRV_HOST]);

#endif
