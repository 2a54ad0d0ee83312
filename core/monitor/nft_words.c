/*
 * A rule of somebody else in words close to nft(8)'s, for the operator who has to find it.
 *
 * The common matches are spelled out; of the rest at least the kind is named. The handle leads to
 * the exact rule: nft -a list chain.
 */
#include "monitor/nft_words.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"

enum what { NOTHING, NUMBER, TEXT, ADDRESS, PORT, PROTOCOL, STATE };

struct words {
	struct str *out;
	const char *left;		/* what was loaded last; NULL: nothing that has a word */
	enum what what;
	uint8_t mask[16];
	uint32_t mask_len;
};

static void word(struct words *w, const char *text)
{
	str_addf(w->out, "%s%s", w->out->len > 0 ? " " : "", text);
}

static void loaded(struct words *w, const char *left, enum what what)
{
	w->left = left;
	w->what = what;
	w->mask_len = 0;
}

static void load_meta(struct words *w, uint32_t key)
{
	switch (key) {
	case NFT_META_IIFNAME:
		loaded(w, "iifname", TEXT);
		break;
	case NFT_META_OIFNAME:
		loaded(w, "oifname", TEXT);
		break;
	case NFT_META_L4PROTO:
		loaded(w, "meta l4proto", PROTOCOL);
		break;
	case NFT_META_NFPROTO:
		loaded(w, NULL, NOTHING);
		break;
	case NFT_META_MARK:
		loaded(w, "meta mark", NUMBER);
		break;
	default:
		loaded(w, "meta", NUMBER);
		break;
	}
}

static void load_payload(struct words *w, const struct nftnl_expr *expr)
{
	static const struct {
		uint32_t base, offset, len;
		const char *left;
		enum what what;
	} known[] = {
		{ NFT_PAYLOAD_NETWORK_HEADER, 12, 4, "ip saddr", ADDRESS },
		{ NFT_PAYLOAD_NETWORK_HEADER, 16, 4, "ip daddr", ADDRESS },
		{ NFT_PAYLOAD_NETWORK_HEADER, 8, 16, "ip6 saddr", ADDRESS },
		{ NFT_PAYLOAD_NETWORK_HEADER, 24, 16, "ip6 daddr", ADDRESS },
		{ NFT_PAYLOAD_NETWORK_HEADER, 9, 1, "ip protocol", PROTOCOL },
		{ NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, "sport", PORT },
		{ NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, "dport", PORT },
	};

	loaded(w, "payload", NUMBER);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (known[i].base == nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_BASE) &&
		    known[i].offset == nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET) &&
		    known[i].len == nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_LEN))
			loaded(w, known[i].left, known[i].what);
	}
}

static void keep_mask(struct words *w, const struct nftnl_expr *expr)
{
	uint32_t len = 0;
	const void *mask = nftnl_expr_get(expr, NFTNL_EXPR_BITWISE_MASK, &len);

	w->mask_len = mask && len <= sizeof(w->mask) ? len : 0;
	if (w->mask_len > 0)
		memcpy(w->mask, mask, w->mask_len);
}

static uint32_t number_of(const uint8_t *data, uint32_t len)
{
	uint32_t value = 0;

	memcpy(&value, data, len < sizeof(value) ? len : sizeof(value));
	return value;
}

static void add_states(struct words *w, uint32_t bits)
{
	static const char *const names[] = { "invalid", "established", "related", "new" };
	const char *comma = " ";

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (bits & (1u << i)) {
			str_addf(w->out, "%s%s", comma, names[i]);
			comma = ",";
		}
	}
}

