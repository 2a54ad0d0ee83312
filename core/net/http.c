/*
 * Connections and exchanges, whatever their version: the public functions check what they are given
 * and hand it to the version; what comes from the other side is told here. Nothing is freed while
 * a callback runs: see http.h.
 */
#include "http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "http1.h"
#include "stream.h"

enum {
	HEAD_TIMEOUT = 30 * 1000000, IDLE_TIMEOUT = 120 * 1000000,
	BODY_MAX = 16 << 20, STREAMS_MAX = 128,
};

/* ---- life ---- */

static void context_ends(void *arg)
{
	struct warren_http *http = arg;

	http->tie = NULL;
	warren_http_close(http);
}

bool http_init(struct warren_http *http, const struct http_ops *ops, struct warren_stream *stream,
	       const struct warren_http_options *options,
	       const struct warren_http_events *events, void *arg, bool server)
{
	http->ctx = stream_ctx(stream);
	http->tie = warren_on_end(http->ctx, context_ends, http);
	if (!http->tie)
		return false;
	http->ops = ops;
	http->stream = stream;
	http->options = *options;
	if (!http->options.head_timeout)
		http->options.head_timeout = HEAD_TIMEOUT;
	if (!http->options.idle_timeout)
		http->options.idle_timeout = IDLE_TIMEOUT;
	if (!http->options.body_max)
		http->options.body_max = BODY_MAX;
	if (!http->options.streams_max)
		http->options.streams_max = STREAMS_MAX;
	http->events = events;
	http->arg = arg;
	http->server = server;
	list_init(&http->exchanges);
	list_init(&http->graves);
	return true;
}

void http_enter(struct warren_http *http)
{
	http->depth++;
}

static void dig(struct warren_http *http)
{
	struct warren_exchange *x;

	while ((x = list_first(&http->graves, struct warren_exchange, link))) {
		list_del(&x->link);
		if (http->ops->bury)
			http->ops->bury(x);
		free(x);
	}
}

void http_leave(struct warren_http *http)
{
	if (--http->depth > 0)
		return;
	dig(http);
	if (!http->closed)
		return;
	warren_release(http->tie);
	http->ops->free(http);
}

void http_exchange_init(struct warren_exchange *x, struct warren_http *http)
{
	x->http = http;
	list_add_tail(&http->exchanges, &x->link);
}

void http_exchange_bury(struct warren_exchange *x)
{
	if (x->dead)
		return;
	x->dead = true;
	list_del(&x->link);
	list_add_tail(&x->http->graves, &x->link);
}

static bool lives(const struct warren_exchange *x)
{
	return !x->dead && !x->http->closed;
}

/* ---- news from the other side ---- */

bool http_tell_request(struct warren_exchange *x)
{
	const struct warren_http_events *events = x->http->events;

	if (events->request)
		events->request(x->http, x, x->http->arg);
	else
		warren_exchange_set(x, events->exchange, x->http->arg);
	return lives(x);
}

bool http_tell_head(struct warren_exchange *x, const struct warren_http_head *head)
{
	x->head_in = true;
	if (x->events && x->events->head)
		x->events->head(x, head, x->arg);
	return lives(x);
}

int http_tell_body(struct warren_exchange *x, const uint8_t *data, size_t len)
{
	int result = 0;

	x->received += (int64_t)len;
	if (x->http->options.body_max > 0 && x->received > x->http->options.body_max)
		return -EMSGSIZE;
	if (x->events && x->events->body)
		result = x->events->body(x, data, len, x->arg);
	if (!lives(x))
		return -ECANCELED;
	if (result == WARREN_PENDING)
		x->paused = true;
	return x->paused ? WARREN_PENDING : 0;
}

bool http_tell_complete(struct warren_exchange *x)
{
	x->done_in = true;
	if (x->events && x->events->complete)
		x->events->complete(x, x->arg);
	if (lives(x) && (x->done_out || !x->http->server)) {
		http_exchange_bury(x);
		if (!x->done_out)
			x->http->ops->cancel(x);
	}
	return lives(x);
}

void http_tell_drained(struct warren_exchange *x)
{
	if (x->events && x->events->drained)
		x->events->drained(x, x->arg);
}

void http_sent_all(struct warren_exchange *x)
{
	x->done_out = true;
	if (x->done_in)
		http_exchange_bury(x);
}

