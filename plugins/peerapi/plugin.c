/*
 * peerapi: HTTP between nodes, on their tailnet addresses. Read this first: the tables that declare
 * it, and what it listens on.
 *
 *	conn.c		connections of peers and their requests
 *	guard.c		ports, what is spoken, what is refused
 *	route.c		which plugin serves which path
 *	reach.c		the other direction: connections to peers
 *	show.c		status and doctor
 *
 * The sockets are svcnet's, ahead of the packet filter: a peer that may do nothing else gets here,
 * and whoever serves a path decides. With shields up there is none, and peers are told of none.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include <sodium.h>

#include "base/addr.h"
#include "base/str.h"
#include "guard.h"
#include "peerapi.h"

enum { CHANCES = 8 };			/* ports by lot, when those of the address are taken */
static const uint64_t look_usec = 10000000;

static const struct warren_option options[] = {
	{ .key = "connections", .type = WARREN_INT, .def = "1024", .min = 1, .max = 65536,
	  .brief = "Connections of all peers together.",
	  .help = "Those above it are closed at once." },
	{ .key = "per-peer", .type = WARREN_INT, .def = "64", .min = 1, .max = 65536,
	  .brief = "Connections of one peer.",
	  .help = "Those above it are closed at once." },
};

static const struct warren_metric metrics[] = {
	{ .name = "connections", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Connections of peers." },
	{ .name = "requests", .kind = WARREN_COUNTER, .unit = "1", .brief = "Their requests." },
	{ .name = "refused", .kind = WARREN_COUNTER, .unit = "1", .label = "reason",
	  .brief = "Connections and requests that were refused." },
};

static const struct warren_port needs[] = {
	{ .name = "netmap", .major = 0, .minor = 1, .brief = "Who is at which address." },
	{ .name = "svcnet", .major = 0, .minor = 1, .flags = WARREN_ENABLE, .provider = "svcnet",
	  .brief = "Sockets on the tailnet." },
	{ .name = "filter", .major = 0, .minor = 2, .flags = WARREN_SOFT,
	  .brief = "Who is pinged by TSMP tells of the peer API." },
};

static const struct warren_port offers[] = {
	{ .name = "peerapi", .major = 0, .minor = 1, .brief = "What nodes serve to each other." },
};

static const struct warren_check checks[] = {
	{
		.id = "peerapi.reachable", .severity = WARREN_WARN,
		.brief = "Peers reach what this node serves to them.",
		.help = "File transfer and DNS for peers go this way.",
		.run = papi_check_reachable,
	},
};

static const struct warren_peerapi_ops ops = {
	.size = sizeof(ops),
	.route = papi_route,
	.base = papi_base,
	.connect = papi_connect,
	.ping = papi_ping,
	.cancel = papi_cancel,
};

/*
 * ---- Ports ----
 */

/* 0, or -EADDRINUSE: another plugin has it; or another -errno, with a sentence. */
static int listen_at(struct peerapi *p, struct papi_side *side, uint16_t port,
		     struct warren_err *err)
{
	static const struct warren_svc_events events = {
		.size = sizeof(events), .accepted = papi_accepted,
	};
	const struct warren_svc_listen listen = {
		.size = sizeof(listen), .protocol = WARREN_SVC_TCP, .at = WARREN_SVC_SELF,
		.flags = WARREN_SVC_UNFILTERED | WARREN_SVC_NO_HOST, .port = port,
	};
	int result = p->svcnet->listen(p->svcnet_self, p->ctx, &listen, &events, p,
				       &side->listener, err);

	if (!result)
		side->port = port;
	return result;
}

static uint16_t nth_port(const struct papi_side *side, uint32_t n)
{
	if (n < PAPI_ATTEMPTS)
		return papi_port(&side->addr, n);
	return (uint16_t)(0x8000 | randombytes_uniform(0x8000));
}

static void side_open(struct peerapi *p, struct papi_side *side)
{
	int result = -EADDRINUSE;

	for (uint32_t n = side->attempts; result == -EADDRINUSE && n < PAPI_ATTEMPTS + CHANCES;
	     n++) {
		uint16_t port = nth_port(side, n);

		side->attempts = n;
		if (side != p->sides && p->sides[0].port == port) {
			side->port = port;	/* one listener has the addresses of both */
			return;
		}
		result = listen_at(p, side, port, NULL);
	}
	if (result)
		warren_log(p->ctx, LOG_ERR, "no port for peers on IPv%d: %s", side->addr.family,
			   strerror(-result));
}

static void tell_filter(const struct peerapi *p)
{
	if (p->filter)
		p->filter->peerapi_ports(p->filter_self, p->sides[0].port, p->sides[1].port);
}

/* What peers are told of it; NULL withdraws it. */
static void tell(struct peerapi *p)
{
	struct str text = STR_INIT;

	tell_filter(p);
	for (int i = 0; i < 2; i++) {
		if (p->sides[i].port)
			str_addf(&text, "%s{\"Proto\":\"peerapi%d\",\"Port\":%u}",
				 text.len ? "," : "[", i ? 6 : 4, p->sides[i].port);
	}
	if (text.len)
		str_addc(&text, ']');
	if (text.failed || p->netmap->self_set(p->netmap_self, p->ctx, WARREN_FACET_SERVICES,
					       text.len ? str_text(&text) : NULL))
		warren_log(p->ctx, LOG_ERR, "peers cannot be told of the peer API: out of memory");
	str_free(&text);
}

static void sides_close(struct peerapi *p)
{
	for (int i = 0; i < 2; i++) {
		p->svcnet->close(p->svcnet_self, p->sides[i].listener);
		p->sides[i].listener = NULL;
		p->sides[i].port = 0;
	}
}

static void sides_open(struct peerapi *p)
{
	sides_close(p);
	for (int i = 0; i < 2; i++) {
		if (p->open && p->sides[i].addr.family)
			side_open(p, &p->sides[i]);
	}
	tell(p);
	if (p->open && !p->svcnet->apart(p->svcnet_self))
		warren_timer_set(p->look, look_usec);
	else
		warren_timer_stop(p->look);
}

/* On the host itself another program may have the port, as svcnet learns with time. */
static void look(struct warren_ctx *ctx, void *arg)
{
	struct peerapi *p = arg;
	bool again = false;

	(void)ctx;
	for (int i = 0; i < 2; i++) {
		struct papi_side *side = &p->sides[i];

		if (side->listener && side->attempts + 1 < PAPI_ATTEMPTS + CHANCES &&
		    p->svcnet->problem(p->svcnet_self, side->listener)) {
			side->attempts++;
			again = true;
		}
	}
	if (again)
		sides_open(p);
	else
		warren_timer_set(p->look, look_usec);
}

/*
 * ---- The map ----
 */

static void follow(struct peerapi *p)
{
	static const struct warren_addr none;
	const struct warren_node *self = p->map ? p->map->self : NULL;
	bool open = self && self->n_addresses > 0 && !self->shields_up, changed = open != p->open;

	for (int i = 0; i < 2; i++) {
		const struct warren_addr *addr = self ? papi_address(self, i ? 6 : 4) : NULL;

		addr = addr ? addr : &none;
		if (addr_equal(addr, &p->sides[i].addr))
			continue;
		p->sides[i].addr = *addr;
		p->sides[i].attempts = 0;
		changed = true;
	}
	p->open = open;
	if (changed)
		sides_open(p);
	papi_recheck(p, !open);
}

void papi_map(struct peerapi *p, const struct warren_netmap *map)
{
	const struct warren_netmap *old = p->map;

	p->map = warren_obj_ref(map);
	warren_obj_unref(old);
	follow(p);
}

static void on_map(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	(void)ctx;
	(void)topic;
	papi_map(arg, obj);
}

/*
 * ---- Life ----
 */

static void conf_read(struct peerapi *p, const struct warren_conf *conf)
{
	p->connections_max = (uint32_t)warren_conf_int(conf, "connections");
	p->per_peer_max = (uint32_t)warren_conf_int(conf, "per-peer");
}

/* Connections and calls have ended by then: what they have is the context's, and newer. */
static void end(void *arg)
{
	struct peerapi *p = arg;

	papi_routes_free(p);
	warren_obj_unref(p->map);
}

int papi_init(struct peerapi *p, struct warren_ctx *ctx)
{
	p->ctx = ctx;
	list_init(&p->conns);
	list_init(&p->routes);
	list_init(&p->calls);
	p->look = warren_timer_new(ctx, look, p);
	p->accepted = warren_stat_open(ctx, "connections", NULL);
	p->requests = warren_stat_open(ctx, "requests", NULL);
	p->unknown = warren_stat_open(ctx, "refused", "unknown");
	p->full = warren_stat_open(ctx, "refused", "full");
	p->invalid = warren_stat_open(ctx, "refused", "invalid");
	if (!p->look || !p->accepted || !p->requests || !p->unknown || !p->full || !p->invalid)
		return -ENOMEM;
	return warren_on_end(ctx, end, p) ? 0 : -ENOMEM;
}

static int papi_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		      struct warren_err *err)
{
	struct peerapi *p = warren_zalloc(ctx, sizeof(*p));
	const void *found;
	int result;

	if (!p || sodium_init() < 0 || papi_init(p, ctx))
		return warren_fail(err, NULL, "out of memory");
	warren_self_set(ctx, p);
	conf_read(p, conf);
	result = warren_need(ctx, "netmap", &found, &p->netmap_self);
	if (result)
		return result;
	p->netmap = found;
	result = warren_need(ctx, "svcnet", &found, &p->svcnet_self);
	if (result)
		return result;
	p->svcnet = found;
	/* Sticky: the map of now follows. */
	result = warren_subscribe(ctx, "netmap", on_map, p);
	return result ? result : warren_offer(ctx, "peerapi", &ops, p);
}

