/*
 * What all parts of a map have in common: a reference count and an arena.
 */
#include <stdlib.h>

#include "parts.h"

void *ctl_part_new(size_t size)
{
	struct ctl_part *part = calloc(1, size);

	if (part)
		atomic_init(&part->refs, 1);
	return part;
}

void *ctl_part_ref(void *part)
{
	if (part)
		atomic_fetch_add_explicit(&((struct ctl_part *)part)->refs, 1,
					  memory_order_relaxed);
	return part;
}

void ctl_part_unref(void *part)
{
	struct ctl_part *p = part;

	if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
		return;
	arena_free(&p->arena);
	free(p);
}
