/*
 * The compiled policy: built once from a network map, then constant, read by workers without locks.
 *
 * Two axes of address intervals, sources and destinations, per family. An interval of sources leads
 * to the sorted list of rules that have it; one of destinations to the sorted list of destination
 * entries, each of which belongs to a rule and has a port range. Equal lists are stored once. A
 * packet costs two binary searches and a walk over the destination entries that cover its address.
 */
#ifndef FILTER_TABLE_H
#define FILTER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/packet.h>
#include <warren/service/netmap.h>

#include "packet.h"

struct filter_flows;
struct filter_table;

enum filter_reason {			/* warren_packet.reason; labels of the metrics */
	FILTER_ACCEPTED = 0,
	FILTER_TOO_SHORT,
	FILTER_UNKNOWN_PROTOCOL,
	FILTER_MULTICAST,
	FILTER_LINK_LOCAL,
	FILTER_NOT_LOCAL,		/* the destination is not ours to serve */
	FILTER_ACL,			/* no rule allows it */
	FILTER_REASONS,
};
const char *filter_reason_name(enum filter_reason reason);

enum { FILTER_LIST_ITEMS = 1 << 22 };	/* of all lists of one table: 16 MiB */

/*
 * Compiles the rules and the local destinations of @map; touches nothing else, any thread. @flows
 * is shared between tables and outlives them. NULL with *@result -ENOMEM, or -E2BIG:
 * FILTER_LIST_ITEMS.
 */
struct filter_table *filter_table_new(const struct warren_netmap *map, struct filter_flows *flows,
				      int *result);
void filter_table_free(void *table);	/* struct filter_table; NULL is allowed */
uint32_t filter_table_rules(const struct filter_table *table);
size_t filter_table_bytes(const struct filter_table *table);

/* The verdict on one packet, in the order of control-protocol.md 8.2. Any worker. */
enum filter_reason filter_table_decide(const struct filter_table *table, uint32_t direction,
				       const uint8_t *data, size_t len, uint64_t now);
/* Do the rules alone let in a first packet from a peer? Any thread. */
enum filter_reason filter_table_allows(const struct filter_table *table,
				       const struct filter_packet *packet);

#endif
