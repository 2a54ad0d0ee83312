/*
 * Noise IK of the control protocol (section 3). The derivation follows the table of section 3.3;
 * the records of section 3.2 deviate from the Noise specification in their nonce, which is big
 * endian. A session that has failed once stays failed, as there is no way to get in step again.
 */
#include "controlnoise.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/blake2s.h"
#include "base/buf.h"
#include "base/str.h"

enum {
	KEY = 32, HASH = 32, TAG = 16, HEADER = 3,
	TYPE_INIT = 1, TYPE_RESPONSE = 2, TYPE_ERROR = 3, TYPE_RECORD = 4,	/* section 3.2 */
	INIT_BODY = KEY + KEY + TAG + TAG, RESPONSE_BODY = KEY + TAG,
	ERROR_MAX = 1024,		/* of the server's words that we wait for */
	ERROR_SHOWN = 200,
	PROLOGUE = 48,
};

static const char protocol[] = "Noise_IK_25519_ChaChaPoly_BLAKE2s";

struct symmetric {			/* the handshake under way */
	uint8_t h[HASH], ck[HASH];
};

struct warren_noise {
	struct symmetric sym;
	struct warren_private ephemeral;	/* client, until the answer */
	struct warren_noise_key self;
	uint8_t peer[KEY], hash[HASH];
	uint8_t send_key[KEY], receive_key[KEY];
	uint64_t send_count, receive_count;
	uint16_t version;
	bool open, broken;
};

static void mix_hash(struct symmetric *sym, const void *data, size_t len)
{
	struct blake2s s;

	blake2s_init(&s, HASH, NULL, 0);
	blake2s_update(&s, sym->h, HASH);
	blake2s_update(&s, data, len);
	blake2s_final(&s, sym->h);
}

static void begin(struct symmetric *sym, const char *prologue, const uint8_t server[KEY])
{
	blake2s(sym->h, HASH, NULL, 0, protocol, sizeof(protocol) - 1);
	memcpy(sym->ck, sym->h, HASH);
	mix_hash(sym, prologue, strlen(prologue));
	mix_hash(sym, server, KEY);
}

/* Section 3.1: the prologue holds the version that stands in clear in the first message. */
static const char *make_prologue(uint16_t version, char out[PROLOGUE])
{
	int n = snprintf(out, PROLOGUE, "Tailscale Control Protocol v%u", version);

	if (n < 0 || n >= PROLOGUE)
		abort();
	return out;
}

/* MIXDH with a secret that is known already; wipes it. */
static int mix_secret(struct symmetric *sym, uint8_t secret[KEY], uint8_t k[KEY])
{
	/* RFC 7748 6.1: all zeros is what a point of small order gives. */
	int result = sodium_is_zero(secret, KEY) ? -EBADMSG : 0;

	if (result == 0)
		blake2s_kdf2(sym->ck, k, sym->ck, secret, KEY);
	sodium_memzero(secret, KEY);
	return result;
}

static int mix_static(struct symmetric *sym, const struct warren_noise_key *self,
		      const uint8_t peer[KEY], uint8_t k[KEY])
{
	uint8_t secret[KEY] = { 0 };
	int result = self->dh(self->arg, peer, secret);

	return result ? result : mix_secret(sym, secret, k);
}

static int mix_ephemeral(struct symmetric *sym, const struct warren_private *own,
			 const uint8_t peer[KEY], uint8_t k[KEY])
{
	uint8_t secret[KEY] = { 0 };

	if (crypto_scalarmult_curve25519(secret, own->secret, peer) == -1)
		return -EBADMSG;
	return mix_secret(sym, secret, k);
}

static const uint8_t zero_nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

/* @out gets @len + TAG bytes. */
static void seal(struct symmetric *sym, const uint8_t k[KEY], const uint8_t *plain, size_t len,
		 uint8_t *out)
{
	crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, len, sym->h, HASH, NULL,
						  zero_nonce, k);
	mix_hash(sym, out, len + TAG);
}

static int unseal(struct symmetric *sym, const uint8_t k[KEY], const uint8_t *sealed, size_t len,
		  uint8_t *out)
{
	if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed, len, sym->h, HASH,
						      zero_nonce, k) == -1)
		return -EBADMSG;
	mix_hash(sym, sealed, len);
	return 0;
}

