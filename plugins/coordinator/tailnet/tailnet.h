/*
 * tailnet/tailnet.h - the state of one tailnet: who and what is in it, and every decision about it
 *
 * Threads. All functions are called on one lane, the owner's; nothing is locked. Records
 * (record.h) may be held and read on any thread.
 *
 * How a change travels. It is decided at once, against memory and against what is reserved by
 * changes on their way; becomes a transaction; waits for the writer job, which commits all that
 * has gathered meanwhile with one fsync; and only then, on the lane: memory is changed, listeners
 * are told, the requester is answered, in this order. When the disk refuses, the reservations are
 * given back, the requester gets the error, and memory is what it was. Two changes of the same
 * thing follow each other in the order of their calls; those of different things share a commit.
 * Exceptions, in force before they are on disk: struct tailnet_soft, struct tailnet_live.
 *
 * Callbacks. `done` is called once, never before the function that takes it has returned, on the
 * lane. What it is given lives for the call; references of records may be taken. It may call any
 * function of this header but tailnet_free().
 *
 * Sources: coordinator.md 1.4-1.12, 3.1, 3.4, 3.6; control protocol 4.2, 5, 7.
 */
#ifndef WARREN_COORDINATOR_TAILNET_H
#define WARREN_COORDINATOR_TAILNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

struct store;
struct tailnet;

enum {
	TAILNET_WHY = 2048,		/* bytes of a sentence */
	TAILNET_CODE = 32,		/* "a1b2..." of a login that waits: 24 hex digits, NUL */
	TAILNET_SECRET = 96,		/* text of a pre-auth key with its NUL */
	TAILNET_FQDN = 256,
};
#define TAILNET_TAGGED_USER INT64_C(2147455555)	/* whom clients see as owner of tagged nodes */

/*
 * ---- What the state needs from outside ----
 */

/* The loop, the clock and the job pool. tailnet_host_new() makes one of a plugin's context. */
struct tailnet_env {
	void *self;
	int64_t (*wall)(void *self);	/* microseconds since 1970 */
	uint64_t (*mono)(void *self);	/* microseconds that only go forward: timeouts */
	/* Runs @job(@arg) on another thread, then @done(@arg) on the lane. -errno: not at all. */
	int (*work)(void *self, void (*job)(void *arg), void (*done)(void *arg), void *arg);
	/* Call tailnet_tick() in @usec from now, from the loop; replaces the wish before it. */
	void (*wake)(void *self, uint64_t usec);
	void (*log)(void *self, int level, const char *text);	/* one sentence; syslog.h levels */
};

/* What the policy says. NULL functions: no tag exists, nothing is approved by itself. */
struct tailnet_rules {
	void *self;
	bool (*tag_exists)(void *self, const char *tag);
	bool (*may_tag)(void *self, const struct tailnet_user *user, const char *tag);
	/* autoApprovers; @prefix may be a default route: exitNode. */
	bool (*approves)(void *self, const struct tailnet_node *node,
			 const struct warren_prefix *prefix);
};

struct tailnet_config {
	struct warren_prefix v4, v6;	/* pools; family 0: none. Both inside clients' ranges */
	const char *base_domain;	/* "tail.example.com"; copied */
	int64_t key_expiry;		/* of node keys of users, microseconds; 0: never */
	int64_t ephemeral_timeout;	/* 0: 30 minutes; 65 s at least */
	int64_t quarantine;		/* of addresses of deleted nodes; 0: 48 hours. Of ephemeral
					   ones 10 minutes at most */
	bool approval;			/* new nodes wait for tailnet_do(TAILNET_NODE_APPROVE) */
};

/* -EINVAL with a sentence: prefixes out of range or too small, a base domain that is none. */
int tailnet_config_check(const struct tailnet_config *config, char why[TAILNET_WHY]);

/*
 * ---- Life ----
 */

/*
 * Loads all of @store, which it takes when it succeeds. @env is copied, its `self` outlives the
 * tailnet. NULL: @why.
 */
struct tailnet *tailnet_open(const struct tailnet_env *env, const struct tailnet_config *config,
			     struct store *store, char why[TAILNET_WHY]);
/* As of the next decision; addresses that were given stay. Checked before. */
int tailnet_configure(struct tailnet *tn, const struct tailnet_config *config,
		      char why[TAILNET_WHY]);
/*
 * A policy. One that replaces another approves at once what it approves by itself, and never takes
 * back. The first one after the start does so only for what is announced anew: what an operator
 * took back stays taken back over a restart. Copied.
 */
void tailnet_set_rules(struct tailnet *tn, const struct tailnet_rules *rules);
/*
 * Ends: what waits is answered -ESHUTDOWN, what is being committed is finished, soft facts are
 * written; then @done(@arg), from the loop. After it tailnet_free().
 */
