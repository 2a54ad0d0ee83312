/*
 * What the lines of a head say: RFC 9112 sections 3 to 6. The text is cut in place: each line ends
 * at its CR, which becomes the NUL of the value.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "http1_impl.h"

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool http1_is_token(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = lower(text[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
			return false;
	}
	return len > 0;
}

bool http1_is_value(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static bool equal_nocase(const char *a, size_t len, const char *token)
{
	for (size_t i = 0; i < len; i++)
		if (!token[i] || lower(a[i]) != lower(token[i]))
			return false;
	return token[len] == '\0';
}

bool http1_list_has(const char *text, const char *token)
{
	while (*text) {
		size_t n = strcspn(text, ","), len = n;
		const char *s = text;

		while (len > 0 && (*s == ' ' || *s == '\t')) {
			s++;
			len--;
		}
		while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t'))
			len--;
		if (equal_nocase(s, len, token))
			return true;
		text += n + (text[n] == ',');
	}
	return false;
}

const char *warren_http_field(const struct warren_http_head *head, const char *name)
{
	for (uint32_t i = 0; i < head->n_fields; i++)
		if (strcmp(head->fields[i].name, name) == 0)
			return head->fields[i].value;
	return NULL;
}

/* "name: value" in @s ... @end, where the CR is. */
static int parse_field(char *s, char *end, struct warren_http_field *out, struct warren_err *err)
{
	char *colon = memchr(s, ':', (size_t)(end - s)), *value;

	if (*s == ' ' || *s == '\t')
		return http1_bad(err, "a field goes on in the next line");	/* RFC 9112 5.2 */
	if (!colon || !http1_is_token(s, (size_t)(colon - s)))
		return http1_bad(err, "a line of the head has no valid field name");
	value = colon + 1;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (!http1_is_value(value, (size_t)(end - value)))
		return http1_bad(err, "a field has a control character");
	*colon = '\0';
	*end = '\0';
	for (char *p = s; *p; p++)
		*p = lower(*p);
	out->name = s;
	out->value = value;
	return 0;
}

/* The lines from @s on, up to the empty one at the end of http->head. */
static int parse_fields(struct http1 *http, char *s, struct warren_err *err)
{
	char *end = http->head.s + http->head.len - 2;

	http->parsed.fields = http->fields;
	http->parsed.n_fields = 0;
	while (s < end) {
		char *lf = memchr(s, '\n', (size_t)(end - s));
		int result;

		if (!lf || lf == s)
			return http1_bad(err, "a line is empty that must not be");
		if (http->parsed.n_fields == WARREN_HTTP_FIELDS) {
			warren_fail(err, NULL, "the other side sent an HTTP head of more than %d "
				    "fields", WARREN_HTTP_FIELDS);
			return -EMSGSIZE;
		}
		result = parse_field(s, lf - 1, &http->fields[http->parsed.n_fields], err);
		if (result)
			return result;
		http->parsed.n_fields++;
		s = lf + 1;
	}
	return 0;
}

int http1_trailer_check(struct http1 *http, struct warren_err *err)
{
	return parse_fields(http, http->head.s, err);
}

/* "HTTP/1.x": x, or -1. RFC 9112 2.3. */
static int minor_of(const char *s, size_t len)
{
	if (len != 8 || memcmp(s, "HTTP/1.", 7) != 0 || s[7] < '0' || s[7] > '1')
		return -1;
	return s[7] - '0';
}

/* RFC 9112 3.2: the four forms of a target. */
static int parse_target(struct warren_http_head *head, char *target, struct warren_err *err)
{
	bool connect = strcmp(head->method, "CONNECT") == 0;
	char *slashes = strstr(target, "://"), *path;

	for (const char *s = target; *s; s++)
		if (*s <= ' ' || *s >= 0x7f || *s == '#')
			return http1_bad(err, "the target of a request has a character that must "
					 "be escaped");
	head->path = target;
	if (connect) {
		if (!*target || strpbrk(target, "/?@"))
			return http1_bad(err, "CONNECT needs a host and a port");
		head->authority = target;
		head->path = NULL;
		return 0;
	}
	if (*target == '/' || (strcmp(target, "*") == 0 && strcmp(head->method, "OPTIONS") == 0))
		return 0;
	if (!slashes || !http1_is_token(target, (size_t)(slashes - target)))
		return http1_bad(err, "the target of a request is no path and no URL");
	path = slashes + 3 + strcspn(slashes + 3, "/?");
	if (*path != '/' || path == slashes + 3 || memchr(slashes, '@', (size_t)(path - slashes)))
		return http1_bad(err, "the URL of a request has no host, no path, or a user name");
	/* The host moves over the slashes, so that a NUL fits between it and the path. */
	*slashes = '\0';
	memmove(slashes + 1, slashes + 3, (size_t)(path - slashes - 3));
	slashes[1 + (path - slashes - 3)] = '\0';
	head->scheme = target;
	head->authority = slashes + 1;
	head->path = path;
	return 0;
}

/* "METHOD target HTTP/1.1", with a NUL at its end. */
static int parse_request_line(struct http1 *http, char *line, int *minor, struct warren_err *err)
{
	char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL;

	if (!version || !http1_is_token(line, (size_t)(target - line)))
		return http1_bad(err, "the first line is no request");
	*target++ = '\0';
	*version++ = '\0';
	*minor = minor_of(version, strlen(version));
	if (*minor < 0)
		return http1_bad(err, "the version is not HTTP/1.0 or HTTP/1.1");
	http->parsed.method = line;
	return parse_target(&http->parsed, target, err);
}

