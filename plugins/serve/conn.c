/*
 * Connections: whose they are, and each request on its way to what is at its path.
 *
 * The peer is the one whose address a connection comes from, which the tunnel has proven. It is
 * looked for in the newest map at each request, and a connection ends when its peer is not there
 * any more. A program of this host is let in and vouched for as nobody.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/util.h"
#include "serve.h"

enum {
	HEAD_USEC = 15000000,		/* for a head, and between two pieces of a body */
	IDLE_USEC = 120000000,
	STREAMS_MAX = 64,		/* of HTTP/2, in one connection */
	DEAD_USEC = 300000000,		/* a peer that has acknowledged nothing for so long */
};

struct conn {
	struct list link;
	struct serve *s;
	struct warren_stream *stream;	/* until HTTP has it */
	struct warren_http *http;
	struct srv_from from;
};

static void conn_free(struct conn *conn)
{
	list_del(&conn->link);
	srv_count(conn->s, -1);
	warren_http_close(conn->http);
	warren_stream_close(conn->stream);
	warren_release(conn);
}

void srv_count(struct serve *s, int n)
{
	s->n_conns = (uint32_t)((int)s->n_conns + n);
}

const struct warren_node *srv_peer(const struct serve *s, const struct srv_from *from)
{
	const struct warren_node *node = warren_netmap_owner(s->map, &from->remote.addr);

	return node && node->id == from->node && !node->jailed ? node : NULL;
}

/* ---- what we say ourselves ---- */

void srv_answer(struct warren_exchange *x, int status, const char *type, const struct str *text)
{
	if (text->failed)
		warren_exchange_cancel(x);
	else
		warren_exchange_answer(x, status, type, str_text(text), text->len);
}

static void redirect(struct warren_exchange *x, const struct warren_http_head *head,
		     const char *text)
{
	struct str where = STR_INIT;
	char host[SRV_HOST];
	int status;
	struct warren_http_field field = { "Location", NULL };
	struct warren_http_head answer = { .size = sizeof(answer), .fields = &field,
					   .n_fields = 1 };

	if (!str_copy(host, sizeof(host), head->authority))
		host[0] = '\0';
	status = srv_redirect(text, host, head->path, &where);
	answer.status = status;
	field.value = str_text(&where);
	warren_exchange_let_go(x);
	if (where.failed || warren_exchange_head(x, &answer))
		warren_exchange_cancel(x);
	str_free(&where);
}

/* ---- may it come in ---- */

void srv_own_name(const struct serve *s, char out[SRV_HOST])
{
	const struct warren_node *self = s->map ? s->map->self : NULL;
	size_t len;

	if (!self || !self->name || !str_copy(out, SRV_HOST, self->name))
		warren_hostname(s->ctx, out, SRV_HOST);
	len = strlen(out);
	if (len > 0 && out[len - 1] == '.')
		out[len - 1] = '\0';
}

static bool is_name(const char *name, size_t len, const char *of)
{
	size_t whole = strlen(of);

	return len > 0 && (len == whole || (len < whole && of[len] == '.')) &&
	       strncasecmp(name, of, len) == 0;
}

static bool is_own_address(const struct serve *s, const char *host, const struct srv_from *from)
{
	const struct warren_node *self = s->map ? s->map->self : NULL;
	struct warren_addr addr;

	if (addr_parse(host, &addr))
		return false;
	/* What it was connected to: a peer may know us by another address. */
	return addr_equal(&addr, &from->local.addr) || (self && warren_netmap_has(self, &addr));
}

/*
 * Names that are not ours are not served: a page elsewhere whose name was made to lead here would
 * be the same site to a browser, and could read what this node tells whoever sits there.
 */
