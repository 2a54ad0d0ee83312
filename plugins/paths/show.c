/*
 * Status, history, report: what the operator sees of paths.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>
#include <time.h>

#include <warren/net.h>

#include "base/addr.h"
#include "base/str.h"
#include "paths.h"

enum { PEERS_A_TURN = 100 };

/*
 * ---- Names ----
 */

void paths_node_name(const struct warren_node *node, char *out, size_t size)
{
	const char *name = node->name && *node->name ? node->name
			   : node->hostname ? node->hostname : "?";

	snprintf(out, size, "%.*s", (int)strcspn(name, "."), name);
}

static bool has_name(const struct warren_node *node, const char *text)
{
	size_t len = strlen(text);

	if (!node->name || len == 0)
		return false;
	if (text[len - 1] == '.')
		len--;
	return strncasecmp(node->name, text, len) == 0 &&
	       (node->name[len] == '\0' || node->name[len] == '.');
}

static bool is_called(const struct warren_node *node, const char *text,
		      const struct warren_addr *addr)
{
	if (!addr)
		return has_name(node, text);
	for (uint32_t i = 0; i < node->n_addresses; i++)
		if (addr_equal(&node->addresses[i].addr, addr))
			return true;
	return false;
}

const struct warren_node *paths_find(const struct paths *p, const char *text, bool *self)
{
	struct warren_addr parsed, *addr = addr_parse(text, &parsed) == 0 ? &parsed : NULL;

	*self = p->map && p->map->self && is_called(p->map->self, text, addr);
	for (uint32_t i = 0; p->map && !*self && i < p->map->n_peers; i++)
		if (is_called(p->map->peers[i], text, addr))
			return p->map->peers[i];
	return NULL;
}

static const struct warren_relay_region *region_of(const struct paths *p, uint32_t id)
{
	for (uint32_t i = 0; p->map && i < p->map->n_regions; i++)
		if (p->map->regions[i].id == id)
			return &p->map->regions[i];
	return NULL;
}

const char *paths_region_code(const struct paths *p, uint32_t id)
{
	const struct warren_relay_region *region = region_of(p, id);

	return region && region->code ? region->code : "";
}

/*
 * ---- Events ----
 */

/*
 * "direct 192.0.2.7:41641", "direct ... and relay lab", "peer-relay 192.0.2.9:40000:vni:7", "relay
 * lab", "no path".
 */
static void way_text(const struct paths *p, const struct paths_event *event, struct str *out)
{
	char text[ADDRPORT_TEXT];

	if (event->vni)
		str_addf(out, "peer-relay %s:vni:%u", addrport_format(&event->address, text),
			 event->vni);
	else if (event->address.addr.family)
		str_addf(out, "direct %s", addrport_format(&event->address, text));
	if (event->region && p->relays.ops)
		str_addf(out, "%srelay %s", out->len ? " and " : "",
			 paths_region_code(p, event->region));
	if (!out->len)
		str_add(out, "no path");
}

void paths_log_event(struct paths_node *node, const struct paths_event *event)
{
	struct paths *p = node->paths;
	const struct warren_node *known = paths_in_map(p, node);
	bool quiet = event->reason == PATHS_IDLE || event->reason == PATHS_BUSY;
	AUTO(str_free) struct str way = STR_INIT;
	char name[256] = "a peer";

	if (known)
		paths_node_name(known, name, sizeof(name));
	way_text(p, event, &way);
	warren_stat_add(p->changes, 1);
	warren_log_limit(p->ctx, &p->log_change, quiet ? LOG_DEBUG : LOG_INFO, "%s: %s (%s)", name,
			 str_text(&way), paths_reason_word(event->reason));
}

static void time_text(int64_t usec, char out[40])
{
	time_t seconds = usec / 1000000;
	struct tm tm;

	if (!gmtime_r(&seconds, &tm))
		memset(&tm, 0, sizeof(tm));
	strftime(out, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + strlen(out), 40 - strlen(out), ".%03dZ", (int)(usec % 1000000 / 1000));
}

