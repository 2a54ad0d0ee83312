/*
 * control: the network map from a control server of the ts2021 protocol.
 *
 * This file is the plugin's face: section, needs, service, status, doctor. The work is done by the
 * session (session.c), which logs in, keeps the map stream open and tells the server about this
 * node; bytes become snapshots in map.c.
 */
#include <errno.h>
#include <string.h>

#include <warren/priv.h>
#include <warren/service/netmap.h>

#include "commands.h"
#include "options.h"
#include "session.h"
#include "session_impl.h"

/* Soft: a map without a data plane is still worth having, and says so in `warren status`. */
static const struct warren_port needs[] = {
	{ .name = "identity", .major = 0, .minor = 1, .flags = WARREN_ENABLE,
	  .provider = "identity", .brief = "The keys of this node." },
	{ .name = "dataplane", .major = 0, .minor = 1, .flags = WARREN_SOFT | WARREN_ENABLE,
	  .provider = "wg", .brief = "Packets to and from peers; its UDP port." },
	{ .name = "filter", .major = 0, .minor = 1, .flags = WARREN_SOFT | WARREN_ENABLE,
	  .provider = "filter", .brief = "Enforces the server's policy." },
	{ .name = "router", .major = 0, .minor = 2, .flags = WARREN_SOFT | WARREN_ENABLE,
	  .provider = "router", .brief = "Leads packets into the tunnel." },
	{ .name = "exitnode", .major = 0, .minor = 1, .flags = WARREN_SOFT | WARREN_ENABLE,
	  .provider = "exitnode", .brief = "Leads this host's traffic through a peer." },
	{ .name = "paths", .major = 0, .minor = 1, .flags = WARREN_SOFT | WARREN_ENABLE,
	  .provider = "paths", .brief = "Finds direct ways to peers." },
	{ .name = "relay-client", .major = 0, .minor = 2, .flags = WARREN_SOFT | WARREN_ENABLE,
	  .provider = "derp", .brief = "Packets by relay where there is no direct way." },
	{ .name = "peerapi", .major = 0, .minor = 1, .flags = WARREN_SOFT | WARREN_ENABLE,
	  .provider = "peerapi", .brief = "What nodes serve to each other." },
};

static const struct warren_port offers[] = {
	{ .name = "netmap", .major = 0, .minor = 4, .brief = "The network map." },
};

static const struct warren_topic topics[] = {
	{ .name = "netmap", .flags = WARREN_STICKY, .brief = "The newest network map." },
};

