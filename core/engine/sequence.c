/*
 * Sequences: steps one after the other. Each step that succeeds leaves its opposite on the undo
 * list; when one fails, the list is walked backwards, and what ran before runs again. Errors while
 * undoing leave that plugin failed and go on: nothing better is left to do.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/err.h"
#include "engine/ctx.h"
#include "engine/engine_impl.h"
#include "engine/log.h"
#include "engine/priv_client.h"

struct wcore_sequence *wcore_sequence_new(wcore_plan_fn *plan, wcore_engine_fn *done, void *arg)
{
	struct wcore_sequence *seq = calloc(1, sizeof(*seq));

	if (!seq)
		return NULL;
	seq->plan = plan;
	seq->done = done;
	seq->arg = arg;
	return seq;
}

static void steps_free(struct wcore_step *steps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		wcore_config_unref(steps[i].config);
	free(steps);
}

void wcore_sequence_free(struct wcore_sequence *seq)
{
	if (!seq)
		return;
	free(seq->order);
	steps_free(seq->steps, seq->count);
	steps_free(seq->undo, seq->n_undo);
	wcore_config_unref(seq->config);
	free(seq->name);
	free(seq->reason);
	str_free(&seq->text);
	free(seq);
}

int wcore_sequence_add(struct wcore_sequence *seq, enum wcore_step_kind kind,
		       struct wcore_instance *instance, const struct warren_conf *conf,
		       struct wcore_config *config)
{
	struct wcore_step *steps;
	size_t capacity;

	if (seq->count == seq->capacity) {
		capacity = seq->capacity ? 2 * seq->capacity : 16;
		steps = reallocarray(seq->steps, capacity, sizeof(*steps));
		if (!steps)
			return -ENOMEM;
		seq->steps = steps;
		seq->capacity = capacity;
	}
	seq->steps[seq->count++] = (struct wcore_step){
		.kind = kind, .instance = instance, .conf = conf,
		.config = config ? wcore_config_ref(config) : NULL,
	};
	return 0;
}

int wcore_sequence_add_stops(struct wcore_engine *engine, struct wcore_sequence *seq,
			     bool (*marked)(const struct wcore_instance *, void *), void *arg)
{
	size_t first = seq->count, last;
	struct wcore_step swap;
	int rc;

	for (struct wcore_instance *i = engine->instances; i; i = i->next) {
		if (!i->ctx || !marked(i, arg))
			continue;
		rc = wcore_sequence_add(seq, WCORE_STEP_STOP, i, NULL, NULL);
		if (rc)
			return rc;
	}
	for (last = seq->count; last > first + 1; first++, last--) {
		swap = seq->steps[first];
		seq->steps[first] = seq->steps[last - 1];
		seq->steps[last - 1] = swap;
	}
	return 0;
}

/*
 * ---- Running ----
 */

static void sequence_begin(struct wcore_engine *engine);

static void sequence_finish(struct wcore_engine *engine)
{
	struct wcore_sequence *seq = engine->queue;

	if (!seq->result)
		wcore_engine_commit(engine, seq);
	else
		wcore_engine_drop_fresh(engine);
	engine->queue = seq->next;
	engine->begun = false;
	if (seq->done)
		seq->done(engine, seq->result, str_text(&seq->text), seq->arg);
	wcore_sequence_free(seq);
	sequence_begin(engine);
}

static void sequence_next(struct wcore_engine *engine)
{
	struct wcore_sequence *seq = engine->queue;

	if (seq->at < seq->count)
		wcore_step_begin(engine, &seq->steps[seq->at]);
	else
		sequence_finish(engine);
}

/* The steps of all that was done, turned around. */
static void turn_back(struct wcore_sequence *seq)
{
	struct wcore_step *steps = seq->undo, swap;
	size_t n = seq->n_undo;

	for (size_t i = 0; i < n / 2; i++) {
		swap = steps[i];
		steps[i] = steps[n - 1 - i];
		steps[n - 1 - i] = swap;
	}
	steps_free(seq->steps, seq->count);
	seq->steps = steps;
	seq->count = seq->capacity = n;
	seq->at = 0;
	seq->undo = NULL;
	seq->n_undo = 0;
	seq->undoing = true;
}

