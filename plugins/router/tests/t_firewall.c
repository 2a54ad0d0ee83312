/*
 * The packet filter that is wanted, for maps of a server and of the operator's own files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "plugins/router/firewall.h"

static const struct router_fw_conf usual = {
	.mode = WARREN_NFT_AUTO, .snat = true, .n_open = 1, .open = { { 6, 443 } },
};

struct map {
	struct warren_netmap map;
	struct warren_node self;
	struct warren_prefix own[2], allowed[4], networks[2];
};

static struct warren_prefix prefix(const char *text)
{
	struct warren_prefix out;

	assert_int_equal(prefix_parse(text, &out), 0);
	return out;
}

static void make_map(struct map *m)
{
	static const char *const allowed[] = { "100.64.0.1", "fd7a:115c:a1e0::1", "10.99.0.0/24",
					       "2001:db8:7::/64" };

	memset(m, 0, sizeof(*m));
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		m->allowed[i] = prefix(allowed[i]);
	m->own[0] = m->allowed[0];
	m->own[1] = m->allowed[1];
	m->networks[0] = prefix("100.64.0.0/10");
	m->networks[1] = prefix("fd7a:115c:a1e0::/48");
	m->self.addresses = m->own;
	m->self.n_addresses = 2;
	m->self.allowed_ips = m->allowed;
	m->self.n_allowed_ips = 4;
	m->map.self = &m->self;
	m->map.networks = m->networks;
	m->map.n_networks = 2;
}

/* One letter per kind, and what is special to it. */
static const char *spell(const struct router_fw *fw, struct str *out)
{
	char text[PREFIX_TEXT];

	str_cut(out, 0);
	for (size_t i = 0; i < fw->n; i++) {
		const struct warren_priv_nft *item = &fw->items[i];

		str_add(out, i ? " " : "");
		switch (item->kind) {
		case WARREN_NFT_TABLE:
			str_addf(out, "T%u:%u:%s", item->mode, item->flags, item->ifname);
			break;
		case WARREN_NFT_OPEN:
			str_addf(out, "O%u:%u/%u", item->index, item->protocol, item->port);
			break;
		default:
			str_addf(out, "%c%s", item->kind == WARREN_NFT_SELF ? 'S' :
				 item->kind == WARREN_NFT_POOL ? 'P' :
				 item->kind == WARREN_NFT_MAPPED ? 'M' : 'B',
				 prefix_format(&item->prefix, text));
			if (item->kind == WARREN_NFT_MAPPED)
				str_addf(out, "=%s", prefix_format(&item->local, text));
			break;
		}
	}
	return str_text(out);
}

static void expect(const struct map *m, const struct router_fw_conf *conf,
		   const struct warren_prefix *offers, uint32_t n, const char *wanted)
{
	AUTO(str_free) struct str text = STR_INIT;
	struct router_fw fw;

	assert_int_equal(router_fw_want(&m->map, conf, false, offers, n, "warren0", &fw), 0);
	assert_string_equal(spell(&fw, &text), wanted);
	router_fw_free(&fw);
}

static void test_what_the_server_approved(void **state)
{
	struct map m;

	(void)state;
	make_map(&m);
	expect(&m, &usual, NULL, 0, "T3:1:warren0 S100.64.0.1/32 Sfd7a:115c:a1e0::1/128 "
	       "P100.64.0.0/10 Pfd7a:115c:a1e0::/48 B10.99.0.0/24 B2001:db8:7::/64 O0:6/443");
	m.self.exit_v4 = true;
	m.self.n_allowed_ips = 2;
	expect(&m, &usual, NULL, 0, "T3:5:warren0 S100.64.0.1/32 Sfd7a:115c:a1e0::1/128 "
	       "P100.64.0.0/10 Pfd7a:115c:a1e0::/48 O0:6/443");
}

static void test_what_needs_no_approval(void **state)
{
	struct warren_prefix offers[] = { prefix("10.99.0.0/24"), prefix("192.0.2.0/24"),
					  prefix("::/0") };
	struct router_fw_conf conf = { .mode = WARREN_NFT_OWN_TABLE, .stateful = true };
	struct map m;

	(void)state;
	make_map(&m);
	m.map.n_networks = 0;
	expect(&m, &conf, offers, 3, "T1:10:warren0 S100.64.0.1/32 Sfd7a:115c:a1e0::1/128 "
	       "B10.99.0.0/24 B2001:db8:7::/64 B192.0.2.0/24");
}

static void test_nothing_is_wanted(void **state)
{
	struct router_fw_conf conf = { .mode = WARREN_NFT_OFF };
	struct map m;

	(void)state;
	make_map(&m);
	expect(&m, &conf, NULL, 0, "");
	m.map.self = NULL;
	expect(&m, &usual, NULL, 0, "");
}

