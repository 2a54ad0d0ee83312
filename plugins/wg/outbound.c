/*
 * From the TUN to the sockets. Packets are read behind each other into one area, each with room for
 * its headers, so that they are encrypted where they lie and the area later is a GSO payload.
 * After hooks and verdict the destination chooses the peer; runs of one peer take their nonces in
 * one block. Without a session packets are staged and the lane is asked for a handshake.
 *
 * A full socket queue leaves the area as it is; the TUN is not read until the rest is gone.
 */
#include "worker.h"

#include <errno.h>
#include <string.h>

#include "transport.h"

static void lost_source(void *arg, struct wg_udp_ref ref)
{
	struct wg_worker *w = arg;
	struct wg_event *event = wg_ring_claim(w->dev->events);

	if (!event) {
		wg_count(&w->counts, WG_C_EVENT_FULL, 1);
		return;
	}
	event->kind = WG_EVENT_ASK;
	event->ask = WG_ASK_SOURCE;
	event->number = ref.number;
	event->serial = ref.serial;
	wg_ring_commit(w->dev->events, event);
	w->news = true;
}

bool wg_outbound_flush(struct wg_worker *w)
{
	const struct wg_sockets *sockets = atomic_load_explicit(&w->dev->sockets,
								memory_order_acquire);

	w->blocked = false;
	for (int i = 0; i < 2; i++) {
		if (!w->out[i].n)
			continue;
		if (sockets->fd[i] == -1) {
			wg_count(&w->counts, WG_C_OUT_SEND, w->out[i].n - w->out[i].done);
			w->out[i].n = w->out[i].done = 0;
		} else if (wg_udp_flush(&w->out[i], sockets->fd[i], &w->counts, lost_source, w) <
			   0) {
			w->blocked = true;
		}
	}
	if (!w->blocked)
		w->used = 0;
	return !w->blocked;
}

static bool has_room(const struct wg_worker *w)
{
	return !w->blocked && w->used < WG_OUT_BUDGET && !wg_udp_out_full(&w->out[0]) &&
	       !wg_udp_out_full(&w->out[1]);
}

/* Where the next message begins (its Geneve header is before it); the inner packet is 16 after. */
static uint8_t *next_message(const struct wg_worker *w)
{
	return w->area + w->used + WG_GENEVE_LEN;
}

/* The area up to the end of a message of an inner packet of @len bytes at @msg is taken. */
static void take_area(struct wg_worker *w, const uint8_t *msg, size_t len)
{
	w->used = (size_t)(msg - w->area) + wg_transport_len(len, w->mtu);
}

/*
 * ---- Sealed messages to their path ----
 */

static void to_relay(struct wg_worker *w, const struct wg_peer *peer, uint32_t region,
		     const uint8_t *msg, size_t len)
{
	struct wg_bulk *bulk = atomic_load_explicit(&w->dev->bulk, memory_order_acquire);
	struct wg_relay_slot *slot;
	uint32_t dropped = 0;

	if (len > bulk->message_max) {
		wg_count(&w->counts, WG_C_TOO_LARGE, 1);
		return;
	}
	slot = wg_ring_claim_over(bulk->relay_out, &dropped);
	if (slot) {
		slot->region = region;
		slot->len = (uint32_t)len;
		memcpy(slot->peer, peer->key, sizeof(slot->peer));
		memcpy(slot->data, msg, len);
		wg_ring_commit(bulk->relay_out, slot);
		wg_count(&w->counts, WG_C_RELAY_OUT, 1);
		w->news = true;
	} else {
		dropped++;
	}
	if (dropped)
		wg_count(&w->counts, WG_C_OUT_RELAY_FULL, dropped);
}

static void to_path(struct wg_worker *w, struct wg_peer *peer, const struct wg_path *path,
		    uint8_t *msg, size_t len)
{
	struct wg_udp_ref ref = { peer->number, peer->serial };

	switch (path ? path->kind : WARREN_PATH_NONE) {
	case WARREN_PATH_GENEVE:
		wg_geneve_write(msg - WG_GENEVE_LEN, WG_GENEVE_WIREGUARD, path->vni);
		wg_udp_add(&w->out[path->to.addr.family == 6], path, msg - WG_GENEVE_LEN,
			   len + WG_GENEVE_LEN, ref);
		wg_count(&w->counts, WG_C_GENEVE_OUT, 1);
		break;
	case WARREN_PATH_UDP:
		wg_udp_add(&w->out[path->to.addr.family == 6], path, msg, len, ref);
		break;
	case WARREN_PATH_RELAY:
		to_relay(w, peer, path->region, msg, len);
		break;
	default:
		wg_count(&w->counts, WG_C_OUT_NO_PATH, 1);
		wg_worker_ask(w, peer, WG_ASK_PATH, NULL);
		return;
	}
	if (path->copy_region)
		to_relay(w, peer, path->copy_region, msg, len);
	if (path->tell)
		wg_worker_ask(w, peer, WG_ASK_PATH, NULL);
}

