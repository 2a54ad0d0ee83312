/*
 * paths: how packets reach each peer. It finds out where this node can be reached and tells that,
 * pings what is known of a peer as long as there is traffic, and gives the data plane the best
 * address that answers, a relay, or both while in doubt.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <syslog.h>

#include <warren/plugin.h>
#include <warren/priv.h>
#include <warren/service/paths.h>

#include "base/addr.h"
#include "paths.h"

static bool check_udp(struct warren_ctx *ctx, struct warren_check_result *result);

static int check_endpoint(const struct warren_conf *at, struct warren_err *err)
{
	struct warren_addrport ap = warren_conf_addrport(at, NULL);
	char text[ADDRPORT_TEXT];

	if (!paths_may_ping(&ap, true))
		return warren_fail(err, at, "%s is no address at which a peer could reach us",
				   addrport_format(&ap, text));
	return 0;
}

enum { PROFILE_NORMAL, PROFILE_METERED };
static const char *const profiles[] = { "normal", "metered", NULL };

static const struct warren_option options[] = {
	{
		.key = "endpoints", .type = WARREN_ADDRPORT, .flags = WARREN_MANY,
		.brief = "More addresses at which peers reach this node.",
		.help = "For a port that a router forwards, or an address that the host does not "
			"know of. They are told to peers beside those that are found.",
		.check = check_endpoint,
		.example = "[192.0.2.1:41641]",
	},
	{
		.key = "loopback", .type = WARREN_BOOL, .def = "false",
		.brief = "Let peers name loopback addresses of this host.",
		.help = "For several nodes on one host.",
	},
	{
		.key = "portmap", .type = WARREN_BOOL, .def = "true",
		.brief = "Have the router map our UDP port (PCP, NAT-PMP, UPnP).",
		.help = "Asks the gateway of the default route, if its address is a private one, "
			"to let peers reach this host from outside. The mapping is renewed, and "
			"deleted when the daemon ends.",
	},
	{
		.key = "profile", .type = WARREN_ENUM, .def = "normal", .values = profiles,
		.brief = "How much traffic this node may make of its own.",
		.help = "metered: for links that are paid by the byte. While there is traffic, its "
			"addresses are asked for every 5 minutes instead of every 20 to 26 s, and "
			"those of other uplinks only when they are used. A node without traffic "
			"stays under 1 MB a day either way.",
	},
};

static const struct warren_option ping_args[] = {
	{ .key = "host", .type = WARREN_STRING, .flags = WARREN_REQUIRED | WARREN_POSITIONAL,
	  .max = 255, .brief = "Name or address of a peer." },
	{ .key = "c", .type = WARREN_INT, .def = "10", .min = 0, .max = 1000000,
	  .brief = "Pings to send at most; 0: no limit." },
	{ .key = "timeout", .type = WARREN_DURATION, .def = "5s", .min = 1000,
	  .max = 5000000, .brief = "How long to wait for each answer." },
	{ .key = "until-direct", .type = WARREN_BOOL, .def = "true",
	  .brief = "End with the first answer that came by a direct way." },
	{ .key = "tsmp", .type = WARREN_BOOL, .def = "false",
	  .brief = "Ping inside the tunnel; the peer's daemon answers." },
	{ .key = "icmp", .type = WARREN_BOOL, .def = "false",
	  .brief = "Ping inside the tunnel; the peer's host answers, if the policy allows it." },
	{ .key = "peerapi", .type = WARREN_BOOL, .def = "false",
	  .brief = "Ask the peer's daemon over HTTP, as services for peers are asked." },
	{ .key = "size", .type = WARREN_INT, .def = "0", .min = 0, .max = 9000,
	  .brief = "Bytes of the UDP payload; 0: as few as possible." },
};

static const struct warren_option history_args[] = {
	{ .key = "peer", .type = WARREN_STRING, .flags = WARREN_REQUIRED | WARREN_POSITIONAL,
	  .max = 255, .brief = "Name or address of a peer." },
};

static const struct warren_command commands[] = {
	{ .path = "ping", .flags = WARREN_CMD_ANY | WARREN_CMD_STOCK,
	  .args = WARREN_TABLE(ping_args),
	  .brief = "Find out by which way a peer answers.",
	  .help = "Looks for a direct way meanwhile. With --tsmp, --icmp or --peerapi the first "
		  "answer is the last. Exit status 1: no answer, or none by a direct way where one "
		  "was asked for.",
	  .example = "warren ping --c 3 nas", .run = paths_command_ping },
	{ .path = "netcheck", .flags = WARREN_CMD_ANY | WARREN_CMD_STOCK,
	  .brief = "Examine this host's network: UDP, NAT, nearest relay.",
	  .help = "Asks the STUN servers of the relay map now, over the socket that peers reach, "
		  "and prints what they saw.",
	  .example = "warren netcheck --json", .run = paths_command_netcheck },
	{ .path = "paths history", .flags = WARREN_CMD_ANY, .args = WARREN_TABLE(history_args),
	  .brief = "Show how the way to a peer changed, and why.",
	  .help = "The last 200 changes, the oldest first.",
	  .example = "warren paths history nas", .run = paths_command_history },
	{ .path = "why", .flags = WARREN_CMD_ANY, .args = WARREN_TABLE(history_args),
	  .brief = "Say why a peer is reached as it is, and what to do.",
	  .help = "One verdict of a fixed list, the evidence, and the next step on this host.",
	  .example = "warren why nas", .run = paths_command_why },
};

static const struct warren_metric metrics[] = {
	{ .name = "disco_sent", .kind = WARREN_COUNTER, .unit = "packets", .label = "message",
	  .brief = "Disco messages sent." },
	{ .name = "disco_received", .kind = WARREN_COUNTER, .unit = "packets", .label = "message",
	  .brief = "Disco messages of peers." },
	{ .name = "disco_dropped", .kind = WARREN_COUNTER, .unit = "packets", .label = "reason",
	  .brief = "Disco messages that were not believed or understood." },
	{ .name = "stun_sent", .kind = WARREN_COUNTER, .unit = "packets",
	  .brief = "STUN requests sent." },
	{ .name = "stun_received", .kind = WARREN_COUNTER, .unit = "packets",
	  .brief = "Answers to them." },
	{ .name = "changes", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Changes of the way to a peer." },
	{ .name = "direct", .kind = WARREN_GAUGE, .unit = "1",
	  .brief = "Peers with a direct path, when the status was last asked for." },
	{ .name = "peer_relayed", .kind = WARREN_GAUGE, .unit = "1",
	  .brief = "Peers that a peer relay leads to, when the status was last asked for." },
};

static const struct warren_port needs[] = {
	{ .name = "dataplane", .major = 0, .minor = 5, .brief = "Sockets and paths of peers." },
	{ .name = "identity", .major = 0, .minor = 1, .brief = "The disco key." },
	{ .name = "netmap", .major = 0, .minor = 3, .brief = "Peers, their endpoints, relays." },
	{ .name = "relay-client", .major = 0, .minor = 3, .flags = WARREN_SOFT,
	  .brief = "A way to peers that cannot be reached directly." },
	{ .name = "peerapi", .major = 0, .minor = 1, .flags = WARREN_SOFT,
	  .brief = "For `warren ping --peerapi`." },
};

static const struct warren_port offers[] = {
	{ .name = "paths", .major = 0, .minor = 1, .brief = "Where this node is, from outside." },
};

static const struct warren_check checks[] = {
	{
		.id = "paths.udp", .severity = WARREN_WARN,
		.brief = "A STUN server answers: UDP gets out and back in.",
		.help = "Without UDP all traffic goes over a relay, and not at all without one. "
			"Allow outgoing UDP, to port 3478 and from our own port.",
		.run = check_udp,
	},
};

/*
 * ---- Life ----
 */

