/*
 * Which probes are sent, what answers tell, and where home is: path-protocols.md 5.2, 5.4, 5.7.
 * And the endpoints of 3.1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../endpoints.h"
#include "../report.h"
#include "base/addr.h"

#define MSEC UINT64_C(1000)
#define SECOND (1000 * MSEC)
enum { REGIONS = 6 };

static const struct warren_relay_node two_nodes[] = {
	{ .name = "a", .host_name = "a.example" }, { .name = "b", .host_name = "b.example" },
};
static struct warren_relay_region regions[REGIONS];
static struct warren_netmap map;
static struct paths_probe plan[PATHS_PROBES];
static struct paths_reports history;
static const bool both[2] = { true, true }, four[2] = { true, false };

static int set_up(void **state)
{
	(void)state;
	memset(&history, 0, sizeof(history));
	for (uint32_t i = 0; i < REGIONS; i++)
		regions[i] = (struct warren_relay_region){ .id = i + 1, .code = "x",
							   .score_e3 = 1000, .nodes = two_nodes,
							   .n_nodes = 2 };
	map = (struct warren_netmap){ .regions = regions, .n_regions = REGIONS };
	return 0;
}

static struct warren_addrport at(const char *text)
{
	struct warren_addrport ap;

	assert_int_equal(addrport_parse(text, &ap), 0);
	return ap;
}

/* Latencies of regions 1, 2, ... in ms; 0: no answer. */
static struct paths_report report(uint64_t when, uint32_t n, const uint64_t *msec)
{
	struct paths_report r = { .at = when };
	struct warren_addrport seen = at("192.0.2.1:41641");

	for (uint32_t i = 0; i < n; i++)
		if (msec[i])
			paths_report_answer(&r, i + 1, 0, msec[i] * MSEC, &seen);
	return r;
}
#define REPORT(when, ...) \
	report((when), sizeof((uint64_t[]){ __VA_ARGS__ }) / 8, (uint64_t[]){ __VA_ARGS__ })

static uint32_t planned(uint32_t n, uint32_t region, int six)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += plan[i].region == region && plan[i].six == six;
	return count;
}

/*
 * ---- Plan ----
 */

static void test_full_plan(void **state)
{
	uint32_t n;

	(void)state;
	regions[1].no_measure_no_home = true;
	regions[2].n_nodes = 0;
	n = paths_plan(&map, NULL, 0, both, plan);
	assert_int_equal(n, 4 * 2 * 3);
	assert_int_equal(planned(n, 0, 0), 3);
	assert_int_equal(planned(n, 0, 1), 3);
	assert_int_equal(planned(n, 1, 0), 0);
	assert_int_equal(plan[0].node, 0);
	assert_int_equal(plan[1].node, 1);
	assert_int_equal(plan[1].delay, 100 * MSEC);
	n = paths_plan(&map, NULL, 0, four, plan);
	assert_int_equal(n, 4 * 3);
}

static void test_stun_is_off(void **state)
{
	static const struct warren_relay_node nodes[] = {
		{ .name = "a", .stun_port = -1 }, { .name = "b", .no_ipv6 = true },
	};
	uint32_t n;

	(void)state;
	regions[0].nodes = nodes;
	map.n_regions = 1;
	n = paths_plan(&map, NULL, 0, both, plan);
	assert_int_equal(n, 1);			/* the second try, of the second node */
	assert_int_equal(plan[0].node, 1);
	assert_int_equal(plan[0].six, 0);
}

