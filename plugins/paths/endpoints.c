/*
 * The rules of section 3.1, one by one.
 */
#include "endpoints.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include <warren/disco.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"

void paths_endpoints_add(struct paths_endpoints *list, const struct warren_addrport *address,
			 enum paths_endpoint_type type)
{
	for (uint32_t i = 0; i < list->n; i++)
		if (addrport_equal(&list->list[i].address, address))
			return;
	if (list->n < PATHS_ENDPOINTS && address->port)
		list->list[list->n++] = (struct paths_endpoint){ *address, type, 0 };
}

bool paths_endpoints_equal(const struct paths_endpoints *a, const struct paths_endpoints *b)
{
	for (uint32_t i = 0; a->n == b->n && i < a->n; i++)
		if (!addrport_equal(&a->list[i].address, &b->list[i].address) ||
		    a->list[i].type != b->list[i].type)
			return false;
	return a->n == b->n;
}

/*
 * ---- Seen lately ----
 */

static void track_drop(struct paths_endpoints *tracked, uint32_t i)
{
	tracked->n--;
	memmove(&tracked->list[i], &tracked->list[i + 1],
		(tracked->n - i) * sizeof(tracked->list[0]));
}

/* Of those with that address, or of all (@addr NULL), the one that was seen first. */
static uint32_t oldest(const struct paths_endpoints *tracked, const struct warren_addr *addr,
		       uint32_t *count)
{
	uint32_t found = 0;

	*count = 0;
	for (uint32_t i = 0; i < tracked->n; i++) {
		if (addr && !addr_equal(&tracked->list[i].address.addr, addr))
			continue;
		if (*count == 0 || tracked->list[i].seen < tracked->list[found].seen)
			found = i;
		(*count)++;
	}
	return found;
}

void paths_track(struct paths_endpoints *tracked, uint64_t now,
		 const struct warren_addrport *address, enum paths_endpoint_type type)
{
	uint32_t count, i;

	for (i = 0; i < tracked->n; i++) {
		if (addrport_equal(&tracked->list[i].address, address)) {
			tracked->list[i].seen = now;
			return;
		}
	}
	i = oldest(tracked, &address->addr, &count);
	if (count >= PATHS_TRACKED_PER_ADDR)
		track_drop(tracked, i);
	i = oldest(tracked, NULL, &count);
	if (count >= PATHS_TRACKED)
		track_drop(tracked, i);
	tracked->list[tracked->n++] = (struct paths_endpoint){ *address, type, now };
}

void paths_track_expire(struct paths_endpoints *tracked, uint64_t now)
{
	for (uint32_t i = 0; i < tracked->n;) {
		if (now - tracked->list[i].seen > PATHS_TRACK)
			track_drop(tracked, i);
		else
			i++;
	}
}

/*
 * ---- Interfaces ----
 */

bool paths_interface_is_used(const char *name)
{
	return !str_starts(name, "zt") && strcmp(name, "wt0") != 0;
}

/* Addresses of tailnets: an endpoint there would lead into a tunnel. */
static bool is_tailnet(const struct warren_addr *addr)
{
	static const struct warren_prefix own[] = {
		{ { 4, { 100, 64 } }, 10 },
		{ { 6, { 0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0 } }, 48 },
	};

	return prefix_contains(&own[0], addr) || prefix_contains(&own[1], addr);
}

enum paths_use paths_address_use(const struct warren_addr *addr)
{
	static const uint8_t zero[16];
	const uint8_t *b = addr->bytes;

	if (is_tailnet(addr))
		return PATHS_NO_USE;
	if (addr->family == 4) {
		if (b[0] == 0 || b[0] >= 224)
			return PATHS_NO_USE;
		return b[0] == 127 || (b[0] == 169 && b[1] == 254) ? PATHS_FALLBACK : PATHS_USE;
	}
	if (addr->family != 6 || b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80))
		return PATHS_NO_USE;
	if (memcmp(b, zero, 15) == 0)
		return b[15] == 1 ? PATHS_FALLBACK : PATHS_NO_USE;
	return (b[0] & 0xfe) == 0xfc ? PATHS_FALLBACK : PATHS_USE;
}

static bool is_loopback(const struct warren_addr *addr)
{
	return addr->family == 4 ? addr->bytes[0] == 127 : addr->bytes[0] == 0;
}

