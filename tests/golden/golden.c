/*
 * The golden cases of the core: every type, every error, against the test schema.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"
#include "cases.h"
#include "schema.h"

int main(void)
{
	const char *top = getenv("WARREN_SRCDIR");
	struct str dir = STR_INIT;
	struct golden g = { 0 };

	str_addf(&dir, "%s/tests/golden/conf", top ? top : ".");
	g.dir = str_text(&dir);
	g.schemas = golden_schemas(&g.n_schemas);
	golden_run(&g);
	printf("%s: %u cases, %u failed\n", g.dir, g.cases, g.failed);
	str_free(&dir);
	return g.cases == 0 || g.failed ? 1 : 0;
}
