/*
 * The packet filter that is wanted.
 *
 * What peers may reach through this node is what the server approved of our offers: the allowed IPs
 * of the self node beyond its addresses, and the ways to all of the internet. Where peers come from
 * the operator's own files there is nobody to approve, and the offers themselves count.
 */
#include "firewall.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"

int router_fw_port(const char *text, uint8_t *protocol, uint16_t *port)
{
	bool tcp = str_starts(text, "tcp/");

	if (!tcp && !str_starts(text, "udp/"))
		return -EINVAL;
	*protocol = tcp ? IPPROTO_TCP : IPPROTO_UDP;
	return port_parse(text + 4, port);
}

static struct warren_priv_nft *add(struct router_fw *fw, uint32_t kind)
{
	struct warren_priv_nft *item;

	if (fw->n == WARREN_NFT_ITEMS)
		return NULL;
	item = &fw->items[fw->n++];
	item->kind = kind;
	return item;
}

static int add_network(struct router_fw *fw, uint32_t kind, const struct warren_prefix *network)
{
	struct warren_priv_nft *item;

	for (size_t i = 0; i < fw->n; i++) {
		if (fw->items[i].kind == kind && prefix_equal(&fw->items[i].prefix, network))
			return 0;
	}
	item = add(fw, kind);
	if (!item)
		return -E2BIG;
	item->prefix = *network;
	prefix_mask(&item->prefix);
	return 0;
}

static int add_mapped(struct router_fw *fw, const struct router_mapped *mapped)
{
	size_t before = fw->n;
	int result = add_network(fw, WARREN_NFT_MAPPED, &mapped->as);

	if (fw->n > before)
		fw->items[before].local = mapped->local;
	return result;
}

static int add_behind(struct router_fw *fw, const struct warren_node *self,
		      const struct router_fw_conf *conf, const struct warren_prefix *network)
{
	int result;

	if (warren_netmap_has_address(self, network))
		return 0;
	if (network->bits == 0) {
		fw->items[0].flags |= network->addr.family == 6 ? WARREN_NFT_EXIT6 :
								  WARREN_NFT_EXIT4;
		return 0;
	}
	result = add_network(fw, WARREN_NFT_BEHIND, network);
	for (uint32_t i = 0; !result && i < conf->n_mapped; i++) {
		if (!prefix_equal(&conf->mapped[i].as, network))
			continue;
		result = add_mapped(fw, &conf->mapped[i]);
	}
	return result;
}

static int fill(const struct warren_netmap *map, const struct router_fw_conf *conf,
		const struct warren_prefix *offers, uint32_t n_offers, struct router_fw *out)
{
	const struct warren_node *self = map->self;
	int result = 0;

	for (uint32_t i = 0; !result && i < self->n_addresses; i++)
		result = add_network(out, WARREN_NFT_SELF, &self->addresses[i]);
	for (uint32_t i = 0; !result && i < map->n_networks; i++) {
		/* A node alone in its network has no pool to guard. */
		if (map->networks[i].bits > 0 &&
		    !warren_netmap_has_address(self, &map->networks[i]))
			result = add_network(out, WARREN_NFT_POOL, &map->networks[i]);
	}
	for (uint32_t i = 0; !result && i < self->n_allowed_ips; i++)
		result = add_behind(out, self, conf, &self->allowed_ips[i]);
	for (uint32_t i = 0; !result && i < n_offers; i++)
		result = add_behind(out, self, conf, &offers[i]);
	for (uint32_t i = 0; !result && i < conf->n_open; i++) {
		struct warren_priv_nft *item = add(out, WARREN_NFT_OPEN);

		if (!item)
			return -E2BIG;
		item->index = i;
		item->protocol = conf->open[i].protocol;
		item->port = conf->open[i].port;
	}
	return result;
}

int router_fw_want(const struct warren_netmap *map, const struct router_fw_conf *conf, bool leads,
		   const struct warren_prefix *offers, uint32_t n_offers, const char *ifname,
		   struct router_fw *out)
{
	struct warren_priv_nft *table;
	bool known = map && map->self;

	*out = (struct router_fw){ .n = 0 };
	if ((!known && !leads) || conf->mode == WARREN_NFT_OFF)
		return 0;
	out->items = calloc(WARREN_NFT_ITEMS, sizeof(*out->items));
	if (!out->items)
		return -ENOMEM;
	table = add(out, WARREN_NFT_TABLE);
	table->mode = conf->mode;
	table->flags = (conf->snat ? WARREN_NFT_SNAT : 0) |
		       (conf->stateful ? WARREN_NFT_STATEFUL : 0) |
		       (known && map->self->exit_v4 ? WARREN_NFT_EXIT4 : 0) |
		       (known && map->self->exit_v6 ? WARREN_NFT_EXIT6 : 0) |
		       (leads ? WARREN_NFT_ANSWER : 0);
	str_copy(table->ifname, sizeof(table->ifname), ifname);
	return !known ? 0 : fill(map, conf, offers, n_offers, out);
}

void router_fw_free(struct router_fw *fw)
{
	free(fw->items);
	*fw = (struct router_fw){ .n = 0 };
}

bool router_fw_equal(const struct router_fw *a, const struct router_fw *b)
{
	return a->n == b->n &&
	       (a->n == 0 || memcmp(a->items, b->items, a->n * sizeof(*a->items)) == 0);
}

bool router_fw_exit(const struct router_fw *fw, uint8_t family)
{
	return fw->n > 0 &&
	       fw->items[0].flags & (family == 6 ? WARREN_NFT_EXIT6 : WARREN_NFT_EXIT4);
}

bool router_fw_forwards(const struct router_fw *fw, uint8_t family)
{
	for (size_t i = 0; i < fw->n; i++) {
		if (fw->items[i].kind == WARREN_NFT_BEHIND &&
		    fw->items[i].prefix.addr.family == family)
			return true;
	}
	return router_fw_exit(fw, family);
}

void router_fw_describe(const struct warren_nft_chain *chain, const char *ifname, char *out,
			size_t size)
{
	const char *family = chain->family == 0 ? "inet" : chain->family == 6 ? "ip6" : "ip";
	const char *what = chain->hook == 1 ? "packets of peers to this host" :
					      "packets between peers and what is behind this host";

	switch (chain->state) {
	case WARREN_NFT_LOCKED:
		snprintf(out, size, "table %s %s, chain %s, drops %s: %s; its program has locked "
			 "the table; with firewalld: firewall-cmd --permanent --zone=trusted "
			 "--add-interface=%s && firewall-cmd --reload", family, chain->table,
			 chain->chain, what, chain->rule, ifname);
		break;
	case WARREN_NFT_LEGACY:
		snprintf(out, size, "there are rules of iptables-legacy (%s), which may drop "
			 "packets and cannot be changed from here: %s-legacy -I FORWARD -m mark "
			 "%s -j ACCEPT, and the same for INPUT",
			 chain->family == 6 ? "IPv6" : "IPv4",
			 chain->family == 6 ? "ip6tables" : "iptables", chain->rule);
		break;
	case WARREN_NFT_PASSES:
		snprintf(out, size, "table %s %s, chain %s: %s; a rule of ours lets our packets "
			 "pass", family, chain->table, chain->chain, chain->rule);
		break;
	default:
		snprintf(out, size, "table %s %s, chain %s, drops %s: %s", family, chain->table,
			 chain->chain, what, chain->rule);
		break;
	}
}
