/*
 * The data plane as a whole: two nodes in one process (net.h) with real sockets between them.
 * Waiting is for events, with generous limits; nothing here measures time.
 */
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <warren/packet.h>

#include "device.h"
#include "net_impl.h"
#include "netmap.h"

enum { LONG = 10000 };

/*
 * ---- Sessions ----
 */

static void test_packets_both_ways(void **state)
{
	struct net_pair *p = *state;
	struct warren_peer_status status;
	uint8_t packet[1280], got[2048];

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	assert_true(net_ping(p->b, 2, p->a, 1, LONG));
	for (size_t len = 20; len <= sizeof(packet); len += 63) {
		net_packet(packet, len, 1, 2, (uint32_t)len);
		net_send(p->a, packet, len);
		assert_int_equal(net_receive(p->b, got, sizeof(got), LONG), len);
		assert_memory_equal(got, packet, len);
	}
	assert_int_equal(net_status(p->a, p->b, &status), 0);
	assert_int_equal(status.session, WARREN_SESSION_ESTABLISHED);
	assert_true(status.last_handshake > 0);
	assert_true(status.tx_packets >= 20 && status.rx_packets >= 1);
	assert_int_equal(net_metric(p->a, "handshakes", "completed"), 1);
	assert_int_equal(net_metric(p->b, "handshakes", "completed"), 1);
	assert_int_equal(net_metric(p->a, "drops", NULL), 0);
	assert_int_equal(net_metric(p->b, "drops", NULL), 0);
}

static void test_packets_that_waited_arrive_in_order(void **state)
{
	struct net_pair *p = *state;
	uint8_t packet[200], got[2048];

	for (uint32_t i = 0; i < WG_MAX_STAGED; i++) {
		net_packet(packet, sizeof(packet), 1, 2, i);
		net_send(p->a, packet, sizeof(packet));
	}
	for (uint32_t i = 0; i < WG_MAX_STAGED; i++) {
		assert_int_equal(net_receive(p->b, got, sizeof(got), LONG), sizeof(packet));
		assert_memory_equal(got + 20, &i, 4);
	}
	assert_int_equal(net_metric(p->a, "drops", NULL), 0);
}

static void test_too_many_waiting_drop_the_oldest(void **state)
{
	struct net_pair *p = *state;
	struct net_node *nobody = net_start("nobody", "");
	struct net_map *map = net_map_new();
	struct net_peer peer;
	uint8_t packet[200];

	/* Nobody answers: the node does not know a. */
	net_peer_init(&peer, nobody, 9, true);
	net_map_add(map, &peer.node);
	net_publish_take(p->a, map, WARREN_POLICY_ALLOWED_IPS, false);
	for (uint32_t i = 0; i < WG_MAX_STAGED + 50; i++) {
		net_packet(packet, sizeof(packet), 1, 9, i);
		net_send(p->a, packet, sizeof(packet));
	}
	assert_true(net_wait_metric(p->a, "drops", "staged", 50, LONG));
	assert_int_equal(net_metric(p->a, "drops", "staged"), 50);
	assert_true(net_wait_metric(nobody, "drops", "handshake-unknown", 1, LONG));
	net_free(nobody);
}

static void test_restart_of_one_side(void **state)
{
	struct net_pair *p = *state;

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_stop(p->a);
	net_restart(p->a, "");
	net_join(p->a, p->b);
	/* b still sends with the old session; a starts a new one at once. */
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	assert_true(net_ping(p->b, 2, p->a, 1, LONG));
}

static void test_destination_without_peer_is_counted(void **state)
{
	struct net_pair *p = *state;
	uint8_t packet[100];

	net_packet(packet, sizeof(packet), 1, 77, 0);
	net_send(p->a, packet, sizeof(packet));
	assert_true(net_wait_metric(p->a, "drops", "no-peer", 1, LONG));
	memset(packet, 0, sizeof(packet));
	net_send(p->a, packet, sizeof(packet));
	assert_true(net_wait_metric(p->a, "drops", "out-malformed", 1, LONG));
}

