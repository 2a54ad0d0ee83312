/*
 * The plugin of the loader's and the lifecycle's tests, compiled once per name: the macros give it
 * a name, needs and offers, and one thing that is wrong with it. What it does is told by its
 * section; what happens to it, it tells the log, where the test reads it.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <warren/packet.h>
#include <warren/plugin.h>

#ifndef FIXTURE_MINOR
#define FIXTURE_MINOR WARREN_ABI_MINOR
#endif
#ifndef FIXTURE_MAJOR
#define FIXTURE_MAJOR WARREN_ABI_MAJOR
#endif
#ifndef FIXTURE_MAGIC
#define FIXTURE_MAGIC WARREN_ABI_MAGIC
#endif
#ifndef FIXTURE_SIZE
#define FIXTURE_SIZE sizeof(struct warren_plugin)
#endif
#ifndef FIXTURE_FLAGS
#define FIXTURE_FLAGS WARREN_PLUGIN_LANE
#endif

enum { OK = 0, FAIL, PENDING, PENDING_FAIL, INSIDE, SILENT, FATAL, NO_OFFER, HANG };
static const char *const behaviours[] = { "ok", "fail", "pending", "pending-fail", "inside",
					  "silent", "fatal", "no-offer", "hang", NULL };

static int value_check(const struct warren_conf *at, struct warren_err *err)
{
	if (warren_conf_int(at, NULL) != 13)
		return 0;
	return warren_fail(err, at, "13 is an unlucky number; take another one");
}

#ifdef FIXTURE_LONG_ROWS
/* As a newer header would have them. */
struct row {
	struct warren_option option;
	uint64_t younger[3];
};
#define OPTION(...) { .option = { __VA_ARGS__ }, .younger = { 1, 2, 3 } }
#else
#define row warren_option
#define OPTION(...) { __VA_ARGS__ }
#endif

static const struct row options[] = {
	OPTION(.key = "start", .type = WARREN_ENUM, .def = "ok", .values = behaviours,
	       .flags = WARREN_RESTART, .brief = "How it starts."),
	OPTION(.key = "stop", .type = WARREN_ENUM, .def = "ok", .values = behaviours,
	       .brief = "How it stops."),
	OPTION(.key = "reload", .type = WARREN_ENUM, .def = "ok", .values = behaviours,
	       .brief = "How it reloads."),
	OPTION(.key = "value", .type = WARREN_INT, .def = "0", .check = value_check,
	       .brief = "Changed by a reload."),
	OPTION(.key = "restart", .type = WARREN_INT, .def = "0", .flags = WARREN_RESTART,
	       .brief = "Changed by a restart."),
	OPTION(.key = "cold", .type = WARREN_INT, .def = "0", .flags = WARREN_COLD,
	       .brief = "Never changed."),
	OPTION(.key = "leak", .type = WARREN_BOOL, .def = "false",
	       .brief = "Registers one of everything and frees nothing."),
	OPTION(.key = "slow", .type = WARREN_DURATION, .def = "0s",
	       .brief = "Holds up its lane once."),
	OPTION(.key = "secret", .type = WARREN_SECRET_REF, .brief = "Changed by its bytes."),
	OPTION(.key = "job", .type = WARREN_DURATION, .def = "0s",
	       .brief = "Starts a job of this length when it is asked to stop."),
};

static const struct warren_topic topics[] = {
	{ .name = FIXTURE_NAME, .flags = WARREN_STICKY, .brief = "Something." },
};
static const struct warren_metric metrics[] = {
	{ .name = "things", .kind = WARREN_COUNTER, .unit = "1", .label = "colour",
	  .brief = "Things seen." },
};
#ifdef FIXTURE_NEEDS
static const struct warren_port needs[] = { FIXTURE_NEEDS };
#endif
#ifdef FIXTURE_OFFERS
static const struct warren_port offers[] = { FIXTURE_OFFERS };
#endif

struct fixture {
	uint64_t slow, job;
	uint32_t start, stop, reload;
	int64_t value;
};

struct thing {
	struct warren_obj obj;
};

static void busy(uint64_t usec)
{
	struct timespec ts = { .tv_sec = (time_t)(usec / 1000000),
			       .tv_nsec = (long)(usec % 1000000) * 1000 };

	nanosleep(&ts, NULL);
}

