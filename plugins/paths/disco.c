/*
 * Disco messages in and out: sealed and opened with keys shared with each peer, which are kept.
 * Who is not in the map is dropped before anything is computed (path-protocols.md 2.3, 2.6).
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/addr.h"
#include "paths.h"
#include "peer_impl.h"

enum {
	MESSAGES_PER_SECOND = 64,	/* of one peer; a busy one sends a dozen */
	WIREGUARD = 32,			/* bytes around an inner packet: header and tag */
};

/*
 * ---- Boxes ----
 */

static bool shared_key(struct paths_node *node)
{
	static const uint8_t zero[16];
	struct paths *p = node->paths;
	uint8_t secret[32];

	if (node->has_shared)
		return true;
	if (node->plain ||
	    p->identity->dh(p->identity_self, WARREN_KEY_DISCO, node->disco, secret) < 0)
		return false;
	crypto_core_hsalsa20(node->shared, zero, secret, NULL);
	sodium_memzero(secret, sizeof(secret));
	node->has_shared = true;
	return true;
}

static int way_send(struct paths *p, const struct paths_way *way, const uint8_t key[32],
		    const uint8_t *data, size_t len)
{
	if (way->address.addr.family)
		return p->dataplane->raw_send(p->dataplane_self, &way->address, way->vni, data,
					      len);
	return paths_relay_send(p, way->region, key, data, len);
}

/* @key: of the node that a relay of the map is to give it to. */
static int send_sealed(struct paths *p, const struct paths_way *way, const uint8_t shared[32],
		       const uint8_t key[32], const struct warren_disco *msg)
{
	uint8_t plain[WARREN_DISCO_MESSAGE + 9000], sealed[sizeof(plain) + WARREN_DISCO_OVERHEAD];
	uint8_t *nonce = sealed + WARREN_DISCO_HEAD, *box = nonce + crypto_box_NONCEBYTES;
	int len = warren_disco_format(msg, plain, sizeof(plain)), result;

	if (len < 0)
		return len;
	warren_disco_head(p->disco_key, sealed);
	randombytes_buf(nonce, crypto_box_NONCEBYTES);
	if (crypto_box_easy_afternm(box, plain, (size_t)len, nonce, shared) != 0)
		return -EINVAL;
	result = way_send(p, way, key, sealed, (size_t)len + WARREN_DISCO_OVERHEAD);
	if (result == 0)
		warren_stat_add(p->sent[msg->type], 1);
	return result;
}

int paths_disco_send(struct paths_node *node, const struct paths_way *way,
		     const struct warren_disco *msg)
{
	int result = shared_key(node) ? send_sealed(node->paths, way, node->shared, node->key, msg)
				      : -ENOKEY;

	if (result == 0)
		node->tx++;
	return result;
}

/*
 * ---- What the machine wants ----
 */

static int act_ping(void *arg, struct paths_peer *peer, struct paths_ping *ping)
{
	struct paths_node *node = arg;
	struct paths_way way = { .address = ping->to, .vni = ping->vni,
				 .region = ping->region };
	struct warren_disco msg = { .type = WARREN_DISCO_PING, .has_node_key = true };
	const size_t least = WARREN_DISCO_OVERHEAD + 2 + WARREN_DISCO_TXID + 32;

	(void)peer;
	randombytes_buf(ping->txid, sizeof(ping->txid));
	memcpy(msg.txid, ping->txid, sizeof(msg.txid));
	memcpy(msg.node_key, node->paths->node_key, sizeof(msg.node_key));
	if (ping->size > least)
		msg.padding = ping->size - least;
	return paths_disco_send(node, &way, &msg);
}

static void send_call(struct paths_node *node)
{
	const struct paths_endpoints *own = &node->paths->published;
	struct paths_way way = { .region = node->call_region };
	struct warren_disco msg = { .type = WARREN_DISCO_CALL_ME_MAYBE };

	node->call_waits = false;
	for (uint32_t i = 0; i < own->n && msg.n_addrs < WARREN_DISCO_ADDRESSES; i++)
		msg.addrs[msg.n_addrs++] = own->list[i].address;
	paths_disco_send(node, &way, &msg);
}

static void act_call(void *arg, struct paths_peer *peer, uint32_t region)
{
	struct paths_node *node = arg;
	struct paths *p = node->paths;

	(void)peer;
	node->call_region = region;
	if (p->endpoints_at && warren_now() - p->endpoints_at <= PATHS_FRESH) {
		send_call(node);
		return;
	}
	node->call_waits = true;
	paths_gather(p, "refresh-for-peering");
}