static void write_event(struct warren_reply *reply, const struct paths *p,
			const struct paths_event *event)
{
	int64_t when = warren_realtime() - (int64_t)(warren_now() - event->at);
	AUTO(str_free) struct str way = STR_INIT;
	char at[40], address[ADDRPORT_TEXT] = "", latency[24] = "-";

	time_text(when, at);
	way_text(p, event, &way);
	if (event->address.addr.family) {
		addrport_format(&event->address, address);
		snprintf(latency, sizeof(latency), "%.1f ms", (double)event->latency / 1000);
	}
	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "time", "%s", at);
	warren_reply_str(reply, "reason", "%s", paths_reason_word(event->reason));
	warren_reply_str(reply, "address", "%s", event->vni ? "" : address);
	if (event->vni)
		warren_reply_str(reply, "peer-relay", "%s:vni:%u", address, event->vni);
	warren_reply_bool(reply, "trusted", event->trusted);
	warren_reply_str(reply, "relay", "%s", paths_region_code(p, event->region));
	warren_reply_int(reply, "latency-us", (int64_t)event->latency);
	warren_reply_close(reply);
	warren_reply_text(reply, "%s\t%s\t%s\t%s", at, paths_reason_word(event->reason),
			  str_text(&way), latency);
}

int paths_command_history(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err)
{
	const char *host = warren_conf_str(args, "peer");
	struct paths *p = warren_self(ctx);
	const struct warren_node *known;
	struct paths_node *node;
	bool self;

	known = paths_find(p, host, &self);
	node = known ? paths_node(p, known->key.bytes) : NULL;
	if (!node)
		return warren_fail(err, NULL, "no peer of this network is called \"%s\"", host),
		       -ENOENT;
	warren_reply_open(reply, "events", '[');
	for (uint32_t i = node->peer.n_history; i-- > 0;)
		write_event(reply, p, paths_peer_past(&node->peer, i));
	warren_reply_close(reply);
	if (node->peer.n_history == 0)
		warren_reply_text(reply, "nothing was sent to this peer so far");
	return 0;
}

/*
 * ---- Status ----
 */

static const char *tri_word(uint8_t value)
{
	return value == WARREN_TRI_YES ? "true" : value == WARREN_TRI_NO ? "false" : "";
}

static void write_peer(struct warren_reply *reply, const struct paths *p,
		       const struct paths_node *node)
{
	const struct warren_node *known = paths_in_map(p, node);
	const struct paths_peer *peer = &node->peer;
	char text[ADDRPORT_TEXT], key[WARREN_KEYTEXT_MAX];

	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "name", "%s", known && known->name ? known->name : "");
	warren_reply_str(reply, "key", "%s",
			 warren_keytext_format(WARREN_KEYTEXT_NODE, node->key, key));
	warren_reply_bool(reply, "disco", !node->plain);
	warren_reply_bool(reply, "active", paths_peer_active(peer));
	warren_reply_bool(reply, "trusted", paths_peer_trusted(peer, warren_now()));
	warren_reply_bool(reply, "narrow", paths_peer_narrow(peer));
	if (peer->best.addr.family) {
		warren_reply_str(reply, "address", "%s", addrport_format(&peer->best, text));
		warren_reply_int(reply, "latency-us", (int64_t)peer->best_latency);
	}
	if (peer->via.vni) {
		warren_reply_str(reply, "peer-relay", "%s:vni:%u",
				 addrport_format(&peer->via.address, text), peer->via.vni);
		warren_reply_bool(reply, "peer-relayed", paths_peer_relayed(peer, warren_now()));
		warren_reply_int(reply, "peer-relay-latency-us", (int64_t)peer->via.latency);
	}
	warren_reply_str(reply, "relay", "%s", paths_region_code(p, peer->home));
	warren_reply_int(reply, "disco-received", (int64_t)node->rx);
	warren_reply_int(reply, "disco-sent", (int64_t)node->tx);
	warren_reply_open(reply, "candidates", '[');
	for (uint32_t i = 0; i < peer->n_candidates; i++) {
		const struct paths_candidate *c = &peer->candidates[i];

		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "address", "%s", addrport_format(&c->address, text));
		warren_reply_int(reply, "pings", c->pings);
		warren_reply_int(reply, "pongs", c->pongs);
		warren_reply_int(reply, "latency-us", (int64_t)c->latency);
		warren_reply_int(reply, "mtu", paths_candidate_mtu(c));
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
	warren_reply_close(reply);
}

