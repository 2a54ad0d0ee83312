/*
 * Takes inner packets apart, by the rules of control-protocol.md 8.2.
 *
 * Fragments: the first must hold the whole header of its protocol; a later one is let pass if it
 * begins at 80 bytes or beyond (the largest headers, 20 of IPv4 options aside, end before), since a
 * receiver cannot complete it without the first, which was judged.
 *
 * IPv6 extension headers are walked, so that a packet counts as what it carries. What hides its
 * destination (a routing header that is not used up) or its protocol (headers that never end, or
 * are not whole in the first fragment) cannot be judged.
 */
#include "packet.h"

#include <string.h>

#include "base/buf.h"

enum {
	LATER_FRAGMENT = 80,		/* (60 + 20) bytes: TCP and IP header at their largest */
	MORE_FRAGMENTS = 0x2000, FRAGMENT_OFFSET = 0x1fff,	/* RFC 791 3.1 */
	/* RFC 8200 4: extension headers of IPv6. */
	HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, DESTINATION_OPTIONS = 60,
	MORE_FRAGMENTS6 = 1, FRAGMENT_OFFSET6 = 0xfff8,
	EXTENSIONS = 8,			/* in one packet; the recommended order has 6 */
};

/* Can a fragment that begins at @offset, or is followed by others after @body bytes, be judged? */
static bool check_fragment(struct filter_packet *out, uint32_t offset, bool more, size_t body)
{
	out->later_fragment = offset > 0;
	/* What follows a shorter first one would be dropped: it could never be completed. */
	out->bad_fragment = offset > 0 ? offset < LATER_FRAGMENT : more && body < LATER_FRAGMENT;
	return !out->bad_fragment;
}

static bool parse_ports(struct buf_reader *r, struct filter_packet *out)
{
	return buf_be16(r, &out->source_port) && buf_be16(r, &out->port);
}

static bool parse_tcp(struct buf_reader *r, struct filter_packet *out)
{
	/* Ports, sequence, acknowledgement, offset; flags; the rest (RFC 9293 3.1). */
	return parse_ports(r, out) && buf_skip(r, 9) && buf_u8(r, &out->tcp_flags) &&
	       buf_skip(r, 6);
}

/* The header of the protocol, which must be whole. */
static bool parse_body(struct buf_reader *r, struct filter_packet *out)
{
	switch (out->protocol) {
	case 0:				/* the stock client's "unknown" */
		return false;
	case FILTER_TCP:
		return parse_tcp(r, out);
	case FILTER_UDP:
		return parse_ports(r, out) && buf_skip(r, 4);
	case FILTER_SCTP:
		return parse_ports(r, out) && buf_skip(r, 8);
	case FILTER_ICMP:
		if (out->version != 4)
			return true;
		break;
	case FILTER_ICMP6:
		if (out->version != 6)
			return true;
		break;
	case 255:			/* reserved (RFC 5237); the stock client drops it too */
		return false;
	default:
		return true;
	}
	return buf_u8(r, &out->icmp_type) && buf_u8(r, &out->icmp_code) && buf_skip(r, 2);
}

static bool parse_v4(const uint8_t *data, size_t len, struct filter_packet *out)
{
	struct buf_reader r, body;
	uint8_t first;
	uint16_t total, fragment;
	uint32_t source, destination;
	size_t header;

	buf_reader_init(&r, data, len);
	if (!buf_u8(&r, &first) || !buf_skip(&r, 1) || !buf_be16(&r, &total) || !buf_skip(&r, 2) ||
	    !buf_be16(&r, &fragment) || !buf_skip(&r, 1) || !buf_u8(&r, &out->protocol) ||
	    !buf_skip(&r, 2) || !buf_be32(&r, &source) || !buf_be32(&r, &destination))
		return false;
	header = 4 * (size_t)(first & 15);
	if (header < 20 || total < header || total > len)
		return false;
	out->source.low = source;
	out->destination.low = destination;
	out->body = (uint32_t)(total - header);
	out->offset = (uint32_t)header;
	if (!check_fragment(out, 8 * (fragment & FRAGMENT_OFFSET), fragment & MORE_FRAGMENTS,
			    out->body))
		return false;
	if (out->later_fragment)
		return true;
	buf_reader_init(&body, data + header, out->body);
	return parse_body(&body, out);
}

/* Steps over one extension header, whose number is the protocol so far. */
static bool parse_extension(struct buf_reader *r, struct filter_packet *out)
{
	uint8_t kind = out->protocol, length, segments_left;
	uint16_t fragment;

	if (!buf_u8(r, &out->protocol) || !buf_u8(r, &length))
		return false;
	if (kind == FRAGMENT)
		return buf_be16(r, &fragment) && buf_skip(r, 4) &&
		       check_fragment(out, fragment & FRAGMENT_OFFSET6,
				      fragment & MORE_FRAGMENTS6, buf_left(r));
	if (kind != ROUTING)
		return buf_skip(r, 8 * (size_t)length + 6);
	/* With segments left the packet goes elsewhere than its destination says (RFC 8200 4.4). */
	return buf_skip(r, 1) && buf_u8(r, &segments_left) && segments_left == 0 &&
	       buf_skip(r, 8 * (size_t)length + 4);
}

static bool parse_v6(const uint8_t *data, size_t len, struct filter_packet *out)
{
	struct buf_reader r, body;
	uint16_t length;
	bool fragmented = false;

	buf_reader_init(&r, data, len);
	if (!buf_skip(&r, 4) || !buf_be16(&r, &length) || !buf_u8(&r, &out->protocol) ||
	    !buf_skip(&r, 1) || !buf_be64(&r, &out->source.high) ||
	    !buf_be64(&r, &out->source.low) || !buf_be64(&r, &out->destination.high) ||
	    !buf_be64(&r, &out->destination.low) || !buf_sub(&r, length, &body))
		return false;
	for (int n = 0; n < EXTENSIONS; n++) {
		uint8_t kind = out->protocol;

		/* Hop-by-hop options come first, and there is one fragment header. */
		if ((kind == HOP_BY_HOP && n > 0) || (kind == FRAGMENT && fragmented))
			return false;
		if (kind != HOP_BY_HOP && kind != ROUTING && kind != FRAGMENT &&
		    kind != DESTINATION_OPTIONS) {
			out->body = (uint32_t)buf_left(&body);
			out->offset = (uint32_t)(body.at - data);
			return parse_body(&body, out);
		}
		if (!parse_extension(&body, out))
			return false;
		if (out->later_fragment)
			return true;
		fragmented |= kind == FRAGMENT;
	}
	return false;
}

bool filter_packet_parse(const uint8_t *data, size_t len, struct filter_packet *out)
{
	memset(out, 0, sizeof(*out));
	if (len == 0)
		return false;
	out->version = data[0] >> 4;
	if (out->version == 4)
		return parse_v4(data, len, out);
	return out->version == 6 && parse_v6(data, len, out);
}

struct warren_addr filter_addr_plain(uint8_t version, const struct filter_addr *addr)
{
	struct warren_addr out = { .family = version };
	struct buf_writer w;

	buf_writer_init(&w, out.bytes, sizeof(out.bytes));
	if (version == 4) {
		buf_put_be32(&w, (uint32_t)addr->low);
	} else {
		buf_put_be64(&w, addr->high);
		buf_put_be64(&w, addr->low);
	}
	return out;
}
