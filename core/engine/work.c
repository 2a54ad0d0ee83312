/*
 * The job pool. A job that finds no idle thread starts one, up to WCORE_POOL_THREADS; a thread
 * that has had nothing to do for LINGER seconds ends. A thread that ends joins the one that ended
 * before it, and the pool's end joins the last: when the pool is gone, so is what libc keeps for
 * its threads (the resolver's sockets and addresses).
 */
#include "engine/work.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include <warren/plugin.h>

#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/thread.h"

enum { LINGER = 5 };

struct job {
	struct wcore_post post;		/* carries `done` home */
	struct job *next;
	void (*job)(void *arg);
	warren_call_fn *done;
	void (*drop)(void *arg);	/* NULL: the context waits for the job */
	void *arg;
};

struct wcore_pool {
	pthread_mutex_t mutex;
	pthread_cond_t work, gone;
	struct job *head, **tail;
	uint32_t queued, threads, idle, running;
	pthread_t ended;
	bool ending, has_ended;
	bool left, abandoned;		/* the engine is going; what runs is on its own */
};

struct wcore_pool *wcore_pool_new(void)
{
	struct wcore_pool *pool = calloc(1, sizeof(*pool));
	pthread_condattr_t attr;

	if (!pool)
		return NULL;
	pool->tail = &pool->head;
	pthread_mutex_init(&pool->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->work, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&pool->gone, NULL);
	return pool;
}

/* With the mutex held. NULL: this thread should end. */
static struct job *next_job(struct wcore_pool *pool)
{
	struct timespec until;
	struct job *job;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LINGER;
	pool->idle++;
	while (!pool->head && !pool->ending && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&pool->work, &pool->mutex, &until);
	pool->idle--;
	job = pool->head;
	if (!job)
		return NULL;
	pool->head = job->next;
	if (!pool->head)
		pool->tail = &pool->head;
	pool->queued--;
	pool->running++;
	return job;
}

static void job_drop(struct wcore_post *post)
{
	struct job *job = CONTAINER_OF(post, struct job, post);

	if (job->drop)
		job->drop(job->arg);
	free(job);
}

/* With the mutex held, so that nobody leaves the pool meanwhile. */
static void send_home(struct wcore_pool *pool, struct job *job)
{
	pool->running--;
	/* Refused is only what may last: else a context with jobs does not close. */
	if (pool->left || wcore_lane_post(job->post.ctx->lane, &job->post))
		job_drop(&job->post);
}

static void *pool_thread(void *arg)
{
	struct wcore_pool *pool = arg;
	struct job *job;
	pthread_t before;
	bool has_before;

	pthread_mutex_lock(&pool->mutex);
	while ((job = next_job(pool))) {
		pthread_mutex_unlock(&pool->mutex);
		job->job(job->arg);
		pthread_mutex_lock(&pool->mutex);
		send_home(pool, job);
	}
	if (pool->abandoned) {
		pthread_detach(pthread_self());
		pthread_mutex_unlock(&pool->mutex);
		return NULL;
	}
	before = pool->ended;
	has_before = pool->has_ended;
	pool->ended = pthread_self();
	pool->has_ended = true;
	pool->threads--;
	pthread_cond_broadcast(&pool->gone);
	pthread_mutex_unlock(&pool->mutex);
	if (has_before)
		pthread_join(before, NULL);
	return NULL;
}

static void pool_destroy(struct wcore_pool *pool)
{
	if (pool->has_ended)
		pthread_join(pool->ended, NULL);
	pthread_cond_destroy(&pool->work);
	pthread_cond_destroy(&pool->gone);
	pthread_mutex_destroy(&pool->mutex);
	free(pool);
}

void wcore_pool_free(struct wcore_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->mutex);
	pool->ending = true;
	pthread_cond_broadcast(&pool->work);
	while (pool->threads)
		pthread_cond_wait(&pool->gone, &pool->mutex);
	pthread_mutex_unlock(&pool->mutex);
	pool_destroy(pool);
}

void wcore_pool_leave(struct wcore_pool *pool)
{
	struct job *job;

	if (!pool)
		return;
	pthread_mutex_lock(&pool->mutex);
	pool->ending = pool->left = true;
	while ((job = pool->head)) {
		pool->head = job->next;
		job_drop(&job->post);
	}
	pool->tail = &pool->head;
	pool->queued = 0;
	pthread_cond_broadcast(&pool->work);
	while (pool->threads > pool->running)
		pthread_cond_wait(&pool->gone, &pool->mutex);
	pool->abandoned = pool->running > 0;
	pthread_mutex_unlock(&pool->mutex);
	if (!pool->abandoned)
		pool_destroy(pool);
	else if (pool->has_ended)
		pthread_join(pool->ended, NULL);
}

uint32_t wcore_pool_threads(struct wcore_pool *pool)
{
	uint32_t n;

	pthread_mutex_lock(&pool->mutex);
	n = pool->threads;
	pthread_mutex_unlock(&pool->mutex);
	return n;
}

/* With the mutex held: makes sure that somebody takes what was queued. */
static int call_thread(struct wcore_pool *pool)
{
	pthread_t thread;
	int rc;

	if (pool->idle >= pool->queued || pool->threads == WCORE_POOL_THREADS) {
		pthread_cond_signal(&pool->work);
		return 0;
	}
	rc = wcore_thread_start(&thread, "warren-job", WCORE_POOL_STACK, pool_thread, pool);
	if (rc)
		return pool->threads ? 0 : rc;
	pool->threads++;
	return 0;
}

static int pool_add(struct wcore_pool *pool, struct job *job)
{
	int rc = -EAGAIN;

	pthread_mutex_lock(&pool->mutex);
	if (pool->queued < WCORE_POOL_QUEUE) {
		pool->queued++;
		rc = call_thread(pool);
		if (rc) {
			pool->queued--;
		} else {
			*pool->tail = job;
			pool->tail = &job->next;
		}
	}
	pthread_mutex_unlock(&pool->mutex);
	return rc;
}

static void job_done(struct wcore_post *post)
{
	struct job job = *CONTAINER_OF(post, struct job, post);
	struct warren_ctx *ctx = post->ctx;
	uint64_t entered;

	free(CONTAINER_OF(post, struct job, post));
	entered = wcore_ctx_enter(ctx);
	if (job.done)
		job.done(ctx, job.arg);
	wcore_ctx_leave(ctx, entered, "end of a job");
	if (!job.drop && --ctx->jobs == 0 && ctx->idle)
		ctx->idle(ctx, ctx->idle_arg);
}

int wcore_pool_lasting(struct wcore_pool *pool, struct warren_ctx *ctx, void (*job_fn)(void *arg),
		       warren_call_fn *done, void (*drop)(void *arg), void *arg)
{
	struct job *job = calloc(1, sizeof(*job));
	int rc;

	if (!job)
		return -ENOMEM;
	*job = (struct job){
		.post = { .ctx = ctx, .run = job_done, .drop = job_drop },
		.job = job_fn, .done = done, .drop = drop, .arg = arg,
	};
	rc = pool_add(pool, job);
	if (rc)
		free(job);
	return rc;
}

int warren_work(struct warren_ctx *ctx, void (*job_fn)(void *arg), warren_call_fn *done, void *arg)
{
	int rc;

	wcore_ctx_assert_open(ctx, "warren_work");
	rc = wcore_pool_lasting(wcore_engine_pool(ctx->engine), ctx, job_fn, done, NULL, arg);
	if (!rc)
		ctx->jobs++;
	return rc;
}
