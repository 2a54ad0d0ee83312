/* MAC1, MAC2 and cookie replies: known answers, and the rules of dataplane.md 1.8. */
#include "../cookie.h"

#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "vectors.h"

static const uint64_t T = 1000 * WG_SECOND;

struct fixture {
	json_t *all, *cookie, *handshake;	/* the psk case */
	uint8_t initiation[WG_INITIATION_LEN];
	uint8_t reply[WG_COOKIE_REPLY_LEN];
	uint8_t source[WG_COOKIE_SOURCE_UDP_MAX];
	size_t source_len;
	struct wg_cookie_checker responder;
	struct wg_cookie_peer peer;		/* the responder, as the initiator knows it */
	int random_calls;
};

/* First the secret, then the nonce, as in the vectors. */
static void fixed_random(void *arg, uint8_t *out, size_t len)
{
	struct fixture *f = arg;

	vectors_hex(f->cookie, f->random_calls++ ? "nonce" : "secret", out, len);
}

static void source4(struct fixture *f, uint8_t last, uint16_t port)
{
	struct warren_addrport from = { .addr = { 4, { 192, 0, 2, last } }, .port = port };

	f->source_len = wg_cookie_source_udp(f->source, &from);
	assert_int_equal(f->source_len, 6);
}

static int setup(void **state)
{
	static struct fixture f;
	uint8_t key[32];

	memset(&f, 0, sizeof(f));
	f.all = vectors_load();
	f.cookie = vectors_at(f.all, "cookie");
	f.handshake = json_array_get(vectors_at(f.all, "handshakes"), 1);
	vectors_hex(f.handshake, "initiation", f.initiation, sizeof(f.initiation));
	vectors_hex(f.cookie, "cookie_reply", f.reply, sizeof(f.reply));
	vectors_hex(vectors_at(f.handshake, "responder"), "static_public", key, 32);
	wg_cookie_checker_init(&f.responder, key, fixed_random, &f);
	wg_cookie_peer_init(&f.peer, key);
	source4(&f, 1, 51820);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	json_decref(((struct fixture *)*state)->all);
	return 0;
}

static void keys(void **state)
{
	struct fixture *f = *state;
	uint8_t want[32];

	vectors_hex(f->handshake, "mac1_key_to_responder", want, 32);
	assert_memory_equal(f->responder.mac1_key, want, 32);
	assert_memory_equal(f->peer.mac1_key, want, 32);
	vectors_hex(f->cookie, "reply_key", want, 32);
	assert_memory_equal(f->responder.reply_key, want, 32);
	assert_memory_equal(f->peer.reply_key, want, 32);
}

static void sources(void **state)
{
	struct fixture *f = *state;
	struct warren_addrport from = {
		.addr = { 6, { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } }, .port = 51820
	};
	uint8_t want[18];

	assert_int_equal(vectors_bytes(f->cookie, "mac_input_ip4", want, 6), 6);
	assert_memory_equal(f->source, want, 6);
	assert_int_equal(wg_cookie_source_udp(f->source, &from), 18);
	assert_int_equal(vectors_bytes(f->cookie, "mac_input_ip6", want, 18), 18);
	assert_memory_equal(f->source, want, 18);
	from.addr.family = 0;
	assert_int_equal(wg_cookie_source_udp(f->source, &from), 0);
}

static void make_reply(struct fixture *f, uint64_t now)
{
	wg_cookie_make_reply(&f->responder, f->initiation, sizeof(f->initiation), f->source,
			     f->source_len, now, f->reply);
}

static void reply_known_answer(void **state)
{
	struct fixture *f = *state;
	uint8_t want[WG_COOKIE_REPLY_LEN];

	make_reply(f, T);
	vectors_hex(f->cookie, "cookie_reply", want, sizeof(want));
	assert_memory_equal(f->reply, want, sizeof(want));
}

