/*
 * Requests and their answers.
 *
 * A request has a number under which its answer is waited for, by a callback of the context or by
 * a call that blocks. The table of them is under a mutex, because lanes other than main may ask;
 * it is held for list operations and one send that never waits, and no callback runs under it.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/loop.h"
#include "engine/log.h"
#include "engine/plugin_load.h"
#include "engine/priv_impl.h"
#include "priv/check.h"

static const char no_memory[] = "no memory";
static const char core_owner[] = "core";

void wcore_priv_result_clear(struct priv_result *result)
{
	for (uint32_t i = 0; i < result->count; i++)
		auto_close(&result->fds[i]);
	free(result->error);
	free(result->data);
	*result = (struct priv_result){ .result = 0 };
}

/*
 * ---- Asking ----
 */

static const char *owner_of(const struct warren_ctx *ctx)
{
	return ctx && ctx->plugin ? ctx->name : core_owner;
}

/* @generation 0: the one in use. */
static int send_request(struct wcore_priv *priv, uint32_t seq, const char *owner,
			uint64_t generation, uint32_t op, const void *req, size_t len)
{
	const struct wpriv_head head = { .type = WPRIV_REQUEST, .seq = seq };
	struct wpriv_request request = { .op = op, .size = (uint32_t)len };
	const struct wpriv_part parts[] = { { &request, sizeof(request) }, { req, len } };
	AUTO(auto_close) int memfd = -1;

	if (!str_copy(request.owner, sizeof(request.owner), owner))
		return -EINVAL;
	pthread_mutex_lock(&priv->lock);
	request.generation = generation ? generation : priv->use;
	pthread_mutex_unlock(&priv->lock);
	if (len <= WPRIV_INLINE_MAX)
		return wcore_priv_send(priv, &head, parts, 2, -1);
	memfd = wpriv_memfd("warren-request", req, len);
	return memfd < 0 ? memfd : wcore_priv_send(priv, &head, parts, 1, memfd);
}

/* @like has all but the number. 0 or -errno; then it is not in the table. */
static int ask(struct wcore_priv *priv, const struct priv_pending *like, const char *owner,
	       uint32_t op, const void *req, size_t len)
{
	struct priv_pending *pending = malloc(sizeof(*pending));
	uint32_t seq = 0;
	int result;

	if (!pending)
		return -ENOMEM;
	*pending = *like;
	list_init(&pending->node);
	pthread_mutex_lock(&priv->lock);
	if (priv->n_pending < PRIV_PENDING_MAX) {
		seq = pending->seq = ++priv->seq;
		list_add_tail(&priv->pending, &pending->node);
		priv->n_pending++;
	}
	pthread_mutex_unlock(&priv->lock);
	if (seq == 0) {
		free(pending);
		return -EAGAIN;
	}
	result = send_request(priv, seq, owner, like->generation, op, req, len);
	if (result) {
		pthread_mutex_lock(&priv->lock);
		list_del(&pending->node);
		priv->n_pending--;
		pthread_mutex_unlock(&priv->lock);
		free(pending);
	}
	return result;
}

static int check_op(const struct warren_ctx *ctx, uint32_t op, const void *req, size_t len)
{
	size_t size = wpriv_op_size(op);

	if (ctx->plugin && !(ctx->plugin->desc.privops & (UINT64_C(1) << (op & 63))))
		return -EPERM;
	if (!req || size == 0 || len == 0 || len % size != 0 ||
	    len / size > (wpriv_op_many(op) ? WARREN_PRIV_ITEMS : 1))
		return -EINVAL;
	return 0;
}

int warren_priv(struct warren_ctx *ctx, enum warren_op op, const void *req, size_t len,
		warren_priv_fn *done, void *arg)
{
	struct wcore_priv *priv = wcore_engine_priv(ctx->engine);
	const struct priv_pending like = { .ctx = ctx, .done = done, .arg = arg };
	int result = check_op(ctx, op, req, len);

	wcore_ctx_assert(ctx, "warren_priv");
	if (result)
		return result;
	return priv ? ask(priv, &like, owner_of(ctx), op, req, len) : -EPIPE;
}

/*
 * ---- Waiting ----
 */

/* Lane main reads the socket itself; other lanes are woken by it. */
static void wait_main(struct wcore_priv *priv, struct priv_waiter *waiter)
{
	uint64_t end = wcore_clock_stopwatch() + (uint64_t)PRIV_WAIT_MS * 1000;

	while (!waiter->done && wcore_clock_stopwatch() < end) {
		struct pollfd poll_fd = { .fd = priv->fd, .events = POLLIN };

		pthread_mutex_lock(&priv->lock);
		if (!wcore_priv_flush(priv))
			poll_fd.events |= POLLOUT;
		pthread_mutex_unlock(&priv->lock);
		if (poll(&poll_fd, 1, 1000) > 0 && !wcore_priv_receive(priv, true))
			return;
	}
}

