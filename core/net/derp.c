/*
 * DERP frames. One table says who sends a type and which lengths it has; a length is judged by the
 * header alone, before any of the payload has come, so that nothing is kept that will not be used.
 */
#include <warren/derp.h>

#include <errno.h>
#include <string.h>

#include <warren/service/identity.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/util.h"

enum {
	KEY = 32, BOX = WARREN_BOX_OVERHEAD,
	LONGER = 1024,			/* room for what later versions add */
	SKIP_CLIENT = 1 << 20,		/* path-protocols.md 1.4: most that a client reads */
	SKIP_SERVER = 10 << 20,		/* and that anybody writes */
	PING_MAX = 1000, ADDRESS = 18, MSEC = 1000,
};
enum { S = WARREN_DERP_CLIENT, C = WARREN_DERP_SERVER };	/* sender: the other one reads */

static const uint8_t magic[8] = { 0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91 };

struct rule {
	const char *name;		/* NULL: no such type */
	uint32_t readers;
	uint32_t min, max;		/* of the payload */
	uint32_t fixed;			/* bytes before `data` */
	uint32_t data_max;
};
static const struct rule rules[] = {
	[WARREN_DERP_SERVER_KEY] = { "ServerKey", S, sizeof(magic) + KEY, LONGER,
				     sizeof(magic) + KEY, 0 },
	[WARREN_DERP_CLIENT_INFO] = { "ClientInfo", C, KEY + BOX, KEY + BOX + WARREN_DERP_INFO_MAX,
				      KEY, BOX + WARREN_DERP_INFO_MAX },
	[WARREN_DERP_SERVER_INFO] = { "ServerInfo", S, BOX, BOX + WARREN_DERP_INFO_MAX, 0,
				      BOX + WARREN_DERP_INFO_MAX },
	[WARREN_DERP_SEND_PACKET] = { "SendPacket", C, KEY, KEY + WARREN_DERP_PACKET_MAX, KEY,
				      WARREN_DERP_PACKET_MAX },
	[WARREN_DERP_RECV_PACKET] = { "RecvPacket", S, KEY, KEY + WARREN_DERP_PACKET_MAX, KEY,
				      WARREN_DERP_PACKET_MAX },
	[WARREN_DERP_KEEP_ALIVE] = { "KeepAlive", S, 0, LONGER, 0, 0 },
	[WARREN_DERP_NOTE_PREFERRED] = { "NotePreferred", C, 1, 1, 1, 0 },
	[WARREN_DERP_PEER_GONE] = { "PeerGone", S, KEY, LONGER, KEY + 1, 0 },
	[WARREN_DERP_PEER_PRESENT] = { "PeerPresent", S, KEY, LONGER, KEY + ADDRESS + 1, 0 },
	[WARREN_DERP_FORWARD_PACKET] = { "ForwardPacket", C, KEY + KEY,
					 KEY + KEY + WARREN_DERP_PACKET_MAX, KEY + KEY,
					 WARREN_DERP_PACKET_MAX },
	[WARREN_DERP_WATCH_CONNS] = { "WatchConns", C, 0, 0, 0, 0 },
	[WARREN_DERP_CLOSE_PEER] = { "ClosePeer", C, KEY, KEY, KEY, 0 },
	[WARREN_DERP_PING] = { "Ping", S | C, WARREN_DERP_PING_DATA, PING_MAX, 0,
			       WARREN_DERP_PING_DATA },
	[WARREN_DERP_PONG] = { "Pong", S | C, WARREN_DERP_PING_DATA, PING_MAX, 0,
			       WARREN_DERP_PING_DATA },
	[WARREN_DERP_HEALTH] = { "Health", S, 0, WARREN_DERP_INFO_MAX, 0, WARREN_DERP_INFO_MAX },
	[WARREN_DERP_RESTARTING] = { "Restarting", S, 8, LONGER, 8, 0 },
};

static const struct rule *rule_of(uint32_t type)
{
	return type < ARRAY_SIZE(rules) && rules[type].name ? &rules[type] : NULL;
}

const char *warren_derp_name(uint32_t type)
{
	const struct rule *rule = rule_of(type);

	return rule ? rule->name : NULL;
}