void paths_send_calls(struct paths *p)
{
	struct paths_node *node;

	list_for_each(node, &p->all, all)
		if (node->call_waits)
			send_call(node);
}

static void act_path(void *arg, struct paths_peer *peer)
{
	struct paths_node *node = arg;
	struct paths *p = node->paths;

	paths_set_path(node);
	/* Now that it can be reached: what waits for a session need not wait for a retry. */
	if (peer->told.address.addr.family && paths_peer_active(peer))
		p->dataplane->handshake(p->dataplane_self, node->key);
}

static void act_tunnel(void *arg, struct paths_peer *peer, struct paths_tunnel *out)
{
	struct paths_node *node = arg;
	struct paths *p = node->paths;
	struct warren_peer_status status = { .size = sizeof(status) };

	(void)peer;
	out->largest = p->dataplane->mtu(p->dataplane_self) + WIREGUARD;
	out->series = p->mtu_series;
	if (p->dataplane->peer(p->dataplane_self, node->key, &status) < 0)
		return;
	out->last_sent = status.last_tx;
	out->bytes = status.tx_bytes;
}

static void act_event(void *arg, struct paths_peer *peer, const struct paths_event *event)
{
	(void)peer;
	paths_log_event(arg, event);
}

static void act_pong(void *arg, struct paths_peer *peer, void *command,
		     const struct paths_pong *pong)
{
	(void)arg;
	(void)peer;
	paths_ping_answer(command, pong);
}

/*
 * ---- Peer relays ----
 */

static int act_allocate(void *arg, struct paths_peer *peer, const struct paths_server *server,
			uint32_t generation)
{
	struct paths_node *node = arg, *relay = paths_node(node->paths, server->key);
	struct warren_disco msg = { .type = WARREN_DISCO_ALLOCATE, .generation = generation };
	const uint8_t *ours = node->paths->disco_key;
	bool first = memcmp(ours, node->disco, 32) < 0;
	struct paths_way way = { 0 };

	(void)peer;
	if (!relay)
		return -ENOENT;
	way.region = paths_peer_region(&relay->peer);
	memcpy(msg.clients[0], first ? ours : node->disco, 32);
	memcpy(msg.clients[1], first ? node->disco : ours, 32);
	return paths_disco_send(relay, &way, &msg);
}

static void act_call_via(void *arg, struct paths_peer *peer, uint32_t region,
			 const struct paths_offer *offer)
{
	struct warren_disco msg = { .type = WARREN_DISCO_CALL_ME_MAYBE_VIA,
				    .relay = offer->relay, .n_addrs = offer->n_addrs };
	struct paths_way way = { .region = region };

	(void)peer;
	memcpy(msg.addrs, offer->addrs, offer->n_addrs * sizeof(msg.addrs[0]));
	paths_disco_send(arg, &way, &msg);
}

static int act_expect(void *arg, struct paths_peer *peer, const uint8_t server[32], bool on)
{
	(void)peer;
	return paths_expect(((struct paths_node *)arg)->paths, server, on);
}

static void act_bind(void *arg, struct paths_peer *peer, const uint8_t server[32],
		     const struct warren_addrport *to, uint32_t type,
		     const struct warren_disco_binding *binding)
{
	struct paths_node *node = arg;
	struct warren_disco msg = { .type = type, .binding = *binding };
	struct paths_way way = { .address = *to, .vni = binding->vni | WARREN_VNI_CONTROL };
	const struct paths_expected *relay = paths_expected(node->paths, server);

	(void)peer;
	if (!relay)
		return;
	memcpy(msg.binding.remote, node->disco, sizeof(msg.binding.remote));
	send_sealed(node->paths, &way, relay->shared, NULL, &msg);
}

const struct paths_acts paths_acts = {
	.ping = act_ping,
	.call_me_maybe = act_call,
	.path = act_path,
	.event = act_event,
	.pong = act_pong,
	.tunnel = act_tunnel,
	.allocate = act_allocate,
	.call_via = act_call_via,
	.expect = act_expect,
	.bind = act_bind,
};

/*
 * ---- What comes ----
 */

static void drop(struct paths *p, enum paths_stat why)
{
	warren_stat_add(p->dropped[why], 1);
}

/* Which of the nodes with this disco key it is; NULL: not to be told. */
static struct paths_node *resolve(struct paths_node *first, const struct paths_way *way,
				  const struct warren_disco *msg)
{
	for (struct paths_node *n = first; n; n = n->twin)
		if (way->relay_key && memcmp(n->key, way->relay_key, 32) == 0)
			return n;
	for (struct paths_node *n = first; n; n = n->twin)
		if (msg->has_node_key && memcmp(n->key, msg->node_key, 32) == 0)
			return n;
	return first->twin ? NULL : first;
}

