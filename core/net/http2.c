/*
 * A connection of HTTP/2, either side, on nghttp2. The library frames and checks; here its streams
 * become exchanges. It must not be entered from its own callbacks, so what they cause is sent by
 * flush() afterwards. An exchange is found by its stream's number, never by a pointer inside the
 * library, which keeps streams longer than we keep exchanges.
 */
#include "http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <nghttp2/nghttp2.h>

#include "base/str.h"

#include "bytes.h"
#include "stream.h"

enum {
	STREAM_WINDOW = 1 << 20, CONNECTION_WINDOW = 4 << 20,
	OUT_LOW = 64 << 10, OUT_HIGH = 256 << 10, OUT_MAX = 16 << 20,
	PIECE = 16 << 10,		/* of held input, told at once */
	LINGER = 1000000,
	CLIENT_STREAMS = 100,		/* until the server has said how many */
};

struct h2_exchange {
	struct warren_exchange x;
	int32_t id;
	struct str text;		/* the head's names and values, a NUL after each */
	uint32_t n_fields;
	bool too_big;
	bool no_body;			/* of our answer, whatever length it has */
	struct bytes held;		/* input that came while the owner pauses */
	bool end_in;			/* no more input follows `held` */
	struct bytes out;
	bool out_end;			/* no more output follows `out` */
	bool deferred;			/* the library waits for output */
	bool was_high, drain_due;
};

struct h2 {
	struct warren_http http;
	nghttp2_session *session;
	struct warren_timer *timer;	/* idle, or a request under way */
	struct warren_timer *ping_timer;
	struct warren_timer *kick;	/* goes on from the loop */
	bool inside;			/* the library is at work */
	bool end_due;
	int end_result;
	char end_why[256];
};

static struct h2 *h2_of(struct warren_http *http)
{
	return CONTAINER_OF(http, struct h2, http);
}

static struct h2_exchange *e_of(struct warren_exchange *x)
{
	return CONTAINER_OF(x, struct h2_exchange, x);
}

static struct h2_exchange *find(struct h2 *h2, int32_t id)
{
	struct h2_exchange *e;

	list_for_each(e, &h2->http.exchanges, x.link) {
		if (e->id == id)
			return e;
	}
	return NULL;
}

static void end_later(struct h2 *h2, int result, const char *why)
{
	if (h2->end_due)
		return;
	h2->end_due = true;
	h2->end_result = result;
	str_copy(h2->end_why, sizeof(h2->end_why), why ? why : "");
	warren_timer_set(h2->kick, 0);
}

/* The time that the other side has: none while it waits for us. */
static void pace(struct h2 *h2)
{
	uint64_t usec = list_empty(&h2->http.exchanges) ? h2->http.options.idle_timeout :
							  UINT64_MAX;
	struct h2_exchange *e;

	if (h2->http.closed)
		return;
	list_for_each(e, &h2->http.exchanges, x.link) {
		if (h2->http.server && !e->x.done_in && !e->x.paused)
			usec = h2->http.options.head_timeout;
	}
	if (usec == UINT64_MAX)
		warren_timer_stop(h2->timer);
	else
		warren_timer_set(h2->timer, usec);
}

/* Sends what the library has, up to the stream's mark; the rest follows when that has drained. */
static void flush(struct h2 *h2)
{
	const uint8_t *data;
	ssize_t n;

	if (h2->inside || !h2->http.stream)
		return;
	h2->inside = true;
	while (warren_stream_pending(h2->http.stream) < OUT_HIGH &&
	       (n = nghttp2_session_mem_send(h2->session, &data)) > 0) {
		if (warren_stream_write(h2->http.stream, data, (size_t)n))
			break;		/* the stream's end is told on its own */
	}
	h2->inside = false;
	if (!nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session))
		end_later(h2, 0, NULL);
}

/* ---- what comes in ---- */

static int refuse_stream(struct h2 *h2, int32_t id, uint32_t code)
{
	return nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, id, code);
}

