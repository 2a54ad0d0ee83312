/*
 * The plugins that are part of libwarren: the table that configure writes.
 */
#ifndef WARREN_ENGINE_BUILTINS_H
#define WARREN_ENGINE_BUILTINS_H

struct warren_plugin;

/* Ends with NULL. Immutable, any thread. */
extern const struct warren_plugin *const wcore_builtins[];

#endif
