/*
 * A run: probes in the order of their delays, each only while it can add something, until all sets
 * have their answer, enough regions have, or the time is over.
 */
#include "netcheck.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/str.h"
#include "paths.h"

enum { STUN_PORT = 3478 };
#define NAME_TTL (600 * PATHS_SECOND)
#define NAME_WAIT (50 * PATHS_MSEC)

/*
 * ---- Servers ----
 */

static void name_known(struct warren_ctx *ctx, int result, const struct warren_addr *addrs,
		       const char *why, void *arg)
{
	struct netcheck_name *name = arg;

	(void)ctx;
	(void)why;
	name->pending = false;
	name->until = warren_now() + NAME_TTL;
	for (int i = 0; i < result; i++) {
		struct warren_addr *addr = &name->addr[addrs[i].family == 6];

		if (!addr->family)
			*addr = addrs[i];
	}
}

static struct netcheck_name *name_of(struct netcheck *check, const char *host)
{
	struct netcheck_name *free_one = NULL;
	uint64_t now = warren_now();

	for (int i = 0; i < NETCHECK_NAMES; i++) {
		struct netcheck_name *name = &check->names[i];

		if (strcmp(name->host, host) == 0 && (name->pending || now < name->until))
			return name;
		if (!free_one && !name->pending && now >= name->until)
			free_one = name;
	}
	if (!free_one || !str_copy(free_one->host, sizeof(free_one->host), host))
		return NULL;
	memset(free_one->addr, 0, sizeof(free_one->addr));
	free_one->pending = warren_resolve(check->paths->ctx, host, name_known, free_one) == 0;
	free_one->until = now + (free_one->pending ? NAME_TTL : 0);
	return free_one->pending ? free_one : NULL;
}

/* 0, -EAGAIN: the name is being looked up, -ENOENT: it has no address of that family. */
static int server_address(struct netcheck *check, const struct warren_relay_node *node, int six,
			  struct warren_addrport *out)
{
	const struct warren_addr *known = six ? &node->ipv6 : &node->ipv4;
	struct netcheck_name *name;

	out->port = (uint16_t)(node->stun_port > 0 ? node->stun_port : STUN_PORT);
	if (!known->family) {
		name = node->host_name ? name_of(check, node->host_name) : NULL;
		if (!name)
			return -ENOENT;
		if (name->pending)
			return -EAGAIN;
		known = &name->addr[six];
	}
	out->addr = *known;
	return known->family == (six ? 6 : 4) ? 0 : -ENOENT;
}

bool netcheck_address(struct netcheck *check, const struct warren_relay_node *node,
		      struct warren_addr *out)
{
	struct warren_addrport at;

	if (node->no_ipv4 || server_address(check, node, 0, &at))
		return false;
	*out = at.addr;
	return true;
}

/*
 * ---- One run ----
 */

static bool os_has_ipv6(void)
{
	return access("/proc/sys/net/ipv6", F_OK) == 0;
}

static void run_end(struct netcheck *check)
{
	struct paths *p = check->paths;
	struct paths_report *now = &check->now;
	bool heard;

	check->running = false;
	check->asks_relays = false;
	captive_stop(&check->captive);
	echo_stop(&check->echo);
	warren_timer_stop(check->timer);
	now->at = warren_now();
	now->realtime = warren_realtime();
	heard = paths_relay_heard(p, check->last.preferred, check->start);
	now->preferred = paths_prefer(&check->history, now, check->map, check->last.preferred,
				      heard, p->netmap->connected(p->netmap_self));
	paths_reports_add(&check->history, now);
	check->last = *now;
	check->runs++;
	warren_obj_unref(check->map);
	check->map = NULL;
	warren_log(p->ctx, LOG_DEBUG, "netcheck (%s): UDP %s, nearest relay region %u",
		   check->reason, now->udp ? "works" : "does not work", now->preferred);
	paths_gathered(p);
	if (check->again) {
		check->again = false;
		netcheck_start(check, check->again_reason, check->again_full);
	}
}

