/*
 * Targets, paths, ranges, names.
 */
#include "target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <warren/net.h>

#include "base/addr.h"
#include "base/hex.h"
#include "base/util.h"

static const char loopback[] = "127.0.0.1";

/* "3000" or "HOST:PORT". */
static int place(const char *text, struct srv_target *out)
{
	if (port_parse(text, &out->port) == 0)
		return str_copy(out->host, sizeof(out->host), loopback) ? 0 : -EINVAL;
	return hostport_parse(text, out->host, sizeof(out->host), &out->port);
}

static int by_url(const char *text, struct srv_target *out, struct warren_err *err)
{
	struct warren_url url;
	int result = warren_url_parse(text, &url, err);
	size_t len;

	if (result)
		return result;
	if (strchr(url.path, '?'))
		return warren_fail(err, NULL, "a target has no query");
	out->tls = strcmp(url.scheme, "https") == 0;
	out->port = url.port;
	str_copy(out->host, sizeof(out->host), url.host);
	str_copy(out->path, sizeof(out->path), url.path);
	for (len = strlen(out->path); len > 0 && out->path[len - 1] == '/'; len--)
		out->path[len - 1] = '\0';
	return 0;
}

int srv_target_http(const char *text, struct srv_target *out, struct warren_err *err)
{
	static const char insecure[] = "https+insecure://";
	char url[SRV_PATH];

	memset(out, 0, sizeof(*out));
	if (str_starts(text, "unix:"))
		return warren_fail(err, NULL, "a unix socket is named by the key `unix`, with "
				   "nothing but its path");
	if (str_starts(text, insecure)) {
		out->insecure = true;
		if ((size_t)snprintf(url, sizeof(url), "https://%s", text + sizeof(insecure) - 1) >=
		    sizeof(url))
			return warren_fail(err, NULL, "the target is too long");
		return by_url(url, out, err);
	}
	if (strstr(text, "://"))
		return by_url(text, out, err);
	if (place(text, out) == 0)
		return 0;
	return warren_fail(err, NULL, "\"%s\" is no target: give a port, HOST:PORT, or a URL of "
			   "http, https or https+insecure", text);
}

int srv_target_tcp(const char *text, struct srv_target *out, struct warren_err *err)
{
	const char *at = str_starts(text, "tcp://") ? text + strlen("tcp://") : text;

	memset(out, 0, sizeof(*out));
	if (place(at, out) == 0)
		return 0;
	return warren_fail(err, NULL, "\"%s\" is no target: give a port, HOST:PORT or "
			   "tcp://HOST:PORT", text);
}

/*
 * ---- Paths ----
 */

static bool is_dot(const char **at)
{
	if (**at == '.')
		*at += 1;
	else if (strncasecmp(*at, "%2e", 3) == 0)
		*at += 3;
	else
		return false;
	return true;
}

/* 1 or 2 for a dot segment of @len bytes, else 0. */
static int dots(const char *segment, size_t len)
{
	const char *at = segment, *end = segment + len;
	int n = 0;

	while (n < 3 && at < end && is_dot(&at))
		n++;
	return at == end && n <= 2 ? n : 0;
}

bool srv_path_clean(const char *path, char out[SRV_PATH])
{
	size_t len = strcspn(path, "?"), at = 0, n = 0;

	if (path[0] != '/' || len >= SRV_PATH)
		return false;
	while (at < len) {
		size_t part = strcspn(path + at + 1, "/?");
		bool last = at + 1 + part >= len;
		int k = dots(path + at + 1, part);

		if (k == 2) {
			if (n == 0)
				return false;
			while (out[--n] != '/')
				;
		}
		if (k == 0) {
			memcpy(out + n, path + at, part + 1);
			n += part + 1;
		} else if (last) {
			out[n++] = '/';
		}
		at += part + 1;
	}
	if (n == 0)
		out[n++] = '/';
	out[n] = '\0';
	return true;
}

