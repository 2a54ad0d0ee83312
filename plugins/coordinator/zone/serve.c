/*
 * The zone's sockets. One that cannot be had, as where an interface has no address yet, is asked
 * for again. All is answered at once: nobody who asks is remembered, but for TCP's connections.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include <warren/priv.h>

#include "base/addr.h"
#include "base/str.h"
#include "impl.h"

enum {
	BACKLOG = 128, ONCE = 16,	/* then others have their turn */
	CONNS = 128,
	QUERY = 4096,			/* bytes of one that is read */
	UNREAD = 64 << 10,		/* of answers that are not taken: no more is answered */
};
static const uint64_t retry_first = 250000, retry_last = 30000000, idle_usec = 10000000;

struct door {
	struct zone_server *server;	/* NULL: it has ended, and waits for the monitor */
	struct warren_addrport at;
	uint32_t index;
	bool tcp, asking;
	int fd;				/* the io's */
	struct warren_io *io;
	struct warren_timer *again;
	uint64_t pause;
	char problem[ZONE_PROBLEM];
};

struct conn {
	struct list link;
	struct zone_server *server;
	struct warren_stream *stream;
};

struct zone_server {
	struct zone *zone;
	struct door *doors[2 * ZONE_LISTEN];
	uint32_t n;
	struct list conns;
	uint32_t n_conns;
	uint8_t in[QUERY], out[ZONE_ANSWER];
};

static size_t answer(struct zone_server *server, const uint8_t *msg, size_t len, bool stream)
{
	return zone_answer(&server->zone->facts, &server->zone->records, msg, len, stream,
			   server->out);
}

/* ---- UDP ---- */

static void on_datagram(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	const struct door *door = arg;
	struct zone_server *server = door->server;

	(void)ctx;
	(void)what;
	for (int i = 0; i < ONCE; i++) {
		struct sockaddr_storage from;
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, server->in, QUERY, 0, (struct sockaddr *)&from, &size);
		size_t len;

		if (n == -1)
			return;
		len = answer(server, server->in, (size_t)n, false);
		if (len > 0)
			(void)sendto(fd, server->out, len, MSG_NOSIGNAL, (struct sockaddr *)&from,
				     size);
	}
}

/* ---- TCP (RFC 7766): two bytes of length, the message ---- */

static void conn_free(struct conn *conn)
{
	list_del(&conn->link);
	conn->server->n_conns--;
	warren_stream_close(conn->stream);
	free(conn);
}

static bool answer_one(struct conn *conn, const uint8_t *msg, size_t len)
{
	size_t n = answer(conn->server, msg, len, true);
	const uint8_t head[2] = { (uint8_t)(n >> 8), (uint8_t)n };

	return n > 0 && warren_stream_write(conn->stream, head, sizeof(head)) == 0 &&
	       warren_stream_write(conn->stream, conn->server->out, n) == 0;
}

static void on_readable(struct warren_stream *stream, void *arg)
{
	struct conn *conn = arg;

	for (;;) {
		size_t len, want;
		const uint8_t *data = warren_stream_input(stream, &len);

		if (len < 2)
			return;
		want = (size_t)data[0] << 8 | data[1];
		if (want > QUERY || warren_stream_pending(stream) > UNREAD)
			break;
		if (len - 2 < want)
			return;
		if (!answer_one(conn, data + 2, want))
			break;
		warren_stream_drain(stream, 2 + want);
	}
	conn_free(conn);
}

static void on_ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct conn *conn = arg;

	(void)stream;
	(void)why;
	if (result == 0) {		/* it may still read */
		warren_stream_close_later(conn->stream, idle_usec);
		conn->stream = NULL;
	}
	conn_free(conn);
}

static void conn_begin(struct zone_server *server, int fd)
{
	static const struct warren_stream_events events = {
		.size = sizeof(events), .readable = on_readable, .ended = on_ended,
	};
	struct conn *conn = server->n_conns < CONNS ? calloc(1, sizeof(*conn)) : NULL;

	if (!conn) {
		close(fd);
		return;
	}
	conn->server = server;
	conn->stream = warren_stream_new_take(server->zone->ctx, fd);
	if (!conn->stream) {
		free(conn);
		return;
	}
	list_add_tail(&server->conns, &conn->link);
	server->n_conns++;
	warren_stream_limits(conn->stream, 2 + QUERY, 0, UNREAD);
	warren_stream_timeouts(conn->stream, idle_usec, idle_usec);
	warren_stream_set(conn->stream, &events, conn);
}

