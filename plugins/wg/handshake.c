/*
 * Handshakes on the lane. Every received message is tested in order of cost (dataplane.md 1.15):
 * the worker has checked length, type and MAC1; here follow cookie and rate limit under load, then
 * the DH. Nothing of a peer changes, and nothing is allocated, before its initiation is proven.
 *
 * Where a message comes from matters only without a path writer: then an authentic datagram moves
 * the peer's path (roaming), and each retry tries the next known endpoint. With a writer nothing
 * roams and answers go over the peer's path, or back where the question came from if it has none.
 */
#include "handshake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <sodium.h>

#include "device.h"
#include "transport.h"
#include "wire.h"

/*
 * ---- Paths of a peer without a writer ----
 */

static bool has_writer(const struct wg_device *dev)
{
	return dev->writer.ctx != NULL;
}

void wg_handshake_moved(struct wg_peer *peer, const struct wg_origin *origin)
{
	struct wg_device *dev = peer->device;
	const struct wg_path *old = atomic_load_explicit(&peer->path, memory_order_relaxed);
	struct wg_path *path;

	if (has_writer(dev)) {
		if (origin->kind == WARREN_PATH_UDP && !wg_path_is(old, origin) &&
		    dev->writer.events.proved)
			dev->writer.events.proved(dev->writer.arg, peer->key, &origin->from);
		return;
	}
	/* Relays need a writer that knows them; a plain peer is found by plain UDP. */
	if (origin->kind != WARREN_PATH_UDP)
		return;
	if (wg_path_is(old, origin) && wg_path_same_local(old, origin))
		return;
	path = malloc(sizeof(*path));
	if (!path) {
		wg_count(&dev->counts, WG_C_HS_MEMORY, 1);
		return;
	}
	wg_path_from_origin(path, origin);
	peer->proved = origin->from;
	peer->proved_scope = origin->scope;
	wg_peer_set_path(peer, path);
}

/*
 * The candidates of a retry: the endpoints of the map, and the address it last roamed to unless the
 * map has it. Moves to the one after the last tried.
 */
static void next_endpoint(struct wg_peer *peer)
{
	const struct warren_node *node = wg_device_node(peer->device, peer);
	uint32_t n = node ? node->n_endpoints : 0;
	bool extra = peer->proved.addr.family != 0;
	struct warren_data_path data = { .size = sizeof(data), .kind = WARREN_PATH_UDP };
	struct wg_path *path;

	for (uint32_t i = 0; i < n; i++) {
		if (wg_addrport_equal(&node->endpoints[i], &peer->proved))
			extra = false;
	}
	if (n + extra < 2)
		return;
	peer->endpoint_next = (peer->endpoint_next + 1) % (n + extra);
	data.address = peer->endpoint_next < n ? node->endpoints[peer->endpoint_next]
					       : peer->proved;
	path = wg_path_new(&data, peer->key);
	if (path)
		wg_peer_set_path(peer, path);
}

/*
 * ---- Sending ----
 */

static bool refresh_secret(struct wg_live *live)
{
	struct wg_device *dev = live->entry.device;

	if (live->secret_stale && wg_noise_peer_rekey(&live->noise, &dev->local) < 0)
		return false;
	live->secret_stale = false;
	return true;
}

