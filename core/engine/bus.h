/*
 * The bus: topics, their last objects and their subscribers; behind warren_subscribe() and
 * warren_publish_take(). One mutex; delivery is by errands to the subscribers' lanes.
 */
#ifndef WARREN_ENGINE_BUS_H
#define WARREN_ENGINE_BUS_H

struct warren_ctx;
struct wcore_bus;

struct wcore_bus *wcore_bus_new(void);
void wcore_bus_free(struct wcore_bus *bus);	/* all contexts are closed; NULL is allowed */
/* Lane of @ctx, when it closes: its subscriptions and the sticky objects that it published go. */
void wcore_bus_forget(struct wcore_bus *bus, struct warren_ctx *ctx);

#endif
