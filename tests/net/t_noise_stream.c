/*
 * Noise streams: client against server over a socket pair, then a client whose server sends its
 * bytes in pieces of the test's choice.
 */
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/net.h>

#include "base/err.h"
#include "base/str.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "net/early.h"

#include "../unit/parts.h"

enum { BIG = 1 << 20 };

static const char settings[] = "\0\0\6\4\0\0\0\0\0\0\3\0\0\0\144";	/* a frame of HTTP/2 */
enum { SETTINGS = sizeof(settings) - 1 };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct warren_private client_key, server_key;
static struct warren_noise_key client_self, server_self;

struct side {
	struct warren_stream *stream;
	struct str got;
	size_t want;
	bool ready, ended;
	int result;			/* of the handshake or the end */
	volatile bool done;
	char why[320];
};

static void readable(struct warren_stream *stream, void *arg)
{
	struct side *side = arg;
	size_t len;
	const uint8_t *data = warren_stream_input(stream, &len);

	assert_true(len > 0);
	str_addn(&side->got, (const char *)data, len);
	warren_stream_drain(stream, len);
	side->done = side->done || (side->want && side->got.len >= side->want);
}

static void ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct side *side = arg;

	(void)stream;
	assert_false(side->ended);
	assert_true(!why == (result == 0));
	side->ended = side->done = true;
	side->result = result;
	snprintf(side->why, sizeof(side->why), "%s", why ? why : "");
}

static const struct warren_stream_events events = {
	.size = sizeof(events), .readable = readable, .ended = ended,
};

static void shaken(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct side *side = arg;

	assert_ptr_equal(stream, side->stream);
	assert_false(side->ready);
	assert_true(!why == (result == 0));
	side->ready = side->done = true;
	side->result = result;
	snprintf(side->why, sizeof(side->why), "%s", why ? why : "");
	if (result) {
		warren_stream_close(stream);
		side->stream = NULL;
		return;
	}
	warren_stream_set(stream, &events, side);
}

static int dh(void *arg, const uint8_t peer[32], uint8_t out[32])
{
	const struct warren_private *key = arg;

	return crypto_scalarmult_curve25519(out, key->secret, peer) == -1 ? -EINVAL : 0;
}

static struct warren_noise_key owner(struct warren_private *key)
{
	struct warren_noise_key self = { .size = sizeof(self), .dh = dh, .arg = key };

	warren_private_new(key);
	warren_private_public(key, self.public_key);
	return self;
}

static int begin(void **state)
{
	(void)state;
	client_self = owner(&client_key);
	server_self = owner(&server_key);
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

static void wait_for(struct side *side)
{
	assert_true(parts_until(engine, &side->done));
	side->done = false;
}

/* The client's end, its first message at @init; returns the descriptor of the other end. */
static int client_new(struct side *client, uint8_t init[WARREN_NOISE_INIT])
{
	struct warren_noise *noise;
	int fds[2];

	memset(client, 0, sizeof(*client));
	noise = warren_noise_client_new(130, &client_self, server_self.public_key, init, NULL);
	assert_non_null(noise);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	client->stream = warren_noise_connect_take(warren_stream_new_take(ctx, fds[0]), noise,
						   shaken, client);
	assert_non_null(client->stream);
	assert_int_equal(warren_stream_write(client->stream, "x", 1), -ENOTCONN);
	return fds[1];
}

static void pair(struct side *client, struct side *server, const char *early)
{
	uint8_t init[WARREN_NOISE_INIT];
	struct warren_err err = ERR_INIT;
	int fd = client_new(client, init);

	memset(server, 0, sizeof(*server));
	server->stream = warren_noise_accept_take(warren_stream_new_take(ctx, fd), &server_self,
						  init, sizeof(init), early, &err);
	if (!server->stream)
		fail_msg("%s", err_first(&err));
	warren_stream_set(server->stream, &events, server);
}

static void side_free(struct side *side)
{
	warren_stream_close(side->stream);
	str_free(&side->got);
}

static char *noise_text(size_t len)
{
	char *text = malloc(len);

	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)(i * 7 + i / 4077);
	return text;
}

