/*
 * Listeners. One that a plugin asks for is several sockets: per address of the node one in the
 * namespace and one on the host's side. What should be there follows from the addresses; the
 * difference is asked of the monitor or closed. What was refused is tried again, with growing
 * pauses: an address may not be laid yet, a port may become free.
 *
 * A request to the monitor cannot be called off: a socket that is not wanted any more stays until
 * the answer.
 */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/str.h"
#include "svcnet.h"

enum {
	BACKLOG = 1024,
	ACCEPT_ONCE = 32,		/* per turn of the loop: others want theirs too */
	LISTENERS_MAX = 256,
};
static const uint64_t pause_first = 100000, pause_last = 60000000;	/* microseconds */
static const uint64_t pause_accept = 200000;
static const uint32_t told_after = 5;	/* refusals: what is still missing then is told */

enum place {
	PLACE_APART,			/* in the namespace */
	/*
	 * On the host's side, bound to the tunnel's interface. What the host sends to an address of
	 * that interface goes over `lo`, but the kernel takes it as having come in there, and what
	 * comes from anywhere else does not get to such a socket.
	 */
	PLACE_HOST,
};

enum state { STATE_ASKING = 1, STATE_OPEN, STATE_REFUSED };

struct sock {
	struct list node;
	struct warren_svc_listener *listener;	/* NULL: given up, the answer is waited for */
	struct svcnet *svc;
	struct warren_addrport at;
	enum place place;
	enum state state;
	bool wanted;			/* while the difference is made */
	uint32_t refusals;
	struct warren_io *io;		/* TCP */
	struct warren_timer *again;	/* TCP: accepts after a pause */
	char problem[192];
};

struct warren_svc_listener {
	struct list node;
	struct svcnet *svc;
	struct warren_ctx *ctx;
	uint32_t flags, protocol, at, index;
	uint16_t port;
	char key[WARREN_PRIV_KEY];
	struct warren_svc_events events;
	void *arg;
	void *tie;			/* of warren_on_end() */
	bool paused;
	struct list socks;
};

/*
 * ---- What the workers see ----
 */

static bool is_open_apart(const struct warren_svc_listener *l)
{
	const struct sock *s;

	list_for_each(s, &l->socks, node) {
		if (s->place == PLACE_APART && s->state == STATE_OPEN)
			return true;
	}
	return false;
}

static void table_free(void *ptr)
{
	warren_release(ptr);
}

/* A new table in place of the old one. Without memory the old one stays, and is told of. */
static void publish(struct svcnet *svc)
{
	struct steer_table *table, *old;
	const struct warren_svc_listener *l;

	if (!svc->apart)
		return;
	table = warren_zalloc(svc->ctx, sizeof(*table));
	if (!table) {
		warren_fatal(svc->ctx, "out of memory for the table of services");
		return;
	}
	for (uint32_t i = 0; i < svc->n_self; i++)
		(void)steer_table_add_self(table, &svc->self[i]);
	list_for_each(l, &svc->listeners, node) {
		uint32_t set = l->at == WARREN_SVC_MAGIC ? STEER_MAGIC :
			       l->flags & WARREN_SVC_UNFILTERED ? STEER_OPEN : STEER_FILTERED;

		if (is_open_apart(l))
			steer_table_add_port(table, set, l->protocol == WARREN_SVC_UDP ?
					     STEER_UDP : STEER_TCP, l->port);
	}
	old = (struct steer_table *)atomic_exchange_explicit(&svc->steer->table, table,
							     memory_order_acq_rel);
	if (old)
		warren_retire(svc->ctx, old, table_free);
}

/*
 * ---- One socket ----
 */

static void magic(struct warren_addr addrs[2])
{
	addrs[0] = (struct warren_addr){ .family = 4 };
	addrs[1] = (struct warren_addr){ .family = 6 };
	memcpy(addrs[0].bytes, steer_magic4, sizeof(steer_magic4));
	memcpy(addrs[1].bytes, steer_magic6, sizeof(steer_magic6));
}

