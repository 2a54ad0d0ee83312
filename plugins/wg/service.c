/*
 * What other plugins may do with the data plane. Each registration is tied to the context of its
 * plugin by warren_on_end(), so that nothing is called that is gone.
 */
#include "service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "handshake.h"
#include "netmap.h"
#include "transport.h"
#include "worker.h"

static const char *service_ifname(void *self)
{
	return ((const struct wg_device *)self)->ifname;
}

static uint32_t service_ifindex(void *self)
{
	return ((const struct wg_device *)self)->ifindex;
}

static uint32_t service_mtu(void *self)
{
	return atomic_load_explicit(&((struct wg_device *)self)->mtu, memory_order_relaxed);
}

static uint16_t service_port(void *self, uint32_t family)
{
	struct wg_device *dev = self;

	return (uint16_t)(atomic_load_explicit(&dev->ports, memory_order_relaxed) >>
			  (family == 6 ? 16 : 0));
}

/*
 * ---- Paths ----
 */

static int service_dont_fragment(void *self, bool on)
{
	struct wg_device *dev = self;
	const struct wg_sockets *sockets = atomic_load_explicit(&dev->sockets,
								memory_order_relaxed);
	int r = 0;

	for (int which = 0; which < 2 && !r; which++)
		if (sockets->fd[which] != -1)
			r = wg_udp_dont_fragment(sockets->fd[which], which ? 6 : 4, on);
	if (!r)
		dev->dont_fragment = on;
	return r;
}

static void writer_ended(void *opaque)
{
	struct wg_device *dev = opaque;

	memset(&dev->writer, 0, sizeof(dev->writer));
	atomic_store_explicit(&dev->has_writer, false, memory_order_relaxed);
	service_dont_fragment(dev, false);
	wg_netmap_restore_endpoints(dev);
}

static int service_paths_attach(void *self, struct warren_ctx *ctx,
				const struct warren_path_events *events, void *arg)
{
	struct wg_device *dev = self;
	struct wg_peer *peer;

	if (dev->writer.ctx)
		return -EBUSY;
	dev->writer.end = warren_on_end(ctx, writer_ended, dev);
	if (!dev->writer.end)
		return -ENOMEM;
	memcpy(&dev->writer.events, events,
	       events->size < sizeof(dev->writer.events) ? events->size
							 : sizeof(dev->writer.events));
	dev->writer.ctx = ctx;
	dev->writer.arg = arg;
	atomic_store_explicit(&dev->has_writer, true, memory_order_relaxed);
	/* Present paths stay until the writer sets others; their sticky sources go. */
	for (uint32_t at = 0; (peer = wg_peers_next(&dev->peers, &at));)
		wg_peer_forget_source(peer);
	return 0;
}

static bool path_is_valid(const struct warren_data_path *path)
{
	switch (path->kind) {
	case WARREN_PATH_NONE:
		return true;
	case WARREN_PATH_UDP:
	case WARREN_PATH_GENEVE:
		return (path->address.addr.family == 4 || path->address.addr.family == 6) &&
		       path->address.port && path->vni < 1u << 24;
	case WARREN_PATH_RELAY:
		return path->region != 0;
	default:
		return false;
	}
}

static int service_path_set(void *self, const uint8_t peer_key[32],
			    const struct warren_data_path *path)
{
	struct wg_device *dev = self;
	struct wg_peer *peer = wg_peers_find(&dev->peers, peer_key);
	struct wg_path *made = NULL;

	if (!dev->writer.ctx)
		return -EPERM;
	if (!peer)
		return -ENOENT;
	if (!path_is_valid(path))
		return -EINVAL;
	if (path->kind != WARREN_PATH_NONE) {
		made = wg_path_new(path, peer_key);
		if (!made)
			return -ENOMEM;
	}
	wg_peer_set_path(peer, made);
	if (made)
		wg_handshake_path_found(peer, warren_now());
	return 0;
}

static int service_path_get(void *self, const uint8_t peer_key[32], struct warren_data_path *path)
{
	struct wg_device *dev = self;
	const struct wg_peer *peer = wg_peers_find(&dev->peers, peer_key);

	if (!peer)
		return -ENOENT;
	wg_path_to_data(atomic_load_explicit(&peer->path, memory_order_relaxed), path);
	return 0;
}

static int service_handshake(void *self, const uint8_t peer_key[32])
{
	struct wg_device *dev = self;
	struct wg_peer *peer = wg_peers_find(&dev->peers, peer_key);
	const struct wg_session *session;
	uint64_t now = warren_now();

	if (!peer)
		return -ENOENT;
	if (peer->unusable)
		return -EINVAL;
	session = atomic_load_explicit(&peer->send, memory_order_relaxed);
	if (session && now < session->born + WG_REKEY_AFTER_TIME)
		return 0;
	wg_handshake_want(peer, now);
	return 0;
}

