/*
 * The relays that clients are told of (control-protocol.md 6.9). A region that is null, or whose
 * numbers differ, makes stock clients crash or stay without a home: such a file is refused.
 */
#include "server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

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

json_t *coord_derp_parse(const char *text, size_t len, struct warren_err *err)
{
	json_error_t error;
	json_t *map = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	const json_t *regions = json_object_get(map, "Regions");
	const char *key, *wrong = NULL;
	json_t *region;

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
		return map;
	json_decref(map);
	return NULL;
}
