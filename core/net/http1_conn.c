/*
 * A connection of HTTP/1.1, either side: one exchange at a time, the next one after both messages
 * of it. A head is fed to the parser line by line, and each line is taken from the stream first:
 * so the stream can be handed over from inside `head` with exactly what follows the head.
 */
#include "http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/str.h"

#include "http1.h"

enum {
	LINE_PIECE = 1024,
	WRITE_STALL = 60 * 1000000,	/* a server gives up on who does not read for so long */
	LINGER = 5 * 1000000,		/* an answer is read before its connection breaks */
};

struct h1_exchange {
	struct warren_exchange x;
	int64_t left;			/* of our body; -1: chunked, -2: until the end */
	bool no_body;			/* what we say of a body's length is not followed by one */
	bool wants_upgrade;
};

enum h1_pace { PACE_NONE = 0, PACE_IDLE, PACE_HEAD, PACE_BODY };

struct h1 {
	struct warren_http http;
	struct http1 *parser;
	struct h1_exchange *current;	/* the message under way belongs to it */
	struct warren_timer *timer;
	enum h1_pace pace;		/* what it runs for */
	struct warren_timer *kick;	/* goes on from the loop */
	bool in_body;			/* of the other side's message */
	bool interim;			/* a 1xx head, of which nobody is told */
	bool poke;			/* the parser may finish without a further byte */
	bool last;			/* no exchange follows this one */
	bool eof, old;			/* old: the client speaks HTTP/1.0 */
	int end_result;
	bool end_due;			/* tell the owner, from the loop */
	char end_why[256];
};

static struct h1 *h1_of(struct warren_http *http)
{
	return CONTAINER_OF(http, struct h1, http);
}

/*
 * What the other side has time for. A head's time begins with its first byte, so that no trickle
 * prolongs it; a body's with each piece; none passes while we are the ones to wait for.
 */
static void pace(struct h1 *h1)
{
	const struct h1_exchange *e = h1->current;
	enum h1_pace was = h1->pace;
	uint64_t usec = h1->http.options.head_timeout;

	if (!e)
		h1->pace = http1_idle(h1->parser) ? PACE_IDLE : PACE_HEAD;
	else
		h1->pace = h1->http.server && !e->x.done_in && !e->x.paused ? PACE_BODY : PACE_NONE;
	if (h1->pace == was && was != PACE_BODY)
		return;
	if (h1->pace == PACE_IDLE)
		usec = h1->http.options.idle_timeout;
	if (h1->pace == PACE_NONE || usec == UINT64_MAX)
		warren_timer_stop(h1->timer);
	else
		warren_timer_set(h1->timer, usec);
}

/* The end, to be told from the loop. */
static void end_later(struct h1 *h1, int result, const char *why)
{
	if (h1->end_due)
		return;
	h1->end_due = true;
	h1->end_result = result;
	str_copy(h1->end_why, sizeof(h1->end_why), why ? why : "");
	warren_timer_set(h1->kick, 0);
}

/* The exchange is over: the connection is free for the next, or done. */
static void next(struct h1 *h1)
{
	h1->current = NULL;
	h1->pace = PACE_NONE;
	if (h1->last || (h1->eof && !h1->http.server))
		end_later(h1, 0, NULL);
	else
		warren_timer_set(h1->kick, 0);
	pace(h1);
}

static void settle(struct h1 *h1)
{
	if (h1->current && h1->current->x.dead)
		next(h1);
}

/* ---- what comes in ---- */

static struct h1_exchange *exchange_new(struct h1 *h1)
{
	struct h1_exchange *e = calloc(1, sizeof(*e));

	if (e)
		http_exchange_init(&e->x, &h1->http);
	return e;
}

static void say_continue(struct h1 *h1, const struct warren_http_head *head)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	const char *expect = warren_http_field(head, "expect");

	if (expect && strcasecmp(expect, "100-continue") == 0 && !h1->current->x.head_out)
		warren_stream_write(h1->http.stream, go_on, sizeof(go_on) - 1);
}

static int server_head(struct h1 *h1, const struct warren_http_head *head)
{
	struct h1_exchange *e = exchange_new(h1);

	if (!e)
		return -ENOMEM;
	h1->current = e;
	h1->old = http1_is_old(h1->parser);
	h1->last = !http1_keeps_alive(h1->parser);
	e->no_body = strcmp(head->method, "HEAD") == 0;
	if (!http_tell_request(&e->x) || !http_tell_head(&e->x, head))
		return WARREN_PENDING;
	if (head->length != 0)
		say_continue(h1, head);
	return 0;
}

