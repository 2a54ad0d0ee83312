/*
 * Fuzz target: handshake messages. Three boxes of fixed keys and clock take the input: one that
 * gets initiations, one that waits for a response, one that waits for a cookie. MAC1 is computed
 * anew where the first byte of the input is odd, so that the fuzzer gets past it.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "../cookie.h"
#include "../noise.h"
#include "../transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct box {
	uint8_t private_key[32], public_key[32];
	struct wg_noise_local local;
	struct wg_noise_peer peer;
	struct wg_cookie_peer cookie;
	struct wg_cookie_checker checker;
};

static int box_dh(void *arg, const uint8_t peer[32], uint8_t out[32])
{
	const struct box *box = arg;

	return crypto_scalarmult_curve25519(out, box->private_key, peer) == -1 ? -22 : 0;
}

static void box_random(void *arg, uint8_t *out, size_t len)
{
	(void)arg;
	memset(out, 0x42, len);
}

static void box_tai64n(void *arg, uint8_t out[WG_TIMESTAMP_LEN])
{
	(void)arg;
	wg_tai64n(out, 1700000000, 0);
}

static void box_make(struct box *box, uint8_t fill)
{
	const struct wg_noise_env env = { box_dh, box_tai64n, box_random, box };

	memset(box->private_key, fill, sizeof(box->private_key));
	crypto_scalarmult_curve25519_base(box->public_key, box->private_key);
	wg_noise_local_init(&box->local, &env, box->public_key);
	wg_cookie_checker_init(&box->checker, box->public_key, box_random, NULL);
}

static void box_meet(struct box *box, const struct box *other)
{
	if (wg_noise_peer_init(&box->peer, &box->local, other->public_key, NULL) != 0)
		abort();
	wg_cookie_peer_init(&box->cookie, other->public_key);
}

static void take_initiation(struct box *r, const uint8_t *msg)
{
	uint8_t response[WG_RESPONSE_LEN];
	struct wg_noise_session session;
	struct wg_noise_opened opened;

	if (wg_noise_open_initiation(&r->local, msg, &opened) == 0 &&
	    wg_noise_accept_initiation(&opened, r->peer.ss) == 0 &&
	    wg_noise_admit(&r->peer, &opened, 1000) == 0)
		wg_noise_create_response(&r->local, &r->peer, &opened, 7, response, &session);
	wg_noise_opened_wipe(&opened);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t source[6] = { 192, 0, 2, 1, 0xca, 0x6c };
	uint8_t msg[WG_INITIATION_LEN], sent[WG_INITIATION_LEN], reply[WG_COOKIE_REPLY_LEN];
	struct wg_noise_session session;
	struct wg_cookie_peer fixer;
	static struct box a, b;
	uint32_t type;

	if (!size-- || size > sizeof(msg))
		return 0;
	memcpy(msg, data + 1, size);
	type = wg_message_type(msg, size);
	if (!type || type == WG_TRANSPORT)
		return 0;
	box_make(&a, 1);
	box_make(&b, 2);
	box_meet(&a, &b);
	box_meet(&b, &a);
	if (wg_noise_create_initiation(&a.local, &a.peer, 5, sent) != 0)
		abort();
	wg_cookie_add_macs(&a.cookie, sent, sizeof(sent), 1);

	if (type == WG_COOKIE_REPLY) {
		wg_cookie_consume_reply(&a.cookie, msg, 2);
		return 0;
	}
	if (data[0] & 1) {
		wg_cookie_peer_init(&fixer, type == WG_INITIATION ? b.public_key : a.public_key);
		wg_cookie_add_macs(&fixer, msg, size, 1);
	}
	if (!wg_cookie_check_mac1(type == WG_INITIATION ? &b.checker : &a.checker, msg, size))
		return 0;
	wg_cookie_make_reply(&b.checker, msg, size, source, sizeof(source), 1, reply);
	wg_cookie_check_mac2(&b.checker, msg, size, source, sizeof(source), 1);
	if (type == WG_INITIATION)
		take_initiation(&b, msg);
	else if (wg_noise_consume_response(&a.local, &a.peer, msg, &session) != 0 &&
		 !a.peer.sent.waiting)
		abort();	/* a failed response leaves the waiting handshake as it was */
	return 0;
}
