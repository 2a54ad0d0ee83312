/*
 * options.h - the rows of the section `router:`, and what of it goes up to the control server
 */
#ifndef ROUTER_OPTIONS_H
#define ROUTER_OPTIONS_H

#include <warren/plugin.h>
#include <warren/service/netmap.h>

#include "desired.h"

enum { ROUTER_OPTIONS = 13 };
extern const struct warren_option router_options[ROUTER_OPTIONS];

int router_conf_check(const struct warren_conf *conf, struct warren_err *err);
void router_conf_read(struct router_conf *out, const struct warren_conf *conf);
/*
 * Tells @netmap, on behalf of @ctx, what this node offers to lead to and whether it takes the
 * networks behind peers. 0 or -errno with a sentence.
 */
int router_conf_tell(const struct warren_netmap_ops *netmap, void *self, struct warren_ctx *ctx,
		     const struct warren_conf *conf, struct warren_err *err);

#endif
