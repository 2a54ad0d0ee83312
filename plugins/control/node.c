/*
 * Records of nodes.
 *
 * A node is read into a view: a struct warren_node whose strings and lists lie wherever they are.
 * A record is the deep copy of a view in one block of exactly its size, which the copying function
 * finds out by running without a block first. A patch is a view of the record before with other
 * fields.
 */
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "node.h"

enum { SIGNATURE_MAX = 16 << 10, NAME_MAX_BYTES = 255 };

void ctl_owned_free(struct ctl_owned *owned)
{
	while (owned) {
		struct ctl_owned *also = owned->also;

		free(owned);
		owned = also;
	}
}

struct ctl_record *ctl_record_of(const struct warren_node *node)
{
	return CONTAINER_OF((struct warren_node *)(uintptr_t)node, struct ctl_record, node);
}

struct ctl_record *ctl_record_base(struct ctl_record *record)
{
	return record->owned.also ? CONTAINER_OF(record->owned.also, struct ctl_record, owned)
				  : record;
}

bool ctl_key_is_zero(const struct warren_key32 *key)
{
	static const struct warren_key32 zero;

	return !memcmp(key, &zero, sizeof(zero));
}

/*
 * ---- From JSON ----
 */

static void parse_services(struct ctl_parse *p, const json_t *o, struct warren_node *n)
{
	const json_t *list = ctl_get_array(p, o, "Services", &n->n_services);
	struct warren_service *made = ctl_parse_alloc(p, n->n_services, sizeof(*made));

	for (uint32_t i = 0; made && i < n->n_services; i++) {
		const json_t *service = json_array_get(list, i);

		made[i].proto = ctl_get_str(p, service, "Proto", 64);
		made[i].port = (uint16_t)ctl_get_int(p, service, "Port", 0, UINT16_MAX);
		made[i].description = ctl_get_str(p, service, "Description", CTL_TEXT_MAX);
	}
	n->services = made;
}

static void parse_location(struct ctl_parse *p, const json_t *o, struct warren_node *n)
{
	const json_t *at = ctl_get_object(p, o, "Location");
	struct warren_location *made = at ? ctl_parse_alloc(p, 1, sizeof(*made)) : NULL;

	if (!made)
		return;
	made->country = ctl_get_str(p, at, "Country", CTL_TEXT_MAX);
	made->country_code = ctl_get_str(p, at, "CountryCode", CTL_TEXT_MAX);
	made->city = ctl_get_str(p, at, "City", CTL_TEXT_MAX);
	made->city_code = ctl_get_str(p, at, "CityCode", CTL_TEXT_MAX);
	made->latitude_e4 = ctl_get_scaled(p, at, "Latitude", 1e4);
	made->longitude_e4 = ctl_get_scaled(p, at, "Longitude", 1e4);
	made->priority = (int32_t)ctl_get_int(p, at, "Priority", INT32_MIN, INT32_MAX);
	n->location = made;
}

static void parse_hostinfo(struct ctl_parse *p, const json_t *node, struct warren_node *n)
{
	const json_t *o = ctl_get_object(p, node, "Hostinfo");

	if (!o)
		return;
	n->hostname = ctl_get_str(p, o, "Hostname", CTL_TEXT_MAX);
	n->os = ctl_get_str(p, o, "OS", CTL_TEXT_MAX);
	n->os_version = ctl_get_str(p, o, "OSVersion", CTL_TEXT_MAX);
	n->app = ctl_get_str(p, o, "App", CTL_TEXT_MAX);
	parse_services(p, o, n);
	n->ssh_host_keys = ctl_get_strs(p, o, "sshHostKeys", &n->n_ssh_host_keys);
	parse_location(p, o, n);
	n->shields_up = ctl_get_bool(p, o, "ShieldsUp");
	n->ingress = ctl_get_bool(p, o, "WireIngress");
	n->ingress_enabled = ctl_get_bool(p, o, "IngressEnabled");
	n->peer_relay = ctl_get_bool(p, o, "PeerRelay");
}

