/*
 * Streams. The bottom one has a socket; a layer has another stream below it, which it owns. Both
 * share the queue of input and the way news is told: whatever happens is noted first and told from
 * `announce`, which only the loop calls, so that no call of the owner calls the owner back. While
 * callbacks run, `depth` keeps the stream alive; one that was closed meanwhile is freed after them.
 */
#include "stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"

#include "bytes.h"

enum {
	INPUT_LIMIT = 64 << 10, LOW = 64 << 10, HIGH = 256 << 10,
	ASK_SECONDS = 600,		/* between keep-alives of TCP */
	READ_ONCE = 64 << 10,		/* bytes per turn of the loop: others want theirs too */
};

struct warren_stream {
	struct warren_ctx *ctx;
	void *tie;			/* of warren_on_end() */
	struct warren_timer *kick;	/* news to tell, from the loop */
	const struct warren_stream_events *events;
	void *arg;
	struct bytes in;
	size_t in_limit, low, high;
	uint32_t depth;
	bool closed;			/* free it when depth is 0 */
	bool fresh, drain_due, was_high;
	bool busy;			/* the last read filled the room it had */
	bool end_due, end_told, finished;
	int end_result;
	char end_why[256];

	/* The socket. */
	struct warren_io *io;
	int fd;
	struct bytes out;
	bool eof, shut, lingering;
	bool broken;			/* output goes nowhere any more */
	struct warren_timer *read_timer, *write_timer, *linger_timer;
	uint64_t read_usec, write_usec;
	void (*on_free)(void *arg);
	void *on_free_arg;

	/* The layer. */
	struct warren_stream *below;
	const struct warren_layer_ops *ops;
	void *layer;
	bool below_ended;
	int below_result;
	char below_why[256];
};

static void destroy(struct warren_stream *s)
{
	warren_release(s->tie);
	warren_release(s->kick);
	warren_release(s->read_timer);
	warren_release(s->write_timer);
	warren_release(s->linger_timer);
	warren_release(s->io);
	if (s->ops)
		s->ops->free(s->layer);
	warren_stream_close(s->below);
	bytes_free(&s->in);
	bytes_free(&s->out);
	if (s->on_free)
		s->on_free(s->on_free_arg);
	free(s);
}

static void context_ends(void *arg)
{
	struct warren_stream *s = arg;

	s->tie = NULL;			/* it is the caller */
	destroy(s);
}

static void enter(struct warren_stream *s)
{
	s->depth++;
}

static void leave(struct warren_stream *s)
{
	if (--s->depth == 0 && s->closed)
		destroy(s);
}

void warren_stream_close(struct warren_stream *s)
{
	if (!s)
		return;
	s->events = NULL;
	s->closed = true;
	if (s->depth == 0)
		destroy(s);
}

static void end(struct warren_stream *s, int result, const char *why)
{
	if (s->end_due)
		return;
	s->end_due = true;
	s->end_result = result;
	snprintf(s->end_why, sizeof(s->end_why), "%s", why);
}

static bool wants_input(const struct warren_stream *s)
{
	return s->events && s->in.len < s->in_limit && !s->end_due && !s->closed;
}

/* What the socket is watched for, and since when. */
static void update(struct warren_stream *s)
{
	uint32_t want = 0;

	if (!s->io || s->closed)
		return;
	if (s->lingering ? !s->eof : wants_input(s) && !s->eof)
		want |= WARREN_IN;
	if (s->out.len > 0 && !(s->end_due && s->end_result))
		want |= WARREN_OUT;
	if (s->read_timer && (!s->read_usec || !(want & WARREN_IN)))
		warren_timer_stop(s->read_timer);
	if (s->write_timer && (!s->write_usec || !(want & WARREN_OUT)))
		warren_timer_stop(s->write_timer);
	warren_io_want(s->io, want);
}

static void restart_timer(struct warren_timer *timer, uint64_t usec)
{
	if (timer && usec)
		warren_timer_set(timer, usec);
}

static void fail(struct warren_stream *s, int err, const char *what)
{
	char why[256];

	errno = err;
	snprintf(why, sizeof(why), "the connection failed while %s: %m", what);
	end(s, -err, why);
	s->broken = true;
	bytes_free(&s->out);
}

