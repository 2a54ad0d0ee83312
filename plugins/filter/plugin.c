/*
 * filter: the policy, enforced where packets are decrypted.
 *
 * Each new network map whose rules or own addresses changed is compiled on the job pool into a
 * table (compile.c) that replaces the one in the data plane's verdict slot by pointer: no packet
 * meets an empty slot, and none waits. Workers read the table without locks (table.c). What this
 * node began is remembered in a flow table that outlives them (flow.c).
 *
 * A map that selects the data plane's built-in policy leaves the slot alone. When a table cannot be
 * made, everything from peers is dropped: an old policy may allow what the new one forbids.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <warren/netstate.h>
#include <warren/packet.h>
#include <warren/plugin.h>
#include <warren/service/dataplane.h>
#include <warren/service/filter.h>
#include <warren/service/netmap.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/units.h"
#include "base/util.h"
#include "flow.h"
#include "host.h"
#include "relevant.h"
#include "table.h"
#include "talk.h"

static int filter_test(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err);
static int check_what(const struct warren_conf *at, struct warren_err *err);
static bool check_policy(struct warren_ctx *ctx, struct warren_check_result *result);

static const struct warren_option test_args[] = {
	{
		.key = "source",
		.type = WARREN_ADDR,
		.flags = WARREN_POSITIONAL | WARREN_REQUIRED,
		.brief = "Address of the peer.",
	},
	{
		.key = "destination",
		.type = WARREN_ADDR,
		.flags = WARREN_POSITIONAL | WARREN_REQUIRED,
		.brief = "Address that it wants to reach here.",
	},
	{
		.key = "what",
		.type = WARREN_STRING,
		.flags = WARREN_POSITIONAL | WARREN_REQUIRED,
		.brief = "tcp/PORT, udp/PORT, sctp/PORT, icmp or proto/NUMBER.",
		.check = check_what,
	},
};

static const struct warren_command commands[] = {
	{
		.path = "filter test",
		.flags = WARREN_CMD_ANY,
		.args = WARREN_TABLE(test_args),
		.brief = "Says whether the policy lets a packet in.",
		.help = "Exit status 0: a first packet like this is let in; 1: it is dropped.",
		.example = "warren filter test 10.90.0.2 10.90.0.1 tcp/22",
		.run = filter_test,
	},
};

static const struct warren_check checks[] = {
	{
		.id = "filter.policy",
		.severity = WARREN_BAD,
		.brief = "The policy of the network map can be enforced.",
		.help = "A policy that is too large, or that lets in a peer whose key nobody "
			"signed, is not used; then nothing that a peer begins is let in.",
		.run = check_policy,
	},
};

static const struct warren_metric metrics[] = {
	{ .name = "inbound_dropped_packets", .kind = WARREN_COUNTER, .unit = "packets",
	  .label = "reason", .brief = "Packets from peers that the policy dropped." },
	{ .name = "outbound_dropped_packets", .kind = WARREN_COUNTER, .unit = "packets",
	  .label = "reason", .brief = "Packets to peers that the policy dropped." },
	{ .name = "answers_sent", .kind = WARREN_COUNTER, .unit = "packets", .label = "kind",
	  .brief = "What peers were told: refusals of their connections, and pongs." },
	{ .name = "refused_by_peers", .kind = WARREN_COUNTER, .unit = "packets", .label = "reason",
	  .brief = "Refusals of connections that this node began." },
	{ .name = "rules", .kind = WARREN_GAUGE, .unit = "1", .brief = "Rules in force." },
	{ .name = "table_bytes", .kind = WARREN_GAUGE, .unit = "bytes",
	  .brief = "Memory of the compiled policy." },
};

static const struct warren_port needs[] = {
	{ .name = "dataplane", .major = 0, .minor = 3, .brief = "The verdict slot." },
	{ .name = "netmap", .major = 0, .minor = 1, .brief = "The rules." },
};

static const struct warren_port offers[] = {
	{ .name = "filter", .major = 0, .minor = 2, .brief = "What the policy says." },
};

struct filter;

struct gate {				/* what workers get: a table and where to count */
	struct filter_table *table;	/* NULL: drop everything from peers */
	struct filter *filter;
};

