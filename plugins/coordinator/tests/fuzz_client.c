/*
 * Fuzz target: what clients send, registrations, map requests and a relay's question. The first
 * byte says which.
 */
#include <stdlib.h>
#include <string.h>

#include "../server/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct register_request reg;
	struct map_request map;
	uint8_t key[32];

	if (size == 0)
		return 0;
	switch (data[0] % 3) {
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
	default:
		(void)verify_request_parse(data + 1, size - 1, key, NULL);
	}
	return 0;
}
