/*
 * base/base64.h - base64 of RFC 4648 section 4, with padding
 *
 * No branch and no table index depends on the data: WireGuard keys pass through here.
 */
#ifndef WARREN_BASE_BASE64_H
#define WARREN_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Size of the text of @len bytes, with its NUL. */
#define BASE64_TEXT(len) (((len) + 2) / 3 * 4 + 1)

/* @out has BASE64_TEXT(@len) bytes. */
void base64_encode(char *out, const void *bytes, size_t len);
/*
 * Decodes @text_len characters to at most @size bytes; strict: full groups, canonical padding, no
 * white space. Returns the number of bytes, -EINVAL, or -EOVERFLOW when @size is too small; @out
 * is zeroed on error.
 */
ssize_t base64_decode(void *out, size_t size, const char *text, size_t text_len);

enum { BASE64_KEY_TEXT = 45 };		/* of 32 bytes, with its NUL */
/* A 32-byte key as WireGuard writes it: exactly 44 characters. 0 or -EINVAL. */
int base64_key_decode(uint8_t out[32], const char *text);

#endif
