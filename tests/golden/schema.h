/*
 * Sections that hold every type and every flag: what the golden tests, the unit tests and the fuzz
 * target of the configuration bind against.
 */
#ifndef WARREN_GOLDEN_SCHEMA_H
#define WARREN_GOLDEN_SCHEMA_H

#include <stddef.h>

struct wcore_conf_schema;
const struct wcore_conf_schema *golden_schemas(size_t *count);

#endif
