/*
 * Configurations from text for the tests of the configuration.
 */
#include "conf_help.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "schema.h"

int help_open_secret(const struct wcore_secret_ask *ask, void *arg)
{
	const struct help_secret *secret = arg;
	int fds[2];

	while (secret && secret->path && strcmp(secret->path, ask->value) != 0)
		secret++;
	if (!secret || !secret->path)
		return -ENOENT;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], secret->bytes, secret->len), (ssize_t)secret->len);
	close(fds[1]);
	return fds[0];
}

static struct wcore_config *read_text(const char *text, const struct wcore_conf_schema *schemas,
				      size_t count, const struct help_secret *secrets,
				      struct str *errors)
{
	const struct wcore_conf_source source = {
		.name = "t.yaml", .bytes = text, .len = strlen(text),
	};
	struct warren_err err = ERR_INIT;
	struct wcore_config *cfg = wcore_config_parse(&source, 1, &err);

	if (cfg && wcore_config_bind(cfg, schemas, count, 0, help_open_secret, (void *)secrets,
				     &err) < 0) {
		wcore_config_unref(cfg);
		cfg = NULL;
	}
	err_print(&err, errors);
	err_free(&err);
	return cfg;
}

struct wcore_config *help_config(const char *text, const struct help_secret *secrets)
{
	struct str errors = STR_INIT;
	struct wcore_config *cfg;
	size_t count;
	const struct wcore_conf_schema *schemas = golden_schemas(&count);

	cfg = read_text(text, schemas, count, secrets, &errors);
	if (!cfg)
		print_message("%s", str_text(&errors));
	str_free(&errors);
	assert_non_null(cfg);
	return cfg;
}

void help_refuse_schema(const char *text, const struct wcore_conf_schema *schemas, size_t count,
			const char *expected)
{
	struct str errors = STR_INIT;

	assert_null(read_text(text, schemas, count, NULL, &errors));
	assert_string_equal(str_text(&errors), expected);
	str_free(&errors);
}

void help_refuse(const char *text, const char *expected)
{
	size_t count;
	const struct wcore_conf_schema *schemas = golden_schemas(&count);

	help_refuse_schema(text, schemas, count, expected);
}
