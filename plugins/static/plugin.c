/*
 * static: a network map from the YAML file, for peers by hand without a coordinator.
 *
 * The section is read into a plan (plan.c, accept.c), the plan becomes records (set.c), and each
 * change of the records is published as a new snapshot (map.c). Start, reload, a host name that was
 * looked up and a new key of our own all go that one way, and only differences come out of it.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <syslog.h>

#include <warren/plugin.h>
#include <warren/service/dataplane.h>
#include <warren/service/identity.h>
#include <warren/service/netmap.h>

#include "base/addr.h"
#include "resolve.h"
#include "static.h"

static const struct warren_option peer_options[] = {
	{
		.key = "public-key",
		.type = WARREN_STRING,
		.flags = WARREN_REQUIRED,
		.max = 128,
		.brief = "Public key of the peer.",
		.help = "44 characters of base64 as `wg pubkey` prints them, or \"nodekey:\" and "
			"64 hex digits.",
		.check = static_check_key,
		.example = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
	},
	{
		.key = "endpoint",
		.type = WARREN_STRING,
		.max = STATIC_HOST_MAX + 16,
		.brief = "HOST:PORT where the peer is reached; absent: it calls us.",
		.help = "A name, an IPv4 address, or an IPv6 address in brackets. A name is looked "
			"up again every five minutes while the peer does not answer.",
		.check = static_check_endpoint,
		.example = "gw-b.example.com:41641",
	},
	{
		.key = "allowed-ips",
		.type = WARREN_PREFIX,
		.flags = WARREN_MANY,
		.brief = "Inner addresses and networks that belong to the peer.",
		.example = "[10.90.0.2, 192.168.7.0/24]",
		.help = "Packets to them go to the peer, and it may send from them only. A prefix "
			"has one owner.",
	},
	{
		.key = "psk",
		.type = WARREN_SECRET_REF,
		.brief = "Pre-shared key, as `wg genpsk` prints it.",
	},
	{
		.key = "keepalive",
		.type = WARREN_DURATION,
		.def = "off",
		.max = INT64_C(65535) * 1000000,
		.brief = "Pause between empty packets that keep a NAT open.",
	},
	{
		.key = "exit-node",
		.type = WARREN_BOOL,
		.def = "false",
		.brief = "The peer leads to all of the internet, if `exitnode.use` wants it.",
		.help = "Several may. 0.0.0.0/0 in `allowed-ips` leads there always, and to one "
			"peer alone.",
	},
};

static const struct warren_option accept_options[] = {
	{
		.key = "from",
		.type = WARREN_STRING,
		.flags = WARREN_MANY | WARREN_REQUIRED,
		.brief = "Peers by name, addresses, prefixes, or \"*\".",
		.example = "[\"*\"]",
		.help = "The name of a peer stands for all its allowed IPs.",
	},
	{
		.key = "to",
		.type = WARREN_STRING,
		.flags = WARREN_MANY,
		.brief = "Addresses, prefixes, peers, \"self\" or \"*\"; absent: self.",
		.example = "[self]",
	},
	{
		.key = "ports",
		.type = WARREN_STRING,
		.flags = WARREN_MANY,
		.brief = "Ports and protocols; absent: all of them.",
		.help = "22 and 8000-8100 mean TCP and UDP; tcp/80, udp/53, tcp/*, icmp, proto/47. "
			"\"*\" is all of TCP, UDP and ICMP; other protocols must be named.",
		.check = static_check_ports,
		.example = "[tcp/443, 22, icmp]",
	},
};

static const struct warren_option options[] = {
	{
		.key = "addresses",
		.type = WARREN_PREFIX,
		.flags = WARREN_MANY | WARREN_REQUIRED | WARREN_HOST_BITS,
		.example = "[10.90.0.1/24]",
		.brief = "Inner addresses of this node.",
		.help = "With the length of the inner network: 10.90.0.1/24 leads all of "
			"10.90.0.0/24 into the tunnel, whether or not a peer has the address.",
	},
	{
		.key = "peers",
		.type = WARREN_MAP,
		.flags = WARREN_KEYED,
		.sub = WARREN_TABLE(peer_options),
		.brief = "The other nodes, by name.",
	},
	{
		.key = "accept",
		.type = WARREN_MAP,
		.flags = WARREN_MANY,
		.sub = WARREN_TABLE(accept_options),
		.brief = "What peers may reach; absent: everything on this host.",
		.help = "Each entry allows, what none allows is dropped; an empty list drops all. "
			"Answers to what this node asked always pass. The plugin `filter` enforces "
			"it.",
	},
};

static const struct warren_port needs[] = {
	{ .name = "identity", .major = 0, .minor = 1, .flags = WARREN_ENABLE,
	  .provider = "identity", .brief = "The key of this node." },
	{ .name = "filter", .major = 0, .minor = 1, .flags = WARREN_SOFT | WARREN_ENABLE,
	  .provider = "filter", .brief = "Enforces `accept`." },
	{ .name = "dataplane", .major = 0, .minor = 1, .flags = WARREN_SOFT,
	  .brief = "Tells which peers answer." },
};

static const struct warren_port offers[] = {
	{ .name = "netmap", .major = 0, .minor = 4, .brief = "The network map." },
};

static const struct warren_topic topics[] = {
	{ .name = "netmap", .flags = WARREN_STICKY, .brief = "The newest network map." },
};

static bool check_policy(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_names(struct warren_ctx *ctx, struct warren_check_result *result);

static const struct warren_check checks[] = {
	{
		.id = "static.policy",
		.severity = WARREN_BAD,
		.brief = "Somebody enforces `accept`.",
		.help = "Without the plugin `filter` nothing from peers is let in.",
		.run = check_policy,
	},
	{
		.id = "static.names",
		.severity = WARREN_WARN,
		.brief = "All host names of endpoints were found.",
		.help = "A peer without an address can call us, but we cannot call it.",
		.run = check_names,
	},
};

static const uint64_t publish_pause = 50000;	/* merges look-ups that end together */
static const uint64_t answer_age = 180000000;	/* REJECT_AFTER_TIME, dataplane.md 1.9 */

