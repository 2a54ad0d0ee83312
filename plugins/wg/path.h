/*
 * Where datagrams come from and where they go. A path is immutable: the lane publishes a new one
 * and retires the old. An origin describes one received datagram.
 */
#ifndef WG_PATH_H
#define WG_PATH_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include <warren/plugin.h>
#include <warren/service/dataplane.h>

enum {					/* path-protocols.md 2.5 */
	WG_GENEVE_LEN = 8,
	WG_GENEVE_DISCO = 0x7a11,
	WG_GENEVE_WIREGUARD = 0x7a12,
};

struct wg_local {			/* our end: where a datagram arrived */
	struct warren_addr addr;	/* family 0: unknown, the kernel chooses */
	uint32_t ifindex;
};

struct wg_origin {
	uint32_t kind;			/* WARREN_PATH_UDP, _GENEVE or _RELAY */
	struct warren_addrport from;
	uint32_t scope;			/* interface of an IPv6 link-local `from` */
	struct wg_local local;
	uint32_t vni;			/* GENEVE */
	uint32_t region;		/* RELAY */
	uint8_t relay_peer[32];		/* RELAY: the key that the relay vouches for */
};

struct wg_path {
	uint32_t kind;
	struct warren_addrport to;
	uint32_t scope, vni, region;
	uint32_t copy_region;		/* a relay that gets a copy; 0: none */
	bool tell;			/* the writer wants to know of the next packet */
	uint64_t generation;
	struct wg_local local;		/* send from here */
	uint8_t relay_peer[32];
	union {
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} name;				/* UDP, GENEVE: `to` for the kernel */
	uint32_t name_len;
};

/* NULL: no memory. Freed with free(), after the workers' grace once it was published. */
struct wg_path *wg_path_new(const struct warren_data_path *data, const uint8_t peer[32]);
/* A path back to where a datagram came from. */
void wg_path_from_origin(struct wg_path *path, const struct wg_origin *origin);
void wg_path_to_data(const struct wg_path *path, struct warren_data_path *data); /* NULL: none */

/* Any thread. The datagram came over this path; local ends are not compared. */
bool wg_path_is(const struct wg_path *path, const struct wg_origin *origin);
/* Any thread. It came to the local end from which the path sends. */
bool wg_path_same_local(const struct wg_path *path, const struct wg_origin *origin);
/*
 * Bytes that name an origin, for cookies and rate limits; kinds cannot be mistaken for each other.
 * The rate limit is by address (IPv6: /64), the cookie by address and port.
 */
enum { WG_ORIGIN_BYTES = 64 };
size_t wg_origin_cookie_source(const struct wg_origin *origin, uint8_t out[WG_ORIGIN_BYTES]);
size_t wg_origin_rate_source(const struct wg_origin *origin, uint8_t out[16]);

void wg_geneve_write(uint8_t header[WG_GENEVE_LEN], uint16_t protocol, uint32_t vni);

/* "192.0.2.1:51820", "[2001:db8::1]:51820", "192.0.2.1:7:vni:5", "relay 900". */
enum { WG_PATH_TEXT = 96 };
void wg_addrport_text(const struct warren_addrport *a, char text[WG_PATH_TEXT]);
void wg_path_text(const struct wg_path *path, char text[WG_PATH_TEXT]);	/* NULL: "none" */

bool wg_addr_equal(const struct warren_addr *a, const struct warren_addr *b);
bool wg_addrport_equal(const struct warren_addrport *a, const struct warren_addrport *b);

#endif
