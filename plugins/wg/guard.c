/*
 * The guard against going back. Two documents: "clock", 12 bytes, the limit up to which stamps may
 * have been used; "stamps", 44 bytes per peer. Both are small enough to be written whole.
 *
 * The limit runs ahead of the clock (RESERVE), so that a crash loses nothing and a handshake never
 * waits for a disk. If the clock stands below the limit when we start, stamps continue from the
 * limit and it is moved by little (RESERVE_BEHIND) each time: a crash loop must not drive us into
 * the future. A disk that is full does not stop the tunnel: stamps go on rising in memory, and
 * doctor tells.
 */
#include "guard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <sodium.h>

#include "noise.h"
#include "wire.h"

enum {
	RESERVE = 1200, /* seconds; renewed at half of it */
	RESERVE_BEHIND = 4, /* about 240 initiations of 16.7 ms */
	OURS = RESERVE + 150 * RESERVE_BEHIND, /* a crash and a hundred after it explain so much */
	DOCUMENT_VERSION = 1,
	RECORD = 32 + WG_TIMESTAMP_LEN,
};

struct record {
	uint8_t key[32];
	uint8_t stamp[WG_TIMESTAMP_LEN]; /* all zero: free slot */
};

struct wg_guard {
	struct warren_ctx *ctx;
	uint8_t last[WG_TIMESTAMP_LEN]; /* no stamp of ours was greater */
	uint8_t limit[WG_TIMESTAMP_LEN]; /* what "clock" says, or will */
	struct record *slots; /* open addressing by key */
	uint32_t mask, count;
	bool dirty;
	int error;
	uint8_t hash_key[crypto_shorthash_KEYBYTES];
	struct warren_limit log;
};

static const uint8_t no_stamp[WG_TIMESTAMP_LEN];

static int64_t stamp_seconds(const uint8_t stamp[WG_TIMESTAMP_LEN])
{
	/* TAI64: 2^62 + 10 at the Unix epoch. */
	return (int64_t)(wg_load_be64(stamp) - (UINT64_C(1) << 62) - 10);
}

static void stamp_now(uint8_t out[WG_TIMESTAMP_LEN])
{
	int64_t now = warren_realtime();

	wg_tai64n(out, now / 1000000, (uint32_t)(now % 1000000) * 1000);
}

static void stamp_add(uint8_t stamp[WG_TIMESTAMP_LEN], uint32_t seconds)
{
	wg_store_be64(stamp, wg_load_be64(stamp) + seconds);
}

static int stamp_compare(const uint8_t a[WG_TIMESTAMP_LEN], const uint8_t b[WG_TIMESTAMP_LEN])
{
	return memcmp(a, b, WG_TIMESTAMP_LEN);
}

/*
 * ---- The table ----
 */

static struct record *slot_find(const struct wg_guard *guard, const uint8_t key[32])
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint32_t at;

	crypto_shorthash(hash, key, 32, guard->hash_key);
	for (at = wg_load_le32(hash) & guard->mask;; at = (at + 1) & guard->mask) {
		struct record *slot = &guard->slots[at];

		if (!stamp_compare(slot->stamp, no_stamp) || !memcmp(slot->key, key, 32))
			return slot;
	}
}

static int newest_first(const void *a, const void *b)
{
	return -stamp_compare(((const struct record *)a)->stamp, ((const struct record *)b)->stamp);
}

/* A table of @size slots with at most @keep of the records, the newest. */
static int table_resize(struct wg_guard *guard, uint32_t size, uint32_t keep)
{
	struct record *old = guard->slots, *slots = calloc(size, sizeof(*slots));
	uint32_t old_size = old ? guard->mask + 1 : 0;

	if (!slots)
		return -ENOMEM;
	if (old && guard->count > keep)
		qsort(old, old_size, sizeof(*old), newest_first);
	guard->slots = slots;
	guard->mask = size - 1;
	guard->count = 0;
	for (uint32_t i = 0; i < old_size && guard->count < keep; i++) {
		if (stamp_compare(old[i].stamp, no_stamp)) {
			*slot_find(guard, old[i].key) = old[i];
			guard->count++;
		}
	}
	free(old);
	return 0;
}