static int on_head(void *arg, const struct warren_http_head *head)
{
	struct h1 *h1 = arg;
	struct h1_exchange *e = h1->current;

	h1->in_body = head->length != 0;
	if (h1->http.server)
		return server_head(h1, head);
	h1->interim = head->status < 200 && head->status != 101;
	if (h1->interim)
		return 0;
	if (head->status == 101 && !e->wants_upgrade)
		return -EBADMSG;
	return http_tell_head(&e->x, head) ? 0 : WARREN_PENDING;
}

static int on_body(void *arg, const uint8_t *data, size_t len)
{
	struct h1 *h1 = arg;
	int result;

	if (!h1->current || h1->current->x.dead)
		return 0;		/* given up, and read to its end */
	result = http_tell_body(&h1->current->x, data, len);
	pace(h1);
	if (result == WARREN_PENDING)
		h1->poke = true;
	return result == -ECANCELED ? WARREN_PENDING : result;
}

static int on_complete(void *arg)
{
	struct h1 *h1 = arg;
	struct h1_exchange *e = h1->current;

	h1->in_body = false;
	if (h1->interim) {
		h1->interim = false;
		return 0;
	}
	if (!e || e->x.dead)
		return WARREN_PENDING;
	if (!h1->http.server)
		h1->last = h1->last || !http1_keeps_alive(h1->parser);
	/* An answer before the request was whole: the rest of that cannot be told apart. */
	if (!h1->http.server && !e->x.done_out) {
		h1->last = h1->last || e->left != 0;
		e->x.done_out = true;
	}
	http_tell_complete(&e->x);
	return WARREN_PENDING;
}

static const struct http1_events parser_events = {
	.head = on_head, .body = on_body, .complete = on_complete,
};

static const char *refusal(const struct h1 *h1, int result)
{
	switch (result) {
	case -EMSGSIZE:
		return h1->in_body ? "413 Content Too Large" :
				     "431 Request Header Fields Too Large";
	case -ETIMEDOUT: return "408 Request Timeout";
	case -ENOMEM: return "503 Service Unavailable";
	default: return "400 Bad Request";
	}
}

/* A server says what was wrong with the request before it ends the connection. */
static void refuse(struct h1 *h1, int result, const char *why)
{
	struct str text = STR_INIT;

	if (!h1->http.server || (h1->current && h1->current->x.head_out))
		return;
	str_addf(&text, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
		 "Connection: close\r\n\r\n%s\n", refusal(h1, result), strlen(why) + 1, why);
	warren_stream_write(h1->http.stream, str_text(&text), text.len);
	str_free(&text);
}

static void broken(struct h1 *h1, int result, const char *why)
{
	refuse(h1, result, why);
	h1->current = NULL;
	http_end(&h1->http, result, why);
}

/* What our own callbacks refused. */
static const char *reason(ssize_t result)
{
	switch (result) {
	case -EMSGSIZE: return "the body of an HTTP message is longer than is accepted here";
	case -EBADMSG: return "the other side switched to another protocol, unasked";
	default: return "no memory for an HTTP exchange";
	}
}

/* Feeds what is there; false: stop, something has ended. */
static bool feed(struct h1 *h1, const uint8_t *data, size_t len)
{
	struct warren_err err = ERR_INIT;
	char piece[LINE_PIECE];
	ssize_t n;

	h1->poke = false;
	if (!h1->in_body) {
		const uint8_t *lf = memchr(data, '\n', len);

		len = lf ? (size_t)(lf - data) + 1 : len;
		len = len < sizeof(piece) ? len : sizeof(piece);
		memcpy(piece, data, len);
		warren_stream_drain(h1->http.stream, len);
		n = http1_feed(h1->parser, piece, len, &err);
	} else {
		n = http1_feed(h1->parser, data, len, &err);
		if (n > 0 && h1->http.stream)
			warren_stream_drain(h1->http.stream, (size_t)n);
	}
	if (n < 0 && !h1->http.closed && h1->http.stream)
		broken(h1, (int)n, err_any(&err) ? err_first(&err) : reason(n));
	err_free(&err);
	return n >= 0 && !h1->http.closed && h1->http.stream;
}

