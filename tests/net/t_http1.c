/*
 * HTTP/1.1 messages: what is told of good ones, whatever the portions they come in, and that each
 * way of writing one message that two readers could read as two is refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"
#include "net/http1.h"

struct log {
	struct str text;
	int on_head, on_body;		/* what the callbacks return */
	bool in_body;
};

static int on_head(void *arg, const struct warren_http_head *head)
{
	struct log *log = arg;

	if (head->method)
		str_addf(&log->text, "%s %s %s %s", head->method,
			 head->scheme ? head->scheme : "-",
			 head->authority ? head->authority : "-", head->path ? head->path : "-");
	else
		str_addf(&log->text, "%d", head->status);
	for (uint32_t i = 0; i < head->n_fields; i++)
		str_addf(&log->text, "|%s=%s", head->fields[i].name, head->fields[i].value);
	str_addf(&log->text, "|%lld:", (long long)head->length);
	return log->on_head;
}

static int on_body(void *arg, const uint8_t *data, size_t len)
{
	struct log *log = arg;

	assert_true(len > 0);
	str_addn(&log->text, (const char *)data, len);
	return log->on_body;
}

static int on_complete(void *arg)
{
	struct log *log = arg;

	str_add(&log->text, ".");
	return 0;
}

static const struct http1_events events = {
	.head = on_head, .body = on_body, .complete = on_complete,
};

/* Feeds portions until all is taken, an upgrade stops it, or an error; then the end. */
static int run(enum http1_kind kind, const char *method, const char *text, size_t len,
	       size_t portion, struct log *log, struct warren_err *err)
{
	struct http1 *http = http1_new(kind, &events, log);
	size_t at = 0;
	ssize_t n = 0;
	int result;

	assert_non_null(http);
	if (method)
		http1_expect(http, method);
	while (at < len && !(http1_idle(http) && http1_upgraded(http))) {
		size_t want = len - at < portion ? len - at : portion;
		char *copy = malloc(want);

		assert_non_null(copy);
		memcpy(copy, text + at, want);
		n = http1_feed(http, copy, want, err);
		free(copy);
		if (n < 0)
			break;
		at += (size_t)n;
	}
	result = n < 0 ? (int)n : http1_feed(http, NULL, 0, err) < 0 ? -1 : 0;
	if (result == 0 && http1_upgraded(http))
		str_addf(&log->text, "+%s", text + at);
	else if (result == 0)
		result = http1_eof(http, err);
	else
		assert_int_equal(http1_feed(http, "G", 1, NULL), -EBADMSG);
	if (result == 0)
		str_add(&log->text, http1_keeps_alive(http) ? "k" : "c");
	http1_free(http);
	return result;
}

static void gives(enum http1_kind kind, const char *method, const char *text, const char *want)
{
	for (size_t portion = 1; portion <= strlen(text); portion++) {
		struct warren_err err = ERR_INIT;
		struct log log = { .text = STR_INIT };

		if (run(kind, method, text, strlen(text), portion, &log, &err))
			fail_msg("%s: %s", text, err_first(&err));
		assert_string_equal(str_text(&log.text), want);
		str_free(&log.text);
	}
}

static void requests(void **state)
{
	(void)state;
	gives(HTTP1_REQUESTS, NULL, "GET /key?v=130 HTTP/1.1\r\nHost: h:80\r\n\r\n",
	      "GET - h:80 /key?v=130|host=h:80|0:.k");
	gives(HTTP1_REQUESTS, NULL,
	      "POST /a HTTP/1.1\r\nHost:h\r\nX-Long:\t a  b \t\r\nX-Empty:\r\n"
	      "Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nhost: i\r\nConnection: x, Close"
	      "\r\n\r\n",
	      "POST - h /a|host=h|x-long=a  b|x-empty=|content-length=5|5:hello."
	      "GET - i /|host=i|connection=x, Close|0:.c");
	gives(HTTP1_REQUESTS, NULL,
	      "PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
	      "3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
	      "PUT - h /c|host=h|transfer-encoding=Chunked|-1:abc0123456789.k");
	gives(HTTP1_REQUESTS, NULL, "GET /old HTTP/1.0\r\n\r\n", "GET - - /old|0:.c");
	gives(HTTP1_REQUESTS, NULL, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	      "GET - - /|connection=keep-alive|0:.k");
}

