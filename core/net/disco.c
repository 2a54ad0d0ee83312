/*
 * Disco messages as bytes. Which version byte matters differs by type, and a body may be longer
 * than we know: newer nodes append. What the sender chose is bounded here, once for all readers.
 */
#include <warren/disco.h>

#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/util.h"

static const uint8_t magic[] = { 0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac };

enum {
	MESSAGE_MIN = 2,		/* type and version */
	ADDRPORT = 18,
	VNI_MAX = (1 << 24) - 1,
};
static const uint64_t lifetime_max = UINT64_C(24) * 3600 * 1000000;
static const uint8_t relay_address[4] = { 127, 3, 3, 40 };

/*
 * ---- Envelope ----
 */

void warren_disco_head(const uint8_t sender[32], uint8_t out[WARREN_DISCO_HEAD])
{
	memcpy(out, magic, sizeof(magic));
	memcpy(out + sizeof(magic), sender, 32);
}

const uint8_t *warren_disco_sender(const uint8_t *data, size_t len)
{
	if (len < WARREN_DISCO_OVERHEAD + MESSAGE_MIN || memcmp(data, magic, sizeof(magic)) != 0)
		return NULL;
	return data + sizeof(magic);
}

/*
 * ---- Addresses ----
 */

static bool get_addrport(struct buf_reader *r, struct warren_addrport *out)
{
	memset(out, 0, sizeof(*out));
	out->addr.family = 6;
	buf_bytes(r, out->addr.bytes, 16);
	if (!buf_be16(r, &out->port))
		return false;
	out->addr = addr_unmap(&out->addr);
	return true;
}

static void put_addrport(struct buf_writer *w, const struct warren_addrport *ap)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (ap->addr.family == 4) {
		buf_put_bytes(w, mapped, sizeof(mapped));
		buf_put_bytes(w, ap->addr.bytes, 4);
	} else {
		buf_put_bytes(w, ap->addr.bytes, 16);
	}
	buf_put_be16(w, ap->port);
}

static void get_addresses(struct buf_reader *r, struct warren_disco *out)
{
	struct warren_addrport beyond;

	while (buf_left(r) >= ADDRPORT) {
		if (out->n_addrs < WARREN_DISCO_ADDRESSES)
			get_addrport(r, &out->addrs[out->n_addrs++]);
		else if (get_addrport(r, &beyond))
			out->n_ignored++;
	}
}

static void put_addresses(struct buf_writer *w, const struct warren_disco *msg)
{
	for (uint32_t i = 0; i < msg->n_addrs; i++)
		put_addrport(w, &msg->addrs[i]);
}

struct warren_addrport warren_disco_relay_address(uint32_t region)
{
	struct warren_addrport ap = { .addr = { .family = 4 }, .port = (uint16_t)region };

	memcpy(ap.addr.bytes, relay_address, sizeof(relay_address));
	return ap;
}

uint32_t warren_disco_relay_region(const struct warren_addrport *addr)
{
	return addr->addr.family == 4 && memcmp(addr->addr.bytes, relay_address, 4) == 0
		       ? addr->port
		       : 0;
}

/*
 * ---- Bodies ----
 */

static void get_ping(struct buf_reader *r, struct warren_disco *out)
{
	buf_bytes(r, out->txid, sizeof(out->txid));
	if (buf_left(r) >= sizeof(out->node_key))
		out->has_node_key = buf_bytes(r, out->node_key, sizeof(out->node_key));
	out->padding = buf_left(r);
}

static void get_pong(struct buf_reader *r, struct warren_disco *out)
{
	buf_bytes(r, out->txid, sizeof(out->txid));
	get_addrport(r, &out->seen);
}

static void get_binding(struct buf_reader *r, struct warren_disco_binding *out)
{
	buf_be32(r, &out->vni);
	buf_be32(r, &out->generation);
	buf_bytes(r, out->remote, sizeof(out->remote));
	buf_bytes(r, out->challenge, sizeof(out->challenge));
	if (out->vni > VNI_MAX)
		r->failed = true;
}

/* Nanoseconds that may be negative or absurd. */
static uint64_t lifetime(uint64_t wire)
{
	uint64_t usec = wire / 1000;

	if (wire > INT64_MAX)
		return 0;
	return usec < lifetime_max ? usec : lifetime_max;
}

static void get_relay(struct buf_reader *r, struct warren_disco *out)
{
	struct warren_disco_relay *relay = &out->relay;
	uint64_t bind, steady;

	buf_bytes(r, relay->server, sizeof(relay->server));
	buf_bytes(r, relay->clients, sizeof(relay->clients));
	buf_be64(r, &relay->lamport);
	buf_be32(r, &relay->vni);
	buf_be64(r, &bind);
	buf_be64(r, &steady);
	relay->bind_usec = lifetime(bind);
	relay->steady_usec = lifetime(steady);
	if (relay->vni > VNI_MAX || buf_left(r) < ADDRPORT || buf_left(r) % ADDRPORT != 0)
		r->failed = true;
	get_addresses(r, out);
}

static bool by_version(uint32_t type)
{
	return type == WARREN_DISCO_CALL_ME_MAYBE || type >= WARREN_DISCO_CALL_ME_MAYBE_VIA;
}

