/*
 * Transport messages. The nonce is four zero bytes and the little-endian counter (1.1); there is
 * no additional data.
 */
#include "transport.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "wire.h"

/* RFC 791 3.1, RFC 8200 3 */
enum { IP4_HEADER = 20, IP4_TOTAL = 2, IP4_SOURCE = 12, IP4_DESTINATION = 16 };
enum { IP6_HEADER = 40, IP6_PAYLOAD = 4, IP6_SOURCE = 8, IP6_DESTINATION = 24 };

uint32_t wg_message_type(const uint8_t *msg, size_t len)
{
	uint32_t type;

	if (len < 4)
		return 0;
	type = wg_load_le32(msg);
	if ((type == WG_INITIATION && len == WG_INITIATION_LEN) ||
	    (type == WG_RESPONSE && len == WG_RESPONSE_LEN) ||
	    (type == WG_COOKIE_REPLY && len == WG_COOKIE_REPLY_LEN) ||
	    (type == WG_TRANSPORT && len >= WG_TRANSPORT_MIN))
		return type;
	return 0;
}

uint32_t wg_message_receiver(const uint8_t *msg, uint32_t type)
{
	return wg_load_le32(msg + (type == WG_RESPONSE ? WG_RESPONSE_RECEIVER
						       : WG_TRANSPORT_RECEIVER));
}

uint64_t wg_transport_counter(const uint8_t *msg)
{
	return wg_load_le64(msg + WG_TRANSPORT_COUNTER);
}

/* A packet longer than the MTU is padded as its remainder, as the reference does. */
size_t wg_transport_padded(size_t inner_len, size_t mtu)
{
	size_t last = inner_len > mtu ? inner_len % mtu : inner_len;
	size_t padded = (last + WG_PADDING - 1) & ~(size_t)(WG_PADDING - 1);

	if (padded > mtu)
		padded = mtu;
	return inner_len - last + padded;
}

size_t wg_transport_len(size_t inner_len, size_t mtu)
{
	return WG_TRANSPORT_HEADER + wg_transport_padded(inner_len, mtu) + WG_TAG_LEN;
}

static void make_nonce(uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES], uint64_t counter)
{
	memset(nonce, 0, 4);
	wg_store_le64(nonce + 4, counter);
}

size_t wg_transport_seal(const uint8_t key[32], uint32_t receiver, uint64_t counter,
			 uint8_t *msg, size_t inner_len, size_t mtu)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	uint8_t *inner = msg + WG_TRANSPORT_HEADER;
	size_t padded = wg_transport_padded(inner_len, mtu);

	wg_store_le32(msg, WG_TRANSPORT);
	wg_store_le32(msg + WG_TRANSPORT_RECEIVER, receiver);
	wg_store_le64(msg + WG_TRANSPORT_COUNTER, counter);
	memset(inner + inner_len, 0, padded - inner_len);
	make_nonce(nonce, counter);
	crypto_aead_chacha20poly1305_ietf_encrypt(inner, NULL, inner, padded, NULL, 0, NULL,
						  nonce, key);
	return WG_TRANSPORT_HEADER + padded + WG_TAG_LEN;
}

int wg_transport_open(const uint8_t key[32], uint8_t *msg, size_t len)
{
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	uint8_t *inner = msg + WG_TRANSPORT_HEADER;

	if (len < WG_TRANSPORT_MIN)
		return -EBADMSG;
	make_nonce(nonce, wg_transport_counter(msg));
	if (crypto_aead_chacha20poly1305_ietf_decrypt(inner, NULL, NULL, inner,
						      len - WG_TRANSPORT_HEADER, NULL, 0,
						      nonce, key) == -1)
		return -EBADMSG;
	return 0;
}

int64_t wg_inner_len(const uint8_t *inner, size_t len)
{
	uint32_t total;

	switch (len ? inner[0] >> 4 : 0) {
	case 4:
		if (len < IP4_HEADER)
			return -EINVAL;
		total = wg_load_be16(inner + IP4_TOTAL);
		if (total < IP4_HEADER)
			return -EINVAL;
		break;
	case 6:
		if (len < IP6_HEADER)
			return -EINVAL;
		/* 32 bits: a payload of 65535 must not become a short packet. */
		total = (uint32_t)wg_load_be16(inner + IP6_PAYLOAD) + IP6_HEADER;
		break;
	default:
		return -EINVAL;
	}
	return total <= len ? (int64_t)total : -EINVAL;
}

const uint8_t *wg_inner_source(const uint8_t *inner, uint32_t *family)
{
	*family = inner[0] >> 4;
	return inner + (*family == 4 ? IP4_SOURCE : IP6_SOURCE);
}

const uint8_t *wg_inner_destination(const uint8_t *inner, uint32_t *family)
{
	*family = inner[0] >> 4;
	return inner + (*family == 4 ? IP4_DESTINATION : IP6_DESTINATION);
}
