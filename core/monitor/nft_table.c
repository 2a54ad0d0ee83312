/*
 * The own table: what comes out of the tunnel, where it may go, and what it looks like there.
 *
 * Its chains run before those of others and decide; the verdict travels as a mark, which others'
 * chains let pass by one rule of ours. A packet that is dropped here is gone, one that is not
 * marked here is left to the host's own rules. Drops have counters, for who looks with nft(8).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/util.h"
#include "monitor/nft.h"
#include "priv/check.h"

enum {
	/* Before raw, where others drop what is for a container's address. */
	PRIO_PREROUTING = -310,
	PRIO_FILTER = -190,		/* before mangle, after connections are tracked */
	PRIO_ANSWER = -150,		/* mangle: a change of the mark routes anew */
	PRIO_DNAT = -100, PRIO_SNAT = 100,
	PRIO_LEAK = 300,		/* after all address translation */

	CT_INVALID = 1 << 0, CT_ESTABLISHED = 1 << 1, CT_RELATED = 1 << 2,
	KEY_IPV4 = 7, KEY_IPV6 = 8,	/* how nft(8) numbers the types of a set's keys */
	FLAG_SYN = 2, FLAG_RST = 4, FLAG_ACK = 16, TCP_FLAGS = 13,
	SOURCE = 0, DESTINATION = 1,
};

static const char *const behind_set[2] = { "behind4", "behind6" };

/* Sources that a host may itself have networks of: its containers, its virtual machines. */
static const struct warren_prefix private_networks[] = {
	{ { 4, { 10 } }, 8 }, { { 4, { 172, 16 } }, 12 }, { { 4, { 192, 168 } }, 16 },
	{ { 6, { 0xfc } }, 7 },
};

/* What is no internet: neighbours, whoever they are. */
static const struct warren_prefix not_internet[] = {
	{ { 4, { 0 } }, 8 }, { { 4, { 10 } }, 8 }, { { 4, { 100, 64 } }, 10 },
	{ { 4, { 127 } }, 8 }, { { 4, { 169, 254 } }, 16 }, { { 4, { 172, 16 } }, 12 },
	{ { 4, { 192, 168 } }, 16 }, { { 4, { 224 } }, 3 },
	{ { 6, { 0xfc } }, 7 }, { { 6, { 0xfe, 0x80 } }, 10 }, { { 6, { 0xff } }, 8 },
};

struct build {
	struct nft_batch batch;
	const struct nft_want *want;
	char table[NFT_TABLE_NAME], ifname[WARREN_PRIV_IFNAME];
	uint32_t flags;
	bool behind[2];			/* there is such a set */
};

void nft_table_name(const char *ifname, char out[NFT_TABLE_NAME])
{
	bool usual = strcmp(ifname, "warren0") == 0;

	snprintf(out, NFT_TABLE_NAME, "warren%s%s", usual ? "" : "-", usual ? "" : ifname);
}

static void add_chain(struct build *b, const char *name, const char *type, uint32_t hook,
		      int32_t priority)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();

	if (chain) {
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TABLE, b->table);
		nftnl_chain_set_str(chain, NFTNL_CHAIN_NAME, name);
		nftnl_chain_set_str(chain, NFTNL_CHAIN_TYPE, type);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_HOOKNUM, hook);
		nftnl_chain_set_s32(chain, NFTNL_CHAIN_PRIO, priority);
		nftnl_chain_set_u32(chain, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	}
	nft_batch_chain(&b->batch, chain);
}

/*
 * ---- Parts of rules ----
 */

static struct nftnl_rule *begin(const struct build *b, const char *chain)
{
	return nft_rule_new(NFPROTO_INET, b->table, chain);
}

static void end(struct build *b, struct nftnl_rule *rule, int verdict)
{
	nft_verdict(&rule, verdict);
	nft_batch_rule(&b->batch, rule, true);
}

static void end_drop(struct build *b, struct nftnl_rule *rule)
{
	nft_counter(&rule);
	end(b, rule, NF_DROP);
}

static void end_approved(struct build *b, struct nftnl_rule *rule)
{
	nft_mark_set(&rule, b->want->marks.mark, b->want->marks.mask);
	end(b, rule, NF_ACCEPT);
}

