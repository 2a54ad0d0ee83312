/*
 * The chains of others.
 *
 * A drop in any base chain is final, so each one that might drop what our table has approved gets
 * one rule that accepts our mark. All chains and rules are dumped, and from each base chain on
 * `input` and `forward` the jumps are followed in search of a drop; on `prerouting` only drops of
 * what goes to a network behind us count. Rules of ours are known by their shape: a comment does
 * not survive iptables-save and iptables-restore.
 * Source: firewall-cooperation.md 3, 4.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/util.h"
#include "monitor/nft.h"
#include "monitor/nft_words.h"

enum {
	PRIO_MANGLE = -150,
	PRIO_RAW = -300,
	DST4_AT = 16, DST6_AT = 24,	/* in the headers */
	DEPTH_MAX = 16,			/* the kernel's own limit of nested jumps */
	VISITS_MAX = 100000,		/* rules looked at from one base chain */
	TRIES = 16,			/* to remove rules while others change theirs */
	KEY_MAX = 2 * NFT_NAME + 8,
};

/* firewalld's guard while it reloads, and its panic mode: what it drops is meant to be dropped. */
static const char panic_table[] = "firewalld_policy_drop";

struct start {				/* of a chain's rules */
	uint8_t key[KEY_MAX];
	size_t first;
};

struct dump {
	struct nftnl_table **tables;
	struct nftnl_chain **chains;
	struct nftnl_rule **rules;	/* those of a chain stand together */
	size_t n_tables, n_chains, n_rules;
	struct hash by_chain;		/* struct start */
	bool failed;
};

/*
 * ---- Dumping ----
 */

struct answer {				/* to the request @seq */
	uint32_t seq;
	mnl_cb_t fn;
	void *arg;
	bool done, interrupted;
	int result;
};

static void take(struct answer *answer, const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(nlh);

	answer->interrupted = answer->interrupted || nlh->nlmsg_flags & NLM_F_DUMP_INTR;
	if (nlh->nlmsg_type == NLMSG_ERROR)
		answer->result = mnl_nlmsg_get_payload_len(nlh) < sizeof(error->error) ? -EBADMSG :
				 error->error;
	answer->done = nlh->nlmsg_type == NLMSG_ERROR || nlh->nlmsg_type == NLMSG_DONE ||
		       (nlh->nlmsg_type >= NLMSG_MIN_TYPE &&
			answer->fn(nlh, answer->arg) != MNL_CB_OK);
}

/*
 * A dump is read to its end although others have changed the rules meanwhile, and what is left of
 * an earlier one is passed over: else every answer after it would be taken for that of another
 * request.
 */
static int talk(struct nft *nft, struct nlmsghdr *nlh, mnl_cb_t fn, void *arg)
{
	struct answer answer = { .seq = nlh->nlmsg_seq, .fn = fn, .arg = arg };
	char buf[16384] __attribute__((aligned(8)));

	if (mnl_socket_sendto(nft->reader, nlh, nlh->nlmsg_len) == -1)
		return -errno;
	while (!answer.done) {
		ssize_t n = mnl_socket_recvfrom(nft->reader, buf, sizeof(buf));
		const struct nlmsghdr *got = (const struct nlmsghdr *)buf;
		int len = (int)n;

		if (n == -1 && errno != EINTR)
			return -errno;
		for (; !answer.done && mnl_nlmsg_ok(got, len); got = mnl_nlmsg_next(got, &len))
			if (got->nlmsg_seq == answer.seq)
				take(&answer, got);
	}
	return answer.result ? answer.result : answer.interrupted ? -ERESTART : 0;
}

static bool grow(void ***list, size_t n)
{
	/* At each power of two there is room for as many again. */
	void **wider = n & (n - 1) ? *list : reallocarray(*list, n ? 2 * n : 1, sizeof(void *));

	if (wider)
		*list = wider;
	return wider != NULL;
}

