/*
 * Metrics. A counter is owned by the context that opened it and found by its name: "plugin, metric,
 * label". Its memory outlives its place in the registry by the workers' grace, so a hook never adds
 * to freed memory.
 */
#include "engine/stat.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/hash.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/log.h"
#include "engine/plugin_load.h"
#include "engine/table.h"

struct warren_stat {
	_Atomic int64_t value;
	struct wcore_stats *stats;
	struct warren_metric metric;
	const char *plugin;
	const char *label;		/* inside key, or NULL */
	uint32_t row;
	uint32_t refs;			/* opened so often; under the registry's mutex */
	char *key;
};

struct wcore_stats {
	pthread_mutex_t mutex;
	struct hash by_key;
};

struct wcore_stats *wcore_stats_new(void)
{
	struct wcore_stats *stats = calloc(1, sizeof(*stats));

	if (!stats)
		return NULL;
	pthread_mutex_init(&stats->mutex, NULL);
	hash_init(&stats->by_key);
	return stats;
}

void wcore_stats_free(struct wcore_stats *stats)
{
	if (!stats)
		return;
	hash_free(&stats->by_key);
	pthread_mutex_destroy(&stats->mutex);
	free(stats);
}

static void stat_end(void *obj)
{
	struct warren_stat *stat = obj;

	pthread_mutex_lock(&stat->stats->mutex);
	if (stat->key)
		hash_del_str(&stat->stats->by_key, stat->key);
	pthread_mutex_unlock(&stat->stats->mutex);
	free(stat->key);
	stat->key = NULL;
}

static bool stat_shared(void *obj)
{
	struct warren_stat *stat = obj;
	bool shared;

	pthread_mutex_lock(&stat->stats->mutex);
	shared = stat->refs > 1;
	if (shared)
		stat->refs--;
	pthread_mutex_unlock(&stat->stats->mutex);
	return shared;
}

static const struct wcore_kind stat_kind = {
	.name = "stat", .end = stat_end, .shared = stat_shared,
};

static uint32_t find_row(const struct warren_ctx *ctx, const char *name, struct warren_metric *row)
{
	for (uint32_t i = 0; ctx->plugin &&
	     wcore_table_row(&ctx->plugin->desc.metrics, i, row, sizeof(*row)); i++)
		if (strcmp(row->name, name) == 0)
			return i;
	wcore_log(LOG_CRIT, "warren_stat_open: `%s` is no row of the metrics of plugin `%s`", name,
		  ctx->name);
	abort();
}

struct warren_stat *warren_stat_open(struct warren_ctx *ctx, const char *name, const char *label)
{
	struct wcore_stats *stats = wcore_engine_stats(ctx->engine);
	struct warren_stat *stat;
	struct warren_metric row;
	struct str key = STR_INIT;
	uint32_t index = find_row(ctx, name, &row);

	wcore_ctx_assert_open(ctx, "warren_stat_open");
	str_addf(&key, "%s\n%s\n", ctx->name, name);
	if (label)
		str_add(&key, label);
	if (key.failed) {
		str_free(&key);
		return NULL;
	}
	pthread_mutex_lock(&stats->mutex);
	stat = hash_get_str(&stats->by_key, key.s);
	if (stat)
		stat->refs++;
	pthread_mutex_unlock(&stats->mutex);
	if (stat) {
		str_free(&key);
		return stat;
	}
	stat = wcore_own_new(ctx, &stat_kind, sizeof(*stat));
	if (!stat) {
		str_free(&key);
		return NULL;
	}
	stat->stats = stats;
	stat->metric = row;
	stat->plugin = ctx->name;
	stat->row = index;
	stat->refs = 1;
	if (label)
		stat->label = key.s + strlen(ctx->name) + strlen(name) + 2;
	stat->key = str_take(&key);
	pthread_mutex_lock(&stats->mutex);
	if (hash_put_str(&stats->by_key, stat->key, stat, NULL)) {
		pthread_mutex_unlock(&stats->mutex);
		warren_release(stat);
		return NULL;
	}
	pthread_mutex_unlock(&stats->mutex);
	return stat;
}

