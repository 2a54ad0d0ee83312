/*
 * STUN as a stock node speaks it. Requests and answers of all who follow the RFC are accepted.
 */
#include <warren/stun.h>

#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/crc32.h"
#include "base/util.h"

enum {
	HEADER = 20,
	BINDING_REQUEST = 0x0001,
	BINDING_SUCCESS = 0x0101,
	BINDING_ERROR = 0x0111,
	MAPPED_ADDRESS = 0x0001,
	USERNAME = 0x0006,
	MESSAGE_INTEGRITY = 0x0008,
	ERROR_CODE = 0x0009,
	UNKNOWN_ATTRIBUTES = 0x000a,
	REALM = 0x0014,
	NONCE = 0x0015,
	XOR_MAPPED_ADDRESS = 0x0020,
	XOR_MAPPED_ADDRESS_OLD = 0x8020,	/* before RFC 5389 gave it its number */
	SOFTWARE = 0x8022,
	FINGERPRINT = 0x8028,
	FINGERPRINT_SIZE = 8,
	FAMILY_IPV4 = 1,
	FAMILY_IPV6 = 2,
	OPTIONAL = 0x8000,		/* and above: may be ignored */
	REQUEST_MAX = 548,		/* what fits any path of IPv4 (RFC 8489 6.1) */
};
#define COOKIE UINT32_C(0x2112a442)
#define FINGERPRINT_XOR UINT32_C(0x5354554e)
static const char software[8] = { 't', 'a', 'i', 'l', 'n', 'o', 'd', 'e' };

static uint32_t fingerprint(const uint8_t *data, size_t len)
{
	return crc32_of(data, len) ^ FINGERPRINT_XOR;
}

static void put_header(struct buf_writer *w, uint16_t type, uint16_t len,
		       const uint8_t txid[WARREN_STUN_TXID])
{
	buf_put_be16(w, type);
	buf_put_be16(w, len);
	buf_put_be32(w, COOKIE);
	buf_put_bytes(w, txid, WARREN_STUN_TXID);
}

/* A reader over the attributes. */
static bool get_header(struct buf_reader *attrs, const uint8_t *data, size_t len, uint16_t *type,
		       uint8_t txid[WARREN_STUN_TXID])
{
	struct buf_reader r;
	uint16_t body;
	uint32_t cookie;

	buf_reader_init(&r, data, len);
	buf_be16(&r, type);
	buf_be16(&r, &body);
	buf_be32(&r, &cookie);
	buf_bytes(&r, txid, WARREN_STUN_TXID);
	return buf_sub(&r, body, attrs) && cookie == COOKIE;
}

/* The next attribute; false: none follows, or it does not fit (@attrs has failed then). */
static bool get_attribute(struct buf_reader *attrs, uint16_t *type, struct buf_reader *value)
{
	uint16_t len;

	if (buf_left(attrs) == 0)
		return false;
	buf_be16(attrs, type);
	buf_be16(attrs, &len);
	if (!buf_sub(attrs, len, value))
		return false;
	/* Values are padded to four bytes; at the very end some servers leave that out. */
	len = (uint16_t)(-len & 3);
	if (buf_left(attrs) > 0)
		buf_skip(attrs, len);
	return true;
}

void warren_stun_request(const uint8_t txid[WARREN_STUN_TXID], uint8_t out[WARREN_STUN_REQUEST])
{
	struct buf_writer w;

	buf_writer_init(&w, out, WARREN_STUN_REQUEST);
	put_header(&w, BINDING_REQUEST, WARREN_STUN_REQUEST - HEADER, txid);
	buf_put_be16(&w, SOFTWARE);
	buf_put_be16(&w, sizeof(software));
	buf_put_bytes(&w, software, sizeof(software));
	buf_put_be16(&w, FINGERPRINT);
	buf_put_be16(&w, FINGERPRINT_SIZE - 4);
	buf_put_be32(&w, fingerprint(out, WARREN_STUN_REQUEST - FINGERPRINT_SIZE));
}

/* Those that only matter to who checks passwords are understood: we check none. */
static bool is_understood(uint16_t type)
{
	static const uint16_t known[] = {
		MAPPED_ADDRESS, USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, UNKNOWN_ATTRIBUTES, REALM,
		NONCE, XOR_MAPPED_ADDRESS,
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (known[i] == type)
			return true;
	}
	return type >= OPTIONAL;
}

static void take_attribute(uint16_t type, const struct buf_reader *value,
			   struct warren_stun_asked *out)
{
	if (type == SOFTWARE && buf_left(value) == sizeof(software))
		out->tailscale = out->tailscale ||
				 memcmp(value->at, software, sizeof(software)) == 0;
	if (!is_understood(type) && out->n_unknown < ARRAY_SIZE(out->unknown))
		out->unknown[out->n_unknown++] = type;
}

