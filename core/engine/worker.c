/*
 * Workers: the threads of the packet path. The core starts and joins them and lends each a reader
 * of the epochs; what they do is the plugin's.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <warren/packet.h>

#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/epoch.h"
#include "engine/thread.h"

struct worker_state;

struct warren_worker {			/* owned by its context */
	struct worker_state *state;
};

struct worker_state {			/* on cache lines of its own: its thread writes here */
	struct wcore_reader reader;
	struct warren_worker *handle;
	pthread_t thread;
	atomic_bool stopping;
	void (*run)(struct warren_worker *worker, void *arg);
	void (*wake)(void *arg);
	void *arg;
};

static void *worker_thread(void *arg)
{
	struct worker_state *state = arg;

	wcore_reader_online(&state->reader);
	state->run(state->handle, state->arg);
	wcore_reader_offline(&state->reader);
	return NULL;
}

static void worker_end(void *obj)
{
	struct warren_worker *worker = obj;
	struct worker_state *state = worker->state;

	if (!state)
		return;
	atomic_store(&state->stopping, true);
	if (state->wake)
		state->wake(state->arg);
	pthread_join(state->thread, NULL);
	wcore_reader_remove(&state->reader);
	free(state);
	worker->state = NULL;
}

static const struct wcore_kind worker_kind = {
	.name = "worker", .end = worker_end, .early = true,
};

struct warren_worker *warren_worker_start(struct warren_ctx *ctx, const char *name,
					  void (*run)(struct warren_worker *worker, void *arg),
					  void (*wake)(void *arg), void *arg,
					  struct warren_err *err)
{
	struct warren_worker *worker;
	struct worker_state *state;
	int rc;

	wcore_ctx_assert_open(ctx, "warren_worker_start");
	worker = wcore_own_new(ctx, &worker_kind, sizeof(*worker));
	state = aligned_alloc(_Alignof(struct worker_state), sizeof(*state));
	if (!worker || !state) {
		free(state);
		warren_release(worker);
		warren_fail(err, NULL, "no memory for worker `%s`", name);
		return NULL;
	}
	memset(state, 0, sizeof(*state));
	state->handle = worker;
	state->run = run;
	state->wake = wake;
	state->arg = arg;
	worker->state = state;
	wcore_reader_add(wcore_engine_epochs(ctx->engine), &state->reader);
	rc = wcore_thread_start(&state->thread, name, WCORE_THREAD_STACK, worker_thread, state);
	if (!rc)
		return worker;
	wcore_reader_remove(&state->reader);
	free(state);
	worker->state = NULL;
	warren_release(worker);
	warren_fail(err, NULL, "cannot start worker `%s`: %s", name, strerror(-rc));
	return NULL;
}

bool warren_worker_stopping(const struct warren_worker *worker)
{
	return atomic_load_explicit(&worker->state->stopping, memory_order_relaxed);
}

void warren_worker_turn(struct warren_worker *worker)
{
	wcore_reader_turn(&worker->state->reader);
}

void warren_worker_offline(struct warren_worker *worker)
{
	wcore_reader_offline(&worker->state->reader);
}

void warren_worker_online(struct warren_worker *worker)
{
	wcore_reader_online(&worker->state->reader);
}

void warren_worker_join(struct warren_worker *worker)
{
	warren_release(worker);
}