static void parse_exit_resolvers(struct ctl_parse *p, const json_t *node, struct warren_node *n)
{
	const json_t *list = ctl_get_array(p, node, "ExitNodeDNSResolvers", &n->n_exit_resolvers);
	struct warren_resolver *made = ctl_parse_alloc(p, n->n_exit_resolvers, sizeof(*made));

	for (uint32_t i = 0; made && i < n->n_exit_resolvers; i++)
		ctl_resolver_parse(p, json_array_get(list, i), &made[i]);
	n->exit_resolvers = made;
}

/* "127.3.3.40:<region>", which servers sent before HomeDERP. */
static void parse_home(struct ctl_parse *p, const json_t *o, struct warren_node *n)
{
	struct warren_addrport old;
	const char *text;

	n->home_region = (uint32_t)ctl_get_int(p, o, "HomeDERP", 0, UINT32_MAX);
	if (n->home_region)
		return;
	text = ctl_get_str(p, o, "DERP", 64);
	if (text && !addrport_parse(text, &old))
		n->home_region = old.port;
}

/* On self, the old list of bare names counts as capabilities without values. */
static void parse_caps(struct ctl_parse *p, const json_t *o, bool self, struct warren_node *n)
{
	const char *const *old;
	struct warren_cap *made;
	uint32_t n_old;

	n->caps = ctl_get_caps(p, o, "CapMap", &n->n_caps);
	if (!self)
		return;
	old = ctl_get_strs(p, o, "Capabilities", &n_old);
	if (!n_old)
		return;
	made = ctl_parse_alloc(p, (size_t)n->n_caps + n_old, sizeof(*made));
	if (!made)
		return;
	if (n->n_caps)
		memcpy(made, n->caps, n->n_caps * sizeof(*made));
	for (uint32_t i = 0; i < n_old; i++)
		made[n->n_caps + i].name = old[i];
	n->caps = made;
	n->n_caps = ctl_caps_sort(made, n->n_caps + n_old);
}

static bool is_default(const struct warren_prefix *prefix)
{
	return prefix->bits == 0;
}

/* Takes default routes out of a list: they hold only for the exit node that is in use. */
static void strip_exit(struct ctl_parse *p, const struct warren_prefix **list, uint32_t *n,
		       struct warren_node *node)
{
	struct warren_prefix *made;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < *n; i++)
		kept += !is_default(&(*list)[i]);
	if (kept == *n)
		return;
	made = ctl_parse_alloc(p, kept, sizeof(*made));
	if (!made)
		return;
	kept = 0;
	for (uint32_t i = 0; i < *n; i++) {
		if (!is_default(&(*list)[i]))
			made[kept++] = (*list)[i];
		else if ((*list)[i].addr.family == 4)
			node->exit_v4 = true;
		else
			node->exit_v6 = true;
	}
	*list = made;
	*n = kept;
}

static void parse_addresses(struct ctl_parse *p, const json_t *o, struct warren_node *n)
{
	bool given = ctl_get(o, "AllowedIPs");

	n->addresses = ctl_get_prefixes(p, o, "Addresses", &n->n_addresses);
	for (uint32_t i = 0; i < n->n_addresses && !p->failed; i++) {
		if (n->addresses[i].bits != 8 * addr_size(&n->addresses[i].addr))
			ctl_parse_fail(p, "Addresses: element %u is no single address", i);
	}
	n->unsigned_peerapi_only = ctl_get_bool(p, o, "UnsignedPeerAPIOnly");
	n->allowed_ips = ctl_get_prefixes(p, o, "AllowedIPs", &n->n_allowed_ips);
	if (!given || n->unsigned_peerapi_only) {
		n->allowed_ips = n->addresses;
		n->n_allowed_ips = n->n_addresses;
	}
	n->primary_routes = ctl_get_prefixes(p, o, "PrimaryRoutes", &n->n_primary_routes);
	if (p->failed)
		return;
	strip_exit(p, &n->allowed_ips, &n->n_allowed_ips, n);
	strip_exit(p, &n->primary_routes, &n->n_primary_routes, n);
	n->masquerade_v4 = ctl_get_addr(p, o, "SelfNodeV4MasqAddrForThisPeer");
	n->masquerade_v6 = ctl_get_addr(p, o, "SelfNodeV6MasqAddrForThisPeer");
	if (n->masquerade_v4.family == 6 || n->masquerade_v6.family == 4)
		ctl_parse_fail(p, "masquerade address of the other family");
}

