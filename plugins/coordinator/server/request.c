/*
 * The JSON of clients (control-protocol.md 5.1, 6.1). Fields of a wrong type are an error, unknown
 * ones are left alone.
 */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../tailnet/rules.h"
#include "base/addr.h"
#include "base/str.h"

static int bad(struct warren_err *err, const char *what)
{
	return warren_fail_key(err, -EBADMSG, NULL, NULL, "%s is not as expected", what);
}

static json_t *load(const void *data, size_t len, struct warren_err *err)
{
	json_t *o = json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(o))
		return o;
	json_decref(o);
	(void)bad(err, "the request's JSON");
	return NULL;
}

/* NULL: absent. False: of a wrong type. */
static bool get_text(const json_t *o, const char *key, const char **out)
{
	const json_t *value = json_object_get(o, key);

	*out = json_string_value(value);
	return !value || json_is_null(value) || *out;
}

static bool get_key(const json_t *o, const char *key, enum warren_keytext kind, uint8_t out[32])
{
	const char *text;

	memset(out, 0, 32);
	return get_text(o, key, &text) && (!text || !text[0] ||
					   warren_keytext_parse(kind, text, out, NULL) == 0);
}

static bool get_int(const json_t *o, const char *key, int64_t *out)
{
	const json_t *value = json_object_get(o, key);

	*out = json_integer_value(value);
	return !value || json_is_null(value) || json_is_integer(value);
}

static bool get_bool(const json_t *o, const char *key, bool *out)
{
	const json_t *value = json_object_get(o, key);

	*out = json_is_true(value);
	return !value || json_is_null(value) || json_is_boolean(value);
}

/* RFC 3339, to the second; the zero time is none. */
static bool get_time(const json_t *o, const char *key, bool *has, int64_t *out)
{
	const char *text, *end;
	struct tm tm = { 0 };

	*has = false;
	*out = 0;
	if (!get_text(o, key, &text))
		return false;
	if (!text || str_starts(text, "0001-01-01T00:00:00"))
		return true;
	end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!end)
		return false;
	*out = (int64_t)timegm(&tm) * 1000000;
	*has = true;
	return true;
}

static bool get_strings(const json_t *list, const char **out, uint32_t max, uint32_t *n)
{
	*n = 0;
	if (list && !json_is_null(list) && !json_is_array(list))
		return false;
	if (json_array_size(list) > max)
		return false;
	for (size_t i = 0; i < json_array_size(list); i++) {
		out[*n] = json_string_value(json_array_get(list, i));
		if (!out[(*n)++])
			return false;
	}
	return true;
}

static bool get_routes(const json_t *list, struct warren_prefix **out, uint32_t *n)
{
	*out = NULL;
	*n = 0;
	if (!list || json_is_null(list))
		return true;
	if (!json_is_array(list) || json_array_size(list) > TAILNET_ROUTES)
		return false;
	*out = calloc(json_array_size(list) + 1, sizeof(**out));
	for (size_t i = 0; *out && i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (!text || prefix_parse(text, &(*out)[*n]))
			return false;
		prefix_mask(&(*out)[(*n)++]);
	}
	return *out != NULL;
}

/* What both requests have of it; the whole goes on as text. */
static bool get_hostinfo(const json_t *o, const char **hostname, char **text,
			 struct warren_prefix **routes, uint32_t *n_routes, uint32_t *home_derp)
{
	const json_t *info = json_object_get(o, "Hostinfo");
	int64_t region;

	*text = NULL;
	*hostname = NULL;
	*home_derp = 0;
	if (!info || json_is_null(info))
		return true;
	if (!json_is_object(info) || !get_text(info, "Hostname", hostname) ||
	    !get_routes(json_object_get(info, "RoutableIPs"), routes, n_routes) ||
	    !get_int(json_object_get(info, "NetInfo"), "PreferredDERP", &region))
		return false;
	*home_derp = region > 0 && region <= UINT16_MAX ? (uint32_t)region : 0;
	*text = json_dumps(info, JSON_COMPACT);
	return *text && strlen(*text) <= TAILNET_HOSTINFO;
}

/* ---- register ---- */

