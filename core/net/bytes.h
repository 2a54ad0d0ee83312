/*
 * net/bytes.h - a queue of bytes in one piece: append at the end, take from the front
 */
#ifndef WARREN_NET_BYTES_H
#define WARREN_NET_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct bytes {				/* zeroed: empty */
	uint8_t *data;
	size_t head, len, size;
};

void bytes_free(struct bytes *b);
static inline const uint8_t *bytes_at(const struct bytes *b)
{
	return b->data ? b->data + b->head : (const uint8_t *)"";
}
/* Room for @n bytes behind the end, to be counted by adding to `len`; NULL: no memory. */
uint8_t *bytes_room(struct bytes *b, size_t n);
int bytes_add(struct bytes *b, const void *data, size_t n);	/* 0 or -ENOMEM */
int bytes_push_front(struct bytes *b, const void *data, size_t n);
/* Forgets the first @n; the memory is given back when nothing is left. */
void bytes_take(struct bytes *b, size_t n);

#endif
