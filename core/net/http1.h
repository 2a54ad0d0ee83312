/*
 * net/http1.h - incremental parser of HTTP/1.1 messages (RFC 9112), requests or responses
 *
 * Strict where two readers could see two messages in the same bytes: lines end in CRLF, a body has
 * one length, nothing is folded, repaired or guessed. Bounded: WARREN_HTTP_HEAD_MAX bytes and
 * WARREN_HTTP_FIELDS fields of a head and, again, of the trailer, which is checked and dropped.
 */
#ifndef WARREN_NET_HTTP1_H
#define WARREN_NET_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <warren/net.h>

enum http1_kind { HTTP1_REQUESTS = 1, HTTP1_RESPONSES };

/* Return 0 to go on; WARREN_PENDING: what was told is taken, stop after it; -errno: fail. */
struct http1_events {
	/* Lives for the call. length: 0 no body, -1 chunked or until the connection ends. */
	int (*head)(void *arg, const struct warren_http_head *head);
	int (*body)(void *arg, const uint8_t *data, size_t len);
	int (*complete)(void *arg);
};

struct http1;
/* @events is kept, not copied. NULL: no memory. */
struct http1 *http1_new(enum http1_kind kind, const struct http1_events *events, void *arg);
void http1_free(struct http1 *http);

/*
 * Responses: the method that the next one answers (HEAD has no body, a 2xx to CONNECT ends HTTP).
 * To be called before each; a 1xx but 101 does not count as one.
 */
void http1_expect(struct http1 *http, const char *method);
/*
 * Parses. Returns the number of bytes taken: all of them, or fewer after `complete` (what follows
 * belongs to the next message, or to another protocol) or when a callback paused; call again with
 * the rest. -EBADMSG, -EMSGSIZE, -ENOMEM with a sentence; -errno of a callback. An error is final.
 */
ssize_t http1_feed(struct http1 *http, const void *data, size_t len, struct warren_err *err);
/*
 * The connection ended. 0: between messages, or it was the end of the body (`complete` is called).
 * -ECONNRESET with a sentence: a message was cut off.
 */
int http1_eof(struct http1 *http, struct warren_err *err);

/* Of the message under way or just complete: the connection may carry another one after it. */
bool http1_keeps_alive(const struct http1 *http);
/* It is of HTTP/1.0, which knows no chunks. */
bool http1_is_old(const struct http1 *http);
/* After `complete`: 101, or 2xx to CONNECT; HTTP has ended. */
bool http1_upgraded(const struct http1 *http);
/* Not one byte of the next message has come. */
bool http1_idle(const struct http1 *http);

/* RFC 9110 5.6.2; 5.5 and no CR, LF or NUL: what a head may be made of. */
bool http1_is_token(const char *text, size_t len);
bool http1_is_value(const char *text, size_t len);
/* @text is a comma-separated list that has @token, whatever its case. */
bool http1_list_has(const char *text, const char *token);

#endif