/* How much the kernel takes now. */
static size_t push(struct warren_stream *s, const uint8_t *data, size_t len)
{
	size_t done = 0;

	while (done < len && !s->broken && !(s->end_due && s->end_result)) {
		ssize_t n = send(s->fd, data + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		else if (errno != EINTR)
			fail(s, errno, "sending");
	}
	return done;
}

/* Sends what it can; the end of our direction follows the last byte. */
static void flush(struct warren_stream *s)
{
	size_t n = push(s, bytes_at(&s->out), s->out.len);

	if (n > 0 && !s->broken) {
		bytes_take(&s->out, n);
		restart_timer(s->write_timer, s->write_usec);
	}
	if (s->out.len == 0 && s->finished && !s->shut) {
		s->shut = true;
		shutdown(s->fd, SHUT_WR);	/* fails when the other side is gone: as well */
	}
	if (s->was_high && s->out.len <= s->low && !s->broken) {
		s->was_high = false;
		s->drain_due = true;
	}
}

static void discard(struct warren_stream *s)
{
	static const size_t all = READ_ONCE;
	uint8_t waste[4096];

	for (size_t got = 0; got < all; got += sizeof(waste)) {
		ssize_t n = recv(s->fd, waste, sizeof(waste), MSG_DONTWAIT);

		if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
			return;
		if (n <= 0) {
			s->eof = true;
			return;
		}
	}
}

static void receive(struct warren_stream *s)
{
	size_t n = s->in.len < s->in_limit ? s->in_limit - s->in.len : 0;
	uint8_t *room;
	ssize_t got;

	if (n == 0 || !wants_input(s))
		return;
	if (n > READ_ONCE)
		n = READ_ONCE;
	if (n > 4096 && s->in.len == 0 && s->in.size <= 4096 && !s->busy)
		n = 4096;		/* a quiet stream keeps a small buffer */
	room = bytes_room(&s->in, n);
	got = room ? recv(s->fd, room, n, MSG_DONTWAIT) : -1;
	s->busy = got == (ssize_t)n;
	if (!room) {
		fail(s, ENOMEM, "receiving");
	} else if (got > 0) {
		s->in.len += (size_t)got;
		s->fresh = true;
		restart_timer(s->read_timer, s->read_usec);
	} else if (got == 0) {
		s->eof = true;
		end(s, 0, "");
	} else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
		fail(s, errno, "receiving");
	}
}

/* Lets the layer decode what is below, then takes over the end from there. */
static void pull(struct warren_stream *s)
{
	const char *why = NULL;
	size_t len;
	int result = 0;

	if (!wants_input(s))
		return;
	warren_stream_input(s->below, &len);
	if (s->below_ended && s->below_result) {
		if (len > 0)
			result = s->ops->input(s->layer, s->below, s, false, &why);
		end(s, result ? result : s->below_result,
		    result ? (why ? why : "the layer failed") : s->below_why);
		return;
	}
	if (len > 0 || s->below_ended)
		result = s->ops->input(s->layer, s->below, s, s->below_ended, &why);
	if (result)
		end(s, result, why ? why : "the layer failed");
	else if (s->below_ended)
		end(s, 0, "");
}

static void announce(struct warren_stream *s)
{
	if (s->events && s->fresh && s->in.len > 0) {
		s->fresh = false;
		if (s->events->readable)
			s->events->readable(s, s->arg);
	}
	if (s->events && s->drain_due) {
		s->drain_due = false;
		if (s->events->drained)
			s->events->drained(s, s->arg);
	}
	if (s->events && s->end_due && !s->end_told) {
		s->end_told = true;
		s->events->ended(s, s->end_result, s->end_result ? s->end_why : NULL, s->arg);
	}
}

/* Of one that lingers: nothing more to send, or nobody to send it to. */
static bool is_over(const struct warren_stream *s)
{
	return s->broken || (s->end_due && s->end_result) || (s->eof && s->out.len == 0);
}

static void turn(struct warren_stream *s)
{
	if (s->below)
		pull(s);
	announce(s);
	if (s->lingering && is_over(s))
		s->closed = true;
	update(s);
}

static void on_kick(struct warren_ctx *ctx, void *arg)
{
	struct warren_stream *s = arg;

	(void)ctx;
	enter(s);
	turn(s);
	leave(s);
}

