/*
 * paths/inner.h - pings inside the tunnel: TSMP, which the peer's daemon answers, and ICMP, which
 * its host does (path-protocols.md 4.10)
 */
#ifndef WARREN_PATHS_INNER_H
#define WARREN_PATHS_INNER_H

#include <warren/plugin.h>

enum inner_kind { INNER_TSMP, INNER_ICMP };
enum { INNER_NONCE = 8, INNER_MAX = 96 };	/* bytes of a ping, with the IP header */

struct inner_pong {
	enum inner_kind kind;
	struct warren_addr from;
	uint8_t nonce[INNER_NONCE];
	uint16_t port;			/* TSMP: of the peer's peer API; 0: it has none */
};

/* A whole IP packet, as long as is returned. @from and @to are of one family. */
size_t inner_ping(enum inner_kind kind, const struct warren_addr *from,
		  const struct warren_addr *to, const uint8_t nonce[INNER_NONCE],
		  uint8_t out[INNER_MAX]);
/* Takes an IP packet apart. False: it is no answer to such a ping. */
bool inner_pong_parse(const uint8_t *data, size_t len, struct inner_pong *out);

#endif
