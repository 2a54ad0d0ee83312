/*
 * The lane's half of the data plane: the timers of peers run here, and everything the workers read
 * is made and retired here. What they report is handled in news.c. No callback may take long,
 * whatever the network sends: work is done in slices of WG_SLICE.
 */
#include "device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <syslog.h>
#include <unistd.h>

#include <sodium.h>

#include <warren/priv.h>

#include "base/util.h"
#include "handshake.h"
#include "netmap.h"
#include "news.h"
#include "service.h"
#include "worker.h"

enum {
	HOUSEKEEPING = 10, /* seconds */
	WANT_PATH_INTERVAL = 1, /* seconds */
	RATE_ENTRIES = 4096,
	BULK_SLOT_MIN = 2048, /* a datagram of a path MTU of 1500, and more */
};

/*
 * ---- Retired objects ----
 */

static void destroy(struct wg_device *dev)
{
	wg_slab_destroy(dev->sessions);
	wg_slab_destroy(dev->lives);
	wg_worker_free(dev->worker);
	free(dev);
}

void wg_device_retire(struct wg_device *dev, void *ptr, void (*free_fn)(void *ptr))
{
	dev->retired++;
	warren_retire(dev->ctx, ptr, free_fn);
}

void wg_device_returned(struct wg_device *dev)
{
	dev->retired--;
	if (dev->freed && !dev->retired)
		destroy(dev);
}

/*
 * ---- Small services for the other files of the lane ----
 */

const struct warren_node *wg_device_node(const struct wg_device *dev, const struct wg_peer *peer)
{
	return warren_netmap_peer(dev->map, peer->node_id);
}

const char *wg_device_peer_name(const struct wg_device *dev, const struct wg_peer *peer,
				char text[64])
{
	const struct warren_node *node = wg_device_node(dev, peer);
	char key[sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL)];

	if (node && node->name) {
		snprintf(text, 64, "%.63s", node->name);
	} else {
		sodium_bin2base64(key, sizeof(key), peer->key, 32, sodium_base64_VARIANT_ORIGINAL);
		snprintf(text, 64, "%.8s...", key);
	}
	return text;
}

void wg_device_want_path(struct wg_peer *peer, uint64_t now)
{
	struct wg_writer *writer = &peer->device->writer;

	if (!writer->ctx || !writer->events.wanted ||
	    (peer->wanted_at && now - peer->wanted_at < WANT_PATH_INTERVAL * WG_SECOND))
		return;
	peer->wanted_at = now;
	writer->events.wanted(writer->arg, peer->key);
}

static int send_udp(struct wg_device *dev, const struct wg_path *path, const uint8_t *data,
		    size_t len)
{
	const struct wg_sockets *sockets = atomic_load_explicit(&dev->sockets,
								memory_order_relaxed);
	int fd = sockets->fd[path->to.addr.family == 6];

	return fd == -1 ? -EAFNOSUPPORT : wg_udp_send(fd, path, data, len);
}

static bool send_relay(struct wg_device *dev, uint32_t region, const struct wg_path *path,
		       const uint8_t *data, size_t len)
{
	if (!dev->writer.ctx || !dev->writer.events.relay_out)
		return false;
	dev->writer.events.relay_out(dev->writer.arg, region, path->relay_peer, data, len);
	wg_count(&dev->counts, WG_C_RELAY_OUT, 1);
	return true;
}