static void targets(void **state)
{
	(void)state;
	gives(HTTP1_REQUESTS, NULL, "GET http://other:1/p?q HTTP/1.1\r\nHost: h\r\n\r\n",
	      "GET http other:1 /p?q|host=h|0:.k");
	gives(HTTP1_REQUESTS, NULL, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
	      "CONNECT - h:443 -|host=h:443|0:.k");
	gives(HTTP1_REQUESTS, NULL, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
	      "OPTIONS - h *|host=h|0:.k");
}

static void responses(void **state)
{
	(void)state;
	gives(HTTP1_RESPONSES, "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
	      "200|content-length=2|2:hi.k");
	gives(HTTP1_RESPONSES, "GET", "HTTP/1.1 404\r\n\r\nuntil the end",
	      "404|-1:until the end.c");
	gives(HTTP1_RESPONSES, "GET", "HTTP/1.0 200 \r\n\r\n", "200|-1:.c");
	gives(HTTP1_RESPONSES, "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
	      "100|0:.204|0:.k");
	gives(HTTP1_RESPONSES, "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
	      "200|content-length=9|0:.k");
	gives(HTTP1_RESPONSES, "GET", "HTTP/1.1 304 Not\r\nContent-Length: 9\r\n\r\n",
	      "304|content-length=9|0:.k");
	gives(HTTP1_RESPONSES, "GET",
	      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
	      "200|transfer-encoding=chunked|-1:x.k");
}

/* The bytes behind the head belong to the other protocol. */
static void upgrades(void **state)
{
	(void)state;
	gives(HTTP1_RESPONSES, "POST",
	      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: ts\r\n\r\n\2 noise\r\n",
	      "101|upgrade=ts|0:.+\2 noise\r\nk");
	gives(HTTP1_RESPONSES, "CONNECT", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntunnel",
	      "200|content-length=3|0:.+tunnelk");
}

static void refused(enum http1_kind kind, const char *text, size_t len, int result,
		    const char *why)
{
	for (size_t portion = 1; portion <= len; portion += portion < 80 ? 1 : 997) {
		struct warren_err err = ERR_INIT;
		struct log log = { .text = STR_INIT };
		int got = run(kind, "GET", text, len, portion, &log, &err);

		if (got != result || !strstr(err_first(&err), why))
			fail_msg("%.200s, portion %zu: %d, %s", text, portion, got,
				 err_first(&err));
		err_free(&err);
		str_free(&log.text);
	}
}

static void bad_request(const char *text, const char *why)
{
	refused(HTTP1_REQUESTS, text, strlen(text), -EBADMSG, why);
}

