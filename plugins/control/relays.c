/*
 * DERPMap, section 6.9. Its two members are told independently of each other, so both are kept as
 * they came and read anew when one of them changes; there are a few dozen regions.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "parts.h"

enum { SCORE_NONE = 1000 };		/* a factor of 1 */

/* An address to use, "none", or nothing: look it up. */
static bool parse_ip(struct ctl_parse *p, const json_t *o, const char *key, uint8_t family,
		     struct warren_addr *out)
{
	const char *text = ctl_get_str(p, o, key, 64);

	if (!text)
		return false;
	if (!strcmp(text, "none"))
		return true;
	if (addr_parse(text, out) || out->family != family)
		ctl_parse_fail(p, "%s: not an address of its family", key);
	return false;
}

static void parse_node(struct ctl_parse *p, const json_t *o, int64_t region,
		       struct warren_relay_node *node)
{
	int64_t id;

	if (!json_is_object(o)) {
		ctl_parse_fail(p, "not an object");
		return;
	}
	id = ctl_get_int(p, o, "RegionID", 0, INT64_MAX);
	if (id && id != region)
		ctl_parse_fail(p, "RegionID: not that of its region");
	node->name = ctl_get_str(p, o, "Name", 255);
	node->host_name = ctl_get_str(p, o, "HostName", 255);
	node->cert_name = ctl_get_str(p, o, "CertName", 255);
	if (!p->failed && (!node->name || !node->host_name))
		ctl_parse_fail(p, "without Name or HostName");
	node->no_ipv4 = parse_ip(p, o, "IPv4", 4, &node->ipv4);
	node->no_ipv6 = parse_ip(p, o, "IPv6", 6, &node->ipv6);
	node->stun_port = (int32_t)ctl_get_int(p, o, "STUNPort", -1, UINT16_MAX);
	node->stun_port = node->stun_port ? node->stun_port : 3478;
	node->derp_port = (int32_t)ctl_get_int(p, o, "DERPPort", 0, UINT16_MAX);
	node->derp_port = node->derp_port ? node->derp_port : 443;
	node->stun_only = ctl_get_bool(p, o, "STUNOnly");
	node->insecure_for_tests = ctl_get_bool(p, o, "InsecureForTests");
	node->can_port80 = ctl_get_bool(p, o, "CanPort80");
}

static void parse_nodes(struct ctl_parse *p, const json_t *o, struct warren_relay_region *region)
{
	uint32_t n;
	const json_t *list = ctl_get_array(p, o, "Nodes", &n);
	struct warren_relay_node *made = ctl_parse_alloc(p, n, sizeof(*made));

	for (uint32_t i = 0; made && i < n; i++) {
		struct ctl_parse element = ctl_parse_element(p);
		struct warren_relay_node node = { 0 };

		if (json_is_null(json_array_get(list, i)))
			continue;
		parse_node(&element, json_array_get(list, i), region->id, &node);
		if (ctl_parse_merge(p, &element, "relay", i))
			made[region->n_nodes++] = node;
	}
	region->nodes = made;
}

/* The key of Regions decides; RegionID may be missing, but must not contradict. */
static void parse_region(struct ctl_parse *p, const char *key, const json_t *o,
			 const json_t *scores, struct warren_relay_region *region)
{
	char *end;
	int64_t id;

	errno = 0;
	id = strtoll(key, &end, 10);
	if (errno || end == key || *end || id < 1 || id > UINT32_MAX) {
		ctl_parse_fail(p, "not a number of a region");
		return;
	}
	if (!json_is_object(o)) {
		ctl_parse_fail(p, "not an object");
		return;
	}
	region->id = (uint32_t)id;
	id = ctl_get_int(p, o, "RegionID", 0, INT64_MAX);
	if (id && id != region->id)
		ctl_parse_fail(p, "RegionID: %lld under another key", (long long)id);
	region->code = ctl_get_str(p, o, "RegionCode", 255);
	region->name = ctl_get_str(p, o, "RegionName", 255);
	region->no_measure_no_home = ctl_get_bool(p, o, "NoMeasureNoHome");
	region->avoid = ctl_get_bool(p, o, "Avoid");
	region->latitude_e4 = ctl_get_scaled(p, o, "Latitude", 1e4);
	region->longitude_e4 = ctl_get_scaled(p, o, "Longitude", 1e4);
	region->score_e3 = ctl_get_scaled(p, scores, key, 1e3);
	if (region->score_e3 <= 0)
		region->score_e3 = SCORE_NONE;
	parse_nodes(p, o, region);
}

static int by_id(const void *a, const void *b)
{
	uint32_t x = ((const struct warren_relay_region *)a)->id;
	uint32_t y = ((const struct warren_relay_region *)b)->id;

	return (x > y) - (x < y);
}

static void parse_regions(struct ctl_parse *p, json_t *regions, const json_t *scores,
			  struct ctl_relays *relays)
{
	struct warren_relay_region *made;
	const char *key;
	json_t *value;
	int64_t at = 0;

	if (json_object_size(regions) > p->list_max) {
		ctl_parse_fail(p, "Regions: more than %u members", p->list_max);
		return;
	}
	made = ctl_parse_alloc(p, json_object_size(regions), sizeof(*made));
	if (!made)
		return;
	json_object_foreach(regions, key, value) {
		struct ctl_parse element = ctl_parse_element(p);
		struct warren_relay_region region = { 0 };

		at++;
		if (json_is_null(value))
			continue;
		parse_region(&element, key, value, scores, &region);
		if (ctl_parse_merge(p, &element, "relay region, in order", at))
			made[relays->n_regions++] = region;
	}
	qsort(made, relays->n_regions, sizeof(*made), by_id);
	relays->regions = made;
}

/* The value under @key of @o, or the text of before as JSON; @text is what to keep of it. */
static json_t *member(struct ctl_parse *p, const json_t *o, const char *key, const char *before,
		      const char **text)
{
	json_t *value = (json_t *)(uintptr_t)ctl_get_object(p, o, key);
	char *dump;

	if (value)
		json_incref(value);
	else if (before)
		value = json_loads(before, 0, NULL);
	if (!value)
		return NULL;
	dump = json_dumps(value, JSON_COMPACT);
	*text = dump ? arena_text(p->arena, dump, strlen(dump)) : NULL;
	free(dump);
	if (!*text)
		ctl_parse_oom(p);
	return value;
}

struct ctl_relays *ctl_relays_new(struct ctl_parse *p, const json_t *o,
				  const struct ctl_relays *before)
{
	struct ctl_relays *relays = ctl_part_new(sizeof(*relays));
	json_t *regions, *params;

	if (!relays) {
		ctl_parse_oom(p);
		return NULL;
	}
	p->arena = &relays->part.arena;
	if (!json_is_object(o))
		ctl_parse_fail(p, "not an object");
	regions = member(p, o, "Regions", before ? before->regions_json : NULL,
			 &relays->regions_json);
	params = member(p, o, "HomeParams", before ? before->params_json : NULL,
			&relays->params_json);
	if (!p->failed && regions)
		parse_regions(p, regions, ctl_get_object(p, params, "RegionScore"), relays);
	json_decref(regions);
	json_decref(params);
	if (p->failed) {
		ctl_part_unref(relays);
		return NULL;
	}
	return relays;
}