/* The initiator sends the vectors' initiation again, so that its MAC1 waits. */
static void send_initiation(struct fixture *f, uint64_t now)
{
	uint8_t msg[WG_INITIATION_LEN];

	memcpy(msg, f->initiation, sizeof(msg));
	wg_cookie_add_macs(&f->peer, msg, sizeof(msg), now);
	assert_memory_equal(msg, f->initiation, WG_INITIATION_MAC2);
}

static void next_initiation(struct fixture *f, uint8_t msg[WG_INITIATION_LEN], uint64_t now)
{
	vectors_hex(vectors_at(f->cookie, "next_initiation"), "message", msg, WG_INITIATION_LEN);
	memset(msg + WG_INITIATION_MAC1, 0, 2 * WG_MAC_LEN);
	wg_cookie_add_macs(&f->peer, msg, WG_INITIATION_LEN, now);
}

static void consume_and_use(void **state)
{
	struct fixture *f = *state;
	uint8_t msg[WG_INITIATION_LEN], want[WG_INITIATION_LEN], cookie[WG_COOKIE_LEN];

	send_initiation(f, T);
	assert_int_equal(wg_cookie_consume_reply(&f->peer, f->reply, T), 0);
	vectors_hex(f->cookie, "cookie_ip4", cookie, sizeof(cookie));
	assert_memory_equal(f->peer.cookie, cookie, sizeof(cookie));
	next_initiation(f, msg, T + 5 * WG_SECOND);
	vectors_hex(vectors_at(f->cookie, "next_initiation"), "message", want, sizeof(want));
	assert_memory_equal(msg, want, sizeof(want));
	make_reply(f, T);		/* the responder has the same secret now */
	assert_true(wg_cookie_check_mac1(&f->responder, msg, sizeof(msg)));
	assert_true(wg_cookie_check_mac2(&f->responder, msg, sizeof(msg), f->source,
					 f->source_len, T + 5 * WG_SECOND));
}

static bool mac2_ok(struct fixture *f, const uint8_t *msg, uint64_t now)
{
	return wg_cookie_check_mac2(&f->responder, msg, WG_INITIATION_LEN, f->source,
				    f->source_len, now);
}

static void cookie_is_bound_to_address_and_port(void **state)
{
	struct fixture *f = *state;
	uint8_t msg[WG_INITIATION_LEN];

	vectors_hex(vectors_at(f->cookie, "next_initiation"), "message", msg, sizeof(msg));
	assert_false(mac2_ok(f, msg, T));	/* no secret yet */
	make_reply(f, T);
	assert_true(mac2_ok(f, msg, T));
	source4(f, 1, 51821);
	assert_false(mac2_ok(f, msg, T));
	source4(f, 2, 51820);
	assert_false(mac2_ok(f, msg, T));
	f->source_len = 0;
	assert_false(mac2_ok(f, msg, T));
	source4(f, 1, 51820);
	for (size_t i = 0; i < sizeof(msg); i++) {
		msg[i] ^= 0x40;
		assert_false(mac2_ok(f, msg, T));
		msg[i] ^= 0x40;
	}
	/* Zeros are what a sender without a cookie has. */
	assert_false(mac2_ok(f, f->initiation, T));
}

static void secret_lives_120_s(void **state)
{
	struct fixture *f = *state;
	uint8_t msg[WG_INITIATION_LEN], old[32];

	vectors_hex(vectors_at(f->cookie, "next_initiation"), "message", msg, sizeof(msg));
	make_reply(f, T);
	memcpy(old, f->responder.secret, 32);
	make_reply(f, T + 119 * WG_SECOND);
	assert_memory_equal(f->responder.secret, old, 32);
	assert_true(mac2_ok(f, msg, T + 120 * WG_SECOND - 1));
	assert_false(mac2_ok(f, msg, T + 120 * WG_SECOND));
	f->responder.random = NULL;
	make_reply(f, T + 120 * WG_SECOND);
	assert_memory_not_equal(f->responder.secret, old, 32);
	assert_false(mac2_ok(f, msg, T + 121 * WG_SECOND));
}

