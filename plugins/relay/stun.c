/*
 * STUN: tells a client by which address its packets come (path-protocols.md 5.1). Clients of other
 * software, to whom a stock server keeps silent, get an answer too; those are limited, since who
 * asks in another's name may ask with fewer bytes than the answer has.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include <warren/priv.h>
#include <warren/stun.h>

#include "base/addr.h"
#include "relay.h"

enum {
	ONCE = 64,			/* per turn of the loop: others want theirs too */
	DATAGRAM = 1500,
	OTHERS_RATE = 200, OTHERS_BURST = 400,	/* answers in a second, for all of them */
};

static void answer(struct relay *relay, int fd, const uint8_t *data, size_t len,
		   const struct sockaddr_storage *from, socklen_t from_len)
{
	uint8_t out[WARREN_STUN_ANSWER];
	struct warren_stun_asked asked;
	struct warren_addrport seen;
	enum relay_stun result = RELAY_STUN_FAILED;
	size_t n;

	if (warren_stun_request_parse(data, len, &asked) ||
	    addrport_from_sockaddr((const struct sockaddr *)from, from_len, &seen)) {
		warren_stat_add(relay->stats.stun[RELAY_STUN_OTHER], 1);
		return;
	}
	if (!asked.tailscale &&
	    !relay_bucket_take(&relay->stun_others, OTHERS_RATE, OTHERS_BURST, 1)) {
		warren_stat_add(relay->stats.stun[RELAY_STUN_LIMITED], 1);
		return;
	}
	relay_reach_saw(relay->reach, asked.txid);
	n = asked.n_unknown ? warren_stun_refusal(&asked, out) :
			      warren_stun_answer(asked.txid, &seen, out);
	if (n > 0 && sendto(fd, out, n, MSG_DONTWAIT | MSG_NOSIGNAL,
			    (const struct sockaddr *)from, from_len) == (ssize_t)n)
		result = asked.tailscale ? RELAY_STUN_ANSWERED : RELAY_STUN_FOREIGN;
	warren_stat_add(relay->stats.stun[result], 1);
}

static void on_readable(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct sockaddr_storage from;
	uint8_t data[DATAGRAM];

	(void)ctx;
	(void)what;
	for (int i = 0; i < ONCE; i++) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT,
				     (struct sockaddr *)&from, &len);

		if (n >= 0)
			answer(arg, fd, data, (size_t)n, &from, len);
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;		/* other errors are a client's: ICMP came back */
	}
}

int relay_stun_take(struct relay *relay, int fd)
{
	struct warren_io **at = relay->stun[0] ? &relay->stun[1] : &relay->stun[0];

	*at = warren_io_new_take(relay->ctx, fd, on_readable, relay);
	if (!*at)
		return -ENOMEM;
	warren_io_want(*at, WARREN_IN);
	return 0;
}

static int open_one(struct relay *relay, struct warren_addr at, uint16_t port,
		    struct warren_err *err)
{
	const struct warren_priv_socket request = {
		.key = "relay.stun-port", .family = at.family, .type = WARREN_SOCK_UDP,
		.flags = WARREN_SOCK_OPEN | (at.family == 6 ? WARREN_SOCK_V6ONLY : 0),
		.bind = { .addr = at, .port = port },
	};
	struct warren_priv_answer got = { .size = sizeof(got) };
	int result = warren_priv_wait(relay->ctx, WARREN_OP_SOCKET, &request, sizeof(request),
				      &got, NULL);

	if (result == -EADDRINUSE)
		return warren_fail_key(err, result, relay->conf, "stun-port", "UDP port %u is "
				       "taken by another program: stop it, or set another port, "
				       "or 0 for no STUN", port);
	if (result < 0 && result != -EAFNOSUPPORT && result != -EADDRNOTAVAIL)
		return warren_fail_key(err, result, relay->conf, "stun-port", "cannot open UDP "
				       "port %u: %s", port,
				       got.error ? got.error : strerror(-result));
	if (result < 0)
		return result;
	relay->stun_open[at.family == 6] = got.handle;
	return relay_stun_take(relay, got.fds[0]);
}

int relay_stun_open(struct relay *relay, struct warren_err *err)
{
	uint16_t port = (uint16_t)warren_conf_int(relay->conf, "stun-port");
	struct warren_addr at = warren_conf_addr(relay->conf, "address");
	int result = 0, any = 0;

	relay->stun_port = port;
	if (!port)
		return 0;
	for (uint8_t family = 4; family <= 6; family += 2) {
		struct warren_addr bind = at;

		if (at.family && at.family != family)
			continue;
		bind.family = family;
		result = open_one(relay, bind, port, err);
		if (result == 0)
			any++;
		else if (result != -EAFNOSUPPORT && result != -EADDRNOTAVAIL)
			return result;
	}
	if (any)
		return 0;
	return warren_fail_key(err, result, relay->conf, "stun-port", "this host has not the "
			       "address that STUN is to be served at");
}

static void closed(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	(void)arg;
	if (answer->result < 0)
		warren_log(ctx, LOG_WARNING, "the port of STUN stays open in the firewall: %s",
			   answer->error ? answer->error : strerror(-answer->result));
}

void relay_stun_close(struct relay *relay)
{
	for (int i = 0; i < 2; i++) {
		const struct warren_priv_close item = { WARREN_OP_SOCKET, relay->stun_open[i] };

		if (item.handle != 0)
			(void)warren_priv(relay->ctx, WARREN_OP_CLOSE, &item, sizeof(item), closed,
					  NULL);
		relay->stun_open[i] = 0;
		warren_release(relay->stun[i]);
		relay->stun[i] = NULL;
	}
	relay->stun_port = 0;
}
