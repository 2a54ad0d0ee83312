/*
 * base/buf.h - bounded reader and writer for bytes of foreign make
 *
 * Both remember failure: after the first read or write that does not fit, every later one fails
 * too, so that a parser may read a whole header and test once. A failed read stores zero.
 * Neither owns the memory it walks over. No function allocates.
 */
#ifndef WARREN_BASE_BUF_H
#define WARREN_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf_reader {
	const uint8_t *at, *end;
	bool failed;
};

void buf_reader_init(struct buf_reader *r, const void *data, size_t len);
/* Bytes not read yet; 0 after a failure. */
size_t buf_left(const struct buf_reader *r);
/* True when everything was read and nothing failed: the test for trailing garbage. */
bool buf_done(const struct buf_reader *r);

/* Numbers in network (be) and little-endian (le) order. False: not enough bytes, *v is 0. */
bool buf_u8(struct buf_reader *r, uint8_t *v);
bool buf_be16(struct buf_reader *r, uint16_t *v);
bool buf_be32(struct buf_reader *r, uint32_t *v);
bool buf_be64(struct buf_reader *r, uint64_t *v);
bool buf_le16(struct buf_reader *r, uint16_t *v);
bool buf_le32(struct buf_reader *r, uint32_t *v);
bool buf_le64(struct buf_reader *r, uint64_t *v);
/* Copies @n bytes to @dst (zeroes @dst on failure). */
bool buf_bytes(struct buf_reader *r, void *dst, size_t n);
bool buf_skip(struct buf_reader *r, size_t n);
/* The next @n bytes where they are, or NULL. For @n 0 the result is a valid pointer. */
const uint8_t *buf_view(struct buf_reader *r, size_t n);
/* A reader over the next @n bytes, which @r skips. On failure @sub is empty and failed. */
bool buf_sub(struct buf_reader *r, size_t n, struct buf_reader *sub);

struct buf_writer {
	uint8_t *start, *at, *end;
	bool failed;
};

void buf_writer_init(struct buf_writer *w, void *data, size_t size);
/* Bytes written so far; 0 after a failure. */
size_t buf_written(const struct buf_writer *w);
bool buf_put_u8(struct buf_writer *w, uint8_t v);
bool buf_put_be16(struct buf_writer *w, uint16_t v);
bool buf_put_be32(struct buf_writer *w, uint32_t v);
bool buf_put_be64(struct buf_writer *w, uint64_t v);
bool buf_put_le16(struct buf_writer *w, uint16_t v);
bool buf_put_le32(struct buf_writer *w, uint32_t v);
bool buf_put_le64(struct buf_writer *w, uint64_t v);
bool buf_put_bytes(struct buf_writer *w, const void *src, size_t n);
bool buf_put_zero(struct buf_writer *w, size_t n);
/* Room for @n bytes that the caller fills in, or NULL. */
uint8_t *buf_reserve(struct buf_writer *w, size_t n);

#endif
