/*
 * Whose way to the internet is used: by name, and the nearest.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/util.h"
#include <warren/service/exitnode.h>

#include "plugins/exitnode/exitnode.h"

enum { PEERS = 5 };

struct world {
	struct warren_netmap map;
	struct warren_node self, peers[PEERS];
	const struct warren_node *list[PEERS];
	struct warren_prefix own[PEERS + 1];
	struct warren_relay_region regions[3];
};

static const struct warren_cap suggested = { .name = "suggest-exit-node" };

/* Peers 1 to 4 are exits, in the regions fra, fra, tpe and none; this node's home is ams. */
static void make_world(struct world *w)
{
	static const char *const names[PEERS + 1] = {
		"me.tail.example.", "fra1.tail.example.", "FRA2.tail.example.",
		"tpe.tail.example.", "printer.tail.example.", "far.other.example.",
	};
	static const char *const ids[PEERS] = { "nA", "nB", "nC", "nD", "nE" };
	static const uint32_t homes[PEERS] = { 1, 1, 2, 1, 0 };

	memset(w, 0, sizeof(*w));
	for (int i = 0; i <= PEERS; i++) {
		struct warren_node *node = i == 0 ? &w->self : &w->peers[i - 1];

		w->own[i] = (struct warren_prefix){ { 4, { 100, 64, 0, (uint8_t)(i + 1) } }, 32 };
		node->id = i + 1;
		node->name = names[i];
		node->addresses = &w->own[i];
		node->n_addresses = 1;
		node->online = WARREN_TRI_YES;
		if (i == 0)
			continue;
		node->stable_id = ids[i - 1];
		node->home_region = homes[i - 1];
		node->exit_v4 = node->exit_v6 = i != 4;
		w->list[i - 1] = node;
	}
	w->regions[0] = (struct warren_relay_region){ .id = 1, .latitude_e4 = 501100,
						      .longitude_e4 = 86800 };
	w->regions[1] = (struct warren_relay_region){ .id = 2, .latitude_e4 = 250300,
						      .longitude_e4 = 1215600 };
	w->regions[2] = (struct warren_relay_region){ .id = 3, .latitude_e4 = 523700,
						      .longitude_e4 = 48900 };
	w->map.self = &w->self;
	w->map.peers = w->list;
	w->map.n_peers = PEERS;
	w->map.regions = w->regions;
	w->map.n_regions = 3;
}

static void expect(const struct world *w, const char *use, enum exitnode_found wanted, int64_t id)
{
	const struct exitnode_wish wish = { .use = use, .home = 3 };
	enum exitnode_found found;
	const struct warren_node *node = exitnode_find(&w->map, &wish, &found);

	assert_int_equal(found, wanted);
	assert_int_equal(node ? node->id : 0, id);
}

static void test_by_words(void **state)
{
	struct world w;

	(void)state;
	make_world(&w);
	expect(&w, "", EXITNODE_UNUSED, 0);
	expect(&w, "fra1", EXITNODE_USED, 2);
	expect(&w, "fra2", EXITNODE_USED, 3);
	expect(&w, "tpe.tail.example", EXITNODE_USED, 4);
	expect(&w, "TPE.tail.example.", EXITNODE_USED, 4);
	expect(&w, "tpe.tail", EXITNODE_UNKNOWN, 0);
	expect(&w, "nB", EXITNODE_USED, 3);
	expect(&w, "nb", EXITNODE_UNKNOWN, 0);
	expect(&w, "100.64.0.4", EXITNODE_USED, 4);
	expect(&w, "100.64.0.9", EXITNODE_UNKNOWN, 0);
	expect(&w, "100.64.0.1", EXITNODE_SELF, 0);
	expect(&w, "me", EXITNODE_SELF, 0);
	expect(&w, "printer", EXITNODE_NOT_OFFERED, 0);
	w.peers[0].online = WARREN_TRI_NO;
	expect(&w, "fra1", EXITNODE_OFFLINE, 2);
	w.peers[4].name = "tpe.other.example.";
	expect(&w, "tpe", EXITNODE_AMBIGUOUS, 0);
	expect(&w, "tpe.other.example", EXITNODE_USED, 6);
	w.map.self = NULL;
	expect(&w, "fra2", EXITNODE_NO_MAP, 0);
}

