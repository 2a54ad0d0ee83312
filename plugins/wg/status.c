/*
 * Status and checks. The state of a peer in one word:
 *
 *	active		there is a session to send with
 *	handshake	one is being made
 *	idle		there was one; the next packet makes a new one
 *	never		none so far
 */
#include "status.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "device.h"

enum { KEY_TEXT = sodium_base64_ENCODED_LEN(32, sodium_base64_VARIANT_ORIGINAL),
       SIZE_TEXT = 16, AGO_TEXT = 24, PEERS_A_TURN = 100 };

/* Smallest receive buffer that a fast path needs; below half of the wish we say so. */
static int receive_buffer(const struct wg_device *dev)
{
	const struct wg_sockets *sockets = atomic_load_explicit(&dev->sockets,
								memory_order_relaxed);
	int least = 0;

	for (int i = 0; i < 2; i++) {
		if (sockets->fd[i] != -1 && (!least || sockets->receive_buffer[i] < least))
			least = sockets->receive_buffer[i];
	}
	return least;
}

static const char *state_word(const struct wg_peer *peer)
{
	if (atomic_load_explicit(&peer->send, memory_order_relaxed) &&
	    peer->session_state == WARREN_SESSION_ESTABLISHED)
		return "active";
	if (peer->live && (peer->live->noise.sent.waiting || peer->live->next))
		return "handshake";
	return peer->last_handshake ? "idle" : "never";
}

static void key_text(const uint8_t key[32], char text[KEY_TEXT])
{
	sodium_bin2base64(text, KEY_TEXT, key, 32, sodium_base64_VARIANT_ORIGINAL);
}

static void address_text(const struct warren_node *node, char text[INET6_ADDRSTRLEN])
{
	const struct warren_addr *addr = NULL;

	if (node && node->n_addresses)
		addr = &node->addresses[0].addr;
	else if (node && node->n_allowed_ips)
		addr = &node->allowed_ips[0].addr;
	text[0] = '\0';
	if (addr)
		inet_ntop(addr->family == 4 ? AF_INET : AF_INET6, addr->bytes, text,
			  INET6_ADDRSTRLEN);
}

static void size_text(uint64_t bytes, char text[SIZE_TEXT])
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double n = (double)bytes;
	int u = 0;

	while (n >= 1024 && u < 5) {
		n /= 1024;
		u++;
	}
	snprintf(text, SIZE_TEXT, u ? "%.1f %s" : "%.0f %s", n, unit[u]);
}

static void ago_text(uint64_t then, uint64_t now, char text[AGO_TEXT])
{
	uint64_t s = now > then ? (now - then) / WG_SECOND : 0;

	if (!then)
		snprintf(text, AGO_TEXT, "-");
	else if (s < 120)
		snprintf(text, AGO_TEXT, "%" PRIu64 " s ago", s);
	else if (s < 7200)
		snprintf(text, AGO_TEXT, "%" PRIu64 " min ago", s / 60);
	else if (s < 172800)
		snprintf(text, AGO_TEXT, "%" PRIu64 " h ago", s / 3600);
	else
		snprintf(text, AGO_TEXT, "%" PRIu64 " d ago", s / 86400);
}

static void peer_data(const struct wg_device *dev, const struct wg_peer *peer,
		      struct warren_reply *reply)
{
	const struct wg_path *path = atomic_load_explicit(&peer->path, memory_order_relaxed);
	const struct warren_node *node = wg_device_node(dev, peer);
	char key[KEY_TEXT], address[INET6_ADDRSTRLEN], text[WG_PATH_TEXT];

