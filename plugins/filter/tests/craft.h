/*
 * Makes inner packets for tests.
 */
#ifndef FILTER_TESTS_CRAFT_H
#define FILTER_TESTS_CRAFT_H

#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

enum { CRAFT_MAX = 512 };

struct craft {
	const char *source, *destination;	/* or, where NULL: */
	struct warren_addr from, to;
	uint8_t protocol, tcp_flags, icmp_type, icmp_code;
	uint16_t source_port, port;
	uint16_t fragment;		/* flags and offset as in the header */
	uint8_t options;		/* IPv4: words of options */
	uint8_t chain[4], n_chain;	/* IPv6: extension headers, 44 with `fragment` */
	uint8_t chain_words;		/* length field of the others, in 8 bytes */
	uint8_t segments_left;		/* of routing headers */
	uint16_t body;			/* bytes after the IP headers; 0: 40 */
};

/* Returns the length. */
size_t craft_packet(const struct craft *craft, uint8_t out[CRAFT_MAX]);

#endif
