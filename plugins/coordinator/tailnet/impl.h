/*
 * tailnet/impl.h - what the files of the state share
 *
 * state.c     the records in memory and their indexes; loading
 * change.c    a change on its way: reservations, transaction, commit, effects
 * tell.c      what listeners are told
 * route.c     who serves which prefix
 * soft.c      soft facts, streams;  tick.c: what happens by time
 * register.c  requests of machines; pending.c: logins that wait; login.c: what a login does
 * act.c ...   requests of people
 */
#ifndef WARREN_COORDINATOR_IMPL_H
#define WARREN_COORDINATOR_IMPL_H

#include "address.h"
#include "base/arena.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/str.h"
#include "make.h"
#include "tailnet.h"

struct store_audit;
struct store_tx;

enum {
	PENDING_MAX = 1024, PENDING_OF_ONE = 64,
	BATCH_MAX = 128,		/* transactions of one commit: bounds the lane too */
	REQUESTS_MAX = 16384,		/* registrations and acts that wait at once */
	SECOND = 1000000,
};
#define PENDING_TTL (INT64_C(900) * SECOND)
/* Names are cached for so long: 50 CI jobs a second must not use up a pool in a day. */
#define EPHEMERAL_QUARANTINE (INT64_C(600) * SECOND)
#define OFFLINE_GRACE (UINT64_C(10) * SECOND)
#define SOFT_DELAY (UINT64_C(5) * SECOND)
#define SCAN_AT_LEAST (UINT64_C(100000))	/* between two looks at all timers */
#define SCAN_AT_MOST (UINT64_C(30) * SECOND)	/* however the wall clock is set */

/*
 * ---- Memory ----
 */

struct place {				/* of a node in memory; parallel to tn->nodes */
	const struct tailnet_node *node;
	uint64_t offline_at;		/* mono; 0: no grace runs */
	uint64_t delete_at;		/* mono; 0: not ephemeral, or it has a stream */
	uint32_t delta;			/* its place in node_deltas, from 1 */
	bool dirty;			/* soft facts are not on disk */
	bool going;			/* its deletion is on its way */
};
struct held {
	struct warren_addr addr;
	int64_t until;
};
struct series {				/* of names with one base and many numbers */
	char base[TAILNET_LABEL + 1];
	uint32_t hint;			/* no lower number is free */
};
struct route {
	struct warren_prefix prefix;
	int64_t primary;
	int64_t *members;		/* nodes that serve it, authorized and not expired */
	uint32_t n_members;
	bool touched;			/* to be elected anew */
};
struct vector {				/* of records, by id */
	const void **at;
	uint32_t count, room;
};
struct delta {				/* what listeners will be told of one node or user */
	int64_t id;
	const void *before, *after;	/* references; NULL: none */
};
struct deltas {
	struct delta *at;
	uint32_t count, room;
};
struct tailnet_listener {
	struct tailnet_listener *next;
	tailnet_changed_fn *fn;
	void *arg;
};

struct tailnet {
	struct tailnet_env env;
	struct tailnet_config config;
	char base_domain[TAILNET_FQDN];
	struct tailnet_rules rules;
	struct store *store;
	uint64_t generation;

	struct vector users, nodes, keys;
	struct place **places;		/* parallel to nodes */
	struct hash by_node_key, by_name, by_addr, by_login, by_subject, by_hash, machines,
		    machine_ids, routes, held, series;
	struct address_pool v4, v6;
	int64_t last_user, last_machine, last_key, last_node;

	struct hash reserved;
	struct list waiting;		/* requests that met a reservation, in order */
	struct list blocked;		/* what those had reserved before they met it */
	struct list queue;		/* changes that the next commit takes */
	struct list answers;		/* requests that are done */
	struct batch *flying;		/* NULL: the writer is idle */
	uint32_t n_requests;

	struct hash pending;
	struct list pending_order;	/* the oldest first */

	struct deltas node_deltas, user_deltas;
	struct tailnet_listener *listeners;
	bool telling;

	uint64_t scan_at, soft_at, wake_at, retry_at;	/* mono; 0: not wanted */
	uint32_t n_dirty;
	bool has_rules, draining, touched_routes;
	void (*drained)(void *arg);
	void *drained_arg;
	struct tailnet_stats stats;
};

/* After the disk has it, memory must follow: no memory for that ends the process, loudly. */
void must(bool ok);

void *vector_get(const struct vector *v, int64_t id);
uint32_t vector_find(const struct vector *v, int64_t id, bool *found);	/* index, or where to */

