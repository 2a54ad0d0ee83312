/*
 * warren/service/identity.h - service "identity" 0.1: the only reader of private keys
 *
 * Private bytes never leave the provider; consumers get results. Every function: any thread.
 * Topic "identity" (sticky, struct warren_identity_event) tells that a key changed.
 * Keys are X25519 (RFC 7748). Sources: WireGuard (dataplane.md 1.6), control protocol sections 1
 * and 3 (machine and node key), disco (NaCl box).
 */
#ifndef WARREN_SERVICE_IDENTITY_H
#define WARREN_SERVICE_IDENTITY_H

#include <warren/plugin.h>

enum warren_key_kind {
	WARREN_KEY_MACHINE = 0, WARREN_KEY_NODE, WARREN_KEY_DISCO, WARREN_KEY_KINDS
};

enum { WARREN_BOX_OVERHEAD = 24 + 16 };	/* nonce, tag: XSalsa20-Poly1305 */

struct warren_identity_ops {
	uint32_t size;
	void (*public_key)(void *self, enum warren_key_kind kind, uint8_t out[32]);
	/* X25519; -EINVAL for a peer key that gives the all-zero secret (@out is zero then). */
	int (*dh)(void *self, enum warren_key_kind kind, const uint8_t peer[32], uint8_t out[32]);
	/* NaCl box: nonce || box; @out has room for @len + WARREN_BOX_OVERHEAD. */
	int (*seal)(void *self, enum warren_key_kind kind, const uint8_t peer[32],
		    const uint8_t *msg, size_t len, uint8_t *out);
	/* The reverse; @len >= WARREN_BOX_OVERHEAD, else or when forged -EBADMSG. */
	int (*open)(void *self, enum warren_key_kind kind, const uint8_t peer[32],
		    const uint8_t *box, size_t len, uint8_t *out);
	/* Lane. Makes a new key, stores it, then publishes "identity". */
	int (*rotate)(void *self, enum warren_key_kind kind);
	/*
	 * Lane. The same in two steps, for a key that somebody else must accept before it is used:
	 * `prepare` makes it (or takes the one that was prepared before) and gives its public half.
	 * WARREN_PENDING: it is being stored, to be there after a crash too; ask again soon.
	 * `commit` does what is left, -ENOENT: none is prepared; `abandon` forgets it. -EPERM: the
	 * key is the operator's, not ours to change.
	 */
	int (*prepare)(void *self, enum warren_key_kind kind, uint8_t out[32]);
	int (*commit)(void *self, enum warren_key_kind kind);
	void (*abandon)(void *self, enum warren_key_kind kind);
	/* One is prepared and stored, perhaps since before a restart. */
	bool (*prepared)(void *self, enum warren_key_kind kind);
};

struct warren_identity_event {
	struct warren_obj obj;
	uint32_t changed;		/* 1 << enum warren_key_kind */
	uint8_t public_key[WARREN_KEY_KINDS][32];
};

#endif