/* SPLIT: the chaining key is used up, the session is open. */
static void split(struct warren_noise *noise, bool client)
{
	uint8_t *up = client ? noise->send_key : noise->receive_key;
	uint8_t *down = client ? noise->receive_key : noise->send_key;

	blake2s_kdf2(up, down, noise->sym.ck, NULL, 0);
	memcpy(noise->hash, noise->sym.h, HASH);
	sodium_memzero(&noise->sym, sizeof(noise->sym));
	warren_private_wipe(&noise->ephemeral);
	noise->open = true;
}

void warren_noise_free(struct warren_noise *noise)
{
	if (!noise)
		return;
	sodium_memzero(noise, sizeof(*noise));
	free(noise);
}

static struct warren_noise *noise_new(const struct warren_noise_key *self, struct warren_err *err)
{
	struct warren_noise *noise = calloc(1, sizeof(*noise));

	if (!noise) {
		warren_fail(err, NULL, "no memory for a control connection");
		return NULL;
	}
	noise->self = *self;
	return noise;
}

struct warren_noise *controlnoise_client_new(uint16_t version,
					     const struct warren_noise_key *self,
					     const uint8_t server[KEY],
					     const struct warren_private *ephemeral,
					     const char *prologue,
					     uint8_t init[WARREN_NOISE_INIT],
					     struct warren_err *err)
{
	struct warren_noise *noise = noise_new(self, err);
	uint8_t k[KEY] = { 0 }, *own, *fixed;
	char text[PROLOGUE];
	struct buf_writer w;

	if (!noise)
		return NULL;
	noise->version = version;
	noise->ephemeral = *ephemeral;
	memcpy(noise->peer, server, KEY);
	buf_writer_init(&w, init, WARREN_NOISE_INIT);
	buf_put_be16(&w, version);
	buf_put_u8(&w, TYPE_INIT);
	buf_put_be16(&w, INIT_BODY);
	own = buf_reserve(&w, KEY);
	fixed = buf_reserve(&w, KEY + TAG);

	begin(&noise->sym, prologue ? prologue : make_prologue(version, text), server);
	warren_private_public(ephemeral, own);
	mix_hash(&noise->sym, own, KEY);
	if (mix_ephemeral(&noise->sym, ephemeral, server, k))		/* es */
		goto fail;
	seal(&noise->sym, k, self->public_key, KEY, fixed);
	if (mix_static(&noise->sym, self, server, k))			/* ss */
		goto fail;
	seal(&noise->sym, k, NULL, 0, buf_reserve(&w, TAG));
	sodium_memzero(k, sizeof(k));
	return noise;
fail:
	sodium_memzero(k, sizeof(k));
	warren_noise_free(noise);
	warren_fail(err, NULL, "no common secret with the control server's key: fetch its key "
		    "again, or see whether our machine key can be read");
	return NULL;
}

struct warren_noise *warren_noise_client_new(uint16_t version,
					     const struct warren_noise_key *self,
					     const uint8_t server[KEY],
					     uint8_t init[WARREN_NOISE_INIT],
					     struct warren_err *err)
{
	struct warren_private ephemeral;
	struct warren_noise *noise;

	warren_private_new(&ephemeral);
	noise = controlnoise_client_new(version, self, server, &ephemeral, NULL, init, err);
	warren_private_wipe(&ephemeral);
	return noise;
}

static int client_finish(struct warren_noise *noise, const uint8_t *body)
{
	uint8_t k[KEY] = { 0 }, nothing[1];
	int result;

	mix_hash(&noise->sym, body, KEY);
	result = mix_ephemeral(&noise->sym, &noise->ephemeral, body, k);	/* ee */
	if (result == 0)
		result = mix_static(&noise->sym, &noise->self, body, k);	/* se */
	if (result == 0)
		result = unseal(&noise->sym, k, body + KEY, TAG, nothing);
	sodium_memzero(k, sizeof(k));
	if (result == 0)
		split(noise, true);
	return result;
}

/* The server's own words; waits for all of them only if they are few. */
static int client_refused(struct buf_reader *r, uint16_t n, struct warren_err *err)
{
	struct str words = STR_INIT;
	size_t have = buf_left(r) < n ? buf_left(r) : n;

	if (have < n && have < ERROR_MAX)
		return WARREN_PENDING;
	str_add_clean(&words, (const char *)buf_view(r, have), have, ERROR_SHOWN);
	warren_fail(err, NULL, "the control server refused the Noise handshake: \"%s\"",
		    str_text(&words));
	str_free(&words);
	return -ECONNREFUSED;
}