void http_exchange_fail(struct warren_exchange *x, int result, const char *why)
{
	const struct warren_exchange_events *events = x->events;

	if (x->dead)
		return;
	http_exchange_bury(x);
	if (events && events->failed)
		events->failed(x, result, why, x->arg);
}

void http_end(struct warren_http *http, int result, const char *why)
{
	struct warren_exchange *x;

	if (http->over)
		return;
	http->over = true;
	while (!http->closed && (x = list_first(&http->exchanges, struct warren_exchange, link)))
		http_exchange_fail(x, result ? result : -ECONNRESET,
				   why ? why : "the other side closed the connection before the "
					       "exchange was complete");
	if (!http->closed && http->events->ended)
		http->events->ended(http, result, why, http->arg);
}

/* ---- what goes out ---- */

static bool reserved(const char *name)
{
	static const char *const names[] = { "content-length", "transfer-encoding", "host", "te",
					     "trailer", "keep-alive", "proxy-connection" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcasecmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

bool http_fields_ok(const struct warren_http_field *fields, uint32_t n)
{
	if (n > WARREN_HTTP_FIELDS)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const char *name = fields[i].name, *value = fields[i].value;

		if (!http1_is_token(name, strlen(name)) || reserved(name) ||
		    !http1_is_value(value, strlen(value)))
			return false;
	}
	return true;
}

static bool text_ok(const char *text)
{
	return text && *text && http1_is_value(text, strlen(text)) && !strpbrk(text, " \t");
}

static bool request_ok(const struct warren_http_head *head)
{
	return head->method && http1_is_token(head->method, strlen(head->method)) &&
	       text_ok(head->path) && text_ok(head->authority) &&
	       http_fields_ok(head->fields, head->n_fields);
}

/* ---- public ---- */

static struct warren_http *take(struct warren_stream *stream,
				const struct warren_http_options *options,
				const struct warren_http_events *events, void *arg, bool server)
{
	return options->version == WARREN_HTTP_2 ?
		       http2_conn_take(stream, options, events, arg, server) :
		       http1_conn_take(stream, options, events, arg, server);
}

struct warren_http *warren_http_client_take(struct warren_stream *stream,
					    const struct warren_http_options *options,
					    const struct warren_http_events *events, void *arg)
{
	return take(stream, options, events, arg, false);
}

struct warren_http *warren_http_server_take(struct warren_stream *stream,
					    const struct warren_http_options *options,
					    const struct warren_http_events *events, void *arg)
{
	return take(stream, options, events, arg, true);
}

struct warren_exchange *warren_http_request(struct warren_http *http,
					    const struct warren_http_head *head,
					    const struct warren_exchange_events *events, void *arg)
{
	struct warren_exchange *x;

	if (http->server || http->closed || http->over || !http->stream || !request_ok(head))
		return NULL;
	http_enter(http);
	x = http->ops->request(http, head);
	if (x) {
		x->events = events;
		x->arg = arg;
		x->head_out = true;
		x->done_out = head->length == 0;
	}
	http_leave(http);
	return x;
}

int warren_http_ping(struct warren_http *http, uint64_t usec)
{
	int result;

	if (!http->ops->ping || http->over)
		return -EOPNOTSUPP;
	http_enter(http);
	result = http->ops->ping(http, usec);
	http_leave(http);
	return result;
}

void warren_http_close(struct warren_http *http)
{
	struct warren_exchange *x;

	if (!http || http->closed)
		return;
	http_enter(http);
	http->closed = true;
	while ((x = list_first(&http->exchanges, struct warren_exchange, link)))
		http_exchange_bury(x);
	http_leave(http);
}

void warren_http_abort(struct warren_http *http, int result, const char *why)
{
	struct warren_exchange *x;

	if (!http || http->closed)
		return;
	http_enter(http);
	http->over = true;
	while (!http->closed && (x = list_first(&http->exchanges, struct warren_exchange, link)))
		http_exchange_fail(x, result, why);
	warren_http_close(http);
	http_leave(http);
}

void warren_exchange_set(struct warren_exchange *x, const struct warren_exchange_events *events,
			 void *arg)
{
	x->events = events;
	x->arg = arg;
}

int warren_exchange_head(struct warren_exchange *x, const struct warren_http_head *head)
{
	struct warren_http *http = x->http;
	int result;

	if (!http->server || x->head_out || head->status < 200 || head->status > 599 ||
	    !http_fields_ok(head->fields, head->n_fields))
		return -EINVAL;
	http_enter(http);
	x->head_out = true;
	result = http->ops->head(x, head);
	http_leave(http);
	return result;
}

int warren_exchange_write(struct warren_exchange *x, const void *data, size_t len)
{
	struct warren_http *http = x->http;
	int result;

	if (!x->head_out || x->done_out)
		return -EINVAL;
	if (len == 0)
		return 0;
	http_enter(http);
	result = http->ops->write(x, data, len);
	http_leave(http);
	return result;
}

int warren_exchange_end(struct warren_exchange *x)
{
	struct warren_http *http = x->http;
	int result;

	if (!x->head_out || x->done_out)
		return -EINVAL;
	http_enter(http);
	result = http->ops->end(x);
	http_leave(http);
	return result;
}

int warren_exchange_reply(struct warren_exchange *x, int status, const char *type,
			  const void *body, size_t len)
{
	const struct warren_http_field field = { "content-type", type ? type : "text/plain" };
	const struct warren_http_head head = { .size = sizeof(head), .status = status,
					       .fields = &field, .n_fields = len > 0,
					       .length = (int64_t)len };
	struct warren_http *http = x->http;
	int result;

	http_enter(http);		/* so that @x lives until the end of this */
	result = warren_exchange_head(x, &head);
	if (result == 0 && !x->dead && !x->done_out && len)
		result = warren_exchange_write(x, body, len);
	if (result == 0 && !x->dead && !x->done_out)
		result = warren_exchange_end(x);
	http_leave(http);
	return result;
}

static int unwanted_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	(void)arg;
	warren_exchange_cancel(x);
	return 0;
}

