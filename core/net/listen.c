/*
 * Listening: a socket of the monitor's, and each connection as a stream. Connections are counted
 * until their stream is gone, whoever has it by then; at the limit we do not accept, and the rest
 * waits in the kernel's queue.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include <warren/net.h>
#include <warren/priv.h>

#include "base/addr.h"
#include "stream.h"

enum {
	CONNECTIONS = 1024, BACKLOG = 512,
	ACCEPT_ONCE = 32,		/* per turn of the loop: others want theirs too */
	PAUSE_USEC = 200000,		/* after EMFILE: until somebody closes something */
};

struct warren_listener {
	struct warren_ctx *ctx;
	struct warren_io *io;
	struct warren_timer *pause;
	void *tie;			/* of warren_on_end() */
	warren_accept_fn *fn;
	void *arg;
	uint32_t open, max, handle;
	bool closed, keep, busy;	/* busy: accepting */
	struct warren_addrport at;
	struct warren_limit limit;
};

static void destroy(struct warren_listener *l)
{
	warren_release(l->tie);
	warren_release(l->io);
	warren_release(l->pause);
	free(l);
}

static void free_if_over(struct warren_listener *l)
{
	if (l->closed && l->open == 0 && !l->busy)
		destroy(l);
}

static void watch(struct warren_listener *l)
{
	if (l->io)
		warren_io_want(l->io, l->open < l->max ? WARREN_IN : 0);
}

/* The stream is gone; the listener outlives its connections. */
static void connection_gone(void *arg)
{
	struct warren_listener *l = arg;

	l->open--;
	if (!l->closed)
		watch(l);
	free_if_over(l);
}

/* Of our context: its streams, made later, are gone already. */
static void context_ends(void *arg)
{
	struct warren_listener *l = arg;

	l->tie = NULL;			/* it is the caller */
	l->io = NULL;			/* goes with the context */
	l->pause = NULL;
	l->closed = true;
	free_if_over(l);
}

static void on_pause(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	watch(arg);
}

static void pause_accepting(struct warren_listener *l, int err)
{
	char text[ADDRPORT_TEXT];

	errno = err;
	warren_log_limit(l->ctx, &l->limit, LOG_WARNING,
			 "cannot accept connections on %s for now: %m: fewer clients, or a higher "
			 "limit of open files (LimitNOFILE)", addrport_format(&l->at, text));
	warren_io_want(l->io, 0);
	warren_timer_set(l->pause, PAUSE_USEC);
}

static bool is_about_the_peer(int err)
{
	return err == ECONNABORTED || err == EINTR || err == EPROTO || err == ENETDOWN ||
	       err == EHOSTUNREACH || err == ENETUNREACH || err == EPERM;
}

/* False: no more for now. */
static bool accept_one(struct warren_listener *l, int fd)
{
	int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct warren_stream *stream;
	int one = 1;

	if (conn == -1) {
		if (is_about_the_peer(errno))
			return true;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			pause_accepting(l, errno);
		return false;
	}
	/* Records and frames are written as a whole already. Without it things are slower only. */
	(void)setsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	stream = warren_stream_new_take(l->ctx, conn);
	if (!stream) {
		pause_accepting(l, ENOMEM);
		return false;
	}
	l->open++;
	stream_on_free(stream, connection_gone, l);
	l->fn(l->ctx, stream, l->arg);
	return true;
}

static void on_io(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct warren_listener *l = arg;
	bool more = true;

	(void)ctx;
	(void)what;
	l->busy = true;
	for (int i = 0; more && i < ACCEPT_ONCE && l->open < l->max && !l->closed; i++)
		more = accept_one(l, fd);
	l->busy = false;
	if (more && !l->closed)
		watch(l);
	free_if_over(l);
}

