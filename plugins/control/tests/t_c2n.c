/*
 * Requests of the server: what is answered, and that all else is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../c2n.h"

static const struct ctl_c2n_facts facts = { .prefs = "{\"p\":1}", .health = "{\"h\":1}" };

static void expect(const char *request, const char *answer)
{
	struct str out = STR_INIT;

	assert_int_equal(ctl_c2n(&facts, (const uint8_t *)request, strlen(request), &out), 0);
	assert_string_equal(str_text(&out), answer);
	str_free(&out);
}

#define TEXT(status, len, body) "HTTP/1.1 " status "\r\nContent-Type: text/plain; charset=utf-8" \
	"\r\nContent-Length: " len "\r\n\r\n" body "\n"

static void test_paths(void **state)
{
	(void)state;
	expect("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello, more",
	       "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
	       "Content-Length: 5\r\n\r\nhello");
	expect("GET /echo HTTP/1.0\n\nabc",
	       "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
	       "Content-Length: 3\r\n\r\nabc");
	expect("GET /debug/prefs HTTP/1.1\r\n\r\n",
	       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n"
	       "{\"p\":1}");
	expect("GET /debug/health?x=y HTTP/1.1\r\n\r\n",
	       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n"
	       "{\"h\":1}");
}

static void test_refused(void **state)
{
	static const char *const unknown[] = {
		"POST /update HTTP/1.1\r\n\r\n", "POST /wol?mac=00 HTTP/1.1\r\n\r\n",
		"GET /remoteapi/localapi/v0/status HTTP/1.1\r\n\r\n",
		"GET /debug/prefs/ HTTP/1.1\r\n\r\n", "GET //echo HTTP/1.1\r\n\r\n",
	};
	static const char *const malformed[] = {
		"", "GET", "GET /echo\r\n\r\n", "GET /echo HTTP/1.1\r\nHost: x\r\n",
		"GET echo HTTP/1.1\r\n\r\n", "GET /e\tcho HTTP/1.1\r\n\r\n",
		"POST /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort",
		"POST /echo HTTP/1.1\r\nContent-Length: x\r\n\r\n",
		"POST /echo HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		expect(unknown[i], TEXT("400 Bad Request", "17", "unknown c2n path"));
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
		expect(malformed[i], TEXT("400 Bad Request", "18", "malformed request"));
	expect("POST /vip-services HTTP/1.1\r\n\r\n",
	       TEXT("405 Method Not Allowed", "11", "bad method"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
