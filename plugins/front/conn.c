/*
 * A connection's way: what is asked for is read from the ClientHello, then TLS, then HTTP, whose
 * requests go to whoever has their path. The plain port begins with the last step.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/str.h"
#include "acme.h"
#include "front.h"
#include "hello.h"
#include "reach.h"

enum {
	HELLO_USEC = 10000000, HEAD_USEC = 15000000, IDLE_USEC = 120000000, CLOSE_USEC = 5000000,
	BODY_MAX = 1 << 20,
};

struct conn {
	struct list link;
	struct front *front;
	struct warren_stream *stream;	/* until HTTP has it */
	struct warren_http *http;
	const struct warren_stream *below;	/* what HTTP has; to compare only */
	bool secure;
};

static void conn_free(struct conn *conn)
{
	list_del(&conn->link);
	warren_http_close(conn->http);
	warren_stream_close(conn->stream);
	free(conn);
}

void front_close_all(struct front *front)
{
	struct conn *conn, *next;

	list_for_each_safe(conn, next, &front->conns, link)
		conn_free(conn);
}

bool front_secure(void *self, const struct warren_exchange *x)
{
	struct front *front = self;
	const struct warren_stream *stream = warren_exchange_stream(x);
	const struct conn *conn;

	list_for_each(conn, &front->conns, link) {
		if (conn->below == stream)
			return conn->secure;
	}
	return false;
}

/* ---- HTTP ---- */

static void not_here(struct warren_exchange *x)
{
	static const char text[] = "Nothing is served here.\n";

	warren_exchange_reply(x, 404, "text/plain; charset=utf-8", text, sizeof(text) - 1);
}

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct conn *conn = arg;
	struct front *front = conn->front;
	const struct warren_front_route *route;

	warren_stat_add(front->stats.requests, 1);
	if ((!conn->secure && front_acme_http(front->acme, x, head->path)) ||
	    front_reach_http(front->reach, x, head->path))
		return;
	route = front_route_find(front, head->authority, head->path);
	if (!route) {
		warren_stat_add(front->stats.refused_path, 1);
		not_here(x);
	} else if (!conn->secure && front->https && !(route->flags & WARREN_FRONT_PLAIN)) {
		warren_exchange_to_https(x, head, warren_listener_port(front->https));
	} else {
		warren_exchange_set(x, route->events, route->arg);
		route->events->head(x, head, route->arg);
	}
}

/* Until the head says whose it is, and after we have answered ourselves. */
static const struct warren_exchange_events exchange_events = {
	.size = sizeof(exchange_events), .head = on_head,
};

static void on_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)http;
	(void)result;
	(void)why;
	conn_free(arg);
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .exchange = &exchange_events, .ended = on_ended,
};

static void serve(struct conn *conn, uint32_t version)
{
	const struct warren_http_options options = {
		.size = sizeof(options), .version = version, .head_timeout = HEAD_USEC,
		.idle_timeout = IDLE_USEC, .body_max = BODY_MAX,
	};
	struct warren_stream *stream = conn->stream;

	conn->stream = NULL;
	conn->below = stream;
	warren_stream_timeouts(stream, 0, 0);
	conn->http = warren_http_server_take(stream, &options, &http_events, conn);
	if (!conn->http)
		conn_free(conn);
}

/* ---- TLS ---- */

static void refuse_tls(struct conn *conn, const char *why)
{
	struct front *front = conn->front;
	struct warren_addrport peer = { 0 };

	warren_stat_add(front->stats.refused_tls, 1);
	warren_log_limit(front->ctx, &front->tls_limit, LOG_INFO,
			 "a TLS connection%s was not accepted: %s",
			 conn->stream && warren_stream_peer(conn->stream, &peer) ? "" :
			 " that is gone", why);
	conn_free(conn);
}

static void on_tls(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct conn *conn = arg;
	struct warren_tls_info info = { .size = sizeof(info) };

	if (result) {
		refuse_tls(conn, why);
		return;
	}
	if (!warren_tls_info(stream, &info) || !info.alpn)
		info.alpn = "http/1.1";
	if (strcmp(info.alpn, "acme-tls/1") == 0) {	/* it wanted to see the certificate */
		conn->stream = NULL;
		conn_free(conn);
		warren_stream_close_later(stream, CLOSE_USEC);
		return;
	}
	serve(conn, strcmp(info.alpn, "h2") == 0 ? WARREN_HTTP_2 : WARREN_HTTP_1);
}

static struct warren_tls_server *server_for(struct front *front, const struct hello *hello)
{
	const struct front_cert *cert;

	if (hello_offers(hello, "acme-tls/1"))
		return front_acme_tls(front->acme, hello->server_name);
	cert = front_cert_find(front, hello->server_name);
	return cert ? cert->tls : NULL;
}

static void begin_tls(struct conn *conn, const struct hello *hello)
{
	struct front *front = conn->front;
	struct warren_tls_server *tls = server_for(front, hello);
	struct warren_stream *below = conn->stream;

	if (!tls) {
		refuse_tls(conn, "there is no certificate yet");
		return;
	}
	front->own_is_new = false;
	conn->stream = NULL;
	warren_stream_timeouts(below, 0, 0);
	conn->stream = warren_tls_accept_take(below, tls, on_tls, conn, NULL);
	if (!conn->stream)
		conn_free(conn);
}

static void give_away(struct conn *conn, const struct warren_front_raw *raw)
{
	struct warren_stream *stream = conn->stream;

	conn->stream = NULL;
	conn_free(conn);
	warren_stream_set(stream, NULL, NULL);
	warren_stream_timeouts(stream, 0, 0);
	raw->accept(stream, raw->arg);
}

static void hello_readable(struct warren_stream *stream, void *arg)
{
	struct conn *conn = arg;
	const struct warren_front_raw *raw;
	struct hello hello;
	size_t len;
	const uint8_t *data = warren_stream_input(stream, &len);
	int result = hello_parse(data, len, &hello);

	if (result == WARREN_PENDING)
		return;
	if (result) {
		refuse_tls(conn, result == -EMSGSIZE ? "its first message is too long" :
			   "it does not begin as TLS does");
		return;
	}
	raw = front_raw_find(conn->front, &hello);
	if (raw)
		give_away(conn, raw);
	else
		begin_tls(conn, &hello);
}

static void hello_ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)stream;
	(void)result;
	(void)why;
	conn_free(arg);
}

static const struct warren_stream_events hello_events = {
	.size = sizeof(hello_events), .readable = hello_readable, .ended = hello_ended,
};

static struct conn *conn_new(struct front *front, struct warren_stream *stream)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	warren_stat_add(front->stats.connections, 1);
	if (!conn) {
		warren_stream_close(stream);
		return NULL;
	}
	conn->front = front;
	conn->stream = stream;
	list_add_tail(&front->conns, &conn->link);
	return conn;
}

void front_accept_tls(struct warren_ctx *ctx, struct warren_stream *stream, void *arg)
{
	struct conn *conn = conn_new(arg, stream);

	(void)ctx;
	if (!conn)
		return;
	conn->secure = true;
	warren_stream_timeouts(stream, HELLO_USEC, HELLO_USEC);
	warren_stream_set(stream, &hello_events, conn);
}

void front_accept_plain(struct warren_ctx *ctx, struct warren_stream *stream, void *arg)
{
	struct conn *conn = conn_new(arg, stream);

	(void)ctx;
	if (conn)
		serve(conn, WARREN_HTTP_1);
}