/* The exchange breaks the rules, or there is no room for it: its stream ends, no other. */
static void drop(struct h2 *h2, struct h2_exchange *e, int result, const char *why)
{
	refuse_stream(h2, e->id, NGHTTP2_ENHANCE_YOUR_CALM);
	http_exchange_fail(&e->x, result, why);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_exchange *e;

	(void)session;
	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	e = find(h2, frame->hd.stream_id);
	if (e) {
		str_cut(&e->text, 0);
		e->n_fields = 0;
		return 0;
	}
	if (!h2->http.server || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	http_exchange_init(&e->x, &h2->http);
	e->id = frame->hd.stream_id;
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *arg)
{
	struct h2 *h2 = arg;
	struct h2_exchange *e = find(h2, frame->hd.stream_id);

	(void)session;
	(void)flags;
	if (!e || e->x.head_in)
		return 0;		/* given up; a trailer */
	if (e->text.len + name_len + value_len + 2 > WARREN_HTTP_HEAD_MAX ||
	    e->n_fields >= WARREN_HTTP_FIELDS + 4)
		e->too_big = true;
	if (e->too_big)
		return 0;
	str_addn(&e->text, (const char *)name, name_len);
	str_addc(&e->text, '\0');
	str_addn(&e->text, (const char *)value, value_len);
	str_addc(&e->text, '\0');
	e->n_fields++;
	return 0;
}

static int64_t length_of(const char *text)
{
	int64_t n = 0;

	for (; *text >= '0' && *text <= '9' && n < INT64_MAX / 16; text++)
		n = 10 * n + (*text - '0');
	return *text ? -1 : n;
}

static void put_pseudo(struct warren_http_head *head, const char *name, const char *value)
{
	if (strcmp(name, ":method") == 0)
		head->method = value;
	else if (strcmp(name, ":scheme") == 0)
		head->scheme = value;
	else if (strcmp(name, ":authority") == 0)
		head->authority = value;
	else if (strcmp(name, ":path") == 0)
		head->path = value;
	else if (strcmp(name, ":status") == 0)
		head->status = (int)length_of(value);
}

/* @fields has room for all that on_header() let in. */
static void make_head(const struct h2_exchange *e, struct warren_http_field *fields,
		      struct warren_http_head *head, bool end)
{
	const char *s = str_text(&e->text);

	memset(head, 0, sizeof(*head));
	head->size = sizeof(*head);
	head->fields = fields;
	head->length = end ? 0 : -1;
	for (uint32_t i = 0; i < e->n_fields; i++) {
		const char *name = s, *value = s + strlen(s) + 1;

		s = value + strlen(value) + 1;
		if (*name == ':') {
			put_pseudo(head, name, value);
			continue;
		}
		if (strcmp(name, "content-length") == 0 && !end)
			head->length = length_of(value);
		if (strcmp(name, "host") == 0 && !head->authority)
			head->authority = value;
		fields[head->n_fields].name = name;
		fields[head->n_fields++].value = value;
	}
}

/* The other side's message is complete, once nothing of it is held back. */
static void may_complete(struct h2_exchange *e)
{
	if (e->end_in && e->held.len == 0 && !e->x.paused && !e->x.done_in && !e->x.dead)
		http_tell_complete(&e->x);
}

static void head_done(struct h2 *h2, struct h2_exchange *e, bool end)
{
	struct warren_http_field fields[WARREN_HTTP_FIELDS + 4];
	struct warren_http_head head;

	if (e->too_big || e->text.failed) {
		drop(h2, e, -EMSGSIZE, "the other side sent an HTTP head that is too long");
		return;
	}
	make_head(e, fields, &head, end);
	e->no_body = head.method && strcmp(head.method, "HEAD") == 0;
	if (!h2->http.server && head.status < 200)
		return;
	if (!h2->http.server || http_tell_request(&e->x))
		http_tell_head(&e->x, &head);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h2 = arg;
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct h2_exchange *e;

	(void)session;
	if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK))
		warren_timer_stop(h2->ping_timer);
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	e = find(h2, frame->hd.stream_id);
	if (e && frame->hd.type == NGHTTP2_HEADERS && !e->x.head_in)
		head_done(h2, e, end);
	e = h2->http.closed ? NULL : find(h2, frame->hd.stream_id);
	if (e && end && e->x.head_in) {
		e->end_in = true;
		may_complete(e);
	}
	return h2->http.closed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void too_long(struct h2 *h2, struct h2_exchange *e)
{
	drop(h2, e, -EMSGSIZE, "the body of an HTTP message is longer than is accepted here");
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_exchange *e = find(h2, id);
	int result;

	(void)flags;
	if (e && (e->x.paused || e->held.len > 0)) {
		if (bytes_add(&e->held, data, len))
			return NGHTTP2_ERR_NOMEM;
		return 0;		/* its window stays closed for as much */
	}
	if (e) {
		result = http_tell_body(&e->x, data, len);
		if (h2->http.closed)
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		if (result == -EMSGSIZE)
			too_long(h2, e);
	}
	nghttp2_session_consume(session, id, len);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_exchange *e = find(h2, id);
	char why[128];

	(void)session;
	if (!e)
		return 0;
	if (h2->http.server && code == NGHTTP2_NO_ERROR && e->no_body && !e->out_end)
		return 0;		/* the answer had no body: its end is still to be said */
	if (code == NGHTTP2_NO_ERROR && e->end_in && e->x.head_in &&
	    (!h2->http.server || e->out_end)) {
		/* All has come, and what is held back will still be told; ours is of no use. */
		e->out_end = true;
		http_sent_all(&e->x);
		return 0;
	}
	str_copy(why, sizeof(why), "the other side ended an HTTP/2 stream: ");
	str_copy(why + strlen(why), sizeof(why) - strlen(why), nghttp2_http2_strerror(code));
	http_exchange_fail(&e->x, code == NGHTTP2_REFUSED_STREAM ? -EAGAIN : -ECONNRESET, why);
	return h2->http.closed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* After the library was at work: send, and see what time is left. */
static void after(struct h2 *h2)
{
	if (h2->http.closed || h2->http.over)
		return;
	flush(h2);
	pace(h2);
}

static void process(struct h2 *h2)
{
	const uint8_t *data;
	ssize_t n;
	size_t len;

	data = warren_stream_input(h2->http.stream, &len);
	if (len == 0 || h2->http.closed || h2->http.over)
		return;
	h2->inside = true;
	n = nghttp2_session_mem_recv(h2->session, data, len);
	h2->inside = false;
	if (h2->http.closed)
		return;
	if (n < 0) {
		flush(h2);		/* its GOAWAY says why */
		http_end(&h2->http, -EBADMSG, nghttp2_strerror((int)n));
		return;
	}
	warren_stream_drain(h2->http.stream, len);
	after(h2);
}

static void readable(struct warren_stream *stream, void *arg)
{
	struct h2 *h2 = arg;

	(void)stream;
	http_enter(&h2->http);
	process(h2);
	http_leave(&h2->http);
}

static void drained(struct warren_stream *stream, void *arg)
{
	struct h2 *h2 = arg;

	(void)stream;
	http_enter(&h2->http);
	after(h2);
	http_leave(&h2->http);
}

static void ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct h2 *h2 = arg;

	(void)stream;
	http_enter(&h2->http);
	process(h2);
	if (!h2->http.closed)
		http_end(&h2->http, result, why);
	http_leave(&h2->http);
}

