/*
 * Sets of destination entries as bit vectors in two levels, so that three of them are intersected
 * in a few steps however many entries a policy has: first 64 words at once, then the words that
 * none of the three has empty. (Baboescu and Varghese, "Scalable packet classification", 2001.)
 * Empty words are not stored.
 */
#ifndef FILTER_SET_H
#define FILTER_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct filter_block {			/* 64 words of a set */
	uint64_t used;			/* which of them are not zero */
	uint32_t at;			/* where these are */
};

struct filter_sets {
	uint32_t n_blocks;		/* of each set */
	const struct filter_block *blocks;	/* of set s: from s * n_blocks on */
	const uint64_t *words;
};

/* Have the three an element in common? Any worker. */
static inline bool filter_sets_meet(const struct filter_sets *sets, uint32_t a, uint32_t b,
				    uint32_t c)
{
	const struct filter_block *x = sets->blocks + (size_t)a * sets->n_blocks;
	const struct filter_block *y = sets->blocks + (size_t)b * sets->n_blocks;
	const struct filter_block *z = sets->blocks + (size_t)c * sets->n_blocks;

	for (uint32_t i = 0; i < sets->n_blocks; i++) {
		for (uint64_t left = x[i].used & y[i].used & z[i].used; left; left &= left - 1) {
			uint64_t below = (left & -left) - 1;
			const uint64_t *words = sets->words;

			if (words[x[i].at + __builtin_popcountll(x[i].used & below)] &
			    words[y[i].at + __builtin_popcountll(y[i].used & below)] &
			    words[z[i].at + __builtin_popcountll(z[i].used & below)])
				return true;
		}
	}
	return false;
}

/*
 * ---- Building: one thread ----
 */

enum { FILTER_SET_BYTES = 32 << 20 };	/* of all sets of a table */

struct filter_set_store {
	uint32_t n_words;		/* of a set that is written out */
	uint32_t n_blocks;		/* of a set here */
	struct filter_block *blocks;
	uint32_t n_sets, size_sets;
	uint64_t *words;
	uint32_t n_stored, size_words;
};

/* Sets of numbers below @n. */
void filter_set_store_init(struct filter_set_store *store, uint32_t n);
/* Adds the set of `n_words` words at @bits: its number, -ENOMEM, or -E2BIG: FILTER_SET_BYTES. */
int64_t filter_set_put(struct filter_set_store *store, const uint64_t *bits);
void filter_set_store_free(struct filter_set_store *store);

#endif
