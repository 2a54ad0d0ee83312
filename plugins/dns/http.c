/*
 * Questions to the peer API of the exit node in use: DNS over HTTP (RFC 8484) through the tunnel.
 *
 * By HTTP/1.1, which every peer speaks: a question has a connection for itself, which is kept for
 * the next one. When all are at work, the others wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <sodium.h>

#include <warren/net.h>

#include "base/addr.h"
#include "base/err.h"
#include "dns.h"
#include "doh.h"

enum { CONNS_MAX = 24 };		/* of the 64 that our own peer API takes */
static const uint64_t dial_usec = 4000000, idle_usec = 10000000;

struct dns_http {			/* a connection, or one that is to be */
	struct list node;
	struct dns_way *way;
	struct warren_peerapi_call *call;	/* NULL: it is there */
	struct warren_http *http;
	struct warren_exchange *x;	/* NULL: none is under way */
	struct dns_try *try;		/* who waits for it; NULL: it is free, or connecting */
	struct warren_timer *settled;	/* the exchange is over, the next one may begin */
	uint32_t served;
	bool busy, answered;		/* answered: the peer has said something to @try */
	bool good;			/* which may be an answer */
	uint8_t *msg;
	size_t len;
};

static void conn_free(struct dns_http *conn)
{
	struct dns *dns = conn->way->dns;

	list_del(&conn->node);
	if (conn->call && dns->peerapi)
		dns->peerapi->cancel(dns->peerapi_self, conn->call);
	warren_http_close(conn->http);
	warren_release(conn->settled);
	free(conn->msg);
	free(conn);
}

static void go_on(struct dns_way *way);

/* Whoever waited for it has no answer by it. */
static void conn_fail(struct dns_http *conn)
{
	struct dns_try *try = conn->try;
	struct dns_way *way = conn->way;
	/* A connection that was kept may have ended while it was at rest. */
	bool stale = conn->served > 0 && !conn->answered;

	conn_free(conn);
	if (!try)
		return;
	try->http = NULL;
	if (stale) {
		list_add_head(&way->waiting, &try->node);
	} else {
		dns_way_failed(way);
		dns_try_fail(try);
	}
	go_on(way);
}

/*
 * ---- A question and its answer ----
 */

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	const char *type = warren_http_field(head, "content-type");
	struct dns_http *conn = arg;

	(void)x;
	conn->answered = true;
	conn->good = head->status == 200 && type &&
		     strncasecmp(type, DNS_DOH_TYPE, sizeof(DNS_DOH_TYPE) - 1) == 0;
}

static int on_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct dns_http *conn = arg;
	uint8_t *more = NULL;

	(void)x;
	if (conn->good && len <= DNS_MSG_MAX - conn->len)
		more = realloc(conn->msg, conn->len + len);
	conn->good = more;
	if (!more)
		return 0;
	memcpy(more + conn->len, data, len);
	conn->msg = more;
	conn->len += len;
	return 0;
}

static void on_complete(struct warren_exchange *x, void *arg)
{
	struct dns_http *conn = arg;
	struct dns_try *try = conn->try;
	struct dns_way *way = conn->way;
	uint8_t *msg = conn->msg;
	size_t len = conn->len;

	(void)x;
	conn->x = NULL;
	conn->try = NULL;
	conn->msg = NULL;
	conn->served++;
	warren_timer_set(conn->settled, 0);
	try->http = NULL;
	if (!conn->good || !dns_try_take(try, msg, len)) {
		dns_way_failed(way);
		dns_try_fail(try);
	}
	free(msg);
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct dns_http *conn = arg;

	(void)x;
	(void)result;
	(void)why;
	conn->x = NULL;
	conn_fail(conn);
}

static const struct warren_exchange_events exchange_events = {
	.size = sizeof(exchange_events), .head = on_head, .body = on_body,
	.complete = on_complete, .failed = on_failed,
};

/* @conn is there and free. */
static void ask(struct dns_http *conn, struct dns_try *try)
{
	static const struct warren_http_field fields[] = {
		{ "content-type", DNS_DOH_TYPE }, { "accept", DNS_DOH_TYPE },
	};
	struct dns_way *way = conn->way;
	uint8_t msg[DNS_QUERY_MAX];
	char host[ADDRPORT_TEXT];
	const struct warren_http_head head = {
		.size = sizeof(head), .method = "POST", .scheme = "http",
		.authority = addrport_format(&way->to.at, host), .path = "/dns-query",
		.fields = fields, .n_fields = 2,
		.length = (int64_t)dns_query_write(try->q, try->id, try->edns && !way->plain, msg),
	};

	conn->busy = true;
	conn->answered = conn->good = false;
	conn->len = 0;
	conn->try = try;
	try->http = conn;
	conn->x = warren_http_request(conn->http, &head, &exchange_events, conn);
	if (!conn->x || warren_exchange_write(conn->x, msg, (size_t)head.length) ||
	    warren_exchange_end(conn->x))
		warren_timer_set(conn->settled, 0);	/* fails from the loop */
}

