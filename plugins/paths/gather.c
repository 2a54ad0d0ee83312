/*
 * Our own endpoints: gathered when something asks for it, by timer while there is traffic, and told
 * to the server when they are others than before (path-protocols.md 3.2, 3.3).
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <syslog.h>

#include <warren/netstate.h>

#include "base/addr.h"
#include "base/str.h"
#include "paths.h"

#define PERIOD (20 * PATHS_SECOND)
#define PERIOD_SPREAD (6 * PATHS_SECOND)

void paths_gather(struct paths *p, const char *reason)
{
	bool full = str_starts(reason, "link-change") || str_starts(reason, "start");

	netcheck_start(&p->netcheck, reason, full);
	if (!p->metered)
		uplinks_look(&p->uplinks);
}

/*
 * ---- The list ----
 */

static void add_observed(struct paths *p, uint64_t now)
{
	const struct paths_report *report = &p->netcheck.last;
	struct warren_addrport fixed;

	for (int six = 0; six < 2; six++) {
		if (report->global[six].addr.family)
			paths_track(&p->tracked, now, &report->global[six], PATHS_STUN);
		for (uint32_t i = 0; i < report->n_seen[six]; i++)
			if (report->seen[six][i].count > 1)
				paths_track(&p->tracked, now, &report->seen[six][i].address,
					    PATHS_STUN);
	}
	if (report->mapping_varies == WARREN_TRI_YES && p->port_fixed &&
	    report->global[0].addr.family) {
		fixed = report->global[0];
		fixed.port = p->dataplane->port(p->dataplane_self, 4);
		paths_track(&p->tracked, now, &fixed, PATHS_STUN_LOCAL_PORT);
	}
}

static void build(struct paths *p, struct paths_endpoints *out)
{
	const struct paths_report *report = &p->netcheck.last;
	uint16_t port[2] = { p->dataplane->port(p->dataplane_self, 4),
			     p->dataplane->port(p->dataplane_self, 6) };

	memset(out, 0, sizeof(*out));
	/* The first type that an address is added with is the one it keeps. */
	if (portmapper_endpoint(&p->portmapper))
		paths_endpoints_add(out, portmapper_endpoint(&p->portmapper), PATHS_PORTMAPPED);
	if (!p->uplink_lost)
		add_observed(p, warren_now());
	paths_track_expire(&p->tracked, warren_now());
	/* What was observed just now goes first. */
	for (int six = 0; six < 2 && !p->uplink_lost; six++)
		if (report->global[six].addr.family)
			paths_endpoints_add(out, &report->global[six], PATHS_STUN);
	if (!p->metered)
		uplinks_endpoints(&p->uplinks, out);
	for (uint32_t i = 0; i < p->tracked.n; i++)
		paths_endpoints_add(out, &p->tracked.list[i].address, p->tracked.list[i].type);
	for (uint32_t i = 0; i < p->n_fixed; i++)
		paths_endpoints_add(out, &p->fixed[i], PATHS_STATIC);
	paths_endpoints_local(out, p->dataplane->ifname(p->dataplane_self), port);
}

static void publish_endpoints(struct paths *p)
{
	AUTO(str_free) struct str addrs = STR_INIT, types = STR_INIT, json = STR_INIT;
	char text[ADDRPORT_TEXT];

	for (uint32_t i = 0; i < p->published.n; i++) {
		const struct paths_endpoint *e = &p->published.list[i];

		str_addf(&addrs, "%s\"%s\"", i ? "," : "", addrport_format(&e->address, text));
		str_addf(&types, "%s%d", i ? "," : "", e->type);
	}
	str_addf(&json, "{\"Endpoints\":[%s],\"EndpointTypes\":[%s]}", str_text(&addrs),
		 str_text(&types));
	p->netmap->self_set(p->netmap_self, p->ctx, WARREN_FACET_ENDPOINTS, str_text(&json));
}

static void add_tri(struct str *json, const char *key, uint8_t value)
{
	if (value != WARREN_TRI_UNKNOWN)
		str_addf(json, "\"%s\":%s,", key, value == WARREN_TRI_YES ? "true" : "false");
}

/* Latencies alone are no news: they go with the next real change. */
void paths_tell_netinfo(struct paths *p)
{
	const struct paths_report *report = &p->netcheck.last;
	AUTO(str_free) struct str json = STR_INIT, essence = STR_INIT;
	bool first = true;

	if (!report->at)
		return;
	str_add(&json, "{");
	add_tri(&json, "MappingVariesByDestIP", report->mapping_varies);
	add_tri(&json, "UPnP", portmapper_there(&p->portmapper, PORTMAP_UPNP));
	add_tri(&json, "PMP", portmapper_there(&p->portmapper, PORTMAP_PMP));
	add_tri(&json, "PCP", portmapper_there(&p->portmapper, PORTMAP_PCP));
	if (portmapper_endpoint(&p->portmapper))
		str_add(&json, "\"HavePortMap\":true,");
	str_addf(&json, "\"WorkingIPv6\":%s,\"OSHasIPv6\":%s,\"WorkingUDP\":%s,"
		 "\"WorkingICMPv4\":%s,\"PreferredDERP\":%u",
		 paths_report_worked(report, 1) ? "true" : "false",
		 report->os_ipv6 ? "true" : "false", report->udp ? "true" : "false",
		 report->icmp4 ? "true" : "false", report->preferred);
	str_add(&essence, str_text(&json));
	str_add(&json, ",\"DERPLatency\":{");
	for (uint32_t i = 0; i < report->n_regions; i++) {
		for (int six = 0; six < 2; six++) {
			if (!report->regions[i].latency[six])
				continue;
			str_addf(&json, "%s\"%u-v%d\":%.6f", first ? "" : ",",
				 report->regions[i].id, six ? 6 : 4,
				 (double)report->regions[i].latency[six] / 1e6);
			first = false;
		}
	}
	str_add(&json, "}}");
	if (str_equal(p->netinfo, str_text(&essence)))
		return;
	if (!str_copy(p->netinfo, sizeof(p->netinfo), str_text(&essence)))
		return;
	p->netmap->self_set(p->netmap_self, p->ctx, WARREN_FACET_NETINFO, str_text(&json));
}

