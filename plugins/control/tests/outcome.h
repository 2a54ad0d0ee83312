/*
 * outcome.h - what a map leads to: the peers and allowed IPs of the data plane, which follows the
 * changes; verdicts of the packet filter; addresses and routes of the router
 */
#ifndef CTL_TESTS_OUTCOME_H
#define CTL_TESTS_OUTCOME_H

#include <warren/service/netmap.h>

struct wg_device;
struct outcome {
	struct wg_device *dev;
	const struct warren_netmap *now;
};
void outcome_open(struct outcome *outcome);
void outcome_close(struct outcome *outcome);
/* The next snapshot of a stream. */
void outcome_follow(struct outcome *outcome, const struct warren_netmap *map);
/* The outcome must be the one that @fresh has by itself. */
void outcome_compare(struct outcome *outcome, const struct warren_netmap *fresh);
/* For bsearch() among peers. */
int outcome_node_order(const void *a, const void *b);

#endif
