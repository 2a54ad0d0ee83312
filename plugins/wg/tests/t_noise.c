/*
 * Handshake against the known-answer vectors, in both roles, with and without PSK, and what must be
 * refused. Sections are those of dataplane.md.
 */
#include "../noise.h"

#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "../cookie.h"
#include "../transport.h"
#include "vectors.h"

struct side {				/* one box: its keys and what its environment gives out */
	uint8_t private_key[32], public_key[32];
	uint8_t ephemeral[32];		/* what "random" returns */
	uint8_t ephemeral_public[32];
	uint8_t timestamp[WG_TIMESTAMP_LEN];
	uint32_t index;
	int dh_result;			/* the identity service is out of order */
	struct wg_noise_local local;
	struct wg_noise_peer peer;	/* the other side, as seen from here */
	struct wg_cookie_peer cookie;
};

static int side_dh(void *arg, const uint8_t peer[32], uint8_t out[32])
{
	struct side *side = arg;

	if (side->dh_result)
		return side->dh_result;
	return crypto_scalarmult_curve25519(out, side->private_key, peer) == -1 ? -EINVAL : 0;
}

static void side_random(void *arg, uint8_t *out, size_t len)
{
	struct side *side = arg;

	assert_int_equal(len, 32);
	memcpy(out, side->ephemeral, 32);
}

static void side_tai64n(void *arg, uint8_t out[WG_TIMESTAMP_LEN])
{
	memcpy(out, ((struct side *)arg)->timestamp, WG_TIMESTAMP_LEN);
}

static void side_local(struct side *side)
{
	const struct wg_noise_env env = {
		.dh = side_dh, .tai64n = side_tai64n, .random = side_random, .arg = side,
	};

	wg_noise_local_init(&side->local, &env, side->public_key);
}

static void side_meet(struct side *side, const struct side *other, const uint8_t psk[32])
{
	assert_int_equal(wg_noise_peer_init(&side->peer, &side->local, other->public_key, psk), 0);
	wg_cookie_peer_init(&side->cookie, other->public_key);
}

static void side_load(struct side *side, json_t *vector)
{
	memset(side, 0, sizeof(*side));
	vectors_hex(vector, "static_private", side->private_key, 32);
	vectors_hex(vector, "static_public", side->public_key, 32);
	vectors_hex(vector, "ephemeral_private", side->ephemeral, 32);
	vectors_hex(vector, "ephemeral_public", side->ephemeral_public, 32);
	side->index = (uint32_t)vectors_number(vector, "sender_index");
	side_local(side);
}

static void load_handshake(json_t *h, struct side *i, struct side *r)
{
	uint8_t psk[32];

	side_load(i, vectors_at(h, "initiator"));
	side_load(r, vectors_at(h, "responder"));
	vectors_hex(h, "timestamp", i->timestamp, WG_TIMESTAMP_LEN);
	vectors_hex(h, "psk", psk, 32);
	side_meet(i, r, psk);
	side_meet(r, i, psk);
}

static void expect(json_t *h, const char *key, const uint8_t *got, size_t len)
{
	uint8_t want[256];

	assert_true(len <= sizeof(want));
	vectors_hex(h, key, want, len);
	assert_memory_equal(got, want, len);
}

static void initiate(struct side *i, uint8_t msg[WG_INITIATION_LEN])
{
	assert_int_equal(wg_noise_create_initiation(&i->local, &i->peer, i->index, msg), 0);
	wg_cookie_add_macs(&i->cookie, msg, WG_INITIATION_LEN, 1);
}

/* The whole responder; returns the first error. */
static int answer(struct side *r, const uint8_t *msg, uint64_t now,
		  uint8_t response[WG_RESPONSE_LEN], struct wg_noise_session *session)
{
	struct wg_noise_opened opened;
	int err = wg_noise_open_initiation(&r->local, msg, &opened);

	if (err)
		return err;
	if (memcmp(opened.peer_key, r->peer.public_key, 32) != 0)
		return -ENOKEY;
	err = wg_noise_accept_initiation(&opened, r->peer.ss);
	if (!err)
		err = wg_noise_admit(&r->peer, &opened, now);
	if (err)
		return err;
	err = wg_noise_create_response(&r->local, &r->peer, &opened, r->index, response, session);
	assert_true(sodium_is_zero((uint8_t *)&opened, sizeof(opened)));
	if (!err)
		wg_cookie_add_macs(&r->cookie, response, WG_RESPONSE_LEN, 1);
	return err;
}