struct state {
	struct warren_ctx *ctx;
	const struct warren_identity_ops *identity;
	void *identity_self;
	const struct warren_dataplane_ops *dataplane;	/* NULL: not there */
	void *dataplane_self;
	bool filter;					/* there */
	struct static_set *set;
	struct static_resolver resolver;
	struct warren_timer *publish;
	bool publish_due;
	struct static_exit exit;
	struct warren_ctx *exit_owner;			/* netmap->exit_set(); NULL: nobody */
	void *exit_end;
	pthread_mutex_t lock;
	const struct warren_netmap *map;		/* under lock */
};

/*
 * ---- Publishing ----
 */

static int state_publish(struct state *s)
{
	const struct warren_netmap *old = s->map;	/* written on this lane only */
	struct warren_netmap *map = static_map_new(s->set, &s->exit, old);

	if (!map)
		return -ENOMEM;
	if (old && !map->changed) {
		warren_obj_unref(map);
		return 0;
	}
	pthread_mutex_lock(&s->lock);
	s->map = warren_obj_ref(map);
	pthread_mutex_unlock(&s->lock);
	warren_obj_unref(old);
	return warren_publish_take(s->ctx, "netmap", map);
}

static void state_publish_now(struct warren_ctx *ctx, void *arg)
{
	struct state *s = arg;

	s->publish_due = false;
	if (state_publish(s))
		warren_fatal(ctx, "out of memory: cannot publish the network map");
}

static void state_publish_soon(void *arg)
{
	struct state *s = arg;

	if (s->publish_due)
		return;
	s->publish_due = true;
	warren_timer_set(s->publish, publish_pause);
}

static bool state_answers(void *arg, const uint8_t key[32])
{
	struct state *s = arg;
	struct warren_peer_status status = { .size = sizeof(status) };

	if (!s->dataplane || s->dataplane->peer(s->dataplane_self, key, &status))
		return false;
	return status.last_rx && warren_now() - status.last_rx < answer_age;
}

static void own_key_changed(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	const struct warren_identity_event *event = obj;
	struct state *s = arg;

	(void)topic;
	if (static_set_rekey(s->set, event->public_key[WARREN_KEY_NODE])) {
		warren_fatal(ctx, "out of memory: cannot publish the new node key");
		return;
	}
	for (uint32_t i = 0; i < s->set->n_peers; i++) {
		if (!memcmp(&s->set->peers[i]->record->node.key, &s->set->self->node.key,
			    sizeof(struct warren_key32)))
			warren_log(ctx, LOG_ERR, "peer %s has the public key of this node itself: "
				   "correct its public-key", s->set->peers[i]->record->node.name);
	}
	state_publish_soon(s);
}