int wg_device_send(struct wg_device *dev, const struct wg_path *path, const uint8_t *data,
		   size_t len)
{
	uint8_t wrapped[WG_GENEVE_LEN + WG_INITIATION_LEN];
	int r = -EMSGSIZE;

	switch (path ? path->kind : WARREN_PATH_NONE) {
	case WARREN_PATH_UDP:
		r = send_udp(dev, path, data, len);
		break;
	case WARREN_PATH_GENEVE:
		if (len > WG_INITIATION_LEN)
			break;
		wg_geneve_write(wrapped, WG_GENEVE_WIREGUARD, path->vni);
		memcpy(wrapped + WG_GENEVE_LEN, data, len);
		r = send_udp(dev, path, wrapped, WG_GENEVE_LEN + len);
		if (r == 0)
			wg_count(&dev->counts, WG_C_GENEVE_OUT, 1);
		break;
	case WARREN_PATH_RELAY:
		if (send_relay(dev, path->region, path, data, len))
			return 0;
		break;
	default:
		wg_count(&dev->counts, WG_C_OUT_NO_PATH, 1);
		return -EDESTADDRREQ;
	}
	if (path->copy_region && send_relay(dev, path->copy_region, path, data, len))
		return 0;
	if (r < 0)
		wg_count(&dev->counts, WG_C_OUT_SEND, 1);
	return r;
}

/*
 * ---- Timers of peers ----
 */

static void arm_timer(struct wg_device *dev, uint64_t now)
{
	const struct schedule_entry *first = schedule_first(&dev->schedule);
	uint64_t at = first ? first->deadline : WG_NEVER;

	if (at == dev->timer_at)
		return;
	dev->timer_at = at;
	if (at == WG_NEVER)
		warren_timer_stop(dev->timer);
	else
		warren_timer_set(dev->timer, at > now ? at - now : 0);
}

/* "Established" ends 180 s after the last keys were derived. Returns when that is. */
static uint64_t check_expiry(struct wg_peer *peer, uint64_t now)
{
	const struct wg_live *live = peer->live;
	uint64_t born = 0;

	if (peer->session_state != WARREN_SESSION_ESTABLISHED)
		return WG_NEVER;
	if (live->current)
		born = live->current->born;
	if (live->next && live->next->born > born)
		born = live->next->born;
	if (born && now < born + WG_REJECT_AFTER_TIME)
		return born + WG_REJECT_AFTER_TIME;
	wg_peer_session_state(peer, WARREN_SESSION_EXPIRED);
	return WG_NEVER;
}

static void give_up(struct wg_peer *peer)
{
	wg_peer_order(peer, WG_TODO_DROP);
	wg_count(&peer->device->counts, WG_C_GAVE_UP, 1);
	if (peer->live->current || peer->live->previous)
		wg_peer_session_state(peer, WARREN_SESSION_EXPIRED);
	else
		wg_peer_session_state(peer, WARREN_SESSION_NONE);
}

/* Does what the timers ask for. */
static void act(struct wg_peer *peer, uint32_t what, uint64_t now)
{
	struct wg_live *live = peer->live;

	if (what & WG_DO_ZERO_KEYS) {
		wg_peer_drop_keys(peer);
		wg_peer_session_state(peer, WARREN_SESSION_NONE);
	}
	if (what & WG_DO_GIVE_UP)
		give_up(peer);
	if (what & WG_DO_FORGET_SOURCE)
		wg_peer_forget_source(peer);
	if (what & WG_DO_INITIATE) {
		/* 15 s without an answer; a retry on the other hand is no news. */
		if (!live->timers.retries)
			wg_device_want_path(peer, now);
		wg_handshake_initiate(peer, live->timers.retries > 0, now);
	}
	if (what & WG_DO_KEEPALIVE) {
		if (atomic_load_explicit(&peer->send, memory_order_relaxed))
			wg_peer_order(peer, WG_TODO_KEEPALIVE);
		else if (wg_timers_want_handshake(&live->timers, now))
			wg_handshake_initiate(peer, false, now);
	}
}

