/*
 * What the workers report, on the lane: rings are drained in slices, and what is left is taken up
 * in the next turn of the loop. Handshakes are the expensive part (about 190 us each), so they come
 * last.
 */
#include "news.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "device.h"
#include "handshake.h"
#include "worker.h"

enum {
	EVENTS_PER_TURN = 512,
	FOREIGN_PER_TURN = 64,
	RELAY_PER_TURN = 128,
};

static void handle_ask(struct wg_device *dev, struct wg_peer *peer, const struct wg_event *event,
		       uint64_t now)
{
	atomic_fetch_and_explicit(&peer->asked, ~event->ask, memory_order_acq_rel);
	switch (event->ask) {
	case WG_ASK_HANDSHAKE:
		if (!peer->unusable)
			wg_handshake_want(peer, now);
		break;
	case WG_ASK_REKEY:
		if (peer->live && wg_timers_rekey_on_receive(&peer->live->timers))
			wg_handshake_want(peer, now);
		break;
	case WG_ASK_LOOK:
		wg_device_look(dev, peer, now);
		break;
	case WG_ASK_MOVED:
		wg_handshake_moved(peer, &event->origin);
		break;
	case WG_ASK_PATH:
		wg_device_want_path(peer, now);
		break;
	case WG_ASK_SOURCE:
		wg_peer_forget_source(peer);
		break;
	default:
		break;
	}
}

static bool drain_events(struct wg_device *dev, uint64_t now)
{
	struct wg_event *slot;

	for (uint32_t i = 0; i < EVENTS_PER_TURN; i++) {
		struct wg_event event;
		struct wg_peer *peer;

		slot = wg_ring_take(dev->events);
		if (!slot)
			return false;
		event = *slot;
		wg_ring_release(dev->events, slot);
		peer = wg_peers_get(&dev->peers, event.number, event.serial);
		if (!peer)
			continue;
		if (event.kind == WG_EVENT_CONFIRMED)
			wg_handshake_confirmed(peer, event.index, now);
		else
			handle_ask(dev, peer, &event, now);
	}
	return true;
}

static bool drain_foreign(struct wg_device *dev)
{
	struct wg_foreign_slot *slot;

	for (uint32_t i = 0; i < FOREIGN_PER_TURN; i++) {
		slot = wg_ring_take(dev->foreign);
		if (!slot)
			return false;
		if (dev->taker[slot->class_].ctx)
			dev->taker[slot->class_].fn(dev->taker[slot->class_].arg, &slot->from,
						    slot->vni, slot->data, slot->len);
		wg_ring_release(dev->foreign, slot);
	}
	return true;
}

static bool drain_relay(struct wg_device *dev)
{
	struct wg_bulk *bulk = atomic_load_explicit(&dev->bulk, memory_order_relaxed);
	struct wg_relay_slot *slot;

	for (uint32_t i = 0; i < RELAY_PER_TURN; i++) {
		slot = wg_ring_take(bulk->relay_out);
		if (!slot)
			return false;
		if (dev->writer.ctx && dev->writer.events.relay_out)
			dev->writer.events.relay_out(dev->writer.arg, slot->region, slot->peer,
						     slot->data, slot->len);
		wg_ring_release(bulk->relay_out, slot);
	}
	return true;
}

static bool drain_handshakes(struct wg_device *dev, uint64_t start)
{
	uint64_t now = warren_now();

	while (now - start < WG_SLICE) {
		uint32_t queued = wg_ring_queued(dev->handshakes);
		struct wg_handshake_slot *slot = wg_ring_take(dev->handshakes);

		if (!slot)
			return false;
		wg_handshake_receive(dev, slot, queued, now);
		wg_ring_release(dev->handshakes, slot);
		now = warren_now();
	}
	return true;
}

void wg_news_run(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct wg_device *dev = arg;
	uint64_t start = warren_now(), count;
	int failed = atomic_load_explicit(&dev->failed, memory_order_acquire);
	bool more = false;

	(void)what;
	if (read(fd, &count, sizeof(count)) == -1 && errno != EAGAIN)
		warren_log(ctx, LOG_ERR, "cannot read the event counter: %s", strerror(errno));
	atomic_store_explicit(&dev->lane_woken, false, memory_order_seq_cst);
	if (failed) {
		warren_io_want(dev->lane_io, 0);
		warren_fatal(ctx,
			     "the interface %s is gone (%s); somebody removed it. The tunnel cannot"
			     " work without it: restart the daemon",
			     dev->ifname, strerror(failed));
		return;
	}
	more |= drain_events(dev, start);
	more |= drain_relay(dev);
	more |= drain_foreign(dev);
	more |= drain_handshakes(dev, start);
	wg_counts_flush(&dev->counts, &dev->stats);
	if (more)
		wg_device_wake_lane(dev);
}
