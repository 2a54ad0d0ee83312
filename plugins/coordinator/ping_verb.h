/*
 * warren node ping, for the table of commands.
 */
#ifndef WARREN_COORDINATOR_PING_VERB_H
#define WARREN_COORDINATOR_PING_VERB_H

#include <warren/plugin.h>

enum { PING_ARGS = 3 };
extern const struct warren_option ping_args[PING_ARGS];
int ping_run(struct warren_ctx *ctx, const struct warren_conf *args, struct warren_reply *reply,
	     struct warren_err *err);

#endif