static int consume(struct side *i, const uint8_t *response, struct wg_noise_session *session)
{
	return wg_noise_consume_response(&i->local, &i->peer, response, session);
}

static void one_handshake(json_t *h)
{
	struct side i, r;
	struct wg_noise_session si, sr;
	uint8_t initiation[WG_INITIATION_LEN], response[WG_RESPONSE_LEN], dh[32];

	load_handshake(h, &i, &r);
	expect(vectors_at(h, "dh"), "si_sr", i.peer.ss, 32);
	expect(vectors_at(h, "dh"), "si_sr", r.peer.ss, 32);
	assert_int_equal(side_dh(&i, r.ephemeral_public, dh), 0);
	expect(vectors_at(h, "dh"), "si_er", dh, 32);

	initiate(&i, initiation);
	expect(h, "initiation", initiation, sizeof(initiation));
	expect(h, "CK_after_initiation", i.peer.sent.ck, 32);
	expect(h, "H_after_initiation", i.peer.sent.hash, 32);

	assert_int_equal(answer(&r, initiation, 1000, response, &sr), 0);
	expect(h, "response", response, sizeof(response));
	assert_memory_equal(r.peer.greatest, i.timestamp, WG_TIMESTAMP_LEN);

	assert_int_equal(consume(&i, response, &si), 0);
	assert_true(si.initiator);
	assert_false(sr.initiator);
	expect(h, "T1_initiator_sends", si.send_key, 32);
	expect(h, "T1_initiator_sends", sr.receive_key, 32);
	expect(h, "T2_responder_sends", si.receive_key, 32);
	expect(h, "T2_responder_sends", sr.send_key, 32);
	assert_int_equal(si.local_index, i.index);
	assert_int_equal(si.remote_index, r.index);
	assert_int_equal(sr.local_index, r.index);
	assert_int_equal(sr.remote_index, i.index);
	assert_true(sodium_is_zero((uint8_t *)&i.peer.sent, sizeof(i.peer.sent)));
	/* One response per initiation. */
	assert_int_equal(consume(&i, response, &si), -ENOENT);
}

static void known_answers(void **state)
{
	json_t *all = vectors_at(*state, "handshakes"), *h;
	size_t n;

	assert_int_equal(json_array_size(all), 2);
	json_array_foreach(all, n, h)
		one_handshake(h);
}

static json_t *psk_case(void **state)
{
	return json_array_get(vectors_at(*state, "handshakes"), 1);
}

/* The cases of "negative" in their order: where each is refused. */
static void refused_messages(void **state)
{
	json_t *all = vectors_at(*state, "negative");
	uint8_t msg[WG_INITIATION_LEN], response[WG_RESPONSE_LEN];
	struct wg_cookie_checker check_r, check_i;
	struct wg_noise_session session;
	struct side i, r;

	load_handshake(psk_case(state), &i, &r);
	wg_cookie_checker_init(&check_r, r.public_key, NULL, NULL);
	wg_cookie_checker_init(&check_i, i.public_key, NULL, NULL);
	assert_int_equal(json_array_size(all), 5);

	vectors_hex(json_array_get(all, 0), "message", msg, sizeof(msg));
	assert_int_equal(wg_message_type(msg, sizeof(msg)), 0);

	vectors_hex(json_array_get(all, 1), "message", msg, sizeof(msg));
	assert_int_equal(wg_message_type(msg, sizeof(msg)), WG_INITIATION);
	assert_false(wg_cookie_check_mac1(&check_r, msg, sizeof(msg)));

	vectors_hex(json_array_get(all, 2), "message", msg, sizeof(msg));
	assert_true(wg_cookie_check_mac1(&check_r, msg, sizeof(msg)));
	assert_int_equal(answer(&r, msg, 1000, response, &session), -EBADMSG);

	vectors_hex(json_array_get(all, 3), "message", msg, sizeof(msg));
	assert_true(wg_cookie_check_mac1(&check_r, msg, sizeof(msg)));
	assert_int_equal(answer(&r, msg, 1000, response, &session), -EINVAL);
	assert_true(sodium_is_zero(r.peer.greatest, WG_TIMESTAMP_LEN));

	initiate(&i, msg);
	vectors_hex(json_array_get(all, 4), "message", response, sizeof(response));
	assert_true(wg_cookie_check_mac1(&check_i, response, sizeof(response)));
	assert_int_equal(consume(&i, response, &session), -EBADMSG);
	assert_true(sodium_is_zero((uint8_t *)&session, sizeof(session)));
	/* The waiting handshake is as it was: the good response still counts (1.6). */
	vectors_hex(psk_case(state), "response", response, sizeof(response));
	assert_int_equal(consume(&i, response, &session), 0);
}

