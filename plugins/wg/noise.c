/*
 * The handshake. Chaining key and hash travel in the caller's structures (`sent`, `opened`); each
 * step works on copies and commits at the end, so that a message which fails changes nothing.
 * Names in comments are those of dataplane.md 1.6.
 */
#include "noise.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/blake2s.h"

#include "wire.h"

static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";

/* Chaining key and hash under way. */
struct symmetric {
	uint8_t ck[32], hash[32];
};

static void mix_hash(uint8_t hash[32], const uint8_t *data, size_t len)
{
	struct blake2s s;

	blake2s_init(&s, WG_HASH_LEN, NULL, 0);
	blake2s_update(&s, hash, WG_HASH_LEN);
	blake2s_update(&s, data, len);
	blake2s_final(&s, hash);
}

/* CK0, and HASH(H0 || responder's public key). */
static void begin(uint8_t ck[32], uint8_t hash[32], const uint8_t responder[32])
{
	blake2s(ck, WG_HASH_LEN, NULL, 0, construction, sizeof(construction) - 1);
	memcpy(hash, ck, WG_HASH_LEN);
	mix_hash(hash, (const uint8_t *)identifier, sizeof(identifier) - 1);
	mix_hash(hash, responder, WG_KEY_LEN);
}

static void mix_ephemeral(struct symmetric *sym, const uint8_t public_key[32])
{
	mix_hash(sym->hash, public_key, WG_KEY_LEN);
	blake2s_kdf1(sym->ck, sym->ck, public_key, WG_KEY_LEN);
}

static const uint8_t zero_nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

/* @out gets @len + 16 bytes, which are hashed in. */
static void seal(struct symmetric *sym, uint8_t *out, const uint8_t key[32],
		 const uint8_t *plain, size_t len)
{
	crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, len, sym->hash, WG_HASH_LEN,
						  NULL, zero_nonce, key);
	mix_hash(sym->hash, out, len + WG_TAG_LEN);
}

/* @sealed_len includes the tag; @out gets @sealed_len - 16 bytes. */
static bool open_sealed(struct symmetric *sym, uint8_t *out, const uint8_t key[32],
			const uint8_t *sealed, size_t sealed_len)
{
	if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed, sealed_len,
						      sym->hash, WG_HASH_LEN, zero_nonce,
						      key) == -1)
		return false;
	mix_hash(sym->hash, sealed, sealed_len);
	return true;
}

static int check_secret(const uint8_t secret[32])
{
	return sodium_is_zero(secret, WG_KEY_LEN) ? -EINVAL : 0;
}

/* DH with one of our ephemeral keys. */
static int dh_ephemeral(uint8_t out[32], const uint8_t private_key[32],
			const uint8_t public_key[32])
{
	if (crypto_scalarmult_curve25519(out, private_key, public_key) == -1)
		return -EINVAL;
	return check_secret(out);
}

/* DH with our static key, through its owner. */
static int dh_static(const struct wg_noise_local *local, uint8_t out[32],
		     const uint8_t public_key[32])
{
	int err = local->env.dh(local->env.arg, public_key, out);

	return err ? err : check_secret(out);
}

static void new_ephemeral(const struct wg_noise_local *local, uint8_t private_key[32],
			  uint8_t public_key[32])
{
	if (local->env.random)
		local->env.random(local->env.arg, private_key, WG_KEY_LEN);
	else
		randombytes_buf(private_key, WG_KEY_LEN);
	private_key[0] &= 248;		/* clamped: RFC 7748 5 */
	private_key[31] = (private_key[31] & 127) | 64;
	crypto_scalarmult_curve25519_base(public_key, private_key);
}

void wg_noise_local_init(struct wg_noise_local *local, const struct wg_noise_env *env,
			 const uint8_t public_key[32])
{
	uint8_t ck[32];

	local->env = *env;
	memcpy(local->public_key, public_key, WG_KEY_LEN);
	begin(ck, local->hash, public_key);
}