static void add_value(struct words *w, const uint8_t *data, uint32_t len)
{
	char text[INET6_ADDRSTRLEN] = "";
	uint32_t value = number_of(data, len), bits = 0;

	switch (w->what) {
	case TEXT:
		str_addc(w->out, ' ');
		str_add_clean(w->out, (const char *)data, strnlen((const char *)data, len), len);
		return;
	case ADDRESS:
		inet_ntop(len == 16 ? AF_INET6 : AF_INET, data, text, sizeof(text));
		str_addf(w->out, " %s", text);
		for (uint32_t i = 0; i < w->mask_len; i++)
			bits += (uint32_t)__builtin_popcount(w->mask[i]);
		if (w->mask_len > 0)
			str_addf(w->out, "/%u", bits);
		return;
	case PORT:
		str_addf(w->out, " %u", ntohs((uint16_t)value));
		return;
	case PROTOCOL:
		str_addf(w->out, value == IPPROTO_TCP ? " tcp" : value == IPPROTO_UDP ? " udp" :
			 value == IPPROTO_ICMP ? " icmp" : value == IPPROTO_ICMPV6 ? " icmpv6" :
			 " %u", value);
		return;
	case STATE:
		add_states(w, w->mask_len == 4 ? number_of(w->mask, 4) : value);
		return;
	case NUMBER:
	case NOTHING:
		str_addf(w->out, " 0x%x", value);
		return;
	}
}

static void compare(struct words *w, const struct nftnl_expr *expr)
{
	uint32_t len = 0;
	const uint8_t *data = nftnl_expr_get(expr, NFTNL_EXPR_CMP_DATA, &len);
	bool not = nftnl_expr_get_u32(expr, NFTNL_EXPR_CMP_OP) == NFT_CMP_NEQ;

	if (!w->left || !data || len > 16)
		return;
	word(w, w->left);
	/* "ct state & bits != 0" is how the kernel has "ct state bits". */
	if (not && w->what != STATE)
		str_add(w->out, " !=");
	add_value(w, data, len);
}

static void verdict(struct words *w, const struct nftnl_expr *expr)
{
	uint32_t value = nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_VERDICT);
	const char *chain = nftnl_expr_get_str(expr, NFTNL_EXPR_IMM_CHAIN);

	switch ((int)value) {
	case NF_DROP:
		word(w, "drop");
		break;
	case NF_ACCEPT:
		word(w, "accept");
		break;
	case NFT_RETURN:
		word(w, "return");
		break;
	case NFT_JUMP:
	case NFT_GOTO:
		word(w, (int)value == NFT_JUMP ? "jump " : "goto ");
		str_add_clean(w->out, chain ? chain : "?", chain ? strlen(chain) : 1, 64);
		break;
	default:
		word(w, "verdict");
		break;
	}
}

static void add_named(struct words *w, const char *before, const char *name)
{
	word(w, before);
	str_add_clean(w->out, name ? name : "?", name ? strlen(name) : 1, 32);
}

static int add_expr(struct nftnl_expr *expr, void *arg)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct words *w = arg;

	if (str_equal(name, "meta"))
		load_meta(w, nftnl_expr_get_u32(expr, NFTNL_EXPR_META_KEY));
	else if (str_equal(name, "payload"))
		load_payload(w, expr);
	else if (str_equal(name, "ct"))
		loaded(w, "ct state", nftnl_expr_get_u32(expr, NFTNL_EXPR_CT_KEY) == NFT_CT_STATE ?
		       STATE : NUMBER);
	else if (str_equal(name, "bitwise"))
		keep_mask(w, expr);
	else if (str_equal(name, "cmp"))
		compare(w, expr);
	else if (str_equal(name, "immediate") &&
		 nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_DREG) == NFT_REG_VERDICT)
		verdict(w, expr);
	else if (str_equal(name, "match"))
		add_named(w, "-m ", nftnl_expr_get_str(expr, NFTNL_EXPR_MT_NAME));
	else if (str_equal(name, "target"))
		add_named(w, "-j ", nftnl_expr_get_str(expr, NFTNL_EXPR_TG_NAME));
	else if (!str_equal(name, "counter"))
		add_named(w, "", name);
	return 0;
}

void nft_rule_words(struct nftnl_rule *rule, struct str *out)
{
	struct words w = { .out = out };

	nftnl_expr_foreach(rule, add_expr, &w);
}
