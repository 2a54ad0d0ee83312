/*
 * base/dnsname.h - domain names in the form of the wire, in lower case
 *
 * One form for comparing, hashing and sending: labels behind their lengths, the root's zero at the
 * end (RFC 1035 3.1). Every suffix of a name is a piece of it.
 */
#ifndef WARREN_BASE_DNSNAME_H
#define WARREN_BASE_DNSNAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
	DNS_LABEL_MAX = 63,
	DNS_NAME_MAX = 255,		/* bytes, with the root's (RFC 1035 2.3.4) */
	DNS_NAME_TEXT = 4 * DNS_NAME_MAX + 1,	/* every byte as \DDD */
};

struct dns_name {
	uint8_t len;			/* 0: none; 1: the root */
	uint8_t wire[DNS_NAME_MAX];
};

/* "nas.tail.example.com", with or without the dot at the end; "." is the root. 0 or -EINVAL. */
int dns_name_parse(const char *text, struct dns_name *out);
/* One without compression. @asked (may be NULL) gets it as it stands, of the same length. */
bool dns_name_read(struct buf_reader *r, struct dns_name *out, uint8_t asked[DNS_NAME_MAX]);
/* The name at @at of a message, behind pointers too, which lead backwards only. */
bool dns_name_expand(const uint8_t *msg, size_t len, size_t at, struct dns_name *out);
/* Passes over the name at the reader's place. */
bool dns_name_skip(struct buf_reader *r);
/* Without the dot at the end, unless it is the root's. Returns @out. */
const char *dns_name_text(const struct dns_name *name, char out[DNS_NAME_TEXT]);

bool dns_name_equal(const struct dns_name *a, const struct dns_name *b);
/* @name is @zone or below it. */
bool dns_name_under(const struct dns_name *name, const struct dns_name *zone);
uint32_t dns_name_labels(const struct dns_name *name);	/* the root's is none */
/* Without its first label; false: it is the root. @out may be @name. */
bool dns_name_parent(const struct dns_name *name, struct dns_name *out);
/* @label in front of @zone. False: too long. */
bool dns_name_join(const char *label, size_t len, const struct dns_name *zone,
		   struct dns_name *out);

/* The name of an address's reverse look-up, and back (RFC 1035 3.5, RFC 3596 2.5). */
struct warren_addr;
void dns_name_reverse(const struct warren_addr *addr, struct dns_name *out);
bool dns_name_address(const struct dns_name *name, struct warren_addr *out);

#endif