	key_text(peer->key, key);
	address_text(node, address);
	wg_path_text(path, text);
	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "name", "%s", node && node->name ? node->name : "");
	warren_reply_str(reply, "address", "%s", address);
	warren_reply_str(reply, "key", "%s", key);
	warren_reply_int(reply, "number", peer->number);
	if (path)
		warren_reply_str(reply, "endpoint", "%s", text);
	else
		warren_reply_null(reply, "endpoint");
	warren_reply_str(reply, "state", "%s", state_word(peer));
	if (peer->last_handshake)
		warren_reply_int(reply, "last_handshake", peer->last_handshake_realtime / 1000000);
	else
		warren_reply_null(reply, "last_handshake");
	warren_reply_int(reply, "rx_bytes",
			 (int64_t)atomic_load_explicit(&peer->rx_bytes, memory_order_relaxed));
	warren_reply_int(reply, "tx_bytes",
			 (int64_t)atomic_load_explicit(&peer->tx_bytes, memory_order_relaxed));
	warren_reply_int(reply, "rx_packets",
			 (int64_t)atomic_load_explicit(&peer->rx_packets, memory_order_relaxed));
	warren_reply_int(reply, "tx_packets",
			 (int64_t)atomic_load_explicit(&peer->tx_packets, memory_order_relaxed));
	warren_reply_close(reply);
}

static void peer_row(const struct wg_device *dev, const struct wg_peer *peer, uint64_t now,
		     struct warren_reply *reply)
{
	const struct wg_path *path = atomic_load_explicit(&peer->path, memory_order_relaxed);
	char name[64], address[INET6_ADDRSTRLEN], endpoint[WG_PATH_TEXT];
	char ago[AGO_TEXT], rx[SIZE_TEXT], tx[SIZE_TEXT];

	address_text(wg_device_node(dev, peer), address);
	wg_path_text(path, endpoint);
	ago_text(peer->last_handshake, now, ago);
	size_text(atomic_load_explicit(&peer->rx_bytes, memory_order_relaxed), rx);
	size_text(atomic_load_explicit(&peer->tx_bytes, memory_order_relaxed), tx);
	warren_reply_text(reply, "%s\t%s\t%s\t%s\t%s\t%s\t%s", wg_device_peer_name(dev, peer, name),
			  address[0] ? address : "-", state_word(peer), path ? endpoint : "-", ago,
			  rx, tx);
}

/* Some of the peers after number @at: as many as do not hold up the loop. */
static void write_peers(struct warren_ctx *ctx, struct warren_reply *reply, uint32_t at)
{
	const struct wg_device *dev = warren_self(ctx);
	bool json = warren_reply_json(reply);
	const struct wg_peer *peer = NULL;
	uint64_t now = warren_now();

	for (int i = 0; i < PEERS_A_TURN && (peer = wg_peers_next(&dev->peers, &at)); i++) {
		if (json)
			peer_data(dev, peer, reply);
		else
			peer_row(dev, peer, now, reply);
	}
	if (peer)
		warren_reply_more(reply, write_peers, at);
	else if (json)
		warren_reply_close(reply);
}

void wg_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct wg_device *dev = warren_self(ctx);
	uint32_t ports = atomic_load_explicit(&dev->ports, memory_order_relaxed);
	uint32_t port = ports & 0xffff ? ports & 0xffff : ports >> 16;
	char key[KEY_TEXT];

	key_text(dev->local.public_key, key);
	warren_reply_str(reply, "interface", "%s", dev->ifname);
	warren_reply_int(reply, "mtu", atomic_load_explicit(&dev->mtu, memory_order_relaxed));
	warren_reply_int(reply, "port", port);
	warren_reply_str(reply, "public_key", "%s", key);
	warren_reply_str(reply, "policy", "%s", wg_verdict_text(dev));
	warren_reply_text(reply, "interface %s, UDP port %u, public key "
				 "%s", dev->ifname, port, key);
	warren_reply_text(reply, dev->slot.holder ? "policy: %s" : "%s", wg_verdict_text(dev));
	if (warren_reply_json(reply))
		warren_reply_open(reply, "peers", '[');
	else if (dev->peers.count)
		warren_reply_text(reply, "PEER\tADDRESS\tSTATE\tENDPOINT\tHANDSHAKE\tRECEIVED\t"
				  "SENT");
	write_peers(ctx, reply, 0);
}

/*
 * ---- Checks ----
 */

