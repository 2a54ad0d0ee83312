/*
 * What was answered is on the disk, and what is not on the disk was not answered: many at once, a
 * disk that fails, a process that is killed.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/util.h"
#include "world.h"

static struct world w;
static struct reply r;
static char secret[TAILNET_SECRET];

static int begin(void **state)
{
	(void)state;
	world_begin(&w);
	world_open(&w);
	return 0;
}

static int end(void **state)
{
	struct rlimit limit;

	(void)state;
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_FSIZE, &limit);
	world_end(&w);
	return 0;
}

/* Machine and node key from one number. */
static struct tailnet_register numbered(uint32_t n, const char *key)
{
	struct tailnet_register reg = world_reg(1, 2, "host");

	memcpy(reg.machine_key + 4, &n, sizeof(n));
	memcpy(reg.node_key + 4, &n, sizeof(n));
	reg.auth_key = key;
	return reg;
}

static void assert_consistent(void)
{
	const struct tailnet_node *const *nodes;
	uint32_t count;

	nodes = tailnet_nodes(w.tn, &count);
	for (uint32_t i = 0; i < count; i++) {
		/* By each of its names it is found, so nobody else has them. */
		assert_ptr_equal(tailnet_node_by_addr(w.tn, &nodes[i]->v4), nodes[i]);
		assert_ptr_equal(tailnet_node_by_addr(w.tn, &nodes[i]->v6), nodes[i]);
		assert_ptr_equal(tailnet_node_by_name(w.tn, nodes[i]->name), nodes[i]);
		assert_ptr_equal(tailnet_node_by_key(w.tn, nodes[i]->node_key), nodes[i]);
	}
}

static uint32_t count_nodes(void)
{
	uint32_t count;

	tailnet_nodes(w.tn, &count);
	return count;
}

static void a_single_use_key_makes_one_node_of_a_thousand(void **state)
{
	struct reply *replies = calloc(1000, sizeof(*replies));
	uint32_t in = 0, used = 0;

	(void)state;
	assert_non_null(replies);
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells") }, secret);
	for (uint32_t i = 0; i < 1000; i++) {
		struct tailnet_register reg = numbered(i, secret);

		world_start(&w, &reg, &replies[i]);
	}
	world_turn(&w);
	for (uint32_t i = 0; i < 1000; i++) {
		assert_true(replies[i].came);
		in += replies[i].as == TAILNET_REGISTERED;
		used += strcmp(replies[i].error, "authkey already used") == 0;
	}
	assert_int_equal(in, 1);
	assert_int_equal(used, 999);
	assert_int_equal(count_nodes(), 1);
	world_reopen(&w);
	assert_int_equal(count_nodes(), 1);
	free(replies);
}

static void a_storm_shares_commits(void **state)
{
	struct reply *replies = calloc(500, sizeof(*replies));
	struct tailnet_stats before, after;

	(void)state;
	assert_non_null(replies);
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells"), .reusable = true },
		  secret);
	tailnet_stats(w.tn, &before);
	for (uint32_t i = 0; i < 500; i++) {
		struct tailnet_register reg = numbered(i, secret);

		world_start(&w, &reg, &replies[i]);
	}
	world_turn(&w);
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(replies[i].as, TAILNET_REGISTERED);
	/* The first alone, then 128 with each fsync. */
	tailnet_stats(w.tn, &after);
	assert_int_equal(after.commits - before.commits, 5);
	assert_int_equal(after.transactions - before.transactions, 500);
	assert_consistent();
	world_reopen(&w);
	assert_int_equal(count_nodes(), 500);
	assert_consistent();
	free(replies);
}