static const struct warren_stream_events stream_events = {
	.size = sizeof(stream_events), .readable = readable, .drained = drained, .ended = ended,
};

/* ---- from the loop ---- */

static void tell_held(struct h2 *h2, struct h2_exchange *e)
{
	while (!h2->http.closed && !e->x.dead && !e->x.paused && e->held.len > 0) {
		size_t n = e->held.len < PIECE ? e->held.len : PIECE;
		int result = http_tell_body(&e->x, bytes_at(&e->held), n);

		bytes_take(&e->held, n);
		nghttp2_session_consume(h2->session, e->id, n);
		if (result == -EMSGSIZE && !h2->http.closed)
			too_long(h2, e);
	}
	if (!h2->http.closed)
		may_complete(e);
}

/* One exchange that has something to be told; each call may end any of them. */
static struct h2_exchange *due(struct h2 *h2)
{
	struct h2_exchange *e;

	list_for_each(e, &h2->http.exchanges, x.link) {
		if (e->drain_due ||
		    (!e->x.paused && (e->held.len > 0 || (e->end_in && !e->x.done_in))))
			return e;
	}
	return NULL;
}

static void kicked(struct warren_ctx *ctx, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_exchange *e;

	(void)ctx;
	http_enter(&h2->http);
	while (!h2->http.closed && !h2->http.over && (e = due(h2))) {
		bool drain = e->drain_due;

		e->drain_due = false;
		if (drain)
			http_tell_drained(&e->x);
		else
			tell_held(h2, e);
	}
	after(h2);
	if (h2->end_due && !h2->http.closed)
		http_end(&h2->http, h2->end_result, h2->end_result ? h2->end_why : NULL);
	http_leave(&h2->http);
}

static void timed_out(struct warren_ctx *ctx, void *arg)
{
	struct h2 *h2 = arg;
	bool idle = list_empty(&h2->http.exchanges);

	(void)ctx;
	http_enter(&h2->http);
	nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);
	flush(h2);
	http_end(&h2->http, idle ? 0 : -ETIMEDOUT,
		 idle ? NULL : "the other side takes too long with its request");
	http_leave(&h2->http);
}

static void ping_lost(struct warren_ctx *ctx, void *arg)
{
	struct h2 *h2 = arg;

	(void)ctx;
	http_enter(&h2->http);
	http_end(&h2->http, -ETIMEDOUT, "the other side does not answer an HTTP/2 ping");
	http_leave(&h2->http);
}

