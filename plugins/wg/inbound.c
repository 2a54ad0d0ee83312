/*
 * From the sockets to the TUN. A batch is sorted datagram by datagram: STUN, disco, Geneve,
 * WireGuard (path-protocols.md 2.5). Transport messages are decrypted in place; the tests come in
 * order of their cost, and nothing is marked before the packet is proven (dataplane.md 1.11, 1.15).
 * What is left of the batch goes through the hooks and the verdict as one vector.
 */
#include "worker.h"

#include <errno.h>
#include <string.h>

#include "transport.h"
#include "wire.h"

enum {
	STUN_MIN = 20, /* RFC 5389 6 */
	DISCO_MIN = 38, /* magic, sender key */
};

static const uint8_t disco_magic[6] = { 0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac };
static const uint8_t stun_cookie[4] = { 0x21, 0x12, 0xa4, 0x42 };

static bool is_stun(const uint8_t *data, size_t len)
{
	return len >= STUN_MIN && !(data[0] & 0xc0) && data[1] == 1 &&
	       !memcmp(data + 4, stun_cookie, sizeof(stun_cookie));
}

static bool is_disco(const uint8_t *data, size_t len)
{
	return len >= DISCO_MIN && !memcmp(data, disco_magic, sizeof(disco_magic));
}

static bool is_geneve(const uint8_t *data, size_t len)
{
	return len >= WG_GENEVE_LEN && !(data[0] & 0xc0) && !(data[1] & 0x3f) && !data[7];
}

/*
 * ---- To the lane ----
 */

static void foreign(struct wg_worker *w, uint32_t class_, const struct wg_origin *origin,
		    uint32_t vni, const uint8_t *data, size_t len)
{
	struct wg_foreign_slot *slot;

	if (!(atomic_load_explicit(&w->dev->foreign_taken, memory_order_relaxed) & 1u << class_)) {
		wg_count(&w->counts, WG_C_IN_FOREIGN, 1);
		return;
	}
	if (len > WG_FOREIGN_MAX) {
		wg_count(&w->counts, WG_C_TOO_LARGE, 1);
		return;
	}
	slot = wg_ring_claim(w->dev->foreign);
	if (!slot) {
		wg_count(&w->counts, WG_C_IN_FOREIGN_FULL, 1);
		return;
	}
	slot->from = origin->from;
	slot->class_ = class_;
	slot->vni = vni;
	slot->len = (uint32_t)len;
	memcpy(slot->data, data, len);
	wg_ring_commit(w->dev->foreign, slot);
	wg_count(&w->counts, WG_C_FOREIGN, 1);
	w->news = true;
}

static void handshake(struct wg_worker *w, uint32_t type, const struct wg_origin *origin,
		      const uint8_t *data, size_t len)
{
	struct wg_handshake_slot *slot;

	if (type != WG_COOKIE_REPLY &&
	    !wg_cookie_check_mac1(atomic_load_explicit(&w->dev->mac1, memory_order_acquire), data,
				  len)) {
		wg_count(&w->counts, WG_C_IN_MAC1, 1);
		return;
	}
	slot = wg_ring_claim(w->dev->handshakes);
	if (!slot) {
		wg_count(&w->counts, WG_C_IN_HANDSHAKE_FULL, 1);
		return;
	}
	slot->origin = *origin;
	slot->len = (uint32_t)len;
	memcpy(slot->data, data, len);
	wg_ring_commit(w->dev->handshakes, slot);
	w->news = true;
}

static void confirmed(struct wg_worker *w, struct wg_session *session)
{
	struct wg_event *event = wg_ring_claim(w->dev->events);

	if (!event) {
		wg_count(&w->counts, WG_C_EVENT_FULL, 1);
		return;
	}
	session->confirmed = true;
	event->kind = WG_EVENT_CONFIRMED;
	event->number = session->entry.peer->number;
	event->serial = session->entry.peer->serial;
	event->index = session->keys.local_index;
	wg_ring_commit(w->dev->events, event);
	w->news = true;
}

