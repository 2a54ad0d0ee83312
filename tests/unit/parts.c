#include "parts.h"

#include <stdlib.h>
#include <unistd.h>

#include <warren/priv.h>

#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/engine_impl.h"
#include "engine/loop.h"
#include "engine/plugin_load.h"

static const struct warren_topic topics[] = {
	{ .name = "sticky", .flags = WARREN_STICKY }, { .name = "plain" },
};
static const struct warren_metric metrics[] = {
	{ .name = "bytes", .kind = WARREN_COUNTER, .unit = "bytes", .brief = "A \\ and\nmore." },
	{ .name = "queue-depth", .kind = WARREN_GAUGE, .unit = "1", .label = "ring",
	  .brief = "Filled places." },
};
static const struct wcore_plugin plugin = {
	.desc = { .name = "parts", .topics = WARREN_TABLE(topics),
		  .metrics = WARREN_TABLE(metrics), .privops = WARREN_PRIVOP(SOCKET) },
};

struct wcore_engine *parts_engine(int state_dir)
{
	struct wcore_engine_options options = { .state_dir = state_dir, .state_shown = "state" };
	struct wcore_engine *engine = wcore_engine_new(&options, NULL);

	if (!engine)
		abort();
	return engine;
}

struct warren_ctx *parts_ctx(struct wcore_engine *engine, struct wcore_lane *lane)
{
	struct warren_ctx *ctx = wcore_engine_ctx_new(engine, lane, &plugin);

	if (!ctx)
		abort();
	ctx->phase = WCORE_PHASE_UP;
	return ctx;
}

bool parts_until(struct wcore_engine *engine, const volatile bool *flag)
{
	uint64_t until = wcore_clock_stopwatch() + 5000000;

	while (!*flag && wcore_clock_stopwatch() < until) {
		wcore_lane_turn(wcore_engine_main(engine), false);
		usleep(200);
	}
	return *flag;
}

void parts_settle(struct wcore_engine *engine)
{
	for (int i = 0; i < 5; i++)
		wcore_lane_turn(wcore_engine_main(engine), false);
}

void parts_jobs(struct wcore_engine *engine, struct warren_ctx *ctx)
{
	uint64_t until = wcore_clock_stopwatch() + 5000000;

	while (ctx->jobs > 0 && wcore_clock_stopwatch() < until) {
		wcore_lane_turn(wcore_engine_main(engine), false);
		usleep(200);
	}
}
