/*
 * The data plane as a whole: two nodes in one process (net.h) with real sockets between them.
 * Waiting is for events, with generous limits; nothing here measures time.
 */
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
#include "net.h"
#include "netmap.h"

enum { LONG = 10000 };

static void pause_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

struct pair {
	struct net_node *a, *b;
};

static int two_nodes(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));

	p->a = net_start("a", "");
	p->b = net_start("b", "");
	net_join(p->a, p->b);
	*state = p;
	return 0;
}

static int end_nodes(void **state)
{
	struct pair *p = *state;

	net_free(p->a);
	net_free(p->b);
	free(p);
	return 0;
}

/*
 * ---- Sessions ----
 */

static void test_packets_both_ways(void **state)
{
	struct pair *p = *state;
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
	struct pair *p = *state;
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
	struct pair *p = *state;
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
	struct pair *p = *state;

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
	struct pair *p = *state;
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
	struct pair *p = *state;
	uint8_t packet[100], got[100];

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_packet(packet, sizeof(packet), 99, 2, 0);
	net_send(p->a, packet, sizeof(packet));
	assert_true(net_wait_metric(p->b, "drops", "source", 1, LONG));
	assert_int_equal(net_receive(p->b, got, sizeof(got), 0), 0);
}

static void test_preshared_keys(void **state)
{
	struct pair *p = *state;
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

/*
 * ---- Datagrams of others ----
 */

static int socket_to(const struct net_node *node, struct sockaddr_in *to)
{
	*to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(node->port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	return socket(AF_INET, SOCK_DGRAM, 0);
}

static void test_garbage_changes_nothing(void **state)
{
	struct pair *p = *state;
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
	uint16_t a;			/* port that a sends from */
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
	struct pair *p = *state;
	struct tap tap = { .to = p->b };
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
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
			sendto(tap.fd, tap.kept[i], tap.len[i], 0, (struct sockaddr *)&to, sizeof(to));
	}
	assert_true(net_wait_metric(p->b, "drops", "replay", 3 * (count - 1), LONG));
	assert_true(net_wait_metric(p->b, "drops", "handshake-replay", 3, LONG));
	assert_int_equal(net_receive(p->b, got, sizeof(got), 0), 0);
	close(tap.fd);
}

static void test_roaming_follows_authentic_datagrams_only(void **state)
{
	struct pair *p = *state;
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
		pause_ms(10);
	}
	assert_int_equal(status.path.address.port, p->a->port);
	assert_true(net_ping(p->b, 2, p->a, 1, LONG));
	assert_int_equal(net_metric(p->b, "handshakes", "completed"), 1);
	close(fd);
}

static void test_foreign_packets(void **state)
{
	struct pair *p = *state;
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
		pause_ms(5);
		net_metric(p->b, "foreign", NULL);	/* a round over the lane orders the memory */
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

	assert_int_equal(node->ops->raw_send(node->dev, &to, 0, disco, sizeof(disco)), 0);
	assert_int_equal(node->ops->raw_send(node->dev, &to, 5, disco, sizeof(disco)), 0);
}

static void test_raw_send_reaches_the_others_taker(void **state)
{
	struct pair *p = *state;

	net_take_foreign(p->b, WARREN_FOREIGN_DISCO, true);
	net_take_foreign(p->b, WARREN_FOREIGN_GENEVE_DISCO, true);
	net_call(p->a, raw_send_run, &p->b->port);
	assert_true(net_wait_metric(p->b, "foreign", NULL, 2, LONG));
	for (int i = 0; i < 500 && p->b->n_foreign < 2; i++)
		net_metric(p->b, "foreign", NULL);
	assert_int_equal(p->b->foreign[1].vni, 5);
}

/*
 * ---- Paths and relays ----
 */

static struct warren_data_path udp_path(const struct net_node *to)
{
	return (struct warren_data_path){
		.size = sizeof(struct warren_data_path), .kind = WARREN_PATH_UDP,
		.address = { { 4, { 127, 0, 0, 1 } }, to->port }, .generation = 1,
	};
}

static void relay_between(struct pair *p)
{
	p->a->relay_to = p->b;
	p->b->relay_to = p->a;
}