static void test_next_plan(void **state)
{
	struct paths_report last = REPORT(SECOND, 50, 10, 40, 30, 20, 60);
	uint32_t n;

	(void)state;
	n = paths_plan(&map, &last, 6, four, plan);
	assert_int_equal(planned(n, 1, 0), 2);	/* the fastest two */
	assert_int_equal(planned(n, 4, 0), 2);
	assert_int_equal(planned(n, 3, 0), 1);	/* the third */
	assert_int_equal(planned(n, 5, 0), 4);	/* home, however far */
	assert_int_equal(planned(n, 0, 0), 0);
	assert_int_equal(planned(n, 2, 0), 0);
	for (uint32_t i = 0; i < n; i++) {
		if (plan[i].region == 5 && plan[i].node == 0 && plan[i].delay)
			assert_int_equal(plan[i].delay, 2 * 72 * MSEC + 100 * MSEC);
		if (plan[i].region == 1 && plan[i].delay)
			assert_int_equal(plan[i].delay, 12 * MSEC);
	}
	/* No IPv6 last time: one try for the fastest, none for the third. */
	n = paths_plan(&map, &last, 2, both, plan);
	assert_int_equal(planned(n, 1, 1), 1);
	assert_int_equal(planned(n, 4, 1), 1);
	assert_int_equal(planned(n, 3, 1), 0);
	regions[4].avoid = true;
	n = paths_plan(&map, &last, 2, four, plan);
	assert_int_equal(planned(n, 4, 0), 0);
	n = paths_plan(&map, &last, 5, four, plan);
	assert_int_equal(planned(n, 4, 0), 4);
}

static void test_useless_probes(void **state)
{
	struct paths_probe probe = { .region = 0, .six = 0 }, six = { .region = 0, .six = 1 };
	struct paths_report r = { .at = 1 };
	struct warren_addrport seen = at("192.0.2.1:1"), seen6 = at("[2001:db8::1]:1");

	(void)state;
	assert_true(paths_probe_helps(&r, &map, &probe));
	paths_report_answer(&r, 2, 0, MSEC, &seen);
	assert_true(paths_probe_helps(&r, &map, &probe));	/* no latency of region 1 yet */
	paths_report_answer(&r, 1, 0, MSEC, &seen);
	assert_false(paths_probe_helps(&r, &map, &probe));
	assert_true(paths_probe_helps(&r, &map, &six));		/* no IPv6 answer at all */
	paths_report_answer(&r, 2, 1, MSEC, &seen6);
	assert_false(paths_probe_helps(&r, &map, &six));
}

/* One region with two servers: the second one is asked whether it sees another port. */
static void test_another_server_of_the_region(void **state)
{
	struct paths_probe probes[] = {
		{ .region = 0, .node = 0, .done = true, .sent = true },
		{ .region = 0, .node = 1, .delay = 100 * MSEC },
		{ .region = 0, .node = 0, .delay = 200 * MSEC },
		{ .region = 0, .node = 1, .six = 1 },
	};
	struct warren_addrport one = at("192.0.2.1:1"), two = at("192.0.2.1:2");
	struct paths_report r = { .at = 1 };

	(void)state;
	assert_false(paths_mapping_is_due(&r, probes, 4));	/* that is not what is missing */
	paths_report_answer(&r, 1, 0, MSEC, &one);
	assert_true(paths_probe_helps(&r, &map, &probes[1]));
	assert_false(paths_probe_helps(&r, &map, &probes[2]));
	assert_true(paths_probes_over(&r, &map, probes, 3));
	assert_true(paths_mapping_is_due(&r, probes, 3));
	probes[1].done = true;		/* it has no address: nobody was asked */
	assert_false(paths_mapping_is_due(&r, probes, 3));
	probes[1].sent = true;
	assert_true(paths_mapping_is_due(&r, probes, 3));
	paths_report_answer(&r, 1, 0, MSEC, &two);
	assert_int_equal(r.mapping_varies, WARREN_TRI_YES);
	assert_false(paths_mapping_is_due(&r, probes, 3));
	assert_false(paths_probe_helps(&r, &map, &probes[1]));
}