int warren_noise_client_read(struct warren_noise *noise, const uint8_t *data, size_t len,
			     size_t *used, struct warren_err *err)
{
	struct buf_reader r;
	const uint8_t *body;
	uint16_t n;
	uint8_t type;
	int result;

	*used = 0;
	if (noise->open || noise->broken)
		return warren_fail(err, NULL, "the Noise handshake is over");
	if (len < HEADER)
		return WARREN_PENDING;
	buf_reader_init(&r, data, len);
	buf_u8(&r, &type);
	buf_be16(&r, &n);
	if (type == TYPE_ERROR) {
		result = client_refused(&r, n, err);
		noise->broken = result < 0;
		return result;
	}
	if (type != TYPE_RESPONSE || n != RESPONSE_BODY) {
		noise->broken = true;
		warren_fail(err, NULL, "the control server answered the Noise handshake with a "
			    "message of type %u and length %u: it does not speak ts2021, or "
			    "something between changes bytes", type, n);
		return -EBADMSG;
	}
	body = buf_view(&r, RESPONSE_BODY);
	if (!body)
		return WARREN_PENDING;
	result = client_finish(noise, body);
	if (result) {
		noise->broken = true;
		warren_fail(err, NULL, "the control server does not hold the key that it is known "
			    "by: another server answers in its place, or its key has changed");
		return -EBADMSG;
	}
	*used = WARREN_NOISE_RESPONSE;
	return 0;
}

/* Steps 1 to 7: proves that the client holds the static key that it names. */
static int server_read(struct warren_noise *noise, const char *prologue, const uint8_t *body)
{
	uint8_t k[KEY] = { 0 }, nothing[1];
	const uint8_t *sealed = body + KEY, *tag = sealed + KEY + TAG;
	int result;

	begin(&noise->sym, prologue, noise->self.public_key);
	mix_hash(&noise->sym, body, KEY);
	result = mix_static(&noise->sym, &noise->self, body, k);		/* es */
	if (result == 0)
		result = unseal(&noise->sym, k, sealed, KEY + TAG, noise->peer);
	if (result == 0)
		result = mix_static(&noise->sym, &noise->self, noise->peer, k);	/* ss */
	if (result == 0)
		result = unseal(&noise->sym, k, tag, TAG, nothing);
	sodium_memzero(k, sizeof(k));
	return result;
}

/* Steps 8 to 12. */
static int server_write(struct warren_noise *noise, const struct warren_private *ephemeral,
			const uint8_t client_ephemeral[KEY], uint8_t out[WARREN_NOISE_RESPONSE])
{
	uint8_t k[KEY] = { 0 }, *own;
	struct buf_writer w;
	int result;

	buf_writer_init(&w, out, WARREN_NOISE_RESPONSE);
	buf_put_u8(&w, TYPE_RESPONSE);
	buf_put_be16(&w, RESPONSE_BODY);
	own = buf_reserve(&w, KEY);
	warren_private_public(ephemeral, own);
	mix_hash(&noise->sym, own, KEY);
	result = mix_ephemeral(&noise->sym, ephemeral, client_ephemeral, k);	/* ee */
	if (result == 0)
		result = mix_ephemeral(&noise->sym, ephemeral, noise->peer, k);	/* se */
	if (result == 0) {
		seal(&noise->sym, k, NULL, 0, buf_reserve(&w, TAG));
		split(noise, false);
	}
	sodium_memzero(k, sizeof(k));
	return result;
}

struct warren_noise *controlnoise_server_new(const struct warren_noise_key *self,
					     const uint8_t *init, size_t len,
					     const struct warren_private *ephemeral,
					     const char *prologue,
					     uint8_t response[WARREN_NOISE_RESPONSE],
					     struct warren_err *err)
{
	struct warren_noise *noise;
	struct buf_reader r;
	const uint8_t *body;
	char text[PROLOGUE];
	uint16_t version, n;
	uint8_t type;