static void on_io(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct warren_stream *s = arg;

	(void)ctx;
	(void)fd;
	enter(s);
	if (what & WARREN_OUT)
		flush(s);
	if ((what & WARREN_IN) && s->lingering)
		discard(s);
	else if (what & WARREN_IN)
		receive(s);
	turn(s);
	leave(s);
}

static void on_read_timeout(struct warren_ctx *ctx, void *arg)
{
	struct warren_stream *s = arg;

	end(s, -ETIMEDOUT, "the other side sent nothing for too long");
	on_kick(ctx, arg);
}

static void on_write_timeout(struct warren_ctx *ctx, void *arg)
{
	struct warren_stream *s = arg;

	end(s, -ETIMEDOUT, "the other side took nothing for too long");
	on_kick(ctx, arg);
}

static void on_linger_timeout(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	warren_stream_close(arg);
}

static void kick(struct warren_stream *s)
{
	if (!s->closed)
		warren_timer_set(s->kick, 0);
}

static struct warren_stream *stream_new(struct warren_ctx *ctx)
{
	struct warren_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->ctx = ctx;
	s->fd = -1;
	s->in_limit = INPUT_LIMIT;
	s->low = LOW;
	s->high = HIGH;
	s->kick = warren_timer_new(ctx, on_kick, s);
	s->tie = warren_on_end(ctx, context_ends, s);
	if (!s->kick || !s->tie) {
		destroy(s);
		return NULL;
	}
	return s;
}

struct warren_stream *warren_stream_new_take(struct warren_ctx *ctx, int fd)
{
	struct warren_stream *s = stream_new(ctx);

	if (!s) {
		close(fd);
		return NULL;
	}
	s->io = warren_io_new_take(ctx, fd, on_io, s);
	s->fd = fd;
	s->read_timer = warren_timer_new(ctx, on_read_timeout, s);
	s->write_timer = warren_timer_new(ctx, on_write_timeout, s);
	s->linger_timer = warren_timer_new(ctx, on_linger_timeout, s);
	if (!s->io || !s->read_timer || !s->write_timer || !s->linger_timer) {
		destroy(s);
		return NULL;
	}
	return s;
}

void warren_stream_set(struct warren_stream *s, const struct warren_stream_events *events,
		       void *arg)
{
	s->events = events;
	s->arg = arg;
	s->fresh = s->in.len > 0;
	s->end_told = false;
	if (wants_input(s) && s->read_timer)
		restart_timer(s->read_timer, s->read_usec);
	update(s);
	kick(s);
}

const uint8_t *warren_stream_input(struct warren_stream *s, size_t *len)
{
	*len = s->in.len;
	return bytes_at(&s->in);
}

void warren_stream_drain(struct warren_stream *s, size_t len)
{
	bool full = s->in.len >= s->in_limit;

	if (len > s->in.len)
		abort();
	bytes_take(&s->in, len);
	if (full && s->in.len < s->in_limit) {
		update(s);
		if (s->below)
			kick(s);
	}
}

int warren_stream_unread(struct warren_stream *s, const void *data, size_t len)
{
	int result = bytes_push_front(&s->in, data, len);

	if (result == 0 && len > 0) {
		s->fresh = true;
		kick(s);
	}
	return result;
}

int warren_stream_write(struct warren_stream *s, const void *data, size_t len)
{
	size_t n = 0;

	if (s->finished || s->closed || s->broken || (s->end_due && s->end_result))
		return -EPIPE;
	if (len == 0)
		return 0;
	if (s->below)
		return s->ops->write(s->layer, s->below, data, len);
	if (len > STREAM_OUTPUT_MAX - s->out.len)
		return -ENOBUFS;
	if (s->out.len == 0)		/* nothing waits in front of it */
		n = push(s, data, len);
	if (n < len && !s->broken) {
		if (s->out.len == 0)
			restart_timer(s->write_timer, s->write_usec);
		if (bytes_add(&s->out, (const uint8_t *)data + n, len - n)) {
			if (n == 0)
				return -ENOMEM;
			fail(s, ENOMEM, "sending");	/* half of it is on its way */
		}
	}
	if (s->out.len > s->high)
		s->was_high = true;
	if (s->end_due)
		kick(s);
	update(s);
	return 0;
}

size_t warren_stream_pending(const struct warren_stream *s)
{
	return s->below ? warren_stream_pending(s->below) : s->out.len;
}