/* As the stock client: the attribute turns probing on, and forbids routers to fragment. */
static void see_attributes(struct paths *p, const struct warren_node *self)
{
	bool probe = false;
	int result;

	for (uint32_t i = 0; self && i < self->n_caps; i++)
		probe = probe || strcmp(self->caps[i].name, "peer-mtu-enable") == 0;
	if (probe == p->mtu_series)
		return;
	result = p->dataplane->dont_fragment(p->dataplane_self, probe);
	if (result < 0)
		warren_log(p->ctx, LOG_WARNING, "cannot set how the UDP sockets fragment: %s",
			   strerror(-result));
	else
		p->mtu_series = probe;
}

static void on_map(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	const struct warren_netmap *map = obj;
	struct paths *p = arg;
	bool first = !p->map, none_before = !p->map || p->map->n_peers == 0;

	(void)ctx;
	(void)topic;
	paths_servers_see(p, map);
	paths_map(p, map);
	see_attributes(p, map->self);
	if (first || (map->changed & WARREN_NETMAP_RELAYS))
		paths_gather(p, first ? "start" : "derp-map-update");
	else if (none_before && map->n_peers > 0)
		paths_gather(p, "non-zero-peers");
}

static void on_identity(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	const struct warren_identity_event *event = obj;
	struct paths *p = arg;

	(void)ctx;
	(void)topic;
	memcpy(p->node_key, event->public_key[WARREN_KEY_NODE], sizeof(p->node_key));
	if (!(event->changed & 1u << WARREN_KEY_DISCO))
		return;
	memcpy(p->disco_key, event->public_key[WARREN_KEY_DISCO], sizeof(p->disco_key));
	paths_rekey_all(p);
}