static void every_flipped_bit_is_refused(void **state)
{
	uint8_t good[WG_INITIATION_LEN], msg[WG_INITIATION_LEN], response[WG_RESPONSE_LEN];
	struct wg_cookie_checker check;
	struct wg_noise_session session;
	struct side i, r;

	load_handshake(psk_case(state), &i, &r);
	wg_cookie_checker_init(&check, r.public_key, NULL, NULL);
	initiate(&i, good);
	for (size_t at = 0; at < WG_INITIATION_MAC2; at++) {
		memcpy(msg, good, sizeof(msg));
		msg[at] ^= (uint8_t)(1u << at % 8);
		assert_false(wg_cookie_check_mac1(&check, msg, sizeof(msg)));
		/* A forger who knows our public key can repair MAC1: then an AEAD must fail. */
		if (at < WG_INITIATION_EPHEMERAL || at >= WG_INITIATION_MAC1)
			continue;
		assert_int_not_equal(answer(&r, msg, 1000, response, &session), 0);
	}
	assert_true(sodium_is_zero(r.peer.greatest, WG_TIMESTAMP_LEN));
	assert_int_equal(answer(&r, good, 1000, response, &session), 0);
	memcpy(msg, response, sizeof(response));
	for (size_t at = WG_RESPONSE_EPHEMERAL; at < WG_RESPONSE_MAC1; at++) {
		msg[at] ^= 1;
		assert_int_not_equal(consume(&i, msg, &session), 0);
		msg[at] ^= 1;
	}
	assert_int_equal(consume(&i, msg, &session), 0);
}

static void wrong_psk_shows_at_the_initiator(void **state)
{
	uint8_t msg[WG_INITIATION_LEN], response[WG_RESPONSE_LEN];
	struct wg_noise_session session;
	struct side i, r;

	load_handshake(psk_case(state), &i, &r);
	i.peer.psk[0] ^= 1;
	initiate(&i, msg);
	assert_int_equal(answer(&r, msg, 1000, response, &session), 0);
	assert_int_equal(consume(&i, response, &session), -EBADMSG);
	/* A changed PSK reaches the handshake that waits. */
	i.peer.psk[0] ^= 1;
	assert_int_equal(consume(&i, response, &session), 0);
}

static void claimed_key_without_private_key(void **state)
{
	uint8_t msg[WG_INITIATION_LEN], response[WG_RESPONSE_LEN], forged_ss[32] = { 1 };
	struct wg_noise_session session;
	struct wg_noise_opened opened;
	struct side i, r;

	load_handshake(psk_case(state), &i, &r);
	/* What somebody has who knows both public keys only. */
	memcpy(i.peer.ss, forged_ss, 32);
	initiate(&i, msg);
	assert_int_equal(wg_noise_open_initiation(&r.local, msg, &opened), 0);
	assert_memory_equal(opened.peer_key, i.public_key, 32);
	assert_int_equal(opened.remote_index, i.index);
	assert_int_equal(wg_noise_accept_initiation(&opened, r.peer.ss), -EBADMSG);
	assert_true(sodium_is_zero(opened.timestamp, sizeof(opened.timestamp)));
	assert_int_equal(answer(&r, msg, 1000, response, &session), -EBADMSG);
	assert_true(sodium_is_zero(r.peer.greatest, WG_TIMESTAMP_LEN));
	assert_int_equal(r.peer.admitted_at, 0);
}

