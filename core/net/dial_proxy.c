/*
 * Which proxy to use. The environment's variables are no standard; what is read here is what they
 * have in common: NO_PROXY is a list of hosts, which stand for what is below them too, of addresses
 * and prefixes, each perhaps with a port, or "*". This host itself is never behind a proxy.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
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

static int parse(struct dial_proxy *proxy, const char *text, const char *from,
		 struct warren_err *err)
{
	struct warren_url url;

	/* Without a scheme it is http's, as everywhere. */
	if (!strstr(text, "://") && hostport_parse(text, proxy->host, sizeof(proxy->host),
						   &proxy->port) == 0)
		return 0;
	if (warren_url_parse(text, &url, NULL) || strcmp(url.scheme, "http") ||
	    strcmp(url.path, "/")) {
		proxy->port = 0;
		/* Not its text: it may hold a password. */
		return warren_fail(err, NULL, "the proxy of %s is none that can be used: expected "
				   "http://HOST:PORT, without user and password", from);
	}
	proxy->port = url.port;
	return str_copy(proxy->host, sizeof(proxy->host), url.host) ? 0 : -EINVAL;
}

int dial_proxy_choose(struct dial_proxy *proxy, const char *given, const char *host, uint16_t port,
		      struct warren_err *err)
{
	const char *text;

	*proxy = (struct dial_proxy){ .port = 0 };
	if (given)
		return parse(proxy, given, "the configuration", err);
	text = environment("https_proxy", "HTTPS_PROXY");
	if (!text)
		text = environment("all_proxy", "ALL_PROXY");
	if (!text || dial_proxy_excepted(environment("no_proxy", "NO_PROXY"), host, port))
		return 0;
	return parse(proxy, text, "the environment (HTTPS_PROXY or ALL_PROXY)", err);
}