/* ---- what goes out ---- */

static ssize_t read_out(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
			uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_exchange *e = find(h2, id);
	size_t n;

	(void)session;
	(void)source;
	if (!e)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	n = e->out.len < len ? e->out.len : len;
	if (n == 0 && !e->out_end) {
		e->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	memcpy(buf, bytes_at(&e->out), n);
	bytes_take(&e->out, n);
	if (e->was_high && e->out.len <= OUT_LOW) {
		e->was_high = false;
		e->drain_due = true;
		warren_timer_set(h2->kick, 0);
	}
	if (e->out.len == 0 && e->out_end) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		http_sent_all(&e->x);
	}
	return (ssize_t)n;
}

static nghttp2_nv pair(const char *name, const char *value)
{
	nghttp2_nv nv = { .name = (uint8_t *)(uintptr_t)name, .namelen = strlen(name),
			  .value = (uint8_t *)(uintptr_t)value, .valuelen = strlen(value) };

	return nv;
}

struct block {
	nghttp2_nv nv[WARREN_HTTP_FIELDS + 5];
	size_t n;
	char length[24];
};

/* The fields after the pseudo ones. False: one that HTTP/2 has no place for (RFC 9113 8.2.2). */
static bool add_fields(struct block *b, const struct warren_http_head *head, bool body)
{
	for (uint32_t i = 0; i < head->n_fields; i++) {
		if (strcasecmp(head->fields[i].name, "connection") == 0 ||
		    strcasecmp(head->fields[i].name, "upgrade") == 0)
			return false;
		b->nv[b->n++] = pair(head->fields[i].name, head->fields[i].value);
	}
	if (body && head->length >= 0) {
		snprintf(b->length, sizeof(b->length), "%lld", (long long)head->length);
		b->nv[b->n++] = pair("content-length", b->length);
	}
	return true;
}

static struct warren_exchange *h2_request(struct warren_http *http,
					  const struct warren_http_head *head)
{
	struct h2 *h2 = h2_of(http);
	nghttp2_data_provider provider = { .read_callback = read_out };
	struct block b = { .n = 0 };
	struct h2_exchange *e, *other;
	uint32_t count = 0;

	list_for_each(other, &http->exchanges, x.link)
		count++;
	if (h2->end_due || !nghttp2_session_check_request_allowed(h2->session) ||
	    count >= nghttp2_session_get_remote_settings(h2->session,
					NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
		return NULL;
	b.nv[b.n++] = pair(":method", head->method);
	b.nv[b.n++] = pair(":scheme", head->scheme ? head->scheme : "https");
	b.nv[b.n++] = pair(":authority", head->authority);
	b.nv[b.n++] = pair(":path", head->path);
	if (!add_fields(&b, head, head->length > 0))
		return NULL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	http_exchange_init(&e->x, http);
	e->out_end = head->length == 0;
	e->id = nghttp2_submit_request(h2->session, NULL, b.nv, b.n,
				       head->length ? &provider : NULL, NULL);
	if (e->id < 0) {
		http_exchange_bury(&e->x);
		return NULL;
	}
	flush(h2);
	pace(h2);
	return &e->x;
}

static int h2_head(struct warren_exchange *x, const struct warren_http_head *head)
{
	struct h2 *h2 = h2_of(x->http);
	struct h2_exchange *e = e_of(x);
	nghttp2_data_provider provider = { .read_callback = read_out };
	struct block b = { .n = 0 };
	char status[16];
	bool never = head->status == 204 || head->status == 304;
	bool body = head->length != 0 && !never && !e->no_body;

	snprintf(status, sizeof(status), "%d", head->status);
	b.nv[b.n++] = pair(":status", status);
	if (!add_fields(&b, head, !never))
		return -EINVAL;
	e->no_body = !body;
	if (nghttp2_submit_response(h2->session, e->id, b.nv, b.n, body ? &provider : NULL))
		return -ENOMEM;
	if (head->length == 0)
		http_sent_all(x);
	flush(h2);
	pace(h2);
	return 0;
}

/* The library asks for output when it has none; else it goes on by itself. */
static void offer(struct h2 *h2, struct h2_exchange *e)
{
	if (e->deferred) {
		e->deferred = false;
		nghttp2_session_resume_data(h2->session, e->id);
	}
	flush(h2);
	if (!h2->http.closed)
		pace(h2);
}

static int h2_write(struct warren_exchange *x, const void *data, size_t len)
{
	struct h2 *h2 = h2_of(x->http);
	struct h2_exchange *e = e_of(x);

	if (e->no_body)
		return 0;
	if (e->out_end)
		return -EINVAL;
	if (e->out.len + len > OUT_MAX)
		return -ENOBUFS;
	if (bytes_add(&e->out, data, len))
		return -ENOMEM;
	if (e->out.len > OUT_HIGH)
		e->was_high = true;
	offer(h2, e);
	return 0;
}

static int h2_end(struct warren_exchange *x)
{
	struct h2_exchange *e = e_of(x);

	if (e->out_end)
		return -EINVAL;
	e->out_end = true;
	if (e->no_body)
		http_sent_all(x);
	else
		offer(h2_of(x->http), e);
	return 0;
}

static size_t h2_pending(const struct warren_exchange *x)
{
	return CONTAINER_OF(x, const struct h2_exchange, x)->out.len;
}

static void h2_resume(struct warren_exchange *x)
{
	warren_timer_set(h2_of(x->http)->kick, 0);
}

static void h2_cancel(struct warren_exchange *x)
{
	struct h2 *h2 = h2_of(x->http);

	refuse_stream(h2, e_of(x)->id, NGHTTP2_CANCEL);
	flush(h2);
	pace(h2);
}

static int h2_ping(struct warren_http *http, uint64_t usec)
{
	struct h2 *h2 = h2_of(http);

	if (nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL))
		return -ENOMEM;
	warren_timer_set(h2->ping_timer, usec);
	flush(h2);
	return 0;
}

static void h2_bury(struct warren_exchange *x)
{
	struct h2_exchange *e = e_of(x);

	str_free(&e->text);
	bytes_free(&e->held);
	bytes_free(&e->out);
}

static void h2_free(struct warren_http *http)
{
	struct h2 *h2 = h2_of(http);

	if (h2->session) {
		if (http->stream && !http->over) {
			nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);
			flush(h2);
		}
		nghttp2_session_del(h2->session);
	}
	warren_stream_close_later(http->stream, LINGER);
	warren_release(h2->timer);
	warren_release(h2->ping_timer);
	warren_release(h2->kick);
	free(h2);
}

