/*
 * What happens by time and by streams: online, expiry, ephemeral nodes, the election of routers,
 * soft facts that are written behind.
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

#include "base/addr.h"
#include "base/util.h"
#include "world.h"

static const int64_t second = 1000000;

static struct world w;
static struct reply r;
static char secret[TAILNET_SECRET];
static int64_t user;

static int begin(void **state)
{
	(void)state;
	world_begin(&w);
	w.config.key_expiry = 3600 * second;
	w.tags = "tag:web";
	world_open(&w);
	user = world_user(&w, "wells");
	world_key(&w, (struct tailnet_act){ .user = user, .reusable = true }, secret);
	return 0;
}

static int end(void **state)
{
	(void)state;
	world_end(&w);
	return 0;
}

static void told(const char *wanted)
{
	assert_string_equal(str_text(&w.told), wanted);
	str_cut(&w.told, 0);
}

static const char *line(int64_t id, uint32_t fields)
{
	static char text[64];

	snprintf(text, sizeof(text), "node %lld changed %x\n", (long long)id, fields);
	return text;
}

static void offline_comes_after_a_grace(void **state)
{
	int64_t id = world_join(&w, 1, 11, "a", secret), gone;

	(void)state;
	str_cut(&w.told, 0);
	tailnet_stream_opened(w.tn, id);
	told(line(id, TAILNET_F_ONLINE));
	tailnet_stream_opened(w.tn, id);
	tailnet_stream_closed(w.tn, id);
	world_pass(&w, 60 * second);
	told("");			/* the other stream is there */
	tailnet_stream_closed(w.tn, id);
	world_pass(&w, 9 * second);
	tailnet_stream_opened(w.tn, id);
	tailnet_stream_closed(w.tn, id);
	world_pass(&w, 9 * second);
	told("");			/* it came back in time: the grace begins anew */
	gone = w.wall + second;
	world_pass(&w, 2 * second);
	told(line(id, TAILNET_F_ONLINE | TAILNET_F_LAST_SEEN));
	assert_true(world_node(&w, id)->soft.last_seen >= gone);
	assert_false(world_node(&w, id)->live.online);
	/* One too many is no harm; nor is one of a node that is gone. */
	tailnet_stream_closed(w.tn, id);
	tailnet_stream_closed(w.tn, 4711);
	tailnet_stream_opened(w.tn, 4711);
	/* When it was seen last is written behind. */
	world_pass(&w, 6 * second);
	gone = world_node(&w, id)->soft.last_seen;
	world_reopen(&w);
	assert_int_equal(world_node(&w, id)->soft.last_seen, gone);
}

static void keys_expire_by_themselves(void **state)
{
	struct tailnet_register reg = world_reg(1, 11, "a");
	int64_t id = world_join(&w, 1, 11, "a", secret);
	struct tailnet_act act = { .verb = TAILNET_NODE_EXPIRY, .node = id };

	(void)state;
	str_cut(&w.told, 0);
	world_pass(&w, 3599 * second);
	told("");
	world_pass(&w, 2 * second);
	told(line(id, TAILNET_F_EXPIRED));
	world_register(&w, &reg, &r);
	assert_int_equal(r.as, TAILNET_KEY_EXPIRED);
	/* The operator takes it back, without a login. */
	assert_int_equal(world_do(&w, act, NULL), 0);
	told(line(id, TAILNET_F_EXPIRY | TAILNET_F_EXPIRED));
	world_register(&w, &reg, &r);
	assert_int_equal(r.as, TAILNET_REGISTERED);
	/* In the past is now. */
	act.time = 5;
	world_do(&w, act, NULL);
	assert_int_equal(world_node(&w, id)->expiry, w.wall);
	assert_true(world_node(&w, id)->live.expired);
	world_reopen(&w);
	assert_true(world_node(&w, id)->live.expired);
	/* The wall clock alone jumps: noticed within half a minute. */
	act.time = w.wall + 3600 * second;
	world_do(&w, act, NULL);
	str_cut(&w.told, 0);
	w.wall += 7200 * second;
	world_pass(&w, 31 * second);
	told(line(id, TAILNET_F_EXPIRED));
}

