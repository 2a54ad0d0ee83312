/*
 * Only a gateway with a private address is asked: another one is no home router. Its answers are
 * known by their source, which is all the protection that NAT-PMP has. Requests leave by the
 * address that is to be mapped, so that a mapping is only ever for this host.
 */
#include "portmapper.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

#include <warren/netstate.h>
#include <warren/priv.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "paths.h"

enum { ONCE = 16, DATAGRAM = 1500 };	/* per turn of the loop; the longest */

static void arm(struct portmapper *pm)
{
	uint64_t due = portmap_deadline(&pm->map), now = warren_now();

	if (due == PATHS_NEVER)
		warren_timer_stop(pm->timer);
	else
		warren_timer_set(pm->timer, due > now ? due - now : 0);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct portmapper *pm = arg;

	(void)ctx;
	portmap_turn(&pm->map, warren_now());
	arm(pm);
}

/*
 * ---- Acts ----
 */

static void send_to(struct portmapper *pm, const struct warren_addrport *to, const void *data,
		    size_t len)
{
	struct sockaddr_storage ss;
	socklen_t size = addrport_to_sockaddr(to, &ss);

	/* What is lost is sent again, whatever the reason. */
	if (pm->io)
		(void)sendto(pm->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL,
			     (struct sockaddr *)&ss, size);
}

static void act_send(void *arg, const uint8_t *data, size_t len)
{
	struct portmapper *pm = arg;
	const struct warren_addrport to = { .addr = pm->map.gateway, .port = PMP_PORT };

	send_to(pm, &to, data, len);
}

static void tell(struct portmapper *pm)
{
	AUTO(str_free) struct str text = STR_INIT;

	portmapper_describe(pm, &text);
	warren_log_limit(pm->paths->ctx, &pm->log, LOG_NOTICE, "port mapping: %s", str_text(&text));
}

static void act_event(void *arg, enum portmap_event event)
{
	struct portmapper *pm = arg;

	switch (event) {
	case PORTMAP_PROBED:
		paths_tell_netinfo(pm->paths);
		return;
	case PORTMAP_MAPPED:
		pm->told_refusal = false;
		tell(pm);
		paths_gather(pm->paths, "portmap-changed");
		return;
	case PORTMAP_LOST:
		warren_log_limit(pm->paths->ctx, &pm->log, LOG_NOTICE,
				 "port mapping: the one at the gateway is gone");
		if (!pm->stopping)
			paths_gather(pm->paths, "portmap-changed");
		return;
	case PORTMAP_REFUSED:
		/* Each full netcheck asks again. */
		if (!pm->told_refusal)
			tell(pm);
		pm->told_refusal = true;
		return;
	case PORTMAP_RELEASED:
		warren_stopped(pm->paths->ctx);
		return;
	}
}

static void act_search(void *arg)
{
	struct portmapper *pm = arg;
	const struct warren_addrport group = {
		.addr = { .family = 4, .bytes = { 239, 255, 255, 250 } }, .port = IGD_SSDP_PORT,
	};
	struct warren_addrport gateway = { .addr = pm->map.gateway, .port = IGD_SSDP_PORT };

	/* The gateway first: then a firewall of this host takes what it says to both. */
	send_to(pm, &gateway, igd_search, strlen(igd_search));
	send_to(pm, &group, igd_search_group, strlen(igd_search_group));
}

static void act_igd(void *arg, enum portmap_igd what, uint16_t external)
{
	struct portmapper *pm = arg;

	switch (what) {
	case PORTMAP_IGD_MAP:
		igd_client_map(&pm->igd, external);
		return;
	case PORTMAP_IGD_DELETE:
		igd_client_delete(&pm->igd);
		return;
	case PORTMAP_IGD_FORGET:
		igd_client_forget(&pm->igd);
		return;
	}
}

static const struct portmap_acts acts = {
	.send = act_send, .event = act_event, .search = act_search, .igd = act_igd,
};

