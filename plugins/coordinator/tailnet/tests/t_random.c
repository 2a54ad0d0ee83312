/*
 * Whatever happens in whatever order: requests of machines and people at random, several in one
 * commit, disks that are full, crashes. After each crash the state is the one that was in force;
 * at any time every index agrees with the records, and what was refused left nothing behind.
 *
 *	WARREN_TEST_SEED=N repeats a run, WARREN_TEST_CASES=N makes it longer.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/hex.h"
#include "base/util.h"
#include "world.h"

enum { MACHINES = 6, USERS = 3, KEYS = 12, AT_ONCE = 24 };

static struct world w;
static char secrets[KEYS][TAILNET_SECRET];
static uint64_t random_state;

static uint32_t dice(uint32_t sides)
{
	/* SplitMix64 of Steele, Lea and Flood. */
	uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ (z >> 31)) >> 16) % sides;
}

static void add_prefixes(struct str *out, const struct tailnet_prefixes *list)
{
	char text[PREFIX_TEXT];

	for (uint32_t i = 0; list && i < list->count; i++)
		str_addf(out, " %s", prefix_format(&list->at[i], text));
	str_addc(out, ';');
}

static void add_node(struct str *out, const struct tailnet_node *n)
{
	char key[65], v4[ADDR_TEXT], v6[ADDR_TEXT];

	hex_encode(key, n->node_key, 32);
	str_addf(out, "node %lld user %lld machine %lld %02x key %lld expiry %lld %.8s %s %s %s "
		 "\"%s\" %d%d%d%d derp %u seen %lld", (long long)n->id, (long long)n->user,
		 (long long)n->machine, n->machine_key[0], (long long)n->auth_key,
		 (long long)n->expiry, key, addr_format(&n->v4, v4), addr_format(&n->v6, v6),
		 n->name, n->hostname, n->automatic, n->ephemeral, n->authorized, n->interactive,
		 n->soft.home_derp, (long long)n->soft.last_seen);
	for (uint32_t i = 0; n->tags && i < n->tags->count; i++)
		str_addf(out, " %s", n->tags->at[i]);
	add_prefixes(out, n->announced);
	add_prefixes(out, n->approved);
	str_addc(out, '\n');
}

/* All that is durable. */
static char *dump(void)
{
	const struct tailnet_node *const *nodes;
	const struct tailnet_user *const *users;
	const struct tailnet_key *const *keys;
	struct str out = STR_INIT;
	uint32_t n;

	users = tailnet_users(w.tn, &n);
	for (uint32_t i = 0; i < n; i++)
		str_addf(&out, "user %lld %s %s %d %d\n", (long long)users[i]->id, users[i]->login,
			 users[i]->display, users[i]->role, users[i]->pinned);
	keys = tailnet_keys(w.tn, &n);
	for (uint32_t i = 0; i < n; i++)
		str_addf(&out, "key %lld user %lld %lld %lld %d\n", (long long)keys[i]->id,
			 (long long)keys[i]->user, (long long)keys[i]->used,
			 (long long)keys[i]->revoked, keys[i]->reusable);
	nodes = tailnet_nodes(w.tn, &n);
	for (uint32_t i = 0; i < n; i++) {
		add_node(&out, nodes[i]);
		for (int64_t user = 1; user < 40; user++) {
			if (tailnet_pinned(w.tn, nodes[i]->machine, user))
				str_addf(&out, "pin %lld %lld\n", (long long)nodes[i]->machine,
					 (long long)user);
		}
	}
	str_add(&out, "");
	return str_take(&out);
}

static void assert_sound(void)
{
	const struct tailnet_node *const *nodes;
	uint32_t n;

	nodes = tailnet_nodes(w.tn, &n);
	for (uint32_t i = 0; i < n; i++) {
		const struct tailnet_node *node = nodes[i];

		assert_true(!i || nodes[i - 1]->id < node->id);
		assert_true((node->user == 0) == (node->tags != NULL));
		assert_true(!node->user || tailnet_user(w.tn, node->user));
		assert_true(!node->auth_key || tailnet_key(w.tn, node->auth_key));
		assert_ptr_equal(tailnet_node(w.tn, node->id), node);
		assert_ptr_equal(tailnet_node_by_key(w.tn, node->node_key), node);
		assert_ptr_equal(tailnet_node_by_name(w.tn, node->name), node);
		assert_ptr_equal(tailnet_node_by_addr(w.tn, &node->v4), node);
		assert_ptr_equal(tailnet_node_by_addr(w.tn, &node->v6), node);
		for (uint32_t j = 0; j < i; j++)
			assert_false(nodes[j]->machine == node->machine &&
				     nodes[j]->user == node->user);
		for (uint32_t j = 0; node->live.primary && j < node->live.primary->count; j++)
			assert_int_equal(tailnet_primary(w.tn, &node->live.primary->at[j]),
					 node->id);
	}
}

