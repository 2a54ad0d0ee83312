/*
 * What operators see: `warren status` and the checks of `warren doctor`.
 */
#ifndef WG_STATUS_H
#define WG_STATUS_H

#include <warren/plugin.h>

/* Rows of the descriptor. */
enum { WG_CHECKS = 5 };
extern const struct warren_check wg_checks[WG_CHECKS];

void wg_status(struct warren_ctx *ctx, struct warren_reply *reply);

#endif
