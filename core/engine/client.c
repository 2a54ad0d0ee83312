/*
 * One client of the control socket: its bytes in, its bytes out.
 *
 * While a command runs the client is not read, only watched for its end, so that requests cannot
 * pile up; but for the answer to a question of the command's (reply_make.c). What it does not take
 * is queued; a queue that grows too long, or that nobody takes
 * anything from, dooms the client. A doomed client is dropped from its timer and never from inside
 * a command that is just writing to it.
 */
#include "engine/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <warren/plugin.h>

#include "base/util.h"
#include "engine/ipc.h"
#include "engine/request.h"

/* A client that takes as fast as this writes does not keep the lane. */
enum { FLUSH_MOST = 1 << 20 };

static void doom(struct wcore_client *client)
{
	if (client->doomed)
		return;
	client->doomed = true;
	warren_timer_set(client->timer, 0);
}

/*
 * ---- Out ----
 */

static size_t waiting(const struct wcore_client *client)
{
	return client->out.len - client->out_at;
}

static void forget_output(struct wcore_client *client)
{
	wcore_ipc_queue(client->ipc, -(ssize_t)waiting(client));
	str_free(&client->out);
	client->out_at = 0;
}

bool wcore_client_has_line(const struct wcore_client *client)
{
	return client->in.s && memchr(client->in.s, '\n', client->in.len);
}

bool wcore_client_take_line(struct wcore_client *client, struct str *line)
{
	const char *nl = client->in.s ? memchr(client->in.s, '\n', client->in.len) : NULL;
	size_t len, rest;

	if (!nl)
		return false;
	len = (size_t)(nl - client->in.s);
	str_addn(line, client->in.s, len);
	rest = client->in.len - len - 1;
	memmove(client->in.s, nl + 1, rest);
	str_cut(&client->in, rest);
	return true;
}

void wcore_client_idle(struct wcore_client *client)
{
	client->idle_until = warren_now() + WCORE_IPC_IDLE * UINT64_C(1000000);
	warren_timer_set(client->timer, wcore_client_has_line(client) ? 0 :
			 WCORE_IPC_IDLE * UINT64_C(1000000));
}

/* A request may come, or the answer to what the command that runs has asked. */
static bool listens(const struct wcore_client *client)
{
	return !client->closing && (!client->reply || wcore_reply_asks(client->reply));
}

static void want(struct wcore_client *client)
{
	uint32_t what = client->closing ? 0 : WARREN_HUP;

	if (listens(client) && !wcore_client_has_line(client))
		what |= WARREN_IN;
	if (waiting(client) > 0)
		what |= WARREN_OUT;
	warren_io_want(client->io, what);
}

void wcore_client_flush(struct wcore_client *client)
{
	size_t most = FLUSH_MOST;
	bool progress = false;

	while (waiting(client) > 0 && most > 0) {
		size_t len = waiting(client) < most ? waiting(client) : most;
		ssize_t n = send(client->fd, client->out.s + client->out_at, len,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno != EAGAIN)
			doom(client);
		if (n <= 0)
			break;
		client->out_at += (size_t)n;
		most -= (size_t)n;
		wcore_ipc_queue(client->ipc, -n);
		progress = true;
	}
	if (waiting(client) == 0) {
		forget_output(client);
		warren_timer_stop(client->stall);
		if (client->closing)
			doom(client);
	} else if (progress) {
		warren_timer_set(client->stall, WCORE_IPC_STALL * UINT64_C(1000000));
	}
	want(client);
}

static void queue(struct wcore_client *client, const char *line, size_t len)
{
	bool first = waiting(client) == 0;

	if (client->doomed)
		return;
	if (waiting(client) + len + 1 > WCORE_IPC_QUEUE ||
	    !wcore_ipc_queue(client->ipc, (ssize_t)len + 1)) {
		doom(client);
		return;
	}
	str_addn(&client->out, line, len);
	str_addc(&client->out, '\n');
	if (client->out.failed)
		doom(client);
	if (first)
		warren_timer_set(client->stall, WCORE_IPC_STALL * UINT64_C(1000000));
	if (!client->running)
		wcore_client_flush(client);
}

static void sink_line(void *arg, const char *json, size_t len)
{
	queue(arg, json, len);
}

static void sink_end(void *arg, struct warren_reply *reply, int exit)
{
	struct wcore_client *client = arg;

	(void)reply;
	(void)exit;
	client->reply = NULL;
	if (!client->running && !client->doomed) {
		wcore_client_idle(client);
		want(client);
	}
}