struct place *state_place(const struct tailnet *tn, int64_t id);
struct tailnet_machine *state_machine(const struct tailnet *tn, const uint8_t key[32]);
struct tailnet_machine *state_machine_by_id(const struct tailnet *tn, int64_t id);
const struct held *state_held(const struct tailnet *tn, const struct warren_addr *addr);
int state_load(struct tailnet *tn, char why[TAILNET_WHY]);
void state_free(struct tailnet *tn);
/* Takes the record, which nobody else has seen, and publishes it. */
void state_put_node(struct tailnet *tn, struct tailnet_node *node);
/* A copy of @node with `soft` and `live` of what is there. */
void state_put_hard(struct tailnet *tn, const struct tailnet_node *node);
void state_drop_node(struct tailnet *tn, int64_t id);
void state_put_user(struct tailnet *tn, const struct tailnet_user *user);
void state_drop_user(struct tailnet *tn, int64_t id);
void state_put_key(struct tailnet *tn, const struct tailnet_key *key);
void state_drop_key(struct tailnet *tn, int64_t id);
void state_put_machine(struct tailnet *tn, int64_t id, int64_t created, const uint8_t key[32]);
void state_drop_machine(struct tailnet *tn, int64_t id);
void state_pin(struct tailnet *tn, int64_t machine, int64_t user, bool pinned);
void state_hold(struct tailnet *tn, const struct warren_addr *addr, int64_t until);

/*
 * ---- Requests and changes ----
 */

enum request_kind { REQUEST_REGISTER = 1, REQUEST_ACT, REQUEST_FACTS, REQUEST_APPROVALS };
enum request_state { REQUEST_WAITS = 1, REQUEST_FLIES, REQUEST_FOLLOWS, REQUEST_DONE };

struct tailnet_request {
	struct list in;			/* waiting, answers, followers of a pending login */
	struct arena arena;		/* all that it points to */
	enum request_kind kind;
	enum request_state state;
	bool cancelled;
	union {
		struct tailnet_register reg;
		struct tailnet_act act;
		struct {		/* hard facts of a map request */
			int64_t node;
			const char *hostname;
			const struct warren_prefix *routes;
			uint32_t n_routes;
		} facts;
	};
	union {
		tailnet_registered_fn *registered;
		tailnet_done_fn *acted;
		void (*updated)(void *arg, int result);
	};
	void *arg;
	/* The answer. Records are looked up by these ids when it is given. */
	int result;
	enum tailnet_registered_as as;
	int64_t node, user, key;
	char code[TAILNET_CODE], secret[TAILNET_SECRET];
	char *error;			/* owned */
};

/* A request with @n bytes of rests in its arena's budget. NULL: no memory, or too many. */
struct tailnet_request *request_new(struct tailnet *tn, enum request_kind kind);
void request_free(struct tailnet *tn, struct tailnet_request *request);
/* Decides it now, or as soon as nothing that it needs is reserved. */
void request_run(struct tailnet *tn, struct tailnet_request *request);
void request_run_waiting(struct tailnet *tn);
void request_answer(struct tailnet *tn, struct tailnet_request *request);
/* Sets the sentence; returns @result. */
int request_fail(struct tailnet_request *request, int result, const char *fmt, ...)
	WARREN_PRINTF(3, 4);
/* Copies into the request's arena; false: no memory. NULL stays NULL. */
bool request_text(struct tailnet_request *request, const char **text);
bool request_texts(struct tailnet_request *request, const char *const **at, uint32_t n);
bool request_prefixes(struct tailnet_request *request, const struct warren_prefix **at,
		      uint32_t n);

enum what {				/* what can be reserved */
	ON_MACHINE = 1, ON_NODE_KEY, ON_NODE, ON_USER, ON_KEY, ON_NAME, ON_ADDR, ON_LOGIN,
	ON_SUBJECT,
};
struct change;
/* Hands out what is decided by @request. -EBUSY: wait and decide again. */
int change_alone(struct tailnet *tn, struct change *ch, enum what what, const void *key,
		 size_t len);
int change_shared(struct tailnet *tn, struct change *ch, enum what what, const void *key,
		  size_t len);
bool change_reserved(const struct tailnet *tn, enum what what, const void *key, size_t len);

/* Adding an operation: to the transaction, and to what memory will become. */
struct store_tx *change_tx(struct change *ch);
void change_put_node(struct change *ch, const struct tailnet_node *node);
void change_drop_node(struct change *ch, int64_t id);
void change_put_user(struct change *ch, struct tailnet_user *user);
void change_drop_user(struct change *ch, int64_t id);
void change_put_key(struct change *ch, struct tailnet_key *key);
void change_consume_key(struct change *ch, struct tailnet_key *used);
void change_drop_key(struct change *ch, int64_t id);
void change_put_machine(struct change *ch, int64_t id, int64_t created, const uint8_t key[32]);
void change_drop_machine(struct change *ch, int64_t id);
void change_pin(struct change *ch, int64_t machine, int64_t user, bool pinned);
void change_hold(struct change *ch, const struct warren_addr *addr, int64_t until);
/* Runs when the change is in memory, before listeners are told. */
void change_then(struct change *ch, void (*fn)(struct tailnet *tn,
					       struct tailnet_request *request));