static void test_run_is_over(void **state)
{
	struct paths_probe probes[] = {
		{ .region = 0, .six = 0, .done = true, .sent = true },
		{ .region = 0, .six = 0, .delay = 100 * MSEC },
		{ .region = 0, .six = 1 },
	};
	struct paths_report r = { .at = 1 };
	struct warren_addrport seen = at("192.0.2.1:1");

	(void)state;
	assert_true(paths_probes_over(&r, &map, probes, 0));
	assert_false(paths_probes_over(&r, &map, probes, 1));	/* it may be answered yet */
	paths_report_answer(&r, 1, 0, MSEC, &seen);
	assert_true(paths_probes_over(&r, &map, probes, 2));	/* the other try is needless */
	assert_false(paths_probes_over(&r, &map, probes, 3));
	/* This host has no IPv6: nobody answers what could not be sent. */
	probes[2].done = true;
	assert_true(paths_probes_over(&r, &map, probes, 3));
}

/*
 * ---- Answers ----
 */

static void test_answers(void **state)
{
	struct warren_addrport one = at("192.0.2.1:1"), two = at("192.0.2.1:2");
	struct paths_report r = { .at = 1 };

	(void)state;
	paths_report_answer(&r, 1, 0, 20 * MSEC, &one);
	assert_int_equal(r.mapping_varies, WARREN_TRI_UNKNOWN);
	paths_report_answer(&r, 2, 0, 10 * MSEC, &one);
	assert_int_equal(r.mapping_varies, WARREN_TRI_NO);
	paths_report_answer(&r, 2, 0, 30 * MSEC, &two);
	assert_int_equal(r.mapping_varies, WARREN_TRI_YES);
	paths_report_answer(&r, 3, 0, 30 * MSEC, &one);
	assert_int_equal(r.mapping_varies, WARREN_TRI_YES);
	assert_true(r.udp);
	assert_true(addrport_equal(&r.global[0], &one));	/* the first */
	assert_int_equal(paths_report_region(&r, 2)->latency[0], 10 * MSEC);
	assert_int_equal(r.n_seen[0], 2);
	assert_int_equal(r.seen[0][0].count, 3);
	one = at("[2001:db8::1]:1");
	two = at("[2001:db8::2]:1");
	paths_report_answer(&r, 1, 1, 5 * MSEC, &one);
	paths_report_answer(&r, 1, 1, 5 * MSEC, &two);
	assert_true(addrport_equal(&r.global[1], &two));	/* the last */
	assert_int_equal(paths_region_latency(paths_report_region(&r, 1)), 5 * MSEC);
}

/*
 * ---- Home ----
 */

static uint32_t prefer(struct paths_report r, uint32_t before, bool heard)
{
	uint32_t home = paths_prefer(&history, &r, &map, before, heard, true);

	paths_reports_add(&history, &r);
	return home;
}

static void test_home(void **state)
{
	(void)state;
	assert_int_equal(prefer(REPORT(1 * SECOND, 30, 20, 40), 0, false), 2);
	/* Less than 10 ms better, or by less than a third: not worth moving. */
	assert_int_equal(prefer(REPORT(2 * SECOND, 11, 20, 40), 2, false), 2);
	memset(&history, 0, sizeof(history));
	assert_int_equal(prefer(REPORT(3 * SECOND, 70, 100, 0), 2, false), 2);
	assert_int_equal(prefer(REPORT(4 * SECOND, 60, 100, 0), 2, false), 1);
}

static void test_home_remembers(void **state)
{
	(void)state;
	prefer(REPORT(1 * SECOND, 10, 100), 0, false);
	/* One bad moment of region 1 does not count while its best is remembered. */
	assert_int_equal(prefer(REPORT(20 * SECOND, 90, 50), 1, false), 1);
	assert_int_equal(prefer(REPORT(400 * SECOND, 90, 50), 1, false), 2);
}

