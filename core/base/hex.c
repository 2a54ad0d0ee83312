/*
 * Hexadecimal digits by arithmetic instead of a table, so that no memory access depends on a key.
 */
#include "base/hex.h"

#include <errno.h>
#include <string.h>

void hex_encode(char *out, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < 2 * len; i++) {
		uint32_t digit = i % 2 ? p[i / 2] & 15 : p[i / 2] >> 4;

		/* 39 is 'a' - '0' - 10; the shift spreads the sign of 9 - digit. */
		out[i] = (char)('0' + digit + (((9u - digit) >> 8) & 39));
	}
	out[2 * len] = '\0';
}

/* All ones when low <= c <= high, else zero; both differences stay far below 2^31. */
static uint32_t in_range(uint32_t c, uint32_t low, uint32_t high)
{
	return (((c - low) | (high - c)) >> 31) - 1;
}

int hex_decode(void *out, size_t len, const char *text)
{
	uint8_t *p = out;
	uint32_t bad = 0;

	if (strlen(text) != 2 * len) {
		memset(out, 0, len);
		return -EINVAL;
	}
	for (size_t i = 0; i < 2 * len; i++) {
		uint32_t c = (unsigned char)text[i];
		uint32_t digit = in_range(c, '0', '9'), lower = in_range(c, 'a', 'f');
		uint32_t upper = in_range(c, 'A', 'F');
		uint32_t value = (digit & (c - '0')) | (lower & (c - 'a' + 10)) |
				 (upper & (c - 'A' + 10));

		bad |= ~(digit | lower | upper);
		p[i / 2] = (uint8_t)(i % 2 ? p[i / 2] | value : value << 4);
	}
	if (bad) {
		memset(out, 0, len);
		return -EINVAL;
	}
	return 0;
}