/* May the parser go on? Not while somebody pauses, nor into the next request before its turn. */
static bool may_parse(const struct h1 *h1)
{
	const struct h1_exchange *e = h1->current;

	if (h1->http.closed || h1->http.over || h1->end_due || !h1->http.stream)
		return false;
	if (!e)
		return h1->http.server && !h1->last;
	if (e->x.dead)
		return false;
	return !e->x.paused && !e->x.done_in;
}

static void at_eof(struct h1 *h1)
{
	struct warren_err err = ERR_INIT;
	int result;

	if (h1->end_result) {
		broken(h1, h1->end_result, h1->end_why);
		return;
	}
	result = http1_eof(h1->parser, &err);
	if (h1->http.closed)
		;
	else if (result)
		broken(h1, result, err_first(&err));
	else if (h1->current && !h1->current->x.dead && !h1->current->x.done_in)
		broken(h1, -ECONNRESET, "the other side closed the connection before its answer");
	else if (!h1->current || h1->current->x.dead || !h1->http.server)
		http_end(&h1->http, 0, NULL);
	else
		h1->last = true;	/* the client has only ended its direction */
	err_free(&err);
}

static void process(struct h1 *h1)
{
	const uint8_t *data;
	size_t len = 0;

	settle(h1);
	while (may_parse(h1)) {
		data = warren_stream_input(h1->http.stream, &len);
		if (len == 0 && !h1->poke)
			break;
		if (!feed(h1, data, len))
			return;
		settle(h1);
	}
	if (h1->http.closed || h1->http.over || !h1->http.stream)
		return;
	if (!h1->current && !h1->http.server && !h1->end_due) {
		warren_stream_input(h1->http.stream, &len);
		if (len > 0)
			broken(h1, -EBADMSG, "the other side sent an answer that nobody asked for");
	} else if (h1->eof && len == 0 && may_parse(h1)) {
		at_eof(h1);
	}
	if (!h1->http.closed && !h1->http.over)
		pace(h1);
}

static void readable(struct warren_stream *stream, void *arg)
{
	struct h1 *h1 = arg;

	(void)stream;
	http_enter(&h1->http);
	process(h1);
	http_leave(&h1->http);
}

static void drained(struct warren_stream *stream, void *arg)
{
	struct h1 *h1 = arg;

	(void)stream;
	http_enter(&h1->http);
	if (h1->current && !h1->current->x.dead)
		http_tell_drained(&h1->current->x);
	http_leave(&h1->http);
}

static void ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct h1 *h1 = arg;

	(void)stream;
	http_enter(&h1->http);
	h1->eof = true;
	if (result && !h1->end_due) {
		h1->end_result = result;
		str_copy(h1->end_why, sizeof(h1->end_why), why);
	}
	process(h1);
	if (h1->http.closed || h1->http.over || h1->end_due)
		;
	else if (!h1->current)
		at_eof(h1);
	else if (h1->end_result && h1->current->x.done_in)
		broken(h1, h1->end_result, h1->end_why);	/* nobody is left to be answered */
	http_leave(&h1->http);
}

static const struct warren_stream_events stream_events = {
	.size = sizeof(stream_events), .readable = readable, .drained = drained, .ended = ended,
};

static void kicked(struct warren_ctx *ctx, void *arg)
{
	struct h1 *h1 = arg;

	(void)ctx;
	http_enter(&h1->http);
	if (h1->end_due)
		http_end(&h1->http, h1->end_result, h1->end_result ? h1->end_why : NULL);
	else
		process(h1);
	http_leave(&h1->http);
}

static void timed_out(struct warren_ctx *ctx, void *arg)
{
	struct h1 *h1 = arg;

	(void)ctx;
	http_enter(&h1->http);
	if (!h1->current && http1_idle(h1->parser))
		http_end(&h1->http, 0, NULL);
	else
		broken(h1, -ETIMEDOUT, "the other side takes too long with its request");
	http_leave(&h1->http);
}

/* ---- what goes out ---- */

static void add_fields(struct str *text, const struct warren_http_field *fields, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		str_addf(text, "%s: %s\r\n", fields[i].name, fields[i].value);
}

/*
 * A message of which a part cannot be sent takes the connection with it; so does a client that has
 * closed, which shows only here: its end of input was no more than the end of its requests.
 */
