/*
 * Updates and their signatures. An answer that is not signed by the key changes nothing for us but
 * the sentence: anybody on the way could have made it.
 */
#include "update.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

enum {
	OPCODE_UPDATE = 5 << 11, CLASS_ANY = 255, TYPE_TSIG = 250,
	TTL_TEXT = 10, FUDGE = 300,
	NOTAUTH = 9, BADSIG = 16, BADKEY = 17, BADTIME = 18,
};

static const char *const algorithms[] = {
	[ZONE_HMAC_SHA256] = "hmac-sha256", [ZONE_HMAC_SHA512] = "hmac-sha512",
};

static size_t mac_size(const struct zone_key *key)
{
	return key->algorithm == ZONE_HMAC_SHA512 ? crypto_auth_hmacsha512_BYTES :
						    crypto_auth_hmacsha256_BYTES;
}

/* Of all that is in @pieces one after the other, to which a NULL is the end. */
struct piece {
	const void *data;
	size_t len;
};

static void mac_of(const struct zone_key *key, const struct piece *pieces, uint8_t out[ZONE_MAC])
{
	crypto_auth_hmacsha256_state s256;
	crypto_auth_hmacsha512_state s512;
	bool large = key->algorithm == ZONE_HMAC_SHA512;

	memset(out, 0, ZONE_MAC);
	crypto_auth_hmacsha256_init(&s256, key->secret, key->len);
	crypto_auth_hmacsha512_init(&s512, key->secret, key->len);
	for (; pieces->data; pieces++) {
		if (large)
			crypto_auth_hmacsha512_update(&s512, pieces->data, pieces->len);
		else
			crypto_auth_hmacsha256_update(&s256, pieces->data, pieces->len);
	}
	if (large)
		crypto_auth_hmacsha512_final(&s512, out);
	else
		crypto_auth_hmacsha256_final(&s256, out);
	sodium_memzero(&s256, sizeof(s256));
	sodium_memzero(&s512, sizeof(s512));
}

struct tsig {				/* RFC 8945 4.2 */
	struct dns_name algorithm;
	uint64_t time;
	uint16_t fudge, id, error;
	const uint8_t *mac, *other;
	uint16_t mac_len, other_len;
};

static void put_time(struct buf_writer *w, uint64_t time)
{
	buf_put_be16(w, (uint16_t)(time >> 32));
	buf_put_be32(w, (uint32_t)time);
}

/* What is signed of it (RFC 8945 4.3.3). */
enum { VARIABLES = 2 * DNS_NAME_MAX + 32 };
static size_t variables(const struct zone_key *key, const struct tsig *t, uint8_t out[VARIABLES])
{
	struct buf_writer w;

	buf_writer_init(&w, out, VARIABLES);
	buf_put_bytes(&w, key->name.wire, key->name.len);
	buf_put_be16(&w, CLASS_ANY);
	buf_put_be32(&w, 0);
	buf_put_bytes(&w, t->algorithm.wire, t->algorithm.len);
	put_time(&w, t->time);
	buf_put_be16(&w, t->fudge);
	buf_put_be16(&w, t->error);
	buf_put_be16(&w, t->other_len);
	buf_put_bytes(&w, t->other, t->other_len);
	return buf_written(&w);
}

/* ---- writing ---- */

static void put_head(struct buf_writer *w, const struct dns_name *owner, uint16_t type,
		     uint16_t class_, uint32_t ttl, uint16_t len)
{
	buf_put_bytes(w, owner->wire, owner->len);
	buf_put_be16(w, type);
	buf_put_be16(w, class_);
	buf_put_be32(w, ttl);
	buf_put_be16(w, len);
}

/* The records that were there go, and those that are wanted come (RFC 2136 2.5). */
static uint16_t put_record(struct buf_writer *w, const struct zone_record *record)
{
	uint8_t data[ZONE_TEXT + 1];

	put_head(w, &record->name, DNS_TXT, CLASS_ANY, 0, 0);
	for (uint32_t i = 0; i < record->n; i++) {
		uint16_t len = zone_txt(record->values[i].text, data);

		put_head(w, &record->name, DNS_TXT, DNS_IN, TTL_TEXT, len);
		buf_put_bytes(w, data, len);
	}
	return (uint16_t)(1 + record->n);
}

