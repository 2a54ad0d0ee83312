/* See via.h. */
#include "via.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

static const struct warren_prefix sites = {
	{ 6, { 0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 0x0b, 0x1a } }, 64
};

enum { SITE_AT = 8, V4_AT = 12, V4_BITS = 96 };

bool router_via_is(const struct warren_prefix *prefix)
{
	return prefix->addr.family == 6 && prefix->bits >= sites.bits &&
	       prefix_contains(&sites, &prefix->addr);
}

int router_via_site(const char *text, uint32_t *site, struct warren_err *err)
{
	char *end;
	unsigned long long number;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (text[0] < '0' || text[0] > '9' || *end || errno || number > UINT32_MAX)
		return warren_fail(err, NULL, "invalid site-id \"%s\"; must be decimal or hex "
				   "with 0x prefix", text);
	if (number > ROUTER_SITE_MAX)
		return warren_fail(err, NULL, "site-id values over 65535 are currently reserved");
	*site = (uint32_t)number;
	return 0;
}

struct warren_prefix router_via_map(uint32_t site, const struct warren_prefix *v4)
{
	struct warren_prefix route = { sites.addr, V4_BITS + v4->bits };

	for (int i = 0; i < 4; i++)
		route.addr.bytes[SITE_AT + i] = (uint8_t)(site >> (24 - 8 * i));
	memcpy(route.addr.bytes + V4_AT, v4->addr.bytes, 4);
	return route;
}

int router_via_unmap(const struct warren_prefix *route, uint32_t *site, struct warren_prefix *v4,
		     struct warren_err *err)
{
	if (route->addr.family != 6)
		return warren_fail(err, NULL, "with one argument, expect an IPv6 CIDR");
	if (!prefix_contains(&sites, &route->addr))
		return warren_fail(err, NULL, "not a via route");
	if (route->bits < V4_BITS)
		return warren_fail(err, NULL, "short length, want /96 or more");
	*site = 0;
	for (int i = 0; i < 4; i++)
		*site = *site << 8 | route->addr.bytes[SITE_AT + i];
	*v4 = (struct warren_prefix){ .addr.family = 4, .bits = route->bits - V4_BITS };
	memcpy(v4->addr.bytes, route->addr.bytes + V4_AT, 4);
	return 0;
}
