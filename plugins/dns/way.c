/*
 * Messages to one resolver and back, by UDP.
 *
 * A line is a connected socket, so that the kernel takes datagrams of that resolver alone and tells
 * of its absence. Its port is the kernel's random choice, each question's id is random, and a line
 * serves few questions and a short time: who wants to forge an answer has to guess both anew
 * (RFC 5452). Sockets come from the monitor, or through the tunnel from svcnet. While an exit node
 * is in use they have no mark: what is asked goes the way of all else, or nowhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include <warren/priv.h>

#include "base/addr.h"
#include "dns.h"

enum {
	LINE_USES = 64,
	LINE_PENDING = 16,
	READ_ONCE = 32,			/* datagrams a turn */
	WAYS_MAX = 256,
};
static const uint64_t line_age = 20000000;

struct dns_line {
	struct list node;
	struct dns_way *way;
	struct warren_io *io;
	int fd;				/* the io's */
	struct list tries;
	uint32_t uses, pending;
	uint64_t born;
};

/*
 * ---- Lines ----
 */

static void line_free(struct dns_line *line)
{
	struct list orphans = LIST_INIT(orphans);
	struct dns_try *try;

	list_del(&line->node);
	list_splice_tail(&orphans, &line->tries);
	list_for_each(try, &orphans, node)
		try->line = NULL;
	warren_release(line->io);
	free(line);
	while (!list_empty(&orphans)) {
		try = list_first(&orphans, struct dns_try, node);
		list_del(&try->node);
		dns_try_fail(try);
	}
}

static bool is_worn(const struct dns_line *line)
{
	return line->uses >= LINE_USES || warren_now() - line->born > line_age;
}

static void put_away(struct dns_way *way)
{
	struct dns_line *line, *next;

	list_for_each_safe(line, next, &way->lines, node) {
		if (is_worn(line) && list_empty(&line->tries))
			line_free(line);
	}
}

static struct dns_line *find_line(struct dns_way *way)
{
	struct dns_line *line;

	put_away(way);
	list_for_each(line, &way->lines, node) {
		if (!is_worn(line) && line->pending < LINE_PENDING)
			return line;
	}
	return NULL;
}

static bool is_taken(const struct dns_line *line, uint16_t id)
{
	const struct dns_try *try;

	list_for_each(try, &line->tries, node) {
		if (try->id == id)
			return true;
	}
	return false;
}

static void send_on(struct dns_line *line, struct dns_try *try)
{
	uint8_t msg[DNS_QUERY_MAX];
	size_t len;

	do {
		try->id = (uint16_t)randombytes_uniform(65536);
	} while (is_taken(line, try->id));
	len = dns_query_write(try->q, try->id, try->edns && !try->way->plain, msg);
	list_add_tail(&line->tries, &try->node);
	try->line = line;
	line->uses++;
	line->pending++;
	try->sent = warren_now();
	try->way->n_sent++;
	/* What cannot be sent now is like what was lost on the way. */
	(void)send(line->fd, msg, len, MSG_NOSIGNAL);
}

static void fail_all(struct dns_line *line)
{
	dns_way_failed(line->way);
	line_free(line);
}

static void on_readable(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct dns_line *line = arg;
	struct dns *dns = warren_self(ctx);

	(void)what;
	for (int i = 0; i < READ_ONCE; i++) {
		ssize_t n = recv(fd, dns->in, DNS_MSG_MAX, 0);
		struct dns_try *try, *found = NULL;

		if (n == -1 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n == -1) {
			fail_all(line);
			return;
		}
		list_for_each(try, &line->tries, node) {
			if (n >= 2 && try->id == (dns->in[0] << 8 | dns->in[1]))
				found = try;
		}
		if (!found || !dns_try_take(found, dns->in, (size_t)n)) {
			warren_stat_add(dns->stats.stray, 1);
			continue;
		}
		return;			/* whoever was told may have closed this line */
	}
}

static void drain_waiting(struct dns_way *way)
{
	while (!list_empty(&way->waiting)) {
		struct dns_try *try = list_first(&way->waiting, struct dns_try, node);
		struct dns_line *line = find_line(way);

		if (!line)
			return;
		list_del(&try->node);
		send_on(line, try);
	}
}

static void fail_waiting(struct dns_way *way)
{
	struct list orphans = LIST_INIT(orphans);

	list_splice_tail(&orphans, &way->waiting);
	while (!list_empty(&orphans)) {
		struct dns_try *try = list_first(&orphans, struct dns_try, node);

		list_del(&try->node);
		dns_try_fail(try);
	}
}

/* Takes @fd, a connected one; -1: there is none. */
static void opened(struct dns_way *way, int fd)
{
	struct dns_line *line = fd == -1 ? NULL : calloc(1, sizeof(*line));

	way->opening--;
	if (!line) {
		if (fd != -1)
			close(fd);
		dns_way_failed(way);
		fail_waiting(way);
		return;
	}
	line->way = way;
	line->fd = fd;
	line->born = warren_now();
	list_init(&line->tries);
	list_add_head(&way->lines, &line->node);
	line->io = warren_io_new_take(way->dns->ctx, fd, on_readable, line);
	if (!line->io) {
		line_free(line);
		fail_waiting(way);
		return;
	}
	warren_io_want(line->io, WARREN_IN);
	drain_waiting(way);
}

static void dialed(struct warren_ctx *ctx, int result, int fd, const char *why, void *arg)
{
	(void)ctx;
	(void)why;
	opened(arg, result ? -1 : fd);
}