static void probe_send(struct netcheck *check, struct paths_probe *probe,
		       const struct warren_addrport *to, uint64_t now)
{
	struct netcheck_flight *flight = &check->flight[check->n_flight++ % NETCHECK_FLIGHT];
	struct paths *p = check->paths;
	uint8_t request[WARREN_STUN_REQUEST];
	int result;

	randombytes_buf(flight->txid, sizeof(flight->txid));
	flight->region = check->map->regions[probe->region].id;
	flight->six = probe->six;
	flight->at = now;
	warren_stun_request(flight->txid, request);
	result = p->dataplane->raw_send(p->dataplane_self, to, 0, request, sizeof(request));
	/* What a firewall refuses counts as sent and lost. */
	if (result == 0 || result == -EPERM || result == -EAGAIN)
		check->now.can_send[probe->six] = probe->sent = true;
	warren_stat_add(p->stun_sent, 1);
}

static bool all_answered(struct netcheck *check, uint64_t now)
{
	if (!paths_probes_over(&check->now, check->map, check->probes, check->n_probes))
		return false;
	if (!paths_mapping_is_due(&check->now, check->probes, check->n_probes))
		return true;
	if (!check->waits_for_mapping && now + NETCHECK_MAPPING_TIME < check->end)
		check->end = now + NETCHECK_MAPPING_TIME;
	check->waits_for_mapping = true;
	return false;
}

/* Sends what is due; the time of the next one, or of the end. */
static uint64_t probes_due(struct netcheck *check, uint64_t now)
{
	uint64_t next = check->end;

	for (uint32_t i = 0; i < check->n_probes; i++) {
		struct paths_probe *probe = &check->probes[i];
		struct warren_addrport to;
		int result;

		if (probe->done)
			continue;
		if (check->start + probe->delay > now) {
			if (check->start + probe->delay < next)
				next = check->start + probe->delay;
			continue;
		}
		if (!paths_probe_helps(&check->now, check->map, probe)) {
			probe->done = true;
			continue;
		}
		result = server_address(check, &check->map->regions[probe->region]
						.nodes[probe->node], probe->six, &to);
		if (result == -EAGAIN) {
			probe->delay = now + NAME_WAIT - check->start;
			if (now + NAME_WAIT < next)
				next = now + NAME_WAIT;
			continue;
		}
		probe->done = true;
		if (result == 0)
			probe_send(check, probe, &to, now);
	}
	return next;
}

/*
 * Without an answer over UDP a home is found over HTTPS and ICMP: else nobody could reach this
 * node. False: there is nobody to ask.
 */
static bool ask_relays(struct netcheck *check, uint64_t now)
{
	if (check->now.udp || check->asks_relays)
		return false;
	check->asks_relays = true;
	check->n_asked = 0;
	for (uint32_t i = 0; i < check->map->n_regions; i++)
		if (paths_fallback_helps(&check->map->regions[i]) &&
		    paths_relay_measure(check->paths, check->map->regions[i].id) == 0)
			check->n_asked++;
	echo_start(&check->echo);
	check->end = now + NETCHECK_HTTPS_TIME;
	warren_timer_set(check->timer, NETCHECK_HTTPS_TIME);
	return check->n_asked > 0 || echo_is_busy(&check->echo);
}

static void maybe_over(struct netcheck *check)
{
	if (check->asks_relays && check->n_asked == 0 && check->captive.pending == 0 &&
	    !echo_is_busy(&check->echo))
		run_end(check);
}

void netcheck_on_echo(struct netcheck *check, uint32_t region, uint64_t usec)
{
	check->now.icmp4 = true;
	paths_report_reached(&check->now, region, 0, usec);
}

void netcheck_on_echo_end(struct netcheck *check)
{
	maybe_over(check);
}

void netcheck_on_measured(struct netcheck *check, uint32_t region, uint32_t family, uint64_t usec)
{
	if (!check->asks_relays)
		return;
	if (usec > 0)
		paths_report_reached(&check->now, region, family == 6, usec);
	if (check->n_asked > 0 && --check->n_asked == 0)
		maybe_over(check);
}

void netcheck_on_captive(struct netcheck *check, uint8_t found)
{
	if (!check->running)
		return;
	check->now.captive = found;
	maybe_over(check);
}

