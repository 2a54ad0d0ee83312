/*
 * The compiled policy: built once from a network map, then constant, read by workers without locks.
 *
 * A packet costs a search on each of four axes (local addresses, sources, destinations, ports) and
 * a meeting of three bit vectors; see axis.h and set.h.
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
	FILTER_FRAGMENT,		/* tiny, or may overlap a header */
	FILTER_MULTICAST,
	FILTER_LINK_LOCAL,
	FILTER_NOT_LOCAL,		/* the destination is not ours to serve */
	FILTER_ACL,			/* no rule allows it */
	FILTER_FROM_HOST,		/* TSMP, which only this plugin may send */
	FILTER_ERROR,			/* there is no table */
	FILTER_REASONS,
};
const char *filter_reason_name(enum filter_reason reason);

enum filter_state {
	FILTER_IN_FORCE = 0,
	FILTER_SHIELDS_UP,		/* no rule counts: the node wants none */
	FILTER_DISCARDED,		/* no rule counts: one admits an unsigned peer */
};

enum {					/* the flow tables that a filter table needs, in a row */
	FILTER_FLOWS_OPEN = 0,
	FILTER_FLOWS_JAILED,		/* of jailed peers */
	FILTER_FLOWS_TCP,		/* connections; only so that a refusal of one is believed */
	FILTER_FLOW_TABLES,
	FILTER_ENTRIES = 1 << 18,	/* destinations of all rules */
};

/* The networks that the host is attached to: addresses with the bits of their network. */
struct filter_host {
	struct warren_prefix *networks;
	uint32_t n;
	bool unknown;			/* they cannot be read: nobody is led to the internet */
};

/*
 * Compiles the rules and the local destinations of @map; touches nothing else, any thread. @flows
 * are FILTER_FLOW_TABLES, shared between tables, and outlive them. NULL with *@result -ENOMEM, or
 * -E2BIG: FILTER_ENTRIES, FILTER_RANGES, FILTER_SET_BYTES.
 */
struct filter_table *filter_table_new(const struct warren_netmap *map, struct filter_flows *flows,
				      int *result);
/* The same on a host with networks; @host lives for the call. */
struct filter_table *filter_table_new_on(const struct warren_netmap *map,
					 const struct filter_host *host,
					 struct filter_flows *flows, int *result);
void filter_table_free(void *table);	/* struct filter_table; NULL is allowed */
uint32_t filter_table_rules(const struct filter_table *table);
size_t filter_table_bytes(const struct filter_table *table);
enum filter_state filter_table_state(const struct filter_table *table);

/* The verdict on one packet, in the order of control-protocol.md 8.2. Any worker. */
enum filter_reason filter_table_decide(const struct filter_table *table, uint32_t direction,
				       const uint8_t *data, size_t len, uint64_t now);
/* Do the rules alone let in a first packet from a peer? Any thread. */
enum filter_reason filter_table_allows(const struct filter_table *table,
				       const struct filter_packet *packet);
/* Does nothing that the sender of @packet begins get in, whatever the rules say? Any thread. */
bool filter_table_shields(const struct filter_table *table, const struct filter_packet *packet);
/* Did this node begin the TCP connection of @packet, as it left, lately? Any worker. */
bool filter_table_began(const struct filter_table *table, const struct filter_packet *packet,
			uint64_t now);

#endif