/*
 * ---- Reading ----
 */

static void read_present(struct buf_reader *r, struct warren_derp_frame *frame)
{
	struct warren_addr mapped = { .family = 6 };

	if (buf_left(r) < ADDRESS)
		return;
	buf_bytes(r, mapped.bytes, sizeof(mapped.bytes));
	frame->address.addr = addr_unmap(&mapped);
	buf_be16(r, &frame->address.port);
	if (buf_left(r) > 0)
		buf_u8(r, &frame->flags);
}

static void read_restarting(struct buf_reader *r, struct warren_derp_frame *frame)
{
	uint32_t in, during;

	buf_be32(r, &in);
	buf_be32(r, &during);
	frame->reconnect_in = (uint64_t)in * MSEC;
	frame->try_for = (uint64_t)during * MSEC;
}

/* @r is of a length that the type allows. False: malformed all the same. */
static bool take_apart(struct buf_reader *r, struct warren_derp_frame *frame)
{
	uint8_t byte;

	switch (frame->type) {
	case WARREN_DERP_SERVER_KEY:
		if (memcmp(buf_view(r, sizeof(magic)), magic, sizeof(magic)) != 0)
			return false;
		frame->key = buf_view(r, KEY);
		return true;
	case WARREN_DERP_NOTE_PREFERRED:
		buf_u8(r, &byte);
		frame->preferred = byte != 0;
		return true;
	case WARREN_DERP_PEER_GONE:
		frame->key = buf_view(r, KEY);
		if (buf_left(r) > 0)
			buf_u8(r, &frame->reason);
		return true;
	case WARREN_DERP_PEER_PRESENT:
		frame->key = buf_view(r, KEY);
		read_present(r, frame);
		return true;
	case WARREN_DERP_RESTARTING:
		read_restarting(r, frame);
		return true;
	case WARREN_DERP_PING:
	case WARREN_DERP_PONG:
		frame->len = WARREN_DERP_PING_DATA;
		frame->data = buf_view(r, frame->len);
		return true;
	case WARREN_DERP_KEEP_ALIVE:
		return true;
	default:			/* keys, then data */
		if (rules[frame->type].fixed >= KEY)
			frame->key = buf_view(r, KEY);
		if (frame->type == WARREN_DERP_FORWARD_PACKET)
			frame->to = buf_view(r, KEY);
		frame->len = buf_left(r);
		frame->data = frame->len > 0 ? buf_view(r, frame->len) : NULL;
		return true;
	}
}

/* What to do about a frame by its header: 0 read it, WARREN_PENDING pass it over, or -errno. */
static int judge(struct warren_derp_reader *reader, uint8_t type, uint32_t len,
		 struct warren_err *err)
{
	const struct rule *rule = rule_of(type);
	bool server = reader->side == WARREN_DERP_SERVER;

	if (len > (server ? SKIP_SERVER : SKIP_CLIENT)) {
		warren_fail(err, NULL, "the other side announced a frame of %u bytes, type 0x%02x: "
			    "longer than any frame of DERP", len, type);
		return -EMSGSIZE;
	}
	if (!rule || !(rule->readers & reader->side)) {
		reader->unknown++;
		return WARREN_PENDING;
	}
	if (len >= rule->min && len <= rule->max)
		return 0;
	if (server) {
		warren_fail(err, NULL, "a %s frame of %u bytes: %u to %u are possible", rule->name,
			    len, rule->min, rule->max);
		return len > rule->max ? -EMSGSIZE : -EBADMSG;
	}
	reader->malformed++;
	return WARREN_PENDING;
}

static size_t pass_over(struct warren_derp_reader *reader, size_t left)
{
	size_t n = reader->skip < left ? (size_t)reader->skip : left;

	reader->skip -= n;
	return n;
}

