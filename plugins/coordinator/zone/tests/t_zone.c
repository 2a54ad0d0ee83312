/*
 * The zone's records and what is said of them; changes for a server elsewhere, against what a real
 * one (knot 3.2) has answered.
 */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../answer.h"
#include "../update.h"
#include "base/base64.h"
#include "base/hex.h"
#include "base/util.h"

#define HOUR (UINT64_C(3600) * 1000000)

static struct dns_name name_of(const char *text)
{
	struct dns_name name;

	assert_int_equal(dns_name_parse(text, &name), 0);
	return name;
}

static int set(struct zone_records *records, const char *name, const char *text, uint64_t now)
{
	const struct dns_name wire = name_of(name);
	struct zone_record *record;

	return zone_records_set(records, &wire, text, now, &record);
}

static uint32_t values(const struct zone_records *records, const char *name)
{
	const struct dns_name wire = name_of(name);
	const struct zone_record *record = zone_records_find(records, &wire);

	return record ? record->n : UINT32_MAX;
}

/* ---- records ---- */

static void records_live_for_an_hour(void **state)
{
	struct zone_records records;
	uint32_t serial;

	(void)state;
	zone_records_init(&records, 7);
	assert_int_equal(set(&records, "a.b", "one", 1), 0);
	assert_int_equal(set(&records, "a.b", "two", HOUR / 2), 0);
	serial = records.serial;
	assert_int_equal(set(&records, "A.b.", "two", HOUR / 2), 0);
	assert_int_equal(records.serial, serial);	/* that is no change */
	zone_records_expire(&records, HOUR);
	assert_int_equal(values(&records, "a.b"), 2);
	zone_records_expire(&records, HOUR + 1);
	assert_int_equal(values(&records, "a.b"), 1);
	assert_true(records.serial > serial);
	zone_records_expire(&records, 3 * HOUR);
	assert_int_equal(values(&records, "a.b"), 0);	/* a server elsewhere is to be told */
	list_first(&records.all, struct zone_record, link)->changed = false;
	zone_records_expire(&records, 4 * HOUR);
	assert_int_equal(records.count, 0);
	zone_records_free(&records);
}

static void records_have_limits(void **state)
{
	struct zone_records records;
	char text[300] = "", name[32];

	(void)state;
	zone_records_init(&records, 1);
	assert_int_equal(set(&records, "a", "", 1), -EINVAL);
	assert_int_equal(set(&records, "a", "new\nline", 1), -EINVAL);
	memset(text, 'x', 256);
	assert_int_equal(set(&records, "a", text, 1), -EINVAL);
	text[255] = '\0';
	assert_int_equal(set(&records, "a", text, 1), 0);
	for (int i = 1; i < ZONE_SETS; i++) {
		snprintf(text, sizeof(text), "value-%d", i);
		assert_int_equal(set(&records, "a", text, 1), 0);
	}
	assert_int_equal(values(&records, "a"), ZONE_VALUES);
	assert_int_equal(set(&records, "a", "again", 1), -EBUSY);
	assert_int_equal(set(&records, "a", "again", HOUR + 1), 0);
	for (int i = 1; i < ZONE_NAMES; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(set(&records, name, "x", 1), 0);
	}
	assert_int_equal(set(&records, "one-more", "x", 1), -ENOSPC);
	assert_int_equal(set(&records, "n7", "y", 1), 0);
	zone_records_free(&records);
}

/* ---- answers ---- */

struct fixture {
	struct zone_facts facts;
	struct zone_records records;
	uint8_t out[ZONE_ANSWER];
	size_t len;
	struct dns_query q;
};

static void begin(struct fixture *f)
{
	f->facts = (struct zone_facts){
		.name = name_of("tail.example.com"), .n_servers = 2,
		.servers = { name_of("hq.example.com"), name_of("ns.example.net") },
		.contact = name_of("hostmaster.example.com"),
	};
	zone_records_init(&f->records, 42);
	assert_int_equal(set(&f->records, "_acme-challenge.nas.tail.example.com", "proof", 1), 0);
}

