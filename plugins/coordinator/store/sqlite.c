/*
 * The SQLite store: opening, checking, errors.
 *
 * WAL, so that a backup and the audit log are read beside the writer; synchronous FULL, so that a
 * commit that returned survives a loss of power. One connection writes. It is used by one job at a
 * time, and by the lane before the first and after the last.
 */
#include "store.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "sqlite_impl.h"

enum { APPLICATION = 0x7761726e };	/* "warn": tells our databases from others */

static int system_errno(sqlite3 *db, int otherwise)
{
	int code = db ? sqlite3_system_errno(db) : 0;

	return code ? -code : otherwise;
}

int store_errno(sqlite3 *db, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK: case SQLITE_ROW: case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_IOERR:
		return rc == SQLITE_IOERR_NOMEM ? -ENOMEM : system_errno(db, -EIO);
	case SQLITE_CANTOPEN:
		return system_errno(db, -EIO);
	case SQLITE_CORRUPT: case SQLITE_NOTADB:
		return -EILSEQ;
	case SQLITE_READONLY: case SQLITE_PERM: case SQLITE_AUTH:
		return -EROFS;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY: case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CONSTRAINT:
		return rc == SQLITE_CONSTRAINT_UNIQUE || rc == SQLITE_CONSTRAINT_PRIMARYKEY ?
		       -EEXIST : -EINVAL;
	default:			/* the codes are SQLite's, and it adds to them */
		return -EIO;
	}
}

static const char *advice(int result)
{
	switch (result) {
	case -ENOSPC: case -EDQUOT: case -EFBIG:
		return "; make room, then repeat";
	case -EILSEQ:
		return "; put a backup in its place (`warren coordinator backup` makes them)";
	case -EROFS: case -EACCES: case -EPERM:
		return "; it and its folder must be writable by the daemon's user";
	case -EBUSY:
		return "; another program has it locked";
	default:			/* any errno */
		return "";
	}
}

void store_say(char why[STORE_WHY], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(why, STORE_WHY, fmt, ap) < 0)
		why[0] = '\0';
	va_end(ap);
}

