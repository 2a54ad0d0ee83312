/*
 * A disk that takes what is written and then says that it has lost it: SQLite's own file system
 * layer with an fsync that fails when it is told to.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "world.h"

static struct world w;
static struct reply r;
static bool broken;
static uint32_t syncs;
static sqlite3_vfs vfs;
static struct {				/* by what the unix layer has for a kind of file */
	const sqlite3_io_methods *real;
	sqlite3_io_methods ours;
} kinds[4];

static int sync_or_not(sqlite3_file *file, int flags)
{
	size_t i = 0;

	syncs++;
	if (broken)
		return SQLITE_IOERR_FSYNC;
	while (file->pMethods != &kinds[i].ours)
		i++;
	return kinds[i].real->xSync(file, flags);
}

/* The real file, with one method replaced. */
static int open_file(sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *out)
{
	int rc = sqlite3_vfs_find("unix")->xOpen(sqlite3_vfs_find("unix"), name, file, flags, out);

	(void)self;
	if (rc != SQLITE_OK || !file->pMethods)
		return rc;
	for (size_t i = 0; i < 4; i++) {
		if (kinds[i].real && kinds[i].real != file->pMethods)
			continue;
		kinds[i].real = file->pMethods;
		kinds[i].ours = *file->pMethods;
		kinds[i].ours.xSync = sync_or_not;
		file->pMethods = &kinds[i].ours;
		return SQLITE_OK;
	}
	fail_msg("more kinds of files than this test knows");
	return SQLITE_ERROR;
}

static int begin(void **state)
{
	(void)state;
	vfs = *sqlite3_vfs_find("unix");
	vfs.zName = "unreliable";
	vfs.xOpen = open_file;
	if (sqlite3_vfs_register(&vfs, 1) != SQLITE_OK)
		return -1;
	world_begin(&w);
	world_open(&w);
	return 0;
}

static int end(void **state)
{
	(void)state;
	broken = false;
	world_end(&w);
	return sqlite3_vfs_unregister(&vfs);
}

static uint32_t count_nodes(void)
{
	uint32_t count;

	tailnet_nodes(w.tn, &count);
	return count;
}

static void what_was_not_synced_is_not_answered(void **state)
{
	char secret[TAILNET_SECRET];
	struct tailnet_register reg = world_reg(2, 21, "b");
	struct reply replies[10];
	int64_t id;
	uint32_t before;

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells"), .reusable = true },
		  secret);
	before = syncs;
	id = world_join(&w, 1, 11, "a", secret);
	assert_true(syncs > before);	/* each commit is synced, or this test says nothing */
	broken = true;
	str_cut(&w.told, 0);
	for (uint8_t i = 0; i < 10; i++) {
		reg = world_reg(20 + i, 20 + i, "b");
		reg.auth_key = secret;
		world_start(&w, &reg, &replies[i]);
	}
	world_act(&w, &(struct tailnet_act){ .verb = TAILNET_NODE_DELETE, .node = id }, &r);
	world_turn(&w);
	for (int i = 0; i < 10; i++)
		assert_int_equal(replies[i].as, TAILNET_REFUSED);
	assert_true(r.result < 0);
	assert_int_equal(count_nodes(), 1);
	assert_string_equal(str_text(&w.told), "");
	/* It recovers: the same addresses are given, and all is on the disk. */
	broken = false;
	for (uint8_t i = 0; i < 10; i++)
		assert_int_equal(world_join(&w, 20 + i, 20 + i, "b", secret) > id, true);
	assert_int_equal(count_nodes(), 11);
	world_crash(&w);
	world_open(&w);
	assert_int_equal(count_nodes(), 11);
	assert_int_equal(world_node(&w, id)->v4.bytes[3], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_not_synced_is_not_answered, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