static void crossing_initiations(void **state)
{
	uint8_t from_a[WG_INITIATION_LEN], from_b[WG_INITIATION_LEN];
	uint8_t by_a[WG_RESPONSE_LEN], by_b[WG_RESPONSE_LEN];
	struct wg_noise_session a_sent, a_answered, b_sent, b_answered;
	struct side a, b;

	load_handshake(psk_case(state), &a, &b);
	memcpy(b.timestamp, a.timestamp, sizeof(b.timestamp));
	initiate(&a, from_a);
	initiate(&b, from_b);
	randombytes_buf(a.ephemeral, 32);
	randombytes_buf(b.ephemeral, 32);
	a.index++;
	b.index++;
	assert_int_equal(answer(&a, from_b, 1000, by_a, &a_answered), 0);
	assert_int_equal(answer(&b, from_a, 1000, by_b, &b_answered), 0);
	assert_int_equal(consume(&a, by_b, &a_sent), 0);
	assert_int_equal(consume(&b, by_a, &b_sent), 0);
	assert_memory_equal(a_sent.send_key, b_answered.receive_key, 32);
	assert_memory_equal(b_sent.send_key, a_answered.receive_key, 32);
}

static void newer_initiation_replaces_older(void **state)
{
	uint8_t first[WG_INITIATION_LEN], second[WG_INITIATION_LEN], response[WG_RESPONSE_LEN];
	struct wg_noise_session session;
	struct side i, r;

	load_handshake(psk_case(state), &i, &r);
	initiate(&i, first);
	assert_int_equal(answer(&r, first, 1000, response, &session), 0);
	i.index++;
	initiate(&i, second);
	assert_int_equal(consume(&i, response, &session), -ENOENT);
	wg_noise_peer_forget(&i.peer);
	assert_int_equal(consume(&i, response, &session), -ENOENT);
}

static void replay_and_flood(void **state)
{
	struct wg_noise_opened o = { 0 };
	const uint64_t t = 5 * WG_SECOND;
	struct side i, r;

	load_handshake(psk_case(state), &i, &r);
	wg_tai64n(o.timestamp, 1000, 0);
	assert_int_equal(wg_noise_admit(&r.peer, &o, t), 0);
	assert_int_equal(wg_noise_admit(&r.peer, &o, t + WG_SECOND), -EALREADY);
	/* One nanosecond more is newer: all 12 bytes count (1.7). */
	o.timestamp[11] = 1;
	assert_int_equal(wg_noise_admit(&r.peer, &o, t + 20000), -EBUSY);
	assert_int_equal(wg_noise_admit(&r.peer, &o, t + 20001), 0);
	/* Refused ones do not count: neither for the rate nor for the greatest. */
	o.timestamp[11] = 2;
	assert_int_equal(wg_noise_admit(&r.peer, &o, t + 20002), -EBUSY);
	assert_int_equal(wg_noise_admit(&r.peer, &o, t + 40002), 0);
	wg_tai64n(o.timestamp, 999, 999999999);
	assert_int_equal(wg_noise_admit(&r.peer, &o, t + WG_SECOND), -EALREADY);
	/* Per peer, not per session: a reset and a new key of ours do not forget it. */
	wg_noise_peer_forget(&r.peer);
	assert_int_equal(wg_noise_peer_rekey(&r.peer, &r.local), 0);
	assert_int_equal(wg_noise_admit(&r.peer, &o, t + 2 * WG_SECOND), -EALREADY);
}

