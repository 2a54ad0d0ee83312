/*
 * nftables by netlink: sockets, batches and the building blocks of rules.
 *
 * The kernel works a batch off while it is being sent, so when sendto() has returned, all errors
 * wait in the socket and nothing has to be waited for. Messages ask for no acknowledgement: what
 * does not complain was done.
 */
#include "monitor/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "priv/check.h"

enum {
	BATCH_MAX = 512 << 10,
	MESSAGE_MAX = 96 << 10,		/* the longest: a set of WARREN_NFT_ITEMS networks */
	SOCKET_BUFFER = 1 << 20,
	BATCH_GENID = 1,		/* NFNL_BATCH_GENID */
};

/*
 * ---- Sockets ----
 */

static struct mnl_socket *open_socket(void)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	const int size = SOCKET_BUFFER, on = 1;

	if (!socket)
		return NULL;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == -1) {
		mnl_socket_close(socket);
		return NULL;
	}
	/* A large batch must fit. Refused in a container, where the default has to do. */
	(void)setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_SNDBUFFORCE, &size,
			 sizeof(size));
	(void)mnl_socket_setsockopt(socket, NETLINK_CAP_ACK, (void *)&on, sizeof(on));
	return socket;
}

int nft_open(struct nft *nft, struct warren_err *err)
{
	if (nft->owner)
		return 0;
	nft->owner = open_socket();
	nft->reader = nft->owner ? open_socket() : NULL;
	if (!nft->reader) {
		int result = -errno;

		nft_close(nft);
		return wpriv_refuse(err, result, "cannot talk to nftables: %s", strerror(-result));
	}
	nft->port = mnl_socket_get_portid(nft->owner);
	return 0;
}

void nft_close(struct nft *nft)
{
	if (nft->owner)
		mnl_socket_close(nft->owner);
	if (nft->reader)
		mnl_socket_close(nft->reader);
	nft->owner = nft->reader = NULL;
}

int nft_owner_fd(const struct nft *nft)
{
	return mnl_socket_get_fd(nft->owner);
}

/*
 * ---- Batches ----
 */

/* Room for one message, or NULL. */
static char *room(struct nft_batch *batch)
{
	if (batch->failed || batch->len + MESSAGE_MAX > BATCH_MAX) {
		batch->failed = true;
		return NULL;
	}
	return batch->buf + batch->len;
}

static void done(struct nft_batch *batch, const struct nlmsghdr *nlh)
{
	batch->len += (nlh->nlmsg_len + 3u) & ~3u;
}

void nft_batch_begin(struct nft_batch *batch, struct nft *nft, uint32_t generation)
{
	struct nlmsghdr *nlh;
	char *at;

	*batch = (struct nft_batch){ .nft = nft, .buf = malloc(BATCH_MAX) };
	batch->failed = !batch->buf;
	at = room(batch);
	if (!at)
		return;
	nlh = nftnl_batch_begin(at, nft->seq++);
	if (generation != 0)
		mnl_attr_put_u32(nlh, BATCH_GENID, htonl(generation));
	done(batch, nlh);
}

/* The first error that waits in the socket. */
static int first_error(struct mnl_socket *socket)
{
	char buf[16384];
	int result = 0;

	for (;;) {
		ssize_t n = recv(mnl_socket_get_fd(socket), buf, sizeof(buf), MSG_DONTWAIT);
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf;
		int len = (int)n;

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno == ENOBUFS) {
			result = result ? result : -ENOBUFS;
			continue;
		}
		if (n <= 0)
			return result;
		for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
			const struct nlmsgerr *error = mnl_nlmsg_get_payload(nlh);

			if (nlh->nlmsg_type == NLMSG_ERROR && error->error != 0 && result == 0)
				result = error->error;
		}
	}
}

/*
 * The engine has a copy of the socket, and could take an error out of it before we do: that all
 * went well is believed only if the rules are others than before.
 */
