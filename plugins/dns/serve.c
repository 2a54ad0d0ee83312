/*
 * Clients, by UDP and TCP: of the service addresses, and of those that lan.c adds.
 *
 * A query that can be answered at once is answered within the call that read it, without a record
 * of who asked. Else there is one, a `client`, until its answer has come.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <warren/net.h>

#include "base/addr.h"
#include "base/util.h"
#include "dns.h"

enum {
	CLIENTS_MAX = 1024,		/* whose answers are waited for */
	CONNS_MAX = 128,
	PIPELINE_MAX = 64,		/* of one connection */
	READ_ONCE = 16,			/* then others have their turn */
	BURST = 1 << 20,		/* bytes of queries that wait in the kernel */
};
static const uint64_t idle_usec = 45000000, late_usec = 5000000;

struct port {				/* a socket that takes datagrams */
	struct list node;
	struct dns_server *server;
	struct warren_io *io;
	int fd;				/* the io's */
	struct warren_svc_conn conn;
	bool lan;
	struct list clients;
};

struct conn {				/* a TCP connection */
	struct list node;
	struct dns_server *server;
	struct warren_stream *stream;
	struct list clients;
	uint32_t n_clients;
	bool ended;			/* nothing more comes */
};

struct client {
	struct list node;
	struct dns_wait wait;
	struct dns_server *server;
	struct port *port;		/* or ... */
	struct conn *conn;
	struct sockaddr_storage from;
	socklen_t from_len;
	struct dns_query q;
};

struct dns_server {
	struct dns *dns;
	struct warren_svc_listener *udp, *tcp;
	struct list ports, conns;
	uint32_t n_conns, n_clients;
};

static void client_free(struct client *client)
{
	list_del(&client->node);
	list_del(&client->wait.node);
	client->server->n_clients--;
	if (client->conn)
		client->conn->n_clients--;
	free(client);
}

static void clients_free(struct list *clients)
{
	while (!list_empty(clients))
		client_free(list_first(clients, struct client, node));
}

/*
 * ---- Answers ----
 */

static void on_readable(struct warren_stream *stream, void *arg);
static void on_ended(struct warren_stream *stream, int result, const char *why, void *arg);

static const struct warren_stream_events conn_events = {
	.size = sizeof(conn_events), .readable = on_readable, .ended = on_ended,
};

static void conn_free(struct conn *conn)
{
	clients_free(&conn->clients);
	list_del(&conn->node);
	conn->server->n_conns--;
	warren_stream_close(conn->stream);
	free(conn);
}

static void send_stream(struct conn *conn, const uint8_t *msg, size_t len)
{
	const uint8_t head[2] = { (uint8_t)(len >> 8), (uint8_t)len };

	/* Who does not read what he asks for gets no more: the stream ends with its timeout. */
	if (warren_stream_write(conn->stream, head, sizeof(head)) == 0)
		(void)warren_stream_write(conn->stream, msg, len);
}

static void answer(const struct client *to, const uint8_t *msg, size_t len, uint32_t age)
{
	struct dns *dns = to->server->dns;
	size_t room = to->conn ? DNS_MSG_MAX : to->q.room;

	len = dns_reply_finish(msg, len, &to->q, room, age, dns->out);
	if (to->conn)
		send_stream(to->conn, dns->out, len);
	else
		(void)sendto(to->port->fd, dns->out, len, MSG_NOSIGNAL,
			     (const struct sockaddr *)&to->from, to->from_len);
}

static void on_answer(void *arg, const uint8_t *msg, size_t len)
{
	struct client *client = arg;
	struct conn *conn = client->conn;
	bool full = conn && conn->n_clients == PIPELINE_MAX;

	answer(client, msg, len, 0);
	client_free(client);
	/* What waits in the stream, or its end, is told once more. */
	if (conn && (full || (conn->ended && conn->n_clients == 0)))
		warren_stream_set(conn->stream, &conn_events, conn);
}

static struct client *remember(const struct client *from)
{
	struct client *client = malloc(sizeof(*client));

