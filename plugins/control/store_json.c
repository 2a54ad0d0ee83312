/*
 * A snapshot as the map message that would make it: the reverse of node.c for nodes, and the JSON
 * that they came from for the other parts. And the same parts under the names that the stock
 * client's NetworkMap has for them.
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/addr.h"
#include "base/base64.h"
#include "c2n_netmap.h"
#include "map_impl.h"

/*
 * ---- Members ----
 */

/* A comma where one is needed, and the name. */
static void member(struct str *out, const char *key)
{
	char last = out->len ? out->s[out->len - 1] : '{';

	if (last != '{' && last != '[')
		str_addc(out, ',');
	if (!key)
		return;
	str_add_json(out, key, strlen(key));
	str_addc(out, ':');
}

static void put_str(struct str *out, const char *key, const char *text)
{
	if (!text)
		return;
	member(out, key);
	str_add_json(out, text, strlen(text));
}

static void put_int(struct str *out, const char *key, int64_t value)
{
	if (!value)
		return;
	member(out, key);
	str_addf(out, "%" PRId64, value);
}

static void put_bool(struct str *out, const char *key, bool value)
{
	if (!value)
		return;
	member(out, key);
	str_add(out, "true");
}

static void put_tri(struct str *out, const char *key, uint8_t value)
{
	if (value == WARREN_TRI_UNKNOWN)
		return;
	member(out, key);
	str_add(out, value == WARREN_TRI_YES ? "true" : "false");
}

static void put_time(struct str *out, const char *key, int64_t nanos)
{
	time_t seconds = nanos / 1000000000;
	struct tm tm;
	char text[40];

	if (!nanos || !gmtime_r(&seconds, &tm) ||
	    !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm))
		return;
	member(out, key);
	str_addf(out, "\"%s.%09dZ\"", text, (int)(nanos % 1000000000));
}

static void put_key(struct str *out, const char *key, enum warren_keytext kind,
		    const struct warren_key32 *value)
{
	char text[WARREN_KEYTEXT_MAX];

	if (!ctl_key_is_zero(value))
		put_str(out, key, warren_keytext_format(kind, value->bytes, text));
}

static void put_addr(struct str *out, const char *key, const struct warren_addr *addr)
{
	char text[ADDR_TEXT];

	if (addr->family)
		put_str(out, key, addr_format(addr, text));
}

/* Values are JSON already. */
static void put_raw(struct str *out, const char *key, const char *json)
{
	if (!json)
		return;
	member(out, key);
	str_add(out, json);
}

static void put_strs(struct str *out, const char *key, const char *const *texts, uint32_t n)
{
	if (!n)
		return;
	member(out, key);
	str_addc(out, '[');
	for (uint32_t i = 0; i < n; i++)
		put_str(out, NULL, texts[i]);
	str_addc(out, ']');
}

static void put_coordinate(struct str *out, const char *key, int32_t value_e4)
{
	int64_t value = value_e4, size = value < 0 ? -value : value;

	if (!value)
		return;
	member(out, key);
	str_addf(out, "%s%" PRId64 ".%04" PRId64, value < 0 ? "-" : "", size / 10000,
		 size % 10000);
}

/*
 * ---- Nodes ----
 */

static void put_prefixes(struct str *out, const char *key, const struct warren_prefix *list,
			 uint32_t n, bool exit_v4, bool exit_v6)
{
	char text[PREFIX_TEXT];

	member(out, key);
	str_addc(out, '[');
	for (uint32_t i = 0; i < n; i++)
		put_str(out, NULL, prefix_format(&list[i], text));
	if (exit_v4)
		put_str(out, NULL, "0.0.0.0/0");
	if (exit_v6)
		put_str(out, NULL, "::/0");
	str_addc(out, ']');
}

static void put_endpoints(struct str *out, const struct warren_node *n)
{
	char text[ADDRPORT_TEXT];

	if (!n->n_endpoints)
		return;
	member(out, "Endpoints");
	str_addc(out, '[');
	for (uint32_t i = 0; i < n->n_endpoints; i++)
		put_str(out, NULL, addrport_format(&n->endpoints[i], text));
	str_addc(out, ']');
}

