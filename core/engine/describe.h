/*
 * engine/describe.h - option tables as schema, sample and manual
 *
 * Pure functions from option tables to text; all append to @out. Sections are described by the
 * same struct wcore_conf_schema that binds them: wcore_core_schemas() and one per plugin.
 */
#ifndef WARREN_ENGINE_DESCRIBE_H
#define WARREN_ENGINE_DESCRIBE_H

#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

struct str;
struct wcore_conf_schema;

#pragma GCC visibility push(default)

/* JSON Schema, draft 2020-12, of the whole file: for editors. */
void wcore_describe_schema(const struct wcore_conf_schema *schemas, size_t count, struct str *out);

/*
 * A sample file: every option of every section as a comment with its default or an example; it
 * stays valid when they are all uncommented. @role NULL, or one of wcore_describe_roles(): the
 * sections that such a box needs, switched on. -ENOENT: no such role, or its sections are not in
 * @schemas.
 */
int wcore_describe_example(const struct wcore_conf_schema *schemas, size_t count, const char *role,
			   struct str *out);
struct wcore_describe_role {
	const char *name, *brief;
};
const struct wcore_describe_role *wcore_describe_roles(size_t *count);

/* Reference of one section: a .Bl list in mdoc(7) for warren.yaml(5); Markdown. */
void wcore_describe_mdoc(const struct wcore_conf_schema *schema, struct str *out);
void wcore_describe_markdown(const struct wcore_conf_schema *schema, struct str *out);

/*
 * "duration, default 30s, at most 1h": type, default and limits of one row in words, for help
 * texts and manuals of options and of command arguments.
 */
void wcore_describe_row(const struct warren_option *row, struct str *out);
/* Appends @text with what mdoc takes as markup made harmless. */
void wcore_describe_escape_mdoc(const char *text, struct str *out);

#pragma GCC visibility pop

#endif
