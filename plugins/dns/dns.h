/*
 * dns/dns.h - the state of the plugin, and what its parts want of each other
 */
#ifndef DNS_DNS_H
#define DNS_DNS_H

#include <warren/plugin.h>
#include <warren/priv.h>
#include <warren/service/filter.h>
#include <warren/service/netmap.h>
#include <warren/service/peerapi.h>
#include <warren/service/svcnet.h>

#include "cache.h"
#include "decide.h"
#include "plan.h"

enum {
	DNS_OUT = DNS_MSG_MAX + DNS_OPT,	/* bytes of a finished answer */
	DNS_MADE = 32768,		/* of one of our own */
};

struct dns_way;
struct dns_server;

struct dns {
	struct warren_ctx *ctx;
	const struct warren_svcnet_ops *svcnet;
	void *svcnet_self;
	const struct warren_netmap_ops *netmap;
	void *netmap_self;
	const struct warren_peerapi_ops *peerapi;	/* NULL: there is none */
	void *peerapi_self;
	const struct warren_netmap *map;	/* a reference, or NULL */
	struct dns_words words;
	struct dns_plan *plan;		/* never NULL after the start */
	struct dns_cache cache;
	struct list asks;		/* forward.c: what is being asked */
	struct hash asks_by_question;
	uint32_t n_asks;
	struct list ways;		/* way.c: the resolvers spoken to */
	struct dns_server *server;	/* serve.c */
	struct list lan;		/* lan.c */
	struct {			/* host.c: whom the host asks */
		bool asking, changed;	/* a request is under way; the file was written */
		bool ours;		/* it is as we wrote it */
		bool lost;		/* another program keeps it */
		uint32_t handle, repairs, overwritten;
		uint32_t by;		/* WARREN_RESOLVER_FILE, ...: who keeps it */
		uint64_t window, delay;
		struct warren_io *event;
		struct warren_timer *retry;
		struct warren_priv_resolver set;	/* the last one that was asked for */
		struct warren_limit limit;
		char problem[192];
	} host;
	struct {			/* proxy.c: peers that use this exit node */
		const struct warren_filter_ops *filter;	/* NULL: there is none */
		void *filter_self;
		bool routed, serving;	/* the path is registered; peers are told */
		struct list guests;
		struct warren_limit denied;
	} proxy;
	uint8_t *in, *made, *out;	/* a message that came; an answer; one for a client */
	struct {
		struct warren_stat *local, *cached, *forwarded, *refused;	/* queries */
		struct warren_stat *dropped;
		struct warren_stat *answered, *soft, *timeout, *stray;	/* resolvers */
		struct warren_stat *by_tcp, *overwritten;
		struct warren_stat *entries;
	} stats;
};

/*
 * ---- options.c: from the configuration to struct dns_words ----
 */
enum { DNS_HOST_AUTO = 0, DNS_HOST_FILE, DNS_HOST_OFF };	/* values of `host` */
int dns_check_name(const struct warren_conf *at, struct warren_err *err);
int dns_check_upstream(const struct warren_conf *at, struct warren_err *err);
int dns_check_listen(const struct warren_conf *at, struct warren_err *err);
int dns_words_check(const struct warren_conf *conf, struct warren_err *err);
int dns_words_read(const struct warren_conf *conf, struct dns_words *out);	/* or -ENOMEM */
void dns_words_free(struct dns_words *words);

/*
 * ---- resolve.c: one query, from whomever ----
 */
typedef void dns_done_fn(void *arg, const uint8_t *msg, size_t len);
struct dns_wait {			/* who waits for an answer of others */
	struct list node;
	struct warren_ctx *ctx;		/* for @done's own use */
	dns_done_fn *done;		/* the message as in msg.h, for the call; once */
	void *arg;
};
/*
 * 0: *@msg is the answer, *@age seconds old, until the next call. WARREN_PENDING: others know, to
 * be asked by dns_forward() with *@route. @peer: who asks is no program of this host or its LAN.
 */
int dns_resolve(struct dns *dns, const struct dns_query *q, bool peer, const uint8_t **msg,
		size_t *len, uint32_t *age, struct dns_route **route);

/*
 * ---- forward.c: asks resolvers; the same question once ----
 */
void dns_forward_init(struct dns *dns);
/* 0: @wait is told, from the loop, unless it is taken out of its list. -EAGAIN: too much to do. */
int dns_forward(struct dns *dns, const struct dns_query *q, const struct dns_route *route,
		struct dns_wait *wait);
void dns_forward_end(struct dns *dns);

/*
 * ---- way.c: messages to one resolver and back ----
 */
