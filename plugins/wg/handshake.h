/*
 * The control side of handshakes, on the lane: what happens when one is wanted, when a message
 * arrives, and when a worker reports the first packet of a session. The cryptography is noise.c's.
 */
#ifndef WG_HANDSHAKE_H
#define WG_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

struct wg_device;
struct wg_event;
struct wg_handshake_slot;
struct wg_origin;
struct wg_peer;

/* Packets wait, the key is old, or somebody asks: starts one unless the hold-off forbids it. */
void wg_handshake_want(struct wg_peer *peer, uint64_t now);
/* Sends an initiation now; the timers have said so. @retry: it is not the first try. */
void wg_handshake_initiate(struct wg_peer *peer, bool retry, uint64_t now);
/* The peer has a path now: what could not leave for want of one is sent at once. */
void wg_handshake_path_found(struct wg_peer *peer, uint64_t now);
/* Types 1, 2 and 3; length, type and MAC1 have been checked. @queued were waiting with it. */
void wg_handshake_receive(struct wg_device *dev, const struct wg_handshake_slot *slot,
			  uint32_t queued, uint64_t now);
/* The responder's session with this index got its first packet. */
void wg_handshake_confirmed(struct wg_peer *peer, uint32_t index, uint64_t now);

/* Without a path writer: the peer is where the authentic datagram came from. */
void wg_handshake_moved(struct wg_peer *peer, const struct wg_origin *origin);

#endif
