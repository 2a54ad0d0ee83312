/*
 * warren/service/netmap.h - service "netmap" 0.4: who is in the network and what is allowed
 *
 * A network map is an immutable, reference-counted snapshot plus a list of what changed since the
 * one before. The provider (`static` or `control`) publishes it on the sticky topic "netmap" and
 * knows no consumer. A consumer reconciles from the change list and can rebuild from the snapshot
 * alone; after a gap (its last serial is not `previous`) it must rebuild.
 *
 * Everything below is constant once published and lives as long as a reference to the snapshot is
 * held; pointers inside point into the snapshot. Absent strings are NULL, absent times 0 (seconds
 * since 1970). Lists are pointer and count. Records that did not change may be shared between
 * snapshots: equal pointers mean equal records.
 * Source of the fields: control-protocol.md 6.3-6.13, 8 (MapResponse, Node, FilterRule, ...).
 */
#ifndef WARREN_SERVICE_NETMAP_H
#define WARREN_SERVICE_NETMAP_H

#include <warren/plugin.h>

struct warren_key32 {
	uint8_t bytes[32];
};

enum { WARREN_TRI_UNKNOWN = 0, WARREN_TRI_NO = 1, WARREN_TRI_YES = 2 };

/* A capability and its values, each a piece of JSON text; unknown ones are kept as they came. */
struct warren_cap {
	const char *name;
	const char *const *values;
	uint32_t n_values;
};

struct warren_service {			/* Hostinfo.Services */
	const char *proto;		/* tcp, udp, peerapi4, peerapi6, peerapi-dns-proxy */
	uint16_t port;
	const char *description;
};

struct warren_location {
	const char *country, *country_code, *city, *city_code;
	int32_t latitude_e4, longitude_e4;	/* degrees x 10,000 */
	int32_t priority;
};

/* A node: this one or a peer. */
struct warren_node {
	int64_t id;			/* unique in the provider; never 0 */
	const char *stable_id;
	const char *name;		/* FQDN with trailing dot, or a plain name from `static` */
	int64_t user;			/* owner, key of `users` */
	int64_t sharer;
	struct warren_key32 key;	/* WireGuard public key */
	struct warren_key32 disco_key;	/* zero: no disco */
	struct warren_key32 machine_key;
	int64_t key_expiry;
	const uint8_t *key_signature;
	uint32_t n_key_signature;
	const struct warren_prefix *addresses;	/* its own, /32 and /128; IPv4 first */
	uint32_t n_addresses;
	const struct warren_prefix *allowed_ips;	/* addresses and routes it serves for us */
	uint32_t n_allowed_ips;
	const struct warren_prefix *primary_routes;
	uint32_t n_primary_routes;
	const struct warren_addrport *endpoints;	/* UDP candidates, in order of preference */
	uint32_t n_endpoints;
	uint32_t home_region;		/* relay region, 0 unknown */
	uint32_t cap_version;		/* of the node's software */
	const char *const *tags;
	uint32_t n_tags;
	const struct warren_cap *caps;	/* sorted by name */
	uint32_t n_caps;
	int64_t created, last_seen;
	uint8_t online;			/* WARREN_TRI_ */
	bool expired, machine_authorized, wireguard_only, jailed, unsigned_peerapi_only;
	/* A peer that takes no part: expired, or nothing is told by which it could be reached. */
	bool dormant;
	/* Offers (self: may be) a way to all of the internet; such routes are in no list above. */
	bool exit_v4, exit_v6;
	struct warren_addr masquerade_v4, masquerade_v6;	/* our source towards this peer */
	/* from Hostinfo */
	const char *hostname, *os, *os_version, *app;
	const struct warren_service *services;
	uint32_t n_services;
	const char *const *ssh_host_keys;
	uint32_t n_ssh_host_keys;
	const struct warren_location *location;
	bool shields_up, ingress, ingress_enabled, peer_relay;
	const struct warren_resolver *exit_resolvers;
	uint32_t n_exit_resolvers;
	/* only from `static` */
	const struct warren_key32 *psk;	/* NULL: none; wiped with the last snapshot that has it */
	uint16_t keepalive;		/* seconds, 0: off */
};

