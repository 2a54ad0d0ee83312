/* Fuzz target: any bytes as a wg-quick file; what is accepted is rendered too. */
#include <stdio.h>
#include <stdlib.h>

#include "../wgconf.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct warren_err err = ERR_INIT;
	struct wg_conf *conf = wg_conf_parse("fuzz.conf", (const char *)data, size, &err);
	char *text = NULL;
	size_t len = 0;
	FILE *out;

	if (!conf != err_any(&err))
		abort();
	err_free(&err);
	out = conf ? open_memstream(&text, &len) : NULL;
	if (out) {
		if (wg_conf_render(conf, "fuzz.conf", out) != 0 || fclose(out) != 0)
			abort();
		for (size_t i = 0; i < len; i++) {
			if (text[i] != '\n' && (text[i] < ' ' || text[i] > '~'))
				abort();
		}
		free(text);
	}
	wg_conf_free(conf);
	return 0;
}
