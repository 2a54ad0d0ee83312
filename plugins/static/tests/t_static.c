/*
 * The static network map: wrong sections and their sentences, records and who is who between two
 * configurations, change lists, and the size that the product promises.
 *
 * Sections are real YAML through the core's own parser and the plugin's own tables.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/base64.h"
#include "base/str.h"
#include "engine/conf.h"
#include "plugins/static/static.h"

extern const struct warren_plugin warren_plugin_entry;

static const uint8_t own_key[32] = { 200, 1 };

#define KEY_A "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY_B "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY_C "AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY_OWN "yAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define HEAD "static:\n  addresses: [10.90.0.1/24, \"fd90::1/64\"]\n"

/* The "file" of a secret in these tests is a slash and its content. */
static int secret_load(const struct wcore_secret_ask *ask, void *arg)
{
	int fd = memfd_create("secret", MFD_CLOEXEC);

	(void)arg;
	assert_true(fd >= 0);
	assert_int_equal(ask->value[0], '/');
	assert_int_equal(write(fd, ask->value + 1, strlen(ask->value + 1)), strlen(ask->value + 1));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

struct loaded {
	struct wcore_config *config;
	const struct warren_conf *section;	/* NULL: errors */
	struct warren_err err;
};

static struct loaded load(const char *yaml)
{
	const struct warren_plugin *plugin = &warren_plugin_entry;
	const struct wcore_conf_schema schema = {
		.name = plugin->name, .brief = plugin->brief, .options = plugin->options,
		.check = plugin->check,
	};
	struct wcore_conf_source source = {
		.name = "warren.yaml", .bytes = yaml, .len = strlen(yaml), .fd = -1,
	};
	struct loaded out = { .err = ERR_INIT };

	out.config = wcore_config_parse(&source, 1, &out.err);
	if (out.config && wcore_config_bind(out.config, &schema, 1, 0, secret_load, NULL,
					    &out.err) == 0)
		out.section = wcore_config_section(out.config, "static");
	return out;
}

static void unload(struct loaded *loaded)
{
	wcore_config_unref(loaded->config);
	err_free(&loaded->err);
}

/* The set that @yaml makes after @before; the configuration is gone when it returns. */
static struct static_set *set_of(const char *yaml, const struct static_set *before)
{
	struct loaded loaded = load(yaml);
	struct static_plan *plan;
	struct static_set *set;

	if (!loaded.section)
		fail_msg("%s", err_first(&loaded.err));
	plan = static_plan_new(loaded.section, own_key, &loaded.err);
	if (!plan)
		fail_msg("%s", err_first(&loaded.err));
	set = static_set_new(plan, own_key, before);
	assert_non_null(set);
	static_plan_free(plan);
	unload(&loaded);
	return set;
}

static struct static_peer *peer_at(const struct static_set *set, uint32_t i)
{
	assert_true(i < set->n_peers);
	return set->peers[i];
}

static void assert_prefix(const struct warren_prefix *prefix, const char *want)
{
	char text[PREFIX_TEXT];

	assert_string_equal(prefix_format(prefix, text), want);
}

/*
 * ---- Mistakes ----
 */

static const struct {
	const char *yaml, *place, *words;
} mistakes[] = {
	{ "static: {addresses: []}\n", "warren.yaml:1:", "at least one address" },
	{ "static: {peers: {}}\n", "warren.yaml:1:", "addresses" },
	{ "static: {addresses: [10.90.0.1/24, 10.90.0.1]}\n", "warren.yaml:1:36:",
	  "10.90.0.1 stands here twice (warren.yaml:1:22)" },
	{ HEAD "  peers:\n    a: {public-key: nonsense}\n", "warren.yaml:4:21:",
	  "\"nonsense\" is no public key" },
	{ HEAD "  peers:\n    a: {public-key: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}\n",
	  "warren.yaml:4:21:", "all zero" },
	{ HEAD "  peers:\n    a: {allowed-ips: 10.0.0.0/8}\n", "warren.yaml:4:", "public-key" },
	{ HEAD "  peers:\n    a: {public-key: " KEY_A "}\n    b: {public-key: " KEY_A "}\n",
	  "warren.yaml:5:21:", "peer \"a\" has this key already (warren.yaml:4:21)" },
	{ HEAD "  peers:\n    a: {public-key: " KEY_A ", allowed-ips: [10.1.0.0/16]}\n"
	  "    b: {public-key: " KEY_B ", allowed-ips: [10.2.0.0/16, 10.1.0.0/16]}\n",
	  "warren.yaml:5:", "10.1.0.0/16 belongs to peer \"a\" already (warren.yaml:4:" },
	{ HEAD "  peers:\n    a: {public-key: " KEY_A ", allowed-ips: [10.1.0.0/16, "
	  "10.1.0.0/16]}\n",
	  "warren.yaml:4:", "10.1.0.0/16 stands here twice" },
	{ HEAD "  peers:\n    a: {public-key: " KEY_A ", allowed-ips: 10.90.0.1}\n",
	  "warren.yaml:4:", "10.90.0.1/32 is an address of this node itself (warren.yaml:2:15)" },
	{ HEAD "  peers:\n    a: {public-key: " KEY_A ", endpoint: \"gw.example.com\"}\n",
	  "warren.yaml:4:", "is no endpoint: expected HOST:PORT" },
	{ HEAD "  peers:\n    a: {public-key: " KEY_A ", endpoint: \"gw.example.com:0\"}\n",
	  "warren.yaml:4:", "is no endpoint" },
	{ HEAD "  peers:\n    a: {public-key: " KEY_A ", endpoint: \"10.0.0.256:41641\"}\n",
	  "warren.yaml:4:", "is no endpoint" },
	{ HEAD "  peers:\n    a: {public-key: " KEY_A ", endpoint: \"2001:db8::1:41641\"}\n",
	  "warren.yaml:4:", "is no endpoint" },
	{ HEAD "  peers:\n    a: {public-key: " KEY_A ", endpoint: \"bad_-.example:41641\"}\n",
	  "warren.yaml:4:", "is no endpoint" },
	{ HEAD "  peers:\n    a: {public-key: " KEY_A ", keepalive: 2500ms}\n",
	  "warren.yaml:4:", "whole seconds" },
	{ HEAD "  peers:\n    a: {public-key: " KEY_A ", psk: {file: /short}}\n",
	  "warren.yaml:4:", "no pre-shared key" },
	{ HEAD "  peers:\n    self: {public-key: " KEY_A "}\n", "warren.yaml:4:",
	  "cannot be called \"self\"" },
	{ HEAD "  peers:\n    10.0.0.1: {public-key: " KEY_A "}\n", "warren.yaml:4:",
	  "cannot be called \"10.0.0.1\"" },
	{ HEAD "  peers:\n    \"a b\": {public-key: " KEY_A "}\n", "warren.yaml:4:",
	  "cannot be called \"a b\"" },
	{ HEAD "  accept: [{from: nobody}]\n", "warren.yaml:3:19:", "\"nobody\" is neither" },
	{ HEAD "  accept: [{from: self}]\n", "warren.yaml:3:19:", "\"self\" is neither" },
	{ HEAD "  accept: [{from: 10.0.0.1/8}]\n", "warren.yaml:3:19:", "bits set after" },
	{ HEAD "  accept: [{to: self}]\n", "warren.yaml:3:", "from" },
	{ HEAD "  accept: [{from: []}]\n", "warren.yaml:3:", "an empty list matches nothing" },
	{ HEAD "  accept: [{from: \"*\", ports: []}]\n", "warren.yaml:3:",
	  "an empty list matches nothing" },
	{ HEAD "  accept: [{from: \"*\", ports: [http]}]\n", "warren.yaml:3:",
	  "\"http\" is no port" },
	{ HEAD "  accept: [{from: \"*\", ports: [tcp/0]}]\n", "warren.yaml:3:", "is no port" },
	{ HEAD "  accept: [{from: \"*\", ports: [90-80]}]\n", "warren.yaml:3:", "is no port" },
	{ HEAD "  accept: [{from: \"*\", ports: [\"65536\"]}]\n", "warren.yaml:3:", "is no port" },
	{ HEAD "  accept: [{from: \"*\", ports: [proto/255]}]\n", "warren.yaml:3:", "is no port" },
};

static void tells_mistakes_with_their_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		struct loaded loaded = load(mistakes[i].yaml);
		const char *text = err_first(&loaded.err);

		if (loaded.section)
			fail_msg("accepted: %s", mistakes[i].yaml);
		if (!str_starts(text, mistakes[i].place) || !strstr(text, mistakes[i].words))
			fail_msg("%s\nwanted \"%s\" and \"%s\", got: %s", mistakes[i].yaml,
				 mistakes[i].place, mistakes[i].words, text);
		unload(&loaded);
	}
}