static void put_caps(struct str *out, const struct warren_node *n)
{
	if (!n->n_caps)
		return;
	member(out, "CapMap");
	str_addc(out, '{');
	for (uint32_t i = 0; i < n->n_caps; i++) {
		member(out, n->caps[i].name);
		str_addc(out, '[');
		for (uint32_t k = 0; k < n->caps[i].n_values; k++)
			put_raw(out, NULL, n->caps[i].values[k]);
		str_addc(out, ']');
	}
	str_addc(out, '}');
}

static void put_signature(struct str *out, const struct warren_node *n)
{
	char *text;

	if (!n->n_key_signature)
		return;
	text = malloc(BASE64_TEXT(n->n_key_signature));
	if (!text) {
		out->failed = true;
		return;
	}
	base64_encode(text, n->key_signature, n->n_key_signature);
	put_str(out, "KeySignature", text);
	free(text);
}

static void put_location(struct str *out, const struct warren_location *at)
{
	if (!at)
		return;
	member(out, "Location");
	str_addc(out, '{');
	put_str(out, "Country", at->country);
	put_str(out, "CountryCode", at->country_code);
	put_str(out, "City", at->city);
	put_str(out, "CityCode", at->city_code);
	put_coordinate(out, "Latitude", at->latitude_e4);
	put_coordinate(out, "Longitude", at->longitude_e4);
	put_int(out, "Priority", at->priority);
	str_addc(out, '}');
}

static void put_services(struct str *out, const struct warren_node *n)
{
	if (!n->n_services)
		return;
	member(out, "Services");
	str_addc(out, '[');
	for (uint32_t i = 0; i < n->n_services; i++) {
		member(out, NULL);
		str_addc(out, '{');
		put_str(out, "Proto", n->services[i].proto);
		put_int(out, "Port", n->services[i].port);
		put_str(out, "Description", n->services[i].description);
		str_addc(out, '}');
	}
	str_addc(out, ']');
}

static void put_hostinfo(struct str *out, const struct warren_node *n)
{
	member(out, "Hostinfo");
	str_addc(out, '{');
	put_str(out, "Hostname", n->hostname);
	put_str(out, "OS", n->os);
	put_str(out, "OSVersion", n->os_version);
	put_str(out, "App", n->app);
	put_services(out, n);
	put_strs(out, "sshHostKeys", n->ssh_host_keys, n->n_ssh_host_keys);
	put_location(out, n->location);
	put_bool(out, "ShieldsUp", n->shields_up);
	put_bool(out, "WireIngress", n->ingress);
	put_bool(out, "IngressEnabled", n->ingress_enabled);
	put_bool(out, "PeerRelay", n->peer_relay);
	str_addc(out, '}');
}

static void put_resolvers(struct str *out, const struct warren_node *n)
{
	if (!n->n_exit_resolvers)
		return;
	member(out, "ExitNodeDNSResolvers");
	str_addc(out, '[');
	for (uint32_t i = 0; i < n->n_exit_resolvers; i++) {
		const struct warren_resolver *r = &n->exit_resolvers[i];

		member(out, NULL);
		str_addc(out, '{');
		put_str(out, "Addr", r->address);
		put_bool(out, "UseWithExitNode", r->use_with_exit_node);
		if (r->n_bootstrap) {
			member(out, "BootstrapResolution");
			str_addc(out, '[');
			for (uint32_t k = 0; k < r->n_bootstrap; k++)
				put_addr(out, NULL, &r->bootstrap[k]);
			str_addc(out, ']');
		}
		str_addc(out, '}');
	}
	str_addc(out, ']');
}