int warren_disco_parse(const uint8_t *data, size_t len, struct warren_disco *out)
{
	struct buf_reader r;
	uint8_t type, version;

	memset(out, 0, sizeof(*out));
	buf_reader_init(&r, data, len);
	buf_u8(&r, &type);
	if (!buf_u8(&r, &version))
		return -EBADMSG;
	out->type = type;
	out->empty = version != 0 && by_version(type);
	if (out->empty && type <= WARREN_DISCO_ALLOCATED)
		return 0;
	switch (type) {
	case WARREN_DISCO_PING:
		get_ping(&r, out);
		break;
	case WARREN_DISCO_PONG:
		get_pong(&r, out);
		break;
	case WARREN_DISCO_CALL_ME_MAYBE:
		/* A list of another length is an empty one: it still takes back what was named. */
		if (buf_left(&r) % ADDRPORT == 0)
			get_addresses(&r, out);
		break;
	case WARREN_DISCO_BIND:
	case WARREN_DISCO_BIND_CHALLENGE:
	case WARREN_DISCO_BIND_ANSWER:
		get_binding(&r, &out->binding);
		break;
	case WARREN_DISCO_ALLOCATE:
		buf_bytes(&r, out->clients, sizeof(out->clients));
		buf_be32(&r, &out->generation);
		break;
	case WARREN_DISCO_ALLOCATED:
		buf_be32(&r, &out->generation);
		get_relay(&r, out);
		break;
	case WARREN_DISCO_CALL_ME_MAYBE_VIA:
		get_relay(&r, out);
		break;
	default:
		return -ENOMSG;
	}
	return r.failed ? -EBADMSG : 0;
}

static void put_binding(struct buf_writer *w, const struct warren_disco_binding *b)
{
	buf_put_be32(w, b->vni);
	buf_put_be32(w, b->generation);
	buf_put_bytes(w, b->remote, sizeof(b->remote));
	buf_put_bytes(w, b->challenge, sizeof(b->challenge));
}

static void put_relay(struct buf_writer *w, const struct warren_disco *msg)
{
	const struct warren_disco_relay *relay = &msg->relay;

	buf_put_bytes(w, relay->server, sizeof(relay->server));
	buf_put_bytes(w, relay->clients, sizeof(relay->clients));
	buf_put_be64(w, relay->lamport);
	buf_put_be32(w, relay->vni);
	buf_put_be64(w, relay->bind_usec * 1000);
	buf_put_be64(w, relay->steady_usec * 1000);
	put_addresses(w, msg);
}

static int put_body(struct buf_writer *w, const struct warren_disco *msg)
{
	switch (msg->type) {
	case WARREN_DISCO_PING:
		buf_put_bytes(w, msg->txid, sizeof(msg->txid));
		if (msg->has_node_key)
			buf_put_bytes(w, msg->node_key, sizeof(msg->node_key));
		buf_put_zero(w, msg->padding);
		return 0;
	case WARREN_DISCO_PONG:
		buf_put_bytes(w, msg->txid, sizeof(msg->txid));
		put_addrport(w, &msg->seen);
		return 0;
	case WARREN_DISCO_CALL_ME_MAYBE:
		put_addresses(w, msg);
		return 0;
	case WARREN_DISCO_BIND:
	case WARREN_DISCO_BIND_CHALLENGE:
	case WARREN_DISCO_BIND_ANSWER:
		put_binding(w, &msg->binding);
		return 0;
	case WARREN_DISCO_ALLOCATE:
		buf_put_bytes(w, msg->clients, sizeof(msg->clients));
		buf_put_be32(w, msg->generation);
		return 0;
	case WARREN_DISCO_ALLOCATED:
		buf_put_be32(w, msg->generation);
		put_relay(w, msg);
		return 0;
	case WARREN_DISCO_CALL_ME_MAYBE_VIA:
		put_relay(w, msg);
		return 0;
	default:
		return -EINVAL;
	}
}

int warren_disco_format(const struct warren_disco *msg, uint8_t *out, size_t size)
{
	struct buf_writer w;

	if (msg->n_addrs > WARREN_DISCO_ADDRESSES || msg->empty)
		return -EINVAL;
	buf_writer_init(&w, out, size);
	buf_put_u8(&w, (uint8_t)msg->type);
	buf_put_u8(&w, 0);
	if (put_body(&w, msg))
		return -EINVAL;
	return w.failed ? -ENOBUFS : (int)buf_written(&w);
}

const char *warren_disco_name(uint32_t type)
{
	static const char *const names[] = {
		[WARREN_DISCO_PING] = "ping",
		[WARREN_DISCO_PONG] = "pong",
		[WARREN_DISCO_CALL_ME_MAYBE] = "call-me-maybe",
		[WARREN_DISCO_BIND] = "bind",
		[WARREN_DISCO_BIND_CHALLENGE] = "bind-challenge",
		[WARREN_DISCO_BIND_ANSWER] = "bind-answer",
		[WARREN_DISCO_CALL_ME_MAYBE_VIA] = "call-me-maybe-via",
		[WARREN_DISCO_ALLOCATE] = "allocate",
		[WARREN_DISCO_ALLOCATED] = "allocated",
	};

	return type > 0 && type < ARRAY_SIZE(names) ? names[type] : "unknown";
}
