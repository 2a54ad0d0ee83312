/*
 * The key ring. X25519 and the NaCl box come from libsodium, which refuses the points of small
 * order that would give an all-zero secret. A user holds a reference, not a lock, while it
 * computes: so replacing a key waits for nobody, and the last user of the old one wipes it.
 */
#include "keyring.h"

#include <errno.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/hex.h"

static const char prefix[] = "privkey:";

struct identity_key {
	atomic_uint refs;
	uint8_t public_[IDENTITY_KEY_LEN];
	uint8_t *private_;		/* sodium_malloc()ed, read-only */
};

_Static_assert(IDENTITY_KEY_LEN == crypto_scalarmult_BYTES, "X25519");
_Static_assert(IDENTITY_KEY_LEN == crypto_scalarmult_SCALARBYTES, "X25519");
_Static_assert(WARREN_BOX_OVERHEAD == crypto_box_NONCEBYTES + crypto_box_MACBYTES, "NaCl box");

static struct identity_key *key_alloc(void)
{
	struct identity_key *key;

	if (sodium_init() == -1)
		return NULL;
	key = calloc(1, sizeof(*key));
	if (!key)
		return NULL;
	key->private_ = sodium_malloc(IDENTITY_KEY_LEN);
	if (!key->private_) {
		free(key);
		return NULL;
	}
	atomic_init(&key->refs, 1);
	return key;
}

/* The private half is filled in: adds the public one and closes the page. */
static void key_finish(struct identity_key *key)
{
	key->private_[0] &= 248;
	key->private_[31] = (uint8_t)((key->private_[31] & 127) | 64);
	crypto_scalarmult_base(key->public_, key->private_);
	sodium_mprotect_readonly(key->private_);
}

struct identity_key *identity_key_new(void)
{
	struct identity_key *key = key_alloc();

	if (!key)
		return NULL;
	randombytes_buf(key->private_, IDENTITY_KEY_LEN);
	key_finish(key);
	return key;
}

static bool key_decode(uint8_t out[IDENTITY_KEY_LEN], const char *text)
{
	if (!strncmp(text, prefix, sizeof(prefix) - 1))
		return hex_decode(out, IDENTITY_KEY_LEN, text + sizeof(prefix) - 1) == 0;
	return base64_key_decode(out, text) == 0;
}

int identity_key_parse(const void *text, size_t len, struct identity_key **out)
{
	char copy[IDENTITY_TEXT_MAX];
	const char *from = text;
	struct identity_key *key;
	bool good;

	while (len > 0 && strchr(" \t\r\n", from[len - 1]))
		len--;
	if (len == 0 || len >= sizeof(copy) || memchr(from, '\0', len))
		return -EINVAL;
	key = key_alloc();
	if (!key)
		return -ENOMEM;
	memcpy(copy, from, len);
	copy[len] = '\0';
	good = key_decode(key->private_, copy) &&
	       !sodium_is_zero(key->private_, IDENTITY_KEY_LEN);
	sodium_memzero(copy, sizeof(copy));
	if (!good) {
		identity_key_unref(key);
		return -EINVAL;
	}
	key_finish(key);
	*out = key;
	return 0;
}

size_t identity_key_text(const struct identity_key *key, char out[IDENTITY_TEXT_MAX])
{
	const size_t at = sizeof(prefix) - 1, end = at + 2 * IDENTITY_KEY_LEN;

	memcpy(out, prefix, at);
	hex_encode(out + at, key->private_, IDENTITY_KEY_LEN);
	out[end] = '\n';
	return end + 1;
}

enum {
	AFTER_LEN = 2 * IDENTITY_KEY_LEN,
};

size_t identity_next_text(const uint8_t after[IDENTITY_KEY_LEN], const struct identity_key *key,
			  char out[IDENTITY_NEXT_MAX])
{
	hex_encode(out, after, IDENTITY_KEY_LEN);
	out[AFTER_LEN] = '\n';
	return AFTER_LEN + 1 + identity_key_text(key, out + AFTER_LEN + 1);
}

int identity_next_parse(const void *text, size_t len, const uint8_t after[IDENTITY_KEY_LEN],
			struct identity_key **out)
{
	char want[AFTER_LEN + 1];
	const char *from = text;

