/*
 * Names, messages and records, by bytes.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "base/dnsmsg.h"
#include "plugins/dns/doh.h"
#include "plugins/dns/record.h"

static struct dns_name name_of(const char *text)
{
	struct dns_name name;

	assert_int_equal(dns_name_parse(text, &name), 0);
	return name;
}

static void test_names(void **state)
{
	const struct dns_name nas = name_of("NAS.Tail.example.com."), zone = name_of("example.com");
	struct dns_name name;
	char text[DNS_NAME_TEXT], longest[260];

	(void)state;
	assert_string_equal(dns_name_text(&nas, text), "nas.tail.example.com");
	assert_int_equal(dns_name_labels(&nas), 4);
	assert_true(dns_name_under(&nas, &zone));
	assert_true(dns_name_under(&zone, &zone));
	assert_false(dns_name_under(&zone, &nas));
	name = name_of("myexample.com");
	assert_false(dns_name_under(&name, &zone));
	name = name_of(".");
	assert_int_equal(name.len, 1);
	assert_true(dns_name_under(&nas, &name));
	assert_false(dns_name_parent(&name, &name));
	assert_true(dns_name_join("nas", 3, &zone, &name));
	assert_string_equal(dns_name_text(&name, text), "nas.example.com");
	assert_int_equal(dns_name_parse("", &name), -EINVAL);
	assert_int_equal(dns_name_parse("a..b", &name), -EINVAL);
	assert_int_equal(dns_name_parse(".a", &name), -EINVAL);
	assert_int_equal(dns_name_parse("a b", &name), -EINVAL);
	memset(longest, 'a', sizeof(longest));
	longest[64] = '\0';
	assert_int_equal(dns_name_parse(longest, &name), -EINVAL);
	longest[63] = '\0';
	assert_int_equal(dns_name_parse(longest, &name), 0);
	for (int i = 0; i < 127; i++) {
		longest[2 * i] = 'a';
		longest[2 * i + 1] = '.';
	}
	longest[254] = '\0';
	assert_int_equal(dns_name_parse(longest, &name), 0);
	assert_int_equal(name.len, DNS_NAME_MAX);
	assert_false(dns_name_join("x", 1, &name, &name));
}

static void expect_reverse(const char *address, const char *text)
{
	struct warren_addr addr, back;
	char out[DNS_NAME_TEXT];
	struct dns_name name;

	assert_int_equal(addr_parse(address, &addr), 0);
	dns_name_reverse(&addr, &name);
	assert_string_equal(dns_name_text(&name, out), text);
	assert_true(dns_name_address(&name, &back));
	assert_true(addr_equal(&addr, &back));
}

static void test_reverse(void **state)
{
	static const char *const none[] = {
		"0.64.100.in-addr.arpa", "1.0.064.100.in-addr.arpa", "1.0.256.100.in-addr.arpa",
		"1.0.64.100.in-addr.arpax", "x.1.0.64.100.in-addr.arpa", "in-addr.arpa", ".",
		"a.0.64.100.in-addr.arpa", "ip6.arpa",
	};
	struct warren_addr addr;

	(void)state;
	expect_reverse("100.64.0.1", "1.0.64.100.in-addr.arpa");
	expect_reverse("fd7a:115c:a1e0::53", "3.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
		       "0.e.1.a.c.5.1.1.a.7.d.f.ip6.arpa");
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		const struct dns_name name = name_of(none[i]);

		assert_false(dns_name_address(&name, &addr));
	}
}

static struct dns_query query_of(const char *name, uint16_t type, uint16_t flags)
{
	struct dns_query q = { .id = 0x1234, .flags = flags, .type = type, .class_ = DNS_IN,
			       .name = name_of(name), .room = DNS_UDP_PLAIN };

	memcpy(q.asked, q.name.wire, q.name.len);
	return q;
}

static void test_query(void **state)
{
	struct dns_query q = query_of("nas.example.com", DNS_AAAA, DNS_RD | DNS_CD), back;
	uint8_t msg[DNS_QUERY_MAX + 64];
	size_t len;

	(void)state;
	q.dnssec_ok = true;
	len = dns_query_write(&q, 77, true, msg);
	msg[13] = 'N';
	assert_int_equal(dns_query_parse(msg, len, &back), 0);
	assert_int_equal(back.id, 77);
	assert_int_equal(back.flags, DNS_RD | DNS_CD);
	assert_int_equal(back.type, DNS_AAAA);
	assert_true(back.edns && back.dnssec_ok);
	assert_int_equal(back.room, DNS_UDP_EDNS);
	assert_true(dns_name_equal(&back.name, &q.name));
	assert_int_equal(back.asked[1], 'N');
	/* Cut off anywhere, it is nothing or no good. */
	for (size_t n = 0; n < len; n++)
		assert_int_not_equal(dns_query_parse(msg, n, &back), 0);
	msg[2] |= 0x80;			/* an answer */
	assert_int_equal(dns_query_parse(msg, len, &back), -EBADMSG);
	msg[2] = 0x28;			/* an update */
	assert_int_equal(dns_query_parse(msg, len, &back), DNS_NOTIMP);
	msg[2] = 1;
	msg[5] = 2;			/* two questions */
	assert_int_equal(dns_query_parse(msg, len, &back), DNS_FORMERR);
}