static void test_source_must_be_the_peers(void **state)
{
	struct net_pair *p = *state;
	uint8_t packet[100], got[100];

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_packet(packet, sizeof(packet), 99, 2, 0);
	net_send(p->a, packet, sizeof(packet));
	assert_true(net_wait_metric(p->b, "drops", "source", 1, LONG));
	assert_int_equal(net_receive(p->b, got, sizeof(got), 0), 0);
}

static void test_preshared_keys(void **state)
{
	struct net_pair *p = *state;
	struct warren_key32 psk = { { 1, 2, 3 } }, other = { { 4 } };
	struct net_peer peer;
	struct net_map *map = net_map_new();

	net_peer_init(&peer, p->b, 2, true);
	peer.node.psk = &psk;
	net_map_add(map, &peer.node);
	net_publish_take(p->a, map, WARREN_POLICY_ALLOWED_IPS, false);
	map = net_map_new();
	net_peer_init(&peer, p->a, 1, true);
	peer.node.psk = &other;
	net_map_add(map, &peer.node);
	net_publish_take(p->b, map, WARREN_POLICY_ALLOWED_IPS, false);
	assert_false(net_ping(p->a, 1, p->b, 2, 300));
	assert_true(net_wait_metric(p->a, "drops", "handshake-forged", 1, LONG));
	assert_int_equal(net_metric(p->a, "handshakes", "completed"), 0);

	/* The right key reaches the next handshake. */
	map = net_map_new();
	peer.node.psk = &psk;
	net_map_add(map, &peer.node);
	net_publish_take(p->b, map, WARREN_POLICY_ALLOWED_IPS, false);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
}

/* A peer with the network 10.0.0.64/26 behind it, which the node takes or not. */
static void publish_network(struct net_pair *p, bool addresses_only)
{
	struct net_map *map = net_map_new();
	struct warren_prefix allowed[2];
	struct net_peer peer;

	net_peer_init(&peer, p->b, 2, true);
	allowed[0] = peer.allowed[0];
	allowed[1] = (struct warren_prefix){ { 4, { 10, 0, 0, 64 } }, 26 };
	peer.node.addresses = allowed;
	peer.node.n_addresses = 1;
	peer.node.allowed_ips = allowed;
	peer.node.n_allowed_ips = 2;
	net_map_add(map, &peer.node);
	if (addresses_only)
		net_map_addresses_only(map);
	net_publish_take(p->a, map, WARREN_POLICY_ALLOWED_IPS, true);
}

static void test_networks_behind_peers_are_taken_or_not(void **state)
{
	struct net_pair *p = *state;
	uint8_t packet[100], got[2048];

	publish_network(p, true);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_packet(packet, sizeof(packet), 1, 77, 0);
	net_send(p->a, packet, sizeof(packet));
	assert_true(net_wait_metric(p->a, "drops", "no-peer", 1, LONG));
	/* Nor is it a source. */
	net_packet(packet, sizeof(packet), 77, 1, 0);
	net_send(p->b, packet, sizeof(packet));
	assert_true(net_wait_metric(p->a, "drops", "source", 1, LONG));
	publish_network(p, false);
	net_packet(packet, sizeof(packet), 1, 77, 0);
	net_send(p->a, packet, sizeof(packet));
	assert_int_equal(net_receive(p->b, got, sizeof(got), LONG), sizeof(packet));
	net_packet(packet, sizeof(packet), 77, 1, 0);
	net_send(p->b, packet, sizeof(packet));
	assert_int_equal(net_receive(p->a, got, sizeof(got), LONG), sizeof(packet));
	publish_network(p, true);
	net_send(p->b, packet, sizeof(packet));
	assert_true(net_wait_metric(p->a, "drops", "source", 2, LONG));
}

/* Two peers that both lead to all of the internet; @used of them is wanted. */
static void publish_exits(struct net_pair *p, int64_t used, bool offers)
{
	struct net_map *map = net_map_new();
	struct net_peer peer, idle;

	net_peer_init(&peer, p->b, 2, true);
	peer.node.exit_v4 = offers;
	net_map_add(map, &peer.node);
	net_peer_init(&idle, p->b, 3, false);
	idle.node.key.bytes[0] ^= 1;
	idle.node.id = peer.node.id + 1;
	idle.node.exit_v4 = true;
	net_map_add(map, &idle.node);
	net_map_exit(map, used ? peer.node.id + used - 1 : 0);
	net_publish_take(p->a, map, WARREN_POLICY_ALLOWED_IPS, false);
}