static void test_forwards(void **state)
{
	struct router_fw fw;
	struct map m;

	(void)state;
	make_map(&m);
	m.self.n_allowed_ips = 3;	/* IPv4 alone */
	m.self.exit_v6 = true;
	assert_int_equal(router_fw_want(&m.map, &usual, false, NULL, 0, "warren0", &fw), 0);
	assert_true(router_fw_forwards(&fw, 4));
	assert_false(router_fw_exit(&fw, 4));
	assert_true(router_fw_forwards(&fw, 6));
	assert_true(router_fw_exit(&fw, 6));
	router_fw_free(&fw);
	m.self.exit_v6 = false;
	m.self.n_allowed_ips = 2;	/* its own addresses */
	assert_int_equal(router_fw_want(&m.map, &usual, false, NULL, 0, "warren0", &fw), 0);
	assert_false(router_fw_forwards(&fw, 4));
	assert_false(router_fw_forwards(&fw, 6));
	router_fw_free(&fw);
}

/* What is approved is led to under its other addresses; what is not, is not. */
static void test_networks_with_other_addresses(void **state)
{
	struct router_fw_conf conf = usual;
	struct map m;

	(void)state;
	make_map(&m);
	m.map.n_networks = 0;
	m.self.n_addresses = 0;
	m.allowed[0] = prefix("10.11.0.0/24");
	m.allowed[1] = m.allowed[0];
	m.self.n_allowed_ips = 3;
	conf.n_open = 0;
	conf.n_mapped = 2;
	conf.mapped[0] = (struct router_mapped){ prefix("10.12.0.0/24"), prefix("192.168.2.0/24") };
	conf.mapped[1] = (struct router_mapped){ prefix("10.11.0.0/24"), prefix("192.168.1.0/24") };
	expect(&m, &conf, NULL, 0, "T3:1:warren0 B10.11.0.0/24 M10.11.0.0/24=192.168.1.0/24 "
	       "B10.99.0.0/24");
}

/* Who came in elsewhere is answered there, from the first moment on. */
static void test_leads_before_there_is_a_network(void **state)
{
	struct router_fw fw;
	struct map m;

	(void)state;
	assert_int_equal(router_fw_want(NULL, &usual, false, NULL, 0, "warren0", &fw), 0);
	assert_int_equal(fw.n, 0);
	assert_int_equal(router_fw_want(NULL, &usual, true, NULL, 0, "warren0", &fw), 0);
	assert_int_equal(fw.n, 1);
	assert_true(fw.items[0].flags & WARREN_NFT_ANSWER);
	assert_false(router_fw_forwards(&fw, 4));
	router_fw_free(&fw);
	make_map(&m);
	assert_int_equal(router_fw_want(&m.map, &usual, true, NULL, 0, "warren0", &fw), 0);
	assert_true(fw.n > 1 && fw.items[0].flags & WARREN_NFT_ANSWER);
	router_fw_free(&fw);
}

static void test_too_many(void **state)
{
	struct warren_prefix *offers = calloc(WARREN_NFT_ITEMS, sizeof(*offers));
	struct router_fw fw;
	struct map m;

	(void)state;
	make_map(&m);
	for (uint32_t i = 0; i < WARREN_NFT_ITEMS; i++)
		offers[i] = (struct warren_prefix){
			{ 4, { 10, (uint8_t)(i >> 8), (uint8_t)i } }, 24 };
	assert_int_equal(router_fw_want(&m.map, &usual, false, offers, WARREN_NFT_ITEMS, "warren0",
					&fw),
			 -E2BIG);
	router_fw_free(&fw);
	free(offers);
}

static void test_ports(void **state)
{
	uint8_t protocol;
	uint16_t port;

	(void)state;
	assert_int_equal(router_fw_port("udp/3478", &protocol, &port), 0);
	assert_int_equal(protocol, 17);
	assert_int_equal(port, 3478);
	assert_int_equal(router_fw_port("tcp/1", &protocol, &port), 0);
	assert_int_equal(protocol, 6);
	assert_int_not_equal(router_fw_port("3478", &protocol, &port), 0);
	assert_int_not_equal(router_fw_port("tcp/0", &protocol, &port), 0);
	assert_int_not_equal(router_fw_port("tcp/443 ", &protocol, &port), 0);
	assert_int_not_equal(router_fw_port("sctp/7", &protocol, &port), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_server_approved),
		cmocka_unit_test(test_what_needs_no_approval),
		cmocka_unit_test(test_nothing_is_wanted),
		cmocka_unit_test(test_forwards),
		cmocka_unit_test(test_networks_with_other_addresses),
		cmocka_unit_test(test_leads_before_there_is_a_network),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
