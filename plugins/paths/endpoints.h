/*
 * Where peers may reach this node by UDP: interfaces, what STUN servers saw, what the operator
 * names (path-protocols.md 3.1). No sockets; the interfaces are read as they are.
 */
#ifndef PATHS_ENDPOINTS_H
#define PATHS_ENDPOINTS_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/plugin.h>

enum paths_endpoint_type {		/* numbers of the wire (EndpointTypes) */
	PATHS_LOCAL = 1,
	PATHS_STUN = 2,
	PATHS_PORTMAPPED = 3,
	PATHS_STUN_LOCAL_PORT = 4,
	PATHS_STATIC = 5,
};

enum { PATHS_ENDPOINTS = 64, PATHS_TRACKED = 48, PATHS_TRACKED_PER_ADDR = 6 };
#define PATHS_TRACK (310 * UINT64_C(1000000))

struct paths_endpoint {
	struct warren_addrport address;
	enum paths_endpoint_type type;
	uint64_t seen;			/* tracked ones */
};
struct paths_endpoints {
	struct paths_endpoint list[PATHS_ENDPOINTS];
	uint32_t n;
};

/* Appends unless the address is there or there is no room. */
void paths_endpoints_add(struct paths_endpoints *list, const struct warren_addrport *address,
			 enum paths_endpoint_type type);
bool paths_endpoints_equal(const struct paths_endpoints *a, const struct paths_endpoints *b);

/* What was seen lately stays for a while, since observations flicker. */
void paths_track(struct paths_endpoints *tracked, uint64_t now,
		 const struct warren_addrport *address, enum paths_endpoint_type type);
void paths_track_expire(struct paths_endpoints *tracked, uint64_t now);

/*
 * Of an interface: whether it is of use at all, by its name, and what its address is good for.
 */
enum paths_use { PATHS_NO_USE, PATHS_FALLBACK, PATHS_USE };
bool paths_interface_is_used(const char *name);
enum paths_use paths_address_use(const struct warren_addr *addr);
/*
 * Adds the addresses of this host's interfaces but @skip; @port by family, 0: none is bound.
 * What is only a fallback counts where no interface has better; loopback, where @list is empty.
 */
void paths_endpoints_local(struct paths_endpoints *list, const char *skip, const uint16_t port[2]);

/* The IPv4 address by which that interface talks to @to; false: it has none. */
bool paths_address_towards(uint32_t ifindex, const struct warren_addr *to,
			   struct warren_addr *out);

/* Of a local network: RFC 1918, RFC 4193. */
bool paths_address_private(const struct warren_addr *addr);

/* An address that a peer may name: one that a packet can be sent to without harm. */
bool paths_may_ping(const struct warren_addrport *address, bool loopback);

#endif
