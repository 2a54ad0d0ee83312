/*
 * A lane: an event base of libevent that one thread alone touches, a heap of deadlines behind one
 * timerfd, and a queue of errands behind an eventfd. Because nobody else touches the base, it is
 * made without locks.
 */
#include "engine/lane.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/thread.h>

#include <warren/plugin.h>

#include "engine/ctx.h"
#include "engine/loop.h"
#include "engine/thread.h"
#include "engine/timer.h"

enum { LANE_STACK = 1 << 20 };

struct queue {
	struct wcore_post *head, **tail;
};

struct wcore_lane {
	char name[WCORE_LANE_NAME];
	bool own_thread;
	pthread_t thread;
	atomic_bool stop;

	/* the lane's thread */
	struct event_base *base;
	struct event *wake_event, *clock_event;
	int wake_fd, clock_fd;
	struct wcore_heap heap;
	uint64_t armed;			/* deadline in the timerfd, or UINT64_MAX */
	struct queue running;		/* errands taken from the queue */

	pthread_mutex_t mutex;		/* for what follows, and ctx->refusing */
	struct queue waiting;
};

static _Thread_local struct wcore_lane *current_lane;
static pthread_once_t threads_once = PTHREAD_ONCE_INIT;

static void use_threads(void)
{
	evthread_use_pthreads();
}

static void queue_init(struct queue *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

static void queue_add(struct queue *q, struct wcore_post *post)
{
	post->next = NULL;
	*q->tail = post;
	q->tail = &post->next;
}

static struct wcore_post *queue_take(struct queue *q)
{
	struct wcore_post *post = q->head;

	if (!post)
		return NULL;
	q->head = post->next;
	if (!q->head)
		q->tail = &q->head;
	return post;
}

static void queue_move(struct queue *to, struct queue *from)
{
	if (!from->head)
		return;
	*to->tail = from->head;
	to->tail = from->tail;
	queue_init(from);
}

/* Moves the errands of @ctx from @q to @out. */
static void queue_filter(struct queue *q, const struct warren_ctx *ctx, struct queue *out)
{
	struct queue keep;
	struct wcore_post *post;

	queue_init(&keep);
	while ((post = queue_take(q)))
		queue_add(post->ctx == ctx ? out : &keep, post);
	queue_move(q, &keep);
}

static void queue_drop(struct queue *q)
{
	struct wcore_post *post;

	while ((post = queue_take(q)))
		post->drop(post);
}

static void run_errands(evutil_socket_t fd, short what, void *arg)
{
	struct wcore_lane *lane = arg;
	struct wcore_post *post;
	uint64_t count;

	(void)what;
	/* It is readable, or another reader was faster: there is none. */
	(void)!read(fd, &count, sizeof(count));
	pthread_mutex_lock(&lane->mutex);
	queue_move(&lane->running, &lane->waiting);
	pthread_mutex_unlock(&lane->mutex);
	while ((post = queue_take(&lane->running)))
		post->run(post);
}

static void clock_rang(evutil_socket_t fd, short what, void *arg)
{
	struct wcore_lane *lane = arg;
	uint64_t count;

	(void)what;
	(void)!read(fd, &count, sizeof(count));
	lane->armed = UINT64_MAX;	/* timers run at the start of the next turn */
}

static int make_event(struct wcore_lane *lane, int fd, event_callback_fn fn, struct event **out)
{
	*out = event_new(lane->base, fd, EV_READ | EV_PERSIST, fn, lane);
	return *out && event_add(*out, NULL) == 0 ? 0 : -ENOMEM;
}

static int make_loop(struct wcore_lane *lane)
{
	struct event_config *config = event_config_new();
	int rc;

	if (!config)
		return -ENOMEM;
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
	lane->base = event_base_new_with_config(config);
	event_config_free(config);
	if (!lane->base)
		return -ENOMEM;
	lane->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lane->wake_fd == -1)
		return -errno;
	lane->clock_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (lane->clock_fd == -1)
		return -errno;
	rc = make_event(lane, lane->wake_fd, run_errands, &lane->wake_event);
	return rc ? rc : make_event(lane, lane->clock_fd, clock_rang, &lane->clock_event);
}

static void *lane_thread(void *arg)
{
	struct wcore_lane *lane = arg;

	current_lane = lane;
	wcore_lane_run(lane);
	return NULL;
}

