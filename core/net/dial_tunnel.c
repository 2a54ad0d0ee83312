/*
 * CONNECT (RFC 9110 9.3.6): asks a proxy for a tunnel. What the proxy says before its final answer
 * is skipped, what follows that answer is the tunnel's.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"

#include "dial_impl.h"
#include "http1.h"

struct dial_tunnel {
	struct warren_stream *stream;
	struct http1 *http;
	void *tie;			/* frees http with the context */
	dial_tunnel_fn *done;
	void *arg;
	int status;
	bool has_auth;
};

static void on_end(void *arg)
{
	struct dial_tunnel *tunnel = arg;

	http1_free(tunnel->http);
	tunnel->http = NULL;
}

/* All but the stream. */
static void release(struct dial_tunnel *tunnel)
{
	on_end(tunnel);
	warren_release(tunnel->tie);
	warren_release(tunnel);
}

void dial_tunnel_cancel(struct dial_tunnel *tunnel)
{
	if (!tunnel)
		return;
	warren_stream_close(tunnel->stream);
	release(tunnel);
}

static void finish(struct dial_tunnel *tunnel, const char *why)
{
	struct warren_stream *stream = tunnel->stream;
	dial_tunnel_fn *done = tunnel->done;
	void *arg = tunnel->arg;

	release(tunnel);
	warren_stream_set(stream, NULL, NULL);
	if (why) {
		warren_stream_close(stream);
		stream = NULL;
	}
	done(stream, why, arg);
}

/* A refusal's body is of no interest: the answer is known. */
static int head(void *arg, const struct warren_http_head *head)
{
	struct dial_tunnel *tunnel = arg;

	if (head->status < 200 && head->status != 101)
		return 0;		/* interim */
	tunnel->status = head->status;
	return head->status >= 200 && head->status < 300 ? 0 : -ECONNREFUSED;
}

static int body(void *arg, const uint8_t *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
	return 0;
}

static int complete(void *arg)
{
	(void)arg;
	return 0;
}

static const struct http1_events http_events = { head, body, complete };

static void readable(struct warren_stream *stream, void *arg)
{
	struct dial_tunnel *tunnel = arg;
	struct warren_err err = ERR_INIT;
	char why[320];
	size_t len;
	const uint8_t *data = warren_stream_input(stream, &len);
	size_t at = 0;
	ssize_t used;

	do {				/* the parser stops after each interim answer */
		used = http1_feed(tunnel->http, data + at, len - at, &err);
		at += used > 0 ? (size_t)used : 0;
	} while (used > 0 && at < len && !http1_upgraded(tunnel->http));
	if (used >= 0) {
		warren_stream_drain(stream, at);
		if (http1_upgraded(tunnel->http))
			finish(tunnel, NULL);
		return;
	}
	if (tunnel->status)
		snprintf(why, sizeof(why), "the proxy refused the tunnel with status %d%s",
			 tunnel->status, tunnel->status != 407 ? "" : tunnel->has_auth ?
			 ": it does not take this user and password" : ": it wants a user and a "
			 "password");
	else
		snprintf(why, sizeof(why), "the proxy's answer is no HTTP: %s", err_first(&err));
	err_free(&err);
	finish(tunnel, why);
}

static void ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)stream;
	(void)result;
	finish(arg, why ? why : "the proxy closed the connection without an answer");
}

static const struct warren_stream_events events = {
	.size = sizeof(events), .readable = readable, .ended = ended,
};

static int send_request(struct dial_tunnel *tunnel, const char *host, uint16_t port,
			const char *auth)
{
	const char *open = strchr(host, ':') ? "[" : "", *close = *open ? "]" : "";
	char text[2 * DIAL_NAME + BASE64_TEXT(DIAL_AUTH) + 128];
	bool with = auth[0];
	int n = snprintf(text, sizeof(text),
			 "CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n%s%s%s\r\n", open, host,
			 close, port, open, host, close, port,
			 with ? "Proxy-Authorization: Basic " : "", auth, with ? "\r\n" : "");

	if (n < 0 || (size_t)n >= sizeof(text))
		return -EMSGSIZE;
	/* If it fails, the stream's end says so. */
	(void)warren_stream_write(tunnel->stream, text, (size_t)n);
	sodium_memzero(text, sizeof(text));
	return 0;
}

struct dial_tunnel *dial_tunnel_new(struct warren_ctx *ctx, struct warren_stream *stream,
				    const char *host, uint16_t port, const char *auth,
				    dial_tunnel_fn *done, void *arg)
{
	struct dial_tunnel *tunnel = warren_zalloc(ctx, sizeof(*tunnel));

	if (!tunnel) {
		warren_stream_close(stream);
		return NULL;
	}
	tunnel->stream = stream;
	tunnel->done = done;
	tunnel->arg = arg;
	tunnel->has_auth = auth[0];
	tunnel->tie = warren_on_end(ctx, on_end, tunnel);
	tunnel->http = http1_new(HTTP1_RESPONSES, &http_events, tunnel);
	if (!tunnel->tie || !tunnel->http || send_request(tunnel, host, port, auth)) {
		dial_tunnel_cancel(tunnel);
		return NULL;
	}
	http1_expect(tunnel->http, "CONNECT");
	warren_stream_set(stream, &events, tunnel);
	return tunnel;
}
