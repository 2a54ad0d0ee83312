/* URLs: what is followed, and what is refused with which words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <warren/net.h>

#include "base/err.h"

static void accepted(const char *text, const char *scheme, const char *host, unsigned int port,
		     bool given, const char *path)
{
	struct warren_err err = ERR_INIT;
	struct warren_url url;

	if (warren_url_parse(text, &url, &err))
		fail_msg("%s: %s", text, err_first(&err));
	assert_string_equal(url.scheme, scheme);
	assert_string_equal(url.host, host);
	assert_int_equal(url.port, port);
	assert_int_equal(url.port_given, given);
	assert_string_equal(url.path, path);
	err_free(&err);
}

static void refused(const char *text, const char *why)
{
	struct warren_err err = ERR_INIT;
	struct warren_url url;

	assert_int_equal(warren_url_parse(text, &url, &err), -EINVAL);
	if (!strstr(err_first(&err), why))
		fail_msg("%s: %s", text, err_first(&err));
	assert_string_equal(url.host, "");
	err_free(&err);
}

static void good_urls(void **state)
{
	(void)state;
	accepted("https://control.example.com", "https", "control.example.com", 443, false, "/");
	accepted("HTTP://Example.COM:8080/a%20b?c=d&e", "http", "example.com", 8080, true,
		 "/a%20b?c=d&e");
	accepted("http://192.0.2.1", "http", "192.0.2.1", 80, false, "/");
	accepted("http://[2001:DB8::1]:443/x", "http", "2001:db8::1", 443, true, "/x");
	accepted("https://[::1]", "https", "::1", 443, false, "/");
	accepted("https://host?q=1", "https", "host", 443, false, "/?q=1");
	accepted("https://host/?to=http://other/", "https", "host", 443, false,
		 "/?to=http://other/");
	accepted("https://my_host./", "https", "my_host.", 443, false, "/");
}

static void bad_urls(void **state)
{
	(void)state;
	refused("", "does not begin with http:// or https://");
	refused("ftp://host/", "does not begin with http:// or https://");
	refused("httpss://host/", "does not begin with http:// or https://");
	refused("host/http://x", "does not begin with http:// or https://");
	refused("//host/", "does not begin with http:// or https://");
	refused("http:///path", "has no valid host name or address");
	refused("http://:80/", "has no valid host name or address");
	refused("http://a..b/", "has no valid host name or address");
	refused("http://a%41/", "has no valid host name or address");
	refused("http://user:secret@host/", "has a user name or password before its host");
	refused("http://host:0/", "has no valid port");
	refused("http://host:65536/", "has no valid port");
	refused("http://host:/", "has no valid port");
	refused("http://host:8a/", "has no valid port");
	refused("http://host:000080/", "has no valid port");
	refused("http://[::1/", "has a \"[\" without \"]\"");
	refused("http://[192.0.2.1]/", "has no IPv6 address");
	refused("http://[fe80::1%25eth0]/", "has no IPv6 address");
	refused("http://[::1]x/", "has no valid port");
	refused("http://host/a b", "has white space");
	refused("http://host\\@other/", "has white space, a backslash");
	refused("http://h\xc3\xb6st/", "not ASCII");
	refused("http://host/\r\nX: y", "has white space");
	refused("http://host/#top", "has a \"#\" part");
}

static void lengths(void **state)
{
	char text[4096], label[64];
	struct warren_url url;

	(void)state;
	memset(label, 'a', 63);
	label[63] = '\0';
	snprintf(text, sizeof(text), "http://%s.%s.%s.%.61s/", label, label, label, label);
	assert_int_equal(warren_url_parse(text, &url, NULL), 0);
	assert_int_equal(strlen(url.host), 253);
	snprintf(text, sizeof(text), "http://%s.%s.%s.%.62s/", label, label, label, label);
	refused(text, "has a host that is too long");
	snprintf(text, sizeof(text), "http://a%s/", label);
	refused(text, "has no valid host name");
	snprintf(text, sizeof(text), "http://h/%02046d", 0);
	assert_int_equal(warren_url_parse(text, &url, NULL), 0);
	assert_int_equal(strlen(url.path), 2047);
	snprintf(text, sizeof(text), "http://h/%02047d", 0);
	refused(text, "is too long");
	snprintf(text, sizeof(text), "http://h?%02046d", 0);
	refused(text, "is too long");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_urls),
		cmocka_unit_test(bad_urls),
		cmocka_unit_test(lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