static void bad_lines(void **state)
{
	(void)state;
	bad_request("GET / HTTP/1.1\nHost: h\n\n", "a line ends without a carriage return");
	bad_request("GET / HTTP/1.1\r\nHost: h\n\r\n", "a line ends without a carriage return");
	bad_request("\r\nGET / HTTP/1.1\r\n", "an empty line stands where a message should begin");
	bad_request("GET /\r\n\r\n", "the first line is no request");
	bad_request("GET  / HTTP/1.1\r\n\r\n", "the version is not");
	bad_request(" GET / HTTP/1.1\r\n\r\n", "the first line is no request");
	bad_request("G@T / HTTP/1.1\r\nHost: h\r\n\r\n", "the first line is no request");
	bad_request("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", "the version is not");
	bad_request("GET / HTTP/1.2\r\nHost: h\r\n\r\n", "the version is not");
	bad_request("GET / http/1.1\r\nHost: h\r\n\r\n", "the version is not");
	bad_request("GET / HTTP/2.0\r\nHost: h\r\n\r\n", "the version is not");
	bad_request("GET /\t HTTP/1.1\r\nHost: h\r\n\r\n", "a character that must be escaped");
	bad_request("GET /\xc3\xb6 HTTP/1.1\r\nHost: h\r\n\r\n", "a character that must be");
	bad_request("GET /\rX HTTP/1.1\r\nHost: h\r\n\r\n", "the first line has a control");
	bad_request("GET x HTTP/1.1\r\nHost: h\r\n\r\n", "is no path and no URL");
	bad_request("GET * HTTP/1.1\r\nHost: h\r\n\r\n", "is no path and no URL");
	bad_request("GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n", "has no host, no path");
	bad_request("GET http://u@h/x HTTP/1.1\r\nHost: h\r\n\r\n", "or a user name");
	bad_request("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", "has no host, no path");
	bad_request("CONNECT /x HTTP/1.1\r\nHost: h\r\n\r\n", "CONNECT needs a host");
	refused(HTTP1_REQUESTS, "GET /\0x HTTP/1.1\r\nHost: h\r\n\r\n", 30, -EBADMSG,
		"the first line has a control character");
	refused(HTTP1_REQUESTS, "GET / HTTP/1.1\r\nHost: h\0i\r\n\r\n", 29, -EBADMSG,
		"a field has a control character");
}

