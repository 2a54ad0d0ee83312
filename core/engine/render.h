/*
 * Text for people, derived from the data of an answer.
 */
#ifndef WARREN_ENGINE_RENDER_H
#define WARREN_ENGINE_RENDER_H

#include <jansson.h>

/* One line, NUL-terminated. Lines with tabs are rows of a table. */
typedef void wcore_render_fn(void *arg, const char *line);

/*
 * Renders @value: members as "key: value", objects and lists indented under their key, a list of
 * flat objects as a table. @depth is the indentation to begin with.
 */
void wcore_render(const json_t *value, unsigned depth, wcore_render_fn *fn, void *arg);

#endif