struct warren_user {
	int64_t id;
	const char *login, *name, *picture;
};

/*
 * ---- Packet filter ----
 */

enum { WARREN_SRC_PREFIX = 1, WARREN_SRC_RANGE, WARREN_SRC_ANY, WARREN_SRC_CAP };
struct warren_src {
	uint8_t kind;
	struct warren_prefix prefix;
	struct warren_addr first, last;	/* RANGE, both inclusive */
	const char *cap;		/* CAP: nodes that have this attribute */
};
struct warren_dst {
	uint8_t kind;			/* PREFIX, RANGE, ANY */
	struct warren_prefix prefix;
	struct warren_addr first, last;
	uint16_t port_first, port_last;	/* both inclusive; 0-65535: all */
};
struct warren_cap_grant {
	const struct warren_prefix *dsts;
	uint32_t n_dsts;
	const struct warren_cap *caps;
	uint32_t n_caps;
};
struct warren_filter_rule {
	const struct warren_src *srcs;
	uint32_t n_srcs;
	const struct warren_dst *dsts;	/* or grants, never both */
	uint32_t n_dsts;
	const uint8_t *protocols;	/* IP protocol numbers; none: TCP, UDP, ICMP, ICMPv6 */
	uint32_t n_protocols;
	const struct warren_cap_grant *grants;
	uint32_t n_grants;
};

/* What decides about inner packets while nobody holds the data plane's verdict slot. */
enum { WARREN_POLICY_NONE = 0,		/* drop all: the policy needs a verdict provider */
       WARREN_POLICY_ALLOWED_IPS = 1 };	/* accept what allowed IPs let through (`static` only) */

/*
 * ---- DNS, relay map, SSH ----
 */

struct warren_resolver {
	const char *address;		/* IP, IP:port, https://..., http://node:port/... */
	const struct warren_addr *bootstrap;
	uint32_t n_bootstrap;
	bool use_with_exit_node;
};
struct warren_dns_route {
	const char *suffix;		/* no leading dot */
	const struct warren_resolver *resolvers;	/* none: answered by the local resolver */
	uint32_t n_resolvers;
};
struct warren_dns_record {
	const char *name, *type, *value;	/* type NULL: by the value, A or AAAA */
};
struct warren_dns {
	const struct warren_resolver *resolvers, *fallback;
	uint32_t n_resolvers, n_fallback;
	const struct warren_dns_route *routes;
	uint32_t n_routes;
	const char *const *search, *const *cert_domains, *const *exit_filtered;
	uint32_t n_search, n_cert_domains, n_exit_filtered;
	const struct warren_dns_record *records;
	uint32_t n_records;
	bool proxied;			/* MagicDNS is on */
};

struct warren_relay_node {
	const char *name, *host_name, *cert_name;
	struct warren_addr ipv4, ipv6;	/* family 0: look it up */
	bool no_ipv4, no_ipv6;		/* "none" */
	int32_t stun_port, derp_port;	/* stun -1: none */
	bool stun_only, insecure_for_tests, can_port80;
};
struct warren_relay_region {
	uint32_t id;
	const char *code, *name;
	bool no_measure_no_home, avoid;
	int32_t score_e3;		/* HomeParams.RegionScore x 1000; 1000 when absent */
	int32_t latitude_e4, longitude_e4;
	const struct warren_relay_node *nodes;
	uint32_t n_nodes;
};

struct warren_ssh_principal {
	const char *node, *user_login;	/* stable id; login name */
	struct warren_addr node_ip;
	bool any;
};
struct warren_ssh_user {
	const char *requested, *local;	/* "*"; "=", a name, or "" */
};
struct warren_ssh_action {
	const char *message, *hold_and_delegate;
	bool reject, accept, agent_forwarding, local_forwarding, remote_forwarding;
	int64_t session_duration;	/* microseconds, 0: no limit */
	const struct warren_addrport *recorders;
	uint32_t n_recorders;
	const char *recording_reject_message, *recording_terminate_message, *recording_notify_url;
};
struct warren_ssh_rule {
	int64_t expires;
	const struct warren_ssh_principal *principals;
	uint32_t n_principals;
	const struct warren_ssh_user *users;
	uint32_t n_users;
	const struct warren_ssh_action *action;
	const char *const *accept_env;
	uint32_t n_accept_env;
};