/*
 * ---- Sessions ----
 */

static void ask_handshake(struct wg_worker *w, struct wg_peer *peer)
{
	if (atomic_load_explicit(&peer->quiet_until, memory_order_relaxed) <= w->now)
		wg_worker_ask(w, peer, WG_ASK_HANDSHAKE, NULL);
}

/* A session that may send @n packets now, with their first counter; NULL: none. */
static struct wg_session *sending_session(struct wg_worker *w, struct wg_peer *peer, uint32_t n,
					  uint64_t *counter)
{
	struct wg_session *session = atomic_load_explicit(&peer->send, memory_order_acquire);

	if (!session ||
	    !wg_key_usable(session->born,
			   atomic_load_explicit(&session->counter, memory_order_relaxed) + n,
			   w->now))
		return NULL;
	*counter = atomic_fetch_add_explicit(&session->counter, n, memory_order_relaxed);
	return session;
}

static void add_counter(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static void sent(struct wg_worker *w, struct wg_peer *peer, struct wg_session *session,
		 uint64_t counter, bool data)
{
	if (data)
		wg_marks_data_sent(&peer->marks, w->now);
	else
		wg_marks_sent(&peer->marks, w->now);
	wg_worker_check_look(w, peer);
	if (wg_key_rekey_on_send(session->keys.initiator, session->born, counter, w->now))
		ask_handshake(w, peer);
}

static void stage(struct wg_worker *w, struct wg_peer *peer, const uint8_t *data, size_t len)
{
	uint32_t lost = wg_stage_push(w->pool, &peer->staged, data, len);

	if (lost)
		wg_count(&w->counts, WG_C_OUT_STAGED, lost);
}

/* Packets pkt[first .. first + n) are all for @peer. */
static void send_run(struct wg_worker *w, struct wg_peer *peer, uint32_t first, uint32_t n)
{
	const struct wg_path *path = atomic_load_explicit(&peer->path, memory_order_acquire);
	uint64_t counter, bytes = 0;
	struct wg_session *session = sending_session(w, peer, n, &counter);

	if (!session) {
		for (uint32_t i = first; i < first + n; i++)
			stage(w, peer, w->pkt[i].data, w->pkt[i].len);
		ask_handshake(w, peer);
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct warren_packet *pkt = &w->pkt[first + i];
		uint8_t *msg = pkt->data - WG_TRANSPORT_HEADER;
		size_t len = wg_transport_seal(session->keys.send_key, session->keys.remote_index,
					       counter + i, msg, pkt->len, w->mtu);

		bytes += pkt->len;
		to_path(w, peer, path, msg, len);
	}
	add_counter(&peer->tx_packets, n);
	add_counter(&peer->tx_bytes, bytes);
	wg_count(&w->counts, WG_C_TX_PACKETS, n);
	wg_count(&w->counts, WG_C_TX_BYTES, bytes);
	sent(w, peer, session, counter + n, true);
}

/*
 * ---- Packets to their peer ----
 */

static void route(struct wg_worker *w, uint32_t n)
{
	const struct wg_allowedips *allowed = atomic_load_explicit(&w->dev->allowed,
								   memory_order_acquire);

	for (uint32_t i = 0; i < n; i++) {
		struct warren_packet *pkt = &w->pkt[i];
		uint32_t family;
		const uint8_t *to = wg_inner_destination(pkt->data, &family);
		struct wg_peer *peer = family == 4 ? wg_allowedips_lookup4(allowed, to)
						   : wg_allowedips_lookup6(allowed, to);
		struct wg_arg *arg;

		w->to[i] = peer;
		if (!peer) {
			pkt->verdict = WARREN_PKT_DROP;
			continue;
		}
		arg = atomic_load_explicit(&peer->arg, memory_order_acquire);
		pkt->peer = peer->number;
		pkt->peer_arg = arg ? arg->arg : NULL;
	}
}

static uint32_t keep_routed(struct wg_worker *w, uint32_t n)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (!w->to[i])
			continue;
		w->pkt[left] = w->pkt[i];
		w->to[left++] = w->to[i];
	}
	if (left < n)
		wg_count(&w->counts, WG_C_OUT_NO_PEER, n - left);
	return left;
}

