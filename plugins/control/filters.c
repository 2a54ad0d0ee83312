/*
 * Packet filters: FilterRules as they come (sections 6.11 and 8.1) to rules of the map.
 *
 * Each name is a part of its own, so that a change of one name reads that name only. What a rule
 * says in a way that we do not understand never widens it: addresses that cannot be read are left
 * out, and a rule without any source or destination is left out as a whole.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/util.h"
#include "parts.h"

/* A protocol that no packet has (IANA: reserved), for a rule whose list has none that exists. */
enum { PROTOCOL_NONE = 255 };

/*
 * ---- Addresses ----
 */

struct range {
	uint8_t kind;
	struct warren_prefix prefix;
	struct warren_addr first, last;
};

static bool parse_span(const char *text, const char *dash, struct range *out)
{
	char first[ADDR_TEXT];
	size_t len = (size_t)(dash - text);

	if (len >= sizeof(first))
		return false;
	memcpy(first, text, len);
	first[len] = '\0';
	out->kind = WARREN_SRC_RANGE;
	return !addr_parse(first, &out->first) && !addr_parse(dash + 1, &out->last) &&
	       out->first.family == out->last.family && addr_compare(&out->first, &out->last) <= 0;
}

/* "*", an address, a prefix without host bits, or "first-last". */
static bool parse_range(const char *text, struct range *out)
{
	const char *dash = strchr(text, '-');

	memset(out, 0, sizeof(*out));
	if (!strcmp(text, "*")) {
		out->kind = WARREN_SRC_ANY;
		return true;
	}
	if (dash)
		return parse_span(text, dash, out);
	out->kind = WARREN_SRC_PREFIX;
	return !prefix_parse(text, &out->prefix) && !prefix_mask(&out->prefix);
}

static void tell_address(struct ctl_parse *p, const char *key, const char *text)
{
	struct ctl_parse element = ctl_parse_element(p);
	AUTO(str_free) struct str clean = STR_INIT;

	str_add_clean(&clean, text, strlen(text), 64);
	ctl_parse_fail(&element, "left out, it is no address: %s", str_text(&clean));
	ctl_parse_merge(p, &element, key, 0);
}

static void parse_srcs(struct ctl_parse *p, const json_t *o, struct warren_filter_rule *rule)
{
	uint32_t n, kept = 0;
	const char *const *texts = ctl_get_strs(p, o, "SrcIPs", &n);
	struct warren_src *made = ctl_parse_alloc(p, n, sizeof(*made));

	for (uint32_t i = 0; made && !p->failed && i < n; i++) {
		struct warren_src *src = &made[kept];
		struct range range;

		if (str_starts(texts[i], "cap:") && texts[i][4]) {
			src->kind = WARREN_SRC_CAP;
			src->cap = texts[i] + 4;
			kept++;
		} else if (parse_range(texts[i], &range)) {
			src->kind = range.kind;
			src->prefix = range.prefix;
			src->first = range.first;
			src->last = range.last;
			kept++;
		} else {
			tell_address(p, "SrcIPs", texts[i]);
		}
	}
	rule->srcs = made;
	rule->n_srcs = kept;
}

static void parse_dsts(struct ctl_parse *p, const json_t *o, struct warren_filter_rule *rule,
		       bool *obsolete)
{
	uint32_t n, kept = 0;
	const json_t *list = ctl_get_array(p, o, "DstPorts", &n);
	struct warren_dst *made = ctl_parse_alloc(p, n, sizeof(*made));

	for (uint32_t i = 0; made && !p->failed && i < n; i++) {
		const json_t *range = json_array_get(list, i);
		const char *text = ctl_get_str(p, range, "IP", CTL_TEXT_MAX);
		const json_t *ports = ctl_get_object(p, range, "Ports");
		struct range read;

		*obsolete = *obsolete || ctl_get(range, "Bits");
		if (p->failed)
			return;
		if (!text || !parse_range(text, &read)) {
			tell_address(p, "DstPorts", text ? text : "");
			continue;
		}
		made[kept].kind = read.kind;
		made[kept].prefix = read.prefix;
		made[kept].first = read.first;
		made[kept].last = read.last;
		made[kept].port_first = (uint16_t)ctl_get_int(p, ports, "First", 0, UINT16_MAX);
		made[kept].port_last = (uint16_t)ctl_get_int(p, ports, "Last", 0, UINT16_MAX);
		kept++;
	}
	rule->dsts = made;
	rule->n_dsts = kept;
}

/*
 * ---- Rules ----
 */