static void test_bad_version(void **state)
{
	struct dns_query q = query_of("example.com", DNS_A, DNS_RD), back;
	uint8_t msg[DNS_QUERY_MAX], made[512], out[512 + DNS_OPT];
	size_t len = dns_query_write(&q, 5, true, msg);

	(void)state;
	msg[len - DNS_OPT + 6] = 1;	/* behind root, type, class and the upper code */
	assert_int_equal(dns_query_parse(msg, len, &back), DNS_BADVERS);
	len = dns_reply_refuse(&back, DNS_BADVERS, made, sizeof(made));
	len = dns_reply_finish(made, len, &back, back.room, 0, out);
	assert_int_equal(out[3] & DNS_RCODE, 0);
	assert_int_equal(out[len - DNS_OPT + 5], 1);	/* 16 >> 4 */
}

/* An answer of a resolver: an address, with OPT at its end. */
static size_t make_answer(const struct dns_query *q, uint16_t id, uint32_t ttl, uint8_t *out)
{
	static const uint8_t addr[] = { 192, 0, 2, 1 };
	static const uint8_t opt[] = { 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0 };
	struct dns_reply reply;
	size_t len;

	dns_reply_begin(&reply, q, DNS_RD | DNS_RA | DNS_AD, out, 512);
	dns_reply_add(&reply, DNS_ANSWER, NULL, DNS_A, ttl, addr, sizeof(addr));
	len = dns_reply_end(&reply);
	memcpy(out + len, opt, sizeof(opt));
	out[0] = (uint8_t)(id >> 8);
	out[1] = (uint8_t)id;
	out[11]++;
	return len + sizeof(opt);
}

static void test_answer(void **state)
{
	struct dns_query q = query_of("www.example.com", DNS_A, DNS_RD), other;
	struct dns_answer answer;
	uint8_t msg[1024], out[1024];
	size_t len = make_answer(&q, 99, 300, msg), n;

	(void)state;
	assert_int_equal(dns_answer_parse(msg, len, &q, 99, &answer), 0);
	assert_int_equal(answer.rcode, DNS_NOERROR);
	assert_int_equal(answer.ttl, 300);
	assert_true(answer.edns);
	/* Case does not matter, all else does. */
	msg[13] = 'W';
	assert_int_equal(dns_answer_parse(msg, len, &q, 99, &answer), 0);
	assert_int_equal(dns_answer_parse(msg, len, &q, 98, &answer), -ENOMSG);
	other = query_of("www.example.org", DNS_A, DNS_RD);
	assert_int_equal(dns_answer_parse(msg, len, &other, 99, &answer), -ENOMSG);
	other = query_of("www.example.com", DNS_AAAA, DNS_RD);
	assert_int_equal(dns_answer_parse(msg, len, &other, 99, &answer), -ENOMSG);
	for (size_t i = 0; i < len; i++)
		assert_true(dns_answer_parse(msg, i, &q, 99, &answer) < 0);
	assert_int_equal(dns_answer_parse(msg, len, &q, 99, &answer), 0);
	n = dns_answer_strip(msg, &answer);
	assert_int_equal(n, len - DNS_OPT);
	assert_int_equal(msg[11], 0);

	/* What a client without EDNS gets, a minute later. */
	q.asked[1] = 'W';
	len = dns_reply_finish(msg, n, &q, DNS_UDP_PLAIN, 60, out);
	assert_int_equal(len, n);
	assert_int_equal(out[0] << 8 | out[1], 0x1234);
	assert_int_equal(out[13], 'W');
	assert_int_equal(out[3] & DNS_AD, 0);
	assert_int_equal(out[n - 8] << 8 | out[n - 7], 240);
	len = dns_reply_finish(msg, n, &q, DNS_UDP_PLAIN, 400, out);
	assert_int_equal(out[n - 8] << 8 | out[n - 7], 0);

	/* With EDNS; and where it is too long. */
	q.edns = q.dnssec_ok = true;
	len = dns_reply_finish(msg, n, &q, DNS_UDP_PLAIN, 0, out);
	assert_int_equal(len, n + DNS_OPT);
	assert_int_equal(out[11], 1);
	assert_true(out[3] & DNS_AD);
	len = dns_reply_finish(msg, n, &q, n + DNS_OPT - 1, 0, out);
	assert_true(out[2] & (DNS_TC >> 8));
	assert_int_equal(len, DNS_HEADER + q.name.len + 4 + DNS_OPT);
	assert_int_equal(out[7], 0);
	assert_int_equal(out[11], 1);
}

