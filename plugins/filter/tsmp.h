/*
 * Messages between nodes inside the tunnel: IP protocol 99 (control-protocol.md 8.2,
 * path-protocols.md 8; layout as the stock client 1.102 has it). They end here and never reach the
 * host.
 *
 *     after the IP header         sent when
 *     '!' protocol reason         a first packet was refused: the sender's ports as he sent them,
 *         port(2) port(2) [flags]  first that of the source; flag 1: it may work all the same
 *     'p' data(8)                 a ping, answered before the rules are asked
 *     'o' data(8) port(2)         its answer, with the port of the peer API, 0: none
 */
#ifndef FILTER_TSMP_H
#define FILTER_TSMP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet.h"
#include "table.h"

enum { FILTER_TSMP_MAX = 64 };		/* bytes of the longest that is written here */

enum filter_tsmp_kind {
	FILTER_TSMP_OTHER = 0, FILTER_TSMP_REFUSAL, FILTER_TSMP_PING, FILTER_TSMP_PONG
};

struct filter_tsmp {
	enum filter_tsmp_kind kind;
	uint8_t ping[8];
	uint8_t reason;			/* REFUSAL: 'A' ACL, 'S' shields up, ... */
	bool maybe;			/* the peer is not sure */
	struct filter_packet refused;	/* as it left this node: protocol, addresses, ports */
};

/* Takes @data apart, which filter_packet_parse() made @packet of. Any thread. */
void filter_tsmp_read(const struct filter_packet *packet, const uint8_t *data, size_t len,
		      struct filter_tsmp *out);
/* What the reason of a refusal is called by the stock client; "other" if it is unknown. */
const char *filter_tsmp_reason(uint8_t reason);
enum { FILTER_TSMP_REASONS = 6 };
/* The names, for those who count by them: 0 ... FILTER_TSMP_REASONS - 1. */
const char *filter_tsmp_reason_at(int which);
int filter_tsmp_reason_index(uint8_t reason);

/*
 * What to answer when @packet was dropped because of @why: bytes in @out, or 0: nothing. As the
 * stock client: first packets of TCP over IPv4 only. Any thread.
 */
size_t filter_tsmp_refuse(const struct filter_packet *packet, enum filter_reason why, bool shields,
			  uint8_t out[FILTER_TSMP_MAX]);
/*
 * The answer to the ping @tsmp in @packet. @port: of this node's peer API at the address that was
 * pinged, 0: it has none. Any thread.
 */
size_t filter_tsmp_pong(const struct filter_packet *packet, const struct filter_tsmp *tsmp,
			uint16_t port, uint8_t out[FILTER_TSMP_MAX]);

/*
 * What a peer may make this node send or tell: FILTER_TSMP_RATE a second for one address and
 * FILTER_TSMP_RATE_ALL in all, and bursts of as many. No lock, no allocation, any worker. A race
 * between workers refuses one that had a right to pass.
 */
enum { FILTER_TSMP_RATE = 20, FILTER_TSMP_RATE_ALL = 200, FILTER_TSMP_PLACES = 256 };
struct filter_pace {
	uint64_t secret[2];
	_Atomic uint64_t all;		/* when the burst so far is paid off; warren_now() clock */
	_Atomic uint64_t due[FILTER_TSMP_PLACES];	/* by a keyed hash of the address */
};
void filter_pace_init(struct filter_pace *pace);
bool filter_pace_allows(struct filter_pace *pace, uint8_t version, const struct filter_addr *peer,
			uint64_t now);

#endif
