/*
 * Decides about packets with a compiled policy. compile.c builds what is read here.
 */
#include "table.h"

#include <stdlib.h>

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
		[FILTER_MULTICAST] = "multicast",
		[FILTER_LINK_LOCAL] = "link_local_unicast",
		[FILTER_NOT_LOCAL] = "not_local",
		[FILTER_ACL] = "acl",
	};

	return names[reason];
}

/*
 * ---- Rules ----
 */

int filter_addr_compare(const struct filter_addr *a, const struct filter_addr *b)
{
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return (a->low > b->low) - (a->low < b->low);
}

/* The list of the interval that holds @addr: the last one that begins at or before it. */
static const struct filter_list *axis_find(const struct filter_axis *axis,
					   const struct filter_addr *addr)
{
	uint32_t low = 0, high = axis->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (filter_addr_compare(&axis->first[middle], addr) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? &axis->lists[axis->list[low - 1]] : NULL;
}

static bool list_has(const struct filter_table *table, const struct filter_list *list, uint32_t id)
{
	const uint32_t *items = table->items + list->start;
	uint32_t low = 0, high = list->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (items[middle] == id)
			return true;
		if (items[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* Does the destination entry let the packet in, as far as protocol and port go? */
static bool entry_matches(const struct filter_table *table, const struct filter_entry *entry,
			  const struct filter_packet *packet)
{
	const struct filter_protocols *protocols = &table->protocols[entry->rule];
	bool listed = protocols->bits[packet->protocol / 64] >> (packet->protocol % 64) & 1;

	if (packet->protocol == (packet->version == 4 ? FILTER_ICMP : FILTER_ICMP6))
		return true;		/* addresses alone decide */
	switch (packet->protocol) {
	case FILTER_TCP:
	case FILTER_UDP:
	case FILTER_SCTP:
		return listed && packet->port >= entry->first && packet->port <= entry->last;
	default:
		return listed && entry->first == 0 && entry->last == UINT16_MAX;
	}
}

static bool rules_match(const struct filter_table *table, const struct filter_packet *packet)
{
	int family = packet->version == 6;
	const struct filter_list *rules = axis_find(&table->sources[family], &packet->source);
	const struct filter_list *entries = axis_find(&table->destinations[family],
						      &packet->destination);

	if (!rules || !entries || rules->n == 0)
		return false;
	for (uint32_t i = 0; i < entries->n; i++) {
		const struct filter_entry *entry =
			&table->entries[table->items[entries->start + i]];

		if (entry_matches(table, entry, packet) && list_has(table, rules, entry->rule))
			return true;
	}
	return false;
}

static bool is_local(const struct filter_table *table, const struct filter_packet *packet)
{
	const struct filter_list *list = axis_find(&table->local[packet->version == 6],
						   &packet->destination);

	return list && list->n > 0;
}

enum filter_reason filter_table_allows(const struct filter_table *table,
				       const struct filter_packet *packet)
{
	if (table->accept_all)
		return FILTER_ACCEPTED;
	if (!is_local(table, packet))
		return FILTER_NOT_LOCAL;
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

/* What passes without a rule: answers to what this node began. */
static bool is_answer(const struct filter_table *table, const struct filter_packet *packet,
		      uint64_t now)
{
	switch (packet->protocol) {
	case FILTER_TCP:
		return (packet->tcp_flags & (FILTER_SYN | FILTER_ACK)) != FILTER_SYN;
	case FILTER_UDP:
	case FILTER_SCTP:
		return filter_flows_answers(table->flows, packet, now);
	case FILTER_TSMP:
		return true;
	default:
		return is_icmp_answer(packet);
	}
}

enum filter_reason filter_table_decide(const struct filter_table *table, uint32_t direction,
				       const uint8_t *data, size_t len, uint64_t now)
{
	struct filter_packet packet;

	if (len == 0 || table->accept_all)
		return FILTER_ACCEPTED;
	if (len < 20)
		return FILTER_TOO_SHORT;
	if (!filter_packet_parse(data, len, &packet))
		return FILTER_UNKNOWN_PROTOCOL;
	if (is_multicast(&packet))
		return FILTER_MULTICAST;
	if (is_link_local(&packet))
		return FILTER_LINK_LOCAL;
	if (packet.later_fragment)
		return FILTER_ACCEPTED;
	if (direction == WARREN_PKT_OUT) {
		if (packet.protocol == FILTER_UDP || packet.protocol == FILTER_SCTP)
			filter_flows_sent(table->flows, &packet, now);
		return FILTER_ACCEPTED;
	}
	if (!is_local(table, &packet))
		return FILTER_NOT_LOCAL;
	if (is_answer(table, &packet, now))
		return FILTER_ACCEPTED;
	return rules_match(table, &packet) ? FILTER_ACCEPTED : FILTER_ACL;
}

uint32_t filter_table_rules(const struct filter_table *table)
{
	return table->n_rules;
}

size_t filter_table_bytes(const struct filter_table *table)
{
	return table->bytes;
}
