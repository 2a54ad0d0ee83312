/*
 * Bump allocator. Blocks double, so that a small configuration costs a kilobyte and a big one few
 * calls; what is larger than a block gets one of its own.
 */
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum { ARENA_FIRST = 1 << 10, ARENA_LAST = 64 << 10 };

struct arena_block {
	struct arena_block *next;
	size_t size, used;
	_Alignas(max_align_t) char bytes[];
};

static void *arena_take(struct arena *arena, size_t size, size_t align)
{
	struct arena_block *block = arena->blocks;
	size_t at = block ? (block->used + align - 1) & ~(align - 1) : 0;
	size_t room, want;

	if (!block || at > block->size || size > block->size - at) {
		room = block ? block->size * 2 : ARENA_FIRST;
		if (room > ARENA_LAST)
			room = ARENA_LAST;
		if (room < size)
			room = size;
		if (!size_add(room, sizeof(*block), &want))
			return NULL;
		block = malloc(want);
		if (!block)
			return NULL;
		block->next = arena->blocks;
		block->size = room;
		block->used = at = 0;
		arena->blocks = block;
		arena->total += want;
	}
	block->used = at + size;
	return block->bytes + at;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	void *p = arena_take(arena, size, _Alignof(max_align_t));

	return p ? memset(p, 0, size) : NULL;
}

char *arena_text(struct arena *arena, const char *text, size_t len)
{
	size_t size;
	char *p;

	if (!size_add(len, 1, &size))
		return NULL;
	p = arena_take(arena, size, 1);
	if (!p)
		return NULL;
	if (len > 0)
		memcpy(p, text, len);
	p[len] = '\0';
	return p;
}

void arena_free(struct arena *arena)
{
	while (arena->blocks) {
		struct arena_block *next = arena->blocks->next;

		free(arena->blocks);
		arena->blocks = next;
	}
	arena->total = 0;
}
