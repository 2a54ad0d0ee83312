/*
 * net/http2_impl.h - between http2.c (life, time and the end of a connection), http2_in.c (what the
 * library has received) and http2_out.c (what it is given to send)
 */
#ifndef WARREN_NET_HTTP2_IMPL_H
#define WARREN_NET_HTTP2_IMPL_H

#include <nghttp2/nghttp2.h>

#include "base/str.h"

#include "bytes.h"
#include "http.h"

struct h2_exchange {
	struct warren_exchange x;
	int32_t id;
	struct str text;		/* the head's names and values, a NUL after each */
	size_t head_size;		/* of it, and of what did not fit */
	uint32_t n_fields;
	bool too_big;
	bool reset_by_us;
	struct bytes held;		/* input that came while the owner pauses */
	bool end_in;			/* no more input follows `held` */
	uint64_t in_by, out_by;		/* server: when the next progress is due */

	bool no_body;			/* what is written of it is dropped (HEAD, 204, 304) */
	int64_t left;			/* of our body; -1: until its end is told */
	struct bytes out;
	bool out_end;			/* no more output follows `out` */
	bool deferred;			/* the library waits for output */
	bool was_high, drain_due;
};

struct h2 {
	struct warren_http http;
	nghttp2_session *session;
	struct warren_timer *timer;	/* see h2_pace() */
	struct warren_timer *ping_timer;
	struct warren_timer *kick;	/* goes on from the loop */
	bool inside;			/* the library is at work */
	bool broken;			/* the library must not be called any more */
	bool begun;			/* the other side's first SETTINGS have come */
	bool pinging;
	uint64_t idle_by;		/* 0: exchanges are open */
	uint32_t resets;		/* lately */
	uint64_t resets_at;
	char goaway[256];		/* what the other side says it ends for; "": it does not */
	int goaway_result;		/* 0: in order */
	bool end_due;
	int end_result;
	char end_why[256];
};

static inline struct h2 *h2_of(struct warren_http *http)
{
	return CONTAINER_OF(http, struct h2, http);
}

static inline struct h2_exchange *h2_exchange_of(struct warren_exchange *x)
{
	return CONTAINER_OF(x, struct h2_exchange, x);
}

/* http2.c */
struct h2_exchange *h2_find(struct h2 *h2, int32_t id);
/* The connection ends, from the loop; the first reason counts. @why NULL: in order. */
void h2_end_later(struct h2 *h2, int result, const char *why);
/* The same, with a GOAWAY that asks the other side to keep calm. */
void h2_refuse(struct h2 *h2, const char *why);
/* The exchange cannot go on: its stream ends with @code, no other does. */
void h2_drop(struct h2 *h2, struct h2_exchange *e, uint32_t code, int result, const char *why);
/* What was held back of an exchange's input is not wanted any more: opens the window again. */
void h2_forget_held(struct h2 *h2, struct h2_exchange *e);
/* From now; UINT64_MAX stays it. */
uint64_t h2_deadline(uint64_t usec);

/* http2_in.c */
void h2_in_callbacks(nghttp2_session_callbacks *callbacks);
/* Tells what was held back, as far as the owner takes it, and then the end. */
void h2_tell_held(struct h2 *h2, struct h2_exchange *e);

/* http2_out.c */
enum { H2_WRITE_STALL = 60 * 1000000 };	/* who reads nothing for so long is given up */
struct warren_exchange *h2_request(struct warren_http *http, const struct warren_http_head *head);
int h2_head(struct warren_exchange *x, const struct warren_http_head *head);
int h2_write(struct warren_exchange *x, const void *data, size_t len);
int h2_end(struct warren_exchange *x);
size_t h2_pending(const struct warren_exchange *x);

#endif
