/*
 * The request is HTTP/1 as Go writes it: a request line, fields, a blank line, the body. Of the
 * fields only Content-Length counts; without it the body is what follows, since the payload is a
 * message of its own. Sources of the answers: tailscale ipn/ipnlocal/c2n.go.
 */
#include "c2n.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"

struct request {
	char method[16];
	char path[256];			/* without the query */
	const uint8_t *body;
	size_t len;
};

static void respond(struct str *out, int status, const char *type, const void *body, size_t len)
{
	static const struct {
		int status;
		const char *words;
	} words[] = {
		{ 200, "OK" }, { 400, "Bad Request" }, { 405, "Method Not Allowed" },
	};
	const char *text = "";

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (words[i].status == status)
			text = words[i].words;
	}
	str_addf(out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", status,
		 text, type, len);
	str_addn(out, body, len);
}

static void refuse(struct str *out, int status, const char *why)
{
	struct str line = STR_INIT;

	str_addf(&line, "%s\n", why);	/* as http.Error() of Go */
	respond(out, status, "text/plain; charset=utf-8", str_text(&line), line.len);
	str_free(&line);
}

/*
 * ---- The request ----
 */

/* The line at @*at without its end; false: there is no whole line. */
static bool next_line(const uint8_t **at, const uint8_t *end, const char **line, size_t *len)
{
	const uint8_t *newline = memchr(*at, '\n', (size_t)(end - *at));

	if (!newline)
		return false;
	*line = (const char *)*at;
	*len = (size_t)(newline - *at);
	if (*len > 0 && (*line)[*len - 1] == '\r')
		(*len)--;
	*at = newline + 1;
	return true;
}

static bool copy_word(char *out, size_t size, const char *from, size_t len)
{
	if (len == 0 || len >= size)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (from[i] <= ' ' || from[i] > '~')
			return false;
	}
	memcpy(out, from, len);
	out[len] = '\0';
	return true;
}

static bool request_line(struct request *r, const char *line, size_t len)
{
	const char *space = memchr(line, ' ', len);
	const char *path, *end, *query;

	if (!space || !copy_word(r->method, sizeof(r->method), line, (size_t)(space - line)))
		return false;
	path = space + 1;
	len -= (size_t)(path - line);
	end = memchr(path, ' ', len);
	if (!end || *path != '/' || strncmp(end + 1, "HTTP/1.", len < 8 ? len : 7) ||
	    len - (size_t)(end - path) < 9)
		return false;
	query = memchr(path, '?', (size_t)(end - path));
	return copy_word(r->path, sizeof(r->path), path, (size_t)((query ? query : end) - path));
}

/* False: a length that is none or does not fit. */
static bool content_length(const char *line, size_t len, size_t *out)
{
	static const char name[] = "content-length:";
	size_t value = 0, at = sizeof(name) - 1;

	if (len < at || strncasecmp(line, name, at))
		return true;
	while (at < len && line[at] == ' ')
		at++;
	if (at == len)
		return false;
	for (; at < len; at++) {
		if (line[at] < '0' || line[at] > '9' || value > CTL_C2N_MAX)
			return false;
		value = value * 10 + (size_t)(line[at] - '0');
	}
	*out = value;
	return true;
}

static bool request_parse(struct request *r, const uint8_t *data, size_t len)
{
	const uint8_t *at = data, *end = data + len;
	const char *line;
	size_t line_len, body;

	if (len > CTL_C2N_MAX || !next_line(&at, end, &line, &line_len) ||
	    !request_line(r, line, line_len))
		return false;
	body = SIZE_MAX;
	for (;;) {
		if (!next_line(&at, end, &line, &line_len))
			return false;
		if (line_len == 0)
			break;
		if (!content_length(line, line_len, &body))
			return false;
	}
	r->body = at;
	r->len = (size_t)(end - at);
	if (body != SIZE_MAX && body > r->len)
		return false;
	if (body != SIZE_MAX)
		r->len = body;
	return true;
}

/*
 * ---- Answers ----
 */

static void reply_prefs(const struct ctl_c2n_facts *facts, struct str *out)
{
	respond(out, 200, "application/json", facts->prefs, strlen(facts->prefs));
}

static void reply_health(const struct ctl_c2n_facts *facts, struct str *out)
{
	respond(out, 200, "application/json", facts->health, strlen(facts->health));
}

static void reply_no_services(const struct ctl_c2n_facts *facts, struct str *out)
{
	static const char none[] = "{\"VIPServices\":[],\"ServicesHash\":\"\"}";

	(void)facts;
	respond(out, 200, "application/json", none, sizeof(none) - 1);
}

static const struct {
	const char *method, *path;	/* method NULL: any */
	void (*reply)(const struct ctl_c2n_facts *facts, struct str *out);	/* NULL: echo */
} paths[] = {
	{ NULL, "/echo", NULL },
	{ NULL, "/debug/prefs", reply_prefs },
	{ NULL, "/debug/health", reply_health },
	{ "GET", "/vip-services", reply_no_services },
};

int ctl_c2n(const struct ctl_c2n_facts *facts, const uint8_t *data, size_t len, struct str *out)
{
	struct request r;

	if (!request_parse(&r, data, len)) {
		refuse(out, 400, "malformed request");
		return out->failed ? -ENOMEM : 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (strcmp(r.path, paths[i].path))
			continue;
		if (paths[i].method && strcmp(r.method, paths[i].method))
			refuse(out, 405, "bad method");
		else if (paths[i].reply)
			paths[i].reply(facts, out);
		else
			respond(out, 200, "application/octet-stream", r.body, r.len);
		return out->failed ? -ENOMEM : 0;
	}
	refuse(out, 400, "unknown c2n path");
	return out->failed ? -ENOMEM : 0;
}