/* At most two addresses of one IPv6 network: hosts collect temporary ones. */
static bool is_crowded(const struct paths_endpoints *list, const struct warren_addr *addr)
{
	uint32_t count = 0;

	if (addr->family != 6)
		return false;
	for (uint32_t i = 0; i < list->n; i++)
		count += list->list[i].type == PATHS_LOCAL &&
			 list->list[i].address.addr.family == 6 &&
			 memcmp(list->list[i].address.addr.bytes, addr->bytes, 8) == 0;
	return count >= 2;
}

static bool interface_address(const struct ifaddrs *i, struct warren_addrport *out)
{
	const struct sockaddr *sa = i->ifa_addr;

	return sa && !addrport_from_sockaddr(sa, sa->sa_family == AF_INET6 ?
					     sizeof(struct sockaddr_in6) :
					     sizeof(struct sockaddr_in), out);
}

/* @loopback: those alone; @use: of that worth at least. Whether there is one. */
static bool add_interfaces(struct paths_endpoints *list, const struct ifaddrs *all,
			   const char *skip, const uint16_t port[2], bool loopback,
			   enum paths_use use)
{
	struct warren_addrport ap;
	bool found = false;

	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		if (!(i->ifa_flags & IFF_UP) || !paths_interface_is_used(i->ifa_name) ||
		    (skip && strcmp(i->ifa_name, skip) == 0) || !interface_address(i, &ap))
			continue;
		ap.port = port[ap.addr.family == 6];
		if (is_loopback(&ap.addr) != loopback || paths_address_use(&ap.addr) < use)
			continue;
		found = true;
		if (!is_crowded(list, &ap.addr))
			paths_endpoints_add(list, &ap, PATHS_LOCAL);
	}
	return found;
}

void paths_endpoints_local(struct paths_endpoints *list, const char *skip, const uint16_t port[2])
{
	struct ifaddrs *all = NULL;

	if (getifaddrs(&all) == -1)
		return;
	/* Found, not added: a STUN server may have seen us at the same address. */
	if (!add_interfaces(list, all, skip, port, false, PATHS_USE) &&
	    !add_interfaces(list, all, skip, port, false, PATHS_FALLBACK) && list->n == 0)
		add_interfaces(list, all, skip, port, true, PATHS_FALLBACK);
	freeifaddrs(all);
}

/* That in the network of @to, else the first one. */
bool paths_address_towards(uint32_t ifindex, const struct warren_addr *to, struct warren_addr *out)
{
	struct warren_addrport ap, mask;
	struct ifaddrs *all = NULL;
	bool found = false, near = false;
	char name[IF_NAMESIZE];

	if (!if_indextoname(ifindex, name) || getifaddrs(&all) == -1)
		return false;
	for (const struct ifaddrs *i = all; i && !near; i = i->ifa_next) {
		if (strcmp(i->ifa_name, name) != 0 || !interface_address(i, &ap) ||
		    ap.addr.family != 4 || !i->ifa_netmask ||
		    addrport_from_sockaddr(i->ifa_netmask, sizeof(struct sockaddr_in), &mask))
			continue;
		near = true;
		for (int b = 0; b < 4; b++)
			near = near && !((ap.addr.bytes[b] ^ to->bytes[b]) & mask.addr.bytes[b]);
		if (near || !found)
			*out = ap.addr;
		found = true;
	}
	freeifaddrs(all);
	return found;
}

bool paths_address_private(const struct warren_addr *addr)
{
	static const struct warren_prefix private[] = {
		{ { 4, { 10 } }, 8 }, { { 4, { 172, 16 } }, 12 }, { { 4, { 192, 168 } }, 16 },
		{ { 6, { 0xfc } }, 7 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(private); i++)
		if (prefix_contains(&private[i], addr))
			return true;
	return false;
}

bool paths_may_ping(const struct warren_addrport *address, bool loopback)
{
	const struct warren_addr *addr = &address->addr;
	const uint8_t *b = addr->bytes;

	if (!address->port || is_tailnet(addr) || warren_disco_relay_region(address))
		return false;
	if (addr->family == 4 && b[0] == 169 && b[1] == 254)
		return true;
	if (paths_address_use(addr) == PATHS_NO_USE)
		return false;
	return loopback || !is_loopback(addr);
}
