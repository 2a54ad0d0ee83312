/*
 * Where peers may reach us by UDP, as far as this host knows itself. `paths` knows better (what a
 * STUN server sees, mapped ports) and takes over by its facet.
 */
#include "hostinfo.h"

#include <ifaddrs.h>
#include <jansson.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

enum { ENDPOINTS_MAX = 64, TYPE_LOCAL = 1 };	/* EndpointTypes (6.1) */

/* An address that others may reach: no loopback, link-local or unspecified one. */
static bool is_reachable(const struct warren_addr *addr)
{
	static const struct warren_addr none;
	const uint8_t *b = addr->bytes;

	if (addr->family == 4)
		return b[0] != 127 && b[0] != 0 && !(b[0] == 169 && b[1] == 254);
	/* ::/64 holds the unspecified and the loopback address */
	return memcmp(b, none.bytes, 8) && !(b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
}

struct list {
	struct str addrs, types;
	uint32_t n;
};

static void list_add(struct list *list, const char *addrport, int type)
{
	str_addf(&list->addrs, "%s\"%s\"", list->n ? "," : "", addrport);
	str_addf(&list->types, "%s%d", list->n ? "," : "", type);
	list->n++;
}

/* False: no address that anybody could use. */
static bool endpoint_of(const struct sockaddr *sa, const uint16_t port[2],
			struct warren_addrport *out)
{
	if (!sa || addrport_from_sockaddr(sa, sa->sa_family == AF_INET6 ?
					  sizeof(struct sockaddr_in6) :
					  sizeof(struct sockaddr_in), out))
		return false;
	out->port = port[out->addr.family == 6];
	return out->port && is_reachable(&out->addr);
}

static void add_interfaces(struct list *list, const char *skip, const uint16_t port[2])
{
	struct ifaddrs *all = NULL;
	struct warren_addrport ap;
	char text[ADDRPORT_TEXT];

	if (getifaddrs(&all) == -1)
		return;
	for (const struct ifaddrs *i = all; i && list->n < ENDPOINTS_MAX; i = i->ifa_next) {
		if (!(i->ifa_flags & IFF_LOOPBACK) && (i->ifa_flags & IFF_UP) &&
		    !(skip && !strcmp(i->ifa_name, skip)) && endpoint_of(i->ifa_addr, port, &ap))
			list_add(list, addrport_format(&ap, text), TYPE_LOCAL);
	}
	freeifaddrs(all);
}

void ctl_endpoints(const struct ctl_facets *facets, const char *skip_ifname,
		   const uint16_t port[2], struct str *out)
{
	struct list list = { STR_INIT, STR_INIT, 0 };

	if (ctl_facets_endpoints(facets, out))
		return;
	add_interfaces(&list, skip_ifname, port);
	if (list.n > 0)
		str_addf(out, "\"Endpoints\":[%s],\"EndpointTypes\":[%s]", str_text(&list.addrs),
			 str_text(&list.types));
	str_free(&list.addrs);
	str_free(&list.types);
}
