/*
 * HTTP/2 against peers that are written by hand, frame by frame: what breaks the rules, what
 * wastes our time, and what foreign peers may do though ours do not.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/net.h>

#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/loop.h"

#include "../unit/parts.h"
#include "calls.h"

/* RFC 9113 6: types, flags, errors. */
enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PUSH_PROMISE = 5, PING = 6, GOAWAY = 7,
       CONTINUATION = 9 };
enum { END_STREAM = 1, END_HEADERS = 4 };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct side side;		/* ours */
static int fd;				/* the other one */
static struct str out;			/* what is sent next */

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	memset(&side, 0, sizeof(side));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	side_close(&side);
	close(fd);
	str_free(&out);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

static void add_frame(uint8_t type, uint8_t flags, uint32_t stream, const void *data, size_t len)
{
	const char head[9] = { (char)(len >> 16), (char)(len >> 8), (char)len, (char)type,
			       (char)flags, (char)(stream >> 24), (char)(stream >> 16),
			       (char)(stream >> 8), (char)stream };

	str_addn(&out, head, sizeof(head));
	str_addn(&out, data, len);
}

/* A field without indexing (RFC 7541 6.2.2). */
static void add_field(struct str *block, const char *name, const char *value, size_t len)
{
	str_addc(block, 0);
	str_addc(block, (char)strlen(name));
	str_add(block, name);
	if (len < 127) {
		str_addc(block, (char)len);
	} else {
		str_addc(block, 127);
		for (len -= 127; len >= 128; len /= 128)
			str_addc(block, (char)(len % 128 + 128));
		str_addc(block, (char)len);
	}
	str_addn(block, value, strlen(value));
}

static struct str request_block(const char *name, const char *value)
{
	struct str block = STR_INIT;

	str_add(&block, "\x83\x87\x84\x01\x01"
			"a");		/* POST https / a */
	if (name)
		add_field(&block, name, value, strlen(value));
	return block;
}

static void add_request(uint32_t stream, uint8_t flags, const char *name, const char *value)
{
	struct str block = request_block(name, value);

	add_frame(HEADERS, flags, stream, block.s, block.len);
	str_free(&block);
}

/* Sends what was added, as far as the other side takes it. False: it has closed. */
static bool send_all(void)
{
	size_t at = 0;
	bool open = true;

	for (int i = 0; i < 2000 && open && at < out.len; i++) {
		ssize_t n = send(fd, out.s + at, out.len - at, MSG_NOSIGNAL | MSG_DONTWAIT);

		open = n >= 0 || errno == EAGAIN;
		at += n > 0 ? (size_t)n : 0;
		parts_settle(engine);
	}
	str_cut(&out, 0);
	for (int i = 0; i < 5; i++)
		parts_settle(engine);
	return open;
}

static struct warren_stream *pair(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	fd = fds[1];
	return warren_stream_new_take(ctx, fds[0]);
}