static int64_t seconds(int64_t nanos)
{
	return nanos / 1000000000;
}

static void parse_identity(struct ctl_parse *p, const json_t *o, struct warren_node *n)
{
	size_t bad;

	n->stable_id = ctl_get_str(p, o, "StableID", NAME_MAX_BYTES);
	n->name = ctl_get_str(p, o, "Name", NAME_MAX_BYTES);
	for (bad = 0; n->name && n->name[bad]; bad++) {
		if ((unsigned char)n->name[bad] <= ' ' || n->name[bad] == 127)
			ctl_parse_fail(p, "Name: a character that no name has");
	}
	n->user = ctl_get_int(p, o, "User", INT64_MIN, INT64_MAX);
	n->sharer = ctl_get_int(p, o, "Sharer", INT64_MIN, INT64_MAX);
	ctl_get_key(p, o, "Key", WARREN_KEYTEXT_NODE, &n->key);
	if (!p->failed && ctl_key_is_zero(&n->key))
		ctl_parse_fail(p, "Key: there is none");
	ctl_get_key(p, o, "DiscoKey", WARREN_KEYTEXT_DISCO, &n->disco_key);
	ctl_get_key(p, o, "Machine", WARREN_KEYTEXT_MACHINE, &n->machine_key);
	n->key_signature = ctl_get_base64(p, o, "KeySignature", &n->n_key_signature);
	if (n->n_key_signature > SIGNATURE_MAX)
		ctl_parse_fail(p, "KeySignature: longer than %d bytes", SIGNATURE_MAX);
}

bool ctl_node_parse(struct ctl_parse *p, const json_t *o, bool self, struct warren_node *n,
		    int64_t *last_seen_ns)
{
	memset(n, 0, sizeof(*n));
	if (!json_is_object(o))
		return ctl_parse_fail(p, "not an object");
	n->id = ctl_get_int(p, o, "ID", INT64_MIN, INT64_MAX);
	if (!p->failed && n->id == 0)
		return ctl_parse_fail(p, "ID: there is none");
	parse_identity(p, o, n);
	parse_addresses(p, o, n);
	n->endpoints = ctl_get_addrports(p, o, "Endpoints", &n->n_endpoints);
	parse_home(p, o, n);
	n->cap_version = (uint32_t)ctl_get_int(p, o, "Cap", 0, INT32_MAX);
	n->tags = ctl_get_strs(p, o, "Tags", &n->n_tags);
	parse_caps(p, o, self, n);
	n->created = seconds(ctl_get_time(p, o, "Created"));
	n->key_expiry = seconds(ctl_get_time(p, o, "KeyExpiry"));
	*last_seen_ns = ctl_get_time(p, o, "LastSeen");
	n->last_seen = seconds(*last_seen_ns);
	n->online = ctl_get_tri(p, o, "Online");
	n->expired = ctl_get_bool(p, o, "Expired");
	n->machine_authorized = ctl_get_bool(p, o, "MachineAuthorized");
	n->wireguard_only = ctl_get_bool(p, o, "IsWireGuardOnly");
	n->jailed = ctl_get_bool(p, o, "IsJailed");
	parse_hostinfo(p, o, n);
	parse_exit_resolvers(p, o, n);
	return !p->failed;
}

/*
 * ---- Deep copies ----
 */

struct pack {
	uint8_t *base;			/* NULL: only counts */
	size_t used;
};

static void *pack_room(struct pack *pack, size_t size, size_t align)
{
	void *at;

	pack->used = (pack->used + align - 1) & ~(align - 1);
	at = pack->base ? pack->base + pack->used : NULL;
	pack->used += size;
	return at;
}

static const void *pack_list(struct pack *pack, const void *from, size_t n, size_t size,
			     size_t align)
{
	void *to;

	if (!n)
		return NULL;
	to = pack_room(pack, n * size, align);
	if (to)
		memcpy(to, from, n * size);
	return to;
}

#define PACK_LIST(pack, list, n) \
	pack_list(pack, list, n, sizeof(*(list)), _Alignof(__typeof__(*(list))))

static const char *pack_text(struct pack *pack, const char *text)
{
	return text ? pack_list(pack, text, strlen(text) + 1, 1, 1) : NULL;
}

