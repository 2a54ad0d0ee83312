/*
 * Packets by relay: WireGuard's go to the data plane, disco's to disco.c.
 */
#include "relays.h"

#include <errno.h>
#include <stdio.h>

#include <warren/service/relay.h>

#include "base/addr.h"
#include "base/units.h"
#include "paths.h"

enum { HOME_FORMAT = 1 };

int paths_relay_send(struct paths *p, uint32_t region, const uint8_t key[32], const uint8_t *data,
		     size_t len)
{
	if (!p->relays.ops)
		return -ENOTCONN;
	return p->relays.ops->send(p->relays.self, region, key, data, len, NULL);
}

static bool on_received(void *arg, uint32_t region, const uint8_t key[32], const uint8_t *data,
			size_t len)
{
	struct paths *p = arg;
	struct paths_way way = { .region = region, .relay_key = key };
	struct paths_node *node = paths_node(p, key);

	if (warren_disco_sender(data, len))
		paths_disco_received(p, &way, data, len);
	else if (node)
		p->dataplane->inject(p->dataplane_self, region, key, data, len);
	if (!node)
		return false;
	if (node->peer.learned != region) {
		paths_peer_relay(&node->peer, warren_now(), region);
		paths_touched(node);
	}
	return true;
}

static void on_gone(void *arg, uint32_t region, const uint8_t key[32], uint32_t reason)
{
	struct paths_node *node = paths_node(arg, key);

	(void)reason;
	if (node && node->peer.learned == region) {
		paths_peer_relay(&node->peer, warren_now(), 0);
		paths_touched(node);
	}
}

static void look_at_home(struct paths *p, uint32_t region, enum warren_relay_state state)
{
	if (region != p->netcheck.last.preferred)
		return;
	if (state == WARREN_RELAY_CONNECTED) {
		p->relays.lost = 0;
	} else if (state == WARREN_RELAY_FAILED && p->relays.lost != region) {
		p->relays.lost = region;
		paths_home_lost(p);
	}
}

/* Peers that have but this relay are tried at an address of the map while it is not connected. */
static void on_state(void *arg, uint32_t region, enum warren_relay_state state, const char *why)
{
	struct paths *p = arg;
	struct paths_node *node;

	(void)why;
	look_at_home(p, region, state);
	list_for_each(node, &p->all, all)
		if (node->peer.told.region == region && !node->peer.told.address.addr.family)
			paths_set_path(node);
}

/* The client tells the operator. */
static void on_health(void *arg, uint32_t region, const char *problem)
{
	(void)arg;
	(void)region;
	(void)problem;
}

static void on_measured(void *arg, uint32_t region, uint32_t family, uint64_t usec)
{
	struct paths *p = arg;

	netcheck_on_measured(&p->netcheck, region, family, usec);
}

int paths_relay_measure(struct paths *p, uint32_t region)
{
	return p->relays.ops ? p->relays.ops->measure(p->relays.self, region) : -ENOTCONN;
}

static struct warren_relay_status status_of(const struct paths *p, uint32_t region)
{
	struct warren_relay_status status = { .size = sizeof(status) };

	if (region && p->relays.ops && p->relays.ops->status(p->relays.self, region, &status))
		return status;
	return (struct warren_relay_status){ .state = WARREN_RELAY_CLOSED };
}

bool paths_relay_connected(const struct paths *p, uint32_t region)
{
	return status_of(p, region).state == WARREN_RELAY_CONNECTED;
}

const char *paths_relay_failure(const struct paths *p, uint32_t region)
{
	const struct warren_relay_status status = status_of(p, region);

	return status.state == WARREN_RELAY_FAILED ? status.why : NULL;
}

static const struct warren_relay_events events = {
	.size = sizeof(events),
	.received = on_received,
	.state = on_state,
	.gone = on_gone,
	.health = on_health,
	.measured = on_measured,
};

bool paths_relay_heard(const struct paths *p, uint32_t region, uint64_t since)
{
	const struct warren_relay_status status = status_of(p, region);
	uint64_t now = warren_now();

	return status.last_rx &&
	       (status.last_rx >= since || now - status.last_rx <= PATHS_HOME_HEARD);
}

int paths_home_restore(struct paths *p, struct warren_err *err)
{
	void *data = NULL;
	size_t len = 0;
	char text[16];
	int64_t region;
	int result = warren_state_read(p->ctx, "home", 0, HOME_FORMAT, &data, &len, err);

	if (result)
		return result == -ENOENT ? 0 : result;
	snprintf(text, sizeof(text), "%.*s", (int)(len < 15 ? len : 15), (const char *)data);
	warren_release(data);
	if (units_parse_int(text, &region) || region < 1 || region > UINT32_MAX)
		return warren_fail(err, NULL, "the state file \"home\" of paths names no region of "
				   "relays: delete it"), -EINVAL;
	p->relays.kept = p->netcheck.last.preferred = (uint32_t)region;
	return 0;
}

static void keep_home(struct paths *p, uint32_t region)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", region);

	p->relays.kept = region;
	if (warren_state_write(p->ctx, "home", 0, HOME_FORMAT, text, (size_t)len, NULL, NULL))
		p->relays.kept = 0;	/* with the next choice */
}

void paths_relay_home(struct paths *p, uint32_t region)
{
	if (region && region != p->relays.kept)
		keep_home(p, region);
	if (p->relays.lost != region)
		p->relays.lost = 0;
	if (p->relays.ops)
		p->relays.ops->home(p->relays.self, region);
}

static bool is_ours(void *arg, const struct warren_addr *local)
{
	const struct paths *p = arg;

	for (uint32_t i = 0; i < p->local.n; i++)
		if (addr_equal(&p->local.list[i].address.addr, local))
			return true;
	return false;
}

void paths_relay_rebind(struct paths *p)
{
	if (p->relays.ops)
		p->relays.ops->rebind(p->relays.self, is_ours, p);
}

int paths_relay_found(struct paths *p, const void *ops, void *self)
{
	struct paths_node *node;
	int result = 0;

	p->relays.ops = ops;
	p->relays.self = self;
	if (ops)
		result = p->relays.ops->attach(self, p->ctx, &events, p);
	if (result < 0)
		p->relays.ops = NULL;
	else if (ops && p->netcheck.last.preferred)
		paths_relay_home(p, p->netcheck.last.preferred);
	else if (ops && p->netcheck.last.at)
		netcheck_start(&p->netcheck, "relays", true);
	/* What led over a relay leads elsewhere, or the other way round. */
	list_for_each(node, &p->all, all)
		paths_set_path(node);
	return result;
}