void wg_device_look(struct wg_device *dev, struct wg_peer *peer, uint64_t now)
{
	struct wg_live *live = peer->live;
	uint64_t next = WG_NEVER, expiry;
	uint32_t what;

	if (!live)
		return;
	/* From here on a worker that sets a mark asks us to look again. */
	atomic_store_explicit(&peer->look_at, WG_NEVER, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	/* What it asks for changes the deadlines: run until it asks for nothing. */
	for (int i = 0; i < 4; i++) {
		what = wg_timers_run(&live->timers, &peer->marks, now, &next);
		if (!what)
			break;
		act(peer, what, now);
	}
	if (next == WG_NEVER && !peer->keepalive && !live->current && !live->next &&
	    !live->previous && !live->noise.sent.waiting) {
		wg_peer_sleep(peer);
		return;
	}
	expiry = check_expiry(peer, now);
	if (expiry < next)
		next = expiry;
	schedule_set(&dev->schedule, &live->due, next);
	atomic_store_explicit(&peer->look_at, next, memory_order_relaxed);
	arm_timer(dev, now);
}

static void timer_fired(struct warren_ctx *ctx, void *arg)
{
	struct wg_device *dev = arg;
	uint64_t start = warren_now(), now = start;
	struct schedule_entry *due;

	(void)ctx;
	dev->timer_at = WG_NEVER;
	while (now - start < WG_SLICE && (due = schedule_first(&dev->schedule)) &&
	       due->deadline <= now) {
		/* Later first: a look that changes nothing must not come again at once. */
		schedule_set(&dev->schedule, due, now + WG_SECOND);
		wg_device_look(dev, CONTAINER_OF(due, struct wg_live, due)->entry.peer, now);
		now = warren_now();
	}
	arm_timer(dev, now);
	wg_counts_flush(&dev->counts, &dev->stats);
}

static void slice_fired(struct warren_ctx *ctx, void *arg)
{
	struct wg_device *dev = arg;
	uint64_t start = warren_now(), now = start;
	struct wg_peer *peer;

	(void)ctx;
	for (; now - start < WG_SLICE; now = warren_now()) {
		int result;

		peer = wg_peers_next(&dev->peers, &dev->slice_at);
		if (!peer)
			return;
		if (!peer->keepalive || peer->live || peer->unusable)
			continue;
		result = wg_peer_wake(peer, now);
		if (result == -EINVAL)
			peer->unusable = true;
		else if (result < 0)
			dev->keepalive_asleep = true;
		wg_device_look(dev, peer, now);
	}
	warren_timer_set(dev->slice, 0);
}

void wg_device_wake_keepalive(struct wg_device *dev)
{
	dev->keepalive_asleep = false;
	dev->slice_at = 0;
	warren_timer_set(dev->slice, 0);
}

/*
 * ---- MTU ----
 */

static void bulk_free(void *ptr)
{
	struct wg_bulk *bulk = ptr;

	if (!bulk)
		return;
	wg_ring_free(bulk->relay_out);
	wg_ring_free(bulk->inject);
	free(bulk);
}

static struct wg_bulk *bulk_new(const struct wg_device *dev, uint32_t mtu)
{
	struct wg_bulk *bulk = calloc(1, sizeof(*bulk));

	if (!bulk)
		return NULL;
	bulk->message_max = mtu + WG_MESSAGE_EXTRA > BULK_SLOT_MIN ? mtu + WG_MESSAGE_EXTRA
								   : BULK_SLOT_MIN;
	bulk->relay_out = wg_ring_new(dev->options.ring_slots,
				      sizeof(struct wg_relay_slot) + bulk->message_max);
	bulk->inject = wg_ring_new(dev->options.ring_slots,
				   sizeof(struct wg_inject_slot) + bulk->message_max);
	if (!bulk->relay_out || !bulk->inject) {
		bulk_free(bulk);
		return NULL;
	}
	return bulk;
}

int wg_device_set_mtu(struct wg_device *dev, uint32_t mtu)
{
	struct wg_bulk *old = atomic_load_explicit(&dev->bulk, memory_order_relaxed);

	if (!old || mtu + WG_MESSAGE_EXTRA > old->message_max) {
		struct wg_bulk *bulk = bulk_new(dev, mtu);

		if (!bulk)
			return -ENOMEM;
		atomic_store_explicit(&dev->bulk, bulk, memory_order_release);
		if (old)
			warren_retire(dev->ctx, old, bulk_free);
	}
	atomic_store_explicit(&dev->mtu, mtu, memory_order_relaxed);
	return 0;
}

/* Somebody may have changed the MTU of the interface behind our back (dataplane.md 3.31). */
static void check_mtu(struct wg_device *dev)
{
	const struct wg_sockets *sockets = atomic_load_explicit(&dev->sockets,
								memory_order_relaxed);
	uint32_t mtu = atomic_load_explicit(&dev->mtu, memory_order_relaxed);
	struct ifreq request;

	memset(&request, 0, sizeof(request));
	memcpy(request.ifr_name, dev->ifname, sizeof(request.ifr_name));
	if (ioctl(sockets->fd[0] != -1 ? sockets->fd[0] : sockets->fd[1], SIOCGIFMTU, &request) ==
	    -1)
		return;
	if (request.ifr_mtu <= 0 || request.ifr_mtu > WG_MAX_MTU ||
	    (uint32_t)request.ifr_mtu == mtu)
		return;
	if (wg_device_set_mtu(dev, (uint32_t)request.ifr_mtu) < 0)
		return;
	warren_log(dev->ctx, LOG_NOTICE,
		   "the MTU of %s was changed from %u to %d by somebody; set"
		   " wg.mtu to keep it",
		   dev->ifname, mtu, request.ifr_mtu);
}

static void housekeeping(struct warren_ctx *ctx, void *arg)
{
	struct wg_device *dev = arg;

	(void)ctx;
	check_mtu(dev);
	wg_guard_tick(dev->guard);
	wg_counts_flush(&dev->counts, &dev->stats);
	warren_timer_set(dev->housekeeping, HOUSEKEEPING * WG_SECOND);
}

/*
 * ---- Events of other plugins ----
 */

static void map_event(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	struct wg_device *dev = arg;

	(void)topic;
	if (wg_netmap_apply(dev, obj) < 0)
		warren_fatal(ctx, "out of memory while taking over the network map; the data plane"
				  " stops rather than run with half of it");
	wg_counts_flush(&dev->counts, &dev->stats);
}

static int identity_dh(void *arg, const uint8_t peer[32], uint8_t out[32])
{
	struct wg_device *dev = arg;

	return dev->identity->dh(dev->identity_self, WARREN_KEY_NODE, peer, out);
}

static void identity_stamp(void *arg, uint8_t out[WG_TIMESTAMP_LEN])
{
	wg_guard_stamp(((struct wg_device *)arg)->guard, out);
}

/* Everything that follows from our public key. -ENOMEM. */
static int load_identity(struct wg_device *dev)
{
	const struct wg_noise_env env = { .dh = identity_dh, .tai64n = identity_stamp, .arg = dev };
	struct wg_cookie_checker *mac1 = calloc(1, sizeof(*mac1)), *old;
	uint8_t key[32];

	if (!mac1)
		return -ENOMEM;
	dev->identity->public_key(dev->identity_self, WARREN_KEY_NODE, key);
	wg_noise_local_init(&dev->local, &env, key);
	wg_cookie_checker_init(&dev->checker, key, NULL, NULL);
	wg_cookie_checker_init(mac1, key, NULL, NULL);
	old = atomic_exchange_explicit(&dev->mac1, mac1, memory_order_acq_rel);
	if (old)
		warren_retire(dev->ctx, old, free);
	return 0;
}

static void identity_event(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	const struct warren_identity_event *event = obj;
	struct wg_device *dev = arg;
	struct wg_peer *peer;

	(void)topic;
	/* The sticky event of the start tells what we have read already. */
	if (!memcmp(event->public_key[WARREN_KEY_NODE], dev->local.public_key, 32))
		return;
	if (load_identity(dev) < 0) {
		warren_fatal(ctx, "out of memory while taking over a new node key");
		return;
	}
	for (uint32_t at = 0; (peer = wg_peers_next(&dev->peers, &at));)
		wg_peer_rekey(peer);
	warren_log(ctx, LOG_NOTICE,
		   "the node key has changed; peers that know the new one will"
		   " handshake again");
}

/*
 * ---- Start and stop ----
 */

static int open_tun(struct wg_device *dev, struct warren_err *err)
{
	struct warren_priv_tun request = {
		.queues = 1,
		.flags = WARREN_TUN_MULTI_QUEUE,
		.mtu = dev->options.mtu,
	};
	struct warren_priv_answer answer = { .size = sizeof(answer) };
	int r;

	memcpy(request.ifname, dev->options.interface, sizeof(request.ifname));
	r = warren_priv_wait(dev->ctx, WARREN_OP_TUN, &request, sizeof(request), &answer, err);
	if (r < 0)
		return r;
	if (answer.count != 1)
		return warren_fail(err, NULL,
				   "the monitor answered TUN with %u descriptors instead of 1",
				   answer.count);
	dev->tun_fd = answer.fds[0];
	dev->tun_handle = answer.handle;
	dev->ifindex = (uint32_t)answer.value;
	memcpy(dev->ifname, dev->options.interface, sizeof(dev->ifname));
	r = wg_tun_prepare(dev->tun_fd);
	if (r < 0)
		warren_fail(err, NULL, "cannot prepare the TUN queue of %s: %s", dev->ifname,
			    strerror(-r));
	return r;
}

/* Publishes @sockets; the old ones are the caller's. */
static struct wg_sockets *set_sockets(struct wg_device *dev, struct wg_sockets *sockets)
{
	atomic_store_explicit(&dev->ports,
			      (uint32_t)sockets->port[0] | (uint32_t)sockets->port[1] << 16,
			      memory_order_relaxed);
	return atomic_exchange_explicit(&dev->sockets, sockets, memory_order_acq_rel);
}

static int make_tables(struct wg_device *dev, struct warren_err *err)
{
	dev->sessions = wg_slab_new(sizeof(struct wg_session));
	dev->lives = wg_slab_new(sizeof(struct wg_live));
	dev->ratelimit = wg_ratelimit_new(RATE_ENTRIES);
	dev->handshakes = wg_ring_new(WG_HANDSHAKE_SLOTS, sizeof(struct wg_handshake_slot));
	dev->events = wg_ring_new(WG_EVENT_SLOTS, sizeof(struct wg_event));
	dev->foreign = wg_ring_new(WG_FOREIGN_SLOTS,
				   sizeof(struct wg_foreign_slot) + WG_FOREIGN_MAX);
	dev->replies = wg_ring_new(WG_REPLY_SLOTS, sizeof(struct wg_reply_slot));
	atomic_store(&dev->chain, wg_hooks_chain(&dev->hooks));
	if (!dev->sessions || !dev->lives || !dev->ratelimit || !dev->handshakes || !dev->events ||
	    !dev->foreign || !dev->replies || !atomic_load(&dev->chain) ||
	    wg_peers_init(&dev->peers) < 0 || wg_netmap_init(dev) < 0 ||
	    wg_device_set_mtu(dev, dev->options.mtu) < 0 || load_identity(dev) < 0 ||
	    wg_stats_open(&dev->stats, dev->ctx) < 0)
		return warren_fail(err, NULL, "out of memory for the tables of the data plane");
	return 0;
}

static int make_loop(struct wg_device *dev, struct warren_err *err)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	dev->lane_fd = fd;
	if (fd != -1)
		dev->lane_io = warren_io_new_take(dev->ctx, fd, wg_news_run, dev);
	dev->timer = warren_timer_new(dev->ctx, timer_fired, dev);
	dev->housekeeping = warren_timer_new(dev->ctx, housekeeping, dev);
	dev->slice = warren_timer_new(dev->ctx, slice_fired, dev);
	if (!dev->lane_io || !dev->timer || !dev->housekeeping || !dev->slice)
		return warren_fail(err, NULL, "out of memory or descriptors");
	warren_io_want(dev->lane_io, WARREN_IN);
	warren_timer_set(dev->housekeeping, HOUSEKEEPING * WG_SECOND);
	return 0;
}