static const char *const *pack_texts(struct pack *pack, const char *const *from, uint32_t n)
{
	const char **to;

	if (!n)
		return NULL;
	to = pack_room(pack, n * sizeof(*to), _Alignof(char *));
	for (uint32_t i = 0; i < n; i++) {
		const char *text = pack_text(pack, from[i]);

		if (to)
			to[i] = text;
	}
	return to;
}

static const struct warren_cap *pack_caps(struct pack *pack, const struct warren_cap *from,
					  uint32_t n)
{
	struct warren_cap *to;

	if (!n)
		return NULL;
	to = pack_room(pack, n * sizeof(*to), _Alignof(struct warren_cap));
	for (uint32_t i = 0; i < n; i++) {
		struct warren_cap cap = from[i];

		cap.name = pack_text(pack, cap.name);
		cap.values = pack_texts(pack, cap.values, cap.n_values);
		if (to)
			to[i] = cap;
	}
	return to;
}

static const struct warren_service *pack_services(struct pack *pack,
						  const struct warren_service *from, uint32_t n)
{
	struct warren_service *to;

	if (!n)
		return NULL;
	to = pack_room(pack, n * sizeof(*to), _Alignof(struct warren_service));
	for (uint32_t i = 0; i < n; i++) {
		struct warren_service service = from[i];

		service.proto = pack_text(pack, service.proto);
		service.description = pack_text(pack, service.description);
		if (to)
			to[i] = service;
	}
	return to;
}

static const struct warren_resolver *pack_resolvers(struct pack *pack,
						    const struct warren_resolver *from, uint32_t n)
{
	struct warren_resolver *to;

	if (!n)
		return NULL;
	to = pack_room(pack, n * sizeof(*to), _Alignof(struct warren_resolver));
	for (uint32_t i = 0; i < n; i++) {
		struct warren_resolver resolver = from[i];

		resolver.address = pack_text(pack, resolver.address);
		resolver.bootstrap = PACK_LIST(pack, resolver.bootstrap, resolver.n_bootstrap);
		if (to)
			to[i] = resolver;
	}
	return to;
}

static const struct warren_location *pack_location(struct pack *pack,
						   const struct warren_location *from)
{
	struct warren_location location, *to;

	if (!from)
		return NULL;
	location = *from;
	to = pack_room(pack, sizeof(*to), _Alignof(struct warren_location));
	location.country = pack_text(pack, location.country);
	location.country_code = pack_text(pack, location.country_code);
	location.city = pack_text(pack, location.city);
	location.city_code = pack_text(pack, location.city_code);
	if (to)
		*to = location;
	return to;
}

/* Points all that @n points to into the pack. */
static void pack_node(struct pack *pack, struct warren_node *n)
{
	n->caps = pack_caps(pack, n->caps, n->n_caps);
	n->services = pack_services(pack, n->services, n->n_services);
	n->exit_resolvers = pack_resolvers(pack, n->exit_resolvers, n->n_exit_resolvers);
	n->location = pack_location(pack, n->location);
	n->tags = pack_texts(pack, n->tags, n->n_tags);
	n->ssh_host_keys = pack_texts(pack, n->ssh_host_keys, n->n_ssh_host_keys);
	n->endpoints = PACK_LIST(pack, n->endpoints, n->n_endpoints);
	n->addresses = PACK_LIST(pack, n->addresses, n->n_addresses);
	n->allowed_ips = PACK_LIST(pack, n->allowed_ips, n->n_allowed_ips);
	n->primary_routes = PACK_LIST(pack, n->primary_routes, n->n_primary_routes);
	n->key_signature = PACK_LIST(pack, n->key_signature, n->n_key_signature);
	n->stable_id = pack_text(pack, n->stable_id);
	n->name = pack_text(pack, n->name);
	n->hostname = pack_text(pack, n->hostname);
	n->os = pack_text(pack, n->os);
	n->os_version = pack_text(pack, n->os_version);
	n->app = pack_text(pack, n->app);
}

/* Section 6.7, last paragraph. */
static bool is_dormant(const struct warren_node *n)
{
	return n->expired ||
	       (!n->wireguard_only && ctl_key_is_zero(&n->disco_key) && !n->home_region);
}

struct ctl_record *ctl_record_new(const struct warren_node *view, int64_t last_seen_ns)
{
	struct warren_node count = *view;
	struct ctl_record *record;
	struct pack pack = { NULL, 0 };

