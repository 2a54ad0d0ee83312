/*
 * The border of the data plane, service/dataplane.h: paths, relay rings, verdicts, hooks, and the
 * network map, each changed while packets flow. Two nodes in one process, net.h.
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
#include "net_impl.h"
#include "netmap.h"

enum { LONG = 10000 };

/*
 * ---- Paths and relays ----
 */

static struct warren_data_path udp_path(const struct net_node *to)
{
	return (struct warren_data_path){
		.size = sizeof(struct warren_data_path),
		.kind = WARREN_PATH_UDP,
		.address = { { 4, { 127, 0, 0, 1 } }, to->port },
		.generation = 1,
	};
}

static void relay_between(struct net_pair *p)
{
	p->a->relay_to = p->b;
	p->b->relay_to = p->a;
}

static void test_paths_of_every_kind(void **state)
{
	struct net_pair *p = *state;
	struct warren_data_path path = udp_path(p->b);
	uint8_t packet[100];

	relay_between(p);
	assert_int_equal(net_path(p->a, p->b, &path), -EPERM); /* nobody is the writer */
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

/* An initiation for which there was no path goes when there is one, not 5 s later. */
static void test_handshake_waits_for_a_path(void **state)
{
	struct net_pair *p = *state;
	struct warren_data_path path = { .size = sizeof(path), .kind = WARREN_PATH_NONE };
	uint8_t packet[100], got[200];

	assert_int_equal(net_attach_paths(p->a), 0);
	assert_int_equal(net_attach_paths(p->b), 0);
	assert_int_equal(net_path(p->a, p->b, &path), 0);
	net_packet(packet, sizeof(packet), 1, 2, 7);
	net_send(p->a, packet, sizeof(packet));
	assert_true(net_wait_metric(p->a, "handshakes", "initiation-sent", 1, LONG));
	assert_int_equal(net_metric(p->b, "handshakes", "completed"), 0);
	path = udp_path(p->a);
	assert_int_equal(net_path(p->b, p->a, &path), 0);
	path = udp_path(p->b);
	assert_int_equal(net_path(p->a, p->b, &path), 0);
	/* What waited for it arrives. */
	assert_int_equal(net_receive(p->b, got, sizeof(got), LONG), sizeof(packet));
	assert_int_equal(net_metric(p->a, "handshakes", "initiation-sent"), 2);
	assert_int_equal(net_metric(p->a, "handshakes", "retried"), 0);
	/* Another path is no reason for another handshake. */
	assert_int_equal(net_path(p->a, p->b, &path), 0);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	assert_int_equal(net_metric(p->a, "handshakes", "initiation-sent"), 2);
}

/* In doubt both ways are used, and a path may tell of the next packet. */
static void test_paths_with_copies(void **state)
{
	struct net_pair *p = *state;
	struct warren_data_path path = udp_path(p->b);
	uint32_t wanted;

	relay_between(p);
	assert_int_equal(net_attach_paths(p->a), 0);
	assert_int_equal(net_attach_paths(p->b), 0);
	path.copy_region = 900;
	assert_int_equal(net_path(p->a, p->b, &path), 0);
	path = udp_path(p->a);
	assert_int_equal(net_path(p->b, p->a, &path), 0);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	/* Handshake and packet, each twice. */
	for (int i = 0; i < 500 && atomic_load(&p->a->relayed) < 2; i++)
		net_metric(p->a, "foreign", NULL);
	assert_true(atomic_load(&p->a->relayed) >= 2);
	assert_true(net_wait_metric(p->b, "relayed", "received", 1, LONG));
	assert_int_equal(atomic_load(&p->b->relayed), 0);
	wanted = p->a->wanted;
	path = udp_path(p->b);
	path.tell = true;
	assert_int_equal(net_path(p->a, p->b, &path), 0);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	for (int i = 0; i < 500 && p->a->wanted == wanted; i++)
		net_metric(p->a, "foreign", NULL);
	assert_true(p->a->wanted > wanted);
	/* An address that nothing can be sent to, but the copy arrives. */
	path.address.addr.bytes[0] = 255;
	path.copy_region = 900;
	assert_int_equal(net_path(p->a, p->b, &path), 0);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
}

static void test_paths_switched_under_load(void **state)
{
	struct net_pair *p = *state;
	struct net_traffic t = { .from = p->a, .to = p->b, .count = 4000 };
	struct warren_data_path path;

	relay_between(p);
	net_attach_paths(p->a);
	net_attach_paths(p->b);
	path = udp_path(p->b);
	net_path(p->a, p->b, &path);
	path = udp_path(p->a);
	net_path(p->b, p->a, &path);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_traffic_start(&t);
	for (int i = 0; i < 300; i++) {
		path = udp_path(p->b);
		path.kind = i % 3 == 0	 ? WARREN_PATH_UDP
			    : i % 3 == 1 ? WARREN_PATH_GENEVE
					 : WARREN_PATH_RELAY;
		path.vni = i % 3 == 1 ? 7 : 0;
		path.region = 1;
		path.generation = (uint64_t)i;
		assert_int_equal(net_path(p->a, p->b, &path), 0);
	}
	assert_int_equal(net_traffic_end(&t), t.count);
	assert_int_equal(net_metric(p->a, "drops", NULL), 0);
	assert_int_equal(net_metric(p->b, "drops", NULL), 0);
}

/* A hook that keeps the worker inside it while `shut`. */
struct gate {
	_Atomic bool shut, inside;
};

static void gate_fn(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n,
		    uint64_t now)
{
	struct gate *gate = self;

	(void)direction;
	(void)pkt;
	(void)n;
	(void)now;
	atomic_store(&gate->inside, true);
	while (atomic_load(&gate->shut))
		net_pause(1);
}

struct many {
	struct gate gate;
	uint32_t count;
};

/* Fills the ring while its worker is held, so that what is dropped is a number and not a race. */
static void inject_many(struct net_node *node, void *arg)
{
	struct many *many = arg;
	struct warren_hook hook = { .name = "gate",
				    .before = "filter",
				    .directions = 1u << WARREN_PKT_OUT,
				    .fn = gate_fn,
				    .self = &many->gate };
	uint8_t data[200] = { 4 };
	static const uint8_t key[32] = { 1 };

	atomic_store(&many->gate.shut, true);
	REQUIRE(node->ops->hook_add(node->dev, node->probe, &hook, NULL) == 0);
	net_send_many(node, 1);
	for (int ms = 0; ms < LONG && !atomic_load(&many->gate.inside); ms++)
		net_pause(1);
	REQUIRE(atomic_load(&many->gate.inside));
	for (uint32_t i = 0; i < many->count; i++)
		REQUIRE(node->ops->inject(node->dev, 1, key, data, sizeof(data)) == 0);
	atomic_store(&many->gate.shut, false);
	REQUIRE(node->ops->inject(node->dev, 1, key, data, 1u << 20) == -EMSGSIZE);
}

static void test_full_rings_count_what_they_drop(void **state)
{
	struct net_pair *p = *state;
	struct many many = { .count = 5000 };

	net_call(p->a, inject_many, &many);
	/* A ring of 256 slots: the newest are taken, all others were dropped and counted. */
	assert_true(net_wait_metric(p->a, "relayed", "received", 256, LONG));
	assert_int_equal(net_metric(p->a, "relayed", "received"), 256);
	assert_int_equal(net_metric(p->a, "drops", "inject-full"), many.count - 256);
	assert_int_equal(net_metric(p->a, "drops", "too-large"), 1);
	net_restart_probe(p->a); /* its hook points to our stack */
}

struct hold {
	const struct net_node *peer;
	uint32_t count;
};

/* The lane is held up while the worker fills its ring. */
static void hold_lane(struct net_node *node, void *arg)
{
	const struct hold *hold = arg;
	struct warren_peer_status status;
	uint64_t before;

	REQUIRE(node->ops->peer(node->dev, hold->peer->public_key, &status) == 0);
	before = status.tx_packets;
	net_send_many(node, hold->count);
	for (int ms = 0; ms < LONG; ms++) {
		node->ops->peer(node->dev, hold->peer->public_key, &status);
		if (status.tx_packets >= before + hold->count)
			break;
		net_pause(1);
	}
}

static void test_full_relay_ring_drops_the_oldest(void **state)
{
	struct net_pair *p = *state;
	struct hold hold = { p->b, 1000 };
	struct warren_data_path path = { .size = sizeof(path),
					 .kind = WARREN_PATH_RELAY,
					 .region = 1 };
	uint32_t last = 0, tag, n = 0;
	int64_t dropped;
	uint8_t got[2048];

	relay_between(p);
	net_attach_paths(p->a);
	net_attach_paths(p->b);
	net_path(p->a, p->b, &path);
	net_path(p->b, p->a, &path);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_call(p->a, hold_lane, &hold);
	while (last < hold.count - 1 && net_receive(p->b, got, sizeof(got), LONG)) {
		memcpy(&tag, got + 20, 4);
		if (tag < hold.count) {
			last = tag;
			n++;
		}
	}
	assert_int_equal(last, hold.count - 1); /* the newest arrived */
	dropped = net_metric(p->a, "drops", "relay-full");
	/* A ring of 256 slots; the worker may hold one while it makes room. */
	assert_in_range(dropped, hold.count - 256, hold.count - 255);
	assert_int_equal(n + dropped + net_metric(p->b, "drops", "inject-full"), hold.count);
}

/* The writer goes: the map's endpoints count again. */
static void test_writer_ends(void **state)
{
	struct net_pair *p = *state;
	struct warren_data_path path = { .size = sizeof(path),
					 .kind = WARREN_PATH_RELAY,
					 .region = 1 };
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
	struct warren_verdict verdict = { .size = sizeof(verdict),
					  .fn = table_verdict,
					  .table = t,
					  .free = table_free,
					  .name = "probe" };

	t->freed = &call->freed;
	t->accept = call->accept;
	call->made++;
	REQUIRE(node->ops->verdict_set(node->dev, node->probe, &verdict) == 0);
}

static void test_an_empty_slot_drops_everything(void **state)
{
	struct net_pair *p = *state;
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
	struct net_pair *p = *state;
	struct net_traffic t = { .from = p->a, .to = p->b, .count = 3000 };
	struct verdict_call call = { .accept = true };

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_call(p->b, verdict_run, &call);
	net_traffic_start(&t);
	for (int i = 0; i < 300; i++)
		net_call(p->b, verdict_run, &call);
	assert_int_equal(net_traffic_end(&t), t.count);
	call.accept = false;
	net_call(p->b, verdict_run, &call);
	assert_false(net_ping(p->a, 1, p->b, 2, 200));
	assert_true(net_metric(p->b, "drops", "policy") > 0);
	assert_int_equal(net_metric(p->b, "drops", "no-policy"), 0);
	/* The holder ends: the map's built-in policy is what is left, and all tables came back. */
	net_restart_probe(p->b);
	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	for (int i = 0; i < 1000 && atomic_load(&call.freed) < call.made; i++)
		net_pause(5);
	assert_int_equal(atomic_load(&call.freed), call.made);
}

struct seen { /* by a hook */
	_Atomic uint32_t out, in;
	uint8_t verdict;
	const char *name, *before, *after;
	int result;
};

static void hook_fn(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n,
		    uint64_t now)
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
	struct warren_hook hook = { .name = seen->name,
				    .before = seen->before,
				    .after = seen->after,
				    .directions = 3,
				    .fn = hook_fn,
				    .self = seen };

	seen->result = node->ops->hook_add(node->dev, node->probe, &hook, NULL);
}

