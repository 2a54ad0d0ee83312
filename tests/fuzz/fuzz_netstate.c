/*
 * Datagrams of rtnetlink. The kernel makes them, but a reader that trusts lengths trusts too much.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine/netstate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void see_route(const struct warren_net_route *route, void *arg)
{
	*(uint32_t *)arg += route->table;
}

static void see_rule(const struct warren_net_rule *rule, void *arg)
{
	*(uint32_t *)arg += rule->pref;
}

static void see_filter(const struct warren_net_filter *filter, void *arg)
{
	*(uint32_t *)arg += (uint32_t)filter->rp_filter;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t sum = 0;
	const struct wcore_net_dump dump = { 1, see_route, see_rule, see_filter, &sum };

	if (wcore_net_parse(&dump, data, size) > 1)
		abort();
	if (wcore_net_news(data, size) & ~(WARREN_NET_LINKS | WARREN_NET_ADDRESSES |
					  WARREN_NET_ROUTES))
		abort();
	return 0;
}
