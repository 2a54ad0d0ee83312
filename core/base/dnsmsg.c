/*
 * DNS messages.
 */
#include "base/dnsmsg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/units.h"
#include "base/util.h"

enum {
	OPT_DO = 0x8000,		/* RFC 3225 */
	TTL_MAX = 0x7fffffff,		/* RFC 2181 8: larger is 0 */
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void set16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/*
 * ---- Reading ----
 */

bool dns_walk_begin(struct dns_walk *walk, const uint8_t *msg, size_t len)
{
	uint16_t questions, count;

	memset(walk, 0, sizeof(*walk));
	walk->msg = msg;
	buf_reader_init(&walk->r, msg, len);
	if (!buf_skip(&walk->r, 4) || !buf_be16(&walk->r, &questions))
		return false;
	for (int i = 0; i < 3; i++) {
		if (!buf_be16(&walk->r, &count))
			return false;
		walk->left[i] = count;
	}
	for (; questions > 0; questions--) {
		if (!dns_name_skip(&walk->r) || !buf_skip(&walk->r, 4))
			return false;
	}
	return true;
}

int dns_walk_next(struct dns_walk *walk, struct dns_record_view *out)
{
	while (walk->section < 3 && walk->left[walk->section] == 0)
		walk->section++;
	if (walk->section == 3)
		return 0;
	walk->left[walk->section]--;
	out->section = walk->section;
	out->owner = (size_t)(walk->r.at - walk->msg);
	if (!dns_name_skip(&walk->r) || !buf_be16(&walk->r, &out->type) ||
	    !buf_be16(&walk->r, &out->class_))
		return -EBADMSG;
	out->ttl_at = (size_t)(walk->r.at - walk->msg);
	if (!buf_be32(&walk->r, &out->ttl) || !buf_be16(&walk->r, &out->len))
		return -EBADMSG;
	out->data = (size_t)(walk->r.at - walk->msg);
	return buf_skip(&walk->r, out->len) ? 1 : -EBADMSG;
}

/* The OPT record of a query: the one of its kind, of the root (RFC 6891 6.1.1). */
static int read_opt(const struct dns_record_view *record, const uint8_t *msg, struct dns_query *q)
{
	if (q->edns || record->section != DNS_ADDITIONAL || msg[record->owner] != 0)
		return DNS_FORMERR;
	q->edns = true;
	q->dnssec_ok = record->ttl & OPT_DO;
	q->room = record->class_ < DNS_UDP_PLAIN ? DNS_UDP_PLAIN :
		  record->class_ > DNS_UDP_MAX ? DNS_UDP_MAX : record->class_;
	q->bad_version = record->ttl >> 16 & 0xff;
	return q->bad_version ? DNS_BADVERS : 0;
}

static int read_question(const uint8_t *msg, size_t len, struct dns_query *q)
{
	struct buf_reader r;

	buf_reader_init(&r, msg + DNS_HEADER, len - DNS_HEADER);
	if (get16(msg + 4) != 1 || !dns_name_read(&r, &q->name, q->asked) ||
	    !buf_be16(&r, &q->type) || !buf_be16(&r, &q->class_)) {
		q->name.len = 0;
		return DNS_FORMERR;
	}
	return 0;
}

int dns_query_parse(const uint8_t *msg, size_t len, struct dns_query *q)
{
	struct dns_record_view record;
	struct dns_walk walk;
	int result, refuse = 0;

	memset(q, 0, sizeof(*q));
	q->room = DNS_UDP_PLAIN;
	if (len < DNS_HEADER || get16(msg + 2) & DNS_QR)
		return -EBADMSG;
	q->id = get16(msg);
	q->flags = get16(msg + 2);
	if (q->flags & DNS_OPCODE)
		return DNS_NOTIMP;
	result = read_question(msg, len, q);
	if (result)
		return result;
	if (!dns_walk_begin(&walk, msg, len))
		return DNS_FORMERR;
	while ((result = dns_walk_next(&walk, &record)) == 1) {
		if (record.type == DNS_TYPE_OPT && refuse == 0)
			refuse = read_opt(&record, msg, q);
	}
	return result ? DNS_FORMERR : refuse;
}

static bool answers(const uint8_t *msg, size_t len, const struct dns_query *q, uint16_t id)
{
	struct dns_name name;
	uint16_t type, class_;
	struct buf_reader r;

	if (len < DNS_HEADER || get16(msg) != id || !(get16(msg + 2) & DNS_QR) ||
	    get16(msg + 2) & DNS_OPCODE || get16(msg + 4) != 1)
		return false;
	buf_reader_init(&r, msg + DNS_HEADER, len - DNS_HEADER);
	return dns_name_read(&r, &name, NULL) && buf_be16(&r, &type) && buf_be16(&r, &class_) &&
	       dns_name_equal(&name, &q->name) && type == q->type && class_ == q->class_;
}

/* How long that there is none may be believed: RFC 2308 5. */
static uint32_t soa_ttl(const uint8_t *msg, const struct dns_record_view *soa)
{
	uint32_t minimum = soa->len >= 4 ? get32(msg + soa->data + soa->len - 4) : 0;

	return minimum < soa->ttl ? minimum : soa->ttl;
}

int dns_answer_parse(const uint8_t *msg, size_t len, const struct dns_query *q, uint16_t id,
		     struct dns_answer *out)
{
	struct dns_record_view record;
	uint32_t ttl = TTL_MAX, negative = 0;
	bool found = false;
	struct dns_walk walk;
	int more;

