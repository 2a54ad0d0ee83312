/*
 * svcecho - answers on ports of its configuration, for the lab's tests of `svcnet`
 *
 * A TCP connection is told who it is taken for, "peer 100.64.0.2 at 100.64.0.1" or "host ...", and
 * then gets back what it sends; a datagram is answered by that line and itself. `warren svcecho
 * dial` connects out, sends a text and shows what comes back.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include <warren/plugin.h>
#include <warren/service/svcnet.h>

#include "base/addr.h"

enum { TEXT = 2048, UDP_SOCKETS = 32 };

struct echo {
	struct warren_ctx *ctx;
	const struct warren_svcnet_ops *svcnet;
	void *svcnet_self;
	struct {
		struct warren_io *io;
		struct warren_svc_conn conn;
	} udp[UDP_SOCKETS];
};

struct session {
	struct echo *echo;
	struct warren_io *io;
	size_t len, sent;		/* of `buf`: what was read and is to go back */
	char buf[4096];
};

struct dialing {
	struct echo *echo;
	struct warren_reply *reply;
	struct warren_io *io;
	struct warren_timer *timer;
	char text[256];
};

static const struct warren_option dial_args[] = {
	{ .key = "to", .type = WARREN_ADDRPORT, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "Address and port." },
	{ .key = "text", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .max = 200, .brief = "What to send." },
	{ .key = "udp", .type = WARREN_BOOL, .brief = "A datagram." },
};

static int dial_command(struct warren_ctx *ctx, const struct warren_conf *args,
			struct warren_reply *reply, struct warren_err *err);

static const struct warren_command commands[] = {
	{ .path = "svcecho dial", .flags = WARREN_CMD_ROOT, .args = WARREN_TABLE(dial_args),
	  .brief = "Connect out through the tailnet.", .run = dial_command },
};

static const struct warren_option listen_rows[] = {
	{ .key = "port", .type = WARREN_INT, .flags = WARREN_REQUIRED, .min = 1, .max = 65535,
	  .brief = "Port." },
	{ .key = "udp", .type = WARREN_BOOL, .brief = "UDP instead of TCP." },
	{ .key = "magic", .type = WARREN_BOOL, .brief = "At the service addresses." },
	{ .key = "unfiltered", .type = WARREN_BOOL, .brief = "Ahead of the packet filter." },
};

static const struct warren_option options[] = {
	{ .key = "listen", .type = WARREN_MAP, .flags = WARREN_MANY, .brief = "Where to answer.",
	  .sub = WARREN_TABLE(listen_rows) },
};

static const struct warren_port needs[] = {
	{ "svcnet", 0, 1, WARREN_ENABLE, "svcnet", "Listeners." },
};

static int describe(const struct echo *echo, const struct warren_svc_conn *conn, char *out,
		    size_t size)
{
	bool host = conn->from ? conn->from == WARREN_SVC_FROM_HOST :
		    echo->svcnet->own(echo->svcnet_self, &conn->remote.addr);
	char remote[ADDR_TEXT], local[ADDR_TEXT];

	return snprintf(out, size, "%s %s at %s\n", host ? "host" : "peer",
			addr_format(&conn->remote.addr, remote),
			addr_format(&conn->local.addr, local));
}

/*
 * ---- TCP ----
 */

static void session_end(struct session *s)
{
	warren_release(s->io);
	warren_release(s);
}

static void on_tcp(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct session *s = arg;
	ssize_t n = 0;

	(void)ctx;
	(void)what;
	if (s->len == 0) {
		n = recv(fd, s->buf, sizeof(s->buf), 0);
		if (n == 0 || (n == -1 && errno != EAGAIN)) {
			session_end(s);
			return;
		}
		s->len = n > 0 ? (size_t)n : 0;
		s->sent = 0;
	}
	n = send(fd, s->buf + s->sent, s->len - s->sent, MSG_NOSIGNAL);
	if (n == -1 && errno != EAGAIN) {
		session_end(s);
		return;
	}
	s->sent += n > 0 ? (size_t)n : 0;
	if (s->sent == s->len)
		s->len = 0;
	warren_io_want(s->io, s->len ? WARREN_OUT : WARREN_IN);
}

static void accepted(void *arg, int fd, const struct warren_svc_conn *conn)
{
	struct echo *echo = arg;
	struct session *s = warren_zalloc(echo->ctx, sizeof(*s));
	char line[256];
	int len = describe(echo, conn, line, sizeof(line));

	if (!s || send(fd, line, (size_t)len, MSG_NOSIGNAL) != len) {
		close(fd);
		warren_release(s);
		return;
	}
	s->echo = echo;
	s->io = warren_io_new_take(echo->ctx, fd, on_tcp, s);
	if (s->io)
		warren_io_want(s->io, WARREN_IN);
}

/*
 * ---- UDP ----
 */

static void on_udp(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct warren_svc_conn conn = *(const struct warren_svc_conn *)arg;
	char buf[TEXT + 256];
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	ssize_t n = recvfrom(fd, buf + 256, TEXT, 0, (struct sockaddr *)&ss, &len);
	int head;

	(void)what;
	if (n == -1 || addrport_from_sockaddr((struct sockaddr *)&ss, len, &conn.remote))
		return;
	head = describe(warren_self(ctx), &conn, buf, 256);
	memmove(buf + head, buf + 256, (size_t)n);
	(void)sendto(fd, buf, (size_t)(head + n), 0, (struct sockaddr *)&ss, len);
}

