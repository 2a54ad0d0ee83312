/*
 * Hash map with linear probing. Deletion shifts the entries behind it back, so that there are no
 * tombstones and a map that lives for months does not slow down.
 */
#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { HASH_FIRST = 8 };

static uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static uint64_t load_le64(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = n; i > 0; i--)
		v = v << 8 | p[i - 1];
	return v;
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

uint64_t hash_siphash(const uint64_t secret[2], const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t v[4] = {
		secret[0] ^ 0x736f6d6570736575, secret[1] ^ 0x646f72616e646f6d,
		secret[0] ^ 0x6c7967656e657261, secret[1] ^ 0x7465646279746573,
	};
	uint64_t last = (uint64_t)len << 56;
	size_t left = len;

	for (; left >= 8; left -= 8, p += 8) {
		uint64_t word = load_le64(p, 8);

		v[3] ^= word;
		sip_round(v);
		sip_round(v);
		v[0] ^= word;
	}
	last |= load_le64(p, left);
	v[3] ^= last;
	sip_round(v);
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void hash_init(struct hash *h)
{
	memset(h, 0, sizeof(*h));
	if (getrandom(h->secret, sizeof(h->secret), GRND_NONBLOCK) != sizeof(h->secret)) {
		/* Early boot: a guessable secret is better than a daemon that waits for entropy. */
		struct timespec now;

		clock_gettime(CLOCK_MONOTONIC, &now);
		h->secret[0] = (uint64_t)now.tv_nsec ^ (uintptr_t)h;
		h->secret[1] = (uint64_t)now.tv_sec << 32 ^ (uintptr_t)&now;
	}
}

void hash_free(struct hash *h)
{
	free(h->slots);
	h->slots = NULL;
	h->count = h->capacity = 0;
}

/* The slot of the key, or the free one where it belongs. The map has at least one free slot. */
static struct hash_slot *find(const struct hash *h, const void *key, size_t len, uint64_t hash)
{
	uint32_t mask = h->capacity - 1;

	for (uint32_t i = (uint32_t)hash & mask; ; i = (i + 1) & mask) {
		struct hash_slot *slot = &h->slots[i];

		if (!slot->key)
			return slot;
		if (slot->hash == hash && slot->len == len &&
		    (len == 0 || memcmp(slot->key, key, len) == 0))
			return slot;
	}
}

void *hash_get(const struct hash *h, const void *key, size_t len)
{
	if (h->count == 0)
		return NULL;
	return find(h, key, len, hash_siphash(h->secret, key, len))->value;
}

static int grow(struct hash *h)
{
	struct hash bigger = *h;

	if (h->capacity > UINT32_MAX / 2)
		return -ENOMEM;
	bigger.capacity = h->capacity ? h->capacity * 2 : HASH_FIRST;
	bigger.slots = calloc(bigger.capacity, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < h->capacity; i++) {
		const struct hash_slot *slot = &h->slots[i];

		if (slot->key)
			*find(&bigger, slot->key, slot->len, slot->hash) = *slot;
	}
	free(h->slots);
	*h = bigger;
	return 0;
}

int hash_put(struct hash *h, const void *key, size_t len, void *value, void **old)
{
	uint64_t hash = hash_siphash(h->secret, key, len);
	struct hash_slot *slot = h->capacity ? find(h, key, len, hash) : NULL;

	if (old)
		*old = slot ? slot->value : NULL;
	if (!slot || !slot->key) {
		if (h->count >= h->capacity / 4 * 3) {
			int result = grow(h);

			if (result < 0)
				return result;
			slot = find(h, key, len, hash);
		}
		h->count++;
	}
	*slot = (struct hash_slot){ .key = key, .value = value, .hash = hash, .len = len };
	return 0;
}

void *hash_del(struct hash *h, const void *key, size_t len)
{
	uint32_t mask = h->capacity - 1;
	struct hash_slot *hole;
	void *value;

	if (h->count == 0)
		return NULL;
	hole = find(h, key, len, hash_siphash(h->secret, key, len));
	if (!hole->key)
		return NULL;
	value = hole->value;
	/* An entry moves into the hole unless that lies before where its search starts. */
	for (uint32_t i = (uint32_t)(hole - h->slots + 1) & mask; h->slots[i].key;
	     i = (i + 1) & mask) {
		uint32_t home = (uint32_t)h->slots[i].hash & mask;
		uint32_t at = (uint32_t)(hole - h->slots);

		if (((i - home) & mask) >= ((i - at) & mask)) {
			*hole = h->slots[i];
			hole = &h->slots[i];
		}
	}
	*hole = (struct hash_slot){ 0 };
	h->count--;
	return value;
}

void *hash_get_str(const struct hash *h, const char *key)
{
	return hash_get(h, key, strlen(key));
}

int hash_put_str(struct hash *h, const char *key, void *value, void **old)
{
	return hash_put(h, key, strlen(key), value, old);
}

void *hash_del_str(struct hash *h, const char *key)
{
	return hash_del(h, key, strlen(key));
}

void *hash_next(const struct hash *h, uint32_t *pos)
{
	while (*pos < h->capacity) {
		const struct hash_slot *slot = &h->slots[(*pos)++];

		if (slot->key)
			return slot->value;
	}
	return NULL;
}
