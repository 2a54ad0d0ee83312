/*
 * paths/icmp.h - ICMP echo on a raw IPv4 socket (RFC 792): how far a relay is, where UDP does not
 * get through (path-protocols.md 5.5). Pure.
 */
#ifndef PATHS_ICMP_H
#define PATHS_ICMP_H

#include <warren/plugin.h>

#include "base/buf.h"

enum {
	ICMP_ECHO_HEADER = 8,
	ICMP_ECHO_DATA = 64,
	ICMP_ECHO_MAX = ICMP_ECHO_HEADER + ICMP_ECHO_DATA,
};

struct icmp_echo {
	uint16_t id, seq;
	const uint8_t *data;		/* of a reply: within the packet */
	size_t len;
};

/* A message of @type with its checksum, over what @sum already holds as well (base/inet.h). */
void icmp_put_echo(struct buf_writer *w, uint8_t type, const struct icmp_echo *echo, uint32_t sum);
/* A request, without an IP header: the kernel writes it. 0: @echo has more than ICMP_ECHO_DATA. */
size_t icmp_request(const struct icmp_echo *echo, uint8_t out[ICMP_ECHO_MAX]);
/* Takes an IPv4 packet apart. False: it is no whole reply to an echo. */
bool icmp_reply_parse(const uint8_t *packet, size_t len, struct warren_addr *from,
		      struct icmp_echo *out);

#endif
