/*
 * The handshake: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (dataplane.md 1.2, 1.3, 1.6, 1.7).
 *
 * Pure functions over the caller's structures: nothing is allocated, no clock is read. Our private
 * key stays with the identity service; this module asks for results of it through `dh`. The MAC
 * fields of a message that is created here are zero: wg_cookie_add_macs() fills them, and
 * wg_cookie_check_mac1() is called before a received message comes here. Lengths are the caller's:
 * wg_message_type() (transport.h) has checked them.
 *
 * What we sent and what we answered are kept apart (1.10, crossing initiations): the waiting
 * initiation is `peer->sent`, and only wg_noise_create_initiation(), a good response, and
 * wg_noise_peer_forget() change it; an answer goes from `struct wg_noise_opened` straight into a
 * session and touches the peer no further than its greatest timestamp.
 *
 * As responder:
 *	wg_noise_open_initiation()	gives opened.peer_key: look the peer up (2, lazy peers)
 *	wg_noise_accept_initiation()	with the static-static secret; proves the sender
 *	wg_noise_admit()		greatest timestamp, 20 ms rate
 *	wg_noise_create_response()	message and session (slot `next`)
 * and wg_noise_opened_wipe() on every way out.
 *
 * One thread at a time for each local, peer and opened (the lane).
 */
#ifndef WG_NOISE_H
#define WG_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "messages.h"

typedef void wg_random_fn(void *arg, uint8_t *out, size_t len);

/* What a handshake takes from outside; tests inject all of it. */
struct wg_noise_env {
	/* X25519 of our private key; 0, or -errno (the all-zero secret: -EINVAL). */
	int (*dh)(void *arg, const uint8_t peer[32], uint8_t out[32]);
	/* The time stamp of an initiation: wg_tai64n() or better, see wg_tai64n_after(). */
	void (*tai64n)(void *arg, uint8_t out[WG_TIMESTAMP_LEN]);
	wg_random_fn *random;		/* bytes of ephemeral keys; NULL: libsodium's */
	void *arg;
};

struct wg_noise_local {
	struct wg_noise_env env;
	uint8_t public_key[32];
	uint8_t hash[32];		/* HASH(H0 || public_key): where an initiation begins */
};

struct wg_noise_sent {			/* an initiation that waits for its response */
	bool waiting;
	uint32_t index;			/* our sender index: in the index table while waiting */
	uint8_t ephemeral[32];		/* private */
	uint8_t ck[32], hash[32];
};

struct wg_noise_peer {
	uint8_t public_key[32];
	uint8_t ss[32];			/* DH(static, static) */
	uint8_t psk[32];		/* zero: none */
	uint8_t greatest[WG_TIMESTAMP_LEN];	/* of accepted initiations, for the peer's life */
	uint64_t admitted_at;		/* the last accepted initiation; 0 never */
	struct wg_noise_sent sent;
};

struct wg_noise_opened {		/* an initiation of somebody, between its two halves */
	uint8_t peer_key[32];		/* the claimed initiator; proved by accept */
	uint32_t remote_index;
	uint8_t ephemeral[32];		/* the initiator's, public */
	uint8_t ck[32], hash[32];
	uint8_t sealed_timestamp[WG_TIMESTAMP_LEN + WG_TAG_LEN];
	uint8_t timestamp[WG_TIMESTAMP_LEN];	/* valid after accept */
};

struct wg_noise_session {		/* both counters start at 0 */
	bool initiator;
	uint32_t local_index, remote_index;
	uint8_t send_key[32], receive_key[32];
};

/* Copies @env and @public_key. Call it again when our key changes. */
void wg_noise_local_init(struct wg_noise_local *local, const struct wg_noise_env *env,
			 const uint8_t public_key[32]);

/*
 * Zeroes @peer and computes its static-static secret. @psk NULL: none. -EINVAL: @public_key gives
 * the all-zero secret (it is no key); other -errno: of env.dh.
 */
int wg_noise_peer_init(struct wg_noise_peer *peer, const struct wg_noise_local *local,
		       const uint8_t public_key[32], const uint8_t *psk);
