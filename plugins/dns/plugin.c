/*
 * dns: the resolver at 100.100.100.100 and fd7a:115c:a1e0::53. Read this first: the tables that
 * declare it, and how it starts.
 *
 *	name.c msg.c record.c	names, messages, records: no state
 *	zone.c plan.c options.c	what this node knows, and who is asked for the rest
 *	decide.c answer.c	what becomes of a query, and answers of our own
 *	cache.c			answers of others
 *	resolve.c		the three together
 *	forward.c way.c tcp.c	asking resolvers
 *	http.c			asking an exit node
 *	serve.c			clients, by UDP and TCP
 *	lan.c			clients of the LAN
 *	proxy.c doh.c		peers, when this node is their exit node
 *	host.c hostconf.c	/etc/resolv.conf
 *	show.c			commands, status, doctor
 *
 * Desired state is a `plan`, made of the configuration and the network map whenever one of them
 * changes. It has no memory: a new one simply takes the place of the old one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "dns.h"

static const char *const host_values[] = { "auto", "file", "off", NULL };

static const struct warren_option options[] = {
	{
		.key = "accept", .type = WARREN_BOOL, .def = "true",
		.brief = "Take over the network's resolvers and search domains.",
		.help = "Without it, names of nodes are still answered to whom asks the service "
			"address.",
	},
	{
		.key = "host", .type = WARREN_ENUM, .values = host_values, .def = "auto",
		.brief = "Whether the host's own programs ask here.",
		.help = "auto: the service addresses are named to the program that keeps "
			"/etc/resolv.conf (resolvconf, openresolv, systemd-resolved), or else in "
			"that file, while the daemon runs; all is set back at its end. What "
			"others have said is where names go that nobody else is named for. "
			"file: always in the file. off: it is left alone.",
	},
	{
		.key = "insist", .type = WARREN_BOOL, .def = "true",
		.brief = "Write /etc/resolv.conf again when another program has.",
		.help = "What that program wrote counts as what there was before. Nine times in "
			"5 s at most; then it is left to it until the settings change.",
	},
	{
		.key = "upstream", .type = WARREN_STRING, .flags = WARREN_MANY, .max = 64,
		.check = dns_check_upstream, .example = "[9.9.9.9, '[2620:fe::fe]:53']",
		.brief = "Resolvers for all other names, in place of the network's.",
		.help = "The one that answered last is asked first, and the next one when it is "
			"silent for 0.3 s or has no answer. One at an address of the network is "
			"asked through the tunnel.",
	},
	{
		.key = "split", .type = WARREN_STRING, .flags = WARREN_KEYED | WARREN_MANY,
		.max = 64, .check = dns_check_upstream,
		.example = "{corp.example.com: [10.0.0.53]}",
		.brief = "Resolvers of single domains and what is below them.",
		.help = "The longest domain that matches decides, and where its resolvers fail, "
			"nobody else is asked. These go before the network's. \"[]\": what this "
			"node does not know in that domain does not exist.",
	},
	{
		.key = "domain", .type = WARREN_STRING, .max = 253, .check = dns_check_name,
		.example = "home.example.com",
		.brief = "The domain of nodes whose names have none, as with `static`.",
	},
	{
		.key = "listen", .type = WARREN_ADDRPORT, .flags = WARREN_MANY,
		.check = dns_check_listen, .example = "['192.168.1.1:53']",
		.brief = "Addresses of this host at which the LAN is served too.",
		.help = "By UDP and TCP. The host's firewall has to let the LAN in.",
	},
	{
		.key = "allow", .type = WARREN_PREFIX, .flags = WARREN_MANY,
		.def = "[10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 127.0.0.0/8, 'fc00::/7', "
		       "'fe80::/10', '::1']",
		.brief = "Who may ask at those addresses; nobody else gets an answer.",
	},
	{
		.key = "ipv6", .type = WARREN_BOOL, .def = "false",
		.brief = "Tell the IPv6 address of nodes that have an IPv4 address too.",
		.help = "Also on where the server says so. Some programs prefer IPv6 and cannot "
			"use it.",
	},
	{
		.key = "cache-size", .type = WARREN_SIZE, .def = "1MiB", .max = 1 << 30,
		.brief = "Memory for answers of resolvers; 0: none are kept.",
	},
};

static const struct warren_option status_args[] = {
	{ .key = "all", .type = WARREN_BOOL,
	  .brief = "Also what is seldom of interest: records, fallback resolvers, domains." },
};

static const struct warren_option query_args[] = {
	{ .key = "name", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .max = 255, .brief = "Name." },
	{ .key = "type", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .max = 16,
	  .def = "A", .brief = "Type of record: A, AAAA, TXT, TYPE65, ..." },
};

static const struct warren_command commands[] = {
	{ .path = "dns status", .flags = WARREN_CMD_STOCK, .args = WARREN_TABLE(status_args),
	  .brief = "Print the current DNS status and configuration.", .run = dns_run_status,
	  .help = "Who answers for which names, and how the resolvers are doing.",
	  .example = "warren dns status --all" },
	{ .path = "dns query", .flags = WARREN_CMD_STOCK, .args = WARREN_TABLE(query_args),
	  .brief = "Perform a DNS query.", .run = dns_run_query,
	  .help = "By the resolver that programs of this host get at 100.100.100.100.",
	  .example = "warren dns query gw-tokyo AAAA" },
	{ .path = "dns why", .args = WARREN_TABLE(query_args),
	  .brief = "Say who answers for a name, and why.", .run = dns_run_why,
	  .help = "The chain of decisions, and how the resolvers at its end are doing. Nobody is "
		  "asked.",
	  .example = "warren dns why wiki.corp.example.com" },
};

static const struct warren_metric metrics[] = {
	{ .name = "queries", .kind = WARREN_COUNTER, .unit = "queries", .label = "answer",
	  .brief = "Queries by who answered: this node, its cache, resolvers, nobody." },
	{ .name = "resolvers", .kind = WARREN_COUNTER, .unit = "answers", .label = "result",
	  .brief = "Answers of resolvers; \"stray\" are those that nobody had asked for." },
	{ .name = "tcp_retries", .kind = WARREN_COUNTER, .unit = "queries",
	  .brief = "Answers that were too long for UDP and were asked for by TCP." },
	{ .name = "host_overwritten", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Times that another program has written /etc/resolv.conf over ours." },
	{ .name = "cache_entries", .kind = WARREN_GAUGE, .unit = "1",
	  .brief = "Answers that are kept." },
};

static const struct warren_port needs[] = {
	{ .name = "netmap", .major = 0, .minor = 4, .brief = "Names, addresses, resolvers." },
	{ .name = "svcnet", .major = 0, .minor = 1, .flags = WARREN_ENABLE, .provider = "svcnet",
	  .brief = "The service addresses; resolvers inside the network." },
	{ .name = "peerapi", .major = 0, .minor = 1, .flags = WARREN_SOFT,
	  .brief = "Names for peers that use this exit node, and from one that is used." },
	{ .name = "filter", .major = 0, .minor = 1, .flags = WARREN_SOFT,
	  .brief = "Whether the policy lets a peer ask for them." },
};

static const struct warren_check checks[] = {
	{
		.id = "dns.host", .severity = WARREN_WARN,
		.brief = "The host's own programs ask here.",
		.help = "Another program that writes /etc/resolv.conf is to be told not to, as "
			"with `dns=none` in NetworkManager; or set dns.host to off.",
		.run = dns_doctor_host,
	},
	{
		.id = "dns.listener", .severity = WARREN_BAD,
		.brief = "The service addresses are served.",
		.help = "Without a network of their own for services (see svcnet), port 53 must "
			"be free on this host and stand in system.ports.",
		.run = dns_doctor_listener,
	},
	{
		.id = "dns.upstream", .severity = WARREN_WARN,
		.brief = "Resolvers answer.",
		.help = "`warren dns status` has them all. A resolver inside the network is asked "
			"through the tunnel, and its node must let port 53 in.",
		.run = dns_doctor_upstream,
	},
};

/*
 * ---- The plan ----
 */