/* Runs the steps from @step on and sends what is left of pkt[0..n). */
static void process(struct wg_worker *w, uint32_t step, uint32_t n)
{
	const struct wg_chain *chain = atomic_load_explicit(&w->dev->chain, memory_order_acquire);
	bool routed = false;

	if (!chain) {
		wg_count(&w->counts, WG_C_HOOK, n);
		return;
	}
	for (; n && step < chain->count[WARREN_PKT_OUT]; step++) {
		const struct wg_step *s = &chain->step[WARREN_PKT_OUT][step];

		if (s->kind == WG_STEP_ROUTE) {
			route(w, n);
			n = keep_routed(w, n);
			routed = true;
		} else {
			n = wg_step_run(w, s, WARREN_PKT_OUT, n);
		}
	}
	if (!routed && n) {
		/* Injected behind the anchor. */
		route(w, n);
		n = keep_routed(w, n);
	}
	for (uint32_t first = 0, i = 1; first < n; i++) {
		if (i == n || w->to[i] != w->to[first]) {
			send_run(w, w->to[first], first, i - first);
			first = i;
		}
	}
}

/* The packet at @msg + 16 becomes pkt[n]. false: it is none. */
static bool accept_packet(struct wg_worker *w, uint8_t *msg, size_t len, uint32_t n)
{
	int64_t inner = len ? wg_inner_len(msg + WG_TRANSPORT_HEADER, len) : -EINVAL;

	if (inner < 0) {
		wg_count(&w->counts, WG_C_OUT_MALFORMED, 1);
		return false;
	}
	w->pkt[n] = (struct warren_packet){
		.data = msg + WG_TRANSPORT_HEADER,
		.len = (uint32_t)inner,
		.verdict = WARREN_PKT_ACCEPT,
	};
	w->to[n] = NULL;
	take_area(w, msg, (size_t)inner);
	return true;
}

/* Reads a batch of @fd; *@n of them are packets. Reads done; *@result is that of the last one. */
static uint32_t read_batch(struct wg_worker *w, int fd, uint32_t *n, long *result)
{
	uint32_t reads = 0;

	*n = 0;
	*result = 0;
	if (w->used && !wg_outbound_flush(w))
		return 0;
	while (*n < WG_BATCH && reads < WG_BATCH && has_room(w)) {
		uint8_t *msg = next_message(w);

		*result = wg_tun_read(fd, msg + WG_TRANSPORT_HEADER, 65536);
		if (*result <= 0)
			break;
		reads++;
		if (accept_packet(w, msg, (size_t)*result, *n))
			(*n)++;
	}
	return reads;
}

uint32_t wg_outbound_tun(struct wg_worker *w)
{
	uint32_t n, reads;
	long result;

	reads = read_batch(w, w->dev->tun_fd, &n, &result);
	if (result == -EBADFD || result == -EBADF) {
		atomic_store_explicit(&w->dev->failed, EBADFD, memory_order_release);
		w->news = true;
	}
	process(w, 0, n);
	wg_outbound_flush(w);
	return reads;
}

/* Those for the host go there. Packets that are left. */
static uint32_t to_host(struct wg_worker *w, uint32_t n)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct warren_packet *pkt = &w->pkt[i];

		switch (pkt->verdict) {
		case WARREN_PKT_ACCEPT:
			w->pkt[left] = *pkt;
			w->to[left++] = NULL;
			break;
		case WARREN_PKT_HOST:
			if (wg_tun_write(w->dev->tun_fd, pkt->data, pkt->len) < 0)
				wg_count(&w->counts, WG_C_IN_TUN, 1);
			break;
		case WARREN_PKT_TAKEN:
			break;
		default:
			wg_count(&w->counts, WG_C_HOOK, 1);
		}
	}
	return left;
}

uint32_t wg_outbound_source(struct wg_worker *w)
{
	const struct wg_source *source = atomic_load_explicit(&w->dev->source,
							      memory_order_acquire);
	const struct wg_chain *chain = atomic_load_explicit(&w->dev->chain, memory_order_acquire);
	uint32_t n, reads;
	long result;

	if (!source)
		return 0;
	reads = read_batch(w, source->fd, &n, &result);
	if (n)
		source->fn(source->self, WARREN_PKT_OUT, w->pkt, n, w->now);
	n = to_host(w, n);
	/* The verdict slot is one before that; without a chain all is dropped. */
	process(w, wg_chain_after_filter(chain, WARREN_PKT_OUT) - 1, n);
	wg_outbound_flush(w);
	return reads;
}

