/*
 * warren/net.h - the network toolkit: keys as text, Noise of the control protocol
 *
 * Lives in libwarren-net, which a plugin links if it uses it. Every parser has a size limit; what
 * goes past one is refused with a sentence.
 */
#ifndef WARREN_NET_H
#define WARREN_NET_H

#include <warren/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * ---- Keys as text (control protocol, section 1.1) ----
 *
 * X25519 keys are a prefix and 64 hexadecimal digits. The kind decides the prefix; another one is
 * refused. All functions of this part: any thread.
 */
enum warren_keytext {
	WARREN_KEYTEXT_MACHINE = 0,	/* mkey: */
	WARREN_KEYTEXT_NODE,		/* nodekey: */
	WARREN_KEYTEXT_DISCO,		/* discokey: */
	WARREN_KEYTEXT_CHALLENGE,	/* chalpub: */
};
enum { WARREN_KEYTEXT_MAX = 9 + 64 + 1, WARREN_KEYTEXT_SHORT = 2 + 16 + 1 };

/* Write the text and return @out. The short form is for people and logs: [AbCdE], d:89ab... */
const char *warren_keytext_format(enum warren_keytext kind, const uint8_t key[32],
				  char out[WARREN_KEYTEXT_MAX]);
const char *warren_keytext_short(enum warren_keytext kind, const uint8_t key[32],
				 char out[WARREN_KEYTEXT_SHORT]);
/*
 * The whole of @text, digits of either case. The zero key means "absent" and is accepted. -EINVAL:
 * @out is zeroed, and @err says what is wrong without repeating the text.
 */
int warren_keytext_parse(enum warren_keytext kind, const char *text, uint8_t out[32],
			 struct warren_err *err);

/* A private key. It has no printable form but the one of warren_private_format(). */
struct warren_private {
	uint8_t secret[32];
};
void warren_private_new(struct warren_private *out);	/* random, clamped (RFC 7748 5) */
void warren_private_wipe(struct warren_private *key);
void warren_private_public(const struct warren_private *key, uint8_t out[32]);
bool warren_private_equal(const struct warren_private *a, const struct warren_private *b);
enum { WARREN_PRIVATE_TEXT = 8 + 64 + 1 };
/* "privkey:" and digits, for a key file; the caller wipes @out. */
void warren_private_format(const struct warren_private *key, char out[WARREN_PRIVATE_TEXT]);
/* The reverse, clamped. -EINVAL: no such text, or the zero key; @out is zeroed. */
int warren_private_parse(const char *text, struct warren_private *out, struct warren_err *err);

/*
 * ---- Noise of the control protocol, ts2021 (section 3) ----
 *
 * Noise_IK_25519_ChaChaPoly_BLAKE2s, both sides. A session turns bytes into records and back and
 * does no input or output itself. One thread at a time.
 */
enum {
	WARREN_NOISE_INIT = 101,	/* the client's first message */
	WARREN_NOISE_RESPONSE = 51,
	WARREN_NOISE_OVERHEAD = 3 + 16,	/* of a record */
	WARREN_NOISE_PLAIN = 4077,	/* most plaintext in a record */
	WARREN_NOISE_RECORD = 4096,
};
struct warren_noise;
struct warren_noise_key {		/* our static key; its owner does the DH */
	uint32_t size;
	uint8_t public_key[32];
	int (*dh)(void *arg, const uint8_t peer[32], uint8_t out[32]);	/* 0 or -errno */
	void *arg;
};

/*
 * Client: makes the first message, which names @version. NULL with a sentence. The second is taken
 * by warren_noise_client_read(): @used bytes of @data were the server's answer if it returns 0; then
 * the session is open. WARREN_PENDING: call again with more (@used is 0). Else -errno; the
 * server's own words, which nobody vouches for, are in the sentence.
 */
struct warren_noise *warren_noise_client_new(uint16_t version,
					     const struct warren_noise_key *self,
					     const uint8_t server[32],
					     uint8_t init[WARREN_NOISE_INIT],
					     struct warren_err *err);
int warren_noise_client_read(struct warren_noise *noise, const uint8_t *data, size_t len,
			     size_t *used, struct warren_err *err);
/*
 * Server: answers a client's first message of exactly WARREN_NOISE_INIT bytes; the session is open.
 * NULL with a sentence: not one, or forged.
 */
struct warren_noise *warren_noise_server_new(const struct warren_noise_key *self,
					     const uint8_t *init, size_t len,
					     uint8_t response[WARREN_NOISE_RESPONSE],
					     struct warren_err *err);
void warren_noise_free(struct warren_noise *noise);	/* wipes; NULL is allowed */

uint16_t warren_noise_version(const struct warren_noise *noise);
const uint8_t *warren_noise_peer(const struct warren_noise *noise);	/* proven static key */
const uint8_t *warren_noise_hash(const struct warren_noise *noise);	/* of the handshake */

/*
 * Seals @len (at most WARREN_NOISE_PLAIN) bytes to one record of @len + WARREN_NOISE_OVERHEAD bytes
 * at @out. -EINVAL: too long or not open; -EOVERFLOW: the counter is used up.
 */
int warren_noise_seal(struct warren_noise *noise, const void *plain, size_t len, uint8_t *out);
/*
 * Opens the record at the front of @data. Returns its length on the wire, with the plaintext (it
 * may be empty) at @out, which has WARREN_NOISE_PLAIN bytes; 0: it is not there as a whole;
 * -EBADMSG with a sentence: forged or malformed, now and at every later call.
 */
int warren_noise_open(struct warren_noise *noise, const uint8_t *data, size_t len, uint8_t *out,
		      size_t *plain_len, struct warren_err *err);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