static void match_name(struct nftnl_rule **rule, uint32_t key, uint32_t op, const char *ifname)
{
	char name[WARREN_PRIV_IFNAME] = "";

	snprintf(name, sizeof(name), "%s", ifname);
	nft_meta(rule, key);
	nft_cmp(rule, op, name, sizeof(name));
}

static void match_in(const struct build *b, struct nftnl_rule **rule)
{
	match_name(rule, NFT_META_IIFNAME, NFT_CMP_EQ, b->ifname);
}

static void match_out(const struct build *b, struct nftnl_rule **rule)
{
	match_name(rule, NFT_META_OIFNAME, NFT_CMP_EQ, b->ifname);
}

/* Neither from the tunnel nor from this host itself. */
static void match_outside(const struct build *b, struct nftnl_rule **rule)
{
	match_name(rule, NFT_META_IIFNAME, NFT_CMP_NEQ, b->ifname);
	match_name(rule, NFT_META_IIFNAME, NFT_CMP_NEQ, "lo");
}

static void match_ours(const struct build *b, struct nftnl_rule **rule, uint32_t op)
{
	nft_mark_is(rule, op, b->want->marks.mark, b->want->marks.mask);
}

static void match_family(struct nftnl_rule **rule, uint8_t family)
{
	nft_meta(rule, NFT_META_NFPROTO);
	nft_cmp_u8(rule, NFT_CMP_EQ, family == 6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
}

static void load_address(struct nftnl_rule **rule, uint8_t family, int which)
{
	match_family(rule, family);
	if (family == 6)
		nft_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, which == SOURCE ? 8 : 24, 16);
	else
		nft_payload(rule, NFT_PAYLOAD_NETWORK_HEADER, which == SOURCE ? 12 : 16, 4);
}

static void match_prefix(struct nftnl_rule **rule, int which, const struct warren_prefix *prefix)
{
	const uint32_t size = (uint32_t)addr_size(&prefix->addr);
	static const uint8_t none[16];
	uint8_t mask[16] = { 0 };

	for (uint32_t bit = 0; bit < prefix->bits && bit < 8 * size; bit++)
		mask[bit / 8] |= (uint8_t)(0x80u >> (bit % 8));
	load_address(rule, prefix->addr.family, which);
	if (prefix->bits < 8 * size)
		nft_bitwise(rule, mask, none, size);
	nft_cmp(rule, NFT_CMP_EQ, prefix->addr.bytes, size);
}

static void match_behind(struct nftnl_rule **rule, int which, int six)
{
	load_address(rule, six ? 6 : 4, which);
	nft_lookup(rule, behind_set[six]);
}

static void match_ct(struct nftnl_rule **rule, uint32_t key, uint32_t bits)
{
	const uint32_t none = 0;

	nft_ct(rule, key);
	nft_bitwise(rule, &bits, &none, sizeof(bits));
	nft_cmp_u32(rule, NFT_CMP_NEQ, 0);
}

static void match_direction(struct nftnl_rule **rule, uint8_t direction)
{
	nft_ct(rule, NFT_CT_DIRECTION);
	nft_cmp_u8(rule, NFT_CMP_EQ, direction);
}

/*
 * ---- The networks behind this node: one set per family ----
 */

struct interval {
	uint8_t first[16], next[16];	/* next: the first address after it */
	bool last;			/* it goes to the end of all addresses: no next */
};

static int by_first(const void *a, const void *b)
{
	return memcmp(((const struct interval *)a)->first, ((const struct interval *)b)->first,
		      sizeof(((const struct interval *)a)->first));
}

static struct interval interval_of(const struct warren_prefix *prefix)
{
	struct interval interval = { .last = true };
	size_t size = addr_size(&prefix->addr);

	memcpy(interval.first, prefix->addr.bytes, size);
	memcpy(interval.next, prefix->addr.bytes, size);
	/* One more in the last bit of the network, with its carry. */
	for (size_t bit = prefix->bits; bit-- > 0 && interval.last;) {
		uint8_t value = (uint8_t)(0x80u >> (bit % 8));

		interval.last = (interval.next[bit / 8] & value) != 0;
		interval.next[bit / 8] ^= value;
	}
	return interval;
}