static void refuses_our_own_key_as_a_peer(void **state)
{
	struct loaded loaded = load(HEAD "  peers:\n    me: {public-key: " KEY_OWN "}\n");

	(void)state;
	assert_non_null(loaded.section);
	assert_null(static_plan_new(loaded.section, own_key, &loaded.err));
	assert_non_null(strstr(err_first(&loaded.err), "warren.yaml:4:22: "));
	assert_non_null(strstr(err_first(&loaded.err), "public key of this node itself"));
	unload(&loaded);
}

/*
 * ---- Records ----
 */

static void makes_a_peer(void **state)
{
	static const char key_text[] = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	struct static_set *set = set_of(HEAD
		"  peers:\n"
		"    gw-b:\n"
		"      public-key: " KEY_A "\n"
		"      endpoint: \"[2001:db8::7]:7777\"\n"
		"      allowed-ips: [192.168.7.0/24, \"fd90::2\", 10.90.0.2]\n"
		"      psk: {file: \"/" KEY_C "\"}\n"
		"      keepalive: 25s\n"
		"    b2: {public-key: \"nodekey:"
		"0400000000000000000000000000000000000000000000000000000000000000\","
		" endpoint: \"Gw.Example.com:1\"}\n", NULL);
	const struct warren_node *node = &peer_at(set, 0)->record->node;
	char text[BASE64_KEY_TEXT], endpoint[ADDRPORT_TEXT];

	(void)state;
	assert_string_equal(node->name, "gw-b");
	base64_encode(text, node->key.bytes, 32);
	assert_string_equal(text, key_text);
	assert_int_equal(node->n_endpoints, 1);
	assert_string_equal(addrport_format(node->endpoints, endpoint), "[2001:db8::7]:7777");
	assert_int_equal(node->n_allowed_ips, 3);
	assert_prefix(&node->allowed_ips[0], "192.168.7.0/24");
	assert_int_equal(node->n_addresses, 2);
	assert_prefix(&node->addresses[0], "10.90.0.2/32");
	assert_prefix(&node->addresses[1], "fd90::2/128");
	assert_non_null(node->psk);
	assert_int_equal(node->psk->bytes[0], 3);
	assert_int_equal(node->keepalive, 25);

	node = &peer_at(set, 1)->record->node;
	assert_int_equal(node->key.bytes[0], 4);
	assert_null(node->psk);
	assert_int_equal(node->n_endpoints, 0);
	assert_string_equal(peer_at(set, 1)->host.name, "Gw.Example.com");

	node = &set->self->node;
	assert_memory_equal(node->key.bytes, own_key, 32);
	assert_int_equal(node->n_addresses, 2);
	assert_prefix(&node->addresses[0], "10.90.0.1/32");
	assert_prefix(&node->addresses[1], "fd90::1/128");
	assert_int_equal(set->self->n_networks, 4);
	assert_prefix(&set->self->networks[0], "10.90.0.0/24");
	assert_prefix(&set->self->networks[1], "fd90::/64");
	assert_prefix(&set->self->networks[2], "100.100.100.100/32");
	assert_prefix(&set->self->networks[3], "fd7a:115c:a1e0::53/128");
	static_set_free(set);
}

