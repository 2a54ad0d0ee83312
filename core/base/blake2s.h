/*
 * base/blake2s.h - BLAKE2s (RFC 7693), HMAC over it, and the KDF of the Noise protocol
 *
 * The KDF is that of the Noise specification 4.3 and of the WireGuard paper 5.4. Pure functions
 * over the caller's memory; any thread; they cannot fail. Every temporary is wiped before return.
 *
 * Needs libsodium, so it is no part of libwbase: plugins/wg and core/net list this one source file
 * in their fragments, and nobody exports it.
 */
#ifndef WARREN_BASE_BLAKE2S_H
#define WARREN_BASE_BLAKE2S_H

#include <stddef.h>
#include <stdint.h>

enum { BLAKE2S_BLOCK = 64, BLAKE2S_OUT = 32, BLAKE2S_KEY = 32 };

struct blake2s {
	uint32_t h[8];
	uint64_t count;			/* bytes compressed */
	size_t fill, out_len;
	uint8_t block[BLAKE2S_BLOCK];
};

/* @out_len 1..32. @key_len 0..32; @key may be NULL if it is 0. */
void blake2s_init(struct blake2s *state, size_t out_len, const uint8_t *key, size_t key_len);
void blake2s_update(struct blake2s *state, const void *data, size_t len);
/* Writes out_len bytes and wipes @state. */
void blake2s_final(struct blake2s *state, uint8_t *out);

/* The whole of it in one call. */
void blake2s(uint8_t *out, size_t out_len, const uint8_t *key, size_t key_len,
	     const void *data, size_t len);

/* HMAC-BLAKE2s with the 64-byte block construction of RFC 2104. @out may alias @key or @data. */
void blake2s_hmac(uint8_t out[32], const uint8_t *key, size_t key_len, const void *data,
		  size_t len);

/* KDF1..3: @ck is the chaining key. An output may alias @ck or @data. */
void blake2s_kdf1(uint8_t t1[32], const uint8_t ck[32], const void *data, size_t len);
void blake2s_kdf2(uint8_t t1[32], uint8_t t2[32], const uint8_t ck[32], const void *data,
		  size_t len);
void blake2s_kdf3(uint8_t t1[32], uint8_t t2[32], uint8_t t3[32], const uint8_t ck[32],
		  const void *data, size_t len);

#endif