int warren_derp_read(struct warren_derp_reader *reader, const uint8_t *data, size_t len,
		     size_t *used, struct warren_derp_frame *frame, struct warren_err *err)
{
	*used = 0;
	for (;;) {
		struct buf_reader r, payload;
		uint32_t length;
		uint8_t type;
		int result;

		*used += pass_over(reader, len - *used);
		if (len - *used < WARREN_DERP_HEADER)
			return WARREN_PENDING;
		buf_reader_init(&r, data + *used, len - *used);
		buf_u8(&r, &type);
		buf_be32(&r, &length);
		result = judge(reader, type, length, err);
		if (result < 0)
			return result;
		if (result == WARREN_PENDING) {
			reader->skip = length;
			*used += WARREN_DERP_HEADER;
			continue;
		}
		if (!buf_sub(&r, length, &payload))
			return WARREN_PENDING;
		*frame = (struct warren_derp_frame){ .size = sizeof(*frame), .type = type };
		*used += WARREN_DERP_HEADER + (size_t)length;
		if (take_apart(&payload, frame))
			return 0;
		if (reader->side == WARREN_DERP_SERVER) {
			warren_fail(err, NULL, "a malformed %s frame", rules[type].name);
			return -EBADMSG;
		}
		reader->malformed++;
	}
}

/*
 * ---- Writing ----
 */

static void write_present(struct buf_writer *w, const struct warren_derp_frame *frame)
{
	const struct warren_addr *addr = &frame->address.addr;

	if (addr->family == 4) {
		buf_put_zero(w, 10);
		buf_put_be16(w, 0xffff);
		buf_put_bytes(w, addr->bytes, 4);
	} else {
		buf_put_bytes(w, addr->bytes, 16);
	}
	buf_put_be16(w, frame->address.port);
	buf_put_u8(w, frame->flags);
}

static bool can_write(const struct warren_derp_frame *frame, const struct rule *rule)
{
	size_t len = rule->fixed + frame->len;

	if (frame->len > rule->data_max || len < rule->min || len > rule->max)
		return false;
	if ((frame->type == WARREN_DERP_PING || frame->type == WARREN_DERP_PONG) &&
	    frame->len != WARREN_DERP_PING_DATA)
		return false;
	if (frame->type == WARREN_DERP_FORWARD_PACKET && !frame->to)
		return false;
	return rule->fixed < KEY || frame->key;
}

size_t warren_derp_head(const struct warren_derp_frame *frame, uint8_t out[WARREN_DERP_HEAD_MAX])
{
	const struct rule *rule = rule_of(frame->type);
	struct buf_writer w;

	if (!rule || !can_write(frame, rule))
		return 0;
	buf_writer_init(&w, out, WARREN_DERP_HEAD_MAX);
	buf_put_u8(&w, (uint8_t)frame->type);
	buf_put_be32(&w, (uint32_t)(rule->fixed + frame->len));
	if (frame->type == WARREN_DERP_SERVER_KEY)
		buf_put_bytes(&w, magic, sizeof(magic));
	if (rule->fixed >= KEY)
		buf_put_bytes(&w, frame->key, KEY);
	switch (frame->type) {
	case WARREN_DERP_FORWARD_PACKET:
		buf_put_bytes(&w, frame->to, KEY);
		break;
	case WARREN_DERP_NOTE_PREFERRED:
		buf_put_u8(&w, frame->preferred);
		break;
	case WARREN_DERP_PEER_GONE:
		buf_put_u8(&w, frame->reason);
		break;
	case WARREN_DERP_PEER_PRESENT:
		write_present(&w, frame);
		break;
	case WARREN_DERP_RESTARTING:
		buf_put_be32(&w, (uint32_t)(frame->reconnect_in / MSEC));
		buf_put_be32(&w, (uint32_t)(frame->try_for / MSEC));
		break;
	default:
		break;
	}
	return buf_written(&w);
}

size_t warren_derp_put(const struct warren_derp_frame *frame, uint8_t *out, size_t size)
{
	uint8_t head[WARREN_DERP_HEAD_MAX];
	size_t n = warren_derp_head(frame, head);
	struct buf_writer w;

	if (n == 0)
		return 0;
	buf_writer_init(&w, out, size);
	buf_put_bytes(&w, head, n);
	if (frame->len > 0)
		buf_put_bytes(&w, frame->data, frame->len);
	return buf_written(&w);
}