/* One of the ids that exist, or one that does not. */
static int64_t some_node(void)
{
	const struct tailnet_node *const *nodes;
	uint32_t n;

	nodes = tailnet_nodes(w.tn, &n);
	return n && dice(8) ? nodes[dice(n)]->id : 4711;
}

static int64_t some_user(void)
{
	const struct tailnet_user *const *users;
	uint32_t n;

	users = tailnet_users(w.tn, &n);
	return n && dice(10) ? users[dice(n)]->id : 4711;
}

static const char *some_name(void)
{
	static const char *const names[] = { "a", "b", "c", "a-1", "b-2", "host", "Bad Name" };

	return names[dice(ARRAY_SIZE(names))];
}

static void random_routes(struct warren_prefix routes[2])
{
	static const char *const all[] = { "10.1.0.0/16", "10.2.0.0/16", "0.0.0.0/0", "fd01::/64" };

	for (int i = 0; i < 2; i++)
		assert_int_equal(prefix_parse(all[dice(ARRAY_SIZE(all))], &routes[i]), 0);
}

static void random_register(struct reply *reply)
{
	const char *tag = dice(2) ? "tag:web" : "tag:db";
	struct tailnet_register reg = world_reg((uint8_t)(1 + dice(MACHINES)),
						(uint8_t)(1 + dice(3 * MACHINES)), some_name());
	struct warren_prefix routes[2];

	random_routes(routes);
	reg.routes = routes;
	reg.n_routes = dice(3);
	reg.home_derp = dice(5);
	if (dice(4))
		reg.auth_key = secrets[dice(KEYS)];
	if (!dice(5)) {
		reg.tags = &tag;
		reg.n_tags = 1;
	}
	if (!dice(6)) {
		reg.has_expiry = true;
		reg.expiry = dice(2) ? 123 : w.wall + (int64_t)dice(100) * 1000000;
	}
	world_start(&w, &reg, reply);
}

static void random_update(void)
{
	struct warren_prefix routes[2];
	struct tailnet_update update = {
		.hostinfo = "{}", .hostname = some_name(), .routes = routes,
		.n_routes = dice(3), .home_derp = dice(9),
	};

	random_routes(routes);
	tailnet_update(w.tn, some_node(), &update, NULL, NULL);
}

static void random_act(struct reply *reply)
{
	const char *tags[2] = { dice(4) ? "tag:web" : "tag:none", "tag:db" };
	const struct tailnet_pending *pending;
	struct warren_prefix routes[2];
	struct tailnet_act act = {
		.verb = (enum tailnet_verb)(1 + dice(TAILNET_VERBS - 1)), .node = some_node(),
		.user = some_user(), .key = 1 + dice(KEYS + 4), .text = some_name(),
		.strings = tags, .n_strings = dice(3), .prefixes = routes, .n_prefixes = dice(3),
		.role = (enum tailnet_role)dice(TAILNET_ROLES), .flag = dice(2),
		.reusable = dice(2), .ephemeral = !dice(4), .preauthorized = dice(2),
	};
	uint32_t pos = 0;
	char addr[32], code[TAILNET_CODE] = "none";

	random_routes(routes);
	snprintf(addr, sizeof(addr), "100.64.0.%u", dice(32));
	world_addr(addr, &act.addr);
	pending = tailnet_pending_next(w.tn, &pos);
	if (pending)
		memcpy(code, pending->code, sizeof(code));
	act.code = code;
	act.provider = "oidc";
	act.subject = dice(2) ? "i/1" : "i/2";
	/* Users and keys go rarely, or soon nobody can do anything. */
	if ((act.verb == TAILNET_USER_DELETE || act.verb == TAILNET_KEY_DELETE ||
	     act.verb == TAILNET_KEY_REVOKE || act.verb == TAILNET_USER_PIN) && dice(10))
		act.verb = TAILNET_NODE_RENAME;
	if (act.verb == TAILNET_NODE_EXPIRY)
		act.time = dice(2) ? 0 : w.wall + (int64_t)dice(100) * 1000000;
	world_act(&w, &act, reply);
}

