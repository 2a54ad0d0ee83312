/*
 * The second source of packets, service/dataplane.h: what it says of each packet is done, and it
 * ends with its plugin. Two nodes in one process, net.h; the source is a pair of datagram sockets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <warren/packet.h>

#include "device.h"
#include "net_impl.h"

enum { LONG = 10000, LEN = 100, AT_TAG = 20 };

/* By tag. */
enum { TO_PEER = 1, TO_HOST, TO_NOBODY, REFUSED };

struct source {
	int ours, theirs;
	_Atomic uint32_t shown;
	int result;
};

static uint32_t tag_of(const uint8_t *packet)
{
	uint32_t tag;

	memcpy(&tag, packet + AT_TAG, sizeof(tag));
	return tag;
}

static void sort(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n,
		 uint64_t now)
{
	static const uint8_t verdicts[] = {
		[TO_PEER] = WARREN_PKT_ACCEPT, [TO_HOST] = WARREN_PKT_HOST,
		[TO_NOBODY] = WARREN_PKT_TAKEN, [REFUSED] = WARREN_PKT_DROP,
	};
	struct source *source = self;

	(void)now;
	REQUIRE(direction == WARREN_PKT_OUT);
	atomic_fetch_add(&source->shown, n);
	for (uint32_t i = 0; i < n; i++)
		pkt[i].verdict = verdicts[tag_of(pkt[i].data) & 7];
}

static void take(struct net_node *node, void *arg)
{
	struct source *source = arg;
	const struct warren_source what = {
		.size = sizeof(what), .fd = source->theirs, .fn = sort, .self = source,
	};

	source->result = node->ops->source_take(node->dev, node->probe, &what);
}

static void source_open(struct source *source)
{
	int fds[2];

	memset(source, 0, sizeof(*source));
	REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) == 0);
	source->ours = fds[0];
	source->theirs = fds[1];
}

static void say(const struct source *source, uint8_t from, uint8_t to, uint32_t tag)
{
	uint8_t packet[LEN];

	net_packet(packet, LEN, from, to, tag);
	REQUIRE(send(source->ours, packet, LEN, 0) == LEN);
}

static void test_packets_go_where_it_says(void **state)
{
	struct net_pair *p = *state;
	struct source source;
	uint8_t got[2048];

	source_open(&source);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_call(p->a, take, &source);
	assert_int_equal(source.result, 0);

	say(&source, 1, 2, TO_PEER);
	assert_int_equal(net_receive(p->b, got, sizeof(got), LONG), LEN);
	assert_int_equal(tag_of(got), TO_PEER);
	say(&source, 2, 1, TO_HOST);
	assert_int_equal(net_receive(p->a, got, sizeof(got), LONG), LEN);
	assert_int_equal(tag_of(got), TO_HOST);
	say(&source, 1, 2, TO_NOBODY);
	say(&source, 1, 2, REFUSED);
	/* No packet at all, and one for a peer that nobody has. */
	REQUIRE(send(source.ours, "x", 1, 0) == 1);
	say(&source, 1, 77, TO_PEER | 8);
	/* In order: with this one all of those before it are through. */
	say(&source, 1, 2, TO_PEER | 16);
	assert_int_equal(net_receive(p->b, got, sizeof(got), LONG), LEN);
	assert_int_equal(tag_of(got), TO_PEER | 16);
	assert_true(net_wait_metric(p->a, "drops", "hook", 1, LONG));
	assert_true(net_wait_metric(p->a, "drops", "no-peer", 1, LONG));
	assert_true(net_wait_metric(p->a, "drops", "out-malformed", 1, LONG));
	assert_int_equal(net_receive(p->a, got, sizeof(got), 50), 0);
	assert_int_equal(atomic_load(&source.shown), 6);
	net_restart_probe(p->a); /* it points to our stack */
	close(source.ours);
}

static void test_one_at_a_time_until_its_plugin_ends(void **state)
{
	struct net_pair *p = *state;
	struct source first, second;
	uint8_t got[2048];
	ssize_t n;

	source_open(&first);
	source_open(&second);
	net_call(p->a, take, &first);
	assert_int_equal(first.result, 0);
	/* Refused, and its descriptor is closed all the same. */
	net_call(p->a, take, &second);
	assert_int_equal(second.result, -EBUSY);
	assert_int_equal(recv(second.ours, got, 1, MSG_DONTWAIT), -1);
	assert_int_equal(send(second.ours, "x", 1, MSG_NOSIGNAL), -1);
	close(second.ours);

	net_restart_probe(p->a);
	/* Closed once no worker can be in it. */
	for (int ms = 0; ms < LONG; ms++) {
		n = send(first.ours, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n == -1 && (errno == ECONNREFUSED || errno == ENOTCONN || errno == EPIPE ||
				errno == ECONNRESET))
			break;
		net_pause(1);
	}
	assert_int_equal(n, -1);
	close(first.ours);

	source_open(&second);
	net_call(p->a, take, &second);
	assert_int_equal(second.result, 0);
	say(&second, 1, 2, TO_PEER);
	assert_int_equal(net_receive(p->b, got, sizeof(got), LONG), LEN);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_restart_probe(p->a);
	close(second.ours);
}

/* More than a batch, while the host sends too: all arrive, each in its own order. */
static void test_beside_the_hosts_traffic(void **state)
{
	struct net_pair *p = *state;
	struct source source;
	uint32_t count = 0, shown;
	uint8_t got[2048];

	source_open(&source);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_call(p->a, take, &source);
	for (uint32_t round = 0; round < 200; round++) {
		uint8_t packet[LEN];

		say(&source, 1, 2, TO_PEER);
		net_packet(packet, LEN, 1, 2, 1000);
		net_send(p->a, packet, LEN);
		for (int i = 0; i < 2; i++) {
			assert_int_equal(net_receive(p->b, got, sizeof(got), LONG), LEN);
			count += tag_of(got) == TO_PEER;
		}
	}
	shown = atomic_load(&source.shown);
	assert_int_equal(count, 200);
	assert_int_equal(shown, 200);
	net_restart_probe(p->a);
	close(source.ours);
}

#define NODES(test) cmocka_unit_test_setup_teardown(test, net_two_nodes, net_end_nodes)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NODES(test_packets_go_where_it_says),
		NODES(test_one_at_a_time_until_its_plugin_ends),
		NODES(test_beside_the_hosts_traffic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