/*
 * ---- Foreign packets ----
 */

static void taker_ended(void *opaque)
{
	struct wg_foreign_taker *taker = opaque;
	struct wg_device *dev = taker->device;

	atomic_fetch_and_explicit(&dev->foreign_taken, ~(1u << (taker - dev->taker)),
				  memory_order_relaxed);
	memset(taker, 0, sizeof(*taker));
}

static int service_foreign(void *self, struct warren_ctx *ctx, uint32_t class_,
			   warren_foreign_fn *fn, void *arg)
{
	struct wg_device *dev = self;
	struct wg_foreign_taker *taker;

	if (class_ >= WARREN_FOREIGN_CLASSES)
		return -EINVAL;
	taker = &dev->taker[class_];
	if (taker->ctx && taker->ctx != ctx)
		return -EBUSY;
	if (!fn) {
		if (taker->ctx) {
			warren_release(taker->end);
			taker_ended(taker);
		}
		return 0;
	}
	if (!taker->ctx) {
		taker->device = dev;
		taker->end = warren_on_end(ctx, taker_ended, taker);
		if (!taker->end)
			return -ENOMEM;
	}
	taker->ctx = ctx;
	taker->fn = fn;
	taker->arg = arg;
	atomic_fetch_or_explicit(&dev->foreign_taken, 1u << class_, memory_order_relaxed);
	return 0;
}

static int service_raw_send(void *self, const struct warren_addrport *to, uint32_t vni,
			    const uint8_t *data, size_t len)
{
	struct wg_device *dev = self;
	const struct wg_sockets *sockets = atomic_load_explicit(&dev->sockets,
								memory_order_relaxed);
	struct warren_data_path data_path = { .kind = WARREN_PATH_UDP, .address = *to };
	uint8_t wrapped[WG_GENEVE_LEN + WG_FOREIGN_MAX];
	static const uint8_t nobody[32];
	struct wg_path *path;
	int fd = sockets->fd[to->addr.family == 6], r;

	if (len > WG_FOREIGN_MAX)
		return -EMSGSIZE;
	if ((to->addr.family != 4 && to->addr.family != 6) || !to->port)
		return -EINVAL;
	if (fd == -1)
		return -EAFNOSUPPORT;
	path = wg_path_new(&data_path, nobody);
	if (!path)
		return -ENOMEM;
	if (vni) {
		wg_geneve_write(wrapped, WG_GENEVE_DISCO, vni);
		memcpy(wrapped + WG_GENEVE_LEN, data, len);
		data = wrapped;
		len += WG_GENEVE_LEN;
	}
	r = wg_udp_send(fd, path, data, len);
	free(path);
	return r;
}

static int service_raw_send_by(void *self, uint32_t ifindex, const struct warren_addr *from,
			       const struct warren_addrport *to, const uint8_t *data, size_t len)
{
	struct wg_device *dev = self;
	const struct wg_sockets *sockets = atomic_load_explicit(&dev->sockets,
								memory_order_relaxed);
	struct warren_data_path data_path = { .kind = WARREN_PATH_UDP, .address = *to };
	static const uint8_t nobody[32];
	struct wg_path *path;
	int r;

	if (!to->port || !ifindex || from->family != to->addr.family ||
	    (from->family != 4 && from->family != 6))
		return -EINVAL;
	if (sockets->fd[from->family == 6] == -1)
		return -EAFNOSUPPORT;
	path = wg_path_new(&data_path, nobody);
	if (!path)
		return -ENOMEM;
	path->local = (struct wg_local){ .addr = *from, .ifindex = ifindex };
	r = wg_udp_send_strict(sockets->fd[from->family == 6], path, data, len);
	free(path);
	return r;
}

static int service_inject(void *self, uint32_t region, const uint8_t peer_key[32],
			  const uint8_t *data, size_t len)
{
	struct wg_device *dev = self;
	struct wg_bulk *bulk = atomic_load_explicit(&dev->bulk, memory_order_relaxed);
	struct wg_inject_slot *slot;
	uint32_t dropped = 0;

	if (len > bulk->message_max) {
		wg_count(&dev->counts, WG_C_TOO_LARGE, 1);
		wg_counts_flush(&dev->counts, &dev->stats);
		return -EMSGSIZE;
	}
	slot = wg_ring_claim_over(bulk->inject, &dropped);
	if (dropped || !slot) {
		wg_count(&dev->counts, WG_C_IN_INJECT_FULL, dropped + !slot);
		wg_counts_flush(&dev->counts, &dev->stats);
	}
	if (!slot)
		return -EAGAIN;
	slot->kind = WG_INJECT_RELAY;
	slot->region = region;
	slot->len = (uint32_t)len;
	memcpy(slot->peer, peer_key, sizeof(slot->peer));
	memcpy(slot->data, data, len);
	wg_ring_commit(bulk->inject, slot);
	wg_worker_wake(dev->worker);
	return 0;
}

