/*
 * exitnode: a way to all of the internet, for peers, and through one of them.
 *
 * The two default networks are offered like any other (service `router`), which lays what they need
 * into the packet filter once the server has approved: forwarding, masquerading, and the private
 * networks of this host kept out of it. What is here is the operator's switch, and what he is told.
 *
 * To use one, the same service leads all that this host sends into the tunnel, and the network map
 * is told which peer takes it there; so data plane and routes never disagree. The routes do not
 * depend on that peer: before it is found and when it is away, they lead nowhere else.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include <warren/netstate.h>
#include <warren/plugin.h>
#include <warren/service/exitnode.h>

#include "base/util.h"
#include "exitnode.h"

static bool check_approved(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_ready(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_uplink(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_used(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_answers(struct warren_ctx *ctx, struct warren_check_result *result);

static int check_bypass(const struct warren_conf *at, struct warren_err *err)
{
	struct warren_router_bypass bypass;

	if (exitnode_bypass_parse(warren_conf_str(at, NULL), &bypass))
		return warren_fail(err, at, "\"%s\" is nothing to be bypassed: 10.0.0.0/16, "
				   "interface:wt0, uid:1000 or uid:1000-1999 is meant",
				   warren_conf_str(at, NULL));
	return 0;
}

enum { CRASH_CLOSED, CRASH_OPEN };
static const char *const on_crash[] = { "closed", "open", NULL };

static const struct warren_option options[] = {
	{
		.key = "advertise", .type = WARREN_BOOL, .def = "false",
		.brief = "Offer peers a way to all of the internet.",
		.help = "The server has to approve; with `static` there is nobody to ask. Private, "
			"shared and reserved networks are not led to, unless `router.advertise` "
			"has them. Peers are seen with this host's address. Forwarding is switched "
			"on while it is approved, unless `router.firewall` is off.",
	},
	{
		.key = "use", .type = WARREN_STRING, .max = 255,
		.brief = "Lead all of this host's traffic through this peer.",
		.help = "Its name, address or stable id; auto: the nearest that lives, and another "
			"when that fails. While it is not there, nothing leaves: not in the clear, "
			"and not by another peer. Who came in from elsewhere, by SSH for instance, "
			"is answered there. After the death of both processes the internet stays "
			"out of reach until the daemon starts again, or `warrend --cleanup`.",
		.example = "gw-tokyo",
	},
	{
		.key = "allow-lan-access", .type = WARREN_BOOL, .def = "false",
		.brief = "Reach the networks that this host is attached to beside the exit node.",
		.help = "Without it even the printer next door is looked for behind the exit node. "
			"Networks of containers are among them.",
	},
	{
		.key = "bypass", .type = WARREN_STRING, .flags = WARREN_MANY, .max = 64,
		.brief = "What goes around the exit node, by the host's own routes.",
		.help = "10.0.0.0/16: these destinations. interface:wt0: all networks that the "
			"main table leads through it, but no default route; while it is away they "
			"are out of reach. uid:1000, uid:1000-1999: what these users' processes "
			"send, but for what peers lead to.",
		.check = check_bypass, .example = "[10.0.0.0/16, \"interface:wt0\"]",
	},
	{
		.key = "on-crash", .type = WARREN_ENUM, .def = "closed", .values = on_crash,
		.brief = "What is left of `use` when both processes were killed.",
		.help = "closed: the internet is out of reach until the next start, or `warrend "
			"--cleanup`. open: the host's own routes take over, in the clear.",
	},
	{
		.key = "on-stop", .type = WARREN_ENUM, .def = "open", .values = on_crash,
		.brief = "What is left of `use` when the daemon is stopped.",
		.help = "open: the host is as it was. closed: as after a crash, so that nothing "
			"leaves in the clear while the daemon is restarted or upgraded; `warrend "
			"--cleanup` opens the way. It needs `on-crash` to be closed.",
	},
};

/* Whoever counts on this host as a way needs it open; both would be a ring. */
static int exitnode_check(const struct warren_conf *conf, struct warren_err *err)
{
	const char *use = warren_conf_str(conf, "use");

	if (use && use[0] && warren_conf_bool(conf, "advertise"))
		return warren_fail_key(err, -EINVAL, conf, "use", "Cannot advertise an exit node "
				       "and use an exit node at the same time.");
	if (warren_conf_enum(conf, "on-stop") == CRASH_CLOSED &&
	    warren_conf_enum(conf, "on-crash") == CRASH_OPEN)
		return warren_fail_key(err, -EINVAL, conf, "on-stop", "closed after a stop and "
				       "open after a crash makes no sense");
	if (warren_conf_count(conf, "bypass") > WARREN_BYPASS_MAX)
		return warren_fail_key(err, -EINVAL, conf, "bypass", "more than %d entries",
				       WARREN_BYPASS_MAX);
	return 0;
}