static void fail(struct wcore_engine *engine, struct wcore_sequence *seq, int result,
		 const char *why)
{
	/* What runs again has the key paths of the files that it was made from. */
	if (engine->priv)
		wcore_priv_use(engine->priv, wcore_config_generation(engine->config));
	seq->result = result;
	str_cut(&seq->text, 0);
	str_add(&seq->text, why);
	turn_back(seq);
	sequence_next(engine);
}

static void sequence_begin(struct wcore_engine *engine)
{
	struct wcore_sequence *seq;
	struct warren_err err = ERR_INIT;
	struct str text = STR_INIT;
	int rc;

	if (engine->begun || !(seq = engine->queue))
		return;
	engine->begun = true;
	if (engine->priv)
		wcore_priv_use(engine->priv, wcore_config_generation(seq->config ? seq->config :
									   engine->config));
	rc = seq->plan(engine, seq, &err);
	/* Room for one opposite per step, so that keeping it cannot fail. */
	if (!rc && seq->count && !(seq->undo = calloc(seq->count, sizeof(*seq->undo))))
		rc = -ENOMEM;
	if (rc) {
		if (err_any(&err))
			err_print(&err, &text);
		else
			str_add(&text, strerror(-rc));
		while (text.len && text.s[text.len - 1] == '\n')
			str_cut(&text, text.len - 1);
		fail(engine, seq, rc, str_text(&text));
		str_free(&text);
	} else {
		for (uint32_t i = 0; err_nth(&err, i); i++)
			wcore_log(LOG_NOTICE, "%s", err_nth(&err, i)->text);
		sequence_next(engine);
	}
	err_free(&err);
}

void wcore_sequence_run_take(struct wcore_engine *engine, struct wcore_sequence *seq)
{
	struct wcore_sequence **at;

	for (at = &engine->queue; *at; at = &(*at)->next)
		;
	*at = seq;
	sequence_begin(engine);
}

/* Keeps the opposite of a step that was done. `old` is what the instance had before. */
static void keep_undo(struct wcore_sequence *seq, const struct wcore_step *step,
		      const struct warren_conf *old, struct wcore_config *old_config)
{
	struct wcore_step *undo = &seq->undo[seq->n_undo++];

	*undo = (struct wcore_step){ .instance = step->instance };
	switch (step->kind) {
	case WCORE_STEP_START:
		undo->kind = WCORE_STEP_STOP;
		return;
	case WCORE_STEP_STOP:
		undo->kind = WCORE_STEP_START;
		break;
	case WCORE_STEP_RELOAD:
		undo->kind = WCORE_STEP_RELOAD;
		break;
	}
	undo->conf = old;
	undo->config = old_config ? wcore_config_ref(old_config) : NULL;
}

/* From now on the instance lives on the values of the step. */
static void take_values(struct wcore_step *step)
{
	struct wcore_instance *instance = step->instance;
	struct wcore_config *old = instance->config;

	if (step->kind == WCORE_STEP_STOP)
		return;
	instance->conf = step->conf;
	instance->config = step->config;
	step->config = old;	/* lives until the sequence ends: an undo may need it */
}

void wcore_sequence_step_done(struct wcore_engine *engine, int result, const char *why)
{
	struct wcore_sequence *seq = engine->queue;
	struct wcore_step *step = &seq->steps[seq->at];

	if (!result) {
		if (!seq->undoing)
			keep_undo(seq, step, step->instance->conf, step->instance->config);
		take_values(step);
	} else if (!seq->undoing) {
		fail(engine, seq, result, why);
		return;
	} else {
		wcore_log(LOG_ERR, "going back to what ran before: %s", why);
		str_addf(&seq->text, "\n%s", why);
	}
	seq->at++;
	sequence_next(engine);
}