static void compiles_accept(void **state)
{
	struct static_set *set = set_of(HEAD
		"  peers: {b: {public-key: " KEY_A ", allowed-ips: [10.90.0.2, 10.7.0.0/16]}}\n"
		"  accept:\n"
		"    - {from: b, ports: [22, tcp/80, udp/53, icmp, 8000-8100]}\n"
		"    - {from: [\"*\"], to: [192.168.1.0/24, \"self\"], ports: proto/47}\n"
		"    - {from: 10.90.0.0/24}\n", NULL);
	const struct warren_filter_rule *rules = set->policy->rules;

	(void)state;
	/* TCP and UDP; TCP; UDP; ICMP; GRE; all. */
	assert_int_equal(set->policy->n_rules, 6);
	assert_int_equal(rules[0].n_srcs, 2);
	assert_prefix(&rules[0].srcs[1].prefix, "10.7.0.0/16");
	assert_int_equal(rules[0].n_protocols, 2);
	assert_int_equal(rules[0].protocols[0], 6);
	assert_int_equal(rules[0].protocols[1], 17);
	assert_int_equal(rules[0].n_dsts, 4);
	assert_int_equal(rules[0].dsts[0].port_first, 22);
	assert_int_equal(rules[0].dsts[3].port_last, 8100);
	assert_prefix(&rules[0].dsts[0].prefix, "10.90.0.1/32");
	assert_int_equal(rules[1].protocols[0], 6);
	assert_int_equal(rules[1].n_protocols, 1);
	assert_int_equal(rules[1].dsts[0].port_first, 80);
	assert_int_equal(rules[3].protocols[1], 58);
	assert_int_equal(rules[3].dsts[0].port_last, 65535);
	assert_int_equal(rules[4].srcs[0].kind, WARREN_SRC_ANY);
	assert_int_equal(rules[4].protocols[0], 47);
	assert_int_equal(rules[4].n_dsts, 3);
	assert_int_equal(rules[5].n_protocols, 0);
	/* What is let through to others is what this node serves. */
	assert_int_equal(set->self->node.n_allowed_ips, 3);
	assert_prefix(&set->self->node.allowed_ips[2], "192.168.1.0/24");
	static_set_free(set);
}