static int commit(struct nft *nft, const char *buf, size_t len)
{
	uint32_t before = 0, after = 0;
	int result = nft_generation(nft, &before);

	if (result)
		return result;
	/* What an earlier request left behind is not about this one. */
	(void)first_error(nft->owner);
	if (mnl_socket_sendto(nft->owner, buf, len) == -1)
		return -errno;
	result = first_error(nft->owner);
	if (!result)
		result = nft_generation(nft, &after);
	return result ? result : after == before ? -EIO : 0;
}

int nft_batch_commit(struct nft_batch *batch)
{
	struct nft *nft = batch->nft;
	char *at = room(batch);
	int result = at ? 0 : -ENOMEM;

	if (at) {
		done(batch, nftnl_batch_end(at, nft->seq++));
		result = commit(nft, batch->buf, batch->len);
	}
	free(batch->buf);
	batch->buf = NULL;
	return result;
}

void nft_batch_table(struct nft_batch *batch, const char *name, bool add)
{
	struct nftnl_table *table = nftnl_table_alloc();
	char *at = room(batch);
	struct nlmsghdr *nlh;

	if (!at || !table) {
		batch->failed = true;
		nftnl_table_free(table);
		return;
	}
	nlh = nftnl_nlmsg_build_hdr(at, add ? NFT_MSG_NEWTABLE : NFT_MSG_DELTABLE, NFPROTO_INET,
				    add ? NLM_F_CREATE | NLM_F_EXCL : 0, batch->nft->seq++);
	nftnl_table_set_str(table, NFTNL_TABLE_NAME, name);
	if (add)
		nftnl_table_set_u32(table, NFTNL_TABLE_FLAGS, NFT_TABLE_F_OWNER);
	nftnl_table_nlmsg_build_payload(nlh, table);
	nftnl_table_free(table);
	done(batch, nlh);
}

void nft_batch_chain(struct nft_batch *batch, struct nftnl_chain *chain)
{
	char *at = room(batch);
	struct nlmsghdr *nlh;

	if (!at || !chain) {
		batch->failed = true;
	} else {
		nlh = nftnl_nlmsg_build_hdr(at, NFT_MSG_NEWCHAIN, NFPROTO_INET, NLM_F_CREATE,
					    batch->nft->seq++);
		nftnl_chain_nlmsg_build_payload(nlh, chain);
		done(batch, nlh);
	}
	if (chain)
		nftnl_chain_free(chain);
}

static void put_rule(struct nft_batch *batch, struct nftnl_rule *rule, uint16_t type,
		     uint16_t flags)
{
	char *at = room(batch);
	struct nlmsghdr *nlh;

	if (!at || !rule) {
		batch->failed = true;
	} else {
		nlh = nftnl_nlmsg_build_hdr(at, type,
					    (uint16_t)nftnl_rule_get_u32(rule, NFTNL_RULE_FAMILY),
					    flags, batch->nft->seq++);
		nftnl_rule_nlmsg_build_payload(nlh, rule);
		done(batch, nlh);
	}
	if (rule)
		nftnl_rule_free(rule);
}

void nft_batch_rule(struct nft_batch *batch, struct nftnl_rule *rule, bool append)
{
	put_rule(batch, rule, NFT_MSG_NEWRULE, NLM_F_CREATE | (append ? NLM_F_APPEND : 0));
}

void nft_batch_rule_del(struct nft_batch *batch, struct nftnl_rule *rule)
{
	put_rule(batch, rule, NFT_MSG_DELRULE, 0);
}

void nft_batch_set(struct nft_batch *batch, struct nftnl_set *set)
{
	for (int elements = 0; set && elements < 2; elements++) {
		char *at = room(batch);
		struct nlmsghdr *nlh;

		if (!at)
			break;
		nlh = nftnl_nlmsg_build_hdr(at, elements ? NFT_MSG_NEWSETELEM : NFT_MSG_NEWSET,
					    NFPROTO_INET, NLM_F_CREATE, batch->nft->seq++);
		if (elements)
			nftnl_set_elems_nlmsg_build_payload(nlh, set);
		else
			nftnl_set_nlmsg_build_payload(nlh, set);
		done(batch, nlh);
	}
	if (set)
		nftnl_set_free(set);
	else
		batch->failed = true;
}

