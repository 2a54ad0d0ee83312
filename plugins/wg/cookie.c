/*
 * MAC1 is a keyed hash over all bytes before it, MAC2 over all bytes before it with MAC1; both end
 * the message, so their offsets follow from the length of the message alone. A cookie is a keyed
 * hash of the source under a secret that lives for 120 s: nothing is kept per source.
 */
#include "cookie.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/blake2s.h"

#include "wire.h"

static const uint8_t label_mac1[8] = "mac1----";
static const uint8_t label_cookie[8] = "cookie--";

static void label_key(uint8_t out[32], const uint8_t label[8], const uint8_t public_key[32])
{
	struct blake2s s;

	blake2s_init(&s, WG_HASH_LEN, NULL, 0);
	blake2s_update(&s, label, 8);
	blake2s_update(&s, public_key, WG_KEY_LEN);
	blake2s_final(&s, out);
}

void wg_cookie_checker_init(struct wg_cookie_checker *checker, const uint8_t public_key[32],
			    wg_random_fn *random, void *random_arg)
{
	memset(checker, 0, sizeof(*checker));
	checker->random = random;
	checker->random_arg = random_arg;
	label_key(checker->mac1_key, label_mac1, public_key);
	label_key(checker->reply_key, label_cookie, public_key);
}

void wg_cookie_checker_wipe(struct wg_cookie_checker *checker)
{
	sodium_memzero(checker, sizeof(*checker));
}

void wg_cookie_peer_init(struct wg_cookie_peer *peer, const uint8_t public_key[32])
{
	memset(peer, 0, sizeof(*peer));
	label_key(peer->mac1_key, label_mac1, public_key);
	label_key(peer->reply_key, label_cookie, public_key);
}

void wg_cookie_peer_wipe(struct wg_cookie_peer *peer)
{
	sodium_memzero(peer, sizeof(*peer));
}

size_t wg_cookie_source_udp(uint8_t out[WG_COOKIE_SOURCE_UDP_MAX],
			    const struct warren_addrport *from)
{
	size_t len = from->addr.family == 4 ? 4 : from->addr.family == 6 ? 16 : 0;

	if (!len)
		return 0;
	memcpy(out, from->addr.bytes, len);
	wg_store_be16(out + len, from->port);
	return len + 2;
}

static void mac(uint8_t out[WG_MAC_LEN], const uint8_t *key, size_t key_len,
		const uint8_t *data, size_t len)
{
	blake2s(out, WG_MAC_LEN, key, key_len, data, len);
}

static size_t mac1_at(size_t len)
{
	return len - 2 * WG_MAC_LEN;
}

static size_t mac2_at(size_t len)
{
	return len - WG_MAC_LEN;
}

bool wg_cookie_check_mac1(const struct wg_cookie_checker *checker, const uint8_t *msg, size_t len)
{
	uint8_t want[WG_MAC_LEN];

	mac(want, checker->mac1_key, sizeof(checker->mac1_key), msg, mac1_at(len));
	return sodium_memcmp(want, msg + mac1_at(len), sizeof(want)) == 0;
}

static bool secret_fresh(const struct wg_cookie_checker *checker, uint64_t now)
{
	return checker->secret_at && now < checker->secret_at + WG_COOKIE_SECRET_TIME;
}

bool wg_cookie_check_mac2(const struct wg_cookie_checker *checker, const uint8_t *msg, size_t len,
			  const uint8_t *source, size_t source_len, uint64_t now)
{
	uint8_t cookie[WG_COOKIE_LEN], want[WG_MAC_LEN];
	bool equal;

	if (!source_len || !secret_fresh(checker, now))
		return false;
	mac(cookie, checker->secret, sizeof(checker->secret), source, source_len);
	mac(want, cookie, sizeof(cookie), msg, mac2_at(len));
	equal = sodium_memcmp(want, msg + mac2_at(len), sizeof(want)) == 0;
	sodium_memzero(cookie, sizeof(cookie));
	sodium_memzero(want, sizeof(want));
	return equal;
}

static void random_bytes(const struct wg_cookie_checker *checker, uint8_t *out, size_t len)
{
	if (checker->random)
		checker->random(checker->random_arg, out, len);
	else
		randombytes_buf(out, len);
}

void wg_cookie_make_reply(struct wg_cookie_checker *checker, const uint8_t *msg, size_t len,
			  const uint8_t *source, size_t source_len, uint64_t now,
			  uint8_t reply[WG_COOKIE_REPLY_LEN])
{
	uint8_t *nonce = reply + WG_COOKIE_REPLY_NONCE;
	uint8_t cookie[WG_COOKIE_LEN];

	if (!secret_fresh(checker, now)) {
		random_bytes(checker, checker->secret, sizeof(checker->secret));
		checker->secret_at = now;
	}
	mac(cookie, checker->secret, sizeof(checker->secret), source, source_len);
	wg_store_le32(reply, WG_COOKIE_REPLY);
	memcpy(reply + WG_COOKIE_REPLY_RECEIVER, msg + WG_INITIATION_SENDER, 4);
	random_bytes(checker, nonce, WG_COOKIE_NONCE_LEN);
	crypto_aead_xchacha20poly1305_ietf_encrypt(reply + WG_COOKIE_REPLY_COOKIE, NULL, cookie,
						   sizeof(cookie), msg + mac1_at(len), WG_MAC_LEN,
						   NULL, nonce, checker->reply_key);
	sodium_memzero(cookie, sizeof(cookie));
}

void wg_cookie_add_macs(struct wg_cookie_peer *peer, uint8_t *msg, size_t len, uint64_t now)
{
	uint8_t *mac2 = msg + mac2_at(len);

	mac(peer->mac1, peer->mac1_key, sizeof(peer->mac1_key), msg, mac1_at(len));
	memcpy(msg + mac1_at(len), peer->mac1, WG_MAC_LEN);
	peer->mac1_sent = true;
	if (peer->cookie_at && now < peer->cookie_at + WG_COOKIE_VALID_TIME)
		mac(mac2, peer->cookie, sizeof(peer->cookie), msg, mac2_at(len));
	else
		memset(mac2, 0, WG_MAC_LEN);
}

int wg_cookie_consume_reply(struct wg_cookie_peer *peer, const uint8_t reply[WG_COOKIE_REPLY_LEN],
			    uint64_t now)
{
	uint8_t cookie[WG_COOKIE_LEN];

	if (!peer->mac1_sent)
		return -ENOENT;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(cookie, NULL, NULL,
			reply + WG_COOKIE_REPLY_COOKIE, WG_COOKIE_LEN + WG_TAG_LEN,
			peer->mac1, WG_MAC_LEN, reply + WG_COOKIE_REPLY_NONCE,
			peer->reply_key) == -1)
		return -EBADMSG;
	memcpy(peer->cookie, cookie, sizeof(cookie));
	peer->cookie_at = now;
	peer->mac1_sent = false;
	sodium_memzero(cookie, sizeof(cookie));
	return 0;
}