static void given(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct dns_way *way = arg;
	struct sockaddr_storage ss;
	socklen_t len = addrport_to_sockaddr(&way->to.at, &ss);
	int fd = answer->result == 0 && answer->count == 1 ? answer->fds[0] : -1;

	(void)ctx;
	if (fd != -1 && connect(fd, (struct sockaddr *)&ss, len) == -1) {
		close(fd);
		fd = -1;
	}
	opened(way, fd);
}

static int open_line(struct dns_way *way)
{
	const struct warren_svc_dial dial = {
		.size = sizeof(dial), .protocol = WARREN_SVC_UDP, .to = way->to.at,
	};
	const struct warren_priv_socket request = {
		.family = way->to.at.addr.family, .type = WARREN_SOCK_UDP,
		.flags = way->to.led ? 0 : WARREN_SOCK_BYPASS,
	};
	struct dns *dns = way->dns;
	int result;

	if (way->to.tailnet)
		result = dns->svcnet->dial(dns->svcnet_self, dns->ctx, &dial, dialed, way);
	else
		result = warren_priv(dns->ctx, WARREN_OP_SOCKET, &request, sizeof(request), given,
				     way);
	way->opening += result == 0;
	return result;
}

/*
 * ---- Tries ----
 */

/* Both kinds begin so; a way lives as long as it has any. */
static void attach(struct dns_way *way, struct dns_try *try)
{
	try->way = way;
	try->tcp = NULL;
	try->http = NULL;
	try->line = NULL;
	list_init(&try->node);
	way->n_tries++;
}

static int begin_http(struct dns_way *way, struct dns_try *try)
{
	int result;

	attach(way, try);
	result = dns_http_start(try);
	if (result)
		dns_try_end(try);
	return result;
}

int dns_try_begin(struct dns_way *way, struct dns_try *try)
{
	struct dns_line *line;
	int result;

	if (way->to.peer)
		return begin_http(way, try);
	line = find_line(way);
	result = line || way->opening > 0 ? 0 : open_line(way);
	if (result)
		return result;
	attach(way, try);
	if (line)
		send_on(line, try);
	else
		list_add_tail(&way->waiting, &try->node);
	return 0;
}

int dns_try_tcp(struct dns_way *way, struct dns_try *try)
{
	int result;

	attach(way, try);
	try->id = (uint16_t)randombytes_uniform(65536);
	try->sent = warren_now();
	way->n_sent++;
	result = dns_tcp_start(try);
	if (result)
		dns_try_end(try);
	return result;
}

void dns_try_end(struct dns_try *try)
{
	if (!try->way)
		return;
	dns_tcp_end(try->tcp);
	dns_http_end(try->http);
	list_del(&try->node);
	if (try->line)
		try->line->pending--;
	try->way->n_tries--;
	try->tcp = NULL;
	try->http = NULL;
	try->line = NULL;
	try->way = NULL;
}

bool dns_try_take(struct dns_try *try, uint8_t *msg, size_t len)
{
	struct dns_way *way = try->way;
	struct dns_answer answer;
	uint64_t took = warren_now() - try->sent;

	if (dns_answer_parse(msg, len, try->q, try->id, &answer))
		return false;
	way->n_answered++;
	way->failing_since = 0;
	way->rtt = way->rtt ? (7 * way->rtt + took) / 8 : took;
	try->events->answered(try->arg, try, msg, len, &answer);
	return true;
}

void dns_try_fail(struct dns_try *try)
{
	try->events->failed(try->arg, try);
}

/*
 * ---- Ways ----
 */

struct dns_way *dns_way_get(struct dns *dns, const struct dns_upstream *to)
{
	struct dns_way *way;
	uint32_t n = 0;

	list_for_each(way, &dns->ways, node) {
		if (dns_upstream_equal(&way->to, to))
			return way;
		n++;
	}
	way = n < WAYS_MAX ? calloc(1, sizeof(*way)) : NULL;
	if (!way)
		return NULL;
	way->dns = dns;
	way->to = *to;
	list_init(&way->lines);
	list_init(&way->waiting);
	list_init(&way->https);
	list_add_tail(&dns->ways, &way->node);
	return way;
}

void dns_way_renew(struct dns_way *way)
{
	struct dns_line *line;

	list_for_each(line, &way->lines, node)
		line->uses = LINE_USES;
}

void dns_way_failed(struct dns_way *way)
{
	dns_way_renew(way);
	way->n_failed++;
	if (!way->failing_since)
		way->failing_since = warren_now();
}

static void way_free(struct dns_way *way)
{
	while (!list_empty(&way->lines))
		line_free(list_first(&way->lines, struct dns_line, node));
	dns_http_close(way);
	list_del(&way->node);
	free(way);
}

static void want(struct dns *dns, const struct dns_route *route)
{
	struct dns_way *way;

	for (uint32_t i = 0; i < route->n; i++) {
		list_for_each(way, &dns->ways, node)
			way->wanted = way->wanted || dns_upstream_equal(&way->to, &route->up[i]);
	}
}

void dns_ways_sweep(struct dns *dns)
{
	const struct dns_route *route;
	struct dns_way *way, *next;

	list_for_each(way, &dns->ways, node)
		way->wanted = false;
	for (uint32_t pos = 0; dns->plan && (route = hash_next(&dns->plan->routes, &pos));)
		want(dns, route);
	list_for_each_safe(way, next, &dns->ways, node) {
		if (!way->wanted && way->n_tries == 0 && way->opening == 0)
			way_free(way);
	}
}

void dns_ways_end(struct dns *dns)
{
	while (!list_empty(&dns->ways))
		way_free(list_first(&dns->ways, struct dns_way, node));
}
