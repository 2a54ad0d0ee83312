/*
 * Records as clients read them (control-protocol.md 6.6, 6.7). What of a peer is the same for all
 * who see it is kept as text until the record changes.
 */
#include "server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/addr.h"
#include "base/str.h"

struct fragment {
	int64_t id;
	uint64_t generation;
	bool routes;			/* serves networks: AllowedIPs depend on the viewer */
	char *text;			/* an object without its end, where they do */
	char *caps;			/* ,"CapMap":{...} or empty */
};

static void add_text(struct str *out, const char *key, const char *value)
{
	str_addf(out, ",\"%s\":", key);
	str_add_json(out, value, strlen(value));
}

void coord_escape(struct str *out, const char *text)
{
	for (; *text; text++) {
		bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
			     (*text >= '0' && *text <= '9') || strchr("-._~", *text);

		if (plain)
			str_addc(out, *text);
		else
			str_addf(out, "%%%02X", (unsigned char)*text);
	}
}

void coord_encode_time(int64_t usec, struct str *out)
{
	time_t seconds = (time_t)(usec / 1000000);
	char text[40];
	struct tm tm;

	if (usec == 0 || !gmtime_r(&seconds, &tm) ||
	    !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(text, sizeof(text), "0001-01-01T00:00:00Z");
	str_addf(out, "\"%s\"", text);
}

void coord_encode_json_take(json_t *json, struct str *out)
{
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	str_add(out, text ? text : "null");
	if (!text)
		out->failed = true;
	free(text);
	json_decref(json);
}

int64_t coord_user_id(const struct tailnet_node *node)
{
	return node->user ? node->user : TAILNET_TAGGED_USER;
}

static void add_key(struct str *out, const char *name, enum warren_keytext kind,
		    const uint8_t key[32])
{
	char text[WARREN_KEYTEXT_MAX];

	str_addf(out, ",\"%s\":\"%s\"", name, warren_keytext_format(kind, key, text));
}

static void add_addresses(const struct tailnet_node *node, struct str *out)
{
	char text[ADDR_TEXT];
	bool both = node->v4.family && node->v6.family;

	if (node->v4.family)
		str_addf(out, "\"%s/32\"%s", addr_format(&node->v4, text), both ? "," : "");
	if (node->v6.family)
		str_addf(out, "\"%s/128\"", addr_format(&node->v6, text));
}

static void add_endpoints(const struct tailnet_node *node, struct str *out)
{
	const struct tailnet_endpoints *list = node->soft.endpoints;
	char text[ADDRPORT_TEXT];

	str_add(out, "[");
	for (uint32_t i = 0; list && i < list->count; i++)
		str_addf(out, "%s\"%s\"", i > 0 ? "," : "",
			 addrport_format(&list->at[i].at, text));
	str_add(out, "]");
}

static void add_tags(const struct tailnet_node *node, struct str *out)
{
	for (uint32_t i = 0; node->tags && i < node->tags->count; i++) {
		str_add(out, i > 0 ? "," : ",\"Tags\":[");
		str_add_json(out, node->tags->at[i], strlen(node->tags->at[i]));
	}
	if (node->tags && node->tags->count > 0)
		str_add(out, "]");
}

/* Of a peer's Hostinfo, what others have a use for; of one's own, all. */
static json_t *hostinfo_of(const struct tailnet_node *node, bool whole)
{
	static const char *const shown[] = { "OS", "Hostname", "Services", "sshHostKeys",
					     "PeerRelay", "Location" };
	json_t *from = node->soft.hostinfo ? json_loads(node->soft.hostinfo, 0, NULL) : NULL;
	json_t *o = json_object();

	if (whole && from) {
		json_decref(o);
		return from;
	}
	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
		json_t *value = json_object_get(from, shown[i]);

		if (value)
			json_object_set(o, shown[i], value);
	}
	json_decref(from);
	return o;
}

bool coord_hostinfo_differs(const struct tailnet_node *before, const struct tailnet_node *after)
{
	json_t *a = hostinfo_of(before, false), *b = hostinfo_of(after, false);
	bool differs = !json_equal(a, b);

	json_decref(a);
	json_decref(b);
	return differs;
}

/* From { on, without the viewer's part. */
static void add_node(struct coord *coord, const struct tailnet_node *node, bool self,
		     struct str *out)
{
	char name[TAILNET_FQDN];