static void run_turn(struct warren_ctx *ctx, void *arg)
{
	struct netcheck *check = arg;
	uint64_t now = warren_now(), next;
	bool over;

	(void)ctx;
	next = check->asks_relays ? check->end : probes_due(check, now);
	over = !check->asks_relays && all_answered(check, now);
	if (over || now >= check->end) {
		if (!ask_relays(check, now))
			run_end(check);
		return;
	}
	next = next < check->end ? next : check->end;
	warren_timer_set(check->timer, next > now ? next - now : 1);
}

void netcheck_start(struct netcheck *check, const char *reason, bool full)
{
	struct paths *p = check->paths;
	uint64_t now = warren_now();
	bool have[2];

	if (check->running) {
		check->again = true;
		check->again_full = check->again_full || full;
		str_copy(check->again_reason, sizeof(check->again_reason), reason);
		return;
	}
	if (!p->map)
		return;
	/* Without latencies there is no choice to make; a portal may have been left behind. */
	full = full || check->last.n_regions == 0 || now - check->last_full > PATHS_FULL_INTERVAL ||
	       (!check->last.udp && check->last.captive == WARREN_TRI_YES);
	check->running = true;
	check->again_full = false;
	str_copy(check->reason, sizeof(check->reason), reason);
	check->map = warren_obj_ref(p->map);
	check->start = now;
	check->end = now + NETCHECK_STUN_TIME;
	check->n_flight = 0;
	check->waits_for_mapping = false;
	memset(check->flight, 0, sizeof(check->flight));
	memset(&check->now, 0, sizeof(check->now));
	check->now.full = full;
	check->now.os_ipv6 = os_has_ipv6();
	if (full) {
		check->last_full = now;
		captive_start(&check->captive);
	}
	portmapper_look(&p->portmapper, full);
	have[0] = p->dataplane->port(p->dataplane_self, 4) != 0;
	have[1] = p->dataplane->port(p->dataplane_self, 6) != 0 && check->now.os_ipv6;
	check->n_probes = paths_plan(check->map, full ? NULL : &check->last,
				     check->last.preferred, have, check->probes);
	warren_timer_set(check->timer, 0);
}

/* The third region that answers is enough; the others get the time of the slowest. */
static void maybe_enough(struct netcheck *check, uint64_t now)
{
	uint64_t slowest = 0;

	if (check->now.n_regions != NETCHECK_ENOUGH)
		return;
	for (uint32_t i = 0; i < check->now.n_regions; i++) {
		uint64_t latency = paths_region_latency(&check->now.regions[i]);

		slowest = latency > slowest ? latency : slowest;
	}
	if (check->now.full)
		slowest *= 2;
	if (now + slowest < check->end)
		check->end = now + slowest;
}

void netcheck_on_stun(void *arg, const struct warren_addrport *from, uint32_t vni,
		      const uint8_t *data, size_t len)
{
	struct paths *p = arg;
	struct netcheck *check = &p->netcheck;
	struct warren_addrport seen;
	uint8_t txid[WARREN_STUN_TXID];
	uint64_t now = warren_now();

	(void)from;
	(void)vni;
	/* Requests end here as well: there is no hairpin probe any more. */
	if (!check->running || warren_stun_answer_parse(data, len, txid, &seen) < 0)
		return;
	for (uint32_t i = 0; i < NETCHECK_FLIGHT; i++) {
		struct netcheck_flight *flight = &check->flight[i];

		if (!flight->at || memcmp(flight->txid, txid, sizeof(txid)) != 0)
			continue;
		warren_stat_add(p->stun_received, 1);
		captive_stop(&check->captive);
		if ((seen.addr.family == 6) == flight->six && seen.port)
			paths_report_answer(&check->now, flight->region, flight->six,
					    now - flight->at, &seen);
		flight->at = 0;
		maybe_enough(check, now);
		warren_timer_set(check->timer, 0);
		return;
	}
}

int netcheck_init(struct netcheck *check, struct paths *p)
{
	check->paths = p;
	check->timer = warren_timer_new(p->ctx, run_turn, check);
	return check->timer && captive_init(&check->captive, p) == 0 &&
	       echo_init(&check->echo, p) == 0 ? 0 : -ENOMEM;
}

void netcheck_fini(struct netcheck *check)
{
	warren_obj_unref(check->map);
	check->map = NULL;
}
