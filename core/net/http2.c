/*
 * A connection of HTTP/2, either side, on nghttp2: its life, its time and its end. The library
 * frames and checks; its streams become exchanges (http2_in.c, http2_out.c). It must not be entered
 * from its own callbacks, so all that these and the owner cause is done from the loop. An exchange
 * is found by its stream's number, never by a pointer inside the library, which keeps streams
 * longer than we keep exchanges.
 */
#include "http2_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stream.h"

enum {
	STREAM_WINDOW = 1 << 20, CONNECTION_WINDOW = 4 << 20,
	/*
	 * Of the stream below: the library goes on sending when it has fallen to LOW, which is told
	 * only after it was above HIGH; so stop beyond that.
	 */
	LOW = 64 << 10, HIGH = 128 << 10, STOP = 192 << 10,
	INPUT = 64 << 10,
	LINGER = 1000000,
	CLIENT_STREAMS = 100,		/* until the server has said how many */
	ACKS_MAX = 256,			/* answers to pings and settings that may wait */
};

uint64_t h2_deadline(uint64_t usec)
{
	uint64_t now = warren_now();

	return usec < UINT64_MAX - now ? now + usec : UINT64_MAX;
}

struct h2_exchange *h2_find(struct h2 *h2, int32_t id)
{
	struct h2_exchange *e;

	list_for_each(e, &h2->http.exchanges, x.link) {
		if (e->id == id)
			return e;
	}
	return NULL;
}

void h2_end_later(struct h2 *h2, int result, const char *why)
{
	if (h2->end_due)
		return;
	h2->end_due = true;
	h2->end_result = result;
	str_copy(h2->end_why, sizeof(h2->end_why), why ? why : "");
	warren_timer_set(h2->kick, 0);
}

/* Nothing more comes. After a GOAWAY, that is why. */
static void end_seen(struct h2 *h2, int result, const char *why)
{
	if (h2->goaway_result)
		h2_end_later(h2, h2->goaway_result, h2->goaway);
	else
		h2_end_later(h2, result, why);
}

void h2_refuse(struct h2 *h2, const char *why)
{
	if (h2->end_due)
		return;
	h2_end_later(h2, -EBADMSG, why);
	nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

void h2_forget_held(struct h2 *h2, struct h2_exchange *e)
{
	if (e->held.len > 0 && !h2->broken)
		nghttp2_session_consume_connection(h2->session, e->held.len);
	bytes_free(&e->held);
}

void h2_drop(struct h2 *h2, struct h2_exchange *e, uint32_t code, int result, const char *why)
{
	if (!h2->broken)
		nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, e->id, code);
	h2_forget_held(h2, e);
	http_exchange_fail(&e->x, result, why);
	warren_timer_set(h2->kick, 0);
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When the other side must have made progress with this exchange. None while it waits for us. */
static uint64_t due_by(const struct h2 *h2, const struct h2_exchange *e)
{
	uint64_t by = UINT64_MAX;

	if (!h2->http.server)
		return by;
	if (!e->end_in && !e->x.paused)
		by = e->in_by;
	return e->out_by ? earlier(by, e->out_by) : by;
}

static void pace(struct h2 *h2)
{
	const struct h2_exchange *e;
	uint64_t by = UINT64_MAX, now = warren_now();

	if (h2->http.closed || h2->http.over)
		return;
	list_for_each(e, &h2->http.exchanges, x.link)
		by = earlier(by, due_by(h2, e));
	if (!list_empty(&h2->http.exchanges)) {
		h2->idle_by = 0;
	} else if (!h2->idle_by) {
		h2->idle_by = h2_deadline(h2->begun || !h2->http.server ?
						  h2->http.options.idle_timeout :
						  h2->http.options.head_timeout);
	}
	if (h2->idle_by)
		by = earlier(by, h2->idle_by);
	if (by == UINT64_MAX)
		warren_timer_stop(h2->timer);
	else
		warren_timer_set(h2->timer, by > now ? by - now : 0);
}

/* ---- the library at work ---- */

/* It has failed for good. */
static void break_down(struct h2 *h2, ssize_t result)
{
	char why[256];

	h2->broken = true;
	snprintf(why, sizeof(why), "HTTP/2 broke down: %s", nghttp2_strerror((int)result));
	h2_end_later(h2, result == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EBADMSG, why);
}

/* Sends what there is, up to the stream's mark; the rest follows when that has drained. */
static void flush(struct h2 *h2)
{
	const uint8_t *data;
	ssize_t n = 0;

	if (h2->inside || h2->broken)
		return;
	h2->inside = true;
	while (warren_stream_pending(h2->http.stream) < STOP &&
	       (n = nghttp2_session_mem_send(h2->session, &data)) > 0) {
		if (warren_stream_write(h2->http.stream, data, (size_t)n))
			break;		/* the stream's end is told on its own */
	}
	h2->inside = false;
	if (n < 0)
		break_down(h2, n);
	else if (!nghttp2_session_want_read(h2->session) &&
		 !nghttp2_session_want_write(h2->session))
		end_seen(h2, 0, NULL);
}

/* After anything may have changed. */
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

	if (h2->http.closed || h2->http.over || h2->end_due || h2->broken)
		return;
	data = warren_stream_input(h2->http.stream, &len);
	if (len == 0)
		return;
	h2->inside = true;
	n = nghttp2_session_mem_recv(h2->session, data, len);
	h2->inside = false;
	warren_stream_drain(h2->http.stream, len);
	if (n < 0)
		break_down(h2, n);
}

static void readable(struct warren_stream *stream, void *arg)
{
	struct h2 *h2 = arg;

	(void)stream;
	http_enter(&h2->http);
	process(h2);
	after(h2);
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
		end_seen(h2, result, why);
	http_leave(&h2->http);
}

