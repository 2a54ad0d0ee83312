/*
 * WebSocket (RFC 6455) as a layer, the server's side: the bytes of its binary messages are the
 * stream, whichever way they were cut. No extension is agreed on.
 */
#include "websocket.h"

#include <errno.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <warren/net.h>

#include "stream.h"

enum {
	KEY = 16, ACCEPT_TEXT = 29,	/* base64 of SHA-1, and its NUL */
	PONG_ROOM = 64 << 10,		/* who does not read gets no more pongs */
};

struct websocket {
	struct websocket_reader reader;
	bool closed;			/* our close frame is sent: nothing may follow */
};

static int send_frame(struct warren_stream *below, enum websocket_op op, const void *data,
		      size_t len)
{
	uint8_t out[WEBSOCKET_HEAD + WEBSOCKET_PIECE];
	size_t head = websocket_head(op, len, out);

	memcpy(out + head, data, len);
	return warren_stream_write(below, out, head + len);
}

static void send_close(struct websocket *ws, struct warren_stream *below, uint16_t code)
{
	const uint8_t text[2] = { (uint8_t)(code >> 8), (uint8_t)code };

	if (!ws->closed)		/* whom it does not reach has gone */
		(void)send_frame(below, WEBSOCKET_CLOSE, text,
				 code == WEBSOCKET_NO_CODE ? 0 : sizeof(text));
	ws->closed = true;
}

/* 0 to go on, WARREN_PENDING: the other side has closed. */
static int take(struct websocket *ws, struct warren_stream *below, struct warren_stream *up,
		const struct websocket_event *event)
{
	switch (event->op) {
	case WEBSOCKET_CONTINUED:
	case WEBSOCKET_TEXT:
	case WEBSOCKET_BINARY:
		return warren_layer_feed(up, event->data, event->len);
	case WEBSOCKET_PING:		/* the newest alone need be answered (5.5.3) */
		if (!ws->closed && warren_stream_pending(below) < PONG_ROOM)
			(void)send_frame(below, WEBSOCKET_PONG, event->data, event->len);
		return 0;
	case WEBSOCKET_PONG:
		return 0;
	case WEBSOCKET_CLOSE:
		send_close(ws, below, event->code);
		warren_layer_end(up);
		return WARREN_PENDING;
	}
	return 0;
}

static int ws_input(void *layer, struct warren_stream *below, struct warren_stream *up, bool eof,
		    const char **why)
{
	struct websocket *ws = layer;
	struct websocket_event event;
	uint8_t piece[WEBSOCKET_PIECE];
	const uint8_t *data;
	size_t len, used, at = 0;
	bool over = false;		/* and the other side has not closed */
	int result;

	data = warren_stream_input(below, &len);
	do {
		result = websocket_read(&ws->reader, data + at, len - at, piece, &used, &event,
					why);
		at += used;
		if (result == -EPROTO)
			send_close(ws, below, event.code);
		else if (result == 0)
			result = take(ws, below, up, &event);
		else
			over = true;
	} while (result == 0);
	warren_stream_drain(below, at);
	if (over && eof && !ws->closed) {
		*why = "the other side ended the connection without closing its WebSocket";
		return -ECONNRESET;
	}
	return result == WARREN_PENDING ? 0 : result;
}

/* Asked first: of what is written either all is taken or nothing. */
static bool has_room(const struct warren_stream *below, size_t len)
{
	size_t waiting = warren_stream_pending(below);

	if (len > STREAM_OUTPUT_MAX || waiting > STREAM_OUTPUT_MAX)
		return false;
	return len + (len / WEBSOCKET_PIECE + 1) * WEBSOCKET_HEAD <= STREAM_OUTPUT_MAX - waiting;
}