static bool check_buffer(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct wg_device *dev = warren_self(ctx);
	int have = receive_buffer(dev);

	if (have >= (int)(dev->options.socket_buffer / 2))
		return true;
	warren_finding(result, "the UDP sockets got %d bytes of receive buffer instead of %u; "
			       "bursts will"
		       " be lost. Run the daemon's monitor as root, or raise net.core.rmem_max",
		       have, dev->options.socket_buffer);
	return false;
}

static bool check_handshake(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct wg_device *dev = warren_self(ctx);
	const struct wg_peer *peer;
	char name[64], endpoint[WG_PATH_TEXT];
	uint32_t silent = 0;

	for (uint32_t at = 0; (peer = wg_peers_next(&dev->peers, &at));) {
		const struct wg_path *path = atomic_load_explicit(&peer->path,
								  memory_order_relaxed);

		/* A first try may be under way; a retry means that 5 s brought no answer. */
		if (!peer->live || !path || !peer->live->noise.sent.waiting ||
		    !peer->live->timers.retries)
			continue;
		if (silent++)
			continue;
		wg_device_peer_name(dev, peer, name);
		wg_path_text(path, endpoint);
	}
	if (!silent)
		return true;
	warren_finding(result, "no answer to handshakes from peer %s at %s%s: is it up, does it "
			       "know our"
		       " public key, is UDP let through, is the pre-shared key the "
		       "same?", name, endpoint,
		       silent > 1 ? " and others" : "");
	return false;
}

static bool check_clock(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct wg_device *dev = warren_self(ctx);
	int64_t behind = wg_guard_clock_behind(dev->guard);

	if (!behind)
		return true;
	warren_finding(result, "the clock is %" PRId64 " s behind the last handshake of an "
						       "earlier run;"
		       " handshakes go on from there. Set the clock", behind);
	return false;
}

static bool check_store(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct wg_device *dev = warren_self(ctx);
	int error = wg_guard_error(dev->guard);

	if (!error)
		return true;
	warren_finding(result, "time stamps of handshakes cannot be stored: %s; free space in "
			       "the state"
		       " folder, or peers may refuse us after a restart with a wrong clock",
		       strerror(-error));
	return false;
}

static bool check_policy(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct wg_device *dev = warren_self(ctx);

	if (dev->slot.holder)
		return true;
	warren_finding(result, "%s; give rules under static.accept and enable filter",
		       wg_verdict_text(dev));
	return false;
}

const struct warren_check wg_checks[WG_CHECKS] = {
	{
		.id = "wg.socket-buffer",
		.severity = WARREN_NOTE,
		.brief = "The UDP sockets have the buffers that were asked for.",
		.help = "Small buffers lose packets in bursts. The monitor forces "
			"wg.socket-buffer past "
			"the system's limit where it may.",
		.run = check_buffer,
	}, {
		.id = "wg.handshake",
		.severity = WARREN_WARN,
		.brief = "Peers answer handshakes.",
		.help = "Names a peer whose handshake is being retried. Usual reasons: the peer "
			"is down, "
			"a firewall drops UDP, keys or pre-shared keys differ.",
		.run = check_handshake,
	}, {
		.id = "wg.clock",
		.severity = WARREN_WARN,
		.brief = "The clock is not behind the last handshake.",
		.help = "WireGuard peers refuse handshakes with an older time stamp than the "
			"last one. We "
			"count on from the stored one, but a right clock is needed elsewhere, too.",
		.run = check_clock,
	}, {
		.id = "wg.stamps",
		.severity = WARREN_WARN,
		.brief = "Time stamps of handshakes can be stored.",
		.help = "They protect against replayed handshakes and a clock that steps back, "
			"over a "
			"restart.",
		.run = check_store,
	}, {
		.id = "wg.policy",
		.severity = WARREN_NOTE,
		.brief = "A policy decides about inner packets.",
		.help = "Without a filter either nothing passes, or with `static` and no rules "
			"every peer "
			"reaches every port of this host.",
		.run = check_policy,
	},
};