static void put_node(struct str *out, const struct ctl_record *record)
{
	const struct warren_node *n = &record->node;
	const int64_t second = 1000000000;

	str_addc(out, '{');
	put_int(out, "ID", n->id);
	put_str(out, "StableID", n->stable_id);
	put_str(out, "Name", n->name);
	put_int(out, "User", n->user);
	put_int(out, "Sharer", n->sharer);
	put_key(out, "Key", WARREN_KEYTEXT_NODE, &n->key);
	put_time(out, "KeyExpiry", n->key_expiry * second);
	put_signature(out, n);
	put_key(out, "Machine", WARREN_KEYTEXT_MACHINE, &n->machine_key);
	put_key(out, "DiscoKey", WARREN_KEYTEXT_DISCO, &n->disco_key);
	put_prefixes(out, "Addresses", n->addresses, n->n_addresses, false, false);
	put_prefixes(out, "AllowedIPs", n->allowed_ips, n->n_allowed_ips, n->exit_v4, n->exit_v6);
	if (n->n_primary_routes)
		put_prefixes(out, "PrimaryRoutes", n->primary_routes, n->n_primary_routes, false,
			     false);
	put_endpoints(out, n);
	put_int(out, "HomeDERP", n->home_region);
	put_hostinfo(out, n);
	put_time(out, "Created", n->created * second);
	put_int(out, "Cap", n->cap_version);
	put_strs(out, "Tags", n->tags, n->n_tags);
	put_time(out, "LastSeen", record->last_seen_ns);
	put_tri(out, "Online", n->online);
	put_bool(out, "MachineAuthorized", n->machine_authorized);
	put_caps(out, n);
	put_bool(out, "UnsignedPeerAPIOnly", n->unsigned_peerapi_only);
	put_bool(out, "Expired", n->expired);
	put_addr(out, "SelfNodeV4MasqAddrForThisPeer", &n->masquerade_v4);
	put_addr(out, "SelfNodeV6MasqAddrForThisPeer", &n->masquerade_v6);
	put_bool(out, "IsWireGuardOnly", n->wireguard_only);
	put_bool(out, "IsJailed", n->jailed);
	put_resolvers(out, n);
	str_addc(out, '}');
}

/*
 * ---- All ----
 */

static void put_peers(struct str *out, const struct ctl_table *peers)
{
	str_addc(out, '[');
	for (uint32_t i = 0; i < peers->n; i++) {
		member(out, NULL);
		put_node(out, ctl_record_base(ctl_record_of(peers->nodes[i])));
	}
	str_addc(out, ']');
}

/* An array, or (@by_id) an object. */
static void put_users(struct str *out, const struct ctl_users *users, bool by_id)
{
	char id[24];

	str_addc(out, by_id ? '{' : '[');
	for (uint32_t i = 0; i < users->n; i++) {
		snprintf(id, sizeof(id), "%" PRId64, users->users[i].id);
		member(out, by_id ? id : NULL);
		str_addc(out, '{');
		put_int(out, "ID", users->users[i].id);
		put_str(out, "LoginName", users->users[i].login);
		put_str(out, "DisplayName", users->users[i].name);
		put_str(out, "ProfilePicURL", users->users[i].picture);
		str_addc(out, '}');
	}
	str_addc(out, by_id ? '}' : ']');
}

static void put_relays(struct str *out, const struct ctl_relays *relays)
{
	str_addc(out, '{');
	put_raw(out, "HomeParams", relays->params_json);
	put_raw(out, "Regions", relays->regions_json);
	str_addc(out, '}');
}

static void put_filters(struct str *out, const struct ctl_filters *filters)
{
	if (!filters)
		return;
	member(out, "PacketFilters");
	str_addc(out, '{');
	for (uint32_t i = 0; i < filters->n_named; i++)
		put_raw(out, filters->named[i]->name, filters->named[i]->json);
	str_addc(out, '}');
}

static void put_messages(struct str *out, const struct ctl_health *health)
{
	str_addc(out, '{');
	for (uint32_t i = 0; i < health->n_messages; i++)
		put_raw(out, health->messages[i].id, health->messages[i].json);
	str_addc(out, '}');
}

static void put_health(struct str *out, const struct ctl_health *health)
{
	if (!health)
		return;
	put_strs(out, "Health", health->health, health->n_health);
	if (!health->n_messages)
		return;
	member(out, "DisplayMessages");
	put_messages(out, health);
}

void ctl_store_write(const struct ctl_snapshot *snapshot, struct str *out)
{
	const struct ctl_state *state = &snapshot->state;

	str_addc(out, '{');
	if (state->self) {
		member(out, "Node");
		put_node(out, ctl_record_base(state->self));
	}
	if (state->relays) {
		member(out, "DERPMap");
		put_relays(out, state->relays);
	}
	if (state->peers && state->peers->n) {
		member(out, "Peers");
		put_peers(out, state->peers);
	}
	if (state->users && state->users->n) {
		member(out, "UserProfiles");
		put_users(out, state->users, false);
	}
	put_filters(out, state->filters);
	if (state->dns)
		put_raw(out, "DNSConfig", state->dns->json);
	if (state->ssh)
		put_raw(out, "SSHPolicy", state->ssh->json);
	if (state->domain)
		put_str(out, "Domain", state->domain->text);
	put_health(out, state->health);
	str_addc(out, '}');
}

