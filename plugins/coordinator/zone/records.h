/*
 * zone/records.h - what devices say to prove their names: TXT records that live for an hour
 *
 * In memory only: an order that a restart cuts off is begun anew by the device. Pure: the caller
 * says what time it is, in microseconds.
 */
#ifndef WARREN_COORDINATOR_ZONE_RECORDS_H
#define WARREN_COORDINATOR_ZONE_RECORDS_H

#include "base/dnsname.h"
#include "base/list.h"

enum {
	ZONE_NAMES = 4096,		/* that have records at a time */
	ZONE_VALUES = 4,		/* of one name; the oldest makes room */
	ZONE_TEXT = 255,		/* bytes of one (RFC 1035 3.3.14) */
	ZONE_SETS = 60,			/* of one name within the hour */
};

struct zone_value {
	char text[ZONE_TEXT + 1];
	uint64_t until;
};
struct zone_record {
	struct list link;
	struct dns_name name;
	struct zone_value values[ZONE_VALUES];	/* oldest first */
	uint32_t n;			/* 0: it is about to go */
	bool changed, sending;		/* a server elsewhere has not been told; is being told */
	uint32_t sets;
	uint64_t sets_until;
};
struct zone_records {
	struct list all;
	uint32_t count;
	uint32_t serial;		/* of SOA: grows with every change */
};

void zone_records_init(struct zone_records *records, uint32_t serial);
void zone_records_free(struct zone_records *records);
/*
 * 0; -EBUSY: this name was set too often; -ENOSPC: so many names have records; -EINVAL: such a
 * text is no TXT record; -ENOMEM. What is there already lives for another hour, and is no change.
 */
int zone_records_set(struct zone_records *records, const struct dns_name *name, const char *text,
		     uint64_t now, struct zone_record **out);
/* Values whose hour is over go; what is left without any is `changed`, and goes with the next. */
void zone_records_expire(struct zone_records *records, uint64_t now);
const struct zone_record *zone_records_find(const struct zone_records *records,
					    const struct dns_name *name);
/* Is there a record below @name? */
bool zone_records_below(const struct zone_records *records, const struct dns_name *name);
/* The data of a TXT record with that one text; its length. */
uint16_t zone_txt(const char *text, uint8_t out[ZONE_TEXT + 1]);

#endif
