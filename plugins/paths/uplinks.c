/*
 * Questions leave over the data plane's own socket, by the interface that they are about and with
 * its address: the NAT behind it maps our port as it will when data takes that way.
 */
#include "uplinks.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sodium.h>
#include <string.h>

#include <warren/netstate.h>

#include "base/addr.h"
#include "base/util.h"
#include "paths.h"

#define RETRY PATHS_SECOND
enum { STUN_PORT = 3478, ROUTES = UPLINKS + 1 };

/*
 * ---- Which there are ----
 */

struct routes {				/* default ones, the best first */
	struct warren_net_route list[ROUTES];
	uint32_t n;
};

static void look_at_route(const struct warren_net_route *route, void *arg)
{
	struct routes *routes = arg;
	uint32_t i = 0;

	if (route->family != 4 || route->dst.bits || route->type != RTN_UNICAST || !route->ifindex)
		return;
	while (i < routes->n && routes->list[i].metric <= route->metric)
		i++;
	if (i == ROUTES)
		return;
	if (routes->n == ROUTES)
		routes->n--;
	memmove(&routes->list[i + 1], &routes->list[i],
		(routes->n - i) * sizeof(routes->list[0]));
	routes->list[i] = *route;
	routes->n++;
}

static struct uplink *find(struct uplinks *u, uint32_t ifindex)
{
	for (uint32_t i = 0; i < u->n; i++)
		if (u->list[i].ifindex == ifindex)
			return &u->list[i];
	return NULL;
}

/* That of the route, with what was known of it, unless it has another address now. */
static bool uplink_of(struct uplinks *u, const struct warren_net_route *route, struct uplink *out)
{
	const struct uplink *old = find(u, route->ifindex);
	struct warren_addr self;
	char name[IF_NAMESIZE];

	if (!if_indextoname(route->ifindex, name) || !paths_interface_is_used(name) ||
	    strcmp(name, u->paths->dataplane->ifname(u->paths->dataplane_self)) == 0 ||
	    !paths_address_towards(route->ifindex, &route->gateway, &self))
		return false;
	*out = old && addr_equal(&old->self, &self)
		       ? *old : (struct uplink){ .ifindex = route->ifindex, .self = self };
	return true;
}

static void find_uplinks(struct uplinks *u)
{
	struct routes routes = { .n = 0 };
	struct uplinks now = { .n = 0 };

	memset(&u->in_use, 0, sizeof(u->in_use));
	if (warren_net_routes(RT_TABLE_MAIN, look_at_route, &routes, NULL) < 0)
		return;
	if (!paths_address_towards(routes.list[0].ifindex, &routes.list[0].gateway, &u->in_use))
		memset(&u->in_use, 0, sizeof(u->in_use));
	for (uint32_t i = 1; i < routes.n && now.n < UPLINKS; i++) {
		/* The one in use is what netcheck asks about; another route by it is no uplink. */
		if (routes.list[i].ifindex != routes.list[0].ifindex &&
		    !find(&now, routes.list[i].ifindex) &&
		    uplink_of(u, &routes.list[i], &now.list[now.n]))
			now.n++;
	}
	memcpy(u->list, now.list, sizeof(u->list));
	u->n = now.n;
}

/*
 * ---- What they look like from outside ----
 */

/* The STUN server number @which, at home first; beginning anew after the last. */
static bool server(struct paths *p, uint32_t which, struct warren_addrport *out)
{
	const uint32_t home = p->netcheck.last.preferred;
	struct warren_addrport found[8];
	uint32_t n = 0;

	for (int at_home = 1; p->map && at_home >= 0; at_home--) {
		for (uint32_t r = 0; r < p->map->n_regions; r++) {
			const struct warren_relay_region *region = &p->map->regions[r];

			if ((region->id == home) != at_home)
				continue;
			for (uint32_t i = 0; i < region->n_nodes && n < ARRAY_SIZE(found); i++) {
				const struct warren_relay_node *node = &region->nodes[i];

				if (node->stun_port < 0 ||
				    !netcheck_address(&p->netcheck, node, &found[n].addr))
					continue;
				found[n++].port = (uint16_t)(node->stun_port ? node->stun_port
									     : STUN_PORT);
			}
		}
	}
	if (n)
		*out = found[which % n];
	return n > 0;
}