static int inject(struct net_node *node, uint32_t direction, const uint8_t *packet, size_t len)
{
	return node->ops->packet_inject(node->dev, node->probe, direction, packet, len);
}

static void inject_run(struct net_node *node, void *arg)
{
	uint8_t packet[100];
	uint32_t direction = *(uint32_t *)arg;

	net_packet(packet, sizeof(packet), 1, 2, 555);
	REQUIRE(inject(node, direction, packet, sizeof(packet)) == 0);
	REQUIRE(inject(node, direction, packet, 30) == -EMSGSIZE);
}

static void test_hooks_and_injection(void **state)
{
	struct net_pair *p = *state;
	struct seen first = { .name = "first" },
		    second = { .name = "second", .after = "first", .before = "filter" },
		    late = { .name = "late", .before = "filter", .after = "route" };
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

/* A hook that answers each packet from a peer with the same, turned round, and hands it over. */
struct answerer {
	const struct warren_dataplane_ops *ops;
	void *self;
	_Atomic uint32_t answered, full, handed;
};

static void answer_fn(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n,
		      uint64_t now)
{
	struct answerer *a = self;
	uint8_t back[WARREN_REPLY_MAX];

	(void)direction;
	(void)now;
	for (uint32_t i = 0; i < n; i++) {
		memcpy(back, pkt[i].data, pkt[i].len);
		memcpy(back + 12, pkt[i].data + 16, 4);
		memcpy(back + 16, pkt[i].data + 12, 4);
		for (uint32_t k = 0; k < 1000 && a->full == 0; k++) {
			if (!a->ops->packet_reply(a->self, back, pkt[i].len))
				atomic_fetch_add(&a->answered, 1);
			else
				atomic_fetch_add(&a->full, 1);
		}
		if (!a->ops->hand_over(a->self, WARREN_FOREIGN_TSMP, pkt[i].data, pkt[i].len))
			atomic_fetch_add(&a->handed, 1);
		pkt[i].verdict = WARREN_PKT_TAKEN;
	}
}

static void answer_all(struct net_node *node, void *arg)
{
	struct answerer *a = arg;
	const struct warren_hook hook = { .name = "answerer",
					  .directions = 1u << WARREN_PKT_IN,
					  .fn = answer_fn,
					  .self = a };
	uint8_t packet[WARREN_REPLY_MAX + 1];

	a->ops = node->ops;
	a->self = node->dev;
	REQUIRE(node->ops->hook_add(node->dev, node->probe, &hook, NULL) == 0);
	net_packet(packet, sizeof(packet), 2, 1, 0);
	REQUIRE(node->ops->packet_reply(node->dev, packet, sizeof(packet)) == -EMSGSIZE);
	REQUIRE(node->ops->packet_reply(node->dev, packet, 50) == -EMSGSIZE);
	REQUIRE(node->ops->hand_over(node->dev, WARREN_FOREIGN_TSMP, packet, 50) == -ENOENT);
	REQUIRE(node->ops->hand_over(node->dev, WARREN_FOREIGN_CLASSES, packet, 50) == -ENOENT);
	REQUIRE(node->ops->hand_over(node->dev, 1000, packet, 50) == -ENOENT);
}

static void test_hooks_answer_peers(void **state)
{
	struct net_pair *p = *state;
	struct answerer answerer = { .answered = 0 };
	uint8_t packet[100], got[2048];
	uint32_t arrived = 0;

	net_call(p->b, answer_all, &answerer);
	assert_int_equal(net_take_foreign(p->b, WARREN_FOREIGN_TSMP, true), 0);
	net_packet(packet, sizeof(packet), 1, 2, 7);
	net_send(p->a, packet, sizeof(packet));
	while (net_receive(p->a, got, sizeof(got), arrived ? 200 : LONG) == sizeof(packet)) {
		assert_int_equal(got[15], 2);
		assert_int_equal(got[19], 1);
		arrived++;
	}
	/* One packet filled the ring of 64 and found it full: all that was in it arrives. */
	assert_int_equal(answerer.answered, 64);
	assert_int_equal(arrived, 64);
	assert_int_equal(answerer.full, 1);
	assert_int_equal(net_metric(p->b, "drops", "reply-full"), 1);
	for (int ms = 0; ms < LONG && !atomic_load(&p->b->n_foreign); ms++)
		net_pause(1);
assert_int_equal(answerer.handed, 1);
	assert_int_equal(p->b->foreign[0].class_, WARREN_FOREIGN_TSMP);
	assert_int_equal(p->b->foreign[0].len, sizeof(packet));
	assert_memory_equal(p->b->foreign[0].data, packet, sizeof(packet));
	net_restart_probe(p->b); /* its hook points to our stack */
}

/*
 * ---- Maps ----
 */

struct dump { /* what a map made of the tables */
	char text[1 << 20];
	size_t len;
};

static void dump_prefix(void *arg, const struct warren_prefix *prefix, void *owner)
{
	struct dump *d = arg;
	const struct wg_peer *peer = owner;

	d->len += (size_t)snprintf(d->text + d->len, sizeof(d->text) - d->len,
				   "%d.%d.%d.%d/%d %02x%02x\n", prefix->addr.bytes[0],
				   prefix->addr.bytes[1], prefix->addr.bytes[2],
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
					   "peer %02x%02x id %lld keepalive %u %s\n",
					   peers[i]->key[0], peers[i]->key[1],
					   (long long)peers[i]->node_id, peers[i]->keepalive, text);
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
				{ 4, { 10, (uint8_t)rnd(seed, 12), 0, 0 } },
				16
			};
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
	struct net_pair *p = *state;
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
	struct net_pair *p = *state;
	struct net_traffic t = { .from = p->a, .to = p->b, .count = 2000 };
	struct net_peer real, other;

	assert_true(net_ping(p->a, 1, p->b, 2, LONG));
	net_traffic_start(&t);
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
	assert_int_equal(net_traffic_end(&t), t.count);
	assert_int_equal(net_metric(p->a, "handshakes", "completed"), 1);
}