void warren_exchange_let_go(struct warren_exchange *x)
{
	static const struct warren_exchange_events nobody = {
		.size = sizeof(nobody), .body = unwanted_body,
	};

	warren_exchange_set(x, &nobody, NULL);
}

void warren_exchange_answer(struct warren_exchange *x, int status, const char *type,
			    const void *body, size_t len)
{
	warren_exchange_let_go(x);
	if (warren_exchange_reply(x, status, type, body, len))
		warren_exchange_cancel(x);
}

void warren_exchange_say(struct warren_exchange *x, int status, const char *words)
{
	AUTO(str_free) struct str text = STR_INIT;

	str_addf(&text, "%s\n", words);
	if (text.failed)
		warren_exchange_cancel(x);
	else
		warren_exchange_answer(x, status, "text/plain; charset=utf-8", text.s, text.len);
}

int warren_exchange_to_https(struct warren_exchange *x, const struct warren_http_head *head,
			     uint16_t port)
{
	size_t len = strcspn(head->authority, ":");
	char where[2560];
	struct warren_http_field field = { "Location", where };
	struct warren_http_head answer = { .size = sizeof(answer), .status = 308,
					   .fields = &field, .n_fields = 1 };

	if (head->authority[0] == '[')
		len = strcspn(head->authority, "]") + 1;
	if (port == 443)
		snprintf(where, sizeof(where), "https://%.*s%s", (int)len, head->authority,
			 head->path);
	else
		snprintf(where, sizeof(where), "https://%.*s:%u%s", (int)len, head->authority, port,
			 head->path);
	return warren_exchange_head(x, &answer);
}

size_t warren_exchange_pending(const struct warren_exchange *x)
{
	return x->http->stream ? x->http->ops->pending(x) : 0;
}

void warren_exchange_resume(struct warren_exchange *x)
{
	struct warren_http *http = x->http;

	if (!x->paused || x->dead)
		return;
	http_enter(http);
	x->paused = false;
	http->ops->resume(x);
	http_leave(http);
}

void warren_exchange_cancel(struct warren_exchange *x)
{
	struct warren_http *http = x->http;

	if (x->dead)
		return;
	http_enter(http);
	http_exchange_bury(x);
	http->ops->cancel(x);
	http_leave(http);
}

struct warren_stream *warren_exchange_upgrade(struct warren_exchange *x,
					      const struct warren_http_field *fields, uint32_t n)
{
	struct warren_http *http = x->http;
	struct warren_stream *stream = NULL;

	if (x->dead || !http->ops->upgrade || !http_fields_ok(fields, n))
		return NULL;
	http_enter(http);
	stream = http->ops->upgrade(x, fields, n);
	if (stream)
		http_exchange_bury(x);
	http_leave(http);
	return stream;
}

const struct warren_stream *warren_exchange_stream(const struct warren_exchange *x)
{
	return x->http->stream;
}