static const struct warren_port needs[] = {
	{ .name = "router", .major = 0, .minor = 3, .flags = WARREN_ENABLE, .provider = "router",
	  .brief = "Leads there." },
	{ .name = "netmap", .major = 0, .minor = 4, .brief = "Who offers a way." },
	{ .name = "dataplane", .major = 0, .minor = 1, .brief = "Whether it answers." },
	{ .name = "paths", .major = 0, .minor = 1, .flags = WARREN_SOFT,
	  .brief = "Where this node is, for `use: auto`." },
};

static const struct warren_port offers[] = {
	{ .name = "exitnode", .major = 0, .minor = 1, .brief = "The way to the internet." },
};

static const struct warren_check checks[] = {
	{
		.id = "exitnode.approved", .severity = WARREN_NOTE,
		.brief = "What is offered is approved.",
		.help = "An administrator of the network approves it, or its policy does "
			"(autoApprovers).",
		.run = check_approved,
	},
	{
		.id = "exitnode.ready", .severity = WARREN_BAD,
		.brief = "The host leads peers to the internet.",
		.help = "Packet filter and forwarding are the plugin router's: see `warren doctor "
			"router`.",
		.run = check_ready,
	},
	{
		.id = "exitnode.uplink", .severity = WARREN_WARN,
		.brief = "The host has a way to the internet itself.",
		.help = "Without a default route of IPv4 peers are led nowhere.",
		.run = check_uplink,
	},
	{
		.id = "exitnode.used", .severity = WARREN_BAD,
		.brief = "The exit node that is to be used is there.",
		.help = "Until it is, nothing leaves this host but for peers. `warren exit-node "
			"list` shows which there are.",
		.run = check_used,
	},
	{
		.id = "exitnode.answers", .severity = WARREN_WARN,
		.brief = "Who came in from elsewhere than a peer is answered there.",
		.help = "The packet filter looks after that: with router.firewall off, SSH to "
			"this host's own address breaks when an exit node is used.",
		.run = check_answers,
	},
};

enum { TABLE_MAIN = 254 };

static const uint64_t second = 1000000;
static const uint64_t watch_pause = 2000000;
static const uint64_t patience = 15000000;	/* WireGuard's own, dataplane.md 1.9 */
static const uint64_t avoid_time = 60000000;

/*
 * ---- Being one ----
 */

static bool advertises(const struct exitnode *e)
{
	return warren_conf_bool(e->conf, "advertise");
}

static int offer(struct exitnode *e, struct warren_err *err)
{
	static const struct warren_prefix all[] = { { { .family = 4 }, 0 },
						    { { .family = 6 }, 0 } };
	int result = e->router->offer(e->router_self, e->ctx, all,
				      advertises(e) ? ARRAY_SIZE(all) : 0);

	if (result)
		warren_fail(err, NULL, "it cannot be offered: %s", strerror(-result));
	return result;
}

/*
 * ---- Using one ----
 */

static const char *wanted(const struct exitnode *e)
{
	const char *use = warren_conf_str(e->conf, "use");

	return use ? use : "";
}

struct exitnode_wish exitnode_wish(const struct exitnode *e, const char *use)
{
	return (struct exitnode_wish){
		.use = use, .before = e->used, .avoid = &e->avoid, .now = warren_now(),
		.home = e->paths ? e->paths->home(e->paths_self) : 0,
	};
}

static void tell(struct exitnode *e, const struct warren_node *node)
{
	char name[256] = "";

	if (node)
		exitnode_name(node, name, sizeof(name));
	if (node)
		warren_log(e->ctx, LOG_NOTICE, "all of this host's traffic goes through %s", name);
	else if (e->found == EXITNODE_UNUSED)
		warren_log(e->ctx, LOG_NOTICE, "no exit node is used");
	else
		warren_log(e->ctx, LOG_WARNING, "nothing leaves this host: the exit node \"%s\" "
			   "is not there (%s)", wanted(e), exitnode_found_name(e->found));
}

