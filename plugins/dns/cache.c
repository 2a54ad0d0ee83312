/*
 * Answers of resolvers, for as long as they allow.
 */
#include "cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum {
	KEY_MAX = DNS_NAME_MAX + 5,
	TTL_MOST = 86400,		/* RFC 8767 4: days, not years */
	TTL_NEGATIVE_MOST = 600,	/* RFC 2308 5 allows hours; new names should show */
	SECOND = 1000000,
	PART = 8,			/* of the limit: the most that one answer may take */
};

struct entry {
	struct list node;
	uint64_t since, until;
	size_t len;
	uint8_t key_len, key[KEY_MAX];
	uint8_t msg[];
};

/* What makes an answer another one: besides the question, who wants signatures or no checks. */
static uint8_t make_key(const struct dns_query *q, uint8_t key[KEY_MAX])
{
	uint8_t *at = key + q->name.len;

	memcpy(key, q->name.wire, q->name.len);
	*at++ = (uint8_t)(q->type >> 8);
	*at++ = (uint8_t)q->type;
	*at++ = (uint8_t)(q->class_ >> 8);
	*at++ = (uint8_t)q->class_;
	*at++ = (uint8_t)(q->dnssec_ok << 2 | !!(q->flags & DNS_CD) << 1 | !!(q->flags & DNS_AD));
	return (uint8_t)(at - key);
}

static size_t size_of(const struct entry *entry)
{
	return sizeof(*entry) + entry->len + 2 * sizeof(struct hash_slot);
}

static void drop(struct dns_cache *cache, struct entry *entry)
{
	hash_del(&cache->by_question, entry->key, entry->key_len);
	list_del(&entry->node);
	cache->bytes -= size_of(entry);
	cache->n--;
	free(entry);
}

static void make_room(struct dns_cache *cache, size_t size)
{
	while (!list_empty(&cache->used) && cache->bytes + size > cache->limit)
		drop(cache, list_entry(cache->used.prev, struct entry, node));
}

void dns_cache_init(struct dns_cache *cache, size_t limit)
{
	memset(cache, 0, sizeof(*cache));
	hash_init(&cache->by_question);
	list_init(&cache->used);
	cache->limit = limit;
}

void dns_cache_clear(struct dns_cache *cache)
{
	while (!list_empty(&cache->used))
		drop(cache, list_first(&cache->used, struct entry, node));
	hash_free(&cache->by_question);
}

void dns_cache_limit(struct dns_cache *cache, size_t limit)
{
	cache->limit = limit;
	make_room(cache, 0);
}

const uint8_t *dns_cache_get(struct dns_cache *cache, const struct dns_query *q, uint64_t now,
			     size_t *len, uint32_t *age)
{
	uint8_t key[KEY_MAX];
	struct entry *entry = hash_get(&cache->by_question, key, make_key(q, key));

	if (!entry)
		return NULL;
	if (now >= entry->until) {
		drop(cache, entry);
		return NULL;
	}
	list_del(&entry->node);
	list_add_head(&cache->used, &entry->node);
	*len = entry->len;
	*age = (uint32_t)((now - entry->since) / SECOND);
	return entry->msg;
}

void dns_cache_put(struct dns_cache *cache, const struct dns_query *q, uint64_t now,
		   const uint8_t *msg, size_t len, uint32_t ttl)
{
	bool negative = len >= DNS_HEADER && (msg[6] == 0 && msg[7] == 0);
	uint32_t most = negative ? TTL_NEGATIVE_MOST : TTL_MOST;
	struct entry *entry, *old;
	uint8_t key[KEY_MAX];
	uint8_t key_len = make_key(q, key);

	old = hash_get(&cache->by_question, key, key_len);
	if (old)
		drop(cache, old);
	if (ttl == 0 || len > cache->limit / PART)
		return;
	entry = malloc(sizeof(*entry) + len);
	if (!entry)
		return;
	entry->since = now;
	entry->until = now + (uint64_t)(ttl < most ? ttl : most) * SECOND;
	entry->len = len;
	entry->key_len = key_len;
	memcpy(entry->key, key, key_len);
	memcpy(entry->msg, msg, len);
	make_room(cache, size_of(entry));
	if (hash_put(&cache->by_question, entry->key, key_len, entry, NULL)) {
		free(entry);
		return;
	}
	list_add_head(&cache->used, &entry->node);
	cache->bytes += size_of(entry);
	cache->n++;
}
