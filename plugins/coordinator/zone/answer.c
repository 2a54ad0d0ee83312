/*
 * Answers for a zone. A query that is for somebody else is refused. By UDP nobody gets more than
 * who says nothing of EDNS, whatever he says: the sender may be made up, and texts are written by
 * devices. Proofs fit; what does not is asked for again by TCP.
 */
#include "answer.h"

#include <string.h>

enum {
	TTL_ZONE = 3600, TTL_TEXT = 10,
	TTL_NONE = 10,			/* an authority that asks too early asks again soon */
	REFRESH = 3600, RETRY = 600, EXPIRE = 604800,
};

static void add_soa(struct dns_reply *reply, int section, const struct zone_facts *zone,
		    uint32_t serial)
{
	const struct dns_name *primary = &zone->servers[0];
	uint8_t data[2 * DNS_NAME_MAX + 20];
	struct buf_writer w;

	buf_writer_init(&w, data, sizeof(data));
	buf_put_bytes(&w, primary->wire, primary->len);
	buf_put_bytes(&w, zone->contact.wire, zone->contact.len);
	buf_put_be32(&w, serial);
	buf_put_be32(&w, REFRESH);
	buf_put_be32(&w, RETRY);
	buf_put_be32(&w, EXPIRE);
	buf_put_be32(&w, TTL_NONE);
	dns_reply_add(reply, section, &zone->name, DNS_SOA,
		      section == DNS_AUTHORITY ? TTL_NONE : TTL_ZONE, data,
		      (uint16_t)buf_written(&w));
}

static void add_servers(struct dns_reply *reply, const struct zone_facts *zone)
{
	for (uint32_t i = 0; i < zone->n_servers; i++)
		dns_reply_add(reply, DNS_ANSWER, NULL, DNS_NS, TTL_ZONE, zone->servers[i].wire,
			      zone->servers[i].len);
}

static void add_texts(struct dns_reply *reply, const struct zone_record *record)
{
	uint8_t data[ZONE_TEXT + 1];

	for (uint32_t i = 0; i < record->n; i++) {
		uint16_t len = zone_txt(record->values[i].text, data);

		dns_reply_add(reply, DNS_ANSWER, NULL, DNS_TXT, TTL_TEXT, data, len);
	}
}

/* RFC 8482 4.2: no list of everything. */
static void add_any(struct dns_reply *reply)
{
	static const uint8_t data[] = "\007RFC8482\000";

	dns_reply_add(reply, DNS_ANSWER, NULL, DNS_HINFO, TTL_ZONE, data, sizeof(data) - 1);
}

static size_t make(const struct zone_facts *zone, const struct zone_records *records,
		   const struct dns_query *q, uint8_t *out, size_t size)
{
	const struct zone_record *record = zone_records_find(records, &q->name);
	bool top = dns_name_equal(&q->name, &zone->name);
	bool exists = top || zone_records_below(records, &q->name);
	uint16_t flags = (uint16_t)(DNS_AA | (exists ? DNS_NOERROR : DNS_NXDOMAIN));
	struct dns_reply reply;

	dns_reply_begin(&reply, q, flags, out, size);
	if (exists && q->type == DNS_ANY)
		add_any(&reply);
	else if (top && q->type == DNS_SOA)
		add_soa(&reply, DNS_ANSWER, zone, records->serial);
	else if (top && q->type == DNS_NS)
		add_servers(&reply, zone);
	else if (record && q->type == DNS_TXT)
		add_texts(&reply, record);
	if (reply.counts[DNS_ANSWER] == 0)
		add_soa(&reply, DNS_AUTHORITY, zone, records->serial);
	return dns_reply_end(&reply);
}

size_t zone_answer(const struct zone_facts *zone, const struct zone_records *records,
		   const uint8_t *msg, size_t len, bool stream, uint8_t out[ZONE_ANSWER])
{
	uint8_t made[ZONE_ANSWER - DNS_OPT];
	struct dns_query q;
	int refuse = dns_query_parse(msg, len, &q);

	if (refuse < 0)
		return 0;
	if (!refuse && (q.class_ != DNS_IN || !dns_name_under(&q.name, &zone->name) ||
			q.type == DNS_AXFR || q.type == DNS_IXFR))
		refuse = DNS_REFUSED;
	if (refuse)
		len = dns_reply_refuse(&q, refuse, made, sizeof(made));
	else
		len = make(zone, records, &q, made, sizeof(made));
	len = dns_reply_finish(made, len, &q, stream ? DNS_MSG_MAX : DNS_UDP_PLAIN, 0, out);
	out[3] &= (uint8_t)~DNS_RA;
	return len;
}
