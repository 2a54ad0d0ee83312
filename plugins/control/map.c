/*
 * The map stream: lengths, compression, turns of the loop.
 *
 * A message goes from its bytes through zstd into the cutter of JSON, 16 KiB at a time, and after
 * each of these steps the clock is looked at. What is left of the caller's bytes when the time of a
 * turn is used up is held until the next one; the caller feeds no more in between, so no more than
 * one portion of its is ever held.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "map_impl.h"

enum {
	STEP = 16 << 10,
	HELD_MAX = 1 << 20,
	ZSTD_KEPT = 1 << 20,		/* a larger decoder is freed after its message */
};
/* A step of 16 KiB is about half a millisecond; the loop calls 5 ms of one callback too long. */
static const uint64_t turn_usec = 3000;

/*
 * ---- Reports ----
 */

void ctl_map_bad(struct ctl_map *map, const char *why)
{
	AUTO(str_free) struct str clean = STR_INIT;

	map->stats.bad_records++;
	str_add_clean(&clean, why, strlen(why), 400);
	if (map->events->bad_record)
		map->events->bad_record(map->arg, str_text(&clean));
}

int ctl_map_error(struct ctl_map *map, int result, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(map->why, sizeof(map->why), fmt, ap);
	va_end(ap);
	return result;
}

/*
 * ---- Messages ----
 */

static void message_drop(struct ctl_map *map)
{
	warren_json_free(map->json);
	map->json = NULL;
	ctl_delta_clear(&map->delta);
	map->inside = false;
	map->n_prefix = 0;
	if (map->zstd && ZSTD_sizeof_DCtx(map->zstd) > ZSTD_KEPT) {
		ZSTD_freeDCtx(map->zstd);
		map->zstd = NULL;
	}
}

static int message_begin(struct ctl_map *map)
{
	const uint8_t *p = map->prefix;
	uint32_t len = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
	struct warren_json_options options = {
		.size = sizeof(options), .split = ctl_decode_split,
		.deep = ctl_decode_deep,
		.piece_max = map->limits.record_max, .total_max = map->limits.decoded_max,
	};

	if (!len)
		return ctl_map_error(map, -EBADMSG, "a message of length 0");
	if (len > map->limits.message_max)
		return ctl_map_error(map, -EMSGSIZE, "a message of %u bytes, more than %llu", len,
				     (unsigned long long)map->limits.message_max);
	map->json = warren_json_new(&options, ctl_decode_piece, map);
	if (!map->json)
		return ctl_map_error(map, -ENOMEM, "out of memory");
	map->left = len;
	map->inside = true;
	map->format = CTL_UNKNOWN;
	map->frame_done = false;
	return 0;
}

/* True: it differs from the last one, which @last remembers. */
static bool is_news(struct str *last, const char *url)
{
	if (str_equal(str_text(last), url))
		return false;
	str_cut(last, 0);
	str_add(last, url);
	return true;
}

/* Section 6.5, steps 1 and 2. */
static void tell_events(struct ctl_map *map)
{
	const struct ctl_map_events *events = map->events;
	const struct ctl_delta *d = &map->delta;

	if (d->has_ping && events->ping && is_news(&map->last_ping_url, d->ping.url))
		events->ping(map->arg, &d->ping);
	if (d->browser_url && *d->browser_url && events->browser_url &&
	    is_news(&map->last_browser_url, d->browser_url))
		events->browser_url(map->arg, d->browser_url);
	if (d->has_version && events->client_version)
		events->client_version(map->arg, &d->version);
	if (d->has_plan && events->dial_plan)
		events->dial_plan(map->arg, d->plan, d->n_plan);
	if (d->has_debug && !d->keepalive && events->debug)
		events->debug(map->arg, &d->debug);
}

static int check_loaded(struct ctl_map *map)
{
	const struct ctl_record *self = map->delta.self.record;

	if (self && memcmp(self->node.key.bytes, map->loading, sizeof(self->node.key)))
		return ctl_map_error(map, -ENOENT, "the map on disk is of another node key");
	return 0;
}

