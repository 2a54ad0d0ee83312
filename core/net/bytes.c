/*
 * A queue of bytes. What was taken leaves a gap in front that is closed only when room is needed
 * and the gap is at least as long as what has to move: each byte moves once on average.
 */
#include "bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 4096 };

void bytes_free(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){ 0 };
}

uint8_t *bytes_room(struct bytes *b, size_t n)
{
	size_t size = b->size ? b->size : SMALL;
	uint8_t *data;

	if (n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4)
		return NULL;
	if (b->head + b->len + n <= b->size)
		return b->data + b->head + b->len;
	if (b->head >= b->len && b->len + n <= b->size) {
		memmove(b->data, b->data + b->head, b->len);
		b->head = 0;
		return b->data + b->len;
	}
	while (size < b->len + n)
		size *= 2;
	data = malloc(size);
	if (!data)
		return NULL;
	if (b->len > 0)
		memcpy(data, b->data + b->head, b->len);
	free(b->data);
	b->data = data;
	b->size = size;
	b->head = 0;
	return data + b->len;
}

int bytes_add(struct bytes *b, const void *data, size_t n)
{
	uint8_t *room = n > 0 ? bytes_room(b, n) : NULL;

	if (n == 0)
		return 0;
	if (!room)
		return -ENOMEM;
	memcpy(room, data, n);
	b->len += n;
	return 0;
}

int bytes_push_front(struct bytes *b, const void *data, size_t n)
{
	if (n == 0)
		return 0;
	if (b->head < n) {
		if (!bytes_room(b, n))
			return -ENOMEM;
		memmove(b->data + n, b->data + b->head, b->len);
		b->head = n;
	}
	b->head -= n;
	b->len += n;
	memcpy(b->data + b->head, data, n);
	return 0;
}

void bytes_take(struct bytes *b, size_t n)
{
	b->head += n;
	b->len -= n;
	if (b->len == 0)
		bytes_free(b);		/* of many streams most are quiet most of the time */
}
