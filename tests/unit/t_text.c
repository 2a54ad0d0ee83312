/*
 * core/base: what people read and write. Strings, UTF-8, guesses, addresses, units and the error
 * list: accepted forms, refused forms, and that what is written parses to the same value.
 */
#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"
#include "base/units.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_str(void **state)
{
	struct str s = STR_INIT;
	char *text, small[4];

	(void)state;
	assert_string_equal(str_text(&s), "");
	for (int i = 0; i < 1000; i++)
		str_addf(&s, "%d,", i);
	assert_int_equal(s.len, 10 * 2 + 90 * 3 + 900 * 4);
	assert_true(str_starts(str_text(&s), "0,1,2,"));
	str_cut(&s, 5);
	str_cut(&s, 50);
	str_addc(&s, '!');
	text = str_take(&s);
	assert_string_equal(text, "0,1,2!");
	free(text);
	text = str_take(&s);
	assert_string_equal(text, "");
	free(text);
	s.failed = true;
	str_add(&s, "lost");
	assert_null(str_take(&s));
	assert_false(s.failed);
	assert_true(str_copy(small, sizeof(small), "abc"));
	assert_false(str_copy(small, sizeof(small), "abcd"));
	assert_string_equal(small, "");
	assert_true(str_equal(NULL, NULL));
	assert_false(str_equal(NULL, ""));
	str_free(&s);
}

