/*
 * One query, from whomever: decided, answered from what is known or kept, or asked.
 */
#include "dns.h"

enum { SECOND = 1000000 };

int dns_resolve(struct dns *dns, const struct dns_query *q, bool peer, const uint8_t **msg,
		size_t *len, uint32_t *age, struct dns_route **route)
{
	struct dns_decision decision;

	*age = 0;
	if (peer)
		dns_decide_peer(dns->plan, q, &decision);
	else
		dns_decide(dns->plan, q, &decision, NULL);
	if (decision.verdict != DNS_FORWARD) {
		*msg = dns->made;
		*len = dns_answer_local(&decision, q, (uint32_t)(warren_realtime() / SECOND),
					dns->made, DNS_MADE);
		warren_stat_add(decision.verdict == DNS_REFUSE ? dns->stats.refused :
				dns->stats.local, 1);
		return 0;
	}
	*msg = dns_cache_get(&dns->cache, q, warren_now(), len, age);
	*route = decision.route;
	warren_stat_add(*msg ? dns->stats.cached : dns->stats.forwarded, 1);
	return *msg ? 0 : WARREN_PENDING;
}
