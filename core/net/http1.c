/*
 * The parser's machine: which part of a message the next byte belongs to. Lines are collected in
 * `head` until they are whole; bodies are handed up from where they are. What a head says is the
 * business of http1_head.c.
 */
#include "http1.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#include "http1_impl.h"

enum { CHUNK_LINE_MAX = 256 };

struct http1 *http1_new(enum http1_kind kind, const struct http1_events *events, void *arg)
{
	struct http1 *http = calloc(1, sizeof(*http));

	if (!http)
		return NULL;
	http->kind = kind;
	http->events = events;
	http->arg = arg;
	return http;
}

void http1_free(struct http1 *http)
{
	if (!http)
		return;
	str_free(&http->head);
	free(http);
}

void http1_expect(struct http1 *http, const char *method)
{
	http->to_head = strcmp(method, "HEAD") == 0;
	http->to_connect = strcmp(method, "CONNECT") == 0;
}

bool http1_keeps_alive(const struct http1 *http)
{
	return http->keeps_alive;
}

bool http1_is_old(const struct http1 *http)
{
	return http->old;
}

bool http1_upgraded(const struct http1 *http)
{
	return http->upgraded;
}

bool http1_idle(const struct http1 *http)
{
	return http->state == HTTP1_HEAD && http->head.len == 0;
}

int http1_bad(struct warren_err *err, const char *what)
{
	warren_fail(err, NULL, "the other side sent malformed HTTP: %s", what);
	return -EBADMSG;
}

static int too_long(struct warren_err *err, const char *what)
{
	warren_fail(err, NULL, "the other side sent an HTTP message whose %s is too long", what);
	return -EMSGSIZE;
}

static int complete(struct http1 *http)
{
	http->state = HTTP1_HEAD;
	http->stop = true;
	str_cut(&http->head, 0);
	return http->events->complete(http->arg);
}

/* The head is whole in http->head: which body follows? */
static int head_done(struct http1 *http, struct warren_err *err)
{
	int result;

	http->upgraded = false;
	result = http1_head_parse(http, err);
	if (result)
		return result;
	http->left = http->parsed.length > 0 ? (uint64_t)http->parsed.length : 0;
	if (http->parsed.length == 0)
		http->state = HTTP1_DONE;
	else if (http->parsed.length > 0)
		http->state = HTTP1_LENGTH;
	else
		http->state = http->chunked ? HTTP1_CHUNK_SIZE : HTTP1_TO_END;
	http->line = 0;
	result = http->events->head(http->arg, &http->parsed);
	str_cut(&http->head, 0);
	return result;
}

/*
 * Takes one line with its CRLF into http->head, behind what is there. Returns 1 when it is whole,
 * 0 when more must come. *@used grows.
 */
static int take_line(struct http1 *http, const char *data, size_t len, size_t max, size_t *used,
		     struct warren_err *err)
{
	const char *lf = memchr(data, '\n', len);
	size_t n = lf ? (size_t)(lf - data) + 1 : len;

	if (n > max - http->head.len)
		return too_long(err, http->state == HTTP1_HEAD ? "head" :
				http->state == HTTP1_TRAILER ? "trailer" : "chunk size");
	str_addn(&http->head, data, n);
	if (http->head.failed) {
		warren_fail(err, NULL, "no memory for an HTTP message");
		return -ENOMEM;
	}
	*used += n;
	if (!lf)
		return 0;
	n = http->head.len;
	if (n < 2 || http->head.s[n - 2] != '\r')
		return http1_bad(err, "a line ends without a carriage return");
	return 1;
}

/* Lines up to the empty one; true in *@whole when it has come. */
static int take_lines(struct http1 *http, const char *data, size_t len, size_t *used, bool *whole,
		      struct warren_err *err)
{
	int result = take_line(http, data, len, WARREN_HTTP_HEAD_MAX, used, err);

	*whole = false;
	if (result <= 0)
		return result;
	if (http->head.len - http->line == 2) {
		*whole = true;
		return 0;
	}
	http->line = http->head.len;
	return 0;
}

static int step_head(struct http1 *http, const char *data, size_t len, size_t *used,
		     struct warren_err *err)
{
	bool whole;
	int result = take_lines(http, data, len, used, &whole, err);

	if (result || !whole)
		return result;
	if (http->line == 0)
		return http1_bad(err, "an empty line stands where a message should begin");
	return head_done(http, err);
}