static void test_home_without_answers(void **state)
{
	(void)state;
	assert_int_equal(prefer(REPORT(1 * SECOND, 0, 0), 0, false), 0);
	assert_int_equal(prefer(REPORT(2 * SECOND, 0, 0), 2, false), 2);
	/* It does not answer, but packets come from it; then they do not either. */
	assert_int_equal(prefer(REPORT(3 * SECOND, 10, 0), 2, true), 2);
	assert_int_equal(prefer(REPORT(4 * SECOND, 10, 0), 2, false), 1);
	/* The map does not know it any more. */
	assert_int_equal(prefer(REPORT(5 * SECOND, 0, 0), 77, true), 0);
}

/* Without the server peers would not hear of a move. */
static void test_home_that_nobody_would_be_told(void **state)
{
	struct paths_report r = REPORT(1 * SECOND, 10, 0, 40);

	(void)state;
	assert_int_equal(paths_prefer(&history, &r, &map, 2, false, false), 2);
	assert_int_equal(paths_prefer(&history, &r, &map, 2, false, true), 1);
	assert_int_equal(paths_prefer(&history, &r, &map, 0, false, false), 1);	/* the first */
	assert_int_equal(paths_prefer(&history, &r, &map, 77, false, false), 1);
}

/* Without UDP: relays were asked over HTTPS. */
static void test_home_by_https(void **state)
{
	static const struct warren_relay_node stun_only = { .name = "s", .stun_only = true };
	struct paths_report r = { .at = SECOND };

	(void)state;
	paths_report_reached(&r, 2, 0, 80 * MSEC);
	paths_report_reached(&r, 3, 1, 30 * MSEC);
	assert_false(r.udp);
	assert_true(r.reached[0] && r.reached[1] && !r.can_send[0]);
	assert_int_equal(r.global[0].addr.family, 0);
	assert_int_equal(paths_prefer(&history, &r, &map, 0, false, true), 3);
	assert_true(paths_fallback_helps(&regions[0]));
	regions[0].avoid = true;
	assert_false(paths_fallback_helps(&regions[0]));
	regions[1].no_measure_no_home = true;
	assert_false(paths_fallback_helps(&regions[1]));
	regions[2].nodes = &stun_only;
	regions[2].n_nodes = 1;
	assert_false(paths_fallback_helps(&regions[2]));
}

static void test_home_scores(void **state)
{
	(void)state;
	regions[0].score_e3 = 3000;
	assert_int_equal(prefer(REPORT(1 * SECOND, 20, 50), 0, false), 2);
	regions[1].no_measure_no_home = true;
	regions[2].avoid = true;
	assert_int_equal(prefer(REPORT(2 * SECOND, 20, 5, 5), 0, false), 1);
}

static void test_history_is_bounded(void **state)
{
	(void)state;
	for (uint64_t i = 1; i < 100; i++)
		prefer(REPORT(i * SECOND, 10), 1, false);
	assert_int_equal(history.n, PATHS_REPORTS);
	assert_int_equal(history.list[PATHS_REPORTS - 1].at, 99 * SECOND);
	prefer(REPORT(1000 * SECOND, 10), 1, false);
	assert_int_equal(history.n, 1);
}

/*
 * ---- Endpoints ----
 */

