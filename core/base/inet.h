/*
 * base/inet.h - headers of packets that are made here
 */
#ifndef WARREN_BASE_INET_H
#define WARREN_BASE_INET_H

#include <warren/plugin.h>

#include "base/buf.h"

enum { INET_HEADER4 = 20, INET_HEADER6 = 40 };

/*
 * An IP header (RFC 791, without options; RFC 8200) before @len bytes of @protocol, whose addresses
 * are of one family. IPv4 packets have no identification: they are not to be cut into fragments.
 */
void inet_put_header(struct buf_writer *w, const struct warren_addr *from,
		     const struct warren_addr *to, uint8_t protocol, uint16_t len);
/* RFC 1071 over @len bytes, and over what @sum already holds (0, or an inet_pseudo()). */
uint16_t inet_checksum(const void *data, size_t len, uint32_t sum);
/* Of the pseudo header of RFC 8200 section 8.1, for inet_checksum(). */
uint32_t inet_pseudo(const struct warren_addr *from, const struct warren_addr *to,
		     uint8_t protocol, uint16_t len);

#endif