/* Decides again who is used. */
static void follow(struct exitnode *e)
{
	struct exitnode_wish wish = exitnode_wish(e, wanted(e));
	enum exitnode_found before = e->found;
	const struct warren_node *node = exitnode_find(e->map, &wish, &e->found);
	int64_t id = node ? node->id : 0;
	int result = e->netmap->exit_set(e->netmap_self, e->ctx, wish.use[0], id);

	if (result)
		warren_log(e->ctx, LOG_ERR, "the exit node cannot be changed: %s",
			   strerror(-result));
	if (id != e->used || (before != e->found && !id))
		tell(e, node);
	if (id != e->used)
		e->silent = 0;
	e->used = id;
	if (exitnode_is_auto(wish.use))
		warren_timer_set(e->watch, watch_pause);
	else
		warren_timer_stop(e->watch);
}

/*
 * A peer that gets data answers within 10 s, if only with nothing; one that is called and has said
 * nothing for 15 s is away.
 */
static bool is_silent(struct exitnode *e, const struct warren_node *node, uint64_t now)
{
	struct warren_peer_status status = { .size = sizeof(status) };

	if (e->dataplane->peer(e->dataplane_self, node->key.bytes, &status))
		return false;
	if (status.last_rx != e->heard)
		e->silent = 0;
	e->heard = status.last_rx;
	if (status.last_tx <= status.last_rx && status.session != WARREN_SESSION_HANDSHAKE)
		e->silent = 0;
	else if (!e->silent)
		e->silent = now;
	return e->silent && now - e->silent >= patience;
}

static void watch(struct warren_ctx *ctx, void *arg)
{
	struct exitnode *e = arg;
	uint64_t now = warren_now();
	const struct warren_node *node = warren_netmap_peer(e->map, e->used);

	(void)ctx;
	if (node && is_silent(e, node, now)) {
		char name[256];

		exitnode_name(node, name, sizeof(name));
		warren_log(e->ctx, LOG_WARNING, "the exit node %s has not answered for %llu s",
			   name, (unsigned long long)((now - e->silent) / second));
		exitnode_avoid(&e->avoid, node->id, now + avoid_time);
		e->silent = 0;
	}
	follow(e);
}

/* Most maps differ in where peers are: of those that are not used, that matters to `auto` alone. */
static bool concerns(const struct exitnode *e, const struct warren_netmap *before,
		     const struct warren_netmap *map)
{
	const uint32_t where = WARREN_NODE_HOME_REGION | WARREN_NODE_PRESENCE;
	uint32_t but = WARREN_NODE_REACHED & ~(exitnode_is_auto(wanted(e)) ? where : 0);

	return warren_netmap_peers_differ(map, before, but) ||
	       map->changed & (WARREN_NETMAP_SELF | WARREN_NETMAP_RELAYS) ||
	       warren_netmap_peer(map, e->used) != warren_netmap_peer(before, e->used);
}

static void exitnode_netmap(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	struct exitnode *e = arg;
	const struct warren_netmap *before = e->map, *map = obj;
	bool again = concerns(e, before, map);

	(void)ctx;
	(void)topic;
	e->map = warren_obj_ref(map);
	warren_obj_unref(before);
	if (again)
		follow(e);
}

/* The routes: before it is known whose way it is, all others are shut. */
static int lead(struct exitnode *e, struct warren_err *err)
{
	struct warren_router_bypass bypass[WARREN_BYPASS_MAX];
	struct warren_router_lead lead = {
		.size = sizeof(lead), .bypass = bypass,
		.shut = warren_conf_enum(e->conf, "on-crash") == CRASH_CLOSED,
		.stays = warren_conf_enum(e->conf, "on-stop") == CRASH_CLOSED,
		.attached = warren_conf_bool(e->conf, "allow-lan-access"),
	};
	int result;

	for (uint32_t i = 0; i < warren_conf_count(e->conf, "bypass"); i++) {
		const char *text = warren_conf_str(warren_conf_at(e->conf, "bypass", i), NULL);

		/* It was checked. */
		if (exitnode_bypass_parse(text, &bypass[lead.n_bypass]) == 0)
			lead.n_bypass++;
	}
	result = e->router->lead(e->router_self, e->ctx, wanted(e)[0] ? &lead : NULL);
	if (result)
		warren_fail(err, NULL, "this host's traffic cannot be led into the tunnel: %s",
			    strerror(-result));
	return result;
}