static const struct static_exit no_exit;

static void keeps_accept_apart_from_no_accept(void **state)
{
	struct static_set *none = set_of(HEAD, NULL);
	struct static_set *empty = set_of(HEAD "  accept: []\n", NULL);
	struct warren_netmap *map = static_map_new(none, &no_exit, NULL);

	(void)state;
	assert_int_equal(map->builtin_policy, WARREN_POLICY_ALLOWED_IPS);
	warren_obj_unref(map);
	map = static_map_new(empty, &no_exit, NULL);
	assert_int_equal(map->builtin_policy, WARREN_POLICY_NONE);
	assert_int_equal(map->n_filter, 0);
	warren_obj_unref(map);
	static_set_free(none);
	static_set_free(empty);
}

/*
 * ---- Changes ----
 */

struct change {
	uint32_t what, fields;
	const char *name;		/* after, or before where it is gone */
};

static void assert_changes(const struct warren_netmap *map, const struct change *want, uint32_t n)
{
	assert_int_equal(map->n_changes, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct warren_netmap_change *got = &map->changes[i];
		const struct warren_node *node = got->after ? got->after : got->before;

		assert_int_equal(got->what, want[i].what);
		assert_int_equal(got->fields, want[i].fields);
		assert_string_equal(node->name, want[i].name);
	}
}

#define PEERS(a, b, c) HEAD "  peers:\n" a b c
#define A(extra) "    a: {public-key: " KEY_A ", allowed-ips: 10.90.0.2" extra "}\n"
#define B(extra) "    b: {public-key: " KEY_B ", allowed-ips: 10.90.0.3" extra "}\n"
#define C(extra) "    c: {public-key: " KEY_C ", allowed-ips: 10.90.0.4" extra "}\n"

