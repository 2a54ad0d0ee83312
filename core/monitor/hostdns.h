/*
 * monitor/hostdns.h - running warren-hostdns (helpers/hostdns.h)
 */
#ifndef WARREN_MONITOR_HOSTDNS_H
#define WARREN_MONITOR_HOSTDNS_H

#include <stddef.h>

#include "base/str.h"

struct mon;

struct mon_hostdns {
	const char *verb, *who;		/* who: NULL with "read" */
	const char *link;		/* our interface, or NULL */
	const char *in;			/* or NULL */
	size_t len;
};
/*
 * Waits for the end of it: in a child where that can be (job.h). What it says is in @out: the
 * answer, or a sentence after a failure (-errno; -EREMOTEIO: the sentence is its own).
 */
int mon_hostdns(const struct mon *mon, const struct mon_hostdns *how, struct str *out);

#endif
