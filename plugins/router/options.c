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

static int check_advertised(const struct warren_conf *at, struct warren_err *err)
{
	struct warren_prefix prefix = warren_conf_prefix(at, NULL);
	char text[PREFIX_TEXT];

	if ((prefix.addr.family == 4 && (prefix.addr.bytes[0] == 127 ||
					 (prefix.addr.bytes[0] & 0xf0) == 0xe0)) ||
	    (prefix.addr.family == 6 && prefix.bits >= 8 && prefix.addr.bytes[0] == 0xff))
		return warren_fail(err, at, "\"%s\" is no network that can be advertised",
				   prefix_format(&prefix, text));
	return 0;
}

const struct warren_option router_options[ROUTER_OPTIONS] = {
	{
		.key = "accept", .type = WARREN_BOOL, .def = "false",
		.brief = "Reach the networks behind peers too.",
		.help = "Else only the peers' own addresses are routed, and taken as sources. A "
			"peer's network that equals one of this host's own takes its place. "
			"Peers of the section `static` are always taken with all they have.",
	},
	{
		.key = "advertise", .type = WARREN_PREFIX, .flags = WARREN_MANY,
		.brief = "Networks behind this node that it offers to lead to.",
		.help = "An administrator of the network approves them. 0.0.0.0/0 and ::/0 offer "
			"to be an exit node. What it approves beyond this list is not served. "
			"Forwarding is the host's: net.ipv4.ip_forward, "
			"net.ipv6.conf.all.forwarding.",
		.check = check_advertised,
		.example = "[10.146.0.0/20]",
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
		.key = "metric", .type = WARREN_INT, .def = "0", .min = 0, .max = UINT32_MAX,
		.brief = "Metric of the routes; 0: the kernel's choice.",
	},
	{
		.key = "rule-priority", .type = WARREN_INT, .def = "5210", .min = 1,
		.max = 32765 - ROUTER_RULE_OURS,
		.brief = "Priority of the first rule; others are 20, 40, 60 above.",
		.help = "system.rule-priorities must allow all four.",
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

int router_conf_check(const struct warren_conf *conf, struct warren_err *err)
{
	int64_t mark = warren_conf_int(conf, "mark"), mask = warren_conf_int(conf, "mark-mask");

	if (mark & ~mask)
		return warren_fail_key(err, -EINVAL, conf, "mark", "0x%llx has bits outside "
				       "mark-mask 0x%llx", (unsigned long long)mark,
				       (unsigned long long)mask);
	return 0;
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
	out->ipv6 = access("/proc/sys/net/ipv6", F_OK) == 0;
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
			warren_conf_prefix(warren_conf_at(conf, "advertise", i), NULL);

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