static void test_negative_ttl(void **state)
{
	struct dns_query q = query_of("nobody.example.com", DNS_A, DNS_RD);
	const struct dns_name zone = name_of("example.com");
	struct dns_answer answer;
	struct dns_reply reply;
	uint8_t msg[512];
	size_t len;

	(void)state;
	dns_reply_begin(&reply, &q, DNS_NXDOMAIN, msg, sizeof(msg));
	dns_reply_soa(&reply, &zone, 90, 1);
	len = dns_reply_end(&reply);
	assert_int_equal(dns_answer_parse(msg, len, &q, 0, &answer), 0);
	assert_int_equal(answer.rcode, DNS_NXDOMAIN);
	assert_int_equal(answer.ttl, 90);
	msg[len - 1] = 30;		/* the minimum */
	assert_int_equal(dns_answer_parse(msg, len, &q, 0, &answer), 0);
	assert_int_equal(answer.ttl, 30);
	/* Without SOA it is not kept, and a failure never is. */
	len = dns_reply_refuse(&q, DNS_NXDOMAIN, msg, sizeof(msg));
	assert_int_equal(dns_answer_parse(msg, len, &q, 0, &answer), 0);
	assert_int_equal(answer.ttl, 0);
	len = dns_reply_refuse(&q, DNS_SERVFAIL, msg, sizeof(msg));
	assert_int_equal(dns_answer_parse(msg, len, &q, 0, &answer), 0);
	assert_int_equal(answer.ttl, 0);
}

static void test_pointers(void **state)
{
	static const uint8_t loop[] = { 0xc0, 0x00 }, ahead[] = { 0xc0, 0x02, 0 };
	static const uint8_t good[] = { 1, 'a', 0, 1, 'b', 0xc0, 0 };
	char text[DNS_NAME_TEXT];
	struct dns_name name;

	(void)state;
	assert_false(dns_name_expand(loop, sizeof(loop), 0, &name));
	assert_false(dns_name_expand(ahead, sizeof(ahead), 0, &name));
	assert_true(dns_name_expand(good, sizeof(good), 3, &name));
	assert_string_equal(dns_name_text(&name, text), "b.a");
	assert_false(dns_name_expand(good, sizeof(good) - 1, 3, &name));
}

static void expect_record(uint16_t type, const char *value, const char *back)
{
	AUTO(str_free) struct str text = STR_INIT;
	struct dns_query q = query_of("x.example.com", type, 0);
	struct dns_record_view record;
	struct dns_reply reply;
	uint8_t data[1024], msg[2048];
	struct dns_walk walk;
	int len = dns_record_parse(type, value, data, sizeof(data));
	size_t n;

	if (!back) {
		assert_int_equal(len, -EINVAL);
		return;
	}
	assert_true(len >= 0);
	dns_reply_begin(&reply, &q, 0, msg, sizeof(msg));
	dns_reply_add(&reply, DNS_ANSWER, NULL, type, 5, data, (uint16_t)len);
	n = dns_reply_end(&reply);
	assert_true(dns_walk_begin(&walk, msg, n));
	assert_int_equal(dns_walk_next(&walk, &record), 1);
	dns_record_text(msg, n, &record, &text);
	assert_string_equal(str_text(&text), back);
}