static int start(struct wg_device *dev, struct warren_err *err)
{
	struct wg_sockets *sockets;
	int r;

	dev->guard = wg_guard_new(dev->ctx, err);
	if (!dev->guard)
		return -EIO;
	r = make_tables(dev, err);
	if (!r)
		r = open_tun(dev, err);
	if (r < 0)
		return r;
	sockets = wg_sockets_open(dev, &dev->options, err);
	if (!sockets)
		return -EIO;
	set_sockets(dev, sockets);
	dev->worker = wg_worker_new(dev, err);
	if (!dev->worker)
		return -ENOMEM;
	r = make_loop(dev, err);
	if (!r)
		r = wg_worker_start(dev->worker, err);
	if (!r)
		r = warren_subscribe(dev->ctx, "identity", identity_event, dev);
	if (!r)
		r = warren_subscribe(dev->ctx, "netmap", map_event, dev);
	return r;
}

int wg_device_start(struct wg_device *dev, struct warren_err *err)
{
	const void *ops;
	int r;

	dev->tun_fd = -1;
	dev->lane_fd = -1;
	dev->timer_at = WG_NEVER;
	r = warren_need(dev->ctx, "identity", &ops, &dev->identity_self);
	if (r < 0)
		return r;
	dev->identity = ops;
	r = start(dev, err);
	if (r < 0)
		wg_device_stop(dev);
	return r;
}

