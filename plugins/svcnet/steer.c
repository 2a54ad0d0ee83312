/*
 * See steer.h. Fragments and IPv6 packets with extension headers are nobody's: services are reached
 * by plain TCP and UDP, and a port that is not there cannot be looked up.
 */
#include "steer.h"

#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/hash.h"

const uint8_t steer_magic4[4] = { 100, 100, 100, 100 };
const uint8_t steer_magic6[16] = { 0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, [15] = 0x53 };

enum {
	IP4_MIN = 20, IP6_LEN = 40, PORTS_LEN = 4,
	PROTO_TCP = 6, PROTO_UDP = 17,
	SECOND = 1000000,
};

void steer_init(struct steer *steer, int fd)
{
	steer->fd = fd;
	randombytes_buf(steer->secret, sizeof(steer->secret));
	atomic_init(&steer->table, NULL);
}

bool steer_table_add_self(struct steer_table *table, const struct warren_addr *addr)
{
	if (addr->family == 4 && table->n4 < STEER_ADDRS)
		memcpy(&table->self4[table->n4++], addr->bytes, 4);
	else if (addr->family == 6 && table->n6 < STEER_ADDRS)
		memcpy(table->self6[table->n6++], addr->bytes, 16);
	else
		return false;
	return true;
}

void steer_table_add_port(struct steer_table *table, uint32_t set, uint32_t protocol,
			  uint16_t port)
{
	table->ports[set][protocol].word[port / 64] |= UINT64_C(1) << (port % 64);
	table->any[set] = true;
}

static inline bool has_port(const struct steer_ports *ports, uint16_t port)
{
	return ports->word[port / 64] >> (port % 64) & 1;
}

static inline bool is_self4(const struct steer_table *t, const uint8_t *addr)
{
	uint32_t value;

	memcpy(&value, addr, sizeof(value));
	for (uint32_t i = 0; i < t->n4; i++) {
		if (t->self4[i] == value)
			return true;
	}
	return false;
}

static inline bool is_self6(const struct steer_table *t, const uint8_t *addr)
{
	for (uint32_t i = 0; i < t->n6; i++) {
		if (memcmp(t->self6[i], addr, 16) == 0)
			return true;
	}
	return false;
}

struct head {
	const uint8_t *source, *destination;	/* of `size` bytes */
	const uint8_t *ports;
	uint32_t size;
	uint32_t protocol;		/* STEER_TCP, STEER_UDP */
};

static inline uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline bool is_version6(const struct warren_packet *pkt)
{
	return pkt->data[0] >> 4 == 6;
}

/*
 * False: not TCP or UDP, or without ports. Length and version were checked by the data plane.
 * Inline, so that the head stays in registers: packets to this node cost a fifth less and more.
 */
static inline __attribute__((always_inline)) bool read_head(const struct warren_packet *pkt,
							    struct head *out)
{
	const uint8_t *p = pkt->data;
	uint32_t len = IP6_LEN, protocol;

	if (is_version6(pkt)) {
		if (pkt->len < IP6_LEN + PORTS_LEN)
			return false;
		protocol = p[6];
		out->source = p + 8;
		out->destination = p + 24;
		out->size = 16;
	} else {
		len = (p[0] & 15u) * 4;
		if (len < IP4_MIN || pkt->len < len + PORTS_LEN || load16(p + 6) & 0x3fff)
			return false;
		protocol = p[9];
		out->source = p + 12;
		out->destination = p + 16;
		out->size = 4;
	}
	if (protocol != PROTO_TCP && protocol != PROTO_UDP)
		return false;
	out->protocol = protocol == PROTO_UDP ? STEER_UDP : STEER_TCP;
	out->ports = p + len;
	return true;
}

/*
 * ---- Flows ----
 */

/* Of the packet as it comes back: from @remote's port to our @port. Never 0. */
static uint64_t flow_mark(const struct steer *s, const struct head *h, const uint8_t *remote,
			  const uint8_t *remote_port, const uint8_t *port)
{
	uint8_t bytes[16 + 2 + 2 + 1] = { 0 };

	memcpy(bytes, remote, h->size);
	memcpy(bytes + 16, remote_port, 2);
	memcpy(bytes + 18, port, 2);
	bytes[20] = (uint8_t)h->protocol;
	return hash_siphash(s->secret, bytes, sizeof(bytes)) | 1;
}

static struct steer_flow_bucket *bucket_of(struct steer *s, uint64_t mark)
{
	return &s->flows[mark >> 32 & (STEER_FLOW_BUCKETS - 1)];
}

/* Two workers in one bucket at a time may lose one of two new flows: its next packet is back. */
static void flow_note(struct steer *s, uint64_t mark, uint32_t now)
{
	struct steer_flow_bucket *b = bucket_of(s, mark);
	uint32_t oldest = 0, oldest_seen = UINT32_MAX;

	for (uint32_t i = 0; i < STEER_FLOW_WAYS; i++) {
		uint64_t m = atomic_load_explicit(&b->mark[i], memory_order_relaxed);
		uint32_t seen = m ? atomic_load_explicit(&b->seen[i], memory_order_relaxed) : 0;

		if (m == mark) {
			if (seen != now)
				atomic_store_explicit(&b->seen[i], now, memory_order_relaxed);
			return;
		}
		if (seen < oldest_seen) {
			oldest = i;
			oldest_seen = seen;
		}
	}
	atomic_store_explicit(&b->seen[oldest], now, memory_order_relaxed);
	atomic_store_explicit(&b->mark[oldest], mark, memory_order_relaxed);
}

static bool flow_known(struct steer *s, uint64_t mark)
{
	const struct steer_flow_bucket *b = bucket_of(s, mark);

	for (uint32_t i = 0; i < STEER_FLOW_WAYS; i++) {
		if (atomic_load_explicit(&b->mark[i], memory_order_relaxed) == mark)
			return true;
	}
	return false;
}

