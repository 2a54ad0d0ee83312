/*
 * Epochs: when may the loop free what workers may still read?
 *
 * A worker tells the epoch it has seen once per turn, and 0 while it is offline. A writer
 * unpublishes an object, then takes the next epoch as the object's; it is free when every worker is
 * offline or has told that epoch or a later one. Readers pay one load and one store per turn. C11
 * atomics only; the proof is at the top of epoch.c, the witness tests/unit/t_epoch.c under TSan.
 */
#ifndef WARREN_ENGINE_EPOCH_H
#define WARREN_ENGINE_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct warren_ctx;
struct wcore_epochs;

struct wcore_reader {			/* one per worker; embed */
	struct wcore_reader *next;	/* under the mutex of the epochs */
	struct wcore_epochs *epochs;
	_Atomic uint64_t seen __attribute__((aligned(64)));	/* 0: offline */
	char pad[56];
};

struct wcore_epochs *wcore_epochs_new(void);
void wcore_epochs_free(struct wcore_epochs *epochs);	/* no reader is left; NULL is allowed */

/* Writer's side, any thread but a reader's. A reader is added offline and removed offline. */
void wcore_reader_add(struct wcore_epochs *epochs, struct wcore_reader *reader);
void wcore_reader_remove(struct wcore_reader *reader);
/* The epoch of what was just unpublished. */
uint64_t wcore_epoch_retire(struct wcore_epochs *epochs);
/* All epochs up to the returned one are over. */
uint64_t wcore_epoch_passed(struct wcore_epochs *epochs);

/* Reader's side: its thread only. Neither locks nor allocates. */
void wcore_reader_online(struct wcore_reader *reader);
void wcore_reader_offline(struct wcore_reader *reader);
void wcore_reader_turn(struct wcore_reader *reader);

/* Lane: frees what @ctx retired and all workers passed; @all: all of it, no worker is left. */
void wcore_retired_sweep(struct warren_ctx *ctx, bool all);

#endif