static int message_apply(struct ctl_map *map, uint32_t epoch)
{
	int result = map->loading ? check_loaded(map) : 0;

	ctl_clock_told(map, map->delta.control_time);
	if (!map->loading)
		tell_events(map);
	if (result || map->delta.keepalive || map->epoch != epoch)
		return result;
	result = ctl_apply(map, &map->delta, map->fresh);
	if (result || map->epoch != epoch)
		return result;
	map->fresh = false;
	if (map->delta.collect_services)
		map->collect_services = map->delta.collect_services;
	ctl_clock_arm(map);
	return 0;
}

static int message_end(struct ctl_map *map)
{
	uint32_t epoch = map->epoch;
	struct warren_err *none = NULL;
	bool keepalive;
	int result;

	if (map->format == CTL_ZSTD && !map->frame_done)
		return ctl_map_error(map, -EBADMSG, "a message ends inside its zstd frame");
	if (warren_json_finish(map->json, none))
		return ctl_map_error(map, -EBADMSG, "a message ends inside its JSON");
	result = message_apply(map, epoch);
	if (result || map->epoch != epoch)
		return result;
	keepalive = map->delta.keepalive;
	map->stats.messages++;
	map->stats.keepalives += keepalive;
	message_drop(map);
	if (map->events->message && !map->loading)
		map->events->message(map->arg, keepalive);
	return 0;
}

/*
 * ---- Bytes ----
 */

static int feed_json(struct ctl_map *map, const void *data, size_t len)
{
	int result;

	map->stats.decoded_bytes += len;
	map->why[0] = '\0';
	result = warren_json_feed(map->json, data, len, NULL);
	if (!result || map->why[0])
		return result;
	if (result == -EMSGSIZE)
		return ctl_map_error(map, result, "a message beyond a limit (%llu bytes as a "
				     "whole, %u of one record)",
				     (unsigned long long)map->limits.decoded_max,
				     map->limits.record_max);
	return ctl_map_error(map, result, result == -ENOMEM ? "out of memory" : "not JSON");
}

static int window_log(uint64_t size)
{
	int bits = 10;

	while (bits < 31 && (UINT64_C(1) << bits) < size)
		bits++;
	return bits;
}

static int begin_zstd(struct ctl_map *map)
{
	if (!map->zstd)
		map->zstd = ZSTD_createDCtx();
	if (!map->zstd)
		return ctl_map_error(map, -ENOMEM, "out of memory");
	ZSTD_DCtx_reset(map->zstd, ZSTD_reset_session_and_parameters);
	/* A frame of one segment has a window as large as what it holds. */
	if (ZSTD_isError(ZSTD_DCtx_setParameter(map->zstd, ZSTD_d_windowLogMax,
						window_log(map->limits.decoded_max))))
		return ctl_map_error(map, -EINVAL, "this zstd takes no window of that size");
	return 0;
}

/* The first byte of a message tells: a zstd frame has a magic number, JSON an object. */
static int find_format(struct ctl_map *map, uint8_t first)
{
	switch (first) {
	case 0x28:
		map->format = CTL_ZSTD;
		return begin_zstd(map);
	case '{':
	case ' ':
	case '\t':
	case '\r':
	case '\n':
		map->format = CTL_JSON;
		return 0;
	default:
		return ctl_map_error(map, -EBADMSG, "a message that is neither JSON nor zstd");
	}
}

/* One step of decompression; *@used bytes of the message were taken. */
static int step_zstd(struct ctl_map *map, const uint8_t *data, size_t len, size_t *used,
		     bool *drained)
{
	uint8_t out[STEP];
	ZSTD_inBuffer input = { data, len, 0 };
	ZSTD_outBuffer output = { out, sizeof(out), 0 };
	size_t result;

	if (map->frame_done)
		return ctl_map_error(map, -EBADMSG, "a message goes on after its zstd frame");
	result = ZSTD_decompressStream(map->zstd, &output, &input);
	if (ZSTD_isError(result))
		return ctl_map_error(map, -EBADMSG, "zstd: %s", ZSTD_getErrorName(result));
	*used = input.pos;
	*drained = result == 0 || output.pos < output.size;
	map->frame_done = result == 0;
	return output.pos ? feed_json(map, out, output.pos) : 0;
}