static void test_both_ways(void **state)
{
	char *big = noise_text(BIG);
	struct side client, server;
	uint8_t challenge[32];

	(void)state;
	pair(&client, &server, NULL);
	wait_for(&client);
	assert_int_equal(client.result, 0);
	assert_memory_equal(warren_noise_peer(warren_noise_session(server.stream)),
			    client_self.public_key, 32);
	assert_memory_equal(warren_noise_peer(warren_noise_session(client.stream)),
			    server_self.public_key, 32);
	assert_int_equal(warren_noise_version(warren_noise_session(server.stream)), 130);

	client.want = server.want = BIG;
	assert_int_equal(warren_stream_write(client.stream, big, BIG), 0);
	assert_int_equal(warren_stream_write(server.stream, settings, SETTINGS), 0);
	assert_int_equal(warren_stream_write(server.stream, big, BIG - SETTINGS), 0);
	wait_for(&client);
	if (server.got.len < BIG)
		wait_for(&server);
	assert_int_equal(server.got.len, BIG);
	assert_memory_equal(server.got.s, big, BIG);
	assert_memory_equal(client.got.s, settings, SETTINGS);
	assert_memory_equal(client.got.s + SETTINGS, big, BIG - SETTINGS);
	assert_false(warren_noise_challenge(client.stream, challenge));

	server.done = false;
	warren_stream_finish(client.stream);
	wait_for(&server);
	assert_int_equal(server.result, 0);
	side_free(&client);
	side_free(&server);
	free(big);
}

static void test_early_payload(void **state)
{
	static const char digits[] =
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
	struct side client, server;
	uint8_t challenge[32];
	char early[128];

	(void)state;
	snprintf(early, sizeof(early), "{\"nodeKeyChallenge\":\"chalpub:%s\"}", digits);
	pair(&client, &server, early);
	wait_for(&client);
	assert_int_equal(client.result, 0);
	client.want = SETTINGS;
	assert_int_equal(warren_stream_write(server.stream, settings, SETTINGS), 0);
	wait_for(&client);
	assert_int_equal(client.got.len, SETTINGS);
	assert_memory_equal(client.got.s, settings, SETTINGS);
	assert_true(warren_noise_challenge(client.stream, challenge));
	for (int i = 0; i < 32; i++)
		assert_int_equal(challenge[i], i);
	assert_false(warren_noise_challenge(server.stream, challenge));
	side_free(&client);
	side_free(&server);
}

static void test_server_refuses(void **state)
{
	uint8_t init[WARREN_NOISE_INIT];
	struct warren_err err = ERR_INIT;
	struct side client;
	int fd = client_new(&client, init);

	(void)state;
	init[40] ^= 1;
	assert_null(warren_noise_accept_take(warren_stream_new_take(ctx, fd), &server_self, init,
					     sizeof(init), NULL, &err));
	assert_non_null(strstr(err_first(&err), "does not open with our key"));
	err_free(&err);
	/* What a client sees of it: the end, without an answer. */
	wait_for(&client);
	assert_int_equal(client.result, -ECONNRESET);
	assert_non_null(strstr(client.why, "instead of answering the Noise handshake"));
	side_free(&client);
}

/*
 * ---- A server made by hand: its bytes are written as the test likes ----
 */

struct hand {
	struct side client;
	struct warren_noise *noise;
	struct str out;
	int fd;
};

static void hand_begin(struct hand *h)
{
	uint8_t init[WARREN_NOISE_INIT], response[WARREN_NOISE_RESPONSE];

	memset(h, 0, sizeof(*h));
	h->fd = client_new(&h->client, init);
	h->noise = warren_noise_server_new(&server_self, init, sizeof(init), response, NULL);
	assert_non_null(h->noise);
	str_addn(&h->out, (const char *)response, sizeof(response));
}

static void hand_record(struct hand *h, const void *plain, size_t len)
{
	uint8_t record[WARREN_NOISE_RECORD];

	assert_int_equal(warren_noise_seal(h->noise, plain, len, record), 0);
	str_addn(&h->out, (const char *)record, len + WARREN_NOISE_OVERHEAD);
}

/* Sends what was composed, @piece bytes at a time. */
static void hand_send(struct hand *h, size_t piece)
{
	for (size_t at = 0; at < h->out.len; at += piece) {
		size_t n = h->out.len - at < piece ? h->out.len - at : piece;

		assert_int_equal(write(h->fd, h->out.s + at, n), n);
		parts_settle(engine);
	}
	str_cut(&h->out, 0);
}

