/*
 * net/early.h - the early payload of the control protocol (section 3.6), apart from its transport
 */
#ifndef WARREN_NET_EARLY_H
#define WARREN_NET_EARLY_H

#include <stdbool.h>

#include "bytes.h"

struct warren_err;

enum { EARLY_HEAD = 9, EARLY_MAX = 64 << 10 };

struct early {				/* zeroed: nothing came yet */
	uint8_t head[EARLY_HEAD];
	size_t have;			/* bytes of it */
	struct bytes text;
	bool none;			/* it was no payload: the head's bytes are the reader's */
	bool has_challenge;
	uint8_t challenge[32];
};

/*
 * The next bytes of the stream. WARREN_PENDING: all were taken. 0: over, @used of them were taken,
 * and if `none` is set, the `have` bytes of the head come before what is left. -EBADMSG, -EMSGSIZE,
 * -ENOMEM with a sentence.
 */
int early_feed(struct early *early, const uint8_t *data, size_t len, size_t *used,
	       struct warren_err *err);
/* Writes what goes before a text of @len bytes. */
void early_head(size_t len, uint8_t out[EARLY_HEAD]);
void early_free(struct early *early);

#endif
