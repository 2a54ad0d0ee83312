/*
 * Counters: from the table in counters.h to the metrics registry.
 */
#include "counters.h"

#include <errno.h>

static const struct {
	const char *metric, *label;
} names[WG_C_COUNT] = {
#define WG_COUNTER_NAME(id, metric, label) [WG_C_##id] = { metric, label },
	WG_COUNTERS(WG_COUNTER_NAME)
#undef WG_COUNTER_NAME
};

int wg_stats_open(struct wg_stats *stats, struct warren_ctx *ctx)
{
	for (uint32_t i = 0; i < WG_C_COUNT; i++) {
		stats->stat[i] = warren_stat_open(ctx, names[i].metric, names[i].label);
		if (!stats->stat[i])
			return -ENOMEM;
	}
	return 0;
}

void wg_counts_flush(struct wg_counts *counts, const struct wg_stats *stats)
{
	uint64_t dirty = counts->dirty;

	while (dirty) {
		int which = __builtin_ctzll(dirty);

		dirty &= dirty - 1;
		warren_stat_add(stats->stat[which], (int64_t)counts->n[which]);
		counts->n[which] = 0;
	}
	counts->dirty = 0;
}