static void test_address_use(void **state)
{
	static const struct {
		const char *text;
		enum paths_use use;
		bool ping;
	} rows[] = {
		{ "10.0.0.1:1", PATHS_USE, true },
		{ "192.0.2.1:1", PATHS_USE, true },
		{ "100.64.0.1:1", PATHS_NO_USE, false },
		{ "100.127.255.255:1", PATHS_NO_USE, false },
		{ "100.128.0.1:1", PATHS_USE, true },
		{ "127.0.0.1:1", PATHS_FALLBACK, false },
		{ "127.3.3.40:1", PATHS_FALLBACK, false },
		{ "169.254.1.1:1", PATHS_FALLBACK, true },
		{ "0.0.0.0:1", PATHS_NO_USE, false },
		{ "224.0.0.1:1", PATHS_NO_USE, false },
		{ "255.255.255.255:1", PATHS_NO_USE, false },
		{ "[2001:db8::1]:1", PATHS_USE, true },
		{ "[fd00::1]:1", PATHS_FALLBACK, true },
		{ "[fd7a:115c:a1e0::1]:1", PATHS_NO_USE, false },
		{ "[fe80::1]:1", PATHS_NO_USE, false },
		{ "[ff02::1]:1", PATHS_NO_USE, false },
		{ "[::1]:1", PATHS_FALLBACK, false },
		{ "[::]:1", PATHS_NO_USE, false },
	};
	struct warren_addrport ap;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ap = at(rows[i].text);
		if (paths_address_use(&ap.addr) != rows[i].use ||
		    paths_may_ping(&ap, false) != rows[i].ping)
			fail_msg("%s", rows[i].text);
	}
	ap = at("127.0.0.1:1");
	assert_true(paths_may_ping(&ap, true));
	ap.port = 0;
	assert_false(paths_may_ping(&ap, true));
	assert_false(paths_interface_is_used("zt0"));
	assert_false(paths_interface_is_used("wt0"));
	assert_true(paths_interface_is_used("wt1"));
}

static void test_tracking(void **state)
{
	struct paths_endpoints tracked = { .n = 0 };
	char text[ADDRPORT_TEXT];
	struct warren_addrport ap = at("198.51.100.1:5");

	(void)state;
	paths_track(&tracked, 1, &ap, PATHS_STUN);
	for (int i = 1; i <= 10; i++) {
		snprintf(text, sizeof(text), "192.0.2.1:%d", i);
		ap = at(text);
		paths_track(&tracked, (uint64_t)i, &ap, PATHS_STUN);
	}
	/* Six of one address, the latest; others are not pushed out by them. */
	assert_int_equal(tracked.n, 1 + PATHS_TRACKED_PER_ADDR);
	assert_int_equal(tracked.list[1].address.port, 5);
	ap = at("192.0.2.1:5");
	paths_track(&tracked, 2 * PATHS_TRACK, &ap, PATHS_STUN);
	paths_track_expire(&tracked, 2 * PATHS_TRACK);
	assert_int_equal(tracked.n, 1);
	assert_int_equal(tracked.list[0].address.port, 5);
}

static void test_endpoint_lists(void **state)
{
	struct paths_endpoints list = { .n = 0 }, other;
	struct warren_addrport ap = at("192.0.2.1:5");

	(void)state;
	paths_endpoints_add(&list, &ap, PATHS_STUN);
	paths_endpoints_add(&list, &ap, PATHS_LOCAL);	/* the first type counts */
	assert_int_equal(list.n, 1);
	assert_int_equal(list.list[0].type, PATHS_STUN);
	other = list;
	assert_true(paths_endpoints_equal(&list, &other));
	other.list[0].type = PATHS_LOCAL;
	assert_false(paths_endpoints_equal(&list, &other));
	ap.port = 0;
	paths_endpoints_add(&list, &ap, PATHS_LOCAL);
	assert_int_equal(list.n, 1);
}

/* A host whose only address a STUN server has seen as well has no other one for that. */
static void test_interfaces_are_known_already(void **state)
{
	struct paths_endpoints list = { .n = 0 }, again;
	uint16_t port[2] = { 41641, 41641 };

	(void)state;
	paths_endpoints_local(&list, NULL, port);
	again = list;
	paths_endpoints_local(&again, NULL, port);
	assert_true(paths_endpoints_equal(&list, &again));
}

#define TEST(name) cmocka_unit_test_setup(test_##name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(full_plan), TEST(stun_is_off), TEST(next_plan), TEST(useless_probes),
		TEST(run_is_over), TEST(another_server_of_the_region),
		TEST(interfaces_are_known_already),
		TEST(answers), TEST(home), TEST(home_remembers), TEST(home_without_answers),
		TEST(home_scores), TEST(home_by_https), TEST(home_that_nobody_would_be_told),
		TEST(history_is_bounded),
		TEST(address_use), TEST(tracking), TEST(endpoint_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