static void ask(struct uplinks *u, struct uplink *link)
{
	struct paths *p = u->paths;
	uint8_t request[WARREN_STUN_REQUEST];
	struct warren_addrport to;

	if (!server(p, link->tries, &to))
		return;
	link->tries++;
	randombytes_buf(link->txid, sizeof(link->txid));
	warren_stun_request(link->txid, request);
	/* What cannot be sent is as lost as what is not answered. */
	(void)p->dataplane->raw_send_by(p->dataplane_self, link->ifindex, &link->self, &to,
					request, sizeof(request));
	warren_stat_add(p->stun_sent, 1);
}

static void ask_again(struct warren_ctx *ctx, void *arg)
{
	struct uplinks *u = arg;
	bool waiting = false;

	(void)ctx;
	for (uint32_t i = 0; i < u->n; i++) {
		struct uplink *link = &u->list[i];

		if (link->tries == UPLINK_TRIES)
			link->tries = 0;
		else if (link->tries > 0)
			ask(u, link);
		waiting = waiting || link->tries > 0;
	}
	if (waiting)
		warren_timer_set(u->timer, RETRY);
}

void uplinks_look(struct uplinks *u)
{
	if (!u->paths->map)
		return;
	find_uplinks(u);
	for (uint32_t i = 0; i < u->n; i++)
		if (u->list[i].tries == 0)
			ask(u, &u->list[i]);
	if (u->n > 0)
		warren_timer_set(u->timer, RETRY);
}

bool uplinks_on_stun(struct uplinks *u, const uint8_t *data, size_t len)
{
	uint8_t txid[WARREN_STUN_TXID];
	struct warren_addrport seen;

	if (u->n == 0 || warren_stun_answer_parse(data, len, txid, &seen) < 0)
		return false;
	for (uint32_t i = 0; i < u->n; i++) {
		struct uplink *link = &u->list[i];

		if (!link->tries || memcmp(link->txid, txid, sizeof(txid)) != 0)
			continue;
		link->tries = 0;
		warren_stat_add(u->paths->stun_received, 1);
		if (seen.addr.family == 4 && seen.port) {
			link->seen = seen;
			link->at = warren_now();
			/* A run of netcheck ends with the same. */
			if (!u->paths->netcheck.running && u->paths->published_once)
				paths_publish(u->paths);
		}
		return true;
	}
	return false;
}

static bool is_known(const struct uplink *link, uint64_t now)
{
	return link->seen.addr.family && now - link->at <= PATHS_TRACK;
}

void uplinks_endpoints(const struct uplinks *u, struct paths_endpoints *out)
{
	for (uint32_t i = 0; i < u->n; i++)
		if (is_known(&u->list[i], warren_now()))
			paths_endpoints_add(out, &u->list[i].seen, PATHS_STUN);
}

static bool is_local(const struct paths_endpoints *local, const struct warren_addr *addr)
{
	for (uint32_t i = 0; i < local->n; i++)
		if (addr_equal(&local->list[i].address.addr, addr))
			return true;
	return false;
}

bool uplinks_lost(struct uplinks *u, const struct paths_endpoints *local,
		  struct paths_endpoints *tracked)
{
	uint64_t now = warren_now();
	bool lost = u->in_use.family && !is_local(local, &u->in_use);

	for (uint32_t i = 0; i < u->n;) {
		if (!is_local(local, &u->list[i].self)) {
			u->list[i] = u->list[--u->n];
			continue;
		}
		if (lost && is_known(&u->list[i], now))
			paths_track(tracked, now, &u->list[i].seen, PATHS_STUN);
		i++;
	}
	return lost;
}

void uplinks_write(const struct uplinks *u, struct warren_reply *reply)
{
	char text[ADDRPORT_TEXT], name[IF_NAMESIZE];

	warren_reply_open(reply, "other-uplinks", '[');
	for (uint32_t i = 0; i < u->n; i++) {
		const struct uplink *link = &u->list[i];

		if (!if_indextoname(link->ifindex, name))
			continue;
		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "interface", "%s", name);
		warren_reply_str(reply, "endpoint", "%s", is_known(link, warren_now()) ?
				 addrport_format(&link->seen, text) : "");
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
}

int uplinks_init(struct uplinks *u, struct paths *p)
{
	u->paths = p;
	u->timer = warren_timer_new(p->ctx, ask_again, u);
	return u->timer ? 0 : -ENOMEM;
}