static void cookie_lives_115_s_at_the_sender(void **state)
{
	struct fixture *f = *state;
	uint8_t msg[WG_INITIATION_LEN];

	send_initiation(f, T);
	assert_int_equal(wg_cookie_consume_reply(&f->peer, f->reply, T), 0);
	next_initiation(f, msg, T + 115 * WG_SECOND - 1);
	assert_false(sodium_is_zero(msg + WG_INITIATION_MAC2, WG_MAC_LEN));
	next_initiation(f, msg, T + 115 * WG_SECOND);
	assert_true(sodium_is_zero(msg + WG_INITIATION_MAC2, WG_MAC_LEN));
}

static void one_reply_per_sent_mac1(void **state)
{
	struct fixture *f = *state;
	uint8_t msg[WG_INITIATION_LEN];

	assert_int_equal(wg_cookie_consume_reply(&f->peer, f->reply, T), -ENOENT);
	send_initiation(f, T);
	assert_int_equal(wg_cookie_consume_reply(&f->peer, f->reply, T), 0);
	assert_int_equal(wg_cookie_consume_reply(&f->peer, f->reply, T), -ENOENT);
	/* A reply to an older message does not fit the MAC1 that waits; it goes on waiting. */
	next_initiation(f, msg, T);
	assert_int_equal(wg_cookie_consume_reply(&f->peer, f->reply, T), -EBADMSG);
	assert_true(f->peer.mac1_sent);
}

static void forged_reply_changes_nothing(void **state)
{
	struct fixture *f = *state;

	send_initiation(f, T);
	for (size_t i = WG_COOKIE_REPLY_NONCE; i < sizeof(f->reply); i++) {
		f->reply[i] ^= 1;
		assert_int_equal(wg_cookie_consume_reply(&f->peer, f->reply, T), -EBADMSG);
		f->reply[i] ^= 1;
	}
	assert_int_equal(f->peer.cookie_at, 0);
	assert_int_equal(wg_cookie_consume_reply(&f->peer, f->reply, T), 0);
}

static void response_is_answered_too(void **state)
{
	struct fixture *f = *state;
	uint8_t response[WG_RESPONSE_LEN], key[32];
	struct wg_cookie_checker initiator;
	struct wg_cookie_peer peer;

	vectors_hex(f->handshake, "response", response, sizeof(response));
	vectors_hex(vectors_at(f->handshake, "initiator"), "static_public", key, 32);
	wg_cookie_checker_init(&initiator, key, NULL, NULL);
	wg_cookie_peer_init(&peer, key);
	assert_true(wg_cookie_check_mac1(&initiator, response, sizeof(response)));
	wg_cookie_make_reply(&initiator, response, sizeof(response), f->source, f->source_len, T,
			     f->reply);
	assert_memory_equal(f->reply + WG_COOKIE_REPLY_RECEIVER, response + WG_RESPONSE_SENDER, 4);
	wg_cookie_add_macs(&peer, response, sizeof(response), T);
	assert_int_equal(wg_cookie_consume_reply(&peer, f->reply, T), 0);
	wg_cookie_add_macs(&peer, response, sizeof(response), T);
	assert_true(wg_cookie_check_mac2(&initiator, response, sizeof(response), f->source,
					 f->source_len, T));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keys),
		TEST(sources),
		TEST(reply_known_answer),
		TEST(consume_and_use),
		TEST(cookie_is_bound_to_address_and_port),
		TEST(secret_lives_120_s),
		TEST(cookie_lives_115_s_at_the_sender),
		TEST(one_reply_per_sent_mac1),
		TEST(forged_reply_changes_nothing),
		TEST(response_is_answered_too),
	};

	return sodium_init() == -1 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
