/*
 * A connection of a peer: whose it is, what it speaks, and each of its requests on its way to the
 * plugin that serves the path.
 *
 * The peer is the one whose address the connection comes from, which the tunnel has proven. It is
 * looked for in the newest map at each request, and a connection ends when its peer is not there
 * any more, so that what the server takes away is gone at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "guard.h"
#include "peerapi.h"

enum {
	BEGIN_USEC = 15000000,		/* until it is known what is spoken */
	HEAD_USEC = 15000000,		/* for a head, and between two pieces of a body */
	IDLE_USEC = 120000000,
	STREAMS_MAX = 32,		/* of HTTP/2, in one connection */
};

struct conn {
	struct list link;
	struct peerapi *p;
	struct warren_stream *stream;	/* until HTTP has it */
	struct warren_http *http;
	struct warren_timer *timer;
	struct warren_addrport from, at;
	int64_t node;
};

static void conn_free(struct conn *conn)
{
	list_del(&conn->link);
	conn->p->n_conns--;
	warren_release(conn->timer);
	warren_http_close(conn->http);
	warren_stream_close(conn->stream);
	warren_release(conn);
}

/* NULL: not a peer, or not any more. */
static const struct warren_node *peer_of(const struct conn *conn)
{
	const struct warren_node *node = warren_netmap_peer(conn->p->map, conn->node);

	return node && !node->jailed && warren_netmap_has(node, &conn->from.addr) ? node : NULL;
}

/* ---- what we say ourselves ---- */

/* A browser may be shown this: it may run nothing, and be shown nowhere else. */
static void reply(struct warren_exchange *x, int status, const char *type, const struct str *text)
{
	const struct warren_http_field fields[] = {
		{ "Content-Type", type },
		{ "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'" },
		{ "X-Frame-Options", "DENY" },
		{ "X-Content-Type-Options", "nosniff" },
	};
	const struct warren_http_head head = {
		.size = sizeof(head), .status = status, .fields = fields,
		.n_fields = ARRAY_SIZE(fields), .length = (int64_t)text->len,
	};

	warren_exchange_let_go(x);
	if (text->failed || warren_exchange_head(x, &head) ||
	    warren_exchange_write(x, text->s, text->len) || warren_exchange_end(x))
		warren_exchange_cancel(x);
}

static void say(struct warren_exchange *x, int status, const char *words)
{
	struct str text = STR_INIT;

	str_addf(&text, "%s\n", words);
	reply(x, status, "text/plain; charset=utf-8", &text);
	str_free(&text);
}

static const char *user_name(const struct warren_netmap *map, int64_t id)
{
	for (uint32_t i = 0; i < map->n_users; i++) {
		if (map->users[i].id == id)
			return map->users[i].name ? map->users[i].name : map->users[i].login;
	}
	return NULL;
}

static void greet(struct warren_exchange *x, const struct conn *conn,
		  const struct warren_node *node)
{
	const struct warren_netmap *map = conn->p->map;
	const char *user = node->n_tags == 0 ? user_name(map, node->user) : NULL;
	struct str text = STR_INIT;
	char from[ADDR_TEXT];

	str_add(&text, "<!DOCTYPE html>\n<html>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
		"content=\"width=device-width, initial-scale=1\">\n<title>Hello</title>\n"
		"<h1>Hello, ");
	str_add_html(&text, user ? user : node->name ? node->name : "");
	str_addf(&text, " (%s)</h1>\n<p>This is ", addr_format(&conn->from.addr, from));
	str_add_html(&text, map->self->name ? map->self->name : "");
	str_add(&text, "\n<p>Your node is ");
	str_add_html(&text, node->name ? node->name : "");
	str_add(&text, "\n</html>\n");
	reply(x, 200, "text/html; charset=utf-8", &text);
	str_free(&text);
}

/* ---- requests ---- */

static bool is_get(const struct warren_http_head *head)
{
	return strcmp(head->method, "GET") == 0 || strcmp(head->method, "HEAD") == 0;
}

