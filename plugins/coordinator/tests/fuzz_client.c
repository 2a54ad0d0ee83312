/*
 * Fuzz target: what clients send, registrations, map requests, small ones, and a relay's
 * question. The first byte says which.
 */
#include <stdlib.h>
#include <string.h>

#include "../server/server.h"
#include "base/str.h"
#include "base/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* What is kept reads back as what was sent. */
static void spell_all(json_t *update)
{
	const char *name;
	json_t *value;

	json_object_foreach(update, name, value) {
		AUTO(str_free) struct str text = STR_INIT;
		json_t *back;

		if (!attribute_spell(&text, name, value))
			continue;
		back = json_loads(strchr(str_text(&text), '=') + 1, JSON_DECODE_ANY, NULL);
		require(back && (json_equal(back, value) || json_is_real(value)));
		json_decref(back);
	}
}

/* A line each is a field; some address comes out of it. */
static void fuzz_forwarded(const uint8_t *data, size_t size)
{
	static const struct coord_proxies proxies = {
		.n = 2, .at = { { { 4, { 10 } }, 8 }, { { 6, { 0xfd } }, 8 } },
	};
	const struct warren_addr peer = { 4, { 10, 0, 0, 1 } };
	struct warren_http_field fields[8];
	struct warren_http_head head = { .size = sizeof(head), .fields = fields };
	char *text = strndup((const char *)data, size), *rest = text, *line;
	struct warren_addr from;

	require(text);
	while (head.n_fields < ARRAY_SIZE(fields) && (line = strsep(&rest, "\n")))
		fields[head.n_fields++] = (struct warren_http_field){ "x-forwarded-for", line };
	from = coord_forwarded(&proxies, &peer, &head);
	require(from.family == 4 || from.family == 6);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct register_request reg;
	struct map_request map;
	struct feature_query feature;
	struct attribute_update attributes;
	struct audit_report report;
	uint8_t key[32];

	if (size == 0)
		return 0;
	switch (data[0] % 8) {
	case 0:
		if (register_request_parse(data + 1, size - 1, &reg, NULL) == 0)
			require(reg.n_tags <= TAILNET_TAGS && reg.n_routes <= TAILNET_ROUTES &&
				(!reg.hostinfo || strlen(reg.hostinfo) <= TAILNET_HOSTINFO));
		register_request_free(&reg);
		break;
	case 1:
		if (map_request_parse(data + 1, size - 1, &map, NULL) == 0)
			require(map.n_endpoints <= TAILNET_ENDPOINTS);
		map_request_free(&map);
		break;
	case 3:
		if (feature_query_parse(data + 1, size - 1, &feature, NULL) == 0)
			require(feature.feature);
		json_decref(feature.json);
		break;
	case 4:
		if (audit_report_parse(data + 1, size - 1, &report, NULL) == 0)
			require(strlen(report.details) <= AUDIT_DETAILS);
		json_decref(report.json);
		break;
	case 5:
		if (attribute_update_parse(data + 1, size - 1, &attributes, NULL) == 0)
			spell_all(attributes.update);
		json_decref(attributes.json);
		break;
	case 6:
		fuzz_forwarded(data + 1, size - 1);
		break;
	default:
		(void)verify_request_parse(data + 1, size - 1, key, NULL);
	}
	return 0;
}
