/*
 * dns/decide.h - what becomes of a query
 */
#ifndef DNS_DECIDE_H
#define DNS_DECIDE_H

#include "base/dnsmsg.h"
#include "plan.h"

enum dns_verdict {
	DNS_REFUSE,			/* answered with `rcode` and nothing else */
	DNS_NODATA,			/* the name is there, nothing of that type */
	DNS_ABSENT,			/* it does not exist; `zone` says so, if there is one */
	DNS_HOST,			/* `host` */
	DNS_ADDRESS,			/* `addr`, if it is of the family that was asked for */
	DNS_WHOSE,			/* `name`, for the address that was asked for */
	DNS_FORWARD,			/* `route`: others know */
};

struct dns_decision {
	enum dns_verdict verdict;
	int rcode;
	const struct dns_host *host;
	const struct dns_name *name;
	const struct dns_name *zone;
	struct dns_route *route;
	struct warren_addr addr;
};

/*
 * Pointers go into @plan. @why (may be NULL) gets the chain of decisions, a line each, the last
 * one the outcome.
 */
struct str;
void dns_decide(const struct dns_plan *plan, const struct dns_query *q, struct dns_decision *out,
		struct str *why);

/*
 * The same for a peer that uses this node as its exit node: what anybody on the internet would be
 * told. Names and addresses of the network, of this host and of its neighbours are refused, as is
 * what the network's server says is not for them.
 */
void dns_decide_peer(const struct dns_plan *plan, const struct dns_query *q,
		     struct dns_decision *out);

/* The message for everything but FORWARD, to be finished for its client. Its length. */
size_t dns_answer_local(const struct dns_decision *decision, const struct dns_query *q,
			uint32_t serial, uint8_t *out, size_t size);

#endif