static bool is_magic(const struct warren_addr *addr)
{
	struct warren_addr addrs[2];

	magic(addrs);
	return addr_equal(addr, &addrs[0]) || addr_equal(addr, &addrs[1]);
}

bool svc_own(void *self, const struct warren_addr *addr)
{
	const struct svcnet *svc = self;
	bool loopback = addr->family == 4 ? addr->bytes[0] == IN_LOOPBACKNET :
			memcmp(addr->bytes, &in6addr_loopback, sizeof(in6addr_loopback)) == 0;

	for (uint32_t i = 0; !loopback && i < svc->n_self; i++)
		loopback = addr_equal(&svc->self[i], addr);
	return loopback || is_magic(addr);
}

static struct warren_svc_conn conn_of(const struct sock *s)
{
	return (struct warren_svc_conn){
		.size = sizeof(struct warren_svc_conn),
		.from = s->listener->at == WARREN_SVC_MAGIC ? WARREN_SVC_FROM_HOST :
			s->place == PLACE_APART ? WARREN_SVC_FROM_PEER : 0,
		.local = s->at,
	};
}

/*
 * Who a connection on the host's side is from. Peers have their own way where there is one: what
 * comes by this one, as in fragments, is refused. False: refuse it.
 */
static bool tell_host(const struct sock *s, struct warren_svc_conn *conn)
{
	bool own = svc_own(s->svc, &conn->remote.addr);

	if (s->place == PLACE_APART)
		return true;
	conn->from = own ? WARREN_SVC_FROM_HOST : WARREN_SVC_FROM_PEER;
	return own || (!s->svc->apart && s->listener->at == WARREN_SVC_SELF);
}

/* Takes it off its listener; @tell its owner where that holds the descriptor. */
static void drop(struct sock *s, bool tell)
{
	struct warren_svc_listener *l = s->listener;
	struct warren_svc_conn conn = conn_of(s);
	bool told = tell && s->state == STATE_OPEN && l->protocol == WARREN_SVC_UDP;

	list_del(&s->node);
	warren_release(s->io);
	warren_release(s->again);
	s->io = NULL;
	s->again = NULL;
	s->listener = NULL;
	if (s->state != STATE_ASKING)
		warren_release(s);
	if (told && l->events.closing)
		l->events.closing(l->arg, &conn);
}

static bool is_about_the_peer(int err)
{
	return err == ECONNABORTED || err == EINTR || err == EPROTO || err == ENETDOWN ||
	       err == EHOSTUNREACH || err == ENETUNREACH || err == EPERM;
}

static void want_more(struct sock *s)
{
	if (s->io)
		warren_io_want(s->io, s->listener->paused ? 0 : WARREN_IN);
}

static void accept_again(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	want_more(arg);
}

static void rest(struct sock *s, int err)
{
	char text[ADDRPORT_TEXT];

	errno = err;
	warren_log_limit(s->svc->ctx, &s->svc->log_accept, LOG_WARNING,
			 "cannot accept connections on %s for now: %m: fewer clients, or a higher "
			 "limit of open files (LimitNOFILE)", addrport_format(&s->at, text));
	warren_io_want(s->io, 0);
	warren_timer_set(s->again, pause_accept);
}

/* False: no more for now. */
static bool accept_one(struct sock *s, int fd)
{
	struct warren_svc_listener *l = s->listener;
	struct warren_svc_conn conn = conn_of(s);
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int got = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (got == -1) {
		if (is_about_the_peer(errno))
			return true;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			rest(s, errno);
		return false;
	}
	if (addrport_from_sockaddr((struct sockaddr *)&ss, len, &conn.remote) ||
	    !tell_host(s, &conn)) {
		close(got);
		return true;
	}
	warren_stat_add(s->svc->connections, 1);
	l->events.accepted(l->arg, got, &conn);
	return true;
}

