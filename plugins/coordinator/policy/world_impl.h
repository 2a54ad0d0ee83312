/*
 * policy/world_impl.h - what the files of the world share
 */
#ifndef WARREN_COORDINATOR_WORLD_IMPL_H
#define WARREN_COORDINATOR_WORLD_IMPL_H

#include "base/hash.h"
#include "world.h"

typedef uint64_t bits_word;

struct wuser {
	int64_t id;
	char *login, *email, *name;
	enum policy_role role;
	char **groups;
	uint32_t n_groups;
	bool mark;			/* while a grant is built */
};

struct wroute {				/* announced and approved, no default route */
	struct range range;
	char text[RANGE_TEXT];
	bool primary;
};
struct wnode {
	int64_t id, user;		/* user 0: tagged, or nobody's */
	struct wuser *owner;		/* of an untagged node, or NULL */
	char **tags;
	uint32_t n_tags;
	struct range addr[2];		/* v4, v6 */
	uint32_t n_addr;
	struct wroute *routes;
	uint32_t n_routes;
	bool exit4, exit6, elected;
	json_t *attributes;
	bits_word *peers;
};

struct witem {				/* a destination */
	bool all;			/* "*" */
	struct range range;
};
struct wgrant {
	const struct grant *grant;
	struct ranges src;		/* who is a source, by address */
	bool any;			/* danger-all */
	json_t *src_ips;		/* as rules have it: sorted texts */
	char *key;			/* the same as one text, to compare */
	struct witem *items;
	uint32_t n_items;
	bool self;			/* and to the user's own devices */
	bits_word *src_bits, *dst_bits, *self_bits;
};

struct policy_world {
	const struct policy *policy;
	struct grant everything;	/* where a policy has no rules at all */
	struct sel anybody;
	struct wnode **slots;		/* NULL: free */
	uint32_t n_slots, cap;		/* @cap is a multiple of 64 */
	struct hash by_id;		/* of nodes: slot + 1 */
	struct wuser **users;
	uint32_t n_users;
	struct wgrant *grants;
	uint32_t n_grants;
	uint64_t serial;		/* of the last change */
};

/* ---- bits ---- */

static inline uint32_t bits_words(const struct policy_world *w)
{
	return w->cap / 64;
}
static inline bool bits_get(const bits_word *bits, uint32_t i)
{
	return bits[i / 64] >> (i % 64) & 1;
}
static inline void bits_put(bits_word *bits, uint32_t i, bool on)
{
	bits_word mask = (bits_word)1 << (i % 64);

	bits[i / 64] = on ? bits[i / 64] | mask : bits[i / 64] & ~mask;
}

/* ---- world.c ---- */

struct wnode *world_node_new(struct policy_world *w, const struct policy_node *node);
void world_node_free(struct wnode *n);
struct wuser *world_user(const struct policy_world *w, int64_t id);	/* or NULL */
void world_user_free(struct wuser *u);
struct wnode *world_node(const struct policy_world *w, int64_t id, uint32_t *slot);
void changes_filter(struct policy_changes *changes, int64_t id);
void changes_route(struct policy_changes *changes, int64_t id);

/* ---- members.c: selectors over nodes ---- */

static inline bool node_tagged(const struct wnode *n)
{
	return n->n_tags > 0;
}
static inline bool node_exit(const struct wnode *n)
{
	return n->exit4 || n->exit6;
}
bool node_has_tag(const struct wnode *n, const char *tag);
bool user_matches(const struct policy_world *w, const struct wuser *u, const struct sel *sel);
/* By what it is, or by an address that the selector names. */
bool sel_matches(const struct policy_world *w, const struct sel *sel, const struct wnode *n);
bool sels_match(const struct policy_world *w, const struct sels *sels, const struct wnode *n);
/* As a source of that rule: postures count too. */
bool is_source_node(const struct policy_world *w, const struct sels *src,
		    const struct postures *postures, const struct wnode *n);
/* Addresses that a selector stands for. */
void sel_ranges(const struct policy_world *w, const struct sel *sel, struct ranges *out);

/* Computes a grant's sets anew, its bits for all nodes. False: no memory. */
bool grant_build(const struct policy_world *w, struct wgrant *g);
void grant_clear(struct wgrant *g);
/* Does a change of this node change more of the grant than the node's own bits? */
bool grant_names(const struct policy_world *w, const struct wgrant *g, const struct wnode *n);
bool grant_is_source(const struct wgrant *g, const struct wnode *n);
/* Does the node keep this destination (2.4.5, 2.4.9)? */
bool grant_keeps(const struct wgrant *g, const struct witem *item, const struct wnode *n);
bool grant_is_destination(const struct wgrant *g, const struct wnode *n);
bool range_is_internet(const struct range *range);

/* Sorted texts of a set as a JSON array. */
json_t *ranges_json(const struct ranges *set);
/* All addresses of the untagged nodes of @n's user. */
void own_ranges(const struct policy_world *w, const struct wnode *n, struct ranges *out);

/* ---- check.c ---- */

/* The rule that counts for this login: of those that fit a check before others, the first. */
const struct ssh_rule *ssh_rule_of(const struct policy_world *w, const struct wnode *src,
				   const struct wnode *dst, const char *login);

/* ---- routes.c ---- */

bool node_serves(const struct wnode *n, const struct range *range);

#endif
