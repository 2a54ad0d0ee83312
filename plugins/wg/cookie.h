/*
 * MAC1, MAC2 and cookies (dataplane.md 1.4, 1.8): cheap proof that a handshake message is meant for
 * us, and under load that its sender receives what we send to its source.
 *
 * A source is an opaque string of bytes: address and port of a UDP datagram by
 * wg_cookie_source_udp(), region and sender key of a relayed one as the caller likes, as long as
 * the kinds cannot be mistaken for each other. Both address and port must be in it (3.1).
 *
 * Pure functions over the caller's structures; one thread at a time for each (the lane).
 */
#ifndef WG_COOKIE_H
#define WG_COOKIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

#include "messages.h"
#include "noise.h"

enum { WG_COOKIE_SOURCE_UDP_MAX = 18 };

struct wg_cookie_checker {		/* one per device: what we ask of others */
	wg_random_fn *random;		/* NULL: libsodium's */
	void *random_arg;
	uint8_t mac1_key[32], reply_key[32];	/* of our public key */
	uint8_t secret[32];
	uint64_t secret_at;		/* when it was made; 0 never */
};

struct wg_cookie_peer {			/* one per peer: what it asks of us */
	uint8_t mac1_key[32], reply_key[32];	/* of its public key */
	uint8_t cookie[WG_COOKIE_LEN];
	uint64_t cookie_at;		/* when it came; 0 never */
	bool mac1_sent;			/* `mac1` may be answered by one cookie reply */
	uint8_t mac1[WG_MAC_LEN];
};

/* Also when our key changes. @random NULL: libsodium's. */
void wg_cookie_checker_init(struct wg_cookie_checker *checker, const uint8_t public_key[32],
			    wg_random_fn *random, void *random_arg);
void wg_cookie_checker_wipe(struct wg_cookie_checker *checker);
void wg_cookie_peer_init(struct wg_cookie_peer *peer, const uint8_t public_key[32]);
void wg_cookie_peer_wipe(struct wg_cookie_peer *peer);

/* IP bytes, then the port in network order. Returns the length: 6 or 18; 0: no address. */
size_t wg_cookie_source_udp(uint8_t out[WG_COOKIE_SOURCE_UDP_MAX],
			    const struct warren_addrport *from);

/* @msg is a whole initiation or response (@len says which). Constant time. */
bool wg_cookie_check_mac1(const struct wg_cookie_checker *checker, const uint8_t *msg, size_t len);
/* Only asked under load; a secret older than 120 s validates nothing. Constant time. */
bool wg_cookie_check_mac2(const struct wg_cookie_checker *checker, const uint8_t *msg, size_t len,
			  const uint8_t *source, size_t source_len, uint64_t now);
/* The reply to @msg, whose MAC1 is right; makes a new secret when the old one is 120 s old. */
void wg_cookie_make_reply(struct wg_cookie_checker *checker, const uint8_t *msg, size_t len,
			  const uint8_t *source, size_t source_len, uint64_t now,
			  uint8_t reply[WG_COOKIE_REPLY_LEN]);

/* Fills MAC1 and MAC2 (zero without a valid cookie) of a message to @peer, and remembers MAC1. */
void wg_cookie_add_macs(struct wg_cookie_peer *peer, uint8_t *msg, size_t len, uint64_t now);
/*
 * Keeps the cookie for the next handshake message; one reply per sent MAC1. The caller found the
 * peer by the receiver index (of a handshake or a key pair) and changes no endpoint and no timer.
 * -ENOENT: no MAC1 is waiting; -EBADMSG: forged, or answers an older message.
 */
int wg_cookie_consume_reply(struct wg_cookie_peer *peer, const uint8_t reply[WG_COOKIE_REPLY_LEN],
			    uint64_t now);

#endif