	pack_node(&pack, &count);
	record = malloc(sizeof(*record) + pack.used);
	if (!record)
		return NULL;
	memset(record, 0, sizeof(*record));
	record->node = *view;
	pack = (struct pack){ (uint8_t *)(record + 1), 0 };
	pack_node(&pack, &record->node);
	record->node.last_seen = seconds(last_seen_ns);
	record->node.dormant = is_dormant(view);
	record->last_seen_ns = last_seen_ns;
	return record;
}

struct ctl_record *ctl_record_expired(struct ctl_record *base, bool self)
{
	/* Makes a session with the old key fail: ipn/ipnlocal/expiry.go of the stock client. */
	static const uint8_t spoiled[6] = { 0x6d, 0xa7, 0x74, 0xd5, 0xd7, 0x74 };
	struct warren_node view = base->node;
	struct ctl_record *record;

	view.expired = true;
	if (!self) {
		view.n_endpoints = 0;
		view.home_region = 0;
		memcpy(view.key.bytes, spoiled, sizeof(spoiled));
	}
	record = ctl_record_new(&view, base->last_seen_ns);
	if (record)
		record->owned.also = &base->owned;
	return record;
}

/*
 * ---- Patches ----
 */

bool ctl_patch_parse(struct ctl_parse *p, const json_t *o, struct ctl_patch *out)
{
	memset(out, 0, sizeof(*out));
	if (!json_is_object(o))
		return ctl_parse_fail(p, "not an object");
	out->id = ctl_get_int(p, o, "NodeID", INT64_MIN, INT64_MAX);
	if (!p->failed && out->id == 0)
		return ctl_parse_fail(p, "NodeID: there is none");
	out->home_region = (uint32_t)ctl_get_int(p, o, "DERPRegion", 0, UINT32_MAX);
	out->cap_version = (uint32_t)ctl_get_int(p, o, "Cap", 0, INT32_MAX);
	out->has_caps = ctl_get(o, "CapMap");
	out->caps = ctl_get_caps(p, o, "CapMap", &out->n_caps);
	out->has_endpoints = ctl_get(o, "Endpoints");
	out->endpoints = ctl_get_addrports(p, o, "Endpoints", &out->n_endpoints);
	ctl_get_key(p, o, "Key", WARREN_KEYTEXT_NODE, &out->key);
	ctl_get_key(p, o, "DiscoKey", WARREN_KEYTEXT_DISCO, &out->disco_key);
	out->key_signature = ctl_get_base64(p, o, "KeySignature", &out->n_key_signature);
	if (out->n_key_signature > SIGNATURE_MAX)
		ctl_parse_fail(p, "KeySignature: longer than %d bytes", SIGNATURE_MAX);
	out->online = ctl_get_tri(p, o, "Online");
	out->last_seen_ns = ctl_get_time(p, o, "LastSeen");
	out->has_expiry = ctl_get(o, "KeyExpiry");
	out->key_expiry = seconds(ctl_get_time(p, o, "KeyExpiry"));
	return !p->failed;
}

struct ctl_record *ctl_record_patch(const struct ctl_record *base, const struct ctl_patch *patch)
{
	struct warren_node view = base->node;

	if (patch->home_region)
		view.home_region = patch->home_region;
	if (patch->cap_version)
		view.cap_version = patch->cap_version;
	if (patch->has_caps) {
		view.caps = patch->caps;
		view.n_caps = patch->n_caps;
	}
	if (patch->has_endpoints) {
		view.endpoints = patch->endpoints;
		view.n_endpoints = patch->n_endpoints;
	}
	if (!ctl_key_is_zero(&patch->key))
		view.key = patch->key;
	if (!ctl_key_is_zero(&patch->disco_key))
		view.disco_key = patch->disco_key;
	if (patch->n_key_signature) {
		view.key_signature = patch->key_signature;
		view.n_key_signature = patch->n_key_signature;
	}
	if (patch->online)
		view.online = patch->online;
	if (patch->has_expiry)
		view.key_expiry = patch->key_expiry;
	return ctl_record_new(&view, patch->last_seen_ns ? patch->last_seen_ns
							 : base->last_seen_ns);
}
