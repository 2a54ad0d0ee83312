/*
 * What of a server's dial plan is taken over, in which order, and that it outlives a restart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"

#include "../plan.h"

static struct ctl_dial_candidate to(const char *ip, const char *ace, uint64_t delay, int priority)
{
	struct ctl_dial_candidate c = { .ace_host = ace, .delay = delay, .priority = priority };

	if (ip)
		assert_int_equal(addr_parse(ip, &c.ip), 0);
	return c;
}

static void what_makes_sense(void **state)
{
	static const char *const bad[] = {
		"0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255", "::",
		"::1", "fe80::1", "ff02::1",
	};
	static const char *const bad_names[] = { "a..b", "192.0.2.1", "a/b", ".", "a b" };
	struct ctl_dial_candidate c;
	struct ctl_plan plan;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		c = to(bad[i], "", 0, 0);
		assert_int_equal(ctl_plan_set(&plan, "control.example.com", &c, 1), 1);
		assert_int_equal(plan.n, 0);
	}
	for (size_t i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++) {
		c = to(NULL, bad_names[i], 0, 0);
		assert_int_equal(ctl_plan_set(&plan, "control.example.com", &c, 1), 1);
	}
	c = to(NULL, "", 0, 0);
	assert_int_equal(ctl_plan_set(&plan, "control.example.com", &c, 1), 1);
	c = to("192.0.2.1", "", UINT64_C(55000000), 0);	/* later than all may take */
	assert_int_equal(ctl_plan_set(&plan, "control.example.com", &c, 1), 1);
	c = to("127.0.0.1", "", 0, 0);
	assert_int_equal(ctl_plan_set(&plan, "localhost", &c, 1), 0);
	assert_int_equal(plan.ways[0].timeout, 5000000);
	assert_int_equal(ctl_plan_time(&plan), 5000000);
}

static void the_order(void **state)
{
	struct ctl_dial_candidate c[CTL_PLAN_MAX + 3];
	struct ctl_plan plan;

	(void)state;
	c[0] = to("192.0.2.1", "", 2000000, 0);
	c[1] = to("192.0.2.2", "", 0, 1);
	c[2] = to("192.0.2.3", "", 0, 5);
	c[3] = to(NULL, "ace.example.com", 0, 5);
	assert_int_equal(ctl_plan_set(&plan, "control.example.com", c, 4), 0);
	assert_int_equal(plan.ways[0].ip.bytes[3], 3);
	assert_string_equal(plan.ways[1].ace, "ace.example.com");
	assert_int_equal(plan.ways[2].ip.bytes[3], 2);
	assert_int_equal(plan.ways[3].ip.bytes[3], 1);
	assert_int_equal(ctl_plan_time(&plan), 7000000);
	for (int i = 0; i < CTL_PLAN_MAX + 3; i++)
		c[i] = to("192.0.2.1", "", (uint64_t)(CTL_PLAN_MAX + 3 - i) * 1000, 0);
	assert_int_equal(ctl_plan_set(&plan, "control.example.com", c, CTL_PLAN_MAX + 3), 3);
	assert_int_equal(plan.ways[0].delay, 1000);
}

static void kept(void **state)
{
	struct ctl_dial_candidate c[] = { to("192.0.2.1", "", 2000000, 7),
					  to("2001:db8::1", "ace.example.com", 0, -1) };
	struct ctl_plan plan, again;
	json_t *o;

	(void)state;
	assert_int_equal(ctl_plan_set(&plan, "control.example.com", c, 2), 0);
	o = ctl_plan_json(&plan);
	assert_non_null(o);
	assert_true(ctl_plan_load(&again, "control.example.com", o));
	assert_true(ctl_plan_equal(&plan, &again));
	again.ways[0].priority++;
	assert_false(ctl_plan_equal(&plan, &again));
	json_decref(o);
	o = json_pack("{s:s}", "Candidates", "x");
	assert_false(ctl_plan_load(&again, "control.example.com", o));
	assert_int_equal(again.n, 0);
	json_decref(o);
	/* What would not be taken of a server is not taken of a file. */
	o = json_pack("{s:[{s:s}]}", "Candidates", "IP", "127.0.0.1");
	assert_true(ctl_plan_load(&again, "control.example.com", o));
	assert_int_equal(again.n, 0);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_makes_sense),
		cmocka_unit_test(the_order),
		cmocka_unit_test(kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