/* Starts a commit when there is something to do and the writer is idle. */
void change_kick(struct tailnet *tn);
/* A change without a request, made of @tx, which is taken. */
void change_background(struct tailnet *tn, struct store_tx *tx);
/* One of all soft facts that are not on the disk. */
void change_soft(struct tailnet *tn);
void change_free_all(struct tailnet *tn);
/*
 * What the deciders return: 0 the change is to be committed (an empty one: nothing to do, done),
 * -EBUSY, WARREN_PENDING (the request is kept elsewhere), another -errno with request_fail().
 */
int decide_register(struct tailnet *tn, struct tailnet_request *request, struct change *ch);
int decide_act(struct tailnet *tn, struct tailnet_request *request, struct change *ch);
int decide_facts(struct tailnet *tn, struct tailnet_request *request, struct change *ch);
int decide_approvals(struct tailnet *tn, struct tailnet_request *request, struct change *ch);

/*
 * ---- The rest ----
 */

int64_t now_wall(const struct tailnet *tn);
uint64_t now_mono(const struct tailnet *tn);
void tell_node(struct tailnet *tn, struct place *place, const struct tailnet_node *before,
	       const struct tailnet_node *after);
void tell_user(struct tailnet *tn, const struct tailnet_user *before,
	       const struct tailnet_user *after);
void tell_flush(struct tailnet *tn);	/* elects, then calls the listeners */
void tell_free(struct tailnet *tn);

void route_moved(struct tailnet *tn, const struct tailnet_node *before,
		 const struct tailnet_node *after);
void route_elect(struct tailnet *tn);
void route_free(struct tailnet *tn);
/* @announced that the policy approves by itself, added to what @node has. */
bool route_approve(const struct tailnet *tn, struct tailnet_node *node);

bool soft_from_register(struct tailnet_soft *soft, const struct tailnet_register *reg);
void soft_registered(struct tailnet *tn, int64_t node, const struct tailnet_register *reg);
void soft_mark(struct tailnet *tn, struct place *place);
void soft_flush(struct tailnet *tn);
void live_arm(struct tailnet *tn, struct place *place);	/* the timer of an ephemeral node */
void tick_at(struct tailnet *tn, uint64_t mono);
void tick_soon(struct tailnet *tn);

/* Addresses, a name; names and addresses are reserved by @ch. */
int pick_addresses(struct tailnet *tn, struct change *ch, struct tailnet_node *node);
int pick_name(struct tailnet *tn, struct change *ch, struct tailnet_node *node);
void name_freed(struct tailnet *tn, const char *name, size_t len);
void series_free(struct tailnet *tn);
/* Reserves the node for a change; the key that it came with stays until then: rows refer to it. */
int hold_node(struct tailnet *tn, struct change *ch, const struct tailnet_node *node);
/* The node and all that hangs on it: addresses into quarantine, the machine if it was the last. */
int drop_node(struct tailnet *tn, struct change *ch, const struct tailnet_node *node);

struct login {				/* somebody has shown who owns this machine's node */
	const struct tailnet_user *user;	/* NULL: tags only */
	const struct tailnet_key *key;	/* NULL: in person */
	const struct tailnet_strings *tags;	/* of the key, or wished for and allowed */
	const struct tailnet_register *reg;
	int64_t token_expiry;
	bool authorized, pin;
	const char *actor, *origin;
};
int login_apply(struct tailnet *tn, struct tailnet_request *request, struct change *ch,
		const struct login *login);

struct pending {
	struct tailnet_pending shown;
	struct list order, followers;
	struct arena arena;
	struct tailnet_register reg;
	const struct tailnet_strings *tags;
	char code[TAILNET_CODE];
};
struct pending *pending_find(const struct tailnet *tn, const char *code);
/* Makes one for @request, or finds that of the same keys; its code goes into the answer. */
int pending_open(struct tailnet *tn, struct tailnet_request *request);
int pending_follow(struct tailnet *tn, struct tailnet_request *request);
/* Over: followers are decided anew (@error NULL), or refused. */
void pending_close(struct tailnet *tn, struct pending *pending, const char *error);
void pending_expire(struct tailnet *tn, int64_t now, int64_t *next);
void pending_free_all(struct tailnet *tn);

/* Nothing, if it is that already; else with a row. @key is the machine's. */
void pin_machine(struct tailnet *tn, struct change *ch, const struct tailnet_act *who,
		 int64_t machine, const uint8_t key[32], const struct tailnet_user *user,
		 bool pinned);

void audit_node(struct change *ch, const struct tailnet *tn, const struct tailnet_act *who,
		const char *action, const struct tailnet_node *before,
		const struct tailnet_node *after);
void audit_user(struct change *ch, const struct tailnet *tn, const struct tailnet_act *who,
		const char *action, const struct tailnet_user *before,
		const struct tailnet_user *after);
void audit_key(struct change *ch, const struct tailnet *tn, const struct tailnet_act *who,
	       const char *action, const struct tailnet_key *before,
	       const struct tailnet_key *after);
void audit_text(struct change *ch, const struct tailnet *tn, const struct tailnet_act *who,
		const char *action, const char *kind, int64_t target, const char *name,
		const char *before, const char *after);

#endif
