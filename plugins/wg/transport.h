/*
 * Transport data messages (dataplane.md 1.5) and the first look at any datagram. One message at a
 * time with libsodium, in place; the worker calls these in a loop over its batch, and a batch
 * cipher can take the loop's place.
 *
 * Pure functions; any thread. Lengths are checked here, the caller gives the memory's.
 */
#ifndef WG_TRANSPORT_H
#define WG_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

#include "messages.h"

/*
 * The type (WG_INITIATION ... WG_TRANSPORT) if the first four bytes and the length fit a WireGuard
 * message, else 0. After it, all fixed offsets of messages.h are inside the message.
 */
uint32_t wg_message_type(const uint8_t *msg, size_t len);
/* Receiver index of types 2, 3, 4; counter of type 4. */
uint32_t wg_message_receiver(const uint8_t *msg, uint32_t type);
uint64_t wg_transport_counter(const uint8_t *msg);

/* Bytes of the padded inner packet: next multiple of 16, not past @mtu (> 0). */
size_t wg_transport_padded(size_t inner_len, size_t mtu);
/* Bytes of the whole message. */
size_t wg_transport_len(size_t inner_len, size_t mtu);

/*
 * In place: the inner packet lies at @msg + 16, and @msg has room for wg_transport_len() bytes.
 * Writes header, padding, ciphertext, tag. Returns the message's length. @inner_len 0: keepalive.
 * The caller owns @counter: each value once per key, below WG_REJECT_AFTER_MESSAGES.
 */
size_t wg_transport_seal(const uint8_t key[32], uint32_t receiver, uint64_t counter,
			 uint8_t *msg, size_t inner_len, size_t mtu);
/*
 * In place: on 0 the padded inner packet, @len - 32 bytes, lies at @msg + 16. -EBADMSG: too short
 * or forged (the inner bytes are then undefined, never plaintext).
 */
int wg_transport_open(const uint8_t key[32], uint8_t *msg, size_t len);

/*
 * Length of the inner packet by its own IP header; cuts the padding. 0 < result <= @len, or
 * -EINVAL: shorter than its header, longer than @len, or neither IPv4 nor IPv6. @len > 0.
 */
int64_t wg_inner_len(const uint8_t *inner, size_t len);
/* Addresses of an inner packet that wg_inner_len() accepted. Pointers into it; 4 or 16 bytes. */
const uint8_t *wg_inner_source(const uint8_t *inner, uint32_t *family);
const uint8_t *wg_inner_destination(const uint8_t *inner, uint32_t *family);

#endif
