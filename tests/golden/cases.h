/*
 * Golden cases of the configuration: NAME.yaml in a folder is read (then the files in NAME.d, then
 * NAME.overlay, if they are there), and its normal form or its errors must equal NAME.out.
 * GOLDEN_UPDATE=1 writes the .out files anew; read the difference before you commit it.
 */
#ifndef WARREN_GOLDEN_CASES_H
#define WARREN_GOLDEN_CASES_H

#include "engine/conf.h"

struct golden {
	const char *dir;
	const struct wcore_conf_schema *schemas;
	size_t n_schemas;
	unsigned int cases, failed;	/* counted up */
};
/* Runs all cases of the folder (none, if it is not there), and tells on standard output. */
void golden_run(struct golden *g);

#endif
