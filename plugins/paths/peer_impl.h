/*
 * What the parts of a peer's machine share: peer.c, and via.c with the way through peer relays.
 */
#ifndef PATHS_PEER_IMPL_H
#define PATHS_PEER_IMPL_H

#include "peer.h"

/* peer.c */
void paths_peer_ping(struct paths_peer *peer, struct paths_ping ask);
void paths_peer_note(struct paths_peer *peer, uint64_t now, enum paths_reason reason);
/* At the end of every event. */
void paths_peer_settle(struct paths_peer *peer, uint64_t now);
/* The relay region by which the peer is reached; 0: none. */
uint32_t paths_peer_region(const struct paths_peer *peer);

/* via.c; none of them settles */
bool paths_via_answers(const struct paths_peer *peer, uint64_t now);
/* Through it, if there is one. */
void paths_via_ping(struct paths_peer *peer, uint64_t now, enum paths_purpose purpose,
		    void *command);
/* A ping through a relay was answered, or not in time. */
void paths_via_answered(struct paths_peer *peer, uint64_t now, const struct paths_ping *sent,
			uint64_t latency);
void paths_via_missed(struct paths_peer *peer, uint64_t now, const struct paths_ping *late);
void paths_via_clear(struct paths_peer *peer, uint64_t now, enum paths_reason reason);
/* Looks for a relay if there is reason to. */
void paths_via_search(struct paths_peer *peer, uint64_t now);
void paths_via_stop(struct paths_peer *peer);	/* what is under way */
uint64_t paths_via_deadline(const struct paths_peer *peer);
void paths_via_turn(struct paths_peer *peer, uint64_t now);

#endif
