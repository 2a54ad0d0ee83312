/*
 * The section `router:`. What it says about other nodes goes to the provider of the network map,
 * which tells the server and lays it on the map for all that read it: `wg` must take the same
 * networks as sources that the routes lead to.
 */
#include "options.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "via.h"

static int check_advertised(const struct warren_conf *at, struct warren_err *err)
{
	struct warren_prefix prefix = warren_conf_prefix(at, NULL);
	char text[PREFIX_TEXT];

	if ((prefix.addr.family == 4 && (prefix.addr.bytes[0] == 127 ||
					 (prefix.addr.bytes[0] & 0xf0) == 0xe0)) ||
	    (prefix.addr.family == 6 && prefix.bits >= 8 && prefix.addr.bytes[0] == 0xff))
		return warren_fail(err, at, "\"%s\" is no network that can be advertised",
				   prefix_format(&prefix, text));
	if (router_via_is(&prefix))
		return warren_fail(err, at, "\"%s\" is a site's network of IPv4 (4via6), to which "
				   "this router does not translate: {local: , as: } serves sites "
				   "with the same network", prefix_format(&prefix, text));
	return 0;
}

/* The last two are words of the stock client's --netfilter-mode. */
static const char *const modes[] = { "auto", "append", "own-table-only", "off", "on", "nodivert",
				     NULL };
static const uint32_t mode_numbers[] = { WARREN_NFT_AUTO, WARREN_NFT_APPEND, WARREN_NFT_OWN_TABLE,
					 WARREN_NFT_OFF, WARREN_NFT_AUTO, WARREN_NFT_OWN_TABLE };

enum { PREFER_HOST, PREFER_TAILNET };
static const char *const preferences[] = { "host", "tailnet", NULL };

static int check_open(const struct warren_conf *at, struct warren_err *err)
{
	uint8_t protocol;
	uint16_t port;

	if (router_fw_port(warren_conf_str(at, NULL), &protocol, &port))
		return warren_fail(err, at, "\"%s\" is no port: udp/3478 or tcp/443 is meant",
				   warren_conf_str(at, NULL));
	return 0;
}

static const struct warren_option firewall_options[] = {
	{
		.key = "mode", .type = WARREN_ENUM, .def = "auto", .values = modes,
		.brief = "How far the host's own packet filter is helped.",
		.help = "auto: a rule that accepts our mark goes to the top of each chain of the "
			"host that drops. append: to its end, where that is of use. "
			"own-table-only (nodivert): such chains are left alone. off: there are no "
			"rules of ours at all, and forwarding is not switched on. on is auto.",
	},
	{
		.key = "open", .type = WARREN_STRING, .flags = WARREN_MANY, .max = 9,
		.brief = "Further ports of this host that everybody may reach.",
		.help = "The ports of WireGuard and of the relay's STUN need no mention.",
		.check = check_open, .example = "[tcp/443]",
	},
};

static const struct warren_option advertise_options[] = {
	{
		.key = "as", .type = WARREN_PREFIX, .flags = WARREN_REQUIRED,
		.brief = "The network, as peers know it.",
		.check = check_advertised, .example = "10.146.0.0/20",
	},
	{
		.key = "local", .type = WARREN_PREFIX,
		.brief = "The network as it is, where several sites have the same one.",
		.help = "Of the same length as `as`. Addresses are swapped one to one, in both "
			"directions: with {local: 192.168.1.0/24, as: 10.11.0.0/24} peers reach "
			"192.168.1.7 as 10.11.0.7. It needs `firewall` not to be off.",
		.check = check_advertised, .example = "192.168.1.0/24",
	},
};