	if (!client)
		return NULL;
	*client = *from;
	client->wait.done = on_answer;
	client->wait.arg = client;
	list_init(&client->wait.node);
	list_add_tail(client->conn ? &client->conn->clients : &client->port->clients,
		      &client->node);
	client->server->n_clients++;
	if (client->conn)
		client->conn->n_clients++;
	return client;
}

static void forward(const struct client *from, const struct dns_route *route)
{
	struct client *client = from->server->n_clients < CLIENTS_MAX ? remember(from) : NULL;

	if (client && dns_forward(client->server->dns, &client->q, route, &client->wait) == 0)
		return;
	warren_stat_add(from->server->dns->stats.dropped, 1);
	if (client)
		client_free(client);
}

/* @from says who asks; the query is added. */
static void take(struct client *from, const uint8_t *msg, size_t len)
{
	struct dns *dns = from->server->dns;
	int result = dns_query_parse(msg, len, &from->q);
	struct dns_route *route;
	const uint8_t *made;
	uint32_t age;

	if (result < 0) {
		warren_stat_add(dns->stats.dropped, 1);
	} else if (result > 0) {
		warren_stat_add(dns->stats.refused, 1);
		len = dns_reply_refuse(&from->q, result, dns->made, DNS_MADE);
		answer(from, dns->made, len, 0);
	} else if (dns_resolve(dns, &from->q, false, &made, &len, &age, &route) == 0) {
		answer(from, made, len, age);
	} else {
		forward(from, route);
	}
}

/*
 * ---- UDP ----
 */

static bool may_ask(const struct port *port, const struct warren_addr *addr)
{
	const struct dns *dns = port->server->dns;

	if (port->lan)
		return dns_lan_allows(dns, addr);
	return port->conn.from == WARREN_SVC_FROM_HOST || dns->svcnet->own(dns->svcnet_self, addr);
}

static void on_datagram(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct port *port = arg;
	struct dns *dns = port->server->dns;

	(void)ctx;
	(void)what;
	for (int i = 0; i < READ_ONCE; i++) {
		struct client from = { .server = port->server, .port = port };
		struct warren_addrport remote;
		ssize_t n;

		from.from_len = sizeof(from.from);
		n = recvfrom(fd, dns->in, DNS_MSG_MAX, 0, (struct sockaddr *)&from.from,
			     &from.from_len);
		if (n == -1)
			return;
		if (addrport_from_sockaddr((struct sockaddr *)&from.from, from.from_len, &remote) ||
		    !may_ask(port, &remote.addr)) {
			warren_stat_add(dns->stats.dropped, 1);
			continue;
		}
		take(&from, dns->in, (size_t)n);
	}
}

static void port_free(struct port *port)
{
	clients_free(&port->clients);
	list_del(&port->node);
	warren_release(port->io);
	free(port);
}

static struct port *port_new_take(struct dns_server *server, int fd,
				  const struct warren_svc_conn *conn)
{
	struct port *port = calloc(1, sizeof(*port));
	const int room = BURST;

	if (!port) {
		close(fd);
		return NULL;
	}
	port->server = server;
	port->fd = fd;
	port->conn = *conn;
	/* Less, where the system's limit is lower, is no harm. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	list_init(&port->clients);
	list_add_tail(&server->ports, &port->node);
	port->io = warren_io_new_take(server->dns->ctx, fd, on_datagram, port);
	if (!port->io) {
		port_free(port);
		return NULL;
	}
	warren_io_want(port->io, WARREN_IN);
	return port;
}

static void on_opened(void *arg, int fd, const struct warren_svc_conn *conn)
{
	struct dns_server *server = arg;

	if (port_new_take(server, fd, conn))
		dns_host_update(server->dns, false);
}

void dns_serve_port_take(struct dns *dns, int fd, const struct warren_svc_conn *conn)
{
	struct port *port = port_new_take(dns->server, fd, conn);

	if (port)
		port->lan = true;
}

static void close_port(struct dns_server *server, const struct warren_svc_conn *conn, bool lan)
{
	struct port *port, *next;

	list_for_each_safe(port, next, &server->ports, node) {
		if (port->lan == lan && port->conn.from == conn->from &&
		    addrport_equal(&port->conn.local, &conn->local))
			port_free(port);
	}
}

static void on_closing(void *arg, const struct warren_svc_conn *conn)
{
	close_port(arg, conn, false);
}

void dns_serve_close(struct dns *dns, const struct warren_svc_conn *conn)
{
	if (dns->server)
		close_port(dns->server, conn, true);
}

/*
 * ---- TCP ----
 */

static void on_readable(struct warren_stream *stream, void *arg)
{
	struct conn *conn = arg;
	size_t len, want;
	const uint8_t *data;

	while (conn->n_clients < PIPELINE_MAX) {
		struct client from = { .server = conn->server, .conn = conn };

		data = warren_stream_input(stream, &len);
		want = len >= 2 ? (size_t)data[0] << 8 | data[1] : 0;
		if (len < 2 || len - 2 < want)
			return;
		take(&from, data + 2, want);
		warren_stream_drain(stream, 2 + want);
	}
}

static void on_ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct conn *conn = arg;

	(void)why;
	on_readable(stream, conn);	/* those that wait for a place in the pipeline */
	conn->ended = true;
	if (result == 0 && conn->n_clients > 0)
		return;
	if (result == 0)
		warren_stream_close_later(TAKE_PTR(conn->stream), late_usec);
	conn_free(conn);
}

