/*
 * WebSocket: the examples of RFC 6455, what must end a connection, and the handshake over a real
 * connection.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/net.h>

#include "base/hex.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "net/websocket.h"

#include "../unit/parts.h"

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct warren_http *http;
static struct warren_stream *stream;	/* of the server, once it is open */
static uint8_t got[1 << 20];
static size_t n_got;
static bool over;
static int over_result;
static int fd = -1;

/* ---- frames ---- */

static struct websocket_reader reader;
static struct websocket_event event;
static uint8_t piece[WEBSOCKET_PIECE], bytes[512];

static size_t unhex(const char *hex)
{
	size_t n = strlen(hex) / 2;

	assert_true(n <= sizeof(bytes));
	assert_int_equal(hex_decode(bytes, n, hex), 0);
	return n;
}

static int read_hex(const char *hex, size_t *used)
{
	const char *why = NULL;
	int result = websocket_read(&reader, bytes, unhex(hex), piece, used, &event, &why);

	assert_true((result == -EPROTO) == (why != NULL));
	return result;
}

static void says(const char *hex, enum websocket_op op, const char *text)
{
	size_t used;

	memset(&reader, 0, sizeof(reader));
	assert_int_equal(read_hex(hex, &used), 0);
	assert_int_equal(used, strlen(hex) / 2);
	assert_int_equal(event.op, op);
	assert_int_equal(event.len, strlen(text));
	assert_memory_equal(event.data, text, event.len);
}

static void ends(const char *hex, uint16_t code)
{
	size_t used;

	memset(&reader, 0, sizeof(reader));
	assert_int_equal(read_hex(hex, &used), -EPROTO);
	assert_int_equal(event.code, code);
}

static void frames(void **state)
{
	size_t used;

	(void)state;
	/* 5.7, with binary for text. */
	says("8285" "37fa213d" "7f9f4d5158", WEBSOCKET_BINARY, "Hello");
	says("8985" "37fa213d" "7f9f4d5158", WEBSOCKET_PING, "Hello");
	says("8a85" "37fa213d" "7f9f4d5158", WEBSOCKET_PONG, "Hello");
	says("8880" "37fa213d", WEBSOCKET_CLOSE, "");
	assert_int_equal(event.code, WEBSOCKET_NO_CODE);
	says("8882" "00000000" "03e8", WEBSOCKET_CLOSE, "\3\350");
	assert_int_equal(event.code, WEBSOCKET_NORMAL);
	/* A message in pieces with a ping between; an empty piece says nothing. */
	says("0282" "00000000" "4865", WEBSOCKET_BINARY, "He");
	assert_int_equal(read_hex("8980" "00000000", &used), 0);
	assert_int_equal(event.op, WEBSOCKET_PING);
	assert_int_equal(read_hex("0080" "00000000" "8083" "00000000" "6c6c6f", &used), 0);
	assert_int_equal(event.op, WEBSOCKET_BINARY);
	assert_int_equal(event.len, 3);
	assert_memory_equal(event.data, "llo", 3);
	assert_false(reader.in_message);
	/* Byte by byte the mask goes on where it was. */
	memset(&reader, 0, sizeof(reader));
	assert_int_equal(read_hex("82", &used), WARREN_PENDING);
	assert_int_equal(used, 0);
	assert_int_equal(read_hex("8285" "37fa213d" "7f9f", &used), 0);
	assert_memory_equal(event.data, "He", 2);
	assert_int_equal(read_hex("4d", &used), 0);
	assert_memory_equal(event.data, "l", 1);
	assert_int_equal(read_hex("5158", &used), 0);
	assert_memory_equal(event.data, "lo", 2);
	assert_int_equal(read_hex("8980", &used), WARREN_PENDING);
}

