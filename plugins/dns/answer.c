/*
 * Answers of our own. They live for seconds: a node's name or address may change at any time, and
 * whoever asks next should get the new one.
 */
#include <string.h>

#include "base/addr.h"
#include "decide.h"

enum { TTL = 5, TTL_NEGATIVE = 10 };

static bool wanted(const struct dns_query *q, uint16_t type)
{
	return q->type == type || q->type == DNS_ANY;
}

static void add_host(struct dns_reply *reply, const struct dns_query *q,
		     const struct dns_host *host)
{
	for (const struct dns_rdata *r = host->data; r; r = r->next) {
		if (wanted(q, r->type))
			dns_reply_add(reply, DNS_ANSWER, NULL, r->type, TTL, r->data, r->len);
	}
}

static void add_address(struct dns_reply *reply, const struct dns_query *q,
			const struct warren_addr *addr)
{
	uint16_t type = addr->family == 4 ? DNS_A : DNS_AAAA;

	if (wanted(q, type))
		dns_reply_add(reply, DNS_ANSWER, NULL, type, TTL, addr->bytes,
			      (uint16_t)addr_size(addr));
}

size_t dns_answer_local(const struct dns_decision *d, const struct dns_query *q, uint32_t serial,
			uint8_t *out, size_t size)
{
	struct dns_reply reply;

	if (d->verdict == DNS_REFUSE)
		return dns_reply_refuse(q, d->rcode, out, size);
	dns_reply_begin(&reply, q, DNS_AA | (d->verdict == DNS_ABSENT ? DNS_NXDOMAIN : 0), out,
			size);
	switch (d->verdict) {
	case DNS_HOST:
		add_host(&reply, q, d->host);
		break;
	case DNS_ADDRESS:
		add_address(&reply, q, &d->addr);
		break;
	case DNS_WHOSE:
		if (wanted(q, DNS_PTR))
			dns_reply_add(&reply, DNS_ANSWER, NULL, DNS_PTR, TTL, d->name->wire,
				      d->name->len);
		break;
	case DNS_NODATA:
	case DNS_ABSENT:
	case DNS_REFUSE:
	case DNS_FORWARD:
		break;
	}
	if (reply.counts[DNS_ANSWER] == 0 && d->zone)	/* RFC 2308 3 */
		dns_reply_soa(&reply, d->zone, TTL_NEGATIVE, serial);
	return dns_reply_end(&reply);
}
