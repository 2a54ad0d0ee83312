/*
 * dns/record.h - what records say, as text
 */
#ifndef DNS_RECORD_H
#define DNS_RECORD_H

#include "base/dnsmsg.h"

struct str;

/*
 * @value of a record of @type as zone files have it: A AAAA MX NS PTR SRV TXT, and any type but
 * CNAME as "\# LENGTH DIGITS" (RFC 3597 5). Returns the length at @out, or -EINVAL.
 */
int dns_record_parse(uint16_t type, const char *value, uint8_t *out, size_t size);
/* The reverse, of a record inside a message. */
void dns_record_text(const uint8_t *msg, size_t len, const struct dns_record_view *record,
		     struct str *out);

#endif