/*
 * ---- The snapshot ----
 */

enum {					/* bits of `changed` */
	WARREN_NETMAP_SELF = 1u << 0,	/* self, networks, builtin_policy */
	WARREN_NETMAP_PEERS = 1u << 1,
	WARREN_NETMAP_FILTER = 1u << 2,
	WARREN_NETMAP_DNS = 1u << 3,
	WARREN_NETMAP_RELAYS = 1u << 4,
	WARREN_NETMAP_SSH = 1u << 5,
	WARREN_NETMAP_USERS = 1u << 6,
	WARREN_NETMAP_HEALTH = 1u << 7,
	WARREN_NETMAP_ALL = 0xff,
};

enum { WARREN_CHANGE_ADDED = 1, WARREN_CHANGE_REMOVED, WARREN_CHANGE_MODIFIED };
enum {					/* `fields` of a MODIFIED peer */
	WARREN_NODE_KEY = 1u << 0,
	WARREN_NODE_DISCO_KEY = 1u << 1,
	WARREN_NODE_ALLOWED_IPS = 1u << 2,
	WARREN_NODE_ENDPOINTS = 1u << 3,
	WARREN_NODE_HOME_REGION = 1u << 4,
	WARREN_NODE_PRESENCE = 1u << 5,	/* online, last_seen */
	WARREN_NODE_PSK = 1u << 6,	/* psk, keepalive */
	WARREN_NODE_OTHER = 1u << 7,
	/* Where and how it is reached, and not who it is or what it leads to: most changes. */
	WARREN_NODE_REACHED = WARREN_NODE_KEY | WARREN_NODE_DISCO_KEY | WARREN_NODE_ENDPOINTS |
			      WARREN_NODE_HOME_REGION | WARREN_NODE_PRESENCE | WARREN_NODE_PSK,
};
struct warren_netmap_change {
	uint32_t what;			/* WARREN_CHANGE_ */
	uint32_t fields;
	const struct warren_node *before, *after;	/* NULL where there is none */
};

struct warren_netmap {
	struct warren_obj obj;
	uint64_t serial;		/* rises by one; 1 is the first of this provider's life */
	uint64_t previous;		/* serial that `changes` refer to; 0: rebuild */
	uint32_t changed;		/* WARREN_NETMAP_ bits against `previous` */
	const struct warren_netmap_change *changes;
	uint32_t n_changes;

	const char *domain;		/* tailnet name, or NULL */
	const struct warren_node *self;	/* NULL: not (or no longer) in a network */
	const struct warren_node *const *peers;	/* sorted by id */
	uint32_t n_peers;
	const struct warren_user *users;	/* sorted by id */
	uint32_t n_users;
	/* Whole inner networks: led into the tunnel, whether or not a peer has the address. */
	const struct warren_prefix *networks;
	uint32_t n_networks;
	/*
	 * Of the peers' allowed IPs only their own addresses count, and no network behind them: see
	 * warren_netmap_takes(). A change makes `previous` 0.
	 */
	bool addresses_only;
	/*
	 * Somebody chooses the peer that all of the internet is reached through (0.4), and chose
	 * that with this id; 0: none, as long as the wanted one is not there. Nobody chooses: what
	 * allowed IPs say.
	 */
	bool exit_chosen;
	int64_t exit_node;

	uint32_t builtin_policy;	/* WARREN_POLICY_ */
	const struct warren_filter_rule *filter;
	uint32_t n_filter;
	const struct warren_dns *dns;	/* never NULL */
	const struct warren_relay_region *regions;	/* sorted by id */
	uint32_t n_regions;
	const struct warren_ssh_rule *ssh;
	uint32_t n_ssh;
	const char *const *health;	/* sentences of the server */
	uint32_t n_health;
};

/* Whether the operator takes @allowed, one of the allowed IPs of peer @node. Any thread. */
bool warren_netmap_takes(const struct warren_netmap *map, const struct warren_node *node,
			 const struct warren_prefix *allowed)
	__attribute__((visibility("default")));