void tailnet_drain(struct tailnet *tn, void (*done)(void *arg), void *arg);
/* Closes the store. No job may run: after tailnet_drain(), or where none was started. */
void tailnet_free(struct tailnet *tn);
/* What env->wake() asked for: due timers, answers, waiting work. */
void tailnet_tick(struct tailnet *tn);
/* The store, for backup and the audit log, which may run in jobs while the tailnet lives. */
struct store *tailnet_store(struct tailnet *tn);

/*
 * ---- Looking ----
 *
 * Lent until control returns to the loop, or to the next call that changes something.
 */

const struct tailnet_node *tailnet_node(const struct tailnet *tn, int64_t id);
const struct tailnet_node *tailnet_node_by_key(const struct tailnet *tn,
					       const uint8_t node_key[32]);
const struct tailnet_node *tailnet_node_by_name(const struct tailnet *tn, const char *label);
const struct tailnet_node *tailnet_node_by_addr(const struct tailnet *tn,
						const struct warren_addr *addr);
const struct tailnet_user *tailnet_user(const struct tailnet *tn, int64_t id);
const struct tailnet_user *tailnet_user_by_login(const struct tailnet *tn, const char *login);
const struct tailnet_user *tailnet_user_by_subject(const struct tailnet *tn, const char *subject);
const struct tailnet_key *tailnet_key(const struct tailnet *tn, int64_t id);
/* All, by id. */
const struct tailnet_node *const *tailnet_nodes(const struct tailnet *tn, uint32_t *count);
const struct tailnet_user *const *tailnet_users(const struct tailnet *tn, uint32_t *count);
const struct tailnet_key *const *tailnet_keys(const struct tailnet *tn, uint32_t *count);
/* A device, known by its machine key: while it has a node, or is pinned to a user. */
struct tailnet_machine {
	int64_t id, created;
	uint8_t key[TAILNET_KEY_SIZE];
	int64_t *nodes, *pins;		/* ids of its nodes; of the users that it is pinned to */
	uint32_t n_nodes, n_pins;
};
/* Whether @machine is pinned to @user. */
bool tailnet_pinned(const struct tailnet *tn, int64_t machine, int64_t user);
/* "name.base.domain." */
const char *tailnet_fqdn(const struct tailnet *tn, const struct tailnet_node *node,
			 char out[TAILNET_FQDN]);
/* The election of @prefix: the node that is primary, 0: none. */
int64_t tailnet_primary(const struct tailnet *tn, const struct warren_prefix *prefix);

/*
 * ---- Being told ----
 */

enum {					/* what differs; bits of tailnet_change.fields */
	TAILNET_F_NODE_KEY = 1u << 0, TAILNET_F_DISCO_KEY = 1u << 1, TAILNET_F_ENDPOINTS = 1u << 2,
	TAILNET_F_HOME_DERP = 1u << 3, TAILNET_F_HOSTINFO = 1u << 4, TAILNET_F_CAPVER = 1u << 5,
	TAILNET_F_LAST_SEEN = 1u << 6, TAILNET_F_ONLINE = 1u << 7, TAILNET_F_EXPIRY = 1u << 8,
	TAILNET_F_EXPIRED = 1u << 9, TAILNET_F_NAME = 1u << 10, TAILNET_F_HOSTNAME = 1u << 11,
	TAILNET_F_USER = 1u << 12, TAILNET_F_TAGS = 1u << 13, TAILNET_F_ADDRESSES = 1u << 14,
	TAILNET_F_ANNOUNCED = 1u << 15, TAILNET_F_APPROVED = 1u << 16, TAILNET_F_PRIMARY = 1u << 17,
	TAILNET_F_AUTHORIZED = 1u << 18, TAILNET_F_HEALTH = 1u << 19, TAILNET_F_OTHER = 1u << 20,
	TAILNET_F_ATTRIBUTES = 1u << 21,
};

enum tailnet_change_kind { TAILNET_ADDED = 1, TAILNET_CHANGED, TAILNET_REMOVED };
struct tailnet_change {
	enum tailnet_change_kind kind;
	uint32_t fields;		/* CHANGED */
	const struct tailnet_node *before, *after;	/* NULL: added, removed */
};
struct tailnet_user_change {
	enum tailnet_change_kind kind;
	const struct tailnet_user *before, *after;
};
/* What came into force together: at most one entry per node and user, in no order. */
struct tailnet_changes {
	uint32_t nodes, users;
	const struct tailnet_change *node;
	const struct tailnet_user_change *user;
};

struct tailnet_listener;
typedef void tailnet_changed_fn(void *arg, const struct tailnet_changes *changes);
/*
 * Called in the order of registration; looking gives what is new. It may start changes, but does
 * not unlisten. NULL: no memory.
 */