/* Sorted, without overlaps and neighbours; returns how many are left. */
static size_t merge(struct interval *list, size_t n)
{
	size_t kept = 0;

	qsort(list, n, sizeof(*list), by_first);
	for (size_t i = 0; i < n; i++) {
		struct interval *before = kept > 0 ? &list[kept - 1] : NULL;

		if (!before || (!before->last &&
				memcmp(list[i].first, before->next, sizeof(before->next)) > 0)) {
			list[kept++] = list[i];
		} else if (!before->last &&
			   (list[i].last ||
			    memcmp(list[i].next, before->next, sizeof(before->next)) > 0)) {
			memcpy(before->next, list[i].next, sizeof(before->next));
			before->last = list[i].last;
		}
	}
	return kept;
}

static void add_element(struct nftnl_set *set, const uint8_t *key, uint32_t size, bool is_end)
{
	struct nftnl_set_elem *element = nftnl_set_elem_alloc();

	if (!element)
		return;
	nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key, size);
	if (is_end)
		nftnl_set_elem_set_u32(element, NFTNL_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
	nftnl_set_elem_add(set, element);
}

static void add_set(struct build *b, int six)
{
	const struct nft_want *want = b->want;
	struct interval *list = calloc(want->n_items, sizeof(*list));
	struct nftnl_set *set = nftnl_set_alloc();
	uint32_t size = six ? 16 : 4;
	size_t n = 0;

	for (size_t i = 0; list && i < want->n_items; i++) {
		const struct warren_priv_nft *item = &want->items[i];

		if (item->kind == WARREN_NFT_BEHIND && item->prefix.addr.family == (six ? 6 : 4))
			list[n++] = interval_of(&item->prefix);
	}
	b->behind[six] = n > 0;
	if (list && set && n > 0) {
		nftnl_set_set_str(set, NFTNL_SET_TABLE, b->table);
		nftnl_set_set_str(set, NFTNL_SET_NAME, behind_set[six]);
		nftnl_set_set_u32(set, NFTNL_SET_FAMILY, NFPROTO_INET);
		nftnl_set_set_u32(set, NFTNL_SET_FLAGS, NFT_SET_INTERVAL);
		nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, six ? KEY_IPV6 : KEY_IPV4);
		nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, size);
		nftnl_set_set_u32(set, NFTNL_SET_ID, (uint32_t)six + 1);
		n = merge(list, n);
		for (size_t i = 0; i < n; i++) {
			add_element(set, list[i].first, size, false);
			if (!list[i].last)
				add_element(set, list[i].next, size, true);
		}
		nft_batch_set(&b->batch, TAKE_PTR(set));
	}
	if (!list)
		b->batch.failed = true;
	if (set)
		nftnl_set_free(set);
	free(list);
}

/*
 * ---- The chains ----
 */

static void open_port(struct build *b, const struct nft_port *port)
{
	struct nftnl_rule *rule = begin(b, "prerouting");
	const uint16_t number = htons(port->port);

	nft_meta(&rule, NFT_META_L4PROTO);
	nft_cmp_u8(&rule, NFT_CMP_EQ, port->protocol);
	nft_payload(&rule, NFT_PAYLOAD_TRANSPORT_HEADER, 2, sizeof(number));
	nft_cmp(&rule, NFT_CMP_EQ, &number, sizeof(number));
	/* Else the same port of every host behind this one would be open too. */
	nft_fib(&rule, NFTA_FIB_F_DADDR, NFT_FIB_RESULT_ADDRTYPE);
	nft_cmp_u32(&rule, NFT_CMP_EQ, RTN_LOCAL);
	nft_mark_set(&rule, b->want->marks.mark, b->want->marks.mask);
	nft_batch_rule(&b->batch, rule, true);
}

static void add_prerouting(struct build *b)
{
	struct nftnl_rule *rule;

	add_chain(b, "prerouting", "filter", NF_INET_PRE_ROUTING, PRIO_PREROUTING);
	rule = begin(b, "prerouting");
	match_in(b, &rule);
	nft_mark_set(&rule, b->want->marks.mark, b->want->marks.mask);
	nft_batch_rule(&b->batch, rule, true);
	for (size_t i = 0; i < b->want->n_ports; i++)
		open_port(b, &b->want->ports[i]);
}