static void tells_exact_changes(void **state)
{
	static const struct {
		const char *yaml;
		uint32_t changed;
		struct change changes[3];
		uint32_t n;
	} steps[] = {
		{ PEERS(A(""), B(""), C("")), WARREN_NETMAP_ALL, { { 0 } }, 0 },
		/* Nothing; another order is nothing too. */
		{ PEERS(C(""), A(""), B("")), 0, { { 0 } }, 0 },
		{ PEERS(A(""), B(", endpoint: \"192.0.2.1:1\""), C("")), WARREN_NETMAP_PEERS,
		  { { WARREN_CHANGE_MODIFIED, WARREN_NODE_ENDPOINTS, "b" } }, 1 },
		{ PEERS(A(", keepalive: 5s"), "", C("")), WARREN_NETMAP_PEERS,
		  { { WARREN_CHANGE_MODIFIED, WARREN_NODE_PSK, "a" },
		    { WARREN_CHANGE_REMOVED, 0, "b" } }, 2 },
		{ PEERS(A(", psk: {file: \"/" KEY_C "\"}"), B(""), C("")), WARREN_NETMAP_PEERS,
		  { { WARREN_CHANGE_MODIFIED, WARREN_NODE_PSK, "a" },
		    { WARREN_CHANGE_ADDED, 0, "b" } }, 2 },
		/* The same name with another key, and the same key under another name. */
		{ PEERS("    a: {public-key: \"nodekey:"
			"0900000000000000000000000000000000000000000000000000000000000000\","
			" allowed-ips: 10.90.0.2}\n", B(""),
			"    d: {public-key: " KEY_C ", allowed-ips: 10.90.0.4}\n"),
		  WARREN_NETMAP_PEERS,
		  { { WARREN_CHANGE_MODIFIED, WARREN_NODE_KEY | WARREN_NODE_PSK, "a" },
		    { WARREN_CHANGE_MODIFIED, WARREN_NODE_OTHER, "d" } }, 2 },
		{ "static:\n  addresses: [10.90.0.1/24]\n  accept: []\n",
		  WARREN_NETMAP_SELF | WARREN_NETMAP_PEERS | WARREN_NETMAP_FILTER,
		  { { WARREN_CHANGE_REMOVED, 0, "a" }, { WARREN_CHANGE_REMOVED, 0, "d" },
		    { WARREN_CHANGE_REMOVED, 0, "b" } }, 3 },
		{ "static:\n  addresses: [10.90.0.1/24]\n  accept: []\n", 0, { { 0 } }, 0 },
	};
	struct static_set *before = NULL;
	struct warren_netmap *old = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct static_set *set = set_of(steps[i].yaml, before);
		struct warren_netmap *map = static_map_new(set, &no_exit, old);

		assert_int_equal(map->serial, i + 1);
		assert_int_equal(map->previous, i);
		assert_int_equal(map->changed, steps[i].changed);
		assert_changes(map, steps[i].changes, steps[i].n);
		for (uint32_t k = 1; k < map->n_peers; k++)
			assert_true(map->peers[k - 1]->id < map->peers[k]->id);
		/* The records outlive the configuration and the set that made them. */
		static_set_free(before);
		warren_obj_unref(old);
		before = set;
		old = map;
	}
	static_set_free(before);
	warren_obj_unref(old);
}

static void keeps_what_was_looked_up(void **state)
{
	static const char named[] = PEERS(A(", endpoint: \"gw.example:7\""), B(""), "");
	const struct warren_addr addrs[] = {
		{ .family = 4, .bytes = { 192, 0, 2, 9 } }, { .family = 6, .bytes = { 0x20, 1 } },
	};
	struct static_set *set = set_of(named, NULL), *again;
	struct static_record *resolved;

	(void)state;
	assert_int_equal(static_peer_resolved(peer_at(set, 0), addrs, 2), 1);
	assert_int_equal(static_peer_resolved(peer_at(set, 0), addrs, 2), 0);
	resolved = peer_at(set, 0)->record;
	assert_int_equal(resolved->node.n_endpoints, 2);
	assert_int_equal(resolved->node.endpoints[1].port, 7);

	again = set_of(named, set);
	assert_ptr_equal(peer_at(again, 0)->record, resolved);
	static_set_free(set);
	set = set_of(PEERS(A(", endpoint: \"gw2.example:7\""), B(""), ""), again);
	assert_int_equal(peer_at(set, 0)->record->node.n_endpoints, 0);
	static_set_free(again);
	static_set_free(set);
}

