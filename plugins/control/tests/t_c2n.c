/*
 * Requests of the server: what is answered, and that all else is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "../c2n.h"
#include "feed.h"

static char *metrics(void *arg)
{
	(void)arg;
	return strdup("# TYPE warren_x_y counter\nwarren_x_y 1\n");
}

static struct ctl_c2n_facts facts = {
	.prefs = "{\"p\":1}", .health = "{\"h\":1}", .metrics = metrics,
};

static void expect(const char *request, const char *answer)
{
	struct str out = STR_INIT;

	assert_int_equal(ctl_c2n(&facts, (const uint8_t *)request, strlen(request), &out), 0);
	assert_string_equal(str_text(&out), answer);
	str_free(&out);
}

#define TEXT(status, len, body) "HTTP/1.1 " status "\r\nContent-Type: text/plain; charset=utf-8" \
	"\r\nX-Content-Type-Options: nosniff\r\nContent-Length: " len "\r\n\r\n" body "\n"
#define JSON(len, body) "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " \
	len "\r\n\r\n" body "\n"

static void test_paths(void **state)
{
	(void)state;
	expect("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello, more",
	       "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
	       "Content-Length: 5\r\n\r\nhello");
	expect("GET /echo HTTP/1.0\n\na\001c",
	       "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
	       "Content-Length: 3\r\n\r\na\001c");
	expect("GET /debug/prefs HTTP/1.1\r\n\r\n", JSON("8", "{\"p\":1}"));
	expect("GET /debug/health?x=y HTTP/1.1\r\n\r\n", JSON("8", "{\"h\":1}"));
	expect("GET /debug/metrics HTTP/1.1\r\n\r\n",
	       "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 39\r\n\r\n"
	       "# TYPE warren_x_y counter\nwarren_x_y 1\n");
}

/* Of what this node does not have: the stock client's answer where it does not have it either. */
static void test_absent(void **state)
{
	(void)state;
	expect("GET /vip-services HTTP/1.1\r\n\r\n", JSON("20", "{\"ServicesHash\":\"\"}"));
	expect("GET /appconnector/routes HTTP/1.1\r\n\r\n", JSON("17", "{\"Domains\":null}"));
	expect("GET /posture/identity?hwaddrs=true HTTP/1.1\r\n\r\n",
	       JSON("25", "{\"PostureDisabled\":true}"));
	expect("GET /ssh/usernames HTTP/1.1\r\n\r\n", JSON("19", "{\"Usernames\":null}"));
	expect("POST /ssh/usernames HTTP/1.1\r\n\r\n{}", JSON("19", "{\"Usernames\":null}"));
	expect("POST /ssh/usernames HTTP/1.1\r\n\r\n", TEXT("400 Bad Request", "4", "EOF"));
	expect("GET /update HTTP/1.1\r\n\r\n",
	       JSON("52", "{\"Enabled\":false,\"Supported\":false,\"Started\":false}"));
	expect("GET /tls-cert-status?a=b&domain=x.example HTTP/1.1\r\n\r\n",
	       JSON("42", "{\"Error\":\"no certificate\",\"Missing\":true}"));
	expect("GET /tls-cert-status?domain= HTTP/1.1\r\n\r\n",
	       TEXT("400 Bad Request", "12", "no 'domain'"));
	expect("GET /tls-cert-status?domain=%00x HTTP/1.1\r\n\r\n",
	       TEXT("400 Bad Request", "12", "no 'domain'"));
	expect("GET /tls-cert-status?domain=a%2 HTTP/1.1\r\n\r\n",
	       TEXT("400 Bad Request", "12", "no 'domain'"));
	expect("GET /debug/component-logging?secs=9&component=m%61gic HTTP/1.1\r\n\r\n",
	       JSON("40", "{\"Error\":\"unknown component \\\"magic\\\"\"}"));
	expect("POST /debug/tka/log HTTP/1.1\r\n\r\n",
	       TEXT("400 Bad Request", "24", "tailnet lock not active"));
}

