/*
 * Clients of the LAN: addresses of this host that `listen` names.
 *
 * A socket that cannot be had, as where an interface has no address yet, is asked for again. Who
 * may ask is said by `allow`: whoever else sends something gets no answer, so that nobody far away
 * makes use of this host.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/str.h"
#include "dns.h"

enum { BACKLOG = 128, ACCEPT_ONCE = 16 };
static const uint64_t retry_first = 500000, retry_last = 30000000;

struct dns_lan {			/* one socket; it waits for the monitor's answer at times */
	struct list node;
	struct dns *dns;
	struct warren_addrport at;
	uint32_t index;
	bool tcp, asking, ended;
	struct warren_io *io;		/* TCP */
	struct warren_timer *again;
	uint64_t pause;
	char problem[160];
};

bool dns_lan_allows(const struct dns *dns, const struct warren_addr *addr)
{
	for (uint32_t i = 0; i < dns->words.n_allow; i++) {
		if (prefix_contains(&dns->words.allow[i], addr))
			return true;
	}
	return false;
}

static void lan_free(struct dns_lan *lan)
{
	const struct warren_svc_conn conn = { .local = lan->at };

	if (!lan->tcp)
		dns_serve_close(lan->dns, &conn);
	list_del(&lan->node);
	warren_release(lan->io);
	warren_release(lan->again);
	lan->io = NULL;
	lan->ended = true;
	if (!lan->asking)
		warren_release(lan);
}

/* False: no more for now. */
static bool accept_one(struct dns_lan *lan, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct warren_addrport from;
	int got = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (got == -1)
		return false;
	if (addrport_from_sockaddr((struct sockaddr *)&ss, len, &from) == 0 &&
	    dns_lan_allows(lan->dns, &from.addr)) {
		dns_serve_conn_take(lan->dns, got);
	} else {
		warren_stat_add(lan->dns->stats.dropped, 1);
		close(got);
	}
	return true;
}

static void on_accept(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	(void)ctx;
	(void)what;
	for (int i = 0; i < ACCEPT_ONCE && accept_one(arg, fd); i++)
		;
}

static void refused(struct dns_lan *lan, const char *why)
{
	char text[ADDRPORT_TEXT];

	if (strcmp(lan->problem, why) != 0)
		warren_log(lan->dns->ctx, LOG_WARNING, "%s of dns.listen is not served: %s",
			   addrport_format(&lan->at, text), why);
	str_copy(lan->problem, sizeof(lan->problem), why);
	warren_timer_set(lan->again, lan->pause);
	lan->pause = lan->pause > retry_last / 2 ? retry_last : 2 * lan->pause;
}

static void serve(struct dns_lan *lan, int fd)
{
	const struct warren_svc_conn conn = { .local = lan->at };

	lan->problem[0] = '\0';
	lan->pause = retry_first;
	if (!lan->tcp) {
		dns_serve_port_take(lan->dns, fd, &conn);
		return;
	}
	lan->io = warren_io_new_take(lan->dns->ctx, fd, on_accept, lan);
	if (lan->io)
		warren_io_want(lan->io, WARREN_IN);
	else
		refused(lan, "no memory");
}

static void given(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct dns_lan *lan = arg;

	(void)ctx;
	lan->asking = false;
	if (!lan->ended && answer->result == 0 && answer->count == 1) {
		serve(lan, answer->fds[0]);
		return;
	}
	for (uint32_t i = 0; i < answer->count; i++)
		close(answer->fds[i]);
	if (lan->ended)
		warren_release(lan);
	else
		refused(lan, answer->error ? answer->error : "the monitor gave no socket");
}

static void ask(struct warren_ctx *ctx, void *arg)
{
	struct dns_lan *lan = arg;
	const struct warren_priv_socket request = {
		.key = "dns.listen", .index = lan->index, .family = lan->at.addr.family,
		.type = lan->tcp ? WARREN_SOCK_TCP : WARREN_SOCK_UDP, .bind = lan->at,
		.flags = lan->at.addr.family == 6 ? WARREN_SOCK_V6ONLY : 0,
		.backlog = lan->tcp ? BACKLOG : 0,
	};

	lan->asking = warren_priv(ctx, WARREN_OP_SOCKET, &request, sizeof(request), given,
				  lan) == 0;
	if (!lan->asking)
		refused(lan, "the monitor cannot be asked");
}

static int add(struct dns *dns, uint32_t index, bool tcp)
{
	struct dns_lan *lan = warren_zalloc(dns->ctx, sizeof(*lan));

	if (!lan)
		return -ENOMEM;
	lan->dns = dns;
	lan->at = dns->words.listen[index];
	lan->index = index;
	lan->tcp = tcp;
	lan->pause = retry_first;
	list_add_tail(&dns->lan, &lan->node);
	lan->again = warren_timer_new(dns->ctx, ask, lan);
	if (!lan->again) {
		lan_free(lan);
		return -ENOMEM;
	}
	/* From the loop: a reload's files are in force then, and the port stands in them. */
	warren_timer_set(lan->again, 0);
	return 0;
}

static bool stays(const struct dns *dns, const struct dns_lan *lan)
{
	return lan->index < dns->words.n_listen &&
	       addrport_equal(&lan->at, &dns->words.listen[lan->index]);
}

static bool is_there(const struct dns *dns, uint32_t index, bool tcp)
{
	const struct dns_lan *lan;

	list_for_each(lan, &dns->lan, node) {
		if (lan->index == index && lan->tcp == tcp)
			return true;
	}
	return false;
}

int dns_lan_follow(struct dns *dns)
{
	struct dns_lan *lan, *next;
	int result = 0;

	list_for_each_safe(lan, next, &dns->lan, node) {
		if (!stays(dns, lan))
			lan_free(lan);
	}
	for (uint32_t i = 0; i < dns->words.n_listen && !result; i++) {
		for (int tcp = 0; tcp < 2 && !result; tcp++)
			result = is_there(dns, i, tcp) ? 0 : add(dns, i, tcp);
	}
	return result;
}

const char *dns_lan_problem(const struct dns *dns)
{
	const struct dns_lan *lan;

	list_for_each(lan, &dns->lan, node) {
		if (lan->problem[0])
			return lan->problem;
	}
	return NULL;
}

void dns_lan_end(struct dns *dns)
{
	while (!list_empty(&dns->lan))
		lan_free(list_first(&dns->lan, struct dns_lan, node));
}
