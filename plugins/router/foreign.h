/*
 * Whose routes and rules are in our places: another VPN's, or nobody's.
 */
#ifndef ROUTER_FOREIGN_H
#define ROUTER_FOREIGN_H

#include <warren/plugin.h>

#include "desired.h"

struct router_foreign {
	uint32_t rules, routes;		/* how many there are */
	uint32_t pref;			/* of the first rule */
	bool stock;			/* it looks like the stock client's */
};

/* Looks into the rules and the table that @conf names. 0 or -errno with a sentence in @err. */
int router_foreign_look(const struct router_conf *conf, struct router_foreign *out,
			struct warren_err *err);
/* One sentence on what is there and which options move us. */
void router_foreign_text(const struct router_foreign *foreign, const struct router_conf *conf,
			 char *out, size_t size);

#endif
