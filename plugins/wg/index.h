/*
 * Table of our 32-bit receiver indices: random, unique, each with a pointer to a
 * handshake or a key pair. Power-of-two open addressing with 16-byte slots.
 *
 * One writer (the lane); readers (workers) never lock and never see the pointer of another index.
 * A value found stays valid until the reader's turn ends: the writer removes it here first and
 * then retires it. Growth publishes a new table and gives the old one to `retire`.
 */
#ifndef WG_INDEX_H
#define WG_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "noise.h"

/* Frees @ptr with free() once no reader can hold it: warren_retire(ctx, ptr, free). */
typedef void wg_retire_fn(void *arg, void *ptr);

struct wg_index;

/* @random NULL: libsodium's. NULL: no memory. */
struct wg_index *wg_index_new(wg_random_fn *random, wg_retire_fn *retire, void *arg);
/* No reader is left. Values are the caller's. NULL is allowed. */
void wg_index_free(struct wg_index *index);

/* Writer. A new random index for @value (not NULL). -ENOMEM: none is taken. */
int wg_index_insert(struct wg_index *index, void *value, uint32_t *out);
/* Writer. Re-points @key to @value at once for all readers. -ENOENT: it is not in use. */
int wg_index_replace(struct wg_index *index, uint32_t key, void *value);
/* Writer. Returns the value it had, or NULL. */
void *wg_index_remove(struct wg_index *index, uint32_t key);
size_t wg_index_count(const struct wg_index *index);	/* writer */

/* Any thread. NULL: not in use. */
void *wg_index_find(const struct wg_index *index, uint32_t key);

#endif
