/*
 * The reader follows section 5 of RFC 6455 to the letter: what a client must not send ends its
 * connection with the code that section 7.4.1 has for it.
 */
#include "websocket.h"

#include <errno.h>
#include <string.h>

#include <warren/plugin.h>

enum { FIN = 0x80, RESERVED = 0x70, OP = 0x0f, MASKED = 0x80, LENGTH = 0x7f, CONTROL_OP = 8 };

static int refuse(struct websocket_event *out, uint16_t code, const char **why, const char *text)
{
	out->code = code;
	*why = text;
	return -EPROTO;
}

static int check_first(const struct websocket_reader *r, uint8_t first, uint8_t second,
		       struct websocket_event *out, const char **why)
{
	uint8_t op = first & OP, len = second & LENGTH;

	if (first & RESERVED)
		return refuse(out, WEBSOCKET_PROTOCOL, why, "a WebSocket frame has bits of an "
			      "extension that was not agreed on");
	if (!(second & MASKED))
		return refuse(out, WEBSOCKET_PROTOCOL, why, "a WebSocket frame of a client is not "
			      "masked");
	if (op >= CONTROL_OP && (!(first & FIN) || len > WEBSOCKET_CONTROL))
		return refuse(out, WEBSOCKET_PROTOCOL, why, "a WebSocket control frame is cut into "
			      "pieces or too long");
	switch (op) {
	case WEBSOCKET_CONTINUED:
	case WEBSOCKET_BINARY:
		if ((op == WEBSOCKET_CONTINUED) != r->in_message)
			return refuse(out, WEBSOCKET_PROTOCOL, why, "a WebSocket frame begins a "
				      "message inside another, or goes on with none");
		return 0;
	case WEBSOCKET_TEXT:
		return refuse(out, WEBSOCKET_UNSUPPORTED, why, "a WebSocket message is text, where "
			      "bytes are expected");
	case WEBSOCKET_CLOSE:
	case WEBSOCKET_PING:
	case WEBSOCKET_PONG:
		return 0;
	default:
		return refuse(out, WEBSOCKET_PROTOCOL, why, "a WebSocket frame is of no known "
			      "kind");
	}
}

/* The shortest form alone is allowed (5.2). */
static bool read_length(const uint8_t *data, uint8_t form, uint64_t *out)
{
	size_t n = form == 126 ? 2 : form == 127 ? 8 : 0;

	*out = form;
	if (n == 0)
		return true;
	*out = 0;
	for (size_t i = 0; i < n; i++)
		*out = *out << 8 | data[i];
	return *out >= (n == 2 ? 126 : 65536) && *out <= INT64_MAX;
}

/* 0, WARREN_PENDING or -EPROTO; *@used is the head's length. */
static int read_head(struct websocket_reader *r, const uint8_t *data, size_t len, size_t *used,
		     struct websocket_event *out, const char **why)
{
	uint8_t form;
	size_t head;
	int result;

	if (len < 2)
		return WARREN_PENDING;
	result = check_first(r, data[0], data[1], out, why);
	if (result)
		return result;
	form = data[1] & LENGTH;
	head = (form == 126 ? 4 : form == 127 ? 10 : 2) + sizeof(r->mask);
	if (len < head)
		return WARREN_PENDING;
	if (!read_length(data + 2, form, &r->left))
		return refuse(out, WEBSOCKET_PROTOCOL, why, "the length of a WebSocket frame is "
			      "written in more bytes than it needs");
	if (r->left > WEBSOCKET_FRAME_MAX)
		return refuse(out, WEBSOCKET_TOO_BIG, why, "a WebSocket frame is too long");
	memcpy(r->mask, data + head - sizeof(r->mask), sizeof(r->mask));
	r->mask_at = 0;
	r->have = 0;
	r->op = data[0] & OP;
	r->in_frame = true;
	if (r->op < CONTROL_OP)
		r->in_message = !(data[0] & FIN);
	*used = head;
	return 0;
}

static void unmask(struct websocket_reader *r, const uint8_t *from, size_t len, uint8_t *to)
{
	for (size_t i = 0; i < len; i++)
		to[i] = from[i] ^ r->mask[(r->mask_at + i) & 3];
	r->mask_at = (uint32_t)((r->mask_at + len) & 3);
	r->left -= len;
}

static bool is_code(uint16_t code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1011) ||
	       (code >= 3000 && code <= 4999);
}

static int end_control(struct websocket_reader *r, struct websocket_event *out, const char **why)
{
	r->in_frame = false;
	out->op = (enum websocket_op)r->op;
	out->data = r->control;
	out->len = r->have;
	if (r->op != WEBSOCKET_CLOSE)
		return 0;
	out->code = WEBSOCKET_NO_CODE;
	if (r->have == 0)
		return 0;
	out->code = r->have >= 2 ? (uint16_t)(r->control[0] << 8 | r->control[1]) : 0;
	return is_code(out->code) ? 0 : refuse(out, WEBSOCKET_PROTOCOL, why, "a WebSocket close "
					       "frame has a code that is none");
}

int websocket_read(struct websocket_reader *r, const uint8_t *data, size_t len,
		   uint8_t piece[WEBSOCKET_PIECE], size_t *used, struct websocket_event *out,
		   const char **why)
{
	size_t n;
	int result;

	*used = 0;
	memset(out, 0, sizeof(*out));
	while (!r->in_frame) {
		result = read_head(r, data, len, &n, out, why);
		if (result)
			return result;
		*used += n;
		data += n;
		len -= n;
		if (r->left == 0 && r->op < CONTROL_OP)
			r->in_frame = false;	/* an empty piece of a message says nothing */
	}
	n = r->left < len ? (size_t)r->left : len;
	if (r->op >= CONTROL_OP) {
		unmask(r, data, n, r->control + r->have);
		r->have = (uint8_t)(r->have + n);
		*used += n;
		return r->left ? WARREN_PENDING : end_control(r, out, why);
	}
	if (n == 0)
		return WARREN_PENDING;
	n = n < WEBSOCKET_PIECE ? n : WEBSOCKET_PIECE;
	unmask(r, data, n, piece);
	*used += n;
	r->in_frame = r->left > 0;
	out->op = WEBSOCKET_BINARY;
	out->data = piece;
	out->len = n;
	return 0;
}

size_t websocket_head(enum websocket_op op, size_t len, uint8_t out[WEBSOCKET_HEAD])
{
	size_t n = len < 126 ? 0 : len < 65536 ? 2 : 8;

	out[0] = (uint8_t)(FIN | op);
	out[1] = (uint8_t)(n == 0 ? len : n == 2 ? 126 : 127);
	for (size_t i = 0; i < n; i++)
		out[2 + i] = (uint8_t)((uint64_t)len >> 8 * (n - 1 - i));
	return 2 + n;
}
