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

#include <warren/service/netmap.h>

#include "base/str.h"

enum {
	CTL_C2N_MAX = 64 << 10,		/* bytes of a request */
	CTL_C2N_ANSWER_MAX = 8 << 20,
};

struct ctl_c2n_facts {
	const char *prefs;		/* a JSON object, as /debug/prefs gives it */
	const char *health;		/* /debug/health */
	char *(*metrics)(void *arg);	/* for free(); NULL: no memory */
	void *arg;
	const struct warren_netmap *map;	/* of a ctl_map; NULL: none */
	bool cached;			/* the map is from disk */
};
/*
 * Appends the answer, a whole HTTP/1.1 response, to @out. Any bytes; a request that is none gets
 * 400. -ENOMEM. Any thread.
 */
int ctl_c2n(const struct ctl_c2n_facts *facts, const uint8_t *request, size_t len,
	    struct str *out);

#endif
