#include "icmp.h"

#include <string.h>

#include "base/buf.h"
#include "base/inet.h"

enum { ICMP = 1, ECHO_REPLY = 0, ECHO_REQUEST = 8, WORD = 4 };

void icmp_put_echo(struct buf_writer *w, uint8_t type, const struct icmp_echo *echo, uint32_t sum)
{
	size_t len = ICMP_ECHO_HEADER + echo->len;
	uint8_t *out = buf_reserve(w, len);
	struct buf_writer e;
	uint16_t whole;

	if (!out)
		return;
	buf_writer_init(&e, out, len);
	buf_put_u8(&e, type);
	buf_put_zero(&e, 3);		/* code, checksum */
	buf_put_be16(&e, echo->id);
	buf_put_be16(&e, echo->seq);
	buf_put_bytes(&e, echo->data, echo->len);
	whole = inet_checksum(out, len, sum);
	out[2] = (uint8_t)(whole >> 8);
	out[3] = (uint8_t)whole;
}

size_t icmp_request(const struct icmp_echo *echo, uint8_t out[ICMP_ECHO_MAX])
{
	struct buf_writer w;

	buf_writer_init(&w, out, ICMP_ECHO_MAX);
	icmp_put_echo(&w, ECHO_REQUEST, echo, 0);
	return buf_written(&w);
}

bool icmp_reply_parse(const uint8_t *packet, size_t len, struct warren_addr *from,
		      struct icmp_echo *out)
{
	uint8_t first = 0, protocol = 0, type = 1, code = 1;
	struct buf_reader r;
	size_t header;

	memset(from, 0, sizeof(*from));
	memset(out, 0, sizeof(*out));
	buf_reader_init(&r, packet, len);
	if (!buf_u8(&r, &first) || first >> 4 != 4)
		return false;
	header = (size_t)(first & 0xf) * WORD;
	if (header < INET_HEADER4 || !buf_skip(&r, 8) || !buf_u8(&r, &protocol) ||
	    protocol != ICMP || !buf_skip(&r, 2) || !buf_bytes(&r, from->bytes, 4) ||
	    !buf_skip(&r, 4 + header - INET_HEADER4))
		return false;
	from->family = 4;
	if (len < header || inet_checksum(packet + header, len - header, 0) != 0)
		return false;
	if (!buf_u8(&r, &type) || !buf_u8(&r, &code) || type != ECHO_REPLY || code != 0 ||
	    !buf_skip(&r, 2) || !buf_be16(&r, &out->id) || !buf_be16(&r, &out->seq))
		return false;
	out->data = packet + header + ICMP_ECHO_HEADER;
	out->len = buf_left(&r);
	return true;
}