static void hand_end(struct hand *h)
{
	side_free(&h->client);
	warren_noise_free(h->noise);
	str_free(&h->out);
	close(h->fd);
}

/* Three records as headscale does it, empty ones between; in single bytes, in sevens, at once. */
static void test_pieces(void **state)
{
	static const char json[] = "{\"nodeKeyChallenge\":\"chalpub:0\",\"later\":[1]}";
	static const size_t pieces[] = { 1, 7, 100000 };
	uint8_t head[EARLY_HEAD], challenge[32];

	(void)state;
	early_head(sizeof(json) - 1, head);
	for (size_t i = 0; i < 3; i++) {
		struct hand h;

		hand_begin(&h);
		hand_record(&h, "", 0);
		hand_record(&h, head, 5);
		hand_record(&h, "", 0);
		hand_record(&h, head + 5, 4);
		hand_record(&h, json, sizeof(json) - 1);
		hand_record(&h, settings, 4);
		hand_record(&h, "", 0);
		hand_record(&h, settings + 4, SETTINGS - 4);
		h.client.want = SETTINGS;
		hand_send(&h, pieces[i]);
		wait_for(&h.client);
		assert_true(parts_until(engine, &h.client.ready));
		assert_int_equal(h.client.result, 0);
		assert_int_equal(h.client.got.len, SETTINGS);
		assert_memory_equal(h.client.got.s, settings, SETTINGS);
		assert_false(warren_noise_challenge(h.client.stream, challenge));
		assert_false(h.client.ended);	/* an empty record is no end */
		hand_end(&h);
	}
}

/* Bytes that begin like the payload's head belong to the reader as soon as one differs. */
static void test_no_payload(void **state)
{
	static const char *const likes[] = { "\xff\xff\xffTX", "\xff\xffz", "\xff\xff\xffS", "z" };

	(void)state;
	for (size_t i = 0; i < sizeof(likes) / sizeof(*likes); i++) {
		struct hand h;

		hand_begin(&h);
		hand_record(&h, likes[i], 1);
		hand_record(&h, likes[i] + 1, strlen(likes[i]) - 1);
		h.client.want = strlen(likes[i]);
		hand_send(&h, 1);
		wait_for(&h.client);
		assert_int_equal(h.client.got.len, strlen(likes[i]));
		assert_memory_equal(h.client.got.s, likes[i], h.client.got.len);
		hand_end(&h);
	}
}

static void expect_end(struct hand *h, int result, const char *why)
{
	while (!h->client.ended)
		wait_for(&h->client);
	assert_int_equal(h->client.result, result);
	if (!strstr(h->client.why, why))
		fail_msg("\"%s\" does not say \"%s\"", h->client.why, why);
	hand_end(h);
}

static void test_bad_payloads(void **state)
{
	struct hand h;
	uint8_t head[EARLY_HEAD];

	(void)state;
	early_head(EARLY_MAX + 1, head);
	hand_begin(&h);
	hand_record(&h, head, sizeof(head));
	hand_send(&h, 100000);
	expect_end(&h, -EMSGSIZE, "longer than the 65536 that are allowed");

	early_head(2, head);
	hand_begin(&h);
	hand_record(&h, head, sizeof(head));
	hand_record(&h, "{]", 2);
	hand_send(&h, 100000);
	expect_end(&h, -EBADMSG, "early payload is no JSON object");

	hand_begin(&h);
	hand_record(&h, head, sizeof(head));
	hand_record(&h, "{", 1);
	hand_send(&h, 100000);
	shutdown(h.fd, SHUT_WR);
	expect_end(&h, -ECONNRESET, "in the middle of a Noise record");
}

/* The longest payload that is allowed, in as many records as it takes. */
static void test_long_payload(void **state)
{
	char *json = malloc(EARLY_MAX);
	uint8_t head[EARLY_HEAD];
	struct hand h;

	(void)state;
	assert_non_null(json);
	memset(json, ' ', EARLY_MAX);
	json[0] = '{';
	json[EARLY_MAX - 1] = '}';
	early_head(EARLY_MAX, head);
	hand_begin(&h);
	hand_record(&h, head, sizeof(head));
	for (size_t at = 0, n; at < EARLY_MAX; at += n) {
		n = EARLY_MAX - at < 4077 ? EARLY_MAX - at : 4077;
		hand_record(&h, json + at, n);
	}
	hand_record(&h, settings, SETTINGS);
	h.client.want = SETTINGS;
	hand_send(&h, 5000);
	wait_for(&h.client);
	assert_memory_equal(h.client.got.s, settings, SETTINGS);
	hand_end(&h);
	free(json);
}

