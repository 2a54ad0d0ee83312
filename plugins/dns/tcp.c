/*
 * One question to one resolver by TCP (RFC 7766): a connection, two bytes of length, the message,
 * and the same back.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <warren/net.h>

#include "base/addr.h"
#include "dns.h"

static const uint64_t timeout_usec = 5000000;

struct dns_tcp {
	struct dns_try *try;		/* NULL: given up meanwhile */
	struct warren_stream *stream;
	bool dialing;			/* svcnet or the monitor will call */
};

static void fail(struct dns_tcp *tcp)
{
	struct dns_try *try = tcp->try;

	dns_way_failed(try->way);
	dns_try_fail(try);
}

static void on_readable(struct warren_stream *stream, void *arg)
{
	struct dns_tcp *tcp = arg;
	struct dns *dns = tcp->try->way->dns;
	size_t len, want;
	const uint8_t *data = warren_stream_input(stream, &len);

	if (len < 2)
		return;
	want = (size_t)data[0] << 8 | data[1];
	if (len - 2 < want)
		return;
	memcpy(dns->in, data + 2, want);
	if (!dns_try_take(tcp->try, dns->in, want))
		fail(tcp);
}

static void on_ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)stream;
	(void)result;
	(void)why;
	fail(arg);
}

static void begin(struct dns_tcp *tcp, struct warren_stream *stream)
{
	static const struct warren_stream_events events = {
		.size = sizeof(events), .readable = on_readable, .ended = on_ended,
	};
	uint8_t msg[2 + DNS_QUERY_MAX];
	struct dns_try *try = tcp->try;
	size_t len = dns_query_write(try->q, try->id, try->edns && !try->way->plain, msg + 2);

	tcp->stream = stream;
	if (!stream) {
		fail(tcp);
		return;
	}
	msg[0] = (uint8_t)(len >> 8);
	msg[1] = (uint8_t)len;
	warren_stream_limits(stream, 2 + DNS_MSG_MAX, 0, DNS_MSG_MAX);
	warren_stream_timeouts(stream, timeout_usec, timeout_usec);
	warren_stream_set(stream, &events, tcp);
	if (warren_stream_write(stream, msg, 2 + len))
		fail(tcp);
}

static void on_dialed(struct warren_ctx *ctx, int result, int fd, const char *why, void *arg)
{
	struct dns_tcp *tcp = arg;

	(void)why;
	tcp->dialing = false;
	if (tcp->try) {
		begin(tcp, result ? NULL : warren_stream_new_take(ctx, fd));
		return;
	}
	if (result == 0)
		close(fd);
	warren_release(tcp);
}

/* It is connected while the question waits in it; what fails ends the stream. */
static void on_given(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct dns_tcp *tcp = arg;
	int fd = answer->result == 0 && answer->count == 1 ? answer->fds[0] : -1;
	struct sockaddr_storage ss;
	socklen_t len;

	if (fd != -1 && tcp->try) {
		len = addrport_to_sockaddr(&tcp->try->way->to.at, &ss);
		if (connect(fd, (struct sockaddr *)&ss, len) == -1 && errno != EINPROGRESS) {
			close(fd);
			fd = -1;
		}
	}
	on_dialed(ctx, fd == -1 ? -EIO : 0, fd, NULL, tcp);
}

static int dial(struct dns_tcp *tcp, const struct dns_way *way)
{
	const struct warren_priv_socket request = {
		.family = way->to.at.addr.family, .type = WARREN_SOCK_TCP,
		.flags = way->to.led ? 0 : WARREN_SOCK_BYPASS,
	};

	return warren_priv(way->dns->ctx, WARREN_OP_SOCKET, &request, sizeof(request), on_given,
			   tcp);
}

int dns_tcp_start(struct dns_try *try)
{
	const struct dns_way *way = try->way;
	const struct warren_svc_dial through = {
		.size = sizeof(through), .protocol = WARREN_SVC_TCP, .to = way->to.at,
		.timeout = timeout_usec,
	};
	struct dns_tcp *tcp = warren_zalloc(way->dns->ctx, sizeof(*tcp));
	int result;

	if (!tcp)
		return -ENOMEM;
	tcp->try = try;
	if (way->to.tailnet)
		result = way->dns->svcnet->dial(way->dns->svcnet_self, way->dns->ctx, &through,
						on_dialed, tcp);
	else
		result = dial(tcp, way);
	if (result) {
		warren_release(tcp);
		return result;
	}
	tcp->dialing = true;
	try->tcp = tcp;
	return 0;
}

void dns_tcp_end(struct dns_tcp *tcp)
{
	if (!tcp)
		return;
	warren_stream_close(tcp->stream);
	tcp->try = NULL;
	if (!tcp->dialing)
		warren_release(tcp);
}