static const char *read_register(struct register_request *r)
{
	const json_t *o = r->json, *auth = json_object_get(o, "Auth");

	if (!get_int(o, "Version", &r->version))
		return "Version";
	if (!get_key(o, "NodeKey", WARREN_KEYTEXT_NODE, r->node_key))
		return "NodeKey";
	if (!get_key(o, "OldNodeKey", WARREN_KEYTEXT_NODE, r->old_node_key))
		return "OldNodeKey";
	if (!get_time(o, "Expiry", &r->has_expiry, &r->expiry))
		return "Expiry";
	if ((auth && !json_is_null(auth) && !json_is_object(auth)) ||
	    !get_text(auth, "AuthKey", &r->auth_key))
		return "Auth";
	if (!get_text(o, "Followup", &r->followup))
		return "Followup";
	if (!get_hostinfo(o, &r->hostname, &r->hostinfo, &r->routes, &r->n_routes,
			  &r->home_derp) ||
	    !get_strings(json_object_get(json_object_get(o, "Hostinfo"), "RequestTags"), r->tags,
			 TAILNET_TAGS, &r->n_tags))
		return "Hostinfo";
	return NULL;
}

int register_request_parse(const void *data, size_t len, struct register_request *out,
			   struct warren_err *err)
{
	const char *wrong;

	memset(out, 0, sizeof(*out));
	out->json = load(data, len, err);
	if (!out->json)
		return -EBADMSG;
	wrong = read_register(out);
	if (wrong)
		return bad(err, wrong);
	if (out->auth_key && !out->auth_key[0])
		out->auth_key = NULL;
	if (out->followup && !out->followup[0])
		out->followup = NULL;
	return 0;
}

void register_request_free(struct register_request *r)
{
	free(r->hostinfo);
	free(r->routes);
	json_decref(r->json);
	memset(r, 0, sizeof(*r));
}

/* ---- map ---- */

/* Is it of any use to another host? (7.4) */
static bool usable(const struct warren_addrport *at)
{
	const uint8_t *b = at->addr.bytes;
	static const uint8_t zero[15];
	bool low = memcmp(b, zero, sizeof(zero)) == 0;	/* :: and ::1 */

	if (!at->port)
		return false;
	if (at->addr.family == 4)
		return b[0] != 0 && b[0] != 127 && b[0] < 224;
	return !(low && b[15] <= 1) && !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80) && b[0] != 0xff;
}

static bool get_endpoints(struct map_request *r)
{
	const json_t *list = json_object_get(r->json, "Endpoints");
	const json_t *types = json_object_get(r->json, "EndpointTypes");

	if ((list && !json_is_null(list) && !json_is_array(list)) ||
	    (types && !json_is_null(types) && !json_is_array(types)))
		return false;
	for (size_t i = 0; i < json_array_size(list) && r->n_endpoints < TAILNET_ENDPOINTS; i++) {
		const char *text = json_string_value(json_array_get(list, i));
		struct tailnet_endpoint *e = &r->endpoints[r->n_endpoints];

		if (!text)
			return false;
		if (addrport_parse(text, &e->at) || !usable(&e->at))
			continue;	/* with a zone, say */
		e->type = (uint8_t)json_integer_value(json_array_get(types, i));
		r->n_endpoints++;
	}
	return true;
}

static const char *read_map(struct map_request *r)
{
	const json_t *o = r->json;
	const char *compress;

	if (!get_int(o, "Version", &r->version))
		return "Version";
	if (!get_key(o, "NodeKey", WARREN_KEYTEXT_NODE, r->node_key))
		return "NodeKey";
	if (!get_key(o, "DiscoKey", WARREN_KEYTEXT_DISCO, r->disco_key))
		return "DiscoKey";
	if (!get_text(o, "Compress", &compress))
		return "Compress";
	r->zstd = compress && strcmp(compress, "zstd") == 0;
	if (!get_bool(o, "KeepAlive", &r->keep_alive) || !get_bool(o, "Stream", &r->stream) ||
	    !get_bool(o, "OmitPeers", &r->omit_peers))
		return "Stream";
	if (!get_endpoints(r))
		return "Endpoints";
	r->has_hostinfo = json_is_object(json_object_get(o, "Hostinfo"));
	if (!get_hostinfo(o, &r->hostname, &r->hostinfo, &r->routes, &r->n_routes,
			  &r->home_derp))
		return "Hostinfo";
	return NULL;
}

