/*
 * What a compiled policy consists of; table.c reads it, compile.c writes it.
 */
#ifndef FILTER_COMPILE_H
#define FILTER_COMPILE_H

#include <stdbool.h>
#include <stdint.h>

#include "axis.h"
#include "base/arena.h"
#include "set.h"
#include "table.h"

struct filter_source {			/* what the rules say about a source: sets of entries */
	uint32_t all, plain;		/* `plain`: not by a capability */
	bool cap;			/* a capability of it is a source of some rule */
};

/*
 * An entry is a destination of a rule. Every set is one of entries, so that source, destination
 * and service (protocol and port) of a packet lead to three sets, which meet if a rule allows it.
 * Set 0 is empty.
 */
struct filter_table {
	struct filter_flows *flows;	/* FILTER_FLOW_TABLES of them */
	bool accept_all;		/* the map selects the data plane's built-in policy */
	bool any_jailed;
	enum filter_state state;
	uint32_t n_rules;
	size_t bytes;
	struct filter_axis local[2], jailed[2];	/* IPv4, IPv6; values 0, 1 */
	struct filter_axis sources[2];		/* values: index in `source` */
	struct filter_axis destinations[2];	/* values: sets */
	struct filter_axis tcp, udp, sctp;	/* ports; values: sets */
	uint32_t protocols[256];		/* of the other protocols: sets */
	const struct filter_source *source;
	struct filter_sets sets;
	struct arena arena;
};

#endif
