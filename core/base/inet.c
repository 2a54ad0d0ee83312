#include "base/inet.h"

enum { TTL = 64, SUM_AT = 10 };

static uint32_t add(const uint8_t *data, size_t len, uint32_t sum)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)data[i] << 8 | data[i + 1];
	if (len % 2)
		sum += (uint32_t)data[len - 1] << 8;
	return sum;
}

uint16_t inet_checksum(const void *data, size_t len, uint32_t sum)
{
	sum = add(data, len, sum);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

uint32_t inet_pseudo(const struct warren_addr *from, const struct warren_addr *to,
		     uint8_t protocol, uint16_t len)
{
	size_t n = from->family == 6 ? 16 : 4;

	return add(from->bytes, n, add(to->bytes, n, (uint32_t)protocol + len));
}

static void put_header4(struct buf_writer *w, const struct warren_addr *from,
			const struct warren_addr *to, uint8_t protocol, uint16_t len)
{
	uint8_t *header = buf_reserve(w, INET_HEADER4);
	struct buf_writer h;
	uint16_t sum;

	if (!header)
		return;
	buf_writer_init(&h, header, INET_HEADER4);
	buf_put_be16(&h, 0x4500);
	buf_put_be16(&h, (uint16_t)(INET_HEADER4 + len));
	buf_put_be32(&h, 0);
	buf_put_u8(&h, TTL);
	buf_put_u8(&h, protocol);
	buf_put_be16(&h, 0);
	buf_put_bytes(&h, from->bytes, 4);
	buf_put_bytes(&h, to->bytes, 4);
	sum = inet_checksum(header, INET_HEADER4, 0);
	header[SUM_AT] = (uint8_t)(sum >> 8);
	header[SUM_AT + 1] = (uint8_t)sum;
}

void inet_put_header(struct buf_writer *w, const struct warren_addr *from,
		     const struct warren_addr *to, uint8_t protocol, uint16_t len)
{
	if (from->family == 4) {
		put_header4(w, from, to, protocol, len);
		return;
	}
	buf_put_be32(w, UINT32_C(6) << 28);
	buf_put_be16(w, len);
	buf_put_u8(w, protocol);
	buf_put_u8(w, TTL);
	buf_put_bytes(w, from->bytes, 16);
	buf_put_bytes(w, to->bytes, 16);
}