struct filter {
	struct warren_ctx *ctx;
	const struct warren_dataplane_ops *dataplane;
	void *dataplane_self;
	struct filter_flows *flows;	/* FILTER_FLOW_TABLES */
	struct warren_stat *drops[2][FILTER_REASONS];	/* by direction */
	struct warren_stat *rules, *bytes;
	struct filter_talk talk;
	struct gate shut;		/* without a table */
	const struct gate *gate;	/* in the slot; NULL: none yet */
	const struct warren_netmap *wanted;	/* to be compiled, with a reference */
	const struct warren_netmap *map;	/* the newest, with a reference */
	uint64_t serial;		/* of the newest map that was looked at */
	bool by_peer;			/* what it means to the filter depends on its peers */
	bool compiling;
};

struct compile {			/* one job */
	const struct warren_netmap *map;
	struct filter_host host;
	struct filter_flows *flows;
	struct filter_table *table;
	int result;
};

/*
 * ---- The hot path ----
 */

static void filter_packets(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n,
			   uint64_t now)
{
	const struct gate *gate = self;
	uint32_t drops[FILTER_REASONS] = { 0 };

	for (uint32_t i = 0; i < n; i++) {
		enum filter_reason reason = direction == WARREN_PKT_IN ? FILTER_ERROR
								       : FILTER_ACCEPTED;

		if (pkt[i].verdict != WARREN_PKT_ACCEPT)
			continue;
		if (gate->table)
			reason = filter_table_decide(gate->table, direction, pkt[i].data,
						     pkt[i].len, now);
		if (reason == FILTER_ACCEPTED) {
			if (direction == WARREN_PKT_IN && gate->table &&
			    filter_talk_takes(&gate->filter->talk, gate->table, pkt[i].data,
					      pkt[i].len, now))
				pkt[i].verdict = WARREN_PKT_TAKEN;
			continue;
		}
		pkt[i].verdict = WARREN_PKT_DROP;
		pkt[i].reason = (uint8_t)reason;
		drops[reason]++;
		if (direction == WARREN_PKT_IN && gate->table)
			filter_talk_refuse(&gate->filter->talk, gate->table, pkt[i].data,
					   pkt[i].len, reason, now);
	}
	for (int reason = 1; reason < FILTER_REASONS; reason++) {
		if (drops[reason])
			warren_stat_add(gate->filter->drops[direction][reason], drops[reason]);
	}
}

/*
 * ---- From map to slot ----
 */

static void gate_free(void *gate)
{
	filter_table_free(((struct gate *)gate)->table);
	free(gate);
}

/* Puts @gate into the slot; the data plane frees the one before after the workers' grace. */
static void gate_set(struct filter *f, struct gate *gate, void (*free_fn)(void *))
{
	struct warren_verdict verdict = {
		.size = sizeof(verdict),
		.fn = filter_packets,
		.table = gate,
		.free = free_fn,
		.name = "filter",
	};
	int result = f->dataplane->verdict_set(f->dataplane_self, f->ctx, &verdict);

	if (result) {
		if (free_fn)
			free_fn(gate);
		warren_fatal(f->ctx, "cannot set the policy: %s: somebody else decides about "
			     "packets",
			     strerror(-result));
		return;
	}
	f->gate = gate;
	warren_stat_set(f->rules, gate->table ? filter_table_rules(gate->table) : 0);
	warren_stat_set(f->bytes, gate->table ? (int64_t)filter_table_bytes(gate->table) : 0);
}

static const char discarded[] =
	"the policy is ignored: it lets in a peer whose key nobody signed; nothing that a peer "
	"begins is let in until the server sends another";

/* The networks of the host count for an exit node alone. */
static bool leads_out(const struct warren_netmap *map)
{
	return map->self && (map->self->exit_v4 || map->self->exit_v6);
}

