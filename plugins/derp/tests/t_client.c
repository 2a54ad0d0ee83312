/*
 * The relay client in an engine of its own, against relays that do what the stock one never does or
 * not within a test: they restart, are unwell, keep silent, lie. What the stock one does is in
 * tests/interop.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "node.h"
#include "relay.h"
#include "tests/net/certs.h"

enum { SECOND = 1000000 };

static struct cert authority, good;
static struct relay a, b;
static const uint8_t peer[32] = { 7, 7, 7 };

#define TOLD(region) (node_of()->told[region])
#define OPS (node_of()->ops)
#define SELF (node_of()->self)

static struct warren_relay_node node_at(const char *name, const struct relay *relay)
{
	return (struct warren_relay_node){
		.name = name, .host_name = "127.0.0.1", .no_ipv6 = true, .derp_port = relay->port,
		.ipv4 = { .family = 4, .bytes = { 127, 0, 0, 1 } },
	};
}

/* Region 1 is relay a, region 2 relay b. */
static void two_regions(void)
{
	const struct warren_relay_node nodes[] = { node_at("1a", &a), node_at("2a", &b) };
	const struct warren_relay_region regions[] = {
		{ .id = 1, .code = "one", .nodes = &nodes[0], .n_nodes = 1 },
		{ .id = 2, .code = "two", .nodes = &nodes[1], .n_nodes = 1 },
	};

	node_map(regions, 2);
}

/* Region 1 has both relays. */
static void two_nodes(struct warren_relay_node nodes[2])
{
	const struct warren_relay_region region = { .id = 1, .code = "one", .nodes = nodes,
						    .n_nodes = 2 };

	node_map(&region, 1);
}

static void open_two(const struct cert *cert, uint32_t flags)
{
	stand_open(&a, node_of()->ctx, cert, flags);
	stand_open(&b, node_of()->ctx, cert, flags);
}

static void close_two(void)
{
	stand_close(&a);
	stand_close(&b);
}

static int send_to(uint32_t region, const char *text, uint32_t *via)
{
	return OPS->send(SELF, region, peer, (const uint8_t *)text, strlen(text), via);
}

static void deliver(struct relay *relay, const void *data, size_t len)
{
	const struct warren_derp_frame frame = { .type = WARREN_DERP_RECV_PACKET, .key = peer,
						 .data = data, .len = len };

	stand_send(relay, &frame);
}

static void at_home(void)
{
	open_two(NULL, 0);
	two_regions();
	OPS->home(SELF, 1);
	WAIT(TOLD(1).connected == 1);
	WAIT(a.preferred);
}

static void packets_both_ways(void **state)
{
	struct warren_relay_status status;
	static uint8_t big[WARREN_DERP_PACKET_MAX];
	uint8_t key[32];
	uint32_t via;

	(void)state;
	at_home();
	node_public_key(key);
	assert_memory_equal(a.client, key, 32);
	assert_int_equal(TOLD(1).connecting, 1);
	assert_int_equal(send_to(1, "hello", &via), 0);
	assert_int_equal(via, 1);
	WAIT(a.len == 5);
	assert_memory_equal(a.data, "hello", 5);
	assert_memory_equal(a.to, peer, 32);
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7);
	deliver(&a, big, sizeof(big));
	deliver(&a, NULL, 0);
	WAIT(TOLD(1).received == 2);
	assert_int_equal(TOLD(1).len, 0);
	assert_memory_equal(TOLD(1).data, big, sizeof(big));
	assert_memory_equal(TOLD(1).from, peer, 32);
	assert_int_equal(OPS->send(SELF, 1, peer, big, sizeof(big), NULL), 0);
	WAIT(a.seen[WARREN_DERP_SEND_PACKET] == 2);
	assert_int_equal(OPS->send(SELF, 1, peer, big, sizeof(big) + 1, NULL), -EMSGSIZE);

	assert_true(OPS->status(SELF, 1, &status));
	assert_true(status.home && status.state == WARREN_RELAY_CONNECTED);
	assert_string_equal(status.node, "1a");
	assert_int_equal(status.peer.port, a.port);
	assert_int_equal(status.tx_packets, 2);
	assert_int_equal(status.rx_bytes, sizeof(big));
	assert_int_equal(node_stat("packets{direction", "received"), 2);
	assert_int_equal(node_stat("connections", NULL), 1);
	close_two();
}

