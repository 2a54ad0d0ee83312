/*
 * Fuzz target: messages of the control protocol's Noise. The first byte chooses who reads: a server
 * the initiation, a client the answer, an open session records. Only the holders of the keys can
 * make what opens, so anything but the recorded messages must be refused.
 */
#include <stdlib.h>
#include <string.h>

#include "net/controlnoise.h"

#include <sodium.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static int dh(void *arg, const uint8_t peer[32], uint8_t out[32])
{
	const struct warren_private *key = arg;

	return crypto_scalarmult_curve25519(out, key->secret, peer) == -1 ? -1 : 0;
}

/* The keys of section 3.4. */
static struct warren_private key_from(uint8_t first)
{
	struct warren_private key;

	for (uint8_t i = 0; i < 32; i++)
		key.secret[i] = (uint8_t)(first + i);
	return key;
}

static struct warren_noise_key owner(struct warren_private *key)
{
	struct warren_noise_key self = { .size = sizeof(self), .dh = dh, .arg = key };

	warren_private_public(key, self.public_key);
	return self;
}

static void read_records(struct warren_noise *noise, const uint8_t *data, size_t size)
{
	uint8_t plain[WARREN_NOISE_PLAIN];
	size_t len;
	int n;

	while ((n = warren_noise_open(noise, data, size, plain, &len, NULL)) > 0) {
		require((size_t)n <= size && len + WARREN_NOISE_OVERHEAD == (size_t)n);
		data += n;
		size -= (size_t)n;
	}
	if (n < 0)
		require(warren_noise_open(noise, data, size, plain, &len, NULL) == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct warren_private client = key_from(0x00), client_eph = key_from(0x20);
	struct warren_private server = key_from(0x40), server_eph = key_from(0x60);
	struct warren_noise_key c = owner(&client), s = owner(&server);
	uint8_t init[WARREN_NOISE_INIT], response[WARREN_NOISE_RESPONSE];
	struct warren_noise *a, *b;
	size_t used;
	int result;

	if (size < 1)
		return 0;
	a = controlnoise_client_new(130, &c, s.public_key, &client_eph, NULL, init, NULL);
	require(a);
	if (data[0] % 3 == 0) {
		b = controlnoise_server_new(&s, data + 1, size - 1, &server_eph, NULL, response,
					    NULL);
		require(!b || size == 1 + WARREN_NOISE_INIT);
	} else {
		b = controlnoise_server_new(&s, init, sizeof(init), &server_eph, NULL, response,
					    NULL);
		require(b);
	}
	if (data[0] % 3 == 1) {
		result = warren_noise_client_read(a, data + 1, size - 1, &used, NULL);
		require(result || (used == WARREN_NOISE_RESPONSE &&
				   memcmp(data + 1, response, used) == 0));
	} else if (data[0] % 3 == 2) {
		read_records(b, data + 1, size - 1);
	}
	warren_noise_free(a);
	warren_noise_free(b);
	return 0;
}