int map_request_parse(const void *data, size_t len, struct map_request *out,
		      struct warren_err *err)
{
	const char *wrong;

	memset(out, 0, sizeof(*out));
	out->json = load(data, len, err);
	if (!out->json)
		return -EBADMSG;
	wrong = read_map(out);
	return wrong ? bad(err, wrong) : 0;
}

void map_request_free(struct map_request *r)
{
	free(r->hostinfo);
	free(r->routes);
	json_decref(r->json);
	memset(r, 0, sizeof(*r));
}

/* ---- what is asked beside ---- */

/* Of a node that says which it is. */
static int load_of_node(const void *data, size_t len, json_t **json, uint8_t node_key[32],
			struct warren_err *err)
{
	*json = load(data, len, err);
	if (!*json)
		return -EBADMSG;
	return get_key(*json, "NodeKey", WARREN_KEYTEXT_NODE, node_key) ? 0 : bad(err, "NodeKey");
}

int feature_query_parse(const void *data, size_t len, struct feature_query *out,
			struct warren_err *err)
{
	int result;

	memset(out, 0, sizeof(*out));
	result = load_of_node(data, len, &out->json, out->node_key, err);
	if (result)
		return result;
	return get_text(out->json, "Feature", &out->feature) && out->feature ?
	       0 : bad(err, "Feature");
}

int audit_report_parse(const void *data, size_t len, struct audit_report *out,
		       struct warren_err *err)
{
	const char *action;
	int result;

	memset(out, 0, sizeof(*out));
	result = load_of_node(data, len, &out->json, out->node_key, err);
	if (result)
		return result;
	if (!get_text(out->json, "Action", &action) || !action ||
	    strcmp(action, "DISCONNECT_NODE") != 0)
		return bad(err, "Action");
	if (!get_text(out->json, "Details", &out->details))
		return bad(err, "Details");
	if (!out->details)
		out->details = "";
	return strlen(out->details) <= AUDIT_DETAILS ? 0 : bad(err, "Details");
}

int dns_request_parse(const void *data, size_t len, struct dns_request *out,
		      struct warren_err *err)
{
	const char *type;
	int result;

	memset(out, 0, sizeof(*out));
	result = load_of_node(data, len, &out->json, out->node_key, err);
	if (result)
		return result;
	if (!get_text(out->json, "Type", &type) || !type || strcmp(type, "TXT") != 0)
		return bad(err, "Type");
	if (!get_text(out->json, "Name", &out->name) || !out->name || !out->name[0])
		return bad(err, "Name");
	return get_text(out->json, "Value", &out->value) && out->value && out->value[0] ?
	       0 : bad(err, "Value");
}

int attribute_update_parse(const void *data, size_t len, struct attribute_update *out,
			   struct warren_err *err)
{
	int result;

	memset(out, 0, sizeof(*out));
	result = load_of_node(data, len, &out->json, out->node_key, err);
	if (result)
		return result;
	out->update = json_object_get(out->json, "Update");
	return json_is_object(out->update) &&
	       json_object_size(out->update) <= TAILNET_ATTRIBUTES ? 0 : bad(err, "Update");
}

bool attribute_spell(struct str *out, const char *name, const json_t *value)
{
	const char *text = json_string_value(value);

	str_addf(out, "%s=", name);
	if (text)
		str_addf(out, "\"%s\"", text);
	else if (json_is_integer(value))
		str_addf(out, "%lld", (long long)json_integer_value(value));
	else if (json_is_real(value))		/* with an exponent it is not kept */
		str_addf(out, "%.15g", json_real_value(value));
	else if (json_is_boolean(value))
		str_add(out, json_is_true(value) ? "true" : "false");
	else if (json_is_null(value))
		str_add(out, "null");
	else
		return false;
	return (!text || strlen(text) == json_string_length(value)) &&
	       rules_attribute_valid(str_text(out), true);
}

/* ---- verify (4.3) ---- */

int verify_request_parse(const void *data, size_t len, uint8_t key[32], struct warren_err *err)
{
	json_t *o = load(data, len, err);
	bool ok = o && get_key(o, "NodePublic", WARREN_KEYTEXT_NODE, key);

	json_decref(o);
	return ok ? 0 : bad(err, "NodePublic");
}