static void one_machine_at_once_is_one_node(void **state)
{
	struct reply replies[20];
	struct tailnet_register reg;

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells"), .reusable = true },
		  secret);
	for (uint32_t i = 0; i < 20; i++) {
		reg = world_reg(1, (uint8_t)(10 + i), "host");
		reg.auth_key = secret;
		world_start(&w, &reg, &replies[i]);
	}
	world_turn(&w);
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(replies[i].as, TAILNET_REGISTERED);
		assert_int_equal(replies[i].node, replies[0].node);
	}
	/* In the order of their calls: the last key is the one. */
	assert_memory_equal(world_node(&w, replies[0].node)->node_key, reg.node_key, 32);
	/* Two machines, one node key. */
	reg = world_reg(2, 99, "host");
	reg.auth_key = secret;
	world_start(&w, &reg, &replies[0]);
	reg.machine_key[0] = 3;
	world_start(&w, &reg, &replies[1]);
	world_turn(&w);
	assert_int_equal(replies[0].as, TAILNET_REGISTERED);
	assert_int_equal(replies[1].as, TAILNET_REFUSED);
}

/* The database may not grow by more than @more bytes. */
static void limit_disk(rlim_t more)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	struct stat st;
	char wal[128];

	snprintf(wal, sizeof(wal), "%s-wal", w.path);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = RLIM_INFINITY;
	if (more != RLIM_INFINITY) {
		assert_int_equal(stat(wal, &st), 0);
		limit.rlim_cur = (rlim_t)st.st_size + more;
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_is_answered_and_nothing_moves(void **state)
{
	struct reply replies[50];
	struct tailnet_register reg;
	struct warren_addr first;
	int64_t user = world_user(&w, "wells"), id;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	world_key(&w, (struct tailnet_act){ .user = user, .reusable = true }, secret);
	id = world_join(&w, 1, 11, "a", secret);
	limit_disk(2000);		/* not even a page */
	str_cut(&w.told, 0);
	str_cut(&w.log, 0);
	for (uint32_t i = 0; i < 50; i++) {
		reg = numbered(i, secret);
		world_start(&w, &reg, &replies[i]);
	}
	world_act(&w, &(struct tailnet_act){ .verb = TAILNET_NODE_RENAME, .node = id,
					     .text = "b" }, &r);
	world_turn(&w);
	for (uint32_t i = 0; i < 50; i++) {
		assert_int_equal(replies[i].as, TAILNET_REFUSED);
		assert_non_null(strstr(replies[i].error, "the coordinator cannot store this now"));
	}
	assert_true(r.result < 0);
	assert_int_equal(count_nodes(), 1);
	assert_string_equal(world_node(&w, id)->name, "a");
	assert_string_equal(str_text(&w.told), "");
	/* One line for each commit that failed, not for each who was in it. */
	assert_non_null(strstr(str_text(&w.log), "<3>1 change is not stored and not in force: "));
	assert_non_null(strstr(str_text(&w.log), "<3>50 changes are not stored and not in "));
	assert_non_null(strstr(str_text(&w.log), "coordinator.db: cannot write: "));
	/* There is room again: nothing that was reserved is lost, and nobody has to restart. */
	limit_disk(RLIM_INFINITY);
	world_addr("100.64.0.2", &first);
	reg = numbered(0, secret);
	world_register(&w, &reg, &r);
	assert_int_equal(r.as, TAILNET_REGISTERED);
	assert_true(addr_equal(&world_node(&w, r.node)->v4, &first));
	assert_int_equal(world_do(&w, (struct tailnet_act){
		.verb = TAILNET_NODE_RENAME, .node = id, .text = "b" }, NULL), 0);
	world_reopen(&w);
	assert_int_equal(count_nodes(), 2);
	assert_string_equal(world_node(&w, id)->name, "b");
	assert_consistent();
}

static bool write_to(const char *file, const char *text)
{
	FILE *f = fopen(file, "w");
	bool ok = f && fputs(text, f) != EOF;

	return f && fclose(f) == 0 && ok;
}

/* A file system of our own at the world's folder: as root, or as one of a user namespace. */
static bool own_disk(void)
{
	unsigned int uid = geteuid(), gid = getegid();
	char map[32];

	if (unshare(CLONE_NEWNS) == -1) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == -1)
			return false;
		snprintf(map, sizeof(map), "0 %u 1", uid);
		if (!write_to("/proc/self/uid_map", map))
			return false;
		snprintf(map, sizeof(map), "0 %u 1", gid);
		if (!write_to("/proc/self/setgroups", "deny") ||
		    !write_to("/proc/self/gid_map", map))
			return false;
	}
	return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", w.dir, "tmpfs", 0, "size=2m") == 0;
}

