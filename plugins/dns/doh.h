/*
 * dns/doh.h - questions in HTTP requests (RFC 8484): no state
 */
#ifndef DNS_DOH_H
#define DNS_DOH_H

#include <stddef.h>
#include <stdint.h>

enum { DNS_DOH_MAX = 4096 };		/* bytes of a question; what is longer is none */
#define DNS_DOH_TYPE "application/dns-message"

/*
 * The message in the query of a GET: "/dns-query?dns=AAABAAABAAAAAAAAA3d3dw...", base64url without
 * padding (RFC 4648 5); other parameters are passed over. Its length; -ENOENT: there is none;
 * -EINVAL: it cannot be read; -EMSGSIZE: it is too long.
 */
int dns_doh_query(const char *path, uint8_t out[DNS_DOH_MAX]);

#endif
