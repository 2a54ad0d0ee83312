/*
 * The relay client's pure parts: ways of the map, what proves a node, and the queue.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <warren/derp.h>

#include "../queue.h"
#include "../ways.h"
#include "base/err.h"
#include "base/util.h"

#define V4 { .family = 4, .bytes = { 192, 0, 2, 1 } }
#define V6 { .family = 6, .bytes = { 0x20, 0x01, 0x0d, 0xb8 } }

static void ways_of_a_map(void **state)
{
	const struct warren_relay_node nodes[] = {
		{ .name = "stun", .host_name = "s.example", .stun_only = true },
		{ .name = "both", .host_name = "b.example", .ipv4 = V4, .ipv6 = V6 },
		{ .name = "four", .host_name = "f.example", .ipv4 = V4, .no_ipv6 = true },
		{ .name = "six", .host_name = "x.example", .ipv6 = V6 },
		{ .name = "name", .host_name = "n.example" },
		{ .name = "none", .host_name = "o.example", .no_ipv4 = true, .no_ipv6 = true },
		{ .name = "only6", .host_name = "y.example", .no_ipv4 = true },
	};
	static const struct {
		uint32_t index, n_addrs, flags;
	} expected[] = {
		{ 1, 2, 0 }, { 2, 1, 0 }, { 3, 1, 0 },
		{ 3, 0, WARREN_DIAL_NO_IPV6 },	/* the family without a literal, by name */
		{ 4, 0, 0 }, { 6, 0, WARREN_DIAL_NO_IPV4 },
	};
	struct warren_relay_region region = { .id = 1, .nodes = nodes,
					      .n_nodes = ARRAY_SIZE(nodes) };
	struct warren_relay_node many[40];
	struct derp_way ways[DERP_WAYS];

	(void)state;
	assert_int_equal(derp_ways(&region, ways), ARRAY_SIZE(expected));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		assert_int_equal(ways[i].index, expected[i].index);
		assert_int_equal(ways[i].n_addrs, expected[i].n_addrs);
		if (ways[i].n_addrs == 0)
			assert_int_equal(ways[i].dial_flags, expected[i].flags);
	}
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = nodes[4];
	region.nodes = many;
	region.n_nodes = ARRAY_SIZE(many);
	assert_int_equal(derp_ways(&region, ways), DERP_WAYS);
}

#define PIN "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void what_proves_a_node(void **state)
{
	struct warren_relay_node node = { .name = "a", .host_name = "a.example" };
	struct warren_tls_client tls;
	struct warren_err err = ERR_INIT;
	uint8_t pin[32];

	(void)state;
	assert_int_equal(derp_way_tls(&node, &tls, pin, NULL), 0);
	assert_string_equal(tls.server_name, "a.example");
	assert_string_equal(tls.alpn[0], "http/1.1");
	assert_true(!tls.flags && !tls.pin_sha256 && !tls.verify_name);
	node.cert_name = "b.example";
	assert_int_equal(derp_way_tls(&node, &tls, pin, NULL), 0);
	assert_string_equal(tls.server_name, "a.example");
	assert_string_equal(tls.verify_name, "b.example");
	node.cert_name = "sha256-raw:" PIN;
	node.insecure_for_tests = true;		/* a pin is the stricter one */
	assert_int_equal(derp_way_tls(&node, &tls, pin, NULL), 0);
	assert_ptr_equal(tls.pin_sha256, pin);
	assert_int_equal(pin[1], 0x11);
	assert_int_equal(tls.flags, 0);
	node.cert_name = NULL;
	assert_int_equal(derp_way_tls(&node, &tls, pin, NULL), 0);
	assert_int_equal(tls.flags, WARREN_TLS_INSECURE);
	node.cert_name = "sha256-raw:0011";
	assert_int_equal(derp_way_tls(&node, &tls, pin, &err), -EINVAL);
	assert_string_equal(err_first(&err), "the CertName of relay a is no SHA-256: correct the "
			    "relay map");
	err_free(&err);
}

static void regions_that_differ(void **state)
{
	const struct warren_relay_node node = { .name = "a", .host_name = "a.example",
						.ipv4 = V4, .derp_port = 443 };
	struct warren_relay_node other[2] = { node, node };
	struct warren_relay_region a = { .id = 1, .nodes = &node, .n_nodes = 1 }, b = a;

	(void)state;
	b.nodes = other;
	b.code = "new";			/* what it is called does not matter */
	other[0].stun_port = 99;
	other[0].can_port80 = true;
	assert_true(derp_region_same(&a, &b));
	b.n_nodes = 2;
	assert_false(derp_region_same(&a, &b));
	b.n_nodes = 1;
	other[0].derp_port = 444;
	assert_false(derp_region_same(&a, &b));
	other[0] = node;
	other[0].cert_name = "b.example";
	assert_false(derp_region_same(&a, &b));
	other[0] = node;
	other[0].no_ipv6 = true;
	assert_false(derp_region_same(&a, &b));
}

static struct warren_derp_frame packet(uint8_t *byte)
{
	static const uint8_t key[32];

	return (struct warren_derp_frame){ .type = WARREN_DERP_SEND_PACKET, .key = key,
					   .data = byte, .len = 1 };
}

static void a_queue_drops_the_oldest(void **state)
{
	struct derp_queue q;
	struct warren_derp_frame frame;
	struct derp_packet *got;
	uint8_t byte;

	(void)state;
	assert_int_equal(derp_queue_init(&q, 32), 0);
	assert_null(derp_queue_take(&q));
	for (byte = 0; byte < 40; byte++) {
		frame = packet(&byte);
		assert_int_equal(derp_queue_put(&q, &frame, true, byte), byte >= 32);
	}
	frame = packet(&byte);
	assert_int_equal(derp_queue_put(&q, &frame, false, 40), -ENOBUFS);
	frame.key = NULL;
	assert_int_equal(derp_queue_put(&q, &frame, true, 40), -EMSGSIZE);
	for (byte = 8; byte < 40; byte++) {
		assert_int_equal(derp_queue_first(&q)->queued, byte);
		got = derp_queue_take(&q);
		assert_int_equal(got->len, 5 + 32 + 1);
		assert_int_equal(got->frame[37], byte);
		free(got);
	}
	assert_null(derp_queue_first(&q));
	frame = packet(&byte);
	assert_int_equal(derp_queue_put(&q, &frame, false, 1), 0);
	assert_int_equal(derp_queue_clear(&q), 1);
	derp_queue_fini(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ways_of_a_map),
		cmocka_unit_test(what_proves_a_node),
		cmocka_unit_test(regions_that_differ),
		cmocka_unit_test(a_queue_drops_the_oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