static void conn_begin(struct dns_server *server, int fd)
{
	struct conn *conn;

	if (server->n_conns >= CONNS_MAX) {
		warren_stat_add(server->dns->stats.dropped, 1);
		close(fd);
		return;
	}
	conn = calloc(1, sizeof(*conn));
	if (!conn) {
		close(fd);
		return;
	}
	conn->server = server;
	list_init(&conn->clients);
	conn->stream = warren_stream_new_take(server->dns->ctx, fd);
	if (!conn->stream) {
		free(conn);
		return;
	}
	list_add_tail(&server->conns, &conn->node);
	server->n_conns++;
	warren_stream_limits(conn->stream, 2 + DNS_MSG_MAX, 0, 4 * DNS_MSG_MAX);
	warren_stream_timeouts(conn->stream, idle_usec, idle_usec);
	warren_stream_set(conn->stream, &conn_events, conn);
}

static void on_accepted(void *arg, int fd, const struct warren_svc_conn *from)
{
	(void)from;
	conn_begin(arg, fd);
}

void dns_serve_conn_take(struct dns *dns, int fd)
{
	conn_begin(dns->server, fd);
}

/*
 * ---- Life ----
 */

int dns_serve_start(struct dns *dns, struct warren_err *err)
{
	static const struct warren_svc_events events = {
		.size = sizeof(events), .accepted = on_accepted, .opened = on_opened,
		.closing = on_closing,
	};
	struct warren_svc_listen listen = {
		.size = sizeof(listen), .at = WARREN_SVC_MAGIC, .port = 53,
		.protocol = WARREN_SVC_UDP,
	};
	struct dns_server *server = warren_zalloc(dns->ctx, sizeof(*server));
	int result;

	if (!server)
		return warren_fail(err, NULL, "out of memory");
	server->dns = dns;
	list_init(&server->ports);
	list_init(&server->conns);
	dns->server = server;
	result = dns->svcnet->listen(dns->svcnet_self, dns->ctx, &listen, &events, server,
				     &server->udp, err);
	if (result)
		return result;
	listen.protocol = WARREN_SVC_TCP;
	return dns->svcnet->listen(dns->svcnet_self, dns->ctx, &listen, &events, server,
				   &server->tcp, err);
}

void dns_serve_end(struct dns *dns)
{
	struct dns_server *server = dns->server;

	if (!server)
		return;
	while (!list_empty(&server->ports))
		port_free(list_first(&server->ports, struct port, node));
	while (!list_empty(&server->conns))
		conn_free(list_first(&server->conns, struct conn, node));
}

bool dns_serve_ready(const struct dns *dns)
{
	const struct port *port;

	if (!dns->server)
		return false;
	list_for_each(port, &dns->server->ports, node) {
		if (!port->lan)
			return true;
	}
	return false;
}

const char *dns_serve_problem(const struct dns *dns)
{
	const char *problem = dns->svcnet->problem(dns->svcnet_self, dns->server->udp);

	return problem ? problem : dns->svcnet->problem(dns->svcnet_self, dns->server->tcp);
}
