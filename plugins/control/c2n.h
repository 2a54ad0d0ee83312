/*
 * c2n.h - requests of the server to this node (control-protocol.md 4.6): HTTP in, HTTP out
 *
 * A short list of paths that only read; all else is refused in the stock client's words.
 */
#ifndef CTL_C2N_H
#define CTL_C2N_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { CTL_C2N_MAX = 64 << 10 };	/* bytes of a request */

struct ctl_c2n_facts {			/* JSON objects */
	const char *prefs;		/* as /debug/prefs gives them */
	const char *health;		/* /debug/health */
};
/*
 * Appends the answer, a whole HTTP/1.1 response, to @out. Any bytes; a request that is none gets
 * 400. -ENOMEM.
 */
int ctl_c2n(const struct ctl_c2n_facts *facts, const uint8_t *request, size_t len,
	    struct str *out);

#endif