static void compile_job(void *arg)
{
	struct compile *c = arg;

	if (leads_out(c->map))
		filter_host_read(&c->host);
	c->table = filter_table_new_on(c->map, &c->host, c->flows, &c->result);
}

static void compile_next(struct filter *f);

static void compile_done(struct warren_ctx *ctx, void *arg)
{
	struct compile *c = arg;
	struct filter *f = warren_self(ctx);
	struct gate *gate = c->table ? calloc(1, sizeof(*gate)) : NULL;

	f->compiling = false;
	if (gate) {
		if (filter_table_state(c->table) == FILTER_DISCARDED)
			warren_log(ctx, LOG_ERR, "%s", discarded);
		gate->table = c->table;
		gate->filter = f;
		gate_set(f, gate, gate_free);
		warren_log(ctx, LOG_DEBUG, "%u rules are in force", filter_table_rules(c->table));
	} else {
		filter_table_free(c->table);
		warren_log(ctx, LOG_ERR, "cannot compile the policy (%s): everything from peers is "
			   "dropped; %s", strerror(c->result ? -c->result : ENOMEM),
			   c->result == -E2BIG ? "use fewer or wider rules" : "free memory");
		gate_set(f, &f->shut, NULL);
	}
	if (c->host.unknown)
		warren_log(ctx, LOG_ERR, "cannot read the networks of this host: nobody is led to "
			   "the internet until they change");
	warren_obj_unref(c->map);
	free(c->host.networks);
	free(c);
	compile_next(f);
}

/* Compiles the map that is wanted, unless a job is at work: then when that is done. */
static void compile_next(struct filter *f)
{
	struct compile *c;

	if (f->compiling || !f->wanted)
		return;
	c = calloc(1, sizeof(*c));
	if (c) {
		c->map = f->wanted;
		c->flows = f->flows;
	}
	if (!c || warren_work(f->ctx, compile_job, compile_done, c)) {
		free(c);
		warren_log(f->ctx, LOG_ERR, "cannot start compiling the policy: everything from "
			   "peers is dropped until the next network map");
		warren_obj_unref(f->wanted);
		gate_set(f, &f->shut, NULL);
	} else {
		f->compiling = true;
	}
	f->wanted = NULL;
}

static void filter_netmap(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	const struct warren_netmap *map = obj;
	struct filter *f = arg;
	bool matters = filter_map_matters(map, f->serial, f->by_peer);

	(void)ctx;
	(void)topic;
	f->serial = map->serial;
	warren_obj_unref(f->map);
	f->map = warren_obj_ref(map);
	if (!matters)
		return;
	f->by_peer = filter_map_depends_on_peers(map);
	if (map->builtin_policy == WARREN_POLICY_ALLOWED_IPS && !f->gate && !f->compiling &&
	    !f->wanted)
		return;
	warren_obj_unref(f->wanted);
	f->wanted = warren_obj_ref(map);
	compile_next(f);
}

static void host_changed(struct warren_ctx *ctx, uint32_t what, void *arg)
{
	struct filter *f = arg;

	(void)ctx;
	(void)what;
	if (!f->map || !leads_out(f->map))
		return;
	warren_obj_unref(f->wanted);
	f->wanted = warren_obj_ref(f->map);
	compile_next(f);
}

/*
 * ---- The service and its command ----
 */

static struct filter_addr number_of(const struct warren_addr *addr)
{
	struct filter_addr out = { 0, 0 };

	for (int i = 0; i < (addr->family == 6 ? 8 : 4); i++) {
		if (addr->family == 6)
			out.high = out.high << 8 | addr->bytes[i];
		out.low = out.low << 8 | addr->bytes[addr->family == 6 ? i + 8 : i];
	}
	return out;
}

