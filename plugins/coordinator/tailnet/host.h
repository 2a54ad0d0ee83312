/*
 * tailnet/host.h - a plugin's context as the environment of a tailnet
 */
#ifndef WARREN_COORDINATOR_HOST_H
#define WARREN_COORDINATOR_HOST_H

#include "tailnet.h"

struct warren_ctx;
struct tailnet_host;

/*
 * Lane of @ctx. The clock is warren_realtime() and warren_now(), jobs go to warren_work(). The
 * tailnet is told to the host after it was opened, and is taken away (NULL) before it is freed.
 */
struct tailnet_host *tailnet_host_new(struct warren_ctx *ctx);
const struct tailnet_env *tailnet_host_env(const struct tailnet_host *host);
void tailnet_host_set(struct tailnet_host *host, struct tailnet *tn);

#endif
