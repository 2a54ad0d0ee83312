/*
 * route get.
 */
#include "commands.h"

#include <inttypes.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "explain.h"
#include "router.h"
#include "via.h"

static const char *table_name(uint32_t table, char out[16])
{
	if (table == RT_TABLE_MAIN || table == RT_TABLE_LOCAL || table == RT_TABLE_DEFAULT)
		return table == RT_TABLE_MAIN ? "main" : table == RT_TABLE_LOCAL ? "local" :
								       "default";
	snprintf(out, 16, "%u", table);
	return out;
}

/* As ip-route(8) has them. */
static const char *type_name(uint8_t type)
{
	static const char *const names[] = {
		[RTN_UNICAST] = "unicast", [RTN_LOCAL] = "local", [RTN_BROADCAST] = "broadcast",
		[RTN_ANYCAST] = "anycast", [RTN_MULTICAST] = "multicast",
		[RTN_BLACKHOLE] = "blackhole", [RTN_UNREACHABLE] = "unreachable",
		[RTN_PROHIBIT] = "prohibit",
	};

	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "of another type";
}

static void write_rule(const struct router_way *way, struct str *text, struct warren_reply *reply)
{
	char table[16], prefix[PREFIX_TEXT];

	warren_reply_open(reply, "rule", '{');
	warren_reply_int(reply, "priority", way->rule.pref);
	warren_reply_bool(reply, "ours", way->rule.protocol == WARREN_NET_PROTOCOL);
	if (way->rule.dst.addr.family)
		warren_reply_str(reply, "to", "%s", prefix_format(&way->rule.dst, prefix));
	if (way->route.family)
		warren_reply_int(reply, "table", way->rule.table);
	warren_reply_close(reply);
	str_addf(text, "rule %u", way->rule.pref);
	if (way->rule.dst.addr.family)
		str_addf(text, " to %s", prefix_format(&way->rule.dst, prefix));
	if (way->route.family)
		str_addf(text, ": table %s, ", table_name(way->rule.table, table));
	else
		str_add(text, ": unreachable");
}

static void write_route(const struct warren_net_route *route, struct str *text,
			struct warren_reply *reply)
{
	char prefix[PREFIX_TEXT], gateway[ADDR_TEXT] = "", ifname[IF_NAMESIZE] = "";
	bool plain = route->type == RTN_UNICAST;

	if (route->ifindex)
		(void)if_indextoname(route->ifindex, ifname);
	if (route->gateway.family)
		addr_format(&route->gateway, gateway);
	prefix_format(&route->dst, prefix);
	warren_reply_open(reply, "route", '{');
	warren_reply_str(reply, "to", "%s", prefix);
	warren_reply_str(reply, "type", "%s", type_name(route->type));
	warren_reply_str(reply, "interface", "%s", ifname);
	warren_reply_str(reply, "gateway", "%s", gateway);
	warren_reply_close(reply);
	str_addf(text, "route %s%s%s%s%s%s%s", plain ? "" : type_name(route->type),
		 plain ? "" : " ", prefix, gateway[0] ? " via " : "", gateway,
		 ifname[0] ? " dev " : "", ifname);
}

static void write_peer(const struct router *r, const struct warren_addr *dst, struct str *text,
		       struct warren_reply *reply)
{
	struct warren_prefix network;
	const struct warren_node *peer = router_peer_of(r->map, dst, &network);
	char prefix[PREFIX_TEXT];

	if (!peer) {
		warren_reply_null(reply, "peer");
		str_add(text, "; no peer has that address");
		return;
	}
	warren_reply_open(reply, "peer", '{');
	warren_reply_str(reply, "name", "%s", peer->name ? peer->name : "");
	warren_reply_str(reply, "network", "%s", prefix_format(&network, prefix));
	warren_reply_close(reply);
	str_addf(text, "; through peer %s, which has %s", peer->name ? peer->name : "?", prefix);
}