static void test_refused(void **state)
{
	static const char *const unknown[] = {
		"GET /echo/ HTTP/1.1\r\n\r\n",
		"GET /remoteapi/localapi HTTP/1.1\r\n\r\n",
		"GET /debug/prefs/ HTTP/1.1\r\n\r\n", "GET //echo HTTP/1.1\r\n\r\n",
		"PUT /echo/../update HTTP/1.1\r\n\r\n", "POST /vip-services HTTP/1.1\r\n\r\n",
		"PUT /update HTTP/1.1\r\n\r\n", "GET /wol HTTP/1.1\r\n\r\n",
		"POST /posture/identity HTTP/1.1\r\n\r\n",
	};
	static const char *const absent[] = {
		"POST /wol?mac=00:11:22:33:44:55 HTTP/1.1\r\n\r\n",
		"POST /netfilter-kind?kind=nftables HTTP/1.1\r\n\r\n",
		"GET /debug/goroutines HTTP/1.1\r\n\r\n",
		"GET /debug/logheap HTTP/1.1\r\n\r\n", "GET /debug/pprof/heap HTTP/1.1\r\n\r\n",
		"POST /debug/pprof/allocs HTTP/1.1\r\n\r\n",
	};
	static const char *const method[] = {
		"GET /netfilter-kind HTTP/1.1\r\n\r\n",
		"GET /sockstats HTTP/1.1\r\n\r\n", "GET /logtail/flush HTTP/1.1\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		expect(absent[i], TEXT("501 Not Implemented", "16", "not implemented"));
	for (size_t i = 0; i < sizeof(method) / sizeof(method[0]); i++)
		expect(method[i], TEXT("405 Method Not Allowed", "11", "bad method"));
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		expect(unknown[i], TEXT("400 Bad Request", "17", "unknown c2n path"));
	expect("GET /conn25/state HTTP/1.1\r\n\r\n",
	       "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n");
	expect("POST /update?force=true HTTP/1.1\r\n\r\n",
	       JSON("72", "{\"Err\":\"not enabled\",\"Enabled\":false,\"Supported\":false,"
		    "\"Started\":false}"));
	expect("POST /logtail/flush HTTP/1.1\r\n\r\n",
	       TEXT("500 Internal Server Error", "24", "no log flusher wired up"));
	expect("POST /sockstats HTTP/1.1\r\n\r\n",
	       TEXT("500 Internal Server Error", "18", "no sockstatLogger"));
	expect("PATCH /remoteapi/localapi/v0/prefs HTTP/1.1\r\n\r\n",
	       TEXT("403 Forbidden", "43", "remote config not enabled by local machine"));
}

static void test_malformed(void **state)
{
	static const char *const malformed[] = {
		"", "GET", "GET /echo\r\n\r\n", "GET /echo HTTP/1.1\r\nHost: x\r\n",
		"GET echo HTTP/1.1\r\n\r\n", "GET /e\tcho HTTP/1.1\r\n\r\n",
		"POST /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort",
		"POST /echo HTTP/1.1\r\nContent-Length: x\r\n\r\n",
		"POST /echo HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /echo HTTP/2.1\r\n\r\n",
	};
	struct str out = STR_INIT;
	uint8_t *big = calloc(1, CTL_C2N_MAX + 1);
	static const char head[] = "POST /echo HTTP/1.1\r\n\r\n";

	(void)state;
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
		expect(malformed[i], TEXT("400 Bad Request", "18", "malformed request"));
	assert_non_null(big);
	memcpy(big, head, sizeof(head) - 1);
	assert_int_equal(ctl_c2n(&facts, big, CTL_C2N_MAX + 1, &out), 0);
	assert_string_equal(str_text(&out), TEXT("400 Bad Request", "18", "malformed request"));
	str_free(&out);
	free(big);
}

/*
 * ---- /debug/netmap ----
 */

static json_t *ask(const char *method, const char *body, int status)
{
	struct str request = STR_INIT, out = STR_INIT;
	const char *at;
	char line[32];
	json_t *o;

	str_addf(&request, "%s /debug/netmap HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s", method,
		 strlen(body), body);
	assert_int_equal(ctl_c2n(&facts, (const uint8_t *)request.s, request.len, &out), 0);
	snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
	assert_memory_equal(str_text(&out), line, strlen(line));
	at = strstr(str_text(&out), "\r\n\r\n");
	assert_non_null(at);
	o = json_loads(at + 4, 0, NULL);
	str_free(&request);
	str_free(&out);
	return o;
}

static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void test_netmap(void **state)
{
	struct feed *feed = *state;
	json_t *o, *now;

	facts.map = feed->now;
	o = ask("GET", "", 200);
	now = json_object_get(o, "current");
	assert_null(json_object_get(o, "candidate"));
	assert_string_equal(text(now, "Domain"), "ts.example");
	assert_string_equal(text(now, "NodeKey"), KEY(D("a")));
	assert_string_equal(text(json_object_get(now, "SelfNode"), "Name"), "a.ts.example.");
	assert_int_equal(json_array_size(json_object_get(now, "Peers")), 3);
	assert_int_equal(json_array_size(json_object_get(now, "PacketFilterRules")), 1);
	assert_string_equal(text(json_object_get(json_object_get(now, "UserProfiles"), "7"),
				 "LoginName"), "alice");
	json_decref(o);

	o = ask("POST", "{\"omitFields\":[\"Peers\",\"Domain\",\"NodeKey\",\"Nonsense\",5]}", 200);
	now = json_object_get(o, "current");
	assert_true(json_is_null(json_object_get(now, "Peers")));
	assert_string_equal(text(now, "Domain"), "");
	assert_string_equal(text(now, "NodeKey"), KEY(D("0")));
	assert_true(json_is_object(json_object_get(now, "SelfNode")));
	json_decref(o);
	json_decref(ask("PUT", "", 405));
	facts.map = NULL;
	o = ask("GET", "", 200);
	assert_true(json_is_null(json_object_get(o, "current")));
	json_decref(o);
}

/* A map of the server's that is only tried: what is in force stays. */
static void test_candidate(void **state)
{
	static const char *const bad[] = {
		"", "[]", "{\"candidate\":5}", "{\"candidate\":{}}", "{\"candidate\":[1]}",
		"{\"candidate\":{\"KeepAlive\":true}}", "{\"candidate\":{\"PeersRemoved\":[2]}}",
	};
	struct feed *feed = *state;
	uint32_t published = feed->published;
	json_t *o, *made;

	facts.map = feed->now;
	o = ask("POST", "{\"candidate\":{\"Node\":" SELF ",\"Domain\":\"other.example\","
		"\"Peers\":[" PEER(5, "") ",{\"ID\":6}]},\"omitFields\":[\"SelfNode\"]}", 200);
	made = json_object_get(o, "candidate");
	assert_string_equal(text(made, "Domain"), "other.example");
	assert_true(json_is_null(json_object_get(made, "SelfNode")));
	assert_int_equal(json_array_size(json_object_get(made, "Peers")), 1);
	assert_string_equal(text(json_object_get(o, "current"), "Domain"), "ts.example");
	json_decref(o);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		json_decref(ask("POST", bad[i], 400));
	assert_int_equal(feed->published, published);
	facts.map = NULL;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test_setup_teardown(test_netmap, feed_setup_full, feed_teardown),
		cmocka_unit_test_setup_teardown(test_candidate, feed_setup_full, feed_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