static int table_put(struct wg_guard *guard, const uint8_t key[32],
		     const uint8_t stamp[WG_TIMESTAMP_LEN])
{
	struct record *slot = slot_find(guard, key);
	int r = 0;

	if (!stamp_compare(slot->stamp, no_stamp)) {
		if (guard->count >= WG_GUARD_MAX)
			r = table_resize(guard, guard->mask + 1, WG_GUARD_MAX / 4 * 3);
		else if (guard->count * 4 >= guard->mask * 3)
			r = table_resize(guard, (guard->mask + 1) * 2, UINT32_MAX);
		if (r < 0)
			return r;
		slot = slot_find(guard, key);
		memcpy(slot->key, key, 32);
		guard->count++;
	}
	if (stamp_compare(stamp, slot->stamp) > 0)
		memcpy(slot->stamp, stamp, WG_TIMESTAMP_LEN);
	return 0;
}

/*
 * ---- Documents ----
 */

static void stored(struct warren_ctx *ctx, int result, void *arg)
{
	struct wg_guard *guard = arg;

	if (result < 0 && guard->error != result)
		warren_log(
			ctx, LOG_WARNING,
			"cannot store the time stamps of handshakes: %s; the tunnel works, but "
			"after a"
			" restart with a wrong clock peers may refuse us. Free space in the "
			"state folder",
			strerror(-result));
	guard->error = result;
}

static void write_clock(struct wg_guard *guard)
{
	int r = warren_state_write(guard->ctx, "clock", 0, DOCUMENT_VERSION, guard->limit,
				   sizeof(guard->limit), stored, guard);

	if (r < 0)
		guard->error = r;
}

static void write_stamps(struct wg_guard *guard)
{
	size_t len = 0;
	uint8_t *data = malloc((size_t)guard->count * RECORD + 1);
	int r = -ENOMEM;

	if (data) {
		for (uint32_t i = 0; i <= guard->mask; i++) {
			const struct record *slot = &guard->slots[i];

			if (!stamp_compare(slot->stamp, no_stamp))
				continue;
			memcpy(data + len, slot->key, 32);
			memcpy(data + len + 32, slot->stamp, WG_TIMESTAMP_LEN);
			len += RECORD;
		}
		r = warren_state_write(guard->ctx, "stamps", 0, DOCUMENT_VERSION, data, len, stored,
				       guard);
	}
	free(data);
	guard->dirty = r < 0;
	if (r < 0)
		guard->error = r;
}

/* Moves the limit ahead of the clock, or of the last stamp where that is later. */
static void renew_limit(struct wg_guard *guard)
{
	uint8_t limit[WG_TIMESTAMP_LEN];

	stamp_now(limit);
	if (stamp_compare(limit, guard->last) > 0) {
		stamp_add(limit, RESERVE);
	} else {
		memcpy(limit, guard->last, sizeof(limit));
		stamp_add(limit, RESERVE_BEHIND);
	}
	if (stamp_compare(limit, guard->limit) > 0) {
		memcpy(guard->limit, limit, sizeof(limit));
		write_clock(guard);
	}
}

static int read_clock(struct wg_guard *guard, struct warren_err *err)
{
	void *data = NULL;
	size_t len = 0;
	int r = warren_state_read(guard->ctx, "clock", 0, DOCUMENT_VERSION, &data, &len, err);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (len == WG_TIMESTAMP_LEN)
		memcpy(guard->last, data, len);
	else
		r = warren_fail(err, NULL,
				"state document \"clock\" has %zu bytes instead of %d:"
				" restore it, or remove it if no peer remembers this node",
				len, WG_TIMESTAMP_LEN);
	warren_release(data);
	memcpy(guard->limit, guard->last, sizeof(guard->limit));
	return r;
}

