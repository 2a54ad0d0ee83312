/*
 * store/store.h - where the coordinator's data lies on disk
 *
 * One store is one database of one coordinator. Everything is read once, at start; from then on
 * memory is what is read, and the store is only written: a transaction is a list of typed
 * operations, decided before. It is all in the database or nothing of it is.
 *
 * Threads. store_open(), store_load() and store_close() may block: call them in `start` and after
 * the last job. store_commit() blocks too and is a job: one at a time, any thread. store_backup()
 * and store_audit_read() use a connection of their own and run beside it, on any thread.
 *
 * Errors. 0 or -errno; where a `why` is asked for it gets one sentence for the operator: what,
 * where, what to do. -EEXIST: a unique constraint; -ESTALE: a single-use key that has been used;
 * -ENOSPC, -EIO, -EROFS as the disk says; -EILSEQ: the database is damaged; -EPROTO: it is newer
 * than this program, or no database of ours.
 */
#ifndef WARREN_COORDINATOR_STORE_H
#define WARREN_COORDINATOR_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../tailnet/record.h"

struct store;
struct store_tx;

enum {
	STORE_SCHEMA = 2,		/* the schema that this program writes (user_version) */
	STORE_WHY = 2048,		/* bytes of a sentence */
};

/*
 * Opens or makes the database at @path, migrates an older schema (in one transaction), and checks
 * it as a whole. NULL: @result has -errno and @why the sentence; nothing was changed then.
 */
struct store *store_open(const char *path, int *result, char why[STORE_WHY]);
void store_close(struct store *store);		/* NULL is allowed */
/* The schema that store_open() found; STORE_SCHEMA when nothing had to be migrated, 0: new. */
int store_found_schema(const struct store *store);

/*
 * ---- Reading all of it ----
 */

/* An address that belonged to a node that is gone; nobody gets it before @until. */
struct store_held {
	struct warren_addr addr;
	int64_t until;
};

struct store_machine {
	int64_t id;
	int64_t created;
	uint8_t key[TAILNET_KEY_SIZE];
};

/*
 * Called for every row, in this order: users, machines, pins, keys, nodes, held addresses, last
 * ids. A record is lent: take a reference to keep it. The result other than 0 ends the load.
 */
struct store_visitor {
	void *self;
	int (*user)(void *self, const struct tailnet_user *user);
	int (*machine)(void *self, const struct store_machine *machine);
	int (*pin)(void *self, int64_t machine, int64_t user);
	int (*key)(void *self, const struct tailnet_key *key);
	int (*node)(void *self, const struct tailnet_node *node);
	int (*held)(void *self, const struct store_held *held);
	/* The greatest ids that were ever given; rows that are gone count. */
	int (*last)(void *self, int64_t user, int64_t machine, int64_t key, int64_t node);
};
int store_load(struct store *store, const struct store_visitor *visitor, char why[STORE_WHY]);

/*
 * ---- Transactions ----
 *
 * A function that adds an operation copies or references what it is given. Running out of memory
 * is remembered: store_tx_failed(), and such a transaction commits as -ENOMEM.
 */

struct store_tx *store_tx_new(void);
void store_tx_free(struct store_tx *tx);	/* NULL is allowed */
bool store_tx_failed(const struct store_tx *tx);

/* Insert, or replace the row of that id. */
void store_tx_user(struct store_tx *tx, const struct tailnet_user *user);
void store_tx_machine(struct store_tx *tx, const struct store_machine *machine);
void store_tx_key(struct store_tx *tx, const struct tailnet_key *key);
/* All but `live`; of a row that is there already `soft` is left as it is. */
void store_tx_node(struct store_tx *tx, const struct tailnet_node *node);
/* `soft` only; nothing when the row is gone. */
void store_tx_soft(struct store_tx *tx, const struct tailnet_node *node);
/* Marks a single-use key as used at @when; the transaction fails with -ESTALE if it was. */
void store_tx_consume(struct store_tx *tx, int64_t key, int64_t when);
void store_tx_pin(struct store_tx *tx, int64_t machine, int64_t user, bool pinned);
/* A row that is gone already is no error. */
void store_tx_drop_user(struct store_tx *tx, int64_t id);
void store_tx_drop_key(struct store_tx *tx, int64_t id);
void store_tx_drop_node(struct store_tx *tx, int64_t id);
void store_tx_drop_machine(struct store_tx *tx, int64_t id);
/* Keeps an address from being given; @until 0 lets it go. */
void store_tx_hold(struct store_tx *tx, const struct warren_addr *addr, int64_t until);

/* One administrative act, or one of the coordinator itself. Append-only. */
struct store_audit {
	int64_t id;			/* given by the store; reading only */
	int64_t time;
	const char *actor;		/* "root", "operator wells", "coordinator" */
	const char *origin;		/* how it came: "command", "login", "timer",
					   "register from 192.0.2.7" */
	const char *action;		/* "node.rename" */
	const char *kind;		/* "node", "user", "key", ... */
	int64_t target;			/* its id; 0: none */
	const char *name;		/* of the target, then */
	const char *before, *after;	/* JSON objects of what changed, or NULL; no secrets */
};
void store_tx_audit(struct store_tx *tx, const struct store_audit *audit);

/*
 * Commits @n transactions with one fsync: each for itself is done or refused, @results has 0 or
 * -errno. When the commit itself fails they all have its error and none is done. @why: the last
 * sentence, if any has failed.
 */
void store_commit(struct store *store, struct store_tx *const *txs, uint32_t n, int *results,
		  char why[STORE_WHY]);

/*
 * ---- Beside the writer ----
 */

/*
 * Writes a consistent copy of the whole database to @fd, from its present position; the copy is
 * made in a file beside the database first. It is a database that store_open() takes.
 */
int store_backup(struct store *store, int fd, char why[STORE_WHY]);

/*
 * The newest @max audit rows (0: all) with @since <= time, oldest first; the row is lent for the
 * call. A result other than 0 ends it and is returned. -EILSEQ: a row was changed, or one before
 * it was cut out, behind our back.
 */
typedef int store_audit_fn(const struct store_audit *audit, void *arg);
int store_audit_read(struct store *store, int64_t since, uint32_t max, store_audit_fn *fn,
		     void *arg, char why[STORE_WHY]);

#endif
