/*
 * A slot is a tag (free, removed, or in use by an index) and a value. A reader loads tag, value,
 * tag: the writer first takes the old tag away and only then stores another value with release, so
 * a reader that saw the new value sees that the tag is no longer the same. A generation in the tag
 * tells two uses of a slot by the same index apart. Re-pointing an index changes the value alone.
 *
 * Indices are random, hence they are their own hash. Removed slots are reused by later inserts and
 * count as used; when half of the slots are used, the table is rebuilt, twice as large if need be.
 */
#include "index.h"

#include <errno.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { MIN_SLOTS = 64 };
#define TAG_FREE UINT64_C(0)
#define TAG_REMOVED UINT64_C(1)
#define TAG_USED (UINT64_C(1) << 63)		/* | generation << 32 | index */
#define TAG_INDEX (TAG_USED | UINT32_MAX)	/* what a search compares */
#define TAG_GENERATION (UINT64_C(1) << 32)

struct slot {
	_Atomic uint64_t tag;
	void *_Atomic value;
};

struct table {
	uint32_t mask;
	struct slot slot[];
};

struct wg_index {
	struct table *_Atomic table;
	size_t used, filled;			/* in use; in use or removed */
	uint64_t generation;			/* in its place in a tag; bit 63 is ignored */
	wg_random_fn *random;
	wg_retire_fn *retire;
	void *arg;
};

static struct table *table_new(size_t slots)
{
	struct table *table;

	if (slots > UINT32_MAX / 2)
		return NULL;
	table = calloc(1, sizeof(*table) + slots * sizeof(table->slot[0]));
	if (table)
		table->mask = (uint32_t)(slots - 1);
	return table;
}

struct wg_index *wg_index_new(wg_random_fn *random, wg_retire_fn *retire, void *arg)
{
	struct wg_index *index = calloc(1, sizeof(*index));
	struct table *table = table_new(MIN_SLOTS);

	if (!index || !table) {
		free(index);
		free(table);
		return NULL;
	}
	atomic_init(&index->table, table);
	index->random = random;
	index->retire = retire;
	index->arg = arg;
	return index;
}

void wg_index_free(struct wg_index *index)
{
	if (!index)
		return;
	free(atomic_load_explicit(&index->table, memory_order_relaxed));
	free(index);
}

static uint64_t tag_load(const struct slot *slot, memory_order order)
{
	return atomic_load_explicit(&slot->tag, order);
}

/* Writer: the slot of @key, or NULL. */
static struct slot *find(struct table *table, uint32_t key)
{
	for (uint32_t i = key & table->mask;; i = (i + 1) & table->mask) {
		uint64_t tag = tag_load(&table->slot[i], memory_order_relaxed);

		if ((tag & TAG_INDEX) == (TAG_USED | key))
			return &table->slot[i];
		if (tag == TAG_FREE)
			return NULL;
	}
}

/* Writer: the index of @tag is new and a free slot exists. true: a removed slot was reused. */
static bool put(struct table *table, uint64_t tag, void *value)
{
	uint32_t i = (uint32_t)tag & table->mask;
	uint64_t old;

	while ((old = tag_load(&table->slot[i], memory_order_relaxed)) & TAG_USED)
		i = (i + 1) & table->mask;
	atomic_store_explicit(&table->slot[i].value, value, memory_order_release);
	atomic_store_explicit(&table->slot[i].tag, tag, memory_order_release);
	return old == TAG_REMOVED;
}

/* Makes room for one more: rebuilds so that at most a quarter of the new table is in use. */
static int grow(struct wg_index *index)
{
	struct table *old = atomic_load_explicit(&index->table, memory_order_relaxed), *table;
	size_t slots = MIN_SLOTS;

	if ((index->filled + 1) * 2 <= (size_t)old->mask + 1)
		return 0;
	while (slots < (index->used + 1) * 4)
		slots *= 2;
	table = table_new(slots);
	if (!table)
		return -ENOMEM;
	for (uint32_t i = 0; i <= old->mask; i++) {
		uint64_t tag = tag_load(&old->slot[i], memory_order_relaxed);

		if (tag & TAG_USED)
			put(table, tag, atomic_load_explicit(&old->slot[i].value,
							     memory_order_relaxed));
	}
	index->filled = index->used;
	atomic_store_explicit(&index->table, table, memory_order_release);
	index->retire(index->arg, old);
	return 0;
}

int wg_index_insert(struct wg_index *index, void *value, uint32_t *out)
{
	struct table *table;
	uint32_t key;
	int err = grow(index);

	if (err)
		return err;
	table = atomic_load_explicit(&index->table, memory_order_relaxed);
	do {
		if (index->random)
			index->random(index->arg, (uint8_t *)&key, sizeof(key));
		else
			key = randombytes_random();
	} while (find(table, key));
	index->generation += TAG_GENERATION;
	if (!put(table, TAG_USED | index->generation | key, value))
		index->filled++;
	index->used++;
	*out = key;
	return 0;
}

int wg_index_replace(struct wg_index *index, uint32_t key, void *value)
{
	struct table *table = atomic_load_explicit(&index->table, memory_order_relaxed);
	struct slot *slot = find(table, key);

	if (!slot)
		return -ENOENT;
	atomic_store_explicit(&slot->value, value, memory_order_release);
	return 0;
}

void *wg_index_remove(struct wg_index *index, uint32_t key)
{
	struct table *table = atomic_load_explicit(&index->table, memory_order_relaxed);
	struct slot *slot = find(table, key);

	if (!slot)
		return NULL;
	atomic_store_explicit(&slot->tag, TAG_REMOVED, memory_order_relaxed);
	index->used--;
	return atomic_load_explicit(&slot->value, memory_order_relaxed);
}

size_t wg_index_count(const struct wg_index *index)
{
	return index->used;
}

void *wg_index_find(const struct wg_index *index, uint32_t key)
{
	struct table *table = atomic_load_explicit(&index->table, memory_order_acquire);
	for (uint32_t i = key & table->mask;; i = (i + 1) & table->mask) {
		struct slot *slot = &table->slot[i];
		uint64_t tag = tag_load(slot, memory_order_acquire);
		void *value;

		if (tag == TAG_FREE)
			return NULL;
		if ((tag & TAG_INDEX) != (TAG_USED | key))
			continue;
		value = atomic_load_explicit(&slot->value, memory_order_acquire);
		return tag_load(slot, memory_order_relaxed) == tag ? value : NULL;
	}
}
