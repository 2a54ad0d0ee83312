/*
 * Columns of text: rows whose cells are separated by tabs, written with their columns aligned.
 *
 * Rows are kept until the table is complete, because the widest cell decides. The last cell of a
 * row is not padded, so that lines have no blanks at their end.
 */
#include "engine/columns.h"

#include <string.h>

/* Columns on the screen. Wide and combining characters count as one. */
static size_t cell_width(const char *cell, size_t len)
{
	size_t width = 0;

	for (size_t i = 0; i < len; i++) {
		if (cell[i] == '\033') {
			while (i < len && cell[i] != 'm')
				i++;
		} else if (((unsigned char)cell[i] & 0xc0) != 0x80) {
			width++;
		}
	}
	return width;
}

/* Length of the cell at @row: up to a tab or the end. */
static size_t cell_len(const char *row, size_t len)
{
	const char *tab = memchr(row, '\t', len);

	return tab ? (size_t)(tab - row) : len;
}

void wcore_columns_add(struct wcore_columns *columns, const char *row, size_t len)
{
	size_t at = 0;

	for (unsigned i = 0; i < WCORE_COLUMNS && at < len; i++) {
		size_t n = cell_len(row + at, len - at);
		size_t width = cell_width(row + at, n);

		/* What follows the last tab pushes nobody aside. */
		if (at + n < len && width > columns->width[i])
			columns->width[i] = width;
		at += n + 1;
	}
	str_addn(&columns->rows, row, len);
	str_addc(&columns->rows, '\n');
}

static void row_align(const struct wcore_columns *columns, const char *row, size_t len,
		      struct str *out)
{
	size_t at = 0, blanks = 0;

	for (unsigned i = 0; at <= len; i++) {
		size_t n = cell_len(row + at, len - at);

		if (n > 0) {
			str_addf(out, "%*s", (int)(blanks), "");
			str_addn(out, row + at, n);
			blanks = 0;
		}
		blanks += 2;
		if (i < WCORE_COLUMNS) {
			size_t width = cell_width(row + at, n);

			if (width < columns->width[i])
				blanks += columns->width[i] - width;
		}
		at += n + 1;
	}
}

void wcore_columns_flush(struct wcore_columns *columns, wcore_line_fn *fn, void *arg)
{
	struct str rows = columns->rows, line = { 0 };
	const char *at = rows.s;
	size_t left = rows.len;

	columns->rows = (struct str)STR_INIT;
	while (left > 0) {
		size_t len = (size_t)((const char *)memchr(at, '\n', left) - at);

		str_cut(&line, 0);
		row_align(columns, at, len, &line);
		fn(arg, str_text(&line), line.len);
		at += len + 1;
		left -= len + 1;
	}
	memset(columns->width, 0, sizeof(columns->width));
	str_free(&rows);
	str_free(&line);
}

void wcore_columns_free(struct wcore_columns *columns)
{
	str_free(&columns->rows);
}