static void refuse(const struct conn *conn, struct warren_exchange *x,
		   const struct warren_node *node, const char *why)
{
	struct peerapi *p = conn->p;
	char from[ADDR_TEXT];

	warren_stat_add(p->invalid, 1);
	warren_log_limit(p->ctx, &p->log_refused, LOG_INFO,
			 "a request of %s (%s) is refused: %s", addr_format(&conn->from.addr, from),
			 node && node->name ? node->name : "not a peer any more", why);
	say(x, 403, "invalid peerapi request");
}

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	const struct conn *conn = arg;
	struct peerapi *p = conn->p;
	const struct warren_node *node = peer_of(conn);
	struct warren_peerapi_caller caller = {
		.size = sizeof(caller), .map = p->map, .node = node, .from = conn->from,
		.at = conn->at,
	};
	const struct warren_peerapi_route *route;
	const char *why = node && p->map->self ?
			  papi_refusal(head, p->map->self, node, &conn->at) :
			  "it is from nobody in the network";

	warren_stat_add(p->requests, 1);
	if (why) {
		refuse(conn, x, node, why);
		return;
	}
	route = papi_route_find(p, head->path);
	if (route)
		route->request(x, head, &caller, route->arg);
	else if (head->path[0] != '/' || (head->path[1] != '\0' && head->path[1] != '?'))
		say(x, 404, "unsupported peerapi path");
	else if (is_get(head))
		greet(x, conn, node);
	else
		say(x, 405, "method not allowed");
}

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

/* ---- the beginning ---- */

static void serve(struct conn *conn, uint32_t version)
{
	const struct warren_http_options options = {
		.size = sizeof(options), .version = version, .head_timeout = HEAD_USEC,
		.idle_timeout = IDLE_USEC, .body_max = -1, .streams_max = STREAMS_MAX,
	};
	struct warren_stream *stream = conn->stream;

	conn->stream = NULL;
	warren_timer_stop(conn->timer);
	conn->http = warren_http_server_take(stream, &options, &http_events, conn);
	if (!conn->http)
		conn_free(conn);
}

static void first_readable(struct warren_stream *stream, void *arg)
{
	size_t len;
	const uint8_t *data = warren_stream_input(stream, &len);
	uint32_t version = papi_version(data, len);

	if (version)
		serve(arg, version);
}

static void first_ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)stream;
	(void)result;
	(void)why;
	conn_free(arg);
}

static const struct warren_stream_events first_events = {
	.size = sizeof(first_events), .readable = first_readable, .ended = first_ended,
};

static void too_slow(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	conn_free(arg);
}

uint32_t papi_conns_of(const struct peerapi *p, int64_t node)
{
	const struct conn *conn;
	uint32_t n = 0;

	list_for_each(conn, &p->conns, link)
		n += conn->node == node;
	return n;
}

static bool has_room(struct peerapi *p, const struct warren_node *node)
{
	bool full = p->n_conns >= p->connections_max;

	if (!full && papi_conns_of(p, node->id) < p->per_peer_max)
		return true;
	warren_stat_add(p->full, 1);
	warren_log_limit(p->ctx, &p->log_full, LOG_WARNING,
			 "connections of %s are refused: peerapi.%s are open",
			 node->name ? node->name : "a peer", full ? "connections" : "per-peer");
	return false;
}

/* Takes @fd. */
static void begin(struct peerapi *p, int fd, const struct warren_svc_conn *from,
		  const struct warren_node *node)
{
	struct conn *conn = warren_zalloc(p->ctx, sizeof(*conn));

	if (!conn) {
		close(fd);
		return;
	}
	conn->p = p;
	conn->from = from->remote;
	conn->at = from->local;
	conn->node = node->id;
	list_add_tail(&p->conns, &conn->link);
	p->n_conns++;
	conn->stream = warren_stream_new_take(p->ctx, fd);
	conn->timer = warren_timer_new(p->ctx, too_slow, conn);
	if (!conn->stream || !conn->timer) {
		conn_free(conn);
		return;
	}
	warren_timer_set(conn->timer, BEGIN_USEC);
	warren_stream_set(conn->stream, &first_events, conn);
}

void papi_accepted(void *arg, int fd, const struct warren_svc_conn *conn)
{
	struct peerapi *p = arg;
	const struct warren_node *node = conn->from == WARREN_SVC_FROM_PEER ?
					 warren_netmap_owner(p->map, &conn->remote.addr) : NULL;

	warren_stat_add(p->accepted, 1);
	if (!node || node->jailed || !p->open) {
		warren_stat_add(p->unknown, 1);
		close(fd);
	} else if (!has_room(p, node)) {
		close(fd);
	} else {
		begin(p, fd, conn, node);
	}
}

static void cut(struct conn *conn)
{
	struct warren_http *http = conn->http;

	conn->http = NULL;
	conn_free(conn);
	warren_http_abort(http, -ECONNABORTED, "the peer has no access any more");
}

void papi_recheck(struct peerapi *p, bool all)
{
	struct conn *conn, *next;
	bool again = true;

	/* What is told of an end may end others, and the list with them. */
	while (again) {
		again = false;
		list_for_each_safe(conn, next, &p->conns, link) {
			if (!all && peer_of(conn))
				continue;
			cut(conn);
			again = true;
			break;
		}
	}
}