static void what_ends_a_connection(void **state)
{
	(void)state;
	ends("8205" "48656c6c6f", WEBSOCKET_PROTOCOL);		/* not masked */
	ends("c285" "37fa213d" "7f9f4d5158", WEBSOCKET_PROTOCOL);	/* compressed */
	ends("8185" "37fa213d" "7f9f4d5158", WEBSOCKET_UNSUPPORTED);	/* text */
	ends("8385" "37fa213d" "7f9f4d5158", WEBSOCKET_PROTOCOL);	/* reserved kinds */
	ends("8b80" "37fa213d", WEBSOCKET_PROTOCOL);
	ends("0080" "37fa213d", WEBSOCKET_PROTOCOL);		/* goes on with nothing */
	ends("0280" "37fa213d" "8280" "37fa213d", WEBSOCKET_PROTOCOL);	/* one in another */
	ends("0980" "37fa213d", WEBSOCKET_PROTOCOL);		/* a ping in pieces */
	ends("89fe" "007e" "37fa213d", WEBSOCKET_PROTOCOL);	/* a long one */
	ends("82fe" "007d" "37fa213d", WEBSOCKET_PROTOCOL);	/* longer than need be */
	ends("82ff" "000000000000ffff" "37fa213d", WEBSOCKET_PROTOCOL);
	ends("82ff" "8000000000000000" "37fa213d", WEBSOCKET_PROTOCOL);
	ends("82ff" "0000000001000001" "37fa213d", WEBSOCKET_TOO_BIG);
	ends("8881" "00000000" "03", WEBSOCKET_PROTOCOL);	/* half a code */
	ends("8882" "00000000" "03ed", WEBSOCKET_PROTOCOL);	/* 1005 is never sent */
	ends("8882" "00000000" "0000", WEBSOCKET_PROTOCOL);
}

static void heads(void **state)
{
	static const struct {
		size_t len;
		const char *hex;
	} cases[] = {
		{ 0, "8200" }, { 125, "827d" }, { 126, "827e007e" }, { 65535, "827effff" },
		{ 65536, "827f0000000000010000" },
	};
	uint8_t out[WEBSOCKET_HEAD];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t n = unhex(cases[i].hex);

		assert_int_equal(websocket_head(WEBSOCKET_BINARY, cases[i].len, out), n);
		assert_memory_equal(out, bytes, n);
	}
}

/* ---- a connection ---- */

static void readable(struct warren_stream *s, void *arg)
{
	size_t len;
	const uint8_t *data = warren_stream_input(s, &len);

	(void)arg;
	assert_true(len <= sizeof(got) - n_got);
	memcpy(got + n_got, data, len);
	n_got += len;
	warren_stream_drain(s, len);
}

static void ended(struct warren_stream *s, int result, const char *why, void *arg)
{
	(void)s;
	(void)why;
	(void)arg;
	over = true;
	over_result = result;
}

static const struct warren_stream_events stream_events = {
	.size = sizeof(stream_events), .readable = readable, .ended = ended,
};

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	(void)arg;
	if (!warren_websocket_asked(head, "derp")) {
		warren_exchange_reply(x, 404, NULL, "none", 4);
		return;
	}
	stream = warren_websocket_accept(x, head, "derp");
	if (stream)
		warren_stream_set(stream, &stream_events, NULL);
}

static const struct warren_exchange_events exchange_events = {
	.size = sizeof(exchange_events), .head = on_head,
};

static void on_request(struct warren_http *h, struct warren_exchange *x, void *arg)
{
	(void)h;
	warren_exchange_set(x, &exchange_events, arg);
}

static void on_ended(struct warren_http *h, int result, const char *why, void *arg)
{
	(void)h;
	(void)result;
	(void)why;
	(void)arg;
	warren_http_close(http);
	http = NULL;
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .request = on_request, .ended = on_ended,
};

static int begin(void **state)
{
	static const struct warren_http_options options = {
		.size = sizeof(options), .version = WARREN_HTTP_1,
	};
	int fds[2];

	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	fd = fds[0];
	n_got = 0;
	over = false;
	stream = NULL;
	http = warren_http_server_take(warren_stream_new_take(ctx, fds[1]), &options,
				       &http_events, NULL);
	assert_non_null(http);
	return 0;
}

