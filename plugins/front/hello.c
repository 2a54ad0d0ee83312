/*
 * The ClientHello may come in several records, each in several pieces: its bytes are gathered
 * first. Lengths are checked against what encloses them, from the outside in.
 */
#include "hello.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include <warren/plugin.h>

enum {
	RECORD_HEAD = 5, RECORD_MAX = 1 << 14, HANDSHAKE = 22,
	MESSAGE_HEAD = 4, CLIENT_HELLO = 1,
	EXT_SERVER_NAME = 0, EXT_ALPN = 16,
};

struct reader {
	const uint8_t *at, *end;
	bool bad;
};

static uint32_t number(struct reader *r, size_t bytes)
{
	uint32_t value = 0;

	if (r->bad || (size_t)(r->end - r->at) < bytes) {
		r->bad = true;
		return 0;
	}
	for (size_t i = 0; i < bytes; i++)
		value = value << 8 | *r->at++;
	return value;
}

/* What follows its own length of @bytes bytes; on error an empty one. */
static struct reader vector(struct reader *r, size_t bytes)
{
	size_t len = number(r, bytes);
	struct reader inner = { r->at, r->at, r->bad };

	if (r->bad || (size_t)(r->end - r->at) < len) {
		r->bad = inner.bad = true;
		return inner;
	}
	inner.end = r->at + len;
	r->at += len;
	return inner;
}

static bool is_name_char(uint8_t c)
{
	return isalnum(c) || c == '-' || c == '.' || c == '_';
}

static void read_server_name(struct reader ext, struct hello *out)
{
	struct reader list = vector(&ext, 2);
	uint32_t type = number(&list, 1);
	struct reader name = vector(&list, 2);
	size_t len = (size_t)(name.end - name.at);

	if (list.bad || type != 0 || len == 0 || len >= sizeof(out->server_name))
		return;
	for (size_t i = 0; i < len; i++) {
		if (!is_name_char(name.at[i]))
			return;
	}
	for (size_t i = 0; i < len; i++)
		out->server_name[i] = (char)tolower(name.at[i]);
	out->server_name[len] = '\0';
	if (out->server_name[len - 1] == '.')
		out->server_name[len - 1] = '\0';
}

static void read_alpn(struct reader ext, struct hello *out)
{
	struct reader list = vector(&ext, 2);

	while (!list.bad && list.at < list.end && out->n_alpn < HELLO_ALPN) {
		struct reader name = vector(&list, 1);
		size_t len = (size_t)(name.end - name.at);

		if (list.bad || len == 0 || len >= HELLO_ALPN_TEXT || memchr(name.at, 0, len))
			continue;
		memcpy(out->alpn[out->n_alpn], name.at, len);
		out->alpn[out->n_alpn++][len] = '\0';
	}
}

static int read_message(const uint8_t *data, size_t len, struct hello *out)
{
	struct reader r = { data, data + len, false };
	struct reader extensions;

	number(&r, 2);			/* legacy_version */
	for (int i = 0; i < 8; i++)
		number(&r, 4);		/* random */
	vector(&r, 1);			/* legacy_session_id */
	vector(&r, 2);			/* cipher_suites */
	vector(&r, 1);			/* legacy_compression_methods */
	if (r.bad)
		return -EPROTO;
	if (r.at == r.end)
		return 0;		/* RFC 5246 7.4.1.2: no extensions */
	extensions = vector(&r, 2);
	while (!r.bad && !extensions.bad && extensions.at < extensions.end) {
		uint32_t type = number(&extensions, 2);
		struct reader ext = vector(&extensions, 2);

		if (extensions.bad)
			break;
		if (type == EXT_SERVER_NAME)
			read_server_name(ext, out);
		else if (type == EXT_ALPN)
			read_alpn(ext, out);
	}
	return r.bad || extensions.bad ? -EPROTO : 0;
}

/* Adds the records' content to @message; the number of its bytes, or WARREN_PENDING as *@result. */
static size_t gather(const uint8_t *data, size_t len, uint8_t *message, int *result)
{
	size_t have = 0, at = 0;

	*result = WARREN_PENDING;
	while (len - at >= RECORD_HEAD) {
		size_t record = (size_t)data[at + 3] << 8 | data[at + 4];
		size_t part = len - at - RECORD_HEAD;

		if (data[at] != HANDSHAKE || data[at + 1] != 3 || record == 0 ||
		    record > RECORD_MAX) {
			*result = -EPROTO;
			return 0;
		}
		part = part < record ? part : record;
		if (part > HELLO_MAX - have)
			part = HELLO_MAX - have;
		memcpy(message + have, data + at + RECORD_HEAD, part);
		have += part;
		if (part < record)
			break;
		at += RECORD_HEAD + record;
	}
	return have;
}

int hello_parse(const uint8_t *data, size_t len, struct hello *out)
{
	uint8_t message[HELLO_MAX];
	size_t have, want;
	int result;

	memset(out, 0, sizeof(*out));
	if (len > 0 && data[0] != HANDSHAKE)
		return -EPROTO;
	have = gather(data, len, message, &result);
	if (result < 0 || have < MESSAGE_HEAD)
		return result;
	want = (size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3];
	if (message[0] != CLIENT_HELLO)
		return -EPROTO;
	if (want > HELLO_MAX - MESSAGE_HEAD)
		return -EMSGSIZE;
	if (have < MESSAGE_HEAD + want)
		return WARREN_PENDING;
	return read_message(message + MESSAGE_HEAD, want, out);
}

bool hello_offers(const struct hello *hello, const char *alpn)
{
	for (uint32_t i = 0; i < hello->n_alpn; i++) {
		if (strcmp(hello->alpn[i], alpn) == 0)
			return true;
	}
	return false;
}