static void wait_other(struct wcore_priv *priv, struct priv_waiter *waiter)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PRIV_WAIT_MS / 1000;
	pthread_mutex_lock(&priv->lock);
	while (!waiter->done && pthread_cond_timedwait(&priv->answered, &priv->lock, &end) == 0)
		;
	pthread_mutex_unlock(&priv->lock);
}

/* Nobody is there for the answer any more, if it still comes. */
static void forget_waiter(struct wcore_priv *priv, const struct priv_waiter *waiter)
{
	struct priv_pending *pending;

	pthread_mutex_lock(&priv->lock);
	list_for_each(pending, &priv->pending, node) {
		if (pending->waiter == waiter)
			pending->waiter = NULL;
	}
	pthread_mutex_unlock(&priv->lock);
}

static int call(struct wcore_priv *priv, const char *owner, uint64_t generation, uint32_t op,
		const void *req, size_t len, struct priv_result *got)
{
	struct priv_waiter waiter = { .done = false };
	const struct priv_pending like = { .waiter = &waiter, .generation = generation };
	int result = ask(priv, &like, owner, op, req, len);

	*got = (struct priv_result){ .result = result };
	if (result)
		return result;
	if (wcore_lane_here(wcore_engine_main(priv->engine))) {
		wait_main(priv, &waiter);
		wcore_priv_resume(priv);
	} else {
		wait_other(priv, &waiter);
	}
	forget_waiter(priv, &waiter);
	if (!waiter.done)
		waiter.got.result = priv->lost ? -EPIPE : -ETIMEDOUT;
	*got = waiter.got;
	return got->result;
}

static const char *reason(const struct priv_result *got)
{
	if (got->error)
		return got->error;
	return got->result == -EPIPE ? "the monitor is gone" :
	       got->result == -ETIMEDOUT ? "the monitor did not answer in time" :
					   strerror(-got->result);
}

/* Keeps what an answer points to, until the context's next call. */
static int keep(struct wcore_priv *priv, const struct warren_ctx *ctx, struct priv_result *got)
{
	struct priv_kept *kept, *found = NULL;

	pthread_mutex_lock(&priv->lock);
	list_for_each(kept, &priv->kept, node) {
		if (kept->ctx == ctx)
			found = kept;
	}
	if (!found) {
		found = calloc(1, sizeof(*found));
		if (found) {
			found->ctx = ctx;
			list_init(&found->node);
			list_add_tail(&priv->kept, &found->node);
		}
	}
	pthread_mutex_unlock(&priv->lock);
	if (!found)
		return -ENOMEM;
	/* The descriptors have gone to the caller. */
	found->got.count = 0;
	wcore_priv_result_clear(&found->got);
	found->got = *got;
	return 0;
}

static void fill_answer(struct warren_priv_answer *answer, const struct priv_result *got)
{
	*answer = (struct warren_priv_answer){
		.size = sizeof(*answer), .result = got->result, .value = got->value,
		.handle = got->handle, .count = got->count,
		.error = got->result < 0 ? reason(got) : NULL, .data = got->data, .len = got->len,
	};
	for (uint32_t i = 0; i < WARREN_PRIV_FDS; i++)
		answer->fds[i] = i < got->count ? got->fds[i] : -1;
}

int warren_priv_wait(struct warren_ctx *ctx, enum warren_op op, const void *req, size_t len,
		     struct warren_priv_answer *answer, struct warren_err *err)
{
	struct wcore_priv *priv = wcore_engine_priv(ctx->engine);
	struct priv_result got;
	int result = check_op(ctx, op, req, len);

	wcore_ctx_assert(ctx, "warren_priv_wait");
	*answer = (struct warren_priv_answer){ .size = sizeof(*answer), .result = -EPIPE };
	if (!result && !ctx->waitable)
		return wpriv_refuse(err, -EDEADLK,
				    "plugin %s waits for %s outside of its start and "
				    "reload: a fault of the plugin",
				    ctx->name, wpriv_op_name(op));
	if (result)
		return wpriv_refuse(err, result,
				    "plugin %s may not ask for %s, or not like this: a "
				    "fault of the plugin",
				    ctx->name, wpriv_op_name(op));
	if (!priv)
		return wpriv_refuse(err, -EPIPE, "%s: there is no monitor", wpriv_op_name(op));
	call(priv, owner_of(ctx), 0, op, req, len, &got);
	result = keep(priv, ctx, &got);
	if (result) {
		wcore_priv_result_clear(&got);
		return wpriv_refuse(err, result, no_memory);
	}
	fill_answer(answer, &got);
	if (got.result < 0)
		return wpriv_refuse(err, got.result, "%s", reason(&got));
	return 0;
}

