/*
 * Flows that this node began. Slots are single words, so a race between workers never lets a
 * foreign packet in: relaxed order is enough, since no other memory hangs on a slot. Workers that
 * want the same slot for a new flow settle it by compare and exchange: neither flow is lost.
 */
#include "flow.h"

#include <sodium.h>
#include <string.h>

#include "base/hash.h"

static const uint64_t second = 1000000;

/* The same for a packet and for its answer: our end of the flow comes first. */
static uint64_t flow_mark(const struct filter_flows *flows, const struct filter_packet *packet,
			  bool sent)
{
	struct {
		struct filter_addr ours, theirs;
		uint16_t our_port, their_port;
		uint8_t version, protocol, zero[2];
	} key = {
		.ours = sent ? packet->source : packet->destination,
		.theirs = sent ? packet->destination : packet->source,
		.our_port = sent ? packet->source_port : packet->port,
		.their_port = sent ? packet->port : packet->source_port,
		.version = packet->version,
		.protocol = packet->protocol,
	};
	uint64_t mark;

	_Static_assert(sizeof(key) == 40, "no padding that would be hashed");
	mark = hash_siphash(flows->secret, &key, sizeof(key));
	return mark ? mark : 1;
}

void filter_flows_init(struct filter_flows *flows)
{
	memset(flows, 0, sizeof(*flows));
	randombytes_buf(flows->secret, sizeof(flows->secret));
}

/* Where a new flow goes, with what is there in *@found; or -1 if @mark is there, now seen @at. */
static int find_slot(struct filter_flow_bucket *bucket, uint64_t mark, uint32_t at,
		     uint64_t *found)
{
	uint32_t oldest = UINT32_MAX;
	int slot = 0;

	for (int i = 0; i < FILTER_FLOW_WAYS; i++) {
		uint64_t there = atomic_load_explicit(&bucket->mark[i], memory_order_relaxed);
		uint32_t seen = atomic_load_explicit(&bucket->seen[i], memory_order_relaxed);

		if (there == mark) {
			/* Written once a second at most: the line stays shared between workers. */
			if (seen != at)
				atomic_store_explicit(&bucket->seen[i], at, memory_order_relaxed);
			return -1;
		}
		if (!there)
			seen = 0;
		if (seen < oldest || i == 0) {
			oldest = seen;
			slot = i;
			*found = there;
		}
	}
	return slot;
}

void filter_flows_sent(struct filter_flows *flows, const struct filter_packet *packet,
		       uint64_t now)
{
	uint64_t mark = flow_mark(flows, packet, true), found;
	struct filter_flow_bucket *bucket = &flows->buckets[mark % FILTER_FLOW_BUCKETS];
	uint32_t at = (uint32_t)(now / second);
	int slot;

	/* Bounded: each turn that fails is a slot that another worker took. */
	for (int i = 0; i < FILTER_FLOW_WAYS; i++) {
		slot = find_slot(bucket, mark, at, &found);
		if (slot < 0)
			return;
		atomic_store_explicit(&bucket->seen[slot], at, memory_order_relaxed);
		if (atomic_compare_exchange_strong_explicit(&bucket->mark[slot], &found, mark,
							    memory_order_relaxed,
							    memory_order_relaxed))
			return;
	}
}

bool filter_flows_answers(struct filter_flows *flows, const struct filter_packet *packet,
			  uint64_t now)
{
	uint64_t mark = flow_mark(flows, packet, false);
	struct filter_flow_bucket *bucket = &flows->buckets[mark % FILTER_FLOW_BUCKETS];
	uint32_t at = (uint32_t)(now / second);

	for (int i = 0; i < FILTER_FLOW_WAYS; i++) {
		uint32_t seen;

		if (atomic_load_explicit(&bucket->mark[i], memory_order_relaxed) != mark)
			continue;
		seen = atomic_load_explicit(&bucket->seen[i], memory_order_relaxed);
		if (at > seen && at - seen > FILTER_FLOW_IDLE)
			return false;
		if (seen != at)
			atomic_store_explicit(&bucket->seen[i], at, memory_order_relaxed);
		return true;
	}
	return false;
}
