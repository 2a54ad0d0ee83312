/*
 * Targets, mounts, paths, ranges; what a backend is told, and that nobody else can tell it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/util.h"

#include "../serve.h"

static void targets_are_ports_places_and_urls(void **state)
{
	static const struct {
		const char *text, *host, *path;
		uint16_t port;
		bool tls, insecure;
	} cases[] = {
		{ "3000", "127.0.0.1", "", 3000, false, false },
		{ "localhost:3000", "localhost", "", 3000, false, false },
		{ "http://127.0.0.1:3000/", "127.0.0.1", "", 3000, false, false },
		{ "http://db/base/x/", "db", "/base/x", 80, false, false },
		{ "https://db.example.com", "db.example.com", "", 443, true, false },
		{ "https+insecure://[::1]:8443", "::1", "", 8443, true, true },
	};
	static const char *const bad[] = { "", "0", "65536", "ftp://x", "unix:/x", "x", "http://",
					   "http://x/?q" };
	struct srv_target out;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(srv_target_http(cases[i].text, &out, NULL), 0);
		assert_string_equal(out.host, cases[i].host);
		assert_string_equal(out.path, cases[i].path);
		assert_int_equal(out.port, cases[i].port);
		assert_int_equal(out.tls, cases[i].tls);
		assert_int_equal(out.insecure, cases[i].insecure);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(srv_target_http(bad[i], &out, NULL), -EINVAL);
	assert_int_equal(srv_target_tcp("tcp://db:5432", &out, NULL), 0);
	assert_int_equal(out.port, 5432);
	assert_int_equal(srv_target_tcp("http://db:80", &out, NULL), -EINVAL);
}

static void dot_segments_never_lead_out(void **state)
{
	static const char *const cases[][2] = {
		{ "/", "/" }, { "/a/b?c", "/a/b" }, { "/a/./b", "/a/b" }, { "/a/../b", "/b" },
		{ "/a/b/..", "/a/" }, { "/a/%2e%2E/b", "/b" }, { "/a/.%2e/b", "/b" },
		{ "/a//b", "/a//b" }, { "/...", "/..." }, { "/a/.", "/a/" },
	};
	static const char *const bad[] = { "", "a", "*", "/..", "/a/../..", "/%2e%2e/x",
					   "http://x/" };
	char out[SRV_PATH];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(srv_path_clean(cases[i][0], out));
		assert_string_equal(out, cases[i][1]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(srv_path_clean(bad[i], out));
}

static const char *best(const char *path)
{
	static const char *const mounts[] = { "/", "/docs", "/docs/", "/docs/api" };
	char clean[SRV_PATH];
	const char *found = NULL;
	size_t most = 0;

	assert_true(srv_path_clean(path, clean));
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		size_t fits = srv_mount_fits(mounts[i], clean, path);

		if (fits > most) {
			most = fits;
			found = mounts[i];
		}
	}
	return found;
}

static void the_longest_mount_has_the_request(void **state)
{
	(void)state;
	assert_string_equal(best("/"), "/");
	assert_string_equal(best("/doc"), "/");
	assert_string_equal(best("/docs"), "/docs");
	assert_string_equal(best("/docs?x"), "/docs");
	assert_string_equal(best("/docs/"), "/docs/");
	assert_string_equal(best("/docs/x"), "/docs/");
	assert_string_equal(best("/docs/api/x"), "/docs/api");
	assert_string_equal(best("/docs/apix"), "/docs/");
	assert_string_equal(best("/docs/../docsx"), "/");
	assert_string_equal(srv_mount_rest("/docs/", "/docs/x"), "/x");
	assert_string_equal(srv_mount_rest("/docs", "/docs"), "");
	assert_string_equal(srv_mount_rest("/", "/x"), "/x");
	assert_true(srv_mount_ok("/a/b/"));
	assert_false(srv_mount_ok("a"));
	assert_false(srv_mount_ok("/a/../b"));
	assert_false(srv_mount_ok("/a b"));
	assert_false(srv_mount_ok("//a"));
}

static void names_stay_below_their_folder(void **state)
{
	char out[SRV_NAME];

	(void)state;
	assert_true(srv_path_name("/a/b%20c/", out));
	assert_string_equal(out, "a/b c");
	assert_true(srv_path_name("//a///b", out));
	assert_string_equal(out, "a/b");
	assert_true(srv_path_name("", out));
	assert_string_equal(out, "");
	assert_false(srv_path_name("/a%2f..%2fb", out));
	assert_false(srv_path_name("/%2e%2e/b", out));
	assert_false(srv_path_name("/a%00", out));
	assert_false(srv_path_name("/a%zz", out));
	assert_false(srv_path_name("/a%2", out));
}

static void ranges_are_of_the_file(void **state)
{
	int64_t first, last;

	(void)state;
	assert_int_equal(srv_range("bytes=2-4", 10, &first, &last), 0);
	assert_int_equal(first, 2);
	assert_int_equal(last, 4);
	assert_int_equal(srv_range("bytes=2-", 10, &first, &last), 0);
	assert_int_equal(last, 9);
	assert_int_equal(srv_range("bytes=-3", 10, &first, &last), 0);
	assert_int_equal(first, 7);
	assert_int_equal(srv_range("bytes=-30", 10, &first, &last), 0);
	assert_int_equal(first, 0);
	assert_int_equal(srv_range("bytes=10-", 10, &first, &last), -ERANGE);
	assert_int_equal(srv_range("bytes=-0", 10, &first, &last), -ERANGE);
	assert_int_equal(srv_range("bytes=0-1,3-4", 10, &first, &last), 1);
	assert_int_equal(srv_range("bytes=4-2", 10, &first, &last), 1);
	assert_int_equal(srv_range("lines=1-2", 10, &first, &last), 1);
	assert_int_equal(srv_range("bytes=99999999999999999999-", 10, &first, &last), 1);
}

static void redirects_say_where(void **state)
{
	struct str out = STR_INIT;

	(void)state;
	assert_int_equal(srv_redirect("https://x${REQUEST_URI}", "gw", "/a?b", &out), 302);
	assert_string_equal(str_text(&out), "https://x/a?b");
	str_cut(&out, 0);
	assert_int_equal(srv_redirect("308:https://${HOST}/", "gw", "/", &out), 308);
	assert_string_equal(str_text(&out), "https://gw/");
	str_free(&out);
}

static void words_become_rfc2047(void **state)
{
	struct str out = STR_INIT;

	(void)state;
	srv_add_words(&out, "Alice Doe");
	assert_string_equal(str_text(&out), "Alice Doe");
	str_cut(&out, 0);
	srv_add_words(&out, "J\xc3\xbcrgen M_");
	assert_string_equal(str_text(&out), "=?utf-8?q?J=C3=BCrgen_M=5F?=");
	str_cut(&out, 0);
	srv_add_words(&out, "a\r\nX: y");
	assert_string_equal(str_text(&out), "=?utf-8?q?a=0D=0AX:_y?=");
	str_free(&out);
}

static const char *value(const struct srv_fields *fields, const char *name)
{
	const char *found = NULL;

	for (uint32_t i = 0; i < fields->n; i++) {
		if (strcasecmp(fields->v[i].name, name) == 0) {
			assert_null(found);
			found = fields->v[i].value;
		}
	}
	return found;
}

static void forged_fields_go_no_further(void **state)
{
	static const struct warren_http_field in[] = {
		{ "tailscale-user-login", "root@evil" }, { "tailscale_user_login", "root@evil" },
		{ "tailscale-user_name", "root" }, { "tailscale-anything", "x" },
		{ "x-forwarded-for", "127.0.0.1" }, { "x_forwarded_for", "127.0.0.1" },
		{ "x-forwarded-host", "evil" }, { "x-forwarded-user", "root" },
		{ "forwarded", "for=127.0.0.1" }, { "x-real-ip", "127.0.0.1" },
		{ "connection", "keep-alive, x-mine, X-Forwarded-For" }, { "x-mine", "1" },
		{ "keep-alive", "5" }, { "te", "trailers" }, { "accept", "text/html" },
		{ "tailscaled", "a word of its own" }, { "cookie", "a=b" },
	};
	const struct warren_http_head head = {
		.size = sizeof(head), .method = "GET", .authority = "gw", .path = "/",
		.fields = in, .n_fields = ARRAY_SIZE(in),
	};
	const struct warren_user user = { .login = "alice@example.com",
					  .name = "\xc3\x84lice", .picture = "https://pic" };
	struct srv_fields out = { .n = 0 };
	struct arena arena = ARENA_INIT;
	struct warren_addr from;

	(void)state;
	assert_int_equal(addr_parse("100.64.0.2", &from), 0);
	srv_fields_up(&out, &arena, &head, &from, false, &user);
	assert_false(out.failed);
	assert_string_equal(value(&out, "Tailscale-User-Login"), "alice@example.com");
	assert_string_equal(value(&out, "Tailscale-User-Name"), "=?utf-8?q?=C3=84lice?=");
	assert_string_equal(value(&out, "X-Forwarded-For"), "100.64.0.2");
	assert_string_equal(value(&out, "X-Forwarded-Host"), "gw");
	assert_null(value(&out, "X-Forwarded-Proto"));
	assert_string_equal(value(&out, "accept"), "text/html");
	assert_string_equal(value(&out, "cookie"), "a=b");
	assert_string_equal(value(&out, "tailscaled"), "a word of its own");
	assert_int_equal(out.n, 3 + 2 + 4);
	memset(&out, 0, sizeof(out));
	srv_fields_up(&out, &arena, &head, &from, true, NULL);
	assert_null(value(&out, "Tailscale-User-Login"));
	assert_null(value(&out, "Tailscale-Headers-Info"));
	assert_string_equal(value(&out, "X-Forwarded-Proto"), "https");
	arena_free(&arena);
}

static void too_many_fields_are_refused(void **state)
{
	struct warren_http_field in[WARREN_HTTP_FIELDS];
	const struct warren_http_head head = {
		.size = sizeof(head), .method = "GET", .authority = "gw", .path = "/",
		.fields = in, .n_fields = ARRAY_SIZE(in),
	};
	struct srv_fields out = { .n = 0 };
	struct arena arena = ARENA_INIT;
	struct warren_addr from = { .family = 4 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(in); i++)
		in[i] = (struct warren_http_field){ "a", "b" };
	srv_fields_up(&out, &arena, &head, &from, false, NULL);
	assert_true(out.failed);
	arena_free(&arena);
}

static void proxy_protocol_names_the_peer(void **state)
{
	static const uint8_t two[] = {
		0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 'Q', 'U', 'I', 'T', 0x0a, 0x21, 0x11, 0, 12,
		100, 64, 0, 2, 100, 64, 0, 1, 0x9c, 0x40, 0x15, 0x38,
	};
	struct warren_addrport from, to, six;
	uint8_t out[SRV_PROXY_MAX];

	(void)state;
	assert_int_equal(addrport_parse("100.64.0.2:40000", &from), 0);
	assert_int_equal(addrport_parse("100.64.0.1:5432", &to), 0);
	assert_int_equal(addrport_parse("[fd7a::1]:5432", &six), 0);
	assert_int_equal(srv_proxy_head(1, &from, &to, out), 45);
	assert_memory_equal(out, "PROXY TCP4 100.64.0.2 100.64.0.1 40000 5432\r\n", 45);
	assert_int_equal(srv_proxy_head(2, &from, &to, out), sizeof(two));
	assert_memory_equal(out, two, sizeof(two));
	assert_int_equal(srv_proxy_head(2, &from, &six, out), 0);
	assert_int_equal(srv_proxy_head(2, &six, &six, out), 16 + 36);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_are_ports_places_and_urls),
		cmocka_unit_test(dot_segments_never_lead_out),
		cmocka_unit_test(the_longest_mount_has_the_request),
		cmocka_unit_test(names_stay_below_their_folder),
		cmocka_unit_test(ranges_are_of_the_file),
		cmocka_unit_test(redirects_say_where),
		cmocka_unit_test(words_become_rfc2047),
		cmocka_unit_test(forged_fields_go_no_further),
		cmocka_unit_test(too_many_fields_are_refused),
		cmocka_unit_test(proxy_protocol_names_the_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
