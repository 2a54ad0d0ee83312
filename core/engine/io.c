/*
 * Descriptors on a lane. The io owns its descriptor: it leaves the poll set before it is closed,
 * because the monitor may hold a copy, and then closing alone would not end its events.
 */
#include <stddef.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include <warren/plugin.h>

#include "engine/ctx.h"

struct warren_io {
	struct event event;
	struct warren_ctx *ctx;
	warren_io_fn *fn;
	void *arg;
	int fd;
	uint32_t want;
};

static void io_fire(evutil_socket_t fd, short what, void *arg)
{
	struct warren_io *io = arg;
	struct warren_ctx *ctx = io->ctx;
	uint64_t entered = wcore_ctx_enter(ctx);
	uint32_t flags = 0;

	if (what & EV_READ)
		flags |= WARREN_IN;
	if (what & EV_WRITE)
		flags |= WARREN_OUT;
	if (what & EV_CLOSED)
		flags |= WARREN_HUP;
	io->fn(ctx, fd, flags, io->arg);	/* may release the io */
	wcore_ctx_leave(ctx, entered, "descriptor");
}

static void io_end(void *obj)
{
	struct warren_io *io = obj;

	if (io->want)
		event_del(&io->event);
	if (io->fd != -1)
		close(io->fd);
}

static const struct wcore_kind io_kind = { .name = "io", .end = io_end };

struct warren_io *warren_io_new_take(struct warren_ctx *ctx, int fd, warren_io_fn *fn, void *arg)
{
	struct warren_io *io;

	wcore_ctx_assert_open(ctx, "warren_io_new_take");
	io = wcore_own_new(ctx, &io_kind, sizeof(*io));
	if (!io) {
		close(fd);
		return NULL;
	}
	io->ctx = ctx;
	io->fd = fd;
	io->fn = fn;
	io->arg = arg;
	return io;
}

void warren_io_want(struct warren_io *io, uint32_t what)
{
	struct event_base *base = wcore_lane_base(io->ctx->lane);
	short flags = EV_PERSIST;

	wcore_ctx_assert(io->ctx, "warren_io_want");
	if (what == io->want)
		return;
	if (io->want)
		event_del(&io->event);
	io->want = 0;
	if (what & WARREN_IN)
		flags |= EV_READ;
	if (what & WARREN_OUT)
		flags |= EV_WRITE;
	if (what & WARREN_HUP)
		flags |= EV_CLOSED;
	if (flags == EV_PERSIST)
		return;
	if (event_assign(&io->event, base, io->fd, flags, io_fire, io) ||
	    event_add(&io->event, NULL))
		warren_log(io->ctx, LOG_ERR, "cannot watch descriptor %d: it is no socket, pipe or "
			   "device that can be waited for", io->fd);
	else
		io->want = what;
}
