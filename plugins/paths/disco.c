/*
 * Disco messages in and out: sealed and opened with keys shared with each peer, which are kept.
 * Who is not in the map is dropped before anything is computed (path-protocols.md 2.3, 2.6).
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/addr.h"
#include "paths.h"

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
		return p->dataplane->raw_send(p->dataplane_self, &way->address, 0, data, len);
	return paths_relay_send(p, way->region, key, data, len);
}

int paths_disco_send(struct paths_node *node, const struct paths_way *way,
		     const struct warren_disco *msg)
{
	uint8_t plain[WARREN_DISCO_MESSAGE + 9000], sealed[sizeof(plain) + WARREN_DISCO_OVERHEAD];
	uint8_t *nonce = sealed + WARREN_DISCO_HEAD, *box = nonce + crypto_box_NONCEBYTES;
	struct paths *p = node->paths;
	int len = warren_disco_format(msg, plain, sizeof(plain)), result;

	if (len < 0)
		return len;
	if (!shared_key(node))
		return -ENOKEY;
	warren_disco_head(p->disco_key, sealed);
	randombytes_buf(nonce, crypto_box_NONCEBYTES);
	if (crypto_box_easy_afternm(box, plain, (size_t)len, nonce, node->shared) != 0)
		return -EINVAL;
	result = way_send(p, way, node->key, sealed, (size_t)len + WARREN_DISCO_OVERHEAD);
	if (result == 0) {
		node->tx++;
		warren_stat_add(p->sent[msg->type], 1);
	}
	return result;
}

/*
 * ---- What the machine wants ----
 */

static int act_ping(void *arg, struct paths_peer *peer, struct paths_ping *ping)
{
	struct paths_node *node = arg;
	struct paths_way way = { .address = ping->to, .region = ping->region };
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
	if (peer->best.addr.family && paths_peer_active(peer))
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

const struct paths_acts paths_acts = {
	.ping = act_ping,
	.call_me_maybe = act_call,
	.path = act_path,
	.event = act_event,
	.pong = act_pong,
	.tunnel = act_tunnel,
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
		answer = paths_peer_got_ping(&n->peer, now, &way->address, ping->txid) || answer;
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

/* Only a relay brings it, and only from the node whose key that is. */
static void got_call(struct paths_node *first, const struct paths_way *way,
		     const struct warren_disco *call)
{
	struct warren_addrport usable[WARREN_DISCO_ADDRESSES];
	struct paths_node *node = first;
	uint32_t n = 0;

	while (node && (!way->relay_key || memcmp(node->key, way->relay_key, 32) != 0))
		node = node->twin;
	if (!node) {
		drop(first->paths, PATHS_STAT_BAD_WAY);
		return;
	}
	for (uint32_t i = 0; i < call->n_addrs; i++)
		if (paths_may_ping(&call->addrs[i], first->paths->loopback))
			usable[n++] = call->addrs[i];
	paths_peer_got_call(&node->peer, warren_now(), usable, n);
	paths_touched(node);
}

static bool is_flood(struct paths_node *node)
{
	uint64_t second = warren_now() / PATHS_SECOND;

	if (node->second != second) {
		node->second = second;
		node->messages = 0;
	}
	return node->messages++ >= MESSAGES_PER_SECOND;
}

void paths_disco_received(struct paths *p, const struct paths_way *way, const uint8_t *data,
			  size_t len)
{
	const uint8_t *sender = warren_disco_sender(data, len), *nonce = data + WARREN_DISCO_HEAD;
	struct paths_node *first = sender ? paths_node_of_disco(p, sender) : NULL;
	uint8_t plain[WARREN_DISCO_MESSAGE + 9000];
	struct warren_disco msg;
	int result;

	if (!first) {
		drop(p, PATHS_STAT_BAD_PEER);
		return;
	}
	if (is_flood(first)) {
		drop(p, PATHS_STAT_TOO_MANY);
		return;
	}
	if (len - WARREN_DISCO_OVERHEAD > sizeof(plain) || !shared_key(first) ||
	    crypto_box_open_easy_afternm(plain, nonce + crypto_box_NONCEBYTES,
					 len - WARREN_DISCO_HEAD - crypto_box_NONCEBYTES, nonce,
					 first->shared) != 0) {
		drop(p, PATHS_STAT_BAD_BOX);
		return;
	}
	result = warren_disco_parse(plain, len - WARREN_DISCO_OVERHEAD, &msg);
	if (result < 0) {
		drop(p, PATHS_STAT_BAD_MESSAGE);
		return;
	}
	first->rx++;
	warren_stat_add(p->received[msg.type], 1);
	if (msg.type == WARREN_DISCO_PING)
		got_ping(first, way, &msg);
	else if (msg.type == WARREN_DISCO_PONG)
		got_pong(first, &msg);
	else if (msg.type == WARREN_DISCO_CALL_ME_MAYBE)
		got_call(first, way, &msg);
}

void paths_on_disco(void *arg, const struct warren_addrport *from, uint32_t vni,
		    const uint8_t *data, size_t len)
{
	struct paths_way way = { .address = *from };

	(void)vni;
	paths_disco_received(arg, &way, data, len);
}
