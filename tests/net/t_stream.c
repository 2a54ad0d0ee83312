/*
 * Streams over socket pairs: what is told and when, the limits, every way to end, and layers.
 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/net.h>

#include "base/addr.h"
#include "base/str.h"
#include "engine/ctx.h"
#include "engine/engine.h"

#include "../unit/parts.h"

enum { BIG = 1 << 20 };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;

/* One side: a stream and what it has told. */
struct side {
	struct warren_stream *stream;
	struct str got;
	int readable, drained, result;
	bool ended, keep, close_at_once;	/* keep: do not take the input */
	volatile bool done;			/* ended, or `want` bytes are there */
	size_t want, most;
	char why[256];
};

static void readable(struct warren_stream *stream, void *arg)
{
	struct side *side = arg;
	size_t len;
	const uint8_t *data = warren_stream_input(stream, &len);

	assert_true(len > 0);
	side->readable++;
	side->most = len > side->most ? len : side->most;
	if (side->close_at_once) {
		warren_stream_close(stream);
		side->stream = NULL;
		side->done = true;
		return;
	}
	if (side->keep)
		return;
	str_addn(&side->got, (const char *)data, len);
	warren_stream_drain(stream, len);
	side->done = side->done || (side->want && side->got.len >= side->want);
}

static void drained(struct warren_stream *stream, void *arg)
{
	struct side *side = arg;

	(void)stream;
	side->drained++;
	side->done = true;
}

static void ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct side *side = arg;

	assert_false(side->ended);
	assert_true(!why == (result == 0));
	side->ended = side->done = true;
	side->result = result;
	snprintf(side->why, sizeof(side->why), "%s", why ? why : "");
	if (side->close_at_once) {
		warren_stream_close(stream);
		side->stream = NULL;
	}
}

static const struct warren_stream_events events = {
	.size = sizeof(events), .readable = readable, .drained = drained, .ended = ended,
};

static void pair_new(struct side *a, struct side *b)
{
	int fds[2];

	memset(a, 0, sizeof(*a));
	memset(b, 0, sizeof(*b));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	a->stream = warren_stream_new_take(ctx, fds[0]);
	b->stream = warren_stream_new_take(ctx, fds[1]);
	assert_true(a->stream && b->stream);
	warren_stream_set(a->stream, &events, a);
	warren_stream_set(b->stream, &events, b);
}

static void pair_free(struct side *a, struct side *b)
{
	warren_stream_close(a->stream);
	warren_stream_close(b->stream);
	str_free(&a->got);
	str_free(&b->got);
}

static void wait_for(struct side *side)
{
	assert_true(parts_until(engine, &side->done));
	side->done = false;
}

static void write_text(struct side *side, const char *text)
{
	assert_int_equal(warren_stream_write(side->stream, text, strlen(text)), 0);
}

static char *big_text(void)
{
	char *text = malloc(BIG);

	assert_non_null(text);
	for (size_t i = 0; i < BIG; i++)
		text[i] = (char)(i * 7 + i / 251);
	return text;
}

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	if (ctx->phase != WCORE_PHASE_GONE)
		wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

static void both_ways_and_half_closed(void **state)
{
	struct side a, b;

	(void)state;
	pair_new(&a, &b);
	b.want = 5;
	write_text(&a, "hello");
	assert_int_equal(b.readable, 0);	/* never from inside a call */
	wait_for(&b);
	assert_string_equal(str_text(&b.got), "hello");
	warren_stream_finish(a.stream);
	assert_int_equal(warren_stream_write(a.stream, "x", 1), -EPIPE);
	wait_for(&b);
	assert_int_equal(b.result, 0);
	a.want = 4;
	write_text(&b, "late");			/* the other direction is open still */
	wait_for(&a);
	assert_string_equal(str_text(&a.got), "late");
	warren_stream_finish(b.stream);
	wait_for(&a);
	assert_true(a.ended && a.result == 0);
	pair_free(&a, &b);
}

static void a_reader_that_waits_stops_the_writer(void **state)
{
	char *text = big_text();
	struct side a, b;

	(void)state;
	pair_new(&a, &b);
	warren_stream_limits(b.stream, 1000, 0, 0);
	b.keep = true;
	assert_int_equal(warren_stream_write(a.stream, text, BIG), 0);
	for (int i = 0; i < 20; i++)
		parts_settle(engine);
	assert_int_equal(b.most, 1000);
	assert_true(warren_stream_pending(a.stream) > BIG / 4);
	b.keep = false;
	b.want = BIG;
	warren_stream_set(b.stream, &events, &b);	/* tells the input once more */
	wait_for(&b);
	assert_true(b.most <= 1000);
	assert_memory_equal(b.got.s, text, BIG);
	assert_int_equal(a.drained, 1);
	assert_int_equal(warren_stream_pending(a.stream), 0);
	pair_free(&a, &b);
	free(text);
}