/* The same from a secret that the caller has computed already for accept: cannot fail. */
void wg_noise_peer_init_ss(struct wg_noise_peer *peer, const uint8_t public_key[32],
			   const uint8_t ss[32], const uint8_t *psk);
/*
 * Our key has changed: computes ss anew and forgets the waiting handshake; the greatest timestamp
 * stays. Errors as of init; ss is then zero and every handshake with the peer fails.
 */
int wg_noise_peer_rekey(struct wg_noise_peer *peer, const struct wg_noise_local *local);
/* Drops and wipes the waiting handshake (zero-key timer, reset). The caller frees its index. */
void wg_noise_peer_forget(struct wg_noise_peer *peer);
void wg_noise_peer_wipe(struct wg_noise_peer *peer);	/* everything, before it is freed */

/*
 * Writes an initiation with @index as sender and waits for its response; an older waiting one is
 * replaced (the caller frees its index). -errno: as env.dh; nothing waits then. @msg is zeroed on
 * error.
 */
int wg_noise_create_initiation(const struct wg_noise_local *local, struct wg_noise_peer *peer,
			       uint32_t index, uint8_t msg[WG_INITIATION_LEN]);

/*
 * First half: reveals the static key that the initiator claims. Proves nothing about it yet.
 * -EBADMSG: not for our key, or forged; -EINVAL: its ephemeral gives the all-zero secret. @opened
 * is wiped on error.
 */
int wg_noise_open_initiation(const struct wg_noise_local *local,
			     const uint8_t msg[WG_INITIATION_LEN], struct wg_noise_opened *opened);
/*
 * Second half: @ss is DH(static, static) with opened->peer_key, kept (peer->ss) or computed for
 * this message (env.dh), so that nothing need be allocated for a forger. 0: the initiator has the
 * private key, opened->timestamp is set. -EBADMSG: forged. -EINVAL: @ss is all zero.
 */
int wg_noise_accept_initiation(struct wg_noise_opened *opened, const uint8_t ss[32]);
/*
 * After accept: replay and flood (1.7). 0 records timestamp and @now in @peer; -EALREADY: the
 * timestamp is not greater than the greatest; -EBUSY: 20 ms or less after the last accepted one.
 */
int wg_noise_admit(struct wg_noise_peer *peer, const struct wg_noise_opened *opened, uint64_t now);
/*
 * Writes the response with @index as sender and derives the session; consumes @opened (wiped).
 * -EINVAL: all-zero secret; @msg and @session are zeroed then.
 */
int wg_noise_create_response(const struct wg_noise_local *local, const struct wg_noise_peer *peer,
			     struct wg_noise_opened *opened, uint32_t index,
			     uint8_t msg[WG_RESPONSE_LEN], struct wg_noise_session *session);

/*
 * The response to peer->sent; the caller found the peer by the receiver index. 0: the session is
 * derived and nothing waits any more (session->local_index: re-point it from handshake to key
 * pair). On any error the waiting handshake is as it was: -ENOENT nothing waits or another index
 * does, -EBADMSG forged or wrong PSK, -EINVAL all-zero secret, other -errno of env.dh.
 */
int wg_noise_consume_response(const struct wg_noise_local *local, struct wg_noise_peer *peer,
			      const uint8_t msg[WG_RESPONSE_LEN], struct wg_noise_session *session);

void wg_noise_opened_wipe(struct wg_noise_opened *opened);
void wg_noise_session_wipe(struct wg_noise_session *session);

/* TAI64N label of a Unix time, nanoseconds cut to 2^24 (1.7). Before 1970 counts as 1970. */
void wg_tai64n(uint8_t out[WG_TIMESTAMP_LEN], int64_t sec, uint32_t nsec);
/*
 * Makes @label greater than @last: if it is not, it becomes @last plus one step of 2^24 ns. A
 * sender that stamps with this goes on being answered after its clock stepped back (1.7).
 */
void wg_tai64n_after(uint8_t label[WG_TIMESTAMP_LEN], const uint8_t last[WG_TIMESTAMP_LEN]);

#endif
