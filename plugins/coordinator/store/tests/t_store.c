/*
 * The database: what is committed comes back, what may not be is refused alone, and a database
 * that is damaged, newer or not ours is not touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "../../tailnet/make.h"
#include "../sqlite_impl.h"
#include "../store.h"
#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "rows.h"

static char dir[64], path[96], why[STORE_WHY];
static struct store *store;

static int begin(void **state)
{
	int result;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/warren-store.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/coordinator.db", dir);
	store = store_open(path, &result, why);
	if (!store)
		fprintf(stderr, "%s\n", why);
	return store ? 0 : -1;
}

static int end(void **state)
{
	static const char *const tails[] = {
		"", "-wal", "-shm", ".backup", ".backup-journal", ".copy", ".copy-wal", ".copy-shm",
	};
	char name[128];

	(void)state;
	store_close(store);
	store = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		snprintf(name, sizeof(name), "%s%s", path, tails[i]);
		unlink(name);
	}
	return rmdir(dir);
}

static void reopen(void)
{
	int result;

	store_close(store);
	store = store_open(path, &result, why);
	if (!store)
		fail_msg("%s", why);
	assert_int_equal(store_found_schema(store), STORE_SCHEMA);
}

/* Opening must fail with @wanted and a sentence that has @says. */
static void assert_refused(int wanted, const char *says)
{
	int result;

	store = store_open(path, &result, why);
	assert_null(store);
	assert_int_equal(result, wanted);
	if (!strstr(why, says) || !strstr(why, path))
		fail_msg("\"%s\" does not say \"%s\"", why, says);
}

/* Commits @tx alone and frees it. */
static int commit(struct store_tx *tx)
{
	int result;

	store_commit(store, &tx, 1, &result, why);
	store_tx_free(tx);
	return result;
}

static void assert_rows(const char *wanted)
{
	AUTO(auto_free) char *got = rows_dump(store);

	assert_string_equal(got, wanted);
}

/* SQL from outside, as an operator or an attacker would. */
static int meddle(const char *sql)
{
	sqlite3 *db;
	int rc;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	sqlite3_close(db);
	return rc;
}

static void everything_comes_back(void **state)
{
	AUTO(auto_free) char *before = NULL;

	(void)state;
	assert_int_equal(store_found_schema(store), 0);
	assert_rows("last 0 0 0 0\n");
	assert_int_equal(commit(rows_full()), 0);
	before = rows_dump(store);
	assert_non_null(strstr(before, "user 1 wells \"Wells\" wells@example.com http://p/ oidc "
			       "https://i#1 [a b] admin pinned"));
	assert_non_null(strstr(before, "key 1 user 1 "));
	assert_non_null(strstr(before, "100.64.0.1 fd7a:115c:a1e0::1 laptop "
			       "\"Laptop of W\xc3\xa9\""));
	assert_non_null(strstr(before, "endpoints 192.0.2.1:41641/2 [2001:db8::1]:41641/1"));
	assert_non_null(strstr(before, "hostinfo {\"OS\":\"linux\"} derp 900 capver 113 seen 77"));
	assert_non_null(strstr(before, "held 100.64.0.9 1234"));
	reopen();
	assert_rows(before);
}

static void a_refused_transaction_goes_alone(void **state)
{
	struct store_tx *txs[4];
	int results[4];

	(void)state;
	assert_int_equal(commit(rows_full()), 0);
	for (int i = 0; i < 4; i++)
		txs[i] = store_tx_new();
	/* A node key, an address, a name that are taken: each behind a row that goes with it. */
	for (int i = 0; i < 4; i++) {
		struct store_machine machine = { .id = 10 + i, .key = { (uint8_t)(100 + i) } };
		struct tailnet_node *node = rows_node(10 + i, 10 + i);

		store_tx_machine(txs[i], &machine);
		if (i == 0)
			node->node_key[0] = 1;	/* of node 1 */
		if (i == 1)
			assert_int_equal(addr_parse("100.64.0.1", &node->v4), 0);
		if (i == 2)
			assert_true(set_text(&node->name, "laptop", 63));
		store_tx_node(txs[i], node);
		tailnet_node_unref(node);
	}
	store_commit(store, txs, 4, results, why);
	assert_int_equal(results[0], -EEXIST);
	assert_int_equal(results[1], -EEXIST);
	assert_int_equal(results[2], -EEXIST);
	assert_int_equal(results[3], 0);
	assert_non_null(strstr(why, "UNIQUE constraint failed: nodes.tailnet_id, nodes.name"));
	for (int i = 0; i < 4; i++)
		store_tx_free(txs[i]);
	AUTO(auto_free) char *got = rows_dump(store);
	assert_null(strstr(got, "machine 10 "));
	assert_null(strstr(got, "machine 11 "));
	assert_null(strstr(got, "machine 12 "));
	assert_non_null(strstr(got, "machine 13 "));
	assert_non_null(strstr(got, "last 1 13 2 13"));
}

