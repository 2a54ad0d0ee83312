/*
 * A peer whose first packet was refused is told why, and one that pings is answered; both go back
 * through the data plane's ring. A refusal by a peer counts only if this node began that very
 * connection: then it is in the flow table. It is logged, counted and shown in `warren status`.
 * The host is told nothing, as with the stock client: its own timeout ends the attempt.
 */
#include "talk.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/addr.h"

enum { REFUSALS = 0, PONGS };

static bool is_tsmp(const uint8_t *data, size_t len)
{
	/* IPv6: extension headers before TSMP are nothing that any node sends. */
	return len >= 40 && data[0] >> 4 == 6 ? data[6] == FILTER_TSMP
					      : len >= 20 && data[0] >> 4 == 4 &&
							data[9] == FILTER_TSMP;
}

/* An ICMP echo reply to a ping of this daemon's own. */
static bool is_marked_echo(const uint8_t *data, size_t len)
{
	const size_t mark = sizeof(WARREN_PING_MARK) - 1, icmp = 8;
	size_t at = data[0] >> 4 == 6 ? 40 : 20;

	if (len < at + icmp + mark)
		return false;
	if (at == 20 ? data[0] != 0x45 || data[9] != FILTER_ICMP || data[at] != 0
		     : data[6] != FILTER_ICMP6 || data[at] != 129)
		return false;
	return memcmp(data + at + icmp, WARREN_PING_MARK, mark) == 0;
}

/* To whoever pings. False: nobody does. */
static bool pong(struct filter_talk *talk, const struct filter_packet *packet, const uint8_t *data,
		 size_t len, uint64_t now)
{
	return filter_pace_allows(&talk->pongs, packet->version, &packet->source, now) &&
	       !talk->dataplane->hand_over(talk->dataplane_self, WARREN_FOREIGN_PONG, data, len);
}

static void answer(struct filter_talk *talk, int which, const uint8_t *data, size_t len)
{
	if (!talk->dataplane->packet_reply(talk->dataplane_self, data, len))
		warren_stat_add(talk->sent[which], 1);
}

void filter_talk_refuse(struct filter_talk *talk, const struct filter_table *table,
			const uint8_t *data, size_t len, enum filter_reason why, uint64_t now)
{
	struct filter_packet packet;
	uint8_t out[FILTER_TSMP_MAX];
	size_t n;

	if (!filter_packet_parse(data, len, &packet))
		return;
	n = filter_tsmp_refuse(&packet, why, filter_table_shields(table, &packet), out);
	if (n && filter_pace_allows(&talk->answers, packet.version, &packet.source, now))
		answer(talk, REFUSALS, out, n);
}

static void refused(struct filter_talk *talk, const struct filter_table *table,
		    const struct filter_packet *packet, const struct filter_tsmp *tsmp,
		    const uint8_t *data, size_t len, uint64_t now)
{
	if (!filter_table_began(table, &tsmp->refused, now))
		return;
	warren_stat_add(talk->received[filter_tsmp_reason_index(tsmp->reason)], 1);
	if (filter_pace_allows(&talk->reports, packet->version, &packet->source, now))
		talk->dataplane->hand_over(talk->dataplane_self, WARREN_FOREIGN_TSMP, data, len);
}

static uint16_t port_of(const struct filter_talk *talk, const struct filter_packet *packet)
{
	return atomic_load_explicit(&talk->peerapi[packet->version == 6], memory_order_relaxed);
}

bool filter_talk_takes(struct filter_talk *talk, const struct filter_table *table,
		       const uint8_t *data, size_t len, uint64_t now)
{
	struct filter_packet packet;
	struct filter_tsmp tsmp;
	uint8_t out[FILTER_TSMP_MAX];

	if (is_marked_echo(data, len))
		return filter_packet_parse(data, len, &packet) &&
		       pong(talk, &packet, data, len, now);
	if (!is_tsmp(data, len))
		return false;
	if (!filter_packet_parse(data, len, &packet))
		return true;
	filter_tsmp_read(&packet, data, len, &tsmp);
	switch (tsmp.kind) {
	case FILTER_TSMP_PING:
		if (filter_pace_allows(&talk->answers, packet.version, &packet.source, now))
			answer(talk, PONGS, out,
			       filter_tsmp_pong(&packet, &tsmp, port_of(talk, &packet), out));
		break;
	case FILTER_TSMP_REFUSAL:
		refused(talk, table, &packet, &tsmp, data, len, now);
		break;
	case FILTER_TSMP_PONG:
		(void)pong(talk, &packet, data, len, now);
		break;
	case FILTER_TSMP_OTHER:
		break;
	}
	return true;
}