void wg_handshake_initiate(struct wg_peer *peer, bool retry, uint64_t now)
{
	struct wg_device *dev = peer->device;
	struct wg_live *live = peer->live;
	uint8_t msg[WG_INITIATION_LEN];
	uint32_t index, old = live->noise.sent.index;
	bool waiting = live->noise.sent.waiting;
	const struct wg_path *path;

	if (retry && !has_writer(dev))
		next_endpoint(peer);
	path = atomic_load_explicit(&peer->path, memory_order_relaxed);
	if (!refresh_secret(live) || wg_index_insert(dev->index, &live->entry, &index) < 0) {
		wg_count(&dev->counts, WG_C_HS_MEMORY, 1);
		goto sent;
	}
	if (wg_noise_create_initiation(&dev->local, &live->noise, index, msg) < 0) {
		wg_index_remove(dev->index, index);
		if (waiting)
			wg_index_remove(dev->index, old);
		goto sent;
	}
	if (waiting)
		wg_index_remove(dev->index, old);
	wg_cookie_add_macs(&live->cookie, msg, sizeof(msg), now);
	wg_device_send(dev, path, msg, sizeof(msg));
	wg_count(&dev->counts, retry ? WG_C_RETRIED : WG_C_INITIATED, 1);
sent:
	wg_timers_initiation_sent(&live->timers, &peer->marks, now);
	atomic_store_explicit(&peer->quiet_until, now + WG_REKEY_TIMEOUT, memory_order_relaxed);
	live->pathless = !path;
	if (!path || path->tell)
		wg_device_want_path(peer, now);
	if (peer->session_state != WARREN_SESSION_ESTABLISHED)
		wg_peer_session_state(peer, WARREN_SESSION_HANDSHAKE);
}

void wg_handshake_want(struct wg_peer *peer, uint64_t now)
{
	struct wg_device *dev = peer->device;
	int r = wg_peer_wake(peer, now);

	if (r < 0) {
		char name[64];

		peer->unusable = r == -EINVAL;
		warren_log_limit(dev->ctx, &dev->log_peer, LOG_WARNING,
				 "peer %s: no handshake can be started: %s",
				 wg_device_peer_name(dev, peer, name),
				 r == -EINVAL ? "its public key is not a valid one" : strerror(-r));
		return;
	}
	if (wg_timers_want_handshake(&peer->live->timers, now))
		wg_handshake_initiate(peer, false, now);
	wg_device_look(dev, peer, now);
}

void wg_handshake_path_found(struct wg_peer *peer, uint64_t now)
{
	struct wg_live *live = peer->live;

	if (!live || !live->pathless)
		return;
	live->pathless = false;
	if (wg_timers_path_found(&live->timers))
		wg_handshake_want(peer, now);
}

/*
 * ---- Sessions come up ----
 */

static void session_up(struct wg_live *live, uint64_t now)
{
	struct wg_peer *peer = live->entry.peer;

	wg_timers_handshake_complete(&live->timers);
	peer->last_handshake = now;
	peer->last_handshake_realtime = warren_realtime();
	atomic_store_explicit(&peer->quiet_until, 0, memory_order_relaxed);
	wg_count(&peer->device->counts, WG_C_COMPLETED, 1);
}

void wg_handshake_confirmed(struct wg_peer *peer, uint32_t index, uint64_t now)
{
	struct wg_live *live = peer->live;

	if (!live || !live->next || live->next->keys.local_index != index ||
	    !wg_session_confirm(live, live->next))
		return;
	session_up(live, now);
	wg_peer_order(peer, WG_TODO_FLUSH);
	wg_device_look(peer->device, peer, now);
}

static void receive_response(struct wg_device *dev, const struct wg_handshake_slot *slot,
			     uint64_t now)
{
	struct wg_entry *entry = wg_index_find(dev->index,
					       wg_message_receiver(slot->data, WG_RESPONSE));
	struct wg_live *live = (struct wg_live *)entry;
	struct wg_session *session;
	int r;

	if (!entry || entry->kind != WG_ENTRY_HANDSHAKE) {
		wg_count(&dev->counts, WG_C_HS_STALE, 1);
		return;
	}
	session = wg_session_new(entry->peer, now);
	if (!session) {
		wg_count(&dev->counts, WG_C_HS_MEMORY, 1);
		return;
	}
	r = wg_noise_consume_response(&dev->local, &live->noise, slot->data, &session->keys);
	if (r < 0) {
		wg_slab_free(dev->sessions, session);
		wg_count(&dev->counts, r == -ENOENT ? WG_C_HS_STALE : WG_C_HS_FORGED, 1);
		return;
	}
	wg_index_replace(dev->index, session->keys.local_index, &session->entry);
	wg_session_install_initiator(live, session);
	wg_marks_received(&entry->peer->marks, now);
	wg_handshake_moved(entry->peer, &slot->origin);
	wg_timers_session_derived(&live->timers, now);
	session_up(live, now);
	/* The responder waits for a packet with the new key: staged ones, or an empty one. */
	wg_peer_order(entry->peer, WG_TODO_FLUSH | WG_TODO_KEEPALIVE);
	wg_peer_session_state(entry->peer, WARREN_SESSION_ESTABLISHED);
	wg_device_look(dev, entry->peer, now);
}

