/*
 * A map as one JSON tree.
 */
#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void model_open(struct model *model)
{
	model->state = json_pack("{s{}s{}s{}s{}}", "peers", "users", "filters", "messages");
	if (!model->state)
		abort();
}

void model_close(struct model *model)
{
	json_decref(model->state);
	model->state = NULL;
}

static json_t *part(const struct model *model, const char *name)
{
	return json_object_get(model->state, name);
}

/* Absent and null are the same. */
static json_t *member(const json_t *o, const char *key)
{
	json_t *value = json_object_get(o, key);

	return json_is_null(value) ? NULL : value;
}

static void put(json_t *o, const char *key, const json_t *value)
{
	if (json_object_set_new(o, key, json_deep_copy(value)))
		abort();
}

static const char *id_key(const json_t *id)
{
	static char text[32];

	(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(id));
	return text;
}

/* Times of the recordings are in UTC; so text of one length with nine digits of a second orders. */
static const char *ordered_time(const json_t *value, char out[40])
{
	const char *text = json_string_value(value);
	const char *dot = text ? strchr(text, '.') : NULL;

	(void)snprintf(out, 40, "%.19s.000000000", text ? text : "0000-00-00T00:00:00");
	for (size_t i = 0; dot && dot[1 + i] >= '0' && dot[1 + i] <= '9' && i < 9; i++)
		out[20 + i] = dot[1 + i];
	return out;
}

static int later(const json_t *a, const json_t *b)
{
	char x[40], y[40];

	return strcmp(ordered_time(a, x), ordered_time(b, y)) > 0;
}

/*
 * ---- Peers ----
 */

static void keep_disco(json_t *node, const json_t *stored)
{
	if (json_is_false(json_object_get(node, "Online")) && member(node, "LastSeen") &&
	    member(stored, "LastSeen") && member(node, "DiscoKey") && member(stored, "DiscoKey") &&
	    !later(member(node, "LastSeen"), member(stored, "LastSeen")))
		put(node, "DiscoKey", member(stored, "DiscoKey"));
}

static void full_list(struct model *model, const json_t *list)
{
	json_t *peers = json_object();
	size_t i;
	json_t *node;

	json_array_foreach(list, i, node) {
		const char *key = id_key(json_object_get(node, "ID"));
		json_t *stored = json_object_get(part(model, "peers"), key);
		json_t *copy = json_deep_copy(node);

		if (stored)
			keep_disco(copy, stored);
		json_object_set_new(peers, key, copy);
	}
	json_object_set_new(model->state, "peers", peers);
}

static void seen(struct model *model, const char *id, const json_t *value, int64_t now)
{
	json_t *node = json_object_get(part(model, "peers"), id);
	time_t seconds = now;
	char text[40];

	if (!node)
		return;
	json_object_del(node, "LastSeen");
	if (!json_is_true(value))
		return;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime(&seconds));
	json_object_set_new(node, "LastSeen", json_string(text));
}

static void patch_one(struct model *model, const json_t *patch, const json_t *before)
{
	static const char *const direct[] = { "CapMap", "Endpoints", "Key", "KeySignature",
					      "DiscoKey", "Online", "LastSeen", "KeyExpiry" };
	const char *id = id_key(json_object_get(patch, "NodeID"));
	json_t *node = json_object_get(part(model, "peers"), id);
	const json_t *stored = json_object_get(before, id);

	if (!node)
		return;
	if (member(patch, "DiscoKey") && json_is_false(json_object_get(patch, "Online")) &&
	    member(patch, "LastSeen") && member(stored, "LastSeen") &&
	    !later(member(patch, "LastSeen"), member(stored, "LastSeen")))
		return;
	for (size_t i = 0; i < sizeof(direct) / sizeof(direct[0]); i++) {
		if (member(patch, direct[i]))
			put(node, direct[i], member(patch, direct[i]));
	}
	if (json_integer_value(json_object_get(patch, "Cap")))
		put(node, "Cap", json_object_get(patch, "Cap"));
	if (json_integer_value(json_object_get(patch, "DERPRegion")))
		put(node, "HomeDERP", json_object_get(patch, "DERPRegion"));
}

