/*
 * BLAKE2s (RFC 7693), HMAC over it, and the KDF of the Noise protocol (WireGuard paper 5.4,
 * dataplane.md 1.1). Pure functions over the caller's memory; any thread; they cannot fail.
 * Every temporary is wiped before return.
 */
#ifndef WG_BLAKE2S_H
#define WG_BLAKE2S_H

#include <stddef.h>
#include <stdint.h>

enum { WG_BLAKE2S_BLOCK = 64, WG_BLAKE2S_OUT = 32, WG_BLAKE2S_KEY = 32 };

struct wg_blake2s {
	uint32_t h[8];
	uint64_t count;			/* bytes compressed */
	size_t fill, out_len;
	uint8_t block[WG_BLAKE2S_BLOCK];
};

/* @out_len 1..32. @key_len 0..32; @key may be NULL if it is 0. */
void wg_blake2s_init(struct wg_blake2s *state, size_t out_len, const uint8_t *key, size_t key_len);
void wg_blake2s_update(struct wg_blake2s *state, const void *data, size_t len);
/* Writes out_len bytes and wipes @state. */
void wg_blake2s_final(struct wg_blake2s *state, uint8_t *out);

/* The whole of it in one call. */
void wg_blake2s(uint8_t *out, size_t out_len, const uint8_t *key, size_t key_len,
		const void *data, size_t len);

/* HMAC-BLAKE2s with the 64-byte block construction of RFC 2104. @out may alias @key or @data. */
void wg_hmac(uint8_t out[32], const uint8_t *key, size_t key_len, const void *data, size_t len);

/* KDF1..3: @ck is the chaining key. An output may alias @ck or @data. */
void wg_kdf1(uint8_t t1[32], const uint8_t ck[32], const void *data, size_t len);
void wg_kdf2(uint8_t t1[32], uint8_t t2[32], const uint8_t ck[32], const void *data, size_t len);
void wg_kdf3(uint8_t t1[32], uint8_t t2[32], uint8_t t3[32], const uint8_t ck[32],
	     const void *data, size_t len);

#endif
