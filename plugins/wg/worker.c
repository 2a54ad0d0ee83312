/*
 * The worker's loop. Each turn: orders of the lane, rings, one batch of each socket, one batch of
 * the TUN, so that no direction starves the other; then a poll that waits only if nothing was left.
 *
 * Between two turns the worker holds no pointer to anything the lane may retire: what is queued for
 * a full socket is bytes and addresses.
 */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct wg_worker *wg_worker_new(struct wg_device *dev, struct warren_err *err)
{
	struct wg_worker *w = aligned_alloc(64, (sizeof(*w) + 63) / 64 * 64);

	if (!w)
		goto fail;
	memset(w, 0, sizeof(*w));
	w->dev = dev;
	atomic_init(&w->asleep, false);
	w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	w->pool = wg_stage_pool_new(dev->options.staged_memory);
	w->area = malloc(WG_OUT_AREA);
	if (w->wake_fd == -1 || !w->pool || !w->area ||
	    wg_udp_in_init(&w->in, dev->options.receive_batch) < 0)
		goto fail;
	return w;
fail:
	warren_fail(err, NULL,
		    "out of memory for packet buffers: make wg.staged-memory or"
		    " wg.receive-batch smaller");
	wg_worker_free(w);
	return NULL;
}

void wg_worker_free(struct wg_worker *w)
{
	if (!w)
		return;
	if (w->wake_fd > 0)
		close(w->wake_fd);
	wg_stage_pool_free(w->pool);
	wg_udp_in_fini(&w->in);
	free(w->area);
	free(w);
}

struct wg_stage_pool *wg_worker_pool(const struct wg_worker *worker)
{
	return worker->pool;
}

static void eventfd_add(int fd)
{
	uint64_t one = 1;
	ssize_t n;

	/* EAGAIN: the counter is full, so the reader has been told many times. */
	do {
		n = write(fd, &one, sizeof(one));
	} while (n == -1 && errno == EINTR);
}

void wg_worker_wake(struct wg_worker *w)
{
	/* Pairs with the fence before the worker's last look at the rings. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&w->asleep, memory_order_relaxed))
		eventfd_add(w->wake_fd);
}

void wg_device_wake_lane(struct wg_device *dev)
{
	if (!atomic_exchange_explicit(&dev->lane_woken, true, memory_order_acq_rel))
		eventfd_add(dev->lane_fd);
}

/*
 * ---- News for the lane ----
 */

void wg_worker_ask(struct wg_worker *w, struct wg_peer *peer, uint32_t ask,
		   const struct wg_origin *origin)
{
	struct wg_event *event;

	if (atomic_load_explicit(&peer->asked, memory_order_relaxed) & ask)
		return;
	event = wg_ring_claim(w->dev->events);
	if (!event) {
		/* Nothing is lost for good: the next packet asks again. */
		wg_count(&w->counts, WG_C_EVENT_FULL, 1);
		return;
	}
	atomic_fetch_or_explicit(&peer->asked, ask, memory_order_acq_rel);
	event->kind = WG_EVENT_ASK;
	event->ask = ask;
	event->number = peer->number;
	event->serial = peer->serial;
	if (origin)
		event->origin = *origin;
	wg_ring_commit(w->dev->events, event);
	w->news = true;
}

void wg_worker_check_look(struct wg_worker *w, struct wg_peer *peer)
{
	/* The lane sets look_at to never, then reads the marks; we set marks, then read look_at. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&peer->look_at, memory_order_relaxed) >
	    w->now + WG_KEEPALIVE_TIMEOUT)
		wg_worker_ask(w, peer, WG_ASK_LOOK, NULL);
}

/*
 * ---- Steps of both directions ----
 */

/* Keeps packets with the verdict ACCEPT, in order; counts the others. */
static uint32_t keep_accepted(struct wg_worker *w, uint32_t n, enum wg_counter dropped)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (w->pkt[i].verdict == WARREN_PKT_ACCEPT) {
			if (left != i) {
				w->pkt[left] = w->pkt[i];
				w->to[left] = w->to[i];
			}
			left++;
		} else if (w->pkt[i].verdict != WARREN_PKT_TAKEN) {
			wg_count(&w->counts, dropped, 1);
		}
	}
	return left;
}

uint32_t wg_step_run(struct wg_worker *w, const struct wg_step *step, uint32_t direction,
		     uint32_t n)
{
	if (!n)
		return 0;
	if (step->kind == WG_STEP_FILTER) {
		const struct wg_policy *policy = atomic_load_explicit(&w->dev->policy,
								      memory_order_acquire);

		if (!policy) {
			wg_count(&w->counts, WG_C_NO_POLICY, n);
			return 0;
		}
		policy->fn(policy->table, direction, w->pkt, n, w->now);
		return keep_accepted(w, n, WG_C_POLICY);
	}
	step->fn(step->self, direction, w->pkt, n, w->now);
	return keep_accepted(w, n, WG_C_HOOK);
}

/*
 * ---- The loop ----
 */

enum { POLL_WAKE, POLL_TUN, POLL_V4, POLL_V6, POLL_SOURCE, POLL_COUNT };

static bool has_orders(const struct wg_worker *w)
{
	const struct wg_bulk *bulk = atomic_load_explicit(&w->dev->bulk, memory_order_acquire);

	return (!w->blocked && (atomic_load_explicit(&w->dev->todo, memory_order_acquire) ||
				wg_ring_queued(w->dev->replies))) ||
	       wg_ring_queued(bulk->inject) || warren_worker_stopping(w->self);
}