void wg_noise_peer_init_ss(struct wg_noise_peer *peer, const uint8_t public_key[32],
			   const uint8_t ss[32], const uint8_t *psk)
{
	memset(peer, 0, sizeof(*peer));
	memcpy(peer->public_key, public_key, WG_KEY_LEN);
	memcpy(peer->ss, ss, WG_KEY_LEN);
	if (psk)
		memcpy(peer->psk, psk, WG_KEY_LEN);
}

int wg_noise_peer_init(struct wg_noise_peer *peer, const struct wg_noise_local *local,
		       const uint8_t public_key[32], const uint8_t *psk)
{
	static const uint8_t none[32];

	wg_noise_peer_init_ss(peer, public_key, none, psk);
	return wg_noise_peer_rekey(peer, local);
}

int wg_noise_peer_rekey(struct wg_noise_peer *peer, const struct wg_noise_local *local)
{
	int err = dh_static(local, peer->ss, peer->public_key);

	wg_noise_peer_forget(peer);
	if (err)
		sodium_memzero(peer->ss, sizeof(peer->ss));
	return err;
}

void wg_noise_peer_forget(struct wg_noise_peer *peer)
{
	sodium_memzero(&peer->sent, sizeof(peer->sent));
}

void wg_noise_peer_wipe(struct wg_noise_peer *peer)
{
	sodium_memzero(peer, sizeof(*peer));
}

void wg_noise_opened_wipe(struct wg_noise_opened *opened)
{
	sodium_memzero(opened, sizeof(*opened));
}

void wg_noise_session_wipe(struct wg_noise_session *session)
{
	sodium_memzero(session, sizeof(*session));
}

int wg_noise_create_initiation(const struct wg_noise_local *local, struct wg_noise_peer *peer,
			       uint32_t index, uint8_t msg[WG_INITIATION_LEN])
{
	struct wg_noise_sent *sent = &peer->sent;
	uint8_t *ephemeral = msg + WG_INITIATION_EPHEMERAL;
	uint8_t timestamp[WG_TIMESTAMP_LEN], dh[32], key[32];
	struct symmetric sym;
	int err;

	wg_noise_peer_forget(peer);
	memset(msg, 0, WG_INITIATION_LEN);
	begin(sym.ck, sym.hash, peer->public_key);
	new_ephemeral(local, sent->ephemeral, ephemeral);
	err = dh_ephemeral(dh, sent->ephemeral, peer->public_key);
	if (!err)
		err = check_secret(peer->ss);
	if (err)
		goto out;

	wg_store_le32(msg, WG_INITIATION);
	wg_store_le32(msg + WG_INITIATION_SENDER, index);
	mix_ephemeral(&sym, ephemeral);
	blake2s_kdf2(sym.ck, key, sym.ck, dh, sizeof(dh));
	seal(&sym, msg + WG_INITIATION_STATIC, key, local->public_key, WG_KEY_LEN);
	blake2s_kdf2(sym.ck, key, sym.ck, peer->ss, sizeof(peer->ss));
	local->env.tai64n(local->env.arg, timestamp);
	seal(&sym, msg + WG_INITIATION_TIMESTAMP, key, timestamp, sizeof(timestamp));

	memcpy(sent->ck, sym.ck, sizeof(sent->ck));
	memcpy(sent->hash, sym.hash, sizeof(sent->hash));
	sent->index = index;
	sent->waiting = true;
out:
	if (err) {
		memset(msg, 0, WG_INITIATION_LEN);
		wg_noise_peer_forget(peer);
	}
	sodium_memzero(dh, sizeof(dh));
	sodium_memzero(key, sizeof(key));
	sodium_memzero(&sym, sizeof(sym));
	return err;
}

