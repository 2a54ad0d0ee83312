/*
 * Keys as text: control protocol, section 1.1. Nothing here branches on the digits of a key, and
 * no error repeats what was given, since it may have been a private key in the wrong place.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include <warren/net.h>

#include "base/base64.h"
#include "base/hex.h"
#include "base/str.h"

enum { KEY = 32, DIGITS = 2 * KEY };

static const char private_prefix[] = "privkey:";

static const char *prefix_of(enum warren_keytext kind)
{
	switch (kind) {
	case WARREN_KEYTEXT_MACHINE:
		return "mkey:";
	case WARREN_KEYTEXT_NODE:
		return "nodekey:";
	case WARREN_KEYTEXT_DISCO:
		return "discokey:";
	case WARREN_KEYTEXT_CHALLENGE:
		return "chalpub:";
	}
	return "";
}

static void format(const char *prefix, const uint8_t key[KEY], char *out)
{
	size_t n = strlen(prefix);

	memcpy(out, prefix, n);
	hex_encode(out + n, key, KEY);
}

static int parse(const char *prefix, const char *text, uint8_t out[KEY], struct warren_err *err)
{
	size_t n = strlen(prefix);

	memset(out, 0, KEY);
	if (!str_starts(text, prefix))
		return warren_fail(err, NULL, "the key does not begin with \"%s\"", prefix);
	if (strlen(text) != n + DIGITS)
		return warren_fail(err, NULL, "the key has %zu characters after \"%s\", not %d",
				   strlen(text) - n, prefix, DIGITS);
	if (hex_decode(out, KEY, text + n))
		return warren_fail(err, NULL, "the key has a character after \"%s\" that is no "
				   "hexadecimal digit", prefix);
	return 0;
}

const char *warren_keytext_format(enum warren_keytext kind, const uint8_t key[KEY],
				  char out[WARREN_KEYTEXT_MAX])
{
	format(prefix_of(kind), key, out);
	return out;
}

const char *warren_keytext_short(enum warren_keytext kind, const uint8_t key[KEY],
				 char out[WARREN_KEYTEXT_SHORT])
{
	char text[BASE64_TEXT(KEY)];

	if (kind == WARREN_KEYTEXT_DISCO) {
		memcpy(out, "d:", 2);
		hex_encode(out + 2, key, 8);
		return out;
	}
	base64_encode(text, key, KEY);
	out[0] = '[';
	memcpy(out + 1, text, 5);
	memcpy(out + 6, "]", 2);
	return out;
}

int warren_keytext_parse(enum warren_keytext kind, const char *text, uint8_t out[KEY],
			 struct warren_err *err)
{
	return parse(prefix_of(kind), text, out, err);
}

static void clamp(uint8_t key[KEY])	/* RFC 7748 5 */
{
	key[0] &= 248;
	key[31] = (key[31] & 127) | 64;
}

void warren_private_new(struct warren_private *out)
{
	randombytes_buf(out->secret, KEY);
	clamp(out->secret);
}

void warren_private_wipe(struct warren_private *key)
{
	sodium_memzero(key, sizeof(*key));
}

void warren_private_public(const struct warren_private *key, uint8_t out[KEY])
{
	crypto_scalarmult_curve25519_base(out, key->secret);
}

bool warren_private_equal(const struct warren_private *a, const struct warren_private *b)
{
	return sodium_memcmp(a->secret, b->secret, KEY) == 0;
}

int warren_private_seal(const struct warren_private *key, const uint8_t peer[KEY],
			const uint8_t *msg, size_t len, uint8_t *out)
{
	randombytes_buf(out, crypto_box_NONCEBYTES);
	if (crypto_box_easy(out + crypto_box_NONCEBYTES, msg, len, out, peer, key->secret) == -1)
		return -EINVAL;
	return 0;
}

int warren_private_open(const struct warren_private *key, const uint8_t peer[KEY],
			const uint8_t *box, size_t len, uint8_t *out)
{
	const size_t overhead = crypto_box_NONCEBYTES + crypto_box_MACBYTES;

	if (len < overhead || crypto_box_open_easy(out, box + crypto_box_NONCEBYTES,
						   len - crypto_box_NONCEBYTES, box, peer,
						   key->secret) == -1)
		return -EBADMSG;
	return 0;
}

void warren_private_format(const struct warren_private *key, char out[WARREN_PRIVATE_TEXT])
{
	format(private_prefix, key->secret, out);
}

int warren_private_parse(const char *text, struct warren_private *out, struct warren_err *err)
{
	int result = parse(private_prefix, text, out->secret, err);

	if (result) {
		warren_private_wipe(out);
		return result;
	}
	if (sodium_is_zero(out->secret, KEY))
		return warren_fail(err, NULL, "the private key is all zeros: it was never made");
	clamp(out->secret);
	return 0;
}