/* Waits for work, or only looks if there is some left. */
static void wait_for_work(struct wg_worker *w, struct pollfd *pfd, bool busy)
{
	const struct wg_sockets *sockets = atomic_load_explicit(&w->dev->sockets,
								memory_order_acquire);
	const struct wg_source *source = atomic_load_explicit(&w->dev->source,
							      memory_order_acquire);
	bool failed = atomic_load_explicit(&w->dev->failed, memory_order_relaxed);

	pfd[POLL_WAKE] = (struct pollfd){ w->wake_fd, POLLIN, 0 };
	/* With a full socket queue the TUN waits: its senders notice, nothing is dropped. */
	pfd[POLL_TUN] = (struct pollfd){ w->blocked || failed ? -1 : w->dev->tun_fd, POLLIN, 0 };
	pfd[POLL_SOURCE] = (struct pollfd){ w->blocked || !source ? -1 : source->fd, POLLIN, 0 };
	for (int i = 0; i < 2; i++) {
		short events = POLLIN;

		if (w->out[i].n)
			events |= POLLOUT;
		pfd[POLL_V4 + i] = (struct pollfd){ sockets->fd[i], events, 0 };
	}
	if (busy) {
		poll(pfd, POLL_COUNT, 0);
		return;
	}
	atomic_store_explicit(&w->asleep, true, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	if (has_orders(w)) {
		atomic_store_explicit(&w->asleep, false, memory_order_relaxed);
		poll(pfd, POLL_COUNT, 0);
		return;
	}
	warren_worker_offline(w->self);
	poll(pfd, POLL_COUNT, -1);
	warren_worker_online(w->self);
	atomic_store_explicit(&w->asleep, false, memory_order_relaxed);
	if (pfd[POLL_WAKE].revents & POLLIN) {
		uint64_t count;
		ssize_t n = read(w->wake_fd, &count, sizeof(count));

		(void)n; /* an empty counter is as good as one that was reset */
	}
}

static void tun_failed(struct wg_worker *w, int error)
{
	atomic_store_explicit(&w->dev->failed, error, memory_order_release);
	wg_device_wake_lane(w->dev);
}

/* One turn over everything that may be ready. true: there may be more. */
static bool turn(struct wg_worker *w, struct pollfd *pfd)
{
	const struct wg_sockets *sockets = atomic_load_explicit(&w->dev->sockets,
								memory_order_acquire);
	bool busy = false;

	w->now = warren_now();
	w->mtu = atomic_load_explicit(&w->dev->mtu, memory_order_relaxed);
	w->last_session = NULL;
	if (w->blocked)
		wg_outbound_flush(w);
	if (wg_outbound_orders(w))
		busy = true;
	if (wg_inbound_ring(w))
		busy = true;
	for (int i = 0; i < 2; i++) {
		/* The poll may have been of an older socket; this one then has nothing. */
		if (pfd[POLL_V4 + i].revents & (POLLIN | POLLERR) && sockets->fd[i] != -1 &&
		    wg_inbound_socket(w, sockets->fd[i]))
			busy = true;
	}
	if (wg_outbound_replies(w))
		busy = true;
	if (pfd[POLL_TUN].revents & (POLLERR | POLLNVAL))
		tun_failed(w, EBADFD);
	else if (pfd[POLL_TUN].revents & POLLIN && !w->blocked && wg_outbound_tun(w))
		busy = true;
	if (pfd[POLL_SOURCE].revents & POLLIN && !w->blocked && wg_outbound_source(w))
		busy = true;
	return busy;
}

static void worker_run(struct warren_worker *thread, void *arg)
{
	struct wg_worker *w = arg;
	struct pollfd pfd[POLL_COUNT] = { { .fd = -1 } };
	bool busy = true;

	w->self = thread;
	while (!warren_worker_stopping(thread)) {
		wait_for_work(w, pfd, busy);
		busy = turn(w, pfd);
		wg_counts_flush(&w->counts, &w->dev->stats);
		if (w->news) {
			w->news = false;
			wg_device_wake_lane(w->dev);
		}
		warren_worker_turn(thread);
		atomic_fetch_add_explicit(&w->turns, 1, memory_order_release);
	}
}

static void worker_wake(void *arg)
{
	eventfd_add(((struct wg_worker *)arg)->wake_fd);
}

int wg_worker_start(struct wg_worker *w, struct warren_err *err)
{
	w->thread = warren_worker_start(w->dev->ctx, "wg", worker_run, worker_wake, w, err);
	return w->thread ? 0 : -EAGAIN;
}

bool wg_worker_wait_turn(struct wg_worker *w)
{
	/* Two: the turn that is under way began before the caller's change. */
	uint64_t until = atomic_load_explicit(&w->turns, memory_order_acquire) + 2;
	const struct timespec pause = { 0, 100000 };

	for (int i = 0; i < 10000; i++) {
		eventfd_add(w->wake_fd);
		if (atomic_load_explicit(&w->turns, memory_order_acquire) >= until)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

void wg_worker_join(struct wg_worker *w)
{
	if (w->thread)
		warren_worker_join(w->thread);
	w->thread = NULL;
}
