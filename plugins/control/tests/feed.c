/*
 * A map in a test.
 */
#include "feed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void on_published(void *arg, const struct warren_netmap *map)
{
	struct feed *feed = arg;

	if (feed->now && map->previous)
		require(map->serial == feed->now->serial + 1 &&
			map->previous == feed->now->serial);
	warren_obj_unref(feed->now);
	feed->now = warren_obj_ref(map);
	feed->published++;
}

static void on_message(void *arg, bool keepalive)
{
	struct feed *feed = arg;

	str_addf(&feed->events, "%s\n", keepalive ? "keepalive" : "message");
}

static void on_resume(void *arg)
{
	struct feed *feed = arg;

	str_add(&feed->events, "resume\n");
}

static void on_failed(void *arg, int result, const char *why)
{
	struct feed *feed = arg;

	str_addf(&feed->events, "failed %d %s\n", result, why);
}

static void on_ping(void *arg, const struct ctl_ping *ping)
{
	struct feed *feed = arg;

	str_addf(&feed->events, "ping %s noise=%d log=%d types=%s family=%d payload=%zu\n",
		 ping->url, ping->url_is_noise, ping->log, ping->types, ping->ip.family,
		 ping->n_payload);
}

static void on_browser_url(void *arg, const char *url)
{
	struct feed *feed = arg;

	str_addf(&feed->events, "browser %s\n", url);
}

static void on_debug(void *arg, const struct ctl_debug *debug)
{
	struct feed *feed = arg;

	str_addf(&feed->events, "debug sleep=%" PRIu64 " logtail=%d exit=%d\n", debug->sleep,
		 debug->disable_log_tail, debug->has_exit);
}

static void on_dial_plan(void *arg, const struct ctl_dial_candidate *candidates, uint32_t n)
{
	struct feed *feed = arg;

	struct ctl_plan plan;

	/* What is not left out fits; the test below sees which. */
	require(ctl_plan_set(&plan, "control.example", candidates, n) == n - plan.n &&
		ctl_plan_time(&plan) <= 55000000);
	str_addf(&feed->events, "plan %u", n);
	for (uint32_t i = 0; i < n; i++)
		str_addf(&feed->events, " family=%d host=%s delay=%" PRIu64 " timeout=%" PRIu64
			 " priority=%d", candidates[i].ip.family, candidates[i].ace_host,
			 candidates[i].delay, candidates[i].timeout, candidates[i].priority);
	str_add(&feed->events, "\n");
}

static void on_client_version(void *arg, const struct ctl_client_version *version)
{
	struct feed *feed = arg;

	str_addf(&feed->events, "version latest=%s notify=%d url=%s text=%s\n",
		 version->latest ? version->latest : "-", version->notify,
		 version->notify_url ? version->notify_url : "-",
		 version->notify_text ? version->notify_text : "-");
}

static void on_bad_record(void *arg, const char *why)
{
	struct feed *feed = arg;

	str_addf(&feed->bad, "%s\n", why);
}

static const struct ctl_map_events events = {
	.published = on_published,
	.message = on_message,
	.resume = on_resume,
	.failed = on_failed,
	.ping = on_ping,
	.browser_url = on_browser_url,
	.debug = on_debug,
	.dial_plan = on_dial_plan,
	.client_version = on_client_version,
	.bad_record = on_bad_record,
};

void feed_open(struct feed *feed, struct warren_ctx *ctx, const struct ctl_map_limits *limits)
{
	memset(feed, 0, sizeof(*feed));
	feed->map = ctl_map_new(ctx, limits, &events, feed);
	require(feed->map);
}

void feed_close(struct feed *feed)
{
	ctl_map_free(feed->map);
	/* Snapshots outlive the map. */
	warren_obj_unref(feed->now);
	str_free(&feed->bad);
	str_free(&feed->events);
	memset(feed, 0, sizeof(*feed));
}

uint8_t *feed_frame(const char *json, size_t len, bool compress, size_t *out_len)
{
	size_t room = ZSTD_compressBound(len), n = len;
	uint8_t *out = malloc(4 + room);

	require(out);
	if (compress)
		n = ZSTD_compress(out + 4, room, json, len, 1);
	else
		memcpy(out + 4, json, len);
	require(!ZSTD_isError(n));
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(n >> (8 * i));
	*out_len = 4 + n;
	return out;
}

static int feed_portions(struct feed *feed, const uint8_t *data, size_t len, size_t portion)
{
	int result = 0;

	for (size_t at = 0; !result && at < len; at += portion)
		result = ctl_map_feed(feed->map, data + at,
				      len - at < portion ? len - at : portion, NULL);
	return result;
}

int feed_json_n(struct feed *feed, const char *json, size_t len)
{
	size_t n;
	uint8_t *data = feed_frame(json, len, false, &n);
	int result = feed_portions(feed, data, n, n);

	free(data);
	return result;
}

int feed_json(struct feed *feed, const char *json)
{
	return feed_json_n(feed, json, strlen(json));
}

int feed_zstd(struct feed *feed, const char *json, size_t len, size_t portion)
{
	size_t n;
	uint8_t *data = feed_frame(json, len, true, &n);
	int result = feed_portions(feed, data, n, portion);

	free(data);
	return result;
}

const struct warren_node *feed_peer(const struct feed *feed, int64_t id)
{
	for (uint32_t i = 0; feed->now && i < feed->now->n_peers; i++) {
		if (feed->now->peers[i]->id == id)
			return feed->now->peers[i];
	}
	return NULL;
}

void feed_forget(struct feed *feed)
{
	str_cut(&feed->bad, 0);
	str_cut(&feed->events, 0);
}

int feed_setup(void **state)
{
	struct feed *feed = malloc(sizeof(*feed));

	if (!feed)
		abort();
	feed_open(feed, NULL, NULL);
	*state = feed;
	return 0;
}

int feed_setup_full(void **state)
{
	int result;

	feed_setup(state);
	result = feed_json(*state, FULL);
	feed_forget(*state);
	return result;
}

int feed_teardown(void **state)
{
	feed_close(*state);
	free(*state);
	return 0;
}