static int ws_write(void *layer, struct warren_stream *below, const void *data, size_t len)
{
	const struct websocket *ws = layer;
	const uint8_t *from = data;
	int result = 0;

	if (ws->closed)
		return -EPIPE;
	if (!has_room(below, len))
		return -ENOBUFS;
	while (result == 0 && len > 0) {
		size_t n = len < WEBSOCKET_PIECE ? len : WEBSOCKET_PIECE;

		result = send_frame(below, WEBSOCKET_BINARY, from, n);
		from += n;
		len -= n;
	}
	return result;
}

static void ws_finish(void *layer, struct warren_stream *below)
{
	send_close(layer, below, WEBSOCKET_NORMAL);
}

static const struct warren_layer_ops ops = {
	.size = sizeof(ops), .write = ws_write, .input = ws_input, .finish = ws_finish,
	.free = free,
};

/* ---- the handshake ---- */

/* Is @token an element of the comma-separated lists in the fields called @name? */
static bool lists(const struct warren_http_head *head, const char *name, const char *token)
{
	size_t want = strlen(token);

	for (uint32_t i = 0; i < head->n_fields; i++) {
		const char *at = head->fields[i].value;

		if (strcmp(head->fields[i].name, name) != 0)
			continue;
		while (*at) {
			size_t n;

			at += strspn(at, ", \t");
			n = strcspn(at, ", \t");
			if (n == want && strncasecmp(at, token, n) == 0)
				return true;
			at += n;
		}
	}
	return false;
}

bool warren_websocket_asked(const struct warren_http_head *head, const char *protocol)
{
	return lists(head, "upgrade", "websocket") &&
	       lists(head, "sec-websocket-protocol", protocol);
}

/* Proves that a WebSocket was understood, and no other protocol's request (1.3). */
static bool accept_of(const char *key, char out[ACCEPT_TEXT])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	uint8_t raw[KEY], digest[EVP_MAX_MD_SIZE];
	unsigned int digest_len = 0;
	char text[64 + sizeof(guid)];
	size_t n = 0;
	int len;

	if (!key || strlen(key) > 64 ||
	    sodium_base642bin(raw, sizeof(raw), key, strlen(key), NULL, &n, NULL,
			      sodium_base64_VARIANT_ORIGINAL) || n != KEY)
		return false;
	len = snprintf(text, sizeof(text), "%s%s", key, guid);
	if (!EVP_Digest(text, (size_t)len, digest, &digest_len, EVP_sha1(), NULL))
		return false;
	sodium_bin2base64(out, ACCEPT_TEXT, digest, digest_len, sodium_base64_VARIANT_ORIGINAL);
	return true;
}

static void refuse(struct warren_exchange *x, int status)
{
	static const struct warren_http_field version = { "Sec-WebSocket-Version", "13" };
	const struct warren_http_head head = {
		.size = sizeof(head), .status = status, .fields = &version, .n_fields = 1,
	};

	warren_exchange_head(x, &head);
}

struct warren_stream *warren_websocket_accept(struct warren_exchange *x,
					      const struct warren_http_head *head,
					      const char *protocol)
{
	const char *version = warren_http_field(head, "sec-websocket-version");
	char accepted[ACCEPT_TEXT];
	const struct warren_http_field fields[] = {
		{ "Upgrade", "websocket" }, { "Connection", "Upgrade" },
		{ "Sec-WebSocket-Accept", accepted }, { "Sec-WebSocket-Protocol", protocol },
	};
	struct warren_stream *stream;
	struct websocket *ws;

	if (!version || strcmp(version, "13") != 0) {
		refuse(x, 426);
		return NULL;
	}
	if (strcmp(head->method, "GET") != 0 || !lists(head, "connection", "upgrade") ||
	    !accept_of(warren_http_field(head, "sec-websocket-key"), accepted)) {
		refuse(x, 400);
		return NULL;
	}
	ws = calloc(1, sizeof(*ws));
	stream = ws ? warren_exchange_upgrade(x, fields, 4) : NULL;
	if (!stream) {
		refuse(x, ws ? 400 : 503);	/* HTTP/2 has no such upgrade */
		free(ws);
		return NULL;
	}
	return warren_layer_new_take(stream, &ops, ws);
}
