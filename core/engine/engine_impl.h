/*
 * The engine's insides, shared by engine.c (what it consists of), lifecycle.c (one step with one
 * plugin), sequence.c (steps one after the other, undone when one fails) and reload.c (which steps
 * lead from one configuration to another).
 */
#ifndef WARREN_ENGINE_ENGINE_IMPL_H
#define WARREN_ENGINE_ENGINE_IMPL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

#include "base/str.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/plan.h"
#include "engine/timer.h"

enum { WCORE_LANES = 16 };

enum wcore_step_kind { WCORE_STEP_STOP = 1, WCORE_STEP_START, WCORE_STEP_RELOAD };

struct wcore_step {
	enum wcore_step_kind kind;
	struct wcore_instance *instance;
	/* START: the values to start with. RELOAD: those to change to. One reference to config. */
	const struct warren_conf *conf;
	struct wcore_config *config;
};

/* Where the running step is. */
enum wcore_wait {
	WCORE_WAIT_NONE = 0,
	WCORE_WAIT_CALL,		/* the lane is to run start, reload, stop or close */
	WCORE_WAIT_ANSWER,		/* warren_started() or warren_stopped() */
	WCORE_WAIT_LOST,		/* soft dependents are to return from `lost` */
	WCORE_WAIT_JOBS,		/* jobs are to end */
	WCORE_WAIT_CLOSE,
};

struct wcore_order;
struct wcore_sequence;

typedef int wcore_plan_fn(struct wcore_engine *engine, struct wcore_sequence *seq,
			  struct warren_err *err);

struct wcore_sequence {
	struct wcore_sequence *next;
	/* What it is for, to be decided when it begins; both take the sequence. */
	wcore_plan_fn *plan;
	struct wcore_config *config;	/* apply: the new one */
	char *name;			/* restart, fatal: the plugin */
	char *reason;			/* fatal: why */
	wcore_engine_fn *done;
	void *arg;

	struct wcore_step *steps;
	size_t count, at, capacity;
	struct wcore_step *undo;	/* in the order of what was done */
	size_t n_undo;
	bool undoing;
	int result;
	struct str text;		/* for the operator */
	/* apply: the instances of the new configuration, in order; in force if all goes well */
	struct wcore_order *order;
	size_t n_order;
};

struct wcore_order {
	struct wcore_instance *instance;
	const char *implied_by;
};

struct wcore_engine {
	struct wcore_engine_options opts;
	struct wcore_lane *main;
	struct wcore_lane *lanes[WCORE_LANES];	/* beside main */
	size_t n_lanes;
	struct warren_ctx *core;
	struct warren_ctx *contexts;	/* all that ever were */
	struct wcore_bus *bus;
	struct wcore_services *services;
	struct wcore_stats *stats;
	struct wcore_epochs *epochs;
	struct wcore_pool *pool, *lookups;
	struct wcore_state *state;
	struct wcore_priv *priv;
	wcore_owner_end_fn *owner_end;

	struct wcore_config *config;	/* in force */
	struct wcore_instance *instances;	/* in start order */
	struct wcore_sequence *queue;	/* the first one runs */
	bool begun;			/* the first one has its steps */
	uint32_t next_id;
	bool abandoned;			/* something still runs that could not be stopped */

	/* the running step; lifecycle.c */
	enum wcore_wait wait;
	struct warren_ctx *step_ctx;
	uint32_t step_serial;		/* answers to earlier steps are ignored */
	int step_result;		/* STOP after a failed start: how the step will end */
	char *step_why;
	uint32_t losing;		/* `lost` calls under way */
	bool forced;			/* the first deadline has passed */
	struct wcore_tick deadline;
};

/* lifecycle.c: begins a step; wcore_sequence_step_done() is called at its end, perhaps inside. */
void wcore_step_begin(struct wcore_engine *engine, const struct wcore_step *step);
int wcore_step_init(struct wcore_engine *engine);
void wcore_step_fini(struct wcore_engine *engine);
void wcore_instance_state(struct wcore_instance *instance, enum wcore_plugin_state state);
/* Sets the sentence that says why it failed; NULL: none. */
void wcore_instance_reason(struct wcore_instance *instance, const char *reason);

/*
 * soft.c. @instance has come up: binds soft needs, its own and those of others, to what is there.
 * Errands; nobody waits for them.
 */
void wcore_soft_bind(struct wcore_engine *engine, const struct wcore_instance *instance);
/*
 * @instance is about to go: calls `lost` of each soft dependent on its lane, and @each on main
 * after each of them returned. Returns how many there are.
 */
uint32_t wcore_soft_release(struct wcore_engine *engine, const struct wcore_instance *instance,
			    void (*each)(struct wcore_engine *engine, uint32_t serial));

/* sequence.c */
struct wcore_sequence *wcore_sequence_new(wcore_plan_fn *plan, wcore_engine_fn *done, void *arg);
void wcore_sequence_free(struct wcore_sequence *seq);	/* NULL is allowed */
/* Queues it; it begins at once if nothing runs. Takes @seq. */
void wcore_sequence_run_take(struct wcore_engine *engine, struct wcore_sequence *seq);
void wcore_sequence_step_done(struct wcore_engine *engine, int result, const char *why);
/* Adds a step at the end; takes a reference to @config of its own. 0 or -ENOMEM. */
int wcore_sequence_add(struct wcore_sequence *seq, enum wcore_step_kind kind,
		       struct wcore_instance *instance, const struct warren_conf *conf,
		       struct wcore_config *config);
/* Adds the stops of @marked instances, the last started first. */
int wcore_sequence_add_stops(struct wcore_engine *engine, struct wcore_sequence *seq,
			     bool (*marked)(const struct wcore_instance *, void *), void *arg);

/* engine.c */
struct wcore_lane *wcore_engine_lane(struct wcore_engine *engine, const char *name,
				     struct warren_err *err);
struct wcore_instance *wcore_engine_find(const struct wcore_engine *engine, const char *name);
struct warren_ctx *wcore_engine_ctx_new(struct wcore_engine *engine, struct wcore_lane *lane,
					const struct wcore_plugin *plugin);
void wcore_instance_free(struct wcore_instance *instance);
/* `warren_fatal`: stops @instance and its hard dependents for good. */
void wcore_engine_give_up(struct wcore_engine *engine, struct wcore_instance *instance,
			  const char *why);
void wcore_engine_add(struct wcore_engine *engine, struct wcore_instance *instance);
/* Switches to the instances and configuration of a sequence that succeeded. */
void wcore_engine_commit(struct wcore_engine *engine, struct wcore_sequence *seq);
/* Forgets the instances that were made for a configuration that did not come into force. */
void wcore_engine_drop_fresh(struct wcore_engine *engine);

#endif