static void igd_done(void *arg, uint16_t result, const struct warren_addrport *external,
		     uint32_t lifetime)
{
	struct portmapper *pm = arg;

	portmap_igd_answer(&pm->map, result, external, lifetime, warren_now());
	arm(pm);
}

/*
 * ---- The gateway ----
 */

static void look_at_route(const struct warren_net_route *route, void *arg)
{
	struct warren_net_route *best = arg;

	if (route->family == 4 && route->dst.bits == 0 && route->type == RTN_UNICAST &&
	    route->gateway.family && (!best->gateway.family || route->metric < best->metric))
		*best = *route;
}

/* Family 0 in both: there is none, or none that would map. */
static void find_gateway(struct portmapper *pm, struct warren_addr *gateway,
			 struct warren_addr *self)
{
	struct warren_net_route best = { .size = sizeof(best) };

	memset(gateway, 0, sizeof(*gateway));
	memset(self, 0, sizeof(*self));
	if (!pm->on || warren_net_routes(RT_TABLE_MAIN, look_at_route, &best, NULL) < 0 ||
	    !paths_address_private(&best.gateway))
		return;
	if (paths_address_towards(best.ifindex, &best.gateway, self))
		*gateway = best.gateway;
}

/*
 * ---- The socket ----
 */

static void on_readable(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct portmapper *pm = arg;
	uint8_t data[DATAGRAM];
	struct igd_found found;

	(void)ctx;
	(void)what;
	for (int i = 0; i < ONCE && pm->io; i++) {
		struct sockaddr_storage ss;
		socklen_t size = sizeof(ss);
		struct warren_addrport from;
		ssize_t n = recvfrom(fd, data, sizeof(data), MSG_DONTWAIT,
				     (struct sockaddr *)&ss, &size);

		if (n < 0)
			break;
		if (addrport_from_sockaddr((struct sockaddr *)&ss, size, &from) ||
		    !addr_equal(&from.addr, &pm->map.gateway))
			continue;
		/* Some devices answer a search from another port. */
		if (from.port == PMP_PORT) {
			portmap_received(&pm->map, data, (size_t)n, warren_now());
		} else if (igd_answer_parse(data, (size_t)n, &found) == 0) {
			igd_client_found(&pm->igd, &found);
			portmap_igd_found(&pm->map, found.boot, warren_now());
		}
	}
	arm(pm);
}

static void open_socket(struct portmapper *pm);

static void opened(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct portmapper *pm = arg;

	pm->opening = false;
	if (answer->result < 0 || answer->count < 1) {
		warren_log_limit(ctx, &pm->log, LOG_WARNING, "port mapping: no socket: %s",
				 answer->error ? answer->error : "the monitor gave none");
		return;
	}
	pm->fd = answer->fds[0];
	pm->io = warren_io_new_take(ctx, pm->fd, on_readable, pm);
	if (!pm->io)
		return;
	if (pm->stopping || !addr_equal(&pm->asked_for, &pm->self)) {
		/* The host's address changed meanwhile. */
		warren_release(pm->io);
		pm->io = NULL;
		if (!pm->stopping && pm->self.family)
			open_socket(pm);
		return;
	}
	warren_io_want(pm->io, WARREN_IN);
	igd_client_begin(&pm->igd, &pm->gateway, &pm->self, pm->port);
	portmap_begin(&pm->map, &pm->gateway, &pm->self, pm->port, warren_now());
	arm(pm);
}

static void open_socket(struct portmapper *pm)
{
	const struct warren_priv_socket request = {
		.family = 4, .type = WARREN_SOCK_UDP, .flags = WARREN_SOCK_BYPASS,
		.bind = { .addr = pm->self },
	};

	pm->asked_for = pm->self;
	pm->opening = warren_priv(pm->paths->ctx, WARREN_OP_SOCKET, &request, sizeof(request),
				  opened, pm) == 0;
}

