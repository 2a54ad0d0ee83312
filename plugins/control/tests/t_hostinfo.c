/*
 * What this node says of itself: facts of the host, options, facets of other plugins, endpoints.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "../hostinfo.h"

static void test_os_release(void **state)
{
	struct ctl_host host = { .distro = "" };

	(void)state;
	ctl_host_os_release(&host, "# comment\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"
			    "VERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n"
			    "XID=other\nID_LIKE=nothing");
	assert_string_equal(host.distro, "debian");
	assert_string_equal(host.distro_version, "12");
	assert_string_equal(host.distro_code_name, "bookworm");
	ctl_host_os_release(&host, "ID='a\\'b'\nVERSION_ID=\"");
	assert_string_equal(host.distro, "a'b");
	assert_string_equal(host.distro_version, "\"");
}

static const char *text_at(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	assert_non_null(text);
	return text;
}

static void test_hostinfo(void **state)
{
	static const struct ctl_facets none;
	const struct ctl_host host = { .machine = "x86_64", .distro = "debian" };
	const struct warren_prefix routes[] = {
		{ { 4, { 10, 33 } }, 16 }, { { 4, { 0 } }, 0 }, { { 6, { 0 } }, 0 },
	};
	const char *const tags[] = { "tag:gw" };
	struct ctl_self self = {
		.host = &host, .facets = &none, .version = "0.1", .log_id = "ab", .hostname = "gw",
		.routes = routes, .n_routes = 3, .tags = tags, .n_tags = 1, .shields_up = true,
	};
	struct str text = STR_INIT;
	json_t *o;

	(void)state;
	assert_true(ctl_hostinfo(&self, &text));
	o = json_loads(str_text(&text), JSON_REJECT_DUPLICATES, NULL);
	assert_string_equal(text_at(o, "Hostname"), "gw");
	assert_string_equal(text_at(o, "BackendLogID"), "ab");
	assert_string_equal(text_at(o, "OS"), "linux");
	assert_string_equal(text_at(o, "IPNVersion"), "0.1");
	assert_true(json_is_true(json_object_get(o, "ShieldsUp")));
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "RequestTags"), 0)),
			    "tag:gw");
	assert_int_equal(json_array_size(json_object_get(o, "RoutableIPs")), 3);
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "RoutableIPs"), 2)),
			    "::/0");
	assert_null(json_object_get(o, "Services"));
	assert_null(json_object_get(o, "OSVersion"));
	json_decref(o);

	/* Equal descriptions are equal texts: only changes are sent. */
	{
		struct str again = STR_INIT;

		assert_true(ctl_hostinfo(&self, &again));
		assert_string_equal(str_text(&text), str_text(&again));
		str_free(&again);
	}
	str_free(&text);
}

/* Loopback, link-local and our own tunnel are of no use to a peer. */
static void test_endpoints(void **state)
{
	static const struct ctl_facets none;
	const uint16_t port[2] = { 41641, 0 }, no_port[2] = { 0, 0 };
	struct str text = STR_INIT;

	(void)state;
	ctl_endpoints(&none, NULL, port, &text);
	assert_null(strstr(str_text(&text), "127.0.0.1"));
	assert_null(strstr(str_text(&text), "169.254."));
	if (text.len > 0) {
		assert_non_null(strstr(str_text(&text), ":41641\""));
		assert_non_null(strstr(str_text(&text), "\"EndpointTypes\":[1"));
	}
	str_cut(&text, 0);
	ctl_endpoints(&none, NULL, no_port, &text);
	assert_int_equal(text.len, 0);
	str_free(&text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_os_release),
		cmocka_unit_test(test_hostinfo),
		cmocka_unit_test(test_endpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