static void thing_free(struct warren_obj *obj)
{
	free(obj);
}

static void never(struct warren_ctx *ctx, void *arg)
{
	(void)arg;
	warren_log(ctx, LOG_ERR, "a callback that should never run ran");
}

static void got_thing(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	(void)obj;
	(void)arg;
	warren_log(ctx, LOG_DEBUG, "event %s", topic);
}

static void got_io(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	(void)fd;
	(void)what;
	never(ctx, arg);
}

static void worker_run(struct warren_worker *worker, void *arg)
{
	int fd = *(int *)arg;
	uint64_t n;

	while (!warren_worker_stopping(worker)) {
		warren_worker_offline(worker);
		if (read(fd, &n, sizeof(n)) < 0)
			break;
		warren_worker_online(worker);
		warren_worker_turn(worker);
	}
}

static void worker_wake(void *arg)
{
	uint64_t one = 1;

	if (write(*(int *)arg, &one, sizeof(one)) < 0)
		abort();
}

static void ended(void *arg)
{
	warren_log(arg, LOG_INFO, "end call");
}

/* One of everything, and of some things more; nothing is kept. */
static void leak(struct warren_ctx *ctx)
{
	struct thing *thing = calloc(1, sizeof(*thing));
	int *fd = warren_zalloc(ctx, sizeof(*fd));
	struct warren_io *io;

	warren_zalloc(ctx, 100000);
	warren_timer_set(warren_timer_new(ctx, never, NULL), 3600 * UINT64_C(1000000));
	io = warren_io_new_take(ctx, eventfd(0, EFD_CLOEXEC), got_io, NULL);
	warren_io_want(io, WARREN_IN);
	warren_obj_init(&thing->obj, sizeof(*thing), thing_free);
	warren_subscribe(ctx, FIXTURE_NAME, got_thing, NULL);
	warren_publish_take(ctx, FIXTURE_NAME, thing);
	warren_stat_add(warren_stat_open(ctx, "things", "red"), 1);
	warren_stat_add(warren_stat_open(ctx, "things", "green"), 1);
	*fd = eventfd(0, EFD_CLOEXEC);
	warren_worker_start(ctx, "leak", worker_run, worker_wake, fd, NULL);
	warren_retire(ctx, malloc(1000), free);
	warren_io_new_take(ctx, dup(*fd), got_io, NULL);
	warren_on_end(ctx, ended, ctx);
	warren_release(warren_on_end(ctx, ended, ctx));
}

static void hold_up(struct warren_ctx *ctx, void *arg)
{
	struct fixture *f = arg;

	(void)ctx;
	busy(f->slow);
}

static void say_started(struct warren_ctx *ctx, void *arg)
{
	struct fixture *f = arg;

	warren_started(ctx, f->start == PENDING_FAIL ? -ECONNREFUSED : 0);
}

static void read_conf(struct fixture *f, const struct warren_conf *conf)
{
	f->start = warren_conf_enum(conf, "start");
	f->stop = warren_conf_enum(conf, "stop");
	f->reload = warren_conf_enum(conf, "reload");
	f->slow = (uint64_t)warren_conf_int(conf, "slow");
	f->job = (uint64_t)warren_conf_int(conf, "job");
	f->value = warren_conf_int(conf, "value");
}

static int offer(struct warren_ctx *ctx, struct fixture *f)
{
#ifdef FIXTURE_OFFERS
	static const uint32_t ops = sizeof(ops);

	if (f->start != NO_OFFER)
		for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++)
			if (warren_offer(ctx, offers[i].name, &ops, f))
				return -EIO;
#else
	(void)ctx;
	(void)f;
#endif
	return 0;
}

static int need(struct warren_ctx *ctx)
{
#ifdef FIXTURE_NEEDS
	const void *ops;
	void *self;

	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (!(needs[i].flags & WARREN_SOFT) &&
		    (warren_need(ctx, needs[i].name, &ops, &self) ||
		     *(const uint32_t *)ops != sizeof(uint32_t)))
			return -EIO;
#else
	(void)ctx;
#endif
	return 0;
}

