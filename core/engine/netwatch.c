/*
 * Tells plugins when the host's network changes: groups of rtnetlink for links and addresses, and
 * poll(2) on the host name in /proc. Who asked looks again by himself; events only say where.
 *
 * The file in /proc is always readable, and says by an exceptional condition that the name has
 * changed. A loop that knows only "readable" cannot wait for that, so an epoll set stands between.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <warren/netstate.h>

#include "base/util.h"
#include "engine/netstate.h"

enum {
	DATAGRAMS = 64,			/* of one callback: then others get their turn */
	DATAGRAM = 8192,		/* one message each; a link's may have 4 KiB */
};

static const uint32_t netlink_kinds = WARREN_NET_LINKS | WARREN_NET_ADDRESSES | WARREN_NET_ROUTES;

struct watch {
	uint32_t what;
	warren_net_watch_fn *fn;
	void *arg;
};

/* What the datagrams that wait say; the kernel has lost some: everything. */
static uint32_t drain(int fd)
{
	uint8_t data[DATAGRAM] __attribute__((aligned(8)));
	struct sockaddr_nl from;
	uint32_t news = 0;

	for (int i = 0; i < DATAGRAMS; i++) {
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, data, sizeof(data), MSG_TRUNC, (struct sockaddr *)&from,
				     &size);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno == ENOBUFS)
			return netlink_kinds;
		if (n == -1)
			break;
		if (size == sizeof(from) && from.nl_pid == 0)
			news |= (size_t)n > sizeof(data) ?
				netlink_kinds :
				wcore_net_news(data, (size_t)n);
	}
	return news;
}

static void tell(struct warren_ctx *ctx, const struct watch *watch, uint32_t news)
{
	if (news & watch->what)
		watch->fn(ctx, news & watch->what, watch->arg);
}

static void netlink_ready(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	(void)what;
	tell(ctx, arg, drain(fd));
}

static void name_ready(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct epoll_event event;

	(void)what;
	/* Takes the event away. It may be gone already: the loop's own look was one at the file. */
	epoll_wait(fd, &event, 1, 0);
	tell(ctx, arg, WARREN_NET_HOSTNAME);
}

static int open_netlink(uint32_t what)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (what & WARREN_NET_LINKS)
		addr.nl_groups |= RTMGRP_LINK;
	if (what & WARREN_NET_ADDRESSES)
		addr.nl_groups |= RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
	if (what & WARREN_NET_ROUTES)
		addr.nl_groups |= RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
	if (fd != -1 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == -1) {
		int saved = errno;

		close(fd);
		errno = saved;
		fd = -1;
	}
	return fd == -1 ? -errno : fd;
}

/* An epoll set over the open file, which lives as long as the context. */
static int open_name(struct warren_ctx *ctx)
{
	struct epoll_event event = { .events = EPOLLPRI | EPOLLET };
	int file = open("/proc/sys/kernel/hostname", O_RDONLY | O_CLOEXEC), set;
	struct warren_io *keeper;

	if (file == -1)
		return -errno;
	keeper = warren_io_new_take(ctx, file, NULL, NULL);
	if (!keeper)
		return -ENOMEM;
	set = epoll_create1(EPOLL_CLOEXEC);
	if (set == -1)
		return -errno;
	if (epoll_ctl(set, EPOLL_CTL_ADD, file, &event) == -1) {
		int result = -errno;

		close(set);
		return result;
	}
	return set;
}

static int watch_fd(struct warren_ctx *ctx, int fd, warren_io_fn *fn, struct watch *watch)
{
	struct warren_io *io;

	if (fd < 0)
		return fd;
	io = warren_io_new_take(ctx, fd, fn, watch);
	if (!io)
		return -ENOMEM;
	warren_io_want(io, WARREN_IN);
	return 0;
}

int warren_net_watch(struct warren_ctx *ctx, uint32_t what, warren_net_watch_fn *fn, void *arg,
		     struct warren_err *err)
{
	struct watch *watch = warren_zalloc(ctx, sizeof(*watch));
	int result = watch ? 0 : -ENOMEM;

	if (watch)
		*watch = (struct watch){ what, fn, arg };
	if (!result && what & netlink_kinds)
		result = watch_fd(ctx, open_netlink(what), netlink_ready, watch);
	if (!result && what & WARREN_NET_HOSTNAME)
		result = watch_fd(ctx, open_name(ctx), name_ready, watch);
	if (result)
		warren_fail(err, NULL, "cannot learn of changes of the host's network: %s",
			    strerror(-result));
	return result;
}
