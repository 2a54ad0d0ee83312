/*
 * svcnet: sockets on the tailnet for the daemon's own services. Read this first: the tables that
 * declare it, and how it starts.
 *
 *	steer.c		workers: which packets go to the namespace and where its packets go
 *	listen.c	listeners, their sockets in the namespace and on the host's side
 *	dial.c		connections out
 *	show.c		status and doctor
 *
 * The monitor makes the namespace (core/monitor/netns.c). Its interface's queue is given to the
 * data plane as a second source of packets; what hooks pick out of the path is written to it.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <sodium.h>

#include "base/addr.h"
#include "base/str.h"
#include "svcnet.h"

static const char *const modes[] = { "auto", "namespace", "host", NULL };

static const struct warren_option options[] = {
	{
		.key = "mode", .type = WARREN_ENUM, .flags = WARREN_COLD, .values = modes,
		.def = "auto",
		.brief = "Where services listen.",
		.help = "auto: in a network namespace of the daemon's own, and where that cannot "
			"be made, on the host itself. namespace: there, or the start fails. host: "
			"on the host itself, where another program may have the port and the "
			"host's firewall decides.",
	},
};

static const struct warren_metric metrics[] = {
	{ .name = "packets", .kind = WARREN_COUNTER, .unit = "packets", .label = "direction",
	  .brief = "Packets into the service namespace and out of it." },
	{ .name = "drops", .kind = WARREN_COUNTER, .unit = "packets", .label = "reason",
	  .brief = "Packets out of the namespace that are nobody's, and those it did not take." },
	{ .name = "connections", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "TCP connections accepted." },
	{ .name = "dials", .kind = WARREN_COUNTER, .unit = "1", .label = "result",
	  .brief = "Connections made for other plugins." },
};

static const struct warren_port needs[] = {
	{ .name = "dataplane", .major = 0, .minor = 4, .brief = "Packets of peers and the host." },
	{ .name = "netmap", .major = 0, .minor = 1, .brief = "Addresses of this node." },
};

static const struct warren_port offers[] = {
	{ .name = "svcnet", .major = 0, .minor = 1, .brief = "Sockets on the tailnet." },
};

static const struct warren_check checks[] = {
	{
		.id = "svcnet.namespace", .severity = WARREN_WARN,
		.brief = "Services have a network of their own.",
		.help = "Without it they listen on the host itself: other programs may have their "
			"ports, and the host's firewall must let peers in. Give the daemon "
			"CAP_SYS_ADMIN, a kernel with network namespaces and /dev/net/tun.",
		.run = svc_check_namespace,
	},
	{
		.id = "svcnet.listeners", .severity = WARREN_WARN,
		.brief = "Every service can be reached by all it should be.",
		.help = "On the host's side another program may have the port; peers are not "
			"concerned unless services have no network of their own.",
		.run = svc_check_listeners,
	},
};

static bool svc_apart(void *self)
{
	return ((const struct svcnet *)self)->apart;
}

static const struct warren_svcnet_ops ops = {
	.size = sizeof(ops),
	.listen = svc_listen,
	.close = svc_close,
	.pause = svc_pause,
	.problem = svc_problem,
	.dial = svc_dial,
	.apart = svc_apart,
	.own = svc_own,
};

/*
 * ---- Addresses ----
 */

static void read_self(struct svcnet *svc, const struct warren_netmap *map)
{
	struct warren_addr now[2 * STEER_ADDRS] = { { .family = 0 } };
	uint32_t n = 0, of[2] = { 0, 0 };

	for (uint32_t i = 0; map && map->self && i < map->self->n_addresses; i++) {
		const struct warren_addr *addr = &map->self->addresses[i].addr;

		if (of[addr->family == 6]++ < STEER_ADDRS)
			now[n++] = *addr;
	}
	if (n == svc->n_self && memcmp(now, svc->self, sizeof(now)) == 0)
		return;
	memcpy(svc->self, now, sizeof(now));
	svc->n_self = n;
	svc_addresses_changed(svc);
}

static void svc_netmap(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	(void)ctx;
	(void)topic;
	read_self(arg, obj);
}

/*
 * ---- Life ----
 */

/* The queue; or -errno with a sentence. */
static int make_namespace(struct svcnet *svc, struct warren_err *err)
{
	struct warren_priv_tun request = {
		.ifname = "svc0", .queues = 1, .namespace_ = WARREN_NS_SERVICE,
		.mtu = svc->dataplane->mtu(svc->dataplane_self),
	};
	struct warren_priv_answer answer = { .size = sizeof(answer) };
	int result = warren_priv_wait(svc->ctx, WARREN_OP_TUN, &request, sizeof(request), &answer,
				      err);

	if (result)
		str_copy(svc->why, sizeof(svc->why), answer.error ? answer.error :
			 strerror(-result));
	return result ? result : answer.fds[0];
}

static int hook(struct svcnet *svc, const char *name, uint32_t direction, const char *before,
		const char *after, warren_packet_fn *fn, struct warren_err *err)
{
	const struct warren_hook what = {
		.name = name, .before = before, .after = after, .directions = 1u << direction,
		.fn = fn, .self = svc->steer,
	};

	return svc->dataplane->hook_add(svc->dataplane_self, svc->ctx, &what, err);
}