/*
 * ---- Transport messages ----
 */

static struct wg_session *find_session(struct wg_worker *w, uint32_t index)
{
	struct wg_entry *entry;

	if (w->last_session && w->last_index == index)
		return w->last_session;
	entry = wg_index_find(w->dev->index, index);
	if (!entry || entry->kind != WG_ENTRY_SESSION)
		return NULL;
	w->last_index = index;
	w->last_session = (struct wg_session *)entry;
	return w->last_session;
}

/* The datagram is proven to be of the session's peer: what follows for paths and handshakes. */
static void note_authentic(struct wg_worker *w, struct wg_session *session,
			   const struct wg_origin *origin)
{
	struct wg_peer *peer = session->entry.peer;
	const struct wg_path *path = atomic_load_explicit(&peer->path, memory_order_acquire);

	if (!session->keys.initiator && !session->confirmed)
		confirmed(w, session);
	/* A path writer's paths have no local end, and relays prove nothing about addresses. */
	if (origin->kind == WARREN_PATH_UDP &&
	    (!wg_path_is(path, origin) ||
	     (!atomic_load_explicit(&w->dev->has_writer, memory_order_relaxed) &&
	      !wg_path_same_local(path, origin))))
		wg_worker_ask(w, peer, WG_ASK_MOVED, origin);
	if (wg_key_rekey_on_receive(session->keys.initiator, session->born, w->now))
		wg_worker_ask(w, peer, WG_ASK_REKEY, NULL);
}