static void test_broken_streams(void **state)
{
	struct hand h;

	(void)state;
	hand_begin(&h);
	hand_record(&h, "zebra", 5);
	h.out.s[h.out.len - 1] ^= 1;
	hand_send(&h, 100000);
	expect_end(&h, -EBADMSG, "a record was changed, lost or repeated");

	hand_begin(&h);
	hand_record(&h, "zebra", 5);
	str_cut(&h.out, h.out.len - 1);
	hand_send(&h, 100000);
	shutdown(h.fd, SHUT_WR);
	expect_end(&h, -ECONNRESET, "in the middle of a Noise record");

	/* An end between records is one; what came before it counts. */
	hand_begin(&h);
	hand_record(&h, "zebra", 5);
	hand_send(&h, 100000);
	shutdown(h.fd, SHUT_WR);
	while (!h.client.ended)
		wait_for(&h.client);
	assert_int_equal(h.client.result, 0);
	assert_string_equal(str_text(&h.client.got), "zebra");
	hand_end(&h);
}

static void test_server_speaks_otherwise(void **state)
{
	struct hand h;

	(void)state;
	hand_begin(&h);
	str_cut(&h.out, 0);
	str_addn(&h.out, "\3\0\5no \033!", 8);
	hand_send(&h, 1);
	wait_for(&h.client);
	assert_int_equal(h.client.result, -ECONNREFUSED);
	assert_non_null(strstr(h.client.why, "refused the Noise handshake: \"no \\x1b!\""));
	hand_end(&h);

	hand_begin(&h);
	h.out.s[40] ^= 1;
	hand_send(&h, 100000);
	wait_for(&h.client);
	assert_int_equal(h.client.result, -EBADMSG);
	assert_non_null(strstr(h.client.why, "does not hold the key that it is known by"));
	hand_end(&h);
}

static void test_closed_while_shaking(void **state)
{
	uint8_t init[WARREN_NOISE_INIT];
	struct side client;
	char byte;
	int fd = client_new(&client, init);

	(void)state;
	warren_stream_close(client.stream);
	parts_settle(engine);
	assert_false(client.ready);
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
}

/* Nothing is sealed that cannot be sent: the stream works on after -ENOBUFS. */
static void test_full(void **state)
{
	struct side client, server;
	char *big = noise_text(15 << 20);

	(void)state;
	pair(&client, &server, NULL);
	wait_for(&client);
	warren_stream_set(client.stream, NULL, NULL);
	assert_int_equal(warren_stream_write(server.stream, settings, SETTINGS), 0);
	assert_int_equal(warren_stream_write(server.stream, big, 15 << 20), 0);
	assert_int_equal(warren_stream_write(server.stream, big, 2 << 20), -ENOBUFS);
	assert_int_equal(warren_stream_write(server.stream, "end", 3), 0);
	client.want = SETTINGS + (15 << 20) + 3;
	warren_stream_set(client.stream, &events, &client);
	wait_for(&client);
	assert_memory_equal(client.got.s + SETTINGS, big, 15 << 20);
	assert_string_equal(client.got.s + SETTINGS + (15 << 20), "end");
	side_free(&client);
	side_free(&server);
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_ways, begin, finish),
		cmocka_unit_test_setup_teardown(test_early_payload, begin, finish),
		cmocka_unit_test_setup_teardown(test_server_refuses, begin, finish),
		cmocka_unit_test_setup_teardown(test_pieces, begin, finish),
		cmocka_unit_test_setup_teardown(test_no_payload, begin, finish),
		cmocka_unit_test_setup_teardown(test_bad_payloads, begin, finish),
		cmocka_unit_test_setup_teardown(test_long_payload, begin, finish),
		cmocka_unit_test_setup_teardown(test_broken_streams, begin, finish),
		cmocka_unit_test_setup_teardown(test_server_speaks_otherwise, begin, finish),
		cmocka_unit_test_setup_teardown(test_closed_while_shaking, begin, finish),
		cmocka_unit_test_setup_teardown(test_full, begin, finish),
	};

	if (sodium_init() == -1)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