/*
 * ---- Verdict and hooks ----
 */

static int service_verdict_set(void *self, struct warren_ctx *ctx,
			       const struct warren_verdict *verdict)
{
	return wg_verdict_set(self, ctx, verdict);
}

static int service_peer_arg_set(void *self, struct warren_ctx *ctx, const uint8_t peer[32],
				void *arg, void (*free_fn)(void *))
{
	return wg_verdict_arg_set(self, ctx, peer, arg, free_fn);
}

static void publish_chain(struct wg_device *dev, struct wg_chain *chain)
{
	struct wg_chain *old = atomic_exchange_explicit(&dev->chain, chain, memory_order_acq_rel);

	if (old)
		warren_retire(dev->ctx, old, free);
}

struct wg_hook_end {			/* one per context with hooks */
	struct wg_hook_end *next;
	struct wg_device *dev;
	struct warren_ctx *ctx;
	void *tie;
};

static void hooks_ended(void *opaque)
{
	struct wg_hook_end *end = opaque, **at = &end->dev->hook_ends;
	struct wg_chain *chain;

	while (*at != end)
		at = &(*at)->next;
	*at = end->next;
	/* Without memory for a chain: none at all drops every packet, and nobody gone is called. */
	wg_hooks_remove(&end->dev->hooks, end->ctx, &chain);
	publish_chain(end->dev, chain);
	free(end);
}

static int service_hook_add(void *self, struct warren_ctx *ctx, const struct warren_hook *hook,
			    struct warren_err *err)
{
	struct wg_device *dev = self;
	struct wg_chain *chain;
	struct wg_hook_end *end = NULL;
	int r;

	if (!wg_hooks_has(&dev->hooks, ctx)) {
		end = malloc(sizeof(*end));
		if (!end)
			return -ENOMEM;
		end->dev = dev;
		end->ctx = ctx;
	}
	r = wg_hooks_add(&dev->hooks, ctx, hook, &chain, err);
	if (r < 0) {
		free(end);
		return r;
	}
	if (end) {
		end->tie = warren_on_end(ctx, hooks_ended, end);
		if (!end->tie) {
			free(chain);
			free(end);
			if (!wg_hooks_remove(&dev->hooks, ctx, &chain))
				free(chain);
			return -ENOMEM;
		}
		end->next = dev->hook_ends;
		dev->hook_ends = end;
	}
	publish_chain(dev, chain);
	return 0;
}

static int service_packet_inject(void *self, struct warren_ctx *ctx, uint32_t direction,
				 const uint8_t *data, size_t len)
{
	struct wg_device *dev = self;
	struct wg_bulk *bulk = atomic_load_explicit(&dev->bulk, memory_order_relaxed);
	struct wg_chain *chain = atomic_load_explicit(&dev->chain, memory_order_relaxed);
	struct wg_inject_slot *slot;

	if (direction > WARREN_PKT_IN || !chain)
		return -EINVAL;
	if (len > bulk->message_max || !len || wg_inner_len(data, len) < 0)
		return -EMSGSIZE;
	slot = wg_ring_claim(bulk->inject);
	if (!slot)
		return -EAGAIN;
	slot->kind = direction == WARREN_PKT_OUT ? WG_INJECT_OUT : WG_INJECT_IN;
	slot->after = wg_hooks_last_of(&dev->hooks, chain, ctx, direction);
	slot->len = (uint32_t)len;
	memcpy(slot->data, data, len);
	wg_ring_commit(bulk->inject, slot);
	wg_worker_wake(dev->worker);
	return 0;
}

static int service_packet_reply(void *self, const uint8_t *data, size_t len)
{
	struct wg_device *dev = self;
	struct wg_reply_slot *slot;

	if (!len || len > WARREN_REPLY_MAX || wg_inner_len(data, len) < 0)
		return -EMSGSIZE;
	slot = wg_ring_claim(dev->replies);
	if (!slot) {
		warren_stat_add(dev->stats.stat[WG_C_REPLY_FULL], 1);
		return -EAGAIN;
	}
	slot->len = (uint32_t)len;
	memcpy(slot->data, data, len);
	wg_ring_commit(dev->replies, slot);
	/* A hook's worker is awake and comes by the ring before it sleeps: no system call then. */
	wg_worker_wake(dev->worker);
	return 0;
}