int wg_noise_open_initiation(const struct wg_noise_local *local,
			     const uint8_t msg[WG_INITIATION_LEN], struct wg_noise_opened *opened)
{
	const uint8_t *ephemeral = msg + WG_INITIATION_EPHEMERAL;
	uint8_t dh[32], key[32];
	struct symmetric sym;
	int err;

	memset(opened, 0, sizeof(*opened));
	err = dh_static(local, dh, ephemeral);
	if (err)
		goto out;
	blake2s(sym.ck, WG_HASH_LEN, NULL, 0, construction, sizeof(construction) - 1);
	memcpy(sym.hash, local->hash, sizeof(sym.hash));
	mix_ephemeral(&sym, ephemeral);
	blake2s_kdf2(sym.ck, key, sym.ck, dh, sizeof(dh));
	if (!open_sealed(&sym, opened->peer_key, key, msg + WG_INITIATION_STATIC,
			 WG_KEY_LEN + WG_TAG_LEN)) {
		err = -EBADMSG;
		goto out;
	}
	opened->remote_index = wg_load_le32(msg + WG_INITIATION_SENDER);
	memcpy(opened->ephemeral, ephemeral, WG_KEY_LEN);
	memcpy(opened->ck, sym.ck, sizeof(opened->ck));
	memcpy(opened->hash, sym.hash, sizeof(opened->hash));
	memcpy(opened->sealed_timestamp, msg + WG_INITIATION_TIMESTAMP,
	       sizeof(opened->sealed_timestamp));
out:
	if (err)
		wg_noise_opened_wipe(opened);
	sodium_memzero(dh, sizeof(dh));
	sodium_memzero(key, sizeof(key));
	sodium_memzero(&sym, sizeof(sym));
	return err;
}

int wg_noise_accept_initiation(struct wg_noise_opened *opened, const uint8_t ss[32])
{
	uint8_t key[32];
	struct symmetric sym;
	int err = check_secret(ss);

	if (err)
		return err;
	memcpy(sym.hash, opened->hash, sizeof(sym.hash));
	blake2s_kdf2(sym.ck, key, opened->ck, ss, WG_KEY_LEN);
	if (open_sealed(&sym, opened->timestamp, key, opened->sealed_timestamp,
			sizeof(opened->sealed_timestamp))) {
		memcpy(opened->ck, sym.ck, sizeof(opened->ck));
		memcpy(opened->hash, sym.hash, sizeof(opened->hash));
	} else {
		memset(opened->timestamp, 0, sizeof(opened->timestamp));
		err = -EBADMSG;
	}
	sodium_memzero(key, sizeof(key));
	sodium_memzero(&sym, sizeof(sym));
	return err;
}

int wg_noise_admit(struct wg_noise_peer *peer, const struct wg_noise_opened *opened, uint64_t now)
{
	if (memcmp(opened->timestamp, peer->greatest, WG_TIMESTAMP_LEN) <= 0)
		return -EALREADY;
	if (peer->admitted_at && now <= peer->admitted_at + WG_INITIATION_INTERVAL)
		return -EBUSY;
	memcpy(peer->greatest, opened->timestamp, WG_TIMESTAMP_LEN);
	peer->admitted_at = now;
	return 0;
}

/* Steps 8 and 9 up to the key of the empty AEAD. */
static void mix_psk(struct symmetric *sym, uint8_t key[32], const uint8_t psk[32])
{
	uint8_t tau[32];

	blake2s_kdf3(sym->ck, tau, key, sym->ck, psk, WG_KEY_LEN);
	mix_hash(sym->hash, tau, sizeof(tau));
	sodium_memzero(tau, sizeof(tau));
}