static void a_reply_goes_where_the_question_came_from(void **state)
{
	const struct warren_derp_frame gone = { .type = WARREN_DERP_PEER_GONE, .key = peer,
						.reason = WARREN_DERP_GONE_NOT_HERE };
	uint32_t via = 0;

	(void)state;
	at_home();
	assert_int_equal(send_to(0, "x", &via), -EHOSTUNREACH);
	assert_int_equal(send_to(3, "x", &via), -ENOENT);
	node_of()->stranger = true;
	deliver(&a, "q", 1);
	WAIT(TOLD(1).received == 1);
	assert_int_equal(OPS->route(SELF, peer), 0);
	node_of()->stranger = false;
	deliver(&a, "q", 1);
	WAIT(TOLD(1).received == 2);
	assert_int_equal(OPS->route(SELF, peer), 1);
	assert_int_equal(send_to(0, "by the learned one", &via), 0);
	assert_int_equal(via, 1);
	assert_int_equal(send_to(2, "region 2 is not open", &via), 0);
	assert_int_equal(via, 1);
	assert_int_equal(OPS->open(SELF, 2), 0);
	WAIT(TOLD(2).connected == 1);
	assert_int_equal(b.seen[WARREN_DERP_NOTE_PREFERRED], 0);
	assert_int_equal(send_to(2, "now it is", &via), 0);
	assert_int_equal(via, 2);
	stand_send(&a, &gone);
	WAIT(TOLD(1).gone == 1);
	assert_int_equal(TOLD(1).reason, WARREN_RELAY_NOT_HERE);
	assert_int_equal(OPS->route(SELF, peer), 0);
	deliver(&a, "q", 1);
	WAIT(OPS->route(SELF, peer) == 1);
	stand_drop(&a);			/* what was learned goes with the connection */
	WAIT(TOLD(1).failed == 1);
	assert_int_equal(OPS->route(SELF, peer), 0);
	WAIT(TOLD(1).connected == 2);
	close_two();
}

static void only_the_home_is_kept(void **state)
{
	(void)state;
	at_home();
	assert_int_equal(send_to(2, "x", NULL), 0);	/* opens it, and arrives */
	WAIT(b.len == 1);
	node_pass(40 * SECOND);
	assert_int_equal(TOLD(2).state, WARREN_RELAY_CONNECTED);
	node_pass(16 * SECOND);
	node_pass(16 * SECOND);
	WAIT(TOLD(2).state == WARREN_RELAY_CLOSED);
	assert_string_equal(TOLD(2).why, "nothing was sent for a minute");
	assert_int_equal(TOLD(1).state, WARREN_RELAY_CONNECTED);
	OPS->home(SELF, 2);
	WAIT(b.preferred);
	WAIT(!a.preferred);
	assert_int_equal(a.seen[WARREN_DERP_NOTE_PREFERRED], 2);
	for (int i = 0; i < 6; i++)
		node_pass(16 * SECOND);
	WAIT(TOLD(1).state == WARREN_RELAY_CLOSED);
	assert_int_equal(TOLD(2).state, WARREN_RELAY_CONNECTED);
	OPS->close(SELF, 2);
	WAIT(TOLD(2).connected == 3);	/* it is home */
	close_two();
}

static void tls_with_a_marker_and_without(void **state)
{
	struct warren_relay_node nodes[2];
	static char name[96];

	(void)state;
	open_two(&good, RELAY_META);
	node_apply("", true);
	nodes[0] = node_at("1a", &a);
	nodes[0].insecure_for_tests = true;
	nodes[1] = node_at("1b", &b);
	two_nodes(nodes);
	OPS->home(SELF, 1);
	WAIT(TOLD(1).connected == 1);
	assert_int_equal(a.fast, 1);
	WAIT(a.preferred);		/* ServerKey came late, and did not matter */
	assert_int_equal(send_to(1, "fast", NULL), 0);
	WAIT(a.len == 4);
	close_two();

	open_two(&good, 0);
	nodes[0] = node_at("1a", &a);	/* nobody vouches for it: the next one is tried */
	nodes[1] = node_at("1b", &b);
	snprintf(name, sizeof(name), "sha256-raw:");
	for (int i = 0; i < 32; i++)
		snprintf(name + 11 + 2 * i, 3, "%02x", good.sha256[i]);
	nodes[1].cert_name = name;
	two_nodes(nodes);
	WAIT(TOLD(1).connected == 2);
	assert_true(a.connects > 0 && a.logins == 0);
	assert_int_equal(b.fast, 0);
	assert_int_equal(b.logins, 1);
	assert_string_equal(b.ideal, "1a");
	close_two();
}