static void parse_protocols(struct ctl_parse *p, const json_t *o, struct warren_filter_rule *rule)
{
	uint32_t n, kept = 0;
	const json_t *list = ctl_get_array(p, o, "IPProto", &n);
	uint8_t *made = ctl_parse_alloc(p, n, 1);

	for (uint32_t i = 0; made && i < n; i++) {
		const json_t *value = json_array_get(list, i);

		if (!json_is_integer(value)) {
			ctl_parse_fail(p, "IPProto: not a whole number");
			return;
		}
		if (json_integer_value(value) >= 0 && json_integer_value(value) <= 255)
			made[kept++] = (uint8_t)json_integer_value(value);
	}
	if (made && n && !kept)
		made[kept++] = PROTOCOL_NONE;
	rule->protocols = made;
	rule->n_protocols = kept;
}

/* CapMap, and the obsolete list of names. */
static void parse_grant_caps(struct ctl_parse *p, const json_t *o, struct warren_cap_grant *grant)
{
	const char *const *old;
	struct warren_cap *made;
	uint32_t n;

	grant->caps = ctl_get_caps(p, o, "CapMap", &grant->n_caps);
	old = ctl_get_strs(p, o, "Caps", &n);
	if (!n || p->failed)
		return;
	made = ctl_parse_alloc(p, (size_t)grant->n_caps + n, sizeof(*made));
	if (!made)
		return;
	if (grant->n_caps)
		memcpy(made, grant->caps, grant->n_caps * sizeof(*made));
	for (uint32_t i = 0; i < n; i++)
		made[grant->n_caps + i].name = old[i];
	grant->caps = made;
	grant->n_caps = ctl_caps_sort(made, grant->n_caps + n);
}

static void parse_grants(struct ctl_parse *p, const json_t *o, struct warren_filter_rule *rule)
{
	const json_t *list = ctl_get_array(p, o, "CapGrant", &rule->n_grants);
	struct warren_cap_grant *made = ctl_parse_alloc(p, rule->n_grants, sizeof(*made));

	for (uint32_t i = 0; made && !p->failed && i < rule->n_grants; i++) {
		const json_t *grant = json_array_get(list, i);

		made[i].dsts = ctl_get_prefixes(p, grant, "Dsts", &made[i].n_dsts);
		parse_grant_caps(p, grant, &made[i]);
	}
	rule->grants = made;
}

int ctl_filter_begin(struct ctl_filter_build *build, const char *name, uint32_t rules_max,
		     uint32_t ips_max)
{
	memset(build, 0, sizeof(*build));
	build->rules_max = rules_max;
	build->ips_max = ips_max;
	build->filter = ctl_part_new(sizeof(*build->filter));
	if (!build->filter)
		return -ENOMEM;
	build->filter->name = arena_text(&build->filter->part.arena, name, strlen(name));
	str_addc(&build->json, '[');
	return build->filter->name ? 0 : -ENOMEM;
}

