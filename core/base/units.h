/*
 * base/units.h - numbers, sizes and durations as people write them
 *
 * Parsers take the whole text and return 0, -EINVAL (not such a thing) or -ERANGE (does not fit
 * int64_t), and write nothing on error. What a formatter writes parses to the same value.
 */
#ifndef WARREN_BASE_UNITS_H
#define WARREN_BASE_UNITS_H

#include <stdint.h>

enum { UNITS_TEXT = 48 };

/* "42", "-7", "0x2a". */
int units_parse_int(const char *text, int64_t *out);
/* Bytes: "512", "64KiB"; "1.5GiB" is refused. K M G T, with or without iB: 1024; kB MB ..: 1000. */
int units_parse_size(const char *text, int64_t *out);
/* Microseconds: "250ms", "1m30s", "3d", "off" and "0" are 0. Units us ms s m h d w, large first. */
int units_parse_duration(const char *text, int64_t *out);

/* Return @out. Size: the largest binary unit that divides it. Duration: "1m30s", "off". */
const char *units_format_size(int64_t bytes, char out[UNITS_TEXT]);
const char *units_format_duration(int64_t usec, char out[UNITS_TEXT]);

#endif