static const struct warren_metric metrics[] = {
	{ .name = "connected", .kind = WARREN_GAUGE, .unit = "1",
	  .brief = "1 while there is a connection to the control server." },
	{ .name = "connections", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Connections made to the control server." },
	{ .name = "logins", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Registrations that the server accepted." },
	{ .name = "polls", .kind = WARREN_COUNTER, .unit = "1", .brief = "Map streams opened." },
	{ .name = "messages", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Messages of map streams, keep-alives included." },
	{ .name = "bad_records", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Records left out of the map because they made no sense." },
	{ .name = "updates", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Times that the server took what this node says of itself." },
};

static bool check_server(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_login(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_clock(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_expiry(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_plugins(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_forwarding(struct warren_ctx *ctx, struct warren_check_result *result);

static const struct warren_check checks[] = {
	{
		.id = "control.server", .severity = WARREN_BAD,
		.brief = "The control server answers.",
		.help = "Peers keep working with the last network map, but nothing new is learnt.",
		.run = check_server,
	},
	{
		.id = "control.login", .severity = WARREN_BAD,
		.brief = "This node is logged in.",
		.help = "Peers and policy come with the login; `warren login` begins one.",
		.run = check_login,
	},
	{
		.id = "control.plugins", .severity = WARREN_BAD,
		.brief = "Data plane, filter and routes are there.",
		.help = "`control:` switches them on with their defaults where they are installed.",
		.run = check_plugins,
	},
	{
		.id = "control.forwarding", .severity = WARREN_WARN,
		.brief = "The kernel forwards to the networks that this node offers.",
		.help = "Without it peers that are led here reach this host and nothing behind it.",
		.run = check_forwarding,
	},
	{
		.id = "control.key-expiry", .severity = WARREN_WARN,
		.brief = "The node key is valid for another week.",
		.help = "When it expires, peers drop this node until somebody logs in again.",
		.run = check_expiry,
	},
	{
		.id = "control.clock", .severity = WARREN_WARN,
		.brief = "The clock agrees with the server's.",
		.help = "A wrong clock makes certificates and keys look expired.",
		.run = check_clock,
	},
};

/*
 * ---- The service ----
 */

static const struct warren_netmap *ops_current(void *self)
{
	return ctl_session_map(self);
}

static int ops_self_set(void *self, struct warren_ctx *ctx, enum warren_facet facet,
			const char *value)
{
	return ctl_session_facet(self, ctx, facet, value);
}

static int ops_accept_set(void *self, struct warren_ctx *ctx, bool accept)
{
	return ctl_session_accept(self, ctx, accept);
}

static int ops_exit_set(void *self, struct warren_ctx *ctx, bool chosen, int64_t id)
{
	return ctl_session_exit(self, ctx, chosen, id);
}

static bool ops_connected(void *self)
{
	struct ctl_session_info info;

	ctl_session_info(self, &info);
	return info.connected;
}

static const struct warren_netmap_ops ops = {
	.size = sizeof(ops),
	.current = ops_current,
	.self_set = ops_self_set,
	.provider = "control",
	.accept_set = ops_accept_set,
	.connected = ops_connected,
	.exit_set = ops_exit_set,
};

/*
 * ---- Life ----
 */

static int control_start(struct warren_ctx *ctx, const struct warren_conf *conf,
			 struct warren_err *err)
{
	struct ctl_session *session;
	int result = warren_dial_remember(ctx, err);

	if (!result)
		result = ctl_session_new(ctx, conf, &session, err);
	if (result)
		return result;
	warren_self_set(ctx, session);
	return warren_offer(ctx, "netmap", &ops, session);
}

static int control_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			  const struct warren_conf *now, struct warren_err *err)
{
	(void)old;
	return ctl_session_reload(warren_self(ctx), now, err);
}

static int control_stop(struct warren_ctx *ctx)
{
	return ctl_session_stop(warren_self(ctx));
}

static void control_found(struct warren_ctx *ctx, const char *service, const void *found,
			  void *self)
{
	ctl_session_found(warren_self(ctx), service, found, self);
}

static void control_lost(struct warren_ctx *ctx, const char *service)
{
	ctl_session_found(warren_self(ctx), service, NULL, NULL);
}

struct ctl_session *ctl_session_of(struct warren_ctx *ctx)
{
	return warren_self(ctx);
}

/*
 * ---- What the operator sees ----
 */

static void control_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct warren_netmap *map;
	struct ctl_session_info info;

	ctl_session_info(warren_self(ctx), &info);
	warren_reply_str(reply, "state", "%s", ctl_state_name(info.state));
	warren_reply_str(reply, "url", "%s", info.url);
	warren_reply_bool(reply, "up", info.up);
	warren_reply_bool(reply, "logged_out", info.logged_out);
	warren_reply_bool(reply, "connected", info.connected);
	if (info.login)
		warren_reply_str(reply, "login", "%s", info.login);
	if (info.auth_url)
		warren_reply_str(reply, "auth_url", "%s", info.auth_url);
	if (info.error)
		warren_reply_str(reply, "error", "%s", info.error);
	if (info.last_contact)
		warren_reply_int(reply, "last_contact", info.last_contact);
	if (info.key_expiry)
		warren_reply_int(reply, "key_expiry", info.key_expiry);
	warren_reply_text(reply, "%s at %s%s%s", ctl_state_name(info.state), info.url,
			  info.login ? " as " : "", info.login ? info.login : "");
	if (info.auth_url)
		warren_reply_text(reply, "to log in, open %s", info.auth_url);
	if (info.error)
		warren_reply_text(reply, "%s", info.error);
	map = ctl_session_map(warren_self(ctx));
	warren_reply_int(reply, "peers", map ? map->n_peers : 0);
	warren_reply_open(reply, "health", '[');
	for (uint32_t i = 0; map && i < map->n_health; i++) {
		warren_reply_str(reply, NULL, "%s", map->health[i]);
		warren_reply_text(reply, "the server says: %s", map->health[i]);
	}
	warren_reply_close(reply);
	warren_obj_unref(map);
}

/*
 * ---- Doctor ----
 */

static bool check_server(struct warren_ctx *ctx, struct warren_check_result *result)
{
	struct ctl_session_info info;

	ctl_session_info(warren_self(ctx), &info);
	if (!info.up || info.logged_out || info.connected || info.auth_url)
		return true;
	if (info.error)
		warren_finding(result, "%s", info.error);
	else
		warren_finding(result, "no answer of %s yet", info.url);
	return false;
}

static bool check_login(struct warren_ctx *ctx, struct warren_check_result *result)
{
	struct ctl_session_info info;

	ctl_session_info(warren_self(ctx), &info);
	if (info.state == CTL_NEEDS_MACHINE_AUTH)
		warren_finding(result, "an administrator of %s must approve this node", info.url);
	else if (info.auth_url)
		warren_finding(result, "somebody must log in: open %s", info.auth_url);
	else if (info.up && info.logged_out)
		warren_finding(result, "this node was logged out: `warren login`");
	else if (info.state == CTL_NEEDS_LOGIN)
		warren_finding(result, "this node is not logged in at %s%s%s", info.url,
			       info.error ? ": " : "", info.error ? info.error : "");
	else
		return true;
	return false;
}

static bool check_plugins(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct ctl_session *session = warren_self(ctx);
	bool good = true;

	if (!session->dataplane) {
		warren_finding(result, "the plugin wg does not run: no packet reaches a peer");
		good = false;
	}
	if (!session->filter) {
		warren_finding(result, "the plugin filter does not run: everything from peers is "
			       "dropped");
		good = false;
	}
	if (!session->router) {
		warren_finding(result, "the plugin router does not run: no packet of this host "
			       "finds the tunnel");
		good = false;
	}
	return good;
}

static bool check_forwarding(struct warren_ctx *ctx, struct warren_check_result *result)
{
	char why[CTL_FORWARDING_TEXT];

	if (!ctl_forwarding_problem(warren_self(ctx), why))
		return true;
	warren_finding(result, "%s", why);
	return false;
}

static bool check_expiry(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const int64_t week = 7 * 86400;
	struct ctl_session_info info;
	int64_t left;

	ctl_session_info(warren_self(ctx), &info);
	left = info.key_expiry - warren_realtime() / 1000000;
	if (!info.key_expiry || left > week)
		return true;
	if (left <= 0)
		warren_finding(result, "the node key has expired: `warren login`");
	else
		warren_finding(result, "the node key expires in %lld hours: `warren login "
			       "--force-reauth`", (long long)(left / 3600));
	return false;
}

static bool check_clock(struct warren_ctx *ctx, struct warren_check_result *result)
{
	int64_t delta = ctl_session_delta(warren_self(ctx));

	if (!delta)
		return true;
	warren_finding(result, "this host's clock is %lld s %s the server's: set it",
		       (long long)(delta > 0 ? delta : -delta), delta > 0 ? "behind" :
		       "ahead of");
	return false;
}

WARREN_PLUGIN(control, "control",
	.version = "0.1",
	.license = "ISC",
	.brief = "Network map from a control server.",
	.help = "Joins a network run by a server of the ts2021 protocol: logs in, receives peers "
		"and policy, and tells the server about this node.",
	.options = { sizeof(struct warren_option), CTL_OPTIONS, ctl_options },
	.commands = { sizeof(struct warren_command), CTL_COMMANDS, ctl_commands },
	.needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers),
	.topics = WARREN_TABLE(topics),
	.metrics = WARREN_TABLE(metrics),
	.checks = WARREN_TABLE(checks),
	.privops = WARREN_PRIVOP(SOCKET),
	.start = control_start,
	.reload = control_reload,
	.stop = control_stop,
	.found = control_found,
	.lost = control_lost,
	.status = control_status,
	.overview = ctl_overview,
	.overview_write = ctl_overview_write,
	.overview_free = ctl_overview_free,
);
