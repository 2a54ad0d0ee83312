/*
 * node.h - a node in a test: an engine with the real `identity` and `derp`, a provider of network
 * maps, and a consumer that writes down what it is told. The clock is fake and moves a millisecond
 * with each turn.
 */
#ifndef DERP_TESTS_NODE_H
#define DERP_TESTS_NODE_H

#include <warren/service/identity.h>
#include <warren/service/netmap.h>
#include <warren/service/relay.h>

enum { NODE_REGIONS = 4, NODE_NODES = 3, NODE_DATA = 70000 };

struct node_region {			/* what was told of one */
	uint32_t connecting, connected, failed, closed, received, gone, unwell, well;
	enum warren_relay_state state;
	char why[256], health[256];
	uint8_t from[32], data[NODE_DATA];
	size_t len;
	uint32_t reason;
};

struct node {
	char folder[64];
	struct wcore_engine *engine;
	struct warren_ctx *ctx;		/* of nobody: for the other side */
	struct warren_ctx *world;
	const struct warren_relay_ops *ops;
	void *self;
	bool stranger;			/* what is received is from no peer of ours */
	struct node_region told[NODE_REGIONS];	/* by region number */
};

/* Around each test; node_of() is its node. */
int node_setup(void **state);
int node_teardown(void **state);
struct node *node_of(void);

/* Puts "derp: {@derp}" into force, with the consumer or without. */
void node_apply(const char *derp, bool consumer);
/* Copies @regions into a map, which comes into force. */
void node_map(const struct warren_relay_region *regions, uint32_t n);
void node_turn(void);
void node_pass(uint64_t usec);		/* time, all at once, then some turns */
/* For a bench: from now on the clock is the real one, and a turn waits for what happens. */
void node_real_time(void);
void node_wait(void);
int64_t node_stat(const char *name, const char *label);
void node_public_key(uint8_t out[32]);
void node_rotate(void);

#define WAIT(cond) do {									\
	for (int wait_ = 0; !(cond) && wait_ < 4000; wait_++)				\
		node_turn();								\
	if (!(cond))									\
		print_error("never: %s\n", #cond);					\
	assert_true(cond);								\
} while (0)

#endif
