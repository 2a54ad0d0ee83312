/*
 * Stores sets of entries: two arrays that grow and are copied into the table when all are known.
 */
#include "set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void filter_set_store_init(struct filter_set_store *store, uint32_t n)
{
	memset(store, 0, sizeof(*store));
	store->n_words = n / 64 + 1;
	store->n_blocks = store->n_words / 64 + 1;
}

void filter_set_store_free(struct filter_set_store *store)
{
	free(store->blocks);
	free(store->words);
}

/* Room for one more set, all of whose words may be in use. */
static int make_room(struct filter_set_store *store)
{
	size_t block_bytes = store->n_blocks * sizeof(*store->blocks);
	size_t total = (store->n_sets + 1) * block_bytes +
		       ((size_t)store->n_stored + store->n_words) * sizeof(*store->words);

	if (total > FILTER_SET_BYTES)
		return -E2BIG;
	if (store->n_sets == store->size_sets) {
		uint32_t size = store->size_sets ? 2 * store->size_sets : 16;
		void *grown = realloc(store->blocks, size * block_bytes);

		if (!grown)
			return -ENOMEM;
		store->blocks = grown;
		store->size_sets = size;
	}
	if (store->size_words - store->n_stored < store->n_words) {
		uint32_t size = 2 * store->size_words + store->n_words;
		void *grown = realloc(store->words, size * sizeof(*store->words));

		if (!grown)
			return -ENOMEM;
		store->words = grown;
		store->size_words = size;
	}
	return 0;
}

int64_t filter_set_put(struct filter_set_store *store, const uint64_t *bits)
{
	struct filter_block *blocks;
	int result = make_room(store);

	if (result)
		return result;
	blocks = store->blocks + (size_t)store->n_sets * store->n_blocks;
	for (uint32_t i = 0; i < store->n_blocks; i++)
		blocks[i] = (struct filter_block){ 0, 0 };
	for (uint32_t i = 0; i < store->n_words; i++) {
		struct filter_block *block = &blocks[i / 64];

		if (!bits[i])
			continue;
		if (!block->used)
			block->at = store->n_stored;
		block->used |= UINT64_C(1) << (i % 64);
		store->words[store->n_stored++] = bits[i];
	}
	return store->n_sets++;
}