static void put_tsig(struct buf_writer *w, const struct zone_key *key, const struct tsig *t)
{
	put_head(w, &key->name, TYPE_TSIG, CLASS_ANY, 0,
		 (uint16_t)(t->algorithm.len + 16u + t->mac_len));
	buf_put_bytes(w, t->algorithm.wire, t->algorithm.len);
	put_time(w, t->time);
	buf_put_be16(w, t->fudge);
	buf_put_be16(w, t->mac_len);
	buf_put_bytes(w, t->mac, t->mac_len);
	buf_put_be16(w, t->id);
	buf_put_be16(w, 0);
	buf_put_be16(w, 0);
}

size_t zone_update_write(struct zone_update *u, uint8_t out[ZONE_UPDATE])
{
	struct tsig t = { .time = (uint64_t)u->time, .fudge = FUDGE, .id = u->id, .mac = u->mac,
			  .mac_len = (uint16_t)mac_size(u->key) };
	uint8_t signed_too[VARIABLES];
	struct buf_writer w;
	uint16_t count = 0;
	size_t len;

	(void)dns_name_parse(algorithms[u->key->algorithm], &t.algorithm);
	buf_writer_init(&w, out, ZONE_UPDATE);
	buf_put_be16(&w, u->id);
	buf_put_be16(&w, OPCODE_UPDATE);
	buf_put_be16(&w, 1);
	buf_put_zero(&w, 6);
	buf_put_bytes(&w, u->zone.wire, u->zone.len);
	buf_put_be16(&w, DNS_SOA);
	buf_put_be16(&w, DNS_IN);
	for (uint32_t i = 0; i < u->n; i++)
		count = (uint16_t)(count + put_record(&w, u->records[i]));
	out[8] = (uint8_t)(count >> 8);
	out[9] = (uint8_t)count;
	len = variables(u->key, &t, signed_too);
	mac_of(u->key, (const struct piece[]){ { out, buf_written(&w) }, { signed_too, len },
					       { NULL, 0 } }, u->mac);
	put_tsig(&w, u->key, &t);
	out[11] = 1;
	return buf_written(&w);
}

/* ---- reading ---- */

static bool read_tsig(const uint8_t *msg, size_t len, const struct dns_record_view *at,
		      struct tsig *out)
{
	struct buf_reader r;
	uint16_t high;
	uint32_t low;

	memset(out, 0, sizeof(*out));
	buf_reader_init(&r, msg + at->data, at->len);
	if (!dns_name_expand(msg, len, at->data, &out->algorithm) || !dns_name_skip(&r) ||
	    !buf_be16(&r, &high) || !buf_be32(&r, &low) || !buf_be16(&r, &out->fudge) ||
	    !buf_be16(&r, &out->mac_len))
		return false;
	out->time = (uint64_t)high << 32 | low;
	out->mac = buf_view(&r, out->mac_len);
	if (!out->mac || !buf_be16(&r, &out->id) || !buf_be16(&r, &out->error) ||
	    !buf_be16(&r, &out->other_len) || out->other_len > 6)
		return false;
	out->other = buf_view(&r, out->other_len);
	return out->other && buf_done(&r);
}

/* The last record, if it is a signature. */
static bool find_tsig(const uint8_t *msg, size_t len, struct dns_record_view *out)
{
	struct dns_walk walk;
	int more;

	memset(out, 0, sizeof(*out));
	if (!dns_walk_begin(&walk, msg, len))
		return false;
	while ((more = dns_walk_next(&walk, out)) == 1)
		;
	return more == 0 && out->type == TYPE_TSIG && out->section == DNS_ADDITIONAL &&
	       buf_done(&walk.r);
}