static void ephemeral_nodes_go_when_they_are_away(void **state)
{
	struct tailnet_register reg;
	char key[TAILNET_SECRET];
	int64_t id, idle;

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = user, .reusable = true, .ephemeral = true },
		  key);
	idle = world_join(&w, 2, 21, "b", key);	/* never polls */
	id = world_join(&w, 1, 11, "a", key);
	tailnet_stream_opened(w.tn, id);
	world_pass(&w, 1799 * second);
	world_node(&w, idle);
	str_cut(&w.told, 0);
	world_pass(&w, 2 * second);
	told("node 1 removed 0\n");
	world_pass(&w, 86400 * second);
	world_node(&w, id);		/* it is online */
	tailnet_stream_closed(w.tn, id);
	world_pass(&w, 1700 * second);
	tailnet_stream_opened(w.tn, id);
	world_pass(&w, 3600 * second);
	tailnet_stream_closed(w.tn, id);
	world_pass(&w, 1700 * second);
	world_reopen(&w);	/* nobody knows how long it was away: the whole time */
	world_pass(&w, 1700 * second);
	world_node(&w, id);
	world_pass(&w, 200 * second);
	assert_null(tailnet_node(w.tn, id));
	world_reopen(&w);
	assert_null(tailnet_node(w.tn, id));
	/* Logging out is enough; its address rests for 10 minutes only. */
	id = world_join(&w, 1, 12, "a", key);
	int last = world_node(&w, id)->v4.bytes[3];
	reg = world_reg(1, 12, "a");
	reg.has_expiry = true;
	world_register(&w, &reg, &r);
	assert_int_equal(r.as, TAILNET_LOGGED_OUT);
	assert_null(tailnet_node(w.tn, id));
	id = world_join(&w, 1, 12, "a", key);
	assert_int_not_equal(world_node(&w, id)->v4.bytes[3], last);
	world_pass(&w, 601 * second);
	id = world_join(&w, 2, 22, "b", key);
	assert_int_equal(world_node(&w, id)->v4.bytes[3], last);
}

/* The deletion is on its way to the disk when the node comes back: it is gone, and says so. */
static void coming_back_too_late_is_a_new_node(void **state)
{
	char key[TAILNET_SECRET];
	int64_t id;

	(void)state;
	world_key(&w, (struct tailnet_act){ .user = user, .reusable = true, .ephemeral = true },
		  key);
	id = world_join(&w, 1, 11, "a", key);
	world_pass(&w, 1800 * second - 1);
	w.mono += 300000;
	w.wall += 300000;
	w.wake_at = w.mono;
	world_loop(&w);			/* the writer has it, and is slow */
	assert_non_null(w.job);
	assert_non_null(tailnet_node(w.tn, id));
	struct tailnet_register reg = world_reg(1, 11, "a");
	reg.auth_key = key;
	world_start(&w, &reg, &r);
	world_turn(&w);
	assert_int_equal(r.as, TAILNET_REGISTERED);
	assert_int_not_equal(r.node, id);
}

static void soft_facts_are_written_behind(void **state)
{
	static const uint8_t disco[32] = { 9 };
	static const struct tailnet_endpoint endpoints[] = {
		{ { { 4, { 192, 0, 2, 1 } }, 41641 }, 2 },
	};
	struct tailnet_update update = {
		.disco_key = disco, .endpoints = endpoints, .n_endpoints = 1,
		.has_endpoints = true, .hostinfo = "{\"OS\":\"linux\"}", .hostname = "a",
		.home_derp = 900, .capver = 120,
	};
	int64_t id = world_join(&w, 1, 11, "a", secret);
	struct tailnet_stats before, after;

	(void)state;
	world_pass(&w, 10 * second);
	str_cut(&w.told, 0);
	tailnet_stats(w.tn, &before);
	assert_int_equal(tailnet_update(w.tn, id, &update, NULL, NULL), 0);
	told(line(id, TAILNET_F_DISCO_KEY | TAILNET_F_ENDPOINTS | TAILNET_F_HOSTINFO |
		      TAILNET_F_HOME_DERP | TAILNET_F_CAPVER));
	/* What is absent stays; what is the same is no news. */
	update = (struct tailnet_update){ .endpoints = endpoints, .n_endpoints = 1,
					  .has_endpoints = true };
	assert_int_equal(tailnet_update(w.tn, id, &update, NULL, NULL), 0);
	update = (struct tailnet_update){ .capver = 120 };
	assert_int_equal(tailnet_update(w.tn, id, &update, NULL, NULL), 0);
	told("");
	assert_int_equal(world_node(&w, id)->soft.disco_key[0], 9);
	assert_int_equal(world_node(&w, id)->soft.home_derp, 900);
	/* Many updates, one write. */
	for (uint32_t derp = 1; derp < 100; derp++) {
		update = (struct tailnet_update){ .home_derp = derp };
		tailnet_update(w.tn, id, &update, NULL, NULL);
		world_pass(&w, 10000);
	}
	world_pass(&w, 6 * second);
	tailnet_stats(w.tn, &after);
	assert_int_equal(after.commits, before.commits + 1);
	/* No endpoints, said so. */
	update = (struct tailnet_update){ .has_endpoints = true };
	tailnet_update(w.tn, id, &update, NULL, NULL);
	assert_null(world_node(&w, id)->soft.endpoints);
	world_pass(&w, 6 * second);
	world_reopen(&w);
	assert_int_equal(world_node(&w, id)->soft.home_derp, 99);
	assert_int_equal(world_node(&w, id)->soft.capver, 120);
	assert_string_equal(world_node(&w, id)->soft.hostinfo, "{\"OS\":\"linux\"}");
	assert_null(world_node(&w, id)->soft.endpoints);
	assert_int_equal(tailnet_update(w.tn, 4711, &update, NULL, NULL), -ENOENT);
}