static int on_table(const struct nlmsghdr *nlh, void *arg)
{
	struct nftnl_table *table = nftnl_table_alloc();
	struct dump *dump = arg;

	if (!table || nftnl_table_nlmsg_parse(nlh, table) ||
	    !grow((void ***)&dump->tables, dump->n_tables)) {
		dump->failed = true;
		nftnl_table_free(table);
		return MNL_CB_OK;
	}
	dump->tables[dump->n_tables++] = table;
	return MNL_CB_OK;
}

static int on_chain(const struct nlmsghdr *nlh, void *arg)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();
	struct dump *dump = arg;

	if (!chain || nftnl_chain_nlmsg_parse(nlh, chain) ||
	    !grow((void ***)&dump->chains, dump->n_chains)) {
		dump->failed = true;
		if (chain)
			nftnl_chain_free(chain);
		return MNL_CB_OK;
	}
	dump->chains[dump->n_chains++] = chain;
	return MNL_CB_OK;
}

/* Returns 0 where a name is longer than we deal with. */
static size_t chain_key(uint8_t key[KEY_MAX], uint32_t family, const char *table,
			const char *chain)
{
	size_t a = table ? strlen(table) : NFT_NAME, b = chain ? strlen(chain) : NFT_NAME;

	if (a >= NFT_NAME || b >= NFT_NAME)
		return 0;
	key[0] = (uint8_t)family;
	memcpy(key + 1, table, a + 1);
	memcpy(key + 2 + a, chain, b + 1);
	return a + b + 3;
}

/* Remembers where the rules of the newest rule's chain begin. */
static int note_start(struct dump *dump)
{
	const struct nftnl_rule *rule = dump->rules[dump->n_rules - 1];
	struct start *start;
	uint8_t key[KEY_MAX];
	size_t len = chain_key(key, nftnl_rule_get_u32(rule, NFTNL_RULE_FAMILY),
			       nftnl_rule_get_str(rule, NFTNL_RULE_TABLE),
			       nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN));

	if (len == 0 || hash_get(&dump->by_chain, key, len))
		return 0;
	start = calloc(1, sizeof(*start));
	if (!start)
		return -ENOMEM;
	memcpy(start->key, key, len);
	start->first = dump->n_rules - 1;
	if (hash_put(&dump->by_chain, start->key, len, start, NULL)) {
		free(start);
		return -ENOMEM;
	}
	return 0;
}

static int on_rule(const struct nlmsghdr *nlh, void *arg)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct dump *dump = arg;

	if (!rule || nftnl_rule_nlmsg_parse(nlh, rule) ||
	    !grow((void ***)&dump->rules, dump->n_rules)) {
		dump->failed = true;
		if (rule)
			nftnl_rule_free(rule);
		return MNL_CB_OK;
	}
	dump->rules[dump->n_rules++] = rule;
	if (note_start(dump))
		dump->failed = true;
	return MNL_CB_OK;
}

static void dump_free(struct dump *dump)
{
	struct start *start;

	for (uint32_t pos = 0; (start = hash_next(&dump->by_chain, &pos));)
		free(start);
	for (size_t i = 0; i < dump->n_tables; i++)
		nftnl_table_free(dump->tables[i]);
	for (size_t i = 0; i < dump->n_chains; i++)
		nftnl_chain_free(dump->chains[i]);
	for (size_t i = 0; i < dump->n_rules; i++)
		nftnl_rule_free(dump->rules[i]);
	free(dump->tables);
	free(dump->chains);
	free(dump->rules);
	hash_free(&dump->by_chain);
}

