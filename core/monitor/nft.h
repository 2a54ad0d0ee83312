/*
 * monitor/nft.h - packet filter rules in the kernel, by libnftnl
 *
 * Two kinds of rules. The own table is ours alone: the kernel lets nobody else touch it and removes
 * it when the socket that made it is closed, however this process ends. And one rule in base chains
 * of others, which accepts what carries our mark; without the own table nothing carries it.
 * What is wanted and who asked for it is the business of op_nft.c.
 */
#ifndef WARREN_MONITOR_NFT_H
#define WARREN_MONITOR_NFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/priv.h>

struct mnl_socket;
struct nftnl_chain;
struct nftnl_rule;
struct nftnl_set;
struct warren_err;

enum { NFT_NAME = 64 };			/* bytes of a table's or a chain's name, with the NUL */

struct nft {
	struct mnl_socket *owner;	/* makes all changes, and owns the table; NULL: not open */
	struct mnl_socket *reader;	/* dumps */
	uint32_t port, seq;		/* of the owner */
};
int nft_open(struct nft *nft, struct warren_err *err);
void nft_close(struct nft *nft);	/* the own table goes with the last copy of `owner` */
/* The descriptor of `owner`; whoever has a copy can keep the table, and change nothing. */
int nft_owner_fd(const struct nft *nft);
/* The number that each change of anybody's rules raises. 0 or -errno. */
int nft_generation(struct nft *nft, uint32_t *generation);

/*
 * ---- Batches: all or nothing ----
 */

struct nft_batch {
	struct nft *nft;
	char *buf;
	size_t len;
	bool failed;			/* no memory, or too much for one batch */
};
/* @generation 0: whatever the rules are now; else -ERESTART when they have changed since. */
void nft_batch_begin(struct nft_batch *batch, struct nft *nft, uint32_t generation);
/* Sends it and frees its memory. 0 or -errno of the message at fault. */
int nft_batch_commit(struct nft_batch *batch);
void nft_batch_table(struct nft_batch *batch, const char *name, bool add);
/* These take the object and free it; NULL: the batch fails. */
void nft_batch_chain(struct nft_batch *batch, struct nftnl_chain *chain);
void nft_batch_rule(struct nft_batch *batch, struct nftnl_rule *rule, bool append);
void nft_batch_rule_del(struct nft_batch *batch, struct nftnl_rule *rule);
void nft_batch_set(struct nft_batch *batch, struct nftnl_set *set);

/*
 * ---- Expressions: each appends to @rule what nft(8) would; a NULL rule stays NULL ----
 *
 * On failure the rule is freed and *@rule NULL, so that only the end must be looked at.
 */

struct nftnl_rule *nft_rule_new(uint8_t family, const char *table, const char *chain);
void nft_meta(struct nftnl_rule **rule, uint32_t key);
void nft_cmp(struct nftnl_rule **rule, uint32_t op, const void *data, uint32_t len);
void nft_cmp_u32(struct nftnl_rule **rule, uint32_t op, uint32_t value);
void nft_cmp_u8(struct nftnl_rule **rule, uint32_t op, uint8_t value);
/* Keeps what @mask has, then flips what @xor has; both of @len bytes. */
void nft_bitwise(struct nftnl_rule **rule, const void *mask, const void *xor, uint32_t len);
/* Both inclusive, of @len bytes in the order of the network. */
void nft_not_within(struct nftnl_rule **rule, const void *first, const void *last, uint32_t len);
void nft_payload(struct nftnl_rule **rule, uint32_t base, uint32_t offset, uint32_t len);
void nft_fib(struct nftnl_rule **rule, uint32_t flags, uint32_t result);
void nft_ct(struct nftnl_rule **rule, uint32_t key);
void nft_lookup(struct nftnl_rule **rule, const char *set);
void nft_mark_set(struct nftnl_rule **rule, uint32_t mark, uint32_t mask);
/* The same of the connection. */
void nft_ct_mark_set(struct nftnl_rule **rule, uint32_t mark, uint32_t mask);
void nft_mark_is(struct nftnl_rule **rule, uint32_t op, uint32_t mark, uint32_t mask);
void nft_mss_from_route(struct nftnl_rule **rule);
void nft_masquerade(struct nftnl_rule **rule);
/*
 * Swaps the first bits of the destination (@dst) or source for those of the range @first to @last,
 * one to one; of @family (4, 6), in a chain of type nat.
 */
void nft_map_network(struct nftnl_rule **rule, bool dst, uint8_t family, const uint8_t *first,
		     const uint8_t *last);
void nft_counter(struct nftnl_rule **rule);
void nft_verdict(struct nftnl_rule **rule, int verdict);	/* NF_DROP, NF_ACCEPT, NFT_RETURN */
void nft_comment(struct nftnl_rule **rule, const char *text);

/*
 * ---- The own table (nft_table.c) ----
 */

struct nft_marks {
	uint32_t mark, mask;
};
struct nft_port {
	uint8_t protocol;		/* 6, 17 */
	uint16_t port;
};
struct nft_want {
	const struct warren_priv_nft *items;	/* the first is the TABLE */
	size_t n_items;
	const struct nft_port *ports;	/* to be open */
	size_t n_ports;
	struct nft_marks marks;
	uint32_t bypass;		/* another mark within the same mask */
	uint16_t own_first, own_last;	/* ports that who calls from here is given */
};
enum { NFT_TABLE_NAME = 8 + WARREN_PRIV_IFNAME };
/* "warren", or "warren-IFNAME" for an interface other than warren0. */
void nft_table_name(const char *ifname, char out[NFT_TABLE_NAME]);
/* @replace: it stands already. 0 or -errno with a sentence. */
int nft_table_apply(struct nft *nft, const struct nft_want *want, bool replace,
		    struct warren_err *err);
int nft_table_remove(struct nft *nft, const char *ifname);

/*
 * ---- The chains of others (nft_foreign.c) ----
 */

struct nft_place {			/* a base chain, or one in which our rule was */
	uint32_t family;		/* 4, 6; 0: inet */
	char table[NFT_NAME], chain[NFT_NAME];
};
struct nft_foreign_chain {
	struct warren_nft_chain told;
	struct nft_place place;
	bool mark_rule;			/* ours stands in it */
	bool wanted;			/* and is of use */
	bool append;			/* where it goes */
};
struct nft_foreign {
	uint32_t generation;
	size_t n;
	struct nft_foreign_chain *chains;
};
/* Base chains that may drop what we approve; of @want, ports do not count. The caller frees. */
int nft_foreign_look(struct nft *nft, const char *own, const struct nft_want *want,
		     struct nft_foreign *out);
void nft_foreign_free(struct nft_foreign *foreign);
/* Adds our rule to it; -EPERM: its table has an owner, -ERESTART: look again. */
int nft_foreign_insert(struct nft *nft, const struct nft_foreign *foreign,
		       const struct nft_foreign_chain *chain, const struct nft_marks *marks);
/* Removes all rules of our shape from that chain. 0 or -errno; gone already is 0. */
int nft_foreign_remove(struct nft *nft, const struct nft_place *place,
		       const struct nft_marks *marks);

#endif
