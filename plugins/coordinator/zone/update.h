/*
 * zone/update.h - changes of a zone on a server elsewhere: RFC 2136, signed with TSIG (RFC 8945)
 *
 * A change says what records a name has from then on, so that one that comes twice, or after
 * another was lost, is right as well. Pure.
 */
#ifndef WARREN_COORDINATOR_ZONE_UPDATE_H
#define WARREN_COORDINATOR_ZONE_UPDATE_H

#include "base/dnsmsg.h"
#include "records.h"

enum zone_algorithm { ZONE_HMAC_SHA256 = 0, ZONE_HMAC_SHA512 };
enum { ZONE_SECRET = 128, ZONE_MAC = 64, ZONE_BATCH = 12, ZONE_UPDATE = 32768 };

struct zone_key {			/* shared with the server; the caller wipes it */
	struct dns_name name;
	enum zone_algorithm algorithm;
	uint8_t secret[ZONE_SECRET];
	size_t len;
};

struct zone_update {
	struct dns_name zone;
	const struct zone_key *key;
	uint16_t id;
	int64_t time;			/* seconds since 1970 */
	const struct zone_record *records[ZONE_BATCH];
	uint32_t n;
	uint8_t mac[ZONE_MAC];		/* of the request, made by zone_update_write() */
};

/* The length of the message in @out. */
size_t zone_update_write(struct zone_update *update, uint8_t out[ZONE_UPDATE]);
/*
 * The server's answer: 0, it has done that; -ENOMSG: an answer to something else; else -errno. @why
 * says in either case of failure what is wrong. @now: seconds since 1970.
 */
enum { ZONE_WHY = 200 };
int zone_update_read(const struct zone_update *update, const uint8_t *msg, size_t len, int64_t now,
		     char why[ZONE_WHY]);

#endif