struct tailnet_listener *tailnet_listen(struct tailnet *tn, tailnet_changed_fn *fn, void *arg);
void tailnet_unlisten(struct tailnet *tn, struct tailnet_listener *listener);

/*
 * ---- Registration: POST /machine/register ----
 */

struct tailnet_register {		/* copied */
	uint8_t machine_key[TAILNET_KEY_SIZE];	/* of the Noise session: the only credential */
	uint8_t node_key[TAILNET_KEY_SIZE];
	struct warren_addr from;	/* where it comes from; family 0: not known */
	bool has_expiry;		/* Expiry is not the zero time */
	int64_t expiry;			/* what the client asks for; in the past: log out */
	const char *auth_key;		/* Auth.AuthKey; NULL: none */
	const char *code;		/* of the Followup URL; NULL: no Followup */
	bool code_broken;		/* there is a Followup that is no URL of ours */
	const char *hostname;		/* Hostinfo.Hostname; NULL: empty */
	const char *hostinfo;		/* Hostinfo as JSON; NULL: none */
	const char *const *tags;	/* Hostinfo.RequestTags */
	uint32_t n_tags;
	const struct warren_prefix *routes;	/* Hostinfo.RoutableIPs */
	uint32_t n_routes;
	uint32_t home_derp, capver;
};

enum tailnet_registered_as {
	TAILNET_REFUSED = 0,		/* Error = `error` */
	TAILNET_REGISTERED,		/* User, Login and MachineAuthorized of `node` */
	TAILNET_KEY_EXPIRED,		/* NodeKeyExpired */
	TAILNET_LOGIN,			/* AuthURL of `code`; the client comes back with Followup */
	TAILNET_LOGGED_OUT,		/* NodeKeyExpired; MachineAuthorized */
};
struct tailnet_registered {
	enum tailnet_registered_as as;
	int result;			/* 0, or of a refusal -errno (never on the wire) */
	const struct tailnet_node *node;	/* REGISTERED, KEY_EXPIRED; else NULL */
	const struct tailnet_user *user;	/* owner; NULL: tagged */
	const char *code;
	const char *error;		/* for the user of the client */
};

struct tailnet_request;			/* a registration that waits for its answer */
typedef void tailnet_registered_fn(void *arg, const struct tailnet_registered *answer);
/*
 * With Followup the answer may take minutes. The result is for tailnet_cancel() and is valid until
 * the answer. NULL: no memory, @done is not called.
 */
struct tailnet_request *tailnet_register(struct tailnet *tn,
					 const struct tailnet_register *request,
					 tailnet_registered_fn *done, void *arg);
/* The client is gone: no answer. What is on its way to the disk gets there all the same. */
void tailnet_cancel(struct tailnet *tn, struct tailnet_request *request);

/*
 * A login that waits for its user, for 15 minutes, in memory only; at most 1,024, and 64 from one
 * address (a /64 of IPv6), which can push out nobody else's.
 */
struct tailnet_pending {
	const char *code;
	uint8_t machine_key[TAILNET_KEY_SIZE], node_key[TAILNET_KEY_SIZE];
	const char *hostname, *hostinfo;	/* "" and NULL: none */
	const struct tailnet_strings *tags;
	struct warren_addr from;	/* family 0: not known */
	int64_t created, until;
	uint32_t followers;		/* requests that wait for it now */
};
const struct tailnet_pending *tailnet_pending(const struct tailnet *tn, const char *code);
/* All: start with *@pos 0; NULL at the end. */
const struct tailnet_pending *tailnet_pending_next(const struct tailnet *tn, uint32_t *pos);

/*
 * ---- Map requests and streams ----
 */

/* Hostinfo, endpoints and keys of a map request; what is absent is left as it was. */
struct tailnet_update {
	const uint8_t *disco_key;	/* 32 bytes; NULL or zero: absent */
	const struct tailnet_endpoint *endpoints;
	uint32_t n_endpoints;
	bool has_endpoints;		/* lite updates: none means that there are none */
	const char *hostinfo;		/* the whole object; NULL: absent. Then also: */
	const char *hostname;
	const struct warren_prefix *routes;
	uint32_t n_routes;
	uint32_t home_derp;		/* 0: absent */
	uint32_t capver;		/* 0: absent */
};
/*
 * Soft facts are in force and told at once. A new hostname or other routes become a change that
 * @done (may be NULL) tells the end of: 0 or -errno. -ENOENT: no such node; @done is not called.
 */
int tailnet_update(struct tailnet *tn, int64_t node, const struct tailnet_update *update,
		   void (*done)(void *arg, int result), void *arg);

/*
 * A map stream of the node opens and ends. Online at the first, offline 10 s after the last ended.
 * The timer of an ephemeral node runs from there, and from registration and start.
 */
