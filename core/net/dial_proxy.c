/*
 * Which proxy to use. The environment's variables are no standard; what is read here is what they
 * have in common: NO_PROXY is a list of hosts, which stand for what is below them too, of addresses
 * and prefixes, each perhaps with a port, or "*". This host itself is never behind a proxy.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/hex.h"
#include "base/str.h"

#include "dial_impl.h"

static bool is_this_host(const char *host, const struct warren_addr *addr)
{
	static const uint8_t six[16] = { [15] = 1 };

	if (addr->family == 4)
		return addr->bytes[0] == 127;
	if (addr->family == 6)
		return memcmp(addr->bytes, six, sizeof(six)) == 0;
	return strcasecmp(host, "localhost") == 0;
}

/* "example.com" and ".example.com" stand for example.com and all below it. */
static bool is_below(const char *entry, const char *host)
{
	size_t n, len = strlen(host);

	if (strncmp(entry, "*.", 2) == 0)
		entry++;
	entry += *entry == '.';
	n = strlen(entry);
	return n > 0 && n <= len && strcasecmp(host + len - n, entry) == 0 &&
	       (n == len || host[len - n - 1] == '.');
}

static bool matches(const char *entry, const char *host, const struct warren_addr *addr,
		    uint16_t port)
{
	char name[DIAL_NAME];
	struct warren_prefix prefix;
	uint16_t only;

	if (strcmp(entry, "*") == 0)
		return true;
	if (prefix_parse(entry, &prefix) == 0) {
		prefix_mask(&prefix);
		return addr->family && prefix_contains(&prefix, addr);
	}
	if (hostport_parse(entry, name, sizeof(name), &only) == 0) {
		struct warren_addr same;

		if (only != port)
			return false;
		return addr_parse(name, &same) == 0 ? addr_equal(&same, addr) :
						      is_below(name, host);
	}
	return is_below(entry, host);
}

bool dial_proxy_excepted(const char *list, const char *host, uint16_t port)
{
	struct warren_addr addr;

	if (addr_parse(host, &addr))
		addr.family = 0;
	if (is_this_host(host, &addr))
		return true;
	while (list && *list) {
		size_t n = strcspn(list, ", \t");
		char entry[DIAL_NAME];

		if (n > 0 && n < sizeof(entry)) {
			memcpy(entry, list, n);
			entry[n] = '\0';
			if (matches(entry, host, &addr, port))
				return true;
		}
		list += n + (list[n] != '\0');
	}
	return false;
}

static const char *environment(const char *lower, const char *upper)
{
	const char *value = getenv(lower);

	if (!value || !*value)
		value = getenv(upper);
	return value && *value ? value : NULL;
}

/*
 * ---- What a proxy's text says ----
 */

static bool decode_byte(const char **at, const char *end, char *out)
{
	char digits[3] = { 0 };

	if (**at != '%') {
		*out = *(*at)++;
	} else {
		if (end - *at < 3)
			return false;
		memcpy(digits, *at + 1, 2);
		if (hex_decode(out, 1, digits))
			return false;
		*at += 3;
	}
	return (unsigned char)*out >= ' ' && *out != 0x7f;	/* RFC 7617 2: no controls */
}

/* Percent-encoded user and password to "user:password"; false: they cannot be sent. */
static bool decode_userinfo(const char *from, const char *end, char out[DIAL_AUTH])
{
	bool password = false;
	size_t n = 0;

	while (from < end) {
		bool encoded = *from == '%';
		char c;

		if (!decode_byte(&from, end, &c) || n + 2 >= DIAL_AUTH)
			return false;
		if (c == ':' && !password) {
			if (encoded)
				return false;	/* in a user's name it would end it */
			password = true;
		}
		out[n++] = c;
	}
	if (!password)
		out[n++] = ':';
	out[n] = '\0';
	return n > 1;
}

static bool set_auth(struct dial_proxy *proxy, const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || len >= DIAL_AUTH || !strchr(text, ':') || strpbrk(text, "\r\n"))
		return false;
	base64_encode(proxy->auth, text, len);
	return true;
}

/* Takes "user:password@" out of @text: the rest goes to @out. */
static bool split(struct dial_proxy *proxy, const char *text, char out[DIAL_PROXY])
{
	const char *scheme = strstr(text, "://");
	const char *authority = scheme ? scheme + 3 : text, *at = NULL;
	size_t len = strcspn(authority, "/?#");
	char auth[DIAL_AUTH];
	bool good = true;

	for (size_t i = 0; i < len; i++) {
		if (authority[i] == '@')
			at = authority + i;
	}
	if (at) {
		good = decode_userinfo(authority, at, auth) && set_auth(proxy, auth);
		sodium_memzero(auth, sizeof(auth));
	}
	return good && snprintf(out, DIAL_PROXY, "%.*s%s", (int)(authority - text), text,
				at ? at + 1 : authority) < DIAL_PROXY;
}

static int parse(struct dial_proxy *proxy, const char *text, const char *from,
		 struct warren_err *err)
{
	struct warren_url url;
	char rest[DIAL_PROXY];
	bool good = split(proxy, text, rest);

	/* Without a scheme it is http's, as everywhere. */
	if (good && !strstr(rest, "://") &&
	    hostport_parse(rest, proxy->host, sizeof(proxy->host), &proxy->port) == 0)
		return 0;
	if (!good || warren_url_parse(rest, &url, NULL) || strcmp(url.path, "/") != 0) {
		dial_proxy_wipe(proxy);
		/* Not its text: it may hold a password. */
		return warren_fail(err, NULL, "the proxy of %s is none that can be used: expected "
				   "http://HOST:PORT or https://HOST:PORT, perhaps with "
				   "USER:PASSWORD@ before the host", from);
	}
	proxy->port = url.port;
	proxy->tls = strcmp(url.scheme, "https") == 0;
	return str_copy(proxy->host, sizeof(proxy->host), url.host) ? 0 : -EINVAL;
}

void dial_proxy_wipe(struct dial_proxy *proxy)
{
	sodium_memzero(proxy, sizeof(*proxy));
}

int dial_proxy_choose(struct dial_proxy *proxy, const char *given, const char *auth,
		      const char *host, uint16_t port, struct warren_err *err)
{
	const char *text;
	int result;

	dial_proxy_wipe(proxy);
	if (given) {
		result = parse(proxy, given, "the configuration", err);
		if (result == 0 && auth && !set_auth(proxy, auth)) {
			dial_proxy_wipe(proxy);
			result = warren_fail(err, NULL, "user and password of the proxy cannot be "
					     "used: expected USER:PASSWORD, at most %d bytes",
					     DIAL_AUTH - 1);
		}
		return result;
	}
	text = environment("https_proxy", "HTTPS_PROXY");
	if (!text)
		text = environment("all_proxy", "ALL_PROXY");
	if (!text || dial_proxy_excepted(environment("no_proxy", "NO_PROXY"), host, port))
		return 0;
	return parse(proxy, text, "the environment (HTTPS_PROXY or ALL_PROXY)", err);
}