static void destroy(struct wcore_lane *lane)
{
	if (lane->wake_event)
		event_free(lane->wake_event);
	if (lane->clock_event)
		event_free(lane->clock_event);
	if (lane->wake_fd != -1)
		close(lane->wake_fd);
	if (lane->clock_fd != -1)
		close(lane->clock_fd);
	if (lane->base)
		event_base_free(lane->base);
	wcore_heap_free(&lane->heap);
	pthread_mutex_destroy(&lane->mutex);
	free(lane);
}

struct wcore_lane *wcore_lane_new(const char *name, bool own_thread, struct warren_err *err)
{
	struct wcore_lane *lane = calloc(1, sizeof(*lane));
	int rc;

	if (!lane) {
		warren_fail(err, NULL, "no memory for lane `%s`", name);
		return NULL;
	}
	pthread_once(&threads_once, use_threads);
	snprintf(lane->name, sizeof(lane->name), "%s", name);
	lane->wake_fd = lane->clock_fd = -1;
	lane->armed = UINT64_MAX;
	queue_init(&lane->waiting);
	queue_init(&lane->running);
	pthread_mutex_init(&lane->mutex, NULL);
	rc = make_loop(lane);
	if (!rc && own_thread)
		rc = wcore_thread_start(&lane->thread, name, LANE_STACK, lane_thread, lane);
	if (rc) {
		warren_fail(err, NULL, "cannot start lane `%s`: %s", name, strerror(-rc));
		destroy(lane);
		return NULL;
	}
	lane->own_thread = own_thread;
	if (!own_thread)
		current_lane = lane;
	return lane;
}

void wcore_lane_free(struct wcore_lane *lane)
{
	if (!lane)
		return;
	if (lane->own_thread) {
		wcore_lane_break(lane);
		pthread_join(lane->thread, NULL);
	} else if (current_lane == lane) {
		current_lane = NULL;
	}
	queue_drop(&lane->running);
	queue_drop(&lane->waiting);
	destroy(lane);
}

const char *wcore_lane_name(const struct wcore_lane *lane)
{
	return lane->name;
}

bool wcore_lane_here(const struct wcore_lane *lane)
{
	return current_lane == lane;
}

static void arm_clock(struct wcore_lane *lane)
{
	uint64_t next = wcore_heap_next(&lane->heap);
	struct itimerspec spec = { 0 };

	/* Too early a wake-up costs one turn; so a deadline that went away is left armed. */
	if (next >= lane->armed || wcore_clock_is_fake())
		return;
	spec.it_value.tv_sec = (time_t)(next / 1000000);
	spec.it_value.tv_nsec = (long)(next % 1000000) * 1000;
	if (timerfd_settime(lane->clock_fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0)
		lane->armed = next;
}

void wcore_lane_turn(struct wcore_lane *lane, bool wait)
{
	/* What the caller waits for may have happened in a timer: then do not block. */
	if (wcore_heap_run(&lane->heap))
		wait = false;
	arm_clock(lane);
	event_base_loop(lane->base, EVLOOP_ONCE | (wait ? 0 : EVLOOP_NONBLOCK));
}

void wcore_lane_run(struct wcore_lane *lane)
{
	while (!atomic_load(&lane->stop))
		wcore_lane_turn(lane, true);
	atomic_store(&lane->stop, false);
}

static void wake(struct wcore_lane *lane)
{
	uint64_t one = 1;

	/* EAGAIN means that it is readable already. */
	(void)!write(lane->wake_fd, &one, sizeof(one));
}

void wcore_lane_break(struct wcore_lane *lane)
{
	atomic_store(&lane->stop, true);
	wake(lane);
}

int wcore_lane_post(struct wcore_lane *lane, struct wcore_post *post)
{
	bool first;

	pthread_mutex_lock(&lane->mutex);
	if (post->ctx && post->ctx->refusing) {
		pthread_mutex_unlock(&lane->mutex);
		return -ESHUTDOWN;
	}
	first = !lane->waiting.head;
	queue_add(&lane->waiting, post);
	pthread_mutex_unlock(&lane->mutex);
	if (first)
		wake(lane);
	return 0;
}

void wcore_lane_refuse(struct wcore_lane *lane, struct warren_ctx *ctx)
{
	struct queue out;

	queue_init(&out);
	queue_filter(&lane->running, ctx, &out);
	pthread_mutex_lock(&lane->mutex);
	ctx->refusing = true;
	queue_filter(&lane->waiting, ctx, &out);
	pthread_mutex_unlock(&lane->mutex);
	queue_drop(&out);
}

struct event_base *wcore_lane_base(struct wcore_lane *lane)
{
	return lane->base;
}

struct wcore_heap *wcore_lane_heap(struct wcore_lane *lane)
{
	return &lane->heap;
}