void tailnet_stream_opened(struct tailnet *tn, int64_t node);
void tailnet_stream_closed(struct tailnet *tn, int64_t node);
/*
 * Nodes whose answer matters: those online that serve a network which another one could serve as
 * well, and those that gave none. By id; for free(). NULL: none, or no memory.
 */
int64_t *tailnet_contested(const struct tailnet *tn, uint32_t *count);
/* What a look at some of them found; all of it counts before anybody is elected. */
struct tailnet_health {
	int64_t node;
	bool healthy;
};
void tailnet_set_health(struct tailnet *tn, const struct tailnet_health *found, uint32_t count);

/*
 * ---- Administration ----
 */

/* Behind each the fields of struct tailnet_act that it reads; those with a + may be absent. */
enum tailnet_verb {
	TAILNET_USER_CREATE = 1,	/* text: login, +display, +email, role */
	TAILNET_USER_LOGIN,		/* a provider's user came: provider, subject, text: login,
					   +display, +email, +picture, groups; made or refreshed */
	TAILNET_USER_RENAME,		/* user, text; local users only */
	TAILNET_USER_ROLE,		/* user, role */
	TAILNET_USER_PIN,		/* user, flag: only pinned machines bring node keys;
					   those that have a node of the user are pinned */
	TAILNET_USER_DELETE,		/* user; refused while nodes are owned */
	TAILNET_MACHINE_PIN,		/* node or machine_key, user, flag */
	TAILNET_NODE_RENAME,		/* node, text; "": automatic again */
	TAILNET_NODE_EXPIRY,		/* node, time; 0: never; past: expires now */
	TAILNET_NODE_TAG,		/* node, tags (not empty); each must be in the policy */
	TAILNET_NODE_ROUTES,		/* node, prefixes: all that are approved from now on */
	TAILNET_NODE_APPROVE,		/* node, flag: device approval, or taken back */
	TAILNET_NODE_MOVE,		/* node, user: a user's from now on; tags are dropped */
	TAILNET_NODE_ADDRESS,		/* node, addr: instead of the one of that family */
	TAILNET_NODE_ATTRIBUTES,	/* node, attributes: "custom:name=JSON" each, set beside
					   those that it has; null takes one away */
	TAILNET_NODE_LOGOUT,		/* node: as its own logout */
	TAILNET_NODE_DELETE,		/* node */
	TAILNET_KEY_CREATE,		/* +user, +tags (one of them), +text: note, +time: expiry,
					   reusable, ephemeral, preauthorized; gives secret */
	TAILNET_KEY_REVOKE,		/* key */
	TAILNET_KEY_DELETE,		/* key */
	TAILNET_LOGIN_APPROVE,		/* code, user, +time: expiry of the node key, flag: pin the
					   machine, preauthorized: device approval as well */
	TAILNET_LOGIN_REJECT,		/* code */
	TAILNET_NOTE,			/* for the audit log alone, what was decided elsewhere:
					   text: the action, kind, +node, display: the name of it,
					   +before, +after */
	TAILNET_VERBS
};
const char *tailnet_verb_name(enum tailnet_verb verb);	/* "node.rename", as in the audit log */

struct tailnet_act {			/* copied; zero what a verb does not read */
	enum tailnet_verb verb;
	const char *actor, *origin;	/* who and how, for the audit log: store.h */
	int64_t user, node, key;
	const uint8_t *machine_key;
	const char *code;
	const char *text, *display, *email, *picture, *provider, *subject;
	const char *kind, *before, *after;	/* of a note; JSON objects */
	const char *const *strings;	/* tags, groups or attributes */
	uint32_t n_strings;
	const struct warren_prefix *prefixes;
	uint32_t n_prefixes;
	struct warren_addr addr;
	int64_t time;
	enum tailnet_role role;
	bool flag, reusable, ephemeral, preauthorized;
};

struct tailnet_outcome {
	int result;			/* 0 or -errno */
	const char *error;		/* the sentence; NULL: done */
	const struct tailnet_user *user;	/* as they are now, where one was made or changed */
	const struct tailnet_node *node;
	const struct tailnet_key *key;
	const char *secret;		/* KEY_CREATE: the only time that it is seen */
};
typedef void tailnet_done_fn(void *arg, const struct tailnet_outcome *outcome);
/* @done may be NULL. -ENOMEM: it is not called. */
int tailnet_do(struct tailnet *tn, const struct tailnet_act *act, tailnet_done_fn *done, void *arg);

/* Counters since start, for metrics. */
struct tailnet_stats {
	uint64_t commits, transactions, failed;	/* of the writer */
	uint32_t waiting, flying;	/* requests; transactions on their way to the disk */
	uint32_t online;
};
void tailnet_stats(const struct tailnet *tn, struct tailnet_stats *stats);

#endif