static void got_ping(struct paths_node *first, const struct paths_way *way,
		     const struct warren_disco *ping)
{
	struct warren_disco pong = { .type = WARREN_DISCO_PONG, .seen = way->address };
	struct paths_node *to = resolve(first, way, ping);
	uint64_t now = warren_now();
	bool answer = false;

	for (struct paths_node *n = first; n; n = n->twin) {
		if (way->vni)
			paths_peer_got_ping_via(&n->peer, now, &way->address, way->vni);
		answer = way->vni ||
			 paths_peer_got_ping(&n->peer, now, &way->address, ping->txid) || answer;
		paths_touched(n);
	}
	if (!answer)
		return;
	memcpy(pong.txid, ping->txid, sizeof(pong.txid));
	if (!way->address.addr.family)
		pong.seen = warren_disco_relay_address(way->region);
	paths_disco_send(to ? to : first, way, &pong);
}

static void got_pong(struct paths_node *first, const struct warren_disco *pong)
{
	for (struct paths_node *n = first; n; n = n->twin) {
		bool mine = paths_peer_got_pong(&n->peer, warren_now(), pong->txid);

		paths_touched(n);
		if (mine)
			return;
	}
}

/* What only a relay brings, and only from the node whose key that is. NULL: dropped. */
static struct paths_node *vouched(struct paths_node *first, const struct paths_way *way)
{
	struct paths_node *node = first;

	while (node && (!way->relay_key || memcmp(node->key, way->relay_key, 32) != 0))
		node = node->twin;
	if (!node)
		drop(first->paths, PATHS_STAT_BAD_WAY);
	return node;
}

static uint32_t usable_addresses(const struct paths *p, const struct warren_disco *msg,
				 struct warren_addrport out[WARREN_DISCO_ADDRESSES])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < msg->n_addrs; i++)
		if (paths_may_ping(&msg->addrs[i], p->loopback))
			out[n++] = msg->addrs[i];
	return n;
}

static void got_call(struct paths_node *first, const struct paths_way *way,
		     const struct warren_disco *call)
{
	struct warren_addrport usable[WARREN_DISCO_ADDRESSES];
	struct paths_node *node = vouched(first, way);

	if (!node)
		return;
	paths_peer_got_call(&node->peer, warren_now(), usable,
			    usable_addresses(node->paths, call, usable));
	paths_touched(node);
}

static struct paths_offer offer_of(const struct paths *p, const struct warren_disco *msg)
{
	struct paths_offer offer = { .relay = msg->relay };

	offer.n_addrs = usable_addresses(p, msg, offer.addrs);
	return offer;
}

/* The clients are us and the one with that disco key, in whatever order. */
static bool is_for(const struct paths *p, const struct warren_disco_relay *relay,
		   const uint8_t disco[32])
{
	for (int i = 0; i < 2; i++)
		if (memcmp(relay->clients[i], p->disco_key, 32) == 0 &&
		    memcmp(relay->clients[!i], disco, 32) == 0)
			return true;
	return false;
}

static void got_call_via(struct paths_node *first, const struct paths_way *way,
			 const struct warren_disco *call)
{
	struct paths_node *node = vouched(first, way);
	struct paths_offer offer;

	if (!node || call->empty || node->paths->no_peer_relays)
		return;
	if (!is_for(node->paths, &call->relay, node->disco)) {
		drop(node->paths, PATHS_STAT_BAD_MESSAGE);
		return;
	}
	offer = offer_of(node->paths, call);
	paths_peer_got_call_via(&node->peer, warren_now(), &offer);
	paths_touched(node);
}

/* From a peer relay: an offer for us and one of the clients that it names. */
static void got_allocated(struct paths_node *first, const struct paths_way *way,
			  const struct warren_disco *msg)
{
	const struct paths_node *relay = vouched(first, way);
	struct paths *p = first->paths;
	struct paths_node *node = NULL;
	struct paths_offer offer;

	if (!relay || msg->empty)
		return;
	for (int i = 0; i < 2 && !node; i++)
		if (is_for(p, &msg->relay, msg->relay.clients[i]))
			node = paths_node_of_disco(p, msg->relay.clients[i]);
	offer = offer_of(p, msg);
	for (; node; node = node->twin) {
		paths_peer_got_allocated(&node->peer, warren_now(), relay->key, msg->generation,
					 &offer);
		paths_touched(node);
	}
}