static bool is_our_name(const struct serve *s, const char *authority, const struct srv_from *from)
{
	char host[SRV_HOST], own[SRV_HOST], hostname[64];
	size_t len;
	bool bracket = authority[0] == '[';

	if (!str_copy(host, sizeof(host), authority + bracket))
		return false;
	len = strcspn(host, bracket ? "]" : ":");
	host[len] = '\0';
	if (len > 0 && host[len - 1] == '.')
		host[--len] = '\0';
	if (is_own_address(s, host, from))
		return true;
	srv_own_name(s, own);
	warren_hostname(s->ctx, hostname, sizeof(hostname));
	/* The first label, or more of it. */
	if (is_name(host, len, own) || strcasecmp(host, hostname) == 0)
		return true;
	for (uint32_t i = 0; i < warren_conf_count(s->conf, "names"); i++) {
		if (strcasecmp(host, warren_conf_str(warren_conf_at(s->conf, "names", i),
						     NULL)) == 0)
			return true;
	}
	return false;
}

static void refuse_name(const struct conn *conn, struct warren_exchange *x)
{
	struct serve *s = conn->s;
	struct str text = STR_INIT;
	char own[SRV_HOST];

	warren_stat_add(s->invalid, 1);
	srv_own_name(s, own);
	str_addf(&text, "404 page not found\nThis node is %s, and is served by that name alone.\n"
		 "Another one has to be listed in serve.names here.\n", own);
	srv_answer(x, 404, "text/plain; charset=utf-8", &text);
	str_free(&text);
}

/* ---- requests ---- */

static void dispatch(const struct conn *conn, struct warren_exchange *x,
		     const struct warren_http_head *head, const struct srv_mount *mount,
		     const char *clean)
{
	struct str text = STR_INIT;

	switch (mount->what) {
	case SRV_PROXY:
	case SRV_UNIX:
		srv_proxy(conn->s, x, head, &conn->from, mount, clean);
		break;
	case SRV_FILES:
		srv_files(conn->s, x, head, mount, clean);
		break;
	case SRV_TEXT:
		str_add(&text, mount->text);
		srv_answer(x, 200, "text/plain; charset=utf-8", &text);
		break;
	case SRV_REDIRECT:
		redirect(x, head, mount->text);
		break;
	}
	str_free(&text);
}

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	const struct conn *conn = arg;
	struct serve *s = conn->s;
	const struct srv_port *port;
	const struct srv_mount *mount = NULL;
	char clean[SRV_PATH];

	warren_stat_add(s->requests, 1);
	if (conn->from.node && !srv_peer(s, &conn->from)) {
		warren_stat_add(s->unknown, 1);
		warren_exchange_say(x, 403, "nobody in the network has this address");
		return;
	}
	if (!head->authority || !is_our_name(s, head->authority, &conn->from)) {
		refuse_name(conn, x);
		return;
	}
	if (!head->path || !srv_path_clean(head->path, clean)) {
		warren_stat_add(s->invalid, 1);
		warren_exchange_say(x, 400, "that is no path");
		return;
	}
	mount = srv_find(s, conn->from.port, conn->from.kind, clean, head->path, &port);
	if (mount)
		dispatch(conn, x, head, mount, clean);
	else
		warren_exchange_say(x, 404, "404 page not found");
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

static void speak(struct conn *conn, uint32_t version)
{
	const struct warren_http_options options = {
		.size = sizeof(options), .version = version, .head_timeout = HEAD_USEC,
		.idle_timeout = IDLE_USEC, .body_max = -1, .streams_max = STREAMS_MAX,
	};
	struct warren_stream *stream = conn->stream;

	conn->stream = NULL;
	conn->http = warren_http_server_take(stream, &options, &http_events, conn);
	if (!conn->http)
		conn_free(conn);
}

static void on_tls(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct warren_tls_info info = { .size = sizeof(info) };
	struct conn *conn = arg;

	(void)why;
	if (result)
		conn_free(conn);
	else if (warren_tls_info(stream, &info) && info.alpn && strcmp(info.alpn, "h2") == 0)
		speak(conn, WARREN_HTTP_2);
	else
		speak(conn, WARREN_HTTP_1);
}

