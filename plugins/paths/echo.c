/*
 * Where UDP does not get through, ICMP often does, and a relay's host answers without TLS: a
 * latency that is nearer to the truth than that of a request over HTTPS (path-protocols.md 5.5).
 */
#include "echo.h"

#include <linux/icmp.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

#include <warren/priv.h>

#include "base/addr.h"
#include "icmp.h"
#include "paths.h"

enum { ONCE = 16, PACKET = 256 };	/* per turn of the loop; more than our own requests have */

bool echo_is_busy(const struct echo *echo)
{
	return echo->wanted;
}

void echo_stop(struct echo *echo)
{
	echo->wanted = false;
	echo->pending = echo->n = 0;
	warren_timer_stop(echo->timer);
	warren_release(echo->io);
	echo->io = NULL;
}

static void finish(struct echo *echo)
{
	echo_stop(echo);
	netcheck_on_echo_end(&echo->paths->netcheck);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	finish(arg);
}

static void answered(struct echo *echo, const uint8_t *packet, size_t len, uint64_t now)
{
	struct echo_flight *flight;
	struct warren_addr from;
	struct icmp_echo reply;

	/* The socket hears the answers to everybody's echoes. */
	if (!icmp_reply_parse(packet, len, &from, &reply) || reply.id != echo->id ||
	    reply.seq >= echo->n)
		return;
	flight = &echo->flight[reply.seq];
	if (!flight->node || !addr_equal(&flight->to, &from) ||
	    reply.len != strlen(flight->node->name) ||
	    memcmp(reply.data, flight->node->name, reply.len) != 0)
		return;
	flight->node = NULL;
	echo->pending--;
	netcheck_on_echo(&echo->paths->netcheck, flight->region, now - flight->at);
}

static void on_readable(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct echo *echo = arg;
	uint8_t packet[PACKET];

	(void)ctx;
	(void)what;
	for (int i = 0; i < ONCE; i++) {
		ssize_t n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);

		if (n < 0)
			break;
		answered(echo, packet, (size_t)n, warren_now());
	}
	if (echo->pending == 0)
		finish(echo);
}

static void ask(struct echo *echo, const struct warren_relay_region *region)
{
	const struct warren_relay_node *node = &region->nodes[0];
	struct echo_flight *flight = &echo->flight[echo->n];
	struct warren_addrport to = { .port = 0 };
	const struct icmp_echo request = {
		.id = echo->id, .seq = (uint16_t)echo->n, .data = (const uint8_t *)node->name,
		.len = node->name ? strlen(node->name) : 0,
	};
	uint8_t packet[ICMP_ECHO_MAX];
	size_t len = icmp_request(&request, packet);
	struct sockaddr_storage ss;
	socklen_t size;

	if (!node->name || !len || node->stun_port == -1 || echo->n == PATHS_REGIONS ||
	    !netcheck_address(&echo->paths->netcheck, node, &to.addr))
		return;
	size = addrport_to_sockaddr(&to, &ss);
	if (sendto(echo->fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&ss,
		   size) < 0)
		return;
	*flight = (struct echo_flight){ node, to.addr, region->id, warren_now() };
	echo->n++;
	echo->pending++;
}

static void opened(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	const struct icmp_filter only = { .data = ~(UINT32_C(1) << ICMP_ECHOREPLY) };
	struct echo *echo = arg;
	const struct warren_netmap *map = echo->paths->netcheck.map;

	echo->opening = false;
	if (answer->result < 0 || answer->count < 1) {
		warren_log_limit(ctx, &echo->log, LOG_WARNING, "no ICMP in netcheck: %s",
				 answer->error ? answer->error : "the monitor gave no socket");
		if (echo->wanted)
			finish(echo);
		return;
	}
	echo->fd = answer->fds[0];
	echo->io = warren_io_new_take(ctx, echo->fd, on_readable, echo);
	if (!echo->wanted) {
		echo_stop(echo);
		return;
	}
	(void)setsockopt(echo->fd, SOL_RAW, ICMP_FILTER, &only, sizeof(only));
	for (uint32_t i = 0; echo->io && map && i < map->n_regions; i++)
		if (paths_fallback_helps(&map->regions[i]))
			ask(echo, &map->regions[i]);
	if (echo->pending == 0) {
		finish(echo);
		return;
	}
	warren_io_want(echo->io, WARREN_IN);
	warren_timer_set(echo->timer, ECHO_TIME);
}

void echo_start(struct echo *echo)
{
	const struct warren_priv_socket request = {
		.family = 4, .type = WARREN_SOCK_ICMP, .flags = WARREN_SOCK_BYPASS,
	};

	echo_stop(echo);
	echo->wanted = true;
	echo->id = (uint16_t)randombytes_uniform(UINT16_MAX);
	if (!echo->opening)
		echo->opening = warren_priv(echo->paths->ctx, WARREN_OP_SOCKET, &request,
					    sizeof(request), opened, echo) == 0;
	echo->wanted = echo->opening;
}

int echo_init(struct echo *echo, struct paths *p)
{
	echo->paths = p;
	echo->timer = warren_timer_new(p->ctx, on_timer, echo);
	return echo->timer ? 0 : -1;
}