/* 0, or -ENOMEM: the old one is in force still. */
static int make_plan(struct dns *dns)
{
	struct dns_plan *plan, *old = dns->plan;

	dns->words.reach = dns->peerapi;
	warren_hostname(dns->ctx, dns->words.hostname, sizeof(dns->words.hostname));
	plan = dns_plan_new(&dns->words, dns->map);
	if (!plan)
		return -ENOMEM;
	dns->plan = plan;
	if (old && !dns_plan_routes_equal(old, plan)) {
		dns_cache_clear(&dns->cache);
		dns_ways_sweep(dns);
	}
	dns_plan_free(old);
	return 0;
}

static void plan_again(struct dns *dns, bool settings)
{
	if (make_plan(dns))
		warren_fatal(dns->ctx, "out of memory for the names of the network");
	else
		dns_host_update(dns, settings);
}

void dns_base_changed(struct dns *dns)
{
	plan_again(dns, false);
}

/* Most maps differ in who is online and where: nothing that names have to do with. */
static bool concerns_names(const struct warren_netmap *before, const struct warren_netmap *map)
{
	return !before || map->exit_chosen != before->exit_chosen ||
	       map->exit_node != before->exit_node ||
	       map->changed & (WARREN_NETMAP_SELF | WARREN_NETMAP_DNS) ||
	       warren_netmap_peers_differ(map, before, WARREN_NODE_REACHED);
}

