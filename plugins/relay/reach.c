/*
 * Does what clients do: looks our name up and asks STUN of each of its addresses, some seconds
 * after the start or a change, then every six hours. That it is this box that answers is known
 * from the request, which has come here. What is wrong is said once, and stays to be seen in
 * `warren doctor`.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include <warren/priv.h>

#include "base/addr.h"
#include "base/str.h"
#include "relay.h"

static const uint64_t second = 1000000;
enum { FIRST = 1, AGAIN = 6 * 3600, ADDRS = 8, TRIES = 3 };

struct relay_reach {
	struct relay *relay;
	struct warren_timer *timer;
	char host[256];			/* what the coordinator tells; relay.host goes before */
	char name[256];			/* what this round is about */
	uint16_t port;
	struct warren_addr addrs[ADDRS];
	uint32_t n, at, tries;
	struct warren_io *io;
	int fd;				/* of @io */
	uint8_t txid[WARREN_STUN_TXID];
	bool came;			/* the request with @txid, to our own STUN */
	bool busy, changed;		/* a round goes on; and something is new since */
	bool over;			/* the plugin stops */
	char why[640];			/* "": it is us */
};

static void next(struct relay_reach *reach);

static void end(struct relay_reach *reach, const char *why)
{
	bool same = strcmp(reach->why, why) == 0;

	warren_release(reach->io);
	reach->io = NULL;
	reach->busy = false;
	snprintf(reach->why, sizeof(reach->why), "%s", why);
	if (why[0] && !same)
		warren_log(reach->relay->ctx, LOG_WARNING, "%s", reach->why);
	warren_timer_set(reach->timer, (reach->changed ? FIRST : AGAIN) * second);
	reach->changed = false;
}

static void unreached(struct relay_reach *reach)
{
	char text[sizeof(reach->why)], addr[ADDR_TEXT];

	addr_format(&reach->addrs[reach->at], addr);
	snprintf(text, sizeof(text), "STUN of this box is not reached at %s (%s), as seen from "
		 "itself: UDP port %u does not answer: look at the name's address and at whether "
		 "the port is let in (a router that does not take us back in shows the same); "
		 "without it nodes find fewer direct paths", reach->name, addr, reach->port);
	end(reach, text);
}

static void ask(struct relay_reach *reach)
{
	const struct warren_addrport to = { reach->addrs[reach->at], reach->port };
	uint8_t out[WARREN_STUN_REQUEST];
	struct sockaddr_storage ss;
	socklen_t len = addrport_to_sockaddr(&to, &ss);

	reach->tries++;
	warren_stun_request(reach->txid, out);
	/* What the kernel refuses to send is not answered either. */
	(void)sendto(reach->fd, out, sizeof(out), MSG_DONTWAIT | MSG_NOSIGNAL,
		     (struct sockaddr *)&ss, len);
	warren_timer_set(reach->timer, second);
}

static void on_answer(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct relay_reach *reach = arg;
	uint8_t data[1500], txid[WARREN_STUN_TXID];
	char text[sizeof(reach->why)], addr[ADDR_TEXT];
	struct warren_addrport seen;
	ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

	(void)ctx;
	(void)what;
	if (n < 0 || warren_stun_answer_parse(data, (size_t)n, txid, &seen) ||
	    memcmp(txid, reach->txid, sizeof(txid)) != 0)
		return;
	if (reach->came) {
		reach->at++;
		next(reach);
		return;
	}
	snprintf(text, sizeof(text), "%s (%s) leads to another machine: what answers on its UDP "
		 "port %u is not this box", reach->name,
		 addr_format(&reach->addrs[reach->at], addr), reach->port);
	end(reach, text);
}

static void on_socket(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct relay_reach *reach = arg;

	if (answer->count == 0) {
		unreached(reach);
		return;
	}
	reach->fd = answer->fds[0];
	reach->io = warren_io_new_take(ctx, reach->fd, on_answer, reach);
	if (!reach->io) {
		end(reach, "");
		return;
	}
	warren_io_want(reach->io, WARREN_IN);
	reach->tries = 0;
	reach->came = false;
	randombytes_buf(reach->txid, sizeof(reach->txid));
	ask(reach);
}

/* The next address of the name; after the last one all is well. */
static void next(struct relay_reach *reach)
{
	struct warren_priv_socket wanted = {
		.type = WARREN_SOCK_UDP, .flags = WARREN_SOCK_BYPASS,
	};

	warren_release(reach->io);
	reach->io = NULL;
	if (reach->changed || reach->at == reach->n) {
		end(reach, "");
		return;
	}
	wanted.family = reach->addrs[reach->at].family;
	if (warren_priv(reach->relay->ctx, WARREN_OP_SOCKET, &wanted, sizeof(wanted), on_socket,
			reach))
		end(reach, "");
}

static void on_addrs(struct warren_ctx *ctx, int result, const struct warren_addr *addrs,
		     const char *why, void *arg)
{
	struct relay_reach *reach = arg;
	char text[sizeof(reach->why)];

	(void)ctx;
	if (reach->over)
		return;
	if (result < 0) {
		snprintf(text, sizeof(text), "clients do not find the relay of this box: %s: "
			 "%.200s", reach->name, why);
		end(reach, text);
		return;
	}
	reach->n = result < ADDRS ? (uint32_t)result : ADDRS;
	memcpy(reach->addrs, addrs, reach->n * sizeof(*addrs));
	reach->at = 0;
	next(reach);
}

static void begin(struct relay_reach *reach)
{
	const struct warren_conf *conf = reach->relay->conf;
	const char *name = warren_conf_has(conf, "host") ? warren_conf_str(conf, "host") :
			   reach->host;

	reach->port = reach->relay->stun_port;
	if (!name[0] || !reach->port) {		/* nobody is told of it */
		reach->why[0] = '\0';
		return;
	}
	str_copy(reach->name, sizeof(reach->name), name);
	if (warren_resolve(reach->relay->ctx, reach->name, on_addrs, reach))
		warren_timer_set(reach->timer, AGAIN * second);
	else
		reach->busy = true;
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct relay_reach *reach = arg;

	(void)ctx;
	if (!reach->busy)
		begin(reach);
	else if (reach->io && reach->tries < TRIES)
		ask(reach);
	else if (reach->io)
		unreached(reach);
}

struct relay_reach *relay_reach_new(struct relay *relay)
{
	struct relay_reach *reach = warren_zalloc(relay->ctx, sizeof(*reach));

	if (!reach)
		return NULL;
	reach->relay = relay;
	reach->timer = warren_timer_new(relay->ctx, on_timer, reach);
	if (!reach->timer)
		return NULL;
	warren_timer_set(reach->timer, FIRST * second);
	return reach;
}

void relay_reach_again(struct relay_reach *reach)
{
	if (reach->busy)
		reach->changed = true;
	else
		warren_timer_set(reach->timer, FIRST * second);
}

void relay_reach_stop(struct relay_reach *reach)
{
	reach->over = true;
}

void relay_reach_host(struct relay_reach *reach, const char *host)
{
	if (strcmp(reach->host, host) == 0 || !str_copy(reach->host, sizeof(reach->host), host))
		return;
	relay_reach_again(reach);
}

void relay_reach_saw(struct relay_reach *reach, const uint8_t txid[WARREN_STUN_TXID])
{
	if (reach && reach->io && memcmp(txid, reach->txid, WARREN_STUN_TXID) == 0)
		reach->came = true;
}

const char *relay_reach_why(const struct relay_reach *reach)
{
	return reach->why[0] ? reach->why : NULL;
}
