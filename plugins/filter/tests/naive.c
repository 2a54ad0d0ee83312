/*
 * The slow, obvious filter that the compiled one is compared with.
 */
#include "naive.h"

#include <string.h>

struct fields {
	uint8_t family, protocol;
	struct warren_addr from, to;
	uint16_t from_port, to_port;
	const uint8_t *body;
	size_t body_len;
	bool later_fragment;
};

static bool addr_within(const struct warren_addr *addr, const struct warren_addr *first,
			const struct warren_addr *last)
{
	size_t n = addr->family == 4 ? 4 : 16;

	return addr->family == first->family && addr->family == last->family &&
	       memcmp(addr->bytes, first->bytes, n) >= 0 &&
	       memcmp(addr->bytes, last->bytes, n) <= 0;
}

static bool addr_in_prefix(const struct warren_addr *addr, const struct warren_prefix *prefix)
{
	if (addr->family != prefix->addr.family)
		return false;
	for (int bit = 0; bit < prefix->bits; bit++) {
		uint8_t mask = (uint8_t)(0x80 >> (bit % 8));

		if ((addr->bytes[bit / 8] ^ prefix->addr.bytes[bit / 8]) & mask)
			return false;
	}
	return true;
}

static bool is_target(uint8_t kind, const struct warren_prefix *prefix,
		      const struct warren_addr *first, const struct warren_addr *last,
		      const struct warren_addr *addr)
{
	return kind == WARREN_SRC_ANY ||
	       (kind == WARREN_SRC_PREFIX && addr_in_prefix(addr, prefix)) ||
	       (kind == WARREN_SRC_RANGE && addr_within(addr, first, last));
}

static bool src_matches(const struct warren_src *src, const struct warren_addr *addr)
{
	return is_target(src->kind, &src->prefix, &src->first, &src->last, addr);
}

static bool dst_matches(const struct warren_dst *dst, const struct warren_addr *addr)
{
	return is_target(dst->kind, &dst->prefix, &dst->first, &dst->last, addr);
}

static bool owns(const struct warren_node *node, const struct warren_addr *addr)
{
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		if (addr_in_prefix(addr, &node->addresses[i]))
			return true;
	}
	return false;
}

static bool has_cap(const struct warren_node *node, const char *cap)
{
	for (uint32_t i = 0; i < node->n_caps; i++) {
		if (!strcmp(node->caps[i].name, cap))
			return true;
	}
	return false;
}

/* Is @addr a peer's own address, and has that peer the capability? */
static bool cap_matches(const struct warren_netmap *map, const struct warren_src *src,
			const struct warren_addr *addr)
{
	for (uint32_t i = 0; src->kind == WARREN_SRC_CAP && i < map->n_peers; i++) {
		if (owns(map->peers[i], addr) && has_cap(map->peers[i], src->cap))
			return true;
	}
	return false;
}

static bool rule_lists(const struct warren_filter_rule *rule, uint8_t protocol)
{
	if (rule->n_protocols == 0)
		return protocol == 6 || protocol == 17 || protocol == 1 || protocol == 58;
	return memchr(rule->protocols, protocol, rule->n_protocols) != NULL;
}

static bool rule_allows(const struct warren_netmap *map, const struct warren_filter_rule *rule,
			const struct fields *f, bool icmp)
{
	bool source = false, cap = false;
	bool ported = f->protocol == 6 || f->protocol == 17 || f->protocol == 132;

	for (uint32_t i = 0; i < rule->n_srcs; i++) {
		source = source || src_matches(&rule->srcs[i], &f->from);
		cap = cap || cap_matches(map, &rule->srcs[i], &f->from);
	}
	if (rule->n_dsts == 0)
		return false;
	if (icmp && cap)
		return true;
	for (uint32_t i = 0; i < rule->n_dsts; i++) {
		const struct warren_dst *dst = &rule->dsts[i];

		if (!dst_matches(dst, &f->to))
			continue;
		if (icmp && source)
			return true;
		if (icmp || !rule_lists(rule, f->protocol))
			continue;
		if (ported && (source || cap) && f->to_port >= dst->port_first &&
		    f->to_port <= dst->port_last)
			return true;
		if (!ported && source && dst->port_first == 0 && dst->port_last == 65535)
			return true;
	}
	return false;
}

