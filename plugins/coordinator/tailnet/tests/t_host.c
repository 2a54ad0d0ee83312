/*
 * The state on a real lane with the real job pool: the writer commits on another thread while
 * requests arrive, backups are made beside it, and every backup is whole.
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
#include <unistd.h>

#include <cmocka.h>

#include "../../store/store.h"
#include "../host.h"
#include "../tailnet.h"
#include "base/addr.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "parts.h"

enum { NODES = 300, BACKUPS = 4 };

static char dir[64], path[96], copy[96];
static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct tailnet_host *host;
static struct tailnet *tn;
static char secret[TAILNET_SECRET];
static int64_t user;
static uint32_t answers, joined, refused;
static volatile bool done;

static struct tailnet_config config(void)
{
	struct tailnet_config c = { .base_domain = "tail.example.com" };

	assert_int_equal(prefix_parse("100.64.0.0/10", &c.v4), 0);
	return c;
}

static void open_all(void)
{
	struct tailnet_config c = config();
	char why[TAILNET_WHY];
	struct store *store;
	int result;

	ctx = parts_ctx(engine, wcore_engine_main(engine));
	host = tailnet_host_new(ctx);
	assert_non_null(host);
	store = store_open(path, &result, why);
	if (!store)
		fail_msg("%s", why);
	tn = tailnet_open(tailnet_host_env(host), &c, store, why);
	assert_non_null(tn);
	tailnet_host_set(host, tn);
}

static void drained(void *arg)
{
	(void)arg;
	done = true;
}

static void close_all(void)
{
	done = false;
	tailnet_drain(tn, drained, NULL);
	assert_true(parts_until(engine, &done));
	tailnet_host_set(host, NULL);
	tailnet_free(tn);
	wcore_ctx_close(ctx);
}

static int begin(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/warren-host.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/coordinator.db", dir);
	snprintf(copy, sizeof(copy), "%s/copy.db", dir);
	engine = parts_engine(-1);
	open_all();
	return 0;
}

static int end(void **state)
{
	(void)state;
	close_all();
	wcore_engine_free(engine);
	unlink(path);
	unlink(copy);
	return rmdir(dir);
}

static void acted(void *arg, const struct tailnet_outcome *outcome)
{
	(void)arg;
	assert_int_equal(outcome->result, 0);
	if (outcome->user)
		user = outcome->user->id;
	if (outcome->secret)
		memcpy(secret, outcome->secret, strlen(outcome->secret) + 1);
	done = true;
}

static void act(struct tailnet_act a)
{
	done = false;
	a.actor = "root";
	assert_int_equal(tailnet_do(tn, &a, acted, NULL), 0);
	assert_true(parts_until(engine, &done));
}

static void registered(void *arg, const struct tailnet_registered *answer)
{
	(void)arg;
	joined += answer->as == TAILNET_REGISTERED;
	refused += answer->as == TAILNET_REFUSED;
	answers++;
	done = answers == NODES;
}

static void storm(uint32_t from)
{
	answers = joined = refused = 0;
	done = false;
	for (uint32_t i = 0; i < NODES; i++) {
		struct tailnet_register reg = {
			.auth_key = secret, .hostname = "host", .hostinfo = "{}",
		};
		uint32_t n = from + i + 1;

		memcpy(reg.machine_key, &n, sizeof(n));
		memcpy(reg.node_key, &n, sizeof(n));
		assert_non_null(tailnet_register(tn, &reg, registered, NULL));
		/* Some while the writer has others. */
		if (i % 16 == 0)
			wcore_lane_turn(wcore_engine_main(engine), false);
	}
}

static void many_wishes_for_one_key(void **state)
{
	(void)state;
	act((struct tailnet_act){ .verb = TAILNET_USER_CREATE, .text = "wells" });
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .user = user });
	storm(0);
	assert_true(parts_until(engine, &done));
	assert_int_equal(joined, 1);
	assert_int_equal(refused, NODES - 1);
}

struct backup {
	struct store *store;
	int fd, result;
	volatile bool over;
	char why[STORE_WHY];
};

static void backup_job(void *arg)
{
	struct backup *b = arg;

	b->result = store_backup(b->store, b->fd, b->why);
}

static void backup_done(struct warren_ctx *c, void *arg)
{
	struct backup *b = arg;

	(void)c;
	b->over = true;
}

static int count_node(void *self, const struct tailnet_node *node)
{
	(void)node;
	++*(uint32_t *)self;
	return 0;
}

static int no_user(void *self, const struct tailnet_user *row)
{
	(void)self;
	(void)row;
	return 0;
}

static int no_machine(void *self, const struct store_machine *row)
{
	(void)self;
	(void)row;
	return 0;
}

static int no_pin(void *self, int64_t machine, int64_t owner)
{
	(void)self;
	(void)machine;
	(void)owner;
	return 0;
}

static int no_key(void *self, const struct tailnet_key *row)
{
	(void)self;
	(void)row;
	return 0;
}

static int no_held(void *self, const struct store_held *row)
{
	(void)self;
	(void)row;
	return 0;
}

static int no_last(void *self, int64_t u, int64_t m, int64_t k, int64_t n)
{
	(void)self;
	(void)u;
	(void)m;
	(void)k;
	(void)n;
	return 0;
}

/* Nodes in the copy, which must be a database as any. */
static uint32_t nodes_of_copy(void)
{
	uint32_t n = 0;
	const struct store_visitor visitor = {
		&n, no_user, no_machine, no_pin, no_key, count_node, no_held, no_last,
	};
	char why[STORE_WHY];
	int result;
	struct store *store = store_open(copy, &result, why);

	if (!store)
		fail_msg("%s", why);
	assert_int_equal(store_load(store, &visitor, why), 0);
	store_close(store);
	return n;
}

static void backups_are_whole_while_nodes_join(void **state)
{
	struct backup backup = { .store = tailnet_store(tn) };
	uint32_t in_copy;

	(void)state;
	act((struct tailnet_act){ .verb = TAILNET_USER_CREATE, .text = "wells" });
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .user = user, .reusable = true });
	for (uint32_t i = 0; i < BACKUPS; i++) {
		backup.fd = open(copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		assert_true(backup.fd != -1);
		backup.over = false;
		assert_int_equal(warren_work(ctx, backup_job, backup_done, &backup), 0);
		storm(i * NODES);
		assert_true(parts_until(engine, &done));
		assert_true(parts_until(engine, &backup.over));
		close(backup.fd);
		if (backup.result)
			fail_msg("%s", backup.why);
		assert_int_equal(joined, NODES);
		/* One moment of it: all of the rounds before, and of this one as far as it was. */
		in_copy = nodes_of_copy();
		assert_true(in_copy >= i * NODES && in_copy <= (i + 1) * NODES);
	}
}

static void what_is_soft_is_written_at_the_end(void **state)
{
	struct tailnet_update update = { .home_derp = 900 };

	(void)state;
	act((struct tailnet_act){ .verb = TAILNET_USER_CREATE, .text = "wells" });
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .user = user, .reusable = true });
	storm(0);
	assert_true(parts_until(engine, &done));
	assert_int_equal(tailnet_update(tn, 7, &update, NULL, NULL), 0);
	close_all();
	open_all();
	assert_int_equal(tailnet_node(tn, 7)->soft.home_derp, 900);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(many_wishes_for_one_key),
		TEST(backups_are_whole_while_nodes_join),
		TEST(what_is_soft_is_written_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