	str_addf(out, "{\"ID\":%" PRId64 ",\"StableID\":\"%" PRId64 "\",\"Name\":", node->id,
		 node->id);
	tailnet_fqdn(coord->tailnet, node, name);
	str_add_json(out, name, strlen(name));
	str_addf(out, ",\"User\":%" PRId64, coord_user_id(node));
	add_key(out, "Key", WARREN_KEYTEXT_NODE, node->node_key);
	str_add(out, ",\"KeyExpiry\":");
	coord_encode_time(node->expiry, out);
	add_key(out, "Machine", WARREN_KEYTEXT_MACHINE, node->machine_key);
	add_key(out, "DiscoKey", WARREN_KEYTEXT_DISCO, node->soft.disco_key);
	str_add(out, ",\"Addresses\":[");
	add_addresses(node, out);
	str_add(out, "],\"Endpoints\":");
	add_endpoints(node, out);
	str_addf(out, ",\"HomeDERP\":%u,\"DERP\":\"127.3.3.40:%u\"", node->soft.home_derp,
		 node->soft.home_derp);
	str_add(out, ",\"Hostinfo\":");
	coord_encode_json_take(hostinfo_of(node, self), out);
	str_add(out, ",\"Created\":");
	coord_encode_time(node->created, out);
	if (node->soft.capver)
		str_addf(out, ",\"Cap\":%u", node->soft.capver);
	add_tags(node, out);
	str_addf(out, ",\"Online\":%s", node->live.online ? "true" : "false");
	if (!node->live.online && node->soft.last_seen) {
		str_add(out, ",\"LastSeen\":");
		coord_encode_time(node->soft.last_seen, out);
	}
	if (node->live.expired)
		str_add(out, ",\"Expired\":true");
	if (!self && coord_wireguard_only(node))
		str_add(out, ",\"IsWireGuardOnly\":true");
	if (self || node->authorized)
		str_addf(out, ",\"MachineAuthorized\":%s", node->authorized ? "true" : "false");
}

/* ---- peers ---- */

bool coord_wireguard_only(const struct tailnet_node *node)
{
	static const uint8_t none[TAILNET_KEY_SIZE];

	return node->soft.endpoints && node->soft.endpoints->count > 0 &&
	       memcmp(node->soft.disco_key, none, sizeof(none)) == 0;
}

static void fragment_free(struct fragment *f)
{
	if (!f)
		return;
	free(f->text);
	free(f->caps);
	free(f);
}

void coord_fragment_drop(struct coord *coord, int64_t node)
{
	fragment_free(hash_del(&coord->fragments, &node, sizeof(node)));
}

void coord_fragments_free(struct coord *coord)
{
	struct fragment *f;

	for (uint32_t pos = 0; (f = hash_next(&coord->fragments, &pos));)
		fragment_free(f);
	hash_free(&coord->fragments);
}

static char *peer_caps(const struct coord *coord, int64_t node)
{
	json_t *caps = policy_world_peer_caps(coord->world, node), *cap;
	struct str text = STR_INIT;
	size_t i;

	str_add(&text, "");
	text.failed = text.failed || !caps;
	json_array_foreach(caps, i, cap) {
		str_add(&text, i == 0 ? ",\"CapMap\":{" : ",");
		str_add_json(&text, json_string_value(cap), json_string_length(cap));
		str_add(&text, ":null");
	}
	str_add(&text, json_array_size(caps) > 0 ? "}" : "");
	json_decref(caps);
	return str_take(&text);
}

bool coord_caps_changed(struct coord *coord, int64_t node)
{
	struct fragment *f = hash_get(&coord->fragments, &node, sizeof(node));
	char *caps;
	bool changed;

	if (!f)				/* nobody was told of it */
		return false;
	caps = peer_caps(coord, node);
	changed = !str_equal(caps, f->caps);
	free(caps);
	if (changed)
		coord_fragment_drop(coord, node);
	return changed;
}

static bool fragment_fill(struct coord *coord, const struct tailnet_node *node,
			  struct fragment *f)
{
	struct str text = STR_INIT;

	f->id = node->id;
	f->generation = node->generation;
	f->routes = node->approved && node->approved->count > 0;
	f->caps = peer_caps(coord, node->id);
	add_node(coord, node, false, &text);
	if (!f->routes) {
		str_add(&text, ",\"AllowedIPs\":[");
		add_addresses(node, &text);
		str_addf(&text, "]%s}", f->caps ? f->caps : "");
	}
	f->text = str_take(&text);
	return f->text && f->caps && !hash_put(&coord->fragments, &f->id, sizeof(f->id), f, NULL);
}

static const struct fragment *fragment_of(struct coord *coord, const struct tailnet_node *node)
{
	struct fragment *f = hash_get(&coord->fragments, &node->id, sizeof(node->id));

	if (f && f->generation == node->generation)
		return f;
	coord_fragment_drop(coord, node->id);
	f = calloc(1, sizeof(*f));
	if (f && fragment_fill(coord, node, f))
		return f;
	fragment_free(f);
	return NULL;
}

bool coord_encode_peer(struct coord *coord, int64_t viewer, const struct tailnet_node *node,
		       struct str *out)
{
	const struct fragment *f = fragment_of(coord, node);
	json_t *subnets = NULL;

	if (!f)
		return false;
	str_add(out, f->text);
	if (!f->routes)
		return !out->failed;
	str_add(out, ",\"AllowedIPs\":");
	coord_encode_json_take(policy_world_allowed(coord->world, viewer, node->id, &subnets), out);
	if (json_array_size(subnets) > 0) {
		str_add(out, ",\"PrimaryRoutes\":");
		coord_encode_json_take(json_incref(subnets), out);
	}
	json_decref(subnets);
	str_addf(out, "%s}", f->caps);
	return !out->failed;
}

/* ---- oneself ---- */