static int papi_reload(struct warren_ctx *ctx, const struct warren_conf *old,
		       const struct warren_conf *now, struct warren_err *err)
{
	(void)old;
	(void)err;
	conf_read(warren_self(ctx), now);
	return 0;
}

static int papi_stop(struct warren_ctx *ctx)
{
	struct peerapi *p = warren_self(ctx);

	p->open = false;
	sides_close(p);
	tell_filter(p);
	papi_recheck(p, true);
	papi_calls_drop(p);
	return 0;
}

static void papi_found(struct warren_ctx *ctx, const char *service, const void *found, void *self)
{
	struct peerapi *p = warren_self(ctx);

	(void)service;			/* there is one that may be missing */
	p->filter = found;
	p->filter_self = self;
	tell_filter(p);
}

static void papi_lost(struct warren_ctx *ctx, const char *service)
{
	struct peerapi *p = warren_self(ctx);

	(void)service;
	p->filter = NULL;
}

WARREN_PLUGIN(peerapi, "peerapi",
	.version = "0.1",
	.license = "ISC",
	.brief = "HTTP between nodes, on their tailnet addresses.",
	.help = "Peers send files and ask for names by it, through the plugins that serve these. "
		"Who asks is known from the tunnel. The policy has no say in who gets here, only "
		"in what is done; shields-up shuts it.",
	.options = WARREN_TABLE(options),
	.metrics = WARREN_TABLE(metrics),
	.needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers),
	.checks = WARREN_TABLE(checks),
	.start = papi_start,
	.reload = papi_reload,
	.stop = papi_stop,
	.found = papi_found,
	.lost = papi_lost,
	.status = papi_status,
);