struct dns_try;
struct dns_try_events {
	/* An answer to the question, and what it says of itself; it is the only one. */
	void (*answered)(void *arg, struct dns_try *try, uint8_t *msg, size_t len,
			 const struct dns_answer *answer);
	/* There will be none. */
	void (*failed)(void *arg, struct dns_try *try);
};
/* Owned by the caller; dns_try_end() before it goes. Events come from the loop. */
struct dns_try {
	struct list node;		/* of a line, or of a way that waits for one */
	struct dns_way *way;		/* NULL: none is under way */
	const struct dns_query *q;
	const struct dns_try_events *events;
	void *arg;
	uint64_t sent;
	uint16_t id;
	bool edns;
	struct dns_line *line;
	struct dns_tcp *tcp;
	struct dns_http *http;
};
struct dns_way {
	struct list node;
	struct dns *dns;
	struct dns_upstream to;
	struct list lines, waiting, https;
	uint32_t opening, n_tries;
	bool plain;			/* refuses questions with EDNS */
	bool wanted;			/* while the plan is looked through */
	uint64_t n_sent, n_answered, n_failed;
	uint64_t rtt;			/* smoothed, microseconds; 0: unknown */
	uint64_t failing_since;		/* 0: it answers */
};
struct dns_way *dns_way_get(struct dns *dns, const struct dns_upstream *to);	/* or NULL */
/* Begins; 0 or -errno, and then there is no event. */
int dns_try_begin(struct dns_way *way, struct dns_try *try);	/* by UDP, or HTTP */
int dns_try_tcp(struct dns_way *way, struct dns_try *try);
void dns_try_end(struct dns_try *try);
void dns_way_failed(struct dns_way *way);	/* it did not answer in time */
/* New sockets: those that are there may have the address of an uplink that is gone. */
void dns_way_renew(struct dns_way *way);
void dns_ways_sweep(struct dns *dns);	/* forgets those that the plan does not name */
void dns_ways_end(struct dns *dns);	/* after dns_forward_end() */

/*
 * ---- tcp.c: one question by TCP ----
 */
int dns_tcp_start(struct dns_try *try);
void dns_tcp_end(struct dns_tcp *tcp);
/* way.c: hands an answer to whom it is for, if it is one. */
bool dns_try_take(struct dns_try *try, uint8_t *msg, size_t len);
void dns_try_fail(struct dns_try *try);

/*
 * ---- http.c: questions by the peer API of an exit node ----
 */
int dns_http_start(struct dns_try *try);
void dns_http_end(struct dns_http *http);
void dns_http_close(struct dns_way *way);	/* it has no tries any more */
void dns_http_lost(struct dns *dns);	/* the service goes: all that is under way fails */

/*
 * ---- serve.c: clients ----
 */
int dns_serve_start(struct dns *dns, struct warren_err *err);
void dns_serve_end(struct dns *dns);
const char *dns_serve_problem(const struct dns *dns);	/* or NULL */
bool dns_serve_ready(const struct dns *dns);	/* programs of this host would be answered */
/* More of them: a socket for datagrams, a connection. @conn: `from` 0, so the LAN's. */
void dns_serve_port_take(struct dns *dns, int fd, const struct warren_svc_conn *conn);
void dns_serve_conn_take(struct dns *dns, int fd);
void dns_serve_close(struct dns *dns, const struct warren_svc_conn *conn);

/*
 * ---- lan.c: `listen` ----
 */
int dns_lan_follow(struct dns *dns);	/* the configuration; 0 or -ENOMEM */
bool dns_lan_allows(const struct dns *dns, const struct warren_addr *addr);
const char *dns_lan_problem(const struct dns *dns);	/* or NULL */
void dns_lan_end(struct dns *dns);

/*
 * ---- proxy.c: peers, while they use this node as an exit node ----
 */
/* The map has changed, or a service has come. */
void dns_proxy_follow(struct dns *dns);
/* Service "peerapi" or "filter"; @ops NULL: it goes. */
void dns_proxy_found(struct dns *dns, const char *service, const void *ops, void *self);
void dns_proxy_end(struct dns *dns);	/* nobody is answered any more; `stop` and `lost` */

/*
 * ---- host.c: the host's own resolver configuration ----
 */
int dns_host_start(struct dns *dns);	/* `start` only; 0 or -ENOMEM */
/* The daemon's own look-ups; @ours: the host's configuration leads to us. */
void dns_host_clear(struct dns *dns, bool ours);
/* The plan has changed, or clients can be served now. @settings: the operator wants it anew. */
void dns_host_update(struct dns *dns, bool settings);
void dns_base_changed(struct dns *dns);	/* plugin.c: what others wrote there has changed */

/*
 * ---- show.c ----
 */
int dns_run_status(struct warren_ctx *ctx, const struct warren_conf *args,
		   struct warren_reply *reply, struct warren_err *err);
int dns_run_query(struct warren_ctx *ctx, const struct warren_conf *args,
		  struct warren_reply *reply, struct warren_err *err);
int dns_run_why(struct warren_ctx *ctx, const struct warren_conf *args,
		struct warren_reply *reply, struct warren_err *err);
void dns_status(struct warren_ctx *ctx, struct warren_reply *reply);
bool dns_doctor_upstream(struct warren_ctx *ctx, struct warren_check_result *result);
bool dns_doctor_host(struct warren_ctx *ctx, struct warren_check_result *result);
bool dns_doctor_listener(struct warren_ctx *ctx, struct warren_check_result *result);

#endif