/* Nobody outside may talk to the inner address, nor be taken for a peer. */
static void add_input(struct build *b)
{
	struct nftnl_rule *rule;

	add_chain(b, "input", "filter", NF_INET_LOCAL_IN, PRIO_FILTER);
	for (size_t i = 0; i < b->want->n_items; i++) {
		const struct warren_priv_nft *item = &b->want->items[i];

		if (item->kind != WARREN_NFT_SELF && item->kind != WARREN_NFT_POOL)
			continue;
		rule = begin(b, "input");
		match_outside(b, &rule);
		if (item->kind == WARREN_NFT_SELF) {
			match_prefix(&rule, DESTINATION, &item->prefix);
		} else {
			/* Where the pool is shared with the uplink, by the route alone. */
			match_ours(b, &rule, NFT_CMP_NEQ);
			match_prefix(&rule, SOURCE, &item->prefix);
			nft_fib(&rule, NFTA_FIB_F_SADDR, NFT_FIB_RESULT_OIFNAME);
			nft_cmp(&rule, NFT_CMP_EQ, b->ifname, sizeof(b->ifname));
		}
		end_drop(b, rule);
	}
}

/* A TCP SYN in either direction gets no larger segments than the tunnel takes. */
static void clamp(struct build *b, uint32_t key)
{
	const uint8_t mask = FLAG_SYN | FLAG_RST, none = 0;
	struct nftnl_rule *rule = begin(b, "forward");

	match_name(&rule, key, NFT_CMP_EQ, b->ifname);
	nft_meta(&rule, NFT_META_L4PROTO);
	nft_cmp_u8(&rule, NFT_CMP_EQ, IPPROTO_TCP);
	nft_payload(&rule, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS, 1);
	nft_bitwise(&rule, &mask, &none, 1);
	nft_cmp_u8(&rule, NFT_CMP_EQ, FLAG_SYN);
	nft_mss_from_route(&rule);
	nft_batch_rule(&b->batch, rule, true);
}

/* To all of the internet, as a guest. */
static void forward_to_internet(struct build *b, uint8_t family)
{
	struct nftnl_rule *rule;

	for (size_t i = 0; i < ARRAY_SIZE(not_internet); i++) {
		if (not_internet[i].addr.family != family)
			continue;
		rule = begin(b, "forward");
		match_in(b, &rule);
		match_prefix(&rule, DESTINATION, &not_internet[i]);
		end_drop(b, rule);
	}
	rule = begin(b, "forward");
	match_in(b, &rule);
	match_family(&rule, family);
	end(b, rule, NF_ACCEPT);
}

static void forward_out_of_tunnel(struct build *b)
{
	struct nftnl_rule *rule;

	for (int six = 0; six < 2; six++) {
		if (!b->behind[six])
			continue;
		rule = begin(b, "forward");
		match_in(b, &rule);
		match_behind(&rule, DESTINATION, six);
		end(b, rule, NF_ACCEPT);
	}
	/* The host itself leads it on: a port that it forwards to a container. */
	rule = begin(b, "forward");
	match_in(b, &rule);
	match_ct(&rule, NFT_CT_STATUS, IPS_DST_NAT);
	end(b, rule, NF_ACCEPT);
	/* Answers to what was let into the tunnel below. */
	rule = begin(b, "forward");
	match_in(b, &rule);
	match_direction(&rule, IP_CT_DIR_REPLY);
	end(b, rule, NF_ACCEPT);
	if (b->flags & WARREN_NFT_EXIT4)
		forward_to_internet(b, 4);
	if (b->flags & WARREN_NFT_EXIT6)
		forward_to_internet(b, 6);
	rule = begin(b, "forward");
	match_in(b, &rule);
	end_drop(b, rule);
}

/* Hosts that peers know by other addresses begin conversations, as others behind this node. */
static void forward_mapped(struct build *b)
{
	struct nftnl_rule *rule;

	for (size_t i = 0; i < b->want->n_items && !(b->flags & WARREN_NFT_STATEFUL); i++) {
		if (b->want->items[i].kind != WARREN_NFT_MAPPED)
			continue;
		rule = begin(b, "forward");
		match_out(b, &rule);
		match_prefix(&rule, SOURCE, &b->want->items[i].local);
		end_approved(b, rule);
	}
}