static void add_counter(_Atomic uint64_t *counter, uint64_t n)
{
	/* One writer: no read-modify-write is needed. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/*
 * Two marks say all that a batch of one peer can say ("data", "and more"): the others are saved.
 */
static void mark_data(struct wg_worker *w, struct wg_peer *peer)
{
	if (w->marked != peer) {
		w->marked = peer;
		w->marks = 0;
	}
	if (w->marks++ >= 2)
		return;
	wg_marks_data_received(&peer->marks, w->now);
	wg_worker_check_look(w, peer);
}

/* Tests of an authentic, decrypted packet. NULL: drop it, counted. */
static struct wg_peer *check_inner(struct wg_worker *w, struct wg_session *session,
				   const uint8_t *inner, size_t padded, size_t *len)
{
	const struct wg_allowedips *allowed = atomic_load_explicit(&w->dev->allowed,
								   memory_order_acquire);
	int64_t inner_len = wg_inner_len(inner, padded);
	const uint8_t *source;
	uint32_t family;
	void *owner;

	if (inner_len < 0) {
		wg_count(&w->counts, WG_C_IN_INNER, 1);
		return NULL;
	}
	source = wg_inner_source(inner, &family);
	owner = family == 4 ? wg_allowedips_lookup4(allowed, source)
			    : wg_allowedips_lookup6(allowed, source);
	if (owner != session->entry.peer) {
		wg_count(&w->counts, WG_C_IN_SOURCE, 1);
		return NULL;
	}
	*len = (size_t)inner_len;
	return owner;
}

/* Decrypts into pkt[*n] and counts it in *@n if it is to be delivered. */
static void transport(struct wg_worker *w, const struct wg_origin *origin, uint8_t *msg, size_t len,
		      uint32_t *n)
{
	struct wg_session *session = find_session(w, wg_message_receiver(msg, WG_TRANSPORT));
	uint64_t counter = wg_transport_counter(msg);
	size_t padded = len - WG_TRANSPORT_MIN, inner_len;
	struct wg_arg *arg;
	struct wg_peer *peer;

	if (!session) {
		wg_count(&w->counts, WG_C_IN_INDEX, 1);
		return;
	}
	if (!wg_key_usable(session->born, counter, w->now)) {
		wg_count(&w->counts, WG_C_IN_EXPIRED, 1);
		return;
	}
	if (!wg_replay_check(&session->replay, counter)) {
		wg_count(&w->counts, WG_C_IN_REPLAY, 1);
		return;
	}
	if (wg_transport_open(session->keys.receive_key, msg, len) < 0) {
		wg_count(&w->counts, WG_C_IN_FORGED, 1);
		return;
	}
	if (!wg_replay_accept(&session->replay, counter)) {
		wg_count(&w->counts, WG_C_IN_REPLAY, 1);
		return;
	}
	peer = session->entry.peer;
	note_authentic(w, session, origin);
	if (!padded) {
		wg_marks_received(&peer->marks, w->now);
		wg_count(&w->counts, WG_C_KEEPALIVE_IN, 1);
		return;
	}
	mark_data(w, peer);
	if (!check_inner(w, session, msg + WG_TRANSPORT_HEADER, padded, &inner_len))
		return;
	add_counter(&peer->rx_packets, 1);
	add_counter(&peer->rx_bytes, inner_len);
	wg_count(&w->counts, WG_C_RX_PACKETS, 1);
	wg_count(&w->counts, WG_C_RX_BYTES, inner_len);
	arg = atomic_load_explicit(&peer->arg, memory_order_acquire);
	w->pkt[*n] = (struct warren_packet){
		.data = msg + WG_TRANSPORT_HEADER,
		.len = (uint32_t)inner_len,
		.peer = peer->number,
		.verdict = WARREN_PKT_ACCEPT,
		.peer_arg = arg ? arg->arg : NULL,
	};
	w->to[*n] = peer;
	(*n)++;
}

static void wireguard(struct wg_worker *w, const struct wg_origin *origin, uint8_t *data,
		      size_t len, uint32_t *n)
{
	uint32_t type = wg_message_type(data, len);

	switch (type) {
	case WG_TRANSPORT:
		transport(w, origin, data, len, n);
		break;
	case WG_INITIATION:
	case WG_RESPONSE:
	case WG_COOKIE_REPLY:
		handshake(w, type, origin, data, len);
		break;
	default:
		wg_count(&w->counts, WG_C_IN_MALFORMED, 1);
	}
}

void wg_inbound_datagram(struct wg_worker *w, struct wg_origin *origin, uint8_t *data, size_t len,
			 uint32_t *n)
{
	if (is_stun(data, len)) {
		foreign(w, WARREN_FOREIGN_STUN, origin, 0, data, len);
		return;
	}
	if (is_geneve(data, len)) {
		uint16_t protocol = wg_load_be16(data + 2);
		uint32_t vni = wg_load_be32(data + 4) >> 8;
		uint8_t *inside = data + WG_GENEVE_LEN;

		if (protocol == WG_GENEVE_WIREGUARD) {
			origin->kind = WARREN_PATH_GENEVE;
			origin->vni = vni;
			wg_count(&w->counts, WG_C_GENEVE_IN, 1);
			wireguard(w, origin, inside, len - WG_GENEVE_LEN, n);
			return;
		}
		if (protocol == WG_GENEVE_DISCO && is_disco(inside, len - WG_GENEVE_LEN)) {
			if (data[1] & 0x80)
				vni |= WARREN_VNI_CONTROL;
			foreign(w, WARREN_FOREIGN_GENEVE_DISCO, origin, vni, inside,
				len - WG_GENEVE_LEN);
			return;
		}
	}
	if (is_disco(data, len))
		foreign(w, WARREN_FOREIGN_DISCO, origin, 0, data, len);
	else
		wireguard(w, origin, data, len, n);
}

/*
 * ---- Delivery ----
 */

static void to_tun(struct wg_worker *w, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		int r = wg_tun_write(w->dev->tun_fd, w->pkt[i].data, w->pkt[i].len);

		if (r < 0)
			wg_count(&w->counts, WG_C_IN_TUN, 1);
	}
}