/*
 * Whether @grant of @rule, one of the filter's, gives its capabilities to node @from towards this
 * one (`self`, which must be there). Any thread.
 */
bool warren_netmap_granted(const struct warren_netmap *map, const struct warren_filter_rule *rule,
			   const struct warren_cap_grant *grant, const struct warren_node *from)
	__attribute__((visibility("default")));

/* Whether @addr is one of @node's own; the peer whose own it is, or NULL. Any thread. */
bool warren_netmap_has(const struct warren_node *node, const struct warren_addr *addr)
	__attribute__((visibility("default")));
const struct warren_node *warren_netmap_owner(const struct warren_netmap *map,
					      const struct warren_addr *addr)
	__attribute__((visibility("default")));

/*
 * The ways to all of the internet that the operator takes of @node beyond its allowed IPs (0.4):
 * their number, two at most. Any thread.
 */
uint32_t warren_netmap_exits(const struct warren_netmap *map, const struct warren_node *node,
			     struct warren_prefix out[2])
	__attribute__((visibility("default")));
/* Whether @node offers such a way at all, in a list or by a flag (0.4). Any thread. */
bool warren_netmap_is_exit(const struct warren_node *node)
	__attribute__((visibility("default")));

/* Whether the list of changes of @map leads there from @before (NULL: none). Any thread. */
bool warren_netmap_follows(const struct warren_netmap *map, const struct warren_netmap *before)
	__attribute__((visibility("default")));
/*
 * Whether peers came, went or changed in other fields than @but (WARREN_NODE_), or may have: true
 * where @map does not follow @before. Any thread.
 */
bool warren_netmap_peers_differ(const struct warren_netmap *map, const struct warren_netmap *before,
				uint32_t but)
	__attribute__((visibility("default")));

/* The peer with @id; NULL: none, or no map. Any thread. */
const struct warren_node *warren_netmap_peer(const struct warren_netmap *map, int64_t id)
	__attribute__((visibility("default")));
/* Whether @prefix is one of the addresses of @node. Any thread. */
bool warren_netmap_has_address(const struct warren_node *node, const struct warren_prefix *prefix)
	__attribute__((visibility("default")));

enum warren_facet {			/* what a node tells its server about itself */
	WARREN_FACET_ROUTES = 1, WARREN_FACET_SERVICES, WARREN_FACET_SSH_HOST_KEYS,
	WARREN_FACET_INGRESS, WARREN_FACET_ENDPOINTS, WARREN_FACET_NETINFO, WARREN_FACET_APP,
};

struct warren_netmap_ops {
	uint32_t size;
	/* Any thread: a reference to the newest snapshot, or NULL. */
	const struct warren_netmap *(*current)(void *self);
	/*
	 * Lane. Replaces the part of this node's own description that @ctx owns; the value is JSON
	 * text in the server's form (an array or object), copied; NULL withdraws it, as does the
	 * end of @ctx. Changes are merged for 100 ms. `static` ignores it.
	 */
	int (*self_set)(void *self, struct warren_ctx *ctx, enum warren_facet facet,
			const char *value);
	const char *provider;		/* "static", "control" */
	/*
	 * Lane (0.2). Whether networks behind peers are taken (`addresses_only` is the opposite):
	 * @ctx owns the answer, -EBUSY where another does; without an owner it is no. `static`,
	 * whose peers are the operator's own words, ignores it.
	 */
	int (*accept_set)(void *self, struct warren_ctx *ctx, bool accept);
	/*
	 * Lane (0.3). Would peers learn now what this node tells of itself? Not while the server is
	 * away. `static`, where nobody is told anything, says yes.
	 */
	bool (*connected)(void *self);
	/*
	 * Lane (0.4). Chooses for @ctx, which owns the choice, the peer whose way to all of the
	 * internet is taken; @id 0: of none. @chosen false, and the end of @ctx, take the choice
	 * back. -EBUSY where another owns it.
	 */
	int (*exit_set)(void *self, struct warren_ctx *ctx, bool chosen, int64_t id);
};

#endif