/* The peers to which there was ever a reason to look for a way, from the map's number @at on. */
static void write_peers(struct warren_ctx *ctx, struct warren_reply *reply, uint32_t at)
{
	const struct paths *p = warren_self(ctx);
	uint32_t n = p->map ? p->map->n_peers : 0;

	for (int i = 0; i < PEERS_A_TURN && at < n; i++, at++) {
		const struct paths_node *node = paths_node(p, p->map->peers[at]->key.bytes);

		if (node && (node->peer.n_candidates > 0 || node->tx > 0 || node->rx > 0))
			write_peer(reply, p, node);
	}
	if (at < n)
		warren_reply_more(reply, write_peers, at);
	else
		warren_reply_close(reply);
}

void paths_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct paths *p = warren_self(ctx);
	const struct paths_report *report = &p->netcheck.last;
	uint32_t direct = 0, active = 0, relayed = 0;
	const struct paths_node *node;
	char text[ADDRPORT_TEXT], by_peers[40] = "";

	list_for_each(node, &p->all, all) {
		direct += paths_peer_trusted(&node->peer, warren_now());
		relayed += paths_peer_relayed(&node->peer, warren_now());
		active += paths_peer_active(&node->peer);
	}
	warren_stat_set(p->direct, direct);
	warren_stat_set(p->peer_relayed, relayed);
	if (relayed)
		snprintf(by_peers, sizeof(by_peers), ", %u by peer relays", relayed);
	warren_reply_text(reply, "  paths: %u of %u active peers direct%s; %u endpoints; STUN "
			  "%s%s%s", direct, active > direct ? active : direct, by_peers,
			  p->published.n,
			  report->at == 0 ? "not tried" : report->udp ? "answers" :
			  report->n_regions == 0 && p->map && p->map->n_regions == 0 ?
			  "has no server" : "gets no answer",
			  report->preferred ? "; home relay " : "",
			  paths_region_code(p, report->preferred));
	if (!warren_reply_json(reply))
		return;
	warren_reply_open(reply, "endpoints", '[');
	for (uint32_t i = 0; i < p->published.n; i++)
		warren_reply_str(reply, NULL, "%s",
				 addrport_format(&p->published.list[i].address, text));
	warren_reply_close(reply);
	uplinks_write(&p->uplinks, reply);
	warren_reply_bool(reply, "udp", report->udp);
	warren_reply_bool(reply, "mtu-probing", p->mtu_series);
	warren_reply_int(reply, "peer-relay-candidates", p->servers.n);
	warren_reply_str(reply, "home", "%s", paths_region_code(p, report->preferred));
	warren_reply_open(reply, "peers", '[');
	write_peers(ctx, reply, 0);
}

/*
 * ---- netcheck ----
 */

static void latency_text(uint64_t usec, char out[24])
{
	/* To a tenth of a millisecond, as the stock client rounds. */
	uint64_t tenths = (usec + 50) / 100;

	if (tenths == 0)
		snprintf(out, 24, "0s");
	else if (tenths < 10)
		snprintf(out, 24, "%" PRIu64 "\u00b5s", tenths * 100);
	else if (tenths % 10 == 0)
		snprintf(out, 24, "%" PRIu64 "ms", tenths / 10);
	else
		snprintf(out, 24, "%" PRIu64 ".%" PRIu64 "ms", tenths / 10, tenths % 10);
}

static void family_text(const struct paths_report *report, int six, struct str *out)
{
	char text[ADDRPORT_TEXT];

	str_addf(out, "\t* IPv%d: ", six ? 6 : 4);
	if (report->global[six].addr.family)
		str_addf(out, "yes, %s", addrport_format(&report->global[six], text));
	else if (report->can_send[six] || report->reached[six])
		str_add(out, "(no addr found)");
	else
		str_addf(out, "no%s", six ? report->os_ipv6 ? ", but OS has support"
							    : ", unavailable in OS" : "");
}

