/*
 * Connections into the tailnet: a socket of the namespace, bound to the node's own address, whose
 * packets the source hands to the data plane. Without a namespace it is one of the host, bound to
 * the tunnel's interface.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/str.h"
#include "svcnet.h"

static const uint64_t timeout_default = 10000000;	/* microseconds */
enum { DIALS_MAX = 4096 };		/* under way; there are not many more ports */

struct dial {
	struct list node;
	struct svcnet *svc;
	struct warren_ctx *ctx;		/* of who asks; NULL: gone, the monitor's answer is left */
	uint32_t protocol;
	struct warren_addrport to;
	warren_svc_dial_fn *done;
	void *arg;
	void *tie;			/* of warren_on_end() */
	struct warren_timer *timer;
	struct warren_io *io;
	bool asking;
	int refused;			/* -errno: `why` is told by the timer */
	const char *why;
};

/* Forgets who asked; the rest goes now or with the monitor's answer. */
static void let_go(struct dial *d)
{
	list_del(&d->node);
	d->svc->n_dials--;
	warren_release(d->timer);
	warren_release(d->io);
	d->timer = NULL;
	d->io = NULL;
	d->ctx = NULL;
	if (!d->asking)
		warren_release(d);
}

static void finish(struct dial *d, int result, int fd, const char *why)
{
	warren_svc_dial_fn *done = d->done;
	struct warren_ctx *ctx = d->ctx;
	void *arg = d->arg;
	char text[ADDRPORT_TEXT], sentence[320] = "";

	if (result)
		snprintf(sentence, sizeof(sentence), "cannot connect to %s: %s",
			 addrport_format(&d->to, text), why);
	warren_stat_add(result ? d->svc->dial_failed : d->svc->dialed, 1);
	warren_release(d->tie);
	let_go(d);
	done(ctx, result, fd, result ? sentence : NULL, arg);
}

static void failed(struct dial *d, int result)
{
	finish(d, result, -1, strerror(-result));
}

static void owner_ended(void *arg)
{
	let_go(arg);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct dial *d = arg;

	(void)ctx;
	if (d->refused)
		finish(d, d->refused, -1, d->why);
	else
		failed(d, -ETIMEDOUT);
}

/* The descriptor belongs to the io; who asked gets a copy. */
static void on_io(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct dial *d = arg;
	socklen_t len = sizeof(int);
	int error = 0, copy;

	(void)ctx;
	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		error = errno;
	copy = error ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy == -1)
		failed(d, error ? -error : -errno);
	else
		finish(d, 0, copy, NULL);
}

/* Takes @fd. */
static void begin(struct dial *d, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = addrport_to_sockaddr(&d->to, &ss);
	int one = 1;

	if (d->protocol == WARREN_SVC_TCP)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&ss, len) == -1 && errno != EINPROGRESS) {
		int result = -errno;

		close(fd);
		failed(d, result);
		return;
	}
	if (d->protocol == WARREN_SVC_UDP) {
		finish(d, 0, fd, NULL);
		return;
	}
	d->io = warren_io_new_take(d->svc->ctx, fd, on_io, d);
	if (d->io)
		warren_io_want(d->io, WARREN_OUT);
	else
		failed(d, -ENOMEM);
}

static void given(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct dial *d = arg;

	(void)ctx;
	d->asking = false;
	if (d->ctx && answer->result == 0 && answer->count == 1) {
		begin(d, answer->fds[0]);
		return;
	}
	for (uint32_t i = 0; i < answer->count; i++)
		close(answer->fds[i]);
	if (!d->ctx)
		warren_release(d);
	else
		finish(d, answer->result < 0 ? answer->result : -EIO, -1,
		       answer->error ? answer->error : "the monitor gave no socket");
}

/* Our own address to speak from; NULL with *@why: there is no way to @to. */
static const struct warren_addr *source_for(const struct svcnet *svc, const struct warren_addr *to,
					    const char **why)
{
	const struct warren_addr *source = NULL;

	for (uint32_t i = 0; i < svc->n_self; i++) {
		if (addr_equal(&svc->self[i], to)) {
			*why = "that is this node itself";
			return NULL;
		}
		if (!source && svc->self[i].family == to->family)
			source = &svc->self[i];
	}
	*why = "this node has no tailnet address of that family";
	return source;
}

/* Asks for the socket. What is refused at once is told from the loop too. */
static void start(struct dial *d)
{
	const struct warren_addr *source = source_for(d->svc, &d->to.addr, &d->why);
	struct warren_priv_socket request = {
		.family = d->to.addr.family,
		.type = d->protocol == WARREN_SVC_UDP ? WARREN_SOCK_UDP : WARREN_SOCK_TCP,
	};
	int result;

	if (!source) {
		d->refused = -EADDRNOTAVAIL;
		warren_timer_set(d->timer, 0);
		return;
	}
	request.bind.addr = *source;
	if (d->svc->apart) {
		request.flags = WARREN_SOCK_TRANSPARENT;
		request.namespace_ = WARREN_NS_SERVICE;
	} else {
		str_copy(request.device, sizeof(request.device),
			 d->svc->dataplane->ifname(d->svc->dataplane_self));
	}
	result = warren_priv(d->svc->ctx, WARREN_OP_SOCKET, &request, sizeof(request), given, d);
	d->asking = result == 0;
	if (result) {
		d->refused = result;
		d->why = "the monitor cannot be asked";
		warren_timer_set(d->timer, 0);
	}
}

int svc_dial(void *self, struct warren_ctx *ctx, const struct warren_svc_dial *dial,
	     warren_svc_dial_fn *done, void *arg)
{
	struct svcnet *svc = self;
	struct dial *d;

	if ((dial->protocol != WARREN_SVC_TCP && dial->protocol != WARREN_SVC_UDP) ||
	    (dial->to.addr.family != 4 && dial->to.addr.family != 6) || dial->to.port == 0)
		return -EINVAL;
	if (svc->n_dials >= DIALS_MAX)
		return -EAGAIN;
	d = warren_zalloc(svc->ctx, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->svc = svc;
	d->ctx = ctx;
	d->protocol = dial->protocol;
	d->to = dial->to;
	d->done = done;
	d->arg = arg;
	d->timer = warren_timer_new(svc->ctx, on_timer, d);
	d->tie = warren_on_end(ctx, owner_ended, d);
	if (!d->timer || !d->tie) {
		warren_release(d->timer);
		warren_release(d->tie);
		warren_release(d);
		return -ENOMEM;
	}
	list_add_tail(&svc->dials, &d->node);
	svc->n_dials++;
	warren_timer_set(d->timer, dial->timeout ? dial->timeout : timeout_default);
	start(d);
	return 0;
}

void svc_forget_dials(struct svcnet *svc)
{
	struct dial *d, *next;

	list_for_each_safe(d, next, &svc->dials, node) {
		warren_release(d->tie);
		let_go(d);
	}
}
