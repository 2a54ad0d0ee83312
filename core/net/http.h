/*
 * net/http.h - what HTTP/1.1 (http1_conn.c) and HTTP/2 (http2.c) share: the connection, the
 * exchange, and who frees them when
 *
 * Every way into a connection (its stream's callbacks, its timers, the public functions) is between
 * http_enter() and http_leave(). Inside, nothing is freed: an exchange that is over goes to the
 * graves, a closed connection stays. The outermost http_leave() frees both, so that callbacks may
 * end whatever calls them.
 */
#ifndef WARREN_NET_HTTP_H
#define WARREN_NET_HTTP_H

#include <warren/net.h>

#include "base/list.h"

struct http_ops {
	struct warren_exchange *(*request)(struct warren_http *http,
					   const struct warren_http_head *head);
	int (*head)(struct warren_exchange *x, const struct warren_http_head *head);
	int (*write)(struct warren_exchange *x, const void *data, size_t len);
	int (*end)(struct warren_exchange *x);
	size_t (*pending)(const struct warren_exchange *x);
	void (*resume)(struct warren_exchange *x);
	/* The exchange is given up by us: tell the other side, now. It is in no list any more. */
	void (*cancel)(struct warren_exchange *x);
	struct warren_stream *(*upgrade)(struct warren_exchange *x,
					 const struct warren_http_field *fields, uint32_t n);
	int (*ping)(struct warren_http *http, uint64_t usec);
	/* Frees what the exchange has, just before itself. May be NULL. */
	void (*bury)(struct warren_exchange *x);
	/* No exchange is left: frees the connection and its stream. */
	void (*free)(struct warren_http *http);
};

struct warren_http {			/* first member of a version's own */
	struct warren_ctx *ctx;
	struct warren_stream *stream;	/* NULL: handed over */
	const struct http_ops *ops;
	struct warren_http_options options;	/* defaults filled in */
	const struct warren_http_events *events;
	void *arg;
	struct list exchanges, graves;
	uint32_t depth;			/* of http_enter() */
	bool server;
	bool closed;			/* by the owner */
	bool over;			/* `ended` was told */
	void *tie;			/* of warren_on_end() */
};

struct warren_exchange {		/* first member of a version's own */
	struct list link;
	struct warren_http *http;
	const struct warren_exchange_events *events;
	void *arg;
	int64_t received;		/* of the other side's body */
	bool head_in, done_in;		/* the other side's message */
	bool head_out, done_out;	/* ours */
	bool paused;
	bool dead;			/* in the graves */
};

/* Fills in the common part of @http; false: no memory. Takes @stream only with true. */
bool http_init(struct warren_http *http, const struct http_ops *ops, struct warren_stream *stream,
	       const struct warren_http_options *options,
	       const struct warren_http_events *events, void *arg, bool server);
void http_enter(struct warren_http *http);
void http_leave(struct warren_http *http);	/* @http may be gone afterwards */

/* The common part of @x, into the list. */
void http_exchange_init(struct warren_exchange *x, struct warren_http *http);
/* A server's new request: tells the owner. False: he closed or cancelled. */
bool http_tell_request(struct warren_exchange *x);
/* Tell the exchange's owner; false: it is over (cancelled, or the connection closed). */
bool http_tell_head(struct warren_exchange *x, const struct warren_http_head *head);
/* 0, WARREN_PENDING: taken, and paused; -ECANCELED: over; -EMSGSIZE: more than body_max. */
int http_tell_body(struct warren_exchange *x, const uint8_t *data, size_t len);
bool http_tell_complete(struct warren_exchange *x);
void http_tell_drained(struct warren_exchange *x);
/* Our message is complete; frees the exchange when the other side's is too. */
void http_sent_all(struct warren_exchange *x);
/* It is over without its end: `failed`, then the graves. */
void http_exchange_fail(struct warren_exchange *x, int result, const char *why);
/* To the graves, and nobody is told. */
void http_exchange_bury(struct warren_exchange *x);
/* All exchanges fail and `ended` is told, once; @why NULL: in order. */
void http_end(struct warren_http *http, int result, const char *why);

/* Names are tokens, values have no control characters, none is the body's own business. */
bool http_fields_ok(const struct warren_http_field *fields, uint32_t n);

struct warren_http *http1_conn_take(struct warren_stream *stream,
				    const struct warren_http_options *options,
				    const struct warren_http_events *events, void *arg,
				    bool server);
struct warren_http *http2_conn_take(struct warren_stream *stream,
				    const struct warren_http_options *options,
				    const struct warren_http_events *events, void *arg,
				    bool server);

#endif