static int put(struct h1 *h1, const void *data, size_t len)
{
	int result = h1->http.stream ? warren_stream_write(h1->http.stream, data, len) : -EPIPE;

	if (result && result != -ENOBUFS)
		end_later(h1, result, "the connection was closed before the message was sent");
	return result;
}

static int send_text(struct h1 *h1, struct str *text)
{
	int result = text->failed ? -ENOMEM : put(h1, str_text(text), text->len);

	str_free(text);
	return result;
}

/* As a whole or not at all: a chunk that is cut off cannot be mended. */
static int send_chunk(struct h1 *h1, const void *data, size_t len)
{
	struct str text = { 0 };

	str_addf(&text, "%zx\r\n", len);
	str_addn(&text, data, len);
	str_add(&text, "\r\n");
	return send_text(h1, &text);
}

static bool has_field(const struct warren_http_head *head, const char *name)
{
	for (uint32_t i = 0; i < head->n_fields; i++) {
		if (strcasecmp(head->fields[i].name, name) == 0)
			return true;
	}
	return false;
}

static bool says_length_zero(const char *method)
{
	return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
	       strcmp(method, "PATCH") == 0;
}

static struct warren_exchange *h1_request(struct warren_http *http,
					  const struct warren_http_head *head)
{
	struct h1 *h1 = h1_of(http);
	struct h1_exchange *e;
	struct str text = { 0 };

	settle(h1);
	if (h1->current || h1->last || h1->eof || h1->end_due)
		return NULL;
	e = exchange_new(h1);
	if (!e)
		return NULL;
	str_addf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\n", head->method, head->path,
		 head->authority);
	add_fields(&text, head->fields, head->n_fields);
	if (head->length > 0 || (head->length == 0 && says_length_zero(head->method)))
		str_addf(&text, "Content-Length: %lld\r\n", (long long)head->length);
	else if (head->length < 0)
		str_add(&text, "Transfer-Encoding: chunked\r\n");
	str_add(&text, "\r\n");
	e->left = head->length;
	e->wants_upgrade = has_field(head, "upgrade");
	if (send_text(h1, &text)) {
		http_exchange_bury(&e->x);
		return NULL;
	}
	h1->current = e;
	http1_expect(h1->parser, head->method);
	pace(h1);
	return &e->x;
}

/* Our message is complete. */
static void sent(struct h1 *h1, struct h1_exchange *e)
{
	http_sent_all(&e->x);
	if (e->x.dead)
		next(h1);
}

static const char *reason_of(int status)
{
	switch (status) {
	case 200: return "OK";
	case 201: return "Created";
	case 204: return "No Content";
	case 206: return "Partial Content";
	case 301: return "Moved Permanently";
	case 302: return "Found";
	case 304: return "Not Modified";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 409: return "Conflict";
	case 413: return "Content Too Large";
	case 500: return "Internal Server Error";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 507: return "Insufficient Storage";
	default: return "";
	}
}

static int h1_head(struct warren_exchange *x, const struct warren_http_head *head)
{
	struct h1 *h1 = h1_of(x->http);
	struct h1_exchange *e = CONTAINER_OF(x, struct h1_exchange, x);
	bool never = head->status == 204 || head->status == 304;
	struct str text = { 0 };
	int result;

	e->no_body = e->no_body || never;
	e->left = e->no_body ? 0 : head->length;
	h1->last = h1->last || h1->in_body;	/* who is answered may not send the rest */
	str_addf(&text, "HTTP/1.1 %d %s\r\n", head->status, reason_of(head->status));
	add_fields(&text, head->fields, head->n_fields);
	if (head->length >= 0 && !never) {
		str_addf(&text, "Content-Length: %lld\r\n", (long long)head->length);
	} else if (!never && h1->old) {
		h1->last = true;
		e->left = e->no_body ? 0 : -2;
	} else if (!never) {
		str_add(&text, "Transfer-Encoding: chunked\r\n");
	}
	if (h1->last)
		str_add(&text, "Connection: close\r\n");
	str_add(&text, "\r\n");
	result = send_text(h1, &text);
	if (result == 0 && head->length == 0)
		sent(h1, e);
	return result;
}