static int open_path(struct wcore_priv *priv, const char *owner, uint64_t generation,
		     const char *path, uint32_t index, uint32_t access, struct warren_err *err)
{
	struct warren_priv_open req = { .index = index, .access = access };
	struct priv_result got;
	int fd;

	if (!str_copy(req.key, sizeof(req.key), path))
		return wpriv_refuse(err, -ENAMETOOLONG, "%s: the key path is too long to open what "
				    "stands there", path);
	call(priv, owner, generation, WARREN_OP_OPEN, &req, sizeof(req), &got);
	if (got.result < 0 || got.count != 1) {
		fd = got.result < 0 ? got.result : -EPROTO;
		wpriv_refuse(err, fd, "%s", got.result < 0 ? reason(&got) : "no descriptor came");
	} else {
		fd = TAKE_FD(got.fds[0]);
	}
	wcore_priv_result_clear(&got);
	return fd;
}

int warren_conf_open_wait(struct warren_ctx *ctx, const struct warren_conf *conf, const char *key,
			  struct warren_err *err)
{
	const uint32_t access = wcore_conf_flags(conf, key) &
				(WARREN_READ | WARREN_WRITE | WARREN_CONNECT);
	struct wcore_priv *priv = wcore_engine_priv(ctx->engine);
	AUTO(err_free) struct warren_err why = ERR_INIT;
	AUTO(str_free) struct str path = STR_INIT;
	uint32_t index;
	int fd;

	wcore_ctx_assert(ctx, "warren_conf_open_wait");
	if (!ctx->waitable || !priv)
		return warren_fail_key(err, -EDEADLK, conf, key,
				       "this can be opened while the plugin "
				       "starts or reloads, by a daemon with a monitor");
	wcore_conf_path(conf, key, &path, &index);
	fd = open_path(priv, owner_of(ctx), wcore_conf_generation(conf), str_text(&path), index,
		       access, &why);
	return fd < 0 ? warren_fail_key(err, fd, conf, key, "%s", err_first(&why)) : fd;
}

struct open_call {
	warren_open_fn *done;
	void *arg;
};

static void opened(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct open_call call = *(struct open_call *)arg;
	int result = answer->result < 0 ? answer->result : answer->count == 1 ? 0 : -EPROTO;

	warren_release(arg);
	call.done(ctx, result, result ? -1 : answer->fds[0],
		  !result ? NULL : answer->error ? answer->error : strerror(-result), call.arg);
}

int warren_conf_open(struct warren_ctx *ctx, const struct warren_conf *conf, const char *key,
		     warren_open_fn *done, void *arg)
{
	struct warren_priv_open req = {
		.access = wcore_conf_flags(conf, key) &
			  (WARREN_READ | WARREN_WRITE | WARREN_CONNECT),
	};
	AUTO(str_free) struct str path = STR_INIT;
	struct open_call *call;
	int result;

	wcore_conf_path(conf, key, &path, &req.index);
	if (path.failed || !str_copy(req.key, sizeof(req.key), str_text(&path)))
		return -ENAMETOOLONG;
	call = warren_zalloc(ctx, sizeof(*call));
	if (!call)
		return -ENOMEM;
	*call = (struct open_call){ .done = done, .arg = arg };
	result = warren_priv(ctx, WARREN_OP_OPEN, &req, sizeof(req), opened, call);
	if (result)
		warren_release(call);
	return result;
}

int wcore_priv_open_secret(const struct wcore_secret_ask *secret, void *arg)
{
	return open_path(arg, core_owner, 0, secret->path, 0, WARREN_READ, NULL);
}

/*
 * ---- Answers ----
 */