static void goes_to_b(struct net_pair *p, bool goes)
{
	uint8_t packet[100], got[2048];
	int64_t before = net_metric(p->a, "drops", "source");

	net_packet(packet, sizeof(packet), 77, 1, 0);
	net_send(p->b, packet, sizeof(packet));
	if (goes)
		assert_int_equal(net_receive(p->a, got, sizeof(got), LONG), sizeof(packet));
	else
		assert_true(net_wait_metric(p->a, "drops", "source", before + 1, LONG));
	net_packet(packet, sizeof(packet), 1, 77, 0);
	net_send(p->a, packet, sizeof(packet));
	if (goes)
		assert_int_equal(net_receive(p->b, got, sizeof(got), LONG), sizeof(packet));
	else	/* this one overtakes none: the other has met its fate, under this map */
		assert_true(net_ping(p->a, 1, p->b, 2, LONG));
}

static void test_all_of_the_internet_is_of_the_chosen_one(void **state)
{
	struct net_pair *p = *state;
	uint8_t packet[100], got[2048];

	publish_exits(p, 0, true);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	goes_to_b(p, false);
	publish_exits(p, 1, true);
	goes_to_b(p, true);
	publish_exits(p, 2, true);
	goes_to_b(p, false);
	publish_exits(p, 1, true);
	goes_to_b(p, true);
	publish_exits(p, 1, false);	/* he does not offer it any more */
	goes_to_b(p, false);
	publish_exits(p, 1, true);
	goes_to_b(p, true);
	/* A peer that goes takes its way along. */
	net_publish_take(p->a, net_map_new(), WARREN_POLICY_ALLOWED_IPS, false);
	net_packet(packet, sizeof(packet), 1, 77, 0);
	net_send(p->a, packet, sizeof(packet));
	assert_int_equal(net_receive(p->b, got, sizeof(got), 100), 0);
}

/*
 * ---- Datagrams of others ----
 */