static int64_t router(uint8_t m, const char *routes)
{
	struct tailnet_update update = { .hostinfo = "{}", .hostname = "r" };
	struct warren_prefix list[4];
	char one[64];
	int64_t id = world_join(&w, m, m, "r", secret);

	for (const char *at = routes; *at && update.n_routes < 4; ) {
		size_t len = strcspn(at, " ");

		snprintf(one, sizeof(one), "%.*s", (int)len, at);
		assert_int_equal(prefix_parse(one, &list[update.n_routes++]), 0);
		at += len + (at[len] == ' ');
	}
	update.routes = list;
	assert_int_equal(tailnet_update(w.tn, id, &update, NULL, NULL), 0);
	world_turn(&w);
	return id;
}

static void approve(int64_t id, const char *prefix)
{
	struct tailnet_act act = { .verb = TAILNET_NODE_ROUTES, .node = id };
	struct warren_prefix list;

	if (prefix) {
		assert_int_equal(prefix_parse(prefix, &list), 0);
		act.prefixes = &list;
		act.n_prefixes = 1;
	}
	assert_int_equal(world_do(&w, act, &r), 0);
}

static void away(int64_t id)
{
	tailnet_stream_closed(w.tn, id);
	world_pass(&w, 11 * second);
}

static void found(int64_t id, bool healthy)
{
	tailnet_set_health(w.tn, &(struct tailnet_health){ id, healthy }, 1);
}

/* The answers of these matter, by id; 0: there is no second one. */
static void contested(int64_t one, int64_t two)
{
	uint32_t n;
	int64_t *ids = tailnet_contested(w.tn, &n);

	assert_int_equal(n, two ? 2 : 1);
	assert_int_equal(ids[0], one);
	if (two)
		assert_int_equal(ids[1], two);
	free(ids);
}

/* Of two that are online, @a is primary; in the end @b is, and both are well. */
static void health_decides(int64_t a, int64_t b, const struct warren_prefix *net)
{
	contested(a, b);
	found(a, false);
	assert_int_equal(tailnet_primary(w.tn, net), b);
	found(a, true);
	assert_int_equal(tailnet_primary(w.tn, net), b);	/* back, but only as a candidate */
	tailnet_set_health(w.tn, (const struct tailnet_health[]){ { a, false }, { b, false } }, 2);
	assert_int_equal(tailnet_primary(w.tn, net), b);	/* nobody is better */
	found(a, true);
	assert_int_equal(tailnet_primary(w.tn, net), a);
	away(a);
	contested(b, 0);		/* alone, but it has not answered */
	assert_int_equal(tailnet_primary(w.tn, net), b);
	tailnet_stream_opened(w.tn, a);
	assert_int_equal(tailnet_primary(w.tn, net), a);
	contested(a, b);
	found(b, true);
	found(a, false);
	found(a, true);
	assert_int_equal(tailnet_primary(w.tn, net), b);
}

