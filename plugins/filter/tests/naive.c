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

static bool src_matches(const struct warren_src *src, const struct warren_addr *addr)
{
	return src->kind == WARREN_SRC_ANY ||
	       (src->kind == WARREN_SRC_PREFIX && addr_in_prefix(addr, &src->prefix)) ||
	       (src->kind == WARREN_SRC_RANGE && addr_within(addr, &src->first, &src->last));
}

static bool dst_matches(const struct warren_dst *dst, const struct warren_addr *addr)
{
	return dst->kind == WARREN_SRC_ANY ||
	       (dst->kind == WARREN_SRC_PREFIX && addr_in_prefix(addr, &dst->prefix)) ||
	       (dst->kind == WARREN_SRC_RANGE && addr_within(addr, &dst->first, &dst->last));
}

static bool rule_lists(const struct warren_filter_rule *rule, uint8_t protocol)
{
	if (rule->n_protocols == 0)
		return protocol == 6 || protocol == 17 || protocol == 1 || protocol == 58;
	return memchr(rule->protocols, protocol, rule->n_protocols) != NULL;
}

static bool rule_allows(const struct warren_filter_rule *rule, const struct fields *f, bool icmp)
{
	bool source = false;

	for (uint32_t i = 0; i < rule->n_srcs; i++)
		source = source || src_matches(&rule->srcs[i], &f->from);
	for (uint32_t i = 0; source && i < rule->n_dsts; i++) {
		const struct warren_dst *dst = &rule->dsts[i];
		bool ported = f->protocol == 6 || f->protocol == 17 || f->protocol == 132;

		if (!dst_matches(dst, &f->to))
			continue;
		if (icmp)
			return true;
		if (!rule_lists(rule, f->protocol))
			continue;
		if (ported ? f->to_port >= dst->port_first && f->to_port <= dst->port_last
			   : dst->port_first == 0 && dst->port_last == 65535)
			return true;
	}
	return false;
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
	f->body = d + header;
	f->body_len = total - header;
	if (fragment % 8192) {
		f->later_fragment = true;
		return fragment % 8192 * 8 >= 80;
	}
	if (fragment & 0x2000 && f->body_len < 80)
		return false;
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

static bool flow_known(const struct naive *naive, const struct fields *f)
{
	for (uint32_t i = 0; i < naive->n_flows; i++) {
		const struct naive_flow *flow = &naive->flows[i];

		if (flow->protocol == f->protocol && flow->our_port == f->to_port &&
		    flow->their_port == f->from_port &&
		    !memcmp(&flow->ours, &f->to, sizeof(f->to)) &&
		    !memcmp(&flow->theirs, &f->from, sizeof(f->from)))
			return true;
	}
	return false;
}

static bool accepts_in(struct naive *naive, const struct fields *f)
{
	const struct warren_node *self = naive->map->self;
	bool icmp = (f->family == 4 && f->protocol == 1) || (f->family == 6 && f->protocol == 58);
	bool local = false;

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
	if ((f->protocol == 17 || f->protocol == 132) && flow_known(naive, f))
		return true;
	if (icmp && f->body_len >= 8) {
		uint8_t type = f->body[0], code = f->body[1];

		if (f->family == 4 && ((type == 0 && code == 0) || type == 3 || type == 11 ||
				       type == 18))
			return true;
		if (f->family == 6 && ((type == 129 && code == 0) || (type >= 1 && type <= 4)))
			return true;
	}
	for (uint32_t i = 0; i < naive->map->n_filter; i++) {
		if (rule_allows(&naive->map->filter[i], f, icmp))
			return true;
	}
	return false;
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
	if ((f.protocol == 17 || f.protocol == 132) && !flow_known(naive, &(struct fields){
		.protocol = f.protocol, .from = f.to, .to = f.from, .from_port = f.to_port,
		.to_port = f.from_port }))
		naive->flows[naive->n_flows++] = (struct naive_flow){
			f.protocol, f.from, f.to, f.from_port, f.to_port };
	return true;
}