/* One step of whatever comes next; *@used bytes were taken. */
static int step(struct ctl_map *map, const uint8_t *data, size_t len, size_t *used)
{
	size_t take = len < STEP ? len : STEP;
	bool drained = true;
	int result;

	if (!map->inside) {
		map->prefix[map->n_prefix++] = data[0];
		*used = 1;
		return map->n_prefix == sizeof(map->prefix) ? message_begin(map) : 0;
	}
	take = take < map->left ? take : (size_t)map->left;
	if (map->format == CTL_UNKNOWN) {
		result = find_format(map, data[0]);
		if (result)
			return result;
	}
	*used = take;
	if (map->format == CTL_JSON)
		result = feed_json(map, data, take);
	else
		result = step_zstd(map, data, take, used, &drained);
	if (result)
		return result;
	map->left -= *used;
	/* Output may be left of input that is all taken: then one byte is not yet counted. */
	while (!map->left && !drained) {
		size_t none;

		result = step_zstd(map, data + *used, 0, &none, &drained);
		if (result)
			return result;
	}
	return map->left ? 0 : message_end(map);
}

/* All of it, or until the turn's time is used up; *@used of it was taken. */
static int run(struct ctl_map *map, const uint8_t *data, size_t len, bool whole, size_t *used)
{
	uint32_t epoch = map->epoch;
	uint64_t start = warren_now(), spent = 0;
	int result = 0;

	*used = 0;
	while (!result && *used < len && map->epoch == epoch) {
		size_t n = 0;

		result = step(map, data + *used, len - *used, &n);
		*used += n;
		spent = warren_now() - start;
		if (!whole && spent >= turn_usec)
			break;
	}
	map->stats.usec += spent;
	map->stats.bytes += *used;
	/* What came behind the message that ended this stream is of no interest. */
	if (map->epoch != epoch) {
		*used = len;
		return 0;
	}
	if (result) {
		message_drop(map);
		map->broken = true;
	}
	return result;
}

int ctl_map_run(struct ctl_map *map, const void *data, size_t len)
{
	size_t used;

	return run(map, data, len, true, &used);
}

/*
 * ---- Turns ----
 */

static int hold(struct ctl_map *map, const uint8_t *data, size_t len)
{
	size_t need;
	uint8_t *grown;

	if (!size_add(map->held_len, len, &need) || need > HELD_MAX)
		return ctl_map_error(map, -ENOBUFS, "fed while it is busy");
	if (need > map->held_room) {
		grown = realloc(map->held, need);
		if (!grown)
			return ctl_map_error(map, -ENOMEM, "out of memory");
		map->held = grown;
		map->held_room = need;
	}
	memcpy(map->held + map->held_len, data, len);
	map->held_len = need;
	return 0;
}

static void release(struct ctl_map *map)
{
	free(map->held);
	map->held = NULL;
	map->held_len = map->held_at = map->held_room = 0;
	map->pending = false;
}

static void resume(struct warren_ctx *ctx, void *arg)
{
	struct ctl_map *map = arg;
	uint32_t epoch = map->epoch;
	size_t used;
	int result;

	(void)ctx;
	if (!map->pending)
		return;
	result = run(map, map->held + map->held_at, map->held_len - map->held_at, false, &used);
	if (map->epoch != epoch)
		return;
	map->held_at += used;
	if (!result && map->held_at < map->held_len) {
		warren_timer_set(map->resume, 0);
		return;
	}
	release(map);
	if (result && map->events->failed)
		map->events->failed(map->arg, result, map->why);
	else if (!result && map->events->resume)
		map->events->resume(map->arg);
}