const struct warren_option router_options[ROUTER_OPTIONS] = {
	{
		.key = "accept", .type = WARREN_BOOL, .def = "true",
		.brief = "Reach the networks behind peers too.",
		.help = "Else only the peers' own addresses are routed, and taken as sources. "
			"One that this host is attached to itself stays its own: see `prefer`. "
			"Peers of the section `static` are always taken with all they have.",
	},
	{
		.key = "advertise", .type = WARREN_MAP, .flags = WARREN_MANY | WARREN_OR_TEXT,
		.sub = WARREN_TABLE(advertise_options),
		.brief = "Networks behind this node that it offers to lead to.",
		.help = "An administrator of the network approves them. 0.0.0.0/0 and ::/0 offer "
			"to be an exit node. What it approves beyond this list is not served. "
			"While something is, forwarding is on (net.ipv4.ip_forward, "
			"net.ipv6.conf.all.forwarding), unless `firewall` is off.",
		.example = "[10.146.0.0/20, {local: 192.168.1.0/24, as: 10.11.0.0/24}]",
	},
	{
		.key = "snat", .type = WARREN_BOOL, .def = "true",
		.brief = "Hide peers behind this node in the networks that it leads to.",
		.help = "Else they are seen with their own addresses, and hosts there need a route "
			"back. On the way to the internet they are always hidden.",
	},
	{
		.key = "stateful-filtering", .type = WARREN_BOOL, .def = "false",
		.brief = "Hosts behind this node begin no conversation with peers.",
	},
	{
		.key = "firewall", .type = WARREN_MAP, .flags = WARREN_OR_TEXT, .def = "{}",
		.sub = WARREN_TABLE(firewall_options),
		.brief = "Rules in the host's packet filter (nftables).",
		.help = "Our own table lets peers through to what they may reach, keeps others "
			"from using their addresses, and opens our ports. It goes when the daemon "
			"ends, in whatever way.",
	},
	{
		.key = "routes", .type = WARREN_BOOL, .def = "true",
		.brief = "Lay routes to the peers' inner networks.",
		.help = "0.0.0.0/0 or ::/0 in a peer's allowed IPs leads all traffic of this host "
			"to that peer, its local networks included.",
	},
	{
		.key = "rules", .type = WARREN_BOOL, .def = "true",
		.brief = "Lay the rules that look into our routing table.",
		.help = "Without them the table is there but nobody looks into it.",
	},
	{
		.key = "table", .type = WARREN_INT, .def = "52", .min = 1, .max = UINT32_MAX,
		.brief = "Routing table; system.route-table must allow it.",
	},
	{
		.key = "prefer", .type = WARREN_ENUM, .def = "host", .values = preferences,
		.brief = "Who has addresses that this host is attached to and a peer leads to.",
		.help = "host: networks of this host's own interfaces are reached by them, what "
			"is behind peers gives way. tailnet: the other way round, so that even "
			"the neighbours in the local network are looked for behind the peer. "
			"Peers' own addresses always lead to the peers.",
	},
	{
		.key = "metric", .type = WARREN_INT, .def = "0", .min = 0, .max = UINT32_MAX,
		.brief = "Metric of the routes; 0: the kernel's choice.",
	},
	{
		.key = "rule-priority", .type = WARREN_INT, .def = "5210",
		.min = ROUTER_BYPASS_BEHIND + 1,
		.max = 32765 - ROUTER_RULE_SHUT,
		.brief = "Priority of the first rule; others are 20, 40, 60 above.",
		.help = "system.rule-priorities must allow all four; 10 below, which "
			"`exitnode.bypass` uses, and 2 above, which `exitnode.use` does.",
	},
	{
		.key = "mark", .type = WARREN_INT, .def = "0x80000", .min = 1, .max = UINT32_MAX,
		.brief = "Mark of our own encrypted packets (system.marks).",
	},
	{
		.key = "mark-mask", .type = WARREN_INT, .def = "0xff0000", .min = 1,
		.max = UINT32_MAX,
		.brief = "Bits of the mark that the rules compare.",
	},
};

static int check_mapped(const struct warren_conf *conf, struct warren_err *err)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < warren_conf_count(conf, "advertise"); i++) {
		const struct warren_conf *at = warren_conf_at(conf, "advertise", i);
		struct warren_prefix as = warren_conf_prefix(at, "as"), local;

		if (!warren_conf_has(at, "local"))
			continue;
		local = warren_conf_prefix(at, "local");
		if (local.addr.family != as.addr.family || local.bits != as.bits || as.bits == 0)
			return warren_fail_key(err, -EINVAL, at, "local", "addresses are swapped "
					       "one to one: `local` and `as` must be networks of "
					       "the same length");
		if (++n > ROUTER_MAPPED_MAX)
			return warren_fail_key(err, -EINVAL, at, "local", "more than %d networks "
					       "with other addresses", ROUTER_MAPPED_MAX);
	}
	return 0;
}