static void limit_disk(bool full)
{
	struct rlimit limit;
	struct stat st;
	char wal[128];

	snprintf(wal, sizeof(wal), "%s-wal", w.path);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = limit.rlim_max;
	if (full && stat(wal, &st) == 0)
		limit.rlim_cur = (rlim_t)st.st_size + dice(20000);
	setrlimit(RLIMIT_FSIZE, &limit);
}

static void new_keys(void)
{
	const struct tailnet_user *const *users;
	uint32_t n;

	users = tailnet_users(w.tn, &n);
	for (int i = 0; i < KEYS; i++) {
		const char *tag = "tag:web";
		struct tailnet_act act = {
			.user = n ? users[dice(n)]->id : world_user(&w, "somebody"),
			.reusable = dice(3), .ephemeral = !dice(4), .strings = &tag,
			.n_strings = !dice(3), .preauthorized = dice(2),
		};

		world_key(&w, act, secrets[i]);
		users = tailnet_users(w.tn, &n);
	}
}

/* Says the first line that differs: a dump is long. */
static void assert_same(const char *after, const char *before)
{
	size_t from = 0, i = 0;

	for (; after[i] && after[i] == before[i]; i++)
		from = after[i] == '\n' ? i + 1 : from;
	if (after[i] != before[i])
		fail_msg("before: %.*s\nafter:  %.*s", (int)strcspn(before + from, "\n"),
			 before + from, (int)strcspn(after + from, "\n"), after + from);
}

static void crash(void)
{
	AUTO(auto_free) char *before = NULL;
	AUTO(auto_free) char *after = NULL;

	/* So long it takes until a node is offline, and until soft facts are written. */
	world_pass(&w, 16000000);
	before = dump();
	world_crash(&w);
	world_open(&w);
	after = dump();
	assert_same(after, before);
}

static void one_round(struct reply *replies, uint32_t n)
{
	bool full = !dice(6);

	for (uint32_t i = 0; i < n; i++) {
		switch (dice(6)) {
		case 0: case 1: case 2:
			random_register(&replies[i]);
			break;
		case 3:
			replies[i].came = true;
			random_update();
			break;
		default:
			random_act(&replies[i]);
		}
		if (!dice(5))
			tailnet_stream_opened(w.tn, some_node());
		if (!dice(5))
			tailnet_stream_closed(w.tn, some_node());
		if (!dice(9))
			tailnet_set_health(w.tn, &(struct tailnet_health){ some_node(), dice(2) },
					   1);
	}
	limit_disk(full);
	world_turn(&w);
	limit_disk(false);
	for (uint32_t i = 0; i < n; i++)
		assert_true(replies[i].came);
	assert_sound();
}

static void anything_in_any_order(void **state)
{
	const char *seed = getenv("WARREN_TEST_SEED"), *cases = getenv("WARREN_TEST_CASES");
	uint64_t rounds = cases ? strtoull(cases, NULL, 10) : 400;
	static struct reply replies[AT_ONCE];

	(void)state;
	random_state = seed ? strtoull(seed, NULL, 10) : 20261126;
	print_message("seed %llu\n", (unsigned long long)random_state);
	signal(SIGXFSZ, SIG_IGN);
	world_begin(&w);
	w.config.key_expiry = INT64_C(100) * 1000000;
	w.config.ephemeral_timeout = INT64_C(65) * 1000000;
	w.config.quarantine = INT64_C(50) * 1000000;
	prefix_parse("100.64.0.0/27", &w.config.v4);
	w.tags = "tag:web tag:db";
	w.owner = "wells";
	w.routes = "10.1.0.0/16";
	world_open(&w);
	for (int i = 0; i < USERS; i++)
		world_user(&w, (const char *const[]){ "wells", "other", "third" }[i]);
	for (uint64_t round = 0; round < rounds; round++) {
		if (round % 40 == 0)
			new_keys();
		one_round(replies, 1 + dice(AT_ONCE));
		str_cut(&w.told, 0);
		str_cut(&w.log, 0);
		if (!dice(4))
			world_pass(&w, (int64_t)dice(40) * 1000000);
		if (!dice(10))
			crash();
	}
	crash();
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(anything_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
