/*
 * Staged packets. Chunks never used lie behind `fresh` and are not touched until the pool needs
 * them; used ones are on the worker's list. What the lane gives back goes to `returned`, a stack
 * that the lane pushes to and the worker takes whole, so there is nothing to race about.
 */
#include "stage.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "messages.h"

enum { CHUNK = 512 };

struct wg_stage_chunk {
	struct wg_stage_chunk *next; /* of this packet, or of the free list */
	struct wg_stage_chunk *packet; /* first chunks: the packet after this one */
	uint32_t len; /* first chunks: of the packet */
	uint8_t data[CHUNK - 2 * sizeof(void *) - sizeof(uint32_t)];
};

struct wg_stage_pool {
	struct wg_stage_chunk *chunks, *free;
	size_t count, fresh;
	_Atomic(struct wg_stage_chunk *) returned;
};

struct wg_stage_pool *wg_stage_pool_new(size_t bytes)
{
	struct wg_stage_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->count = bytes / sizeof(struct wg_stage_chunk);
	pool->chunks = calloc(pool->count, sizeof(struct wg_stage_chunk));
	if (!pool->chunks) {
		free(pool);
		return NULL;
	}
	atomic_init(&pool->returned, NULL);
	return pool;
}

void wg_stage_pool_free(struct wg_stage_pool *pool)
{
	if (!pool)
		return;
	free(pool->chunks);
	free(pool);
}

static struct wg_stage_chunk *chunk_take(struct wg_stage_pool *pool)
{
	struct wg_stage_chunk *chunk;

	if (!pool->free)
		pool->free = atomic_exchange_explicit(&pool->returned, NULL, memory_order_acquire);
	chunk = pool->free;
	if (chunk)
		pool->free = chunk->next;
	else if (pool->fresh < pool->count)
		chunk = &pool->chunks[pool->fresh++];
	return chunk;
}

static void chain_give(struct wg_stage_pool *pool, struct wg_stage_chunk *chunk)
{
	while (chunk) {
		struct wg_stage_chunk *next = chunk->next;

		chunk->next = pool->free;
		pool->free = chunk;
		chunk = next;
	}
}

static struct wg_stage_chunk *queue_unlink(struct wg_staged *queue)
{
	struct wg_stage_chunk *first = queue->first;

	queue->first = first->packet;
	if (!queue->first)
		queue->last = NULL;
	queue->count--;
	return first;
}

/* A chain for @len bytes, or NULL: the pool has not that many. */
static struct wg_stage_chunk *chain_take(struct wg_stage_pool *pool, size_t len)
{
	struct wg_stage_chunk *first = NULL;

	for (size_t room = 0; room < len; room += sizeof(first->data)) {
		struct wg_stage_chunk *chunk = chunk_take(pool);

		if (!chunk) {
			chain_give(pool, first);
			return NULL;
		}
		chunk->next = first;
		first = chunk;
	}
	return first;
}

uint32_t wg_stage_push(struct wg_stage_pool *pool, struct wg_staged *queue, const uint8_t *data,
		       size_t len)
{
	struct wg_stage_chunk *chain;
	uint32_t lost = 0;

	if (!len)
		return 1;
	if (queue->count >= WG_MAX_STAGED) {
		chain_give(pool, queue_unlink(queue));
		lost++;
	}
	while (!(chain = chain_take(pool, len))) {
		if (!queue->count)
			return lost + 1;
		chain_give(pool, queue_unlink(queue));
		lost++;
	}
	chain->len = (uint32_t)len;
	chain->packet = NULL;
	for (struct wg_stage_chunk *c = chain; c; c = c->next) {
		size_t piece = len < sizeof(c->data) ? len : sizeof(c->data);

		memcpy(c->data, data, piece);
		data += piece;
		len -= piece;
	}
	if (queue->last)
		queue->last->packet = chain;
	else
		queue->first = chain;
	queue->last = chain;
	queue->count++;
	return lost;
}

size_t wg_stage_peek(const struct wg_staged *queue)
{
	return queue->first ? queue->first->len : 0;
}

void wg_stage_pop(struct wg_stage_pool *pool, struct wg_staged *queue, uint8_t *out)
{
	struct wg_stage_chunk *chain = queue_unlink(queue);
	size_t left = chain->len;

	for (struct wg_stage_chunk *c = chain; c; c = c->next) {
		size_t piece = left < sizeof(c->data) ? left : sizeof(c->data);

		memcpy(out, c->data, piece);
		out += piece;
		left -= piece;
	}
	chain_give(pool, chain);
}

uint32_t wg_stage_clear(struct wg_stage_pool *pool, struct wg_staged *queue)
{
	uint32_t count = queue->count;

	while (queue->count)
		chain_give(pool, queue_unlink(queue));
	return count;
}

void wg_stage_return(struct wg_stage_pool *pool, struct wg_staged *queue)
{
	while (queue->count) {
		struct wg_stage_chunk *chain = queue_unlink(queue), *last = chain, *head;

		while (last->next)
			last = last->next;
		head = atomic_load_explicit(&pool->returned, memory_order_relaxed);
		do {
			last->next = head;
		} while (!atomic_compare_exchange_weak_explicit(
			&pool->returned, &head, chain, memory_order_release, memory_order_relaxed));
	}
}
