/*
 * Every field of a snapshot as text, one object a line.
 */
#include "dump.h"

#include <inttypes.h>

#include "base/addr.h"

static void put_text(struct str *out, const char *name, const char *text)
{
	if (text)
		str_addf(out, " %s=%s", name, text);
}

static void put_int(struct str *out, const char *name, int64_t value)
{
	if (value)
		str_addf(out, " %s=%" PRId64, name, value);
}

static void put_bytes(struct str *out, const char *name, const uint8_t *bytes, size_t n)
{
	bool zero = true;

	for (size_t i = 0; i < n; i++)
		zero = zero && !bytes[i];
	if (zero)
		return;
	str_addf(out, " %s=", name);
	for (size_t i = 0; i < n; i++)
		str_addf(out, "%02x", bytes[i]);
}

static void put_addr(struct str *out, const char *name, const struct warren_addr *addr)
{
	char text[ADDR_TEXT];

	if (addr->family)
		put_text(out, name, addr_format(addr, text));
}

static void put_prefixes(struct str *out, const char *name, const struct warren_prefix *list,
			 uint32_t n)
{
	char text[PREFIX_TEXT];

	for (uint32_t i = 0; i < n; i++)
		put_text(out, name, prefix_format(&list[i], text));
}

static void put_texts(struct str *out, const char *name, const char *const *list, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		put_text(out, name, list[i]);
}

static void put_caps(struct str *out, const struct warren_cap *caps, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		put_text(out, "cap", caps[i].name);
		put_texts(out, "value", caps[i].values, caps[i].n_values);
	}
}

static void put_resolvers(struct str *out, const char *name, const struct warren_resolver *list,
			  uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		put_text(out, name, list[i].address);
		put_int(out, "with-exit-node", list[i].use_with_exit_node);
		for (uint32_t k = 0; k < list[i].n_bootstrap; k++)
			put_addr(out, "bootstrap", &list[i].bootstrap[k]);
	}
}

static void put_hostinfo(struct str *out, const struct warren_node *n)
{
	put_text(out, "hostname", n->hostname);
	put_text(out, "os", n->os);
	put_text(out, "os-version", n->os_version);
	put_text(out, "app", n->app);
	for (uint32_t i = 0; i < n->n_services; i++) {
		put_text(out, "proto", n->services[i].proto);
		put_int(out, "port", n->services[i].port);
		put_text(out, "description", n->services[i].description);
	}
	put_texts(out, "ssh-host-key", n->ssh_host_keys, n->n_ssh_host_keys);
	if (n->location) {
		put_text(out, "country", n->location->country);
		put_text(out, "country-code", n->location->country_code);
		put_text(out, "city", n->location->city);
		put_text(out, "city-code", n->location->city_code);
		put_int(out, "latitude", n->location->latitude_e4);
		put_int(out, "longitude", n->location->longitude_e4);
		put_int(out, "priority", n->location->priority);
	}
	put_int(out, "shields-up", n->shields_up);
	put_int(out, "ingress", n->ingress);
	put_int(out, "ingress-enabled", n->ingress_enabled);
	put_int(out, "peer-relay", n->peer_relay);
	put_resolvers(out, "exit-resolver", n->exit_resolvers, n->n_exit_resolvers);
}

static void put_flags(struct str *out, const struct warren_node *n)
{
	put_int(out, "online", n->online);
	put_int(out, "expired", n->expired);
	put_int(out, "authorized", n->machine_authorized);
	put_int(out, "wireguard-only", n->wireguard_only);
	put_int(out, "jailed", n->jailed);
	put_int(out, "unsigned", n->unsigned_peerapi_only);
	put_int(out, "dormant", n->dormant);
	put_int(out, "exit-v4", n->exit_v4);
	put_int(out, "exit-v6", n->exit_v6);
}

