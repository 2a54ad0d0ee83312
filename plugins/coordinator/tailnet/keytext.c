#include "keytext.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/hex.h"

void keytext_new(char text[TAILNET_SECRET], char prefix[KEYTEXT_PREFIX])
{
	uint8_t random[6 + 32];
	char shown[13], secret[65];

	randombytes_buf(random, sizeof(random));
	hex_encode(shown, random, 6);
	hex_encode(secret, random + 6, 32);
	snprintf(prefix, KEYTEXT_PREFIX, "wkey-auth-%s", shown);
	snprintf(text, TAILNET_SECRET, "%s-%s", prefix, secret);
	sodium_memzero(random, sizeof(random));
	sodium_memzero(secret, sizeof(secret));
}

void keytext_hash(const char *text, uint8_t hash[32])
{
	static const uint8_t purpose[] = "warren pre-auth key";

	crypto_generichash(hash, 32, (const uint8_t *)text, strlen(text), purpose,
			   sizeof(purpose) - 1);
}