static void test_paths_of_every_kind(void **state)
{
	struct pair *p = *state;
	struct warren_data_path path = udp_path(p->b);
	uint8_t packet[100];

	relay_between(p);
	assert_int_equal(net_path(p->a, p->b, &path), -EPERM);	/* nobody is the writer */
	assert_int_equal(net_attach_paths(p->a), 0);
	assert_int_equal(net_attach_paths(p->a), -EBUSY);
	assert_int_equal(net_attach_paths(p->b), 0);

	path.kind = WARREN_PATH_RELAY;
	path.region = 900;
	assert_int_equal(net_path(p->a, p->b, &path), 0);
	assert_int_equal(net_path(p->b, p->a, &path), 0);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	assert_true(net_ping(p->b, 2, p->a, 1, LONG));
	assert_true(atomic_load(&p->a->relayed) >= 2);
	assert_true(net_metric(p->b, "relayed", "received") >= 2);

	path = udp_path(p->b);
	assert_int_equal(net_path(p->a, p->b, &path), 0);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	/* b was told that a can be reached there, and did not roam. */
	for (int i = 0; i < 500 && !p->b->proved; i++)
		net_metric(p->b, "foreign", NULL);
	assert_int_equal(p->b->proved_at.port, p->a->port);
	{
		struct warren_peer_status status;

		net_status(p->b, p->a, &status);
		assert_int_equal(status.path.kind, WARREN_PATH_RELAY);
	}

	path.kind = WARREN_PATH_GENEVE;
	path.vni = 0x123456;
	assert_int_equal(net_path(p->a, p->b, &path), 0);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));

	path.kind = WARREN_PATH_NONE;
	assert_int_equal(net_path(p->a, p->b, &path), 0);
	net_packet(packet, sizeof(packet), 1, 2, 0);
	net_send(p->a, packet, sizeof(packet));
	assert_true(net_wait_metric(p->a, "drops", "no-path", 1, LONG));
	for (int i = 0; i < 500 && !p->a->wanted; i++)
		net_metric(p->a, "foreign", NULL);
	assert_true(p->a->wanted > 0);
}

struct sender {
	struct net_node *node;
	uint32_t count;
};

static void *send_many(void *arg)
{
	struct sender *s = arg;
	uint8_t packet[600];

	for (uint32_t i = 0; i < s->count; i++) {
		net_packet(packet, sizeof(packet), 1, 2, i);
		net_send(s->node, packet, sizeof(packet));
		if (i % 16 == 15)
			pause_ms(1);	/* a host that sends faster than loopback passes loses packets */
	}
	return NULL;
}

/* Receives until @count came or nothing came for a while; how many different ones. */
static uint32_t receive_many(struct net_node *node, uint32_t count)
{
	uint8_t *seen = calloc(count, 1), got[2048];
	uint32_t distinct = 0, tag;

	while (distinct < count && net_receive(node, got, sizeof(got), 2000)) {
		memcpy(&tag, got + 20, 4);
		if (tag < count) {
			assert_int_equal(seen[tag], 0);	/* nothing comes twice */
			seen[tag] = 1;
			distinct++;
		}
	}
	free(seen);
	return distinct;
}

static void test_paths_switched_under_load(void **state)
{
	struct pair *p = *state;
	struct sender s = { p->a, 4000 };
	struct warren_data_path path;
	pthread_t thread;

	relay_between(p);
	net_attach_paths(p->a);
	net_attach_paths(p->b);
	path = udp_path(p->b);
	net_path(p->a, p->b, &path);
	path = udp_path(p->a);
	net_path(p->b, p->a, &path);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	pthread_create(&thread, NULL, send_many, &s);
	for (int i = 0; i < 300; i++) {
		path = udp_path(p->b);
		path.kind = i % 3 == 0 ? WARREN_PATH_UDP : i % 3 == 1 ? WARREN_PATH_GENEVE :
									WARREN_PATH_RELAY;
		path.vni = i % 3 == 1 ? 7 : 0;
		path.region = 1;
		path.generation = (uint64_t)i;
		assert_int_equal(net_path(p->a, p->b, &path), 0);
	}
	assert_int_equal(receive_many(p->b, s.count), s.count);
	pthread_join(thread, NULL);
	assert_int_equal(net_metric(p->a, "drops", NULL), 0);
	assert_int_equal(net_metric(p->b, "drops", NULL), 0);
}