/*
 * ---- Into the namespace ----
 */

/* Whether it was taken or is lost: nobody else gets it. */
static void hand_in(struct steer *s, struct warren_packet *pkt, uint32_t *taken)
{
	pkt->verdict = WARREN_PKT_TAKEN;
	if (write(s->fd, pkt->data, pkt->len) == (ssize_t)pkt->len)
		(*taken)++;
	else
		warren_stat_add(s->failed, 1);
}

static inline bool is_for_self(const struct steer_table *t, const struct warren_packet *pkt)
{
	return is_version6(pkt) ? is_self6(t, pkt->data + 24) : is_self4(t, pkt->data + 16);
}

static inline bool is_from_self(const struct steer_table *t, const struct warren_packet *pkt)
{
	return is_version6(pkt) ? is_self6(t, pkt->data + 8) : is_self4(t, pkt->data + 12);
}

static inline bool is_for_magic(const struct warren_packet *pkt)
{
	return is_version6(pkt) ? memcmp(pkt->data + 24, steer_magic6, 16) == 0 :
				  memcmp(pkt->data + 16, steer_magic4, 4) == 0;
}

void steer_in_open(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n,
		   uint64_t now)
{
	struct steer *s = self;
	const struct steer_table *t = atomic_load_explicit(&s->table, memory_order_acquire);
	uint32_t taken = 0;
	struct head h;

	(void)direction;
	(void)now;
	for (uint32_t i = 0; i < n; i++) {
		if (is_for_magic(&pkt[i]))
			pkt[i].verdict = WARREN_PKT_DROP;
		else if (t && t->any[STEER_OPEN] && is_for_self(t, &pkt[i]) &&
			 read_head(&pkt[i], &h) &&
			 has_port(&t->ports[STEER_OPEN][h.protocol], load16(h.ports + 2)))
			hand_in(s, &pkt[i], &taken);
	}
	if (taken)
		warren_stat_add(s->to, taken);
}

static bool is_answer(struct steer *s, const struct head *h)
{
	return load16(h->ports + 2) >= STEER_DIAL_LOW &&
	       flow_known(s, flow_mark(s, h, h->source, h->ports, h->ports + 2));
}

void steer_in(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n, uint64_t now)
{
	struct steer *s = self;
	const struct steer_table *t = atomic_load_explicit(&s->table, memory_order_acquire);
	uint32_t taken = 0;
	struct head h;

	(void)direction;
	(void)now;
	if (!t)
		return;
	for (uint32_t i = 0; i < n; i++) {
		if (is_for_self(t, &pkt[i]) && read_head(&pkt[i], &h) &&
		    (has_port(&t->ports[STEER_FILTERED][h.protocol], load16(h.ports + 2)) ||
		     is_answer(s, &h)))
			hand_in(s, &pkt[i], &taken);
	}
	if (taken)
		warren_stat_add(s->to, taken);
}

void steer_out(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n, uint64_t now)
{
	struct steer *s = self;
	const struct steer_table *t = atomic_load_explicit(&s->table, memory_order_acquire);
	uint32_t taken = 0;
	struct head h;

	(void)direction;
	(void)now;
	if (!t || !t->any[STEER_MAGIC])
		return;
	for (uint32_t i = 0; i < n; i++) {
		/* Ours alone: a gateway forwards what others send to the service addresses. */
		if (is_for_magic(&pkt[i]) && is_from_self(t, &pkt[i]) && read_head(&pkt[i], &h) &&
		    has_port(&t->ports[STEER_MAGIC][h.protocol], load16(h.ports + 2)))
			hand_in(s, &pkt[i], &taken);
	}
	if (taken)
		warren_stat_add(s->to, taken);
}

/*
 * ---- Out of the namespace ----
 */

/*
 * What the service addresses say is for this host, and what our own say is not: that would be a
 * martian there. Other sources, as of the kernel's own multicasts, are nobody's.
 */
static uint8_t where_to(struct steer *s, const struct steer_table *t,
			const struct warren_packet *pkt, uint32_t now)
{
	const uint8_t *source = pkt->data + (is_version6(pkt) ? 8 : 12);
	bool six = is_version6(pkt), self = is_for_self(t, pkt);
	struct head h;

	if (six ? memcmp(source, steer_magic6, 16) == 0 : memcmp(source, steer_magic4, 4) == 0)
		return self ? WARREN_PKT_HOST : WARREN_PKT_DROP;
	if (self || !is_from_self(t, pkt))
		return WARREN_PKT_DROP;
	if (read_head(pkt, &h) && load16(h.ports) >= STEER_DIAL_LOW)
		flow_note(s, flow_mark(s, &h, h.destination, h.ports + 2, h.ports), now);
	return WARREN_PKT_ACCEPT;
}

void steer_from(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n,
		uint64_t now)
{
	struct steer *s = self;
	const struct steer_table *t = atomic_load_explicit(&s->table, memory_order_acquire);
	uint32_t good = 0;

	(void)direction;
	for (uint32_t i = 0; i < n; i++) {
		uint8_t verdict = t ? where_to(s, t, &pkt[i], (uint32_t)(now / SECOND)) :
				      WARREN_PKT_DROP;

		good += verdict != WARREN_PKT_DROP;
		/* Counted here, as no loss: the kernel of the namespace may say what it likes. */
		pkt[i].verdict = verdict == WARREN_PKT_DROP ? WARREN_PKT_TAKEN : verdict;
	}
	if (good)
		warren_stat_add(s->from, good);
	if (good < n)
		warren_stat_add(s->stray, n - good);
}
