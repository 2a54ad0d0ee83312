/*
 * The configuration files as the monitor reads them, for the client.
 */
#ifndef WARREN_ENGINE_FILES_H
#define WARREN_ENGINE_FILES_H

#include <stddef.h>

struct warren_err;
struct wcore_config;

/*
 * Parses @path and then conf.d/ *.yaml beside it, in the order of their names. NULL with sentences
 * in @err. @path itself has to be there.
 */
struct wcore_config *wcore_files_parse(const char *path, struct warren_err *err);

#endif
