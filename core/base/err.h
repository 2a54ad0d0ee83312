/*
 * base/err.h - struct warren_err: sentences for the operator, with their place in a file
 *
 * A caller keeps one on its stack (ERR_INIT), passes it down, prints it and calls err_free(). All
 * functions accept a NULL @err and then do nothing. Up to ERR_MAX errors and as many notes are
 * kept; more are counted. Used by one thread at a time.
 */
#ifndef WARREN_BASE_ERR_H
#define WARREN_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str;

enum { ERR_MAX = 20 };

struct err_at {				/* a place in a configuration file */
	const char *file;		/* copied; NULL: no place */
	uint32_t order;			/* of the file among those that are read */
	uint32_t line, column;		/* from 1; line 0: the file as a whole */
};
struct err_line {
	char *text;			/* "file:line:column: sentence" */
	uint32_t order, line, column, seq;
	bool note;
};
struct warren_err {
	struct err_line *lines;
	uint32_t kept;			/* of lines */
	uint32_t errors, notes;		/* told, kept or not */
};
#define ERR_INIT { NULL, 0, 0, 0 }

void err_free(struct warren_err *err);
/* Adds an error; @at may be NULL. Returns -EINVAL. */
int err_add(struct warren_err *err, const struct err_at *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int err_vadd(struct warren_err *err, const struct err_at *at, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
/* Adds a note: worth telling, but no reason to refuse. */
void err_note(struct warren_err *err, const struct err_at *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

bool err_any(const struct warren_err *err);	/* an error, not only notes */
/* The first error in file order without newline, else "unknown error"; lives as long as @err. */
const char *err_first(const struct warren_err *err);
/*
 * Kept lines in file order (those without a place last, in the order they came).
 *	for (uint32_t i = 0; (line = err_nth(&err, i)); i++)
 */
const struct err_line *err_nth(const struct warren_err *err, uint32_t i);
/* All, one a line; notes begin with "note: ", the last line may be "... and 7 more errors". */
void err_print(const struct warren_err *err, struct str *out);

#endif
