/*
 * tailnet/keytext.h - pre-auth keys as text
 *
 * "wkey-auth-" 12 hex digits to recognise it by "-" 64 hex digits of secret. Clients treat it as
 * opaque; it must not begin with "tskey-client-" or "file:", nor have "--TL" in it.
 */
#ifndef WARREN_COORDINATOR_KEYTEXT_H
#define WARREN_COORDINATOR_KEYTEXT_H

#include <stdint.h>

#include "tailnet.h"

enum { KEYTEXT_PREFIX = 23 };		/* bytes of "wkey-auth-0123456789ab" with its NUL */

/* Draws one. */
void keytext_new(char text[TAILNET_SECRET], char prefix[KEYTEXT_PREFIX]);
/*
 * What is stored. The secret has 256 random bits, so a fast hash is as good as a slow one; it is
 * of the whole text, and what looks different is another key.
 */
void keytext_hash(const char *text, uint8_t hash[32]);

#endif