static int hook_open(struct svcnet *svc, struct warren_err *err)
{
	return hook(svc, "svcnet-open", WARREN_PKT_IN, "filter", NULL, steer_in_open, err);
}

/* The source first: it closes the queue, to which the hooks write. */
static int join(struct svcnet *svc, int fd, struct warren_err *err)
{
	const struct warren_source source = {
		.size = sizeof(source), .fd = fd, .fn = steer_from, .self = svc->steer,
	};
	int result;

	steer_init(svc->steer, fd);
	result = svc->dataplane->source_take(svc->dataplane_self, svc->ctx, &source);
	if (result) {
		warren_fail(err, NULL, "the data plane has another source of packets already");
		return result;
	}
	result = hook_open(svc, err);
	if (!result)
		result = hook(svc, "svcnet-in", WARREN_PKT_IN, "route", "filter", steer_in, err);
	if (!result)
		result = hook(svc, "svcnet-out", WARREN_PKT_OUT, "filter", NULL, steer_out, err);
	return result;
}

static int set_up(struct svcnet *svc, enum svc_mode mode, struct warren_err *err)
{
	int fd;

	if (mode == SVC_HOST) {
		str_copy(svc->why, sizeof(svc->why), "svcnet.mode is host");
		return hook_open(svc, err);
	}
	fd = make_namespace(svc, mode == SVC_NAMESPACE ? err : NULL);
	if (fd < 0 && mode == SVC_NAMESPACE)
		return fd;
	if (fd < 0) {
		warren_log(svc->ctx, LOG_WARNING,
			   "services listen on the host itself, they cannot have a network of "
			   "their own: %s", svc->why);
		return hook_open(svc, err);
	}
	svc->apart = true;
	return join(svc, fd, err);
}

static void svc_end(void *arg)
{
	svc_forget_dials(arg);
	svc_forget_listeners(arg);
}

static int init(struct svcnet *svc, struct warren_ctx *ctx)
{
	svc->ctx = ctx;
	list_init(&svc->listeners);
	list_init(&svc->dials);
	svc->steer = warren_zalloc(ctx, sizeof(*svc->steer));
	svc->retry = warren_timer_new(ctx, svc_retry, svc);
	svc->connections = warren_stat_open(ctx, "connections", NULL);
	svc->dialed = warren_stat_open(ctx, "dials", "connected");
	svc->dial_failed = warren_stat_open(ctx, "dials", "failed");
	if (!svc->steer || !svc->retry || !svc->connections || !svc->dialed || !svc->dial_failed)
		return -ENOMEM;
	svc->steer->to = warren_stat_open(ctx, "packets", "in");
	svc->steer->from = warren_stat_open(ctx, "packets", "out");
	svc->steer->stray = warren_stat_open(ctx, "drops", "stray");
	svc->steer->failed = warren_stat_open(ctx, "drops", "refused");
	if (!svc->steer->to || !svc->steer->from || !svc->steer->stray || !svc->steer->failed)
		return -ENOMEM;
	return warren_on_end(ctx, svc_end, svc) ? 0 : -ENOMEM;
}

static int svc_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		     struct warren_err *err)
{
	struct svcnet *svc = warren_zalloc(ctx, sizeof(*svc));
	const struct warren_netmap_ops *netmap;
	const struct warren_netmap *map;
	const void *found;
	void *netmap_self;
	int result;

	if (!svc || sodium_init() < 0 || init(svc, ctx))
		return warren_fail(err, NULL, "out of memory");
	warren_self_set(ctx, svc);
	result = warren_need(ctx, "dataplane", &found, &svc->dataplane_self);
	if (result)
		return result;
	svc->dataplane = found;
	result = warren_need(ctx, "netmap", &found, &netmap_self);
	if (result)
		return result;
	netmap = found;
	result = set_up(svc, (enum svc_mode)warren_conf_enum(conf, "mode"), err);
	if (result)
		return result;
	map = netmap->current(netmap_self);
	read_self(svc, map);
	warren_obj_unref(map);
	result = warren_subscribe(ctx, "netmap", svc_netmap, svc);
	return result ? result : warren_offer(ctx, "svcnet", &ops, svc);
}

WARREN_PLUGIN(svcnet, "svcnet",
	.version = "0.1",
	.license = "ISC",
	.brief = "Sockets on the tailnet for the daemon's own services.",
	.help = "Gives other plugins listeners and connections in a network namespace of the "
		"daemon's own, which holds nothing but them. No firewall of the host, no other "
		"program on the same port and no foreign route is in their way, and nobody "
		"outside the tailnet gets there.",
	.options = WARREN_TABLE(options),
	.metrics = WARREN_TABLE(metrics),
	.needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers),
	.checks = WARREN_TABLE(checks),
	.privops = WARREN_PRIVOP(TUN) | WARREN_PRIVOP(SOCKET) | WARREN_PRIVOP(ADDR),
	.start = svc_start,
	.status = svc_status,
);
