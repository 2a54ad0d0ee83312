/*
 * TCP to a backend: the connection is made, the PROXY protocol says who it is, and from then on the
 * two are a pair. What a peer sends before that waits in its stream.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/util.h"
#include "serve.h"

struct forward {
	struct list link;
	struct serve *s;
	struct srv_from from;
	struct warren_stream *stream;	/* NULL: gone, while the monitor is asked */
	struct warren_dial *dial;
	bool opening;
	uint32_t proxy_protocol;
	uint16_t to_port;
	char name[SRV_HOST];
};

/*
 * ---- PROXY protocol (haproxy's proxy-protocol.txt, 2.1 and 2.2) ----
 */

static size_t head_v1(const struct warren_addrport *from, const struct warren_addrport *to,
		      uint8_t out[SRV_PROXY_MAX])
{
	char a[ADDR_TEXT], b[ADDR_TEXT];
	int n = snprintf((char *)out, SRV_PROXY_MAX, "PROXY TCP%d %s %s %u %u\r\n",
			 from->addr.family, addr_format(&from->addr, a), addr_format(&to->addr, b),
			 from->port, to->port);

	return n > 0 && n < SRV_PROXY_MAX ? (size_t)n : 0;
}

static uint8_t *put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
	return at + 2;
}

static size_t head_v2(const struct warren_addrport *from, const struct warren_addrport *to,
		      uint8_t out[SRV_PROXY_MAX])
{
	static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";
	size_t size = addr_size(&from->addr);
	uint8_t *at = out;

	memcpy(at, signature, sizeof(signature));
	at += sizeof(signature);
	*at++ = 0x21;			/* version 2, PROXY */
	*at++ = from->addr.family == 4 ? 0x11 : 0x21;	/* TCP over IPv4, over IPv6 */
	at = put16(at, (uint16_t)(2 * size + 4));
	memcpy(at, from->addr.bytes, size);
	memcpy(at + size, to->addr.bytes, size);
	at = put16(at + 2 * size, from->port);
	at = put16(at, to->port);
	return (size_t)(at - out);
}

size_t srv_proxy_head(uint32_t version, const struct warren_addrport *from,
		      const struct warren_addrport *to, uint8_t out[SRV_PROXY_MAX])
{
	if (from->addr.family != to->addr.family)
		return 0;
	return version == 1 ? head_v1(from, to, out) : head_v2(from, to, out);
}

/*
 * ---- The connection ----
 */

bool srv_socket_ok(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	/* Whoever speaks to that socket speaks as root, who connected it, and may do everything. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == -1)
		return false;
	return peer.pid != getpid() && peer.pid != getppid();
}

static void forward_free(struct forward *f)
{
	list_del(&f->link);
	srv_count(f->s, -1);
	warren_dial_cancel(f->dial);
	warren_stream_close(f->stream);
	warren_release(f);
}

/* Not while an answer that names it can still come. */
static void forward_over(struct forward *f)
{
	warren_stream_close(f->stream);
	f->stream = NULL;
	if (!f->opening)
		forward_free(f);
}

static void failed(struct forward *f, const char *why)
{
	warren_stat_add(f->s->failed, 1);
	warren_log_limit(f->s->ctx, &f->s->log_backend, LOG_WARNING,
			 "port %u is served, but its backend %s is not reached: %s", f->from.port,
			 f->name, why);
	forward_over(f);
}

static void joined(struct forward *f, struct warren_stream *up)
{
	struct warren_addrport to = { .addr = f->from.local.addr, .port = f->to_port };
	struct warren_stream *down = f->stream;
	struct serve *s = f->s;
	struct srv_from from = f->from;
	uint8_t head[SRV_PROXY_MAX];
	size_t len = f->proxy_protocol ? srv_proxy_head(f->proxy_protocol, &from.remote, &to,
							head) : 0;

	if ((f->proxy_protocol && len == 0) || (len && warren_stream_write(up, head, len))) {
		warren_stream_close(up);
		failed(f, "the peer cannot be named to it");
		return;
	}
	f->stream = NULL;
	forward_free(f);
	srv_pair_take(s, &from, down, up);
}

static void dialled(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		    void *arg)
{
	struct forward *f = arg;

	(void)ctx;
	f->dial = NULL;
	if (stream)
		joined(f, stream);
	else
		failed(f, why);
}

static void opened(struct warren_ctx *ctx, int result, int fd, const char *why, void *arg)
{
	struct forward *f = arg;
	struct warren_stream *up = NULL;

	f->opening = false;
	if (!result && !srv_socket_ok(fd)) {
		close(fd);
		result = -EPERM;
		why = "that is the daemon's own socket";
	} else if (!result) {
		up = warren_stream_new_take(ctx, fd);
		why = "no memory";
	}
	if (!f->stream) {
		warren_stream_close(up);
		forward_free(f);
	} else if (!up) {
		failed(f, why);
	} else {
		joined(f, up);
	}
}

static void down_ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)stream;
	(void)why;
	/* An end in order is told again to the pair. */
	if (result)
		forward_over(arg);
}

/* What the peer sends until there is a backend waits where it is. */
static const struct warren_stream_events waiting = {
	.size = sizeof(waiting), .ended = down_ended,
};

static int go(struct forward *f, const struct srv_mount *mount)
{
	const struct warren_dial_options options = {
		.size = sizeof(options), .flags = WARREN_DIAL_NO_PROXY, .name = mount->target.host,
		.port = mount->target.port, .timeout = SRV_DIAL_USEC,
	};

	if (mount->what == SRV_UNIX) {
		int result = warren_conf_open(f->s->ctx, mount->conf, "unix", opened, f);

		f->opening = result == 0;
		return result;
	}
	f->to_port = mount->target.port;
	f->dial = warren_dial(f->s->ctx, &options, dialled, f);
	return f->dial ? 0 : -ENOMEM;
}

void srv_forward(struct serve *s, struct warren_stream *stream, const struct srv_from *from,
		 const struct srv_mount *mount, uint32_t proxy_protocol)
{
	struct forward *f = warren_zalloc(s->ctx, sizeof(*f));
	int result;

	if (!f) {
		warren_stream_close(stream);
		return;
	}
	f->s = s;
	f->from = *from;
	f->stream = stream;
	f->proxy_protocol = proxy_protocol;
	str_copy(f->name, sizeof(f->name), mount->text);
	list_add_tail(&s->forwards, &f->link);
	srv_count(s, 1);
	warren_stream_set(stream, &waiting, f);
	result = go(f, mount);
	if (result)
		failed(f, strerror(-result));
}

uint32_t srv_forwards_of(const struct serve *s, int64_t node)
{
	const struct forward *f;
	uint32_t n = 0;

	list_for_each(f, &s->forwards, link)
		n += f->from.node == node;
	return n;
}

void srv_forward_end(struct serve *s)
{
	struct forward *f, *next;

	list_for_each_safe(f, next, &s->forwards, link)
		forward_over(f);
}