static int service_hand_over(void *self, uint32_t class_, const uint8_t *data, size_t len)
{
	struct wg_device *dev = self;
	struct wg_foreign_slot *slot;

	if (class_ >= WARREN_FOREIGN_CLASSES ||
	    !(atomic_load_explicit(&dev->foreign_taken, memory_order_relaxed) & 1u << class_)) {
		warren_stat_add(dev->stats.stat[WG_C_IN_FOREIGN], 1);
		return -ENOENT;
	}
	if (len > WG_FOREIGN_MAX)
		return -EMSGSIZE;
	slot = wg_ring_claim(dev->foreign);
	if (!slot) {
		warren_stat_add(dev->stats.stat[WG_C_IN_FOREIGN_FULL], 1);
		return -EAGAIN;
	}
	memset(&slot->from, 0, sizeof(slot->from));
	slot->class_ = class_;
	slot->vni = 0;
	slot->len = (uint32_t)len;
	memcpy(slot->data, data, len);
	wg_ring_commit(dev->foreign, slot);
	wg_device_wake_lane(dev);
	return 0;
}

static int service_source_take(void *self, struct warren_ctx *ctx,
			       const struct warren_source *source)
{
	return wg_source_take(self, ctx, source);
}

void wg_service_forget(struct wg_device *dev)
{
	for (int i = 0; i < WARREN_FOREIGN_CLASSES; i++)
		warren_release(dev->taker[i].end);
	memset(dev->taker, 0, sizeof(dev->taker));
	warren_release(dev->writer.end);
	memset(&dev->writer, 0, sizeof(dev->writer));
	wg_source_forget(dev);
	while (dev->hook_ends) {
		struct wg_hook_end *end = dev->hook_ends;

		dev->hook_ends = end->next;
		warren_release(end->tie);
		free(end);
	}
	wg_hooks_fini(&dev->hooks);
	free(atomic_exchange(&dev->chain, NULL));
}

/*
 * ---- Status ----
 */

static void peer_status(const struct wg_peer *peer, struct warren_peer_status *status)
{
	memset(status, 0, sizeof(*status));
	status->size = sizeof(*status);
	status->number = peer->number;
	memcpy(status->key, peer->key, sizeof(status->key));
	status->session = peer->session_state;
	wg_path_to_data(atomic_load_explicit(&peer->path, memory_order_relaxed), &status->path);
	status->rx_bytes = atomic_load_explicit(&peer->rx_bytes, memory_order_relaxed);
	status->tx_bytes = atomic_load_explicit(&peer->tx_bytes, memory_order_relaxed);
	status->rx_packets = atomic_load_explicit(&peer->rx_packets, memory_order_relaxed);
	status->tx_packets = atomic_load_explicit(&peer->tx_packets, memory_order_relaxed);
	status->last_handshake = peer->last_handshake;
	status->last_handshake_realtime = peer->last_handshake_realtime;
	status->last_rx = atomic_load_explicit(&peer->marks.received, memory_order_relaxed);
	status->last_tx = atomic_load_explicit(&peer->marks.sent, memory_order_relaxed);
}

static void service_peers(void *self, void (*fn)(const struct warren_peer_status *, void *),
			  void *arg)
{
	const struct wg_device *dev = self;
	struct warren_peer_status status;
	const struct wg_peer *peer;

	for (uint32_t at = 0; (peer = wg_peers_next(&dev->peers, &at));) {
		peer_status(peer, &status);
		fn(&status, arg);
	}
}

static int service_peer(void *self, const uint8_t peer_key[32], struct warren_peer_status *status)
{
	const struct wg_device *dev = self;
	const struct wg_peer *peer = wg_peers_find(&dev->peers, peer_key);

	if (!peer)
		return -ENOENT;
	peer_status(peer, status);
	return 0;
}

const struct warren_dataplane_ops wg_service_ops = {
	.size = sizeof(struct warren_dataplane_ops),
	.ifname = service_ifname,
	.ifindex = service_ifindex,
	.mtu = service_mtu,
	.port = service_port,
	.paths_attach = service_paths_attach,
	.path_set = service_path_set,
	.path_get = service_path_get,
	.handshake = service_handshake,
	.foreign = service_foreign,
	.raw_send = service_raw_send,
	.inject = service_inject,
	.verdict_set = service_verdict_set,
	.peer_arg_set = service_peer_arg_set,
	.hook_add = service_hook_add,
	.packet_inject = service_packet_inject,
	.peers = service_peers,
	.peer = service_peer,
	.packet_reply = service_packet_reply,
	.hand_over = service_hand_over,
	.source_take = service_source_take,
	.dont_fragment = service_dont_fragment,
	.raw_send_by = service_raw_send_by,
};
