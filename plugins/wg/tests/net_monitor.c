/*
 * The stand-in for the monitor: answers the operations that `wg` uses with real descriptors.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <warren/priv.h>

#include "net_impl.h"
#include "priv/channel.h"

static int open_udp(const struct warren_priv_socket *request, int64_t *port)
{
	int family = request->family == 6 ? AF_INET6 : AF_INET;
	int one = 1, buffer = 4 << 20;
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons(request->bind.port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(request->bind.port) };
	socklen_t len = family == AF_INET6 ? sizeof(v6) : sizeof(v4);
	struct sockaddr *name = family == AF_INET6 ? (struct sockaddr *)&v6
						   : (struct sockaddr *)&v4;

	if (fd == -1)
		return -errno;
	memcpy(&v6.sin6_addr, request->bind.addr.bytes, 16);
	memcpy(&v4.sin_addr, request->bind.addr.bytes, 4);
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, name, len) == -1 || getsockname(fd, name, &len) == -1) {
		int r = -errno;

		close(fd);
		return r;
	}
	/* As the monitor does. Without, loopback loses packets while a worker has no turn. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
	*port = ntohs(family == AF_INET6 ? v6.sin6_port : v4.sin_port);
	return fd;
}

static int open_tun(struct net_node *node)
{
	int pair[2], size = 4 << 20;

	REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0);
	for (int i = 0; i < 2; i++) {
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
		setsockopt(pair[i], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	}
	node->tun = pair[0];
	return pair[1];
}

static void answer(struct net_node *node, const struct wpriv_msg *msg)
{
	const struct wpriv_request *request = (const void *)msg->data;
	const uint8_t *items = msg->data + sizeof(*request);
	struct wpriv_answer reply = { 0 };
	struct wpriv_head head = { .type = WPRIV_ANSWER, .seq = msg->head.seq };
	struct wpriv_part part = { &reply, sizeof(reply) };
	struct warren_priv_socket socket_request;
	int fd = -1, r;

	switch (request->op) {
	case WARREN_OP_TUN:
		fd = open_tun(node);
		reply.value = 7;
		reply.handle = 1;
		break;
	case WARREN_OP_SOCKET:
		memcpy(&socket_request, items, sizeof(socket_request));
		fd = open_udp(&socket_request, &reply.value);
		reply.handle = 2;
		if (fd < 0)
			head.result = fd;
		break;
	default:
		break;
	}
	r = wpriv_send(node->impl->monitor_fd, &head, &part, 1, &fd, fd >= 0);
	/* It may have gone after its last request. */
	REQUIRE(r == 0 || r == -EPIPE || r == -ECONNRESET);
	if (fd >= 0)
		close(fd);
}

void *net_monitor_run(void *arg)
{
	struct net_node *node = arg;
	_Alignas(16) static _Thread_local uint8_t buf[WPRIV_MSG_MAX];
	struct pollfd pfd = { node->impl->monitor_fd, POLLIN, 0 };
	struct wpriv_msg msg;

	for (;;) {
		int r;

		poll(&pfd, 1, -1);
		r = wpriv_recv(node->impl->monitor_fd, buf, &msg);
		if (r == -EAGAIN)
			continue;
		if (r <= 0)
			return NULL;
		if (msg.head.type == WPRIV_REQUEST)
			answer(node, &msg);
		wpriv_msg_close(&msg);
	}
}

void net_monitor_hello(struct net_node *node)
{
	struct wpriv_hello hello = {
		.version = WPRIV_VERSION,
		.generation = 1,
		.log_level = UINT32_MAX,
	};
	struct wpriv_head head = { .type = WPRIV_HELLO };
	struct wpriv_part part = { &hello, sizeof(hello) };
	int control = open("/dev/null", O_RDWR | O_CLOEXEC);

	snprintf(hello.state, sizeof(hello.state), "%s", node->state);
	snprintf(hello.config, sizeof(hello.config), "test.yaml");
	REQUIRE(wpriv_send(node->impl->monitor_fd, &head, &part, 1, &control, 1) == 0);
	close(control);
}