/* The names of what the gateway offers, the oldest protocol first. */
static void mappers_text(const struct portmapper *pm, struct str *out)
{
	bool checked = false;

	for (int s = PORTMAP_SERVICES - 1; s >= 0; s--) {
		uint8_t there = portmapper_there(pm, s);

		checked = checked || there != WARREN_TRI_UNKNOWN;
		if (there == WARREN_TRI_YES)
			str_addf(out, "%s%s", out->len ? ", " : "", portmap_service_name(s));
	}
	if (!checked)
		str_add(out, "not checked");
}

/* The stock report's lines; the leading tabs come out as blanks. */
static void report_text(const struct paths *p, struct warren_reply *reply)
{
	const struct paths_report *report = &p->netcheck.last;
	const struct warren_relay_region *home = region_of(p, report->preferred);
	AUTO(str_free) struct str four = STR_INIT, six = STR_INIT, mappers = STR_INIT;
	char at[40], latency[24];

	time_text(report->realtime, at);
	family_text(report, 0, &four);
	family_text(report, 1, &six);
	mappers_text(&p->portmapper, &mappers);
	warren_reply_text(reply, "\nReport:\n\t* Time: %s\n\t* UDP: %s\n%s\n%s\n"
			  "\t* MappingVariesByDestIP: %s\n\t* PortMapping: %s", at,
			  report->udp ? "true" : "false", str_text(&four), str_text(&six),
			  tri_word(report->mapping_varies), str_text(&mappers));
	if (report->captive != WARREN_TRI_UNKNOWN)
		warren_reply_text(reply, "\t* CaptivePortal: %s", tri_word(report->captive));
	if (!home) {
		warren_reply_text(reply, "\t* Nearest DERP: unknown (no response to latency "
				  "probes)");
		return;
	}
	warren_reply_text(reply, "\t* Nearest DERP: %s\n\t* DERP latency:",
			  home->name ? home->name : "");
	for (uint32_t i = 0; i < report->n_regions; i++) {
		const struct warren_relay_region *r = region_of(p, report->regions[i].id);

		if (!r)
			continue;
		latency_text(paths_region_latency(&report->regions[i]), latency);
		warren_reply_text(reply, "\t\t- %3s: %-7s (%s)", r->code, latency,
				  r->name ? r->name : "");
	}
}

static void latencies(struct warren_reply *reply, const char *key,
		      const struct paths_report *report, int family)
{
	warren_reply_open(reply, key, '{');
	for (uint32_t i = 0; i < report->n_regions; i++) {
		const struct paths_region *r = &report->regions[i];
		uint64_t usec = family < 0 ? paths_region_latency(r) : r->latency[family];
		char id[16];

		snprintf(id, sizeof(id), "%u", r->id);
		if (usec)
			warren_reply_int(reply, id, (int64_t)usec * 1000);
	}
	warren_reply_close(reply);
}

static void counters(struct warren_reply *reply, const char *key,
		     const struct paths_report *report, int six)
{
	char text[ADDRPORT_TEXT];

	if (report->n_seen[six] == 0) {
		warren_reply_null(reply, key);
		return;
	}
	warren_reply_open(reply, key, '{');
	for (uint32_t i = 0; i < report->n_seen[six]; i++)
		warren_reply_int(reply, addrport_format(&report->seen[six][i].address, text),
				 report->seen[six][i].count);
	warren_reply_close(reply);
}

static void tri(struct warren_reply *reply, const char *key, uint8_t value)
{
	if (value == WARREN_TRI_UNKNOWN)
		warren_reply_null(reply, key);
	else
		warren_reply_bool(reply, key, value == WARREN_TRI_YES);
}

