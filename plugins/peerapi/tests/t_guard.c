/*
 * Ports as the stock client has them, what a connection speaks, which requests are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/util.h"

#include "../guard.h"

static struct warren_addr addr(const char *text)
{
	struct warren_addr out;

	assert_int_equal(addr_parse(text, &out), 0);
	return out;
}

static uint16_t port(const char *text, uint32_t attempt)
{
	struct warren_addr a = addr(text);

	return papi_port(&a, attempt);
}

/* Those of two nodes of the recorded network. */
static void ports_of_stock_nodes(void **state)
{
	(void)state;
	assert_int_equal(port("100.64.0.2", 0), 46590);
	assert_int_equal(port("100.64.0.3", 0), 34152);
	/* The last three bytes alone count, so one port serves both families as a rule. */
	assert_int_equal(port("fd7a:115c:a1e0::6640:2", 0), port("fd7a:115c:a1e0:1::40:2", 0));
	assert_int_equal(port("::40:2", 0), port("100.64.0.2", 0));
	assert_int_equal(port("100.64.0.2", 1), port("100.65.0.2", 0));
	assert_int_equal(port("100.255.0.2", 1), port("100.0.0.2", 0));
	for (uint32_t i = 0; i < PAPI_ATTEMPTS; i++)
		assert_true(port("100.101.102.103", i) >= 0x8000);
}

static uint32_t version(const char *text)
{
	return papi_version((const uint8_t *)text, strlen(text));
}

static void version_is_told_by_the_first_bytes(void **state)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

	(void)state;
	for (size_t n = 0; n < sizeof(preface) - 1; n++)
		assert_int_equal(papi_version((const uint8_t *)preface, n), 0);
	assert_int_equal(version(preface), WARREN_HTTP_2);
	assert_int_equal(version("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0"), WARREN_HTTP_2);
	assert_int_equal(version("G"), WARREN_HTTP_1);
	assert_int_equal(version("PUT /"), WARREN_HTTP_1);
	assert_int_equal(version("PRI * HTTP/1.1\r\n"), WARREN_HTTP_1);
}

static const struct warren_prefix self_addresses[] = {
	{ { 4, { 100, 64, 0, 1 } }, 32 },
	{ { 6, { 0xfd, 0x7a, [15] = 1 } }, 128 },
};
static const struct warren_prefix peer_addresses[] = { { { 4, { 100, 64, 0, 2 } }, 32 } };
static const struct warren_node self = {
	.id = 1, .addresses = self_addresses, .n_addresses = ARRAY_SIZE(self_addresses),
};
static const struct warren_node peer = {
	.id = 2, .addresses = peer_addresses, .n_addresses = 1,
	.masquerade_v4 = { 4, { 100, 99, 0, 1 } },
};
static const struct warren_addrport at = { { 4, { 100, 64, 0, 1 } }, 41000 };

static bool refused(const char *host, const char *name, const char *value)
{
	const struct warren_http_field field = { name, value };
	const struct warren_http_head head = {
		.size = sizeof(head), .method = "GET", .path = "/", .authority = host,
		.fields = &field, .n_fields = name ? 1 : 0,
	};

	return papi_refusal(&head, &self, &peer, &at) != NULL;
}

static void another_host_is_refused(void **state)
{
	(void)state;
	assert_false(refused("peer", NULL, NULL));
	assert_false(refused("100.64.0.1:41000", NULL, NULL));
	assert_false(refused("[fd7a::1]:41000", NULL, NULL));
	assert_false(refused("100.99.0.1:41000", NULL, NULL));	/* how that peer sees us */
	assert_true(refused("100.64.0.1:41001", NULL, NULL));
	assert_true(refused("100.64.0.1", NULL, NULL));
	assert_true(refused("100.64.0.2:41000", NULL, NULL));
	assert_true(refused("[fd7a::2]:41000", NULL, NULL));
	assert_true(refused("evil.example:41000", NULL, NULL));
	assert_true(refused("PEER", NULL, NULL));
	assert_true(refused("", NULL, NULL));
	assert_true(refused(NULL, NULL, NULL));
}

static void what_a_page_causes_is_refused(void **state)
{
	(void)state;
	assert_true(refused("peer", "origin", "https://evil.example"));
	assert_true(refused("peer", "origin", "null"));
	assert_true(refused("peer", "referer", "http://evil.example/"));
	assert_false(refused("peer", "user-agent", "Mozilla/5.0"));
}

static void paths_end_at_slashes(void **state)
{
	(void)state;
	assert_true(papi_below("/v0/put", "/v0/put"));
	assert_true(papi_below("/v0/put/a", "/v0/put"));
	assert_true(papi_below("/v0/put?x", "/v0/put"));
	assert_false(papi_below("/v0/putty", "/v0/put"));
	assert_false(papi_below("/v0/pu", "/v0/put"));
	assert_false(papi_below("/V0/put", "/v0/put"));
}

static void names_do_not_become_html(void **state)
{
	struct str out = STR_INIT;

	(void)state;
	str_add_html(&out, "<b onload='x'>&\"\xff\x01" "f\xc3\xbc\xe2\x82\xac");
	assert_string_equal(str_text(&out), "&#60;b onload=&#39;x&#39;&#62;&#38;&#34;"
			    "\xef\xbf\xbd\xef\xbf\xbd" "f\xc3\xbc\xe2\x82\xac");
	str_free(&out);
}

static void peers_are_found(void **state)
{
	static const struct warren_node other = { .id = 7 }, last = { .id = 9 };
	static const struct warren_node *const peers[] = { &peer, &other, &last };
	static const struct warren_netmap map = { .peers = peers, .n_peers = 3, .self = &self };
	const struct warren_addr two = addr("100.64.0.2"), one = addr("100.64.0.1");

	(void)state;
	assert_ptr_equal(warren_netmap_peer(&map, 2), &peer);
	assert_ptr_equal(warren_netmap_peer(&map, 7), &other);
	assert_ptr_equal(warren_netmap_peer(&map, 9), &last);
	assert_null(warren_netmap_peer(&map, 1));
	assert_null(warren_netmap_peer(&map, 8));
	assert_null(warren_netmap_peer(&map, 10));
	assert_null(warren_netmap_peer(NULL, 2));
	assert_ptr_equal(warren_netmap_owner(&map, &two), &peer);
	assert_null(warren_netmap_owner(&map, &one));	/* our own is no peer's */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_of_stock_nodes),
		cmocka_unit_test(version_is_told_by_the_first_bytes),
		cmocka_unit_test(another_host_is_refused),
		cmocka_unit_test(what_a_page_causes_is_refused),
		cmocka_unit_test(paths_end_at_slashes),
		cmocka_unit_test(names_do_not_become_html),
		cmocka_unit_test(peers_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