static int h1_write(struct warren_exchange *x, const void *data, size_t len)
{
	struct h1 *h1 = h1_of(x->http);
	struct h1_exchange *e = CONTAINER_OF(x, struct h1_exchange, x);
	int result;

	if (e->no_body)
		return 0;
	if (e->left == -1)
		return send_chunk(h1, data, len);
	if (e->left >= 0 && len > (uint64_t)e->left)
		return -EMSGSIZE;
	result = put(h1, data, len);
	if (result == 0 && e->left > 0)
		e->left -= (int64_t)len;
	return result;
}

static int h1_end(struct warren_exchange *x)
{
	struct h1 *h1 = h1_of(x->http);
	struct h1_exchange *e = CONTAINER_OF(x, struct h1_exchange, x);
	int result = 0;

	if (e->left > 0)
		return -EINVAL;
	if (e->left == -1)
		result = put(h1, "0\r\n\r\n", 5);
	if (result == 0)
		sent(h1, e);
	return result;
}

static size_t h1_pending(const struct warren_exchange *x)
{
	return warren_stream_pending(x->http->stream);
}

static void h1_resume(struct warren_exchange *x)
{
	struct h1 *h1 = h1_of(x->http);

	pace(h1);
	warren_timer_set(h1->kick, 0);
}

/* HTTP/1.1 knows no other way to give up than to close. */
static void h1_cancel(struct warren_exchange *x)
{
	struct h1 *h1 = h1_of(x->http);

	h1->current = NULL;
	h1->last = true;
	end_later(h1, 0, NULL);
}

static int send_switch(struct h1 *h1, const struct warren_http_field *fields, uint32_t n)
{
	struct str text = { 0 };

	if (!fields)
		return 0;
	str_add(&text, "HTTP/1.1 101 Switching Protocols\r\n");
	add_fields(&text, fields, n);
	str_add(&text, "\r\n");
	return send_text(h1, &text);
}

static struct warren_stream *h1_upgrade(struct warren_exchange *x,
					const struct warren_http_field *fields, uint32_t n)
{
	struct h1 *h1 = h1_of(x->http);
	struct warren_stream *stream = h1->http.stream;

	if (!stream || h1->in_body || x->head_out == h1->http.server)
		return NULL;
	if (h1->http.server ? send_switch(h1, fields, n) != 0 : !http1_upgraded(h1->parser))
		return NULL;
	warren_timer_stop(h1->timer);
	warren_timer_stop(h1->kick);
	warren_stream_set(stream, NULL, NULL);
	warren_stream_timeouts(stream, 0, 0);
	h1->http.stream = NULL;
	h1->http.over = !h1->http.server;
	h1->current = NULL;
	if (h1->http.server)		/* who upgrades need not be who owns the connection */
		end_later(h1, 0, NULL);
	return stream;
}

static void h1_free(struct warren_http *http)
{
	struct h1 *h1 = h1_of(http);

	if (http->stream && http->server)
		warren_stream_close_later(http->stream, LINGER);
	else
		warren_stream_close(http->stream);
	warren_release(h1->timer);
	warren_release(h1->kick);
	http1_free(h1->parser);
	free(h1);
}

static const struct http_ops ops = {
	.request = h1_request, .head = h1_head, .write = h1_write, .end = h1_end,
	.pending = h1_pending, .resume = h1_resume, .cancel = h1_cancel, .upgrade = h1_upgrade,
	.free = h1_free,
};

struct warren_http *http1_conn_take(struct warren_stream *stream,
				    const struct warren_http_options *options,
				    const struct warren_http_events *events, void *arg,
				    bool server)
{
	struct h1 *h1 = calloc(1, sizeof(*h1));

	if (!h1 || !http_init(&h1->http, &ops, stream, options, events, arg, server)) {
		free(h1);
		warren_stream_close(stream);
		return NULL;
	}
	h1->parser = http1_new(server ? HTTP1_REQUESTS : HTTP1_RESPONSES, &parser_events, h1);
	h1->timer = warren_timer_new(h1->http.ctx, timed_out, h1);
	h1->kick = warren_timer_new(h1->http.ctx, kicked, h1);
	if (!h1->parser || !h1->timer || !h1->kick) {
		warren_http_close(&h1->http);
		return NULL;
	}
	if (server)
		warren_stream_timeouts(stream, 0, WRITE_STALL);
	warren_stream_set(stream, &stream_events, h1);
	pace(h1);
	return &h1->http;
}