static void deltas(struct model *model, const json_t *message, int64_t now)
{
	json_t *before = json_deep_copy(part(model, "peers")), *value;
	const char *key;
	size_t i;

	json_array_foreach(json_object_get(message, "PeersRemoved"), i, value)
		json_object_del(part(model, "peers"), id_key(value));
	json_array_foreach(json_object_get(message, "PeersChanged"), i, value)
		put(part(model, "peers"), id_key(json_object_get(value, "ID")), value);
	json_object_foreach(member(message, "PeerSeenChange"), key, value)
		seen(model, key, value, now);
	json_object_foreach(member(message, "OnlineChange"), key, value) {
		if (json_object_get(part(model, "peers"), key))
			put(json_object_get(part(model, "peers"), key), "Online", value);
	}
	json_array_foreach(json_object_get(message, "PeersChangedPatch"), i, value)
		patch_one(model, value, before);
	json_decref(before);
}

/*
 * ---- The rest ----
 */

static void by_name(struct model *model, const char *name, const json_t *patch)
{
	json_t *all = part(model, name), *value;
	const char *key;

	if (json_object_get(patch, "*") && json_is_null(json_object_get(patch, "*")))
		json_object_clear(all);
	json_object_foreach((json_t *)(uintptr_t)patch, key, value) {
		if (json_is_null(value))
			json_object_del(all, key);
		else
			put(all, key, value);
	}
}

void model_apply(struct model *model, const json_t *message, int64_t now)
{
	static const char *const whole[] = { "Node", "DNSConfig", "SSHPolicy", "Health" };
	json_t *value, *relays = member(message, "DERPMap");
	size_t i;

	if (member(message, "ControlTime"))
		put(model->state, "ControlTime", member(message, "ControlTime"));
	if (json_is_true(json_object_get(message, "KeepAlive")))
		return;
	if (json_array_size(json_object_get(message, "Peers")))
		full_list(model, json_object_get(message, "Peers"));
	else
		deltas(model, message, now);
	for (i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
		if (member(message, whole[i]))
			put(model->state, whole[i], member(message, whole[i]));
	}
	if (json_string_length(json_object_get(message, "Domain")))
		put(model->state, "Domain", json_object_get(message, "Domain"));
	json_array_foreach(json_object_get(message, "UserProfiles"), i, value)
		put(part(model, "users"), id_key(json_object_get(value, "ID")), value);
	if (relays && !part(model, "DERPMap"))
		json_object_set_new(model->state, "DERPMap", json_object());
	if (member(relays, "Regions"))
		put(part(model, "DERPMap"), "Regions", member(relays, "Regions"));
	if (member(relays, "HomeParams"))
		put(part(model, "DERPMap"), "HomeParams", member(relays, "HomeParams"));
	if (member(message, "PacketFilter"))
		put(part(model, "filters"), "base", member(message, "PacketFilter"));
	if (member(message, "PacketFilters"))
		by_name(model, "filters", member(message, "PacketFilters"));
	if (member(message, "DisplayMessages"))
		by_name(model, "messages", member(message, "DisplayMessages"));
}

static json_t *values(json_t *o)
{
	json_t *list = json_array(), *value;
	const char *key;

	json_object_foreach(o, key, value)
		json_array_append_new(list, json_deep_copy(value));
	return list;
}

json_t *model_message(const struct model *model)
{
	json_t *message = json_deep_copy(model->state);

	json_object_set_new(message, "Peers", values(part(model, "peers")));
	json_object_set_new(message, "UserProfiles", values(part(model, "users")));
	put(message, "PacketFilters", part(model, "filters"));
	put(message, "DisplayMessages", part(model, "messages"));
	json_object_del(message, "peers");
	json_object_del(message, "users");
	json_object_del(message, "filters");
	json_object_del(message, "messages");
	return message;
}