/*
 * ---- On the lane ----
 */

static const char *peer_text(const struct filter_tsmp *tsmp, char out[ADDR_TEXT])
{
	struct warren_addr peer = filter_addr_plain(tsmp->refused.version,
						    &tsmp->refused.destination);

	return addr_format(&peer, out);
}

static const char *why_text(const struct filter_tsmp *tsmp)
{
	switch (tsmp->reason) {
	case 'A':
		return "its policy does not allow it";
	case 'S':
		return "it lets nobody in (shields up)";
	case 'F':
		return "it does not forward packets";
	case 'W':
		return "its firewall blocks it";
	default:
		return "for a reason unknown here";
	}
}

static void told(void *arg, const struct warren_addrport *from, uint32_t vni, const uint8_t *data,
		 size_t len)
{
	struct filter_talk *talk = arg;
	struct filter_packet packet;
	struct filter_tsmp tsmp;
	char peer[ADDR_TEXT];

	(void)from;
	(void)vni;
	if (!filter_packet_parse(data, len, &packet))
		return;
	filter_tsmp_read(&packet, data, len, &tsmp);
	if (tsmp.kind != FILTER_TSMP_REFUSAL)
		return;
	talk->last = tsmp;
	talk->last_at = warren_now();
	warren_log_limit(talk->ctx, &talk->limit, LOG_NOTICE,
			 "%s %s tcp/%u: %s (%s); what it allows is set at its coordinator",
			 peer_text(&tsmp, peer),
			 tsmp.maybe ? "may refuse" : "refuses", tsmp.refused.port, why_text(&tsmp),
			 filter_tsmp_reason(tsmp.reason));
}

void filter_talk_status(const struct filter_talk *talk, struct warren_reply *reply)
{
	const struct filter_tsmp *last = &talk->last;
	char peer[ADDR_TEXT];
	int64_t age;

	if (last->kind != FILTER_TSMP_REFUSAL)
		return;
	age = (int64_t)((warren_now() - talk->last_at) / 1000000);
	peer_text(last, peer);
	warren_reply_open(reply, "last_refusal", '{');
	warren_reply_str(reply, "peer", "%s", peer);
	warren_reply_int(reply, "port", last->refused.port);
	warren_reply_str(reply, "reason", "%s", filter_tsmp_reason(last->reason));
	warren_reply_int(reply, "seconds_ago", age);
	warren_reply_close(reply);
	warren_reply_text(reply, "last refused by a peer: %s tcp/%u, %s, %lld s ago", peer,
			  last->refused.port, why_text(last), (long long)age);
}

/*
 * ---- Life ----
 */

int filter_talk_start(struct filter_talk *talk, struct warren_ctx *ctx,
		      const struct warren_dataplane_ops *dataplane, void *self)
{
	talk->ctx = ctx;
	talk->dataplane = dataplane;
	talk->dataplane_self = self;
	filter_pace_init(&talk->answers);
	filter_pace_init(&talk->reports);
	filter_pace_init(&talk->pongs);
	talk->sent[REFUSALS] = warren_stat_open(ctx, "answers_sent", "refusal");
	talk->sent[PONGS] = warren_stat_open(ctx, "answers_sent", "pong");
	if (!talk->sent[REFUSALS] || !talk->sent[PONGS])
		return -ENOMEM;
	for (int i = 0; i < FILTER_TSMP_REASONS; i++) {
		talk->received[i] = warren_stat_open(ctx, "refused_by_peers",
						     filter_tsmp_reason_at(i));
		if (!talk->received[i])
			return -ENOMEM;
	}
	return dataplane->foreign(self, ctx, WARREN_FOREIGN_TSMP, told, talk);
}
