/*
 * What differs between two nodes. Every field of struct warren_node is looked at here, so that
 * equal nodes can be shared and consumers hear of nothing that did not change.
 */
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "node.h"

static bool same_texts(const char *const *a, uint32_t n_a, const char *const *b, uint32_t n_b)
{
	if (n_a != n_b)
		return false;
	for (uint32_t i = 0; i < n_a; i++) {
		if (!str_equal(a[i], b[i]))
			return false;
	}
	return true;
}

static bool same_caps(const struct warren_node *a, const struct warren_node *b)
{
	if (a->n_caps != b->n_caps)
		return false;
	for (uint32_t i = 0; i < a->n_caps; i++) {
		if (!str_equal(a->caps[i].name, b->caps[i].name) ||
		    !same_texts(a->caps[i].values, a->caps[i].n_values, b->caps[i].values,
				b->caps[i].n_values))
			return false;
	}
	return true;
}

static bool same_services(const struct warren_node *a, const struct warren_node *b)
{
	if (a->n_services != b->n_services)
		return false;
	for (uint32_t i = 0; i < a->n_services; i++) {
		const struct warren_service *x = &a->services[i], *y = &b->services[i];

		if (x->port != y->port || !str_equal(x->proto, y->proto) ||
		    !str_equal(x->description, y->description))
			return false;
	}
	return true;
}

static bool same_resolvers(const struct warren_node *a, const struct warren_node *b)
{
	if (a->n_exit_resolvers != b->n_exit_resolvers)
		return false;
	for (uint32_t i = 0; i < a->n_exit_resolvers; i++) {
		const struct warren_resolver *x = &a->exit_resolvers[i];
		const struct warren_resolver *y = &b->exit_resolvers[i];

		if (!str_equal(x->address, y->address) || x->n_bootstrap != y->n_bootstrap ||
		    x->use_with_exit_node != y->use_with_exit_node)
			return false;
		for (uint32_t k = 0; k < x->n_bootstrap; k++) {
			if (!addr_equal(&x->bootstrap[k], &y->bootstrap[k]))
				return false;
		}
	}
	return true;
}

static bool same_location(const struct warren_location *a, const struct warren_location *b)
{
	if (!a || !b)
		return a == b;
	return str_equal(a->country, b->country) && str_equal(a->country_code, b->country_code) &&
	       str_equal(a->city, b->city) && str_equal(a->city_code, b->city_code) &&
	       a->latitude_e4 == b->latitude_e4 && a->longitude_e4 == b->longitude_e4 &&
	       a->priority == b->priority;
}

static bool same_key(const struct warren_key32 *a, const struct warren_key32 *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static bool same_identity(const struct warren_node *a, const struct warren_node *b)
{
	return a->id == b->id && str_equal(a->stable_id, b->stable_id) &&
	       str_equal(a->name, b->name) && a->user == b->user && a->sharer == b->sharer &&
	       same_key(&a->machine_key, &b->machine_key) && a->key_expiry == b->key_expiry &&
	       a->n_key_signature == b->n_key_signature &&
	       (!a->n_key_signature ||
		!memcmp(a->key_signature, b->key_signature, a->n_key_signature)) &&
	       prefixes_equal(a->addresses, a->n_addresses, b->addresses, b->n_addresses) &&
	       prefixes_equal(a->primary_routes, a->n_primary_routes, b->primary_routes,
			      b->n_primary_routes) &&
	       addr_equal(&a->masquerade_v4, &b->masquerade_v4) &&
	       addr_equal(&a->masquerade_v6, &b->masquerade_v6);
}

static bool same_flags(const struct warren_node *a, const struct warren_node *b)
{
	return a->expired == b->expired && a->machine_authorized == b->machine_authorized &&
	       a->wireguard_only == b->wireguard_only && a->jailed == b->jailed &&
	       a->unsigned_peerapi_only == b->unsigned_peerapi_only && a->dormant == b->dormant &&
	       a->exit_v4 == b->exit_v4 && a->exit_v6 == b->exit_v6 &&
	       a->shields_up == b->shields_up && a->ingress == b->ingress &&
	       a->ingress_enabled == b->ingress_enabled && a->peer_relay == b->peer_relay;
}

static bool same_others(const struct warren_node *a, const struct warren_node *b)
{
	return same_identity(a, b) && same_flags(a, b) && a->cap_version == b->cap_version &&
	       a->created == b->created && same_texts(a->tags, a->n_tags, b->tags, b->n_tags) &&
	       same_caps(a, b) && str_equal(a->hostname, b->hostname) &&
	       str_equal(a->os, b->os) && str_equal(a->os_version, b->os_version) &&
	       str_equal(a->app, b->app) && same_services(a, b) &&
	       same_texts(a->ssh_host_keys, a->n_ssh_host_keys, b->ssh_host_keys,
			  b->n_ssh_host_keys) &&
	       same_location(a->location, b->location) && same_resolvers(a, b);
}

uint32_t ctl_node_diff(const struct warren_node *a, const struct warren_node *b)
{
	uint32_t fields = 0;

	if (!same_key(&a->key, &b->key))
		fields |= WARREN_NODE_KEY;
	if (!same_key(&a->disco_key, &b->disco_key))
		fields |= WARREN_NODE_DISCO_KEY;
	if (!prefixes_equal(a->allowed_ips, a->n_allowed_ips, b->allowed_ips, b->n_allowed_ips))
		fields |= WARREN_NODE_ALLOWED_IPS;
	if (!addrports_equal(a->endpoints, a->n_endpoints, b->endpoints, b->n_endpoints))
		fields |= WARREN_NODE_ENDPOINTS;
	if (a->home_region != b->home_region)
		fields |= WARREN_NODE_HOME_REGION;
	if (a->online != b->online || a->last_seen != b->last_seen)
		fields |= WARREN_NODE_PRESENCE;
	if (!same_others(a, b))
		fields |= WARREN_NODE_OTHER;
	return fields;
}
