/*
 * The request is HTTP/1 as Go writes it: a request line, fields, a blank line, the body. Of the
 * fields only Content-Length counts; without it the body is what follows, since the payload is a
 * message of its own. Sources of the answers: tailscale ipn/ipnlocal/c2n.go and feature/ of
 * v1.102.3, tailcfg/c2ntypes.go.
 *
 * What a path stands for that this node does not have (an updater, certificates, a log upload)
 * gets the answer of a stock client that does not have it. What would change, send or run
 * something gets that client's refusal, whatever the request says.
 */
#include "c2n.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hex.h"
#include "base/util.h"
#include "c2n_netmap.h"

struct request {
	char method[16];
	char path[256];			/* without the query */
	char query[512];		/* behind the "?", or empty */
	const uint8_t *body;
	size_t len;
};

/* @type: NULL, or with further header lines behind it. */
static void respond(struct str *out, int status, const char *type, const void *body, size_t len)
{
	static const struct {
		int status;
		const char *words;
	} words[] = {
		{ 200, "OK" }, { 400, "Bad Request" }, { 403, "Forbidden" },
		{ 405, "Method Not Allowed" }, { 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
	};
	const char *text = "";

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (words[i].status == status)
			text = words[i].words;
	}
	str_addf(out, "HTTP/1.1 %d %s\r\n", status, text);
	if (type)
		str_addf(out, "Content-Type: %s\r\n", type);
	str_addf(out, "Content-Length: %zu\r\n\r\n", len);
	str_addn(out, body, len);
}

static void refuse(struct str *out, int status, const char *why)
{
	struct str line = STR_INIT;

	str_addf(&line, "%s\n", why);	/* as http.Error() of Go */
	respond(out, status, "text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff",
		str_text(&line), line.len);
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
	if (query && query + 1 < end &&
	    !copy_word(r->query, sizeof(r->query), query + 1, (size_t)(end - query - 1)))
		return false;
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
 * The value of @key in the query, percent-decoded; false: it is not there, is empty, or cannot be
 * decoded to a text.
 */
static bool query_value(const struct request *r, const char *key, struct str *out)
{
	const char *at = r->query;
	size_t len = strlen(key);

	while (*at && (strncmp(at, key, len) || at[len] != '=')) {
		at += strcspn(at, "&");
		at += *at == '&';
	}
	if (!*at)
		return false;
	for (at += len + 1; *at && *at != '&'; at++) {
		char digits[3] = { 0 }, byte = *at == '+' ? ' ' : *at;

		if (*at == '%') {
			memcpy(digits, at + 1, strnlen(at + 1, 2));
			if (hex_decode(&byte, 1, digits) || !byte)
				return false;
			at += 2;
		}
		str_addc(out, byte);
	}
	return out->len > 0;
}

/*
 * ---- Answers ----
 */

typedef void reply_fn(const struct ctl_c2n_facts *facts, const struct request *r,
		      struct str *out);

/* As Go's encoder ends a value. */
static void respond_json(struct str *out, const char *json)
{
	struct str line = STR_INIT;

	str_addf(&line, "%s\n", json);
	if (line.failed)
		out->failed = true;
	else
		respond(out, 200, "application/json", line.s, line.len);
	str_free(&line);
}

/* As Go tells it from text where nobody says what it is; no further kinds. */
static bool is_binary(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len && i < 512; i++) {
		if (data[i] < ' ' && !memchr("\t\n\f\r\033", data[i], 5))
			return true;
	}
	return false;
}

static void reply_echo(const struct ctl_c2n_facts *facts, const struct request *r,
		       struct str *out)
{
	(void)facts;
	respond(out, 200, is_binary(r->body, r->len) ? "application/octet-stream" :
		"text/plain; charset=utf-8", r->body, r->len);
}

/* There is no user that a peer could log in as. */
static void reply_ssh(const struct ctl_c2n_facts *facts, const struct request *r, struct str *out)
{
	json_t *wish = NULL;
	json_error_t error = { .text = "EOF" };

	(void)facts;
	if (r->len > 0)
		wish = json_loadb((const char *)r->body, r->len, JSON_DISABLE_EOF_CHECK, &error);
	if (!strcmp(r->method, "POST") && !wish)
		refuse(out, 400, error.text);
	else
		respond_json(out, "{\"Usernames\":null}");
	json_decref(wish);
}

static void reply_nothing(const struct ctl_c2n_facts *facts, const struct request *r,
			  struct str *out)
{
	(void)facts;
	(void)r;
	respond(out, 501, NULL, "", 0);
}

static void reply_prefs(const struct ctl_c2n_facts *facts, const struct request *r,
			struct str *out)
{
	(void)r;
	respond_json(out, facts->prefs);
}

static void reply_health(const struct ctl_c2n_facts *facts, const struct request *r,
			 struct str *out)
{
	(void)r;
	respond_json(out, facts->health);
}

static void reply_metrics(const struct ctl_c2n_facts *facts, const struct request *r,
			  struct str *out)
{
	AUTO(auto_free) char *text = facts->metrics(facts->arg);

	(void)r;
	if (text)
		respond(out, 200, "text/plain", text, strlen(text));
	else
		refuse(out, 500, "out of memory");
}