int ctl_map_feed(struct ctl_map *map, const void *data, size_t len, struct warren_err *err)
{
	const uint8_t *bytes = data;
	uint32_t epoch = map->epoch;
	size_t used = 0;
	int result;

	if (map->broken) {
		warren_fail(err, NULL, "the map stream has failed already");
		return -EBADMSG;
	}
	result = map->pending ? 0 : run(map, bytes, len, !map->ctx, &used);
	if (!result && map->epoch == epoch && used < len)
		result = hold(map, bytes + used, len - used);
	if (result) {
		map->broken = true;
		warren_fail(err, NULL, "map: %s", map->why);
		return result;
	}
	if (map->epoch != epoch || used == len)
		return map->pending ? WARREN_PENDING : 0;
	if (!map->pending)
		warren_timer_set(map->resume, 0);
	map->pending = true;
	return WARREN_PENDING;
}

void ctl_map_begin(struct ctl_map *map)
{
	map->epoch++;
	message_drop(map);
	release(map);
	map->fresh = true;
	map->broken = false;
}

bool ctl_map_at_boundary(const struct ctl_map *map)
{
	return !map->inside && !map->n_prefix && !map->pending;
}

/*
 * ---- Life ----
 */

static uint64_t or_default(uint64_t value, uint64_t by_default)
{
	return value ? value : by_default;
}

static void set_limits(struct ctl_map_limits *to, const struct ctl_map_limits *from)
{
	static const struct ctl_map_limits none;

	from = from ? from : &none;
	to->message_max = or_default(from->message_max, 64 << 20);
	to->decoded_max = or_default(from->decoded_max, 64 << 20);
	to->peers_max = (uint32_t)or_default(from->peers_max, 100000);
	to->record_max = (uint32_t)or_default(from->record_max, 16 << 20);
	to->list_max = (uint32_t)or_default(from->list_max, 4096);
	to->rules_max = (uint32_t)or_default(from->rules_max, 50000);
	to->rule_ips_max = (uint32_t)or_default(from->rule_ips_max, 500000);
	to->users_max = (uint32_t)or_default(from->users_max, 100000);
}

struct ctl_map *ctl_map_new(struct warren_ctx *ctx, const struct ctl_map_limits *limits,
			    const struct ctl_map_events *events, void *arg)
{
	struct ctl_map *map = calloc(1, sizeof(*map));

	if (!map)
		return NULL;
	if (pthread_mutex_init(&map->lock, NULL)) {
		free(map);
		return NULL;
	}
	map->ctx = ctx;
	map->events = events;
	map->arg = arg;
	map->fresh = true;
	set_limits(&map->limits, limits);
	if (!ctx)
		return map;
	map->resume = warren_timer_new(ctx, resume, map);
	map->expiry = warren_timer_new(ctx, ctl_clock_fired, map);
	map->save = warren_timer_new(ctx, ctl_store_fired, map);
	if (map->resume && map->expiry && map->save)
		return map;
	ctl_map_free(map);
	return NULL;
}

void ctl_map_free(struct ctl_map *map)
{
	if (!map)
		return;
	ctl_store_end(map);
	warren_release(map->resume);
	warren_release(map->expiry);
	warren_release(map->save);
	message_drop(map);
	ZSTD_freeDCtx(map->zstd);
	release(map);
	if (map->current) {
		ctl_snapshot_end(map->current);
		warren_obj_unref(&map->current->map);
	}
	str_free(&map->last_browser_url);
	str_free(&map->last_ping_url);
	pthread_mutex_destroy(&map->lock);
	free(map);
}

const struct warren_netmap *ctl_map_current(struct ctl_map *map)
{
	const struct warren_netmap *current;

	pthread_mutex_lock(&map->lock);
	current = map->current ? warren_obj_ref(&map->current->map) : NULL;
	pthread_mutex_unlock(&map->lock);
	return current;
}

int ctl_map_clear(struct ctl_map *map)
{
	int result;

	ctl_map_begin(map);
	map->collect_services = WARREN_TRI_UNKNOWN;
	result = ctl_apply_nothing(map);
	if (map->expiry)
		warren_timer_stop(map->expiry);
	return result;
}

void ctl_map_stats_get(const struct ctl_map *map, struct ctl_map_stats *out)
{
	*out = map->stats;
}

uint8_t ctl_map_collect_services(const struct ctl_map *map)
{
	return map->collect_services;
}
