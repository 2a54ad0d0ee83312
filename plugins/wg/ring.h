/*
 * Bounded rings between workers and the lane: a fixed number of slots of a fixed size, allocated at
 * the start, without locks. Any thread may produce and any may consume (a producer consumes when
 * it drops the oldest). Between claim and commit, and between take and release, a slot belongs to
 * the caller alone.
 */
#ifndef WG_RING_H
#define WG_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wg_ring;

/* @slots: a power of two, at least 2. NULL: no memory. Untouched slots cost no resident memory. */
struct wg_ring *wg_ring_new(uint32_t slots, size_t slot_size);
void wg_ring_free(struct wg_ring *ring);	/* NULL is allowed; nobody uses it any more */

/* Any thread. NULL: full. Each claimed slot must be committed. */
void *wg_ring_claim(struct wg_ring *ring);
void wg_ring_commit(struct wg_ring *ring, void *slot);
/* Any thread. The oldest slot, or NULL: empty. Each taken slot must be released. */
void *wg_ring_take(struct wg_ring *ring);
void wg_ring_release(struct wg_ring *ring, void *slot);

/*
 * Any thread. As claim, but makes room by dropping the oldest; *@dropped counts what went. NULL
 * only if a consumer holds the place just now: then the newest, the caller's, is the one to drop.
 */
void *wg_ring_claim_over(struct wg_ring *ring, uint32_t *dropped);

/* Any thread; a guess while others work on it. */
uint32_t wg_ring_queued(const struct wg_ring *ring);
uint32_t wg_ring_slots(const struct wg_ring *ring);
size_t wg_ring_slot_size(const struct wg_ring *ring);

#endif