/*
 * ---- The service ----
 */

static const struct warren_netmap *ops_current(void *self)
{
	struct state *s = self;
	const struct warren_netmap *map;

	pthread_mutex_lock(&s->lock);
	map = s->map ? warren_obj_ref(s->map) : NULL;
	pthread_mutex_unlock(&s->lock);
	return map;
}

/* There is no server to tell. */
static int ops_self_set(void *self, struct warren_ctx *ctx, enum warren_facet facet,
			const char *value)
{
	(void)self;
	(void)ctx;
	(void)facet;
	(void)value;
	return 0;
}

static int ops_accept_set(void *self, struct warren_ctx *ctx, bool accept)
{
	(void)self;
	(void)ctx;
	(void)accept;
	return 0;
}

static int exit_change(struct state *s, bool chosen, int64_t id)
{
	struct static_exit before = s->exit;
	int result;

	if (before.chosen == chosen && before.node == id)
		return 0;
	s->exit = (struct static_exit){ chosen, id };
	result = s->map ? state_publish(s) : 0;
	if (result)
		s->exit = before;
	return result;
}

static void exit_ended(void *arg)
{
	struct state *s = arg;

	s->exit_owner = NULL;
	s->exit_end = NULL;
	if (exit_change(s, false, 0))
		warren_log(s->ctx, LOG_ERR, "out of memory: the way to the internet stays as it "
			   "was until the next network map");
}

static int ops_exit_set(void *self, struct warren_ctx *ctx, bool chosen, int64_t id)
{
	struct state *s = self;

	if (s->exit_owner && s->exit_owner != ctx)
		return -EBUSY;
	if (!s->exit_owner) {
		s->exit_end = warren_on_end(ctx, exit_ended, s);
		if (!s->exit_end)
			return -ENOMEM;
		s->exit_owner = ctx;
	}
	return exit_change(s, chosen, chosen ? id : 0);
}

static bool ops_connected(void *self)
{
	(void)self;
	return true;
}

static const struct warren_netmap_ops ops = {
	.size = sizeof(ops),
	.current = ops_current,
	.self_set = ops_self_set,
	.provider = "static",
	.accept_set = ops_accept_set,
	.connected = ops_connected,
	.exit_set = ops_exit_set,
};

/*
 * ---- Life ----
 */

static int static_check(const struct warren_conf *conf, struct warren_err *err)
{
	struct static_plan *plan = static_plan_new(conf, NULL, err);

	if (!plan)
		return -EINVAL;
	static_plan_free(plan);
	return 0;
}

/* Puts what @conf says into force, or leaves all as it was. */
static int state_apply(struct state *s, const struct warren_conf *conf, struct warren_err *err)
{
	struct static_set *old = s->set, *set;
	struct static_plan *plan;
	uint8_t own_key[32];

	s->identity->public_key(s->identity_self, WARREN_KEY_NODE, own_key);
	plan = static_plan_new(conf, own_key, err);
	if (!plan)
		return -EINVAL;
	set = static_set_new(plan, own_key, old);
	static_plan_free(plan);
	if (!set)
		return warren_fail(err, NULL, "out of memory");
	s->set = set;
	if (state_publish(s)) {
		s->set = old;
		static_set_free(set);
		return warren_fail(err, NULL, "out of memory");
	}
	static_resolver_use(&s->resolver, set);
	static_set_free(old);
	return 0;
}

static void state_end(void *arg)
{
	struct state *s = arg;

	static_resolver_use(&s->resolver, NULL);
	warren_release(s->exit_end);
	static_set_free(s->set);
	warren_obj_unref(s->map);
	pthread_mutex_destroy(&s->lock);
}

