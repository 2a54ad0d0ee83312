/*
 * What clients are told of DNS: records of a file, what one node's resolver is told of it, and that
 * nothing is told twice.
 */
#include "clients.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

#include "../server/dns.h"

static int records(const char *text)
{
	struct warren_err err = ERR_INIT;
	int result = coord_dns_records(coord.dns, text, strlen(text), &err);

	assert_true(result >= 0 || err_first(&err)[0]);
	err_free(&err);
	return result;
}

static void records_of_a_file(void **state)
{
	static const char two[] =
		"[{\"name\": \"a.example.com\", \"type\": \"A\", \"value\": \"100.64.0.9\"},"
		"{\"name\": \"b.example.com\", \"value\": \"fd7a::9\"}]";
	struct client a, b;
	json_t *o, *list;

	(void)state;
	two_kinds_of_nodes(&a, &b);
	stream(&a, true);
	o = map_with(&a, "DNSConfig");
	assert_null(json_object_get(o, "ExtraRecords"));
	assert_int_equal(records(two), 1);
	coord_tell_everybody(&coord);
	list = json_object_get(map_with(&a, "DNSConfig"), "ExtraRecords");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "Type")),
			    "AAAA");
	assert_int_equal(records(two), 0);	/* the same once more */
	assert_int_equal(records("{}"), -EINVAL);
	assert_int_equal(records("[{\"name\": \"a..b\", \"value\": \"10.0.0.1\"}]"), -EINVAL);
	assert_int_equal(records("[{\"name\": \"a.b\", \"value\": \"ten\"}]"), -EINVAL);
	assert_int_equal(records("[{\"name\": \"a.b\", \"type\": \"TXT\", \"value\": \"x\"}]"),
			 -EINVAL);
	assert_int_equal(records("[{\"name\": \"a.b\", \"type\": \"AAAA\", "
				 "\"value\": \"10.0.0.1\"}]"), -EINVAL);
	assert_int_equal(records(two), 0);	/* those that were refused have changed nothing */
	assert_int_equal(records("[]"), 1);
	client_end(&a);
	client_end(&b);
}

static void expect(const char *resolvers, const char *caps, const char *wanted)
{
	struct coord_dns *dns = coord_dns_new(NULL, "tail.example.com");
	struct tailnet_node node = { .hostname = "Joe's box", .soft.hostinfo = "{\"OS\":\"linux\"}",
				     .v4 = { .family = 4, .bytes = { 100, 64, 0, 1 } } };
	json_t *list = json_loads(resolvers, 0, NULL), *attrs = json_loads(caps, 0, NULL), *o;
	struct str out = STR_INIT;

	coord_dns_resolvers(dns, list);
	coord_dns_add(dns, &node, attrs, &out);
	o = json_loads(str_text(&out), 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(
			    o, "Resolvers"), 0), "Addr")), wanted);
	json_decref(o);
	json_decref(list);
	json_decref(attrs);
	str_free(&out);
	coord_dns_free(dns);
}

static void a_resolver_that_learns_who_asks(void **state)
{
	(void)state;
	expect("[{\"Addr\": \"9.9.9.9\"}]", "{\"nextdns:abc\": null}", "9.9.9.9");
	expect("[{\"Addr\": \"https://dns.nextdns.io/x\"}]", "{}",
	       "https://dns.nextdns.io/x?device_ip=100.64.0.1&device_model=linux"
	       "&device_name=Joe%27s%20box");
	expect("[{\"Addr\": \"https://dns.nextdns.io/x\"}]",
	       "{\"nextdns:abc\": null, \"nextdns:no-device-info\": null}",
	       "https://dns.nextdns.io/abc");
	expect("[{\"Addr\": \"https://dns.nextdns.io/x\"}]",
	       "{\"nextdns:a/../b\": null, \"nextdns:no-device-info\": null}",
	       "https://dns.nextdns.io/x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(records_of_a_file),
		cmocka_unit_test(a_resolver_that_learns_who_asks),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
