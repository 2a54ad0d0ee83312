#include "inner.h"

#include <string.h>

#include <warren/service/dataplane.h>

#include "base/buf.h"
#include "base/inet.h"
#include "icmp.h"

enum {
	ICMP = 1, ICMP6 = 58, TSMP = 99,
	ECHO_REQUEST = 8, ECHO_REPLY = 0, ECHO_REQUEST6 = 128, ECHO_REPLY6 = 129,
	TYPE_PING = 'p', TYPE_PONG = 'o',
	MARK = sizeof(WARREN_PING_MARK) - 1,
	ECHO = ICMP_ECHO_HEADER + MARK + INNER_NONCE,
};

static void put_echo(struct buf_writer *w, const struct warren_addr *from,
		     const struct warren_addr *to, const uint8_t nonce[INNER_NONCE])
{
	uint8_t data[MARK + INNER_NONCE];
	const struct icmp_echo echo = { .data = data, .len = sizeof(data) };
	bool six = from->family == 6;

	memcpy(data, WARREN_PING_MARK, MARK);
	memcpy(data + MARK, nonce, INNER_NONCE);
	icmp_put_echo(w, six ? ECHO_REQUEST6 : ECHO_REQUEST, &echo,
		      six ? inet_pseudo(from, to, ICMP6, ECHO) : 0);
}

size_t inner_ping(enum inner_kind kind, const struct warren_addr *from,
		  const struct warren_addr *to, const uint8_t nonce[INNER_NONCE],
		  uint8_t out[INNER_MAX])
{
	struct buf_writer w;

	buf_writer_init(&w, out, INNER_MAX);
	if (kind == INNER_ICMP) {
		inet_put_header(&w, from, to, from->family == 6 ? ICMP6 : ICMP, ECHO);
		put_echo(&w, from, to, nonce);
	} else {
		inet_put_header(&w, from, to, TSMP, 1 + INNER_NONCE);
		buf_put_u8(&w, TYPE_PING);
		buf_put_bytes(&w, nonce, INNER_NONCE);
	}
	return buf_written(&w);
}

/* Past the header, which has no options or extensions; those who answer us write none. */
static bool read_header(struct buf_reader *r, struct warren_addr *from, uint8_t *protocol)
{
	uint8_t first = 0;

	buf_u8(r, &first);
	from->family = first >> 4;
	if (first == 0x45)
		return buf_skip(r, 8) && buf_u8(r, protocol) && buf_skip(r, 2) &&
		       buf_bytes(r, from->bytes, 4) && buf_skip(r, 4);
	return from->family == 6 && buf_skip(r, 5) && buf_u8(r, protocol) && buf_skip(r, 1) &&
	       buf_bytes(r, from->bytes, 16) && buf_skip(r, 16);
}

bool inner_pong_parse(const uint8_t *data, size_t len, struct inner_pong *out)
{
	uint8_t protocol = 0, type = 0, mark[MARK];
	struct buf_reader r;

	memset(out, 0, sizeof(*out));
	buf_reader_init(&r, data, len);
	if (!read_header(&r, &out->from, &protocol) || !buf_u8(&r, &type))
		return false;
	if (protocol == TSMP) {
		out->kind = INNER_TSMP;
		return type == TYPE_PONG && buf_bytes(&r, out->nonce, INNER_NONCE) &&
		       buf_be16(&r, &out->port);
	}
	out->kind = INNER_ICMP;
	if (out->from.family == 6 ? protocol != ICMP6 || type != ECHO_REPLY6
				  : protocol != ICMP || type != ECHO_REPLY)
		return false;
	return buf_skip(&r, 7) && buf_bytes(&r, mark, MARK) &&
	       memcmp(mark, WARREN_PING_MARK, MARK) == 0 &&
	       buf_bytes(&r, out->nonce, INNER_NONCE);
}