static void output_is_bounded(void **state)
{
	char *text = big_text();
	struct side a, b;
	int n = 0;

	(void)state;
	pair_new(&a, &b);
	while (warren_stream_write(a.stream, text, BIG) == 0)
		n++;
	assert_true(n >= 15 && n <= 17);
	assert_int_equal(warren_stream_write(a.stream, text, BIG), -ENOBUFS);
	pair_free(&a, &b);
	free(text);
}

static void paused_and_pushed_back(void **state)
{
	struct side a, b;

	(void)state;
	pair_new(&a, &b);
	warren_stream_set(b.stream, NULL, NULL);
	write_text(&a, "world");
	warren_stream_finish(a.stream);
	for (int i = 0; i < 5; i++)
		parts_settle(engine);
	assert_int_equal(b.readable, 0);
	assert_int_equal(warren_stream_unread(b.stream, "hello ", 6), 0);
	warren_stream_set(b.stream, &events, &b);
	wait_for(&b);
	assert_string_equal(str_text(&b.got), "hello world");
	assert_true(b.ended);
	pair_free(&a, &b);
}

/* What the parser of an upgrade did not take is told to the next owner, and so is the end. */
static void the_next_owner_hears_all_again(void **state)
{
	struct side a, b, next = { .want = 3 };

	(void)state;
	pair_new(&a, &b);
	b.keep = true;
	write_text(&a, "abcdef");
	warren_stream_finish(a.stream);
	wait_for(&b);
	assert_true(b.ended);
	warren_stream_drain(b.stream, 3);
	warren_stream_set(b.stream, &events, &next);
	wait_for(&next);
	parts_settle(engine);
	assert_string_equal(str_text(&next.got), "def");
	assert_true(next.ended && next.result == 0);
	str_free(&next.got);
	pair_free(&a, &b);
}

/* Who waits for something else has no `readable`; what came meanwhile is the next one's. */
static void nobody_reads_yet(void **state)
{
	static const struct warren_stream_events waiting = {
		.size = sizeof(waiting), .ended = ended,
	};
	struct side a, b;

	(void)state;
	pair_new(&a, &b);
	warren_stream_set(b.stream, &waiting, &b);
	write_text(&a, "hello");
	warren_stream_finish(a.stream);
	wait_for(&b);
	assert_true(b.ended && b.result == 0 && b.readable == 0);
	b.ended = false;
	warren_stream_set(b.stream, &events, &b);
	b.want = 5;
	wait_for(&b);
	assert_string_equal(str_text(&b.got), "hello");
	pair_free(&a, &b);
}

static void callbacks_may_close(void **state)
{
	struct side a, b;

	(void)state;
	pair_new(&a, &b);
	b.close_at_once = true;
	write_text(&a, "x");
	wait_for(&b);
	wait_for(&a);
	assert_true(a.ended);
	pair_free(&a, &b);

	pair_new(&a, &b);
	b.close_at_once = true;
	warren_stream_close(a.stream);
	a.stream = NULL;
	wait_for(&b);
	assert_true(b.ended && !b.stream);
	pair_free(&a, &b);
}

static void the_other_side_breaks_off(void **state)
{
	struct side a, b;

	(void)state;
	pair_new(&a, &b);
	warren_stream_set(b.stream, NULL, NULL);
	write_text(&a, "never read");
	parts_settle(engine);
	warren_stream_close(b.stream);		/* with bytes unread: a reset */
	b.stream = NULL;
	wait_for(&a);
	assert_int_equal(a.result, -ECONNRESET);
	assert_string_equal(a.why, "the connection failed while receiving: "
			    "Connection reset by peer");
	assert_int_equal(warren_stream_write(a.stream, "x", 1), -EPIPE);
	pair_free(&a, &b);
}

/* The end was told already: what fails later is seen by writing, and no drained is told. */
static void broken_after_the_end(void **state)
{
	char *text = big_text();
	struct side a, b;

	(void)state;
	pair_new(&a, &b);
	b.keep = true;
	warren_stream_finish(b.stream);
	wait_for(&a);
	assert_true(a.ended && a.result == 0);
	assert_int_equal(warren_stream_write(a.stream, text, BIG), 0);
	warren_stream_close(b.stream);
	b.stream = NULL;
	for (int i = 0; i < 5; i++)
		parts_settle(engine);
	assert_int_equal(warren_stream_write(a.stream, "x", 1), -EPIPE);
	assert_int_equal(a.drained, 0);
	pair_free(&a, &b);
	free(text);
}