static bool is_signed(const struct zone_update *u, const uint8_t *msg, size_t tsig_at,
		      const struct tsig *t)
{
	uint8_t head[DNS_HEADER], size[2] = { 0, (uint8_t)mac_size(u->key) };
	uint8_t signed_too[VARIABLES], mac[ZONE_MAC];
	uint16_t additional;
	size_t len = variables(u->key, t, signed_too);

	memcpy(head, msg, sizeof(head));
	head[0] = (uint8_t)(t->id >> 8);
	head[1] = (uint8_t)t->id;
	additional = (uint16_t)((head[10] << 8 | head[11]) - 1);
	head[10] = (uint8_t)(additional >> 8);
	head[11] = (uint8_t)additional;
	mac_of(u->key, (const struct piece[]){ { size, sizeof(size) },
					       { u->mac, mac_size(u->key) },
					       { head, sizeof(head) },
					       { msg + DNS_HEADER, tsig_at - DNS_HEADER },
					       { signed_too, len }, { NULL, 0 } }, mac);
	return t->mac_len == mac_size(u->key) && sodium_memcmp(mac, t->mac, t->mac_len) == 0;
}

static const char *rcode_text(int rcode)
{
	static const char *const texts[] = {
		"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN",
		"YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE",
	};

	return (size_t)rcode < ARRAY_SIZE(texts) ? texts[rcode] : "an unknown error";
}

/* Of one that is not signed; nobody vouches for it. */
static int read_unsigned(int rcode, uint16_t error, char why[ZONE_WHY])
{
	switch (error) {
	case BADKEY:
		snprintf(why, ZONE_WHY, "the server does not know the key: compare its name and "
			 "algorithm there and here (BADKEY)");
		return -EACCES;
	case BADSIG:
		snprintf(why, ZONE_WHY, "the server has another secret for this key (BADSIG)");
		return -EACCES;
	}
	snprintf(why, ZONE_WHY, "the server answers %s, and its answer is not signed with the key",
		 rcode_text(rcode));
	return -EBADMSG;
}

static int read_rcode(int rcode, uint16_t error, char why[ZONE_WHY])
{
	if (rcode == 0)
		return 0;
	if (error == BADTIME)
		snprintf(why, ZONE_WHY, "the server's clock and ours differ by more than five "
			 "minutes (BADTIME)");
	else
		snprintf(why, ZONE_WHY, "the server refuses the change: %s%s", rcode_text(rcode),
			 rcode == DNS_REFUSED ? "; let this key change TXT records there" :
			 rcode == NOTAUTH ? "; it is no primary server of the zone" : "");
	return -EPERM;
}

int zone_update_read(const struct zone_update *u, const uint8_t *msg, size_t len, int64_t now,
		     char why[ZONE_WHY])
{
	struct dns_record_view at;
	struct dns_name owner, algorithm;
	struct tsig t = { .error = 0 };
	int rcode;

	snprintf(why, ZONE_WHY, "the server's answer is no answer to what was sent");
	if (len < DNS_HEADER || (msg[0] << 8 | msg[1]) != u->id || !(msg[2] & 0x80) ||
	    (msg[2] & 0x78) != OPCODE_UPDATE >> 8)
		return -ENOMSG;
	rcode = msg[3] & DNS_RCODE;
	if (!find_tsig(msg, len, &at))
		return read_unsigned(rcode, 0, why);
	if (!read_tsig(msg, len, &at, &t) || !dns_name_expand(msg, len, at.owner, &owner) ||
	    at.class_ != CLASS_ANY || at.ttl != 0)
		return -EBADMSG;
	(void)dns_name_parse(algorithms[u->key->algorithm], &algorithm);
	if (t.mac_len == 0 || !dns_name_equal(&owner, &u->key->name) ||
	    !dns_name_equal(&t.algorithm, &algorithm) || !is_signed(u, msg, at.owner, &t))
		return read_unsigned(rcode, t.mac_len == 0 ? t.error : 0, why);
	if (t.error != BADTIME && ((int64_t)t.time > now + t.fudge ||
				   (int64_t)t.time < now - t.fudge)) {
		snprintf(why, ZONE_WHY, "the server's answer was signed at another time");
		return -EBADMSG;
	}
	return read_rcode(rcode, t.error, why);
}
