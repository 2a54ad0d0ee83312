/*
 * What should be in the kernel, as one pure function of network map and configuration, and the
 * difference between two such states.
 *
 * A state is six lists, one per kind and family. Items are the requests of priv.h themselves with
 * verb 0 and all unused bytes zero, so that equal items are equal bytes; lists are sorted.
 */
#ifndef ROUTER_DESIRED_H
#define ROUTER_DESIRED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/priv.h>
#include <warren/service/netmap.h>

enum router_part {			/* in the order in which they are applied */
	ROUTER_ADDR4, ROUTER_ADDR6, ROUTER_ROUTE4, ROUTER_ROUTE6, ROUTER_RULE4, ROUTER_RULE6,
	ROUTER_PARTS,
};
const char *router_part_name(enum router_part part);
enum warren_op router_part_op(enum router_part part);
bool router_part_is_v6(enum router_part part);
size_t router_part_size(enum router_part part);	/* of an item */

struct router_list {
	uint8_t *items;
	size_t n;
};

struct router_state {
	struct router_list parts[ROUTER_PARTS];
};

struct router_conf {			/* the section, read */
	uint32_t table, metric, rule_priority, mark, mask;
	bool routes, rules;
	bool ipv6;			/* the kernel has it */
};

enum {					/* distances from rule_priority: the stock client's */
	ROUTER_RULE_MAIN = 0, ROUTER_RULE_DEFAULT = 20, ROUTER_RULE_UNREACHABLE = 40,
	ROUTER_RULE_OURS = 60,
};

/*
 * Fills @out, which is empty. @map NULL or without self: nothing is desired. 0 or -ENOMEM; the
 * caller frees @out in any case.
 */
int router_desired(const struct warren_netmap *map, const struct router_conf *conf,
		   const char *ifname, struct router_state *out);
void router_state_free(struct router_state *state);
/*
 * May another state be desired with @map than with @before, the map that was looked at last (NULL:
 * none)? Most maps only say that a peer moved or went offline.
 */
bool router_map_matters(const struct warren_netmap *map, const struct warren_netmap *before);

/*
 * The items that lead from @from to @to, removals first, with their verbs set. 0 or -ENOMEM; the
 * caller frees out->items.
 */
int router_diff(enum router_part part, const struct router_list *from, const struct router_list *to,
		struct router_list *out);
/* Changes @list as the first @n items of a difference say. 0 or -ENOMEM. */
int router_apply(enum router_part part, struct router_list *list, const uint8_t *items, size_t n);

#endif