static const struct http_ops ops = {
	.request = h2_request, .head = h2_head, .write = h2_write, .end = h2_end,
	.pending = h2_pending, .resume = h2_resume, .cancel = h2_cancel, .ping = h2_ping,
	.bury = h2_bury, .free = h2_free,
};

/* ---- the session ---- */

static int session_make(struct h2 *h2, nghttp2_session_callbacks *callbacks,
			nghttp2_option *option)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_peer_max_concurrent_streams(option, CLIENT_STREAMS);
	nghttp2_option_set_no_closed_streams(option, 1);
	return h2->http.server ?
		       nghttp2_session_server_new2(&h2->session, callbacks, h2, option) :
		       nghttp2_session_client_new2(&h2->session, callbacks, h2, option);
}

static int session_begin(struct h2 *h2)
{
	const nghttp2_settings_entry entries[] = {
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, WARREN_HTTP_HEAD_MAX },
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h2->http.options.streams_max },
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
	};
	size_t n = ARRAY_SIZE(entries) - (h2->http.server ? 1 : 0);

	if (nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, entries, n))
		return -ENOMEM;
	return nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
						     CONNECTION_WINDOW);
}

static bool session_new(struct h2 *h2)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	bool good = nghttp2_session_callbacks_new(&callbacks) == 0 &&
		    nghttp2_option_new(&option) == 0 &&
		    session_make(h2, callbacks, option) == 0 && session_begin(h2) == 0;

	nghttp2_session_callbacks_del(callbacks);
	nghttp2_option_del(option);
	return good;
}

struct warren_http *http2_conn_take(struct warren_stream *stream,
				    const struct warren_http_options *options,
				    const struct warren_http_events *events, void *arg,
				    bool server)
{
	struct h2 *h2 = calloc(1, sizeof(*h2));

	if (!h2 || !http_init(&h2->http, &ops, stream, options, events, arg, server)) {
		free(h2);
		warren_stream_close(stream);
		return NULL;
	}
	h2->timer = warren_timer_new(h2->http.ctx, timed_out, h2);
	h2->ping_timer = warren_timer_new(h2->http.ctx, ping_lost, h2);
	h2->kick = warren_timer_new(h2->http.ctx, kicked, h2);
	if (!h2->timer || !h2->ping_timer || !h2->kick || !session_new(h2)) {
		warren_http_close(&h2->http);
		return NULL;
	}
	warren_stream_set(stream, &stream_events, h2);
	http_enter(&h2->http);
	after(h2);
	http_leave(&h2->http);
	return &h2->http;
}