static void ownership_is_checked_by_the_database_too(void **state)
{
	struct tailnet_node *node;
	struct store_tx *tx;
	const char *tag = "tag:web";

	(void)state;
	assert_int_equal(commit(rows_full()), 0);
	/* A second node of the same machine and user; one of both a user and a tag; of neither. */
	node = rows_node(20, 1);
	tx = store_tx_new();
	store_tx_node(tx, node);
	assert_int_equal(commit(tx), -EEXIST);
	assert_true(set_strings(&node->tags, &tag, 1));
	tx = store_tx_new();
	store_tx_node(tx, node);
	assert_int_equal(commit(tx), -EINVAL);
	share_strings(&node->tags, NULL);
	node->user = 0;
	tx = store_tx_new();
	store_tx_node(tx, node);
	assert_int_equal(commit(tx), -EINVAL);
	/* Of a user that is not there. */
	node->user = 99;
	tx = store_tx_new();
	store_tx_node(tx, node);
	assert_int_equal(commit(tx), -EINVAL);
	/* A user who owns something does not go. */
	tx = store_tx_new();
	store_tx_drop_user(tx, 1);
	assert_int_equal(commit(tx), -EINVAL);
	tailnet_node_unref(node);
}

static void a_key_is_consumed_once(void **state)
{
	struct store_tx *txs[3] = { store_tx_new(), store_tx_new(), store_tx_new() };
	struct store_machine machine = { .key = { 50 } };
	int results[3];

	(void)state;
	assert_int_equal(commit(rows_full()), 0);
	for (int i = 0; i < 3; i++) {
		machine.id = 30 + i;
		machine.key[0]++;
		store_tx_machine(txs[i], &machine);
		store_tx_consume(txs[i], 2, 5);
	}
	store_commit(store, txs, 3, results, why);
	assert_int_equal(results[0], 0);
	assert_int_equal(results[1], -ESTALE);
	assert_int_equal(results[2], -ESTALE);
	for (int i = 0; i < 3; i++)
		store_tx_free(txs[i]);
	AUTO(auto_free) char *got = rows_dump(store);
	assert_non_null(strstr(got, "machine 30 "));
	assert_null(strstr(got, "machine 31 "));
}

static void soft_facts_and_deletions(void **state)
{
	struct tailnet_node *node;
	struct store_tx *tx;

	(void)state;
	assert_int_equal(commit(rows_full()), 0);
	/* A hard change leaves the soft facts of the row, whatever the record says of them. */
	node = rows_node(1, 1);
	assert_true(set_text(&node->name, "renamed", 63));
	tx = store_tx_new();
	store_tx_node(tx, node);
	assert_int_equal(commit(tx), 0);
	{
		AUTO(auto_free) char *got = rows_dump(store);

		assert_non_null(strstr(got, " renamed "));
		assert_non_null(strstr(got, "hostinfo {\"OS\":\"linux\"} derp 900"));
	}
	/* Dropping the key of a node leaves the node, without it. */
	tx = store_tx_new();
	node->soft.home_derp = 7;
	store_tx_soft(tx, node);
	store_tx_drop_key(tx, 1);
	store_tx_drop_node(tx, 2);
	store_tx_drop_node(tx, 4711);
	store_tx_pin(tx, 1, 1, false);
	assert_int_equal(commit(tx), 0);
	tailnet_node_unref(node);
	AUTO(auto_free) char *got = rows_dump(store);
	assert_non_null(strstr(got, " derp 7 "));
	assert_null(strstr(got, "key 1 user"));
	assert_null(strstr(got, "node 2 "));
	assert_null(strstr(got, "pin "));
	assert_non_null(strstr(got, "last 1 2 2 2"));
}