static void no_zero_secrets(void **state)
{
	/* Points of small order (RFC 7748 6.1): any private key gives the all-zero secret. */
	static const uint8_t order[][32] = { { 0 }, { 1 } };
	uint8_t msg[WG_INITIATION_LEN], response[WG_RESPONSE_LEN], zero[32] = { 0 };
	struct wg_noise_opened opened;
	struct wg_noise_session session;
	struct wg_noise_peer peer;
	struct side i, r;

	load_handshake(psk_case(state), &i, &r);
	for (size_t n = 0; n < sizeof(order) / sizeof(order[0]); n++) {
		assert_int_equal(wg_noise_peer_init(&peer, &i.local, order[n], NULL), -EINVAL);
		assert_int_equal(wg_noise_create_initiation(&i.local, &peer, 1, msg), -EINVAL);
		assert_true(sodium_is_zero(msg, sizeof(msg)));
		assert_false(peer.sent.waiting);

		initiate(&i, msg);
		assert_int_equal(answer(&r, msg, 1000, response, &session), 0);
		memcpy(response + WG_RESPONSE_EPHEMERAL, order[n], 32);
		assert_int_equal(consume(&i, response, &session), -EINVAL);
		assert_true(i.peer.sent.waiting);

		assert_int_equal(wg_noise_open_initiation(&r.local, msg, &opened), 0);
		assert_int_equal(wg_noise_accept_initiation(&opened, zero), -EINVAL);
		memcpy(opened.ephemeral, order[n], 32);
		assert_int_equal(wg_noise_create_response(&r.local, &r.peer, &opened, 1, response,
							  &session), -EINVAL);
		assert_true(sodium_is_zero(response, sizeof(response)));
		memset(r.peer.greatest, 0, sizeof(r.peer.greatest));
		r.peer.admitted_at = 0;
	}
}

static void identity_failure_is_passed_on(void **state)
{
	uint8_t msg[WG_INITIATION_LEN], response[WG_RESPONSE_LEN];
	struct wg_noise_session session;
	struct side i, r;

	load_handshake(psk_case(state), &i, &r);
	initiate(&i, msg);
	assert_int_equal(answer(&r, msg, 1000, response, &session), 0);
	i.dh_result = -EIO;
	assert_int_equal(consume(&i, response, &session), -EIO);
	assert_true(i.peer.sent.waiting);
	assert_int_equal(wg_noise_peer_rekey(&i.peer, &i.local), -EIO);
	assert_int_equal(wg_noise_create_initiation(&i.local, &i.peer, 1, msg), -EINVAL);
}

static void tai64n_labels(void **state)
{
	json_t *all = vectors_at(*state, "tai64n"), *v;
	uint8_t got[WG_TIMESTAMP_LEN];
	size_t n;

	assert_true(json_array_size(all) >= 5);
	json_array_foreach(all, n, v) {
		wg_tai64n(got, (int64_t)vectors_number(v, "unix_sec"),
			  (uint32_t)vectors_number(v, "nsec"));
		expect(v, "label_whitened", got, sizeof(got));
	}
	wg_tai64n(got, -5, 500);
	expect(json_array_get(all, 0), "label_whitened", got, sizeof(got));
}

static void tai64n_never_goes_back(void **state)
{
	uint8_t last[WG_TIMESTAMP_LEN], label[WG_TIMESTAMP_LEN];

	(void)state;
	wg_tai64n(last, 1800000000, 0);
	/* The clock stepped back a year: a thousand initiations are still newer and newer. */
	for (int i = 0; i < 1000; i++) {
		wg_tai64n(label, 1770000000, 0);
		wg_tai64n_after(label, last);
		assert_true(memcmp(label, last, sizeof(label)) > 0);
		assert_int_equal(label[9] | label[10] | label[11], 0);
		memcpy(last, label, sizeof(last));
	}
	/* 1000 steps of 16.7 ms: the label is still near the old one, */
	wg_tai64n(label, 1800000000 + 17, 0);
	assert_true(memcmp(label, last, sizeof(label)) > 0);
	/* and a clock that is ahead again is left alone. */
	wg_tai64n(label, 1900000000, 1 << 24);
	wg_tai64n_after(label, last);
	wg_tai64n(last, 1900000000, 1 << 24);
	assert_memory_equal(label, last, sizeof(last));
}

static int setup(void **state)
{
	if (sodium_init() == -1)
		return -1;
	*state = vectors_load();
	return 0;
}

static int teardown(void **state)
{
	json_decref(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(refused_messages),
		cmocka_unit_test(every_flipped_bit_is_refused),
		cmocka_unit_test(wrong_psk_shows_at_the_initiator),
		cmocka_unit_test(claimed_key_without_private_key),
		cmocka_unit_test(crossing_initiations),
		cmocka_unit_test(newer_initiation_replaces_older),
		cmocka_unit_test(replay_and_flood),
		cmocka_unit_test(no_zero_secrets),
		cmocka_unit_test(identity_failure_is_passed_on),
		cmocka_unit_test(tai64n_labels),
		cmocka_unit_test(tai64n_never_goes_back),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