static void nodes_that_do_not_work(void **state)
{
	static const uint32_t flags[] = { RELAY_REFUSE, RELAY_LOCKED, RELAY_FORGED };
	static const char *const why[] = { "status 403", "does it admit this node?",
					   "was not made with the key" };
	struct warren_relay_node nodes[2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		stand_open(&a, node_of()->ctx, NULL, flags[i]);
		stand_open(&b, node_of()->ctx, NULL, flags[i]);
		nodes[0] = node_at("1a", &a);
		nodes[1] = node_at("1b", &b);
		two_nodes(nodes);
		OPS->home(SELF, 1);
		WAIT(TOLD(1).failed > 0);
		if (!strstr(TOLD(1).why, why[i]) || !strstr(TOLD(1).why, "relay 1a: "))
			fail_msg("%s", TOLD(1).why);
		assert_true(b.connects > 0);
		b.flags = 0;
		WAIT(TOLD(1).connected == i + 1);
		assert_string_equal(b.ideal, "1a");
		OPS->home(SELF, 0);
		OPS->close(SELF, 1);
		close_two();
		TOLD(1).failed = 0;
	}
	OPS->home(SELF, 1);
	/* A port where nobody listens, then nodes for STUN only. */
	stand_open(&b, node_of()->ctx, NULL, 0);
	nodes[1] = node_at("1b", &b);
	two_nodes(nodes);
	WAIT(TOLD(1).connected == ARRAY_SIZE(flags) + 1);
	nodes[0].stun_only = nodes[1].stun_only = true;
	two_nodes(nodes);
	WAIT(strstr(TOLD(1).why, "no node of this region that relays"));
	stand_close(&b);
}

static void a_relay_that_is_lost(void **state)
{
	uint32_t before;

	(void)state;
	at_home();
	stand_close(&a);
	WAIT(TOLD(1).failed > 5);
	assert_int_equal(TOLD(1).connecting, 1);	/* a failure stays one until it is over */
	/* The pauses grow: n^2 x 10 ms, 5 s at most, times 0.5 to 1.5. */
	before = TOLD(1).failed;
	for (int i = 0; i < 60; i++)
		node_pass(8 * SECOND);
	assert_true(TOLD(1).failed > before + 30);
	before = TOLD(1).failed;
	for (int i = 0; i < 20; i++)
		node_turn();
	assert_true(TOLD(1).failed - before <= 1);
	/* What waits too long is dropped. */
	assert_int_equal(send_to(1, "old", NULL), 0);
	node_pass(4 * SECOND);
	assert_int_equal(send_to(1, "new", NULL), 0);
	stand_open(&a, node_of()->ctx, NULL, 0);
	two_regions();
	WAIT(a.seen[WARREN_DERP_SEND_PACKET] == 1);
	assert_memory_equal(a.data, "new", 3);
	assert_int_equal(node_stat("drops{reason", "stale"), 1);
	close_two();
}

static void a_relay_that_restarts(void **state)
{
	const struct warren_derp_frame frame = { .type = WARREN_DERP_RESTARTING,
						 .reconnect_in = 3 * SECOND,
						 .try_for = 20 * SECOND };

	(void)state;
	at_home();
	stand_send(&a, &frame);
	for (int i = 0; i < 20; i++)
		node_turn();
	assert_int_equal(TOLD(1).state, WARREN_RELAY_CONNECTED);	/* it ends when it ends */
	a.flags = RELAY_LOCKED;
	stand_drop(&a);
	WAIT(TOLD(1).state == WARREN_RELAY_CONNECTING);
	node_pass(2 * SECOND);
	assert_int_equal(a.connects, 1);
	node_pass(SECOND);
	WAIT(a.connects > 3);
	assert_int_equal(TOLD(1).failed, 0);
	node_pass(20 * SECOND);
	WAIT(TOLD(1).failed > 0);
	a.flags = 0;
	WAIT(TOLD(1).connected == 2);
	close_two();
}