static int socket_to(const struct net_node *node, struct sockaddr_in *to)
{
	*to = (struct sockaddr_in){ .sin_family = AF_INET,
				    .sin_port = htons(node->port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	return socket(AF_INET, SOCK_DGRAM, 0);
}

static void test_garbage_changes_nothing(void **state)
{
	struct net_pair *p = *state;
	struct sockaddr_in to;
	int fd = socket_to(p->b, &to);
	uint8_t data[2000];
	uint32_t seed = 1;

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	for (int i = 0; i < 20000; i++) {
		size_t len = (size_t)(i * 37) % sizeof(data);

		for (size_t n = 0; n < len; n += 16)
			data[n] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
		memset(data, 0, len < 4 ? len : 4);
		if (len)
			data[0] = (uint8_t)(i % 6);
		sendto(fd, data, len, 0, (struct sockaddr *)&to, sizeof(to));
	}
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	assert_true(net_metric(p->b, "drops", "index") > 0);
	assert_true(net_metric(p->b, "drops", "malformed") > 0);
	close(fd);
}

/* Sits between a and b: passes on what a sends, and keeps it. */
struct tap {
	int fd;
	uint16_t a; /* port that a sends from */
	uint8_t kept[64][2048];
	size_t len[64];
	uint32_t n;
	_Atomic bool stop;
	struct net_node *to;
};

static void *tap_run(void *arg)
{
	struct tap *tap = arg;
	struct sockaddr_in b;

	close(socket_to(tap->to, &b));
	while (!atomic_load(&tap->stop)) {
		struct pollfd pfd = { tap->fd, POLLIN, 0 };
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		uint8_t data[2048];
		ssize_t n;

		if (poll(&pfd, 1, 20) <= 0)
			continue;
		n = recvfrom(tap->fd, data, sizeof(data), 0, (struct sockaddr *)&from, &len);
		if (n <= 0)
			continue;
		if (from.sin_port == b.sin_port) {
			from.sin_port = tap->a;
			sendto(tap->fd, data, (size_t)n, 0, (struct sockaddr *)&from, len);
			continue;
		}
		tap->a = from.sin_port;
		memcpy(tap->kept[tap->n % 64], data, (size_t)n);
		tap->len[tap->n++ % 64] = (size_t)n;
		sendto(tap->fd, data, (size_t)n, 0, (struct sockaddr *)&b, sizeof(b));
	}
	return NULL;
}

static void test_replayed_datagrams(void **state)
{
	struct net_pair *p = *state;
	struct tap tap = { .to = p->b };
	struct sockaddr_in name = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(name);
	struct net_peer peer;
	struct net_map *map = net_map_new();
	struct sockaddr_in to;
	uint8_t got[2048];
	pthread_t thread;
	uint32_t count;

	tap.fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(tap.fd, (struct sockaddr *)&name, len), 0);
	getsockname(tap.fd, (struct sockaddr *)&name, &len);
	net_peer_init(&peer, p->b, 2, true);
	peer.endpoint[0].port = ntohs(name.sin_port);
	net_map_add(map, &peer.node);
	net_publish_take(p->a, map, WARREN_POLICY_ALLOWED_IPS, false);
	pthread_create(&thread, NULL, tap_run, &tap);
	for (int i = 0; i < 5; i++)
		assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	atomic_store(&tap.stop, true);
	pthread_join(thread, NULL);
	assert_true(tap.n >= 6);
	count = tap.n < 64 ? tap.n : 64;
	while (net_receive(p->b, got, sizeof(got), 0))
		;
	close(socket_to(p->b, &to));
	for (int again = 0; again < 3; again++) {
		for (uint32_t i = 0; i < count; i++)
			sendto(tap.fd, tap.kept[i], tap.len[i], 0, (struct sockaddr *)&to,
			       sizeof(to));
	}
	assert_true(net_wait_metric(p->b, "drops", "replay", 3 * (count - 1), LONG));
	assert_true(net_wait_metric(p->b, "drops", "handshake-replay", 3, LONG));
	assert_int_equal(net_receive(p->b, got, sizeof(got), 0), 0);
	close(tap.fd);
}

static void test_roaming_follows_authentic_datagrams_only(void **state)
{
	struct net_pair *p = *state;
	struct warren_peer_status status;
	struct sockaddr_in to;
	int fd = socket_to(p->b, &to);
	uint8_t junk[64] = { 4 };
	char *text = NULL;

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	sendto(fd, junk, sizeof(junk), 0, (struct sockaddr *)&to, sizeof(to));
	assert_true(net_wait_metric(p->b, "drops", "index", 1, LONG));
	net_status(p->b, p->a, &status);
	assert_int_equal(status.path.address.port, p->a->port);
	/* A new socket of a: b follows with the first packet from there. */
	assert_int_equal(net_reload(p->a, "mark: 1", &text), 0);
	free(text);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	for (int i = 0; i < 200; i++) {
		net_status(p->b, p->a, &status);
		if (status.path.address.port == p->a->port)
			break;
		net_pause(10);
	}
	assert_int_equal(status.path.address.port, p->a->port);
	assert_true(net_ping(p->b, 2, p->a, 1, LONG));
	assert_int_equal(net_metric(p->b, "handshakes", "completed"), 1);
	close(fd);
}

static void test_foreign_packets(void **state)
{
	struct net_pair *p = *state;
	uint8_t stun[20] = { 0x01, 0x01, 0, 0, 0x21, 0x12, 0xa4, 0x42 };
	uint8_t disco[100] = { 0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac, 7 };
	uint8_t geneve[8 + sizeof(disco)] = { 0, 0x80, 0x7a, 0x11, 0, 0x01, 0x02, 0 };
	struct sockaddr_in to;
	int fd = socket_to(p->b, &to);

	memcpy(geneve + 8, disco, sizeof(disco));
	sendto(fd, stun, sizeof(stun), 0, (struct sockaddr *)&to, sizeof(to));
	assert_true(net_wait_metric(p->b, "drops", "foreign", 1, LONG));
	for (uint32_t c = 0; c < WARREN_FOREIGN_CLASSES; c++)
		assert_int_equal(net_take_foreign(p->b, c, true), 0);
	sendto(fd, stun, sizeof(stun), 0, (struct sockaddr *)&to, sizeof(to));
	sendto(fd, disco, sizeof(disco), 0, (struct sockaddr *)&to, sizeof(to));
	sendto(fd, geneve, sizeof(geneve), 0, (struct sockaddr *)&to, sizeof(to));
	for (int i = 0; i < 500 && p->b->n_foreign < 3; i++) {
		net_pause(5);
		net_metric(p->b, "foreign", NULL); /* a round over the lane orders the memory */
	}
	assert_int_equal(p->b->n_foreign, 3);
	assert_int_equal(p->b->foreign[0].class_, WARREN_FOREIGN_STUN);
	assert_int_equal(p->b->foreign[1].class_, WARREN_FOREIGN_DISCO);
	assert_int_equal(p->b->foreign[1].len, sizeof(disco));
	assert_int_equal(p->b->foreign[2].class_, WARREN_FOREIGN_GENEVE_DISCO);
	assert_int_equal(p->b->foreign[2].vni, 0x000102 | WARREN_VNI_CONTROL);
	assert_memory_equal(p->b->foreign[2].data, disco, sizeof(disco));
	assert_int_equal(net_take_foreign(p->b, WARREN_FOREIGN_STUN, false), 0);
	sendto(fd, stun, sizeof(stun), 0, (struct sockaddr *)&to, sizeof(to));
	assert_true(net_wait_metric(p->b, "drops", "foreign", 2, LONG));
	close(fd);
}

static void raw_send_run(struct net_node *node, void *arg)
{
	struct warren_addrport to = { { 4, { 127, 0, 0, 1 } }, *(uint16_t *)arg };
	uint8_t disco[50] = { 0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac };

	REQUIRE(node->ops->raw_send(node->dev, &to, 0, disco, sizeof(disco)) == 0);
	REQUIRE(node->ops->raw_send(node->dev, &to, 5, disco, sizeof(disco)) == 0);
}

/* Out of the one interface that leads there; never by another one instead. */
static void raw_send_by_run(struct net_node *node, void *arg)
{
	struct warren_addrport to = { { 4, { 127, 0, 0, 1 } }, *(uint16_t *)arg };
	const struct warren_addr own = { 4, { 127, 0, 0, 9 } }, other = { 4, { 192, 0, 2, 9 } };
	const struct warren_addr six = { .family = 6 };
	uint8_t disco[50] = { 0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac };
	uint32_t lo = if_nametoindex("lo");

	REQUIRE(node->ops->raw_send_by(node->dev, lo, &own, &to, disco, sizeof(disco)) == 0);
	REQUIRE(node->ops->raw_send_by(node->dev, lo, &other, &to, disco, sizeof(disco)) < 0);
	REQUIRE(node->ops->raw_send_by(node->dev, 1u << 30, &own, &to, disco, sizeof(disco)) < 0);
	REQUIRE(node->ops->raw_send_by(node->dev, 0, &own, &to, disco, sizeof(disco)) == -EINVAL);
	REQUIRE(node->ops->raw_send_by(node->dev, lo, &six, &to, disco, sizeof(disco)) == -EINVAL);
}

static void test_raw_send_by_an_interface(void **state)
{
	struct net_pair *p = *state;

	net_take_foreign(p->b, WARREN_FOREIGN_DISCO, true);
	net_call(p->a, raw_send_by_run, &p->b->port);
	assert_true(net_wait_metric(p->b, "foreign", NULL, 1, LONG));
	for (int i = 0; i < 500 && p->b->n_foreign < 1; i++)
		net_metric(p->b, "foreign", NULL);
	assert_int_equal(p->b->n_foreign, 1);
}

static void test_raw_send_reaches_the_others_taker(void **state)
{
	struct net_pair *p = *state;

	net_take_foreign(p->b, WARREN_FOREIGN_DISCO, true);
	net_take_foreign(p->b, WARREN_FOREIGN_GENEVE_DISCO, true);
	net_call(p->a, raw_send_run, &p->b->port);
	assert_true(net_wait_metric(p->b, "foreign", NULL, 2, LONG));
	for (int i = 0; i < 500 && p->b->n_foreign < 2; i++)
		net_metric(p->b, "foreign", NULL);
	assert_int_equal(p->b->foreign[1].vni, 5);
}

/*
 * ---- Reload ----
 */

static void test_reload(void **state)
{
	struct net_pair *p = *state;
	char *text = NULL;

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	assert_int_equal(net_reload(p->a, "mtu: 9000, new-peers: 7", &text), 0);
	free(text);
	assert_int_equal(p->a->ops->mtu(p->a->dev), 9000);
	{
		uint8_t packet[9000], got[9100];

		net_packet(packet, sizeof(packet), 1, 2, 1);
		net_send(p->a, packet, sizeof(packet));
		assert_int_equal(net_receive(p->b, got, sizeof(got), LONG), sizeof(packet));
	}
	text = NULL;
	assert_true(net_reload(p->a, "staged-memory: 1MiB", &text) < 0);
	assert_non_null(strstr(text, "staged-memory"));
	free(text);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	assert_int_equal(net_metric(p->a, "handshakes", "completed"), 1);
}

static void test_sockets_change_under_a_session(void **state)
{
	struct net_pair *p = *state;
	char yaml[64], *text = NULL;
	uint16_t port = p->a->port;

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	/* The same port with another mark: closed, then opened again. */
	for (int mark = 1; mark < 4; mark++) {
		snprintf(yaml, sizeof(yaml), "port: %u, mark: %d", port, mark);
		assert_int_equal(net_reload(p->a, yaml, &text), 0);
		free(text);
		assert_int_equal(p->a->port, port);
		assert_true(net_ping(p->a, 1, p->b, 2, LONG));
		assert_true(net_ping(p->b, 2, p->a, 1, LONG));
	}
	/* b has its port: a cannot, says so, and stays where it was. */
	snprintf(yaml, sizeof(yaml), "port: %u", p->b->port);
	text = NULL;
	assert_true(net_reload(p->a, yaml, &text) < 0);
	snprintf(yaml, sizeof(yaml), "UDP port %u (IPv4) is taken by another program", p->b->port);
	assert_non_null(strstr(text, yaml));
	free(text);
	assert_int_equal(p->a->port, port);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	assert_int_equal(net_metric(p->a, "handshakes", "completed"), 1);
}

static void test_our_key_changes(void **state)
{
	struct net_pair *p = *state;
	struct net_map *map = net_map_new();
	struct net_peer peer;
	uint8_t got[2048];

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_new_key(p->a);
	/* b knows the old key only: the old session brings packets to a, none to b. */
	assert_true(net_ping(p->b, 2, p->a, 1, LONG));
	assert_false(net_ping(p->a, 1, p->b, 2, 300));
	assert_true(net_wait_metric(p->b, "drops", "handshake-unknown", 1, LONG));
	net_peer_init(&peer, p->a, 1, true);
	net_map_add(map, &peer.node);
	net_publish_take(p->b, map, WARREN_POLICY_ALLOWED_IPS, false);
	assert_true(net_ping(p->b, 2, p->a, 1, LONG));
	while (net_receive(p->b, got, sizeof(got), 0))
		;
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
}

#define NODES(f) cmocka_unit_test_setup_teardown(f, net_two_nodes, net_end_nodes)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NODES(test_packets_both_ways),
		NODES(test_packets_that_waited_arrive_in_order),
		NODES(test_too_many_waiting_drop_the_oldest),
		NODES(test_restart_of_one_side),
		NODES(test_destination_without_peer_is_counted),
		NODES(test_networks_behind_peers_are_taken_or_not),
		NODES(test_all_of_the_internet_is_of_the_chosen_one),
		NODES(test_source_must_be_the_peers),
		NODES(test_preshared_keys),
		NODES(test_garbage_changes_nothing),
		NODES(test_replayed_datagrams),
		NODES(test_roaming_follows_authentic_datagrams_only),
		NODES(test_foreign_packets),
		NODES(test_raw_send_reaches_the_others_taker),
		NODES(test_raw_send_by_an_interface),
		NODES(test_reload),
		NODES(test_sockets_change_under_a_session),
		NODES(test_our_key_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
