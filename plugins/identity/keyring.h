/*
 * The key ring: private keys in guarded memory, and what may be done with them.
 *
 * Private bytes enter once and never leave: callers get public keys, shared secrets and boxes. Each
 * key lies in a page of its own between guard pages, locked, read-only, wiped when it is replaced.
 */
#ifndef IDENTITY_KEYRING_H
#define IDENTITY_KEYRING_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/service/identity.h>

enum {
	IDENTITY_KEY_LEN = 32,
	/* "privkey:", 64 hex digits, newline: control-protocol.md 1.1 */
	IDENTITY_TEXT_MAX = 74,
	/* 64 hex digits, newline, and that */
	IDENTITY_NEXT_MAX = 65 + IDENTITY_TEXT_MAX,
};

struct identity_key;			/* reference-counted */

/* A fresh key, clamped (control-protocol.md 1.1). NULL: no memory. Any thread. */
struct identity_key *identity_key_new(void);
/*
 * Reads a key file: base64 as `wg genkey` writes it, or the control protocol's "privkey:" and 64
 * hex digits; white space at the end is ignored. -EINVAL: neither, or the zero key; -ENOMEM.
 */
int identity_key_parse(const void *text, size_t len, struct identity_key **out);
/* The "privkey:" form with a newline; returns its length. The caller wipes @out. */
size_t identity_key_text(const struct identity_key *key, char out[IDENTITY_TEXT_MAX]);
/*
 * A key that is to follow the one whose public half is @after: its hex digits on a line, then the
 * "privkey:" form. Once another key is in force the file says by itself that it is of no use.
 */
size_t identity_next_text(const uint8_t after[IDENTITY_KEY_LEN], const struct identity_key *key,
			  char out[IDENTITY_NEXT_MAX]);
/* *@out stays NULL: it follows another key than @after. -EINVAL: no such file; -ENOMEM. */
int identity_next_parse(const void *text, size_t len, const uint8_t after[IDENTITY_KEY_LEN],
			struct identity_key **out);
const uint8_t *identity_key_public(const struct identity_key *key);
void identity_key_unref(struct identity_key *key);	/* the last one wipes; NULL is allowed */

/*
 * Users may come from any thread; a replaced key is freed when the last of them is through. The
 * lock covers the pointers only and is never taken per packet: handshakes and disco are its users.
 */
struct identity_ring {
	pthread_mutex_t lock;
	struct identity_key *keys[WARREN_KEY_KINDS];	/* under lock */
};

int identity_ring_init(struct identity_ring *ring);
void identity_ring_fini(struct identity_ring *ring);
/* Takes @key and gives up the one before. Never waits for users of it. */
void identity_ring_set_take(struct identity_ring *ring, enum warren_key_kind kind,
			    struct identity_key *key);

/* The operations of service/identity.h; any thread. */
void identity_ring_public(struct identity_ring *ring, enum warren_key_kind kind,
			  uint8_t out[IDENTITY_KEY_LEN]);
int identity_ring_dh(struct identity_ring *ring, enum warren_key_kind kind,
		     const uint8_t peer[IDENTITY_KEY_LEN], uint8_t out[IDENTITY_KEY_LEN]);
int identity_ring_seal(struct identity_ring *ring, enum warren_key_kind kind,
		       const uint8_t peer[IDENTITY_KEY_LEN], const uint8_t *msg, size_t len,
		       uint8_t *out);
int identity_ring_open(struct identity_ring *ring, enum warren_key_kind kind,
		       const uint8_t peer[IDENTITY_KEY_LEN], const uint8_t *box, size_t len,
		       uint8_t *out);

#endif