static void bad_fields(void **state)
{
	(void)state;
	bad_request("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", "goes on in the next line");
	bad_request("GET / HTTP/1.1\r\n Host: h\r\n\r\n", "goes on in the next line");
	bad_request("GET / HTTP/1.1\r\nHost : h\r\n\r\n", "no valid field name");
	bad_request("GET / HTTP/1.1\r\nHost\r\n\r\n", "no valid field name");
	bad_request("GET / HTTP/1.1\r\n: h\r\n\r\n", "no valid field name");
	bad_request("GET / HTTP/1.1\r\nH(st: h\r\n\r\n", "no valid field name");
	bad_request("GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", "a field has a control character");
	bad_request("GET / HTTP/1.1\r\nA: \x7f\r\n\r\n", "a field has a control character");
	bad_request("GET / HTTP/1.1\r\n\r\n", "a request must have one Host");
	bad_request("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "a request must have one Host");
	bad_request("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "Host is no host");
	bad_request("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", "Host is no host");
}

static void bad_length(const char *fields, const char *why)
{
	char text[300];

	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);
	bad_request(text, why);
}

static void two_lengths(void **state)
{
	static const char two[] = "the body has two lengths", number[] = "is no plain number";

	(void)state;
	bad_length("Content-Length: 1\r\nContent-Length: 2\r\n", two);
	bad_length("Content-Length: 1\r\nContent-Length: 1\r\n", two);
	bad_length("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", two);
	bad_length("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", two);
	bad_length("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", two);
	bad_length("Content-Length: 1, 1\r\n", number);
	bad_length("Content-Length: +1\r\n", number);
	bad_length("Content-Length: -1\r\n", number);
	bad_length("Content-Length: 0x1\r\n", number);
	bad_length("Content-Length: 1 1\r\n", number);
	bad_length("Content-Length:\r\n", "Content-Length is empty");
	bad_length("Content-Length: 9223372036854775808\r\n", "beyond all bounds");
	bad_length("Content-Length: 99999999999999999999\r\n", "beyond all bounds");
	bad_length("Transfer-Encoding: gzip, chunked\r\n", "is not \"chunked\"");
	bad_length("Transfer-Encoding: xchunked\r\n", "is not \"chunked\"");
	bad_length("Transfer-Encoding: chunked;q=1\r\n", "is not \"chunked\"");
	bad_length("Transfer-Encoding: identity\r\n", "is not \"chunked\"");
	bad_length("Transfer-Encoding:\r\n", "is not \"chunked\"");
	bad_request("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "in HTTP/1.0");
}

static void bad_chunk(const char *chunks, const char *why)
{
	char text[600];

	snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
		 "\r\n%s", chunks);
	refused(HTTP1_REQUESTS, text, strlen(text), strstr(why, "too long") ? -EMSGSIZE : -EBADMSG,
		why);
}

static void bad_chunks(void **state)
{
	static const char number[] = "the size of a chunk is no hexadecimal number";
	char line[300];

	(void)state;
	bad_chunk("\r\n", number);
	bad_chunk("x\r\n", number);
	bad_chunk("0x1\r\na\r\n", number);
	bad_chunk("-1\r\n", number);
	bad_chunk(" 1\r\na\r\n", number);
	bad_chunk("1 \r\na\r\n", number);
	bad_chunk("1;\x01\r\na\r\n", number);
	bad_chunk("1\na\r\n", "a line ends without a carriage return");
	bad_chunk("1\r\nab\r\n", "a chunk is longer than it said");
	bad_chunk("1\r\na\n", "a chunk is longer than it said");
	bad_chunk("1\r\na\rb", "a chunk is longer than it said");
	bad_chunk("10000000000000000\r\n", "beyond all bounds");
	bad_chunk("0\r\nbad\r\n\r\n", "no valid field name");
	bad_chunk("0\r\nA: b\n", "a line ends without a carriage return");
	snprintf(line, sizeof(line), "1;%0260d\r\n", 0);
	bad_chunk(line, "chunk size is too long");
}

static void bad_responses(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "HTTP/1.1 20 OK\r\n\r\n", "the status is no number" },
		{ "HTTP/1.1 2000 OK\r\n\r\n", "the status is no number" },
		{ "HTTP/1.1 099 OK\r\n\r\n", "the status is no number" },
		{ "HTTP/1.1  200 OK\r\n\r\n", "the status is no number" },
		{ "HTTP/1.1\r\n\r\n", "is no response" },
		{ "ICY 200 OK\r\n\r\n", "is no response" },
		{ "SSH-2.0-x\r\n\r\n", "is no response" },
		{ "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", "where no body" },
		{ "HTTP/1.1 101 S\r\nTransfer-Encoding: chunked\r\n\r\n", "where no body" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(HTTP1_RESPONSES, cases[i].text, strlen(cases[i].text), -EBADMSG,
			cases[i].why);
}

static void cut_off(void **state)
{
	static const char *const texts[] = {
		"G", "GET / HTTP/1.1\r\nHost: h\r\n", "POST / HTTP/1.1\r\nHost: h\r\n"
		"Content-Length: 3\r\n\r\nab", "POST / HTTP/1.1\r\nHost: h\r\n"
		"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		refused(HTTP1_REQUESTS, texts[i], strlen(texts[i]), -ECONNRESET,
			"closed the connection in the middle of an HTTP message");
}

static void limits(void **state)
{
	struct str text = STR_INIT;

	(void)state;
	str_add(&text, "GET / HTTP/1.1\r\nHost: h\r\n");
	for (int i = 0; i < WARREN_HTTP_FIELDS; i++)
		str_add(&text, "a: b\r\n");
	str_add(&text, "\r\n");
	refused(HTTP1_REQUESTS, str_text(&text), text.len, -EMSGSIZE, "of more than 128 fields");
	str_cut(&text, 0);
	str_add(&text, "GET / HTTP/1.1\r\nHost: h\r\nA: ");
	while (text.len < WARREN_HTTP_HEAD_MAX)
		str_add(&text, "0123456789");
	refused(HTTP1_REQUESTS, str_text(&text), text.len, -EMSGSIZE, "whose head is too long");
	str_cut(&text, 0);
	str_add(&text, "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ");
	while (text.len < WARREN_HTTP_HEAD_MAX + 200)
		str_add(&text, "0123456789");
	refused(HTTP1_REQUESTS, str_text(&text), text.len, -EMSGSIZE, "whose trailer is too long");
	str_free(&text);
}

/* A callback that pauses has what it was told, and gets the rest later. */
static void pauses(void **state)
{
	static const char text[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd";
	struct log log = { .text = STR_INIT, .on_head = WARREN_PENDING, .on_body = WARREN_PENDING };
	struct http1 *http = http1_new(HTTP1_REQUESTS, &events, &log);
	size_t len = sizeof(text) - 1;

	(void)state;
	assert_int_equal(http1_feed(http, text, len, NULL), len - 4);
	assert_int_equal(http1_feed(http, text + len - 4, 3, NULL), 3);
	assert_string_equal(str_text(&log.text) + log.text.len - 4, ":abc");
	assert_int_equal(http1_feed(http, text + len - 1, 1, NULL), 1);
	assert_string_equal(str_text(&log.text) + log.text.len - 5, ":abcd");
	assert_false(http1_idle(http));
	assert_int_equal(http1_feed(http, NULL, 0, NULL), 0);
	assert_string_equal(str_text(&log.text) + log.text.len - 6, ":abcd.");
	assert_true(http1_idle(http));
	log.on_head = -EPERM;
	assert_int_equal(http1_feed(http, text, len, NULL), -EPERM);
	assert_int_equal(http1_feed(http, text, len, NULL), -EBADMSG);
	http1_free(http);
	http1_free(NULL);
	str_free(&log.text);
}

static void field_helpers(void **state)
{
	static const struct warren_http_field fields[] = { { "a", "1" }, { "a", "2" } };
	struct warren_http_head head = { .size = sizeof(head), .fields = fields, .n_fields = 2 };

	(void)state;
	assert_string_equal(warren_http_field(&head, "a"), "1");
	assert_null(warren_http_field(&head, "b"));
	assert_true(http1_list_has("keep-alive, UPGRADE ,x", "upgrade"));
	assert_true(http1_list_has("upgrade", "upgrade"));
	assert_false(http1_list_has("upgraded,up grade,", "upgrade"));
	assert_false(http1_list_has("", "upgrade"));
	assert_false(http1_is_token("", 0));
	assert_false(http1_is_value("a\nb", 3));
}

static void retry_after(void **state)
{
	const int64_t now = 784111777;	/* Sun, 06 Nov 1994 08:49:37 GMT, of RFC 9110 5.6.7 */
	const uint64_t hour = UINT64_C(3600000000);

	(void)state;
	assert_int_equal(warren_http_retry_after("7", now, hour), 7000000);
	assert_int_equal(warren_http_retry_after("99999999999999999999", now, hour),
			 hour);
	assert_int_equal(warren_http_retry_after("Sun, 06 Nov 1994 08:49:57 GMT", now, hour),
			 20000000);
	assert_int_equal(warren_http_retry_after("Sunday, 06-Nov-94 08:49:57 GMT", now, hour),
			 20000000);
	assert_int_equal(warren_http_retry_after("Sun Nov  6 08:49:57 1994", now, hour), 20000000);
	assert_int_equal(warren_http_retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now, hour), 0);
	assert_int_equal(warren_http_retry_after("", now, hour), 0);
	assert_int_equal(warren_http_retry_after("-5", now, hour), 0);
	assert_int_equal(warren_http_retry_after("7x", now, hour), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),
		cmocka_unit_test(targets),
		cmocka_unit_test(responses),
		cmocka_unit_test(upgrades),
		cmocka_unit_test(bad_lines),
		cmocka_unit_test(bad_fields),
		cmocka_unit_test(two_lengths),
		cmocka_unit_test(bad_chunks),
		cmocka_unit_test(bad_responses),
		cmocka_unit_test(cut_off),
		cmocka_unit_test(limits),
		cmocka_unit_test(pauses),
		cmocka_unit_test(field_helpers),
		cmocka_unit_test(retry_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