int warren_stun_request_parse(const uint8_t *data, size_t len, struct warren_stun_asked *out)
{
	struct buf_reader attrs, value;
	bool summed = false;
	uint16_t type, last;
	uint32_t sum;
	size_t end;

	*out = (struct warren_stun_asked){ .size = sizeof(*out) };
	if (!get_header(&attrs, data, len, &type, out->txid) || type != BINDING_REQUEST)
		return -EBADMSG;
	end = HEADER + buf_left(&attrs);
	if (end > REQUEST_MAX || end % 4 != 0)
		return -EBADMSG;
	while (get_attribute(&attrs, &last, &value)) {
		if (summed)
			return -EBADMSG;	/* it is the last one, or none */
		summed = last == FINGERPRINT;
		if (summed && (buf_left(&value) != 4 || !buf_be32(&value, &sum) ||
			       sum != fingerprint(data, end - FINGERPRINT_SIZE)))
			return -EBADMSG;
		take_attribute(last, &value, out);
	}
	out->tailscale = out->tailscale && summed;
	return attrs.failed ? -EBADMSG : 0;
}

size_t warren_stun_refusal(const struct warren_stun_asked *asked, uint8_t out[WARREN_STUN_ANSWER])
{
	uint16_t n = (uint16_t)(2 * asked->n_unknown), padded = (uint16_t)((n + 3) & ~3);
	struct buf_writer w;

	buf_writer_init(&w, out, WARREN_STUN_ANSWER);
	put_header(&w, BINDING_ERROR, (uint16_t)(12 + padded), asked->txid);
	buf_put_be16(&w, ERROR_CODE);
	buf_put_be16(&w, 4);
	buf_put_be32(&w, 4 << 8 | 20);	/* 420, without words */
	buf_put_be16(&w, UNKNOWN_ATTRIBUTES);
	buf_put_be16(&w, n);
	for (uint32_t i = 0; i < asked->n_unknown; i++)
		buf_put_be16(&w, asked->unknown[i]);
	if (padded > n)
		buf_put_be16(&w, 0);
	return buf_written(&w);
}

size_t warren_stun_answer(const uint8_t txid[WARREN_STUN_TXID], const struct warren_addrport *seen,
			  uint8_t out[WARREN_STUN_ANSWER])
{
	struct warren_addr addr = addr_unmap(&seen->addr);
	size_t size = addr_size(&addr);
	uint8_t *value;
	struct buf_writer w;

	if (size == 0)
		return 0;
	buf_writer_init(&w, out, WARREN_STUN_ANSWER);
	put_header(&w, BINDING_SUCCESS, (uint16_t)(8 + size), txid);
	buf_put_be16(&w, XOR_MAPPED_ADDRESS);
	buf_put_be16(&w, (uint16_t)(4 + size));
	buf_put_u8(&w, 0);
	buf_put_u8(&w, addr.family == 4 ? FAMILY_IPV4 : FAMILY_IPV6);
	buf_put_be16(&w, seen->port ^ (uint16_t)(COOKIE >> 16));
	value = buf_reserve(&w, size);
	/* Cookie and transaction, which stand together in the header, are the key. */
	for (size_t i = 0; value && i < size; i++)
		value[i] = addr.bytes[i] ^ out[4 + i];
	return buf_written(&w);
}

static bool get_address(struct buf_reader *value, bool xored, const uint8_t *key,
			struct warren_addrport *out)
{
	uint8_t zero, family;

	memset(out, 0, sizeof(*out));
	buf_u8(value, &zero);
	buf_u8(value, &family);
	buf_be16(value, &out->port);
	out->addr.family = family == FAMILY_IPV4 ? 4 : family == FAMILY_IPV6 ? 6 : 0;
	if (!buf_bytes(value, out->addr.bytes, addr_size(&out->addr)) || !out->addr.family)
		return false;
	for (size_t i = 0; xored && i < addr_size(&out->addr); i++)
		out->addr.bytes[i] ^= key[i];
	if (xored)
		out->port ^= (uint16_t)(COOKIE >> 16);
	out->addr = addr_unmap(&out->addr);
	return true;
}

int warren_stun_answer_parse(const uint8_t *data, size_t len, uint8_t txid[WARREN_STUN_TXID],
			     struct warren_addrport *seen)
{
	struct warren_addrport found, plain = { .port = 0 };
	struct buf_reader attrs, value;
	uint16_t type;

	memset(seen, 0, sizeof(*seen));
	if (!get_header(&attrs, data, len, &type, txid) || type != BINDING_SUCCESS)
		return -EBADMSG;
	while (get_attribute(&attrs, &type, &value)) {
		bool xored = type == XOR_MAPPED_ADDRESS || type == XOR_MAPPED_ADDRESS_OLD;

		if (!(xored || type == MAPPED_ADDRESS) ||
		    !get_address(&value, xored, data + 4, &found))
			continue;
		if (xored) {
			*seen = found;
			return 0;
		}
		if (!plain.addr.family)
			plain = found;
	}
	*seen = plain;
	return plain.addr.family && !attrs.failed ? 0 : -EBADMSG;
}
