/*
 * base/hex.h - bytes as hexadecimal digits
 */
#ifndef WARREN_BASE_HEX_H
#define WARREN_BASE_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Lower case with a NUL; @out has 2 * @len + 1 bytes. */
void hex_encode(char *out, const void *bytes, size_t len);
/*
 * Exactly 2 * @len digits of either case, NUL after them. 0 or -EINVAL, and @out is zeroed then.
 * Neither function branches on the values: keys may pass through.
 */
int hex_decode(void *out, size_t len, const char *text);

#endif