static void forward_into_tunnel(struct build *b)
{
	struct nftnl_rule *rule = begin(b, "forward");

	match_out(b, &rule);
	match_ct(&rule, NFT_CT_STATE, CT_ESTABLISHED | CT_RELATED);
	end_approved(b, rule);
	for (int six = 0; six < 2 && !(b->flags & WARREN_NFT_STATEFUL); six++) {
		if (!b->behind[six])
			continue;
		rule = begin(b, "forward");
		match_out(b, &rule);
		match_behind(&rule, SOURCE, six);
		nft_fib(&rule, NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_PRESENT,
			NFT_FIB_RESULT_OIF);
		nft_cmp_u32(&rule, NFT_CMP_EQ, 0);	/* there is none */
		end_drop(b, rule);
		rule = begin(b, "forward");
		match_out(b, &rule);
		match_behind(&rule, SOURCE, six);
		end_approved(b, rule);
	}
	forward_mapped(b);
	/*
	 * Containers of this host, and ports of its own that it leads to a peer: not approved, so
	 * the host's own rules decide. Anything else would be the Internet, or a neighbour.
	 */
	for (size_t i = 0; i < ARRAY_SIZE(private_networks) && !(b->flags & WARREN_NFT_STATEFUL);
	     i++) {
		rule = begin(b, "forward");
		match_out(b, &rule);
		match_prefix(&rule, SOURCE, &private_networks[i]);
		end(b, rule, NF_ACCEPT);
	}
	rule = begin(b, "forward");
	match_out(b, &rule);
	match_ct(&rule, NFT_CT_STATUS, IPS_DST_NAT);
	end(b, rule, NF_ACCEPT);
	rule = begin(b, "forward");
	match_out(b, &rule);
	end_drop(b, rule);
}

static void add_forward(struct build *b)
{
	struct nftnl_rule *rule;

	add_chain(b, "forward", "filter", NF_INET_FORWARD, PRIO_FILTER);
	/* It has no connection, so it would not be masqueraded: it must come first. */
	rule = begin(b, "forward");
	match_in(b, &rule);
	match_ct(&rule, NFT_CT_STATE, CT_INVALID);
	end_drop(b, rule);
	/* An open port of this host that the host leads elsewhere is not what was opened. */
	rule = begin(b, "forward");
	match_name(&rule, NFT_META_IIFNAME, NFT_CMP_NEQ, b->ifname);
	match_ours(b, &rule, NFT_CMP_EQ);
	nft_mark_set(&rule, 0, b->want->marks.mask);
	nft_batch_rule(&b->batch, rule, true);
	clamp(b, NFT_META_IIFNAME);
	clamp(b, NFT_META_OIFNAME);
	forward_out_of_tunnel(b);
	forward_into_tunnel(b);
}

/*
 * ---- Networks that peers know by other addresses ----
 */

static bool any_mapped(const struct build *b)
{
	for (size_t i = 0; i < b->want->n_items; i++) {
		if (b->want->items[i].kind == WARREN_NFT_MAPPED)
			return true;
	}
	return false;
}

static void map_network(struct nftnl_rule **rule, bool dst, const struct warren_prefix *to)
{
	const uint32_t bits = to->addr.family == 6 ? 128 : 32;
	uint8_t last[16];

	memcpy(last, to->addr.bytes, sizeof(last));
	for (uint32_t bit = to->bits; bit < bits; bit++)
		last[bit / 8] |= (uint8_t)(0x80u >> (bit % 8));
	nft_map_network(rule, dst, to->addr.family, to->addr.bytes, last);
}

static void add_mapped(struct build *b)
{
	struct nftnl_rule *rule;

	if (!any_mapped(b))
		return;
	add_chain(b, "mapped", "nat", NF_INET_PRE_ROUTING, PRIO_DNAT);
	add_chain(b, "mapping", "nat", NF_INET_POST_ROUTING, PRIO_SNAT - 1);
	for (size_t i = 0; i < b->want->n_items; i++) {
		const struct warren_priv_nft *item = &b->want->items[i];

		if (item->kind != WARREN_NFT_MAPPED)
			continue;
		rule = begin(b, "mapped");
		match_in(b, &rule);
		match_prefix(&rule, DESTINATION, &item->prefix);
		map_network(&rule, true, &item->local);
		nft_batch_rule(&b->batch, rule, true);
		rule = begin(b, "mapping");
		match_out(b, &rule);
		match_prefix(&rule, SOURCE, &item->local);
		map_network(&rule, false, &item->prefix);
		nft_batch_rule(&b->batch, rule, true);
	}
}