static void opened(void *arg, int fd, const struct warren_svc_conn *conn)
{
	struct echo *echo = arg;

	for (int i = 0; i < UDP_SOCKETS; i++) {
		if (echo->udp[i].io)
			continue;
		echo->udp[i].conn = *conn;
		echo->udp[i].io = warren_io_new_take(echo->ctx, fd, on_udp, &echo->udp[i].conn);
		if (echo->udp[i].io)
			warren_io_want(echo->udp[i].io, WARREN_IN);
		return;
	}
	close(fd);
}

static void closing(void *arg, const struct warren_svc_conn *conn)
{
	struct echo *echo = arg;

	for (int i = 0; i < UDP_SOCKETS; i++) {
		if (!echo->udp[i].io || echo->udp[i].conn.from != conn->from ||
		    !addrport_equal(&echo->udp[i].conn.local, &conn->local))
			continue;
		warren_release(echo->udp[i].io);
		echo->udp[i].io = NULL;
		return;
	}
}

/*
 * ---- Dialing ----
 */

static void dialing_end(struct dialing *d, int exit, const char *error)
{
	warren_reply_end(d->reply, exit, error);
	warren_release(d->io);
	warren_release(d->timer);
	warren_release(d);
}

/* Shows lines until the text itself is back. */
static void on_answer(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct dialing *d = arg;
	char buf[4096];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

	(void)ctx;
	(void)what;
	if (n == -1 && errno == EAGAIN)
		return;
	if (n <= 0) {
		dialing_end(d, 1, n ? strerror(errno) : "the other side ended");
		return;
	}
	buf[n] = '\0';
	warren_reply_text(d->reply, "%s", buf);
	if (strstr(buf, d->text))
		dialing_end(d, 0, NULL);
}

static void on_late(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	dialing_end(arg, 1, "no answer");
}

static void dialed(struct warren_ctx *ctx, int result, int fd, const char *why, void *arg)
{
	struct dialing *d = arg;

	if (result) {
		dialing_end(d, 1, why);
		return;
	}
	if (send(fd, d->text, strlen(d->text), MSG_NOSIGNAL) == -1) {
		close(fd);
		dialing_end(d, 1, strerror(errno));
		return;
	}
	d->io = warren_io_new_take(ctx, fd, on_answer, d);
	warren_io_want(d->io, WARREN_IN);
	warren_timer_set(d->timer, 20000000);
}

static int dial_command(struct warren_ctx *ctx, const struct warren_conf *args,
			struct warren_reply *reply, struct warren_err *err)
{
	struct dialing *d = warren_zalloc(ctx, sizeof(*d));
	struct echo *echo = warren_self(ctx);
	const struct warren_svc_dial dial = {
		.size = sizeof(dial), .to = warren_conf_addrport(args, "to"),
		.protocol = warren_conf_bool(args, "udp") ? WARREN_SVC_UDP : WARREN_SVC_TCP,
	};
	int result;

	if (!d)
		return warren_fail(err, NULL, "out of memory");
	d->echo = echo;
	d->reply = reply;
	d->timer = warren_timer_new(ctx, on_late, d);
	snprintf(d->text, sizeof(d->text), "%s", warren_conf_str(args, "text"));
	result = echo->svcnet->dial(echo->svcnet_self, ctx, &dial, dialed, d);
	return result ? warren_fail(err, NULL, "%s", strerror(-result)) : WARREN_PENDING;
}

static int echo_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		      struct warren_err *err)
{
	static const struct warren_svc_events events = {
		.size = sizeof(events), .accepted = accepted, .opened = opened,
		.closing = closing,
	};
	struct echo *echo = warren_zalloc(ctx, sizeof(*echo));
	struct warren_svc_listener *listener;
	const void *found;
	int result;

	if (!echo)
		return warren_fail(err, NULL, "out of memory");
	echo->ctx = ctx;
	warren_self_set(ctx, echo);
	result = warren_need(ctx, "svcnet", &found, &echo->svcnet_self);
	if (result)
		return result;
	echo->svcnet = found;
	for (uint32_t i = 0; i < warren_conf_count(conf, "listen"); i++) {
		const struct warren_conf *row = warren_conf_at(conf, "listen", i);
		struct warren_svc_listen listen = {
			.size = sizeof(listen), .port = (uint16_t)warren_conf_int(row, "port"),
			.protocol = warren_conf_bool(row, "udp") ? WARREN_SVC_UDP :
								    WARREN_SVC_TCP,
			.at = warren_conf_bool(row, "magic") ? WARREN_SVC_MAGIC : WARREN_SVC_SELF,
			.flags = warren_conf_bool(row, "unfiltered") ? WARREN_SVC_UNFILTERED : 0,
		};

		result = echo->svcnet->listen(echo->svcnet_self, ctx, &listen, &events, echo,
					      &listener, err);
		if (result)
			return result;
	}
	return 0;
}

WARREN_PLUGIN(svcecho, "svcecho",
	.version = "1", .license = "ISC",
	.brief = "Answers on the tailnet, for tests.",
	.options = WARREN_TABLE(options),
	.commands = WARREN_TABLE(commands),
	.needs = WARREN_TABLE(needs),
	.start = echo_start,
);
