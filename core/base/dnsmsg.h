/*
 * base/dnsmsg.h - DNS messages: queries of clients, answers of resolvers (RFC 1035, 6891, 2308)
 *
 * What is kept and passed around inside is an answer without OPT record and with id 0: an answer of
 * our own and one of a resolver alike. dns_reply_finish() makes of it what one client gets.
 */
#ifndef WARREN_BASE_DNSMSG_H
#define WARREN_BASE_DNSMSG_H

#include "base/dnsname.h"

enum {
	DNS_HEADER = 12,
	DNS_MSG_MAX = 65535,
	DNS_UDP_PLAIN = 512,		/* an answer's bytes to who says nothing (RFC 1035 2.3.4) */
	DNS_UDP_EDNS = 1232,		/* what we say ourselves: passes every path unfragmented */
	DNS_UDP_MAX = 4096,
	DNS_OPT = 11,			/* bytes of an OPT record without options */
};

enum { DNS_A = 1, DNS_NS = 2, DNS_CNAME = 5, DNS_SOA = 6, DNS_PTR = 12, DNS_HINFO = 13,
       DNS_MX = 15, DNS_TXT = 16, DNS_AAAA = 28, DNS_SRV = 33, DNS_TYPE_OPT = 41,
       DNS_DS = 43, DNS_DNSKEY = 48, DNS_IXFR = 251, DNS_AXFR = 252, DNS_ANY = 255 };
enum { DNS_IN = 1 };
enum { DNS_QR = 0x8000, DNS_AA = 0x0400, DNS_TC = 0x0200, DNS_RD = 0x0100, DNS_RA = 0x0080,
       DNS_AD = 0x0020, DNS_CD = 0x0010, DNS_OPCODE = 0x7800, DNS_RCODE = 0x000f };
enum { DNS_NOERROR = 0, DNS_FORMERR = 1, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_NOTIMP = 4,
       DNS_REFUSED = 5, DNS_BADVERS = 16 };

struct dns_query {
	uint16_t id, flags;
	uint16_t type, class_;
	struct dns_name name;		/* empty: the question could not be read */
	uint8_t asked[DNS_NAME_MAX];	/* the same as the client wrote it */
	bool edns, dnssec_ok;
	bool bad_version;		/* of EDNS: refused with BADVERS */
	uint16_t room;			/* bytes of the longest answer by UDP */
};

/*
 * 0: a query. Above 0: the code with which it is to be refused, for dns_reply_refuse().
 * -EBADMSG: nothing that is to be answered.
 */
int dns_query_parse(const uint8_t *msg, size_t len, struct dns_query *q);
/* For a resolver: the question in lower case. Returns its length; DNS_QUERY_MAX bytes at @out. */
enum { DNS_QUERY_MAX = DNS_HEADER + DNS_NAME_MAX + 4 + DNS_OPT };
size_t dns_query_write(const struct dns_query *q, uint16_t id, bool edns,
		       uint8_t out[DNS_QUERY_MAX]);

struct dns_answer {
	uint16_t flags, rcode;		/* with the upper bits of OPT */
	uint32_t ttl;			/* for how long it may be kept, seconds */
	bool edns;			/* it has an OPT record */
	size_t len;			/* without that, and what follows it */
	uint16_t additional;		/* records ahead of it in that section */
};
/* 0; -ENOMSG: an answer to something else; -EBADMSG. */
int dns_answer_parse(const uint8_t *msg, size_t len, const struct dns_query *q, uint16_t id,
		     struct dns_answer *out);
/* Makes of it what is kept: cuts OPT off, clears the id. Returns its length. */
size_t dns_answer_strip(uint8_t *msg, const struct dns_answer *answer);

/* Records of a message, one after the other. */
enum { DNS_ANSWER = 0, DNS_AUTHORITY, DNS_ADDITIONAL };
struct dns_record_view {
	size_t owner;			/* offset of its name */
	uint16_t type, class_;
	uint32_t ttl;
	size_t ttl_at, data;		/* offsets */
	uint16_t len;
	int section;
};
struct dns_walk {
	const uint8_t *msg;
	struct buf_reader r;
	uint32_t left[3];
	int section;
};
bool dns_walk_begin(struct dns_walk *walk, const uint8_t *msg, size_t len);
/* 1: @out; 0: no more; -EBADMSG. */
int dns_walk_next(struct dns_walk *walk, struct dns_record_view *out);

/*
 * ---- Making answers ----
 */
struct dns_reply {
	struct buf_writer w;
	uint16_t counts[3];
};
void dns_reply_begin(struct dns_reply *reply, const struct dns_query *q, uint16_t flags,
		     uint8_t *out, size_t size);
/* Owned by the question's name (NULL) or by @owner. What does not fit is left out. */
void dns_reply_add(struct dns_reply *reply, int section, const struct dns_name *owner,
		   uint16_t type, uint32_t ttl, const void *data, uint16_t len);
/* A negative answer's SOA record: @zone names itself. */
void dns_reply_soa(struct dns_reply *reply, const struct dns_name *zone, uint32_t ttl,
		   uint32_t serial);
size_t dns_reply_end(struct dns_reply *reply);
/* The answer with nothing but @rcode. */
size_t dns_reply_refuse(const struct dns_query *q, int rcode, uint8_t *out, size_t size);

/*
 * What the client of @q gets of @msg, which is @age seconds old: id and question are his, lives
 * are shortened, OPT is there if he has one. More than @room bytes: emptied and marked as cut off
 * (RFC 2181 9). @out has @len + DNS_OPT bytes. Returns its length.
 */
size_t dns_reply_finish(const uint8_t *msg, size_t len, const struct dns_query *q, size_t room,
			uint32_t age, uint8_t *out);

/* "AAAA", "TYPE65"; and back, 0: no type. */
const char *dns_type_text(uint16_t type, char out[16]);
uint16_t dns_type_parse(const char *text);

#endif