void dump_node(struct str *out, const struct warren_node *n)
{
	char text[ADDRPORT_TEXT];

	put_int(out, "id", n->id);
	put_text(out, "stable", n->stable_id);
	put_text(out, "name", n->name);
	put_int(out, "user", n->user);
	put_int(out, "sharer", n->sharer);
	put_bytes(out, "key", n->key.bytes, 32);
	put_bytes(out, "disco", n->disco_key.bytes, 32);
	put_bytes(out, "machine", n->machine_key.bytes, 32);
	put_int(out, "expiry", n->key_expiry);
	put_bytes(out, "signature", n->key_signature, n->n_key_signature);
	put_prefixes(out, "address", n->addresses, n->n_addresses);
	put_prefixes(out, "allowed", n->allowed_ips, n->n_allowed_ips);
	put_prefixes(out, "primary", n->primary_routes, n->n_primary_routes);
	for (uint32_t i = 0; i < n->n_endpoints; i++)
		put_text(out, "endpoint", addrport_format(&n->endpoints[i], text));
	put_int(out, "home", n->home_region);
	put_int(out, "cap-version", n->cap_version);
	put_texts(out, "tag", n->tags, n->n_tags);
	put_caps(out, n->caps, n->n_caps);
	put_int(out, "created", n->created);
	put_int(out, "seen", n->last_seen);
	put_flags(out, n);
	put_addr(out, "masquerade", &n->masquerade_v4);
	put_addr(out, "masquerade", &n->masquerade_v6);
	put_hostinfo(out, n);
	str_addc(out, '\n');
}

static void dump_filter(struct str *out, const struct warren_netmap *map)
{
	for (uint32_t r = 0; r < map->n_filter; r++) {
		const struct warren_filter_rule *rule = &map->filter[r];

		str_addf(out, "rule");
		for (uint32_t i = 0; i < rule->n_srcs; i++) {
			put_int(out, "src", rule->srcs[i].kind);
			put_prefixes(out, "", &rule->srcs[i].prefix, 1);
			put_addr(out, "", &rule->srcs[i].first);
			put_addr(out, "-", &rule->srcs[i].last);
			put_text(out, "cap", rule->srcs[i].cap);
		}
		for (uint32_t i = 0; i < rule->n_dsts; i++) {
			put_int(out, "dst", rule->dsts[i].kind);
			put_prefixes(out, "", &rule->dsts[i].prefix, 1);
			put_addr(out, "", &rule->dsts[i].first);
			put_addr(out, "-", &rule->dsts[i].last);
			str_addf(out, ":%u-%u", rule->dsts[i].port_first, rule->dsts[i].port_last);
		}
		for (uint32_t i = 0; i < rule->n_protocols; i++)
			put_int(out, "protocol", rule->protocols[i]);
		for (uint32_t i = 0; i < rule->n_grants; i++) {
			put_prefixes(out, "grant", rule->grants[i].dsts, rule->grants[i].n_dsts);
			put_caps(out, rule->grants[i].caps, rule->grants[i].n_caps);
		}
		str_addc(out, '\n');
	}
}

static void dump_dns(struct str *out, const struct warren_dns *dns)
{
	str_addf(out, "dns");
	put_resolvers(out, "resolver", dns->resolvers, dns->n_resolvers);
	put_resolvers(out, "fallback", dns->fallback, dns->n_fallback);
	for (uint32_t i = 0; i < dns->n_routes; i++) {
		put_text(out, "route", dns->routes[i].suffix);
		put_resolvers(out, "to", dns->routes[i].resolvers, dns->routes[i].n_resolvers);
	}
	put_texts(out, "search", dns->search, dns->n_search);
	put_texts(out, "cert", dns->cert_domains, dns->n_cert_domains);
	put_texts(out, "filtered", dns->exit_filtered, dns->n_exit_filtered);
	for (uint32_t i = 0; i < dns->n_records; i++) {
		put_text(out, "record", dns->records[i].name);
		put_text(out, "type", dns->records[i].type);
		put_text(out, "value", dns->records[i].value);
	}
	put_int(out, "proxied", dns->proxied);
	str_addc(out, '\n');
}