/*
 * ---- Initiations of others ----
 */

/* At most options.new_peers idle peers per second are woken by initiations. */
static bool may_wake(struct wg_device *dev, uint64_t now)
{
	if (now - dev->new_peers_at >= WG_SECOND) {
		dev->new_peers_at = now;
		dev->new_peers_left = dev->options.new_peers;
	}
	if (!dev->new_peers_left)
		return false;
	dev->new_peers_left--;
	return true;
}

/* Proves the initiator; the peer is live afterwards. NULL: dropped and counted. */
static struct wg_live *admit(struct wg_device *dev, struct wg_noise_opened *opened, uint64_t now)
{
	struct wg_peer *peer = wg_peers_find(&dev->peers, opened->peer_key);
	uint8_t ss[32], greatest[WG_TIMESTAMP_LEN];
	enum wg_counter why = WG_C_HS_FORGED;
	int r;

	if (!peer) {
		wg_count(&dev->counts, WG_C_HS_UNKNOWN, 1);
		return NULL;
	}
	if (peer->live && refresh_secret(peer->live))
		memcpy(ss, peer->live->noise.ss, sizeof(ss));
	else if (dev->identity->dh(dev->identity_self, WARREN_KEY_NODE, peer->key, ss) < 0)
		goto drop;
	if (wg_noise_accept_initiation(opened, ss) < 0)
		goto drop;
	if (!peer->live) {
		wg_guard_greatest(dev->guard, peer->key, greatest);
		why = WG_C_HS_REPLAY;
		if (memcmp(opened->timestamp, greatest, sizeof(greatest)) <= 0)
			goto drop;
		why = WG_C_HS_FLOOD;
		if (!may_wake(dev, now))
			goto drop;
		why = WG_C_HS_MEMORY;
		if (wg_peer_wake_with(peer, ss, now) < 0)
			goto drop;
	}
	r = wg_noise_admit(&peer->live->noise, opened, now);
	why = r == -EALREADY ? WG_C_HS_REPLAY : WG_C_HS_FLOOD;
	if (r < 0)
		goto drop;
	sodium_memzero(ss, sizeof(ss));
	wg_guard_accepted(dev->guard, peer->key, opened->timestamp);
	return peer->live;
drop:
	sodium_memzero(ss, sizeof(ss));
	wg_count(&dev->counts, why, 1);
	return NULL;
}

static void answer(struct wg_live *live, struct wg_noise_opened *opened,
		   const struct wg_origin *origin, uint64_t now)
{
	struct wg_device *dev = live->entry.device;
	struct wg_peer *peer = live->entry.peer;
	struct wg_session *session = wg_session_new(peer, now);
	uint8_t msg[WG_RESPONSE_LEN];
	struct wg_path back;
	const struct wg_path *path;
	uint32_t index;

	if (!session || wg_index_insert(dev->index, &session->entry, &index) < 0) {
		wg_slab_free(dev->sessions, session);
		wg_count(&dev->counts, WG_C_HS_MEMORY, 1);
		return;
	}
	if (wg_noise_create_response(&dev->local, &live->noise, opened, index, msg,
				     &session->keys) < 0) {
		session->keys.local_index = index;
		wg_session_drop(session);
		wg_count(&dev->counts, WG_C_HS_FORGED, 1);
		return;
	}
	wg_session_install_responder(live, session);
	wg_marks_received(&peer->marks, now);
	wg_handshake_moved(peer, origin);
	path = atomic_load_explicit(&peer->path, memory_order_relaxed);
	if (!path) {
		wg_path_from_origin(&back, origin);
		path = &back;
		wg_device_want_path(peer, now);
	} else if (path->tell) {
		wg_device_want_path(peer, now);
	}
	wg_cookie_add_macs(&live->cookie, msg, sizeof(msg), now);
	wg_device_send(dev, path, msg, sizeof(msg));
	wg_count(&dev->counts, WG_C_ANSWERED, 1);
	wg_timers_response_sent(&live->timers, &peer->marks, now);
	wg_timers_session_derived(&live->timers, now);
	atomic_store_explicit(&peer->quiet_until, now + WG_REKEY_TIMEOUT, memory_order_relaxed);
	wg_peer_session_state(peer, WARREN_SESSION_ESTABLISHED);
	wg_device_look(dev, peer, now);
}