/*
 * ---- Expressions ----
 */

struct nftnl_rule *nft_rule_new(uint8_t family, const char *table, const char *chain)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();

	if (!rule)
		return NULL;
	nftnl_rule_set_u32(rule, NFTNL_RULE_FAMILY, family);
	if (nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, table) ||
	    nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, chain)) {
		nftnl_rule_free(rule);
		return NULL;
	}
	return rule;
}

/* A new expression that belongs to *@rule; NULL: there is no rule any more. */
static struct nftnl_expr *add(struct nftnl_rule **rule, const char *name)
{
	struct nftnl_expr *expr = *rule ? nftnl_expr_alloc(name) : NULL;

	if (expr)
		nftnl_rule_add_expr(*rule, expr);
	else if (*rule)
		nftnl_rule_free(*rule);
	if (!expr)
		*rule = NULL;
	return expr;
}

static void set_data(struct nftnl_rule **rule, struct nftnl_expr *expr, uint16_t type,
		     const void *data, uint32_t len)
{
	if (!*rule || nftnl_expr_set(expr, type, data, len) == 0)
		return;
	nftnl_rule_free(*rule);
	*rule = NULL;
}

void nft_meta(struct nftnl_rule **rule, uint32_t key)
{
	struct nftnl_expr *expr = add(rule, "meta");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_DREG, NFT_REG_1);
}

void nft_cmp(struct nftnl_rule **rule, uint32_t op, const void *data, uint32_t len)
{
	struct nftnl_expr *expr = add(rule, "cmp");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CMP_OP, op);
	set_data(rule, expr, NFTNL_EXPR_CMP_DATA, data, len);
}

void nft_cmp_u32(struct nftnl_rule **rule, uint32_t op, uint32_t value)
{
	nft_cmp(rule, op, &value, sizeof(value));
}

void nft_cmp_u8(struct nftnl_rule **rule, uint32_t op, uint8_t value)
{
	nft_cmp(rule, op, &value, sizeof(value));
}

void nft_bitwise(struct nftnl_rule **rule, const void *mask, const void *xor, uint32_t len)
{
	struct nftnl_expr *expr = add(rule, "bitwise");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_BITWISE_LEN, len);
	set_data(rule, expr, NFTNL_EXPR_BITWISE_MASK, mask, len);
	set_data(rule, expr, NFTNL_EXPR_BITWISE_XOR, xor, len);
}

void nft_payload(struct nftnl_rule **rule, uint32_t base, uint32_t offset, uint32_t len)
{
	struct nftnl_expr *expr = add(rule, "payload");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_PAYLOAD_LEN, len);
}

void nft_fib(struct nftnl_rule **rule, uint32_t flags, uint32_t result)
{
	struct nftnl_expr *expr = add(rule, "fib");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_FLAGS, flags);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_FIB_RESULT, result);
}

void nft_ct(struct nftnl_rule **rule, uint32_t key)
{
	struct nftnl_expr *expr = add(rule, "ct");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, key);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_DREG, NFT_REG_1);
}

void nft_not_within(struct nftnl_rule **rule, const void *first, const void *last, uint32_t len)
{
	struct nftnl_expr *expr = add(rule, "range");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_RANGE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_RANGE_OP, NFT_RANGE_NEQ);
	nftnl_expr_set(expr, NFTNL_EXPR_RANGE_FROM_DATA, first, len);
	nftnl_expr_set(expr, NFTNL_EXPR_RANGE_TO_DATA, last, len);
}

void nft_lookup(struct nftnl_rule **rule, const char *set)
{
	struct nftnl_expr *expr = add(rule, "lookup");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	if (nftnl_expr_set_str(expr, NFTNL_EXPR_LOOKUP_SET, set)) {
		nftnl_rule_free(*rule);
		*rule = NULL;
	}
}

void nft_mark_set(struct nftnl_rule **rule, uint32_t mark, uint32_t mask)
{
	const uint32_t keep = ~mask;
	struct nftnl_expr *expr;

	nft_meta(rule, NFT_META_MARK);
	nft_bitwise(rule, &keep, &mark, sizeof(mark));
	expr = add(rule, "meta");
	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_KEY, NFT_META_MARK);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_META_SREG, NFT_REG_1);
}