static int ops_test(void *self, const struct warren_filter_query *query)
{
	const struct filter *f = self;
	const struct filter_packet packet = {
		.version = query->source.family,
		.protocol = query->protocol,
		.port = query->port,
		.source = number_of(&query->source),
		.destination = number_of(&query->destination),
	};

	if (!f->gate)
		return -EAGAIN;
	if (!f->gate->table)
		return -EACCES;
	switch (filter_table_allows(f->gate->table, &packet)) {
	case FILTER_ACCEPTED:
		return 0;
	case FILTER_NOT_LOCAL:
		return -EADDRNOTAVAIL;
	default:
		return -EACCES;
	}
}

static void ops_peerapi_ports(void *self, uint16_t port4, uint16_t port6)
{
	struct filter *f = self;

	f->talk.peerapi[0] = port4;
	f->talk.peerapi[1] = port6;
}

static const struct warren_filter_ops ops = {
	.size = sizeof(ops), .test = ops_test, .peerapi_ports = ops_peerapi_ports,
};

static bool what_parse(const char *text, uint8_t family, struct warren_filter_query *query)
{
	static const struct { const char *prefix; uint8_t protocol; } names[] = {
		{ "tcp/", FILTER_TCP }, { "udp/", FILTER_UDP }, { "sctp/", FILTER_SCTP },
	};
	int64_t number;

	if (!strcmp(text, "icmp")) {
		query->protocol = family == 4 ? FILTER_ICMP : FILTER_ICMP6;
		return true;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strlen(names[i].prefix);

		if (strncmp(text, names[i].prefix, len))
			continue;
		query->protocol = names[i].protocol;
		return port_parse(text + len, &query->port) == 0;
	}
	if (strncmp(text, "proto/", 6) || units_parse_int(text + 6, &number) || number < 1 ||
	    number > 254)
		return false;
	query->protocol = (uint8_t)number;
	return true;
}

static int check_what(const struct warren_conf *at, struct warren_err *err)
{
	struct warren_filter_query query = { 0 };
	const char *text = warren_conf_str(at, NULL);

	if (what_parse(text, 4, &query))
		return 0;
	return warren_fail(err, at, "\"%s\": expected tcp/PORT, udp/PORT, sctp/PORT, icmp or "
			   "proto/NUMBER", text);
}

static int filter_test(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err)
{
	struct warren_filter_query query = {
		.size = sizeof(query),
		.source = warren_conf_addr(args, "source"),
		.destination = warren_conf_addr(args, "destination"),
	};
	const char *why;
	int result;

	if (query.source.family != query.destination.family)
		return warren_fail_key(err, -EINVAL, args, "destination",
				       "one address is IPv4, the other IPv6");
	what_parse(warren_conf_str(args, "what"), query.source.family, &query);
	result = ops_test(warren_self(ctx), &query);
	why = result == 0 ? "let in" :
	      result == -EADDRNOTAVAIL ? "dropped: this node does not serve the destination" :
	      result == -EAGAIN ? "no policy of this plugin is in force" :
				  "dropped: no rule allows it";
	warren_reply_bool(reply, "accepted", result == 0);
	warren_reply_str(reply, "why", "%s", why);
	warren_reply_text(reply, "%s", why);
	warren_reply_end(reply, result ? 1 : 0, NULL);
	return 0;
}

/*
 * ---- Life ----
 */

static void filter_end(void *arg)
{
	struct filter *f = arg;

	warren_obj_unref(f->wanted);
	warren_obj_unref(f->map);
	f->wanted = f->map = NULL;
}

static int open_stats(struct filter *f)
{
	static const char *const names[2] = {
		[WARREN_PKT_OUT] = "outbound_dropped_packets",
		[WARREN_PKT_IN] = "inbound_dropped_packets",
	};

	f->rules = warren_stat_open(f->ctx, "rules", NULL);
	f->bytes = warren_stat_open(f->ctx, "table_bytes", NULL);
	if (!f->rules || !f->bytes)
		return -ENOMEM;
	for (int direction = 0; direction < 2; direction++) {
		for (int reason = 1; reason < FILTER_REASONS; reason++) {
			f->drops[direction][reason] = warren_stat_open(
				f->ctx, names[direction],
				filter_reason_name((enum filter_reason)reason));
			if (!f->drops[direction][reason])
				return -ENOMEM;
		}
	}
	return 0;
}

