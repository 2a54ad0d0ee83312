/*
 * HuJSON to a tree. Recursive descent; the depth is bounded.
 */
#include "hujson.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "base/str.h"

struct reader {
	struct arena *arena;
	const char *at, *end;
	const char *line_start;
	uint32_t line, depth;
	struct policy_error *error;
	bool failed;
};

/* ---- places and errors ---- */

static uint32_t column(const struct reader *r)
{
	uint32_t n = 1;

	for (const char *p = r->line_start; p < r->at; p++) {
		if (((unsigned char)*p & 0xc0) != 0x80)
			n++;
	}
	return n;
}

static void *fail(struct reader *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void *fail(struct reader *r, const char *fmt, ...)
{
	va_list ap;

	if (r->failed)
		return NULL;
	r->failed = true;
	r->error->line = r->line;
	r->error->column = column(r);
	va_start(ap, fmt);
	vsnprintf(r->error->text, sizeof(r->error->text), fmt, ap);
	va_end(ap);
	return NULL;
}

bool hj_fail(struct policy_error *error, const struct hj *at, const char *fmt, ...)
{
	va_list ap;

	error->line = at ? at->line : 0;
	error->column = at ? at->column : 0;
	va_start(ap, fmt);
	vsnprintf(error->text, sizeof(error->text), fmt, ap);
	va_end(ap);
	return false;
}

/* ---- white space and comments ---- */

static void next_line(struct reader *r)
{
	r->line++;
	r->line_start = r->at;
}

static bool skip_block(struct reader *r)
{
	for (r->at += 2; r->at + 1 < r->end; r->at++) {
		if (r->at[0] == '*' && r->at[1] == '/') {
			r->at += 2;
			return true;
		}
		if (r->at[0] == '\n') {
			r->line++;
			r->line_start = r->at + 1;
		}
	}
	fail(r, "a comment is not closed");
	return false;
}

static bool skip(struct reader *r)
{
	while (r->at < r->end) {
		if (*r->at == ' ' || *r->at == '\t' || *r->at == '\r') {
			r->at++;
		} else if (*r->at == '\n') {
			r->at++;
			next_line(r);
		} else if (r->end - r->at > 1 && r->at[0] == '/' && r->at[1] == '/') {
			while (r->at < r->end && *r->at != '\n')
				r->at++;
		} else if (r->end - r->at > 1 && r->at[0] == '/' && r->at[1] == '*') {
			if (!skip_block(r))
				return false;
		} else {
			break;
		}
	}
	return true;
}

/* ---- scalars ---- */

static struct hj *new_value(struct reader *r, enum hj_type type)
{
	struct hj *v = arena_alloc(r->arena, sizeof(*v));

	if (!v)
		return fail(r, "no memory");
	v->type = type;
	v->line = r->line;
	v->column = column(r);
	return v;
}

static int hex4(const struct reader *r, const char *p)
{
	int value = 0;

	if (r->end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 :
			    c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

static char *put_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		*out++ = (char)c;
	} else if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
		*out++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 0x3f));
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
		*out++ = (char)(0x80 | (c & 0x3f));
	}
	return out;
}