/* A process without a monitor, as unit tests are. */
static int listen_here(const struct warren_addrport *at, struct warren_priv_answer *answer,
		       struct warren_err *err)
{
	struct sockaddr_storage ss;
	socklen_t len = addrport_to_sockaddr(at, &ss);
	struct warren_addrport bound;
	int fd = socket(at->addr.family == 6 ? AF_INET6 : AF_INET,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int one = 1;

	if (fd == -1 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == -1 ||
	    bind(fd, (struct sockaddr *)&ss, len) == -1 || listen(fd, BACKLOG) == -1 ||
	    getsockname(fd, (struct sockaddr *)&ss, &len) == -1 ||
	    addrport_from_sockaddr((struct sockaddr *)&ss, len, &bound)) {
		int result = -errno;

		warren_fail(err, NULL, "cannot listen: %s", strerror(-result));
		if (fd != -1)
			close(fd);
		return result;
	}
	answer->fds[0] = fd;
	answer->value = bound.port;
	return 0;
}

static int ask(struct warren_ctx *ctx, const struct warren_listen_options *o, uint8_t family,
	       struct warren_priv_answer *answer, struct warren_err *err)
{
	struct warren_priv_socket item = {
		.index = o->index, .family = family, .type = WARREN_SOCK_TCP,
		.flags = o->flags & WARREN_LISTEN_KEEP ? WARREN_SOCK_KEEP : 0,
		.bind = o->at, .backlog = BACKLOG,
	};
	int result;

	snprintf(item.key, sizeof(item.key), "%s", o->key);
	item.bind.addr.family = family;
	result = warren_priv_wait(ctx, WARREN_OP_SOCKET, &item, sizeof(item), answer, err);
	return result == -EPIPE ? listen_here(&item.bind, answer, err) : result;
}

/* One socket of family 6 takes both, but for hosts that have no IPv6. */
static int open_socket(struct warren_ctx *ctx, const struct warren_listen_options *o,
		       struct warren_priv_answer *answer, struct warren_err *err)
{
	int result;

	if (o->at.addr.family == 4)
		return ask(ctx, o, 4, answer, err);
	if (o->at.addr.family == 6 && !addr_is_any(&o->at.addr))
		return ask(ctx, o, 6, answer, err);
	result = ask(ctx, o, 6, answer, NULL);
	if (result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL)
		return ask(ctx, o, 4, answer, err);
	return result ? ask(ctx, o, 6, answer, err) : 0;
}

int warren_listen_wait(struct warren_ctx *ctx, const struct warren_listen_options *o,
		       warren_accept_fn *fn, void *arg, struct warren_listener **out,
		       struct warren_err *err)
{
	struct warren_priv_answer answer = { .size = sizeof(answer) };
	struct warren_listener *l = calloc(1, sizeof(*l));
	int result;

	*out = NULL;
	if (!l) {
		warren_fail(err, NULL, "no memory for a listener");
		return -ENOMEM;
	}
	result = open_socket(ctx, o, &answer, err);
	if (result) {
		free(l);
		return result;
	}
	l->ctx = ctx;
	l->fn = fn;
	l->arg = arg;
	l->at = o->at;
	l->at.port = (uint16_t)answer.value;
	l->max = o->connections ? o->connections : CONNECTIONS;
	l->handle = answer.handle;
	l->keep = o->flags & WARREN_LISTEN_KEEP;
	l->io = warren_io_new_take(ctx, answer.fds[0], on_io, l);
	l->pause = warren_timer_new(ctx, on_pause, l);
	l->tie = warren_on_end(ctx, context_ends, l);
	if (!l->io || !l->pause || !l->tie) {
		destroy(l);
		warren_fail(err, NULL, "no memory for a listener");
		return -ENOMEM;
	}
	watch(l);
	*out = l;
	return 0;
}

uint16_t warren_listener_port(const struct warren_listener *l)
{
	return l->at.port;
}

uint32_t warren_listener_open(const struct warren_listener *l)
{
	return l->open;
}

void warren_listener_limit(struct warren_listener *l, uint32_t connections)
{
	l->max = connections ? connections : CONNECTIONS;
	watch(l);
}

static void given_back(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	(void)ctx;
	(void)answer;
	(void)arg;
}

void warren_listener_close(struct warren_listener *l)
{
	struct warren_priv_close item = { .op = WARREN_OP_SOCKET };

	if (!l)
		return;
	l->closed = true;
	warren_release(l->io);
	warren_release(l->pause);
	l->io = NULL;
	l->pause = NULL;
	if (l->keep) {
		item.handle = l->handle;
		(void)warren_priv(l->ctx, WARREN_OP_CLOSE, &item, sizeof(item), given_back, NULL);
	}
	free_if_over(l);
}