static void soft_facts_are_written_when_there_is_room_again(void **state)
{
	struct tailnet_update update = { .home_derp = 7 };
	int64_t id;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells") }, secret);
	id = world_join(&w, 1, 11, "a", secret);
	world_pass(&w, 6000000);
	limit_disk(2000);
	str_cut(&w.log, 0);
	assert_int_equal(tailnet_update(w.tn, id, &update, NULL, NULL), 0);
	world_pass(&w, 16000000);
	assert_non_null(strstr(str_text(&w.log), "1 change is not stored"));
	assert_int_equal(world_node(&w, id)->soft.home_derp, 7);
	limit_disk(RLIM_INFINITY);
	world_pass(&w, 6000000);
	world_reopen(&w);
	assert_int_equal(world_node(&w, id)->soft.home_derp, 7);
}

/* In a child with a file system of its own; the result is its exit status. */
static void fill_a_disk(void)
{
	uint32_t n = 0, before;

	if (!own_disk())
		_exit(77);
	world_open(&w);
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells"), .reusable = true },
		  secret);
	do {
		struct tailnet_register reg = numbered(n++, secret);

		world_register(&w, &reg, &r);
	} while (r.as == TAILNET_REGISTERED && n < 100000);
	before = count_nodes();
	if (r.result != -ENOSPC || before != n - 1 || before < 10)
		_exit(1);
	if (!strstr(str_text(&w.log), "; make room, then repeat"))
		_exit(2);
	if (tailnet_node(w.tn, (int64_t)n))
		_exit(3);
	if (mount("tmpfs", w.dir, "tmpfs", MS_REMOUNT, "size=16m") == -1)
		_exit(4);
	for (uint32_t i = 0; i < 20; i++) {
		struct tailnet_register reg = numbered(n++, secret);

		world_register(&w, &reg, &r);
		if (r.as != TAILNET_REGISTERED)
			_exit(5);
	}
	world_reopen(&w);
	_exit(count_nodes() == before + 20 ? 0 : 6);
}

static void a_disk_without_room_can_be_given_some(void **state)
{
	int status;
	pid_t child;

	(void)state;
	world_crash(&w);
	child = fork();
	assert_true(child != -1);
	if (child == 0)
		fill_a_disk();
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("no namespaces here: no file system of our own\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_busy_pool_only_delays(void **state)
{
	struct tailnet_register reg = numbered(1, secret);

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells") }, secret);
	w.full = true;
	world_start(&w, &reg, &r);
	world_pass(&w, 1000000);
	assert_false(r.came);
	w.full = false;
	world_pass(&w, 200000);
	assert_int_equal(r.as, TAILNET_REGISTERED);
}

static void drained(void *arg)
{
	*(bool *)arg = true;
}

static void stopping_finishes_what_flies(void **state)
{
	struct tailnet_update update = { .home_derp = 7 };
	struct tailnet_register reg = numbered(1, secret);
	struct reply flies, waits, follows;
	bool done = false;
	int64_t id;

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells"), .reusable = true },
		  secret);
	id = world_join(&w, 1, 11, "a", secret);
	reg.auth_key = NULL;
	world_register(&w, &reg, &r);
	reg.code = r.code;
	world_start(&w, &reg, &follows);
	reg = numbered(2, secret);
	world_start(&w, &reg, &flies);
	world_start(&w, &reg, &waits);
	tailnet_update(w.tn, id, &update, NULL, NULL);
	tailnet_drain(w.tn, drained, &done);
	assert_false(done);
	world_turn(&w);
	assert_true(done);
	assert_int_equal(flies.as, TAILNET_REGISTERED);
	assert_int_equal(waits.result, -ESHUTDOWN);
	assert_int_equal(follows.as, TAILNET_REFUSED);
	world_reopen(&w);
	assert_int_equal(count_nodes(), 2);
	assert_int_equal(world_node(&w, id)->soft.home_derp, 7);
}

static void who_hung_up_is_not_answered(void **state)
{
	struct tailnet_register reg = numbered(1, secret);
	struct reply waits;
	struct tailnet_request *request, *behind;

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells"), .reusable = true },
		  secret);
	request = world_start(&w, &reg, &r);
	behind = world_start(&w, &reg, &waits);
	tailnet_cancel(w.tn, request);
	tailnet_cancel(w.tn, behind);
	world_turn(&w);
	assert_false(r.came);
	assert_false(waits.came);
	assert_int_equal(count_nodes(), 1);	/* it was on its way */
}

