/*
 * Messages of peers and relays, as they are after opening, to the machine of one peer, which asks
 * two relays: each behind a byte for what is done with it and one for its length. What was begun
 * must end, and nothing exceed its limit.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct paths_peer peer;
	uint64_t now;
	uint8_t txid[WARREN_DISCO_TXID];	/* of the last ping */
	uint32_t generation;			/* of the last ask */
	int expected;
	uint32_t binds;
};

static int on_ping(void *arg, struct paths_peer *peer, struct paths_ping *ping)
{
	struct world *w = arg;

	(void)peer;
	w->txid[0]++;
	memcpy(ping->txid, w->txid, sizeof(ping->txid));
	if (ping->vni >> 24)
		abort();
	return 0;
}

static void on_call(void *arg, struct paths_peer *peer, uint32_t region)
{
	(void)arg;
	(void)peer;
	(void)region;
}

static void on_path(void *arg, struct paths_peer *peer)
{
	struct paths_path path = paths_peer_path(peer, ((struct world *)arg)->now);

	if (path.vni && (path.vni >> 24 || !path.address.addr.family))
		abort();
}

static void on_event(void *arg, struct paths_peer *peer, const struct paths_event *event)
{
	(void)arg;
	(void)peer;
	(void)event;
}

static void on_pong(void *arg, struct paths_peer *peer, void *command,
		    const struct paths_pong *pong)
{
	(void)arg;
	(void)peer;
	(void)command;
	(void)pong;
}

static void on_tunnel(void *arg, struct paths_peer *peer, struct paths_tunnel *out)
{
	(void)peer;
	*out = (struct paths_tunnel){ .last_sent = ((struct world *)arg)->now, .largest = 1312 };
}

static int on_allocate(void *arg, struct paths_peer *peer, const struct paths_server *server,
		       uint32_t generation)
{
	(void)peer;
	(void)server;
	((struct world *)arg)->generation = generation;
	return 0;
}

static void on_call_via(void *arg, struct paths_peer *peer, uint32_t region,
			const struct paths_offer *offer)
{
	(void)arg;
	(void)peer;
	if (!region || !offer->relay.vni || !offer->n_addrs)
		abort();
}

static int on_expect(void *arg, struct paths_peer *peer, const uint8_t server[32], bool on)
{
	struct world *w = arg;

	(void)peer;
	(void)server;
	w->expected += on ? 1 : -1;
	if (w->expected < 0 || w->expected > PATHS_PEER_RELAYS)
		abort();
	return 0;
}

static void on_bind(void *arg, struct paths_peer *peer, const uint8_t server[32],
		    const struct warren_addrport *to, uint32_t type,
		    const struct warren_disco_binding *binding)
{
	struct world *w = arg;

	(void)peer;
	(void)server;
	w->binds += type == WARREN_DISCO_BIND;
	if (!to->port || !binding->vni || !binding->generation)
		abort();
}

static void take(struct world *w, uint8_t how, const struct warren_disco *msg)
{
	const struct warren_addrport from = { { 4, { 192, 0, 2, (uint8_t)(how >> 6) } }, 7 };
	struct paths_offer offer = { .relay = msg->relay };

	for (uint32_t i = 0; i < msg->n_addrs; i++)
		if (msg->addrs[i].port)
			offer.addrs[offer.n_addrs++] = msg->addrs[i];
	switch (msg->type) {
	case WARREN_DISCO_PING:
		paths_peer_got_ping_via(&w->peer, w->now, &from, 1 + (how >> 2) % 4);
		break;
	case WARREN_DISCO_PONG:
		paths_peer_got_pong(&w->peer, w->now, how & 4 ? w->txid : msg->txid);
		break;
	case WARREN_DISCO_CALL_ME_MAYBE:
		paths_peer_got_call(&w->peer, w->now, offer.addrs, offer.n_addrs);
		break;
	case WARREN_DISCO_BIND_CHALLENGE: {
		struct warren_disco_binding binding = msg->binding;

		if (how & 4)
			binding.generation = w->peer.generation;
		paths_peer_got_challenge(&w->peer, w->now, binding.remote, &from, binding.vni,
					 &binding);
		break;
	}
	case WARREN_DISCO_CALL_ME_MAYBE_VIA:
		paths_peer_got_call_via(&w->peer, w->now, &offer);
		break;
	case WARREN_DISCO_ALLOCATED:
		paths_peer_got_allocated(&w->peer, w->now,
					 w->peer.servers->list[how >> 2 & 1].key,
					 how & 8 ? w->generation : msg->generation, &offer);
		break;
	default:
		break;
	}
}

static void let_pass(struct world *w, uint64_t usec)
{
	uint64_t end = w->now + usec, next;

	for (int i = 0; i < 64 && (next = paths_peer_deadline(&w->peer)) <= end; i++) {
		w->now = next > w->now ? next : w->now;
		paths_peer_turn(&w->peer, w->now);
	}
	w->now = end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct paths_acts acts = {
		on_ping, on_call, on_path, on_event, on_pong, on_tunnel, on_allocate,
		on_call_via, on_expect, on_bind,
	};
	static const struct paths_servers servers = { { { { 1 }, { 0 }, 9 }, { { 2 }, { 0 }, 9 } },
						      2 };
	struct world w = { .now = 100 * PATHS_SECOND };
	uint64_t began = w.now;

	paths_peer_init(&w.peer, &acts, &w);
	w.peer.servers = &servers;
	w.peer.relay_capable = true;
	paths_peer_map(&w.peer, w.now, NULL, 0, 9, false);
	paths_peer_send(&w.peer, w.now);
	while (size > 2) {
		size_t len = data[1] < size - 2 ? data[1] : size - 2;
		struct warren_disco msg;

		if (warren_disco_parse(data + 2, len, &msg) == 0 && !msg.empty)
			take(&w, data[0], &msg);
		let_pass(&w, PATHS_MSEC << 5 * (data[0] & 3));
		data += 2 + len;
		size -= 2 + len;
	}
	if (w.binds > (2 + (w.now - began) / PATHS_BIND_TIMEOUT) * PATHS_BINDS *
			      WARREN_DISCO_ADDRESSES)
		abort();
	paths_peer_fini(&w.peer);
	if (w.expected)
		abort();
	return 0;
}
