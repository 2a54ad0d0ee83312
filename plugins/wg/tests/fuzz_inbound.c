/*
 * Datagrams as the worker gets them: told apart, decrypted, checked, and delivered. The first byte
 * of the input says what is done with the rest:
 *
 *	0	taken as a datagram
 *	1	the receiver index of our session is written into it first
 *	2	encrypted for our session, so that the checks of inner packets are reached
 *	3	as 2, inside Geneve
 *
 * A delivered packet must be no longer than what came, and come from the peer's address.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "transport.h"
#include "wire.h"
#include "worker.h"

enum { ROOM = 65536 + 64 };

static struct wg_device dev;
static struct wg_worker w;
static struct wg_peer peer;
static struct wg_session session;

static void retire(void *arg, void *ptr)
{
	(void)arg;
	free(ptr);
}

static void accept_all(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n,
		       uint64_t now)
{
	(void)self;
	(void)direction;
	(void)now;
	for (uint32_t i = 0; i < n; i++) {
		/* The whole packet is there to be read. */
		uint32_t sum = 0;

		for (uint32_t b = 0; b < pkt[i].len; b++)
			sum += pkt[i].data[b];
		pkt[i].verdict = sum == UINT32_MAX ? WARREN_PKT_DROP : WARREN_PKT_ACCEPT;
	}
}

static void set_up(void)
{
	static struct wg_cookie_checker mac1;
	static struct wg_policy policy = { .fn = accept_all };
	static struct wg_bulk bulk;
	const struct warren_prefix prefix = { { 4, { 10, 0, 0, 0 } }, 8 };
	const struct warren_prefix prefix6 = { { 6, { 0xfd } }, 8 };
	struct wg_allowedips *allowed = wg_allowedips_new(retire, NULL);

	if (sodium_init() < 0)
		abort();
	wg_cookie_checker_init(&mac1, peer.key, NULL, NULL);
	dev.index = wg_index_new(NULL, retire, NULL);
	wg_allowedips_begin(allowed);
	wg_allowedips_insert(allowed, &prefix, &peer, NULL);
	wg_allowedips_insert(allowed, &prefix6, &peer, NULL);
	wg_allowedips_commit(allowed);
	bulk.message_max = 2048;
	bulk.relay_out = wg_ring_new(2, 4096);
	bulk.inject = wg_ring_new(2, 4096);
	dev.handshakes = wg_ring_new(2, sizeof(struct wg_handshake_slot));
	dev.events = wg_ring_new(2, sizeof(struct wg_event));
	dev.foreign = wg_ring_new(2, sizeof(struct wg_foreign_slot) + WG_FOREIGN_MAX);
	dev.foreign_taken = 7;
	dev.tun_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	atomic_store(&dev.allowed, allowed);
	atomic_store(&dev.mac1, &mac1);
	atomic_store(&dev.policy, &policy);
	atomic_store(&dev.bulk, &bulk);
	atomic_store(&dev.chain, wg_hooks_chain(&dev.hooks));
	peer.number = 1;
	peer.serial = 1;
	session.entry.kind = WG_ENTRY_SESSION;
	session.entry.peer = &peer;
	session.born = WG_SECOND;
	wg_index_insert(dev.index, &session, &session.keys.local_index);
	w.dev = &dev;
	w.now = 2 * WG_SECOND;
	w.mtu = 1280;
}

static void empty(struct wg_ring *ring)
{
	void *slot;

	while ((slot = wg_ring_take(ring)))
		wg_ring_release(ring, slot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct wg_origin origin = { .kind = WARREN_PATH_UDP,
				    .from = { { 4, { 192, 0, 2, 1 } }, 7 } };
	uint8_t *room, *at;
	uint32_t n = 0;
	size_t len;

	if (!ready)
		set_up();
	ready = true;
	if (size < 1 || size > 60000)
		return 0;
	/* A block of its own: a byte read too far is seen. */
	room = malloc(ROOM);
	len = size - 1;
	at = room + ROOM - len;
	if (data[0] % 4 >= 2 && len) {
		at = room + WG_GENEVE_LEN;
		memcpy(at + WG_TRANSPORT_HEADER, data + 1, len);
		len = wg_transport_seal(session.keys.receive_key, session.keys.local_index, 1, at,
					len, 1280);
		if (data[0] % 4 == 3) {
			at -= WG_GENEVE_LEN;
			len += WG_GENEVE_LEN;
			wg_geneve_write(at, WG_GENEVE_WIREGUARD, 5);
		}
		memmove(room + ROOM - len, at, len);
		at = room + ROOM - len;
	} else if (len) {
		memcpy(at, data + 1, len);
		if (data[0] % 4 == 1 && len >= 8)
			wg_store_le32(at + WG_TRANSPORT_RECEIVER, session.keys.local_index);
	}
	memset(&session.replay, 0, sizeof(session.replay));
	session.confirmed = false;
	atomic_store(&peer.asked, 0);
	w.marked = NULL;
	w.last_session = NULL;
	wg_inbound_datagram(&w, &origin, at, len, &n);
	if (n > 1 || (n && (w.pkt[0].data < at || w.pkt[0].data + w.pkt[0].len > at + len)))
		abort();
	if (n && w.pkt[0].data[0] >> 4 == 4 && w.pkt[0].data[12] != 10)
		abort();
	wg_inbound_deliver(&w, 0, n);
	empty(dev.handshakes);
	empty(dev.events);
	empty(dev.foreign);
	free(room);
	return 0;
}
