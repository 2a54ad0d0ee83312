/*
 * Steering: which inner packets are for the service namespace. Runs on workers, per packet: no
 * lock, no allocation, no call into the loop. A packet for nobody here costs a look at its
 * destination address, and one at a bit if that is ours.
 */
#ifndef SVCNET_STEER_H
#define SVCNET_STEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <warren/packet.h>

enum {
	STEER_ADDRS = 4,		/* of each family */
	STEER_WORDS = 65536 / 64,
	STEER_FLOW_WAYS = 8,
	STEER_FLOW_BUCKETS = 2048,
	/* Ports of dialed connections, as the monitor sets up the namespace (monitor/netns.h). */
	STEER_DIAL_LOW = 61000,
};

enum { STEER_TCP = 0, STEER_UDP = 1 };
enum {
	STEER_OPEN = 0,			/* own addresses, ahead of the packet filter */
	STEER_FILTERED,			/* own addresses, behind it */
	STEER_MAGIC,			/* the service addresses, from this host */
	STEER_SETS,
};

struct steer_ports {			/* a set of ports */
	uint64_t word[STEER_WORDS];
};

struct steer_table {			/* immutable once published */
	uint32_t n4, n6;
	uint32_t self4[STEER_ADDRS];	/* as in the packet */
	uint8_t self6[STEER_ADDRS][16];
	bool any[STEER_SETS];
	struct steer_ports ports[STEER_SETS][2];
};

/*
 * Connections that were dialed from the namespace: whose answers go there although no port is
 * served. A flow is a keyed hash, so that a slot is one word and nobody can choose collisions.
 */
struct steer_flow_bucket {
	_Atomic uint64_t mark[STEER_FLOW_WAYS];	/* 0: free */
	_Atomic uint32_t seen[STEER_FLOW_WAYS];	/* seconds since boot */
};

struct steer {
	_Atomic(const struct steer_table *) table;	/* NULL: nothing is served */
	int fd;				/* the namespace's queue */
	uint64_t secret[2];
	struct warren_stat *to, *from, *stray, *failed;	/* packets */
	struct steer_flow_bucket flows[STEER_FLOW_BUCKETS];
};

/* Zeroed before. */
void steer_init(struct steer *steer, int fd);
bool steer_table_add_self(struct steer_table *table, const struct warren_addr *addr);
void steer_table_add_port(struct steer_table *table, uint32_t set, uint32_t protocol,
			  uint16_t port);

/* Hooks: `self` is a struct steer. */
/* IN, before "filter"; drops what peers send to the service addresses, also without a namespace. */
warren_packet_fn steer_in_open;
warren_packet_fn steer_in;		/* IN, after "filter" */
warren_packet_fn steer_out;		/* OUT, before "filter" */
/* Of the namespace's queue: the second source (dataplane.h). */
warren_packet_fn steer_from;

/* The service addresses. */
extern const uint8_t steer_magic4[4], steer_magic6[16];

#endif
