/*
 * exitnode: a way to all of the internet, for peers.
 *
 * The two default networks are offered like any other (service `router`), which lays what they need
 * into the packet filter once the server has approved: forwarding, masquerading, and the private
 * networks of this host kept out of it. What is here is the operator's switch, and what he is told.
 */
#include <errno.h>
#include <string.h>

#include <warren/netstate.h>
#include <warren/plugin.h>
#include <warren/service/router.h>

#include "base/util.h"
#include "exitnode.h"

static bool check_approved(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_ready(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_uplink(struct warren_ctx *ctx, struct warren_check_result *result);

static const struct warren_option options[] = {
	{
		.key = "advertise", .type = WARREN_BOOL, .def = "false",
		.brief = "Offer peers a way to all of the internet.",
		.help = "The server has to approve; with `static` there is nobody to ask. Private, "
			"shared and reserved networks are not led to, unless `router.advertise` "
			"has them. Peers are seen with this host's address. Forwarding is switched "
			"on while it is approved, unless `router.firewall` is off.",
	},
};

static const struct warren_port needs[] = {
	{ .name = "router", .major = 0, .minor = 2, .flags = WARREN_ENABLE, .provider = "router",
	  .brief = "Leads there." },
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
};

enum { TABLE_MAIN = 254 };

struct exitnode {
	struct warren_ctx *ctx;
	const struct warren_router_ops *router;
	void *router_self;
	bool advertise;
};

static int offer(struct exitnode *e, struct warren_err *err)
{
	static const struct warren_prefix all[] = { { { .family = 4 }, 0 },
						    { { .family = 6 }, 0 } };
	int result = e->router->offer(e->router_self, e->ctx, all,
				      e->advertise ? ARRAY_SIZE(all) : 0);

	if (result)
		warren_fail(err, NULL, "it cannot be offered: %s", strerror(-result));
	return result;
}

static int exitnode_start(struct warren_ctx *ctx, const struct warren_conf *conf,
			  struct warren_err *err)
{
	struct exitnode *e = warren_zalloc(ctx, sizeof(*e));
	const void *found;
	int result;

	if (!e)
		return warren_fail(err, NULL, "out of memory");
	e->ctx = ctx;
	e->advertise = warren_conf_bool(conf, "advertise");
	warren_self_set(ctx, e);
	result = warren_need(ctx, "router", &found, &e->router_self);
	if (result)
		return result;
	e->router = found;
	return offer(e, err);
}

static int exitnode_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			   const struct warren_conf *now, struct warren_err *err)
{
	struct exitnode *e = warren_self(ctx);
	bool before = e->advertise;
	int result;

	(void)old;
	e->advertise = warren_conf_bool(now, "advertise");
	result = offer(e, err);
	if (result)
		e->advertise = before;
	return result;
}

/*
 * ---- What the operator sees ----
 */

static enum exitnode_state state_of(const struct exitnode *e)
{
	struct warren_router_serving serving = { .size = sizeof(serving) };

	e->router->serving(e->router_self, &serving);
	return exitnode_state(e->advertise, &serving);
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

	if (!e->advertise || warren_net_routes(TABLE_MAIN, look_for_default, &found, NULL) || found)
		return true;
	warren_finding(result, "this host has no default route of IPv4 in its main table");
	return false;
}

static void exitnode_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct exitnode *e = warren_self(ctx);
	struct warren_router_serving serving = { .size = sizeof(serving) };
	enum exitnode_state state = state_of(e);

	e->router->serving(e->router_self, &serving);
	warren_reply_bool(reply, "advertised", e->advertise);
	warren_reply_str(reply, "state", "%s", exitnode_state_name(state));
	warren_reply_bool(reply, "ipv4", serving.ready[0]);
	warren_reply_bool(reply, "ipv6", serving.ready[1]);
	warren_reply_text(reply, "%s", exitnode_state_words(state));
}

WARREN_PLUGIN(exitnode, "exitnode",
	.version = "0.1",
	.license = "ISC",
	.brief = "Leads peers to the internet.",
	.help = "Offers this host as an exit node. Packet filter, masquerading and forwarding are "
		"set and set back by the plugin router.",
	.options = WARREN_TABLE(options),
	.needs = WARREN_TABLE(needs),
	.checks = WARREN_TABLE(checks),
	.start = exitnode_start,
	.reload = exitnode_reload,
	.status = exitnode_status,
);
