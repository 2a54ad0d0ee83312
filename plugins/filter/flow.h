/*
 * Flows that this node began: whose answers need no rule (UDP and SCTP, control-protocol.md 8.2).
 *
 * A fixed table that all workers read and write without locks. A flow is remembered as a 64-bit
 * keyed hash of its addresses and ports: a slot is one word, so a reader meets a whole flow or
 * none, and a peer cannot guess what would collide. Old flows give way to new ones in their
 * bucket.
 */
#ifndef FILTER_FLOW_H
#define FILTER_FLOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

enum {
	FILTER_FLOW_WAYS = 8,
	FILTER_FLOW_BUCKETS = 512,
	FILTER_FLOW_IDLE = 300,		/* seconds; RFC 4787 REQ-5 recommends five minutes */
};

struct filter_flow_bucket {
	_Atomic uint64_t mark[FILTER_FLOW_WAYS];	/* 0: free */
	_Atomic uint32_t seen[FILTER_FLOW_WAYS];	/* seconds since boot */
};

struct filter_flows {
	uint64_t secret[2];
	struct filter_flow_bucket buckets[FILTER_FLOW_BUCKETS];
};

void filter_flows_init(struct filter_flows *flows);
/* @packet leaves: its answers are welcome. Any worker. */
void filter_flows_sent(struct filter_flows *flows, const struct filter_packet *packet,
		       uint64_t now);
/* @packet came in: does it answer one that left? Refreshes the flow. Any worker. */
bool filter_flows_answers(struct filter_flows *flows, const struct filter_packet *packet,
			  uint64_t now);

#endif