/* Writes @len bytes of rubbish at @at of the database. */
static void damage(off_t at, size_t len)
{
	AUTO(auto_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
	uint8_t rubbish[4096];

	memset(rubbish, 0xa5, sizeof(rubbish));
	assert_true(fd != -1);
	assert_int_equal(pwrite(fd, rubbish, len, at), len);
}

static void foreign_databases_are_left_alone(void **state)
{
	(void)state;
	assert_int_equal(commit(rows_full()), 0);
	store_close(store);
	assert_int_equal(meddle("PRAGMA user_version = 3"), SQLITE_OK);
	assert_refused(-EPROTO, "it has schema 3, and this version knows 2; install the newer");
	assert_int_equal(meddle("PRAGMA user_version = 2"), SQLITE_OK);
	assert_int_equal(meddle("PRAGMA application_id = 5"), SQLITE_OK);
	assert_refused(-EPROTO, "not of a coordinator");
	unlink(path);
	assert_int_equal(meddle("CREATE TABLE other (x)"), SQLITE_OK);
	assert_refused(-EPROTO, "not of a coordinator");
	unlink(path);
	assert_int_equal(meddle("CREATE TABLE other (x)"), SQLITE_OK);
	damage(0, 4096);
	assert_refused(-EILSEQ, "put a backup in its place");
}

static void damage_is_found_at_start(void **state)
{
	(void)state;
	assert_int_equal(commit(rows_full()), 0);
	store_close(store);
	damage((off_t)4096 * 4, 4096);
	assert_refused(-EILSEQ, "damaged");
}

static void rows_that_are_not_ours_are_found_by_the_load(void **state)
{
	struct store_visitor visitor = { 0 };

	(void)state;
	assert_int_equal(commit(rows_full()), 0);
	assert_int_equal(meddle("UPDATE nodes SET v4 = '100.64.0.300' WHERE id = 2"), SQLITE_OK);
	reopen();
	visitor = rows_visitor(NULL);
	assert_int_equal(store_load(store, &visitor, why), -EILSEQ);
	assert_non_null(strstr(why, "node 2 is not as this program writes it"));
}

static void a_backup_is_a_database(void **state)
{
	AUTO(auto_free) char *before = NULL;
	char copy[128];
	int fd, result;

	(void)state;
	assert_int_equal(commit(rows_full()), 0);
	before = rows_dump(store);
	snprintf(copy, sizeof(copy), "%s.copy", path);
	fd = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd != -1);
	if (store_backup(store, fd, why) != 0)
		fail_msg("%s", why);
	close(fd);
	/* What came later is not in it. */
	struct store_tx *tx = store_tx_new();
	store_tx_drop_node(tx, 1);
	assert_int_equal(commit(tx), 0);
	store_close(store);
	assert_int_equal(rename(copy, path), 0);
	store = store_open(path, &result, why);
	assert_non_null(store);
	assert_rows(before);
	tx = store_tx_new();
	store_tx_drop_node(tx, 1);
	assert_int_equal(commit(tx), 0);
}

static void rename_tail(const char *from, const char *to)
{
	char old[128], now[128];

	snprintf(old, sizeof(old), "%s%s", path, from);
	snprintf(now, sizeof(now), "%s%s", path, to);
	assert_int_equal(rename(old, now), 0);
}

/* Restoring after a crash: the old database's log is still there, and has more than the backup. */
static void the_old_log_is_not_played_into_a_backup(void **state)
{
	AUTO(auto_free) char *before = NULL;
	char copy[128], wal[128];
	struct store_tx *tx;
	int fd, result;
	pid_t child;

	(void)state;
	assert_int_equal(commit(rows_full()), 0);
	before = rows_dump(store);
	snprintf(copy, sizeof(copy), "%s.copy", path);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	fd = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd != -1);
	assert_int_equal(store_backup(store, fd, why), 0);
	close(fd);
	store_close(store);
	child = fork();
	if (child == 0) {
		store = store_open(path, &result, why);
		tx = store_tx_new();
		store_tx_drop_node(tx, 1);
		store_tx_hold(tx, &(struct warren_addr){ 4, { 100, 64, 9, 9 } }, 77);
		_exit(store && commit(tx) == 0 ? 0 : 1);	/* as a crash: the log stays */
	}
	assert_int_equal(waitpid(child, &result, 0), child);
	assert_int_equal(result, 0);
	assert_int_equal(access(wal, F_OK), 0);
	rename_tail(".copy", "");
	store = store_open(path, &result, why);
	if (!store)
		fail_msg("%s", why);
	assert_rows(before);
}