static void on_netmap(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	struct dns *dns = arg;
	const struct warren_netmap *before = dns->map, *map = obj;

	(void)ctx;
	(void)topic;
	dns->map = warren_obj_ref(map);
	if (concerns_names(before, map))
		plan_again(dns, false);
	dns_proxy_follow(dns);
	warren_obj_unref(before);
}

/*
 * ---- Life ----
 */

static int open_stats(struct dns *dns)
{
	const struct {
		struct warren_stat **to;
		const char *name, *label;
	} all[] = {
		{ &dns->stats.local, "queries", "local" },
		{ &dns->stats.cached, "queries", "cache" },
		{ &dns->stats.forwarded, "queries", "resolver" },
		{ &dns->stats.refused, "queries", "refused" },
		{ &dns->stats.dropped, "queries", "dropped" },
		{ &dns->stats.answered, "resolvers", "answered" },
		{ &dns->stats.soft, "resolvers", "refused" },
		{ &dns->stats.timeout, "resolvers", "timeout" },
		{ &dns->stats.stray, "resolvers", "stray" },
		{ &dns->stats.by_tcp, "tcp_retries", NULL },
		{ &dns->stats.overwritten, "host_overwritten", NULL },
		{ &dns->stats.entries, "cache_entries", NULL },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		*all[i].to = warren_stat_open(dns->ctx, all[i].name, all[i].label);
		if (!*all[i].to)
			return -ENOMEM;
	}
	return 0;
}

/* What the core does not know of; after it nothing is under way any more. */
static void dns_end(void *arg)
{
	struct dns *dns = arg;

	dns_lan_end(dns);
	dns_serve_end(dns);
	dns_proxy_end(dns);
	dns_forward_end(dns);
	dns_ways_end(dns);
	dns_cache_clear(&dns->cache);
	dns_plan_free(dns->plan);
	dns_words_free(&dns->words);
	warren_obj_unref(dns->map);
}

static int init(struct dns *dns, struct warren_ctx *ctx, const struct warren_conf *conf)
{
	dns->ctx = ctx;
	dns_cache_init(&dns->cache, (size_t)warren_conf_int(conf, "cache-size"));
	dns_forward_init(dns);
	list_init(&dns->ways);
	list_init(&dns->lan);
	list_init(&dns->proxy.guests);
	if (!warren_on_end(ctx, dns_end, dns))
		return -ENOMEM;
	dns->in = warren_zalloc(ctx, DNS_MSG_MAX);
	dns->made = warren_zalloc(ctx, DNS_MADE);
	dns->out = warren_zalloc(ctx, DNS_OUT);
	if (!dns->in || !dns->made || !dns->out || open_stats(dns))
		return -ENOMEM;
	return dns_words_read(conf, &dns->words);
}