	if (len <= AFTER_LEN || from[AFTER_LEN] != '\n')
		return -EINVAL;
	hex_encode(want, after, IDENTITY_KEY_LEN);
	if (memcmp(from, want, AFTER_LEN))
		return 0;
	return identity_key_parse(from + AFTER_LEN + 1, len - AFTER_LEN - 1, out);
}

const uint8_t *identity_key_public(const struct identity_key *key)
{
	return key->public_;
}

void identity_key_unref(struct identity_key *key)
{
	if (!key || atomic_fetch_sub(&key->refs, 1) != 1)
		return;
	sodium_free(key->private_);
	free(key);
}

int identity_ring_init(struct identity_ring *ring)
{
	memset(ring->keys, 0, sizeof(ring->keys));
	return -pthread_mutex_init(&ring->lock, NULL);
}

void identity_ring_fini(struct identity_ring *ring)
{
	for (int i = 0; i < WARREN_KEY_KINDS; i++)
		identity_key_unref(ring->keys[i]);
	pthread_mutex_destroy(&ring->lock);
}

void identity_ring_set_take(struct identity_ring *ring, enum warren_key_kind kind,
			    struct identity_key *key)
{
	struct identity_key *old;

	pthread_mutex_lock(&ring->lock);
	old = ring->keys[kind];
	ring->keys[kind] = key;
	pthread_mutex_unlock(&ring->lock);
	identity_key_unref(old);
}

/* The key in force, with a reference. */
static struct identity_key *ring_key(struct identity_ring *ring, enum warren_key_kind kind)
{
	struct identity_key *key;

	pthread_mutex_lock(&ring->lock);
	key = ring->keys[kind];
	atomic_fetch_add(&key->refs, 1);
	pthread_mutex_unlock(&ring->lock);
	return key;
}

void identity_ring_public(struct identity_ring *ring, enum warren_key_kind kind,
			  uint8_t out[IDENTITY_KEY_LEN])
{
	struct identity_key *key = ring_key(ring, kind);

	memcpy(out, key->public_, IDENTITY_KEY_LEN);
	identity_key_unref(key);
}

int identity_ring_dh(struct identity_ring *ring, enum warren_key_kind kind,
		     const uint8_t peer[IDENTITY_KEY_LEN], uint8_t out[IDENTITY_KEY_LEN])
{
	struct identity_key *key = ring_key(ring, kind);
	int result = crypto_scalarmult(out, key->private_, peer);

	identity_key_unref(key);
	if (result == 0)
		return 0;
	sodium_memzero(out, IDENTITY_KEY_LEN);
	return -EINVAL;
}

/* The NaCl box's shared key; the caller wipes it. */
static int box_key(struct identity_ring *ring, enum warren_key_kind kind,
		   const uint8_t peer[IDENTITY_KEY_LEN], uint8_t out[crypto_box_BEFORENMBYTES])
{
	struct identity_key *key = ring_key(ring, kind);
	int result = crypto_box_beforenm(out, peer, key->private_);

	identity_key_unref(key);
	return result == 0 ? 0 : -EINVAL;
}

int identity_ring_seal(struct identity_ring *ring, enum warren_key_kind kind,
		       const uint8_t peer[IDENTITY_KEY_LEN], const uint8_t *msg, size_t len,
		       uint8_t *out)
{
	uint8_t key[crypto_box_BEFORENMBYTES];
	int result = box_key(ring, kind, peer, key);

	if (result == 0) {
		randombytes_buf(out, crypto_box_NONCEBYTES);
		if (crypto_box_easy_afternm(out + crypto_box_NONCEBYTES, msg, len, out, key) == -1)
			result = -EINVAL;
	}
	sodium_memzero(key, sizeof(key));
	return result;
}

int identity_ring_open(struct identity_ring *ring, enum warren_key_kind kind,
		       const uint8_t peer[IDENTITY_KEY_LEN], const uint8_t *box, size_t len,
		       uint8_t *out)
{
	uint8_t key[crypto_box_BEFORENMBYTES];
	int result;

	if (len < WARREN_BOX_OVERHEAD)
		return -EBADMSG;
	result = box_key(ring, kind, peer, key);
	if (result == 0 && crypto_box_open_easy_afternm(out, box + crypto_box_NONCEBYTES,
							len - crypto_box_NONCEBYTES, box,
							key) == -1)
		result = -EBADMSG;
	sodium_memzero(key, sizeof(key));
	return result;
}
