/*
 * Columns of text: rows whose cells are separated by tabs, written with their columns aligned.
 */
#ifndef WARREN_ENGINE_COLUMNS_H
#define WARREN_ENGINE_COLUMNS_H

#include <stddef.h>

#include "base/str.h"

enum { WCORE_COLUMNS = 24 };		/* a row may have more; they are not aligned */

struct wcore_columns {			/* zeroed: no rows */
	struct str rows;		/* one per line */
	size_t width[WCORE_COLUMNS];
};

typedef void wcore_line_fn(void *arg, const char *line, size_t len);

/* Adds a row: valid UTF-8 without newline. Colour sequences in it have no width. */
void wcore_columns_add(struct wcore_columns *columns, const char *row, size_t len);
/* Gives each row to @fn, aligned, in order; then there are none. */
void wcore_columns_flush(struct wcore_columns *columns, wcore_line_fn *fn, void *arg);
void wcore_columns_free(struct wcore_columns *columns);

#endif