static void one_router_of_a_subnet_is_primary(void **state)
{
	struct warren_prefix net;
	int64_t a, b, c;

	(void)state;
	prefix_parse("10.1.0.0/16", &net);
	a = router(1, "10.1.0.0/16");
	b = router(2, "10.1.0.0/16 192.168.0.0/24");
	c = router(3, "10.1.0.0/16");
	tailnet_stream_opened(w.tn, b);
	assert_int_equal(tailnet_primary(w.tn, &net), 0);	/* nothing is approved */
	approve(a, "10.1.0.0/16");
	approve(b, "10.1.0.0/16");
	approve(c, "10.1.0.0/16");
	assert_int_equal(tailnet_primary(w.tn, &net), b);	/* the one that is online */
	assert_true(tailnet_prefixes_have(world_node(&w, b)->live.primary, &net));
	tailnet_stream_opened(w.tn, a);
	assert_int_equal(tailnet_primary(w.tn, &net), b);	/* it keeps the route */
	str_cut(&w.told, 0);
	away(b);
	assert_int_equal(tailnet_primary(w.tn, &net), a);
	assert_null(world_node(&w, b)->live.primary);
	assert_non_null(strstr(str_text(&w.told), line(a, TAILNET_F_PRIMARY)));
	tailnet_stream_opened(w.tn, b);
	assert_int_equal(tailnet_primary(w.tn, &net), a);
	/* Unhealthy, un-approved, expired, deleted: each hands it on. */
	health_decides(a, b, &net);
	approve(b, NULL);
	assert_int_equal(tailnet_primary(w.tn, &net), a);
	tailnet_stream_opened(w.tn, c);
	world_do(&w, (struct tailnet_act){ .verb = TAILNET_NODE_EXPIRY, .node = a, .time = 1 },
		 NULL);
	assert_int_equal(tailnet_primary(w.tn, &net), c);
	world_do(&w, (struct tailnet_act){ .verb = TAILNET_NODE_DELETE, .node = c }, NULL);
	assert_int_equal(tailnet_primary(w.tn, &net), 0);
	world_do(&w, (struct tailnet_act){ .verb = TAILNET_NODE_EXPIRY, .node = a }, NULL);
	assert_int_equal(tailnet_primary(w.tn, &net), a);
	/* All away; one returns and has it again. */
	away(a);
	assert_int_equal(tailnet_primary(w.tn, &net), 0);
	approve(b, "10.1.0.0/16");
	away(b);
	tailnet_stream_opened(w.tn, a);
	assert_int_equal(tailnet_primary(w.tn, &net), a);
	world_reopen(&w);
	assert_int_equal(tailnet_primary(w.tn, &net), 0);	/* nobody is online yet */
	tailnet_stream_opened(w.tn, b);
	assert_int_equal(tailnet_primary(w.tn, &net), b);
	/* A router that is not approved as a device serves nothing. */
	world_do(&w, (struct tailnet_act){ .verb = TAILNET_NODE_APPROVE, .node = b }, NULL);
	assert_int_equal(tailnet_primary(w.tn, &net), 0);
}

static void exit_nodes_have_no_primary(void **state)
{
	struct warren_prefix v4, v6;
	int64_t a = router(1, "0.0.0.0/0 ::/0");

	(void)state;
	prefix_parse("0.0.0.0/0", &v4);
	prefix_parse("::/0", &v6);
	tailnet_stream_opened(w.tn, a);
	approve(a, "0.0.0.0/0");	/* either is both */
	assert_true(tailnet_node_serves(world_node(&w, a), &v6));
	assert_int_equal(tailnet_primary(w.tn, &v4), 0);
	assert_null(world_node(&w, a)->live.primary);
}

static void the_policy_approves_routes_by_itself(void **state)
{
	struct warren_prefix net, other;
	int64_t a, b;

	(void)state;
	prefix_parse("10.1.0.0/16", &net);
	prefix_parse("10.2.0.0/16", &other);
	w.routes = "10.1.0.0/16";
	a = router(1, "10.1.0.0/16 10.2.0.0/16");
	assert_true(tailnet_node_serves(world_node(&w, a), &net));
	assert_false(tailnet_node_serves(world_node(&w, a), &other));
	/* A new policy: adds, and does not take away. */
	w.routes = "10.2.0.0/16";
	b = router(2, "10.1.0.0/16");
	tailnet_set_rules(w.tn, &w.rules);
	world_turn(&w);
	assert_true(tailnet_node_serves(world_node(&w, a), &net));
	assert_true(tailnet_node_serves(world_node(&w, a), &other));
	assert_false(tailnet_node_serves(world_node(&w, b), &net));
	world_reopen(&w);
	assert_true(tailnet_node_serves(world_node(&w, a), &other));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(offline_comes_after_a_grace),
		TEST(keys_expire_by_themselves),
		TEST(ephemeral_nodes_go_when_they_are_away),
		TEST(coming_back_too_late_is_a_new_node),
		TEST(soft_facts_are_written_behind),
		TEST(one_router_of_a_subnet_is_primary),
		TEST(exit_nodes_have_no_primary),
		TEST(the_policy_approves_routes_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
