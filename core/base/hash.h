/*
 * base/hash.h - map from byte strings to pointers
 *
 * Open addressing with linear probing over SipHash-2-4 with a random key per map, so that nobody
 * who chooses the keys can make it slow. Keys and values are borrowed: usually the key lies inside
 * the value. Not thread-safe. Memory: 32 bytes per slot, at most 3/4 full; none while empty.
 */
#ifndef WARREN_BASE_HASH_H
#define WARREN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash_slot {
	const void *key;		/* NULL: free */
	void *value;
	uint64_t hash;
	size_t len;
};
struct hash {
	struct hash_slot *slots;
	uint32_t count, capacity;	/* capacity is 0 or a power of two */
	uint64_t secret[2];
};

/* SipHash-2-4 of Aumasson and Bernstein, 64 bits out. */
uint64_t hash_siphash(const uint64_t secret[2], const void *data, size_t len);

/* Draws the secret; allocates nothing. */
void hash_init(struct hash *h);
/* Frees the slots, neither keys nor values; the map is then empty and usable. */
void hash_free(struct hash *h);
/* The value or NULL. */
void *hash_get(const struct hash *h, const void *key, size_t len);
/*
 * Stores @value (not NULL) under @key. When the key is there already, its value and key pointer
 * are replaced and the old value goes to *@old (may be NULL), else NULL does. 0 or -ENOMEM.
 */
int hash_put(struct hash *h, const void *key, size_t len, void *value, void **old);
/* Takes the entry out; its value, or NULL when there is none. */
void *hash_del(struct hash *h, const void *key, size_t len);

/* The same with NUL-terminated keys. */
void *hash_get_str(const struct hash *h, const char *key);
int hash_put_str(struct hash *h, const char *key, void *value, void **old);
void *hash_del_str(struct hash *h, const char *key);

/*
 * Next value after position *@pos (start with 0), or NULL at the end; no order. The map must not
 * change meanwhile.
 *	for (uint32_t pos = 0; (item = hash_next(&map, &pos)); )
 */
void *hash_next(const struct hash *h, uint32_t *pos);

#endif
