/*
 * TSMP: reads what peers say, writes what they are answered, and limits how often.
 */
#include "tsmp.h"

#include <sodium.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/inet.h"

enum {
	TYPE_REFUSAL = '!', TYPE_PING = 'p', TYPE_PONG = 'o',
	FLAG_MAYBE = 1,
};

static const struct { uint8_t reason; const char *name; } reasons[FILTER_TSMP_REASONS] = {
	{ 'A', "acl" },
	{ 'S', "shields" },
	{ 'F', "host-ip-forwarding-unavailable" },
	{ 'W', "host-firewall" },
	{ 'T', "app-connector-transit-ip-unknown" },
	{ 0, "other" },
};

int filter_tsmp_reason_index(uint8_t reason)
{
	int which = 0;

	while (which < FILTER_TSMP_REASONS - 1 && reasons[which].reason != reason)
		which++;
	return which;
}

const char *filter_tsmp_reason_at(int which)
{
	return reasons[which].name;
}

const char *filter_tsmp_reason(uint8_t reason)
{
	return reasons[filter_tsmp_reason_index(reason)].name;
}

/*
 * ---- Reading ----
 */

static void read_refusal(const struct filter_packet *packet, struct buf_reader *r,
			 struct filter_tsmp *out)
{
	uint8_t flags = 0;

	buf_u8(r, &out->refused.protocol);
	buf_u8(r, &out->reason);
	buf_be16(r, &out->refused.source_port);
	if (!buf_be16(r, &out->refused.port))
		return;
	if (buf_left(r))
		buf_u8(r, &flags);
	out->maybe = flags & FLAG_MAYBE;
	out->refused.version = packet->version;
	out->refused.source = packet->destination;
	out->refused.destination = packet->source;
	out->kind = FILTER_TSMP_REFUSAL;
}

void filter_tsmp_read(const struct filter_packet *packet, const uint8_t *data, size_t len,
		      struct filter_tsmp *out)
{
	struct buf_reader r;
	uint8_t type;

	memset(out, 0, sizeof(*out));
	if (packet->protocol != FILTER_TSMP || packet->later_fragment || packet->offset > len ||
	    packet->body > len - packet->offset)
		return;
	buf_reader_init(&r, data + packet->offset, packet->body);
	buf_u8(&r, &type);
	if (type == TYPE_REFUSAL)
		read_refusal(packet, &r, out);
	else if (type == TYPE_PING && buf_bytes(&r, out->ping, sizeof(out->ping)))
		out->kind = FILTER_TSMP_PING;
	else if (type == TYPE_PONG && buf_bytes(&r, out->ping, sizeof(out->ping)))
		out->kind = FILTER_TSMP_PONG;
}

/*
 * ---- Writing ----
 */

/* The header of an answer to @packet with @len bytes behind it. */
static void put_header(struct buf_writer *w, const struct filter_packet *packet, uint16_t len)
{
	struct warren_addr from = filter_addr_plain(packet->version, &packet->destination);
	struct warren_addr to = filter_addr_plain(packet->version, &packet->source);

	inet_put_header(w, &from, &to, FILTER_TSMP, len);
}

size_t filter_tsmp_refuse(const struct filter_packet *packet, enum filter_reason why, bool shields,
			  uint8_t out[FILTER_TSMP_MAX])
{
	const uint16_t len = 7;
	struct buf_writer w;

	if (packet->version != 4 || packet->protocol != FILTER_TCP || packet->later_fragment ||
	    (packet->tcp_flags & (FILTER_SYN | FILTER_ACK)) != FILTER_SYN ||
	    (why != FILTER_ACL && why != FILTER_NOT_LOCAL))
		return 0;
	buf_writer_init(&w, out, FILTER_TSMP_MAX);
	put_header(&w, packet, len);
	buf_put_u8(&w, TYPE_REFUSAL);
	buf_put_u8(&w, packet->protocol);
	buf_put_u8(&w, shields ? 'S' : 'A');
	buf_put_be16(&w, packet->source_port);
	buf_put_be16(&w, packet->port);
	return buf_written(&w);
}

size_t filter_tsmp_pong(const struct filter_packet *packet, const struct filter_tsmp *tsmp,
			uint16_t port, uint8_t out[FILTER_TSMP_MAX])
{
	const uint16_t len = 1 + sizeof(tsmp->ping) + 2;
	struct buf_writer w;

	buf_writer_init(&w, out, FILTER_TSMP_MAX);
	put_header(&w, packet, len);
	buf_put_u8(&w, TYPE_PONG);
	buf_put_bytes(&w, tsmp->ping, sizeof(tsmp->ping));
	buf_put_be16(&w, port);
	return buf_written(&w);
}

/*
 * ---- How often ----
 */

void filter_pace_init(struct filter_pace *pace)
{
	memset(pace, 0, sizeof(*pace));
	randombytes_buf(pace->secret, sizeof(pace->secret));
}

/* A token bucket in one word: how far into the future what passed so far is paid off. */
static bool take(_Atomic uint64_t *due, uint32_t rate, uint64_t now)
{
	const uint64_t second = 1000000;
	uint64_t before = atomic_load_explicit(due, memory_order_relaxed);
	uint64_t after = (before > now ? before : now) + second / rate;

	return after <= now + second &&
	       atomic_compare_exchange_strong_explicit(due, &before, after, memory_order_relaxed,
						       memory_order_relaxed);
}

bool filter_pace_allows(struct filter_pace *pace, uint8_t version, const struct filter_addr *peer,
			uint64_t now)
{
	struct {
		struct filter_addr addr;
		uint64_t version;
	} key = { *peer, version };
	uint64_t place = hash_siphash(pace->secret, &key, sizeof(key)) % FILTER_TSMP_PLACES;

	return take(&pace->due[place], FILTER_TSMP_RATE, now) &&
	       take(&pace->all, FILTER_TSMP_RATE_ALL, now);
}