void warren_stat_add(struct warren_stat *stat, int64_t n)
{
	if (stat)
		atomic_fetch_add_explicit(&stat->value, n, memory_order_relaxed);
}

void warren_stat_set(struct warren_stat *stat, int64_t n)
{
	if (stat)
		atomic_store_explicit(&stat->value, n, memory_order_relaxed);
}

/*
 * ---- Reading ----
 */

static int compare(const void *pa, const void *pb)
{
	const struct warren_stat *a = *(struct warren_stat *const *)pa;
	const struct warren_stat *b = *(struct warren_stat *const *)pb;
	int c = strcmp(a->plugin, b->plugin);

	if (!c)
		c = a->row < b->row ? -1 : a->row > b->row;
	if (!c)
		c = strcmp(a->label ? a->label : "", b->label ? b->label : "");
	return c;
}

void wcore_stats_each(struct wcore_stats *stats, wcore_stat_fn *fn, void *arg)
{
	struct warren_stat **sorted, *stat;
	uint32_t pos = 0;
	size_t n = 0;

	pthread_mutex_lock(&stats->mutex);
	sorted = calloc((size_t)stats->by_key.count + 1, sizeof(struct warren_stat *));
	while (sorted && (stat = hash_next(&stats->by_key, &pos)))
		sorted[n++] = stat;
	if (n)
		qsort(sorted, n, sizeof(*sorted), compare);
	for (size_t i = 0; i < n; i++)
		fn(sorted[i]->plugin, &sorted[i]->metric, sorted[i]->label,
		   atomic_load_explicit(&sorted[i]->value, memory_order_relaxed), arg);
	pthread_mutex_unlock(&stats->mutex);
	free(sorted);
}

/* Prometheus text format 0.0.4: names [a-zA-Z0-9_:], backslash escapes in help and label values. */
static void add_name(struct str *out, const char *plugin, const char *name)
{
	size_t at;

	str_add(out, "warren_");
	at = out->len;
	str_addf(out, "%s_%s", plugin, name);
	for (; at < out->len; at++)
		if (out->s[at] == '-' || out->s[at] == '.')
			out->s[at] = '_';
}

static void add_escaped(struct str *out, const char *text, bool quotes)
{
	for (; *text; text++) {
		if (*text == '\n')
			str_add(out, "\\n");
		else if (*text == '\\' || (quotes && *text == '"'))
			str_addf(out, "\\%c", *text);
		else
			str_addc(out, *text);
	}
}

struct render {
	struct str out;
	const char *plugin, *name;	/* of the metric whose header is written */
};

static void render_one(const char *plugin, const struct warren_metric *metric, const char *label,
		       int64_t value, void *arg)
{
	struct render *r = arg;
	struct str *out = &r->out;

	if (r->plugin != plugin || r->name != metric->name) {
		str_add(out, "# HELP ");
		add_name(out, plugin, metric->name);
		str_addc(out, ' ');
		add_escaped(out, metric->brief ? metric->brief : "", false);
		str_add(out, "\n# TYPE ");
		add_name(out, plugin, metric->name);
		str_addf(out, " %s\n", metric->kind == WARREN_COUNTER ? "counter" : "gauge");
		r->plugin = plugin;
		r->name = metric->name;
	}
	add_name(out, plugin, metric->name);
	if (metric->label) {
		str_addf(out, "{%s=\"", metric->label);
		add_escaped(out, label ? label : "", true);
		str_add(out, "\"}");
	}
	str_addf(out, " %lld\n", (long long)value);
}

char *wcore_stats_text(struct wcore_stats *stats)
{
	struct render r = { .out = STR_INIT };

	str_add(&r.out, "");
	wcore_stats_each(stats, render_one, &r);
	return str_take(&r.out);
}

char *warren_stats_text(struct warren_ctx *ctx)
{
	return wcore_stats_text(wcore_engine_stats(ctx->engine));
}
