/*
 * Fuzz target: a configuration file, from bytes to values. What is accepted is printed, read again
 * and compared: the normal form must be accepted too and mean the same. A second file, after a line
 * "---8<---", is laid over the first as the overlay is.
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "engine/conf.h"
#include "schema.h"

static const char scissors[] = "---8<---\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int no_secret(const struct wcore_secret_ask *ask, void *arg)
{
	(void)arg;
	/* The path must lead somewhere in any case: the monitor looks it up. */
	return strlen(ask->path) > 0 ? -2 : -1;
}

static struct wcore_config *read_config(const struct wcore_conf_source *sources, size_t count)
{
	struct warren_err err = ERR_INIT;
	struct wcore_config *cfg = wcore_config_parse(sources, count, &err);
	struct str errors = STR_INIT;
	size_t n_schemas;
	const struct wcore_conf_schema *schemas = golden_schemas(&n_schemas);

	if (cfg && wcore_config_bind(cfg, schemas, n_schemas, WCORE_BIND_CHECK, no_secret, NULL,
				     &err) < 0) {
		wcore_config_unref(cfg);
		cfg = NULL;
	}
	/* A refusal without a sentence would leave the operator alone. */
	if (!cfg && !err_any(&err))
		abort();
	err_print(&err, &errors);
	str_free(&errors);
	err_free(&err);
	return cfg;
}

static void check_again(const struct wcore_config *cfg, uint32_t flags)
{
	struct str text = STR_INIT;
	struct wcore_conf_source source = { .name = "printed" };
	struct wcore_config *again;

	wcore_config_print(cfg, flags, &text);
	source.bytes = str_text(&text);
	source.len = text.len;
	again = read_config(&source, 1);
	if (!again || wcore_config_diff(cfg, again, NULL, NULL) != 0)
		abort();
	wcore_config_unref(again);
	str_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *cut = memmem(data, size, scissors, sizeof(scissors) - 1);
	size_t first = cut ? (size_t)(cut - data) : size;
	const struct wcore_conf_source sources[] = {
		{ .name = "a.yaml", .bytes = data, .len = first },
		{ .name = "overlay", .bytes = cut ? cut + sizeof(scissors) - 1 : data,
		  .len = cut ? size - first - (sizeof(scissors) - 1) : 0,
		  .flags = WCORE_SOURCE_OVERLAY },
	};
	struct wcore_config *cfg = read_config(sources, cut ? 2 : 1);

	if (!cfg)
		return 0;
	check_again(cfg, 0);
	check_again(cfg, WCORE_PRINT_JSON);
	check_again(cfg, WCORE_PRINT_DEFAULTS);
	wcore_config_unref(cfg);
	return 0;
}