void wg_device_stop(struct wg_device *dev)
{
	struct wg_peer *peer;

	if (dev->worker)
		wg_worker_join(dev->worker);
	/* No worker is left: what is retired from here on is free, whoever calls back. */
	warren_release(dev->lane_io);
	warren_release(dev->timer);
	warren_release(dev->housekeeping);
	warren_release(dev->slice);
	dev->lane_io = NULL;
	dev->timer = dev->housekeeping = dev->slice = NULL;
	for (uint32_t at = 0; dev->peers.by_number && (peer = wg_peers_next(&dev->peers, &at));)
		wg_peer_remove(peer);
	wg_verdict_fini(dev);
	wg_service_forget(dev);
	if (dev->guard)
		wg_guard_store(dev->guard);
	wg_sockets_close(atomic_exchange(&dev->sockets, NULL));
	if (dev->tun_fd != -1) {
		close(dev->tun_fd);
		wg_give_back(dev, WARREN_OP_TUN, dev->tun_handle);
	}
	dev->tun_fd = -1;
	if (dev->stats.stat[0])
		wg_counts_flush(&dev->counts, &dev->stats);
}

void wg_device_free(struct wg_device *dev)
{
	wg_netmap_fini(dev);
	wg_guard_free(dev->guard);
	wg_ratelimit_free(dev->ratelimit);
	wg_ring_free(dev->handshakes);
	wg_ring_free(dev->events);
	wg_ring_free(dev->foreign);
	wg_ring_free(dev->replies);
	bulk_free(atomic_load(&dev->bulk));
	wg_index_free(dev->index);
	wg_allowedips_free(atomic_load(&dev->allowed));
	free(atomic_load(&dev->mac1));
	schedule_fini(&dev->schedule);
	wg_peers_fini(&dev->peers);
	wg_cookie_checker_wipe(&dev->checker);
	sodium_memzero(&dev->local, sizeof(dev->local));
	dev->freed = true;
	if (!dev->retired)
		destroy(dev);
}