/* "HTTP/1.1 200 reason"; a server may leave the reason and its space out. */
static int parse_status_line(struct http1 *http, char *line, int *minor, struct warren_err *err)
{
	size_t len = strlen(line);
	const char *s = line + 9;

	*minor = len >= 12 ? minor_of(line, 8) : -1;
	if (*minor < 0 || line[8] != ' ')
		return http1_bad(err, "the first line is no response of HTTP/1.0 or HTTP/1.1");
	for (int i = 0; i < 3; i++) {
		if (s[i] < '0' || s[i] > '9')
			return http1_bad(err, "the status is no number of three digits");
		http->parsed.status = 10 * http->parsed.status + s[i] - '0';
	}
	if (http->parsed.status < 100 || (s[3] && s[3] != ' ') ||
	    !http1_is_value(s + 3, len - 12))
		return http1_bad(err, "the status is no number of three digits");
	return 0;
}

static int parse_length(const char *text, int64_t *out, struct warren_err *err)
{
	int64_t length = 0;

	if (!*text)
		return http1_bad(err, "Content-Length is empty");
	for (const char *s = text; *s; s++) {
		if (*s < '0' || *s > '9')
			return http1_bad(err, "Content-Length is no plain number");
		if (length > (INT64_MAX - 9) / 10)
			return http1_bad(err, "Content-Length is beyond all bounds");
		length = 10 * length + (*s - '0');
	}
	*out = length;
	return 0;
}

/* RFC 9112 6.3. A second length, even the same again, is refused: so smuggling begins. */
static int find_body(struct http1 *http, int minor, struct warren_err *err)
{
	struct warren_http_head *head = &http->parsed;
	const char *length = NULL, *coding = NULL;
	bool none = http->kind == HTTP1_RESPONSES &&
		    (head->status < 200 || head->status == 204 || head->status == 304 ||
		     http->to_head);
	int result;

	for (uint32_t i = 0; i < head->n_fields; i++) {
		bool l = strcmp(head->fields[i].name, "content-length") == 0;
		bool c = strcmp(head->fields[i].name, "transfer-encoding") == 0;

		if ((l || c) && (length || coding))
			return http1_bad(err, "the body has two lengths: more than one of "
					 "Content-Length and Transfer-Encoding");
		length = l ? head->fields[i].value : length;
		coding = c ? head->fields[i].value : coding;
	}
	head->length = 0;
	http->chunked = coding != NULL;
	if (coding && !equal_nocase(coding, strlen(coding), "chunked"))
		return http1_bad(err, "Transfer-Encoding is not \"chunked\"");
	if (coding && minor == 0)
		return http1_bad(err, "Transfer-Encoding in HTTP/1.0");
	if (coding && (head->status == 204 || (head->status > 0 && head->status < 200)))
		return http1_bad(err, "Transfer-Encoding where no body can be");	/* 6.1 */
	result = length ? parse_length(length, &head->length, err) : 0;
	if (result)
		return result;
	if (none || http->upgraded)
		head->length = 0;
	else if (coding || (!length && http->kind == HTTP1_RESPONSES))
		head->length = -1;
	if (head->length == -1 && !coding)
		http->keeps_alive = false;
	return 0;
}

static int check_host(struct http1 *http, int minor, struct warren_err *err)
{
	int hosts = 0;

	for (uint32_t i = 0; i < http->parsed.n_fields; i++) {
		const char *value = http->fields[i].value;

		if (strcmp(http->fields[i].name, "host") != 0)
			continue;
		hosts++;
		if (strpbrk(value, " \t,/?#@\\"))
			return http1_bad(err, "Host is no host");
		if (!http->parsed.authority)
			http->parsed.authority = value;
	}
	if (hosts > 1 || (hosts == 0 && minor == 1))	/* RFC 9112 3.2 */
		return http1_bad(err, "a request must have one Host");
	return 0;
}

static void find_connection(struct http1 *http, int minor)
{
	const struct warren_http_head *head = &http->parsed;
	bool close = false, keep = minor == 1;

	for (uint32_t i = 0; i < head->n_fields; i++) {
		if (strcmp(head->fields[i].name, "connection") != 0)
			continue;
		close = close || http1_list_has(head->fields[i].value, "close");
		keep = keep || http1_list_has(head->fields[i].value, "keep-alive");
	}
	http->keeps_alive = keep && !close;
	http->upgraded = head->status == 101 ||
			 (http->to_connect && head->status >= 200 && head->status < 300);
}

int http1_head_parse(struct http1 *http, struct warren_err *err)
{
	char *line = http->head.s, *cr = memchr(line, '\r', http->head.len);
	int minor = -1, result;

	memset(&http->parsed, 0, sizeof(http->parsed));
	http->parsed.size = sizeof(http->parsed);
	/* The CR of the first line: any other would be a control character, as a NUL would. */
	if (cr[1] != '\n' || memchr(line, '\0', (size_t)(cr - line)))
		return http1_bad(err, "the first line has a control character");
	*cr = '\0';
	result = http->kind == HTTP1_REQUESTS ? parse_request_line(http, line, &minor, err) :
						parse_status_line(http, line, &minor, err);
	if (result == 0)
		result = parse_fields(http, cr + 2, err);
	if (result == 0 && http->kind == HTTP1_REQUESTS)
		result = check_host(http, minor, err);
	if (result)
		return result;
	http->old = minor == 0;
	find_connection(http, minor);
	return find_body(http, minor, err);
}
