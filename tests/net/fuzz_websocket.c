/*
 * What a WebSocket client sends, at once and in two pieces: the same comes out, and no more than
 * went in.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <warren/plugin.h>

#include "net/websocket.h"

enum { MAX = 1 << 16 };

struct outcome {
	struct websocket_reader reader;
	uint8_t bytes[2 * MAX];		/* of messages, and of control frames with their kind */
	size_t n;
	uint16_t code;
	int result;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add(struct outcome *out, const void *bytes, size_t len)
{
	if (len > sizeof(out->bytes) - out->n)
		abort();
	memcpy(out->bytes + out->n, bytes, len);
	out->n += len;
}

/* Returns what was used, as a stream would drain it. */
static size_t feed(struct outcome *out, const uint8_t *data, size_t len)
{
	struct websocket_event event;
	uint8_t piece[WEBSOCKET_PIECE];
	const char *why = NULL;
	size_t used, at = 0;

	while ((out->result = websocket_read(&out->reader, data + at, len - at, piece, &used,
					     &event, &why)) == 0) {
		const uint8_t op = (uint8_t)event.op;

		at += used;
		if (event.op != WEBSOCKET_BINARY)
			add(out, &op, 1);
		add(out, event.data, event.len);
		if (used == 0)
			abort();
	}
	at += used;
	if (at > len || (out->result == -EPROTO) != (why != NULL))
		abort();
	out->code = event.code;
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome whole, cut;
	size_t half = size > 1 ? data[0] % size : 0, used;

	if (size > MAX)
		return 0;
	memset(&whole.reader, 0, sizeof(whole.reader));
	memset(&cut.reader, 0, sizeof(cut.reader));
	whole.n = cut.n = 0;
	feed(&whole, data, size);
	used = feed(&cut, data, half);
	if (cut.result == WARREN_PENDING)
		feed(&cut, data + used, size - used);
	if (whole.result != cut.result || whole.n != cut.n ||
	    (whole.result != WARREN_PENDING && whole.code != cut.code) ||
	    memcmp(whole.bytes, cut.bytes, whole.n) != 0)
		abort();
	return 0;
}
