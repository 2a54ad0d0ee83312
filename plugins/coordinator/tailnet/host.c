/*
 * A plugin's context as the environment of a tailnet.
 */
#include "host.h"

#include <errno.h>

#include <warren/plugin.h>

struct tailnet_host {			/* memory of the context */
	struct warren_ctx *ctx;
	struct tailnet *tn;
	struct warren_timer *timer;
	struct tailnet_env env;
	/* The one job that runs at a time; NULL: none. */
	void (*job)(void *arg), (*done)(void *arg);
	void *arg;
};

static int64_t host_wall(void *self)
{
	(void)self;
	return warren_realtime();
}

static uint64_t host_mono(void *self)
{
	(void)self;
	return warren_now();
}

static void run_job(void *arg)
{
	struct tailnet_host *host = arg;

	host->job(host->arg);
}

static void job_done(struct warren_ctx *ctx, void *arg)
{
	struct tailnet_host *host = arg;

	(void)ctx;
	host->job = NULL;
	host->done(host->arg);
}

static int host_work(void *self, void (*job)(void *arg), void (*done)(void *arg), void *arg)
{
	struct tailnet_host *host = self;
	int rc;

	if (host->job)
		return -EAGAIN;
	host->job = job;
	host->done = done;
	host->arg = arg;
	rc = warren_work(host->ctx, run_job, job_done, host);
	if (rc)
		host->job = NULL;
	return rc;
}

static void host_wake(void *self, uint64_t usec)
{
	struct tailnet_host *host = self;

	warren_timer_set(host->timer, usec);
}

static void host_log(void *self, int level, const char *text)
{
	const struct tailnet_host *host = self;

	warren_log(host->ctx, level, "%s", text);
}

static void ticked(struct warren_ctx *ctx, void *arg)
{
	const struct tailnet_host *host = arg;

	(void)ctx;
	if (host->tn)
		tailnet_tick(host->tn);
}

struct tailnet_host *tailnet_host_new(struct warren_ctx *ctx)
{
	struct tailnet_host *host = warren_zalloc(ctx, sizeof(*host));

	if (!host)
		return NULL;
	host->ctx = ctx;
	host->timer = warren_timer_new(ctx, ticked, host);
	host->env = (struct tailnet_env){
		.self = host, .wall = host_wall, .mono = host_mono, .work = host_work,
		.wake = host_wake, .log = host_log,
	};
	return host->timer ? host : NULL;
}

const struct tailnet_env *tailnet_host_env(const struct tailnet_host *host)
{
	return &host->env;
}

void tailnet_host_set(struct tailnet_host *host, struct tailnet *tn)
{
	host->tn = tn;
	if (tn)
		warren_timer_set(host->timer, 0);
	else
		warren_timer_stop(host->timer);
}
