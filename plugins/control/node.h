/*
 * node.h - records of nodes: from JSON to one immutable block each
 */
#ifndef CTL_NODE_H
#define CTL_NODE_H

#include "json.h"

/*
 * What a lineage of snapshots owns: snapshots share records without counting references. A record
 * that a snapshot no longer has is freed when that one and all before it are gone (snapshot.h).
 */
struct ctl_owned {
	struct ctl_owned *next;		/* in a list of the dead */
	struct ctl_owned *also;		/* freed with it, or NULL */
};
void ctl_owned_free(struct ctl_owned *owned);	/* NULL is allowed */

enum { CTL_DIGEST = 16 };

struct ctl_record {
	struct ctl_owned owned;		/* `also`: as it was sent, if this one is expired */
	int64_t last_seen_ns;		/* as node.last_seen, which is too coarse to compare */
	uint8_t digest[CTL_DIGEST];	/* of the JSON that it was made from; zero: of none */
	struct warren_node node;
};
struct ctl_record *ctl_record_of(const struct warren_node *node);
/* The record as the server sent it. */
struct ctl_record *ctl_record_base(struct ctl_record *record);

/*
 * Reads a node into a view, whose lists are in the parse's arena. `id` is set as soon as it is
 * known. False: @p says what is wrong.
 */
bool ctl_node_parse(struct ctl_parse *p, const json_t *o, bool self, struct warren_node *out,
		    int64_t *last_seen_ns);
/* A record with a deep copy of @view; NULL: no memory. */
struct ctl_record *ctl_record_new(const struct warren_node *view, int64_t last_seen_ns);
/*
 * The same node, found expired by the clock (section 1.2); it owns @base if @own. A peer loses its
 * endpoints and home region, and a part of its key.
 */
struct ctl_record *ctl_record_expired(struct ctl_record *base, bool self);
/* WARREN_NODE_ bits of what differs. */
uint32_t ctl_node_diff(const struct warren_node *a, const struct warren_node *b);

/* PeerChange, section 6.6. What is not `has_` is unchanged when it is zero. */
struct ctl_patch {
	int64_t id;
	uint32_t home_region, cap_version;
	bool has_caps, has_endpoints, has_expiry;
	const struct warren_cap *caps;
	uint32_t n_caps;
	const struct warren_addrport *endpoints;
	uint32_t n_endpoints;
	struct warren_key32 key, disco_key;
	const uint8_t *key_signature;
	uint32_t n_key_signature;
	uint8_t online;
	int64_t last_seen_ns, key_expiry;
};
bool ctl_patch_parse(struct ctl_parse *p, const json_t *o, struct ctl_patch *out);
/* @base with the patch; NULL: no memory. */
struct ctl_record *ctl_record_patch(const struct ctl_record *base, const struct ctl_patch *patch);

bool ctl_key_is_zero(const struct warren_key32 *key);

#endif