static int run_get(struct warren_ctx *ctx, const struct warren_conf *args,
		   struct warren_reply *reply, struct warren_err *err)
{
	const struct router *r = warren_self(ctx);
	struct warren_addr dst = warren_conf_addr(args, "dst");
	AUTO(str_free) struct str text = STR_INIT;
	char address[ADDR_TEXT];
	struct router_way way;
	int result = router_explain(&dst, &way, err);

	if (result)
		return result;
	warren_reply_str(reply, "dst", "%s", addr_format(&dst, address));
	if (!way.decided) {
		warren_reply_null(reply, "rule");
		warren_reply_text(reply, "%s: no rule has a route", address);
		return 0;
	}
	str_addf(&text, "%s: ", address);
	write_rule(&way, &text, reply);
	if (way.route.family)
		write_route(&way.route, &text, reply);
	if (way.route.ifindex && way.route.ifindex == r->dataplane->ifindex(r->dataplane_self))
		write_peer(r, &dst, &text, reply);
	warren_reply_text(reply, "%s", str_text(&text));
	return 0;
}

static void write_via(uint32_t site, const struct warren_prefix *v4,
		      const struct warren_prefix *route, bool back, struct warren_reply *reply)
{
	char network[PREFIX_TEXT], text[PREFIX_TEXT];

	prefix_format(v4, network);
	prefix_format(route, text);
	warren_reply_int(reply, "site", site);
	warren_reply_str(reply, "network", "%s", network);
	warren_reply_str(reply, "route", "%s", text);
	if (back)
		warren_reply_text(reply, "site %" PRIu32 " (0x%" PRIx32 "), %s", site, site,
				  network);
	else
		warren_reply_text(reply, "%s", text);
}

static int run_via(struct warren_ctx *ctx, const struct warren_conf *args,
		   struct warren_reply *reply, struct warren_err *err)
{
	const char *first = warren_conf_str(args, "site-or-route");
	const char *network = warren_conf_str(args, "network");
	struct warren_prefix v4, route;
	uint32_t site;
	int result;

	(void)ctx;
	if (prefix_parse(network ? network : first, network ? &v4 : &route))
		return warren_fail(err, NULL, "\"%s\" is no network: expect either <site-id> "
				   "<v4-cidr> or <v6-route>", network ? network : first);
	if (network) {
		result = router_via_site(first, &site, err);
		if (!result && v4.addr.family != 4)
			result = warren_fail(err, NULL, "want IPv4 CIDR with a site ID");
		if (!result)
			route = router_via_map(site, &v4);
	} else {
		result = router_via_unmap(&route, &site, &v4, err);
	}
	if (!result)
		write_via(site, &v4, &route, !network, reply);
	return result;
}

static const struct warren_option via_args[] = {
	{ .key = "site-or-route", .type = WARREN_STRING, .max = 64,
	  .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "The site's number; or a network of IPv6 to take apart." },
	{ .key = "network", .type = WARREN_STRING, .max = 64, .flags = WARREN_POSITIONAL,
	  .brief = "The network of IPv4 there." },
};

static const struct warren_option get_args[] = {
	{ .key = "dst", .type = WARREN_ADDR, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "An address, of IPv4 or IPv6." },
};

const struct warren_command router_commands[ROUTER_COMMANDS] = {
	{ .path = "route get", .flags = WARREN_CMD_ANY, .run = run_get,
	  .args = WARREN_TABLE(get_args),
	  .brief = "Say which rule, which route and which peer lead to an address.",
	  .help = "For an ordinary packet of this host: without a mark, of no user with rules of "
		  "his own. `warren why PEER` says how the peer itself is reached.",
	  .example = "warren route get 10.0.1.100" },
	{ .path = "debug via", .flags = WARREN_CMD_ANY, .run = run_via,
	  .args = WARREN_TABLE(via_args),
	  .brief = "Convert between site-specific IPv4 CIDRs and IPv6 'via' routes.",
	  .help = "Several sites may have the same network of IPv4: each is known by the other "
		  "(4via6). A router of the stock client's leads there; this one does not, and "
		  "has router.advertise with `as` for that.",
	  .example = "warren debug via 7 10.1.1.0/24" },
};
