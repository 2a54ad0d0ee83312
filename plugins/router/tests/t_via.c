/*
 * 4via6: there and back, and what is none.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/util.h"

#include "plugins/router/via.h"

static struct warren_prefix prefix(const char *text)
{
	struct warren_prefix out;

	assert_int_equal(prefix_parse(text, &out), 0);
	return out;
}

/* As the stock client prints them. */
static void leads_there_and_back(void **state)
{
	static const struct { uint32_t site; const char *v4, *route; } known[] = {
		{ 7, "10.1.1.0/24", "fd7a:115c:a1e0:b1a:0:7:a01:100/120" },
		{ 7, "10.1.1.16/32", "fd7a:115c:a1e0:b1a:0:7:a01:110/128" },
		{ 0xffff, "0.0.0.0/0", "fd7a:115c:a1e0:b1a:0:ffff::/96" },
		{ 0, "192.168.1.0/24", "fd7a:115c:a1e0:b1a::c0a8:100/120" },
	};
	AUTO(err_free) struct warren_err err = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		struct warren_prefix v4 = prefix(known[i].v4), back;
		struct warren_prefix route = router_via_map(known[i].site, &v4);
		struct warren_prefix wanted = prefix(known[i].route);
		char text[PREFIX_TEXT];
		uint32_t site;

		assert_true(prefix_equal(&route, &wanted));
		assert_string_equal(prefix_format(&route, text), known[i].route);
		assert_true(router_via_is(&route));
		assert_int_equal(router_via_unmap(&route, &site, &back, &err), 0);
		assert_int_equal(site, known[i].site);
		assert_true(prefix_equal(&back, &v4));
	}
}

static void knows_what_is_none(void **state)
{
	static const struct { const char *text, *why; bool is; } none[] = {
		{ "10.1.1.0/24", "with one argument, expect an IPv6 CIDR", false },
		{ "fd7a:115c:a1e0:b1b::/96", "not a via route", false },
		{ "fd7a:115c:a1e0:b1a::/64", "short length, want /96 or more", true },
		{ "fd7a:115c:a1e0:b1a:0:7::/95", "short length, want /96 or more", true },
		{ "fd7a:115c:a1e0::/48", "not a via route", false },
		{ "::/0", "not a via route", false },
	};
	uint32_t site;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		AUTO(err_free) struct warren_err err = ERR_INIT;
		struct warren_prefix route = prefix(none[i].text), v4;

		assert_int_equal(router_via_is(&route), none[i].is);
		assert_int_equal(router_via_unmap(&route, &site, &v4, &err), -EINVAL);
		assert_string_equal(err_first(&err), none[i].why);
	}
}

static void reads_sites(void **state)
{
	static const char *const bad[] = { "", "-1", "+1", " 7", "7 ", "0x", "08", "seven",
					   "4294967296", "99999999999999999999999", "65536" };
	AUTO(err_free) struct warren_err err = ERR_INIT;
	uint32_t site;

	(void)state;
	assert_int_equal(router_via_site("7", &site, &err), 0);
	assert_int_equal(site, 7);
	assert_int_equal(router_via_site("0xffff", &site, &err), 0);
	assert_int_equal(site, 65535);
	assert_int_equal(router_via_site("010", &site, &err), 0);
	assert_int_equal(site, 8);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(router_via_site(bad[i], &site, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leads_there_and_back),
		cmocka_unit_test(knows_what_is_none),
		cmocka_unit_test(reads_sites),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