static void log_endpoints(struct paths *p)
{
	AUTO(str_free) struct str text = STR_INIT;
	char one[ADDRPORT_TEXT];

	for (uint32_t i = 0; i < p->published.n; i++)
		str_addf(&text, "%s%s", i ? ", " : "",
			 addrport_format(&p->published.list[i].address, one));
	warren_log(p->ctx, LOG_INFO, "peers may reach us at %s",
		   p->published.n ? str_text(&text) : "no address: only a relay is left");
}

void paths_publish(struct paths *p)
{
	struct paths_endpoints built;

	build(p, &built);
	if (p->published_once && paths_endpoints_equal(&built, &p->published))
		return;
	p->published = built;
	p->published_once = true;
	log_endpoints(p);
	publish_endpoints(p);
}

void paths_gathered(struct paths *p)
{
	if (!p->map)
		return;
	p->uplink_lost = false;
	p->endpoints_at = warren_now();
	paths_publish(p);
	paths_tell_netinfo(p);
	paths_relay_home(p, p->netcheck.last.preferred);
	paths_send_calls(p);
}

/*
 * ---- When ----
 */

/* Packets of peers keep the mappings of our NAT worth knowing; without traffic nobody asks. */
static void look_at_traffic(const struct warren_peer_status *status, void *arg)
{
	uint64_t *last = arg;

	*last = status->last_rx > *last ? status->last_rx : *last;
	*last = status->last_tx > *last ? status->last_tx : *last;
}

static void arm_period(struct paths *p)
{
	/* A home that was lost is looked for as ever. */
	uint64_t period = p->metered && !p->relays.lost ? PATHS_FULL_INTERVAL : PERIOD;

	warren_timer_set(p->period, period + randombytes_uniform((uint32_t)PERIOD_SPREAD));
}

static void period_over(struct warren_ctx *ctx, void *arg)
{
	struct paths *p = arg;
	uint64_t last = 0, now = warren_now();

	(void)ctx;
	p->dataplane->peers(p->dataplane_self, look_at_traffic, &last);
	if (p->map && p->map->n_peers > 0 &&
	    (p->relays.lost || (last && now - last < PATHS_SESSION)))
		paths_gather(p, "periodic");
	arm_period(p);
}

/*
 * Without a home nobody begins to speak to this node, so this does not wait for traffic. A relay
 * that was heard a moment ago is taken for one that comes back.
 */
void paths_home_lost(struct paths *p)
{
	paths_gather(p, "derp-recv-error");
	warren_timer_set(p->period, PATHS_HOME_HEARD + PATHS_SECOND);
}

/*
 * An address that went away takes the paths with it that used it. One more changes nothing but what
 * we tell others.
 */
static void links_settled(struct warren_ctx *ctx, void *arg)
{
	struct paths *p = arg;
	uint16_t port[2] = { 1, 1 };
	struct paths_endpoints now = { .n = 0 };
	bool lost = false, changed;

	(void)ctx;
	paths_endpoints_local(&now, p->dataplane->ifname(p->dataplane_self), port);
	changed = !paths_endpoints_equal(&now, &p->local);
	for (uint32_t i = 0; i < p->local.n && !lost; i++) {
		bool found = false;

		for (uint32_t k = 0; k < now.n; k++)
			found = found || addrport_equal(&now.list[k].address,
							&p->local.list[i].address);
		lost = !found;
	}
	p->local = now;
	if (!changed)
		return;
	p->endpoints_at = 0;		/* a CallMeMaybe waits for those of now */
	warren_log(p->ctx, LOG_INFO, "the addresses of this host changed%s",
		   lost ? ": all paths are looked for anew" : "");
	if (lost) {
		memset(&p->tracked, 0, sizeof(p->tracked));
		p->uplink_lost = uplinks_lost(&p->uplinks, &p->local, &p->tracked);
		/* Where another one leads is known: nobody has to wait for what netcheck finds. */
		if (p->map && p->tracked.n > 0) {
			p->endpoints_at = warren_now();
			paths_publish(p);
		}
		paths_reset_all(p);
		paths_relay_rebind(p);
	}
	paths_gather(p, lost ? "link-change-major" : "link-change-minor");
}

static void links_changed(struct warren_ctx *ctx, uint32_t what, void *arg)
{
	struct paths *p = arg;

	(void)ctx;
	(void)what;
	/* Changes come in bursts: the first at once, the others a second later. */
	warren_timer_set(p->links, p->links_at && warren_now() - p->links_at < PATHS_SECOND ?
			 PATHS_SECOND : 0);
	p->links_at = warren_now();
}

int paths_watch(struct paths *p, struct warren_err *err)
{
	uint16_t port[2] = { 1, 1 };

	p->period = warren_timer_new(p->ctx, period_over, p);
	p->links = warren_timer_new(p->ctx, links_settled, p);
	if (!p->period || !p->links)
		return -ENOMEM;
	paths_endpoints_local(&p->local, p->dataplane->ifname(p->dataplane_self), port);
	arm_period(p);
	return warren_net_watch(p->ctx, WARREN_NET_LINKS | WARREN_NET_ADDRESSES, links_changed, p,
				err);
}