/* The lowest and the highest address of a prefix. */
static void ends_of(const struct warren_prefix *prefix, struct warren_addr *first,
		    struct warren_addr *last)
{
	*first = *last = prefix->addr;
	for (int bit = prefix->bits; bit < (prefix->addr.family == 4 ? 32 : 128); bit++) {
		first->bytes[bit / 8] &= (uint8_t)~(0x80 >> (bit % 8));
		last->bytes[bit / 8] |= (uint8_t)(0x80 >> (bit % 8));
	}
}

/* Is an address of @prefix among the sources of a rule with destinations? */
static bool is_source(const struct warren_netmap *map, const struct warren_prefix *prefix)
{
	struct warren_addr first, last, from, to;

	ends_of(prefix, &first, &last);
	for (uint32_t r = 0; r < map->n_filter; r++) {
		const struct warren_filter_rule *rule = &map->filter[r];

		for (uint32_t i = 0; rule->n_dsts > 0 && i < rule->n_srcs; i++) {
			const struct warren_src *src = &rule->srcs[i];

			if (src_matches(src, &first))
				return true;
			if (src->kind == WARREN_SRC_PREFIX)
				ends_of(&src->prefix, &from, &to);
			else if (src->kind == WARREN_SRC_RANGE &&
				 addr_within(&src->first, &src->first, &src->last))
				from = src->first;
			else
				continue;
			if (addr_within(&from, &first, &last))
				return true;
		}
	}
	return false;
}

/* Is a capability of the peer one? */
static bool is_source_by_cap(const struct warren_netmap *map, const struct warren_node *peer)
{
	for (uint32_t r = 0; r < map->n_filter && peer->n_addresses > 0; r++) {
		const struct warren_filter_rule *rule = &map->filter[r];

		for (uint32_t i = 0; rule->n_dsts > 0 && i < rule->n_srcs; i++) {
			const struct warren_src *src = &rule->srcs[i];

			if (src->kind == WARREN_SRC_CAP && has_cap(peer, src->cap))
				return true;
		}
	}
	return false;
}

static bool is_discarded(const struct warren_netmap *map)
{
	for (uint32_t i = 0; i < map->n_peers; i++) {
		const struct warren_node *peer = map->peers[i];

		if (!peer->unsigned_peerapi_only)
			continue;
		if (is_source_by_cap(map, peer))
			return true;
		for (uint32_t k = 0; k < peer->n_addresses; k++) {
			if (is_source(map, &peer->addresses[k]))
				return true;
		}
		for (uint32_t k = 0; k < peer->n_allowed_ips; k++) {
			if (is_source(map, &peer->allowed_ips[k]))
				return true;
		}
	}
	return false;
}

/* The peer with the longest prefix has the address; of two that share it the jailed one. */
static bool is_jailed(const struct warren_netmap *map, const struct warren_addr *addr)
{
	int longest = -1;
	bool jailed = false;

	for (uint32_t i = 0; i < map->n_peers; i++) {
		const struct warren_node *peer = map->peers[i];

		for (uint32_t k = 0; k < peer->n_allowed_ips; k++) {
			const struct warren_prefix *prefix = &peer->allowed_ips[k];

			if (!addr_in_prefix(addr, prefix) || prefix->bits < longest)
				continue;
			jailed = peer->jailed || (jailed && prefix->bits == longest);
			longest = prefix->bits;
		}
	}
	return jailed;
}

/*
 * Looks behind the extension headers of IPv6. False: not a packet that can be judged. Fragments
 * are reported in the form of the IPv4 field.
 */