static int see_generation(const struct nlattr *attr, void *arg)
{
	if (mnl_attr_get_type(attr) == NFTA_GEN_ID && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
		*(uint32_t *)arg = ntohl(mnl_attr_get_u32(attr));
	return MNL_CB_OK;
}

static int on_generation(const struct nlmsghdr *nlh, void *arg)
{
	mnl_attr_parse(nlh, sizeof(struct nfgenmsg), see_generation, arg);
	return MNL_CB_STOP;
}

static int ask(struct nft *nft, uint16_t type, uint16_t flags, mnl_cb_t fn, void *arg)
{
	char buf[256] __attribute__((aligned(8)));
	struct nlmsghdr *nlh = nftnl_nlmsg_build_hdr(buf, type, NFPROTO_UNSPEC, flags, nft->seq++);

	return talk(nft, nlh, fn, arg);
}

int nft_generation(struct nft *nft, uint32_t *generation)
{
	return ask(nft, NFT_MSG_GETGEN, 0, on_generation, generation);
}

static int dump_all(struct nft *nft, struct dump *dump, uint32_t *generation)
{
	int result = nft_generation(nft, generation);

	hash_init(&dump->by_chain);
	if (!result)
		result = ask(nft, NFT_MSG_GETTABLE, NLM_F_DUMP, on_table, dump);
	if (!result)
		result = ask(nft, NFT_MSG_GETCHAIN, NLM_F_DUMP, on_chain, dump);
	if (!result)
		result = ask(nft, NFT_MSG_GETRULE, NLM_F_DUMP, on_rule, dump);
	return result ? result : dump->failed ? -ENOMEM : 0;
}

/*
 * ---- What a rule does ----
 */

struct effect {
	const struct nft_marks *marks;
	bool conditional;		/* it looks at the packet */
	bool drops, accepts, returns;
	const char *jump;		/* or goto */
	bool goes;
	/* The shape of ours: nothing but these three, each once. */
	int masks, marks_seen;
	bool other;
	/* Where it looks at: family 0, anywhere. */
	struct warren_prefix to;
	bool to_loaded;			/* the next comparison is about it */
};

static bool same_u32(const struct nftnl_expr *expr, uint16_t attr, uint32_t value)
{
	uint32_t len = 0;
	const void *data = nftnl_expr_get(expr, attr, &len);

	return data && len == sizeof(value) && memcmp(data, &value, sizeof(value)) == 0;
}

static void see_verdict(struct effect *effect, const struct nftnl_expr *expr)
{
	if (nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_DREG) != NFT_REG_VERDICT) {
		effect->other = true;
		return;
	}
	switch ((int)nftnl_expr_get_u32(expr, NFTNL_EXPR_IMM_VERDICT)) {
	case NF_DROP:
		effect->drops = true;
		break;
	case NF_ACCEPT:
		effect->accepts = true;
		break;
	case NFT_RETURN:
		effect->returns = true;
		break;
	case NFT_GOTO:
		effect->goes = true;
		effect->jump = nftnl_expr_get_str(expr, NFTNL_EXPR_IMM_CHAIN);
		break;
	case NFT_JUMP:
		effect->jump = nftnl_expr_get_str(expr, NFTNL_EXPR_IMM_CHAIN);
		break;
	default:
		break;
	}
}

/* A destination address, or the first bytes of one, comes into a register. */
static void see_payload(struct effect *effect, const struct nftnl_expr *expr)
{
	uint32_t offset = nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_OFFSET);
	uint32_t len = nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_LEN);
	uint32_t family = offset == DST4_AT && len <= 4 ? 4 : offset == DST6_AT ? 6 : 0;

	effect->other = effect->conditional = true;
	effect->to_loaded = family && len <= 16 &&
		nftnl_expr_get_u32(expr, NFTNL_EXPR_PAYLOAD_BASE) == NFT_PAYLOAD_NETWORK_HEADER;
	if (effect->to_loaded)
		effect->to = (struct warren_prefix){ .addr = { .family = (uint8_t)family },
						     .bits = (uint8_t)(len * 8) };
}