void nft_ct_mark_set(struct nftnl_rule **rule, uint32_t mark, uint32_t mask)
{
	const uint32_t keep = ~mask;
	struct nftnl_expr *expr;

	nft_ct(rule, NFT_CT_MARK);
	nft_bitwise(rule, &keep, &mark, sizeof(mark));
	expr = add(rule, "ct");
	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_KEY, NFT_CT_MARK);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_CT_SREG, NFT_REG_1);
}

void nft_mark_is(struct nftnl_rule **rule, uint32_t op, uint32_t mark, uint32_t mask)
{
	const uint32_t none = 0;

	nft_meta(rule, NFT_META_MARK);
	nft_bitwise(rule, &mask, &none, sizeof(mask));
	nft_cmp_u32(rule, op, mark);
}

/* The smaller of what both ways of the packet's route take, in the order of the network. */
void nft_mss_from_route(struct nftnl_rule **rule)
{
	enum { OPTION_MSS = 2, MSS_OFFSET = 2, MSS_SIZE = 2 };
	struct nftnl_expr *expr = add(rule, "rt");

	if (expr) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_RT_KEY, NFT_RT_TCPMSS);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_RT_DREG, NFT_REG_1);
	}
	expr = add(rule, "byteorder");
	if (expr) {
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_SREG, NFT_REG_1);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_DREG, NFT_REG_1);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_OP, NFT_BYTEORDER_HTON);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_LEN, MSS_SIZE);
		nftnl_expr_set_u32(expr, NFTNL_EXPR_BYTEORDER_SIZE, MSS_SIZE);
	}
	expr = add(rule, "exthdr");
	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_EXTHDR_SREG, NFT_REG_1);
	nftnl_expr_set_u8(expr, NFTNL_EXPR_EXTHDR_TYPE, OPTION_MSS);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_EXTHDR_OFFSET, MSS_OFFSET);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_EXTHDR_LEN, MSS_SIZE);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_EXTHDR_OP, NFT_EXTHDR_OP_TCPOPT);
}

static void immediate(struct nftnl_rule **rule, uint32_t reg, const void *data, uint32_t len)
{
	struct nftnl_expr *expr = add(rule, "immediate");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, reg);
	nftnl_expr_set(expr, NFTNL_EXPR_IMM_DATA, data, len);
}

void nft_map_network(struct nftnl_rule **rule, bool dst, uint8_t family, const uint8_t *first,
		     const uint8_t *last)
{
	const uint32_t len = family == 6 ? 16 : 4;
	struct nftnl_expr *expr;

	immediate(rule, NFT_REG_1, first, len);
	immediate(rule, NFT_REG_2, last, len);
	expr = add(rule, "nat");
	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_TYPE, dst ? NFT_NAT_DNAT : NFT_NAT_SNAT);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_FAMILY, family == 6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_1);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_REG_ADDR_MAX, NFT_REG_2);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_NAT_FLAGS, NF_NAT_RANGE_MAP_IPS |
			   NF_NAT_RANGE_NETMAP);
}

void nft_masquerade(struct nftnl_rule **rule)
{
	add(rule, "masq");
}

void nft_counter(struct nftnl_rule **rule)
{
	add(rule, "counter");
}

void nft_verdict(struct nftnl_rule **rule, int verdict)
{
	struct nftnl_expr *expr = add(rule, "immediate");

	if (!expr)
		return;
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(expr, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
}

void nft_comment(struct nftnl_rule **rule, const char *text)
{
	struct nftnl_udata_buf *udata = *rule ? nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN) : NULL;

	if (!udata)
		return;	/* a rule without its comment is as good */
	if (nftnl_udata_put_strz(udata, NFTNL_UDATA_RULE_COMMENT, text))
		nftnl_rule_set_data(*rule, NFTNL_RULE_USERDATA, nftnl_udata_buf_data(udata),
				    nftnl_udata_buf_len(udata));
	nftnl_udata_buf_free(udata);
}