static void test_the_nearest(void **state)
{
	struct world w;
	struct exitnode_avoid avoid = { 0 };
	struct exitnode_wish wish = { .use = "auto", .home = 3, .avoid = &avoid, .now = 100 };

	(void)state;
	make_world(&w);
	expect(&w, "auto", EXITNODE_USED, 2);
	expect(&w, "auto:any", EXITNODE_USED, 2);
	wish.home = 2;
	assert_int_equal(exitnode_nearest(&w.map, &wish)->id, 4);
	/* Who is used stays, as long as he lives. */
	wish.before = 3;
	assert_int_equal(exitnode_nearest(&w.map, &wish)->id, 3);
	exitnode_avoid(&avoid, 3, 200);
	assert_int_equal(exitnode_nearest(&w.map, &wish)->id, 4);
	exitnode_avoid(&avoid, 4, 200);
	assert_int_equal(exitnode_nearest(&w.map, &wish)->id, 2);
	wish.now = 201;
	assert_int_equal(exitnode_nearest(&w.map, &wish)->id, 3);
	w.peers[1].online = WARREN_TRI_NO;
	w.peers[2].expired = true;
	assert_int_equal(exitnode_nearest(&w.map, &wish)->id, 2);
	w.peers[0].dormant = true;
	assert_int_equal(exitnode_nearest(&w.map, &wish)->id, 6);
	w.peers[4].exit_v4 = w.peers[4].exit_v6 = false;
	assert_null(exitnode_nearest(&w.map, &wish));
	expect(&w, "auto", EXITNODE_NOBODY, 0);
	/* Those that did not answer are better than none. */
	make_world(&w);
	wish.now = 100;
	wish.before = 0;
	for (int64_t id = 2; id <= 6; id++)
		exitnode_avoid(&avoid, id, 200);
	assert_int_equal(exitnode_nearest(&w.map, &wish)->id, 4);
	/* The provider suggests some: no others. */
	w.peers[4].caps = &suggested;
	w.peers[4].n_caps = 1;
	assert_int_equal(exitnode_nearest(&w.map, &wish)->id, 6);
}

static void test_avoids_the_latest(void **state)
{
	struct exitnode_avoid avoid = { 0 };

	(void)state;
	for (int64_t id = 1; id <= EXITNODE_AVOIDED + 1; id++)
		exitnode_avoid(&avoid, id, (uint64_t)(10 * id));
	for (size_t i = 0; i < EXITNODE_AVOIDED; i++)
		assert_int_not_equal(avoid.list[i].id, 1);
}

static void test_bypass(void **state)
{
	static const char *const wrong[] = {
		"", "x", "0.0.0.0/0", "::/0", "10.0.0.1/8", "interface:", "interface:a/b",
		"interface:0123456789abcdef", "uid:", "uid:x", "uid:9-7", "uid:-1",
		"uid:4294967295", "uid:1-2-3",
	};
	struct warren_router_bypass out;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(exitnode_bypass_parse(wrong[i], &out), -EINVAL);
	assert_int_equal(exitnode_bypass_parse("10.0.0.0/16", &out), 0);
	assert_int_equal(out.kind, WARREN_BYPASS_NETWORK);
	assert_int_equal(out.network.bits, 16);
	assert_int_equal(exitnode_bypass_parse("2001:db8::1", &out), 0);
	assert_int_equal(out.network.bits, 128);
	assert_int_equal(exitnode_bypass_parse("interface:wt0", &out), 0);
	assert_int_equal(out.kind, WARREN_BYPASS_INTERFACE);
	assert_string_equal(out.ifname, "wt0");
	assert_int_equal(exitnode_bypass_parse("uid:0", &out), 0);
	assert_int_equal(out.kind, WARREN_BYPASS_USERS);
	assert_int_equal(out.uid_last, 0);
	assert_int_equal(exitnode_bypass_parse("uid:1000-1999", &out), 0);
	assert_int_equal(out.uid_first, 1000);
	assert_int_equal(out.uid_last, 1999);
}

static void test_words(void **state)
{
	char why[WARREN_EXITNODE_TEXT];

	(void)state;
	exitnode_refusal(EXITNODE_NOT_OFFERED, "bravo", why, sizeof(why));
	assert_string_equal(why, "node \"bravo\" is not advertising an exit node");
	exitnode_refusal(EXITNODE_UNKNOWN, "nosuch", why, sizeof(why));
	assert_string_equal(why, "invalid value \"nosuch\" for --exit-node; must be IP or peer "
			    "hostname");
	exitnode_refusal(EXITNODE_OFFLINE, "x", why, sizeof(why));
	assert_string_equal(why, "");
	for (int i = EXITNODE_UNUSED; i <= EXITNODE_USED; i++)
		assert_non_null(exitnode_found_name((enum exitnode_found)i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_words),
		cmocka_unit_test(test_the_nearest),
		cmocka_unit_test(test_avoids_the_latest),
		cmocka_unit_test(test_bypass),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
