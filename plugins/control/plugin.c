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
	{ .name = "router", .major = 0, .minor = 1, .flags = WARREN_SOFT | WARREN_ENABLE,
	  .provider = "router", .brief = "Leads packets into the tunnel." },
};

static const struct warren_port offers[] = {
	{ .name = "netmap", .major = 0, .minor = 1, .brief = "The network map." },
};

static const struct warren_topic topics[] = {
	{ .name = "netmap", .flags = WARREN_STICKY, .brief = "The newest network map." },
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

static const struct warren_netmap_ops ops = {
	.size = sizeof(ops),
	.current = ops_current,
	.self_set = ops_self_set,
	.provider = "control",
};

/*
 * ---- Life ----
 */

static int control_start(struct warren_ctx *ctx, const struct warren_conf *conf,
			 struct warren_err *err)
{
	struct ctl_session *session;
	int result = ctl_session_new(ctx, conf, &session, err);

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
}

WARREN_PLUGIN(control, "control",
	.version = "0.1",
	.license = "ISC",
	.brief = "Network map from a control server.",
	.help = "Joins a network run by a server of the ts2021 protocol: logs in, receives peers "
		"and policy, and tells the server about this node.",
	.options = { sizeof(struct warren_option), CTL_OPTIONS, ctl_options },
	.needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers),
	.topics = WARREN_TABLE(topics),
	.privops = WARREN_PRIVOP(SOCKET),
	.start = control_start,
	.reload = control_reload,
	.found = control_found,
	.lost = control_lost,
	.status = control_status,
);
