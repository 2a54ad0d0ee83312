/*
 * What runs beside the writer, on connections of its own: the backup and the audit log.
 *
 * The backup copies within one read transaction, so it is the state at one moment however long it
 * takes. SQLite writes it to a file beside the database; from there it goes to the descriptor,
 * which SQLite itself could not open.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "sqlite_impl.h"

enum { BLOCK = 64 << 10 };

static void auto_db(sqlite3 **db)
{
	sqlite3_close(*db);
}

static void auto_stmt(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt);
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* The bytes of the file behind @db to @fd. */
static int send_file(sqlite3 *db, int fd)
{
	AUTO(auto_free) uint8_t *block = malloc(BLOCK);
	sqlite3_file *file = NULL;
	sqlite3_int64 size, n;
	int rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);

	if (!block)
		return -ENOMEM;
	if (rc == SQLITE_OK)
		rc = file->pMethods->xFileSize(file, &size);
	for (sqlite3_int64 at = 0; rc == SQLITE_OK && at < size; at += n) {
		n = size - at < BLOCK ? size - at : BLOCK;
		rc = file->pMethods->xRead(file, block, (int)n, at);
		if (rc == SQLITE_OK && write_all(fd, block, (size_t)n) != 0)
			return -errno;
	}
	if (rc != SQLITE_OK)
		return store_errno(db, rc);
	/* A pipe has nothing to be synced. */
	return fsync(fd) == -1 && errno != EINVAL && errno != EROFS ? -errno : 0;
}

/* Fills @to, which is empty, with all of @from. */
static int copy_pages(sqlite3 *from, sqlite3 *to)
{
	sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
	int rc;

	if (!backup)
		return sqlite3_errcode(to);
	rc = sqlite3_backup_step(backup, -1);
	sqlite3_backup_finish(backup);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int copy_to(const struct store *store, const char *path, int fd, char why[STORE_WHY])
{
	AUTO(auto_db) sqlite3 *from = NULL;
	AUTO(auto_db) sqlite3 *to = NULL;
	int rc = store_connect(store->path, SQLITE_OPEN_READONLY, &from), result;

	if (rc != SQLITE_OK)
		return store_explain(from, rc, store->path, "read for a backup", why);
	rc = store_connect(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &to);
	if (rc == SQLITE_OK)
		rc = copy_pages(from, to);
	/* One file that stands alone; store_open() makes it WAL again. */
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return store_explain(to, rc, path, "make a backup", why);
	result = send_file(to, fd);
	if (result)
		store_say(why, "cannot write the backup: %s; it is not whole, remove it",
			 strerror(-result));
	return result;
}

int store_backup(struct store *store, int fd, char why[STORE_WHY])
{
	char path[STORE_PATH + 16];
	int result;

	why[0] = '\0';
	if (atomic_exchange(&store->copying, true)) {
		store_say(why, "%s: another backup is being made; wait for it",
			 store->path);
		return -EBUSY;
	}
	snprintf(path, sizeof(path), "%s.backup", store->path);
	result = copy_to(store, path, fd, why);
	(void)unlink(path);	/* it may never have been made */
	atomic_store(&store->copying, false);
	return result;
}

/*
 * ---- The audit log ----
 */

static const char *text_of(sqlite3_stmt *stmt, int column)
{
	return (const char *)sqlite3_column_text(stmt, column);
}

static void row_of(sqlite3_stmt *stmt, struct store_audit *row)
{
	*row = (struct store_audit){
		.id = sqlite3_column_int64(stmt, 0), .time = sqlite3_column_int64(stmt, 1),
		.actor = text_of(stmt, 2), .origin = text_of(stmt, 3), .action = text_of(stmt, 4),
		.kind = text_of(stmt, 5), .target = sqlite3_column_int64(stmt, 6),
		.name = text_of(stmt, 7), .before = text_of(stmt, 8), .after = text_of(stmt, 9),
	};
}

static void hash_of(sqlite3_stmt *stmt, int column, uint8_t hash[STORE_HASH])
{
	const void *bytes = sqlite3_column_blob(stmt, column);

	memset(hash, 0, STORE_HASH);
	if (bytes && sqlite3_column_bytes(stmt, column) == STORE_HASH)
		memcpy(hash, bytes, STORE_HASH);
}

int store_chain_load(struct store *store)
{
	AUTO(auto_stmt) sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(store->db, "SELECT hash FROM audit ORDER BY id DESC LIMIT 1",
				    -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		hash_of(stmt, 0, store->chain);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* All rows from the one before the first that is wanted, which begins the chain. */
static const char audit_sql[] =
	"WITH wanted AS (SELECT id FROM audit WHERE tailnet_id = 1 AND time >= ?1"
	" ORDER BY id DESC LIMIT ?2), first AS (SELECT min(id) AS id FROM wanted)"
	" SELECT id, time, actor, origin, action, kind, target, name, before, after, hash,"
	" time >= ?1 AND id >= (SELECT id FROM first) FROM audit WHERE tailnet_id = 1 AND id >="
	" ifnull((SELECT max(id) FROM audit WHERE id < (SELECT id FROM first)),"
	" (SELECT id FROM first)) ORDER BY id";

static int audit_rows(sqlite3_stmt *stmt, store_audit_fn *fn, void *arg, int *result, int64_t *bad)
{
	uint8_t chain[STORE_HASH] = "", stored[STORE_HASH];
	struct store_audit row;
	bool first = true;
	int rc;

	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		row_of(stmt, &row);
		hash_of(stmt, 10, stored);
		store_chain(chain, &row);
		/* The first of all has none before it; of others the one before is read too. */
		if (memcmp(chain, stored, sizeof(chain)) != 0 && (!first || row.id == 1)) {
			*bad = row.id;
			*result = -EILSEQ;
			return SQLITE_OK;
		}
		memcpy(chain, stored, sizeof(chain));
		first = false;
		*result = sqlite3_column_int(stmt, 11) ? fn(&row, arg) : 0;
		if (*result)
			return SQLITE_OK;
	}
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int store_audit_read(struct store *store, int64_t since, uint32_t max, store_audit_fn *fn,
		     void *arg, char why[STORE_WHY])
{
	AUTO(auto_db) sqlite3 *db = NULL;
	AUTO(auto_stmt) sqlite3_stmt *stmt = NULL;
	int rc = store_connect(store->path, SQLITE_OPEN_READONLY, &db), result = 0;
	int64_t bad = 0;

	why[0] = '\0';
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(db, audit_sql, -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 1, since);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 2, max ? (int64_t)max : -1);
	if (rc == SQLITE_OK)
		rc = audit_rows(stmt, fn, arg, &result, &bad);
	if (rc != SQLITE_OK)
		return store_explain(db, rc, store->path, "read the audit log", why);
	if (bad)
		store_say(why, "%s: row %lld of the audit log, or the one before it, was "
			 "changed by another program", store->path, (long long)bad);
	return result;
}