static void conf_read(struct paths *p, const struct warren_conf *conf)
{
	p->n_fixed = 0;
	p->loopback = warren_conf_bool(conf, "loopback");
	p->metered = warren_conf_enum(conf, "profile") == PROFILE_METERED;
	portmapper_set(&p->portmapper, warren_conf_bool(conf, "portmap"));
	for (uint32_t i = 0; i < warren_conf_count(conf, "endpoints"); i++)
		p->fixed[p->n_fixed++] =
			warren_conf_addrport(warren_conf_at(conf, "endpoints", i), NULL);
}

static int paths_check(const struct warren_conf *conf, struct warren_err *err)
{
	if (warren_conf_count(conf, "endpoints") > PATHS_STATIC_MAX)
		return warren_fail_key(err, -EINVAL, conf, "endpoints",
				       "more than %d endpoints help nobody", PATHS_STATIC_MAX);
	return 0;
}

static void paths_end(void *arg)
{
	struct paths *p = arg;

	netcheck_fini(&p->netcheck);
	paths_nodes_free(p);
}

static int open_stats(struct paths *p)
{
	static const char *const reasons[PATHS_STATS] = {
		[PATHS_STAT_BAD_PEER] = "bad-peer", [PATHS_STAT_BAD_BOX] = "bad-box",
		[PATHS_STAT_BAD_MESSAGE] = "bad-message", [PATHS_STAT_BAD_WAY] = "bad-way",
		[PATHS_STAT_TOO_MANY] = "too-many",
	};
	bool good = true;

	for (uint32_t i = 1; i <= WARREN_DISCO_ALLOCATED; i++) {
		p->sent[i] = warren_stat_open(p->ctx, "disco_sent", warren_disco_name(i));
		p->received[i] = warren_stat_open(p->ctx, "disco_received", warren_disco_name(i));
		good = good && p->sent[i] && p->received[i];
	}
	for (int i = 0; i < PATHS_STATS; i++) {
		p->dropped[i] = warren_stat_open(p->ctx, "disco_dropped", reasons[i]);
		good = good && p->dropped[i];
	}
	p->stun_sent = warren_stat_open(p->ctx, "stun_sent", NULL);
	p->stun_received = warren_stat_open(p->ctx, "stun_received", NULL);
	p->changes = warren_stat_open(p->ctx, "changes", NULL);
	p->direct = warren_stat_open(p->ctx, "direct", NULL);
	p->peer_relayed = warren_stat_open(p->ctx, "peer_relayed", NULL);
	return good && p->stun_sent && p->stun_received && p->changes && p->direct &&
	       p->peer_relayed ? 0 : -ENOMEM;
}

static int init(struct paths *p, struct warren_ctx *ctx)
{
	p->ctx = ctx;
	list_init(&p->all);
	list_init(&p->pings);
	hash_init(&p->by_key);
	hash_init(&p->by_disco);
	hash_init(&p->expected);
	if (!warren_on_end(ctx, paths_end, p))
		return -ENOMEM;
	p->timer = warren_timer_new(ctx, paths_turn, p);
	if (!p->timer || open_stats(p) < 0 || netcheck_init(&p->netcheck, p) < 0 ||
	    portmapper_init(&p->portmapper, p) < 0 || uplinks_init(&p->uplinks, p) < 0)
		return -ENOMEM;
	return 0;
}

static int bind_services(struct paths *p)
{
	const void *ops;
	int result = warren_need(p->ctx, "dataplane", &ops, &p->dataplane_self);

	if (result)
		return result;
	p->dataplane = ops;
	result = warren_need(p->ctx, "identity", &ops, &p->identity_self);
	if (result)
		return result;
	p->identity = ops;
	result = warren_need(p->ctx, "netmap", &ops, &p->netmap_self);
	if (result)
		return result;
	p->netmap = ops;
	p->identity->public_key(p->identity_self, WARREN_KEY_DISCO, p->disco_key);
	p->identity->public_key(p->identity_self, WARREN_KEY_NODE, p->node_key);
	return 0;
}

static uint32_t ops_home(void *self)
{
	return ((const struct paths *)self)->netcheck.last.preferred;
}

static void ops_refresh(void *self, const char *reason)
{
	paths_gather(self, reason);
}

