/*
 * HTTP/2: what the other side sends. These are the library's callbacks, so nothing here sends or
 * frees; what they cause follows when the library is left.
 *
 * Flow control is by consumption: bytes count as received when the owner has taken them. While he
 * pauses they are held here, never more than the windows let in.
 */
#include "http2_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PIECE = 16 << 10,		/* of held input, told at once */
	PSEUDO = 4,			/* fields of a request's head that are not fields */
	HEAD_WORK = 1 << 20,		/* bytes of a head that is refused, before we hang up */
	/* Streams that a client may spoil: at once, and one more in each of these times. */
	RESETS_MAX = 256,
	RESETS_USEC = 1000000 / 32,
};

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_exchange *e = h2_find(h2, frame->hd.stream_id);

	(void)session;
	if (e) {
		str_cut(&e->text, 0);
		e->n_fields = 0;
		e->head_size = 0;
		return 0;
	}
	if (!h2->http.server || h2->http.closed || h2->end_due ||
	    frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	http_exchange_init(&e->x, &h2->http);
	e->id = frame->hd.stream_id;
	e->in_by = h2_deadline(h2->http.options.head_timeout);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *arg)
{
	struct h2 *h2 = arg;
	struct h2_exchange *e = h2_find(h2, frame->hd.stream_id);

	(void)session;
	(void)flags;
	if (!e)
		return 0;		/* given up */
	e->head_size += name_len + value_len + 2;
	if (e->head_size > HEAD_WORK)
		h2_refuse(h2, "the other side sent an HTTP head without end");
	if (e->head_size > WARREN_HTTP_HEAD_MAX || e->n_fields >= WARREN_HTTP_FIELDS + PSEUDO)
		e->too_big = true;
	if (e->too_big || e->x.head_in)
		return 0;		/* the latter: a trailer */
	str_addn(&e->text, (const char *)name, name_len);
	str_addc(&e->text, '\0');
	str_addn(&e->text, (const char *)value, value_len);
	str_addc(&e->text, '\0');
	e->n_fields++;
	return 0;
}

/* The library has let only digits through. */
static int64_t number_of(const char *text)
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
		head->status = (int)number_of(value);
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
			head->length = number_of(value);
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

static void request_done(struct h2 *h2, struct h2_exchange *e,
			 const struct warren_http_head *head)
{
	/* CONNECT has no path: nobody here is a proxy. */
	if (!head->method || !head->scheme || !head->authority || !head->path) {
		h2_drop(h2, e, NGHTTP2_REFUSED_STREAM, -EBADMSG,
			"the other side sent an HTTP request without a path or host");
		return;
	}
	e->no_body = strcmp(head->method, "HEAD") == 0;
	if (http_tell_request(&e->x))
		http_tell_head(&e->x, head);
}

static void head_done(struct h2 *h2, struct h2_exchange *e, bool end)
{
	struct warren_http_field fields[WARREN_HTTP_FIELDS + PSEUDO];
	struct warren_http_head head;

	if (!e->too_big && !e->text.failed)
		make_head(e, fields, &head, end);
	if (e->too_big || e->text.failed || head.n_fields > WARREN_HTTP_FIELDS)
		h2_drop(h2, e, NGHTTP2_ENHANCE_YOUR_CALM, -EMSGSIZE,
			"the other side sent an HTTP head that is too long");
	else if (h2->http.server)
		request_done(h2, e, &head);
	else if (head.status >= 200)
		http_tell_head(&e->x, &head);
}

static void message_frame(struct h2 *h2, const nghttp2_frame *frame)
{
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct h2_exchange *e = h2_find(h2, frame->hd.stream_id);

	if (e)
		e->in_by = h2_deadline(h2->http.options.head_timeout);
	if (e && frame->hd.type == NGHTTP2_HEADERS && !e->x.head_in)
		head_done(h2, e, end);
	e = h2_find(h2, frame->hd.stream_id);
	if (e && end && e->x.head_in) {
		e->end_in = true;
		may_complete(e);
	}
}

/*
 * A stream that ended as none should, by the client's will or fault. Each has cost us the work of
 * beginning it and no limit of concurrent streams counts it (CVE-2023-44487).
 */
static void count_reset(struct h2 *h2)
{
	uint64_t now = warren_now(), less = (now - h2->resets_at) / RESETS_USEC;

	if (less > 0) {
		h2->resets = less < h2->resets ? h2->resets - (uint32_t)less : 0;
		h2->resets_at = now;
	}
	if (++h2->resets > RESETS_MAX)
		h2_refuse(h2, "the other side ends HTTP/2 streams too often");
}