static int fixture_start(struct warren_ctx *ctx, const struct warren_conf *conf,
			 struct warren_err *err)
{
	struct fixture *f = warren_zalloc(ctx, sizeof(*f));

	warren_self_set(ctx, f);
	read_conf(f, conf);
	if (need(ctx) || offer(ctx, f))
		return warren_fail(err, conf, "a service is missing");
	if (warren_conf_bool(conf, "leak"))
		leak(ctx);
	if (f->slow)
		warren_defer(ctx, hold_up, f);
	warren_log(ctx, LOG_INFO, "start %lld", (long long)f->value);
	switch (f->start) {
	case FAIL:
		return warren_fail(err, conf, "told to fail");
	case PENDING:
	case PENDING_FAIL:
		warren_timer_set(warren_timer_new(ctx, say_started, f), 1000);
		return WARREN_PENDING;
	case INSIDE:
		warren_started(ctx, 0);
		return WARREN_PENDING;
	case SILENT:
		return WARREN_PENDING;
	case HANG:
		busy(1000000);
		return 0;
	case FATAL:
		warren_fatal(ctx, "told to be fatal");
		return 0;
	}
	return 0;
}

static int fixture_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			  const struct warren_conf *now, struct warren_err *err)
{
	struct fixture *f = warren_self(ctx);

	if (warren_conf_enum(now, "reload") == FAIL)
		return warren_fail_key(err, -EBUSY, now, "reload", "told to fail");
	read_conf(f, now);
	warren_log(ctx, LOG_INFO, "reload %lld %lld", (long long)warren_conf_int(old, "value"),
		   (long long)f->value);
	if (f->reload == FATAL)
		warren_fatal(ctx, "told to be fatal");
	return 0;
}

static void job(void *arg)
{
	struct fixture *f = arg;

	busy(f->job);
}

static void job_done(struct warren_ctx *ctx, void *arg)
{
	(void)arg;
	warren_log(ctx, LOG_INFO, "job done");
}

static void say_stopped(struct warren_ctx *ctx, void *arg)
{
	(void)arg;
	warren_stopped(ctx);
}

static int fixture_stop(struct warren_ctx *ctx)
{
	struct fixture *f = warren_self(ctx);

	warren_log(ctx, LOG_INFO, "stop");
	if (f->job && warren_work(ctx, job, job_done, f))
		return -EIO;
	switch (f->stop) {
	case PENDING:
		warren_timer_set(warren_timer_new(ctx, say_stopped, f), 1000);
		return WARREN_PENDING;
	case INSIDE:
		warren_stopped(ctx);
		return WARREN_PENDING;
	case SILENT:
		return WARREN_PENDING;
	}
	return 0;
}

static void fixture_fini(struct warren_ctx *ctx)
{
	warren_log(ctx, LOG_INFO, "fini");
}

static void fixture_found(struct warren_ctx *ctx, const char *service, const void *ops, void *self)
{
	(void)self;
	warren_log(ctx, LOG_INFO, "found %s %u", service, *(const uint32_t *)ops);
}

static void fixture_lost(struct warren_ctx *ctx, const char *service)
{
	warren_log(ctx, LOG_INFO, "lost %s", service);
}

__attribute__((visibility("default"))) extern const struct warren_plugin warren_plugin_entry;
const struct warren_plugin warren_plugin_entry = {
	.magic = FIXTURE_MAGIC, .abi_major = FIXTURE_MAJOR, .abi_minor = FIXTURE_MINOR,
	.size = FIXTURE_SIZE, .flags = FIXTURE_FLAGS, .name = FIXTURE_NAME, .version = "1.0",
	.license = "ISC", .brief = "Plays a plugin.",
	.options = WARREN_TABLE(options), .topics = WARREN_TABLE(topics),
	.metrics = WARREN_TABLE(metrics),
#ifdef FIXTURE_NEEDS
	.needs = WARREN_TABLE(needs),
#endif
#ifdef FIXTURE_OFFERS
	.offers = WARREN_TABLE(offers),
#endif
	.start = fixture_start, .reload = fixture_reload, .stop = fixture_stop,
	.fini = fixture_fini, .found = fixture_found, .lost = fixture_lost,
};
