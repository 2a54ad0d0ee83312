/*
 * base/arena.h - memory that is freed all at once
 *
 * Bump allocation from blocks that double from 1 KiB to 64 KiB. Not thread-safe.
 */
#ifndef WARREN_BASE_ARENA_H
#define WARREN_BASE_ARENA_H

#include <stddef.h>

struct arena_block;
struct arena {
	struct arena_block *blocks;
	size_t total;			/* bytes taken from malloc */
};
#define ARENA_INIT { NULL, 0 }

/* Zeroed, aligned for any type. NULL: no memory. */
void *arena_alloc(struct arena *arena, size_t size);
/* A copy of @len bytes with a NUL after them; not aligned. */
char *arena_text(struct arena *arena, const char *text, size_t len);
void arena_free(struct arena *arena);

#endif