/* And without a backup the log is what was committed last. */
static void the_log_of_a_crash_is_kept(void **state)
{
	int result;
	pid_t child;

	(void)state;
	store_close(store);
	child = fork();
	if (child == 0) {
		store = store_open(path, &result, why);
		_exit(store && commit(rows_full()) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &result, 0), child);
	assert_int_equal(result, 0);
	store = store_open(path, &result, why);
	assert_non_null(store);
	AUTO(auto_free) char *rows = rows_dump(store);
	assert_non_null(strstr(rows, "node 2 "));
}

static void a_backup_that_cannot_be_written_says_so(void **state)
{
	AUTO(auto_close) int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	char left[128];

	(void)state;
	assert_true(full != -1);
	assert_int_equal(store_backup(store, full, why), -ENOSPC);
	assert_non_null(strstr(why, "it is not whole, remove it"));
	snprintf(left, sizeof(left), "%s.backup", path);
	assert_int_equal(access(left, F_OK), -1);
}

static int collect(const struct store_audit *row, void *arg)
{
	str_addf(arg, "%lld %s %s %s %lld %s %s>%s;", (long long)row->time, row->actor, row->action,
		 row->kind, (long long)row->target, row->name, row->before ? row->before : "-",
		 row->after ? row->after : "-");
	return 0;
}

static void audit(int64_t time, const char *action)
{
	struct store_tx *tx = store_tx_new();
	struct store_audit row = {
		.time = time, .actor = "root", .origin = "command", .action = action,
		.kind = "node", .target = 1, .name = "laptop", .after = "{}",
	};

	store_tx_audit(tx, &row);
	assert_int_equal(commit(tx), 0);
}

static void the_audit_log_is_append_only(void **state)
{
	AUTO(str_free) struct str got = STR_INIT;

	(void)state;
	audit(1, "a");
	audit(2, "b");
	reopen();
	audit(3, "c");
	assert_int_equal(store_audit_read(store, 0, 0, collect, &got, why), 0);
	assert_string_equal(str_text(&got), "1 root a node 1 laptop ->{};2 root b node 1 laptop "
			    "->{};3 root c node 1 laptop ->{};");
	str_cut(&got, 0);
	assert_int_equal(store_audit_read(store, 0, 1, collect, &got, why), 0);
	assert_string_equal(str_text(&got), "3 root c node 1 laptop ->{};");
	str_cut(&got, 0);
	assert_int_equal(store_audit_read(store, 2, 0, collect, &got, why), 0);
	assert_string_equal(str_text(&got), "2 root b node 1 laptop ->{};3 root c node 1 laptop "
			    "->{};");
	assert_int_equal(meddle("DELETE FROM audit"), SQLITE_CONSTRAINT);
	assert_int_equal(meddle("UPDATE audit SET actor = 'x'"), SQLITE_CONSTRAINT);
	/* Who removes the trigger first is found all the same. */
	assert_int_equal(meddle("DROP TRIGGER audit_is_never_cut; DELETE FROM audit WHERE id = 2"),
			 SQLITE_OK);
	assert_int_equal(store_audit_read(store, 0, 0, collect, &got, why), -EILSEQ);
	assert_non_null(strstr(why, "row 3 of the audit log"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everything_comes_back),
		TEST(a_refused_transaction_goes_alone),
		TEST(ownership_is_checked_by_the_database_too),
		TEST(a_key_is_consumed_once),
		TEST(soft_facts_and_deletions),
		TEST(foreign_databases_are_left_alone),
		TEST(damage_is_found_at_start),
		TEST(rows_that_are_not_ours_are_found_by_the_load),
		TEST(a_backup_is_a_database),
		TEST(the_old_log_is_not_played_into_a_backup),
		TEST(the_log_of_a_crash_is_kept),
		TEST(a_backup_that_cannot_be_written_says_so),
		TEST(the_audit_log_is_append_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