static bool skip_extensions(const uint8_t *d, size_t end, size_t *header, struct fields *f,
			    unsigned int *fragment)
{
	bool first = true, seen_fragment = false;

	for (int headers = 0; f->protocol == 0 || f->protocol == 43 || f->protocol == 44 ||
			      f->protocol == 60; headers++, first = false) {
		const uint8_t *at = d + *header;
		size_t size;

		if (headers == 8 || end - *header < 8 || (f->protocol == 0 && !first))
			return false;
		size = f->protocol == 44 ? 8 : 8 * (1 + (size_t)at[1]);
		if (end - *header < size || (f->protocol == 43 && at[3] != 0))
			return false;
		if (f->protocol == 44) {
			if (seen_fragment)
				return false;
			seen_fragment = true;
			*fragment = (unsigned int)(at[2] * 256 + at[3]) / 8 +
				    (at[3] & 1 ? 0x2000 : 0);
			if (*fragment & 0x2000 && *fragment % 8192 == 0 && end - *header < 88)
				return false;
		}
		f->protocol = at[0];
		*header += size;
		if (*fragment % 8192)
			return true;
	}
	return true;
}

static bool take_apart(const uint8_t *d, size_t len, struct fields *f)
{
	size_t header, total, need = 0;
	unsigned int fragment = 0;

	memset(f, 0, sizeof(*f));
	f->family = d[0] >> 4;
	if (f->family == 4) {
		header = (size_t)(d[0] & 15) * 4;
		total = (size_t)d[2] * 256 + d[3];
		fragment = (unsigned int)d[6] * 256 + d[7];
		f->protocol = d[9];
		memcpy(f->from.bytes, d + 12, 4);
		memcpy(f->to.bytes, d + 16, 4);
	} else if (f->family == 6 && len >= 40) {
		header = 40;
		total = (size_t)d[4] * 256 + d[5] + 40;
		f->protocol = d[6];
		memcpy(f->from.bytes, d + 8, 16);
		memcpy(f->to.bytes, d + 24, 16);
	} else {
		return false;
	}
	f->from.family = f->to.family = f->family;
	if (header < 20 || total < header || total > len)
		return false;
	if (f->family == 4 && fragment & 0x2000 && fragment % 8192 == 0 && total - header < 80)
		return false;
	if (f->family == 6 && !skip_extensions(d, total, &header, f, &fragment))
		return false;
	f->body = d + header;
	f->body_len = total - header;
	if (fragment % 8192) {
		f->later_fragment = true;
		return fragment % 8192 * 8 >= 80;
	}
	if (f->protocol == 0 || f->protocol == 255)
		return false;
	need = f->protocol == 6 ? 20 : f->protocol == 17 ? 8 : f->protocol == 132 ? 12 : 0;
	if ((f->protocol == 1 && f->family == 4) || (f->protocol == 58 && f->family == 6))
		need = 4;
	if (f->body_len < need)
		return false;
	if (need >= 8) {
		f->from_port = (uint16_t)(f->body[0] * 256 + f->body[1]);
		f->to_port = (uint16_t)(f->body[2] * 256 + f->body[3]);
	}
	return true;
}

static bool flow_known(const struct naive_flows *flows, const struct fields *f)
{
	for (uint32_t i = 0; i < flows->n; i++) {
		const struct naive_flow *flow = &flows->at[i];

		if (flow->protocol == f->protocol && flow->our_port == f->to_port &&
		    flow->their_port == f->from_port &&
		    !memcmp(&flow->ours, &f->to, sizeof(f->to)) &&
		    !memcmp(&flow->theirs, &f->from, sizeof(f->from)))
			return true;
	}
	return false;
}

/* Of the words of the standards: private, shared, loopback, link-local, multicast, reserved. */
static bool is_internet(const struct warren_addr *addr)
{
	const uint8_t *b = addr->bytes;

	if (addr->family == 6)
		return b[0] != 0 && (b[0] & 0xfe) != 0xfc && b[0] != 0xff &&
		       !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
	return b[0] != 0 && b[0] != 10 && b[0] != 127 && b[0] < 224 &&
	       !(b[0] == 100 && (b[1] & 0xc0) == 64) && !(b[0] == 169 && b[1] == 254) &&
	       !(b[0] == 172 && (b[1] & 0xf0) == 16) && !(b[0] == 192 && b[1] == 168);
}

