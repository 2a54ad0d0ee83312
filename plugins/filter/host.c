/*
 * Addresses and masks of all interfaces. A mask of all bits is no network.
 */
#include "host.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

static uint8_t bits_of(const uint8_t *mask, size_t len)
{
	uint8_t bits = 0;

	for (size_t i = 0; i < len && mask[i]; i++)
		bits = (uint8_t)(bits + __builtin_popcount(mask[i]));
	return bits;
}

static bool network_of(const struct ifaddrs *i, struct warren_prefix *out)
{
	struct warren_addrport ap;
	bool v6;

	if (!i->ifa_addr || !i->ifa_netmask)
		return false;
	v6 = i->ifa_addr->sa_family == AF_INET6;
	if (!v6 && i->ifa_addr->sa_family != AF_INET)
		return false;
	if (addrport_from_sockaddr(i->ifa_addr, v6 ? sizeof(struct sockaddr_in6)
						   : sizeof(struct sockaddr_in), &ap))
		return false;
	out->addr = ap.addr;
	if (v6) {
		const struct sockaddr_in6 *mask = (const struct sockaddr_in6 *)i->ifa_netmask;

		out->bits = bits_of(mask->sin6_addr.s6_addr, 16);
	} else {
		const struct sockaddr_in *mask = (const struct sockaddr_in *)i->ifa_netmask;

		out->bits = bits_of((const uint8_t *)&mask->sin_addr, 4);
	}
	return out->bits < (v6 ? 128 : 32);
}

void filter_host_read(struct filter_host *out)
{
	struct ifaddrs *all = NULL;
	struct warren_prefix network;

	memset(out, 0, sizeof(*out));
	out->networks = calloc(FILTER_HOST_NETWORKS, sizeof(*out->networks));
	out->unknown = !out->networks || getifaddrs(&all) == -1;
	for (const struct ifaddrs *i = all; i && !out->unknown; i = i->ifa_next) {
		if (!network_of(i, &network))
			continue;
		out->unknown = out->n == FILTER_HOST_NETWORKS;
		if (!out->unknown)
			out->networks[out->n++] = network;
	}
	if (all)
		freeifaddrs(all);
}