static void inject_many(struct net_node *node, void *arg)
{
	uint8_t data[200] = { 4 };
	static const uint8_t key[32] = { 1 };

	for (uint32_t i = 0; i < *(uint32_t *)arg; i++)
		assert_int_equal(node->ops->inject(node->dev, 1, key, data, sizeof(data)), 0);
	assert_int_equal(node->ops->inject(node->dev, 1, key, data, 1u << 20), -EMSGSIZE);
}

static void test_full_rings_count_what_they_drop(void **state)
{
	struct pair *p = *state;
	uint32_t count = 50000;

	/* Towards the worker: all are taken, dropped or refused as nonsense, and counted. */
	net_call(p->a, inject_many, &count);
	for (int i = 0; i < 1000; i++) {
		if (net_metric(p->a, "relayed", "received") +
		    net_metric(p->a, "drops", "inject-full") == count)
			break;
		pause_ms(5);
	}
	assert_int_equal(net_metric(p->a, "relayed", "received") +
			 net_metric(p->a, "drops", "inject-full"), count);
	assert_true(net_metric(p->a, "drops", "inject-full") > 0);
	assert_int_equal(net_metric(p->a, "drops", "too-large"), 1);
}

static void hold_lane(struct net_node *node, void *arg)
{
	struct sender *s = arg;

	/* The lane sleeps while the worker fills its ring. */
	send_many(s);
	pause_ms(200);
	(void)node;
}

static void test_full_relay_ring_drops_the_oldest(void **state)
{
	struct pair *p = *state;
	struct sender s = { p->a, 1000 };
	struct warren_data_path path = { .size = sizeof(path), .kind = WARREN_PATH_RELAY, .region = 1 };
	uint32_t last = 0, tag, n = 0;
	uint8_t got[2048];

	relay_between(p);
	net_attach_paths(p->a);
	net_attach_paths(p->b);
	net_path(p->a, p->b, &path);
	net_path(p->b, p->a, &path);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_call(p->a, hold_lane, &s);
	while (net_receive(p->b, got, sizeof(got), 1000)) {
		memcpy(&tag, got + 20, 4);
		if (tag < s.count) {
			last = tag;
			n++;
		}
	}
	assert_int_equal(last, s.count - 1);	/* the newest arrived */
	assert_int_equal(net_metric(p->a, "drops", "relay-full"), s.count - n);
	assert_true(n <= 256 && n >= 255);
}

/* The writer goes: the map's endpoints count again. */
static void test_writer_ends(void **state)
{
	struct pair *p = *state;
	struct warren_data_path path = { .size = sizeof(path), .kind = WARREN_PATH_RELAY, .region = 1 };
	struct warren_peer_status status;

	net_attach_paths(p->a);
	p->a->relay_hold = true;
	net_path(p->a, p->b, &path);
	assert_false(net_ping(p->a, 1, p->b, 2, 200));
	net_restart_probe(p->a);
	net_status(p->a, p->b, &status);
	assert_int_equal(status.path.kind, WARREN_PATH_UDP);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
}

/*
 * ---- Verdicts and hooks ----
 */

struct table {
	_Atomic uint32_t *freed;
	bool accept;
	_Atomic uint32_t asked[2];
};

static void table_verdict(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n,
			  uint64_t now)
{
	struct table *t = self;

	(void)now;
	atomic_fetch_add_explicit(&t->asked[direction], n, memory_order_relaxed);
	for (uint32_t i = 0; i < n; i++)
		pkt[i].verdict = t->accept ? WARREN_PKT_ACCEPT : WARREN_PKT_DROP;
}

static void table_free(void *table)
{
	atomic_fetch_add(((struct table *)table)->freed, 1);
	free(table);
}

struct verdict_call {
	_Atomic uint32_t freed;
	uint32_t made;
	bool accept;
};

static void verdict_run(struct net_node *node, void *arg)
{
	struct verdict_call *call = arg;
	struct table *t = calloc(1, sizeof(*t));
	struct warren_verdict verdict = { .size = sizeof(verdict), .fn = table_verdict, .table = t,
					  .free = table_free, .name = "probe" };

	t->freed = &call->freed;
	t->accept = call->accept;
	call->made++;
	assert_int_equal(node->ops->verdict_set(node->dev, node->probe, &verdict), 0);
}