static void dump_relays(struct str *out, const struct warren_netmap *map)
{
	for (uint32_t r = 0; r < map->n_regions; r++) {
		const struct warren_relay_region *region = &map->regions[r];

		str_addf(out, "region");
		put_int(out, "id", region->id);
		put_text(out, "code", region->code);
		put_text(out, "name", region->name);
		put_int(out, "no-home", region->no_measure_no_home);
		put_int(out, "avoid", region->avoid);
		put_int(out, "score", region->score_e3);
		put_int(out, "latitude", region->latitude_e4);
		put_int(out, "longitude", region->longitude_e4);
		for (uint32_t i = 0; i < region->n_nodes; i++) {
			const struct warren_relay_node *node = &region->nodes[i];

			put_text(out, "node", node->name);
			put_text(out, "host", node->host_name);
			put_text(out, "cert", node->cert_name);
			put_addr(out, "ipv4", &node->ipv4);
			put_addr(out, "ipv6", &node->ipv6);
			put_int(out, "no-ipv4", node->no_ipv4);
			put_int(out, "no-ipv6", node->no_ipv6);
			put_int(out, "stun", node->stun_port);
			put_int(out, "derp", node->derp_port);
			put_int(out, "stun-only", node->stun_only);
			put_int(out, "insecure", node->insecure_for_tests);
			put_int(out, "port80", node->can_port80);
		}
		str_addc(out, '\n');
	}
}

static void dump_action(struct str *out, const struct warren_ssh_action *action)
{
	char text[ADDRPORT_TEXT];

	put_text(out, "message", action->message);
	put_text(out, "delegate", action->hold_and_delegate);
	put_int(out, "reject", action->reject);
	put_int(out, "accept", action->accept);
	put_int(out, "agent", action->agent_forwarding);
	put_int(out, "local", action->local_forwarding);
	put_int(out, "remote", action->remote_forwarding);
	put_int(out, "duration", action->session_duration);
	for (uint32_t i = 0; i < action->n_recorders; i++)
		put_text(out, "recorder", addrport_format(&action->recorders[i], text));
	put_text(out, "on-reject", action->recording_reject_message);
	put_text(out, "on-terminate", action->recording_terminate_message);
	put_text(out, "notify", action->recording_notify_url);
}

static void dump_ssh(struct str *out, const struct warren_netmap *map)
{
	for (uint32_t r = 0; r < map->n_ssh; r++) {
		const struct warren_ssh_rule *rule = &map->ssh[r];

		str_addf(out, "ssh");
		put_int(out, "expires", rule->expires);
		for (uint32_t i = 0; i < rule->n_principals; i++) {
			put_text(out, "node", rule->principals[i].node);
			put_text(out, "login", rule->principals[i].user_login);
			put_addr(out, "ip", &rule->principals[i].node_ip);
			put_int(out, "any", rule->principals[i].any);
		}
		for (uint32_t i = 0; i < rule->n_users; i++)
			str_addf(out, " user=%s:%s", rule->users[i].requested,
				 rule->users[i].local);
		dump_action(out, rule->action);
		put_texts(out, "env", rule->accept_env, rule->n_accept_env);
		str_addc(out, '\n');
	}
}

void dump_map(struct str *out, const struct warren_netmap *map)
{
	put_text(out, "domain", map->domain);
	put_prefixes(out, "network", map->networks, map->n_networks);
	put_int(out, "policy", map->builtin_policy);
	put_texts(out, "health", map->health, map->n_health);
	str_addf(out, "\nself");
	if (map->self)
		dump_node(out, map->self);
	for (uint32_t i = 0; i < map->n_peers; i++)
		dump_node(out, map->peers[i]);
	for (uint32_t i = 0; i < map->n_users; i++) {
		str_addf(out, "user");
		put_int(out, "id", map->users[i].id);
		put_text(out, "login", map->users[i].login);
		put_text(out, "name", map->users[i].name);
		put_text(out, "picture", map->users[i].picture);
		str_addc(out, '\n');
	}
	dump_filter(out, map);
	dump_dns(out, map->dns);
	dump_relays(out, map);
	dump_ssh(out, map);
}