static void receive_initiation(struct wg_device *dev, const struct wg_handshake_slot *slot,
			       uint64_t now)
{
	struct wg_noise_opened opened;
	struct wg_live *live;

	if (wg_noise_open_initiation(&dev->local, slot->data, &opened) < 0) {
		wg_count(&dev->counts, WG_C_HS_FORGED, 1);
		return;
	}
	live = admit(dev, &opened, now);
	if (live)
		answer(live, &opened, &slot->origin, now);
	wg_noise_opened_wipe(&opened);
}

static void receive_cookie(struct wg_device *dev, const struct wg_handshake_slot *slot,
			   uint64_t now)
{
	struct wg_entry *entry = wg_index_find(dev->index,
					       wg_message_receiver(slot->data, WG_COOKIE_REPLY));

	/* Both handshakes and key pairs: a response is answered with a cookie, too. */
	if (!entry || !entry->peer->live) {
		wg_count(&dev->counts, WG_C_HS_STALE, 1);
		return;
	}
	if (wg_cookie_consume_reply(&entry->peer->live->cookie, slot->data, now) < 0)
		wg_count(&dev->counts, WG_C_HS_FORGED, 1);
	else
		wg_count(&dev->counts, WG_C_COOKIE_IN, 1);
}

/* Under load: true if the source has shown that it receives what we send, and asks seldom. */
static bool may_pass(struct wg_device *dev, const struct wg_handshake_slot *slot, uint64_t now)
{
	uint8_t source[WG_ORIGIN_BYTES], rate[16], reply[WG_COOKIE_REPLY_LEN];
	size_t len = wg_origin_cookie_source(&slot->origin, source);
	struct wg_path back;

	if (!wg_cookie_check_mac2(&dev->checker, slot->data, slot->len, source, len, now)) {
		wg_cookie_make_reply(&dev->checker, slot->data, slot->len, source, len, now, reply);
		wg_path_from_origin(&back, &slot->origin);
		wg_device_send(dev, &back, reply, sizeof(reply));
		wg_count(&dev->counts, WG_C_COOKIE_OUT, 1);
		wg_count(&dev->counts, WG_C_HS_COOKIE, 1);
		return false;
	}
	len = wg_origin_rate_source(&slot->origin, rate);
	if (!wg_ratelimit_allow(dev->ratelimit, rate, len, now)) {
		wg_count(&dev->counts, WG_C_HS_RATE, 1);
		return false;
	}
	return true;
}

void wg_handshake_receive(struct wg_device *dev, const struct wg_handshake_slot *slot,
			  uint32_t queued, uint64_t now)
{
	uint32_t type = wg_message_type(slot->data, slot->len);

	if (type == WG_COOKIE_REPLY) {
		receive_cookie(dev, slot, now);
		return;
	}
	if (wg_load_update(&dev->load, queued, WG_HANDSHAKE_SLOTS, now) &&
	    !may_pass(dev, slot, now))
		return;
	if (type == WG_INITIATION)
		receive_initiation(dev, slot, now);
	else if (type == WG_RESPONSE)
		receive_response(dev, slot, now);
}
