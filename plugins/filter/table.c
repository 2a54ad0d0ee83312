/*
 * Decides about packets with a compiled policy. compile.c builds what is read here.
 */
#include "table.h"

#include "compile.h"
#include "flow.h"

/* ICMP types, RFC 792 and RFC 4443. */
enum {
	ECHO_REPLY = 0, UNREACHABLE = 3, TIME_EXCEEDED = 11,
	MASK_REPLY = 18,		/* what the stock client takes for parameter problem, 12 */
	ECHO6_REPLY = 129, FIRST_ERROR6 = 1, LAST_ERROR6 = 4,
	ICMP_HEADER = 8,
};

const char *filter_reason_name(enum filter_reason reason)
{
	static const char *const names[FILTER_REASONS] = {
		[FILTER_ACCEPTED] = "accepted",
		[FILTER_TOO_SHORT] = "too_short",
		[FILTER_UNKNOWN_PROTOCOL] = "unknown_protocol",
		[FILTER_FRAGMENT] = "fragment",
		[FILTER_MULTICAST] = "multicast",
		[FILTER_LINK_LOCAL] = "link_local_unicast",
		[FILTER_NOT_LOCAL] = "not_local",
		[FILTER_ACL] = "acl",
		[FILTER_FROM_HOST] = "tsmp",
		[FILTER_ERROR] = "error",
	};

	return names[reason];
}

/*
 * ---- Rules ----
 */

static bool is_icmp(const struct filter_packet *packet)
{
	return packet->protocol == (packet->version == 4 ? FILTER_ICMP : FILTER_ICMP6);
}

static bool rules_match(const struct filter_table *table, const struct filter_packet *packet)
{
	uint32_t destination = filter_axis_find(table->destinations, packet->version,
						&packet->destination);
	const struct filter_source *source = &table->source[
		filter_axis_find(table->sources, packet->version, &packet->source)];
	uint32_t from = source->all, service;

	switch (packet->protocol) {
	case FILTER_TCP:
		service = filter_axis_narrow(&table->tcp, packet->port);
		break;
	case FILTER_UDP:
		service = filter_axis_narrow(&table->udp, packet->port);
		break;
	case FILTER_SCTP:
		service = filter_axis_narrow(&table->sctp, packet->port);
		break;
	default:
		if (is_icmp(packet)) {	/* addresses decide; for a capability the source alone */
			if (source->cap)
				return true;
			service = destination;
		} else {
			from = source->plain;
			service = table->protocols[packet->protocol];
		}
	}
	return filter_sets_meet(&table->sets, from, destination, service);
}

static bool is_local(const struct filter_table *table, const struct filter_packet *packet)
{
	return filter_axis_find(table->local, packet->version, &packet->destination) != 0;
}

/* Is the peer that has @addr jailed? */
static bool is_jailed(const struct filter_table *table, const struct filter_packet *packet,
		      const struct filter_addr *addr)
{
	return table->any_jailed && filter_axis_find(table->jailed, packet->version, addr) != 0;
}

enum filter_reason filter_table_allows(const struct filter_table *table,
				       const struct filter_packet *packet)
{
	if (table->accept_all)
		return FILTER_ACCEPTED;
	if (!is_local(table, packet))
		return FILTER_NOT_LOCAL;
	if (is_jailed(table, packet, &packet->source))
		return FILTER_ACL;
	return rules_match(table, packet) ? FILTER_ACCEPTED : FILTER_ACL;
}

/*
 * ---- Both directions ----
 */

static bool is_multicast(const struct filter_packet *packet)
{
	if (packet->version == 4)
		return packet->destination.low >> 28 == 0xe;	/* 224.0.0.0/4 */
	return packet->destination.high >> 56 == 0xff;		/* ff00::/8 */
}

static bool is_link_local(const struct filter_packet *packet)
{
	const uint32_t metadata = 0xa9fea9fe;	/* 169.254.169.254: of the cloud, not of the link */

	if (packet->version == 4)
		return packet->destination.low >> 16 == 0xa9fe &&
		       packet->destination.low != metadata;
	return packet->destination.high >> 54 == 0xfe80 >> 6;	/* fe80::/10 */
}

