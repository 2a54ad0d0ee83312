/*
 * monitor/undo.h - taking back what was done, newest first
 *
 * Every undo may be done twice, and leaves alone what is not ours any more.
 */
#ifndef WARREN_MONITOR_UNDO_H
#define WARREN_MONITOR_UNDO_H

#include <stdbool.h>

struct mon;
struct mon_thing;

/* Takes one thing back, out of the kernel, the journal and the register. */
void mon_undo(struct mon *mon, struct mon_thing *thing);
/* All that belongs to a context that ended; sockets to be kept wait for mon_undo_unclaimed(). */
void mon_undo_owner(struct mon *mon, const char *owner);
/* What a new engine or configuration has not asked for again. */
void mon_undo_unclaimed(struct mon *mon);
void mon_undo_all(struct mon *mon);
/*
 * All but what shuts the way to the internet: an UNREACHABLE default route, THROW routes beside it
 * and the rules of its family; @stopped: one that is to stay after a stop. True: there is one.
 */
bool mon_undo_open(struct mon *mon, bool stopped);
/*
 * Notes of each thing (`shuts`) whether it is to stay although somebody takes it away: nothing,
 * unless the whole daemon is being stopped, which leaves it to the end of it.
 */
void mon_undo_note_stays(struct mon *mon);
/*
 * The engine died: watches and sockets that need not be kept go, the rest waits, without an
 * owner, for the next engine. Routes into the tunnel stay, so that nothing leaves in the clear.
 */
void mon_hold(struct mon *mon);

#endif