static void watch_host(struct filter *f)
{
	AUTO(err_free) struct warren_err why = ERR_INIT;

	if (warren_net_watch(f->ctx, WARREN_NET_ADDRESSES, host_changed, f, &why))
		warren_log(f->ctx, LOG_WARNING, "%s; as an exit node this one lets peers into new "
			   "networks of the host until the next network map", err_first(&why));
}

static int filter_start(struct warren_ctx *ctx, const struct warren_conf *conf,
			struct warren_err *err)
{
	struct filter *f = warren_zalloc(ctx, sizeof(*f));
	const void *dataplane;
	int result;

	(void)conf;
	if (!f)
		return warren_fail(err, NULL, "out of memory");
	f->ctx = ctx;
	f->shut.filter = f;
	f->flows = warren_zalloc(ctx, FILTER_FLOW_TABLES * sizeof(*f->flows));
	if (!f->flows || open_stats(f) || !warren_on_end(ctx, filter_end, f))
		return warren_fail(err, NULL, "out of memory");
	for (int i = 0; i < FILTER_FLOW_TABLES; i++)
		filter_flows_init(&f->flows[i]);
	warren_self_set(ctx, f);
	result = warren_need(ctx, "dataplane", &dataplane, &f->dataplane_self);
	if (result)
		return result;
	f->dataplane = dataplane;
	result = filter_talk_start(&f->talk, ctx, f->dataplane, f->dataplane_self);
	if (result)
		return warren_fail(err, NULL, "cannot listen to what peers refuse: %s",
				   strerror(-result));
	result = warren_offer(ctx, "filter", &ops, f);
	if (result)
		return result;
	watch_host(f);
	return warren_subscribe(ctx, "netmap", filter_netmap, f);
}

/* What the table in force makes of the policy, in one sentence. */
static const char *state_text(const struct filter *f)
{
	if (!f->gate)
		return "no rules: the network map leaves the policy to wg";
	if (!f->gate->table)
		return "the policy could not be compiled: everything from peers is dropped";
	switch (filter_table_state(f->gate->table)) {
	case FILTER_SHIELDS_UP:
		return "shields are up: nothing that a peer begins is let in";
	case FILTER_DISCARDED:
		return discarded;
	default:
		return "rules in force";
	}
}

static bool check_policy(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct filter *f = warren_self(ctx);
	const struct filter_table *table = f->gate ? f->gate->table : NULL;

	if (!f->gate || (table && filter_table_state(table) != FILTER_DISCARDED))
		return true;
	warren_finding(result, "%s", state_text(f));
	return false;
}

static void filter_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct filter *f = warren_self(ctx);
	const struct filter_table *table = f->gate ? f->gate->table : NULL;
	bool in_force = table && filter_table_state(table) == FILTER_IN_FORCE;

	warren_reply_bool(reply, "in_force", table != NULL);
	warren_reply_int(reply, "rules", table ? filter_table_rules(table) : 0);
	warren_reply_int(reply, "bytes", table ? (int64_t)filter_table_bytes(table) : 0);
	warren_reply_str(reply, "state", "%s", state_text(f));
	if (in_force)
		warren_reply_text(reply, "rules in force: %u", filter_table_rules(table));
	else
		warren_reply_text(reply, "%s", state_text(f));
	filter_talk_status(&f->talk, reply);
}

WARREN_PLUGIN(filter, "filter",
	.version = "0.1",
	.license = "ISC",
	.brief = "Enforces the policy of the network map.",
	.help = "Decides about each packet from a peer after it was decrypted: rules allow, what "
		"none allows is dropped, answers to what this node began pass.",
	.commands = WARREN_TABLE(commands),
	.checks = WARREN_TABLE(checks),
	.metrics = WARREN_TABLE(metrics),
	.needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers),
	.start = filter_start,
	.status = filter_status,
);