static void begin_http(struct serve *s, struct warren_stream *stream, const struct srv_from *from)
{
	struct conn *conn = warren_zalloc(s->ctx, sizeof(*conn));

	if (!conn) {
		warren_stream_close(stream);
		return;
	}
	conn->s = s;
	conn->from = *from;
	list_add_tail(&s->conns, &conn->link);
	srv_count(s, 1);
	if (from->kind == SRV_HTTP) {
		conn->stream = stream;
		speak(conn, WARREN_HTTP_1);
		return;
	}
	if (s->tls)
		conn->stream = warren_tls_accept_take(stream, s->tls, on_tls, conn, NULL);
	else
		warren_stream_close(stream);
	if (!conn->stream)
		conn_free(conn);
}

static uint32_t conns_of(const struct serve *s, const struct warren_node *node);

static bool has_room(struct serve *s, const struct warren_node *node)
{
	bool full = s->n_conns >= s->connections_max;

	if (!full && (!node || conns_of(s, node) < s->per_peer_max))
		return true;
	warren_stat_add(s->full, 1);
	warren_log_limit(s->ctx, &s->log_full, LOG_WARNING,
			 "connections of %s are refused: serve.%s are open",
			 node && node->name ? node->name : "this host",
			 full ? "connections" : "per-peer");
	return false;
}

static void begin(struct serve *s, const struct srv_listener *l, int fd,
		  const struct srv_from *from)
{
	const struct srv_port *port;
	const struct srv_mount *mount = NULL;
	struct warren_stream *stream = warren_stream_new_take(s->ctx, fd);

	if (!stream)
		return;
	warren_stream_dead_after(stream, DEAD_USEC);
	if (l->kind != SRV_TCP) {
		begin_http(s, stream, from);
		return;
	}
	mount = srv_find(s, l->port, SRV_TCP, "", "", &port);
	if (mount)
		srv_forward(s, stream, from, mount, port->proxy_protocol);
	else
		warren_stream_close(stream);
}

void srv_accepted(void *arg, int fd, const struct warren_svc_conn *conn)
{
	const struct srv_listener *l = arg;
	struct serve *s = l->s;
	const struct warren_node *node = conn->from == WARREN_SVC_FROM_PEER ?
					 warren_netmap_owner(s->map, &conn->remote.addr) : NULL;
	const struct srv_from from = {
		.remote = conn->remote, .local = conn->local, .node = node ? node->id : 0,
		.port = l->port, .kind = l->kind,
	};

	warren_stat_add(s->accepted, 1);
	if (conn->from == WARREN_SVC_FROM_PEER && (!node || node->jailed)) {
		warren_stat_add(s->unknown, 1);
		close(fd);
	} else if (!has_room(s, node)) {
		close(fd);
	} else {
		begin(s, l, fd, &from);
	}
}

static uint32_t conns_of(const struct serve *s, const struct warren_node *node)
{
	const struct conn *conn;
	uint32_t n = srv_forwards_of(s, node->id) + srv_pairs_of(s, node->id);

	list_for_each(conn, &s->conns, link)
		n += conn->from.node == node->id;
	return n;
}

static void cut(struct conn *conn)
{
	struct warren_http *http = conn->http;

	conn->http = NULL;
	conn_free(conn);
	warren_http_abort(http, -ECONNABORTED, "the peer has no access any more");
}

void srv_recheck(struct serve *s, bool all)
{
	struct conn *conn, *next;
	bool again = true;

	/* What is told of an end may end others, and the list with them. */
	while (again) {
		again = false;
		list_for_each_safe(conn, next, &s->conns, link) {
			if (!all && (!conn->from.node || srv_peer(s, &conn->from)))
				continue;
			cut(conn);
			again = true;
			break;
		}
	}
	srv_pairs_end(s, all);
}
