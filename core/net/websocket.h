/*
 * net/websocket.h - the frames that a WebSocket client sends (RFC 6455 5)
 *
 * A message's bytes come out in pieces as they come in: how they were cut into messages and frames
 * does not matter to who wants a stream, and nothing is gathered but the 125 bytes of a control
 * frame. Any thread, one at a time.
 */
#ifndef WARREN_NET_WEBSOCKET_H
#define WARREN_NET_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	WEBSOCKET_CONTROL = 125,	/* bytes of a control frame, at most */
	WEBSOCKET_FRAME_MAX = 16 << 20,	/* of any other; a message may have many */
	WEBSOCKET_HEAD = 10,		/* of a frame that we send, at most */
	WEBSOCKET_PIECE = 16 << 10,
};

enum websocket_op {
	WEBSOCKET_CONTINUED = 0, WEBSOCKET_TEXT = 1, WEBSOCKET_BINARY = 2,
	WEBSOCKET_CLOSE = 8, WEBSOCKET_PING = 9, WEBSOCKET_PONG = 10,
};

/* Status codes of a close frame (7.4.1). */
enum {
	WEBSOCKET_NORMAL = 1000, WEBSOCKET_PROTOCOL = 1002, WEBSOCKET_UNSUPPORTED = 1003,
	WEBSOCKET_TOO_BIG = 1009, WEBSOCKET_NO_CODE = 1005,	/* never sent */
};

struct websocket_reader {		/* all zero: at the beginning */
	uint64_t left;			/* payload of the frame that has begun */
	uint32_t mask_at;
	uint8_t mask[4];
	uint8_t op, have;		/* @have: bytes of @control */
	bool in_frame, in_message;
	uint8_t control[WEBSOCKET_CONTROL];
};

struct websocket_event {
	enum websocket_op op;		/* BINARY: a piece of a message; else a control frame */
	const uint8_t *data;		/* unmasked; at @piece, or until the next call */
	size_t len;
	uint16_t code;			/* of a close */
};

/*
 * 0: @out is what the first *@used bytes say. WARREN_PENDING: they say nothing more yet. -EPROTO:
 * the connection is to be closed with @out's code; *@why is a sentence.
 */
int websocket_read(struct websocket_reader *reader, const uint8_t *data, size_t len,
		   uint8_t piece[WEBSOCKET_PIECE], size_t *used, struct websocket_event *out,
		   const char **why);
/* The head of a frame of ours, which is a whole message; its length. */
size_t websocket_head(enum websocket_op op, size_t len, uint8_t out[WEBSOCKET_HEAD]);

#endif