static void see_mask(struct effect *effect, const struct nftnl_expr *expr)
{
	uint32_t len = 0, bits = 0;
	const uint8_t *mask = nftnl_expr_get(expr, NFTNL_EXPR_BITWISE_MASK, &len);

	effect->masks++;
	if (!same_u32(expr, NFTNL_EXPR_BITWISE_MASK, effect->marks->mask))
		effect->other = true;
	if (!effect->to_loaded)
		return;
	while (mask && bits < len * 8 && mask[bits / 8] & 0x80 >> bits % 8)
		bits++;
	effect->to.bits = (uint8_t)bits;
}

static void see_comparison(struct effect *effect, const struct nftnl_expr *expr)
{
	uint32_t len = 0;
	const void *data = nftnl_expr_get(expr, NFTNL_EXPR_CMP_DATA, &len);
	bool equal = nftnl_expr_get_u32(expr, NFTNL_EXPR_CMP_OP) == NFT_CMP_EQ;

	effect->marks_seen++;
	effect->conditional = true;
	if (!same_u32(expr, NFTNL_EXPR_CMP_DATA, effect->marks->mark) || !equal)
		effect->other = true;
	if (effect->to_loaded && equal && data && len <= sizeof(effect->to.addr.bytes))
		memcpy(effect->to.addr.bytes, data, len);
	else if (effect->to_loaded)
		effect->to.bits = 0;
	effect->to_loaded = false;
}

static bool is_one_of(const char *name, const char *const *list)
{
	for (; *list; list++) {
		if (str_equal(name, *list))
			return true;
	}
	return false;
}

static void see_lookup(struct effect *effect, const struct nftnl_expr *expr)
{
	bool map = nftnl_expr_is_set(expr, NFTNL_EXPR_LOOKUP_DREG) &&
		   nftnl_expr_get_u32(expr, NFTNL_EXPR_LOOKUP_DREG) == NFT_REG_VERDICT;

	effect->other = effect->conditional = true;
	/* What a map of verdicts holds is not looked into: it may drop. */
	effect->drops = effect->drops || map;
}

static int see(struct nftnl_expr *expr, void *arg)
{
	static const char *const harmless[] = { "log", "notrack", "byteorder", "last", NULL };
	static const char *const refusals[] = { "REJECT", "DROP", NULL };
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	struct effect *effect = arg;

	if (str_equal(name, "counter"))
		return 0;
	if (str_equal(name, "match") &&
	    str_equal(nftnl_expr_get_str(expr, NFTNL_EXPR_MT_NAME), "comment"))
		return 0;
	if (str_equal(name, "immediate")) {
		see_verdict(effect, expr);
	} else if (str_equal(name, "lookup")) {
		see_lookup(effect, expr);
	} else if (str_equal(name, "reject")) {
		effect->drops = effect->other = true;
	} else if (str_equal(name, "target")) {
		effect->other = true;
		effect->drops = is_one_of(nftnl_expr_get_str(expr, NFTNL_EXPR_TG_NAME), refusals);
	} else if (str_equal(name, "meta") && !nftnl_expr_is_set(expr, NFTNL_EXPR_META_SREG)) {
		effect->conditional = true;
		if (nftnl_expr_get_u32(expr, NFTNL_EXPR_META_KEY) != NFT_META_MARK)
			effect->other = true;
	} else if (str_equal(name, "bitwise")) {
		see_mask(effect, expr);
	} else if (str_equal(name, "cmp")) {
		see_comparison(effect, expr);
	} else if (str_equal(name, "payload") &&
		   nftnl_expr_is_set(expr, NFTNL_EXPR_PAYLOAD_DREG)) {
		see_payload(effect, expr);
	} else {
		effect->other = true;
		effect->conditional = effect->conditional ||
			!(is_one_of(name, harmless) || str_equal(name, "meta"));
	}
	return 0;
}

static struct effect effect_of(struct nftnl_rule *rule, const struct nft_marks *marks)
{
	struct effect effect = { .marks = marks };

	nftnl_expr_foreach(rule, see, &effect);
	return effect;
}

static bool is_mark_rule(const struct effect *effect)
{
	return !effect->other && effect->masks == 1 && effect->marks_seen == 1 && effect->accepts;
}

