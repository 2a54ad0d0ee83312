/*
 * zone/answer.h - answers for a zone that this server is delegated (RFC 1034 4.3.2)
 *
 * It has its own records (SOA, NS) and those of devices, and nothing else: names of devices are
 * the tailnet's. Pure.
 */
#ifndef WARREN_COORDINATOR_ZONE_ANSWER_H
#define WARREN_COORDINATOR_ZONE_ANSWER_H

#include "base/dnsmsg.h"
#include "records.h"

enum { ZONE_SERVERS = 4, ZONE_ANSWER = 4096 };

struct zone_facts {
	struct dns_name name;
	struct dns_name servers[ZONE_SERVERS];	/* the first is the primary one */
	uint32_t n_servers;
	struct dns_name contact;	/* an address with a dot for its @ */
};

/* @stream: not cut at what UDP takes. Returns the answer's length in @out; 0: none. */
size_t zone_answer(const struct zone_facts *zone, const struct zone_records *records,
		   const uint8_t *msg, size_t len, bool stream, uint8_t out[ZONE_ANSWER]);

#endif