int router_conf_check(const struct warren_conf *conf, struct warren_err *err)
{
	int64_t mark = warren_conf_int(conf, "mark"), mask = warren_conf_int(conf, "mark-mask");

	if (warren_conf_count(warren_conf_map(conf, "firewall"), "open") > ROUTER_OPEN_MAX)
		return warren_fail_key(err, -EINVAL, conf, "firewall", "more than %d ports "
				       "in `open`", ROUTER_OPEN_MAX);
	if (warren_conf_count(conf, "advertise") > ROUTER_OFFERS_MAX)
		return warren_fail_key(err, -EINVAL, conf, "advertise", "more than %d networks",
				       ROUTER_OFFERS_MAX);
	if (check_mapped(conf, err))
		return -EINVAL;
	if (mark & ~mask)
		return warren_fail_key(err, -EINVAL, conf, "mark", "0x%llx has bits outside "
				       "mark-mask 0x%llx", (unsigned long long)mark,
				       (unsigned long long)mask);
	return 0;
}

static void read_firewall(struct router_fw_conf *out, const struct warren_conf *conf)
{
	const struct warren_conf *fw = warren_conf_map(conf, "firewall");

	*out = (struct router_fw_conf){
		.mode = mode_numbers[warren_conf_enum(fw, "mode")],
		.snat = warren_conf_bool(conf, "snat"),
		.stateful = warren_conf_bool(conf, "stateful-filtering"),
	};
	for (uint32_t i = 0; i < warren_conf_count(fw, "open") && i < ROUTER_OPEN_MAX; i++) {
		const char *text = warren_conf_str(warren_conf_at(fw, "open", i), NULL);

		/* It was checked. */
		if (router_fw_port(text, &out->open[i].protocol, &out->open[i].port) == 0)
			out->n_open = i + 1;
	}
}

static void read_offer(struct router_conf *out, const struct warren_conf *at)
{
	struct warren_prefix as = warren_conf_prefix(at, "as");

	out->offers[out->n_offers++] = as;
	if (warren_conf_has(at, "local") && out->fw.n_mapped < ROUTER_MAPPED_MAX)
		out->fw.mapped[out->fw.n_mapped++] = (struct router_mapped){
			.as = as, .local = warren_conf_prefix(at, "local"),
		};
}

void router_conf_read(struct router_conf *out, const struct warren_conf *conf)
{
	out->routes = warren_conf_bool(conf, "routes");
	out->rules = warren_conf_bool(conf, "rules");
	out->table = (uint32_t)warren_conf_int(conf, "table");
	out->metric = (uint32_t)warren_conf_int(conf, "metric");
	out->rule_priority = (uint32_t)warren_conf_int(conf, "rule-priority");
	out->mark = (uint32_t)warren_conf_int(conf, "mark");
	out->mask = (uint32_t)warren_conf_int(conf, "mark-mask");
	out->prefer_tailnet = warren_conf_enum(conf, "prefer") == PREFER_TAILNET;
	out->ipv6 = access("/proc/sys/net/ipv6", F_OK) == 0;
	read_firewall(&out->fw, conf);
	out->n_offers = 0;
	for (uint32_t i = 0; i < warren_conf_count(conf, "advertise") &&
			     out->n_offers < ROUTER_OFFERS_MAX; i++)
		read_offer(out, warren_conf_at(conf, "advertise", i));
}

int router_conf_tell(const struct warren_netmap_ops *netmap, void *self, struct warren_ctx *ctx,
		     const struct warren_conf *conf, struct warren_err *err)
{
	AUTO(str_free) struct str list = STR_INIT;
	uint32_t n = warren_conf_count(conf, "advertise");
	char text[PREFIX_TEXT];
	int result = -ENOMEM;

	for (uint32_t i = 0; i < n; i++) {
		struct warren_prefix network =
			warren_conf_prefix(warren_conf_at(conf, "advertise", i), "as");

		str_addf(&list, "%c\"%s\"", i ? ',' : '[', prefix_format(&network, text));
	}
	str_add(&list, n ? "]" : "");
	if (!list.failed)
		result = netmap->self_set(self, ctx, WARREN_FACET_ROUTES,
					  n ? str_text(&list) : NULL);
	if (result == 0)
		result = netmap->accept_set(self, ctx, warren_conf_bool(conf, "accept"));
	if (result)
		warren_fail_key(err, result, conf, "advertise", "%s cannot be told about it: %s",
				netmap->provider, strerror(-result));
	return result;
}
