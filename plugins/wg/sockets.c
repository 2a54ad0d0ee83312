/*
 * Opening UDP sockets through the monitor: one per address family, with mark and port, kept by the
 * monitor over a crash of this process.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include <warren/priv.h>

#include "device.h"
#include "udpio.h"

static const char *const family_name[] = { "IPv4", "IPv6" };

static int explain(const struct wg_options *options, int which, int error, const char *sentence,
		   struct warren_err *err)
{
	if (error == -EADDRINUSE)
		warren_fail(err, NULL,
			    "UDP port %u (%s) is taken by another program; set wg.port to"
			    " a free one, or to 0 for any",
			    options->port, family_name[which]);
	else if (error == -EADDRNOTAVAIL)
		warren_fail(err, NULL, "this host does not have the %s address of wg.listen",
			    family_name[which]);
	else
		warren_fail(err, NULL, "cannot open the UDP socket for %s, port %u: %s",
			    family_name[which], options->port,
			    sentence ? sentence : strerror(-error));
	return error;
}

static int adopt(struct wg_sockets *sockets, int which, const struct warren_priv_answer *answer,
		 struct warren_err *err)
{
	socklen_t len = sizeof(int);
	int r;

	if (answer->count != 1) {
		for (uint32_t i = 0; i < answer->count; i++)
			close(answer->fds[i]);
		return warren_fail(err, NULL, "the monitor answered SOCKET with %u descriptors",
				   answer->count);
	}
	sockets->fd[which] = answer->fds[0];
	sockets->port[which] = (uint16_t)answer->value;
	sockets->handle[which] = answer->handle;
	r = wg_udp_prepare(sockets->fd[which], which ? 6 : 4);
	if (!r && sockets->device->dont_fragment)
		r = wg_udp_dont_fragment(sockets->fd[which], which ? 6 : 4, true);
	if (r < 0) {
		warren_fail(err, NULL, "cannot prepare the UDP socket for %s: %s",
			    family_name[which], strerror(-r));
		return r;
	}
	/* The kernel tells twice of what was asked for (socket(7)). */
	if (getsockopt(sockets->fd[which], SOL_SOCKET, SO_RCVBUF, &sockets->receive_buffer[which],
		       &len) == -1)
		sockets->receive_buffer[which] = 0;
	sockets->receive_buffer[which] /= 2;
	return 0;
}

static int open_one(struct wg_sockets *sockets, const struct wg_options *options, int which,
		    struct warren_err *err)
{
	struct wg_device *dev = sockets->device;
	struct warren_priv_socket request = {
		.key = "wg.port",
		.family = which ? 6 : 4,
		.type = WARREN_SOCK_UDP,
		.flags = WARREN_SOCK_KEEP | WARREN_SOCK_OPEN | (which ? WARREN_SOCK_V6ONLY : 0),
		.bind = { .addr = options->listen[which], .port = options->port },
		.mark = options->mark,
		.recv_buffer = options->socket_buffer,
		.send_buffer = options->socket_buffer,
	};
	struct warren_priv_answer answer = { .size = sizeof(answer) };
	bool any = !options->listen[which].family;
	int r;

	request.bind.addr.family = which ? 6 : 4;
	r = warren_priv_wait(dev->ctx, WARREN_OP_SOCKET, &request, sizeof(request), &answer, NULL);
	/* A host without IPv6 is one with IPv4, and the reverse. */
	if ((r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL) && any) {
		warren_log(dev->ctx, LOG_NOTICE,
			   "this host has no %s; peers are reached by %s only", family_name[which],
			   family_name[!which]);
		return 0;
	}
	if (r < 0)
		return explain(options, which, r, answer.error, err);
	return adopt(sockets, which, &answer, err);
}

struct wg_sockets *wg_sockets_open(struct wg_device *dev, const struct wg_options *options,
				   struct warren_err *err)
{
	struct wg_sockets *sockets = calloc(1, sizeof(*sockets));

	if (!sockets) {
		warren_fail(err, NULL, "out of memory");
		return NULL;
	}
	sockets->device = dev;
	sockets->fd[0] = sockets->fd[1] = -1;
	for (int which = 0; which < 2; which++) {
		if (options->listen_family[which] && open_one(sockets, options, which, err) < 0) {
			wg_sockets_close(sockets);
			return NULL;
		}
	}
	if (sockets->fd[0] == -1 && sockets->fd[1] == -1) {
		warren_fail(err, NULL, "this host has neither IPv4 nor IPv6 for wg.listen");
		wg_sockets_close(sockets);
		return NULL;
	}
	return sockets;
}

static void given_back(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	(void)arg;
	if (answer->result < 0)
		warren_log(ctx, LOG_WARNING, "the monitor did not give back what we had: %s",
			   answer->error ? answer->error : strerror(-answer->result));
}

void wg_give_back(struct wg_device *dev, uint32_t op, uint32_t handle)
{
	struct warren_priv_close request = { .op = op, .handle = handle };

	if (handle)
		warren_priv(dev->ctx, WARREN_OP_CLOSE, &request, sizeof(request), given_back, NULL);
}

void wg_sockets_close(struct wg_sockets *sockets)
{
	if (!sockets)
		return;
	for (int which = 0; which < 2; which++) {
		if (sockets->fd[which] == -1)
			continue;
		close(sockets->fd[which]);
		wg_give_back(sockets->device, WARREN_OP_SOCKET, sockets->handle[which]);
	}
	free(sockets);
}
