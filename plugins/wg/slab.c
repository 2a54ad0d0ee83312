/*
 * Slabs for key material (dataplane.md 1.16): mapped chunks with MADV_DONTDUMP, so that one call
 * covers all keys of the device. A chunk whose last object goes is unmapped, but for one, so that
 * a peer that comes and goes does not map and unmap each time.
 */
#include "slab.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <sodium.h>

enum { CHUNK = 64 * 1024, ALIGN = 64 };

struct object {
	struct object *next;
};

struct chunk {
	struct chunk *next, *previous;
	struct object *free;
	uint32_t used, fresh; /* objects handed out; objects never used so far */
};

struct wg_slab {
	size_t size, used;
	uint32_t per_chunk;
	struct chunk *chunks; /* those with room come first */
};

static size_t header_size(void)
{
	return (sizeof(struct chunk) + ALIGN - 1) / ALIGN * ALIGN;
}

struct wg_slab *wg_slab_new(size_t size)
{
	struct wg_slab *slab = calloc(1, sizeof(*slab));

	if (!slab)
		return NULL;
	slab->size = (size + ALIGN - 1) / ALIGN * ALIGN;
	slab->per_chunk = (uint32_t)((CHUNK - header_size()) / slab->size);
	return slab;
}

static void chunk_unlink(struct wg_slab *slab, struct chunk *chunk)
{
	if (chunk->previous)
		chunk->previous->next = chunk->next;
	else
		slab->chunks = chunk->next;
	if (chunk->next)
		chunk->next->previous = chunk->previous;
}

static void chunk_push(struct wg_slab *slab, struct chunk *chunk)
{
	chunk->previous = NULL;
	chunk->next = slab->chunks;
	if (chunk->next)
		chunk->next->previous = chunk;
	slab->chunks = chunk;
}

static void chunk_append(struct wg_slab *slab, struct chunk *chunk)
{
	struct chunk *last = slab->chunks;

	if (!last) {
		chunk_push(slab, chunk);
		return;
	}
	while (last->next)
		last = last->next;
	last->next = chunk;
	chunk->previous = last;
	chunk->next = NULL;
}

static struct chunk *chunk_new(struct wg_slab *slab)
{
	/* Twice the size, to cut out a piece whose address tells the chunk of an object. */
	uint8_t *map = mmap(NULL, 2 * CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	uint8_t *start;
	struct chunk *chunk;

	if (map == MAP_FAILED)
		return NULL;
	start = (uint8_t *)(((uintptr_t)map + CHUNK - 1) & ~(uintptr_t)(CHUNK - 1));
	if (start > map)
		munmap(map, (size_t)(start - map));
	if (map + CHUNK > start)
		munmap(start + CHUNK, (size_t)(map + CHUNK - start));
	/* Best effort: the limit of locked memory may be small, and old kernels lack the advice. */
	(void)madvise(start, CHUNK, MADV_DONTDUMP);
	(void)mlock2(start, CHUNK, MLOCK_ONFAULT);
	chunk = (struct chunk *)start;
	chunk_push(slab, chunk);
	return chunk;
}

void wg_slab_destroy(struct wg_slab *slab)
{
	if (!slab)
		return;
	while (slab->chunks) {
		struct chunk *chunk = slab->chunks;

		slab->chunks = chunk->next;
		sodium_memzero(chunk, CHUNK);
		munmap(chunk, CHUNK);
	}
	free(slab);
}

void *wg_slab_alloc(struct wg_slab *slab)
{
	struct chunk *chunk = slab->chunks;
	struct object *object;

	if (!chunk || chunk->used == slab->per_chunk) {
		chunk = chunk_new(slab);
		if (!chunk)
			return NULL;
	}
	object = chunk->free;
	if (object) {
		chunk->free = object->next;
		object->next = NULL;
	} else {
		object = (struct object *)((uint8_t *)chunk + header_size() +
					   chunk->fresh * slab->size);
		chunk->fresh++;
	}
	chunk->used++;
	slab->used++;
	if (chunk->used == slab->per_chunk && chunk->next) {
		chunk_unlink(slab, chunk);
		chunk_append(slab, chunk);
	}
	return object;
}

void wg_slab_free(struct wg_slab *slab, void *object)
{
	struct chunk *chunk;
	struct object *o = object;

	if (!o)
		return;
	chunk = (struct chunk *)((uintptr_t)o & ~(uintptr_t)(CHUNK - 1));
	sodium_memzero(o, slab->size);
	o->next = chunk->free;
	chunk->free = o;
	slab->used--;
	chunk->used--;
	chunk_unlink(slab, chunk);
	if (chunk->used || !slab->chunks)
		chunk_push(slab, chunk);
	else
		munmap(chunk, CHUNK);
}

size_t wg_slab_used(const struct wg_slab *slab)
{
	return slab->used;
}