/*
 * ---- Where a chain drops ----
 */

struct walk {
	const struct dump *dump;
	const struct nft_marks *marks;
	uint32_t family, visits;
	const char *table;
	const struct nft_want *towards;	/* only drops of what goes there count; NULL: all */
	bool ours;			/* our rule stands in the base chain */
	bool ended;			/* everything that gets here is accepted or dropped */
	struct nftnl_rule *sure, *maybe;	/* the first that drops all, that drops some */
};

/* Whether the rule is about a part of a network that peers reach through this host. */
static bool is_towards(const struct effect *effect, const struct nft_want *want)
{
	for (size_t i = 0; i < want->n_items; i++) {
		const struct warren_prefix *behind = &want->items[i].prefix;
		struct warren_prefix part = *behind;

		if (want->items[i].kind != WARREN_NFT_BEHIND ||
		    effect->to.addr.family != behind->addr.family)
			continue;
		part.bits = part.bits < effect->to.bits ? part.bits : effect->to.bits;
		if (part.bits > 0 && prefix_contains(&part, &effect->to.addr))
			return true;
	}
	return false;
}

static bool of_chain(struct nftnl_rule *rule, uint32_t family, const char *table,
		     const char *chain)
{
	return nftnl_rule_get_u32(rule, NFTNL_RULE_FAMILY) == family &&
	       str_equal(nftnl_rule_get_str(rule, NFTNL_RULE_TABLE), table) &&
	       str_equal(nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN), chain);
}

static void walk_chain(struct walk *walk, const char *chain, bool conditional, int depth)
{
	const struct dump *dump = walk->dump;
	uint8_t key[KEY_MAX];
	size_t len = chain_key(key, walk->family, walk->table, chain);
	const struct start *start = len ? hash_get(&dump->by_chain, key, len) : NULL;

	if (!start || depth > DEPTH_MAX)
		return;
	for (size_t at = start->first; at < dump->n_rules && !walk->ended && !walk->sure; at++) {
		struct nftnl_rule *rule = dump->rules[at];
		struct effect effect;
		bool some;

		if (!of_chain(rule, walk->family, walk->table, chain) ||
		    ++walk->visits > VISITS_MAX)
			return;
		effect = effect_of(rule, walk->marks);
		effect.drops = effect.drops &&
			       (!walk->towards || is_towards(&effect, walk->towards));
		some = conditional || effect.conditional;
		if (depth == 0 && is_mark_rule(&effect)) {
			walk->ours = true;
			continue;
		}
		if (effect.drops && !walk->maybe)
			walk->maybe = rule;
		if (effect.drops && !some)
			walk->sure = rule;
		if (effect.accepts && !some)
			walk->ended = true;
		if (effect.jump)
			walk_chain(walk, effect.jump, some, depth + 1);
		if ((effect.returns || effect.goes) && !effect.conditional)
			return;
		/* What comes after it does not see every packet any more. */
		conditional = conditional || effect.returns;
	}
}

static const struct nftnl_table *table_of(const struct dump *dump, uint32_t family,
					  const char *name)
{
	for (size_t i = 0; i < dump->n_tables; i++) {
		if (nftnl_table_get_u32(dump->tables[i], NFTNL_TABLE_FAMILY) == family &&
		    str_equal(nftnl_table_get_str(dump->tables[i], NFTNL_TABLE_NAME), name))
			return dump->tables[i];
	}
	return NULL;
}