/*
 * ---- Reload ----
 */

static int set_link_mtu(struct wg_device *dev, uint32_t mtu, struct warren_err *err)
{
	struct warren_priv_addr request = { .verb = WARREN_LINK_SET, .mtu = mtu };
	struct warren_priv_answer answer = { .size = sizeof(answer) };

	memcpy(request.ifname, dev->ifname, sizeof(request.ifname));
	return warren_priv_wait(dev->ctx, WARREN_OP_ADDR, &request, sizeof(request), &answer, err);
}

static bool same_sockets(const struct wg_options *a, const struct wg_options *b)
{
	return a->port == b->port && a->mark == b->mark && a->socket_buffer == b->socket_buffer &&
	       a->listen_family[0] == b->listen_family[0] &&
	       a->listen_family[1] == b->listen_family[1] &&
	       wg_addr_equal(&a->listen[0], &b->listen[0]) &&
	       wg_addr_equal(&a->listen[1], &b->listen[1]);
}

static void sockets_retired(void *ptr)
{
	struct wg_sockets *sockets = ptr;
	struct wg_device *dev = sockets->device;

	wg_sockets_close(sockets);
	wg_device_returned(dev);
}

static struct wg_sockets *no_sockets(struct wg_device *dev)
{
	struct wg_sockets *none = calloc(1, sizeof(*none));

