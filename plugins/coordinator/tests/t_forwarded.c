/*
 * X-Forwarded-For: believed from proxies that the operator trusts, and from nobody else.
 */
#include "clients.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../store/store.h"
#include "base/addr.h"
#include "base/util.h"

static void comes_from(const char *peer, const char *first, const char *second,
		       const char *wanted)
{
	static struct coord_proxies proxies = { .n = 3 };
	const struct warren_http_field fields[] = {
		{ "host", "hq.example.com" }, { "x-forwarded-for", first ? first : "" },
		{ "x-forwarded-proto", "https" }, { "x-forwarded-for", second ? second : "" },
	};
	const struct warren_http_head head = {
		.size = sizeof(head), .fields = fields,
		.n_fields = second ? 4 : first ? 2 : 1,
	};
	struct warren_addr addr;
	char text[ADDR_TEXT];

	prefix_parse("127.0.0.0/8", &proxies.at[0]);
	prefix_parse("10.0.0.0/24", &proxies.at[1]);
	prefix_parse("2001:db8:1::/48", &proxies.at[2]);
	assert_int_equal(addr_parse(peer, &addr), 0);
	addr = coord_forwarded(&proxies, &addr, &head);
	assert_string_equal(addr_format(&addr, text), wanted);
}

static void chains(void **state)
{
	(void)state;
	comes_from("127.0.0.1", NULL, NULL, "127.0.0.1");
	comes_from("127.0.0.1", "203.0.113.9", NULL, "203.0.113.9");
	comes_from("127.0.0.1", " 203.0.113.9\t", NULL, "203.0.113.9");
	comes_from("2001:db8:1::5", "2001:db8:2::9", NULL, "2001:db8:2::9");
	comes_from("127.0.0.1", "[2001:db8:2::9]", NULL, "2001:db8:2::9");
	comes_from("127.0.0.1", "::ffff:203.0.113.9", NULL, "203.0.113.9");
	/* Who is not trusted may say what he likes. */
	comes_from("203.0.113.7", "198.51.100.1", NULL, "203.0.113.7");
	/* Only what stands behind the client's own invention counts. */
	comes_from("127.0.0.1", "198.51.100.1, 203.0.113.9", NULL, "203.0.113.9");
	comes_from("127.0.0.1", "198.51.100.1, 203.0.113.9, 10.0.0.7", NULL, "203.0.113.9");
	comes_from("127.0.0.1", "198.51.100.1, 203.0.113.9, 10.0.1.7", NULL, "10.0.1.7");
	/* Several fields are one list. */
	comes_from("127.0.0.1", "198.51.100.1", "203.0.113.9", "203.0.113.9");
	comes_from("127.0.0.1", "203.0.113.9", "10.0.0.7", "203.0.113.9");
	comes_from("127.0.0.1", "203.0.113.9,10.0.0.8", "10.0.0.7", "203.0.113.9");
	/* All of them are proxies: the first is where it came from. */
	comes_from("127.0.0.1", "10.0.0.7", NULL, "10.0.0.7");
}

static void what_is_no_address(void **state)
{
	static const char *const bad[] = {
		"", ",", "unknown", "203.0.113.9:1234", "203.0.113.9,", "203.0.113.256", "[::1",
		"[]", "203.0.113.9 198.51.100.1", "fe80::1%eth0",
		"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		comes_from("127.0.0.1", bad[i], NULL, "127.0.0.1");
	comes_from("127.0.0.1", "198.51.100.1, hidden, 10.0.0.7", NULL, "10.0.0.7");
}

static void long_chains_end(void **state)
{
	AUTO(str_free) struct str list = STR_INIT;

	(void)state;
	str_add(&list, "203.0.113.9");
	for (int i = 0; i < 100; i++)
		str_addf(&list, ",10.0.0.%d", 100 - i);
	comes_from("127.0.0.1", str_text(&list), NULL, "10.0.0.16");
}

/* ---- over loopback ---- */

static int row(const struct store_audit *audit, void *arg)
{
	str_addf(arg, "%s: %s;", audit->action, audit->origin);
	return 0;
}

static void origin_is(const char *wanted)
{
	AUTO(str_free) struct str rows = STR_INIT;
	char why[STORE_WHY];

	assert_int_equal(store_audit_read(tailnet_store(coord.tailnet), 0, 1, row, &rows, why), 0);
	assert_string_equal(str_text(&rows), wanted);
}

static void joins(const char *forwarded)
{
	struct client c;

	clients_forwarded = forwarded;
	join_as(&c, "laptop");
	clients_forwarded = NULL;
	client_end(&c);
}

static void the_log_has_the_address(void **state)
{
	int64_t user = act((struct tailnet_act){ .verb = TAILNET_USER_CREATE, .text = "alice" });

	(void)state;
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .user = user, .reusable = true });
	joins(NULL);
	origin_is("node.register: register from 127.0.0.1;");
	joins("203.0.113.9");		/* nobody is trusted: off */
	origin_is("node.register: register from 127.0.0.1;");
	coord.proxies.n = 1;
	prefix_parse("127.0.0.1/32", &coord.proxies.at[0]);
	joins("198.51.100.1, 203.0.113.9");
	origin_is("node.register: register from 203.0.113.9;");
	coord.proxies.n = 0;
}

static void who_waits_for_a_login_comes_from_there(void **state)
{
	const struct tailnet_pending *p;
	struct client c;
	uint32_t pos = 0;
	char text[ADDR_TEXT];

	(void)state;
	coord.proxies.n = 1;
	prefix_parse("127.0.0.1/32", &coord.proxies.at[0]);
	clients_forwarded = "203.0.113.9";
	connect_client(&c);
	clients_forwarded = NULL;
	coord.proxies.n = 0;
	json_decref(do_register(&c, "phone", NULL, ""));
	p = tailnet_pending_next(coord.tailnet, &pos);
	assert_non_null(p);
	assert_string_equal(addr_format(&p->from, text), "203.0.113.9");
	client_end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains),
		cmocka_unit_test(what_is_no_address),
		cmocka_unit_test(long_chains_end),
		ON_LOOP(the_log_has_the_address),
		ON_LOOP(who_waits_for_a_login_comes_from_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
