/*
 * Growable strings. Growth doubles; a failed allocation keeps the text that was there and sets
 * `failed`, and everything added later is dropped, so that no composition has a hole in it.
 */
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

enum { STR_FIRST = 64, GUESS_MAX = 64 };

void str_free(struct str *s)
{
	free(s->s);
	*s = (struct str)STR_INIT;
}

const char *str_text(const struct str *s)
{
	return s->s ? s->s : "";
}

char *str_take(struct str *s)
{
	char *text = NULL;

	if (!s->failed && !s->s)
		str_addn(s, "", 0);
	if (s->failed)
		str_free(s);
	else
		text = s->s;
	*s = (struct str)STR_INIT;
	return text;
}

void str_cut(struct str *s, size_t len)
{
	if (len >= s->len)
		return;
	s->len = len;
	s->s[len] = '\0';
}

/* Room for @more bytes and the NUL. */
static bool grow(struct str *s, size_t more)
{
	size_t need, cap = s->cap ? s->cap : STR_FIRST;
	char *bigger;

	if (s->failed || !size_add(s->len, more, &need) || !size_add(need, 1, &need)) {
		s->failed = true;
		return false;
	}
	if (need <= s->cap)
		return true;
	while (cap < need) {
		if (!size_mul(cap, 2, &cap))
			cap = need;
	}
	bigger = realloc(s->s, cap);
	if (!bigger) {
		s->failed = true;
		return false;
	}
	s->s = bigger;
	s->cap = cap;
	return true;
}

void str_addn(struct str *s, const char *text, size_t len)
{
	if (!grow(s, len))
		return;
	if (len > 0)
		memcpy(s->s + s->len, text, len);
	s->len += len;
	s->s[s->len] = '\0';
}

void str_add(struct str *s, const char *text)
{
	str_addn(s, text, strlen(text));
}

void str_addc(struct str *s, char c)
{
	str_addn(s, &c, 1);
}

void str_vaddf(struct str *s, const char *fmt, va_list ap)
{
	va_list again;
	int len;

	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, ap);
	if (len < 0)
		s->failed = true;
	else if (grow(s, (size_t)len))
		s->len += (size_t)vsnprintf(s->s + s->len, s->cap - s->len, fmt, again);
	va_end(again);
}

void str_addf(struct str *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	str_vaddf(s, fmt, ap);
	va_end(ap);
}

/* Length of the UTF-8 sequence at @p, or 0: RFC 3629 section 4. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (n > left || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return n;
}

size_t str_utf8_check(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t at = 0;

	while (at < len) {
		size_t n = utf8_sequence(p + at, len - at);

		if (n == 0)
			break;
		at += n;
	}
	return at;
}

/* The code point of a valid sequence of @n bytes. */
static uint32_t utf8_decode(const unsigned char *p, size_t n)
{
	uint32_t c = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}

/*
 * Allowed raw by JSON, but no YAML reader takes them as they are: controls, the line ends of
 * Unicode, the byte order mark, and what is no character.
 */
static bool needs_escape(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
	       c == 0xfffe || c == 0xffff;
}

void str_add_json(struct str *s, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t n;

	str_addc(s, '"');
	for (size_t at = 0; at < len; at += n ? n : 1) {
		n = utf8_sequence(p + at, len - at);
		if (n == 0)
			str_add(s, "\\ufffd");
		else if (p[at] == '"' || p[at] == '\\')
			str_addf(s, "\\%c", p[at]);
		else if (p[at] == '\n')
			str_add(s, "\\n");
		else if (p[at] == '\t')
			str_add(s, "\\t");
		else if (needs_escape(utf8_decode(p + at, n)))
			str_addf(s, "\\u%04x", utf8_decode(p + at, n));
		else
			str_addn(s, text + at, n);
	}
	str_addc(s, '"');
}

void str_add_clean(struct str *s, const char *text, size_t len, size_t max)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t end = len < max ? len : max;
	size_t n;

	for (size_t at = 0; at < end; at += n ? n : 1) {
		n = utf8_sequence(p + at, len - at);
		/* C1 controls, U+0080 to U+009f, move cursors on some terminals too. */
		if (n == 0 || p[at] < 0x20 || p[at] == 0x7f ||
		    (n == 2 && p[at] == 0xc2 && p[at + 1] < 0xa0)) {
			for (size_t i = 0; i < (n ? n : 1); i++)
				str_addf(s, "\\x%02x", p[at + i]);
		} else {
			str_addn(s, text + at, n);
		}
	}
	if (len > end)
		str_add(s, "...");
}

bool str_copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);

	if (len >= size) {
		dst[0] = '\0';
		return false;
	}
	memcpy(dst, src, len + 1);
	return true;
}

bool str_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_equal(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	return strcmp(a, b) == 0;
}

/* Optimal string alignment distance; both are shorter than GUESS_MAX. */
static size_t edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	uint8_t rows[3][GUESS_MAX + 1];
	uint8_t *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		last[j] = (uint8_t)j;
	for (size_t i = 1; i <= a_len; i++) {
		uint8_t *spare = before;

		row[0] = (uint8_t)i;
		for (size_t j = 1; j <= b_len; j++) {
			uint8_t best = (uint8_t)(last[j - 1] + (a[i - 1] != b[j - 1]));

			if (last[j] + 1 < best)
				best = (uint8_t)(last[j] + 1);
			if (row[j - 1] + 1 < best)
				best = (uint8_t)(row[j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = (uint8_t)(before[j - 2] + 1);
			row[j] = best;
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[b_len];
}

void str_guess_try(struct str_guess *guess, const char *candidate)
{
	size_t word_len = strlen(guess->word), len = strlen(candidate);
	size_t distance, limit;

	if (word_len == 0 || word_len >= GUESS_MAX || len == 0 || len >= GUESS_MAX)
		return;
	limit = (word_len > len ? word_len : len) / 3;
	if (limit == 0)
		limit = 1;
	distance = edit_distance(guess->word, word_len, candidate, len);
	/* Nothing in common is no guess, however short both are. */
	if (distance > limit || distance >= (word_len < len ? len : word_len))
		return;
	if (guess->best && distance >= guess->distance)
		return;
	guess->best = candidate;
	guess->distance = distance;
}

void str_add_html(struct str *out, const char *text)
{
	size_t len = strlen(text);

	while (len > 0) {
		size_t good = str_utf8_check(text, 1) == 1 ? 1 : 0;

		for (size_t n = 2; !good && n <= 4 && n <= len; n++)
			good = str_utf8_check(text, n) == n ? n : 0;
		if (!good || (unsigned char)*text < ' ' || *text == 0x7f)
			str_add(out, "\xef\xbf\xbd");
		else if (strchr("<>&\"'", *text))
			str_addf(out, "&#%d;", *text);
		else
			str_addn(out, text, good);
		text += good ? good : 1;
		len -= good ? good : 1;
	}
}
