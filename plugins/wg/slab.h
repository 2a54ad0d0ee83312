/*
 * Memory for objects that hold keys: equal sizes, in chunks that are left out of core dumps and,
 * where the limit allows it, never swapped. Freed objects are wiped. One thread (the lane).
 */
#ifndef WG_SLAB_H
#define WG_SLAB_H

#include <stddef.h>

struct wg_slab;

struct wg_slab *wg_slab_new(size_t size);	/* NULL: no memory */
/* Every object has been freed. NULL is allowed. */
void wg_slab_destroy(struct wg_slab *slab);
void *wg_slab_alloc(struct wg_slab *slab);	/* zeroed, 64-byte aligned; NULL: no memory */
void wg_slab_free(struct wg_slab *slab, void *object);	/* wipes; NULL is allowed */
size_t wg_slab_used(const struct wg_slab *slab);	/* objects */

#endif