/* The callee may close the listener, and the io with it: then `s` is memory that is gone. */
static void on_io(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct svcnet *svc = warren_self(ctx);
	const struct warren_svc_listener *l, *mine = ((struct sock *)arg)->listener;

	(void)what;
	for (int i = 0; i < ACCEPT_ONCE; i++) {
		struct sock *s, *found = NULL;

		list_for_each(l, &svc->listeners, node) {
			if (l != mine)
				continue;
			list_for_each(s, &l->socks, node) {
				if (s == arg)
					found = s;
			}
		}
		if (!found || !found->io || found->listener->paused || !accept_one(found, fd))
			return;
	}
}

static int take_tcp(struct sock *s, int fd)
{
	s->io = warren_io_new_take(s->svc->ctx, fd, on_io, s);
	s->again = warren_timer_new(s->svc->ctx, accept_again, s);
	if (!s->io || !s->again)
		return -ENOMEM;
	want_more(s);
	return 0;
}

static void refused(struct sock *s, const char *why)
{
	struct svcnet *svc = s->svc;
	char text[ADDRPORT_TEXT];

	warren_release(s->io);
	s->io = NULL;
	s->state = STATE_REFUSED;
	s->refusals++;
	str_copy(s->problem, sizeof(s->problem), why);
	if (s->refusals == told_after)
		warren_log(svc->ctx, LOG_WARNING, "%s: %s cannot be reached %s: %s",
			   warren_name(s->listener->ctx), addrport_format(&s->at, text),
			   svc->apart && s->place == PLACE_HOST ? "from this host" : "by peers",
			   s->problem);
	if (!svc->retrying) {
		svc->retrying = true;
		warren_timer_set(svc->retry, svc->pause);
	}
}

static void given(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct sock *s = arg;
	struct warren_svc_listener *l = s->listener;
	struct warren_svc_conn conn;

	(void)ctx;
	if (!l || answer->result < 0 || answer->count != 1) {
		for (uint32_t i = 0; i < answer->count; i++)
			close(answer->fds[i]);
		if (!l)
			warren_release(s);
		else
			refused(s, answer->error ? answer->error : "the monitor gave no socket");
		return;
	}
	if (l->protocol == WARREN_SVC_TCP && take_tcp(s, answer->fds[0])) {
		refused(s, "no memory");
		return;
	}
	s->state = STATE_OPEN;
	s->problem[0] = '\0';
	s->refusals = 0;
	if (s->place == PLACE_APART)
		publish(s->svc);
	conn = conn_of(s);
	if (l->protocol == WARREN_SVC_UDP)
		l->events.opened(l->arg, answer->fds[0], &conn);
}

static void ask(struct sock *s)
{
	const struct warren_svc_listener *l = s->listener;
	struct svcnet *svc = s->svc;
	struct warren_priv_socket request = {
		.index = l->index, .family = s->at.addr.family, .bind = s->at,
		.type = l->protocol == WARREN_SVC_UDP ? WARREN_SOCK_UDP : WARREN_SOCK_TCP,
		.backlog = l->protocol == WARREN_SVC_TCP ? BACKLOG : 0,
	};
	int result;

	if (s->place == PLACE_APART) {
		request.index = 0;
		request.flags = WARREN_SOCK_TRANSPARENT;
		request.namespace_ = WARREN_NS_SERVICE;
	} else {
		str_copy(request.key, sizeof(request.key), l->key);
		str_copy(request.device, sizeof(request.device),
			 svc->dataplane->ifname(svc->dataplane_self));
	}
	s->state = STATE_ASKING;
	result = warren_priv(svc->ctx, WARREN_OP_SOCKET, &request, sizeof(request), given, s);
	if (result)
		refused(s, strerror(-result));
}

/*
 * ---- What should be there ----
 */

