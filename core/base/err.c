/*
 * Sentences for the operator. Kept as one growing array of finished texts; sorted when they are
 * read, because `check` callbacks and the binder do not walk a file from top to bottom.
 */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"

void err_free(struct warren_err *err)
{
	if (!err)
		return;
	for (uint32_t i = 0; i < err->kept; i++)
		free(err->lines[i].text);
	free(err->lines);
	*err = (struct warren_err)ERR_INIT;
}

/* Without a place: behind all that have one. */
static struct err_line describe_place(const struct err_at *at, struct str *text)
{
	struct err_line line = { .order = UINT32_MAX };

	if (!at || !at->file)
		return line;
	line.order = at->order;
	line.line = at->line;
	line.column = at->column;
	if (at->line > 0)
		str_addf(text, "%s:%u:%u: ", at->file, at->line, at->column);
	else
		str_addf(text, "%s: ", at->file);
	return line;
}

__attribute__((format(printf, 4, 0)))
static void add(struct warren_err *err, bool note, const struct err_at *at, const char *fmt,
		va_list ap)
{
	uint32_t *told = note ? &err->notes : &err->errors;
	AUTO(str_free) struct str text = STR_INIT;
	struct err_line line, *more;

	if (++*told > ERR_MAX)
		return;
	line = describe_place(at, &text);
	str_vaddf(&text, fmt, ap);
	line.note = note;
	line.seq = err->kept;
	more = realloc(err->lines, (err->kept + 1) * sizeof(*more));
	if (more)
		err->lines = more;
	line.text = str_take(&text);
	/* Out of memory: the count still says that something is wrong. */
	if (!more || !line.text) {
		free(line.text);
		return;
	}
	more[err->kept++] = line;
}

int err_vadd(struct warren_err *err, const struct err_at *at, const char *fmt, va_list ap)
{
	if (err)
		add(err, false, at, fmt, ap);
	return -EINVAL;
}

int err_add(struct warren_err *err, const struct err_at *at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vadd(err, at, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

void err_note(struct warren_err *err, const struct err_at *at, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return;
	va_start(ap, fmt);
	add(err, true, at, fmt, ap);
	va_end(ap);
}

bool err_any(const struct warren_err *err)
{
	return err && err->errors > 0;
}

static bool before(const struct err_line *a, const struct err_line *b)
{
	if (a->order != b->order)
		return a->order < b->order;
	if (a->line != b->line)
		return a->line < b->line;
	if (a->column != b->column)
		return a->column < b->column;
	return a->seq < b->seq;
}

const struct err_line *err_nth(const struct warren_err *err, uint32_t i)
{
	if (!err)
		return NULL;
	/* At most 2 * ERR_MAX lines: counting is cheaper than a sorted copy. */
	for (uint32_t k = 0; k < err->kept; k++) {
		uint32_t rank = 0;

		for (uint32_t n = 0; n < err->kept; n++)
			rank += before(&err->lines[n], &err->lines[k]);
		if (rank == i)
			return &err->lines[k];
	}
	return NULL;
}

const char *err_first(const struct warren_err *err)
{
	const struct err_line *line;

	for (uint32_t i = 0; (line = err_nth(err, i)); i++) {
		if (!line->note)
			return line->text;
	}
	return err_any(err) ? "out of memory" : "unknown error";
}

void err_print(const struct warren_err *err, struct str *out)
{
	const struct err_line *line;

	if (!err)
		return;
	for (uint32_t i = 0; (line = err_nth(err, i)); i++)
		str_addf(out, "%s%s\n", line->note ? "note: " : "", line->text);
	if (err->errors > ERR_MAX)
		str_addf(out, "... and %u more error%s\n", err->errors - ERR_MAX,
			 err->errors == ERR_MAX + 1 ? "" : "s");
}