static void gives_self_another_key(void **state)
{
	static const uint8_t other[32] = { 77 };
	struct static_set *set = set_of(HEAD "  accept: [{from: \"*\", to: \"*\"}]\n", NULL);
	struct warren_netmap *old = static_map_new(set, &no_exit, NULL), *map;

	(void)state;
	assert_int_equal(static_set_rekey(set, own_key), 0);
	assert_ptr_equal(&set->self->node, old->self);
	assert_int_equal(static_set_rekey(set, other), 0);
	map = static_map_new(set, &no_exit, old);
	assert_int_equal(map->changed, WARREN_NETMAP_SELF);
	assert_memory_equal(map->self->key.bytes, other, 32);
	assert_int_equal(map->self->n_allowed_ips, 4);
	assert_int_equal(map->n_networks, 4);
	warren_obj_unref(old);
	warren_obj_unref(map);
	static_set_free(set);
}

/*
 * ---- Size ----
 */

static char *many_peers(uint32_t n, uint32_t keepalive)
{
	struct str s = STR_INIT;

	str_add(&s, "static:\n  addresses: [10.0.0.1/8]\n  peers:\n");
	for (uint32_t i = 1; i <= n; i++) {
		uint8_t key[32] = { (uint8_t)i, (uint8_t)(i >> 8), 1 };
		char text[BASE64_KEY_TEXT];

		base64_encode(text, key, 32);
		str_addf(&s, "    p%u: {public-key: %s, allowed-ips: [10.%u.%u.9, fd00::%x], "
			 "keepalive: %us}\n", i, text, i >> 8, i & 255, i,
			 i == n / 2 ? keepalive : 0);
	}
	return str_take(&s);
}

/* CPU time of this process in milliseconds. */
static double cpu_ms(void)
{
	return (double)clock() * 1000 / CLOCKS_PER_SEC;
}

static void changes_one_of_5000(void **state)
{
	char *first = many_peers(5000, 0), *second = many_peers(5000, 7);
	struct static_set *set = set_of(first, NULL), *next;
	struct warren_netmap *old = static_map_new(set, &no_exit, NULL), *map;
	struct loaded loaded = load(second);
	struct static_plan *plan;
	double before;

	(void)state;
	assert_non_null(loaded.section);
	before = cpu_ms();
	plan = static_plan_new(loaded.section, own_key, &loaded.err);
	next = static_set_new(plan, own_key, set);
	map = static_map_new(next, &no_exit, old);
	print_message("5,000 peers, one changed: %.1f ms\n", cpu_ms() - before);
	assert_int_equal(map->n_changes, 1);
	assert_int_equal(map->changes[0].fields, WARREN_NODE_PSK);
	assert_string_equal(map->changes[0].after->name, "p2500");
	for (uint32_t i = 0; i < map->n_peers; i++) {
		if (map->peers[i] != map->changes[0].after)
			assert_ptr_equal(map->peers[i], old->peers[i]);
	}
	static_plan_free(plan);
	unload(&loaded);
	static_set_free(set);
	static_set_free(next);
	warren_obj_unref(old);
	warren_obj_unref(map);
	free(first);
	free(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_mistakes_with_their_place),
		cmocka_unit_test(refuses_our_own_key_as_a_peer),
		cmocka_unit_test(makes_a_peer),
		cmocka_unit_test(compiles_accept),
		cmocka_unit_test(keeps_accept_apart_from_no_accept),
		cmocka_unit_test(tells_exact_changes),
		cmocka_unit_test(keeps_what_was_looked_up),
		cmocka_unit_test(gives_self_another_key),
		cmocka_unit_test(changes_one_of_5000),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