static int dns_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		     struct warren_err *err)
{
	struct dns *dns = warren_zalloc(ctx, sizeof(*dns));
	const void *found;
	int result;

	if (!dns || sodium_init() < 0 || init(dns, ctx, conf))
		return warren_fail(err, NULL, "out of memory");
	warren_self_set(ctx, dns);
	result = warren_need(ctx, "svcnet", &found, &dns->svcnet_self);
	if (result)
		return result;
	dns->svcnet = found;
	result = warren_need(ctx, "netmap", &found, &dns->netmap_self);
	if (result)
		return result;
	dns->netmap = found;
	dns->map = dns->netmap->current(dns->netmap_self);
	if (dns_host_start(dns) || make_plan(dns))
		return warren_fail(err, NULL, "out of memory");
	dns_host_clear(dns, dns->host.ours);	/* by an engine before this one */
	result = warren_subscribe(ctx, "netmap", on_netmap, dns);
	if (!result)
		result = dns_serve_start(dns, err);
	if (!result && dns_lan_follow(dns))
		return warren_fail(err, NULL, "out of memory");
	return result;
}

static int dns_reload(struct warren_ctx *ctx, const struct warren_conf *old,
		      const struct warren_conf *now, struct warren_err *err)
{
	struct dns *dns = warren_self(ctx);
	struct dns_words before = dns->words, words;

	(void)old;
	if (dns_words_read(now, &words))
		return warren_fail(err, NULL, "out of memory");
	words.host = before.host;
	dns->words = words;
	if (make_plan(dns) || dns_lan_follow(dns)) {
		dns_words_free(&words);
		dns->words = before;
		return warren_fail(err, NULL, "out of memory");
	}
	dns_words_free(&before);
	dns_host_update(dns, true);
	dns_cache_limit(&dns->cache, (size_t)warren_conf_int(now, "cache-size"));
	return 0;
}

static int dns_stop(struct warren_ctx *ctx)
{
	struct dns *dns = warren_self(ctx);

	dns_proxy_end(dns);
	dns_http_lost(dns);
	return 0;
}

static void dns_found(struct warren_ctx *ctx, const char *service, const void *ops, void *self)
{
	struct dns *dns = warren_self(ctx);

	dns_proxy_found(dns, service, ops, self);
	dns_proxy_follow(dns);
	if (strcmp(service, "peerapi") == 0)
		plan_again(dns, false);
}

static void dns_lost(struct warren_ctx *ctx, const char *service)
{
	dns_found(ctx, service, NULL, NULL);
}

WARREN_PLUGIN(dns, "dns",
	.version = "0.1",
	.license = "ISC",
	.brief = "Resolves names of the network and passes on all others.",
	.help = "A resolver for this host at 100.100.100.100 and fd7a:115c:a1e0::53: names and "
		"addresses of nodes, records of the network, single domains at resolvers of their "
		"own, inside the network too, and everything else at the usual ones. What belongs "
		"to the network is never asked for outside.",
	.options = WARREN_TABLE(options),
	.commands = WARREN_TABLE(commands),
	.metrics = WARREN_TABLE(metrics),
	.needs = WARREN_TABLE(needs),
	.checks = WARREN_TABLE(checks),
	.privops = WARREN_PRIVOP(SOCKET) | WARREN_PRIVOP(RESOLVER) | WARREN_PRIVOP(CLOSE),
	.check = dns_words_check,
	.start = dns_start,
	.reload = dns_reload,
	.stop = dns_stop,
	.found = dns_found,
	.lost = dns_lost,
	.status = dns_status,
);