static void add_caps(struct coord *coord, const struct tailnet_node *node, struct str *out)
{
	static const char *const all[] = {
		"https://tailscale.com/cap/file-sharing", "https://tailscale.com/cap/ssh",
		"ssh-behavior-v1", "ssh-env-vars", "probe-udp-lifetime", "store-appc-routes", NULL,
	};
	const struct tailnet_user *user = node->user ? tailnet_user(coord->tailnet, node->user) :
						       NULL;
	json_t *caps = policy_world_caps(coord->world, node->id);

	for (size_t i = 0; all[i]; i++)
		json_object_set_new(caps, all[i], json_null());
	json_object_set_new(caps, "default-auto-update", json_pack("[b]", 0));
	json_object_set_new(caps, "tailnet-display-name", json_pack("[s]", coord->base_domain));
	if (coord->zone)		/* it can have a certificate for its name */
		json_object_set_new(caps, "https", json_null());
	if (user && user->role == TAILNET_OWNER)
		json_object_set_new(caps, "https://tailscale.com/cap/is-owner", json_null());
	if (user && (user->role == TAILNET_OWNER || user->role == TAILNET_ADMIN))
		json_object_set_new(caps, "https://tailscale.com/cap/is-admin", json_null());
	str_add(out, ",\"CapMap\":");
	coord_encode_json_take(caps, out);
}

void coord_encode_self(struct coord *coord, const struct tailnet_node *node, struct str *out)
{
	char text[PREFIX_TEXT];
	const struct tailnet_prefixes *primary = node->live.primary;
	uint32_t n = 0;

	add_node(coord, node, true, out);
	str_add(out, ",\"AllowedIPs\":[");
	add_addresses(node, out);
	for (uint32_t i = 0; node->approved && i < node->approved->count; i++) {
		const struct warren_prefix *p = &node->approved->at[i];

		if (tailnet_node_serves(node, p) &&
		    (p->bits == 0 || (primary && tailnet_prefixes_have(primary, p))))
			str_addf(out, ",\"%s\"", prefix_format(p, text));
	}
	str_add(out, "]");
	for (uint32_t i = 0; primary && i < primary->count; i++) {
		if (primary->at[i].bits > 0)
			str_addf(out, "%s\"%s\"", n++ ? "," : ",\"PrimaryRoutes\":[",
				 prefix_format(&primary->at[i], text));
	}
	str_add(out, n > 0 ? "]" : "");
	add_caps(coord, node, out);
	str_add(out, "}");
}

/* ---- a patch of a peer (6.6) ---- */

static void add_presence(const struct tailnet_node *node, uint32_t fields, struct str *out)
{
	if (fields & TAILNET_F_ONLINE)
		str_addf(out, ",\"Online\":%s", node->live.online ? "true" : "false");
	if (!node->live.online && node->soft.last_seen) {
		str_add(out, ",\"LastSeen\":");
		coord_encode_time(node->soft.last_seen, out);
	}
}

/*
 * A new node key goes with all that sessions need. Whether a node is online is said apart from its
 * disco key: clients drop a patch that has both when they know the "last seen" already (6.5).
 */
void coord_encode_patch(const struct tailnet_node *node, uint32_t fields, struct str *out)
{
	const uint32_t presence = TAILNET_F_ONLINE | TAILNET_F_LAST_SEEN;

	if (fields & TAILNET_F_NODE_KEY)
		fields |= TAILNET_F_DISCO_KEY | TAILNET_F_ENDPOINTS | TAILNET_F_EXPIRY;
	str_addf(out, "{\"NodeID\":%" PRId64, node->id);
	if (fields & TAILNET_F_HOME_DERP)
		str_addf(out, ",\"DERPRegion\":%u", node->soft.home_derp);
	if (fields & TAILNET_F_CAPVER)
		str_addf(out, ",\"Cap\":%u", node->soft.capver);
	if (fields & TAILNET_F_ENDPOINTS) {
		str_add(out, ",\"Endpoints\":");
		add_endpoints(node, out);
	}
	if (fields & TAILNET_F_NODE_KEY)
		add_key(out, "Key", WARREN_KEYTEXT_NODE, node->node_key);
	if (fields & TAILNET_F_DISCO_KEY)
		add_key(out, "DiscoKey", WARREN_KEYTEXT_DISCO, node->soft.disco_key);
	if (fields & TAILNET_F_EXPIRY) {
		str_add(out, ",\"KeyExpiry\":");
		coord_encode_time(node->expiry, out);
	}
	if ((fields & presence) && (fields & TAILNET_F_DISCO_KEY))
		str_addf(out, "},{\"NodeID\":%" PRId64, node->id);
	if (fields & presence)
		add_presence(node, fields, out);
	str_add(out, "}");
}

void coord_encode_user(const struct tailnet_user *user, struct str *out)
{
	str_addf(out, "{\"ID\":%" PRId64, user ? user->id : TAILNET_TAGGED_USER);
	add_text(out, "LoginName", user ? user->login : "tagged-devices");
	add_text(out, "DisplayName", user ? user->display : "Tagged Devices");
	if (user && user->picture[0])
		add_text(out, "ProfilePicURL", user->picture);
	str_add(out, "}");
}
