/*
 * static: the parts of the plugin and what they hand to each other.
 *
 * section of the YAML file --plan.c, accept.c--> plan --set.c--> set of records --map.c-->
 * snapshot
 *
 * A plan is what the section says, checked. A record is a node as the network map has it, immutable
 * and reference-counted: snapshots share it while nothing about the node changes, so equal pointers
 * mean equal nodes. All functions but the releases of records and policies belong to one lane.
 */
#ifndef STATIC_STATIC_H
#define STATIC_STATIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/service/netmap.h>

#include "base/arena.h"
#include "base/hash.h"

enum {
	STATIC_NAME_MAX = 63,		/* of a peer: a DNS label's length (RFC 1035 2.3.4) */
	STATIC_HOST_MAX = 253,		/* a domain name as text (RFC 1035 2.3.4) */
	STATIC_ADDRS_MAX = 8,		/* of one host name that are kept */
	STATIC_DSTS_MAX = 65536,	/* destinations times ports of one accept entry */
};

/*
 * ---- plan.c, accept.c: what the section says ----
 */

struct static_endpoint {
	bool given, literal;		/* literal: `addr` is it; else `host` is looked up */
	char host[STATIC_HOST_MAX + 1];
	struct warren_addr addr;
	uint16_t port;
};

struct static_peer_plan {
	const struct warren_conf *conf;
	const char *name;
	struct warren_key32 key, psk;
	bool has_psk, exit_node;
	uint16_t keepalive;
	struct static_endpoint endpoint;
	const struct warren_prefix *allowed;	/* in file order */
	uint32_t n_allowed;
};

/* `accept:` as rules of the packet filter; shared by snapshots. */
struct static_policy {
	atomic_uint refs;
	struct arena arena;
	struct warren_filter_rule *rules;
	uint32_t n_rules;
	/* What rules let through, beside this node itself: becomes self's allowed IPs. */
	const struct warren_prefix *served;
	uint32_t n_served;
};

struct static_plan {
	struct arena arena;
	struct warren_prefix *addresses;	/* with host bits: 10.90.0.1/24 */
	uint32_t n_addresses;
	struct static_peer_plan *peers;
	uint32_t n_peers;
	struct hash by_name;
	struct static_policy *policy;	/* NULL: no `accept:` */
};

/*
 * Reads and checks the whole section; all mistakes go to @err. @own_key NULL: not known yet.
 * NULL: there were mistakes, or no memory. Secrets that were not opened are not judged.
 */
struct static_plan *static_plan_new(const struct warren_conf *conf, const uint8_t *own_key,
				    struct warren_err *err);
void static_plan_free(struct static_plan *plan);	/* wipes; NULL is allowed */

/* Checks of single options, for the rows. */
int static_check_key(const struct warren_conf *at, struct warren_err *err);
int static_check_endpoint(const struct warren_conf *at, struct warren_err *err);
int static_check_ports(const struct warren_conf *at, struct warren_err *err);

/* base64 as WireGuard writes it, or the control protocol's "nodekey:" and 64 hex digits. */
int static_key_parse(const char *text, struct warren_key32 *out);

/*
 * Compiles `accept:` of the section @conf; @plan has the addresses and peers. NULL with sentences
 * in @err.
 */
struct static_policy *static_policy_new(const struct warren_conf *conf,
					const struct static_plan *plan, struct warren_err *err);
struct static_policy *static_policy_ref(struct static_policy *policy);
void static_policy_unref(struct static_policy *policy);	/* any thread; NULL is allowed */
bool static_policy_equal(const struct static_policy *a, const struct static_policy *b);

/*
 * ---- set.c: the records of one configuration ----
 */

struct static_record {
	atomic_uint refs;
	struct warren_node node;
	struct warren_key32 psk;
	const struct warren_prefix *networks;	/* self only */
	uint32_t n_networks;
};

struct static_record *static_record_ref(struct static_record *record);
void static_record_unref(struct static_record *record);	/* any thread; wipes; takes NULL */
/* The record that @node is part of. */
struct static_record *static_record_of(const struct warren_node *node);
/* WARREN_NODE_ bits of what differs; 0: the same but for the pointer. */
uint32_t static_record_diff(const struct static_record *a, const struct static_record *b);

struct static_host {			/* the name in a peer's endpoint; name empty: none */
	char name[STATIC_HOST_MAX + 1];
	uint16_t port;
	bool busy;			/* being looked up */
	bool failed;			/* the last look-up found nothing */
	uint32_t attempts;		/* failures in a row */
	uint64_t due;			/* next look-up, warren_now() */
	struct warren_addr addrs[STATIC_ADDRS_MAX];
	uint32_t n_addrs;
};

struct static_peer {
	struct static_record *record;
	struct static_host host;
};

struct static_set {
	struct static_record *self;
	struct static_peer **peers;	/* sorted by id, which is the order of their first coming */
	uint32_t n_peers;
	struct static_policy *policy;	/* NULL: no `accept:` */
	int64_t next_id;
};

/*
 * Makes the records of @plan. What is equal in @before (NULL: nothing) is shared with it; a peer
 * keeps its id as long as its key or its name stays. NULL: no memory.
 */
struct static_set *static_set_new(const struct static_plan *plan, const uint8_t own_key[32],
				  const struct static_set *before);
void static_set_free(struct static_set *set);		/* NULL is allowed */
/* Gives self another key. 0 or -ENOMEM. */
int static_set_rekey(struct static_set *set, const uint8_t own_key[32]);
/* Puts the addresses of its host name into the peer's record. 1: changed, 0: as before, -ENOMEM. */
int static_peer_resolved(struct static_peer *peer, const struct warren_addr *addrs, uint32_t n);

/*
 * ---- map.c: snapshots ----
 */

/*
 * The snapshot of @set with the changes against @before (NULL: the first), one reference. The
 * records are shared. NULL: no memory.
 */
struct static_exit {			/* netmap->exit_set() */
	bool chosen;
	int64_t node;
};
struct warren_netmap *static_map_new(const struct static_set *set, const struct static_exit *exit,
				     const struct warren_netmap *before);

#endif