/* Writes each answer to @fd, and goes on until it is killed. */
static void join_for_ever(int fd, uint32_t from)
{
	struct reply replies[64];
	uint32_t line[64];

	for (uint32_t at = from;; at += 64) {
		for (uint32_t i = 0; i < 64; i++) {
			struct tailnet_register reg = numbered(at + i, secret);

			world_start(&w, &reg, &replies[i]);
		}
		world_turn(&w);
		for (uint32_t i = 0; i < 64; i++) {
			line[i] = at + i;
			if (replies[i].as != TAILNET_REGISTERED)
				_exit(3);
			if (write(fd, &line[i], sizeof(line[i])) != sizeof(line[i]))
				_exit(4);
		}
	}
}

/* Lets a child join nodes, kills it after @answers of them, and gives the last that it told. */
static uint32_t run_and_kill(uint32_t from, uint32_t answers)
{
	uint32_t got = 0, last = from;
	int pipes[2], status;
	pid_t child;

	assert_int_equal(pipe(pipes), 0);
	child = fork();
	assert_true(child != -1);
	if (child == 0) {
		close(pipes[0]);
		world_open(&w);
		join_for_ever(pipes[1], from);
	}
	close(pipes[1]);
	while (read(pipes[0], &last, sizeof(last)) == sizeof(last)) {
		if (++got == answers)
			kill(child, SIGKILL);
	}
	close(pipes[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return last;
}

static void what_was_answered_survives_a_kill(void **state)
{
	uint32_t last = 0, from = 0;

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = world_user(&w, "wells"), .reusable = true },
		  secret);
	world_crash(&w);
	/* At several places: just begun, in the middle of a batch, after some checkpoints. */
	for (uint32_t round = 0; round < 6; round++) {
		last = run_and_kill(from, 1 + 331 * round);
		world_open(&w);
		assert_consistent();
		for (uint32_t n = 0; n <= last; n++) {
			struct tailnet_register reg = numbered(n, NULL);

			if (!tailnet_node_by_key(w.tn, reg.node_key))
				fail_msg("node %u was answered and is lost (round %u)", n, round);
		}
		/* What was not answered may be there: it only was not told yet. */
		assert_true(count_nodes() <= last + 1 + 64);
		from = last + 1;
		world_crash(&w);
	}
	world_open(&w);
	assert_int_equal(store_found_schema(tailnet_store(w.tn)), STORE_SCHEMA);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_single_use_key_makes_one_node_of_a_thousand),
		TEST(a_storm_shares_commits),
		TEST(one_machine_at_once_is_one_node),
		TEST(a_full_disk_is_answered_and_nothing_moves),
		TEST(soft_facts_are_written_when_there_is_room_again),
		TEST(a_disk_without_room_can_be_given_some),
		TEST(a_busy_pool_only_delays),
		TEST(stopping_finishes_what_flies),
		TEST(who_hung_up_is_not_answered),
		TEST(what_was_answered_survives_a_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