static bool is_flood(struct paths_rate *rate)
{
	uint64_t second = warren_now() / PATHS_SECOND;

	if (rate->second != second) {
		rate->second = second;
		rate->messages = 0;
	}
	return rate->messages++ >= MESSAGES_PER_SECOND;
}

/* The message in an envelope, counted as received; false: dropped. */
static bool open_sealed(struct paths *p, const uint8_t shared[32], const uint8_t *data, size_t len,
			struct warren_disco *msg)
{
	uint8_t plain[WARREN_DISCO_MESSAGE + 9000];
	const uint8_t *nonce = data + WARREN_DISCO_HEAD;

	if (len - WARREN_DISCO_OVERHEAD > sizeof(plain) ||
	    crypto_box_open_easy_afternm(plain, nonce + crypto_box_NONCEBYTES,
					 len - WARREN_DISCO_HEAD - crypto_box_NONCEBYTES, nonce,
					 shared) != 0) {
		drop(p, PATHS_STAT_BAD_BOX);
		return false;
	}
	if (warren_disco_parse(plain, len - WARREN_DISCO_OVERHEAD, msg) < 0) {
		drop(p, PATHS_STAT_BAD_MESSAGE);
		return false;
	}
	warren_stat_add(p->received[msg->type], 1);
	return true;
}

void paths_disco_received(struct paths *p, const struct paths_way *way, const uint8_t *data,
			  size_t len)
{
	const uint8_t *sender = warren_disco_sender(data, len);
	struct paths_node *first = sender ? paths_node_of_disco(p, sender) : NULL;
	struct warren_disco msg;

	if (!first) {
		drop(p, PATHS_STAT_BAD_PEER);
		return;
	}
	if (is_flood(&first->rate)) {
		drop(p, PATHS_STAT_TOO_MANY);
		return;
	}
	if (!shared_key(first)) {
		drop(p, PATHS_STAT_BAD_BOX);
		return;
	}
	if (!open_sealed(p, first->shared, data, len, &msg))
		return;
	first->rx++;
	if (msg.type == WARREN_DISCO_PING)
		got_ping(first, way, &msg);
	else if (msg.type == WARREN_DISCO_PONG)
		got_pong(first, &msg);
	else if (msg.type == WARREN_DISCO_CALL_ME_MAYBE)
		got_call(first, way, &msg);
	else if (msg.type == WARREN_DISCO_CALL_ME_MAYBE_VIA)
		got_call_via(first, way, &msg);
	else if (msg.type == WARREN_DISCO_ALLOCATED)
		got_allocated(first, way, &msg);
}

void paths_on_disco(void *arg, const struct warren_addrport *from, uint32_t vni,
		    const uint8_t *data, size_t len)
{
	struct paths_way way = { .address = *from };

	(void)vni;
	paths_disco_received(arg, &way, data, len);
}

/* Of a relay itself: nothing but challenges, and while we are at it. */
static void got_control(struct paths *p, const struct warren_addrport *from, uint32_t vni,
			const uint8_t *data, size_t len)
{
	const uint8_t *sender = warren_disco_sender(data, len);
	struct paths_expected *relay = sender ? paths_expected(p, sender) : NULL;
	uint8_t server[32];
	struct warren_disco msg;

	if (!relay) {
		drop(p, PATHS_STAT_BAD_PEER);
		return;
	}
	if (is_flood(&relay->rate)) {
		drop(p, PATHS_STAT_TOO_MANY);
		return;
	}
	if (!open_sealed(p, relay->shared, data, len, &msg))
		return;
	if (msg.type != WARREN_DISCO_BIND_CHALLENGE) {
		drop(p, PATHS_STAT_BAD_MESSAGE);
		return;
	}
	memcpy(server, relay->server, sizeof(server));
	for (struct paths_node *n = paths_node_of_disco(p, msg.binding.remote); n; n = n->twin) {
		paths_peer_got_challenge(&n->peer, warren_now(), server, from, vni, &msg.binding);
		paths_touched(n);
	}
}

void paths_on_geneve(void *arg, const struct warren_addrport *from, uint32_t vni,
		     const uint8_t *data, size_t len)
{
	struct paths_way way = { .address = *from, .vni = vni };

	if (vni & WARREN_VNI_CONTROL)
		got_control(arg, from, vni & ~WARREN_VNI_CONTROL, data, len);
	else if (vni)
		paths_disco_received(arg, &way, data, len);
	else
		drop(arg, PATHS_STAT_BAD_WAY);
}