bool srv_mount_ok(const char *mount)
{
	char clean[SRV_PATH];

	for (const char *c = mount; *c; c++) {
		if (*c <= ' ' || *c >= 0x7f || *c == '?' || *c == '#')
			return false;
	}
	return srv_path_clean(mount, clean) && strcmp(mount, clean) == 0 && !strstr(mount, "//");
}

/* Without the slash at its end. */
static size_t stem(const char *mount)
{
	size_t len = strlen(mount);

	return len > 0 && mount[len - 1] == '/' ? len - 1 : len;
}

size_t srv_mount_fits(const char *mount, const char *clean, const char *raw)
{
	size_t len = stem(mount), raw_len = strcspn(raw, "?");

	if (strncmp(mount, clean, len) != 0 || (clean[len] != '\0' && clean[len] != '/'))
		return 0;
	if (strlen(mount) == raw_len && strncmp(mount, raw, raw_len) == 0)
		return 2 * SRV_PATH + 2;
	return 2 * len + (mount[len] == '/') + 1;
}

const char *srv_mount_rest(const char *mount, const char *clean)
{
	return clean + stem(mount);
}

static bool decode(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text && n + 1 < size; text++) {
		uint8_t byte = (uint8_t)*text;

		if (*text == '%') {
			const char digits[3] = { text[1], text[1] ? text[2] : '\0', '\0' };

			if (hex_decode(&byte, 1, digits) || !byte)
				return false;
			text += 2;
		}
		out[n++] = (char)byte;
	}
	out[n] = '\0';
	return *text == '\0';
}

bool srv_path_name(const char *rest, char out[SRV_NAME])
{
	char whole[3 * SRV_NAME];
	size_t n = 0;

	if (!decode(rest, whole, sizeof(whole)))
		return false;
	for (const char *at = whole; *at;) {
		size_t len = strcspn(at, "/");

		if ((len == 1 && at[0] == '.') || (len == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		if (n + len + 2 > SRV_NAME)
			return false;
		if (len > 0 && n > 0)
			out[n++] = '/';
		memcpy(out + n, at, len);
		n += len;
		at += len + (at[len] == '/');
	}
	out[n] = '\0';
	return true;
}

void srv_add_escaped(struct str *out, const char *name)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				    "-._~/";

	for (; *name; name++) {
		if (strchr(plain, *name))
			str_addc(out, *name);
		else
			str_addf(out, "%%%02X", (unsigned char)*name);
	}
}

/*
 * ---- HTTP ----
 */

static bool number(const char **at, int64_t *out)
{
	const char *text = *at;

	*out = 0;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (*out > (INT64_MAX - 9) / 10)
			return false;
		*out = 10 * *out + (*text - '0');
	}
	if (text == *at)
		return false;
	*at = text;
	return true;
}

int srv_range(const char *text, int64_t size, int64_t *first, int64_t *last)
{
	bool from, to;

	/* Several at once are answered with the whole, as RFC 9110 14.2 allows. */
	if (strncasecmp(text, "bytes=", 6) != 0)
		return 1;
	text += 6;
	from = number(&text, first);
	if (*text++ != '-')
		return 1;
	to = number(&text, last);
	if (*text != '\0' || (!from && !to) || (from && to && *last < *first))
		return 1;
	if (!from) {
		*first = *last < size ? size - *last : 0;
		if (*last == 0 || size == 0)
			return -ERANGE;
		*last = size - 1;
	} else if (!to || *last >= size) {
		*last = size - 1;
	}
	return *first < size ? 0 : -ERANGE;
}