/* False: the message is no answer of ours. */
static bool take_answer(struct wpriv_msg *msg, struct priv_result *got)
{
	struct wpriv_answer answer;
	size_t inside;
	bool memfd;

	*got = (struct priv_result){ .result = msg->head.result };
	if (msg->head.len < sizeof(answer))
		return false;
	memcpy(&answer, msg->data, sizeof(answer));
	memfd = answer.flags & WPRIV_ANSWER_MEMFD;
	inside = memfd ? 0 : answer.data;
	if (msg->head.len - sizeof(answer) < inside ||
	    msg->head.len - sizeof(answer) - inside != answer.text ||
	    msg->n_fds > WARREN_PRIV_FDS + (memfd ? 1 : 0) || (memfd && msg->n_fds == 0))
		return false;
	got->value = answer.value;
	got->handle = answer.handle;
	got->data = answer.data ? malloc(answer.data) : NULL;
	got->error = answer.text ? strndup((const char *)msg->data + sizeof(answer) + inside,
					   answer.text) : NULL;
	if (got->data && !memfd)
		memcpy(got->data, msg->data + sizeof(answer), answer.data);
	else if (got->data && wpriv_memfd_read(msg->fds[msg->n_fds - 1], got->data, answer.data))
		return false;
	got->len = got->data ? answer.data : 0;
	for (uint32_t i = 0; i < msg->n_fds - (memfd ? 1 : 0); i++)
		got->fds[got->count++] = TAKE_FD(msg->fds[i]);
	return true;
}

struct delivery {
	struct priv_result got;
	warren_priv_fn *done;
	void *arg;
};

static void drop_delivery(void *arg)
{
	struct delivery *delivery = arg;

	wcore_priv_result_clear(&delivery->got);
	free(delivery);
}

static void deliver(struct warren_ctx *ctx, void *arg)
{
	struct delivery *delivery = arg;
	struct warren_priv_answer answer;

	fill_answer(&answer, &delivery->got);
	/* The callback owns the descriptors. */
	delivery->got.count = 0;
	delivery->done(ctx, &answer, delivery->arg);
	drop_delivery(delivery);
}

static void post_answer(const struct priv_pending *pending, struct priv_result *got)
{
	struct delivery *delivery = malloc(sizeof(*delivery));

	if (delivery) {
		*delivery = (struct delivery){ *got, pending->done, pending->arg };
		if (wcore_ctx_post(pending->ctx, deliver, delivery, drop_delivery,
				   "answer of the monitor"))
			drop_delivery(delivery);
		return;
	}
	wcore_log(LOG_ERR, "an answer of the monitor for %s is lost: %s", pending->ctx->name,
		  no_memory);
	wcore_priv_result_clear(got);
}

/* With the lock held: the watch @id, or NULL. */
static struct priv_watch *watch_by_id(const struct wcore_priv *priv, uint32_t id)
{
	struct priv_watch *watch;

	list_for_each(watch, &priv->watches, node) {
		if (watch->id == id)
			return watch;
	}
	return NULL;
}

/* Takes the request out of the table; false: there is none, or its context has ended. */
static bool take_pending(struct wcore_priv *priv, uint32_t seq, struct priv_pending *out)
{
	struct priv_pending *pending, *found = NULL;

	list_for_each(pending, &priv->pending, node) {
		if (pending->seq == seq) {
			found = pending;
			break;
		}
	}
	if (!found)
		return false;
	list_del(&found->node);
	priv->n_pending--;
	*out = *found;
	free(found);
	return true;
}

static void finish(struct wcore_priv *priv, uint32_t seq, struct priv_result *got)
{
	struct priv_pending pending;
	struct priv_watch *watch;
	bool taken = false;

	pthread_mutex_lock(&priv->lock);
	if (take_pending(priv, seq, &pending)) {
		taken = pending.waiter != NULL;
		if (pending.waiter) {
			pending.waiter->got = *got;
			pending.waiter->done = true;
			pthread_cond_broadcast(&priv->answered);
		} else if (pending.watch) {
			watch = watch_by_id(priv, pending.watch);
			if (watch)
				watch->handle = got->handle;
			if (watch && got->result < 0)
				wcore_log(LOG_WARNING,
					  "%s: changes of the file at %s are not noticed: "
					  "%s",
					  watch->ctx->name, watch->what, reason(got));
		} else if (pending.ctx) {
			post_answer(&pending, got);
			taken = true;
		}
	}
	pthread_mutex_unlock(&priv->lock);
	if (!taken)
		wcore_priv_result_clear(got);
}

void wcore_priv_answer(struct wcore_priv *priv, struct wpriv_msg *msg)
{
	struct priv_result got;

	if (!take_answer(msg, &got)) {
		wcore_priv_result_clear(&got);
		got.result = -EPROTO;
	}
	finish(priv, msg->head.seq, &got);
}

void wcore_priv_fail_all(struct wcore_priv *priv)
{
	for (;;) {
		struct priv_result got = { .result = -EPIPE };
		struct priv_pending *first;
		uint32_t seq = 0;

		pthread_mutex_lock(&priv->lock);
		first = list_first(&priv->pending, struct priv_pending, node);
		if (first)
			seq = first->seq;
		pthread_mutex_unlock(&priv->lock);
		if (!first)
			return;
		finish(priv, seq, &got);
	}
}

