/*
 * base/str.h - growable string, bounded copies, UTF-8, "did you mean"
 *
 * Running out of memory is remembered, so that only the end of a long composition has to be
 * tested: str_take() then returns NULL and str_text() what fitted.
 */
#ifndef WARREN_BASE_STR_H
#define WARREN_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
	char *s;			/* NULL while nothing was added; else NUL-terminated */
	size_t len, cap;
	bool failed;
};
#define STR_INIT { NULL, 0, 0, false }

/* Frees the text; the string is empty and usable afterwards. Fits AUTO(str_free). */
void str_free(struct str *s);
/* Never NULL; valid until the next change. */
const char *str_text(const struct str *s);
/* Hands the text to the caller (free()), and leaves @s empty. NULL: memory had run out. */
char *str_take(struct str *s);
/* Shortens to @len bytes; longer than it is: no change. */
void str_cut(struct str *s, size_t len);

void str_add(struct str *s, const char *text);
void str_addn(struct str *s, const char *text, size_t len);
void str_addc(struct str *s, char c);
void str_addf(struct str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void str_vaddf(struct str *s, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/*
 * As a JSON string with its quotes, which is a double-quoted YAML text too. Bytes that are not
 * UTF-8 become U+FFFD.
 */
void str_add_json(struct str *s, const char *text, size_t len);
/*
 * For a terminal or a log line: control characters and bytes that are not UTF-8 as \xNN, at most
 * @max bytes of input, then "...".
 */
void str_add_clean(struct str *s, const char *text, size_t len, size_t max);
/* Text as HTML's; bytes that are no UTF-8 or control characters as U+FFFD. */
void str_add_html(struct str *s, const char *text);

/* Copies with the NUL. False: it does not fit, and @dst is the empty string. @size > 0. */
bool str_copy(char *dst, size_t size, const char *src);
bool str_starts(const char *text, const char *prefix);
bool str_equal(const char *a, const char *b);	/* NULL equals NULL only */

/* Offset of the first byte that is not part of valid UTF-8 (RFC 3629), or @len. */
size_t str_utf8_check(const char *text, size_t len);

/*
 * "Did you mean": the candidate with the least edit distance (insert, delete, replace, swap of
 * neighbours), if it is near enough to be helpful.
 *	struct str_guess g = { .word = "prot" };
 *	str_guess_try(&g, "port"); ...
 *	if (g.best) ...
 */
struct str_guess {
	const char *word;
	const char *best;		/* NULL: nothing near */
	size_t distance;
};
void str_guess_try(struct str_guess *guess, const char *candidate);

#endif