static void test_an_empty_slot_drops_everything(void **state)
{
	struct pair *p = *state;
	struct net_map *map = net_map_new();
	struct net_peer peer;

	net_peer_init(&peer, p->a, 1, true);
	net_map_add(map, &peer.node);
	net_publish_take(p->b, map, WARREN_POLICY_NONE, false);
	assert_false(net_ping(p->a, 1, p->b, 2, 300));
	assert_true(net_wait_metric(p->b, "drops", "no-policy", 1, LONG));
	/* Handshakes are not inner packets. */
	assert_int_equal(net_metric(p->b, "handshakes", "completed"), 1);
	assert_false(net_ping(p->b, 2, p->a, 1, 100));
}

static void test_verdicts_swapped_under_load(void **state)
{
	struct pair *p = *state;
	struct sender s = { p->a, 3000 };
	struct verdict_call call = { .accept = true };
	pthread_t thread;

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_call(p->b, verdict_run, &call);
	pthread_create(&thread, NULL, send_many, &s);
	for (int i = 0; i < 300; i++)
		net_call(p->b, verdict_run, &call);
	assert_int_equal(receive_many(p->b, s.count), s.count);
	pthread_join(thread, NULL);
	call.accept = false;
	net_call(p->b, verdict_run, &call);
	assert_false(net_ping(p->a, 1, p->b, 2, 200));
	assert_true(net_metric(p->b, "drops", "policy") > 0);
	assert_int_equal(net_metric(p->b, "drops", "no-policy"), 0);
	/* The holder ends: the map's built-in policy is what is left, and all tables came back. */
	net_restart_probe(p->b);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	for (int i = 0; i < 1000 && atomic_load(&call.freed) < call.made; i++)
		pause_ms(5);
	assert_int_equal(atomic_load(&call.freed), call.made);
}

struct seen {				/* by a hook */
	_Atomic uint32_t out, in;
	uint8_t verdict;
	const char *name, *before, *after;
	int result;
};

static void hook_fn(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n, uint64_t now)
{
	struct seen *seen = self;

	(void)now;
	atomic_fetch_add(direction == WARREN_PKT_OUT ? &seen->out : &seen->in, n);
	for (uint32_t i = 0; i < n; i++)
		pkt[i].verdict = seen->verdict;
}

static void hook_run(struct net_node *node, void *arg)
{
	struct seen *seen = arg;
	struct warren_hook hook = { .name = seen->name, .before = seen->before, .after = seen->after,
				    .directions = 3, .fn = hook_fn, .self = seen };

	seen->result = node->ops->hook_add(node->dev, node->probe, &hook, NULL);
}

static void inject_run(struct net_node *node, void *arg)
{
	uint8_t packet[100];
	uint32_t direction = *(uint32_t *)arg;

	net_packet(packet, sizeof(packet), 1, 2, 555);
	assert_int_equal(node->ops->packet_inject(node->dev, node->probe, direction, packet,
						  sizeof(packet)), 0);
	assert_int_equal(node->ops->packet_inject(node->dev, node->probe, direction, packet, 30),
			 -EMSGSIZE);
}

static void test_hooks_and_injection(void **state)
{
	struct pair *p = *state;
	struct seen first = { .name = "first" }, second = { .name = "second", .after = "first",
		.before = "filter" }, late = { .name = "late", .before = "filter", .after = "route" };
	uint32_t out = WARREN_PKT_OUT, in = WARREN_PKT_IN;
	uint8_t got[200];

	net_call(p->a, hook_run, &first);
	net_call(p->a, hook_run, &second);
	assert_int_equal(first.result, 0);
	assert_int_equal(second.result, 0);
	net_call(p->a, hook_run, &first);
	assert_int_equal(first.result, -EEXIST);
	net_call(p->a, hook_run, &late);
	assert_true(late.result == -EINVAL || late.result == -ELOOP);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	assert_true(net_ping(p->b, 2, p->a, 1, LONG));
	assert_true(first.out > 0 && first.in > 0);
	assert_int_equal(first.out, second.out);

	/* Injected packets pass no hook of their own plugin. */
	{
		uint32_t before = atomic_load(&second.out);

		while (net_receive(p->b, got, sizeof(got), 50))
			;
		net_call(p->a, inject_run, &out);
		assert_int_equal(net_receive(p->b, got, sizeof(got), LONG), 100);
		assert_int_equal(atomic_load(&second.out), before);
		net_call(p->a, inject_run, &in);
		assert_int_equal(net_receive(p->a, got, sizeof(got), LONG), 100);
	}
	first.verdict = WARREN_PKT_TAKEN;
	assert_false(net_ping(p->a, 1, p->b, 2, 200));
	assert_int_equal(net_metric(p->a, "drops", "hook"), 0);
	first.verdict = WARREN_PKT_DROP;
	assert_false(net_ping(p->a, 1, p->b, 2, 200));
	assert_true(net_metric(p->a, "drops", "hook") > 0);
	net_restart_probe(p->a);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
}