/* What leaves for somewhere else than a peer, and was approved as coming from one. */
static struct nftnl_rule *begin_leaving(const struct build *b, const char *chain)
{
	struct nftnl_rule *rule = begin(b, chain);

	match_name(&rule, NFT_META_OIFNAME, NFT_CMP_NEQ, b->ifname);
	match_ours(b, &rule, NFT_CMP_EQ);
	return rule;
}

static void leave_unhidden(struct build *b, const char *chain)
{
	struct nftnl_rule *rule;

	for (int six = 0; six < 2; six++) {
		if (!b->behind[six])
			continue;
		rule = begin_leaving(b, chain);
		match_behind(&rule, DESTINATION, six);
		end(b, rule, NF_ACCEPT);
	}
	rule = begin_leaving(b, chain);
	match_ct(&rule, NFT_CT_STATUS, IPS_DST_NAT);
	end(b, rule, NF_ACCEPT);
}

/*
 * What the host's own rules let into the tunnel must have this node's address by now: a peer takes
 * any source from a node that is its way to the internet.
 */
static void guard_entrance(struct build *b)
{
	struct nftnl_rule *rule;

	for (size_t i = 0; i < b->want->n_items; i++) {
		if (b->want->items[i].kind != WARREN_NFT_SELF)
			continue;
		rule = begin(b, "leak");
		match_out(b, &rule);
		match_prefix(&rule, SOURCE, &b->want->items[i].prefix);
		end(b, rule, NF_ACCEPT);
	}
	for (int six = 0; six < 2; six++) {
		if (!b->behind[six])
			continue;
		rule = begin(b, "leak");
		match_out(b, &rule);
		match_behind(&rule, SOURCE, six);
		end(b, rule, NF_ACCEPT);
	}
	for (size_t i = 0; i < ARRAY_SIZE(private_networks); i++) {
		rule = begin(b, "leak");
		match_out(b, &rule);
		match_ours(b, &rule, NFT_CMP_NEQ);
		match_direction(&rule, IP_CT_DIR_ORIGINAL);
		match_prefix(&rule, SOURCE, &private_networks[i]);
		end_drop(b, rule);
	}
}

static void add_postrouting(struct build *b)
{
	bool hide = b->flags & WARREN_NFT_SNAT;
	struct nftnl_rule *rule;

	if (hide || b->flags & (WARREN_NFT_EXIT4 | WARREN_NFT_EXIT6)) {
		add_chain(b, "postrouting", "nat", NF_INET_POST_ROUTING, PRIO_SNAT);
		if (!hide)
			leave_unhidden(b, "postrouting");
		rule = begin_leaving(b, "postrouting");
		nft_masquerade(&rule);
		nft_batch_rule(&b->batch, rule, true);
	}
	/*
	 * A flow that began while no table stood keeps its inner source address for as long as it
	 * lives: it would leave with it. Answers to flows that began outside rightly have it.
	 */
	add_chain(b, "leak", "filter", NF_INET_POST_ROUTING, PRIO_LEAK);
	guard_entrance(b);
	if (!hide)
		leave_unhidden(b, "leak");
	for (size_t i = 0; i < b->want->n_items; i++) {
		const struct warren_priv_nft *item = &b->want->items[i];

		if (item->kind != WARREN_NFT_POOL)
			continue;
		rule = begin_leaving(b, "leak");
		match_direction(&rule, IP_CT_DIR_ORIGINAL);
		match_prefix(&rule, SOURCE, &item->prefix);
		end_drop(b, rule);
	}
}

/*
 * ---- Answers ----
 */

static void restore(struct build *b, const char *chain, bool outside)
{
	struct nftnl_rule *rule = begin(b, chain);

	if (outside)
		match_name(&rule, NFT_META_IIFNAME, NFT_CMP_NEQ, b->ifname);
	match_direction(&rule, IP_CT_DIR_REPLY);
	nft_ct(&rule, NFT_CT_MARK);
	nft_bitwise(&rule, &b->want->marks.mask, &(uint32_t){ 0 }, sizeof(uint32_t));
	nft_cmp_u32(&rule, NFT_CMP_EQ, b->want->bypass);
	nft_mark_set(&rule, b->want->bypass, b->want->marks.mask);
	nft_batch_rule(&b->batch, rule, true);
}