static void test_utf8(void **state)
{
	static const struct {
		const char *text;
		size_t good;
	} cases[] = {
		{ "plain", 5 }, { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9 },
		{ "a\x80", 1 }, { "a\xc0\x80", 1 }, { "a\xc3", 1 }, { "\xe0\x80\x80", 0 },
		{ "\xed\xa0\x80", 0 }, { "\xf0\x8f\xbf\xbf", 0 }, { "\xf4\x90\x80\x80", 0 },
		{ "\xf4\x8f\xbf\xbf", 4 }, { "\xff", 0 }, { "\xe2\x82", 0 }, { "\xe2\x82\x41", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(str_utf8_check(cases[i].text, strlen(cases[i].text)),
				 cases[i].good);
}

static void test_json_and_clean(void **state)
{
	static const char nasty[] = "a\"\\\n\t\x01\x7f\xc3\xa9\xff\xc2\x9b.";
	struct str s = STR_INIT;

	(void)state;
	str_add_json(&s, nasty, sizeof(nasty) - 1);
	assert_string_equal(str_text(&s),
			    "\"a\\\"\\\\\\n\\t\\u0001\\u007f\xc3\xa9\\ufffd\\u009b.\"");
	str_cut(&s, 0);
	str_add_clean(&s, nasty, sizeof(nasty) - 1, 100);
	assert_string_equal(str_text(&s), "a\"\\\\x0a\\x09\\x01\\x7f\xc3\xa9\\xff\\xc2\\x9b.");
	str_cut(&s, 0);
	str_add_clean(&s, "0123456789", 10, 4);
	assert_string_equal(str_text(&s), "0123...");
	str_free(&s);
}

static const char *guess(const char *word, const char *const *candidates)
{
	struct str_guess g = { .word = word };

	for (; *candidates; candidates++)
		str_guess_try(&g, *candidates);
	return g.best;
}

static void test_guess(void **state)
{
	static const char *const keys[] = { "port", "listen", "interface", "mtu", "allowed-ips",
					    "endpoint", NULL };
	char longest[200];

	(void)state;
	assert_string_equal(guess("prot", keys), "port");
	assert_string_equal(guess("listn", keys), "listen");
	assert_string_equal(guess("allowedips", keys), "allowed-ips");
	assert_string_equal(guess("allowed_ips", keys), "allowed-ips");
	assert_string_equal(guess("mut", keys), "mtu");
	assert_null(guess("zebra", keys));
	assert_null(guess("x", keys));
	assert_null(guess("", keys));
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_null(guess(longest, keys));
}

static void test_addr(void **state)
{
	static const char *const good[] = { "0.0.0.0", "192.0.2.255", "::", "::1", "2001:db8::1",
					    "fe80::1:2:3:4", "2001:db8:0:1:1:1:1:1" };
	static const char *const bad[] = { "", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4",
					   "1.2.3.4 ", " ::1", "::1%lo", "[::1]", ":::", "1:2",
					   "12345::", "0x7f.1", "fe80::1/64" };
	struct warren_addr addr, back;
	char text[ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(addr_parse(good[i], &addr), 0);
		assert_string_equal(addr_format(&addr, text), good[i]);
		assert_int_equal(addr_parse(text, &back), 0);
		assert_true(addr_equal(&addr, &back));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(addr_parse(bad[i], &addr), -EINVAL);
	assert_int_equal(addr_parse("2001:0DB8:0:0:0::1", &addr), 0);
	assert_string_equal(addr_format(&addr, text), "2001:db8::1");
	addr = (struct warren_addr){ 0 };
	assert_string_equal(addr_format(&addr, text), "none");
}

static void test_addrport(void **state)
{
	static const char *const good[] = { "192.0.2.1:1", "[2001:db8::1]:65535" };
	static const char *const bad[] = { "192.0.2.1", "192.0.2.1:", "192.0.2.1:0", ":80",
					   "192.0.2.1:65536", "192.0.2.1:080", "192.0.2.1:+1",
					   "2001:db8::1:80", "[192.0.2.1]:80", "[::1]80", "[::1]",
					   "[]:80", "host:80", "[::1]:80x", "[::1:80" };
	struct warren_addrport ap, back;
	struct sockaddr_storage ss;
	char text[ADDRPORT_TEXT];
	socklen_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(addrport_parse(good[i], &ap), 0);
		assert_string_equal(addrport_format(&ap, text), good[i]);
		len = addrport_to_sockaddr(&ap, &ss);
		assert_int_equal(addrport_from_sockaddr((struct sockaddr *)&ss, len, &back), 0);
		assert_true(addrport_equal(&ap, &back));
		assert_int_equal(addrport_from_sockaddr((struct sockaddr *)&ss, len - 1, &back),
				 -EINVAL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(addrport_parse(bad[i], &ap), -EINVAL);
	ap = (struct warren_addrport){ 0 };
	assert_int_equal(addrport_to_sockaddr(&ap, &ss), 0);
	ss.ss_family = AF_UNIX;
	assert_int_equal(addrport_from_sockaddr((struct sockaddr *)&ss, sizeof(ss), &back),
			 -EAFNOSUPPORT);
}

static void test_mapped(void **state)
{
	struct warren_addrport ap, back;
	struct sockaddr_storage ss;
	char text[ADDRPORT_TEXT];

	(void)state;
	assert_int_equal(addrport_parse("[::ffff:192.0.2.1]:53", &ap), 0);
	assert_int_equal(addrport_from_sockaddr((struct sockaddr *)&ss,
						addrport_to_sockaddr(&ap, &ss), &back), 0);
	assert_string_equal(addrport_format(&back, text), "192.0.2.1:53");
}

static void test_hostport(void **state)
{
	static const char *const bad[] = { "host", "host:", ":1", "::1:80", "[host]:80", "a b:1",
					   "user@host:1", "http://host:1", "[::1]", "host:99999" };
	char host[64];
	uint16_t port;

	(void)state;
	assert_int_equal(hostport_parse("gw.example.com:41641", host, sizeof(host), &port), 0);
	assert_string_equal(host, "gw.example.com");
	assert_int_equal(port, 41641);
	assert_int_equal(hostport_parse("[2001:db8::1]:1", host, sizeof(host), &port), 0);
	assert_string_equal(host, "2001:db8::1");
	assert_int_equal(hostport_parse("gw.example.com:1", host, 8, &port), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(hostport_parse(bad[i], host, sizeof(host), &port), -EINVAL);
}

static void test_prefix(void **state)
{
	static const char *const bad[] = { "", "/", "10.0.0.0/", "10.0.0.0/33", "::/129", "10/8",
					   "10.0.0.0/08", "10.0.0.0/-1", "10.0.0.0/8/8",
					   "10.0.0.0/255.0.0.0", "10.0.0.0 /8" };
	struct warren_prefix prefix, other;
	struct warren_addr addr;
	char text[PREFIX_TEXT];

	(void)state;
	assert_int_equal(prefix_parse("10.90.0.1/9", &prefix), 0);
	assert_string_equal(prefix_format(&prefix, text), "10.90.0.1/9");
	assert_true(prefix_mask(&prefix));
	assert_string_equal(prefix_format(&prefix, text), "10.0.0.0/9");
	assert_false(prefix_mask(&prefix));
	assert_int_equal(addr_parse("10.127.255.255", &addr), 0);
	assert_true(prefix_contains(&prefix, &addr));
	assert_int_equal(addr_parse("10.128.0.0", &addr), 0);
	assert_false(prefix_contains(&prefix, &addr));
	assert_int_equal(addr_parse("a00::", &addr), 0);
	assert_false(prefix_contains(&prefix, &addr));
	assert_int_equal(prefix_parse("::/0", &prefix), 0);
	assert_true(prefix_contains(&prefix, &addr));
	assert_int_equal(prefix_parse("192.0.2.1", &prefix), 0);
	other = prefix_of_host(&prefix.addr);
	assert_true(prefix_equal(&prefix, &other));
	assert_string_equal(prefix_format(&prefix, text), "192.0.2.1/32");
	/* The longest text there is. */
	assert_int_equal(prefix_parse("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128", &prefix),
			 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(prefix_parse(bad[i], &prefix), -EINVAL);
	assert_int_equal(prefix_parse("10.0.0.0/8", &prefix), 0);
	assert_int_equal(prefix_parse("10.0.0.0/16", &other), 0);
	assert_true(prefix_compare(&prefix, &other) < 0);
	assert_int_equal(prefix_parse("9.0.0.0/16", &other), 0);
	assert_true(prefix_compare(&prefix, &other) > 0);
}

static void check_int(const char *text, int result, int64_t value)
{
	int64_t out = -12345;

	assert_int_equal(units_parse_int(text, &out), result);
	assert_true(out == (result == 0 ? value : -12345));
}

static void test_int(void **state)
{
	(void)state;
	check_int("0", 0, 0);
	check_int("-7", 0, -7);
	check_int("0x2A", 0, 42);
	check_int("9223372036854775807", 0, INT64_MAX);
	check_int("9223372036854775808", -ERANGE, 0);
	check_int("0xffffffffffffffffff", -ERANGE, 0);
	check_int("99999999999999999999x", -EINVAL, 0);
	check_int("", -EINVAL, 0);
	check_int("-", -EINVAL, 0);
	check_int("+1", -EINVAL, 0);
	check_int("010", -EINVAL, 0);
	check_int("1 ", -EINVAL, 0);
	check_int("1.0", -EINVAL, 0);
	check_int("1e3", -EINVAL, 0);
	check_int("0x", -EINVAL, 0);
	check_int("--1", -EINVAL, 0);
}

static void check_size(const char *text, int result, int64_t value)
{
	int64_t out = -12345, back;
	char written[UNITS_TEXT];

	assert_int_equal(units_parse_size(text, &out), result);
	if (result < 0)
		return;
	assert_true(out == value);
	assert_int_equal(units_parse_size(units_format_size(out, written), &back), 0);
	assert_true(back == value);
}

static void test_size(void **state)
{
	char text[UNITS_TEXT];

	(void)state;
	check_size("0", 0, 0);
	check_size("512", 0, 512);
	check_size("64KiB", 0, 65536);
	check_size("64K", 0, 65536);
	check_size("1MB", 0, 1000000);
	check_size("7TiB", 0, INT64_C(7) << 40);
	check_size("8388607TiB", 0, INT64_C(8388607) << 40);
	check_size("8388608TiB", -ERANGE, 0);
	check_size("1kib", -EINVAL, 0);
	check_size("1.5GiB", -EINVAL, 0);
	check_size("1 MiB", -EINVAL, 0);
	check_size("-1", -EINVAL, 0);
	check_size("KiB", -EINVAL, 0);
	check_size("", -EINVAL, 0);
	assert_string_equal(units_format_size(1536, text), "1536");
	assert_string_equal(units_format_size(3 << 20, text), "3MiB");
}

static void check_duration(const char *text, int result, int64_t value, const char *written)
{
	int64_t out = -12345, back;
	char again[UNITS_TEXT];

	assert_int_equal(units_parse_duration(text, &out), result);
	if (result < 0)
		return;
	assert_true(out == value);
	assert_string_equal(units_format_duration(out, again), written);
	assert_int_equal(units_parse_duration(again, &back), 0);
	assert_true(back == value);
}

static void test_duration(void **state)
{
	(void)state;
	check_duration("off", 0, 0, "off");
	check_duration("0", 0, 0, "off");
	check_duration("0s", 0, 0, "off");
	check_duration("5s", 0, 5000000, "5s");
	check_duration("90s", 0, 90000000, "1m30s");
	check_duration("1m30s", 0, 90000000, "1m30s");
	check_duration("250ms", 0, 250000, "250ms");
	check_duration("1w1d", 0, INT64_C(691200000000), "8d");
	check_duration("1h1us", 0, INT64_C(3600000001), "1h1us");
	check_duration("106751991d", 0, INT64_C(106751991) * 86400000000, "106751991d");
	check_duration("106751992d", -ERANGE, 0, NULL);
	check_duration("99999999999999999999s", -ERANGE, 0, NULL);
	check_duration("", -EINVAL, 0, NULL);
	check_duration("5", -EINVAL, 0, NULL);
	check_duration("s", -EINVAL, 0, NULL);
	check_duration("-5s", -EINVAL, 0, NULL);
	check_duration("5 s", -EINVAL, 0, NULL);
	check_duration("1s1m", -EINVAL, 0, NULL);
	check_duration("1s1s", -EINVAL, 0, NULL);
	check_duration("1.5s", -EINVAL, 0, NULL);
	check_duration("5sec", -EINVAL, 0, NULL);
	check_duration("OFF", -EINVAL, 0, NULL);
}

static void test_err_order(void **state)
{
	struct err_at second = { .file = "b.yaml", .order = 1, .line = 1, .column = 1 };
	struct err_at late = { .file = "a.yaml", .order = 0, .line = 9, .column = 2 };
	struct err_at early = { .file = "a.yaml", .order = 0, .line = 9, .column = 1 };
	struct err_at whole = { .file = "a.yaml", .order = 0 };
	struct warren_err err = ERR_INIT;
	struct str out = STR_INIT;

	(void)state;
	assert_int_equal(err_add(NULL, NULL, "nobody listens"), -EINVAL);
	assert_false(err_any(NULL));
	err_note(&err, NULL, "only a note");
	assert_false(err_any(&err));
	assert_int_equal(err_add(&err, NULL, "no place"), -EINVAL);
	err_add(&err, &second, "four");
	err_add(&err, &late, "three");
	err_add(&err, &early, "%s", "two");
	err_note(&err, &whole, "one");
	err_print(&err, &out);
	assert_string_equal(str_text(&out),
			    "note: a.yaml: one\n"
			    "a.yaml:9:1: two\n"
			    "a.yaml:9:2: three\n"
			    "b.yaml:1:1: four\n"
			    "note: only a note\n"
			    "no place\n");
	assert_string_equal(err_first(&err), "a.yaml:9:1: two");
	err_free(&err);
	assert_string_equal(err_first(&err), "unknown error");
	str_free(&out);
}

static void test_err_limit(void **state)
{
	struct warren_err err = ERR_INIT;
	struct str out = STR_INIT;

	(void)state;
	for (int i = 0; i < ERR_MAX + 7; i++)
		err_add(&err, NULL, "%d", i);
	err_print(&err, &out);
	assert_non_null(strstr(str_text(&out), "19\n... and 7 more errors\n"));
	str_free(&out);
	err_free(&err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_str),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_json_and_clean),
		cmocka_unit_test(test_guess),
		cmocka_unit_test(test_addr),
		cmocka_unit_test(test_addrport),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_hostport),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_int),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_duration),
		cmocka_unit_test(test_err_order),
		cmocka_unit_test(test_err_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