static int state_init(struct state *s, struct warren_ctx *ctx)
{
	s->ctx = ctx;
	s->resolver.ctx = ctx;
	s->resolver.answers = state_answers;
	s->resolver.changed = state_publish_soon;
	s->resolver.arg = s;
	if (pthread_mutex_init(&s->lock, NULL))
		return -ENOMEM;
	if (!warren_on_end(ctx, state_end, s)) {
		pthread_mutex_destroy(&s->lock);
		return -ENOMEM;
	}
	s->publish = warren_timer_new(ctx, state_publish_now, s);
	return s->publish ? static_resolver_init(&s->resolver) : -ENOMEM;
}

static int static_start(struct warren_ctx *ctx, const struct warren_conf *conf,
			struct warren_err *err)
{
	struct state *s = warren_zalloc(ctx, sizeof(*s));
	const void *identity;
	int result;

	if (!s || state_init(s, ctx))
		return warren_fail(err, NULL, "out of memory");
	warren_self_set(ctx, s);
	result = warren_need(ctx, "identity", &identity, &s->identity_self);
	if (result)
		return result;
	s->identity = identity;
	result = warren_offer(ctx, "netmap", &ops, s);
	if (result)
		return result;
	result = state_apply(s, conf, err);
	if (result)
		return result;
	return warren_subscribe(ctx, "identity", own_key_changed, s);
}

static int static_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			 const struct warren_conf *now, struct warren_err *err)
{
	(void)old;
	return state_apply(warren_self(ctx), now, err);
}

static void static_found(struct warren_ctx *ctx, const char *service, const void *found, void *self)
{
	struct state *s = warren_self(ctx);

	if (!strcmp(service, "filter")) {
		s->filter = true;
	} else if (!strcmp(service, "dataplane")) {
		s->dataplane = found;
		s->dataplane_self = self;
	}
}

static void static_lost(struct warren_ctx *ctx, const char *service)
{
	struct state *s = warren_self(ctx);

	if (!strcmp(service, "filter"))
		s->filter = false;
	else if (!strcmp(service, "dataplane"))
		s->dataplane = NULL;
}

/*
 * ---- What the operator sees ----
 */

static bool check_policy(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct state *s = warren_self(ctx);

	if (!s->set->policy || s->filter)
		return true;
	warren_finding(result, "`accept` is set, but the plugin filter does not run: everything "
		       "from peers is dropped; install the plugin and see its state in `warren "
		       "plugins`");
	return false;
}

static bool check_names(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct state *s = warren_self(ctx);
	bool good = true;

	for (uint32_t i = 0; i < s->set->n_peers; i++) {
		const struct static_peer *peer = s->set->peers[i];

		if (!peer->host.name[0] || peer->host.n_addrs > 0)
			continue;
		warren_finding(result, "peer %s: %s has no address: correct its endpoint or the "
			       "resolver of this host", peer->record->node.name, peer->host.name);
		good = false;
	}
	return good;
}

static void static_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct state *s = warren_self(ctx);
	uint32_t missing = static_resolver_missing(&s->resolver);
	char text[PREFIX_TEXT];

	warren_reply_open(reply, "addresses", '[');
	for (uint32_t i = 0; i < s->set->self->node.n_addresses; i++)
		warren_reply_str(reply, NULL, "%s",
				 addr_format(&s->set->self->node.addresses[i].addr, text));
	warren_reply_close(reply);
	warren_reply_int(reply, "peers", s->set->n_peers);
	warren_reply_int(reply, "rules", s->set->policy ? s->set->policy->n_rules : 0);
	warren_reply_bool(reply, "accept_all", !s->set->policy);
	warren_reply_int(reply, "names_missing", missing);
	warren_reply_int(reply, "serial", (int64_t)s->map->serial);
	warren_reply_text(reply, "network map from the YAML file: %u peer%s", s->set->n_peers,
			  s->set->n_peers == 1 ? "" : "s");
	if (missing > 0)
		warren_reply_text(reply, "host names without an address: %u", missing);
}

WARREN_PLUGIN(static, "static",
	.version = "0.1",
	.license = "ISC",
	.brief = "Network map from the YAML file.",
	.help = "Peers by hand, without a coordinator: their keys, endpoints and inner addresses.",
	.options = WARREN_TABLE(options),
	.needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers),
	.topics = WARREN_TABLE(topics),
	.checks = WARREN_TABLE(checks),
	.check = static_check,
	.start = static_start,
	.reload = static_reload,
	.found = static_found,
	.lost = static_lost,
	.status = static_status,
);
