/*
 * Bounded reader and writer. Every access goes through take() or buf_reserve(), which alone compare
 * lengths; numbers are put together from bytes, so that alignment and byte order never matter.
 */
#include "base/buf.h"

#include <string.h>

void buf_reader_init(struct buf_reader *r, const void *data, size_t len)
{
	static const uint8_t nothing[1];

	r->at = len > 0 ? data : nothing;
	r->end = r->at + len;
	r->failed = false;
}

size_t buf_left(const struct buf_reader *r)
{
	return r->failed ? 0 : (size_t)(r->end - r->at);
}

bool buf_done(const struct buf_reader *r)
{
	return !r->failed && r->at == r->end;
}

static const uint8_t *take(struct buf_reader *r, size_t n)
{
	const uint8_t *at = r->at;

	if (r->failed || n > (size_t)(r->end - r->at)) {
		r->failed = true;
		return NULL;
	}
	r->at += n;
	return at;
}

static bool read_be(struct buf_reader *r, size_t n, uint64_t *v)
{
	const uint8_t *p = take(r, n);

	*v = 0;
	for (size_t i = 0; p && i < n; i++)
		*v = *v << 8 | p[i];
	return p;
}

static bool read_le(struct buf_reader *r, size_t n, uint64_t *v)
{
	const uint8_t *p = take(r, n);

	*v = 0;
	for (size_t i = n; p && i > 0; i--)
		*v = *v << 8 | p[i - 1];
	return p;
}

bool buf_u8(struct buf_reader *r, uint8_t *v)
{
	uint64_t wide;
	bool ok = read_be(r, 1, &wide);

	*v = (uint8_t)wide;
	return ok;
}

bool buf_be16(struct buf_reader *r, uint16_t *v)
{
	uint64_t wide;
	bool ok = read_be(r, 2, &wide);

	*v = (uint16_t)wide;
	return ok;
}

bool buf_be32(struct buf_reader *r, uint32_t *v)
{
	uint64_t wide;
	bool ok = read_be(r, 4, &wide);

	*v = (uint32_t)wide;
	return ok;
}

bool buf_be64(struct buf_reader *r, uint64_t *v)
{
	return read_be(r, 8, v);
}

bool buf_le16(struct buf_reader *r, uint16_t *v)
{
	uint64_t wide;
	bool ok = read_le(r, 2, &wide);

	*v = (uint16_t)wide;
	return ok;
}

bool buf_le32(struct buf_reader *r, uint32_t *v)
{
	uint64_t wide;
	bool ok = read_le(r, 4, &wide);

	*v = (uint32_t)wide;
	return ok;
}

bool buf_le64(struct buf_reader *r, uint64_t *v)
{
	return read_le(r, 8, v);
}

bool buf_bytes(struct buf_reader *r, void *dst, size_t n)
{
	const uint8_t *p = take(r, n);

	if (n == 0)
		return p;
	if (p)
		memcpy(dst, p, n);
	else
		memset(dst, 0, n);
	return p;
}

bool buf_skip(struct buf_reader *r, size_t n)
{
	return take(r, n);
}

const uint8_t *buf_view(struct buf_reader *r, size_t n)
{
	return take(r, n);
}

bool buf_sub(struct buf_reader *r, size_t n, struct buf_reader *sub)
{
	const uint8_t *p = take(r, n);

	buf_reader_init(sub, p, p ? n : 0);
	sub->failed = !p;
	return p;
}

void buf_writer_init(struct buf_writer *w, void *data, size_t size)
{
	w->start = w->at = data;
	w->end = size > 0 ? w->start + size : w->start;
	w->failed = false;
}

size_t buf_written(const struct buf_writer *w)
{
	return w->failed ? 0 : (size_t)(w->at - w->start);
}

uint8_t *buf_reserve(struct buf_writer *w, size_t n)
{
	uint8_t *at = w->at;

	if (w->failed || n > (size_t)(w->end - w->at)) {
		w->failed = true;
		return NULL;
	}
	w->at += n;
	return at;
}

static bool write_be(struct buf_writer *w, size_t n, uint64_t v)
{
	uint8_t *p = buf_reserve(w, n);

	for (size_t i = n; p && i > 0; i--, v >>= 8)
		p[i - 1] = (uint8_t)v;
	return p;
}

static bool write_le(struct buf_writer *w, size_t n, uint64_t v)
{
	uint8_t *p = buf_reserve(w, n);

	for (size_t i = 0; p && i < n; i++, v >>= 8)
		p[i] = (uint8_t)v;
	return p;
}

bool buf_put_u8(struct buf_writer *w, uint8_t v)
{
	return write_be(w, 1, v);
}

bool buf_put_be16(struct buf_writer *w, uint16_t v)
{
	return write_be(w, 2, v);
}

bool buf_put_be32(struct buf_writer *w, uint32_t v)
{
	return write_be(w, 4, v);
}

bool buf_put_be64(struct buf_writer *w, uint64_t v)
{
	return write_be(w, 8, v);
}

bool buf_put_le16(struct buf_writer *w, uint16_t v)
{
	return write_le(w, 2, v);
}

bool buf_put_le32(struct buf_writer *w, uint32_t v)
{
	return write_le(w, 4, v);
}

bool buf_put_le64(struct buf_writer *w, uint64_t v)
{
	return write_le(w, 8, v);
}

bool buf_put_bytes(struct buf_writer *w, const void *src, size_t n)
{
	uint8_t *p = buf_reserve(w, n);

	if (p && n > 0)
		memcpy(p, src, n);
	return p;
}

bool buf_put_zero(struct buf_writer *w, size_t n)
{
	uint8_t *p = buf_reserve(w, n);

	if (p && n > 0)
		memset(p, 0, n);
	return p;
}