static int finish(void **state)
{
	(void)state;
	warren_stream_close(stream);
	warren_http_close(http);
	http = NULL;
	close(fd);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

/* What the server has answered, as text. */
static const char *answer(void)
{
	static char text[4096];
	ssize_t n;

	parts_settle(engine);
	n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	text[n] = '\0';
	return text;
}

static void say(const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void say_hex(const char *hex)
{
	size_t n = unhex(hex);

	assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
	parts_settle(engine);
}

static void hears_hex(const char *hex)
{
	uint8_t in[512];
	size_t n = unhex(hex);

	parts_settle(engine);
	assert_int_equal(recv(fd, in, sizeof(in), MSG_DONTWAIT), n);
	assert_memory_equal(in, bytes, n);
}

#define ASKS                                                                                       \
	"GET /derp HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\n"                                  \
	"Connection: keep-alive, Upgrade\r\nOrigin: https://example.com\r\n"                       \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define IN_VERSION "Sec-WebSocket-Version: 13\r\n"
#define PROTOCOL "Sec-WebSocket-Protocol: chat, derp\r\n"

static void open_it(void)
{
	const char *text;

	say(ASKS IN_VERSION PROTOCOL "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
	text = answer();
	assert_memory_equal(text, "HTTP/1.1 101 ", 13);
	/* The example of 1.3. */
	assert_non_null(strstr(text, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
	assert_non_null(strstr(text, "\r\nSec-WebSocket-Protocol: derp\r\n"));
	assert_null(strstr(text, "Extensions"));
	assert_non_null(stream);
}

static void both_ways(void **state)
{
	uint8_t big[40000], in[41000];
	size_t have = 0, at = 0, n = 0;

	(void)state;
	open_it();
	say_hex("0282" "37fa213d" "7f9f" "8980" "00000000" "8083" "37fa213d" "5b964e");
	assert_int_equal(n_got, 5);
	assert_memory_equal(got, "Hello", 5);
	hears_hex("8a00");
	assert_int_equal(warren_stream_write(stream, "abc", 3), 0);
	hears_hex("8203" "616263");
	memset(big, 'x', sizeof(big));
	assert_int_equal(warren_stream_write(stream, big, sizeof(big)), 0);
	while (have < sizeof(big) + 3 * 4) {
		ssize_t more = recv(fd, in + have, sizeof(in) - have, MSG_DONTWAIT);

		have += more > 0 ? (size_t)more : 0;
		parts_settle(engine);
	}
	for (int i = 0; i < 3; i++) {	/* in messages of 16 KiB at most */
		size_t len = (size_t)in[at + 2] << 8 | in[at + 3];

		assert_int_equal(in[at], 0x82);
		assert_int_equal(in[at + 1], 126);
		assert_memory_equal(in + at + 4, big, len);
		at += 4 + len;
		n += len;
	}
	assert_int_equal(n, sizeof(big));
	/* A close is answered, and is an end in order; nothing may follow. */
	say_hex("8882" "00000000" "03e9");
	hears_hex("8802" "03e9");
	assert_true(over);
	assert_int_equal(over_result, 0);
	assert_int_equal(warren_stream_write(stream, "abc", 3), -EPIPE);
}

static void we_end_it(void **state)
{
	(void)state;
	open_it();
	warren_stream_finish(stream);
	hears_hex("8802" "03e8");
	say_hex("8882" "00000000" "03e8");
	assert_true(over);
	assert_int_equal(over_result, 0);
}

static void it_is_told_what_was_wrong(void **state)
{
	(void)state;
	open_it();
	say_hex("8282" "00000000" "4865" "8100");
	assert_memory_equal(got, "He", 2);
	hears_hex("8802" "03ea");
	assert_true(over);
	assert_int_equal(over_result, -EPROTO);
}

static void it_just_goes(void **state)
{
	(void)state;
	open_it();
	say_hex("8282" "00000000" "48");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	parts_settle(engine);
	assert_true(over);
	assert_int_equal(over_result, -ECONNRESET);
}

static void who_is_refused(void **state)
{
	(void)state;
	say(ASKS IN_VERSION "\r\n");		/* no subprotocol: another's to answer */
	assert_memory_equal(answer(), "HTTP/1.1 404 ", 13);
	say(ASKS IN_VERSION "Sec-WebSocket-Protocol: derpy\r\n\r\n");
	assert_memory_equal(answer(), "HTTP/1.1 404 ", 13);
	say(ASKS PROTOCOL "Sec-WebSocket-Version: 8\r\n\r\n");
	assert_non_null(strstr(answer(), "Sec-WebSocket-Version: 13\r\n"));
	say("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" IN_VERSION
	    PROTOCOL "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n\r\n");
	assert_memory_equal(answer(), "HTTP/1.1 400 ", 13);
	assert_null(stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames),
		cmocka_unit_test(what_ends_a_connection),
		cmocka_unit_test(heads),
		cmocka_unit_test_setup_teardown(both_ways, begin, finish),
		cmocka_unit_test_setup_teardown(we_end_it, begin, finish),
		cmocka_unit_test_setup_teardown(it_is_told_what_was_wrong, begin, finish),
		cmocka_unit_test_setup_teardown(it_just_goes, begin, finish),
		cmocka_unit_test_setup_teardown(who_is_refused, begin, finish),
	};

	return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}
