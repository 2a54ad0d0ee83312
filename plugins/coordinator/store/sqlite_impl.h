/*
 * store/sqlite_impl.h - what the files of the SQLite store share
 */
#ifndef WARREN_COORDINATOR_SQLITE_IMPL_H
#define WARREN_COORDINATOR_SQLITE_IMPL_H

#include <stdatomic.h>

#include <sqlite3.h>

#include "store.h"

enum { STORE_PATH = 1024, STORE_TAILNET = 1, STORE_HASH = 32 };

enum store_op_kind {			/* one prepared statement each */
	STORE_OP_USER = 0, STORE_OP_MACHINE, STORE_OP_KEY, STORE_OP_NODE, STORE_OP_SOFT,
	STORE_OP_CONSUME, STORE_OP_PIN, STORE_OP_UNPIN, STORE_OP_DROP_USER, STORE_OP_DROP_KEY,
	STORE_OP_DROP_NODE, STORE_OP_DROP_MACHINE, STORE_OP_HOLD, STORE_OP_RELEASE,
	STORE_OP_AUDIT, STORE_OPS
};

struct store {
	sqlite3 *db;			/* the writer's; nobody else touches it after the load */
	sqlite3_stmt *ops[STORE_OPS], *begin, *commit, *rollback, *save, *release, *back;
	int found;
	uint8_t chain[STORE_HASH];	/* hash of the last audit row that is on disk */
	_Atomic bool copying;		/* a backup is being made */
	char path[STORE_PATH];
};

struct store_step {			/* from one schema to the next */
	const char *sql;
};
extern const struct store_step store_steps[STORE_SCHEMA];

/* -errno of what @db failed with, last. */
int store_errno(sqlite3 *db, int rc);
void store_say(char why[STORE_WHY], const char *fmt, ...) WARREN_PRINTF(2, 3);
/* The sentence: what was being done, to which file, why, what to do. Returns -errno. */
int store_explain(sqlite3 *db, int rc, const char *path, const char *what, char why[STORE_WHY]);
/* Opens a connection with the limits and habits of ours. */
int store_connect(const char *path, int flags, sqlite3 **db);
/*
 * Brings @db from @from to @n, in one transaction, user_version and all. When that fails it is
 * still open, so that @db has the reason: close @db, which takes all back.
 */
int store_migrate(sqlite3 *db, int from, const struct store_step *steps, int n);
/* Statements of the writer; SQLITE_... */
int store_prepare(struct store *store);
void store_finalize(struct store *store);
/* Each audit row carries the hash of the one before it: a row cut out or changed is seen. */
void store_chain(uint8_t chain[STORE_HASH], const struct store_audit *audit);
/* Reads the last hash. SQLITE_... */
int store_chain_load(struct store *store);

/* Lists as JSON arrays; NULL: no memory, or (reading) no such list. Texts are for free(). */
char *store_strings_text(const struct tailnet_strings *list);
char *store_prefixes_text(const struct tailnet_prefixes *list);
char *store_endpoints_text(const struct tailnet_endpoints *list);
bool store_strings_parse(const char *text, const struct tailnet_strings **out);
bool store_prefixes_parse(const char *text, const struct tailnet_prefixes **out);
bool store_endpoints_parse(const char *text, const struct tailnet_endpoints **out);

#endif