static void goaway_came(struct h2 *h2, const nghttp2_goaway *goaway)
{
	AUTO(str_free) struct str text = STR_INIT;

	str_add(&text, "the other side ended the HTTP/2 connection");
	if (goaway->error_code != NGHTTP2_NO_ERROR)
		str_addf(&text, ": %s", nghttp2_http2_strerror(goaway->error_code));
	if (goaway->opaque_data_len > 0) {
		str_add(&text, ", it says: ");
		str_add_clean(&text, (const char *)goaway->opaque_data, goaway->opaque_data_len,
			      100);
	}
	h2->goaway_result = goaway->error_code == NGHTTP2_NO_ERROR ? 0 : -ECONNRESET;
	snprintf(h2->goaway, sizeof(h2->goaway), "%s", str_text(&text));
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h2 = arg;

	(void)session;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA:
		message_frame(h2, frame);
		break;
	case NGHTTP2_SETTINGS:
		if (!h2->begun)
			h2->idle_by = 0;
		h2->begun = true;
		break;
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
			warren_timer_stop(h2->ping_timer);
			h2->pinging = false;
		}
		break;
	case NGHTTP2_RST_STREAM:
		if (h2->http.server)
			count_reset(h2);
		break;
	case NGHTTP2_GOAWAY:
		goaway_came(h2, &frame->goaway);
		break;
	default:
		break;
	}
	return 0;
}

static void too_long(struct h2 *h2, struct h2_exchange *e)
{
	h2_drop(h2, e, NGHTTP2_CANCEL, -EMSGSIZE,
		"the body of an HTTP message is longer than is accepted here");
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_exchange *e = h2_find(h2, id);

	(void)flags;
	if (e)
		e->in_by = h2_deadline(h2->http.options.head_timeout);
	if (e && (e->x.paused || e->held.len > 0))
		return bytes_add(&e->held, data, len) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
	if (e && http_tell_body(&e->x, data, len) == -EMSGSIZE)
		too_long(h2, e);
	nghttp2_session_consume(session, id, len);
	return 0;
}

void h2_tell_held(struct h2 *h2, struct h2_exchange *e)
{
	while (!h2->http.closed && !e->x.dead && !e->x.paused && e->held.len > 0) {
		uint8_t piece[PIECE];
		size_t n = e->held.len < PIECE ? e->held.len : PIECE;

		/* The owner may cancel, which forgets what is held. */
		memcpy(piece, bytes_at(&e->held), n);
		bytes_take(&e->held, n);
		nghttp2_session_consume(h2->session, e->id, n);
		if (http_tell_body(&e->x, piece, n) == -EMSGSIZE)
			too_long(h2, e);
	}
	if (!h2->http.closed)
		may_complete(e);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_exchange *e = h2_find(h2, id);
	bool whole = e && e->end_in && code == NGHTTP2_NO_ERROR;
	char why[320];
	int result = code == NGHTTP2_REFUSED_STREAM ? -EAGAIN : -ECONNRESET;

	(void)session;
	if (!e)
		return 0;
	if (whole && e->no_body && e->x.head_out)
		return 0;		/* its owner has still to end it */
	if (whole && (!h2->http.server || e->x.done_out)) {
		/* What is held back will still be told. Ours is of no use any more. */
		e->out_end = true;
		http_sent_all(&e->x);
		return 0;
	}
	if (e->reset_by_us)
		snprintf(why, sizeof(why), "the other side sent a message that HTTP/2 forbids: %s",
			 nghttp2_http2_strerror(code));
	else if (result == -EAGAIN && *h2->goaway)
		snprintf(why, sizeof(why), "%s, before it took this request", h2->goaway);
	else
		snprintf(why, sizeof(why), "the other side gave the exchange up: %s",
			 nghttp2_http2_strerror(code));
	h2_forget_held(h2, e);
	http_exchange_fail(&e->x, e->reset_by_us ? -EBADMSG : result, why);
	return 0;
}

/* The library has found that the other side broke the rules, of a stream or the connection. */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_exchange *e;
	char why[256];

	(void)session;
	if (frame->hd.type == NGHTTP2_RST_STREAM) {
		e = h2_find(h2, frame->hd.stream_id);
		if (e)
			e->reset_by_us = true;
		if (h2->http.server && frame->rst_stream.error_code != NGHTTP2_CANCEL &&
		    frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
			count_reset(h2);
	} else if (frame->hd.type == NGHTTP2_GOAWAY &&
		   frame->goaway.error_code != NGHTTP2_NO_ERROR) {
		snprintf(why, sizeof(why), "the other side does not keep to HTTP/2: %s%s%.*s",
			 nghttp2_http2_strerror(frame->goaway.error_code),
			 frame->goaway.opaque_data_len > 0 ? ", " : "",
			 (int)frame->goaway.opaque_data_len,
			 (const char *)frame->goaway.opaque_data);
		h2_end_later(h2, -EBADMSG, why);
	}
	return 0;
}

void h2_in_callbacks(nghttp2_session_callbacks *callbacks)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
}