/*
 * ---- Connections ----
 */

static void on_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)http;
	(void)result;
	(void)why;
	conn_fail(arg);
}

static void on_settled(struct warren_ctx *ctx, void *arg)
{
	struct dns_http *conn = arg;
	struct dns_way *way = conn->way;

	(void)ctx;
	if (conn->try) {
		conn_fail(conn);	/* the question could not be sent */
		return;
	}
	conn->busy = false;
	go_on(way);
}

static void fail_one(struct dns_way *way)
{
	struct dns_try *try;

	if (list_empty(&way->waiting))
		return;
	try = list_first(&way->waiting, struct dns_try, node);
	list_del(&try->node);
	dns_try_fail(try);
}

static void connected(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		      void *arg)
{
	static const struct warren_http_events events = {
		.size = sizeof(events), .ended = on_ended,
	};
	const struct warren_http_options options = {
		.size = sizeof(options), .version = WARREN_HTTP_1, .idle_timeout = idle_usec,
		.body_max = DNS_MSG_MAX,
	};
	struct dns_http *conn = arg;
	struct dns_way *way = conn->way;

	(void)ctx;
	(void)why;
	conn->call = NULL;
	if (stream)
		conn->http = warren_http_client_take(stream, &options, &events, conn);
	conn->busy = !conn->http;
	if (!conn->http) {
		conn_free(conn);
		dns_way_failed(way);
		fail_one(way);
	}
	go_on(way);
}

static bool open_conn(struct dns_way *way)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	struct dns *dns = way->dns;
	const struct warren_node *node = warren_netmap_peer(dns->map, way->to.peer);
	struct dns_http *conn = node && dns->peerapi ? calloc(1, sizeof(*conn)) : NULL;

	if (!conn)
		return false;
	conn->way = way;
	conn->busy = true;
	list_add_tail(&way->https, &conn->node);
	conn->settled = warren_timer_new(dns->ctx, on_settled, conn);
	if (conn->settled)
		conn->call = dns->peerapi->connect(dns->peerapi_self, dns->ctx, node, dial_usec,
						   connected, conn, &err);
	if (!conn->call)
		conn_free(conn);
	return !list_empty(&way->https);
}

/* Those that wait get what is free, and new connections as far as there may be some. */
static void next(struct dns_way *way)
{
	struct dns_http *conn, *following;
	uint32_t n = 0, opening = 0, waiting = 0;
	struct dns_try *try;

	list_for_each_safe(conn, following, &way->https, node) {
		if (!conn->busy && !list_empty(&way->waiting)) {
			try = list_first(&way->waiting, struct dns_try, node);
			list_del(&try->node);
			ask(conn, try);
		}
		n++;
		opening += !conn->http;
	}
	list_for_each(try, &way->waiting, node)
		waiting++;
	while (n < CONNS_MAX && opening < waiting && open_conn(way)) {
		n++;
		opening++;
	}
}

/* From the loop: nobody waits for what does not come. */
static void go_on(struct dns_way *way)
{
	next(way);
	while (list_empty(&way->https) && !list_empty(&way->waiting))
		fail_one(way);
}

/*
 * ---- Tries ----
 */

int dns_http_start(struct dns_try *try)
{
	struct dns_way *way = try->way;

	try->id = (uint16_t)randombytes_uniform(65536);
	try->sent = warren_now();
	way->n_sent++;
	list_add_tail(&way->waiting, &try->node);
	next(way);
	return list_empty(&way->https) ? -EHOSTUNREACH : 0;
}

void dns_http_end(struct dns_http *conn)
{
	if (!conn)
		return;
	conn->try = NULL;
	conn_free(conn);
}

void dns_http_close(struct dns_way *way)
{
	while (!list_empty(&way->https))
		conn_free(list_first(&way->https, struct dns_http, node));
}

void dns_http_lost(struct dns *dns)
{
	struct dns_http *conn;
	struct dns_way *way;

	list_for_each(way, &dns->ways, node) {
		list_for_each(conn, &way->https, node) {
			if (conn->call)
				dns->peerapi->cancel(dns->peerapi_self, conn->call);
			conn->call = NULL;
		}
	}
	dns->peerapi = NULL;
	list_for_each(way, &dns->ways, node) {
		while (!list_empty(&way->https))
			conn_fail(list_first(&way->https, struct dns_http, node));
	}
}
