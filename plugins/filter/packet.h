/*
 * The inner packet as far as a filter must know it.
 */
#ifndef FILTER_PACKET_H
#define FILTER_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

enum {
	FILTER_ICMP = 1, FILTER_TCP = 6, FILTER_UDP = 17, FILTER_ICMP6 = 58,
	FILTER_TSMP = 99,		/* of the stock client, control-protocol.md 8.2 */
	FILTER_SCTP = 132,
};

/* An address as a number, so that ranges are compared alike in both families. */
struct filter_addr {
	uint64_t high, low;		/* IPv4: low 32 bits */
};

struct filter_packet {
	uint8_t version;		/* 4, 6 */
	uint8_t protocol;		/* IPv6: what follows the extension headers */
	bool later_fragment;		/* no header of the protocol in it */
	bool bad_fragment;		/* tiny, or could overlap a header */
	uint8_t tcp_flags, icmp_type, icmp_code;
	uint16_t source_port, port;	/* TCP, UDP, SCTP; else 0 */
	uint32_t body, offset;		/* bytes after the IP headers; where they begin */
	struct filter_addr source, destination;
};

enum { FILTER_FIN = 1, FILTER_SYN = 2, FILTER_RST = 4, FILTER_ACK = 16 };

/*
 * Takes @data apart. False: not IP, lengths that do not fit, a header that is not whole, a fragment
 * that is tiny or could overlap a header. Then only `bad_fragment` of @out means something. Any
 * thread.
 */
bool filter_packet_parse(const uint8_t *data, size_t len, struct filter_packet *out);
struct warren_addr filter_addr_plain(uint8_t version, const struct filter_addr *addr);

#endif
