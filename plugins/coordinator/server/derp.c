/*
 * The relays that clients are told of (control-protocol.md 6.9). A region that is null, or whose
 * numbers differ, makes stock clients crash or stay without a home: such a file is refused.
 */
#include "server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/hex.h"

static bool is_text(const json_t *o, const char *key)
{
	return json_string_length(json_object_get(o, key)) > 0;
}

/* What is wrong with it, or NULL. */
static const char *node_wrong(const json_t *node, json_int_t region)
{
	if (!json_is_object(node))
		return "a node is no object";
	if (json_integer_value(json_object_get(node, "RegionID")) != region)
		return "the RegionID of a node is not that of its region";
	return is_text(node, "Name") && is_text(node, "HostName") ? NULL :
	       "a node has no Name or no HostName";
}

static const char *region_wrong(const char *key, const json_t *region)
{
	const json_t *nodes = json_object_get(region, "Nodes");
	char *end;
	intmax_t id = strtoimax(key, &end, 10);
	const char *wrong = NULL;

	if (!json_is_object(region))
		return "it is no object";
	if (*end || id <= 0 || json_integer_value(json_object_get(region, "RegionID")) != id)
		return "its RegionID is not the number that it stands under";
	if (json_array_size(nodes) == 0)
		return "it has no Nodes";
	for (size_t i = 0; i < json_array_size(nodes) && !wrong; i++)
		wrong = node_wrong(json_array_get(nodes, i), id);
	return wrong;
}

char *coord_derp_parse(const char *text, size_t len, struct warren_err *err)
{
	json_error_t error;
	json_t *map = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	const json_t *regions = json_object_get(map, "Regions");
	const char *key, *wrong = NULL;
	json_t *region;
	char *out = NULL;

	if (!map) {
		warren_fail(err, NULL, "the map of relays is no JSON: line %d, column %d: %s",
			    error.line, error.column, error.text);
		return NULL;
	}
	json_object_foreach((json_t *)(uintptr_t)regions, key, region) {
		wrong = region_wrong(key, region);
		if (wrong)
			break;
	}
	if (wrong)
		warren_fail(err, NULL, "region %s of the map of relays is refused: %s", key, wrong);
	else if (json_object_size(regions) == 0)
		warren_fail(err, NULL, "the map of relays has no Regions");
	else
		out = json_dumps(map, JSON_COMPACT);
	json_decref(map);
	return out;
}

/* ---- the relay of this box ---- */

static json_t *node_of(const struct warren_relay_server_info *relay, const char *host)
{
	char name[16], pin[12 + 64] = "sha256-raw:";
	struct warren_addr addr;
	json_t *node;

	snprintf(name, sizeof(name), "%ua", relay->region);
	node = json_pack("{s:s, s:i, s:s, s:i, s:i, s:b}", "Name", name, "RegionID", relay->region,
			 "HostName", host, "DERPPort", relay->port, "STUNPort",
			 relay->stun_port ? relay->stun_port : -1, "CanPort80", relay->port80);
	if (!node)
		return NULL;
	if (addr_parse(host, &addr) == 0) {	/* an address needs no name, and has one family */
		json_object_set_new(node, addr.family == 4 ? "IPv4" : "IPv6", json_string(host));
		json_object_set_new(node, addr.family == 4 ? "IPv6" : "IPv4", json_string("none"));
	}
	hex_encode(pin + strlen(pin), relay->sha256, 32);
	if (relay->pinned)
		json_object_set_new(node, "CertName", json_string(pin));
	return node;
}

char *coord_derp_with(const char *map, const struct warren_relay_server_info *relay,
		      const char *host)
{
	json_t *whole = map ? json_loads(map, 0, NULL) :
			json_pack("{s:b, s:{}}", "OmitDefaultRegions", 1, "Regions");
	json_t *regions = json_object_get(whole, "Regions"), *node, *region;
	char id[8], *out = NULL;

	snprintf(id, sizeof(id), "%u", relay->region);
	if (json_object_get(regions, id)) {
		json_decref(whole);
		return strdup(map);
	}
	node = node_of(relay, relay->host ? relay->host : host);
	region = json_pack("{s:i, s:s, s:s, s:[o]}", "RegionID", relay->region, "RegionCode",
			   relay->code, "RegionName", relay->name, "Nodes", node);
	if (region && json_object_set_new(regions, id, region) == 0)
		out = json_dumps(whole, JSON_COMPACT);
	json_decref(whole);
	return out;
}

void coord_derp_merge(struct coord *coord)
{
	struct warren_relay_server_info relay = { .size = sizeof(relay) };
	struct warren_url url;
	char *map = NULL;

	if (coord->relay && !warren_url_parse(coord->url, &url, NULL)) {
		coord->relay->describe(coord->relay_self, &relay);
		map = coord_derp_with(coord->derp_file, &relay, url.host);
	} else if (coord->derp_file) {
		map = strdup(coord->derp_file);
	}
	free(coord->derp_map);
	coord->derp_map = map;
}