static void timeouts(void **state)
{
	char *text = big_text();
	struct side a, b;

	(void)state;
	pair_new(&a, &b);
	warren_stream_timeouts(b.stream, 20000, 0);
	wait_for(&b);
	assert_int_equal(b.result, -ETIMEDOUT);
	assert_string_equal(b.why, "the other side sent nothing for too long");
	pair_free(&a, &b);

	pair_new(&a, &b);
	warren_stream_set(b.stream, NULL, NULL);
	warren_stream_timeouts(a.stream, 0, 20000);
	assert_int_equal(warren_stream_write(a.stream, text, BIG), 0);
	wait_for(&a);
	assert_int_equal(a.result, -ETIMEDOUT);
	assert_string_equal(a.why, "the other side took nothing for too long");
	pair_free(&a, &b);
	free(text);
}

static void closed_later(void **state)
{
	char *text = big_text();
	struct side a, b;

	(void)state;
	pair_new(&a, &b);
	write_text(&b, "unread");		/* must not become a reset that eats the output */
	assert_int_equal(warren_stream_write(a.stream, text, BIG), 0);
	warren_stream_close_later(a.stream, 5000000);
	a.stream = NULL;
	wait_for(&b);
	assert_true(b.ended && b.result == 0);
	assert_int_equal(b.got.len, BIG);
	assert_memory_equal(b.got.s, text, BIG);
	pair_free(&a, &b);

	/* The other side has ended its direction before: that is no reason to drop our output. */
	pair_new(&a, &b);
	b.keep = true;
	warren_stream_finish(b.stream);
	wait_for(&a);
	assert_int_equal(warren_stream_write(a.stream, text, BIG), 0);
	warren_stream_close_later(a.stream, 5000000);
	a.stream = NULL;
	parts_settle(engine);
	b.keep = false;
	warren_stream_set(b.stream, &events, &b);
	wait_for(&b);
	assert_true(b.ended && b.result == 0 && b.got.len == BIG);
	pair_free(&a, &b);

	/* The other side takes nothing: the time limit ends it. */
	pair_new(&a, &b);
	b.keep = true;
	assert_int_equal(warren_stream_write(a.stream, text, BIG), 0);
	warren_stream_close_later(a.stream, 20000);
	a.stream = NULL;
	usleep(30000);
	parts_settle(engine);
	b.keep = false;
	warren_stream_set(b.stream, &events, &b);
	wait_for(&b);
	assert_true(b.ended && b.got.len < BIG);
	pair_free(&a, &b);
	free(text);
}