/* Whether packets of ours come through it at all, and it may decide about them. */
static bool is_candidate(const struct dump *dump, const struct nftnl_chain *chain, const char *own)
{
	uint32_t family = nftnl_chain_get_u32(chain, NFTNL_CHAIN_FAMILY), hook;
	const char *table = nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE);
	const struct nftnl_table *of;

	if (!nftnl_chain_is_set(chain, NFTNL_CHAIN_HOOKNUM) ||
	    !str_equal(nftnl_chain_get_str(chain, NFTNL_CHAIN_TYPE), "filter"))
		return false;
	hook = nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM);
	/* Docker drops there what others send to its containers. Before it there is no mark. */
	if (hook != NF_INET_LOCAL_IN && hook != NF_INET_FORWARD && hook != NF_INET_PRE_ROUTING)
		return false;
	if (hook == NF_INET_PRE_ROUTING && nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO) < PRIO_RAW)
		return false;
	if (family != NFPROTO_INET && family != NFPROTO_IPV4 && family != NFPROTO_IPV6)
		return false;
	if (family == NFPROTO_INET && (str_equal(table, own) || str_equal(table, panic_table)))
		return false;
	/* An accept would skip the administrator's own marks and clamps there. */
	if (nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO) == PRIO_MANGLE &&
	    nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_ACCEPT)
		return false;
	of = table_of(dump, family, table);
	return of && !(nftnl_table_get_u32(of, NFTNL_TABLE_FLAGS) & NFT_TABLE_F_DORMANT);
}

static void describe(struct nft_foreign_chain *out, struct nftnl_rule *rule)
{
	AUTO(str_free) struct str text = STR_INIT;
	const char *chain = rule ? nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN) : NULL;

	if (!rule) {
		str_add(&text, "policy drop");
	} else {
		nft_rule_words(rule, &text);
		str_addf(&text, " (handle %llu",
			 (unsigned long long)nftnl_rule_get_u64(rule, NFTNL_RULE_HANDLE));
		if (!str_equal(chain, out->place.chain)) {
			str_add(&text, " of chain ");
			str_add_clean(&text, chain, strlen(chain), NFT_NAME);
		}
		str_addc(&text, ')');
	}
	if (!str_copy(out->told.rule, sizeof(out->told.rule), str_text(&text))) {
		memcpy(out->told.rule, str_text(&text), sizeof(out->told.rule) - 4);
		memcpy(out->told.rule + sizeof(out->told.rule) - 4, "...", 4);
	}
}

static void judge(const struct dump *dump, const struct nftnl_chain *chain,
		  const struct nft_want *want, struct nft_foreign *out)
{
	struct nft_foreign_chain *to = &out->chains[out->n];
	bool early = nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM) == NF_INET_PRE_ROUTING;
	uint32_t mode = want->items[0].mode;
	uint32_t family = nftnl_chain_get_u32(chain, NFTNL_CHAIN_FAMILY);
	struct walk walk = { .dump = dump, .marks = &want->marks, .family = family,
			     .table = nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE),
			     .towards = early ? want : NULL };
	const char *name = nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME);
	bool policy = !early && nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY) == NF_DROP;
	bool surely, owned;
	const struct nftnl_table *table = table_of(dump, family, walk.table);

	walk_chain(&walk, name, false, 0);
	surely = walk.sure || (policy && !walk.ended);
	if (!walk.ours && !surely && (!walk.maybe || mode < WARREN_NFT_AUTO))
		return;
	*to = (struct nft_foreign_chain){ .mark_rule = walk.ours };
	if (!str_copy(to->place.table, sizeof(to->place.table), walk.table) ||
	    !str_copy(to->place.chain, sizeof(to->place.chain), name))
		return;	/* no program names them so long */
	to->place.family = family == NFPROTO_INET ? 0 : family == NFPROTO_IPV6 ? 6 : 4;
	owned = nftnl_table_get_u32(table, NFTNL_TABLE_FLAGS) & NFT_TABLE_F_OWNER;
	to->append = mode == WARREN_NFT_APPEND;
	/* Behind a drop of everything our rule would be of no use. */
	to->wanted = !owned && (mode == WARREN_NFT_AUTO || (to->append && policy && !walk.sure));
	to->told = (struct warren_nft_chain){
		.state = walk.ours ? WARREN_NFT_PASSES : owned ? WARREN_NFT_LOCKED :
			 WARREN_NFT_DROPS,
		.priority = nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO),
		.family = to->place.family,
		.hook = nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM),
	};
	memcpy(to->told.table, to->place.table, sizeof(to->told.table));
	memcpy(to->told.chain, to->place.chain, sizeof(to->told.chain));
	if (surely || walk.maybe)
		describe(to, walk.sure ? walk.sure : surely ? NULL : walk.maybe);
	out->n++;
}

