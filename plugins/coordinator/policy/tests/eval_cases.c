/*
 * Cases in, one per line; what we make of them out, one per line.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

#include "../world.h"

int main(void)
{
	char *line = NULL, *text;
	size_t size = 0;
	ssize_t len;

	while ((len = getline(&line, &size, stdin)) > 0) {
		struct warren_err err = ERR_INIT;
		json_t *one = json_loadb(line, (size_t)len, 0, NULL);
		json_t *out = policy_eval(one, &err);

		if (!out)
			fprintf(stderr, "%s\n", err_first(&err));
		text = out ? json_dumps(out, JSON_COMPACT) : NULL;
		puts(text ? text : "null");
		free(text);
		json_decref(out);
		json_decref(one);
		err_free(&err);
	}
	free(line);
	return 0;
}
