/*
 * Databases of older schemas. Each schema-N.sql is a dump of one that version N wrote, with rows
 * in every table; whoever adds a step adds the dump of the schema before it, and none is edited.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "../sqlite_impl.h"
#include "base/str.h"
#include "base/util.h"
#include "rows.h"

static char dir[64], path[96], why[STORE_WHY];

static int begin(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/warren-schema.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/old.db", dir);
	return 0;
}

static int end(void **state)
{
	static const char *const tails[] = { "", "-wal", "-shm", "-journal" };
	char name[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		snprintf(name, sizeof(name), "%s%s", path, tails[i]);
		unlink(name);
	}
	return rmdir(dir);
}

static char *read_fixture(int version, const char *ending)
{
	const char *srcdir = getenv("WARREN_SRCDIR");
	struct str text = STR_INIT;
	char name[256], block[4096];
	size_t n;
	FILE *f;

	snprintf(name, sizeof(name), "%s/plugins/coordinator/store/tests/schema-%d.%s",
		 srcdir ? srcdir : ".", version, ending);
	f = fopen(name, "r");
	if (!f)
		fail_msg("%s: %s", name, strerror(errno));
	while ((n = fread(block, 1, sizeof(block), f)) > 0)
		str_addn(&text, block, n);
	fclose(f);
	return str_take(&text);
}

static sqlite3 *old_database(int version)
{
	AUTO(auto_free) char *sql = read_fixture(version, "sql");
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("schema-%d.sql: %s", version, sqlite3_errmsg(db));
	return db;
}

static int add_row(void *arg, int n, char **values, char **names)
{
	(void)names;
	for (int i = 0; i < n; i++)
		str_addf(arg, "%s|", values[i] ? values[i] : "NULL");
	str_addc(arg, '\n');
	return 0;
}

static char *query(sqlite3 *db, const char *sql)
{
	struct str out = STR_INIT;

	if (sqlite3_exec(db, sql, add_row, &out, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	str_add(&out, "");
	return str_take(&out);
}

static char *shape_of(const char *file)
{
	sqlite3 *db;
	char *shape;

	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	shape = query(db, "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE "
		      "'sqlite_%' ORDER BY type, name");
	sqlite3_close(db);
	return shape;
}

/* Rows as they were, and then a database like one that was made new. */
static void every_older_schema_is_brought_up_to_date(void **state)
{
	AUTO(auto_free) char *fresh = NULL;
	struct store *store;
	int result;

	(void)state;
	store = store_open(path, &result, why);
	assert_non_null(store);
	store_close(store);
	fresh = shape_of(path);
	unlink(path);
	for (int version = 1; version <= STORE_SCHEMA; version++) {
		AUTO(auto_free) char *wanted = read_fixture(version, "rows");

		sqlite3_close(old_database(version));
		store = store_open(path, &result, why);
		if (!store)
			fail_msg("schema %d: %s", version, why);
		assert_int_equal(store_found_schema(store), version);
		AUTO(auto_free) char *rows = rows_dump(store);
		assert_string_equal(rows, wanted);
		store_close(store);
		AUTO(auto_free) char *shape = shape_of(path);
		assert_string_equal(shape, fresh);
		unlink(path);
	}
}

static int nothing(const struct store_audit *row, void *arg)
{
	(void)row;
	++*(int *)arg;
	return 0;
}

/* The chain of the audit log goes on over it. */
static void the_log_of_an_older_schema_is_still_sound(void **state)
{
	struct store *store;
	int result, rows = 0;

	(void)state;
	sqlite3_close(old_database(1));
	store = store_open(path, &result, why);
	assert_non_null(store);
	if (store_audit_read(store, 0, 0, nothing, &rows, why) != 0)
		fail_msg("%s", why);
	assert_int_equal(rows, 2);
	store_close(store);
}

static void a_step_that_fails_changes_nothing(void **state)
{
	const struct store_step steps[] = {
		{ "SELECT 1" },
		{ "ALTER TABLE users ADD COLUMN shoe INTEGER NOT NULL DEFAULT 0;"
		  "UPDATE users SET shoe = 42" },
		{ "CREATE TABLE more (x) STRICT, WITHOUT ROWID; this is no SQL" },
	};
	sqlite3 *db = old_database(1);

	(void)state;
	AUTO(auto_free) char *before = query(db, "SELECT * FROM users");
	assert_int_not_equal(store_migrate(db, 1, steps, 3), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	AUTO(auto_free) char *version = query(db, "PRAGMA user_version");
	assert_string_equal(version, "1|\n");
	AUTO(auto_free) char *after = query(db, "SELECT * FROM users");
	assert_string_equal(after, before);
	/* Without the broken one it goes through, from where the database is. */
	assert_int_equal(store_migrate(db, 1, steps, 2), SQLITE_OK);
	AUTO(auto_free) char *shoe = query(db, "SELECT shoe FROM users");
	assert_string_equal(shoe, "42|\n");
	AUTO(auto_free) char *now = query(db, "PRAGMA user_version");
	assert_string_equal(now, "2|\n");
	sqlite3_close(db);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_older_schema_is_brought_up_to_date),
		TEST(the_log_of_an_older_schema_is_still_sound),
		TEST(a_step_that_fails_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
