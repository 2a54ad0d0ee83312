/*
 * For tests of the engine's parts: an engine, and contexts that no plugin stands behind.
 */
#ifndef WARREN_TESTS_PARTS_H
#define WARREN_TESTS_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/plugin.h>

#include "engine/lane.h"

struct wcore_engine;

/* @state_dir as in struct wcore_engine_options. Aborts when there is none. */
struct wcore_engine *parts_engine(int state_dir);
/* A context that is up, of a plugin that may publish "sticky" and "plain". */
struct warren_ctx *parts_ctx(struct wcore_engine *engine, struct wcore_lane *lane);
/* Turns main until *@flag, 5 s at most. */
bool parts_until(struct wcore_engine *engine, const volatile bool *flag);
/* Turns main until the jobs of @ctx have ended, 5 s at most: before wcore_ctx_close(). */
void parts_jobs(struct wcore_engine *engine, struct warren_ctx *ctx);
/* Some turns: enough for errands that cause errands. */
void parts_settle(struct wcore_engine *engine);

#endif