static void test_records(void **state)
{
	char longer[301];

	(void)state;
	expect_record(DNS_A, "192.0.2.1", "192.0.2.1");
	expect_record(DNS_A, "2001:db8::1", NULL);
	expect_record(DNS_AAAA, "2001:db8::1", "2001:db8::1");
	expect_record(DNS_PTR, "nas.example.com.", "nas.example.com.");
	expect_record(DNS_MX, "10 mail.example.com", "10 mail.example.com.");
	expect_record(DNS_MX, "65536 mail.example.com", NULL);
	expect_record(DNS_MX, "10", NULL);
	expect_record(DNS_SRV, "0 5 5060 sip.example.com", "0 5 5060 sip.example.com.");
	expect_record(DNS_SRV, "0 5 5060 sip.example.com more", NULL);
	expect_record(DNS_TXT, "v=spf1 -all", "\"v=spf1 -all\"");
	expect_record(DNS_TXT, "\"one \\\" two\" \"three\"", "\"one \" two\" \"three\"");
	expect_record(DNS_TXT, "\"open", NULL);
	expect_record(65, "\\# 3 000100", "\\# 3 000100");
	expect_record(65, "\\# 4 000100", NULL);
	expect_record(65, "1 .", NULL);
	expect_record(DNS_CNAME, "www.example.com", NULL);
	expect_record(DNS_CNAME, "\\# 1 00", NULL);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[300] = '\0';
	assert_int_equal(dns_record_parse(DNS_TXT, longer, (uint8_t[400]){ 0 }, 400), 302);
	assert_int_equal(dns_record_parse(DNS_TXT, longer, (uint8_t[100]){ 0 }, 100), -EINVAL);
}

static void test_types(void **state)
{
	char text[16];

	(void)state;
	assert_int_equal(dns_type_parse("aaaa"), DNS_AAAA);
	assert_int_equal(dns_type_parse("TYPE65"), 65);
	assert_int_equal(dns_type_parse("TYPE65536"), 0);
	assert_int_equal(dns_type_parse("FROB"), 0);
	assert_string_equal(dns_type_text(65, text), "HTTPS");
	assert_string_equal(dns_type_text(65280, text), "TYPE65280");
	assert_string_equal(dns_type_text(DNS_ANY, text), "ANY");
}

static void test_requests(void **state)
{
	static const struct {
		const char *path;
		int result;
	} cases[] = {
		{ "/dns-query", -ENOENT },
		{ "/dns-query?", -ENOENT },
		{ "/dns-query?name=x&type=A", -ENOENT },
		{ "/dns-query?xdns=AAAA", -ENOENT },
		{ "/dns-query?dns=", -EINVAL },
		{ "/dns-query?dns=AAAA", 3 },
		{ "/dns-query?dns=AAA", 2 },
		{ "/dns-query?dns=AA", 1 },
		{ "/dns-query?dns=A", -EINVAL },
		{ "/dns-query?dns=AA==", -EINVAL },	/* padding is not allowed */
		{ "/dns-query?dns=AB", -EINVAL },	/* nor bits that say nothing */
		{ "/dns-query?dns=+AAA", -EINVAL },
		{ "/dns-query?dns=-_AA&x=1", 3 },
		{ "/dns-query?x=1&dns=AAAA", 3 },
		{ "/dns-query?x&&dns=AAAA#", -EINVAL },
	};
	uint8_t out[DNS_DOH_MAX];
	char longest[8192];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(dns_doh_query(cases[i].path, out), cases[i].result);
	assert_int_equal(dns_doh_query("/dns-query?dns=-_AA", out), 3);
	assert_memory_equal(out, "\xfb\xf0\x00", 3);
	memset(longest, 'A', sizeof(longest));
	memcpy(longest, "/?dns=", 6);
	longest[6 + 5461] = '\0';
	assert_int_equal(dns_doh_query(longest, out), -EINVAL);
	longest[6 + 5461] = 'A';
	longest[6 + 5462] = '\0';
	assert_int_equal(dns_doh_query(longest, out), DNS_DOH_MAX);
	longest[6 + 5462] = 'A';
	longest[6 + 5463] = '\0';
	assert_int_equal(dns_doh_query(longest, out), -EMSGSIZE);
	longest[6 + 5463] = 'A';
	longest[6 + 5500] = '\0';
	assert_int_equal(dns_doh_query(longest, out), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_reverse),
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_bad_version),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_negative_ttl),
		cmocka_unit_test(test_pointers),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