static bool ops_usable(void *self, const char *use, char why[WARREN_EXITNODE_TEXT])
{
	const struct exitnode *e = self;
	struct exitnode_wish wish = exitnode_wish(e, use);
	enum exitnode_found found;

	exitnode_find(e->map, &wish, &found);
	exitnode_refusal(found, use, why, WARREN_EXITNODE_TEXT);
	return !why[0];
}

static const struct warren_exitnode_ops ops = { .size = sizeof(ops), .usable = ops_usable };

/*
 * ---- Life ----
 */

static void exitnode_end(void *arg)
{
	struct exitnode *e = arg;

	warren_obj_unref(e->map);
	e->map = NULL;
}

static int find_needs(struct exitnode *e)
{
	const void *found;
	int result = warren_need(e->ctx, "router", &found, &e->router_self);

	if (result)
		return result;
	e->router = found;
	result = warren_need(e->ctx, "netmap", &found, &e->netmap_self);
	if (result)
		return result;
	e->netmap = found;
	result = warren_need(e->ctx, "dataplane", &found, &e->dataplane_self);
	if (result)
		return result;
	e->dataplane = found;
	return 0;
}

static int exitnode_start(struct warren_ctx *ctx, const struct warren_conf *conf,
			  struct warren_err *err)
{
	struct exitnode *e = warren_zalloc(ctx, sizeof(*e));
	int result;

	if (!e || !warren_on_end(ctx, exitnode_end, e))
		return warren_fail(err, NULL, "out of memory");
	e->ctx = ctx;
	e->conf = conf;
	e->watch = warren_timer_new(ctx, watch, e);
	warren_self_set(ctx, e);
	result = e->watch ? find_needs(e) : -ENOMEM;
	if (!result)
		result = warren_offer(ctx, "exitnode", &ops, e);
	if (!result)
		result = offer(e, err);
	if (!result)
		result = lead(e, err);
	if (result)
		return result;
	e->map = e->netmap->current(e->netmap_self);
	follow(e);
	return warren_subscribe(ctx, "netmap", exitnode_netmap, e);
}

static int exitnode_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			   const struct warren_conf *now, struct warren_err *err)
{
	struct exitnode *e = warren_self(ctx);
	int result;

	e->conf = now;
	result = offer(e, err);
	if (!result)
		result = lead(e, err);
	if (result) {
		e->conf = old;
		(void)offer(e, NULL);
		return result;
	}
	follow(e);
	return 0;
}

static void exitnode_found(struct warren_ctx *ctx, const char *service, const void *found,
			   void *self)
{
	struct exitnode *e = warren_self(ctx);

	if (strcmp(service, "paths") != 0)
		return;
	e->paths = found;
	e->paths_self = self;
}

static void exitnode_lost(struct warren_ctx *ctx, const char *service)
{
	exitnode_found(ctx, service, NULL, NULL);
}

/*
 * ---- What the operator sees ----
 */

static enum exitnode_state state_of(const struct exitnode *e)
{
	struct warren_router_serving serving = { .size = sizeof(serving) };

	e->router->serving(e->router_self, &serving);
	return exitnode_state(advertises(e), &serving);
}

static bool check_approved(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct exitnode *e = warren_self(ctx);

	if (state_of(e) != EXITNODE_WAITS)
		return true;
	warren_finding(result, "an administrator of the network has not approved of this exit node "
		       "yet");
	return false;
}

static bool check_ready(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct exitnode *e = warren_self(ctx);
	const char *problem;

	if (state_of(e) != EXITNODE_STUCK)
		return true;
	problem = e->router->problem(e->router_self);
	if (problem)
		warren_finding(result, "peers are led nowhere: %s", problem);
	else if (!e->router->forwards(e->router_self))
		warren_finding(result, "router.firewall is off, so forwarding and masquerading are "
			       "left to you");
	else
		warren_finding(result, "peers are led nowhere yet: try again in a moment");
	return false;
}

static void look_for_default(const struct warren_net_route *route, void *arg)
{
	bool *found = arg;

	*found = *found || (route->family == 4 && route->dst.bits == 0);
}

static bool check_uplink(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct exitnode *e = warren_self(ctx);
	bool found = false;

	if (!advertises(e) || warren_net_routes(TABLE_MAIN, look_for_default, &found, NULL) ||
	    found)
		return true;
	warren_finding(result, "this host has no default route of IPv4 in its main table");
	return false;
}