static int build_add(struct ctl_filter_build *build, const struct warren_filter_rule *rule)
{
	uint32_t room = build->room ? 2 * build->room : 16;
	struct warren_filter_rule *grown;

	if (build->n_rules == build->rules_max)
		return -EMSGSIZE;
	if (build->n_rules == build->room) {
		grown = reallocarray(build->rules, room, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		build->rules = grown;
		build->room = room;
	}
	build->rules[build->n_rules++] = *rule;
	build->filter->n_ips += rule->n_srcs + rule->n_dsts;
	return build->filter->n_ips > build->ips_max ? -EMSGSIZE : 0;
}

/* A rule has destinations or grants; one that has both becomes two. */
static int add_rule(struct ctl_filter_build *build, const struct warren_filter_rule *rule)
{
	struct warren_filter_rule part = *rule;
	int result = 0;

	if (!rule->n_srcs)
		return 0;
	part.n_grants = 0;
	part.grants = NULL;
	if (part.n_dsts)
		result = build_add(build, &part);
	part = *rule;
	part.n_dsts = 0;
	part.dsts = NULL;
	if (!result && part.n_grants)
		result = build_add(build, &part);
	return result;
}

int ctl_filter_rule(struct ctl_filter_build *build, struct ctl_parse *p, const json_t *o,
		    const char *text, size_t len)
{
	struct ctl_parse element = ctl_parse_element(p);
	struct warren_filter_rule rule = { 0 };
	bool obsolete = ctl_get(o, "SrcBits");

	element.arena = &build->filter->part.arena;
	element.list_max = build->ips_max;
	if (!json_is_object(o))
		ctl_parse_fail(&element, "not an object");
	parse_srcs(&element, o, &rule);
	parse_dsts(&element, o, &rule, &obsolete);
	parse_protocols(&element, o, &rule);
	parse_grants(&element, o, &rule);
	/* Whatever else is wrong with it: where this occurs, no rule may hold. */
	build->filter->obsolete = build->filter->obsolete || obsolete;
	if (!ctl_parse_merge(p, &element, "packet filter rule", build->seen++) && !obsolete)
		return p->no_memory ? -ENOMEM : 0;
	if (build->json.len > 1)
		str_addc(&build->json, ',');
	str_addn(&build->json, text, len);
	return element.failed ? 0 : add_rule(build, &rule);
}

struct ctl_filter *ctl_filter_end(struct ctl_filter_build *build)
{
	struct ctl_filter *filter = build->filter;
	size_t size = build->n_rules * sizeof(*build->rules);
	struct warren_filter_rule *rules = arena_alloc(&filter->part.arena, size ? size : 1);

	str_addc(&build->json, ']');
	filter->json = build->json.failed ? NULL : arena_text(&filter->part.arena, build->json.s,
							     build->json.len);
	if (rules && size)
		memcpy(rules, build->rules, size);
	filter->rules = rules;
	filter->n_rules = build->n_rules;
	if (!rules || !filter->json) {
		ctl_filter_abort(build);
		return NULL;
	}
	build->filter = NULL;
	ctl_filter_abort(build);
	return filter;
}

void ctl_filter_abort(struct ctl_filter_build *build)
{
	ctl_part_unref(build->filter);
	free(build->rules);
	str_free(&build->json);
	memset(build, 0, sizeof(*build));
}

/*
 * ---- All names ----
 */

static uint32_t find_name(const struct ctl_filters *filters, const char *name, bool *there)
{
	uint32_t at = 0;

	while (at < filters->n_named && strcmp(filters->named[at]->name, name) < 0)
		at++;
	*there = at < filters->n_named && !strcmp(filters->named[at]->name, name);
	return at;
}

static void apply_change(struct ctl_filters *filters, const struct ctl_filter_change *change)
{
	bool there;
	uint32_t at = find_name(filters, change->name, &there);

	if (!strcmp(change->name, "*") && !change->filter) {
		for (uint32_t i = 0; i < filters->n_named; i++)
			ctl_part_unref(filters->named[i]);
		filters->n_named = 0;
		return;
	}
	if (there) {
		ctl_part_unref(filters->named[at]);
		filters->n_named--;
		memmove(&filters->named[at], &filters->named[at + 1],
			(filters->n_named - at) * sizeof(*filters->named));
	}
	if (!change->filter)
		return;
	memmove(&filters->named[at + 1], &filters->named[at],
		(filters->n_named - at) * sizeof(*filters->named));
	filters->named[at] = ctl_part_ref(change->filter);
	filters->n_named++;
}

static int join_rules(struct ctl_filters *filters, const struct ctl_map_limits *limits)
{
	struct warren_filter_rule *rules;
	uint64_t n = 0, ips = 0;
	bool obsolete = false;

	for (uint32_t i = 0; i < filters->n_named; i++) {
		n += filters->named[i]->n_rules;
		ips += filters->named[i]->n_ips;
		obsolete = obsolete || filters->named[i]->obsolete;
	}
	if (n > limits->rules_max || ips > limits->rule_ips_max)
		return -EMSGSIZE;
	if (obsolete)
		return 0;
	rules = arena_alloc(&filters->part.arena, (n ? n : 1) * sizeof(*rules));
	if (!rules)
		return -ENOMEM;
	filters->rules = rules;
	for (uint32_t i = 0; i < filters->n_named; i++) {
		const struct ctl_filter *filter = filters->named[i];

		if (filter->n_rules)
			memcpy(&rules[filters->n_rules], filter->rules,
			       filter->n_rules * sizeof(*rules));
		filters->n_rules += filter->n_rules;
	}
	return 0;
}

struct ctl_filters *ctl_filters_new(const struct ctl_filters *before,
				    const struct ctl_filter_change *changes, uint32_t n,
				    const struct ctl_map_limits *limits, int *result)
{
	struct ctl_filters *filters = ctl_part_new(sizeof(*filters));
	uint32_t had = before ? before->n_named : 0;

	*result = -ENOMEM;
	if (!filters)
		return NULL;
	filters->named = arena_alloc(&filters->part.arena,
				     ((size_t)had + n + 1) * sizeof(*filters->named));
	if (!filters->named) {
		ctl_filters_unref(filters);
		return NULL;
	}
	for (uint32_t i = 0; i < had; i++)
		filters->named[filters->n_named++] = ctl_part_ref(before->named[i]);
	for (uint32_t i = 0; i < n; i++)
		apply_change(filters, &changes[i]);
	*result = join_rules(filters, limits);
	if (*result) {
		ctl_filters_unref(filters);
		return NULL;
	}
	return filters;
}

void ctl_filters_unref(struct ctl_filters *filters)
{
	if (!filters ||
	    atomic_fetch_sub_explicit(&filters->part.refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < filters->n_named; i++)
		ctl_part_unref(filters->named[i]);
	arena_free(&filters->part.arena);
	free(filters);
}