static void serve(uint64_t head_timeout, uint32_t streams_max, bool with_preface)
{
	const struct warren_http_options options = {
		.size = sizeof(options), .version = WARREN_HTTP_2, .head_timeout = head_timeout,
		.streams_max = streams_max,
	};

	side.http = warren_http_server_take(pair(), &options, &side_events, &side);
	assert_non_null(side.http);
	if (!with_preface)
		return;
	str_add(&out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	add_frame(SETTINGS, 0, 0, "", 0);
	assert_true(send_all());
	assert_false(side.done);
}

static void call_server(const void *settings, size_t len)
{
	const struct warren_http_options options = { .size = sizeof(options),
						     .version = WARREN_HTTP_2 };

	side.http = warren_http_client_take(pair(), &options, &side_events, &side);
	assert_non_null(side.http);
	add_frame(SETTINGS, 0, 0, settings, len);
	assert_true(send_all());
	assert_false(side.done);
}

static void assert_ended(int result, const char *why)
{
	if (!parts_until(engine, &side.done))
		fail_msg("the connection goes on instead of: %s", why ? why : "the end");
	if (why && !strstr(side.why, why))
		fail_msg("\"%s\" instead of \"%s\"", side.why, why);
	assert_int_equal(side.result, result);
}

/* The connection still serves. */
static void assert_serves(uint32_t stream)
{
	uint32_t before = side.n_calls;

	add_request(stream, END_STREAM | END_HEADERS, NULL, NULL);
	assert_true(send_all());
	assert_int_equal(side.n_calls, before + 1);
	assert_true(side.calls[before].complete);
}

/* ---- clients ---- */

static void test_other_protocol(void **state)
{
	(void)state;
	serve(0, 0, false);
	str_add(&out, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	send_all();
	assert_ended(-EBADMSG, "client magic");
}

static void test_silent_client(void **state)
{
	(void)state;
	serve(50000, 0, false);
	assert_ended(-ETIMEDOUT, "does not begin");
}

/* Other streams' traffic does not prolong it, because there can be none. */
static void test_half_head(void **state)
{
	(void)state;
	serve(50000, 0, true);
	add_request(1, END_STREAM, NULL, NULL);
	assert_true(send_all());
	assert_ended(-ETIMEDOUT, "takes too long");
	assert_int_equal(side.n_calls, 0);
}

static void test_rapid_reset(void **state)
{
	(void)state;
	side.hold = true;
	serve(0, 0, true);
	for (uint32_t i = 0; i < 300; i++) {
		add_request(2 * i + 1, END_STREAM | END_HEADERS, NULL, NULL);
		add_frame(RST_STREAM, 0, 2 * i + 1, "\0\0\0\10", 4);
	}
	send_all();
	assert_ended(-EBADMSG, "ends HTTP/2 streams too often");
	assert_in_range(side.n_calls, 200, 270);
	assert_int_equal(side.n_failed, side.n_calls);
}

/* The same by requests that make us reset them. */
static void test_provoked_resets(void **state)
{
	(void)state;
	serve(0, 0, true);
	for (uint32_t i = 0; i < 300; i++)
		add_request(2 * i + 1, END_STREAM | END_HEADERS, "connection", "close");
	send_all();
	assert_ended(-EBADMSG, "ends HTTP/2 streams too often");
	assert_int_equal(side.n_calls, 0);
}

static void test_long_heads(void **state)
{
	struct str many = request_block(NULL, NULL), big = request_block(NULL, NULL);
	char value[4001];
	size_t piece = 16384;

	(void)state;
	serve(0, 0, true);
	for (int i = 0; i < WARREN_HTTP_FIELDS + 1; i++)
		add_field(&many, "n", "v", 1);
	add_frame(HEADERS, END_STREAM | END_HEADERS, 1, many.s, many.len);
	memset(value, 'v', 4000);
	value[4000] = '\0';
	for (int i = 0; i < 17; i++)
		add_field(&big, "n", value, 4000);
	add_frame(HEADERS, END_STREAM, 3, big.s, piece);
	for (size_t at = piece; at < big.len; at += piece)
		add_frame(CONTINUATION, big.len - at > piece ? 0 : END_HEADERS, 3, big.s + at,
			  big.len - at > piece ? piece : big.len - at);
	assert_true(send_all());
	assert_int_equal(side.n_calls, 0);
	assert_serves(5);
	str_free(&many);
	str_free(&big);
}

static void test_endless_head(void **state)
{
	struct str block = request_block(NULL, NULL);
	char value[4001];

	(void)state;
	serve(0, 0, true);
	memset(value, 'v', 4000);
	value[4000] = '\0';
	add_frame(HEADERS, END_STREAM, 1, block.s, block.len);
	str_cut(&block, 0);
	add_field(&block, "n", value, 4000);
	for (int i = 0; i < 400; i++)
		add_frame(CONTINUATION, 0, 1, block.s, block.len);
	send_all();
	assert_ended(-EBADMSG, "");
	assert_int_equal(side.n_calls, 0);
	str_free(&block);
}

/* Answers to pings and settings pile up while the client does not read. */
static void test_floods(void **state)
{
	static const struct { uint8_t type; uint8_t len; } cases[] = { { PING, 8 },
								      { SETTINGS, 0 } };

	for (size_t i = 0; i < 2; i++) {
		bool open = true;

		serve(0, 0, true);
		for (int j = 0; j < 200 && open && !side.done; j++) {
			for (int k = 0; k < 1000; k++)
				add_frame(cases[i].type, 0, 0, "12345678", cases[i].len);
			open = send_all();
		}
		assert_ended(-EBADMSG, "Flooding was detected");
		if (i == 0) {
			finish(state);
			begin(state);
		}
	}
}

static void test_bad_fields(void **state)
{
	static const struct { const char *name, *value; } cases[] = {
		{ "Upper", "case" }, { "connection", "close" }, { "transfer-encoding", "chunked" },
		{ "te", "gzip" }, { "with space", "x" }, { "x", "a\r\nb: c" }, { ":path", "/2" },
		{ ":other", "x" }, { "content-length", "-1" }, { "content-length", "x" },
	};
	uint32_t n = sizeof(cases) / sizeof(cases[0]);

	(void)state;
	serve(0, 0, true);
	for (uint32_t i = 0; i < n; i++)
		add_request(2 * i + 1, END_STREAM | END_HEADERS, cases[i].name, cases[i].value);
	/* CONNECT: a method and a host only. */
	add_frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, "\2\7CONNECT\1\1a", 12);
	assert_true(send_all());
	assert_int_equal(side.n_calls, 0);
	assert_serves(2 * n + 3);
}

static void test_lengths_in(void **state)
{
	static const struct { const char *length, *body; bool right; } cases[] = {
		{ "5", "123", false }, { "5", "123456", false }, { "5", "12345", true },
		{ "5", "", false }, { "0", "1", false }, { "0", "", true },
	};

	(void)state;
	serve(0, 0, true);
	for (uint32_t i = 0; i < 6; i++) {
		add_request(2 * i + 1, END_HEADERS, "content-length", cases[i].length);
		add_frame(DATA, END_STREAM, 2 * i + 1, cases[i].body, strlen(cases[i].body));
		assert_true(send_all());
		assert_int_equal(side.n_calls, i + 1);
		assert_int_equal(side.calls[i].complete, cases[i].right);
		assert_int_equal(side.calls[i].failed, !cases[i].right);
		if (cases[i].right)
			continue;
		assert_int_equal(side.calls[i].result, -EBADMSG);
		assert_non_null(strstr(side.calls[i].why, "that HTTP/2 forbids: PROTOCOL_ERROR"));
	}
	assert_false(side.done);
}

static void test_too_many_streams(void **state)
{
	(void)state;
	side.hold = true;
	serve(0, 5, true);
	for (uint32_t i = 0; i < 8; i++)
		add_request(2 * i + 1, END_HEADERS, NULL, NULL);
	assert_true(send_all());
	assert_int_equal(side.n_calls, 5);
	assert_int_equal(side.n_failed, 0);
	for (int i = 0; i < 5; i++)
		assert_true(side.calls[i].head.len > 0);
}

/* A request with a padded body and a trailer, as none of ours is. */
static void test_padding_and_trailer(void **state)
{
	static const char padded[] = "\4body\0\0\0";
	struct str trailer = STR_INIT;

	(void)state;
	serve(0, 0, true);
	add_request(1, END_HEADERS, NULL, NULL);
	add_frame(DATA, 8, 1, padded, sizeof(padded));
	add_field(&trailer, "checksum", "1", 1);
	add_frame(HEADERS, END_STREAM | END_HEADERS, 1, trailer.s, trailer.len);
	assert_true(send_all());
	assert_true(side.calls[0].complete);
	assert_string_equal(str_text(&side.calls[0].body), "body");
	assert_string_equal(str_text(&side.calls[0].head), "POST https://a/");
	str_free(&trailer);
}

/* A client that asks and never lets the answer through holds it for a minute, not for ever. */
static void test_closed_window(void **state)
{
	uint64_t now;

	(void)state;
	serve(0, 0, true);
	add_frame(SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
	add_request(1, END_HEADERS, NULL, NULL);
	add_frame(DATA, END_STREAM, 1, "echo", 4);
	assert_true(send_all());
	assert_true(side.calls[0].complete);
	now = warren_now();
	wcore_clock_set_fake(now + 50000000, 0);
	parts_settle(engine);
	assert_false(side.calls[0].failed);
	wcore_clock_set_fake(now + 70000000, 0);
	parts_settle(engine);
	wcore_clock_set_fake(0, 0);
	assert_true(side.calls[0].failed);
	assert_int_equal(side.calls[0].result, -ETIMEDOUT);
	assert_non_null(strstr(side.calls[0].why, "takes nothing of the answer"));
	assert_serves(3);
}

/* ---- servers ---- */

static void test_interim_heads(void **state)
{
	struct call call;

	(void)state;
	call_server("", 0);
	assert_true(call_request(&side, &call, "GET", "/", 0));
	parts_settle(engine);
	add_frame(HEADERS, END_HEADERS, 1, "\10\003100", 5);
	add_frame(HEADERS, END_HEADERS, 1, "\10\003103", 5);
	add_frame(HEADERS, END_HEADERS, 1, "\x88", 1);
	add_frame(DATA, 0, 1, "ab", 2);
	add_frame(DATA, 0, 1, "", 0);
	add_frame(DATA, END_STREAM, 1, "", 0);
	assert_true(send_all());
	assert_true(call.complete);
	assert_int_equal(call.status, 200);
	assert_string_equal(str_text(&call.body), "ab");
	call_free(&call);
}

/* What the server has taken is finished, what it has not fails, nothing new begins. */
static void test_goaway(void **state)
{
	struct call calls[3];

	(void)state;
	call_server("", 0);
	assert_true(call_request(&side, &calls[0], "GET", "/", 0));
	assert_true(call_request(&side, &calls[1], "GET", "/", 0));
	parts_settle(engine);
	add_frame(GOAWAY, 0, 0, "\0\0\0\1\0\0\0\0maintenance", 19);
	assert_true(send_all());
	assert_false(calls[0].done);
	assert_true(calls[1].failed);
	assert_int_equal(calls[1].result, -EAGAIN);
	assert_string_equal(calls[1].why, "the other side ended the HTTP/2 connection, it says: "
					  "maintenance, before it took this request");
	assert_false(call_request(&side, &calls[2], "GET", "/", 0));
	assert_false(side.done);
	add_frame(HEADERS, END_STREAM | END_HEADERS, 1, "\x88", 1);
	assert_true(send_all());
	assert_true(calls[0].complete);
	assert_ended(0, NULL);
	call_free(&calls[0]);
	call_free(&calls[1]);
}

static void test_goaway_for_cause(void **state)
{
	struct call call;

	(void)state;
	call_server("", 0);
	assert_true(call_request(&side, &call, "GET", "/", 0));
	parts_settle(engine);
	add_frame(GOAWAY, 0, 0, "\0\0\0\1\0\0\0\13too\x1bmany", 16);
	assert_true(send_all());
	shutdown(fd, SHUT_WR);
	assert_ended(-ECONNRESET, "ENHANCE_YOUR_CALM, it says: too\\x1bmany");
	assert_true(call.failed);
	assert_string_equal(call.why, side.why);
	call_free(&call);
}

static void test_ping_without_answer(void **state)
{
	struct call call;

	(void)state;
	call_server("", 0);
	assert_true(call_request(&side, &call, "GET", "/", 0));
	assert_int_equal(warren_http_ping(side.http, 50000), 0);
	assert_int_equal(warren_http_ping(side.http, 5000000), 0);
	assert_ended(-ETIMEDOUT, "does not answer an HTTP/2 ping");
	assert_true(call.failed);
	assert_int_equal(call.result, -ETIMEDOUT);
}

/* The server's own limit, from the moment that it is known. */
static void test_servers_limit(void **state)
{
	struct call calls[2];

	(void)state;
	call_server("\0\3\0\0\0\1", 6);
	assert_true(call_request(&side, &calls[0], "GET", "/", 0));
	assert_false(call_request(&side, &calls[1], "GET", "/", 0));
	parts_settle(engine);
	add_frame(RST_STREAM, 0, 1, "\0\0\0\7", 4);
	assert_true(send_all());
	assert_true(calls[0].failed);
	assert_int_equal(calls[0].result, -EAGAIN);
	assert_non_null(strstr(calls[0].why, "REFUSED_STREAM"));
	assert_true(call_request(&side, &calls[1], "GET", "/", 0));
}

static void test_bad_answers(void **state)
{
	static const struct { const char *block; size_t len; const char *body; } cases[] = {
		{ "\x88\x0f\x0d\1" "5", 5, "123" },	/* content-length: 5 */
		{ "\x88\x0f\x0d\1" "2", 5, "123" },
		{ "\10\003101", 5, "" },
		{ "\10\1x", 3, "" },
		{ "\x88\0\1X\1v", 6, "" },
		{ "\x84", 1, "" },			/* no status */
	};
	struct call call;

	(void)state;
	call_server("", 0);
	for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(call_request(&side, &call, "GET", "/", 0));
		parts_settle(engine);
		add_frame(HEADERS, END_HEADERS, 2 * i + 1, cases[i].block, cases[i].len);
		add_frame(DATA, END_STREAM, 2 * i + 1, cases[i].body, strlen(cases[i].body));
		assert_true(send_all());
		assert_true(call.failed);
		assert_int_equal(call.result, -EBADMSG);
		call_free(&call);
	}
}

/* What ends a whole connection: HTTP/1.1, a pushed request, a frame for nobody, half an answer. */
static void test_bad_servers(void **state)
{
	static const struct { const char *bytes; size_t len; int result; const char *why; }
	cases[] = {
		{ "HTTP/1.1 400 Bad Request\r\n\r\n", 28, -EBADMSG, "keep to HTTP/2" },
		{ "\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0\0\0\5\5\4\0\0\0\1\0\0\0\2\x82", 32,
		  -EBADMSG, "keep to HTTP/2: PROTOCOL_ERROR" },
		{ "\0\0\0\4\0\0\0\0\0\0\0\1\1\5\0\0\0\7\x88", 19, -EBADMSG, "PROTOCOL_ERROR" },
		{ "\0\0\0\4\0\0\0\0\0\0\0\1\1\4\0\0\0\1\x88", 19, -ECONNRESET,
		  "closed the connection before the exchange was complete" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct warren_http_options options = { .size = sizeof(options),
							     .version = WARREN_HTTP_2 };
		struct call call;

		side.http = warren_http_client_take(pair(), &options, &side_events, &side);
		assert_true(call_request(&side, &call, "GET", "/", 0));
		parts_settle(engine);
		str_addn(&out, cases[i].bytes, cases[i].len);
		send_all();
		shutdown(fd, SHUT_WR);
		assert_true(parts_until(engine, &side.done));
		assert_true(call.failed);
		if (call.result != cases[i].result || !strstr(call.why, cases[i].why))
			fail_msg("%zu: \"%s\" instead of \"%s\"", i, call.why, cases[i].why);
		call_free(&call);
		finish(state);
		begin(state);
	}
	fd = -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_other_protocol, begin, finish),
		cmocka_unit_test_setup_teardown(test_silent_client, begin, finish),
		cmocka_unit_test_setup_teardown(test_half_head, begin, finish),
		cmocka_unit_test_setup_teardown(test_rapid_reset, begin, finish),
		cmocka_unit_test_setup_teardown(test_provoked_resets, begin, finish),
		cmocka_unit_test_setup_teardown(test_long_heads, begin, finish),
		cmocka_unit_test_setup_teardown(test_endless_head, begin, finish),
		cmocka_unit_test_setup_teardown(test_floods, begin, finish),
		cmocka_unit_test_setup_teardown(test_bad_fields, begin, finish),
		cmocka_unit_test_setup_teardown(test_lengths_in, begin, finish),
		cmocka_unit_test_setup_teardown(test_too_many_streams, begin, finish),
		cmocka_unit_test_setup_teardown(test_padding_and_trailer, begin, finish),
		cmocka_unit_test_setup_teardown(test_closed_window, begin, finish),
		cmocka_unit_test_setup_teardown(test_interim_heads, begin, finish),
		cmocka_unit_test_setup_teardown(test_goaway, begin, finish),
		cmocka_unit_test_setup_teardown(test_goaway_for_cause, begin, finish),
		cmocka_unit_test_setup_teardown(test_ping_without_answer, begin, finish),
		cmocka_unit_test_setup_teardown(test_servers_limit, begin, finish),
		cmocka_unit_test_setup_teardown(test_bad_answers, begin, finish),
		cmocka_unit_test_setup_teardown(test_bad_servers, begin, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