	memset(out, 0, sizeof(*out));
	if (!answers(msg, len, q, id))
		return -ENOMSG;
	out->flags = get16(msg + 2);
	out->rcode = out->flags & DNS_RCODE;
	if (!dns_walk_begin(&walk, msg, len))
		return -EBADMSG;
	while ((more = dns_walk_next(&walk, &record)) == 1) {
		if (record.type == DNS_TYPE_OPT) {
			if (out->edns || record.section != DNS_ADDITIONAL)
				return -EBADMSG;
			out->edns = true;
			out->len = record.owner;
			out->rcode |= (uint16_t)(record.ttl >> 24 << 4);
			continue;
		}
		out->additional += record.section == DNS_ADDITIONAL && !out->edns;
		if (record.ttl > TTL_MAX)
			record.ttl = 0;
		found = found || record.section == DNS_ANSWER;
		if (record.section == DNS_AUTHORITY && record.type == DNS_SOA)
			negative = soa_ttl(msg, &record);
		if (record.ttl < ttl)
			ttl = record.ttl;
	}
	if (more < 0)
		return -EBADMSG;
	if (!out->edns)
		out->len = (size_t)(walk.r.at - msg);
	if (out->rcode == DNS_NXDOMAIN || (out->rcode == DNS_NOERROR && !found))
		ttl = negative < ttl ? negative : ttl;
	out->ttl = out->rcode == DNS_NOERROR || out->rcode == DNS_NXDOMAIN ? ttl : 0;
	return 0;
}

size_t dns_answer_strip(uint8_t *msg, const struct dns_answer *answer)
{
	set16(msg, 0);
	set16(msg + 10, answer->additional);
	return answer->len;
}

/*
 * ---- Writing ----
 */

static void put_opt(struct buf_writer *w, bool dnssec_ok, uint8_t rcode_high)
{
	buf_put_u8(w, 0);
	buf_put_be16(w, DNS_TYPE_OPT);
	buf_put_be16(w, DNS_UDP_EDNS);
	buf_put_u8(w, rcode_high);
	buf_put_u8(w, 0);
	buf_put_be16(w, dnssec_ok ? OPT_DO : 0);
	buf_put_be16(w, 0);
}

size_t dns_query_write(const struct dns_query *q, uint16_t id, bool edns,
		       uint8_t out[DNS_QUERY_MAX])
{
	struct buf_writer w;

	buf_writer_init(&w, out, DNS_QUERY_MAX);
	buf_put_be16(&w, id);
	buf_put_be16(&w, (uint16_t)(DNS_RD | (q->flags & (DNS_CD | DNS_AD))));
	buf_put_be16(&w, 1);
	buf_put_be32(&w, 0);
	buf_put_be16(&w, edns);
	buf_put_bytes(&w, q->name.wire, q->name.len);
	buf_put_be16(&w, q->type);
	buf_put_be16(&w, q->class_);
	if (edns)
		put_opt(&w, q->dnssec_ok, 0);
	return buf_written(&w);
}

void dns_reply_begin(struct dns_reply *reply, const struct dns_query *q, uint16_t flags,
		     uint8_t *out, size_t size)
{
	memset(reply, 0, sizeof(*reply));
	buf_writer_init(&reply->w, out, size);
	buf_put_be16(&reply->w, 0);
	buf_put_be16(&reply->w, (uint16_t)(flags | DNS_QR | (q->flags & DNS_OPCODE)));
	buf_put_be16(&reply->w, q->name.len > 0);
	buf_put_zero(&reply->w, 6);
	if (q->name.len > 0) {
		buf_put_bytes(&reply->w, q->name.wire, q->name.len);
		buf_put_be16(&reply->w, q->type);
		buf_put_be16(&reply->w, q->class_);
	}
}

void dns_reply_add(struct dns_reply *reply, int section, const struct dns_name *owner,
		   uint16_t type, uint32_t ttl, const void *data, uint16_t len)
{
	struct buf_writer before = reply->w;

	if (owner)
		buf_put_bytes(&reply->w, owner->wire, owner->len);
	else
		buf_put_be16(&reply->w, 0xc000 | DNS_HEADER);
	buf_put_be16(&reply->w, type);
	buf_put_be16(&reply->w, DNS_IN);
	buf_put_be32(&reply->w, ttl);
	buf_put_be16(&reply->w, len);
	if (buf_put_bytes(&reply->w, data, len))
		reply->counts[section]++;
	else
		reply->w = before;
}

void dns_reply_soa(struct dns_reply *reply, const struct dns_name *zone, uint32_t ttl,
		   uint32_t serial)
{
	uint8_t data[2 * DNS_NAME_MAX + 20];
	struct buf_writer w;

	buf_writer_init(&w, data, sizeof(data));
	buf_put_bytes(&w, zone->wire, zone->len);
	buf_put_bytes(&w, zone->wire, zone->len);
	buf_put_be32(&w, serial);
	for (int i = 0; i < 4; i++)	/* refresh, retry, expire, minimum */
		buf_put_be32(&w, ttl);
	dns_reply_add(reply, DNS_AUTHORITY, zone, DNS_SOA, ttl, data, (uint16_t)buf_written(&w));
}

size_t dns_reply_end(struct dns_reply *reply)
{
	for (int i = 0; i < 3; i++)
		set16(reply->w.start + 6 + 2 * i, reply->counts[i]);
	return buf_written(&reply->w);
}

size_t dns_reply_refuse(const struct dns_query *q, int rcode, uint8_t *out, size_t size)
{
	struct dns_reply reply;

	dns_reply_begin(&reply, q, (uint16_t)(rcode & DNS_RCODE), out, size);
	return dns_reply_end(&reply);
}

static void shorten(uint8_t *msg, size_t len, uint32_t age)
{
	struct dns_record_view record;
	struct dns_walk walk;

	if (age == 0 || !dns_walk_begin(&walk, msg, len))
		return;
	while (dns_walk_next(&walk, &record) == 1) {
		uint32_t left = record.ttl > TTL_MAX || record.ttl < age ? 0 : record.ttl - age;

		set16(msg + record.ttl_at, (uint16_t)(left >> 16));
		set16(msg + record.ttl_at + 2, (uint16_t)left);
	}
}

size_t dns_reply_finish(const uint8_t *msg, size_t len, const struct dns_query *q, size_t room,
			uint32_t age, uint8_t *out)
{
	uint16_t flags = (uint16_t)((get16(msg + 2) & ~(DNS_RD | DNS_CD)) |
				    (q->flags & (DNS_RD | DNS_CD)) | DNS_RA);
	size_t question = DNS_HEADER + (q->name.len > 0 ? q->name.len + 4u : 0);
	struct buf_writer w;

	memcpy(out, msg, len);
	shorten(out, len, age);
	if (q->name.len > 0)
		memcpy(out + DNS_HEADER, q->asked, q->name.len);
	if (!(q->flags & DNS_AD) && !q->dnssec_ok)	/* RFC 6840 5.8 */
		flags &= (uint16_t)~DNS_AD;
	if (len + (q->edns ? DNS_OPT : 0) > room) {
		len = question;
		memset(out + 6, 0, 6);
		flags |= DNS_TC;
	}
	set16(out, q->id);
	set16(out + 2, flags);
	if (!q->edns)
		return len;
	buf_writer_init(&w, out + len, DNS_OPT);
	put_opt(&w, q->dnssec_ok, q->bad_version ? DNS_BADVERS >> 4 : 0);
	set16(out + 10, (uint16_t)(get16(out + 10) + 1));
	return len + DNS_OPT;
}

/*
 * ---- Types ----
 */

static const struct {
	const char *name;
	uint16_t type;
} types[] = {
	{ "A", DNS_A }, { "AAAA", DNS_AAAA }, { "ALL", DNS_ANY }, { "ANY", DNS_ANY },
	{ "AXFR", DNS_AXFR }, { "CAA", 257 }, { "CNAME", DNS_CNAME }, { "DNSKEY", 48 },
	{ "DS", 43 }, { "HINFO", DNS_HINFO }, { "HTTPS", 65 }, { "IXFR", DNS_IXFR },
	{ "MX", DNS_MX }, { "NAPTR", 35 }, { "NS", DNS_NS }, { "PTR", DNS_PTR },
	{ "RRSIG", 46 }, { "SOA", DNS_SOA }, { "SRV", DNS_SRV }, { "SSHFP", 44 },
	{ "SVCB", 64 }, { "TLSA", 52 }, { "TXT", DNS_TXT },
};

const char *dns_type_text(uint16_t type, char out[16])
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].type == type && type != DNS_ANY)
			return types[i].name;
	}
	if (type == DNS_ANY)
		return "ANY";
	snprintf(out, 16, "TYPE%u", type);
	return out;
}

uint16_t dns_type_parse(const char *text)
{
	int64_t number;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (strcasecmp(types[i].name, text) == 0)
			return types[i].type;
	}
	if (strncasecmp(text, "TYPE", 4) == 0 && units_parse_int(text + 4, &number) == 0 &&
	    number > 0 && number <= UINT16_MAX)
		return (uint16_t)number;
	return 0;
}