	buf_reader_init(&r, init, len);
	buf_be16(&r, &version);
	buf_u8(&r, &type);
	buf_be16(&r, &n);
	body = buf_view(&r, INIT_BODY);
	if (!buf_done(&r) || type != TYPE_INIT || n != INIT_BODY) {
		warren_fail(err, NULL, "the client's Noise message is no initiation of %d bytes",
			    WARREN_NOISE_INIT);
		return NULL;
	}
	noise = noise_new(self, err);
	if (!noise)
		return NULL;
	noise->version = version;
	if (!prologue)
		prologue = make_prologue(version, text);
	if (server_read(noise, prologue, body) || server_write(noise, ephemeral, body, response)) {
		warren_noise_free(noise);
		warren_fail(err, NULL, "the client's Noise initiation does not open with our key: "
			    "it was made for another server, or changed on the way");
		return NULL;
	}
	return noise;
}

struct warren_noise *warren_noise_server_new(const struct warren_noise_key *self,
					     const uint8_t *init, size_t len,
					     uint8_t response[WARREN_NOISE_RESPONSE],
					     struct warren_err *err)
{
	struct warren_private ephemeral;
	struct warren_noise *noise;

	warren_private_new(&ephemeral);
	noise = controlnoise_server_new(self, init, len, &ephemeral, NULL, response, err);
	warren_private_wipe(&ephemeral);
	return noise;
}

void controlnoise_set_counters(struct warren_noise *noise, uint64_t send, uint64_t receive)
{
	noise->send_count = send;
	noise->receive_count = receive;
}

uint16_t warren_noise_version(const struct warren_noise *noise)
{
	return noise->version;
}

const uint8_t *warren_noise_peer(const struct warren_noise *noise)
{
	return noise->peer;
}

const uint8_t *warren_noise_hash(const struct warren_noise *noise)
{
	return noise->hash;
}

/* False: the counter is used up (2^64 - 1 is no nonce: Noise specification 5.1). */
static bool next_nonce(uint64_t *count, uint8_t out[crypto_aead_chacha20poly1305_ietf_NPUBBYTES])
{
	struct buf_writer w;

	if (*count == UINT64_MAX)
		return false;
	buf_writer_init(&w, out, crypto_aead_chacha20poly1305_ietf_NPUBBYTES);
	buf_put_be32(&w, 0);
	buf_put_be64(&w, (*count)++);
	return true;
}

int warren_noise_seal(struct warren_noise *noise, const void *plain, size_t len, uint8_t *out)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	struct buf_writer w;

	if (!noise->open || len > WARREN_NOISE_PLAIN)
		return -EINVAL;
	if (!next_nonce(&noise->send_count, nonce))
		return -EOVERFLOW;
	buf_writer_init(&w, out, HEADER);
	buf_put_u8(&w, TYPE_RECORD);
	buf_put_be16(&w, (uint16_t)(len + TAG));
	crypto_aead_chacha20poly1305_ietf_encrypt(out + HEADER, NULL, plain, len, NULL, 0, NULL,
						  nonce, noise->send_key);
	return 0;
}

static int broken(struct warren_noise *noise, struct warren_err *err, const char *why)
{
	noise->broken = true;
	warren_fail(err, NULL, "the control connection's Noise stream is broken: %s", why);
	return -EBADMSG;
}

int warren_noise_open(struct warren_noise *noise, const uint8_t *data, size_t len, uint8_t *out,
		      size_t *plain_len, struct warren_err *err)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	const uint8_t *sealed;
	struct buf_reader r;
	uint16_t n;
	uint8_t type;

	*plain_len = 0;
	if (!noise->open || noise->broken)
		return broken(noise, err, "it is not open, or has failed before");
	if (len < HEADER)
		return 0;
	buf_reader_init(&r, data, len);
	buf_u8(&r, &type);
	buf_be16(&r, &n);
	if (type != TYPE_RECORD)
		return broken(noise, err, "a message that is no record");
	if (n < TAG || n > WARREN_NOISE_RECORD - HEADER)
		return broken(noise, err, "a record of a length that is not allowed");
	sealed = buf_view(&r, n);
	if (!sealed)
		return 0;
	if (!next_nonce(&noise->receive_count, nonce))
		return broken(noise, err, "too many records");
	if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed, n, NULL, 0, nonce,
						      noise->receive_key) == -1)
		return broken(noise, err, "a record was changed, lost or repeated on the way");
	*plain_len = n - TAG;
	return HEADER + n;
}