static const struct warren_stream_events stream_events = {
	.size = sizeof(stream_events), .readable = readable, .drained = drained, .ended = ended,
};

/* ---- from the loop ---- */

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

static void tell(struct h2 *h2)
{
	struct h2_exchange *e;

	while (!h2->http.closed && !h2->http.over && (e = due(h2))) {
		bool drain = e->drain_due;

		e->drain_due = false;
		if (drain)
			http_tell_drained(&e->x);
		else
			h2_tell_held(h2, e);
	}
}

/* An answer that is there as a whole is still told, however slowly its owner takes it. */
static struct h2_exchange *hopeless(struct h2 *h2)
{
	struct h2_exchange *e;

	list_for_each(e, &h2->http.exchanges, x.link) {
		if (h2->http.server || !e->end_in)
			return e;
	}
	return NULL;
}

static void conclude(struct h2 *h2)
{
	const char *why = h2->end_result ? h2->end_why :
			  "the other side closed the connection before the exchange was complete";
	struct h2_exchange *e, *next;

	while (!h2->http.closed && (e = hopeless(h2)))
		http_exchange_fail(&e->x, h2->end_result ? h2->end_result : -ECONNRESET, why);
	if (h2->http.closed)
		return;
	list_for_each_safe(e, next, &h2->http.exchanges, x.link) {
		e->out_end = true;
		http_sent_all(&e->x);
	}
	if (list_empty(&h2->http.exchanges))
		http_end(&h2->http, h2->end_result, h2->end_result ? h2->end_why : NULL);
}

static void kicked(struct warren_ctx *ctx, void *arg)
{
	struct h2 *h2 = arg;

	(void)ctx;
	http_enter(&h2->http);
	tell(h2);
	after(h2);
	if (h2->end_due && !h2->http.closed && !h2->http.over)
		conclude(h2);
	http_leave(&h2->http);
}

static struct h2_exchange *late(struct h2 *h2)
{
	uint64_t now = warren_now();
	struct h2_exchange *e;

	list_for_each(e, &h2->http.exchanges, x.link) {
		if (due_by(h2, e) <= now)
			return e;
	}
	return NULL;
}

static void hang_up(struct h2 *h2, int result, const char *why)
{
	if (!h2->broken)
		nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);
	h2_end_later(h2, result, why);
}

static void timed_out(struct warren_ctx *ctx, void *arg)
{
	static const char slow[] = "the other side takes too long with its request";
	struct h2 *h2 = arg;
	struct h2_exchange *e;

	(void)ctx;
	http_enter(&h2->http);
	while (!h2->http.closed && !h2->end_due && (e = late(h2))) {
		if (e->x.head_in)
			h2_drop(h2, e, NGHTTP2_CANCEL, -ETIMEDOUT,
				e->out_by && e->out_by <= warren_now() ?
					"the other side takes nothing of the answer" : slow);
		else
			hang_up(h2, -ETIMEDOUT, slow);	/* nothing can pass half a head */
	}
	if (!h2->http.closed && h2->idle_by && h2->idle_by <= warren_now()) {
		if (h2->begun || !h2->http.server)
			hang_up(h2, 0, NULL);
		else
			hang_up(h2, -ETIMEDOUT, "the other side does not begin with HTTP/2");
	}
	after(h2);
	http_leave(&h2->http);
}

static void ping_lost(struct warren_ctx *ctx, void *arg)
{
	struct h2 *h2 = arg;

	(void)ctx;
	http_enter(&h2->http);
	h2_end_later(h2, -ETIMEDOUT, "the other side does not answer an HTTP/2 ping");
	http_leave(&h2->http);
}

/* ---- what the owner wants ---- */

static void h2_resume(struct warren_exchange *x)
{
	struct h2 *h2 = h2_of(x->http);

	h2_exchange_of(x)->in_by = h2_deadline(h2->http.options.head_timeout);
	warren_timer_set(h2->kick, 0);
}

static void h2_cancel(struct warren_exchange *x)
{
	struct h2 *h2 = h2_of(x->http);

	if (!h2->broken)
		nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, h2_exchange_of(x)->id,
					  NGHTTP2_CANCEL);
	h2_forget_held(h2, h2_exchange_of(x));
	warren_timer_set(h2->kick, 0);
}

static int h2_ping(struct warren_http *http, uint64_t usec)
{
	struct h2 *h2 = h2_of(http);

	if (h2->broken || h2->end_due)
		return -ESHUTDOWN;
	if (h2->pinging)
		return 0;		/* the answer to the earlier one is due first */
	if (nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, NULL))
		return -ENOMEM;
	h2->pinging = true;
	warren_timer_set(h2->ping_timer, usec);
	warren_timer_set(h2->kick, 0);
	return 0;
}

static void h2_bury(struct warren_exchange *x)
{
	struct h2_exchange *e = h2_exchange_of(x);

	str_free(&e->text);
	bytes_free(&e->held);
	bytes_free(&e->out);
}

static void h2_free(struct warren_http *http)
{
	struct h2 *h2 = h2_of(http);

	if (h2->session && !h2->broken) {
		nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);
		flush(h2);
	}
	nghttp2_session_del(h2->session);
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
	h2_in_callbacks(callbacks);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_peer_max_concurrent_streams(option, CLIENT_STREAMS);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_outbound_ack(option, ACKS_MAX);
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
		h2->broken = true;
		warren_http_close(&h2->http);
		return NULL;
	}
	warren_stream_limits(stream, INPUT, LOW, HIGH);
	warren_stream_timeouts(stream, 0, H2_WRITE_STALL);
	warren_stream_set(stream, &stream_events, h2);
	http_enter(&h2->http);
	after(h2);
	http_leave(&h2->http);
	return &h2->http;
}
