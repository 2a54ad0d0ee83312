/*
 * monitor/hostdns.h - running warren-hostdns (helpers/hostdns.h)
 */
#ifndef WARREN_MONITOR_HOSTDNS_H
#define WARREN_MONITOR_HOSTDNS_H

#include <stddef.h>

#include "base/str.h"

struct mon;

/*
 * Waits for the end of it: in a child where that can be (job.h). @who: "resolvconf"; NULL with
 * @verb "read". @in may be NULL. What it says is in @out: the answer, or a sentence after a failure
 * (-errno).
 */
int mon_hostdns(const struct mon *mon, const char *verb, const char *who, const char *in,
		size_t len, struct str *out);

#endif
