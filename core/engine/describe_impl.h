/*
 * engine/describe_impl.h - option tables as the describers walk them; private to describe*.c
 */
#ifndef WARREN_ENGINE_DESCRIBE_IMPL_H
#define WARREN_ENGINE_DESCRIBE_IMPL_H

#include <stdbool.h>

#include <warren/plugin.h>

#include "base/str.h"
#include "engine/conf.h"
#include "engine/describe.h"

enum {
	DESCRIBE_NESTING = 12,		/* a plugin's mistake beyond: not followed */
};

enum describe_kind { DESCRIBE_SCALAR, DESCRIBE_LIST, DESCRIBE_KEYED, DESCRIBE_MAP };

/* What @row is; of LIST and KEYED *@elem becomes the row of the elements. */
enum describe_kind describe_kind(const struct warren_option *row, struct warren_option *elem);
/* The section as one row. */
struct warren_option describe_section(const struct wcore_conf_schema *schema);

#endif