void warren_stream_limits(struct warren_stream *s, size_t input, size_t low, size_t high)
{
	s->in_limit = input;
	for (; s->below; s = s->below)
		continue;
	s->low = low;
	s->high = high;
	update(s);
}

void warren_stream_timeouts(struct warren_stream *s, uint64_t read_usec, uint64_t write_usec)
{
	for (; s->below; s = s->below)
		continue;
	s->read_usec = read_usec;
	s->write_usec = write_usec;
	if (wants_input(s))
		restart_timer(s->read_timer, read_usec);
	if (s->out.len > 0)
		restart_timer(s->write_timer, write_usec);
	update(s);
}

void warren_stream_dead_after(struct warren_stream *s, uint64_t usec)
{
	const unsigned int msec = (unsigned int)(usec / 1000);
	const int on = 1, idle = ASK_SECONDS;

	for (; s->below; s = s->below)
		continue;
	/* A socket that is not TCP's has no such end; without it one lasts longer. */
	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &msec, sizeof(msec));
	(void)setsockopt(s->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
}

void warren_stream_finish(struct warren_stream *s)
{
	if (s->finished)
		return;
	s->finished = true;
	if (s->below) {
		if (s->ops->finish)
			s->ops->finish(s->layer, s->below);
		warren_stream_finish(s->below);
		return;
	}
	flush(s);
	update(s);
}

void warren_stream_close_later(struct warren_stream *s, uint64_t usec)
{
	struct warren_stream *below = s->below;

	warren_stream_finish(s);
	if (below) {
		s->below = NULL;	/* it outlives the layer */
		warren_stream_close(s);
		warren_stream_close_later(below, usec);
		return;
	}
	s->events = NULL;
	s->lingering = true;
	bytes_free(&s->in);
	warren_timer_set(s->linger_timer, usec);
	if (is_over(s))
		kick(s);
	update(s);
}

bool warren_stream_peer(const struct warren_stream *s, struct warren_addrport *out)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	for (; s->below; s = s->below)
		continue;
	return getpeername(s->fd, (struct sockaddr *)&sa, &len) == 0 &&
	       addrport_from_sockaddr((struct sockaddr *)&sa, len, out) == 0;
}

bool warren_stream_local(const struct warren_stream *s, struct warren_addrport *out)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	for (; s->below; s = s->below)
		continue;
	return getsockname(s->fd, (struct sockaddr *)&sa, &len) == 0 &&
	       addrport_from_sockaddr((struct sockaddr *)&sa, len, out) == 0;
}

static void below_readable(struct warren_stream *below, void *arg)
{
	(void)below;
	on_kick(NULL, arg);
}

static void below_drained(struct warren_stream *below, void *arg)
{
	struct warren_stream *s = arg;

	(void)below;
	s->drain_due = true;
	on_kick(NULL, arg);
}

static void below_ended(struct warren_stream *below, int result, const char *why, void *arg)
{
	struct warren_stream *s = arg;

	(void)below;
	s->below_ended = true;
	s->below_result = result;
	snprintf(s->below_why, sizeof(s->below_why), "%s", why ? why : "");
	on_kick(NULL, arg);
}

static const struct warren_stream_events below_events = {
	.size = sizeof(below_events), .readable = below_readable, .drained = below_drained,
	.ended = below_ended,
};

struct warren_stream *warren_layer_new_take(struct warren_stream *below,
					    const struct warren_layer_ops *ops, void *layer)
{
	struct warren_stream *s = stream_new(below->ctx);

	if (!s) {
		ops->free(layer);
		warren_stream_close(below);
		return NULL;
	}
	s->below = below;
	s->ops = ops;
	s->layer = layer;
	warren_stream_set(below, &below_events, s);
	return s;
}

int warren_layer_feed(struct warren_stream *up, const void *data, size_t len)
{
	int result = bytes_add(&up->in, data, len);

	if (result == 0 && len > 0)
		up->fresh = true;
	return result;
}

void warren_layer_end(struct warren_stream *up)
{
	end(up, 0, "");
}

void stream_on_free(struct warren_stream *s, void (*fn)(void *arg), void *arg)
{
	s->on_free = fn;
	s->on_free_arg = arg;
}

struct warren_ctx *stream_ctx(const struct warren_stream *s)
{
	return s->ctx;
}

void *stream_layer(const struct warren_stream *s, const struct warren_layer_ops *ops)
{
	return s->ops == ops ? s->layer : NULL;
}