/* After "\u". NULL: it is none; half of a pair alone is U+FFFD. */
static char *unicode(struct reader *r, char *out)
{
	int c = hex4(r, r->at), low;

	if (c <= 0)
		return fail(r, c == 0 ? "a string has a zero character" :
			    "\\u wants four hexadecimal digits");
	r->at += 4;
	if (c < 0xd800 || c > 0xdfff)
		return put_utf8(out, (uint32_t)c);
	low = c < 0xdc00 && r->end - r->at > 6 && r->at[0] == '\\' && r->at[1] == 'u' ?
	      hex4(r, r->at + 2) : -1;
	if (low < 0xdc00 || low > 0xdfff)
		return put_utf8(out, 0xfffd);
	r->at += 6;
	return put_utf8(out, 0x10000 + ((uint32_t)(c - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
}

static char *escape(struct reader *r, char *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *known;

	if (r->at == r->end)
		return fail(r, "a string is not closed");
	if (*r->at == 'u') {
		r->at++;
		return unicode(r, out);
	}
	known = *r->at ? strchr(from, *r->at) : NULL;
	if (!known)
		return fail(r, "\\%c is no escape of JSON", *r->at);
	*out++ = to[known - from];
	r->at++;
	return out;
}

/* The string at the cursor; *@len without the NUL. An escape is never longer than its source. */
static char *string(struct reader *r, size_t *len)
{
	const char *close = r->at + 1;
	char *text, *out;

	while (close < r->end && *close != '"' && *close != '\n')
		close += *close == '\\' && close + 1 < r->end ? 2 : 1;
	if (close >= r->end || *close != '"')
		return fail(r, "a string is not closed");
	text = out = arena_alloc(r->arena, (size_t)(close - r->at) + 4);
	if (!text)
		return fail(r, "no memory");
	for (r->at++; r->at < close;) {
		if ((unsigned char)*r->at < ' ')
			return fail(r, "a string has a control character");
		if (*r->at != '\\') {
			*out++ = *r->at++;
			continue;
		}
		r->at++;
		out = escape(r, out);
		if (!out)
			return NULL;
	}
	r->at = close + 1;
	*len = (size_t)(out - text);
	return text;
}

static struct hj *string_value(struct reader *r)
{
	struct hj *v = new_value(r, HJ_STRING);

	if (v)
		v->text = string(r, &v->len);
	return v && v->text ? v : NULL;
}

static size_t number_len(const char *p, const char *end)
{
	const char *start = p;
	size_t digits;

	if (p < end && *p == '-')
		p++;
	digits = strspn(p, "0123456789");
	if (digits == 0 || (*p == '0' && digits > 1))
		return 0;
	p += digits;
	if (p < end && *p == '.') {
		digits = strspn(++p, "0123456789");
		if (digits == 0)
			return 0;
		p += digits;
	}
	if (p < end && (*p == 'e' || *p == 'E')) {
		p += p[1] == '+' || p[1] == '-' ? 2 : 1;
		digits = strspn(p, "0123456789");
		if (digits == 0)
			return 0;
		p += digits;
	}
	return (size_t)(p - start);
}

static struct hj *word(struct reader *r)
{
	static const struct {
		const char *text;
		enum hj_type type;
	} words[] = { { "null", HJ_NULL }, { "true", HJ_BOOL }, { "false", HJ_BOOL } };
	size_t len = 0, known = 0;
	struct hj *v;

	while (r->at + len < r->end && r->at[len] >= 'a' && r->at[len] <= 'z')
		len++;
	while (known < 3 && (strlen(words[known].text) != len ||
			     memcmp(words[known].text, r->at, len) != 0))
		known++;
	v = new_value(r, known < 3 ? words[known].type : HJ_NUMBER);
	if (!v)
		return NULL;
	if (known == 3)
		len = number_len(r->at, r->end);
	if (len == 0)
		return fail(r, r->at < r->end ? "a value is expected" :
			    "the file ends where a value is expected");
	v->text = arena_text(r->arena, r->at, len);
	v->len = len;
	r->at += len;
	return v->text ? v : fail(r, "no memory");
}

/* ---- arrays and objects ---- */

static struct hj *value(struct reader *r);

static bool member_key(struct reader *r, struct hash *keys, struct hj *member)
{
	void *before;
	size_t len;

	member->key_line = r->line;
	member->key_column = column(r);
	if (r->at == r->end || *r->at != '"')
		return fail(r, "a name in quotes is expected");
	member->key = string(r, &len);
	if (!member->key)
		return false;
	if (hash_put_str(keys, member->key, r, &before))
		return fail(r, "no memory");
	if (before)
		return fail(r, "\"%s\" is there twice", member->key);
	if (!skip(r))
		return false;
	if (r->at == r->end || *r->at != ':')
		return fail(r, "a colon is expected after \"%s\"", member->key);
	r->at++;
	return true;
}

/* One element or member, behind the others. */
static bool element(struct reader *r, struct hj *whole, struct hash *keys, struct hj **tail)
{
	struct hj named = { .key = NULL }, *v;

	if (whole->type == HJ_OBJECT && (!member_key(r, keys, &named) || !skip(r)))
		return false;
	v = value(r);
	if (!v)
		return false;
	v->key = named.key;
	v->key_line = named.key_line;
	v->key_column = named.key_column;
	if (*tail)
		(*tail)->next = v;
	else
		whole->first = v;
	*tail = v;
	whole->count++;
	return skip(r);
}

static bool elements(struct reader *r, struct hj *whole, struct hash *keys, char close)
{
	struct hj *tail = NULL;

	while (r->at < r->end && *r->at != close) {
		if (!element(r, whole, keys, &tail))
			return false;
		if (r->at < r->end && *r->at == ',') {
			r->at++;
			if (!skip(r))
				return false;
		} else if (r->at < r->end && *r->at != close) {
			return fail(r, "a comma or %c is expected", close);
		}
	}
	return r->at < r->end || fail(r, "%c is missing at the end of the file", close);
}

static struct hj *several(struct reader *r, enum hj_type type)
{
	struct hj *whole = new_value(r, type);
	struct hash keys;
	bool ok;

	if (!whole || ++r->depth > HJ_DEPTH)
		return fail(r, "brackets are nested more than %d deep", HJ_DEPTH);
	r->at++;
	hash_init(&keys);
	ok = skip(r) && elements(r, whole, &keys, type == HJ_ARRAY ? ']' : '}');
	hash_free(&keys);
	if (!ok)
		return NULL;
	r->at++;
	r->depth--;
	return whole;
}

static struct hj *value(struct reader *r)
{
	if (r->at < r->end && *r->at == '{')
		return several(r, HJ_OBJECT);
	if (r->at < r->end && *r->at == '[')
		return several(r, HJ_ARRAY);
	if (r->at < r->end && *r->at == '"')
		return string_value(r);
	return word(r);
}

struct hj *hj_parse(struct arena *arena, const char *text, size_t len, struct policy_error *error)
{
	struct reader r = { .arena = arena, .line = 1, .error = error };
	char *copy;
	struct hj *root;

	memset(error, 0, sizeof(*error));
	if (len > HJ_SIZE)
		return hj_fail(error, NULL, "the policy is longer than %d bytes", HJ_SIZE), NULL;
	/* With a NUL behind it, which no scan crosses. */
	copy = arena_text(arena, text, len);
	if (!copy)
		return hj_fail(error, NULL, "no memory"), NULL;
	r.at = r.line_start = copy;
	r.end = copy + len;
	if (memchr(copy, 0, len) || str_utf8_check(copy, len) != len) {
		r.at += memchr(copy, 0, len) ? strlen(copy) : str_utf8_check(copy, len);
		return fail(&r, "the text is not UTF-8");
	}
	if (len >= 3 && memcmp(copy, "\xef\xbb\xbf", 3) == 0)
		r.at += 3;
	root = skip(&r) ? value(&r) : NULL;
	if (!root || !skip(&r))
		return NULL;
	return r.at == r.end ? root : fail(&r, "there is more behind the end of the policy");
}

struct hj *hj_get(const struct hj *o, const char *key)
{
	if (!o || o->type != HJ_OBJECT)
		return NULL;
	for (struct hj *m = o->first; m; m = m->next) {
		if (strcasecmp(m->key, key) == 0)
			return m;
	}
	return NULL;
}

static json_t *number_json(const struct hj *v)
{
	return json_loadb(v->text, v->len, JSON_DECODE_ANY, NULL);
}

json_t *hj_json(const struct hj *v)
{
	json_t *made;

	switch (v->type) {
	case HJ_NULL:
		return json_null();
	case HJ_BOOL:
		return json_boolean(v->text[0] == 't');
	case HJ_NUMBER:
		return number_json(v);
	case HJ_STRING:
		return json_stringn(v->text, v->len);
	case HJ_ARRAY:
	case HJ_OBJECT:
		break;
	}
	made = v->type == HJ_ARRAY ? json_array() : json_object();
	for (const struct hj *m = v->first; made && m; m = m->next) {
		if (v->type == HJ_ARRAY ? json_array_append_new(made, hj_json(m)) :
					  json_object_set_new(made, m->key, hj_json(m))) {
			json_decref(made);
			made = NULL;
		}
	}
	return made;
}
