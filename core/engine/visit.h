/*
 * An answer that several plugins write, each on its own lane.
 */
#ifndef WARREN_ENGINE_VISIT_H
#define WARREN_ENGINE_VISIT_H

#include <stdbool.h>

struct warren_ctx;
struct warren_err;
struct warren_reply;
struct wcore_engine;
struct wcore_instance;

struct wcore_visit {
	const char *what;		/* for the log, if it is slow */
	bool heading;			/* over each plugin's lines */
	/* Whether to visit a plugin that is up. Main lane. */
	bool (*wanted)(const struct wcore_instance *p, void *arg);
	/* Writes the plugin's part. On the plugin's lane, which @arg is shared with. */
	void (*run)(struct warren_ctx *ctx, struct warren_reply *reply, void *arg);
	/* Ends @reply and frees @arg. Main lane. */
	void (*done)(struct warren_reply *reply, void *arg);
	/* Instead of `done`, if the engine ends: frees @arg. May be NULL. Any thread. */
	void (*drop)(void *arg);
};

/*
 * Visits the plugins in start order, one after the other: each writes an object under its own name
 * (wcore_reply_enter). Returns WARREN_PENDING, even if all of it has happened inside the call; or
 * -ENOMEM with a sentence: then `done` is not called. @visit lives forever, @arg until `done`.
 */
int wcore_visit_start(struct wcore_engine *engine, const struct wcore_visit *visit, void *arg,
		      struct warren_reply *reply, struct warren_err *err);

#endif