static void want(struct warren_svc_listener *l, const struct warren_addr *addr, enum place place)
{
	struct sock *s;

	list_for_each(s, &l->socks, node) {
		if (s->place == place && addr_equal(&s->at.addr, addr)) {
			s->wanted = true;
			return;
		}
	}
	s = warren_zalloc(l->svc->ctx, sizeof(*s));
	if (!s) {
		warren_fatal(l->svc->ctx, "out of memory for a listener");
		return;
	}
	s->svc = l->svc;
	s->listener = l;
	s->at.addr = *addr;
	s->at.port = l->port;
	s->place = place;
	s->wanted = true;
	list_add_tail(&l->socks, &s->node);
	ask(s);
}

static void nothing(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	(void)arg;
	if (answer->result < 0)
		warren_log(ctx, LOG_WARNING, "cannot lay the service addresses: %s",
			   answer->error ? answer->error : strerror(-answer->result));
}

/* Without a namespace the host itself must have them. */
static void lay_magic(struct svcnet *svc, const struct warren_addr addrs[2])
{
	if (svc->magic_laid)
		return;
	svc->magic_laid = true;
	for (int i = 0; i < 2; i++) {
		struct warren_priv_addr item = {
			.verb = WARREN_ADDR_ADD, .prefix = prefix_of_host(&addrs[i]),
		};

		str_copy(item.ifname, sizeof(item.ifname),
			 svc->dataplane->ifname(svc->dataplane_self));
		(void)warren_priv(svc->ctx, WARREN_OP_ADDR, &item, sizeof(item), nothing, NULL);
	}
}

static void want_magic(struct warren_svc_listener *l)
{
	struct warren_addr addrs[2];

	magic(addrs);
	if (!l->svc->apart && l->svc->n_self > 0)
		lay_magic(l->svc, addrs);
	for (uint32_t i = 0; i < 2 && l->svc->n_self > 0; i++)
		want(l, &addrs[i], l->svc->apart ? PLACE_APART : PLACE_HOST);
}

static void follow(struct warren_svc_listener *l)
{
	struct svcnet *svc = l->svc;
	struct sock *s, *next;

	list_for_each(s, &l->socks, node)
		s->wanted = false;
	if (l->at == WARREN_SVC_MAGIC)
		want_magic(l);
	for (uint32_t i = 0; l->at == WARREN_SVC_SELF && i < svc->n_self; i++) {
		if (svc->apart)
			want(l, &svc->self[i], PLACE_APART);
		if (!svc->apart || !(l->flags & WARREN_SVC_NO_HOST))
			want(l, &svc->self[i], PLACE_HOST);
	}
	list_for_each_safe(s, next, &l->socks, node) {
		if (!s->wanted)
			drop(s, true);
	}
}

void svc_addresses_changed(struct svcnet *svc)
{
	struct warren_svc_listener *l;

	svc->pause = pause_first;
	list_for_each(l, &svc->listeners, node)
		follow(l);
	publish(svc);
}

void svc_retry(struct warren_ctx *ctx, void *arg)
{
	struct svcnet *svc = arg;
	const struct warren_svc_listener *l;
	struct sock *s;

	(void)ctx;
	svc->retrying = false;
	svc->pause = svc->pause > pause_last / 2 ? pause_last : 2 * svc->pause;
	list_for_each(l, &svc->listeners, node) {
		list_for_each(s, &l->socks, node) {
			if (s->state == STATE_REFUSED)
				ask(s);
		}
	}
}

/*
 * ---- The service ----
 */

static void end(struct warren_svc_listener *l)
{
	struct svcnet *svc = l->svc;

	while (!list_empty(&l->socks))
		drop(list_first(&l->socks, struct sock, node), false);
	list_del(&l->node);
	warren_release(l);
	publish(svc);
}

static void owner_ended(void *arg)
{
	end(arg);
}

void svc_close(void *self, struct warren_svc_listener *l)
{
	(void)self;
	if (!l)
		return;
	warren_release(l->tie);
	end(l);
}

