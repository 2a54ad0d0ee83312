/*
 * The metrics registry. Counting is one relaxed atomic add; opening, closing and reading take the
 * registry's mutex.
 */
#ifndef WARREN_ENGINE_STAT_H
#define WARREN_ENGINE_STAT_H

#include <stdint.h>

#include <warren/plugin.h>

struct wcore_stats;

#pragma GCC visibility push(default)

struct wcore_stats *wcore_stats_new(void);
void wcore_stats_free(struct wcore_stats *stats);	/* NULL is allowed */

/*
 * Calls @fn for each counter, sorted by plugin, metric row and label. @label: value, NULL if the
 * metric has none. Everything lives for the call, which runs under the mutex: it opens no stat.
 * Any thread.
 */
typedef void wcore_stat_fn(const char *plugin, const struct warren_metric *metric,
			   const char *label, int64_t value, void *arg);
void wcore_stats_each(struct wcore_stats *stats, wcore_stat_fn *fn, void *arg);

/*
 * All of it in the text format of Prometheus 0.0.4, NUL-terminated, for free(). NULL: no memory.
 * Any thread.
 */
char *wcore_stats_text(struct wcore_stats *stats);

#pragma GCC visibility pop

#endif
