/*
 * The server's clock, and keys that expire by it (section 1.2). A node moves from good to expired
 * only: what the server calls expired stays so whatever the clock says.
 */
#include <errno.h>
#include <stdlib.h>
#include <syslog.h>

#include "map_impl.h"

static const int64_t clock_slack = 60;		/* seconds that are no difference */
/* Who says that it is earlier, as test servers do, has no clock; stock: expiry.go. */
static const int64_t no_earlier = 1673373066;
static const int64_t look_again = 3600;		/* seconds; clocks are set and machines sleep */

int64_t ctl_map_time(const struct ctl_map *map)
{
	return warren_realtime() / 1000000 + map->stats.clock_delta;
}

void ctl_clock_told(struct ctl_map *map, int64_t control_time_ns)
{
	int64_t told = control_time_ns / 1000000000, delta = told - warren_realtime() / 1000000;

	if (told < no_earlier)
		return;
	map->stats.control_time = told;
	map->stats.clock_delta = delta < -clock_slack || delta > clock_slack ? delta : 0;
}

bool ctl_clock_expired(const struct ctl_map *map, const struct warren_node *node)
{
	return !node->expired && node->key_expiry && node->key_expiry <= ctl_map_time(map);
}

void ctl_clock_arm(struct ctl_map *map)
{
	const struct ctl_state *state = map->current ? &map->current->state : NULL;
	int64_t next = INT64_MAX, left;

	if (!map->expiry || !state)
		return;
	if (state->peers)
		next = state->peers->next_expiry;
	if (state->self && !state->self->node.expired && state->self->node.key_expiry &&
	    state->self->node.key_expiry < next)
		next = state->self->node.key_expiry;
	if (next == INT64_MAX) {
		warren_timer_stop(map->expiry);
		return;
	}
	left = next - ctl_map_time(map);
	left = left < 1 ? 1 : left > look_again ? look_again : left;
	warren_timer_set(map->expiry, (uint64_t)left * 1000000);
}

/* The bound of the table is exact again after a look at all of it. */
static void recount(struct ctl_table *table)
{
	table->next_expiry = INT64_MAX;
	for (uint32_t i = 0; i < table->n; i++) {
		const struct warren_node *node = table->nodes[i];

		if (!node->expired && node->key_expiry && node->key_expiry < table->next_expiry)
			table->next_expiry = node->key_expiry;
	}
}

void ctl_clock_fired(struct warren_ctx *ctx, void *arg)
{
	struct ctl_map *map = arg;

	if (ctl_apply_expiry(map))
		warren_log(ctx, LOG_ERR, "keys that expired are not taken out of the map: %s",
			   map->why);
	else if (map->current && map->current->state.peers)
		recount(map->current->state.peers);
	ctl_clock_arm(map);
}