/* Its code; *@answers records are in the answer. */
static int ask_with(struct fixture *f, const char *name, uint16_t type, uint16_t class_,
		    bool stream, int *answers)
{
	uint8_t msg[DNS_QUERY_MAX];
	const struct dns_query q = { .name = name_of(name), .type = type, .class_ = class_ };
	size_t len = dns_query_write(&q, 77, false, msg);

	f->len = zone_answer(&f->facts, &f->records, msg, len, stream, f->out);
	assert_true(f->len >= DNS_HEADER);
	assert_int_equal(f->out[0] << 8 | f->out[1], 77);
	assert_int_equal(f->out[3] & DNS_RA, 0);
	*answers = f->out[6] << 8 | f->out[7];
	return f->out[3] & DNS_RCODE;
}

static int ask(struct fixture *f, const char *name, uint16_t type, int *answers)
{
	return ask_with(f, name, type, DNS_IN, false, answers);
}

static bool is_ours(const struct fixture *f)
{
	return f->out[2] & DNS_AA >> 8;
}

static void answers_of_the_zone(void **state)
{
	struct fixture f;
	int n;

	(void)state;
	begin(&f);
	assert_int_equal(ask(&f, "tail.example.com", DNS_SOA, &n), DNS_NOERROR);
	assert_true(n == 1 && is_ours(&f));
	assert_int_equal(ask(&f, "tail.example.com", DNS_NS, &n), DNS_NOERROR);
	assert_int_equal(n, 2);
	assert_int_equal(ask(&f, "tail.example.com", DNS_A, &n), DNS_NOERROR);
	assert_true(n == 0 && f.out[9] == 1);	/* none, with SOA */
	assert_int_equal(ask(&f, "_ACME-challenge.nas.tail.example.com", DNS_TXT, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(ask(&f, "_acme-challenge.nas.tail.example.com", DNS_A, &n), 0);
	assert_int_equal(n, 0);
	/* A name without records of its own is there, for what is below it (RFC 8020). */
	assert_int_equal(ask(&f, "nas.tail.example.com", DNS_TXT, &n), DNS_NOERROR);
	assert_true(n == 0 && f.out[9] == 1);
	assert_int_equal(ask(&f, "tv.tail.example.com", DNS_TXT, &n), DNS_NXDOMAIN);
	assert_true(n == 0 && f.out[9] == 1 && is_ours(&f));
	assert_int_equal(ask(&f, "tail.example.com", DNS_ANY, &n), DNS_NOERROR);
	assert_int_equal(n, 1);
	zone_records_free(&f.records);
}

static void questions_that_are_refused(void **state)
{
	struct fixture f;
	int n;

	(void)state;
	begin(&f);
	assert_int_equal(ask(&f, "example.com", DNS_SOA, &n), DNS_REFUSED);
	assert_false(is_ours(&f));
	assert_int_equal(ask(&f, "nottail.example.com", DNS_TXT, &n), DNS_REFUSED);
	assert_int_equal(ask(&f, "tail.example.com", DNS_AXFR, &n), DNS_REFUSED);
	assert_int_equal(ask(&f, "tail.example.com", DNS_IXFR, &n), DNS_REFUSED);
	assert_int_equal(ask_with(&f, "tail.example.com", DNS_TXT, 3, false, &n), DNS_REFUSED);
	assert_int_equal(zone_answer(&f.facts, &f.records, (const uint8_t *)"short", 5, false,
				     f.out), 0);
	zone_records_free(&f.records);
}

static void long_answers_come_by_stream(void **state)
{
	static const char challenge[] = "_acme-challenge.nas.tail.example.com";
	struct fixture f;
	char text[201] = "";
	int n;

	(void)state;
	begin(&f);
	for (int i = 0; i < ZONE_VALUES; i++) {
		memset(text, 'a' + i, sizeof(text) - 1);
		assert_int_equal(set(&f.records, challenge, text, 1), 0);
	}
	assert_int_equal(ask(&f, challenge, DNS_TXT, &n), DNS_NOERROR);
	assert_true(f.len <= DNS_UDP_PLAIN && n == 0 && f.out[2] & DNS_TC >> 8);
	assert_int_equal(ask_with(&f, challenge, DNS_TXT, DNS_IN, true, &n), DNS_NOERROR);
	assert_true(f.len > DNS_UDP_PLAIN && n == ZONE_VALUES && !(f.out[2] & DNS_TC >> 8));
	zone_records_free(&f.records);
}

/* Records in the answer to somebody who says that he takes 1232 bytes by UDP. */
static int ask_largely(struct fixture *f, const char *name)
{
	const struct dns_query q = { .name = name_of(name), .type = DNS_TXT, .class_ = DNS_IN };
	uint8_t msg[DNS_QUERY_MAX];
	size_t len = dns_query_write(&q, 77, true, msg);

	f->len = zone_answer(&f->facts, &f->records, msg, len, false, f->out);
	assert_true(f->len >= DNS_HEADER && f->len <= DNS_UDP_PLAIN);
	return f->out[6] << 8 | f->out[7];
}

static void senders_that_may_be_made_up(void **state)
{
	static const char challenge[] = "_acme-challenge.nas.tail.example.com";
	struct fixture f;
	char text[201] = "";

	(void)state;
	begin(&f);
	memset(text, 'p', 43);		/* as long as a proof (RFC 8555 8.4) */
	for (int i = 0; i < ZONE_VALUES; i++) {
		text[0] = (char)('a' + i);
		assert_int_equal(set(&f.records, challenge, text, 1), 0);
	}
	assert_int_equal(ask_largely(&f, challenge), ZONE_VALUES);
	assert_int_equal(f.out[2] & DNS_TC >> 8, 0);
	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < ZONE_VALUES; i++) {
		text[0] = (char)('a' + i);
		assert_int_equal(set(&f.records, challenge, text, 1), 0);
	}
	assert_int_equal(ask_largely(&f, challenge), 0);
	assert_int_equal(f.out[2] & DNS_TC >> 8, DNS_TC >> 8);
	zone_records_free(&f.records);
}

/* ---- changes, as a real server took them ---- */

static const char secret[] = "bWl0dGVuIGluIGRlciBuYWNodCBzaW5kIHdpciB3YWNoIQ==";
static const char request[] =
	"123428000001000000020001047465737400000600010f5f61636d652d6368616c6c656e6765036e617304"
	"7461696c047465737400001000ff0000000000000f5f61636d652d6368616c6c656e6765036e6173047461"
	"696c047465737400001000010000000a002c2b4c4844684b336f4752766b696566516e78374f4f637a5459"
	"355469635f785a3648634d4f635f676d746f4d0677617272656e0000fa00ff00000000003d0b686d61632d"
	"7368613235360000006b0a28cf012c0020bebf9c2472a9d6b416166aca8dd387efcb7670ea3c8888e5f33f"
	"a7a6d5c66933123400000000";
static const char taken[] =
	"1234a8000001000000000001047465737400000600010677617272656e0000fa00ff00000000003d0b686d"
	"61632d7368613235360000006b0a28cf012c002078ec45f60fc15a10c4615f4008763436a2a89d6dc0dcb8"
	"47f688f1d84a29b71f123400000000";
static const char unsigned_notauth[] = "1234a8090001000000000000056f746865720000060001";
static const char bad_secret[] =
	"1234a8090001000000000001047465737400000600010677617272656e0000fa00ff00000000001d0b686d"
	"61632d7368613235360000006b0a28d0012c0000123400100000";
enum { TIME = 1795827919 };

struct change {
	struct zone_key key;
	struct zone_record record;
	struct zone_update update;
	uint8_t out[ZONE_UPDATE];
	size_t len;
};

static void make(struct change *c)
{
	memset(c, 0, sizeof(*c));
	c->key.name = name_of("warren");
	c->key.len = (size_t)base64_decode(c->key.secret, sizeof(c->key.secret), secret,
					   strlen(secret));
	c->record.name = name_of("_acme-challenge.nas.tail.test");
	c->record.n = 1;
	strncpy(c->record.values[0].text, "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM",
		ZONE_TEXT);
	c->update = (struct zone_update){ .zone = name_of("test"), .key = &c->key, .id = 0x1234,
					  .time = TIME, .records = { &c->record }, .n = 1 };
	c->len = zone_update_write(&c->update, c->out);
}

static size_t bytes_of(const char *hex, uint8_t *out)
{
	size_t len = strlen(hex) / 2;

	assert_int_equal(hex_decode(out, len, hex), 0);
	return len;
}

static int answered(const struct change *c, const char *hex, int64_t now, char why[ZONE_WHY])
{
	uint8_t msg[512];
	size_t len = bytes_of(hex, msg);

	return zone_update_read(&c->update, msg, len, now, why);
}

static void changes_are_signed(void **state)
{
	struct change c;
	uint8_t wanted[512];
	char why[ZONE_WHY];
	size_t len = bytes_of(request, wanted);

	(void)state;
	make(&c);
	assert_int_equal(c.len, len);
	assert_memory_equal(c.out, wanted, len);
	assert_int_equal(answered(&c, taken, TIME + 2, why), 0);
	assert_int_equal(answered(&c, taken, TIME + 301, why), -EBADMSG);
	assert_int_equal(answered(&c, unsigned_notauth, TIME, why), -EBADMSG);
	assert_non_null(strstr(why, "NOTAUTH"));
	assert_int_equal(answered(&c, bad_secret, TIME, why), -EACCES);
	assert_non_null(strstr(why, "BADSIG"));
}

/* Nothing in it that somebody on the way has touched is believed; names have no case. */
static void no_bit_of_an_answer_can_be_changed(void **state)
{
	struct change c;
	uint8_t msg[512];
	char why[ZONE_WHY];
	size_t len = bytes_of(taken, msg);

	(void)state;
	make(&c);
	for (size_t i = 0; i < 8 * len; i++) {
		msg[i / 8] ^= (uint8_t)(1u << i % 8);
		if (zone_update_read(&c.update, msg, len, TIME, why) == 0)
			assert_true(i % 8 == 5 && isalpha(msg[i / 8]));
		msg[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	assert_int_equal(zone_update_read(&c.update, msg, len, TIME, why), 0);
	for (size_t i = 0; i < len; i++)
		assert_int_not_equal(zone_update_read(&c.update, msg, i, TIME, why), 0);
	c.update.mac[3] ^= 1;		/* an answer to another request */
	assert_int_not_equal(zone_update_read(&c.update, msg, len, TIME, why), 0);
}

static void the_largest_change_fits(void **state)
{
	struct change c;
	struct zone_record record = { .n = ZONE_VALUES };
	char name[256] = "";

	(void)state;
	make(&c);
	memset(name, 'n', 253);		/* 255 bytes on the wire */
	name[63] = name[127] = name[191] = '.';
	record.name = name_of(name);
	for (int i = 0; i < ZONE_VALUES; i++)
		memset(record.values[i].text, 'x', ZONE_TEXT);
	c.update.n = ZONE_BATCH;
	for (int i = 0; i < ZONE_BATCH; i++)
		c.update.records[i] = &record;
	c.update.zone = record.name;
	c.key.name = record.name;
	c.key.algorithm = ZONE_HMAC_SHA512;
	assert_true(zone_update_write(&c.update, c.out) > 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_live_for_an_hour),
		cmocka_unit_test(records_have_limits),
		cmocka_unit_test(answers_of_the_zone),
		cmocka_unit_test(questions_that_are_refused),
		cmocka_unit_test(long_answers_come_by_stream),
		cmocka_unit_test(senders_that_may_be_made_up),
		cmocka_unit_test(changes_are_signed),
		cmocka_unit_test(no_bit_of_an_answer_can_be_changed),
		cmocka_unit_test(the_largest_change_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