void wg_outbound_inject(struct wg_worker *w, uint32_t step, const uint8_t *data, size_t len)
{
	uint8_t *msg;

	if (!has_room(w) && !wg_outbound_flush(w)) {
		wg_count(&w->counts, WG_C_OUT_SEND, 1);
		return;
	}
	msg = next_message(w);
	memcpy(msg + WG_TRANSPORT_HEADER, data, len);
	if (accept_packet(w, msg, len, 0))
		process(w, step, 1);
	wg_outbound_flush(w);
}

uint32_t wg_outbound_replies(struct wg_worker *w)
{
	const struct wg_chain *chain = atomic_load_explicit(&w->dev->chain, memory_order_acquire);
	uint32_t taken = 0;

	while (taken < WG_BATCH && !w->blocked) {
		struct wg_reply_slot *slot = wg_ring_take(w->dev->replies);

		if (!slot)
			break;
		wg_outbound_inject(w, wg_chain_after_filter(chain, WARREN_PKT_OUT), slot->data,
				   slot->len);
		wg_ring_release(w->dev->replies, slot);
		taken++;
	}
	return taken;
}

/*
 * ---- Orders ----
 */

static void keepalive(struct wg_worker *w, struct wg_peer *peer)
{
	const struct wg_path *path = atomic_load_explicit(&peer->path, memory_order_acquire);
	uint8_t *msg = next_message(w);
	uint64_t counter;
	struct wg_session *session = sending_session(w, peer, 1, &counter);
	size_t len;

	if (!session) {
		ask_handshake(w, peer);
		return;
	}
	len = wg_transport_seal(session->keys.send_key, session->keys.remote_index, counter, msg, 0,
				w->mtu);
	take_area(w, msg, 0);
	to_path(w, peer, path, msg, len);
	wg_count(&w->counts, WG_C_KEEPALIVE_OUT, 1);
	sent(w, peer, session, counter + 1, false);
}

/* Staged packets go out. false: no room, more are left. */
static bool flush_staged(struct wg_worker *w, struct wg_peer *peer)
{
	/* Counted before: what finds no usable session after all is staged again. */
	for (uint32_t left = peer->staged.count; left; left--) {
		size_t len = wg_stage_peek(&peer->staged);
		uint8_t *msg;

		if (!has_room(w) && !wg_outbound_flush(w))
			return false;
		msg = next_message(w);
		wg_stage_pop(w->pool, &peer->staged, msg + WG_TRANSPORT_HEADER);
		/* They passed hooks and verdict before they were staged. */
		if (accept_packet(w, msg, len, 0)) {
			w->to[0] = peer;
			send_run(w, peer, 0, 1);
		}
	}
	return true;
}

static void obey(struct wg_worker *w, struct wg_peer *peer, uint32_t todo)
{
	bool any = peer->staged.count > 0;

	if (todo & WG_TODO_DROP)
		wg_count(&w->counts, WG_C_OUT_GIVEN_UP, wg_stage_clear(w->pool, &peer->staged));
	if (todo & WG_TODO_FLUSH && !flush_staged(w, peer)) {
		if (!atomic_fetch_or_explicit(&peer->todo, todo & ~(uint32_t)WG_TODO_DROP,
					      memory_order_acq_rel))
			wg_peer_push_order(peer);
		return;
	}
	if (todo & WG_TODO_KEEPALIVE && !(todo & WG_TODO_FLUSH && any) &&
	    (has_room(w) || wg_outbound_flush(w)))
		keepalive(w, peer);
}

uint32_t wg_outbound_orders(struct wg_worker *w)
{
	struct wg_peer *list;
	uint32_t done = 0;

	if (w->blocked || !atomic_load_explicit(&w->dev->todo, memory_order_relaxed))
		return 0;
	list = atomic_exchange_explicit(&w->dev->todo, NULL, memory_order_acq_rel);
	while (list) {
		struct wg_peer *peer = list;
		uint32_t todo;

		list = peer->todo_next;
		todo = atomic_exchange_explicit(&peer->todo, 0, memory_order_acq_rel);
		obey(w, peer, todo);
		done++;
	}
	wg_outbound_flush(w);
	return done;
}