static void silence(void **state)
{
	struct warren_relay_status status;

	(void)state;
	at_home();
	node_pass(76 * SECOND);
	WAIT(a.seen[WARREN_DERP_PING] == 1);
	for (int i = 0; i < 20; i++)
		node_turn();
	assert_true(OPS->status(SELF, 1, &status) && status.rtt > 0);
	node_pass(6 * SECOND);
	assert_int_equal(TOLD(1).state, WARREN_RELAY_CONNECTED);
	a.flags = RELAY_SILENT;
	node_pass(76 * SECOND);
	WAIT(a.seen[WARREN_DERP_PING] == 2);
	assert_int_equal(TOLD(1).state, WARREN_RELAY_CONNECTED);
	node_pass(5 * SECOND);
	WAIT(TOLD(1).failed == 1);
	assert_string_equal(TOLD(1).why, "it has not answered a ping");
	WAIT(TOLD(1).connected == 2);
	close_two();
}

static void what_a_relay_says(void **state)
{
	static const uint8_t eight[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	static const uint8_t odd[] = { 0x77, 0, 0, 0, 3, 1, 2, 3, WARREN_DERP_RECV_PACKET, 0, 0, 0,
				       1, 9, WARREN_DERP_KEEP_ALIVE, 0, 0, 0, 0 };
	const struct warren_derp_frame ping = { .type = WARREN_DERP_PING, .data = eight, .len = 8 };
	struct warren_derp_frame health = { .type = WARREN_DERP_HEALTH, .len = 9,
					    .data = (const uint8_t *)"hot\n\033[31m" };
	static const uint8_t end[] = { WARREN_DERP_RECV_PACKET, 0, 0x20, 0, 0 };

	(void)state;
	at_home();
	stand_send(&a, &ping);
	WAIT(a.seen[WARREN_DERP_PONG] == 1);
	stand_send(&a, &health);
	WAIT(TOLD(1).unwell == 1);
	assert_string_equal(TOLD(1).health, "hot\\x0a\\x1b[31m");
	health.len = 0;
	stand_send(&a, &health);
	WAIT(TOLD(1).well == 1);
	stand_write(&a, odd, sizeof(odd));
	stand_send(&a, &ping);
	WAIT(a.seen[WARREN_DERP_PONG] == 2);
	assert_int_equal(node_stat("passed_over{reason", "unknown"), 1);
	assert_int_equal(node_stat("passed_over{reason", "malformed"), 1);
	stand_write(&a, end, sizeof(end));
	WAIT(TOLD(1).failed == 1);
	assert_non_null(strstr(TOLD(1).why, "longer than any frame of DERP"));
	close_two();
}

static void room_for_packets(void **state)
{
	static const uint8_t disco[70] = { 0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac };
	char text[32];
	int result = 0;

	(void)state;
	node_apply("tls: false, queue: 32", true);
	open_two(NULL, RELAY_LIMITED);
	two_regions();
	assert_int_equal(OPS->open(SELF, 1), 0);
	WAIT(TOLD(1).connected == 1);
	/* Before a connection is there: 32 of each; the oldest goes, of disco the newest does not
	   come. */
	for (int i = 0; i < 40; i++) {
		snprintf(text, sizeof(text), "%02d", i);
		assert_int_equal(send_to(2, text, NULL), 0);
		result = OPS->send(SELF, 2, peer, disco, sizeof(disco), NULL);
		assert_int_equal(result, i < 32 ? 0 : -ENOBUFS);
	}
	WAIT(b.seen[WARREN_DERP_SEND_PACKET] == 64);
	assert_memory_equal(b.data, "39", 2);	/* disco went before it */
	assert_int_equal(node_stat("drops{reason", "queue-full"), 8);
	assert_int_equal(node_stat("drops{reason", "disco-full"), 8);
	/* Over the relay's rate: 1000 bytes are 24 frames of 41. */
	for (int i = 0; i < 30; i++)
		assert_int_equal(send_to(1, "rate", NULL), 0);
	WAIT(a.seen[WARREN_DERP_SEND_PACKET] == 24);
	assert_int_equal(node_stat("drops{reason", "rate"), 6);
	node_pass(41 * SECOND);
	assert_int_equal(send_to(1, "rate", NULL), 0);
	node_pass(0);
	assert_int_equal(a.seen[WARREN_DERP_SEND_PACKET], 24);	/* at most a second is made good */
	close_two();
}

static bool keep_none(void *arg, const struct warren_addr *local)
{
	(void)arg;
	assert_int_equal(local->bytes[0], 127);
	return false;
}

static bool keep_all(void *arg, const struct warren_addr *local)
{
	(void)arg;
	(void)local;
	return true;
}

static void changes(void **state)
{
	struct warren_relay_node nodes[2];
	uint8_t key[32], other[32];

	(void)state;
	at_home();
	node_public_key(key);
	node_rotate();
	WAIT(TOLD(1).connected == 2);
	node_public_key(other);
	assert_memory_not_equal(key, other, 32);
	assert_memory_equal(a.client, other, 32);
	OPS->rebind(SELF, keep_none, NULL);
	WAIT(TOLD(1).connected == 3);
	OPS->rebind(SELF, keep_all, NULL);
	WAIT(a.seen[WARREN_DERP_PING] == 1);
	for (int i = 0; i < 20; i++)
		node_turn();
	a.flags = RELAY_SILENT;
	OPS->rebind(SELF, keep_all, NULL);
	WAIT(a.seen[WARREN_DERP_PING] == 2);
	assert_int_equal(TOLD(1).failed, 0);
	node_pass(3 * SECOND);
	WAIT(TOLD(1).failed == 1);
	WAIT(TOLD(1).connected == 4);

	node_apply("tls: false, queue: 64", true);	/* leaves connections alone */
	node_pass(0);
	assert_int_equal(TOLD(1).connected, 4);
	two_regions();			/* the same map again */
	assert_int_equal(TOLD(1).connected, 4);
	nodes[0] = node_at("1z", &b);
	nodes[1] = node_at("1a", &a);
	two_nodes(nodes);
	WAIT(TOLD(1).connected == 5);
	WAIT(b.preferred);
	node_map(NULL, 0);
	assert_int_equal(TOLD(1).state, WARREN_RELAY_FAILED);
	assert_string_equal(TOLD(1).why, "the relay map does not have it any more");
	assert_int_equal(node_stat("connections", NULL), 0);
	node_pass(30 * SECOND);
	two_regions();
	WAIT(TOLD(1).connected == 6);

	node_apply("tls: false", false);	/* nobody is left who wants it */
	WAIT(!a.conn);
	assert_int_equal(node_stat("connections", NULL), 0);
	memset(&TOLD(1), 0, sizeof(TOLD(1)));
	node_apply("tls: false", true);
	OPS->home(SELF, 1);
	WAIT(TOLD(1).connected == 1);
	close_two();
}

static int begin(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	authority = cert_new(NULL, NULL, 30);
	good = cert_new(&authority, "DNS:relay.example,IP:127.0.0.1", 30);
	return 0;
}

static int end(void **state)
{
	(void)state;
	cert_free(&authority);
	cert_free(&good);
	return 0;
}

#define IN_NODE(test) cmocka_unit_test_setup_teardown(test, node_setup, node_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_NODE(packets_both_ways),
		IN_NODE(a_reply_goes_where_the_question_came_from),
		IN_NODE(only_the_home_is_kept),
		IN_NODE(tls_with_a_marker_and_without),
		IN_NODE(nodes_that_do_not_work),
		IN_NODE(a_relay_that_is_lost),
		IN_NODE(a_relay_that_restarts),
		IN_NODE(silence),
		IN_NODE(what_a_relay_says),
		IN_NODE(room_for_packets),
		IN_NODE(changes),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