/*
 * ---- The stock client's NetworkMap ----
 */

static bool is_omitted(const json_t *omit, const char *key)
{
	const json_t *name;
	size_t i;

	json_array_foreach(omit, i, name) {
		if (str_equal(json_string_value(name), key))
			return true;
	}
	return false;
}

/* The name; and the zero value, unless @there. False: that was all. */
static bool field(struct str *out, const json_t *omit, const char *key, bool there,
		  const char *zero)
{
	member(out, key);
	if (there && !is_omitted(omit, key))
		return true;
	str_add(out, zero);
	return false;
}

static void put_rules(struct str *out, const struct ctl_filters *filters)
{
	str_addc(out, '[');
	for (uint32_t i = 0; i < filters->n_named; i++) {
		const char *json = filters->named[i]->json;
		size_t len = strlen(json);

		/* Without its brackets. */
		if (len > 2) {
			member(out, NULL);
			str_addn(out, json + 1, len - 2);
		}
	}
	str_addc(out, ']');
}

static void put_cap_names(struct str *out, const struct warren_node *self)
{
	str_addc(out, '[');
	for (uint32_t i = 0; i < self->n_caps; i++)
		put_str(out, NULL, self->caps[i].name);
	str_addc(out, ']');
}

static const struct ctl_record *self_of(const struct ctl_snapshot *snapshot)
{
	return snapshot && snapshot->state.self ? ctl_record_base(snapshot->state.self) : NULL;
}

static void put_self(struct str *out, const struct ctl_record *self, const struct ctl_record *own,
		     const json_t *omit)
{
	static const struct warren_key32 zero;
	char text[WARREN_KEYTEXT_MAX];

	if (field(out, omit, "SelfNode", self, "null"))
		put_node(out, self);
	if (field(out, omit, "AllCaps", self, "null"))
		put_cap_names(out, &self->node);
	put_str(out, "NodeKey", warren_keytext_format(WARREN_KEYTEXT_NODE,
		own && !is_omitted(omit, "NodeKey") ? own->node.key.bytes : zero.bytes, text));
	put_str(out, "MachineKey", warren_keytext_format(WARREN_KEYTEXT_MACHINE,
		self && !is_omitted(omit, "MachineKey") ? self->node.machine_key.bytes :
							  zero.bytes, text));
}

void ctl_store_write_netmap(const struct ctl_snapshot *snapshot,
			    const struct ctl_snapshot *in_force, bool cached,
			    const json_t *omit, struct str *out)
{
	const struct ctl_state *state = snapshot ? &snapshot->state : NULL;

	if (!state) {
		str_add(out, "null");
		return;
	}
	str_addc(out, '{');
	if (field(out, omit, "Cached", cached, "false"))
		str_add(out, "true");
	put_self(out, self_of(snapshot), self_of(in_force), omit);
	if (field(out, omit, "Peers", state->peers, "null"))
		put_peers(out, state->peers);
	if (field(out, omit, "DNS", state->dns, "{}"))
		str_add(out, state->dns->json);
	/* The compiled form of the rules, which is the stock client's own. */
	field(out, omit, "PacketFilter", false, "null");
	if (field(out, omit, "PacketFilterRules", state->filters, "null"))
		put_rules(out, state->filters);
	if (field(out, omit, "SSHPolicy", state->ssh, "null"))
		str_add(out, state->ssh->json);
	if (field(out, omit, "DERPMap", state->relays, "null"))
		put_relays(out, state->relays);
	if (field(out, omit, "DisplayMessages", state->health && state->health->n_messages,
		  "null"))
		put_messages(out, state->health);
	field(out, omit, "TKAEnabled", false, "false");
	if (field(out, omit, "Domain", state->domain, "\"\""))
		str_add_json(out, state->domain->text, strlen(state->domain->text));
	if (field(out, omit, "UserProfiles", state->users, "null"))
		put_users(out, state->users, true);
	str_addc(out, '}');
}