void srv_add_words(struct str *out, const char *text)
{
	enum { WORD = 75 - 12 };	/* RFC 2047 2, without what is around the text */
	size_t in_word = 0;
	const char *c = text;

	while (*c >= ' ' && *c < 0x7f)
		c++;
	if (*c == '\0') {
		str_add(out, text);
		return;
	}
	str_add(out, "=?utf-8?q?");
	for (c = text; *c; c++) {
		bool plain = *c > ' ' && *c < 0x7f && !strchr("=?_", *c);
		size_t need = plain || *c == ' ' ? 1 : 3;
		bool begins = ((unsigned char)*c & 0xc0) != 0x80;	/* of a character */

		for (const char *more = c + 1; begins && (*more & 0xc0) == 0x80; more++)
			need += 3;
		if (begins && in_word + need > WORD) {
			str_add(out, "?= =?utf-8?q?");
			in_word = 0;
		}
		if (plain || *c == ' ')
			str_addc(out, (char)(plain ? *c : '_'));
		else
			str_addf(out, "=%02X", (unsigned char)*c);
		in_word += plain || *c == ' ' ? 1 : 3;
	}
	str_add(out, "?=");
}

const char *srv_media_type(const char *name)
{
	static const struct {
		const char *end, *type;
	} types[] = {
		{ ".html", "text/html; charset=utf-8" }, { ".htm", "text/html; charset=utf-8" },
		{ ".css", "text/css; charset=utf-8" }, { ".js", "text/javascript; charset=utf-8" },
		{ ".mjs", "text/javascript; charset=utf-8" }, { ".json", "application/json" },
		{ ".txt", "text/plain; charset=utf-8" }, { ".md", "text/plain; charset=utf-8" },
		{ ".log", "text/plain; charset=utf-8" }, { ".xml", "text/xml; charset=utf-8" },
		{ ".csv", "text/csv; charset=utf-8" }, { ".pdf", "application/pdf" },
		{ ".svg", "image/svg+xml" }, { ".png", "image/png" }, { ".gif", "image/gif" },
		{ ".jpg", "image/jpeg" }, { ".jpeg", "image/jpeg" }, { ".webp", "image/webp" },
		{ ".avif", "image/avif" }, { ".ico", "image/x-icon" }, { ".mp4", "video/mp4" },
		{ ".webm", "video/webm" }, { ".mp3", "audio/mpeg" },
		{ ".wasm", "application/wasm" }, { ".woff2", "font/woff2" },
		{ ".zip", "application/zip" },
		{ ".gz", "application/gzip" },
	};
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(types); i++) {
		if (strcasecmp(dot, types[i].end) == 0)
			return types[i].type;
	}
	return "application/octet-stream";
}

/*
 * "_" counts as "-": many a backend reads both as the same (RFC 3875 4.1.18), so that a forged
 * field would stand beside ours.
 */
static bool begins_like(const char *name, const char *prefix)
{
	for (; *prefix; name++, prefix++) {
		char c = (char)(*name == '_' ? '-' : *name);

		if (strncasecmp(&c, prefix, 1) != 0)
			return false;
	}
	return true;
}

static bool is_like(const char *name, const char *other)
{
	return strlen(name) == strlen(other) && begins_like(name, other);
}

bool srv_field_is_forged(const char *name)
{
	return begins_like(name, "tailscale-") || begins_like(name, "x-forwarded-") ||
	       is_like(name, "forwarded") || is_like(name, "x-real-ip");
}

bool srv_field_is_hop(const char *name)
{
	static const char *const names[] = {
		"connection", "content-length", "expect", "host", "keep-alive", "proxy-connection",
		"te", "trailer", "transfer-encoding", "upgrade",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcasecmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

int srv_redirect(const char *text, const char *host, const char *uri, struct str *out)
{
	static const char to_host[] = "${HOST}", to_uri[] = "${REQUEST_URI}";
	int status = 302;

	if (text[0] == '3' && text[1] >= '0' && text[1] <= '9' && text[2] >= '0' &&
	    text[2] <= '9' && text[3] == ':') {
		status = 300 + (text[1] - '0') * 10 + (text[2] - '0');
		text += 4;
	}
	while (*text) {
		if (str_starts(text, to_host)) {
			str_add(out, host);
			text += sizeof(to_host) - 1;
		} else if (str_starts(text, to_uri)) {
			str_add(out, uri);
			text += sizeof(to_uri) - 1;
		} else {
			str_addc(out, *text++);
		}
	}
	return status;
}