static int read_stamps(struct wg_guard *guard, struct warren_err *err)
{
	void *data = NULL;
	size_t len = 0;
	int r = warren_state_read(guard->ctx, "stamps", 0, DOCUMENT_VERSION, &data, &len, err);
	const uint8_t *at = data;

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (len % RECORD)
		r = warren_fail(
			err, NULL,
			"state document \"stamps\" is damaged (%zu bytes):"
			" restore it, or remove it to let peers' old handshakes count again",
			len);
	for (; !r && len; at += RECORD, len -= RECORD)
		r = table_put(guard, at, at + 32);
	warren_release(data);
	return r;
}

struct wg_guard *wg_guard_new(struct warren_ctx *ctx, struct warren_err *err)
{
	struct wg_guard *guard = calloc(1, sizeof(*guard));
	int64_t behind;

	if (!guard || table_resize(guard, 16, UINT32_MAX) < 0) {
		free(guard);
		warren_fail(err, NULL, "out of memory");
		return NULL;
	}
	guard->ctx = ctx;
	randombytes_buf(guard->hash_key, sizeof(guard->hash_key));
	if (read_clock(guard, err) < 0 || read_stamps(guard, err) < 0) {
		wg_guard_free(guard);
		return NULL;
	}
	behind = wg_guard_clock_behind(guard);
	if (behind)
		warren_log(ctx, LOG_WARNING,
			   "the clock is %lld s behind the last handshake of an earlier"
			   " run; handshakes continue from there. Set the clock",
			   (long long)behind);
	renew_limit(guard);
	return guard;
}

void wg_guard_free(struct wg_guard *guard)
{
	if (!guard)
		return;
	free(guard->slots);
	free(guard);
}

void wg_guard_store(struct wg_guard *guard)
{
	/* Nothing will be sent any more: what was reserved and not used need not be skipped. */
	memcpy(guard->limit, guard->last, sizeof(guard->limit));
	if (stamp_compare(guard->limit, no_stamp))
		write_clock(guard);
	if (guard->dirty)
		write_stamps(guard);
}

void wg_guard_tick(struct wg_guard *guard)
{
	uint8_t half[WG_TIMESTAMP_LEN];

	stamp_now(half);
	stamp_add(half, RESERVE / 2);
	if (guard->error || stamp_compare(half, guard->limit) > 0)
		renew_limit(guard);
	if (guard->dirty)
		write_stamps(guard);
}

void wg_guard_stamp(struct wg_guard *guard, uint8_t out[WG_TIMESTAMP_LEN])
{
	stamp_now(out);
	wg_tai64n_after(out, guard->last);
	memcpy(guard->last, out, WG_TIMESTAMP_LEN);
	if (stamp_compare(guard->last, guard->limit) >= 0)
		renew_limit(guard);
}

void wg_guard_greatest(const struct wg_guard *guard, const uint8_t key[32],
		       uint8_t out[WG_TIMESTAMP_LEN])
{
	memcpy(out, slot_find(guard, key)->stamp, WG_TIMESTAMP_LEN);
}

int wg_guard_accepted(struct wg_guard *guard, const uint8_t key[32],
		      const uint8_t stamp[WG_TIMESTAMP_LEN])
{
	guard->dirty = true;
	return table_put(guard, key, stamp);
}

int64_t wg_guard_clock_behind(const struct wg_guard *guard)
{
	uint8_t now[WG_TIMESTAMP_LEN];
	int64_t behind;

	stamp_now(now);
	behind = stamp_seconds(guard->last) - stamp_seconds(now);
	return stamp_compare(guard->last, no_stamp) && behind > OURS ? behind : 0;
}

int wg_guard_error(const struct wg_guard *guard)
{
	return guard->error;
}