static struct nftnl_rule *begin_came(const struct build *b, uint8_t protocol)
{
	struct nftnl_rule *rule = begin(b, "came");

	match_outside(b, &rule);
	match_direction(&rule, IP_CT_DIR_ORIGINAL);
	nft_meta(&rule, NFT_META_L4PROTO);
	nft_cmp_u8(&rule, NFT_CMP_EQ, protocol);
	return rule;
}

static void end_came(struct build *b, struct nftnl_rule *rule)
{
	nft_ct_mark_set(&rule, b->want->bypass, b->want->marks.mask);
	nft_batch_rule(&b->batch, rule, true);
}

/* To a port that this host gives nobody who calls from here: it is a service's. */
static void came_to_service(struct build *b, uint8_t protocol)
{
	struct nftnl_rule *rule = begin_came(b, protocol);
	const uint16_t first = htons(b->want->own_first), last = htons(b->want->own_last);

	nft_payload(&rule, NFT_PAYLOAD_TRANSPORT_HEADER, 2, sizeof(first));
	nft_not_within(&rule, &first, &last, sizeof(first));
	end_came(b, rule);
}

/*
 * Of a conversation that is older than our rules, the first packet that is seen may be an answer.
 * If it were taken for a call, what this host has begun would stay outside of the tunnel.
 */
static void add_came(struct build *b)
{
	const uint8_t mask = FLAG_SYN | FLAG_ACK, none = 0;
	struct nftnl_rule *rule = begin_came(b, IPPROTO_TCP);

	nft_payload(&rule, NFT_PAYLOAD_TRANSPORT_HEADER, TCP_FLAGS, 1);
	nft_bitwise(&rule, &mask, &none, 1);
	nft_cmp_u8(&rule, NFT_CMP_EQ, FLAG_SYN);
	end_came(b, rule);
	came_to_service(b, IPPROTO_TCP);
	came_to_service(b, IPPROTO_UDP);
	end_came(b, begin_came(b, IPPROTO_ICMP));
	end_came(b, begin_came(b, IPPROTO_ICMPV6));
}

/*
 * Whoever came in from elsewhere than a peer is answered where he came from, by the host's own
 * routes: the mark that keeps our encrypted packets on them is kept with the connection.
 */
static void add_answers(struct build *b)
{
	add_chain(b, "came", "filter", NF_INET_PRE_ROUTING, PRIO_ANSWER);
	add_came(b);
	restore(b, "came", true);
	add_chain(b, "answers", "route", NF_INET_LOCAL_OUT, PRIO_ANSWER);
	restore(b, "answers", false);
}

/*
 * ---- Whole ----
 */

int nft_table_apply(struct nft *nft, const struct nft_want *want, bool replace,
		    struct warren_err *err)
{
	struct build b = { .want = want, .flags = want->items[0].flags };
	int result;

	snprintf(b.ifname, sizeof(b.ifname), "%s", want->items[0].ifname);
	nft_table_name(b.ifname, b.table);
	nft_batch_begin(&b.batch, nft, 0);
	if (replace)
		nft_batch_table(&b.batch, b.table, false);
	nft_batch_table(&b.batch, b.table, true);
	add_set(&b, 0);
	add_set(&b, 1);
	add_prerouting(&b);
	add_input(&b);
	add_forward(&b);
	add_postrouting(&b);
	add_mapped(&b);
	if (b.flags & WARREN_NFT_ANSWER)
		add_answers(&b);
	result = nft_batch_commit(&b.batch);
	if (result == -EEXIST)
		return wpriv_refuse(err, result, "there is a table inet %s already that another "
				    "process owns: does a second daemon use interface %s?",
				    b.table, b.ifname);
	if (result)
		return wpriv_refuse(err, result, "the kernel refused the table inet %s: %s%s",
				    b.table, strerror(-result),
				    result == -EOPNOTSUPP || result == -EPROTONOSUPPORT ?
				    ": it needs nf_tables with flags owner, Linux 5.12 or newer" :
				    "");
	return 0;
}

int nft_table_remove(struct nft *nft, const char *ifname)
{
	char name[NFT_TABLE_NAME];
	struct nft_batch batch;

	nft_table_name(ifname, name);
	nft_batch_begin(&batch, nft, 0);
	nft_batch_table(&batch, name, false);
	return nft_batch_commit(&batch);
}
