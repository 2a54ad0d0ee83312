/*
 * show.h - what the operator sees: status, command, doctor
 */
#ifndef DERP_SHOW_H
#define DERP_SHOW_H

#include <warren/plugin.h>

int derp_run_status(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err);
void derp_status(struct warren_ctx *ctx, struct warren_reply *reply);
bool derp_check_home(struct warren_ctx *ctx, struct warren_check_result *result);
bool derp_check_health(struct warren_ctx *ctx, struct warren_check_result *result);

#endif