static bool check_used(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct exitnode *e = warren_self(ctx);

	switch (e->found) {
	case EXITNODE_UNUSED:
	case EXITNODE_USED:
		return true;
	case EXITNODE_OFFLINE:
		warren_finding(result, "the exit node \"%s\" is offline: nothing leaves this host "
			       "until it is back, or another is used", wanted(e));
		return false;
	case EXITNODE_NO_MAP:
	case EXITNODE_UNKNOWN:
	case EXITNODE_AMBIGUOUS:
	case EXITNODE_SELF:
	case EXITNODE_NOT_OFFERED:
	case EXITNODE_NOBODY:
		break;
	}
	warren_finding(result, "the exit node \"%s\" is not there (%s): nothing leaves this host "
		       "until it is, or another is used", wanted(e),
		       exitnode_found_name(e->found));
	return false;
}

static bool check_answers(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct exitnode *e = warren_self(ctx);

	if (!wanted(e)[0] || e->router->forwards(e->router_self))
		return true;
	warren_finding(result, "router.firewall is off: who connects to this host from elsewhere "
		       "than a peer gets his answers through the exit node, and cannot use them");
	return false;
}

static void use_status(const struct exitnode *e, struct warren_reply *reply)
{
	const struct warren_node *node = warren_netmap_peer(e->map, e->used);
	char name[256] = "";

	if (node)
		exitnode_name(node, name, sizeof(name));
	warren_reply_open(reply, "use", '{');
	warren_reply_str(reply, "wanted", "%s", wanted(e));
	warren_reply_str(reply, "state", "%s", exitnode_found_name(e->found));
	warren_reply_str(reply, "node", "%s", name);
	warren_reply_bool(reply, "lan", warren_conf_bool(e->conf, "allow-lan-access"));
	warren_reply_bool(reply, "shut_after_crash",
			  warren_conf_enum(e->conf, "on-crash") == CRASH_CLOSED);
	warren_reply_bool(reply, "shut_after_stop",
			  warren_conf_enum(e->conf, "on-stop") == CRASH_CLOSED);
	warren_reply_close(reply);
	if (!wanted(e)[0])
		return;
	if (e->found == EXITNODE_USED)
		warren_reply_text(reply, "all traffic goes through %s", name);
	else
		warren_reply_text(reply, "nothing leaves this host: the exit node \"%s\" is %s",
				  wanted(e), exitnode_found_name(e->found));
	if (warren_conf_enum(e->conf, "on-crash") == CRASH_CLOSED)
		warren_reply_text(reply, "if both processes are killed, the internet stays out of "
				  "reach (unreachable default in the routing table) until the "
				  "next start or `warrend --cleanup`");
	if (warren_conf_enum(e->conf, "on-stop") == CRASH_CLOSED)
		warren_reply_text(reply, "the same after the daemon is stopped (on-stop)");
}

static void exitnode_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct exitnode *e = warren_self(ctx);
	struct warren_router_serving serving = { .size = sizeof(serving) };
	enum exitnode_state state;

	e->router->serving(e->router_self, &serving);
	state = exitnode_state(advertises(e), &serving);
	warren_reply_bool(reply, "advertised", advertises(e));
	warren_reply_str(reply, "state", "%s", exitnode_state_name(state));
	warren_reply_bool(reply, "ipv4", serving.ready[0]);
	warren_reply_bool(reply, "ipv6", serving.ready[1]);
	if (advertises(e) || !wanted(e)[0])
		warren_reply_text(reply, "%s", exitnode_state_words(state));
	use_status(e, reply);
}

WARREN_PLUGIN(exitnode, "exitnode",
	.version = "0.1",
	.license = "ISC",
	.brief = "Leads peers to the internet, or uses a peer that does.",
	.help = "Offers this host as an exit node, or sends all that this host sends through one. "
		"Packet filter, masquerading, forwarding, routes and rules are set and set back by "
		"the plugin router.",
	.options = WARREN_TABLE(options),
	.commands = { sizeof(struct warren_command), EXITNODE_COMMANDS, exitnode_commands },
	.needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers),
	.checks = WARREN_TABLE(checks),
	.check = exitnode_check,
	.start = exitnode_start,
	.reload = exitnode_reload,
	.found = exitnode_found,
	.lost = exitnode_lost,
	.status = exitnode_status,
);