int nft_foreign_look(struct nft *nft, const char *own, const struct nft_want *want,
		     struct nft_foreign *out)
{
	struct dump dump = { .n_rules = 0 };
	int result;

	*out = (struct nft_foreign){ .n = 0 };
	result = dump_all(nft, &dump, &out->generation);
	if (!result) {
		out->chains = calloc(dump.n_chains + 1, sizeof(*out->chains));
		result = out->chains ? 0 : -ENOMEM;
	}
	for (size_t i = 0; !result && i < dump.n_chains; i++) {
		if (is_candidate(&dump, dump.chains[i], own))
			judge(&dump, dump.chains[i], want, out);
	}
	dump_free(&dump);
	return result;
}

void nft_foreign_free(struct nft_foreign *foreign)
{
	free(foreign->chains);
	*foreign = (struct nft_foreign){ .n = 0 };
}

/*
 * ---- Our rule ----
 */

static uint8_t nfproto(uint32_t family)
{
	return family == 0 ? NFPROTO_INET : family == 6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
}

int nft_foreign_insert(struct nft *nft, const struct nft_foreign *foreign,
		       const struct nft_foreign_chain *chain, const struct nft_marks *marks)
{
	struct nftnl_rule *rule = nft_rule_new(nfproto(chain->place.family), chain->place.table,
					       chain->place.chain);
	struct nft_batch batch;

	nft_mark_is(&rule, NFT_CMP_EQ, marks->mark, marks->mask);
	nft_counter(&rule);
	nft_verdict(&rule, NF_ACCEPT);
	nft_comment(&rule, "warren");
	nft_batch_begin(&batch, nft, foreign->generation);
	nft_batch_rule(&batch, rule, chain->append);
	return nft_batch_commit(&batch);
}

static int remove_once(struct nft *nft, const struct nft_place *place,
		       const struct nft_marks *marks)
{
	struct dump dump = { .n_rules = 0 };
	uint8_t family = nfproto(place->family);
	struct nft_batch batch;
	size_t n = 0;
	int result;

	hash_init(&dump.by_chain);
	result = ask(nft, NFT_MSG_GETRULE, NLM_F_DUMP, on_rule, &dump);
	nft_batch_begin(&batch, nft, 0);
	for (size_t i = 0; !result && i < dump.n_rules; i++) {
		struct effect effect;
		struct nftnl_rule *rule;

		if (!of_chain(dump.rules[i], family, place->table, place->chain))
			continue;
		effect = effect_of(dump.rules[i], marks);
		if (!is_mark_rule(&effect))
			continue;
		rule = nft_rule_new(family, place->table, place->chain);
		if (rule)
			nftnl_rule_set_u64(rule, NFTNL_RULE_HANDLE,
					   nftnl_rule_get_u64(dump.rules[i], NFTNL_RULE_HANDLE));
		nft_batch_rule_del(&batch, rule);
		n++;
	}
	if (n > 0 && !result) {
		result = nft_batch_commit(&batch);
	} else {
		free(batch.buf);
	}
	dump_free(&dump);
	return result;
}

int nft_foreign_remove(struct nft *nft, const struct nft_place *place,
		       const struct nft_marks *marks)
{
	int result = -ERESTART;

	/* While others change theirs, what was seen may be gone before it is removed. */
	for (int i = 0; i < TRIES && (result == -ERESTART || result == -ENOENT); i++)
		result = remove_once(nft, place, marks);
	return result == -ENOENT ? 0 : result;
}