static const struct warren_paths_ops service = {
	.size = sizeof(service),
	.home = ops_home,
	.refresh = ops_refresh,
};

static void on_stun(void *arg, const struct warren_addrport *from, uint32_t vni,
		    const uint8_t *data, size_t len)
{
	struct paths *p = arg;

	if (!uplinks_on_stun(&p->uplinks, data, len))
		netcheck_on_stun(p, from, vni, data, len);
}

static int attach(struct paths *p)
{
	const struct warren_dataplane_ops *d = p->dataplane;
	int result = d->paths_attach(p->dataplane_self, p->ctx, &paths_events, p);

	if (!result)
		result = d->foreign(p->dataplane_self, p->ctx, WARREN_FOREIGN_STUN,
				    on_stun, p);
	if (!result)
		result = d->foreign(p->dataplane_self, p->ctx, WARREN_FOREIGN_DISCO,
				    paths_on_disco, p);
	if (!result)
		result = d->foreign(p->dataplane_self, p->ctx, WARREN_FOREIGN_GENEVE_DISCO,
				    paths_on_geneve, p);
	if (!result)
		result = d->foreign(p->dataplane_self, p->ctx, WARREN_FOREIGN_PONG,
				    paths_on_pong, p);
	if (!result)
		result = warren_subscribe(p->ctx, "identity", on_identity, p);
	if (!result)
		result = warren_offer(p->ctx, "paths", &service, p);
	/* Sticky: the map of now follows. */
	if (!result)
		result = warren_subscribe(p->ctx, "netmap", on_map, p);
	return result;
}

static int paths_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		       struct warren_err *err)
{
	struct paths *p = warren_zalloc(ctx, sizeof(*p));
	int result;

	if (!p || init(p, ctx))
		return warren_fail(err, NULL, "out of memory");
	warren_self_set(ctx, p);
	conf_read(p, conf);
	result = bind_services(p);
	if (!result)
		result = paths_home_restore(p, err);
	if (result)
		return result;
	result = attach(p);
	if (result < 0) {
		warren_fail(err, NULL, "cannot take over the paths of the data plane: %s",
			    strerror(-result));
		return result;
	}
	/* Without it we look every 20 s while there is traffic. */
	if (paths_watch(p, err) < 0)
		warren_log(ctx, LOG_WARNING, "changes of this host's links are not noticed");
	return 0;
}

static int paths_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			const struct warren_conf *now, struct warren_err *err)
{
	struct paths *p = warren_self(ctx);

	(void)old;
	(void)err;
	conf_read(p, now);
	paths_gather(p, "static-endpoint-change");
	return 0;
}

static int paths_stop(struct warren_ctx *ctx)
{
	struct paths *p = warren_self(ctx);

	paths_pings_end(p);
	return portmapper_stop(&p->portmapper) ? WARREN_PENDING : 0;
}

static void paths_found(struct warren_ctx *ctx, const char *name, const void *ops, void *self)
{
	if (strcmp(name, "relay-client") == 0 &&
	    paths_relay_found(warren_self(ctx), ops, self) < 0)
		warren_log(ctx, LOG_ERR, "the relay client serves somebody else");
	else if (strcmp(name, "peerapi") == 0)
		paths_peerapi_found(warren_self(ctx), ops, self);
}

static void paths_lost(struct warren_ctx *ctx, const char *name)
{
	if (strcmp(name, "relay-client") == 0)
		paths_relay_found(warren_self(ctx), NULL, NULL);
	else if (strcmp(name, "peerapi") == 0)
		paths_peerapi_found(warren_self(ctx), NULL, NULL);
}

static bool check_udp(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct paths *p = warren_self(ctx);

	if (p->netcheck.last.at == 0 || p->netcheck.last.udp || !p->map || p->map->n_regions == 0)
		return true;
	warren_finding(result, "no STUN server of the relay map answered");
	return false;
}

WARREN_PLUGIN(paths, "paths", .version = "0.1", .license = "ISC",
	.brief = "Direct paths and relays to peers.",
	.help = "Finds direct ways through NATs and firewalls with disco and STUN, and uses a "
		"relay until there is one.",
	.options = WARREN_TABLE(options), .commands = WARREN_TABLE(commands),
	.metrics = WARREN_TABLE(metrics), .needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers), .checks = WARREN_TABLE(checks), .check = paths_check,
	.privops = WARREN_PRIVOP(SOCKET),
	.start = paths_start,
	.reload = paths_reload, .stop = paths_stop, .found = paths_found, .lost = paths_lost,
	.status = paths_status);