int store_explain(sqlite3 *db, int rc, const char *path, const char *what, char why[STORE_WHY])
{
	int result = store_errno(db, rc), code = db ? sqlite3_system_errno(db) : 0;
	bool disk = (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN;

	store_say(why, "%s: cannot %s: %s%s%s%s", path, what,
		 db ? sqlite3_errmsg(db) : sqlite3_errstr(rc), disk && code ? ": " : "",
		 disk && code ? strerror(code) : "", advice(result));
	return result;
}

int store_connect(const char *path, int flags, sqlite3 **db)
{
	int rc = sqlite3_open_v2(path, db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
				 NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(*db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(*db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	/* Only a reader that starts while the last one ends can wait here, and not for long. */
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(*db, 5000);
	return rc;
}

/* One number of a pragma, or what SQLite says. */
static int pragma_get(sqlite3 *db, const char *sql, int64_t *value)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		*value = sqlite3_column_int64(stmt, 0);
		rc = SQLITE_OK;
	}
	sqlite3_finalize(stmt);
	return rc;
}

/* The first line of a pragma that lists what is wrong; "" when it lists nothing, or "ok". */
static int first_finding(sqlite3 *db, const char *sql, char *out, size_t size)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
	const char *text;

	out[0] = '\0';
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		text = (const char *)sqlite3_column_text(stmt, 0);
		if (!str_equal(text, "ok"))
			snprintf(out, size, "%s", text ? text : "(no text)");
		rc = SQLITE_OK;
	}
	sqlite3_finalize(stmt);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int refuse_damaged(const struct store *store, const char *finding, char why[STORE_WHY])
{
	store_say(why, "%s: the database is damaged (%.200s)%s", store->path, finding,
		 advice(-EILSEQ));
	return -EILSEQ;
}

static int check_whole(struct store *store, char why[STORE_WHY])
{
	char finding[256];
	int rc = first_finding(store->db, "PRAGMA quick_check(1)", finding, sizeof(finding));

	if (rc == SQLITE_OK && finding[0])
		return refuse_damaged(store, finding, why);
	if (rc == SQLITE_OK)
		rc = first_finding(store->db, "PRAGMA foreign_key_check", finding,
				   sizeof(finding));
	if (rc == SQLITE_OK && finding[0])
		return refuse_damaged(store, "rows refer to rows that are not there", why);
	return rc == SQLITE_OK ? 0 : store_explain(store->db, rc, store->path, "check", why);
}

/* Ours, and not from the future; *@version 0: empty. */
static int identify(struct store *store, int64_t *version, char why[STORE_WHY])
{
	int64_t application = 0, tables = 0;
	int rc = pragma_get(store->db, "PRAGMA application_id", &application);

	if (rc == SQLITE_OK)
		rc = pragma_get(store->db, "PRAGMA user_version", version);
	if (rc == SQLITE_OK)
		rc = pragma_get(store->db, "SELECT count(*) FROM sqlite_schema", &tables);
	if (rc != SQLITE_OK)
		return store_explain(store->db, rc, store->path, "read", why);
	if (application == APPLICATION ? *version < 1 : *version || application || tables) {
		store_say(why, "%s: this is a database, but not of a coordinator; name "
			 "another file in coordinator.store, or move it away", store->path);
		return -EPROTO;
	}
	if (*version > STORE_SCHEMA) {
		store_say(why, "%s: it has schema %lld, and this version knows %d; "
			 "install the newer version again, or restore a backup from before it",
			 store->path, (long long)*version, STORE_SCHEMA);
		return -EPROTO;
	}
	return 0;
}

static int bring_up_to_date(struct store *store, int from, char why[STORE_WHY])
{
	int rc;

	store->found = from;
	if (from == STORE_SCHEMA)
		return 0;
	rc = store_migrate(store->db, from, store_steps, STORE_SCHEMA);
	if (rc == SQLITE_OK)
		return 0;
	return store_explain(store->db, rc, store->path,
			     from ? "bring its schema up to date" : "make the database", why);
}

/*
 * A backup that was put in the database's place, with the log of the old one still beside it: what
 * that log has would be played into the backup, page by page. A backup says in its header that it
 * has no log (bytes 18 and 19, 1: rollback journal; SQLite file format 1.3.2), and a store of ours
 * never says so once it is open. Nothing was read so far: SQLite opens the log with the first
 * statement.
 */
static void drop_stale_log(struct store *store)
{
	char name[STORE_PATH + 16];
	sqlite3_file *file = NULL;
	uint8_t version[2] = { 0, 0 };
	int rc = sqlite3_file_control(store->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);

	/* A short read leaves zeros: the file is new. */
	if (rc != SQLITE_OK || !file->pMethods ||
	    file->pMethods->xRead(file, version, sizeof(version), 18) != SQLITE_OK ||
	    version[0] != 1 || version[1] != 1)
		return;
	snprintf(name, sizeof(name), "%s-wal", store->path);
	(void)unlink(name);		/* usually there is none */
	snprintf(name, sizeof(name), "%s-shm", store->path);
	(void)unlink(name);
}

static int open_writer(struct store *store, char why[STORE_WHY])
{
	int64_t version = 0;
	char mode[16] = "";
	int rc = store_connect(store->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
			       &store->db), result;

	if (rc != SQLITE_OK)
		return store_explain(store->db, rc, store->path, "open", why);
	drop_stale_log(store);
	result = identify(store, &version, why);
	if (result)
		return result;
	rc = first_finding(store->db, "PRAGMA journal_mode = WAL", mode, sizeof(mode));
	if (rc == SQLITE_OK && !str_equal(mode, "wal"))
		rc = SQLITE_CANTOPEN;
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(store->db, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
				  "PRAGMA journal_size_limit = 16777216;"
				  "PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY",
				  NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return store_explain(store->db, rc, store->path, "prepare for writing", why);
	/* Before the migration: a damaged database is left as it was found. */
	result = version ? check_whole(store, why) : 0;
	return result ? result : bring_up_to_date(store, (int)version, why);
}

struct store *store_open(const char *path, int *result, char why[STORE_WHY])
{
	struct store *store = calloc(1, sizeof(*store));
	char copy[STORE_PATH + 16];
	int rc;

	why[0] = '\0';
	*result = -ENOMEM;
	if (!store)
		return NULL;
	if (!sqlite3_threadsafe()) {
		store_say(why, "this SQLite library was built without threads; install the "
			  "distribution's");
		*result = -ENOTSUP;
		free(store);
		return NULL;
	}
	*result = -ENAMETOOLONG;
	if (!str_copy(store->path, sizeof(store->path), path)) {
		store_say(why, "%.100s...: the path is too long", path);
		free(store);
		return NULL;
	}
	/* What a backup left that was cut short; none is fine. */
	snprintf(copy, sizeof(copy), "%s.backup", path);
	(void)unlink(copy);
	*result = open_writer(store, why);
	if (!*result) {
		rc = store_chain_load(store);
		if (rc == SQLITE_OK)
			rc = store_prepare(store);
		if (rc != SQLITE_OK)
			*result = store_explain(store->db, rc, path, "prepare", why);
	}
	if (*result) {
		store_close(store);
		return NULL;
	}
	return store;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	store_finalize(store);
	/* Also copies the WAL into the database, where that can be. */
	sqlite3_close(store->db);
	free(store);
}

int store_found_schema(const struct store *store)
{
	return store->found;
}