void svc_forget_listeners(struct svcnet *svc)
{
	struct warren_svc_listener *l;

	list_for_each(l, &svc->listeners, node)
		warren_release(l->tie);
	list_init(&svc->listeners);
}

void svc_pause(void *self, struct warren_svc_listener *l, bool pause)
{
	struct sock *s;

	(void)self;
	l->paused = pause;
	list_for_each(s, &l->socks, node)
		want_more(s);
}

const char *svc_problem(void *self, const struct warren_svc_listener *l)
{
	const struct sock *s;

	(void)self;
	list_for_each(s, &l->socks, node) {
		if (s->state == STATE_REFUSED && s->refusals >= told_after)
			return s->problem;
	}
	return NULL;
}

static int check(const struct svcnet *svc, const struct warren_svc_listen *listen,
		 const struct warren_svc_events *events, struct warren_err *err)
{
	const struct warren_svc_listener *l;
	uint32_t n = 0;

	if ((listen->protocol != WARREN_SVC_TCP && listen->protocol != WARREN_SVC_UDP) ||
	    (listen->at != WARREN_SVC_SELF && listen->at != WARREN_SVC_MAGIC) ||
	    listen->flags & ~(uint32_t)(WARREN_SVC_UNFILTERED | WARREN_SVC_NO_HOST) ||
	    (listen->at == WARREN_SVC_MAGIC && listen->flags != 0) || listen->port == 0 ||
	    (listen->key && strlen(listen->key) >= WARREN_PRIV_KEY) ||
	    (listen->protocol == WARREN_SVC_TCP ? !events->accepted : !events->opened))
		return warren_fail(err, NULL, "malformed listener");
	list_for_each(l, &svc->listeners, node) {
		n++;
		if (l->protocol == listen->protocol && l->at == listen->at &&
		    l->port == listen->port) {
			warren_fail(err, NULL, "port %u is served by plugin %s already",
				    listen->port, warren_name(l->ctx));
			return -EADDRINUSE;
		}
	}
	if (n < LISTENERS_MAX)
		return 0;
	warren_fail(err, NULL, "there are %u listeners already", n);
	return -ENOSPC;
}

int svc_listen(void *self, struct warren_ctx *ctx, const struct warren_svc_listen *listen,
	       const struct warren_svc_events *events, void *arg,
	       struct warren_svc_listener **out, struct warren_err *err)
{
	struct svcnet *svc = self;
	int result = check(svc, listen, events, err);
	struct warren_svc_listener *l;

	*out = NULL;
	if (result)
		return result;
	l = warren_zalloc(svc->ctx, sizeof(*l));
	if (l)
		l->tie = warren_on_end(ctx, owner_ended, l);
	if (!l || !l->tie) {
		warren_release(l);
		warren_fail(err, NULL, "no memory for a listener");
		return -ENOMEM;
	}
	l->svc = svc;
	l->ctx = ctx;
	l->flags = listen->flags;
	l->protocol = listen->protocol;
	l->at = listen->at;
	l->index = listen->index;
	l->port = listen->port;
	if (listen->key)
		str_copy(l->key, sizeof(l->key), listen->key);
	memcpy(&l->events, events, events->size < sizeof(l->events) ? events->size :
								     sizeof(l->events));
	l->arg = arg;
	list_init(&l->socks);
	list_add_tail(&svc->listeners, &l->node);
	follow(l);
	*out = l;
	return 0;
}

void svc_listeners(const struct svcnet *svc, void (*fn)(const struct svc_view *, void *),
		   void *arg)
{
	const struct warren_svc_listener *l;
	const struct sock *s;

	list_for_each(l, &svc->listeners, node) {
		struct svc_view view = {
			.owner = warren_name(l->ctx), .protocol = l->protocol, .at = l->at,
			.port = l->port, .problem = svc_problem((void *)svc, l),
		};

		list_for_each(s, &l->socks, node) {
			view.open += s->state == STATE_OPEN;
			view.missing += s->state != STATE_OPEN;
		}
		fn(&view, arg);
	}
}