	if (none) {
		none->device = dev;
		none->fd[0] = none->fd[1] = -1;
	}
	return none;
}

static void swap_sockets(struct wg_device *dev, struct wg_sockets *sockets)
{
	struct wg_sockets *old = set_sockets(dev, sockets);

	wg_device_retire(dev, old, sockets_retired);
	wg_worker_wake(dev->worker);
}

/* The same port with other options: the old socket must be closed first. */
static int reopen(struct wg_device *dev, const struct wg_options *now, struct warren_err *err)
{
	struct wg_sockets *none = no_sockets(dev), *old, *sockets;

	if (!none)
		return warren_fail(err, NULL, "out of memory");
	old = set_sockets(dev, none);
	if (!wg_worker_wait_turn(dev->worker)) {
		set_sockets(dev, old);
		wg_device_retire(dev, none, sockets_retired);
		return warren_fail(err, NULL,
				   "the worker does not answer; the UDP sockets stay as they"
				   " are");
	}
	wg_sockets_close(old);
	sockets = wg_sockets_open(dev, now, err);
	if (!sockets) {
		sockets = wg_sockets_open(dev, &dev->options, NULL);
		if (sockets)
			swap_sockets(dev, sockets);
		else
			warren_fatal(dev->ctx, "the UDP port %u could not be opened again",
				     dev->options.port);
		return -EIO;
	}
	swap_sockets(dev, sockets);
	return 0;
}

/* A port that we hold cannot be bound a second time. */
static bool holds_port(const struct wg_device *dev, uint16_t port)
{
	const struct wg_sockets *sockets = atomic_load_explicit(&dev->sockets,
								memory_order_relaxed);

	return port && (port == sockets->port[0] || port == sockets->port[1]);
}

int wg_device_reload(struct wg_device *dev, const struct wg_options *now, struct warren_err *err)
{
	uint32_t mtu = dev->options.mtu;
	int r = 0;

	if (now->mtu != mtu) {
		r = set_link_mtu(dev, now->mtu, err);
		if (!r && wg_device_set_mtu(dev, now->mtu) < 0)
			r = warren_fail(err, NULL, "out of memory for packets of wg.mtu %u",
					now->mtu);
		if (r < 0)
			return r;
	}
	if (!same_sockets(&dev->options, now)) {
		if (holds_port(dev, now->port)) {
			r = reopen(dev, now, err);
		} else {
			struct wg_sockets *sockets = wg_sockets_open(dev, now, err);

			r = sockets ? 0 : -EIO;
			if (sockets)
				swap_sockets(dev, sockets);
		}
	}
	if (r < 0) {
		/* What was there before worked, and is asked for again. */
		if (now->mtu != mtu && !set_link_mtu(dev, mtu, NULL))
			atomic_store_explicit(&dev->mtu, mtu, memory_order_relaxed);
		return r;
	}
	dev->options = *now;
	return 0;
}