/*
 * ---- Maps ----
 */

struct dump {				/* what a map made of the tables */
	char text[1 << 20];
	size_t len;
};

static void dump_prefix(void *arg, const struct warren_prefix *prefix, void *owner)
{
	struct dump *d = arg;
	const struct wg_peer *peer = owner;

	d->len += (size_t)snprintf(d->text + d->len, sizeof(d->text) - d->len, "%d.%d.%d.%d/%d %02x%02x\n",
				   prefix->addr.bytes[0], prefix->addr.bytes[1], prefix->addr.bytes[2],
				   prefix->addr.bytes[3], prefix->bits, peer->key[0], peer->key[1]);
}

static int by_key(const void *a, const void *b)
{
	return memcmp((*(struct wg_peer *const *)a)->key, (*(struct wg_peer *const *)b)->key, 32);
}

static void dump_run(struct net_node *node, void *arg)
{
	struct dump *d = arg;
	struct wg_peer *peers[512], *peer;
	uint32_t n = 0;

	d->len = 0;
	wg_allowedips_walk(atomic_load(&node->dev->allowed), NULL, dump_prefix, d);
	for (uint32_t at = 0; (peer = wg_peers_next(&node->dev->peers, &at));)
		peers[n++] = peer;
	qsort(peers, n, sizeof(*peers), by_key);
	for (uint32_t i = 0; i < n; i++) {
		char text[WG_PATH_TEXT];

		wg_path_text(atomic_load(&peers[i]->path), text);
		d->len += (size_t)snprintf(d->text + d->len, sizeof(d->text) - d->len,
					   "peer %02x%02x id %lld keepalive %u %s\n", peers[i]->key[0],
					   peers[i]->key[1], (long long)peers[i]->node_id,
					   peers[i]->keepalive, text);
	}
}

static uint32_t rnd(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525 + 1013904223;
	return (*seed >> 8) % below;
}

/* A random map of up to 40 nodes, some with contested prefixes, some expired. */
static struct net_map *random_map(uint32_t *seed)
{
	struct net_map *map = net_map_new();

	for (int64_t id = 1; id <= 40; id++) {
		struct net_peer peer;
		struct warren_prefix allowed[3];

		if (rnd(seed, 4) == 0)
			continue;
		memset(&peer, 0, sizeof(peer));
		peer.node.id = id;
		/* A node may come with another key; keys are unique. */
		peer.node.key.bytes[0] = (uint8_t)id;
		peer.node.key.bytes[1] = (uint8_t)rnd(seed, 2);
		peer.node.key.bytes[2] = 9;
		for (int i = 0; i < 3; i++)
			allowed[i] = (struct warren_prefix){
				{ 4, { 10, (uint8_t)rnd(seed, 12), 0, 0 } }, 16 };
		peer.node.allowed_ips = allowed;
		peer.node.n_allowed_ips = rnd(seed, 4);
		peer.endpoint[0] = (struct warren_addrport){ { 4, { 192, 0, 2, (uint8_t)id } },
							     (uint16_t)(1 + rnd(seed, 2)) };
		peer.node.endpoints = peer.endpoint;
		peer.node.n_endpoints = 1;
		peer.node.expired = rnd(seed, 8) == 0;
		net_map_add(map, &peer.node);
	}
	return map;
}

static void test_changes_and_snapshots_lead_to_the_same(void **state)
{
	struct pair *p = *state;
	static struct dump by_change, by_snapshot;
	uint32_t seed = 12345;

	for (int round = 0; round < 200; round++) {
		uint32_t again = seed;

		net_publish_take(p->a, random_map(&seed), WARREN_POLICY_NONE, false);
		net_publish_take(p->b, random_map(&again), WARREN_POLICY_NONE, true);
		net_call(p->a, dump_run, &by_change);
		net_call(p->b, dump_run, &by_snapshot);
		assert_string_equal(by_change.text, by_snapshot.text);
	}
	assert_true(by_change.len > 100);
}

