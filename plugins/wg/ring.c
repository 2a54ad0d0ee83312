/*
 * Rings between workers and the lane: the bounded queue of D. Vyukov with the element in place. A
 * cell's sequence number says whose turn it is: `position` free for the producer of that position,
 * `position + 1` filled for its consumer. Whoever moves `tail` or `head` past the cell owns it
 * until it stores the next number, so the bytes of an element are never touched by two threads at
 * once and a thread sanitizer can follow.
 */
#include "ring.h"

#include <stdatomic.h>
#include <stdlib.h>

struct cell {
	_Atomic uint64_t sequence;
	_Alignas(16) uint8_t data[];
};

struct wg_ring {
	uint64_t mask;
	size_t slot_size, stride;
	uint8_t *cells;
	_Alignas(64) _Atomic uint64_t tail; /* next position to produce */
	_Alignas(64) _Atomic uint64_t head; /* next position to consume */
};

static struct cell *cell_at(const struct wg_ring *ring, uint64_t position)
{
	return (struct cell *)(ring->cells + (position & ring->mask) * ring->stride);
}

static struct cell *cell_of(void *slot)
{
	return (struct cell *)((uint8_t *)slot - offsetof(struct cell, data));
}

struct wg_ring *wg_ring_new(uint32_t slots, size_t slot_size)
{
	struct wg_ring *ring = aligned_alloc(64, (sizeof(*ring) + 63) / 64 * 64);

	if (!ring)
		return NULL;
	ring->mask = slots - 1;
	ring->slot_size = slot_size;
	ring->stride = (offsetof(struct cell, data) + slot_size + 15) / 16 * 16;
	atomic_init(&ring->tail, 0);
	atomic_init(&ring->head, 0);
	/* calloc: large areas come from the kernel as zero pages that nobody has touched. */
	ring->cells = calloc(slots, ring->stride);
	if (!ring->cells) {
		free(ring);
		return NULL;
	}
	for (uint64_t i = 0; i < slots; i++)
		atomic_init(&cell_at(ring, i)->sequence, i);
	return ring;
}

void wg_ring_free(struct wg_ring *ring)
{
	if (!ring)
		return;
	free(ring->cells);
	free(ring);
}

void *wg_ring_claim(struct wg_ring *ring)
{
	uint64_t position = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	for (;;) {
		struct cell *cell = cell_at(ring, position);
		uint64_t sequence = atomic_load_explicit(&cell->sequence, memory_order_acquire);

		if (sequence == position) {
			if (atomic_compare_exchange_weak_explicit(
				    &ring->tail, &position, position + 1, memory_order_relaxed,
				    memory_order_relaxed))
				return cell->data;
		} else if ((int64_t)(sequence - position) < 0) {
			return NULL;
		} else {
			position = atomic_load_explicit(&ring->tail, memory_order_relaxed);
		}
	}
}

void wg_ring_commit(struct wg_ring *ring, void *slot)
{
	struct cell *cell = cell_of(slot);

	(void)ring; /* kept for symmetry with release */
	atomic_store_explicit(&cell->sequence,
			      atomic_load_explicit(&cell->sequence, memory_order_relaxed) + 1,
			      memory_order_release);
}

void *wg_ring_take(struct wg_ring *ring)
{
	uint64_t position = atomic_load_explicit(&ring->head, memory_order_relaxed);

	for (;;) {
		struct cell *cell = cell_at(ring, position);
		uint64_t sequence = atomic_load_explicit(&cell->sequence, memory_order_acquire);

		if (sequence == position + 1) {
			if (atomic_compare_exchange_weak_explicit(
				    &ring->head, &position, position + 1, memory_order_relaxed,
				    memory_order_relaxed))
				return cell->data;
		} else if ((int64_t)(sequence - position - 1) < 0) {
			return NULL;
		} else {
			position = atomic_load_explicit(&ring->head, memory_order_relaxed);
		}
	}
}

void wg_ring_release(struct wg_ring *ring, void *slot)
{
	struct cell *cell = cell_of(slot);

	atomic_store_explicit(&cell->sequence,
			      atomic_load_explicit(&cell->sequence, memory_order_relaxed) +
				      ring->mask,
			      memory_order_release);
}

void *wg_ring_claim_over(struct wg_ring *ring, uint32_t *dropped)
{
	for (int tries = 0; tries < 4; tries++) {
		void *slot = wg_ring_claim(ring);

		if (slot)
			return slot;
		slot = wg_ring_take(ring);
		if (slot) {
			wg_ring_release(ring, slot);
			(*dropped)++;
		}
	}
	return wg_ring_claim(ring);
}

uint32_t wg_ring_queued(const struct wg_ring *ring)
{
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	return tail > head ? (uint32_t)(tail - head) : 0;
}

uint32_t wg_ring_slots(const struct wg_ring *ring)
{
	return (uint32_t)ring->mask + 1;
}

size_t wg_ring_slot_size(const struct wg_ring *ring)
{
	return ring->slot_size;
}
