/*
 * base64 by arithmetic on all lanes of the alphabet, after the way of WireGuard's tools: no table
 * lookup and no branch depends on a key.
 */
#include "base/base64.h"

#include <errno.h>
#include <string.h>

/* All ones when low <= c <= high, else zero; both differences stay far below 2^31. */
static uint32_t in_range(uint32_t c, uint32_t low, uint32_t high)
{
	return (((c - low) | (high - c)) >> 31) - 1;
}

static char encode_digit(uint32_t v)
{
	return (char)((in_range(v, 0, 25) & (v + 'A')) | (in_range(v, 26, 51) & (v - 26 + 'a')) |
		      (in_range(v, 52, 61) & (v - 52 + '0')) | (in_range(v, 62, 62) & '+') |
		      (in_range(v, 63, 63) & '/'));
}

/* The digit's value; bits above the sixth are set in *@bad when there is none. */
static uint32_t decode_digit(uint32_t c, uint32_t *bad)
{
	uint32_t upper = in_range(c, 'A', 'Z'), lower = in_range(c, 'a', 'z');
	uint32_t digit = in_range(c, '0', '9'), plus = in_range(c, '+', '+');
	uint32_t slash = in_range(c, '/', '/');

	*bad |= ~(upper | lower | digit | plus | slash);
	return (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (digit & (c - '0' + 52)) |
	       (plus & 62) | (slash & 63);
}

void base64_encode(char *out, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	for (; len > 0; p += 3, out += 4) {
		size_t n = len < 3 ? len : 3;
		uint32_t group = (uint32_t)p[0] << 16;

		if (n > 1)
			group |= (uint32_t)p[1] << 8;
		if (n > 2)
			group |= p[2];
		out[0] = encode_digit(group >> 18);
		out[1] = encode_digit(group >> 12 & 63);
		out[2] = n > 1 ? encode_digit(group >> 6 & 63) : '=';
		out[3] = n > 2 ? encode_digit(group & 63) : '=';
		len -= n;
	}
	*out = '\0';
}

ssize_t base64_decode(void *out, size_t size, const char *text, size_t text_len)
{
	const unsigned char *c = (const unsigned char *)text;
	uint8_t *p = out;
	uint32_t bad = 0;
	size_t pad = 0, len;

	if (text_len % 4 != 0)
		goto invalid;
	if (text_len > 0 && c[text_len - 1] == '=')
		pad = c[text_len - 2] == '=' ? 2 : 1;
	len = text_len / 4 * 3 - pad;
	if (len > size) {
		memset(out, 0, size);
		return -EOVERFLOW;
	}
	for (size_t i = 0; i < text_len; i += 4) {
		size_t digits = i + 4 == text_len ? 4 - pad : 4;
		uint32_t group = 0;

		for (size_t k = 0; k < 4; k++)
			group = group << 6 | (k < digits ? decode_digit(c[i + k], &bad) : 0);
		/* What a padded group carries beyond its bytes must be zero. */
		if (digits < 4)
			bad |= group & (digits == 3 ? 0xff : 0xffff);
		for (size_t k = 0; k + 1 < digits; k++)
			*p++ = (uint8_t)(group >> (16 - 8 * k));
	}
	if (bad)
		goto invalid;
	return (ssize_t)len;
invalid:
	memset(out, 0, size);
	return -EINVAL;
}

int base64_key_decode(uint8_t out[32], const char *text)
{
	size_t len = strlen(text);

	if (len != BASE64_KEY_TEXT - 1) {
		memset(out, 0, 32);
		return -EINVAL;
	}
	return base64_decode(out, 32, text, len) == 32 ? 0 : -EINVAL;
}