static void on_accept(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	const struct door *door = arg;

	(void)ctx;
	(void)what;
	for (int i = 0; i < ONCE; i++) {
		int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (got == -1)
			return;
		conn_begin(door->server, got);
	}
}

/* ---- sockets ---- */

static void refused(struct door *door, const char *why)
{
	char at[ADDRPORT_TEXT], text[ZONE_PROBLEM];

	snprintf(text, sizeof(text), "%s of coordinator.zone.listen is not served by %s: %s",
		 addrport_format(&door->at, at), door->tcp ? "TCP" : "UDP", why);
	if (strcmp(door->problem, text) != 0)
		warren_log(door->server->zone->ctx, LOG_WARNING, "%s", text);
	str_copy(door->problem, sizeof(door->problem), text);
	warren_timer_set(door->again, door->pause);
	door->pause = door->pause > retry_last / 2 ? retry_last : 2 * door->pause;
}

static void given(struct warren_ctx *ctx, const struct warren_priv_answer *a, void *arg)
{
	struct door *door = arg;

	door->asking = false;
	if (!door->server || a->result || a->count != 1) {
		for (uint32_t i = 0; i < a->count; i++)
			close(a->fds[i]);
		if (door->server)
			refused(door, a->error ? a->error : "the monitor gave no socket");
		else
			free(door);
		return;
	}
	door->io = warren_io_new_take(ctx, a->fds[0], door->tcp ? on_accept : on_datagram, door);
	if (!door->io) {
		refused(door, "no memory");
		return;
	}
	door->problem[0] = '\0';
	door->pause = retry_first;
	warren_io_want(door->io, WARREN_IN);
}

static void ask(struct warren_ctx *ctx, void *arg)
{
	struct door *door = arg;
	const struct warren_priv_socket request = {
		.key = "coordinator.zone.listen", .index = door->index,
		.family = door->at.addr.family, .bind = door->at,
		.type = door->tcp ? WARREN_SOCK_TCP : WARREN_SOCK_UDP,
		.flags = door->at.addr.family == 6 ? WARREN_SOCK_V6ONLY : 0,
		.backlog = door->tcp ? BACKLOG : 0,
	};

	door->asking = warren_priv(ctx, WARREN_OP_SOCKET, &request, sizeof(request), given,
				   door) == 0;
	if (!door->asking)
		refused(door, "the monitor cannot be asked");
}

static void door_free(struct door *door)
{
	warren_release(door->io);
	warren_release(door->again);
	door->server = NULL;
	if (!door->asking)
		free(door);
}

static bool door_add(struct zone_server *server, const struct warren_addrport *at, uint32_t index,
		     bool tcp)
{
	struct door *door = calloc(1, sizeof(*door));

	if (!door)
		return false;
	*door = (struct door){ .server = server, .at = *at, .index = index, .tcp = tcp,
			       .pause = retry_first };
	door->again = warren_timer_new(server->zone->ctx, ask, door);
	if (!door->again) {
		free(door);
		return false;
	}
	server->doors[server->n++] = door;
	/* From the loop: a reload's files are in force then, and the port stands in them. */
	warren_timer_set(door->again, 0);
	return true;
}

struct zone_server *zone_server_new(struct zone *zone, const struct warren_conf *section)
{
	struct zone_server *server = calloc(1, sizeof(*server));
	bool ok = server;

	if (!server)
		return NULL;
	server->zone = zone;
	list_init(&server->conns);
	for (uint32_t i = 0; ok && i < warren_conf_count(section, "listen"); i++) {
		const struct warren_addrport at =
			warren_conf_addrport(warren_conf_at(section, "listen", i), NULL);

		ok = door_add(server, &at, i, false) && door_add(server, &at, i, true);
	}
	if (ok)
		return server;
	zone_server_free(server);
	return NULL;
}

void zone_server_free(struct zone_server *server)
{
	if (!server)
		return;
	while (!list_empty(&server->conns))
		conn_free(list_first(&server->conns, struct conn, link));
	for (uint32_t i = 0; i < server->n; i++)
		door_free(server->doors[i]);
	free(server);
}

const char *zone_server_problem(const struct zone_server *server)
{
	for (uint32_t i = 0; i < server->n; i++) {
		if (server->doors[i]->problem[0])
			return server->doors[i]->problem;
	}
	return NULL;
}

bool zone_server_open(const struct zone_server *server)
{
	for (uint32_t i = 0; i < server->n; i++) {
		if (server->doors[i]->io && !server->doors[i]->tcp)
			return true;
	}
	return false;
}
