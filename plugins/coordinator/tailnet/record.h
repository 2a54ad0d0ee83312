/*
 * tailnet/record.h - users, nodes and keys as immutable records
 *
 * A record is never changed: a change makes a new one, which takes the old one's place when it is
 * on the disk. So a reference (any thread may take, hold and drop one) shows one consistent state
 * for as long as it is held, and the writer job reads what it stores without a lock. All that a
 * record points to belongs to the record or is shared by reference, and lives as long as it does.
 *
 * Times are microseconds since 1970; 0: never, or not known. Ids are positive, given once and
 * never again. Sources: coordinator.md 1.1-1.4, 1.10, 1.11; control protocol 6.7.
 */
#ifndef WARREN_COORDINATOR_RECORD_H
#define WARREN_COORDINATOR_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

enum {
	TAILNET_KEY_SIZE = 32,		/* machine, node and disco keys: X25519 */
	TAILNET_LABEL = 63,		/* bytes of a node's name, a DNS label */
	TAILNET_HOSTNAME = 255,		/* bytes kept of what a client calls itself */
	TAILNET_TEXT = 255,		/* bytes of a login, a name, an address, a note */
	TAILNET_URL = 2048,		/* bytes of a picture, of issuer and subject */
	TAILNET_HOSTINFO = 64 << 10,	/* bytes of a Hostinfo as JSON */
	TAILNET_TAGS = 64,		/* tags of one node or key */
	TAILNET_ROUTES = 1024,		/* announced or approved prefixes of one node */
	TAILNET_ENDPOINTS = 64,		/* endpoints of one node */
	TAILNET_GROUPS = 512,		/* groups that a provider says of one user */
	TAILNET_ATTRIBUTES = 64,	/* attributes of one node */
	TAILNET_ATTRIBUTE = 100,	/* bytes of the name of one, of a text that is its value */
};

/* Immutable lists, shared by reference. NULL is an empty one. */
struct tailnet_strings {
	uint32_t count;
	const char *const *at;
};
struct tailnet_prefixes {		/* sorted, no duplicates, no host bits */
	uint32_t count;
	struct warren_prefix at[];
};
struct tailnet_endpoint {
	struct warren_addrport at;
	uint8_t type;			/* control protocol 6.1, EndpointTypes */
};
struct tailnet_endpoints {		/* in the client's order */
	uint32_t count;
	struct tailnet_endpoint at[];
};

enum tailnet_role {		/* coordinator.md 1.3; the words of autogroups */
	TAILNET_MEMBER = 0, TAILNET_OWNER, TAILNET_ADMIN, TAILNET_IT_ADMIN, TAILNET_NETWORK_ADMIN,
	TAILNET_BILLING_ADMIN, TAILNET_AUDITOR, TAILNET_ROLES
};
const char *tailnet_role_name(enum tailnet_role role);	/* "it-admin" */

struct tailnet_user {
	uint64_t generation;		/* of this record: greater than that of older ones */
	int64_t id;
	int64_t created;
	const char *login;		/* unique among local users: "wells" or an address */
	const char *display;		/* never empty: display name, else login */
	const char *email;		/* empty: none */
	const char *picture;		/* URL or empty */
	const char *provider;		/* empty: a local user; "oidc", "github" */
	const char *subject;		/* issuer and subject, unique; empty: a local user */
	const struct tailnet_strings *groups;	/* of the provider, as of the last login */
	enum tailnet_role role;
	bool pinned;			/* only machines that are pinned to the user bring keys */
};

/*
 * What changes often and is not worth waiting for the disk: it is in force at once and written
 * behind in batches; a crash loses the last seconds of it.
 */
struct tailnet_soft {
	uint8_t disco_key[TAILNET_KEY_SIZE];	/* zero: none yet */
	const struct tailnet_endpoints *endpoints;
	const char *hostinfo;		/* the client's JSON object; NULL: none */
	uint32_t home_derp;		/* 0: not known */
	uint32_t capver;
	int64_t last_seen;		/* of a node without a stream: when that ended */
};

/* In memory only: as of now, all gone with a restart. */
struct tailnet_live {
	uint32_t sessions;		/* open map streams */
	bool online;			/* has a stream, or lost it less than the grace ago */
	bool unhealthy;			/* does not answer probes: no primary while others do */
	bool expired;			/* its expiry has passed */
	const struct tailnet_prefixes *primary;	/* prefixes that it is elected for */
};

struct tailnet_node {
	uint64_t generation;
	int64_t id;
	int64_t user;			/* 0: the node is tagged, and owned by its tags */
	int64_t machine;		/* the device: it outlives node keys and nodes */
	int64_t auth_key;		/* the key that it came with; 0: none, or deleted */
	int64_t created;
	int64_t expiry;
	uint8_t machine_key[TAILNET_KEY_SIZE];
	uint8_t node_key[TAILNET_KEY_SIZE];
	struct warren_addr v4, v6;	/* family 0: none of that family */
	const char *name;		/* DNS label, unique, never empty */
	const char *hostname;		/* what the client calls itself, untouched */
	const struct tailnet_strings *tags;	/* sorted; "tag:name" */
	const struct tailnet_prefixes *announced;	/* Hostinfo.RoutableIPs, exit routes too */
	const struct tailnet_prefixes *approved;
	const struct tailnet_strings *attributes;	/* "custom:name=JSON", for postures */
	bool automatic;			/* the name follows the hostname */
	bool ephemeral;			/* deleted when it has been offline for a while */
	bool authorized;		/* approved: else it sees nobody, and nobody sees it */
	bool interactive;		/* registered by login or approval; else by a key */

	struct tailnet_soft soft;
	struct tailnet_live live;
};

struct tailnet_key {			/* a pre-auth key; its secret is in no record */
	uint64_t generation;
	int64_t id;
	int64_t user;			/* 0: tags only */
	int64_t created;
	int64_t expiry;			/* of the key; 0: never */
	int64_t used;			/* when it was used first (reusable: not counted) */
	int64_t revoked;
	uint8_t hash[32];
	const char *prefix;		/* of the text, for people: "wkey-auth-0123456789ab" */
	const char *note;		/* the operator's, or empty */
	const struct tailnet_strings *tags;
	bool reusable, ephemeral, preauthorized;
};

/* Another reference, the same pointer; dropping one. Any thread; NULL is allowed. */
const struct tailnet_user *tailnet_user_ref(const struct tailnet_user *user);
void tailnet_user_unref(const struct tailnet_user *user);
const struct tailnet_node *tailnet_node_ref(const struct tailnet_node *node);
void tailnet_node_unref(const struct tailnet_node *node);
const struct tailnet_key *tailnet_key_ref(const struct tailnet_key *key);
void tailnet_key_unref(const struct tailnet_key *key);

/* Whether a list has the string, the prefix. */
bool tailnet_strings_have(const struct tailnet_strings *list, const char *text);
bool tailnet_prefixes_have(const struct tailnet_prefixes *list,
			   const struct warren_prefix *prefix);
/* Announced and approved; 0.0.0.0/0 and ::/0 are in it where both hold. Any thread. */
bool tailnet_node_serves(const struct tailnet_node *node, const struct warren_prefix *prefix);

#endif