int wg_noise_create_response(const struct wg_noise_local *local, const struct wg_noise_peer *peer,
			     struct wg_noise_opened *opened, uint32_t index,
			     uint8_t msg[WG_RESPONSE_LEN], struct wg_noise_session *session)
{
	uint8_t *ephemeral = msg + WG_RESPONSE_EPHEMERAL;
	uint8_t private_key[32], ee[32], es[32], key[32];
	struct symmetric sym;
	int err;

	memset(msg, 0, WG_RESPONSE_LEN);
	memset(session, 0, sizeof(*session));
	memcpy(sym.ck, opened->ck, sizeof(sym.ck));
	memcpy(sym.hash, opened->hash, sizeof(sym.hash));
	new_ephemeral(local, private_key, ephemeral);
	err = dh_ephemeral(ee, private_key, opened->ephemeral);
	if (!err)
		err = dh_ephemeral(es, private_key, peer->public_key);
	if (err) {
		memset(msg, 0, WG_RESPONSE_LEN);
		goto out;
	}

	wg_store_le32(msg, WG_RESPONSE);
	wg_store_le32(msg + WG_RESPONSE_SENDER, index);
	wg_store_le32(msg + WG_RESPONSE_RECEIVER, opened->remote_index);
	mix_ephemeral(&sym, ephemeral);
	blake2s_kdf1(sym.ck, sym.ck, ee, sizeof(ee));
	blake2s_kdf1(sym.ck, sym.ck, es, sizeof(es));
	mix_psk(&sym, key, peer->psk);
	seal(&sym, msg + WG_RESPONSE_EMPTY, key, NULL, 0);

	session->local_index = index;
	session->remote_index = opened->remote_index;
	blake2s_kdf2(session->receive_key, session->send_key, sym.ck, NULL, 0);
out:
	wg_noise_opened_wipe(opened);
	sodium_memzero(private_key, sizeof(private_key));
	sodium_memzero(ee, sizeof(ee));
	sodium_memzero(es, sizeof(es));
	sodium_memzero(key, sizeof(key));
	sodium_memzero(&sym, sizeof(sym));
	return err;
}

int wg_noise_consume_response(const struct wg_noise_local *local, struct wg_noise_peer *peer,
			      const uint8_t msg[WG_RESPONSE_LEN], struct wg_noise_session *session)
{
	const struct wg_noise_sent *sent = &peer->sent;
	const uint8_t *ephemeral = msg + WG_RESPONSE_EPHEMERAL;
	uint8_t ee[32], se[32], key[32], nothing[1];
	struct symmetric sym;
	int err;

	memset(session, 0, sizeof(*session));
	if (!sent->waiting || sent->index != wg_load_le32(msg + WG_RESPONSE_RECEIVER))
		return -ENOENT;
	memcpy(sym.ck, sent->ck, sizeof(sym.ck));
	memcpy(sym.hash, sent->hash, sizeof(sym.hash));
	err = dh_ephemeral(ee, sent->ephemeral, ephemeral);
	if (!err)
		err = dh_static(local, se, ephemeral);
	if (err)
		goto out;
	mix_ephemeral(&sym, ephemeral);
	blake2s_kdf1(sym.ck, sym.ck, ee, sizeof(ee));
	blake2s_kdf1(sym.ck, sym.ck, se, sizeof(se));
	mix_psk(&sym, key, peer->psk);
	if (!open_sealed(&sym, nothing, key, msg + WG_RESPONSE_EMPTY, WG_TAG_LEN)) {
		err = -EBADMSG;
		goto out;
	}

	session->initiator = true;
	session->local_index = sent->index;
	session->remote_index = wg_load_le32(msg + WG_RESPONSE_SENDER);
	blake2s_kdf2(session->send_key, session->receive_key, sym.ck, NULL, 0);
	wg_noise_peer_forget(peer);
out:
	sodium_memzero(ee, sizeof(ee));
	sodium_memzero(se, sizeof(se));
	sodium_memzero(key, sizeof(key));
	sodium_memzero(&sym, sizeof(sym));
	return err;
}

/* 2^62 marks 1970 in TAI64, 10 s ahead of UTC; leap seconds are ignored. */
void wg_tai64n(uint8_t out[WG_TIMESTAMP_LEN], int64_t sec, uint32_t nsec)
{
	if (sec < 0)
		sec = nsec = 0;
	wg_store_be64(out, (UINT64_C(1) << 62) + 10 + (uint64_t)sec);
	wg_store_be32(out + 8, nsec & ~UINT32_C(0xffffff));
}

void wg_tai64n_after(uint8_t label[WG_TIMESTAMP_LEN], const uint8_t last[WG_TIMESTAMP_LEN])
{
	uint64_t sec = wg_load_be64(last);
	uint32_t nsec = (wg_load_be32(last + 8) & ~UINT32_C(0xffffff)) + (1u << 24);

	if (memcmp(label, last, WG_TIMESTAMP_LEN) > 0)
		return;
	if (nsec >= 1000000000) {
		nsec = 0;
		sec++;
	}
	wg_store_be64(label, sec);
	wg_store_be32(label + 8, nsec);
}