static void test_a_removed_peer_is_gone_at_once(void **state)
{
	struct net_pair *p = *state;
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
	struct net_pair *p = *state;
	struct net_map *map = net_map_new();
	struct net_peer peer;

	net_peer_init(&peer, p->b, 2, true);
	peer.node.keepalive = 1;
	net_map_add(map, &peer.node);
	net_publish_take(p->a, map, WARREN_POLICY_ALLOWED_IPS, false);
	assert_true(net_wait_metric(p->b, "handshakes", "completed", 1, LONG));
	assert_true(net_wait_metric(p->b, "keepalives", "received", 3, LONG));
}

#define NODES(f) cmocka_unit_test_setup_teardown(f, net_two_nodes, net_end_nodes)

int main(void)
{
	const struct CMUnitTest tests[] = {
		NODES(test_paths_of_every_kind),
		NODES(test_paths_with_copies),
		NODES(test_paths_switched_under_load),
		NODES(test_full_rings_count_what_they_drop),
		NODES(test_full_relay_ring_drops_the_oldest),
		NODES(test_writer_ends), NODES(test_handshake_waits_for_a_path),
		NODES(test_an_empty_slot_drops_everything),
		NODES(test_verdicts_swapped_under_load),
		NODES(test_hooks_and_injection),
		NODES(test_hooks_answer_peers),
		NODES(test_changes_and_snapshots_lead_to_the_same),
		NODES(test_peers_come_and_go_without_disturbing_others),
		NODES(test_a_removed_peer_is_gone_at_once),
		NODES(test_keepalive_needs_no_packet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
