/*
 * Sources are known by a 64-bit SipHash under a key of this table: a fixed size for any kind of
 * source, and nobody outside can aim at a bucket. Entries come from one array with a free list and
 * hang in chains by hash; idle ones are collected by a sweep at most once per second, because a
 * sweep per refused message would be the flood's best weapon.
 */
#include "ratelimit.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "messages.h"

enum { MAX_ENTRIES = 1 << 20 };
#define TOKEN (WG_SECOND / WG_RATE_PER_SECOND)	/* tokens are counted as the time that makes them */
#define NONE UINT32_MAX

struct entry {
	uint64_t source;
	uint64_t last;
	uint64_t tokens;
	uint32_t next;
};

struct wg_ratelimit {
	uint8_t key[crypto_shorthash_KEYBYTES];
	uint64_t swept;
	uint32_t size, mask, count, free;
	uint32_t *chain;
	struct entry *entry;
};

struct wg_ratelimit *wg_ratelimit_new(uint32_t entries)
{
	struct wg_ratelimit *limit;
	uint32_t chains = 1;

	if (!entries || entries > MAX_ENTRIES)
		return NULL;
	while (chains < entries)
		chains <<= 1;
	limit = calloc(1, sizeof(*limit));
	if (!limit)
		return NULL;
	limit->chain = malloc(chains * sizeof(*limit->chain));
	limit->entry = calloc(entries, sizeof(*limit->entry));
	if (!limit->chain || !limit->entry) {
		wg_ratelimit_free(limit);
		return NULL;
	}
	memset(limit->chain, 0xff, chains * sizeof(*limit->chain));
	for (uint32_t i = 0; i < entries; i++)
		limit->entry[i].next = i + 1 < entries ? i + 1 : NONE;
	limit->size = entries;
	limit->mask = chains - 1;
	crypto_shorthash_keygen(limit->key);
	return limit;
}

void wg_ratelimit_free(struct wg_ratelimit *limit)
{
	if (!limit)
		return;
	free(limit->chain);
	free(limit->entry);
	free(limit);
}

size_t wg_ratelimit_key(uint8_t out[WG_RATELIMIT_KEY_MAX], const struct warren_addr *addr)
{
	size_t len = addr->family == 4 ? 4 : addr->family == 6 ? 8 : 0;

	memcpy(out, addr->bytes, len);
	return len;
}

static void sweep(struct wg_ratelimit *limit, uint64_t now)
{
	for (uint32_t c = 0; c <= limit->mask; c++) {
		uint32_t *link = &limit->chain[c];

		while (*link != NONE) {
			uint32_t i = *link;
			struct entry *e = &limit->entry[i];

			if (now <= e->last + WG_SECOND) {
				link = &e->next;
				continue;
			}
			*link = e->next;
			e->next = limit->free;
			limit->free = i;
			limit->count--;
		}
	}
	limit->swept = now;
}

static struct entry *find(struct wg_ratelimit *limit, uint64_t source)
{
	for (uint32_t i = limit->chain[source & limit->mask]; i != NONE; i = limit->entry[i].next) {
		if (limit->entry[i].source == source)
			return &limit->entry[i];
	}
	return NULL;
}

static struct entry *add(struct wg_ratelimit *limit, uint64_t source, uint64_t now)
{
	uint32_t *chain = &limit->chain[source & limit->mask], i = limit->free;
	struct entry *e;

	if (i == NONE)
		return NULL;
	e = &limit->entry[i];
	limit->free = e->next;
	limit->count++;
	*e = (struct entry){ .source = source, .last = now, .tokens = WG_RATE_BURST * TOKEN,
			     .next = *chain };
	*chain = i;
	return e;
}

bool wg_ratelimit_allow(struct wg_ratelimit *limit, const uint8_t *source, size_t len, uint64_t now)
{
	uint64_t hash;
	struct entry *e;

	crypto_shorthash((uint8_t *)&hash, source, len, limit->key);
	if (limit->count && now > limit->swept + WG_SECOND)
		sweep(limit, now);
	e = find(limit, hash);
	if (!e)
		e = add(limit, hash, now);
	if (!e)
		return false;
	if (now > e->last) {
		e->tokens += now - e->last;
		if (e->tokens > WG_RATE_BURST * TOKEN)
			e->tokens = WG_RATE_BURST * TOKEN;
		e->last = now;
	}
	if (e->tokens < TOKEN)
		return false;
	e->tokens -= TOKEN;
	return true;
}

uint32_t wg_ratelimit_count(const struct wg_ratelimit *limit)
{
	return limit->count;
}

bool wg_load_update(struct wg_load *load, uint32_t queued, uint32_t bound, uint64_t now)
{
	if (queued >= bound / WG_LOAD_FRACTION)
		load->until = now + WG_LOAD_STICKY_TIME;
	return now < load->until;
}
