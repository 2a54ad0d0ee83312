/*
 * URLs of RFC 3986 as far as this program follows them: http and https, host, port, path. What
 * could mean two things to two readers (a user before the host, a backslash, white space, bytes
 * beyond ASCII) is refused and not repaired.
 */
#include <errno.h>
#include <string.h>

#include <warren/net.h>

#include "base/addr.h"
#include "base/str.h"

static int refuse(struct warren_url *out, struct warren_err *err, const char *why)
{
	memset(out, 0, sizeof(*out));
	return warren_fail(err, NULL, "the URL %s", why);
}

/* Not ctype.h: its answer depends on the locale. */
static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_name(const char *s, size_t len)
{
	size_t label = 0;

	for (size_t i = 0; i < len; i++) {
		char c = lower(s[i]);

		if (c == '.') {
			if (label == 0)
				return false;
			label = 0;
			continue;
		}
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return false;
		if (++label > 63)	/* RFC 1035 2.3.4 */
			return false;
	}
	return len > 0;
}

/* "host", "host:port", "[v6]:port"; the rest of it after the host goes to @port. */
static const char *take_host(struct warren_url *out, const char *s, size_t len, const char **port,
			     size_t *port_len)
{
	size_t host_len;
	struct warren_addr addr;

	if (len > 0 && s[0] == '[') {
		const char *close = memchr(s, ']', len);

		if (!close)
			return "has a \"[\" without \"]\" in its host";
		host_len = (size_t)(close - s) - 1;
		if (host_len >= sizeof(out->host))
			return "has a host that is too long";
		memcpy(out->host, s + 1, host_len);
		out->host[host_len] = '\0';
		if (addr_parse(out->host, &addr) || addr.family != 6)
			return "has no IPv6 address between \"[\" and \"]\"";
		*port = close + 1;
	} else {
		const char *colon = memchr(s, ':', len);

		host_len = colon ? (size_t)(colon - s) : len;
		if (host_len > 253)	/* RFC 1035 2.3.4, as text */
			return "has a host that is too long";
		if (!is_name(s, host_len))
			return "has no valid host name or address";
		for (size_t i = 0; i < host_len; i++)
			out->host[i] = s[i];
		out->host[host_len] = '\0';
		*port = s + host_len;
	}
	*port_len = (size_t)(s + len - *port);
	for (char *p = out->host; *p; p++)
		*p = lower(*p);
	return NULL;
}

static const char *take_port(struct warren_url *out, const char *s, size_t len)
{
	char digits[6];

	if (len == 0)
		return NULL;
	if (s[0] != ':' || len - 1 >= sizeof(digits))
		return "has no valid port after its host";
	memcpy(digits, s + 1, len - 1);
	digits[len - 1] = '\0';
	if (port_parse(digits, &out->port))
		return "has no valid port after its host";
	out->port_given = true;
	return NULL;
}

static const char *take_path(struct warren_url *out, const char *s)
{
	size_t at = 0, len = strlen(s);

	if (s[0] != '/')		/* "http://host?query" */
		out->path[at++] = '/';
	if (at + len >= sizeof(out->path))
		return "is too long";
	memcpy(out->path + at, s, len + 1);
	return NULL;
}

static const char *take_scheme(struct warren_url *out, const char *text)
{
	static const struct {
		const char *name;
		uint16_t port;
	} schemes[] = { { "http", 80 }, { "https", 443 } };
	const char *end = strstr(text, "://");

	for (size_t i = 0; end && i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t n = strlen(schemes[i].name), same = 0;

		while (same < n && lower(text[same]) == schemes[i].name[same])
			same++;
		if (same < n || text + n != end)
			continue;
		memcpy(out->scheme, schemes[i].name, n + 1);
		out->port = schemes[i].port;
		return end + 3;
	}
	return NULL;
}

int warren_url_parse(const char *text, struct warren_url *out, struct warren_err *err)
{
	const char *s, *why, *port;
	size_t len, port_len;

	memset(out, 0, sizeof(*out));
	for (s = text; *s; s++)
		if (*s <= ' ' || *s >= 0x7f || *s == '\\')
			return refuse(out, err, "has white space, a backslash or a character that "
				      "is not ASCII: write it with %XX");
	s = take_scheme(out, text);
	if (!s)
		return refuse(out, err, "does not begin with http:// or https://");
	if (strchr(s, '#'))
		return refuse(out, err, "has a \"#\" part, which is for browsers only");
	len = strcspn(s, "/?");
	if (memchr(s, '@', len))
		return refuse(out, err, "has a user name or password before its host: remove it");
	why = take_host(out, s, len, &port, &port_len);
	if (!why)
		why = take_port(out, port, port_len);
	if (!why)
		why = take_path(out, s + len);
	return why ? refuse(out, err, why) : 0;
}