static void addresses(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	struct warren_addrport peer, local;
	struct warren_stream *stream;
	char text[ADDRPORT_TEXT], want[ADDRPORT_TEXT];
	struct side a, b;

	(void)state;
	assert_int_equal(bind(server, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(getsockname(server, (struct sockaddr *)&sin, &len), 0);
	assert_int_equal(connect(client, (struct sockaddr *)&sin, len), 0);
	stream = warren_stream_new_take(ctx, client);
	assert_true(warren_stream_peer(stream, &peer) && warren_stream_local(stream, &local));
	snprintf(want, sizeof(want), "127.0.0.1:%u", ntohs(sin.sin_port));
	assert_string_equal(addrport_format(&peer, text), want);
	assert_int_not_equal(local.port, peer.port);
	warren_stream_close(stream);
	close(server);
	pair_new(&a, &b);
	assert_false(warren_stream_peer(a.stream, &peer));	/* a unix socket has none */
	pair_free(&a, &b);
}

/*
 * A layer for the tests: frames of one length byte, every byte turned over; an empty frame is the
 * end.
 */
struct frames {
	bool closed;
	int *alive;
};

static int frames_write(void *layer, struct warren_stream *below, const void *data, size_t len)
{
	const uint8_t *p = data;

	(void)layer;
	while (len > 0) {
		uint8_t frame[256], n = len > 255 ? 255 : (uint8_t)len;
		int result;

		frame[0] = n;
		for (size_t i = 0; i < n; i++)
			frame[1 + i] = p[i] ^ 0xff;
		result = warren_stream_write(below, frame, 1u + n);
		if (result)
			return result;
		p += n;
		len -= n;
	}
	return 0;
}

static int frames_input(void *layer, struct warren_stream *below, struct warren_stream *up,
			bool eof, const char **why)
{
	struct frames *frames = layer;
	const uint8_t *data;
	size_t len;

	for (;;) {
		uint8_t plain[255];

		data = warren_stream_input(below, &len);
		if (len < 1 || len < 1u + data[0])
			break;
		if (frames->closed) {
			*why = "a frame came after the last one";
			return -EBADMSG;
		}
		frames->closed = data[0] == 0;
		for (size_t i = 0; i < data[0]; i++)
			plain[i] = data[1 + i] ^ 0xff;
		if (warren_layer_feed(up, plain, data[0]))
			return -ENOMEM;
		warren_stream_drain(below, 1u + data[0]);
	}
	if (eof && (len > 0 || !frames->closed)) {
		*why = "the last frame is missing";
		return -ECONNRESET;
	}
	return 0;
}

static void frames_finish(void *layer, struct warren_stream *below)
{
	(void)layer;
	/* Without memory the other side sees a cut stream, which is what it is. */
	(void)warren_stream_write(below, "", 1);
}

static void frames_free(void *layer)
{
	struct frames *frames = layer;

	--*frames->alive;
	free(frames);
}

static const struct warren_layer_ops frames_ops = {
	.size = sizeof(frames_ops), .write = frames_write, .input = frames_input,
	.finish = frames_finish, .free = frames_free,
};

static void add_layer(struct side *side, int *alive)
{
	struct frames *frames = calloc(1, sizeof(*frames));

	assert_non_null(frames);
	frames->alive = alive;
	++*alive;
	side->stream = warren_layer_new_take(side->stream, &frames_ops, frames);
	assert_non_null(side->stream);
	warren_stream_set(side->stream, &events, side);
}

static void a_context_takes_its_streams_along(void **state)
{
	struct side a = { 0 };
	int alive = 0, fds[2];
	char bytes[8];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	a.stream = warren_stream_new_take(ctx, fds[0]);
	add_layer(&a, &alive);
	add_layer(&a, &alive);
	write_text(&a, "x");
	wcore_ctx_close(ctx);
	assert_int_equal(alive, 0);
	assert_int_equal(read(fds[1], bytes, sizeof(bytes)), 3);
	assert_int_equal(read(fds[1], bytes, sizeof(bytes)), 0);
	close(fds[1]);
}

static void layers_on_layers(void **state)
{
	char *text = big_text();
	struct side a, b;
	int alive = 0;

	(void)state;
	pair_new(&a, &b);
	for (int i = 0; i < 2; i++) {
		add_layer(&a, &alive);
		add_layer(&b, &alive);
	}
	b.keep = true;
	assert_int_equal(warren_stream_write(a.stream, text, BIG), 0);
	assert_true(warren_stream_pending(a.stream) > 0);
	for (int i = 0; i < 30; i++)
		parts_settle(engine);
	/* Each layer keeps at most its limit and what one turn decoded on top. */
	assert_true(b.most <= 2 * (64 << 10));
	b.keep = false;
	b.want = BIG;
	warren_stream_set(b.stream, &events, &b);
	wait_for(&b);
	assert_memory_equal(b.got.s, text, BIG);
	assert_int_equal(a.drained, 1);
	warren_stream_finish(a.stream);
	wait_for(&b);
	assert_true(b.ended && b.result == 0);
	a.want = 3;
	a.done = false;		/* it was drained before */
	write_text(&b, "bye");
	warren_stream_close_later(b.stream, 5000000);
	b.stream = NULL;
	wait_for(&a);
	assert_string_equal(str_text(&a.got), "bye");
	pair_free(&a, &b);
	parts_settle(engine);
	assert_int_equal(alive, 0);
	free(text);
}

static void a_layer_that_fails(void **state)
{
	struct side a, b;
	int alive = 0;

	(void)state;
	pair_new(&a, &b);
	add_layer(&b, &alive);
	write_text(&a, "\1\xff\5abc");
	warren_stream_finish(a.stream);
	wait_for(&b);
	assert_int_equal(b.result, -ECONNRESET);
	assert_string_equal(b.why, "the last frame is missing");
	assert_int_equal(b.got.len, 1);
	pair_free(&a, &b);

	pair_new(&a, &b);
	add_layer(&b, &alive);
	b.close_at_once = true;
	assert_int_equal(warren_stream_write(a.stream, "\0\1x", 3), 0);
	wait_for(&b);
	assert_int_equal(b.result, -EBADMSG);
	pair_free(&a, &b);
	assert_int_equal(alive, 0);
}

#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(both_ways_and_half_closed),
		ON_LOOP(a_reader_that_waits_stops_the_writer),
		ON_LOOP(output_is_bounded),
		ON_LOOP(paused_and_pushed_back),
		ON_LOOP(the_next_owner_hears_all_again),
		ON_LOOP(nobody_reads_yet),
		ON_LOOP(callbacks_may_close),
		ON_LOOP(the_other_side_breaks_off),
		ON_LOOP(broken_after_the_end),
		ON_LOOP(timeouts),
		ON_LOOP(closed_later),
		ON_LOOP(a_context_takes_its_streams_along),
		ON_LOOP(addresses),
		ON_LOOP(layers_on_layers),
		ON_LOOP(a_layer_that_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