static void test_peers_come_and_go_without_disturbing_others(void **state)
{
	struct pair *p = *state;
	struct sender s = { p->a, 2000 };
	struct net_peer real, other;
	pthread_t thread;

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	pthread_create(&thread, NULL, send_many, &s);
	net_peer_init(&real, p->b, 2, true);
	for (int round = 0; round < 60; round++) {
		struct net_map *map = net_map_new();

		net_map_add(map, &real.node);
		for (int i = 0; i < round % 7; i++) {
			net_peer_init(&other, p->a, (uint8_t)(100 + i), true);
			memset(other.node.key.bytes, 50 + i + round, 32);
			net_map_add(map, &other.node);
		}
		net_publish_take(p->a, map, WARREN_POLICY_ALLOWED_IPS, round % 5 == 0);
	}
	assert_int_equal(receive_many(p->b, s.count), s.count);
	pthread_join(thread, NULL);
	assert_int_equal(net_metric(p->a, "handshakes", "completed"), 1);
}

static void test_a_removed_peer_is_gone_at_once(void **state)
{
	struct pair *p = *state;
	struct net_peer real;
	struct net_map *map = net_map_new();
	struct warren_peer_status status;
	uint8_t packet[100], got[200];

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_publish_take(p->b, map, WARREN_POLICY_ALLOWED_IPS, false);
	assert_int_equal(net_status(p->b, p->a, &status), -ENOENT);
	while (net_receive(p->b, got, sizeof(got), 50))
		;
	net_packet(packet, sizeof(packet), 1, 2, 0);
	net_send(p->a, packet, sizeof(packet));
	assert_true(net_wait_metric(p->b, "drops", "index", 1, LONG));
	assert_int_equal(net_receive(p->b, got, sizeof(got), 0), 0);
	/* Back again: a new handshake is needed; b makes it when it has something to say. */
	map = net_map_new();
	net_peer_init(&real, p->a, 1, true);
	net_map_add(map, &real.node);
	net_publish_take(p->b, map, WARREN_POLICY_ALLOWED_IPS, false);
	assert_true(net_ping(p->b, 2, p->a, 1, LONG));
}

static void test_keepalive_needs_no_packet(void **state)
{
	struct pair *p = *state;
	struct net_map *map = net_map_new();
	struct net_peer peer;

	net_peer_init(&peer, p->b, 2, true);
	peer.node.keepalive = 1;
	net_map_add(map, &peer.node);
	net_publish_take(p->a, map, WARREN_POLICY_ALLOWED_IPS, false);
	assert_true(net_wait_metric(p->b, "handshakes", "completed", 1, LONG));
	assert_true(net_wait_metric(p->b, "keepalives", "received", 3, LONG));
}

/*
 * ---- Reload ----
 */

static void test_reload(void **state)
{
	struct pair *p = *state;
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

#define NODES(f) cmocka_unit_test_setup_teardown(f, two_nodes, end_nodes)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NODES(test_packets_both_ways),
		NODES(test_packets_that_waited_arrive_in_order),
		NODES(test_too_many_waiting_drop_the_oldest),
		NODES(test_restart_of_one_side),
		NODES(test_destination_without_peer_is_counted),
		NODES(test_source_must_be_the_peers),
		NODES(test_preshared_keys),
		NODES(test_garbage_changes_nothing),
		NODES(test_replayed_datagrams),
		NODES(test_roaming_follows_authentic_datagrams_only),
		NODES(test_foreign_packets),
		NODES(test_raw_send_reaches_the_others_taker),
		NODES(test_paths_of_every_kind),
		NODES(test_paths_switched_under_load),
		NODES(test_full_rings_count_what_they_drop),
		NODES(test_full_relay_ring_drops_the_oldest),
		NODES(test_writer_ends),
		NODES(test_an_empty_slot_drops_everything),
		NODES(test_verdicts_swapped_under_load),
		NODES(test_hooks_and_injection),
		NODES(test_changes_and_snapshots_lead_to_the_same),
		NODES(test_peers_come_and_go_without_disturbing_others),
		NODES(test_a_removed_peer_is_gone_at_once),
		NODES(test_keepalive_needs_no_packet),
		NODES(test_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