static int step_trailer(struct http1 *http, const char *data, size_t len, size_t *used,
			struct warren_err *err)
{
	bool whole;
	int result = take_lines(http, data, len, used, &whole, err);

	if (result || !whole)
		return result;
	result = http1_trailer_check(http, err);
	return result ? result : complete(http);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* RFC 9112 7.1: extensions are ignored, but what they hold must be text. */
static int step_chunk_size(struct http1 *http, const char *data, size_t len, size_t *used,
			   struct warren_err *err)
{
	int result = take_line(http, data, len, CHUNK_LINE_MAX, used, err);
	const char *s = str_text(&http->head);
	size_t i = 0, end;
	uint64_t size = 0;

	if (result <= 0)
		return result;
	end = http->head.len - 2;
	for (; i < end && digit_of(s[i]) >= 0; i++) {
		if (size >> 58)		/* beyond any real size, and still no sum overflows */
			return http1_bad(err, "the size of a chunk is beyond all bounds");
		size = size << 4 | (uint64_t)digit_of(s[i]);
	}
	if (i == 0 || (i < end && s[i] != ';') || !http1_is_value(s + i, end - i))
		return http1_bad(err, "the size of a chunk is no hexadecimal number");
	str_cut(&http->head, 0);
	http->line = 0;
	http->left = size;
	http->state = size ? HTTP1_CHUNK : HTTP1_TRAILER;
	return 0;
}

static int step_body(struct http1 *http, const char *data, size_t len, size_t *used)
{
	size_t n = len;

	if (http->state != HTTP1_TO_END) {
		n = n < http->left ? n : (size_t)http->left;
		http->left -= n;
		if (http->left == 0)
			http->state = http->state == HTTP1_CHUNK ? HTTP1_CHUNK_END : HTTP1_DONE;
	}
	*used += n;
	return http->events->body(http->arg, (const uint8_t *)data, n);
}

/* The CRLF behind a chunk; `left` counts what has come of it. */
static int step_chunk_end(struct http1 *http, const char *data, size_t *used,
			  struct warren_err *err)
{
	if (*data != "\r\n"[http->left])
		return http1_bad(err, "a chunk is longer than it said");
	++*used;
	if (++http->left == 2)
		http->state = HTTP1_CHUNK_SIZE;
	return 0;
}

static int step(struct http1 *http, const char *data, size_t len, size_t *used,
		struct warren_err *err)
{
	switch (http->state) {
	case HTTP1_HEAD:
		return step_head(http, data, len, used, err);
	case HTTP1_LENGTH:
	case HTTP1_CHUNK:
	case HTTP1_TO_END:
		return step_body(http, data, len, used);
	case HTTP1_CHUNK_SIZE:
		return step_chunk_size(http, data, len, used, err);
	case HTTP1_CHUNK_END:
		return step_chunk_end(http, data, used, err);
	case HTTP1_TRAILER:
		return step_trailer(http, data, len, used, err);
	case HTTP1_DONE:
		return complete(http);
	case HTTP1_FAILED:
		break;
	}
	return http1_bad(err, "it has failed before");
}

ssize_t http1_feed(struct http1 *http, const void *data, size_t len, struct warren_err *err)
{
	const char *s = data ? data : "";
	size_t used = 0;
	int result = 0;

	http->stop = false;
	/* HTTP1_DONE needs no byte: the message ends with what has been taken. */
	while (result == 0 && !http->stop && (used < len || http->state == HTTP1_DONE)) {
		if (http->state == HTTP1_HEAD && http->head.len == 0 && http->upgraded)
			return (ssize_t)used;
		result = step(http, s + used, len - used, &used, err);
	}
	if (result < 0) {
		http->state = HTTP1_FAILED;
		return result;
	}
	return (ssize_t)used;
}

int http1_eof(struct http1 *http, struct warren_err *err)
{
	int result;

	if (http1_idle(http))
		return 0;
	if (http->state == HTTP1_TO_END || http->state == HTTP1_DONE) {
		http->keeps_alive = false;
		result = complete(http);
		return result < 0 ? result : 0;
	}
	http->state = HTTP1_FAILED;
	warren_fail(err, NULL, "the other side closed the connection in the middle of an HTTP "
		    "message");
	return -ECONNRESET;
}