/*
 * ---- Watches ----
 */

int warren_watch(struct warren_ctx *ctx, const struct warren_conf *conf, const char *key,
		 warren_watch_fn *fn, void *arg)
{
	struct wcore_priv *priv = wcore_engine_priv(ctx->engine);
	AUTO(str_free) struct str path = STR_INIT;
	struct warren_priv_watch req = { .index = 0 };
	struct priv_pending like = { .ctx = ctx, .generation = wcore_conf_generation(conf) };
	struct priv_watch *watch;

	wcore_ctx_assert_open(ctx, "warren_watch");
	wcore_conf_path(conf, key, &path, &req.index);
	if (!priv)
		return -EPIPE;
	if (!str_copy(req.key, sizeof(req.key), str_text(&path)))
		return -ENAMETOOLONG;
	watch = calloc(1, sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	watch->ctx = ctx;
	watch->fn = fn;
	watch->arg = arg;
	memcpy(watch->what, req.key, sizeof(watch->what));
	list_init(&watch->node);
	pthread_mutex_lock(&priv->lock);
	like.watch = watch->id = ++priv->watch_id;
	list_add_tail(&priv->watches, &watch->node);
	pthread_mutex_unlock(&priv->lock);
	return ask(priv, &like, owner_of(ctx), WARREN_OP_WATCH, &req, sizeof(req));
}

static void call_watch(struct warren_ctx *ctx, void *arg)
{
	struct wcore_priv *priv = wcore_engine_priv(ctx->engine);
	const struct priv_watch *watch;
	warren_watch_fn *fn = NULL;
	void *fn_arg = NULL;

	pthread_mutex_lock(&priv->lock);
	watch = watch_by_id(priv, (uint32_t)(uintptr_t)arg);
	if (watch) {
		fn = watch->fn;
		fn_arg = watch->arg;
	}
	pthread_mutex_unlock(&priv->lock);
	if (fn)
		fn(ctx, fn_arg);
}

void wcore_priv_event(struct wcore_priv *priv, const struct wpriv_msg *msg)
{
	struct wpriv_event event;
	struct priv_watch *watch;

	if (msg->head.len != sizeof(event))
		return;
	memcpy(&event, msg->data, sizeof(event));
	pthread_mutex_lock(&priv->lock);
	list_for_each(watch, &priv->watches, node) {
		/* A context that is going refuses, and needs no event any more. */
		if (event.op == WARREN_OP_WATCH && watch->handle == event.handle)
			(void)wcore_ctx_post(watch->ctx, call_watch, (void *)(uintptr_t)watch->id,
					     NULL, "watch");
	}
	pthread_mutex_unlock(&priv->lock);
}

/*
 * ---- End ----
 */

static void free_kept(struct priv_kept *kept)
{
	list_del(&kept->node);
	kept->got.count = 0;
	wcore_priv_result_clear(&kept->got);
	free(kept);
}

void wcore_priv_owner_end(struct wcore_priv *priv, struct warren_ctx *ctx)
{
	const struct wpriv_head head = { .type = WPRIV_OWNER_END };
	struct wpriv_owner_end end = { .owner = "" };
	const struct wpriv_part part = { &end, sizeof(end) };
	struct priv_pending *pending;
	struct priv_watch *watch, *next_watch;
	struct priv_kept *kept, *next_kept;

	pthread_mutex_lock(&priv->lock);
	list_for_each(pending, &priv->pending, node) {
		if (pending->ctx == ctx) {
			pending->ctx = NULL;
			pending->watch = 0;
		}
	}
	list_for_each_safe(watch, next_watch, &priv->watches, node) {
		if (watch->ctx == ctx) {
			list_del(&watch->node);
			free(watch);
		}
	}
	list_for_each_safe(kept, next_kept, &priv->kept, node) {
		if (kept->ctx == ctx)
			free_kept(kept);
	}
	pthread_mutex_unlock(&priv->lock);
	if (str_copy(end.owner, sizeof(end.owner), owner_of(ctx)))
		(void)wcore_priv_send(priv, &head, &part, 1, -1);
}

void wcore_priv_free_calls(struct wcore_priv *priv)
{
	struct priv_pending *pending, *next_pending;
	struct priv_watch *watch, *next_watch;
	struct priv_kept *kept, *next_kept;

	list_for_each_safe(pending, next_pending, &priv->pending, node)
		free(pending);
	list_for_each_safe(watch, next_watch, &priv->watches, node)
		free(watch);
	list_for_each_safe(kept, next_kept, &priv->kept, node)
		free_kept(kept);
}
