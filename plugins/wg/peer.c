/*
 * Peers and sessions: the tables that the lane writes and the workers read. The rules of who sends
 * with which key pair (dataplane.md 1.10) are here; when a handshake starts is in handshake.c.
 */
#include "peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "device.h"
#include "handshake.h"
#include "wire.h"
#include "worker.h"

/*
 * ---- The table ----
 */

int wg_peers_init(struct wg_peers *peers)
{
	memset(peers, 0, sizeof(*peers));
	randombytes_buf(peers->hash_key, sizeof(peers->hash_key));
	peers->mask = 15;
	peers->numbers = 16;
	peers->lowest_free = 1;
	peers->slots = calloc(peers->mask + 1, sizeof(struct wg_peer *));
	peers->by_number = calloc(peers->numbers, sizeof(struct wg_peer *));
	if (!peers->slots || !peers->by_number) {
		wg_peers_fini(peers);
		return -ENOMEM;
	}
	return 0;
}

void wg_peers_fini(struct wg_peers *peers)
{
	free(peers->slots);
	free(peers->by_number);
	peers->slots = NULL;
	peers->by_number = NULL;
	peers->count = peers->numbers = 0;
}

static uint32_t home_of(const struct wg_peers *peers, const uint8_t key[32])
{
	uint8_t hash[crypto_shorthash_BYTES];

	crypto_shorthash(hash, key, 32, peers->hash_key);
	return wg_load_le32(hash) & peers->mask;
}

static struct wg_peer **slot_of(const struct wg_peers *peers, const uint8_t key[32])
{
	uint32_t at = home_of(peers, key);

	while (peers->slots[at] && memcmp(peers->slots[at]->key, key, 32))
		at = (at + 1) & peers->mask;
	return &peers->slots[at];
}

struct wg_peer *wg_peers_find(const struct wg_peers *peers, const uint8_t key[32])
{
	return *slot_of(peers, key);
}

struct wg_peer *wg_peers_get(const struct wg_peers *peers, uint32_t number, uint64_t serial)
{
	struct wg_peer *peer = number < peers->numbers ? peers->by_number[number] : NULL;

	return peer && peer->serial == serial ? peer : NULL;
}

