/*
 * base/addr.h - addresses, ports and prefixes as text and as sockaddr
 *
 * Parsers take the whole NUL-terminated text, strictly: IPv4 in four decimal parts without leading
 * zeros, IPv6 as RFC 4291 2.2 without a zone. They return 0 or -EINVAL, and write nothing then.
 */
#ifndef WARREN_BASE_ADDR_H
#define WARREN_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

enum {
	ADDR_TEXT = 46,			/* INET6_ADDRSTRLEN */
	ADDRPORT_TEXT = ADDR_TEXT + 8,	/* [...]:65535 */
	PREFIX_TEXT = ADDR_TEXT + 4,	/* .../128 */
};

int addr_parse(const char *text, struct warren_addr *out);
/* "192.0.2.1:53", "[2001:db8::1]:53". Port 0 is refused. */
int addrport_parse(const char *text, struct warren_addrport *out);
/* "10.0.0.0/8"; a bare address is a host prefix. Host bits are kept: see prefix_mask(). */
int prefix_parse(const char *text, struct warren_prefix *out);
/* "host:port" with a name or an address; @host gets it without brackets. */
int hostport_parse(const char *text, char *host, size_t size, uint16_t *port);
/* Decimal 1 ... 65535. */
int port_parse(const char *text, uint16_t *out);

/* Write the text (RFC 5952 for IPv6; "none" for family 0) and return @out. */
const char *addr_format(const struct warren_addr *addr, char out[ADDR_TEXT]);
const char *addrport_format(const struct warren_addrport *ap, char out[ADDRPORT_TEXT]);
/* Always with its length: "192.0.2.1/32". */
const char *prefix_format(const struct warren_prefix *prefix, char out[PREFIX_TEXT]);

/* 4 or 16; 0 for family 0. */
size_t addr_size(const struct warren_addr *addr);
/* 0.0.0.0, [::], and no address at all. */
bool addr_is_any(const struct warren_addr *addr);
bool addr_equal(const struct warren_addr *a, const struct warren_addr *b);
bool addrport_equal(const struct warren_addrport *a, const struct warren_addrport *b);
bool prefix_equal(const struct warren_prefix *a, const struct warren_prefix *b);
/* The same elements in the same order. */
bool addrports_equal(const struct warren_addrport *a, uint32_t n_a,
		     const struct warren_addrport *b, uint32_t n_b);
bool prefixes_equal(const struct warren_prefix *a, uint32_t n_a, const struct warren_prefix *b,
		    uint32_t n_b);
/* Order: IPv4 first, then bytes, then length. */
int addr_compare(const struct warren_addr *a, const struct warren_addr *b);
int prefix_compare(const struct warren_prefix *a, const struct warren_prefix *b);
bool prefix_contains(const struct warren_prefix *prefix, const struct warren_addr *addr);
/* Zeroes the host bits; true when that changed something. */
bool prefix_mask(struct warren_prefix *prefix);
struct warren_prefix prefix_of_host(const struct warren_addr *addr);
/* ::ffff:192.0.2.1 as IPv4; anything else as it is. */
struct warren_addr addr_unmap(const struct warren_addr *addr);

/* Fills @out and returns its length; 0 for family 0. */
socklen_t addrport_to_sockaddr(const struct warren_addrport *ap, struct sockaddr_storage *out);
/* IPv4-mapped addresses become IPv4. -EAFNOSUPPORT, or -EINVAL for a short @len. */
int addrport_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct warren_addrport *out);

#endif
