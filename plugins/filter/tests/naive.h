/*
 * The filter as a direct reading of control-protocol.md 8: every rule, one after the other. Shares
 * no code with the plugin.
 */
#ifndef FILTER_TESTS_NAIVE_H
#define FILTER_TESTS_NAIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/service/netmap.h>

/* UDP and SCTP flows that left, without limit. */
struct naive_flow {
	uint8_t protocol;
	struct warren_addr ours, theirs;
	uint16_t our_port, their_port;
};
struct naive_flows {
	struct naive_flow at[4096];
	uint32_t n;
};
struct naive {
	const struct warren_netmap *map;
	const struct warren_prefix *host;	/* networks of the host, with its addresses */
	uint32_t n_host;
	struct naive_flows flows, jailed_flows;
};

bool naive_accepts(struct naive *naive, bool out, const uint8_t *data, size_t len);

#endif
