/*
 * Connecting to the first of several addresses that answers, as RFC 8305 has it: families in turn,
 * the next address after 250 ms or at once when one failed, until one is there.
 *
 * Sockets to the uplink are the monitor's: their mark keeps them out of our own tunnel. A request
 * to the monitor cannot be called off; an attempt that was given up stays until the answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <warren/priv.h>

#include "base/addr.h"
#include "base/util.h"

#include "dial_impl.h"

enum { STAGGER_USEC = 250000 };		/* RFC 8305 5: Connection Attempt Delay */

struct attempt {
	struct attempt *next;
	struct dial_race *race;		/* NULL: given up, the monitor's answer is waited for */
	struct warren_addrport to;
	struct warren_io *io;
	bool asking;
};

struct dial_race {
	struct warren_ctx *ctx;
	dial_race_fn *done;
	void *arg;
	struct warren_addr addrs[DIAL_ADDRS];
	uint32_t n, tried, via;
	uint16_t port;
	struct attempt *attempts;
	struct warren_timer *timer;	/* of the next attempt */
	char why[512];
};

static void drop(struct attempt *attempt)
{
	struct attempt **at = &attempt->race->attempts;

	while (*at != attempt)
		at = &(*at)->next;
	*at = attempt->next;
	warren_release(attempt->io);
	attempt->io = NULL;
	attempt->race = NULL;
	if (!attempt->asking)
		warren_release(attempt);
}

void dial_race_cancel(struct dial_race *race)
{
	if (!race)
		return;
	while (race->attempts)
		drop(race->attempts);
	warren_release(race->timer);
	warren_release(race);
}

static void finish(struct dial_race *race, int fd)
{
	dial_race_fn *done = race->done;
	void *arg = race->arg;
	char why[sizeof(race->why)];

	memcpy(why, race->why, sizeof(why));
	dial_race_cancel(race);
	done(fd, fd == -1 ? why : NULL, arg);
}

/* The timer goes on with the next one, or ends the race. */
static void failed(struct attempt *attempt, const char *why)
{
	struct dial_race *race = attempt->race;
	size_t len = strlen(race->why);
	char text[ADDR_TEXT];

	snprintf(race->why + len, sizeof(race->why) - len, "%s%s: %s", len ? "; " : "",
		 addr_format(&attempt->to.addr, text), why);
	drop(attempt);
	warren_timer_set(race->timer, 0);
}

/* The descriptor belongs to the io; the winner gets a copy. */
static void on_io(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct attempt *attempt = arg;
	struct dial_race *race = attempt->race;
	socklen_t len = sizeof(int);
	int error = 0, copy;

	(void)ctx;
	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		error = errno;
	copy = error ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy == -1)
		failed(attempt, strerror(error ? error : errno));
	else
		finish(race, copy);
}

/* Takes @fd. */
static void begin(struct attempt *attempt, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = addrport_to_sockaddr(&attempt->to, &ss);
	int one = 1;

	/* Records and frames are written as a whole already. Without it things are slower only. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&ss, len) == -1 && errno != EINPROGRESS) {
		failed(attempt, strerror(errno));
		close(fd);
		return;
	}
	attempt->io = warren_io_new_take(attempt->race->ctx, fd, on_io, attempt);
	if (attempt->io)
		warren_io_want(attempt->io, WARREN_OUT);
	else
		failed(attempt, "no memory");
}

static void begin_unmarked(struct attempt *attempt)
{
	int domain = attempt->to.addr.family == 6 ? AF_INET6 : AF_INET;
	int fd = socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd == -1)
		failed(attempt, strerror(errno));
	else
		begin(attempt, fd);
}

static void given(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct attempt *attempt = arg;

	(void)ctx;
	attempt->asking = false;
	if (attempt->race && answer->result == 0 && answer->count == 1) {
		begin(attempt, answer->fds[0]);
		return;
	}
	for (uint32_t i = 0; i < answer->count; i++)
		close(answer->fds[i]);
	if (attempt->race)
		failed(attempt, answer->error ? answer->error : "the monitor gave no socket");
	else
		warren_release(attempt);
}

static void ask(struct attempt *attempt)
{
	const struct warren_priv_socket request = {
		.family = attempt->to.addr.family, .type = WARREN_SOCK_TCP,
		.flags = WARREN_SOCK_BYPASS,
	};
	char why[160];
	int result = warren_priv(attempt->race->ctx, WARREN_OP_SOCKET, &request, sizeof(request),
				 given, attempt);

	attempt->asking = result == 0;
	if (result == -EPIPE) {		/* no monitor, so no tunnel to loop through */
		begin_unmarked(attempt);
	} else if (result == -EPERM) {
		snprintf(why, sizeof(why), "plugin `%s` does not list SOCKET in its `privops`",
			 warren_name(attempt->race->ctx));
		failed(attempt, why);
	} else if (result) {
		snprintf(why, sizeof(why), "cannot ask the monitor for a socket: %s",
			 strerror(-result));
		failed(attempt, why);
	}
}

static void start(struct dial_race *race)
{
	struct attempt *attempt = warren_zalloc(race->ctx, sizeof(*attempt));
	const struct warren_addr *addr = &race->addrs[race->tried++];

	if (!attempt) {
		warren_timer_set(race->timer, 0);
		return;
	}
	attempt->race = race;
	attempt->to = (struct warren_addrport){ .addr = *addr, .port = race->port };
	attempt->next = race->attempts;
	race->attempts = attempt;
	if (race->via == WARREN_VIA_UPLINK)
		ask(attempt);
	else
		begin_unmarked(attempt);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct dial_race *race = arg;

	(void)ctx;
	if (race->tried < race->n) {
		warren_timer_set(race->timer, STAGGER_USEC);	/* a failure makes it 0 */
		start(race);
	} else if (!race->attempts) {
		if (!race->why[0])
			snprintf(race->why, sizeof(race->why), "no memory");
		finish(race, -1);
	}
}

/* The first one's family, the other, and so on; each in the resolver's order (RFC 8305 4). */
static void mix(struct dial_race *race, const struct warren_addr *addrs, uint32_t n)
{
	uint8_t family = n > 0 ? addrs[0].family : 0;
	uint32_t next[2] = { 0, 0 };

	for (uint32_t i = 0; race->n < n && i < 2 * n; i++) {
		bool other = i % 2;
		uint32_t *at = &next[other];

		while (*at < n && (addrs[*at].family != family) != other)
			(*at)++;
		if (*at < n)
			race->addrs[race->n++] = addrs[(*at)++];
	}
}

struct dial_race *dial_race_new(struct warren_ctx *ctx, const struct warren_addr *addrs, uint32_t n,
				uint16_t port, uint32_t via, dial_race_fn *done, void *arg)
{
	struct dial_race *race = warren_zalloc(ctx, sizeof(*race));

	if (!race)
		return NULL;
	race->timer = warren_timer_new(ctx, on_timer, race);
	if (!race->timer) {
		warren_release(race);
		return NULL;
	}
	race->ctx = ctx;
	race->done = done;
	race->arg = arg;
	race->port = port;
	race->via = via;
	mix(race, addrs, n < DIAL_ADDRS ? n : DIAL_ADDRS);
	warren_timer_set(race->timer, 0);
	return race;
}
