/*
 * DNSConfig, section 6.10.
 */
#include <string.h>

#include "parts.h"

static const struct warren_resolver *parse_resolvers(struct ctl_parse *p, const json_t *list,
						     const char *what, uint32_t *n_out)
{
	size_t n = json_array_size(list);
	struct warren_resolver *made;
	uint32_t kept = 0;

	*n_out = 0;
	if (list && !json_is_array(list)) {
		ctl_parse_fail(p, "%s: not a list", what);
		return NULL;
	}
	if (n > p->list_max) {
		ctl_parse_fail(p, "%s: more than %u elements", what, p->list_max);
		return NULL;
	}
	made = ctl_parse_alloc(p, n, sizeof(*made));
	for (size_t i = 0; made && i < n; i++) {
		struct ctl_parse element = ctl_parse_element(p);
		struct warren_resolver resolver = { 0 };

		ctl_resolver_parse(&element, json_array_get(list, i), &resolver);
		if (ctl_parse_merge(p, &element, what, (int64_t)i))
			made[kept++] = resolver;
	}
	*n_out = kept;
	return made;
}

/*
 * An empty list means "answered by ourselves". Should all that a server named for a suffix be bad,
 * it must not become that: the suffix is left out.
 */
static void parse_route(struct ctl_parse *p, const char *suffix, const json_t *list,
			struct warren_dns_route *routes, uint32_t *n)
{
	struct warren_dns_route *route = &routes[*n];
	const json_t *given = json_is_null(list) ? NULL : list;
	size_t len = strlen(suffix);

	if (len > 255) {
		ctl_parse_fail(p, "Routes: a suffix is too long");
		return;
	}
	while (len > 0 && suffix[len - 1] == '.')
		len--;
	route->resolvers = parse_resolvers(p, given, "Routes: resolver", &route->n_resolvers);
	route->suffix = arena_text(p->arena, suffix, len);
	if (!route->suffix) {
		ctl_parse_oom(p);
	}
	if (!json_array_size(given) || route->n_resolvers)
		(*n)++;
}

static void parse_routes(struct ctl_parse *p, const json_t *o, struct warren_dns *dns)
{
	json_t *map = (json_t *)(uintptr_t)ctl_get_object(p, o, "Routes"), *list;
	struct warren_dns_route *made;
	const char *suffix;

	if (!map)
		return;
	if (json_object_size(map) > p->list_max) {
		ctl_parse_fail(p, "Routes: more than %u members", p->list_max);
		return;
	}
	made = ctl_parse_alloc(p, json_object_size(map), sizeof(*made));
	if (!made)
		return;
	json_object_foreach(map, suffix, list)
		parse_route(p, suffix, list, made, &dns->n_routes);
	dns->routes = made;
}

static void parse_record(struct ctl_parse *p, const json_t *o, struct warren_dns_record *record)
{
	if (!json_is_object(o)) {
		ctl_parse_fail(p, "not an object");
		return;
	}
	record->name = ctl_get_str(p, o, "Name", 255);
	record->type = ctl_get_str(p, o, "Type", 16);
	record->value = ctl_get_str(p, o, "Value", CTL_TEXT_MAX);
	if (p->failed)
		return;
	if (!record->name || !record->value)
		ctl_parse_fail(p, "without name or value");
}

static void parse_records(struct ctl_parse *p, const json_t *o, struct warren_dns *dns)
{
	uint32_t n;
	const json_t *list = ctl_get_array(p, o, "ExtraRecords", &n);
	struct warren_dns_record *made = ctl_parse_alloc(p, n, sizeof(*made));

	for (uint32_t i = 0; made && i < n; i++) {
		struct ctl_parse element = ctl_parse_element(p);
		struct warren_dns_record record = { 0 };

		parse_record(&element, json_array_get(list, i), &record);
		if (ctl_parse_merge(p, &element, "ExtraRecords: record", i))
			made[dns->n_records++] = record;
	}
	dns->records = made;
}

struct ctl_dns *ctl_dns_new(struct ctl_parse *p, const json_t *o, const char *text, size_t len)
{
	struct ctl_dns *made = ctl_part_new(sizeof(*made));
	struct warren_dns *dns;

	if (!made) {
		ctl_parse_oom(p);
		return NULL;
	}
	p->arena = &made->part.arena;
	dns = &made->dns;
	if (!json_is_object(o))
		ctl_parse_fail(p, "not an object");
	dns->resolvers = parse_resolvers(p, ctl_get(o, "Resolvers"), "Resolvers",
					 &dns->n_resolvers);
	dns->fallback = parse_resolvers(p, ctl_get(o, "FallbackResolvers"), "FallbackResolvers",
					&dns->n_fallback);
	parse_routes(p, o, dns);
	dns->search = ctl_get_strs(p, o, "Domains", &dns->n_search);
	dns->cert_domains = ctl_get_strs(p, o, "CertDomains", &dns->n_cert_domains);
	dns->exit_filtered = ctl_get_strs(p, o, "ExitNodeFilteredSet", &dns->n_exit_filtered);
	parse_records(p, o, dns);
	dns->proxied = ctl_get_bool(p, o, "Proxied");
	made->json = p->failed ? NULL : arena_text(p->arena, text, len);
	if (!made->json) {
		ctl_parse_oom(p);
		ctl_part_unref(made);
		return NULL;
	}
	return made;
}