static void begin_anew(struct portmapper *pm, const struct warren_addr *gateway,
		       const struct warren_addr *self, uint16_t port)
{
	pm->gateway = *gateway;
	pm->self = *self;
	pm->port = port;
	portmap_forget(&pm->map);	/* says so to the old one */
	warren_release(pm->io);
	pm->io = NULL;
	arm(pm);
	if (gateway->family && port && !pm->opening)
		open_socket(pm);
}

/*
 * ---- Life ----
 */

int portmapper_init(struct portmapper *pm, struct paths *p)
{
	pm->paths = p;
	portmap_init(&pm->map, &acts, pm);
	pm->timer = warren_timer_new(p->ctx, on_timer, pm);
	return pm->timer ? igd_client_init(&pm->igd, p->ctx, igd_done, pm) : -ENOMEM;
}

void portmapper_look(struct portmapper *pm, bool full)
{
	uint16_t port = pm->paths->dataplane->port(pm->paths->dataplane_self, 4);
	struct warren_addr gateway = pm->gateway, self = pm->self;

	if (pm->stopping)
		return;
	if (full)
		find_gateway(pm, &gateway, &self);
	if (!addr_equal(&gateway, &pm->gateway) || !addr_equal(&self, &pm->self) ||
	    port != pm->port || (full && gateway.family && !pm->io && !pm->opening)) {
		begin_anew(pm, &gateway, &self, port);
	} else if (pm->io && (full || portmapper_endpoint(pm))) {
		/* With a mapping: has the gateway lost it? */
		portmap_probe(&pm->map, warren_now());
		arm(pm);
	}
}

void portmapper_set(struct portmapper *pm, bool on)
{
	if (pm->on == on)
		return;
	pm->on = on;
	/* At the start the first netcheck looks. */
	if (pm->paths->map)
		portmapper_look(pm, true);
}

bool portmapper_is_busy(const struct portmapper *pm)
{
	return pm->opening || portmap_is_probing(&pm->map);
}

bool portmapper_stop(struct portmapper *pm)
{
	bool pending;

	pm->stopping = true;
	pending = pm->io && portmap_release(&pm->map, warren_now());
	arm(pm);
	return pending;
}

/*
 * ---- What there is to tell ----
 */

const struct warren_addrport *portmapper_endpoint(const struct portmapper *pm)
{
	return pm->map.external.addr.family ? &pm->map.external : NULL;
}

uint8_t portmapper_there(const struct portmapper *pm, enum portmap_service service)
{
	return pm->map.at[service].there;
}

bool portmapper_refused(const struct portmapper *pm)
{
	enum portmap_service by;

	return !portmapper_endpoint(pm) && portmap_refusal(&pm->map, &by);
}

void portmapper_describe(const struct portmapper *pm, struct str *out)
{
	char gateway[ADDR_TEXT], text[ADDRPORT_TEXT];
	enum portmap_service by;
	const char *why = portmap_refusal(&pm->map, &by);

	addr_format(&pm->gateway, gateway);
	if (!pm->on)
		str_add(out, "switched off by paths.portmap");
	else if (!pm->gateway.family)
		str_add(out, "no default route leads to a gateway with a private address");
	else if (portmapper_endpoint(pm))
		str_addf(out, "the gateway %s maps %s to our port %u (%s)", gateway,
			 addrport_format(portmapper_endpoint(pm), text), pm->port,
			 portmap_service_name(pm->map.mapped_by));
	else if (why)
		str_addf(out, "the gateway %s refuses our port %u (%s: %s)", gateway, pm->port,
			 portmap_service_name(by), why);
	else if (portmapper_is_busy(pm) || pm->map.ask_due != PATHS_NEVER)
		str_addf(out, "the gateway %s is being asked", gateway);
	else
		str_addf(out, "the gateway %s offers none", gateway);
}
