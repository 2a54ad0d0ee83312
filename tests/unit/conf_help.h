/*
 * Configurations from text for the tests of the configuration; sections of tests/golden/schema.c.
 */
#ifndef WARREN_TESTS_CONF_HELP_H
#define WARREN_TESTS_CONF_HELP_H

#include "engine/conf.h"

/* The content of a secret's file, given through a pipe. */
struct help_secret {
	const char *path;
	const void *bytes;
	size_t len;
};
/* A wcore_secret_fn over a list of these that ends with a NULL path. */
int help_open_secret(const struct wcore_secret_ask *ask, void *secrets);
/* Binds @text as "t.yaml"; the test fails, with the errors printed, when that does. */
struct wcore_config *help_config(const char *text, const struct help_secret *secrets);
/* Binds text that must be refused with exactly these lines. */
void help_refuse(const char *text, const char *expected);
/* The same, with tables of the test's own. */
void help_refuse_schema(const char *text, const struct wcore_conf_schema *schemas, size_t count,
			const char *expected);

#endif
