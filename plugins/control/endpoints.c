/*
 * Where peers may reach us by UDP, as far as this host knows itself. `paths` knows better (what a
 * STUN server sees, mapped ports) and takes over by its facet.
 */
#include "hostinfo.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <jansson.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

enum { ENDPOINTS_MAX = 64, TYPE_LOCAL = 1 };	/* EndpointTypes (6.1) */

static bool addr_of(const struct sockaddr *sa, struct warren_addr *out)
{
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;

	memset(out, 0, sizeof(*out));
	if (sa && sa->sa_family == AF_INET) {
		memcpy(&in4, sa, sizeof(in4));
		out->family = 4;
		memcpy(out->bytes, &in4.sin_addr, 4);
		/* 127/8, 169.254/16, 0/8 */
		return out->bytes[0] != 127 && out->bytes[0] != 0 &&
		       !(out->bytes[0] == 169 && out->bytes[1] == 254);
	}
	if (sa && sa->sa_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		out->family = 6;
		memcpy(out->bytes, &in6.sin6_addr, 16);
		return !IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) &&
		       !IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) &&
		       !IN6_IS_ADDR_UNSPECIFIED(&in6.sin6_addr);
	}
	return false;
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

static void add_interfaces(struct list *list, const char *skip, const uint16_t port[2])
{
	char text[ADDR_TEXT], with_port[ADDR_TEXT + 9];
	struct ifaddrs *all = NULL;
	struct warren_addr addr;

	if (getifaddrs(&all) == -1)
		return;
	for (const struct ifaddrs *i = all; i && list->n < ENDPOINTS_MAX; i = i->ifa_next) {
		struct str form = STR_INIT;

		if ((i->ifa_flags & IFF_LOOPBACK) || !(i->ifa_flags & IFF_UP) ||
		    (skip && !strcmp(i->ifa_name, skip)) || !addr_of(i->ifa_addr, &addr) ||
		    !port[addr.family == 6])
			continue;
		addr_format(&addr, text);
		str_addf(&form, addr.family == 6 ? "[%s]:%u" : "%s:%u", text,
			 port[addr.family == 6]);
		if (str_copy(with_port, sizeof(with_port), str_text(&form)))
			list_add(list, with_port, TYPE_LOCAL);
		str_free(&form);
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