/* There is no log of a component that could be switched on: each is unknown. */
static void reply_component(const struct ctl_c2n_facts *facts, const struct request *r,
			    struct str *out)
{
	AUTO(str_free) struct str name = STR_INIT, text = STR_INIT, json = STR_INIT;

	(void)facts;
	query_value(r, "component", &name);
	str_add(&text, "unknown component ");
	str_add_json(&text, str_text(&name), name.len);	/* near enough to Go's %q */
	str_add(&json, "{\"Error\":");
	str_add_json(&json, str_text(&text), text.len);
	str_addc(&json, '}');
	respond_json(out, str_text(&json));
}

static void reply_netmap(const struct ctl_c2n_facts *facts, const struct request *r,
			 struct str *out)
{
	AUTO(str_free) struct str json = STR_INIT;
	char why[256];
	int result;

	if (strcmp(r->method, "GET") && strcmp(r->method, "POST")) {
		refuse(out, 405, "method not allowed");
		return;
	}
	result = ctl_c2n_netmap(facts, strcmp(r->method, "POST") ? NULL : r->body, r->len, &json,
				why, sizeof(why));
	if (result == -EINVAL)
		refuse(out, 400, why);
	else if (result || json.len > CTL_C2N_ANSWER_MAX)
		refuse(out, 500, result ? why : "the network map is too long for an answer");
	else
		respond_json(out, str_text(&json));
}

static void reply_cert(const struct ctl_c2n_facts *facts, const struct request *r,
		       struct str *out)
{
	AUTO(str_free) struct str domain = STR_INIT;

	(void)facts;
	if (query_value(r, "domain", &domain))
		respond_json(out, "{\"Error\":\"no certificate\",\"Missing\":true}");
	else
		refuse(out, 400, "no 'domain'");
}

/*
 * ---- The paths ----
 */

static const struct {
	const char *method, *path;	/* method NULL: any; a path that ends in "/": all below */
	reply_fn *reply;		/* NULL: the following, always */
	int status;			/* 200: JSON */
	const char *text;
} paths[] = {
	{ NULL, "/echo", reply_echo, 0, NULL },
	{ NULL, "/debug/prefs", reply_prefs, 0, NULL },
	{ NULL, "/debug/health", reply_health, 0, NULL },
	{ NULL, "/debug/metrics", reply_metrics, 0, NULL },
	{ NULL, "/debug/netmap", reply_netmap, 0, NULL },
	{ NULL, "/debug/component-logging", reply_component, 0, NULL },
	{ "GET", "/tls-cert-status", reply_cert, 0, NULL },
	{ "GET", "/vip-services", NULL, 200, "{\"ServicesHash\":\"\"}" },
	{ "GET", "/appconnector/routes", NULL, 200, "{\"Domains\":null}" },
	{ "GET", "/posture/identity", NULL, 200, "{\"PostureDisabled\":true}" },
	{ NULL, "/ssh/usernames", reply_ssh, 0, NULL },
	{ "GET", "/update", NULL, 200,
	  "{\"Enabled\":false,\"Supported\":false,\"Started\":false}" },
	/* Refused. */
	{ "POST", "/update", NULL, 200, "{\"Err\":\"not enabled\",\"Enabled\":false,"
	  "\"Supported\":false,\"Started\":false}" },
	{ NULL, "/debug/tka/log", NULL, 400, "tailnet lock not active" },
	{ "POST", "/logtail/flush", NULL, 500, "no log flusher wired up" },
	{ "POST", "/sockstats", NULL, 500, "no sockstatLogger" },
	{ "POST", "/wol", NULL, 501, "not implemented" },
	{ "POST", "/netfilter-kind", NULL, 501, "not implemented" },
	{ NULL, "/logtail/flush", NULL, 405, "bad method" },
	{ NULL, "/sockstats", NULL, 405, "bad method" },
	{ NULL, "/netfilter-kind", NULL, 405, "bad method" },
	{ "GET", "/conn25/state", reply_nothing, 0, NULL },
	{ NULL, "/debug/goroutines", NULL, 501, "not implemented" },
	{ NULL, "/debug/logheap", NULL, 501, "not implemented" },
	{ NULL, "/debug/pprof/heap", NULL, 501, "not implemented" },
	{ NULL, "/debug/pprof/allocs", NULL, 501, "not implemented" },
	{ NULL, "/remoteapi/localapi/", NULL, 403, "remote config not enabled by local machine" },
};

static bool path_matches(const char *path, const char *of)
{
	size_t len = strlen(of);

	return of[len - 1] == '/' ? !strncmp(path, of, len) : !strcmp(path, of);
}

int ctl_c2n(const struct ctl_c2n_facts *facts, const uint8_t *data, size_t len, struct str *out)
{
	struct request r = { .query = "" };

	if (!request_parse(&r, data, len)) {
		refuse(out, 400, "malformed request");
		return out->failed ? -ENOMEM : 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (!path_matches(r.path, paths[i].path) ||
		    (paths[i].method && strcmp(r.method, paths[i].method)))
			continue;
		if (paths[i].reply)
			paths[i].reply(facts, &r, out);
		else if (paths[i].status == 200)
			respond_json(out, paths[i].text);
		else
			refuse(out, paths[i].status, paths[i].text);
		return out->failed ? -ENOMEM : 0;
	}
	refuse(out, 400, "unknown c2n path");
	return out->failed ? -ENOMEM : 0;
}