static int grow_slots(struct wg_peers *peers)
{
	struct wg_peer **old = peers->slots;
	uint32_t old_size = peers->mask + 1;
	struct wg_peer **slots;

	if (peers->count * 4 < peers->mask * 3)
		return 0;
	slots = calloc((size_t)old_size * 2, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	peers->slots = slots;
	peers->mask = old_size * 2 - 1;
	for (uint32_t i = 0; i < old_size; i++) {
		if (old[i])
			*slot_of(peers, old[i]->key) = old[i];
	}
	free(old);
	return 0;
}

static int take_number(struct wg_peers *peers, uint32_t *number)
{
	uint32_t at = peers->lowest_free;

	while (at < peers->numbers && peers->by_number[at])
		at++;
	if (at == peers->numbers) {
		size_t more = (size_t)peers->numbers * 2;
		struct wg_peer **table = realloc(peers->by_number, more * sizeof(*table));

		if (!table)
			return -ENOMEM;
		memset(table + peers->numbers, 0, (more - peers->numbers) * sizeof(*table));
		peers->by_number = table;
		peers->numbers = (uint32_t)more;
	}
	peers->lowest_free = at + 1;
	*number = at;
	return 0;
}

struct wg_peer *wg_peers_add(struct wg_peers *peers, struct wg_device *device,
			     const uint8_t key[32])
{
	struct wg_peer *peer = calloc(1, sizeof(*peer));

	if (!peer || grow_slots(peers) < 0 || take_number(peers, &peer->number) < 0) {
		free(peer);
		return NULL;
	}
	peer->device = device;
	peer->serial = ++peers->serials;
	memcpy(peer->key, key, sizeof(peer->key));
	atomic_init(&peer->look_at, WG_NEVER);
	peers->by_number[peer->number] = peer;
	*slot_of(peers, key) = peer;
	peers->count++;
	return peer;
}

void wg_peers_remove(struct wg_peers *peers, struct wg_peer *peer)
{
	uint32_t hole = (uint32_t)(slot_of(peers, peer->key) - peers->slots);

	peers->by_number[peer->number] = NULL;
	if (peer->number < peers->lowest_free)
		peers->lowest_free = peer->number;
	peers->count--;
	peers->slots[hole] = NULL;
	for (uint32_t at = (hole + 1) & peers->mask; peers->slots[at];
	     at = (at + 1) & peers->mask) {
		uint32_t home = home_of(peers, peers->slots[at]->key);

		/* Move back what the hole would hide: its home is not between hole and place. */
		if (((at - home) & peers->mask) >= ((at - hole) & peers->mask)) {
			peers->slots[hole] = peers->slots[at];
			peers->slots[at] = NULL;
			hole = at;
		}
	}
}

struct wg_peer *wg_peers_next(const struct wg_peers *peers, uint32_t *at)
{
	while (++*at < peers->numbers) {
		if (peers->by_number[*at])
			return peers->by_number[*at];
	}
	return NULL;
}

/*
 * ---- Sessions ----
 */

static void session_free(void *ptr)
{
	struct wg_session *session = ptr;
	struct wg_device *dev = session->entry.device;

	wg_slab_free(dev->sessions, session);
	wg_device_returned(dev);
}

struct wg_session *wg_session_new(struct wg_peer *peer, uint64_t now)
{
	struct wg_session *session = wg_slab_alloc(peer->device->sessions);

	if (!session)
		return NULL;
	session->entry.kind = WG_ENTRY_SESSION;
	session->entry.peer = peer;
	session->entry.device = peer->device;
	session->born = now;
	return session;
}

static void stop_sending(struct wg_peer *peer, struct wg_session *session)
{
	if (atomic_load_explicit(&peer->send, memory_order_relaxed) == session)
		atomic_store_explicit(&peer->send, NULL, memory_order_release);
}

void wg_session_drop(struct wg_session *session)
{
	struct wg_device *dev;

	if (!session)
		return;
	dev = session->entry.device;
	stop_sending(session->entry.peer, session);
	wg_index_remove(dev->index, session->keys.local_index);
	wg_device_retire(dev, session, session_free);
}

static void start_sending(struct wg_live *live, struct wg_session *session)
{
	live->current = session;
	atomic_store_explicit(&live->entry.peer->send, session, memory_order_release);
}

void wg_session_install_initiator(struct wg_live *live, struct wg_session *session)
{
	wg_session_drop(live->previous);
	if (live->next) {
		live->previous = live->next;
		live->next = NULL;
		wg_session_drop(live->current);
	} else {
		live->previous = live->current;
	}
	start_sending(live, session);
}

void wg_session_install_responder(struct wg_live *live, struct wg_session *session)
{
	wg_session_drop(live->previous);
	live->previous = NULL;
	wg_session_drop(live->next);
	live->next = session;
}

bool wg_session_confirm(struct wg_live *live, struct wg_session *session)
{
	if (!session || live->next != session)
		return false;
	wg_session_drop(live->previous);
	live->previous = live->current;
	live->next = NULL;
	start_sending(live, session);
	return true;
}

/*
 * ---- The live half ----
 */

static void live_free(void *ptr)
{
	struct wg_live *live = ptr;
	struct wg_device *dev = live->entry.device;

	wg_slab_free(dev->lives, live);
	wg_device_returned(dev);
}

static void set_psk(struct wg_live *live, const struct warren_node *node)
{
	if (node && node->psk)
		memcpy(live->noise.psk, node->psk->bytes, sizeof(live->noise.psk));
	else
		sodium_memzero(live->noise.psk, sizeof(live->noise.psk));
}

int wg_peer_wake_with(struct wg_peer *peer, const uint8_t ss[32], uint64_t now)
{
	struct wg_device *dev = peer->device;
	struct wg_live *live;

	if (peer->live)
		return 0;
	if (schedule_reserve(&dev->schedule) < 0)
		return -ENOMEM;
	live = wg_slab_alloc(dev->lives);
	if (!live)
		return -ENOMEM;
	live->entry.kind = WG_ENTRY_HANDSHAKE;
	live->entry.peer = peer;
	live->entry.device = dev;
	wg_noise_peer_init_ss(&live->noise, peer->key, ss, NULL);
	set_psk(live, wg_device_node(dev, peer));
	wg_guard_greatest(dev->guard, peer->key, live->noise.greatest);
	wg_cookie_peer_init(&live->cookie, peer->key);
	wg_timers_init(&live->timers, NULL, NULL);
	wg_timers_created(&live->timers, now);
	peer->live = live;
	if (peer->keepalive)
		wg_timers_set_keepalive(&live->timers, peer->keepalive * WG_SECOND, now);
	return 0;
}

int wg_peer_wake(struct wg_peer *peer, uint64_t now)
{
	struct wg_device *dev = peer->device;
	uint8_t ss[32];
	int r;

	if (peer->live)
		return 0;
	r = dev->identity->dh(dev->identity_self, WARREN_KEY_NODE, peer->key, ss);
	if (!r)
		r = wg_peer_wake_with(peer, ss, now);
	sodium_memzero(ss, sizeof(ss));
	return r;
}

static void forget_handshake(struct wg_live *live)
{
	struct wg_device *dev = live->entry.device;

	if (live->noise.sent.waiting)
		wg_index_remove(dev->index, live->noise.sent.index);
	wg_noise_peer_forget(&live->noise);
}

void wg_peer_drop_keys(struct wg_peer *peer)
{
	struct wg_live *live = peer->live;

	wg_session_drop(live->next);
	wg_session_drop(live->current);
	wg_session_drop(live->previous);
	live->next = live->current = live->previous = NULL;
	forget_handshake(live);
}

void wg_peer_sleep(struct wg_peer *peer)
{
	struct wg_device *dev = peer->device;
	struct wg_live *live = peer->live;

	if (!live)
		return;
	wg_peer_drop_keys(peer);
	wg_timers_stop(&live->timers, &peer->marks);
	schedule_set(&dev->schedule, &live->due, WG_NEVER);
	atomic_store_explicit(&peer->look_at, WG_NEVER, memory_order_relaxed);
	atomic_store_explicit(&peer->quiet_until, 0, memory_order_relaxed);
	peer->live = NULL;
	wg_noise_peer_wipe(&live->noise);
	wg_cookie_peer_wipe(&live->cookie);
	/* A worker may look at the entry of its handshake still. */
	wg_device_retire(dev, live, live_free);
	wg_peer_session_state(peer, WARREN_SESSION_NONE);
}

/* Takes @peer off the stack of orders. */
static void cancel_orders(struct wg_peer *peer)
{
	struct wg_device *dev = peer->device;
	struct wg_peer *list;

	if (!atomic_load_explicit(&peer->todo, memory_order_acquire))
		return;
	list = atomic_exchange_explicit(&dev->todo, NULL, memory_order_acq_rel);
	while (list) {
		struct wg_peer *next = list->todo_next;

		if (list != peer)
			wg_peer_push_order(list);
		list = next;
	}
}

static void peer_free(void *ptr)
{
	struct wg_peer *peer = ptr;
	struct wg_device *dev = peer->device;

	cancel_orders(peer);
	if (dev->worker)
		wg_stage_return(wg_worker_pool(dev->worker), &peer->staged);
	free(peer);
	wg_device_returned(dev);
}

void wg_peer_remove(struct wg_peer *peer)
{
	struct wg_device *dev = peer->device;

	wg_peer_sleep(peer);
	wg_peer_set_path(peer, NULL);
	wg_peer_set_arg(peer, NULL);
	wg_peers_remove(&dev->peers, peer);
	wg_device_retire(dev, peer, peer_free);
}

void wg_peer_rekey(struct wg_peer *peer)
{
	struct wg_live *live = peer->live;

	if (!live)
		return;
	forget_handshake(live);
	live->secret_stale = true;
	atomic_store_explicit(&peer->send, NULL, memory_order_release);
	/* `next` may still receive; as `previous` it can never be promoted. */
	if (live->next) {
		wg_session_drop(live->previous);
		live->previous = live->next;
		live->next = NULL;
	}
	wg_timers_reset_handshake(&live->timers);
	atomic_store_explicit(&peer->quiet_until, 0, memory_order_relaxed);
}

void wg_peer_settings(struct wg_peer *peer, const struct warren_node *node, uint64_t now)
{
	struct wg_live *live = peer->live;
	uint8_t before[32];
	bool changed;

	if (live) {
		memcpy(before, live->noise.psk, sizeof(before));
		set_psk(live, node);
		changed = sodium_memcmp(before, live->noise.psk, sizeof(before)) != 0;
		sodium_memzero(before, sizeof(before));
		if (changed) {
			wg_timers_reset_handshake(&live->timers);
			atomic_store_explicit(&peer->quiet_until, 0, memory_order_relaxed);
		}
		/* What waits was made for the other PSK: its response would be refused. */
		if (changed && live->noise.sent.waiting)
			wg_handshake_want(peer, now);
	}
	if (peer->keepalive == node->keepalive)
		return;
	peer->keepalive = node->keepalive;
	if (live) {
		wg_timers_set_keepalive(&live->timers, peer->keepalive * WG_SECOND, now);
		wg_device_look(peer->device, peer, now);
	} else if (peer->keepalive) {
		peer->device->keepalive_asleep = true;
	}
}

/*
 * ---- What workers see of a peer ----
 */

void wg_peer_set_path(struct wg_peer *peer, struct wg_path *path)
{
	struct wg_path *old = atomic_exchange_explicit(&peer->path, path, memory_order_acq_rel);

	if (old)
		warren_retire(peer->device->ctx, old, free);
}

void wg_peer_forget_source(struct wg_peer *peer)
{
	const struct wg_path *old = atomic_load_explicit(&peer->path, memory_order_relaxed);
	struct wg_path *path;

	if (!old || !old->local.addr.family)
		return;
	path = malloc(sizeof(*path));
	if (!path)
		return;
	*path = *old;
	memset(&path->local, 0, sizeof(path->local));
	wg_peer_set_path(peer, path);
}

static void arg_free(void *ptr)
{
	struct wg_arg *arg = ptr;

	if (arg->free)
		arg->free(arg->arg);
	free(arg);
}

void wg_peer_set_arg(struct wg_peer *peer, struct wg_arg *arg)
{
	struct wg_arg *old = atomic_exchange_explicit(&peer->arg, arg, memory_order_acq_rel);

	if (old)
		warren_retire(peer->device->ctx, old, arg_free);
}

void wg_peer_push_order(struct wg_peer *peer)
{
	struct wg_device *dev = peer->device;
	struct wg_peer *head = atomic_load_explicit(&dev->todo, memory_order_relaxed);

	do {
		peer->todo_next = head;
	} while (!atomic_compare_exchange_weak_explicit(
		&dev->todo, &head, peer, memory_order_release, memory_order_relaxed));
}

void wg_peer_order(struct wg_peer *peer, uint32_t todo)
{
	if (!atomic_fetch_or_explicit(&peer->todo, todo, memory_order_acq_rel))
		wg_peer_push_order(peer);
	if (peer->device->worker)
		wg_worker_wake(peer->device->worker);
}

void wg_peer_session_state(struct wg_peer *peer, uint32_t state)
{
	struct wg_writer *writer = &peer->device->writer;

	if (peer->session_state == state)
		return;
	peer->session_state = state;
	if (writer->ctx && writer->events.session)
		writer->events.session(writer->arg, peer->key, state);
}
