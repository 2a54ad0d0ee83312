/*
 * BLAKE2s by RFC 7693, written for clarity: handshakes hash a few short strings each, so one plain
 * compression function is enough. The HMAC and KDF constructions above it are those of Noise.
 */
#include "blake2s.h"

#include <endian.h>
#include <sodium.h>
#include <stdbool.h>
#include <string.h>

static const uint32_t iv[8] = {		/* RFC 7693 2.6, those of SHA-256 */
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint8_t sigma[10][16] = {	/* RFC 7693 2.7 */
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
	{ 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
	{ 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4 },
	{ 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8 },
	{ 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13 },
	{ 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9 },
	{ 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11 },
	{ 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10 },
	{ 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5 },
	{ 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0 },
};

static inline uint32_t load_le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline void store_le32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline uint32_t ror32(uint32_t v, int n)
{
	return v >> n | v << (32 - n);
}

static inline void mix(uint32_t v[16], int a, int b, int c, int d, uint32_t x, uint32_t y)
{
	v[a] += v[b] + x;
	v[d] = ror32(v[d] ^ v[a], 16);
	v[c] += v[d];
	v[b] = ror32(v[b] ^ v[c], 12);
	v[a] += v[b] + y;
	v[d] = ror32(v[d] ^ v[a], 8);
	v[c] += v[d];
	v[b] = ror32(v[b] ^ v[c], 7);
}

static void compress(struct blake2s *s, const uint8_t *block, size_t len, bool last)
{
	uint32_t m[16], v[16];

	s->count += len;
	for (int i = 0; i < 16; i++)
		m[i] = load_le32(block + 4 * i);
	memcpy(v, s->h, sizeof(s->h));
	memcpy(v + 8, iv, sizeof(iv));
	v[12] ^= (uint32_t)s->count;
	v[13] ^= (uint32_t)(s->count >> 32);
	if (last)
		v[14] = ~v[14];
	for (int round = 0; round < 10; round++) {
		const uint8_t *o = sigma[round];

		mix(v, 0, 4, 8, 12, m[o[0]], m[o[1]]);
		mix(v, 1, 5, 9, 13, m[o[2]], m[o[3]]);
		mix(v, 2, 6, 10, 14, m[o[4]], m[o[5]]);
		mix(v, 3, 7, 11, 15, m[o[6]], m[o[7]]);
		mix(v, 0, 5, 10, 15, m[o[8]], m[o[9]]);
		mix(v, 1, 6, 11, 12, m[o[10]], m[o[11]]);
		mix(v, 2, 7, 8, 13, m[o[12]], m[o[13]]);
		mix(v, 3, 4, 9, 14, m[o[14]], m[o[15]]);
	}
	for (int i = 0; i < 8; i++)
		s->h[i] ^= v[i] ^ v[i + 8];
	sodium_memzero(m, sizeof(m));
	sodium_memzero(v, sizeof(v));
}

void blake2s_init(struct blake2s *s, size_t out_len, const uint8_t *key, size_t key_len)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->h, iv, sizeof(iv));
	s->h[0] ^= 0x01010000 ^ (uint32_t)key_len << 8 ^ (uint32_t)out_len;
	s->out_len = out_len;
	if (key_len) {
		memcpy(s->block, key, key_len);
		s->fill = BLAKE2S_BLOCK;
	}
}

void blake2s_update(struct blake2s *s, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		size_t n = BLAKE2S_BLOCK - s->fill;

		/* A full block waits: only what follows tells whether it is the last. */
		if (!n) {
			compress(s, s->block, BLAKE2S_BLOCK, false);
			s->fill = 0;
			continue;
		}
		if (n > len)
			n = len;
		memcpy(s->block + s->fill, p, n);
		s->fill += n;
		p += n;
		len -= n;
	}
}

void blake2s_final(struct blake2s *s, uint8_t *out)
{
	uint8_t full[BLAKE2S_OUT];

	memset(s->block + s->fill, 0, BLAKE2S_BLOCK - s->fill);
	compress(s, s->block, s->fill, true);
	for (int i = 0; i < 8; i++)
		store_le32(full + 4 * i, s->h[i]);
	memcpy(out, full, s->out_len);
	sodium_memzero(full, sizeof(full));
	sodium_memzero(s, sizeof(*s));
}

void blake2s(uint8_t *out, size_t out_len, const uint8_t *key, size_t key_len,
	     const void *data, size_t len)
{
	struct blake2s s;

	blake2s_init(&s, out_len, key, key_len);
	blake2s_update(&s, data, len);
	blake2s_final(&s, out);
}

void blake2s_hmac(uint8_t out[32], const uint8_t *key, size_t key_len, const void *data,
		  size_t len)
{
	uint8_t pad[BLAKE2S_BLOCK] = { 0 }, inner[BLAKE2S_OUT];
	struct blake2s s;

	if (key_len > sizeof(pad))
		blake2s(pad, BLAKE2S_OUT, NULL, 0, key, key_len);
	else
		memcpy(pad, key, key_len);

	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36;
	blake2s_init(&s, BLAKE2S_OUT, NULL, 0);
	blake2s_update(&s, pad, sizeof(pad));
	blake2s_update(&s, data, len);
	blake2s_final(&s, inner);

	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	blake2s_init(&s, BLAKE2S_OUT, NULL, 0);
	blake2s_update(&s, pad, sizeof(pad));
	blake2s_update(&s, inner, sizeof(inner));
	blake2s_final(&s, out);
	sodium_memzero(pad, sizeof(pad));
	sodium_memzero(inner, sizeof(inner));
}

/* @n outputs of 32 bytes: t1 = HMAC(prk, 1), then t(i) = HMAC(prk, t(i-1) || i). */
static void expand(uint8_t *const out[], uint8_t n, const uint8_t ck[32], const void *data,
		   size_t len)
{
	uint8_t prk[BLAKE2S_OUT], block[BLAKE2S_OUT + 1];

	blake2s_hmac(prk, ck, 32, data, len);
	block[0] = 1;
	blake2s_hmac(block, prk, sizeof(prk), block, 1);
	memcpy(out[0], block, BLAKE2S_OUT);
	for (uint8_t i = 1; i < n; i++) {
		block[BLAKE2S_OUT] = (uint8_t)(i + 1);
		blake2s_hmac(block, prk, sizeof(prk), block, sizeof(block));
		memcpy(out[i], block, BLAKE2S_OUT);
	}
	sodium_memzero(prk, sizeof(prk));
	sodium_memzero(block, sizeof(block));
}

void blake2s_kdf1(uint8_t t1[32], const uint8_t ck[32], const void *data, size_t len)
{
	uint8_t *const out[] = { t1 };

	expand(out, 1, ck, data, len);
}

void blake2s_kdf2(uint8_t t1[32], uint8_t t2[32], const uint8_t ck[32], const void *data,
		  size_t len)
{
	uint8_t *const out[] = { t1, t2 };

	expand(out, 2, ck, data, len);
}

void blake2s_kdf3(uint8_t t1[32], uint8_t t2[32], uint8_t t3[32], const uint8_t ck[32],
		  const void *data, size_t len)
{
	uint8_t *const out[] = { t1, t2, t3 };

	expand(out, 3, ck, data, len);
}