void wg_inbound_deliver(struct wg_worker *w, uint32_t step, uint32_t n)
{
	const struct wg_chain *chain = atomic_load_explicit(&w->dev->chain, memory_order_acquire);

	if (!chain) {
		wg_count(&w->counts, WG_C_HOOK, n);
		return;
	}
	for (; n && step < chain->count[WARREN_PKT_IN]; step++) {
		const struct wg_step *s = &chain->step[WARREN_PKT_IN][step];

		if (s->kind == WG_STEP_ROUTE) {
			to_tun(w, n);
			return;
		}
		n = wg_step_run(w, s, WARREN_PKT_IN, n);
	}
}

uint32_t wg_inbound_socket(struct wg_worker *w, int fd)
{
	int received = wg_udp_receive(&w->in, fd);
	uint32_t n = 0;

	w->marked = NULL;
	/* Errors are those of earlier sends (ICMP); they end with this call. */
	if (received <= 0)
		return 0;
	for (uint32_t i = 0; i < (uint32_t)received; i++) {
		struct wg_origin origin;
		uint8_t *data;
		size_t len;

		if (wg_udp_datagram(&w->in, i, &data, &len, &origin))
			wg_inbound_datagram(w, &origin, data, len, &n);
		else
			wg_count(&w->counts, WG_C_IN_TRUNCATED, 1);
	}
	wg_inbound_deliver(w, 0, n);
	return (uint32_t)received;
}

/*
 * ---- From the ring ----
 */

static void relayed(struct wg_worker *w, struct wg_inject_slot *slot)
{
	struct wg_origin origin = { .kind = WARREN_PATH_RELAY, .region = slot->region };
	uint32_t n = 0;

	w->marked = NULL;
	memcpy(origin.relay_peer, slot->peer, sizeof(origin.relay_peer));
	wg_count(&w->counts, WG_C_RELAY_IN, 1);
	/* Over a relay there is neither STUN nor Geneve, and disco has its own way (2.5). */
	wireguard(w, &origin, slot->data, slot->len, &n);
	wg_inbound_deliver(w, 0, n);
}

static void injected_in(struct wg_worker *w, struct wg_inject_slot *slot)
{
	const struct wg_chain *chain = atomic_load_explicit(&w->dev->chain, memory_order_acquire);
	uint32_t step = wg_chain_after(chain, WARREN_PKT_IN, slot->after);

	w->pkt[0] = (struct warren_packet){
		.data = slot->data,
		.len = slot->len,
		.verdict = WARREN_PKT_ACCEPT,
	};
	w->to[0] = NULL;
	/* It is accepted already: the verdict is not asked, only the hooks around it. */
	for (uint32_t n = 1; chain && n && step < chain->count[WARREN_PKT_IN]; step++) {
		const struct wg_step *s = &chain->step[WARREN_PKT_IN][step];

		if (s->kind == WG_STEP_HOOK)
			n = wg_step_run(w, s, WARREN_PKT_IN, n);
		else if (s->kind == WG_STEP_ROUTE)
			to_tun(w, n);
	}
}

uint32_t wg_inbound_ring(struct wg_worker *w)
{
	struct wg_bulk *bulk = atomic_load_explicit(&w->dev->bulk, memory_order_acquire);
	struct wg_inject_slot *slot;
	uint32_t taken = 0;

	while (taken < WG_BATCH && (slot = wg_ring_take(bulk->inject))) {
		const struct wg_chain *chain;

		taken++;
		switch (slot->kind) {
		case WG_INJECT_RELAY:
			relayed(w, slot);
			break;
		case WG_INJECT_IN:
			injected_in(w, slot);
			break;
		default:
			chain = atomic_load_explicit(&w->dev->chain, memory_order_acquire);
			wg_outbound_inject(w, wg_chain_after(chain, WARREN_PKT_OUT, slot->after),
					   slot->data, slot->len);
		}
		wg_ring_release(bulk->inject, slot);
	}
	return taken;
}
