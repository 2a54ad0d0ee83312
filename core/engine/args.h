/*
 * The words behind a command: options and operands.
 *
 *	-f  --name VALUE  --name=VALUE  --flag  --no-flag  --  operand ...
 *
 * Every command also has --json and --help (-h).
 */
#ifndef WARREN_ENGINE_ARGS_H
#define WARREN_ENGINE_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/conf.h"

enum { WCORE_ARGS_LAST = 4 };		/* positional rows behind one with MANY */

struct wcore_arg {
	struct wcore_conf_pair pair;
	uint32_t type;
	size_t word, skip;		/* where the value stands: word of argv, first byte of it */
};

struct wcore_args {
	struct wcore_arg *v;
	size_t count;
	uint32_t surplus;		/* operands that no row takes: each is an error */
	bool json, help;
};

/*
 * Reads @argv from word @from on. Keys and values are borrowed from @rows and @argv. 0 or -errno
 * with sentences in @err; wcore_args_free() in any case. With --help nothing else is judged.
 */
int wcore_args_parse(struct wcore_args *args, const struct warren_table *rows,
		     const char *const *argv, size_t from, size_t argc, struct warren_err *err);
void wcore_args_free(struct wcore_args *args);

/* The values, as the section @what; NULL with sentences in @err. */
struct wcore_config *wcore_args_build(const struct wcore_args *args, const char *what,
				      const struct warren_table *rows, struct warren_err *err);

#endif