const struct wcore_reply_sink wcore_client_sink = { sink_line, sink_end, sink_line };

int wcore_client_fd(const struct warren_reply *reply)
{
	const struct wcore_client *client = wcore_reply_sink_arg(reply, &wcore_client_sink);

	return client ? client->fd : -1;
}

void wcore_client_refuse(struct wcore_client *client, const char *error)
{
	AUTO(str_free) struct str line = STR_INIT;

	str_add(&line, "{\"end\":{\"exit\":2,\"error\":");
	str_add_json(&line, error, strlen(error));
	str_add(&line, "}}");
	client->closing = true;
	queue(client, str_text(&line), line.len);
}

/*
 * ---- In ----
 */

static void keep_fds(struct wcore_client *client, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (client->n_fds < WCORE_REPLY_FDS) {
				client->fds[client->n_fds++] = fd;
			} else {
				auto_close(&fd);
				doom(client);
			}
		}
	}
	if (msg->msg_flags & MSG_CTRUNC)
		doom(client);
}

/* One read. False: the client has hung up. */
static bool read_some(struct wcore_client *client)
{
	union {
		char bytes[CMSG_SPACE(WCORE_REPLY_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	char buf[8192];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	ssize_t n = recvmsg(client->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n == -1)
		return errno == EAGAIN || errno == EINTR;
	keep_fds(client, &msg);
	if (n == 0)
		return false;
	str_addn(&client->in, buf, (size_t)n);
	if (client->in.failed)
		doom(client);
	return true;
}

/* The client writes no more. An answer that is whole it may still want to read. */
static void end_of_input(struct wcore_client *client)
{
	if (client->reply || waiting(client) == 0) {
		wcore_ipc_drop(client);
		return;
	}
	client->closing = true;
	wcore_client_flush(client);
}

static void answer(struct wcore_client *client)
{
	AUTO(str_free) struct str line = STR_INIT;
	bool whole = wcore_client_take_line(client, &line);
	int fd = -1;

	if (whole && client->n_fds > 0)
		fd = client->fds[--client->n_fds];
	if (whole ? client->n_fds > 0 || line.failed : client->in.len > WCORE_MADE_LINE) {
		auto_close(&fd);
		doom(client);
	} else if (whole && wcore_reply_answered(client->reply, str_text(&line), line.len, fd)) {
		doom(client);
	}
	if (!client->doomed)
		wcore_client_flush(client);
}

static void on_io(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct wcore_client *client = arg;
	bool reading = (what & WARREN_IN) && listens(client);

	(void)ctx;
	(void)fd;
	if (reading ? !read_some(client) : (what & WARREN_HUP) != 0) {
		end_of_input(client);
		return;
	}
	if (reading && client->reply) {
		answer(client);
	} else if (reading) {
		wcore_ipc_ready(client);
		want(client);
	}
	if (what & WARREN_OUT)
		wcore_client_flush(client);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct wcore_client *client = arg;

	(void)ctx;
	if (client->doomed)
		wcore_ipc_drop(client);
	else
		wcore_ipc_timer(client);
}

static void on_stall(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	wcore_ipc_drop(arg);
}

/*
 * ---- Life ----
 */

struct wcore_client *wcore_client_new_take(struct wcore_ipc *ipc, struct warren_ctx *ctx, int fd,
					   uid_t uid)
{
	struct wcore_client *client = calloc(1, sizeof(*client));

	if (!client) {
		auto_close(&fd);
		return NULL;
	}
	client->ipc = ipc;
	client->fd = fd;
	client->uid = uid;
	client->io = warren_io_new_take(ctx, fd, on_io, client);
	client->timer = warren_timer_new(ctx, on_timer, client);
	client->stall = warren_timer_new(ctx, on_stall, client);
	if (!client->io || !client->timer || !client->stall) {
		wcore_client_free(client);
		return NULL;
	}
	wcore_client_idle(client);
	want(client);
	return client;
}

void wcore_client_free(struct wcore_client *client)
{
	if (client->reply)
		wcore_reply_hang_up(client->reply);
	for (unsigned i = 0; i < client->n_fds; i++)
		auto_close(&client->fds[i]);
	forget_output(client);
	str_free(&client->in);
	warren_release(client->io);
	warren_release(client->timer);
	warren_release(client->stall);
	free(client);
}