/* Answers and errors, which need no rule. */
static bool is_icmp_answer(const struct filter_packet *packet)
{
	uint8_t type = packet->icmp_type;

	if (packet->body < ICMP_HEADER)
		return false;
	if (packet->version == 4 && packet->protocol == FILTER_ICMP)
		return (type == ECHO_REPLY && packet->icmp_code == 0) || type == UNREACHABLE ||
		       type == TIME_EXCEEDED || type == MASK_REPLY;
	if (packet->version == 6 && packet->protocol == FILTER_ICMP6)
		return (type == ECHO6_REPLY && packet->icmp_code == 0) ||
		       (type >= FIRST_ERROR6 && type <= LAST_ERROR6);
	return false;
}

static bool is_first_of_tcp(const struct filter_packet *packet)
{
	return packet->protocol == FILTER_TCP &&
	       (packet->tcp_flags & (FILTER_SYN | FILTER_ACK)) == FILTER_SYN;
}

/* What passes without a rule: answers to what this node began. */
static bool is_answer(struct filter_flows *flows, const struct filter_packet *packet, uint64_t now)
{
	switch (packet->protocol) {
	case FILTER_TCP:
		return !is_first_of_tcp(packet);
	case FILTER_UDP:
	case FILTER_SCTP:
		return filter_flows_answers(flows, packet, now);
	case FILTER_TSMP:
		return true;
	default:
		return is_icmp_answer(packet);
	}
}

/* What holds in both directions. FILTER_ACCEPTED: the rest decides. */
static enum filter_reason check_both_ways(const uint8_t *data, size_t len,
					  struct filter_packet *packet)
{
	if (len < 20)
		return FILTER_TOO_SHORT;
	if (!filter_packet_parse(data, len, packet))
		return packet->bad_fragment ? FILTER_FRAGMENT : FILTER_UNKNOWN_PROTOCOL;
	if (is_multicast(packet))
		return FILTER_MULTICAST;
	return is_link_local(packet) ? FILTER_LINK_LOCAL : FILTER_ACCEPTED;
}

static void remember(const struct filter_table *table, const struct filter_packet *packet,
		     uint64_t now)
{
	bool jailed;

	if (is_first_of_tcp(packet))
		filter_flows_sent(&table->flows[FILTER_FLOWS_TCP], packet, now);
	if (packet->protocol != FILTER_UDP && packet->protocol != FILTER_SCTP)
		return;
	jailed = is_jailed(table, packet, &packet->destination);
	filter_flows_sent(&table->flows[jailed ? FILTER_FLOWS_JAILED : FILTER_FLOWS_OPEN], packet,
			  now);
}

static enum filter_reason decide_in(const struct filter_table *table,
				    const struct filter_packet *packet, uint64_t now)
{
	bool jailed = is_jailed(table, packet, &packet->source);

	if (!is_local(table, packet))
		return FILTER_NOT_LOCAL;
	if (is_answer(&table->flows[jailed ? FILTER_FLOWS_JAILED : FILTER_FLOWS_OPEN], packet, now))
		return FILTER_ACCEPTED;
	return !jailed && rules_match(table, packet) ? FILTER_ACCEPTED : FILTER_ACL;
}

enum filter_reason filter_table_decide(const struct filter_table *table, uint32_t direction,
				       const uint8_t *data, size_t len, uint64_t now)
{
	struct filter_packet packet;
	enum filter_reason reason;

	if (len == 0 || table->accept_all)
		return FILTER_ACCEPTED;
	reason = check_both_ways(data, len, &packet);
	if (reason != FILTER_ACCEPTED || packet.later_fragment)
		return reason;
	if (direction == WARREN_PKT_IN)
		return decide_in(table, &packet, now);
	if (packet.protocol == FILTER_TSMP)
		return FILTER_FROM_HOST;
	remember(table, &packet, now);
	return FILTER_ACCEPTED;
}

bool filter_table_shields(const struct filter_table *table, const struct filter_packet *packet)
{
	return table->state == FILTER_SHIELDS_UP || is_jailed(table, packet, &packet->source);
}

bool filter_table_began(const struct filter_table *table, const struct filter_packet *packet,
			uint64_t now)
{
	const struct filter_packet answer = {
		.version = packet->version,
		.protocol = packet->protocol,
		.source = packet->destination,
		.destination = packet->source,
		.source_port = packet->port,
		.port = packet->source_port,
	};

	return packet->protocol == FILTER_TCP &&
	       filter_flows_answers(&table->flows[FILTER_FLOWS_TCP], &answer, now);
}

uint32_t filter_table_rules(const struct filter_table *table)
{
	return table->n_rules;
}

size_t filter_table_bytes(const struct filter_table *table)
{
	return table->bytes;
}

enum filter_state filter_table_state(const struct filter_table *table)
{
	return table->state;
}