/* In a network of the host, but not the host. */
static bool is_neighbour(const struct naive *naive, const struct warren_addr *addr)
{
	bool inside = false;

	for (uint32_t i = 0; i < naive->n_host; i++) {
		if (!memcmp(&naive->host[i].addr, addr, sizeof(*addr)))
			return false;
		inside = inside || addr_in_prefix(addr, &naive->host[i]);
	}
	return inside;
}

static bool accepts_in(struct naive *naive, const struct fields *f)
{
	const struct warren_node *self = naive->map->self;
	bool icmp = (f->family == 4 && f->protocol == 1) || (f->family == 6 && f->protocol == 58);
	bool jailed = is_jailed(naive->map, &f->from);
	bool local = (f->family == 4 ? self->exit_v4 : self->exit_v6) && is_internet(&f->to) &&
		     !is_neighbour(naive, &f->to);

	for (uint32_t i = 0; i < self->n_addresses; i++)
		local = local || addr_in_prefix(&f->to, &self->addresses[i]);
	for (uint32_t i = 0; i < self->n_allowed_ips; i++)
		local = local || addr_in_prefix(&f->to, &self->allowed_ips[i]);
	if (!local)
		return false;
	if (f->protocol == 99)
		return true;
	if (f->protocol == 6 && !((f->body[13] & 2) && !(f->body[13] & 16)))
		return true;
	if ((f->protocol == 17 || f->protocol == 132) &&
	    flow_known(jailed ? &naive->jailed_flows : &naive->flows, f))
		return true;
	if (icmp && f->body_len >= 8) {
		uint8_t type = f->body[0], code = f->body[1];

		if (f->family == 4 && ((type == 0 && code == 0) || type == 3 || type == 11 ||
				       type == 18))
			return true;
		if (f->family == 6 && ((type == 129 && code == 0) || (type >= 1 && type <= 4)))
			return true;
	}
	if (jailed || self->shields_up || is_discarded(naive->map))
		return false;
	for (uint32_t i = 0; i < naive->map->n_filter; i++) {
		if (rule_allows(naive->map, &naive->map->filter[i], f, icmp))
			return true;
	}
	return false;
}

static void flow_left(struct naive_flows *flows, const struct fields *f)
{
	const struct fields answer = { .protocol = f->protocol, .from = f->to, .to = f->from,
				       .from_port = f->to_port, .to_port = f->from_port };

	if (!flow_known(flows, &answer))
		flows->at[flows->n++] = (struct naive_flow){ f->protocol, f->from, f->to,
							     f->from_port, f->to_port };
}

bool naive_accepts(struct naive *naive, bool out, const uint8_t *data, size_t len)
{
	struct fields f;

	if (len == 0)
		return true;
	if (len < 20 || !take_apart(data, len, &f))
		return false;
	if (f.family == 4 ? f.to.bytes[0] >= 224 && f.to.bytes[0] <= 239 : f.to.bytes[0] == 0xff)
		return false;
	if (f.family == 4 && f.to.bytes[0] == 169 && f.to.bytes[1] == 254 &&
	    !(f.to.bytes[2] == 169 && f.to.bytes[3] == 254))
		return false;
	if (f.family == 6 && f.to.bytes[0] == 0xfe && (f.to.bytes[1] & 0xc0) == 0x80)
		return false;
	if (f.later_fragment)
		return true;
	if (!out)
		return accepts_in(naive, &f);
	if (f.protocol == 99)
		return false;
	if (f.protocol == 17 || f.protocol == 132)
		flow_left(is_jailed(naive->map, &f.to) ? &naive->jailed_flows : &naive->flows, &f);
	return true;
}