static void report_data(const struct paths *p, struct warren_reply *reply)
{
	const struct paths_report *report = &p->netcheck.last;
	char text[ADDRPORT_TEXT];

	time_text(report->realtime, text);
	warren_reply_str(reply, "Now", "%s", text);
	warren_reply_bool(reply, "UDP", report->udp);
	warren_reply_bool(reply, "IPv6", paths_report_worked(report, 1));
	warren_reply_bool(reply, "IPv4", paths_report_worked(report, 0));
	warren_reply_bool(reply, "IPv6CanSend", report->can_send[1]);
	warren_reply_bool(reply, "IPv4CanSend", report->can_send[0]);
	warren_reply_bool(reply, "OSHasIPv6", report->os_ipv6);
	warren_reply_bool(reply, "ICMPv4", report->icmp4);
	tri(reply, "MappingVariesByDestIP", report->mapping_varies);
	tri(reply, "UPnP", portmapper_there(&p->portmapper, PORTMAP_UPNP));
	tri(reply, "PMP", portmapper_there(&p->portmapper, PORTMAP_PMP));
	tri(reply, "PCP", portmapper_there(&p->portmapper, PORTMAP_PCP));
	warren_reply_int(reply, "PreferredDERP", report->preferred);
	latencies(reply, "RegionLatency", report, -1);
	latencies(reply, "RegionV4Latency", report, 0);
	latencies(reply, "RegionV6Latency", report, 1);
	counters(reply, "GlobalV4Counters", report, 0);
	counters(reply, "GlobalV6Counters", report, 1);
	for (int six = 0; six < 2; six++)
		warren_reply_str(reply, six ? "GlobalV6" : "GlobalV4", "%s",
				 report->global[six].addr.family ?
				 addrport_format(&report->global[six], text) : "");
	tri(reply, "CaptivePortal", report->captive);
}

struct netcheck_wait {
	struct paths *paths;
	struct warren_reply *reply;
	struct warren_timer *timer;
	uint64_t runs;			/* as it was: one more is the answer */
	uint64_t until;
};

static void wait_cancelled(struct warren_reply *reply, void *arg)
{
	struct netcheck_wait *wait = arg;

	(void)reply;
	warren_release(wait->timer);
	warren_release(wait);
}

static void wait_turn(struct warren_ctx *ctx, void *arg)
{
	struct netcheck_wait *wait = arg;
	struct paths *p = wait->paths;
	struct warren_reply *reply = wait->reply;

	(void)ctx;
	if ((p->netcheck.runs < wait->runs || portmapper_is_busy(&p->portmapper)) &&
	    warren_now() < wait->until) {
		warren_timer_set(wait->timer, 20 * PATHS_MSEC);
		return;
	}
	warren_release(wait->timer);
	if (p->netcheck.runs < wait->runs) {
		warren_release(wait);
		warren_reply_end(reply, 1, "no report within 10 s");
		return;
	}
	warren_release(wait);
	report_data(p, reply);
	report_text(p, reply);
	warren_reply_end(reply, 0, NULL);
}

int paths_command_netcheck(struct warren_ctx *ctx, const struct warren_conf *args,
			   struct warren_reply *reply, struct warren_err *err)
{
	struct paths *p = warren_self(ctx);
	struct netcheck_wait *wait;

	(void)args;
	if (!p->map || p->map->n_regions == 0)
		return warren_fail(err, NULL, "there is no relay map, and so no server to ask"),
		       -ENOTCONN;
	wait = warren_zalloc(ctx, sizeof(*wait));
	if (!wait)
		return -ENOMEM;
	wait->timer = warren_timer_new(ctx, wait_turn, wait);
	if (!wait->timer)
		return -ENOMEM;
	wait->paths = p;
	wait->reply = reply;
	/* A run that is under way may have begun before what the operator wants to see. */
	wait->runs = p->netcheck.runs + 1 + p->netcheck.running;
	wait->until = warren_now() + 10 * PATHS_SECOND;
	warren_reply_on_cancel(reply, wait_cancelled, wait);
	netcheck_start(&p->netcheck, "command", true);
	warren_timer_set(wait->timer, 20 * PATHS_MSEC);
	return WARREN_PENDING;
}
