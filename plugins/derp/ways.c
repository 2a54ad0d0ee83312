/*
 * Ways to a region. Pure functions over the relay map.
 */
#include "ways.h"

#include <string.h>

#include "base/addr.h"
#include "base/hex.h"
#include "base/str.h"

static const char pin_prefix[] = "sha256-raw:";

const struct warren_relay_region *derp_map_find(const struct warren_netmap *map, uint32_t id)
{
	for (uint32_t i = 0; map && i < map->n_regions; i++) {
		if (map->regions[i].id == id)
			return &map->regions[i];
	}
	return NULL;
}

static void add(struct derp_way *out, uint32_t *n, const struct derp_way *way)
{
	if (*n < DERP_WAYS)
		out[(*n)++] = *way;
}

static void node_ways(const struct warren_relay_node *node, uint32_t index, struct derp_way *out,
		      uint32_t *n)
{
	bool has4 = node->ipv4.family == 4, has6 = node->ipv6.family == 6;
	struct derp_way literal = { .node = node, .index = index }, name = literal;

	if (has4)
		literal.addrs[literal.n_addrs++] = node->ipv4;
	if (has6)
		literal.addrs[literal.n_addrs++] = node->ipv6;
	if (has4 || node->no_ipv4)
		name.dial_flags |= WARREN_DIAL_NO_IPV4;
	if (has6 || node->no_ipv6)
		name.dial_flags |= WARREN_DIAL_NO_IPV6;
	if (literal.n_addrs > 0)
		add(out, n, &literal);
	if (name.dial_flags != (WARREN_DIAL_NO_IPV4 | WARREN_DIAL_NO_IPV6))
		add(out, n, &name);
}

uint32_t derp_ways(const struct warren_relay_region *region, struct derp_way out[DERP_WAYS])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < region->n_nodes; i++) {
		if (!region->nodes[i].stun_only)
			node_ways(&region->nodes[i], i, out, &n);
	}
	return n;
}

int derp_way_tls(const struct warren_relay_node *node, struct warren_tls_client *out,
		 uint8_t pin[32], struct warren_err *err)
{
	static const char *const alpn[] = { "http/1.1", NULL };
	const char *name = node->cert_name;

	*out = (struct warren_tls_client){
		.size = sizeof(*out), .server_name = node->host_name, .alpn = alpn,
	};
	if (name && str_starts(name, pin_prefix)) {
		const char *digits = name + sizeof(pin_prefix) - 1;

		if (strlen(digits) != 64 || hex_decode(pin, 32, digits))
			return warren_fail(err, NULL, "the CertName of relay %s is no SHA-256: "
					   "correct the relay map", node->name);
		out->pin_sha256 = pin;
	} else if (node->insecure_for_tests) {
		out->flags = WARREN_TLS_INSECURE;
	} else if (name && name[0]) {
		out->verify_name = name;
	}
	return 0;
}

static bool same_node(const struct warren_relay_node *a, const struct warren_relay_node *b)
{
	return str_equal(a->name, b->name) && str_equal(a->host_name, b->host_name) &&
	       str_equal(a->cert_name, b->cert_name) && addr_equal(&a->ipv4, &b->ipv4) &&
	       addr_equal(&a->ipv6, &b->ipv6) && a->no_ipv4 == b->no_ipv4 &&
	       a->no_ipv6 == b->no_ipv6 && a->derp_port == b->derp_port &&
	       a->stun_only == b->stun_only && a->insecure_for_tests == b->insecure_for_tests;
}

bool derp_region_same(const struct warren_relay_region *a, const struct warren_relay_region *b)
{
	if (a->id != b->id || a->n_nodes != b->n_nodes)
		return false;
	for (uint32_t i = 0; i < a->n_nodes; i++) {
		if (!same_node(&a->nodes[i], &b->nodes[i]))
			return false;
	}
	return true;
}
